//! How a network runs: the native engine and tract behind one trait, and the conversion of outputs into results.

mod backend;
mod classes;
mod error;
pub mod native;
#[cfg(feature = "tract")]
mod operators;
#[cfg(feature = "tract")]
mod prepare;
#[cfg(feature = "tract")]
mod rewrite;
#[cfg(feature = "tract")]
mod single;
mod taught;
mod top;
#[cfg_attr(not(feature = "tract"), path = "without_tract.rs")]
pub mod tract;

pub use backend::{Backend, Engine, InferencePlan, chosen};
pub use classes::{ClassHead, InferenceSession, UNKNOWN};
pub use error::Error;
pub use taught::{Gaussian, LEAST_LENGTH, Novelty, Scratch, TaughtHead};
pub use top::{Ranked, top_k};

use crate::tensor::{Tensor, TensorMut};

/// An output of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Name of the node that produces it.
    pub name: String,
    /// Channels, rows and columns.
    pub shape: [usize; 3],
    /// Its values after the last run, in the order `[channels, height, width]`.
    pub values: Vec<f32>,
}

impl Output {
    /// An output of zeros.
    #[must_use]
    pub fn zeros(name: &str, shape: [usize; 3]) -> Self {
        Self { name: name.to_owned(), shape, values: vec![0.0; shape.iter().product()] }
    }
}

/// A network that is ready to run, for one picture at a time.
pub trait Network: Send {
    /// The buffer for the next run's input: `[height, width, channels]`. A run may overwrite it.
    fn input(&mut self) -> TensorMut<'_>;

    /// Runs the network on the input. After an error, the next run starts afresh.
    ///
    /// # Errors
    /// If the backend fails; the outputs are then unspecified.
    fn run(&mut self) -> Result<(), Error>;

    /// The outputs, always in the same order; at least one.
    fn outputs(&self) -> &[Output];

    /// Runs the network on a copy of `input` and returns the values of its first output.
    ///
    /// # Errors
    /// [`Error::Input`] if the shape is wrong, and the errors of [`run`](Self::run).
    fn infer(&mut self, input: &Tensor) -> Result<&[f32], Error> {
        let mut to = self.input();
        let (expected, found) = (to.shape(), input.shape());
        if found != expected {
            return Err(Error::Input { expected, found });
        }
        to.data_mut().copy_from_slice(input.data());
        self.run()?;
        Ok(&self.outputs().first().ok_or(Error::NoOutput)?.values)
    }
}
