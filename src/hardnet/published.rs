//! The published weights: where they are, who trained them, and what accuracy was published with them.
//!
//! From the official PyTorch implementation (<https://github.com/PingoLH/Pytorch-HarDNet>: the addresses in `hardnet.py`,
//! and the files beside it), and from PaddleClas (<https://github.com/PaddlePaddle/PaddleClas>:
//! `ppcls/arch/backbone/model_zoo/hardnet.py` and its table of ImageNet models), which has trained the same networks
//! itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::choice::WeightSource;
use crate::weights::digest::Check;

/// Who trained published weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trainer {
    /// The authors of HarDNet.
    #[serde(rename = "authors")]
    Authors,
    /// PaddleClas, the classification suite of PaddlePaddle.
    PaddleClas,
}

impl fmt::Display for Trainer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Authors => "the authors",
            Self::PaddleClas => "PaddleClas",
        })
    }
}

/// A published weight file of a network, trained on ImageNet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// Name of the architecture.
    #[serde(skip)]
    pub name: &'static str,
    /// Where the file is.
    pub source: WeightSource,
    /// Who trained the weights.
    pub trained_by: Trainer,
    /// Share of ImageNet's validation pictures, in percent, whose class is the first result, as published.
    pub top1: f64,
    /// The same for the first five results.
    pub top5: f64,
    /// URL of the file.
    pub url: &'static str,
    /// Name of the downloaded file, different for every source.
    #[serde(skip)]
    pub file: &'static str,
    /// What the file's digest must be, if that is published.
    #[serde(skip)]
    pub check: Option<Check<'static>>,
}

impl Published {
    /// The source, in words.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match self.source {
            WeightSource::Authors => "the authors' server",
            WeightSource::Github => "the authors' repository on GitHub",
            WeightSource::Paddleclas => "PaddleClas's server",
        }
    }
}

/// What the files on the authors' server have in common.
const AUTHORS: Published = Published {
    name: "",
    source: WeightSource::Authors,
    trained_by: Trainer::Authors,
    top1: 0.0,
    top5: 0.0,
    url: "",
    file: "",
    check: None,
};

/// What the files in the authors' repository have in common.
const GITHUB: Published = Published { source: WeightSource::Github, ..AUTHORS };

/// What the files of PaddleClas have in common.
const PADDLECLAS: Published =
    Published { source: WeightSource::Paddleclas, trained_by: Trainer::PaddleClas, ..AUTHORS };

/// The published files, in the order of the architectures; those of one architecture in the order in which they are
/// tried. hardnet85 is not in the authors' repository.
pub static PUBLISHED: [Published; 11] = [
    Published {
        name: "hardnet39ds",
        url: "https://ping-chao.com/hardnet/hardnet39ds-0e6c6fa9.pth",
        file: "hardnet39ds-0e6c6fa9.pth",
        check: Some(Check::Sha256("0e6c6fa9")),
        top1: 72.08,
        top5: 90.43,
        ..AUTHORS
    },
    Published {
        name: "hardnet39ds",
        url: "https://raw.githubusercontent.com/PingoLH/Pytorch-HarDNet/de9662f30ffa7474c8a24b4bceb38b49be0903a0/hardnet39ds.pth",
        file: "hardnet39ds-github.pth",
        check: Some(Check::GitBlob("5b99f2587b2f28687aef03f8cf1c00dbb7c73294")),
        top1: 72.08,
        top5: 90.43,
        ..GITHUB
    },
    Published {
        name: "hardnet39ds",
        url: "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/HarDNet39_ds_pretrained.pdparams",
        file: "hardnet39ds-paddleclas.pdparams",
        top1: 71.33,
        top5: 89.98,
        ..PADDLECLAS
    },
    Published {
        name: "hardnet68ds",
        url: "https://ping-chao.com/hardnet/hardnet68ds-632474d2.pth",
        file: "hardnet68ds-632474d2.pth",
        check: Some(Check::Sha256("632474d2")),
        top1: 74.29,
        top5: 91.87,
        ..AUTHORS
    },
    Published {
        name: "hardnet68ds",
        url: "https://raw.githubusercontent.com/PingoLH/Pytorch-HarDNet/de9662f30ffa7474c8a24b4bceb38b49be0903a0/hardnet68ds.pth",
        file: "hardnet68ds-github.pth",
        check: Some(Check::GitBlob("f036deac5ad828a7838dc8101cd66112bcb55ec0")),
        top1: 74.29,
        top5: 91.87,
        ..GITHUB
    },
    Published {
        name: "hardnet68ds",
        url: "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/HarDNet68_ds_pretrained.pdparams",
        file: "hardnet68ds-paddleclas.pdparams",
        top1: 73.62,
        top5: 91.52,
        ..PADDLECLAS
    },
    Published {
        name: "hardnet68",
        url: "https://ping-chao.com/hardnet/hardnet68-5d684880.pth",
        file: "hardnet68-5d684880.pth",
        check: Some(Check::Sha256("5d684880")),
        top1: 76.48,
        top5: 93.01,
        ..AUTHORS
    },
    Published {
        name: "hardnet68",
        url: "https://raw.githubusercontent.com/PingoLH/Pytorch-HarDNet/de9662f30ffa7474c8a24b4bceb38b49be0903a0/hardnet68.pth",
        file: "hardnet68-github.pth",
        check: Some(Check::GitBlob("1cf247ba4935866c16d0f02c886797f860fb1366")),
        top1: 76.48,
        top5: 93.01,
        ..GITHUB
    },
    Published {
        name: "hardnet68",
        url: "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/HarDNet68_pretrained.pdparams",
        file: "hardnet68-paddleclas.pdparams",
        top1: 75.46,
        top5: 92.65,
        ..PADDLECLAS
    },
    Published {
        name: "hardnet85",
        url: "https://ping-chao.com/hardnet/hardnet85-a28faa00.pth",
        file: "hardnet85-a28faa00.pth",
        check: Some(Check::Sha256("a28faa00")),
        top1: 78.04,
        top5: 93.89,
        ..AUTHORS
    },
    Published {
        name: "hardnet85",
        url: "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/HarDNet85_pretrained.pdparams",
        file: "hardnet85-paddleclas.pdparams",
        top1: 77.44,
        top5: 93.55,
        ..PADDLECLAS
    },
];

/// The published weights of the network called `name`, in any spelling, in the order in which they are tried.
pub fn published(name: &str) -> impl Iterator<Item = &'static Published> {
    let architecture = super::find(name);
    PUBLISHED.iter().filter(move |published| architecture.is_some_and(|found| published.name == found.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_architecture_has_its_files_each_with_a_name_of_its_own() {
        for architecture in &super::super::ARCHITECTURES {
            let name = &*architecture.name;
            let sources: Vec<WeightSource> = published(name).map(|published| published.source).collect();
            let expected: Vec<WeightSource> = WeightSource::ALL.to_vec();
            let has_all = name != "hardnet85";
            assert_eq!(sources, if has_all { expected } else { vec![expected[0], expected[2]] }, "{name}");
        }
        assert_eq!(published("resnet50").count(), 0);
        assert_eq!(published("HarDNet-85").count(), 2);
        let files: BTreeSet<&str> = PUBLISHED.iter().map(|published| published.file).collect();
        assert_eq!(files.len(), PUBLISHED.len());
    }

    #[test]
    fn the_names_of_the_authors_carry_the_digest_and_every_check_is_one() {
        for Published { name, source, url, file, check, .. } in &PUBLISHED {
            assert!(check.is_none_or(Check::is_well_formed), "{url}");
            match (source, check) {
                (WeightSource::Authors, Some(Check::Sha256(digits))) => {
                    assert_eq!(*file, format!("{name}-{digits}.pth"));
                    assert!(url.ends_with(&format!("/{file}")), "{url}");
                }
                (WeightSource::Github, Some(Check::GitBlob(_))) => {
                    assert!(url.ends_with(&format!("/{name}.pth")), "{url}");
                }
                (WeightSource::Paddleclas, None) => {
                    let part = url.rsplit('/').next().unwrap().strip_suffix("_pretrained.pdparams").unwrap();
                    assert_eq!(super::super::find(part).unwrap().name, *name);
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
