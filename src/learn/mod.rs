//! Learning: features, teaching on the device, and training of networks (feature `train`).

pub mod features;
mod folders;
pub mod npy;
mod random;
pub mod stream;
pub mod teach;
#[cfg(feature = "train")]
pub mod train;
