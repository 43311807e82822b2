//! Messages from a broker, as a subscriber receives them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::wait_for;

/// Everything that is published, as `topic payload`, preceded by the retain flag.
pub struct Subscriber {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Subscriber {
    /// `extra` are further arguments of mosquitto_sub, such as a login.
    pub fn start(port: u16, extra: &[&str]) -> Self {
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "#", "-q", "1", "-F", "%r %t %p"])
            .args(extra)
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto-clients is installed");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, kept) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a message that begins with `start` after its retain flag, and returns the rest.
    pub fn wait(&self, start: &str) -> String {
        let of = |line: &String| line.split_once(' ')?.1.strip_prefix(start).map(str::to_owned);
        wait_for(start, || self.lines().iter().find_map(of))
    }

    pub fn results(&self) -> usize {
        self.lines().iter().filter(|line| line.contains("/result ")).count()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
