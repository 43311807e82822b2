//! A vector of plain words.

use std::array::from_fn;

use super::super::generic::words::Words;
use super::vector::Plain;

/// An array of lanes, for the compiler to vectorise.
#[derive(Clone, Copy)]
pub(in crate::kernels::isa) struct PlainWords<const LANES: usize>([u16; LANES]);

// SAFETY: all that is read and written are arrays with one value per lane, or twice or three times as many, and the
// squares of the strides.
unsafe impl<const LANES: usize> Words for PlainWords<LANES> {
    const LANES: usize = LANES;

    type Numbers = Plain<LANES>;

    #[inline(always)]
    unsafe fn splat(value: u16) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(at: *const u16) -> Self {
        // SAFETY: the address is readable for a vector, as the caller guarantees; an array may be read unaligned.
        Self(unsafe { at.cast::<[u16; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u16) {
        // SAFETY: the address is writable for a vector, as the caller guarantees; an array may be written unaligned.
        unsafe { at.cast::<[u16; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_bytes(at: *const u8) -> [Self; 2] {
        // SAFETY: the address is readable for two vectors of bytes, as the caller guarantees.
        let bytes = unsafe { at.cast::<[[u8; LANES]; 2]>().read_unaligned() };
        bytes.map(|bytes| Self(bytes.map(|byte| u16::from(byte) << 8)))
    }

    #[inline(always)]
    unsafe fn load_words(at: *const u16, shift: u32) -> Self {
        // SAFETY: the address is readable for a vector, as the caller guarantees.
        let words = unsafe { Self::load(at) };
        Self(words.0.map(|word| (word << shift) & !1))
    }

    #[inline(always)]
    unsafe fn scaled(self, weight: Self) -> Self {
        Self(from_fn(|lane| ((u32::from(self.0[lane]) * u32::from(weight.0[lane])) >> 16) as u16))
    }

    #[inline(always)]
    unsafe fn product(self, weight: Self) -> Self {
        let half = 1 << 14;
        Self(from_fn(|lane| ((u32::from(self.0[lane]) * u32::from(weight.0[lane]) + half) >> 15) as u16))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
    }

    #[inline(always)]
    unsafe fn store_pair(pair: [Self; 2], at: *mut u16) {
        // SAFETY: the address is writable for two vectors, as the caller guarantees.
        unsafe { at.cast::<[[u16; LANES]; 2]>().write_unaligned(pair.map(|words| words.0)) }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const u16, from_stride: usize, to: *mut u16, to_stride: usize) {
        for (row, column) in (0..LANES).flat_map(|row| (0..LANES).map(move |column| (row, column))) {
            // SAFETY: the square is readable and the transposed one writable, as the caller guarantees.
            unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) }
        }
    }

    #[inline(always)]
    unsafe fn numbers(at: *const u16) -> Self::Numbers {
        // SAFETY: the address is readable for a vector, as the caller guarantees.
        let words = unsafe { Self::load(at) };
        Plain(words.0.map(f32::from))
    }

    #[inline(always)]
    unsafe fn store_colours([r, g, b]: [Self::Numbers; 3], at: *mut f32) {
        let pixels: [[f32; 3]; LANES] = from_fn(|lane| [r.0[lane], g.0[lane], b.0[lane]]);
        // SAFETY: the address is writable for three vectors, as the caller guarantees.
        unsafe { at.cast::<[[f32; 3]; LANES]>().write_unaligned(pixels) }
    }
}
