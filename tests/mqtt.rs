//! Results to a real Mosquitto, which comes, goes and is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::process::Command;

use common::broker::Broker;
use common::subscriber::Subscriber;
use common::{LONG_STOP, Running, folder, free_port, hardnetd, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;

/// The daemon on a live source, with small pictures, short reconnection waits, and time to stop.
fn daemon(folder: &TempDir, port: u16, extra: &str) -> Running {
    Running::start(&mut command(folder, port, extra))
}

fn command(folder: &TempDir, port: u16, extra: &str) -> Command {
    let path = folder.path().join("hardnetd.toml");
    let text = format!(
        "[device]\nname = \"pi\"\nstop_timeout_s = {LONG_STOP}\n[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64\"\n\
         [publish.stdout]\nenabled = false\n\
         [publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\nretry_max_s = 1.0\n{extra}\n"
    );
    fs::write(&path, text).unwrap();
    hardnetd(["run", "-c", path.to_str().unwrap()])
}

/// Waits until the daemon has printed `count` more results.
fn results(running: &Running, count: usize) {
    let printed = || running.output().lines().count();
    let before = printed();
    wait_for("results", || (printed() >= before + count).then_some(()));
}

/// The messages of `topic` that a new subscriber gets: the retained ones.
fn retained(port: u16, topic: &str) -> String {
    let output = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-C", "1", "-W", "60", "-F", "%r %p"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Resident memory in kilobytes (proc(5), status, VmRSS).
fn resident_kb(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_subscriber_sees_results_and_states_and_a_clean_end() {
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &[]);
    let running = daemon(&folder, broker.port, "qos = 1");
    subscriber.wait("hardnetd/pi/status online");
    subscriber.wait("hardnetd/pi/door/status online");
    let record = subscriber.wait("hardnetd/pi/door/result ");
    assert_eq!(common::records(&record)[0]["stream"], "door");
    assert_eq!(retained(broker.port, "hardnetd/pi/status"), "1 online");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    subscriber.wait("hardnetd/pi/status stopped");
    assert_eq!(retained(broker.port, "hardnetd/pi/status"), "1 stopped");
    assert_eq!(retained(broker.port, "hardnetd/pi/door/status"), "1 offline");
}

#[test]
fn a_killed_daemon_is_offline_by_its_last_will() {
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &[]);
    let running = daemon(&folder, broker.port, "");
    subscriber.wait("hardnetd/pi/door/result ");
    running.signal(Signal::KILL);
    subscriber.wait("hardnetd/pi/status offline");
    assert_eq!(retained(broker.port, "hardnetd/pi/status"), "1 offline");
}

#[test]
fn a_broker_that_restarts_is_reconnected_to_and_memory_stays_bounded() {
    let mut broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let mut command = command(&folder, broker.port, "queue = 20");
    let running = Running::start(command.env("HARDNETD__PUBLISH__STDOUT__ENABLED", "true"));
    let first = Subscriber::start(broker.port, &[]);
    first.wait("hardnetd/pi/door/result ");
    drop(first);
    broker.stop();
    results(&running, 60);
    let before = resident_kb(running.pid());
    // Far more than the queue holds.
    results(&running, 180);
    let grown = resident_kb(running.pid()).saturating_sub(before);
    assert!(grown < 4096, "{grown} kB more while the broker was away");
    broker.restart();
    let second = Subscriber::start(broker.port, &[]);
    second.wait("hardnetd/pi/status online");
    wait_for("results after the restart", || (second.results() > 30).then_some(()));
    wait_for("the stream's state", || {
        second.lines().iter().any(|line| line.ends_with("hardnetd/pi/door/status online")).then_some(())
    });
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
    second.wait("hardnetd/pi/status stopped");
}

#[test]
fn a_broker_that_is_away_never_stops_classification() {
    let sink = format!("mqtt://127.0.0.1:{}", free_port());
    let mut command =
        hardnetd(["run", "--source", "test:ball?frames=20&live=false", "--sink", "stdout", "--sink", &sink]);
    let outcome = Running::start(command.env("HARDNETD__DEVICE__STOP_TIMEOUT_S", "1")).finish();
    assert_eq!(common::records(&outcome.stdout).len(), 20, "{}", outcome.stderr);
    assert_eq!(outcome.code(), 69, "what could not be sent is an error: {}", outcome.stderr);
    assert!(
        outcome.stderr.contains("20 results did not reach the MQTT broker: nothing listens at 127.0.0.1:"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_stop_while_the_broker_is_away_is_clean_and_ends_at_its_limit() {
    let folder = folder();
    let mut command = command(&folder, free_port(), "");
    command.env("HARDNETD__PUBLISH__STDOUT__ENABLED", "true").env("HARDNETD__DEVICE__STOP_TIMEOUT_S", "1");
    let running = Running::start(&mut command);
    results(&running, 10);
    running.signal(Signal::TERM);
    // The broker stays away: only the time limit of the stop ends the wait for it.
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("did not reach the MQTT broker: nothing listens at"), "{}", outcome.stderr);
}

#[test]
fn a_broker_whose_name_is_not_known_is_told_from_one_that_is_away() {
    let sink = "mqtt://nothing-of-that-name.invalid";
    let mut command = hardnetd(["run", "--source", "test:ball?size=64x64", "--sink", sink]);
    let running = Running::start(command.env("HARDNETD__PUBLISH__MQTT__CONNECT_TIMEOUT_S", "300"));
    wait_for("the reason", || {
        running.log().contains("the name nothing-of-that-name.invalid is not known").then_some(())
    });
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
}

#[test]
fn a_login_comes_from_the_password_file_and_a_refusal_is_told() {
    let keys = folder();
    let passwords = keys.path().join("passwords");
    let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args(["me", "secret"]).status();
    assert!(made.unwrap().success());
    let broker = Broker::start(&format!("allow_anonymous false\npassword_file {}", passwords.display()));
    let password = keys.path().join("password");
    let login = format!("username = \"me\"\npassword_file = \"{}\"", password.display());

    fs::write(&password, "secret\n").unwrap();
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &["-u", "me", "-P", "secret"]);
    let running = daemon(&folder, broker.port, &login);
    subscriber.wait("hardnetd/pi/door/result ");
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);

    fs::write(&password, "wrong\n").unwrap();
    let running = daemon(&folder, broker.port, &login);
    wait_for("the refusal", || running.log().contains("refuses").then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("wrong"), "{}", outcome.stderr);
}

#[test]
fn many_results_are_all_delivered_before_the_end() {
    let broker = Broker::start("allow_anonymous true\nmax_queued_messages 0");
    let subscriber = Subscriber::start(broker.port, &[]);
    // The retained messages come when the broker has accepted the subscription.
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-r", "-t", "subscribed", "-m", "yes"]);
    assert!(publish.status().unwrap().success());
    subscriber.wait("subscribed yes");
    let sink = format!("mqtt://127.0.0.1:{}/site/cameras", broker.port);
    let outcome = common::run(["run", "--source", "test:ball?frames=40&live=false&size=64x64", "--sink", &sink]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    wait_for("all results", || (subscriber.results() == 40).then_some(()));
    let stopped = |line: &String| line.starts_with("0 site/cameras/") && line.ends_with("/status stopped");
    wait_for("the clean end", || subscriber.lines().iter().any(stopped).then_some(()));
}

/// Seconds per inference on this machine under its current load, with small pictures and `model`.
fn inference_s(model: &str) -> f64 {
    let source = "test:ball?size=64x64&live=false";
    let records = common::run(["run", "--source", source, "--model", model, "--frames", "5"]).records();
    let times = records.iter().map(|record| record["latency_us"]["infer"].as_u64().unwrap());
    std::time::Duration::from_micros(times.max().unwrap()).as_secs_f64()
}

#[test]
fn a_stop_with_more_work_in_flight_than_time_still_ends_in_order() {
    const STREAMS: u32 = 36;
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let path = folder.path().join("hardnetd.toml");
    // The frames in the queues take longer than the whole stop. A third of the stop is for the sinks: ten times as long
    // as the inference in progress, in case the load increases.
    let stop_s = (f64::from(STREAMS - 3) * inference_s("hardnet68")).clamp(2.0, 60.0);
    let mut text = format!(
        "[device]\nname = \"pi\"\nstop_timeout_s = {stop_s}\n[model]\nname = \"hardnet68\"\n\
         [publish.mqtt]\nenabled = true\nport = {}\n",
        broker.port
    );
    for stream in 0..STREAMS {
        text.push_str(&format!("[[stream]]\nname = \"s{stream}\"\nsource = \"test:ball?size=64x64&fps=5\"\n"));
    }
    fs::write(&path, text).unwrap();
    let subscriber = Subscriber::start(broker.port, &[]);
    let running = Running::start(&mut hardnetd(["run", "-c", path.to_str().unwrap()]));
    wait_for("results", || (subscriber.results() > 3).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(retained(broker.port, "hardnetd/pi/status"), "1 stopped", "{}", outcome.stderr);
    subscriber.wait("hardnetd/pi/status stopped");
    let lines = subscriber.lines();
    assert!(lines.last().unwrap().ends_with("hardnetd/pi/status stopped"), "{:?}", lines.last());
}

#[test]
fn the_state_of_a_camera_that_is_away_is_retrying() {
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let stream = format!("[[stream]]\nname = \"yard\"\nsource = \"rtsp://127.0.0.1:{}/camera\"\n", free_port());
    let running = daemon(&folder, broker.port, &stream);
    wait_for("the state", || (retained(broker.port, "hardnetd/pi/yard/status") == "1 retrying").then_some(()));
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
    assert_eq!(retained(broker.port, "hardnetd/pi/yard/status"), "1 offline");
}
