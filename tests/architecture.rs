//! The order of the layers, and where unsafe code and GStreamer may stand.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their layers. A file imports from its own room and from lower layers only.
const LAYERS: [(&str, u8); 34] = [
    ("main", 9),
    ("cli", 8),
    ("service", 7),
    ("pipeline", 6),
    ("eval", 6),
    ("bench", 6),
    ("doctor", 6),
    ("measure", 6),
    ("learn", 6),
    ("http", 6),
    ("model", 5),
    ("inference", 4),
    ("hardnet", 3),
    ("capture", 3),
    ("decide", 3),
    ("publish", 3),
    ("engine", 2),
    ("weights", 2),
    ("preprocess", 2),
    ("telemetry", 2),
    ("power", 2),
    ("kernels", 1),
    ("allocator", 1),
    ("system", 1),
    ("config", 1),
    ("frame", 0),
    ("tensor", 0),
    ("record", 0),
    ("shutdown", 0),
    ("choice", 0),
    ("printable", 0),
    ("protobuf", 0),
    ("regular", 0),
    ("replace", 0),
];

/// Layer of the exit codes, which every error enum names.
const EXIT: &str = "exit";

fn layer(room: &str) -> u8 {
    if room == EXIT {
        return 0;
    }
    LAYERS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("room {room} has no layer")).1
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn room(file: &Path) -> String {
    let first = file.strip_prefix(root()).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The rooms that a file's code names with `crate::`, or `hardnetd::` in the program.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for start in ["crate::", "hardnetd::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            match rest.strip_prefix('{') {
                Some(group) => {
                    let (mut depth, mut fresh) = (1, true);
                    for (index, c) in group.char_indices() {
                        match c {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            ',' => fresh = true,
                            c if depth == 1 && fresh && c.is_ascii_lowercase() => {
                                rooms.push(name(&group[index..]));
                                fresh = false;
                            }
                            _ => {}
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                }
                None => rooms.push(name(rest)),
            }
        }
    }
    rooms.retain(|room| root().join(room).exists() || root().join(format!("{room}.rs")).exists());
    rooms
}

#[test]
fn imports_are_found_in_every_form() {
    let text =
        "use crate::frame::Frame;\nuse crate::{config, exit::Exit};\n// crate::http\nlet a = crate::tensor::new();\n";
    assert_eq!(imports(text), ["frame", "config", "exit", "tensor"]);
}

#[test]
fn a_file_imports_from_its_own_room_and_lower_layers_only() {
    let mut checked = 0;
    for file in sources(&root()) {
        let here = room(&file);
        if here == "lib" {
            continue;
        }
        for other in imports(&fs::read_to_string(&file).unwrap()) {
            let allowed = other == here || layer(&other) < layer(&here);
            assert!(allowed || (layer(&here) == 0 && layer(&other) == 0), "{} imports {other}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} imports were found");
}

#[test]
fn only_one_room_runs_gstreamer_one_file_guards_it_and_one_asks_what_is_installed() {
    for file in sources(&root()) {
        let text = fs::read_to_string(&file).unwrap();
        let runs = file.ends_with("capture/gst.rs") || file.parent().unwrap().ends_with("capture/gst");
        let asks = file.ends_with("capture/elements.rs");
        assert!(!text.contains("gstreamer_app") || runs, "{}", file.display());
        let guards = file.ends_with("capture/guard.rs");
        assert!(!text.contains("use gstreamer") || runs || asks || guards, "{}", file.display());
    }
}

#[test]
fn unsafe_code_stands_in_the_kernels_and_in_named_files_only() {
    for file in sources(&root()) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.into_iter().any(|line| line.contains("unsafe ") || line.contains("unsafe{"));
        // A scheduling call, an interface of GStreamer and a setting of the C library, which have no safe wrappers.
        let files = ["system/affinity.rs", "capture/guard.rs", "src/allocator.rs"];
        let allowed = room(&file) == "kernels" || files.iter().any(|allowed| file.ends_with(allowed));
        assert!(!found || allowed, "{}", file.display());
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut above = "";
    let mut checked = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') {
            assert!(above.starts_with("# ") && above.ends_with('.'), "no reason above: {line}");
            checked += 1;
        }
        above = line;
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn every_module_says_what_it_is() {
    for file in sources(&root()) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        assert!(text.starts_with("//!") || name.ends_with("tests.rs"), "{}", file.display());
    }
}
