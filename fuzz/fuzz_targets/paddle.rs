//! Files from PaddlePaddle: every input is a list of arrays or an error.
#![no_main]

use std::io::Cursor;

use hardnetd::weights::input::Input;
use hardnetd::weights::paddle;
use hardnetd::weights::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut input) = Input::new(Cursor::new(bytes))
        && let Ok(pickle) = Pickle::read(&mut input)
    {
        let _ = paddle::read(&pickle, &mut input);
    }
});
