//! Selects the best classes from the logits of a network.

use std::sync::Arc;

use super::{Error, Network, Ranked, Scratch, TaughtHead, top_k};
use crate::engine::import::Scores;
use crate::record::{Scored, TopClasses};
use crate::tensor::TensorMut;

/// The label of a picture that is unlike all that a model has been taught.
pub const UNKNOWN: &str = "unknown";

/// Turns the output of a network into named classes. Its buffers are reused.
#[derive(Debug)]
pub struct ClassHead {
    labels: Arc<[Arc<str>]>,
    scores: Scores,
    best: Vec<Ranked>,
    taught: Option<Taught>,
}

/// The part of a head that a taught model has.
#[derive(Debug)]
struct Taught {
    head: Arc<TaughtHead>,
    unknown: Arc<str>,
    scratch: Scratch,
}

impl ClassHead {
    /// A head for classes with these names, and a network with these outputs.
    #[must_use]
    pub fn new(labels: Arc<[Arc<str>]>, scores: Scores) -> Self {
        Self { labels, scores, best: Vec::new(), taught: None }
    }

    /// A head for classes with these names, and a network whose output are features.
    #[must_use]
    pub fn taught(labels: Arc<[Arc<str>]>, head: Arc<TaughtHead>) -> Self {
        let taught = Taught { head, unknown: UNKNOWN.into(), scratch: Scratch::default() };
        Self { labels, scores: Scores::Logits, best: Vec::new(), taught: Some(taught) }
    }

    /// The `top` best classes of the network's `values`, best first. A class without a name is named by its number.
    ///
    /// If a taught model does not know the picture, [`UNKNOWN`] comes first, with the number after those of the classes.
    /// Its score is `d / (d + t)` for the distance `d` and the threshold `t`, from 0.5 to 1; the classes share the rest in
    /// the proportions of their own scores.
    pub fn best(&mut self, values: &[f32], top: usize) -> TopClasses {
        let mut unknown = None;
        match &mut self.taught {
            None => top_k(values, self.scores, top, &mut self.best),
            Some(Taught { head, unknown: label, scratch }) => {
                let (distance, threshold) = (head.novelty.distance(values, scratch), head.novelty.threshold);
                let is_known = distance <= threshold;
                let others = if is_known { top } else { top.saturating_sub(1) };
                top_k(head.logits(values, scratch), self.scores, others, &mut self.best);
                if !is_known && top > 0 {
                    // What is no number is as far as can be.
                    let score = if distance.is_finite() { distance / (distance + threshold) } else { 1.0 };
                    self.best.iter_mut().for_each(|ranked| ranked.score *= 1.0 - score);
                    unknown = Some(Scored { index: head.classes(), label: Arc::clone(label), score });
                }
            }
        }
        let scored = |&Ranked { index, score }: &Ranked| {
            let label = self.labels.get(index).map_or_else(|| format!("class {index}").into(), Arc::clone);
            Scored { index, label, score }
        };
        unknown.into_iter().chain(self.best.iter().map(scored)).collect()
    }
}

/// A network and its head, for one picture at a time.
pub struct InferenceSession {
    network: Box<dyn Network>,
    head: ClassHead,
}

impl InferenceSession {
    /// Makes a session. The network runs once, on zeros, so that everything is in place for the first picture.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn new(mut network: Box<dyn Network>, head: ClassHead) -> Result<Self, Error> {
        network.input().data_mut().fill(0.0);
        network.run()?;
        Ok(Self { network, head })
    }

    /// The input, to be filled before each inference: normalised RGB with the network's height and width.
    pub fn input(&mut self) -> TensorMut<'_> {
        self.network.input()
    }

    /// Runs the network on the input and returns the `top` best classes, best first.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn infer(&mut self, top: usize) -> Result<TopClasses, Error> {
        self.network.run()?;
        let logits = self.network.outputs().first().ok_or(Error::NoOutput)?;
        Ok(self.head.best(&logits.values, top))
    }
}
