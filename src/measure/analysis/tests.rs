//! Figures of measurements whose power and schedule are known exactly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::measure::environment::{Limits, Point, RailInfo};
use crate::measure::journal::{End, SCHEMA};
use crate::measure::sample::Condition;

const S: u64 = 1_000_000_000;

/// Idle for 60 s, capture for 60 s, warm-up for 30 s, five windows of 60 s, idle for 60 s.
const CAPTURE: u64 = 60 * S;
const WARM_UP: u64 = 120 * S;
const WINDOWS: u64 = 150 * S;
const IDLE: u64 = 450 * S;
const END: u64 = 510 * S;

/// Frames per second, and what each costs.
const FPS: u64 = 25;
const INFER_US: u64 = 12_000;

/// Watts at a time: 2 when idle, 2.5 when capturing, and while frames are classified 4, with a ripple.
fn watts(at: u64) -> f64 {
    let ripple = ((at as f64 / S as f64) * 0.7).sin() * 0.3;
    match at {
        at if !(CAPTURE..IDLE).contains(&at) => 2.0,
        at if at < WARM_UP => 2.5,
        _ => 4.0 + ripple,
    }
}

/// Its integral from the beginning.
fn joules(at: u64) -> f64 {
    let s = |at: u64| at as f64 / S as f64;
    let ripple = |at: u64| -(s(at) * 0.7).cos() * 0.3 / 0.7;
    let parts = [(0, CAPTURE, 2.0), (CAPTURE, WARM_UP, 2.5), (WARM_UP, IDLE, 4.0), (IDLE, 2 * END, 2.0)];
    let steady: f64 = parts.iter().map(|(from, to, watts)| s(at.clamp(*from, *to) - from) * watts).sum();
    steady + ripple(at.clamp(WARM_UP, IDLE)) - ripple(WARM_UP)
}

/// A measurement with a rail that tells watts, or counts joules, every 100 ms.
fn recording(counts: bool) -> Recording {
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

/// The reasons of each window.
fn reasons(change: impl FnOnce(&mut Recording)) -> Vec<Vec<Reason>> {
    let mut recording = recording(false);
    change(&mut recording);
    analyse(&recording).points[0].windows.iter().map(|window| window.reasons.clone()).collect()
}

/// Five windows, of which those called `touched` have a reason.
fn only(touched: &[usize], reason: Reason) -> Vec<Vec<Reason>> {
    (0..5).map(|window| if touched.contains(&window) { vec![reason] } else { Vec::new() }).collect()
}

/// The samples from one second to another one.
fn between(recording: &mut Recording, from_s: u64, to_s: u64) -> impl Iterator<Item = &mut Sample> {
    recording.samples.iter_mut().filter(move |sample| (from_s * S..to_s * S).contains(&sample.at_ns))
}

#[test]
fn energy_per_inference_is_within_half_a_percent_gross_and_net() {
    for counts in [false, true] {
        let analysis = analyse(&recording(counts));
        assert_eq!((analysis.rail, analysis.notes.len()), (Some(0), 0));
        let point = &analysis.points[0];
        let near = |found: Option<f64>, exact: f64| {
            assert!((found.unwrap() / exact - 1.0).abs() < 0.005, "{found:?} {exact} {counts}");
        };
        near(point.idle_w[0], 2.0);
        near(point.idle_w[1], 2.0);
        near(point.capture_w, 2.5);
        near(point.decode_j, 0.5 / FPS as f64);
        for (window, figures) in point.windows.iter().enumerate() {
            let from = WINDOWS + window as u64 * 60 * S;
            let (count, exact) = (60 * FPS, joules(from + 60 * S) - joules(from));
            assert_eq!((figures.inferences as u64, &*figures.reasons), (count, &[][..]));
            near(figures.gross_j, exact / count as f64);
            near(figures.net_j, (exact - 120.0) / count as f64);
            near(figures.inference_j, (exact - 150.0) / count as f64);
            near(figures.mhz, 1600.0);
            assert_eq!((figures.celsius, figures.fps), (Some([50.0, 50.0]), FPS as f64));
            let infer = figures.infer_ms.unwrap();
            assert_eq!((infer.p50, infer.p90, infer.p99, infer.max), (12.049, 12.089, 12.098, 12.099));
        }
        let valid = point.valid.unwrap();
        assert_eq!((valid.windows, valid.fps.median), (5, FPS as f64));
    }
}

#[test]
fn a_disturbance_invalidates_exactly_the_windows_that_it_touches() {
    assert_eq!(reasons(|_| ()), only(&[], Reason::Throttled));
    let throttled = |recording: &mut Recording| {
        between(recording, 200, 215)
            .filter_map(|sample| sample.condition.as_mut())
            .for_each(|condition| condition.throttled.push("throttled".into()));
    };
    assert_eq!(reasons(throttled), only(&[0, 1], Reason::Throttled), "from 50 s of the first window on");
    let governor = |recording: &mut Recording| {
        between(recording, 300, END / S)
            .filter_map(|sample| sample.condition.as_mut())
            .for_each(|condition| condition.governors = vec!["powersave".into()]);
    };
    assert_eq!(reasons(governor), only(&[2], Reason::GovernorChanged));
    let step = |recording: &mut Recording| {
        between(recording, 400, END / S).for_each(|sample| sample.clock_ns += 2_000_000_000)
    };
    assert_eq!(reasons(step), only(&[4], Reason::ClockStep));
    let gap = |recording: &mut Recording| {
        recording.samples.retain(|sample| !(220 * S..222 * S).contains(&sample.at_ns));
    };
    assert_eq!(reasons(gap), only(&[1], Reason::SensorGap));
    let lost = |recording: &mut Recording| between(recording, 220, 222).for_each(|sample| sample.rails = vec![None]);
    assert_eq!(reasons(lost), only(&[1], Reason::SensorGap));
    let burst = |recording: &mut Recording| between(recording, 340, END / S).for_each(|sample| sample.all_cpu_s += 4.0);
    assert_eq!(reasons(burst), only(&[3], Reason::OtherLoad));
    let reconnect =
        |recording: &mut Recording| between(recording, 280, END / S).for_each(|sample| sample.reconnects += 1);
    assert_eq!(reasons(reconnect), only(&[2], Reason::Reconnect));
    let few = |recording: &mut Recording| {
        recording.inferences.retain(|inference| !(335 * S..380 * S).contains(&inference.at_ns));
    };
    assert_eq!(reasons(few), only(&[3], Reason::FewInferences));
    let stuck =
        |recording: &mut Recording| between(recording, 150, 210).for_each(|sample| sample.rails = vec![Some(4.0)]);
    assert_eq!(reasons(stuck), only(&[0], Reason::FewUpdates));
    let drift =
        |recording: &mut Recording| between(recording, 450, 600).for_each(|sample| sample.rails = vec![Some(2.1)]);
    assert_eq!(reasons(drift), only(&[0, 1, 2, 3, 4], Reason::BaselineDrift));
}

#[test]
fn an_invalid_window_is_no_part_of_the_medians() {
    let mut recording = recording(false);
    between(&mut recording, 150, 210).for_each(|sample| sample.rails = vec![Some(100.0)]);
    let valid = analyse(&recording).points[0].valid.unwrap();
    assert_eq!(valid.windows, 4);
    assert!(valid.watts.unwrap().max < 5.0);
}

#[test]
fn a_file_that_was_cut_off_keeps_its_whole_windows() {
    let mut recording = recording(false);
    let cut = 300 * S;
    recording.phases.retain(|phase| phase.at_ns < cut);
    recording.samples.retain(|sample| sample.at_ns < cut);
    recording.inferences.retain(|inference| inference.at_ns < cut);
    recording.end = None;
    let analysis = analyse(&recording);
    assert!(analysis.notes[0].starts_with("incomplete"), "{:?}", analysis.notes);
    let windows = &analysis.points[0].windows;
    assert_eq!(windows.len(), 3);
    assert_eq!((windows[0].reasons.len(), windows[1].reasons.len()), (0, 0));
    assert!(windows[2].reasons.contains(&Reason::Interrupted));
    assert_eq!(analysis.points[0].idle_w[1], None);
}

#[test]
fn without_a_sensor_there_are_latencies_and_no_energy() {
    let mut recording = recording(false);
    recording.environment.rails.clear();
    recording.samples.iter_mut().for_each(|sample| (sample.rails, sample.rails_at_ns) = (Vec::new(), Vec::new()));
    let analysis = analyse(&recording);
    let valid = analysis.points[0].valid.unwrap();
    assert_eq!((analysis.rail, valid.windows, valid.watts, valid.gross_j), (None, 5, None, None));
    assert_eq!(valid.infer_p50_ms.median, 12.049);
}

#[test]
fn a_meter_that_tells_once_a_second_is_no_gap_and_within_two_percent() {
    let mut recording = recording(false);
    recording.environment.rails[0].period_s = Some(1.0);
    recording.environment.limits.updates = 50;
    let mut told = (0, 0.0);
    for sample in &mut recording.samples {
        // At irregular times.
        if sample.at_ns.saturating_sub(told.0) >= S + (sample.at_ns / S) % 3 * S / 10 {
            told = (sample.at_ns, watts(sample.at_ns));
        }
        (sample.rails, sample.rails_at_ns) = (vec![Some(told.1)], vec![told.0]);
    }
    for window in &analyse(&recording).points[0].windows {
        let exact = (joules(window.to_ns) - joules(window.from_ns)) / (60 * FPS) as f64;
        assert!((window.gross_j.unwrap() / exact - 1.0).abs() < 0.02, "{window:?} {exact}");
        assert_eq!(window.reasons, []);
    }
}
