//! Files from PaddlePaddle: every input is a list of arrays or an error.
#![no_main]

#[path = "../budget.rs"]
mod budget;

use std::io::Cursor;

use hardnetd::weights::input::Input;
use hardnetd::weights::paddle;
use hardnetd::weights::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

/// Bytes for any input, and per byte of input: the pickle, and values of four bytes.
const FLOOR: usize = 96 << 20;
const FACTOR: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    budget::within(bytes.len(), FLOOR, FACTOR, || {
        if let Ok(mut input) = Input::new(Cursor::new(bytes))
            && let Ok(pickle) = Pickle::read(&mut input)
        {
            let _ = paddle::read(&pickle, &mut input);
        }
    });
});
