//! What this process takes of the machine (proc(5)).

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// What the process has used so far, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    /// Processor time, user and system, of all threads.
    pub(crate) cpu_seconds: f64,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open file descriptors. None if the system does not tell.
    pub(crate) open_files: Option<u64>,
}

impl Process {
    /// Reads it. None if the system does not tell.
    pub(crate) fn read() -> Option<Self> {
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?, open_files)
    }

    /// Parses `/proc/self/stat`. The name of the program, in parentheses, may contain anything.
    fn parse(stat: &str, open_files: Option<u64>) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
        // Numbered from 3, which is the state.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / clock_ticks_per_second() as f64,
            resident_bytes: field(24)? * page_size() as u64,
            threads: field(20)?,
            open_files,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let process = Process::parse(&format!("1 (a) (b c) S {}", numbers.join(" ")), None).unwrap();
        assert_eq!((process.threads, process.resident_bytes), (20, 24 * page_size() as u64));
        assert_eq!(process.cpu_seconds, 29.0 / clock_ticks_per_second() as f64);
        assert_eq!(Process::parse("1 (a) S 4 5", None), None);
        assert_eq!(Process::parse("", None), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1 << 20 && process.threads >= 1 && process.open_files.unwrap() >= 3);
    }
}
