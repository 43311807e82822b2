//! Products by lane: four input channels of a pixel are loaded at once, and each is multiplied from its lane.

use std::arch::aarch64::{
    float32x4_t, vcombine_f32, vdupq_n_f32, vfmaq_laneq_f32, vld1_dup_f32, vld1_f32, vld1q_f32, vmaxq_f32, vminq_f32,
    vst1q_f32,
};
use std::arch::asm;
use std::array::from_fn;

use super::super::generic::vector::Vector;
use super::strip::{five, four, is_plain, six};
use super::vector::F32x4;
use crate::kernels::tile::{Segment, Tile};

/// Rows whose sums are in registers at the same time.
const STRIP: usize = 4;

/// Input channels that are loaded at once.
const LANES: usize = 4;

/// A tile of `rows` rows (pixels) by `C` vectors (output channels), in strips: see [`Tile`].
///
/// # Safety
/// - The duties of [`Tile`], for `rows` rows and `4 * C` channels.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn gemm<const C: usize>(tile: &Tile, rows: usize) {
    let (whole, rest) = (rows / STRIP, rows % STRIP);
    let mut ahead = tile.prefetch;
    // The prefetch address advances with every 16 channels, in every strip.
    let step = (tile.prefetch_step * 4 * LANES * size_of::<f32>() / rows.div_ceil(STRIP)).max(1);
    // SAFETY: the strips are rows of the tile, for which the duties of `Tile` are upheld, and the processor has NEON.
    // Assembly strips have at least one row and one segment, and a step of at least one byte.
    unsafe {
        match C {
            4 if whole > 0 && tile.count > 0 => four(tile, whole, &mut ahead, step),
            5 if whole > 0 && tile.count > 0 => five(tile, whole, &mut ahead, step),
            6 if whole > 0 && tile.count > 0 => six(tile, whole, &mut ahead, step),
            _ => (0..whole).for_each(|index| strip::<4, C>(tile, index * STRIP, &mut ahead, step)),
        }
        let row = whole * STRIP;
        match rest {
            3 => strip::<3, C>(tile, row, &mut ahead, step),
            2 => strip::<2, C>(tile, row, &mut ahead, step),
            1 => strip::<1, C>(tile, row, &mut ahead, step),
            _ => {}
        }
    }
}

/// Computes `R` rows from row `row` of the tile on. `ahead` is prefetched, and advances by `step` bytes for every 16
/// channels.
///
/// # Safety
/// - The duties of [`Tile`], for these rows and `4 * C` channels.
/// - The processor has NEON.
#[inline(always)]
unsafe fn strip<const R: usize, const C: usize>(tile: &Tile, row: usize, ahead: &mut *const f32, step: usize) {
    // SAFETY: every access is to a row and a channel of the segments, of the weights, of the bias or of the output, for
    // which the duties of `Tile` are upheld, and the processor has NEON.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = vld1q_f32(tile.bias.add((row + r) * tile.bias_stride + c * LANES));
            }
        }
        for index in 0..tile.count {
            let Segment { input, stride, channels, first } = *tile.segments.add(index);
            let mut weights = tile.weights.add(first * C * LANES);
            let origin = input.add((tile.row + row) * stride);
            let mut pixels = [origin; R];
            for (r, pixel) in pixels.iter_mut().enumerate() {
                *pixel = origin.add(r * stride);
            }
            for round in 0..channels / (2 * LANES) {
                if round % 2 == 1 {
                    F32x4::prefetch(*ahead);
                    *ahead = ahead.wrapping_byte_add(step);
                }
                if C <= 4 {
                    // There are registers for eight channels of all rows.
                    let values = each(&mut pixels, |pixel| next_two(pixel));
                    quad(&mut sums, values.map(|[first, _]| first), &mut weights);
                    quad(&mut sums, values.map(|[_, second]| second), &mut weights);
                } else {
                    quad(&mut sums, each(&mut pixels, |pixel| next_one(pixel)), &mut weights);
                    quad(&mut sums, each(&mut pixels, |pixel| next_one(pixel)), &mut weights);
                }
            }
            if channels & LANES != 0 {
                quad(&mut sums, each(&mut pixels, |pixel| next_one(pixel)), &mut weights);
            }
            if channels & 2 != 0 {
                let values = pixels.map(|at| vcombine_f32(vld1_f32(at), vld1_f32(at)));
                column::<0, R, C>(&mut sums, &values, weights);
                column::<1, R, C>(&mut sums, &values, weights.add(C * LANES));
                weights = weights.add(2 * C * LANES);
                pixels = pixels.map(|at| at.add(2));
            }
            if channels & 1 != 0 {
                let values = pixels.map(|at| vcombine_f32(vld1_dup_f32(at), vld1_dup_f32(at)));
                column::<0, R, C>(&mut sums, &values, weights);
            }
        }
        if !is_plain(tile) {
            let (low, high) = (vdupq_n_f32(tile.low), vdupq_n_f32(tile.high));
            for sums in &mut sums {
                *sums = sums.map(|sum| vminq_f32(vmaxq_f32(sum, low), high));
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let out = tile.out.add((row + r) * tile.out_stride);
            for (c, sum) in sums.iter().enumerate() {
                vst1q_f32(out.add(c * LANES), *sum);
            }
        }
    }
}

/// Applies `next` to every row.
#[inline(always)]
fn each<T, const R: usize>(pixels: &mut [*const f32; R], mut next: impl FnMut(&mut *const f32) -> T) -> [T; R] {
    from_fn(|r| next(&mut pixels[r]))
}

/// One channel of every row, in lane `LANE` of `values`.
///
/// # Safety
/// - The weights are readable for `C` vectors.
/// - The processor has NEON.
#[inline(always)]
unsafe fn column<const LANE: i32, const R: usize, const C: usize>(
    sums: &mut [[float32x4_t; C]; R],
    values: &[float32x4_t; R],
    weights: *const f32,
) {
    for c in 0..C {
        // SAFETY: vector `c` is one of the `C` readable ones, and the processor has NEON.
        let factor = unsafe { vld1q_f32(weights.add(c * LANES)) };
        for (sums, value) in sums.iter_mut().zip(values) {
            // SAFETY: the processor has NEON, as the caller guarantees.
            sums[c] = unsafe { vfmaq_laneq_f32::<LANE>(sums[c], factor, *value) };
        }
    }
}

/// Four channels of every row, in `values`.
///
/// # Safety
/// - The weights are readable for `C` vectors for each of the channels.
/// - The processor has NEON.
#[inline(always)]
unsafe fn quad<const R: usize, const C: usize>(
    sums: &mut [[float32x4_t; C]; R],
    values: [float32x4_t; R],
    weights: &mut *const f32,
) {
    // SAFETY: four channels of `C` vectors are `C` times four vectors; each call takes four of them if there are as
    // many. Written out, because the compiler would not unroll a loop of this size and would keep the sums in memory.
    unsafe {
        quarter::<0, R, C>(sums, &values, weights);
        quarter::<1, R, C>(sums, &values, weights);
        quarter::<2, R, C>(sums, &values, weights);
        quarter::<3, R, C>(sums, &values, weights);
        quarter::<4, R, C>(sums, &values, weights);
        quarter::<5, R, C>(sums, &values, weights);
    }
}

/// Vectors `4 * G` to `4 * G + 3` of the weights of four channels, if there are as many.
///
/// # Safety
/// - The weights are readable for four vectors if `G < C`.
/// - The processor has NEON.
#[inline(always)]
unsafe fn quarter<const G: usize, const R: usize, const C: usize>(
    sums: &mut [[float32x4_t; C]; R],
    values: &[float32x4_t; R],
    weights: &mut *const f32,
) {
    if G >= C {
        return;
    }
    // SAFETY: `G` is less than `C`, so four vectors are readable, and the processor has NEON.
    let factors = unsafe { next_four(weights) };
    for (index, factor) in factors.into_iter().enumerate() {
        let (k, c) = ((4 * G + index) / C, (4 * G + index) % C);
        for (sums, value) in sums.iter_mut().zip(values) {
            // SAFETY: the processor has NEON, as the caller guarantees.
            sums[c] = unsafe {
                match k {
                    0 => vfmaq_laneq_f32::<0>(sums[c], factor, *value),
                    1 => vfmaq_laneq_f32::<1>(sums[c], factor, *value),
                    2 => vfmaq_laneq_f32::<2>(sums[c], factor, *value),
                    _ => vfmaq_laneq_f32::<3>(sums[c], factor, *value),
                }
            };
        }
    }
}

/// Loads the next four vectors and advances the address past them. The compiler has no intrinsic for this instruction.
///
/// # Safety
/// - The address is readable for 16 values.
/// - The processor has NEON.
#[inline(always)]
unsafe fn next_four(at: &mut *const f32) -> [float32x4_t; 4] {
    let (a, b, c, d);
    // SAFETY: the instruction reads the 16 values that are readable, and the processor has NEON.
    unsafe {
        asm!(
            "ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{at}], #64",
            at = inout(reg) *at,
            out("v0") a, out("v1") b, out("v2") c, out("v3") d,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    [a, b, c, d]
}

/// Loads the next two vectors and advances the address past them.
///
/// # Safety
/// - The address is readable for 8 values.
/// - The processor has NEON.
#[inline(always)]
unsafe fn next_two(at: &mut *const f32) -> [float32x4_t; 2] {
    let (a, b);
    // SAFETY: the instruction reads the 8 values that are readable, and the processor has NEON.
    unsafe {
        asm!(
            "ldp {a:q}, {b:q}, [{at}], #32",
            at = inout(reg) *at, a = out(vreg) a, b = out(vreg) b,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    [a, b]
}

/// Loads the next vector and advances the address past it.
///
/// # Safety
/// - The address is readable for 4 values.
/// - The processor has NEON.
#[inline(always)]
unsafe fn next_one(at: &mut *const f32) -> float32x4_t {
    let a;
    // SAFETY: the instruction reads the 4 values that are readable, and the processor has NEON.
    unsafe {
        asm!(
            "ldr {a:q}, [{at}], #16",
            at = inout(reg) *at, a = out(vreg) a,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    a
}
