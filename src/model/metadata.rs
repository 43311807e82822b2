//! A model file's description of its model: one JSON object under [`KEY`], in the metadata of a safetensors or ONNX
//! file.
//!
//! ```json
//! {"schema":"hardnetd.model.v1",
//!  "architecture":{"name":"hardnet39ds","stem":[24,48],…},
//!  "classes":2,"labels":["cat","dog"],
//!  "input":{"height":224,"width":224,"resize":256,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]},
//!  "training":"trained",
//!  "source":{"file":"cats.pth","sha256":"…"}}
//! ```
//!
//! The input of a model that looks at a part of the picture also has its `region`: x, y, width and height in shares of the
//! picture's sides. The source of published weights also has `published` (`authors`, `github` or `paddleclas`) and `trained_by` (`authors`
//! or `PaddleClas`).

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::choice::WeightSource;
use crate::config::SIDES;
use crate::exit::Exit;
use crate::frame::Region;
use crate::hardnet::{Architecture, Trainer};
use crate::preprocess::{self, Preprocessor, Transform};

/// Key of the metadata in a file.
pub const KEY: &str = "hardnetd.model";

/// Key of the progress in the state of a training, which is no model.
pub const TRAINING: &str = "hardnetd.training";

/// Maximum size of metadata in bytes: half of the header of a safetensors file, in which quotes take two bytes.
const MAX_LENGTH: usize = 1 << 22;

/// The only supported schema.
const SCHEMA: &str = "hardnetd.model.v1";

/// Allowed numbers of classes.
pub const CLASS_COUNTS: RangeInclusive<usize> = 1..=1_000_000;

/// Whether the weights have been trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Training {
    /// Seeded weights: reproducible and meaningless.
    Seeded,
    /// Trained, except for the head, which has seeded weights.
    HeadUntrained,
    /// Fully trained.
    Trained,
}

impl Training {
    /// What users must know if results are meaningless.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Seeded => Some(
                "the weights are untrained (reproducible random numbers): labels and scores mean nothing until you \
                 load trained ones: `hardnetd model fetch NAME`, then --model NAME.safetensors",
            ),
            Self::HeadUntrained => {
                Some("the head of the model is untrained: labels and scores mean nothing until it is trained")
            }
            Self::Trained => None,
        }
    }

    /// What is known of the training of weights from `source`, such as `trained by PaddleClas, source paddleclas`.
    #[must_use]
    pub fn text(self, source: Option<&Source>) -> String {
        match source {
            Some(Source { published: Some(published), trained_by: Some(trainer), .. }) if self == Self::Trained => {
                format!("{self} by {trainer}, source {published}")
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Training {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seeded => "seeded weights, untrained",
            Self::HeadUntrained => "head untrained",
            Self::Trained => "trained",
        })
    }
}

/// The file that a model was imported from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the file, without its folder.
    pub file: String,
    /// SHA-256 of its content, 64 hexadecimal digits.
    pub sha256: String,
    /// Where it was published, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<WeightSource>,
    /// Who trained the published weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_by: Option<Trainer>,
}

/// How pictures are converted to inputs: the stored form of [`Transform`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    height: usize,
    width: usize,
    resize: usize,
    mean: [f32; 3],
    std: [f32; 3],
    /// x, y, width and height in shares of the picture's sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<[f64; 4]>,
}

/// A model file's description of its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The network.
    pub architecture: Architecture,
    /// Number of classes.
    pub classes: usize,
    /// Names of all classes; `None`: the default names for that number of classes.
    pub labels: Option<Vec<String>>,
    /// How pictures are converted to inputs.
    pub transform: Transform,
    /// Whether the weights have been trained.
    pub training: Training,
    /// Where the weights come from.
    pub source: Option<Source>,
}

/// The stored form of [`Metadata`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: String,
    architecture: Architecture,
    classes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
    input: Input,
    training: Training,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

/// Why metadata is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON, or has the wrong fields or types.
    #[error("the metadata `{KEY}` is damaged")]
    Json(#[from] serde_json::Error),
    /// It is too long.
    #[error("the metadata `{KEY}` has {length} bytes, but at most {MAX_LENGTH} are read")]
    Long {
        /// Its length in bytes.
        length: usize,
    },
    /// It has another schema.
    #[error("the metadata has the schema {found:?}, but this version of hardnetd supports {SCHEMA:?}")]
    Schema {
        /// The schema.
        found: String,
    },
    /// Values are out of range.
    #[error("the metadata is wrong: {}", problems.join("; "))]
    Values {
        /// Everything that is wrong.
        problems: Vec<String>,
    },
    /// Its preprocessing settings are not supported.
    #[error("the metadata is wrong")]
    Transform(#[from] preprocess::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Data
    }
}

impl Metadata {
    /// Parses the metadata in `text`.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH {
            return Err(Error::Long { length: text.len() });
        }
        // The schema first: a later one may have other fields.
        let value: serde_json::Value = serde_json::from_str(text)?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            None | Some(SCHEMA) => {}
            Some(found) => return Err(Error::Schema { found: found.to_owned() }),
        }
        let Stored { schema: _, architecture, classes, labels, input, training, source } =
            serde_json::from_value(value)?;
        let mut problems = architecture.problems();
        if let Some(labels) = &labels
            && labels.len() != classes
        {
            problems.push(format!("there are {} labels for {classes} classes", labels.len()));
        }
        if !CLASS_COUNTS.contains(&classes) {
            problems.push(format!("{classes} classes: expected 1 to {}", CLASS_COUNTS.end()));
        }
        let Input { height, width, resize, mean, std, region } = input;
        if ![height, width].iter().all(|side| SIDES.contains(side)) {
            let (least, most) = (SIDES.start(), SIDES.end());
            problems.push(format!("the input is {height}x{width}: expected sides from {least} to {most}"));
        }
        let region = region.map(Region::new).transpose().unwrap_or_else(|error| {
            problems.push(format!("the region of the input: {error}"));
            None
        });
        if !problems.is_empty() {
            return Err(Error::Values { problems });
        }
        let transform = Transform { resize, height, width, mean, std, region };
        Preprocessor::new(transform)?;
        Ok(Self { architecture, classes, labels, transform, training, source })
    }

    /// The metadata in the form that [`parse`](Self::parse) reads.
    ///
    /// # Errors
    /// [`Error::Json`] if a number cannot be represented in JSON.
    pub fn text(&self) -> Result<String, Error> {
        let Transform { resize, height, width, mean, std, region } = self.transform;
        Ok(serde_json::to_string(&Stored {
            schema: SCHEMA.to_owned(),
            architecture: self.architecture.clone(),
            classes: self.classes,
            labels: self.labels.clone(),
            input: Input { height, width, resize, mean, std, region: region.map(|region| region.shares()) },
            training: self.training,
            source: self.source.clone(),
        })?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::hardnet::ARCHITECTURES;

    fn metadata() -> Metadata {
        Metadata {
            architecture: ARCHITECTURES[3].clone(),
            classes: 2,
            labels: Some(vec!["cat".into(), "dog".into()]),
            transform: Transform {
                resize: 300,
                height: 256,
                width: 288,
                mean: [0.5; 3],
                std: [0.25, 0.3, 0.1],
                region: Some(Region::new([0.25, 0.5, 0.5, 0.375]).unwrap()),
            },
            training: Training::HeadUntrained,
            source: Some(Source {
                file: "a.pth".into(),
                sha256: "00".into(),
                published: Some(WeightSource::Github),
                trained_by: Some(Trainer::Authors),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let full = metadata();
        let plain = Source { file: "a.pth".into(), sha256: "00".into(), published: None, trained_by: None };
        let own = Metadata { source: Some(plain), ..metadata() };
        assert!(own.text().unwrap().contains("\"source\":{\"file\":\"a.pth\",\"sha256\":\"00\"}"));
        let transform = Transform { region: None, ..metadata().transform };
        let bare = Metadata { labels: None, source: None, training: Training::Trained, transform, ..metadata() };
        assert!(!bare.text().unwrap().contains("region"));
        for metadata in [full, own, bare] {
            assert_eq!(Metadata::parse(&metadata.text().unwrap()).unwrap(), metadata);
        }
    }

    #[test]
    fn wrong_metadata_is_refused_with_all_that_is_wrong() {
        let text = metadata().text().unwrap();
        let wrong = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} is not in {text}");
            Metadata::parse(&text.replace(from, to)).unwrap_err()
        };
        let error = wrong("\"height\":256", "\"height\":8").to_string();
        assert!(error.contains("8x288: expected sides from 32 to 8192"), "{error}");
        let error = wrong("\"classes\":2", "\"classes\":0").to_string();
        assert!(error.contains("2 labels for 0 classes; 0 classes: expected 1 to 1000000"), "{error}");
        let error = wrong("0.5,0.375]", "0.5,1.0]").to_string();
        assert!(error.contains("the region of the input: y + height is 1.5"), "{error}");
        assert!(matches!(wrong("model.v1", "model.v2"), Error::Schema { .. }));
        assert!(matches!(wrong("\"classes\"", "\"klasses\""), Error::Json(_)));
        assert!(matches!(wrong("\"resize\":300", "\"resize\":200"), Error::Transform(_)));
        assert!(matches!(wrong("0.3,", "0.0,"), Error::Transform(_)));
        assert!(matches!(wrong("[48,96]", "[0,96]"), Error::Values { .. }));
        assert!(matches!(Metadata::parse("[]"), Err(Error::Json(_))));
    }
}
