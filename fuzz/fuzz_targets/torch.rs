//! Files from PyTorch, in both containers: every input is a list of arrays or an error.
#![no_main]

#[path = "../budget.rs"]
mod budget;

use std::io::Cursor;

use hardnetd::weights::input::Input;
use hardnetd::weights::pickle::Pickle;
use hardnetd::weights::torch;
use libfuzzer_sys::fuzz_target;

/// Bytes for any input, and per byte of input: the directory of an archive, the pickle, values of four bytes.
const FLOOR: usize = 128 << 20;
const FACTOR: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    budget::within(bytes.len(), FLOOR, FACTOR, || {
        if bytes.starts_with(b"PK") {
            let _ = torch::read_zip(Cursor::new(bytes), bytes.len() as u64);
        } else if let Ok(mut input) = Input::new(Cursor::new(bytes))
            // The pickle with the magic number.
            && Pickle::read(&mut input).is_ok()
        {
            let _ = torch::read_legacy(&mut input);
        }
    });
});
