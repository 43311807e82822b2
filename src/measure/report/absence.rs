//! Why a figure is absent.

use super::Measured;
use crate::measure::analysis::PointFigures;

/// What a figure needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Results.
    Latency,
    /// Results, and a sensor.
    Power,
    /// The same, and idle power.
    AboveIdle,
    /// The same, and power while frames are captured.
    InferenceAlone,
}

/// Why the median of a figure is absent.
pub(super) fn absence(measured: &Measured, point: &PointFigures, figure: Figure) -> &'static str {
    if point.windows.is_empty() {
        "no window was measured"
    } else if point.valid.is_none() {
        "no valid window"
    } else {
        absence_in_window(measured, point, figure)
    }
}

/// Why a figure of a window is absent.
pub(super) fn absence_in_window(measured: &Measured, point: &PointFigures, figure: Figure) -> &'static str {
    let has_idle = point.idle_w.iter().any(Option::is_some);
    match figure {
        Figure::Latency => "no results",
        _ if measured.analysis.rail.is_none() => "no sensor of power",
        Figure::AboveIdle | Figure::InferenceAlone if !has_idle => "no whole idle phase with readings",
        Figure::InferenceAlone if point.capture_w.is_none() => "no whole capture phase with readings",
        Figure::InferenceAlone if point.decode_j.is_none() => "no frames in the capture phase",
        _ => "no readings on both sides of the window, or no results",
    }
}
