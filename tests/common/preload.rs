//! Libraries that take the place of a system function, for faults that no setting causes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library compiled from the C code `source`, to be loaded before all others (`LD_PRELOAD`).
pub fn library(folder: &Path, source: &str) -> PathBuf {
    let (text, library) = (folder.join("library.c"), folder.join("library.so"));
    fs::write(&text, source).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &text]).status().unwrap();
    assert!(compiled.success());
    library
}
