//! Custom architectures: a network with the same structure from a TOML file.
//!
//! The keys are the fields of [`Architecture`] and its blocks, with a `[[block]]` for each block:
//!
//! ```toml
//! name = "hardnet-mini"
//! stem = [16, 32]        # channels of the first and the second convolution
//! second_kernel = 1      # kernel of the second convolution: 1, 3, 5 or 7
//! multiplier = 1.6       # growth of a layer's channels with every link but its first
//! depthwise = true       # pointwise and depthwise layers instead of 3 x 3 convolutions
//!
//! [[block]]
//! growth = 12            # channels of a layer with one link
//! layers = 4
//! transition = 64        # output channels of the 1 x 1 convolution after the block
//! downsample = true      # whether the map is halved then
//! ```

use std::io;
use std::path::{Path, PathBuf};

use super::build::list;
use super::layout::{layer_channels, parameters};
use super::table::{Architecture, find};
use crate::exit::Exit;
use crate::regular;

/// Maximum size of a table in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Maximum channels of a layer or transition.
const MAX_CHANNELS: usize = 1 << 14;
/// Maximum layers of a block.
const MAX_LAYERS: usize = 64;
/// Maximum number of blocks.
const MAX_BLOCKS: usize = 32;
/// Maximum learnable parameters, without the head: 1 GB of weights.
const MAX_PARAMETERS: u64 = 250_000_000;

/// Why a table is unusable.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("cannot read the table {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too long for a table.
    #[error("{} is longer than {MAX_BYTES} bytes, too long for an architecture table", path.display())]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// The content is not text.
    #[error("{} is not an architecture table: expected TOML, in UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not TOML, or has the wrong keys or types.
    #[error("{}, line {line}: not an architecture table: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Values are out of range.
    #[error("{}: {}", path.display(), list(problems))]
    Values {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        problems: Vec<String>,
    },
}

impl TableError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Long { .. } | Self::NotText { .. } | Self::Syntax { .. } | Self::Values { .. } => Exit::Data,
        }
    }
}

/// Reads the table in the TOML file at `path`.
///
/// # Errors
/// Any [`TableError`].
pub fn read_table(path: &Path) -> Result<Architecture, TableError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::FileTooLarge => TableError::Long { path: path.to_owned() },
        io::ErrorKind::InvalidData => TableError::NotText { path: path.to_owned(), source },
        _ => TableError::Unreadable { path: path.to_owned(), source },
    };
    let text = regular::read_text(path, MAX_BYTES).map_err(unreadable)?;
    let wrong = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let (line, problem) =
            (before.matches('\n').count() + 1, error.message().lines().collect::<Vec<_>>().join(", "));
        TableError::Syntax { path: path.to_owned(), line, problem }
    };
    let architecture: Architecture = toml::from_str(&text).map_err(wrong)?;
    match architecture.problems() {
        problems if problems.is_empty() => Ok(architecture),
        problems => Err(TableError::Values { path: path.to_owned(), problems }),
    }
}

impl Architecture {
    /// All problems of the table, each with the allowed values. A published name is reserved for its published table.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, text: String| {
            if !holds {
                problems.push(text);
            }
        };
        let name = &self.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let named = (1..=64).contains(&name.len()) && name.chars().all(is_plain);
        check(named, format!("name = {name:?}: expected 1 to 64 letters, digits, `-`, `_` or `.`"));
        let own = find(name).is_none_or(|published| published == self);
        check(own, format!("name = {name:?}: the published network of that name has another table"));
        let channels = |channels: usize| (1..=MAX_CHANNELS).contains(&channels);
        let stem = self.stem;
        check(stem.into_iter().all(channels), format!("stem = {stem:?}: expected channels from 1 to {MAX_CHANNELS}"));
        let kernel = self.second_kernel;
        check([1, 3, 5, 7].contains(&kernel), format!("second_kernel = {kernel}: expected 1, 3, 5 or 7"));
        let multiplier = self.multiplier;
        check((1.0..=4.0).contains(&multiplier), format!("multiplier = {multiplier}: expected 1.0 to 4.0"));
        let blocks = self.blocks.len();
        check((1..=MAX_BLOCKS).contains(&blocks), format!("{blocks} blocks: expected 1 to {MAX_BLOCKS}"));
        let dropout = self.dropout_after.is_none_or(|block| block < blocks);
        check(dropout, format!("dropout_after = {:?}: expected a block from 0 on", self.dropout_after.unwrap_or(0)));
        for (index, block) in self.blocks.iter().take(MAX_BLOCKS).enumerate() {
            let at = format!("block {index}:");
            let layers = block.layers;
            check((1..=MAX_LAYERS).contains(&layers), format!("{at} layers = {layers}: expected 1 to {MAX_LAYERS}"));
            let [growth, transition] = [block.growth, block.transition];
            check(channels(transition), format!("{at} transition = {transition}: expected 1 to {MAX_CHANNELS}"));
            // The layer at the largest power of two has the most links.
            let widest = if layers == 0 { 0 } else { 1 << layers.min(MAX_LAYERS).ilog2() };
            let widest = layer_channels(widest, growth, multiplier);
            let fits = growth > 0 && channels(widest);
            check(fits, format!("{at} growth = {growth}: expected layers of 2 to {MAX_CHANNELS} channels"));
        }
        if problems.is_empty() {
            let parameters = parameters(self, 1);
            if parameters > MAX_PARAMETERS {
                problems.push(format!("{parameters} parameters: expected at most {MAX_PARAMETERS}"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{ARCHITECTURES, entries};
    use super::*;

    fn table(text: &str) -> Result<Architecture, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.toml");
        std::fs::write(&path, text).unwrap();
        read_table(&path)
    }

    const MINI: &str = "
name = \"mini\"
stem = [16, 32]
second_kernel = 1
multiplier = 1.6
depthwise = true
[[block]]
growth = 12
layers = 4
transition = 64
downsample = true
";

    #[test]
    fn a_published_network_is_the_same_from_its_table() {
        for architecture in &ARCHITECTURES {
            let text = toml::to_string(architecture).unwrap();
            assert_eq!(table(&text).unwrap(), *architecture);
        }
    }

    #[test]
    fn a_table_makes_the_network_that_it_describes() {
        let mini = table(MINI).unwrap();
        let entries = entries(&mini, 5);
        let shape = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap().shape.clone();
        assert_eq!(shape("base.3.layers.3.layer1.conv.weight"), [30, 12 + 20 + 32, 1, 1]);
        assert_eq!(shape("base.4.conv.weight"), [64, 12 + 12 + 30, 1, 1]);
        assert_eq!(shape("base.6.3.weight"), [5, 64]);
    }

    #[test]
    fn all_values_out_of_range_are_named_together() {
        let text = MINI
            .replace("\"mini\"", "\"a b\"")
            .replace("[16, 32]", "[0, 32]")
            .replace("second_kernel = 1", "second_kernel = 2")
            .replace("1.6", "9.5")
            .replace("layers = 4", "layers = 0")
            .replace("transition = 64", "transition = 99999");
        let error = table(&text).unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        for part in ["name = \"a b\"", "stem = [0, 32]", "second_kernel = 2", "multiplier = 9.5", "block 0: layers = 0"]
        {
            assert!(error.to_string().contains(part), "{part} is not in: {error}");
        }
        assert!(error.to_string().contains("transition = 99999: expected 1 to 16384"), "{error}");
        for (from, to) in [("1.6", "nan"), ("growth = 12", "growth = 0"), ("growth = 12", "growth = 9000")] {
            assert!(matches!(table(&MINI.replace(from, to)), Err(TableError::Values { .. })), "{to}");
        }
    }

    #[test]
    fn a_published_name_needs_the_published_table() {
        let error = table(&MINI.replace("mini", "HarDNet-68")).unwrap_err();
        assert!(error.to_string().contains("another table"), "{error}");
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_place() {
        let error = table(&MINI.replace("depthwise", "depth")).unwrap_err().to_string();
        assert!(error.contains("unknown field `depth`") && error.contains("line 6"), "{error}");
        let error = table(&MINI.replace("[16, 32]", "[16, 32, 64]")).unwrap_err().to_string();
        assert!(error.contains("invalid length 3, expected two numbers of channels"), "{error}");
        assert!(matches!(table("name = "), Err(TableError::Syntax { .. })));
        assert!(matches!(table(&" ".repeat(1 << 21)), Err(TableError::Long { .. })));
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("binary.toml");
        std::fs::write(&binary, b"name = \"\xff\"").unwrap();
        let error = read_table(&binary).unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        assert!(error.to_string().ends_with("expected TOML, in UTF-8"), "{error}");
        assert!(matches!(read_table(Path::new("/nowhere.toml")), Err(TableError::Unreadable { .. })));
    }
}
