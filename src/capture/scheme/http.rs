//! `http://HOST:PORT/PATH` and `https://HOST:PORT/PATH`: a web camera, which sends MJPEG or single JPEG pictures.

use std::time::Duration;

use super::address::{Endpoint, Target, whole};
use super::{Carrier, DECODE, Fault, Launch, Scheme, Source, SourceError};
use crate::capture::web::{self, Fetch, Login};
use crate::config::{Stream, redact};

/// The form of the address.
pub(super) const FORM: &str = "http://HOST/PATH";
/// The form of the address over TLS.
pub(super) const SECURE_FORM: &str = "https://HOST/PATH";

/// A web camera, by its whole address.
#[derive(Debug)]
struct Camera {
    address: String,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(Camera { address: whole("http", rest, "http://HOST:PORT/PATH")? }))
}

pub(super) fn parse_secure(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(Camera { address: whole("https", rest, "https://HOST:PORT/PATH")? }))
}

impl Camera {
    /// What is fetched with the settings of `stream`; `None` if the address is wrong.
    fn fetch(&self, stream: &Stream, password: Option<&str>) -> Option<Fetch> {
        let Target { location, user, password } = Target::of(&self.address).with(stream, password);
        Some(Fetch {
            endpoint: Endpoint::of(&location).ok()?,
            login: user.map(|user| Login::new(&user, &password.unwrap_or_default())),
            kind: stream.http.kind,
            poll: Duration::from_secs_f64(stream.http.poll_s),
            connect: stream.start_timeout(),
        })
    }
}

impl Scheme for Camera {
    fn describe(&self) -> String {
        redact(&self.address)
    }

    fn carrier(&self) -> Carrier {
        Carrier::Web
    }

    fn endpoint(&self) -> Option<Result<Endpoint, SourceError>> {
        Some(Endpoint::of(&Target::of(&self.address).location))
    }

    /// The program fetches the pictures itself, and hands them to the appsrc.
    fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch> {
        let text = format!("appsrc name=source is-live=true do-timestamp=true format=time caps=image/jpeg ! {DECODE}");
        let fetch = self.fetch(stream, password)?;
        let endpoint = Some(fetch.endpoint.clone());
        Some(Launch { live: true, endpoint, fetch: Some(fetch), ..Launch::of(&text, stream) })
    }

    fn examine(&self, launch: Option<&Launch>, timeout: Duration) -> Result<String, Fault> {
        let shown = self.describe();
        if let Some(Err(error)) = self.endpoint() {
            return Err(Fault::new(format!("{shown}: {error}"), "correct stream.source"));
        }
        let trust = launch.map(|launch| launch.trust.clone()).unwrap_or_default();
        let fetch = launch.and_then(|launch| launch.fetch.clone()).or_else(|| self.fetch(&Stream::default(), None));
        let fetch = fetch.ok_or_else(|| Fault::new(format!("{shown}: no host"), "correct stream.source"))?;
        web::examine(&shown, &fetch, &trust, timeout)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::choice::HttpKind;
    use crate::config::Http;

    #[test]
    fn the_pipeline_is_the_same_for_all_web_cameras_and_what_is_fetched_follows_the_settings() {
        let stream = Stream {
            http: Http { kind: HttpKind::Picture, poll_s: 0.25 },
            username: "me".into(),
            start_timeout_s: 3.0,
            ..Stream::default()
        };
        for (uri, stream, fetched) in [
            (
                "http://cam/a.jpg",
                &stream,
                ("http://cam/a.jpg", HttpKind::Picture, 250, Some(Login::new("me", "secret"))),
            ),
            (
                "https://u:p%40@cam/a ! fakesink",
                &Stream::default(),
                ("https://cam/a ! fakesink", HttpKind::Auto, 1000, Some(Login::new("u", "secret"))),
            ),
            ("http://cam", &Stream::default(), ("http://cam", HttpKind::Auto, 1000, None)),
        ] {
            let launch = launch(uri, stream);
            assert_eq!(
                launch.text,
                "appsrc name=source is-live=true do-timestamp=true format=time caps=image/jpeg \
                 ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY) ! videoconvert name=convert"
            );
            let fetch = launch.fetch.unwrap();
            let (address, kind, poll_ms, login) = fetched;
            assert_eq!((fetch.endpoint.address.as_str(), fetch.kind), (address, kind));
            assert_eq!((fetch.poll, fetch.login), (Duration::from_millis(poll_ms), login), "{uri}");
            assert!(launch.live && launch.properties.is_empty(), "{uri}");
        }
    }

    #[test]
    fn a_web_camera_hides_its_password_and_needs_a_host() {
        let source = Source::parse("http://u:p@cam/a?token=x").unwrap();
        assert_eq!(source.describe(), "http://u:***@cam/a?token=***");
        assert!(source.is_camera() && source.is_live());
        for (uri, form) in [("http:", "http://HOST:PORT/PATH"), ("https://", "https://HOST:PORT/PATH")] {
            assert_eq!(Source::parse(uri).unwrap_err().to_string(), format!("expected {form}"));
        }
        let launch = source.launch(&Stream::default(), None).unwrap();
        assert!(!format!("{launch:?}").contains("\"p\""), "{launch:?}");
    }
}
