//! Prevents a network camera from sending its login, or the program itself, elsewhere.
//!
//! `rtspsrc` follows a redirect to any host and logs in there, answers a challenge for the password in clear (Basic,
//! RFC 7617) even after an earlier digest challenge, and queries the clocks that a description names. It has no
//! property to prevent any of this, but it passes every answer and every description to the elements that implement
//! GStreamer's `GstRTSPExtension` before it acts on them. [`Sentry`] is such an element: it alters what must not be
//! acted on, and its [`Guard`] records the reason.
//!
//! gstreamer-rs does not wrap this interface: this is one of the few files with `unsafe` code, and one file because all
//! calls of the interface belong together. It works with GStreamer 1.18 and later.
//!
//! # Safety
//!
//! - Only [`Sentry`] implements the interface here, so every instance passed to one of its functions is a `Sentry`.
//! - A message and a description belong to the callee for the duration of the call, as `rtspsrc` passes them; a field
//!   of a union is read only after its type. Attributes are removed from the last to the first, so that indexes stay
//!   valid.
//! - Credentials that GStreamer allocates are freed once, by its own function.
//! - A panic in an `extern "C"` function aborts the process; it does not unwind into C.

mod challenge;
#[cfg(test)]
mod tests;
mod transport;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp::ffi;
use gstreamer_rtsp::gst_sdp::ffi as sdp;

use super::scheme::Endpoint;
use super::trust::{Trust, Untrusted};
use crate::config::redact;
use challenge::{Offers, keep_md5, offers};

/// Maximum characters of a camera's text that a message repeats.
const LONGEST: usize = 200;

/// Maximum redirects that one session follows.
pub(super) const MOST_REDIRECTS: u32 = 8;

/// Maximum logins in a row that a camera may refuse after it has accepted one: a second one may be needed for a new
/// nonce. Before, it may refuse one: cameras lock a user out after some five, and `rtspsrc` tries nine times.
const MOST_REFUSALS: u32 = 2;

/// The cameras, by host and port, that have asked for digest authentication since the program started.
static ASKED_FOR_DIGEST: Mutex<BTreeSet<(String, u16)>> = Mutex::new(BTreeSet::new());

/// What a camera attempted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// To send the program to another host or port.
    Elsewhere(String),
    /// To choose a transport that it was not offered.
    OtherTransport,
    /// To obtain the password in clear after asking for a digest.
    InClear,
    /// To redirect the program endlessly.
    InCircles,
    /// To have a login with another digest than GStreamer's.
    OtherDigest,
    /// To show a certificate that is not trusted.
    Untrusted(Box<Untrusted>),
    /// Nothing: it refused the login.
    Refused,
}

/// State of one session with its camera.
#[derive(Debug)]
pub(super) struct Guard {
    endpoint: Endpoint,
    attempt: Mutex<Option<Attempt>>,
    attached: AtomicBool,
    redirects: AtomicU32,
    refusals: AtomicU32,
    has_accepted: AtomicBool,
    /// Whether the camera has refused every transport of a request.
    has_refused_transports: AtomicBool,
    source: glib::WeakRef<gst::Element>,
    withheld: Mutex<Withheld>,
}

/// The password, withheld from `rtspsrc` while the camera plays.
#[derive(Default)]
struct Withheld(Option<String>);

impl fmt::Debug for Withheld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Withheld")
    }
}

thread_local! {
    /// The guard for which this thread is creating an `rtspsrc`, which creates its extensions implicitly.
    static FOR: RefCell<Option<Arc<Guard>>> = const { RefCell::new(None) };
}

impl Guard {
    /// A guard for a camera that may be reached only at `endpoint`.
    pub(super) fn new(endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            attempt: Mutex::default(),
            attached: AtomicBool::new(false),
            redirects: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            has_accepted: AtomicBool::new(false),
            has_refused_transports: AtomicBool::new(false),
            source: glib::WeakRef::new(),
            withheld: Mutex::default(),
        })
    }

    /// Calls `make`, which creates an `rtspsrc`, and attaches this guard to it.
    pub(super) fn watch<T>(self: &Arc<Self>, make: impl FnOnce() -> T) -> T {
        FOR.set(Some(Arc::clone(self)));
        let made = make();
        FOR.set(None);
        made
    }

    /// Sets the `rtspsrc` to watch; false if no sentry is attached to it.
    #[must_use]
    pub(super) fn attach(&self, source: &gst::Element) -> bool {
        self.source.set(Some(source));
        self.attached.load(Ordering::Acquire)
    }

    /// Whether the camera has refused every transport that it was offered in a request.
    pub(super) fn has_refused_transports(&self) -> bool {
        self.has_refused_transports.load(Ordering::Acquire)
    }

    /// The camera's first attempt, if any.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Attempt>> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the camera's certificate is accepted although GLib found `faults`; records the attempt if not.
    pub(super) fn accepts(
        &self,
        trust: &Trust,
        certificate: &gio::TlsCertificate,
        faults: gio::TlsCertificateFlags,
    ) -> bool {
        let outcome = trust.accept(certificate, faults, &self.endpoint);
        let is_accepted = outcome.is_ok();
        if let Err(untrusted) = outcome {
            self.note(Attempt::Untrusted(untrusted));
        }
        is_accepted
    }

    fn note(&self, attempt: Attempt) {
        self.lock().get_or_insert(attempt);
    }

    /// Whether the redirect in an answer may be followed; records the attempt if not.
    fn may_follow(&self, location: &str) -> bool {
        let follow = is_at(location, &self.endpoint);
        if !follow {
            let shown = redact(location).chars().take(LONGEST).flat_map(char::escape_debug).collect();
            self.note(Attempt::Elsewhere(shown));
        }
        let has_left = self.redirects.fetch_add(1, Ordering::Relaxed) < MOST_REDIRECTS;
        if follow && !has_left {
            self.note(Attempt::InCircles);
        }
        follow && has_left
    }

    /// Whether the challenges of an answer may be met; records the attempt if not.
    fn may_log_in(&self, offers: Offers) -> bool {
        let mut cameras = ASKED_FOR_DIGEST.lock().unwrap_or_else(PoisonError::into_inner);
        let camera = (self.endpoint.host.to_ascii_lowercase(), self.endpoint.port);
        if offers.digest {
            cameras.insert(camera);
            if !offers.md5 {
                self.note(Attempt::OtherDigest);
            }
            return offers.md5;
        }
        let refused = offers.basic && cameras.contains(&camera);
        if refused {
            self.note(Attempt::InClear);
        }
        !refused
    }

    /// The camera has accepted what it was asked, with a login if it `has_login`.
    fn accepted(&self, has_login: bool) {
        self.refusals.store(0, Ordering::Relaxed);
        self.has_accepted.fetch_or(has_login, Ordering::Relaxed);
    }

    /// Whether a login may follow an answer that refuses one, which `tried` says.
    fn may_try_again(&self, tried: bool, offers: Offers) -> bool {
        // The camera knows the password, and wants it with another nonce (RFC 7616, 3.3).
        if !tried || offers.stale {
            return true;
        }
        let most = if self.has_accepted.load(Ordering::Relaxed) { MOST_REFUSALS } else { 1 };
        self.refusals.fetch_add(1, Ordering::Relaxed) + 1 < most
    }

    /// Called when the camera plays. Over UDP, `rtspsrc` answers a challenge to a keep-alive without passing it to its
    /// extensions, so it has no password meanwhile. Its connection keeps the login that was accepted.
    fn playing(&self) {
        if let Some(source) = self.source.upgrade()
            && let Some(password) = source.property::<Option<String>>("user-pw")
        {
            source.set_property("user-pw", None::<&str>);
            self.withheld().0 = Some(password);
        }
    }

    /// Called before a request whose answer the sentry sees. Returns the password to `rtspsrc`, which needs it for a new
    /// connection if no packet has arrived over UDP.
    fn asking(&self) {
        let password = self.withheld().0.take();
        if let (Some(source), Some(password)) = (self.source.upgrade(), password) {
            source.set_property("user-pw", password);
        }
    }

    fn withheld(&self) -> std::sync::MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `location` is certainly an address at `endpoint`. URL parsers differ, so an address with a login, an escape
/// or an unusual character in its authority counts as another host.
fn is_at(location: &str, endpoint: &Endpoint) -> bool {
    let scheme = if endpoint.secure { "rtsps://" } else { "rtsp://" };
    let Some(rest) = location.strip_prefix(scheme) else { return false };
    if location.contains('@') || location.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return false;
    }
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    authority.chars().all(usual)
        && Endpoint::of(location)
            .is_ok_and(|there| there.host.eq_ignore_ascii_case(&endpoint.host) && there.port == endpoint.port)
}

/// Makes GStreamer pass every RTSP answer to a [`Sentry`]; call before the first `rtspsrc` is created.
pub(super) fn register() -> Result<(), glib::BoolError> {
    gst::Element::register(None, "hardnetdsentry", gst::Rank::PRIMARY, Sentry::static_type())
}

glib::wrapper! {
    /// GStreamer's interface for elements that take part in the RTSP dialogue of `rtspsrc`.
    struct Extension(Interface<ffi::GstRTSPExtension, ffi::GstRTSPExtensionInterface>);

    match fn {
        type_ => || ffi::gst_rtsp_extension_get_type(),
    }
}

// SAFETY: the functions have the signatures that the interface asks for, and they take `ext` for an instance of
// `imp::Sentry`, the only type that implements this.
unsafe impl glib::subclass::types::IsImplementable<imp::Sentry> for Extension {
    fn interface_init(interface: &mut glib::Interface<Self>) {
        let interface = interface.as_mut();
        interface.before_send = Some(before_send);
        interface.after_send = Some(after_send);
        interface.parse_sdp = Some(parse_sdp);
    }
}

glib::wrapper! {
    /// Takes part in the RTSP dialogue of one `rtspsrc`.
    struct Sentry(ObjectSubclass<imp::Sentry>) @extends gst::Element, gst::Object, @implements Extension;
}

mod imp {
    use std::sync::{Arc, LazyLock, OnceLock};

    use gstreamer as gst;
    use gstreamer::glib;
    use gstreamer::subclass::prelude::*;
    use std::sync::atomic::Ordering;

    use super::{FOR, Guard};

    #[derive(Debug, Default)]
    pub(super) struct Sentry {
        pub(super) guard: OnceLock<Arc<Guard>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Sentry {
        const NAME: &'static str = "HardnetdSentry";
        type Type = super::Sentry;
        type ParentType = gst::Element;
        type Interfaces = (super::Extension,);
    }

    impl ObjectImpl for Sentry {
        fn constructed(&self) {
            self.parent_constructed();
            if let Some(guard) = FOR.with_borrow(Clone::clone) {
                guard.attached.store(true, Ordering::Release);
                let _ = self.guard.set(guard);
            }
        }
    }

    impl GstObjectImpl for Sentry {}

    impl ElementImpl for Sentry {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "RTSP sentry",
                    "Network/Extension/Protocol",
                    "Keeps a login with its camera",
                    "hardnetd",
                )
            });
            Some(&METADATA)
        }
    }
}

/// The guard of a sentry.
///
/// # Safety
/// `extension` is an instance of [`Sentry`], for as long as the guard is used.
unsafe fn guard<'a>(extension: *mut ffi::GstRTSPExtension) -> Option<&'a Arc<Guard>> {
    use glib::subclass::types::{InstanceStructExt as _, ObjectSubclass};
    let instance = extension.cast::<<imp::Sentry as ObjectSubclass>::Instance>();
    // SAFETY: by the contract above, it is a live instance of that type.
    unsafe { &*instance }.imp().guard.get()
}

/// A request is about to be sent, other than a keep-alive.
///
/// # Safety
/// GStreamer calls it with a sentry.
unsafe extern "C" fn before_send(
    extension: *mut ffi::GstRTSPExtension,
    _: *mut ffi::GstRTSPMessage,
) -> ffi::GstRTSPResult {
    // SAFETY: `extension` is a sentry, which its caller owns.
    if let Some(guard) = unsafe { guard(extension) } {
        guard.asking();
    }
    ffi::GST_RTSP_OK
}

/// Called when the answer to a request has arrived; `rtspsrc` has looked only at its status code.
///
/// # Safety
/// GStreamer calls it with a sentry and with two valid messages, which nothing else accesses meanwhile.
unsafe extern "C" fn after_send(
    extension: *mut ffi::GstRTSPExtension,
    request: *mut ffi::GstRTSPMessage,
    response: *mut ffi::GstRTSPMessage,
) -> ffi::GstRTSPResult {
    // SAFETY: `extension` is a sentry owned by the caller, and `response` is a message that may be changed.
    let (guard, response) = unsafe { (guard(extension), response.as_mut()) };
    let (Some(guard), Some(response)) = (guard, response) else { return ffi::GST_RTSP_OK };
    if response.type_ != ffi::GST_RTSP_MESSAGE_RESPONSE {
        return ffi::GST_RTSP_OK;
    }
    // SAFETY: the type says that the message is a response, so this is the active part of the union.
    let code = unsafe { response.type_data.response.code };
    // SAFETY: `response` is a valid message, and no reference to its text is kept.
    let (location, offers) = unsafe { (header(response, ffi::GST_RTSP_HDR_LOCATION, 0), offers(response)) };
    if (300..400).contains(&code) && location.is_some_and(|location| !guard.may_follow(&location)) {
        // A status code for which `rtspsrc` follows no redirect.
        response.type_data.response.code = ffi::GST_RTSP_STS_USE_PROXY;
        // SAFETY: as above; -1 means all headers of that name.
        unsafe { ffi::gst_rtsp_message_remove_header(response, ffi::GST_RTSP_HDR_LOCATION, -1) };
    }
    // SAFETY: `request` is a valid message or null, and is only read.
    let request = unsafe { request.as_ref() }.filter(|request| request.type_ == ffi::GST_RTSP_MESSAGE_REQUEST);
    // SAFETY: the request is valid.
    let login = request.and_then(|request| unsafe { header(request, ffi::GST_RTSP_HDR_AUTHORIZATION, 0) });
    // With these two, `rtspsrc` meets a challenge.
    let is_refused = matches!(code, ffi::GST_RTSP_STS_UNAUTHORIZED | ffi::GST_RTSP_STS_NOT_FOUND);
    if !is_refused {
        guard.accepted(login.is_some());
    }
    if offers.md5 {
        // SAFETY: the response is valid, and may be changed.
        unsafe { keep_md5(response) };
    }
    let may_log_in = guard.may_log_in(offers);
    let gives_up = is_refused && !guard.may_try_again(login.is_some(), offers);
    if gives_up && code == ffi::GST_RTSP_STS_UNAUTHORIZED {
        guard.note(Attempt::Refused);
    }
    if code == ffi::GST_RTSP_STS_UNSUPPORTED_TRANSPORT {
        guard.has_refused_transports.store(true, Ordering::Release);
    }
    if offers.bare || !may_log_in || gives_up {
        // SAFETY: as above.
        unsafe { ffi::gst_rtsp_message_remove_header(response, ffi::GST_RTSP_HDR_WWW_AUTHENTICATE, -1) };
    }
    let Some(request) = request.filter(|_| code == ffi::GST_RTSP_STS_OK) else { return ffi::GST_RTSP_OK };
    // SAFETY: the type says that it is a request, so this is the active part of the union.
    match unsafe { request.type_data.request.method } {
        ffi::GST_RTSP_PLAY => guard.playing(),
        // SAFETY: both messages are valid, and the second may be changed.
        ffi::GST_RTSP_SETUP => unsafe { choose(guard, request, response) },
        _ => {}
    }
    ffi::GST_RTSP_OK
}

/// Leaves in the answer to a SETUP what [`transport::accepted`] makes of the camera's choice: without a transport, the
/// session fails.
///
/// # Safety
/// Both messages are valid.
unsafe fn choose(guard: &Guard, request: &ffi::GstRTSPMessage, response: &mut ffi::GstRTSPMessage) {
    // SAFETY: by the contract above.
    let (offered, chosen) =
        unsafe { (header(request, ffi::GST_RTSP_HDR_TRANSPORT, 0), header(response, ffi::GST_RTSP_HDR_TRANSPORT, 0)) };
    let Some(chosen) = chosen else { return };
    let accepted = transport::accepted(&offered.unwrap_or_default(), &chosen);
    // SAFETY: by the contract above; -1 means all headers of that name.
    unsafe { ffi::gst_rtsp_message_remove_header(response, ffi::GST_RTSP_HDR_TRANSPORT, -1) };
    match accepted.and_then(|accepted| CString::new(accepted).ok()) {
        // SAFETY: by the contract above; GStreamer copies the text, which ends with a zero.
        Some(accepted) => unsafe {
            ffi::gst_rtsp_message_add_header(response, ffi::GST_RTSP_HDR_TRANSPORT, accepted.as_ptr());
        },
        None => guard.note(Attempt::OtherTransport),
    }
}

/// The header of that name and index in a message.
///
/// # Safety
/// `message` is valid.
unsafe fn header(message: &ffi::GstRTSPMessage, field: ffi::GstRTSPHeaderField, index: i32) -> Option<String> {
    let mut value = ptr::null_mut();
    // SAFETY: the message is valid, and `value` has room for a pointer.
    let result = unsafe { ffi::gst_rtsp_message_get_header(message, field, &raw mut value, index) };
    if result != ffi::GST_RTSP_OK || value.is_null() {
        return None;
    }
    // SAFETY: the header's text ends with a zero and lives until the message is changed.
    Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
}

/// The attributes in which a description names clocks. `rtspsrc` and its jitter buffer query these over the network, or
/// start a program that does (RFC 7273, and an attribute of GStreamer's own).
const CLOCKS: [&CStr; 2] = [c"ts-refclk", c"x-gst-clock"];

/// Called when a description has arrived.
///
/// # Safety
/// GStreamer calls it with a valid description, which nothing else accesses meanwhile.
unsafe extern "C" fn parse_sdp(
    _: *mut ffi::GstRTSPExtension,
    description: *mut sdp::GstSDPMessage,
    _: *mut gst::ffi::GstStructure,
) -> ffi::GstRTSPResult {
    // SAFETY: a key is null or a text that ends with a zero.
    let is_clock = |attribute: *const sdp::GstSDPAttribute| unsafe {
        attribute
            .as_ref()
            .is_some_and(|attribute| !attribute.key.is_null() && CLOCKS.contains(&CStr::from_ptr(attribute.key)))
    };
    // SAFETY: the description is valid. Indexes are below the count that it reports and go from the last down, so
    // removing one does not move those before it. A medium belongs to the description, which may be changed.
    unsafe {
        for index in (0..sdp::gst_sdp_message_attributes_len(description)).rev() {
            if is_clock(sdp::gst_sdp_message_get_attribute(description, index)) {
                sdp::gst_sdp_message_remove_attribute(description, index);
            }
        }
        for index in 0..sdp::gst_sdp_message_medias_len(description) {
            let medium = sdp::gst_sdp_message_get_media(description, index).cast_mut();
            for index in (0..sdp::gst_sdp_media_attributes_len(medium)).rev() {
                if is_clock(sdp::gst_sdp_media_get_attribute(medium, index)) {
                    sdp::gst_sdp_media_remove_attribute(medium, index);
                }
            }
        }
    }
    ffi::GST_RTSP_OK
}
