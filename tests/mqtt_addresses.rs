//! A broker whose name has two addresses, the first of which swallows packets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::broker::Broker;
use common::preload::library;
use common::tls::{Authority, listener};
use common::{Running, folder, free_port, hardnetd, wait_for};
use rustix::process::Signal;

/// A resolver that finds first `127.0.0.2`, then `127.0.0.1` for `broker.test`.
const RESOLVER: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <netdb.h>
    #include <string.h>
    int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        real = dlsym(RTLD_NEXT, "getaddrinfo");
        if (!host || strcmp(host, "broker.test")) return real(host, port, hints, found);
        int error = real("127.0.0.2", port, hints, found);
        return error ? error : real("127.0.0.1", port, hints, &(*found)->ai_next);
    }"#;

/// A listener whose queue is full.
struct BlackHole {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    fn start(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 2], port));
        let listener = TcpListener::bind(address).unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
        let queue = std::iter::from_fn(connect).take(10_000).collect();
        Self { _listener: listener, _queue: queue }
    }
}

/// The program with `command` and a broker of that name at `port`; `extra` are keys of `[publish.mqtt]`.
fn command(folder: &Path, command: &str, port: u16, extra: &str) -> Command {
    let path = folder.join("hardnetd.toml");
    let text = format!(
        "[device]\nname = \"pi\"\n[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64\"\n\
         [publish.stdout]\nenabled = false\n\
         [publish.mqtt]\nenabled = true\nhost = \"broker.test\"\nport = {port}\nconnect_timeout_s = 60\n{extra}\n"
    );
    fs::write(&path, text).unwrap();
    let mut command = hardnetd([command, "-c", path.to_str().unwrap()]);
    command.env("LD_PRELOAD", library(folder, RESOLVER)).env("HARDNETD_LOG", "info");
    command
}

/// Waits until the log contains `text`, and stops the program.
fn says(mut command: Command, text: &str) {
    let running = Running::start(&mut command);
    wait_for(text, || running.log().contains(text).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("no connection"), "at the first attempt: {}", outcome.stderr);
}

#[test]
fn a_broker_is_reached_at_the_address_that_answers() {
    let port = free_port();
    let _silent = BlackHole::start(port);
    let _broker = Broker::start_at(port, "allow_anonymous true");
    let folder = folder();
    says(command(folder.path(), "run", port, ""), "MQTT connected");

    let outcome = Running::start(&mut command(folder.path(), "doctor", port, "")).finish();
    let line = |name: &str| {
        let start = format!("\tbroker\t{name}\t");
        outcome.stdout.lines().find(|line| line.contains(&start)).unwrap_or_else(|| panic!("{}", outcome.stdout))
    };
    assert!(line("connection").starts_with("warning"), "{}", line("connection"));
    assert!(line("connection").contains(&format!("127.0.0.1:{port} answers")), "{}", line("connection"));
    assert!(line("login").starts_with("ok"), "{}", line("login"));
}

#[test]
fn over_tls_the_certificate_is_checked_for_the_name() {
    let folder = folder();
    let folder = folder.path();
    let authority = Authority::new(folder, "authority");
    authority.sign("named", &["broker.test"], -1..90);
    authority.sign("address", &["127.0.0.1"], -1..90);
    let known = format!("tls = true\nca_file = \"{}\"", folder.join("authority.pem").display());
    let port = free_port();
    let _silent = BlackHole::start(port);
    let broker = Broker::start_at(port, &listener(folder, "named"));
    says(command(folder, "run", port, &known), "MQTT connected");
    drop(broker);

    let _broker = Broker::start_at(port, &listener(folder, "address"));
    let running = Running::start(&mut command(folder, "run", port, &known));
    wait_for("the refusal", || running.log().contains("the broker's certificate is for 127.0.0.1").then_some(()));
}
