//! What the kernels need of a vector register.
//!
//! Each instruction set has its own implementations of [`Vector`]. Code that is generic over them is always inlined
//! into functions with the features of the instruction set: those in the files `table.rs`.

/// A vector of `f32`.
///
/// # Safety
/// An implementation guarantees that
///
/// - `load` reads and `store` writes [`LANES`](Self::LANES) values, no more and no fewer: loops over channels rely on
///   it;
/// - a prefetch accesses nothing.
///
/// A caller of one of its functions guarantees that
///
/// - the processor has the instruction set of the implementation;
/// - what `load` reads is readable, and what `store` writes is writable.
pub(in crate::kernels::isa) unsafe trait Vector: Copy {
    /// Number of lanes.
    const LANES: usize;

    /// `value` in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// Loads [`LANES`](Self::LANES) values from `at`, which need not be aligned.
    unsafe fn load(at: *const f32) -> Self;
    /// Writes all lanes to `at`, which need not be aligned.
    unsafe fn store(self, at: *mut f32);
    /// `self * factor + addend`; rounded once if the instruction set supports it.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The sum.
    unsafe fn add(self, other: Self) -> Self;
    /// The difference.
    unsafe fn sub(self, other: Self) -> Self;
    /// The product.
    unsafe fn mul(self, other: Self) -> Self;
    /// The lane-wise minimum.
    unsafe fn min(self, other: Self) -> Self;
    /// The lane-wise maximum.
    unsafe fn max(self, other: Self) -> Self;
    /// Prefetches the cache line of `at`, which may be any address, into the second-level cache: a block of weights
    /// would evict the current one from the first.
    unsafe fn prefetch(at: *const f32);
    /// The same for the first-level cache.
    unsafe fn prefetch_near(at: *const f32);
}

/// `value` clamped to `low..=high`; NaN stays NaN, because vectors then take the second operand.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn clamp<V: Vector>(value: V, low: V, high: V) -> V {
    // SAFETY: the processor has the instruction set, as the caller guarantees.
    unsafe { high.min(low.max(value)) }
}
