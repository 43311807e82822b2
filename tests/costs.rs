//! Files whose decoding or computing would take memory or time out of all proportion to their size: each is read, or
//! rejected, at a measured cost.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::onnx::{info, int, integers, ints, model, node, tensor};
use hardnetd::engine::graph::Graph;
use hardnetd::engine::{cost, import, onnx, plan};
use hardnetd::model::Metadata;
use hardnetd::protobuf::{DataType, GraphProto, NodeProto, StringStringEntryProto, TensorProto};
use hardnetd::weights;
use rustix::time::{ClockId, clock_gettime};

const MB: usize = 1 << 20;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    /// Bytes allocated now, and their peak.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// Bytes and allocations so far.
    static ALL: Cell<usize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn taken(bytes: usize) {
    let live = LIVE.get().wrapping_add(bytes);
    LIVE.set(live);
    // Memory allocated by another thread may be freed by this one.
    if live < usize::MAX / 2 {
        PEAK.set(PEAK.get().max(live));
    }
    ALL.set(ALL.get() + bytes);
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What something costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// The most bytes at one time.
    peak: usize,
    /// Bytes of all allocations.
    all: usize,
    /// Number of allocations.
    count: usize,
    /// CPU time of the thread in milliseconds.
    milliseconds: i64,
}

fn cost_of<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let time = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    let (live, all, count, start) = (LIVE.get(), ALL.get(), COUNT.get(), time());
    PEAK.set(live);
    let value = work();
    let peak = PEAK.get().saturating_sub(live);
    (value, Cost { peak, all: ALL.get() - all, count: COUNT.get() - count, milliseconds: time() - start })
}

/// A file with an image of 8 × 8 pixels and the output `out`.
fn file(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> Vec<u8> {
    onnx::bytes(&model(GraphProto {
        node: nodes,
        initializer: [tensors, vec![tensor("w", &[4, 3, 1, 1])]].concat(),
        input: vec![info("image", &[1, 3, 8, 8], DataType::Float)],
        output: vec![info("out", &[], DataType::Float)],
        ..Default::default()
    }))
}

/// A node named after its output.
fn made(operator: &str, output: &str, inputs: &[&str]) -> NodeProto {
    node(operator, output, inputs)
}

fn concat(output: &str, inputs: &[&str]) -> NodeProto {
    NodeProto { attribute: vec![int("axis", 1)], ..made("Concat", output, inputs) }
}

/// A convolution to 4 channels, and concatenations of it up to `4 << count` channels: the last is `c{count}`.
fn doubled(count: usize) -> Vec<NodeProto> {
    let mut nodes = vec![made("Conv", "c0", &["image", "w"])];
    for index in 0..count {
        let before = format!("c{index}");
        nodes.push(concat(&format!("c{}", index + 1), &[&before, &before]));
    }
    nodes
}

/// `count` nodes in sequence; the first reads `first` and the last makes `out`.
fn chain(count: usize, first: &str, node: impl Fn(&str, &str) -> NodeProto) -> Vec<NodeProto> {
    let name = |index: usize| if index == count { "out".to_owned() } else { format!("{first}_{index}") };
    let before = |index: usize| if index == 0 { first.to_owned() } else { name(index) };
    (0..count).map(|index| node(&name(index + 1), &before(index))).collect()
}

/// `count` nodes with the given outputs, and their sum `out`.
fn summed(count: usize, node: impl Fn(&str) -> NodeProto) -> Vec<NodeProto> {
    let mut nodes: Vec<NodeProto> = (0..count).map(|index| node(&format!("d{index}"))).collect();
    let name = |index: usize| if index == count { "out".to_owned() } else { format!("s{index}") };
    for index in 1..count {
        let before = if index == 1 { "d0".to_owned() } else { name(index) };
        nodes.push(made("Add", &name(index + 1), &[&before, &format!("d{index}")]));
    }
    nodes
}

/// Reads the network, and prepares it for running.
fn read(bytes: &[u8]) -> Result<Graph, String> {
    let graph = import::read(bytes).map_err(|error| error.to_string())?.graph;
    plan::check(&graph, 8, 8).map_err(|error| error.to_string())?;
    cost::cost(&graph, 8, 8).map_err(|error| error.to_string())?;
    Ok(graph)
}

/// Asserts that the file is rejected with a message that contains `part`, with a peak of at most `peak` bytes.
fn refused(bytes: &[u8], peak: usize, part: &str) -> Cost {
    let (outcome, cost) = cost_of(|| read(bytes).map(drop));
    assert!(cost.peak < peak, "{cost:?} for {} bytes: {outcome:?}", bytes.len());
    let message = outcome.expect_err("the file is refused");
    assert!(message.contains(part), "{message}");
    cost
}

#[test]
fn nested_concatenations_are_not_listed_flat_without_bound() {
    let mut nodes = doubled(17);
    nodes.extend(summed(250, |output| concat(output, &["c17", "c0"])));
    let bytes = file(nodes, vec![]);
    assert!(bytes.len() < 20_000, "{}", bytes.len());
    refused(&bytes, 100 * MB, "the nodes up to it read more than 1048576 maps");

    // Many readers of one map.
    let mut nodes = doubled(14);
    nodes.extend(summed(100, |output| made("Relu", output, &["c14"])));
    refused(&file(nodes, vec![]), 100 * MB, "the nodes up to it read more than 1048576 maps");

    // A DenseNet has hundreds of parts, and its layers read all of them.
    let mut nodes = vec![made("Conv", "c0", &["image", "w"])];
    for index in 0..100 {
        let before = format!("c{index}");
        nodes.push(made("Relu", &format!("r{index}"), &["c0"]));
        nodes.push(concat(&format!("c{}", index + 1), &[&before, &format!("r{index}")]));
    }
    nodes.truncate(40);
    nodes.push(made("GlobalAveragePool", "out", &[nodes.last().unwrap().output[0].clone().as_str()]));
    read(&file(nodes, vec![])).unwrap();
}

#[test]
fn equal_names_are_told_apart_in_linear_time() {
    let equal = |count: usize| {
        let mut nodes = vec![made("Conv", "image_0", &["image", "w"])];
        nodes.extend(chain(count, "image_0", |output, input| NodeProto {
            name: "same".to_owned(),
            ..made("GlobalAveragePool", output, &[input])
        }));
        let bytes = file(nodes, vec![]);
        let (outcome, cost) = cost_of(|| import::read(&bytes).map(|imported| imported.graph));
        let graph = outcome.unwrap();
        assert_eq!(graph.nodes().len(), count + 2);
        assert!(graph.find("same").is_some() && graph.find(&format!("same_{}", count - 1)).is_some());
        cost
    };
    let (few, many) = (equal(400), equal(4000));
    assert!(many.count < 20 * few.count && many.count < 400_000, "{few:?} and {many:?}");
}

#[test]
fn a_long_name_is_not_copied_for_every_reader() {
    let long = "n".repeat(100_000);
    let mut nodes = vec![NodeProto { name: long, ..made("Conv", "c0", &["image", "w"]) }];
    nodes.extend(chain(2000, "c0", |output, _| made("Add", output, &["c0", "c0"])));
    nodes.truncate(2001);
    // All of them are needed.
    let parts: Vec<String> = nodes.iter().skip(1).map(|node| node.output[0].clone()).collect();
    nodes.last_mut().unwrap().output = vec!["last".to_owned()];
    let parts: Vec<&str> = parts.iter().map(|part| if part == "out" { "last" } else { part }).collect();
    nodes.push(concat("out", &parts));
    let bytes = file(nodes, vec![]);
    let (outcome, cost) = cost_of(|| {
        let graph = import::read(&bytes).map_err(|error| error.to_string())?.graph;
        onnx::model(&graph, 8, 8).map(|model| onnx::bytes(&model).len()).map_err(|error| error.to_string())
    });
    assert!(cost.peak < 30 * MB, "{cost:?}: {outcome:?}");
    assert!(outcome.unwrap() < 2 * MB);
}

#[test]
fn constants_that_are_read_many_times_are_held_once() {
    let inputs = vec!["k"; 50_000];
    let list = integers("k", &[1; 1024]);
    let joined = NodeProto { attribute: vec![int("axis", 0)], ..made("Concat", "out", &inputs) };
    refused(&file(vec![joined], vec![list]), 50 * MB, "this operator is not supported for these constants");
    let joined = made("Concat", "out", &["k"; 2000]);
    refused(&file(vec![joined], vec![tensor("k", &[25_000])]), 20 * MB, "this operator is not supported");
    // Nor are they decoded again for each node.
    let mut nodes = vec![made("Conv", "c0", &["image", "w"])];
    nodes.extend(chain(2000, "c0", |output, input| made("CastLike", output, &[input, "k"])));
    let bytes = file(nodes, vec![tensor("k", &[250_000])]);
    let (outcome, cost) = cost_of(|| read(&bytes));
    assert!(outcome.is_ok() && cost.all < 100 * MB, "{cost:?}");
}

#[test]
fn constants_that_are_computed_are_counted() {
    let list = || integers("k", &[1; 1024]);
    let chained = |count: usize, operator: &'static str| {
        let node = move |output: &str, input: &str| NodeProto {
            attribute: if operator == "Unsqueeze" { vec![ints("axes", &[0; 1024])] } else { vec![] },
            ..made(operator, output, &[input])
        };
        chain(count, "k", node)
    };
    refused(&file(chained(40_000, "Identity"), vec![list()]), 150 * MB, "out of proportion to the size of the file");
    let one = integers("k", &[1]);
    refused(&file(chained(300, "Unsqueeze"), vec![one]), 100 * MB, "not supported for these constants");
}

#[test]
fn arrays_without_values_are_not_walked_over() {
    let none = || TensorProto { dims: vec![1 << 40, 0], int64_data: vec![], ..integers("k", &[]) };
    let zero = integers("zero", &[0]);
    let end = integers("end", &[i64::MAX]);
    let sliced = made("Slice", "out", &["k", "zero", "end"]);
    refused(&file(vec![sliced], vec![none(), zero, end]), MB, "");
    let turned = TensorProto { dims: vec![0, 1 << 40], ..none() };
    refused(&file(vec![made("Transpose", "out", &["k"])], vec![turned]), MB, "");
}

#[test]
fn weights_are_computed_anew_as_often_as_the_size_of_the_file_explains() {
    // Every factor would be multiplied into all weights before it.
    let factor = || TensorProto { dims: vec![], ..tensor("f", &[1]) };
    let weights = || vec![factor(), tensor("v", &[1024, 4, 16, 16])];
    let large = NodeProto { attribute: vec![ints("pads", &[8; 4])], ..made("Conv", "v0", &["c0", "v"]) };
    let mut nodes = vec![made("Conv", "c0", &["image", "w"]), large.clone()];
    nodes.extend(chain(3000, "v0", |output, input| made("Mul", output, &[input, "f"])));
    let cost = refused(&file(nodes, weights()), 100 * MB, "takes too many steps for the size of the file");
    assert!(cost.all < 1000 * MB, "{cost:?}");
    // A network has some.
    let mut nodes = vec![made("Conv", "c0", &["image", "w"]), large];
    nodes.extend(chain(10, "v0", |output, input| made("Mul", output, &[input, "f"])));
    read(&file(nodes, weights())).unwrap();

    // The weights of an operator without weights in the file, for each of its channels.
    let mut nodes = doubled(15);
    nodes.push(made("GlobalAveragePool", "c", &["c15"]));
    for index in 0..3 {
        let before = if index == 0 { "c".to_owned() } else { format!("d{index}") };
        nodes.push(concat(&format!("d{}", index + 1), &[&before, &before]));
    }
    nodes.push(made("Relu", "r", &["d3"]));
    nodes.extend(chain(300, "r", |output, input| made("Mul", output, &[input, "f"])));
    let cost = refused(&file(nodes, vec![factor()]), 150 * MB, "takes too many steps for the size of the file");
    assert!(cost.all < 2000 * MB, "{cost:?}");
}

#[test]
fn networks_of_any_number_of_layers_are_not_prepared() {
    let mut nodes = vec![made("Conv", "c0", &["image", "w"])];
    nodes.extend(chain(20_000, "c0", |output, input| made("GlobalAveragePool", output, &[input])));
    refused(&file(nodes, vec![]), 100 * MB, "the network has more than 16384 layers");
    let mut nodes = vec![made("Conv", "c0", &["image", "w"])];
    nodes.extend(chain(70_000, "c0", |output, input| made("Identity", output, &[input])));
    refused(&file(nodes, vec![]), 150 * MB, "the graph has 70001 nodes, but at most 65536 are read");
}

/// A field of protobuf with a length.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    [bytes.as_slice(), content].concat()
}

#[test]
fn messages_that_are_larger_decoded_are_refused_before() {
    let many = |number: u32, count: usize| field(number, &[]).repeat(count);
    // Nodes, attributes of a node, inputs of a node, dimensions of a tensor, sets of operators.
    for graph in [
        field(7, &many(1, 2 << 20)),
        field(7, &field(1, &many(5, 1 << 20))),
        field(7, &field(1, &many(1, 4 << 20))),
        field(7, &field(5, &field(1, &[1]).repeat(8 << 20))),
        many(8, 2 << 20),
    ] {
        refused(&graph, 2 * MB, "bytes, out of proportion to its length");
    }
    // The tensors that are read as weights.
    let mut entries = tensor("a", &[1]);
    entries.external_data = vec![StringStringEntryProto::default(); 2 << 20];
    let bytes = onnx::bytes(&model(GraphProto { initializer: vec![entries], ..Default::default() }));
    let (outcome, cost) = cost_of(|| weights::read_bytes(&bytes).map(drop));
    assert!(outcome.is_err() && cost.peak < 2 * bytes.len() + MB, "{cost:?}: {outcome:?}");
}

#[test]
fn the_metadata_of_a_model_is_as_long_as_metadata_can_be() {
    let text = format!("[{}0]", "0,".repeat(5 << 20));
    let (outcome, cost) = cost_of(|| Metadata::parse(&text).map(drop));
    assert!(outcome.is_err() && cost.peak < MB, "{cost:?}: {outcome:?}");
}

#[test]
fn axes_of_one_element_are_not_walked_over_for_every_value() {
    let shape = format!("[65536{}]", ",1".repeat(100_000));
    let header = format!(r#"{{"a.weight":{{"dtype":"U8","shape":{shape},"data_offsets":[0,65536]}}}}"#);
    let bytes = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &[1; 65536]].concat();
    let (outcome, cost) = cost_of(|| weights::read_bytes(&bytes).map(drop));
    assert!(outcome.is_ok() && cost.milliseconds < 3000, "{cost:?}: {outcome:?}");
}

#[test]
fn a_zip_archive_says_no_number_of_entries_that_it_has_no_room_for() {
    // As many entries as would fit into the bytes after the beginning of the directory.
    let (length, start) = (40 * MB as u64, MB as u64);
    let count = (length - start) / 46;
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.resize(40 * MB, 0);
    bytes[MB..][..4].copy_from_slice(b"PK\x01\x02");
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([0; 12]);
    for number in [count, count, u64::MAX >> 1, start] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(length.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([0xff; 12]);
    bytes.extend([0; 2]);
    let (outcome, cost) = cost_of(|| weights::read_bytes(&bytes).map(drop));
    assert!(outcome.is_err() && cost.peak < 20 * MB, "{cost:?}: {outcome:?}");
}
