//! The accuracy of a model after an epoch, by the engine that runs it in use.

use rayon::prelude::*;

use crate::choice::BackendChoice;
use crate::exit::chain;
use crate::inference::{Engine, InferenceSession};
use crate::kernels::runtime::Threads;
use crate::model::{Definition, Model};
use crate::preprocess::{Reference, Transform};
use crate::record::Scored;
use crate::tensor::{Tensor, TensorMut};

use super::data::Set;
use super::error::Error;
use super::log::Test;
use super::sample::Sample;

/// Number of best classes that count.
const TOP: usize = 5;

/// What the model says of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Number of the picture in its set.
    pub sample: usize,
    /// The best class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub score: f32,
    /// Whether the picture's class is among the first five.
    pub is_near: bool,
    /// Cross entropy: the negative logarithm of the probability of the picture's class, at most 88.
    pub loss: f32,
}

/// Checks that a picture of `set` can be tested with.
///
/// # Errors
/// [`Error::NoTest`] if there is none.
pub fn check(transform: &Transform, set: &Set) -> Result<(), Error> {
    let mut reference = Reference::new(*transform)?;
    let mut input = Tensor::zeros(transform.height, transform.width, 3);
    match set.samples.iter().any(|sample| prepare(sample, &mut reference, &mut input).is_some()) {
        true => Ok(()),
        false => Err(Error::NoTest { pictures: set.samples.len() }),
    }
}

/// Writes a picture into `input`; `None` if that is impossible, which is logged the first time.
fn prepare<'a>(sample: &Sample, reference: &mut Reference, input: impl Into<TensorMut<'a>>) -> Option<()> {
    let raster = sample.usable()?;
    let failed = |error| sample.leave_out(&format!("{}: {}", sample.path.display(), chain(&error)));
    reference.run(&raster.picture().ok()?, input).map_err(failed).ok()
}

/// What a thread needs to classify pictures.
type Worker = (Reference, InferenceSession);

fn worker(model: &Model) -> Result<Worker, Error> {
    Ok((Reference::new(*model.transform())?, model.session(&Threads::one())?))
}

/// The model, ready to run.
///
/// # Errors
/// If the engine does not run it at its size.
pub fn compile(definition: Definition) -> Result<Model, Error> {
    let engine = Engine { backend: BackendChoice::Native, ..Engine::default() };
    Ok(Model::compile(definition, engine)?)
}

/// The accuracy of a model on the pictures of `set`, and what it says of each that can be read, in order.
///
/// # Errors
/// If the model cannot be run, or no picture can be used any more.
pub fn assess(definition: Definition, set: &Set) -> Result<(Test, Vec<Answer>), Error> {
    let model = compile(definition)?;
    let classify = |made: &mut Option<Worker>, (index, sample): (usize, &Sample)| {
        let (reference, session) = match made {
            Some(made) => made,
            None => made.insert(worker(&model)?),
        };
        if prepare(sample, reference, session.input()).is_none() {
            return Ok(None);
        }
        let all = session.infer(set.labels.len())?;
        let place = all.iter().position(|scored| scored.index == sample.class);
        let is_near = place.is_some_and(|place| place < TOP);
        let own = place.map_or(0.0, |place| all[place].score);
        let loss = -own.max(f32::MIN_POSITIVE).ln();
        let answer = |first: &Scored| Answer { sample: index, class: first.index, score: first.score, is_near, loss };
        Ok(all.first().map(answer))
    };
    let answers = set.samples.par_iter().enumerate().map_init(|| None, classify);
    let answers: Vec<Option<Answer>> = answers.collect::<Result<_, Error>>()?;
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    if answers.is_empty() {
        return Err(Error::NoTest { pictures: set.samples.len() });
    }
    let share = |right: usize| right as f64 / answers.len().max(1) as f64;
    let right = answers.iter().filter(|answer| answer.class == set.samples[answer.sample].class).count();
    let near = answers.iter().filter(|answer| answer.is_near).count();
    let loss = answers.iter().map(|answer| f64::from(answer.loss)).sum::<f64>() / answers.len() as f64;
    Ok((Test { pictures: answers.len(), top1: share(right), top5: share(near), loss: Some(loss) }, answers))
}
