//! The architectures as data.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A network of the family, or one with the same structure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Name, as the program prints it.
    pub name: Cow<'static, str>,
    /// Channels after the first convolution (3 × 3, stride 2) and after the second.
    #[serde(deserialize_with = "two")]
    pub stem: [usize; 2],
    /// Kernel of the second convolution.
    pub second_kernel: usize,
    /// Factor by which the channels of a layer grow with every link but its first.
    pub multiplier: f64,
    /// Whether the layers of a block are pointwise and depthwise instead of 3 × 3 convolutions, and whether maps shrink
    /// by depthwise convolutions instead of pooling.
    pub depthwise: bool,
    /// The block that is followed by a dropout module, counted from 0. It has no effect in inference, but takes a
    /// number in the names of the modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout_after: Option<usize>,
    /// The blocks in order.
    #[serde(rename = "block")]
    pub blocks: Cow<'static, [Block]>,
}

/// A HarD block with its transition, the 1 × 1 convolution after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Channels of a layer with one link.
    pub growth: usize,
    /// Number of layers.
    pub layers: usize,
    /// Channels after the transition.
    pub transition: usize,
    /// Whether the map is halved after the transition.
    pub downsample: bool,
}

/// Exactly two numbers: an array would ignore what follows.
fn two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 2], D::Error> {
    let numbers = Vec::<usize>::deserialize(deserializer)?;
    let count = numbers.len();
    numbers.try_into().map_err(|_| D::Error::invalid_length(count, &"two numbers of channels"))
}

const fn block(growth: usize, layers: usize, transition: usize, downsample: bool) -> Block {
    Block { growth, layers, transition, downsample }
}

static BLOCKS_39: [Block; 4] =
    [block(16, 4, 96, true), block(20, 16, 320, true), block(64, 8, 640, true), block(160, 4, 1024, false)];

static BLOCKS_68: [Block; 5] = [
    block(14, 8, 128, true),
    block(16, 16, 256, false),
    block(20, 16, 320, true),
    block(40, 16, 640, true),
    block(160, 4, 1024, false),
];

static BLOCKS_85: [Block; 6] = [
    block(24, 8, 192, true),
    block(24, 16, 256, false),
    block(28, 16, 320, true),
    block(36, 16, 480, false),
    block(48, 16, 720, true),
    block(256, 4, 1280, false),
];

/// The published architectures, the smallest first.
pub static ARCHITECTURES: [Architecture; 4] = [
    Architecture {
        name: Cow::Borrowed("hardnet39ds"),
        stem: [24, 48],
        second_kernel: 1,
        multiplier: 1.6,
        depthwise: true,
        dropout_after: None,
        blocks: Cow::Borrowed(&BLOCKS_39),
    },
    Architecture {
        name: Cow::Borrowed("hardnet68ds"),
        stem: [32, 64],
        second_kernel: 1,
        multiplier: 1.7,
        depthwise: true,
        dropout_after: None,
        blocks: Cow::Borrowed(&BLOCKS_68),
    },
    Architecture {
        name: Cow::Borrowed("hardnet68"),
        stem: [32, 64],
        second_kernel: 3,
        multiplier: 1.7,
        depthwise: false,
        dropout_after: None,
        blocks: Cow::Borrowed(&BLOCKS_68),
    },
    Architecture {
        name: Cow::Borrowed("hardnet85"),
        stem: [48, 96],
        second_kernel: 3,
        multiplier: 1.7,
        depthwise: false,
        dropout_after: Some(5),
        blocks: Cow::Borrowed(&BLOCKS_85),
    },
];

/// The architecture called `name`. Case, `-`, `_` and spaces are ignored: `HarDNet-39-DS` is `hardnet39ds`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Architecture> {
    let plain: String = name
        .chars()
        .filter(|character| !matches!(character, '-' | '_' | ' '))
        .map(|character| character.to_ascii_lowercase())
        .collect();
    ARCHITECTURES.iter().find(|architecture| architecture.name == plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_name_are_equal() {
        let found = |name| find(name).map(|architecture| &*architecture.name);
        for name in ["hardnet39ds", "hardnet_39_ds", "HarDNet-39-DS", "HARDNET39DS", "HarDNet 39 ds"] {
            assert_eq!(found(name), Some("hardnet39ds"), "{name}");
        }
        assert_eq!(found("HarDNet-85"), Some("hardnet85"));
        assert_eq!(found("hardnet_68"), Some("hardnet68"));
        for name in ["", "hardnet", "hardnet39", "hardnet85ds", "./hardnet85", "hardnet85.pth", "härdnet85"] {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_in_the_spelling_that_is_searched_for() {
        for architecture in &ARCHITECTURES {
            assert_eq!(find(&architecture.name), Some(architecture));
        }
    }
}
