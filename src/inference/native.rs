//! The native backend: an engine plan and its runner.

use std::sync::Arc;

use super::{Error, Network, Output};
use crate::engine::graph::Graph;
use crate::engine::plan;
use crate::engine::run::Runner;
use crate::kernels::Isa;
use crate::kernels::runtime::Threads;
use crate::tensor::TensorMut;

/// A compiled network for one input size. Clones share the weights.
#[derive(Debug, Clone)]
pub struct NativePlan {
    plan: Arc<plan::Plan>,
    /// Name of the node that produces the output.
    output: Arc<str>,
}

impl NativePlan {
    /// Compiles `graph` for inputs of `height × width` pixels.
    ///
    /// # Errors
    /// [`plan::Error`] if the engine has no pass for a part of the graph, the graph does not support that size, or the
    /// processor lacks the instruction set.
    pub fn compile(graph: Graph, height: usize, width: usize, options: plan::PlanOptions) -> Result<Self, plan::Error> {
        let output = graph.node(graph.output()).map_or("", |node| &*node.name).into();
        Ok(Self { plan: Arc::new(plan::Plan::new(graph, height, width, options)?), output })
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.plan.isa()
    }

    /// The passes.
    #[must_use]
    pub fn plan(&self) -> &plan::Plan {
        &self.plan
    }

    /// A network for one user at a time; each run uses `threads`.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn network(&self, threads: &Threads) -> Result<NativeNetwork, Error> {
        let runner = Runner::new(Arc::clone(&self.plan), threads);
        let failed = |source| Error::Threads { threads: threads.count(), source };
        let outputs = [Output::zeros(&self.output, self.plan.output_shape())];
        Ok(NativeNetwork { runner: runner.map_err(failed)?, outputs })
    }
}

/// Runs a [`NativePlan`]. Nothing is allocated per frame, and the input is written where the first pass reads it.
#[derive(Debug)]
pub struct NativeNetwork {
    runner: Runner,
    outputs: [Output; 1],
}

impl Network for NativeNetwork {
    fn input(&mut self) -> TensorMut<'_> {
        let shape = self.runner.plan().input();
        TensorMut::new(shape, self.runner.input())
    }

    fn run(&mut self) -> Result<(), Error> {
        Ok(self.runner.forward(&mut self.outputs[0].values)?)
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }
}
