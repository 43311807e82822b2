//! Processor time, of this process and of all (proc(5), stat).

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use super::host::Host;

/// Seconds that this process has taken so far, on all cores.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Seconds that `cores` have been busy, also for a hypervisor's other guests. None if the system does not tell.
pub(crate) fn cpu_seconds(host: &Host, cores: &[u32]) -> Option<f64> {
    parse(&host.read("/proc/stat")?, cores)
}

fn parse(stat: &str, cores: &[u32]) -> Option<f64> {
    /// Fields after the name: user, nice, system, idle, iowait, irq, softirq, steal. The others are part of these.
    const BUSY: [usize; 6] = [0, 1, 2, 5, 6, 7];
    let mut ticks = 0;
    let mut seen = 0;
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let core = fields.next().and_then(|name| name.strip_prefix("cpu")?.parse::<u32>().ok());
        if !core.is_some_and(|core| cores.contains(&core)) {
            continue;
        }
        let numbers: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        ticks += BUSY.iter().filter_map(|field| numbers.get(*field)).sum::<u64>();
        seen += 1;
    }
    (seen > 0).then(|| ticks as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn busy_time_is_that_of_the_cores_without_idling_and_waiting() {
        let stat = "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 100 20 3 9999 8888 40 5 600 77 88\ncpu1 1 1 1 1 1 1 1 1 0 0\ncpu10 7 0 0 5\nintr 1 2\n";
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(parse(stat, &[0]), Some(768.0 / ticks));
        assert_eq!(parse(stat, &[1, 10]), Some(13.0 / ticks));
        assert_eq!((parse(stat, &[2]), parse("", &[0])), (None, None));
    }

    #[test]
    fn this_process_takes_part_of_the_busy_time() {
        let (own, host) = (own_cpu_seconds(), Host::here());
        let cores: Vec<u32> = (0..4096).collect();
        assert!(own > 0.0 && cpu_seconds(&host, &cores).unwrap() > 0.0);
    }
}
