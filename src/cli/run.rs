//! `hardnetd run`: the daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{ConfigFile, Error};
use crate::capture::{self, Settings, Source};
use crate::classifier::{Backend, Engine, Model, Options};
use crate::config::{self, Broker, Config, Flag, FlagValue, Loaded};
use crate::engine::plan::Memory;
use crate::exit::chain;
use crate::kernels::Isa;
use crate::pipeline::{self, Parts};
use crate::publish::{self, Mqtt, Sink, Stdout};
use crate::service::{self, Ended, Signals};
use crate::telemetry::Registry;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Sources:
  test:PATTERN              a GStreamer test pattern, live at 30 frames per second;
                            options: test:ball?size=1280x720&fps=60&frames=100&live=false
  PATH or file:PATH         a media file, every frame in order
  images:DIR                the JPEG and PNG files of a folder
  rtsp://HOST:PORT/PATH     a network camera

Sinks:
  stdout                             one JSON object per line
  mqtt://[USER@]HOST[:PORT][/PREFIX] an MQTT broker; PREFIX comes before the device in every topic
  mqtts://…                          the same over TLS

Examples:
  hardnetd run --source test:ball --frames 100
  hardnetd run --source clip.mp4 --model hardnet68ds > results.jsonl
  hardnetd run --source rtsp://camera/stream1 --sink mqtt://broker.local")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Where frames come from, instead of the configured streams; repeat it for several streams.
    #[arg(short, long, value_name = "URI")]
    source: Vec<String>,
    /// Model: hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file.
    #[arg(short, long, value_name = "M")]
    model: Option<String>,
    /// Text file with a label per line, instead of the model's own labels.
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// Rows and columns of the network's input, such as 320x256, instead of the model's own.
    #[arg(long, value_name = "HxW")]
    size: Option<String>,
    /// What runs the network: auto, native or tract.
    #[arg(long, value_name = "B")]
    backend: Option<String>,
    /// Instruction set of the native engine: auto, scalar, avx2, avx512 or neon.
    #[arg(long, value_name = "I")]
    isa: Option<String>,
    /// What the native engine uses memory for: fast or lean.
    #[arg(long, value_name = "MEM")]
    memory: Option<String>,
    /// Threads that one inference takes, for a shorter latency.
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// End each stream after N results.
    #[arg(short = 'n', long, value_name = "N", value_parser = at_least_one)]
    frames: Option<u64>,
    /// Where results go, instead of the configured sinks; may be repeated.
    #[arg(long, value_name = "SINK")]
    sink: Vec<String>,
}

fn at_least_one(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number, 1 or more".into())
}

/// Loads the configuration, with the sources that this program knows.
pub(super) fn load(file: Option<&Path>, flags: &[Flag]) -> Result<Loaded, Error> {
    Ok(config::load(file, flags, &Source::check)?)
}

/// Says once what works and its owner may not want.
fn warn(loaded: &Loaded) {
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Error> {
    let flags = flags(&arguments)?;
    let path = arguments.file.config.as_deref();
    let loaded = load(path, &flags)?;
    warn(&loaded);
    let mut setup = Setup::new(loaded.config, None)?;
    // Until here there is nothing to drain, and a signal ends the process as it does any other.
    let signals = Signals::install().map_err(Error::Signals)?;
    let registry = Arc::new(Registry::new());
    loop {
        let running = pipeline::start(setup.parts(arguments.frames, &registry)?)?;
        let stop_timeout = setup.config.device.stop_timeout();
        match service::supervise(running, &signals, stop_timeout, || reload(path, &flags, &setup))? {
            Ended::Done => return Ok(()),
            Ended::Reloaded(next) => setup = next,
        }
    }
}

/// What is to run from now on, when the configuration has changed and is right.
fn reload(path: Option<&Path>, flags: &[Flag], now: &Setup) -> Option<Setup> {
    let config = match load(path, flags) {
        Ok(loaded) if loaded.config == now.config => {
            tracing::info!("reloaded: the configuration is the same");
            return None;
        }
        Ok(loaded) => {
            warn(&loaded);
            loaded.config
        }
        Err(error) => {
            tracing::error!("the configuration is not reloaded, the old one stays in force: {}", chain(&error));
            return None;
        }
    };
    // The model is most of the start, and most of the memory.
    let same = (&config.model, &config.inference) == (&now.config.model, &now.config.inference);
    match Setup::new(config, same.then(|| Arc::clone(&now.model))) {
        Ok(setup) => {
            tracing::info!("reloading: the streams start again with the new configuration");
            Some(setup)
        }
        Err(error) => {
            tracing::error!("the configuration is not reloaded, the old one stays in force: {}", chain(&error));
            None
        }
    }
}

/// A configuration, and what it says is there.
struct Setup {
    config: Config,
    device: Arc<str>,
    model: Arc<Model>,
}

impl Setup {
    /// Loads the model, unless it is there, and opens whatever else can be wrong with a configuration.
    fn new(config: Config, model: Option<Arc<Model>>) -> Result<Self, Error> {
        capture::init()?;
        streams(&config)?;
        let mqtt = &config.publish.mqtt;
        if mqtt.enabled {
            publish::check(mqtt)?;
        }
        let model = match model {
            Some(model) => model,
            None => Arc::new(open(&config)?),
        };
        let device = if config.device.name.is_empty() { host_name() } else { config.device.name.clone() }.into();
        Ok(Self { config, device, model })
    }

    fn parts(&self, frames: Option<u64>, registry: &Arc<Registry>) -> Result<Parts, Error> {
        let Config { device, model, inference, publish, debug, .. } = &self.config;
        let streams = streams(&self.config)?;
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if publish.stdout.enabled {
            sinks.push(Box::new(Stdout::new()));
        }
        if publish.mqtt.enabled {
            sinks.push(Box::new(Mqtt::start(
                &publish.mqtt,
                &self.device,
                streams.iter().map(|stream| &*stream.stream),
            )?));
        }
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            gstreamer = capture::version(),
            model = self.model.name(),
            engine = self.model.backend(),
            streams = streams.len(),
            workers = inference.workers,
            threads = inference.threads,
            cores = ?inference.cores,
            "starting"
        );
        Ok(Parts {
            registry: Arc::clone(registry),
            device: Arc::clone(&self.device),
            streams,
            model: Arc::clone(&self.model),
            top: model.top as usize,
            inference: inference.clone(),
            sinks,
            frames,
            stop_timeout: device.stop_timeout(),
            wedge_after: debug.wedge_after,
        })
    }
}

fn streams(config: &Config) -> Result<Vec<Settings>, Error> {
    let open = |stream: &config::Stream| {
        Settings::new(stream).map_err(|source| Error::Stream { stream: stream.name.clone(), source })
    };
    config.streams.iter().map(open).collect()
}

fn open(config: &Config) -> Result<Model, Error> {
    let Config { model, inference, .. } = config;
    let labels = Some(&model.labels).filter(|labels| !labels.is_empty()).map(PathBuf::from);
    let backend = Backend::named(&inference.backend).unwrap_or_default();
    let memory = Memory::named(&inference.memory).unwrap_or_default();
    let engine = Engine { backend, isa: Isa::named(&inference.isa), memory };
    let model = Model::load(&model.name, &Options { labels, size: config::parse_size(&model.size), engine })?;
    if let Some(warning) = model.training().warning() {
        tracing::warn!(model = model.name(), "{warning}");
    }
    Ok(model)
}

/// The host's name, with what a topic cannot hold replaced.
fn host_name() -> String {
    let host = rustix::system::uname();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = host.nodename().to_string_lossy().chars().map(allowed).take(64).collect();
    if name.is_empty() { "device".into() } else { name }
}

fn flags(arguments: &Arguments) -> Result<Vec<Flag>, Error> {
    let mut flags = Vec::new();
    let mut set = |name, key, value| flags.push(Flag { name, key, value });
    if !arguments.source.is_empty() {
        let name = |index: usize| match arguments.source.len() {
            1 => "stream".to_owned(),
            _ => format!("stream-{}", index + 1),
        };
        let streams = arguments.source.iter().enumerate().map(|(index, source)| (name(index), source.clone()));
        set("--source", "stream", FlagValue::Streams(streams.collect()));
    }
    for (name, key, value) in [
        ("--model", "model.name", &arguments.model),
        ("--labels", "model.labels", &arguments.labels),
        ("--size", "model.size", &arguments.size),
        ("--backend", "inference.backend", &arguments.backend),
        ("--isa", "inference.isa", &arguments.isa),
        ("--memory", "inference.memory", &arguments.memory),
    ] {
        if let Some(value) = value {
            set(name, key, FlagValue::Text(value.clone()));
        }
    }
    if let Some(threads) = arguments.threads {
        set("--threads", "inference.threads", FlagValue::Integer(threads.into()));
    }
    if !arguments.sink.is_empty() {
        let (stdout, brokers): (Vec<_>, Vec<_>) = arguments.sink.iter().partition(|sink| *sink == "stdout");
        set("--sink", "publish.stdout.enabled", FlagValue::Switch(!stdout.is_empty()));
        set("--sink", "publish.mqtt.enabled", FlagValue::Switch(!brokers.is_empty()));
        match brokers.as_slice() {
            [] => {}
            [broker] => {
                for (key, value) in broker_keys(broker)? {
                    set("--sink", key, value);
                }
            }
            [_, second, ..] => {
                let second = config::redact(second);
                return Err(Error::Argument(format!("--sink {second}: one MQTT broker is possible")));
            }
        }
    }
    Ok(flags)
}

/// The keys that `mqtt://[USER@]HOST[:PORT][/PREFIX]` and `mqtts://…` set.
fn broker_keys(sink: &str) -> Result<Vec<(&'static str, FlagValue)>, Error> {
    let Broker { tls, username, host, port, topic_prefix } = Broker::parse(sink).map_err(|what| {
        let sink = config::redact(sink);
        Error::Argument(format!(
            "--sink {sink}: {what}; expected stdout, mqtt://[USER@]HOST[:PORT][/PREFIX] or mqtts://…"
        ))
    })?;
    let text = |key, value: String| (key, FlagValue::Text(value));
    let mut keys = vec![
        ("publish.mqtt.tls", FlagValue::Switch(tls)),
        text("publish.mqtt.host", host),
        ("publish.mqtt.port", FlagValue::Integer(port.into())),
    ];
    keys.extend(username.map(|user| text("publish.mqtt.username", user)));
    keys.extend(topic_prefix.map(|prefix| text("publish.mqtt.topic_prefix", prefix)));
    Ok(keys)
}
