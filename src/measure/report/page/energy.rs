//! Energy per result: a bar for each configuration and meaning, with the range of the valid windows.

use super::scale::{Scale, Tick, percent, short};
use super::{Named, full};
use crate::measure::report::absence::{Figure, absence};
use crate::measure::stats::Spread;

/// Bars on one axis.
pub(super) struct Chart {
    pub(super) groups: Vec<Group>,
    /// The numbers under the bars, in joules. None if there is no bar.
    pub(super) ticks: Vec<Tick>,
    /// Where 0 J is.
    pub(super) zero: String,
}

/// The bars of a configuration.
pub(super) struct Group {
    pub(super) id: String,
    pub(super) file: usize,
    pub(super) point: usize,
    pub(super) device: String,
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
    /// Why there is no bar at all.
    pub(super) absent: Option<&'static str>,
    /// What the bars tell, for those who do not see them.
    pub(super) label: String,
}

/// A bar, or why there is none.
pub(super) struct Bar {
    /// Its name in the JSON of the report, and of its colour.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) drawn: Result<Drawn, &'static str>,
}

/// A bar with its places from 0 to 100.
pub(super) struct Drawn {
    pub(super) from: String,
    pub(super) width: String,
    /// The ends of the whisker.
    pub(super) min_at: String,
    pub(super) max_at: String,
    /// The figure, its range, and their place.
    pub(super) text: String,
    pub(super) range: String,
    pub(super) text_at: String,
    /// With all digits.
    pub(super) median: String,
    pub(super) min: String,
    pub(super) max: String,
}

pub(super) fn chart(points: &[Named<'_>]) -> Chart {
    let kinds = |named: &Named<'_>| {
        let valid = named.point.valid;
        [
            ("gross_j", "all", valid.and_then(|it| it.gross_j), Figure::Power),
            ("net_j", "above idle", valid.and_then(|it| it.net_j), Figure::AboveIdle),
            ("inference_j", "inference alone", valid.and_then(|it| it.inference_j), Figure::InferenceAlone),
        ]
    };
    let known: Vec<Spread> = points.iter().flat_map(|it| kinds(it).into_iter().filter_map(|kind| kind.2)).collect();
    let scale = Scale::around(known.iter().flat_map(|it| [0.0, it.median, it.min, it.max]), 3.0);
    let groups = points.iter().map(|named| {
        let bars = kinds(named).map(|(key, name, spread, figure)| Bar {
            key,
            name,
            drawn: spread.map(|it| draw(scale, it)).ok_or_else(|| absence(named.measured, named.point, figure)),
        });
        let is_absent = bars.iter().all(|bar| bar.drawn.is_err());
        let told = bars.iter().map(|bar| match &bar.drawn {
            Ok(drawn) => format!("{} {}", bar.name, drawn.text),
            Err(why) => format!("{} unavailable: {why}", bar.name),
        });
        let label = format!("Energy per result of {}: {}", named.id, told.collect::<Vec<_>>().join(", "));
        Group {
            id: named.id.clone(),
            file: named.file,
            point: named.number,
            device: named.device.clone(),
            name: named.name.clone(),
            bars: bars.into(),
            absent: is_absent.then(|| absence(named.measured, named.point, Figure::Power)),
            label,
        }
    });
    Chart {
        groups: groups.collect(),
        ticks: if known.is_empty() { Vec::new() } else { scale.ticks() },
        zero: percent(scale.percent(0.0)),
    }
}

fn draw(scale: Scale, Spread { median, min, max }: Spread) -> Drawn {
    let (zero, end) = (scale.percent(0.0), scale.percent(median));
    Drawn {
        from: percent(zero.min(end)),
        width: percent((end - zero).abs()),
        min_at: percent(scale.percent(min)),
        max_at: percent(scale.percent(max)),
        text: format!("{} J", short(median)),
        range: format!("({} to {})", short(min), short(max)),
        text_at: percent(scale.percent(max).max(zero)),
        median: full(median),
        min: full(min),
        max: full(max),
    }
}
