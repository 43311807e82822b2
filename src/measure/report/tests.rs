//! Reports of measurements whose figures are known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::measure::analysis::analyse;
use crate::measure::environment::Point;
use crate::measure::journal::{Phase, PhaseLine};
use crate::measure::sample::Sample;
use crate::measure::synthetic::{END, recording};

fn measured(change: impl FnOnce(&mut Recording)) -> Measured {
    let mut recording = recording(false);
    recording.environment.device = "pi".into();
    change(&mut recording);
    let analysis = analyse(&recording);
    Measured { file: "a.jsonl".into(), recording, analysis }
}

/// A sweep whose windows belong to `count` configurations in turn.
fn sweep(count: usize) -> Measured {
    measured(|recording| {
        recording.environment.points =
            (0..count).map(|number| Point { name: format!("p{number}"), ..Point::default() }).collect();
        let windows = recording.phases.iter_mut().filter(|phase| phase.phase == Phase::Window);
        windows.zip((0..count).cycle()).for_each(|(window, point)| window.point = Some(point));
    })
}

/// The values of an attribute, in order.
fn values(page: &str, attribute: &str) -> Vec<String> {
    let start = format!(" {attribute}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// The page from the element with this id on.
fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let rest = page.split(&format!("<section id=\"{id}\"")).nth(1).unwrap();
    rest.split("<section id=").next().unwrap()
}

#[test]
fn a_page_has_every_figure_with_all_digits() {
    let file = measured(|_| ());
    let page = html(&[file]).unwrap();
    let valid = measured(|_| ()).analysis.points[0].valid.unwrap();
    let medians = [valid.fps, valid.infer_p50_ms, valid.infer_p99_ms, valid.total_p50_ms].into_iter();
    let medians = medians.chain([valid.watts, valid.gross_j, valid.net_j, valid.inference_j].map(Option::unwrap));
    let exact: Vec<String> = medians.map(|spread| spread.median.to_string()).collect();
    assert_eq!(values(part(&page, "summary"), "data-median"), exact);
    assert_eq!(values(part(&page, "energy"), "data-median"), exact[5..]);
    let counts = values(part(&page, "latency"), "data-count");
    let counts: Vec<usize> = counts.iter().map(|count| count.parse().unwrap()).collect();
    // The first is that of the whole chart.
    assert_eq!((counts[0], counts[1..].iter().sum::<usize>()), (7500, 7500));
    assert!(!page.contains("id=\"tradeoff\""), "there is nothing to weigh with one configuration");
}

#[test]
fn text_of_a_file_is_never_markup() {
    let hostile = "\"><script>alert(1)</script><img src=http://a.example/>'&{{7}}\u{202e}\n[x](http://a.example)|`";
    let file = measured(|recording| {
        let environment = &mut recording.environment;
        for text in [&mut environment.device, &mut environment.version, &mut environment.kernel] {
            *text = hostile.into();
        }
        (environment.board, environment.cpu) = (Some(hostile.into()), Some(hostile.into()));
        environment.started_at = hostile.into();
        environment.absent = [(hostile.to_owned(), hostile.to_owned())].into();
        let rail = &mut environment.rails[0];
        (rail.name, rail.family, rail.coverage) = (hostile.into(), hostile.into(), hostile.into());
        environment.points[0] = Point {
            name: hostile.into(),
            models: [(hostile.to_owned(), hostile.to_owned())].into(),
            backend: hostile.into(),
            sources: vec![hostile.into()],
            ..Point::default()
        };
        recording.end.as_mut().unwrap().interrupted = Some(hostile.into());
        let conditions = recording.samples.iter_mut().filter_map(|sample| sample.condition.as_mut());
        conditions.for_each(|condition| {
            condition.governors = vec![hostile.into()];
            condition.throttled_before = vec![hostile.into()];
        });
    });
    let file = Measured { file: hostile.into(), ..file };
    let clean = html(&[measured(|_| ())]).unwrap();
    let page = html(std::slice::from_ref(&file)).unwrap();
    for tag in ["<script", "<img", "<a href=\"h"] {
        assert!(!page.contains(tag), "{tag}");
    }
    let of = |page: &str, c| page.matches(c).count();
    assert!(page.contains("&#60;script&#62;") && !page.contains('\u{202e}'));
    assert_eq!(of(&clean, "<svg"), of(&page, "<svg"));
    let text = markdown(std::slice::from_ref(&file));
    let bare = text.replace("\\<", "").replace("\\[", "").replace("\\`", "");
    assert!(!bare.contains(['<', '[', '`']), "{text}");
    let mut table = Vec::new();
    csv(&[Measured { file: "=1+1".into(), ..file }], &mut table).unwrap();
    assert!(String::from_utf8(table).unwrap().contains("\n'=1+1,"));
}

#[test]
fn what_is_missing_is_named_with_its_reason() {
    let without_sensor = measured(|recording| {
        recording.environment.rails.clear();
        recording.environment.absent = [("temperature".to_owned(), "no thermal zone".to_owned())].into();
        for sample in &mut recording.samples {
            (sample.rails, sample.rails_at_ns, sample.condition) = (Vec::new(), Vec::new(), None);
        }
    });
    let page = html(std::slice::from_ref(&without_sensor)).unwrap();
    for part in
        ["unavailable: no sensor of power", "unavailable: no thermal zone", "unavailable: no core told a frequency"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(markdown(&[without_sensor]).contains("| unavailable: no sensor of power | unavailable"));
    let without_idle = measured(|recording| recording.phases.retain(|phase| phase.phase != Phase::Idle));
    assert!(html(&[without_idle]).unwrap().contains("unavailable: no whole idle phase with readings"));
    let without_capture = measured(|recording| recording.phases.retain(|phase| phase.phase != Phase::Capture));
    assert!(html(&[without_capture]).unwrap().contains("unavailable: no whole capture phase with readings"));
    let none_valid = measured(|recording| recording.inferences.clear());
    let page = html(&[none_valid]).unwrap();
    for part in
        ["unavailable: no valid window", "unavailable: no results in a window", "data-verdict=\"few_inferences\""]
    {
        assert!(page.contains(part), "{part}");
    }
    let nothing = measured(|recording| {
        (recording.phases, recording.samples, recording.inferences) = (Vec::new(), Vec::new(), Vec::new());
        recording.end = None;
    });
    let page = html(&[nothing]).unwrap();
    for part in ["incomplete: the file has no end", "no window was measured", "the sensor told nothing"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_sweep_has_a_front_of_what_nothing_is_better_than() {
    let mut file = sweep(5);
    for (number, (ms, joules)) in
        [(10.0, 5.0), (20.0, 3.0), (20.0, 4.0), (30.0, 2.0), (40.0, 2.0)].into_iter().enumerate()
    {
        let valid = file.analysis.points[number].valid.as_mut().unwrap();
        valid.infer_p50_ms.median = ms;
        valid.gross_j.as_mut().unwrap().median = joules;
    }
    let other = sweep(2);
    let page = html(&[file, other]).unwrap();
    let plot = part(&page, "tradeoff");
    assert_eq!(values(plot, "data-front")[..5], ["true", "true", "false", "true", "false"]);
    assert_eq!(values(plot, "data-infer-p50-ms")[..5], ["10", "20", "20", "30", "40"]);
    assert_eq!(values(plot, "data-file").iter().filter(|file| *file == "1").count(), 2, "no line with a front of one");
}

#[test]
fn any_number_of_configurations_has_a_page_of_bounded_size() {
    for count in [1, 10, 1000] {
        let file = sweep(count);
        let page = html(&[file]).unwrap();
        assert!(page.len() < 2_000_000, "{count}: {}", page.len());
        assert_eq!(page.contains("Left out here"), count == 1000);
    }
    let long = measured(|recording| {
        let sample = recording.samples[50].clone();
        recording.samples.extend((0..100_000).map(|number| {
            let at_ns = END + number * 100_000_000;
            let sample = sample.clone();
            Sample { at_ns, rails_at_ns: vec![at_ns], ..sample }
        }));
        let window = recording.phases[3].clone();
        recording.phases.extend((0..300).map(|_| window.clone()));
        let pause = PhaseLine { phase: Phase::Pause, ..window };
        recording.phases.extend((0..20_000).map(|_| pause.clone()));
    });
    let page = html(&[long]).unwrap();
    assert!(page.len() < 2_000_000, "{}", page.len());
}

#[test]
fn invalid_windows_are_shaded_and_numbers_that_no_machine_has_do_no_harm() {
    let extreme = measured(|recording| {
        let ends = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0];
        for (sample, value) in recording.samples.iter_mut().zip(ends.iter().cycle()) {
            sample.rails = vec![Some(*value)];
            if let Some(condition) = &mut sample.condition {
                condition.celsius = [("cpu".to_owned(), *value)].into();
                condition.khz = [(0, u64::MAX)].into();
                condition.throttled = vec!["hot".into()];
            }
        }
        let ends = [0, 1, u64::MAX, 12_000];
        recording.inferences.iter_mut().zip(ends.iter().cycle()).for_each(|(it, us)| it.infer_us = *us);
        let times = [0, u64::MAX, 5];
        recording.phases.iter_mut().skip(6).zip(times).for_each(|(phase, at)| phase.at_ns = at);
        recording.environment.started_ns = u64::MAX;
    });
    let page = html(&[extreme]).unwrap();
    assert!(page.contains("data-phase=\"window\" data-valid=\"false\""));
    for word in ["NaN", "inf%", "inf\""] {
        assert!(!part(&page, "latency").contains(word) && !part(&page, "energy").contains(word), "{word}");
    }
}
