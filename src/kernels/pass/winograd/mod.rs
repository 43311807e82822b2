//! 3 × 3 convolutions by Winograd's algorithm: tiles of the output are computed from products in points, of which there
//! are fewer than taps of the kernel times pixels.
//!
//! Transforms of maps are separate passes, because a map can be the input of several convolutions: it is transformed
//! once, and all of them read its transform. A large map with a single reader is transformed strip by strip in the
//! reader's pass: its transform is never entirely in memory.

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
