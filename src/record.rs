//! The program's output: records as JSON objects, one per line.
//!
//! Within a schema version a field name never changes its meaning. The JSON Schema of the result
//! record is `assets/hardnetd.result.v1.schema.json`.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use crate::frame::Timestamp;

/// Name and version of the result record's schema.
pub const RESULT_SCHEMA: &str = "hardnetd.result.v1";

/// A record of the program's output.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all are results, and a box would be an allocation for each frame")]
pub enum Record {
    /// A frame has been classified.
    Result(ResultRecord),
    /// The state of a stream has changed.
    Stream(StreamRecord),
}

/// The new state of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Name of the stream.
    pub stream: Arc<str>,
    /// Its state from now on.
    pub state: StreamState,
}

/// Whether a stream delivers frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It delivers.
    Online,
    /// Its source has failed and is being reopened.
    Retrying,
    /// Its source delivers, but no whole key frame, without which nothing can be decoded.
    Waiting,
    /// It no longer delivers.
    Offline,
}

impl StreamState {
    /// `online`, `retrying`, `waiting` or `offline`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Offline => "offline",
        }
    }
}

/// The classification of one frame.
#[derive(Debug, Clone, Serialize)]
pub struct ResultRecord {
    /// [`RESULT_SCHEMA`].
    pub schema: &'static str,
    /// Name of the device.
    pub device: Arc<str>,
    /// Name of the stream.
    pub stream: Arc<str>,
    /// The picture's file, if the source is a folder of pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
    /// The run of the program that made the record.
    pub run: RunId,
    /// Number of the frame in its stream: starts at 0, increases, and is unique within a run.
    pub seq: u64,
    /// When the frame reached the program: RFC 3339, UTC, microseconds; followed by `captured_monotonic_ns`.
    #[serde(flatten, serialize_with = "serialize_captured")]
    pub captured: Timestamp,
    /// The model that classified it.
    pub model: Arc<ModelTag>,
    /// The classes with the highest scores, best first.
    pub top: TopClasses,
    /// Where the time went.
    pub latency_us: Latency,
    /// Frames of this stream that were captured but not classified since the previous result, also across reconnects
    /// and reloads: `seq` is that of the previous result, plus 1, plus `dropped`. Frames that the source did not
    /// deliver during an outage are not counted.
    pub dropped: u64,
    /// If the result is that of an earlier frame, because the picture has not changed: how many such results there have
    /// been since the network ran, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried: Option<u64>,
}

/// Distinguishes one run of the program from another: 64 random bits, because clocks and process IDs can repeat after
/// every boot of a small computer. Written in records as 16 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(u64);

impl RunId {
    /// A new ID from the operating system's random number generator.
    #[must_use]
    pub fn random() -> Self {
        // The standard library seeds its hash keys from the system's random number generator.
        Self(RandomState::new().hash_one(std::process::id()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The model that made a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelTag {
    /// Name of the architecture or of the file.
    pub name: String,
    /// Digest of the weights.
    pub digest: String,
    /// False if the weights have not been trained; the labels are then meaningless.
    pub trained: bool,
}

/// A class and its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// Index of the class.
    pub index: usize,
    /// Its name.
    pub label: Arc<str>,
    /// Its probability, 0 to 1: by a softmax, unless the network makes probabilities itself.
    pub score: f32,
}

/// The classes of a result; up to five need no allocation.
pub type TopClasses = SmallVec<[Scored; 5]>;

/// Durations of the stages of one frame, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// From the arrival of its first packet to the decoded frame; 0 for files.
    pub capture: u64,
    /// Waiting for an inference thread.
    pub queue: u64,
    /// From samples to network input.
    pub preprocess: u64,
    /// The network and the selection of the best classes.
    pub infer: u64,
    /// From `captured_at` to the end of inference.
    pub total: u64,
}

fn serialize_captured<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Captured {
        captured_at: Rfc3339,
        captured_monotonic_ns: u64,
    }
    Captured { captured_at: Rfc3339(*at), captured_monotonic_ns: at.monotonic_ns }.serialize(serializer)
}

struct Rfc3339(Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::try_from(self.0.utc).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        serializer.collect_str(&format_args!("{time:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use smallvec::smallvec;

    use super::*;

    #[test]
    fn a_result_is_one_json_object_with_the_documented_fields_in_order() {
        let record = ResultRecord {
            schema: RESULT_SCHEMA,
            device: "pi".into(),
            stream: "door".into(),
            file: None,
            run: RunId(0xc0ffee),
            seq: 7,
            captured: Timestamp {
                monotonic_ns: 123,
                utc: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042),
            },
            model: Arc::new(ModelTag { name: "hardnet39ds".into(), digest: "sha256:00".into(), trained: false }),
            top: smallvec![Scored { index: 3, label: "class 3".into(), score: 0.25 }],
            latency_us: Latency { capture: 1, queue: 2, preprocess: 3, infer: 4, total: 10 },
            dropped: 5,
            carried: None,
        };
        assert_eq!(
            serde_json::to_string(&record).ok().as_deref(),
            Some(
                "{\"schema\":\"hardnetd.result.v1\",\"device\":\"pi\",\"stream\":\"door\",\
                 \"run\":\"0000000000c0ffee\",\"seq\":7,\
                 \"captured_at\":\"2023-11-14T22:13:20.000042Z\",\"captured_monotonic_ns\":123,\
                 \"model\":{\"name\":\"hardnet39ds\",\"digest\":\"sha256:00\",\"trained\":false},\
                 \"top\":[{\"index\":3,\"label\":\"class 3\",\"score\":0.25}],\
                 \"latency_us\":{\"capture\":1,\"queue\":2,\"preprocess\":3,\"infer\":4,\"total\":10},\"dropped\":5}"
            )
        );
        let carried = ResultRecord { carried: Some(2), ..record };
        assert!(serde_json::to_string(&carried).is_ok_and(|text| text.ends_with(",\"dropped\":5,\"carried\":2}")));
    }
}
