//! A sensor whose power is known: for tests of measurements, and for trying them without a meter.
//!
//! A file has lines `SECONDS,WATTS` with rising seconds, counted from the opening; between them the power changes evenly,
//! and after the last one it stays.

use std::fs;

use super::gauge::ReadError;
use super::{Calibration, Coverage, Found, Quantity, Rail, Reading, Sensor};
use crate::frame::monotonic_ns;

const FAMILY: &str = "simulated";

/// Beginning of the setting.
const SCHEME: &str = "simulated:";

/// The curve of a file.
struct Curve {
    rail: Rail,
    points: Vec<(f64, f64)>,
    opened_ns: u64,
}

impl Sensor for Curve {
    fn rail(&self) -> &Rail {
        &self.rail
    }

    fn read(&mut self) -> Result<Reading, ReadError> {
        let at_ns = monotonic_ns();
        let seconds = at_ns.saturating_sub(self.opened_ns) as f64 / 1e9;
        Ok(Reading { at_ns, value: watts(&self.points, seconds) })
    }
}

/// The power at a time.
fn watts(points: &[(f64, f64)], seconds: f64) -> f64 {
    let next = points.partition_point(|(at, _)| *at <= seconds);
    match (next.checked_sub(1).and_then(|before| points.get(before)), points.get(next)) {
        (Some((from, first)), Some((to, last))) => first + (last - first) * (seconds - from) / (to - from),
        (Some((_, watts)), None) | (None, Some((_, watts))) => *watts,
        (None, None) => 0.0,
    }
}

pub(super) fn find(meter: &str, found: &mut Found) {
    let Some(path) = meter.strip_prefix(SCHEME) else { return };
    match fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| parse(&text)) {
        Ok(points) => {
            let (quantity, coverage, calibration) = (Quantity::Power, Coverage::Board, Calibration::NONE);
            let rail =
                Rail { family: FAMILY, name: FAMILY.into(), quantity, coverage, source: path.into(), calibration };
            found.add(Curve { rail, points, opened_ns: monotonic_ns() });
        }
        Err(reason) => found.lacks(FAMILY, format!("{path}: {reason}")),
    }
}

fn parse(text: &str) -> Result<Vec<(f64, f64)>, String> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
        let finite = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        let point = line.split_once(',').and_then(|(at, watts)| Some((finite(at)?, finite(watts)?)));
        let is_later = |point: &(f64, f64)| points.last().is_none_or(|last| last.0 < point.0);
        match point.filter(is_later) {
            Some(point) => points.push(point),
            None => {
                return Err(format!("line {number} is {line:?}; expected SECONDS,WATTS, later than the line before"));
            }
        }
    }
    if points.is_empty() { Err("it is empty; expected lines SECONDS,WATTS".into()) } else { Ok(points) }
}
