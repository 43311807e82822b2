//! What the kernels need of a vector register.
//!
//! Each instruction set has its own implementations of [`Vector`]. What is written over them is always inlined into
//! functions that carry the features of the instruction set: those in the files `table.rs`.

/// A vector of `f32`.
///
/// # Safety
/// Whoever implements it promises that
///
/// - `load` reads and `store` writes [`LANES`](Self::LANES) values, no more and no fewer: loops over channels count on
///   it;
/// - a prefetch accesses nothing.
///
/// Whoever calls one of its functions promises that
///
/// - the processor has the instruction set of the implementation;
/// - what `load` reads is readable, and what `store` writes is writable.
pub(in crate::kernels::isa) unsafe trait Vector: Copy {
    /// Number of lanes.
    const LANES: usize;

    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self;
    /// [`LANES`](Self::LANES) values from `at` on, which need not be aligned.
    unsafe fn load(at: *const f32) -> Self;
    /// Writes all lanes to `at`, which need not be aligned.
    unsafe fn store(self, at: *mut f32);
    /// `self * factor + addend`; rounded once where the instruction set can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The sum.
    unsafe fn add(self, other: Self) -> Self;
    /// The difference.
    unsafe fn sub(self, other: Self) -> Self;
    /// The product.
    unsafe fn mul(self, other: Self) -> Self;
    /// The smaller ones.
    unsafe fn min(self, other: Self) -> Self;
    /// The larger ones.
    unsafe fn max(self, other: Self) -> Self;
    /// Asks for the cache line of `at`, which may be anything, in the second-level cache: a block of weights
    /// would drive the one in use out of the first.
    unsafe fn prefetch(at: *const f32);
    /// The same in the first-level cache.
    unsafe fn prefetch_near(at: *const f32);
}

/// `value` from `low` to `high`; what is no number stays none: vectors take the second operand then.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn clamp<V: Vector>(value: V, low: V, high: V) -> V {
    // SAFETY: the processor has the instruction set, as the caller guarantees.
    unsafe { high.min(low.max(value)) }
}
