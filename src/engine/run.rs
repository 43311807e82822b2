//! Runs a plan, on one thread or several, frame after frame.

use std::io;
use std::sync::Arc;

use super::plan::Plan;
use crate::kernels::runtime::{Broken, Team, Threads};

/// A plan with memory for one frame at a time and the threads that run it. A frame allocates nothing.
#[derive(Debug)]
pub struct Runner {
    plan: Arc<Plan>,
    team: Team,
}

impl Runner {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system starts no more threads, or has too little memory.
    pub fn new(plan: Arc<Plan>, threads: &Threads) -> io::Result<Self> {
        let team = Team::new(Arc::clone(plan.program()), threads)?;
        Ok(Self { plan, team })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The memory that maps and scratch lie in, between runs: no run depends on what is there.
    pub fn memory(&mut self) -> &mut [f32] {
        self.team.values()
    }

    /// What of the memory no map and no part's scratch takes, where the plan is [apart](Plan::apart).
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn gaps(&self) -> Vec<std::ops::Range<usize>> {
        let scratch = self.plan.program().gaps(self.team.parts());
        self.plan.gaps().iter().cloned().chain(scratch).collect()
    }

    /// Where the input of the next run is written: `[height, width, channels]`. A run may overwrite it.
    pub fn input(&mut self) -> &mut [f32] {
        let from = self.plan.input_map();
        &mut self.team.values()[from.offset..][..from.pixels() * from.channels]
    }

    /// Runs the network on a copy of `input`; the rest is as in [`forward`](Self::forward).
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), Broken> {
        let to = self.input();
        let length = input.len().min(to.len());
        to[..length].copy_from_slice(&input[..length]);
        self.forward(output)
    }

    /// Runs the network on what [`input`](Self::input) holds, and writes the values of its output, in the order
    /// `[channels, height, width]`. Lengths are those of the plan: what is too long is left alone, and what is too short
    /// leaves the rest as it was.
    ///
    /// # Errors
    /// A thread has panicked; so will all further runs fail.
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
