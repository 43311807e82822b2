//! The order of the layers, and the places where unsafe code and GStreamer are allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules and their layers. A file imports only from its own module and from lower layers.
const LAYERS: [(&str, u8); 36] = [
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
    ("collect", 5),
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
    ("plural", 0),
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

/// The modules that a file's code names with `crate::`, or `hardnetd::` in the program.
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
        let guards = file.ends_with("capture/guard.rs") || file.ends_with("capture/guard/challenge.rs");
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
        let files = ["system/affinity.rs", "capture/guard.rs", "capture/guard/challenge.rs", "src/allocator.rs"];
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

/// The paths of a `use`, with groups expanded.
fn leaves(tree: &str) -> Vec<String> {
    let Some((path, group)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let mut depth = 0;
    let parts = group.rsplit_once('}').unwrap().0.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).flat_map(leaves).map(|leaf| format!("{}{leaf}", path.trim())).collect()
}

/// The paths that the `use` lines of a file name, without those of its tests.
fn uses(text: &str) -> Vec<String> {
    let code = text.split("\nmod tests {").next().unwrap();
    let starts = |line: &&str| line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
    let mut rest = code;
    let mut paths = Vec::new();
    for line in code.lines().filter(starts) {
        rest = &rest[rest.find(line).unwrap()..];
        let (tree, behind) = rest.split_once(';').unwrap();
        paths.extend(leaves(tree.split_once("use ").unwrap().1));
        rest = behind;
    }
    paths
}

/// The file of the module of `room` in which `file` finds `path`; `None` if it is not in the module.
fn module(room: &Path, file: &Path, path: &str) -> Option<PathBuf> {
    let here = if file.ends_with("mod.rs") { file.parent().unwrap().to_owned() } else { file.with_extension("") };
    let inside = format!("crate::{}::", room.file_name().unwrap().to_string_lossy());
    let (mut folder, mut found, mut path) = match path.strip_prefix(&inside) {
        Some(path) => (room.to_owned(), true, path),
        None => (here, false, path),
    };
    while let Some(above) = path.strip_prefix("super::") {
        (folder, found, path) = (folder.parent().unwrap().to_owned(), true, above);
    }
    for name in path.split("::") {
        let deeper = folder.join(name);
        if !deeper.join("mod.rs").exists() && !deeper.with_extension("rs").exists() {
            break;
        }
        (folder, found) = (deeper, true);
    }
    let file = if folder.join("mod.rs").exists() { folder.join("mod.rs") } else { folder.with_extension("rs") };
    (found && file.starts_with(room)).then_some(file)
}

/// Names that import themselves through others, and names that lie between two such.
fn circles(mut imports: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let names: BTreeSet<String> = imports.keys().cloned().collect();
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.retain(|name, others| {
            others.retain(|other| names.contains(other));
            !others.is_empty() && imported.contains(name)
        });
        if imports.len() == names.len() {
            return imports.into_keys().collect();
        }
    }
}

#[test]
fn circles_are_found_through_groups_and_folders() {
    assert_eq!(leaves("a::{b, c::{D, e::F}, g}"), ["a::b", "a::c::D", "a::c::e::F", "a::g"]);
    let text = "use std::fs;\npub(super) use a::{\n    B,\n    c::D,\n};\nfn f() {}\nmod tests {\n    use super::*;\n";
    assert_eq!(uses(text), ["std::fs", "a::B", "a::c::D"]);
    let room = root().join("kernels");
    let of = |file: &str, path: &str| module(&room, &room.join(file), path).map(|file| name_in(&room, &file));
    assert_eq!(of("pass/pool.rs", "super::map::Map").as_deref(), Some("pass/map.rs"));
    assert_eq!(of("pass/pool.rs", "super::Map").as_deref(), Some("pass/mod.rs"));
    assert_eq!(of("pass/pool.rs", "crate::kernels::UNIT").as_deref(), Some("mod.rs"));
    assert_eq!(of("pass/mod.rs", "map::Map").as_deref(), Some("pass/map.rs"));
    assert_eq!(of("pass/pool.rs", "std::fs"), None);
    let imports = |edges: &[(&str, &[&str])]| {
        let all = |to: &[&str]| to.iter().map(|name| (*name).to_owned()).collect();
        circles(edges.iter().map(|(from, to)| ((*from).to_owned(), all(to))).collect())
    };
    assert_eq!(imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]), Vec::<String>::new());
    assert_eq!(imports(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]), ["b", "c"]);
}

/// The name of a file in a module.
fn name_in(room: &Path, file: &Path) -> String {
    file.strip_prefix(room).unwrap().to_string_lossy().into_owned()
}

#[test]
fn files_and_folders_of_the_kernels_import_each_other_without_circles() {
    let room = root().join("kernels");
    let is_test = |name: &str| name.starts_with("tests/") || name.ends_with("/tests.rs");
    let folder = |name: &str| name.split('/').next().unwrap().to_owned();
    let (mut files, mut folders) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for file in sources(&room) {
        let name = name_in(&room, &file);
        if is_test(&name) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let imported = uses(&text).into_iter().filter_map(|path| module(&room, &file, &path));
        let imported: BTreeSet<String> = imported.map(|file| name_in(&room, &file)).collect();
        let mut others: BTreeSet<String> = imported.iter().map(|name| folder(name)).collect();
        others.remove(&folder(&name));
        folders.entry(folder(&name)).or_default().append(&mut others);
        files.insert(name, imported);
    }
    assert!(files.values().map(BTreeSet::len).sum::<usize>() > 200, "only these imports were found: {files:?}");
    assert_eq!(circles(files), Vec::<String>::new(), "files import each other in a circle");
    assert_eq!(circles(folders), Vec::<String>::new(), "folders import each other in a circle");
}
