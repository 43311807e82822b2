//! An area that hangs or fails does not affect the results of the others.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::doctor::check::{Report, of_area};
use crate::doctor::{Area, all};
use crate::exit::Exit;

#[test]
fn an_area_that_hangs_or_panics_is_an_error_and_the_others_are_reported() {
    let context = Arc::new(Board::new("0").context(None));
    let grace = Duration::from_millis(300);
    let fine = |_: &Context| vec![Finding::ok("fine", "it is")];
    let hangs = |_: &Context| loop {
        thread::sleep(Duration::from_secs(60));
    };
    let fails = |_: &Context| panic!("on purpose");
    let long = Duration::from_secs(60);
    let areas = [
        Area { name: "first", grace: long, waits: 0, look: fine },
        Area { name: "second", grace, waits: 0, look: hangs },
        Area { name: "third", grace: long, waits: 0, look: fails },
        Area { name: "fourth", grace: long, waits: 0, look: fine },
    ];
    let checks = all(&areas, &context);
    let states: Vec<_> = checks.iter().map(|check| (check.area, check.finding.state)).collect();
    let expected = [("first", State::Ok), ("second", State::Error), ("third", State::Error), ("fourth", State::Ok)];
    assert_eq!(states, expected);
    assert!(checks[1].finding.found.contains("no outcome after 0.3 s"), "{checks:?}");
    assert!(checks[2].finding.found.contains("a fault of the program"), "{checks:?}");
}

#[test]
fn the_exit_code_tells_a_wrong_configuration_from_the_rest() {
    let exit = |area, finding| Report::new(of_area(area, vec![Finding::ok("fine", ""), finding])).exit();
    assert_eq!(exit("broker", Finding::warning("a", "", "")), None);
    assert_eq!(exit("broker", Finding::error("a", "", "")), Some(Exit::Unavailable));
    assert_eq!(exit("configuration", Finding::error("a", "", "")), Some(Exit::Config));
    let report = Report::new(of_area("clock", vec![Finding::absent("a", ""), Finding::info("b", "")]));
    assert_eq!((report.state, report.exit()), (State::Ok, None));
}
