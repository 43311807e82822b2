//! Which back end runs a network, and what it made of it.

use super::{Classifier, Error, native, tract};
use crate::engine::cost::MAX_ACTIVATION_BYTES;
use crate::engine::graph::Graph;
use crate::engine::plan::{self, Memory};
use crate::kernels::Isa;
use crate::kernels::team::Threads;

/// A back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The native one, and tract for networks that it does not know in full.
    #[default]
    Auto,
    /// The engine of this program.
    Native,
    /// tract.
    Tract,
}

impl Backend {
    /// The one called `name`: `auto`, `native` or `tract`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "native" => Some(Self::Native),
            "tract" => Some(Self::Tract),
            _ => None,
        }
    }
}

/// A back end with what the native engine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Engine {
    /// The back end.
    pub backend: Backend,
    /// The instruction set of the native engine; nothing: the best that the processor has.
    pub isa: Option<Isa>,
    /// Trade-off between memory and speed of the native engine.
    pub memory: Memory,
}

impl Engine {
    /// What the native engine is told.
    #[must_use]
    pub fn options(&self) -> plan::Options {
        plan::Options { isa: self.isa.unwrap_or_else(Isa::best), memory: self.memory }
    }
}

/// A network that is ready to run.
#[derive(Debug)]
pub(super) enum Compiled {
    Native(native::Plan),
    Tract(tract::Plan),
}

impl Compiled {
    /// Compiles `graph` for inputs of `height × width` pixels. `name` is for the log.
    ///
    /// # Errors
    /// The graph cannot have that size, or the back end asked for cannot run it.
    pub(super) fn new(graph: Graph, [height, width]: [usize; 2], engine: Engine, name: &str) -> Result<Self, Error> {
        if engine.backend != Backend::Tract {
            // The native engine takes the weights out of the graph, and tract needs them.
            match plan::check(&graph, height, width) {
                Ok(()) => {
                    let plan = native::Plan::compile(graph, height, width, engine.options());
                    let plan = plan.map_err(Error::Native)?;
                    // The maps as they lie in memory, with the channels that fill up vectors: it is taken by what runs it.
                    let needed = plan.plan().activation_bytes() as u64;
                    if needed > MAX_ACTIVATION_BYTES.saturating_mul(2) {
                        return Err(Error::Memory { name: name.to_owned(), needed });
                    }
                    return Ok(Self::Native(plan));
                }
                Err(plan::Error::Unsupported { node, what }) if engine.backend == Backend::Auto => {
                    tracing::warn!(
                        model = name,
                        "runs on tract: `{node}`: {what} is not supported by the native engine"
                    );
                }
                Err(error) => return Err(Error::Native(error)),
            }
        }
        Ok(Self::Tract(tract::Plan::compile(graph, height, width)?))
    }

    /// Whether runs are as fast as they will be.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Native(plan) => plan.plan().is_settled(),
            Self::Tract(_) => true,
        }
    }

    /// A classifier for one user at a time. tract takes one thread, whatever is asked for.
    pub(super) fn classifier(&self, threads: &Threads) -> Result<Box<dyn Classifier>, Error> {
        Ok(match self {
            Self::Native(plan) => Box::new(plan.classifier(threads)?),
            Self::Tract(plan) => Box::new(plan.classifier()?),
        })
    }

    /// `native/avx2` or `tract`, say.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Native(plan) => format!("native/{}", plan.isa()),
            Self::Tract(_) => "tract".to_owned(),
        }
    }
}
