//! Weights as the frameworks write them, value by value.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hardnetd::exit::Exit;
use hardnetd::weights::{self, Array, Format, Loaded};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)
}

/// Names, arrays as they are described in a `.json`, in its order of names.
fn expected(name: &str) -> Vec<(String, Array)> {
    let json: Value = serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap();
    let array = |entry: &Value| {
        let shape = entry["shape"].as_array().unwrap().iter().map(|extent| extent.as_u64().unwrap() as usize).collect();
        let values = entry["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
        Array::new(shape, values).unwrap()
    };
    json.as_object().unwrap().iter().map(|(name, entry)| (name.clone(), array(entry))).collect()
}

fn assert_holds(loaded: &Loaded, expected: &[(String, Array)]) {
    let names: BTreeSet<&str> = loaded.state.iter().map(|(name, _)| name).collect();
    assert_eq!(names, expected.iter().map(|(name, _)| name.as_str()).collect());
    for (name, array) in expected {
        assert_eq!(loaded.state.get(name), Some(array), "{name}");
    }
}

#[test]
fn every_format_of_pytorch_gives_every_value() {
    let expected = expected("tiny_torch.json");
    assert_eq!(expected.len(), 11);
    for (name, format) in [
        ("tiny_zip.pth", Format::TorchZip),
        ("tiny_legacy.pth", Format::TorchLegacy),
        ("tiny_checkpoint.pth", Format::TorchZip),
        ("tiny.safetensors", Format::Safetensors),
    ] {
        let loaded = weights::read(&path(name)).unwrap();
        assert_eq!(loaded.format, format, "{name}");
        assert_holds(&loaded, &expected);
        assert_eq!(loaded, weights::read_bytes(&fs::read(path(name)).unwrap()).unwrap());
    }
}

#[test]
fn the_order_is_that_of_the_state_dict() {
    let zip = weights::read(&path("tiny_zip.pth")).unwrap().state;
    let order = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
    let found: Vec<&str> = zip.iter().filter_map(|(name, _)| name.strip_prefix("base.0.norm.")).collect();
    assert_eq!(found, order);
    for name in ["tiny_legacy.pth", "tiny_checkpoint.pth"] {
        assert_eq!(weights::read(&path(name)).unwrap().state.digest(), zip.digest(), "{name}");
    }
}

#[test]
fn paddlepaddle_gets_the_names_and_layouts_of_pytorch() {
    let loaded = weights::read(&path("tiny.pdparams")).unwrap();
    assert_eq!(loaded.format, Format::Paddle);
    let mapped = |name: &str| name.replace("._mean", ".running_mean").replace("._variance", ".running_var");
    let transposed = |array: Array| {
        let &[rows, columns] = array.shape() else { return array };
        Array::from_fn(&[columns, rows], |index| array.data()[index % rows * columns + index / rows]).unwrap()
    };
    let expected: Vec<_> =
        expected("tiny_paddle.json").into_iter().map(|(name, array)| (mapped(&name), transposed(array))).collect();
    assert_eq!(expected.len(), 7);
    assert_holds(&loaded, &expected);
    assert_eq!(loaded.state.get("fc.weight").unwrap().shape(), [5, 4]);
}

#[test]
fn every_type_is_converted() {
    for (name, entries) in
        [("types_zip.pth", 14), ("types_legacy.pth", 14), ("types.pdparams", 12), ("types_protocol2.pdparams", 12)]
    {
        let state = weights::read(&path(name)).unwrap().state;
        assert_eq!(state.len(), entries, "{name}");
        for (key, array) in state.iter() {
            let expected = match key {
                "b" | "bool" => Array::new(vec![5], vec![0.0, 1.0, 1.0, 1.0, 1.0]),
                "scalar" => Array::new(vec![], vec![5.5]),
                "empty" => Array::new(if name.ends_with("pth") { vec![0, 3] } else { vec![3, 0] }, vec![]),
                "expand" => Array::new(vec![3, 2], vec![1.0, 2.0, 1.0, 2.0, 1.0, 2.0]),
                "unfold" => Array::from_fn(&[4, 3], |index| (index / 3 + index % 3) as f32),
                _ => Array::new(vec![5], vec![0.0, 1.0, 2.0, 100.0, 3.0]),
            };
            assert_eq!(*array, expected.unwrap(), "{key} of {name}");
        }
    }
}

#[test]
fn numpy_arrays_can_be_stored_column_by_column() {
    let state = weights::read(&path("columns.pdparams")).unwrap().state;
    assert_eq!(state.len(), 1);
    let transposed = Array::new(vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]).unwrap();
    assert_eq!(state.get("columns"), Some(&transposed));
}

#[test]
fn the_name_of_the_file_does_not_matter() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let other = folder.join("weights.safetensors");
    fs::copy(path("tiny_legacy.pth"), &other).unwrap();
    assert_eq!(weights::read(&other).unwrap().format, Format::TorchLegacy);
}

#[test]
fn what_is_no_file_with_weights_is_an_error() {
    let missing = weights::read(Path::new("/nowhere/weights.pth")).unwrap_err();
    assert_eq!((missing.exit(), missing.to_string()), (Exit::NoInput, "cannot open /nowhere/weights.pth".to_owned()));
    let folder = weights::read(Path::new("/")).unwrap_err();
    assert_eq!((folder.exit(), folder.to_string()), (Exit::NoInput, "/ is not a regular file".to_owned()));
    assert_eq!(weights::read(Path::new("/dev/zero")).unwrap_err().exit(), Exit::NoInput);
    let json = weights::read(&path("tiny_torch.json")).unwrap_err();
    assert_eq!(json.exit(), Exit::Data);
    for text in ["", "P", "<!DOCTYPE html>", "version https://git-lfs.github.com/spec/v1\n"] {
        let message = weights::read_bytes(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(message, "neither a PyTorch, nor a PaddlePaddle, nor a safetensors file");
    }
}
