//! The tract backend: from graph to ONNX to an optimised plan.
//!
//! This is the reference backend. Everything runs on the calling thread: tract is built without its thread pool, and
//! the plan also asks for a single thread. It is one file because all of it is about what tract may be given, and a third
//! of it are tests.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Arc;

use prost::Message as _;
use tract_onnx::pb;
use tract_onnx::prelude::multithread::Executor;
use tract_onnx::prelude::{
    DatumExt, Framework, InferenceModel, InferenceModelExt, IntoTValue, RunOptions, Tensor as TractTensor, TractError,
    TractResult, TypedModel, TypedNode, TypedRunnableModel, TypedSimpleState, tvec,
};
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::BaseDataShape;

use super::{Error, Network, Output, operators, prepare, rewrite, single};
use crate::engine::cost::MAX_ACTIVATION_BYTES;
use crate::engine::graph::Graph;
use crate::engine::import::{self, File};
use crate::engine::onnx;
use crate::protobuf::{ModelProto, NodeProto};
use crate::tensor::{Tensor, TensorMut};

/// Maximum number of nodes in a network for tract. Its preparation time grows with the square of the number: up to two
/// minutes for this many on an AMD EPYC. [`node_count`] defines the count.
const MAX_NODES: usize = 3 << 10;

/// Maximum axes of a map. tract splits a reshaping into steps of one axis.
const MAX_AXES: usize = 12;

/// Maximum kernel positions that tract lists for the windows of a network: all of them for every way in which the edges
/// clip a window.
const MAX_LISTED: u64 = 1 << 24;

/// A compiled network for one input size. Clones share the weights.
#[derive(Debug, Clone)]
pub struct TractPlan {
    runnable: Arc<TypedRunnableModel>,
    input: [usize; 3],
    /// Name of the node that produces the output.
    output: Arc<str>,
    /// Channels, rows and columns of the output; for an output that is not a map, its axes in order.
    shape: [usize; 3],
}

impl TractPlan {
    /// Compiles `graph` for inputs of `height × width` pixels. If the output is a map, its values are logits in the
    /// order `[channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Onnx`] if the graph does not support that size, [`Error::Nodes`] if it has too many nodes for tract,
    /// [`Error::Tract`] if tract rejects it or panics.
    pub fn compile(graph: Graph, height: usize, width: usize) -> Result<Self, Error> {
        let proto = onnx::model(&graph, height, width).map_err(Error::Onnx)?;
        check_nodes(&proto)?;
        let channels = graph.node(graph.input()).map_or(0, |node| node.channels);
        drop(graph);
        let proto = translated(proto)?;
        caught("optimise", || {
            let parsed = tract_onnx::onnx().model_for_proto_model(&proto).map_err(failed("read"))?;
            drop(proto);
            Self::of_typed(parsed.into_optimized().map_err(failed("optimise"))?, [height, width, channels])
        })
    }

    /// Compiles the network of an ONNX file as is, for inputs of `height × width` pixels: for networks that a graph
    /// cannot represent. Runs it once, on zeros.
    ///
    /// # Errors
    /// [`Error::Nodes`] if the network has too many nodes for tract; [`Error::Tract`] if tract cannot read or run it or
    /// panics, it does not support that size, or it needs more memory than is allowed.
    pub fn from_onnx(file: File, height: usize, width: usize) -> Result<Self, Error> {
        let input = [height, width, file.channels()];
        let typed = typed(file, height, width)?;
        let plan = caught("optimise", || Self::of_typed(typed.into_optimized().map_err(failed("optimise"))?, input))?;
        // A valid file can still contain numbers that fail only when an operator runs.
        plan.network()?.run()?;
        Ok(plan)
    }

    /// Number of output values of the network.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.shape.iter().product()
    }

    fn of_typed(optimised: TypedModel, input: [usize; 3]) -> Result<Self, Error> {
        let fact = optimised.output_fact(0).map_err(failed("read"))?;
        let shape = match fact.shape.as_concrete() {
            Some(&[1, channels, height, width]) => [channels, height, width],
            Some(shape) => [shape.iter().product(), 1, 1],
            None => [0, 1, 1],
        };
        let outlet = optimised.output_outlets().map_err(failed("read"))?.first();
        let output = outlet.map_or("", |outlet| &*optimised.node(outlet.node).name).into();
        let options = RunOptions { executor: Some(Executor::SingleThread), ..RunOptions::default() };
        let runnable = TypedRunnableModel::new_with_options(optimised, &options).map_err(failed("plan"))?;
        Ok(Self { runnable, input, output, shape })
    }

    /// A network for one thread.
    ///
    /// # Errors
    /// [`Error::Tract`] if its memory cannot be allocated.
    pub fn network(&self) -> Result<TractNetwork, Error> {
        let state = self.runnable.spawn().map_err(failed("start"))?;
        let [height, width, channels] = self.input;
        let planes = zeros([1, channels, height, width]).map_err(failed("start"))?;
        let input = Tensor::zeros(height, width, channels);
        let outputs = [Output::zeros(&self.output, self.shape)];
        Ok(TractNetwork { plan: self.clone(), state, input, planes, outputs })
    }
}

/// Extents of the output of an ONNX file's network for inputs of `height × width` pixels.
///
/// # Errors
/// The errors of [`TractPlan::from_onnx`] that occur before preparation.
pub fn output_shape(file: File, height: usize, width: usize) -> Result<Vec<usize>, Error> {
    let typed = typed(file, height, width)?;
    let output = typed.output_fact(0).map_err(failed("read"))?;
    Ok(output.shape.as_concrete().unwrap_or(&[0]).to_vec())
}

/// The network of a file with the shapes of all maps; checks that they fit into memory.
fn typed(file: File, height: usize, width: usize) -> Result<TypedModel, Error> {
    // A valid file can still contain numbers that tract's operators do not expect.
    caught("read", || {
        let unbounded = |error: import::Error| failed("read")(TractError::msg(error.to_string()));
        file.check_constants().map_err(unbounded)?;
        let fact = f32::fact([1, file.channels(), height, width]).into();
        let operator_set = file.operator_set();
        let mut proto = file.into_proto();
        check_nodes(&proto)?;
        proto.graph.iter_mut().for_each(single::widen);
        operators::check(&proto)?;
        proto.graph.iter_mut().for_each(operators::forget_names_of_extents);
        proto.graph.iter_mut().for_each(|graph| rewrite::rewrite(graph, operator_set));
        check_nodes(&proto)?;
        let proto = translated(proto)?;
        // The shapes that a file states for values between nodes hold for any input size, not for this one.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
        let mut parsed = onnx.model_for_proto_model(&proto).map_err(failed("read"))?;
        drop(proto);
        parsed.set_input_fact(0, fact).map_err(failed("read"))?;
        parsed.analyse(false).map_err(failed("read"))?;
        check_sizes(&parsed).map_err(failed("read"))?;
        let mut typed = parsed.into_typed().map_err(failed("read"))?;
        let mut listed = 0;
        for node in typed.nodes() {
            check_node(&typed, node, &mut listed).map_err(failed("read"))?;
        }
        check_memory(&typed).map_err(failed("read"))?;
        prepare::prepare(&mut typed).map_err(failed("read"))?;
        Ok(typed)
    })
}

/// Checks that no node makes an empty map or one that does not fit into memory, before tract computes what it can.
fn check_sizes(model: &InferenceModel) -> TractResult<()> {
    for node in model.nodes().iter().filter(|node| !node.inputs.is_empty()) {
        for output in &node.outputs {
            let Some(shape) = output.fact.shape.as_concrete_finite()? else { continue };
            if shape.contains(&0) || product(&shape, 1) > MAX_ACTIVATION_BYTES / size_of::<f32>() as u64 {
                let problem = "makes an empty map, or one that does not fit into memory";
                return Err(TractError::msg(format!("`{}` {problem}: {shape:?}", node.name)));
            }
        }
    }
    Ok(())
}

/// The same model in tract's own messages.
fn translated(model: ModelProto) -> Result<pb::ModelProto, Error> {
    let bytes = model.encode_to_vec();
    drop(model);
    pb::ModelProto::decode(bytes.as_slice()).map_err(|error| failed("read")(error.into()))
}

/// The product of the extents of a shape and `factor`.
fn product(shape: &[usize], factor: u64) -> u64 {
    shape.iter().fold(factor, |product, &extent| product.saturating_mul(extent as u64))
}

/// Cost of a network's nodes for tract: a convolution counts twice; a node that joins, sums or splits any number of
/// maps counts once more per map.
fn node_count(model: &ModelProto) -> usize {
    let cost = |node: &NodeProto| match node.op_type.as_str() {
        "Constant" => 0,
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => 2,
        "Concat" | "Sum" | "Max" | "Min" | "Mean" | "Split" => 1 + node.input.len().max(node.output.len()),
        _ => 1,
    };
    model.graph.as_ref().map_or(0, |graph| graph.node.iter().map(cost).sum())
}

/// Checks that a network has few enough nodes to be prepared.
fn check_nodes(model: &ModelProto) -> Result<(), Error> {
    let nodes = node_count(model);
    if nodes <= MAX_NODES { Ok(()) } else { Err(Error::Nodes { nodes, limit: MAX_NODES }) }
}

/// Checks that the values alive at any one time fit into the allowed memory: every value is kept until its last read.
fn check_memory(model: &TypedModel) -> TractResult<()> {
    let order = model.eval_order()?;
    let mut last_read = vec![0; model.nodes().len()];
    for (step, &index) in order.iter().enumerate() {
        last_read[index] = step.max(last_read[index]);
        model.node(index).inputs.iter().for_each(|input| last_read[input.node] = step);
    }
    model.output_outlets()?.iter().for_each(|output| last_read[output.node] = order.len());
    let bytes = |index: usize| {
        let facts = model.node(index).outputs.iter().map(|output| &output.fact);
        facts.fold(0_u64, |sum, fact| {
            let shape = fact.shape.as_concrete().unwrap_or(&[]);
            sum.saturating_add(product(shape, fact.datum_type.size_of() as u64))
        })
    };
    let mut done = vec![0_u64; order.len() + 1];
    let mut live = 0_u64;
    for (step, &index) in order.iter().enumerate() {
        let bytes = bytes(index);
        done[last_read[index]] = done[last_read[index]].saturating_add(bytes);
        live = live.saturating_add(bytes);
        // Weights are as large as the file, which has been read.
        if live.saturating_add(scratch_bytes(model, model.node(index))?) > MAX_ACTIVATION_BYTES.saturating_mul(2) {
            let name = &model.node(index).name;
            return Err(TractError::msg(format!("the maps at `{name}` do not fit into memory")));
        }
        live = live.saturating_sub(done[step]);
    }
    Ok(())
}

/// Checks that the maps of a node have known sizes and fit into memory, and that tract's lists for its window do, in
/// addition to the `listed` positions of earlier nodes.
fn check_node(model: &TypedModel, node: &TypedNode, listed: &mut u64) -> TractResult<()> {
    let fail = |problem: String| Err(TractError::msg(format!("`{}` {problem}", node.name)));
    for output in &node.outputs {
        let Some(shape) = output.fact.shape.as_concrete() else {
            return fail("makes a map whose size depends on the picture".to_owned());
        };
        if shape.len() > MAX_AXES {
            return fail(format!("makes a map of {} axes: expected {MAX_AXES} at most", shape.len()));
        }
        if product(shape, 1) > MAX_ACTIVATION_BYTES / size_of::<f32>() as u64 {
            return fail(format!("makes a map of {shape:?}, which does not fit into memory"));
        }
    }
    let Some((spec, shape)) = window(model, node)? else { return Ok(()) };
    let cuts = spec.computed_padding(shape.hw_dims());
    let cuts = cuts.iter().map(|cut| (cut.pad_before as u64).saturating_add(cut.pad_after as u64).saturating_add(1));
    *listed = listed.saturating_add(cuts.fold(product(&spec.kernel_shape, 1), u64::saturating_mul));
    if *listed > MAX_LISTED {
        let places = "window positions so far, including those clipped at the edges";
        return fail(format!("has a large window: {listed} {places}, but {MAX_LISTED} are allowed"));
    }
    Ok(())
}

/// The window of a convolution or pool, and its input shape.
fn window<'a>(model: &'a TypedModel, node: &'a TypedNode) -> TractResult<Option<(&'a PoolSpec, Shape<'a>)>> {
    let windows = node.op_as::<Conv>().map(|op| &op.pool_spec);
    let windows = windows.or_else(|| node.op_as::<MaxPool>().map(|op| &op.pool_spec));
    let Some(spec) = windows.or_else(|| node.op_as::<SumPool>().map(|op| &op.pool_spec)) else { return Ok(None) };
    Ok(input_shape(model, node, spec)?.map(|shape| (spec, shape)))
}

type Shape<'a> = BaseDataShape<usize, &'a [usize]>;

fn input_shape<'a>(model: &'a TypedModel, node: &TypedNode, spec: &PoolSpec) -> TractResult<Option<Shape<'a>>> {
    let Some(&input) = node.inputs.first() else { return Ok(None) };
    let shape = model.outlet_fact(input)?.shape.as_concrete().filter(|shape| shape.len() == spec.rank() + 2);
    shape.map(|shape| spec.data_format.shape(shape)).transpose()
}

/// Bytes that a node needs besides the maps: a convolution for a zero-padded copy of its input, a transposed one for
/// the products of all its inputs.
fn scratch_bytes(model: &TypedModel, node: &TypedNode) -> TractResult<u64> {
    const VALUE: u64 = size_of::<f32>() as u64;
    if let Some(Deconv { pool_spec, .. }) = node.op_as() {
        let Some(shape) = input_shape(model, node, pool_spec)? else { return Ok(0) };
        let kernel = product(&pool_spec.kernel_shape, product(&[pool_spec.output_channels], VALUE));
        return Ok(product(shape.hw_dims(), kernel));
    }
    if !node.op_is::<Conv>() {
        return Ok(0);
    }
    let Some((spec, shape)) = window(model, node)? else { return Ok(0) };
    let padding = spec.computed_padding(shape.hw_dims());
    let sides: Vec<usize> = std::iter::zip(shape.hw_dims(), padding)
        .map(|(side, padding)| side.saturating_add(padding.pad_before).saturating_add(padding.pad_after))
        .collect();
    Ok(product(&sides, product(&[*shape.c()], VALUE)))
}

/// Runs a [`TractPlan`]. The input and tract's own scratch memory are kept from frame to frame.
pub struct TractNetwork {
    plan: TractPlan,
    state: TypedSimpleState,
    input: Tensor,
    /// The input in tract's layout: `[1, channels, height, width]`.
    planes: Arc<TractTensor>,
    outputs: [Output; 1],
}

impl Network for TractNetwork {
    fn input(&mut self) -> TensorMut<'_> {
        (&mut self.input).into()
    }

    fn run(&mut self) -> Result<(), Error> {
        let result = caught("run", || self.forward().map_err(failed("run")));
        if result.is_err() {
            // A failed run leaves values behind.
            self.state = self.plan.runnable.spawn().map_err(failed("start"))?;
        }
        result
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }
}

impl TractNetwork {
    fn forward(&mut self) -> TractResult<()> {
        let input = &self.input;
        if Arc::get_mut(&mut self.planes).is_none() {
            // A failed run may still hold the buffer.
            self.planes = zeros([1, input.channels(), input.height(), input.width()])?;
        }
        if let Some(planes) = Arc::get_mut(&mut self.planes) {
            let mut planes = planes.try_as_plain_ram_mut()?;
            to_planes(input, planes.as_slice_mut()?);
        }
        let outputs = self.state.run(tvec![Arc::clone(&self.planes).into_tvalue()])?;
        for (output, found) in self.outputs.iter_mut().zip(&outputs) {
            let found = found.try_as_plain_ram()?;
            for (value, &found) in output.values.iter_mut().zip(found.as_slice::<f32>()?) {
                *value = found;
            }
        }
        Ok(())
    }
}

thread_local! {
    /// Whether a panic of this thread is turned into an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Suppresses the output of panics that are turned into errors. Call once per program.
pub fn silence_caught_panics() {
    let print = take_hook();
    set_hook(Box::new(move |info| {
        if !CAUGHT.get() {
            print(info);
        }
    }));
}

/// Runs `work` and turns a panic into an error.
fn caught<T>(action: &'static str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let before = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    result.unwrap_or_else(|_| Err(failed(action)(TractError::msg("its operators do not fit together"))))
}

/// Copies `[height, width, channels]` into `[channels, height, width]`.
fn to_planes(input: &Tensor, planes: &mut [f32]) {
    let (pixels, channels) = (input.height() * input.width(), input.channels());
    for (channel, plane) in planes.chunks_exact_mut(pixels.max(1)).enumerate() {
        for (value, pixel) in plane.iter_mut().zip(input.data().chunks_exact(channels)) {
            *value = pixel[channel];
        }
    }
}

fn zeros(shape: [usize; 4]) -> TractResult<Arc<TractTensor>> {
    Ok(Arc::new(TractTensor::zero::<f32>(&shape)?))
}

fn failed(action: &'static str) -> impl Fn(TractError) -> Error {
    move |source| Error::Tract { action, source: source.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::engine::graph::{Activation, Affine, Builder, Conv, Linear, NodeId, Padding, Window};

    /// tract's output for the map `[2, 2, 1]` with the values -1, 2, 3, 4.
    fn run(nodes: impl FnOnce(&mut Builder, NodeId) -> NodeId) -> Vec<f32> {
        let mut builder = Builder::new();
        let input = builder.input("input", 1).unwrap();
        let output = nodes(&mut builder, input);
        let plan = TractPlan::compile(builder.finish(output).unwrap(), 2, 2).unwrap();
        let mut tensor = Tensor::zeros(2, 2, 1);
        tensor.data_mut().copy_from_slice(&[-1.0, 2.0, 3.0, 4.0]);
        plan.network().unwrap().infer(&tensor).unwrap().to_vec()
    }

    #[test]
    fn tract_reads_every_operator_as_the_graph_means_it() {
        assert_eq!(run(|_, input| input), [-1.0, 2.0, 3.0, 4.0]);
        assert_eq!(run(|graph, input| graph.add("sum", input, input).unwrap()), [-2.0, 4.0, 6.0, 8.0]);
        let corner =
            Window { kernel: [2, 2], stride: [1, 2], padding: Padding { top: 1, left: 1, bottom: 0, right: 0 } };
        assert_eq!(run(|graph, input| graph.max_pool("max", input, corner).unwrap()), [-1.0, 3.0]);
        assert_eq!(run(|graph, input| graph.avg_pool("mean", input, corner, false).unwrap()), [-1.0, 1.0]);
        assert_eq!(run(|graph, input| graph.avg_pool("mean", input, corner, true).unwrap()), [-0.25, 0.5]);
        let halves = run(|graph, input| {
            let mean = graph.global_average("mean", input).unwrap();
            let pair = graph.concat("pair", &[mean, mean]).unwrap();
            graph.softmax("softmax", pair).unwrap()
        });
        assert_eq!(halves, [0.5, 0.5]);

        let conv = |activation| Conv {
            in_channels: 1,
            out_channels: 2,
            window: corner,
            groups: 1,
            weight: vec![0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 2.0].into(),
            bias: vec![0.5, -0.5].into(),
            activation,
        };
        for (activation, expected) in
            [(Activation::None, [-0.5, 3.5, -2.5, 4.5]), (Activation::Relu, [0.0, 3.5, 0.0, 4.5])]
        {
            assert_eq!(run(|graph, input| graph.conv("conv", input, conv(activation)).unwrap()), expected);
        }
        let doubled = run(|graph, input| {
            let twice = graph.add("twice", input, input).unwrap();
            graph.conv("conv", twice, conv(Activation::Relu6)).unwrap()
        });
        assert_eq!(doubled, [0.0, 6.0, 0.0, 6.0]);
    }

    /// The functions as their documentation defines them, in 64-bit floating point.
    fn activated(activation: Activation, x: f64) -> f64 {
        let hard = (x / 6.0 + 0.5).clamp(0.0, 1.0);
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        match activation {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::HardSigmoid => hard,
            Activation::HardSwish => x * hard,
            Activation::Sigmoid => sigmoid,
            Activation::Silu => x * sigmoid,
        }
    }

    #[test]
    fn tract_reads_every_activation_as_the_graph_means_it() {
        let close = |found: Vec<f32>, expected: [f64; 4]| {
            let near = found.iter().zip(expected).all(|(&found, expected)| (f64::from(found) - expected).abs() < 1e-5);
            assert!(near && found.len() == 4, "{found:?} instead of {expected:?}");
        };
        for activation in [
            Activation::Relu,
            Activation::Relu6,
            Activation::HardSigmoid,
            Activation::HardSwish,
            Activation::Sigmoid,
            Activation::Silu,
        ] {
            let alone = run(|graph, input| graph.activation("last", input, activation).unwrap());
            close(alone, [-1.0, 2.0, 3.0, 4.0].map(|x| activated(activation, x)));
            let affine = || Affine { scale: vec![2.0].into(), shift: vec![-0.5].into(), activation };
            let scaled = run(|graph, input| graph.affine("last", input, affine()).unwrap());
            close(scaled, [-2.5, 3.5, 5.5, 7.5].map(|x| activated(activation, x)));
            let flat = run(|graph, input| {
                let mean = graph.global_average("mean", input).unwrap();
                let weight = vec![1.0, 2.0, -1.0, 4.0].into();
                let linear = Linear { in_channels: 1, out_channels: 4, weight, bias: vec![0.0; 4].into() };
                let linear = graph.linear("linear", mean, linear).unwrap();
                let scale = vec![1.0, 0.5, 2.0, -1.0].into();
                let affine = Affine { scale, shift: vec![0.0, 1.0, 0.0, 0.0].into(), activation };
                let affine = graph.affine("affine", linear, affine).unwrap();
                graph.activation("last", affine, activation).unwrap()
            });
            close(flat, [2.0, 3.0, -4.0, -8.0].map(|x| activated(activation, activated(activation, x))));
        }
    }

    #[test]
    fn pixels_become_planes() {
        let mut tensor = Tensor::zeros(1, 2, 3);
        tensor.data_mut().copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut planes = [0.0; 6];
        to_planes(&tensor, &mut planes);
        assert_eq!(planes, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn a_size_that_does_not_fit_is_an_error() {
        let mut builder = Builder::new();
        let input = builder.input("input", 1).unwrap();
        let output = builder.max_pool("max", input, Window::square(3, 1, 0)).unwrap();
        assert!(matches!(TractPlan::compile(builder.finish(output).unwrap(), 2, 2), Err(Error::Onnx(_))));
    }
}
