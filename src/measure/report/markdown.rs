//! A Markdown table, for people and for issues.

use std::fmt::Write as _;

use super::absence::{Figure, absence};
use super::{Measured, verdict};
use crate::measure::analysis::PointFigures;
use crate::measure::stats::Spread;
use crate::printable::line;

/// Tables of all configurations and of all windows, with what has to be known of them.
#[must_use]
pub fn markdown(files: &[Measured]) -> String {
    let mut text = String::from(
        "| device | configuration | valid | results/s | inference p50 ms | p99 ms | capture to result p50 ms | W | J/result | above idle | \
         inference alone |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for measured in files {
        let Measured { recording, analysis, .. } = measured;
        for point in &analysis.points {
            let device = cell(&recording.environment.device);
            let valid = point.valid.as_ref().map_or(0, |valid| valid.windows);
            let figures = figures(measured, point);
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
        cell(&environment.started_at)
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

fn figures(measured: &Measured, point: &PointFigures) -> [String; 8] {
    let of = |spread: Option<Spread>, digits: usize, figure: Figure| match spread {
        Some(Spread { median, min, max }) => format!("{median:.digits$} ({min:.digits$} to {max:.digits$})"),
        None => format!("unavailable: {}", absence(measured, point, figure)),
    };
    let valid = point.valid.as_ref();
    [
        of(valid.map(|it| it.fps), 2, Figure::Latency),
        of(valid.map(|it| it.infer_p50_ms), 3, Figure::Latency),
        of(valid.map(|it| it.infer_p99_ms), 3, Figure::Latency),
        of(valid.map(|it| it.total_p50_ms), 3, Figure::Latency),
        of(valid.and_then(|it| it.watts), 3, Figure::Power),
        of(valid.and_then(|it| it.gross_j), 4, Figure::Power),
        of(valid.and_then(|it| it.net_j), 4, Figure::AboveIdle),
        of(valid.and_then(|it| it.inference_j), 4, Figure::InferenceAlone),
    ]
}

/// Text of a file in a table, without a meaning in Markdown: no column, tag, link, picture, code or emphasis.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in line(text).chars() {
        if matches!(c, '\\' | '|' | '<' | '[' | '`' | '*') {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}
