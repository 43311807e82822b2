//! Files and cameras that try to send the program elsewhere: neither the program nor a login goes there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::http::{Answer, Server};
use common::{Outcome, Running, encode, folder, hardnetd, run, wait_for};
use tempfile::TempDir;

/// A host that nothing may contact, on the same port over TCP and UDP.
struct Elsewhere {
    tcp: TcpListener,
    udp: UdpSocket,
    port: u16,
}

impl Elsewhere {
    fn new() -> Self {
        // A port that is free over TCP may be in use over UDP.
        let both = || {
            let tcp = TcpListener::bind(("127.0.0.1", 0)).ok()?;
            let port = tcp.local_addr().ok()?.port();
            Some(Self { tcp, udp: UdpSocket::bind(("127.0.0.1", port)).ok()?, port })
        };
        let host = (0..100).find_map(|_| both()).expect("a free port");
        host.tcp.set_nonblocking(true).unwrap();
        host.udp.set_nonblocking(true).unwrap();
        host
    }

    /// Fails if anything has connected or sent a datagram.
    fn has_heard_nothing(&self, what: &str) {
        let nothing = |heard: std::io::Result<()>| heard.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(nothing(self.tcp.accept().map(drop)), "{what}: over TCP");
        assert!(nothing(self.udp.recv_from(&mut [0; 2048]).map(drop)), "{what}: over UDP");
    }
}

/// Runs one source, with a short time limit for silence.
fn run_source(folder: &Path, source: &str, more: &str) -> Outcome {
    let config = folder.join("hardnetd.toml");
    let text =
        format!("[[stream]]\nname = \"door\"\nsource = \"{source}\"\nretry_max_s = 0.0\nstart_timeout_s = 5.0\n");
    std::fs::write(&config, text + more).unwrap();
    run(["run", "-c", config.to_str().unwrap()])
}

fn atom(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], kind, &body].concat()
}

/// A QuickTime reference movie (QuickTime File Format, "Reference movies"): an address instead of pictures.
fn reference_movie(url: &str) -> Vec<u8> {
    let text = [url.as_bytes(), b"\0"].concat();
    let size = u32::try_from(text.len()).unwrap();
    let reference = atom(b"rdrf", &[&[0; 4], b"url ", &size.to_be_bytes(), &text]);
    let movie = atom(b"moov", &[&atom(b"rmra", &[&atom(b"rmda", &[&reference])])]);
    [atom(b"ftyp", &[b"qt  ", &[0; 4], b"qt  "]), movie].concat()
}

#[test]
fn a_file_that_names_addresses_opens_none_of_them() {
    let server = Server::start(|_, _| Answer::new(404, b"nothing"));
    let elsewhere = Elsewhere::new();
    let (url, port) = (server.url("/video"), elsewhere.port);
    let local = folder();
    let secret = local.path().join("secret.ts");
    std::fs::write(&secret, [0x47_u8; 188 * 64]).unwrap();
    let hls = |segment: &str| {
        format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{segment}\n#EXT-X-ENDLIST\n")
    };
    let master = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000,CODECS=\"avc1.42c01e\"\n{url}.m3u8\n");
    let dash = format!(
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT10S\" minBufferTime=\"PT1S\" \
         profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period><AdaptationSet mimeType=\"video/mp4\">\
         <Representation id=\"1\" bandwidth=\"1000000\" width=\"640\" height=\"480\" codecs=\"avc1.42c01e\">\
         <BaseURL>{url}.mp4</BaseURL><SegmentBase indexRange=\"0-100\"/></Representation></AdaptationSet></Period></MPD>"
    );
    let smooth = format!(
        "<?xml version=\"1.0\"?>\n<SmoothStreamingMedia MajorVersion=\"2\" MinorVersion=\"0\" Duration=\"100000000\">\
         <StreamIndex Type=\"video\" Chunks=\"1\" QualityLevels=\"1\" Url=\"{url}/{{bitrate}}/{{start time}}\">\
         <QualityLevel Index=\"0\" Bitrate=\"1000000\" FourCC=\"H264\" MaxWidth=\"640\" MaxHeight=\"480\" \
         CodecPrivateData=\"0000000167420028\"/><c d=\"100000000\"/></StreamIndex></SmoothStreamingMedia>"
    );
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         a=control:rtsp://127.0.0.1:{port}/1\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
         a=control:rtsp://127.0.0.1:{port}/1/track1\r\n"
    );
    let smil = format!("<?xml version=\"1.0\"?>\n<smil><body><video src=\"{url}.mp4\"/></body></smil>");
    let asx = format!("<asx version=\"3.0\"><entry><ref href=\"{url}.asf\"/></entry></asx>");
    let svg = format!(
        "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" \
         xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"64\" height=\"64\">\
         <image width=\"64\" height=\"64\" xlink:href=\"{url}.png\"/></svg>"
    );
    let list = "refers to other addresses";
    for (name, content, part) in [
        ("hls.mp4", hls(&format!("{url}.ts")), list),
        ("hls_master.mp4", master, list),
        ("hls_local.ts", hls(&format!("file://{}", secret.display())), list),
        ("hls_relative.ts", hls("secret.ts"), list),
        ("dash.mp4", dash, list),
        ("smooth.ismv", smooth, list),
        ("sdp.avi", sdp, list),
        ("uris.mkv", format!("{url}.mp4\r\n{url}.mkv\r\n"), list),
        ("list.mp4", format!("#EXTM3U\n#EXTINF:10,Camera\n{url}.mp4\n"), ""),
        ("list.pls", format!("[playlist]\nFile1={url}.mp4\nTitle1=Camera\nLength1=-1\nNumberOfEntries=1\n"), ""),
        ("list.smil", smil, ""),
        ("list.asx", asx, ""),
        ("reference.asf", format!("[Reference]\r\nRef1={url}.asf\r\nRef2={url}.wmv\r\n"), ""),
        ("rtsp.mov", format!("rtsptext\r\nrtsp://127.0.0.1:{port}/1\r\n"), ""),
        ("picture.svg", svg, list),
    ] {
        let path = local.path().join(name);
        std::fs::write(&path, content).unwrap();
        refused(local.path(), &path, part);
    }
    let path = local.path().join("reference.mov");
    std::fs::write(&path, reference_movie(&format!("{url}.mp4"))).unwrap();
    refused(local.path(), &path, list);

    let asked: Vec<String> = server.requests().iter().map(|request| request.line.clone()).collect();
    assert!(asked.is_empty(), "{asked:?}");
    elsewhere.has_heard_nothing("the files");
}

/// Asserts that the file is rejected as unusable data, with the reason.
fn refused(folder: &Path, path: &Path, part: &str) {
    let outcome = run_source(folder, path.to_str().unwrap(), "");
    assert_eq!(outcome.code(), 65, "{}: {}", path.display(), outcome.stderr);
    assert!(outcome.message().contains(part), "{}: {}", path.display(), outcome.stderr);
    assert!(outcome.stdout.is_empty(), "{}: {}", path.display(), outcome.stdout);
}

#[test]
fn what_is_refused_in_a_file_leaves_the_containers_alone() {
    let folder = folder();
    let source = "videotestsrc num-buffers=3 ! video/x-raw,width=320,height=240,framerate=30/1";
    for (name, encoder) in [
        ("a.mp4", "x264enc bframes=0 ! mp4mux"),
        ("a.mkv", "x264enc bframes=0 ! matroskamux"),
        ("a.ts", "x264enc bframes=0 ! mpegtsmux"),
        ("a.flv", "x264enc bframes=0 ! flvmux"),
        ("a.mpg", "x264enc bframes=0 ! mpegpsmux"),
        ("a.ogv", "theoraenc ! oggmux"),
        ("a.wmv", "avenc_wmv2 ! asfmux"),
        ("a.mxf", "x264enc bframes=0 ! mxfmux"),
        ("a.mjpeg", "jpegenc ! multipartmux"),
        ("a.y4m", "y4menc"),
        ("a.h264", "x264enc bframes=0 ! video/x-h264,stream-format=byte-stream"),
    ] {
        let path = folder.path().join(name);
        encode(&format!("{source} ! {encoder}"), &path);
        assert_eq!(run(["run", "--source", path.to_str().unwrap()]).records().len(), 3, "{name}");
    }
}

/// A received request.
#[derive(Debug, Clone)]
struct Asked {
    text: String,
}

impl Asked {
    fn method(&self) -> &str {
        self.text.split(' ').next().unwrap()
    }

    fn authorization(&self) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix("Authorization: "))
    }
}

/// A simulated camera: `answer` gets the number of the connection and the request, and returns the end of the status
/// line, further headers and a body.
struct Camera {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct Reply {
    status: &'static str,
    headers: Vec<String>,
    body: String,
    /// What follows.
    then: Then,
}

/// What a camera does after an answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It waits for the next request.
    Listen,
    /// It sends one picture without end.
    Picture,
    /// It sends packets from ever new senders.
    Senders,
}

fn reply(status: &'static str, headers: &[&str]) -> Reply {
    let headers = headers.iter().map(ToString::to_string).collect();
    Reply { status, headers, body: String::new(), then: Then::Listen }
}

const DIGEST: &str = "WWW-Authenticate: Digest realm=\"camera\", nonce=\"5f3a\"";
const BASIC: &str = "WWW-Authenticate: Basic realm=\"camera\"";

/// Answers for a camera without pictures, whose description is `body`.
fn plain(asked: &Asked, body: &str) -> Reply {
    match asked.method() {
        "OPTIONS" => reply("200 OK", &["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]),
        "DESCRIBE" => Reply { body: body.to_owned(), ..reply("200 OK", &["Content-Type: application/sdp"]) },
        "SETUP" => reply("200 OK", &["Session: 7", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]),
        _ => reply("200 OK", &["Session: 7"]),
    }
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 H264/90000\r\na=control:track1\r\n";

impl Camera {
    fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answer));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &log, |asked| answer(number, asked)));
            }
        });
        Self { port, asked }
    }

    fn address(&self) -> String {
        format!("rtsp://127.0.0.1:{}/1", self.port)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The logins sent, in order.
    fn logins(&self) -> Vec<String> {
        self.asked().iter().filter_map(|asked| asked.authorization().map(str::to_owned)).collect()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: impl Fn(&Asked) -> Reply) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // Between the requests there may be RTCP packets.
        while bytes.first() == Some(&b'$') && bytes.len() >= 4 {
            let length = 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            if bytes.len() < length {
                break;
            }
            bytes.drain(..length);
        }
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").filter(|_| bytes[0] != b'$');
        let Some(end) = end else {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            }
            continue;
        };
        let asked = Asked { text: String::from_utf8_lossy(&bytes[..end]).into_owned() };
        bytes.drain(..end + 4);
        let number = asked.text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("0").to_owned();
        let Reply { status, headers, body, then } = answer(&asked);
        let playing = asked.method() == "PLAY" && status.starts_with("200");
        log.lock().unwrap().push(asked);
        let mut text = format!("RTSP/1.0 {status}\r\nCSeq: {number}\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
        match then {
            Then::Listen => {}
            Then::Picture => return send_without_end(&mut stream),
            Then::Senders => return send_from_many(&mut stream),
        }
        // Packets without a picture: the first one makes the receiver set itself up according to the description.
        for number in 0..u8::from(playing) * 3 {
            let packet = [b'$', 0, 0, 14, 0x80, 96, 0, number, 0, 0, 0, number, 0, 0, 0, 7, 0x0c, 0x00];
            if stream.write_all(&packet).is_err() {
                return;
            }
        }
    }
}

/// Fragments of a single H.264 unit that never ends (RFC 6184, 5.8), until the receiver stops taking them.
fn send_without_end(stream: &mut TcpStream) {
    let mut packet = vec![0; 60_000];
    packet[..4].copy_from_slice(&[b'$', 0, 0xea, 0x5c]);
    packet[4..6].copy_from_slice(&[0x80, 96]);
    for number in (0..=u16::MAX).cycle() {
        packet[6..8].copy_from_slice(&number.to_be_bytes());
        packet[16..18].copy_from_slice(&[0x7c, if number == 0 { 0x85 } else { 0x05 }]);
        if stream.write_all(&packet).is_err() {
            return;
        }
    }
}

/// Packets from ever new senders (RFC 3550, 8), three each, until the receiver stops taking them.
fn send_from_many(stream: &mut TcpStream) {
    for sender in 1_u32.. {
        for number in 0..3 {
            let mut packet = [b'$', 0, 0, 14, 0x80, 96, 0, number, 0, 0, 0, number, 0, 0, 0, 0, 0x0c, 0x00];
            packet[12..16].copy_from_slice(&sender.to_be_bytes());
            if stream.write_all(&packet).is_err() {
                return;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs the camera with a login until it fails.
fn run_camera(camera: &Camera, more: &str) -> Outcome {
    let folder = folder();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let login = format!("username = \"me\"\npassword_file = \"{}\"\n{more}", password.display());
    run_source(folder.path(), &camera.address(), &login)
}

/// The daemon with that camera, a login and a transport; its folder lives as long as it runs.
fn running_over(camera: &Camera, transport: &str) -> (tempfile::TempDir, Running) {
    let folder = folder();
    let (config, password) = (folder.path().join("hardnetd.toml"), folder.path().join("password"));
    std::fs::write(&password, "hunter2\n").unwrap();
    let text = format!(
        "[[stream]]\nname = \"door\"\nsource = \"{}\"\nusername = \"me\"\npassword_file = \"{}\"\n\
         start_timeout_s = 60.0\n[stream.rtsp]\ntransport = \"{transport}\"\n",
        camera.address(),
        password.display()
    );
    std::fs::write(&config, text).unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    (folder, running)
}

/// Whether a login reveals the password: `me:hunter2` in base64.
fn in_clear(login: &str) -> bool {
    login.contains("bWU6aHVudGVyMg")
}

#[test]
fn a_redirect_takes_no_login_to_another_host() {
    for status in ["301 Moved Permanently", "302 Moved Temporarily", "303 See Other", "305 Use Proxy"] {
        for challenge in [None, Some(DIGEST), Some(BASIC)] {
            let thief = Camera::start(|_, asked| match asked.method() {
                "OPTIONS" => plain(asked, SDP),
                _ => reply("401 Unauthorized", &[BASIC]),
            });
            let target = thief.address();
            let camera = Camera::start(move |_, asked| match (asked.method(), challenge, asked.authorization()) {
                ("OPTIONS", ..) => plain(asked, SDP),
                (_, Some(challenge), None) => reply("401 Unauthorized", &[challenge]),
                _ => reply(status, &[&format!("Location: {target}")]),
            });
            let outcome = run_camera(&camera, "");
            assert_eq!(thief.logins(), [""; 0], "{status}, {challenge:?}");
            assert!(thief.asked().is_empty(), "{status}: {:?}", thief.asked());
            assert_eq!(outcome.code(), 69, "{status}: {}", outcome.stderr);
            assert!(outcome.message().contains(&thief.address()), "{status}: {}", outcome.stderr);
            assert!(outcome.message().contains("source"), "{status}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_redirect_at_play_takes_no_login_to_another_host() {
    let thief = Camera::start(|_, _| reply("401 Unauthorized", &[BASIC]));
    let target = thief.address();
    let camera = Camera::start(move |_, asked| match asked.method() {
        "PLAY" => reply("302 Moved Temporarily", &[&format!("Location: {target}")]),
        _ => plain(asked, SDP),
    });
    let outcome = run_camera(&camera, "");
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains(&thief.address()), "{}", outcome.stderr);
}

#[test]
fn a_redirect_to_the_same_camera_is_followed() {
    let camera =
        Camera::start(move |_, asked| match (asked.method(), asked.text.contains("/2"), asked.authorization()) {
            ("OPTIONS", ..) => plain(asked, SDP),
            (_, false, _) => {
                let host = asked.text.split("rtsp://").nth(1).unwrap().split('/').next().unwrap();
                reply("302 Moved Temporarily", &[&format!("Location: rtsp://{host}/2")])
            }
            (_, true, None) => reply("401 Unauthorized", &[DIGEST]),
            (_, true, Some(_)) => reply("404 Not Found", &[]),
        });
    let outcome = run_camera(&camera, "");
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    assert!(camera.logins().iter().all(|login| login.starts_with("Digest ")), "{:?}", camera.logins());
    assert!(!camera.logins().is_empty(), "{:?}", camera.asked());
}

#[test]
fn addresses_in_the_description_lead_nowhere() {
    let thief = Camera::start(|_, _| reply("401 Unauthorized", &[BASIC]));
    let target = thief.address();
    let clock = Elsewhere::new();
    let port = clock.port;
    let camera = Camera::start(move |_, asked| {
        let clocks = format!(
            "a=x-gst-clock:GstNetTimeProvider clock 127.0.0.1:{port} 0\r\na=ts-refclk:ntp=127.0.0.1:{port}\r\n\
             a=mediaclk:direct=0\r\n"
        );
        let body = SDP.replace("a=control:*\r\n", &format!("a=control:{target}\r\n{clocks}"));
        let body = body.replace("track1\r\n", &format!("{target}/track1\r\n{clocks}"));
        match (asked.method(), asked.authorization()) {
            ("DESCRIBE", Some(_)) => Reply {
                body,
                ..reply("200 OK", &["Content-Type: application/sdp", &format!("Content-Base: {target}/")])
            },
            ("OPTIONS", _) | (_, Some(_)) => plain(asked, &body),
            _ => reply("401 Unauthorized", &[DIGEST]),
        }
    });
    let outcome = run_camera(&camera, "");
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(camera.asked().iter().any(|asked| asked.method() == "PLAY"), "{:?}", camera.asked());
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    clock.has_heard_nothing("a clock in the description");
}

#[test]
fn a_camera_that_has_asked_for_a_digest_never_gets_the_password_in_clear() {
    // Refused with a digest, it asks for the password in clear: in the next answer, and in those to other requests.
    for method in ["DESCRIBE", "SETUP", "PLAY"] {
        let camera = Camera::start(move |_, asked| match (asked.method(), asked.authorization()) {
            ("OPTIONS", _) => plain(asked, SDP),
            (_, None) => reply("401 Unauthorized", &[DIGEST]),
            (now, Some(login)) if now == method && login.starts_with("Digest") => reply("401 Unauthorized", &[BASIC]),
            _ => plain(asked, SDP),
        });
        let outcome = run_camera(&camera, "");
        let logins = camera.logins();
        assert!(logins.iter().any(|login| login.starts_with("Digest ")), "{method}: {:?}", camera.asked());
        assert!(!logins.iter().any(|login| in_clear(login)), "{method}: {logins:?}");
        assert_eq!(outcome.code(), 77, "{method}: {}", outcome.stderr);
        assert!(outcome.message().contains("plain-text password"), "{method}: {}", outcome.stderr);
    }
}

#[test]
fn a_digest_of_an_earlier_connection_counts() {
    let camera = Camera::start(|connection, asked| match (asked.method(), connection) {
        ("OPTIONS", _) => plain(asked, SDP),
        // The first connection ends with a temporary failure.
        (_, 0) if asked.authorization().is_some() => reply("503 Service Unavailable", &[]),
        (_, 0) => reply("401 Unauthorized", &[DIGEST]),
        _ => reply("401 Unauthorized", &[BASIC]),
    });
    let folder = folder();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let config = folder.path().join("hardnetd.toml");
    let text = format!(
        "[[stream]]\nname = \"door\"\nsource = \"{}\"\nusername = \"me\"\npassword_file = \"{}\"\nretry_max_s = 0.1\n",
        camera.address(),
        password.display()
    );
    std::fs::write(&config, text).unwrap();
    let running = common::Running::start(&mut common::hardnetd(["run", "-c", config.to_str().unwrap()]));
    common::wait_for("the second connection", || {
        let described = camera.asked().iter().filter(|asked| asked.method() == "DESCRIBE").count();
        (described >= 6).then_some(())
    });
    running.signal(rustix::process::Signal::TERM);
    let outcome = running.finish();
    let logins = camera.logins();
    assert!(logins[0].starts_with("Digest "), "{logins:?}");
    assert!(!logins.iter().any(|login| in_clear(login)), "{logins:?}");
    assert!(outcome.stderr.contains("plain-text password"), "{}", outcome.stderr);
}

/// rtspsrc takes any transport, and over UDP it answers a challenge to a keep-alive by itself: one without parameters
/// crashes it.
#[test]
fn a_camera_that_chooses_a_transport_it_was_not_offered_is_refused() {
    for transport in [
        "RTP/AVP;unicast;client_port=47000-47001;server_port=9-10",
        "RTP/AVP;multicast;destination=239.1.2.4;port=5000-5001",
        "RTP/AVP/UDP/TCP;unicast;client_port=47000-47001;server_port=9-10",
        "RTP/AVP/MCAST/TCP;destination=239.1.2.4;port=5000-5001",
    ] {
        let camera = Camera::start(move |_, asked| match asked.method() {
            "SETUP" => reply("200 OK", &["Session: 7;timeout=2", &format!("Transport: {transport}")]),
            "GET_PARAMETER" | "PLAY" => reply("401 Unauthorized", &["WWW-Authenticate: Digest"]),
            _ => plain(asked, SDP),
        });
        let outcome = run_camera(&camera, "");
        assert_eq!(outcome.code(), 69, "{transport}: {}", outcome.stderr);
        assert!(outcome.message().contains("a transport that it was not offered"), "{}", outcome.stderr);
        assert!(camera.asked().iter().all(|asked| asked.method() != "PLAY"), "{:?}", camera.asked());
    }
}

/// The first challenge of any kind comes to a keep-alive, which rtspsrc shows to nobody.
#[test]
fn a_camera_that_plays_without_a_login_gets_no_password_at_a_keep_alive() {
    let kept_alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&kept_alive);
    let camera = Camera::start(move |_, asked| match asked.method() {
        "SETUP" => {
            let ports = asked.text.split("client_port=").nth(1).unwrap().split(['\r', '\n', ';', ',']).next().unwrap();
            let transport = format!("Transport: RTP/AVP;unicast;client_port={ports};server_port=9-10;source=127.0.0.9");
            reply("200 OK", &["Session: 7;timeout=2", &transport])
        }
        "OPTIONS" | "GET_PARAMETER" if asked.text.contains("Session: 7") => {
            count.fetch_add(1, Ordering::Relaxed);
            reply("401 Unauthorized", &[BASIC])
        }
        _ => plain(asked, SDP),
    });
    let (_folder, running) = running_over(&camera, "udp");
    // A login would come with the second one, at once.
    wait_for("two keep-alives", || (kept_alive.load(Ordering::Relaxed) >= 2).then_some(()));
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.finish().code(), 0);
    assert!(camera.logins().is_empty(), "{:?}", camera.logins());
}

#[test]
fn a_camera_whose_packets_get_lost_over_udp_is_asked_again_over_tcp_with_its_login() {
    let camera = Camera::start(|_, asked| match (asked.method(), asked.authorization()) {
        ("OPTIONS", _) => plain(asked, SDP),
        (_, None) => reply("401 Unauthorized", &[DIGEST]),
        ("SETUP", _) if !asked.text.contains("RTP/AVP/TCP") => {
            let ports = asked.text.split("client_port=").nth(1).unwrap().split(['\r', '\n', ';', ',']).next().unwrap();
            let transport = format!("Transport: RTP/AVP;unicast;client_port={ports};server_port=9-10");
            reply("200 OK", &["Session: 7", &transport])
        }
        _ => plain(asked, SDP),
    });
    let (_folder, running) = running_over(&camera, "auto");
    wait_for("the camera to be set up over TCP with its login", || {
        let asked = camera.asked();
        let over_tcp = |asked: &&Asked| asked.method() == "SETUP" && asked.text.contains("RTP/AVP/TCP");
        asked.iter().filter(over_tcp).find_map(|asked| asked.authorization().map(str::to_owned))
    });
    running.signal(rustix::process::Signal::TERM);
    let outcome = running.finish();
    assert!(!camera.logins().iter().any(|login| in_clear(login)), "{:?}", camera.logins());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}

#[test]
fn both_challenges_at_once_are_answered_with_a_digest() {
    for both in [[BASIC, DIGEST], [DIGEST, BASIC]] {
        let camera = Camera::start(move |_, asked| match (asked.method(), asked.authorization()) {
            ("OPTIONS", _) => plain(asked, SDP),
            (_, None) => reply("401 Unauthorized", &both),
            _ => reply("404 Not Found", &[]),
        });
        let outcome = run_camera(&camera, "");
        assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
        let logins = camera.logins();
        assert!(!logins.is_empty() && logins.iter().all(|login| login.starts_with("Digest ")), "{logins:?}");
    }
}

/// rtspsrc tries nine times, and a camera locks the user out.
#[test]
fn a_wrong_password_is_tried_once_in_a_session() {
    for challenge in [BASIC, DIGEST] {
        let camera = Camera::start(move |_, asked| match asked.method() {
            "OPTIONS" => plain(asked, SDP),
            _ => reply("401 Unauthorized", &[challenge]),
        });
        let outcome = run_camera(&camera, "");
        assert_eq!(outcome.code(), 77, "{}", outcome.stderr);
        assert_eq!(camera.logins().len(), 1, "{:?}", camera.asked());
    }
}

#[test]
fn a_login_is_repeated_as_often_as_only_its_nonce_is_too_old() {
    let stale = format!("{DIGEST}, stale=TRUE");
    let refusals = AtomicUsize::new(0);
    let camera = Camera::start(move |_, asked| match (asked.method(), asked.authorization()) {
        ("OPTIONS", _) => plain(asked, SDP),
        (_, None) => reply("401 Unauthorized", &[DIGEST]),
        _ if refusals.fetch_add(1, Ordering::Relaxed) < 4 => reply("401 Unauthorized", &[&stale]),
        _ => reply("404 Not Found", &[]),
    });
    let outcome = run_camera(&camera, "");
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    assert_eq!(camera.logins().len(), 5, "{:?}", camera.asked());
}

#[test]
fn a_camera_that_only_knows_basic_gets_the_login() {
    let camera = Camera::start(move |_, asked| match (asked.method(), asked.authorization()) {
        ("OPTIONS", _) => plain(asked, SDP),
        (_, None) => reply("401 Unauthorized", &[BASIC]),
        _ => reply("404 Not Found", &[]),
    });
    let outcome = run_camera(&camera, "");
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    assert!(camera.logins().iter().any(|login| in_clear(login)), "{:?}", camera.asked());
}

/// A camera may send something else next time; exit code 65 would tell systemd that it cannot.
#[test]
fn a_camera_without_video_is_unavailable() {
    let sound = SDP.replace("m=video", "m=audio").replace("H264/90000", "L16/8000");
    for description in [sound, "v=0\r\n".to_owned(), "no description".to_owned()] {
        let text = description.clone();
        let camera = Camera::start(move |_, asked| plain(asked, &text));
        let outcome = run_camera(&camera, "");
        assert_eq!(outcome.code(), 69, "{description}: {}", outcome.stderr);
    }
}

/// GStreamer crashes when it parses such a challenge.
#[test]
fn a_challenge_without_parameters_is_none() {
    for challenge in ["Digest", "Basic", "Digest ,", "Basic realm=\"a\", Digest"] {
        let header = format!("WWW-Authenticate: {challenge}");
        let camera = Camera::start(move |_, asked| match asked.method() {
            "OPTIONS" => plain(asked, ""),
            _ => reply("401 Unauthorized", &[&header]),
        });
        let outcome = run_camera(&camera, "");
        assert!(matches!(outcome.code(), 66 | 69 | 77), "{challenge}: {}: {}", outcome.code(), outcome.stderr);
    }
}

#[test]
fn a_camera_that_redirects_in_circles_is_given_up() {
    let camera = Camera::start(move |_, asked| match asked.method() {
        "OPTIONS" => plain(asked, SDP),
        _ => {
            let host = asked.text.split("rtsp://").nth(1).unwrap().split('/').next().unwrap();
            reply("302 Moved Temporarily", &[&format!("Location: rtsp://{host}/1")])
        }
    });
    let outcome = run_camera(&camera, "");
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("redirected more than 8 times"), "{}", outcome.stderr);
    assert_eq!(camera.asked().iter().filter(|asked| asked.method() == "DESCRIBE").count(), 9);
}

/// A camera that does `then` once it is played, and the path of a configuration with it as a stream with these keys.
fn camera_that_sends(then: Then, keys: &str) -> (Camera, TempDir, String) {
    let camera = Camera::start(move |_, asked| Reply {
        then: if asked.method() == "PLAY" { then } else { Then::Listen },
        ..plain(asked, SDP)
    });
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    std::fs::write(&config, format!("[[stream]]\nname = \"door\"\nsource = \"{}\"\n{keys}", camera.address())).unwrap();
    (camera, folder, config.to_str().unwrap().to_owned())
}

/// Without a limit, it takes eleven gigabytes in twenty seconds.
#[test]
fn a_camera_whose_picture_never_ends_is_given_up() {
    let (_camera, _folder, config) = camera_that_sends(Then::Picture, "retry_max_s = 0.0\nstart_timeout_s = 100.0\n");
    let outcome = run(["run", "-c", &config]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("32 MiB without a frame"), "{}", outcome.stderr);
}

/// Without a limit, each takes two threads; some hundreds crash the process, and sometimes two that arrive together do.
#[test]
fn a_camera_with_ever_new_senders_takes_no_threads_for_them() {
    let (_camera, _folder, config) = camera_that_sends(Then::Senders, "retry_max_s = 0.1\nstart_timeout_s = 0.5\n");
    let mut running = Running::start(&mut hardnetd(["run", "-c", &config]));
    let tasks = format!("/proc/{}/task", running.pid());
    let mut most = 0;
    wait_for("many sessions", || {
        most = most.max(std::fs::read_dir(&tasks).map_or(0, Iterator::count));
        assert!(running.child.try_wait().unwrap().is_none(), "it has ended: {}", running.log());
        (running.log().matches("will be reopened").count() == 12).then_some(())
    });
    running.signal(rustix::process::Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("CRITICAL"), "{}", outcome.stderr);
    assert!((5..60).contains(&most), "{most} threads");
}

/// GStreamer treats each byte as activity, and waits for the answer when the pipeline shuts down.
#[test]
fn a_camera_that_answers_a_byte_at_a_time_is_given_up() {
    let (port, _) = dripping_camera();
    let folder = folder();
    let source = format!("rtsp://127.0.0.1:{port}/1");
    let outcome = run_source(folder.path(), &source, "");
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("no frame within 5 s"), "{}", outcome.stderr);
}

/// Otherwise, each reload leaves one more pipeline behind.
#[test]
fn a_camera_that_answers_a_byte_at_a_time_is_connected_to_once_over_reloads() {
    let (port, connections) = dripping_camera();
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let configure = |max_fps: u32| {
        let stream = format!("[[stream]]\nname = \"door\"\nsource = \"rtsp://127.0.0.1:{port}/1\"\n");
        let limits = "start_timeout_s = 0.5\nretry_max_s = 0.1\nclose_s = 600\n";
        std::fs::write(&config, format!("{stream}{limits}max_fps = {max_fps}\n")).unwrap();
    };
    configure(1);
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    wait_for("the first attempt", || running.log().contains("has not shut down yet").then_some(()));
    for max_fps in 2..5 {
        configure(max_fps);
        running.signal(rustix::process::Signal::HUP);
        let ended = max_fps as usize - 1;
        wait_for("a reload", || (running.log().matches("stream ended").count() == ended).then_some(()));
    }
    // Longer than another pipeline would take to connect.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.finish().code(), 0);
}

/// Its pipelines are abandoned when their time is over; then there are no more of them.
#[test]
fn a_camera_whose_pipelines_do_not_shut_down_is_connected_to_a_few_times_only() {
    let (port, connections) = dripping_camera();
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let stream = format!("[[stream]]\nname = \"door\"\nsource = \"rtsp://127.0.0.1:{port}/1\"\n");
    std::fs::write(&config, stream + "start_timeout_s = 0.5\nretry_max_s = 0.1\nclose_s = 0.6\n").unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    wait_for("the end of all attempts", || running.log().contains("3 pipelines of it do not shut down").then_some(()));
    assert_eq!(running.log().matches("is left behind").count(), 3, "{}", running.log());
    // Longer than another pipeline would take to connect.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(connections.load(Ordering::SeqCst), 3);
    running.signal(rustix::process::Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("abandoned=3"), "{}", outcome.stderr);
}

/// A camera whose answers never end, and the number of its connections.
fn dripping_camera() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let head = "RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: ";
                let drip = |byte: &u8| stream.write_all(&[*byte]).map(|()| thread::sleep(Duration::from_millis(50)));
                // It ends with the connection.
                let _ = head.as_bytes().iter().chain(std::iter::repeat(&b'x')).try_for_each(drip);
            });
        }
    });
    (port, connections)
}
