//! A network that recognises colours.

use std::fs;
use std::path::{Path, PathBuf};

use hardnetd::hardnet;
use hardnetd::weights::safetensors::{Texts, write};
use hardnetd::weights::{Array, EntryRole, StateDict};

use super::run;

/// Bit 2 of a class is red, bit 1 green, bit 0 blue.
pub const LABELS: [&str; 8] = ["black", "blue", "green", "cyan", "red", "magenta", "yellow", "white"];

/// The table of a network that passes three channels through.
const TABLE: &str = "name = \"colours\"\nstem = [4, 4]\nsecond_kernel = 1\nmultiplier = 1.6\ndepthwise = false\n\
                     [[block]]\ngrowth = 4\nlayers = 1\ntransition = 4\ndownsample = false\n";

/// A model file and a table: every convolution copies channels 0 to 2, and the head compares their means,
/// which are normalised to about 2.3 where a colour is full and 0 where it is not (ReLU6), with 1.1.
pub fn model(folder: &Path) -> PathBuf {
    let table = folder.join("colours.toml");
    fs::write(&table, TABLE).unwrap();
    let architecture = hardnet::read_table(&table).unwrap();
    let mut state = StateDict::new();
    for entry in hardnet::entries(&architecture, LABELS.len()) {
        let shape = entry.shape.clone();
        let sign = |class: usize, channel: usize| if class >> (2 - channel) & 1 == 1 { 1.0 } else { -1.0 };
        let value = |index: usize| match entry.kind {
            EntryRole::Convolution => {
                let pixels = shape[2] * shape[3];
                let (out, rest) = (index / (shape[1] * pixels), index % (shape[1] * pixels));
                let (input, pixel) = (rest / pixels, rest % pixels);
                if out == input && out < 3 && pixel == pixels / 2 { 1.0 } else { 0.0 }
            }
            EntryRole::NormWeight | EntryRole::RunningVariance => 1.0,
            EntryRole::LinearWeight if index % shape[1] < 3 => sign(index / shape[1], index % shape[1]),
            EntryRole::LinearBias => (0..3).map(|channel| -1.1 * sign(index, channel)).sum(),
            _ => 0.0,
        };
        state.insert(entry.key.clone(), Array::from_fn(&shape, value).unwrap()).unwrap();
    }
    let weights = folder.join("weights");
    write(&state, &Texts::new(), &weights).unwrap();
    let labels = folder.join("labels.txt");
    fs::write(&labels, LABELS.join("\n")).unwrap();
    let model = folder.join("colours.safetensors");
    let [weights, table, labels, output] = [&weights, &table, &labels, &model].map(|path| path.to_str().unwrap());
    let outcome = run(["model", "import", weights, "--arch", table, "--labels", labels, "--output", output]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    model
}
