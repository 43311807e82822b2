//! The features of the pictures of a lesson, as the linear layer and the distances read them.

use super::logistic::{Targets, Weights};
use super::novelty::structure;
use super::table::{Standard, Table};
use crate::shutdown::Stopped;

/// Which features the linear layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeatureSet {
    /// Those of the whole picture, and those of its cells.
    Both,
    /// Those of its cells.
    Cells,
    /// Those of the whole picture.
    Whole,
}

/// The features of pictures and their variants, standardised: each picture's rows lie together, its own first.
pub(super) struct Lesson {
    pub(super) whole: Table,
    pub(super) cells: Table,
    pub(super) structure: Table,
    pub(super) whole_standard: Standard,
    pub(super) cells_standard: Standard,
    pub(super) structure_standard: Standard,
    /// Class of each row.
    pub(super) classes: Vec<usize>,
    /// Rows of each picture.
    pub(super) each: usize,
    /// Number of classes.
    pub(super) count: usize,
    /// Most threads for the work.
    pub(super) threads: usize,
    /// Ends the work early; its results then mean nothing.
    pub(super) stopped: Stopped,
}

impl Lesson {
    /// The lesson of `features`, rows whose first `of_whole` columns describe the whole picture; the others are the means of
    /// `each_channel` cells for each channel of the early map.
    pub(super) fn new(
        features: Table,
        [of_whole, each_channel]: [usize; 2],
        classes: Vec<usize>,
        each: usize,
        count: usize,
        (threads, stopped): (usize, Stopped),
    ) -> Self {
        let (whole, cells) = (features.part(0..of_whole), features.part(of_whole..features.columns()));
        drop(features);
        let structure = structure(&cells, each_channel);
        let [whole_standard, cells_standard, structure_standard] = [&whole, &cells, &structure].map(Standard::of);
        let (whole, cells) = (whole_standard.apply(&whole), cells_standard.apply(&cells));
        let structure = structure_standard.apply(&structure);
        Self {
            whole,
            cells,
            structure,
            whole_standard,
            cells_standard,
            structure_standard,
            classes,
            each,
            count,
            threads,
            stopped,
        }
    }

    pub(super) fn targets(&self) -> Targets<'_> {
        Targets { classes: &self.classes, count: self.count, threads: self.threads, stopped: &self.stopped }
    }

    pub(super) fn pictures(&self) -> usize {
        self.classes.len() / self.each.max(1)
    }

    pub(super) fn class(&self, picture: usize) -> usize {
        self.classes[picture * self.each]
    }

    /// What a layer reads: rows whose squares add up to about 1 for each kind of features.
    pub(super) fn table(&self, read: FeatureSet) -> Table {
        let scaled = |table: &Table| table.clone().scaled(factor(table.columns()));
        match read {
            FeatureSet::Both => scaled(&self.whole).beside(&scaled(&self.cells)),
            FeatureSet::Cells => scaled(&self.cells),
            FeatureSet::Whole => scaled(&self.whole),
        }
    }

    /// The rows of pictures, with up to `variants` of each.
    pub(super) fn rows<'a>(
        &'a self,
        pictures: impl Iterator<Item = usize> + 'a,
        variants: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let each = self.each.min(variants + 1);
        pictures.flat_map(move |picture| (0..each).map(move |variant| picture * self.each + variant))
    }

    /// The layer for raw features, whole picture first, then cells: `[classes, features]`, and the biases.
    pub(super) fn unfold(&self, read: FeatureSet, weights: &Weights) -> (Vec<f32>, Vec<f32>) {
        let (whole, cells) = (self.whole.columns(), self.cells.columns());
        let (mut all, mut biases) = (Vec::with_capacity(self.count * (whole + cells)), Vec::new());
        for (row, bias) in weights.rows() {
            let (of_whole, of_cells) = match read {
                FeatureSet::Both => row.split_at(whole),
                FeatureSet::Cells => (&[][..], row),
                FeatureSet::Whole => (row, &[][..]),
            };
            let mut bias = bias;
            for (part, standard) in [(of_whole, &self.whole_standard), (of_cells, &self.cells_standard)] {
                let columns = standard.mean.len();
                for index in 0..columns {
                    let weight = part.get(index).map_or(0.0, |weight| weight * standard.scale[index] * factor(columns));
                    bias -= weight * standard.mean[index];
                    all.push(weight as f32);
                }
            }
            biases.push(bias as f32);
        }
        (all, biases)
    }
}

fn factor(columns: usize) -> f64 {
    1.0 / (columns.max(1) as f64).sqrt()
}
