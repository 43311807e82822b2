//! A network camera over TLS: a real RTSP server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/rtsp.rs"]
mod server;

use std::path::Path;

use common::tls::{Authority, sign_itself};
use common::{Outcome, Running, folder, hardnetd};

const VIDEO: &str = "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 )";

/// A camera with the certificate `name` of `folder`, whose login is in the address.
fn camera(folder: &Path, name: &str) -> String {
    server::serve_encrypted(VIDEO, &folder.join(name), ("me", "p4ss")).replace("rtsps://", "rtsps://me:p4ss@")
}

/// What `command` says of `source`, of which the configuration also has `keys`.
fn of(folder: &Path, command: &[&str], source: &str, keys: &str) -> Outcome {
    let path = folder.join("hardnetd.toml");
    std::fs::write(&path, format!("[[stream]]\nname = \"nvr\"\nsource = \"{source}\"\nretry_max_s = 0\n{keys}"))
        .unwrap();
    let arguments = command.iter().copied().chain(["-c", path.to_str().unwrap()]);
    Running::start(&mut hardnetd(arguments)).finish()
}

fn run(folder: &Path, source: &str, keys: &str) -> Outcome {
    of(folder, &["run", "--frames", "5"], source, keys)
}

fn ca_file(folder: &Path, name: &str) -> String {
    format!("ca_file = \"{}\"\n", folder.join(name).with_extension("pem").display())
}

#[test]
fn a_camera_over_tls_gives_results_if_its_authority_is_known() {
    let folder = folder();
    let folder = folder.path();
    let authority = Authority::new(folder, "authority");
    authority.sign("good", &["127.0.0.1"], -1..90);
    authority.sign("elsewhere", &["nvr.example"], -1..90);
    authority.sign("old", &["127.0.0.1"], -90..-5);
    Authority::new(folder, "other");
    let (known, other) = (ca_file(folder, "authority"), ca_file(folder, "other"));

    let source = camera(folder, "good");
    assert_eq!(run(folder, &source, &known).records().len(), 5);
    let doctor = of(folder, &["doctor", "--timeout", "60"], &source, &known);
    assert!(doctor.stdout.contains("RTSP/1.0 200 OK), certificate valid until 20"), "{}", doctor.stdout);

    for (name, keys, faults) in [
        ("good", &other, "no trusted authority has signed it"),
        ("good", &String::new(), "no trusted authority has signed it"),
        ("elsewhere", &known, "it is for another name"),
        ("old", &known, "it has expired"),
    ] {
        let source = if name == "good" { source.clone() } else { camera(folder, name) };
        let outcome = run(folder, &source, keys);
        assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
        for part in [faults, &format!("subject CN={name}"), "issuer CN=authority authority", "stream.ca_file"] {
            assert!(outcome.message().contains(part), "{name}: {part} is not in {}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("p4ss"), "{}", outcome.stderr);
    }
}

#[test]
fn a_camera_that_signs_itself_for_another_name_is_accepted_by_its_own_certificate_only() {
    let folder = folder();
    let folder = folder.path();
    sign_itself(folder, "nvr", &["nvr.local"]);
    sign_itself(folder, "forged", &["nvr.local"]);
    let source = camera(folder, "nvr");

    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(folder.join("nvr.pem"))
        .output()
        .unwrap();
    let fingerprint = String::from_utf8(openssl.stdout).unwrap();
    let fingerprint = fingerprint.trim().split_once('=').unwrap().1;
    let untrusted = ["no trusted authority has signed it", "subject CN=nvr", "issuer CN=nvr", fingerprint];

    let outcome = run(folder, &source, "");
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    let doctor = of(folder, &["doctor", "--timeout", "60"], &source, "");
    assert_eq!(doctor.code(), 69, "{}", doctor.stderr);
    let remedies = ["openssl s_client -connect 127.0.0.1:", "stream.ca_file", "danger_accept_any_certificate"];
    for part in untrusted.iter().chain(&remedies) {
        assert!(outcome.message().contains(part), "{part} is not in {}", outcome.stderr);
        assert!(doctor.stdout.contains(part), "{part} is not in {}", doctor.stdout);
    }

    assert_eq!(run(folder, &source, &ca_file(folder, "nvr")).records().len(), 5);
    let outcome = run(folder, &source, &ca_file(folder, "forged"));
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);

    let outcome = run(folder, &source, "danger_accept_any_certificate = true\n");
    assert_eq!(outcome.records().len(), 5);
    assert!(outcome.stderr.contains("is not checked: whoever sits in between"), "{}", outcome.stderr);
    let doctor = of(folder, &["doctor", "--timeout", "60"], &source, "danger_accept_any_certificate = true\n");
    assert!(doctor.stdout.contains("RTSP/1.0 200 OK"), "{}", doctor.stdout);
}

#[test]
fn a_certificate_that_is_replaced_while_the_camera_is_away_counts_at_the_next_attempt() {
    let folder = folder();
    let folder = folder.path();
    sign_itself(folder, "nvr", &["nvr.local"]);
    sign_itself(folder, "pinned", &["nvr.local"]);
    let source = camera(folder, "nvr");
    let path = folder.join("hardnetd.toml");
    let pinned = ca_file(folder, "pinned");
    let text = format!("[[stream]]\nname = \"nvr\"\nsource = \"{source}\"\nretry_max_s = 0.2\n{pinned}");
    std::fs::write(&path, text).unwrap();
    let running = Running::start(&mut hardnetd(["run", "--frames", "5", "-c", path.to_str().unwrap()]));
    common::wait_for("the refusal", || running.log().contains("is not trusted").then_some(()));
    std::fs::copy(folder.join("nvr.pem"), folder.join("pinned.pem")).unwrap();
    assert_eq!(running.finish().records().len(), 5);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = folder();
    let folder = folder.path();
    sign_itself(folder, "nvr", &["nvr.local"]);
    let check = |source: &str, keys: &str| of(folder, &["config", "check"], source, keys);
    let outcome = check("rtsp://nvr/1", &ca_file(folder, "nvr"));
    assert_eq!(outcome.code(), 78, "{}", outcome.stderr);
    let part = "nvr.pem\": only for sources with rtsps:// and https://, and this one is \"rtsp://nvr/1\"; leave it out";
    assert!(outcome.stderr.contains("stream[0].ca_file = ") && outcome.stderr.contains(part), "{}", outcome.stderr);
    std::fs::write(folder.join("empty.pem"), "no certificate\n").unwrap();
    let outcome = check("rtsps://nvr/1", &ca_file(folder, "empty"));
    assert_eq!(outcome.code(), 78, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("stream[0].ca_file") && outcome.stderr.contains("no certificate in it"));
    let outcome = check("rtsps://nvr/1", "[stream.rtsp]\ntransport = \"udp\"\n");
    assert!(outcome.stderr.contains("the pictures of rtsps://nvr/1 are not encrypted"), "{}", outcome.stderr);

    // A camera without TLS at that port.
    let plain = server::serve(VIDEO).replace("rtsp://", "rtsps://");
    let outcome = of(folder, &["doctor", "--timeout", "60"], &plain, "");
    assert!(outcome.stdout.contains("TLS fails: ") && outcome.stdout.contains("check scheme and port"));
    assert_eq!(run(folder, &plain, "").code(), 69);
}
