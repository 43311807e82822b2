//! Measurements whose power and schedule are known exactly, for tests.

use super::environment::{Environment, Limits, Point, RailInfo};
use super::journal::{End, Phase, PhaseLine, Recording, SCHEMA};
use super::sample::{Condition, Inference, Sample};

pub(crate) const S: u64 = 1_000_000_000;

/// Idle for 60 s, capture for 60 s, warm-up for 30 s, five windows of 60 s, idle for 60 s.
const CAPTURE: u64 = 60 * S;
const WARM_UP: u64 = 120 * S;
pub(crate) const WINDOWS: u64 = 150 * S;
const IDLE: u64 = 450 * S;
pub(crate) const END: u64 = 510 * S;

/// Frames per second, and what each costs.
pub(crate) const FPS: u64 = 25;
const INFER_US: u64 = 12_000;

/// Watts at a time: 2 when idle, 2.5 when capturing, and while frames are classified 4, with a ripple.
pub(crate) fn watts(at: u64) -> f64 {
    let ripple = ((at as f64 / S as f64) * 0.7).sin() * 0.3;
    match at {
        at if !(CAPTURE..IDLE).contains(&at) => 2.0,
        at if at < WARM_UP => 2.5,
        _ => 4.0 + ripple,
    }
}

/// Its integral from the beginning.
pub(crate) fn joules(at: u64) -> f64 {
    let s = |at: u64| at as f64 / S as f64;
    let ripple = |at: u64| -(s(at) * 0.7).cos() * 0.3 / 0.7;
    let parts = [(0, CAPTURE, 2.0), (CAPTURE, WARM_UP, 2.5), (WARM_UP, IDLE, 4.0), (IDLE, 2 * END, 2.0)];
    let steady: f64 = parts.iter().map(|(from, to, watts)| s(at.clamp(*from, *to) - from) * watts).sum();
    steady + ripple(at.clamp(WARM_UP, IDLE)) - ripple(WARM_UP)
}

/// A measurement with a rail that tells watts, or counts joules, every 100 ms.
pub(crate) fn recording(counts: bool) -> Recording {
    let phases = [(0, Phase::Idle), (CAPTURE, Phase::Capture), (WARM_UP, Phase::WarmUp)].into_iter();
    let windows = (0..5).map(|window| (WINDOWS + window * 60 * S, Phase::Window));
    let phases = phases.chain(windows).chain([(IDLE, Phase::Idle)]);
    let line = |(at_ns, phase)| PhaseLine { at_ns, phase, point: (phase != Phase::Idle).then_some(0) };
    let sample = |index: u64| {
        let at_ns = index * S / 10;
        let frames = at_ns.clamp(CAPTURE, IDLE) - CAPTURE;
        Sample {
            at_ns,
            clock_ns: 1_800_000_000 * 1_000_000_000,
            rails: vec![Some(if counts { joules(at_ns) } else { watts(at_ns) })],
            rails_at_ns: vec![at_ns],
            own_cpu_s: at_ns as f64 / 3e9,
            all_cpu_s: at_ns as f64 / 3e9,
            captured: frames * FPS / S,
            condition: index.is_multiple_of(10).then(|| Condition {
                celsius: [("cpu".to_owned(), 50.0)].into(),
                khz: [(0, 1_500_000), (1, 1_700_000)].into(),
                governors: vec!["performance".into()],
                ..Condition::default()
            }),
            ..Sample::default()
        }
    };
    let inference = |seq: u64| Inference {
        at_ns: WARM_UP + seq * S / FPS,
        stream: "test".into(),
        seq,
        captured_ns: 0,
        capture_us: 0,
        queue_us: 0,
        preprocess_us: 0,
        infer_us: INFER_US + seq % 100,
        total_us: INFER_US + 1000,
        top: 3,
    };
    let rail = RailInfo { coverage: "board".into(), counts, period_s: Some(0.1), ..RailInfo::default() };
    Recording {
        environment: Environment {
            schema: SCHEMA.into(),
            limits: Limits::full(),
            points: vec![Point { name: "a".into(), ..Point::default() }],
            rails: vec![rail],
            ..Environment::default()
        },
        phases: phases.map(line).collect(),
        samples: (0..=END / S * 10).map(sample).collect(),
        inferences: (0..(IDLE - WARM_UP) / S * FPS).map(inference).collect(),
        end: Some(End { at_ns: END, interrupted: None }),
    }
}
