//! The states of a stream, and the limits that decide about them. Pure: what is observed, and for how long, are arguments.
//!
//! ```text
//!               first result          no frame for a while        limit over, or failed
//!     starting ─────────────► online ◄────────────────────► stalled ───────────► retrying ──► online
//!                               ▲ │         frames again                             │
//!                    a key frame│ ▼ no key frame for a second                        ▼
//!                              waiting                                 offline, from every state
//! ```
//!
//! Two threads know what happens to a stream: that of its source, which sees silence and failures, and that of the
//! inference, which sees results. [`Lifecycle`] takes what both say, one event at a time, and returns a state whenever it
//! becomes another. A result counts only if its frame was captured after what it could refute: a frame on its way to the
//! network does not announce a source that has failed meanwhile.

use std::time::Duration;

use super::Error;
use crate::config::Stream;
use crate::record::StreamState;

/// Maximum time without a key frame that is not reported.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// Share of the stall limit after which silence is reported. The rest is left to a camera to come back by itself; a camera
/// that sends a frame every five seconds is not silent with the default limit, ten.
const QUIET_SHARE: f64 = 0.75;

/// What a running pipeline does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Time without a frame, for which the source is to blame.
    pub idle: Duration,
    /// Time for which frames have been left out until there is a key frame.
    pub keyless: Duration,
    /// Number of the next frame.
    pub next: u64,
}

/// How long a source may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its first frame.
    pub(super) start: Duration,
    /// From one frame to the next.
    pub(super) stall: Duration,
    /// Without a whole key frame.
    pub(super) key_frame: Duration,
}

impl Limits {
    /// The settings of a stream.
    pub(super) fn of(stream: &Stream) -> Self {
        Self { start: stream.start_timeout(), stall: stream.stall_timeout(), key_frame: stream.key_frame_timeout() }
    }

    /// Why a pipeline that has delivered `frames`, left out others, and `received` bytes since, has failed; `None` if it has
    /// not.
    pub(super) fn exceeded(&self, flow: Flow, frames: u64, left_out: u64, received: u64) -> Option<Error> {
        if flow.keyless > self.key_frame {
            return Some(Error::NoKeyFrame { seconds: Some(self.key_frame.as_secs_f64()), left_out });
        }
        let limit = if frames == 0 { self.start } else { self.stall };
        (flow.idle > limit).then(|| Error::Silent { seconds: limit.as_secs_f64(), frames, received })
    }
}

/// What happens to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A frame has a result.
    Result {
        /// Number of the frame.
        seq: u64,
    },
    /// The pipeline runs.
    Playing(Flow),
    /// The source has failed and will be reopened.
    Failed {
        /// Number of the first frame after that.
        next: u64,
    },
    /// There will be no more results.
    Ended,
}

/// The state of a stream.
#[derive(Debug)]
pub struct Lifecycle {
    state: StreamState,
    /// Silence that is reported.
    quiet: Duration,
    /// Lowest number of a frame whose result shows that the source delivers.
    since: u64,
}

impl Lifecycle {
    /// A stream that is starting.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { state: StreamState::Starting, quiet: limits.stall.mul_f64(QUIET_SHARE), since: 0 }
    }

    /// The state at present.
    #[must_use]
    pub fn state(&self) -> StreamState {
        self.state
    }

    /// Takes an event; returns the new state if it is another one.
    pub fn take(&mut self, event: Event) -> Option<StreamState> {
        let state = match (self.state, event) {
            (StreamState::Offline, _) | (_, Event::Ended) => StreamState::Offline,
            (state, Event::Result { seq }) => {
                if seq >= self.since {
                    StreamState::Online
                } else {
                    state
                }
            }
            (state, Event::Playing(flow)) => self.playing(state, flow),
            (_, Event::Failed { next }) => {
                self.since = next;
                StreamState::Retrying
            }
        };
        (std::mem::replace(&mut self.state, state) != state).then_some(state)
    }

    fn playing(&mut self, state: StreamState, flow: Flow) -> StreamState {
        let new = match state {
            _ if flow.keyless > SHORT_WAIT => StreamState::Waiting,
            StreamState::Online | StreamState::Stalled if flow.idle > self.quiet => StreamState::Stalled,
            // Frames come, even if none of them is wanted at present.
            StreamState::Stalled => StreamState::Online,
            state => state,
        };
        if matches!(new, StreamState::Waiting | StreamState::Stalled) {
            self.since = flow.next;
        }
        new
    }
}

#[cfg(test)]
mod tests;
