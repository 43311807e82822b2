//! Every key of the configuration, once: its type, its default, what it may be, and what it means.
//!
//! `section!` makes of each list a struct, its `Default` and the table of keys that `check` reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Any string that a line can hold.
    Text,
    /// Name or address of a host, or empty.
    Host,
    /// True or false.
    Switch,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A number within bounds, both included.
    Number(f64, f64),
    /// A number within bounds, both included, or 0.
    NumberOrZero(f64, f64),
    /// A list of whole numbers within bounds, without repetition.
    Integers(i64, i64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A word for topics and thread names: letters, digits, `-`, `_`, `.`; 1 to 64 of them.
    Name,
    /// As `Name`, or empty.
    OptionalName,
    /// MQTT topic levels, without wildcards.
    Topic,
    /// Rows and columns of an input, or empty.
    OptionalSize,
    /// A source URI; the caller of `load` says which ones it knows.
    Source,
}

macro_rules! section {
    ($(#[$about:meta])* $section:ident { $($(#[$doc:meta])* $key:ident: $type:ty = $default:expr, $kind:expr;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {
            $($(#[$doc])* pub $key: $type,)*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($key: $default.into(),)* }
            }
        }

        impl $section {
            pub(super) const KEYS: &'static [(&'static str, Kind)] = &[$((stringify!($key), $kind),)*];
        }
    };
}

section! {
    /// `[device]`: this machine and the process.
    Device {
        /// Name of this device in records and MQTT topics; empty: the host name.
        name: String = "", Kind::OptionalName;
        /// Seconds that a stop may take before work in flight is abandoned.
        stop_timeout_s: f64 = 1.5, Kind::Number(0.1, 60.0);
        /// Seconds that a reload may take to prepare the new configuration before it is given up.
        reload_timeout_s: f64 = 60.0, Kind::Number(1.0, 3600.0);
    }
}

section! {
    /// `[[stream]]`: one source of frames; the section may be repeated.
    Stream {
        /// Name of the stream in records, MQTT topics and thread names; unique.
        name: String = "stream", Kind::Name;
        /// Where the frames come from: `test:PATTERN`, a file, `images:DIR` or `rtsp://…`.
        source: String = "test:ball", Kind::Source;
        /// Frames per second to let through, counted before any conversion; 0: all of them.
        max_fps: u32 = 0_u32, Kind::Integer(0, 1000);
        /// Seconds from the start to the first frame before the stream counts as failed.
        start_timeout_s: f64 = 20.0, Kind::Number(0.1, 3600.0);
        /// Seconds without a frame from a running source before the stream counts as failed.
        stall_timeout_s: f64 = 10.0, Kind::Number(0.1, 3600.0);
        /// Most seconds between two attempts to open a camera that failed, the first waits being shorter; 0: the stream
        /// ends with the failure. Cameras given with `--source` have 0.
        retry_max_s: f64 = 30.0, Kind::NumberOrZero(0.1, 3600.0);
        /// RTSP: milliseconds of jitter that the receiver evens out.
        rtsp_latency_ms: u32 = 200_u32, Kind::Integer(0, 60_000);
        /// RTSP: how packets travel; `auto` tries UDP first, then multicast, then TCP.
        rtsp_transport: String = "tcp", Kind::Choice(&["tcp", "udp", "auto"]);
        /// RTSP: user name; empty: the one in the address, if any.
        username: String = "", Kind::Text;
        /// RTSP: file that holds the password; a bare name is one of `$CREDENTIALS_DIRECTORY`, if that is set.
        password_file: String = "", Kind::Text;
    }
}

section! {
    /// `[model]`: the network.
    Model {
        /// A model's name (`hardnet39ds`, `hardnet68ds`, `hardnet68`, `hardnet85`) or a model file.
        name: String = "hardnet39ds", Kind::Text;
        /// A text file with a label per line, in the order of the classes; empty: the model's own labels.
        labels: String = "", Kind::Text;
        /// Rows and columns of the network's input, such as `320x256`; empty: the model's own.
        size: String = "", Kind::OptionalSize;
        /// How many classes a result lists, best first.
        top: u32 = 5_u32, Kind::Integer(1, 1000);
    }
}

section! {
    /// `[inference]`: the threads that run the network.
    Inference {
        /// What runs the network: `native`, `tract`, or `auto`: native, and tract where it must be.
        backend: String = "auto", Kind::Choice(&["auto", "native", "tract"]);
        /// Instruction set of the native engine; `auto`: the best that the processor has.
        isa: String = "auto", Kind::Choice(&["auto", "scalar", "avx2", "avx512", "neon"]);
        /// What the native engine uses memory for: `fast`, or `lean`: less of it for the 3×3 models, which are slower.
        memory: String = "fast", Kind::Choice(&["fast", "lean"]);
        /// Inference threads; the streams are dealt to them in turn.
        workers: u32 = 1_u32, Kind::Integer(1, 256);
        /// Threads that one inference takes, for a shorter latency: each worker has as many. tract takes one.
        threads: u32 = 1_u32, Kind::Integer(1, 64);
        /// CPU cores the inference threads may use, dealt to them in turn; empty: any.
        cores: Vec<u32> = [], Kind::Integers(0, 1023);
        /// Real-time priority (SCHED_FIFO, 1 to 99) of the inference threads; 0: ordinary scheduling.
        priority: u32 = 0_u32, Kind::Integer(0, 99);
    }
}

section! {
    /// `[publish.stdout]`: JSON Lines on standard output.
    Stdout {
        /// Whether results are printed.
        enabled: bool = true, Kind::Switch;
        /// Results of live streams kept while nobody reads them; beyond it the oldest are dropped and counted. Files wait.
        queue: u32 = 1000_u32, Kind::Integer(1, 1_000_000);
    }
}

section! {
    /// `[publish.mqtt]`: results to an MQTT 3.1.1 broker.
    Mqtt {
        /// Whether results are sent.
        enabled: bool = false, Kind::Switch;
        /// Host name or address of the broker.
        host: String = "localhost", Kind::Host;
        /// TCP port of the broker; 0: the usual one, 1883, or 8883 with TLS.
        port: u16 = 0_u16, Kind::Integer(0, 65_535);
        /// Whether the connection is encrypted, and the broker known by its certificate (TLS 1.2 or 1.3).
        tls: bool = false, Kind::Switch;
        /// PEM file with the authorities that may sign the broker's certificate; empty: those that the system trusts.
        ca_file: String = "", Kind::Text;
        /// PEM file with the certificate that this device shows the broker, and those between it and its authority;
        /// empty: none.
        cert_file: String = "", Kind::Text;
        /// PEM file with the key of `cert_file`. A bare name, of this and of the other files here, is looked up in
        /// `$CREDENTIALS_DIRECTORY`.
        key_file: String = "", Kind::Text;
        /// Whether any broker is believed, whatever its certificate: whoever sits in between can then read and change all.
        danger_accept_any_certificate: bool = false, Kind::Switch;
        /// User name; empty: none.
        username: String = "", Kind::Text;
        /// File that holds the password; a bare name is one of `$CREDENTIALS_DIRECTORY`, if that is set.
        password_file: String = "", Kind::Text;
        /// Client id, unique at the broker; empty: `hardnetd-<device>`.
        client_id: String = "", Kind::Text;
        /// First levels of every topic; the device name follows.
        topic_prefix: String = "hardnetd", Kind::Topic;
        /// Quality of service of results: 0 at most once, 1 at least once, 2 exactly once.
        qos: u8 = 0_u8, Kind::Integer(0, 2);
        /// Messages that may be unacknowledged with QoS 1 and 2. Mosquitto discards QoS 2 messages beyond its own
        /// `max_inflight_messages`, which is 20.
        in_flight: u16 = 20_u16, Kind::Integer(1, 1000);
        /// Seconds between signs of life to the broker. A message that it has not acknowledged for two of these is
        /// repeated on a new connection.
        keep_alive_s: u16 = 15_u16, Kind::Integer(5, 3600);
        /// Seconds to wait for a connection.
        connect_timeout_s: u16 = 5_u16, Kind::Integer(1, 300);
        /// Most seconds between two attempts to connect; the first waits are shorter.
        retry_max_s: f64 = 30.0, Kind::Number(0.1, 3600.0);
        /// Results kept while the broker is unreachable; beyond it the oldest are dropped and counted.
        queue: u32 = 1000_u32, Kind::Integer(1, 1_000_000);
    }
}

section! {
    /// `[debug]`: for tests of the program itself.
    Debug {
        /// Results after which each inference thread stands still, to try the watchdog; 0: never.
        wedge_after: u32 = 0_u32, Kind::Integer(0, 1_000_000_000);
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
    /// Where results go.
    pub publish: Publish,
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
            publish: Publish::default(),
            debug: Debug::default(),
        }
    }
}

/// How sections nest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Section {
    /// A table of keys.
    Keys(&'static [(&'static str, Kind)]),
    /// An array of tables of keys.
    Repeated(&'static [(&'static str, Kind)]),
    /// A table of sections.
    Group(&'static [(&'static str, Section)]),
}

/// The top level of a file.
pub(super) const ROOT: Section = Section::Group(&[
    ("device", Section::Keys(Device::KEYS)),
    ("stream", Section::Repeated(Stream::KEYS)),
    ("model", Section::Keys(Model::KEYS)),
    ("inference", Section::Keys(Inference::KEYS)),
    ("publish", Section::Group(&[("stdout", Section::Keys(Stdout::KEYS)), ("mqtt", Section::Keys(Mqtt::KEYS))])),
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

impl Mqtt {
    /// The TCP port of the broker: `port`, or the usual one (IANA: mqtt, secure-mqtt).
    #[must_use]
    pub fn port(&self) -> u16 {
        match (self.port, self.tls) {
            (0, false) => 1883,
            (0, true) => 8883,
            (port, _) => port,
        }
    }
}

impl Stream {
    /// `start_timeout_s`.
    #[must_use]
    pub fn start_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.start_timeout_s)
    }

    /// `retry_max_s`.
    #[must_use]
    pub fn retry_max(&self) -> Duration {
        Duration::from_secs_f64(self.retry_max_s)
    }

    /// `stall_timeout_s`.
    #[must_use]
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.stall_timeout_s)
    }
}
