//! Downloads of weight files: a real server in this process, honest and otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::http::{Answer, Server};
use common::{folder, free_port};
use hardnetd::exit::Exit;
use hardnetd::shutdown;
use hardnetd::weights::digest::Check;
use hardnetd::weights::download::{Download, Downloaded, Error, Limits, Progress, Proxy};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const TAG: Option<&str> = Some("\"v1\"");

/// Limits that no honest test server reaches, however busy the machine is.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(600),
    pause: Duration::from_millis(1),
    attempts: 3,
    empty_attempts: 3,
    max_bytes: 1 << 20,
};

/// 200 000 bytes, different for each `seed`.
fn content(seed: u8) -> Vec<u8> {
    (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id that `git hash-object` gives `content(0)`.
const BLOB: &str = "60defa3077e34228523f8f46846b42a03bb6094e";

/// A destination for a file.
struct Place {
    folder: TempDir,
    limits: Limits,
    proxy: Proxy<'static>,
}

impl Place {
    fn new() -> Self {
        Self { folder: folder(), limits: LIMITS, proxy: Proxy::Direct }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("weights.pth")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("weights.pth.part")
    }

    /// The files that exist.
    fn names(&self) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(self.folder.path()).unwrap().map(name).collect();
        names.sort();
        names
    }

    fn fetch(&self, url: &str, digest_prefix: Option<&str>) -> Result<Downloaded, Error> {
        self.fetch_with(url, digest_prefix, &mut |_| {})
    }

    fn fetch_with(
        &self,
        url: &str,
        digest_prefix: Option<&str>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Downloaded, Error> {
        fetch_to(&self.to(), url, digest_prefix.map(Check::Sha256), &self.limits, self.proxy, progress)
    }

    /// Downloads the file with a Git blob id.
    fn fetch_blob(&self, url: &str, id: &str) -> Result<Downloaded, Error> {
        fetch_to(&self.to(), url, Some(Check::GitBlob(id)), &self.limits, self.proxy, &mut |_| {})
    }

    /// Downloads from a server that breaks off.
    fn begin(&self, server: &Server, digest_prefix: Option<&str>) -> Error {
        let once = Limits { attempts: 1, ..LIMITS };
        let check = digest_prefix.map(Check::Sha256);
        let error = fetch_to(&self.to(), &server.url("/a"), check, &once, Proxy::Direct, &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::Cut { .. }), "{error}");
        error
    }
}

fn fetch_to(
    to: &Path,
    url: &str,
    check: Option<Check>,
    limits: &Limits,
    proxy: Proxy,
    progress: &mut dyn FnMut(Progress),
) -> Result<Downloaded, Error> {
    let (_stop, stopped) = shutdown::channel();
    Download { url, to, check, limits: limits.clone(), proxy }.run(progress, &stopped)
}

/// The message with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Serves `file`, but breaks off the first answer after `sent` bytes.
fn breaking(file: &[u8], tag: Option<&'static str>, sent: usize) -> Server {
    let file = file.to_vec();
    Server::start(move |number, request| {
        let answer = Answer::of(&file, tag, request);
        if number == 0 { answer.cut(sent) } else { answer }
    })
}

#[test]
fn a_file_arrives_whole_and_verified_however_its_end_is_told() {
    let file = content(0);
    for kind in 0..3 {
        let served = file.clone();
        let server = Server::start(move |_, _| match kind {
            0 => Answer::new(200, &served),
            1 => Answer::new(200, &served).chunked(),
            _ => Answer::new(200, &served).until_close(),
        });
        let place = Place::new();
        let mut seen = Vec::new();
        let sha256 = digest(&file);
        let got = place.fetch_with(&server.url("/a"), Some(&sha256[..8]), &mut |now| seen.push(now)).unwrap();
        assert_eq!(got, Downloaded { path: place.to(), bytes: 200_000, sha256, present: false });
        assert_eq!(fs::read(place.to()).unwrap(), file);
        assert_eq!(place.names(), ["weights.pth"]);

        let total = (kind == 0).then_some(200_000);
        assert_eq!(seen.first(), Some(&Progress { bytes: 0, total, resumed: false }));
        assert_eq!(seen.last(), Some(&Progress { bytes: 200_000, total, resumed: false }));
        assert!(seen.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
    }
}

#[test]
fn a_file_that_is_there_is_not_fetched_and_another_one_is_replaced() {
    let file = content(0);
    let server = Server::of(&file, TAG);
    let place = Place::new();
    fs::write(place.to(), &file).unwrap();
    let got = place.fetch(&server.url("/a"), Some(&digest(&file)[..6])).unwrap();
    assert_eq!(got, Downloaded { path: place.to(), bytes: 200_000, sha256: digest(&file), present: true });
    assert!(server.requests().is_empty());

    fs::write(place.to(), "something else").unwrap();
    assert!(!place.fetch(&server.url("/a"), Some(&digest(&file)[..6])).unwrap().present);
    assert_eq!(fs::read(place.to()).unwrap(), file);

    fs::write(place.to(), "something else").unwrap();
    assert!(!place.fetch(&server.url("/a"), None).unwrap().present);
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(place.names(), ["weights.pth"]);
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let file = content(0);
    for tag in [TAG, None] {
        let server = breaking(&file, tag, 70_000);
        let place = Place::new();
        let mut seen = Vec::new();
        place.fetch_with(&server.url("/a"), Some(&digest(&file)), &mut |now| seen.push(now)).unwrap();
        assert_eq!(fs::read(place.to()).unwrap(), file);
        assert_eq!(server.starts(), [None, Some(70_000)]);
        assert_eq!(server.requests()[1].header("if-range"), tag);
        assert!(seen.contains(&Progress { bytes: 70_000, total: Some(200_000), resumed: true }), "{seen:?}");
        assert_eq!(place.names(), ["weights.pth"]);
    }
}

#[test]
fn another_run_goes_on_where_the_one_before_was() {
    let file = content(0);
    let server = breaking(&file, TAG, 70_000);
    let place = Place::new();
    let error = place.begin(&server, None);
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(error.to_string().contains("after 70000 of 200000 bytes"), "{error}");
    assert_eq!(place.names(), ["weights.pth.part", "weights.pth.part.info"]);
    assert_eq!(fs::read(place.part()).unwrap(), file[..70_000]);

    let got = place.fetch(&server.url("/a"), None).unwrap();
    assert_eq!(got.sha256, digest(&file));
    assert_eq!(server.starts(), [None, Some(70_000)]);
    assert_eq!(place.names(), ["weights.pth"]);
}

#[test]
fn what_nothing_could_verify_is_not_taken_up() {
    let file = content(0);
    // Neither a digest nor a version from the server: the whole file again, in this run and in the next.
    let server = breaking(&file, None, 70_000);
    let place = Place::new();
    place.fetch(&server.url("/a"), None).unwrap();
    assert_eq!(server.starts(), [None, None]);

    let server = breaking(&file, None, 70_000);
    place.begin(&server, None);
    place.fetch(&server.url("/a"), None).unwrap();
    assert_eq!(server.starts(), [None, None]);

    // From another address.
    let server = breaking(&file, TAG, 70_000);
    place.begin(&server, None);
    place.fetch(&server.url("/b"), None).unwrap();
    assert_eq!(server.starts(), [None, None]);

    // An invalid note.
    let server = breaking(&file, TAG, 70_000);
    place.begin(&server, None);
    fs::write(place.folder.path().join("weights.pth.part.info"), "{\"source\": 1}").unwrap();
    place.fetch(&server.url("/a"), None).unwrap();
    assert_eq!(server.starts(), [None, None]);
    assert_eq!(fs::read(place.to()).unwrap(), file);
}

#[test]
fn another_address_goes_on_where_the_one_before_was_when_the_digest_will_tell() {
    let file = content(0);
    let sha256 = digest(&file);
    let (server, mirror) = (breaking(&file, TAG, 70_000), breaking(&file, Some("\"m1\""), 50_000));
    let place = Place::new();
    place.begin(&server, Some(&sha256));
    place.begin(&mirror, Some(&sha256));
    assert_eq!(mirror.requests()[0].header("if-range"), None);
    assert_eq!(fs::read(place.part()).unwrap(), file[..120_000]);

    // Bytes of two addresses belong to no version that a server could know.
    assert_eq!(place.names(), ["weights.pth.part"]);
    place.fetch(&mirror.url("/a"), Some(&sha256)).unwrap();
    assert_eq!(mirror.starts(), [Some(70_000), Some(120_000)]);
    assert_eq!(mirror.requests()[1].header("if-range"), None);
    assert_eq!(fs::read(place.to()).unwrap(), file);
}

#[test]
fn a_file_that_has_changed_meanwhile_is_fetched_from_the_beginning() {
    let (old, new) = (content(1), content(2));
    let served = new.clone();
    let changing = move |number: usize, request: &common::http::Request| match number {
        0 => Answer::of(&old, TAG, request).cut(70_000),
        _ => Answer::of(&served, Some("\"v2\""), request),
    };
    let (server, place) = (Server::start(changing.clone()), Place::new());
    assert_eq!(place.fetch(&server.url("/a"), None).unwrap().sha256, digest(&new));
    assert_eq!(server.starts(), [None, Some(70_000)]);

    // A server that ignores `If-Range` names the new version.
    let server = Server::start(move |number, request| match (number, request.start()) {
        (1, Some(start)) => Answer::new(206, &content(2)[start..])
            .with(format!("Content-Range: bytes {start}-199999/200000"))
            .with("ETag: \"v2\""),
        _ => changing(number, request),
    });
    let place = Place::new();
    assert_eq!(place.fetch(&server.url("/a"), None).unwrap().sha256, digest(&new));
    assert_eq!(server.starts(), [None, Some(70_000), None]);
}

#[test]
fn pieces_that_do_not_belong_together_are_thrown_away_once() {
    let file = content(0);
    let server = Server::of(&file, TAG);
    let place = Place::new();
    // There is no note: only the digest decides.
    fs::write(place.part(), &content(1)[..70_000]).unwrap();
    place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(server.starts(), [Some(70_000), None]);

    let place = Place::new();
    let server = Server::of(&file, TAG);
    fs::write(place.part(), &file[..70_000]).unwrap();
    let error = place.fetch(&server.url("/a"), Some("0123456789")).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert_eq!(server.starts(), [Some(70_000), None]);
    assert!(place.names().is_empty());
}

#[test]
fn a_server_without_ranges_gives_the_whole_file_again() {
    let file = content(0);
    let served = file.clone();
    let server = Server::start(move |number, _| match number {
        0 => Answer::new(200, &served).with("ETag: \"v1\"").cut(70_000),
        _ => Answer::new(200, &served),
    });
    let place = Place::new();
    let mut least = Vec::new();
    place.fetch_with(&server.url("/a"), Some(&digest(&file)), &mut |now| least.push(now)).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(server.starts(), [None, Some(70_000)]);
    assert_eq!(least.last(), Some(&Progress { bytes: 200_000, total: Some(200_000), resumed: false }));
}

#[test]
fn a_range_that_cannot_be_had_or_is_another_one_leads_to_the_whole_file() {
    let file = content(0);
    let lies: [fn(&[u8]) -> Answer; 5] = [
        |_| Answer::new(416, b""),
        |_| Answer::new(416, b"").with("Content-Range: bytes */5"),
        |file| Answer::new(206, &file[60_000..]).with("Content-Range: bytes 60000-199999/200000"),
        |file| Answer::new(206, &file[70_000..]).with("Content-Range: bytes 70000-1/2"),
        |file| Answer::new(206, &file[70_000..]),
    ];
    for lie in lies {
        let served = file.clone();
        let server = Server::start(move |_, request| match request.start() {
            Some(_) => lie(&served),
            None => Answer::new(200, &served),
        });
        let place = Place::new();
        fs::write(place.part(), &file[..70_000]).unwrap();
        place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap();
        assert_eq!(fs::read(place.to()).unwrap(), file);
        assert_eq!(server.starts(), [Some(70_000), None]);
    }
}

#[test]
fn a_part_that_lacks_nothing_needs_no_more_bytes() {
    let file = content(0);
    let server = Server::of(&file, TAG);
    let place = Place::new();
    fs::write(place.part(), &file).unwrap();
    place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(server.starts(), [Some(200_000)]);
}

#[test]
fn a_server_that_answers_a_part_when_it_is_asked_for_all_is_an_error() {
    let server = Server::start(|_, _| Answer::new(206, b"456").with("Content-Range: bytes 4-6/7"));
    let place = Place::new();
    let error = place.fetch(&server.url("/a"), None).unwrap_err();
    assert!(matches!(&error, Error::Range { answered, .. } if answered == "bytes 4-6/7"), "{error}");
    assert_eq!(error.exit(), Exit::Data);
    assert_eq!(server.requests().len(), 1);
    assert!(place.names().is_empty());
}

#[test]
fn a_transfer_that_always_breaks_off_ends_after_the_last_try() {
    let file = content(0);
    let served = file.clone();
    let server = Server::start(move |_, request| Answer::of(&served, TAG, request).cut(10_000));
    let place = Place::new();
    let error = place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap_err();
    assert!(matches!(error, Error::Cut { found: 30_000, total: 200_000, .. }), "{error}");
    assert_eq!(server.starts(), [None, Some(10_000), Some(20_000)]);
    assert_eq!(fs::read(place.part()).unwrap(), file[..30_000]);
    assert!(!place.to().exists());
}

#[test]
fn chunks_that_break_off_are_no_file() {
    let file = content(0);
    let served = file.clone();
    let server = Server::start(move |_, _| Answer::new(200, &served).chunked().cut(70_000));
    let place = Place::new();
    let error = place.fetch(&server.url("/a"), None).unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable, "{error}");
    assert_eq!(server.requests().len(), 3);
    assert!(!place.to().exists());
}

#[test]
fn a_server_that_falls_silent_is_left_and_asked_again() {
    let file = content(0);
    let served = file.clone();
    let server = Server::start(move |number, request| {
        let answer = Answer::of(&served, TAG, request);
        if number == 0 { answer.stall(70_000) } else { answer }
    });
    let mut place = Place::new();
    place.limits.idle = Duration::from_secs(3);
    place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(server.starts(), [None, Some(70_000)]);
}

#[test]
fn a_server_that_stays_silent_is_an_error_that_names_the_limit() {
    // The system makes the connection, but nothing answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let mut place = Place::new();
    place.limits.idle = Duration::from_millis(50);
    let error = place.fetch(&url, None).unwrap_err();
    assert_eq!(error.to_string(), format!("nothing came from {url} for 50ms"));
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(place.names().is_empty());
}

#[test]
fn a_server_that_is_too_slow_ends_at_the_limit_for_everything() {
    let file = content(0);
    let server = Server::start(move |_, request| match request.path() {
        "/a" => Answer::new(200, &content(0)).drip(Duration::from_millis(5)),
        // A redirect, too, may have a body.
        _ => Answer::redirect("/a").promising(1000).drip(Duration::from_millis(50)),
    });
    for (path, left) in [("/a", 2), ("/b", 0)] {
        let mut place = Place::new();
        place.limits.total = Duration::from_secs(3);
        let error = place.fetch(&server.url(path), Some(&digest(&file))).unwrap_err();
        assert!(matches!(error, Error::Slow { .. }), "{path}: {error}");
        assert_eq!(error.exit(), Exit::Unavailable);
        assert_eq!(place.names().len(), left, "{path}");
    }
}

#[test]
fn a_wrong_file_is_an_error_that_says_which_and_is_removed() {
    let (file, other) = (content(0), content(1));
    let server = Server::of(&other, TAG);
    let place = Place::new();
    fs::write(place.to(), "what was there").unwrap();
    let (expected, found) = (&digest(&file)[..8], digest(&other));
    let error = place.fetch(&server.url("/a"), Some(expected)).unwrap_err();
    assert_eq!(error.exit(), Exit::Data);
    for part in [expected, &found, &server.url("/a")] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(place.names(), ["weights.pth"]);
    assert_eq!(fs::read_to_string(place.to()).unwrap(), "what was there");
}

#[test]
fn more_than_was_promised_or_is_accepted_is_an_error() {
    let file = content(0);
    let mut place = Place::new();

    // The announced length ends the file, and the digest shows that it is a different one.
    let served = file.clone();
    let server = Server::start(move |_, _| Answer::new(200, &served).promising(100));
    let error = place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");

    let server = Server::start(|_, request| match request.start() {
        None => Answer::of(&content(0)[..200], TAG, request).cut(100),
        Some(_) => Answer::new(206, &[0; 101]).with("Content-Range: bytes 100-199/200"),
    });
    let error = place.fetch(&server.url("/a"), None).unwrap_err();
    assert!(matches!(error, Error::Longer { total: 200, .. }), "{error}");
    assert_eq!(error.exit(), Exit::Data);
    assert!(place.names().is_empty());

    place.limits.max_bytes = 199_999;
    for kind in 0..3 {
        let served = file.clone();
        let server = Server::start(move |_, _| match kind {
            0 => Answer::new(200, &served).stall(0),
            1 => Answer::new(200, &served).chunked(),
            _ => Answer::new(200, &served).until_close(),
        });
        let error = place.fetch(&server.url("/a"), None).unwrap_err();
        assert!(matches!(error, Error::TooLong { limit: 199_999, .. }), "{error}");
        assert_eq!(error.exit(), Exit::Data);
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_status_that_cannot_change_is_told_at_once_and_one_that_can_is_tried_again() {
    for (status, tries) in [(401, 1), (404, 1), (304, 1), (204, 1), (416, 1), (500, 3), (503, 3), (429, 3)] {
        let server = Server::start(move |_, _| Answer::new(status, b""));
        let place = Place::new();
        let error = place.fetch(&server.url("/a"), None).unwrap_err();
        assert_eq!(error.to_string(), format!("{} answers with status {status}", server.url("/a")));
        assert_eq!(error.exit(), Exit::Unavailable);
        assert_eq!(server.requests().len(), tries, "{status}");
        assert!(place.names().is_empty());
    }
    let server = Server::start(|number, _| Answer::new(if number < 2 { 503 } else { 200 }, b"weights"));
    let place = Place::new();
    place.fetch(&server.url("/a"), None).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), b"weights");
}

#[test]
fn a_web_page_and_an_encoded_file_are_no_file() {
    let page = Server::start(|_, _| Answer::new(200, b"<html>").with("Content-Type: Text/HTML; charset=utf-8"));
    let encoded = Server::start(|_, _| Answer::new(200, b"...").with("Content-Encoding: gzip"));
    let place = Place::new();
    let error = place.fetch(&page.url("/a"), None).unwrap_err();
    assert!(matches!(error, Error::Page { status: 200, .. }), "{error}");
    assert!(error.to_string().contains("200"), "{error}");
    let error = place.fetch(&encoded.url("/a"), None).unwrap_err();
    assert!(matches!(&error, Error::Encoded { encoding, .. } if encoding == "gzip"), "{error}");
    assert!(place.names().is_empty());
}

#[test]
fn a_web_page_is_recognised_by_its_content_whatever_the_server_calls_it() {
    let page = b"\r\n<!DOCTYPE html>\n<html><body>moved</body></html>";
    let server = Server::start(|_, _| Answer::new(200, page).with("Content-Type: application/octet-stream"));
    let place = Place::new();
    for digest_prefix in [None, Some("00")] {
        let error = place.fetch(&server.url("/a"), digest_prefix).unwrap_err();
        assert!(matches!(error, Error::Page { status: 200, .. }), "{error}");
        assert!(error.is_of_server(), "{error}");
        assert!(place.names().is_empty());
    }
    assert_eq!(server.requests().len(), 2, "a page is not asked for again");
}

#[test]
fn a_file_is_verified_by_its_git_blob_id_before_it_gets_its_name() {
    let file = content(0);
    let (server, other) = (Server::of(&file, TAG), Server::of(&content(1), TAG));
    let place = Place::new();
    let error = place.fetch_blob(&other.url("/a"), BLOB).unwrap_err();
    assert!(matches!(&error, Error::Digest { kind: "Git blob id", expected, .. } if expected == BLOB), "{error}");
    assert_eq!(error.exit(), Exit::Data);
    assert!(place.names().is_empty());

    let expected = Downloaded { path: place.to(), bytes: 200_000, sha256: digest(&file), present: false };
    assert_eq!(place.fetch_blob(&server.url("/a"), BLOB).unwrap(), expected);
    assert_eq!(place.fetch_blob(&server.url("/a"), BLOB).unwrap(), Downloaded { present: true, ..expected });
    assert_eq!(server.requests().len(), 1, "the second time, it is there");
    fs::write(place.to(), content(1)).unwrap();
    assert!(!place.fetch_blob(&server.url("/a"), BLOB).unwrap().present);
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(place.names(), ["weights.pth"]);
}

#[test]
fn pieces_are_joined_and_wrong_ones_thrown_away_by_their_git_blob_id() {
    let file = content(0);
    let place = Place::new();
    let server = breaking(&file, None, 70_000);
    place.fetch_blob(&server.url("/a"), BLOB).unwrap();
    assert_eq!((server.starts(), fs::read(place.to()).unwrap()), (vec![None, Some(70_000)], file.clone()));

    let place = Place::new();
    let server = Server::of(&file, TAG);
    fs::write(place.part(), &content(1)[..70_000]).unwrap();
    place.fetch_blob(&server.url("/a"), BLOB).unwrap();
    assert_eq!((server.starts(), fs::read(place.to()).unwrap()), (vec![Some(70_000), None], file));
}

#[test]
fn a_server_that_sends_nothing_is_left_earlier_than_one_that_breaks_off() {
    let file = content(0);
    let mut place = Place::new();
    place.limits = Limits { attempts: 4, empty_attempts: 2, ..LIMITS };
    let silent = Server::start(|_, _| Answer::new(503, b""));
    place.fetch(&silent.url("/a"), None).unwrap_err();
    assert_eq!(silent.requests().len(), 2);
    let served = file.clone();
    let breaking = Server::start(move |_, request| Answer::of(&served, TAG, request).cut(10_000));
    place.fetch(&breaking.url("/a"), Some(&digest(&file))).unwrap_err();
    assert_eq!(breaking.requests().len(), 4);
}

#[test]
fn redirects_are_followed_with_the_range_and_without_the_login() {
    let file = content(0);
    let target = breaking(&file, TAG, 70_000);
    let to = target.url("/b");
    let server = Server::start(move |number, _| match number % 2 {
        0 => Answer::redirect("c/../d"),
        _ => Answer::redirect(&to),
    });
    let place = Place::new();
    let url = server.url("/a").replace("http://", "http://me:p%40ss@");
    place.fetch(&url, Some(&digest(&file))).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), file);
    assert_eq!(target.starts(), [None, Some(70_000)]);
    assert_eq!(target.requests()[1].header("if-range"), TAG);
    let asked = server.requests();
    assert_eq!(asked.iter().map(|request| request.path()).collect::<Vec<_>>(), ["/a", "/d", "/a", "/d"]);
    // `me:p@ss`, encoded with an independent program.
    assert_eq!(asked[0].header("authorization"), Some("Basic bWU6cEBzcw=="));
    assert!(target.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn redirects_without_end_or_to_nowhere_are_errors() {
    let place = Place::new();
    for (to, most) in [("/a", 11), ("ftp://h/secret", 1), ("http://h:x\u{7f}/secret", 1), ("//", 1), ("http://", 11)] {
        let server = Server::start(move |_, _| Answer::redirect(to));
        let error = place.fetch(&server.url("/a"), None).unwrap_err();
        assert!(matches!(error, Error::Redirect { .. } | Error::Network { .. }), "{to}: {error:?}");
        assert!(!chain(&error).contains("secret"), "{}", chain(&error));
        assert_eq!(error.exit(), Exit::Unavailable);
        assert!((1..=most).contains(&server.requests().len()), "{to}: {}", server.requests().len());
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_proxy_is_used_and_may_want_a_login() {
    let file = content(0);
    let (server, proxy) = (Server::of(&file, TAG), Server::proxy());
    let mut place = Place::new();
    let address = format!("http://me:p%40ss@127.0.0.1:{}", proxy.port);
    place.proxy = Proxy::At(Box::leak(address.into_boxed_str()));
    place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap();
    assert_eq!(fs::read(place.to()).unwrap(), file);
    let asked = proxy.requests();
    assert_eq!(asked[0].line, format!("CONNECT 127.0.0.1:{} HTTP/1.1", server.port));
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic bWU6cEBzcw=="));
    assert_eq!(server.requests().len(), 1);
}

/// Runs the test called `name` of this program in a separate process, which `script` starts as `"$@"`.
fn apart(name: &str, script: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(program)
        .args(["--exact", name, "--include-ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn the_proxy_of_the_environment_is_used_but_for_the_hosts_that_need_none() {
    let unset = "unset ALL_PROXY all_proxy HTTPS_PROXY https_proxy HTTP_PROXY http_proxy NO_PROXY no_proxy;";
    let port = free_port();
    for (set, expected) in [
        ("", "direct"),
        ("export HTTP_PROXY=http://127.0.0.1:PORT;", "proxy"),
        ("export ALL_PROXY=http://127.0.0.1:PORT NO_PROXY=127.0.0.1;", "direct"),
    ] {
        let set = set.replace("PORT", &port.to_string());
        apart("fetches_with_the_environment", &format!("{unset} {set} export EXPECTED={expected}; exec \"$@\""));
    }
}

#[test]
#[ignore = "needs an environment: another test starts it"]
fn fetches_with_the_environment() {
    let server = Server::of(b"weights", TAG);
    let mut place = Place::new();
    place.proxy = Proxy::default();
    place.limits.attempts = 1;
    let got = place.fetch(&server.url("/a"), None);
    match std::env::var("EXPECTED").as_deref() {
        // Nothing listens at the port of the proxy.
        Ok("proxy") => assert!(matches!(got, Err(Error::Network { .. })), "{got:?}"),
        Ok("direct") => assert_eq!(got.unwrap().bytes, 7),
        _ => {}
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_keeps_what_came() {
    // A limit on the size of files, 40 000 bytes at most, simulates a full disk.
    apart("fetches_to_a_full_disk", "trap '' XFSZ; ulimit -f 39; export FULL=1; exec \"$@\"");
}

#[test]
#[ignore = "needs a limit on the size of files: another test starts it"]
fn fetches_to_a_full_disk() {
    if std::env::var_os("FULL").is_none() {
        return;
    }
    let file = content(0);
    let server = Server::of(&file, TAG);
    let place = Place::new();
    // The tail of a matching first piece.
    fs::write(place.part(), &file[..10_000]).unwrap();
    let error = place.fetch(&server.url("/a"), Some(&digest(&file))).unwrap_err();
    assert!(matches!(error, Error::File { action: "write", .. }), "{error}");
    assert_eq!(error.exit(), Exit::Io);
    assert!(error.to_string().contains("weights.pth.part"), "{error}");
    assert_eq!(server.requests().len(), 1);
    let kept = fs::read(place.part()).unwrap();
    assert!(kept.len() >= 10_000 && file.starts_with(&kept), "{}", kept.len());
    assert!(!place.to().exists());
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_that_names_it() {
    let server = Server::of(b"weights", TAG);
    let place = Place::new();
    let missing = place.folder.path().join("missing/weights.pth");
    let error = fetch_to(&missing, &server.url("/a"), None, &LIMITS, Proxy::Direct, &mut |_| {}).unwrap_err();
    assert!(chain(&error).contains("missing/weights.pth.part: No such file"), "{}", chain(&error));
    assert_eq!(error.exit(), Exit::Io);

    for name in ["weights.pth", "weights.pth.part"] {
        let place = Place::new();
        fs::create_dir(place.folder.path().join(name)).unwrap();
        let error = place.fetch(&server.url("/a"), None).unwrap_err();
        assert!(matches!(&error, Error::NotAFile { path } if path.ends_with(name)), "{error}");
        assert_eq!(error.exit(), Exit::Io);
    }
    let error = fetch_to(Path::new("/"), &server.url("/a"), None, &LIMITS, Proxy::Direct, &mut |_| {}).unwrap_err();
    assert_eq!(error.exit(), Exit::Io);
    assert!(server.requests().is_empty());
}

#[test]
fn two_at_a_time_do_not_write_to_the_same_file() {
    let server = Server::of(b"weights", TAG);
    let place = Place::new();
    let other = File::create(place.part()).unwrap();
    other.lock().unwrap();
    let error = place.fetch(&server.url("/a"), None).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(server.requests().is_empty());
    drop(other);
    place.fetch(&server.url("/a"), None).unwrap();
}

#[test]
fn the_stop_ends_a_download_at_once_and_keeps_what_came() {
    let file = content(0);
    let served = file.clone();
    let server = Server::start(move |_, request| Answer::of(&served, TAG, request).stall(70_000));
    let place = Place::new();
    let (stop, stopped) = shutdown::channel();
    let mut stop = Some(stop);
    let (to, url) = (place.to(), server.url("/a"));
    let download = Download { url: &url, to: &to, check: None, limits: LIMITS, proxy: Proxy::Direct };
    let mut stop_later = |now: Progress| {
        if now.bytes == 70_000 {
            let stop = stop.take();
            std::thread::spawn(move || {
                // By then, the download is waiting for more.
                std::thread::sleep(Duration::from_millis(100));
                drop(stop);
            });
        }
    };
    let error = download.run(&mut stop_later, &stopped).unwrap_err();
    // At a limit, the error would be a different one.
    assert!(matches!(error, Error::Stopped), "{error}");
    assert_eq!(fs::read(place.part()).unwrap(), file[..70_000]);

    // Before the start, and with a file whose end is indicated only by the end of the connection.
    assert!(matches!(download.run(&mut |_| {}, &stopped), Err(Error::Stopped)));
    let server = Server::start(move |_, _| Answer::new(200, &content(0)).until_close().stall(70_000));
    let (stop, stopped) = shutdown::channel();
    let mut stop = Some(stop);
    let url = server.url("/a");
    let download = Download { url: &url, ..download.clone() };
    let mut stop_now = |now: Progress| {
        if now.bytes == 70_000 {
            stop.take();
        }
    };
    assert!(matches!(download.run(&mut stop_now, &stopped), Err(Error::Stopped)));
    assert!(!place.to().exists());
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_names_it_without_its_secrets() {
    let place = Place::new();
    let port = free_port();
    let url = format!("http://me:secret@127.0.0.1:{port}/a?token=secret");
    let error = place.fetch(&url, None).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot download http://***@127.0.0.1:{port}/a?***"));
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
    assert!(!chain(&error).contains("secret") && !format!("{error:?}").contains("secret"), "{error:?}");
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(place.names().is_empty());
}

#[test]
fn a_note_holds_no_secrets() {
    let file = content(0);
    let server = breaking(&file, TAG, 70_000);
    let place = Place::new();
    let once = Limits { attempts: 1, ..LIMITS };
    let url = server.url("/a?token=secret").replace("http://", "http://me:secret@");
    fetch_to(&place.to(), &url, None, &once, Proxy::Direct, &mut |_| {}).unwrap_err();
    let note = fs::read_to_string(place.folder.path().join("weights.pth.part.info")).unwrap();
    assert!(note.contains("v1") && !note.contains("secret"), "{note}");
}

#[test]
fn a_server_that_does_not_speak_tls_is_an_error_and_is_not_asked_again() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://{}/a", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nthis is not TLS");
        }
    });
    let error = Place::new().fetch(&url, None).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Unavailable);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{}", chain(&error));
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_asked() {
    let server = Server::of(b"weights", TAG);
    let mut place = Place::new();
    for prefix in ["", "ABCD", "12g4", &"0".repeat(65), "12 34", "ü"] {
        let error = place.fetch(&server.url("/a"), Some(prefix)).unwrap_err();
        assert!(matches!(error, Error::Digits { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    let error = place.fetch_blob(&server.url("/a"), &BLOB[..39]).unwrap_err();
    assert!(matches!(error, Error::Digits { kind: "Git blob id", .. }), "{error}");
    let error = place.fetch("ftp://me:secret@h/a", None).unwrap_err();
    assert!(matches!(error, Error::Url { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Usage);
    for proxy in ["", "gopher://me:secret@h", "http://me:sec ret@h"] {
        place.proxy = Proxy::At(proxy);
        let error = place.fetch(&server.url("/a"), None).unwrap_err();
        assert!(matches!(error, Error::Proxy { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    assert!(server.requests().is_empty());
    assert!(place.names().is_empty());
}

#[test]
fn limits_of_nothing_and_without_end_are_kept_to() {
    let server = Server::of(b"weights", TAG);
    let mut place = Place::new();
    let longest = Duration::MAX;
    place.limits = Limits {
        connect: longest,
        idle: longest,
        total: longest,
        pause: longest,
        attempts: 0,
        empty_attempts: 0,
        max_bytes: u64::MAX,
    };
    assert_eq!(place.fetch(&server.url("/a"), None).unwrap().bytes, 7);
    fs::remove_file(place.to()).unwrap();
    let none = Duration::ZERO;
    place.limits =
        Limits { connect: none, idle: none, total: none, pause: none, attempts: 2, empty_attempts: 2, max_bytes: 0 };
    let error = place.fetch(&server.url("/a"), None).unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error}");
    assert!(place.names().is_empty());
}
