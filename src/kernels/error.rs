//! Why a pass cannot be made.

/// A pass cannot be made because its parts do not fit together: a bug in the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pass cannot be made: {0}")]
pub struct PassError(pub(super) &'static str);

/// An error unless `holds`.
pub(super) fn check(holds: bool, rule: &'static str) -> Result<(), PassError> {
    if holds { Ok(()) } else { Err(PassError(rule)) }
}
