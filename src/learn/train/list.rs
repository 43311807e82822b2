//! Lists of labelled pictures.
//!
//! Each line names a picture, relative to the list's folder, and its class: as a JSON object with the fields `path` and
//! `label`, and the classes of further tasks in other fields, or as text, with the class after the last tab, or after the
//! last space of a line without tabs.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::exit::Exit;
use crate::regular;

use super::data::Set;
use super::sample::Sample;

/// Most bytes of a list.
const LARGEST: u64 = 1 << 28;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("cannot read the list {}", path.display())]
    Unreadable {
        /// The list.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is invalid.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The list has fewer than two classes.
    #[error("{} has {found} classes: expected pictures of at least two", path.display())]
    Classes {
        /// The list.
        path: PathBuf,
        /// Number of classes.
        found: usize,
    },
    /// No picture has the class of a further task.
    #[error("no line of {} has the field {field:?}", path.display())]
    Field {
        /// The list.
        path: PathBuf,
        /// The field.
        field: String,
    },
}

impl ListError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { source, .. } if !regular::is_content(source) => Exit::NoInput,
            _ => Exit::Data,
        }
    }
}

/// A line.
#[derive(Debug, PartialEq)]
struct Entry {
    path: String,
    label: String,
    others: Vec<Option<String>>,
}

impl Entry {
    fn parse(line: &str, also: &[String]) -> Result<Self, String> {
        if line.starts_with('{') {
            let object: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let text = |field: &str| match &object[field] {
                Value::Null => Ok(None),
                Value::String(text) if !text.is_empty() => Ok(Some(text.clone())),
                Value::Number(number) => Ok(Some(number.to_string())),
                other => Err(format!("{field:?} is {other}: expected a text or a number")),
            };
            let needed = |field: &str| text(field)?.ok_or_else(|| format!("the field {field:?} is missing"));
            let others = also.iter().map(|field| text(field)).collect::<Result<_, _>>()?;
            return Ok(Self { path: needed("path")?, label: needed("label")?, others });
        }
        let parts = line.rsplit_once('\t').or_else(|| line.rsplit_once(' '));
        let parts = parts.map(|(path, label)| (path.trim(), label.trim()));
        let (path, label) = parts
            .filter(|(path, label)| !path.is_empty() && !label.is_empty())
            .ok_or("expected a file name and a class, or a JSON object with the fields \"path\" and \"label\"")?;
        Ok(Self { path: path.to_owned(), label: label.to_owned(), others: vec![None; also.len()] })
    }
}

/// The pictures of a list and, for each field in `also`, their classes in a further task. Classes are in byte order, or
/// by number if all are numbers.
///
/// # Errors
/// If the list is unreadable, has an invalid line, or no line has a field of `also`.
pub fn read(path: &Path, also: &[String]) -> Result<Set, ListError> {
    let text =
        regular::read_text(path, LARGEST).map_err(|source| ListError::Unreadable { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let parse = |(line, text): (usize, &str)| {
        Entry::parse(text, also).map_err(|problem| ListError::Line { path: path.to_owned(), line, problem })
    };
    let entries = lines.filter(|(_, line)| !line.is_empty()).map(parse).collect::<Result<Vec<Entry>, _>>()?;
    let labels = ordered(entries.iter().map(|entry| &entry.label));
    let others: Vec<Vec<String>> =
        (0..also.len()).map(|task| ordered(entries.iter().filter_map(|entry| entry.others[task].as_ref()))).collect();
    if let Some(task) = others.iter().position(Vec::is_empty) {
        return Err(ListError::Field { path: path.to_owned(), field: also[task].clone() });
    }
    let numbers = |labels: &[String]| -> HashMap<String, usize> { labels.iter().cloned().zip(0..).collect() };
    let (of_label, of_others) = (numbers(&labels), others.iter().map(|labels| numbers(labels)).collect::<Vec<_>>());
    let sample = |entry: Entry| {
        let class = of_label.get(&entry.label).copied().unwrap_or_default();
        let numbers = entry.others.iter().zip(&of_others);
        let others = numbers.map(|(label, numbers)| numbers.get(label.as_ref()?).copied()).collect();
        let mut sample = Sample::in_file(folder.join(entry.path), class);
        sample.others = others;
        sample
    };
    let samples = entries.into_iter().map(sample).collect();
    Ok(Set { labels, others, samples, root: folder.to_owned() })
}

/// Different labels, in byte order, or by number if all are numbers.
fn ordered<'a>(labels: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut labels: Vec<String> = labels.collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let numbers: Option<Vec<u64>> = labels.iter().map(|label| label.parse().ok()).collect();
    if numbers.is_some() {
        labels.sort_by_key(|label| label.parse::<u64>().unwrap_or_default());
    }
    labels
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    fn list(text: &str, also: &[&str]) -> Result<Set, ListError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        fs::write(&path, text).unwrap();
        let also: Vec<String> = also.iter().map(|&field| field.to_owned()).collect();
        let mut set = read(&path, &also)?;
        for sample in &mut set.samples {
            sample.path = sample.path.strip_prefix(folder.path()).unwrap().to_owned();
        }
        Ok(set)
    }

    fn pictures(set: &Set) -> Vec<(&str, usize)> {
        set.samples.iter().map(|sample| (sample.path.to_str().unwrap(), sample.class)).collect()
    }

    #[test]
    fn a_line_is_a_picture_and_its_class() {
        let set = list("b 1.jpg gate\n\nsub/a.png\tbin out\r\nc.png\tgate\n", &[]).unwrap();
        assert_eq!(set.labels, ["bin out", "gate"]);
        assert_eq!(pictures(&set), [("b 1.jpg", 1), ("sub/a.png", 0), ("c.png", 1)]);
        let set = list("a 10\nb 9\nc 10\n", &[]).unwrap();
        assert_eq!((set.labels, set.samples[0].class), (vec!["9".to_owned(), "10".to_owned()], 1));
    }

    #[test]
    fn an_object_may_have_classes_in_further_tasks() {
        let text = r#"{"path": "a.png", "label": "good", "stamp": "owl"}
            {"path": "b.png", "label": 7, "stamp": null, "more": [1]}
            {"path": "c.png", "label": "good", "stamp": "bat"}"#;
        let set = list(text, &["stamp"]).unwrap();
        assert_eq!(
            (set.labels.as_slice(), set.classes()),
            (["7".to_owned(), "good".to_owned()].as_slice(), vec![2, 2])
        );
        let others: Vec<Option<usize>> = set.samples.iter().map(|sample| sample.others[0]).collect();
        assert_eq!(
            (others, set.others),
            (vec![Some(1), None, Some(0)], vec![vec!["bat".to_owned(), "owl".to_owned()]])
        );
        assert!(matches!(list(text, &["colour"]), Err(ListError::Field { .. })));
    }

    #[test]
    fn lines_that_cannot_be_used_are_named() {
        let bad = [
            "a.jpg",
            "{\"path\": \"a.jpg\"}",
            "{\"path\": 1, \"label\": [2]}",
            "{\"path\"",
            "{\"path\": \"a\", \"label\": \"\"}",
        ];
        for line in bad {
            let error = list(&format!("a.jpg 1\n{line}\nb.jpg 2\n"), &[]).unwrap_err();
            assert!(matches!(error, ListError::Line { line: 2, .. }), "{error}");
            assert_eq!(error.exit(), Exit::Data);
        }
        assert_eq!(read(Path::new("/nowhere"), &[]).unwrap_err().exit(), Exit::NoInput);
    }
}
