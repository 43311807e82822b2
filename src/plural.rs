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

/// Names shown of several.
const SHOWN: usize = 5;

/// The first few of `names`, as a list.
///
/// ```
/// use hardnetd::plural::first_of;
///
/// assert_eq!(first_of(["a", "b"]), "a, b");
/// assert_eq!(first_of(["a", "b", "c", "d", "e", "f"]), "a, b, c, d, e, …");
/// ```
#[must_use]
pub fn first_of<N: fmt::Display>(names: impl IntoIterator<Item = N>) -> String {
    let mut names = names.into_iter();
    let mut shown: Vec<String> = names.by_ref().take(SHOWN).map(|name| name.to_string()).collect();
    shown.extend(names.next().map(|_| "…".to_owned()));
    shown.join(", ")
}
