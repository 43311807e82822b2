//! Adds what a camera shows to a folder of pictures, without near duplicates.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::data::{DataError, pictures};
use super::signature::Signature;
use crate::capture::{Frame, Still, is_visible};
use crate::collect::{Jpeg, JpegError};
use crate::exit::{Exit, chain};
use crate::frame::{self, Picture, Region};
use crate::inference::UNKNOWN;
use crate::learn::stream::StreamError;
use crate::preprocess::{self, Preprocessor, Transform};
use crate::replace;
use crate::tensor::Tensor;

/// Bytes of the name of a folder, at most.
const MAX_NAME: usize = 255;

/// Rows and columns that are enough for a signature.
const SIDE: usize = 64;

/// Why pictures cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The label is no name of a folder.
    #[error(
        "{label:?} cannot be the name of a folder of pictures: expected letters, digits, spaces and such, but no / and no \
         control characters, no dot at the start, no spaces at the ends, and no name that systems use, such as lost+found"
    )]
    Label {
        /// The label.
        label: String,
    },
    /// The label is that of what is no class.
    #[error(
        "{label:?} cannot be a class: it is what a taught model says of a picture that is like none of its classes. Name \
         what the pictures show"
    )]
    Reserved {
        /// The label.
        label: String,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A picture cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The source has no frames, or no more.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A frame does not fit its size.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// A frame is too small.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// A frame cannot become a file.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
}

impl CollectError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Label { .. } | Self::Reserved { .. } => Exit::Usage,
            Self::Folder { .. } | Self::Write { .. } => Exit::Io,
            Self::Data(error) => error.exit(),
            Self::Stream(error) => error.exit(),
            Self::Frame(_) | Self::Preprocess(_) | Self::Jpeg(_) => Exit::Data,
        }
    }
}

/// What has become of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Pictures added.
    pub added: u64,
    /// Frames left out, because there is a near duplicate.
    pub near_duplicates: u64,
}

/// A folder to which pictures are added.
pub struct Collector {
    folder: PathBuf,
    signing: Preprocessor,
    input: Tensor,
    known: Vec<Signature>,
    jpeg: Jpeg,
    /// What has been done.
    pub collected: Collected,
}

impl Collector {
    /// The folder `label` in `data`, which the first picture makes if it does not exist. Near duplicates look the same in
    /// `region`. `progress` receives the number of pictures of the folder that have been read, and says whether to read on.
    ///
    /// # Errors
    /// [`CollectError`] if the label cannot be the name of a folder or of a class, the region is unusable, or the folder
    /// cannot be read.
    pub fn new(
        data: &Path,
        label: &str,
        region: Region,
        mut progress: impl FnMut(u64) -> bool,
    ) -> Result<Self, CollectError> {
        let is_name = (1..=MAX_NAME).contains(&label.len())
            && is_visible(label)
            && !label.contains('/')
            && !label.chars().any(char::is_control)
            && label.trim() == label;
        if !is_name {
            return Err(CollectError::Label { label: label.to_owned() });
        }
        if label.eq_ignore_ascii_case(UNKNOWN) {
            return Err(CollectError::Reserved { label: label.to_owned() });
        }
        let folder = data.join(label);
        let transform = Transform { height: SIDE, width: SIDE, mean: [0.0; 3], std: [1.0; 3], ..Transform::IMAGENET };
        let signing = Preprocessor::new(transform.of_region(region))?;
        let input = Tensor::zeros(SIDE, SIDE, 3);
        let mut collector =
            Self { folder, signing, input, known: Vec::new(), jpeg: Jpeg::new(), collected: Collected::default() };
        let known = if collector.folder.exists() { pictures(&collector.folder)? } else { Vec::new() };
        for (done, path) in (1..).zip(known) {
            let named = |error: &dyn std::error::Error| format!("{}: {}", path.display(), chain(error));
            let signed = Still::open(&path).map_err(|error| chain(&error)).and_then(|still| {
                let picture = still.picture().map_err(|error| named(&error))?;
                collector.sign(&picture).map_err(|error| named(&error))
            });
            match signed {
                Ok(signature) => collector.known.push(signature),
                Err(error) => tracing::warn!("not compared: {error}"),
            }
            if !progress(done) {
                break;
            }
        }
        Ok(collector)
    }

    fn sign(&mut self, picture: &Picture<'_>) -> Result<Signature, preprocess::Error> {
        self.signing.run(picture, &mut self.input)?;
        Ok(Signature::of(self.signing.transform(), (&mut self.input).into()))
    }

    /// Adds a frame, unless there is a near duplicate.
    ///
    /// # Errors
    /// [`CollectError`] if the frame is unusable, or cannot be written.
    pub fn take(&mut self, frame: &Frame) -> Result<(), CollectError> {
        let picture = frame.picture()?;
        let signature = self.sign(&picture)?;
        if self.known.iter().any(|known| known.is_near(&signature)) {
            self.collected.near_duplicates += 1;
            return Ok(());
        }
        let file = self.jpeg.file(&picture)?;
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|source| CollectError::Folder { path: folder.clone(), source })?;
        self.add(frame.captured.utc, &file)?;
        self.known.push(signature);
        self.collected.added += 1;
        Ok(())
    }

    /// Writes a file with the time as its name. If other files have that name, also those of other processes, a number
    /// follows it.
    fn add(&self, time: SystemTime, content: &[u8]) -> Result<(), CollectError> {
        let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let name = time.strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
        let mut number = 0_u64;
        loop {
            let path = match number {
                0 => self.folder.join(format!("{name}.jpg")),
                _ => self.folder.join(format!("{name}-{number}.jpg")),
            };
            match replace::add(&path, |out| out.write_all(content)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                written => return written.map_err(|source| CollectError::Write { path, source }),
            }
        }
    }
}
