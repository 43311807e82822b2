//! `hardnetd man`: writes the man pages, for packagers. One per command, from the same definition as `--help`, and
//! `hardnetd.toml(5)` from the commented default configuration.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::Error;
use crate::config;
use crate::replace::replace;

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hardnetd man man/ && man -l man/hardnetd.1")]
pub(super) struct Arguments {
    /// Folder for the pages, created if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let folder = &arguments.folder;
    write(folder).map_err(|source| Error::ManPages { folder: folder.display().to_string(), source })
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut cli = super::command().disable_help_subcommand(true);
    cli.build();
    command_page(&cli, folder)?;
    let page = configuration_page(config::DEFAULT);
    replace(&folder.join("hardnetd.toml.5"), |file| file.write_all(page.as_bytes()))
}

/// Writes the page of a command and of its subcommands, such as `hardnetd-model-info.1`.
fn command_page(command: &clap::Command, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        command_page(subcommand, folder)?;
    }
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone().after_help(None::<&str>)).manual("hardnetd");
    let mut page = Vec::new();
    man.render(&mut page)?;
    page.extend_from_slice(notes_section(&notes).as_bytes());
    replace(&folder.join(man.get_filename()), |file| file.write_all(&page))
}

/// The end of `--help`: paragraphs, lists and examples, which keep their line breaks.
fn notes_section(notes: &str) -> String {
    let mut page = Roff::new();
    let mut as_it_is = false;
    for (index, line) in notes.lines().enumerate() {
        if line.starts_with(' ') != as_it_is {
            as_it_is = !as_it_is;
            page.control(if as_it_is { "nf" } else { "fi" }, []);
        }
        match line {
            "Example:" | "Examples:" => page.control("SH", ["EXAMPLES"]),
            _ if index == 0 => page.control("SH", ["NOTES"]),
            "" => page.control("PP", []),
            _ => &mut page,
        };
        if !matches!(line, "" | "Example:" | "Examples:") {
            page.text([roman(line)]);
        }
    }
    if as_it_is {
        page.control("fi", []);
    }
    page.to_roff()
}

/// A page about the configuration file, from its commented default: sections, and each key with the comment above it.
fn configuration_page(default: &str) -> String {
    let mut page = Roff::new();
    page.control("TH", ["hardnetd.toml", "5", "", concat!("hardnetd ", env!("CARGO_PKG_VERSION")), "hardnetd"]);
    page.control("SH", ["NAME"]);
    page.text([roman("hardnetd.toml - configuration of hardnetd")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut comment = Vec::new();
    for line in default.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text);
        } else if line.starts_with('[') {
            page.control("SH", [line]);
            lines(&mut page, &comment);
            comment.clear();
        } else if let Some((key, value)) = line.split_once(" = ") {
            page.control("TP", []);
            page.text([bold(key), roman(" = "), italic(value)]);
            lines(&mut page, &comment);
            comment.clear();
        } else {
            lines(&mut page, &comment);
            comment.clear();
        }
    }
    page.control("SH", ["FILES"]);
    for file in [config::SYSTEM_FILE, "/etc/hardnetd/conf.d/*.toml"] {
        page.control("TP", []);
        page.text([italic(file)]);
        page.text([roman("Read in this order; the one read later wins.")]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("hardnetd"),
        roman("(1), "),
        bold("hardnetd-config"),
        roman("(1), "),
        bold("systemd.exec"),
        roman("(5)"),
    ]);
    page.to_roff()
}

/// A comment as text. Indented lines keep their line breaks; an empty line starts a paragraph.
fn lines(page: &mut Roff, comment: &[&str]) {
    for line in comment {
        let text = line.strip_prefix(' ').unwrap_or(line);
        if text.is_empty() {
            page.control("PP", []);
            continue;
        }
        if text.starts_with(' ') {
            page.control("br", []);
        }
        page.text(vec![roman(text)]);
    }
}

#[cfg(test)]
mod units {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_notes_are_paragraphs() {
        let page = notes_section("One is\ntimed.\n\nSources:\n  a   first\n  -b\n\nExamples:\n  hardnetd run");
        let body = page.split_once(".SH NOTES\n").map(|(_, body)| body);
        assert_eq!(
            body,
            Some(
                "One is\ntimed.\n.PP\nSources:\n.nf\n  a   first\n  \\-b\n.fi\n.PP\n.SH EXAMPLES\n.nf\n  \
                 hardnetd run\n.fi\n"
            )
        );
    }
}
