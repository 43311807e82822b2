//! `hardnetd model fetch`: the published weights, downloaded, checked and imported.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::Error;
use super::import::finish;
use crate::classifier::{self, Import};
use crate::hardnet::{self, Published};
use crate::shutdown;
use crate::weights::download::{Download, Limits, Progress, Proxy};
use crate::weights::file::sha256;

/// Arguments of `model fetch`.
#[derive(Debug, Args)]
#[command(after_help = "\
The SHA-256 of the file must begin as its official name says. A download that breaks off leaves a .part beside the model
file, and the next call continues there. The proxy comes from $ALL_PROXY, $HTTPS_PROXY or $HTTP_PROXY; $NO_PROXY names
the hosts without one.

Examples:
  hardnetd model fetch hardnet68
  hardnetd model fetch hardnet39ds --from https://mirror.example/hardnet39ds-0e6c6fa9.pth
  hardnetd model fetch hardnet85 --from /media/usb/hardnet85-a28faa00.pth --output /var/lib/hardnetd/hardnet85.safetensors")]
pub(super) struct Arguments {
    /// Name of the model: hardnet39ds, hardnet68ds, hardnet68 or hardnet85.
    #[arg(value_name = "NAME")]
    name: String,
    /// Fetch from here instead of the official address: http://, https:// or a file.
    #[arg(long, value_name = "URL|FILE")]
    from: Option<String>,
    /// Digits with which the SHA-256 of the file must begin, instead of the official ones.
    #[arg(long, value_name = "HEX", value_parser = digits)]
    sha256: Option<String>,
    /// The model file [default: NAME.safetensors in the current folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the model file if it exists.
    #[arg(short, long)]
    force: bool,
    /// Keep the downloaded file too, beside the model file.
    #[arg(long)]
    keep: bool,
    /// Proxy, instead of the one in the environment: http://, https:// or socks5://.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Seconds to wait for an answer and for the next bytes.
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// How often to try; every try continues where the last one broke off.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
}

fn digits(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let holds = (8..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    if holds { Ok(text) } else { Err("expected 8 to 64 hexadecimal digits".into()) }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let published = hardnet::published(&arguments.name)
        .ok_or_else(|| classifier::Error::Unpublished { name: arguments.name.clone() })?;
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| Path::new(published.name).with_extension("safetensors"));
    if output.exists() && !arguments.force {
        return Err(classifier::SaveError::Exists { path: output }.into());
    }
    let prefix = arguments.sha256.as_deref().unwrap_or(published.sha256_prefix);
    let from = arguments.from.as_deref().unwrap_or(published.url);
    let is_file = !["http://", "https://"].iter().any(|scheme| from.starts_with(scheme));
    if is_file {
        let file = PathBuf::from(from);
        check(&file, prefix)?;
        return import(published, file, &output, arguments.force);
    }
    let name = published.url.rsplit('/').next().unwrap_or(published.name);
    let file = output.with_file_name(name);
    download(arguments, from, &file, prefix)?;
    import(published, file.clone(), &output, arguments.force)?;
    if !arguments.keep {
        // The model file is complete; what is left over does no harm.
        let _ = fs::remove_file(&file);
    }
    Ok(())
}

/// A file that is there already must be the right one, too.
fn check(file: &Path, prefix: &str) -> Result<(), Error> {
    let found = sha256(file).map_err(|error| classifier::Error::Weights(error.into()))?;
    if found.starts_with(prefix) {
        return Ok(());
    }
    Err(classifier::Error::Digest { path: file.to_owned(), expected: prefix.to_owned(), found }.into())
}

fn download(arguments: &Arguments, url: &str, to: &Path, prefix: &str) -> Result<(), Error> {
    let limits = Limits {
        idle: Duration::from_secs(arguments.timeout.into()),
        attempts: arguments.attempts,
        ..Limits::default()
    };
    let proxy = arguments.proxy.as_deref().map_or(Proxy::Environment, Proxy::At);
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut progress = |Progress { bytes, total, .. }| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    };
    // A signal ends the program here as it does any other; what has come is continued next time.
    let (_stop, stopped) = shutdown::channel();
    let fetched = Download { url, to, digest_prefix: Some(prefix), limits, proxy }.run(&mut progress, &stopped);
    bar.finish_and_clear();
    fetched?;
    Ok(())
}

fn import(published: &Published, file: PathBuf, output: &Path, force: bool) -> Result<(), Error> {
    let architecture = Some(classifier::architecture(published.name)?);
    let definition = Import { file, architecture, ..Import::default() }.run()?;
    finish(&definition, output, force)
}
