//! Results to brokers that lose connections and sessions, refuse, overlook and hang up: Mosquitto where possible,
//! otherwise a scriptable broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use common::broker::Broker;
use common::picky_broker::{PickyBroker, Published, Reply, take_over};
use common::subscriber::Subscriber;
use common::{Outcome, Running, data, folder, free_port, hardnetd, run, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// The daemon on a live source; `source` are options of the test source, `extra` are keys of `[publish.mqtt]`.
fn command(folder: &TempDir, port: u16, source: &str, extra: &str) -> Command {
    let path = folder.path().join("hardnetd.toml");
    let text = format!(
        "[device]\nname = \"pi\"\n[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64{source}\"\n\
         [model]\nsize = \"64x64\"\n[publish.stdout]\nenabled = false\n\
         [publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\nretry_max_s = 1.0\n{extra}\n"
    );
    fs::write(&path, text).unwrap();
    let mut command = hardnetd(["run", "-c", path.to_str().unwrap()]);
    command.env("HARDNETD_LOG", "info");
    command
}

fn daemon(folder: &TempDir, port: u16, extra: &str) -> Running {
    Running::start(&mut command(folder, port, "", extra))
}

fn stop(running: Running) -> Outcome {
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

/// The messages of `topic` that a new subscriber gets: the retained ones.
fn retained(port: u16, topic: &str) -> String {
    let output = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-C", "1", "-W", "10", "-F", "%r %p"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The result records among a subscriber's lines.
fn results(subscriber: &Subscriber) -> Vec<Value> {
    let lines = subscriber.lines();
    let payloads = lines.iter().filter_map(|line| line.split_once("/result ")).map(|(_, payload)| payload);
    common::records(&payloads.map(|payload| format!("{payload}\n")).collect::<String>())
}

/// Asserts that every result between the first and the last is present, in order: `dropped` counts the frames without a
/// result.
fn assert_complete(records: &[Value], duplicates: bool) {
    let number = |record: &Value, key: &str| record[key].as_u64().unwrap();
    let mut next = 0;
    for record in records {
        let (seq, dropped) = (number(record, "seq"), number(record, "dropped"));
        if duplicates && seq < next {
            continue;
        }
        assert_eq!(seq - dropped, next, "a result before frame {seq} is missing, or is there twice");
        next = seq + 1;
    }
}

/// Waits until the subscriber has seen the device come online `times` times.
fn online(subscriber: &Subscriber, times: usize) {
    let is = |line: &&String| line.ends_with("hardnetd/pi/status online");
    wait_for("the connection", || (subscriber.lines().iter().filter(is).count() >= times).then_some(()));
}

/// Repeatedly ends the daemon's connection to Mosquitto while results flow; returns them.
fn interrupted(qos: u8, clean: bool) -> Vec<Value> {
    let broker = Broker::start("allow_anonymous true\nmax_queued_messages 0");
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &[]);
    let running = Running::start(&mut command(&folder, broker.port, "&fps=100", &format!("qos = {qos}")));
    for times in 1..=8 {
        online(&subscriber, times);
        let before = subscriber.results();
        wait_for("results", || (subscriber.results() > before + 10).then_some(()));
        take_over(broker.port, "hardnetd-pi", clean);
    }
    online(&subscriber, 9);
    stop(running);
    subscriber.wait("hardnetd/pi/status stopped");
    results(&subscriber)
}

#[test]
fn with_qos_2_every_result_arrives_once_over_lost_connections() {
    assert_complete(&interrupted(2, false), false);
}

#[test]
fn with_qos_2_no_result_is_lost_with_the_session() {
    assert_complete(&interrupted(2, true), true);
}

#[test]
fn with_qos_1_no_result_is_lost_with_the_session() {
    assert_complete(&interrupted(1, true), true);
}

#[test]
fn a_broker_that_restarts_with_its_sessions_gets_every_result() {
    for qos in [1, 2] {
        let kept = folder();
        let path = kept.path().display();
        let settings = format!("user root\nmax_queued_messages 0\npersistence true\npersistence_location {path}/");
        let mut broker = Broker::start(&format!("allow_anonymous true\n{settings}"));
        let folder = folder();
        let subscriber = Subscriber::start(broker.port, &["-c", "-i", "subscriber", "-q", "2"]);
        let running = Running::start(&mut command(&folder, broker.port, "&fps=50", &format!("qos = {qos}")));
        for _ in 0..3 {
            let before = subscriber.results();
            wait_for("results", || (subscriber.results() > before + 10).then_some(()));
            broker.end();
            broker.restart();
        }
        let before = subscriber.results();
        wait_for("results", || (subscriber.results() > before + 10).then_some(()));
        stop(running);
        subscriber.wait("hardnetd/pi/status stopped");
        // What Mosquitto had on the way to a subscriber comes in another order, and some of it again.
        let mut records = results(&subscriber);
        records.sort_by_key(|record| record["seq"].as_u64());
        assert_complete(&records, true);
    }
}

#[test]
fn what_a_broker_has_not_acknowledged_is_repeated_as_the_session_asks() {
    for session in [false, true] {
        // The results of the first connection are not acknowledged until it ends.
        let broker = PickyBroker::start(session, |published| match published.connection {
            1 if published.is_result() => Reply::Ignore,
            _ => Reply::Take,
        });
        let folder = folder();
        let running = daemon(&folder, broker.port, "qos = 1\nin_flight = 7");
        let of = |connection| {
            let seen = broker.seen().into_iter().filter(|p| p.connection == connection && p.is_result());
            seen.collect::<Vec<_>>()
        };
        wait_for("as many results as may be in flight", || (of(1).len() == 7).then_some(()));
        broker.hang_up();
        wait_for("more results", || (of(2).len() > 14).then_some(()));
        stop(running);
        let (first, second) = (of(1), of(2));
        assert_eq!(first.len(), 7, "no more than may be in flight");
        for (before, after) in first.iter().zip(&second) {
            assert_eq!(before.seq(), after.seq());
            assert_eq!(after.duplicate, session, "marked as a duplicate in the same session only");
            assert!(!session || before.id == after.id);
        }
        let seqs: Vec<u64> = second.iter().map(|published| published.seq()).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
    }
}

#[test]
fn a_result_that_the_broker_overlooks_is_repeated_and_holds_up_nothing_for_ever() {
    // The fourth result of the first connection is never acknowledged.
    let broker = PickyBroker::start(false, |published| match published.id {
        5 if published.connection == 1 => Reply::Ignore,
        _ => Reply::Take,
    });
    let folder = folder();
    let running = daemon(&folder, broker.port, "qos = 1\nkeep_alive_s = 5");
    wait_for("a second connection with results", || {
        broker.delivered().into_iter().filter(|p| p.connection == 2 && p.is_result()).nth(100)
    });
    let outcome = stop(running);
    assert!(outcome.stderr.contains("has not acknowledged a message to hardnetd/pi/"), "{}", outcome.stderr);
    let overlooked = broker.seen().into_iter().find(|p| p.connection == 1 && p.id == 5).unwrap();
    let again = |p: &Published| p.payload == overlooked.payload && p.topic == overlooked.topic;
    assert!(broker.delivered().iter().any(again));
}

/// The results that a broker has taken from a run during which `policy` did its harm: what a subscriber would have seen.
fn harmed(session: bool, extra: &str, policy: impl Fn(&Published) -> Reply + Send + Sync + 'static) -> Vec<Published> {
    let broker = PickyBroker::start(session, policy);
    let folder = folder();
    let running = Running::start(&mut command(&folder, broker.port, "&fps=25", extra));
    let taken = || broker.delivered().into_iter().filter(Published::is_result).collect::<Vec<_>>();
    // The first connection of QoS 2 only ends the session of an earlier process.
    let first = if extra.contains("qos = 2") { 2 } else { 1 };
    let after_harm = || {
        let last = broker.connections();
        last > first && taken().iter().filter(|p| p.connection == last).count() > 60
    };
    wait_for("results after the harm", || after_harm().then_some(()));
    stop(running);
    taken()
}

/// Asserts that nothing is missing of what was `taken`; and, unless `again`, that nothing came twice or out of order.
fn assert_taken(name: &str, mut taken: Vec<Published>, again: bool) {
    if again {
        taken.sort_by_key(Published::seq);
        taken.dedup_by_key(|published| published.seq());
    }
    let records = common::records(&taken.iter().map(|p| format!("{}\n", p.payload)).collect::<String>());
    assert!(records.len() > 60, "{name}");
    assert_complete(&records, false);
}

#[test]
fn one_acknowledgement_that_never_comes_costs_no_result() {
    std::thread::scope(|scope| {
        for (session, qos, in_flight) in
            [(false, 1, 20), (true, 1, 20), (true, 1, 1), (false, 2, 20), (true, 2, 20), (true, 2, 1)]
        {
            scope.spawn(move || {
                let overlooked = move |p: &Published| p.connection == 1 + usize::from(qos == 2) && p.id == 5;
                let extra = format!("qos = {qos}\nin_flight = {in_flight}\nkeep_alive_s = 5");
                let taken = harmed(session, &extra, move |p| if overlooked(p) { Reply::Ignore } else { Reply::Take });
                assert_taken(&format!("{session} {extra}"), taken, in_flight > 1 || !session);
            });
        }
    });
}

#[test]
fn a_broker_that_acknowledges_nothing_gets_the_same_again_in_order() {
    for qos in [1, 2] {
        let ignored = move |p: &Published| p.is_result() && p.connection <= 2 + usize::from(qos == 2);
        let extra = format!("qos = {qos}\nin_flight = 4\nkeep_alive_s = 5");
        let taken = harmed(true, &extra, move |p| if ignored(p) { Reply::Ignore } else { Reply::Take });
        assert_taken(&extra, taken, false);
    }
}

#[test]
fn a_broker_that_hangs_up_every_few_messages_gets_all_of_them() {
    for (session, qos) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
        for reply in [|| Reply::HangUp, || Reply::TakeAndHangUp] {
            let count = AtomicUsize::new(0);
            let policy = move |p: &Published| {
                let is_ninth = p.is_result() && count.fetch_add(1, SeqCst) % 9 == 8;
                if is_ninth && p.connection < 8 { reply() } else { Reply::Take }
            };
            let taken = harmed(session, &format!("qos = {qos}"), policy);
            assert_taken(&format!("{session} {qos}"), taken, qos == 1 || !session);
        }
    }
}

#[test]
fn a_connection_that_breaks_between_pubrec_and_pubcomp_costs_nothing() {
    for session in [true, false] {
        for reply in [|| Reply::HangUp, || Reply::TakeAndHangUp] {
            let breaks = |p: &Published| p.release && p.connection < 5 && p.is_result() && p.seq() % 7 == 6;
            let taken = harmed(session, "qos = 2", move |p| if breaks(p) { reply() } else { Reply::Take });
            assert_taken(&session.to_string(), taken, !session);
        }
    }
}

#[test]
fn acknowledgements_in_another_order_hold_up_nothing() {
    for qos in [1, 2] {
        let broken = AtomicBool::new(false);
        // After the break, messages come one at a time.
        let policy = move |p: &Published| {
            if p.release || !p.is_result() || broken.load(SeqCst) {
                return Reply::Take;
            }
            broken.store(p.seq() > 200, SeqCst);
            if broken.load(SeqCst) { Reply::HangUp } else { Reply::TakeLate }
        };
        let mut taken = harmed(true, &format!("qos = {qos}"), policy);
        // With QoS 2 a message is taken when it is released, in the order of PUBREC (MQTT 3.1.1, 4.6).
        taken.sort_by_key(Published::seq);
        assert_taken(&qos.to_string(), taken, qos == 1);
    }
}

#[test]
fn one_result_at_which_the_broker_hangs_up_is_given_up_and_the_others_arrive() {
    for session in [false, true] {
        let fatal = |p: &Published| p.is_result() && p.payload.contains("\"seq\":7,");
        let broker = PickyBroker::start(session, move |p| if fatal(p) { Reply::HangUp } else { Reply::Take });
        let folder = folder();
        // Every frame becomes a result.
        let running = Running::start(&mut command(&folder, broker.port, "&live=false", "qos = 1\nqueue = 100000"));
        let seqs = || broker.delivered().iter().filter(|p| p.is_result()).map(|p| p.seq()).collect::<BTreeSet<u64>>();
        wait_for("the others", || (seqs().len() > 40).then_some(()));
        running.signal(Signal::TERM);
        let outcome = running.finish();
        assert!(outcome.stderr.contains("MQTT: message dropped: 5 connections"), "{}", outcome.stderr);
        let expected: Vec<u64> = (0..30).filter(|seq| *seq != 7).collect();
        assert_eq!(seqs().into_iter().take(29).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_topic_at_which_the_broker_hangs_up_holds_up_no_other_and_is_counted() {
    let forbidden = |p: &Published| p.topic == "hardnetd/pi/yard/result";
    let broker = PickyBroker::start(true, move |p| if forbidden(p) { Reply::HangUp } else { Reply::Take });
    let folder = folder();
    let yard = "[[stream]]\nname = \"yard\"\nsource = \"test:ball?size=64x64&fps=5\"\n";
    let extra = format!("qos = 1\nqueue = 100000\n{yard}");
    let running = Running::start(&mut command(&folder, broker.port, "&fps=25", &extra));
    wait_for("the end of the trouble", || running.log().contains("further results to this topic").then_some(()));
    // Results of that topic that were under way may still end a connection.
    wait_for("100 results on one connection", || {
        let last = broker.connections();
        let results = broker.delivered().into_iter().filter(|p| p.connection == last && p.is_result()).count();
        (results > 100).then_some(())
    });
    running.signal(Signal::TERM);
    let outcome = running.finish();
    let taken = broker.delivered().into_iter().filter(Published::is_result).collect();
    assert_taken("door", taken, true);
    assert!(outcome.stderr.contains("results were lost"), "{}", outcome.stderr);
}

#[test]
fn a_broker_that_hangs_up_at_every_result_is_warned_of_with_the_likely_causes() {
    // Results exceed this size, states do not.
    let broker = Broker::start("allow_anonymous true\nmax_packet_size 200");
    let folder = folder();
    let running = daemon(&folder, broker.port, "qos = 1");
    wait_for("the end of the trouble", || running.log().contains("further results to this topic").then_some(()));
    let outcome = stop(running);
    let log = &outcome.stderr;
    assert!(log.contains("has closed 3 connections in a row"), "{log}");
    assert!(log.contains("acknowledged no result; the last message was"), "{log}");
    assert!(log.contains("maximum packet size"), "{log}");
    assert!(
        log.contains("MQTT: message dropped: 5 connections") && log.contains("topic=hardnetd/pi/door/result"),
        "{log}"
    );
    assert!(log.matches("MQTT connected").count() <= 2, "no news after that: {log}");
}

#[test]
fn a_broker_that_refuses_retained_messages_and_wills_gets_none() {
    let policy = |published: &Published| if published.retained { Reply::HangUp } else { Reply::Take };
    let broker = PickyBroker::start(false, policy);
    let folder = folder();
    let running = daemon(&folder, broker.port, "");
    wait_for("the setting", || running.log().contains("publish.mqtt.retain = false").then_some(()));
    assert!(broker.has_will());
    stop(running);
    let running = daemon(&folder, broker.port, "retain = false\nlast_will = false\n");
    let states = || {
        let delivered = broker.delivered();
        delivered.into_iter().filter(|published| !published.is_result()).map(|published| published.payload).collect()
    };
    wait_for("both states", || Some(states()).filter(|states: &Vec<String>| states.len() >= 3));
    assert!(!broker.has_will());
    stop(running);
    assert_eq!(states().last().unwrap(), "stopped");
}

#[test]
fn a_broker_without_qos_2_is_named_as_such() {
    let broker = PickyBroker::start(true, |published| if published.qos == 2 { Reply::HangUp } else { Reply::Take });
    let folder = folder();
    let running = daemon(&folder, broker.port, "qos = 2");
    wait_for("connections", || (broker.connections() > 5).then_some(()));
    let outcome = stop(running);
    assert!(outcome.stderr.contains("does not support QoS 2"), "{}", outcome.stderr);
}

#[test]
fn another_client_with_this_id_is_named_as_the_likely_cause() {
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &[]);
    // So few results that all are acknowledged when the other client connects.
    let running = Running::start(&mut command(&folder, broker.port, "&fps=2", "qos = 1"));
    for times in 1..=3 {
        online(&subscriber, times);
        let before = subscriber.results();
        wait_for("a result", || (subscriber.results() > before).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(100));
        take_over(broker.port, "hardnetd-pi", false);
    }
    online(&subscriber, 4);
    let outcome = stop(running);
    assert!(outcome.stderr.contains("most likely another client uses the client id hardnetd-pi"), "{}", outcome.stderr);
}

#[test]
fn what_is_lost_in_an_outage_is_told_at_its_end() {
    let mut broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &[]);
    let log = folder.path().join("log");
    let mut command = command(&folder, broker.port, "&fps=100", "qos = 1\nqueue = 1");
    let running = Running::start(command.stderr(fs::File::create(&log).unwrap()));
    let said = |text: &str| wait_for(text, || fs::read_to_string(&log).unwrap().contains(text).then_some(()));
    subscriber.wait("hardnetd/pi/door/result ");
    drop(subscriber);
    broker.stop();
    said("the MQTT queue is full");
    broker.restart();
    said("results were lost: publish.mqtt.queue was full");
    stop(running);
}

#[test]
fn results_that_are_not_acknowledged_at_the_end_are_an_error() {
    let broker = PickyBroker::start(true, |p| if p.is_result() { Reply::Ignore } else { Reply::Take });
    let sink = format!("mqtt://127.0.0.1:{}", broker.port);
    let mut command = hardnetd(["run", "--source", "test:ball?frames=10&live=false&size=64x64", "--sink", &sink]);
    let outcome = Running::start(command.env("HARDNETD__PUBLISH__MQTT__QOS", "1")).finish();
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("did not take 10 results"), "{}", outcome.stderr);
}

#[test]
fn a_broker_that_accepts_and_says_nothing_holds_up_no_stop() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let folder = folder();
    let running = daemon(&folder, silent.local_addr().unwrap().port(), "connect_timeout_s = 1");
    let mut accepted = Vec::new();
    for _ in 0..2 {
        accepted.push(silent.accept().unwrap());
    }
    let outcome = stop(running);
    assert!(outcome.stderr.contains("no connection, trying again: no answer from 127.0.0.1:"), "{}", outcome.stderr);
}

#[test]
fn after_a_kill_the_streams_states_are_set_right_before_the_device_is_online() {
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let stream = format!("[[stream]]\nname = \"yard\"\nsource = \"rtsp://127.0.0.1:{}/camera\"\n", free_port());
    let running = daemon(&folder, broker.port, &stream);
    wait_for("the state", || (retained(broker.port, "hardnetd/pi/door/status") == "1 online").then_some(()));
    running.signal(Signal::KILL);
    drop(running);
    wait_for("the will", || (retained(broker.port, "hardnetd/pi/status") == "1 offline").then_some(()));
    assert_eq!(retained(broker.port, "hardnetd/pi/door/status"), "1 online", "the will is the device's alone");

    let subscriber = Subscriber::start(broker.port, &[]);
    subscriber.wait("hardnetd/pi/status offline");
    let running = daemon(&folder, broker.port, &stream);
    online(&subscriber, 1);
    let fresh: Vec<String> =
        subscriber.lines().into_iter().filter_map(|line| line.strip_prefix("0 ").map(str::to_owned)).collect();
    let states = ["hardnetd/pi/door/status offline", "hardnetd/pi/yard/status offline", "hardnetd/pi/status online"];
    assert_eq!(fresh[..3], states);
    stop(running);
    assert_eq!(retained(broker.port, "hardnetd/pi/door/status"), "1 offline");
    assert_eq!(retained(broker.port, "hardnetd/pi/yard/status"), "1 offline");
    assert_eq!(retained(broker.port, "hardnetd/pi/status"), "1 stopped");
}

#[test]
fn a_run_that_lost_its_output_ends_with_that_error_and_the_states_in_order() {
    let broker = Broker::start("allow_anonymous true");
    let folder = folder();
    let subscriber = Subscriber::start(broker.port, &[]);
    let mut command = command(&folder, broker.port, "", "");
    command.args(["--frames", "10"]).env("HARDNETD__PUBLISH__STDOUT__ENABLED", "true");
    let (running, output) = Running::start_with_output(&mut command);
    drop(output);
    subscriber.wait("hardnetd/pi/door/status online");
    let outcome = running.finish();
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    subscriber.wait("hardnetd/pi/status stopped");
    assert_eq!(retained(broker.port, "hardnetd/pi/door/status"), "1 offline");
    assert_eq!(retained(broker.port, "hardnetd/pi/status"), "1 stopped");
}

/// What was only abandoned hides nothing that failed: the file stays damaged, and the broker may come back.
#[test]
fn a_damaged_picture_is_the_error_though_the_broker_is_away_too() {
    let folder = folder();
    fs::copy(data("photos/coffee.jpg"), folder.path().join("a.jpg")).unwrap();
    fs::write(folder.path().join("b.jpg"), "no picture").unwrap();
    let (source, sink) = (format!("images:{}", folder.path().display()), format!("mqtt://127.0.0.1:{}", free_port()));
    let outcome = run(["run", "--source", &source, "--size", "32x32", "--sink", &sink]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("did not reach the MQTT broker"), "{}", outcome.stderr);
}
