//! Figures of measurements whose power and schedule are known exactly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::measure::synthetic::{END, FPS, S, WINDOWS, joules, recording, watts};

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
