//! Selects the backend for a network and compiles the network for it.

use std::fmt;

use super::native::NativePlan;
use super::tract::TractPlan;
use super::{Error, Network};
use crate::choice::{BackendChoice, IsaChoice, MemoryMode};
use crate::engine::cost::MAX_ACTIVATION_BYTES;
use crate::engine::graph::Graph;
use crate::engine::plan;
use crate::kernels::Isa;
use crate::kernels::runtime::Threads;

/// The backend that runs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The program's own engine, with this instruction set.
    Native(Isa),
    /// tract.
    Tract,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(isa) => write!(formatter, "native/{isa}"),
            Self::Tract => formatter.write_str("tract"),
        }
    }
}

impl From<Isa> for IsaChoice {
    fn from(isa: Isa) -> Self {
        match isa {
            Isa::Scalar => Self::Scalar,
            Isa::Avx2 => Self::Avx2,
            Isa::Avx512 => Self::Avx512,
            Isa::Neon => Self::Neon,
        }
    }
}

/// The instruction set for a choice; for `auto`, the best one that this processor supports.
#[must_use]
pub fn chosen(isa: IsaChoice) -> Isa {
    match isa {
        IsaChoice::Auto => Isa::best(),
        IsaChoice::Scalar => Isa::Scalar,
        IsaChoice::Avx2 => Isa::Avx2,
        IsaChoice::Avx512 => Isa::Avx512,
        IsaChoice::Neon => Isa::Neon,
    }
}

/// How to run a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Engine {
    /// The backend.
    pub backend: BackendChoice,
    /// The instruction set of the native engine.
    pub isa: IsaChoice,
    /// Trade-off between memory and speed of the native engine.
    pub memory: MemoryMode,
}

impl Engine {
    /// The options for the native engine.
    #[must_use]
    pub fn options(&self) -> plan::PlanOptions {
        plan::PlanOptions { isa: chosen(self.isa), memory: self.memory }
    }
}

/// A network compiled for one input size. Clones share the weights.
#[derive(Debug, Clone)]
pub enum InferencePlan {
    /// For the native engine.
    Native(NativePlan),
    /// For tract.
    Tract(TractPlan),
}

impl InferencePlan {
    /// Compiles `graph` for inputs of `height × width` pixels. `name` is used in the log.
    ///
    /// # Errors
    /// If the graph does not support that size, or the requested backend cannot run it.
    pub fn new(graph: Graph, [height, width]: [usize; 2], engine: Engine, name: &str) -> Result<Self, Error> {
        if engine.backend != BackendChoice::Tract {
            // The native engine takes the weights out of the graph, and tract needs them.
            match plan::check(&graph, height, width) {
                Ok(()) => {
                    let plan = NativePlan::compile(graph, height, width, engine.options());
                    let plan = plan.map_err(Error::Native)?;
                    // Size of the maps in memory, including the channels that pad vectors: allocated by the runner.
                    let needed = plan.plan().activation_bytes() as u64;
                    let limit = MAX_ACTIVATION_BYTES.saturating_mul(2);
                    if needed > limit {
                        return Err(Error::Memory { name: name.to_owned(), needed, limit });
                    }
                    return Ok(Self::Native(plan));
                }
                Err(error @ plan::Error::Unsupported { .. })
                    if engine.backend == BackendChoice::Auto && cfg!(feature = "tract") =>
                {
                    tracing::warn!(model = name, "runs on tract: {error} by the native engine");
                    let plan = TractPlan::compile(graph, height, width);
                    return plan.map(Self::Tract).map_err(|tract| Error::neither(error.to_string(), tract));
                }
                Err(error) => return Err(Error::Native(error)),
            }
        }
        Ok(Self::Tract(TractPlan::compile(graph, height, width)?))
    }

    /// Whether runs have reached their final speed, which takes seconds.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Native(plan) => plan.plan().is_settled(),
            Self::Tract(_) => true,
        }
    }

    /// A network for one user at a time; each run uses `threads`, but tract uses one.
    ///
    /// # Errors
    /// [`Error::Tract`] if tract fails, [`Error::Threads`] if threads cannot be started.
    pub fn network(&self, threads: &Threads) -> Result<Box<dyn Network>, Error> {
        Ok(match self {
            Self::Native(plan) => Box::new(plan.network(threads)?),
            Self::Tract(plan) => Box::new(plan.network()?),
        })
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self {
            Self::Native(plan) => Backend::Native(plan.isa()),
            Self::Tract(_) => Backend::Tract,
        }
    }
}
