//! The tract backend in a program that is built without the feature `tract`: every network is refused.

use std::convert::Infallible;

use super::{Error, Network, Output};
use crate::engine::graph::Graph;
use crate::engine::import::File;
use crate::tensor::TensorMut;

/// A compiled network, which never exists in this build.
#[derive(Debug, Clone)]
pub struct TractPlan(Infallible);

impl TractPlan {
    /// Compiles nothing.
    ///
    /// # Errors
    /// [`Error::WithoutTract`], always.
    pub fn compile(_: Graph, _: usize, _: usize) -> Result<Self, Error> {
        Err(Error::WithoutTract)
    }

    /// Compiles nothing.
    ///
    /// # Errors
    /// [`Error::WithoutTract`], always.
    pub fn from_onnx(_: File, _: usize, _: usize) -> Result<Self, Error> {
        Err(Error::WithoutTract)
    }

    /// Number of values that the network writes.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self.0 {}
    }

    /// A network for one thread.
    ///
    /// # Errors
    /// Never fails: there is no plan.
    pub fn network(&self) -> Result<TractNetwork, Error> {
        match self.0 {}
    }
}

/// Extents of the output of an ONNX file's network.
///
/// # Errors
/// [`Error::WithoutTract`], always.
pub fn output_shape(_: File, _: usize, _: usize) -> Result<Vec<usize>, Error> {
    Err(Error::WithoutTract)
}

/// Runs a [`TractPlan`], which never exists in this build.
pub struct TractNetwork(Infallible);

impl Network for TractNetwork {
    fn input(&mut self) -> TensorMut<'_> {
        match self.0 {}
    }

    fn run(&mut self) -> Result<(), Error> {
        match self.0 {}
    }

    fn outputs(&self) -> &[Output] {
        match self.0 {}
    }
}

/// Nothing panics in tract.
pub fn silence_caught_panics() {}
