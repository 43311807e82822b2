//! Inference takes no memory: what it needs is there before the first frame.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use hardnetd::choice::BackendChoice;
use hardnetd::classifier::{Engine, Model, ModelOptions};
use hardnetd::kernels::runtime::Threads;
use hardnetd::weights::seeded;
use rustix::process::getpid;
use rustix::thread::gettid;

/// The system's allocator, which counts. The main thread is left out: it belongs to the test harness, which writes a line
/// about each test that takes over a minute.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if gettid() != getpid() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_hundred_frames_allocate_nothing() {
    let engine = Engine { backend: BackendChoice::Native, ..Engine::default() };
    for (name, size) in [("hardnet39ds", [224, 224]), ("hardnet68", [96, 64])] {
        let options = ModelOptions { engine, size: Some(size), ..ModelOptions::default() };
        let model = Model::load(name, &options).unwrap();
        let input = seeded::tensor(size[0], size[1]);
        let mut logits = vec![0.0; model.classes()];
        for threads in [1, 2] {
            let mut classifier = model.classifier(&Threads::new(threads, |_| ())).unwrap();
            classifier.infer(&input, &mut logits).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..100 {
                classifier.infer(&input, &mut logits).unwrap();
            }
            assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{name} on {threads} threads");
        }
    }
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 100, "allocations are counted");
}
