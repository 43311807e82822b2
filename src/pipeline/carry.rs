//! Results that are carried over while a picture does not change.

use std::time::Duration;

use crate::frame::Timestamp;
use crate::preprocess::{ChangeDetector, Transform};
use crate::record::TopClasses;

/// Decides which frames of a stream get the result of an earlier one.
pub(super) struct CarryOver {
    /// How old a result may become.
    most: Duration,
    change: ChangeDetector,
    last: Option<Last>,
}

/// The latest result of the network.
struct Last {
    top: TopClasses,
    captured_ns: u64,
    carried: u64,
}

impl CarryOver {
    /// For inputs of `transform`, and results that are carried over for `most` at most.
    pub(super) fn new(most: Duration, transform: &Transform) -> Self {
        Self { most, change: ChangeDetector::new(transform.width, transform.std), last: None }
    }

    /// The result for `input` if it is carried over, and how many there have been since the network ran. Otherwise, the
    /// network runs, and its result is for [`remember`](Self::remember).
    pub(super) fn carry(&mut self, input: &[f32], captured: Timestamp) -> Option<(TopClasses, u64)> {
        let most = u64::try_from(self.most.as_nanos()).unwrap_or(u64::MAX);
        let is_young = |last: &Last| captured.monotonic_ns.saturating_sub(last.captured_ns) < most;
        if let Some(last) = self.last.as_mut().filter(|last| is_young(last))
            && !self.change.is_changed(input)
        {
            last.carried += 1;
            return Some((last.top.clone(), last.carried));
        }
        self.last = None;
        self.change.adopt(input);
        None
    }

    /// The network has classified the latest input that was not carried over.
    pub(super) fn remember(&mut self, top: &TopClasses, captured: Timestamp) {
        self.last = Some(Last { top: top.clone(), captured_ns: captured.monotonic_ns, carried: 0 });
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use smallvec::smallvec;

    use super::*;
    use crate::record::Scored;

    fn at(seconds: u64) -> Timestamp {
        Timestamp { monotonic_ns: seconds * 1_000_000_000, utc: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn a_result_is_carried_over_until_the_picture_changes_or_the_result_is_old() {
        let transform = Transform { resize: 4, height: 4, width: 4, ..Transform::IMAGENET };
        let mut carry = CarryOver::new(Duration::from_secs(10), &transform);
        let top: TopClasses = smallvec![Scored { index: 1, label: "one".into(), score: 0.5 }];
        let (dark, bright) = ([0.0; 48], [1.0; 48]);
        assert_eq!(carry.carry(&dark, at(0)), None);
        assert_eq!(carry.carry(&dark, at(0)), None, "the network did not classify it");
        carry.remember(&top, at(0));
        assert_eq!(carry.carry(&dark, at(1)), Some((top.clone(), 1)));
        assert_eq!(carry.carry(&dark, at(9)), Some((top.clone(), 2)));
        assert_eq!(carry.carry(&dark, at(10)), None, "it is old");
        carry.remember(&top, at(10));
        assert_eq!(carry.carry(&bright, at(11)), None, "it has changed");
        carry.remember(&top, at(11));
        assert_eq!(carry.carry(&bright, at(12)), Some((top, 1)));
    }
}
