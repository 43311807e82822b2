//! `hardnetd model fetch`: downloads, checks and imports the published weights.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::Error;
use super::import::finish;
use crate::config::redact;
use crate::exit::chain;
use crate::hardnet::{self, Published};
use crate::model::{self, Import};
use crate::printable::line;
use crate::shutdown;
use crate::weights::download::{self, Download, Limits, Progress, Proxy};
use crate::weights::file::sha256;
use crate::weights::known::{Known, is_whole};

/// Number of digits of the digest in published names.
const SHORT: usize = 8;

/// Arguments of `model fetch`.
#[derive(Debug, Args)]
#[command(after_help = "\
The SHA-256 of the file must begin with the eight digits in its official name. Another file with the same eight \
digits can be made, so the whole digest of the first good file is kept in $STATE_DIRECTORY/digests, \
$XDG_STATE_HOME/hardnetd/digests or ~/.local/state/hardnetd/digests, and later files must match it. To accept \
another file, or to be sure of the first one, give its whole digest with --sha256.

Redirects from https:// to http:// are refused. Addresses with http:// are accepted, for mirrors on your own \
network; without a known whole digest, there is a warning.

An interrupted download leaves a .part file beside the model file; the next call resumes it. The proxy comes from \
$ALL_PROXY, $HTTPS_PROXY or $HTTP_PROXY; $NO_PROXY lists the hosts without one.

Examples:
  hardnetd model fetch hardnet68
  hardnetd model fetch hardnet39ds --from https://mirror.example/hardnet39ds-0e6c6fa9.pth
  hardnetd model fetch hardnet85 --from /media/usb/hardnet85-a28faa00.pth")]
pub(super) struct Arguments {
    /// Name of the model: hardnet39ds, hardnet68ds, hardnet68 or hardnet85.
    #[arg(value_name = "NAME")]
    name: String,
    /// Fetch from here instead of the official address: http://, https:// or a file.
    #[arg(long, value_name = "URL|FILE")]
    from: Option<String>,
    /// Expected SHA-256 of the file, or its first digits, instead of the official ones.
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
    /// Number of attempts; each resumes where the last one stopped.
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
        .ok_or_else(|| model::Error::Unpublished { name: arguments.name.clone() })?;
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| Path::new(published.name).with_extension("safetensors"));
    if output.exists() && !arguments.force {
        return Err(model::SaveError::Exists { path: output }.into());
    }
    let prefix = arguments.sha256.as_deref().unwrap_or(published.sha256_prefix);
    let from = arguments.from.as_deref().unwrap_or(published.url);
    let name = published.url.rsplit('/').next().unwrap_or(published.name);
    let mut expected = Expected::new(prefix)?;
    let is_file = !["http://", "https://"].iter().any(|scheme| from.starts_with(scheme));
    if is_file && from.contains("://") {
        let from = redact(from);
        return Err(Error::Argument(format!("--from {from}: expected http://…, https://… or the path of a file")));
    }
    if is_file {
        let file = PathBuf::from(from);
        expected.check(&file)?;
        import(published, file.clone(), &output, arguments.force)?;
        expected.note(&sha256_of(&file)?, name);
        return Ok(());
    }
    let file = output.with_file_name(name);
    let found = download(arguments, from, &file, &expected)?;
    import(published, file.clone(), &output, arguments.force)?;
    expected.note(&found, name);
    if !arguments.keep {
        // The model file is complete; the leftover file is harmless.
        let _ = fs::remove_file(&file);
    }
    Ok(())
}

/// The expected digest of a file.
struct Expected<'a> {
    /// Its first digits, or all of them.
    prefix: &'a str,
    /// The whole digest that the digits stood for before, if known.
    whole: Option<String>,
    /// The record of such digests; `None` if there is no place for it.
    known: Option<Known>,
}

impl<'a> Expected<'a> {
    fn new(prefix: &'a str) -> Result<Self, Error> {
        let known = record().map(|path| Known::open(&path)).transpose()?;
        let whole = known.as_ref().filter(|_| !is_whole(prefix)).and_then(|known| known.find(prefix));
        Ok(Self { prefix, whole: whole.map(str::to_owned), known })
    }

    /// The known digits of the digest.
    fn digits(&self) -> &str {
        self.whole.as_deref().unwrap_or(self.prefix)
    }

    /// An existing file must also be the right one.
    fn check(&self, file: &Path) -> Result<(), Error> {
        let found = sha256_of(file)?;
        if found.starts_with(self.digits()) {
            return Ok(());
        }
        Err(self.changed(&line(&file.to_string_lossy()), &found).unwrap_or_else(|| {
            model::Error::Digest { path: file.to_owned(), expected: self.prefix.to_owned(), found }.into()
        }))
    }

    /// The error for a file whose digest begins as expected but differs from an earlier file's.
    fn changed(&self, from: &str, found: &str) -> Option<Error> {
        let whole = self.whole.as_ref().filter(|whole| found.starts_with(self.prefix) && *whole != found)?;
        Some(Error::Changed {
            from: from.to_owned(),
            prefix: self.prefix.to_owned(),
            known: whole.clone(),
            found: found.to_owned(),
            record: self.known.as_ref().map(|known| known.path().to_owned()).unwrap_or_default(),
        })
    }

    /// Records the digest of a good file for the next time.
    fn note(&mut self, found: &str, name: &str) {
        let short = &found[..self.prefix.len().min(SHORT).min(found.len())];
        match self.known.as_mut().map(|known| known.note(short, found, name)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!("another file with the same digits would not be noticed: {}", chain(&error))
            }
            None => tracing::warn!(
                "another file with the same digits would not be noticed: there is neither $HOME nor $XDG_STATE_HOME"
            ),
        }
    }
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

fn sha256_of(file: &Path) -> Result<String, Error> {
    sha256(file).map_err(|error| model::Error::Weights(error.into()).into())
}

/// Downloads the file and returns its digest.
fn download(arguments: &Arguments, url: &str, to: &Path, expected: &Expected) -> Result<String, Error> {
    let digits = expected.digits();
    if url.starts_with("http://") && !is_whole(digits) {
        tracing::warn!(
            "the connection is not encrypted: only {} digits of the SHA-256 tell whether the file is the right one; \
             --sha256 takes all 64",
            digits.len()
        );
    }
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
    // A signal ends the program here as usual; the next run resumes from the bytes received.
    let (_stop, stopped) = shutdown::channel();
    let fetched = Download { url, to, digest_prefix: Some(digits), limits, proxy }.run(&mut progress, &stopped);
    bar.finish_and_clear();
    match fetched {
        Ok(fetched) => Ok(fetched.sha256),
        Err(download::Error::Digest { url, found, .. }) => Err(expected
            .changed(&url, &found)
            .unwrap_or_else(|| download::Error::Digest { url, expected: expected.prefix.to_owned(), found }.into())),
        Err(error) => Err(error.into()),
    }
}

fn import(published: &Published, file: PathBuf, output: &Path, force: bool) -> Result<(), Error> {
    let architecture = Some(model::architecture(published.name)?);
    let definition = Import { file, architecture, ..Import::default() }.run()?;
    finish(&definition, output, force)
}
