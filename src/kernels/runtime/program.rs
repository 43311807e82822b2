//! A network as a sequence of passes, with the memory that they work on.
//!
//! # Safety
//!
//! - A pass is added only if its maps lie in the memory and it was made with the kernels and the weights of this
//!   program: the builder makes every pass itself.
//! - [`Program::run`] asserts, in every build, that there is memory for the maps and for the scratch of all parts. The
//!   scratch of a part lies after the maps and overlaps no other.
//! - Only a team runs a program: passes one after the other, all parts of one with the same number of parts.

use std::fmt::Debug;

use crate::kernels::error::{PassError, check};
use crate::kernels::memory::{Activations, Weights};
use crate::kernels::pass::{
    AddPass, Affine, AffinePass, AveragePass, Clamp, ConvPass, Convolution, CopyPass, Depthwise, DepthwisePass,
    FusedPass, GroupedPass, Kept, Map, Pass, Place, Pool, PoolPass, Scheme, Scratch, Transform, TransformPass,
    WinogradPass,
};
use crate::kernels::size::{self, LINE};
use crate::kernels::table::Kernels;

/// Values after the scratch of every part that nothing may touch: a fuzzer checks them.
const BEHIND: usize = if cfg!(fuzzing) { 4 * LINE } else { 0 };

/// Builds a program, pass by pass.
#[derive(Debug)]
pub struct Builder {
    kernels: Kernels,
    weights: Weights,
    /// Number of values available for maps.
    length: usize,
    passes: Vec<Box<dyn Pass>>,
}

impl Builder {
    /// A program without passes, for maps in memory of `length` values.
    #[must_use]
    pub fn new(kernels: Kernels, length: usize) -> Self {
        Self { kernels, weights: Weights::new(), length, passes: Vec::new() }
    }

    /// The same if the number of weight values is known: [`Self::weight_length`] of a builder that
    /// [counted](Self::counting) them. `None` if memory is insufficient.
    #[must_use]
    pub fn with_room(kernels: Kernels, length: usize, weights: usize) -> Option<Self> {
        Some(Self { weights: Weights::with_room(weights)?, ..Self::new(kernels, length) })
    }

    /// The same to find out what passes need: weights are counted and not packed. In the program all of them are zeros.
    #[must_use]
    pub fn counting(kernels: Kernels, length: usize) -> Self {
        Self { weights: Weights::counted(), ..Self::new(kernels, length) }
    }

    /// Number of weight values so far.
    #[must_use]
    pub fn weight_length(&self) -> usize {
        self.weights.length()
    }

    /// Adds a convolution of the channels of all `inputs`, in order.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn convolution(&mut self, inputs: &[Map], layer: &Convolution<'_>, output: Map) -> Result<(), PassError> {
        let pass = ConvPass::new(self.kernels, &mut self.weights, self.length, inputs, layer, output)?;
        self.push(pass)
    }

    /// Values of weights of a convolution in `groups`, as [`Self::grouped`] packs them; `None` if it overflows.
    #[must_use]
    pub fn grouped_weights(layer: &Convolution<'_>, groups: usize) -> Option<usize> {
        GroupedPass::weights(layer, groups)
    }

    /// Adds a convolution in `groups`; its weight is `[out, in / groups, kernel rows, kernel columns]`.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn grouped(
        &mut self,
        input: Map,
        layer: &Convolution<'_>,
        groups: usize,
        output: Map,
    ) -> Result<(), PassError> {
        let pass = GroupedPass::new(self.kernels, &mut self.weights, self.length, input, (layer, groups), output)?;
        self.push(pass)
    }

    /// Whether [`Self::winograd`] supports a convolution: 3 × 3, with stride 1 and padding 1.
    #[must_use]
    pub fn is_winograd(layer: &Convolution<'_>) -> bool {
        WinogradPass::fits(layer)
    }

    /// Number of values of a map's transform; `None` if it overflows.
    #[must_use]
    pub fn transform_length(map: &Map, scheme: Scheme) -> Option<usize> {
        Transform::of(map, scheme, 0).length()
    }

    /// Adds the transform of a map, for all Winograd convolutions that read it.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn transform(&mut self, input: Map, to: Transform) -> Result<(), PassError> {
        let pass = TransformPass::new(self.length, input, to)?;
        self.push(pass)
    }

    /// Adds a convolution of the channels of all maps whose transforms are `inputs`, in order, with weights stored as
    /// `kept`.
    ///
    /// # Errors
    /// If the parts do not fit together, or [`Self::is_winograd`] is false.
    pub fn winograd(
        &mut self,
        inputs: &[Transform],
        layer: &Convolution<'_>,
        kept: Kept,
        output: Map,
    ) -> Result<(), PassError> {
        let pass = WinogradPass::new(self.kernels, &mut self.weights, self.length, inputs, layer, kept, output)?;
        self.push(pass)
    }

    /// Whether [`Self::winograd_in_strips`] pays off for a convolution of `input` to `channels` channels, if the map
    /// has no other readers.
    #[must_use]
    pub fn suits_strips(input: &Map, scheme: Scheme, channels: usize) -> bool {
        WinogradPass::suits_strips(input, scheme, channels)
    }

    /// Adds a convolution of the channels of a map, with the map's transform computed strip by strip.
    ///
    /// # Errors
    /// If the parts do not fit together, or [`Self::is_winograd`] is false.
    pub fn winograd_in_strips(
        &mut self,
        input: Map,
        scheme: Scheme,
        layer: &Convolution<'_>,
        output: Map,
    ) -> Result<(), PassError> {
        let input = (input, scheme);
        let pass = WinogradPass::in_strips(self.kernels, &mut self.weights, self.length, input, layer, output)?;
        self.push(pass)
    }

    /// Adds a depthwise convolution.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn depthwise(&mut self, input: Map, layer: &Depthwise<'_>, output: Map) -> Result<(), PassError> {
        let pass = DepthwisePass::new(&mut self.weights, self.length, input, layer, output)?;
        self.push(pass)
    }

    /// Whether a convolution and the depthwise one after it, on maps of these sizes, can be one pass.
    #[must_use]
    pub fn fuses(first: &Convolution<'_>, second: &Depthwise<'_>, input: [usize; 2], output: [usize; 2]) -> bool {
        first.is_pointwise() && second.is_regular(input, output)
    }

    /// Adds a pointwise convolution and the depthwise one after it.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn fused(
        &mut self,
        inputs: &[Map],
        first: &Convolution<'_>,
        second: &Depthwise<'_>,
        output: Map,
    ) -> Result<(), PassError> {
        let pass = FusedPass::new(self.kernels, &mut self.weights, self.length, inputs, first, second, output)?;
        self.push(pass)
    }

    /// Adds a pool.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn pool(&mut self, input: Map, pool: Pool, output: Map) -> Result<(), PassError> {
        let pass = PoolPass::new(self.length, input, pool, output)?;
        self.push(pass)
    }

    /// Adds the mean of all pixels.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn average(&mut self, input: Map, output: Map) -> Result<(), PassError> {
        let pass = AveragePass::new(self.length, input, output)?;
        self.push(pass)
    }

    /// Adds scales, shifts and a function.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn affine(&mut self, input: Map, affine: &Affine<'_>, output: Map) -> Result<(), PassError> {
        let pass = AffinePass::new(&mut self.weights, self.length, input, affine, output)?;
        self.push(pass)
    }

    /// Adds the sum of two maps.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn add(&mut self, inputs: [Map; 2], clamp: Clamp, output: Map) -> Result<(), PassError> {
        let pass = AddPass::new(self.length, inputs, clamp, output)?;
        self.push(pass)
    }

    /// Adds a concatenation of maps.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn copy(&mut self, inputs: &[Map], output: Map) -> Result<(), PassError> {
        let pass = CopyPass::new(self.length, inputs, output)?;
        self.push(pass)
    }

    fn push(&mut self, pass: impl Pass + 'static) -> Result<(), PassError> {
        // The pass has been checked; its own account of its needs is checked against the program as well.
        check(pass.needs().values <= self.length, "a pass reaches beyond the maps of the program")?;
        self.passes.push(Box::new(pass));
        Ok(())
    }

    /// The program.
    #[must_use]
    pub fn finish(self) -> Program {
        let scratch = self.passes.iter().map(|pass| pass.needs().scratch).max().unwrap_or(0);
        let Self { kernels, weights, length, passes } = self;
        // The scratch of every part begins with a cache line. A size that overflows exceeds any memory, too.
        let [length, scratch] = [length, scratch].map(|values| size::round_up(values, LINE).unwrap_or(usize::MAX));
        Program { kernels, weights: weights.kept(), length, scratch, passes }
    }
}

/// The part that does not change from run to run, to be shared.
#[derive(Debug)]
pub struct Program {
    kernels: Kernels,
    weights: Weights,
    length: usize,
    /// Values of scratch of one part.
    scratch: usize,
    passes: Vec<Box<dyn Pass>>,
}

/// A pass in readable form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The algorithm.
    pub algorithm: &'static str,
    /// Multiply-accumulates that it executes, padding included.
    pub macs: u64,
}

impl Program {
    /// The kernels that it runs.
    #[must_use]
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Summaries of the passes, in order.
    pub fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.passes.iter().map(|pass| Summary { algorithm: pass.algorithm(), macs: pass.macs() })
    }

    /// Whether the weights have reached their final pages; until then, runs may be slightly slower.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.weights.are_settled()
    }

    /// Bytes of packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Values of maps and of scratch for `parts` parts; more than any memory has if it overflows.
    #[must_use]
    pub fn room(&self, parts: usize) -> usize {
        self.length.saturating_add(self.scratch.saturating_add(BEHIND).saturating_mul(parts))
    }

    /// The activations, for `parts` parts, that belong to no scratch and no map.
    #[cfg(any(test, fuzzing))]
    pub fn gaps(&self, parts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let end = |part: usize| self.length + part * (self.scratch + BEHIND);
        (1..=parts).map(move |part| end(part) - BEHIND..end(part))
    }

    /// Runs part `part` of `parts` of all passes, one after the other; the inputs are in their maps. Calls `meet` after
    /// each pass, and ends the run if it returns an error.
    ///
    /// # Safety
    /// - All parts run on the same activations with the same `parts`, each with its own `part`.
    /// - `meet` returns when all parts have called it, or with an error, after which a part does nothing more.
    /// - Until all parts have returned, nothing else uses the activations.
    pub(super) unsafe fn run<E>(
        &self,
        activations: &Activations,
        part: usize,
        parts: usize,
        mut meet: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        assert!(part < parts && self.room(parts) <= activations.len(), "there is no memory for part {part} of {parts}");
        let base = activations.base();
        let scratch = Scratch::new(base.wrapping_add(self.length + part * (self.scratch + BEHIND)), self.scratch);
        let place = Place { kernels: self.kernels, weights: &self.weights, base, scratch };
        for pass in &self.passes {
            // SAFETY: the builder made the pass for these kernels, these weights and maps in `length` values, and the
            // activations were asserted to hold these and, after them, the scratch of all parts one by one. All parts
            // have the same `parts` and their own `part`, and no part is in another pass before all have met.
            unsafe { pass.run(&place, part, parts) }
            meet()?;
        }
        Ok(())
    }
}
