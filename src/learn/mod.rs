//! Learning: training of networks (feature `train`).

#[cfg(feature = "train")]
pub mod train;
