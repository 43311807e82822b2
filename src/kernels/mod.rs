//! The arithmetic of the native engine: kernels for every instruction set behind one table, and passes that
//! run them over maps in memory.
//!
//! This room knows nothing of networks. All unsafe code of the engine is here: a pass is checked when it
//! is made (its maps lie in memory, its weights have the right length), so running it is safe.
//!
//! Maps are NHWC. Every pixel of a map is padded to a multiple of [`UNIT`] channels, of which kernels compute
//! as many as they have lanes: what lies in the padding has no meaning and is never read as a channel.
//!
//! | file or folder | what is there | imports |
//! | --- | --- | --- |
//! | `error`, `size`, `parts`, `tile`, `table` | what all share: errors, lengths, counts in parts, what kernels are told, instruction sets and tables | each other |
//! | `isa/` | one folder for each instruction set with mirrored file names, and what they are written over | the files above |
//! | `memory/` | weights and activations | the files above |
//! | `pass/` | one layer each, over maps in memory | the above but `isa/` |
//! | `runtime/` | a program of passes, and the threads that run it | the above but `isa/` |
//!
//! Files import each other without circles, and so do folders; a test checks it. A `mod.rs` only says what a folder is
//! and hands out what others need: files beside it import from the file that has it.
//!
//! # Adding a kernel
//!
//! What it is told is a structure in `tile`, its place a field of `table::Table`, its call a method of [`Kernels`]. It
//! is written over a vector in `isa/generic`, and the table in `isa/scalar` has a line for it: the other tables begin
//! as that one, so that an instruction set without a kernel of its own falls back on it. Each instruction set that is
//! to have one wraps it, or a better one, in its `table.rs`.
//!
//! # Safety
//!
//! What can be wrong with unsafe code here, and what keeps it right:
//!
//! - **Sizes.** All that is known before a run goes through [`size`], which turns an overflow into an error, on 32
//!   bits, too. Inside a run, addresses are sums of numbers that were checked together: a pixel of a map whose end was
//!   computed.
//! - **Maps.** Constructors of passes check that every map lies in the program's memory up to the last value that the
//!   pass touches, and [`runtime::Builder`] compares what a pass [needs](pass) with what there is once more.
//! - **Weights.** A pass keeps where its weights are with their length, and [`memory::Weights`] looks at every use
//!   whether that many values are there, in every build.
//! - **Scratch.** It is handed out with its length; who takes an address of it says how many values are used, which
//!   is checked in every build, once for a run of rows or tiles.
//! - **Aliasing.** The output of a pass overlaps no input, except beside it in the pixels of one map. Parts of a pass
//!   write disjoint rows, tiles or units of channels, read nothing that another part writes, and have scratch of their
//!   own. Memory that threads share is made of [`UnsafeCell`](std::cell::UnsafeCell)s; a slice of it exists between
//!   runs only.
//! - **Alignment.** Values are aligned to their size. Kernels use loads and stores that ask for no more; a cache line
//!   at the beginning of rows is for speed alone.
//! - **Threads.** Passes follow each other behind a barrier. A team that has broken begins no other run, and its
//!   threads have ended before its memory can be looked at.
//! - **Instruction sets.** [`Kernels`] are a proof that the processor has the instruction set: they are made out of a
//!   token, such as `Avx2`, and only asking the processor makes one. Whoever has them may call every function of the
//!   table.
//! - **Kernels.** Each is told addresses and counts by one of the structures in `tile`, whose `# Safety` says what has
//!   to be readable and writable. Widths are whole steps of the instruction set, and steps divide [`UNIT`].
//!
//! Every `# Safety` section of a function lists the duties of its caller, and every `SAFETY` comment says which of them
//! hold and why.

mod error;
mod isa;
pub mod memory;
mod parts;
pub mod pass;
pub mod runtime;
pub mod size;
mod table;
#[cfg(test)]
mod tests;
mod tile;

pub use size::UNIT;
pub use table::{Isa, Kernels};
