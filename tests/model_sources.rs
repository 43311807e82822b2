//! `hardnetd model fetch` from the places that publish weights, each with a server in this process that behaves like it
//! or worse. A proxy leads the official addresses there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use common::http::{Answer, Server};
use common::{Outcome, Running, folder, free_port, hardnetd, https, paddle, run};
use hardnetd::hardnet::{self, find};
use hardnetd::weights::StateDict;
use hardnetd::weights::file::sha256;
use hardnetd::weights::safetensors::{Texts, write};
use serde_json::Value;
use tempfile::TempDir;

const TAG: Option<&str> = Some("\"v1\"");

/// The files of hardnet39ds.
const AUTHORS: &str = "/hardnet/hardnet39ds-0e6c6fa9.pth";
const GITHUB: &str = "/PingoLH/Pytorch-HarDNet/de9662f30ffa7474c8a24b4bceb38b49be0903a0/hardnet39ds.pth";
const PADDLECLAS: &str = "/dygraph/HarDNet39_ds_pretrained.pdparams";

/// Reproducible weights of hardnet39ds.
static WEIGHTS: LazyLock<StateDict> = LazyLock::new(|| hardnet::seeded(find("hardnet39ds").unwrap(), 1000).unwrap());

/// The same as PaddlePaddle writes them.
static PADDLE: LazyLock<Vec<u8>> = LazyLock::new(|| paddle::pickle(&WEIGHTS));

/// The places, and a folder for what is downloaded.
struct Case {
    folder: TempDir,
    state: TempDir,
    proxy: String,
}

impl Case {
    /// `None` is a server that is not there.
    fn new(authors: Option<&Server>, github: Option<&Server>, paddleclas: Option<&Server>) -> Self {
        let state = folder();
        let port = |server: Option<&Server>| server.map_or_else(free_port, |server| server.port);
        let proxy = https::proxy(
            state.path(),
            &[
                ("ping-chao.com", port(authors)),
                ("raw.githubusercontent.com", port(github)),
                ("paddle-imagenet-models-name.bj.bcebos.com", port(paddleclas)),
            ],
        );
        Self { folder: folder(), state, proxy }
    }

    /// The same downloads and the same record, with other servers.
    fn with(self, other: Self) -> Self {
        fs::copy(other.state.path().join("authority.pem"), self.state.path().join("authority.pem")).unwrap();
        Self { proxy: other.proxy, ..self }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("model.safetensors")
    }

    fn fetch(&self, arguments: &[&str]) -> Outcome {
        let output = self.output();
        let fixed = ["model", "fetch", "hardnet39ds", "--output", output.to_str().unwrap(), "--proxy", &self.proxy];
        let attempts: &[&str] = if arguments.contains(&"--attempts") { &[] } else { &["--attempts", "3"] };
        let mut command = hardnetd([&fixed[..], &["--timeout", "2"], attempts, arguments].concat());
        command.env("XDG_STATE_HOME", self.state.path());
        command.env("SSL_CERT_FILE", self.state.path().join("authority.pem"));
        Running::start(&mut command).finish()
    }

    /// The digests of earlier downloads.
    fn record(&self) -> String {
        fs::read_to_string(self.state.path().join("hardnetd/digests")).unwrap_or_default()
    }

    /// The files in the folder.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What the model file says of its source: where it was published, and who trained it.
    fn source(&self) -> [Value; 2] {
        let texts = hardnetd::weights::read(&self.output()).unwrap().texts;
        let metadata: Value = serde_json::from_str(&texts["hardnetd.model"]).unwrap();
        ["published", "trained_by"].map(|key| metadata["source"][key].clone())
    }
}

/// The paths that a server was asked for.
fn paths(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| request.path().to_owned()).collect()
}

fn page() -> Server {
    Server::start(|_, _| Answer::new(200, b"<!DOCTYPE html><title>Parked</title>").with("Content-Type: text/html"))
}

fn missing() -> Server {
    Server::start(|_, _| Answer::new(404, b"404: Not Found").with("Content-Type: text/plain"))
}

/// The weights as a file that PyTorch could have written, and its SHA-256.
fn pytorch() -> (Vec<u8>, String) {
    let folder = folder();
    let file = folder.path().join("weights");
    write(&WEIGHTS, &Texts::new(), &file).unwrap();
    (fs::read(&file).unwrap(), sha256(&file).unwrap())
}

fn digest(bytes: &[u8]) -> String {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, bytes).unwrap();
    sha256(&file).unwrap()
}

#[test]
fn the_next_place_is_tried_and_another_training_is_named_everywhere() {
    let (authors, github, paddleclas) = (page(), missing(), Server::of(&PADDLE, TAG));
    let case = Case::new(Some(&authors), Some(&github), Some(&paddleclas));
    let outcome = case.fetch(&[]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for line in [
        "https://ping-chao.com/hardnet/hardnet39ds-0e6c6fa9.pth answers with a web page instead of a file (status 200); \
         next: the authors' repository on GitHub",
        "hardnet39ds.pth answers with status 404; next: PaddleClas's server",
        "were trained by PaddleClas (top-1 71.33 %, top-5 89.98 %), not by the authors (top-1 72.08 %, top-5 90.43 %)",
        &format!("no digest of hardnet39ds-paddleclas.pdparams is published: its SHA-256 is {}", digest(&PADDLE)),
    ] {
        assert_eq!(
            outcome.stderr.lines().filter(|found| found.contains(line)).count(),
            1,
            "{line}: {}",
            outcome.stderr
        );
    }
    assert!(outcome.stdout.contains("trained by PaddleClas, source paddleclas"), "{}", outcome.stdout);
    assert_eq!((paths(&authors), paths(&github)), (vec![AUTHORS.to_owned()], vec![GITHUB.to_owned()]));
    assert_eq!(paths(&paddleclas), [PADDLECLAS]);
    assert_eq!(case.source(), ["paddleclas", "PaddleClas"]);
    assert_eq!(case.left(), ["model.safetensors"]);
    assert_eq!(case.record(), format!("{}  hardnet39ds-paddleclas.pdparams\n", digest(&PADDLE)));

    let output = case.output();
    let file = output.to_str().unwrap();
    for arguments in [&["model", "list", file][..], &["model", "info", file]] {
        let shown = run(arguments).stdout;
        assert!(shown.contains("trained by PaddleClas, source paddleclas"), "{shown}");
    }
    let copy = case.folder.path().join("copy.safetensors");
    assert_eq!(run(["model", "import", file, "--output", copy.to_str().unwrap()]).code(), 0);
    fs::rename(&copy, &output).unwrap();
    assert_eq!(case.source(), ["paddleclas", "PaddleClas"], "an import keeps the source");
    // PaddlePaddle's names and layouts are those of the same weights.
    let model = hardnetd::weights::read(&output).unwrap().state;
    let weights = |state: &StateDict| {
        let keys = WEIGHTS.iter().map(|(key, _)| key).filter(|key| !key.ends_with("num_batches_tracked"));
        state.digest_of(keys)
    };
    assert_eq!(weights(&model), weights(&WEIGHTS));
}

#[test]
fn a_later_file_of_paddleclas_must_be_the_first_one() {
    let first = Server::of(&PADDLE, TAG);
    let case = Case::new(None, None, Some(&first));
    let fetch = |case: &Case, arguments: &[&str]| case.fetch(&[&["--source", "paddleclas"], arguments].concat());
    let outcome = fetch(&case, &[]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("not by the authors"), "it was asked for: {}", outcome.stderr);
    let again = fetch(&case, &["--force"]);
    assert_eq!(again.code(), 0, "{}", again.stderr);
    assert!(!again.stderr.contains("no digest"), "{}", again.stderr);

    let mut changed = PADDLE.clone();
    let last = changed.len() - 100;
    changed[last] ^= 1;
    let changed_digest = digest(&changed);
    let case = case.with(Case::new(None, None, Some(&Server::of(&changed, TAG))));
    let refused = fetch(&case, &["--force"]);
    assert_eq!(refused.code(), 65, "{}", refused.stderr);
    let accepts = format!("--source paddleclas --sha256 {changed_digest} accepts the new file");
    for part in [&digest(&PADDLE), &accepts, "hardnet39ds-paddleclas.pdparams had"] {
        assert!(refused.message().contains(part), "{part} is not in {}", refused.stderr);
    }
    assert_eq!(case.left(), ["model.safetensors"]);
    assert!(case.record().starts_with(&digest(&PADDLE)));
    let accepted = fetch(&case, &["--force", "--sha256", &changed_digest]);
    assert_eq!(accepted.code(), 0, "{}", accepted.stderr);
    assert_eq!(case.record(), format!("{changed_digest}  hardnet39ds-paddleclas.pdparams\n"));
    let after = fetch(&case, &["--force"]);
    assert_eq!(after.code(), 0, "{}", after.stderr);
}

#[test]
fn a_file_with_another_git_blob_id_is_refused_and_only_the_place_asked_for_is_tried() {
    let (bytes, _) = pytorch();
    let (authors, github, paddleclas) = (page(), Server::of(&bytes, TAG), Server::of(&PADDLE, TAG));
    let case = Case::new(Some(&authors), Some(&github), Some(&paddleclas));
    let outcome = case.fetch(&["--source", "github"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    let reason = "which does not begin with 5b99f2587b2f28687aef03f8cf1c00dbb7c73294";
    assert!(outcome.message().contains("its Git blob id is ") && outcome.message().contains(reason));
    assert_eq!(case.left(), Vec::<String>::new());
    assert_eq!((authors.requests().len(), paddleclas.requests().len()), (0, 0));

    let outcome = case.fetch(&[]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("{reason}; next: PaddleClas's server")), "{}", outcome.stderr);
    assert_eq!(case.source(), ["paddleclas", "PaddleClas"]);
}

#[test]
fn a_server_that_is_gone_and_one_that_is_silent_are_left() {
    let (bytes, sha256) = pytorch();
    let paddleclas = Server::of(&PADDLE, TAG);
    let gone = Case::new(None, Some(&Server::of(&bytes, TAG)), Some(&paddleclas));
    let outcome = gone.fetch(&["--sha256", &sha256[..8]]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let reason = "cannot download https://ping-chao.com/hardnet/hardnet39ds-0e6c6fa9.pth";
    let next = |line: &&str| line.contains(reason) && line.contains("next: the authors' repository on GitHub");
    assert_eq!(outcome.stderr.lines().filter(next).count(), 1, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("trained by the authors, source github"), "{}", outcome.stdout);
    assert_eq!(gone.source(), ["github", "authors"]);

    let silent = Server::start(|_, _| Answer::new(200, &[0; 1000]).stall(0));
    let case = Case::new(Some(&silent), Some(&Server::of(&bytes, TAG)), Some(&paddleclas));
    let outcome = case.fetch(&["--sha256", &sha256]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("nothing came from https://ping-chao.com"), "{}", outcome.stderr);
    assert_eq!(silent.requests().len(), 2, "two attempts, since there are other places");
    assert_eq!(
        (case.source(), case.left()),
        (["github".into(), "authors".into()], vec!["model.safetensors".to_owned()])
    );
    assert!(paddleclas.requests().is_empty());
}

#[test]
fn the_rest_of_a_download_comes_from_the_same_place() {
    let (bytes, sha256) = pytorch();
    let served = bytes.clone();
    let broken = Server::start(move |_, request| Answer::of(&served, TAG, request).cut(5_000_000));
    let case = Case::new(Some(&broken), None, None);
    let arguments = ["--sha256", &sha256, "--attempts", "1"];
    let outcome = case.fetch(&[&arguments[..], &["--source", "authors"]].concat());
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    let part = ["hardnet39ds-0e6c6fa9.pth.part", "hardnet39ds-0e6c6fa9.pth.part.info"];
    assert_eq!(case.left(), part);

    let github = Server::of(&bytes, TAG);
    let case = case.with(Case::new(Some(&page()), Some(&github), None));
    let outcome = case.fetch(&arguments);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(github.starts(), [None], "all of it, not the rest");
    assert_eq!(case.left(), [part[0], part[1], "model.safetensors"], "the authors' part waits for them");
}

#[test]
fn no_place_that_gives_the_file_is_an_error_with_a_line_for_each() {
    let case = Case::new(Some(&page()), Some(&missing()), None);
    let outcome = case.fetch(&[]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    for reason in ["a web page instead", "status 404", "cannot download https://paddle-imagenet-models-name"] {
        assert!(outcome.stderr.contains(reason), "{reason}: {}", outcome.stderr);
    }
    assert!(outcome.message().ends_with("name it with --source and --from"), "{}", outcome.stderr);
    assert_eq!(case.left(), Vec::<String>::new());

    // A page that says that it is a file has no digest to fail.
    let disguised = Server::start(|_, _| {
        Answer::new(200, b"\n<html>Sign in</html>").with("Content-Type: application/octet-stream")
    });
    let outcome = Case::new(None, None, Some(&disguised)).fetch(&["--source", "paddleclas"]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("answers with a web page instead of a file"), "{}", outcome.stderr);

    let other = Case::new(None, None, Some(&Server::of(b"{\"code\":\"NoSuchKey\"}", TAG)));
    let outcome = other.fetch(&["--source", "paddleclas"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert_eq!(other.record(), "", "only a good file is remembered");
}

#[test]
fn a_file_from_elsewhere_is_checked_as_that_of_its_place() {
    let case = Case::new(None, None, None);
    let file = case.state.path().join("file");
    fs::write(&file, &*PADDLE).unwrap();
    let file = file.to_str().unwrap();
    let fetch = |place: &str, from: &str| case.fetch(&["--source", place, "--from", from, "--force"]);
    let outcome = fetch("paddleclas", file);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(case.source(), ["paddleclas", "PaddleClas"]);
    assert!(case.record().contains(&digest(&PADDLE)), "{}", case.record());
    let outcome = fetch("github", file);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("has the Git blob id"), "{}", outcome.stderr);
    let outcome = case.fetch(&["--from", file, "--force"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("must begin with 0e6c6fa9; --source says"), "{}", outcome.stderr);
    let dead = format!("http://127.0.0.1:{}/hardnet39ds.pth", free_port());
    let mut command =
        hardnetd(["model", "fetch", "hardnet68", "--source", "github", "--from", &dead, "--attempts", "1"]);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
        command.env_remove(name);
    }
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("refused"), "{}", outcome.stderr);
}

#[test]
fn what_a_place_does_not_publish_is_a_wrong_usage() {
    let outcome = run(["model", "fetch", "hardnet85", "--source", "github"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(
        outcome.message().contains("the source github does not have hardnet85; sources that do: authors, paddleclas")
    );
    let outcome = run(["model", "fetch", "hardnet85", "--source", "mirror"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("authors, github, paddleclas"), "{}", outcome.stderr);
}
