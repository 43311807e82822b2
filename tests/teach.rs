//! `hardnetd teach`: the states of a thing, learned from a few pictures of a fixed camera.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::{Outcome, Running, data, folder, hardnetd, run, wait_for};
use image::{Rgb, RgbImage, imageops};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A small network, for tests that are not about how well it learns.
const TINY: &str = "name = \"tiny\"\nstem = [8, 16]\nsecond_kernel = 3\nmultiplier = 1.5\ndepthwise = false\n\
                    [[block]]\ngrowth = 8\nlayers = 2\ntransition = 32\ndownsample = true\n";

/// The part of the picture with the gate.
const REGION: &str = "0.35,0.3,0.3,0.45";
const SIZE: [u32; 2] = [640, 360];
/// The same in pixels: left, top, width, height.
const GATE: [u32; 4] = [224, 108, 192, 162];

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Reproducible numbers.
struct Random(u64);

impl Random {
    fn between(&mut self, from: f32, to: f32) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (self.0 >> 40) as f32 / (1_u64 << 24) as f32 * (to - from)
    }
}

fn photo(name: &str) -> RgbImage {
    image::open(data(&format!("photos/{name}.jpg"))).unwrap().into_rgb8()
}

fn fill(picture: &mut RgbImage, [left, top, right, bottom]: [f32; 4], colour: [u8; 3]) {
    for y in top as u32..(bottom as u32).min(picture.height()) {
        for x in left as u32..(right as u32).min(picture.width()) {
            picture.put_pixel(x, y, Rgb(colour));
        }
    }
}

/// A photograph with a gate in front of it, closed or pushed aside.
fn gate(scene: &RgbImage, is_open: bool) -> RgbImage {
    let mut picture = scene.clone();
    let [left, top, width, height] = GATE.map(|side| side as f32);
    let (right, bars) = if is_open { (0.3, 4) } else { (0.92, 10) };
    let (above, below) = (top + height * 0.2, top + height * 0.9);
    fill(&mut picture, [left + width * 0.08, above, left + width * 0.92, below], [70, 90, 60]);
    for bar in 0..bars {
        let middle = left + width * (0.08 + (right - 0.08) * (bar as f32 + 0.5) / bars as f32);
        fill(&mut picture, [middle - width * 0.02, above, middle + width * 0.02, below], [150, 145, 140]);
    }
    for rail in [0.25, 0.8] {
        let at = top + height * rail;
        fill(&mut picture, [left + width * 0.08, at, left + width * right, at + height * 0.04], [150, 145, 140]);
    }
    picture
}

/// Something else where the gate is: a part of another photograph, whole or in front of the gate.
fn other(scene: &RgbImage, photos: &[RgbImage], number: u32, random: &mut Random) -> RgbImage {
    let photo = &photos[number as usize % photos.len()];
    let side = random.between(120.0, 260.0) as u32;
    let left = random.between(0.0, (photo.width() - side) as f32) as u32;
    let top = random.between(0.0, (photo.height() - side) as f32) as u32;
    let part = imageops::crop_imm(photo, left, top, side, side).to_image();
    let [left, top, width, height] = GATE;
    let mut picture = gate(scene, number.is_multiple_of(2));
    let share = if number.is_multiple_of(3) { 0.75 } else { 1.1 };
    let size = [width, height].map(|side| (side as f32 * share) as u32);
    let part = imageops::resize(&part, size[0], size[1], imageops::FilterType::Triangle);
    let at = |start: u32, side: u32, size: u32| i64::from(start) + (i64::from(side) - i64::from(size)) / 2;
    imageops::overlay(&mut picture, &part, at(left, width, size[0]), at(top, height, size[1]));
    picture
}

/// The picture in another light, moved and noisy: a little, or as much as in the course of a day.
fn vary(picture: &RgbImage, is_wide: bool, random: &mut Random) -> RgbImage {
    let (light, gamma, shift, tint, noise) =
        if is_wide { (0.45..1.5, 0.75..1.35, 0.05, 0.1, 8.0) } else { (0.75..1.2, 0.9..1.1, 0.015, 0.04, 3.0) };
    let gain = random.between(light.start, light.end);
    let gains = [0, 1, 2].map(|_| gain * (1.0 + random.between(-tint, tint)));
    let gamma = random.between(gamma.start, gamma.end);
    let slope = random.between(-0.25, 0.25) * if is_wide { 1.0 } else { 0.3 };
    let moved = [GATE[2], GATE[3]].map(|side| (random.between(-shift, shift) * side as f32) as i64);
    let [width, height] = SIZE.map(i64::from);
    RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| {
        let from = [(i64::from(x) - moved[0]).clamp(0, width - 1), (i64::from(y) - moved[1]).clamp(0, height - 1)];
        let pixel = picture.get_pixel(from[0] as u32, from[1] as u32);
        let side = 1.0 + slope * (x as f32 / SIZE[0] as f32 * 2.0 - 1.0);
        let mut channel = 0;
        Rgb(pixel.0.map(|sample| {
            let colour = (f32::from(sample) / 255.0).powf(gamma) * gains[channel] * side;
            channel += 1;
            (colour * 255.0 + random.between(-noise, noise) + random.between(-noise, noise)).clamp(0.0, 255.0) as u8
        }))
    })
}

fn write(picture: &RgbImage, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(path).unwrap();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(file, 92);
    picture.write_with_encoder(encoder).unwrap();
}

/// A model that has learned the gate, the folder of its pictures, and what `teach` has printed.
struct Lesson {
    folder: TempDir,
    model: PathBuf,
    report: Value,
}

fn lesson() -> &'static Lesson {
    static LESSON: OnceLock<Lesson> = OnceLock::new();
    LESSON.get_or_init(|| {
        let folder = folder();
        let data = folder.path().join("gate");
        let (scene, photos) = scene();
        let mut random = Random(1);
        for (label, is_open) in [("closed", false), ("open", true)] {
            for number in 0..20 {
                let picture = vary(&gate(&scene, is_open), false, &mut random);
                write(&picture, &data.join(label).join(format!("{number:02}.jpg")));
            }
            for number in 0..40 {
                let picture = vary(&gate(&scene, is_open), true, &mut random);
                write(&picture, &folder.path().join("test").join(label).join(format!("{number:02}.jpg")));
            }
        }
        for number in 0..60 {
            let picture = vary(&other(&scene, &photos, number, &mut random), number.is_multiple_of(2), &mut random);
            write(&picture, &folder.path().join("others").join(format!("{number:02}.jpg")));
        }
        fs::write(data.join("open/broken.jpg"), b"no picture").unwrap();
        let model = folder.path().join("gate.safetensors");
        let arguments = ["teach", "--json", "--region", REGION, "--data", text(&data), "--output", text(&model)];
        let outcome = ok(run(arguments));
        assert!(outcome.stderr.contains("left out") && outcome.stderr.contains("broken.jpg"), "{}", outcome.stderr);
        Lesson { model, report: serde_json::from_str(&outcome.stdout).unwrap(), folder }
    })
}

/// The scene behind the gate, and other photographs.
fn scene() -> (RgbImage, [RgbImage; 2]) {
    let scene = imageops::resize(&photo("rocket"), SIZE[0], SIZE[1], imageops::FilterType::Triangle);
    (scene, [photo("chelsea"), photo("coffee")])
}

/// For each picture of a folder, the best answer of a model, and the best class.
fn answers(model: &Path, folder: &Path) -> Vec<(String, String)> {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files = files.iter().map(|path| text(path));
    let outcome = ok(run(["classify", "--json", "--model", text(model)].into_iter().chain(files)));
    let pictures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let answers = pictures.as_array().unwrap().iter().map(|picture| {
        let top = picture["top"].as_array().unwrap();
        let scores: Vec<f64> = top.iter().map(|entry| entry["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b) && (scores.iter().sum::<f64>() - 1.0).abs() < 1e-3, "{top:?}");
        let labels: Vec<&str> = top.iter().map(|entry| entry["label"].as_str().unwrap()).collect();
        let class = labels.iter().find(|label| **label != "unknown").unwrap();
        (labels[0].to_owned(), (*class).to_owned())
    });
    answers.collect()
}

fn share<T>(all: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    all.iter().filter(|one| holds(one)).count() as f64 / all.len() as f64
}

#[test]
fn a_gate_is_recognised_in_another_light_and_what_is_no_gate_is_unknown() {
    let Lesson { folder, model, .. } = lesson();
    let mut all = Vec::new();
    for label in ["closed", "open"] {
        let answers = answers(model, &folder.path().join("test").join(label));
        let right = share(&answers, |(_, class)| class == label);
        assert!(right >= 0.97, "{label}: {right}");
        all.extend(answers);
    }
    let false_alarms = share(&all, |(answer, _)| answer == "unknown");
    assert!(false_alarms <= 0.05, "{false_alarms}");
    let unknown = share(&answers(model, &folder.path().join("others")), |(answer, _)| answer == "unknown");
    assert!(unknown >= 0.9, "{unknown}");
    // What a camera shows that is covered, blinded or out of order.
    let faults = folder.path().join("faults");
    for (name, level) in [("black", 2.0), ("dark", 20.0), ("grey", 128.0), ("white", 253.0)] {
        let mut random = Random(4);
        let mut sample = || (level + random.between(-2.0, 2.0)) as u8;
        let picture = RgbImage::from_fn(SIZE[0], SIZE[1], |_, _| Rgb([sample(), sample(), sample()]));
        write(&picture, &faults.join(format!("{name}.jpg")));
    }
    let outcome = ok(run(["classify", "--top", "1", "--model", text(model)].into_iter().chain(
        ["black", "dark", "grey", "white"].map(|name| faults.join(format!("{name}.jpg"))).iter().map(|path| text(path)),
    )));
    assert_eq!(outcome.stdout.matches("unknown").count(), 4, "{}", outcome.stdout);
}

#[test]
fn the_report_says_how_good_the_model_is_and_what_was_left_out() {
    let report = &lesson().report;
    assert_eq!(report["pictures"], 40);
    assert_eq!(report["classes"][0]["label"], "closed");
    assert_eq!(report["classes"][1]["pictures"], 20);
    assert!(report["left_out"][0]["file"].as_str().unwrap().ends_with("open/broken.jpg"), "{report}");
    let number = |value: &Value| value.as_f64().unwrap();
    let accuracy = &report["accuracy"];
    assert!(number(&accuracy["share"]) >= 0.95 && number(&accuracy["low"]) > number(&report["chance"]), "{report}");
    assert_eq!(report["wrong"].as_array().unwrap().len() as f64, 40.0 - number(&accuracy["right"]));
    let curve = report["curve"].as_array().unwrap();
    assert_eq!(curve[0]["pictures_per_class"], 2);
    assert_eq!(curve.last().unwrap()["share"], accuracy["share"]);
    assert!(!report["advice"].as_str().unwrap().is_empty());
}

#[test]
fn the_description_names_the_classes() {
    let model = text(&lesson().model);
    let info = ok(run(["model", "info", model])).stdout;
    assert!(info.contains("2 classes (closed, open)"), "{info}");
    let info: Value = serde_json::from_str(&ok(run(["model", "info", model, "--json"])).stdout).unwrap();
    assert_eq!(info["labels"], serde_json::json!(["closed", "open"]));
}

#[test]
fn run_and_eval_look_at_the_region_and_tell_what_is_unknown() {
    let Lesson { folder, model, .. } = lesson();
    let source = format!("images:{}", text(&folder.path().join("others")));
    let records = run(["run", "--model", text(model), "--source", &source]).records();
    let unknown = share(&records, |record| record["top"][0]["label"] == "unknown" && record["top"][0]["index"] == 2);
    assert!(records.len() == 60 && unknown >= 0.9, "{unknown}");
    assert_eq!((&records[0]["model"]["trained"], &records[0]["model"]["name"]), (&true.into(), &"gate".into()));
    let (test, unknown) = (folder.path().join("test"), folder.path().join("test/unknown"));
    if !unknown.exists() {
        fs::create_dir(&unknown).unwrap();
        fs::copy(folder.path().join("others/01.jpg"), unknown.join("01.jpg")).unwrap();
    }
    let outcome = ok(run(["eval", "--json", "--model", text(model), "--images", text(&test)]));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(report["images"] == 81 && report["top1"].as_f64().unwrap() >= 0.9, "{report}");
    // Pictures are turned by their EXIF orientation, as in teaching: of these, the region would be another part.
    let turned = folder.path().join("turned");
    for label in ["closed", "open"] {
        fs::create_dir_all(turned.join(label)).unwrap();
        for number in 0..5 {
            let file = format!("{label}/{number:02}.jpg");
            let picture = image::open(test.join(&file)).unwrap().into_rgb8();
            write(&imageops::rotate180(&picture), &turned.join(&file));
            let jpeg = fs::read(turned.join(&file)).unwrap();
            fs::write(turned.join(&file), common::with_orientation(&jpeg, 3)).unwrap();
        }
    }
    let outcome = ok(run(["eval", "--json", "--model", text(model), "--images", text(&turned)]));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(report["images"] == 10 && report["top1"].as_f64().unwrap() >= 0.9, "{report}");
    let info = ok(run(["model", "info", text(model)]));
    assert!(info.stdout.contains("2 classes") && info.stdout.contains("taught with 40 pictures"), "{}", info.stdout);
    let info: Value = serde_json::from_str(&ok(run(["model", "info", "--json", text(model)])).stdout).unwrap();
    let stages = info["stages"].as_array().unwrap();
    let sum: u64 = stages.iter().map(|stage| stage["parameters"].as_u64().unwrap()).sum();
    assert_eq!(info["parameters"], sum, "{info:#}");
    let names: HashSet<&Value> = stages.iter().map(|stage| &stage["name"]).collect();
    assert_eq!(names.len(), stages.len(), "{info:#}");
}

#[test]
fn what_is_unknown_is_kept_as_a_whole_picture_for_the_next_lesson() {
    let Lesson { folder, model, .. } = lesson();
    let [config, others, kept] = ["hardnetd.toml", "others", "kept"].map(|name| folder.path().join(name));
    let [source, model, collected] = [&others, model, &kept].map(|path| text(path));
    let settings = format!(
        "[[stream]]\nname = \"gate\"\nsource = \"images:{source}\"\n[model]\nname = \"{model}\"\ntop = 1\n\
         [collect]\nfolder = \"{collected}\"\nmargin = 0\ninterval_s = 0\nmax_per_day = 3\n"
    );
    fs::write(&config, settings).unwrap();
    let records = run(["run", "-c", text(&config)]).records();
    assert!(records.len() == 60 && records.iter().all(|record| record["top"].as_array().unwrap().len() == 1));
    let files: Vec<PathBuf> = fs::read_dir(kept.join("gate")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3);
    for file in files {
        assert!(text(&file).ends_with("_unknown.jpg"), "{file:?}");
        assert_eq!(image::image_dimensions(&file).unwrap(), (SIZE[0], SIZE[1]), "the region is a part of it");
    }
}

#[test]
fn an_exported_model_computes_the_same_classes_on_tract() {
    let Lesson { folder, model, .. } = lesson();
    let onnx = folder.path().join("gate.onnx");
    let exported = ok(run(["model", "export", text(model), "--output", text(&onnx), "--force"]));
    assert!(exported.stderr.contains("no `unknown`"), "{}", exported.stderr);
    let photo = folder.path().join("test/open/00.jpg");
    let scores = |model: &Path, backend: &str| -> Vec<(String, f64)> {
        let arguments = ["classify", "--json", "--model", text(model), "--backend", backend, text(&photo)];
        let pictures: Value = serde_json::from_str(&ok(run(arguments)).stdout).unwrap();
        let top = pictures[0]["top"].as_array().unwrap().iter();
        top.map(|entry| (entry["label"].as_str().unwrap().to_owned(), entry["score"].as_f64().unwrap())).collect()
    };
    let expected = scores(&onnx, "native");
    assert_eq!(expected.len(), 2);
    for found in [scores(&onnx, "tract"), scores(model, "native"), scores(model, "tract")] {
        let known = found.iter().filter(|(label, _)| label != "unknown");
        let rest: f64 = found.iter().filter(|(label, _)| label == "unknown").map(|(_, score)| 1.0 - score).sum();
        let share = if rest > 0.0 { rest } else { 1.0 };
        for ((label, score), (expected_label, expected)) in known.zip(&expected) {
            assert!(label == expected_label && (score / share - expected).abs() < 1e-4, "{found:?} {expected:?}");
        }
    }
}

#[test]
fn pictures_of_other_things_ask_for_another_lesson_and_those_of_the_gate_do_not() {
    let Lesson { folder, model, .. } = lesson();
    let drift = |data: &str| -> Value {
        let data = folder.path().join(data);
        let outcome = ok(run(["teach", "--json", "--drift", text(model), "--data", text(&data)]));
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    let same = drift("gate");
    assert!(same["teach_again"] == false && same["pictures"] == 40, "{same}");
    let others = drift("others");
    assert!(others["teach_again"] == true && others["share"].as_f64().unwrap() >= 0.9, "{others}");
    let untaught = run(["teach", "--drift", "hardnet39ds", "--data", text(folder.path())]);
    assert_eq!(untaught.code(), 65);
    assert!(untaught.message().contains("has not been taught"), "{}", untaught.stderr);
    // Said before the model is opened.
    for (pictures, part) in [(&["--data", "a", "--source", "test:red"][..], "name one"), (&[], "needs pictures")] {
        let wrong = run([&["teach", "--drift", "missing.safetensors"][..], pictures].concat());
        assert_eq!(wrong.code(), 64, "{}", wrong.stderr);
        assert!(wrong.message().contains(part), "{}", wrong.stderr);
    }
}

/// A folder with a table of a small network and pictures of two colours that are easy to tell apart, or not at all.
fn colours(count: u32, is_easy: bool) -> (TempDir, [PathBuf; 3]) {
    let folder = folder();
    let [table, data, output] = ["tiny.toml", "data", "taught.safetensors"].map(|name| folder.path().join(name));
    fs::write(&table, TINY).unwrap();
    let mut random = Random(9);
    for (class, label) in ["blue", "red"].into_iter().enumerate() {
        for number in 0..count {
            let picture = RgbImage::from_fn(64, 48, |x, _| {
                let mut noise = |base: f32| (base + x as f32 / 2.0 + random.between(-40.0, 40.0)) as u8;
                let (first, second) = if is_easy && class == 1 { (180.0, 60.0) } else { (60.0, 180.0) };
                Rgb([noise(first), noise(90.0), noise(second)])
            });
            write(&picture, &data.join(label).join(format!("{number}.jpg")));
        }
    }
    (folder, [table, data, output])
}

fn teach(paths: &[PathBuf; 3], more: &[&str]) -> Outcome {
    let [table, data, output] = paths;
    run(["teach", "--model", text(table), "--data", text(data), "--output", text(output)].iter().chain(more))
}

#[test]
fn what_cannot_be_learned_from_is_an_error_that_names_it() {
    let (folder, paths) = colours(2, true);
    let failed = |part: &str| {
        let outcome = teach(&paths, &[]);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
        assert!(!paths[2].exists());
    };
    fs::create_dir(paths[1].join("green")).unwrap();
    failed("without pictures");
    failed("green");
    fs::copy(paths[1].join("red/0.jpg"), paths[1].join("green/0.jpg")).unwrap();
    failed("the class \"green\" has 1 picture");
    fs::write(paths[1].join("green/1.jpg"), "broken").unwrap();
    failed("the class \"green\" has 1 picture");
    fs::remove_dir_all(paths[1].join("green")).unwrap();
    fs::create_dir(paths[1].join("Unknown")).unwrap();
    failed("cannot be a class");
    fs::remove_dir(paths[1].join("Unknown")).unwrap();
    fs::remove_dir_all(paths[1].join("red")).unwrap();
    failed("one folder with pictures (blue)");
    fs::remove_dir_all(paths[1].join("blue")).unwrap();
    failed("no folder with pictures");
    fs::remove_dir_all(&paths[1]).unwrap();
    assert_eq!(teach(&paths, &[]).code(), 66);
    drop(folder);
}

#[test]
fn a_model_that_is_no_better_than_chance_is_saved_only_if_asked_for() {
    let (_folder, paths) = colours(8, false);
    let outcome = teach(&paths, &[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("no better than chance") && outcome.message().contains("--force"));
    assert!(outcome.stdout.contains("not saved") && !paths[2].exists(), "{}", outcome.stdout);
    ok(teach(&paths, &["--force"]));
    assert!(paths[2].exists());
}

#[test]
fn a_perfect_model_of_too_few_pictures_is_not_called_bad() {
    let (_folder, paths) = colours(14, true);
    for number in 2..14 {
        fs::remove_file(paths[1].join(format!("red/{number}.jpg"))).unwrap();
    }
    let outcome = teach(&paths, &[]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("too few pictures to tell"), "{}", outcome.stderr);
}

#[test]
fn a_picture_that_is_left_out_does_not_change_the_result() {
    let (_folder, paths) = colours(12, false);
    let report = || {
        let outcome = ok(teach(&paths, &["--force", "--json"]));
        let mut report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let left_out = report.as_object_mut().unwrap().remove("left_out").unwrap();
        (left_out.as_array().unwrap().len(), report)
    };
    let (before, expected) = report();
    fs::write(paths[1].join("blue/0a.jpg"), "broken").unwrap();
    let (after, found) = report();
    assert_eq!((before, after), (0, 1));
    assert_eq!(found, expected);
}

#[test]
fn an_earlier_lesson_is_replaced_and_another_file_is_not() {
    let (_folder, paths) = colours(8, true);
    fs::write(&paths[2], "something else").unwrap();
    let outcome = teach(&paths, &[]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(&paths[2]).unwrap(), "something else");
    ok(teach(&paths, &["--force"]));
    let digest = || {
        let outcome = ok(run(["eval", "--json", "--model", text(&paths[2]), "--images", text(&paths[1])]));
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()["digest"].clone()
    };
    let first = digest();
    let outcome = ok(teach(&paths, &[]));
    assert!(outcome.stdout.contains("accuracy  100.0 %"), "{}", outcome.stdout);
    assert_eq!(digest(), first, "the same pictures teach the same");
    // A lesson looks where the one that it replaces looked, unless it is told otherwise.
    for (more, region) in [
        (&["--region", "0,0,0.5,1"][..], Some("0,0,0.5,1")),
        (&[], Some("0,0,0.5,1")),
        (&["--region", "0,0,1,1"], None),
        (&[], None),
    ] {
        let told = ok(teach(&paths, more)).stdout;
        let info = ok(run(["model", "info", text(&paths[2])])).stdout;
        let line = told.lines().find_map(|line| line.strip_prefix("region    "));
        assert_eq!((line, info.contains("region 0,0,0.5,1,")), (region, region.is_some()), "{told}{info}");
    }
    // Even if this version cannot use the earlier one.
    ok(teach(&paths, &["--region", "0,0,0.5,1"]));
    let earlier = fs::read(&paths[2]).unwrap();
    let version = b"\\\"version\\\":2";
    let at = earlier.windows(version.len()).position(|part| part == version).unwrap() + version.len() - 1;
    fs::write(&paths[2], [&earlier[..at], b"1", &earlier[at + 1..]].concat()).unwrap();
    assert!(ok(teach(&paths, &[])).stdout.contains("region    0,0,0.5,1"));
    assert_eq!(fs::read(&paths[2]).unwrap(), earlier);
    // Whatever the file is called, it can be opened.
    for (file, name) in
        [("front gate", "front-gate"), ("Tür", "T-r"), ("hardnet68", "taught-hardnet68"), ("signal", "taught-signal")]
    {
        let path = paths[2].with_file_name(format!("{file}.safetensors"));
        ok(run(["teach", "--model", text(&paths[0]), "--data", text(&paths[1]), "--output", text(&path)]));
        let info = ok(run(["model", "info", text(&path)])).stdout;
        assert!(info.starts_with(&format!("{name}:")), "{info}");
    }
    let copy = paths[2].with_file_name("copy.safetensors");
    let outcome = run(["model", "import", text(&paths[2]), "--output", text(&copy)]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("is a taught model"), "{}", outcome.stderr);
    // A taught model lends its network to another lesson.
    let again = paths[2].with_file_name("again.safetensors");
    ok(run(["teach", "--model", text(&paths[2]), "--data", text(&paths[1]), "--output", text(&again)]));
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
    let (folder, paths) = colours(8, true);
    let [table, data, output] = &paths;
    // A limit on the size of files simulates a full disk.
    let limited = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hardnetd")]);
        command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Running::start(&mut command).finish()
    };
    let outcome = limited(&["teach", "--model", text(table), "--data", text(data), "--output", text(output)]);
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(outcome.message().contains("taught.safetensors"), "{}", outcome.stderr);
    let source = "test:snow?live=false&frames=4&size=640x480";
    let outcome = limited(&["teach", "--data", text(data), "--source", source, "--label", "snow"]);
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    assert!(outcome.message().contains("snow/") && outcome.message().contains(".jpg"), "{}", outcome.stderr);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(data.join("snow")).unwrap().count(), 0);
}

#[test]
fn a_signal_ends_a_lesson_and_nothing_is_half_written() {
    let (folder, paths) = colours(40, true);
    let [_, data, output] = &paths;
    let arguments = ["teach", "--model", "hardnet68", "--data", text(data), "--output", text(output)];
    let running = Running::start(&mut hardnetd(arguments));
    // Bit 1 is SIGINT (proc(5)): caught from here on.
    wait_for("a handler for SIGINT", || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        (u64::from_str_radix(caught.trim(), 16).ok()? & 2 != 0).then_some(())
    });
    running.signal(Signal::INT);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 75, "{}", outcome.stderr);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the table and the pictures");
}

#[test]
fn a_taught_model_runs_at_other_sizes_on_the_native_engine() {
    let Lesson { folder, model, .. } = lesson();
    let photo = folder.path().join("test/open/00.jpg");
    for size in ["64x256", "192x192", "512x320"] {
        let arguments =
            ["classify", "--json", "--backend", "native", "--size", size, "--model", text(model), text(&photo)];
        ok(run(arguments));
    }
}

#[test]
fn no_class_of_a_taught_model_is_called_as_what_is_like_none_of_them() {
    let Lesson { folder, model, .. } = lesson();
    let (photo, labels) = (folder.path().join("test/open/00.jpg"), folder.path().join("labels.txt"));
    fs::write(&labels, "Unknown\nopen\n").unwrap();
    let outcome = run(["classify", "--model", text(model), "--labels", text(&labels), text(&photo)]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("cannot be a class of a taught model"), "{}", outcome.stderr);
}

#[test]
fn a_damaged_taught_model_is_an_error_and_never_a_panic() {
    let (folder, paths) = colours(4, true);
    ok(teach(&paths, &["--force"]));
    let whole = fs::read(&paths[2]).unwrap();
    let damaged = folder.path().join("damaged.safetensors");
    let photo = data("photos/coffee.jpg");
    let classify = |bytes: &[u8], part: &str| {
        fs::write(&damaged, bytes).unwrap();
        let outcome = run(["classify", "--model", text(&damaged), text(&photo)]);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
    };
    for share in [2, 3, 10] {
        classify(&whole[..whole.len() - whole.len() / share], "damaged.safetensors");
    }
    // Replacements of the same length keep the rest of the file in its place.
    let with = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|part| part == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in the file"));
        [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
    };
    classify(&with("\\\"version\\\":2", "\\\"version\\\":7"), "has version 7");
    classify(&with("\\\"cells\\\":3", "\\\"cells\\\":9"), "1 to 4 cells");
    classify(&with("\\\"map\\\":\\\"base.", "\\\"map\\\":\\\"bone."), "no module `bone.");
    classify(&with("taught.structure.basis", "taught.structure.basin"), "`taught.structure.basis` is missing");
    classify(&with("\\\"grids\\\"", "\\\"grins\\\""), "is damaged");
}

#[test]
fn frames_of_a_source_are_added_without_near_duplicates() {
    let folder = folder();
    let collect = |source: &str, label: &str, more: &[&str]| {
        let arguments = ["teach", "--data", text(folder.path()), "--source", source, "--label", label];
        run(arguments.iter().chain(more))
    };
    let files = |label: &str| {
        let entries = fs::read_dir(folder.path().join(label)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let outcome = ok(collect("test:smpte?live=false&frames=30&size=320x240", "bars", &[]));
    // The lower right part of the bars is noise, which changes the cells a little.
    let added = files("bars");
    assert!((1..4).contains(&added.len()), "of four frames: {}", outcome.stdout);
    // Of 30 frames a second, four are looked at.
    let red = "test:red?live=false&frames=75&size=320x240";
    let outcome = ok(collect(red, "red", &[]));
    let said = &outcome.stdout;
    assert!(said.contains("1 picture added;") && !said.contains(" 0 frames left out as near duplicates"), "{said}");
    let outcome = ok(collect(red, "red", &[]));
    assert!(outcome.stdout.contains("0 pictures added;"), "{}", outcome.stdout);
    // A part that begins at an odd pixel is the same in a frame and in the file made of it.
    let part = ["--region", "0.378125,0.1541667,0.3,0.4"];
    let bars = "test:smpte75?live=false&frames=75&size=320x240";
    ok(collect(bars, "part", &part));
    assert_eq!(files("part").len(), 1);
    let outcome = ok(collect(bars, "part", &part));
    assert!(outcome.stdout.contains("0 pictures added;"), "{}", outcome.stdout);
    let [file] = &files("red")[..] else { panic!("one picture") };
    let picture = image::open(file).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (320, 240));
    let Rgb([r, g, b]) = *picture.get_pixel(160, 120);
    assert!(r > 240 && g < 15 && b < 15, "{r} {g} {b}");
    assert!(file.file_name().unwrap().to_str().unwrap().ends_with("Z.jpg"), "{file:?}");
    for label in ["../red", "Unknown", "lost+found", ".red", " red"] {
        assert_eq!(collect("test:red", label, &[]).code(), 64, "{label}");
    }
    // A stream of the configuration, with all its settings, and a label that begins with a sign.
    let config = folder.path().join("hardnetd.toml");
    fs::write(&config, format!("[[stream]]\nname = \"door\"\nsource = \"{red}\"\n")).unwrap();
    let stream = |name: &str, label: &str| {
        let place = ["--stream", name, "--config", text(&config)];
        run(["teach", "--data", text(folder.path()), "--label", label].iter().chain(&place))
    };
    ok(stream("door", "@home"));
    assert_eq!(files("@home").len(), 1);
    let outcome = stream("gate", "red");
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("no such stream; it has \"door\""), "{}", outcome.stderr);
    let port = common::free_port();
    let refused = collect(&format!("rtsp://127.0.0.1:{port}/"), "red", &["--timeout", "5"]);
    assert_eq!(refused.code(), 69, "{}", refused.stderr);
}

#[test]
fn a_camera_that_accepts_and_says_nothing_ends_collecting_at_the_limit() {
    let (_folder, paths) = colours(2, true);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("rtsp://{}/", listener.local_addr().unwrap());
    let data = text(&paths[1]);
    let outcome = run(["teach", "--data", data, "--source", &address, "--label", "green", "--timeout", "2"]);
    assert_eq!((outcome.code(), &*outcome.stdout), (69, ""), "{}", outcome.stderr);
    assert!(!paths[1].join("green").exists(), "a class without pictures");
}

#[test]
fn a_new_lesson_is_taken_over_at_a_reload_and_the_stream_goes_on() {
    let (folder, paths) = colours(6, true);
    let [_, data, output] = &paths;
    ok(teach(&paths, &["--force"]));
    let config = folder.path().join("hardnetd.toml");
    let model = text(output);
    fs::write(
        &config,
        format!("[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64\"\n[model]\nname = \"{model}\"\n"),
    )
    .unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", text(&config)]));
    let labelled = |label: &str| running.output().contains(&format!("\"label\":\"{label}\"")).then_some(());
    wait_for("results", || labelled("red"));
    fs::rename(data.join("red"), data.join("scarlet")).unwrap();
    ok(teach(&paths, &["--force"]));
    running.signal(Signal::HUP);
    wait_for("results of the new lesson", || labelled("scarlet"));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("unchanged=1 started=0"), "{}", outcome.stderr);
    common::numbers_add_up(&common::records(&outcome.stdout));
}
