//! `hardnetd eval` with a network whose answers are known: it recognises colours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::colours::{LABELS, model};
use common::{Outcome, folder, run};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

/// A picture of one colour with a darker or lighter frame, so that no two are the same.
fn picture(path: &Path, class: usize, index: usize) {
    let colour = |shade: u8| {
        let channel = |bit: usize| if class >> bit & 1 == 1 { 255 - shade } else { shade };
        Rgb([channel(2), channel(1), channel(0)])
    };
    let (width, height) = (40 + index as u32 % 25, 40 + index as u32 % 17);
    let picture = RgbImage::from_fn(width, height, |x, y| if x < 4 || y < 4 { colour(20) } else { colour(0) });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save_with_format(path, image::ImageFormat::Jpeg).unwrap();
}

/// 500 pictures and their list. Of every ten, seven are labelled correctly, two with a class that differs in one colour
/// (among the best four), and one with the complement (the last of eight).
fn set(folder: &Path) -> PathBuf {
    let mut list = String::new();
    for index in 0..500 {
        let class = (index * 5) % 8;
        let label = match index % 10 {
            0..7 => class,
            7 | 8 => class ^ (1 << (index % 3)),
            _ => class ^ 7,
        };
        let name = format!("{index:03}.JPEG");
        picture(&folder.join("images").join(&name), class, index);
        list.push_str(&format!("{name} {label}\n"));
    }
    let path = folder.join("val_list.txt");
    fs::write(&path, list).unwrap();
    path
}

struct Case {
    folder: TempDir,
    model: PathBuf,
}

impl Case {
    fn new() -> Self {
        let folder = folder();
        let model = model(folder.path());
        Self { folder, model }
    }

    fn eval(&self, arguments: &[&str]) -> Outcome {
        let images = self.folder.path().join("images");
        let fixed = ["eval", "--model", self.model.to_str().unwrap(), "--images", images.to_str().unwrap()];
        run([&fixed, arguments].concat())
    }
}

#[test]
fn five_hundred_pictures_give_the_accuracy_worked_out_by_hand_on_any_number_of_threads() {
    let case = Case::new();
    let list = set(case.folder.path());
    let list = list.to_str().unwrap();
    let one = ok(case.eval(&["--list", list, "--json", "--jobs", "1"])).stdout;
    let report: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&report["images"], &report["broken"]), (&500.into(), &json!([])));
    assert_eq!((&report["top1_correct"], &report["top5_correct"]), (&350.into(), &450.into()));
    assert_eq!((&report["top1"], &report["top5"]), (&0.7.into(), &0.9.into()));
    assert_eq!(report["model"], "colours");
    for threads in ["2", "3", "7"] {
        assert_eq!(ok(case.eval(&["--list", list, "--json", "-j", threads])).stdout, one, "{threads} threads");
    }
    let table = ok(case.eval(&["--list", list])).stdout;
    assert!(table.contains("top-1  70.00 %") && table.contains("top-5  90.00 %"), "{table}");
}

#[test]
fn a_folder_per_class_is_a_set_and_the_worst_classes_are_named() {
    let case = Case::new();
    for (class, label) in LABELS.iter().enumerate() {
        for index in 0..4 {
            // Half of the green ones are yellow, and one of the white ones is black.
            let shown = match (class, index) {
                (2, 0 | 1) => 6,
                (7, 0) => 0,
                _ => class,
            };
            picture(&case.folder.path().join(format!("images/{label}/{index}.jpg")), shown, index);
        }
    }
    let report = ok(case.eval(&["--json", "--worst", "2"])).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["images"], &report["top1_correct"]), (&32.into(), &29.into()));
    let green = json!({"index": 2, "label": "green", "images": 4, "correct": 2,
                       "confused_with": [{"index": 6, "label": "yellow", "images": 2}]});
    let white = json!({"index": 7, "label": "white", "images": 4, "correct": 3,
                       "confused_with": [{"index": 0, "label": "black", "images": 1}]});
    assert_eq!(report["worst"], json!([green, white]));
    let table = ok(case.eval(&[])).stdout;
    assert!(table.contains("2 green") && table.contains("yellow (2)"), "{table}");
}

#[test]
fn a_broken_picture_is_counted_apart_and_with_strict_an_error() {
    let case = Case::new();
    let images = case.folder.path().join("images");
    for index in 0..6 {
        picture(&images.join(format!("{index}.jpg")), index, index);
    }
    fs::write(images.join("1.jpg"), "no picture").unwrap();
    let whole = fs::read(images.join("3.jpg")).unwrap();
    fs::write(images.join("3.jpg"), &whole[..whole.len() / 2]).unwrap();
    let list = case.folder.path().join("list");
    let lines: Vec<String> = (0..7).map(|index| format!("{index}.jpg {}", index.min(5))).collect();
    fs::write(&list, lines.join("\n")).unwrap();
    let list = list.to_str().unwrap();

    let outcome = ok(case.eval(&["--list", list, "--json"]));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["images"], &report["top1_correct"]), (&4.into(), &4.into()));
    let broken: Vec<&str> =
        report["broken"].as_array().unwrap().iter().map(|broken| broken["file"].as_str().unwrap()).collect();
    let file = |name: &str| images.join(name).to_str().unwrap().to_owned();
    assert_eq!(broken, [file("1.jpg"), file("3.jpg"), file("6.jpg")]);
    for name in broken {
        assert!(outcome.stderr.contains(name), "{name} is not in {}", outcome.stderr);
    }
    let table = ok(case.eval(&["--list", list])).stdout;
    assert!(table.contains("unreadable: 3 pictures"), "{table}");

    let strict = case.eval(&["--list", list, "--strict"]);
    assert_eq!(strict.code(), 65, "{}", strict.stderr);
    assert!(strict.message().contains("3 pictures cannot be classified"), "{}", strict.stderr);
    assert_eq!(strict.stdout, table, "the report is the same");
    for name in ["1.jpg", "3.jpg", "6.jpg"] {
        assert!(strict.stderr.contains(&file(name)), "{name} is not in {}", strict.stderr);
    }
    fs::write(case.folder.path().join("list"), "1.jpg 1\n").unwrap();
    let outcome = case.eval(&["--list", list]);
    assert!([65, 66].contains(&outcome.code()), "{}", outcome.stderr);
    assert!(outcome.message().contains("none of 1 picture can be classified"), "{}", outcome.stderr);
}

#[test]
fn what_is_no_labelled_set_is_refused() {
    let case = Case::new();
    let images = case.folder.path().join("images");
    picture(&images.join("cat/1.jpg"), 0, 0);
    let outcome = case.eval(&[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(
        outcome.message().contains("1 folder (cat), but the model has 8 classes (black, blue"),
        "{}",
        outcome.stderr
    );
    let list = case.folder.path().join("list");
    fs::write(&list, "cat/1.jpg 8\n").unwrap();
    let outcome = case.eval(&["--list", list.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65);
    assert!(outcome.message().contains("line 1: expected a file name and the number of its class, 0 to 7"));
    let outcome = case.eval(&["--list", "/nowhere"]);
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
}

#[test]
fn the_matrix_the_classes_and_a_line_per_picture_agree() {
    let case = Case::new();
    let list = set(case.folder.path());
    let list = list.to_str().unwrap();
    let report: Value = serde_json::from_str(&ok(case.eval(&["--list", list, "--json"])).stdout).unwrap();
    let cells = report["confusion"].as_array().unwrap();
    let right = |cell: &&Value| cell["class"] == cell["found"];
    let sum = |cells: &mut dyn Iterator<Item = &Value>| cells.map(|cell| cell["images"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum(&mut cells.iter()), sum(&mut cells.iter().filter(right))), (500, 350));
    let first = &report["thresholds"][0];
    assert_eq!((&first["score"], &first["answered"], &first["accuracy"]), (&0.0.into(), &500.into(), &0.7.into()));

    let table = ok(case.eval(&["--list", list, "--matrix", "--classes", "--thresholds"])).stdout;
    for part in ["taken for", "7 white", "Recall", "Precision", "Score from", "0.99"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    for name in ["lines.csv", "lines.jsonl"] {
        let path = case.folder.path().join(name);
        ok(case.eval(&["--list", list, "--details", path.to_str().unwrap()]));
        let text = fs::read_to_string(&path).unwrap();
        let header = usize::from(name.ends_with("csv"));
        assert_eq!(text.lines().count(), 500 + header, "{name}");
        assert_eq!(text.lines().filter(|line| line.contains("true")).count(), 350, "{name}");
    }
    let csv = case.folder.path().join("lines.csv");
    let again = ["--list", list, "--details", csv.to_str().unwrap()];
    let before = fs::read(&csv).unwrap();
    let outcome = case.eval(&again);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(
        outcome.message().contains("lines.csv exists") && outcome.message().contains("--force"),
        "{}",
        outcome.stderr
    );
    fs::write(&csv, "other").unwrap();
    ok(case.eval(&[&again[..], &["--force"]].concat()));
    assert_eq!(fs::read(&csv).unwrap(), before);
    let csv = fs::read_to_string(csv).unwrap();
    assert!(csv.starts_with("file,class,label,found,found_label,score,correct\n"), "{csv}");
    let outcome = case.eval(&["--list", list, "--details", "lines.txt"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    let outcome = case.eval(&["--list", list, "--details", "/nowhere/lines.csv"]);
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(outcome.message().contains("/nowhere/lines.csv"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("per second"), "it is noticed before the work: {}", outcome.stderr);

    // A limit on the size of files takes the place of a full disk.
    let lines = case.folder.path().join("full.csv");
    let images = case.folder.path().join("images");
    let arguments = [
        "eval",
        "--model",
        case.model.to_str().unwrap(),
        "--images",
        images.to_str().unwrap(),
        "--list",
        list,
        "--details",
        lines.to_str().unwrap(),
    ];
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hardnetd")])
        .args(arguments);
    let outcome = limited.output().unwrap();
    let text = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(74), "{text}");
    assert!(text.contains("cannot write") && text.contains("full.csv"), "{text}");
    assert!(String::from_utf8_lossy(&outcome.stdout).contains("top-1  70.00 %"), "the report is printed");
    assert!(!lines.exists());
}
