//! Training of networks of the family, and of tables with their structure.

pub mod backbone;
pub mod framework;
pub mod objective;
pub mod optimizer;
pub mod parameters;
pub mod plan;
pub mod random;
