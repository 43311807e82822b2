//! The HarDNet family (Chao et al., *HarDNet: A Low Memory Traffic Network*, arXiv:1909.00948).
//!
//! The four published architectures are data in [`table`]; others come from files ([`read_table`]). An architecture and
//! a number of classes determine the modules of the network, the entries of its state dict and, with weights, its
//! graph.

mod build;
mod custom;
mod from_graph;
pub mod layout;
mod published;
mod recognise;
pub mod table;

pub use build::{Error, Problem, build, build_out_of, seeded, skeleton, with_new_head};
pub use custom::{TableError, read_table};
pub use from_graph::weights_of;
pub use layout::{Entry, Layer, entries, modules, parameters};
pub use published::{PUBLISHED, Published, Trainer, published};
pub use recognise::{head_classes, recognise};
pub use table::{ARCHITECTURES, Architecture, Block, find};
