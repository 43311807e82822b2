//! How pictures are prepared for a network whose file does not say so in hardnetd's own metadata.
//!
//! In this order: what the user asks for; a file beside the network, `NAME.onnx.toml`; the ONNX file's metadata `mean`,
//! `std` and `crop_ratio`; `preprocessor_config.json` beside it, as Hugging Face's Transformers write it; and ImageNet's
//! values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::Error;
use super::definition::resized;
use crate::config::{parse_mean, parse_size, parse_std};
use crate::preprocess::{Preprocessor, Transform};
use crate::regular;

/// Maximum size of a file of settings.
const LARGEST: u64 = 1 << 20;

/// What is known of the preprocessing; `None`: as otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Preprocessing {
    /// Mean of R, G and B, from 0 to 1.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of R, G and B, above 0.
    pub std: Option<[f32; 3]>,
    /// Share of the resized picture's shorter side that the longer side of the crop takes, above 0, at most 1.
    pub crop_ratio: Option<f64>,
    /// Rows and columns of the input.
    pub size: Option<[usize; 2]>,
}

/// Why a file with preprocessing settings is unusable.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessingError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    /// It is not TOML, or has other keys.
    #[error("expected the keys mean, std, crop_ratio and size")]
    Toml(#[from] toml::de::Error),
    /// It is not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// A value is out of range.
    #[error("{key} = {value}: expected {expected}")]
    Value {
        /// Its key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
}

const MEAN: &str = "one number from 0 to 1, or three of them for R, G and B";
const STD: &str = "one number above 0 and at most 1, or three of them for R, G and B";
const RATIO: &str = "a number from 0.1 to 1";
const SIZE: &str = "rows and columns from 32 to 8192, such as \"224x224\"";

/// Allowed crop ratios, as in the configuration.
const RATIOS: std::ops::RangeInclusive<f64> = 0.1..=1.0;

/// `NAME.onnx.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    mean: Option<toml::Value>,
    std: Option<toml::Value>,
    crop_ratio: Option<toml::Value>,
    size: Option<toml::Value>,
}

impl Preprocessing {
    /// For a network that takes bytes: a picture's own values, from 0 to 255.
    pub(super) const BYTES: Self =
        Self { mean: Some([0.0; 3]), std: Some([1.0 / 255.0; 3]), crop_ratio: None, size: None };

    /// `self`, completed by `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
            crop_ratio: self.crop_ratio.or(other.crop_ratio),
            size: self.size.or(other.size),
        }
    }

    /// `transform` with these settings.
    ///
    /// # Errors
    /// If they are out of range.
    pub(super) fn apply(&self, mut transform: Transform) -> Result<Transform, Error> {
        if let Some(size) = self.size {
            transform = resized(&transform, size)?;
        }
        if let Some(ratio) = self.crop_ratio {
            // Casts of floats to integers saturate, and the check rejects values that are too large.
            let crop = transform.height.max(transform.width);
            transform.resize = ((crop as f64 / ratio).round() as usize).max(crop);
        }
        transform.mean = self.mean.unwrap_or(transform.mean);
        transform.std = self.std.unwrap_or(transform.std);
        Preprocessor::new(transform).map_err(Error::Transform)?;
        Ok(transform)
    }

    /// What the files beside the ONNX file at `path`, and its own `metadata`, say.
    ///
    /// # Errors
    /// If one of them is there and unusable.
    pub(super) fn of_onnx(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Self, Error> {
        let sidecar = path.with_added_extension("toml");
        let config = path.with_file_name("preprocessor_config.json");
        let unusable = |path: PathBuf| {
            move |source: PreprocessingError| Error::Preprocessing { path: path.clone(), source: Box::new(source) }
        };
        let tell = |path: &Path, said: Self| {
            if said != Self::default() {
                tracing::info!("{} says how pictures are prepared", path.display());
            }
            said
        };
        let mut found = Self::default();
        if sidecar.exists() {
            found = tell(&sidecar, Self::of_sidecar(&sidecar).map_err(unusable(sidecar.clone()))?);
        }
        found = found.or(Self::of_metadata(metadata).map_err(unusable(path.to_owned()))?);
        if config.exists() {
            found = found.or(tell(&config, Self::of_transformers(&config).map_err(unusable(config.clone()))?));
        }
        Ok(found)
    }

    /// What is assumed of the preprocessing for the ONNX file at `path`, as text for the log; `None` if nothing is.
    pub(super) fn assumed(&self, path: &Path) -> Option<String> {
        let missing = match (self.mean, self.std) {
            (Some(_), Some(_)) => return None,
            (None, None) => "mean and standard deviation",
            (None, Some(_)) => "mean",
            (Some(_), None) => "standard deviation",
        };
        let sidecar = path.with_added_extension("toml");
        Some(format!(
            "{} does not say how pictures are normalised: the {missing} are those of ImageNet. If that is wrong, give --mean \
             and --std, set model.mean and model.std, or write them into {}",
            path.display(),
            sidecar.display()
        ))
    }

    fn of_sidecar(path: &Path) -> Result<Self, PreprocessingError> {
        let text = regular::read_text(path, LARGEST)?;
        let Sidecar { mean, std, crop_ratio, size } = toml::from_str(&text)?;
        let text = |value: toml::Value| match value {
            toml::Value::String(text) => text,
            value => value.to_string(),
        };
        Self::of_texts(mean.map(text), std.map(text), crop_ratio.map(text), size.map(text))
    }

    fn of_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, PreprocessingError> {
        let text = |key: &str| metadata.get(key).cloned();
        Self::of_texts(text("mean"), text("std"), text("crop_ratio"), None)
    }

    fn of_texts(
        mean: Option<String>,
        std: Option<String>,
        crop_ratio: Option<String>,
        size: Option<String>,
    ) -> Result<Self, PreprocessingError> {
        fn each<T>(
            text: Option<String>,
            key: &'static str,
            expected: &'static str,
            parse: impl Fn(&str) -> Option<T>,
        ) -> Result<Option<T>, PreprocessingError> {
            let Some(value) = text else { return Ok(None) };
            let parsed = parse(value.trim().trim_start_matches('[').trim_end_matches(']'));
            parsed.map(Some).ok_or(PreprocessingError::Value { key, value, expected })
        }
        let ratio = |text: &str| text.parse().ok().filter(|ratio| RATIOS.contains(ratio));
        Ok(Self {
            mean: each(mean, "mean", MEAN, parse_mean)?,
            std: each(std, "std", STD, parse_std)?,
            crop_ratio: each(crop_ratio, "crop_ratio", RATIO, ratio)?,
            size: each(size, "size", SIZE, parse_size)?,
        })
    }

    /// `preprocessor_config.json` (Hugging Face Transformers, "Image Processor"): `image_mean`, `image_std`,
    /// `rescale_factor`; `size` and `crop_size` as a number, or with `shortest_edge`, or `height` and `width`;
    /// `crop_pct`.
    fn of_transformers(path: &Path) -> Result<Self, PreprocessingError> {
        let config: Value = serde_json::from_str(&regular::read_text(path, LARGEST)?)?;
        let is_on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(true);
        let colours = |key: &'static str| match config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let numbers: Option<Vec<f64>> = match value {
                    Value::Array(all) => all.iter().map(Value::as_f64).collect(),
                    one => one.as_f64().map(|number| vec![number; 3]),
                };
                let three = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
                let wrong = || PreprocessingError::Value { key, value: value.to_string(), expected: "three numbers" };
                three.map(Some).ok_or_else(wrong)
            }
        };
        let (mut mean, mut std) = (colours("image_mean")?, colours("image_std")?);
        if !is_on("do_normalize") {
            (mean, std) = (Some([0.0; 3]), Some([1.0; 3]));
        }
        // Values are from 0 to 1 here, and from 0 to 255 times this factor there.
        let factor = match is_on("do_rescale") {
            true => config.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0),
            false => 1.0,
        };
        let scale = factor * 255.0;
        let scaled = |values: [f64; 3]| values.map(|value| (value / scale) as f32);
        let side = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64);
        let shortest = |key: &str| {
            let value = config.get(key)?;
            let both = side(value, "height").zip(side(value, "width")).map(|(height, width)| height.min(width));
            value.as_u64().or_else(|| side(value, "shortest_edge")).or(both)
        };
        let crops = config.get("do_center_crop").and_then(Value::as_bool).unwrap_or(config.get("crop_size").is_some());
        let crop_ratio = match (config.get("crop_pct").and_then(Value::as_f64), shortest("size"), shortest("crop_size"))
        {
            (Some(ratio), ..) => Some(ratio),
            (None, Some(size), Some(crop)) if crops => Some(crop as f64 / size as f64),
            (None, Some(_), _) => Some(1.0),
            _ => None,
        };
        if let Some(ratio) = crop_ratio.filter(|ratio| !RATIOS.contains(ratio)) {
            return Err(PreprocessingError::Value { key: "crop_pct", value: ratio.to_string(), expected: RATIO });
        }
        let (mean, std) = (mean.map(scaled), std.map(scaled));
        let is_usable = |values: [f32; 3]| values.iter().all(|value| value.is_finite());
        if !mean.is_none_or(is_usable) || !std.is_none_or(|std| is_usable(std) && std.iter().all(|value| *value > 0.0))
        {
            let value = format!("{mean:?}, image_std = {std:?}");
            let expected = "finite numbers, with deviations above 0";
            return Err(PreprocessingError::Value { key: "image_mean", value, expected });
        }
        Ok(Self { mean, std, crop_ratio, size: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    fn of(files: &[(&str, &str)], metadata: &[(&str, &str)]) -> Result<Preprocessing, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Preprocessing::of_onnx(&folder.path().join("net.onnx"), &metadata)
    }

    const HALF: Option<[f32; 3]> = Some([0.5; 3]);

    #[test]
    fn what_lies_nearest_counts() {
        assert_eq!(of(&[], &[]).unwrap(), Preprocessing::default());
        let said = [("mean", "[0.5, 0.5, 0.5]"), ("std", "0.5"), ("crop_ratio", "0.9")];
        let metadata = Preprocessing { mean: HALF, std: HALF, crop_ratio: Some(0.9), size: None };
        assert_eq!(of(&[], &said).unwrap(), metadata);
        let sidecar = ("net.onnx.toml", "mean = [0.1, 0.2, 0.3]\ncrop_ratio = 1.0\nsize = \"64x96\"\n");
        let both =
            Preprocessing { mean: Some([0.1, 0.2, 0.3]), crop_ratio: Some(1.0), size: Some([64, 96]), ..metadata };
        assert_eq!(of(&[sidecar, ("preprocessor_config.json", "{\"image_mean\":0.7}")], &said).unwrap(), both);
    }

    #[test]
    fn transformers_configurations_are_read() {
        let read = |text: &str| of(&[("preprocessor_config.json", text)], &[]).unwrap();
        let convnext = r#"{"crop_pct":0.875,"do_normalize":true,"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5],
                           "size":{"shortest_edge":224}}"#;
        assert_eq!(read(convnext), Preprocessing { mean: HALF, std: HALF, crop_ratio: Some(0.875), size: None });
        let resnet = r#"{"do_center_crop":true,"size":{"shortest_edge":256},"crop_size":{"height":224,"width":224}}"#;
        assert_eq!(read(resnet), Preprocessing { crop_ratio: Some(0.875), ..Preprocessing::default() });
        let vit = r#"{"size":{"height":224,"width":224},"rescale_factor":0.00784313725490196,
                      "image_mean":[1,1,1],"image_std":[1,1,1]}"#;
        assert_eq!(read(vit), Preprocessing { mean: HALF, std: HALF, crop_ratio: Some(1.0), size: None });
        let none = read(r#"{"do_normalize":false}"#);
        assert_eq!((none.mean, none.std), (Some([0.0; 3]), Some([1.0; 3])));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        for (file, metadata, part) in [
            (("net.onnx.toml", "mean = 2.0"), [].as_slice(), "mean = 2.0: expected one number from 0 to 1"),
            (("net.onnx.toml", "size = \"9x9\""), &[], "size = 9x9: expected rows and columns"),
            (("net.onnx.toml", "means = 1"), &[], "expected the keys mean, std"),
            (("preprocessor_config.json", "["), &[], "it is not JSON"),
            (("preprocessor_config.json", "{\"image_std\":[1]}"), &[], "image_std = [1]: expected three"),
            (("net.onnx.toml", "crop_ratio = 0.01"), &[], "crop_ratio = 0.01: expected a number from 0.1"),
            (("preprocessor_config.json", "{\"crop_pct\":1e-300}"), &[], "expected a number from 0.1 to 1"),
            (("preprocessor_config.json", "{\"rescale_factor\":0,\"image_mean\":0.5}"), &[], "expected finite numbers"),
            (("other", ""), &[("std", "0")], "std = 0: expected one number above 0"),
        ] {
            let error = of(&[file], metadata).unwrap_err();
            assert_eq!(error.exit(), crate::exit::Exit::Data);
            let text = crate::exit::chain(&error);
            assert!(text.contains(part), "{text}");
        }
    }
}
