//! The arithmetic of the native engine: kernels for every instruction set behind one table, and passes that run them
//! over maps in memory.
//!
//! This module knows nothing of networks. All unsafe code of the engine is here: a pass is checked when it is made (its
//! maps lie in memory, its weights have the right length), so running it is safe.
//!
//! Maps are NHWC. Every pixel of a map is padded to a multiple of [`UNIT`] channels, of which kernels compute as many
//! as they have lanes: values in the padding are meaningless and never read as channels.
//!
//! | file or folder | content | imports |
//! | --- | --- | --- |
//! | `error`, `size`, `parts`, `tile`, `raster`, `table` | shared: errors, lengths, division into parts, arguments of kernels, instruction sets and tables | each other |
//! | `isa/` | one folder per instruction set with the same file names, and the code generic over them | the files above |
//! | `memory/` | weights and activations | the files above |
//! | `pass/` | one layer each, over maps in memory | the above except `isa/` |
//! | `runtime/` | a program of passes, and the threads that run it | the above except `isa/` |
//! | `picture` | the kernels that make an input of a picture's samples, over slices | `raster`, `table` |
//! | `training/` | products, convolutions and norms with their gradients; on its own | nothing |
//!
//! Files import each other without circles, and so do folders, as a test checks. A `mod.rs` only describes its folder
//! and re-exports what others need; files in the folder import directly from each other.
//!
//! `docs/extending.md` says how to add a kernel.
//!
//! # Safety
//!
//! What can go wrong with the unsafe code here, and what prevents it:
//!
//! - **Sizes.** Everything known before a run is computed with [`size`], which turns an overflow into an error, also on
//!   32 bits. During a run, addresses are sums of numbers that were checked together: a pixel of a map whose end was
//!   computed.
//! - **Maps.** Constructors of passes check that every map lies in the program's memory up to the last value that the
//!   pass touches, and [`runtime::Builder`] checks again that the program has what a pass [needs](pass).
//! - **Weights.** A pass stores the position of its weights together with their length, and [`memory::Weights`] checks
//!   at every use, in every build, that there are that many values.
//! - **Scratch.** It is handed out with its length; code that takes an address of it states how many values it uses,
//!   which is checked in every build, once for a run of rows or tiles.
//! - **Aliasing.** The output of a pass overlaps no input, except next to it in the pixels of one map. Parts of a pass
//!   write disjoint rows, tiles or units of channels, read nothing that another part writes, and have their own
//!   scratch. Memory that threads share consists of [`UnsafeCell`](std::cell::UnsafeCell)s; a slice of it exists only
//!   between runs.
//! - **Pictures.** Safe functions check every length against the slices that they get.
//! - **Alignment.** Values are aligned to their size. Kernels use loads and stores that require no more; rows begin
//!   with a cache line only for speed.
//! - **Threads.** Passes follow each other with a barrier in between. A broken team starts no other run, and its
//!   threads have ended before its memory can be accessed.
//! - **Instruction sets.** [`Kernels`] are a proof that the processor has the instruction set: they are made from a
//!   token, such as `Avx2`, which only detection creates. The holder may call every function of the table.
//! - **Kernels.** Each gets addresses and counts in one of the structures of `tile`, whose `# Safety` section states
//!   what must be readable and writable. Widths are whole steps of the instruction set, and steps divide [`UNIT`].
//!
//! Every `# Safety` section of a function lists the duties of its caller, and every `SAFETY` comment says which of them
//! hold and why.

mod error;
mod isa;
pub mod memory;
mod parts;
pub mod pass;
mod picture;
mod raster;
pub mod runtime;
pub mod size;
mod table;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(feature = "train")]
pub mod training;

pub use picture::{SampleRows, Windows, WindowsError};
pub use raster::{ColourMap, ONE, SUMS_PER_CODE};
pub use size::UNIT;
pub use table::{Isa, Kernels};
#[cfg(test)]
pub(crate) use tests::Guarded;
