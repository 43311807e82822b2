//! Leads through a measurement: which phases follow each other, how long they last, and what is observed meanwhile.
//!
//! The protocol takes its rules from EEMBC EnergyRunner (five windows, their median, warm-up outside), MLPerf Tiny (five
//! measurements) and MLPerf Power (power and performance from the same run). Its figures are results of none of them.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, select, tick};

use super::Error;
use super::journal::{End, Line, Phase, PhaseLine, Writer};
use super::sample::{Inference, Sample};
use crate::exit::chain;
use crate::shutdown::Stopped;

/// Time between two samples with temperature, clocks and throttling.
const CONDITION: Duration = Duration::from_secs(1);

/// Slope of the temperature at which the machine has settled, in degrees Celsius per minute.
const SETTLED: f64 = 1.0;

/// Time over which the slope is taken.
const SLOPE: Duration = Duration::from_secs(30);

/// How long the phases last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Before and after: nothing runs.
    pub idle: Duration,
    /// Frames are captured, and not classified.
    pub capture: Duration,
    /// Least time before the first window.
    pub warm_up: Duration,
    /// Most time before the first window, if the temperature does not settle.
    pub warm_up_limit: Duration,
    /// Each window.
    pub window: Duration,
    /// Number of windows.
    pub windows: usize,
    /// Between two samples.
    pub period: Duration,
}

impl Plan {
    /// The full protocol: 9 minutes, or more until the temperature has settled.
    #[must_use]
    pub const fn full() -> Self {
        let of = Duration::from_secs;
        Self {
            idle: of(60),
            capture: of(60),
            warm_up: of(30),
            warm_up_limit: of(600),
            window: of(60),
            windows: 5,
            period: Duration::from_millis(100),
        }
    }

    /// The short one: half a minute.
    #[must_use]
    pub const fn quick() -> Self {
        let of = Duration::from_secs;
        Self {
            idle: of(4),
            capture: of(4),
            warm_up: of(3),
            warm_up_limit: of(3),
            window: of(3),
            windows: 5,
            ..Self::full()
        }
    }

    /// Time for `points` configurations, without waiting for the temperature.
    #[must_use]
    pub fn time(&self, points: usize) -> Duration {
        let each = self.capture + self.warm_up + self.window * u32::try_from(self.windows).unwrap_or(u32::MAX);
        self.idle * 2 + each * u32::try_from(points).unwrap_or(u32::MAX)
    }
}

/// What runs during a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Frames are captured and given back.
    Capture,
    /// Frames are classified.
    Classify,
}

/// What is measured. It is started and stopped for each phase that needs it.
pub trait Load {
    /// Starts configuration `point`; returns when it runs.
    ///
    /// # Errors
    /// Why it cannot run.
    fn start(&mut self, point: usize, mode: Mode) -> Result<(), Error>;

    /// Stops what runs; returns when it has ended.
    ///
    /// # Errors
    /// Why it has failed.
    fn stop(&mut self) -> Result<(), Error>;

    /// The frames that have been classified.
    fn inferences(&self) -> &Receiver<Inference>;

    /// For `select!`: disconnects if what runs ends by itself.
    fn ended(&self) -> Receiver<std::convert::Infallible>;
}

/// What looks at the machine.
pub trait Look {
    /// A look at the machine, timed before its sensors are read; `with_condition` also at temperature, clocks and throttling.
    fn look(&mut self, with_condition: bool) -> Sample;
}

/// What a user sees of the progress.
pub trait Progress {
    /// A phase begins, which lasts for `time`.
    fn phase(&mut self, phase: Phase, number: usize, time: Duration);

    /// The phase has lasted for `elapsed`; the latest look at the machine.
    fn tick(&mut self, elapsed: Duration, sample: &Sample);
}

/// What is done with the configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Idle and capture only.
    Baseline,
    /// All windows of one point, then of the next, in this order.
    Points(Vec<usize>),
}

/// A measurement in progress.
pub struct Session<'a> {
    /// How long the phases last.
    pub plan: Plan,
    /// What is measured.
    pub load: &'a mut dyn Load,
    /// What looks at the machine.
    pub instruments: &'a mut dyn Look,
    /// Where everything goes.
    pub writer: &'a mut Writer,
    /// What the user sees.
    pub progress: &'a mut dyn Progress,
    /// Tells when to stop early.
    pub stopped: &'a Stopped,
}

impl Session<'_> {
    /// Leads through `schedule`. The file has an end in any case; after an interruption it says so.
    ///
    /// # Errors
    /// If what is measured fails, or the file cannot be written.
    pub fn run(&mut self, schedule: &Schedule) -> Result<(), Error> {
        let outcome = self.lead(schedule);
        let interrupted = match &outcome {
            Ok(()) => None,
            Err(error) => Some(chain(error)),
        };
        let stopped = self.load.stop();
        let (at_ns, _) = self.look(true)?;
        self.writer.write(&Line::End(End { at_ns, interrupted }))?;
        self.writer.sync()?;
        outcome.and(stopped)
    }

    fn lead(&mut self, schedule: &Schedule) -> Result<(), Error> {
        let Plan { idle, capture, warm_up, window, windows, .. } = self.plan;
        // A reading before the first phase, whose beginning is interpolated.
        self.look(false)?;
        self.phase(Phase::Idle, 0, None, idle)?;
        let points: &[usize] = match schedule {
            Schedule::Baseline => &[0],
            Schedule::Points(points) => points,
        };
        for &point in points {
            self.start(point, Mode::Capture)?;
            self.phase(Phase::Capture, 0, Some(point), capture)?;
            self.load.stop()?;
            if *schedule == Schedule::Baseline {
                continue;
            }
            self.start(point, Mode::Classify)?;
            self.phase(Phase::WarmUp, 0, Some(point), warm_up)?;
            for number in 0..windows {
                self.phase(Phase::Window, number, Some(point), window)?;
            }
            self.begin(Phase::Pause, None)?;
            self.load.stop()?;
        }
        if *schedule != Schedule::Baseline {
            self.phase(Phase::Idle, 1, None, idle)?;
        }
        Ok(())
    }

    /// Starts what is measured, while the file says that nothing counts.
    fn start(&mut self, point: usize, mode: Mode) -> Result<(), Error> {
        self.begin(Phase::Pause, None)?;
        self.load.start(point, mode)
    }

    /// Notes that a phase begins now.
    fn begin(&mut self, phase: Phase, point: Option<usize>) -> Result<(), Error> {
        let (at_ns, _) = self.look(true)?;
        self.writer.write(&Line::Phase(PhaseLine { at_ns, phase, point }))?;
        Ok(self.writer.flush()?)
    }

    /// Observes for `time`; while the machine warms up, until its temperature has settled.
    fn phase(&mut self, phase: Phase, number: usize, point: Option<usize>, time: Duration) -> Result<(), Error> {
        self.begin(phase, point)?;
        self.progress.phase(phase, number, time);
        let begun = Instant::now();
        let (samples, conditions) = (tick(self.plan.period), tick(CONDITION));
        let inferences = self.load.inferences().clone();
        // Nothing runs when idle.
        let ended = if point.is_some() { self.load.ended() } else { crossbeam_channel::never() };
        let mut temperatures: Vec<(Duration, f64)> = Vec::new();
        let mut end = after(time);
        loop {
            select! {
                recv(samples) -> _ => {
                    let (_, sample) = self.look(false)?;
                    self.progress.tick(begun.elapsed(), &sample);
                }
                recv(conditions) -> _ => {
                    let (_, sample) = self.look(true)?;
                    let hottest = sample.condition.and_then(|it| it.celsius.values().copied().reduce(f64::max));
                    temperatures.extend(hottest.map(|celsius| (begun.elapsed(), celsius)));
                    self.writer.flush()?;
                }
                recv(inferences) -> inference => {
                    if let Ok(inference) = inference {
                        self.writer.write(&Line::Inference(inference))?;
                    }
                }
                recv(ended) -> _ => return Err(Error::Ended),
                recv(self.stopped.receiver()) -> _ => return Err(Error::Interrupted),
                recv(end) -> _ => {
                    let may_go_on = phase == Phase::WarmUp && begun.elapsed() < self.plan.warm_up_limit;
                    if !may_go_on || has_settled(&temperatures) {
                        return Ok(());
                    }
                    end = after(CONDITION);
                }
            }
        }
    }

    fn look(&mut self, with_condition: bool) -> Result<(u64, Sample), Error> {
        let sample = self.instruments.look(with_condition);
        self.writer.write(&Line::Sample(sample.clone()))?;
        Ok((sample.at_ns, sample))
    }
}

/// Whether the temperature rises or falls by less than [`SETTLED`]; also without a sensor.
fn has_settled(temperatures: &[(Duration, f64)]) -> bool {
    let Some((now, _)) = temperatures.last() else { return true };
    let recent: Vec<(f64, f64)> = temperatures
        .iter()
        .filter(|(at, _)| *now - *at <= SLOPE)
        .map(|(at, celsius)| (at.as_secs_f64() / 60.0, *celsius))
        .collect();
    slope(&recent).is_none_or(|slope| slope.abs() < SETTLED)
}

/// The slope of the line with the least squares of differences. None with fewer than two points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (over, under) = points
        .iter()
        .fold((0.0, 0.0), |(over, under), point| (over + (point.0 - x) * (point.1 - y), under + (point.0 - x).powi(2)));
    (under > 0.0).then(|| over / under)
}
