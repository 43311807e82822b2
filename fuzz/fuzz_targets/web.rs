//! Answers of web cameras: every input is pictures, a login, another place at the same camera, or an error.
#![no_main]

#[path = "../budget.rs"]
mod budget;

use hardnetd::capture::read_answer;
use libfuzzer_sys::fuzz_target;

/// Bytes for any input, and per byte of input: a picture while it is found and as it is handed out.
const FLOOR: usize = 4 << 20;
const FACTOR: usize = 16;

fuzz_target!(|bytes: &[u8]| budget::within(bytes.len(), FLOOR, FACTOR, || read_answer(bytes)));
