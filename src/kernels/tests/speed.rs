//! How fast the kernels are: not checked, but printed.
