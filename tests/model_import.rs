//! `hardnetd model import` and `export`: weight files to model files, and those through the program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Outcome, data, folder, run};
use hardnetd::hardnet::{self, find};
use hardnetd::protobuf::{DataLocation, ModelProto, StringStringEntryProto};
use hardnetd::weights::StateDict;
use hardnetd::weights::safetensors::{Texts, write};
use prost::Message as _;
use serde_json::Value;

/// A file with only seeded weights of hardnet39ds.
fn weights(folder: &Path, classes: usize) -> PathBuf {
    let path = folder.join(format!("weights-{classes}"));
    save(&hardnet::seeded(find("hardnet39ds").unwrap(), classes).unwrap(), &path);
    path
}

fn save(state: &StateDict, path: &Path) {
    write(state, &Texts::new(), path).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

/// Runs `model import FILE --output MODEL` with further arguments; returns the model file.
fn import(file: &Path, arguments: &[&str]) -> PathBuf {
    let output = file.with_extension("safetensors");
    let outcome = run([&["model", "import", text(file), "--force", "--output", text(&output)], arguments].concat());
    assert!(ok(outcome).stdout.contains("hardnet39ds"));
    output
}

fn metadata(model: &Path) -> Value {
    let texts = hardnetd::weights::read(model).unwrap().texts;
    assert_eq!(texts["format"], "pt");
    serde_json::from_str(&texts["hardnetd.model"]).unwrap()
}

fn top(arguments: &[&str]) -> Vec<Value> {
    let photo = data("photos/coffee.jpg");
    let outcome = ok(run([&["classify", "--json", text(&photo)], arguments].concat()));
    let pictures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    pictures[0]["top"].as_array().unwrap().clone()
}

fn scores(top: &[Value]) -> Vec<(u64, f64)> {
    top.iter().map(|entry| (entry["index"].as_u64().unwrap(), entry["score"].as_f64().unwrap())).collect()
}

#[test]
fn a_model_file_says_what_it_is_and_classifies_like_its_weights() {
    let folder = folder();
    let file = weights(folder.path(), 1000);
    let model = import(&file, &[]);
    let metadata = metadata(&model);
    assert_eq!(metadata["schema"], "hardnetd.model.v1");
    assert_eq!((&metadata["architecture"]["name"], &metadata["classes"]), (&"hardnet39ds".into(), &1000.into()));
    assert_eq!(metadata["training"], "trained");
    assert_eq!(metadata["input"]["resize"], 256);
    assert_eq!(metadata["source"]["file"], "weights-1000");
    assert_eq!(metadata["source"]["sha256"], hardnetd::weights::file::sha256(&file).unwrap());
    assert_eq!(top(&["--model", text(&model)]), top(&["--model", text(&file)]));
    let again = import(&model, &[]);
    assert_eq!(self::metadata(&again), metadata, "the first source is remembered");
}

#[test]
fn own_labels_size_and_normalisation_are_kept_and_used() {
    let folder = folder();
    let file = weights(folder.path(), 3);
    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "cat\ndog\nWellensittich\n").unwrap();
    let arguments = ["--labels", text(&labels), "--size", "96x64", "--crop-ratio", "0.5", "--mean", "0.5,0.5,0.5"];
    let model = import(&file, &arguments);
    assert_eq!(metadata(&model)["input"]["resize"], 192);
    let found = top(&["--model", text(&model)]);
    let mut names: Vec<&str> = found.iter().map(|entry| entry["label"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Wellensittich", "cat", "dog"]);
    assert_ne!(scores(&found), scores(&top(&["--model", text(&file)])));
    let info = ok(run(["model", "info", "--json", text(&model)]));
    let info: Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(info["input"], serde_json::json!([96, 64]));
    let records = run(["run", "--model", text(&model), "--source", "test:ball?frames=1&live=false"]).records();
    assert!(names.contains(&records[0]["top"][0]["label"].as_str().unwrap()));
}

#[test]
fn the_same_sizes_can_be_asked_for_without_a_model_file() {
    for size in ["320x256", "33x47", "32x32"] {
        assert_eq!(top(&["--size", size]).len(), 5, "{size}");
        let source = "test:ball?frames=1&live=false";
        assert_eq!(run(["run", "--size", size, "--source", source]).records().len(), 1);
    }
    for size in ["31x224", "224", "9000x224"] {
        let outcome = run(["run", "--size", size]);
        assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
        assert!(outcome.message().contains("from 32 to 8192"), "{}", outcome.stderr);
    }
}

#[test]
fn a_wrong_number_of_labels_names_both_numbers() {
    let folder = folder();
    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "cat\ndog\n").unwrap();
    let file = weights(folder.path(), 3);
    for arguments in [
        vec!["model", "import", text(&file), "--labels", text(&labels), "--output", "never.safetensors"],
        vec!["run", "--model", text(&file), "--labels", text(&labels)],
        vec!["classify", "--model", text(&file), "--labels", text(&labels), "x.jpg"],
    ] {
        let outcome = run(&arguments);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains("has 2 labels, but the model has 3 classes"), "{}", outcome.stderr);
    }
}

#[test]
fn a_new_head_is_untrained_and_says_so() {
    let folder = folder();
    let file = weights(folder.path(), 1000);
    let refused = run(["model", "import", text(&file), "--classes", "12", "--output", "never.safetensors"]);
    assert_eq!(refused.code(), 64);
    assert!(refused.message().contains("1000 classes, but 12 are asked for; --new-head"), "{}", refused.stderr);

    let model = import(&file, &["--classes", "12", "--new-head"]);
    assert_eq!(metadata(&model)["training"], "head-untrained");
    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "open\nclosed\n").unwrap();
    let labelled = import(&file, &["--new-head", "--labels", text(&labels)]);
    assert_eq!(metadata(&labelled)["labels"], serde_json::json!(["open", "closed"]));
    std::fs::write(&labels, "\n").unwrap();
    let empty = run(["model", "import", text(&file), "--new-head", "--labels", text(&labels), "--force"]);
    assert_eq!(empty.code(), 65, "{}", empty.stderr);
    assert!(empty.message().contains("labels.txt has no labels: expected one label per line"), "{}", empty.stderr);

    let model = import(&file, &["--classes", "12", "--new-head"]);
    let outcome = run(["run", "--model", text(&model), "--source", "test:ball?frames=1&live=false"]);
    assert!(outcome.stderr.contains("head of the model is untrained"), "{}", outcome.stderr);
    let records = outcome.records();
    assert_eq!(records[0]["model"]["trained"], false);
    assert!(records[0]["top"][0]["label"].as_str().unwrap().starts_with("class "));
}

#[test]
fn every_entry_that_does_not_fit_is_listed() {
    let folder = folder();
    let file = folder.path().join("changed");
    let mut state = StateDict::new();
    for (key, array) in hardnet::seeded(find("hardnet39ds").unwrap(), 3).unwrap().iter() {
        let key = if key == "base.0.conv.weight" { "base.0.weight" } else { key };
        state.insert(key, array.clone()).unwrap();
    }
    save(&state, &file);
    let outcome = run(["model", "import", text(&file), "--output", "never.safetensors"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    let message = outcome.message();
    assert!(message.contains("`base.0.conv.weight` is missing"), "{message}");
    assert!(message.contains("`base.0.weight` with shape [24, 3, 3, 3] is not expected"), "{message}");
    // Another network than that of the weights: everything differs, and what comes first is listed.
    let outcome = run(["model", "import", text(&file), "--arch", "hardnet85", "--classes", "3"]);
    assert_eq!(outcome.code(), 65);
    assert!(outcome.message().contains("has shape [24], expected [48]"), "{}", outcome.stderr);
    let others = outcome.message().rsplit("; and ").next().and_then(|end| end.split(' ').next()?.parse::<u32>().ok());
    assert!(others.is_some_and(|others| others > 100) && outcome.message().len() < 2000, "{}", outcome.stderr);
}

#[test]
fn a_table_of_ones_own_runs_and_is_imported() {
    let folder = folder();
    let table = folder.path().join("mini.toml");
    let content = "name = \"mini\"\nstem = [8, 16]\nsecond_kernel = 3\nmultiplier = 1.5\ndepthwise = false\n\
                   [[block]]\ngrowth = 8\nlayers = 4\ntransition = 32\ndownsample = true\n";
    std::fs::write(&table, content).unwrap();
    let records = run(["run", "--model", text(&table), "--source", "test:ball?frames=1&live=false"]).records();
    assert_eq!(records[0]["model"]["name"], "mini");
    let architecture = hardnet::read_table(&table).unwrap();
    let file = folder.path().join("mini-weights");
    save(&hardnet::seeded(&architecture, 7).unwrap(), &file);
    let model = folder.path().join("mini.safetensors");
    let unknown = run(["model", "import", text(&file), "--output", text(&model)]);
    assert_eq!(unknown.code(), 65, "the weights alone do not tell a network that is not published");
    let arguments = ["model", "import", text(&file), "--arch", text(&table), "--output", text(&model)];
    assert!(ok(run(arguments)).stdout.contains("mini, 7 classes"));
    std::fs::remove_file(&table).unwrap();
    assert_eq!(top(&["--model", text(&model), "--size", "75x50"]).len(), 5, "the model file holds the table");
}

#[test]
fn files_are_not_overwritten_and_names_tell_the_form() {
    let folder = folder();
    let file = weights(folder.path(), 2);
    let taken = folder.path().join("taken.safetensors");
    std::fs::write(&taken, "mine").unwrap();
    let outcome = run(["model", "import", text(&file), "--output", text(&taken)]);
    assert_eq!(outcome.code(), 64);
    assert!(outcome.message().contains("exists; --force"), "{}", outcome.stderr);
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    let nowhere = folder.path().join("no/model.onnx");
    let outcome = run(["model", "export", text(&file), "--output", text(&nowhere)]);
    assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
    let outcome = run(["model", "export", text(&file), "--output", "model.pth"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains(".safetensors or .onnx"));
}

#[test]
fn wrong_metadata_in_a_model_file_is_named() {
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    let state = hardnet::seeded(find("hardnet39ds").unwrap(), 2).unwrap();
    for (metadata, part) in [("{", "damaged"), (r#"{"schema":"hardnetd.model.v9"}"#, "hardnetd.model.v9")] {
        let texts = Texts::from([("hardnetd.model".to_owned(), metadata.to_owned())]);
        write(&state, &texts, &path).unwrap();
        let outcome = run(["run", "--model", text(&path)]);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn an_onnx_file_with_its_weights_in_another_file_is_imported_like_a_whole_one() {
    let folder = folder();
    let whole = folder.path().join("whole.onnx");
    ok(run(["model", "export", "hardnet39ds", "--output", text(&whole)]));
    let mut proto = ModelProto::decode(std::fs::read(&whole).unwrap().as_slice()).unwrap();
    let mut part = Vec::new();
    for tensor in &mut proto.graph.as_mut().unwrap().initializer {
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        let values = std::mem::take(&mut tensor.raw_data);
        assert!(!values.is_empty(), "{}", tensor.name);
        tensor.data_location = Some(DataLocation::External as i32);
        tensor.external_data = vec![
            entry("location", "split.onnx.data".into()),
            entry("offset", part.len().to_string()),
            entry("length", values.len().to_string()),
        ];
        part.extend(values);
    }
    let split = folder.path().join("split.onnx");
    std::fs::write(&split, proto.encode_to_vec()).unwrap();
    std::fs::write(folder.path().join("split.onnx.data"), part).unwrap();
    let of = |file: &Path| top(&["--model", text(&import(file, &[]))]);
    assert_eq!(of(&split), of(&whole));
    std::fs::remove_file(folder.path().join("split.onnx.data")).unwrap();
    let outcome = run(["model", "import", text(&split), "--output", text(&folder.path().join("no.safetensors"))]);
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    assert!(outcome.message().contains("split.onnx.data"), "{}", outcome.stderr);
}

#[test]
fn the_umask_says_who_may_read_a_model() {
    let folder = folder();
    let file = weights(folder.path(), 10);
    let program = env!("CARGO_BIN_EXE_hardnetd");
    for (umask, mode) in [("022", 0o644), ("027", 0o640), ("077", 0o600)] {
        let [model, copy, onnx] = ["a.safetensors", "b.safetensors", "c.onnx"].map(|name| folder.path().join(name));
        let script = format!(
            "umask {umask}; \"$0\" -q model import \"$1\" -f -o \"$2\" && \"$0\" -q model export \"$2\" -f -o \"$3\" \
             && \"$0\" -q model export \"$2\" -f -o \"$4\""
        );
        let done =
            Command::new("sh").args(["-c", &script, program]).args([&file, &model, &copy, &onnx]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for path in [model, copy, onnx] {
            let found = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{} with umask {umask}: {found:o}", path.display());
        }
    }
}
