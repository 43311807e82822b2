//! Runs a plan frame after frame, on one or several threads.

use std::io;
use std::sync::Arc;

use super::plan::Plan;
use crate::kernels::runtime::{Broken, Team, Threads};

/// A plan with memory for one frame at a time and the threads that run it. Processing a frame allocates nothing.
#[derive(Debug)]
pub struct Runner {
    plan: Arc<Plan>,
    team: Team,
}

impl Runner {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system cannot start more threads or has too little memory.
    pub fn new(plan: Arc<Plan>, threads: &Threads) -> io::Result<Self> {
        let team = Team::new(Arc::clone(plan.program()), threads)?;
        Ok(Self { plan, team })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The memory of maps and scratch, between runs: no run depends on its content.
    pub fn memory(&mut self) -> &mut [f32] {
        self.team.values()
    }

    /// The memory that belongs to no map and no part's scratch, if the plan is [apart](Plan::apart).
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn gaps(&self) -> Vec<std::ops::Range<usize>> {
        let scratch = self.plan.program().gaps(self.team.parts());
        self.plan.gaps().iter().cloned().chain(scratch).collect()
    }

    /// The buffer for the next run's input: `[height, width, channels]`. A run may overwrite it.
    pub fn input(&mut self) -> &mut [f32] {
        let from = self.plan.input_map();
        &mut self.team.values()[from.offset..][..from.pixels() * from.channels]
    }

    /// Runs the network on a copy of `input`; otherwise like [`forward`](Self::forward).
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), Broken> {
        let to = self.input();
        let length = input.len().min(to.len());
        to[..length].copy_from_slice(&input[..length]);
        self.forward(output)
    }

    /// Runs the network on the content of [`input`](Self::input) and writes the values of its output, in the order
    /// `[channels, height, width]`. If `output` is longer than the plan's output, the rest is untouched; if it is
    /// shorter, the remaining values are dropped.
    ///
    /// # Errors
    /// If a thread has panicked; all further runs then fail as well.
    pub fn forward(&mut self, output: &mut [f32]) -> Result<(), Broken> {
        self.team.run()?;
        let to = self.plan.output_map();
        let (values, pixels) = (self.team.values(), to.pixels());
        for (index, value) in output.iter_mut().enumerate().take(self.plan.outputs()) {
            let (channel, pixel) = (index / pixels, index % pixels);
            *value = values[to.offset + pixel * to.stride + channel];
        }
        Ok(())
    }
}
