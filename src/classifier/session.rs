//! One thread's way from a prepared input to the best classes.

use std::sync::Arc;

use super::{Classifier, Error, Model, Ranked, top_k};
use crate::kernels::runtime::Threads;
use crate::record::Scored;
use crate::tensor::Tensor;

/// A classifier with the buffers that it reads and writes, used again for every picture.
pub struct ModelSession {
    model: Arc<Model>,
    classifier: Box<dyn Classifier>,
    input: Tensor,
    logits: Vec<f32>,
    best: Vec<Ranked>,
}

impl ModelSession {
    /// A session for one user at a time, whose inferences take `threads`. The network runs once, on zeros,
    /// so that the first picture finds everything in place.
    ///
    /// # Errors
    /// The back end fails, or the threads cannot be started.
    pub fn new(model: Arc<Model>, threads: &Threads) -> Result<Self, Error> {
        let (height, width) = model.input();
        let mut classifier = model.classifier(threads)?;
        let input = Tensor::zeros(height, width, 3);
        let mut logits = vec![0.0; model.classes()];
        classifier.infer(&input, &mut logits)?;
        Ok(Self { model, classifier, input, logits, best: Vec::new() })
    }

    /// The input, to be filled with a picture: normalised RGB of the model's height and width.
    pub fn input(&mut self) -> &mut Tensor {
        &mut self.input
    }

    /// Runs the network on the input: the `top` best classes, best first.
    ///
    /// # Errors
    /// The back end fails.
    pub fn infer(&mut self, top: usize) -> Result<Vec<Scored>, Error> {
        self.classifier.infer(&self.input, &mut self.logits)?;
        top_k(&self.logits, top, &mut self.best);
        let labels = self.model.labels();
        let scored = |&Ranked { index, score }: &Ranked| {
            let label = labels.get(index).map_or_else(|| format!("class {index}").into(), Arc::clone);
            Scored { index, label, score }
        };
        Ok(self.best.iter().map(scored).collect())
    }
}
