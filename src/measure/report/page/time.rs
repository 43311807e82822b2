//! Power, temperature and frequency over time, with the phases.

use super::scale::{Scale, Tick, percent, short};
use super::{MOST_POINTS, full, letters, name};
use crate::measure::analysis::{Span, readings, spans};
use crate::measure::energy::Reading;
use crate::measure::environment::Environment;
use crate::measure::journal::Phase;
use crate::measure::report::{Measured, verdict};
use crate::measure::sample::Condition;

/// Most points of a curve.
const MOST_PLACES: usize = 1000;

/// Most phases that are shown: all that the page has windows for.
const MOST_PHASES: usize = 10 * MOST_POINTS;

/// A longer time without a value interrupts the curves of what is told once a second.
const GAP_S: f64 = 3.5;

/// Periods of a sensor without a value that interrupt its curve.
const GAP_PERIODS: f64 = 3.5;

/// The curves of a file.
pub(super) struct Chart {
    pub(super) id: String,
    pub(super) file: usize,
    pub(super) device: String,
    pub(super) phases: Vec<Band>,
    /// The configurations, if there are several.
    pub(super) points: Vec<Band>,
    pub(super) curves: Vec<Curve>,
    /// Time since the beginning, along.
    pub(super) x: Vec<Tick>,
    /// Its unit.
    pub(super) unit: &'static str,
    pub(super) caption: String,
}

/// A phase, or the phases of a configuration.
pub(super) struct Band {
    /// The phase: `idle`, `capture`, `warm_up`, `window`, `pause`.
    pub(super) kind: &'static str,
    pub(super) is_valid: bool,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// From 0 to 100.
    pub(super) x: String,
    pub(super) width: String,
    pub(super) middle: String,
    /// What is written into it on a wide screen and on a narrow one; empty if there is no room.
    pub(super) long: String,
    pub(super) short: String,
    pub(super) title: String,
}

/// A curve, or why there is none.
pub(super) struct Curve {
    /// `watts`, `celsius`, `mhz`.
    pub(super) key: &'static str,
    pub(super) title: String,
    pub(super) drawn: Result<Drawn, String>,
}

/// A curve.
pub(super) struct Drawn {
    /// A path from 0 to 1000 in both directions.
    pub(super) path: String,
    pub(super) y: Vec<Tick>,
    /// Values, and those that are drawn.
    pub(super) count: usize,
    pub(super) places: usize,
    pub(super) min: String,
    pub(super) max: String,
    /// What the curve tells, for those who do not see it.
    pub(super) label: String,
}

pub(super) fn chart(file: usize, measured: &Measured) -> Chart {
    let recording = &measured.recording;
    let environment = &recording.environment;
    let spans: Vec<Span> = spans(recording).into_iter().take(MOST_PHASES).collect();
    let times = spans.iter().flat_map(|span| [span.from, span.to]);
    let times: Vec<u64> = times.chain(recording.samples.iter().map(|sample| sample.at_ns)).collect();
    let start = times.iter().min().copied().unwrap_or_default();
    let end = times.iter().max().copied().unwrap_or_default();
    let (unit, per_ns) = if end - start > 180_000_000_000 { ("min", 60e9) } else { ("s", 1e9) };
    let along = Scale::exactly([0.0, ((end - start) as f64).max(1.0)], 5.0);
    let place = |at: u64| along.percent(at.saturating_sub(start) as f64);
    let points = if environment.points.len() > 1 { configurations(file, measured, &spans, &place) } else { Vec::new() };
    let conditions = || {
        let samples = recording.samples.iter();
        samples.filter_map(|sample| sample.condition.as_ref().map(|condition| (sample.at_ns, condition)))
    };
    let of_condition = |of: fn(&Condition) -> Option<f64>| {
        conditions().filter_map(|(at, condition)| Some((at, of(condition)?))).collect::<Vec<_>>()
    };
    let absent =
        |what: &str, otherwise: &str| environment.absent.get(what).map_or(otherwise, String::as_str).to_owned();
    let (power, period) = power(measured);
    let gap = GAP_PERIODS * period.max(0.1);
    let rail = measured.analysis.rail.and_then(|rail| environment.rails.get(rail));
    let curves = vec![
        Curve {
            key: "watts",
            title: rail.map_or_else(|| "Power, W".to_owned(), |rail| format!("Power of {}, W", name(&rail.name))),
            drawn: curve(&power, &place, gap, Some(0.0), "W").ok_or_else(|| match rail {
                None => "no sensor of power".to_owned(),
                Some(_) => "the sensor told nothing".to_owned(),
            }),
        },
        Curve {
            key: "celsius",
            title: "Temperature of the hottest zone, °C".to_owned(),
            drawn: curve(&of_condition(|it| it.celsius.values().copied().reduce(f64::max)), &place, GAP_S, None, "°C")
                .ok_or_else(|| absent("temperature", "no zone told a temperature")),
        },
        Curve {
            key: "mhz",
            title: "Mean frequency of the cores, MHz".to_owned(),
            drawn: curve(&of_condition(mean_mhz), &place, GAP_S, None, "MHz")
                .ok_or_else(|| absent("frequency", "no core told a frequency")),
        },
    ];
    let thinned = curves.iter().filter_map(|curve| curve.drawn.as_ref().ok()).any(|drawn| drawn.places < drawn.count);
    let mut caption = format!("Time in {unit} since {start} ns of the monotonic clock.");
    if thinned {
        caption += " Of long curves, the least and the greatest value of each stretch of equal length are drawn.";
    }
    if recording.phases.len() > MOST_PHASES {
        caption += &format!(" The first {MOST_PHASES} of {} phases are shown.", recording.phases.len());
    }
    let ticks = Scale::exactly([0.0, (end - start) as f64 / per_ns], 5.0).ticks();
    Chart {
        id: letters(file),
        file,
        device: name(&environment.device),
        phases: phases(file, measured, &spans, &place),
        points,
        curves,
        x: ticks,
        unit,
        caption,
    }
}

/// Power over time: of a counter, the mean between two values. Also the seconds between two values.
fn power(measured: &Measured) -> (Vec<Reading>, f64) {
    let Some(rail) = measured.analysis.rail else { return (Vec::new(), 0.0) };
    let Some(info) = measured.recording.environment.rails.get(rail) else { return (Vec::new(), 0.0) };
    let mut readings = readings(&measured.recording.samples, rail);
    if info.counts {
        readings.dedup_by(|next, before| next.1.to_bits() == before.1.to_bits());
        let between = readings.windows(2).filter_map(|pair| {
            let ((from, first), (to, last)) = (pair[0], pair[1]);
            let watts = (last - first) / ((to - from) as f64 / 1e9);
            (watts.is_finite() && watts >= 0.0).then(|| (u64::midpoint(from, to), watts))
        });
        readings = between.collect();
    }
    (readings, info.period_s.unwrap_or_default())
}

fn mean_mhz(condition: &Condition) -> Option<f64> {
    let count = condition.khz.len();
    (count > 0).then(|| condition.khz.values().map(|khz| *khz as f64 / 1000.0).sum::<f64>() / count as f64)
}

/// A curve of `values`, interrupted by `gap` seconds without one, on an axis that contains `least`. None without values.
fn curve(values: &[Reading], place: &impl Fn(u64) -> f64, gap: f64, least: Option<f64>, unit: &str) -> Option<Drawn> {
    let min = values.iter().map(|(_, value)| *value).reduce(f64::min)?;
    let max = values.iter().map(|(_, value)| *value).reduce(f64::max)?;
    let scale = Scale::around([min, max].into_iter().chain(least), 3.0);
    let mut path = String::new();
    let mut places = 0;
    for stretch in thinned(values, gap) {
        let at: Vec<String> = stretch
            .iter()
            .map(|(at, value)| format!("{:.1} {:.1}", place(*at) * 10.0, 1000.0 - scale.percent(*value) * 10.0))
            .collect();
        places += at.len();
        path += &format!("M{}", at.join("L"));
        if at.len() == 1 {
            // A point.
            path += "h0";
        }
    }
    let label = format!("from {} to {} {unit}", short(min), short(max));
    Some(Drawn { path, y: scale.ticks(), count: values.len(), places, min: full(min), max: full(max), label })
}

/// The stretches of `values` without a gap, together of at most [`MOST_PLACES`] points: the least and the greatest of as
/// many as are left out, so that peaks stay.
fn thinned(values: &[Reading], gap: f64) -> Vec<Vec<Reading>> {
    let is_gap = |one: &Reading, next: &Reading| next.0.saturating_sub(one.0) as f64 / 1e9 > gap;
    let mut stretches: Vec<&[Reading]> = values.chunk_by(|one, next| !is_gap(one, next)).collect();
    if values.len() <= MOST_PLACES {
        return stretches.into_iter().map(<[Reading]>::to_vec).collect();
    }
    // Each stretch has a last part that is not full.
    if stretches.len() > MOST_PLACES / 4 {
        stretches = vec![values];
    }
    let parts = MOST_PLACES / 2 - stretches.len();
    let length = values.len().div_ceil(parts);
    let ends = |part: &[Reading]| {
        let by_value = |one: &&Reading, other: &&Reading| one.1.total_cmp(&other.1);
        let (min, max) = (part.iter().min_by(by_value).copied(), part.iter().max_by(by_value).copied());
        let mut ends: Vec<Reading> = min.into_iter().chain(max).collect();
        ends.sort_by_key(|(at, _)| *at);
        ends.dedup();
        ends
    };
    stretches.into_iter().map(|stretch| stretch.chunks(length).flat_map(ends).collect()).collect()
}

fn phases(file: usize, measured: &Measured, spans: &[Span], place: &impl Fn(u64) -> f64) -> Vec<Band> {
    let several = measured.recording.environment.points.len() > 1;
    let mut bands = Vec::new();
    for span in spans {
        let (kind, words, letter) = match span.phase {
            Phase::Idle => ("idle", "idle".to_owned(), "I".to_owned()),
            Phase::Capture => ("capture", "capturing".to_owned(), "C".to_owned()),
            Phase::WarmUp => ("warm_up", "warm-up".to_owned(), "W".to_owned()),
            Phase::Pause => ("pause", "pause".to_owned(), String::new()),
            Phase::Window => {
                let (number, _) = number(measured, span).unwrap_or_default();
                ("window", format!("window {number}"), number.to_string())
            }
        };
        let counts = number(measured, span).map(|(_, reasons)| reasons);
        let is_valid = counts.as_deref().is_none_or(|verdict| verdict == "valid");
        let mut title = words.clone();
        if let Some(point) = span.point.filter(|_| several) {
            title = format!("{title} of {}{}", letters(file), point.saturating_add(1));
        }
        if let Some(verdict) = &counts {
            title = format!("{title}: {verdict}");
        }
        bands.push(band(kind, is_valid, (span.from, span.to), place, (words, letter), title));
    }
    bands
}

/// The number of a window in its configuration, from 1, and its verdict. None for other phases.
fn number(measured: &Measured, span: &Span) -> Option<(usize, String)> {
    let windows = &measured.analysis.points.get(span.point?)?.windows;
    let number = windows.iter().position(|window| window.from_ns == span.from && span.phase == Phase::Window)?;
    Some((number + 1, verdict(&windows[number])))
}

/// From the first to the last phase of each configuration.
fn configurations(file: usize, measured: &Measured, spans: &[Span], place: &impl Fn(u64) -> f64) -> Vec<Band> {
    let Environment { points, .. } = &measured.recording.environment;
    let bands = points.iter().take(MOST_POINTS).enumerate().filter_map(|(number, point)| {
        let of_point = || spans.iter().filter(|span| span.point == Some(number));
        let (from, to) = (of_point().map(|span| span.from).min()?, of_point().map(|span| span.to).max()?);
        let id = format!("{}{}", letters(file), number + 1);
        let title = format!("{id}: {}", name(&point.name));
        Some(band("configuration", true, (from, to), place, (id.clone(), id), title))
    });
    bands.collect()
}

fn band(
    kind: &'static str,
    is_valid: bool,
    (from_ns, to_ns): (u64, u64),
    place: &impl Fn(u64) -> f64,
    (long, short): (String, String),
    title: String,
) -> Band {
    let (from, to) = (place(from_ns), place(to_ns));
    // With some room, a character takes 9 of at least 260 pixels on a narrow screen, and of at least 480 on a wide one.
    let fits = |text: &str, pixels: f64| text.chars().count() as f64 * 9.0 < (to - from) / 100.0 * pixels;
    let long = if fits(&long, 480.0) { long } else { short.clone() };
    Band {
        kind,
        is_valid,
        from_ns,
        to_ns,
        x: percent(from),
        width: percent(to - from),
        middle: percent(f64::midpoint(from, to)),
        long: if fits(&long, 480.0) { long } else { String::new() },
        short: if fits(&short, 260.0) { short } else { String::new() },
        title,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_peaks_its_gaps_and_a_bounded_number_of_points() {
        const S: u64 = 1_000_000_000;
        let mut values: Vec<Reading> = (0..50_000).map(|at| (at * S / 10, 5.0)).collect();
        values[31_234].1 = 9.0;
        values[17].1 = 0.5;
        values.drain(40_000..41_000);
        let stretches = thinned(&values, 1.0);
        assert_eq!(stretches.len(), 2);
        let places: Vec<Reading> = stretches.concat();
        assert!(places.len() <= MOST_PLACES && places.len() > MOST_PLACES / 4, "{}", places.len());
        assert!(places.is_sorted_by_key(|(at, _)| *at));
        for peak in [values[31_234], values[17]] {
            assert!(places.contains(&peak), "{peak:?}");
        }
        // A sensor so slow that every value is a stretch of its own.
        let slow: Vec<Reading> = (0..5000).map(|at| (at * 10 * S, at as f64)).collect();
        assert!(thinned(&slow, 1.0).concat().len() <= MOST_PLACES);
        assert_eq!(thinned(&slow[..900], 1.0).len(), 900);
        assert_eq!(thinned(&[], 1.0), Vec::<Vec<Reading>>::new());
    }
}
