//! Numbers with their nouns, as people read them.

use std::fmt;

/// `count` and the noun for it: `one` thing, or `several`.
///
/// ```
/// use hardnetd::plural::counted;
///
/// assert_eq!(counted(1, "class", "classes"), "1 class");
/// assert_eq!(counted(0, "class", "classes"), "0 classes");
/// ```
#[must_use]
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, one: &str, several: &str) -> String {
    let noun = if count == N::from(1) { one } else { several };
    format!("{count} {noun}")
}
