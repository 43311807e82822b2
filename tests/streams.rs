//! Many streams: a model, a region and a weight for each, one decoder for several, and a fair share of the inference.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Outcome, Running, encode, folder, hardnetd, of_stream, run, seqs, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// Runs a configuration; `frames` results of each stream.
fn classified(text: &str, frames: &str) -> Outcome {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    fs::write(&config, text).unwrap();
    run(["run", "-c", config.to_str().unwrap(), "--frames", frames])
}

/// Runs a configuration until `is_enough` of its records.
fn until(text: &str, is_enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    fs::write(&config, text).unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    wait_for("enough results", || is_enough(&whole_records(&running.output())).then_some(()));
    running.signal(Signal::TERM);
    running.finish().records()
}

fn whole_records(output: &str) -> Vec<Value> {
    common::records(output.rfind('\n').map_or("", |end| &output[..end]))
}

/// A test picture as a stream.
fn stream(name: &str, pattern: &str, rest: &str) -> String {
    format!("[[stream]]\nname = \"{name}\"\nsource = \"test:{pattern}\"\n{rest}\n")
}

fn counts(records: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(record["stream"].as_str().unwrap()).or_default() += 1;
    }
    counts
}

#[test]
fn every_stream_has_its_own_model_or_the_common_one() {
    let text = stream("common", "ball?size=64x64", "")
        + &stream("own", "snow?size=64x64", "model = \"hardnet39ds\"")
        + &stream("too", "smpte?size=64x64", "model = \"HarDNet-39-DS\"")
        + "[publish.stdout]\nenabled = true\n";
    let outcome = classified(&text, "2");
    let records = outcome.records();
    let names = |stream: &'static str| {
        let names = of_stream(&records, stream).into_iter().map(|record| record["model"]["name"].as_str().unwrap());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("common"), ["signal"; 2]);
    assert_eq!(names("own"), ["hardnet39ds"; 2]);
    assert_eq!(names("too"), ["hardnet39ds"; 2]);
}

#[test]
fn a_model_that_is_not_there_names_its_stream() {
    let text = stream("gate", "ball", "model = \"/nowhere/gate.safetensors\"");
    let outcome = classified(&text, "1");
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    let message = outcome.message();
    assert!(
        message.contains("the model of stream `gate`") && message.contains("/nowhere/gate.safetensors"),
        "{message}"
    );
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    fs::write(&config, text).unwrap();
    let check = run(["config", "check", "-c", config.to_str().unwrap()]);
    assert_eq!(check.code(), 78, "{}", check.stderr);
    assert!(check.message().contains("stream[0].model"), "{}", check.stderr);
}

/// A picture whose left half is black and whose right half is a test pattern.
fn halves(path: &Path) {
    let text = "videotestsrc num-buffers=1 pattern=smpte ! video/x-raw,width=320,height=320,format=RGB \
                ! videobox left=-320 fill=black ! pngenc";
    encode(text, path);
}

#[test]
fn regions_of_one_source_are_streams_of_one_decoder() {
    let folder = folder();
    halves(&folder.path().join("1.png"));
    for number in 2..=4 {
        fs::copy(folder.path().join("1.png"), folder.path().join(format!("{number}.png"))).unwrap();
    }
    let source = format!("images:{}", folder.path().display());
    let of = |name: &str, region: &str| {
        format!("[[stream]]\nname = \"{name}\"\nsource = \"{source}\"\nregion = \"{region}\"\n")
    };
    let outcome = classified(&(of("left", "0,0,0.5,1") + &of("right", "0.5,0,0.5,1")), "4");
    let records = outcome.records();
    let best = |stream: &str| {
        of_stream(&records, stream).into_iter().map(|record| record["top"][0]["label"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(best("left"), ["black"; 4]);
    assert_eq!(best("right"), ["pattern smpte"; 4]);
    for stream in ["left", "right"] {
        let of_stream: Vec<Value> = of_stream(&records, stream).into_iter().cloned().collect();
        assert_eq!(seqs(&of_stream), [0, 1, 2, 3], "a frame has the same number in all of its streams");
        assert_eq!(of_stream[3]["file"].as_str().map(|file| file.ends_with("4.png")), Some(true));
    }
}

#[test]
fn a_live_source_of_several_streams_has_one_thread() {
    let region = |name: &str, region: &str| stream(name, "smpte?size=64x64", &format!("region = \"{region}\""));
    let text = region("a", "0,0,0.5,1") + &region("b", "0.5,0,0.5,1") + &stream("c", "ball?size=64x64", "");
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    fs::write(&config, text).unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    let seen = wait_for("results of all", || {
        let records = whole_records(&running.output());
        (counts(&records).len() == 3).then_some(records)
    });
    let threads = fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap().flatten();
    let names = threads.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut sources: Vec<String> = names.filter(|name| name.starts_with("cap-")).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["cap-a\n", "cap-c\n"]);
    running.signal(Signal::TERM);
    let outcome = running.finish();
    for stream in ["a", "b", "c"] {
        let of_stream: Vec<Value> = of_stream(&outcome.records(), stream).into_iter().cloned().collect();
        common::numbers_add_up(&of_stream);
        assert!(seen.iter().any(|record| record["stream"] == stream));
    }
}

#[test]
fn streams_that_compete_share_by_weight() {
    // Far more frames than can be classified.
    let text = stream("one", "ball?size=64x64&fps=1000", "")
        + &stream("three", "snow?size=64x64&fps=1000", "weight = 3")
        + "[model]\nname = \"hardnet39ds\"\n";
    let records = until(&text, |records| counts(records).get("one").is_some_and(|count| *count >= 20));
    let counts = counts(&records);
    let (one, three) = (counts["one"] as f64, counts["three"] as f64);
    assert!((2.5..3.5).contains(&(three / one)), "{counts:?}");
}

#[test]
fn sixteen_cameras_share_the_inference_though_one_floods() {
    let of = |number: usize| {
        let fps = if number == 0 { 60 } else { 5 };
        // Each has its own source.
        stream(&format!("s{number:02}"), &format!("ball?size=1920x1080&fps={fps}&frames={}", 100_000 + number), "")
    };
    let text = (0..16).map(of).collect::<String>() + "[model]\nname = \"hardnet68ds\"\n";
    let records = until(&text, |records| {
        let counts = counts(records);
        counts.len() == 16 && counts.values().all(|count| *count >= 12)
    });
    let counts = counts(&records);
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(most - least <= 1 + most / 20, "{counts:?}");
    for number in 0..16 {
        let of_stream: Vec<Value> = of_stream(&records, &format!("s{number:02}")).into_iter().cloned().collect();
        common::numbers_add_up(&of_stream);
    }
}

#[test]
fn a_reload_adds_and_removes_regions_of_a_source_that_goes_on() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let whole = stream("whole", "smpte?size=64x64", "");
    let part = |name: &str, region: &str| stream(name, "smpte?size=64x64", &format!("region = \"{region}\""));
    let other = stream("other", "ball?size=64x64", "");
    let guest = stream("guest", "ball?size=64x64&fps=50", "");
    let write = |parts: &str| fs::write(&config, format!("{whole}{other}{parts}[model]\nsize = \"32x32\"\n")).unwrap();
    write("");
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    let seen = |stream: &str| running.output().matches(&format!("\"stream\":\"{stream}\"")).count();
    wait_for("results", || (seen("whole") > 0 && seen("other") > 0).then_some(()));
    let reloads = || running.log().matches("reloaded: ").count();
    let reload = |parts: &str| {
        let before = reloads();
        write(parts);
        running.signal(Signal::HUP);
        wait_for("the reload", || (reloads() > before).then_some(()));
    };
    for round in 0..5 {
        reload(&(part("left", "0,0,0.5,1") + &guest));
        let before = (seen("left"), seen("guest"));
        wait_for("results of a part", || (seen("left") > before.0 && seen("guest") > before.1 + 9).then_some(()));
        reload(&(part("right", "0.5,0,0.5,1") + &part("left", "0,0,1,0.5") + &part("guest", "0,0.5,1,0.5")));
        let seen = || ["left", "right", "guest"].map(seen);
        let before = seen();
        wait_for("results of all", || seen().iter().zip(before).all(|(now, then)| *now > then).then_some(()));
        reload("");
        assert_eq!(reloads(), 3 * (round + 1));
    }
    let before = seen("whole");
    wait_for("results of the whole", || (seen("whole") > before).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    let records = outcome.records();
    for stream in ["whole", "other"] {
        let of_stream: Vec<Value> = of_stream(&records, stream).into_iter().cloned().collect();
        common::numbers_add_up(&of_stream);
        let ends = outcome.stderr.lines().filter(|line| line.contains("stream ended") && line.contains(stream)).count();
        assert_eq!(ends, 1, "{stream} goes on: {}", outcome.stderr);
    }
    for stream in ["left", "right", "guest"] {
        let of_stream: Vec<Value> = of_stream(&records, stream).into_iter().cloned().collect();
        common::numbers_add_up(&of_stream);
    }
    assert!(outcome.stderr.contains("unchanged=2 started=2"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("unchanged=3 started=2"),
        "the region is no part of the source: {}",
        outcome.stderr
    );
}

#[test]
fn the_example_with_four_cameras_runs() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/four-cameras.toml")).unwrap();
    // Test pictures in place of the cameras, whose settings go with them.
    let mut cameras = 0;
    let lines = text.lines().filter(|line| {
        !["username", "password_file", "[stream.", "format", "cores"].iter().any(|key| line.starts_with(key))
    });
    let text: String = lines
        .map(|line| match line.strip_prefix("source = ") {
            Some(source) => {
                cameras += 1;
                let shared =
                    if source.contains("hall") { "test:smpte?size=64x64" } else { "test:ball?size=64x64&frames=" };
                let number = if shared.ends_with('=') { (9000 + cameras).to_string() } else { String::new() };
                format!("source = \"{shared}{number}\"\n")
            }
            None => format!("{line}\n"),
        })
        .collect();
    fs::write(&config, text).unwrap();
    let outcome = run(["run", "-c", config.to_str().unwrap(), "--frames", "2", "--sink", "stdout"]);
    let records = outcome.records();
    assert_eq!(counts(&records).len(), cameras, "{}", outcome.stderr);
    let mut models: Vec<&str> = records.iter().map(|record| record["model"]["name"].as_str().unwrap()).collect();
    models.sort_unstable();
    models.dedup();
    assert_eq!(models.len(), 3, "{models:?}");
    assert!(cameras > 4, "one camera has two streams");
}

#[test]
fn a_still_picture_is_classified_once_and_a_moving_one_every_time() {
    let still = stream("still", "gradient?size=64x64&frames=30&live=false", "carry_over_max_s = 3600");
    let moving = stream("moving", "snow?size=64x64&frames=30&live=false", "carry_over_max_s = 3600");
    let off = stream("off", "gradient?size=64x64&frames=30&live=false", "");
    let outcome = classified(&(still + &moving + &off), "30");
    let records = outcome.records();
    let carried = |stream: &'static str| {
        of_stream(&records, stream).into_iter().map(|record| record["carried"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(carried("still"), (0..30).map(|frame| Some(frame).filter(|frame| *frame > 0)).collect::<Vec<_>>());
    assert_eq!(carried("moving"), [None; 30]);
    assert_eq!(carried("off"), [None; 30]);
    let tops: Vec<&Value> = of_stream(&records, "still").into_iter().map(|record| &record["top"]).collect();
    assert!(tops.iter().all(|top| *top == tops[0]));
    let counts =
        |stream: &str| outcome.stderr.lines().find(|line| line.contains("stream ended") && line.contains(stream));
    assert!(
        counts("still").unwrap().contains("classified=1 dropped=0 failed=0 left_out=0 carried=29"),
        "{}",
        outcome.stderr
    );
}
