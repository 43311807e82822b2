//! Kernels that are written once, generic over the vectors of any instruction set.
//!
//! They are always inlined: each is compiled as part of a function that has the features of an instruction set. Most
//! take two vector types: a wide one, and another one for the remaining channels.

pub(super) mod depthwise;
pub(super) mod gemm;
pub(super) mod peak;
pub(super) mod picture;
pub(super) mod pool;
pub(super) mod strassen;
pub(super) mod vector;
pub(super) mod winograd;
pub(super) mod words;
