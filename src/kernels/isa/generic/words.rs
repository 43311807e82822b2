//! What the kernels for pictures need of a vector register.

use super::vector::Vector;

/// A vector of `u16`.
///
/// # Safety
/// An implementation guarantees that
///
/// - `load` reads and `store` writes [`LANES`](Self::LANES) values, no more and no fewer; `load_bytes` reads twice as many
///   bytes, and `store_pair` writes twice as many values;
/// - `transpose` reads and writes as many rows of as many values;
/// - `numbers` reads as many values as [`Numbers`](Self::Numbers) has lanes, and `store_colours` writes three times as
///   many.
///
/// A caller of one of its functions guarantees that
///
/// - the processor has the instruction set of the implementation;
/// - what is read is readable, and what is written is writable. Nothing need be aligned.
pub(in crate::kernels::isa) unsafe trait Words: Copy {
    /// Number of lanes.
    const LANES: usize;

    /// Vectors of `f32`.
    type Numbers: Vector;

    /// `value` in all lanes.
    unsafe fn splat(value: u16) -> Self;
    /// Loads values.
    unsafe fn load(at: *const u16) -> Self;
    /// Writes all lanes.
    unsafe fn store(self, at: *mut u16);
    /// Loads 8-bit samples, in a form that [`scaled`](Self::scaled) takes and an order that
    /// [`store_pair`](Self::store_pair) knows.
    unsafe fn load_bytes(at: *const u8) -> [Self; 2];
    /// Loads 16-bit samples after shifting them up, in the same form, but in their own order, and without their last bit:
    /// one instruction set has products of 15 bits only.
    unsafe fn load_words(at: *const u16, shift: u32) -> Self;
    /// Of loaded samples of 16 bits, with 8-bit ones as the upper half: the product with `weight`, without its last 16
    /// bits.
    unsafe fn scaled(self, weight: Self) -> Self;
    /// The product of values below 2^15, divided by 2^15 and rounded to the nearest, a half upwards.
    unsafe fn product(self, weight: Self) -> Self;
    /// The sum.
    unsafe fn add(self, other: Self) -> Self;
    /// Writes what belongs to samples of `load_bytes`, in the order of these.
    unsafe fn store_pair(pair: [Self; 2], at: *mut u16);
    /// Transposes a square of values; the strides are from row to row.
    unsafe fn transpose(from: *const u16, from_stride: usize, to: *mut u16, to_stride: usize);
    /// Loads values as numbers.
    unsafe fn numbers(at: *const u16) -> Self::Numbers;
    /// Writes three colours, pixel by pixel.
    unsafe fn store_colours(colours: [Self::Numbers; 3], at: *mut f32);
}
