//! The most that an instruction set does: multiply-adds in registers and nothing else.
//!
use std::hint::black_box;

use super::vector::Vector;

/// Sums of a burst with fused multiply-adds: enough to hide their latency, and as many registers as every
/// instruction set has, with the operands.
pub(in crate::kernels::isa) const SUMS: usize = 12;

/// Times that a burst adds to every sum: well below a millisecond.
const STEPS: usize = 1 << 14;

/// Multiply-adds to `SUMS` independent sums: the number of operations, a multiply-add being two. They are `FUSED`, or
/// a multiplication and an addition.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn burst<V: Vector, const SUMS: usize, const FUSED: bool>() -> u64 {
    // SAFETY: a burst touches registers only, and the processor has the instructions.
    unsafe {
        let (a, b) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
        let mut sums = black_box([V::splat(1.0); SUMS]);
        for _ in 0..STEPS {
            for sum in &mut sums {
                // A fused operation may have to write over its addend; a product apart must not be the same for all.
                *sum = if FUSED { a.mul_add(b, *sum) } else { sum.mul_add(a, b) };
            }
        }
        black_box(sums);
    }
    (2 * SUMS * V::LANES * STEPS) as u64
}
