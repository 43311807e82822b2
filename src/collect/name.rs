//! Names of the files: `TIME_STREAM_SCORE_LABEL.jpg`, such as `20260131T120000.250000Z_door_0.53_open.jpg`.
//!
//! A file counts as written by hardnetd only if its name has this form and it lies in the folder of the stream that the
//! name tells. Whoever sorts the pictures into other folders thereby keeps them.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Time of a name: UTC, microseconds, as in `captured_at` of the record.
const TIME: &str = "%Y%m%dT%H%M%S%.6fZ";

/// Bytes of the time.
const TIME_LENGTH: usize = 23;

/// Bytes of the time that tell the day.
const DAY_LENGTH: usize = 8;

/// Bytes of a score, such as `0.53`.
const SCORE_LENGTH: usize = 4;

/// Maximum bytes of a label in a name. With a stream of 64, the name stays below the 255 that file systems take.
const LONGEST_LABEL: usize = 64;

/// End of every name.
const ENDING: &str = ".jpg";

/// The time of a frame as names have it.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The day in UTC of a time: `20260131`.
pub(super) fn day(time: Timestamp) -> String {
    let mut text = time.strftime(TIME).to_string();
    text.truncate(DAY_LENGTH);
    text
}

/// The name for a frame of `stream` whose best answer is `label` with `score`. A label with characters that are not safe
/// in names of files is left out.
pub(super) fn name(time: Timestamp, stream: &str, label: &str, score: f32) -> String {
    let time = time.strftime(TIME);
    let score = if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) };
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    match !label.is_empty() && label.len() <= LONGEST_LABEL && label.chars().all(is_safe) {
        true => format!("{time}_{stream}_{score:.2}_{}{ENDING}", label.replace(' ', "-")),
        false => format!("{time}_{stream}_{score:.2}{ENDING}"),
    }
}

/// The time of a file called `name` in the folder of `stream`; `None` if hardnetd has not written it there.
pub(super) fn parse(name: &str, stream: &str) -> Option<Timestamp> {
    let (time, rest) = name.split_at_checked(TIME_LENGTH)?;
    let rest = rest.strip_suffix(ENDING)?.strip_prefix('_')?.strip_prefix(stream)?.strip_prefix('_')?;
    let (score, label) = rest.split_at_checked(SCORE_LENGTH)?;
    let is_score = matches!(score.as_bytes(), [b'0' | b'1', b'.', a, b] if a.is_ascii_digit() && b.is_ascii_digit());
    let is_label = label.is_empty() || label.starts_with('_');
    let parsed = TimeZone::UTC.to_timestamp(DateTime::strptime("%Y%m%dT%H%M%S%.fZ", time).ok()?).ok()?;
    (is_score && is_label && parsed.strftime(TIME).to_string() == time).then_some(parsed)
}

/// Whether `name` is that of a file that was being written in the folder of `stream` when the program was killed: see
/// [`replace`](crate::replace::replace).
pub(super) fn is_part(name: &str, stream: &str) -> bool {
    let whole = name.strip_suffix(".part").and_then(|rest| rest.rsplit_once('.'));
    whole.is_some_and(|(whole, process)| {
        process.bytes().all(|digit| digit.is_ascii_digit()) && parse(whole, stream).is_some()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_tells_time_stream_score_and_label_and_is_recognised() {
        let time = timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_250));
        assert_eq!(name(time, "door", "open", 0.531), "20260131T120000.250000Z_door_0.53_open.jpg");
        assert_eq!(name(time, "door", "half open_ü", 1.0), "20260131T120000.250000Z_door_1.00_half-open_ü.jpg");
        for label in ["a/b", "..\0", "", "a\n", "fire engine, fire truck", &"x".repeat(65)] {
            assert_eq!(name(time, "door", label, 0.0), "20260131T120000.250000Z_door_0.00.jpg", "{label:?}");
        }
        for label in ["open", "a/b", "x_y", "0.5"] {
            for stream in ["door", "a_b", "..", "0.53_x", &"s".repeat(64)] {
                assert_eq!(parse(&name(time, stream, label, 0.5), stream), Some(time), "{stream} {label}");
            }
        }
        assert_eq!(day(time), "20260131");
        assert!(name(time, &"s".repeat(64), &"x".repeat(64), 0.5).len() < 200);
    }

    #[test]
    fn other_files_are_not_recognised() {
        for name in [
            "20260131T120000.250000Z.jpg",
            "20260131T120000.250000Z-1.jpg",
            "20260131T120000.250000Z_yard_0.53_open.jpg",
            "20260131T120000.250000Z_door_0.53_open.png",
            "20260131T120000.250000Z_door_0.53open.jpg",
            "20260131T120000.250000Z_door_open.jpg",
            "20260231T120000.250000Z_door_0.53_open.jpg",
            "20260131T120000_door_0.53_open.jpg",
            "holiday.jpg",
            "",
            "äääääääääääääääääääääääää",
        ] {
            assert_eq!(parse(name, "door"), None, "{name}");
        }
        assert!(is_part("20260131T120000.250000Z_door_0.53.jpg.123.part", "door"));
        assert!(!is_part("20260131T120000.250000Z_door_0.53.jpg.123.part", "yard"));
        assert!(!is_part("holiday.jpg.123.part", "door") && !is_part("x.part", "door"));
    }
}
