//! A stream as the inference threads see it.

use std::sync::Arc;

use super::carry::CarryOver;
use super::queue::QueueReceiver;
use super::quota::Failures;
use super::states::States;
use super::turn::Turn;
use crate::collect::Chooser;
use crate::preprocess::Preprocessor;
use crate::publish::Backlog;
use crate::record::ModelTag;
use crate::telemetry::{FrameNumbers, StreamCounters};

/// One stream.
pub(super) struct Lane {
    pub(super) stream: Arc<str>,
    pub(super) outlet: QueueReceiver,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) numbers: Arc<FrameNumbers>,
    pub(super) states: Arc<States>,
    pub(super) task: Task,
    /// Results after which the stream ends; `None`: no end.
    pub(super) remaining: Option<u64>,
    /// If the source is not live: where it has reserved a place for each frame.
    pub(super) backlog: Option<Backlog>,
    /// Who waits for results of its frames, if it is not live and the stream is to end.
    pub(super) failures: Option<Failures>,
}

/// What a pipeline does with the frames of a stream.
pub(super) struct Task {
    /// Number of the model in the pipeline.
    pub(super) model: usize,
    pub(super) tag: Arc<ModelTag>,
    /// One per stream, because its tables depend on the layout of the stream's frames.
    pub(super) preprocessor: Preprocessor,
    /// Decides which frames are kept, if any are to be.
    pub(super) chooser: Option<Chooser>,
    pub(super) turn: Turn,
    /// Carries results over, if they may be.
    pub(super) carry: Option<CarryOver>,
}

impl Lane {
    /// Takes over a stream that goes on: all of `old`, with its turn, but what is done with its frames.
    pub(super) fn take_over(&mut self, old: Self) {
        let Self { mut task, .. } = std::mem::replace(self, old);
        if let Some(chooser) = &mut task.chooser {
            chooser.follow(self.task.chooser.as_ref());
        }
        task.turn.follow(self.task.turn);
        self.task = task;
    }
}
