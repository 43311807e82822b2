//! Pooling, written over vectors of channels.
//!
//! # Safety
//!
//! A loop over channels takes vectors `V` while they fit, then `W`, of which every width is a multiple: it neither
//! reads nor writes beyond the width.

use super::vector::Vector;
use crate::kernels::tile::Largest;

/// The maximum over a window: see [`Largest`]. `W` has one step of channels.
///
/// # Safety
/// - The duties of [`Largest`], for a step of `W::LANES` channels.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn largest<V: Vector, W: Vector>(call: &Largest) {
    debug_assert!(call.lanes.is_multiple_of(W::LANES), "{call:?}");
    let mut lane = 0;
    // SAFETY: the vectors end at the end of the channels at the latest: `lanes` is a multiple of `W::LANES`. All other
    // duties are those of this function.
    unsafe {
        while lane + V::LANES <= call.lanes {
            largest_of::<V>(call, lane);
            lane += V::LANES;
        }
        while lane < call.lanes {
            largest_of::<W>(call, lane);
            lane += W::LANES;
        }
    }
}

/// One vector of channels, starting at channel `lane`.
///
/// # Safety
/// - The duties of [`largest`].
/// - There are at least `V::LANES` channels from `lane` on.
#[inline(always)]
unsafe fn largest_of<V: Vector>(call: &Largest, lane: usize) {
    // SAFETY: by the duties of `Largest`, every pixel of the window, of which there is at least one, is readable for
    // these channels, and the output is writable for them. The processor has the instructions.
    unsafe {
        let mut row = call.input.add(lane);
        let mut result = V::load(row);
        for _ in 0..call.height {
            let mut pixel = row;
            for _ in 0..call.width {
                result = result.max(V::load(pixel));
                pixel = pixel.wrapping_add(call.stride);
            }
            row = row.wrapping_add(call.row_stride);
        }
        result.store(call.out.add(lane));
    }
}
