//! A vector of 4 numbers in a 128-bit register, and one of 8 in two of them.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32, vmaxq_f32, vminq_f32, vmulq_f32, vst1q_f32, vsubq_f32,
};
use std::arch::asm;

use super::super::generic::vector::Vector;

/// 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct F32x4(pub(super) float32x4_t);

// SAFETY: loads and stores are of 4 values, as many as there are lanes, and a prefetch accesses nothing.
unsafe impl Vector for F32x4 {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vdupq_n_f32(value) })
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the processor has NEON, and the address is readable for a vector, as the caller guarantees.
        Self(unsafe { vld1q_f32(at) })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the processor has NEON, and the address is writable for a vector, as the caller guarantees.
        unsafe { vst1q_f32(at, self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vfmaq_f32(addend.0, self.0, factor.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vminq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vmaxq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        // SAFETY: a prefetch accesses nothing.
        unsafe { asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, readonly, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn prefetch_near(at: *const f32) {
        // SAFETY: a prefetch accesses nothing.
        unsafe { Self::prefetch(at) }
    }
}

/// 8 lanes: neighbours are loaded and stored by one instruction, and an address is computed for twice as many values.
#[derive(Clone, Copy)]
pub(super) struct Pair([F32x4; 2]);

impl Pair {
    /// Applies `function` to both halves of two pairs.
    #[inline(always)]
    fn both(self, other: Self, function: impl Fn(F32x4, F32x4) -> F32x4) -> Self {
        Self([function(self.0[0], other.0[0]), function(self.0[1], other.0[1])])
    }
}

// SAFETY: loads and stores are of both halves, as many values as there are lanes, and a prefetch accesses nothing.
unsafe impl Vector for Pair {
    const LANES: usize = 2 * F32x4::LANES;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self([unsafe { F32x4::splat(value) }; 2])
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the address is readable for both halves, as the caller guarantees, and the processor has NEON.
        Self(unsafe { [F32x4::load(at), F32x4::load(at.add(F32x4::LANES))] })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the address is writable for both halves, as the caller guarantees, and the processor has NEON.
        unsafe {
            self.0[0].store(at);
            self.0[1].store(at.add(F32x4::LANES));
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        let [a, b] = [0, 1].map(|half| (self.0[half], factor.0[half], addend.0[half]));
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { [a.0.mul_add(a.1, a.2), b.0.mul_add(b.1, b.2)] })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        self.both(other, |a, b| unsafe { a.add(b) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        self.both(other, |a, b| unsafe { a.sub(b) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        self.both(other, |a, b| unsafe { a.mul(b) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        self.both(other, |a, b| unsafe { a.min(b) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        self.both(other, |a, b| unsafe { a.max(b) })
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        // SAFETY: a prefetch accesses nothing.
        unsafe { F32x4::prefetch(at) }
    }

    #[inline(always)]
    unsafe fn prefetch_near(at: *const f32) {
        // SAFETY: a prefetch accesses nothing.
        unsafe { F32x4::prefetch(at) }
    }
}
