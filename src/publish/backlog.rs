//! How far a file may run ahead of the sinks.
//!
//! A file loses no result: while too many of its results wait in the queues of sinks, its source waits too. The source
//! reserves a place for each frame, the result carries it as a [`Permit`], and the place is free again when the last sink
//! that keeps the permit has handed the result out. Nobody else waits: neither inference, nor other streams, nor sinks.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::shutdown::Stopped;

/// The places of one file.
#[derive(Debug, Clone)]
pub struct Backlog {
    free: Receiver<()>,
    returned: Sender<()>,
}

/// The place of one result; dropping the last clone frees it.
#[derive(Debug, Clone)]
pub struct Permit(#[expect(dead_code, reason = "held until it is dropped")] Arc<Place>);

#[derive(Debug)]
struct Place(Sender<()>);

impl Drop for Place {
    fn drop(&mut self) {
        // There is room, since there are only as many places as were made.
        let _ = self.0.try_send(());
    }
}

impl Backlog {
    /// `places` free ones, at least one.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = places.max(1);
        let (returned, free) = bounded(places);
        for _ in 0..places {
            let _ = returned.try_send(());
        }
        Self { free, returned }
    }

    /// Waits for a free place and reserves it; false if the stop comes first.
    #[must_use]
    pub fn reserve(&self, stopped: &Stopped) -> bool {
        select! {
            recv(self.free) -> place => place.is_ok(),
            recv(stopped.receiver()) -> _ => false,
        }
    }

    /// The permit for a place that has been reserved.
    #[must_use]
    pub fn permit(&self) -> Permit {
        Permit(Arc::new(Place(self.returned.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown;

    #[test]
    fn a_place_is_free_again_when_the_last_clone_of_its_permit_is_gone() {
        let (stop, stopped) = shutdown::channel();
        let backlog = Backlog::new(2);
        assert!(backlog.reserve(&stopped) && backlog.reserve(&stopped));
        let (first, second) = (backlog.permit(), backlog.permit());
        let copy = first.clone();
        drop(first);
        assert!(backlog.free.is_empty());
        drop(copy);
        assert_eq!(backlog.free.len(), 1);
        assert!(backlog.reserve(&stopped));
        drop(stop);
        assert!(!backlog.reserve(&stopped), "a stop frees who waits");
        drop(second);
    }
}
