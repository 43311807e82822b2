//! Whether a window counts.

use std::fmt;

use serde::Serialize;

use super::environment::Limits;
use super::sample::Sample;

/// Why a window does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The machine was throttled.
    Throttled,
    /// Another governor was set.
    GovernorChanged,
    /// A source failed and was reopened.
    Reconnect,
    /// The sensor told nothing for too long.
    SensorGap,
    /// The clock of the day was set.
    ClockStep,
    /// The machine does not take what it took before, when idle.
    BaselineDrift,
    /// Other programs took processor time.
    OtherLoad,
    /// Too few frames were classified.
    FewInferences,
    /// The sensor told too few values.
    FewUpdates,
    /// It was cut short.
    Interrupted,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Throttled,
        Self::GovernorChanged,
        Self::Reconnect,
        Self::SensorGap,
        Self::ClockStep,
        Self::BaselineDrift,
        Self::OtherLoad,
        Self::FewInferences,
        Self::FewUpdates,
        Self::Interrupted,
    ];

    /// The code of the records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::GovernorChanged => "governor_changed",
            Self::Reconnect => "reconnect",
            Self::SensorGap => "sensor_gap",
            Self::ClockStep => "clock_step",
            Self::BaselineDrift => "baseline_drift",
            Self::OtherLoad => "other_load",
            Self::FewInferences => "few_inferences",
            Self::FewUpdates => "few_updates",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What the state of the machine says against a window, whose `samples` are those inside it and the last one before it.
#[must_use]
pub fn of_machine(samples: &[Sample], limits: &Limits) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return reasons };
    let conditions: Vec<_> = samples.iter().filter_map(|sample| sample.condition.as_ref()).collect();
    let now = conditions.iter().any(|condition| !condition.throttled.is_empty());
    let counted = conditions.windows(2).any(|pair| {
        let before = |cause: &String| pair[0].throttle_counts.get(cause).copied();
        pair[1].throttle_counts.iter().any(|(cause, count)| before(cause).is_some_and(|before| *count > before))
    });
    if now || counted {
        reasons.push(Reason::Throttled);
    }
    if conditions.windows(2).any(|pair| pair[0].governors != pair[1].governors) {
        reasons.push(Reason::GovernorChanged);
    }
    if last.reconnects > first.reconnects {
        reasons.push(Reason::Reconnect);
    }
    let step = |pair: &[Sample]| (pair[1].clock_ns - pair[0].clock_ns).unsigned_abs() as f64 / 1e9;
    if samples.windows(2).any(|pair| step(pair) > limits.clock_s) {
        reasons.push(Reason::ClockStep);
    }
    let time = last.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
    if other_load_s(first, last) > limits.other_load * time {
        reasons.push(Reason::OtherLoad);
    }
    reasons
}

/// Processor time of other programs on the cores, in seconds.
#[must_use]
pub fn other_load_s(first: &Sample, last: &Sample) -> f64 {
    ((last.all_cpu_s - first.all_cpu_s) - (last.own_cpu_s - first.own_cpu_s)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::Condition;

    /// A minute at ten samples a second, with a condition once a second.
    fn quiet() -> Vec<Sample> {
        let of = |index: u64| Sample {
            at_ns: index * 100_000_000,
            clock_ns: 1_700_000_000_000_000_000,
            own_cpu_s: index as f64 * 0.09,
            all_cpu_s: index as f64 * 0.091,
            condition: index
                .is_multiple_of(10)
                .then(|| Condition { governors: vec!["performance".into()], ..Condition::default() }),
            ..Sample::default()
        };
        (0..600).map(of).collect()
    }

    fn judged(change: impl FnOnce(&mut Vec<Sample>)) -> Vec<Reason> {
        let mut samples = quiet();
        change(&mut samples);
        of_machine(&samples, &Limits::full())
    }

    fn condition(samples: &mut [Sample], second: usize) -> &mut Condition {
        samples[second * 10].condition.get_or_insert_default()
    }

    #[test]
    fn a_quiet_machine_has_no_reason() {
        assert_eq!(judged(|_| ()), []);
        assert_eq!(of_machine(&[], &Limits::full()), []);
    }

    #[test]
    fn every_disturbance_has_its_reason() {
        let throttled = |samples: &mut Vec<Sample>| condition(samples, 30).throttled.push("under-voltage".into());
        assert_eq!(judged(throttled), [Reason::Throttled]);
        let counted = |samples: &mut Vec<Sample>| {
            for second in 0..60 {
                condition(samples, second).throttle_counts.insert("oc1".into(), 3 + u64::from(second > 40));
            }
        };
        assert_eq!(judged(counted), [Reason::Throttled]);
        let governor = |samples: &mut Vec<Sample>| condition(samples, 10).governors = vec!["powersave".into()];
        assert_eq!(judged(governor), [Reason::GovernorChanged]);
        let reconnect = |samples: &mut Vec<Sample>| samples[300..].iter_mut().for_each(|sample| sample.reconnects = 1);
        assert_eq!(judged(reconnect), [Reason::Reconnect]);
        let step =
            |samples: &mut Vec<Sample>| samples[200..].iter_mut().for_each(|sample| sample.clock_ns -= 60_000_000);
        assert_eq!(judged(step), [Reason::ClockStep]);
        let slewed = |samples: &mut Vec<Sample>| {
            samples.iter_mut().zip(0..).for_each(|(sample, index)| sample.clock_ns += index * 50_000);
        };
        assert_eq!(judged(slewed), [], "as NTP does it");
        let load = |samples: &mut Vec<Sample>| samples[100..].iter_mut().for_each(|sample| sample.all_cpu_s += 3.1);
        assert_eq!(judged(load), [Reason::OtherLoad]);
    }

    #[test]
    fn counts_that_were_there_before_are_no_throttling() {
        let before = |samples: &mut Vec<Sample>| {
            for second in 0..60 {
                condition(samples, second).throttle_counts.insert("oc1".into(), 3);
            }
        };
        assert_eq!(judged(before), []);
    }

    #[test]
    fn codes_are_those_of_the_records() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).ok(), Some(reason.code().into()));
        }
    }
}
