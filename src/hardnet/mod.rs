//! The HarDNet family (Chao et al., *HarDNet: A Low Memory Traffic Network*, arXiv:1909.00948).
//!
//! The four architectures are data in [`table`]; from one of them and a number of classes follow the
//! modules of the network, the entries of its state dict, and, with weights, its graph.

mod build;
pub mod layout;
mod recognise;
pub mod table;

pub use build::{Error, Problem, build, seeded, skeleton};
pub use layout::{Entry, entries, parameters};
pub use recognise::recognise;
pub use table::{ARCHITECTURES, Architecture, Block, find};
