//! The folder of the pictures, which gets its name when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hardnetd::replace;
use image::ImageEncoder as _;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::Error;
use super::list::Record;
use super::make::Made;
use super::plan::{Clip, Set};

/// A folder that is being filled. Dropped before [`finish`](Self::finish), it is removed.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    part: PathBuf,
}

impl Output {
    /// Creates the folder under a temporary name beside `path`.
    ///
    /// # Errors
    /// If `path` exists, or nothing can be written there.
    pub(crate) fn begin(path: &Path) -> Result<Self, Error> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        // A path that ends in a slash names the same folder without it.
        let path: PathBuf = path.components().collect();
        let part = replace::beside(&path, &format!(".{}.part", std::process::id()));
        match fs::create_dir_all(&part) {
            Ok(()) => Ok(Self { path, part }),
            Err(source) => Err(Error::Write { path: part, source }),
        }
    }

    /// Writes the pictures of a clip, and returns their lines with the paths.
    ///
    /// # Errors
    /// If the disk is full, for instance.
    pub(crate) fn write(&self, clip: &Clip, made: Vec<Made>) -> Result<Vec<Record>, Error> {
        let with_path = |(index, (picture, record)): (usize, Made)| {
            let number = clip.first + index;
            let name = format!("pictures/{}/{:03}/{number:06}.png", clip.set.name(), number / 1000);
            let path = self.part.join(&name);
            let fail = |source| Error::Encode { path: path.clone(), source };
            let io = |source| Error::Write { path: path.clone(), source };
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(io)?;
            }
            let mut bytes = Vec::new();
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
                .write_image(&picture, picture.width(), picture.height(), image::ExtendedColorType::Rgb8)
                .map_err(fail)?;
            fs::write(&path, bytes).map_err(io)?;
            Ok(Record { path: name, ..record })
        };
        made.into_iter().enumerate().map(with_path).collect()
    }

    /// Writes the list of a set.
    ///
    /// # Errors
    /// If the disk is full, for instance.
    pub(crate) fn write_list(&self, set: Set, records: &[Record]) -> Result<(), Error> {
        let path = self.part.join(format!("{}.jsonl", set.name()));
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for record in records {
                serde_json::to_writer(&mut file, record)?;
                file.write_all(b"\n")?;
            }
            file.into_inner()?.sync_all()
        };
        write().map_err(|source| Error::Write { path: path.clone(), source })
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// If something has taken the name meanwhile.
    pub(crate) fn finish(self) -> Result<(), Error> {
        fs::rename(&self.part, &self.path).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        replace::sync_folder(&self.path);
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After `finish` there is nothing to remove. Whatever cannot be removed keeps its temporary name.
        let _ = fs::remove_dir_all(&self.part);
    }
}
