//! Lines that wait for the reader of a sink. Those of live streams are limited: a line beyond the limit takes the place of
//! the oldest one. A line of a file is never dropped; its source waits instead ([`Backlog`](super::Backlog)).

use std::collections::VecDeque;

use super::{JsonLine, Permit};

/// A waiting line; one without a permit belongs to a live stream.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bytes: JsonLine,
    pub(super) permit: Option<Permit>,
}

/// A queue of lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: VecDeque<Line>,
    /// Number of lines from live streams.
    live: usize,
    /// Maximum number of these, one at least.
    most: usize,
    /// Lines of live streams that were dropped.
    dropped: u64,
}

impl Lines {
    /// Sets the maximum number of lines from live streams.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Adds a line. Returns the number of lines dropped so far if one was dropped for it.
    pub(super) fn push(&mut self, line: Line) -> Option<u64> {
        let is_live = line.permit.is_none();
        let is_full = is_live && self.live >= self.most;
        let oldest = if is_full { self.lines.iter().position(|line| line.permit.is_none()) } else { None };
        if let Some(oldest) = oldest {
            self.lines.remove(oldest);
            self.live -= 1;
            self.dropped += 1;
        }
        self.live += usize::from(is_live);
        self.lines.push_back(line);
        oldest.map(|_| self.dropped)
    }

    /// Takes the oldest line.
    pub(super) fn pop(&mut self) -> Option<Line> {
        let line = self.lines.pop_front()?;
        self.live -= usize::from(line.permit.is_none());
        Some(line)
    }

    /// Takes all lines.
    pub(super) fn clear(&mut self) -> Vec<Line> {
        self.live = 0;
        self.lines.drain(..).collect()
    }

    /// Whether no line waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;

    use super::*;
    use crate::publish::Backlog;
    use crate::shutdown;

    #[test]
    fn the_oldest_live_line_gives_way_and_no_line_of_a_file() {
        let (_stop, stopped) = shutdown::channel();
        let backlog = Backlog::new(1);
        assert!(backlog.reserve(&stopped));
        let line = |text: &str, permit| Line { bytes: Arc::new(text.into()), permit };
        let mut lines = Lines::default();
        lines.limit(2);
        assert_eq!(lines.push(line("file", backlog.permit())), None);
        let dropped: Vec<_> = (0..6).map(|number| lines.push(line(&number.to_string(), None))).collect();
        assert_eq!(dropped, [None, None, Some(1), Some(2), Some(3), Some(4)]);
        let left: Vec<_> = std::iter::from_fn(|| lines.pop()).map(|line| line.bytes.to_vec()).collect();
        assert_eq!(left, [&b"file"[..], b"4", b"5"]);
        lines.push(line("6", None));
        assert_eq!(lines.clear().len(), 1);
        assert!(lines.is_empty() && lines.pop().is_none());
    }
}
