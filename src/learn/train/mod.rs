//! Training of networks of the family, and of tables with their structure.
//!
//! Data flow: [`data`] → [`batch`] (varied pictures, one batch ahead) → [`backbone`] (features) → [`objective`] (loss and
//! the gradient of the linear layers, by automatic differentiation) → [`backbone`] (all gradients) → [`optimizer`] →
//! [`checkpoint`]. [`run`] drives it.

pub mod assess;
pub mod backbone;
pub mod batch;
mod batch_norm;
pub mod checkpoint;
pub mod cifar;
pub mod compute;
mod convolution;
pub mod data;
pub mod error;
pub mod framework;
pub mod list;
mod lock;
pub mod log;
pub mod objective;
pub mod optimizer;
pub mod options;
pub mod parameters;
pub mod plan;
pub mod random;
pub mod raster;
pub mod report;
pub mod run;
pub mod sample;
pub mod start;
pub mod variation;
