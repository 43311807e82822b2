//! A vector of 8 words in a 128-bit register.

use std::arch::aarch64::{
    float32x4x3_t, uint16x8_t, vaddq_u16, vcvtq_f32_u32, vdupq_n_s16, vdupq_n_u16, vget_low_u8, vld1_u16, vld1q_u8,
    vld1q_u16, vmovl_u16, vqdmulhq_s16, vqrdmulhq_s16, vreinterpretq_s16_u16, vreinterpretq_u16_s16, vshll_high_n_u8,
    vshll_n_u8, vshlq_u16, vshrq_n_u16, vst1q_u16, vst3q_f32, vzip1q_u16, vzip2q_u16,
};

use super::super::generic::words::Words;
use super::vector::F32x4;

/// 8 lanes.
#[derive(Clone, Copy)]
pub(super) struct U16x8(uint16x8_t);

// SAFETY: a load and a store are of 8 words or 16 bytes; of numbers, which are 4, they are of 4 words and of three
// vectors. A square has 8 rows of 8 words.
unsafe impl Words for U16x8 {
    const LANES: usize = 8;

    type Numbers = F32x4;

    #[inline(always)]
    unsafe fn splat(value: u16) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vdupq_n_u16(value) })
    }

    #[inline(always)]
    unsafe fn load(at: *const u16) -> Self {
        // SAFETY: the processor has NEON, and the address is readable for a vector, as the caller guarantees.
        Self(unsafe { vld1q_u16(at) })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u16) {
        // SAFETY: the processor has NEON, and the address is writable for a vector, as the caller guarantees.
        unsafe { vst1q_u16(at, self.0) }
    }

    /// Times 128: half of the sample of 16 bits, as a signed number.
    #[inline(always)]
    unsafe fn load_bytes(at: *const u8) -> [Self; 2] {
        // SAFETY: the processor has NEON, and the address is readable for 16 bytes, as the caller guarantees.
        unsafe {
            let bytes = vld1q_u8(at);
            [Self(vshll_n_u8::<7>(vget_low_u8(bytes))), Self(vshll_high_n_u8::<7>(bytes))]
        }
    }

    /// Half of the samples, too.
    #[inline(always)]
    unsafe fn load_words(at: *const u16, shift: u32) -> Self {
        // SAFETY: the processor has NEON, and the address is readable for a vector, as the caller guarantees.
        unsafe { Self(vshrq_n_u16::<1>(vshlq_u16(vld1q_u16(at), vdupq_n_s16(shift as i16)))) }
    }

    /// The instruction doubles the product.
    #[inline(always)]
    unsafe fn scaled(self, weight: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        unsafe {
            let (sample, weight) = (vreinterpretq_s16_u16(self.0), vreinterpretq_s16_u16(weight.0));
            Self(vreinterpretq_u16_s16(vqdmulhq_s16(sample, weight)))
        }
    }

    #[inline(always)]
    unsafe fn product(self, weight: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        unsafe {
            let (value, weight) = (vreinterpretq_s16_u16(self.0), vreinterpretq_s16_u16(weight.0));
            Self(vreinterpretq_u16_s16(vqrdmulhq_s16(value, weight)))
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as the caller guarantees.
        Self(unsafe { vaddq_u16(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn store_pair([first, second]: [Self; 2], at: *mut u16) {
        // SAFETY: the processor has NEON, and the address is writable for two vectors, as the caller guarantees.
        unsafe {
            first.store(at);
            second.store(at.add(Self::LANES));
        }
    }

    /// Three times, each row is mixed with the one four further on.
    #[inline(always)]
    unsafe fn transpose(from: *const u16, from_stride: usize, to: *mut u16, to_stride: usize) {
        // SAFETY: the processor has NEON; the square is readable and the transposed one writable, as the caller
        // guarantees.
        unsafe {
            let mut rows = [vdupq_n_u16(0); Self::LANES];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = vld1q_u16(from.add(index * from_stride));
            }
            for _ in 0..3 {
                let before = rows;
                for index in 0..Self::LANES / 2 {
                    let (row, other) = (before[index], before[index + Self::LANES / 2]);
                    rows[2 * index] = vzip1q_u16(row, other);
                    rows[2 * index + 1] = vzip2q_u16(row, other);
                }
            }
            for (index, row) in rows.into_iter().enumerate() {
                vst1q_u16(to.add(index * to_stride), row);
            }
        }
    }

    #[inline(always)]
    unsafe fn numbers(at: *const u16) -> F32x4 {
        // SAFETY: the processor has NEON, and the address is readable for 4 words, as the caller guarantees.
        F32x4(unsafe { vcvtq_f32_u32(vmovl_u16(vld1_u16(at))) })
    }

    #[inline(always)]
    unsafe fn store_colours([r, g, b]: [F32x4; 3], at: *mut f32) {
        // SAFETY: the processor has NEON, and the address is writable for three vectors, as the caller guarantees.
        unsafe { vst3q_f32(at, float32x4x3_t(r.0, g.0, b.0)) }
    }
}
