//! Sums of the quarters of matrices around Strassen's products, written over a vector of channels.
//!
//! # Safety
//!
//! The last vector of a row steps back to end with the row, which needs at least a vector's worth of channels in a
//! half: with fewer, a narrower vector is used, and finally single values.

use super::vector::{Vector, clamp};
use crate::kernels::tile::{StrassenInput, StrassenOutput};

/// The sums of the quarters of a matrix: see [`StrassenInput`]. `W` is no wider than `V`.
///
/// # Safety
/// - The duties of [`StrassenInput`].
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn strassen_input<V: Vector, W: Vector>(call: &StrassenInput) {
    debug_assert!(call.out_stride >= call.channels && call.stride >= 2 * call.channels, "{call:?}");
    // SAFETY: by the duties of `StrassenInput`, both halves are readable for both halves of the channels in every row,
    // and the output is writable for half of them in every row of every plane. `sums` is called only if there are at
    // least as many channels as a vector has, and the processor has the instructions.
    unsafe {
        if call.channels >= V::LANES {
            sums::<V>(call);
        } else if call.channels >= W::LANES {
            sums::<W>(call);
        } else {
            for (row, channel) in (0..call.rows).flat_map(|row| (0..call.channels).map(move |channel| (row, channel))) {
                let at = |from: *const f32, channel: usize| *from.add(row * call.stride + channel);
                let right = call.channels + channel;
                let s1 = at(call.lower, channel) + at(call.lower, right);
                let s2 = s1 - at(call.upper, channel);
                let s3 = at(call.upper, channel) - at(call.lower, channel);
                let s4 = at(call.upper, right) - s2;
                for (plane, sum) in [s1, s2, s3, s4].into_iter().enumerate() {
                    *call.out.add(plane * call.plane + row * call.out_stride + channel) = sum;
                }
            }
        }
    }
}

/// Computes the sums for at least one vector of channels; the last vector of a row steps back as far as necessary.
///
/// # Safety
/// - The duties of [`StrassenInput`].
/// - There are at least `V::LANES` channels.
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn sums<V: Vector>(call: &StrassenInput) {
    let StrassenInput { stride, rows, channels, out, out_stride, plane, .. } = *call;
    for row in 0..rows {
        let (upper, lower) = (call.upper.wrapping_add(row * stride), call.lower.wrapping_add(row * stride));
        let out = out.wrapping_add(row * out_stride);
        for channel in (0..channels).step_by(V::LANES) {
            let channel = channel.min(channels - V::LANES);
            // SAFETY: the vector ends at the end of the channels of a half at the latest, which are readable and
            // writable in every row by the duties of `StrassenInput`. The processor has the instructions.
            unsafe {
                let (a11, a12) = (V::load(upper.add(channel)), V::load(upper.add(channels + channel)));
                let (a21, a22) = (V::load(lower.add(channel)), V::load(lower.add(channels + channel)));
                let s1 = a21.add(a22);
                let s2 = s1.sub(a11);
                let out = out.add(channel);
                s1.store(out);
                s2.store(out.add(plane));
                a11.sub(a21).store(out.add(2 * plane));
                a12.sub(s2).store(out.add(3 * plane));
            }
        }
    }
}

/// Combines products: see [`StrassenOutput`]. `W` has one step of channels.
///
/// # Safety
/// - The duties of [`StrassenOutput`], for a step of `W::LANES` channels.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn strassen_output<V: Vector, W: Vector>(call: &StrassenOutput) {
    let StrassenOutput { width, .. } = *call;
    debug_assert!(width.is_multiple_of(W::LANES), "{call:?}");
    for row in 0..call.rows {
        let mut channel = 0;
        // SAFETY: the vectors end at the end of the row at the latest: `width` is a multiple of `W::LANES`. All other
        // duties are those of this function.
        unsafe {
            while channel + V::LANES <= width {
                join::<V>(call, row, channel);
                channel += V::LANES;
            }
            while channel < width {
                join::<W>(call, row, channel);
                channel += W::LANES;
            }
        }
    }
}

/// One vector of a row.
///
/// # Safety
/// - The duties of [`strassen_output`].
/// - The row has at least `V::LANES` channels from `channel` on.
#[inline(always)]
unsafe fn join<V: Vector>(call: &StrassenOutput, row: usize, channel: usize) {
    let at = row * call.width + channel;
    // SAFETY: by the duties of `StrassenOutput`, all four matrices have these channels of the row. The processor has
    // the instructions.
    unsafe {
        let product = V::load(call.product.add(at));
        let result = V::load(call.sum.add(at)).add(product);
        clamp(result, V::splat(call.low), V::splat(call.high)).store(call.out.add(row * call.out_stride + channel));
        V::load(call.other.add(at).cast_const()).add(product).store(call.other.add(at));
    }
}
