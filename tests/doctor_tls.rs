//! The findings of `hardnetd doctor` about a broker's certificate, with a real Mosquitto.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::broker::Broker;
use common::tls::{Authority, listener, sign_itself};
use common::{Outcome, Running, data, folder, hardnetd};

fn doctor(folder: &Path, port: u16, extra: &str) -> Outcome {
    let path = folder.join("hardnetd.toml");
    let text = format!("[publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\n{extra}\n");
    fs::write(&path, text).unwrap();
    Running::start(&mut hardnetd(["doctor", "--timeout", "60", "-c", path.to_str().unwrap()])).finish()
}

/// Asserts that the line about `name` of the broker is in `state` and contains all of `parts`.
#[track_caller]
fn says(outcome: &Outcome, name: &str, state: &str, parts: &[&str]) {
    let start = format!("{state}\tbroker\t{name}\t");
    let line = outcome.stdout.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no {start:?} in {}{}", outcome.stdout, outcome.stderr));
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

#[test]
fn a_certificate_is_told_to_be_good_old_young_of_another_or_of_nobody() {
    let folder = folder();
    let folder = folder.path();
    let authority = Authority::new(folder, "authority");
    authority.sign("good", &["127.0.0.1"], -1..90);
    authority.sign("ending", &["127.0.0.1"], -90..5);
    authority.sign("old", &["127.0.0.1"], -90..-5);
    authority.sign("young", &["127.0.0.1"], 5..90);
    authority.sign("elsewhere", &["broker.example"], -1..90);
    Authority::new(folder, "other").sign("unknown", &["127.0.0.1"], -1..90);
    for name in ["version1.pem", "version1.key"] {
        fs::copy(data("tls").join(name), folder.join(name)).unwrap();
    }
    let known = format!("tls = true\nca_file = \"{}\"", folder.join("authority.pem").display());
    let of = |name: &str| {
        let broker = Broker::start(&listener(folder, name));
        doctor(folder, broker.port, &known)
    };

    let outcome = of("good");
    says(&outcome, "certificate", "ok", &["valid until 20", "89 days"]);
    says(&outcome, "encryption", "ok", &["TLS"]);
    says(&outcome, "login", "ok", &["accepted"]);
    says(&of("ending"), "certificate", "warning", &["4 days", "renew"]);
    for (name, parts) in [
        ("old", ["has expired (20", "renew it there"]),
        ("young", ["is not valid yet (20", "clock"]),
        ("elsewhere", ["is for broker.example", "set publish.mqtt.host to that name"]),
        ("unknown", ["not signed by a trusted authority", "publish.mqtt.ca_file"]),
        ("authority", ["is that of an authority", "basicConstraints = CA:FALSE"]),
        ("version1", ["has X.509 version 1", "subjectAltName"]),
    ] {
        let outcome = of(name);
        assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
        says(&outcome, "certificate", "error", &parts);
        says(&outcome, "login", "info", &["not tried"]);
    }
    // A certificate that signs itself is its own authority.
    sign_itself(folder, "itself", &["127.0.0.1"]);
    let broker = Broker::start(&listener(folder, "itself"));
    let own = format!("tls = true\nca_file = \"{}\"", folder.join("itself.pem").display());
    says(&doctor(folder, broker.port, &own), "login", "ok", &["accepted"]);
}

#[test]
fn tls_where_there_is_none_and_none_where_there_is_are_told() {
    let folder = folder();
    let folder = folder.path();
    Authority::new(folder, "authority").sign("broker", &["127.0.0.1"], -1..90);
    let known = format!("tls = true\nca_file = \"{}\"", folder.join("authority.pem").display());
    let plain = Broker::start("allow_anonymous true");
    let outcome = doctor(folder, plain.port, &known);
    says(&outcome, "login", "error", &["hangs up", "MQTT over TLS (usually 8883)"]);
    says(&outcome, "certificate", "info", &["not known"]);

    let broker = Broker::start(&listener(folder, "broker"));
    let outcome = doctor(folder, broker.port, "");
    says(&outcome, "login", "error", &["MQTT without TLS (usually 1883)"]);
    says(&outcome, "encryption", "ok", &["none (publish.mqtt.tls = false)"]);
    let outcome = doctor(folder, broker.port, "tls = true\ndanger_accept_any_certificate = true");
    says(&outcome, "login", "ok", &["accepted"]);
    says(&outcome, "certificate", "warning", &["not checked"]);
    let outcome = doctor(folder, broker.port, "tls = true\nca_file = \"/nowhere.pem\"");
    says(&outcome, "login", "error", &["publish.mqtt.ca_file", "PEM files that it can read"]);
}

#[test]
fn a_broker_that_wants_a_certificate_is_told_from_one_that_does_not() {
    let folder = folder();
    let folder = folder.path();
    let authority = Authority::new(folder, "authority");
    authority.sign("broker", &["127.0.0.1"], -1..90);
    authority.sign("device", &["pi"], -1..90);
    let broker = Broker::start(&format!("{}\nrequire_certificate true", listener(folder, "broker")));
    let known = format!("tls = true\nca_file = \"{}\"", folder.join("authority.pem").display());
    let outcome = doctor(folder, broker.port, &known);
    says(&outcome, "certificate", "error", &["rejects this device's certificate", "publish.mqtt.cert_file"]);
    let path = |name: &str| folder.join(name).display().to_string();
    let own = format!("{known}\ncert_file = \"{}\"\nkey_file = \"{}\"", path("device.pem"), path("device.key"));
    says(&doctor(folder, broker.port, &own), "login", "ok", &["accepted"]);
}
