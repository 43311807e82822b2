//! `hardnetd doctor`: checks whether this machine is ready for the program.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::model::json;
use super::{ConfigFile, Error, logging, printed};
use crate::doctor::{Check, Counts, Report, State, examine};
use crate::plural::counted;
use crate::printable::{block, line};

/// Maximum timeout in seconds.
const MAX_SECONDS: f64 = 300.0;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
doctor checks the configuration, the program and the processor, GStreamer with its elements and decoders, devices \
and permissions, cores and their clock speed, sensors, the model, the sources of the streams, the MQTT broker and \
its certificate, the clock, disk and memory, and the sandbox of the service. It changes nothing: it connects to the \
broker with a client id of its own and publishes nothing; it asks cameras for their options and sets up no stream.

Every line is one of
  ok        as it should be
  warning   works, but not as well as it could, or not for long
  error     cannot work as configured
  info      a fact that is neither good nor bad
  absent    not there, and not needed

On a terminal, doctor prints a table; elsewhere, tab-separated lines: state, area, name, what was found, remedy. \
--json prints an object with the schema hardnetd.doctor.v1.

The service may have other permissions than its administrator. To check with its user and groups:
  sudo systemd-run --pipe --wait -p DynamicUser=yes -p User=hardnetd-daemon \\
      -p StateDirectory=hardnetd -p \"SupplementaryGroups=hardnetd video render\" \\
      hardnetd doctor

Exit codes: 0 no error (there may be warnings), 69 at least one error, 78 the configuration is wrong.

Examples:
  hardnetd doctor
  hardnetd doctor -c ./hardnetd.toml --timeout 2
  hardnetd doctor | grep -E '^(warning|error)'
  hardnetd doctor --json | jq -r '.checks[] | select(.state == \"error\") | .found, .remedy'")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Timeout in seconds for each name lookup, connection and answer.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| (0.1..=MAX_SECONDS).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("expected seconds from 0.1 to {MAX_SECONDS}"))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let report = examine(arguments.file.config.as_deref(), arguments.timeout);
    if arguments.json {
        json(&report)?;
    } else {
        printed(print(&report))?;
    }
    match report.exit() {
        None => Ok(()),
        Some(exit) => Err(Error::ChecksFailed { errors: report.counts.error, checks: report.checks.len(), exit }),
    }
}

fn print(report: &Report) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if !output.is_terminal() {
        for Check { area, finding } in &report.checks {
            let fields = [
                finding.state.name(),
                area,
                &finding.name,
                &finding.found,
                finding.remedy.as_deref().unwrap_or_default(),
            ];
            // A tab or a line feed in a field would look like a separator.
            let fields = fields.map(|field| field.replace(['\t', '\n', '\r'], " "));
            writeln!(output, "{}", fields.each_ref().map(|field| line(field)).join("\t"))?;
        }
        return Ok(());
    }
    writeln!(output, "{}", table(report, logging::colour()))?;
    let Counts { ok, warning, error, .. } = report.counts;
    let (warnings, errors) = (counted(warning, "warning", "warnings"), counted(error, "error", "errors"));
    writeln!(output, "{ok} ok, {warnings}, {errors}")
}

/// One row per check, with the area in its first row and the remedy below the finding.
fn table(report: &Report, colour: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // Some serial consoles do not know their width.
    if table.width() == Some(0) {
        table.set_width(80);
    }
    table.set_header(["Area", "Check", "State", "Found"]);
    let mut before = "";
    for Check { area, finding } in &report.checks {
        let begins = if *area == before { "" } else { area };
        before = area;
        let found = match &finding.remedy {
            Some(remedy) => format!("{}\n→ {}", block(&finding.found), block(remedy)),
            None => block(&finding.found),
        };
        let state = Cell::new(finding.state.name());
        let state = match finding.state {
            _ if !colour => state,
            State::Ok => state.fg(Color::Green),
            State::Warning => state.fg(Color::Yellow),
            State::Error => state.fg(Color::Red),
            State::Info | State::Absent => state.fg(Color::DarkGrey),
        };
        table.add_row([Cell::new(begins), Cell::new(line(&finding.name)), state, Cell::new(found)]);
    }
    table
}
