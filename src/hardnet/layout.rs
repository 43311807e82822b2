//! The modules of a network in order, without weights, and the state dict entries that result from them.
//!
//! Names of modules and entries are those of the official PyTorch implementation, so that its weights fit: `base.N`
//! numbers the modules of the network, `layers.L` the layers of a block.

use super::table::Architecture;
use crate::weights::EntryRole;

/// A module and its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name, unique in the network.
    pub name: String,
    /// What it does.
    pub layer: Layer,
    /// Positions of its inputs, in the order in which their channels are concatenated.
    pub inputs: Vec<usize>,
    /// Channels of its output.
    pub channels: usize,
}

/// What a module does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The image: three channels.
    Input,
    /// Convolution without bias (square kernel, padding of half its size), batch norm, ReLU6.
    Conv {
        /// Input channels.
        in_channels: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
    },
    /// Depthwise 3 × 3 convolution without bias (padding 1) and batch norm, no activation.
    Depthwise {
        /// Stride in both directions.
        stride: usize,
    },
    /// Maximum over a window with stride 2.
    MaxPool {
        /// Height and width of the window.
        kernel: usize,
        /// Padding on all sides.
        padding: usize,
    },
    /// Concatenated channels.
    Concat,
    /// Mean over the whole map.
    GlobalAverage,
    /// Linear layer with bias.
    Linear {
        /// Input channels.
        in_channels: usize,
    },
}

/// One entry of the state dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Extent of every axis.
    pub shape: Vec<usize>,
    /// Its role in the network.
    pub kind: EntryRole,
}

/// The layers that layer `layer` of a block reads, in the order in which they are concatenated: `layer - 2^i` for every
/// power `2^i` that divides it, from `i = 0`. Layers count from 1; 0 is the block's input, which has no links.
pub fn links(layer: usize) -> impl Iterator<Item = usize> {
    let count = if layer == 0 { 0 } else { layer.trailing_zeros() + 1 };
    (0..count).map(move |power| layer - (1 << power))
}

/// Channels of layer `layer` (from 1): `growth`, times `multiplier` for every link but the first, made even by
/// `int(int(c + 1) / 2) * 2`.
#[must_use]
pub fn layer_channels(layer: usize, growth: usize, multiplier: f64) -> usize {
    let grown = (1..links(layer).count()).fold(growth as f64, |channels, _| channels * multiplier);
    ((grown + 1.0) as usize / 2).saturating_mul(2)
}

/// All modules of a network with `classes` classes; every module comes after its inputs. The first is the input, the
/// last the linear layer. Dropouts are not included, because they have no effect.
#[must_use]
pub fn modules(architecture: &Architecture, classes: usize) -> Vec<Module> {
    let mut network = Network { modules: Vec::new(), next: 0 };
    network.push("input".to_owned(), Layer::Input, vec![], 3);

    let [first, second] = architecture.stem;
    let name = network.base();
    network.conv(name, first, 3, 2);
    let name = network.base();
    network.conv(name, second, architecture.second_kernel, 1);
    let name = network.base();
    network.halve(name, architecture, 3, 1);

    for (index, block) in architecture.blocks.iter().enumerate() {
        let name = network.base();
        network.block(&name, architecture, block.growth, block.layers);
        if architecture.dropout_after == Some(index) {
            network.base();
        }
        let name = network.base();
        network.conv(name, block.transition, 1, 1);
        if block.downsample {
            let name = network.base();
            network.halve(name, architecture, 2, 0);
        }
    }

    // The modules of the head: 0 averages, 1 flattens, 2 is a dropout, 3 is linear.
    let head = network.base();
    let (input, in_channels) = network.last();
    network.push(format!("{head}.0"), Layer::GlobalAverage, vec![input], in_channels);
    network.push(format!("{head}.3"), Layer::Linear { in_channels }, vec![input + 1], classes);
    network.modules
}

struct Network {
    modules: Vec<Module>,
    next: usize,
}

impl Network {
    /// Name of the next module of the network.
    fn base(&mut self) -> String {
        let name = format!("base.{}", self.next);
        self.next += 1;
        name
    }

    /// Position and channels of the last module.
    fn last(&self) -> (usize, usize) {
        self.modules.last().map_or((0, 0), |module| (self.modules.len() - 1, module.channels))
    }

    /// Adds a module and returns its position.
    fn push(&mut self, name: String, layer: Layer, inputs: Vec<usize>, channels: usize) -> usize {
        self.modules.push(Module { name, layer, inputs, channels });
        self.modules.len() - 1
    }

    fn conv(&mut self, name: String, channels: usize, kernel: usize, stride: usize) -> usize {
        let (input, in_channels) = self.last();
        self.push(name, Layer::Conv { in_channels, kernel, stride }, vec![input], channels)
    }

    fn depthwise(&mut self, name: String, stride: usize) -> usize {
        let (input, channels) = self.last();
        self.push(name, Layer::Depthwise { stride }, vec![input], channels)
    }

    /// Halves the map: by a depthwise convolution, or by pooling with the given window.
    fn halve(&mut self, name: String, architecture: &Architecture, kernel: usize, padding: usize) {
        if architecture.depthwise {
            self.depthwise(name, 2);
        } else {
            let (input, channels) = self.last();
            self.push(name, Layer::MaxPool { kernel, padding }, vec![input], channels);
        }
    }

    /// Concatenates several modules; a single one is returned as is.
    fn concat(&mut self, name: String, inputs: Vec<usize>) -> usize {
        match inputs[..] {
            [only] => only,
            _ => {
                let channels = inputs.iter().map(|&input| self.modules[input].channels).sum();
                self.push(name, Layer::Concat, inputs, channels)
            }
        }
    }

    /// A HarD block. Its output concatenates the odd layers and the last one, in order.
    fn block(&mut self, name: &str, architecture: &Architecture, growth: usize, layers: usize) {
        // The output of every layer; layer 0 is the block's input.
        let mut outputs = vec![self.last().0];
        for layer in 1..=layers {
            let prefix = format!("{name}.layers.{}", layer - 1);
            let inputs = links(layer).map(|link| outputs[link]).collect();
            let input = self.concat(format!("{prefix}.links"), inputs);
            let in_channels = self.modules[input].channels;
            let channels = layer_channels(layer, growth, architecture.multiplier);
            let conv = |kernel| Layer::Conv { in_channels, kernel, stride: 1 };
            outputs.push(if architecture.depthwise {
                self.push(format!("{prefix}.layer1"), conv(1), vec![input], channels);
                self.depthwise(format!("{prefix}.layer2"), 1)
            } else {
                self.push(prefix, conv(3), vec![input], channels)
            });
        }
        let kept = (1..=layers).filter(|&layer| layer % 2 == 1 || layer == layers);
        let kept = kept.map(|layer| outputs[layer]).collect();
        self.concat(name.to_owned(), kept);
    }
}

/// The entries of the state dict of a network with `classes` classes: the keys and shapes of the official
/// PyTorch implementation, in its order.
#[must_use]
pub fn entries(architecture: &Architecture, classes: usize) -> Vec<Entry> {
    modules(architecture, classes).iter().flat_map(module_entries).collect()
}

/// Number of learnable values for `classes` classes: convolutions, scales and offsets of batch norms, and the linear
/// layer. The number saturates.
#[must_use]
pub fn parameters(architecture: &Architecture, classes: usize) -> u64 {
    let entries = entries(architecture, classes).into_iter().filter(|entry| entry.kind.is_parameter());
    let count = |entry: Entry| entry.shape.iter().fold(1_u64, |count, &extent| count.saturating_mul(extent as u64));
    entries.map(count).fold(0, u64::saturating_add)
}

/// The entries of one module, in order.
pub(super) fn module_entries(module: &Module) -> Vec<Entry> {
    let Module { name, channels, .. } = module;
    let channels = *channels;
    let entry =
        |part: &str, shape: &[usize], kind| Entry { key: format!("{name}.{part}"), shape: shape.to_vec(), kind };
    let normalised = |part, shape: [usize; 4]| {
        vec![
            entry(part, &shape, EntryRole::Convolution),
            entry("norm.weight", &[channels], EntryRole::NormWeight),
            entry("norm.bias", &[channels], EntryRole::NormBias),
            entry("norm.running_mean", &[channels], EntryRole::RunningMean),
            entry("norm.running_var", &[channels], EntryRole::RunningVariance),
            entry("norm.num_batches_tracked", &[], EntryRole::BatchCount),
        ]
    };
    match module.layer {
        Layer::Conv { in_channels, kernel, .. } => normalised("conv.weight", [channels, in_channels, kernel, kernel]),
        Layer::Depthwise { .. } => normalised("dwconv.weight", [channels, 1, 3, 3]),
        Layer::Linear { in_channels } => vec![
            entry("weight", &[channels, in_channels], EntryRole::LinearWeight),
            entry("bias", &[channels], EntryRole::LinearBias),
        ],
        Layer::Input | Layer::MaxPool { .. } | Layer::Concat | Layer::GlobalAverage => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardnet::ARCHITECTURES;

    #[test]
    fn a_layer_reads_those_at_a_distance_of_its_powers_of_two() {
        let expected: [&[usize]; 17] = [
            &[],
            &[0],
            &[1, 0],
            &[2],
            &[3, 2, 0],
            &[4],
            &[5, 4],
            &[6],
            &[7, 6, 4, 0],
            &[8],
            &[9, 8],
            &[10],
            &[11, 10, 8],
            &[12],
            &[13, 12],
            &[14],
            &[15, 14, 12, 8, 0],
        ];
        for (layer, expected) in expected.iter().enumerate() {
            assert_eq!(links(layer).collect::<Vec<_>>(), *expected, "layer {layer}");
        }
    }

    #[test]
    fn channels_grow_with_the_links_and_are_even() {
        let channels = |growth, multiplier| [1, 2, 4, 8, 16].map(|layer| layer_channels(layer, growth, multiplier));
        assert_eq!(channels(16, 1.6), [16, 26, 40, 66, 104]);
        assert_eq!(channels(14, 1.7), [14, 24, 40, 68, 116]);
        assert_eq!(channels(160, 1.6), [160, 256, 410, 656, 1048]);
        assert_eq!(channels(usize::MAX, 1.7)[4] % 2, 0);
    }

    #[test]
    fn modules_read_only_earlier_ones_and_have_names_of_their_own() {
        for architecture in &ARCHITECTURES {
            let modules = modules(architecture, 10);
            let mut names = std::collections::HashSet::new();
            for (position, module) in modules.iter().enumerate() {
                assert!(names.insert(&module.name), "{}", module.name);
                assert!(module.inputs.iter().all(|&input| input < position));
                assert_eq!(module.inputs.is_empty(), position == 0);
            }
        }
    }

    #[test]
    fn any_number_of_classes_has_a_number_of_parameters() {
        assert_eq!(parameters(&ARCHITECTURES[0], 1000) - parameters(&ARCHITECTURES[0], 10), 990 * 1025);
        assert_eq!(parameters(&ARCHITECTURES[0], usize::MAX), u64::MAX);
    }
}
