//! ONNX files: every input is a network, weights, or an error.
#![no_main]

#[path = "../budget.rs"]
mod budget;

use std::io::Cursor;

use hardnetd::engine::{import, onnx};
use hardnetd::weights;
use hardnetd::weights::input::Input;
use libfuzzer_sys::fuzz_target;

/// Bytes for any input, and per byte of input: decoded, as values, and written once more.
const FLOOR: usize = 384 << 20;
const FACTOR: usize = 32;

fuzz_target!(|bytes: &[u8]| {
    budget::within(bytes.len(), FLOOR, FACTOR, || {
        if let Ok(imported) = import::read(bytes) {
            // What was read can be written and read again.
            let [height, width] = imported.size.unwrap_or([32, 32]);
            if let Ok(model) = onnx::model(&imported.graph, height, width) {
                let _ = import::read(&onnx::bytes(&model));
            }
        }
        if let Ok(mut input) = Input::new(Cursor::new(bytes)) {
            let _ = weights::onnx::read(&mut input);
        }
    });
});
