//! The program's output: records as JSON objects, one per line.
//!
//! Within a schema version a field name never changes its meaning. The JSON Schemas are
//! `assets/hardnetd.result.v1.schema.json` and `assets/hardnetd.stats.v1.schema.json`.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use crate::frame::Timestamp;

/// Name and version of the result record's schema.
pub const RESULT_SCHEMA: &str = "hardnetd.result.v1";

/// Name and version of the schema of statistics.
pub const STATS_SCHEMA: &str = "hardnetd.stats.v1";

/// A record of the program's output.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all are results, and a box would be an allocation for each frame")]
pub enum Record {
    /// A frame has been classified.
    Result(ResultRecord),
    /// The state of a stream has changed.
    Stream(StreamRecord),
    /// How the streams have fared.
    Stats(StatsRecord),
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamState {
    /// It has not delivered yet.
    #[default]
    Starting,
    /// It delivers.
    Online,
    /// It has stopped delivering, and is given time to go on.
    Stalled,
    /// Its source delivers, but no whole key frame, without which nothing can be decoded.
    Waiting,
    /// Its source has failed and is being reopened.
    Retrying,
    /// It no longer delivers.
    Offline,
}

impl StreamState {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Online, Self::Stalled, Self::Waiting, Self::Retrying, Self::Offline];

    /// The state in lowercase.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Online => "online",
            Self::Stalled => "stalled",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Offline => "offline",
        }
    }
}

impl Serialize for StreamState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How the streams of a device have fared since its process began.
#[derive(Debug, Clone, Serialize)]
pub struct StatsRecord {
    /// [`STATS_SCHEMA`].
    pub schema: &'static str,
    /// Name of the device.
    pub device: Arc<str>,
    /// The run of the program that made the record.
    pub run: RunId,
    /// When it was made: RFC 3339, UTC, microseconds.
    #[serde(serialize_with = "serialize_time")]
    pub at: SystemTime,
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since the process began.
    pub uptime_s: f64,
    /// Seconds that rates and percentiles are about: since the previous record, the start or a reload.
    pub period_s: f64,
    /// The streams, in no fixed order.
    pub streams: Vec<StreamStats>,
    /// The sinks.
    pub sinks: Vec<SinkStats>,
}

/// How a stream has fared. Numbers count from the start of the process, also across reloads; rates and percentiles are
/// those of the period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamStats {
    /// Name of the stream.
    pub stream: Arc<str>,
    /// Its state.
    pub state: StreamState,
    /// Frames received from the source per second.
    pub fps_in: f64,
    /// Results per second.
    pub fps_out: f64,
    /// How long the frames took that the network classified; `None` if there were none.
    pub latency_us: Option<StageLatencies>,
    /// Frames received from the source.
    pub captured: u64,
    /// Frames that the network classified.
    pub classified: u64,
    /// Frames that got the result of an earlier one, because the picture had not changed.
    pub carried: u64,
    /// Frames captured and without a result, but for those in `failed`.
    pub dropped: u64,
    /// Frames that could not be classified.
    pub failed: u64,
    /// Frames that were not decoded, or damaged.
    pub left_out: u64,
    /// Times that it was `stalled`.
    pub stalls: u64,
    /// Times that its source failed and was reopened.
    pub reconnects: u64,
    /// Pipelines that did not shut down in time.
    pub abandoned: u64,
    /// Its latest failure; `None` if there was none.
    pub last_failure: Option<Failure>,
}

/// Percentiles of the stages of [`Latency`], in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageLatencies {
    /// See [`Latency::capture`].
    pub capture: Percentiles,
    /// See [`Latency::queue`].
    pub queue: Percentiles,
    /// See [`Latency::preprocess`].
    pub preprocess: Percentiles,
    /// See [`Latency::infer`].
    pub infer: Percentiles,
    /// See [`Latency::total`].
    pub total: Percentiles,
}

/// Percentiles of a histogram, in microseconds: at most 1.6 % above the exact ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half of all durations are at most this long.
    pub p50: u64,
    /// 90 % of them.
    pub p90: u64,
    /// 99 % of them.
    pub p99: u64,
    /// 99.9 % of them.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// How a sink has fared. Numbers count from the start of the process, also across reloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkStats {
    /// Name of the sink.
    pub sink: &'static str,
    /// Results that it has taken.
    pub taken: u64,
    /// Results that it did not deliver, because its queue was full or nobody accepts them.
    pub lost: u64,
    /// Connections made, if it is one that connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// Time from taking a result to its acknowledgement, in the period; `None` if nothing was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_us: Option<Percentiles>,
}

/// A failure of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When it was noticed: RFC 3339, UTC, microseconds.
    #[serde(serialize_with = "serialize_time")]
    pub at: SystemTime,
    /// What happened, on one line and without logins.
    pub reason: Arc<str>,
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
    Captured { captured_at: Rfc3339(at.utc), captured_monotonic_ns: at.monotonic_ns }.serialize(serializer)
}

fn serialize_time<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    Rfc3339(*at).serialize(serializer)
}

struct Rfc3339(SystemTime);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::try_from(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        serializer.collect_str(&format_args!("{time:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    #[test]
    fn statistics_are_one_json_object_with_the_documented_fields_in_order() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042);
        let of = |us| Percentiles { p50: us, p90: us + 1, p99: us + 2, p999: us + 3, max: us + 4 };
        let sink = SinkStats { sink: "mqtt", taken: 3, lost: 1, connections: Some(2), acknowledged_us: Some(of(6)) };
        let stdout = SinkStats { sink: "stdout", connections: None, acknowledged_us: None, ..sink.clone() };
        let stream = StreamStats {
            stream: "door".into(),
            state: StreamState::Stalled,
            fps_in: 24.5,
            fps_out: 4.0,
            latency_us: Some(StageLatencies {
                capture: of(1),
                queue: of(2),
                preprocess: of(3),
                infer: of(4),
                total: of(5),
            }),
            captured: 6,
            classified: 3,
            carried: 9,
            dropped: 2,
            failed: 1,
            left_out: 4,
            stalls: 5,
            reconnects: 7,
            abandoned: 8,
            last_failure: Some(Failure { at, reason: "no \"frame\"".into() }),
        };
        let record = StatsRecord {
            schema: STATS_SCHEMA,
            device: "pi".into(),
            run: RunId(0xc0ffee),
            at,
            version: "0.1.0",
            uptime_s: 90.125,
            period_s: 60.0,
            streams: vec![stream],
            sinks: vec![sink, stdout],
        };
        let percentiles = |us: u64| {
            let [p90, p99, p999, max] = [1, 2, 3, 4].map(|more| us + more);
            format!("{{\"p50\":{us},\"p90\":{p90},\"p99\":{p99},\"p999\":{p999},\"max\":{max}}}")
        };
        let [capture, queue, preprocess, infer, total, acknowledged] = [1, 2, 3, 4, 5, 6].map(percentiles);
        assert_eq!(
            serde_json::to_string(&record).ok(),
            Some(format!(
                "{{\"schema\":\"hardnetd.stats.v1\",\"device\":\"pi\",\"run\":\"0000000000c0ffee\",\
                 \"at\":\"2023-11-14T22:13:20.000042Z\",\"version\":\"0.1.0\",\"uptime_s\":90.125,\"period_s\":60.0,\
                 \"streams\":[{{\"stream\":\"door\",\"state\":\"stalled\",\"fps_in\":24.5,\"fps_out\":4.0,\
                 \"latency_us\":{{\"capture\":{capture},\"queue\":{queue},\"preprocess\":{preprocess},\
                 \"infer\":{infer},\"total\":{total}}},\
                 \"captured\":6,\"classified\":3,\"carried\":9,\"dropped\":2,\"failed\":1,\"left_out\":4,\
                 \"stalls\":5,\"reconnects\":7,\"abandoned\":8,\"last_failure\":\
                 {{\"at\":\"2023-11-14T22:13:20.000042Z\",\"reason\":\"no \\\"frame\\\"\"}}}}],\
                 \"sinks\":[{{\"sink\":\"mqtt\",\"taken\":3,\"lost\":1,\"connections\":2,\
                 \"acknowledged_us\":{acknowledged}}},{{\"sink\":\"stdout\",\"taken\":3,\"lost\":1}}]}}"
            ))
        );
    }

    #[test]
    fn every_state_has_its_place_in_the_list_of_all() {
        for (index, state) in StreamState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index, "{}", state.name());
        }
    }
}
