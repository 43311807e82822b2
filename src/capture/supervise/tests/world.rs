//! A scripted source, on a clock that advances only when somebody waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::super::*;
use crate::capture::economy::Needs;
use crate::capture::gate::{Coded, Gate};
use crate::capture::scheme::Launch;
use crate::capture::{Event as StreamEvent, Lifecycle};
use crate::choice::Decode;
use crate::config::Stream;
use crate::record::StreamState;
use crate::shutdown::{self, Stop, Thread};
use crate::telemetry::Ticket;

const MS: u64 = 1_000_000;

/// What a session does.
pub(super) enum Step {
    Frame,
    /// A frame whose consumer never returns.
    Block,
    /// A frame that the consumer refuses.
    Refuse,
    Bytes(usize),
    /// A frame is left out.
    LeaveOut,
    /// A coded frame, and whether frames are left out behind it.
    Coded(bool),
    Say(Notice),
    Rest,
    Stop,
}

/// A session: its steps, by milliseconds from the start; or why it does not start.
pub(super) type Script = Result<Vec<(u64, Step)>, Error>;

struct FakeSession {
    notices: Receiver<Notice>,
    activity: Arc<Activity>,
    resting: Arc<AtomicBool>,
    /// Shutting it down blocks until this is disconnected.
    held: Option<Receiver<Infallible>>,
}

impl Session for FakeSession {
    fn notices(&self) -> &Receiver<Notice> {
        &self.notices
    }

    fn activity(&self) -> &Activity {
        &self.activity
    }

    fn is_at_rest(&self) -> bool {
        self.resting.load(Ordering::Acquire)
    }
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            let _ = held.recv();
        }
    }
}

/// The running session, as the script sees it.
struct Running {
    start_ns: u64,
    steps: VecDeque<(u64, Step)>,
    say: Sender<Notice>,
    activity: Arc<Activity>,
    resting: Arc<AtomicBool>,
    ticket: Ticket,
}

/// Player and clock in one.
pub(super) struct World {
    pub(super) settings: Settings,
    now_ns: Cell<u64>,
    scripts: RefCell<VecDeque<Script>>,
    running: RefCell<Option<Running>>,
    stop: RefCell<Option<Stop>>,
    stopped: Stopped,
    numbers: Arc<FrameNumbers>,
    /// When sessions were started, in milliseconds.
    pub(super) starts: RefCell<Vec<u64>>,
    /// Numbers of the frames, by session.
    pub(super) frames: RefCell<Vec<Vec<u64>>>,
    /// Waits before the source was reopened, in milliseconds, and the next number.
    pub(super) retries: RefCell<Vec<(u64, u64)>>,
    pub(super) beats: RefCell<Vec<u64>>,
    /// When the source was reported to wait for a key frame, in milliseconds.
    pub(super) key_frame_waits: RefCell<Vec<u64>>,
    lifecycle: RefCell<Lifecycle>,
    /// The states of the stream, and since when, in milliseconds.
    pub(super) states: RefCell<Vec<(u64, StreamState)>>,
    /// When pipelines were reported to be abandoned, in milliseconds, and how many.
    pub(super) abandoned: RefCell<Vec<(u64, u64)>>,
    /// When something was reported to be in the way, in milliseconds, and what.
    pub(super) hindered: RefCell<Vec<(u64, String)>>,
    /// When the stop is requested, in milliseconds.
    pub(super) stop_at: Cell<Option<u64>>,
    /// From when on no frames are wanted.
    pub(super) unwanted_at: Cell<Option<u64>>,
    /// Whether names are not known; otherwise they are not looked up.
    pub(super) is_unknown: Cell<bool>,
    /// When shutting down sessions completes, in milliseconds.
    pub(super) hold_until: Cell<Option<u64>>,
    /// The sessions that do not shut down before.
    pub(super) holds: RefCell<Vec<Sender<Infallible>>>,
}

impl World {
    pub(super) fn new(stream: &Stream, scripts: impl IntoIterator<Item = Script>) -> Self {
        let (stop, stopped) = shutdown::channel();
        let settings = Settings::new(stream).unwrap();
        Self {
            lifecycle: Lifecycle::new(settings.limits()).into(),
            states: RefCell::default(),
            abandoned: RefCell::default(),
            hindered: RefCell::default(),
            settings,
            now_ns: Cell::new(0),
            scripts: RefCell::new(scripts.into_iter().collect()),
            running: RefCell::default(),
            stop: RefCell::new(Some(stop)),
            stopped,
            numbers: Arc::default(),
            starts: RefCell::default(),
            frames: RefCell::default(),
            retries: RefCell::default(),
            beats: RefCell::default(),
            key_frame_waits: RefCell::default(),
            stop_at: Cell::default(),
            unwanted_at: Cell::default(),
            is_unknown: Cell::default(),
            hold_until: Cell::default(),
            holds: RefCell::default(),
        }
    }

    pub(super) fn run(&self) -> Result<(), Error> {
        let deliver: Deliver = Arc::new(|_| ControlFlow::Continue(()));
        let report = |progress: Progress<'_>| {
            match progress {
                Progress::Watching => self.beats.borrow_mut().push(self.now_ms()),
                Progress::Playing(flow) => {
                    self.beats.borrow_mut().push(self.now_ms());
                    self.tell(StreamEvent::Playing(flow));
                    if flow.keyless > Duration::from_secs(1) {
                        self.key_frame_waits.borrow_mut().push(self.now_ms());
                    }
                }
                Progress::Unreadable { .. } | Progress::LeftOut(_) => {}
                Progress::Retrying { wait, next, .. } => {
                    self.retries.borrow_mut().push((u64::try_from(wait.as_millis()).unwrap(), next));
                    self.tell(StreamEvent::Failed { next });
                }
                Progress::Abandoned { pipelines } => self.abandoned.borrow_mut().push((self.now_ms(), pipelines)),
                Progress::Hindered(error) => self.hindered.borrow_mut().push((self.now_ms(), error.to_string())),
            }
            match self.unwanted_at.get() {
                Some(at) if at <= self.now_ms() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        let supervisor = Supervisor {
            settings: &self.settings,
            numbers: &self.numbers,
            stopped: &self.stopped,
            deliver: &deliver,
            report: &report,
            player: self,
            clock: self,
        };
        supervisor.run()
    }

    /// Lets an event happen to the stream, whose frames have results at once.
    fn tell(&self, event: StreamEvent) {
        let state = self.lifecycle.borrow_mut().take(event);
        self.states.borrow_mut().extend(state.map(|state| (self.now_ms(), state)));
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ns.get() / MS
    }

    pub(super) fn waits(&self) -> Vec<u64> {
        self.retries.borrow().iter().map(|(wait, _)| *wait).collect()
    }

    /// Advances to the next event, to `end_ns` at most.
    fn advance(&self, end_ns: u64) {
        let mut running = self.running.borrow_mut();
        let step = running.as_ref().and_then(|it| Some(it.start_ns + it.steps.front()?.0 * MS));
        let at = [step, self.stop_at.get().map(|at| at * MS), self.hold_until.get().map(|at| at * MS)];
        let next = at.into_iter().flatten().min().filter(|at| *at <= end_ns);
        self.now_ns.set(self.now_ns.get().max(next.unwrap_or(end_ns)));
        let now = self.now_ns.get();
        if self.stop_at.get().is_some_and(|at| at * MS <= now) {
            self.stop_at.set(None);
            self.stop.borrow_mut().take();
        }
        if self.hold_until.get().is_some_and(|at| at * MS <= now) {
            self.hold_until.set(None);
            self.holds.borrow_mut().clear();
            while reaper::look(&self.settings, 0) != Left::default() {
                thread::yield_now();
            }
        }
        let Some(it) = running.as_mut().filter(|_| step.is_some_and(|step| step <= now)) else { return };
        let frame = |it: &Running| {
            let Some(number) = it.ticket.number() else { return };
            it.activity.begin_frame();
            it.activity.count_frame();
            self.frames.borrow_mut().last_mut().unwrap().push(number);
            self.tell(StreamEvent::Result { seq: number });
        };
        match it.steps.pop_front().unwrap().1 {
            Step::Frame => {
                frame(it);
                it.activity.end_frame(now);
            }
            Step::Block => frame(it),
            Step::Refuse => {
                frame(it);
                it.activity.end_frame(now);
                it.activity.refuse();
            }
            Step::LeaveOut => {
                let gate = it.activity.add_gate(Gate::new(false, Needs { decode: Decode::All, interval_ns: 0 }));
                assert!(!Activity::lock(&gate).decodes(Coded {
                    pts: None,
                    is_key: false,
                    is_reference: true,
                    follows_gap: false
                }));
            }
            Step::Coded(is_shut) => it.activity.frame_coded(now, !is_shut, is_shut),
            Step::Bytes(bytes) => drop(it.activity.receive(bytes)),
            Step::Say(notice) => it.say.send(notice).unwrap(),
            Step::Rest => it.resting.store(true, Ordering::Release),
            Step::Stop => drop(self.stop.borrow_mut().take()),
        }
    }
}

impl Player for World {
    fn start(&self, _: &Arc<str>, _: &Launch, ticket: Ticket, _: Deliver) -> Result<Box<dyn Session>, Error> {
        self.starts.borrow_mut().push(self.now_ms());
        self.frames.borrow_mut().push(Vec::new());
        let steps = self.scripts.borrow_mut().pop_front().unwrap_or_else(|| Ok(vec![(0, Step::Stop)]))?;
        let (say, notices) = unbounded();
        let (activity, resting) = (Activity::new(self.now_ns.get()), Arc::new(AtomicBool::new(false)));
        let (holds, held) = crossbeam_channel::bounded(0);
        let held = self.hold_until.get().map(|_| {
            self.holds.borrow_mut().push(holds);
            held
        });
        let session = FakeSession { notices, activity: Arc::clone(&activity), resting: Arc::clone(&resting), held };
        let start_ns = self.now_ns.get();
        *self.running.borrow_mut() = Some(Running { start_ns, steps: steps.into(), say, activity, resting, ticket });
        Ok(Box::new(session))
    }

    fn look_up(&self, _: &str) -> Option<Thread<io::Result<()>>> {
        let lookup = || Err(io::Error::other("no such name"));
        self.is_unknown.get().then(|| shutdown::spawn("lookup", lookup).unwrap())
    }
}

impl Clock for World {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn wait(&self, stopped: &Stopped, notices: &Receiver<Notice>, limit: Duration) -> Event {
        let end = self.now_ns.get() + nanoseconds(limit);
        loop {
            if stopped.is_set() {
                return Event::Stop;
            }
            if let Ok(notice) = notices.try_recv() {
                return Event::Notice(notice);
            }
            if self.now_ns.get() >= end {
                return Event::Time;
            }
            self.advance(end);
        }
    }

    /// In the middle: waits are as long as their settings say.
    fn chance(&self) -> f64 {
        0.5
    }

    fn wait_for_end(&self, done: &Receiver<Infallible>, limit: Duration) -> bool {
        if self.holds.borrow().is_empty() {
            return done.recv().is_err();
        }
        self.now_ns.set(self.now_ns.get() + nanoseconds(limit));
        false
    }
}
