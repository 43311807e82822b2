//! Latency against energy: which configuration costs less of one for the same of the other.

use super::scale::{Scale, Tick, percent, short};
use super::{Named, full};
use crate::measure::report::absence::{Figure, absence};
use crate::measure::stats::Spread;

/// Shapes of markers, one for each file; there are as many colours.
pub(super) const SHAPES: [&str; 6] = [
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-5-5h10v10h-10z",
    "M0-6L6 5h-12z",
    "M0-7L6 0L0 7L-6 0z",
    "M0 6L6-5h-12z",
    "M-6-2h4v-4h4v4h4v4h-4v4h-4v-4h-4z",
];

/// The plot.
pub(super) struct Chart {
    pub(super) markers: Vec<Marker>,
    /// The front of each file: its number, the number of its style, and a path from 0 to 1000 in both directions.
    pub(super) fronts: Vec<(usize, usize, String)>,
    /// Files with a marker: the number of the style, the shape, the letter and the device.
    pub(super) legend: Vec<(usize, &'static str, String, String)>,
    /// Milliseconds, along.
    pub(super) x: Vec<Tick>,
    /// Joules, upwards.
    pub(super) y: Vec<Tick>,
    /// Configurations without a marker, and why.
    pub(super) missing: Vec<(String, &'static str)>,
    /// What the plot tells, for those who do not see it.
    pub(super) label: String,
}

/// A configuration.
pub(super) struct Marker {
    pub(super) id: String,
    pub(super) file: usize,
    pub(super) point: usize,
    pub(super) style: usize,
    pub(super) shape: &'static str,
    /// Its place from 0 to 100, from the left and from the top.
    pub(super) x: String,
    pub(super) y: String,
    /// The ends of its ranges.
    pub(super) left: String,
    pub(super) right: String,
    pub(super) top: String,
    pub(super) bottom: String,
    /// Whether the name is left of the marker.
    pub(super) is_left: bool,
    /// Whether no other configuration of the file is at least as good in both, and better in one.
    pub(super) is_front: bool,
    pub(super) infer_p50_ms: String,
    pub(super) gross_j: String,
    pub(super) title: String,
}

/// The plot of several configurations. None if there are less than two.
pub(super) fn chart(points: &[Named<'_>]) -> Option<Chart> {
    if points.len() < 2 {
        return None;
    }
    let figures = |named: &Named<'_>| {
        let valid = named.point.valid?;
        Some((valid.infer_p50_ms, valid.gross_j?))
    };
    let known: Vec<(&Named<'_>, Spread, Spread)> =
        points.iter().filter_map(|named| figures(named).map(|(x, y)| (named, x, y))).collect();
    let missing = points.iter().filter(|named| figures(named).is_none());
    let missing = missing.map(|named| (named.id.clone(), absence(named.measured, named.point, Figure::Power)));
    let x = Scale::around(known.iter().flat_map(|(_, x, _)| [0.0, x.min, x.max]), 4.0);
    let y = Scale::around(known.iter().flat_map(|(_, _, y)| [0.0, y.min, y.max]), 4.0);
    let is_front = |of: &Named<'_>, latency: f64, energy: f64| {
        !known
            .iter()
            .filter(|(named, ..)| named.file == of.file)
            .any(|(_, x, y)| x.median <= latency && y.median <= energy && (x.median < latency || y.median < energy))
    };
    let marker = |(named, along, up): &(&Named<'_>, Spread, Spread)| {
        let (ms, joules) = (along.median, up.median);
        let of_x = |value| percent(x.percent(value));
        let of_y = |value| percent(100.0 - y.percent(value));
        let style = named.file % SHAPES.len();
        Marker {
            id: named.id.clone(),
            file: named.file,
            point: named.number,
            style,
            shape: SHAPES[style],
            x: of_x(ms),
            y: of_y(joules),
            left: of_x(along.min),
            right: of_x(along.max),
            top: of_y(up.max),
            bottom: of_y(up.min),
            is_left: x.percent(ms) > 85.0,
            is_front: is_front(named, ms, joules),
            infer_p50_ms: full(ms),
            gross_j: full(joules),
            title: format!("{} {}, {}: {} ms, {} J", named.id, named.device, named.name, short(ms), short(joules)),
        }
    };
    let files = {
        let mut files: Vec<usize> = known.iter().map(|(named, ..)| named.file).collect();
        files.dedup();
        files
    };
    let front = |file: &usize| {
        let of_file = known.iter().filter(|(named, ..)| named.file == *file);
        let mut places: Vec<(f64, f64)> = of_file
            .filter(|(named, x, y)| is_front(named, x.median, y.median))
            .map(|(_, along, up)| (x.percent(along.median), 100.0 - y.percent(up.median)))
            .collect();
        places.sort_by(|one, other| one.0.total_cmp(&other.0));
        let places: Vec<String> = places.iter().map(|(x, y)| format!("{:.1} {:.1}", x * 10.0, y * 10.0)).collect();
        (places.len() > 1).then(|| (*file, *file % SHAPES.len(), format!("M{}", places.join("L"))))
    };
    let entry = |file: &usize| {
        let named = known.iter().find(|(named, ..)| named.file == *file).map(|(named, ..)| named);
        let device = named.map_or_else(String::new, |named| named.device.clone());
        let style = file % SHAPES.len();
        (style, SHAPES[style], super::letters(*file), device)
    };
    let markers: Vec<Marker> = known.iter().map(marker).collect();
    let told: Vec<&str> = markers.iter().map(|marker| marker.title.as_str()).collect();
    Some(Chart {
        label: format!("Inference p50 and energy per result: {}", told.join("; ")),
        fronts: files.iter().filter_map(front).collect(),
        legend: files.iter().map(entry).collect(),
        x: x.ticks(),
        y: y.ticks(),
        missing: missing.collect(),
        markers,
    })
}
