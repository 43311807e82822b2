//! Convolutions of 3 × 3 by Winograd's algorithm: tiles of the output are computed out of products in points,
//! of which there are fewer than taps of the kernel for all pixels.
//!
//! Transforms of maps are passes of their own, since one map is the input of several convolutions: it is
//! transformed once, and its transform is read by all of them. A large map that one convolution alone reads is
//! transformed strip by strip in the pass of that one: its transform is never whole in memory.

mod convolution;
mod kept;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod weights;

pub(in crate::kernels) use convolution::WinogradPass;
pub use kept::Kept;
pub use tiles::Scheme;
pub use transform::Transform;
pub(in crate::kernels) use transform::TransformPass;
