//! Which pictures a set consists of, and the clips in which they are made.

use super::labels::{FAULTS, PATTERNS, State};

/// A set of pictures with a list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Train,
    Test,
    /// Unaltered photographs of those that are held out.
    Photos,
}

impl Set {
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Test, Self::Photos];

    /// Name of its list and of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Photos => "photos",
        }
    }
}

/// Pictures that are made together, from one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clip {
    pub(crate) set: Set,
    pub(crate) state: State,
    /// Number of the first picture in its set.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Number of pictures of each state in a set of `total`: a third good ones, a 12th with a lens that is partly covered,
/// which takes the most shapes, a 24th of each other fault, and for the rest the patterns of `videotestsrc` in equal
/// parts.
pub(crate) fn counts(total: usize) -> Vec<(State, usize)> {
    let good = total / 3;
    let fault = |state: State| if state == State::PartlyCovered { total / 12 } else { total / 24 };
    let left = total - good - FAULTS.into_iter().map(fault).sum::<usize>();
    let shares: usize = PATTERNS.iter().map(|(_, patterns)| patterns.len()).sum();
    let before = |index: usize| {
        let shares_before: usize = PATTERNS[..index].iter().map(|(_, patterns)| patterns.len()).sum();
        left * shares_before / shares
    };
    let faults = FAULTS.map(|state| (state, fault(state)));
    let patterns = (0..PATTERNS.len()).map(|index| (State::Pattern(index), before(index + 1) - before(index)));
    [(State::Good, good)].into_iter().chain(faults).chain(patterns).collect()
}

/// The clips of all sets, in the order of their pictures.
pub(crate) fn clips(train: usize, test: usize, photos: usize) -> Vec<Clip> {
    let of = |set: Set, counts: Vec<(State, usize)>| {
        let mut clips = Vec::new();
        let mut first = 0;
        for (state, mut left) in counts {
            let most = match state {
                State::Pattern(_) | State::BrokenBlocks => 3,
                _ => 4,
            };
            while left > 0 {
                let count = left.min(most);
                clips.push(Clip { set, state, first, count });
                (first, left) = (first + count, left - count);
            }
        }
        clips
    };
    let mut clips = of(Set::Train, counts(train));
    clips.extend(of(Set::Test, counts(test)));
    clips.extend(of(Set::Photos, vec![(State::Good, photos)]));
    clips
}
