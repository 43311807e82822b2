//! `hardnetd train`: training and fine-tuning.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use super::{Error, choice, interrupt, printed, progress_style, size};
use crate::choice::{DeviceChoice, OptimizerChoice};
use crate::learn::train::checkpoint::{self, Saved};
use crate::learn::train::data;
use crate::learn::train::error;
use crate::learn::train::options::{Also, BATCH, EPOCHS, RATE, TrainOptions};
use crate::learn::train::report;
use crate::learn::train::run::{End, Event, Task, Trainer};
use crate::learn::train::start::Start;
use crate::learn::train::variation::{Augmentation, Near};
use crate::model::ModelOptions;
use crate::plural::counted;
use crate::preprocess::Transform;
use crate::printable::line;

/// Arguments that a training remembers.
const SETTINGS: [&str; 20] = [
    "model",
    "hold_out",
    "size",
    "epochs",
    "batch",
    "optimizer",
    "rate",
    "warm_up",
    "momentum",
    "weight_decay",
    "smoothing",
    "mixup",
    "crop",
    "near",
    "no_flip",
    "colour",
    "balance",
    "also",
    "freeze",
    "seed",
];

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = "\
DATA is a folder with one subfolder of pictures per class, a folder with CIFAR-10 or CIFAR-100 in binary form, or a list. A \
line of a list names a picture, relative to the list's folder, and its class: `gate/1.jpg open`, or \
`{\"path\": \"gate/1.jpg\", \"label\": \"open\"}`. After each epoch, the model is tested with the pictures of --test, those of \
CIFAR's test set, or a share of each class that is kept for it. Pictures that cannot be read are named and left out.

The folder of a training holds best.safetensors and last.safetensors, which every command takes as a model, report.html \
with curves, confusion matrix and the worst mistakes, log.jsonl with a line per epoch, and state.safetensors, from which \
--resume continues: with the settings, the network and the seed of the beginning, and with the same DATA and --test. Ctrl-C \
stops a training after the current step, or after the test if one is running.

Examples:
  hardnetd train flowers --output runs/flowers                                  # from scratch
  hardnetd train flowers --output runs/tuned --model hardnet68.safetensors      # from trained weights
  hardnetd train flowers --output runs/tuned --resume
  hardnetd train cifar-100-binary --output runs/cifar --model hardnet68.safetensors --epochs 1 --batch 256
  hardnetd train train.jsonl --test test.jsonl --output runs/gate --balance --also weather=0.5
  hardnetd run --model runs/tuned/best.safetensors --source rtsp://camera.local/1")]
pub(super) struct Arguments {
    /// Folder with the pictures, or a list of them.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Folder of the training.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Continue the training in that folder, with its settings.
    #[arg(long, conflicts_with_all = SETTINGS)]
    resume: bool,
    /// Network to train: a name or a table (TOML) starts from scratch, a file with weights is fine-tuned.
    #[arg(short, long, value_name = "M", default_value = "hardnet39ds")]
    model: String,
    /// Test set: a folder with one subfolder per class, or a list.
    #[arg(long, value_name = "DATA")]
    test: Option<PathBuf>,
    /// Share of each class to hold out if there is no test set; at least one picture is held out, and one is trained on.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    hold_out: f64,
    /// Rows and columns of the network's input, such as 160x160, instead of the model's own.
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Passes over the pictures [default: 150 from scratch, 10 for a file with weights].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=EPOCHS))]
    epochs: Option<u64>,
    /// Batch size.
    #[arg(short, long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(2..=i64::from(BATCH)))]
    batch: u16,
    /// Optimizer [default: sgd from scratch, adam for a file with weights].
    #[arg(long, value_name = "OPTIMIZER", value_parser = choice::<OptimizerChoice>())]
    optimizer: Option<OptimizerChoice>,
    /// Peak learning rate; it rises during the warm-up and falls along a cosine [default: 0.05 for sgd, else 0.001].
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Epochs of the warm-up, at most all [default: 5, at most a tenth of all].
    #[arg(long, value_name = "N", value_parser = epochs)]
    warm_up: Option<f64>,
    /// Momentum of sgd.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    momentum: f64,
    /// Weight decay.
    #[arg(long, value_name = "SHARE", default_value_t = 6e-5, value_parser = share)]
    weight_decay: f64,
    /// Label smoothing.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    smoothing: f64,
    /// Mixup: parameter alpha of the beta distribution, 0.01 to 8, such as 0.2; 0: off.
    #[arg(long, value_name = "ALPHA", default_value_t = 0.0, value_parser = mixup)]
    mixup: f64,
    /// Least share of a picture that a random crop takes; 1 takes the largest centre crop.
    #[arg(long, value_name = "SHARE", default_value_t = 0.35, value_parser = share)]
    crop: f64,
    /// Take crops close to the evaluation crop instead, whose sides and place change by up to this share, such as 0.1: for
    /// pictures whose class may be visible only there.
    #[arg(long, value_name = "SHARE", conflicts_with = "crop", value_parser = share)]
    near: Option<f64>,
    /// Do not mirror pictures: for digits, text, or where left and right matter.
    #[arg(long)]
    no_flip: bool,
    /// Change brightness, contrast and saturation by up to this share.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    colour: f64,
    /// Give all classes the same share in the loss, however many pictures each has.
    #[arg(long)]
    balance: bool,
    /// Train an auxiliary task at the same time, whose classes are in this field of the list's objects, with a weight in
    /// the loss [default: 1]. The model file does not contain its classes, but the backbone learns from them.
    #[arg(long, value_name = "FIELD[=WEIGHT]", value_parser = also)]
    also: Vec<Also>,
    /// Train only the linear layer.
    #[arg(long)]
    freeze: bool,
    /// Random seed: the same seed gives the same weights.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What computes the backbone; cuda and wgpu need a program that was built with train-cuda or train-wgpu.
    #[arg(long, value_name = "D", default_value = "cpu", value_parser = choice::<DeviceChoice>())]
    device: DeviceChoice,
    /// Threads [default: number of cores].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Minutes between checkpoints within an epoch.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    checkpoint_minutes: u16,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= RATE);
    rate.ok_or_else(|| format!("expected a number above 0, at most {RATE:e}"))
}

fn mixup(text: &str) -> Result<f64, String> {
    let alpha = text.parse().ok().filter(|alpha| *alpha == 0.0 || (0.01..=8.0).contains(alpha));
    alpha.ok_or_else(|| "expected 0 or a number from 0.01 to 8".into())
}

fn also(text: &str) -> Result<Also, String> {
    let (field, weight) = match text.rsplit_once('=') {
        Some((field, weight)) => (field, rate(weight)?),
        None => (text, 1.0),
    };
    if field.is_empty() || ["path", "label"].contains(&field) {
        return Err("expected the name of a field, other than path and label".into());
    }
    Ok(Also { field: field.to_owned(), weight })
}

fn epochs(text: &str) -> Result<f64, String> {
    let epochs = text.parse().ok().filter(|epochs: &f64| epochs.is_finite() && *epochs >= 0.0);
    epochs.ok_or_else(|| "expected a number of epochs, 0 or more".into())
}

impl Arguments {
    /// The settings, given whether the weights have learned something.
    fn options(&self, is_tuned: bool, transform: &Transform) -> Result<TrainOptions, Error> {
        let optimizer = self.optimizer.unwrap_or(if is_tuned { OptimizerChoice::Adam } else { OptimizerChoice::Sgd });
        let epochs = self.epochs.unwrap_or(if is_tuned { 10 } else { 150 });
        let warm_up = self.warm_up.unwrap_or_else(|| (epochs as f64 / 10.0).min(5.0));
        if warm_up > epochs as f64 {
            return Err(Error::Argument(format!(
                "--warm-up {warm_up}: expected at most the number of epochs, {epochs}"
            )));
        }
        Ok(TrainOptions {
            epochs,
            batch: self.batch.into(),
            optimizer,
            rate: self.rate.unwrap_or(if optimizer == OptimizerChoice::Sgd { 0.05 } else { 0.001 }),
            warm_up,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            smoothing: self.smoothing,
            mixup: self.mixup,
            balance: self.balance,
            also: self.also.clone(),
            variation: Augmentation {
                scale: [self.crop, 1.0],
                ratio: if self.crop < 1.0 { [0.75, 4.0 / 3.0] } else { [1.0, 1.0] },
                near: self.near.map(|change| {
                    let side = transform.height.min(transform.width) as f64 / transform.resize as f64;
                    Near { side: side.min(1.0), change }
                }),
                flip: !self.no_flip,
                colour: self.colour,
            },
            freeze: self.freeze,
            seed: self.seed,
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut pool = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("train-{index}"));
    if let Some(threads) = arguments.threads {
        pool = pool.num_threads(threads.into());
    }
    // The process's own pool: the network, the framework and the thread that prepares pictures share it. None of its
    // threads waits for a batch, which takes one of them to make.
    pool.build_global().map_err(|error| Error::Train(io::Error::other(error).into()))?;
    let stopped = interrupt::install()?;
    let mut trainer = trainer(arguments)?;
    let memory = trainer.memory() as f64 / 1e6;
    tracing::info!("up to {memory:.0} MB of memory for batches of {}", trainer.batch());
    if trainer.done() >= trainer.steps() {
        tracing::info!("the training is complete: nothing is left to do");
    }
    let bar = ProgressBar::new(trainer.steps())
        .with_style(progress_style("{bar:30} {pos}/{len} steps, {msg}, {eta} left"))
        .with_position(trainer.done());
    bar.reset_eta();
    let batch = trainer.batch() as f64;
    let (mut best, classes, tasks) = (None, trainer.classes(), trainer.options().also.clone());
    let end = trainer.run(
        || stopped.is_set(),
        |event| match event {
            Event::Step { done, loss, top1, .. } => {
                bar.set_position(done);
                let rate = bar.per_sec() * batch;
                bar.set_message(format!("loss {loss:.3}, top-1 {:.1} %, {rate:.1} pictures/s", top1 * 100.0));
            }
            Event::Skipped { done } => bar.set_position(done),
            Event::Epoch(epoch) => {
                let percent = |share: f64| format!("{:.2} %", share * 100.0);
                let mut text = format!(
                    "epoch {}: loss {:.3}, top-1 {} of {}",
                    epoch.epoch,
                    epoch.loss,
                    percent(epoch.test.top1),
                    counted(epoch.test.pictures, "picture", "pictures")
                );
                // With five classes or fewer it is always 100 %.
                if classes > 5 {
                    text.push_str(&format!(", top-5 {}", percent(epoch.test.top5)));
                }
                for (also, share) in tasks.iter().zip(&epoch.also_top1) {
                    text.push_str(&format!(", {} in training {}", also.field, percent(*share)));
                }
                if io::stderr().is_terminal() {
                    bar.println(text);
                } else {
                    tracing::info!("{text}");
                }
                if epoch.best {
                    best = Some((epoch.epoch, epoch.test.clone()));
                }
            }
        },
    );
    bar.finish_and_clear();
    let folder = line(&arguments.output.display().to_string()).into_owned();
    match end? {
        End::Complete => {
            let mut output = io::stdout().lock();
            let chance = trainer.chance();
            let text = best.map_or_else(String::new, |(epoch, test)| {
                let pictures = counted(test.pictures, "picture", "pictures");
                let chance = match test.top1 <= chance {
                    true => format!(", no better than always naming the largest class ({:.2} %)", chance * 100.0),
                    false => String::new(),
                };
                format!(": top-1 {:.2} % of {pictures} after epoch {epoch}{chance}", test.top1 * 100.0)
            });
            printed(writeln!(output, "{folder}/best.safetensors{text}"))?;
            match arguments.output.join(report::FILE).exists() {
                true => printed(writeln!(
                    output,
                    "{folder}/{}: curves, confusion matrix and the worst mistakes",
                    report::FILE
                )),
                false => Ok(()),
            }
        }
        End::Stopped => {
            tracing::warn!(
                "stopped after {} of {} steps; {folder}/{} has the state: --resume continues",
                trainer.done(),
                trainer.steps(),
                checkpoint::FILE
            );
            Err(Error::Stopped)
        }
    }
}

/// The training that begins, or continues with the settings of its beginning.
fn trainer(arguments: &Arguments) -> Result<Trainer, Error> {
    let saved = arguments.resume.then(|| Saved::open(&arguments.output)).transpose().map_err(error::Error::from)?;
    let (also, hold_out, seed) = match &saved {
        Some(Saved { progress, .. }) => (&progress.options.also, progress.pictures.hold_out, progress.options.seed),
        None => (&arguments.also, arguments.hold_out, arguments.seed),
    };
    let fields: Vec<String> = also.iter().map(|also| also.field.clone()).collect();
    let (train, test) =
        data::read(&arguments.data, arguments.test.as_deref(), &fields, hold_out, seed).map_err(error::Error::from)?;
    tracing::info!(
        "{} for training, {} for testing, {}",
        counted(train.samples.len(), "picture", "pictures"),
        counted(test.samples.len(), "picture", "pictures"),
        counted(train.labels.len(), "class", "classes")
    );
    let classes = train.classes();
    let task = |architecture, transform| Task {
        architecture,
        transform,
        train: Arc::new(train),
        test,
        hold_out,
        folder: arguments.output.clone(),
        interval: Duration::from_secs(60 * u64::from(arguments.checkpoint_minutes)),
        device: arguments.device,
    };
    if let Some(saved) = saved {
        return Ok(Trainer::resume(task(saved.architecture.clone(), saved.transform), saved)?);
    }
    let options = ModelOptions { size: arguments.size, ..ModelOptions::default() };
    let Start { architecture, transform, parameters, is_tuned } =
        Start::open(&arguments.model, &options, &classes, seed)?;
    let options = arguments.options(is_tuned, &transform)?;
    Ok(Trainer::begin(task(architecture, transform), options, parameters)?)
}
