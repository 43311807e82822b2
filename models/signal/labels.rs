//! The states of a video signal, and how `videotestsrc` shows some of them.

/// A state: its name is the label in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Good,
    Black,
    OverExposed,
    OutOfFocus,
    Noise,
    LowContrast,
    ColourCast,
    BrokenBlocks,
    PartlyCovered,
    Covered,
    /// An index into [`PATTERNS`].
    Pattern(usize),
}

/// States that are neither good nor patterns.
pub(crate) const FAULTS: [State; 9] = [
    State::Black,
    State::OverExposed,
    State::OutOfFocus,
    State::Noise,
    State::LowContrast,
    State::ColourCast,
    State::BrokenBlocks,
    State::PartlyCovered,
    State::Covered,
];

/// Names of test pictures that differ visibly, and the patterns of `videotestsrc` that look so. With its defaults, the
/// two zone plates are grey all over.
pub(crate) const PATTERNS: [(&str, &[&str]); 17] = [
    ("smpte", &["smpte"]),
    ("smpte75", &["smpte75"]),
    ("smpte100", &["smpte100"]),
    ("smpte-rp-219", &["smpte-rp-219"]),
    ("snow", &["snow"]),
    ("red", &["red"]),
    ("green", &["green"]),
    ("blue", &["blue"]),
    ("grey", &["zone-plate", "chroma-zone-plate"]),
    ("checkers", &["checkers-1", "checkers-2", "checkers-4", "checkers-8"]),
    ("circular", &["circular"]),
    ("gamut", &["gamut"]),
    ("ball", &["ball"]),
    ("pinwheel", &["pinwheel"]),
    ("spokes", &["spokes"]),
    ("gradient", &["gradient"]),
    ("colors", &["colors"]),
];

/// Patterns that look like a fault, with those of their frames that do: all, the even or the odd ones. `bar` is in no
/// list: where its bar is out of sight, it is black.
pub(crate) const PATTERN_FAULTS: [(State, &str, Option<u64>); 5] = [
    (State::Black, "black", None),
    (State::Black, "blink", Some(0)),
    (State::OverExposed, "white", None),
    (State::OverExposed, "solid-color", None),
    (State::OverExposed, "blink", Some(1)),
];

impl State {
    /// The label.
    pub(crate) fn label(self) -> String {
        let name = match self {
            Self::Good => "good picture",
            Self::Black => "black",
            Self::OverExposed => "over-exposed",
            Self::OutOfFocus => "out of focus",
            Self::Noise => "noise",
            Self::LowContrast => "low contrast",
            Self::ColourCast => "colour cast",
            Self::BrokenBlocks => "broken blocks",
            Self::PartlyCovered => "lens partly covered",
            Self::Covered => "lens covered",
            Self::Pattern(index) => return format!("pattern {}", PATTERNS[index].0),
        };
        name.into()
    }

    /// All states.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let patterns = (0..PATTERNS.len()).map(Self::Pattern);
        [Self::Good].into_iter().chain(FAULTS).chain(patterns).collect()
    }
}
