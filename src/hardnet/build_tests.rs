#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::engine::graph::Op;
use crate::hardnet::{ARCHITECTURES, find};
use crate::weights::Array;

/// The entries of `state`, changed by `change`: the new array, or `None` to omit the entry.
fn changed(state: &StateDict, change: impl Fn(&str, &Array) -> Option<Array>) -> StateDict {
    let mut result = StateDict::new();
    for (key, array) in state.iter() {
        if let Some(array) = change(key, array) {
            result.insert(key, array).unwrap();
        }
    }
    result
}

#[test]
fn a_folded_convolution_equals_convolution_and_batch_norm() {
    let weight = [0.25, -1.5, 2.0, 0.125];
    let norm =
        BatchNorm { scale: vec![0.5, 2.0], offset: vec![0.1, -0.2], mean: vec![0.3, -4.0], variance: vec![1.0, 0.0] };
    let folded = fold(weight.to_vec(), &norm);
    let inputs = [0.7_f64, -1.1];
    for channel in 0..2 {
        let dot = |weight: &[f32]| -> f64 { weight.iter().zip(inputs).map(|(&w, x)| f64::from(w) * x).sum() };
        let at = |values: &[f32]| f64::from(values[channel]);
        let range = channel * 2..channel * 2 + 2;
        let plain = dot(&weight[range.clone()]);
        let expected =
            (plain - at(&norm.mean)) / (at(&norm.variance) + 1e-5).sqrt() * at(&norm.scale) + at(&norm.offset);
        let found = dot(&folded.weight[range]) + at(&folded.bias);
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} and {expected}");
    }
}

#[test]
fn the_graph_holds_the_folded_weights_under_the_names_of_the_modules() {
    let architecture = find("hardnet39ds").unwrap();
    let state = seeded(architecture, 7).unwrap();
    let graph = build(architecture, 7, &state).unwrap();
    let node = |name: &str| graph.node(graph.find(name).unwrap()).unwrap();
    let Op::Conv(conv) = &node("base.3.layers.1.layer2").op else { panic!("no convolution") };
    assert!(conv.is_depthwise());
    assert_eq!((conv.out_channels, conv.activation), (26, Activation::None));
    let at = |part: &str| f64::from(state.get(&format!("base.3.layers.1.layer2.{part}")).unwrap().data()[25]);
    let factor = at("norm.weight") / (at("norm.running_var") + 1e-5).sqrt();
    let bias = at("norm.bias") - at("norm.running_mean") * factor;
    assert!((f64::from(conv.bias[25]) - bias).abs() < 1e-6);
    let Op::Linear(linear) = &node("base.14.3").op else { panic!("no linear layer") };
    assert_eq!(*linear.weight, *state.get("base.14.3.weight").unwrap().data());
    assert_eq!(graph.node(graph.output()).unwrap().name, "base.14.3");
    assert_eq!(graph.shapes(33, 47).unwrap().last().unwrap().channels, 7);
}

#[test]
fn a_graph_out_of_a_state_dict_is_the_same_as_one_beside_it() {
    let architecture = find("hardnet39ds").unwrap();
    let state = seeded(architecture, 7).unwrap();
    let beside = build(architecture, 7, &state).unwrap();
    let out_of = build_out_of(architecture, 7, state.clone()).unwrap();
    for (beside, out_of) in beside.nodes().iter().zip(out_of.nodes()) {
        assert_eq!((&beside.name, format!("{:?}", beside.op)), (&out_of.name, format!("{:?}", out_of.op)));
    }
    let wrong = changed(&state, |key, array| (key != "base.0.norm.weight").then(|| array.clone()));
    let text = |result: Result<Graph, Error>| result.unwrap_err().to_string();
    assert_eq!(text(build(architecture, 7, &wrong)), text(build_out_of(architecture, 7, wrong)));
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let architecture = find("hardnet39ds").unwrap();
    let state = changed(&seeded(architecture, 10).unwrap(), |key, array| match key {
        "base.0.norm.weight" | "base.3.layers.0.layer2.dwconv.weight" | "base.1.norm.num_batches_tracked" => None,
        "base.0.norm.bias" => Some(Array::new(vec![1], vec![0.0]).unwrap()),
        "base.4.norm.running_var" => {
            let mut values = array.data().to_vec();
            values[3] = -1.0;
            Some(Array::new(array.shape().to_vec(), values).unwrap())
        }
        _ => Some(array.clone()),
    });
    let mut state = state;
    state.insert("head.weight", Array::new(vec![2], vec![0.0; 2]).unwrap()).unwrap();
    // Built for another number of classes than the weights: the linear layer does not fit either.
    let error = build(architecture, 11, &state).unwrap_err();
    assert_eq!(error.exit(), Exit::Data);
    let Error::Weights { problems, .. } = &error else { panic!("{error}") };
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "`base.0.norm.weight` is missing",
            "`base.0.norm.bias` has shape [1], expected [24]",
            "`base.3.layers.0.layer2.dwconv.weight` is missing",
            "the weights of `base.4` are not finite",
            "`base.14.3.weight` has shape [10, 1024], expected [11, 1024]",
            "`base.14.3.bias` has shape [10], expected [11]",
            "`head.weight` with shape [2] is not expected",
        ]
    );
    assert!(error.to_string().starts_with("the weights do not fit hardnet39ds: `base.0.norm.weight` is missing; "));
}

#[test]
fn a_state_dict_without_entries_misses_all_and_the_message_names_the_first_and_counts_the_others() {
    for architecture in &ARCHITECTURES {
        let error = build(architecture, 10, &StateDict::new()).unwrap_err();
        let Error::Weights { problems, .. } = &error else { panic!("{error}") };
        let needed =
            layout::entries(architecture, 10).iter().filter(|entry| entry.kind != EntryRole::BatchCount).count();
        assert_eq!(problems.len(), needed);
        let text = error.to_string();
        assert_eq!(text.matches("is missing").count(), PROBLEMS_SHOWN);
        assert!(text.ends_with(&format!("; and {} more", needed - PROBLEMS_SHOWN)), "{text}");
    }
}

#[test]
fn what_a_profiler_leaves_behind_does_no_harm() {
    let architecture = find("hardnet39ds").unwrap();
    let mut state = seeded(architecture, 3).unwrap();
    state.insert("base.0.total_ops", Array::new(vec![1], vec![f32::NAN]).unwrap()).unwrap();
    assert!(build(architecture, 3, &state).is_ok());
}

#[test]
fn a_new_head_has_the_classes_asked_for_and_leaves_the_rest() {
    let architecture = find("hardnet39ds").unwrap();
    let mut state = seeded(architecture, 3).unwrap();
    state.replace("base.0.norm.bias", Array::new(vec![24], vec![0.5; 24]).unwrap());
    with_new_head(architecture, 7, &mut state).unwrap();
    assert!(build(architecture, 7, &state).is_ok());
    assert_eq!(state.get("base.0.norm.bias").unwrap().data(), [0.5; 24]);
    assert_eq!(state.get("base.14.3.weight"), seeded(architecture, 7).unwrap().get("base.14.3.weight"));
}

#[test]
fn no_number_of_classes_panics() {
    let architecture = find("hardnet39ds").unwrap();
    assert!(matches!(seeded(architecture, usize::MAX), Err(Error::Seeded { .. })));
    assert!(matches!(build(architecture, usize::MAX, &StateDict::new()), Err(Error::Weights { .. })));
    let none = seeded(architecture, 0).unwrap();
    assert!(matches!(build(architecture, 0, &none), Err(Error::Graph { .. })));
}
