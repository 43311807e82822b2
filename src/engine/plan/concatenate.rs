//! Concatenations without copies: the concatenated maps lie next to each other in the pixels of one map.
//!
//! Passes write whole units of channels. If the channels of a part are not whole units, the excess is written into the
//! next part, which is overwritten later.

use super::super::graph::{Graph, Op};
use super::layers::{Buffer, Layers, Part, Work};
use crate::kernels::UNIT;
use crate::kernels::pass::Map;

/// Makes the maps of each concatenation parts of a single map. If two concatenations share a map, the later one gets
/// it.
pub(super) fn concatenate(layers: &mut Layers, graph: &Graph, concatenations: &[Vec<usize>]) {
    let mut writers = vec![None; layers.buffers.len()];
    for (index, layer) in layers.layers.iter().enumerate() {
        writers[layer.output] = Some(index);
    }
    for maps in concatenations.iter().rev() {
        let order: Option<Vec<usize>> = maps.iter().map(|map| writers[*map]).collect();
        let Some(order) = order.filter(|order| order.len() > 1 && order.is_sorted_by(|a, b| a < b)) else { continue };
        let is_free = |map: &usize| layers.buffers[*map].part.is_none();
        if !maps.iter().all(is_free) || !order.iter().all(|writer| fits(layers, graph, *writer, maps)) {
            continue;
        }
        let (mut channel, mut stride) = (0, 0);
        let of = layers.buffers.len();
        for map in maps {
            let Buffer { shape, part, .. } = &mut layers.buffers[*map];
            *part = Some(Part { of, channel });
            stride = stride.max(channel + shape.channels.next_multiple_of(UNIT));
            channel += shape.channels;
        }
        let stride = stride.next_multiple_of(UNIT);
        for map in maps {
            layers.buffers[*map].stride = stride;
        }
        let Some(&first) = maps.first() else { continue };
        let mut whole = Buffer { part: None, ..layers.buffers[first] };
        whole.shape.channels = channel;
        layers.buffers.push(whole);
    }
}

/// Whether layer `writer` can write next to those of `maps` that it reads: it must read channels rather than whole
/// units.
fn fits(layers: &Layers, graph: &Graph, writer: usize, maps: &[usize]) -> bool {
    let layer = &layers.layers[writer];
    let reads_channels = match layer.work {
        Work::Winograd(_) | Work::Fused { .. } => true,
        Work::Node => matches!(&graph.nodes()[layer.node].op, Op::Conv(conv) if conv.groups == 1),
        Work::Activation(_) | Work::Copy | Work::Transform(_) | Work::Strips(_) => false,
    };
    reads_channels || !layer.inputs.iter().any(|input| maps.contains(input))
}

/// The maps with these `numbers`; neighbours in one map are merged.
pub(super) fn joined(buffers: &[Buffer], numbers: &[usize], maps: &[Map]) -> Vec<Map> {
    let mut joined: Vec<Map> = Vec::with_capacity(numbers.len());
    let mut before: Option<Part> = None;
    for &number in numbers {
        let (part, map) = (buffers[number].part, maps[number]);
        match (joined.last_mut(), before, part) {
            (Some(last), Some(before), Some(part)) if part == before => last.channels += map.channels,
            _ => joined.push(map),
        }
        // The part that would come next.
        before = part.map(|part| Part { channel: part.channel + map.channels, ..part });
    }
    joined
}
