//! A step of a program: the interface of all passes.

use std::fmt::Debug;

use super::map::Map;
use super::place::Place;

/// One step of a program.
pub(in crate::kernels) trait Pass: Debug + Send + Sync {
    /// Name of the algorithm, as shown in the plan.
    fn algorithm(&self) -> &'static str;

    /// What it needs of the program: the extent of its maps, and the scratch that every part takes from
    /// [`Place::scratch`].
    fn needs(&self) -> Needs;

    /// Multiply-accumulates that it executes.
    fn macs(&self) -> u64;

    /// Runs part `part` of `parts`.
    ///
    /// # Safety
    /// - `place` belongs to the program that the pass was made for: its kernels, its weights, and activations that are
    ///   writable for [`Needs::values`].
    /// - No other pass runs on these activations at the same time.
    /// - All parts of this run have the same `parts`, and each has its own `part`, which is less.
    /// - Every part has its own scratch, which is writable. It may have any length: less than [`Needs::scratch`] causes
    ///   a panic.
    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize);
}

/// What a pass needs of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Needs {
    /// Values of activations: up to the end of the last map that it touches.
    pub(in crate::kernels) values: usize,
    /// Values of scratch that each part needs.
    pub(in crate::kernels) scratch: usize,
}

impl Needs {
    /// The needs of a pass that touches whole units of `maps`, with `scratch` values of scratch.
    pub(super) fn of(maps: &[Map], scratch: usize) -> Self {
        Self { values: maps.iter().map(|map| end(map, map.touched())).max().unwrap_or(0), scratch }
    }

    /// The same for a pass that reads the channels of `inputs` and nothing after them.
    pub(super) fn of_channels(inputs: &[Map], output: &Map, scratch: usize) -> Self {
        let inputs = inputs.iter().map(|map| end(map, map.channels)).max().unwrap_or(0);
        Self { values: inputs.max(end(output, output.touched())), scratch }
    }

    /// The larger of both needs.
    pub(super) fn max(self, other: Self) -> Self {
        Self { values: self.values.max(other.values), scratch: self.scratch.max(other.scratch) }
    }
}

/// The end of the first `width` values of the last pixel of a map.
fn end(map: &Map, width: usize) -> usize {
    map.range(width).map_or(usize::MAX, |range| range.end)
}
