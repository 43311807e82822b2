//! The tables: medians of each configuration, and every window.

use super::scale::short;
use super::{MOST_WINDOWS, Named, full};
use crate::measure::analysis::{Latency, WindowFigures};
use crate::measure::report::absence::{Figure, absence, absence_in_window};
use crate::measure::report::verdict;
use crate::measure::stats::Spread;

/// A row of the table of configurations.
pub(super) struct Summary {
    pub(super) id: String,
    pub(super) file: usize,
    pub(super) point: usize,
    pub(super) device: String,
    pub(super) name: String,
    /// The first words of the notes: `quick`, `incomplete`, `interrupted`.
    pub(super) badges: Vec<String>,
    pub(super) valid: usize,
    pub(super) all: usize,
    pub(super) figures: Vec<Cell>,
    /// Why there are no figures at all.
    pub(super) absent: Option<&'static str>,
    /// What the medians come from.
    pub(super) origin: String,
}

/// A figure in a table.
pub(super) struct Cell {
    /// Its name in the JSON of the report.
    pub(super) key: &'static str,
    /// What it is, for narrow screens, where there is no head of the table.
    pub(super) label: &'static str,
    /// For reading. Empty if there is no figure.
    pub(super) text: String,
    /// The range of a median, or why there is no figure.
    pub(super) detail: String,
    /// Names and values of attributes, with all digits.
    pub(super) values: Vec<(&'static str, String)>,
}

/// The windows of a configuration, side by side.
pub(super) struct Windows {
    pub(super) id: String,
    pub(super) file: usize,
    pub(super) point: usize,
    pub(super) device: String,
    pub(super) name: String,
    /// Power when nothing ran, and while frames were captured.
    pub(super) base: Vec<Cell>,
    pub(super) heads: Vec<Head>,
    /// None if there is no window.
    pub(super) rows: Vec<Row>,
}

/// The head of a column: a window.
pub(super) struct Head {
    /// Its number, from 1.
    pub(super) number: usize,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) is_valid: bool,
    pub(super) verdict: String,
}

/// A figure of all windows.
pub(super) struct Row {
    pub(super) label: &'static str,
    /// Whether its numbers may take several lines.
    pub(super) is_long: bool,
    /// Why no window has it.
    pub(super) absent: Option<String>,
    pub(super) cells: Vec<Cell>,
}

pub(super) fn summary(named: &Named<'_>) -> Summary {
    let Named { measured, point, .. } = named;
    let valid = point.valid.as_ref();
    let cell = |key, label, spread: Option<Spread>, figure| match spread {
        Some(Spread { median, min, max }) => Cell {
            key,
            label,
            text: short(median),
            detail: format!("{} to {}", short(min), short(max)),
            values: vec![("median", full(median)), ("min", full(min)), ("max", full(max))],
        },
        None => absent(key, label, absence(measured, point, figure)),
    };
    let figures = vec![
        cell("fps", "results/s", valid.map(|it| it.fps), Figure::Latency),
        cell("infer_p50_ms", "inference p50, ms", valid.map(|it| it.infer_p50_ms), Figure::Latency),
        cell("infer_p99_ms", "inference p99, ms", valid.map(|it| it.infer_p99_ms), Figure::Latency),
        cell("total_p50_ms", "capture to result p50, ms", valid.map(|it| it.total_p50_ms), Figure::Latency),
        cell("watts", "power, W", valid.and_then(|it| it.watts), Figure::Power),
        cell("gross_j", "J/result", valid.and_then(|it| it.gross_j), Figure::Power),
        cell("net_j", "J/result above idle", valid.and_then(|it| it.net_j), Figure::AboveIdle),
        cell("inference_j", "J/result, inference alone", valid.and_then(|it| it.inference_j), Figure::InferenceAlone),
    ];
    let counted = || point.windows.iter().filter(|window| window.reasons.is_empty());
    let sum = |of: fn(&WindowFigures) -> usize| counted().map(of).sum::<usize>();
    let origin = format!("{} results, {} samples", sum(|it| it.inferences), sum(|it| it.samples));
    let badge = |note: &String| note.split(':').next().unwrap_or_default().to_owned();
    Summary {
        id: named.id.clone(),
        file: named.file,
        point: named.number,
        device: named.device.clone(),
        name: named.name.clone(),
        badges: measured.analysis.notes.iter().map(badge).collect(),
        valid: counted().count(),
        all: point.windows.len(),
        figures,
        absent: valid.is_none().then(|| absence(measured, point, Figure::Latency)),
        origin,
    }
}

pub(super) fn windows(named: &Named<'_>) -> Windows {
    let Named { measured, point, .. } = named;
    let no_sensor = measured.analysis.rail.is_none();
    let base = |key, label, figure: Option<f64>, why| {
        value(key, label, figure, if no_sensor { "no sensor of power" } else { why })
    };
    let shown = || point.windows.iter().take(MOST_WINDOWS);
    let head = |(number, window): (usize, &WindowFigures)| Head {
        number,
        from_ns: window.from_ns,
        to_ns: window.to_ns,
        is_valid: window.reasons.is_empty(),
        verdict: verdict(window),
    };
    let mut rows: Vec<Row> = Vec::new();
    for window in shown() {
        for (index, cell) in cells(named, window).into_iter().enumerate() {
            match rows.get_mut(index) {
                Some(row) => row.cells.push(cell),
                None => rows.push(Row {
                    label: cell.label,
                    is_long: cell.key.ends_with("_ns"),
                    absent: None,
                    cells: vec![cell],
                }),
            }
        }
    }
    for row in &mut rows {
        let first = &row.cells[0];
        if first.text.is_empty() && row.cells.iter().all(|cell| cell.text.is_empty() && cell.detail == first.detail) {
            row.absent = Some(first.detail.clone());
        }
    }
    Windows {
        id: named.id.clone(),
        file: named.file,
        point: named.number,
        device: named.device.clone(),
        name: named.name.clone(),
        base: vec![
            base("idle_w.0", "idle before, W", point.idle_w[0], "no whole idle phase with readings"),
            base("idle_w.1", "idle after, W", point.idle_w[1], "no whole idle phase with readings"),
            base("capture_w", "capturing, W", point.capture_w, "no whole capture phase with readings"),
            base(
                "decode_j",
                "capturing a frame, J above idle",
                point.decode_j,
                "no idle or capture phase, or no frames",
            ),
        ],
        heads: (1..).zip(shown()).map(head).collect(),
        rows,
    }
}

/// The figures of a window, in the order of the rows.
fn cells(named: &Named<'_>, window: &WindowFigures) -> Vec<Cell> {
    let Named { measured, point, .. } = named;
    let latency =
        |key, label, latency: Option<Latency>, of: fn(Latency) -> f64| value(key, label, latency.map(of), "no results");
    let energy =
        |key, label, it: Option<f64>, figure| value(key, label, it, absence_in_window(measured, point, figure));
    let start = measured.recording.environment.started_ns;
    let since = |at: u64| at.saturating_sub(start) as f64 / 1e9;
    let text = |key, label, text: String, values| Cell { key, label, text, detail: String::new(), values };
    let count = |key, label, count: u64| text(key, label, count.to_string(), vec![("value", count.to_string())]);
    let WindowFigures { infer_ms, total_ms, .. } = *window;
    let celsius = match window.celsius {
        Some([first, last]) => {
            let values = vec![("first", full(first)), ("last", full(last))];
            text("celsius", "°C", format!("{first:.1} to {last:.1}"), values)
        }
        None => absent("celsius", "°C", "no temperature"),
    };
    vec![
        text("time", "time, s", format!("{:.1} to {:.1}", since(window.from_ns), since(window.to_ns)), Vec::new()),
        count("from_ns", "from, monotonic ns", window.from_ns),
        count("to_ns", "to, monotonic ns", window.to_ns),
        count("samples", "samples", window.samples as u64),
        count("updates", "values of the sensor", window.updates as u64),
        count("inferences", "results", window.inferences as u64),
        value("fps", "results/s", Some(window.fps), ""),
        count("dropped", "dropped", window.dropped),
        latency("infer_ms.p50", "inference p50, ms", infer_ms, |it| it.p50),
        latency("infer_ms.p90", "p90", infer_ms, |it| it.p90),
        latency("infer_ms.p99", "p99", infer_ms, |it| it.p99),
        latency("infer_ms.max", "max", infer_ms, |it| it.max),
        latency("total_ms.p50", "capture to result p50, ms", total_ms, |it| it.p50),
        latency("total_ms.p90", "p90", total_ms, |it| it.p90),
        latency("total_ms.p99", "p99", total_ms, |it| it.p99),
        latency("total_ms.max", "max", total_ms, |it| it.max),
        energy("watts", "power, W", window.watts, Figure::Power),
        energy("gross_j", "J/result", window.gross_j, Figure::Power),
        energy("net_j", "J/result above idle", window.net_j, Figure::AboveIdle),
        energy("inference_j", "J/result, inference alone", window.inference_j, Figure::InferenceAlone),
        celsius,
        value("mhz", "MHz", window.mhz, "no frequency"),
        value("other_load", "other load, cores", Some(window.other_load), ""),
    ]
}

fn value(key: &'static str, label: &'static str, value: Option<f64>, why: &str) -> Cell {
    match value {
        Some(value) => {
            Cell { key, label, text: short(value), detail: String::new(), values: vec![("value", full(value))] }
        }
        None => absent(key, label, why),
    }
}

fn absent(key: &'static str, label: &'static str, why: &str) -> Cell {
    Cell { key, label, text: String::new(), detail: why.to_owned(), values: Vec::new() }
}
