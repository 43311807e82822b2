//! The thread that writes each record once and hands it to every sink.

use crossbeam_channel::Receiver;

use super::drain::Drain;
use super::{Error, Item};
use crate::publish::Sink;
use crate::telemetry::Pulse;

/// Hands out items until all inference threads have ended, then closes the sinks, which have until
/// the deadline of `drain` for what they still hold.
///
/// # Errors
/// A sink is lost, or could not hand out everything; the first such error, after all have been closed.
pub(super) fn run(
    items: &Receiver<Item>,
    mut sinks: Vec<Box<dyn Sink>>,
    drain: &Drain,
    pulse: &Pulse,
) -> Result<(), Error> {
    let mut outcome = hand_out(items, &mut sinks, pulse);
    pulse.rest();
    let deadline = drain.deadline();
    for sink in sinks {
        outcome = outcome.and(sink.close(deadline).map_err(Error::from));
    }
    outcome
}

fn hand_out(items: &Receiver<Item>, sinks: &mut [Box<dyn Sink>], pulse: &Pulse) -> Result<(), Error> {
    let mut line = Vec::new();
    for item in items {
        pulse.beat();
        match item {
            Item::Result(record) => {
                line.clear();
                serde_json::to_writer(&mut line, &record).map_err(Error::Record)?;
                for sink in &mut *sinks {
                    sink.result(&record, &line)?;
                }
            }
            Item::Stream(stream, state) => {
                for sink in &mut *sinks {
                    sink.stream(&stream, state)?;
                }
            }
        }
        pulse.rest();
    }
    Ok(())
}
