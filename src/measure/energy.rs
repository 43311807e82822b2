//! Energy between two times, from what a sensor has told.

/// A reading: monotonic nanoseconds, and watts or joules.
pub type Reading = (u64, f64);

/// Joules between `from` and `to`, by the trapezoidal rule over readings of power in watts, in order of time. At both ends
/// the power is interpolated. None if no reading precedes `from` or none follows `to`.
#[must_use]
pub fn of_power(readings: &[Reading], from: u64, to: u64) -> Option<f64> {
    let mut joules = 0.0;
    covered(readings, from, to)?.windows(2).for_each(|pair| {
        let ((begin, _), (end, _)) = (pair[0], pair[1]);
        let (begin, end) = (begin.max(from), end.min(to));
        if end > begin {
            joules += seconds(begin, end) * f64::midpoint(between(pair, begin), between(pair, end));
        }
    });
    Some(joules)
}

/// Joules between `from` and `to`, from readings of a counter in joules, in order of time. At both ends the counter is
/// interpolated. None if no reading precedes `from` or none follows `to`.
#[must_use]
pub fn of_counter(readings: &[Reading], from: u64, to: u64) -> Option<f64> {
    let readings = covered(readings, from, to)?;
    let at = |time: u64| {
        let pair = readings.windows(2).find(|pair| pair[0].0 <= time && time <= pair[1].0)?;
        Some(between(pair, time))
    };
    Some(at(to)? - at(from)?)
}

/// The longest time without a reading between `from` and `to`, in seconds.
#[must_use]
pub fn longest_gap_s(readings: &[Reading], from: u64, to: u64) -> f64 {
    let inside = readings.iter().map(|(at, _)| *at).filter(|at| (from..=to).contains(at));
    let mut last = readings.iter().map(|(at, _)| *at).rfind(|at| *at < from).unwrap_or(from).max(from);
    let mut longest = 0.0_f64;
    for at in inside.chain([to]) {
        longest = longest.max(seconds(last, at));
        last = at;
    }
    longest
}

/// Readings between `from` and `to` with another value than the one before.
#[must_use]
pub fn updates(readings: &[Reading], from: u64, to: u64) -> usize {
    let inside: Vec<f64> =
        readings.iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, value)| *value).collect();
    let changes = inside.windows(2).filter(|pair| pair[0].to_bits() != pair[1].to_bits()).count();
    changes + usize::from(!inside.is_empty())
}

/// The readings from the last one up to `from` to the first one from `to` on.
fn covered(readings: &[Reading], from: u64, to: u64) -> Option<&[Reading]> {
    let first = readings.iter().rposition(|(at, _)| *at <= from)?;
    let last = readings.iter().position(|(at, _)| *at >= to)?;
    readings.get(first..=last)
}

/// The value at `time`, on the line through two readings.
fn between(pair: &[Reading], time: u64) -> f64 {
    let ((begin, first), (end, last)) = (pair[0], pair[1]);
    if end <= begin { last } else { first + (last - first) * seconds(begin, time) / seconds(begin, end) }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn power_that_rises_evenly_is_exact_whatever_the_ends() {
        // 2 W per second.
        let readings: Vec<Reading> = (0..20).map(|at| (at * S, 2.0 * at as f64)).collect();
        let (from, to) = (2 * S + S / 4, 9 * S + S / 2);
        let exact = 9.5_f64.powi(2) - 2.25_f64.powi(2);
        assert!((of_power(&readings, from, to).unwrap() - exact).abs() < 1e-9);
        assert_eq!(of_power(&readings, 3 * S, 3 * S), Some(0.0));
    }

    #[test]
    fn a_counter_is_exact_at_readings_and_interpolated_between_them() {
        let readings = [(0, 10.0), (S, 14.0), (3 * S, 15.0)];
        assert_eq!(of_counter(&readings, 0, 3 * S), Some(5.0));
        assert_eq!(of_counter(&readings, S / 2, 2 * S), Some(14.5 - 12.0));
    }

    #[test]
    fn without_readings_on_both_sides_there_is_no_energy() {
        let readings = [(S, 1.0), (2 * S, 1.0)];
        for (from, to) in [(0, 2 * S), (S, 3 * S)] {
            assert_eq!((of_power(&readings, from, to), of_counter(&readings, from, to)), (None, None));
        }
        assert_eq!((of_power(&[], 0, 1), of_counter(&[], 0, 1)), (None, None));
    }

    #[test]
    fn gaps_and_updates_are_counted_inside_the_window() {
        let readings = [(0, 1.0), (S, 1.0), (2 * S, 2.0), (6 * S, 2.0), (7 * S, 3.0)];
        assert_eq!(longest_gap_s(&readings, S, 7 * S), 4.0);
        assert_eq!(longest_gap_s(&readings, 3 * S, 5 * S), 2.0, "none inside");
        assert_eq!((updates(&readings, S, 7 * S), updates(&readings, 3 * S, 5 * S)), (3, 0));
    }
}
