//! CSV, for spreadsheets: a line for each window, with every digit.

use std::io;

use super::{Measured, verdict};
use crate::measure::analysis::WindowFigures;

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
        "samples",
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
                    text(file),
                    text(&recording.environment.device),
                    text(&point.name),
                    (number + 1).to_string(),
                    window.from_ns.to_string(),
                    window.to_ns.to_string(),
                    verdict(window),
                    window.samples.to_string(),
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

/// Text of a file, which no spreadsheet takes for a formula.
fn text(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}
