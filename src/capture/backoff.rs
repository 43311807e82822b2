//! How long to wait before a source that has failed, or ended, is opened again. Pure: chance is an argument.

use std::time::Duration;

use super::Error;
use crate::config::Stream;

/// Waits after refused logins; further ones take as long as the last. Cameras lock an account after about five in a few
/// minutes.
const AFTER_REFUSALS: [Duration; 3] = [Duration::from_secs(30), Duration::from_secs(60), Duration::from_secs(300)];

/// The waits of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waits {
    /// The first wait.
    first: Duration,
    /// Each further one is as many times as long.
    factor: f64,
    /// The longest wait; zero: a failed source is not opened again.
    longest: Duration,
    /// The share of a wait by which chance makes it shorter or longer.
    jitter: f64,
}

impl Waits {
    /// The settings of a stream.
    pub(super) fn of(stream: &Stream) -> Self {
        Self {
            first: Duration::from_secs_f64(stream.retry_first_s),
            factor: stream.retry_factor,
            longest: stream.retry_max(),
            jitter: stream.retry_jitter,
        }
    }

    /// Whether a failed source is not opened again.
    pub(super) fn are_none(&self) -> bool {
        self.longest.is_zero()
    }
}

/// The wait before a failed source is opened again: longer each time, until there are frames again.
#[derive(Debug)]
pub(super) struct Backoff {
    waits: Waits,
    wait: Duration,
    /// Refused logins since there were frames.
    refusals: usize,
}

impl Backoff {
    pub(super) fn new(waits: Waits) -> Self {
        Self { waits, wait: waits.first, refusals: 0 }
    }

    /// The wait after an attempt that failed with `error`, and had frames or not; `chance` is from 0 to 1.
    pub(super) fn next(&mut self, error: &Error, had_frames: bool, chance: f64) -> Duration {
        let Waits { first, factor, longest, jitter } = self.waits;
        let wait = if had_frames { first } else { self.wait }.min(longest);
        self.wait = wait.mul_f64(factor).min(longest);
        if had_frames {
            self.refusals = 0;
        }
        let mut least = Duration::ZERO;
        if matches!(error, Error::LoginRefused) {
            least = AFTER_REFUSALS[self.refusals.min(AFTER_REFUSALS.len() - 1)];
            self.refusals += 1;
        }
        let wait = wait.max(least).mul_f64(1.0 + jitter * (2.0 * chance - 1.0)).max(least);
        // Whole milliseconds, as the log tells them.
        Duration::from_millis((wait.as_secs_f64() * 1e3).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn failed() -> Error {
        Error::Failed { message: String::new(), advice: "", exit: Exit::Unavailable }
    }

    fn backoff(jitter: f64) -> Backoff {
        let stream = Stream {
            retry_first_s: 2.0,
            retry_factor: 3.0,
            retry_max_s: 20.0,
            retry_jitter: jitter,
            ..Stream::default()
        };
        Backoff::new(Waits::of(&stream))
    }

    fn seconds(backoff: &mut Backoff, had_frames: bool, chance: f64) -> f64 {
        (backoff.next(&failed(), had_frames, chance).as_secs_f64() * 1e6).round() / 1e6
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_longest_and_begin_anew_after_frames() {
        let mut backoff = backoff(0.0);
        let waits = [false, false, false, false, true, false].map(|frames| seconds(&mut backoff, frames, 0.5));
        assert_eq!(waits, [2.0, 6.0, 18.0, 20.0, 2.0, 6.0]);
    }

    #[test]
    fn chance_spreads_waits_by_the_share_and_does_not_add_up() {
        let mut backoff = backoff(0.25);
        let waits = [0.0, 1.0, 0.5].map(|chance| seconds(&mut backoff, false, chance));
        assert_eq!(waits, [1.5, 7.5, 18.0]);
    }

    #[test]
    fn a_refused_login_waits_at_least_its_time_whatever_chance_says() {
        let mut backoff = backoff(0.5);
        let waits = [0.0, 0.0, 0.0, 0.0].map(|chance| backoff.next(&Error::LoginRefused, false, chance).as_secs());
        assert_eq!(waits, [30, 60, 300, 300]);
    }
}
