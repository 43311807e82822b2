//! The peak of an instruction set: nothing but multiply-adds in registers.
//!
use std::hint::black_box;

use super::vector::Vector;

/// Sums of a burst with fused multiply-adds: enough to hide the latency and, with the operands, as many registers as
/// every instruction set has.
pub(in crate::kernels::isa) const SUMS: usize = 12;

/// Number of additions to each sum in a burst, which takes well below a millisecond.
const STEPS: usize = 1 << 14;

/// Performs multiply-adds on `SUMS` independent sums and returns the number of operations, counting a multiply-add as
/// two. If not `FUSED`, each is a multiplication and an addition.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn burst<V: Vector, const SUMS: usize, const FUSED: bool>() -> u64 {
    // SAFETY: a burst uses registers only, and the processor has the instructions.
    unsafe {
        let (a, b) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
        let mut sums = black_box([V::splat(1.0); SUMS]);
        for _ in 0..STEPS {
            for sum in &mut sums {
                // A fused operation may have to overwrite its addend; a separate product must not be the same for all
                // sums.
                *sum = if FUSED { a.mul_add(b, *sum) } else { sum.mul_add(a, b) };
            }
        }
        black_box(sums);
    }
    (2 * SUMS * V::LANES * STEPS) as u64
}
