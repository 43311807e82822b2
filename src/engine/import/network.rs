//! The network during the import: values by name, and items, which become the nodes of the graph.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::constant::{Constant, Floats};
use super::file::File;
use super::integers::Integers;
use super::operator::Operator;
use super::{Error, constant};
use crate::engine::op::{Op, Padding};
use crate::protobuf::TensorProto;

/// Values that a network may hold, whatever the size of its file.
const FLOOR: u64 = 1 << 24;

/// Values that may be computed per byte of the file. A batch norm recomputes the weights of the convolution before it,
/// and so may several operators after it.
const WORK: u64 = 16;

/// Values that may be computed, whatever the size of the file.
const WORK_FLOOR: u64 = 1 << 26;

/// Maximum items of a network, that is, nodes of the graph. Preparing a network takes time that grows with the square
/// of their number.
const MAX_ITEMS: usize = 1 << 14;

/// Maximum number of maps that all nodes together may read, with concatenated maps counted one by one: running the
/// network needs a list of them for each node.
const MAX_PARTS: usize = 1 << 20;

/// Maximum channels of a value.
const MAX_CHANNELS: usize = 1 << 20;

/// A future node of the graph.
#[derive(Debug)]
pub(super) struct Item {
    /// Name of the corresponding node in the file.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its inputs, all of which come before it.
    pub inputs: Vec<usize>,
    /// Channels of its value.
    pub channels: usize,
    /// Height and width of its value, if they are known.
    pub size: Option<[usize; 2]>,
    /// Whether its value is a vector in the graph.
    pub flat: bool,
    /// Number of maps in its value: 1, or for a concatenation the sum over its inputs.
    pub parts: usize,
    /// Number of node inputs and file outputs that read its value. An operator can be merged into an item if it is the
    /// only reader.
    pub readers: usize,
}

/// An item's value as the file sees it: a map has rank 4 and can become a row of values, of rank 2, without another
/// item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Handle {
    /// The item.
    pub item: usize,
    /// Number of axes; the first is the batch, the second the channels.
    pub rank: usize,
    /// Height and width of the map, if they are known.
    pub size: Option<[usize; 2]>,
}

/// The meaning of a name in the file.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// The value of an item, with zeros around the map.
    Item(Handle, Padding),
    Floats(Rc<Floats>),
    Integers(Rc<Integers>),
}

impl Value {
    /// Its share of the memory for values, in floats.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Item(..) => 0,
            Self::Floats(floats) => (floats.values.len() + floats.dims.len()) as u64,
            Self::Integers(integers) => integers.weight(),
        }
    }
}

/// The part of the network that has been read.
pub(super) struct Network<'a> {
    /// Version of the operator set.
    pub operator_set: i64,
    /// Pictures in a batch for which the file was written.
    pub batch: usize,
    /// The items, in an order in which they can run.
    pub items: Vec<Item>,
    values: HashMap<&'a str, Value>,
    tensors: HashMap<&'a str, &'a TensorProto>,
    /// Tensors that are read several times, as values shared by all readers.
    shared: RefCell<HashMap<&'a str, Value>>,
    /// How often each name is read.
    uses: HashMap<&'a str, usize>,
    /// Names of the floats that have been counted as parameters.
    counted: HashSet<&'a str>,
    /// Number of parameters.
    pub parameters: u64,
    /// Values that items and computed constants may still hold. Prevents a small file from exhausting the memory by
    /// using the same weights many times.
    left: u64,
    /// Values that may still be computed. Prevents computing time that grows with the square of the file size.
    work_left: u64,
    /// Maps that may still be read.
    parts_left: usize,
}

impl<'a> Network<'a> {
    /// The network of `file` with only its input. `live` are the nodes that the output depends on.
    pub(super) fn new(file: &'a File, live: &[Operator<'a>]) -> Self {
        let mut uses = HashMap::new();
        let inputs = live.iter().flat_map(|operator| operator.read());
        for name in inputs.chain(file.graph().output.iter().map(|output| &output.name)) {
            *uses.entry(name.as_str()).or_default() += 1;
        }
        let tensors = file.graph().initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut network = Self {
            operator_set: file.operator_set(),
            batch: file.batch(),
            items: Vec::new(),
            values: HashMap::new(),
            tensors,
            shared: RefCell::default(),
            uses,
            counted: HashSet::new(),
            parameters: 0,
            left: file.length().max(FLOOR),
            work_left: file.length().saturating_mul(WORK).max(WORK_FLOOR),
            parts_left: MAX_PARTS,
        };
        let (channels, size) = (file.channels(), file.size());
        let op = Op::Input { channels };
        let name = file.input();
        let (name_of_item, flat, parts, readers) = (name.to_owned(), false, 1, 0);
        network.items.push(Item { name: name_of_item, op, inputs: vec![], channels, size, flat, parts, readers });
        network.bind(name, Value::Item(Handle { item: 0, rank: 4, size }, Padding::default()));
        network
    }

    /// Assigns `value` to a name.
    pub(super) fn bind(&mut self, name: &'a str, value: Value) {
        if let Value::Item(handle, _) = &value {
            self.items[handle.item].readers += self.uses.get(name).copied().unwrap_or(0);
        }
        self.values.insert(name, value);
    }

    /// The value of the file's output `name`.
    pub(super) fn output(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned()
    }

    /// Whether any node reads the value called `name`.
    pub(super) fn is_read(&self, name: &str) -> bool {
        self.uses.contains_key(name)
    }

    /// The value of input `index`, which is required.
    pub(super) fn value(&self, operator: Operator<'a>, index: usize) -> Result<Value, Error> {
        let name = operator.input(index).ok_or_else(|| operator.fail(format!("it has no input {index}")))?;
        self.find(operator, name)
    }

    /// The value called `name`.
    pub(super) fn find(&self, operator: Operator<'a>, name: &'a str) -> Result<Value, Error> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.shared.borrow().get(name) {
            return Ok(value.clone());
        }
        let tensor = self.tensors.get(name);
        let tensor = tensor.ok_or_else(|| operator.fail(format!("it reads `{name}`, which is not supported")))?;
        let value = Value::from(constant::read(tensor)?);
        if self.uses.get(name) != Some(&1) {
            self.shared.borrow_mut().insert(name, value.clone());
        }
        Ok(value)
    }

    /// Input `index` as the value of an item, without padding.
    pub(super) fn handle(&self, operator: Operator<'a>, index: usize) -> Result<Handle, Error> {
        match self.value(operator, index)? {
            Value::Item(handle, Padding { top: 0, left: 0, bottom: 0, right: 0 }) => Ok(handle),
            Value::Item(..) => {
                Err(operator.fail("it reads a padded map; only convolutions and pools are supported after a padding"))
            }
            _ => Err(operator.fail(format!("its input {index} is a constant, which is not supported"))),
        }
    }

    /// Input `index` as a map, without padding.
    pub(super) fn map(&self, operator: Operator<'a>, index: usize) -> Result<Handle, Error> {
        let handle = self.handle(operator, index)?;
        if handle.rank == 4 { Ok(handle) } else { Err(operator.fail("its input is not a map")) }
    }

    /// Input `index` as a map, and the padding around it.
    pub(super) fn padded(&self, operator: Operator<'a>, index: usize) -> Result<(Handle, Padding), Error> {
        match self.value(operator, index)? {
            Value::Item(handle, padding) if handle.rank == 4 => Ok((handle, padding)),
            _ => Err(operator.fail("its input is not a map")),
        }
    }

    /// Input `index` as weights.
    pub(super) fn weights(&mut self, operator: Operator<'a>, index: usize) -> Result<Rc<Floats>, Error> {
        match self.value(operator, index)? {
            Value::Floats(floats) => {
                self.count(operator, index, &floats);
                Ok(floats)
            }
            _ => Err(operator.fail(format!("its input {index} is not a constant of floats, which is not supported"))),
        }
    }

    /// Counts floats as parameters, once per name.
    pub(super) fn count(&mut self, operator: Operator<'a>, index: usize, floats: &Floats) {
        if operator.input(index).is_some_and(|name| self.counted.insert(name)) {
            self.parameters = self.parameters.saturating_add(floats.values.len() as u64);
        }
    }

    /// The integers of attribute `name` or, in later operator sets, of input `index`.
    pub(super) fn integers(
        &self,
        operator: Operator<'a>,
        name: &str,
        index: usize,
    ) -> Result<Option<Vec<Option<i64>>>, Error> {
        if let Some(values) = operator.ints(name)? {
            return Ok(Some(values.iter().copied().map(Some).collect()));
        }
        if operator.input(index).is_none() {
            return Ok(None);
        }
        match self.value(operator, index)? {
            Value::Integers(integers) => Ok(Some(integers.values.clone())),
            _ => Err(operator.fail(format!("its input {index} is not a constant of integers, which is not supported"))),
        }
    }

    /// Input `index` as a single float, if present.
    pub(super) fn scalar(&self, operator: Operator<'a>, index: usize) -> Result<Option<f32>, Error> {
        if operator.input(index).is_none() {
            return Ok(None);
        }
        match self.value(operator, index)? {
            Value::Floats(floats) if floats.values.len() == 1 => Ok(floats.values.first().copied()),
            _ => Err(operator.fail(format!("its input {index} is not a constant number, which is not supported"))),
        }
    }

    /// Takes `values` off the number of values that may be held.
    pub(super) fn hold(&mut self, operator: Operator<'_>, values: u64) -> Result<(), Error> {
        let left = self.left.checked_sub(values);
        self.left = left.ok_or_else(|| operator.fail("its weights are out of proportion to the size of the file"))?;
        Ok(())
    }

    /// Takes `values` off the number of values that may be computed.
    pub(super) fn work(&mut self, operator: Operator<'_>, values: u64) -> Result<(), Error> {
        let left = self.work_left.checked_sub(values);
        let fail = || operator.fail("computing its weights takes too many steps for the size of the file");
        self.work_left = left.ok_or_else(fail)?;
        Ok(())
    }

    /// Adds an item that reads `inputs`; returns its value, with the rank of the first input.
    pub(super) fn push(&mut self, operator: Operator<'_>, op: Op, inputs: &[Handle]) -> Result<Handle, Error> {
        let first = inputs.first().copied().ok_or_else(|| operator.fail("it reads nothing"))?;
        let known: Option<Vec<[usize; 2]>> = inputs.iter().map(|input| input.size).collect();
        let mut size = None;
        if let Some(known) = known {
            let fits = op.output_size(known.into_iter());
            size = Some(fits.ok_or_else(|| operator.fail("the sizes of what it reads do not fit it"))?);
        }
        let items = || inputs.iter().map(|input| &self.items[input.item]);
        let (channels, flat) = match &op {
            Op::Conv(conv) => (conv.out_channels, false),
            Op::Linear(linear) => (linear.out_channels, true),
            Op::Concat => {
                let sum = items().map(|item| item.channels).try_fold(0_usize, usize::checked_add);
                (sum.ok_or_else(|| operator.fail("it has too many channels"))?, items().all(|item| item.flat))
            }
            Op::GlobalAverage => {
                size = Some([1, 1]);
                (self.items[first.item].channels, false)
            }
            _ => (self.items[first.item].channels, items().all(|item| item.flat)),
        };
        if channels > MAX_CHANNELS {
            return Err(operator.fail(format!("{channels} channels are more than any network has")));
        }
        if self.items.len() >= MAX_ITEMS {
            return Err(operator.fail(format!("the network has more than {MAX_ITEMS} layers")));
        }
        let read = items().fold(0_usize, |sum, item| sum.saturating_add(item.parts));
        let left = self.parts_left.checked_sub(read);
        self.parts_left = left.ok_or_else(|| {
            operator.fail(format!(
                "the nodes up to it read more than {MAX_PARTS} maps, each part of a concatenation being one"
            ))
        })?;
        let parts = if matches!(op, Op::Concat) { read } else { 1 };
        self.hold(operator, op.values())?;
        let inputs = inputs.iter().map(|input| input.item).collect();
        let name = operator.name().to_owned();
        self.items.push(Item { name, op, inputs, channels, size, flat, parts, readers: 0 });
        Ok(Handle { item: self.items.len() - 1, rank: first.rank, size })
    }
}

impl From<Constant> for Value {
    fn from(constant: Constant) -> Self {
        match constant {
            Constant::Floats(floats) => Self::Floats(Rc::new(floats)),
            Constant::Integers(integers) => integers.into(),
        }
    }
}

impl From<Integers> for Value {
    fn from(integers: Integers) -> Self {
        Self::Integers(Rc::new(integers))
    }
}

impl From<Handle> for Value {
    fn from(handle: Handle) -> Self {
        Self::Item(handle, Padding::default())
    }
}
