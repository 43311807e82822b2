//! Reports: a Markdown table for people, CSV for spreadsheets. Every figure is one of [`Analysis`].

use std::fmt::Write as _;
use std::io;

use super::analysis::{Analysis, Medians, PointFigures, WindowFigures};
use super::journal::Recording;
use super::stats::Spread;
use crate::printable::line;

/// A file with its figures.
#[derive(Debug)]
pub struct Measured {
    /// Its name.
    pub file: String,
    /// Its content.
    pub recording: Recording,
    /// Its figures.
    pub analysis: Analysis,
}

/// Tables of all configurations and of all windows, with what has to be known of them.
#[must_use]
pub fn markdown(files: &[Measured]) -> String {
    let mut text = String::from(
        "| device | configuration | valid | results/s | inference p50 ms | p99 ms | capture to result p50 ms | W | J/result | above idle | \
         inference alone |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for Measured { recording, analysis, .. } in files {
        for point in &analysis.points {
            let device = cell(&recording.environment.device);
            let valid = point.valid.as_ref().map_or(0, |valid| valid.windows);
            let figures = point.valid.as_ref().map_or_else(|| [const { String::new() }; 8], figures);
            let _ = writeln!(
                text,
                "| {device} | {} | {valid} of {} | {} |",
                cell(&point.name),
                point.windows.len(),
                figures.join(" | ")
            );
        }
    }
    text += "\nMedian of the valid windows (least to greatest). Energy is that of the rail named below.\n";
    for measured in files {
        text += &of_file(measured);
    }
    text
}

/// What a file is about, its windows, and its notes.
fn of_file(Measured { file, recording, analysis }: &Measured) -> String {
    let environment = &recording.environment;
    let or_unknown = |text: &Option<String>| text.as_deref().map_or_else(|| "unknown".to_owned(), cell);
    let mut text = format!("\n## {}\n\n", cell(file));
    for note in &analysis.notes {
        let _ = writeln!(text, "- **{}**", cell(note));
    }
    let _ = writeln!(
        text,
        "- hardnetd {}, {}, started {}",
        cell(&environment.version),
        cell(&environment.kernel),
        environment.started_at
    );
    let _ = writeln!(text, "- board: {}; processor: {}", or_unknown(&environment.board), or_unknown(&environment.cpu));
    match analysis.rail.and_then(|rail| environment.rails.get(rail)) {
        Some(rail) => {
            let period = rail
                .period_s
                .map_or_else(|| "did not change".to_owned(), |period| format!("a value every {period:.3} s"));
            let _ = writeln!(
                text,
                "- power: {} ({}, covers: {}), {period}, gain {}, offset {} W",
                cell(&rail.name),
                cell(&rail.family),
                cell(&rail.coverage),
                rail.gain,
                rail.offset_w
            );
        }
        None => text += "- power: unavailable\n",
    }
    for (what, why) in &environment.absent {
        let _ = writeln!(text, "- {}: {}", cell(what), cell(why));
    }
    for point in &analysis.points {
        text += &of_point(point);
    }
    text
}

fn of_point(point: &PointFigures) -> String {
    let watts = |watts: Option<f64>| watts.map_or_else(|| "unavailable".to_owned(), |watts| format!("{watts:.3} W"));
    let mut text = format!(
        "\n{}: idle {} before and {} after, capturing {}\n\n\
         | window | results | results/s | p50 ms | p99 ms | W | J/result | above idle | °C | MHz | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        cell(&point.name),
        watts(point.idle_w[0]),
        watts(point.idle_w[1]),
        watts(point.capture_w),
    );
    for (number, window) in point.windows.iter().enumerate() {
        let number_of =
            |value: Option<f64>, digits: usize| value.map_or_else(String::new, |it| format!("{it:.digits$}"));
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {} | {} | {} | {} | {} | {} | {} | {} |",
            number + 1,
            window.inferences,
            window.fps,
            number_of(window.infer_ms.map(|it| it.p50), 3),
            number_of(window.infer_ms.map(|it| it.p99), 3),
            number_of(window.watts, 3),
            number_of(window.gross_j, 4),
            number_of(window.net_j, 4),
            window.celsius.map_or_else(String::new, |[first, last]| format!("{first:.1} to {last:.1}")),
            number_of(window.mhz, 0),
            verdict(window),
        );
    }
    text
}

fn verdict(window: &WindowFigures) -> String {
    match window.reasons.as_slice() {
        [] => "valid".to_owned(),
        reasons => reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(", "),
    }
}

fn figures(valid: &Medians) -> [String; 8] {
    let of = |spread: Spread, digits: usize| {
        let Spread { median, min, max } = spread;
        format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
    };
    let energy = |spread: Option<Spread>, digits| spread.map_or_else(String::new, |spread| of(spread, digits));
    [
        of(valid.fps, 2),
        of(valid.infer_p50_ms, 3),
        of(valid.infer_p99_ms, 3),
        of(valid.total_p50_ms, 3),
        energy(valid.watts, 3),
        energy(valid.gross_j, 4),
        energy(valid.net_j, 4),
        energy(valid.inference_j, 4),
    ]
}

/// Text of a file in a table.
fn cell(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

/// One line per window.
///
/// # Errors
/// If `out` refuses.
pub fn csv(files: &[Measured], out: impl io::Write) -> Result<(), ::csv::Error> {
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record([
        "file",
        "device",
        "configuration",
        "window",
        "from_ns",
        "to_ns",
        "verdict",
        "results",
        "results_per_s",
        "dropped",
        "infer_p50_ms",
        "infer_p90_ms",
        "infer_p99_ms",
        "infer_max_ms",
        "total_p50_ms",
        "total_p99_ms",
        "watts",
        "gross_j",
        "net_j",
        "inference_j",
        "updates",
        "celsius_first",
        "celsius_last",
        "mhz",
        "other_load",
    ])?;
    for Measured { file, recording, analysis } in files {
        for point in &analysis.points {
            for (number, window) in point.windows.iter().enumerate() {
                let of = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
                let WindowFigures { infer_ms, total_ms, celsius, .. } = window;
                writer.write_record([
                    file.clone(),
                    recording.environment.device.clone(),
                    point.name.clone(),
                    (number + 1).to_string(),
                    window.from_ns.to_string(),
                    window.to_ns.to_string(),
                    verdict(window),
                    window.inferences.to_string(),
                    window.fps.to_string(),
                    window.dropped.to_string(),
                    of(infer_ms.map(|it| it.p50)),
                    of(infer_ms.map(|it| it.p90)),
                    of(infer_ms.map(|it| it.p99)),
                    of(infer_ms.map(|it| it.max)),
                    of(total_ms.map(|it| it.p50)),
                    of(total_ms.map(|it| it.p99)),
                    of(window.watts),
                    of(window.gross_j),
                    of(window.net_j),
                    of(window.inference_j),
                    window.updates.to_string(),
                    of(celsius.map(|[first, _]| first)),
                    of(celsius.map(|[_, last]| last)),
                    of(window.mhz),
                    window.other_load.to_string(),
                ])?;
            }
        }
    }
    Ok(writer.flush()?)
}
