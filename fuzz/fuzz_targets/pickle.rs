//! Pickles: every input is a tree of values or an error.
#![no_main]

#[path = "../budget.rs"]
mod budget;

use std::io::Cursor;

use hardnetd::weights::input::Input;
use hardnetd::weights::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

/// Bytes for any input, and per byte of input: the values of a pickle are larger than its opcodes.
const FLOOR: usize = 64 << 20;
const FACTOR: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    budget::within(bytes.len(), FLOOR, FACTOR, || {
        if let Ok(mut input) = Input::new(Cursor::new(bytes)) {
            let _ = Pickle::read(&mut input);
        }
    });
});
