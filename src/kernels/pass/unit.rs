//! Units of channels as plain values, for operations without kernels.

use crate::kernels::size::UNIT;

/// Reads a unit of values.
///
/// # Safety
/// - The address is readable for a unit.
pub(super) unsafe fn read(at: *const f32) -> [f32; UNIT] {
    // SAFETY: the address is readable for a unit, as the caller guarantees; an array may be read unaligned.
    unsafe { at.cast::<[f32; UNIT]>().read_unaligned() }
}

/// Writes a unit of values.
///
/// # Safety
/// - The address is writable for a unit.
pub(super) unsafe fn write(at: *mut f32, values: [f32; UNIT]) {
    // SAFETY: the address is writable for a unit, as the caller guarantees; an array may be written unaligned.
    unsafe { at.cast::<[f32; UNIT]>().write_unaligned(values) }
}
