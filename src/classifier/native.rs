//! The native back end: a plan of the engine, and what runs it.

use std::sync::Arc;

use super::{Classifier, Error};
use crate::engine::graph::Graph;
use crate::engine::plan;
use crate::engine::run::Runner;
use crate::kernels::Isa;
use crate::kernels::runtime::Threads;
use crate::tensor::Tensor;

/// A compiled network for one input size. Clones share the weights.
#[derive(Debug, Clone)]
pub struct NativePlan {
    plan: Arc<plan::Plan>,
}

impl NativePlan {
    /// Compiles `graph` for inputs of `height × width` pixels.
    ///
    /// # Errors
    /// [`plan::Error`]: the engine has no pass for a part of the graph, the graph cannot have that size, or
    /// the processor does not have the instruction set.
    pub fn compile(graph: Graph, height: usize, width: usize, options: plan::PlanOptions) -> Result<Self, plan::Error> {
        Ok(Self { plan: Arc::new(plan::Plan::new(graph, height, width, options)?) })
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

    /// A classifier for one user at a time, each of whose runs takes `threads`.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn classifier(&self, threads: &Threads) -> Result<NativeClassifier, Error> {
        let runner = Runner::new(Arc::clone(&self.plan), threads);
        let failed = |source| Error::Threads { threads: threads.count(), source };
        Ok(NativeClassifier { runner: runner.map_err(failed)? })
    }
}

/// Runs a [`NativePlan`]. Nothing is allocated from frame to frame.
#[derive(Debug)]
pub struct NativeClassifier {
    runner: Runner,
}

impl Classifier for NativeClassifier {
    fn infer(&mut self, input: &Tensor, logits: &mut [f32]) -> Result<(), Error> {
        let plan = self.runner.plan();
        let (expected, found) = (plan.input(), [input.height(), input.width(), input.channels()]);
        if found != expected {
            return Err(Error::Input { expected, found });
        }
        if logits.len() != plan.outputs() {
            return Err(Error::Logits { expected: plan.outputs(), found: logits.len() });
        }
        Ok(self.runner.run(input.data(), logits)?)
    }
}
