//! Rows of a depthwise convolution in assembly, for eight channels in pairs of registers. The loads, which have no
//! compiler intrinsics, advance their address by the distance of two pixels; taps, sums and columns take all 32
//! registers.
//!
//! Registers 0 to 17 hold the nine taps, row by row, 18 and 19 the bias, 20 to 23 two outputs in progress, 24 to 29 a
//! column of the input, 30 and 31 the limits of results.

use std::arch::asm;
use std::ptr::from_ref;

use crate::kernels::tile::Depthwise;

/// Loads the next column of the input.
macro_rules! column {
    () => {
        "ld1 {{v24.4s, v25.4s}}, [{a}], {in_pitch}
         ld1 {{v26.4s, v27.4s}}, [{b}], {in_pitch}
         ld1 {{v28.4s, v29.4s}}, [{c}], {in_pitch}"
    };
}

/// Adds the column's contribution to an output, in registers `$a` and `$b`, whose kernel has it on the left, in the
/// middle or on the right: the numbers are those of the taps.
macro_rules! add {
    ($a:literal $b:literal left) => {
        add!($a $b, 0 1 6 7 12 13)
    };
    ($a:literal $b:literal middle) => {
        add!($a $b, 2 3 8 9 14 15)
    };
    ($a:literal $b:literal right) => {
        add!($a $b, 4 5 10 11 16 17)
    };
    ($a:literal $b:literal, $p:literal $q:literal $r:literal $s:literal $t:literal $u:literal) => {
        concat!(
            concat!("fmla v", $a, ".4s, v24.4s, v", $p, ".4s\nfmla v", $b, ".4s, v25.4s, v", $q, ".4s\n"),
            concat!("fmla v", $a, ".4s, v26.4s, v", $r, ".4s\nfmla v", $b, ".4s, v27.4s, v", $s, ".4s\n"),
            concat!("fmla v", $a, ".4s, v28.4s, v", $t, ".4s\nfmla v", $b, ".4s, v29.4s, v", $u, ".4s\n"),
        )
    };
}

/// Starts an output with the bias.
macro_rules! open {
    ($a:literal $b:literal) => {
        concat!("mov v", $a, ".16b, v18.16b\nmov v", $b, ".16b, v19.16b")
    };
}

/// Stores an output, unchanged or clamped: both instructions keep NaN.
macro_rules! close {
    ($a:literal $b:literal plain) => {
        concat!("st1 {{v", $a, ".4s, v", $b, ".4s}}, [{out}], {out_pitch}")
    };
    ($a:literal $b:literal clamped) => {
        concat!(limit!($a), limit!($b), close!($a $b plain))
    };
}

/// See [`close`].
macro_rules! limit {
    ($a:literal) => {
        concat!("fmax v", $a, ".4s, v", $a, ".4s, v30.4s\nfmin v", $a, ".4s, v", $a, ".4s, v31.4s\n")
    };
}

/// Loads the next tap, or the bias.
macro_rules! tap {
    ($a:literal $b:literal) => {
        concat!("ld1 {{v", $a, ".4s, v", $b, ".4s}}, [{tap}], {tap_pitch}")
    };
}

/// Defines a function for rows with one stride.
macro_rules! row {
    ($name:ident, $rounds:expr, $rest:expr, $($line:expr),*) => {
        /// A row of eight channels: see [`Depthwise`].
        ///
        /// # Safety
        /// - The duties of [`Depthwise`], for 8 channels and the stride of the name.
        /// - The processor has NEON.
        #[target_feature(enable = "neon")]
        pub(super) unsafe fn $name(row: &Depthwise) {
            let [a, b, c] = row.rows;
            // SAFETY: by the duties of `Depthwise`, the taps and the bias are readable, the rows are readable at every
            // column below `in_width`, and the output is writable at every pixel below `out_width`: the rounds and the
            // remainder read and write exactly these. All registers that are written are named here, and the processor
            // has NEON.
            unsafe {
                asm!(
                    tap!(0 1), tap!(2 3), tap!(4 5), tap!(6 7), tap!(8 9), tap!(10 11), tap!(12 13), tap!(14 15),
                    tap!(16 17), tap!(18 19),
                    "ld1r {{v30.4s}}, [{low}]",
                    "ld1r {{v31.4s}}, [{high}]",
                    $($line,)*
                    a = inout(reg) a => _, b = inout(reg) b => _, c = inout(reg) c => _,
                    in_pitch = in(reg) row.in_stride * size_of::<f32>(),
                    out = inout(reg) row.out => _,
                    out_pitch = in(reg) row.out_stride * size_of::<f32>(),
                    tap = inout(reg) row.weights => _,
                    tap_pitch = in(reg) row.weight_stride * size_of::<f32>(),
                    low = in(reg) from_ref(&row.low),
                    high = in(reg) from_ref(&row.high),
                    rounds = inout(reg) $rounds(row) => _,
                    rest = in(reg) $rest(row),
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

/// Stride 1: every column contributes to three outputs; one of them is finished and one is started. Two columns form a
/// round, so that the outputs in progress swap roles without moves.
macro_rules! dense {
    ($name:ident, $kind:tt) => {
        row! {
            $name,
            |row: &Depthwise| (row.out_width - 1) / 2,
            |row: &Depthwise| (row.out_width - 1) % 2,
            column!(), open!(20 21), open!(22 23), add!(20 21 middle), add!(22 23 left),
            "cbz {rounds}, 3f",
            "2:",
            column!(), add!(20 21 right), add!(22 23 middle), close!(20 21 $kind), open!(20 21), add!(20 21 left),
            column!(), add!(22 23 right), add!(20 21 middle), close!(22 23 $kind), open!(22 23), add!(22 23 left),
            "subs {rounds}, {rounds}, #1",
            "b.ne 2b",
            "3:",
            "cbz {rest}, 4f",
            column!(), add!(20 21 right), add!(22 23 middle), close!(20 21 $kind), close!(22 23 $kind),
            "b 5f",
            "4:",
            close!(20 21 $kind),
            "5:"
        }
    };
}

/// Stride 2: the right column of an output is the left one of the next.
macro_rules! halving {
    ($name:ident, $kind:tt) => {
        row! {
            $name,
            |row: &Depthwise| row.in_width / 2,
            |row: &Depthwise| row.in_width % 2,
            open!(20 21),
            "cbz {rounds}, 3f",
            "2:",
            column!(), add!(20 21 middle), column!(), add!(20 21 right), close!(20 21 $kind),
            open!(20 21), add!(20 21 left),
            "subs {rounds}, {rounds}, #1",
            "b.ne 2b",
            "3:",
            "cbz {rest}, 4f",
            column!(), add!(20 21 middle), close!(20 21 $kind),
            "4:"
        }
    };
}

dense!(dense_plain, plain);
dense!(dense_clamped, clamped);
halving!(halving_plain, plain);
halving!(halving_clamped, clamped);

/// A row of eight channels: see [`Depthwise`].
///
/// # Safety
/// - The duties of [`Depthwise`], for 8 channels and this stride.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn pair<const STRIDE: usize>(row: &Depthwise) {
    let is_plain = (row.low, row.high) == (f32::NEG_INFINITY, f32::INFINITY);
    // SAFETY: the duties of each are those of this function, for the stride.
    unsafe {
        match (STRIDE, is_plain) {
            (1, true) => dense_plain(row),
            (1, false) => dense_clamped(row),
            (_, true) => halving_plain(row),
            (_, false) => halving_clamped(row),
        }
    }
}
