//! Every key of the configuration, once: its type, default, allowed values, and meaning.
//!
//! `section!` turns each list into a struct, its `Default` and the table of keys that `check` reads.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::choice::{BackendChoice, Choice, IsaChoice, MemoryMode};

/// The standard port of MQTT (IANA, mqtt).
pub(super) const MQTT_PORT: u16 = 1883;

/// The standard port of MQTT over TLS (IANA, secure-mqtt).
pub const MQTTS_PORT: u16 = 8883;

/// The allowed values of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Allowed {
    /// Any single-line string.
    Text,
    /// Host name or address, or empty.
    Host,
    /// True or false.
    Switch,
    /// An integer within bounds, inclusive.
    Integer(i64, i64),
    /// A number within bounds, inclusive.
    Number(f64, f64),
    /// A number within bounds, inclusive, or 0.
    NumberOrZero(f64, f64),
    /// A list of integers within bounds, without duplicates.
    Integers(i64, i64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A word for topics and thread names: letters, digits, `-`, `_`, `.`; 1 to 64 of them.
    Name,
    /// Like `Name`, or empty.
    OptionalName,
    /// MQTT topic levels, without wildcards.
    Topic,
    /// Rows and columns of an input, or empty.
    OptionalSize,
    /// Means of R, G and B, or empty.
    OptionalMean,
    /// Standard deviations of R, G and B, or empty.
    OptionalStd,
    /// A source URI; the caller of `load` says which ones are supported.
    Source,
    /// Names and numbers of a camera's controls, or empty.
    Controls,
    /// A part of a picture, or empty.
    OptionalRegion,
    /// A word, or the name of a GStreamer element.
    Element,
    /// An IP address and a port.
    Listen,
}

/// The keys of a section.
pub(super) type Keys = &'static [(&'static str, Allowed)];

macro_rules! section {
    (
        $(#[$about:meta])* $section:ident { $($(#[$doc:meta])* $key:ident: $type:ty = $default:expr, $kind:expr;)* }
        $(with { $($(#[$inner_doc:meta])* $inner:ident: $inner_type:ident;)* })?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {
            $($(#[$doc])* pub $key: $type,)*
            $($($(#[$inner_doc])* pub $inner: $inner_type,)*)?
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($key: $default.into(),)* $($($inner: $inner_type::default(),)*)? }
            }
        }

        impl $section {
            pub(in crate::config) const KEYS: Keys = &[$((stringify!($key), $kind),)*];
            $(pub(in crate::config) const SECTIONS: &'static [(&'static str, Keys)] =
                &[$((stringify!($inner), $inner_type::KEYS),)*];)?
        }
    };
}

mod stream;

pub use stream::{BoardCamera, Http, MAX_FPS, MIN_FPS, Rtsp, Srt, Stream, Udp, V4l2};

section! {
    /// `[device]`: this machine and the process.
    Device {
        /// Name of this device in records and MQTT topics; empty: the host name.
        name: String = "", Allowed::OptionalName;
        /// Time limit of a stop in seconds; work still in flight is then abandoned.
        stop_timeout_s: f64 = 1.5, Allowed::Number(0.1, 60.0);
        /// Time limit in seconds for a reload to prepare the new configuration; the old one then stays in force.
        reload_timeout_s: f64 = 60.0, Allowed::Number(1.0, 3600.0);
    }
}

section! {
    /// `[model]`: the network.
    Model {
        /// `signal`, which recognises the state of a video signal; a name of the family (hardnet39ds, hardnet68ds,
        /// hardnet68, hardnet85), with untrained weights; or a file: a model file of `hardnetd model import`, weights
        /// of the family (PyTorch, PaddlePaddle, safetensors), an ONNX classifier, or the table of an architecture
        /// (.toml).
        name: String = "signal", Allowed::Text;
        /// Text file with one label per line, in the order of the classes; empty: the model's own labels.
        labels: String = "", Allowed::Text;
        /// Rows and columns of the network's input, such as `320x256`; empty: the model's own.
        size: String = "", Allowed::OptionalSize;
        /// Name of the output with the scores, for an ONNX file with several; empty: the first with a row of values.
        output: String = "", Allowed::Text;
        /// Mean of R, G and B, of 0 to 1, such as `0.485,0.456,0.406`; one number counts for all three. Empty: the
        /// model's own, or ImageNet's.
        mean: String = "", Allowed::OptionalMean;
        /// Standard deviation of R, G and B, such as `0.229,0.224,0.225`; one number counts for all three. Empty: the
        /// model's own, or ImageNet's.
        std: String = "", Allowed::OptionalStd;
        /// Share of the resized picture's shorter side that the input takes, such as 0.875. 0: the model's own.
        crop_ratio: f64 = 0.0, Allowed::NumberOrZero(0.1, 1.0);
        /// Number of classes in a result, best first.
        top: u32 = 5_u32, Allowed::Integer(1, 1000);
    }
}

section! {
    /// `[inference]`: the threads that run the network.
    Inference {
        /// What runs the network: `native`, hardnetd's own engine; `tract`; or `auto`: native, or tract for ONNX
        /// networks with parts that the native engine does not know.
        backend: BackendChoice = BackendChoice::Auto, Allowed::Choice(BackendChoice::WORDS);
        /// Instruction set of the native engine: `scalar`, `avx2`, `avx512`, `neon`; `auto`: the best that the
        /// processor has.
        isa: IsaChoice = IsaChoice::Auto, Allowed::Choice(IsaChoice::WORDS);
        /// Trade memory for speed: `fast`, or `lean` (hardnet68 and hardnet85 take less than half of the memory and
        /// are 11 to 44 % slower, depending on the processor; the other models are the same).
        memory: MemoryMode = MemoryMode::Fast, Allowed::Choice(MemoryMode::WORDS);
        /// Inference workers; each takes the stream whose turn it is.
        workers: u32 = 1_u32, Allowed::Integer(1, 256);
        /// Threads of each worker; several shorten the latency of a frame. tract uses one.
        threads: u32 = 1_u32, Allowed::Integer(1, 64);
        /// CPU cores of the inference threads, assigned in turn; empty: any. Example: `[3]`.
        cores: Vec<u32> = [], Allowed::Integers(0, 1023);
        /// Real-time priority (SCHED_FIFO, 1 to 99) of the inference threads; 0: normal scheduling.
        priority: u32 = 0_u32, Allowed::Integer(0, 99);
    }
}

section! {
    /// `[collect]`: frames whose answer was uncertain, kept as pictures for the next teaching.
    Collect {
        /// Folder for the pictures, each in a folder of its stream; it is created if its parent exists. Empty: none are
        /// kept.
        folder: String = "", Allowed::Text;
        /// A frame is kept if the scores of its best two classes differ by less than this, or if its best answer is
        /// `unknown`. 0: only `unknown`.
        margin: f64 = 0.2, Allowed::Number(0.0, 1.0);
        /// Maximum number of pictures per stream and day (UTC).
        max_per_day: u32 = 50_u32, Allowed::Integer(1, 100_000);
        /// Minimum seconds between two pictures of a stream.
        interval_s: f64 = 600.0, Allowed::Number(0.0, 86_400.0);
        /// Maximum size of all pictures in megabytes; beyond that, the oldest are removed. Other files do not count and
        /// stay.
        max_size_mb: u32 = 500_u32, Allowed::Integer(1, 1_000_000);
    }
}

section! {
    /// `[publish.stdout]`: JSON Lines on standard output.
    Stdout {
        /// Whether to print results to standard output, one JSON object per line.
        enabled: bool = true, Allowed::Switch;
        /// Results of live streams that wait for a slow reader; beyond it, the oldest are dropped and counted. Files
        /// wait instead.
        queue: u32 = 1000_u32, Allowed::Integer(1, 1_000_000);
        /// Whether to print statistics, too: objects with another `schema` between the results.
        stats: bool = false, Allowed::Switch;
    }
}

section! {
    /// `[publish.mqtt]`: results to an MQTT 3.1.1 broker.
    Mqtt {
        /// Whether to send results to an MQTT 3.1.1 broker.
        enabled: bool = false, Allowed::Switch;
        /// Host name or address of the broker; port, tls and username have keys of their own.
        host: String = "localhost", Allowed::Host;
        /// TCP port of the broker; 0: the standard port, 1883, or 8883 with TLS.
        port: u16 = 0_u16, Allowed::Integer(0, 65_535);
        /// Whether to encrypt the connection and verify the broker's certificate (TLS 1.2 or 1.3).
        tls: bool = false, Allowed::Switch;
        /// PEM file with the authorities that may sign the broker's certificate; empty: those that the system trusts.
        ca_file: String = "", Allowed::Text;
        /// PEM file with this device's certificate and the intermediate certificates up to its authority; empty:
        /// none.
        cert_file: String = "", Allowed::Text;
        /// PEM file with the key of `cert_file`. A bare name, here and for the other files, is looked up in
        /// `$CREDENTIALS_DIRECTORY`.
        key_file: String = "", Allowed::Text;
        /// Skip certificate verification. Anyone on the path can then read and alter traffic.
        danger_accept_any_certificate: bool = false, Allowed::Switch;
        /// User name; empty: none.
        username: String = "", Allowed::Text;
        /// File with the password; a bare name is looked up in `$CREDENTIALS_DIRECTORY`, if that is set.
        password_file: String = "", Allowed::Text;
        /// Client id, unique at the broker; empty: `hardnetd-<device>`.
        client_id: String = "", Allowed::Text;
        /// First levels of every topic; the device name follows.
        topic_prefix: String = "hardnetd", Allowed::Topic;
        /// Quality of service of results: 0 at most once, 1 at least once, 2 exactly once.
        qos: u8 = 0_u8, Allowed::Integer(0, 2);
        /// Whether the broker keeps the states for later subscribers (retained messages).
        retain: bool = true, Allowed::Switch;
        /// Whether the broker publishes `offline` if the connection is lost (last will).
        last_will: bool = true, Allowed::Switch;
        /// Maximum number of unacknowledged messages with QoS 1 and 2. Mosquitto discards QoS 2 messages beyond its
        /// own `max_inflight_messages`, which is 20.
        in_flight: u16 = 20_u16, Allowed::Integer(1, 1000);
        /// MQTT keep-alive interval in seconds. A message that stays unacknowledged for two intervals is repeated on
        /// a new connection.
        keep_alive_s: u16 = 15_u16, Allowed::Integer(5, 3600);
        /// Time limit of a connection attempt in seconds.
        connect_timeout_s: u16 = 5_u16, Allowed::Integer(1, 300);
        /// Longest wait in seconds between two connection attempts; the first waits are shorter.
        retry_max_s: f64 = 30.0, Allowed::Number(0.1, 3600.0);
        /// Maximum number of results kept while the broker is unreachable; beyond that, the oldest are dropped and counted.
        queue: u32 = 1000_u32, Allowed::Integer(1, 1_000_000);
    }
}

section! {
    /// `[telemetry]`: what the program tells about itself.
    Telemetry {
        /// Seconds between two records of statistics for the sinks; 0: there are none.
        stats_s: f64 = 60.0, Allowed::NumberOrZero(1.0, 86_400.0);
    }
}

section! {
    /// `[power]`: where power and energy come from.
    Power {
        /// Name of the sensor that figures are of, as `hardnetd doctor` lists it; empty: the one that covers most.
        rail: String = "", Allowed::Text;
        /// Factor that its readings are multiplied by.
        gain: f64 = 1.0, Allowed::Number(0.1, 10.0);
        /// Watts that are then added to them.
        offset_w: f64 = 0.0, Allowed::Number(-100.0, 100.0);
        /// A meter outside the machine; empty: none. `simulated:FILE` plays a curve, to try a measurement without one.
        meter: String = "", Allowed::Text;
    }
}

section! {
    /// `[http]`: metrics for Prometheus, and whether the service is alive and ready.
    HttpServer {
        /// Whether to listen for HTTP requests.
        enabled: bool = false, Allowed::Switch;
        /// Address and port to listen at. Anyone who reaches it can read the metrics.
        listen: String = "127.0.0.1:9464", Allowed::Listen;
        /// Time limit of a connection in seconds.
        timeout_s: f64 = 10.0, Allowed::Number(0.1, 3600.0);
        /// Seconds for which a thread may be busy with one piece of work before `/healthz` answers 503.
        stuck_s: f64 = 60.0, Allowed::Number(1.0, 86_400.0);
    }
}

section! {
    /// `[debug]`: for tests of the program itself.
    Debug {
        /// For testing hardnetd itself: number of results after which each inference thread freezes, to try the
        /// watchdog; 0: never.
        wedge_after: u32 = 0_u32, Allowed::Integer(0, 1_000_000_000);
    }
}

/// `[publish]`: where results go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// Standard output.
    pub stdout: Stdout,
    /// MQTT.
    pub mqtt: Mqtt,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This machine and the process.
    pub device: Device,
    /// The streams.
    #[serde(rename = "stream")]
    pub streams: Vec<Stream>,
    /// The network.
    pub model: Model,
    /// The threads that run it.
    pub inference: Inference,
    /// Frames to keep.
    pub collect: Collect,
    /// Where results go.
    pub publish: Publish,
    /// What the program tells about itself.
    pub telemetry: Telemetry,
    /// Where power and energy come from.
    pub power: Power,
    /// Where it answers questions about that.
    pub http: HttpServer,
    /// For tests of the program itself.
    pub debug: Debug,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: Device::default(),
            streams: vec![Stream { name: "test".into(), ..Stream::default() }],
            model: Model::default(),
            inference: Inference::default(),
            collect: Collect::default(),
            publish: Publish::default(),
            telemetry: Telemetry::default(),
            power: Power::default(),
            http: HttpServer::default(),
            debug: Debug::default(),
        }
    }
}

/// How sections nest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Section {
    /// A table of keys.
    Keys(Keys),
    /// An array of tables of keys, with tables of keys inside.
    Repeated(Keys, &'static [(&'static str, Keys)]),
    /// A table of sections.
    Group(&'static [(&'static str, Section)]),
}

/// The top level of a file.
pub(super) const ROOT: Section = Section::Group(&[
    ("device", Section::Keys(Device::KEYS)),
    ("stream", Section::Repeated(Stream::KEYS, Stream::SECTIONS)),
    ("model", Section::Keys(Model::KEYS)),
    ("inference", Section::Keys(Inference::KEYS)),
    ("collect", Section::Keys(Collect::KEYS)),
    ("publish", Section::Group(&[("stdout", Section::Keys(Stdout::KEYS)), ("mqtt", Section::Keys(Mqtt::KEYS))])),
    ("telemetry", Section::Keys(Telemetry::KEYS)),
    ("power", Section::Keys(Power::KEYS)),
    ("http", Section::Keys(HttpServer::KEYS)),
    ("debug", Section::Keys(Debug::KEYS)),
]);

impl Device {
    /// `stop_timeout_s`.
    #[must_use]
    pub fn stop_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.stop_timeout_s)
    }

    /// `reload_timeout_s`.
    #[must_use]
    pub fn reload_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.reload_timeout_s)
    }
}

impl Collect {
    /// `interval_s`.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.interval_s)
    }

    /// `max_size_mb` in bytes.
    #[must_use]
    pub fn max_size(&self) -> u64 {
        u64::from(self.max_size_mb) * 1_000_000
    }
}

impl HttpServer {
    /// Where to listen. None if nobody does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok().filter(|_| self.enabled)
    }

    /// `timeout_s`.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout_s)
    }

    /// `stuck_s`.
    #[must_use]
    pub fn stuck(&self) -> Duration {
        Duration::from_secs_f64(self.stuck_s)
    }
}

impl Mqtt {
    /// The TCP port of the broker: `port`, or the standard one.
    #[must_use]
    pub fn port(&self) -> u16 {
        match (self.port, self.tls) {
            (0, false) => MQTT_PORT,
            (0, true) => MQTTS_PORT,
            (port, _) => port,
        }
    }

    /// The client id of `device`.
    #[must_use]
    pub fn id(&self, device: &str) -> String {
        match self.client_id.as_str() {
            "" => format!("hardnetd-{device}"),
            id => id.to_owned(),
        }
    }

    /// Topic of the state of `device`.
    #[must_use]
    pub fn status_topic(&self, device: &str) -> String {
        format!("{}/{device}/status", self.topic_prefix)
    }
}

impl Config {
    /// Time between two records of statistics; zero: nobody takes any.
    #[must_use]
    pub fn stats_period(&self) -> Duration {
        let Publish { stdout, mqtt } = &self.publish;
        let is_taken = mqtt.enabled || (stdout.enabled && stdout.stats);
        if is_taken { Duration::from_secs_f64(self.telemetry.stats_s) } else { Duration::ZERO }
    }

    /// Inference workers that can be busy at the same time: a stream has one frame classified at a time.
    #[must_use]
    pub fn busy_workers(&self) -> usize {
        self.streams.len().clamp(1, self.inference.workers.max(1) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT;
    use super::*;

    #[test]
    fn the_commented_defaults_give_the_bounds_of_every_number() {
        let sections: [(&str, Keys); 15] = [
            ("[device]", Device::KEYS),
            ("[[stream]]", Stream::KEYS),
            ("[stream.rtsp]", Rtsp::KEYS),
            ("[stream.http]", Http::KEYS),
            ("[stream.udp]", Udp::KEYS),
            ("[stream.srt]", Srt::KEYS),
            ("[stream.v4l2]", V4l2::KEYS),
            ("[stream.libcamera]", BoardCamera::KEYS),
            ("[stream.nvargus]", BoardCamera::KEYS),
            ("[model]", Model::KEYS),
            ("[inference]", Inference::KEYS),
            ("[collect]", Collect::KEYS),
            ("[publish.stdout]", Stdout::KEYS),
            ("[publish.mqtt]", Mqtt::KEYS),
            ("[debug]", Debug::KEYS),
        ];
        for (header, keys) in sections {
            for (key, allowed) in keys {
                let (low, high) = match *allowed {
                    Allowed::Integer(low, high) | Allowed::Integers(low, high) => (low.to_string(), high.to_string()),
                    Allowed::Number(low, high) | Allowed::NumberOrZero(low, high) => {
                        (low.to_string(), high.to_string())
                    }
                    _ => continue,
                };
                let section = DEFAULT.split(&format!("\n{header}\n")).nth(1).unwrap_or_default();
                let above = section.split(&format!("\n{key} = ")).next().unwrap_or_default();
                // The last line stands first: a range may be broken between two.
                let lines: Vec<&str> = above.lines().rev().take_while(|line| line.starts_with('#')).collect();
                let words = lines.into_iter().rev().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>();
                let comment = words.join(" ").replace(',', "");
                let range = |low: &str| comment.contains(&format!("rom {low} to {high}"));
                let from_one = || low == "0" && (range("1") || comment.contains(&format!("p to {high}")));
                let of_words = ["publish.mqtt qos", "inference priority"];
                let is_of_words = of_words.contains(&format!("{} {key}", header.trim_matches(['[', ']'])).as_str());
                assert!(
                    range(&low) || from_one() && comment.contains("0:") || is_of_words,
                    "{header} {key}: {comment}"
                );
            }
        }
    }
}
