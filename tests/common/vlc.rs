//! VLC as a network camera.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs, and fails by panicking"
)]

use std::fs::{File, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tempfile::TempDir;

use crate::common::{self, encode, wait_for};

/// A server that plays a clip again and again; the clip has sound, too.
pub struct Vlc {
    folder: TempDir,
    host: String,
    port: u16,
    /// The network namespace that it runs in.
    network: Option<String>,
    process: Child,
}

impl Vlc {
    /// Serves `h264`, 640x480 at 25 frames per second, or `h265`, 320x240 at 10.
    pub fn serve(codec: &str) -> Self {
        Self::start(codec, "127.0.0.1", None)
    }

    /// Serves in the network namespace `network`, in which its address is `host`.
    pub fn serve_in(network: &str, host: &str, codec: &str) -> Self {
        Self::start(codec, host, Some(network.into()))
    }

    fn start(codec: &str, host: &str, network: Option<String>) -> Self {
        let folder = common::folder();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let (folder, port) = (folder, common::free_port());
        // While a stream is watched, nothing else should take the processor.
        for codec in ["h264", "h265"] {
            clip(&folder, codec);
        }
        let process = run(&folder, codec, host, port, network.as_deref());
        let server = Self { folder, host: host.into(), port, network, process };
        server.wait();
        server
    }

    pub fn address(&self) -> String {
        format!("rtsp://{}:{}/camera", self.host, self.port)
    }

    /// To the server and all that it has started.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Starts it again after it has been killed, with a clip in `codec`.
    pub fn restart(&mut self, codec: &str) {
        self.process.wait().unwrap();
        self.process = run(&self.folder, codec, &self.host, self.port, self.network.as_deref());
        self.wait();
    }

    fn wait(&self) {
        wait_for("VLC", || TcpStream::connect((self.host.as_str(), self.port)).ok());
    }
}

impl Drop for Vlc {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}

/// A clip of ten seconds.
fn clip(folder: &TempDir, codec: &str) -> PathBuf {
    let path = folder.path().join(format!("{codec}.mp4"));
    if !path.exists() {
        let video = match codec {
            "h265" => {
                "videotestsrc num-buffers=100 pattern=ball ! video/x-raw,width=320,height=240,framerate=10/1 \
                 ! x265enc speed-preset=ultrafast tune=zerolatency key-int-max=10 ! h265parse"
            }
            _ => {
                "videotestsrc num-buffers=250 pattern=ball ! video/x-raw,width=640,height=480,framerate=25/1 \
                 ! x264enc speed-preset=ultrafast tune=zerolatency key-int-max=25 ! h264parse"
            }
        };
        let sound = "audiotestsrc num-buffers=430 ! audio/x-raw,rate=44100,channels=1 ! avenc_aac ! aacparse ! mux.";
        encode(&format!("{sound} {video} ! mp4mux name=mux"), &path);
    }
    path
}

fn run(folder: &TempDir, codec: &str, host: &str, port: u16, network: Option<&str>) -> Child {
    let clip = clip(folder, codec);
    let mut words: Vec<String> = Vec::new();
    if let Some(network) = network {
        words.extend(["ip", "netns", "exec", network].map(str::to_owned));
    }
    // VLC does not run as root.
    if geteuid().is_root() {
        words.extend(["runuser", "-u", "nobody", "--"].map(str::to_owned));
    }
    words.extend(["cvlc", "-q", "--loop"].map(str::to_owned));
    words.push(clip.display().to_string());
    words.push("--sout".into());
    words.push(format!("#rtp{{sdp=rtsp://{host}:{port}/camera}}"));
    words.push("--sout-keep".into());
    let log = File::options().create(true).append(true).open(folder.path().join("vlc.log")).unwrap();
    Command::new(&words[0])
        .args(&words[1..])
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("vlc-bin is installed")
}
