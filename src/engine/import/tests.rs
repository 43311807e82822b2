#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::engine::graph::{Activation, Affine, Builder, Conv, Linear, Node, Op, Padding, Window};
use crate::engine::onnx;
use crate::protobuf::{
    AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, ValueType,
};

/// A file with nodes described by `text`: each line has an output, an operator, and its inputs.
struct Sketch {
    graph: GraphProto,
    operator_set: i64,
}

impl Sketch {
    /// A network with input `x` of `channels` × 6 × 8 and output `y`.
    fn new(channels: usize, text: &str) -> Self {
        let mut builder = Builder::new();
        let input = builder.input("x", channels).unwrap();
        let model = onnx::model(&builder.finish(input).unwrap(), 6, 8).unwrap();
        let mut graph = model.graph.unwrap();
        (graph.input[0].name, graph.output[0].name) = ("x".to_owned(), "y".to_owned());
        let node = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next()?;
            let op_type = words.next()?;
            let input = words.map(|word| if word == "-" { String::new() } else { word });
            let (input, output) = (input.collect(), vec![name.clone()]);
            Some(NodeProto { name, op_type, input, output, ..Default::default() })
        };
        graph.node = text.lines().filter_map(node).collect();
        Self { graph, operator_set: 13 }
    }

    /// Adds a tensor with these values.
    fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: DataType::Float as i32,
            float_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    /// Adds a list of integers.
    fn integers(mut self, name: &str, values: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: vec![i64::try_from(values.len()).unwrap()],
            data_type: DataType::Int64 as i32,
            int64_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    /// Adds an attribute to a node.
    fn attribute(mut self, node: &str, name: &str, kind: AttributeType, set: impl Fn(&mut AttributeProto)) -> Self {
        let mut attribute = AttributeProto { name: name.to_owned(), r#type: kind as i32, ..Default::default() };
        set(&mut attribute);
        self.graph.node.iter_mut().find(|candidate| candidate.name == node).unwrap().attribute.push(attribute);
        self
    }

    fn int(self, node: &str, name: &str, value: i64) -> Self {
        self.attribute(node, name, AttributeType::Int, |attribute| attribute.i = value)
    }

    fn ints(self, node: &str, name: &str, values: &[i64]) -> Self {
        self.attribute(node, name, AttributeType::Ints, |attribute| attribute.ints = values.to_vec())
    }

    fn text(self, node: &str, name: &str, value: &str) -> Self {
        self.attribute(node, name, AttributeType::String, |attribute| attribute.s = value.as_bytes().to_vec())
    }

    fn float(self, node: &str, name: &str, value: f32) -> Self {
        self.attribute(node, name, AttributeType::Float, |attribute| attribute.f = value)
    }

    fn read(self) -> Result<Imported, Error> {
        let set = OperatorSetIdProto { version: self.operator_set, ..Default::default() };
        let model = ModelProto { opset_import: vec![set], graph: Some(self.graph), ..Default::default() };
        read(&onnx::bytes(&model))
    }

    /// The nodes without the input.
    fn nodes(self) -> Vec<Node> {
        self.read().unwrap().graph.nodes()[1..].to_vec()
    }

    fn message(self) -> String {
        self.read().unwrap_err().to_string()
    }
}

fn conv(node: &Node) -> &Conv {
    let Op::Conv(conv) = &node.op else { panic!("{node:?}") };
    conv
}

fn affine(node: &Node) -> &Affine {
    let Op::Affine(affine) = &node.op else { panic!("{node:?}") };
    affine
}

fn linear(node: &Node) -> &Linear {
    let Op::Linear(linear) = &node.op else { panic!("{node:?}") };
    linear
}

#[test]
fn a_batch_norm_goes_into_the_convolution_that_only_it_reads() {
    let sketch = |text: &str| {
        let sketch = Sketch::new(1, text).floats("w", &[2, 1, 1, 1], &[2.0, 3.0]).floats("b", &[2], &[1.0, -1.0]);
        let sketch = sketch.floats("scale", &[2], &[1.0, 4.0]).floats("shift", &[2], &[0.5, 0.0]);
        let sketch = sketch.floats("mean", &[2], &[1.0, 2.0]).floats("var", &[2], &[3.0, 0.0]);
        sketch.float("n", "epsilon", 1.0)
    };
    let nodes = sketch("c Conv x w b\nn BatchNormalization c scale shift mean var\ny Relu n").nodes();
    let [only] = &nodes[..] else { panic!("{nodes:?}") };
    // Factors of 1 / 2 and 4 / 1.
    assert_eq!((&*conv(only).weight, &*conv(only).bias), (&[1.0, 12.0][..], &[0.5, -12.0][..]));
    assert_eq!(conv(only).activation, Activation::Relu);

    let read_twice = "c Conv x w b\nn BatchNormalization c scale shift mean var\nr Relu n\ny Add r c";
    let nodes = sketch(read_twice).nodes();
    assert_eq!(conv(&nodes[0]).activation, Activation::None);
    assert_eq!((&*affine(&nodes[1]).scale, &*affine(&nodes[1]).shift), (&[0.5, 4.0][..], &[0.0, -8.0][..]));
    assert_eq!((affine(&nodes[1]).activation, nodes.len()), (Activation::Relu, 3));

    let behind = "c Conv x w b\nr Relu c\ny BatchNormalization r scale shift mean var\nn Identity x";
    let nodes = sketch(behind).float("y", "epsilon", 1.0).nodes();
    assert_eq!((conv(&nodes[0]).activation, affine(&nodes[1]).activation), (Activation::Relu, Activation::None));
    let training = sketch("c Conv x w b\nn BatchNormalization c scale shift mean var\ny Relu n");
    let message = training.int("n", "training_mode", 1).message();
    assert_eq!(message, "`n` (BatchNormalization): a batch norm is supported only in inference mode, over channels");
}

#[test]
fn numbers_for_each_channel_become_scales_and_shifts() {
    let sketch = Sketch::new(2, "a Sub x mean\nb Div a two\nc Sub one b\ny Mul c scale")
        .floats("mean", &[1, 2, 1, 1], &[1.0, -3.0])
        .floats("two", &[], &[2.0])
        .floats("one", &[1], &[1.0])
        .floats("scale", &[2, 1, 1], &[10.0, 100.0]);
    let imported = sketch.read().unwrap();
    let nodes = imported.graph.nodes();
    // (1 - (x - mean) / 2) * scale
    assert_eq!((&*affine(&nodes[1]).scale, &*affine(&nodes[1]).shift), (&[-5.0, -50.0][..], &[15.0, -50.0][..]));
    assert_eq!((nodes.len(), imported.parameters), (2, 4));
    for dims in [&[2][..], &[1, 1, 1, 2], &[2, 1], &[1, 1, 2, 1, 1]] {
        let message = Sketch::new(2, "y Add x c").floats("c", dims, &[1.0, 2.0]).message();
        assert!(message.ends_with("is not supported, only one per channel"), "{dims:?}: {message}");
    }
}

#[test]
fn paddings_are_resolved_where_they_can_be() {
    let sketch = |auto: &str, stride: i64| {
        let sketch = Sketch::new(1, "y Conv x w").floats("w", &[1, 1, 3, 4], &[1.0; 12]).text("y", "auto_pad", auto);
        sketch.ints("y", "strides", &[stride, stride])
    };
    let padding = |sketch: Sketch| conv(&sketch.nodes()[0]).window.padding;
    let sides = |top, left, bottom, right| Padding { top, left, bottom, right };
    assert_eq!(padding(sketch("VALID", 1)), sides(0, 0, 0, 0));
    assert_eq!(padding(sketch("SAME_UPPER", 1)), sides(1, 1, 1, 2));
    assert_eq!(padding(sketch("SAME_LOWER", 1)), sides(1, 2, 1, 1));
    // 6 rows in steps of 2 need 1 more, 8 columns in steps of 2 need 2 more.
    assert_eq!(padding(sketch("SAME_UPPER", 2)), sides(0, 1, 1, 1));
    assert_eq!(padding(sketch("SAME_LOWER", 2)), sides(1, 1, 0, 1));
    let mut open = sketch("SAME_UPPER", 2);
    open.graph.input[0] = open_size(open.graph.input[0].clone());
    let message = open.message();
    assert_eq!(message, "`y` (Conv): its padding depends on the size of the input, which the file leaves open");
}

/// The input with an open height and width.
fn open_size(mut info: ValueInfoProto) -> ValueInfoProto {
    let kind = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(ValueType::TensorType(tensor)) = kind {
        tensor.shape.as_mut().unwrap().dim[2..].iter_mut().for_each(|extent| extent.value = None);
    }
    info
}

#[test]
fn zeros_around_a_map_go_into_the_window_behind() {
    let pads = [0, 0, 1, 0, 0, 0, 0, 2];
    let padding = Padding { top: 1, left: 0, bottom: 0, right: 2 };
    let sketch = |text: &str| Sketch::new(1, text).integers("pads", &pads).floats("w", &[1, 1, 3, 3], &[1.0; 9]);
    let nodes = sketch("p Pad x pads\ny Conv p w").nodes();
    assert_eq!(conv(&nodes[0]).window, Window { padding, ..Window::square(3, 1, 0) });
    let pool = |text: &str| sketch(text).ints("y", "kernel_shape", &[3, 3]);
    let nodes = pool("p Pad x pads\ny AveragePool p").nodes();
    assert!(matches!(nodes[0].op, Op::AvgPool { pool, count_include_pad: true } if pool.padding == padding));
    let nodes = pool("r Relu x\np Pad r pads\ny MaxPool p").nodes();
    assert!(matches!(nodes[1].op, Op::MaxPool(pool) if pool.padding == padding));
    let negative = "`y` (MaxPool): a maximum over zeros around a map that can be negative is not supported";
    assert_eq!(pool("p Pad x pads\ny MaxPool p").message(), negative);
    let other = sketch("p Pad x pads\ny Relu p").message();
    assert_eq!(other, "`y` (Relu): it reads a padded map; only convolutions and pools are supported after a padding");
    let reflected = sketch("p Pad x pads\ny Conv p w").text("p", "mode", "reflect").message();
    assert_eq!(reflected, "`p` (Pad): only a padding of maps with zeros is supported");
    assert_eq!(sketch("y Pad x pads").message(), "no node makes the output `y`");
}

#[test]
fn linear_layers_take_every_form() {
    let weight = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let sketch = |text: &str, dims: [i64; 2]| {
        let text = format!("m GlobalAveragePool x\nf Flatten m\n{text}");
        let sketch = Sketch::new(2, &text).floats("w", &dims, &weight).floats("b", &[3], &[1.0, 2.0, 3.0]);
        sketch.floats("s", &[1], &[0.5])
    };
    let parts = |sketch: Sketch| {
        let nodes = sketch.nodes();
        assert_eq!(nodes.len(), 2);
        (linear(&nodes[1]).weight.to_vec(), linear(&nodes[1]).bias.to_vec())
    };
    let (straight, turned) = (weight.to_vec(), vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(parts(sketch("y Gemm f w b", [2, 3])), (turned.clone(), vec![1.0, 2.0, 3.0]));
    assert_eq!(parts(sketch("y Gemm f w", [3, 2]).int("y", "transB", 1)), (straight.clone(), vec![0.0; 3]));
    let scaled = sketch("y Gemm f w b", [3, 2]).int("y", "transB", 1).float("y", "alpha", 2.0).float("y", "beta", 0.5);
    assert_eq!(parts(scaled), (vec![2.0, 4.0, 6.0, 8.0, 10.0, 12.0], vec![0.5, 1.0, 1.5]));
    assert_eq!(parts(sketch("y Gemm f w s", [2, 3])), (turned.clone(), vec![0.5; 3]));
    assert_eq!(parts(sketch("z MatMul f w\ny Add b z", [2, 3])), (turned.clone(), vec![1.0, 2.0, 3.0]));
    assert_eq!(parts(sketch("t Transpose w\ny MatMul f t", [3, 2])), (straight, vec![0.0; 3]));
    assert_eq!(parts(sketch("i Identity f\nd Dropout i\ny MatMul d w", [2, 3])).0, turned);
    let nodes = sketch("z Gemm f w b\ny Sigmoid z", [2, 3]).nodes();
    assert_eq!(conv(&nodes[1]).activation, Activation::Sigmoid);
}

#[test]
fn a_map_becomes_a_row_in_every_way() {
    let forms = [
        "f Flatten m",
        "f Squeeze m axes",
        "s Shape m\nb Gather s zero\nc Concat b open\nf Reshape m c",
        "s Shape m\nb Slice s zero one\nc Concat b open\nf Reshape m c",
        "s Shape m\nb Slice s\nc Concat b open\nf Reshape m c",
        "s Shape m\nb Identity s\nc Concat b open\nf Reshape m c",
        "f Reshape m copied",
        "f Reshape m counted",
        "r Reshape m four\nf Flatten r",
        "q Flatten m\nr Reshape q four\nf Flatten r",
        "q Squeeze m axes\nr Unsqueeze q axes\nf Flatten r",
    ];
    for form in forms {
        let sketch = Sketch::new(2, &format!("m ReduceMean x axes\n{form}\ny MatMul f w"));
        let sketch = sketch.integers("axes", &[-2, -1]).integers("zero", &[0]).integers("one", &[1]);
        let sketch = sketch.integers("open", &[-1]).integers("copied", &[0, -1]).integers("counted", &[-1, 2]);
        let sketch = match form.split_whitespace().nth(4) {
            Some("Slice") if !form.contains("zero one") => {
                sketch.ints("b", "starts", &[0]).ints("b", "ends", &[1]).ints("b", "axes", &[0])
            }
            Some("Identity") => sketch.int("s", "start", -4).int("s", "end", 1),
            _ => sketch,
        };
        let nodes = sketch.integers("four", &[1, 2, 1, 1]).floats("w", &[2, 1], &[1.0, 2.0]).nodes();
        assert!(matches!(nodes[0].op, Op::GlobalAverage), "{form}");
        assert_eq!((nodes.len(), linear(&nodes[1]).in_channels), (2, 2), "{form}");
    }
    let wrong = Sketch::new(2, "y Reshape x shape").integers("shape", &[2, 48]).message();
    assert_eq!(wrong, "`y` (Reshape): only reshaping all but the batch to a row is supported");
    let wrong = Sketch::new(2, "y Squeeze x axes").integers("axes", &[2, 3]).message();
    assert_eq!(wrong, "`y` (Squeeze): height and width are not 1");
}

#[test]
fn a_network_of_open_size_is_checked_at_the_size_that_it_runs_at() {
    let open = |text: &str| {
        let mut sketch = Sketch::new(2, text);
        sketch.graph.input[0] = open_size(sketch.graph.input[0].clone());
        sketch
    };
    let row = open("f Flatten x\ny MatMul f w").floats("w", &[32, 3], &[0.5; 96]).read().unwrap();
    assert!(row.shapes(4, 4).is_ok());
    assert!(matches!(row.shapes(5, 5), Err(graph::Error::Size { .. })), "25 pixels, and weights for 16");
    let turned = open("r Reshape x shape\ny Relu r").integers("shape", &[1, 2, -1, 1]).message();
    assert!(turned.contains("`r` (Reshape): only reshaping"), "{turned}");
    let spread = open("m GlobalAveragePool x\ny Add x m").message();
    assert_eq!(spread, "`y` (Add): two values of different shapes are not supported");
}

#[test]
fn constants_are_computed_as_exporters_write_them_before_they_optimise() {
    let forms = "d Shape w\ns Expand d one\nl CastLike zero x\nb Expand l s\nc Conv x w b\nlow CastLike zero c\nhigh CastLike six c\n\
                 y Clip c low high";
    let sketch = |part: i64| {
        let sketch = Sketch::new(2, forms).floats("w", &[3, 2, 1, 1], &[0.5; 6]).floats("zero", &[], &[0.0]);
        sketch.integers("one", &[1]).integers("six", &[6]).int("d", "start", 0).int("d", "end", part)
    };
    let nodes = sketch(1).nodes();
    let [only] = &nodes[..] else { panic!("{nodes:?}") };
    assert_eq!((&*conv(only).bias, conv(only).activation), (&[0.0; 3][..], Activation::Relu6));
    assert_eq!(sketch(2).message(), "`s` (Expand): this operator is not supported for these constants");
    let like = Sketch::new(2, "y CastLike x n").integers("n", &[1]).message();
    assert_eq!(like, "`y` (CastLike): this operator is not supported for these constants");
    let many = |shape: &[i64]| {
        let sketch = Sketch::new(2, "b Expand zero n\ny Conv x w b").integers("n", shape).floats("zero", &[], &[0.0]);
        sketch.floats("w", &[3, 2, 1, 1], &[0.5; 6]).message()
    };
    let message = "`b` (Expand): its weights are out of proportion to the size of the file";
    assert_eq!(many(&[1 << 30]), message);
    assert_eq!(many(&[1 << 40, 1 << 40]), "`b` (Expand): this operator is not supported for constants");
}

#[test]
fn weights_of_other_types_become_float() {
    let tensor = |data_type, raw_data: &[u8]| {
        let (name, dims, raw_data) = ("w".to_owned(), vec![1, 1, 1, 2], raw_data.to_vec());
        TensorProto { name, dims, data_type: data_type as i32, raw_data, ..Default::default() }
    };
    let doubles = [1.0_f64, -0.5].map(f64::to_le_bytes).concat();
    for tensor in [
        tensor(DataType::Float, &[1.0_f32, -0.5].map(f32::to_le_bytes).concat()),
        tensor(DataType::Double, &doubles),
        tensor(DataType::Float16, &[0, 0x3c, 0, 0xb8]),
        tensor(DataType::Bfloat16, &[0x80, 0x3f, 0, 0xbf]),
        TensorProto { int32_data: vec![0x3c00, 0xb800], ..tensor(DataType::Float16, &[]) },
        TensorProto { int32_data: vec![0x3f80, 0xbf00], ..tensor(DataType::Bfloat16, &[]) },
        TensorProto { double_data: vec![1.0, -0.5], ..tensor(DataType::Double, &[]) },
    ] {
        let mut sketch = Sketch::new(1, "y Conv x w");
        sketch.graph.initializer.push(tensor);
        assert_eq!(*conv(&sketch.nodes()[0]).weight, [1.0, -0.5]);
    }
}

#[test]
fn a_softmax_is_read_as_its_operator_set_means_it() {
    let map = |operator_set, axis| {
        let sketch = Sketch::new(2, "y Softmax x").int("y", "axis", axis);
        Sketch { operator_set, ..sketch }.read().is_ok()
    };
    assert!(map(13, 1) && map(13, -3) && !map(13, 3) && !map(12, 1));
    let row = |operator_set, axis: Option<i64>| {
        let mut sketch = Sketch::new(2, "m GlobalAveragePool x\nf Flatten m\ny Softmax f");
        sketch.operator_set = operator_set;
        if let Some(axis) = axis { sketch.int("y", "axis", axis) } else { sketch }.read().is_ok()
    };
    assert!(row(13, None) && row(11, None) && row(11, Some(-1)) && !row(13, Some(0)));
}

#[test]
fn names_leave_room_for_those_of_a_model() {
    let text =
        "logits Relu x\na Conv logits w\na.conv Sigmoid a\ninput Relu a.conv\na.weight Sigmoid input\ny Relu a.weight";
    let graph = Sketch::new(1, text).floats("w", &[1, 1, 1, 1], &[2.0]).read().unwrap().graph;
    let names: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["x", "logits_2", "a", "input_2", "a.weight_2", "y"]);
    assert!(onnx::model(&graph, 6, 8).is_ok());
}
