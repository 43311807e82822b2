//! `hardnetd train`: from pictures to a model that every command runs, and what happens when it is interrupted.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Outcome, Running, data, folder, hardnetd, run, wait_for};
use hardnetd::hardnet;
use hardnetd::learn::train::backbone::{Backbone, Mode};
use hardnetd::learn::train::parameters::Parameters;
use hardnetd::learn::train::plan::Plan;
use hardnetd::learn::train::random::Random;
use hardnetd::weights::{self, seeded};
use image::{Rgb, RgbImage};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A network that learns in seconds.
const TABLE: &str = "name = \"tiny\"\nstem = [8, 12]\nsecond_kernel = 1\nmultiplier = 1.6\ndepthwise = true\n\
                     [[block]]\ngrowth = 6\nlayers = 4\ntransition = 24\ndownsample = true\n\
                     [[block]]\ngrowth = 8\nlayers = 2\ntransition = 32\ndownsample = false\n";

/// The classes: bright stripes of a direction.
const CLASSES: [&str; 3] = ["across", "down", "plain"];

struct Case {
    folder: TempDir,
}

impl Case {
    /// A table and `count` pictures of each class.
    fn new(count: u32) -> Self {
        let case = Self { folder: folder() };
        fs::write(case.path("tiny.toml"), TABLE).unwrap();
        for class in CLASSES {
            for index in 0..count {
                picture(&case.path(&format!("data/{class}/{index:02}.png")), class, index);
            }
        }
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The arguments of a training in the folder `output`.
    fn arguments(&self, output: &str, more: &[&str]) -> Vec<String> {
        let (data, output, table) = (self.text("data"), self.text(output), self.text("tiny.toml"));
        let fixed = ["train", &data, "--output", &output, "--model", &table, "--size", "32x32"];
        let batch: &[&str] = if more.contains(&"--batch") { &[] } else { &["--batch", "8"] };
        fixed.iter().chain(batch).chain(more).map(|&argument| argument.to_owned()).collect()
    }

    fn train(&self, output: &str, more: &[&str]) -> Outcome {
        run(self.arguments(output, more))
    }

    /// The training in the folder `output`, resumed with the pictures of `data`.
    fn resumed(&self, data: &str, output: &str, more: &[&str]) -> Vec<String> {
        let (data, output) = (self.text(data), self.text(output));
        let fixed = ["train", &data, "--output", &output, "--resume"];
        fixed.iter().chain(more).map(|&argument| argument.to_owned()).collect()
    }

    fn resume(&self, data: &str, output: &str, more: &[&str]) -> Outcome {
        run(self.resumed(data, output, more))
    }

    /// A training that runs until it has done `epochs`.
    fn started(&self, output: &str, epochs: usize, more: &[&str]) -> Running {
        let running = Running::start(&mut hardnetd(self.arguments(output, more)));
        let log = self.path(output).join("log.jsonl");
        wait_for("an epoch", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            (text.lines().count() >= epochs).then_some(())
        });
        running
    }
}

fn picture(path: &Path, class: &str, index: u32) {
    let at = |x: u32, y: u32| {
        let place = match class {
            "across" => y,
            "down" => x,
            _ => 0,
        };
        let value = if (place + index) % 8 < 4 { 200 } else { 40 } + (index * 7 % 50) as u8;
        Rgb([value, value, value.wrapping_add((index % 9) as u8)])
    };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(40, 40, at).save(path).unwrap();
}

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_trained_model_is_right_in_every_command() {
    let case = Case::new(20);
    let more = ["--epochs", "12", "--no-flip", "--crop", "0.6", "--colour", "0.1"];
    let outcome = ok(case.train("run", &more));
    assert!(outcome.stdout.contains("run/best.safetensors: top-1 ") && outcome.stdout.contains("report.html"));
    assert!(outcome.stderr.contains("48 pictures for training, 12 pictures for testing, 3 classes"));
    assert!(!outcome.stderr.contains("top-5"), "of three classes it is always 100 %: {}", outcome.stderr);
    let log = lines(&case.path("run/log.jsonl"));
    assert_eq!(log.len(), 12);
    assert!(log[11]["loss"].as_f64() < log[0]["loss"].as_f64());
    let page = fs::read_to_string(case.path("run/report.html")).unwrap();
    assert!(page.contains("Confusion matrix") && page.contains("12 of 12"), "{page}");

    let (model, data) = (case.text("run/best.safetensors"), case.text("data"));
    let report = ok(run(["eval", "--model", &model, "--images", &data, "--json"]));
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert!(report["top1"].as_f64().unwrap() > 0.9, "{report}");
    let records = run(["run", "--source", &format!("images:{data}/down"), "--model", &model]).records();
    assert!(records.iter().all(|record| record["model"]["trained"] == true));
    let right = records.iter().filter(|record| record["top"][0]["label"] == "down").count();
    assert!(right * 10 >= records.len() * 9, "{right} of {}", records.len());
    ok(run(["model", "verify", &model]));
}

#[test]
fn a_killed_training_ends_with_the_weights_of_one_that_was_not() {
    let case = Case::new(10);
    // The seed and the share for testing decide which pictures are for testing.
    let more = ["--epochs", "30", "--mixup", "0.2", "--smoothing", "0.1", "--seed", "7", "--hold-out", "0.3"];
    for (kind, own) in [("all", &["--threads", "1"][..]), ("frozen", &["--freeze", "--optimizer", "adam"])] {
        let more = [&more[..], own].concat();
        let names = ["whole", "killed"].map(|folder| format!("{kind}-{folder}"));
        ok(case.train(&names[0], &more));
        let mut killed = case.started(&names[1], 3, &more);
        killed.child.kill().unwrap();
        killed.finish();
        ok(case.resume("data", &names[1], &["--threads", "1"]));
        for name in ["last.safetensors", "best.safetensors", "log.jsonl"] {
            let [whole, killed] = names.each_ref().map(|folder| fs::read(case.path(folder).join(name)).unwrap());
            assert!(whole == killed, "{kind}: {name} differs");
        }
    }
}

#[test]
fn a_training_that_is_stopped_within_an_epoch_ends_with_the_same_weights() {
    let case = Case::new(25);
    let more = ["--epochs", "12", "--batch", "2", "--threads", "1", "--mixup", "0.1"];
    ok(case.train("whole", &more));
    let [log, state] = ["stopped/log.jsonl", "stopped/state.safetensors"].map(|name| case.path(name));
    let mut running = case.started("stopped", 1, &more);
    let mut within = 0;
    // A stop may come between two epochs.
    for _ in 0..6 {
        // The state of the epoch is written after its line in the log; then the next epoch begins.
        wait_for("the state after an epoch", || {
            let written = |path| fs::metadata(path).and_then(|found| found.modified()).unwrap();
            (written(&state) >= written(&log)).then_some(())
        });
        running.signal(Signal::INT);
        let outcome = running.finish();
        assert_eq!(outcome.code(), 75, "{}", outcome.stderr);
        let steps = outcome.stderr.split_once("stopped after ").unwrap().1.split_once(' ').unwrap().0;
        within += u32::from(!steps.parse::<u32>().unwrap().is_multiple_of(30));
        let before = lines(&log).len();
        running = Running::start(&mut hardnetd(case.resumed("data", "stopped", &["--threads", "1"])));
        if within >= 2 {
            break;
        }
        wait_for("an epoch", || (fs::read_to_string(&log).unwrap().lines().count() > before).then_some(()));
    }
    ok(running.finish());
    assert!(within > 0, "it was stopped between epochs only");
    for name in ["last.safetensors", "best.safetensors", "log.jsonl"] {
        let [whole, stopped] = ["whole", "stopped"].map(|folder| fs::read(case.path(folder).join(name)).unwrap());
        assert!(whole == stopped, "{name} differs");
    }
    // A complete training replaces what has been lost.
    fs::remove_file(case.path("stopped/last.safetensors")).unwrap();
    ok(case.resume("data", "stopped", &[]));
    let [whole, stopped] = ["whole", "stopped"].map(|folder| case.path(folder).join("last.safetensors"));
    assert!(fs::read(whole).unwrap() == fs::read(stopped).unwrap());
}

#[test]
fn a_frozen_backbone_keeps_its_weights() {
    let case = Case::new(6);
    ok(case.train("first", &["--epochs", "1"]));
    let first = case.text("first/last.safetensors");
    let arguments = ["train", &case.text("data"), "--output", &case.text("tuned"), "--model", &first];
    ok(run(arguments.iter().chain(&["--epochs", "3", "--batch", "4", "--freeze"])));
    let [first, tuned] =
        ["first", "tuned"].map(|folder| weights::read(&case.path(folder).join("last.safetensors")).unwrap().state);
    let is_changed = |(key, array): &(&str, &weights::Array)| tuned.get(key) != Some(*array);
    let changed = first.iter().filter(is_changed).map(|(key, _)| key);
    let changed: Vec<&str> = changed.filter(|key| !key.ends_with("num_batches_tracked")).collect();
    assert_eq!(changed.len(), 2, "weight and bias of the linear layer alone: {changed:?}");
}

#[test]
fn a_batch_without_a_picture_that_can_be_read_is_skipped() {
    let case = Case::new(12);
    for index in 0..6 {
        for class in CLASSES {
            fs::write(case.path(&format!("data/{class}/{index:02}.png")), "no picture").unwrap();
        }
    }
    let outcome = ok(case.train("run", &["--epochs", "4", "--batch", "2"]));
    assert!(outcome.stderr.contains("down/00.png"), "{}", outcome.stderr);
    assert_eq!(lines(&case.path("run/log.jsonl")).len(), 4);
}

#[test]
fn a_network_that_the_engine_does_not_run_at_this_size_is_an_error_before_the_first_epoch() {
    let case = Case::new(4);
    let block = "[[block]]\ngrowth = 6\nlayers = 2\ntransition = 24\ndownsample = true\n";
    let table = format!(
        "name = \"deep\"\nstem = [8, 12]\nsecond_kernel = 3\nmultiplier = 1.6\ndepthwise = false\n{}",
        block.repeat(4)
    );
    fs::write(case.path("deep.toml"), table).unwrap();
    let (data, output, table) = (case.text("data"), case.text("run"), case.text("deep.toml"));
    let outcome = run(["train", &data, "--output", &output, "--model", &table, "--size", "32x32", "--epochs", "1"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(!case.path("run/state.safetensors").exists());
}

#[test]
fn a_training_continues_with_its_own_settings_and_pictures_only() {
    let case = Case::new(6);
    let list = |name: &str, indices: [u32; 2]| {
        let line = |class: &str, index: u32| format!("data/{class}/{index:02}.png {class}\n");
        let lines: String = CLASSES.iter().flat_map(|class| indices.map(|index| line(class, index))).collect();
        fs::write(case.path(name), lines).unwrap();
    };
    list("test.txt", [0, 1]);
    list("other.txt", [1, 2]);
    let (test, other, table) = (case.text("test.txt"), case.text("other.txt"), case.text("tiny.toml"));
    let outcome = ok(case.train("run", &["--epochs", "2", "--test", &test]));
    assert!(outcome.stderr.contains("6 pictures are both for training and for testing"), "{}", outcome.stderr);
    for setting in [
        &["--model", &table][..],
        &["--size", "64x64"],
        &["--epochs", "300"],
        &["--rate", "0.1"],
        &["--seed", "1"],
        &["--hold-out", "0.2"],
        &["--also", "shade"],
        &["--no-flip"],
    ] {
        let outcome = case.resume("data", "run", setting);
        assert_eq!(outcome.code(), 64, "{setting:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(setting[0]), "{}", outcome.stderr);
    }
    for (more, set) in [(&["--test", &other][..], "for testing"), (&[], "now there are 15")] {
        let outcome = case.resume("data", "run", more);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(set), "{}", outcome.stderr);
    }
    // The pictures may move, with other names of their folder.
    fs::rename(case.path("data"), case.path("moved")).unwrap();
    let lines = fs::read_to_string(&test).unwrap();
    fs::create_dir(case.path("lists")).unwrap();
    fs::rename(case.path("moved"), case.path("lists/data")).unwrap();
    fs::write(case.path("lists/test.txt"), lines).unwrap();
    ok(case.resume("lists/./data", "run", &["--test", &case.text("lists/test.txt")]));
    fs::rename(case.path("lists/data/down/03.png"), case.path("lists/data/down/33.png")).unwrap();
    let outcome = case.resume("lists/data", "run", &["--test", &case.text("lists/test.txt")]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("the pictures for training are not those"), "{}", outcome.stderr);

    fs::rename(case.path("lists/data/down"), case.path("lists/data/below")).unwrap();
    let outcome = case.resume("lists/data", "run", &[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("other classes (gone: down; new: below)"), "{}", outcome.stderr);

    let state = case.path("run/state.safetensors");
    let bytes = fs::read(&state).unwrap();
    let version = b"hardnetd.training.v2";
    let at = bytes.windows(version.len()).position(|part| part == version).unwrap();
    let mut old = bytes.clone();
    old[at + version.len() - 1] = b'1';
    fs::write(&state, old).unwrap();
    let outcome = case.resume("lists/data", "run", &[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("its schema is \"hardnetd.training.v1\""), "{}", outcome.stderr);
    let outcome = run(["model", "info", &case.text("run/state.safetensors")]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(
        outcome.message().contains("is the state of a training, not a model: use best.safetensors"),
        "{}",
        outcome.stderr
    );
    fs::remove_file(&state).unwrap();
    let outcome = run(["train", &case.text("lists/data"), "--output", &case.text("run"), "--model", &table]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("is the result of an earlier training"), "{}", outcome.stderr);
}

#[test]
fn a_training_that_diverges_leaves_a_state_of_numbers() {
    let case = Case::new(8);
    let outcome = case.train("run", &["--epochs", "3", "--rate", "1e30", "--warm-up", "0"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("choose a smaller learning rate"), "{}", outcome.stderr);
    let state = weights::read(&case.path("run/state.safetensors")).unwrap().state;
    assert!(state.iter().all(|(_, array)| array.data().iter().all(|value| value.is_finite())));
    for (name, value, part) in [
        ("--mixup", "20", "0.01 to 8"),
        ("--mixup", "1e-310", "0.01 to 8"),
        ("--warm-up", "1e20", "at most the number of epochs, 3"),
    ] {
        let outcome = case.train("other", &["--epochs", "3", name, value]);
        assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn all_work_of_a_training_is_done_by_as_many_threads_as_asked_for() {
    let case = Case::new(10);
    let running = case.started("run", 1, &["--epochs", "100000", "--threads", "1"]);
    let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap();
    let name = |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.unwrap().path().join("comm")).unwrap();
    let mut names: Vec<String> = tasks.map(name).collect();
    names.sort();
    // One thread computes; the others wait for it, or for signals.
    assert_eq!(names, ["hardnetd\n", "signals\n", "train-0\n", "train-batches\n"]);
    running.signal(Signal::INT);
    assert_eq!(running.finish().code(), 75);
}

#[test]
fn ctrl_c_and_a_full_disk_lose_no_checkpoint() {
    let case = Case::new(10);
    let running = case.started("run", 1, &["--epochs", "100000"]);
    let second = case.resume("data", "run", &[]);
    assert_eq!(second.code(), 64, "{}", second.stderr);
    assert!(second.message().contains("another process trains in"), "{}", second.stderr);
    running.signal(Signal::INT);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 75, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--resume continues"), "{}", outcome.stderr);
    let state = fs::read(case.path("run/state.safetensors")).unwrap();

    // A limit on the size of files takes the place of a full disk.
    let resume = case.resumed("data", "run", &[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hardnetd")]).args(&resume);
    let outcome = limited.output().unwrap();
    let text = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(74), "{text}");
    assert!(text.contains("cannot write") && text.contains("File too large"), "{text}");
    assert!(fs::read(case.path("run/state.safetensors")).unwrap() == state, "the checkpoint is unchanged");

    let best = case.path("run/best.safetensors");
    fs::remove_file(&best).unwrap();
    let running = Running::start(&mut hardnetd(&resume));
    let log = case.path("run/log.jsonl");
    let before = lines(&log).len();
    wait_for("another epoch", || (fs::read_to_string(&log).unwrap().lines().count() > before + 1).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 75);
    assert!(outcome.stderr.contains("best.safetensors is gone") && best.exists(), "{}", outcome.stderr);
    let epochs: Vec<u64> = lines(&log).iter().map(|line| line["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.iter().enumerate().all(|(index, epoch)| *epoch == index as u64 + 1), "{epochs:?}");

    // A pipe that nobody reads is no place for a log.
    fs::remove_file(&log).unwrap();
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    let outcome = run(&resume);
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(
        outcome.message().contains("log.jsonl (to continue without it, move it away): not a regular file"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn broken_pictures_are_named_once_and_left_out() {
    let case = Case::new(6);
    fs::write(case.path("data/down/broken.png"), "no picture").unwrap();
    let whole = fs::read(case.path("data/plain/00.png")).unwrap();
    fs::write(case.path("data/plain/cut.png"), &whole[..whole.len() / 2]).unwrap();
    let outcome = ok(case.train("run", &["--epochs", "3"]));
    for name in ["down/broken.png", "plain/cut.png"] {
        assert_eq!(outcome.stderr.matches(name).count(), 1, "{}", outcome.stderr);
    }
    // A class of which nothing is left cannot be learned.
    for index in 0..6 {
        fs::write(case.path(&format!("data/plain/{index:02}.png")), "no picture").unwrap();
    }
    let outcome = case.train("other", &["--epochs", "3"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("none of the pictures of \"plain\""), "{}", outcome.stderr);
    assert!(!case.path("other/last.safetensors").exists());
}

#[test]
fn data_that_cannot_teach_are_errors_that_say_what_is_missing() {
    let case = Case::new(4);
    let table = case.text("tiny.toml");
    let train = |data: &str| run(["train", data, "--output", &case.text("run"), "--model", &table]);
    fs::create_dir_all(case.path("empty/one")).unwrap();
    fs::create_dir_all(case.path("empty/two")).unwrap();
    picture(&case.path("single/down/1.png"), "down", 1);
    picture(&case.path("few/down/1.png"), "down", 1);
    picture(&case.path("few/across/1.png"), "across", 1);
    picture(&case.path("few/across/2.png"), "across", 2);
    fs::write(case.path("list.txt"), "data/down/00.png down\nonly\n").unwrap();
    for class in CLASSES {
        for index in 0..2 {
            fs::create_dir_all(case.path(&format!("broken/{class}"))).unwrap();
            fs::write(case.path(&format!("broken/{class}/{index}.png")), "no picture").unwrap();
        }
    }
    for (data, code, part) in [
        ("broken", 65, "none of 3 pictures for testing can be used"),
        ("empty", 65, "empty has 0 folders with pictures"),
        ("single", 65, "single has 1 folder with pictures"),
        ("few", 65, "the class \"down\" has one picture"),
        ("list.txt", 65, "list.txt, line 2: expected a file name and a class"),
        ("nowhere", 66, "cannot read"),
    ] {
        let outcome = train(&case.text(data));
        assert_eq!(outcome.code(), code, "{data}: {}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
        assert!(!case.path("run").exists(), "{data}: nothing has begun");
    }
    ok(case.train("run", &["--epochs", "1"]));
    let again = case.train("run", &["--epochs", "1"]);
    assert_eq!(again.code(), 64, "{}", again.stderr);
    assert!(again.message().contains("--resume continues it"), "{}", again.stderr);
    picture(&case.path("data/down/more.png"), "down", 1);
    let other = case.resume("data", "run", &[]);
    assert_eq!(other.code(), 65, "{}", other.stderr);
    assert!(other.message().contains("continue with the same pictures"), "{}", other.stderr);
}

#[test]
fn a_list_may_hold_a_further_task_and_its_own_test_set() {
    let case = Case::new(8);
    let line = |class: &str, index: u32| {
        let shade = if index.is_multiple_of(2) { "even" } else { "odd" };
        format!("{{\"path\": \"data/{class}/{index:02}.png\", \"label\": \"{class}\", \"shade\": \"{shade}\"}}\n")
    };
    let list = |range: std::ops::Range<u32>| -> String {
        CLASSES.iter().flat_map(|class| range.clone().map(move |index| line(class, index))).collect()
    };
    fs::write(case.path("train.jsonl"), list(0..6)).unwrap();
    fs::write(case.path("test.jsonl"), list(6..8)).unwrap();
    let (train, test, table) = (case.text("train.jsonl"), case.text("test.jsonl"), case.text("tiny.toml"));
    let fixed = ["train", &train, "--test", &test, "--model", &table, "--size", "32x32", "--batch", "8"];
    let more = ["--output", &case.text("run"), "--epochs", "2", "--also", "shade=0.5", "--balance"];
    let outcome = ok(run([&fixed[..], &more].concat()));
    assert!(outcome.stderr.contains("18 pictures for training, 6 pictures for testing"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("shade in training"), "{}", outcome.stderr);
    assert_eq!(lines(&case.path("run/log.jsonl"))[1]["also_top1"].as_array().unwrap().len(), 1);

    let outcome = run([&fixed[..], &["--output", &case.text("other"), "--also", "colour"]].concat());
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("has the field \"colour\""), "{}", outcome.stderr);
    let outcome = case.train("other", &["--also", "shade"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
}

/// CIFAR-100 in its published binary form, with `count` pictures: each class has a colour.
fn cifar(folder: &Path, count: usize) {
    fs::create_dir_all(folder).unwrap();
    let record = |index: usize| {
        let class = index % 100;
        let plane = |value: usize| vec![(value * 27 % 256) as u8; 1024];
        [vec![0, class as u8], plane(class % 10), plane(class / 10), plane(index % 7)].concat()
    };
    for (name, count) in [("train.bin", count), ("test.bin", 100)] {
        let records: Vec<u8> = (0..count).flat_map(record).collect();
        fs::write(folder.join(name), records).unwrap();
    }
    let labels: String = (0..100).map(|class| format!("thing_{class}\n")).collect();
    fs::write(folder.join("fine_label_names.txt"), labels).unwrap();
}

#[test]
fn a_network_of_1000_classes_is_tuned_on_cifar_100() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, seeded, output) = (path("cifar-100-binary"), path("seeded.safetensors"), path("run"));
    cifar(Path::new(&data), 192);
    ok(run(["model", "export", "hardnet39ds", "--output", &seeded]));
    let more = ["--epochs", "1", "--batch", "64", "--size", "64x64"];
    let outcome = ok(run([&["train", &data, "--model", &seeded, "--output", &output], &more[..]].concat()));
    let message = "the linear layer of hardnet39ds for 1000 classes is replaced by a new one for 100";
    assert_eq!(outcome.stderr.matches(message).count(), 1, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("WARN"), "{}", outcome.stderr);

    let model = path("run/best.safetensors");
    let picture = path("picture.png");
    RgbImage::from_pixel(32, 32, Rgb([30, 60, 90])).save(&picture).unwrap();
    let classified = ok(run(["classify", &picture, "--model", &model, "--json"]));
    assert!(classified.stdout.contains("\"thing_"), "{}", classified.stdout);
    let records = run(["run", "--source", "test:ball", "--frames", "2", "--model", &model]).records();
    assert_eq!((&records[0]["model"]["trained"], records[0]["top"].as_array().unwrap().len()), (&Value::Bool(true), 5));
    fs::create_dir_all(path("set/thing_7")).unwrap();
    fs::copy(&picture, path("set/thing_7/1.png")).unwrap();
    let list = path("list.txt");
    fs::write(&list, "thing_7/1.png 7\n").unwrap();
    ok(run(["eval", "--model", &model, "--images", &path("set"), "--list", &list]));
    ok(run(["model", "export", &model, "--output", &path("tuned.onnx")]));
    ok(run(["model", "verify", &path("tuned.onnx")]));
    ok(run(["model", "verify", &model]));

    // A test set of one's own takes the place of CIFAR's.
    let arguments = ["train", &data, "--test", &path("set"), "--model", &seeded, "--output", &path("own")];
    let outcome = ok(run([&arguments, &more[..]].concat()));
    assert!(outcome.stderr.contains("192 pictures for training, 1 picture for testing"), "{}", outcome.stderr);
}

#[test]
fn the_network_in_training_has_the_reference_logits() {
    for name in ["hardnet39ds", "hardnet68"] {
        let golden = fs::read_to_string(data(&format!("golden/{name}.json"))).unwrap();
        let golden: Value = serde_json::from_str(&golden).unwrap();
        let case = &golden["cases"][0];
        let [height, width] = ["height", "width"].map(|side| case[side].as_u64().unwrap() as usize);
        let architecture = hardnet::find(name).unwrap();
        let state = hardnet::seeded(architecture, 1000).unwrap();
        let random = &mut Random::new(0, &[]);
        let mut parameters = Parameters::from_state(architecture, &state, &[1000], random).unwrap();
        // The seeded input is numbered as `[1, 3, height, width]`.
        let at = |index: usize| seeded::input(index % 3 * height * width + index / 3);
        let picture: Vec<f32> = (0..height * width * 3).map(at).collect();
        let mut backbone = Backbone::new(Plan::new(architecture, [height, width]));
        let values = parameters.values[..parameters.backbone].to_vec();
        let features = backbone.forward(&values, &mut parameters.statistics, &picture, Mode::Evaluate);
        let head = &parameters.heads[0];
        let rows = parameters.values[head.weight.clone()].chunks_exact(features.len());
        let expected = case["logits"].as_array().unwrap();
        assert_eq!(expected.len(), 1000);
        for ((row, bias), expected) in rows.zip(&parameters.values[head.bias.clone()]).zip(expected) {
            let found = row.iter().zip(&features).map(|(a, b)| a * b).sum::<f32>() + bias;
            let expected = expected.as_f64().unwrap();
            assert!((f64::from(found) - expected).abs() < 1e-3, "{name}: {found}, expected {expected}");
        }
    }
}

#[test]
fn a_device_that_the_program_was_not_built_for_is_an_error_that_says_what_to_do() {
    let case = Case::new(4);
    let outcome = case.train("run", &["--device", "cuda"]);
    if cfg!(feature = "train-cuda") {
        return;
    }
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("feature train-cuda"), "{}", outcome.stderr);
}
