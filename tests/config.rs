//! The configuration, through the whole program: layers, checks, and the files that are shipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{Running, folder, hardnetd, run};
use hardnetd::config::{self, Config};

fn known(source: &str) -> Result<(), String> {
    hardnetd::capture::Source::parse(source).map(drop).map_err(|error| error.to_string())
}

fn show(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
    let mut command = hardnetd(["config", "show"].iter().chain(arguments));
    command.envs(environment.iter().copied());
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    toml::from_str(&outcome.stdout).unwrap()
}

#[test]
fn the_built_in_default_says_what_the_code_does() {
    let written: Config = toml::from_str(config::DEFAULT).unwrap();
    assert_eq!(written, Config::default());
    let printed = run(["config", "default"]);
    assert_eq!(printed.stdout, config::DEFAULT);
}

#[test]
fn the_built_in_default_shows_every_key_with_a_comment() {
    let all: toml::Table = toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
    let shown: toml::Table = toml::from_str(config::DEFAULT).unwrap();
    assert_eq!(all, shown, "a key is missing from configs/default.toml");
    let lines: Vec<&str> = config::DEFAULT.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(above.starts_with('#'), "no comment above: {line}");
        }
    }
}

#[test]
fn every_shipped_configuration_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let loaded = config::load(Some(&path), &[], &known);
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
        let comments = fs::read_to_string(&path).unwrap().lines().filter(|line| line.starts_with('#')).count();
        assert!(comments > 3, "{} explains itself", path.display());
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn later_layers_win() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    fs::write(&file, "[model]\nname = \"hardnet68\"\ntop = 2\n[inference]\nworkers = 3\n").unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/10-top.toml"), "[model]\ntop = 3\n").unwrap();
    fs::write(folder.path().join("conf.d/20-top.toml"), "[model]\ntop = 4\n").unwrap();
    fs::write(folder.path().join("conf.d/note.txt"), "not read").unwrap();
    let file = file.to_str().unwrap();
    let merged = show(&["-c", file], &[]);
    assert_eq!((merged.model.name.as_str(), merged.model.top, merged.inference.workers), ("hardnet68", 4, 3));
    let merged = show(
        &["-c", file],
        &[
            ("HARDNETD__MODEL__TOP", "7"),
            ("HARDNETD__INFERENCE__CORES", "0, 1,2"),
            ("HARDNETD__PUBLISH__MQTT__ENABLED", "true"),
            ("HARDNETD__PUBLISH__MQTT__USERNAME", "123"),
            ("HARDNETD__DEVICE__STOP_TIMEOUT_S", "2"),
        ],
    );
    assert_eq!((merged.model.top, merged.inference.cores), (7, vec![0, 1, 2]));
    assert_eq!((merged.publish.mqtt.enabled, merged.publish.mqtt.username.as_str()), (true, "123"));
    assert!((merged.device.stop_timeout_s - 2.0).abs() < f64::EPSILON);
}

#[test]
fn problems_of_all_layers_are_reported_together_with_their_origin() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    fs::write(&file, "[model]\ntop = 0\n").unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/a.toml"), "[devise]\n").unwrap();
    fs::write(folder.path().join("conf.d/b.toml"), "[publish\n").unwrap();
    let mut command = hardnetd(["config", "check", "-c", file.to_str().unwrap()]);
    command.env("HARDNETD__INFERENCE__WORKERS", "many");
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 78);
    for part in [
        "4 problems",
        "hardnetd.toml: model.top = 0: expected a whole number from 1 to 1000",
        "a.toml: devise: unknown key; did you mean 'device'?",
        "b.toml: ",
        "environment variable HARDNETD__INFERENCE__WORKERS: inference.workers = \"many\": expected a whole number",
    ] {
        assert!(outcome.stderr.contains(part), "{part:?} is not in: {}", outcome.stderr);
    }
}

#[test]
fn values_that_do_not_fit_together_are_reported() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    for (text, part) in [
        ("[[stream]]\nname = \"a\"\n[[stream]]\nname = \"a\"\n", "used twice"),
        ("[inference]\nworkers = 2\ncores = [0]\n", "1 cores for 2 workers"),
        ("[inference]\nthreads = 2\ncores = [0]\n", "1 cores for 1 workers of 2 threads: expected at least 2"),
        ("[inference]\nthreads = 2\nbackend = \"tract\"\n", "expected 1 with inference.backend = \"tract\""),
        ("[inference]\ncores = [0, 0]\n", "different whole numbers"),
        ("[publish.stdout]\nenabled = false\n", "nothing enabled"),
        ("stream = []\n", "at least one [[stream]]"),
        ("[publish.mqtt]\nca_file = \"a.pem\"\n", "publish.mqtt.tls = false: expected true, or no ca_file"),
        ("[publish.mqtt]\ndanger_accept_any_certificate = true\n", "or no danger_accept_any_certificate"),
        ("[publish.mqtt]\ntls = true\ncert_file = \"a.pem\"\n", "publish.mqtt.key_file = \"\""),
        ("[publish.mqtt]\ntls = true\nkey_file = \"a.key\"\n", "publish.mqtt.cert_file = \"\""),
        ("[publish.mqtt]\ntopic_prefix = \"a/#\"\n", "without '+', '#'"),
        ("[[stream]]\nname = \"a b\"\n", "expected 1 to 64 letters"),
        ("model = 3\n", "written [model]"),
        ("[stream]\nname = \"a\"\n", "[[stream]] sections"),
        ("[[stream]]\nrtsp_transport = \"smoke\"\n", "\"tcp\", \"udp\", \"auto\""),
    ] {
        fs::write(&file, text).unwrap();
        let outcome = run(["config", "check", "-c", file.to_str().unwrap()]);
        assert_eq!(outcome.code(), 78, "{text}");
        assert!(outcome.stderr.contains(part), "{part:?} is not in: {}", outcome.stderr);
    }
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    fs::write(&file, "[[stream]]\nname = \"a\"\nsource = \"rtsp://me:secret@camera/1\"\n").unwrap();
    let outcome = run(["config", "show", "-c", file.to_str().unwrap()]);
    assert!(outcome.stdout.contains("rtsp://me:***@camera/1"));
    assert!(!outcome.stdout.contains("secret"));
    fs::write(&file, "[[stream]]\nname = \"a\"\nsource = \"rtmp://me:secret@camera/1\"\n").unwrap();
    let outcome = run(["config", "check", "-c", file.to_str().unwrap()]);
    assert_eq!(outcome.code(), 78);
    assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
}
