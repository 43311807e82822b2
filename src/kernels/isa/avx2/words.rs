//! A vector of 16 words in a register of 256 bits.

use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi16, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_mulhi_epu16,
    _mm256_mulhrs_epi16, _mm256_permute2f128_ps, _mm256_permute2x128_si256, _mm256_set1_epi16, _mm256_setzero_si256,
    _mm256_shuffle_ps, _mm256_sll_epi16, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_unpackhi_epi8,
    _mm256_unpackhi_epi16, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
};

use super::super::generic::words::Words;
use super::vector::F32x8;

/// 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct U16x16(__m256i);

/// Lanes of the half of a register in which most instructions stay.
const HALF: usize = 8;

// SAFETY: a load and a store are of 16 words or 32 bytes; of numbers, which are 8, they are of 8 words and of three
// vectors. A square has 16 rows of two halves of 8.
unsafe impl Words for U16x16 {
    const LANES: usize = 16;

    type Numbers = F32x8;

    #[inline(always)]
    unsafe fn splat(value: u16) -> Self {
        // SAFETY: the processor has AVX2, as the caller guarantees.
        Self(unsafe { _mm256_set1_epi16(value.cast_signed()) })
    }

    #[inline(always)]
    unsafe fn load(at: *const u16) -> Self {
        // SAFETY: the processor has AVX2, and the address is readable for a vector, as the caller guarantees.
        Self(unsafe { _mm256_loadu_si256(at.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u16) {
        // SAFETY: the processor has AVX2, and the address is writable for a vector, as the caller guarantees.
        unsafe { _mm256_storeu_si256(at.cast(), self.0) }
    }

    /// The first vector has the first 8 bytes of both halves, the second one the others, each as the upper half of a
    /// word.
    #[inline(always)]
    unsafe fn load_bytes(at: *const u8) -> [Self; 2] {
        // SAFETY: the processor has AVX2, and the address is readable for 32 bytes, as the caller guarantees.
        unsafe {
            let (bytes, zero) = (_mm256_loadu_si256(at.cast()), _mm256_setzero_si256());
            [Self(_mm256_unpacklo_epi8(zero, bytes)), Self(_mm256_unpackhi_epi8(zero, bytes))]
        }
    }

    #[inline(always)]
    unsafe fn load_words(at: *const u16, shift: u32) -> Self {
        // SAFETY: the processor has AVX2, and the address is readable for a vector, as the caller guarantees.
        unsafe {
            let shifted = _mm256_sll_epi16(Self::load(at).0, _mm_cvtsi32_si128(shift.cast_signed()));
            Self(_mm256_and_si256(shifted, _mm256_set1_epi16(!1)))
        }
    }

    #[inline(always)]
    unsafe fn scaled(self, weight: Self) -> Self {
        // SAFETY: the processor has AVX2, as the caller guarantees.
        Self(unsafe { _mm256_mulhi_epu16(self.0, weight.0) })
    }

    #[inline(always)]
    unsafe fn product(self, weight: Self) -> Self {
        // SAFETY: the processor has AVX2, as the caller guarantees.
        Self(unsafe { _mm256_mulhrs_epi16(self.0, weight.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the processor has AVX2, as the caller guarantees.
        Self(unsafe { _mm256_add_epi16(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn store_pair([first, second]: [Self; 2], at: *mut u16) {
        // SAFETY: the processor has AVX2, and the address is writable for two vectors, as the caller guarantees.
        unsafe {
            Self(_mm256_permute2x128_si256::<0x20>(first.0, second.0)).store(at);
            Self(_mm256_permute2x128_si256::<0x31>(first.0, second.0)).store(at.add(Self::LANES));
        }
    }

    /// Eight columns at a time: a register has those of row `i` in its lower half and of row `i + 8` in its upper one.
    /// Three times, each register is mixed with the one four further on.
    #[inline(always)]
    unsafe fn transpose(from: *const u16, from_stride: usize, to: *mut u16, to_stride: usize) {
        for first in [0, HALF] {
            // SAFETY: the processor has AVX2; the square is readable and the transposed one writable, as the caller
            // guarantees.
            unsafe {
                let mut rows = [_mm256_setzero_si256(); HALF];
                for (index, row) in rows.iter_mut().enumerate() {
                    let lower = _mm_loadu_si128(from.add(index * from_stride + first).cast());
                    let upper = _mm_loadu_si128(from.add((index + HALF) * from_stride + first).cast());
                    *row = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(lower), upper);
                }
                for _ in 0..3 {
                    let before = rows;
                    for index in 0..HALF / 2 {
                        let (row, other) = (before[index], before[index + HALF / 2]);
                        rows[2 * index] = _mm256_unpacklo_epi16(row, other);
                        rows[2 * index + 1] = _mm256_unpackhi_epi16(row, other);
                    }
                }
                for (index, row) in rows.into_iter().enumerate() {
                    Self(row).store(to.add((first + index) * to_stride));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn numbers(at: *const u16) -> F32x8 {
        // SAFETY: the processor has AVX2, and the address is readable for 8 words, as the caller guarantees.
        F32x8(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()))) })
    }

    /// Each half makes three parts of four numbers out of its four pixels; the parts of the lower half come first.
    #[inline(always)]
    unsafe fn store_colours([r, g, b]: [F32x8; 3], at: *mut f32) {
        // SAFETY: the processor has AVX2, and the address is writable for three vectors, as the caller guarantees.
        unsafe {
            let (r, g, b) = (r.0, g.0, b.0);
            // r0 r2 g0 g2, g1 g3 b1 b3, b0 b2 r1 r3.
            let (x, y, z) = (
                _mm256_shuffle_ps::<0b10_00_10_00>(r, g),
                _mm256_shuffle_ps::<0b11_01_11_01>(g, b),
                _mm256_shuffle_ps::<0b11_01_10_00>(b, r),
            );
            // r0 g0 b0 r1, g1 b1 r2 g2, b2 r3 g3 b3.
            let (first, second, third) = (
                _mm256_shuffle_ps::<0b10_00_10_00>(x, z),
                _mm256_shuffle_ps::<0b11_01_10_00>(y, x),
                _mm256_shuffle_ps::<0b11_01_11_01>(z, y),
            );
            _mm256_storeu_ps(at, _mm256_permute2f128_ps::<0x20>(first, second));
            _mm256_storeu_ps(at.add(8), _mm256_permute2f128_ps::<0x30>(third, first));
            _mm256_storeu_ps(at.add(16), _mm256_permute2f128_ps::<0x31>(second, third));
        }
    }
}
