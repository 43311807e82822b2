//! ONNX files: every input is a network, weights, or an error.
#![no_main]

use std::io::Cursor;

use hardnetd::engine::{import, onnx};
use hardnetd::weights;
use hardnetd::weights::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
