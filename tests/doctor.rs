//! `hardnetd doctor` on this machine, and with everything wrong that a test can make wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use common::broker::Broker;
use common::preload::library;
use common::{Outcome, Running, folder, free_port, hardnetd, run, wait_for};
use serde_json::Value;
use tempfile::TempDir;

/// The program's output for `config`, with `extra` arguments.
fn doctor(folder: &TempDir, config: &str, extra: &[&str]) -> Outcome {
    Running::start(&mut command(folder, config, extra)).finish()
}

fn command(folder: &TempDir, config: &str, extra: &[&str]) -> Command {
    let path = folder.path().join("hardnetd.toml");
    fs::write(&path, config).unwrap();
    let mut command = hardnetd(["doctor", "-c", path.to_str().unwrap()]);
    command.args(if extra.contains(&"--timeout") { &[][..] } else { &["--timeout", "60"] }).args(extra);
    command
}

/// The report, checked against its schema.
fn report(outcome: &Outcome) -> Value {
    let schema = include_str!("../assets/hardnetd.doctor.v1.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {}", outcome.stderr));
    if let Err(error) = schema.validate(&report) {
        panic!("{error}: {report:#}");
    }
    report
}

/// The check `name` of `area`.
fn check<'a>(report: &'a Value, area: &str, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["area"] == area && check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// Asserts that the only line of `area` and `name` is in `state` and contains all of `parts`.
#[track_caller]
fn says(outcome: &Outcome, area: &str, name: &str, state: &str, parts: &[&str]) {
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    let lines = outcome.stdout.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let lines: Vec<Vec<&str>> = lines.filter(|fields| fields[1..3] == [area, name]).collect();
    let [line] = lines.as_slice() else { panic!("{area} {name}: {}{}", outcome.stdout, outcome.stderr) };
    assert_eq!(line[0], state, "{line:?}");
    for part in parts {
        assert!(line[3..].iter().any(|field| field.contains(part)), "{part:?} is not in {line:?}");
    }
}

fn stream(source: &str) -> String {
    format!("[[stream]]\nname = \"door\"\nsource = \"{source}\"\n")
}

fn mqtt(port: u16, more: &str) -> String {
    format!("[publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\n{more}\n")
}

#[test]
fn this_machine_is_reported_as_it_is() {
    let folder = folder();
    let outcome = doctor(&folder, &stream("test:ball"), &["--json"]);
    let report = report(&outcome);
    let errors = report["counts"]["error"].as_u64().unwrap();
    assert_eq!(outcome.code(), if errors == 0 { 0 } else { 69 }, "{report:#}");
    let found = |area, name| check(&report, area, name)["found"].as_str().unwrap();

    assert!(found("program", "hardnetd").starts_with(env!("CARGO_PKG_VERSION")));
    let isa = hardnetd::kernels::Isa::best();
    assert!(found("program", "instructions").starts_with(&format!("{isa}; ")), "{report:#}");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(found("program", "system").contains(kernel.trim()), "{report:#}");

    let gstreamer = Command::new("gst-launch-1.0").arg("--version").output().unwrap();
    let gstreamer = String::from_utf8(gstreamer.stdout).unwrap();
    let version = gstreamer.lines().find(|line| line.starts_with("GStreamer ")).unwrap();
    assert_eq!(found("gstreamer", "version"), version);
    assert_eq!(found("gstreamer", "elements"), "appsink, videoconvert, videotestsrc");
    for (coding, decoder) in [("H.264", "avdec_h264"), ("JPEG", "jpegdec")] {
        let installed = Command::new("gst-inspect-1.0").args(["--exists", decoder]).status().unwrap().success();
        assert_eq!(found("gstreamer", coding).contains(decoder), installed, "{report:#}");
    }

    let videos =
        fs::read_dir("/dev").unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with("video"));
    let state = &check(&report, "devices", "cameras and codecs")["state"];
    assert_eq!(videos.count() == 0, state == "absent", "{report:#}");
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).count();
    let online = found("cores", "online");
    assert!(online.split_whitespace().next().unwrap().parse::<usize>().unwrap() >= cores, "{online}");

    assert!(found("configuration", "files").ends_with("hardnetd.toml"));
    assert!(found("model", "signal").starts_with("sha256:"), "{report:#}");
    assert!(found("model", "signal").contains("27 classes, input 128x128, 0.8 M parameters"), "{report:#}");
    assert_eq!(found("model", "backend"), format!("native/{isa}"));
    assert_eq!(check(&report, "model", "training")["state"], "ok");
    assert_eq!(found("streams", "door"), "test:ball, a test pattern");
    assert_eq!(check(&report, "broker", "broker")["state"], "absent");
    assert_eq!(check(&report, "sandbox", "runs as")["state"], "info");
    let year = &found("clock", "time")[..4];
    assert!(year.parse::<u32>().unwrap() >= 2026, "{year}");
}

#[test]
fn a_pipe_gets_a_line_of_five_fields_for_each_check() {
    let folder = folder();
    let outcome = doctor(&folder, &stream("test:ball"), &[]);
    for line in outcome.stdout.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 5, "{line}");
        assert!(["ok", "info", "absent", "warning", "error"].contains(&fields[0]), "{line}");
        let wants_remedy = ["warning", "error"].contains(&fields[0]);
        assert!(!wants_remedy || !fields[4].is_empty(), "{line}");
    }
    let areas: Vec<&str> = outcome.stdout.lines().map(|line| line.split('\t').nth(1).unwrap()).collect();
    for area in [
        "configuration",
        "program",
        "gstreamer",
        "devices",
        "cores",
        "sensors",
        "model",
        "streams",
        "broker",
        "clock",
        "storage",
        "sandbox",
    ] {
        assert!(areas.contains(&area), "{area}: {}", outcome.stdout);
    }
}

#[test]
fn a_wrong_configuration_is_told_in_full_and_the_machine_all_the_same() {
    let folder = folder();
    let config =
        "[model]\ntop = 0\n[inference]\nwrokers = 2\n[[stream]]\nname = \"a\"\nsource = \"ftp://me:hunter2@x\"\n";
    let outcome = doctor(&folder, config, &["--json"]);
    assert_eq!(outcome.code(), 78, "{}", outcome.stderr);
    assert!(outcome.message().contains("3 of "), "{}", outcome.stderr);
    assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("hunter2"), "{}", outcome.stdout);
    let report = report(&outcome);
    for (key, part) in
        [("model.top", "expected a whole number"), ("inference.wrokers", "'workers'"), ("stream[0].source", "'ftp:'")]
    {
        let found = check(&report, "configuration", key);
        assert_eq!(found["state"], "error");
        assert!(found["found"].as_str().unwrap().contains(part), "{found:#}");
    }
    assert_eq!(check(&report, "model", "model")["state"], "info");
    assert_eq!(check(&report, "program", "hardnetd")["state"], "ok");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let outcome = run(["doctor", "-c", "/nowhere/hardnetd.toml"]);
    assert_eq!(outcome.code(), 78);
    says(&outcome, "configuration", "files", "error", &["/nowhere/hardnetd.toml", "No such file"]);
}

#[test]
fn a_model_that_is_missing_or_damaged_is_named() {
    let folder = folder();
    let outcome = doctor(&folder, "[model]\nname = \"nowhere.safetensors\"\n", &[]);
    assert_eq!(outcome.code(), 69);
    says(&outcome, "model", "nowhere.safetensors", "error", &["there is no such file", "check model.name"]);
    let damaged = folder.path().join("damaged.safetensors");
    fs::write(&damaged, "this is no model").unwrap();
    let name = damaged.to_str().unwrap();
    let outcome = doctor(&folder, &format!("[model]\nname = \"{name}\"\n"), &[]);
    assert_eq!(outcome.code(), 69);
    says(&outcome, "model", name, "error", &["hardnetd model info"]);
    let outcome = doctor(&folder, "[model]\nlabels = \"/nowhere/labels.txt\"\n", &[]);
    says(&outcome, "model", "signal", "error", &["/nowhere/labels.txt", "model.labels"]);
}

#[test]
fn a_broker_that_is_there_accepts_and_is_left_as_it_was() {
    let folder = folder();
    let broker = Broker::start("allow_anonymous true\nlog_type all");
    let outcome = doctor(&folder, &mqtt(broker.port, "[device]\nname = \"pi\""), &[]);
    says(&outcome, "broker", "connection", "ok", &[&broker.port.to_string()]);
    says(&outcome, "broker", "login", "ok", &["accepted without a user name"]);
    says(&outcome, "broker", "encryption", "ok", &["publish.mqtt.tls = false", "nothing leaves this machine"]);
    let log = || fs::read_to_string(broker.folder.path().join("mosquitto.log")).unwrap();
    let left =
        || log().lines().any(|l| l.contains("Client hardnetd-doctor-") && l.ends_with(" disconnected.")).then_some(());
    wait_for("the end of the connection", left);
    assert!(!log().contains("PUBLISH"), "{}", log());
    says(&outcome, "broker", "client id", "ok", &["hardnetd-pi; nobody is online at hardnetd/pi/status"]);
}

#[test]
fn a_device_of_the_same_name_that_is_online_is_told() {
    let folder = folder();
    let broker = Broker::start("allow_anonymous true\nlog_type all");
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-r", "-t", "hardnetd/pi/status", "-m", "online"]);
    assert!(publish.status().unwrap().success());
    let outcome = doctor(&folder, &mqtt(broker.port, "[device]\nname = \"pi\""), &[]);
    let line = outcome.stdout.lines().find(|line| line.contains("\tbroker\tclient id\t")).unwrap();
    // On this machine a daemon may be running or not.
    assert!(line.contains("hardnetd-pi; hardnetd/pi/status is online") && line.contains(" runs here"), "{line}");
    let log = fs::read_to_string(broker.folder.path().join("mosquitto.log")).unwrap();
    assert!(!log.contains("as hardnetd-pi"), "it does not take the id: {log}");
}

#[test]
fn a_broker_that_refuses_the_login_is_told_from_one_that_is_away() {
    let folder = folder();
    let users = folder.path().join("users");
    let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&users).args(["me", "right"]).status().unwrap();
    assert!(made.success());
    fs::set_permissions(&users, fs::Permissions::from_mode(0o644)).unwrap();
    // Mosquitto drops to its own user, which must be able to read the file.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut broker = Broker::start(&format!("allow_anonymous false\npassword_file {}\nuser root", users.display()));
    let password = folder.path().join("password");
    let login = format!("username = \"me\"\npassword_file = \"{}\"", password.display());

    let outcome = doctor(&folder, &mqtt(broker.port, ""), &[]);
    assert_eq!(outcome.code(), 69);
    says(
        &outcome,
        "broker",
        "login",
        "error",
        &["not authorised", "without a user name", "the broker requires a login"],
    );

    fs::write(&password, "wr0ng\n").unwrap();
    let outcome = doctor(&folder, &mqtt(broker.port, &login), &[]);
    says(&outcome, "broker", "login", "error", &["refuses the login", "for user me", "check publish.mqtt.username"]);
    assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("wr0ng"));

    fs::write(&password, "right\n").unwrap();
    says(&doctor(&folder, &mqtt(broker.port, &login), &[]), "broker", "login", "ok", &["for user me"]);

    fs::remove_file(&password).unwrap();
    let outcome = doctor(&folder, &mqtt(broker.port, &login), &[]);
    says(&outcome, "broker", "login", "error", &["publish.mqtt.password_file", "LoadCredential="]);

    // Only the service has its credentials.
    let outcome = doctor(&folder, &mqtt(broker.port, "username = \"me\"\npassword_file = \"mqtt-password\""), &[]);
    says(&outcome, "broker", "login", "warning", &["mqtt-password", "LoadCredential="]);

    broker.stop();
    let outcome = doctor(&folder, &mqtt(broker.port, ""), &[]);
    assert_eq!(outcome.code(), 69);
    says(&outcome, "broker", "connection", "error", &["nothing listens at 127.0.0.1", "start the broker"]);
}

#[test]
fn a_broker_whose_name_is_not_known_is_told() {
    let config = "[publish.mqtt]\nenabled = true\nhost = \"nothing-of-that-name.invalid\"\n";
    let outcome = doctor(&folder(), config, &["--timeout", "3"]);
    assert_eq!(outcome.code(), 69);
    says(&outcome, "broker", "connection", "error", &["nothing-of-that-name.invalid", "check publish.mqtt.host"]);
}

#[test]
fn what_listens_and_is_no_broker_is_given_up_in_time() {
    let folder = folder();
    let serve = |answer: Option<&'static [u8]>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                match answer {
                    None => silent.push(connection),
                    Some(answer) => {
                        // Unread data turns the close into a reset, which may overtake an answer.
                        let length = if answer.is_empty() { 8 } else { 4096 };
                        let _ = connection.read(&mut vec![0; length]);
                        let _ = connection.write_all(answer);
                    }
                }
            }
        });
        port
    };
    let outcome = doctor(&folder, &mqtt(serve(None), ""), &["--timeout", "2.5"]);
    says(&outcome, "broker", "login", "error", &["does not answer within 2.5 s", "1883"]);
    let outcome = doctor(&folder, &mqtt(serve(Some(b"")), ""), &[]);
    says(&outcome, "broker", "login", "error", &["hangs up instead of answering"]);
    let outcome = doctor(&folder, &mqtt(serve(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")), ""), &[]);
    says(&outcome, "broker", "login", "error", &["does not speak MQTT"]);

    let camera = |port: u16| stream(&format!("rtsp://me:hunter2@127.0.0.1:{port}/1"));
    let outcome = doctor(&folder, &camera(serve(None)), &["--timeout", "2.5"]);
    says(&outcome, "streams", "door", "error", &["does not answer within 2.5 s", "me:***@127.0.0.1"]);
    let outcome = doctor(&folder, &camera(serve(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"))), &[]);
    says(&outcome, "streams", "door", "error", &["does not speak RTSP", "554"]);
    let outcome = doctor(&folder, &camera(serve(Some(b""))), &[]);
    says(&outcome, "streams", "door", "error", &["hangs up"]);
    let outcome = doctor(&folder, &camera(free_port()), &[]);
    assert_eq!(outcome.code(), 69);
    says(&outcome, "streams", "door", "error", &["nothing listens at 127.0.0.1", "start the camera"]);
    assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("hunter2"), "{}", outcome.stdout);
    let outcome = doctor(&folder, &stream("rtsp://camera:99999/1"), &[]);
    says(&outcome, "configuration", "stream[0].source", "error", &["the port from 1 to 65535"]);
}

#[test]
fn files_and_folders_of_streams_are_looked_at() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let of = |source: &str| doctor(&folder, &stream(source), &[]);
    says(
        &of("/nowhere/clip.mp4"),
        "streams",
        "door",
        "error",
        &["/nowhere/clip.mp4", "No such file", "does not see /tmp"],
    );
    fs::write(path("empty.mp4"), "").unwrap();
    says(&of(&path("empty.mp4")), "streams", "door", "error", &["is empty"]);
    assert!(Command::new("mkfifo").arg(path("pipe.mp4")).status().unwrap().success());
    says(&of(&path("pipe.mp4")), "streams", "door", "error", &["not a regular file"]);
    fs::write(path("clip.mp4"), "x".repeat(100_000)).unwrap();
    says(&of(&path("clip.mp4")), "streams", "door", "ok", &["0.1 MB"]);
    says(&of("images:/nowhere"), "streams", "door", "error", &["/nowhere"]);
    let photos = common::data("photos");
    says(&of(&format!("images:{}", photos.display())), "streams", "door", "ok", &["pictures"]);
    let secret = stream("rtsp://127.0.0.1/1") + "username = \"me\"\npassword_file = \"/nowhere/secret\"\n";
    says(&doctor(&folder, &secret, &[]), "streams", "door", "error", &["/nowhere/secret", "LoadCredential="]);
    let credential = secret.replace("/nowhere/secret", "camera-password");
    says(
        &doctor(&folder, &credential, &[]),
        "streams",
        "door",
        "warning",
        &["camera-password", "only the service sees"],
    );
}

#[test]
fn a_core_that_does_not_exist_is_an_error() {
    let outcome = doctor(&folder(), "[inference]\ncores = [1000]\n", &[]);
    assert_eq!(outcome.code(), 69);
    says(&outcome, "cores", "inference", "error", &["names 1000", "choose inference.cores"]);
}

#[test]
fn a_gstreamer_that_does_not_start_is_told() {
    // No setting prevents an intact library from starting, so a broken one takes its place.
    let broken = r#"
        void *g_error_new_literal(unsigned domain, int code, const char *message);
        int gst_init_check(int *argc, char ***argv, void **error) {
            *error = g_error_new_literal(1, 1, "the core does not load");
            return 0;
        }"#;
    let folder = folder();
    let library = library(folder.path(), broken);
    let outcome = Running::start(command(&folder, &stream("test:ball"), &[]).env("LD_PRELOAD", &library)).finish();
    assert_eq!(outcome.code(), 69, "{}{}", outcome.stdout, outcome.stderr);
    let parts = ["GStreamer does not start: the core does not load", "apt install --reinstall libgstreamer1.0-0"];
    says(&outcome, "gstreamer", "version", "error", &parts);
    // Checks that do not depend on it are still performed.
    says(&outcome, "streams", "door", "ok", &["test:ball"]);

    let outcome = Running::start(hardnetd(["run", "--source", "test:ball"]).env("LD_PRELOAD", &library)).finish();
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("GStreamer does not start: the core does not load"), "{}", outcome.stderr);
}

#[test]
fn a_system_that_refuses_threads_is_told_whichever_thread_it_is() {
    let few = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <pthread.h>
        #include <stdatomic.h>
        #include <stdlib.h>
        int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *with) {
            static atomic_int made;
            if (atomic_fetch_add(&made, 1) >= atoi(getenv("MOST_THREADS"))) return EAGAIN;
            int (*real)() = dlsym(RTLD_NEXT, "pthread_create");
            return real(thread, attributes, start, with);
        }"#;
    let folder = folder();
    let library = library(folder.path(), few);
    let mut refused = Vec::new();
    for most in 0..16 {
        let mut command = command(&folder, &stream("test:ball"), &[]);
        command.env("LD_PRELOAD", &library).env("MOST_THREADS", most.to_string());
        let outcome = Running::start(&mut command).finish();
        assert!(!outcome.stderr.contains("panicked"), "{most} threads: {}", outcome.stderr);
        let told = outcome.stdout.lines().filter(|line| line.contains("the system refuses a thread"));
        let told: Vec<_> = told.filter_map(|line| line.split('\t').nth(2)).map(str::to_owned).collect();
        let code = if most == 0 { 78 } else { 69 };
        assert!(told.is_empty() || outcome.code() == code, "{most} threads: {}", outcome.stdout);
        refused.extend(told);
    }
    // Threads of the areas, and of a stream.
    assert!(refused.iter().any(|name| name == "thread") && refused.iter().any(|name| name == "door"), "{refused:?}");
}

#[test]
fn elements_that_are_missing_are_named_with_their_package() {
    let folder = folder();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let installed = Command::new("pkg-config").args(["--variable=pluginsdir", "gstreamer-1.0"]).output().unwrap();
    let installed = String::from_utf8(installed.stdout).unwrap();
    for name in ["libgstcoreelements.so", "libgstapp.so"] {
        symlink(Path::new(installed.trim()).join(name), plugins.join(name)).unwrap();
    }
    let mut command = command(&folder, &stream("rtsp://127.0.0.1:1/x"), &[]);
    command.env("GST_PLUGIN_SYSTEM_PATH_1_0", &plugins).env("GST_REGISTRY", folder.path().join("registry.bin"));
    command.env_remove("GST_PLUGIN_PATH_1_0").env_remove("GST_PLUGIN_PATH");
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 69);
    let parts = ["decodebin, rtspsrc, videoconvert", "apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good"];
    says(&outcome, "gstreamer", "elements", "error", &parts);
    says(&outcome, "gstreamer", "H.264", "error", &["rtph264depay", "gstreamer1.0-plugins-good"]);
    says(&outcome, "gstreamer", "H.265", "warning", &["rtph265depay"]);
    says(&outcome, "gstreamer", "hardware decoders", "absent", &["in software"]);
}

#[test]
fn what_only_privileges_give_is_missed_without_them() {
    let folder = folder();
    let path = folder.path().join("hardnetd.toml");
    fs::write(&path, "[inference]\npriority = 99\n").unwrap();
    let plain = hardnetd(["doctor", "-c", path.to_str().unwrap()]);
    let mut command = Command::new("setpriv");
    command.arg("--no-new-privs");
    // Without capabilities, root is bound by modes and limits like everybody else.
    if rustix::process::geteuid().is_root() {
        command.args(["--bounding-set", "-all"]);
    }
    command.arg("--").arg(plain.get_program()).args(plain.get_args());
    for (name, _) in plain.get_envs() {
        command.env_remove(name);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    says(&outcome, "sandbox", "priority", "error", &["inference.priority = 99", "LimitRTPRIO=99"]);
    says(&outcome, "sandbox", "privileges", "ok", &["no capabilities, can gain no new ones"]);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 78, "{}", outcome.stderr);
    says(&outcome, "configuration", "files", "error", &["Permission denied", "must be able to read it"]);
}

#[test]
fn folders_of_a_service_are_looked_at() {
    let folder = folder();
    let mut command = command(&folder, "", &[]);
    command.env("STATE_DIRECTORY", folder.path()).env("CACHE_DIRECTORY", "/nowhere/cache");
    command.env("INVOCATION_ID", "1").env("NOTIFY_SOCKET", "/nowhere/notify").env("WATCHDOG_USEC", "5000000");
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 69);
    says(&outcome, "storage", "state", "ok", &[folder.path().to_str().unwrap(), "free"]);
    says(&outcome, "storage", "cache", "error", &["/nowhere/cache is not a folder"]);
    says(&outcome, "sandbox", "supervision", "ok", &["watchdog 5 s"]);
}

#[test]
fn wrong_usage_is_told_and_help_has_examples() {
    for arguments in [["doctor", "--timeout", "0"], ["doctor", "--timeout", "soon"], ["doctor", "--timeout", "301"]] {
        let outcome = run(arguments);
        assert_eq!(outcome.code(), 64, "{arguments:?}");
        assert!(outcome.message().contains("expected seconds from 0.1 to 300"), "{}", outcome.stderr);
    }
    let help = run(["doctor", "--help"]);
    assert_eq!(help.code(), 0);
    for part in ["Examples:", "hardnetd doctor --json", "Exit codes: 0", "--timeout <S>"] {
        assert!(help.stdout.contains(part), "{part:?} is not in: {}", help.stdout);
    }
}

#[test]
fn a_terminal_that_does_not_know_its_width_gets_a_table_of_eighty_columns() {
    let folder = folder();
    let path = folder.path().join("hardnetd.toml");
    fs::write(&path, "[[stream]]\nsource = \"test:ball\"\n").unwrap();
    let program = env!("CARGO_BIN_EXE_hardnetd");
    let line = format!("stty cols 0; {program} doctor --timeout 60 -c {}", path.display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let outcome = Running::start(&mut command).finish();
    assert!(outcome.stdout.contains("Area"), "{}", outcome.stdout);
    let widest = outcome.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|widest| (60..=120).contains(&widest)), "{widest:?}: {}", outcome.stdout);
}
