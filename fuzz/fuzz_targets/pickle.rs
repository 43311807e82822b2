//! Pickles: every input is a tree of values or an error.
#![no_main]

use std::io::Cursor;

use hardnetd::weights::input::Input;
use hardnetd::weights::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut input) = Input::new(Cursor::new(bytes)) {
        let _ = Pickle::read(&mut input);
    }
});
