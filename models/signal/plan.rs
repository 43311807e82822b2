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

/// Number of pictures of each state in a set of `total`: a third good ones, a 24th of each fault, the rest patterns.
pub(crate) fn counts(total: usize) -> Vec<(State, usize)> {
    let good = total / 3;
    let fault = total / 24;
    let patterns = total - good - fault * FAULTS.len();
    let pattern = |index: usize| (patterns + PATTERNS.len() - 1 - index) / PATTERNS.len();
    let faults = FAULTS.map(|state| (state, fault));
    let patterns = (0..PATTERNS.len()).map(|index| (State::Pattern(index), pattern(index)));
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
