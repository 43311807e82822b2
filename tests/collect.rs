//! `[collect]`: frames whose answer was uncertain are kept, within limits, and nothing waits for the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{Outcome, Running, colours, data, folder, hardnetd, run, wait_for};
use image::{Rgb, RgbImage};
use rustix::process::Signal;
use tempfile::TempDir;

/// Halfway between black and red for the network of [`colours`].
const DARK_RED: [u8; 3] = [188, 0, 0];
/// Halfway between blue and magenta.
const VIOLET: [u8; 3] = [188, 0, 255];
const CERTAIN: [u8; 3] = [255, 0, 0];

/// A network that recognises colours, made once.
fn model() -> &'static Path {
    static MODEL: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let folder = folder();
        let model = colours::model(folder.path());
        (folder, model)
    });
    model
}

/// Pictures of these colours, in order.
fn pictures(folder: &Path, colours: &[[u8; 3]]) -> String {
    let pictures = folder.join("pictures");
    fs::create_dir_all(&pictures).unwrap();
    for (number, colour) in colours.iter().enumerate() {
        RgbImage::from_pixel(64, 48, Rgb(*colour)).save(pictures.join(format!("{number:03}.png"))).unwrap();
    }
    format!("images:{}", pictures.display())
}

/// A configuration with the stream `door`, and these lines in `[collect]`.
fn config(folder: &Path, source: &str, collect: &str) -> PathBuf {
    let path = folder.join("hardnetd.toml");
    let model = model().display();
    let text = format!(
        "[device]\nstop_timeout_s = 30\n[[stream]]\nname = \"door\"\nsource = \"{source}\"\n\
         [model]\nname = \"{model}\"\n[collect]\n{collect}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// Runs the program to its end, in `folder`.
fn run_with(folder: &Path, source: &str, collect: &str) -> Outcome {
    let path = config(folder, source, collect);
    let mut command = hardnetd(["run", "-c", path.to_str().unwrap()]);
    Running::start(command.current_dir(folder)).finish()
}

/// The files in a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn colour_at(path: &Path, x: u32, y: u32) -> [u8; 3] {
    image::open(path).unwrap().into_rgb8().get_pixel(x, y).0
}

#[track_caller]
fn assert_near(found: [u8; 3], expected: [u8; 3], tolerance: u8) {
    let is_near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= tolerance);
    assert!(is_near, "{found:?}, expected {expected:?}");
}

#[test]
fn uncertain_frames_are_kept_with_their_colours_and_certain_ones_are_not() {
    let folder = folder();
    let source = pictures(folder.path(), &[CERTAIN, DARK_RED, CERTAIN, VIOLET, CERTAIN]);
    let outcome = run_with(folder.path(), &source, "folder = \"kept\"\ninterval_s = 0");
    let records = outcome.records();
    assert_eq!(records.len(), 5);
    assert_eq!(records[0]["top"].as_array().unwrap().len(), 5);
    let kept = files(&folder.path().join("kept/door"));
    let [first, second] = &kept[..] else { panic!("{kept:?} {}", outcome.stderr) };
    assert_near(colour_at(first, 32, 24), DARK_RED, 4);
    assert_near(colour_at(second, 32, 24), VIOLET, 4);
    assert_eq!(image::image_dimensions(first).unwrap(), (64, 48));
    for (path, record) in [(first, &records[1]), (second, &records[3])] {
        let (label, score) = (record["top"][0]["label"].as_str().unwrap(), record["top"][0]["score"].as_f64().unwrap());
        assert!(name(path).ends_with(&format!("Z_door_{score:.2}_{label}.jpg")), "{path:?} {record}");
    }
    assert!(outcome.stderr.contains("kept=2 failed=0 left_out=0"), "{}", outcome.stderr);
}

#[test]
fn the_margin_is_known_if_one_class_is_listed() {
    let folder = folder();
    let source = pictures(folder.path(), &[DARK_RED, CERTAIN]);
    let path = config(folder.path(), &source, "folder = \"kept\"");
    let mut command = hardnetd(["run", "--top", "1", "-c", path.to_str().unwrap()]);
    let records = Running::start(command.current_dir(folder.path())).finish().records();
    assert_eq!(records[0]["top"].as_array().unwrap().len(), 1);
    assert_eq!(files(&folder.path().join("kept/door")).len(), 1);
}

#[test]
fn a_picture_has_the_colours_and_the_orientation_of_its_source() {
    let folder = folder();
    // Colour bars, as Y'CbCr.
    let bars = "test:smpte?live=false&frames=1&size=640x480";
    run_with(folder.path(), bars, "folder = \"bars\"\nmargin = 1.0").records();
    let [picture] = &files(&folder.path().join("bars/door"))[..] else { panic!("one picture") };
    let expected = [[255; 3], [255, 255, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255], [255, 0, 0], [0, 0, 255]];
    for (bar, expected) in expected.into_iter().enumerate() {
        assert_near(colour_at(picture, 45 + 91 * bar as u32, 100), expected, 10);
    }
    // Turned by its EXIF orientation.
    let turned = folder.path().join("turned");
    fs::create_dir(&turned).unwrap();
    fs::copy(data("preprocess/modes/turned.jpg"), turned.join("0.jpg")).unwrap();
    let source = format!("images:{}", turned.display());
    run_with(folder.path(), &source, "folder = \"upright\"\nmargin = 1.0").records();
    let [picture] = &files(&folder.path().join("upright/door"))[..] else { panic!("one picture") };
    let upright = hardnetd::capture::Still::open(&turned.join("0.jpg")).unwrap();
    let (layout, found) = (upright.layout(), image::open(picture).unwrap().into_rgb8());
    assert_eq!((layout.width as u32, layout.height as u32), found.dimensions());
    let shown = upright.picture().unwrap();
    let differences = found.enumerate_pixels().map(|(x, y, found)| {
        let expected = &shown.row(0, y as usize)[x as usize * 3..][..3];
        found.0.iter().zip(expected).map(|(found, expected)| u64::from(found.abs_diff(*expected))).sum::<u64>()
    });
    let mean = differences.sum::<u64>() as f64 / (layout.width * layout.height * 3) as f64;
    assert!(mean < 8.0, "{mean}");
}

#[test]
fn the_limit_of_a_day_holds_also_after_a_restart() {
    let folder = folder();
    let collect = "folder = \"kept\"\ninterval_s = 0\nmax_per_day = 3";
    let source = pictures(folder.path(), &[DARK_RED; 2]);
    run_with(folder.path(), &source, collect).records();
    assert_eq!(files(&folder.path().join("kept/door")).len(), 2);
    let source = pictures(folder.path(), &[VIOLET; 30]);
    assert_eq!(run_with(folder.path(), &source, collect).records().len(), 30);
    assert_eq!(files(&folder.path().join("kept/door")).len(), 3);
    run_with(folder.path(), &source, collect).records();
    assert_eq!(files(&folder.path().join("kept/door")).len(), 3);
}

#[test]
fn frames_of_a_stream_are_kept_no_closer_than_the_interval() {
    let folder = folder();
    let source = pictures(folder.path(), &[DARK_RED; 10]);
    for _ in 0..2 {
        run_with(folder.path(), &source, "folder = \"kept\"\ninterval_s = 3600").records();
        assert_eq!(files(&folder.path().join("kept/door")).len(), 1);
    }
}

#[test]
fn the_oldest_pictures_of_hardnetd_make_room_for_new_ones() {
    let folder = folder();
    let door = folder.path().join("kept/door");
    fs::create_dir_all(&door).unwrap();
    let half = vec![0; 500_000];
    for name in ["20250101T000000.000000Z_door_0.50_red.jpg", "20250102T000000.000000Z_door_0.50_red.jpg", "mine.jpg"] {
        fs::write(door.join(name), &half).unwrap();
    }
    let source = pictures(folder.path(), &[DARK_RED]);
    run_with(folder.path(), &source, "folder = \"kept\"\nmax_size_mb = 1").records();
    let kept = files(&door);
    let names: Vec<&str> = kept.iter().map(|path| name(path)).collect();
    assert!(names.len() == 3 && names[0].starts_with("20250102") && names[2] == "mine.jpg", "{names:?}");
}

#[test]
fn a_folder_that_cannot_be_used_is_one_warning_and_results_go_on() {
    let folder = folder();
    fs::create_dir(folder.path().join("kept")).unwrap();
    fs::write(folder.path().join("kept/door"), "a file").unwrap();
    let source = pictures(folder.path(), &[DARK_RED; 20]);
    for kept in ["kept", "missing/kept"] {
        let outcome = run_with(folder.path(), &source, &format!("folder = \"{kept}\"\ninterval_s = 0"));
        assert_eq!(outcome.records().len(), 20);
        let warnings = outcome.stderr.lines().filter(|line| line.contains("WARN")).count();
        assert_eq!(outcome.stderr.matches("cannot keep uncertain frames").count(), 1, "{}", outcome.stderr);
        assert!(warnings == 1 && outcome.stderr.contains(kept), "{}", outcome.stderr);
    }
    assert!(!folder.path().join("missing").exists());
}

#[test]
fn a_full_disk_is_one_warning_and_leaves_nothing_half_written() {
    let folder = folder();
    let source = "test:snow?live=false&frames=6&size=640x480";
    let path = config(folder.path(), source, "folder = \"kept\"\ninterval_s = 0\nmargin = 1.0");
    // A limit on the size of files simulates a full disk.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hardnetd")]);
    command.args(["run", "-c", path.to_str().unwrap()]).current_dir(folder.path());
    command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let outcome = Running::start(&mut command).finish();
    assert_eq!(outcome.records().len(), 6);
    assert_eq!(outcome.stderr.matches("cannot keep uncertain frames").count(), 1, "{}", outcome.stderr);
    assert_eq!(files(&folder.path().join("kept/door")).len(), 0);
}

#[test]
fn by_default_nothing_is_written() {
    let folder = folder();
    let source = pictures(folder.path(), &[DARK_RED; 3]);
    let before = files(folder.path()).len();
    let outcome = run_with(folder.path(), &source, "");
    assert_eq!(outcome.records().len(), 3);
    // The configuration is new.
    assert_eq!(files(folder.path()).len(), before + 1);
}

#[test]
fn a_reload_changes_what_is_kept_and_a_stop_finishes_what_waits() {
    let folder = folder();
    let source = "test:ball?size=64x64";
    let path = config(folder.path(), source, "margin = 1.0");
    let mut command = hardnetd(["run", "-c", path.to_str().unwrap()]);
    let running = Running::start(command.current_dir(folder.path()));
    wait_for("a result", || running.output().contains('\n').then_some(()));
    for (kept, limit) in [("first", "interval_s = 3600"), ("second", "interval_s = 0\nmax_per_day = 1")] {
        config(folder.path(), source, &format!("folder = \"{kept}\"\nmargin = 1.0\n{limit}"));
        running.signal(Signal::HUP);
        wait_for("a picture", || {
            let kept = files(&folder.path().join(kept).join("door"));
            kept.iter().any(|path| name(path).ends_with(".jpg")).then_some(())
        });
    }
    config(folder.path(), source, "folder = \"first\"\nmargin = 1.0\ninterval_s = 3600\nmax_per_day = 7");
    running.signal(Signal::HUP);
    wait_for("the reload", || (running.log().matches("unchanged=1 started=0").count() == 3).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    common::numbers_add_up(&outcome.records());
    // The interval holds across reloads.
    let count = |kept: &str| files(&folder.path().join(kept).join("door")).len();
    assert_eq!((count("first"), count("second")), (1, 1), "{}", outcome.stderr);
}

#[test]
fn settings_of_the_collection_are_checked_together() {
    let folder = folder();
    let path = config(
        folder.path(),
        "test:ball",
        "folder = 7\nmargin = 2\nmax_per_day = 0\ninterval_s = -1\nmax_size_mb = 0\ndirectory = \"x\"",
    );
    let outcome = run(["config", "check", "-c", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 78);
    for part in [
        "collect.folder = 7: expected a string",
        "collect.margin = 2: expected a number from 0 to 1",
        "collect.max_per_day = 0: expected a whole number from 1 to 100000",
        "collect.interval_s = -1: expected a number from 0 to 86400",
        "collect.max_size_mb = 0: expected a whole number from 1 to 1000000",
        "collect.directory: unknown key; did you mean 'folder'?",
    ] {
        assert!(outcome.stderr.contains(part), "{part} is not in {}", outcome.stderr);
    }
    let missing = folder.path().join("missing/kept");
    fs::write(&path, format!("[collect]\nfolder = \"{}\"\n", missing.display())).unwrap();
    let outcome = run(["config", "check", "-c", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("collect.folder = ") && outcome.stderr.contains("above it"), "{}", outcome.stderr);
    fs::write(&path, format!("[collect]\nfolder = \"{}\"\n", path.display())).unwrap();
    let outcome = run(["config", "check", "-c", path.to_str().unwrap()]);
    assert!(outcome.code() == 0 && outcome.stderr.contains("is not a folder"), "{}", outcome.stderr);
    fs::write(&path, "[collect]\nfolder = \"~/kept\"\n").unwrap();
    let outcome = run(["config", "check", "-c", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 78);
    assert!(outcome.stderr.contains("collect.folder = \"~/kept\": expected the whole path"), "{}", outcome.stderr);
    fs::write(&path, "[[stream]]\nname = \"..\"\nsource = \"test:ball\"\n[collect]\nfolder = \"x\"\n").unwrap();
    let outcome = run(["config", "check", "-c", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 78);
    assert!(
        outcome.stderr.contains("stream[0].name") && outcome.stderr.contains("collect.folder"),
        "{}",
        outcome.stderr
    );
}
