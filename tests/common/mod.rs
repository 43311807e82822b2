//! Shared by the tests of the whole program: running it with a limit, reading its records, making media with real
//! encoders.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs, and fails by panicking"
)]

pub mod broker;
pub mod colours;
pub mod http;
pub mod https;
pub mod onnx;
pub mod paddle;
pub mod picky_broker;
pub mod preload;
pub mod subscriber;
pub mod tls;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than a program takes on a very busy machine; a test that hangs is ended then.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Longer than a single step of a running program takes there.
const STEP: Duration = Duration::from_secs(300);

/// Time limit of a stop in seconds in tests that are not about that limit.
pub const LONG_STOP: &str = "30";

/// The output and status of a finished program.
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// The records on standard output, each checked against the published schema; any other line
    /// is a failure.
    pub fn records(&self) -> Vec<Value> {
        assert_eq!(self.code(), 0, "{}", self.stderr);
        records(&self.stdout)
    }

    /// The last line of standard error: the message of a failed program.
    pub fn message(&self) -> &str {
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr.trim_end()
    }
}

/// The program, isolated from the machine's own settings. A daemon without a configuration file gets [`LONG_STOP`] as
/// the time limit for work in flight.
pub fn hardnetd<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hardnetd"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HARDNETD_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("CREDENTIALS_DIRECTORY").env_remove("JOURNAL_STREAM");
    // Keeps the program's files out of the user's own folder.
    command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
    let has_file = command.get_args().any(|argument| argument == "-c");
    if command.get_args().next().is_some_and(|first| first == "run") && !has_file {
        command.env("HARDNETD__DEVICE__STOP_TIMEOUT_S", LONG_STOP);
    }
    command
}

/// A started program that is killed when the test ends.
pub struct Running {
    pub child: Child,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().map(Reader::of);
        let stderr = child.stderr.take().map(Reader::of);
        Self { child, stdout, stderr }
    }

    /// Like `start`, but leaves standard output to the test.
    pub fn start_with_output(command: &mut Command) -> (Self, std::process::ChildStdout) {
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().map(Reader::of);
        (Self { child, stdout: None, stderr }, stdout)
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Standard output so far.
    pub fn output(&self) -> String {
        self.stdout.as_ref().map(Reader::text).unwrap_or_default()
    }

    /// Standard error so far.
    pub fn log(&self) -> String {
        self.stderr.as_ref().map(Reader::text).unwrap_or_default()
    }

    pub fn finish(mut self) -> Outcome {
        let end = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                self.child.kill().unwrap();
                panic!("the program did not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |reader: Option<Reader>| reader.map(Reader::finish).unwrap_or_default();
        Outcome { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) }
    }
}

impl Drop for Running {
    #[allow(clippy::print_stderr, reason = "the output of a test that fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program's log until the test failed:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects the output of a pipe.
struct Reader {
    thread: JoinHandle<()>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Reader {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                kept.lock().unwrap().extend(&buffer[..length]);
            }
        });
        Self { thread, bytes }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn finish(self) -> String {
        self.thread.join().unwrap();
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

/// Runs the program to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    Running::start(&mut hardnetd(arguments)).finish()
}

/// Parses lines of JSON and checks each against the schema of result records.
pub fn records(lines: &str) -> Vec<Value> {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let schema = include_str!("../../assets/hardnetd.result.v1.schema.json");
        jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
    });
    let check = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Err(error) = schema.validate(&record) {
            panic!("{error}: {line}");
        }
        record
    };
    lines.lines().map(check).collect()
}

pub fn seqs(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["seq"].as_u64().unwrap()).collect()
}

/// Checks that the records of one stream and one run are numbered according to the schema.
pub fn numbers_add_up(records: &[Value]) {
    let mut next = 0;
    for record in records {
        let number = |name: &str| record[name].as_u64().unwrap();
        assert_eq!(number("seq"), next + number("dropped"), "{records:?}");
        assert_eq!(record["run"], records[0]["run"]);
        next = number("seq") + 1;
    }
}

pub fn of_stream<'a>(records: &'a [Value], stream: &'a str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["stream"] == stream).collect()
}

/// Waits until `ready` returns something.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + STEP;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A JPEG with an EXIF block that contains only the orientation (Exif 2.3, tag 0x0112).
pub fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff =
        [b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0, 0]]
            .concat();
    let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &tiff, &jpeg[2..]].concat()
}

pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("hardnetd-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A file of the repository's test data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Runs a GStreamer pipeline to its end: `text` up to the `filesink`, whose file is `path`.
pub fn encode(text: &str, path: &Path) {
    let log = File::create(path.with_extension("log")).unwrap();
    let status = Command::new("gst-launch-1.0")
        .arg("-q")
        .args(text.split_whitespace())
        .args(["!", "filesink"])
        .arg(format!("location={}", path.display()))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .expect("gst-launch-1.0 is installed");
    assert!(status.success(), "{text}: {}", std::fs::read_to_string(path.with_extension("log")).unwrap());
}

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
