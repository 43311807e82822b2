//! What runs a model under measurement: which back end, with which instructions.

use std::fmt;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Choice, Error};
use crate::classifier::{self, Classifier, Model};
use crate::engine::plan::Memory;
use crate::kernels;
use crate::tensor::Tensor;
use crate::weights::seeded;

/// The longest time that a model is given to settle in memory, before anything is timed.
const SETTLING: Duration = Duration::from_secs(10);

/// What runs the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The one that `hardnetd run` takes.
    Auto,
    /// The engine of this program.
    Native,
    /// tract.
    Tract,
}

/// A set of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isa {
    /// The best one that the machine has, as the back end sees it.
    Auto,
    /// No vectors but those of the compiler.
    Scalar,
    /// AVX2 and FMA, 256 bits.
    Avx2,
    /// AVX-512 F, 512 bits.
    Avx512,
    /// NEON, 128 bits.
    Neon,
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("unknown name `{0}`")]
pub struct Unknown(String);

impl Backend {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Native, Self::Tract];

    /// Its name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Tract => "tract",
        }
    }
}

impl Isa {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon];

    /// Its name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// The set as the engine knows it; the best one of the machine where none is named.
    pub(super) fn kernels(self) -> kernels::Isa {
        kernels::Isa::named(self.name()).unwrap_or_else(kernels::Isa::best)
    }

    /// Those that this machine has.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let there = |isa: &Self| kernels::Isa::named(isa.name()).is_some_and(kernels::Isa::is_available);
        Self::ALL.into_iter().filter(there).collect()
    }
}

impl From<kernels::Isa> for Isa {
    fn from(isa: kernels::Isa) -> Self {
        match isa {
            kernels::Isa::Scalar => Self::Scalar,
            kernels::Isa::Avx2 => Self::Avx2,
            kernels::Isa::Avx512 => Self::Avx512,
            kernels::Isa::Neon => Self::Neon,
        }
    }
}

impl FromStr for Backend {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|backend| backend.name() == text).ok_or_else(|| Unknown(text.to_owned()))
    }
}

impl FromStr for Isa {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|isa| isa.name() == text).ok_or_else(|| Unknown(text.to_owned()))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Choice {
    /// Whether the back end can do what is asked.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.backend() {
            Backend::Tract if self.isa != Isa::Auto => Err(Error::FixedIsa { isa: self.isa }),
            Backend::Tract if self.threads.count() > 1 => Err(Error::OneThread { threads: self.threads.count() }),
            Backend::Tract if self.memory != Memory::Fast => Err(Error::FixedMemory { memory: self.memory }),
            _ => Ok(()),
        }
    }

    /// The back end that is meant.
    pub(super) fn backend(&self) -> Backend {
        match self.backend {
            Backend::Auto => Backend::Native,
            named => named,
        }
    }

    /// What the loader of models is told.
    pub(super) fn options(&self) -> classifier::Options {
        classifier::Options { size: self.size, engine: self.engine(), ..classifier::Options::default() }
    }

    /// The back end and the instruction set as the loader knows them.
    pub(super) fn engine(&self) -> classifier::Engine {
        let backend = match self.backend {
            Backend::Auto => classifier::Backend::Auto,
            Backend::Native => classifier::Backend::Native,
            Backend::Tract => classifier::Backend::Tract,
        };
        classifier::Engine { backend, isa: kernels::Isa::named(self.isa.name()), memory: self.memory }
    }
}

/// A loaded model with its input.
pub(super) struct Runner {
    pub(super) model: String,
    pub(super) backend: Backend,
    pub(super) isa: Isa,
    /// Trade-off between memory and speed; `None` on other back ends.
    pub(super) memory: Option<Memory>,
    pub(super) threads: usize,
    /// Rows and columns of the input.
    pub(super) size: [usize; 2],
    /// Milliseconds that loading took.
    pub(super) load_ms: f64,
    /// Multiply-accumulates of one run, where they can be told.
    pub(super) macs: Option<u64>,
    classifier: Box<dyn Classifier>,
    input: Tensor,
    logits: Vec<f32>,
}

impl Runner {
    pub(super) fn load(choice: &Choice) -> Result<Self, Error> {
        choice.check()?;
        let start = Instant::now();
        let model = Model::load(&choice.model, &choice.options())?;
        let classifier = model.classifier(&choice.threads)?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let settling = Instant::now();
        while !model.is_settled() && settling.elapsed() < SETTLING {
            thread::sleep(Duration::from_millis(5));
        }
        let (height, width) = model.input();
        // A network that the native engine does not know has come to tract.
        let backend = model.backend();
        let (backend, isa, memory) = match backend.split_once('/') {
            Some((_, isa)) => (Backend::Native, isa.parse().unwrap_or(choice.isa), Some(choice.memory)),
            None => (Backend::Tract, Isa::Auto, None),
        };
        Ok(Self {
            model: model.name().to_owned(),
            backend,
            isa,
            threads: if backend == Backend::Tract { 1 } else { choice.threads.count() },
            memory,
            size: [height, width],
            load_ms,
            macs: model.macs(),
            classifier,
            input: seeded::tensor(height, width),
            logits: vec![0.0; model.classes()],
        })
    }

    /// One inference.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        Ok(self.classifier.infer(&self.input, &mut self.logits)?)
    }

    /// What the last run wrote.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_what_they_name() {
        assert!(
            Backend::ALL.into_iter().all(|backend| backend.name().parse().is_ok_and(|found: Backend| found == backend))
        );
        assert!(Isa::ALL.into_iter().all(|isa| isa.name().parse().is_ok_and(|found: Isa| found == isa)));
        assert!("AVX".parse::<Isa>().is_err() && "".parse::<Backend>().is_err());
    }

    #[test]
    fn every_machine_has_scalar_instructions_and_none_has_all() {
        let isas = Isa::available();
        assert!(isas.contains(&Isa::Scalar) && !isas.contains(&Isa::Auto) && isas.len() < Isa::ALL.len() - 1);
    }
}
