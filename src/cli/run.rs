//! `hardnetd run`: the daemon.

use std::path::Path;

use clap::Args;

use super::{ConfigFile, Error, choice, frames_per_second};
use crate::choice::{BackendChoice, IsaChoice, MemoryMode};
use crate::config::{self, Broker, Flag, FlagValue, Loaded, StreamFlag};
use crate::frame::Region;
use crate::service::{self, Order, Signals};

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Sources:
  test:PATTERN              a GStreamer test pattern, live at 30 frames per second;
                            options: test:ball?size=1280x720&fps=60&frames=100&live=false
  PATH or file:PATH         a media file, every frame in order
  images:DIR                the pictures of a folder: JPEG, PNG, WebP, BMP, GIF, TIFF
  rtsp://HOST:PORT/PATH     a network camera; rtsps:// over TLS
  http://HOST:PORT/PATH     a web camera, with MJPEG or single JPEG pictures; https:// over TLS
  udp://:PORT               MPEG-TS or RTP that is sent to this machine or a group (udp://239.1.2.3:PORT)
  srt://HOST:PORT           MPEG-TS over SRT
  v4l2:/dev/video0          a camera at this machine, or just /dev/video0; v4l2:by-id/NAME and
                            v4l2:by-path/NAME are names that do not change
  libcamera:, nvargus:0     a CSI camera of a Raspberry Pi, of a Jetson
  pipeline:TEXT             a GStreamer pipeline that ends in raw video, as for gst-launch-1.0

Sinks:
  stdout                             one JSON object per line
  mqtt://[USER@]HOST[:PORT][/PREFIX] an MQTT broker; PREFIX comes before the device in every topic
  mqtts://…                          the same over TLS

Options take precedence over the configuration, which has more settings, such as those for passwords and those of a stream: \
`hardnetd config default` prints every key with its default. SIGHUP reloads the configuration; SIGTERM and SIGINT stop the daemon.

Examples:
  hardnetd run --source test:smpte --frames 100
  hardnetd run --source clip.mp4 --model hardnet68ds > results.jsonl
  hardnetd run --source /dev/video0 --max-fps 2 --region 0.25,0.5,0.5,0.5
  hardnetd run --source rtsp://camera/stream1 --sink mqtt://broker.local")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Where frames come from, instead of the configured streams; can be repeated for several streams.
    #[arg(short, long, value_name = "URI")]
    source: Vec<String>,
    /// Frames per second to let through of each --source, before any conversion, such as 2 or 0.2; 0: all. In a file, those
    /// of its own time.
    #[arg(long, value_name = "N", requires = "source", allow_negative_numbers = true, value_parser = frames_per_second)]
    max_fps: Option<f64>,
    /// The part of the pictures of each --source to classify: x, y, width and height as shares of its sides, from 0 to 1.
    #[arg(long, value_name = "X,Y,W,H", requires = "source")]
    region: Option<Region>,
    /// Model of the streams that name none: signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file.
    #[arg(short, long, value_name = "M")]
    model: Option<String>,
    /// Text file with one label per line, instead of the model's own labels.
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// Rows and columns of the network's input, such as 320x256, instead of the model's own.
    #[arg(long, value_name = "HxW")]
    size: Option<String>,
    /// Mean of R, G and B, of 0 to 1, such as 0.5,0.5,0.5, instead of the model's own or ImageNet's.
    #[arg(long, value_name = "R,G,B")]
    mean: Option<String>,
    /// Standard deviation of R, G and B, above 0, at most 1, instead of the model's own or ImageNet's.
    #[arg(long, value_name = "R,G,B")]
    std: Option<String>,
    /// What runs the network; auto: the native engine, or tract (if built in) for networks that it does not support.
    #[arg(long, value_name = "B", value_parser = choice::<BackendChoice>())]
    backend: Option<BackendChoice>,
    /// Instruction set of the native engine; auto: the best that the processor has.
    #[arg(long, value_name = "I", value_parser = choice::<IsaChoice>())]
    isa: Option<IsaChoice>,
    /// Trade memory for speed: fast, or lean (less memory, slower).
    #[arg(long, value_name = "MEM", value_parser = choice::<MemoryMode>())]
    memory: Option<MemoryMode>,
    /// Threads that one inference takes, for a shorter latency.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<i64>,
    /// How many classes each result lists, best first.
    #[arg(short, long, value_name = "K", allow_negative_numbers = true)]
    top: Option<i64>,
    /// End each stream after N results.
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one)]
    frames: Option<u64>,
    /// Where results go, instead of the configured sinks; can be repeated. Without `stdout` among them, nothing is printed.
    #[arg(long, value_name = "SINK")]
    sink: Vec<String>,
}

fn at_least_one(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number, 1 or more".into())
}

/// Loads the configuration, with the sources that this program supports.
pub(super) fn load(file: Option<&Path>, flags: &[Flag]) -> Result<Loaded, Error> {
    let order = Order { file: file.map(Path::to_owned), flags: flags.to_vec(), ..Order::default() };
    Ok(order.load()?)
}

pub(super) fn run(arguments: Arguments) -> Result<(), Error> {
    // First of all, because an earlier signal would end the process.
    let signals = Signals::install().map_err(Error::Signals)?;
    let flags = flags(&arguments)?;
    let Arguments { file: ConfigFile { config: file }, frames, .. } = arguments;
    Ok(service::run(&signals, Order { file, flags, frames, ..Order::default() })?)
}

/// The streams of `--source`, if there are any.
pub(super) fn sources(sources: &[String], max_fps: Option<f64>, region: Option<Region>) -> Option<Flag> {
    let name = |index: usize| match sources.len() {
        1 => "stream".to_owned(),
        _ => format!("stream-{}", index + 1),
    };
    let stream =
        |(index, source): (usize, &String)| StreamFlag { name: name(index), source: source.clone(), max_fps, region };
    let streams: Vec<StreamFlag> = sources.iter().enumerate().map(stream).collect();
    (!streams.is_empty()).then_some(Flag { name: "--source", key: "stream", value: FlagValue::Streams(streams) })
}

fn flags(arguments: &Arguments) -> Result<Vec<Flag>, Error> {
    let mut flags: Vec<Flag> = sources(&arguments.source, arguments.max_fps, arguments.region).into_iter().collect();
    let mut set = |name, key, value| flags.push(Flag { name, key, value });
    for (name, key, value) in [
        ("--model", "model.name", arguments.model.as_deref()),
        ("--labels", "model.labels", arguments.labels.as_deref()),
        ("--size", "model.size", arguments.size.as_deref()),
        ("--mean", "model.mean", arguments.mean.as_deref()),
        ("--std", "model.std", arguments.std.as_deref()),
        ("--backend", "inference.backend", arguments.backend.map(BackendChoice::name)),
        ("--isa", "inference.isa", arguments.isa.map(IsaChoice::name)),
        ("--memory", "inference.memory", arguments.memory.map(MemoryMode::name)),
    ] {
        if let Some(value) = value {
            set(name, key, FlagValue::Text(value.to_owned()));
        }
    }
    if let Some(threads) = arguments.threads {
        if threads > 1 && arguments.backend == Some(BackendChoice::Tract) {
            let message = format!("--threads {threads}: tract runs on one thread; leave this or --backend tract out");
            return Err(Error::Argument(message));
        }
        set("--threads", "inference.threads", FlagValue::Integer(threads));
    }
    if let Some(top) = arguments.top {
        set("--top", "model.top", FlagValue::Integer(top));
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

/// The keys set by `mqtt://[USER@]HOST[:PORT][/PREFIX]` and `mqtts://…`.
fn broker_keys(sink: &str) -> Result<Vec<(&'static str, FlagValue)>, Error> {
    let Broker { tls, username, host, port, topic_prefix } = Broker::parse(sink).map_err(|what| {
        let sink = config::redact(sink);
        let forms = match what.starts_with("expected") {
            true => "",
            false => "; expected stdout, mqtt://[USER@]HOST[:PORT][/PREFIX] or mqtts://…",
        };
        Error::Argument(format!("--sink {sink}: {what}{forms}"))
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
