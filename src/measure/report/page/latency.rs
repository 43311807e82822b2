//! The distribution of the durations of single inferences.

use super::scale::{Scale, Tick, percent, short};
use super::{Named, full};
use crate::measure::analysis::WindowFigures;
use crate::measure::stats::percentile;

/// Most bars of a histogram.
const MOST_BARS: u64 = 48;

/// A histogram.
pub(super) struct Chart {
    pub(super) id: String,
    pub(super) file: usize,
    pub(super) point: usize,
    pub(super) device: String,
    pub(super) name: String,
    /// None without results.
    pub(super) drawn: Option<Drawn>,
}

/// The bars of a histogram.
pub(super) struct Drawn {
    pub(super) bars: Vec<Bar>,
    /// Percentiles.
    pub(super) marks: Vec<Mark>,
    /// Milliseconds, along.
    pub(super) x: Vec<Tick>,
    /// Results, upwards.
    pub(super) y: Vec<Tick>,
    /// Results that the bars are made of.
    pub(super) count: usize,
    /// What the bars are made of, and what is not drawn in its place.
    pub(super) caption: String,
    /// What the histogram tells, for those who do not see it.
    pub(super) label: String,
}

/// Results of a range of durations.
pub(super) struct Bar {
    pub(super) from_us: u64,
    /// The first duration that is not in it. None for the last bar if it holds all that is longer.
    pub(super) to_us: Option<u64>,
    pub(super) count: usize,
    /// From 0 to 100, from the left and from the top.
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: String,
    pub(super) height: String,
    pub(super) title: String,
}

/// A percentile.
pub(super) struct Mark {
    pub(super) name: &'static str,
    /// With all digits.
    pub(super) ms: String,
    pub(super) text: String,
    /// From 0 to 100, from the left.
    pub(super) at: String,
    /// Whether the text is left of it.
    pub(super) is_left: bool,
}

pub(super) fn chart(named: &Named<'_>) -> Chart {
    Chart {
        id: named.id.clone(),
        file: named.file,
        point: named.number,
        device: named.device.clone(),
        name: named.name.clone(),
        drawn: draw(named),
    }
}

fn draw(named: &Named<'_>) -> Option<Drawn> {
    let valid: Vec<&WindowFigures> = named.point.windows.iter().filter(|window| window.reasons.is_empty()).collect();
    let (windows, of) = if valid.is_empty() {
        (named.point.windows.iter().collect(), "all windows, of which none is valid")
    } else {
        (valid, "the valid windows")
    };
    let is_inside = |at: u64| windows.iter().any(|window| (window.from_ns..window.to_ns).contains(&at));
    let inferences = named.measured.recording.inferences.iter().filter(|inference| is_inside(inference.at_ns));
    let values: Vec<u64> = inferences.map(|inference| inference.infer_us).collect();
    let (least, most) = (*values.iter().min()?, *values.iter().max()?);
    let in_ms: Vec<f64> = values.iter().map(|us| *us as f64 / 1000.0).collect();
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| percentile(&in_ms, share).unwrap_or_default());
    // A few inferences that take much longer than all others would leave no room for these: the last bar holds them.
    let usual = (2.0 * p99 - p50) * 1000.0;
    let last = most.min((usual.ceil() as u64).max(least));
    let width = ((last - least) / MOST_BARS).saturating_add(1);
    let bars = (last - least) / width + 1;
    let has_longer = last < most;
    let mut counts = vec![0_usize; (bars + u64::from(has_longer)) as usize];
    for value in &values {
        let bar = if *value > last { bars } else { (value - least) / width };
        counts[bar as usize] += 1;
    }
    let y = Scale::around(counts.iter().map(|count| *count as f64).chain([0.0]), 3.0);
    let place = |bar: u64| bar as f64 / counts.len() as f64 * 100.0;
    let draw = |(bar, count): (u64, &usize)| {
        let is_longer = bar == bars;
        let from_us = if is_longer { last + 1 } else { least.saturating_add(bar.saturating_mul(width)) };
        let to_us = (!is_longer).then(|| from_us.saturating_add(width).min(last.saturating_add(1)));
        let ms = |us: u64| short(us as f64 / 1000.0);
        let range = to_us
            .map_or_else(|| format!("{} ms and longer", ms(from_us)), |to| format!("{} to {} ms", ms(from_us), ms(to)));
        let height = y.percent(*count as f64);
        Bar {
            from_us,
            to_us,
            count: *count,
            x: percent(place(bar)),
            width: percent(100.0 / counts.len() as f64),
            y: percent(100.0 - height),
            height: percent(height),
            title: format!("{range}: {count}"),
        }
    };
    let drawn: Vec<Bar> = (0..).zip(&counts).map(draw).collect();
    // The axis ends with the last bar of equal width; `usual` is at least the 99th percentile, so that all marks are on it.
    let share = bars as f64 / counts.len() as f64;
    let end = least as f64 + bars as f64 * width as f64;
    let x = Scale::exactly([least as f64 / 1000.0, end / 1000.0], 4.0);
    let mark = |(name, ms): (&'static str, f64)| {
        // The middle of the microsecond that it is.
        let at = x.percent(ms + 0.0005) * share;
        Mark { name, ms: full(ms), text: format!("{name} {} ms", short(ms)), at: percent(at), is_left: at > 65.0 }
    };
    let (count, longest) = (values.len(), short(most as f64 / 1000.0));
    let mut caption =
        format!("{count} results of {of}, and percentiles of all of these; the longest took {longest} ms.");
    if has_longer {
        caption += &format!(
            " The last bar holds the {} that took longer than {} ms.",
            counts[counts.len() - 1],
            short(last as f64 / 1000.0)
        );
    }
    let label = format!(
        "Durations of inferences of {}: half take up to {} ms, 90 % up to {} ms, 99 % up to {} ms, the longest {longest} ms",
        named.id,
        short(p50),
        short(p90),
        short(p99)
    );
    Some(Drawn {
        bars: drawn,
        marks: [("p50", p50), ("p90", p90), ("p99", p99)].map(mark).into(),
        x: x.ticks_up_to(share),
        y: y.ticks(),
        count,
        caption,
        label,
    })
}
