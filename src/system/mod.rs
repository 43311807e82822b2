//! What the operating system tells and takes: `/proc` and `/sys` below a root that tests can move, who this process is,
//! and the cores that its threads run on.

pub mod affinity;
pub(crate) mod host;
pub(crate) mod identity;

pub(crate) use host::Host;
