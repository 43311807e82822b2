//! Web cameras: real servers in this process, with MJPEG and with single pictures, as they should be and as they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::http::{Answer, Request, Server};
use common::tls::{Authority, sign_itself};
use common::{Outcome, Running, encode, folder, hardnetd, run, seqs, wait_for};
use gio::glib;
use rustix::process::Signal;

/// How a camera begins MJPEG.
const MJPEG: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--frame\r\n\r\n";

/// Time between two pictures.
const PACE: Duration = Duration::from_millis(30);

/// A JPEG picture, made by a real encoder.
fn picture() -> &'static [u8] {
    static PICTURE: OnceLock<Vec<u8>> = OnceLock::new();
    PICTURE.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("picture.jpg");
        encode("videotestsrc pattern=smpte num-buffers=1 ! video/x-raw,width=320,height=240 ! jpegenc", &path);
        std::fs::read(&path).unwrap()
    })
}

/// Sends `bytes` as a part of MJPEG.
fn part(mut camera: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let length = bytes.len();
    write!(camera, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n")?;
    camera.write_all(bytes)?;
    camera.write_all(b"\r\n")
}

/// Sends pictures until `count` have been, or the client goes.
fn play(mut camera: &TcpStream, count: usize) {
    let mut all = || {
        camera.write_all(MJPEG.as_bytes())?;
        for _ in 0..count {
            part(camera, picture())?;
            thread::sleep(PACE);
        }
        std::io::Result::Ok(())
    };
    // The client goes when it has enough.
    let _ = all();
}

/// A camera with `/mjpeg` and `/still`.
fn camera() -> Server {
    Server::listen(|_, request, stream| match request.path() {
        "/mjpeg" => play(stream, usize::MAX),
        _ => answer(stream, "200 OK", "Content-Type: image/jpeg", picture()),
    })
}

fn answer(mut camera: &TcpStream, status: &str, header: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = camera.write_all(head.as_bytes()).and_then(|()| camera.write_all(body));
    let _ = camera.shutdown(Shutdown::Write);
}

/// What `command` says of a stream with this source and these further lines of its section.
fn of(folder: &Path, command: &[&str], source: &str, keys: &str) -> Outcome {
    Running::start(&mut hardnetd(command.iter().copied().chain(["-c", &config(folder, source, keys)]))).finish()
}

fn config(folder: &Path, source: &str, keys: &str) -> String {
    let path = folder.join("hardnetd.toml");
    std::fs::write(&path, format!("[[stream]]\nname = \"web\"\nsource = \"{source}\"\n{keys}")).unwrap();
    path.to_str().unwrap().to_owned()
}

const FAST: &str = "[stream.http]\npoll_s = 0.05\n";

#[test]
fn mjpeg_and_single_pictures_give_results() {
    let camera = camera();
    let folder = folder();
    for (path, keys) in
        [("/mjpeg", ""), ("/still", FAST), ("/still?x=1", "[stream.http]\nkind = \"picture\"\npoll_s = 0.05\n")]
    {
        let outcome = of(folder.path(), &["run", "--frames", "5"], &camera.url(path), keys);
        let records = outcome.records();
        assert_eq!(records.len(), 5, "{path}: {}", outcome.stderr);
        common::numbers_add_up(&records);
        assert_eq!(records[0]["top"][0]["label"], "pattern smpte", "{path}");
        assert!(outcome.stderr.contains("a new format: 320x240"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("decoding with "), "{}", outcome.stderr);
    }
    let requests = camera.requests();
    assert_eq!(requests.iter().filter(|request| request.path() == "/mjpeg").count(), 1);
    assert!(requests.iter().filter(|request| request.path() == "/still").count() >= 5);
}

/// The answer of RFC 7616, 3.4.1 to a challenge with this realm and nonce.
fn is_right(login: &str, path: &str, algorithm: &str) -> bool {
    let value = |name: &str| {
        let start = login.find(&format!(" {name}="))? + name.len() + 2;
        Some(login[start..].split(',').next()?.trim().trim_matches('"').to_owned())
    };
    let kind = if algorithm == "MD5" { glib::ChecksumType::Md5 } else { glib::ChecksumType::Sha256 };
    let hash = |text: String| {
        let mut sum = glib::Checksum::new(kind).unwrap();
        sum.update(text.as_bytes());
        sum.string().unwrap().to_string()
    };
    let [user, nonce, count, cnonce, response] =
        ["username", "nonce", "nc", "cnonce", "response"].map(|name| value(name).unwrap_or_default());
    let secret = hash(format!("{user}:cam:p@ss"));
    let request = hash(format!("GET:{path}"));
    user == "me" && response == hash(format!("{secret}:{nonce}:{count}:{cnonce}:auth:{request}"))
}

/// A camera that wants a login of this kind: `Basic`, `MD5` or `SHA-256`.
fn locked(kind: &'static str) -> Server {
    Server::listen(move |number, request: &Request, stream| {
        let login = request.header("authorization").unwrap_or_default();
        let is_in = match kind {
            "Basic" => login == format!("Basic {}", BASE64_STANDARD.encode("me:p@ss")),
            algorithm => login.starts_with("Digest ") && is_right(login, request.path(), algorithm),
        };
        let challenge = match kind {
            "Basic" => "WWW-Authenticate: Basic realm=\"cam\"".to_owned(),
            algorithm => format!(
                "WWW-Authenticate: Digest realm=\"cam\", qop=\"auth\", algorithm={algorithm}, nonce=\"n{number}\""
            ),
        };
        match (is_in, request.path()) {
            (false, _) => answer(stream, "401 Unauthorized", &challenge, b""),
            (true, "/mjpeg") => play(stream, usize::MAX),
            _ => answer(stream, "200 OK", "Content-Type: image/jpeg", picture()),
        }
    })
}

#[test]
fn a_camera_that_wants_a_login_gets_it_from_the_address_or_from_a_file() {
    let folder = folder();
    let password = folder.path().join("password");
    std::fs::write(&password, "p@ss\n").unwrap();
    let file = format!("username = \"me\"\npassword_file = \"{}\"\n", password.display());
    for kind in ["Basic", "MD5", "SHA-256"] {
        let camera = locked(kind);
        for path in ["/mjpeg", "/still?a=b"] {
            let with_login = camera.url(path).replace("http://", "http://me:p%40ss@");
            let outcome = of(folder.path(), &["run", "--frames", "3"], &with_login, FAST);
            assert_eq!(outcome.records().len(), 3, "{kind}");
            let outcome = of(folder.path(), &["run", "--frames", "3"], &camera.url(path), &format!("{file}{FAST}"));
            assert_eq!(outcome.records().len(), 3, "{kind}");
            assert!(!outcome.stderr.contains("p@ss"), "{}", outcome.stderr);
        }
        let without = camera.requests().iter().filter(|request| request.header("authorization").is_none()).count();
        assert_eq!(without, 4, "{kind}: a camera asks once for a login, not for each picture");
    }
}

#[test]
fn a_login_that_is_missing_or_wrong_is_called_so_and_not_repeated_at_once() {
    for kind in ["Basic", "MD5"] {
        let camera = locked(kind);
        let outcome = run(["run", "--source", &camera.url("/mjpeg")]);
        assert_eq!(outcome.code(), 77, "{}", outcome.stderr);
        assert!(outcome.message().contains("set stream.username and stream.password_file"), "{}", outcome.stderr);
        let outcome = run(["run", "--source", &camera.url("/mjpeg").replace("://", "://me:hunter2@")]);
        assert_eq!(outcome.code(), 77, "{}", outcome.stderr);
        assert!(outcome.message().contains("the camera refuses the login"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
        let logins = camera.requests().iter().filter(|request| request.header("authorization").is_some()).count();
        assert_eq!(logins, 1, "{kind}");
    }
}

#[test]
fn a_password_in_clear_is_not_sent_after_a_digest_was_asked_for_nor_to_another_host() {
    let camera = Server::start(|number, request| match (number, request.header("authorization")) {
        (0, _) => Answer::new(401, b"").with("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\""),
        (1, Some(login)) if login.starts_with("Digest ") => {
            Answer::new(401, b"").with("WWW-Authenticate: Basic realm=\"r\"")
        }
        (_, login) => panic!("{login:?}"),
    });
    let outcome = run(["run", "--source", &camera.url("/").replace("://", "://me:p@")]);
    assert_eq!(outcome.code(), 77, "{}", outcome.stderr);
    assert!(outcome.message().contains("plain-text password"), "{}", outcome.stderr);

    let other = Server::start(|_, _| panic!("it was asked"));
    let to = other.url("/x");
    let camera = Server::start(move |_, _| Answer::redirect(&to));
    let outcome = run(["run", "--source", &camera.url("/").replace("://", "://me:p@")]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains(&format!("redirects to {}", other.url("/x"))), "{}", outcome.stderr);

    let circle = Server::start(|_, _| Answer::redirect("/again"));
    let outcome = run(["run", "--source", &circle.url("/")]);
    assert!(outcome.message().contains("redirected more than 8 times"), "{}", outcome.stderr);
    assert_eq!(circle.requests().len(), 9);
}

#[test]
fn what_a_server_says_instead_of_pictures_is_told_with_what_to_do() {
    for (status, body, code, message) in [
        (404, &b""[..], 66, "the camera answers 404 Whatever (check the path in stream.source)"),
        (500, b"", 69, "the camera answers 500 Whatever (restart the camera"),
        (403, b"", 77, "the camera answers 403"),
        (
            200,
            b"<html>",
            69,
            "the camera answers with text/html, and MJPEG or a JPEG picture is expected (check the path",
        ),
    ] {
        let camera =
            Server::start(move |_, _| Answer::new(status, body).with("Content-Type: text/html; charset=utf-8"));
        let outcome = run(["run", "--source", &camera.url("/")]);
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
        assert!(outcome.message().contains(message), "{}", outcome.stderr);
    }
    let nothing = Server::start(|_, _| Answer::new(200, b"--frame--").with("Content-Type: multipart/x-mixed-replace"));
    let outcome = run(["run", "--source", &nothing.url("/")]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("no video"), "{}", outcome.stderr);
    let outcome = run(["run", "--source", &format!("http://127.0.0.1:{}/", common::free_port())]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("nothing listens at 127.0.0.1:"), "{}", outcome.stderr);
    let outcome = run(["run", "--source", "http://nothing-of-that-name.invalid/"]);
    assert!(outcome.message().contains("cannot resolve nothing-of-that-name.invalid"), "{}", outcome.stderr);
}

/// Everything that goes wrong with a camera in turn, and then a good one.
#[test]
fn a_camera_that_fails_in_every_way_is_reopened_and_its_frames_are_numbered_on() {
    let camera = Server::listen(|number, _, stream| {
        let mut stream = stream;
        let cut = &picture()[..picture().len() / 2];
        let _ = match number {
            // The connection is dropped.
            0 => {
                play(stream, 3);
                stream.write_all(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n").and_then(|()| stream.write_all(cut))
            }
            1 => {
                answer(stream, "500 Broken", "X: y", b"");
                Ok(())
            }
            2 => {
                answer(stream, "404 Not here", "X: y", b"");
                Ok(())
            }
            // It stalls within a picture, and then before the answer.
            3 => {
                play(stream, 2);
                let _ = part(stream, cut);
                thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            4 => {
                thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            // A part without end.
            5 => stream.write_all(MJPEG.as_bytes()).and_then(|()| {
                part(stream, picture())?;
                stream.write_all(&picture()[..picture().len() - 2])?;
                loop {
                    stream.write_all(&[7; 1 << 16])?;
                }
            }),
            // Garbage and cut-off pictures between good ones.
            _ => stream.write_all(MJPEG.as_bytes()).and_then(|()| {
                loop {
                    stream.write_all(b"\xff\xd8\xff\xff\0\xffgarbage\r\n")?;
                    part(stream, cut)?;
                    part(stream, picture())?;
                    thread::sleep(PACE);
                    part(stream, picture())?;
                    thread::sleep(PACE);
                }
            }),
        };
        let _ = stream.shutdown(Shutdown::Both);
    });
    let folder = folder();
    let keys = "start_timeout_s = 2\nstall_timeout_s = 2\nretry_first_s = 0.1\nretry_max_s = 0.2\n";
    let outcome = of(folder.path(), &["run", "--frames", "12"], &camera.url("/"), keys);
    let records = outcome.records();
    assert_eq!(records.len(), 12);
    let numbers = seqs(&records);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let log = &outcome.stderr;
    let mut rest = log.as_str();
    for reason in [
        "the camera ended the stream after ",
        "the camera answers 500",
        "the camera answers 404",
        "no frame for 2 s after ",
        "no frame within 2 s of the start",
        "32 MiB",
    ] {
        let at = rest.find(reason).unwrap_or_else(|| panic!("{reason} is not next in {log}"));
        rest = &rest[at..];
    }
    assert_eq!(log.matches("will be reopened").count(), 6, "{log}");
    assert!(rest.contains("a picture of the camera is cut off"), "{log}");
    assert_eq!(camera.requests().len(), 7);
}

#[test]
fn of_pictures_that_are_asked_for_those_cut_off_are_left_out_and_the_next_is_taken() {
    let camera = Server::start(|number, _| {
        let answer = Answer::new(200, picture()).with("Content-Type: image/jpeg");
        match number % 3 {
            0 => answer,
            1 => answer.cut(picture().len() / 2),
            // The server does not notice that its picture is not whole.
            _ => Answer::new(200, &picture()[..picture().len() / 3]).with("Content-Type: image/jpeg").chunked(),
        }
    });
    let folder = folder();
    let outcome = of(folder.path(), &["run", "--frames", "3"], &camera.url("/"), FAST);
    let records = outcome.records();
    assert_eq!(records.len(), 3);
    common::numbers_add_up(&records);
    assert!(outcome.stderr.contains("a picture of the camera is cut off"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("will be reopened"), "{}", outcome.stderr);
}

#[test]
fn each_picture_is_asked_for_where_the_settings_say_on_one_connection_at_a_time() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let connections = Arc::new(AtomicUsize::new(0));
    let camera = Server::listen(move |number, request, mut stream| {
        // The end of the connection before may be on its way.
        let is_alone = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(5));
            connections.load(Ordering::SeqCst) == 0
        });
        connections.fetch_add(1, Ordering::SeqCst);
        match request.path() {
            _ if !is_alone => answer(stream, "503 Busy", "Retry-After: 1", b""),
            "/latest.jpg" => answer(stream, "302 Found", &format!("Location: /{number}.jpg"), b"elsewhere"),
            _ => answer(stream, "200 OK", "Content-Type: image/jpeg", picture()),
        }
        // Such a camera leaves it to the client to hang up.
        let _ = stream.read_to_end(&mut Vec::new());
        connections.fetch_sub(1, Ordering::SeqCst);
    });
    let folder = folder();
    let keys = "[stream.http]\npoll_s = 0.3\n";
    let outcome = of(folder.path(), &["run", "--frames", "4"], &camera.url("/latest.jpg"), keys);
    assert_eq!(outcome.records().len(), 4, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("reopened"), "{}", outcome.stderr);
    let asked = camera.requests().iter().filter(|request| request.path() == "/latest.jpg").count();
    assert!(asked >= 4, "{asked}");
}

#[test]
fn a_stop_does_not_wait_for_a_camera_that_is_silent_or_for_the_next_picture() {
    let silent = Server::start(|_, _| Answer::new(200, picture()).stall(10));
    let rare = Server::start(|_, _| Answer::new(200, picture()).with("Content-Type: image/jpeg"));
    let folder = folder();
    let keys = "start_timeout_s = 3600\nstall_timeout_s = 3600\n[stream.http]\nkind = \"picture\"\npoll_s = 3000\n";
    for camera in [silent, rare] {
        let config = config(folder.path(), &camera.url("/"), keys);
        let running = Running::start(&mut hardnetd(["run", "-c", &config]));
        wait_for("a request", || (!camera.requests().is_empty()).then_some(()));
        running.signal(Signal::TERM);
        let outcome = running.finish();
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("without finishing"), "{}", outcome.stderr);
    }
}

/// A camera over TLS with the certificate `name` of `folder`, and its port.
fn encrypted(folder: &Path, name: &str) -> u16 {
    use rustls::pki_types::pem::PemObject as _;
    let path = folder.join(name);
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(path.with_extension("pem")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(path.with_extension("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain.map(Result::unwrap).collect(), key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut client = std::io::BufReader::new(rustls::StreamOwned::new(connection, client));
            thread::spawn(move || {
                common::https::head(&mut client)?;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                    picture().len()
                );
                let client = client.get_mut();
                client.write_all(head.as_bytes()).and_then(|()| client.write_all(picture())).ok()?;
                client.conn.send_close_notify();
                client.flush().ok()
            });
        }
    });
    port
}

#[test]
fn a_camera_over_tls_gives_results_if_its_certificate_is_trusted() {
    let folder = folder();
    let folder = folder.path();
    Authority::new(folder, "authority").sign("good", &["127.0.0.1"], -1..90);
    sign_itself(folder, "own", &["camera.local"]);
    let ca_file = |name: &str| format!("ca_file = \"{}\"\n", folder.join(name).with_extension("pem").display());
    let good = format!("https://127.0.0.1:{}/", encrypted(folder, "good"));
    let own = format!("https://127.0.0.1:{}/", encrypted(folder, "own"));
    for (source, keys) in [
        (&good, ca_file("authority")),
        (&own, ca_file("own")),
        (&own, "danger_accept_any_certificate = true\n".to_owned()),
    ] {
        let outcome = of(folder, &["run", "--frames", "2"], source, &format!("{keys}{FAST}"));
        assert_eq!(outcome.records().len(), 2, "{keys}");
        let doctor = of(folder, &["doctor", "--timeout", "60"], source, &keys);
        assert!(doctor.stdout.contains("with a picture, asked for every 1 s"), "{}", doctor.stdout);
    }
    for keys in ["", &ca_file("authority")] {
        let outcome = of(folder, &["run"], &own, &format!("retry_max_s = 0\n{keys}"));
        assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
        let message = outcome.message();
        assert!(message.contains("certificate is not trusted") && message.contains("fingerprint"), "{message}");
    }
    let plain = camera().url("/still").replace("http://", "https://");
    let outcome = run(["run", "--source", &plain]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
}

#[test]
fn the_doctor_asks_a_camera_without_logging_in() {
    let folder = folder();
    let login = "username = \"me\"\n";
    for (source, keys, state, part) in [
        (camera().url("/mjpeg"), "", "ok", "with MJPEG"),
        (camera().url("/still"), FAST, "ok", "with a picture, asked for every 0.05 s"),
        (locked("MD5").url("/"), login, "ok", "asks for a login, which is not checked"),
        (locked("MD5").url("/"), "", "error", "asks for a login"),
        (Server::start(|_, _| Answer::new(404, b"")).url("/"), "", "error", "answers 404"),
        (format!("http://127.0.0.1:{}/", common::free_port()), "", "error", "nothing listens"),
    ] {
        let doctor = of(folder.path(), &["doctor", "--timeout", "60"], &source, keys);
        let line = doctor.stdout.lines().find(|line| line.contains("\tstreams\tweb\t")).unwrap();
        assert!(line.starts_with(&format!("{state}\t")) && line.contains(part), "{line}");
    }
    let silent = Server::start(|_, _| Answer::new(200, b"xx").stall(1));
    let source = silent.url("/");
    let doctor = of(folder.path(), &["doctor", "--timeout", "1"], &source, "");
    assert!(doctor.stdout.lines().any(|line| line.contains("\tstreams\tweb\t")), "{}", doctor.stdout);
}

#[test]
fn settings_that_are_wrong_for_a_web_camera_are_told() {
    let folder = folder();
    for (source, keys, part) in [
        (
            "http://cam/",
            "stall_timeout_s = 5\n[stream.http]\npoll_s = 5\n",
            "stream[0].http.poll_s = 5: expected less than stall_timeout_s, 5",
        ),
        ("http://cam:0/", "", "expected http://HOST:PORT/PATH, the port from 1 to 65535"),
        ("http://cam/", "ca_file = \"x.pem\"\n", "only for sources with rtsps:// and https://"),
        ("http://cam/", "[stream.rtsp]\nlatency_ms = 1\n", "only for sources with rtsp:// and rtsps://"),
        ("test:ball", "[stream.http]\npoll_s = 2\n", "only for sources with http:// and https://"),
        ("test:ball", "decoder = \"software\"\n", "stream[0].decoder = \"software\": only for sources with file:"),
        (
            "http://cam/",
            "decoder = \"No Such\"\n",
            "expected \"auto\", \"software\" or the name of a GStreamer element",
        ),
        ("http://cam/", "[stream.http]\nkind = \"gif\"\n", "\"auto\", \"mjpeg\", \"picture\""),
    ] {
        let outcome = of(folder.path(), &["config", "check"], source, keys);
        assert_eq!(outcome.code(), 78, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}
