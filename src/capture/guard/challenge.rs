//! What a camera asks for in its challenges (RFC 7616, 3.3).

use std::ffi::{CStr, c_char};

use gstreamer_rtsp::ffi;

use super::header;

/// Maximum challenges of an answer that are looked at.
const MOST_CHALLENGES: i32 = 16;

/// The kinds of login that an answer asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) basic: bool,
    pub(super) digest: bool,
    /// Whether there is a digest with MD5, the only one that GStreamer computes (1.22).
    pub(super) md5: bool,
    /// Whether only the nonce of the login was too old.
    pub(super) stale: bool,
    /// Whether a challenge has no parameters: `rtspsrc` of GStreamer 1.22 reads them without checking that there are
    /// any.
    pub(super) bare: bool,
}

/// The challenges of an answer, as `rtspsrc` reads them.
///
/// # Safety
/// `message` is valid.
pub(super) unsafe fn offers(message: &mut ffi::GstRTSPMessage) -> Offers {
    let mut offers = Offers::default();
    // SAFETY: the message is valid.
    let credentials =
        unsafe { ffi::gst_rtsp_message_parse_auth_credentials(message, ffi::GST_RTSP_HDR_WWW_AUTHENTICATE) };
    if credentials.is_null() {
        return offers;
    }
    // SAFETY: the array ends with a null pointer; every pointer before it points to a credential.
    let each = (0..).map_while(|index| unsafe { (*credentials.add(index)).as_ref() });
    for credential in each {
        offers.bare |= credential.params.is_null();
        // SAFETY: the parameters are null, or an array like that of the credentials.
        let value = |name: &str| unsafe { parameter(credential.params, name) };
        offers.stale |= value("stale").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match credential.scheme {
            ffi::GST_RTSP_AUTH_BASIC => offers.basic = true,
            ffi::GST_RTSP_AUTH_DIGEST => {
                offers.digest = true;
                offers.md5 |= value("algorithm").is_none_or(|algorithm| is_md5(&algorithm));
            }
            _ => {}
        }
    }
    // SAFETY: the array is ours and is not used after this.
    unsafe { ffi::gst_rtsp_auth_credentials_free(credentials) };
    offers
}

/// Whether a digest is made with MD5: `MD5` or `MD5-sess` (RFC 7616, 3.3).
fn is_md5(algorithm: &str) -> bool {
    algorithm.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("md5"))
}

/// The value of a challenge's parameter.
///
/// # Safety
/// `params` is null, or an array of valid parameters that ends with a null pointer.
unsafe fn parameter(params: *mut *mut ffi::GstRTSPAuthParam, name: &str) -> Option<String> {
    if params.is_null() {
        return None;
    }
    // SAFETY: by the contract above; names and values are null, or texts that end with a zero.
    let text = |text: *mut c_char| (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy());
    // SAFETY: by the contract above.
    let mut each = (0..).map_while(|index| unsafe { (*params.add(index)).as_ref() });
    let found = each.find(|param| text(param.name).is_some_and(|found| found.eq_ignore_ascii_case(name)))?;
    text(found.value).map(std::borrow::Cow::into_owned)
}

/// Removes the challenges for a digest that is not made with MD5: `rtspsrc` (1.22) would answer one of them with MD5.
///
/// # Safety
/// `message` is valid.
pub(super) unsafe fn keep_md5(message: &mut ffi::GstRTSPMessage) {
    for index in (0..MOST_CHALLENGES).rev() {
        // SAFETY: the message is valid.
        let Some(challenge) = (unsafe { header(message, ffi::GST_RTSP_HDR_WWW_AUTHENTICATE, index) }) else { continue };
        let algorithm = challenge.split(',').find_map(|part| part.trim().split_once("algorithm="));
        if algorithm.is_some_and(|(_, algorithm)| !is_md5(algorithm.trim_matches('"'))) {
            // SAFETY: as above.
            unsafe { ffi::gst_rtsp_message_remove_header(message, ffi::GST_RTSP_HDR_WWW_AUTHENTICATE, index) };
        }
    }
}
