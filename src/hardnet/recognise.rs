//! Recognises the architecture that weights belong to.

use super::layout::entries;
use super::table::{ARCHITECTURES, Architecture};
use crate::weights::{EntryRole, StateDict};

/// The architecture with the most entries in `state`, by key and shape, and the number of classes of the head in
/// `state`. `build` checks whether the weights fit in full.
///
/// `None` if less than half of the entries of every architecture are present.
#[must_use]
pub fn recognise(state: &StateDict) -> Option<(&'static Architecture, usize)> {
    let candidates = ARCHITECTURES.iter().map(|architecture| {
        let classes = head_classes(architecture, state).unwrap_or(1);
        let needed = entries(architecture, classes);
        let needed = needed.iter().filter(|entry| entry.kind != EntryRole::BatchCount);
        let (mut all, mut found) = (0_usize, 0_usize);
        for entry in needed {
            all += 1;
            found += usize::from(state.values(&entry.key, &entry.shape).is_ok());
        }
        (found, all, architecture, classes)
    });
    let (found, all, architecture, classes) = candidates.max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)))?;
    (2 * found > all).then_some((architecture, classes))
}

/// Number of classes of the head in `state`: the rows of its weight.
#[must_use]
pub fn head_classes(architecture: &Architecture, state: &StateDict) -> Option<usize> {
    let head = entries(architecture, 1).into_iter().find(|entry| entry.kind == EntryRole::LinearWeight)?;
    match state.get(&head.key)?.shape() {
        &[classes, _] if classes > 0 => Some(classes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::seeded;
    use super::*;

    #[test]
    fn weights_tell_their_architecture_and_number_of_classes() {
        for architecture in &ARCHITECTURES[..2] {
            let state = seeded(architecture, 7).unwrap();
            assert_eq!(recognise(&state), Some((architecture, 7)));
        }
    }

    #[test]
    fn other_weights_are_not_taken_for_ours() {
        assert_eq!(recognise(&StateDict::new()), None);
        let mut state = StateDict::new();
        for (key, array) in seeded(&ARCHITECTURES[0], 2).unwrap().iter().take(20) {
            state.insert(key.to_owned(), array.clone()).unwrap();
        }
        assert_eq!(recognise(&state), None);
    }
}
