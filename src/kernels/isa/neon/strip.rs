//! The strips that do most of the work, in assembly: four rows by four, five or six vectors take all 32 registers, and
//! the compiler has no intrinsics for the loads that need the fewest instructions.
//!
//! Registers 0 to 3 hold weights, those from 4 on input channels, four per row, and the last ones the sums, row by row.
//! A channel of a row is multiplied from its lane.

use std::arch::asm;
use std::mem::offset_of;
use std::ptr::from_ref;

use crate::kernels::tile::{Segment, Tile};

// What the assembly relies on.
const _: () = assert!(size_of::<Segment>() == 32 && offset_of!(Segment, stride) == 8);
const _: () = assert!(offset_of!(Segment, channels) == 16 && offset_of!(Segment, first) == 24);
const _: () = assert!(cfg!(target_endian = "little"));

/// Loads the next vectors of weights into these registers.
macro_rules! weights {
    ($a:literal) => {
        concat!("ld1 {{v", $a, ".4s}}, [{w}], #16\n")
    };
    ($a:literal $b:literal) => {
        concat!("ld1 {{v", $a, ".4s, v", $b, ".4s}}, [{w}], #32\n")
    };
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("ld1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{w}], #64\n")
    };
}

/// Adds the vector in register `$w`, times lane `$k` of each of four registers, to each of four sums.
macro_rules! column {
    ($w:literal $k:literal, $p:literal $q:literal $r:literal $s:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            concat!("fmla v", $a, ".4s, v", $w, ".4s, v", $p, ".s[", $k, "]\n"),
            concat!("fmla v", $b, ".4s, v", $w, ".4s, v", $q, ".s[", $k, "]\n"),
            concat!("fmla v", $c, ".4s, v", $w, ".4s, v", $r, ".s[", $k, "]\n"),
            concat!("fmla v", $d, ".4s, v", $w, ".4s, v", $s, ".s[", $k, "]\n"),
        )
    };
}

/// Clamps a sum. Both instructions keep NaN.
macro_rules! clamp {
    ($a:literal) => {
        concat!("fmax v", $a, ".4s, v", $a, ".4s, v0.4s\nfmin v", $a, ".4s, v", $a, ".4s, v1.4s\n")
    };
}

/// Starts a row of sums with the bias, or clamps it, or stores it.
macro_rules! row {
    (load $a:literal $b:literal $c:literal $d:literal) => {
        concat!("ld1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{bias}], {bias_pitch}\n")
    };
    (load $a:literal $b:literal $c:literal $d:literal $e:literal) => {
        concat!(
            concat!("ld1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{bias}], #64\n"),
            concat!("ld1 {{v", $e, ".4s}}, [{bias}], {bias_pitch}\n"),
        )
    };
    (load $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal) => {
        concat!(
            concat!("ld1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{bias}], #64\n"),
            concat!("ld1 {{v", $e, ".4s, v", $f, ".4s}}, [{bias}], {bias_pitch}\n"),
        )
    };
    (clamp $($sum:literal)*) => {
        concat!($(clamp!($sum)),*)
    };
    (store $a:literal $b:literal $c:literal $d:literal) => {
        concat!("st1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{out}], {out_pitch}\n")
    };
    (store $a:literal $b:literal $c:literal $d:literal $e:literal) => {
        concat!(
            concat!("st1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{out}], #64\n"),
            concat!("st1 {{v", $e, ".4s}}, [{out}], {out_pitch}\n"),
        )
    };
    (store $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal) => {
        concat!(
            concat!("st1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{out}], #64\n"),
            concat!("st1 {{v", $e, ".4s, v", $f, ".4s}}, [{out}], {out_pitch}\n"),
        )
    };
}

/// One, two or four channels of four rows for four vectors, with registers for the next weights.
macro_rules! by_four {
    (1, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 12 16 20 24),
            column!(1 0, $p $q $r $s, 13 17 21 25),
            column!(2 0, $p $q $r $s, 14 18 22 26),
            column!(3 0, $p $q $r $s, 15 19 23 27),
        )
    };
    (2, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            weights!(28 29 30 31),
            column!(0 0, $p $q $r $s, 12 16 20 24),
            column!(1 0, $p $q $r $s, 13 17 21 25),
            column!(2 0, $p $q $r $s, 14 18 22 26),
            column!(3 0, $p $q $r $s, 15 19 23 27),
            column!(28 1, $p $q $r $s, 12 16 20 24),
            column!(29 1, $p $q $r $s, 13 17 21 25),
            column!(30 1, $p $q $r $s, 14 18 22 26),
            column!(31 1, $p $q $r $s, 15 19 23 27),
        )
    };
    (4, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            weights!(28 29 30 31),
            column!(0 0, $p $q $r $s, 12 16 20 24),
            column!(1 0, $p $q $r $s, 13 17 21 25),
            column!(2 0, $p $q $r $s, 14 18 22 26),
            column!(3 0, $p $q $r $s, 15 19 23 27),
            weights!(0 1 2 3),
            column!(28 1, $p $q $r $s, 12 16 20 24),
            column!(29 1, $p $q $r $s, 13 17 21 25),
            column!(30 1, $p $q $r $s, 14 18 22 26),
            column!(31 1, $p $q $r $s, 15 19 23 27),
            weights!(28 29 30 31),
            column!(0 2, $p $q $r $s, 12 16 20 24),
            column!(1 2, $p $q $r $s, 13 17 21 25),
            column!(2 2, $p $q $r $s, 14 18 22 26),
            column!(3 2, $p $q $r $s, 15 19 23 27),
            column!(28 3, $p $q $r $s, 12 16 20 24),
            column!(29 3, $p $q $r $s, 13 17 21 25),
            column!(30 3, $p $q $r $s, 14 18 22 26),
            column!(31 3, $p $q $r $s, 15 19 23 27),
        )
    };
}

/// Starts all sums of four rows by four vectors with the bias, or clamps them, or stores them.
macro_rules! rows_of_four {
    ($what:tt) => {
        concat!(
            row!($what 12 13 14 15),
            row!($what 16 17 18 19),
            row!($what 20 21 22 23),
            row!($what 24 25 26 27),
        )
    };
}

/// One, two or four channels of four rows for five vectors.
macro_rules! by_five {
    (1, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 12 17 22 27),
            column!(1 0, $p $q $r $s, 13 18 23 28),
            column!(2 0, $p $q $r $s, 14 19 24 29),
            column!(3 0, $p $q $r $s, 15 20 25 30),
            weights!(0),
            column!(0 0, $p $q $r $s, 16 21 26 31),
        )
    };
    (2, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 12 17 22 27),
            column!(1 0, $p $q $r $s, 13 18 23 28),
            column!(2 0, $p $q $r $s, 14 19 24 29),
            column!(3 0, $p $q $r $s, 15 20 25 30),
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 16 21 26 31),
            column!(1 1, $p $q $r $s, 12 17 22 27),
            column!(2 1, $p $q $r $s, 13 18 23 28),
            column!(3 1, $p $q $r $s, 14 19 24 29),
            weights!(0 1),
            column!(0 1, $p $q $r $s, 15 20 25 30),
            column!(1 1, $p $q $r $s, 16 21 26 31),
        )
    };
    (4, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 12 17 22 27),
            column!(1 0, $p $q $r $s, 13 18 23 28),
            column!(2 0, $p $q $r $s, 14 19 24 29),
            column!(3 0, $p $q $r $s, 15 20 25 30),
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 16 21 26 31),
            column!(1 1, $p $q $r $s, 12 17 22 27),
            column!(2 1, $p $q $r $s, 13 18 23 28),
            column!(3 1, $p $q $r $s, 14 19 24 29),
            weights!(0 1 2 3),
            column!(0 1, $p $q $r $s, 15 20 25 30),
            column!(1 1, $p $q $r $s, 16 21 26 31),
            column!(2 2, $p $q $r $s, 12 17 22 27),
            column!(3 2, $p $q $r $s, 13 18 23 28),
            weights!(0 1 2 3),
            column!(0 2, $p $q $r $s, 14 19 24 29),
            column!(1 2, $p $q $r $s, 15 20 25 30),
            column!(2 2, $p $q $r $s, 16 21 26 31),
            column!(3 3, $p $q $r $s, 12 17 22 27),
            weights!(0 1 2 3),
            column!(0 3, $p $q $r $s, 13 18 23 28),
            column!(1 3, $p $q $r $s, 14 19 24 29),
            column!(2 3, $p $q $r $s, 15 20 25 30),
            column!(3 3, $p $q $r $s, 16 21 26 31),
        )
    };
}

/// Starts all sums of four rows by five vectors with the bias, or clamps them, or stores them.
macro_rules! rows_of_five {
    ($what:tt) => {
        concat!(
            row!($what 12 13 14 15 16),
            row!($what 17 18 19 20 21),
            row!($what 22 23 24 25 26),
            row!($what 27 28 29 30 31),
        )
    };
}

/// One, two or four channels of four rows for six vectors.
macro_rules! by_six {
    (1, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 8 14 20 26),
            column!(1 0, $p $q $r $s, 9 15 21 27),
            column!(2 0, $p $q $r $s, 10 16 22 28),
            column!(3 0, $p $q $r $s, 11 17 23 29),
            weights!(0 1),
            column!(0 0, $p $q $r $s, 12 18 24 30),
            column!(1 0, $p $q $r $s, 13 19 25 31),
        )
    };
    (2, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 8 14 20 26),
            column!(1 0, $p $q $r $s, 9 15 21 27),
            column!(2 0, $p $q $r $s, 10 16 22 28),
            column!(3 0, $p $q $r $s, 11 17 23 29),
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 12 18 24 30),
            column!(1 0, $p $q $r $s, 13 19 25 31),
            column!(2 1, $p $q $r $s, 8 14 20 26),
            column!(3 1, $p $q $r $s, 9 15 21 27),
            weights!(0 1 2 3),
            column!(0 1, $p $q $r $s, 10 16 22 28),
            column!(1 1, $p $q $r $s, 11 17 23 29),
            column!(2 1, $p $q $r $s, 12 18 24 30),
            column!(3 1, $p $q $r $s, 13 19 25 31),
        )
    };
    (4, $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 8 14 20 26),
            column!(1 0, $p $q $r $s, 9 15 21 27),
            column!(2 0, $p $q $r $s, 10 16 22 28),
            column!(3 0, $p $q $r $s, 11 17 23 29),
            weights!(0 1 2 3),
            column!(0 0, $p $q $r $s, 12 18 24 30),
            column!(1 0, $p $q $r $s, 13 19 25 31),
            column!(2 1, $p $q $r $s, 8 14 20 26),
            column!(3 1, $p $q $r $s, 9 15 21 27),
            weights!(0 1 2 3),
            column!(0 1, $p $q $r $s, 10 16 22 28),
            column!(1 1, $p $q $r $s, 11 17 23 29),
            column!(2 1, $p $q $r $s, 12 18 24 30),
            column!(3 1, $p $q $r $s, 13 19 25 31),
            weights!(0 1 2 3),
            column!(0 2, $p $q $r $s, 8 14 20 26),
            column!(1 2, $p $q $r $s, 9 15 21 27),
            column!(2 2, $p $q $r $s, 10 16 22 28),
            column!(3 2, $p $q $r $s, 11 17 23 29),
            weights!(0 1 2 3),
            column!(0 2, $p $q $r $s, 12 18 24 30),
            column!(1 2, $p $q $r $s, 13 19 25 31),
            column!(2 3, $p $q $r $s, 8 14 20 26),
            column!(3 3, $p $q $r $s, 9 15 21 27),
            weights!(0 1 2 3),
            column!(0 3, $p $q $r $s, 10 16 22 28),
            column!(1 3, $p $q $r $s, 11 17 23 29),
            column!(2 3, $p $q $r $s, 12 18 24 30),
            column!(3 3, $p $q $r $s, 13 19 25 31),
        )
    };
}

/// Starts all sums of four rows by six vectors with the bias, or clamps them, or stores them.
macro_rules! rows_of_six {
    ($what:tt) => {
        concat!(
            row!($what 8 9 10 11 12 13),
            row!($what 14 15 16 17 18 19),
            row!($what 20 21 22 23 24 25),
            row!($what 26 27 28 29 30 31),
        )
    };
}

/// Eight channels of the four rows: in two halves for six vectors, at once for fewer, for which there are enough
/// registers.
macro_rules! eight {
    (by_six) => {
        concat!(
            "ldr q4, [{p}], #16\nldr q5, [{q}], #16\nldr q6, [{r}], #16\nldr q7, [{s}], #16\n",
            by_six!(4, 4 5 6 7),
            "ldr q4, [{p}], #16\nldr q5, [{q}], #16\nldr q6, [{r}], #16\nldr q7, [{s}], #16\n",
            by_six!(4, 4 5 6 7),
        )
    };
    ($by:ident) => {
        concat!(
            "ldp q4, q5, [{p}], #32\nldp q6, q7, [{q}], #32\nldp q8, q9, [{r}], #32\nldp q10, q11, [{s}], #32\n",
            $by!(4, 4 6 8 10),
            $by!(4, 5 7 9 11),
        )
    };
}

/// Whether results are stored unclamped.
pub(super) fn is_plain(tile: &Tile) -> bool {
    (tile.low, tile.high) == (f32::NEG_INFINITY, f32::INFINITY)
}

/// Defines a function for a number of vectors.
macro_rules! strip {
    ($name:ident, $vectors:literal, $by:ident, $rows:ident) => {
        /// The first `strips` strips of a tile, of four rows each, by the number of vectors in the name. `ahead` is
        /// prefetched, and advances by `step` bytes for every 16 channels.
        ///
        /// # Safety
        /// - The duties of [`Tile`], for these rows and vectors.
        /// - There is at least one strip, and the tile has at least one segment.
        /// - `step` is at least 1, and its product with the rounds of a segment stays below 2⁶⁴: rounds are counted in
        ///   units of it.
        /// - The processor has NEON.
        #[inline(always)]
        pub(super) unsafe fn $name(tile: &Tile, strips: usize, ahead: &mut *const f32, step: usize) {
            // Distance from the end of a row's first four vectors, or of all if there are no more, to the next row, in
            // bytes.
            let pitch = |stride: usize| (stride * size_of::<f32>()).wrapping_sub(64 * usize::from($vectors > 4));
            debug_assert!(strips > 0 && tile.count > 0 && step > 0, "{strips} strips of {tile:?}");
            // SAFETY: the instructions read the segments, the weights and the bias and write the output for the rows of
            // the strips, for which the duties of `Tile` are upheld; loops that test at their end are entered with at
            // least one round. All registers that are written are named here, and the processor has NEON.
            unsafe {
                asm!(
                    "9:",
                    "mov {segment}, {segments}",
                    "mov {count}, {counts}",
                    $rows!(load),
                    // A segment: the positions of its rows, and its weights.
                    "2:",
                    "ldp {p}, {stride}, [{segment}], #16",
                    "ldp {left}, {w}, [{segment}], #16",
                    "madd {p}, {stride}, {row}, {p}",
                    "add {q}, {p}, {stride}, lsl #2",
                    "add {r}, {p}, {stride}, lsl #3",
                    "add {s}, {q}, {stride}, lsl #3",
                    "madd {w}, {w}, {pitch}, {weights}",
                    "lsr {rounds}, {left}, #4",
                    "cbz {rounds}, 4f",
                    // Rounds are counted down in bytes to prefetch.
                    "madd {ahead}, {rounds}, {step}, {ahead}",
                    "mneg {rounds}, {rounds}, {step}",
                    "3:",
                    "prfm pldl1keep, [{ahead}, {rounds}]",
                    eight!($by),
                    eight!($by),
                    "adds {rounds}, {rounds}, {step}",
                    "b.ne 3b",
                    // The remainder: eight channels, four, two, one.
                    "4:",
                    "tbz {left}, #3, 8f",
                    eight!($by),
                    "8:",
                    "tbz {left}, #2, 5f",
                    "ldr q4, [{p}], #16",
                    "ldr q5, [{q}], #16",
                    "ldr q6, [{r}], #16",
                    "ldr q7, [{s}], #16",
                    $by!(4, 4 5 6 7),
                    "5:",
                    "tbz {left}, #1, 6f",
                    "ldr d4, [{p}], #8",
                    "ldr d5, [{q}], #8",
                    "ldr d6, [{r}], #8",
                    "ldr d7, [{s}], #8",
                    $by!(2, 4 5 6 7),
                    "6:",
                    "tbz {left}, #0, 7f",
                    "ldr s4, [{p}]",
                    "ldr s5, [{q}]",
                    "ldr s6, [{r}]",
                    "ldr s7, [{s}]",
                    $by!(1, 4 5 6 7),
                    "7:",
                    "subs {count}, {count}, #1",
                    "b.ne 2b",
                    "cbz {clamps}, 10f",
                    "ld1r {{v0.4s}}, [{low}]",
                    "ld1r {{v1.4s}}, [{high}]",
                    $rows!(clamp),
                    "10:",
                    $rows!(store),
                    "add {row}, {row}, #16",
                    "subs {strips}, {strips}, #1",
                    "b.ne 9b",
                    segments = in(reg) tile.segments,
                    counts = in(reg) tile.count,
                    segment = out(reg) _,
                    count = out(reg) _,
                    strips = inout(reg) strips => _,
                    // In bytes, for a distance of one value.
                    row = inout(reg) tile.row * size_of::<f32>() => _,
                    weights = in(reg) tile.weights,
                    pitch = in(reg) $vectors * size_of::<[f32; 4]>(),
                    bias = inout(reg) tile.bias => _,
                    bias_pitch = in(reg) pitch(tile.bias_stride),
                    clamps = in(reg) usize::from(!is_plain(tile)),
                    low = in(reg) from_ref(&tile.low),
                    high = in(reg) from_ref(&tile.high),
                    out = inout(reg) tile.out => _,
                    out_pitch = in(reg) pitch(tile.out_stride),
                    ahead = inout(reg) *ahead,
                    step = in(reg) step,
                    p = out(reg) _, q = out(reg) _, r = out(reg) _, s = out(reg) _, w = out(reg) _,
                    stride = out(reg) _, left = out(reg) _, rounds = out(reg) _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                    out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
                    out("v14") _, out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                    out("v20") _, out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
                    out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                    options(nostack),
                );
            }
        }
    };
}

strip!(four, 4, by_four, rows_of_four);
strip!(five, 5, by_five, rows_of_five);
strip!(six, 6, by_six, rows_of_six);
