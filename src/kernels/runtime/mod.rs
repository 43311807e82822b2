//! Running a network: a program of passes, and the threads that run it together.

mod program;
mod team;

pub use program::{Builder, Program, Summary};
pub use team::{Broken, Team, Threads};
