//! README and `docs/`: every command is valid, and every link has a target.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use hardnetd::cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, the changelog, the card of the default model and the pages in `docs`, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = ["README.md", "CHANGELOG.md", "models/README.md"].map(|page| root().join(page)).to_vec();
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The code lines of a page: in fences, or indented by four spaces after an empty line.
fn code(text: &str) -> Vec<&str> {
    let (mut fenced, mut before_is_code, mut before_is_empty) = (false, false, true);
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let indented = line.starts_with("    ") && (before_is_code || before_is_empty);
        if fenced || indented {
            lines.push(line.trim());
        }
        (before_is_code, before_is_empty) = (indented, line.trim().is_empty());
    }
    lines
}

/// The text between backticks in a page, outside code.
fn inline(text: &str) -> Vec<&str> {
    let prose = text.lines().filter(|line| !line.starts_with("    ") && !line.starts_with("```"));
    prose.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The words of the calls of `program` in a shell line, without comments, pipes and redirections.
fn calls<'a>(line: &'a str, program: &str) -> Vec<Vec<&'a str>> {
    let line = line.split(" #").next().unwrap_or_default();
    let commands = line.split(['|', '&', ';']).map(|command| command.split(['>', '<']).next().unwrap_or_default());
    let words = commands.map(|command| {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        let start = words.iter().position(|word| *word == program || word.ends_with(&format!("release/{program}")));
        let is_command = |start: usize| {
            let before = words[..start].iter();
            // `sudo`, `systemd-run` with its options, and variables may precede it; to other programs it is an
            // argument.
            words.first().is_some_and(|first| ["sudo", "systemd-run"].contains(first))
                || before.clone().all(|word| word.contains('='))
        };
        start.filter(|start| is_command(*start)).map(|start| words[start..].to_vec())
    });
    words.flatten().filter(|words| words.len() > 1).collect()
}

#[test]
fn every_command_of_the_program_parses() {
    let mut checked = 0;
    for (path, text) in pages() {
        let mentions = inline(&text).into_iter().filter(|code| code.starts_with("hardnetd ")).map(|line| (line, true));
        let commands = code(&text).into_iter().map(|line| (line, false));
        let found = commands
            .chain(mentions)
            .flat_map(|(line, is_mention)| calls(line, "hardnetd").into_iter().map(move |call| (call, is_mention)));
        for (call, is_mention) in found {
            if call.get(1) == Some(&"train") && cfg!(not(feature = "train")) {
                continue;
            }
            if let Err(error) = cli::command().try_get_matches_from(&call) {
                // Text may name a command without its arguments.
                let is_short = error.kind() == ErrorKind::MissingRequiredArgument && is_mention;
                assert!(is_short || !error.use_stderr(), "{}: {}: {error}", path.display(), call.join(" "));
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} commands were found");
}

#[test]
fn every_target_of_make_is_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut checked = 0;
    for (path, text) in pages() {
        for call in code(&text).into_iter().chain(inline(&text)).flat_map(|line| calls(line, "make")) {
            let goals = call[1..].iter().filter(|word| !word.contains('='));
            for goal in goals {
                assert!(targets.contains(goal), "{}: {}", path.display(), call.join(" "));
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} targets were found");
}

/// The anchor of a heading, as code hosts generate it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The headings of a page, outside code.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let mut checked = 0;
    for (path, text) in pages() {
        for (at, _) in text.match_indices("](") {
            let Some((target, _)) = text[at + 2..].split_once(')') else { continue };
            if target.starts_with("http") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target}", path.display());
            if !heading.is_empty() {
                let found = anchors(&fs::read_to_string(&file).unwrap());
                assert!(found.contains(heading), "{}: {target}: {found:?}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} links were found");
}

#[test]
fn the_readme_can_be_read_in_one_sitting_and_links_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (lines, words) = (readme.lines().count(), readme.split_whitespace().count());
    assert!(lines < 200 && words < 1300, "{lines} lines, {words} words");
    for (path, _) in pages() {
        let page = path.strip_prefix(root()).unwrap().display().to_string();
        assert!(!page.starts_with("docs/") || readme.contains(&format!("]({page})")), "{page}");
    }
}

#[test]
fn options_of_all_commands_follow_those_of_the_command() {
    let mut command = cli::command();
    command.build();
    for name in ["run", "eval", "bench"] {
        let help = command.find_subcommand_mut(name).unwrap().render_help().to_string();
        let at = |option: &str| help.find(option).unwrap_or_else(|| panic!("no {option} in {help}"));
        let last = if name == "run" { "--sink" } else { "--json" };
        assert!(
            at(last) < at("--verbose") && at("--verbose") < at("--quiet") && at("--quiet") < at("--help"),
            "{help}"
        );
    }
}

#[test]
fn help_wraps_paragraphs_as_wide_as_the_terminal() {
    // A line that ends early before another of the same paragraph has been broken by hand.
    fn check(mut command: clap::Command) {
        let help = command.render_long_help().to_string();
        let name = command.get_name().to_owned();
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            let [line, next] = pair else { continue };
            let is_prose = |line: &str| line.starts_with(|c: char| c.is_alphanumeric()) && !line.contains("  ");
            let first = next.split_whitespace().next().unwrap_or_default();
            let has_room = line.len() + 1 + first.len() <= 100;
            assert!(!(is_prose(line) && is_prose(next) && has_room), "{name}: {line:?} {next:?}");
        }
        for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            check(subcommand.clone());
        }
    }
    check(cli::command().term_width(100));
}
