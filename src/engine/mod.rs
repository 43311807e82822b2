//! The one description of a network, and its way into other forms.

pub mod cost;
pub mod graph;
pub mod onnx;
mod op;
