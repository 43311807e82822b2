//! Memory that all pictures of the process share: large ones wait for each other instead of filling the machine.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Memory, in bytes, that all pictures may take at the same time. A picture that alone takes more is refused.
pub(super) const MEMORY: u64 = 224 << 20;

/// Maximum time to wait for memory: others give it back when their pictures have been prepared for the network.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

static SHARED: Pool = Pool::new(MEMORY);

/// An amount of memory, handed out in the order of the requests.
#[derive(Debug)]
struct Pool {
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    in_use: u64,
    /// Number of the next request.
    next: u64,
    /// The requests that wait, in order: a large picture is not overtaken by small ones for ever.
    waiting: VecDeque<u64>,
}

impl Pool {
    const fn new(size: u64) -> Self {
        Self {
            size,
            state: Mutex::new(State { in_use: 0, next: 0, waiting: VecDeque::new() }),
            changed: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free, at most `limit`; `None` if they are not.
    fn take(&'static self, bytes: u64, limit: Duration) -> Option<Room> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        let must_wait = |state: &mut State| {
            state.waiting.front() != Some(&number) || state.in_use.saturating_add(bytes) > self.size
        };
        let (mut state, wait) =
            self.changed.wait_timeout_while(state, limit, must_wait).unwrap_or_else(PoisonError::into_inner);
        state.waiting.retain(|waiting| *waiting != number);
        let is_taken = !wait.timed_out();
        if is_taken {
            state.in_use += bytes;
        }
        drop(state);
        // The next one may fit as well.
        self.changed.notify_all();
        // A request that was given up has nothing that could be given back.
        is_taken.then(|| Room { pool: self, bytes })
    }

    fn give_back(&self, bytes: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).in_use -= bytes;
        self.changed.notify_all();
    }
}

/// Memory for one picture. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    pool: &'static Pool,
    bytes: u64,
}

impl Room {
    /// Waits until `bytes` of [`MEMORY`] are free; `None` if that takes more than a minute.
    pub(super) fn take(bytes: u64) -> Option<Self> {
        SHARED.take(bytes, LONGEST_WAIT)
    }

    /// Gives back all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.pool.give_back(surplus);
        self.bytes -= surplus;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_does_not_fit_waits_until_its_limit_and_gives_nothing_back() {
        static POOL: Pool = Pool::new(10);
        let mut large = POOL.take(8, Duration::ZERO).unwrap();
        assert!(POOL.take(3, Duration::ZERO).is_none());
        let small = POOL.take(2, Duration::ZERO).expect("a request that was given up is in nobody's way");
        assert!(POOL.take(1, Duration::ZERO).is_none());
        large.shrink(5);
        assert!(POOL.take(4, Duration::ZERO).is_none());
        assert!(POOL.take(3, Duration::ZERO).is_some());
        drop((large, small));
        assert!(POOL.take(10, Duration::ZERO).is_some());
        assert_eq!(POOL.state.lock().unwrap().in_use, 0);
    }

    #[test]
    fn a_large_request_is_not_overtaken() {
        static POOL: Pool = Pool::new(10);
        let room = POOL.take(5, LONG).unwrap();
        let (done, order) = channel();
        thread::scope(|scope| {
            for (place, bytes) in [10, 1].into_iter().enumerate() {
                let done = done.clone();
                scope.spawn(move || {
                    let _room = POOL.take(bytes, LONG).unwrap();
                    done.send(bytes).unwrap();
                });
                while POOL.state.lock().unwrap().waiting.len() <= place {
                    thread::yield_now();
                }
            }
            drop(room);
        });
        assert_eq!(order.try_iter().collect::<Vec<u64>>(), [10, 1]);
    }
}
