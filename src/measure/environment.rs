//! What is measured, and where: everything that a figure depends on and that does not change during a measurement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The first record of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// [`SCHEMA`](super::journal::SCHEMA).
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// When the measurement began: RFC 3339, UTC.
    pub started_at: String,
    /// The same in monotonic nanoseconds.
    pub started_ns: u64,
    /// Name of the device.
    pub device: String,
    /// Name of the board or the machine. None if the system does not tell.
    pub board: Option<String>,
    /// Name of the processor. None if the system does not tell.
    pub cpu: Option<String>,
    /// Release of the kernel.
    pub kernel: String,
    /// Whether this is the short version of the protocol, whose figures are only a hint.
    pub quick: bool,
    /// What is asked of a valid window.
    pub limits: Limits,
    /// The configurations that are measured.
    pub points: Vec<Point>,
    /// The sensors of power and energy, in the order of the readings.
    pub rails: Vec<RailInfo>,
    /// Families of sensors that the machine lacks, with the reason.
    pub absent: BTreeMap<String, String>,
}

/// A configuration that is measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// What tells it from the others.
    pub name: String,
    /// Names of its models, with the digests of their weights.
    pub models: BTreeMap<String, String>,
    /// What runs them.
    pub backend: String,
    /// Addresses of its sources, without logins.
    pub sources: Vec<String>,
    /// Inference workers.
    pub workers: u32,
    /// Threads of each.
    pub threads: u32,
    /// Cores that they are pinned to; empty: none.
    pub cores: Vec<u32>,
}

/// A sensor of power or energy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RailInfo {
    /// Its name.
    pub name: String,
    /// Kind of the sensor.
    pub family: String,
    /// What it covers: `board`, `module`, `package`, `rail`, `battery`.
    pub coverage: String,
    /// Whether it counts joules; otherwise it tells watts.
    pub counts: bool,
    /// Factor and offset in watts that its readings have been corrected with.
    pub gain: f64,
    /// See `gain`.
    pub offset_w: f64,
    /// Seconds between two values, as observed. None if it has not changed.
    pub period_s: Option<f64>,
    /// Smallest step between two values, in its unit. None if it has not changed.
    pub step: Option<f64>,
    /// Microseconds that a reading takes.
    pub read_us: f64,
    /// Share of readings that repeat the value before, 0 to 1.
    pub duplicates: f64,
}

/// What is asked of a valid window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Least number of inferences.
    pub inferences: usize,
    /// Least number of distinct values of the sensor.
    pub updates: usize,
    /// Longest time without a value of the sensor, in seconds. A slow sensor may take three of its periods.
    pub gap_s: f64,
    /// Greatest share of samples without a reading, 0 to 1.
    pub missing: f64,
    /// Greatest difference of idle power before and after, relative to their mean.
    pub drift: f64,
    /// Greatest processor time of other programs, relative to the time of one core.
    pub other_load: f64,
    /// Greatest step of the clock of the day between two samples, in seconds.
    pub clock_s: f64,
}

impl Limits {
    /// Of the full protocol.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            inferences: 1000,
            updates: 100,
            gap_s: 1.0,
            missing: 0.001,
            drift: 0.02,
            other_load: 0.05,
            clock_s: 0.05,
        }
    }

    /// Of the short one.
    #[must_use]
    pub const fn quick() -> Self {
        Self { inferences: 10, updates: 3, drift: 0.1, other_load: 0.25, missing: 0.01, ..Self::full() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::full()
    }
}
