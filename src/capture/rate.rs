//! Which pictures of a stream are wanted: at most so many per second, or every so many.

use super::scheme::Decoding;

/// Decides picture by picture, by their times.
#[derive(Debug)]
pub(super) struct Rate {
    /// Nanoseconds between two pictures; 0: no limit.
    interval_ns: u64,
    /// When the next picture is due; `None` before the first.
    due_ns: Option<u64>,
    /// Of as many pictures, one is wanted; at least 1.
    every: u64,
    /// Pictures until the next one of these.
    skip: u64,
}

impl Rate {
    /// The rate of a stream.
    pub(super) fn of(decoding: &Decoding) -> Self {
        Self::new(decoding.max_fps, decoding.every_nth)
    }

    /// At most `max_fps` pictures per second (0: no limit), and of those that come, one of `every`.
    pub(super) fn new(max_fps: f64, every: u32) -> Self {
        let interval_ns = if max_fps > 0.0 { (1e9 / max_fps) as u64 } else { 0 };
        Self { every: u64::from(every.max(1)), ..Self::every(interval_ns) }
    }

    /// One picture in each interval, in nanoseconds; 0: all.
    pub(super) fn every(interval_ns: u64) -> Self {
        Self { interval_ns, due_ns: None, every: 1, skip: 0 }
    }

    /// Whether every picture is wanted.
    pub(super) fn is_unlimited(&self) -> bool {
        self.interval_ns == 0 && self.every == 1
    }

    /// Nanoseconds between two wanted pictures; 0 if time does not matter.
    pub(super) fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// When the next picture is due, in nanoseconds; `None` before the first, or if time does not matter.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// Whether the picture of this time is wanted. Times that jump begin anew.
    pub(super) fn wants(&mut self, time_ns: u64) -> bool {
        if self.interval_ns > 0 {
            let due = self.due_ns.filter(|due| {
                // Ahead by more than an interval: time has gone back.
                due.saturating_sub(time_ns) <= self.interval_ns
            });
            match due {
                Some(due) if time_ns < due => return false,
                // Without a gap, intervals follow each other, so that the mean is right.
                Some(due) if time_ns - due < self.interval_ns => {
                    self.due_ns = Some(due.saturating_add(self.interval_ns))
                }
                _ => self.due_ns = Some(time_ns.saturating_add(self.interval_ns)),
            }
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.skip = self.every - 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Times in milliseconds of the wanted ones of `count` pictures that are `step` milliseconds apart.
    fn wanted(rate: &mut Rate, count: u64, step: u64) -> Vec<u64> {
        (0..count).map(|index| index * step).filter(|time| rate.wants(time * MS)).collect()
    }

    #[test]
    fn a_rate_is_kept_in_the_mean() {
        assert_eq!(wanted(&mut Rate::new(2.0, 1), 26, 40), [0, 520, 1000]);
        assert_eq!(wanted(&mut Rate::new(0.2, 1), 300, 40), [0, 5000, 10_000]);
        assert_eq!(wanted(&mut Rate::new(10.0, 1), 10, 33), [0, 132, 231]);
        assert_eq!(wanted(&mut Rate::new(100.0, 1), 3, 40), [0, 40, 80], "a slow source");
        assert_eq!(wanted(&mut Rate::new(0.0, 1), 3, 1), [0, 1, 2]);
    }

    #[test]
    fn every_so_many_are_those_that_the_rate_leaves() {
        assert_eq!(wanted(&mut Rate::new(0.0, 3), 8, 40), [0, 120, 240]);
        assert_eq!(wanted(&mut Rate::new(5.0, 2), 30, 40), [0, 400, 800]);
        assert!(Rate::new(0.0, 1).is_unlimited());
        assert!(!Rate::new(0.0, 2).is_unlimited());
    }

    #[test]
    fn a_time_that_jumps_begins_anew() {
        let mut rate = Rate::new(1.0, 1);
        assert!(rate.wants(10_000 * MS));
        assert!(!rate.wants(10_500 * MS));
        assert!(rate.wants(0), "back by more than an interval");
        assert!(!rate.wants(900 * MS));
        assert!(rate.wants(60_000 * MS), "a gap");
        assert!(!rate.wants(60_900 * MS));
        assert!(rate.wants(61_000 * MS));
        assert!(rate.wants(u64::MAX), "no overflow");
    }
}
