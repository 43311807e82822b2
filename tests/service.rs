//! The program as a service: signals, systemd's protocol, threads and cores.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::broker::Broker;
use common::subscriber::Subscriber;
use common::{Running, encode, folder, hardnetd, wait_for};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;
use tempfile::TempDir;

/// Comm and allowed CPUs of every thread (proc(5), status).
fn threads(pid: i32) -> Vec<(String, String)> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        threads.push((field("Name"), field("Cpus_allowed_list")));
    }
    threads
}

/// Cores that this process may use.
fn cores() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[test]
fn inference_threads_run_on_their_cores_and_every_thread_has_a_name() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let core = *cores().last().unwrap();
    let text = format!("[[stream]]\nname = \"door\"\nsource = \"test:ball\"\n[inference]\ncores = [{core}]\n");
    fs::write(&config, text).unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    // A thread that has just been started has the program's name until it sets its own.
    let unnamed = |name: &str| name.is_empty() || name == "hardnetd";
    let seen = wait_for("the streaming thread, and a name of every thread but the main one", || {
        let threads = threads(running.pid());
        let started = threads.iter().any(|(name, _)| name.contains("source:src"));
        (started && threads.iter().filter(|(name, _)| unnamed(name)).count() == 1).then_some(threads)
    });
    let inference: Vec<_> = seen.iter().filter(|(name, _)| name.starts_with("infer-")).collect();
    assert_eq!(inference, [&("infer-0".to_owned(), core.to_string())]);
    for name in ["publish", "signals", "cap-door"] {
        assert!(seen.iter().any(|(thread, _)| thread == name), "{name} is not among {seen:?}");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
}

#[test]
fn workers_and_the_threads_of_one_share_the_cores_out() {
    let cores = cores();
    if cores.len() < 2 {
        return;
    }
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    for (setting, second) in [("workers = 2", "infer-1"), ("threads = 2", "infer-0.1")] {
        let text = format!(
            "[[stream]]\nname = \"a\"\nsource = \"test:ball\"\n[[stream]]\nname = \"b\"\nsource = \"test:ball\"\n\
             [inference]\n{setting}\ncores = [{}, {}]\n",
            cores[1], cores[0]
        );
        fs::write(&config, text).unwrap();
        let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
        let of = |worker: &str| {
            wait_for(worker, || {
                let allowed = threads(running.pid()).into_iter().find(|(name, _)| name == worker)?.1;
                (allowed.parse() == Ok(cores[0]) || allowed.parse() == Ok(cores[1])).then_some(allowed)
            })
        };
        assert_eq!((of("infer-0"), of(second)), (cores[1].to_string(), cores[0].to_string()));
        running.signal(Signal::TERM);
        assert_eq!(running.finish().code(), 0);
    }
}

#[test]
fn a_stop_at_full_load_finishes_what_is_in_flight_and_leaves_whole_lines() {
    for (signal, source) in
        [(Signal::TERM, "test:ball?live=false"), (Signal::INT, "test:ball"), (Signal::TERM, "test:snow?size=1920x1080")]
    {
        let folder = folder();
        let path = folder.path().join("results.jsonl");
        let mut command = hardnetd(["run", "--source", source, "--source", source, "--model", "hardnet68ds"]);
        command.stdout(fs::File::create(&path).unwrap());
        let running = Running::start(&mut command);
        wait_for("results", || (fs::read_to_string(&path).ok()?.lines().count() >= 5).then_some(()));
        running.signal(signal);
        // The sources have no end, so the program ends because of the stop.
        let outcome = running.finish();
        assert_eq!(outcome.code(), 0, "{source}: {}", outcome.stderr);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("}\n"), "{source}");
        common::records(&text);
    }
}

/// The numbers of the last line that reports the end of a stream.
fn counts(log: &str) -> [u64; 4] {
    let line = log.lines().rfind(|line| line.contains("stream ended")).expect("the stream ended");
    ["captured=", "classified=", "dropped=", "failed="].map(|name| {
        let digits = line.split_once(name).expect(name).1;
        digits.split_whitespace().next().unwrap().parse().unwrap()
    })
}

#[test]
fn the_counters_of_a_stream_add_up_however_it_ends() {
    for source in ["test:ball?size=64x64", "test:ball?size=64x64&live=false"] {
        let outcome = common::run(["run", "--frames", "3", "--source", source]);
        let [captured, classified, dropped, failed] = counts(&outcome.stderr);
        assert_eq!(classified, 3);
        assert_eq!(captured, classified + dropped + failed, "{source}: {}", outcome.stderr);

        let running = Running::start(&mut hardnetd(["run", "--source", source]));
        wait_for("a result", || running.output().contains('\n').then_some(()));
        running.signal(Signal::TERM);
        let outcome = running.finish();
        let [captured, classified, dropped, failed] = counts(&outcome.stderr);
        assert!(classified > 0, "{source}: {}", outcome.stderr);
        assert_eq!(captured, classified + dropped + failed, "{source}: {}", outcome.stderr);
    }
}

/// A pipe that is full, and stays so while its reading end lives: writers block.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        let full = std::iter::repeat_with(|| writer.write(&vec![b'\n'; size])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer)
}

/// Starts the program on an endless source, with its output into a full pipe, and waits until there is a result that
/// cannot be written; `stop_timeout` is in seconds.
fn started_into_a_full_pipe(stop_timeout: f64) -> (Running, Notified, PipeReader) {
    let systemd = Notified::new();
    systemd.configure(&format!(
        "[device]\nstop_timeout_s = {stop_timeout}\n\
         [[stream]]\nname = \"door\"\nsource = \"test:ball?live=false&size=64x64\"\n"
    ));
    let (reader, writer) = full_pipe();
    let running = Running::start(systemd.command().stdout(writer));
    // A stream whose rate is reported has had a result.
    systemd.wait("results/s; ");
    (running, systemd, reader)
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_a_stop() {
    let (running, _systemd, _reader) = started_into_a_full_pipe(1.0);
    running.signal(Signal::TERM);
    // The pipe stays full: only the time limit of the stop ends it.
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("stopped without finishing"), "{}", outcome.stderr);
}

#[test]
fn two_signals_together_are_one() {
    let (running, _systemd, _reader) = started_into_a_full_pipe(1.0);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let (running, systemd, _reader) = started_into_a_full_pipe(60.0);
    running.signal(Signal::TERM);
    systemd.wait("STOPPING=1");
    // Signals that come together with the first count as one with it.
    for _ in 0..20 {
        running.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(100));
    }
    let outcome = running.finish();
    // At the time limit of the stop, the code would be 0.
    assert_eq!(outcome.code(), 128 + 15, "{}", outcome.stderr);
}

/// systemd's end of `$NOTIFY_SOCKET` (sd_notify(3)).
struct Notified {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Notified {
    fn new() -> Self {
        let folder = folder();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(common::LIMIT)).unwrap();
        Self { folder, socket }
    }

    /// Writes a configuration into the folder of the socket.
    fn configure(&self, text: &str) {
        fs::write(self.folder.path().join("hardnetd.toml"), text).unwrap();
    }

    /// The daemon with that configuration.
    fn command(&self) -> Command {
        let mut command = hardnetd(["run", "-c", self.folder.path().join("hardnetd.toml").to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        // A small network, so that a busy machine gives results too.
        command.env("HARDNETD__MODEL__SIZE", "32x32");
        command
    }

    /// Starts it with results into a file; `watchdog` is the watchdog interval, if any.
    fn start(&self, watchdog: Option<Duration>) -> Running {
        let mut command = self.command();
        command.stdout(self.results());
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        Running::start(&mut command)
    }

    /// The file that results are appended to.
    fn results(&self) -> fs::File {
        fs::File::options().create(true).append(true).open(self.folder.path().join("results.jsonl")).unwrap()
    }

    /// The names of the streams with results, in order and once each.
    fn streams(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("results.jsonl")).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut names: Vec<String> =
            common::records(whole).iter().map(|record| record["stream"].as_str().unwrap().to_owned()).collect();
        names.dedup();
        names
    }

    /// The next message.
    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// The next message with `part`, skipping others.
    fn wait(&self, part: &str) -> String {
        wait_for(part, || Some(self.next()).filter(|message| message.contains(part)))
    }

    /// Asks for a reload, and waits until the service is ready again.
    fn reload(&self, running: &Running) {
        running.signal(Signal::HUP);
        self.wait("RELOADING=1");
        self.wait("READY=1");
    }

    /// The messages received by the time that `ready` accepts them.
    fn until(&self, what: &str, ready: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut messages = Vec::new();
        self.socket.set_nonblocking(true).unwrap();
        wait_for(what, || {
            // Messages sent before `ready` looks are included afterwards.
            let is_ready = ready(&messages);
            let mut buffer = [0; 1024];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            is_ready.then_some(())
        });
        self.socket.set_nonblocking(false).unwrap();
        messages
    }
}

const DOOR: &str = "[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64\"\n";

fn signs_of_life(messages: &[String]) -> usize {
    messages.iter().filter(|message| message.contains("WATCHDOG=1")).count()
}

#[test]
fn systemd_is_told_ready_status_and_stopping() {
    let systemd = Notified::new();
    systemd.configure(DOOR);
    let running = systemd.start(None);
    assert!(systemd.next().contains("READY=1"));
    let status = systemd.wait("results/s; ");
    assert!(status.starts_with("STATUS=door: "), "{status}");
    running.signal(Signal::TERM);
    systemd.wait("STOPPING=1");
    assert_eq!(running.finish().code(), 0);
}

#[test]
fn the_watchdog_is_fed_while_there_is_progress() {
    let systemd = Notified::new();
    systemd.configure(DOOR);
    let running = systemd.start(Some(Duration::from_secs(6)));
    systemd.wait("READY=1");
    // Three come within the limit, so the last of these comes after it.
    systemd.until("signs of life", |messages| signs_of_life(messages) >= 4);
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert!(!outcome.stderr.contains("no progress"), "{}", outcome.stderr);
}

#[test]
fn the_watchdog_is_not_fed_when_a_worker_stands_still() {
    let systemd = Notified::new();
    systemd.configure(&format!("{DOOR}[debug]\nwedge_after = 3\n"));
    let running = systemd.start(Some(Duration::from_secs(1)));
    systemd.wait("READY=1");
    // From the first complaint about the worker, which never continues.
    let complaints = || {
        let log = running.log();
        let (_, after) = log.split_once("freezing an inference thread").unwrap_or_default();
        after.lines().filter(|line| line.contains("no progress") && line.contains("infer-0")).count()
    };
    systemd.until("the first missed sign of life", |_| complaints() >= 1);
    let after = systemd.until("further ones", |_| complaints() >= 6);
    assert_eq!(signs_of_life(&after), 0, "{after:?}");
    running.signal(Signal::TERM);
    running.finish();
}

#[test]
fn the_watchdog_is_fed_while_a_camera_is_away() {
    let systemd = Notified::new();
    let port = common::free_port();
    let source = format!("rtsp://127.0.0.1:{port}/camera");
    systemd.configure(&format!("[[stream]]\nname = \"door\"\nsource = \"{source}\"\nretry_max_s = 5.0\n"));
    let running = systemd.start(Some(Duration::from_secs(6)));
    systemd.wait("READY=1");
    systemd.until("signs of life, and a state, while the camera is away", |messages| {
        signs_of_life(messages) >= 4
            && messages.iter().any(|message| message.contains("door: source down, retrying"))
            && running.log().matches("will be reopened").count() >= 3
    });
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("no progress"), "{}", outcome.stderr);
}

#[test]
fn a_reload_applies_a_changed_stream_in_the_same_process() {
    let systemd = Notified::new();
    systemd.configure(DOOR);
    let running = systemd.start(None);
    systemd.wait("READY=1");
    wait_for("results", || (systemd.streams() == ["door"]).then_some(()));

    systemd.configure(&DOOR.replace("door", "yard"));
    running.signal(Signal::HUP);
    assert!(systemd.wait("RELOADING=1").contains("MONOTONIC_USEC="));
    systemd.wait("READY=1");
    wait_for("results of the new stream", || (systemd.streams() == ["door", "yard"]).then_some(()));

    // A wrong configuration changes nothing, and is reported.
    systemd.configure("[inference]\nworkers = -1\n");
    systemd.reload(&running);
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("is not reloaded") && outcome.stderr.contains("workers"), "{}", outcome.stderr);
    assert_eq!(systemd.streams(), ["door", "yard"]);
}

/// Two streams, the second with `pattern`, and MQTT; then `rest`, which may begin with keys of MQTT.
fn two_streams(port: u16, pattern: &str, rest: &str) -> String {
    let yard = format!("[[stream]]\nname = \"yard\"\nsource = \"test:{pattern}?size=64x64\"\n");
    let mqtt = format!("[publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\n");
    format!("[device]\nname = \"pi\"\n{DOOR}{yard}{mqtt}{rest}")
}

/// The states of a stream that were published since it was first online.
fn states(subscriber: &Subscriber, stream: &str) -> Vec<String> {
    let topic = format!("hardnetd/pi/{stream}/status ");
    let of = |line: &String| line.split_once(&topic).map(|(_, state)| state.to_owned());
    subscriber.lines().iter().filter_map(of).skip_while(|state| state != "online").collect()
}

#[test]
fn a_reload_leaves_a_stream_alone_that_has_not_changed() {
    let broker = Broker::start("allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    let systemd = Notified::new();
    systemd.configure(&two_streams(broker.port, "ball", ""));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    subscriber.wait("hardnetd/pi/door/status online");
    let reload = |pattern: &str, rest: &str| {
        systemd.configure(&two_streams(broker.port, pattern, rest));
        systemd.reload(&running);
    };
    // More inference threads, and another model.
    let changes = [("snow", "[inference]\nworkers = 2\n"), ("smpte", "[model]\nname = \"hardnet68ds\"\n")];
    for (index, (pattern, rest)) in changes.into_iter().enumerate() {
        let online = || states(&subscriber, "yard").iter().filter(|state| *state == "online").count();
        wait_for("the second stream", || (online() > index).then_some(()));
        reload(pattern, rest);
    }
    let results = || fs::read_to_string(systemd.folder.path().join("results.jsonl")).unwrap();
    // The other stream may be the first with a result of it.
    let is_seen = |line: &str| line.contains("\"stream\":\"door\"") && line.contains("hardnet68ds");
    wait_for("the new model", || results().lines().any(is_seen).then_some(()));
    let door = states(&subscriber, "door");
    assert!(!door.contains(&"offline".to_owned()), "{door:?}");
    // A new connection learns the state.
    reload("smpte", "keep_alive_s = 20\n");
    let connected = || subscriber.lines().iter().filter(|line| line.ends_with("pi/status online")).count() == 2;
    wait_for("the new connection", || connected().then_some(()));
    Subscriber::start(broker.port, &[]).wait("hardnetd/pi/door/status online");
    subscriber.wait("hardnetd/pi/yard/result ");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    subscriber.wait("hardnetd/pi/status stopped");
    let log = &outcome.stderr;
    assert_eq!(log.matches("unchanged=1 started=1").count(), 2, "{log}");
    assert_eq!(log.matches("unchanged=2 started=0").count(), 1, "{log}");
    let ends = |stream: &str| log.lines().filter(|line| line.contains("stream ended") && line.contains(stream)).count();
    assert_eq!((ends("door"), ends("yard")), (1, 3), "{log}");
    for stream in ["door", "yard"] {
        // The broker's messages may come after the program's end.
        let is_offline = || states(&subscriber, stream).last().is_some_and(|state| state == "offline");
        wait_for("the last state", || is_offline().then_some(()));
    }
    let records = common::records(&results());
    let door: Vec<_> = common::of_stream(&records, "door").into_iter().cloned().collect();
    common::numbers_add_up(&door);
    let models: Vec<_> = door.iter().map(|record| record["model"]["name"].as_str().unwrap()).collect();
    assert!(models.contains(&"hardnet68ds") && models.contains(&"signal"), "{models:?}");
}

/// Its inference thread cannot give it up.
#[test]
fn a_stream_whose_inference_thread_hangs_starts_again_at_a_reload() {
    let broker = Broker::start("allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    let systemd = Notified::new();
    let wedge = "[debug]\nwedge_after = 3\n[inference]\nworkers = 2\n";
    systemd.configure(&two_streams(broker.port, "ball", wedge));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    wait_for("both threads to hang", || {
        (running.log().matches("freezing an inference thread").count() == 2).then_some(())
    });
    systemd.configure(&two_streams(broker.port, "ball", ""));
    systemd.reload(&running);
    let before = subscriber.results();
    wait_for("results again", || (subscriber.results() > before + 10).then_some(()));
    assert!(running.log().contains("unchanged=0 started=2"), "{}", running.log());
    for stream in ["door", "yard"] {
        assert_eq!(states(&subscriber, stream).last().unwrap(), "online");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
}

/// Its thread is most likely reading a large picture when it is stopped.
#[test]
fn a_source_that_stops_late_leaves_the_other_stream_of_its_inference_thread_alone() {
    let systemd = Notified::new();
    let pictures = systemd.folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let first = pictures.join("0.jpg");
    encode("videotestsrc num-buffers=1 ! video/x-raw,width=8000,height=6000 ! jpegenc", &first);
    for number in 1..200 {
        fs::hard_link(&first, pictures.join(format!("{number}.jpg"))).unwrap();
    }
    let with = |source: &str| {
        systemd.configure(&format!(
            "[device]\nstop_timeout_s = 0.5\n{DOOR}[[stream]]\nname = \"yard\"\nsource = \"{source}\"\n"
        ));
    };
    with(&format!("images:{}", pictures.display()));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    wait_for("results of both", || {
        ["door", "yard"].iter().all(|name| systemd.streams().contains(&(*name).to_owned())).then_some(())
    });
    with("test:snow?size=64x64");
    systemd.reload(&running);
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("unchanged=1 started=1"), "{}", outcome.stderr);
}

/// What the thread has not read must not hold the next pipeline open.
#[test]
fn a_service_whose_thread_hung_before_a_reload_ends_with_its_last_stream() {
    let systemd = Notified::new();
    systemd.configure(&format!("{DOOR}[debug]\nwedge_after = 3\n"));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    wait_for("the thread to hang", || running.log().contains("freezing an inference thread").then_some(()));
    systemd.configure("[[stream]]\nname = \"file\"\nsource = \"test:ball?size=64x64&frames=30&live=false\"\n");
    running.signal(Signal::HUP);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("captured=30 classified=30"), "{}", outcome.stderr);
}

#[test]
fn a_stop_during_the_switch_ends_the_streams_that_were_to_go_on() {
    let broker = Broker::start("allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    let systemd = Notified::new();
    // The switch waits for the thread of the second stream, which hangs. The first one has few results.
    let configure = |pattern: &str, rest: &str| {
        let text = two_streams(broker.port, pattern, rest);
        systemd.configure(&text.replace(DOOR, &format!("{DOOR}max_fps = 1\n")));
    };
    configure("ball", "[debug]\nwedge_after = 40\n[inference]\nworkers = 2\n");
    let running = systemd.start(None);
    systemd.wait("READY=1");
    subscriber.wait("hardnetd/pi/door/status online");
    wait_for("a thread to hang", || running.log().contains("freezing an inference thread").then_some(()));
    configure("snow", "[inference]\nworkers = 2\n");
    running.signal(Signal::HUP);
    wait_for("the switch", || running.log().contains("ready for the reload").then_some(()));
    // One of the old threads ends, and the new ones are ready.
    let inference = || threads(running.pid()).iter().filter(|(name, _)| name.starts_with("infer-")).count();
    wait_for("the other thread to end", || (inference() == 3).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    subscriber.wait("hardnetd/pi/status stopped");
    for stream in ["door", "yard"] {
        assert_eq!(states(&subscriber, stream).last().unwrap(), "offline", "{stream}");
    }
}

/// The effects of a failed reload: the old configuration stays in force, and results continue, in the same process.
fn refused(systemd: &Notified, running: &Running) {
    systemd.reload(running);
    let results = || fs::read_to_string(systemd.folder.path().join("results.jsonl")).unwrap().lines().count();
    let before = results();
    wait_for("more results", || (results() > before + 2).then_some(()));
}

#[test]
fn a_reload_that_cannot_start_leaves_the_old_configuration_in_force() {
    let systemd = Notified::new();
    systemd.configure(DOOR);
    let running = systemd.start(None);
    systemd.wait("READY=1");
    let yard = DOOR.replace("door", "yard");
    // A core that no machine has, a missing file, a missing broker authority, missing labels, no streams.
    for wrong in [
        format!("{yard}[inference]\ncores = [1023]\n"),
        "[[stream]]\nname = \"yard\"\nsource = \"/nonexistent/clip.mp4\"\n".to_owned(),
        format!("{yard}[publish.mqtt]\nenabled = true\ntls = true\nca_file = \"/nonexistent/ca.pem\"\n"),
        format!("{yard}[model]\nlabels = \"/nonexistent/labels.txt\"\n"),
        // As an editor may leave it for a moment.
        String::new(),
    ] {
        systemd.configure(&wrong);
        refused(&systemd, &running);
    }
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("the old one stays in force").count(), 5, "{}", outcome.stderr);
    assert_eq!(systemd.streams(), ["door"]);
}

#[test]
fn a_start_that_cannot_be_still_ends_with_its_code() {
    let systemd = Notified::new();
    systemd.configure(&format!("{DOOR}[inference]\ncores = [1023]\n"));
    let outcome = systemd.start(None).finish();
    assert_eq!(outcome.code(), 78, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("names core 1023"), "{}", outcome.stderr);
}

#[test]
fn new_content_of_a_file_under_the_same_name_is_reloaded() {
    let systemd = Notified::new();
    let file = |name: &str| systemd.folder.path().join(name);
    let labels = |first: &str| {
        let lines: Vec<String> = (0..27).map(|index| format!("{first}{index}")).collect();
        fs::write(file("labels.txt"), lines.join("\n")).unwrap();
    };
    let secret = |text: &str| fs::write(file("secret"), text).unwrap();
    labels("old");
    secret("one\n");
    let path = |name: &str| file(name).display().to_string();
    systemd.configure(&format!(
        "{DOOR}[[stream]]\nname = \"yard\"\nsource = \"rtsp://127.0.0.1:1/1\"\nusername = \"me\"\n\
         password_file = \"{}\"\n[model]\nlabels = \"{}\"\n",
        path("secret"),
        path("labels.txt")
    ));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    let labelled = |start: &str| {
        let text = fs::read_to_string(file("results.jsonl")).unwrap();
        text.contains(&format!("\"label\":\"{start}")).then_some(())
    };
    wait_for("results", || labelled("old"));
    labels("new");
    systemd.reload(&running);
    wait_for("results with the new labels", || labelled("new"));
    secret("two\n");
    systemd.reload(&running);
    // Once more, without changes.
    systemd.reload(&running);
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for name in ["labels.txt", "secret"] {
        let said = format!("the content of {}", path(name));
        assert_eq!(outcome.stderr.matches(&said).count(), 1, "{}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.matches("the configuration is the same").count(), 1, "{}", outcome.stderr);
}

/// CPU time of a process, in ticks of a hundredth of a second.
fn worked(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Waits until a process has used `ticks` of CPU time: it is then past its first steps.
fn wait_for_work(pid: i32, ticks: u64) {
    wait_for("processor time", || (worked(pid)? >= ticks).then_some(()));
}

/// Waits until a process that writes results is blocked by its reader: a second with almost no CPU time.
fn wait_for_rest(running: &Running) {
    let pid = running.pid();
    wait_for_work(pid, 5);
    wait_for("a rest", || {
        let before = worked(pid)?;
        std::thread::sleep(Duration::from_secs(1));
        (worked(pid)? <= before + 3).then_some(())
    });
}

const LARGE: &str = "[model]\nname = \"hardnet85\"\n";

#[test]
fn a_reload_that_is_asked_for_during_the_start_comes_after_it() {
    let systemd = Notified::new();
    systemd.configure(&format!("{DOOR}{LARGE}"));
    let running = systemd.start(None);
    wait_for_work(running.pid(), 20);
    for _ in 0..20 {
        running.signal(Signal::HUP);
    }
    assert!(systemd.next().contains("READY=1"));
    systemd.wait("RELOADING=1");
    systemd.wait("READY=1");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}

#[test]
fn a_stop_during_the_start_is_a_clean_end() {
    let systemd = Notified::new();
    systemd.configure(&format!("{DOOR}{LARGE}"));
    let running = systemd.start(None);
    wait_for_work(running.pid(), 20);
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!systemd.next().contains("READY=1"));
}

#[test]
fn a_reload_that_is_asked_for_during_another_comes_after_it() {
    let systemd = Notified::new();
    systemd.configure(DOOR);
    let running = systemd.start(None);
    systemd.wait("READY=1");
    systemd.configure(&format!("{DOOR}{LARGE}"));
    running.signal(Signal::HUP);
    systemd.wait("RELOADING=1");
    systemd.configure(&DOOR.replace("door", "yard"));
    running.signal(Signal::HUP);
    for part in ["READY=1", "RELOADING=1", "READY=1"] {
        systemd.wait(part);
    }
    wait_for("results of the last configuration", || systemd.streams().ends_with(&["yard".to_owned()]).then_some(()));
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
}

#[test]
fn a_reload_that_is_asked_for_after_one_that_timed_out_comes_when_that_has_ended() {
    let systemd = Notified::new();
    // Reading the model alone takes longer than the shortest limit.
    let model = systemd.folder.path().join("model.onnx");
    fs::File::create(&model).unwrap().set_len((2 << 30) - 1).unwrap();
    systemd.configure(&format!("[device]\nreload_timeout_s = 1\n{DOOR}"));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    systemd.configure(&format!("{DOOR}[model]\nname = \"{}\"\n", model.display()));
    systemd.reload(&running);
    systemd.configure(&DOOR.replace("door", "yard"));
    systemd.reload(&running);
    wait_for("results of the last configuration", || systemd.streams().ends_with(&["yard".to_owned()]).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for part in ["took longer than device.reload_timeout_s", "will be reloaded when it returns"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}

#[test]
fn a_stop_during_a_reload_is_a_clean_end_of_the_old_configuration() {
    let systemd = Notified::new();
    systemd.configure(DOOR);
    let running = systemd.start(None);
    systemd.wait("READY=1");
    wait_for("results", || (systemd.streams() == ["door"]).then_some(()));
    systemd.configure(&format!("{}{LARGE}", DOOR.replace("door", "yard")));
    running.signal(Signal::HUP);
    systemd.wait("RELOADING=1");
    running.signal(Signal::TERM);
    systemd.wait("STOPPING=1");
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(systemd.streams(), ["door"]);
}

/// The daemon on a live source, with MQTT and with a standard output that nobody reads.
fn unread(systemd: &Notified, port: u16, reader: &PipeWriter) -> Running {
    systemd.configure(&format!(
        "[device]\nname = \"pi\"\n{DOOR}[model]\nsize = \"32x32\"\n[publish.stdout]\nqueue = 4\n\
         [publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\n"
    ));
    let running = Running::start(systemd.command().stdout(reader.try_clone().unwrap()));
    systemd.wait("READY=1");
    running
}

#[test]
fn standard_output_that_nobody_reads_holds_up_neither_mqtt_nor_reloads_nor_the_end() {
    let broker = Broker::start("allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    let systemd = Notified::new();
    let (_reader, writer) = full_pipe();
    let running = unread(&systemd, broker.port, &writer);
    wait_for("results by MQTT", || (subscriber.results() > 60).then_some(()));
    let count = |name: &str| threads(running.pid()).iter().filter(|(thread, _)| thread == name).count();
    for stream in ["yard", "gate", "door"] {
        let text = fs::read_to_string(systemd.folder.path().join("hardnetd.toml")).unwrap();
        let text = text.lines().map(|line| match line.starts_with("name = ") && !line.contains("pi") {
            true => format!("name = \"{stream}\"\n"),
            false => format!("{line}\n"),
        });
        systemd.configure(&text.collect::<String>());
        systemd.reload(&running);
        subscriber.wait(&format!("hardnetd/pi/{stream}/result "));
    }
    for name in ["stdout", "mqtt", "infer-0", "publish"] {
        wait_for(name, || (count(name) == 1).then_some(()));
    }
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("nobody reads standard output"), "{}", outcome.stderr);
    subscriber.wait("hardnetd/pi/status stopped");
    for stream in ["yard", "gate", "door"] {
        let lines = subscriber.lines();
        let last = lines.iter().rfind(|line| line.contains(&format!("/{stream}/status "))).unwrap().clone();
        assert!(last.ends_with(" offline"), "{last}");
    }
}

#[test]
fn a_lost_standard_output_is_an_error_and_mqtt_goes_on() {
    let broker = Broker::start("allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    let systemd = Notified::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let running = unread(&systemd, broker.port, &writer);
    drop((reader, writer));
    let before = subscriber.results();
    wait_for("more results by MQTT", || (subscriber.results() > before + 30).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("a sink is lost"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("its reader is gone"), "{}", outcome.stderr);
}

#[test]
fn a_slow_reader_gets_every_result_of_a_file() {
    let arguments = ["run", "--source", "test:ball?frames=300&live=false&size=64x64", "--size", "32x32"];
    let (running, mut output) = Running::start_with_output(&mut hardnetd(arguments));
    // More than the pipe and all queues hold arrives only once it is read.
    wait_for_rest(&running);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut output, &mut text).unwrap();
    assert_eq!(running.finish().code(), 0);
    assert_eq!(common::seqs(&common::records(&text)), (0..300).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_a_broker_that_is_away_outlives_a_reload() {
    let systemd = Notified::new();
    let port = common::free_port();
    let configure = |stream: &str, extra: &str| {
        systemd.configure(&format!(
            "[device]\nname = \"pi\"\n{}[model]\nsize = \"32x32\"\n[publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {port}\n\
             retry_max_s = 0.5\nqueue = 10000\n{extra}",
            DOOR.replace("door", stream)
        ));
    };
    configure("door", "");
    let running = systemd.start(None);
    systemd.wait("READY=1");
    wait_for("results", || (systemd.streams() == ["door"]).then_some(()));
    // Once with the same broker, once with other settings of it.
    for (stream, extra) in [("yard", ""), ("gate", "keep_alive_s = 20\n")] {
        configure(stream, extra);
        systemd.reload(&running);
        wait_for(stream, || systemd.streams().contains(&stream.to_owned()).then_some(()));
    }
    let broker = Broker::start_at(port, "allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    subscriber.wait("hardnetd/pi/gate/result ");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for stream in ["door", "yard"] {
        subscriber.wait(&format!("hardnetd/pi/{stream}/result "));
    }
}

#[test]
fn a_stream_that_goes_while_the_broker_is_away_is_offline_however_often_the_broker_changes() {
    let mut broker = Broker::start("allow_anonymous true");
    let subscriber = Subscriber::start(broker.port, &[]);
    let systemd = Notified::new();
    systemd.configure(&two_streams(broker.port, "ball", "retry_max_s = 0.5\n"));
    let running = systemd.start(None);
    systemd.wait("READY=1");
    subscriber.wait("hardnetd/pi/yard/status online");
    broker.stop();
    for keep_alive in [60, 20] {
        systemd.configure(&format!(
            "[device]\nname = \"pi\"\n{DOOR}[publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {}\n\
             retry_max_s = 0.5\nkeep_alive_s = {keep_alive}\n",
            broker.port
        ));
        systemd.reload(&running);
    }
    broker.restart();
    Subscriber::start(broker.port, &[]).wait("hardnetd/pi/yard/status offline");
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
}

/// The old sink has its results for as long as a stop may take; how long the stop takes then is `end_of_stop`.
#[test]
fn a_stop_while_a_switch_waits_for_a_reader_is_a_clean_end() {
    let (running, systemd, _reader) = started_into_a_full_pipe(2.0);
    systemd.configure(
        "[device]\nstop_timeout_s = 2\n[publish.stdout]\nqueue = 5\n\
         [[stream]]\nname = \"door\"\nsource = \"test:ball?live=false&size=64x64\"\n",
    );
    running.signal(Signal::HUP);
    wait_for("the switch", || running.log().contains("ready for the reload").then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}

/// A unit of the repository, with this build of the program, under `name` in `folder`.
fn unit(folder: &Path, file: &str, name: &str) -> PathBuf {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(file)).unwrap();
    let copy = folder.join(name);
    fs::write(&copy, text.replace("/usr/bin/hardnetd", env!("CARGO_BIN_EXE_hardnetd"))).unwrap();
    copy
}

#[test]
fn the_units_are_what_systemd_expects() {
    let folder = folder();
    for (file, name) in [("hardnetd.service", "hardnetd.service"), ("hardnetd@.service", "hardnetd@door.service")] {
        let unit = unit(folder.path(), file, name);
        assert!(fs::read_to_string(&unit).unwrap().contains("Type=notify\n"));
        let outcome = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success() && !said.contains("hardnetd"), "{said}");
    }
}

/// The values of `key` in a unit or a drop-in, line by line.
fn settings(file: &Path, key: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
}

#[test]
fn the_units_open_classes_of_cameras_and_decoders_only_and_boards_the_rest_by_path() {
    let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    for unit in ["hardnetd.service", "hardnetd@.service"] {
        let mut opened = settings(&systemd.join(unit), "DeviceAllow");
        opened.sort();
        let classes = ["dma_heap", "drm", "media", "nvgpu*", "nvhost*", "video4linux"];
        assert_eq!(opened, classes.map(|class| format!("char-{class} rw")), "{unit}");
        assert_eq!(settings(&systemd.join(unit), "DevicePolicy"), ["closed"]);
    }
    let mut boards = 0;
    for file in fs::read_dir(systemd.join("boards")).unwrap() {
        let file = file.unwrap().path();
        let folder = folder();
        let unit = unit(folder.path(), "hardnetd.service", "hardnetd.service");
        fs::create_dir(folder.path().join("hardnetd.service.d")).unwrap();
        fs::copy(&file, folder.path().join("hardnetd.service.d/board.conf")).unwrap();
        let outcome = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success() && !said.contains("hardnetd"), "{}: {said}", file.display());
        let opened = settings(&file, "DeviceAllow");
        assert!(!opened.is_empty(), "{}", file.display());
        for device in opened {
            assert!(device.starts_with("/dev/") && device.ends_with(" rw") && !device.contains('*'), "{device}");
        }
        boards += 1;
    }
    assert_eq!(boards, 2);
}

#[test]
fn the_units_stay_down_after_what_no_new_start_mends() {
    let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    for unit in ["hardnetd.service", "hardnetd@.service"] {
        assert_eq!(settings(&systemd.join(unit), "RestartPreventExitStatus"), ["64 65 78"], "{unit}");
    }
}

#[test]
fn the_units_are_exposed_to_little() {
    let folder = folder();
    for (file, name) in [("hardnetd.service", "hardnetd.service"), ("hardnetd@.service", "hardnetd@door.service")] {
        let unit = unit(folder.path(), file, name);
        // The limit is in tenths.
        let arguments = ["security", "--offline=true", "--threshold=25", "--no-pager"];
        let outcome = Command::new("systemd-analyze").args(arguments).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stdout);
        assert!(outcome.status.success() && said.contains("exposure level"), "{said}");
    }
}

#[test]
fn the_template_differs_from_the_unit_in_names_and_folders_only() {
    let folder = folder();
    let lines = |file: &str| {
        let text = fs::read_to_string(unit(folder.path(), file, file)).unwrap();
        let settings = text.lines().filter(|line| !line.starts_with('#') && !line.contains("HARDNETD__DEVICE__NAME"));
        settings.map(str::to_owned).collect::<Vec<_>>()
    };
    let template = lines("hardnetd@.service").into_iter().map(|line| {
        line.replace(" -c /etc/hardnetd/%i.toml", "").replace(", %i", "").replace("hardnetd@%i", "hardnetd")
    });
    assert_eq!(template.collect::<Vec<_>>(), lines("hardnetd.service"));
}

#[test]
fn man_pages_are_written_for_every_command_and_every_key() {
    let folder = folder();
    let pages = folder.path().join("man");
    let outcome = common::run(["man".as_ref(), pages.as_os_str()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    for name in ["hardnetd.1", "hardnetd-run.1", "hardnetd-model-info.1"] {
        assert!(page(name).contains(".SH SYNOPSIS"), "{name}");
    }
    let configuration = page("hardnetd.toml.5");
    let default = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/default.toml")).unwrap();
    for (key, _) in default.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")) {
        assert!(configuration.contains(&format!("\\fB{}\\fR", key.replace('-', "\\-"))), "{key}");
    }
}
