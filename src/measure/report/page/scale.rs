//! Where values are drawn, and how they are written.
//!
//! Charts have no fixed width: places along an axis are percentages, so that text keeps its size on every screen.

/// Greatest number of ticks of an axis, its ends included.
const MOST_TICKS: usize = 8;

/// Values from files beyond this are drawn as this.
const GREATEST: f64 = 1e15;

/// An axis from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

/// A number at an axis.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    /// Its place from 0 to 100.
    pub(super) at: String,
    /// Its place from the other end of the axis.
    pub(super) from_end: String,
    /// The number.
    pub(super) label: String,
}

impl Scale {
    /// An axis with about `ticks` ticks that contains `values`, and begins and ends at a tick.
    pub(super) fn around(values: impl IntoIterator<Item = f64>, ticks: f64) -> Self {
        let Self { low, high, step } = Self::exactly(values, ticks);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { low, high, step }
    }

    /// An axis with about `ticks` ticks that begins with the least and ends with the greatest of `values`.
    pub(super) fn exactly(values: impl IntoIterator<Item = f64>, ticks: f64) -> Self {
        let values = values.into_iter().filter(|value| value.is_finite()).map(|it| it.clamp(-GREATEST, GREATEST));
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // Values that are all the same are drawn in the middle; so are those that differ by the last digits of a float.
        let least = (low.abs().max(high.abs()) * 1e-6).max(1e-12);
        if high - low < least {
            let margin = if low == 0.0 && high == 0.0 { 0.5 } else { low.abs() * 0.05 };
            (low, high) = (low - margin, high + margin);
        }
        Self { low, high, step: step((high - low) / ticks) }
    }

    /// The place of `value`, from 0 to 100.
    pub(super) fn percent(self, value: f64) -> f64 {
        let percent = (value - self.low) / (self.high - self.low) * 100.0;
        if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) }
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        self.ticks_up_to(1.0)
    }

    /// The ticks of an axis that takes only a share of the length, 0 to 1.
    pub(super) fn ticks_up_to(self, share: f64) -> Vec<Tick> {
        let Self { low, high, step } = self;
        let first = (low / step - 1e-9).ceil();
        let values = (0..MOST_TICKS).map(|tick| (first + tick as f64) * step);
        let digits = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let tick = |value: f64| {
            let at = self.percent(value) * share;
            // Without the sign of a zero.
            let label = format!("{:.digits$}", value + 0.0);
            Tick { at: percent(at), from_end: percent(100.0 - at), label }
        };
        values.take_while(|value| *value <= high + step * 1e-9).map(tick).collect()
    }
}

/// The least 1, 2 or 5 times a power of ten that is not less than `span`.
fn step(span: f64) -> f64 {
    let power = 10_f64.powf(span.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= span * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

/// A place, as SVG has it.
pub(super) fn percent(percent: f64) -> String {
    format!("{percent:.2}")
}

/// A figure with four digits that count, for reading; the page has all of them in an attribute.
pub(super) fn short(value: f64) -> String {
    let rounded = format!("{value:.3e}");
    let magnitude = rounded.rsplit('e').next().and_then(|it| it.parse::<i32>().ok()).unwrap_or_default();
    match magnitude {
        _ if value == 0.0 => "0".to_owned(),
        -5..9 => format!("{value:.0$}", usize::try_from(3 - magnitude).unwrap_or_default()),
        _ => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_and_contain_the_values() {
        let scale = Scale::around([0.0, 4.3], 4.0);
        assert_eq!(labels(scale), ["0", "2", "4", "6"]);
        assert_eq!((scale.percent(0.0), scale.percent(3.0), scale.percent(6.0)), (0.0, 50.0, 100.0));
        assert_eq!(labels(Scale::around([-0.013, 0.042], 4.0)), ["-0.02", "0.00", "0.02", "0.04", "0.06"]);
        assert_eq!(labels(Scale::exactly([3.0, 17.0], 4.0)), ["5", "10", "15"]);
    }

    #[test]
    fn no_values_and_extreme_values_have_an_axis() {
        for values in [
            vec![],
            vec![0.0],
            vec![7.0; 3],
            vec![1e300, -1e300],
            vec![f64::NAN, f64::INFINITY],
            vec![5e-324, 1e-310],
            vec![1e15, 1e15 - 0.125],
            vec![0.1, 0.1 + 1e-17],
        ] {
            for scale in [Scale::around(values.clone(), 4.0), Scale::exactly(values.clone(), 4.0)] {
                let ticks = scale.ticks();
                assert!((1..=MOST_TICKS).contains(&ticks.len()), "{values:?}: {ticks:?}");
                for value in values.iter().chain([&0.0, &f64::NAN]) {
                    assert!((0.0..=100.0).contains(&scale.percent(*value)), "{values:?}");
                }
            }
        }
        assert!((Scale::around([7.0], 4.0).percent(7.0) - 50.0).abs() < 1e-6);
    }

    #[test]
    fn figures_are_written_with_four_digits() {
        let shown = [0.0, 12.3456, 0.000_123_456, 1234.56, 123_456.7, 1e12, -2.5, 1e-9, 9.9996].map(short);
        assert_eq!(shown, ["0", "12.35", "0.0001235", "1235", "123457", "1.000e12", "-2.500", "1.000e-9", "10.00"]);
    }
}
