//! A page for browsers and for paper, of one file that needs nothing else: no script, no font, no picture from anywhere.
//!
//! Templates are in `templates/measure`, where everything that they insert is escaped. Elements with a figure have it in
//! full in attributes called `data-…`, under the names of `measure report --json`.

mod energy;
mod environment;
mod latency;
mod pareto;
mod scale;
mod tables;
mod time;

use askama::Template;

use super::Measured;
use crate::measure::analysis::PointFigures;
use crate::printable::line;

/// Most configurations of a file that the page shows.
const MOST_POINTS: usize = 100;

/// Most windows of a configuration that the page shows.
const MOST_WINDOWS: usize = 100;

/// Most characters of a name.
const LONGEST_NAME: usize = 100;

/// The page.
#[derive(Template)]
#[template(path = "measure/page.html", whitespace = "minimize")]
struct Page {
    title: String,
    devices: Vec<Device>,
    summary: Vec<tables::Summary>,
    energy: energy::Chart,
    pareto: Option<pareto::Chart>,
    latency: Vec<latency::Chart>,
    times: Vec<time::Chart>,
    windows: Vec<tables::Windows>,
    environments: Vec<environment::Environment>,
    left_out: Vec<String>,
}

/// A file.
struct Device {
    /// A letter.
    id: String,
    /// Its number, from 0.
    file: usize,
    name: String,
    file_name: String,
    notes: Vec<String>,
}

/// A configuration of a file, with what it is called everywhere on the page.
struct Named<'a> {
    measured: &'a Measured,
    point: &'a PointFigures,
    /// Number of the file, and of the configuration in it, from 0.
    file: usize,
    number: usize,
    /// The letter of the file with the number of the configuration, such as `B2`.
    id: String,
    device: String,
    name: String,
}

/// A page with all figures of `files`, side by side.
///
/// # Errors
/// If a figure cannot be formatted, which is a fault of the program.
pub fn html(files: &[Measured]) -> Result<String, askama::Error> {
    let mut left_out = Vec::new();
    let mut points = Vec::new();
    for (file, measured) in files.iter().enumerate() {
        let device = name(&measured.recording.environment.device);
        let all = &measured.analysis.points;
        points.extend(all.iter().take(MOST_POINTS).enumerate().map(|(number, point)| Named {
            measured,
            point,
            file,
            number,
            id: format!("{}{}", letters(file), number + 1),
            device: device.clone(),
            name: name(&point.name),
        }));
        if all.len() > MOST_POINTS {
            left_out.push(format!("{}: configurations {} to {}", letters(file), MOST_POINTS + 1, all.len()));
        }
    }
    for point in &points {
        let all = point.point.windows.len();
        if all > MOST_WINDOWS {
            left_out.push(format!("{}: windows {} to {all} of the table", point.id, MOST_WINDOWS + 1));
        }
    }
    let devices: Vec<Device> = files.iter().enumerate().map(|(file, measured)| device(file, measured)).collect();
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    let page = Page {
        title: format!("hardnetd measurement: {}", name(&names.join(", "))),
        summary: points.iter().map(tables::summary).collect(),
        energy: energy::chart(&points),
        pareto: pareto::chart(&points),
        latency: points.iter().map(latency::chart).collect(),
        times: files.iter().enumerate().map(|(file, measured)| time::chart(file, measured)).collect(),
        windows: points.iter().map(tables::windows).collect(),
        environments: files.iter().enumerate().map(|(file, it)| environment::environment(file, it)).collect(),
        devices,
        left_out,
    };
    page.render()
}

fn device(file: usize, Measured { file: file_name, recording, analysis }: &Measured) -> Device {
    Device {
        id: letters(file),
        file,
        name: name(&recording.environment.device),
        file_name: name(file_name),
        notes: analysis.notes.iter().map(|note| line(note).into_owned()).collect(),
    }
}

/// A name from a file, which may be of any length and contain anything.
fn name(text: &str) -> String {
    let text = line(text);
    match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "unnamed".to_owned(),
        None => text.into_owned(),
    }
}

/// `A` to `Z`, then `AA`, `AB`, and so on.
fn letters(mut number: usize) -> String {
    let mut letters = String::new();
    loop {
        letters.insert(0, char::from(b'A' + (number % 26) as u8));
        match number / 26 {
            0 => return letters,
            more => number = more - 1,
        }
    }
}

/// `1.25`, with every digit that the number has.
fn full(value: f64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_with_letters() {
        assert_eq!([0, 1, 25, 26, 27, 701, 702].map(letters), ["A", "B", "Z", "AA", "AB", "ZZ", "AAA"]);
    }

    #[test]
    fn a_name_is_short_printable_and_never_empty() {
        assert_eq!((name(""), name("pi\n4")), ("unnamed".to_owned(), "pi\\n4".to_owned()));
        assert_eq!(name(&"ü".repeat(500)).chars().count(), LONGEST_NAME + 1);
    }
}
