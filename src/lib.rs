//! hardnetd turns a camera on a small computer into a stream of classifications.

pub mod capture;
pub mod classifier;
pub mod cli;
pub mod config;
pub mod engine;
pub mod exit;
pub mod frame;
pub mod hardnet;
pub mod pipeline;
pub mod preprocess;
pub mod publish;
pub mod record;
pub mod service;
pub mod shutdown;
pub mod telemetry;
pub mod tensor;
pub mod weights;
