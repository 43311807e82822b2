//! The cores that the calling thread may use, and its priority.
//!
//! # Safety
//!
//! The single `unsafe` block calls a function of the C library with a structure of this file and its size.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A thread cannot be pinned or prioritised as configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A core does not exist or is not permitted.
    #[error("inference.cores names core {core}, which this process may not use; it may use {allowed:?}")]
    NoSuchCore {
        /// The core.
        core: u32,
        /// The cores of the process.
        allowed: Vec<u32>,
    },
    /// The system refuses the cores.
    #[error("cannot pin a thread to cores {cores:?}")]
    Pin {
        /// The cores.
        cores: Vec<u32>,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses the priority.
    #[error(
        "cannot set inference.priority = {priority}; grant it with LimitRTPRIO={priority} in the unit \
         (ulimit -r {priority}), or set it to 0"
    )]
    Priority {
        /// The priority.
        priority: u32,
        /// What the system says.
        source: io::Error,
    },
}

/// Restricts the calling thread to `cores`; an empty list changes nothing.
///
/// # Errors
/// If the process may not use one of the cores.
pub fn pin(cores: &[u32]) -> Result<(), Error> {
    if cores.is_empty() {
        return Ok(());
    }
    let allowed = allowed()?;
    match cores.iter().find(|core| !allowed.contains(core)) {
        Some(&core) => Err(Error::NoSuchCore { core, allowed }),
        None => confine(cores),
    }
}

/// The cores that the calling thread may use.
///
/// # Errors
/// If the system does not report them.
pub fn allowed() -> Result<Vec<u32>, Error> {
    let set = sched_getaffinity(None).map_err(|source| Error::Pin { cores: Vec::new(), source: source.into() })?;
    let cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    Ok(cores.filter_map(|core| core.try_into().ok()).collect())
}

/// Restricts the calling thread to `cores`, of which the process may use at least one, regardless of its current cores.
///
/// # Errors
/// If the system refuses them.
pub fn confine(cores: &[u32]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    for index in cores.iter().map(|core| *core as usize).filter(|index| *index < CpuSet::MAX_CPU) {
        set.set(index);
    }
    sched_setaffinity(None, &set).map_err(|source| Error::Pin { cores: cores.to_vec(), source: source.into() })
}

/// Restricts the calling thread to `cores` and sets its priority, like [`pin`] and [`prioritise`].
///
/// # Errors
/// The errors of both.
pub fn place(cores: &[u32], priority: u32) -> Result<(), Error> {
    pin(cores)?;
    prioritise(priority)
}

/// Gives the calling thread the real-time priority `priority` (SCHED_FIFO, 1 to 99); 0 changes nothing. See sched(7).
///
/// # Errors
/// If the process may not use real-time scheduling.
pub fn prioritise(priority: u32) -> Result<(), Error> {
    if priority == 0 {
        return Ok(());
    }
    let parameters = libc::sched_param { sched_priority: i32::try_from(priority).unwrap_or(i32::MAX) };
    // SAFETY: `parameters` is a valid sched_param that lives until the call returns, and process 0 is the calling
    // thread.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if outcome == 0 { Ok(()) } else { Err(Error::Priority { priority, source: io::Error::last_os_error() }) }
}

/// The share of `cores` for worker `index` of `workers`: dealt out like cards.
#[must_use]
pub fn share(cores: &[u32], index: usize, workers: usize) -> Vec<u32> {
    cores.iter().copied().skip(index).step_by(workers.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_dealt_so_that_no_two_workers_share_one() {
        assert_eq!(share(&[4, 5, 6], 0, 2), [4, 6]);
        assert_eq!(share(&[4, 5, 6], 1, 2), [5]);
        assert_eq!(share(&[1, 2], 0, 1), [1, 2]);
        assert!(share(&[], 0, 1).is_empty());
    }

    #[test]
    fn a_core_that_does_not_exist_is_named_beside_those_that_do() {
        let outcome = std::thread::spawn(|| pin(&[1023])).join();
        assert!(matches!(outcome, Ok(Err(Error::NoSuchCore { core: 1023, allowed })) if !allowed.is_empty()));
    }

    #[test]
    fn a_pinned_thread_may_use_its_cores_only() {
        let outcome = std::thread::spawn(|| {
            let before = sched_getaffinity(None).ok()?;
            let last = (0..CpuSet::MAX_CPU).rfind(|index| before.is_set(*index))?;
            pin(&[u32::try_from(last).ok()?]).ok()?;
            let after = sched_getaffinity(None).ok()?;
            Some(after.count() == 1 && after.is_set(last))
        })
        .join();
        assert!(matches!(outcome, Ok(Some(true))));
    }
}
