//! A labelled picture of a training set.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::capture::{Still, StillError};
use crate::exit::chain;
use crate::frame;

use super::raster::Raster;

/// Why a picture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It cannot be read.
    #[error(transparent)]
    Still(#[from] StillError),
    /// Its data do not fit its size.
    #[error(transparent)]
    Frame(#[from] frame::Error),
}

/// A labelled picture.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file, or the place in one.
    pub path: PathBuf,
    /// Number of the class.
    pub class: usize,
    /// Number of the class in each further task; `None` if the picture has none.
    pub others: Vec<Option<usize>>,
    raster: Option<Raster>,
    was_named: Arc<AtomicBool>,
}

impl Sample {
    /// A picture in a file.
    #[must_use]
    pub fn in_file(path: PathBuf, class: usize) -> Self {
        Self { path, class, others: Vec::new(), raster: None, was_named: Arc::default() }
    }

    /// A picture that is in memory.
    #[must_use]
    pub fn in_memory(path: PathBuf, class: usize, raster: Raster) -> Self {
        Self { raster: Some(raster), ..Self::in_file(path, class) }
    }

    /// The picture; `None` if it cannot be read, which is logged the first time.
    #[must_use]
    pub fn usable(&self) -> Option<Raster> {
        self.read().map_err(|error| self.leave_out(&chain(&error))).ok()
    }

    /// Whether the picture has been left out.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.was_named.load(Ordering::Relaxed)
    }

    /// Logs that the picture is left out, unless it has been logged before.
    pub fn leave_out(&self, why: &str) {
        if !self.was_named.swap(true, Ordering::Relaxed) {
            tracing::warn!("left out: {why}");
        }
    }

    /// The picture.
    ///
    /// # Errors
    /// If the file is no picture that can be read.
    pub fn read(&self) -> Result<Raster, PictureError> {
        if let Some(raster) = &self.raster {
            return Ok(raster.clone());
        }
        let still = Still::open(&self.path)?;
        let picture = still.picture()?;
        let (width, height) = (picture.layout().width, picture.layout().height);
        let data = (0..height).flat_map(|row| picture.row(0, row)).copied().collect();
        Ok(Raster { width, height, data })
    }
}
