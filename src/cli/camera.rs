//! The options that say where a command takes frames from.

use clap::Args;

use super::run::load;
use super::{ConfigFile, Error};
use crate::config;

/// A source, or a stream of the configuration.
#[derive(Debug, Args)]
pub(super) struct Camera {
    /// Take frames from this source: as for `hardnetd run`.
    #[arg(short, long, value_name = "URI", group = "camera")]
    source: Option<String>,
    /// Take frames from this stream of the configuration, with its login and certificates.
    #[arg(long, value_name = "NAME", group = "camera")]
    stream: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

impl Camera {
    /// The settings of the source or the stream. None if neither is named.
    ///
    /// # Errors
    /// If the configuration is unusable or has no such stream.
    pub(super) fn stream(&self) -> Result<Option<config::Stream>, Error> {
        let Self { source, stream, file: ConfigFile { config: file } } = self;
        let Some(name) = stream else {
            if file.is_some() {
                return Err(Error::Argument("--config FILE goes with --stream NAME".to_owned()));
            }
            let of = |source: &String| config::Stream { source: source.clone(), ..config::Stream::default() };
            return Ok(source.as_ref().map(of));
        };
        let loaded = load(file.as_deref(), &[])?;
        if loaded.files.is_empty() {
            let message = format!("--stream {name:?}: there is no configuration; name one with --config FILE");
            return Err(Error::Argument(message));
        }
        let streams = loaded.config.streams;
        let names: Vec<String> = streams.iter().map(|stream| format!("{:?}", stream.name)).collect();
        let found = streams.into_iter().find(|stream| stream.name == *name);
        found.map(Some).ok_or_else(|| {
            let names = names.join(", ");
            Error::Argument(format!("--stream {name:?}: the configuration has no such stream; it has {names}"))
        })
    }
}
