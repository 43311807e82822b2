#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Cursor;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// CPU time of this thread.
fn spent() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn read(bytes: &[u8]) -> Result<Pickle, Error> {
    let before = spent();
    let result = Pickle::read(&mut Input::new(Cursor::new(bytes)).unwrap());
    let spent = spent() - before;
    assert!(spent < Duration::from_secs(1), "{spent:?}");
    result
}

/// The error message with which `bytes` are rejected.
fn refused(bytes: &[u8]) -> String {
    let error = read(bytes).unwrap_err();
    assert_eq!(error.exit(), Exit::Data);
    error.to_string()
}

#[test]
fn values_of_every_protocol_are_read() {
    // Written by Python's `pickle.dumps((None, True, False, 1, 300, -2, 2**40, 1.5, 'a', b'b', [], {}), n)`.
    for bytes in [
        &b"(NI01\nI00\nK\x01M,\x01J\xfe\xff\xff\xffL1099511627776L\nG?\xf8\x00\x00\x00\x00\x00\x00X\x01\x00\x00\x00aq\x00\
           c_codecs\nencode\nq\x01(X\x01\x00\x00\x00bq\x02X\x06\x00\x00\x00latin1q\x03tq\x04Rq\x05]q\x06}q\x07tq\x08."[..],
        b"\x80\x02(N\x88\x89K\x01M,\x01J\xfe\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01G?\xf8\x00\x00\x00\x00\x00\x00\
          X\x01\x00\x00\x00aq\x00c_codecs\nencode\nq\x01X\x01\x00\x00\x00bq\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04Rq\x05\
          ]q\x06}q\x07tq\x08.",
        b"\x80\x04\x95,\x00\x00\x00\x00\x00\x00\x00(N\x88\x89K\x01M,\x01J\xfe\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01\
          G?\xf8\x00\x00\x00\x00\x00\x00\x8c\x01a\x94C\x01b\x94]\x94}\x94t\x94.",
    ] {
        let pickle = read(bytes).unwrap();
        let Value::Tuple(items) = pickle.root() else { panic!("{:?}", pickle.root()) };
        let items: Vec<&Value> = items.iter().map(|&id| pickle.value(id)).collect();
        assert_eq!(items[..8].iter().map(|&value| value.clone()).collect::<Vec<_>>(), [
            Value::None,
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(1),
            Value::Int(300),
            Value::Int(-2),
            Value::Int(1 << 40),
            Value::Float,
        ]);
        assert_eq!(items[8].name(), Some("a"));
        let Value::Bytes(data) = items[9] else { panic!("{:?}", items[9]) };
        assert_eq!(data.read(&mut Input::new(Cursor::new(bytes)).unwrap()).unwrap(), b"b");
        assert_eq!(items[10..], [&Value::List(vec![]), &Value::Dict(vec![])]);
    }
}

#[test]
fn bytes_of_protocol_2_are_latin_1_in_utf_8() {
    let bytes = "é\u{80}\u{ff}\0a".as_bytes();
    let data = Data { offset: 0, length: bytes.len() as u64, latin1: true };
    assert_eq!(data.read(&mut Input::new(Cursor::new(bytes)).unwrap()).unwrap(), [0xe9, 0x80, 0xff, 0, b'a']);
    for wrong in [&b"\xc2"[..], b"a\xff", "Ā".as_bytes(), b"\xc3\x20"] {
        let data = Data { length: wrong.len() as u64, ..data };
        assert!(matches!(data.read(&mut Input::new(Cursor::new(wrong)).unwrap()), Err(Error::Latin1 { at: 0 })));
    }
}

#[test]
fn globals_that_tensors_do_not_need_are_refused_by_name() {
    let asks = "only what tensors need and plain data are accepted. If it is a whole module of PyTorch, save \
                `module.state_dict()` instead";
    for (bytes, global, at) in [
        (&b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "os.system", 2),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "os.system", 14),
        (b"\x80\x02cbuiltins\neval\n.", "builtins.eval", 2),
        (b"\x80\x02ctorch\nload\n.", "torch.load", 2),
        (b"cposix\nsystem\n.", "posix.system", 0),
    ] {
        assert_eq!(refused(bytes), format!("the pickle asks for {global:?} at byte {at}: {asks}"));
    }
    // Names from a hostile file are shown without control characters.
    assert!(!refused(b"cos\n\x1b[2Jsystem\n.").contains('\x1b'));
}

#[test]
fn opcodes_that_tensors_do_not_need_are_refused_by_name() {
    for (code, name) in [(b'i', "INST"), (b'o', "OBJ"), (0x92, "NEWOBJ_EX"), (0x84, "EXT4"), (0x97, "NEXT_BUFFER")] {
        let message = refused(&[0x80, 2, b'N', code, b'.']);
        assert_eq!(message, format!("opcode {name} (0x{code:02x}) at byte 3 of the pickle is not accepted"));
    }
    assert!(refused(b"\x80\x02\x00").contains("opcode unknown (0x00) at byte 2"));
    assert!(refused(b"\x80\x06.").contains("PROTO at byte 0 of the pickle needs a protocol from 0 to 5"));
}

#[test]
fn operands_that_are_not_there_are_errors() {
    for (bytes, message) in [
        (&b"."[..], "STOP at byte 0 of the pickle needs another value on the stack"),
        (b"(.", "STOP at byte 1 of the pickle needs another value on the stack"),
        (b"t.", "TUPLE at byte 0 of the pickle needs a mark on the stack"),
        (b"N(\x85.", "TUPLE1 at byte 2 of the pickle needs another value on the stack"),
        (b"h\x00.", "BINGET at byte 0 of the pickle needs a memo that was filled"),
        (b"NNa.", "APPEND at byte 2 of the pickle needs a list"),
        (b"}(Nu.", "SETITEMS at byte 3 of the pickle needs a dict, and a value for every key"),
        (b"NNR.", "REDUCE at byte 2 of the pickle needs a global and a tuple"),
        (b"ctorch\nFloatStorage\n)R.", "REDUCE at byte 21 of the pickle needs a global that can be called"),
        (b"NNb.", "BUILD at byte 2 of the pickle needs an object that has a state"),
        (b"\x8a\x11.", "LONG1 at byte 0 of the pickle needs an integer of at most 16 bytes"),
        (b"Ix\n.", "INT at byte 0 of the pickle needs a decimal integer"),
        (b"X\x01\x00\x00\x00\xff.", "BINUNICODE at byte 0 of the pickle needs text in UTF-8"),
    ] {
        let found = refused(bytes);
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn lengths_beyond_the_end_are_errors() {
    for bytes in [
        &b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"X\xff\xff\xff\xff.",
        b"B\xff\xff\xff\xff.",
        b"C\x05abc.",
        b"J\x00",
        b"cos",
    ] {
        assert!(refused(bytes).starts_with("the operand of opcode "));
    }
    assert_eq!(refused(b"N"), "the opcode at byte 1 of the pickle cannot be read");
    let line = [b"L".as_slice(), &[b'1'; 1000]].concat();
    assert!(refused(&line).contains("LONG at byte 0"));
}

#[test]
fn a_container_that_holds_itself_is_refused() {
    for bytes in [
        &b"]q\x00h\x00a."[..],
        b"}q\x00K\x01h\x00s.",
        b"]q\x00h\x00\x85a.",
        b"]q\x00]h\x00aa.",
        b"]q\x00}K\x01h\x00sa.",
    ] {
        let message = refused(bytes);
        assert_eq!(message, "the pickle has a container that contains itself", "{bytes:?}");
    }
    // The same value twice is not a cycle.
    assert!(read(b"(]q\x00h\x00t.").is_ok());
}

#[test]
fn deep_nesting_is_refused() {
    let tuples = |depth: usize| [b"(".repeat(depth), b"t".repeat(depth), b".".to_vec()].concat();
    let wrapped = |depth: usize| [&b")"[..], &b"\x85".repeat(depth), b"."].concat();
    assert!(read(&wrapped(62)).is_ok());
    let lists = [b"]".repeat(100), b"a".repeat(99), b".".to_vec()].concat();
    for bytes in [wrapped(64), wrapped(200_000), tuples(100), lists] {
        assert_eq!(refused(&bytes), "the values of the pickle are nested more than 64 deep");
    }
    assert!(refused(&tuples(100_000)).contains("more than 65536 values on its stack"));
}

#[test]
fn huge_counts_are_refused() {
    assert!(refused(&b"N".repeat(100_000)).contains("more than 65536 values on its stack"));
    let values = [b"]".as_slice(), &b"Na".repeat(300_000), b"."].concat();
    assert!(refused(&values).contains("more than 262144 values"));
    let steps = [b"]q\x00Nq\x01".as_slice(), &b"h\x01q\x01\x94".repeat(1_000_000)].concat();
    assert!(refused(&steps).contains("65536 values on its stack"));
    let steps = [b"N".as_slice(), &b"q\x01".repeat(2_500_000)].concat();
    assert!(refused(&steps).contains("more than 2097152 opcodes"));
    let text =
        [b"]".as_slice(), &[b"X\x00\x04\x00\x00".as_slice(), &[b'a'; 1024], b"a"].concat().repeat(5000)].concat();
    assert!(refused(&text).contains("more than 4194304 bytes of text"));
    assert!(refused(b"Nr\xff\xff\xff\xff.").contains("more than 262144 memos"));
}

#[test]
fn a_large_tuple_that_is_called_again_and_again_costs_nothing() {
    let tuple = [b"(".as_slice(), &b"N".repeat(60_000), b"tq\x00\x85q\x01cbuiltins\ntuple\nq\x02"].concat();
    let calls = [b"]".as_slice(), &tuple, &b"h\x02h\x01R".repeat(100_000)].concat();
    assert!(refused(&calls).contains("65536 values on its stack"));
    let calls = [b"]q\x03(".as_slice(), &tuple, b"e", &b"h\x02h\x01Ra".repeat(400_000), b"."].concat();
    assert!(read(&calls).is_ok());
}

/// A pickled dict.
fn dict(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(name, value): &(&str, &[u8])| {
        [b"X", &u32::try_from(name.len()).unwrap().to_le_bytes()[..], name.as_bytes(), value].concat()
    };
    [b"}(".to_vec(), entries.iter().flat_map(entry).collect(), b"u".to_vec()].concat()
}

/// Places that are told at most.
const SHOWN_OTHERS: usize = 5;

/// Where the weights of a checkpoint are, and the other places; numbers stand for arrays.
fn place(checkpoint: &[u8]) -> (String, Vec<String>) {
    let pickle = read(&[b"\x80\x02", checkpoint, b"."].concat()).unwrap();
    let weights = pickle.weights(None, |value| matches!(pickle.value(value), Value::Int(_))).unwrap().unwrap();
    (weights.place, weights.others)
}

#[test]
fn weights_are_found_where_trainers_put_them() {
    let network = dict(&[("base.0.weight", b"K\x01"), ("base.0.bias", b"K\x02"), ("base.1.weight", b"K\x03")]);
    let small = dict(&[("loss", b"K\x04")]);
    let only = |name: &str| (name.to_owned(), Vec::new());
    assert_eq!(place(&network), only(""));
    for name in ["state_dict", "model_state_dict", "model_state", "model", "net", "ema", "weights of mine"] {
        assert_eq!(place(&dict(&[("epoch", b"K\x07"), ("metrics", &small), (name, &network)])), only(name));
    }
    let nested = dict(&[("checkpoint", &dict(&[("epoch", b"N"), ("model", &network)]))]);
    assert_eq!(place(&nested), only("checkpoint.model"));
    // Averaged weights, wherever they are written.
    let two = dict(&[("state_dict", &network), ("state_dict_ema", &network)]);
    assert_eq!(place(&two), ("state_dict_ema".to_owned(), vec!["state_dict".to_owned()]));
    for name in ["ema_model", "params_ema", "swa_model", "averaged_model", "modelEma"] {
        assert_eq!(place(&dict(&[("net", &network), (name, &network)])), (name.to_owned(), vec!["net".to_owned()]));
    }
    // A larger network is taken whatever its name, and the other one is told.
    let half = dict(&[("base.0.weight", b"K\x01"), ("base.0.bias", b"K\x02")]);
    let unequal = dict(&[("ema", &half), ("net", &network)]);
    assert_eq!(place(&unequal), ("net".to_owned(), vec!["ema".to_owned()]));
    let pair = dict(&[("student", &network), ("teacher", &network)]);
    assert_eq!(place(&pair), ("teacher".to_owned(), vec!["student".to_owned()]));
    let inside = dict(&[("model", &network), ("ema", &dict(&[("module", &network), ("updates", b"N")]))]);
    assert_eq!(place(&inside), ("ema.module".to_owned(), vec!["model".to_owned()]));
    // Averaged parameters without the statistics of batch norms are not a network.
    let whole = dict(&[("a.weight", b"K\x01"), ("a.running_mean", b"K\x02"), ("a.num_batches_tracked", b"K\x03")]);
    let averaged = dict(&[("n_averaged", b"K\x09"), ("a.weight", b"K\x01"), ("a.running_mean", b"K\x02")]);
    let shadow = dict(&[("a.weight", b"K\x01")]);
    let raw = ("state_dict".to_owned(), vec!["ema".to_owned()]);
    assert_eq!(place(&dict(&[("state_dict", &whole), ("ema", &shadow)])), raw);
    let both = ("ema".to_owned(), vec!["state_dict".to_owned()]);
    assert_eq!(place(&dict(&[("state_dict", &whole), ("ema", &averaged)])), both);
    assert_eq!(place(&dict(&[("a", b"N")])), only(""));
}

#[test]
fn the_weights_at_a_place_that_is_asked_for_are_taken() {
    let network = dict(&[("base.0.weight", b"K\x01"), ("base.0.bias", b"K\x02")]);
    let small = dict(&[("a.weight", b"K\x03")]);
    let inside = dict(&[("student", &network), ("module", &small), ("epoch", b"N")]);
    let checkpoint = dict(&[("ema", &inside), ("teacher", &network), ("args", &dict(&[("a", b"N")]))]);
    let pickle = read(&[b"\x80\x02", &checkpoint[..], b"."].concat()).unwrap();
    let at = |place| pickle.weights(Some(place), |value| matches!(pickle.value(value), Value::Int(_)));
    for (place, entries) in [("ema.student", 2), ("ema.module", 1), ("teacher", 2)] {
        let weights = at(place).unwrap().unwrap();
        assert_eq!((weights.entries.len(), weights.place.as_str()), (entries, place));
    }
    // A prefix of names, and the only dict within.
    let joined = dict(&[("a.base.0.weight", b"K\x01"), ("b.base.0.weight", b"K\x02"), ("b.base.0.bias", b"K\x03")]);
    let inside = dict(&[("state_dict", &joined), ("ema", &dict(&[("module", &network)]))]);
    let prefixed = read(&[b"\x80\x02", &inside[..], b"."].concat()).unwrap();
    for (place, found, entries) in
        [("state_dict.b", "state_dict.b", 2), ("state_dict.a.", "state_dict.a.", 1), ("ema", "ema.module", 2)]
    {
        let weights = prefixed.weights(Some(place), |value| matches!(prefixed.value(value), Value::Int(_)));
        let weights = weights.unwrap().unwrap();
        assert_eq!((weights.entries.len(), weights.place.as_str()), (entries, found));
    }
    assert!(prefixed.weights(Some("state_dict.c"), |_| true).is_err());
    for place in ["student", "args", ""] {
        let message = at(place).unwrap_err().to_string();
        assert!(message.ends_with("there are some at `teacher`, `ema.student`, `ema.module`"), "{message}");
    }
}

#[test]
fn a_checkpoint_of_many_dicts_with_long_names_takes_little_memory() {
    // Every dict holds the next ones under the same long name.
    let name = "n".repeat(1000);
    let leaf = dict(&[("w", b"K\x01")]);
    let many = |inner: &[u8], count: usize| {
        let items: Vec<(&str, &[u8])> = (0..count).map(|_| (name.as_str(), inner)).collect();
        dict(&items)
    };
    let (found, others) = place(&many(&many(&leaf, 60), 50));
    assert_eq!((found.len(), others.len()), (2 * 1000 + 1, SHOWN_OTHERS));
}

#[test]
fn plain_data_beside_the_weights_is_passed_over() {
    // Written by Python's `pickle.dumps(optimize(…))`: a Namespace with a path, a set, a frozenset, a defaultdict, a Counter,
    // a datetime, a complex number, and a type and a size of PyTorch.
    let network = dict(&[("base.0.weight", b"K\x01"), ("base.0.bias", b"K\x02")]);
    for beside in [
        &b"cargparse\nNamespace\n)\x81}(X\x02\0\0\0lrG\x3f\xb9\x99\x99\x99\x99\x99\x9aX\x04\0\0\0datacpathlib\nPosixPath\n\
            X\x01\0\0\0/X\x01\0\0\0xX\x01\0\0\0y\x87Rub"[..],
        b"c__builtin__\nset\n](K\x01K\x02e\x85R",
        b"\x8f(K\x01K\x02\x90",
        b"(K\x01\x91",
        b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RX\x01\0\0\0a]K\x01as",
        b"ccollections\nCounter\n}(X\x01\0\0\0aK\x02u\x85R",
        b"cdatetime\ndatetime\nC\x0a\x07\xe4\x01\x02\x03\x04\0\0\0\0\x85R",
        b"c__builtin__\ncomplex\nG\0\0\0\0\0\0\0\0G\x3f\xf0\0\0\0\0\0\0\x86R",
        b"ctorch\nfloat32\n",
        b"ctorch\nSize\n(K\x01K\x02t\x85R",
        b"ctorch\ndevice\nX\x03\0\0\0cpu\x85R",
    ] {
        let checkpoint = dict(&[("beside", beside), ("model", &network)]);
        assert_eq!(place(&checkpoint), ("model".to_owned(), Vec::new()), "{}", String::from_utf8_lossy(beside));
    }
}
