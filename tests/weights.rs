//! Weights as written by the frameworks, value by value.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hardnetd::exit::Exit;
use hardnetd::protobuf::{DataType, GraphProto, ModelProto, TensorProto};
use hardnetd::weights::{self, Array, Format, Loaded};
use prost::Message as _;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)
}

/// Names and arrays described in a `.json`, in order of names.
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
    for text in ["", "P", "weights"] {
        let message = weights::read_bytes(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(message, "neither a PyTorch, nor a PaddlePaddle, nor a safetensors, nor an ONNX file");
    }
}

/// An ONNX file of the tests.
fn onnx(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx").join(name)).unwrap()
}

#[test]
fn an_onnx_file_with_batch_norms_holds_the_state_dict() {
    let loaded = weights::read_bytes(&onnx("resnet_norms.onnx")).unwrap();
    assert_eq!((loaded.format, loaded.format.to_string()), (Format::Onnx, "ONNX".to_owned()));
    let entries: Vec<(&str, &[usize])> = loaded.state.iter().map(|(key, array)| (key, array.shape())).collect();
    assert_eq!(entries.len(), 4 * 5 + 2);
    assert_eq!(entries[0], ("conv1.weight", &[4, 3, 7, 7][..]));
    assert_eq!(entries[1], ("bn1.weight", &[4][..]));
    assert_eq!(entries[4], ("bn1.running_var", &[4][..]));
    assert!(loaded.state.values("fc.weight", &[5, 6]).unwrap().iter().all(|weight| weight.abs() <= 1.0));
}

#[test]
fn an_onnx_file_with_other_names_holds_them() {
    // The exporter folded the batch norms and named what it made.
    let folded = weights::read_bytes(&onnx("resnet.onnx")).unwrap().state;
    assert_eq!(folded.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["fc.weight", "fc.bias"]);

    let tensor = |name: &str, data_type: DataType| TensorProto {
        name: name.to_owned(),
        dims: vec![3],
        data_type: data_type as i32,
        ..Default::default()
    };
    let bytes = |initializer: Vec<TensorProto>| {
        let graph = GraphProto { initializer, ..Default::default() };
        let producer_name = "test".to_owned();
        ModelProto { ir_version: 7, producer_name, graph: Some(graph), ..Default::default() }.encode_to_vec()
    };
    let mut tensors = vec![
        TensorProto { float_data: vec![1.0, -0.5, 2.0], ..tensor("f32", DataType::Float) },
        TensorProto { double_data: vec![1.0, -0.5, 2.0], ..tensor("f64", DataType::Double) },
        TensorProto { int32_data: vec![0x3c00, 0xb800, 0x4000], ..tensor("f16", DataType::Float16) },
        TensorProto { int32_data: vec![0x3f80, 0xbf00, 0x4000], ..tensor("bf16", DataType::Bfloat16) },
        TensorProto { raw_data: vec![0, 0x3c, 0, 0xb8, 0, 0x40], ..tensor("raw", DataType::Float16) },
        TensorProto { int64_data: vec![1, 2, 3], ..tensor("integers", DataType::Int64) },
    ];
    let state = weights::read_bytes(&bytes(tensors.clone())).unwrap().state;
    assert_eq!(state.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["f32", "f64", "f16", "bf16", "raw"]);
    assert!(state.iter().all(|(_, array)| array.data() == [1.0, -0.5, 2.0]));

    let message = |tensors: &[TensorProto]| weights::read_bytes(&bytes(tensors.to_vec())).unwrap_err().to_string();
    tensors[0].float_data.pop();
    assert_eq!(message(&tensors), "`f32` has 2 values, which do not match its shape [3]");
    tensors[0].dims = vec![1 << 62, 4];
    assert_eq!(message(&tensors), "the values of `f32` cannot be read");
    tensors[0].data_location = Some(1);
    assert_eq!(
        message(&tensors),
        "`f32` has its data in ``, from which nothing is imported: `run`, `classify` and `eval` take such an ONNX file as it is"
    );
    assert_eq!(message(&[]), "the file holds no arrays");
}

#[test]
fn a_damaged_onnx_file_is_an_error_or_holds_less() {
    let mut bytes = onnx("mean_squeeze.onnx");
    // The graph is complete once all but the operator set, the last four bytes, are there.
    for length in 0..bytes.len() - 4 {
        assert!(weights::read_bytes(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let _ = weights::read_bytes(&bytes);
            bytes[at] ^= 1 << bit;
        }
    }
}
