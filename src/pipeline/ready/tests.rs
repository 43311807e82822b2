#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::bounded;

use super::super::lane::Task;
use super::super::queue::tests::frame;
use super::super::queue::{Empty, QueueSender, queue};
use super::super::states::States;
use super::super::turn::Turn;
use super::*;
use crate::capture::Settings;
use crate::config::Stream;
use crate::preprocess::{Preprocessor, Transform};
use crate::record::ModelTag;
use crate::shutdown;
use crate::telemetry::{FrameNumbers, StreamCounters};

/// A stream whose source waits for the threads.
fn lane(name: &str) -> (QueueSender, Lane) {
    let (counters, stream) = (Arc::<StreamCounters>::default(), Arc::<str>::from(name));
    let (stop, stopped) = shutdown::channel();
    // These sources never stop.
    std::mem::forget(stop);
    let (inlet, outlet) = queue(false, Arc::clone(&counters), stopped.clone());
    let (results, items) = bounded(16);
    std::mem::forget(items);
    let task = Task {
        model: 0,
        tag: Arc::new(ModelTag { name: "m".into(), digest: "".into(), trained: false }),
        preprocessor: Preprocessor::new(Transform::IMAGENET).unwrap(),
        chooser: None,
        turn: Turn::new(1),
        carry: None,
    };
    let settings = Settings::new(&Stream::default()).unwrap();
    let limits = settings.limits();
    let states = Arc::new(States::new(Arc::clone(&stream), limits, Arc::clone(&counters), results, stopped));
    let numbers = Arc::<FrameNumbers>::default();
    (inlet, Lane { stream, outlet, counters, numbers, states, task, remaining: None, backlog: None, failures: None })
}

#[test]
fn threads_take_every_frame_once_and_those_of_a_stream_in_order() {
    const FRAMES: u64 = 300;
    let ready = ReadyQueue::default();
    let (inlets, lanes): (Vec<_>, Vec<_>) = ["a", "b", "c", "d", "e"].map(lane).into_iter().unzip();
    ready.add(lanes);
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for inlet in inlets {
            scope.spawn(move || (0..FRAMES).for_each(|seq| assert!(inlet.deliver(frame(seq)).is_continue())));
        }
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(mut taken) = ready.next(|| None) {
                    let lane = taken.lane().unwrap();
                    match lane.outlet.take() {
                        Ok(frame) => seen.lock().unwrap().push((Arc::clone(&lane.stream), frame.seq)),
                        Err(Empty::Yet) => {}
                        Err(Empty::Ended) => continue,
                    }
                    taken.give_back();
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    for stream in ["a", "b", "c", "d", "e"] {
        let of_stream: Vec<u64> = seen.iter().filter(|(of, _)| &**of == stream).map(|(_, seq)| *seq).collect();
        assert_eq!(of_stream, (0..FRAMES).collect::<Vec<_>>(), "{stream}");
    }
}

#[test]
fn a_stop_wakes_every_thread_that_waits() {
    let ready = ReadyQueue::default();
    let (_inlet, lane) = lane("silent");
    ready.add(vec![lane]);
    let stops = AtomicBool::new(false);
    thread::scope(|scope| {
        let wait = || ready.next(|| stops.load(Ordering::SeqCst).then(Instant::now)).is_none();
        let threads = [scope.spawn(wait), scope.spawn(wait), scope.spawn(wait)];
        stops.store(true, Ordering::SeqCst);
        ready.wake_all();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
    assert_eq!(ready.take_waiting().len(), 1);
}

#[test]
fn a_stream_that_a_thread_loses_keeps_no_other_from_ending() {
    let ready = ReadyQueue::default();
    let (inlet, lane) = lane("lost");
    assert!(inlet.deliver(frame(0)).is_continue());
    ready.add(vec![lane]);
    let taken = ready.next(|| None).unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| ready.next(|| None).is_none());
        drop(taken);
        assert!(other.join().unwrap());
    });
    assert!(inlet.is_closed());
}

#[test]
fn streams_are_handed_over_at_once_or_when_their_frame_is_classified() {
    let ready = ReadyQueue::default();
    let (first, lane_of_first) = lane("first");
    let (_waits, lane_of_waiting) = lane("waits");
    let (_stays, lane_of_staying) = lane("stays");
    assert!(first.deliver(frame(0)).is_continue());
    ready.add(vec![lane_of_first, lane_of_waiting, lane_of_staying]);
    let taken = ready.next(|| None).unwrap();
    let (results, _items) = bounded(16);
    let lanes = ready.hand_over(["first".into(), "waits".into()].into(), results);
    assert_eq!(lanes.try_recv().map(|lane| lane.stream.to_string()), Ok("waits".into()));
    assert!(lanes.try_recv().is_err(), "a thread has the other");
    taken.give_back();
    assert_eq!(lanes.try_recv().map(|lane| lane.stream.to_string()), Ok("first".into()));
    assert!(lanes.recv().is_err(), "that was the last one");
    assert_eq!(ready.take_waiting().len(), 1, "one stays");
}

#[test]
fn a_stream_that_is_given_back_too_late_is_not_handed_over() {
    let ready = ReadyQueue::default();
    let (inlet, lane) = lane("late");
    assert!(inlet.deliver(frame(0)).is_continue());
    ready.add(vec![lane]);
    let taken = ready.next(|| None).unwrap();
    let (results, items) = bounded(16);
    let lanes = ready.hand_over(["late".into()].into(), results);
    ready.cancel_hand_over();
    assert!(lanes.recv().is_err());
    taken.give_back();
    assert!(items.recv().is_err(), "nothing holds the next pipeline open");
    assert_eq!(ready.take_waiting().len(), 1);
}
