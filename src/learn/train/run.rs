//! The training itself: steps, tests, checkpoints.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::Serialize;

use crate::choice::BackendChoice;
use crate::exit::{Exit, chain};
use crate::hardnet::Architecture;
use crate::inference::{self, Engine, InferenceSession};
use crate::kernels::runtime::Threads;
use crate::model::{self, Definition, Model, save};
use crate::preprocess::{self, Reference, Transform};
use crate::weights;

use super::backbone::{Backbone, Mode};
use super::batch::{self, Batch};
use super::checkpoint::{self, CheckpointError, Progress};
use super::data::{DataError, Set};
use super::objective;
use super::optimizer::{Optimizer, Schedule};
use super::options::TrainOptions;
use super::parameters::Parameters;
use super::plan::Plan;

/// Number of best classes of a test that count.
const TOP: usize = 5;

/// Why a training fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no pictures to train with.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The state cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder of the training already holds one.
    #[error("{} already holds a training: --resume continues it; or name another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The pictures are not those with which the training began.
    #[error("the training began with {began}, but now there are {now}: continue with the same pictures")]
    OtherData {
        /// Classes and pictures at the start.
        began: String,
        /// Classes and pictures now.
        now: String,
    },
    /// The network cannot be trained.
    #[error("{name} cannot be trained: it is no network of the family, and none with its structure")]
    Network {
        /// Name of the model.
        name: String,
    },
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The loss is no number any more.
    #[error("the loss is no longer a number after step {step}: choose a smaller learning rate (--rate)")]
    Diverged {
        /// The step.
        step: u64,
    },
    /// All pictures of a batch are broken.
    #[error("none of the pictures of step {step} can be read; each has been named")]
    AllBroken {
        /// The step.
        step: u64,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A model cannot be written.
    #[error(transparent)]
    Save(#[from] model::SaveError),
    /// A model cannot be tested.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A model cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
    /// Pictures cannot be prepared for the network.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// Threads cannot be started.
    #[error("cannot start threads")]
    Threads(#[from] io::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Data(error) => error.exit(),
            Self::Checkpoint(error) => error.exit(),
            Self::Exists { .. } => Exit::Usage,
            Self::OtherData { .. } | Self::Network { .. } | Self::AllBroken { .. } | Self::Diverged { .. } => {
                Exit::Data
            }
            Self::Weights(error) => error.exit(),
            Self::Write { .. } => Exit::Io,
            Self::Save(error) => error.exit(),
            Self::Model(error) => error.exit(),
            Self::Inference(error) => error.exit(),
            Self::Preprocess(_) => Exit::Data,
            Self::Threads(_) => Exit::Unavailable,
        }
    }
}

/// What a training works on.
#[derive(Debug)]
pub struct Task {
    /// The network.
    pub architecture: Architecture,
    /// How pictures become inputs when the model is used.
    pub transform: Transform,
    /// Pictures to learn from.
    pub train: Set,
    /// Pictures to test with after each epoch.
    pub test: Set,
    /// Folder of the training.
    pub folder: PathBuf,
    /// Time after which the state is written, even in the middle of an epoch.
    pub interval: Duration,
}

/// Accuracy on the pictures for testing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Test {
    /// Pictures that were tested.
    pub pictures: usize,
    /// Share whose class came first, 0 to 1.
    pub top1: f64,
    /// Share whose class was among the first five, 0 to 1.
    pub top5: f64,
}

/// An epoch, as the log records it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Steps from the beginning.
    pub step: u64,
    /// The learning rate of the last step.
    pub rate: f64,
    /// Mean loss of the steps.
    pub loss: f64,
    /// Share of the pictures of the steps whose class came first, 0 to 1.
    pub train_top1: f64,
    /// The test after it.
    pub test: Test,
    /// Whether it is the best so far.
    pub best: bool,
}

/// What happens during a training.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step is done.
    Step {
        /// Steps done, of the whole training.
        done: u64,
        /// All steps.
        steps: u64,
        /// Its loss.
        loss: f32,
        /// Mean share of this epoch's pictures whose class came first, 0 to 1.
        top1: f64,
    },
    /// An epoch is done.
    Epoch(&'a Epoch),
}

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are done.
    Complete,
    /// It was asked to stop; the state is on disk.
    Stopped,
}

/// The end of a step that stops the training, or an error.
enum Halt {
    Stopped,
    Error(Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Error(error.into())
    }
}

/// A training.
pub struct Trainer {
    task: Task,
    progress: Progress,
    parameters: Parameters,
    optimizer: Optimizer,
    backbone: Backbone,
    device: Device,
}

impl Trainer {
    /// A training that begins with `parameters`.
    ///
    /// # Errors
    /// If the folder holds a training, or cannot be made.
    pub fn begin(task: Task, options: TrainOptions, parameters: Parameters) -> Result<Self, Error> {
        let path = task.folder.clone();
        fs::create_dir_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        if path.join(checkpoint::FILE).exists() {
            return Err(Error::Exists { path });
        }
        let progress = Progress::new(options, task.train.labels.clone(), task.train.samples.len());
        let optimizer = Optimizer::new(progress.options.rule());
        let trainer = Self::new(task, progress, parameters, optimizer);
        // A training that ends before its first checkpoint can be continued too.
        trainer.checkpoint()?;
        Ok(trainer)
    }

    /// The training in the folder of `task`, where it was. `parameters` has the network's sizes.
    ///
    /// # Errors
    /// If there is none, or it has other pictures.
    pub fn resume(task: Task, mut parameters: Parameters) -> Result<Self, Error> {
        let (progress, memory) = checkpoint::read(&task.folder, &mut parameters)?;
        let size = |labels: usize, pictures: usize| format!("{labels} classes and {pictures} pictures");
        if progress.labels != task.train.labels || progress.pictures != task.train.samples.len() {
            let began = size(progress.labels.len(), progress.pictures);
            let now = size(task.train.labels.len(), task.train.samples.len());
            return Err(Error::OtherData { began, now });
        }
        let device = Device::flex();
        let optimizer = Optimizer::new(progress.options.rule()).remember(memory, &device).ok_or_else(|| {
            let what = "the optimizer's memory is incomplete".to_owned();
            CheckpointError::Content { path: task.folder.join(checkpoint::FILE), what }
        })?;
        Ok(Self::new(task, progress, parameters, optimizer))
    }

    fn new(task: Task, progress: Progress, parameters: Parameters, optimizer: Optimizer) -> Self {
        let plan = Plan::new(&task.architecture, [task.transform.height, task.transform.width]);
        Self { task, progress, parameters, optimizer, backbone: Backbone::new(plan), device: Device::flex() }
    }

    /// Steps of the whole training.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.epoch() * self.progress.options.epochs
    }

    fn epoch(&self) -> u64 {
        batch::steps(self.task.train.samples.len(), self.progress.options.batch)
    }

    /// Steps that are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.progress.step
    }

    /// Trains to the end, or until `stop` says so, after which the state is on disk.
    ///
    /// # Errors
    /// Any [`Error`]; the last checkpoint is then intact.
    pub fn run(&mut self, stop: impl Fn() -> bool, mut event: impl FnMut(Event<'_>)) -> Result<End, Error> {
        self.trim_log()?;
        let (from, to) = (self.progress.step, self.steps());
        let (set, options, transform) = (self.task.train.clone(), self.progress.options.clone(), self.task.transform);
        let mut written = Instant::now();
        let outcome = batch::each(&set, &options, &transform, (from, to), |step, batch| {
            self.step(step, batch, &mut event).map_err(Halt::Error)?;
            let stops = stop();
            let is_end_of_epoch = self.progress.step.is_multiple_of(self.epoch());
            if is_end_of_epoch {
                self.end_epoch(&mut event).map_err(Halt::Error)?;
            }
            if is_end_of_epoch || stops || written.elapsed() >= self.task.interval {
                self.checkpoint().map_err(Halt::Error)?;
                written = Instant::now();
            }
            if stops && self.progress.step < to { Err(Halt::Stopped) } else { Ok(()) }
        });
        match outcome {
            Ok(()) => Ok(End::Complete),
            Err(Halt::Stopped) => Ok(End::Stopped),
            Err(Halt::Error(error)) => Err(error),
        }
    }

    fn step(&mut self, step: u64, batch: Batch, event: &mut impl FnMut(Event<'_>)) -> Result<(), Error> {
        if batch.classes.is_empty() {
            return Err(Error::AllBroken { step });
        }
        let options = &self.progress.options;
        let backbone = self.parameters.backbone;
        let mode = if options.freeze { Mode::Evaluate } else { Mode::Train };
        let values = &self.parameters.values[..backbone];
        let features = self.backbone.forward(values, &mut self.parameters.statistics, &batch.pictures, mode);
        let outcome = objective::loss(&self.parameters, features, &[batch.targets], &self.device.clone().autodiff());
        if !outcome.loss.is_finite() {
            return Err(Error::Diverged { step });
        }
        let first = if options.freeze { backbone } else { 0 };
        let gradient = match options.freeze {
            true => outcome.heads,
            false => [self.backbone.backward(values, &outcome.features), outcome.heads].concat(),
        };
        let steps = self.steps();
        let schedule =
            Schedule { rate: options.rate, warm_up: (options.warm_up * self.epoch() as f64).round() as u64, steps };
        let tensor = |values: Vec<f32>| {
            let length = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [length]), &self.device)
        };
        let now = tensor(self.parameters.values[first..].to_vec());
        let next = self.optimizer.step(schedule.at(step), now, tensor(gradient));
        let next = next.into_data().try_into_vec::<f32>().unwrap_or_default();
        self.parameters.values[first..].copy_from_slice(&next);

        let classes = self.parameters.heads[0].classes;
        let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index);
        let rows = outcome.logits.chunks_exact(classes).zip(&batch.classes);
        let right = rows.filter(|(row, class)| best(row) == Some(**class)).count() as u64;
        self.progress.step = step + 1;
        self.progress.sums.0 += f64::from(outcome.loss);
        self.progress.sums.1 += right;
        let top1 = self.share();
        event(Event::Step { done: step + 1, steps, loss: outcome.loss, top1 });
        Ok(())
    }

    /// Share of this epoch's pictures so far whose class came first.
    fn share(&self) -> f64 {
        let steps = (self.progress.step - 1) % self.epoch() + 1;
        let batch = self.progress.options.batch.min(self.task.train.samples.len());
        self.progress.sums.1 as f64 / (steps as f64 * batch as f64)
    }

    fn end_epoch(&mut self, event: &mut impl FnMut(Event<'_>)) -> Result<(), Error> {
        let definition = self.definition()?;
        let test = test(definition, &self.task.test)?;
        let is_best = self.progress.best.is_none_or(|best| test.top1 > best);
        let write = |name: &str| save(&self.definition()?, &self.task.folder.join(name), true).map_err(Error::from);
        write("last.safetensors")?;
        if is_best {
            write("best.safetensors")?;
            self.progress.best = Some(test.top1);
        }
        let (step, epochs) = (self.progress.step, self.epoch());
        let options = &self.progress.options;
        let warm_up = (options.warm_up * epochs as f64).round() as u64;
        let epoch = Epoch {
            epoch: step / epochs,
            step,
            rate: Schedule { rate: options.rate, warm_up, steps: self.steps() }.at(step - 1),
            loss: self.progress.sums.0 / epochs as f64,
            train_top1: self.share(),
            test,
            best: is_best,
        };
        self.progress.sums = (0.0, 0);
        let line = serde_json::to_string(&epoch).map_err(io::Error::from);
        let path = self.log();
        let append = |line: String| {
            let mut log = OpenOptions::new().create(true).append(true).open(&path)?;
            writeln!(log, "{line}")
        };
        line.and_then(append).map_err(|source| Error::Write { path: self.log(), source })?;
        event(Event::Epoch(&epoch));
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.task.folder.join("log.jsonl")
    }

    /// Removes epochs from the log that are after the checkpoint.
    fn trim_log(&self) -> Result<(), Error> {
        let path = self.log();
        let failed = |source| Error::Write { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.map_err(failed)?,
        };
        let is_done = |line: &&str| {
            let epoch: Option<serde_json::Value> = serde_json::from_str(line).ok();
            epoch.and_then(|epoch| epoch["step"].as_u64()).is_some_and(|step| step <= self.progress.step)
        };
        let kept: String = text.lines().filter(is_done).map(|line| format!("{line}\n")).collect();
        crate::replace::replace(&path, |file| file.write_all(kept.as_bytes())).map_err(failed)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        Ok(checkpoint::write(&self.task.folder, &self.progress, &self.parameters, self.optimizer.memory())?)
    }

    /// The model as it is now.
    fn definition(&self) -> Result<Definition, Error> {
        let state = self.parameters.state(&self.task.architecture, self.progress.step)?;
        let labels = self.task.train.labels.iter().map(|label| Arc::from(label.as_str())).collect();
        Ok(Definition::trained(self.task.architecture.clone(), state, labels, self.task.transform))
    }

    /// The weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// The accuracy of a model on `set`, by the engine that runs it in use.
fn test(definition: Definition, set: &Set) -> Result<Test, Error> {
    let engine = Engine { backend: BackendChoice::Native, ..Engine::default() };
    let model = Model::compile(definition, engine)?;
    type Worker = (Reference, InferenceSession);
    let worker =
        || -> Result<Worker, Error> { Ok((Reference::new(*model.transform())?, model.session(&Threads::one())?)) };
    let classify = |worker: &mut Result<Worker, Error>, sample: &super::data::Sample| -> Option<(bool, bool)> {
        let (reference, session) = worker.as_mut().ok()?;
        let raster = sample.read().map_err(|error| tracing::warn!("{}", chain(&error))).ok()?;
        reference.run(&raster.picture().ok()?, session.input()).ok()?;
        let best = session.infer(TOP).ok()?;
        let is_right = |count: usize| best.iter().take(count).any(|scored| scored.index == sample.class);
        Some((is_right(1), is_right(TOP)))
    };
    // A worker that cannot be made is an error here, not a picture without a class.
    drop(worker()?);
    let found: Vec<(bool, bool)> =
        set.samples.par_iter().map_init(worker, classify).filter_map(|outcome| outcome).collect();
    let share = |right: usize| right as f64 / found.len().max(1) as f64;
    Ok(Test {
        pictures: found.len(),
        top1: share(found.iter().filter(|(first, _)| *first).count()),
        top5: share(found.iter().filter(|(_, five)| *five).count()),
    })
}
