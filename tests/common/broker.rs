//! A real Mosquitto for tests.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};

use tempfile::TempDir;

use super::{folder, free_port, wait_for};

/// A broker for one test.
pub struct Broker {
    pub folder: TempDir,
    pub port: u16,
    child: Child,
}

impl Broker {
    pub fn start(extra: &str) -> Self {
        Self::start_at(free_port(), extra)
    }

    /// Like `start`, on a given port.
    pub fn start_at(port: u16, extra: &str) -> Self {
        let folder = folder();
        let text = format!("listener {port} 127.0.0.1\n{extra}\n");
        fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        let child = Self::launch(folder.path(), port);
        Self { folder, port, child }
    }

    fn launch(folder: &Path, port: u16) -> Child {
        let log = fs::File::create(folder.join("mosquitto.log")).unwrap();
        let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let child = Command::new(program)
            .arg("-c")
            .arg(folder.join("mosquitto.conf"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed");
        wait_for("the broker", || TcpStream::connect(("127.0.0.1", port)).ok());
        child
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order: it saves what is persistent.
    pub fn end(&mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = Self::launch(self.folder.path(), self.port);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
