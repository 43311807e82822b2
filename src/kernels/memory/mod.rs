//! The memory of passes: weights, which do not change, and activations, which all threads write.

mod activations;
mod pages;
mod room;
mod weights;

pub use activations::Activations;
pub(super) use weights::Packed;
pub use weights::Weights;
