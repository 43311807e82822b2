#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

fn conv(in_channels: usize, out_channels: usize, window: Window, groups: usize) -> Conv {
    let weights = in_channels / groups * out_channels * window.kernel[0] * window.kernel[1];
    Conv {
        in_channels,
        out_channels,
        window,
        groups,
        weight: vec![0.0; weights].into(),
        bias: vec![0.0; out_channels].into(),
        activation: Activation::Relu6,
    }
}

fn linear(in_channels: usize, out_channels: usize) -> Linear {
    Linear {
        in_channels,
        out_channels,
        weight: vec![0.0; in_channels * out_channels].into(),
        bias: vec![0.0; out_channels].into(),
    }
}

/// One of each operator; fits any size of at least 3 × 3.
fn everything() -> Graph {
    let mut graph = Builder::new();
    let input = graph.input("input", 3).unwrap();
    let stem = graph.conv("stem", input, conv(3, 8, Window::square(3, 2, 1), 1)).unwrap();
    let depthwise = graph.conv("depthwise", stem, conv(8, 8, Window::square(3, 1, 1), 8)).unwrap();
    let sum = graph.add("sum", stem, depthwise).unwrap();
    let both = graph.concat("both", &[sum, stem]).unwrap();
    let pooled = graph.max_pool("max", both, Window::square(3, 2, 1)).unwrap();
    let pooled = graph.avg_pool("average", pooled, Window::square(1, 1, 0), false).unwrap();
    let norm = Affine { scale: vec![0.5; 16].into(), shift: vec![0.1; 16].into(), activation: Activation::Relu };
    let pooled = graph.affine("norm", pooled, norm).unwrap();
    let pooled = graph.activation("swish", pooled, Activation::HardSwish).unwrap();
    let mean = graph.global_average("mean", pooled).unwrap();
    let scores = graph.linear("linear", mean, linear(16, 10)).unwrap();
    let output = graph.softmax("softmax", scores).unwrap();
    graph.finish(output).unwrap()
}

#[test]
fn shapes_follow_the_input_and_round_down() {
    let graph = everything();
    for (height, width, half, quarter) in [(224, 224, [112, 112], [56, 56]), (33, 47, [17, 24], [9, 12])] {
        let shapes = graph.shapes(height, width).unwrap();
        let size = |name| {
            let shape = shapes[graph.find(name).unwrap().index()];
            ([shape.height, shape.width], shape.channels)
        };
        assert_eq!(size("input"), ([height, width], 3));
        assert_eq!(size("stem"), (half, 8));
        assert_eq!(size("depthwise"), (half, 8));
        assert_eq!(size("both"), (half, 16));
        assert_eq!(size("average"), (quarter, 16));
        assert_eq!(size("swish"), (quarter, 16));
        assert_eq!(size("mean"), ([1, 1], 16));
        assert_eq!(size("softmax"), ([1, 1], 10));
    }
}

#[test]
fn macs_count_convolutions_and_linear_layers() {
    let pixels = 17 * 24;
    assert_eq!(everything().macs(33, 47), Ok(pixels * (8 * 3 * 9) + pixels * 8 * 9 + 160));
}

#[test]
fn only_one_filter_per_channel_is_depthwise() {
    let window = Window::square(3, 1, 1);
    assert!(conv(8, 8, window, 8).is_depthwise());
    assert!(!conv(8, 8, window, 4).is_depthwise());
    assert!(!conv(8, 16, window, 8).is_depthwise());
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let graph = everything();
    assert!(graph.shapes(1, 1).is_ok());
    assert_eq!(graph.shapes(0, 32), Err(Error::Size { name: "input".to_owned(), height: 0, width: 32 }));
    assert!(matches!(graph.shapes(usize::MAX, 32), Err(Error::Size { .. })));
    assert_eq!(everything().macs(usize::MAX / 2, usize::MAX / 2), Ok(u64::MAX));

    let mut graph = Builder::new();
    let input = graph.input("input", 1).unwrap();
    let large = graph.max_pool("large", input, Window::square(5, 1, 0)).unwrap();
    let scores = graph.linear("linear", large, linear(1, 2)).unwrap();
    let graph = graph.finish(scores).unwrap();
    let failed = |height, width| match graph.shapes(height, width) {
        Err(Error::Size { name, .. }) => name,
        _ => String::new(),
    };
    assert_eq!(failed(5, 5), "");
    assert_eq!(failed(4, 5), "large");
    assert_eq!(failed(5, 6), "linear");

    let mut graph = Builder::new();
    let input = graph.input("input", 1).unwrap();
    let smaller = graph.max_pool("smaller", input, Window::square(2, 2, 0)).unwrap();
    let joined = graph.concat("joined", &[input, smaller]).unwrap();
    let graph = graph.finish(joined).unwrap();
    assert!(matches!(graph.shapes(8, 8), Err(Error::Size { name, .. }) if name == "joined"));
}

#[test]
fn wrong_channel_counts_are_errors() {
    let mut graph = Builder::new();
    let input = graph.input("input", 3).unwrap();
    let wide = graph.conv("wide", input, conv(3, 8, Window::square(1, 1, 0), 1)).unwrap();
    let channels = |name: &str, expected, found| Error::Channels { name: name.to_owned(), expected, found };
    let window = Window::square(1, 1, 0);
    assert_eq!(graph.conv("a", wide, conv(3, 8, window, 1)), Err(channels("a", 3, 8)));
    assert_eq!(graph.add("a", wide, input), Err(channels("a", 8, 3)));
    assert_eq!(graph.linear("a", wide, linear(9, 2)), Err(channels("a", 9, 8)));
    assert_eq!(graph.channels(wide), Some(8));
}

#[test]
fn wrong_numbers_of_values_are_errors() {
    let mut graph = Builder::new();
    let input = graph.input("input", 4).unwrap();
    let mut short = conv(4, 4, Window::square(3, 1, 1), 2);
    short.weight = vec![0.0; 71].into();
    let error = graph.conv("a", input, short).unwrap_err();
    assert_eq!(error, Error::Length { name: "a".to_owned(), part: "weight", expected: 72, found: 71 });
    let mut short = linear(4, 2);
    short.bias = vec![].into();
    assert!(matches!(graph.linear("a", input, short), Err(Error::Length { part: "bias", .. })));
    for (scale, shift, part) in [(3, 4, "scale"), (4, 5, "shift")] {
        let [scale, shift] = [scale, shift].map(|count| vec![0.0; count].into());
        let error = graph.affine("a", input, Affine { scale, shift, activation: Activation::None }).unwrap_err();
        assert!(matches!(error, Error::Length { part: found, .. } if found == part));
    }
    let mut vast = conv(4, 4, Window::square(1, 1, 0), 1);
    vast.window.kernel = [usize::MAX, usize::MAX];
    assert!(matches!(graph.conv("a", input, vast), Err(Error::Length { part: "weight", .. })));
}

#[test]
fn numbers_that_an_operator_forbids_are_errors() {
    let mut graph = Builder::new();
    let input = graph.input("input", 4).unwrap();
    let mut no_groups = conv(4, 4, Window::square(1, 1, 0), 1);
    no_groups.groups = 0;
    let mut uneven = conv(4, 4, Window::square(1, 1, 0), 1);
    uneven.groups = 3;
    for wrong in [no_groups, uneven] {
        assert!(matches!(graph.conv("a", input, wrong), Err(Error::Parameter { .. })));
    }
    for window in [Window::square(0, 1, 0), Window::square(2, 0, 0), Window::square(2, 1, 2)] {
        assert!(matches!(graph.max_pool("a", input, window), Err(Error::Parameter { .. })));
        assert!(matches!(graph.avg_pool("a", input, window, true), Err(Error::Parameter { .. })));
    }
    assert!(matches!(graph.activation("a", input, Activation::None), Err(Error::Parameter { .. })));
    assert!(matches!(graph.concat("a", &[]), Err(Error::Parameter { .. })));
    assert!(matches!(graph.input("a", 0), Err(Error::Parameter { .. })));
}

#[test]
fn a_graph_is_consistent() {
    let mut other = Builder::new();
    let mut far = other.input("input", 3).unwrap();
    for index in 0..9 {
        far = other.softmax(&index.to_string(), far).unwrap();
    }

    let mut graph = Builder::new();
    assert!(matches!(graph.softmax("a", far), Err(Error::UnknownNode { .. })));
    let input = graph.input("input", 3).unwrap();
    assert_eq!(graph.softmax("input", input), Err(Error::Duplicate { name: "input".to_owned() }));
    let vector = graph.linear("vector", input, linear(3, 3)).unwrap();
    assert_eq!(graph.global_average("a", vector), Err(Error::Flat { name: "a".to_owned() }));
    assert_eq!(graph.concat("a", &[input, vector]), Err(Error::Flat { name: "a".to_owned() }));
    assert!(graph.concat("vectors", &[vector, vector]).is_ok());
    assert!(matches!(graph.finish(far), Err(Error::UnknownNode { .. })));

    let mut two = Builder::new();
    two.input("first", 3).unwrap();
    let second = two.input("second", 3).unwrap();
    assert_eq!(two.finish(second).unwrap_err(), Error::Inputs { found: 2 });
}

#[test]
fn the_front_of_a_graph_ends_at_the_node_asked_for() {
    let graph = everything();
    let front = graph.up_to(graph.find("both").unwrap()).unwrap();
    assert_eq!(front.node(front.output()).unwrap().name, "both");
    assert_eq!(front.nodes().len(), 5);
    assert!(matches!(front.up_to(graph.output()), Err(Error::UnknownNode { .. })));
}
