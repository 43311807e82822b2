//! `hardnetd model fetch` from a real server in this process: a whole network, honest or not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::http::{Answer, Server};
use common::https;
use common::{Outcome, Running, folder, free_port, hardnetd, run};
use hardnetd::hardnet::{self, find};
use hardnetd::weights::file::sha256;
use hardnetd::weights::safetensors::{Texts, write};
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

const TAG: Option<&str> = Some("\"v1\"");

/// A weight file of hardnet39ds, and a folder for what is downloaded.
struct Case {
    folder: TempDir,
    state: TempDir,
    file: PathBuf,
    bytes: Vec<u8>,
    sha256: String,
}

impl Case {
    fn new() -> Self {
        let folder = folder();
        let file = folder.path().join("weights.pth");
        write(&hardnet::seeded(find("hardnet39ds").unwrap(), 1000).unwrap(), &Texts::new(), &file).unwrap();
        Self { bytes: fs::read(&file).unwrap(), sha256: sha256(&file).unwrap(), folder, state: common::folder(), file }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("model.safetensors")
    }

    fn fetch(&self, from: &str, arguments: &[&str]) -> Outcome {
        self.fetch_with(self.state.path(), from, arguments)
    }

    /// The same with the record of digests below `state`.
    fn fetch_with(&self, state: &Path, from: &str, arguments: &[&str]) -> Outcome {
        let output = self.output();
        let fixed = ["model", "fetch", "HarDNet-39-DS", "--from", from, "--output", output.to_str().unwrap()];
        let limits: &[&str] = if arguments.contains(&"--attempts") { &[] } else { &["--attempts", "3"] };
        let mut command = hardnetd([&fixed[..], &["--timeout", "5"], limits, arguments].concat());
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", state);
        command.env("SSL_CERT_FILE", self.state.path().join("authority.pem"));
        Running::start(&mut command).finish()
    }

    /// The file with the digests of earlier downloads.
    fn record(&self) -> PathBuf {
        self.state.path().join("hardnetd/digests")
    }

    /// The files next to the weights.
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
    for reason in ["ended the transfer after", "nothing came from"] {
        assert!(outcome.stderr.contains(reason), "{reason}: {}", outcome.stderr);
    }
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

/// A server for `https://localhost` that redirects everybody to `location`; returns its port.
fn redirecting(folder: &Path, location: String) -> u16 {
    let config = https::certified(folder, &["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let head = https::head(&mut stream).is_some();
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            // A client that does not trust the certificate has already gone.
            if head && stream.get_mut().write_all(answer.as_bytes()).is_ok() {
                let _ = stream.get_mut().flush();
            }
        }
    });
    port
}

#[test]
fn an_encrypted_way_is_not_left_wherever_it_began() {
    let case = Case::new();
    let plain = Server::of(&case.bytes, TAG);
    let encrypted = redirecting(case.state.path(), plain.url("/weights.pth"));
    let outcome = case.fetch(&format!("https://localhost:{encrypted}/a.pth"), &prefix(&case));
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    let said = format!("https://localhost:{encrypted}/a.pth redirects from https to http");
    assert!(outcome.message().contains(&said), "{}", outcome.stderr);
    assert!(plain.requests().is_empty(), "nothing is asked without encryption");

    let first = Server::start(move |_, _| Answer::redirect(&format!("https://localhost:{encrypted}/a.pth")));
    let outcome = case.fetch(&first.url("/b.pth"), &prefix(&case));
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("redirects from https to http"), "{}", outcome.stderr);
    assert_eq!(case.left(), Vec::<String>::new());
    assert!(!case.record().exists());
}

#[test]
fn the_whole_digest_of_the_first_good_file_is_kept_and_another_one_is_refused() {
    let case = Case::new();
    let server = Server::of(&case.bytes, TAG);
    let url = server.url("/a.pth");
    let outcome = case.fetch(&url, &prefix(&case));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("not encrypted: only 8 digits of the SHA-256 tell"), "{}", outcome.stderr);
    let entry = |digest: &str| format!("{digest}  hardnet39ds-0e6c6fa9.pth\n");
    assert_eq!(fs::read_to_string(case.record()).unwrap(), entry(&case.sha256));
    let again = case.fetch(&url, &[&prefix(&case)[..], &["--force"]].concat());
    assert_eq!(again.code(), 0, "{}", again.stderr);
    assert!(!again.stderr.contains("not encrypted"), "the whole digest is known: {}", again.stderr);
    fs::remove_file(case.output()).unwrap();

    // The earlier file's digest began with the same digits.
    let before = format!("{}{}", &case.sha256[..8], "0".repeat(56));
    fs::write(case.record(), entry(&before)).unwrap();
    for from in [url.as_str(), case.file.to_str().unwrap()] {
        let refused = case.fetch(from, &prefix(&case));
        assert_eq!(refused.code(), 65, "{}", refused.stderr);
        for part in
            [&case.sha256, &before, &format!("--sha256 {} accepts the new file", case.sha256), "hardnetd/digests"]
        {
            assert!(refused.message().contains(part), "{part} is not in {}", refused.stderr);
        }
        assert_eq!(case.left(), Vec::<String>::new());
    }
    let accepted = case.fetch(&url, &["--sha256", &case.sha256]);
    assert_eq!(accepted.code(), 0, "{}", accepted.stderr);
    assert!(!accepted.stderr.contains("not encrypted"), "{}", accepted.stderr);
    assert_eq!(fs::read_to_string(case.record()).unwrap(), entry(&case.sha256));
    let after = case.fetch(&url, &[&prefix(&case)[..], &["--force"]].concat());
    assert_eq!(after.code(), 0, "{}", after.stderr);
}

#[test]
fn a_record_that_cannot_be_used_is_an_error_and_one_that_cannot_be_written_a_warning() {
    let case = Case::new();
    fs::create_dir_all(case.record().parent().unwrap()).unwrap();
    fs::write(case.record(), "none\n").unwrap();
    let outcome = case.fetch(case.file.to_str().unwrap(), &prefix(&case));
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("digests, line 1: expected a SHA-256"), "{}", outcome.stderr);
    fs::remove_dir_all(case.record().parent().unwrap()).unwrap();
    fs::write(case.record().parent().unwrap(), "no folder").unwrap();
    let some_digits = ["--sha256", &case.sha256[..9]];
    let outcome = case.fetch(case.file.to_str().unwrap(), &some_digits);
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("record of digests"), "{}", outcome.stderr);
    // A place in which no folder can be made, not even by root.
    let outcome = case.fetch_with(Path::new("/proc/self"), case.file.to_str().unwrap(), &some_digits);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("WARN") && outcome.stderr.contains("record of digests"), "{}", outcome.stderr);
}

#[test]
fn nothing_is_written_through_a_link() {
    let case = Case::new();
    let other = case.state.path().join("other");
    fs::write(&other, "mine").unwrap();
    let server = Server::of(&case.bytes, TAG);
    let part = case.folder.path().join("hardnet39ds-0e6c6fa9.pth.part");
    let note = case.folder.path().join("hardnet39ds-0e6c6fa9.pth.part.info");
    for symbolic in [true, false] {
        if symbolic { symlink(&other, &part) } else { fs::hard_link(&other, &part) }.unwrap();
        let outcome = case.fetch(&server.url("/a.pth"), &prefix(&case));
        assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
        assert!(outcome.message().contains(".pth.part is not a regular file"), "{}", outcome.stderr);
        fs::remove_file(&part).unwrap();
    }
    symlink(&other, &note).unwrap();
    symlink(&other, case.output()).unwrap();
    let outcome = case.fetch(&server.url("/a.pth"), &[&prefix(&case)[..], &["--force"]].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    case.check();
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    let saved = fs::symlink_metadata(case.output()).unwrap();
    assert!(saved.is_file());
    assert_eq!(saved.permissions().mode() & 0o444, 0o444, "other users may read a model, as the umask says");
}
