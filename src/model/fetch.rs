//! Fetches published weights: from the first source that gives the right file, or from the one that is asked for.

use std::path::{Path, PathBuf};

use super::{Definition, Error, Import, architecture};
use crate::choice::WeightSource;
use crate::exit::{Exit, chain};
use crate::hardnet::{self, Published};
use crate::printable::line;
use crate::shutdown::Stopped;
use crate::weights::digest::Check;
use crate::weights::download::{self, Download, Limits, Progress, Proxy};
use crate::weights::file;
use crate::weights::known::{self, Key, Known};

/// Number of digits of a digest that stand for the file in the record.
const SHORT: usize = 8;

/// Attempts at a source that sends nothing while others are left.
const EMPTY_ATTEMPTS: u32 = 2;

/// Why published weights cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No weights of that name have been published.
    #[error("no weights called `{name}` have been published; there are {}", super::error::names())]
    Unpublished {
        /// The requested name.
        name: String,
    },
    /// The source does not have these weights.
    #[error("the source {asked} does not have {name}; sources that do: {}", others.join(", "))]
    Elsewhere {
        /// Name of the network.
        name: &'static str,
        /// The source that was asked for.
        asked: WeightSource,
        /// The sources that have them.
        others: Vec<&'static str>,
    },
    /// The file cannot be downloaded.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The file cannot be read.
    #[error(transparent)]
    File(Box<file::Error>),
    /// The record of digests is unusable.
    #[error(transparent)]
    Known(#[from] known::Error),
    /// The file differs from the published one.
    #[error("{} has the {kind} {found}, which must begin with {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The kind of digest.
        kind: &'static str,
        /// Digits with which its digest must begin.
        expected: String,
        /// Its digest.
        found: String,
    },
    /// The file has another digest than a file fetched before.
    #[error(transparent)]
    Changed(Box<Changed>),
}

/// A file with another digest than a file fetched before.
#[derive(Debug, thiserror::Error)]
#[error(
    "{from} has the SHA-256 {found}, and {key} had {known} when it was fetched before, says {}; \
     --source {published} --sha256 {found} accepts the new file", record.display()
)]
pub struct Changed {
    /// Origin of the file.
    from: String,
    /// The digits with which both begin, or the name of both.
    key: String,
    /// The digest of the earlier file.
    known: String,
    /// The digest of this file.
    found: String,
    /// The record of the earlier digest.
    record: PathBuf,
    /// Where the file was published.
    published: WeightSource,
}

impl From<file::Error> for FetchError {
    fn from(error: file::Error) -> Self {
        Self::File(Box::new(error))
    }
}

impl FetchError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unpublished { .. } | Self::Elsewhere { .. } => Exit::Usage,
            Self::Download(error) => error.exit(),
            Self::File(error) => error.exit(),
            Self::Known(error) => error.exit(),
            Self::Digest { .. } | Self::Changed(_) => Exit::Data,
        }
    }

    /// Whether another source may have the file.
    fn is_of_source(&self) -> bool {
        match self {
            Self::Download(error) => error.is_of_server(),
            Self::Changed(_) => true,
            _ => false,
        }
    }
}

/// Published weights of one network, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    /// The first ones.
    pub first: &'static Published,
    others: Vec<&'static Published>,
}

impl Sources {
    /// All published weights of the network called `name`, or only those of the source `asked` for.
    ///
    /// # Errors
    /// [`FetchError::Unpublished`] if there are none, [`FetchError::Elsewhere`] if that source has none.
    pub fn of(name: &str, asked: Option<WeightSource>) -> Result<Self, FetchError> {
        let mut all = hardnet::published(name);
        let first = all.next().ok_or_else(|| FetchError::Unpublished { name: name.to_owned() })?;
        let Some(asked) = asked else { return Ok(Self { first, others: all.collect() }) };
        let found = hardnet::published(name).find(|published| published.source == asked);
        let others = || hardnet::published(name).map(|published| published.source.name()).collect();
        let first = found.ok_or_else(|| FetchError::Elsewhere { name: first.name, asked, others: others() })?;
        Ok(Self { first, others: Vec::new() })
    }
}

/// A place from which a file comes instead of its published address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A web address.
    Web(&'a str),
    /// A file.
    File(&'a Path),
}

/// What to fetch, and how.
#[derive(Debug, Clone)]
pub struct Fetch<'a> {
    /// A place instead of the published addresses.
    pub from: Option<Origin<'a>>,
    /// The SHA-256 of the file, or its first digits, instead of the published digest.
    pub sha256: Option<&'a str>,
    /// The folder for downloads.
    pub folder: &'a Path,
    /// The record of the digests of earlier files, if there is a place for it.
    pub record: Option<&'a Path>,
    /// Limits on waiting times and size.
    pub limits: Limits,
    /// The proxy, if any.
    pub proxy: Proxy<'a>,
}

impl Fetch<'_> {
    /// Gets the weights from the first of `sources` that gives the right file, and says why those before do not.
    ///
    /// # Errors
    /// The error of the last source, or one that no other source could avoid.
    pub fn run(
        &self,
        sources: &Sources,
        progress: &mut dyn FnMut(Progress),
        stopped: &Stopped,
    ) -> Result<Fetched<'_>, FetchError> {
        let Sources { first, others } = sources;
        let mut got = self.get(first, others.is_empty(), progress, stopped);
        for (index, next) in others.iter().enumerate() {
            match got {
                Err(error) if error.is_of_source() => tracing::warn!("{}; next: {}", chain(&error), next.place()),
                _ => break,
            }
            got = self.get(next, index + 1 == others.len(), progress, stopped);
        }
        let fetched = got?;
        if fetched.published.trained_by != first.trained_by {
            let Published { name, trained_by, top1, top5, .. } = fetched.published;
            tracing::warn!(
                "these weights of {name} were trained by {trained_by} (top-1 {top1} %, top-5 {top5} %), not by {} (top-1 \
                 {} %, top-5 {} %)",
                first.trained_by,
                first.top1,
                first.top5
            );
        }
        Ok(fetched)
    }

    /// Gets the weights from one source, the last one or not.
    fn get(
        &self,
        published: &'static Published,
        is_last: bool,
        progress: &mut dyn FnMut(Progress),
        stopped: &Stopped,
    ) -> Result<Fetched<'_>, FetchError> {
        let expected = Expected::new(published, self.sha256, self.record)?;
        let is_claimed = self.from.is_none() || self.sha256.is_none();
        let url = match self.from {
            None => published.url,
            Some(Origin::Web(url)) => url,
            Some(Origin::File(path)) => {
                let sha256 = expected.check_file(path)?;
                return Ok(Fetched { published, path: path.to_owned(), sha256, is_new: false, is_claimed, expected });
            }
        };
        tracing::info!("{} from {}", published.name, published.place());
        let check = expected.check();
        if url.starts_with("http://") && !check.is_some_and(Check::is_whole) {
            let digits = check.map_or(0, |check| check.digits().len());
            let what =
                if digits > 0 { format!("only {digits} digits of the SHA-256 tell") } else { "nothing tells".into() };
            tracing::warn!(
                "the connection is not encrypted: {what} whether the file is the right one; --sha256 takes all 64 digits"
            );
        }
        let mut limits = self.limits.clone();
        if !is_last {
            limits.empty_attempts = limits.empty_attempts.min(EMPTY_ATTEMPTS);
        }
        let path = self.folder.join(published.file);
        let got = Download { url, to: &path, check, limits, proxy: self.proxy }.run(progress, stopped);
        let got = got.map_err(|error| match error {
            download::Error::Digest { ref url, ref found, .. } => {
                expected.changed(url, found).unwrap_or(FetchError::Download(error))
            }
            error => error.into(),
        })?;
        Ok(Fetched { published, path, sha256: got.sha256, is_new: !got.present, is_claimed, expected })
    }
}

/// A file that holds the right weights, as far as its digest tells.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// What was published.
    pub published: &'static Published,
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Whether it has just been downloaded.
    pub is_new: bool,
    /// Whether it counts as what was published: it comes from there, or has the published digest.
    is_claimed: bool,
    expected: Expected<'a>,
}

impl Fetched<'_> {
    /// The model in the file.
    ///
    /// # Errors
    /// The errors of [`Import::run`].
    pub fn import(&self) -> Result<Definition, Error> {
        let architecture = Some(architecture(self.published.name)?);
        let published = Some(self.published).filter(|_| self.is_claimed);
        Import { file: self.path.clone(), architecture, published, ..Import::default() }.run()
    }

    /// Records the digest of the file, which has proved good, for the next time.
    pub fn note(&mut self) {
        let Fetched { published, sha256, expected, .. } = self;
        let Some(key) = expected.key else { return };
        if expected.check().is_none() {
            let name = published.file;
            tracing::warn!(
                "no digest of {name} is published: its SHA-256 is {sha256}, and later files must have the same"
            );
        }
        match expected.known.as_mut().map(|known| known.note(key, sha256, published.file)) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!("another file would not be noticed the next time: {}", chain(&error)),
            None => tracing::warn!(
                "another file would not be noticed the next time: there is neither $HOME nor $XDG_STATE_HOME"
            ),
        }
    }
}

/// What the digest of a file must be.
#[derive(Debug)]
struct Expected<'a> {
    published: WeightSource,
    /// As published, or as the user says.
    check: Option<Check<'a>>,
    /// What stands for the file in the record, unless its whole digest is published.
    key: Option<Key<'a>>,
    /// The whole SHA-256 of an earlier file.
    whole: Option<String>,
    /// The record; `None` if there is no place for it.
    known: Option<Known>,
}

impl<'a> Expected<'a> {
    fn new(published: &Published, sha256: Option<&'a str>, record: Option<&Path>) -> Result<Self, known::Error> {
        let known = record.map(Known::open).transpose()?;
        let check = sha256.map(Check::Sha256).or(published.check);
        let asked = match check {
            None => Some(Key::Name(published.file)),
            Some(Check::Sha256(digits)) => Some(Key::Digits(digits)),
            Some(Check::GitBlob(_)) => None,
        };
        let key = match (published.check, asked) {
            (None, _) => Some(Key::Name(published.file)),
            (_, Some(Key::Digits(digits))) => Some(Key::Digits(digits.get(..SHORT).unwrap_or(digits))),
            (_, asked) => asked,
        };
        let asked = asked.filter(|_| !check.is_some_and(Check::is_whole));
        let whole = asked.and_then(|asked| known.as_ref()?.find(asked).map(str::to_owned));
        Ok(Self { published: published.source, check, key, whole, known })
    }

    /// All that is known of the digest.
    fn check(&self) -> Option<Check<'_>> {
        self.whole.as_deref().map(Check::Sha256).or(self.check)
    }

    /// Checks a file of the user's, and returns its SHA-256.
    fn check_file(&self, path: &Path) -> Result<String, FetchError> {
        if let Some(check) = self.check() {
            let found = file::digest(path, check)?;
            if !check.accepts(&found) {
                return Err(self.changed(&line(&path.to_string_lossy()), &found).unwrap_or_else(|| {
                    let (path, kind, expected) = (path.to_owned(), check.kind(), check.digits().to_owned());
                    FetchError::Digest { path, kind, expected, found }
                }));
            }
        }
        Ok(file::sha256(path)?)
    }

    /// The error for a file that could be the right one but differs from an earlier one.
    fn changed(&self, from: &str, found: &str) -> Option<FetchError> {
        let known = self.whole.as_ref().filter(|_| self.check.is_none_or(|check| check.accepts(found)))?;
        let (Key::Digits(key) | Key::Name(key)) = self.key?;
        Some(FetchError::Changed(Box::new(Changed {
            from: from.to_owned(),
            key: key.to_owned(),
            known: known.clone(),
            found: found.to_owned(),
            record: self.known.as_ref().map(|known| known.path().to_owned()).unwrap_or_default(),
            published: self.published,
        })))
    }
}
