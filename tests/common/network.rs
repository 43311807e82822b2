//! A network of its own for a program, which can be cut off (network_namespaces(7)).
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs, and fails by panicking"
)]

use std::process::Command;

/// A namespace that an Ethernet cable connects with this machine; one for each test program.
pub struct Network {
    /// Its name.
    pub name: String,
    /// The address of the program in it.
    pub host: String,
}

impl Network {
    /// `None` if the test has no right to make one: only root may.
    #[allow(clippy::print_stderr, reason = "whoever runs the test learns why it does nothing")]
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: only root can make a network");
            return None;
        }
        let id = std::process::id();
        let subnet = format!("10.231.{}", id % 256);
        let network = Self { name: format!("hardnetd-{id}"), host: format!("{subnet}.2") };
        let (Self { name, host }, (near, far)) = (&network, links());
        ip(&format!("netns add {name}"));
        ip(&format!("link add {near} type veth peer name {far} netns {name}"));
        ip(&format!("addr add {subnet}.1/24 dev {near}"));
        ip(&format!("link set {near} up"));
        ip(&format!("-n {name} addr add {host}/24 dev {far}"));
        ip(&format!("-n {name} link set lo up multicast on"));
        ip(&format!("-n {name} route add 224.0.0.0/4 dev lo"));
        network.join();
        Some(network)
    }

    /// Connects it.
    pub fn join(&self) {
        ip(&format!("-n {} link set {} up", self.name, links().1));
    }

    /// Cuts it off: packets are lost in both directions, and nobody is told.
    pub fn cut(&self) {
        ip(&format!("-n {} link set {} down", self.name, links().1));
    }

    /// `command`, in this network.
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &links().0]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// The names of both ends; at most 15 characters.
fn links() -> (String, String) {
    let id = std::process::id();
    (format!("hn{id}a"), format!("hn{id}b"))
}

fn ip(arguments: &str) {
    let outcome = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2 is installed");
    assert!(outcome.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&outcome.stderr));
}
