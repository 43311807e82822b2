//! How to run a model that is being measured: the backend and its instruction set.

use std::thread;
use std::time::{Duration, Instant};

use super::{Combination, Error};
use crate::choice::{BackendChoice, IsaChoice, MemoryMode};
use crate::inference::{Backend, Engine, Network};
use crate::kernels::Isa;
use crate::model::{Model, ModelOptions};
use crate::tensor::Tensor;
use crate::weights::seeded;

/// Maximum time for a model to settle in memory before measurements begin.
const SETTLING: Duration = Duration::from_secs(10);

impl Combination {
    /// Checks that the backend supports the options.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.backend() {
            BackendChoice::Tract if self.isa != IsaChoice::Auto => Err(Error::FixedIsa { isa: self.isa }),
            BackendChoice::Tract if self.threads.count() > 1 => Err(Error::OneThread { threads: self.threads.count() }),
            BackendChoice::Tract if self.memory != MemoryMode::Fast => Err(Error::FixedMemory { memory: self.memory }),
            _ => Ok(()),
        }
    }

    /// Whether the processor has the instruction set that is asked for.
    pub(super) fn is_possible(&self) -> bool {
        self.backend() == BackendChoice::Tract || self.engine().options().isa.is_available()
    }

    /// The selected backend.
    pub(super) fn backend(&self) -> BackendChoice {
        match self.backend {
            BackendChoice::Auto => BackendChoice::Native,
            named => named,
        }
    }

    /// The options for the model loader.
    pub(super) fn options(&self) -> ModelOptions {
        ModelOptions { size: self.size, engine: self.engine(), ..ModelOptions::default() }
    }

    /// The backend and instruction set, as the model loader expects them.
    pub(super) fn engine(&self) -> Engine {
        Engine { backend: self.backend, isa: self.isa, memory: self.memory }
    }
}

/// A loaded model with its input.
pub(super) struct Runner {
    pub(super) model: String,
    pub(super) backend: BackendChoice,
    pub(super) isa: IsaChoice,
    /// The instruction set whose peak the row is compared with.
    pub(super) peak_isa: Isa,
    /// Trade-off between memory and speed; `None` on other backends.
    pub(super) memory: Option<MemoryMode>,
    pub(super) threads: usize,
    /// Rows and columns of the input.
    pub(super) size: [usize; 2],
    /// Loading time in milliseconds.
    pub(super) load_ms: f64,
    /// Multiply-accumulates per run, if known.
    pub(super) macs: Option<u64>,
    network: Box<dyn Network>,
    input: Tensor,
}

impl Runner {
    pub(super) fn load(choice: &Combination) -> Result<Self, Error> {
        choice.check()?;
        let start = Instant::now();
        let model = Model::load(&choice.model, &choice.options())?;
        let network = model.network(&choice.threads)?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let settling = Instant::now();
        while !model.is_settled() && settling.elapsed() < SETTLING {
            thread::sleep(Duration::from_millis(5));
        }
        let (height, width) = model.input();
        // Networks that the native engine does not support run on tract.
        let (backend, isa, memory, peak_isa) = match model.backend() {
            Backend::Native(isa) => (BackendChoice::Native, isa.into(), Some(choice.memory), isa),
            Backend::Tract => (BackendChoice::Tract, IsaChoice::Auto, None, Isa::best()),
        };
        Ok(Self {
            model: model.name().to_owned(),
            backend,
            isa,
            peak_isa,
            threads: if backend == BackendChoice::Tract { 1 } else { choice.threads.count() },
            memory,
            size: [height, width],
            load_ms,
            macs: model.macs(),
            network,
            input: seeded::tensor(height, width),
        })
    }

    /// Runs one inference.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        self.network.infer(&self.input)?;
        Ok(())
    }

    /// The output of the last run.
    pub(super) fn logits(&self) -> &[f32] {
        self.network.outputs().first().map_or(&[], |output| &output.values)
    }
}
