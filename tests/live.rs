//! A live source with a model too slow for it. In a file of its own, so that nothing else competes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{run, seqs};

#[test]
fn results_and_drops_add_up_and_results_stay_young() {
    const FRAMES: u64 = 600;
    let source = format!("test:ball?frames={FRAMES}&fps=240");
    let records = run(["run", "--source", &source, "--model", "hardnet68"]).records();

    let dropped: u64 = records.iter().map(|record| record["dropped"].as_u64().unwrap()).sum();
    assert!(dropped > 0, "the model is not too slow for the source: the test proves nothing");
    assert_eq!(records.len() as u64 + dropped, FRAMES);
    assert_eq!(seqs(&records).last(), Some(&(FRAMES - 1)), "the newest frame is never dropped");

    // Only the newest frame waits: a classified frame arrived after the previous one was taken, which would not hold if
    // several could wait. Microseconds; the records' own are rounded down.
    let arrived = |record: &serde_json::Value| {
        record["captured_monotonic_ns"].as_u64().unwrap() / 1000 + record["latency_us"]["capture"].as_u64().unwrap()
    };
    let taken = |record: &serde_json::Value| arrived(record) + record["latency_us"]["queue"].as_u64().unwrap();
    let old = records.windows(2).filter(|pair| arrived(&pair[1]) + 2 < taken(&pair[0])).count();
    // A thread may be delayed between taking the time and the frame.
    assert!(old * 10 <= records.len(), "{old} of {} results are too old", records.len());
}
