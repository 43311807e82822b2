//! Selects the best classes from the logits of a network.

use std::sync::Arc;

use super::{Error, Network, Ranked, top_k};
use crate::engine::import::Scores;
use crate::record::{Scored, TopClasses};
use crate::tensor::TensorMut;

/// Turns logits into named classes. Its buffers are reused.
#[derive(Debug)]
pub struct ClassHead {
    labels: Arc<[Arc<str>]>,
    scores: Scores,
    best: Vec<Ranked>,
}

impl ClassHead {
    /// A head for classes with these names, and a network with these outputs.
    #[must_use]
    pub fn new(labels: Arc<[Arc<str>]>, scores: Scores) -> Self {
        Self { labels, scores, best: Vec::new() }
    }

    /// The `top` best classes of the network's `values`, best first. A class without a name is named by its number.
    pub fn best(&mut self, values: &[f32], top: usize) -> TopClasses {
        top_k(values, self.scores, top, &mut self.best);
        let scored = |&Ranked { index, score }: &Ranked| {
            let label = self.labels.get(index).map_or_else(|| format!("class {index}").into(), Arc::clone);
            Scored { index, label, score }
        };
        self.best.iter().map(scored).collect()
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
