//! The single description of a network, and its conversion from and to other forms.

pub mod cost;
pub mod features;
pub mod graph;
pub mod import;
pub mod modules;
pub mod onnx;
mod op;
pub mod plan;
pub mod reference;
pub mod run;
