//! Places maps in memory: maps that are not needed at the same time share memory.

use super::super::graph::Shape;
use super::Error;
use super::layers::{Buffer, Layers};
use crate::kernels::pass::{Map, Transform};
use crate::kernels::size::{LINE, MAX_VALUES};

/// The maps of all buffers, and the number of values that they take together.
///
/// A map is kept from the layer that writes it to the last one that reads it. Each map is put into the first gap that
/// is large enough.
pub(super) fn place(layers: &Layers) -> Result<(Vec<Map>, usize), Error> {
    place_with(layers, None)
}

/// The same; with a `gap`, maps lie one after another and never share memory, with a gap of that many values after
/// each.
pub(super) fn place_with(layers: &Layers, gap: Option<usize>) -> Result<(Vec<Map>, usize), Error> {
    let count = layers.layers.len();
    // A part of a map lies inside that map.
    let whole = |number: usize| layers.buffers[number].part.map_or(number, |part| part.of);
    let mut last_read = vec![0; layers.buffers.len()];
    for (index, layer) in layers.layers.iter().enumerate() {
        for &input in &layer.inputs {
            last_read[whole(input)] = index;
        }
    }
    last_read[whole(layers.output)] = count;
    let mut maps: Vec<Option<Map>> = vec![None; layers.buffers.len()];
    // Occupied memory, in order: start, end, number of the buffer.
    let mut taken: Vec<(usize, usize, usize)> = Vec::new();
    let mut length = 0;
    let mut put = |number: usize, name: &str, taken: &mut Vec<(usize, usize, usize)>| {
        let too_large = || Error::TooLarge { node: name.to_owned() };
        let map = map(&layers.buffers[number]);
        let size = length_of(&layers.buffers[number], &map).ok_or_else(too_large)?;
        let size = size.checked_next_multiple_of(LINE).ok_or_else(too_large)?.saturating_add(gap.unwrap_or(0));
        let (mut start, mut position) = (0, 0);
        for (index, (begin, end, _)) in taken.iter().enumerate() {
            if begin - start >= size {
                break;
            }
            (start, position) = (*end, index + 1);
        }
        let end = start.checked_add(size).filter(|end| *end <= MAX_VALUES).ok_or_else(too_large)?;
        taken.insert(position, (start, end, number));
        length = length.max(end);
        Ok::<Map, Error>(Map { offset: start, ..map })
    };
    maps[layers.input] = Some(put(layers.input, "input", &mut taken)?);
    for (index, layer) in layers.layers.iter().enumerate() {
        let number = whole(layer.output);
        if maps[number].is_none() {
            maps[number] = Some(put(number, &layer.name, &mut taken)?);
        }
        taken.retain(|(_, _, number)| last_read[*number] > index || gap.is_some());
    }
    let placed = |(number, buffer): (usize, &Buffer)| match (buffer.part, maps[number]) {
        (Some(part), _) => maps[part.of].map(|of| Map { offset: of.offset + part.channel, ..map(buffer) }),
        (None, map) => map,
    };
    let unused = Map::padded(0, 1, 1, 1);
    Ok((layers.buffers.iter().enumerate().map(|buffer| placed(buffer).unwrap_or(unused)).collect(), length))
}

/// The part of `length` values that no map occupies, if maps never share memory.
#[cfg(any(test, fuzzing))]
pub(super) fn gaps(layers: &Layers, maps: &[Map], length: usize) -> Vec<std::ops::Range<usize>> {
    let whole = layers.buffers.iter().zip(maps).filter(|(buffer, _)| buffer.part.is_none());
    let taken = whole.map(|(buffer, map)| (map.offset, map.offset + length_of(buffer, map).unwrap_or(0)));
    let mut taken: Vec<_> = taken.collect();
    taken.sort_unstable();
    let (mut gaps, mut free) = (Vec::new(), 0);
    for (start, end) in taken {
        if start > free {
            gaps.push(free..start);
        }
        free = end.max(free);
    }
    gaps.push(free..length);
    gaps
}

/// Number of values of a buffer; `None` if it overflows.
pub(super) fn length_of(buffer: &Buffer, map: &Map) -> Option<usize> {
    match buffer {
        Buffer { scheme: Some(scheme), .. } => Transform::of(map, *scheme, 0).length(),
        Buffer { part: Some(_), .. } => map.height.checked_mul(map.width)?.checked_mul(map.channels),
        Buffer { part: None, .. } => map.length(),
    }
}

/// The map of a buffer, without a place.
fn map(buffer: &Buffer) -> Map {
    let Buffer { shape: Shape { height, width, channels }, stride, .. } = *buffer;
    Map { offset: 0, height, width, channels, stride }
}
