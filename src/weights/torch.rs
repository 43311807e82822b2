//! State dicts from `torch.save`, in both of its containers (PyTorch, *Serialization semantics*).
//!
//! Since version 1.6 a file is a zip archive with a pickle in `NAME/data.pkl` and one entry `NAME/data/KEY` per
//! storage. Before, it was a sequence of pickles (magic number, version, properties of the system, the object, the keys
//! of the storages), followed, for every key, by the number of elements as a 64-bit integer and the elements. In both,
//! a tensor is a view of a storage, and tensors can share one.
//!
//! Only storages that the state dict uses are read, one at a time. All numbers are little-endian; the checksums of zip
//! archives are verified.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::rc::Rc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::Array;
use super::input::{self, Input};
use super::pickle::{self, Global, Id, Pickle, Value};
use super::view::{self, Budget, Element, View};
use crate::exit::Exit;

/// Content of the first pickle of a legacy file.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// Content of the second one.
const VERSION: i128 = 1001;
/// Maximum size of a pickle in a zip archive, in bytes.
const MAX_PICKLE: u64 = 1 << 23;
/// Maximum bytes of a zip archive that are read to find its entries.
const MAX_DIRECTORY: u64 = 1 << 22;
/// Maximum axes of a tensor.
const MAX_AXES: usize = 64;

/// Why a PyTorch file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pickle is unusable.
    #[error(transparent)]
    Pickle(#[from] pickle::Error),
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// The archive is unusable.
    #[error("the zip archive is damaged")]
    Zip {
        /// Why.
        #[source]
        source: ZipError,
    },
    /// An entry of the archive cannot be read.
    #[error("`{name}` in the zip archive is damaged")]
    Entry {
        /// Name of the entry.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry of the archive has the wrong size.
    #[error("`{name}` in the zip archive has {found} bytes, but {allowed} are allowed")]
    EntrySize {
        /// Name of the entry.
        name: String,
        /// Its size in bytes.
        found: u64,
        /// Its required or maximum size.
        allowed: u64,
    },
    /// The archive does not come from PyTorch.
    #[error("the zip archive has no data.pkl, so it is not from PyTorch")]
    NoPickle,
    /// The numbers are not little-endian.
    #[error("the file comes from a big-endian machine")]
    BigEndian,
    /// The file does not have PyTorch's layout.
    #[error("the file does not have the layout of torch.save: {what}")]
    Layout {
        /// What is wrong.
        what: &'static str,
    },
    /// The file has no state dict.
    #[error("the file holds neither a state dict nor a checkpoint with one")]
    NoStateDict,
    /// An entry of the state dict is not a valid tensor.
    #[error("`{key}` is not described as a tensor")]
    Tensor {
        /// Name of the entry.
        key: String,
    },
    /// The values of a tensor cannot be extracted from its storage.
    #[error("the values of `{key}` cannot be read")]
    Values {
        /// Name of the entry.
        key: String,
        /// Why.
        #[source]
        source: view::Error,
    },
    /// A storage is missing, described inconsistently, or has the wrong size.
    #[error("storage `{key}` {what}")]
    Storage {
        /// Name of the storage.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let system = |source: &io::Error| if source.raw_os_error().is_some() { Exit::Io } else { Exit::Data };
        match self {
            Self::Pickle(source) => source.exit(),
            Self::Input(source) => source.exit(),
            Self::Zip { source: ZipError::Io(source) } | Self::Entry { source, .. } => system(source),
            _ => Exit::Data,
        }
    }
}

/// Whether a pickle is the first one of a legacy file.
#[must_use]
pub fn is_magic(pickle: &Pickle) -> bool {
    *pickle.root() == Value::Int(MAGIC)
}

/// The tensors of a zip archive of `length` bytes, in the order of the state dict: the one at `place`, if given.
///
/// # Errors
/// If the archive is unusable; see [`Error`].
pub fn read_zip<R: Read + Seek>(reader: R, length: u64, place: Option<&str>) -> Result<Vec<(String, Array)>, Error> {
    let mut reader = reader;
    check_end(&mut reader)?;
    let left = Rc::new(Cell::new(MAX_DIRECTORY));
    let metered = Metered { reader, left: Rc::clone(&left) };
    let mut archive = ZipArchive::new(metered).map_err(|source| Error::Zip { source })?;
    left.set(u64::MAX);
    let root = archive.file_names().flatten().find_map(|name| root(&name)).ok_or(Error::NoPickle)?;

    let order = format!("{root}byteorder");
    if archive.index_for_name(&order).is_some() && extract(&mut archive, &order, 16)? != b"little" {
        return Err(Error::BigEndian);
    }
    let pickle = extract(&mut archive, &format!("{root}data.pkl"), MAX_PICKLE)?;
    let plan = ReadPlan::new(&Pickle::read(&mut Input::new(Cursor::new(pickle))?)?, length, place)?;
    plan.read(|storage| {
        let name = format!("{root}data/{}", storage.key);
        let size = storage.size()?;
        let bytes = extract(&mut archive, &name, size)?;
        if bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(Error::EntrySize { name, found: bytes.len() as u64, allowed: size })
        }
    })
}

/// Checks the records at the end of an archive that give 64-bit numbers of entries, because memory is reserved for that
/// many before any entry is read. In an archive that begins with its first entry, as PyTorch's do, they come right
/// before the last record.
fn check_end<R: Read + Seek>(reader: &mut R) -> Result<(), Error> {
    /// The last record with the longest comment, and the two before it.
    const TAIL: u64 = 22 + (1 << 16) + LOCATOR as u64 + RECORD as u64;
    const LOCATOR: usize = 20;
    const RECORD: usize = 56;
    /// Minimum size of a directory entry in bytes.
    const ENTRY: u64 = 46;
    let failed = |source: io::Error| Error::Zip { source: ZipError::Io(source) };
    let length = reader.seek(SeekFrom::End(0)).map_err(failed)?;
    let start = reader.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(failed)?;
    let mut tail = Vec::new();
    reader.take(TAIL).read_to_end(&mut tail).map_err(failed)?;
    let number = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
    };
    for (at, locator) in tail.windows(LOCATOR + 4).enumerate() {
        if !locator.starts_with(b"PK\x06\x07") || !locator.ends_with(b"PK\x05\x06") {
            continue;
        }
        let record = at.checked_sub(RECORD).and_then(|from| tail.get(from..at)).unwrap_or_default();
        let is_there = record.starts_with(b"PK\x06\x06") && number(record, 4) == RECORD as u64 - 12;
        let is_named = number(locator, 8).checked_add(RECORD as u64) == Some(start + at as u64);
        if !is_there || !is_named || number(record, 32) > MAX_DIRECTORY / ENTRY || number(record, 40) > MAX_DIRECTORY {
            return Err(Error::Layout { what: "the end of the zip archive is misplaced, or lists too many entries" });
        }
    }
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(())
}

/// A reader that returns `left` bytes and then fails.
struct Metered<R> {
    reader: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(bytes)?;
        let left = self.left.get().checked_sub(read as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("its list of entries is too long"))?);
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.reader.seek(position)
    }
}

/// The folder of the pickle called `name`, if it is the top of the archive or a folder there.
fn root(name: &str) -> Option<String> {
    let root = name.strip_suffix("data.pkl")?;
    let folder = root.strip_suffix('/').unwrap_or(root);
    (root.is_empty() || (root != folder && !folder.contains('/'))).then(|| root.to_owned())
}

/// The entry called `name`, which has at most `allowed` bytes.
fn extract<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str, allowed: u64) -> Result<Vec<u8>, Error> {
    let damaged = |source| Error::Entry { name: name.to_owned(), source };
    let mut entry = archive.by_name(name).map_err(|source| match source {
        ZipError::Io(source) => damaged(source),
        source => damaged(io::Error::other(source)),
    })?;
    let found = entry.size();
    if found > allowed {
        return Err(Error::EntrySize { name: name.to_owned(), found, allowed });
    }
    let mut bytes = input::zeros(found)?;
    entry.read_exact(&mut bytes).map_err(damaged)?;
    // The checksum is compared at the end of the entry.
    match entry.read(&mut [0]).map_err(damaged)? {
        0 => Ok(bytes),
        more => Err(Error::EntrySize { name: name.to_owned(), found: found + more as u64, allowed: found }),
    }
}

/// The tensors of a legacy file, in the order of the state dict. `input` must be positioned after the pickle with the
/// magic number. `place` is that of the state dict, if given.
///
/// # Errors
/// If the file is unusable; see [`Error`].
pub fn read_legacy<R: Read + Seek>(input: &mut Input<R>, place: Option<&str>) -> Result<Vec<(String, Array)>, Error> {
    if *Pickle::read(input)?.root() != Value::Int(VERSION) {
        return Err(Error::Layout { what: "its version is not 1001" });
    }
    if !is_little_endian(&Pickle::read(input)?) {
        return Err(Error::BigEndian);
    }
    let object = Pickle::read(input)?;
    let plan = ReadPlan::new(&object, input.length(), place)?;
    let keys = Pickle::read(input)?;
    let Value::List(keys_in_order) = keys.root() else {
        return Err(Error::Layout { what: "no list of storages follows the object" });
    };

    let described = storages(&object)?;
    let mut offsets = HashMap::new();
    for &key in keys_in_order {
        let key = keys.value(key).name().ok_or(Error::Layout { what: "a storage has no name" })?;
        let wrong = |what| Error::Storage { key: key.to_owned(), what };
        let storage = described.get(key).ok_or_else(|| wrong("is not described"))?;
        if u64::from_le_bytes(input.array()?) != storage.count {
            return Err(wrong("has another size than is described"));
        }
        offsets.insert(key, input.position());
        input.skip(storage.size()?)?;
    }
    plan.read(|storage| {
        let missing = || Error::Storage { key: storage.key.clone(), what: "is missing" };
        input.seek(*offsets.get(storage.key.as_str()).ok_or_else(missing)?)?;
        Ok(input.bytes(storage.size()?)?)
    })
}

fn is_little_endian(system: &Pickle) -> bool {
    match system.root() {
        Value::Dict(entries) => entries.iter().any(|&(key, value)| {
            system.value(key).name() == Some("little_endian") && *system.value(value) == Value::Bool(true)
        }),
        _ => false,
    }
}

/// A storage as a pickle describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Storage {
    key: String,
    element: Element,
    /// Number of elements.
    count: u64,
}

impl Storage {
    /// The storage that a persistent ID names: `('storage', TYPE, KEY, DEVICE, COUNT)`, and in legacy files a sixth
    /// item, which is `None` unless the storage is part of another.
    fn named(pickle: &Pickle, id: Id) -> Result<Self, Error> {
        let wrong = Error::Layout { what: "a storage is not described as one" };
        let Some(items) = pickle.tuple(id, 6) else { return Err(wrong) };
        let (kind, element, key, count) = match items[..] {
            [kind, Value::Global(Global::Storage(element)), key, _, Value::Int(count)] => (kind, element, key, count),
            [kind, Value::Global(Global::Storage(element)), key, _, Value::Int(count), Value::None] => {
                (kind, element, key, count)
            }
            _ => return Err(wrong),
        };
        match (kind.name(), key.name(), u64::try_from(*count)) {
            (Some("storage"), Some(key), Ok(count)) => Ok(Self { key: key.to_owned(), element: *element, count }),
            _ => Err(wrong),
        }
    }

    /// Number of bytes.
    fn size(&self) -> Result<u64, Error> {
        let too_large = || Error::Storage { key: self.key.clone(), what: "is too large" };
        self.count.checked_mul(self.element.size()).ok_or_else(too_large)
    }
}

/// All storages of a pickle by key.
fn storages(pickle: &Pickle) -> Result<HashMap<String, Storage>, Error> {
    let mut storages: HashMap<String, Storage> = HashMap::new();
    for value in pickle.values() {
        let Value::Persistent(id) = value else { continue };
        let storage = Storage::named(pickle, *id)?;
        match storages.get(&storage.key) {
            Some(known) if *known != storage => {
                return Err(Error::Storage { key: storage.key, what: "is described in two ways" });
            }
            Some(_) => {}
            None => drop(storages.insert(storage.key.clone(), storage)),
        }
    }
    Ok(storages)
}

/// What to read: the names in order, and the views by storage.
#[derive(Debug)]
struct ReadPlan {
    names: Vec<String>,
    /// Storages in the order of their first use, with the positions and views of their tensors.
    storages: Vec<(Storage, Vec<(usize, View)>)>,
}

impl ReadPlan {
    /// The plan for the state dict in `pickle`, from a file of `length` bytes. Entries that are not tensors are
    /// skipped.
    fn new(pickle: &Pickle, length: u64, place: Option<&str>) -> Result<Self, Error> {
        let (mut arrays, mut values, mut bytes) = (Budget::arrays(), Budget::values(length), Budget::bytes(length));
        let mut plan = Self { names: Vec::new(), storages: Vec::new() };
        let mut positions = HashMap::new();
        let weights = pickle.weights(place, |value| tensor(pickle, value).is_some())?.ok_or(Error::NoStateDict)?;
        weights.tell();
        for &(key, value) in weights.entries.iter() {
            let (Some(key), Some(arguments)) = (pickle.value(key).name(), tensor(pickle, value)) else { continue };
            let wrong = || Error::Tensor { key: key.to_owned() };
            let failed = |source| Error::Values { key: key.to_owned(), source };
            arrays.take(1).map_err(failed)?;
            let (storage, view) = described(pickle, arguments).ok_or_else(wrong)?;
            let (storage, view) = (Storage::named(pickle, storage)?, view.map_err(failed)?);
            view.check(usize::try_from(storage.count).map_err(|_| wrong())?).map_err(failed)?;
            values.take(view.count() as u64).map_err(failed)?;

            let next = plan.storages.len();
            let position = *positions.entry(storage.key.clone()).or_insert(next);
            if position == next {
                bytes.take(storage.size()?).map_err(failed)?;
                plan.storages.push((storage, Vec::new()));
            } else if plan.storages[position].0 != storage {
                return Err(Error::Storage { key: storage.key, what: "is described in two ways" });
            }
            plan.storages[position].1.push((plan.names.len(), view));
            plan.names.push(key.to_owned());
        }
        Ok(plan)
    }

    /// Reads every storage in turn with `read`, and extracts the tensors.
    fn read(self, mut read: impl FnMut(&Storage) -> Result<Vec<u8>, Error>) -> Result<Vec<(String, Array)>, Error> {
        let mut arrays: Vec<Option<Array>> = vec![None; self.names.len()];
        for (storage, views) in self.storages {
            let bytes = read(&storage)?;
            for (position, view) in views {
                let failed = |source| Error::Values { key: self.names[position].clone(), source };
                arrays[position] = Some(view.read(storage.element, &bytes).map_err(failed)?);
            }
        }
        Ok(self.names.into_iter().zip(arrays).filter_map(|(name, array)| Some((name, array?))).collect())
    }
}

/// The arguments of the tensor called `id`, or of the tensor in that parameter; `None` for anything else.
fn tensor(pickle: &Pickle, id: Id) -> Option<Id> {
    match *pickle.value(id) {
        Value::Object { class: Global::Tensor, arguments, .. } => Some(arguments),
        Value::Object { class: Global::Parameter, arguments, .. } => match pickle.tuple(arguments, 3)?.first()? {
            Value::Object { class: Global::Tensor, arguments, .. } => Some(*arguments),
            _ => None,
        },
        _ => None,
    }
}

/// Storage and view of the tensor that is made with `arguments`: storage, offset, shape, strides, and others that are
/// irrelevant here.
fn described(pickle: &Pickle, arguments: Id) -> Option<(Id, Result<View, view::Error>)> {
    let Value::Tuple(arguments) = pickle.value(arguments) else { return None };
    let &[storage, offset, shape, strides, ..] = arguments.as_slice() else { return None };
    let (Value::Persistent(storage), Value::Int(offset)) = (pickle.value(storage), pickle.value(offset)) else {
        return None;
    };
    let (shape, strides) = (pickle.extents(shape, MAX_AXES)?, pickle.extents(strides, MAX_AXES)?);
    Some((*storage, View::new(shape, strides, usize::try_from(*offset).ok()?)))
}
