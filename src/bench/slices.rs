//! Runs one row on request, for programs that let engines take turns.

use std::io::{BufRead, Read as _, Write};
use std::time::Instant;

use serde::Serialize;

use super::engine::Runner;
use super::{BenchOptions, Error};
use crate::choice::{BackendChoice, IsaChoice, MemoryMode};

/// Maximum runs per slice.
pub(super) const MAX_RUNS: usize = 1_000_000;

/// Maximum length of an input line in bytes.
const MAX_LINE: u64 = 64;

/// The first line of output: what is loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ready<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// The backend that runs it.
    pub backend: BackendChoice,
    /// The instruction set that it runs with.
    pub isa: IsaChoice,
    /// Trade-off between memory and speed; `None` on other backends.
    pub memory: Option<MemoryMode>,
    /// Threads per inference.
    pub threads: usize,
    /// Rows and columns of the input.
    pub size: [usize; 2],
    /// Loading time in milliseconds.
    pub load_ms: f64,
    /// The logits on the seeded input.
    pub logits: &'a [f32],
}

/// The answer to a line `run N`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// Duration of every run in milliseconds, in order.
    pub ms: Vec<f64>,
}

/// Loads the single row of `options`, writes a first line that says what is loaded, and answers every line `run N` of
/// `input` with a line of JSON. Ends at the end of the input.
///
/// # Errors
/// If there are several rows, the model cannot be loaded or run, a line is not a valid request, or `output` fails.
pub fn serve(options: &BenchOptions, input: &mut impl BufRead, output: &mut impl Write) -> Result<(), Error> {
    let choices = options.rows();
    let [choice] = &choices[..] else { return Err(Error::Rows { rows: choices.len() }) };
    let mut runner = Runner::load(choice)?;
    runner.run()?;
    let Runner { backend, isa, memory, threads, size, load_ms, .. } = runner;
    let ready = Ready { model: &runner.model, backend, isa, memory, threads, size, load_ms, logits: runner.logits() };
    answer(&ready, output)?;
    let mut line = String::new();
    loop {
        line.clear();
        if input.take(MAX_LINE).read_line(&mut line).map_err(Error::Exchange)? == 0 {
            return Ok(());
        }
        let runs = runs(&line).ok_or_else(|| Error::Line { line: line.trim().to_owned() })?;
        let mut ms = Vec::with_capacity(runs);
        for _ in 0..runs {
            let start = Instant::now();
            runner.run()?;
            ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        answer(&Slice { ms }, output)?;
    }
}

/// The N of `run N`.
fn runs(line: &str) -> Option<usize> {
    let number = line.trim().strip_prefix("run ")?.parse().ok()?;
    (1..=MAX_RUNS).contains(&number).then_some(number)
}

fn answer(value: &impl Serialize, output: &mut impl Write) -> Result<(), Error> {
    let written = serde_json::to_writer(&mut *output, value).map_err(std::io::Error::from);
    written.and_then(|()| writeln!(output)).and_then(|()| output.flush()).map_err(Error::Exchange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_runs_is_a_request() {
        assert_eq!([runs("run 3\n"), runs("run 1000000"), runs(" run 1 \n")], [Some(3), Some(1_000_000), Some(1)]);
        for line in ["run 0", "run", "run -1", "run 1000001", "run 1 2", "walk 3", "", "run 99999999999999999999"] {
            assert_eq!(runs(line), None, "{line}");
        }
    }
}
