//! A real RTSP server in this process.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test takes what it needs, and fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gstreamer_rtsp_server::gst::{self, glib};
use gstreamer_rtsp_server::prelude::*;
use gstreamer_rtsp_server::{
    RTSP_PERM_MEDIA_FACTORY_ACCESS, RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, RTSP_TOKEN_MEDIA_FACTORY_ROLE, RTSPAuth,
    RTSPMediaFactory, RTSPServer, RTSPToken,
};

/// Serves `launch` at `/camera` until the test process ends; returns the address.
pub fn serve(launch: &str) -> String {
    serve_with(launch, Access::default(), |_| {})
}

/// Like `serve`, but requires a login.
pub fn serve_to(launch: &str, login: Option<(&'static str, &'static str)>) -> String {
    serve_with(launch, Access { login, certificate: None }, |_| {})
}

/// Like `serve_to`, but over TLS, with the certificate and the key in `NAME.pem` and `NAME.key`, of which `certificate` is
/// the path without extension.
pub fn serve_encrypted(launch: &str, certificate: &Path, login: (&'static str, &'static str)) -> String {
    serve_with(launch, Access { login: Some(login), certificate: Some(certificate.to_owned()) }, |_| {})
}

/// How a camera may be reached.
#[derive(Default)]
struct Access {
    /// User and password.
    login: Option<(&'static str, &'static str)>,
    /// The certificate for TLS, without extension.
    certificate: Option<PathBuf>,
}

/// Like `serve`, but loses each packet whose number, from 1, is a multiple of `every`. Also returns the number of frames
/// so far.
pub fn serve_losing(launch: &str, every: u64) -> (String, Arc<AtomicU64>) {
    let frames = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&frames);
    let address = serve_with(launch, Access::default(), move |payloader| {
        let (frames, packets) = (Arc::clone(&counted), AtomicU64::new(0));
        let is_lost = move |packet: &gst::BufferRef| {
            let is_last = packet.flags().contains(gst::BufferFlags::MARKER);
            frames.fetch_add(is_last.into(), Ordering::Relaxed);
            (packets.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
        };
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        payloader.static_pad("src").unwrap().add_probe(kinds, move |_, info| match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) if is_lost(packet) => gst::PadProbeReturn::Handled,
            Some(gst::PadProbeData::BufferList(list)) => {
                list.make_mut()
                    .foreach_mut(|packet, _| std::ops::ControlFlow::Continue(Some(packet).filter(|it| !is_lost(it))));
                gst::PadProbeReturn::Ok
            }
            _ => gst::PadProbeReturn::Ok,
        });
    });
    (address, frames)
}

/// Like `serve`, for JPEG pictures: every second one has a marker in the middle of its scan that does not belong there.
pub fn serve_damaged(launch: &str) -> String {
    serve_with(launch, Access::default(), |payloader| {
        let pictures = AtomicU64::new(0);
        payloader.static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(picture)) = &mut info.data
                && pictures.fetch_add(1, Ordering::Relaxed) % 2 == 1
            {
                let mut bytes = picture.make_mut().map_writable().unwrap();
                let middle = bytes.len() * 3 / 4;
                bytes[middle..middle + 2].copy_from_slice(&[0xFF, 0xD8]);
            }
            gst::PadProbeReturn::Ok
        });
    })
}

/// A camera whose faults a test turns on and off.
pub struct Camera {
    pub address: String,
    /// What it sends to clients that come from now on.
    pub factory: RTSPMediaFactory,
    pub faults: Arc<Faults>,
}

/// The faults of a camera.
#[derive(Default)]
pub struct Faults {
    /// It sends no packets, but for the first one of a connection.
    pub is_mute: AtomicBool,
    /// Noise takes the place of the video in its packets.
    pub is_garbled: AtomicBool,
    /// Added to the time stamps of its packets, which wrap (RFC 3550, 5.1).
    pub jump: AtomicU32,
    /// The element called `size` of what is being served.
    size: Mutex<Option<gst::Element>>,
}

impl Faults {
    /// Changes the caps of the element called `size`.
    pub fn resize(&self, caps: &str) {
        let size = self.size.lock().unwrap();
        size.as_ref().unwrap().set_property("caps", caps.parse::<gst::Caps>().unwrap());
    }

    /// Spoils a packet; false if it is not sent.
    fn spoil(&self, packet: &mut gst::BufferRef, is_first: bool) -> bool {
        if self.is_mute.load(Ordering::SeqCst) && !is_first {
            return false;
        }
        let (jump, is_garbled) = (self.jump.load(Ordering::SeqCst), self.is_garbled.load(Ordering::SeqCst));
        if jump != 0 || is_garbled {
            let mut bytes = packet.map_writable().unwrap();
            let stamp = u32::from_be_bytes(bytes[4..8].try_into().unwrap()).wrapping_add(jump);
            bytes[4..8].copy_from_slice(&stamp.to_be_bytes());
            if is_garbled {
                let noise = bytes.iter().fold(stamp, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
                noise_from(noise, &mut bytes[12..]);
            }
        }
        true
    }
}

/// Fills `bytes` with noise (Numerical Recipes, "Quick and dirty generators").
pub fn noise_from(mut seed: u32, bytes: &mut [u8]) {
    for byte in bytes {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (seed >> 24) as u8;
    }
}

/// Like `serve_to`, with faults, of which there are none at first.
pub fn serve_faulty(launch: &str, login: Option<(&'static str, &'static str)>) -> Camera {
    let faults = Arc::<Faults>::default();
    let of_camera = Arc::clone(&faults);
    let access = Access { login, certificate: None };
    let (address, factory) = serve_factory(launch, access, move |payloader| {
        let bin = payloader.parent().unwrap().downcast::<gst::Bin>().unwrap();
        *of_camera.size.lock().unwrap() = bin.by_name("size");
        let (faults, is_first) = (Arc::clone(&of_camera), AtomicBool::new(true));
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        let is_sent = move |packet: &mut gst::BufferRef| faults.spoil(packet, is_first.swap(false, Ordering::SeqCst));
        payloader.static_pad("src").unwrap().add_probe(kinds, move |_, info| match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) => {
                if is_sent(packet.make_mut()) {
                    gst::PadProbeReturn::Ok
                } else {
                    gst::PadProbeReturn::Handled
                }
            }
            Some(gst::PadProbeData::BufferList(list)) => {
                list.make_mut().foreach_mut(|mut packet, _| {
                    let is_sent = is_sent(packet.make_mut());
                    std::ops::ControlFlow::Continue(Some(packet).filter(|_| is_sent))
                });
                gst::PadProbeReturn::Ok
            }
            _ => gst::PadProbeReturn::Ok,
        });
    });
    Camera { address, factory, faults }
}

/// Serves `launch`; `configure` gets each payloader.
fn serve_with(launch: &str, access: Access, configure: impl Fn(gst::Element) + Send + Sync + 'static) -> String {
    serve_factory(launch, access, configure).0
}

/// Like `serve_with`; also returns what makes the pipelines.
fn serve_factory(
    launch: &str,
    access: Access,
    configure: impl Fn(gst::Element) + Send + Sync + 'static,
) -> (String, RTSPMediaFactory) {
    gst::init().unwrap();
    let (sender, port) = std::sync::mpsc::channel();
    let launch = launch.to_owned();
    let scheme = if access.certificate.is_some() { "rtsps" } else { "rtsp" };
    std::thread::Builder::new()
        .name("rtsp-server".into())
        .spawn(move || {
            let context = glib::MainContext::new();
            let server = RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service("0");
            let factory = RTSPMediaFactory::new();
            factory.set_launch(&launch);
            factory.set_shared(true);
            factory.connect_media_configure(move |_, media| {
                let bin = media.element().downcast::<gst::Bin>().unwrap();
                configure(bin.by_name("pay0").unwrap());
            });
            if let Some((user, password)) = access.login {
                let auth = RTSPAuth::new();
                let token = RTSPToken::builder().field(RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer").build();
                auth.add_basic(&RTSPAuth::make_basic(user, password), &token);
                let role = gst::Structure::builder("viewer")
                    .field(RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
                    .field(RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
                    .build();
                factory.add_role_from_structure(&role);
                if let Some(path) = access.certificate {
                    let (certificate, key) = (path.with_extension("pem"), path.with_extension("key"));
                    auth.set_tls_certificate(Some(&gio::TlsCertificate::from_files(certificate, key).unwrap()));
                }
                server.set_auth(Some(&auth));
            }
            server.mount_points().unwrap().add_factory("/camera", factory.clone());
            let _source = server.attach(Some(&context)).unwrap();
            sender.send((server.bound_port(), factory)).unwrap();
            glib::MainLoop::new(Some(&context), false).run();
        })
        .unwrap();
    let (port, factory) = port.recv().unwrap();
    (format!("{scheme}://127.0.0.1:{port}/camera"), factory)
}
