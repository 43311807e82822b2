//! Kernels for 64-bit ARM.

use super::Kernels;

/// Whether there are kernels for this processor.
pub(super) fn is_available() -> bool {
    false
}

/// The table, on processors of this kind.
pub(super) fn kernels() -> Option<&'static Kernels> {
    None
}
