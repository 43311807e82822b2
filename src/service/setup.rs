//! Turns a configuration into a ready pipeline and sinks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::Error;
use super::files::{File, Files};
use super::models::Models;
use crate::capture::{self, Settings, Source};
use crate::choice::{AtEnd, BackendChoice};
use crate::config::{self, Config, Flag, Loaded};
use crate::exit::chain;
use crate::http::Listener;
use crate::model::Model;
use crate::pipeline::{self, KeptSource, Parts, Prepared, Sinks, SourceParts, StreamParts};
use crate::plural::counted;
use crate::printable::escaped;
use crate::publish::{self, Mqtt, Outgoing, Sink, Stdout, Unsent};
use crate::record::StreamState;
use crate::shutdown::Stopped;
use crate::system::affinity;
use crate::system::host::device_name;
use crate::telemetry::Registry;

/// What to run: the configuration file, and the additions from the command line.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The configuration file, if one is named.
    pub file: Option<PathBuf>,
    /// Values that override it.
    pub flags: Vec<Flag>,
    /// Results after which each stream ends; `None`: no end.
    pub frames: Option<u64>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a pipeline is run for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Results go to the configured sinks, and the service answers whom it is told to answer.
    #[default]
    Serve,
    /// A measurement of all that happens to frames: files begin again at their end, and nothing leaves the program.
    Classify,
    /// The same, but frames are given back as soon as an inference thread has them.
    Capture,
}

impl Order {
    /// Loads the configuration, with the sources that this program supports.
    ///
    /// # Errors
    /// The errors of [`config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        config::load(self.file.as_deref(), &self.flags, &Source::check)
    }
}

/// A configuration and what has been made from it.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) config: Config,
    files: Files,
    pub(super) device: Arc<str>,
    pub(super) models: Models,
    sinks: Vec<MadeOf>,
    /// Streams that earlier configurations with the same topics had, and this one does not.
    gone: Vec<String>,
    /// Whether a file or a flag lists the streams.
    lists_streams: bool,
}

impl Setup {
    /// Names of the streams, then of those that have gone.
    fn names(&self) -> impl Iterator<Item = &str> {
        let streams = self.config.streams.iter().map(|stream| stream.name.as_str());
        streams.chain(self.gone.iter().map(String::as_str))
    }
}

/// What defines a sink: two with equal definitions are the same sink.
#[derive(Debug, Clone, PartialEq)]
enum MadeOf {
    Stdout(config::Stdout),
    Mqtt { settings: Box<config::Mqtt>, device: Arc<str>, files: Vec<File> },
}

impl MadeOf {
    fn name(&self) -> &'static str {
        match self {
            Self::Stdout(_) => "stdout",
            Self::Mqtt { .. } => "mqtt",
        }
    }

    /// Opens the sink; every stream of `streams` is `offline` until it has a result.
    fn open<'a>(
        &self,
        streams: impl Iterator<Item = &'a str>,
        registry: &Registry,
    ) -> Result<Box<dyn Sink>, publish::Error> {
        let counters = registry.sink(self.name());
        Ok(match self {
            Self::Stdout(settings) => Box::new(Stdout::new(settings, counters)?),
            Self::Mqtt { settings, device, .. } => Box::new(Mqtt::new(settings, device, streams, counters)?),
        })
    }
}

/// What is running now, as input to a preparation.
pub(super) struct Current {
    pub(super) setup: Arc<Setup>,
    /// Sinks that have been lost.
    pub(super) lost: Vec<&'static str>,
}

/// What has been prepared: nothing of it runs yet. Only a sink that has been lost meanwhile can still fail.
pub(super) struct Ready {
    pub(super) setup: Setup,
    pub(super) pipeline: Prepared,
    /// Names of the streams that go on as they are.
    pub(super) unchanged: Vec<Arc<str>>,
    /// Where to answer HTTP requests, if that is a new address.
    pub(super) listener: Option<Listener>,
    /// The new sinks.
    sinks: Sinks,
}

/// Loads the configuration and prepares it; `None` if it is already running.
///
/// # Errors
/// Whatever is wrong with the configuration, or [`Error::Cancelled`].
pub(super) fn prepare(
    order: &Order,
    registry: &Arc<Registry>,
    current: Option<&Current>,
    cancelled: &Stopped,
) -> Result<Option<Box<Ready>>, Error> {
    let go_on = || if cancelled.is_set() { Err(Error::Cancelled) } else { Ok(()) };
    let loaded = order.load()?;
    capture::init()?;
    let warnings = loaded.warnings();
    let lists_streams = loaded.lists_streams();
    if !lists_streams && current.is_some_and(|current| current.setup.lists_streams) {
        return Err(Error::NoStreams);
    }
    let mut config = loaded.config;
    let files = Files::read(&config);
    let device: Arc<str> = device_name(&config.device.name).into();
    let before = current.map(|current| &*current.setup);
    let lost = current.map_or(&[][..], |current| &current.lost);
    if let Some(before) = before {
        if (&config, &files, &device) == (&before.config, &before.files, &before.device) && lost.is_empty() {
            return Ok(None);
        }
        for (path, key) in files.changed(&before.files) {
            let path = path.to_string_lossy();
            tracing::info!("the content of {} ({key}) has changed", escaped(&path));
        }
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if order.purpose != Purpose::Serve {
        without_output(&mut config);
    }
    let sources = sources(&config)?;
    go_on()?;
    let unchanged = before.map(|before| unchanged(&config, &files, before)).unwrap_or_default();
    if before.is_some() {
        check(&sources, &unchanged)?;
    }
    let models = Models::load(&config, &files, before.map(|before| &before.models))?;
    go_on()?;
    let made_of = sinks(&config, &files, &device);
    let known = before.map_or(&[][..], |before| &before.sinks);
    let is_new = |made_of: &&MadeOf| !known.contains(made_of) || lost.contains(&made_of.name());
    let gone = gone(&config, &device, before);
    let named = || config.streams.iter().map(|stream| &stream.name).chain(&gone).map(String::as_str);
    let sinks =
        made_of.iter().filter(is_new).map(|made_of| made_of.open(named(), registry)).collect::<Result<_, _>>()?;

    let address = config.http.address();
    let is_new_address = before.is_none_or(|before| before.config.http.address() != address);
    let listener = address.filter(|_| is_new_address).map(Listener::bind).transpose()?;

    let Config { inference, collect, debug, .. } = &config;
    let sources: Vec<SourceParts> = sources
        .into_iter()
        .map(|(settings, streams)| {
            let streams = streams.into_iter().filter_map(|stream| parts(&config, &models, stream)).collect();
            SourceParts { settings, streams }
        })
        .collect();
    warn_of_many_threads(&config);
    let pipeline = pipeline::prepare(Parts {
        registry: Arc::clone(registry),
        device: Arc::clone(&device),
        sources,
        models: models.all(),
        top: config.model.top as usize,
        inference: inference.clone(),
        frames: order.frames,
        collect: collect.clone(),
        stop_timeout: config.device.stop_timeout(),
        stats_period: config.stats_period(),
        wedge_after: debug.wedge_after,
        classify: order.purpose != Purpose::Capture,
    })?;
    go_on()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gstreamer = capture::version(),
        models = %names(&models),
        streams = config.streams.len(),
        workers = inference.workers,
        threads = inference.threads,
        cores = ?inference.cores,
        "{}", if before.is_some() { "ready for the reload" } else { "starting" }
    );
    let setup = Setup { config, files, device, models, sinks: made_of, gone, lists_streams };
    Ok(Some(Box::new(Ready { setup, pipeline, unchanged, listener, sinks })))
}

impl Ready {
    /// The sinks of this setup: the new ones, and those of `old` that stay. The others are closed by `deadline`, and
    /// what they could not hand out goes to the new sink of the same name. All begin with the states of `kept_sources`;
    /// other streams are `offline` until they have a result.
    pub(super) fn take_sinks(
        &mut self,
        old: Sinks,
        kept_sources: &[KeptSource],
        deadline: Instant,
        registry: &Registry,
    ) -> Sinks {
        let mut sinks = std::mem::take(&mut self.sinks);
        let is_wanted = |name| self.setup.sinks.iter().any(|made_of| made_of.name() == name);
        let states: Vec<(&str, StreamState)> = kept_sources.iter().flat_map(KeptSource::states).collect();
        let is_new = |stream: &&config::Stream| states.iter().all(|(kept, _)| *kept != stream.name);
        let new_streams: Vec<&config::Stream> = self.setup.config.streams.iter().filter(is_new).collect();
        let mut kept = Sinks::new();
        for sink in old.into_iter().rev() {
            let name = sink.name();
            match sinks.iter_mut().find(|new| new.name() == name) {
                None if is_wanted(name) => {
                    let mut sink = sink;
                    tell(&mut sink, new_streams.iter().map(|stream| (stream.name.as_str(), StreamState::Offline)));
                    kept.push(sink);
                }
                heir => match sink.close(deadline) {
                    Err(publish::Error::Unsent(unsent)) => hand_over(unsent, heir),
                    Err(error) => {
                        tracing::warn!(sink = name, "while stopping the old configuration: {}", chain(&error))
                    }
                    Ok(()) => {}
                },
            }
        }
        for sink in sinks.iter_mut().chain(&mut kept) {
            tell(sink, states.iter().copied());
        }
        for sink in &mut sinks {
            sink.begin();
        }
        sinks.append(&mut kept);
        for made_of in &self.setup.sinks {
            if !sinks.iter().any(|sink| sink.name() == made_of.name()) {
                // Lost since the preparation.
                match made_of.open(self.setup.names(), registry) {
                    Ok(mut sink) => {
                        tell(&mut sink, states.iter().copied());
                        sink.begin();
                        sinks.push(sink);
                    }
                    Err(error) => {
                        tracing::error!(sink = made_of.name(), "a sink is lost: {}", chain(&error));
                        self.pipeline.lose(made_of.name(), error);
                    }
                }
            }
        }
        sinks.sort_by_key(|sink| self.setup.sinks.iter().position(|made_of| made_of.name() == sink.name()));
        sinks
    }
}

/// Tells a sink the states of streams.
fn tell<'a>(sink: &mut Box<dyn Sink>, states: impl Iterator<Item = (&'a str, StreamState)>) {
    for (stream, state) in states {
        // A lost sink reports the error again at the first result.
        if let Err(error) = sink.take(&Outgoing::stream(stream.into(), state)) {
            tracing::debug!("{error}");
        }
    }
}

fn hand_over(unsent: Unsent, heir: Option<&mut Box<dyn Sink>>) {
    match heir {
        Some(heir) => heir.adopt(unsent),
        None => tracing::warn!("while stopping the old configuration: {}", publish::Error::Unsent(unsent)),
    }
}

/// The sources, with their settings and their streams.
fn sources<'a>(config: &'a Config) -> Result<Vec<(Settings, Vec<&'a config::Stream>)>, Error> {
    let groups = (0..config.streams.len()).map(|index| config.sharing(index));
    let open = |streams: Vec<&'a config::Stream>| {
        let first = *streams.first()?;
        let failed = |source| Error::Stream { stream: first.name.clone(), source };
        Some(Settings::new(first).map(|settings| (settings, streams)).map_err(failed))
    };
    groups.filter_map(open).collect()
}

/// Streams that have gone since the process began publishing to these topics. A broker that is away now has still to learn
/// of it.
fn gone(config: &Config, device: &Arc<str>, before: Option<&Setup>) -> Vec<String> {
    let has_same_topics = |before: &&Setup| {
        let (old, new) = (&before.config.publish.mqtt.topic_prefix, &config.publish.mqtt.topic_prefix);
        (old, &before.device) == (new, device)
    };
    let has_gone = |name: &&str| config.streams.iter().all(|stream| stream.name != **name);
    before.filter(has_same_topics).into_iter().flat_map(Setup::names).filter(has_gone).map(str::to_owned).collect()
}

/// Names of the streams that `before` has too, with the same source, the same content of its files, and the same stream
/// that the source is called after.
fn unchanged(config: &Config, files: &Files, before: &Setup) -> Vec<Arc<str>> {
    let first = |config: &Config, stream: &config::Stream| {
        config.streams.iter().find(|first| first.has_same_source(stream)).map(|first| first.name.clone())
    };
    let is_same = |stream: &&config::Stream| {
        let same = |before: &&config::Stream| before.name == stream.name && before.has_same_source(stream);
        before.config.streams.iter().any(|stream| same(&stream))
            && first(config, stream) == first(&before.config, stream)
            && files.of_stream(&stream.name) == before.files.of_stream(&stream.name)
    };
    config.streams.iter().filter(is_same).map(|stream| stream.name.as_str().into()).collect()
}

/// Checks that the new and changed streams can be opened, as far as possible while the old ones run.
fn check(sources: &[(Settings, Vec<&config::Stream>)], unchanged: &[Arc<str>]) -> Result<(), Error> {
    for (settings, _) in sources.iter().filter(|(settings, _)| !unchanged.contains(&settings.stream)) {
        capture::check(settings).map_err(|source| Error::Stream { stream: settings.stream.to_string(), source })?;
    }
    Ok(())
}

fn sinks(config: &Config, files: &Files, device: &Arc<str>) -> Vec<MadeOf> {
    let config::Publish { stdout, mqtt } = &config.publish;
    let mut sinks = Vec::new();
    if stdout.enabled {
        sinks.push(MadeOf::Stdout(stdout.clone()));
    }
    if mqtt.enabled {
        let files = files.of_section("publish.mqtt").into_iter().cloned().collect();
        sinks.push(MadeOf::Mqtt { settings: Box::new(mqtt.clone()), device: Arc::clone(device), files });
    }
    sinks
}

/// For a measurement: sources do not end, and nothing leaves the program.
fn without_output(config: &mut Config) {
    (config.publish.stdout.enabled, config.publish.mqtt.enabled, config.http.enabled) = (false, false, false);
    config.collect.folder.clear();
    for stream in config.streams.iter_mut().filter(|stream| stream.at_end == AtEnd::Stop) {
        stream.at_end = AtEnd::Loop;
    }
}

/// What a stream is made of; `None` if its model is not loaded.
fn parts(config: &Config, models: &Models, stream: &config::Stream) -> Option<StreamParts> {
    let (number, model) = models.find(config.model_of(stream))?;
    let transform = stream.region().map_or(*model.transform(), |region| model.transform().of_region(region));
    let (name, weight) = (stream.name.as_str().into(), stream.weight);
    Some(StreamParts { name, model: number, transform, weight, carry_over: stream.carry_over() })
}

/// The names of models, with what runs them.
fn names(models: &Models) -> String {
    let name = |model: &Arc<Model>| format!("{} ({})", model.name(), model.backend());
    models.all().iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Threads that share a core wait for each other in every layer.
fn warn_of_many_threads(config: &Config) {
    // tract has one thread.
    let each = if config.inference.backend == BackendChoice::Tract { 1 } else { config.inference.threads as usize };
    let threads = config.busy_workers() * each;
    let Ok(cores) = affinity::allowed() else { return };
    if threads > cores.len() {
        tracing::warn!(
            "{} share {}: lower inference.threads or inference.workers",
            counted(threads, "inference thread", "inference threads"),
            counted(cores.len(), "core", "cores")
        );
    }
}
