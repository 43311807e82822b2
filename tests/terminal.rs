//! Names from files, folders and the environment with characters that a terminal interprets: escape sequences, line
//! ends, reversed text. None of them reaches standard output or standard error unescaped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::onnx::{info, int, model, node, tensor};
use common::{Outcome, Running, data, folder, hardnetd, run};
use hardnetd::engine::onnx;
use hardnetd::hardnet::{self, find};
use hardnetd::model::{Metadata, Training};
use hardnetd::preprocess::Transform;
use hardnetd::printable::is_printable;
use hardnetd::protobuf::{DataType, GraphProto, TensorProto};
use hardnetd::weights::safetensors::{Texts, write};

/// A window title, a line of its own, an eight-bit colour code, reversed text.
const EVIL: &str = "a\u{1b}]0;owned\u{7}\nhardnetd: forged\r\u{9b}31m\u{202e}\u{2028}\u{7f}z";

/// `EVIL` as it is shown.
const SHOWN: &str = "a\\u{1b}]0;owned\\u{7}\\nhardnetd: forged\\r\\u{9b}31m\\u{202e}\\u{2028}\\u{7f}z";

/// Asserts that the output contains nothing for the terminal except text, and that the name is shown.
fn check(what: &str, outcome: &Outcome) {
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    let wrong = all.chars().find(|&c| !is_printable(c) && !matches!(c, '\n' | '\t'));
    assert_eq!(wrong, None, "{what}: {all:?}");
    assert!(!all.lines().any(|line| line.starts_with("hardnetd: forged")), "{what}: {all}");
    assert!(!all.contains("panicked"), "{what}: {all}");
    assert!(all.contains("owned") && all.contains("forged"), "{what} does not show the name: {all}");
}

fn photo() -> String {
    data("photos/coffee.jpg").to_str().unwrap().to_owned()
}

fn graph(change: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut graph = GraphProto {
        node: vec![node("Conv", "conv", &["image", "w"]), node("GlobalAveragePool", "mean", &["conv"])],
        initializer: vec![tensor("w", &[4, 3, 1, 1])],
        input: vec![info("image", &[1, 3, 32, 32], DataType::Float)],
        output: vec![info("mean", &[1, 4, 1, 1], DataType::Float)],
        ..Default::default()
    };
    change(&mut graph);
    onnx::bytes(&model(graph))
}

#[test]
fn names_in_onnx_files_are_escaped() {
    let folder = folder();
    let path = folder.path().join("network.onnx");
    let path = path.to_str().unwrap();
    let file = |change: &dyn Fn(&mut GraphProto)| fs::write(path, graph(change)).unwrap();
    for (what, change) in [
        ("an operator", (|graph| graph.node[1].op_type = EVIL.to_owned()) as fn(&mut GraphProto)),
        ("a domain", |graph| {
            graph.node[1].domain = EVIL.to_owned();
            graph.node[1].op_type = "Unknown".to_owned();
        }),
        ("a node", |graph| {
            graph.node[1].name = EVIL.to_owned();
            graph.node[1].op_type = "GlobalMaxPool".to_owned();
            graph.node[1].attribute.push(int("axis", 2));
            graph.node[1].input.push("nothing".to_owned());
        }),
        ("a value", |graph| graph.node[1].input[0] = EVIL.to_owned()),
        ("an output", |graph| graph.output[0].name = EVIL.to_owned()),
        ("an input", |graph| graph.input[0] = info(EVIL, &[1, 3], DataType::Float)),
        ("a tensor", |graph| graph.initializer[0] = TensorProto { data_type: 77, ..tensor(EVIL, &[1]) }),
        ("a padding", |graph| {
            let mut padding = int("auto_pad", 0);
            (padding.r#type, padding.s) = (3, EVIL.as_bytes().to_vec());
            graph.node[0].attribute.push(padding);
        }),
    ] {
        file(&change);
        for arguments in [&["classify", "--model", path, &photo()][..], &["model", "info", path]] {
            let outcome = run(arguments);
            assert_eq!(outcome.code(), 65, "{what}: {}", outcome.stderr);
            check(what, &outcome);
        }
    }
    // Names of nodes in a table.
    file(&|graph| graph.node[0].name = EVIL.to_owned());
    check("a plan", &run(["model", "info", "--plan", path]));
    check("differences", &run(["model", "verify", path]));
}

#[test]
fn names_in_files_with_weights_are_escaped() {
    let folder = folder();
    let path = folder.path().join("weights");
    let text =
        |text: &str| [b"X".as_slice(), &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat();
    let dict = |key: &str, value: &[u8]| [b"\x80\x02}".as_slice(), &text(key), value, b"s."].concat();
    let array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR";
    let safetensors = |key: &str, dtype: &str, bytes: usize| {
        let entry = format!(r#":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{bytes}]}}}}"#);
        let header = format!("{{{}{entry}", serde_json::to_string(key).unwrap());
        [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; bytes]].concat()
    };
    let external = graph(|graph| {
        graph.initializer[0] = TensorProto { data_location: Some(1), ..tensor(EVIL, &[1]) };
    });
    for (what, bytes) in [
        ("an array", dict(EVIL, array)),
        (
            "a global",
            dict("a", &[b"c".as_slice(), EVIL.split('\n').next().unwrap().as_bytes(), b"forged\nb\n"].concat()),
        ),
        ("a tensor", safetensors(EVIL, "F32", 4)),
        ("a tensor of another type", safetensors(EVIL, "C64", 8)),
        ("external data", external),
    ] {
        fs::write(&path, bytes).unwrap();
        for command in ["info", "import"] {
            let outcome = run(["model", command, path.to_str().unwrap()]);
            assert_eq!(outcome.code(), 65, "{what}: {}", outcome.stderr);
            check(what, &outcome);
        }
    }
}

#[test]
fn labels_and_names_of_pictures_are_escaped_in_results() {
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    let architecture = find("hardnet39ds").unwrap();
    let metadata = Metadata {
        architecture: architecture.clone(),
        classes: 2,
        labels: Some(vec![EVIL.to_owned(), format!("{EVIL}\t2")]),
        transform: Transform { resize: 32, height: 32, width: 32, ..Transform::IMAGENET },
        training: Training::Trained,
        source: None,
    };
    let texts = Texts::from([("hardnetd.model".to_owned(), metadata.text().unwrap())]);
    write(&hardnet::seeded(architecture, 2).unwrap(), &texts, &path).unwrap();
    let model = path.to_str().unwrap();
    let pictures = folder.path().join("pictures");
    let picture = pictures.join(EVIL).join(format!("{EVIL}.jpg"));
    fs::create_dir_all(picture.parent().unwrap()).unwrap();
    fs::create_dir(pictures.join(format!("{EVIL}\t2"))).unwrap();
    fs::copy(data("photos/coffee.jpg"), &picture).unwrap();
    fs::write(picture.with_extension("png"), "no picture").unwrap();

    let outcome = run(["classify", "--model", model, picture.to_str().unwrap()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    check("a result", &outcome);
    let lines: Vec<Vec<&str>> = outcome.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2, "{}", outcome.stdout);
    assert!(lines.iter().all(|fields| fields.len() == 5 && fields[0].ends_with(&format!("{SHOWN}.jpg"))), "{lines:?}");
    assert!(
        lines.iter().any(|fields| fields[3] == SHOWN) && lines.iter().any(|fields| fields[3] == format!("{SHOWN}\\t2"))
    );

    // JSON has the names unchanged, in its own escape syntax.
    let json = run(["classify", "--json", "--model", model, picture.to_str().unwrap()]);
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(value[0]["file"], picture.to_str().unwrap());
    assert!([0, 1].iter().any(|&rank| value[0]["top"][rank]["label"] == EVIL), "{value}");

    let broken = picture.with_extension("png");
    let both = run(["classify", "--model", model, picture.to_str().unwrap(), broken.to_str().unwrap()]);
    assert_eq!(both.code(), 65, "{}", both.stderr);
    check("a picture that is none", &both);
    check("a picture", &run(["classify", "--model", model, broken.to_str().unwrap()]));
    check("the worst classes", &run(["eval", "--model", model, "--images", pictures.to_str().unwrap()]));
}

#[test]
fn paths_arguments_and_the_environment_are_escaped() {
    let folder = folder();
    let named = |ending: &str| folder.path().join(format!("{EVIL}{ending}")).to_str().unwrap().to_owned();
    let text = named(".txt");
    fs::write(&text, "a text\n").unwrap();
    let config = named(".toml");
    let of_config = |text: &str| fs::write(&config, text).unwrap();
    of_config("[inference]\nwrokers = 1\n");
    check("a model", &run(["classify", "--model", EVIL, &photo()]));
    check("a file of a model", &run(["model", "info", &text]));
    check("labels", &run(["classify", "--labels", &text, &photo()]));
    check("a source", &run(["run", "--source", &text]));
    check("a scheme", &run(["run", "--source", &format!("{EVIL}://x")]));
    check("a folder", &run(["run", "--source", &format!("images:{}", named(""))]));
    check("an option", &run(["run", &format!("--{EVIL}")]));
    check("a command", &run([EVIL]));
    check("a size", &run(["classify", "--size", EVIL, &photo()]));
    check("an output", &run(["model", "export", "hardnet39ds", "--output", &text]));
    check("a configuration", &run(["config", "check", "-c", &config]));
    check("a configuration for doctor", &run(["doctor", "-c", &config, "--timeout", "0.1"]));
    of_config("[model]\nname = \n");
    check("a line of a configuration", &run(["config", "check", "-c", &config]));
    // TOML has its own form for text of several lines.
    let flat = serde_json::to_string(&EVIL.replace('\n', " ")).unwrap().replace('\u{7f}', "\\u007f");
    of_config(&format!("[model]\nname = {flat}\n"));
    check("a value", &run(["config", "show", "-c", &config]));
    of_config(&format!("[model]\nname = {}\n", serde_json::to_string(EVIL).unwrap().replace('\u{7f}', "\\u007f")));
    check("a model in a configuration", &run(["run", "-c", &config, "--frames", "1"]));
    of_config(&format!("[[stream]]\nname = {}\n", serde_json::to_string(EVIL).unwrap().replace('\u{7f}', "\\u007f")));
    check("a name of a stream", &run(["run", "-c", &config]));
    let with = |name: &str, arguments: &[&str]| {
        let mut command = hardnetd(arguments);
        command.env(name, EVIL);
        Running::start(&mut command).finish()
    };
    check("a filter", &with("HARDNETD_LOG", &["classify", "--model", EVIL, "x.jpg"]));
    check("a variable", &with("HARDNETD__INFERENCE__WORKERS", &["run", "--frames", "1"]));
    let record = format!("{}/hardnetd", named(""));
    fs::create_dir_all(&record).unwrap();
    fs::write(Path::new(&record).join("digests"), "none\n").unwrap();
    let mut command =
        hardnetd(["model", "fetch", "hardnet39ds", "--output", folder.path().join("a.safetensors").to_str().unwrap()]);
    command.env("XDG_STATE_HOME", named(""));
    check("a record of digests", &Running::start(&mut command).finish());
}
