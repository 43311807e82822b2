//! The network while it is read: values by name, and items, which become the nodes of the graph.

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

/// How many values a network may hold, whatever the size of its file.
const FLOOR: u64 = 1 << 24;

/// How many values may be computed for each byte of the file. A batch norm computes those of the convolution before it
/// anew, and so may several operators behind it.
const WORK: u64 = 16;

/// How many values may be computed, whatever the size of the file.
const WORK_FLOOR: u64 = 1 << 26;

/// How many items a network may have: nodes of the graph. What prepares it to run takes time that grows with their
/// square.
const MAX_ITEMS: usize = 1 << 14;

/// How many maps all nodes together may read, those that are joined counted one by one: what runs the network lists
/// them for every node.
const MAX_PARTS: usize = 1 << 20;

/// How many channels a value may have.
const MAX_CHANNELS: usize = 1 << 20;

/// Something that becomes a node of the graph.
#[derive(Debug)]
pub(super) struct Item {
    /// Name of the node of the file that it comes from.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The items that it reads; all come before it.
    pub inputs: Vec<usize>,
    /// Channels of its value.
    pub channels: usize,
    /// Height and width of its value, if they are known.
    pub size: Option<[usize; 2]>,
    /// Whether its value is a vector in the graph.
    pub flat: bool,
    /// How many maps its value is made of: 1, but for a concatenation, which is those of all that it joins.
    pub parts: usize,
    /// How many inputs of nodes, and outputs of the file, read its value. Something can be merged into an
    /// item that only it reads.
    pub readers: usize,
}

/// The value of an item as the file has it: a map has the rank 4 and can become a row of values, of the
/// rank 2, without another item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Handle {
    /// The item.
    pub item: usize,
    /// Number of axes; the first is the batch, the second the channels.
    pub rank: usize,
    /// Height and width of the map, if they are known.
    pub size: Option<[usize; 2]>,
}

/// What a name of the file stands for.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// The value of an item, with zeros around the map.
    Item(Handle, Padding),
    Floats(Rc<Floats>),
    Integers(Rc<Integers>),
}

impl Value {
    /// What it takes of the memory for values, in floats.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Item(..) => 0,
            Self::Floats(floats) => (floats.values.len() + floats.dims.len()) as u64,
            Self::Integers(integers) => integers.weight(),
        }
    }
}

/// The network as far as it has been read.
pub(super) struct Network<'a> {
    /// Version of the operators.
    pub operator_set: i64,
    /// In an order in which they can run.
    pub items: Vec<Item>,
    values: HashMap<&'a str, Value>,
    tensors: HashMap<&'a str, &'a TensorProto>,
    /// The tensors that are read several times, as values that all readers share.
    shared: RefCell<HashMap<&'a str, Value>>,
    /// How often each name is read.
    uses: HashMap<&'a str, usize>,
    /// Names of the floats that were counted as parameters.
    counted: HashSet<&'a str>,
    /// How many there are.
    pub parameters: u64,
    /// How many values items, and constants that are computed, may still hold. It keeps a small file from filling the
    /// memory with weights that it uses many times over.
    left: u64,
    /// How many values may still be computed. It keeps a file from taking time that grows with the square of its size.
    work_left: u64,
    /// How many maps may still be read.
    parts_left: usize,
}

impl<'a> Network<'a> {
    /// The network of `file` with nothing but its input. `live` are the nodes that the output needs.
    pub(super) fn new(file: &'a File, live: &[Operator<'a>]) -> Self {
        let mut uses = HashMap::new();
        let inputs = live.iter().flat_map(|operator| operator.read());
        for name in inputs.chain(file.graph().output.iter().map(|output| &output.name)) {
            *uses.entry(name.as_str()).or_default() += 1;
        }
        let tensors = file.graph().initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut network = Self {
            operator_set: file.operator_set(),
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

    /// Gives `value` its name.
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

    /// Whether something reads the value called `name`.
    pub(super) fn is_read(&self, name: &str) -> bool {
        self.uses.contains_key(name)
    }

    /// The value of input `index`, which has to be there.
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

    /// The value of an item as input `index`, without padding.
    pub(super) fn handle(&self, operator: Operator<'a>, index: usize) -> Result<Handle, Error> {
        match self.value(operator, index)? {
            Value::Item(handle, Padding { top: 0, left: 0, bottom: 0, right: 0 }) => Ok(handle),
            Value::Item(..) => {
                Err(operator.fail("it reads a padded map; only convolutions and pools are supported behind a padding"))
            }
            _ => Err(operator.fail(format!("its input {index} is a constant, which is not supported"))),
        }
    }

    /// A map as input `index`, without padding.
    pub(super) fn map(&self, operator: Operator<'a>, index: usize) -> Result<Handle, Error> {
        let handle = self.handle(operator, index)?;
        if handle.rank == 4 { Ok(handle) } else { Err(operator.fail("it reads something else than a map")) }
    }

    /// A map as input `index`, and the padding around it.
    pub(super) fn padded(&self, operator: Operator<'a>, index: usize) -> Result<(Handle, Padding), Error> {
        match self.value(operator, index)? {
            Value::Item(handle, padding) if handle.rank == 4 => Ok((handle, padding)),
            _ => Err(operator.fail("it reads something else than a map")),
        }
    }

    /// Weights as input `index`.
    pub(super) fn weights(&mut self, operator: Operator<'a>, index: usize) -> Result<Rc<Floats>, Error> {
        match self.value(operator, index)? {
            Value::Floats(floats) => {
                self.count(operator, index, &floats);
                Ok(floats)
            }
            _ => Err(operator.fail(format!("its input {index} is no constant of floats, which is not supported"))),
        }
    }

    /// Counts floats as parameters, once for each name.
    pub(super) fn count(&mut self, operator: Operator<'a>, index: usize, floats: &Floats) {
        if operator.input(index).is_some_and(|name| self.counted.insert(name)) {
            self.parameters = self.parameters.saturating_add(floats.values.len() as u64);
        }
    }

    /// The integers of attribute `name`, or of input `index` in later operator sets.
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
            _ => Err(operator.fail(format!("its input {index} is no constant of integers, which is not supported"))),
        }
    }

    /// A single float as input `index`, if it is there.
    pub(super) fn scalar(&self, operator: Operator<'a>, index: usize) -> Result<Option<f32>, Error> {
        if operator.input(index).is_none() {
            return Ok(None);
        }
        match self.value(operator, index)? {
            Value::Floats(floats) if floats.values.len() == 1 => Ok(floats.values.first().copied()),
            _ => Err(operator.fail(format!("its input {index} is no constant number, which is not supported"))),
        }
    }

    /// Makes sure that there may be as many more values.
    pub(super) fn hold(&mut self, operator: Operator<'_>, values: u64) -> Result<(), Error> {
        let left = self.left.checked_sub(values);
        self.left = left.ok_or_else(|| operator.fail("its weights are more than the size of the file explains"))?;
        Ok(())
    }

    /// Makes sure that as many more values may be computed.
    pub(super) fn work(&mut self, operator: Operator<'_>, values: u64) -> Result<(), Error> {
        let left = self.work_left.checked_sub(values);
        let fail = || operator.fail("computing its weights takes more steps than the size of the file explains");
        self.work_left = left.ok_or_else(fail)?;
        Ok(())
    }

    /// Adds an item that reads `inputs` and returns its value, with the rank of the first input.
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
