//! The arithmetic of the native engine: kernels for every instruction set behind one table, and passes that
//! run them over maps in memory.
//!
//! This room knows nothing of networks. All unsafe code of the engine is here: a pass is checked when it
//! is made (its maps lie in memory, its weights have the right length), so running it is safe.
//!
//! Maps are NHWC. Every pixel of a map is padded to a multiple of [`UNIT`] channels, of which kernels compute
//! as many as they have lanes: what lies in the padding has no meaning and is never read as a channel.
//!
//! # Safety
//!
//! What can be wrong with unsafe code here, and what keeps it right:
//!
//! - **Sizes.** All that is known before a run goes through [`size`], which turns an overflow into an error, on 32 bits,
//!   too. Inside a run, addresses are sums of numbers that were checked together: a pixel of a map whose end was computed.
//! - **Maps.** Constructors of passes check that every map lies in the program's memory up to the last value that the pass
//!   touches, and [`program::Builder`] compares what a pass [needs](pass) with what there is once more.
//! - **Weights.** A pass keeps where its weights are with their length, and [`memory::Weights`] looks at every use
//!   whether that many values are there, in every build.
//! - **Scratch.** It is handed out with its length; who takes an address of it says how many values are used, which
//!   is checked in every build, once for a run of rows or tiles.
//! - **Aliasing.** The output of a pass overlaps no input, except beside it in the pixels of one map. Parts of a pass
//!   write disjoint rows, tiles or units of channels, read nothing that another part writes, and have scratch of their own.
//!   Memory that threads share is made of [`UnsafeCell`](std::cell::UnsafeCell)s; a slice of it exists between runs only.
//! - **Alignment.** Values are aligned to their size. Kernels use loads and stores that ask for no more; a cache line at
//!   the beginning of rows is for speed alone.
//! - **Threads.** Passes follow each other behind a barrier. A team that has broken begins no other run, and its
//!   threads have ended before its memory can be looked at.
//! - **Instruction sets.** A table of kernels is handed out by [`Kernels::of`] only, which asks the processor.
//! - **Kernels.** Each is told addresses and counts by one of the structures in `tile`, whose `# Safety` says what has to be
//!   readable and writable. Widths are whole steps of the instruction set, and steps divide [`UNIT`].

mod avx2;
mod avx512;
pub mod memory;
mod neon;
mod pages;
pub mod pass;
mod peak;
pub mod program;
mod scalar;
pub mod size;
mod strassen;
pub mod team;
#[cfg(test)]
mod tests;
mod tile;
mod vector;
mod winograd;

use std::fmt;

use tile::{Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights};

/// Channels are padded to a multiple of this.
pub const UNIT: usize = 8;

/// An instruction set that there are kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust; the compiler vectorises it as the target allows.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F and VL.
    Avx512,
    /// 64-bit ARM.
    Neon,
}

impl Isa {
    /// All instruction sets, the plainest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon];

    /// Whether this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Avx2 => avx2::is_available(),
            Self::Avx512 => avx512::is_available(),
            Self::Neon => neon::is_available(),
        }
    }

    /// The best one that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }

    /// Name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A product kernel; its safety is [`Tile`]'s.
type Gemm = unsafe fn(&Tile);

/// A kernel for a row of a depthwise convolution; its safety is [`Depthwise`]'s.
type DepthwiseRow = unsafe fn(&Depthwise);

/// A burst of multiply-adds in registers, and how many operations it was; it needs a processor with the instruction set.
type Burst = unsafe fn() -> u64;

/// Kernels of one kind for tiles of all sizes: by the rows and by the columns of a tile, those of 1, 2, 4
/// and 6.
type ByEdges<Kernel> = [[Kernel; 4]; 4];

/// A kernel for the transform of a patch; its safety is [`WinogradInput`]'s.
type InputTransform = unsafe fn(&WinogradInput);

/// A kernel for the transform to a tile; its safety is [`WinogradOutput`]'s.
type OutputTransform = unsafe fn(&WinogradOutput);

/// A kernel for the transform of weights; its safety is [`WinogradWeights`]'s.
type WeightTransform = unsafe fn(&WinogradWeights);

/// A kernel for the sums that Strassen's products are of; its safety is [`StrassenInput`]'s.
type StrassenSums = unsafe fn(&StrassenInput);

/// A kernel that puts Strassen's products together; its safety is [`StrassenOutput`]'s.
type StrassenJoin = unsafe fn(&StrassenOutput);

/// A kernel for the largest values of a window; its safety is [`Largest`]'s.
type WindowMax = unsafe fn(&Largest);

/// The kernels of one instruction set, of which the processor has been asked.
#[derive(Debug)]
pub struct Kernels {
    /// The instruction set.
    isa: Isa,
    /// Channels of the narrowest kernels, of which a unit is a multiple; all others compute several such steps.
    step: usize,
    /// Steps of the blocks of a product that is wider than the widest kernel.
    usual: usize,
    /// Product kernels: `gemm[steps - 1][rows - 1]`, for as many rows as a tile may have.
    gemm: &'static [&'static [Gemm]],
    /// Depthwise kernels: `[steps - 1][stride - 1]`, for strides 1 and 2.
    depthwise: &'static [[DepthwiseRow; 2]],
    /// Kernels for the input of a Winograd convolution.
    winograd_input: ByEdges<InputTransform>,
    /// Kernels for its output.
    winograd_output: ByEdges<OutputTransform>,
    /// Kernels for its weights, in 4 × 4, in 6 × 6 and in 8 × 8 points.
    winograd_weights: [WeightTransform; 3],
    /// The kernel for the sums that Strassen's products are of.
    strassen_input: StrassenSums,
    /// The kernel that puts them together.
    strassen_output: StrassenJoin,
    /// The kernel for the largest values of a window.
    largest: WindowMax,
    /// What shows the peak of the instruction set.
    burst: Burst,
}

impl Kernels {
    /// The kernels for `isa`; `None` if the processor does not have it.
    #[must_use]
    pub fn of(isa: Isa) -> Option<&'static Self> {
        if !isa.is_available() {
            return None;
        }
        match isa {
            Isa::Scalar => Some(&scalar::KERNELS),
            Isa::Avx2 => avx2::kernels(),
            Isa::Avx512 => avx512::kernels(),
            Isa::Neon => neon::kernels(),
        }
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Does as many multiply-adds in a short time as the instruction set can: the number of operations, a
    /// multiply-add being two.
    #[must_use]
    pub fn burst(&self) -> u64 {
        // SAFETY: the processor has the instruction set.
        unsafe { (self.burst)() }
    }

    /// The widths of the blocks that `channels` output channels are computed in, in order: whole steps.
    fn widths(&self, channels: usize) -> impl Iterator<Item = usize> {
        let steps = channels.div_ceil(self.step);
        let most = if steps <= self.gemm.len() { steps } else { self.usual };
        even_parts(steps, most).map(|steps| steps * self.step)
    }

    /// The product kernels for tiles of `width` channels: one for every number of rows.
    fn products(&self, width: usize) -> &'static [Gemm] {
        self.gemm[width / self.step - 1]
    }
}

/// `count` in parts of at most `most`, as even as can be: their lengths.
fn even_parts(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let parts = count.div_ceil(most.max(1));
    (0..parts).map(move |part| count / parts + usize::from(part < count % parts))
}
