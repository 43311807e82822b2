//! A live source with a model too slow for it. Alone in its file, so that nothing else competes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{run, seqs};

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn results_and_drops_add_up_and_results_stay_young() {
    const FRAMES: u64 = 150;
    const INTERVAL_US: u64 = 1_000_000 / 30;
    // A source on a busy machine is late by a few milliseconds now and then; a frame that had to wait
    // for another one is late by a whole inference, hundreds of milliseconds.
    const LATE_US: u64 = INTERVAL_US / 2;
    let source = format!("test:ball?frames={FRAMES}");
    let records = run(["run", "--source", &source, "--model", "hardnet68"]).records();
    let number = |record: &serde_json::Value, of: &str| record["latency_us"][of].as_u64().unwrap();

    let dropped: u64 = records.iter().map(|record| record["dropped"].as_u64().unwrap()).sum();
    assert!(dropped > 0, "the model is not too slow for the source: the test proves nothing");
    assert_eq!(records.len() as u64 + dropped, FRAMES);
    assert_eq!(seqs(&records).last(), Some(&(FRAMES - 1)), "the newest frame is never dropped");

    // A frame waits until the thread is free or a newer one takes its place.
    let queue = median(records.iter().map(|record| number(record, "queue")).collect());
    assert!(queue <= INTERVAL_US, "median wait {queue} us");
    let over = |record: &&serde_json::Value| {
        number(record, "total") > INTERVAL_US + number(record, "preprocess") + number(record, "infer") + LATE_US
    };
    let late = records.iter().filter(over).count();
    assert!(late * 10 <= records.len(), "{late} of {} results are too old", records.len());
}
