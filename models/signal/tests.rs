//! What can fail without a sign: labels, the photographs held out, repeatability, the measure of damage.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use super::canvas::{Canvas, luma};
use super::labels::{FAULTS, PATTERN_FAULTS, PATTERNS, State};
use super::make::Maker;
use super::plan::{Clip, Set};
use super::random::Random;
use super::video::{Codec, Route};
use super::{damage, faults, photos, plan, scenes, video};

fn raw(width: u32, height: u32) -> Route {
    Route { width, height, format: "I420", colorimetry: "bt601", codec: Codec::Raw }
}

/// The mean of the middle of a frame of a pattern, and the spread of its light.
fn look(pattern: &str, first: u64) -> ([f32; 3], f32) {
    let frames = video::pattern(pattern, &raw(320, 240), first, 1).unwrap();
    let centre = Canvas::of(&frames[0]).centre(faults::CENTRE);
    let mean = centre.mean();
    let spread = centre.pixels.iter().map(|pixel| (luma(*pixel) - luma(mean)).powi(2)).sum::<f32>();
    (mean, (spread / centre.pixels.len() as f32).sqrt())
}

#[test]
fn there_are_27_labels_and_the_counts_are_in_proportion() {
    let labels: BTreeSet<String> = State::all().into_iter().map(State::label).collect();
    assert_eq!(labels.len(), 27);
    for total in [0, 200, 1000, 24_000] {
        let counts: BTreeMap<State, usize> = plan::counts(total).into_iter().collect();
        assert_eq!(counts.values().sum::<usize>(), total);
        assert_eq!((counts.len(), counts[&State::Good]), (27, total / 3));
        let others = FAULTS.iter().filter(|fault| **fault != State::PartlyCovered);
        assert!(others.into_iter().all(|fault| counts[fault] == total / 24));
        assert_eq!(counts[&State::PartlyCovered], total / 12);
    }
}

#[test]
fn clips_number_every_picture_of_a_set_once() {
    let clips = plan::clips(1000, 200, 15);
    for (set, count) in Set::ALL.into_iter().zip([1000, 200, 15]) {
        let mut next = 0;
        for clip in clips.iter().filter(|clip| clip.set == set) {
            assert_eq!(clip.first, next);
            next += clip.count;
        }
        assert_eq!(next, count);
    }
}

#[test]
fn patterns_look_as_their_labels_say() {
    video::init().unwrap();
    for (pattern, colour) in [("red", [1.0, 0.0, 0.0]), ("green", [0.0, 1.0, 0.0]), ("blue", [0.0, 0.0, 1.0])] {
        let (mean, spread) = look(pattern, 0);
        assert!(mean.iter().zip(colour).all(|(a, b)| (a - b).abs() < 0.05) && spread < 0.02, "{pattern}: {mean:?}");
    }
    for pattern in PATTERNS.iter().find(|(name, _)| *name == "grey").unwrap().1 {
        let (mean, spread) = look(pattern, 0);
        assert!(mean.iter().all(|value| (value - 0.5).abs() < 0.06) && spread < 0.02, "{pattern}: {mean:?} {spread}");
    }
    for (state, pattern, first) in PATTERN_FAULTS {
        // Blinking goes on as it began.
        for first in first.map_or(vec![0], |first| vec![first, first + 2, first + 10]) {
            let (mean, _) = look(pattern, first);
            let is_bright = luma(mean) > 0.95;
            assert!(is_bright || luma(mean) < 0.05, "{pattern}: {mean:?}");
            assert_eq!(is_bright, state == State::OverExposed, "{pattern} {first}");
        }
    }
}

#[test]
fn every_pattern_of_the_source_is_used_but_the_bar() {
    use gstreamer::prelude::*;
    video::init().unwrap();
    let source = gstreamer::ElementFactory::make("videotestsrc").build().unwrap();
    let class = gstreamer::glib::EnumClass::with_type(source.property_type("pattern").unwrap()).unwrap();
    let known: BTreeSet<&str> =
        PATTERNS.iter().flat_map(|(_, patterns)| patterns.iter().copied()).chain(PATTERN_FAULTS.map(|p| p.1)).collect();
    // Those of GStreamer 1.22; later ones have higher numbers.
    let all: BTreeSet<&str> =
        class.values().iter().filter(|value| value.value() <= 25).map(gstreamer::glib::EnumValue::nick).collect();
    assert_eq!(all.difference(&known).copied().collect::<Vec<_>>(), ["bar"]);
    assert!(known.is_subset(&all));
}

#[test]
fn a_fifth_of_the_photographs_is_held_out_and_no_name_occurs_twice() {
    let photos = photos::all();
    let (held, used): (Vec<_>, Vec<_>) = photos.iter().partition(|photo| photo.held_out);
    assert!(held.len() * 5 >= photos.len() - 4 && held.len() * 4 <= photos.len(), "{} of {}", held.len(), photos.len());
    let held: BTreeSet<&str> = held.iter().map(|photo| photo.name.as_str()).collect();
    let used: BTreeSet<&str> = used.iter().map(|photo| photo.name.as_str()).collect();
    assert!(held.is_disjoint(&used));
    assert_eq!(held.len() + used.len(), photos.len());
    let card = include_str!("../README.md");
    assert!(held.iter().all(|name| card.contains(&format!("`{name}`"))), "the card names what is held out");
}

#[test]
fn frames_seeked_for_are_those_that_would_have_come() {
    video::init().unwrap();
    let all = video::pattern("ball", &raw(320, 240), 0, 31).unwrap();
    let sought = video::pattern("ball", &raw(320, 240), 30, 1).unwrap();
    assert_eq!(all[30], sought[0]);
    assert_ne!(all[0], sought[0]);
}

#[test]
fn what_stands_still_is_no_damage_and_what_is_torn_is() {
    let mut random = Random::new(5, &[]);
    let scene = scenes::render(1, 216, 162, &mut random);
    let clean: Vec<Canvas> = [0, 6, 12].map(|x| scene.part([x, 0, 144, 144])).into();
    assert_eq!(damage::damage(&clean[1], &clean), 0.0);
    let mut torn = clean[2].clone();
    let grey = torn.pixels.len() / 2;
    torn.pixels[grey..].fill([0.5, 0.9, 0.1]);
    let share = damage::damage(&torn, &clean);
    assert!((0.4..=0.5).contains(&share), "{share}");
}

#[test]
fn lost_packets_are_seen_in_real_frames() {
    video::init().unwrap();
    let mut random = Random::new(11, &[]);
    let scene = scenes::render(1, 400, 300, &mut random);
    let frames: Vec<Canvas> = (0..8).map(|at| scene.part([at * 8, at * 4, 320, 240])).collect();
    let route = Route { codec: Codec::H264Quality { quantizer: 26 }, ..raw(320, 240) };
    let found: Vec<f64> = (0..4)
        .flat_map(|seed| damage::lose(&frames, &route, 162, &mut Random::new(seed, &[])).unwrap())
        .map(|(_, _, share)| share)
        .collect();
    assert!(!found.is_empty() && found.iter().all(|share| *share >= damage::LEAST), "{found:?}");
}

/// What a seed makes, through an encoder.
fn sent(seed: u64) -> Vec<image::RgbImage> {
    let mut random = Random::new(seed, &[]);
    let mut scene = scenes::render(2, 320, 240, &mut random);
    faults::vary(&mut scene, &mut random);
    faults::apply(State::PartlyCovered, &mut scene, &mut random);
    let route = Route { codec: Codec::H264Rate { rate: 200 }, ..raw(320, 240) };
    video::send(&[scene], &route, 2).unwrap()
}

#[test]
fn the_same_seed_makes_the_same_scene_fault_and_frame_and_another_seed_others() {
    video::init().unwrap();
    assert!(sent(1) == sent(1));
    assert!(sent(1) != sent(2));
}

#[test]
#[ignore = "needs the packages of make model-data"]
fn the_same_seed_makes_the_same_clips_and_another_seed_or_set_others() {
    video::init().unwrap();
    let (maker, other) = (Maker::new(1, 144).unwrap(), Maker::new(2, 144).unwrap());
    for state in [State::Good, State::PartlyCovered, State::BrokenBlocks, State::Pattern(12)] {
        let clip = Clip { set: Set::Test, state, first: 0, count: 1 };
        let (first, second) = (maker.make(&clip).unwrap(), maker.make(&clip).unwrap());
        assert!(first == second, "{state:?}");
        assert!(first != other.make(&clip).unwrap(), "{state:?}");
        assert_eq!(first[0].1.label, state.label());
        assert_eq!(first[0].0.width().min(first[0].0.height()), 162);
        let training = maker.make(&Clip { set: Set::Train, ..clip }).unwrap();
        assert!(first != training, "{state:?}");
    }
}

#[test]
#[ignore = "needs the packages of make model-data"]
fn photographs_that_are_held_out_occur_in_tests_only_and_others_in_training_only() {
    video::init().unwrap();
    let maker = Maker::new(3, 64).unwrap();
    let held: BTreeSet<String> = photos::all()
        .iter()
        .filter(|photo| photo.held_out)
        .map(|photo| format!("photo:{}", photo.name.as_str()))
        .collect();
    let mut seen = 0;
    for (set, first) in Set::ALL.into_iter().flat_map(|set| (0..6).map(move |first| (set, first))) {
        for (_, record) in maker.make(&Clip { set, state: State::Good, first, count: 2 }).unwrap() {
            if record.source.starts_with("photo:") {
                assert_eq!(held.contains(&record.source), set != Set::Train, "{record:?}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 12, "{seen}");
}
