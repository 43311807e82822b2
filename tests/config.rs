//! The configuration through the whole program: layers, checks, and the shipped files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Outcome, Running, data, folder, hardnetd, run};
use hardnetd::config::{self, Config};
use tempfile::TempDir;

fn known(source: &str) -> Result<(), String> {
    hardnetd::capture::Source::check(source)
}

/// Writes `hardnetd.toml`, and the others into `conf.d` next to it.
fn write(folder: &TempDir, main: &str, drop_ins: &[(&str, &str)]) -> String {
    let file = folder.path().join("hardnetd.toml");
    fs::write(&file, main).unwrap();
    let conf_d = folder.path().join("conf.d");
    if conf_d.exists() {
        fs::remove_dir_all(&conf_d).unwrap();
    }
    fs::create_dir(&conf_d).unwrap();
    for (name, text) in drop_ins {
        fs::write(conf_d.join(name), text).unwrap();
    }
    file.to_str().unwrap().to_owned()
}

/// Asserts that `config check` rejects it with all of `parts`.
#[track_caller]
fn refuses(outcome: &Outcome, parts: &[&str]) {
    assert_eq!(outcome.code(), 78, "{}{}", outcome.stdout, outcome.stderr);
    for part in parts {
        assert!(outcome.stderr.contains(part), "{part:?} is not in: {}", outcome.stderr);
    }
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
        // Besides them, there is a dashboard for the metrics.
        if path.extension().is_some_and(|extension| extension == "json") {
            continue;
        }
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
fn what_looks_like_a_setting_and_sets_nothing_is_a_warning() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    let warnings = |text: &str, variables: &[(&str, &str)]| {
        fs::write(&file, text).unwrap();
        let mut command = hardnetd(["config", "check", "-c", file.to_str().unwrap()]);
        command.envs(variables.iter().copied());
        let outcome = Running::start(&mut command).finish();
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        outcome.stderr
    };
    let stream = "[[stream]]\nsource = \"test:ball\"\n";
    assert_eq!(warnings(stream, &[("HARDNETD_LOG", "warn")]), "");
    let single = warnings(stream, &[("HARDNETD_MODEL_NAME", "x"), ("HARDNETD__MODEL__TOP", "3")]);
    assert!(single.contains("HARDNETD_MODEL_NAME: ignored; sections have two underscores"), "{single}");
    assert_eq!(single.lines().count(), 1, "{single}");
    let empty = warnings("", &[]);
    assert!(
        empty.contains("hardnetd.toml: no [[stream]] here or in conf.d, so only test:ball is classified"),
        "{empty}"
    );
}

#[test]
fn problems_of_all_layers_are_reported_together_with_their_origin() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    fs::write(&file, "[model]\ntop = 0\n").unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/a.toml"), "[devise]\n").unwrap();
    fs::write(folder.path().join("conf.d/b.toml"), "[publish\n").unwrap();
    for command in [&["config", "check"][..], &["run"]] {
        let mut command = hardnetd(command.iter().chain(&["-c", file.to_str().unwrap()]));
        command.env("HARDNETD__INFERENCE__WORKERS", "many");
        let outcome = Running::start(&mut command).finish();
        assert_eq!(outcome.code(), 78);
        for part in [
            "4 problems",
            "hardnetd.toml: model.top = 0: expected a whole number from 1 to 1000\n",
            "a.toml: devise: unknown section; did you mean 'device'?\n",
            "b.toml: ",
            "environment variable HARDNETD__INFERENCE__WORKERS: inference.workers = \"many\": expected a whole number",
        ] {
            assert!(outcome.stderr.contains(part), "{part:?} is not in: {}", outcome.stderr);
        }
    }
}

#[test]
fn values_that_do_not_fit_together_are_reported() {
    let folder = folder();
    let file = folder.path().join("hardnetd.toml");
    for (text, part) in [
        ("[[stream]]\nname = \"a\"\n[[stream]]\nname = \"a\"\n", "used twice"),
        ("[inference]\nworkers = 2\ncores = [0]\n", "1 core for 2 workers"),
        ("[inference]\nthreads = 2\ncores = [0]\n", "1 core for 1 worker of 2 threads: expected at least 2"),
        ("[inference]\nthreads = 2\nbackend = \"tract\"\n", "expected 1 with inference.backend = \"tract\""),
        ("[inference]\ncores = [0, 0]\n", "different whole numbers"),
        ("[publish.stdout]\nenabled = false\n", "publish.stdout.enabled = false: nothing enabled"),
        ("stream = []\n", "at least one [[stream]]"),
        ("[publish.mqtt]\nca_file = \"a.pem\"\n", "publish.mqtt.tls = false: expected true, or no ca_file"),
        ("[publish.mqtt]\ndanger_accept_any_certificate = true\n", "or no danger_accept_any_certificate"),
        ("[publish.mqtt]\ntls = true\ncert_file = \"a.pem\"\n", "publish.mqtt.key_file = \"\""),
        ("[publish.mqtt]\ntls = true\nkey_file = \"a.key\"\n", "publish.mqtt.cert_file = \"\""),
        ("[publish.mqtt]\ntopic_prefix = \"a/#\"\n", "without '+', '#'"),
        ("[[stream]]\nname = \"a b\"\n", "expected 1 to 64 letters"),
        ("model = 3\n", "written [model]"),
        ("[stream]\nname = \"a\"\n", "[[stream]] sections"),
        ("[[stream]]\n[stream.rtsp]\ntransport = \"smoke\"\n", "\"tcp\", \"udp\", \"auto\""),
        ("[[stream]]\nrtsp = 3\n", "stream[0].rtsp = 3: expected a section, written [stream.rtsp]"),
        ("[[stream]]\n[[stream.rtsp]]\nlatency_ms = 3\n", "expected a section, written [stream.rtsp]"),
        ("[[stream]]\n[stream.v4l2]\ncontrols = \"gain=1 ! fakesink\"\n", "expected names and whole numbers in quotes"),
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

#[test]
fn streams_of_several_files_are_merged_by_name() {
    let folder = folder();
    let door = "[[stream]]\nname = \"door\"\nsource = \"rtsp://door/1\"\n";
    let file = write(
        &folder,
        "",
        &[
            ("10-door.toml", door),
            ("20-yard.toml", "[[stream]]\nname = \"yard\"\nsource = \"rtsp://yard/1\"\n"),
            ("30-rate.toml", "[[stream]]\nname = \"door\"\nmax_fps = 5\n"),
        ],
    );
    let streams = show(&["-c", &file], &[]).streams;
    let streams: Vec<_> = streams.iter().map(|s| (s.name.as_str(), s.source.as_str(), s.max_fps)).collect();
    assert_eq!(streams, [("door", "rtsp://door/1", 5.0), ("yard", "rtsp://yard/1", 0.0)]);

    let file = write(
        &folder,
        door,
        &[("a.toml", "[[stream]]\nname = \"yard\"\n[[stream]]\nname = \"door\"\nsource = \"rtsp://me:s3cret@x/1\"\n")],
    );
    let outcome = run(["config", "check", "-c", &file]);
    refuses(
        &outcome,
        &[
            "a.toml: stream[0].source = \"\": the stream \"yard\" has none",
            "a.toml: stream[1].source = \"rtsp://me:***@x/1\": the stream \"door\" has \"rtsp://door/1\" in ",
            "hardnetd.toml (stream[0].source); expected the same value, or another name",
        ],
    );
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
}

#[test]
fn what_editors_leave_in_conf_d_is_not_read_and_what_cannot_be_read_is_named() {
    let folder = folder();
    let junk =
        [".a.toml", ".a.toml.swp", "a.toml~", "#a.toml#", "a.toml.dpkg-old", "a.toml.dpkg-dist", "a.toml.rpmsave"];
    let file = write(&folder, "", &junk.map(|name| (name, "this is no TOML")));
    symlink("me@host.1234:1", folder.path().join("conf.d/.#a.toml")).unwrap();
    let outcome = run(["config", "check", "-c", &file]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    symlink("nowhere", folder.path().join("conf.d/lost.toml")).unwrap();
    fs::write(folder.path().join("conf.d/wrong.toml"), "[model]\ntop = 0\n").unwrap();
    let parts = ["2 problems", "lost.toml: the file cannot be read: No such file", "wrong.toml: model.top = 0"];
    refuses(&run(["config", "check", "-c", &file]), &parts);
}

#[test]
fn problems_across_keys_name_the_files_that_set_them() {
    let folder = folder();
    let file = write(
        &folder,
        "[inference]\ncores = [0]\n",
        &[("a.toml", "[inference]\nworkers = 2\n"), ("b.toml", "[publish.mqtt]\npassword_file = \"x\"\n")],
    );
    let main =
        format!("{file}, {}: inference.cores = 1 core for 2 workers", folder.path().join("conf.d/a.toml").display());
    let outcome = run(["config", "check", "-c", &file]);
    refuses(&outcome, &["2 problems", &main, "b.toml: publish.mqtt.username = \"\": MQTT sends a password"]);
    assert!(!outcome.stderr.contains("  configuration:"), "{}", outcome.stderr);
    let mut command = hardnetd(["config", "check", "-c", &write(&folder, "[inference]\nbackend = \"tract\"\n", &[])]);
    command.env("HARDNETD__INFERENCE__THREADS", "2");
    refuses(
        &Running::start(&mut command).finish(),
        &["HARDNETD__INFERENCE__THREADS, ", "hardnetd.toml: inference.threads"],
    );
}

#[test]
fn unknown_keys_get_the_key_that_is_meant_or_all_there_are() {
    let folder = folder();
    let file = write(
        &folder,
        "[[stream]]\nname = \"a\"\nfps = 5\ncrop = 1\nurl = \"x\"\nlatency = 1\nsorce = \"x\"\n[model]\ncrop = 1\nthreshold = 0.5\n",
        &[],
    );
    refuses(
        &run(["config", "check", "-c", &file]),
        &[
            "stream[0].fps: unknown key; did you mean 'max_fps'? Known here: name, source, model",
            "stream[0].crop: unknown key; known here: name, source",
            "stream[0].url: unknown key; did you mean 'source'? Known here",
            "stream[0].latency: unknown key; did you mean 'latency_ms' in [stream.rtsp]? Known here: name, source",
            "stream[0].sorce: unknown key; did you mean 'source'?",
            "model.crop: unknown key; did you mean 'crop_ratio'? Known here: name, labels, size, output, mean, std, crop_ratio, top",
            "model.threshold: unknown key; known here: name, labels, size, output, mean, std, crop_ratio, top",
        ],
    );
}

#[test]
fn keys_that_have_moved_name_their_new_place() {
    let folder = folder();
    let text = "[[stream]]\nsource = \"rtsp://cam/1\"\nrtsp_latency_ms = 100\nrtsp_transport = \"udp\"\nwidth = 640\n";
    refuses(
        &run(["config", "check", "-c", &write(&folder, text, &[])]),
        &[
            "3 problems",
            "stream[0].rtsp_latency_ms: unknown key; moved to [stream.rtsp], latency_ms\n",
            "stream[0].rtsp_transport: unknown key; moved to [stream.rtsp], transport\n",
            "stream[0].width: unknown key; did you mean 'width' in [stream.v4l2]?",
        ],
    );
}

#[test]
fn settings_of_a_scheme_stand_in_a_table_of_their_own_and_are_merged_key_by_key() {
    let folder = folder();
    let door = "[[stream]]\nname = \"door\"\nsource = \"rtsp://door/1\"\n[stream.rtsp]\nlatency_ms = 50\n";
    let desk =
        "[[stream]]\nname = \"desk\"\nsource = \"v4l2:by-id/usb-x\"\n[stream.v4l2]\nformat = \"mjpeg\"\nfps = 15\n";
    let udp = "[[stream]]\nname = \"door\"\n[stream.rtsp]\ntransport = \"udp\"\n";
    let file = write(&folder, door, &[("a.toml", desk), ("b.toml", udp)]);
    let streams = show(&["-c", &file], &[]).streams;
    assert_eq!((streams[0].rtsp.latency_ms, streams[0].rtsp.transport.name()), (50, "udp"));
    assert_eq!((streams[1].v4l2.format.name(), streams[1].v4l2.width), ("mjpeg", 0));
    assert!((streams[1].v4l2.fps - 15.0).abs() < f64::EPSILON);
    let other = "[[stream]]\nname = \"door\"\n[stream.rtsp]\nlatency_ms = 60\n";
    let file = write(&folder, door, &[("a.toml", other)]);
    let parts =
        ["a.toml: stream[0].rtsp.latency_ms = 60: the stream \"door\" has 50 in ", "(stream[0].rtsp.latency_ms)"];
    refuses(&run(["config", "check", "-c", &file]), &parts);
}

#[test]
fn a_key_that_is_not_for_the_source_is_an_error_unless_it_has_its_default() {
    let folder = folder();
    let text = "[[stream]]\nname = \"door\"\nsource = \"rtsp://me:s3cret@door/1\"\n[stream.v4l2]\nwidth = 640\nheight = 0\n\
                [[stream]]\nname = \"test\"\nsource = \"test:ball\"\nusername = \"me\"\npassword_file = \"hunter2\"\n\
                danger_accept_any_certificate = true\n\
                [[stream]]\nname = \"desk\"\nsource = \"/dev/video0\"\n[stream.rtsp]\nlatency_ms = 1\ntransport = \"tcp\"\n";
    let file =
        write(&folder, text, &[("late.toml", "[model]\ntop = 0\n[[stream]]\nname = \"desk\"\nusername = \"you\"\n")]);
    let outcome = run(["config", "check", "-c", &file]);
    let network = "only for sources with rtsp://, rtsps://, http:// and https://, and this one is";
    refuses(
        &outcome,
        &[
            "7 problems",
            "hardnetd.toml: stream[0].v4l2.width = 640: only for sources with v4l2:, and this one is \"rtsp://me:***@door/1\"; leave it out",
            &format!("hardnetd.toml: stream[1].username = \"me\": {network} \"test:ball\"; leave it out"),
            "hardnetd.toml: stream[1].password_file = ***: only for sources with rtsp://, rtsps://, http://, https:// and srt://",
            "stream[1].danger_accept_any_certificate = true: only for sources with rtsps:// and https://, and this one is \"test:ball\"",
            "hardnetd.toml: stream[2].rtsp.latency_ms = 1: only for sources with rtsp:// and rtsps://, and this one is \"/dev/video0\"",
            &format!(
                "late.toml: stream[0].username = \"you\": {network} \"/dev/video0\"; leave it out (stream \"desk\")\n"
            ),
            "model.top = 0",
        ],
    );
    assert!(!outcome.stderr.contains("s3cret") && !outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    let right = "[[stream]]\nsource = \"test:ball\"\nusername = \"\"\n[stream.rtsp]\nlatency_ms = 200\n[stream.v4l2]\nfps = 0\n";
    let outcome = run(["config", "check", "-c", &write(&folder, right, &[])]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}

#[test]
fn a_host_with_anything_besides_fails_the_check_with_the_key_that_is_meant() {
    let folder = folder();
    for (host, part) in [
        ("mqtt://broker", "without a scheme: port, tls, username and topic_prefix are keys of their own"),
        ("mqtt://me:s3cret@broker", "\"mqtt://me:***@broker\": expected the name"),
        ("127.0.0.1:1883", "port is a key of its own"),
        (" localhost", "without spaces"),
        ("", "publish.mqtt.host = \"\": expected the name or the address"),
        ("a b", "expected the name or the address"),
        ("me@broker", "without a login"),
        ("[::1]", "without brackets: \\\"::1\\\""),
        ("broker/a", "without a path"),
    ] {
        let file = write(&folder, &format!("[publish.mqtt]\nenabled = true\nhost = {host:?}\n"), &[]);
        let outcome = run(["config", "check", "-c", &file]);
        refuses(&outcome, &["publish.mqtt.host = ", &part.replace("\\\"", "\"")]);
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    }
}

#[test]
fn values_that_only_look_right_are_refused_all_at_once() {
    let folder = folder();
    let file = write(
        &folder,
        "[device]\nname = \"a/b\"\nstop_timeout_s = nan\n\
         [[stream]]\nname = \"a\"\nsource = \"rtsp://cam:0/1\"\nretry_max_s = 0.000001\nstart_timeout_s = -1\n\
         stall_timeout_s = inf\nmax_fps = \"5\"\n[inference]\nworkers = 2.0\nthreads = 0\n\
         [publish.mqtt]\ntopic_prefix = \"/a\"\nclient_id = \"a\\nb\"\nport = 65536\nqos = 3\npassword_file = 123456\n",
        &[],
    );
    let outcome = run(["config", "check", "-c", &file]);
    refuses(
        &outcome,
        &[
            "14 problems",
            "device.name = \"a/b\": expected 1 to 64 letters",
            "device.stop_timeout_s = NaN: expected a number",
            "stream[0].source = \"rtsp://cam:0/1\": expected rtsp://HOST:PORT/PATH, the port from 1 to 65535 (stream \"a\")\n",
            "stream[0].retry_max_s = 0.000001: expected 0, or a number from 0.1 to 3600",
            "stream[0].start_timeout_s = -1: expected a number from 0.1",
            "stream[0].stall_timeout_s = inf: expected a number",
            "stream[0].max_fps = \"5\": expected 0, or a number from 0.001 to 1000",
            "inference.workers = 2.0: expected a whole number",
            "inference.threads = 0: expected a whole number",
            "topic_prefix = \"/a\": expected topic levels",
            "client_id = \"a\\nb\": expected a text without line breaks",
            "port = 65536: expected a whole number from 0",
            "qos = 3: expected a whole number from 0 to 2",
            "password_file = ***: expected a string in quotes",
        ],
    );
    for prefix in ["a/+/b", "a//b", "a/", "$SYS", " a"] {
        let file = write(&folder, &format!("[publish.mqtt]\ntopic_prefix = {prefix:?}\n"), &[]);
        refuses(&run(["config", "check", "-c", &file]), &["expected topic levels"]);
    }
}

#[test]
fn the_environment_takes_lists_with_and_without_brackets_and_says_how_it_is_written() {
    for list in ["[0, 1]", "0,1", " [0,1] "] {
        assert_eq!(show(&[], &[("HARDNETD__INFERENCE__CORES", list)]).inference.cores, [0, 1], "{list}");
    }
    assert!(show(&[], &[("HARDNETD__INFERENCE__CORES", "[]")]).inference.cores.is_empty());
    for (name, value, part) in [
        (
            "HARDNETD__INFERENCE__CORES",
            "[a]",
            "expected a list of different whole numbers from 0 to 1023, such as [2, 3]",
        ),
        (
            "HARDNETD__STREAM__SOURCE",
            "test:ball",
            "expected [[stream]] sections in a file, or a source on the command line",
        ),
        ("HARDNETD__MODEL", "hardnet68", "expected a key after it, as in HARDNETD__MODEL__KEY"),
    ] {
        let mut command = hardnetd(["config", "check"]);
        command.env(name, value);
        refuses(&Running::start(&mut command).finish(), &["environment variable HARDNETD__", part]);
    }
}

/// An instruction set that the processor of this machine lacks.
fn foreign() -> &'static str {
    if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" }
}

#[test]
fn a_check_opens_the_files_that_are_named() {
    let folder = folder();
    let place = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, text) = (place("empty", ""), place("text", "no model, and no certificate\n"));
    let labels = place("labels", "cat\n\ndog\n");
    let here = folder.path().to_str().unwrap();
    for (config, parts) in [
        ("[model]\nname = \"/nowhere/a.onnx\"\n".to_owned(), ["model.name = \"/nowhere/a.onnx\": ", "No such file"]),
        ("[model]\nname = \"hardnet99\"\n".to_owned(), ["model.name = \"hardnet99\": no such model", "hardnet39ds"]),
        (
            format!("[model]\nname = {text:?}\n"),
            ["model.name = ", "expected a PyTorch, PaddlePaddle, safetensors or ONNX"],
        ),
        (format!("[model]\nname = {here:?}\n"), ["model.name = ", "is a directory"]),
        (format!("[model]\nname = {empty:?}\n"), ["model.name = ", "is empty"]),
        ("[model]\nlabels = \"/nowhere/l\"\n".to_owned(), ["model.labels = \"/nowhere/l\": ", "No such file"]),
        (format!("[model]\nlabels = {labels:?}\n"), ["model.labels = ", "line 2: expected a label"]),
        (format!("[model]\nlabels = {empty:?}\n"), ["model.labels = ", "one label per line"]),
        (
            "[[stream]]\nname = \"a\"\nsource = \"/nowhere/a.mp4\"\n".to_owned(),
            ["stream[0].source = \"/nowhere/a.mp4\": ", "No such file"],
        ),
        (
            "[[stream]]\nname = \"a\"\nsource = \"rtsp://me@cam/1\"\npassword_file = \"/nowhere/p\"\n".to_owned(),
            ["stream[0].password_file = \"/nowhere/p\": ", "No such file"],
        ),
        (
            format!("[publish.mqtt]\nenabled = true\nusername = \"me\"\npassword_file = {empty:?}\n"),
            ["publish.mqtt.password_file = ", "is empty"],
        ),
        (
            "[publish.mqtt]\nenabled = true\ntls = true\nca_file = \"/nowhere/ca.pem\"\n".to_owned(),
            ["publish.mqtt.ca_file = \"/nowhere/ca.pem\": ", "No such file"],
        ),
        (
            format!("[publish.mqtt]\nenabled = true\ntls = true\nca_file = {text:?}\n"),
            ["publish.mqtt.ca_file = ", "no certificate in it"],
        ),
    ] {
        let file = write(&folder, &config, &[]);
        let outcome = run(["config", "check", "-c", &file]);
        refuses(&outcome, &[&format!("{file}: "), parts[0], parts[1]]);
    }
    // Errors that appear only when the model is loaded.
    let model = data("formats/tiny.safetensors");
    let cut = place("cut.safetensors", "");
    let bytes = fs::read(&model).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let two = place("two", "cat\ndog\n");
    for (config, parts) in [
        (format!("[model]\nname = {cut:?}\n"), ["model.name = ", "cut.safetensors"]),
        (format!("[model]\nlabels = {two:?}\n"), ["model.labels = ", "27 classes"]),
        ("[model]\nsize = \"16x16\"\n".to_owned(), ["model.size = ", "16"]),
        (format!("[inference]\nisa = {:?}\n", foreign()), ["inference.isa = ", foreign()]),
    ] {
        let file = write(&folder, &config, &[]);
        refuses(&run(["config", "check", "-c", &file]), &[&format!("{file}: "), parts[0], parts[1]]);
    }
    // All of them at once; valid parts pass.
    let file = write(&folder, "[model]\nname = \"/a.onnx\"\nlabels = \"/a.txt\"\n", &[]);
    refuses(&run(["config", "check", "-c", &file]), &["2 problems", "model.name", "model.labels"]);
    let labels = place("labels", &"class\n".repeat(27));
    let file = write(&folder, &format!("[model]\nlabels = {labels:?}\n"), &[]);
    let outcome = run(["config", "check", "-c", &file]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("(files opened as user "), "{}", outcome.stdout);
}

#[test]
fn a_check_looks_for_bare_names_among_the_credentials() {
    let folder = folder();
    let config = "[[stream]]\nsource = \"test:ball\"\n[publish.mqtt]\nenabled = true\nusername = \"me\"\n\
                  password_file = \"a-password\"\n";
    let file = write(&folder, config, &[]);
    let by_hand = run(["config", "check", "-c", &file]);
    assert_eq!(by_hand.code(), 0, "{}", by_hand.stderr);
    assert!(by_hand.stderr.contains("LoadCredential=a-password:PATH"), "{}", by_hand.stderr);
    let mut command = hardnetd(["config", "check", "-c", &file]);
    command.env("CREDENTIALS_DIRECTORY", folder.path());
    refuses(&Running::start(&mut command).finish(), &["publish.mqtt.password_file = \"a-password\": ", "No such file"]);
    fs::write(folder.path().join("a-password"), "s3cret\n").unwrap();
    let mut command = hardnetd(["config", "check", "-c", &file]);
    command.env("CREDENTIALS_DIRECTORY", folder.path());
    let outcome = Running::start(&mut command).finish();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_check_warns_of_what_this_machine_does_not_permit() {
    let folder = folder();
    let config = "[[stream]]\nsource = \"test:ball\"\n[inference]\ncores = [1023]\n";
    let outcome = run(["config", "check", "-c", &write(&folder, config, &[])]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let warning = "inference.cores = [1023]: inference.cores names 1023; the cores of this machine are 0";
    assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with("ok, 1 warning: "), "{}", outcome.stdout);
}

#[test]
fn a_run_warns_of_unchecked_certificates_and_of_passwords_in_clear_text() {
    let folder = folder();
    fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    let login = format!(
        "enabled = true\nhost = \"192.0.2.1\"\nusername = \"me\"\npassword_file = \"{}/password\"\n",
        folder.path().display()
    );
    let test = "[[stream]]\nname = \"a\"\nsource = \"test:ball?frames=1&live=false\"\n[device]\nstop_timeout_s = 0.1\n";
    for (config, part) in [
        (
            format!("{test}[publish.mqtt]\n{login}"),
            "/password\": the password goes to 192.0.2.1 in clear text (tls = false)",
        ),
        (
            format!("{test}[publish.mqtt]\n{login}tls = true\ndanger_accept_any_certificate = true\n"),
            "hardnetd.toml: publish.mqtt.danger_accept_any_certificate = true: the certificate of 192.0.2.1 is not checked",
        ),
        (
            "[[stream]]\nname = \"a\"\nsource = \"rtsp://me:s3cret@127.0.0.1:1/1\"\nretry_max_s = 0\n".to_owned(),
            "hardnetd.toml: stream[0].source = \"rtsp://me:***@127.0.0.1:1/1\": the password is here in clear text",
        ),
    ] {
        let file = write(&folder, &config, &[]);
        for command in ["run -c", "config check -c", "doctor --timeout 0.1 -c"] {
            let outcome = run(command.split(' ').chain([file.as_str()]));
            let printed = outcome.stdout + &outcome.stderr;
            assert_eq!(printed.matches(part).count(), 1, "{command}: {part} is not once in: {printed}");
            assert!(!printed.contains("s3cret"), "{printed}");
        }
    }
}

/// Secrets in sources, brokers and hosts of many shapes, through every command that reads them, with everything logged.
#[test]
fn no_command_prints_a_secret() {
    const SECRET: &str = "S3CR3T";
    const SOURCES: [&str; 28] = [
        "me:{}@127.0.0.1:1/1",
        "{}@127.0.0.1:1/1",
        "//me:{}@127.0.0.1:1/1",
        "a.b:{} x@127.0.0.1:1/1",
        "rtsp://me:{}@127.0.0.1:1/1",
        "rtsp://me:a@{}@127.0.0.1:1/1",
        "rtsp://me:a/{}?b#c@127.0.0.1:1/1",
        "rtsp://me:a '{}\"@127.0.0.1:1/1",
        "rtsp://me%3A{}@127.0.0.1:1/1",
        "rtsp://me:{}%40127.0.0.1:1/1",
        "rtsp://{}@127.0.0.1:1/1",
        "rtsp://{}:@127.0.0.1:1/1",
        "rtsp://me:{}",
        "rtsp:me:{}@127.0.0.1:1/1",
        "RTSP://me:{}@127.0.0.1:1/1",
        "rtmp://me:{}@127.0.0.1:1/1",
        "rtmp:me:{}@127.0.0.1:1/1",
        "http://127.0.0.1:1/?user=me&password={}",
        "rtsp://127.0.0.1:1/?auth={}",
        "rtsp://127.0.0.1:1/?auth=me:{}",
        "rtsp://127.0.0.1:1/?access_token={}&x=1",
        "rtsp://127.0.0.1:1/user=me_password={}_channel=1",
        "rtsp://127.0.0.1:1/user=me&password={}&channel=1",
        "rtsp://127.0.0.1:1/1?loginuse=me&loginpas={}",
        "127.0.0.1:1/user=me&password={}",
        "test:me:{}@127.0.0.1",
        "test:ball?password={}",
        "rtsp%3A%2F%2Fme%3A{}%40127.0.0.1%2F1",
    ];
    let folder = folder();
    let see = |arguments: &[&str], source: &str| {
        let mut command = hardnetd(arguments);
        command.env("HARDNETD_LOG", "trace");
        let outcome = Running::start(&mut command).finish();
        let printed = outcome.stdout + &outcome.stderr;
        assert!(!printed.contains(SECRET), "{source}: {arguments:?} prints it: {printed}");
        assert!(!printed.contains("panicked"), "{printed}");
        outcome.status.code()
    };
    let (mut right, mut all) = (String::new(), Vec::new());
    for (index, source) in SOURCES.map(|source| source.replace("{}", SECRET)).iter().enumerate() {
        let section = format!("[[stream]]\nname = \"s{index}\"\nsource = {source:?}\nretry_max_s = 0\n");
        let file = write(&folder, &section, &[]);
        if see(&["config", "show", "-c", &file], source) == Some(0) {
            right += &section;
        }
        see(&["config", "check", "-c", &file], source);
        see(&["run", "--sink", source], source);
        see(&["run", source], source);
        see(&["run", &format!("--sourse={source}")], source);
        all.push(section.clone());
        let host = format!(
            "[publish.mqtt]\nenabled = true\nhost = {source:?}\nclient_id = {source:?}\n[model]\nname = {source:?}\n"
        );
        see(&["config", "check", "-c", &write(&folder, &host, &[])], source);
        // Without quotes it is not valid TOML.
        see(&["config", "check", "-c", &write(&folder, &section.replace(&format!("{source:?}"), source), &[])], source);
    }
    // The sources that pass, all at once: each camera is opened, and refused.
    let file = write(&folder, &right, &[]);
    assert_eq!(see(&["doctor", "--timeout", "1", "-c", &file], "all"), Some(69));
    see(&["run", "-c", &file], "all");
    see(&["doctor", "--timeout", "1", "-c", &write(&folder, &all.concat(), &[])], "all");
}
