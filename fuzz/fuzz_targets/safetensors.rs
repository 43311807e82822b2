//! Safetensors files: every input is a list of arrays or an error.
#![no_main]

#[path = "../budget.rs"]
mod budget;

use std::io::Cursor;

use hardnetd::weights::input::Input;
use hardnetd::weights::safetensors;
use libfuzzer_sys::fuzz_target;

/// Bytes for any input, and per byte of input: the header, and values of four bytes.
const FLOOR: usize = 32 << 20;
const FACTOR: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    budget::within(bytes.len(), FLOOR, FACTOR, || {
        if let Ok(mut input) = Input::new(Cursor::new(bytes)) {
            let _ = safetensors::read(&mut input);
        }
    });
});
