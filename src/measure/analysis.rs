//! Computes every figure of a measurement from its file.

use serde::Serialize;

use super::energy::{self, Reading};
use super::environment::Environment;
use super::journal::{Phase, Recording};
use super::judge::{self, Reason};
use super::sample::{Inference, Sample};
use super::stats::{Spread, mean, percentile};

/// The figures of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// Why figures are missing or only a hint: the file is incomplete, the measurement was interrupted, or it was quick.
    pub notes: Vec<String>,
    /// The rail that energy per inference is of: the first in [`Environment::rails`]. None without a sensor.
    pub rail: Option<usize>,
    /// The configurations, in order.
    pub points: Vec<PointFigures>,
}

/// The figures of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointFigures {
    /// Its name.
    pub name: String,
    /// Watts when nothing ran, before and after; null without a sensor or without such a phase.
    pub idle_w: [Option<f64>; 2],
    /// Watts while frames were captured and not classified.
    pub capture_w: Option<f64>,
    /// Joules for capturing and decoding a frame, above idle.
    pub decode_j: Option<f64>,
    /// All windows.
    pub windows: Vec<WindowFigures>,
    /// Medians of the valid windows. None without any.
    pub valid: Option<Medians>,
}

/// The figures of a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowFigures {
    /// Its beginning in monotonic nanoseconds.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// Why it does not count; empty if it does.
    pub reasons: Vec<Reason>,
    /// Samples in it, its ends included.
    pub samples: usize,
    /// Frames classified.
    pub inferences: usize,
    /// The same per second.
    pub fps: f64,
    /// Frames without a result.
    pub dropped: u64,
    /// Milliseconds of the network.
    pub infer_ms: Option<Latency>,
    /// Milliseconds from capture to the end of inference.
    pub total_ms: Option<Latency>,
    /// Mean power of the rail.
    pub watts: Option<f64>,
    /// Joules per inference of all that the rail covers.
    pub gross_j: Option<f64>,
    /// The same above idle.
    pub net_j: Option<f64>,
    /// The same above capturing and decoding.
    pub inference_j: Option<f64>,
    /// Distinct values of the rail.
    pub updates: usize,
    /// Temperature of the hottest zone at the beginning and at the end, in degrees Celsius.
    pub celsius: Option<[f64; 2]>,
    /// Mean frequency of the cores in MHz.
    pub mhz: Option<f64>,
    /// Processor time of other programs, relative to that of one core.
    pub other_load: f64,
}

/// Percentiles in milliseconds, of the raw values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the values are at most this.
    pub p50: f64,
    /// 90 % are.
    pub p90: f64,
    /// 99 % are.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

/// Figures of the valid windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Medians {
    /// Number of valid windows.
    pub windows: usize,
    /// See [`WindowFigures::fps`].
    pub fps: Spread,
    /// Median inference.
    pub infer_p50_ms: Spread,
    /// 99 % of the inferences are at most this.
    pub infer_p99_ms: Spread,
    /// Median from capture to the end of inference.
    pub total_p50_ms: Spread,
    /// See [`WindowFigures::watts`].
    pub watts: Option<Spread>,
    /// See [`WindowFigures::gross_j`].
    pub gross_j: Option<Spread>,
    /// See [`WindowFigures::net_j`].
    pub net_j: Option<Spread>,
    /// See [`WindowFigures::inference_j`].
    pub inference_j: Option<Spread>,
}

/// A phase with its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) phase: Phase,
    pub(super) point: Option<usize>,
    /// Monotonic nanoseconds.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether it came to its end.
    is_whole: bool,
}

/// Computes the figures of `recording`.
#[must_use]
pub fn analyse(recording: &Recording) -> Analysis {
    let Recording { environment, samples, inferences, end, .. } = recording;
    let mut notes = Vec::new();
    if environment.quick {
        notes.push("quick: short windows and low demands; the figures are a hint, not a measurement".to_owned());
    }
    match end {
        None => notes.push("incomplete: the file has no end; the program was killed, or still runs".to_owned()),
        Some(end) => notes.extend(end.interrupted.iter().map(|reason| format!("interrupted: {reason}"))),
    }
    let spans = spans(recording);
    let rail = (!environment.rails.is_empty()).then_some(0);
    let readings = rail.map(|rail| readings(samples, rail)).unwrap_or_default();
    let view = View { environment, spans: &spans, samples, inferences, rail, readings: &readings };
    let points = (0..environment.points.len()).map(|point| view.point(point)).collect();
    Analysis { notes, rail, points }
}

/// The readings of a rail, each once.
pub(super) fn readings(samples: &[Sample], rail: usize) -> Vec<Reading> {
    let mut readings: Vec<Reading> = samples
        .iter()
        .filter_map(|sample| Some((*sample.rails_at_ns.get(rail)?, (*sample.rails.get(rail)?)?)))
        .collect();
    readings.sort_by_key(|(at, _)| *at);
    readings.dedup_by_key(|(at, _)| *at);
    readings
}

/// The phases with their ends.
pub(super) fn spans(recording: &Recording) -> Vec<Span> {
    let Recording { phases, samples, end, .. } = recording;
    let last = samples.last().map_or(0, |sample| sample.at_ns);
    let end = end.as_ref().map_or((last, false), |end| (end.at_ns, end.interrupted.is_none()));
    let ends = phases.iter().skip(1).map(|next| (next.at_ns, true)).chain([end]);
    let spans = phases.iter().zip(ends).map(|(line, (to, is_whole))| Span {
        phase: line.phase,
        point: line.point,
        from: line.at_ns,
        to: to.max(line.at_ns),
        is_whole,
    });
    spans.collect()
}

struct View<'a> {
    environment: &'a Environment,
    spans: &'a [Span],
    samples: &'a [Sample],
    inferences: &'a [Inference],
    rail: Option<usize>,
    readings: &'a [Reading],
}

impl View<'_> {
    fn point(&self, point: usize) -> PointFigures {
        let is_window = |span: &&Span| span.phase == Phase::Window && span.point == Some(point);
        let windows: Vec<&Span> = self.spans.iter().filter(is_window).collect();
        let begin = windows.first().map_or(u64::MAX, |span| span.from);
        let finish = windows.last().map_or(0, |span| span.to);
        let idle = |span: &&Span| span.phase == Phase::Idle && span.is_whole;
        let before = self.spans.iter().rfind(|span| idle(span) && span.to <= begin);
        let after = self.spans.iter().find(|span| idle(span) && span.from >= finish && finish > 0);
        let idle_w = [before, after].map(|span| self.watts(span?));
        let known: Vec<f64> = idle_w.into_iter().flatten().collect();
        let idle = mean(&known);
        let has_drifted = match idle_w {
            [Some(before), Some(after)] => {
                (before - after).abs() > self.environment.limits.drift * f64::midpoint(before, after).abs()
            }
            _ => false,
        };
        let capture = self.spans.iter().rfind(|span| {
            span.phase == Phase::Capture && span.is_whole && span.to <= begin && span.point.is_none_or(|of| of == point)
        });
        let capture_w = capture.and_then(|span| self.watts(span));
        let decode_j = capture.and_then(|span| {
            let frames = self.counted(span, |sample| sample.captured);
            (frames > 0).then_some((capture_w? - idle?) * seconds(span) / frames as f64)
        });
        let windows: Vec<WindowFigures> =
            windows.into_iter().map(|span| self.window(span, idle, decode_j, has_drifted)).collect();
        let name = self.environment.points[point].name.clone();
        PointFigures { name, idle_w, capture_w, decode_j, valid: medians(&windows), windows }
    }

    fn window(&self, span: &Span, idle_w: Option<f64>, decode_j: Option<f64>, has_drifted: bool) -> WindowFigures {
        let limits = &self.environment.limits;
        let samples = self.inside(span);
        let of_window = |inference: &&Inference| (span.from..span.to).contains(&inference.at_ns);
        let inferences: Vec<&Inference> = self.inferences.iter().filter(of_window).collect();
        let (time, count) = (seconds(span), inferences.len());
        let joules = self.joules(span);
        let per_inference = |joules: f64| (count > 0).then(|| joules / count as f64);
        let gross_j = joules.and_then(per_inference);
        let net = joules.zip(idle_w).map(|(joules, idle)| joules - idle * time);
        let captured = self.counted(span, |sample| sample.captured) as f64;
        let of_inference = net.zip(decode_j).map(|(net, decode)| net - decode * captured);
        let mut reasons = judge::of_machine(samples, limits);
        if has_drifted {
            reasons.push(Reason::BaselineDrift);
        }
        if !span.is_whole {
            reasons.push(Reason::Interrupted);
        }
        if count < limits.inferences {
            reasons.push(Reason::FewInferences);
        }
        let updates = energy::updates(self.readings, span.from, span.to);
        if let Some(rail) = self.rail {
            let info = &self.environment.rails[rail];
            let gap = limits.gap_s.max(3.0 * info.period_s.unwrap_or(0.0));
            let missing = samples.iter().filter(|sample| !matches!(sample.rails.get(rail), Some(Some(_)))).count();
            let misses = missing as f64 > limits.missing * samples.len() as f64;
            if joules.is_none() || misses || energy::longest_gap_s(self.readings, span.from, span.to) > gap {
                reasons.push(Reason::SensorGap);
            } else if updates < limits.updates {
                reasons.push(Reason::FewUpdates);
            }
        }
        reasons.sort_unstable();
        let load = samples.first().zip(samples.last()).map_or(0.0, |(first, last)| judge::other_load_s(first, last));
        WindowFigures {
            from_ns: span.from,
            to_ns: span.to,
            reasons,
            samples: samples.len(),
            inferences: count,
            fps: count as f64 / time.max(1e-9),
            dropped: self.counted(span, |sample| sample.dropped),
            infer_ms: latency(&inferences, |inference| inference.infer_us),
            total_ms: latency(&inferences, |inference| inference.total_us),
            watts: joules.map(|joules| joules / time.max(1e-9)),
            gross_j,
            net_j: net.and_then(per_inference),
            inference_j: of_inference.and_then(per_inference),
            updates,
            celsius: celsius(samples),
            mhz: mhz(samples),
            other_load: load / time.max(1e-9),
        }
    }

    /// The samples in a span, its ends included.
    fn inside(&self, span: &Span) -> &[Sample] {
        let first = self.samples.partition_point(|sample| sample.at_ns < span.from);
        let end = self.samples.partition_point(|sample| sample.at_ns <= span.to);
        &self.samples[first..end.max(first)]
    }

    fn joules(&self, span: &Span) -> Option<f64> {
        let counts = self.environment.rails[self.rail?].counts;
        let of = if counts { energy::of_counter } else { energy::of_power };
        of(self.readings, span.from, span.to)
    }

    fn watts(&self, span: &Span) -> Option<f64> {
        Some(self.joules(span)? / seconds(span).max(1e-9))
    }

    /// How much a count has risen in a span.
    fn counted(&self, span: &Span, of: fn(&Sample) -> u64) -> u64 {
        let samples = self.inside(span);
        samples.first().zip(samples.last()).map_or(0, |(first, last)| of(last).saturating_sub(of(first)))
    }
}

fn seconds(span: &Span) -> f64 {
    (span.to - span.from) as f64 / 1e9
}

fn latency(inferences: &[&Inference], of: fn(&Inference) -> u64) -> Option<Latency> {
    let values: Vec<f64> = inferences.iter().map(|inference| of(inference) as f64 / 1000.0).collect();
    let of = |share| percentile(&values, share);
    Some(Latency { p50: of(0.5)?, p90: of(0.9)?, p99: of(0.99)?, max: of(1.0)? })
}

fn celsius(samples: &[Sample]) -> Option<[f64; 2]> {
    let hottest = |sample: &Sample| sample.condition.as_ref()?.celsius.values().copied().reduce(f64::max);
    Some([samples.iter().find_map(hottest)?, samples.iter().rev().find_map(hottest)?])
}

fn mhz(samples: &[Sample]) -> Option<f64> {
    let conditions = samples.iter().filter_map(|sample| sample.condition.as_ref());
    let values: Vec<f64> = conditions.flat_map(|it| it.khz.values().map(|khz| *khz as f64 / 1000.0)).collect();
    mean(&values)
}

fn medians(windows: &[WindowFigures]) -> Option<Medians> {
    let valid: Vec<&WindowFigures> = windows.iter().filter(|window| window.reasons.is_empty()).collect();
    let of = |value: fn(&WindowFigures) -> Option<f64>| {
        Spread::of(&valid.iter().filter_map(|window| value(window)).collect::<Vec<_>>())
    };
    Some(Medians {
        windows: valid.len(),
        fps: of(|window| Some(window.fps))?,
        infer_p50_ms: of(|window| Some(window.infer_ms?.p50))?,
        infer_p99_ms: of(|window| Some(window.infer_ms?.p99))?,
        total_p50_ms: of(|window| Some(window.total_ms?.p50))?,
        watts: of(|window| window.watts),
        gross_j: of(|window| window.gross_j),
        net_j: of(|window| window.net_j),
        inference_j: of(|window| window.inference_j),
    })
}

#[cfg(test)]
mod tests;
