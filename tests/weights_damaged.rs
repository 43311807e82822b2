//! Damaged and hostile weight files: a clear error at once, in little memory, and never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use hardnetd::exit::Exit;
use hardnetd::weights::{self, Format, Loaded};
use rustix::time::{ClockId, clock_gettime};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Maximum CPU time for an unusable file.
const LIMIT: Duration = Duration::from_secs(1);
/// Maximum memory for it, in KiB. Includes the test's own files.
const MEMORY: u64 = 100_000;

const GOLDEN: [&str; 9] = [
    "tiny_zip.pth",
    "tiny_legacy.pth",
    "tiny_checkpoint.pth",
    "tiny.pdparams",
    "tiny.safetensors",
    "types_zip.pth",
    "types_legacy.pth",
    "types.pdparams",
    "types_protocol2.pdparams",
];

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)).unwrap()
}

/// CPU time of this thread.
fn spent() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The weights, or the error message with its causes.
fn read(bytes: &[u8]) -> Result<Loaded, String> {
    let before = spent();
    let result = weights::read_bytes(bytes);
    let spent = spent() - before;
    assert!(spent < LIMIT, "{spent:?}: {result:?}");
    result.map_err(|problem| {
        assert_eq!(problem.exit(), Exit::Data, "{problem:?}");
        let mut message = problem.to_string();
        let mut cause = problem.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        message
    })
}

/// Asserts that `bytes` are rejected with a message that contains all of `parts`, with little memory.
fn refused(bytes: &[u8], parts: &[&str]) {
    let message = read(bytes).expect_err("the file is refused");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    assert!(peak.unwrap_or(0_u64) < MEMORY, "{peak:?} KiB after: {message}");
}

/// A pickled string.
fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

/// A pickled integer.
fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08".as_slice(), &value.to_le_bytes()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".as_slice(), &items.concat(), b"t"].concat()
}

/// A pickled `torch.FloatStorage` called `0`.
fn storage(count: i64) -> Vec<u8> {
    let items = [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu"), int(count)];
    [tuple(&items), b"Q".to_vec()].concat()
}

/// A pickled tensor of a storage of `count` elements.
fn tensor(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let numbers = |numbers: &[i64]| tuple(&numbers.iter().map(|&number| int(number)).collect::<Vec<_>>());
    let items = [storage(count), int(offset), numbers(shape), numbers(strides), b"\x89N".to_vec()];
    [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), tuple(&items), b"R".to_vec()].concat()
}

/// A pickled NumPy array of singles.
fn array(shape: &[i64], data: &[u8]) -> Vec<u8> {
    let dtype = [
        b"cnumpy\ndtype\n".to_vec(),
        tuple(&[text("f4"), b"\x89\x88".to_vec()]),
        b"R".to_vec(),
        tuple(&[int(3), text("<")]),
        b"b".to_vec(),
    ];
    let shape = tuple(&shape.iter().map(|&extent| int(extent)).collect::<Vec<_>>());
    [
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR".to_vec(),
        tuple(&[int(1), shape, dtype.concat(), b"\x89".to_vec(), data.to_vec()]),
        b"b".to_vec(),
    ]
    .concat()
}

/// A pickled dict with `value` under `a`.
fn dict(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}".as_slice(), &text("a"), value, b"s."].concat()
}

/// A zip archive as `torch.save` makes it.
fn archive(pickle: &[u8], data: &[u8], method: CompressionMethod) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", data)] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn stored(pickle: &[u8], data: &[u8]) -> Vec<u8> {
    archive(pickle, data, CompressionMethod::Stored)
}

/// A legacy file whose list of storages declares `count`.
fn legacy(pickle: &[u8], count: i64, data: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}";
    let little_endian = [text("little_endian"), b"\x88s.".to_vec()].concat();
    let keys = [b"\x80\x02]".to_vec(), text("0"), b"a.".to_vec()].concat();
    [head.as_slice(), &little_endian, pickle, &keys, &count.to_le_bytes(), data].concat()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

/// The pickle in every container that supports one.
fn containers(pickle: &[u8]) -> [Vec<u8>; 3] {
    [stored(pickle, &[0; 16]), legacy(pickle, 4, &[0; 16]), pickle.to_vec()]
}

#[test]
fn the_files_that_are_made_here_are_read_when_nothing_is_wrong() {
    let tensor = dict(&tensor(4, 0, &[2, 2], &[1, 2]));
    let data: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let array = dict(&array(&[2, 2], &[b"B\x10\0\0\0".as_slice(), &data].concat()));
    let header = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    for (bytes, format, values) in [
        (stored(&tensor, &data), Format::TorchZip, [1.0, 3.0, 2.0, 4.0]),
        (archive(&tensor, &data, CompressionMethod::Deflated), Format::TorchZip, [1.0, 3.0, 2.0, 4.0]),
        (legacy(&tensor, 4, &data), Format::TorchLegacy, [1.0, 3.0, 2.0, 4.0]),
        (array, Format::Paddle, [1.0, 3.0, 2.0, 4.0]),
        (safetensors(header, &data), Format::Safetensors, [1.0, 2.0, 3.0, 4.0]),
    ] {
        let loaded = read(&bytes).unwrap();
        assert_eq!((loaded.format, loaded.state.get("a").unwrap().data()), (format, &values[..]));
    }
}

#[test]
fn every_truncation_is_an_error() {
    for name in GOLDEN {
        let bytes = golden(name);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_values_only() {
    for name in GOLDEN {
        let mut bytes = golden(name);
        let whole = read(&bytes).unwrap();
        for at in 0..bytes.len() {
            let all = at.is_multiple_of(11);
            for bit in (0..8).filter(|bit| all || *bit == at % 8) {
                bytes[at] ^= 1 << bit;
                let damaged = read(&bytes);
                bytes[at] ^= 1 << bit;
                // Archives have checksums.
                if let (Ok(damaged), Format::TorchZip) = (damaged, whole.format) {
                    assert_eq!(damaged, whole, "{name}, bit {bit} of byte {at}");
                }
            }
        }
    }
}

#[test]
fn a_pickle_that_asks_for_more_than_tensors_is_refused() {
    for pickle in [dict(b"cos\nsystem\nX\x02\0\0\0ls\x85R"), dict(b"\x8c\x02os\x8c\x06system\x93X\x02\0\0\0ls\x85R")] {
        for bytes in containers(&pickle) {
            refused(&bytes, &["\"os.system\"", "at byte"]);
        }
    }
    for bytes in containers(&dict(b"(cos\nsystem\no")) {
        refused(&bytes, &["\"os.system\""]);
    }
    for bytes in containers(&dict(b"(X\x02\0\0\0lsios\nsystem\n")) {
        refused(&bytes, &["opcode INST (0x69)", "at byte"]);
    }
}

#[test]
fn a_storage_that_is_larger_than_the_file_is_refused() {
    for count in [1 << 20, 1 << 40, 1 << 61, i64::MAX] {
        let pickle = dict(&tensor(count, 0, &[4], &[1]));
        refused(&stored(&pickle, &[0; 16]), &[]);
        refused(&legacy(&pickle, count, &[0; 16]), &[]);
        refused(&legacy(&pickle, 4, &[0; 16]), &[]);
    }
    refused(&stored(&dict(&tensor(5, 0, &[4], &[1])), &[0; 16]), &["`x/data/0`", "16 bytes", "20 are"]);
    refused(&stored(&dict(&tensor(3, 0, &[3], &[1])), &[0; 16]), &["`x/data/0`", "16 bytes", "12 are"]);
    refused(&legacy(&dict(&tensor(5, 0, &[4], &[1])), 5, &[0; 16]), &["20 bytes from byte"]);
    refused(&legacy(&dict(&tensor(5, 0, &[4], &[1])), 4, &[0; 16]), &["storage `0` has another size"]);
    refused(&stored(&dict(&tensor(-1, 0, &[4], &[1])), &[0; 16]), &["a storage is not described as one"]);

    refused(&dict(&array(&[1 << 40], b"C\x04abcd")), &["`a`", "values"]);
    refused(&dict(&array(&[2], b"C\x04abcd")), &["`a` has 4 bytes of data, but its shape needs 8"]);
    refused(&dict(&array(&[1], b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabcd")), &["BINBYTES8", "the content ends"]);
    refused(&dict(&array(&[1], b"B\xff\xff\xff\xffabcd")), &["BINBYTES", "the content ends"]);

    let header = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    refused(&safetensors(header, &[0; 16]), &["describes 4398046511104 bytes", "has 16"]);
}

#[test]
fn a_container_that_holds_itself_is_refused() {
    for pickle in [
        &b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s."[..],
        b"\x80\x02}q\x00X\x01\x00\x00\x00a]q\x01h\x01as.",
        b"\x80\x02}q\x00X\x01\x00\x00\x00a(h\x00ts.",
    ] {
        for bytes in containers(pickle) {
            refused(&bytes, &["a container that contains itself"]);
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    for bytes in containers(&dict(&[&b")"[..], &b"\x85".repeat(200_000)].concat())) {
        refused(&bytes, &["nested more than 64 deep"]);
    }
    for bytes in containers(&dict(&b"(".repeat(200_000))) {
        refused(&bytes, &["more than 65536 values on its stack"]);
    }
    let header = format!("{{\"a\":{}", "[".repeat(1 << 19));
    refused(&safetensors(&header, &[]), &["header is damaged"]);
}

#[test]
fn huge_counts_are_refused() {
    for bytes in containers(&dict(&[&b"("[..], &b"N".repeat(1 << 20), b"t"].concat())) {
        refused(&bytes, &["more than 65536 values on its stack"]);
    }
    let list = [&b"]"[..], &b"Na".repeat(1 << 19)].concat();
    for bytes in containers(&dict(&list)) {
        refused(&bytes, &["more than 262144 values"]);
    }
    refused(&legacy(&dict(&tensor(4, 0, &[4], &[1])), -1, &[0; 16]), &["another size"]);

    // An end record that declares countless entries, and an endless list of entries.
    let mut bytes = stored(&dict(&tensor(4, 0, &[4], &[1])), &[0; 16]);
    let end = bytes.len() - 22;
    bytes[end + 8..end + 12].fill(0xff);
    refused(&bytes, &["zip archive is damaged"]);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let comment = "a".repeat(1000);
    for index in 0..10_000 {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(format!("{index}{comment}"), options).unwrap();
    }
    refused(&zip.finish().unwrap().into_inner(), &["its list of entries is too long"]);
}

#[test]
fn a_zip_bomb_is_refused() {
    const SIZE: usize = 1 << 28;
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(1));
    let bomb = |name: &str, zeros: u8| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        if name != "x/data.pkl" {
            zip.start_file("x/data.pkl", options).unwrap();
            zip.write_all(&dict(&tensor(SIZE as i64 / 4, 0, &[4], &[1]))).unwrap();
        }
        zip.start_file(name, options).unwrap();
        for _ in 0..SIZE >> 16 {
            zip.write_all(&[zeros; 1 << 16]).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    refused(&bomb("x/data.pkl", b'N'), &["`x/data.pkl`", "268435456 bytes", "8388608 are allowed"]);
    let storage = bomb("x/data/0", 0);
    refused(&storage, &["the values of `a` cannot be read", "more than", " bytes, out of proportion to its size"]);

    // With wrong sizes, the data is not followed beyond the declared sizes.
    let lying = |mut bytes: Vec<u8>, size: usize, told: u32| {
        let size = u32::try_from(size).unwrap().to_le_bytes();
        let places: Vec<usize> = (0..bytes.len() - 4).filter(|&at| bytes[at..at + 4] == size).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + 4].copy_from_slice(&told.to_le_bytes());
        }
        bytes
    };
    refused(&lying(bomb("x/data.pkl", b'N'), SIZE, 100), &["`x/data.pkl`"]);
    let zeros = archive(&dict(&tensor(4, 0, &[4], &[1])), &[0; 1 << 20], CompressionMethod::Deflated);
    refused(&lying(zeros, 1 << 20, 16), &["`x/data/0`"]);
}

#[test]
fn views_that_do_not_fit_are_refused() {
    for (offset, shape, strides) in [
        (0, vec![3, 2], vec![i64::MAX, 1]),
        (0, vec![i64::MAX, i64::MAX], vec![1, 1]),
        (i64::MAX, vec![4], vec![1]),
        (1, vec![4], vec![1]),
        (-1, vec![4], vec![1]),
        (0, vec![-4], vec![1]),
        (0, vec![4], vec![-1]),
        (0, vec![2, 2], vec![1]),
        (0, vec![1; 65], vec![1; 65]),
    ] {
        let pickle = dict(&tensor(4, offset, &shape, &strides));
        refused(&stored(&pickle, &[0; 16]), &["`a`"]);
        refused(&legacy(&pickle, 4, &[0; 16]), &["`a`"]);
    }
    for shape in [&[i64::MAX, 2][..], &[-1], &[1 << 32, 1 << 32]] {
        refused(&dict(&array(shape, b"C\x04abcd")), &["`a`"]);
    }
    let header = r#"{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,16]}}"#;
    refused(&safetensors(header, &[0; 16]), &["header is damaged"]);
}

#[test]
fn a_small_storage_cannot_fill_the_memory() {
    let repeated = dict(&tensor(4, 0, &[1 << 40, 4], &[0, 1]));
    refused(&stored(&repeated, &[0; 16]), &["the values of `a`", "more than 65536 values"]);
    refused(&legacy(&repeated, 4, &[0; 16]), &["more than 65536 values"]);

    // Arrays without values, which need no storage.
    let empty = tensor(0, 0, &[0; 64], &[0; 64]);
    let mut pickle =
        [b"\x80\x02}".to_vec(), text("0"), empty, b"q\x00s".to_vec(), text("1"), b"q\x01h\x00s".to_vec()].concat();
    pickle.extend(b"h\x01h\x00s".repeat(400_000));
    pickle.push(b'.');
    refused(&stored(&pickle, &[]), &["more than 16384 arrays"]);
    refused(&legacy(&pickle, 0, &[]), &["more than 16384 arrays"]);

    // One large storage, and a thousand names for it.
    let count = 1 << 18;
    let mut pickle = [b"\x80\x02}".to_vec(), text("0"), tensor(count, 0, &[count], &[1]), b"q\x00s".to_vec()].concat();
    for name in 1..1000 {
        pickle.extend([text(&name.to_string()), b"h\x00s".to_vec()].concat());
    }
    pickle.push(b'.');
    refused(&stored(&pickle, &vec![0; 1 << 20]), &[" values, out of proportion to its size"]);
    refused(&legacy(&pickle, count, &vec![0; 1 << 20]), &[" values, out of proportion to its size"]);

    let mut pickle = [b"\x80\x02}".to_vec(), text("0"), array(&[count], b"B\0\0\x10\0")].concat();
    pickle.truncate(pickle.len() - 2);
    pickle.extend(vec![0; 1 << 20]);
    pickle.extend(b"tbq\x00s");
    for name in 1..1000 {
        pickle.extend([text(&name.to_string()), b"h\x00s".to_vec()].concat());
    }
    pickle.push(b'.');
    refused(&pickle, &[" values, out of proportion to its size"]);
}

#[test]
fn damaged_headers_of_safetensors_are_refused() {
    for length in [1_u64 << 63, u64::MAX, 1 << 40, (1 << 23) + 1] {
        let bytes = [length.to_le_bytes().as_slice(), b"{}"].concat();
        refused(&bytes, &[&format!("header has {length} bytes")]);
    }
    refused(&[100_u64.to_le_bytes().as_slice(), b"{}"].concat(), &["the content ends at byte 10"]);
    for header in [
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}}"#,
        r#"{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}"#,
        r#"{"a":1}"#,
        r#"{"a""#,
    ] {
        refused(&safetensors(header, &[0; 16]), &["header is damaged"]);
    }
    let header = r#"{"a":{"dtype":"F8_E5M2","shape":[16],"data_offsets":[0,16]}}"#;
    refused(&safetensors(header, &[0; 16]), &["`a` has the type F8_E5M2, which is not supported"]);
    refused(&safetensors("{}", &[]), &["holds no arrays"]);

    let ones = format!(r#"{{"a":{{"dtype":"F32","shape":[{}4],"data_offsets":[0,12]}}}}"#, "1,".repeat(500_000));
    refused(&safetensors(&ones, &[0; 16]), &["header is damaged"]);
    let mut many = String::from("{");
    for name in 0..20_000 {
        many += &format!(r#""{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},"#);
    }
    many.truncate(1 << 20);
    let end = many.rfind("},").unwrap();
    many.replace_range(end.., "}}");
    refused(&safetensors(&many, &[]), &["more than 16384 arrays"]);
}

#[test]
fn files_of_another_kind_are_told_what_is_missing() {
    refused(&dict(b"N"), &["holds no arrays"]);
    refused(b"\x80\x02N.", &["holds no state dict"]);
    refused(&stored(b"\x80\x02N.", &[]), &["neither a state dict"]);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("word/document.xml", SimpleFileOptions::default().compression_method(CompressionMethod::Stored))
        .unwrap();
    refused(&zip.finish().unwrap().into_inner(), &["has no data.pkl"]);
    let twice = [b"\x80\x02}".to_vec(), text("a"), tensor(4, 0, &[4], &[1]), b"q\x00s".to_vec(), text("a")].concat();
    let twice = [&twice[..], b"h\x00s."].concat();
    refused(&stored(&twice, &[0; 16]), &["the weights hold `a` twice"]);
    let name = [b"\x80\x02}".to_vec(), text("a\x1b[2J"), tensor(4, 0, &[4], &[1]), b"s.".to_vec()].concat();
    refused(&stored(&name, &[0; 16]), &["has control characters", "\\u{1b}"]);
}
