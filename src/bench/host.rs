//! The machine used for measuring: its processor, and the speed of its memory.

use serde::Serialize;

use super::peak::{self, Bandwidth};
use crate::choice::IsaChoice;
use crate::kernels::Isa;
use crate::system::Host as System;
use crate::system::host::value;

/// Assumed size of the last-level cache if the machine does not report it, in bytes.
const LAST_CACHE: usize = 32 << 20;

/// Size of the buffer for memory traffic, in caches: two halves, each twice as large as the last-level cache.
const CACHES: usize = 4;

/// Maximum size of that buffer in bytes.
const MAX_BUFFER: usize = 1 << 30;

/// Divisor of the free memory that gives the limit of the buffer.
const FREE_SHARE: usize = 4;

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    /// Name of the processor, according to the system.
    pub cpu: Option<String>,
    /// Cores that the process may use.
    pub cores: usize,
    /// Instruction sets of the processor.
    pub isa: Vec<IsaChoice>,
    /// Read speed of one core from memory, in 10⁹ bytes per second; `None` if not measured.
    pub memory_read_gb_s: Option<f64>,
    /// Copy speed of one core, counting bytes read and written, in 10⁹ bytes per second; `None` if not measured.
    pub memory_copy_gb_s: Option<f64>,
}

impl Host {
    /// Inspects the machine, which has `cores`, and measures its memory if `room` bytes suffice for that: several times the
    /// last-level cache.
    #[must_use]
    pub fn measure(cores: usize, room: usize) -> Self {
        let bandwidth = Some(buffer()).filter(|bytes| *bytes <= room).and_then(peak::bandwidth);
        Self {
            cpu: read("/proc/cpuinfo").as_deref().and_then(cpu),
            cores,
            isa: available(),
            memory_read_gb_s: bandwidth.map(|Bandwidth { read, .. }| read),
            memory_copy_gb_s: bandwidth.map(|Bandwidth { copy, .. }| copy),
        }
    }
}

/// Instruction sets of this machine that have kernels, the plainest first.
fn available() -> Vec<IsaChoice> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(IsaChoice::from).collect()
}

/// Bytes that the process can take without exceeding its previous peak memory.
pub(super) fn room() -> usize {
    let status = read("/proc/self/status").unwrap_or_default();
    let [peak, now] = ["VmHWM", "VmRSS"].map(|key| kilobytes(&status, key).unwrap_or(0));
    peak.saturating_sub(now)
}

/// Peak memory of the process so far, in 10⁶ bytes.
pub(super) fn peak_memory_mb() -> Option<f64> {
    read("/proc/self/status").and_then(|text| kilobytes(&text, "VmHWM")).map(|bytes| bytes as f64 / 1e6)
}

fn read(path: &str) -> Option<String> {
    System::here().read(path)
}

/// The value after `key:`, given in kB, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<usize> {
    value(text, key)?.strip_suffix(" kB")?.trim_end().parse::<usize>().ok()?.checked_mul(1024)
}

/// x86 names the model for every core; ARM boards name the board at the end, or nothing.
fn cpu(text: &str) -> Option<String> {
    value(text, "model name").or_else(|| value(text, "Model")).map(str::to_owned)
}

/// Size of a cache in bytes, from the system's format: `32768K`, `32M`.
fn cache(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// Size in bytes of the last-level cache.
pub(super) fn last_cache() -> usize {
    let size = |index| read(&format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size"));
    (0..8).filter_map(size).filter_map(|text| cache(&text)).max().unwrap_or(LAST_CACHE)
}

/// Size in bytes of the buffer for measuring memory.
fn buffer() -> usize {
    let free = read("/proc/meminfo").and_then(|text| kilobytes(&text, "MemAvailable")).unwrap_or(MAX_BUFFER);
    last_cache().saturating_mul(CACHES).min(MAX_BUFFER).min(free / FREE_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "model\t\t: 17\nmodel name\t: Some CPU: fast\nVmHWM:\t    2048 kB\nMemAvailable:  12 MB\n";
        assert_eq!(cpu(text).as_deref(), Some("Some CPU: fast"));
        assert_eq!(cpu("processor : 0\n\nModel\t\t: Some Board 4\n").as_deref(), Some("Some Board 4"));
        assert_eq!(kilobytes(text, "VmHWM"), Some(2048 * 1024));
        assert_eq!((kilobytes(text, "MemAvailable"), kilobytes(text, "VmRSS"), cpu("")), (None, None, None));
    }

    #[test]
    fn caches_are_read_with_their_unit() {
        assert_eq!([cache("32768K\n"), cache("1M"), cache("512")], [Some(32 << 20), Some(1 << 20), None]);
        assert!((1..=MAX_BUFFER).contains(&buffer()));
    }

    #[test]
    fn this_process_holds_memory() {
        assert!(peak_memory_mb().is_none_or(|megabytes| megabytes > 1.0));
    }
}
