//! Inference allocates nothing, and a frame on its way from the decoder to its record allocates little: what they need
//! exists before the first frame.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hardnetd::capture::{self, Settings};
use hardnetd::choice::BackendChoice;
use hardnetd::config::{self, Collect, Flag, FlagValue, StreamFlag};
use hardnetd::engine::features::Grid;
use hardnetd::inference::{Engine, Gaussian, Novelty, TaughtHead};
use hardnetd::kernels::runtime::Threads;
use hardnetd::model::taught::{Distances, Lesson};
use hardnetd::model::{Definition, Model, ModelOptions, NetworkDefinition, Taught};
use hardnetd::pipeline::{self, Parts, SourceParts, StreamParts};
use hardnetd::publish::{self, Outgoing, Sink, Unsent};
use hardnetd::record::Record;
use hardnetd::telemetry::Registry;
use hardnetd::weights::seeded;
use rustix::process::getpid;
use rustix::thread::gettid;

/// The system's allocator, with a counter. The main thread is not counted: it belongs to the test harness, which prints
/// a line about each test that takes over a minute.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if gettid() != getpid() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the layout has a non-zero size, as the caller of `alloc` guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that `alloc` returned this memory for this layout; it came from the system.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Keeps the tests from counting each other's allocations.
static ALONE: Mutex<()> = Mutex::new(());

/// Records the number of allocations when a result arrives.
struct Noting(Arc<Mutex<Vec<usize>>>);

impl Sink for Noting {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn adopt(&mut self, _: Unsent) {}

    fn take(&mut self, outgoing: &Outgoing) -> Result<(), publish::Error> {
        if let Record::Result(_) = outgoing.record {
            self.0.lock().unwrap().push(ALLOCATIONS.load(Ordering::Relaxed));
        }
        Ok(())
    }

    fn close(self: Box<Self>, _: Instant) -> Result<(), publish::Error> {
        Ok(())
    }
}

/// GStreamer's own allocations are not counted: it has another allocator.
#[test]
fn a_frame_allocates_nothing_between_the_decoder_and_its_record() {
    frames_allocate_nothing(&Collect::default());
}

#[test]
fn a_certain_frame_allocates_nothing_where_uncertain_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Collect { folder: folder.path().to_str().unwrap().into(), margin: 0.0, ..Collect::default() };
    frames_allocate_nothing(&settings);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no margin is below 0");
}

fn frames_allocate_nothing(collect: &Collect) {
    const FRAMES: usize = 300;
    const WARM_UP: usize = 100;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    capture::init().unwrap();
    let source = format!("test:ball?live=false&size=320x240&frames={FRAMES}");
    let stream = StreamFlag { name: "test".into(), source, max_fps: None, region: None };
    let flag = Flag { name: "--source", key: "stream", value: FlagValue::Streams(vec![stream]) };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hardnetd.toml");
    std::fs::write(&file, "").unwrap();
    let loaded = config::load(Some(&file), &[flag], &|_| Ok(())).unwrap();
    let options = ModelOptions { size: Some([64, 64]), ..ModelOptions::default() };
    let counts = Arc::<Mutex<Vec<usize>>>::default();
    let model = Arc::new(Model::load("hardnet39ds", &options).unwrap());
    let transform = *model.transform();
    let carry_over = Duration::ZERO;
    let stream = StreamParts { name: "test".into(), model: 0, transform, weight: 1, carry_over };
    let settings = Settings::new(&loaded.config.streams[0]).unwrap();
    let running = pipeline::prepare(Parts {
        registry: Arc::new(Registry::new()),
        device: "device".into(),
        sources: vec![SourceParts { settings, streams: vec![stream] }],
        models: vec![model],
        top: 5,
        inference: loaded.config.inference.clone(),
        frames: None,
        collect: collect.clone(),
        stop_timeout: Duration::from_secs(10),
        stats_period: Duration::ZERO,
        wedge_after: 0,
        classify: true,
    });
    let (mut running, gate) = running.unwrap().go(vec![Box::new(Noting(Arc::clone(&counts)))], Vec::new());
    drop(gate);
    let (_, outcome) = running.take_sinks(None);
    running.finish(outcome, Instant::now() + Duration::from_secs(10)).unwrap();
    let counts = counts.lock().unwrap();
    assert_eq!(counts.len(), FRAMES);
    let each = (counts[FRAMES - 1] - counts[WARM_UP]) as f64 / (FRAMES - 1 - WARM_UP) as f64;
    assert!(each < 0.5, "{each} allocations per frame");
}

#[test]
fn a_hundred_frames_allocate_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = Engine { backend: BackendChoice::Native, ..Engine::default() };
    for (name, size) in [("hardnet39ds", [224, 224]), ("hardnet68", [96, 64])] {
        let options = ModelOptions { engine, size: Some(size), ..ModelOptions::default() };
        let model = Model::load(name, &options).unwrap();
        let input = seeded::tensor(size[0], size[1]);
        for threads in [1, 2] {
            let mut network = model.network(&Threads::new(threads, |_| ())).unwrap();
            network.infer(&input).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..100 {
                network.infer(&input).unwrap();
            }
            assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{name} on {threads} threads");
        }
    }
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 100, "allocations are counted");
}

#[test]
fn a_hundred_frames_of_a_taught_model_allocate_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = ModelOptions { size: Some([64, 64]), ..ModelOptions::default() };
    let mut definition = Definition::open("hardnet39ds", &options).unwrap();
    let (own, cells, classes) = (1024, 48 * 9, 3);
    let values = |count: usize| (0..count).map(|index| (index * 7 % 13) as f32 / 13.0 + 0.1).collect::<Vec<f32>>();
    let gaussian = || Gaussian {
        mean: values(cells),
        scale: values(cells),
        centres: values(classes * cells),
        basis: values(4 * cells),
        variances: values(5),
        limit: 1.0,
    };
    let (appearance, structure) = (gaussian(), gaussian());
    let novelty = Novelty { first: own, cells: 9, appearance, structure, threshold: 1e-3 };
    let head = TaughtHead { weight: values(classes * (own + cells)), bias: values(classes), novelty };
    let grids = [Grid { map: "base.2".to_owned(), cells: 3, inner: true }];
    let lesson = Lesson::new(&grids, 1e-3, vec![2; classes], 1, 6, Distances { mean: 1.0, deviation: 0.1 });
    definition.classes = classes;
    definition.labels = Some(vec!["a".into(), "b".into(), "c".into()]);
    let taught = Taught { lesson, head };
    if let NetworkDefinition::Family { architecture, state } = &mut definition.network {
        taught.put_layer(architecture, state).unwrap();
    }
    definition.taught = Some(Box::new(taught));
    let model = Model::compile(definition, Engine::default()).unwrap();
    // The harness's main thread is not counted.
    let count = std::thread::spawn(move || {
        let mut session = model.session(&Threads::one()).unwrap();
        session.infer(5).unwrap();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..100 {
            let top = session.infer(5).unwrap();
            assert_eq!((top.len(), &*top[0].label, top[0].index), (4, "unknown", 3));
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    assert_eq!(count.join().unwrap(), 0);
}
