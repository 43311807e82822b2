//! What a camera's answer goes through, from its first byte to its last picture, without a connection: for the fuzz target `web`.

use std::cell::Cell;
use std::time::Duration;

use super::{Caller, Fetch, Head, Line, Login, Outlet, receive};
use super::{Challenge, Endpoint, Trust, kind_of, target};
use crate::choice::HttpKind;
use crate::shutdown;

/// Checks what is found, and keeps none of it.
struct Checked {
    left: Cell<usize>,
}

impl Outlet for Checked {
    fn receive(&self, bytes: usize) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) => self.left.set(left),
            None => panic!("an answer gives more bytes than it has"),
        }
        true
    }

    fn picture(&self, picture: Vec<u8>) {
        assert!(picture.starts_with(&[0xff, 0xd8, 0xff]) && picture.ends_with(&[0xff, 0xd9]), "no JPEG picture");
    }

    fn cut_off(&self) {}
}

/// Reads `bytes` as all that a camera at `http://camera/live/a` answers: pictures, a challenge or a redirect.
///
/// # Panics
/// If what is made of it breaks a rule.
pub fn answer(mut bytes: &[u8]) {
    let length = bytes.len();
    let Ok(Some(head)) = Head::read(&mut bytes) else { return };
    let address = "http://camera/live/a";
    let Ok(endpoint) = Endpoint::of(address) else { return };
    let login = Login::new("me\"\\", "secret\r\n");
    match head.status {
        401 => {
            if let Ok(mut challenge) = Challenge::of(head.all("WWW-Authenticate"), &endpoint) {
                for _ in 0..2 {
                    let value = challenge.answer(&login, "/live/a");
                    assert!(!value.contains(char::is_control), "a header has a line of its own: {value:?}");
                }
            }
        }
        300..400 => {
            let (_stop, stopped) = shutdown::channel();
            let (poll, connect) = (Duration::ZERO, Duration::ZERO);
            let fetch = Fetch { endpoint, login: Some(login), kind: HttpKind::Auto, poll, connect };
            let line = Line::new(stopped);
            let caller = Caller { fetch: &fetch, trust: &Trust::System, line: &line, challenge: None };
            if let Ok(there) = caller.follow(&target(address), head.all("Location").next().unwrap_or_default()) {
                assert!(there.starts_with('/') && !there.contains([' ', '\r', '\n']), "no target: {there:?}");
            }
        }
        _ => {
            let outlet = Checked { left: Cell::new(length) };
            if let Ok(kind) = kind_of(&head.media(), HttpKind::Auto) {
                let _ = receive(kind, head.body(bytes), &outlet);
            }
        }
    }
}
