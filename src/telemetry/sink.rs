//! What becomes of the records that a sink takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::histogram::Histogram;

/// Counters of a sink, which outlive it. Written by the threads of the sink, read for reports.
#[derive(Debug, Default)]
pub struct SinkCounters {
    taken: AtomicU64,
    lost: AtomicU64,
    connections: AtomicU64,
    is_connected: AtomicBool,
    acknowledged: Histogram,
}

/// A snapshot of [`SinkCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Results taken.
    pub taken: u64,
    /// Results that will not be delivered.
    pub lost: u64,
    /// Connections made.
    pub connections: u64,
    /// Whether there is a connection.
    pub is_connected: bool,
}

impl SinkCounters {
    /// Counts a result that the sink has taken.
    pub fn count_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a result that the sink will not deliver.
    pub fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has been made, or ended.
    pub fn set_connected(&self, is_connected: bool) {
        if is_connected && !self.is_connected.swap(true, Ordering::Relaxed) {
            self.connections.fetch_add(1, Ordering::Relaxed);
        } else if !is_connected {
            self.is_connected.store(false, Ordering::Relaxed);
        }
    }

    /// A result has been acknowledged, `us` microseconds after it was taken.
    pub fn acknowledge(&self, us: u64) {
        self.acknowledged.record(us);
    }

    /// Times from taking results to their acknowledgement.
    #[must_use]
    pub fn acknowledged(&self) -> &Histogram {
        &self.acknowledged
    }

    /// The current values.
    #[must_use]
    pub fn read(&self) -> SinkCounts {
        SinkCounts {
            taken: self.taken.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            is_connected: self.is_connected.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_when_it_is_made() {
        let sink = SinkCounters::default();
        [true, true, false, false, true].into_iter().for_each(|is_connected| sink.set_connected(is_connected));
        sink.count_taken();
        sink.count_lost();
        assert_eq!(sink.read(), SinkCounts { taken: 1, lost: 1, connections: 2, is_connected: true });
    }
}
