//! What is wrong with the syntax of a file, without the lines of it, which may hold secrets.

use std::error::Error;

use super::redact::redact;
use super::schema::{ROOT, Section};

/// What the TOML parser says of `text`, and the key and the table that it means where the key is there twice.
pub(super) fn message(error: &(dyn Error + Send + Sync + 'static), text: &str) -> String {
    let duplicate = error.downcast_ref().and_then(|error| duplicate(error, text));
    without_excerpt(&error.to_string()) + &duplicate.unwrap_or_default()
}

/// The message without the lines of the file that it shows.
fn without_excerpt(message: &str) -> String {
    let is_excerpt = |line: &&str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    let lines: Vec<&str> = message.lines().filter(|line| !is_excerpt(line) && !line.is_empty()).collect();
    lines.join(": ")
}

/// What is there twice, to follow the message that a key is.
fn duplicate(error: &toml::de::Error, text: &str) -> Option<String> {
    if !error.message().ends_with("duplicate key") {
        return None;
    }
    let span = error.span()?;
    let (key, before) = (text.get(span.clone())?.trim(), text.get(..span.start)?);
    let (above, begun) = before.rsplit_once('\n').unwrap_or(("", before));
    // Other lines in brackets may be those of a text that continues over several.
    let is_known = |table: &str| {
        let first = table.trim_matches(['[', ']']).split('.').next().unwrap_or_default().trim();
        matches!(ROOT, Section::Group(sections) if sections.iter().any(|(section, _)| *section == first))
    };
    let header = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim();
        (line.starts_with('[') && line.ends_with(']') && is_known(line)).then(|| redact(line))
    };
    let line = text.get(before.len() - begun.len()..)?.lines().next()?;
    if let Some(table) = header(line) {
        return Some(format!(": {table} is there twice"));
    }
    // The table of a key between braces begins in the same line.
    let table = above.lines().rev().find_map(header).filter(|_| !begun.contains('{'));
    Some(format!(" `{}`{}", redact(key), table.map(|table| format!(" in {table}")).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_named_with_its_table() {
        for (text, end) in [
            ("a = 1\na = 2\n", "line 2, column 1: duplicate key `a`"),
            ("[model]\ntop = 1\ntop = 2\n", "line 3, column 1: duplicate key `top` in [model]"),
            ("[[stream]] # one\nname = \"a\"\nname = \"s3cret\"\n", "duplicate key `name` in [[stream]]"),
            ("[model]\n[publish.mqtt]\n[publish.mqtt]\n", "duplicate key: [publish.mqtt] is there twice"),
            ("[model]\nname = '''\n[s3cret]\n'''\ntop = 1\ntop = 2\n", "duplicate key `top` in [model]"),
            ("[a]\nmodel = { top = 1, top = 2 }\n", "duplicate key `top`"),
        ] {
            let error = text.parse::<toml::Table>().unwrap_err();
            let message = message(&error, text);
            assert!(message.ends_with(end) && !message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        let text = "[model]\nname = s3cret\n";
        let error = text.parse::<toml::Table>().unwrap_err();
        let message = message(&error, text);
        assert!(message.starts_with("TOML parse error at line 2, column "), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
