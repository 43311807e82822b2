//! Results over TLS, to a real Mosquitto: trusted and not, with a client certificate and without.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::broker::Broker;
use common::subscriber::Subscriber;
use common::tls::{Authority, listener};
use common::{LONG_STOP, Outcome, Running, folder, hardnetd, wait_for};
use rustix::process::Signal;

/// `key = "FILE"` with a file of `folder`.
fn file(folder: &Path, key: &str, name: &str) -> String {
    format!("{key} = \"{}\"\n", folder.join(name).display())
}

fn daemon(folder: &Path, port: u16, extra: &str) -> Running {
    let path = folder.join("hardnetd.toml");
    let text = format!(
        "[device]\nname = \"pi\"\nstop_timeout_s = {LONG_STOP}\n[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64\"\n\
         [publish.stdout]\nenabled = false\n\
         [publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\nretry_max_s = 1.0\ntls = true\n{extra}\n"
    );
    fs::write(&path, text).unwrap();
    Running::start(&mut hardnetd(["run", "-c", path.to_str().unwrap()]))
}

fn stop(running: Running) -> Outcome {
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

/// Waits until the broker's log contains `text` that many times.
fn logged(broker: &Broker, text: &str, times: usize) {
    let log = || fs::read_to_string(broker.folder.path().join("mosquitto.log")).unwrap();
    wait_for(text, || (log().matches(text).count() >= times).then_some(()));
}

#[test]
fn results_reach_a_broker_whose_authority_is_known() {
    let folder = folder();
    let folder = folder.path();
    Authority::new(folder, "authority").sign("broker", &["127.0.0.1"], -1..90);
    let broker = Broker::start(&listener(folder, "broker"));
    let authority = folder.join("authority.pem");
    let subscriber = Subscriber::start(broker.port, &["--cafile", authority.to_str().unwrap()]);
    let running = daemon(folder, broker.port, &file(folder, "ca_file", "authority.pem"));
    let record = subscriber.wait("hardnetd/pi/door/result ");
    assert_eq!(common::records(&record)[0]["stream"], "door");
    stop(running);
    subscriber.wait("hardnetd/pi/status stopped");
}

#[test]
fn a_sink_over_tls_is_given_on_the_command_line_too() {
    let folder = folder();
    let folder = folder.path();
    Authority::new(folder, "authority").sign("broker", &["127.0.0.1"], -1..90);
    let broker = Broker::start(&listener(folder, "broker"));
    let authority = folder.join("authority.pem");
    let sink = format!("mqtts://127.0.0.1:{}", broker.port);
    let mut command = hardnetd(["run", "--source", "test:ball?frames=5&live=false&size=64x64", "--sink", &sink]);
    // If set, this variable names the system's authorities.
    let outcome = Running::start(command.env("SSL_CERT_FILE", authority).env_remove("SSL_CERT_DIR")).finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    logged(&broker, "New client connected", 1);
}

#[test]
fn a_broker_that_is_not_believed_gets_nothing_unless_any_is() {
    let folder = folder();
    let folder = folder.path();
    Authority::new(folder, "authority").sign("broker", &["127.0.0.1"], -1..90);
    Authority::new(folder, "other");
    let broker = Broker::start(&listener(folder, "broker"));
    let running = daemon(folder, broker.port, &file(folder, "ca_file", "other.pem"));
    // By the second attempt, the daemon has reported the first.
    logged(&broker, "alert unknown ca", 2);
    let outcome = stop(running);
    assert!(outcome.stderr.contains("not signed by a trusted authority; name the certificate"), "{}", outcome.stderr);
    let reached = format!("did not reach the MQTT broker: 127.0.0.1:{} was reached, and TLS failed: ", broker.port);
    assert!(outcome.stderr.contains(&reached), "{}", outcome.stderr);
    let log = fs::read_to_string(broker.folder.path().join("mosquitto.log")).unwrap();
    assert!(!log.contains("hardnetd-pi"), "{log}");

    let authority = folder.join("authority.pem");
    let subscriber = Subscriber::start(broker.port, &["--cafile", authority.to_str().unwrap()]);
    let running = daemon(folder, broker.port, "danger_accept_any_certificate = true");
    subscriber.wait("hardnetd/pi/door/result ");
    stop(running);
}

#[test]
fn a_broker_that_wants_a_certificate_gets_the_configured_one() {
    let folder = folder();
    let folder = folder.path();
    let authority = Authority::new(folder, "authority");
    authority.sign("broker", &["127.0.0.1"], -1..90);
    authority.sign("device", &["pi"], -1..90);
    let broker = Broker::start(&format!("{}\nrequire_certificate true", listener(folder, "broker")));
    let known = file(folder, "ca_file", "authority.pem");

    let running = daemon(folder, broker.port, &known);
    logged(&broker, "did not return a certificate", 2);
    let outcome = stop(running);
    let told = "rejects this device's certificate, or requires one";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);

    let own = known + &file(folder, "cert_file", "device.pem") + &file(folder, "key_file", "device.key");
    let running = daemon(folder, broker.port, &own);
    logged(&broker, "as hardnetd-pi", 1);
    stop(running);
}

#[test]
fn files_that_are_no_certificates_and_keys_are_named_and_nothing_starts() {
    let folder = folder();
    let folder = folder.path();
    let authority = Authority::new(folder, "authority");
    authority.sign("device", &["pi"], -1..90);
    authority.sign("another", &["pi"], -1..90);
    fs::write(folder.join("text.pem"), "no certificate\n").unwrap();
    fs::write(folder.join("empty.pem"), "\n").unwrap();
    fs::write(folder.join("cut.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    fs::write(folder.join("nonsense.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(folder.join("locked.key"), locked).unwrap();
    let ca = |name| file(folder, "ca_file", name);
    let own = |key| ca("authority.pem") + &file(folder, "cert_file", "device.pem") + &file(folder, "key_file", key);
    for (extra, parts) in [
        (ca("nowhere.pem"), ["publish.mqtt.ca_file", "nowhere.pem"]),
        (ca("text.pem"), ["text.pem: no certificate in it", "expected a certificate in PEM form"]),
        (ca("empty.pem"), ["publish.mqtt.ca_file", "is empty"]),
        (ca("cut.pem"), ["publish.mqtt.ca_file", "cut.pem"]),
        (ca("nonsense.pem"), ["publish.mqtt.ca_file", "nonsense.pem"]),
        (own("nowhere.key"), ["publish.mqtt.key_file", "nowhere.key"]),
        (own("device.pem"), ["publish.mqtt.key_file", "no key in it"]),
        (own("locked.key"), ["locked.key: the key is encrypted", "without a password"]),
        (own("another.key"), ["publish.mqtt.key_file is not the key", "publish.mqtt.cert_file"]),
    ] {
        let outcome = daemon(folder, 1, &extra).finish();
        assert_eq!(outcome.code(), 78, "{extra}: {}", outcome.stderr);
        for part in parts {
            assert!(outcome.message().contains(part), "{part} is not in {}", outcome.stderr);
        }
    }
}
