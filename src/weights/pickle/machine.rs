//! The stack machine that executes a pickle.

use std::io::{Read, Seek};

use super::tree::{Data, Id, Text, Value};
use super::{Error, Global, LONGEST_NAME, MAX_STEPS, MAX_TEXT, MAX_VALUES, Pickle, opcode};
use crate::weights::input::{self, Input};

/// Maximum number of values and marks on the stack.
const MAX_STACK: usize = 1 << 16;
/// Maximum length of a line in a textual opcode.
const MAX_LINE: usize = 256;

/// Runs the pickle that begins at the position of `input`.
pub(super) fn run<R: Read + Seek>(input: &mut Input<R>) -> Result<Pickle, Error> {
    let mut machine = Machine {
        at: input.position(),
        input,
        code: opcode::PROTO,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        text: 0,
    };
    for _ in 0..MAX_STEPS {
        machine.at = machine.input.position();
        machine.code = machine.input.byte().map_err(|source| Error::Next { at: machine.at, source })?;
        if machine.code == opcode::STOP {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
        machine.step()?;
        if machine.stack.len() + machine.marks.len() > MAX_STACK {
            return Err(machine.limit("values on its stack", MAX_STACK));
        }
    }
    Err(machine.limit("opcodes", MAX_STEPS))
}

struct Machine<'i, R> {
    input: &'i mut Input<R>,
    /// The current opcode, and its position.
    code: u8,
    at: u64,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    /// Values by number. Writers number them from 0 or 1, with few gaps.
    memo: Vec<Option<Id>>,
    /// Total bytes of all names.
    text: usize,
}

impl<R: Read + Seek> Machine<'_, R> {
    fn step(&mut self) -> Result<(), Error> {
        match self.code {
            opcode::PROTO => {
                let [protocol] = self.array()?;
                if protocol > 5 {
                    return Err(self.operand("a protocol from 0 to 5"));
                }
            }
            // Frames are a hint for readers that read ahead.
            opcode::FRAME => {
                self.array::<8>()?;
            }

            opcode::NONE => self.push(Value::None)?,
            opcode::NEWTRUE => self.push(Value::Bool(true))?,
            opcode::NEWFALSE => self.push(Value::Bool(false))?,
            opcode::BININT => {
                let bytes = self.array()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))?;
            }
            opcode::BININT1 => {
                let [byte] = self.array()?;
                self.push(Value::Int(byte.into()))?;
            }
            opcode::BININT2 => {
                let bytes = self.array()?;
                self.push(Value::Int(u16::from_le_bytes(bytes).into()))?;
            }
            opcode::LONG1 => self.long1()?,
            opcode::INT | opcode::LONG => self.decimal()?,
            opcode::BINFLOAT => {
                self.array::<8>()?;
                self.push(Value::Float)?;
            }

            opcode::SHORT_BINUNICODE | opcode::BINUNICODE | opcode::BINUNICODE8 => {
                let data = self.string()?;
                self.text(data)?;
            }
            opcode::SHORT_BINBYTES | opcode::BINBYTES | opcode::BINBYTES8 => {
                let data = self.string()?;
                self.input.skip(data.length).map_err(|source| self.failed(source))?;
                self.push(Value::Bytes(data))?;
            }

            opcode::MARK => self.marks.push(self.stack.len()),
            opcode::EMPTY_TUPLE => self.push(Value::Tuple(Vec::new()))?,
            opcode::TUPLE1 => self.tuple(1)?,
            opcode::TUPLE2 => self.tuple(2)?,
            opcode::TUPLE3 => self.tuple(3)?,
            opcode::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            // The order and repetition of items do not matter here.
            opcode::EMPTY_LIST | opcode::EMPTY_SET => self.push(Value::List(Vec::new()))?,
            opcode::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))?;
            }
            opcode::APPEND => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            opcode::APPENDS | opcode::ADDITEMS => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            opcode::EMPTY_DICT => self.push(Value::Dict(Vec::new()))?,
            opcode::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            opcode::SETITEMS => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }

            opcode::BINPUT | opcode::LONG_BINPUT | opcode::MEMOIZE => self.put()?,
            opcode::BINGET | opcode::LONG_BINGET => {
                let index = self.index()?;
                let id =
                    self.memo.get(index).copied().flatten().ok_or_else(|| self.operand("a memo that was filled"))?;
                self.stack.push(id);
            }

            opcode::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            opcode::STACK_GLOBAL => {
                let (name, module) = (self.pop_name()?, self.pop_name()?);
                self.global(&module, &name)?;
            }
            opcode::REDUCE | opcode::NEWOBJ => self.reduce()?,
            opcode::BUILD => self.build()?,
            opcode::BINPERSID => {
                let name = self.pop()?;
                self.push(Value::Persistent(name))?;
            }

            code => return Err(Error::Opcode { opcode: opcode::name(code), code, at: self.at }),
        }
        Ok(())
    }

    fn failed(&self, source: input::Error) -> Error {
        Error::Input { opcode: opcode::name(self.code), at: self.at, source }
    }

    fn operand(&self, needed: &'static str) -> Error {
        Error::Operand { opcode: opcode::name(self.code), at: self.at, needed }
    }

    fn limit(&self, unit: &'static str, limit: usize) -> Error {
        Error::Limit { unit, limit, at: self.at }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.input.array().map_err(|source| self.failed(source))
    }

    fn line(&mut self) -> Result<String, Error> {
        let line = self.input.line(MAX_LINE).map_err(|source| self.failed(source))?;
        String::from_utf8(line).map_err(|_| self.operand("text in UTF-8"))
    }

    fn push(&mut self, value: Value) -> Result<(), Error> {
        if self.values.len() >= MAX_VALUES {
            return Err(self.limit("values", MAX_VALUES));
        }
        self.stack.push(Id::new(self.values.len()));
        self.values.push(value);
        Ok(())
    }

    /// The value on top of the stack, above the last mark.
    fn top(&self) -> Result<Id, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => Err(self.operand("another value on the stack")),
        }
    }

    fn pop(&mut self) -> Result<Id, Error> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_name(&mut self) -> Result<Box<str>, Error> {
        let id = self.pop()?;
        self.values[id.index()].name().map(Box::from).ok_or_else(|| self.operand("a name on the stack"))
    }

    /// The values above the last mark; removes the mark, too.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Error> {
        let floor = self.marks.pop().ok_or_else(|| self.operand("a mark on the stack"))?;
        Ok(self.stack.split_off(floor))
    }

    fn long1(&mut self) -> Result<(), Error> {
        let [length] = self.array()?;
        let mut bytes = [0_u8; 16];
        let length = usize::from(length);
        if length > bytes.len() {
            return Err(self.operand("an integer of at most 16 bytes"));
        }
        for byte in &mut bytes[..length] {
            [*byte] = self.array()?;
        }
        // Two's complement: extends the sign to the left.
        if length > 0 && bytes[length - 1] >= 0x80 {
            bytes[length..].fill(0xff);
        }
        self.push(Value::Int(i128::from_le_bytes(bytes)))
    }

    fn decimal(&mut self) -> Result<(), Error> {
        let line = self.line()?;
        let value = match (self.code, line.as_str()) {
            (opcode::INT, "00") => Value::Bool(false),
            (opcode::INT, "01") => Value::Bool(true),
            (_, text) => {
                let number = text.strip_suffix('L').unwrap_or(text).parse();
                Value::Int(number.map_err(|_| self.operand("a decimal integer"))?)
            }
        };
        self.push(value)
    }

    /// Where the string of a string opcode lies; the position is at its first byte.
    fn string(&mut self) -> Result<Data, Error> {
        let length = match self.code {
            opcode::SHORT_BINUNICODE | opcode::SHORT_BINBYTES => u64::from(self.array::<1>()?[0]),
            opcode::BINUNICODE | opcode::BINBYTES => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        };
        Ok(Data { offset: self.input.position(), length, latin1: false })
    }

    fn text(&mut self, data: Data) -> Result<(), Error> {
        let mut name = None;
        if data.length <= LONGEST_NAME {
            let bytes = self.input.bytes(data.length).map_err(|source| self.failed(source))?;
            let text = String::from_utf8(bytes).map_err(|_| self.operand("text in UTF-8"))?;
            self.text += text.len();
            if self.text > MAX_TEXT {
                return Err(self.limit("bytes of text", MAX_TEXT));
            }
            name = Some(text.into_boxed_str());
        } else {
            self.input.skip(data.length).map_err(|source| self.failed(source))?;
        }
        self.push(Value::Text(Text { name, data }))
    }

    fn tuple(&mut self, length: usize) -> Result<(), Error> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Error> {
        let list = self.top()?;
        match &mut self.values[list.index()] {
            Value::List(list) => list.extend_from_slice(items),
            _ => return Err(self.operand("a list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Error> {
        let (pairs, rest) = items.as_chunks::<2>();
        let dict = self.top()?;
        match &mut self.values[dict.index()] {
            Value::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err(self.operand("a dict, and a value for every key")),
        }
        Ok(())
    }

    fn index(&mut self) -> Result<usize, Error> {
        Ok(match self.code {
            opcode::BINPUT | opcode::BINGET => usize::from(self.array::<1>()?[0]),
            opcode::LONG_BINPUT | opcode::LONG_BINGET => u32::from_le_bytes(self.array()?) as usize,
            _ => self.memo.len(),
        })
    }

    fn put(&mut self) -> Result<(), Error> {
        let (index, id) = (self.index()?, self.top()?);
        if index >= MAX_VALUES {
            return Err(self.limit("memos", MAX_VALUES));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(id);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Error> {
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Error::Global { global: format!("{module}.{name}"), at: self.at }),
        }
    }

    fn reduce(&mut self) -> Result<(), Error> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let (Value::Global(class), Value::Tuple(items)) =
            (&self.values[class.index()], &self.values[arguments.index()])
        else {
            return Err(self.operand("a global and a tuple"));
        };
        let class = *class;
        // No supported call has more than two relevant operands.
        let operands: Vec<&Value> = items.iter().take(3).map(|item| &self.values[item.index()]).collect();
        let value = match (class, &operands[..]) {
            (Global::OrderedDict, []) | (Global::Dict, _) => Value::Dict(Vec::new()),
            (Global::List, _) => Value::List(Vec::new()),
            (Global::Tuple, [Value::Tuple(_)]) => {
                self.stack.push(items[0]);
                return Ok(());
            }
            (Global::Bytes, []) => Value::Bytes(Data { offset: self.at, length: 0, latin1: false }),
            (Global::Encode, [Value::Text(text), coding]) if coding.name() == Some("latin1") => {
                Value::Bytes(Data { latin1: true, ..text.data })
            }
            (Global::OrderedDict | Global::Tuple | Global::Bytes | Global::Encode, _) => {
                return Err(self.operand("other arguments"));
            }
            (Global::Storage(_) | Global::Ndarray, _) => return Err(self.operand("a global that can be called")),
            _ => Value::Object { class, arguments, state: None },
        };
        self.push(value)
    }

    fn build(&mut self) -> Result<(), Error> {
        let (state, object) = (self.pop()?, self.top()?);
        match &mut self.values[object.index()] {
            Value::Object {
                class: Global::Reconstruct | Global::Dtype | Global::Beside, state: slot @ None, ..
            } => *slot = Some(state),
            // The attributes of an ordered dict; PyTorch stores module versions there.
            Value::Dict(_) => {}
            _ => return Err(self.operand("an object that has a state")),
        }
        Ok(())
    }
}
