//! `hardnetd model fetch`: downloads, checks and imports the published weights.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::{Error, choice};
use super::import::finish;
use crate::choice::WeightSource;
use crate::config::redact;
use crate::model::{Fetch, Origin, SaveError, Sources};
use crate::shutdown;
use crate::weights::download::{Limits, Progress, Proxy};
use crate::weights::safetensors::Precision;

/// Arguments of `model fetch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Three places publish weights: the authors' server (authors), the authors' repository on GitHub (github; not hardnet85) \
and PaddleClas (paddleclas), which has trained the networks itself, with a top-1 accuracy 0.6 to 1 point lower. \
They are tried in this order, and one line says why a place does not give the file. With --source, only that one is \
tried. The model file says where its weights come from.

The file must have the published digest: the SHA-256 that begins with the eight digits in its official name, or the \
id of its Git blob. Another file with the same eight digits can be made, and for PaddleClas no digest is published: the \
whole digest of the first good file is kept in $STATE_DIRECTORY/digests, $XDG_STATE_HOME/hardnetd/digests or \
~/.local/state/hardnetd/digests, and later files must match it. To accept another file, or to be sure of the first one, \
give its whole SHA-256 with --sha256.

Redirects from https:// to http:// are refused. Addresses with http:// are accepted, for mirrors on your own \
network; without a known whole digest, there is a warning.

An interrupted download leaves a .part file beside the model file; the next call resumes it. The proxy comes from \
$ALL_PROXY, $HTTPS_PROXY or $HTTP_PROXY; $NO_PROXY lists the hosts without one.

Examples:
  hardnetd model fetch hardnet68
  hardnetd model fetch hardnet68 --source github
  hardnetd model fetch hardnet85 --source paddleclas --output hardnet85-paddleclas.safetensors
  hardnetd model fetch hardnet39ds --from https://mirror.example/hardnet39ds-0e6c6fa9.pth
  hardnetd model fetch hardnet68 --source github --from /media/usb/hardnet68.pth")]
pub(super) struct Arguments {
    /// Name of the model: hardnet39ds, hardnet68ds, hardnet68 or hardnet85.
    #[arg(value_name = "NAME")]
    name: String,
    /// Try only this place [default: all in turn; with --from, authors].
    #[arg(long, value_name = "PLACE", value_parser = choice::<WeightSource>())]
    source: Option<WeightSource>,
    /// Fetch from here instead of the official address: http://, https:// or a file.
    #[arg(long, value_name = "URL|FILE")]
    from: Option<String>,
    /// Expected SHA-256 of the file, or its first digits, instead of the official digest.
    #[arg(long, value_name = "HEX", value_parser = digits)]
    sha256: Option<String>,
    /// The model file [default: NAME.safetensors in the current folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the model file if it exists.
    #[arg(short, long)]
    force: bool,
    /// Keep the downloaded file, beside the model file.
    #[arg(long)]
    keep: bool,
    /// Proxy, instead of the one in the environment: http://, https:// or socks5://.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Timeout in seconds for an answer and for each piece of data.
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Number of attempts; each resumes where the last one stopped. While other places are left, a server that sends
    /// nothing gets two.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
}

fn digits(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let holds = (8..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    if holds { Ok(text) } else { Err("expected 8 to 64 hexadecimal digits".into()) }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let from = arguments.from.as_deref().map(origin).transpose()?;
    // A file from elsewhere is the authors', unless the user says otherwise.
    let source = arguments.source.or(from.map(|_| WeightSource::Authors));
    let sources = Sources::of(&arguments.name, source)?;
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| Path::new(sources.first.name).with_extension("safetensors"));
    if output.exists() && !arguments.force {
        return Err(SaveError::Exists { path: output }.into());
    }
    let record = record();
    let fetch = Fetch {
        from,
        sha256: arguments.sha256.as_deref(),
        folder: output.parent().unwrap_or(Path::new("")),
        record: record.as_deref(),
        limits: Limits {
            idle: Duration::from_secs(arguments.timeout.into()),
            attempts: arguments.attempts,
            ..Limits::default()
        },
        proxy: arguments.proxy.as_deref().map_or(Proxy::Environment, Proxy::At),
    };
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut progress = |Progress { bytes, total, .. }| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    };
    // A signal ends the program here as usual; the next run resumes from the bytes received.
    let (_stop, stopped) = shutdown::channel();
    let fetched = fetch.run(&sources, &mut progress, &stopped);
    bar.finish_and_clear();
    let mut fetched = fetched?;
    finish(&fetched.import()?, &output, arguments.force, Precision::Full)?;
    fetched.note();
    if fetched.is_new && !arguments.keep {
        // The model file is complete; the leftover file is harmless.
        let _ = fs::remove_file(&fetched.path);
    }
    Ok(())
}

/// The place that `--from` names.
fn origin(from: &str) -> Result<Origin<'_>, Error> {
    let is_web = ["http://", "https://"].iter().any(|scheme| from.starts_with(scheme));
    if !is_web && from.contains("://") {
        let from = redact(from);
        return Err(Error::Argument(format!("--from {from}: expected http://…, https://… or the path of a file")));
    }
    Ok(if is_web { Origin::Web(from) } else { Origin::File(Path::new(from)) })
}

/// The file with the digests of earlier downloads.
fn record() -> Option<PathBuf> {
    let path = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several folders with colons.
    let service = env::var("STATE_DIRECTORY").ok().and_then(|folders| folders.split(':').next().map(PathBuf::from));
    let user = || {
        let state = path("XDG_STATE_HOME").or_else(|| Some(path("HOME")?.join(".local/state")));
        Some(state?.join("hardnetd"))
    };
    Some(service.filter(|path| path.is_absolute()).or_else(user)?.join("digests"))
}
