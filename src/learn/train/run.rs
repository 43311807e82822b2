//! The training itself: steps, tests, checkpoints.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};

use crate::choice::DeviceChoice;
use crate::hardnet::Architecture;
use crate::model::{Definition, save};
use crate::preprocess::Transform;
use crate::replace::replace;
use crate::system::Host;

use super::assess::{assess, check, compile};
use super::backbone::{Mode, Statistics};
use super::batch::{self, Batch, Source};
use super::checkpoint::{self, CheckpointError, Pictures, Progress, Saved};
use super::compute::Compute;
use super::data::Set;
use super::error::Error;
use super::lock::{BEST, FILES, LAST, Lock};
use super::log::{Epoch, Log, Test};
use super::objective;
use super::optimizer::{Optimizer, Schedule};
use super::options::TrainOptions;
use super::parameters::Parameters;
use super::plan::Plan;
use super::report::{self, Subject};

/// What a training works on.
#[derive(Debug)]
pub struct Task {
    /// The network.
    pub architecture: Architecture,
    /// How pictures become inputs when the model is used.
    pub transform: Transform,
    /// Pictures to learn from.
    pub train: Arc<Set>,
    /// Pictures to test with after each epoch.
    pub test: Set,
    /// Share of each class that is kept for testing if there is no test set, 0 to 1.
    pub hold_out: f64,
    /// Folder of the training.
    pub folder: PathBuf,
    /// Time after which the state is written, even in the middle of an epoch.
    pub interval: Duration,
    /// What computes the backbone.
    pub device: DeviceChoice,
}

impl Task {
    /// Checks that the machine has the memory for batches of `batch` pictures.
    fn check_memory(&self, batch: usize) -> Result<(), Error> {
        if self.device != DeviceChoice::Cpu {
            return Ok(());
        }
        let plan = Plan::new(&self.architecture, [self.transform.height, self.transform.width]);
        let batch = batch.min(self.train.samples.len());
        check_memory(plan.memory().saturating_mul(batch as u64), batch, Host::here().memory())
    }

    fn pictures(&self) -> Pictures {
        let Self { train, test, hold_out, .. } = self;
        Pictures {
            labels: [train.labels.clone()].into_iter().chain(train.others.iter().cloned()).collect(),
            count: train.samples.len(),
            hold_out: *hold_out,
            train: train.digest(),
            test: test.digest(),
        }
    }
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
    /// A step had no picture that could be read.
    Skipped {
        /// Steps done, of the whole training.
        done: u64,
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

/// Checks that `folder` has no training and no results of one.
fn check_unused(folder: &Path) -> Result<(), Error> {
    if folder.join(checkpoint::FILE).exists() {
        Lock::take(folder)?;
        return Err(Error::Exists { path: folder.to_owned() });
    }
    let mut results = FILES.into_iter().map(|name| folder.join(name));
    results.find(|path| path.exists()).map_or(Ok(()), |path| Err(Error::Result { path }))
}

/// Checks that the machine has the memory for a batch. The system would end the process in the middle of a step.
fn check_memory(needed: u64, batch: usize, installed: Option<u64>) -> Result<(), Error> {
    match installed {
        Some(installed) if needed > installed => Err(Error::Memory { needed, batch, installed }),
        _ => Ok(()),
    }
}

/// A training.
pub struct Trainer {
    task: Task,
    lock: Lock,
    log: Log,
    progress: Progress,
    parameters: Parameters,
    optimizer: Optimizer,
    backbone: Compute,
    device: Device,
}

impl Trainer {
    /// A training that begins with `parameters`.
    ///
    /// # Errors
    /// If the folder holds a training or the results of one, or cannot be made, or another process trains there, or no
    /// picture can be tested with, or the engine cannot run the network.
    pub fn begin(task: Task, options: TrainOptions, parameters: Parameters) -> Result<Self, Error> {
        let path = task.folder.clone();
        check_unused(&path)?;
        check(&task.transform, &task.test)?;
        task.check_memory(options.batch)?;
        fs::create_dir_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let lock = Lock::take(&path)?;
        // Another process may have begun in the meantime.
        check_unused(&path)?;
        let progress = Progress::new(options, task.pictures());
        let optimizer = Optimizer::new(progress.options.rule());
        let trainer = Self::new(task, lock, progress, parameters, optimizer)?;
        // A training that ends before its first checkpoint can be continued too.
        trainer.checkpoint()?;
        Ok(trainer)
    }

    /// The training `saved` in the folder of `task`, where it was. The network and the transform of `task` are those of
    /// `saved`.
    ///
    /// # Errors
    /// If `saved` is incomplete, or began with other pictures, or the engine cannot run the network.
    pub fn resume(task: Task, saved: Saved) -> Result<Self, Error> {
        let (began, now) = (&saved.progress.pictures, task.pictures());
        if began.labels != now.labels {
            let others = |from: &Pictures, to: &Pictures| {
                let known: HashSet<&String> = to.labels.iter().flatten().collect();
                from.labels.iter().flatten().filter(|label| !known.contains(label)).cloned().collect()
            };
            return Err(Error::OtherClasses { gone: others(began, &now), new: others(&now, began) });
        }
        if began.count != now.count {
            return Err(Error::OtherData { began: began.count, now: now.count });
        }
        for (set, began, now) in [("training", &began.train, &now.train), ("testing", &began.test, &now.test)] {
            if began != now {
                return Err(Error::OtherSet { set });
            }
        }
        check(&task.transform, &task.test)?;
        task.check_memory(saved.progress.options.batch)?;
        let (lock, mut progress, parameters, memory) = saved.restore()?;
        let best = task.folder.join(BEST);
        if progress.best.is_some() && !best.exists() {
            tracing::warn!("{} is gone: the next best model, or the last one, takes its place", best.display());
            progress.best = None;
        }
        let device = Device::flex();
        let optimizer = Optimizer::new(progress.options.rule()).remember(memory, &device).ok_or_else(|| {
            let what = "the optimizer's memory is incomplete".to_owned();
            CheckpointError::Content { path: task.folder.join(checkpoint::FILE), what }
        })?;
        Self::new(task, lock, progress, parameters, optimizer)
    }

    fn new(
        task: Task,
        lock: Lock,
        progress: Progress,
        parameters: Parameters,
        optimizer: Optimizer,
    ) -> Result<Self, Error> {
        let plan = Plan::new(&task.architecture, [task.transform.height, task.transform.width]);
        let log = Log::in_folder(&task.folder);
        let backbone = Compute::new(plan, task.device)?;
        let trainer = Self { task, lock, log, progress, parameters, optimizer, backbone, device: Device::flex() };
        // A network that the engine does not run, at this size, is an error before the first epoch.
        compile(trainer.definition()?)?;
        Ok(trainer)
    }

    /// Steps of the whole training.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch().saturating_mul(self.progress.options.epochs)
    }

    fn steps_per_epoch(&self) -> u64 {
        batch::steps(self.task.train.samples.len(), self.progress.options.batch)
    }

    /// How it is trained.
    #[must_use]
    pub fn options(&self) -> &TrainOptions {
        &self.progress.options
    }

    /// Pictures per step.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.progress.options.batch.min(self.task.train.samples.len())
    }

    /// Number of classes of the model.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.task.train.labels.len()
    }

    /// Share of the pictures for testing that are right if all are taken for the class that has most of them, 0 to 1.
    #[must_use]
    pub fn chance(&self) -> f64 {
        let mut counts = vec![0_usize; self.classes()];
        self.task.test.samples.iter().for_each(|sample| counts[sample.class] += 1);
        counts.into_iter().max().unwrap_or(0) as f64 / self.task.test.samples.len().max(1) as f64
    }

    /// Bytes that the maps of a batch and their gradients take at most.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.backbone.plan().memory() * self.batch() as u64
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
        self.log.trim(self.progress.step)?;
        let (from, to) = (self.progress.step, self.steps());
        if from >= to {
            self.replace_lost_models()?;
        }
        let (set, options, transform) =
            (Arc::clone(&self.task.train), self.progress.options.clone(), self.task.transform);
        let source = Source { set: &set, options: &options, transform: &transform };
        let mut written = Instant::now();
        let outcome = batch::each(&source, (from, to), |step, batch| {
            self.step(step, batch, &mut event).map_err(Halt::Error)?;
            let is_end_of_epoch = self.progress.step.is_multiple_of(self.steps_per_epoch());
            if is_end_of_epoch {
                self.end_epoch(&mut event).map_err(Halt::Error)?;
            }
            let stops = stop();
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
        // If none of its pictures can be read, there is nothing to learn from in this step.
        if batch.pictures.is_empty() {
            self.progress.step = step + 1;
            event(Event::Skipped { done: step + 1 });
            return Ok(());
        }
        let options = &self.progress.options;
        let backbone = self.parameters.backbone;
        let mode = if options.freeze { Mode::Evaluate } else { Mode::Train };
        let values = &self.parameters.values[..backbone];
        let features = self.backbone.forward(values, &mut self.parameters.statistics, &batch.pictures, mode);
        let outcome = objective::loss(&self.parameters, features, &batch.targets, &self.device.clone().autodiff());
        if !outcome.loss.is_finite() {
            return Err(Error::Diverged { step });
        }
        let learned = self.parameters.learned(options.freeze);
        let gradient = match options.freeze {
            true => outcome.heads,
            false => [self.backbone.backward(values, &outcome.features), outcome.heads].concat(),
        };
        let rate = self.schedule().at(step);
        let tensor = |values: Vec<f32>| {
            let length = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [length]), &self.device)
        };
        let now = tensor(self.parameters.values[learned.clone()].to_vec());
        let next = self.optimizer.step(rate, now, tensor(gradient));
        let next = next.into_data().try_into_vec::<f32>().ok().filter(|next| next.len() == learned.len());
        let next = next.ok_or(Error::Framework { expected: learned.len() })?;
        // The largest value of an activation may hide that a value is no number.
        let Statistics { mean, variance } = &self.parameters.statistics;
        if !next.iter().chain(mean).chain(variance).all(|value| value.is_finite()) {
            return Err(Error::Diverged { step });
        }
        self.parameters.values[learned].copy_from_slice(&next);

        let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index);
        let tasks = outcome.logits.iter().zip(&batch.classes).zip(&self.parameters.heads);
        let right = tasks.map(|((logits, classes), head)| {
            let labelled = logits.chunks_exact(head.classes).zip(classes).filter(|(_, class)| class.is_some());
            labelled.fold((0, 0), |(right, all), (row, class)| (right + u64::from(best(row) == *class), all + 1))
        });
        let sums = &mut self.progress.sums;
        sums.steps += 1;
        sums.loss += f64::from(outcome.loss);
        sums.right.resize(outcome.logits.len(), (0, 0));
        for (sum, (right, all)) in sums.right.iter_mut().zip(right) {
            *sum = (sum.0 + right, sum.1 + all);
        }
        let top1 = sums.shares().next().unwrap_or_default();
        self.progress.step = step + 1;
        event(Event::Step { done: step + 1, steps: self.steps(), loss: outcome.loss, top1 });
        Ok(())
    }

    fn end_epoch(&mut self, event: &mut impl FnMut(Event<'_>)) -> Result<(), Error> {
        if let Some(label) = self.task.train.class_left_out() {
            return Err(Error::BrokenClass { label: label.to_owned() });
        }
        self.lock.check(&self.task.folder)?;
        let (test, answers) = assess(self.definition()?, &self.task.test)?;
        let best = self.progress.best.map(|top1| Test { top1, loss: self.progress.best_loss, ..Test::default() });
        let is_best = best.is_none_or(|best| test.is_better_than(&best));
        let write = |name: &str| save(&self.definition()?, &self.task.folder.join(name), true).map_err(Error::from);
        write(LAST)?;
        if is_best {
            write(BEST)?;
            (self.progress.best, self.progress.best_loss) = (Some(test.top1), test.loss);
        }
        let (step, steps) = (self.progress.step, self.steps_per_epoch());
        let sums = std::mem::take(&mut self.progress.sums);
        let epoch = Epoch {
            epoch: step / steps,
            step,
            rate: self.schedule().at(step - 1),
            loss: sums.loss / sums.steps.max(1) as f64,
            train_top1: sums.shares().next().unwrap_or_default(),
            also_top1: sums.shares().skip(1).collect(),
            test,
            best: is_best,
        };
        self.log.append(&epoch)?;
        let path = self.task.folder.join(report::FILE);
        let subject = Subject {
            name: &self.task.architecture.name,
            set: &self.task.test,
            pictures: self.task.train.samples.len(),
            options: &self.progress.options,
        };
        let page = report::page(&subject, &self.log.read()?, &answers);
        let written = replace(&path, |file| file.write_all(page.as_bytes()));
        written.map_err(|source| Error::Write { path, source })?;
        event(Event::Epoch(&epoch));
        Ok(())
    }

    fn schedule(&self) -> Schedule {
        let TrainOptions { rate, warm_up, .. } = self.progress.options;
        Schedule { rate, warm_up: (warm_up * self.steps_per_epoch() as f64).round() as u64, steps: self.steps() }
    }

    fn checkpoint(&self) -> Result<(), Error> {
        let Task { folder, architecture, transform, .. } = &self.task;
        self.lock.check(folder)?;
        let memory = self.optimizer.memory();
        Ok(checkpoint::write(folder, &self.progress, (architecture, transform), &self.parameters, memory)?)
    }

    /// The model as it is now.
    fn definition(&self) -> Result<Definition, Error> {
        let state = self.parameters.state(&self.task.architecture, self.progress.step)?;
        let labels = self.task.train.labels.iter().map(|label| Arc::from(label.as_str())).collect();
        Ok(Definition::trained(self.task.architecture.clone(), state, labels, self.task.transform))
    }

    /// Writes the models of a complete training that are no longer there.
    fn replace_lost_models(&mut self) -> Result<(), Error> {
        for name in [LAST, BEST] {
            let path = self.task.folder.join(name);
            if !path.exists() {
                save(&self.definition()?, &path, true)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_the_machine_cannot_hold_is_an_error_before_the_first_step() {
        assert!(check_memory(10, 2, Some(10)).is_ok() && check_memory(u64::MAX, 2, None).is_ok());
        let error = check_memory(3_000_000_000, 64, Some(2_000_000_000)).map_err(|error| error.to_string());
        let message = error.err().unwrap_or_default();
        assert!(message.starts_with("64 pictures of this network and size need up to 3000 MB"), "{message}");
        assert!(message.contains("the machine has 2000") && message.contains("--batch"), "{message}");
    }
}
