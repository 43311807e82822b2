//! The one description of a network, and its way into and out of other forms.

pub mod cost;
pub mod graph;
pub mod import;
pub mod modules;
pub mod onnx;
mod op;
pub mod plan;
pub mod reference;
pub mod run;
