//! Instruction sets: one folder for each, with the same file names where files have the same job.
//!
//! | file | what is there |
//! | --- | --- |
//! | `mod.rs` | a token that proves that the processor has the instruction set, and gives the kernels |
//! | `vector.rs` | its vectors |
//! | `table.rs` | its table, and what is in it: kernels of `generic`, compiled with the features of the instruction set |
//! | `gemm.rs`, `depthwise.rs` | kernels of its own, in the place of those of `generic` |
//!
//! `scalar` is plain Rust. It is what all others are tested against, and the table that they begin as.

/// A kernel for tiles of all sizes, in the order of a table: for 3, 4, 6 and 8 points of rows and of columns.
/// Other parameters of the kernel may stand in front of these.
macro_rules! by_edges {
    ($kernel:ident $(, $parameter:ident)*) => {
        [
            by_edges!(3: $kernel $(, $parameter)*),
            by_edges!(4: $kernel $(, $parameter)*),
            by_edges!(6: $kernel $(, $parameter)*),
            by_edges!(8: $kernel $(, $parameter)*),
        ]
    };
    ($rows:literal: $kernel:ident $(, $parameter:ident)*) => {
        [
            $kernel::<$($parameter,)* $rows, 3>,
            $kernel::<$($parameter,)* $rows, 4>,
            $kernel::<$($parameter,)* $rows, 6>,
            $kernel::<$($parameter,)* $rows, 8>,
        ]
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod detect;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
