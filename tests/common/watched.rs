//! A stream from a camera that misbehaves, watched by a subscriber, beside another stream that must not suffer.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs, and fails by panicking"
)]

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::broker::Broker;
use crate::common::subscriber::Subscriber;
use crate::common::{self, Outcome, Running, hardnetd, wait_for};

/// The limit of silence and the wait before reopening, in seconds.
const STALL: f64 = 4.0;
const RETRY: f64 = 0.5;

/// What a connection and the first picture may take on a busy machine.
const SETUP: Duration = Duration::from_secs(15);

/// A stream from a camera, with what a subscriber learns of it.
pub struct Stream {
    pub running: Running,
    subscriber: Subscriber,
    folder: TempDir,
    _broker: Broker,
}

impl Stream {
    pub fn start(address: &str, keys: &str) -> Self {
        Self::start_with(address, STALL, keys)
    }

    /// With another limit of silence.
    pub fn start_with(address: &str, stall_s: f64, keys: &str) -> Self {
        let (broker, folder) = (Broker::start("allow_anonymous true"), common::folder());
        let subscriber = Subscriber::start(broker.port, &[]);
        let config = folder.path().join("hardnetd.toml");
        std::fs::write(folder.path().join("password"), "wr0ng\n").unwrap();
        let text = format!(
            "[device]\nname = \"pi\"\nstop_timeout_s = 30\n[model]\nsize = \"32x32\"\n\
             [publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {}\n[telemetry]\nstats_s = 1\n\
             [[stream]]\nname = \"camera\"\nsource = \"{address}\"\nstall_timeout_s = {stall_s}\n\
             retry_first_s = {RETRY}\nretry_max_s = {RETRY}\nretry_jitter = 0.0\n{}\n\
             [[stream]]\nname = \"other\"\nsource = \"test:ball?size=64x64&fps=10\"\n",
            broker.port,
            keys.replace("FOLDER", folder.path().to_str().unwrap())
        );
        std::fs::write(&config, text).unwrap();
        let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
        Self { running, subscriber, folder, _broker: broker }
    }

    /// The file of a password that is wrong at first.
    pub fn password(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// The states since it was `offline` at the start. A busy machine may have it wait for a key frame in between.
    fn states(&self) -> Vec<String> {
        let lines = self.subscriber.lines();
        let states = lines.iter().filter_map(|line| line.split_once(' ')?.1.strip_prefix("hardnetd/pi/camera/status "));
        let states = states.skip_while(|state| *state == "offline").filter(|state| *state != "waiting");
        let mut states: Vec<String> = states.map(str::to_owned).collect();
        states.dedup();
        states
    }

    /// Waits until the states have been these, and no others.
    pub fn reaches(&self, expected: &[&str]) {
        wait_for("the state", || {
            let states = self.states();
            let same = states.iter().zip(expected).all(|(state, expected)| state == expected);
            assert!(same && states.len() <= expected.len(), "{states:?}, not {expected:?}: {}", self.running.log());
            (states.len() == expected.len()).then_some(())
        });
    }

    /// When the frames of the results so far were captured.
    fn captured(&self) -> Vec<Timestamp> {
        let output = self.running.output();
        let (whole, _) = output.rsplit_once('\n').unwrap_or_default();
        let time = |line: &str| -> Timestamp {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["captured_at"].as_str().unwrap().parse().unwrap()
        };
        whole.lines().filter(|line| line.contains(r#""stream":"camera""#)).map(time).collect()
    }

    /// Waits for results of frames after a fault, of which the first may take the limit of silence, a wait, and a connection.
    pub fn goes_on(&self) {
        let start = Timestamp::now();
        let first = wait_for("further results", || {
            let after: Vec<Timestamp> = self.captured().into_iter().filter(|captured| *captured > start).collect();
            Some(after).filter(|after| after.len() >= 3)?.first().copied()
        });
        let took = Duration::try_from(first.duration_since(start)).unwrap();
        let limit = Duration::from_secs_f64(STALL + RETRY) + SETUP;
        assert!(took < limit, "{took:?}: {}", self.running.log());
    }

    /// The latest statistics of the stream, after a moment.
    pub fn stats(&self) -> serde_json::Value {
        let schema = include_str!("../../assets/hardnetd.stats.v1.schema.json");
        let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let all = || -> Vec<String> {
            let lines = self.subscriber.lines();
            lines.iter().filter_map(|line| line.strip_prefix("0 hardnetd/pi/stats ")).map(str::to_owned).collect()
        };
        let before = all().len();
        let last = wait_for("statistics", || Some(all()).filter(|all| all.len() >= before + 2)?.pop());
        let stats = serde_json::from_str(&last).unwrap();
        if let Err(error) = schema.validate(&stats) {
            panic!("{error}: {last}");
        }
        stats["streams"].as_array().unwrap().iter().find(|stream| stream["stream"] == "camera").unwrap().clone()
    }

    /// Stops it; the records of both streams add up, and the other one went on all the time.
    pub fn stops(self) -> Outcome {
        self.running.signal(Signal::TERM);
        let outcome = self.running.finish();
        let records = outcome.records();
        let of = |name| common::of_stream(&records, name).into_iter().cloned().collect::<Vec<_>>();
        common::numbers_add_up(&of("camera"));
        let other = of("other");
        common::numbers_add_up(&other);
        let times: Vec<Timestamp> =
            other.iter().map(|record| record["captured_at"].as_str().unwrap().parse().unwrap()).collect();
        for pair in times.windows(2) {
            // Ten frames a second, on a machine that may be busy; a fault of the camera lasts longer.
            let gap = Duration::try_from(pair[1].duration_since(pair[0])).unwrap();
            assert!(
                gap < Duration::from_secs_f64(STALL * 0.75),
                "the other stream paused for {gap:?}: {}",
                outcome.stderr
            );
        }
        outcome
    }
}
