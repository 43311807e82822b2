//! The accuracy of a model on labelled pictures.
//!
//! Each thread takes one picture after another: it decodes it, prepares it exactly as for the published accuracies
//! (`preprocess::Reference`), and classifies it. The results are counted in one place. For a taught model, pictures are
//! turned by their EXIF orientation, as in teaching.

mod dataset;
mod details;
mod folders;
mod tally;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Sender, bounded};

pub use dataset::{Dataset, DatasetError, Doubt, Sample, from_list};
pub use details::{DetailsForm, check_details, details};
pub use folders::from_folders;
use tally::Tally;
pub use tally::{Broken, Cell, Class, Confusion, Measures, Report, Threshold};

use crate::capture::{Still, StillError};
use crate::exit::{Exit, chain};
use crate::frame;
use crate::inference::{self, InferenceSession, Ranked};
use crate::kernels::runtime::Threads;
use crate::model::Model;
use crate::plural::counted;
use crate::preprocess::{self, Reference};
use crate::record::Scored;

/// Number of best classes that count.
const TOP: usize = 5;

/// Results per thread that may wait to be counted.
const WAITING: usize = 16;

/// Why an evaluation fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no pictures to evaluate.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Pictures cannot be classified, and the user does not allow that; each has been reported.
    #[error("{} cannot be classified, which --strict does not allow", counted(*pictures, "picture", "pictures"))]
    Broken {
        /// Number of pictures.
        pictures: usize,
        /// The exit code of the first failure.
        exit: Exit,
    },
    /// No picture of the set can be classified; each has been reported.
    #[error("none of {} can be classified", counted(*pictures, "picture", "pictures"))]
    AllBroken {
        /// Number of pictures.
        pictures: usize,
        /// The exit code of the first failure.
        exit: Exit,
    },
    /// The model cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
    /// Pictures cannot be prepared for the model.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// The lines about the pictures cannot be written.
    #[error("cannot write {}", path.display())]
    Details {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A thread ended unexpectedly.
    #[error("a thread of the evaluation failed")]
    Panicked,
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Dataset(error) => error.exit(),
            Self::Broken { exit, .. } | Self::AllBroken { exit, .. } => *exit,
            Self::Inference(error) => error.exit(),
            Self::Preprocess(_) => Exit::Data,
            Self::Details { .. } => Exit::Io,
            Self::Thread(_) => Exit::Unavailable,
            Self::Panicked => Exit::Internal,
        }
    }
}

/// Why a picture has no classes.
#[derive(Debug, thiserror::Error)]
enum PictureError {
    #[error(transparent)]
    Still(#[from] StillError),
    #[error(transparent)]
    Frame(#[from] frame::Error),
    #[error("{path}")]
    Preprocess { path: String, source: preprocess::Error },
}

impl PictureError {
    fn exit(&self) -> Exit {
        match self {
            Self::Still(error) => error.exit(),
            Self::Frame(_) | Self::Preprocess { .. } => Exit::Data,
        }
    }
}

/// How to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalOptions {
    /// Number of threads, at least 1.
    pub threads: usize,
    /// Number of worst classes in the report.
    pub worst: usize,
}

/// What the model says of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Number of the picture in the set.
    pub sample: usize,
    /// The best class.
    pub best: Ranked,
}

/// Classifies all `samples` and compares the results with their classes. Returns the report, and what the model says of
/// each picture that is not broken, in their order. `progress` receives the number of finished pictures after each one.
///
/// # Errors
/// If the model fails, or all pictures.
pub fn evaluate(
    model: &Arc<Model>,
    samples: &[Sample],
    options: EvalOptions,
    mut progress: impl FnMut(u64),
) -> Result<(Report, Vec<Answer>), Error> {
    let work = Work { samples, next: AtomicUsize::new(0) };
    let threads = options.threads.clamp(1, samples.len().max(1));
    let (findings, found) = bounded(threads * WAITING);
    let mut tally = Tally::default();
    let mut broken: Vec<(usize, PictureError)> = Vec::new();
    let mut answers = Vec::new();
    thread::scope(|scope| {
        // An early return drops it, which ends the workers.
        let found = found;
        let mut handles = Vec::with_capacity(threads);
        for index in 0..threads {
            let worker = Worker::new(model)?;
            let (work, findings) = (&work, findings.clone());
            let builder = thread::Builder::new().name(format!("eval-{index}"));
            handles.push(builder.spawn_scoped(scope, move || worker.run(work, &findings)).map_err(Error::Thread)?);
        }
        drop(findings);
        for (done, Finding { index, outcome }) in found.iter().enumerate() {
            match outcome {
                Ok(best) => {
                    tally.count(samples[index].class, &best);
                    answers.extend(best.into_iter().next().map(|best| Answer { sample: index, best }));
                }
                Err(error) => {
                    tracing::warn!("{}", chain(&error));
                    broken.push((index, error));
                }
            }
            progress(done as u64 + 1);
        }
        // All are joined: one that has panicked would end the scope, and the program, otherwise.
        let ends: Vec<_> = handles.into_iter().map(|handle| handle.join().map_err(|_| Error::Panicked)).collect();
        ends.into_iter().try_for_each(|end| end?)
    })?;
    broken.sort_by_key(|(index, _)| *index);
    answers.sort_by_key(|answer| answer.sample);
    if let Some((_, error)) = broken.first().filter(|_| broken.len() == samples.len()) {
        return Err(Error::AllBroken { pictures: samples.len(), exit: error.exit() });
    }
    let describe = |(index, error): (usize, PictureError)| Broken {
        file: samples[index].path.clone(),
        error: chain(&error),
        exit: error.exit(),
    };
    let broken = broken.into_iter().map(describe).collect();
    let (name, digest) = (model.name().to_owned(), model.digest().to_owned());
    Ok((tally.report(name, digest, &model.answers(), options.worst, broken), answers))
}

/// State shared by the threads.
struct Work<'a> {
    samples: &'a [Sample],
    next: AtomicUsize,
}

/// A thread's result for one picture: the best classes, best first.
struct Finding {
    index: usize,
    outcome: Result<Vec<Ranked>, PictureError>,
}

/// State of a thread.
struct Worker {
    /// Opens a picture: as `teach` does if the model is a taught one, otherwise as for the published accuracies.
    open: fn(&Path) -> Result<Still, StillError>,
    preprocessor: Reference,
    session: InferenceSession,
}

impl Worker {
    fn new(model: &Arc<Model>) -> Result<Self, Error> {
        let preprocessor = Reference::new(*model.transform())?;
        let open =
            if model.is_taught() { |path: &Path| Still::open(path) } else { |path: &Path| Still::open_stored(path) };
        Ok(Self { open, preprocessor, session: model.session(&Threads::one())? })
    }

    fn run(mut self, work: &Work<'_>, findings: &Sender<Finding>) -> Result<(), Error> {
        loop {
            let index = work.next.fetch_add(1, Ordering::Relaxed);
            let Some(sample) = work.samples.get(index) else { break };
            let outcome = match self.prepare(&sample.path) {
                Ok(()) => {
                    let ranked = |scored: &Scored| Ranked { index: scored.index, score: scored.score };
                    // If the model fails, the other threads stop as well.
                    let scores = self.session.infer(TOP).inspect_err(|_| {
                        work.next.store(work.samples.len(), Ordering::Relaxed);
                    })?;
                    Ok(scores.iter().map(ranked).collect())
                }
                Err(error) => Err(error),
            };
            if findings.send(Finding { index, outcome }).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, path: &Path) -> Result<(), PictureError> {
        let still = loop {
            match (self.open)(path) {
                // Large pictures of other threads leave no memory for this one yet.
                Err(StillError::NoRoom { .. }) => {}
                still => break still?,
            }
        };
        let prepared = self.preprocessor.run(&still.picture()?, self.session.input());
        prepared.map_err(|source| PictureError::Preprocess { path: path.display().to_string(), source })
    }
}
