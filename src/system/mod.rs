//! What the operating system tells and takes: `/proc` and `/sys` below a root that tests can move, who this process is,
//! the cores that its threads run on, and whether a host answers.

pub mod affinity;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod network;

pub(crate) use host::Host;
