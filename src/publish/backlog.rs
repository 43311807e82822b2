//! Limits how far a file gets ahead of the sinks.
//!
//! A file loses no result: while too many of its results wait in the queues of sinks, its source waits too. The source
//! reserves a place for each frame, the result carries it as a [`Permit`], and the place is free again when the last
//! sink that keeps the permit has handed out the result. Nothing else waits: neither inference, nor other streams, nor
//! sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::shutdown::Stopped;

/// The places of one file.
#[derive(Debug, Clone)]
pub struct Backlog {
    places: Arc<Places>,
    free: Receiver<usize>,
    /// Places reserved for frames that are not results yet.
    reserved: (Sender<usize>, Receiver<usize>),
}

/// Places, by number. They are created once, so that results need no allocations.
#[derive(Debug)]
struct Places {
    /// Number of clones of each place's permit.
    holders: Vec<AtomicUsize>,
    returned: Sender<usize>,
}

/// The place of one result; dropping the last clone frees it.
#[derive(Debug)]
pub struct Permit {
    places: Arc<Places>,
    place: usize,
}

impl Clone for Permit {
    fn clone(&self) -> Self {
        self.places.holders[self.place].fetch_add(1, Ordering::Relaxed);
        Self { places: Arc::clone(&self.places), place: self.place }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // As in `Arc`: the next owner of the place sees everything done with it before.
        if self.places.holders[self.place].fetch_sub(1, Ordering::AcqRel) == 1 {
            // The channel has room for every place.
            let _ = self.places.returned.try_send(self.place);
        }
    }
}

impl Backlog {
    /// `places` free places, but at least one.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let count = places.max(1);
        let (returned, free) = bounded(count);
        for place in 0..count {
            let _ = returned.try_send(place);
        }
        let holders = (0..count).map(|_| AtomicUsize::new(0)).collect();
        Self { places: Arc::new(Places { holders, returned }), free, reserved: bounded(count) }
    }

    /// Waits for a free place and reserves it; false if the stop comes first.
    #[must_use]
    pub fn reserve(&self, stopped: &Stopped) -> bool {
        select! {
            recv(self.free) -> place => place.is_ok_and(|place| self.reserved.0.try_send(place).is_ok()),
            recv(stopped.receiver()) -> _ => false,
        }
    }

    /// The permit for a reserved place; `None` if none is reserved.
    #[must_use]
    pub fn permit(&self) -> Option<Permit> {
        let place = self.reserved.1.try_recv().ok()?;
        self.places.holders[place].store(1, Ordering::Relaxed);
        Some(Permit { places: Arc::clone(&self.places), place })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::shutdown;

    #[test]
    fn a_place_is_free_again_when_the_last_clone_of_its_permit_is_gone() {
        let (stop, stopped) = shutdown::channel();
        let backlog = Backlog::new(2);
        assert!(backlog.reserve(&stopped) && backlog.reserve(&stopped));
        let (first, second) = (backlog.permit().unwrap(), backlog.permit().unwrap());
        assert!(backlog.permit().is_none());
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
