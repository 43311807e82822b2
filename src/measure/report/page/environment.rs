//! Where and with what was measured.

use std::collections::BTreeSet;

use super::{MOST_POINTS, letters, name};
use crate::measure::environment::{Limits, Point, RailInfo};
use crate::measure::report::Measured;
use crate::plural::{counted, first_of};
use crate::printable::line;

/// A file.
pub(super) struct Environment {
    pub(super) id: String,
    pub(super) device: String,
    /// What is known of it: names and values.
    pub(super) facts: Vec<(String, String)>,
}

pub(super) fn environment(file: usize, measured: &Measured) -> Environment {
    let Measured { recording, analysis, .. } = measured;
    let it = &recording.environment;
    let unknown = || "unavailable: the system does not tell".to_owned();
    let known = |text: &Option<String>| text.as_deref().map_or_else(unknown, |text| line(text).into_owned());
    let conditions = || recording.samples.iter().filter_map(|sample| sample.condition.as_ref());
    let governors: BTreeSet<&str> = conditions().flat_map(|it| &it.governors).map(String::as_str).collect();
    let throttled: BTreeSet<&str> = conditions().flat_map(|it| &it.throttled_before).map(String::as_str).collect();
    let mut facts = vec![
        ("file", line(&measured.file).into_owned()),
        ("device", line(&it.device).into_owned()),
        ("board", known(&it.board)),
        ("processor", known(&it.cpu)),
        ("kernel", line(&it.kernel).into_owned()),
        ("program", format!("hardnetd {}", line(&it.version))),
        ("started", format!("{} ({} ns of the monotonic clock)", line(&it.started_at), it.started_ns)),
        ("protocol", protocol(it.quick, &it.limits)),
    ];
    facts.push((
        "governor",
        if governors.is_empty() { "unavailable: no core told one".to_owned() } else { words(governors) },
    ));
    if !throttled.is_empty() {
        facts.push(("throttled since its start", words(throttled)));
    }
    let mut facts: Vec<(String, String)> = facts.into_iter().map(|(what, value)| (what.to_owned(), value)).collect();
    for (number, point) in it.points.iter().take(MOST_POINTS).enumerate() {
        facts.push((format!("{}{}: {}", letters(file), number + 1, name(&point.name)), configuration(point)));
    }
    if it.rails.is_empty() {
        facts.push(("power".to_owned(), "unavailable: no sensor".to_owned()));
    }
    for (number, info) in it.rails.iter().enumerate().take(MOST_POINTS) {
        let what = if analysis.rail == Some(number) { "power, for all figures" } else { "power, too" };
        facts.push((what.to_owned(), rail(info)));
    }
    for (what, why) in it.absent.iter().take(MOST_POINTS) {
        facts.push((name(what), format!("unavailable: {}", line(why))));
    }
    Environment { id: letters(file), device: name(&it.device), facts }
}

fn words(words: BTreeSet<&str>) -> String {
    first_of(words.into_iter().map(name))
}

fn protocol(is_quick: bool, limits: &Limits) -> String {
    format!(
        "{}; a window needs {} results, {} values of the sensor, no gap over {} s, at most {} % missing values, idle power \
         that differs by at most {} %, and at most {} cores taken by other programs",
        if is_quick { "quick" } else { "full" },
        limits.inferences,
        limits.updates,
        limits.gap_s,
        limits.missing * 100.0,
        limits.drift * 100.0,
        limits.other_load
    )
}

fn configuration(point: &Point) -> String {
    let models = first_of(point.models.iter().map(|(model, digest)| format!("{} ({})", name(model), name(digest))));
    let cores = if point.cores.is_empty() {
        "not pinned".to_owned()
    } else {
        format!("cores {}", point.cores.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
    };
    format!(
        "{models}; {}; {} of {}; {cores}; {}",
        name(&point.backend),
        counted(point.workers, "worker", "workers"),
        counted(point.threads, "thread", "threads"),
        first_of(point.sources.iter().map(|source| name(source)))
    )
}

fn rail(info: &RailInfo) -> String {
    let unit = if info.counts { "J" } else { "W" };
    let period =
        info.period_s.map_or_else(|| "its value did not change".to_owned(), |it| format!("a value every {it:.3} s"));
    let step = info.step.map_or_else(String::new, |step| format!(" in steps of {step:.3e} {unit}"));
    format!(
        "{} ({}), covers: {}; {period}{step}; {:.0} µs a reading, {:.0} % of readings repeat the last value; gain {}, offset {} W",
        name(&info.name),
        name(&info.family),
        name(&info.coverage),
        info.read_us,
        info.duplicates * 100.0,
        info.gain,
        info.offset_w
    )
}
