//! Wrong input: one clear message, the right exit code, and no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{Outcome, Running, data, encode, folder, free_port, hardnetd, run};

/// Asserts that the program fails with `code`, reports all of `parts`, and prints no result.
fn fails(outcome: &Outcome, code: i32, parts: &[&str]) {
    assert_eq!(outcome.code(), code, "{}", outcome.stderr);
    for part in parts {
        assert!(outcome.message().contains(part), "{part:?} is not in: {}", outcome.stderr);
    }
    assert_eq!(outcome.stdout, "");
    let messages = outcome.stderr.lines().filter(|line| line.starts_with("hardnetd: ")).count();
    assert!(messages <= 1, "{}", outcome.stderr);
}

fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("hardnetd.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    let folder = folder();
    let path = config(folder.path(), "[inference]\nwrokers = 2\n");
    fails(&run(["run", "-c", &path]), 78, &[&path, "inference.wrokers", "did you mean 'workers'"]);
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_what_is_allowed() {
    let folder = folder();
    let path = config(folder.path(), "[inference]\nworkers = \"two\"\n");
    fails(&run(["run", "-c", &path]), 78, &[&path, "inference.workers = \"two\"", "a whole number from 1 to 256"]);
}

#[test]
fn two_problems_in_one_file_are_both_reported() {
    let folder = folder();
    let path = config(folder.path(), "[model]\ntop = 0\n[[stream]]\nname = \"a\"\nsource = \"ftp://x\"\ncolour = 1\n");
    let parts = ["3 problems", "model.top = 0", "unknown scheme 'ftp:'", "stream[0].colour"];
    fails(&run(["run", "-c", &path]), 78, &parts);
}

#[test]
fn a_syntax_error_is_shown_with_its_line() {
    let folder = folder();
    let path = config(folder.path(), "[model]\nname = \n");
    fails(&run(["run", "-c", &path]), 78, &[&path, "line 2"]);
}

#[test]
fn a_key_that_is_there_twice_is_named_with_its_table() {
    let folder = folder();
    let path = config(folder.path(), "[inference]\nworkers = 1\n[model]\ntop = 1\ntop = 2\n");
    fails(&run(["run", "-c", &path]), 78, &[&path, "line 5, column 1: duplicate key `top` in [model]"]);
}

#[test]
fn errors_of_flags_show_the_flag_as_it_was_typed() {
    for (arguments, part) in [
        (&["--size", "224"][..], "hardnetd: --size 224: expected rows and columns from 32 to 8192, such as 224x224"),
        (&["--source", "test:bal"], "hardnetd: --source test:bal: unknown test pattern 'bal'; expected one of smpte"),
        (&["--source", ""], "hardnetd: --source \"\": expected a source"),
        (&["--source", "test:ball", "--max-fps", "-1"], "'--max-fps <N>': expected a number from 0.001 to 1000, or 0"),
        (&["--top", "-1"], "hardnetd: --top -1: expected a whole number from 1 to 1000"),
        (&["--threads", "0"], "hardnetd: --threads 0: expected a whole number from 1 to 64"),
        (&["--frames", "-1"], "'--frames <N>': expected a whole number, 1 or more"),
        (&["--threads", "2", "--backend", "tract"], "hardnetd: --threads 2: tract runs on one thread"),
        (&["--sink", "mqtt://host/a//b"], "hardnetd: --sink mqtt://host/a//b: expected topic levels"),
        (&["--size", "224", "--top", "0"], "hardnetd: wrong usage, 2 problems:\n  --size 224: expected rows"),
    ] {
        let outcome = run(["run"].iter().chain(arguments));
        assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{part:?} is not in: {}", outcome.stderr);
        for key in ["model.", "inference.", "stream", "in quotes", "wrong configuration"] {
            assert!(!outcome.stderr.contains(key), "{key:?} is in: {}", outcome.stderr);
        }
    }
    let mut command = hardnetd(["config", "check"]);
    command.env("HARDNETD__MODEL__SIZE", "224");
    let parts = ["HARDNETD__MODEL__SIZE: model.size = \"224\": expected rows", "from 32 to 8192, such as 224x224"];
    fails(&Running::start(&mut command).finish(), 78, &parts);
}

#[test]
fn a_camera_that_is_none_is_told_with_what_to_do() {
    for (source, code, part) in [
        ("v4l2:video0", 64, "expected v4l2:/dev/videoN, v4l2:by-id/NAME or v4l2:by-path/NAME"),
        ("/dev/video99", 69, "there is no /dev/video99; plug"),
        ("v4l2:by-id/usb-nobody-has-this", 69, "there is no /dev/v4l/by-id/usb-nobody-has-this; plug"),
        ("v4l2:/dev/null", 69, "/dev/null captures no video; "),
    ] {
        fails(&run(["run", "--source", source]), code, &[part]);
    }
}

#[test]
fn a_value_without_its_option_is_told_the_option() {
    let usage = |arguments: &[&str], tip: &str| {
        let outcome = run(arguments);
        assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(tip), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
    };
    usage(&["run", "test:ball"], "tip: use '--source test:ball'");
    usage(&["run", "rtsp://me:secret@camera/a"], "tip: use '--source rtsp://me:***@camera/a'");
    usage(&["-v", "config", "check", "hardnetd.toml"], "tip: use '--config hardnetd.toml'");
    usage(&["model", "fetch", "ftp://mirror/hardnet68.pth"], "goes after --from");
    usage(&["model", "fetch", "hardnet68", "--from", "ftp://mirror/a.pth"], "expected http://…, https://… or the path");
}

#[test]
fn a_missing_or_unreadable_configuration_is_named() {
    fails(&run(["run", "-c", "/nowhere/hardnetd.toml"]), 78, &["/nowhere/hardnetd.toml", "No such file"]);
    let folder = folder();
    let path = folder.path().to_str().unwrap().to_owned();
    fails(&run(["run", "-c", &path]), 78, &[&path, "is a directory"]);
    let secret = config(folder.path(), "");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_err() {
        fails(&run(["run", "-c", &secret]), 78, &[&secret, "Permission denied"]);
    }
}

#[test]
fn a_missing_model_is_named_with_the_known_ones() {
    let outcome = run(["run", "--model", "hardnet99", "--frames", "1"]);
    fails(&outcome, 66, &["hardnet99", "hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85"]);
    fails(&run(["classify", "--model", "nowhere.onnx", "x.jpg"]), 66, &["nowhere.onnx"]);
}

#[test]
fn a_missing_media_file_is_named() {
    fails(&run(["run", "--source", "/nowhere/clip.mp4"]), 66, &["/nowhere/clip.mp4", "No such file"]);
    let parts = ["is a folder", "images:"];
    fails(&run(["run", "--source", data("photos").to_str().unwrap()]), 66, &parts);
    fails(&run(["run", "--source", "images:/nowhere"]), 66, &["/nowhere", "No such file"]);
    let folder = folder();
    fails(&run(["run", "--source", &format!("images:{}", folder.path().display())]), 66, &["holds no pictures"]);
}

#[test]
fn a_text_file_given_as_video_is_unusable_data() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    fs::write(&path, "This is a text, and a rather short one.\n".repeat(40)).unwrap();
    fails(&run(["run", "--source", path.to_str().unwrap()]), 65, &[path.to_str().unwrap(), "expected a media file"]);
    fs::write(&path, "").unwrap();
    fails(&run(["run", "--source", path.to_str().unwrap()]), 65, &[path.to_str().unwrap()]);
}

#[test]
fn a_file_without_pictures_is_unusable_data() {
    let folder = folder();
    let path = folder.path().join("sound.wav");
    encode("audiotestsrc num-buffers=10 ! wavenc", &path);
    fails(&run(["run", "--source", path.to_str().unwrap()]), 65, &["sound.wav", "no video"]);
}

#[test]
fn a_truncated_mp4_is_unusable_data() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    let source = "videotestsrc num-buffers=60 ! video/x-raw,width=640,height=480,framerate=30/1 ! x264enc";
    encode(&format!("{source} ! h264parse ! mp4mux"), &path);
    let bytes = fs::read(&path).unwrap();
    // The index is at the end of such a file: half of it cannot be played at all.
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fails(&run(["run", "--source", path.to_str().unwrap()]), 65, &["clip.mp4"]);

    // With the index at the front, the available part is classified before the end is reported.
    encode(&format!("{source} ! h264parse ! mp4mux faststart=true"), &path);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let outcome = run(["run", "--source", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    let results = common::records(&outcome.stdout).len();
    assert!((10..60).contains(&results), "{results} results");
    assert!(outcome.message().contains("clip.mp4"), "{}", outcome.stderr);
}

#[test]
fn an_unknown_scheme_or_pattern_is_a_usage_error_that_lists_the_known_ones() {
    fails(&run(["run", "--source", "ftp://host/clip"]), 64, &["--source", "'ftp:'", "test:PATTERN", "rtsp://"]);
    fails(&run(["run", "--source", "test:bal"]), 64, &["'bal'", "smpte", "ball"]);
}

#[test]
fn a_number_of_frames_below_one_is_a_usage_error() {
    let outcome = run(["run", "--frames", "0"]);
    assert_eq!(outcome.code(), 64);
    assert!(outcome.message().contains("--frames") && outcome.message().contains("1 or more"), "{}", outcome.stderr);
    assert_eq!(run(["run", "--no-such-flag"]).code(), 64);
    assert_eq!(run(Vec::<&str>::new()).code(), 64);
}

/// A plugin folder that contains only the named plugins.
fn plugins(folder: &Path, names: &[&str]) {
    let installed = std::process::Command::new("pkg-config")
        .args(["--variable=pluginsdir", "gstreamer-1.0"])
        .output()
        .expect("pkg-config is installed");
    let installed = String::from_utf8(installed.stdout).unwrap();
    for name in names {
        let file = format!("libgst{name}.so");
        symlink(Path::new(installed.trim()).join(&file), folder.join(&file)).unwrap();
    }
}

#[test]
fn a_plugin_that_is_not_installed_is_named_with_its_package() {
    let folder = folder();
    let media = folder.path().join("clip.mp4");
    let source = "videotestsrc num-buffers=3 ! video/x-raw,width=64,height=64,framerate=30/1 ! x264enc";
    encode(&format!("{source} ! h264parse ! mp4mux"), &media);
    let with = |names: &[&str], source: &str| {
        let root = common::folder();
        plugins(root.path(), names);
        let mut command = hardnetd(["run", "--frames", "1", "--source", source]);
        command.env("GST_PLUGIN_SYSTEM_PATH_1_0", root.path()).env("GST_REGISTRY", root.path().join("registry.bin"));
        command.env_remove("GST_PLUGIN_PATH_1_0").env_remove("GST_PLUGIN_PATH");
        Running::start(&mut command).finish()
    };
    let basic = ["coreelements", "app", "videoconvertscale", "typefindfunctions", "playback", "videofilter"];
    fails(&with(&["coreelements"], "test:ball"), 69, &["'videotestsrc'", "gstreamer1.0-plugins-base"]);
    fails(&with(&basic, "rtsp://127.0.0.1:1/x"), 69, &["'rtspsrc'", "gstreamer1.0-plugins-good"]);
    fails(&with(&basic, "srt://127.0.0.1:1"), 69, &["'srtsrc'", "gstreamer1.0-plugins-bad"]);
    fails(&with(&basic, "udp://:5000"), 69, &["'udpsrc'", "gstreamer1.0-plugins-good"]);
    let media = media.to_str().unwrap();
    fails(&with(&basic, media), 69, &["Quicktime", "gstreamer1.0-plugins-good"]);
    let without_decoder: Vec<&str> = basic.into_iter().chain(["isomp4", "videoparsersbad"]).collect();
    fails(&with(&without_decoder, media), 69, &["H.264", "gstreamer1.0-libav"]);
}

#[test]
fn a_camera_that_refuses_the_connection_is_unavailable() {
    let address = format!("rtsp://me:secret@127.0.0.1:{}/camera", free_port());
    let outcome = run(["run", "--source", &address]);
    fails(&outcome, 69, &["127.0.0.1", "me:***@", "check that the address is right"]);
    assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
}

#[test]
fn a_camera_that_accepts_and_says_nothing_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder();
    let text = format!(
        "[[stream]]\nname = \"mute\"\nsource = \"rtsp://{}/x\"\nstart_timeout_s = 0.5\nretry_max_s = 0\n",
        listener.local_addr().unwrap()
    );
    let outcome = run(["run", "-c", &config(folder.path(), &text)]);
    fails(&outcome, 69, &["mute", "rtsp://127.0.0.1"]);
}

#[test]
fn a_picture_that_is_none_is_unusable_data() {
    let folder = folder();
    let path = folder.path().join("photo.jpg");
    fs::write(&path, "not a picture").unwrap();
    let path = path.to_str().unwrap();
    let outcome = run(["classify", path]);
    fails(&outcome, 65, &[path, "JPEG, PNG"]);
    assert!(!outcome.message().contains("video"), "{}", outcome.stderr);
    let video = folder.path().join("clip.mp4");
    fs::write(&video, "not a video either").unwrap();
    fails(&run(["classify", video.to_str().unwrap()]), 65, &["for a video, use `hardnetd run --source FILE`"]);
    let bytes = fs::read(data("photos/coffee.jpg")).unwrap();
    fs::write(path, &bytes[..200]).unwrap();
    fails(&run(["classify", path]), 65, &[path]);
    fs::write(path, b"\xff\xd8\xff\xe0garbage").unwrap();
    let outcome = run(["classify", path]);
    fails(&outcome, 65, &[path]);
    let line = outcome.message().lines().find(|line| line.contains(path)).unwrap().to_owned();
    let (_, cause) = line.rsplit_once(": ").unwrap();
    assert_eq!(line.matches(cause).count(), 1, "{line}");
    assert!(!line.contains("\\n"), "{line}");
    fails(&run(["classify", "/nowhere.jpg"]), 66, &["/nowhere.jpg", "No such file"]);
    fails(
        &run(["classify", folder.path().to_str().unwrap()]),
        66,
        &["directory", "use `hardnetd run --source images:FOLDER`"],
    );
}

#[test]
fn a_picture_of_one_pixel_is_too_small() {
    let folder = folder();
    let path = folder.path().join("dot.png");
    image::RgbImage::new(1, 1).save(&path).unwrap();
    let path = path.to_str().unwrap();
    fails(&run(["classify", path]), 65, &[path, "1×1", "at least"]);
    let outcome = run(["run", "--source", &format!("images:{}", folder.path().display())]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("1×1"), "{}", outcome.stderr);
}

#[test]
fn a_closed_standard_output_is_an_error() {
    let mut command = hardnetd(["run", "--source", "test:ball?live=false", "--sink", "stdout"]);
    let (running, output) = Running::start_with_output(&mut command);
    drop(output);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(outcome.message().contains("standard output"), "{}", outcome.stderr);
    assert!(outcome.message().contains("Broken pipe"), "{}", outcome.stderr);
}

#[test]
fn a_reader_that_has_had_enough_of_a_report_is_no_error() {
    for arguments in [
        &["model", "info", "hardnet39ds"][..],
        &["model", "list", "--json"],
        &["config", "default"],
        &["config", "show"],
        &["completions", "bash"],
        &["run", "--help"],
    ] {
        let (running, output) = Running::start_with_output(&mut hardnetd(arguments));
        drop(output);
        let outcome = running.finish();
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    // What doctor found still counts.
    let arguments = ["doctor", "--timeout", "1"];
    let expected = run(arguments).code();
    let (running, output) = Running::start_with_output(&mut hardnetd(arguments));
    drop(output);
    let outcome = running.finish();
    assert_eq!(outcome.code(), expected, "{}", outcome.stderr);
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = hardnetd(["run", "--source", "test:ball?live=false"]);
    command.stdout(full);
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(outcome.message().contains("the disk is full"), "{}", outcome.stderr);
}

#[test]
fn a_core_that_does_not_exist_is_named() {
    let folder = folder();
    let path = config(folder.path(), "[inference]\ncores = [1000]\n");
    fails(&run(["run", "-c", &path]), 78, &["inference.cores", "1000", "it may use"]);
}

#[test]
fn a_missing_password_file_is_named() {
    let folder = folder();
    let path = config(
        folder.path(),
        "[publish.mqtt]\nenabled = true\nusername = \"me\"\npassword_file = \"/nowhere/secret\"\n",
    );
    fails(&run(["run", "-c", &path]), 78, &["publish.mqtt.password_file", "/nowhere/secret"]);
}

#[test]
fn a_sink_that_is_not_understood_is_a_usage_error() {
    fails(&run(["run", "--sink", "kafka://x"]), 64, &["kafka://x", "mqtt://", "mqtts://"]);
    let outcome = run(["run", "--sink", "mqtt://me:secret@host"]);
    fails(&outcome, 64, &["password_file"]);
    assert!(!outcome.stderr.contains("secret@"), "{}", outcome.stderr);
    for sink in ["mqtt://host:x", "mqtts://host:0", "mqtts://host:65536"] {
        fails(&run(["run", "--sink", sink]), 64, &["port"]);
    }
}

#[test]
fn a_full_disk_behind_the_log_does_not_stop_classification() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = hardnetd(["run", "--source", "test:ball?frames=3&live=false", "-v"]);
    command.stderr(full);
    assert_eq!(Running::start(&mut command).finish().records().len(), 3);
}

#[test]
fn passwords_are_never_printed() {
    let folder = folder();
    let file = |text: &str| config(folder.path(), text);
    let unclosed = file("[[stream]]\nname = \"a\"\nsource = \"rtsp://me:hunter2@camera/1\n");
    let query = "rtsp://127.0.0.1:1/user=me&password=hunter2&channel=1";
    for arguments in [
        vec!["config", "check", "-c", &unclosed],
        vec!["run", "--source", "rtsp:/me:hunter2@camera/1"],
        vec!["run", "--source", "rtmp:me:hunter2@camera/1"],
        vec!["run", "rtsp://me:hunter2@camera/1"],
        vec!["run", "-vv", "--source", query],
        vec!["run", "-v", "--source", "rtsp://me:hunter2@127.0.0.1:1/x"],
    ] {
        let outcome = run(&arguments);
        assert_ne!(outcome.code(), 0, "{arguments:?}");
        assert!(!outcome.stderr.contains("hunter2"), "{arguments:?}: {}", outcome.stderr);
    }
    let syntax = run(["config", "check", "-c", &unclosed]);
    assert!(syntax.stderr.contains("line 3"), "{}", syntax.stderr);
}

#[test]
fn a_pipe_where_a_file_is_expected_is_refused_at_once() {
    let folder = folder();
    let pipe = folder.path().join("pipe.jpg");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    fails(&run(["run", "--source", pipe]), 66, &[pipe, "not a regular file"]);
    fails(&run(["classify", pipe]), 66, &[pipe, "not a regular file"]);
    fails(&run(["run", "-c", pipe]), 78, &[pipe, "not a regular file"]);
    fails(&run(["run", "-c", "/dev/zero"]), 78, &["/dev/zero", "not a regular file"]);
}

#[test]
fn bytes_after_the_end_of_a_file_do_no_harm() {
    let folder = folder();
    let path = folder.path().join("clip.mkv");
    let source = "videotestsrc num-buffers=5 ! video/x-raw,width=64,height=64,framerate=30/1 ! x264enc";
    encode(&format!("{source} ! h264parse ! matroskamux"), &path);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, [bytes.as_slice(), b"junk after the end, 29 bytes."].concat()).unwrap();
    assert_eq!(run(["run", "--source", path.to_str().unwrap()]).records().len(), 5);
}

#[test]
fn an_unknown_pixel_format_is_a_usage_error() {
    fails(&run(["run", "--source", "test:ball?format=nv12"]), 64, &["format=nv12", "NV12"]);
}
