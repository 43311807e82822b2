//! Checks that a model computes what it should, module by module on the seeded input: compares the backends with
//! 64-bit floating point and with a file of reference values.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Definition, Error};
use crate::engine::graph::{Graph, Shape};
use crate::engine::modules;
use crate::engine::plan;
use crate::engine::reference::{self, Map};
use crate::exit::Exit;
use crate::inference::native::NativePlan;
use crate::inference::tract::TractPlan;
use crate::inference::{self, Network as _};
use crate::kernels::runtime::Threads;
use crate::regular;
use crate::tensor::Tensor;
use crate::weights::seeded;

/// Maximum size of a reference file in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Reference values for the seeded input, computed elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reference {
    /// One case per input size.
    pub cases: Vec<Case>,
}

/// Reference values for one input size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Case {
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// All logits.
    pub logits: Vec<f64>,
    /// Statistics of module outputs, in order.
    #[serde(default)]
    pub stages: Vec<CaseStage>,
}

/// Reference statistics of a module's output.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CaseStage {
    /// Name of the module.
    pub module: String,
    /// Mean of all values.
    pub mean: f64,
    /// Standard deviation of all values.
    pub std: f64,
    /// The first values, in the order `[channels, height, width]`.
    pub first: Vec<f64>,
}

/// Why a reference file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The file cannot be read.
    #[error("cannot read the reference values in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content has the wrong form.
    #[error("{} holds no reference values: expected JSON with `cases` of `height`, `width`, `logits`", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There are no values for this input size.
    #[error("the reference values are for inputs of {sizes}, not {height}x{width}")]
    Size {
        /// The sizes that the file covers.
        sizes: String,
        /// Rows of the model's input.
        height: usize,
        /// Columns of the model's input.
        width: usize,
    },
    /// The values are for another number of classes.
    #[error("the reference values are for {found} classes, but the model has {classes}")]
    Classes {
        /// Number of logits in the file.
        found: usize,
        /// Number of classes of the model.
        classes: usize,
    },
}

impl ReferenceError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Content { .. } | Self::Size { .. } | Self::Classes { .. } => Exit::Data,
        }
    }
}

impl Reference {
    /// Reads the JSON file at `path`.
    ///
    /// # Errors
    /// [`ReferenceError::Unreadable`] and [`ReferenceError::Content`].
    pub fn read(path: &Path) -> Result<Self, ReferenceError> {
        let text = regular::read_text(path, MAX_BYTES);
        let text = text.map_err(|source| ReferenceError::Unreadable { path: path.to_owned(), source })?;
        serde_json::from_str(&text).map_err(|source| ReferenceError::Content { path: path.to_owned(), source })
    }

    /// The values for an input of `height × width` and `classes` classes.
    fn case(&self, height: usize, width: usize, classes: usize) -> Result<&Case, ReferenceError> {
        let fits = |case: &&Case| case.height == height && case.width == width;
        let case = self.cases.iter().find(fits).ok_or_else(|| {
            let sizes: Vec<String> = self.cases.iter().map(|case| format!("{}x{}", case.height, case.width)).collect();
            ReferenceError::Size { sizes: sizes.join(", "), height, width }
        })?;
        let found = case.logits.len();
        if found == classes { Ok(case) } else { Err(ReferenceError::Classes { found, classes }) }
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Name of the model.
    pub model: String,
    /// Identifies its weights.
    pub digest: String,
    /// Rows and columns of the input.
    pub input: [usize; 2],
    /// Differences up to this count as none.
    pub tolerance: f64,
    /// The modules in order; the last one gives the logits.
    pub stages: Vec<StageDifference>,
    /// tract compared with 64-bit floating point.
    pub float64: Summary,
    /// The native engine compared with 64-bit floating point, if it can run the network.
    pub native: Option<Summary>,
    /// tract compared with the reference file, if there is one.
    pub file: Option<Summary>,
}

/// The largest differences at the output of one module, relative to its largest value if that exceeds 1, because
/// rounding errors grow with the values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageDifference {
    /// Name of the module.
    pub name: String,
    /// Channels, rows and columns of its output.
    pub output: [usize; 3],
    /// tract compared with 64-bit floating point, over all values.
    pub float64: f64,
    /// The native engine compared with 64-bit floating point, if it can run the network.
    pub native: Option<f64>,
    /// tract compared with the statistics in the file, if it has any for this module.
    pub file: Option<f64>,
}

/// Summary of one comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The largest difference over all modules.
    pub largest: f64,
    /// The module with that difference.
    pub at: String,
    /// The first module with a difference above the tolerance, if any.
    pub first: Option<String>,
}

impl Verification {
    /// Whether no difference exceeds the tolerance.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.first().is_none()
    }

    /// The first module with a difference above the tolerance, if any.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        let all = [Some(&self.float64), self.native.as_ref(), self.file.as_ref()];
        all.into_iter().flatten().find_map(|summary| summary.first.as_deref())
    }
}

/// Runs the model on the seeded input and compares the outputs of its modules. `progress` receives the number of
/// modules done and the total.
///
/// # Errors
/// If the model cannot be built or run, or the file has no values for its input size and classes.
pub fn verify(
    definition: &Definition,
    file: Option<&Reference>,
    tolerance: f64,
    mut progress: impl FnMut(usize, usize),
) -> Result<Verification, Error> {
    let (height, width) = (definition.transform.height, definition.transform.width);
    let case = file.map(|file| file.case(height, width, definition.classes)).transpose();
    let case = case.map_err(|error| Error::Reference(error.into()))?;
    let graph = definition.graph()?;
    let input = seeded::tensor(height, width);
    let ends = modules::ends(&graph);
    let mut stages = Vec::with_capacity(ends.len());
    let mut todo = ends.iter().peekable();
    reference::run(&graph, &input, |id, expected| {
        let Some((name, _)) = todo.next_if(|(_, end)| *end == id) else { return Ok(()) };
        let part = graph.up_to(id)?;
        let native = native_values(&part, &input)?;
        let found = tract_values(part, &input)?;
        let is_last = id == graph.output();
        let unit = unit(&expected.values);
        let file = case.and_then(|case| if is_last { logits(case, &found) } else { figures(case, name, &found) });
        let file = file.map(|difference| difference / unit);
        let float64 = difference(&found, expected) / unit;
        let native = native.map(|native| difference(&native, expected) / unit);
        let Shape { height, width, channels } = expected.shape;
        let output = [channels, height, width];
        stages.push(StageDifference { name: name.clone(), output, float64, native, file });
        progress(stages.len(), ends.len());
        Ok::<(), Error>(())
    })?;
    let summary = |of: fn(&StageDifference) -> Option<f64>| {
        let differences = || stages.iter().filter_map(|stage| Some((stage, of(stage)?)));
        let (at, largest) = differences().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let first = differences().find(|(_, difference)| difference.is_nan() || *difference > tolerance);
        Some(Summary { largest, at: at.name.clone(), first: first.map(|(stage, _)| stage.name.clone()) })
    };
    let float64 = summary(|stage| Some(stage.float64));
    let float64 = float64.unwrap_or(Summary { largest: 0.0, at: String::new(), first: None });
    let (native, file) = (summary(|stage| stage.native), summary(|stage| stage.file));
    let (model, digest) = (definition.name().to_owned(), definition.digest());
    Ok(Verification { model, digest, input: [height, width], tolerance, stages, float64, native, file })
}

/// The native engine's output: `[channels, height, width]`. `None` if it cannot run the network.
fn native_values(graph: &Graph, input: &Tensor) -> Result<Option<Vec<f32>>, inference::Error> {
    match NativePlan::compile(graph.clone(), input.height(), input.width(), plan::PlanOptions::default()) {
        Ok(plan) => Ok(Some(plan.network(&Threads::one())?.infer(input)?.to_vec())),
        Err(plan::Error::Unsupported { .. }) => Ok(None),
        Err(error) => Err(inference::Error::Native(error)),
    }
}

/// tract's output: `[channels, height, width]`.
fn tract_values(graph: Graph, input: &Tensor) -> Result<Vec<f32>, inference::Error> {
    let plan = TractPlan::compile(graph, input.height(), input.width())?;
    Ok(plan.network()?.infer(input)?.to_vec())
}

/// The unit of differences: the largest magnitude of the values, at least 1.
fn unit(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |most, value| most.max(value.abs()))
}

/// The largest of the differences; NaN if any of them is NaN.
fn largest(differences: impl Iterator<Item = f64>) -> f64 {
    differences.fold(0.0, |most, difference| if difference > most || difference.is_nan() { difference } else { most })
}

fn difference(found: &[f32], expected: &Map) -> f64 {
    largest(found.iter().zip(&expected.values).map(|(&found, expected)| (f64::from(found) - expected).abs()))
}

fn logits(case: &Case, found: &[f32]) -> Option<f64> {
    let expected = case.logits.iter();
    Some(largest(found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs())))
}

/// The largest difference in mean, standard deviation and first values.
fn figures(case: &Case, name: &str, found: &[f32]) -> Option<f64> {
    let stage = case.stages.iter().find(|stage| stage.module == name)?;
    let count = found.len() as f64;
    let mean = found.iter().copied().map(f64::from).sum::<f64>() / count;
    let variance = found.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let found = found.iter().copied().map(f64::from).take(stage.first.len()).chain([mean, variance.sqrt()]);
    let expected = stage.first.iter().copied().chain([stage.mean, stage.std]);
    Some(largest(found.zip(expected).map(|(found, expected)| (found - expected).abs())))
}
