//! The interface to the operating system: `/proc` and `/sys` below a root that tests can change, the identity of this
//! process, the cores of its threads, and the reachability of hosts.

pub mod affinity;
pub mod condition;
pub(crate) mod cpu_time;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod network;
pub(crate) mod process;

pub(crate) use host::Host;
