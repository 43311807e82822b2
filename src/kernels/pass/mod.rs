//! Passes: one layer each, or a few that are better computed together, over maps in memory.
//!
//! A pass is checked when it is made. It then knows addresses and lengths, and runs without further checks per pixel,
//! in as many parts as there are threads: parts write disjoint values and read nothing that another part of the same
//! pass writes.
//!
//! # Safety
//!
//! For every pass, what its constructor must check and its run must respect:
//!
//! - Inputs and output lie in memory, up to the last value that is touched: whole units for passes that read units,
//!   whose inputs have pixels of whole units; only channels for products, whose inputs may have anything after them.
//! - The output has whole units, and overlaps no input except next to it. A transform counts with all of its planes.
//! - Every window has a pixel of the map; neither the beginning nor the end of a window overflows, nor the distance
//!   between two, which is also bounded for maps of one pixel.
//! - Weights and biases have the length that channels and taps require: packing reads from slices, whose bounds are
//!   checked.
//! - Blocks of output channels are whole steps, and together no wider than the padded channels.
//! - `Pass::needs` has no default. Its scratch is the sum of the lengths that `Scratch::split` takes off in a run; a
//!   pass made of passes needs what the largest of them needs.
//! - A part may have nothing to do: with more parts than pixels, rows or blocks its share is empty, and no count of it
//!   is a divisor.
//! - Addresses that are only prefetched may lie anywhere; they are computed with wrapping operations.

mod blocks;
mod clamp;
mod convolution;
mod depthwise;
mod elementwise;
mod fused;
mod grouped;
mod map;
mod place;
mod pool;
mod product;
mod segments;
mod step;
mod strassen;
mod unit;
mod winograd;

pub use super::error::PassError;
pub use clamp::Clamp;
pub(super) use convolution::ConvPass;
pub use convolution::Convolution;
pub use depthwise::Depthwise;
pub(super) use depthwise::DepthwisePass;
pub(super) use elementwise::{AddPass, AffinePass, CopyPass};
pub use elementwise::{Affine, Function};
pub(super) use fused::FusedPass;
pub(super) use grouped::GroupedPass;
pub use map::Map;
pub(super) use place::{Place, Scratch};
pub(super) use pool::{AveragePass, PoolPass};
pub use pool::{Pool, Reduce};
pub use segments::MAX_SEGMENTS;
pub(super) use step::Pass;
pub use winograd::{Kept, Scheme, Transform};
pub(super) use winograd::{TransformPass, WinogradPass};
