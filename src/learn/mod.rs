//! Learning: features, teaching on the device, and training of networks (feature `train`).

pub mod features;
pub mod npy;
pub mod stream;
#[cfg(feature = "train")]
pub mod train;
