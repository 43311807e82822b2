//! The cores: which exist, which are for inference, whether anything else runs there, and how fast they may run.

use super::{Context, Finding};
use crate::config::{Config, Inference};
use crate::plural::counted;
use crate::system::host::{Host, cpu_list, ranges, value};

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let host = &context.host;
    let cores = Cores::of(host);
    let mut findings = vec![Finding::ok(
        "online",
        format!(
            "{} online ({}), this process may use {}",
            cores.online.len(),
            ranges(&cores.online),
            ranges(&cores.allowed)
        ),
    )];
    if let Some(config) = &context.config {
        findings.push(inference(config, &cores, host.service().is_some()));
        findings.push(isolated(&config.inference, &cores));
    }
    findings.push(governor(host, &cores.online));
    findings
}

/// Core numbers.
#[derive(Debug, Default)]
struct Cores {
    online: Vec<u32>,
    /// Cores that this process may use now.
    allowed: Vec<u32>,
    /// Cores that the kernel gives only to threads that ask for them (`isolcpus=`).
    isolated: Vec<u32>,
}

impl Cores {
    fn of(host: &Host) -> Self {
        let status = host.read("/proc/self/status").unwrap_or_default();
        let allowed = value(&status, "Cpus_allowed_list").map(cpu_list).unwrap_or_default();
        let online = host.read("/sys/devices/system/cpu/online").map(|text| cpu_list(&text)).unwrap_or_default();
        let isolated = host.read("/sys/devices/system/cpu/isolated").map(|text| cpu_list(&text)).unwrap_or_default();
        // Small virtual machines lack the list.
        let online = if online.is_empty() { numbered(host) } else { online };
        let allowed = if allowed.is_empty() { online.clone() } else { allowed };
        Self { online, allowed, isolated }
    }
}

fn numbered(host: &Host) -> Vec<u32> {
    let folders = host.find("/sys/devices/system/cpu/cpu*");
    folders.iter().filter_map(|path| path.rsplit("/cpu").next()?.parse().ok()).collect()
}

/// Whether this process may use the cores configured for inference.
pub(super) fn permitted(host: &Host, config: &Config) -> Finding {
    inference(config, &Cores::of(host), host.service().is_some())
}

/// Whether inference has its configured cores.
fn inference(config: &Config, cores: &Cores, service: bool) -> Finding {
    const NAME: &str = "inference";
    let Inference { threads: each, cores: asked, .. } = &config.inference;
    let workers = config.busy_workers();
    let threads = workers * *each as usize;
    let what = format!("{} of {}", counted(workers, "worker", "workers"), counted(*each, "thread", "threads"));
    if asked.is_empty() {
        if threads > cores.allowed.len() {
            let found = format!("{what} on {}", counted(cores.allowed.len(), "core", "cores"));
            return Finding::warning(
                NAME,
                found,
                "more threads than cores: lower inference.workers or inference.threads",
            );
        }
        return Finding::ok(NAME, format!("{what} on any of cores {}", ranges(&cores.allowed)));
    }
    let of = |list: &[u32]| asked.iter().copied().filter(|core| !list.contains(core)).collect::<Vec<u32>>();
    let missing = of(&cores.online);
    if !missing.is_empty() {
        let (missing, online) = (ranges(&missing), ranges(&cores.online));
        let found = format!("inference.cores names {missing}; the cores of this machine are {online}");
        return Finding::error(NAME, found, "choose inference.cores among those that are online");
    }
    let barred = of(&cores.allowed);
    if !barred.is_empty() {
        let found =
            format!("inference.cores names {}; this process may use {}", ranges(&barred), ranges(&cores.allowed));
        let remedy = format!(
            "CPUAffinity={} in the unit; by hand, taskset -c {} hardnetd …",
            ranges(&cores.online),
            ranges(&cores.online)
        );
        let isolated = barred.iter().all(|core| cores.isolated.contains(core));
        // A shell does not get isolated cores, but the unit may.
        return match isolated && !service {
            true => Finding::warning(NAME, format!("{found}, as is usual for isolated cores"), remedy),
            false => Finding::error(NAME, found, remedy),
        };
    }
    Finding::ok(NAME, format!("{what} on cores {}", ranges(asked)))
}

/// Whether anything else may run on the cores of inference.
fn isolated(settings: &Inference, cores: &Cores) -> Finding {
    const NAME: &str = "isolated";
    let shared: Vec<u32> = settings.cores.iter().copied().filter(|core| !cores.isolated.contains(core)).collect();
    let idle: Vec<u32> = cores.isolated.iter().copied().filter(|core| !settings.cores.contains(core)).collect();
    match (cores.isolated.is_empty(), settings.cores.is_empty(), idle.is_empty(), shared.is_empty()) {
        (true, true, ..) => Finding::absent(NAME, "no core is isolated, and none is asked for"),
        (true, false, ..) => {
            let list = ranges(&settings.cores);
            Finding::info(NAME, format!("none: other work may run on cores {list} too"))
                .with(format!("for a steadier latency, isolcpus={list} on the kernel's command line"))
        }
        (false, _, false, _) => {
            let found = format!(
                "cores {} are isolated, but inference.cores does not use {}",
                ranges(&cores.isolated),
                ranges(&idle)
            );
            Finding::warning(NAME, found, format!("inference.cores = [{}], or no isolcpus=", listed(&cores.isolated)))
        }
        (false, _, true, false) => Finding::info(
            NAME,
            format!("cores {}; other work may run on {} too", ranges(&cores.isolated), ranges(&shared)),
        ),
        (false, _, true, true) => {
            Finding::ok(NAME, format!("cores {} are for inference alone", ranges(&cores.isolated)))
        }
    }
}

fn listed(cores: &[u32]) -> String {
    cores.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether the frequency of the cores is governed by a policy that raises it slowly.
fn governor(host: &Host, online: &[u32]) -> Finding {
    const NAME: &str = "frequency";
    let mut others: Vec<(String, Vec<u32>)> = Vec::new();
    let (mut any, mut fastest) = (false, 0);
    for core in online {
        let folder = format!("/sys/devices/system/cpu/cpu{core}/cpufreq");
        let Some(governor) = host.read(&format!("{folder}/scaling_governor")) else { continue };
        any = true;
        fastest = fastest.max(host.number(&format!("{folder}/scaling_max_freq")).unwrap_or(0));
        if governor != "performance" {
            match others.iter_mut().find(|(known, _)| *known == governor) {
                Some((_, cores)) => cores.push(*core),
                None => others.push((governor, vec![*core])),
            }
        }
    }
    let most = if fastest > 0 { format!(", at most {} MHz", fastest / 1000) } else { String::new() };
    match (any, others.as_slice()) {
        (false, _) => Finding::absent(NAME, "the system does not set it (no cpufreq), as in virtual machines"),
        (true, []) => Finding::ok(NAME, format!("governor performance{most}")),
        (true, others) => {
            let found: Vec<String> =
                others.iter().map(|(name, cores)| format!("governor {name} on cores {}", ranges(cores))).collect();
            let remedy = "for a steady latency: `cpupower frequency-set -g performance`, or \
                          `echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`";
            Finding::warning(NAME, format!("{}{most}", found.join(", ")), remedy)
        }
    }
}
