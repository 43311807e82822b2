//! What the running program tells over HTTP, to a real Prometheus and to whoever supervises it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Outcome, Running, folder, free_port, hardnetd, run, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than a connection lasts on a very busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program that answers at `address`, with its configuration.
struct Daemon {
    running: Running,
    address: SocketAddr,
    file: PathBuf,
    _folder: TempDir,
}

impl Daemon {
    /// Starts the program with `text` besides the section `[http]`, which has the keys `http`, too.
    fn start(text: &str, http: &str) -> Self {
        let (folder, address) = (folder(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let file = folder.path().join("hardnetd.toml");
        fs::write(&file, configuration(text, address, http)).unwrap();
        let running = Running::start(&mut hardnetd(["run", "-c", file.to_str().unwrap()]));
        wait_for("an answer", || get(address, "/").map(drop));
        Self { running, address, file, _folder: folder }
    }

    /// The answer to a request.
    fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).expect("an answer")
    }

    /// The value of a metric with its labels, as they are printed.
    fn metric(&self, name: &str) -> Option<f64> {
        value(&self.get("/metrics").1, name)
    }

    fn stop(self) -> Outcome {
        self.running.signal(Signal::TERM);
        let outcome = self.running.finish();
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        outcome
    }
}

fn configuration(text: &str, address: SocketAddr, http: &str) -> String {
    format!("[device]\nstop_timeout_s = 30.0\n[http]\nenabled = true\nlisten = \"{address}\"\n{http}{text}")
}

/// Status and body of the answer to a request; `None` if nobody listens.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
        .map(|(status, _, body)| (status, body))
}

/// Status, headers and body of the answer to a request.
fn ask(address: SocketAddr, request: &str) -> Option<(u16, String, String)> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    connection.read_to_string(&mut text).ok()?;
    let (headers, body) = text.split_once("\r\n\r\n")?;
    let status = headers.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, headers.to_ascii_lowercase(), body.to_owned()))
}

/// The value of a metric with its labels.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// A process that is killed when the test ends.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Prometheus that scrapes `target` every second.
struct Prometheus {
    address: SocketAddr,
    _process: Guard,
}

impl Prometheus {
    fn start(folder: &Path, target: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: hardnetd\n    static_configs:\n      - targets: ['{target}']\n"
        );
        fs::write(&file, text).unwrap();
        let log = fs::File::create(folder.join("prometheus.log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed");
        Self { address, _process: Guard(process) }
    }

    /// The value of an expression, if it has one.
    fn query(&self, expression: &str) -> Option<f64> {
        let (status, body) = get(self.address, &format!("/api/v1/query?query={expression}"))?;
        let answer: Value = serde_json::from_str(&unchunked(&body)).ok().filter(|_| status == 200)?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

/// The body of an answer that may come in chunks (RFC 9112, 7.1).
fn unchunked(body: &str) -> String {
    if body.starts_with('{') {
        return body.to_owned();
    }
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    text
}

#[test]
fn promtool_accepts_the_metrics() {
    let broker = common::broker::Broker::start("allow_anonymous true\n");
    let text = format!(
        "[[stream]]\nname = \"a\"\nsource = \"test:ball\"\n[publish.mqtt]\nenabled = true\nqos = 1\nhost = \"127.0.0.1\"\nport = {}\n",
        broker.port
    );
    let daemon = Daemon::start(&text, "");
    let acknowledged = "hardnetd_sink_acknowledgement_seconds_count{sink=\"mqtt\"}";
    wait_for("an acknowledgement", || daemon.metric(acknowledged).filter(|count| *count > 0.0));
    let (status, metrics) = daemon.get("/metrics");
    assert_eq!(status, 200);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let outcome = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned() + &String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && said.trim().is_empty(), "{said}\n{metrics}");
    daemon.stop();
}

#[test]
fn a_prometheus_that_scrapes_under_full_load_counts_what_the_statistics_count() {
    let text = "[[stream]]\nname = \"a\"\nsource = \"test:ball?live=false\"\n[[stream]]\nname = \"b\"\nsource = \"test:ball\"\n\
                [publish.stdout]\nstats = true\n[telemetry]\nstats_s = 1.0\n";
    let daemon = Daemon::start(text, "");
    let folder = folder();
    let prometheus = Prometheus::start(folder.path(), daemon.address);
    let scrapes = || prometheus.query("count_over_time(up[1h])").filter(|count| *count >= 5.0);
    wait_for("five scrapes", scrapes);
    assert_eq!(prometheus.query("min_over_time(up[1h])"), Some(1.0), "a scrape has failed");
    let scraped = |stream: &str| {
        let of = format!("hardnetd_frames_classified_total%7Bstream=%22{stream}%22%7D");
        prometheus.query(&of).unwrap()
    };
    let scraped = ["a", "b"].map(scraped);
    let after = daemon.get("/metrics").1;
    let outcome = daemon.stop();
    let (stats, results): (Vec<Value>, Vec<Value>) = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .partition(|record| record["schema"] == "hardnetd.stats.v1");
    common::records(&results.iter().map(|record| format!("{record}\n")).collect::<String>());
    let schema = serde_json::from_str(include_str!("../assets/hardnetd.stats.v1.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    stats.iter().for_each(|record| schema.validate(record).unwrap());
    for (stream, scraped) in ["a", "b"].into_iter().zip(scraped) {
        let now = value(&after, &format!("hardnetd_frames_classified_total{{stream=\"{stream}\"}}")).unwrap();
        let last = common::of_stream(&results, stream).len() as f64;
        assert!(0.0 < scraped && scraped <= now && now <= last, "{stream}: {scraped} {now} {last}");
        // Statistics are made between results, and count those before them.
        let mut count = 0;
        for record in outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            if record["schema"] != "hardnetd.stats.v1" {
                count += u64::from(record["stream"] == stream);
                continue;
            }
            let streams = record["streams"].as_array().unwrap();
            let of_stream = streams.iter().find(|of| of["stream"] == stream).unwrap();
            let classified = of_stream["classified"].as_u64().unwrap();
            // Some are on their way to the sink, or have not been counted yet.
            assert!(classified.abs_diff(count) <= 64, "{count} results before {record}");
        }
    }
    assert!(stats.len() >= 4, "{} statistics", stats.len());
    let infer = &stats[1]["streams"][0]["latency_us"]["infer"];
    let of = |name: &str| infer[name].as_u64().unwrap();
    assert!(0 < of("p50") && of("p50") <= of("p90") && of("p90") <= of("p99") && of("p99") <= of("max"), "{infer}");
}

#[test]
fn a_program_is_ready_while_a_stream_is_online() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("[[stream]]\nname = \"gone\"\nsource = \"rtsp://{gone}/1\"\n");
    let daemon = Daemon::start(&text, "");
    wait_for("the camera to be missed", || (daemon.get("/readyz") == (503, "gone retrying\n".into())).then_some(()));
    assert_eq!(daemon.get("/healthz"), (200, "ok\n".into()));
    let more = format!("{text}[[stream]]\nname = \"there\"\nsource = \"test:ball\"\n");
    fs::write(&daemon.file, configuration(&more, daemon.address, "")).unwrap();
    daemon.running.signal(Signal::HUP);
    let ready = (200, "gone retrying\nthere online\n".to_owned());
    wait_for("the new stream", || (daemon.get("/readyz") == ready).then_some(()));
    assert_eq!(daemon.metric("hardnetd_stream_state{state=\"retrying\",stream=\"gone\"}"), Some(1.0));
    daemon.stop();
}

#[test]
fn a_thread_that_hangs_is_unhealthy() {
    let text = "[[stream]]\nname = \"a\"\nsource = \"test:ball\"\n[debug]\nwedge_after = 3\n";
    let daemon = Daemon::start(text, "stuck_s = 1.0\n");
    let (status, body) = wait_for("the watch", || Some(daemon.get("/healthz")).filter(|(status, _)| *status != 200));
    assert_eq!(status, 503);
    assert!(body.starts_with("thread infer-0 has made no progress for "), "{body}");
    assert!(daemon.metric("hardnetd_frames_captured_total{stream=\"a\"}").is_some(), "metrics go on");
}

#[test]
fn a_reload_moves_closes_and_opens_the_address_and_a_wrong_one_changes_nothing() {
    let text = "[[stream]]\nname = \"a\"\nsource = \"test:ball\"\n";
    let daemon = Daemon::start(text, "");
    let reload = |text: &str| {
        fs::write(&daemon.file, text).unwrap();
        daemon.running.signal(Signal::HUP);
    };
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    reload(&configuration(text, other, ""));
    wait_for("the new address", || get(other, "/healthz"));
    assert_eq!(get(daemon.address, "/healthz"), None, "the old one is closed");
    // Something else listens there.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    reload(&configuration(text, taken.local_addr().unwrap(), ""));
    wait_for("the refusal", || daemon.running.log().contains("another program uses the port").then_some(()));
    assert_eq!(get(other, "/healthz"), Some((200, "ok\n".into())));
    reload(text);
    wait_for("the end of the server", || get(other, "/healthz").is_none().then_some(()));
    reload(&configuration(text, other, "timeout_s = 1.0\n"));
    wait_for("the server", || get(other, "/healthz"));
    daemon.stop();
}

#[test]
fn requests_that_are_wrong_or_never_end_hold_nobody_up() {
    let daemon = Daemon::start("[[stream]]\nname = \"a\"\nsource = \"test:ball\"\n", "timeout_s = 2.0\n");
    let (status, headers, body) =
        ask(daemon.address, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!((status, body.as_str()), (405, "only GET and HEAD are allowed\n"));
    assert!(headers.contains("\r\nallow: get, head"), "{headers}");
    let (status, body) = daemon.get("/metric");
    assert!(status == 404 && body.contains("/metrics"), "{status} {body}");
    let (_, headers, body) = ask(daemon.address, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(headers.contains("content-type: text/plain; version=0.0.4") && body.is_empty(), "{headers}");
    for noise in ["\u{0}\u{1}\u{2}", "GET", "\r\n\r\n\r\n\r\n"] {
        TcpStream::connect(daemon.address).unwrap().write_all(noise.as_bytes()).unwrap();
    }
    // More than are served at a time: they never say anything, and are closed after timeout_s.
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(daemon.address).unwrap()).collect();
    assert_eq!(daemon.get("/healthz").0, 200);
    drop(silent);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20));
    let _ = ask(daemon.address, &long);
    assert_eq!(daemon.get("/healthz").0, 200);
    daemon.stop();
}

#[test]
fn an_address_that_cannot_be_used_is_an_error_of_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    let start = |address: &str| {
        fs::write(&file, format!("[[stream]]\nsource = \"test:ball\"\n[http]\nenabled = true\nlisten = {address:?}\n"))
            .unwrap();
        run(["run", "-n", "1", "-c", file.to_str().unwrap()])
    };
    let address = taken.local_addr().unwrap().to_string();
    for (address, code, parts) in [
        (address.as_str(), 69, ["cannot listen at 127.0.0.1:", "http.listen", "another program uses the port"]),
        ("203.0.113.7:9464", 69, ["203.0.113.7:9464", "http.listen", "this machine does not have the address"]),
        (
            "localhost:9464",
            78,
            ["http.listen = \"localhost:9464\"", "expected an IP address and a port", "\"127.0.0.1:9464\""],
        ),
        ("", 78, ["http.listen = \"\"", "expected an IP address", "[::1]:9464"]),
    ] {
        let outcome = start(address);
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
        assert!(parts.iter().all(|part| outcome.message().contains(part)), "{}", outcome.stderr);
    }
}
