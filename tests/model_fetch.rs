//! `hardnetd model fetch` from a real server in this process: a whole network, honest or not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::http::{Answer, Server};
use common::{Outcome, Running, folder, free_port, hardnetd, run};
use hardnetd::hardnet::{self, find};
use hardnetd::weights::file::sha256;
use hardnetd::weights::safetensors::{Texts, write};
use serde_json::Value;
use tempfile::TempDir;

const TAG: Option<&str> = Some("\"v1\"");

/// A file with weights of hardnet39ds, and room for what is fetched.
struct Case {
    folder: TempDir,
    file: PathBuf,
    bytes: Vec<u8>,
    sha256: String,
}

impl Case {
    fn new() -> Self {
        let folder = folder();
        let file = folder.path().join("weights.pth");
        write(&hardnet::seeded(find("hardnet39ds").unwrap(), 1000).unwrap(), &Texts::new(), &file).unwrap();
        Self { bytes: fs::read(&file).unwrap(), sha256: sha256(&file).unwrap(), folder, file }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("model.safetensors")
    }

    fn fetch(&self, from: &str, arguments: &[&str]) -> Outcome {
        let output = self.output();
        let fixed = ["model", "fetch", "HarDNet-39-DS", "--from", from, "--output", output.to_str().unwrap()];
        let limits: &[&str] = if arguments.contains(&"--attempts") { &[] } else { &["--attempts", "3"] };
        let mut command = hardnetd([&fixed[..], &["--timeout", "5"], limits, arguments].concat());
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        Running::start(&mut command).finish()
    }

    /// The files beside the weights.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "weights.pth");
        names.sort();
        names
    }

    fn check(&self) {
        let texts = hardnetd::weights::read(&self.output()).unwrap().texts;
        let metadata: Value = serde_json::from_str(&texts["hardnetd.model"]).unwrap();
        assert_eq!(metadata["source"]["sha256"], self.sha256);
        assert_eq!(metadata["architecture"]["name"], "hardnet39ds");
        assert_eq!(self.left(), ["model.safetensors"]);
    }
}

fn prefix(case: &Case) -> [&str; 2] {
    ["--sha256", &case.sha256[..8]]
}

#[test]
fn a_network_is_fetched_over_a_bad_line_checked_and_imported() {
    let case = Case::new();
    let (bytes, length) = (case.bytes.clone(), case.bytes.len());
    let server = Server::start(move |number, request| {
        let answer = Answer::of(&bytes, TAG, request);
        match number {
            0 => answer.cut(length / 3),
            1 => answer.stall(length / 3),
            _ => answer,
        }
    });
    let outcome = case.fetch(&server.url("/any.pth"), &prefix(&case));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("hardnet39ds, 1000 classes, input 224x224, trained"), "{}", outcome.stdout);
    case.check();
    let starts = server.starts();
    assert!(starts[0].is_none() && starts[1] > Some(0) && starts[2] > starts[1], "{starts:?}");
}

#[test]
fn a_server_without_ranges_is_asked_for_everything_again() {
    let case = Case::new();
    let bytes = case.bytes.clone();
    let server = Server::start(move |number, _| {
        let answer = Answer::new(200, &bytes);
        if number == 0 { answer.cut(1000) } else { answer }
    });
    let outcome = case.fetch(&server.url("/any.pth"), &prefix(&case));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    case.check();
}

#[test]
fn an_interrupted_download_is_continued_by_the_next_call() {
    let case = Case::new();
    let bytes = case.bytes.clone();
    let server = Server::start(move |number, request| {
        let answer = Answer::of(&bytes, TAG, request);
        if number == 0 { answer.cut(5_000_000) } else { answer }
    });
    let url = server.url("/any.pth");
    let first = case.fetch(&url, &[&prefix(&case)[..], &["--attempts", "1"]].concat());
    assert_eq!(first.code(), 69, "{}", first.stderr);
    assert_eq!(case.left(), ["hardnet39ds-0e6c6fa9.pth.part", "hardnet39ds-0e6c6fa9.pth.part.info"]);
    let second = case.fetch(&url, &prefix(&case));
    assert_eq!(second.code(), 0, "{}", second.stderr);
    assert!(server.starts()[1] > Some(1_000_000), "{:?}", server.starts());
    case.check();
}

#[test]
fn a_file_that_is_not_the_published_one_is_refused_and_removed() {
    let case = Case::new();
    let server = Server::of(&case.bytes, TAG);
    let outcome = case.fetch(&server.url("/hardnet39ds-0e6c6fa9.pth"), &[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("0e6c6fa9") && outcome.message().contains(&case.sha256));
    assert_eq!(case.left(), Vec::<String>::new());

    let outcome = case.fetch(case.file.to_str().unwrap(), &[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("must begin with 0e6c6fa9"), "{}", outcome.stderr);
}

#[test]
fn a_file_is_taken_instead_of_a_server() {
    let case = Case::new();
    let outcome = case.fetch(case.file.to_str().unwrap(), &prefix(&case));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(case.file.exists(), "the file of the user stays");
    case.check();
    let again = case.fetch(case.file.to_str().unwrap(), &prefix(&case));
    assert_eq!(again.code(), 64);
    assert!(again.message().contains("exists; --force"), "{}", again.stderr);
    let forced = case.fetch(case.file.to_str().unwrap(), &[&prefix(&case)[..], &["--force"]].concat());
    assert_eq!(forced.code(), 0, "{}", forced.stderr);
}

#[test]
fn weights_of_another_network_are_refused_after_the_download_and_kept() {
    let case = Case::new();
    let server = Server::of(&case.bytes, TAG);
    let output = case.output();
    let fixed = ["model", "fetch", "hardnet68ds", "--output", output.to_str().unwrap(), "--from"];
    let url = server.url("/x");
    let outcome = run([&fixed[..], &[&url], &prefix(&case)].concat());
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("do not fit hardnet68ds"));
    assert_eq!(case.left(), ["hardnet68ds-632474d2.pth"]);
}

#[test]
fn servers_that_are_not_there_and_names_that_are_none_have_their_exit_codes() {
    let case = Case::new();
    let nobody = format!("http://127.0.0.1:{}/x.pth", free_port());
    for (from, code) in [(nobody.as_str(), 69), ("/nowhere/x.pth", 66)] {
        let outcome = case.fetch(from, &["--attempts", "1"]);
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
    }
    let missing = Server::start(|_, _| Answer::new(404, b"no"));
    let outcome = case.fetch(&missing.url("/x.pth"), &[]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("404"), "{}", outcome.stderr);
    let outcome = run(["model", "fetch", "resnet50"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("hardnet39ds, hardnet68ds"), "{}", outcome.stderr);
    assert!(!Path::new("resnet50.safetensors").exists());
}
