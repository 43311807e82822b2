//! hardnetd turns a camera on a small computer into a stream of classifications.
//!
//! Frames come from GStreamer (`capture`), cross a queue one frame deep (`pipeline`), become a tensor (`preprocess`),
//! go through HarDNet (`hardnet`, `model`, `inference`) and leave as records (`record`, `publish`). The layers import
//! downwards only; `tests/architecture.rs` checks the order.

pub mod allocator;
pub mod bench;
pub mod capture;
pub mod choice;
pub mod cli;
pub mod collect;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod eval;
pub mod exit;
pub mod frame;
pub mod hardnet;
pub mod http;
pub mod inference;
pub mod kernels;
pub mod learn;
pub mod measure;
pub mod model;
pub mod pipeline;
pub mod plural;
pub mod power;
pub mod preprocess;
pub mod printable;
pub mod protobuf;
pub mod publish;
pub mod record;
pub mod regular;
pub mod replace;
pub mod service;
pub mod shutdown;
pub mod system;
pub mod telemetry;
pub mod tensor;
pub mod weights;
