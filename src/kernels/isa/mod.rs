//! Instruction sets: a folder for each, with the same file names for the same purposes.
//!
//! | file | content |
//! | --- | --- |
//! | `mod.rs` | a token that proves that the processor has the instruction set, and provides the kernels |
//! | `vector.rs`, `words.rs` | its vectors of `f32` and of `u16` |
//! | `table.rs`, `picture.rs` | its table and the functions in it: kernels of `generic`, compiled with its features |
//! | `gemm.rs`, `depthwise.rs` | its own kernels, in place of those of `generic` |
//!
//! `scalar` is plain Rust. All others are tested against it, and their tables start from its table.

/// A kernel for tiles of all sizes, in table order: for 3, 4, 6 and 8 points of rows and of columns. Other parameters
/// of the kernel may precede these.
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
