//! What is observed during a measurement: the machine, and the frames.

use serde::{Deserialize, Serialize};

pub use crate::system::condition::Condition;

/// A look at the machine. All counts are since some time in the past and only rise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Monotonic nanoseconds.
    pub at_ns: u64,
    /// Nanoseconds that the clock of the day is ahead of the monotonic one.
    pub clock_ns: i64,
    /// The readings of the rails, in their order: watts, or joules of a counter; null if a rail could not be read.
    pub rails: Vec<Option<f64>>,
    /// When the rails were read, in monotonic nanoseconds, or when a meter's message arrived.
    pub rails_at_ns: Vec<u64>,
    /// Processor time of this process in seconds.
    pub own_cpu_s: f64,
    /// Processor time of all processes on the cores that this process may use, in seconds.
    pub all_cpu_s: f64,
    /// Frames captured, and those without a result.
    pub captured: u64,
    /// Frames captured and without a result.
    pub dropped: u64,
    /// Times that a source has failed and had to be reopened.
    pub reconnects: u64,
    /// The state of the machine, once a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// A frame that has been classified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// When its inference ended, in monotonic nanoseconds.
    pub at_ns: u64,
    /// Name of its stream.
    pub stream: String,
    /// Its number in the stream.
    pub seq: u64,
    /// When it was captured, in monotonic nanoseconds.
    pub captured_ns: u64,
    /// From its arrival to the decoded frame, in microseconds.
    pub capture_us: u64,
    /// Waiting for an inference thread.
    pub queue_us: u64,
    /// From samples to network input.
    pub preprocess_us: u64,
    /// The network and the selection of the best classes.
    pub infer_us: u64,
    /// From capture to the end of inference.
    pub total_us: u64,
    /// The best class.
    pub top: usize,
}
