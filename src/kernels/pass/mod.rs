//! Passes: one layer each, or a few that are better done together, over maps in memory.
//!
//! A pass is checked when it is made. It then knows addresses and lengths, and runs without another look at every
//! pixel, in as many parts as there are threads: parts write disjoint values and read nothing that another part of
//! the same pass writes.
//!
//! # Safety
//!
//! For every pass, what its constructor has to check and its run has to keep:
//!
//! - Inputs and output lie in memory, up to the last value that is touched: whole units for passes that read units,
//!   whose inputs have pixels of whole units; channels alone for products, whose inputs may have anything behind them.
//! - The output has whole units, and overlaps no input but beside it. A transform counts with all of its planes.
//! - Every window has a pixel of the map; neither the begin nor the end of one overflows, nor the distance of two,
//!   which is bounded for maps of one pixel, too.
//! - Weights and biases have the length that channels and taps ask for: what is packed is packed from slices, whose
//!   bounds are checked.
//! - Blocks of output channels are whole steps, and together no wider than the padded channels.
//! - `Pass::needs` has no default. Its scratch is the sum of the lengths that `Scratch::split` takes apart in a run; a
//!   pass of passes needs what the largest of them needs.
//! - A part may have nothing to do: with more parts than pixels, rows or blocks its share is empty, and no count of it
//!   divides anything.
//! - Addresses that are only asked for ahead of their use may lie anywhere; they are computed with operations that
//!   wrap.

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
