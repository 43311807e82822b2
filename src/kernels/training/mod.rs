//! The arithmetic of training (feature `train`): products, depthwise convolutions, batch norms and pools, and their
//! gradients.
//!
//! Unlike the passes of inference, these functions are called once per piece of a batch, with weights that change after
//! each. Maps are NHWC without padding: `[pixels, channels]`, where the pixels of all pictures of a piece follow each
//! other. Lengths are checked at every call.
//!
//! Products are those of the crate `gemm`. The other functions are written once in plain Rust and compiled twice on
//! x86-64: for the baseline, and for AVX2 with FMA.

pub mod depthwise;
pub mod norm;
pub mod pool;
pub mod product;
pub mod window;

/// How a compilation multiplies and adds.
trait Arithmetic {
    /// `a · b + c`.
    fn multiply_add(a: f32, b: f32, c: f32) -> f32;
}

/// A fused multiply-add in hardware.
struct Fused;

impl Arithmetic for Fused {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// A multiplication and an addition, rounded separately.
#[cfg(not(target_arch = "aarch64"))]
struct Separate;

#[cfg(not(target_arch = "aarch64"))]
impl Arithmetic for Separate {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Runs the best compilation of `$body`, a function that is generic over its [`Arithmetic`] and always inlined, on one
/// argument.
macro_rules! dispatch {
    ($body:ident, $argument:ident: $kind:ty) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn fast($argument: $kind) {
                $body::<$crate::kernels::training::Fused>($argument);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the processor has AVX2 and FMA.
                return unsafe { fast($argument) };
            }
        }
        #[cfg(target_arch = "aarch64")]
        $body::<$crate::kernels::training::Fused>($argument);
        #[cfg(not(target_arch = "aarch64"))]
        $body::<$crate::kernels::training::Separate>($argument);
    }};
}
use dispatch;

#[cfg(test)]
mod tests;
