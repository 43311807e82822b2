//! The program, the processor for its engine, and the machine and system around them.

use super::{Context, Finding};
use crate::kernels::Isa;
use crate::system::host::value;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let host = &context.host;
    let version = format!("{} for {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    let cpuinfo = host.read("/proc/cpuinfo").unwrap_or_default();
    let mut findings = vec![Finding::ok("hardnetd", version), engine(Isa::best(), &features(&cpuinfo))];
    // A device tree names the board, DMI the machine; a server without either has at least a processor.
    let board = ["/proc/device-tree/model", "/sys/class/dmi/id/product_name"].iter().find_map(|path| host.read(path));
    let cpu = value(&cpuinfo, "model name").or_else(|| value(&cpuinfo, "Model")).map(str::to_owned);
    findings.push(match (board, cpu) {
        (Some(board), Some(cpu)) if board != cpu => Finding::info("machine", format!("{board}, {cpu}")),
        (Some(name), _) | (None, Some(name)) => Finding::info("machine", name),
        (None, None) => Finding::info("machine", "neither the board nor the processor has a name"),
    });
    let release = host.read("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = host.read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "of unknown version".into());
    let system = system.map_or("an unnamed system", |name| name.trim_matches('"'));
    findings.push(Finding::info("system", format!("{system}, kernel {kernel}")));
    findings
}

fn engine(best: Isa, features: &[&str]) -> Finding {
    let found = format!(
        "{best}; the processor has {}",
        if features.is_empty() { "none that count".into() } else { features.join(", ") }
    );
    if best == Isa::Scalar {
        let remedy = "expect it to be several times slower; on ARM a 64-bit system has kernels for NEON, and x86 needs \
                      AVX2";
        return Finding::warning("instructions", found, remedy);
    }
    Finding::ok("instructions", found)
}

/// The processor's features that speed up neural networks.
#[cfg(target_arch = "x86_64")]
fn features(_: &str) -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// The processor's features that speed up neural networks.
#[cfg(target_arch = "aarch64")]
fn features(_: &str) -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected;
    let all = [
        ("neon", is_aarch64_feature_detected!("neon")),
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("fp16", is_aarch64_feature_detected!("fp16")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("bf16", is_aarch64_feature_detected!("bf16")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// The processor's features that speed up neural networks, as listed by the kernel.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features(cpuinfo: &str) -> Vec<&str> {
    let all = value(cpuinfo, "Features").or_else(|| value(cpuinfo, "flags")).unwrap_or_default();
    all.split_whitespace().filter(|name| ["neon", "vfpv4", "asimd", "asimddp", "asimdhp"].contains(name)).collect()
}

#[cfg(test)]
mod units {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn an_engine_without_vectors_is_a_warning() {
        assert_eq!(engine(Isa::Scalar, &[]).state, State::Warning);
        let neon = engine(Isa::Neon, &["neon", "dotprod"]);
        assert_eq!((neon.state, neon.found.as_str()), (State::Ok, "neon; the processor has neon, dotprod"));
    }

    #[test]
    fn the_features_include_those_of_the_chosen_instructions() {
        let features = features("Features\t: half neon vfpv4\n");
        match Isa::best() {
            Isa::Avx2 => assert!(features.contains(&"avx2") && features.contains(&"fma")),
            Isa::Avx512 => assert!(features.contains(&"avx512f") && features.contains(&"avx512vl")),
            Isa::Neon => assert!(features.contains(&"neon")),
            Isa::Scalar => {}
        }
    }
}
