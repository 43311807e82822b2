//! Logs in at a web camera: Basic (RFC 7617) and Digest (RFC 7616), with MD5 or SHA-256.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gio::glib;

use crate::capture::scheme::Endpoint;

/// Maximum challenges of an answer that are looked at.
const MOST_CHALLENGES: usize = 16;

/// The cameras, by host and port, that have asked for digest authentication since the program started.
static ASKED_FOR_DIGEST: Mutex<BTreeSet<(String, u16)>> = Mutex::new(BTreeSet::new());

/// User and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// Control characters have no place in a header.
    pub(in crate::capture) fn new(user: &str, password: &str) -> Self {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
        Self { user: clean(user), password: clean(password) }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login")
    }
}

/// Why a challenge is not met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    /// The camera wants the password in clear, after it had asked for a digest.
    InClear,
    /// Nothing that it offers is known.
    Unknown(String),
}

/// An algorithm of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
}

/// A challenge that is met.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Basic,
    Digest {
        algorithm: Algorithm,
        /// The name of the algorithm as the camera wrote it, if it did.
        name: Option<String>,
        /// Whether the password is hashed with the nonces first.
        per_session: bool,
        realm: String,
        nonce: String,
        opaque: Option<String>,
        /// Whether requests are counted (`qop=auth`).
        counts: bool,
        /// Whether only the nonce of the last login was too old.
        stale: bool,
    },
}

/// A challenge, and how often it has been met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    kind: Kind,
    count: u32,
}

impl Challenge {
    /// The best challenge of an answer with these `WWW-Authenticate` headers.
    ///
    /// # Errors
    /// Why none is met.
    pub(super) fn of<'a>(headers: impl Iterator<Item = &'a str>, endpoint: &Endpoint) -> Result<Self, Unmet> {
        let offers: Vec<Offer> = headers.flat_map(offers).take(MOST_CHALLENGES).collect();
        let is = |offer: &Offer, scheme: &str| offer.scheme.eq_ignore_ascii_case(scheme);
        let camera = (endpoint.host.to_ascii_lowercase(), endpoint.port);
        let mut cameras = ASKED_FOR_DIGEST.lock().unwrap_or_else(PoisonError::into_inner);
        if offers.iter().any(|offer| is(offer, "Digest")) {
            cameras.insert(camera);
            let digests = offers.iter().filter(|offer| is(offer, "Digest")).filter_map(Offer::digest);
            let best = digests.max_by_key(|kind| match kind {
                Kind::Digest { algorithm, .. } => Some(*algorithm),
                Kind::Basic => None,
            });
            return best.map(|kind| Self { kind, count: 0 }).ok_or_else(|| Unmet::Unknown("another digest".into()));
        }
        match offers.iter().any(|offer| is(offer, "Basic")) {
            true if cameras.contains(&camera) => Err(Unmet::InClear),
            true => Ok(Self { kind: Kind::Basic, count: 0 }),
            false => {
                let schemes: Vec<&str> = offers.iter().map(|offer| offer.scheme.as_str()).collect();
                Err(Unmet::Unknown(if schemes.is_empty() { "none named".into() } else { schemes.join(", ") }))
            }
        }
    }

    /// Whether only the nonce of the last login was too old.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self.kind, Kind::Digest { stale: true, .. })
    }

    /// The value of the `Authorization` header of the next request, which is a GET of `target`.
    pub(super) fn answer(&mut self, login: &Login, target: &str) -> String {
        self.count += 1;
        // Each state hashes in a way of its own, which the standard library draws from the system's random numbers.
        let chance = RandomState::new().build_hasher().finish();
        self.answer_with(login, target, &format!("{chance:016x}"))
    }

    fn answer_with(&self, login: &Login, target: &str, cnonce: &str) -> String {
        let Login { user, password } = login;
        let Kind::Digest { algorithm, name, per_session, realm, nonce, opaque, counts, .. } = &self.kind else {
            return format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        };
        let hash = |text: String| digest(*algorithm, &text);
        let mut secret = hash(format!("{user}:{realm}:{password}"));
        if *per_session {
            secret = hash(format!("{secret}:{nonce}:{cnonce}"));
        }
        let (request, count) = (hash(format!("GET:{target}")), format!("{:08x}", self.count));
        let response = match counts {
            true => hash(format!("{secret}:{nonce}:{count}:{cnonce}:auth:{request}")),
            false => hash(format!("{secret}:{nonce}:{request}")),
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut answer = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{target}\", response=\"{response}\"",
            quoted(user),
            quoted(realm),
            quoted(nonce)
        );
        // Writing to text does not fail.
        if let Some(name) = name {
            let _ = write!(answer, ", algorithm={name}");
        }
        if *counts {
            let _ = write!(answer, ", qop=auth, nc={count}");
        }
        if *counts || *per_session {
            let _ = write!(answer, ", cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = opaque {
            let _ = write!(answer, ", opaque=\"{}\"", quoted(opaque));
        }
        answer
    }
}

/// In hexadecimal digits.
fn digest(algorithm: Algorithm, text: &str) -> String {
    let kind = match algorithm {
        Algorithm::Md5 => glib::ChecksumType::Md5,
        Algorithm::Sha256 => glib::ChecksumType::Sha256,
    };
    let Some(mut sum) = glib::Checksum::new(kind) else { return String::new() };
    sum.update(text.as_bytes());
    sum.string().unwrap_or_default()
}

/// A challenge as it was sent.
#[derive(Debug)]
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Offer {
    fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `None` for an algorithm or a protection that is not known.
    fn digest(&self) -> Option<Kind> {
        let name = self.value("algorithm");
        let (algorithm, per_session) = match name.unwrap_or("MD5").to_ascii_uppercase().as_str() {
            "MD5" => (Algorithm::Md5, false),
            "MD5-SESS" => (Algorithm::Md5, true),
            "SHA-256" => (Algorithm::Sha256, false),
            "SHA-256-SESS" => (Algorithm::Sha256, true),
            _ => return None,
        };
        let mut protections = self.value("qop").unwrap_or_default().split(',').map(str::trim);
        let counts = protections.any(|word| word.eq_ignore_ascii_case("auth"));
        let others = self.value("qop").is_some_and(|words| !words.trim().is_empty());
        (counts || !others).then(|| Kind::Digest {
            algorithm,
            name: name.map(str::to_owned),
            per_session,
            realm: self.value("realm").unwrap_or_default().to_owned(),
            nonce: self.value("nonce").unwrap_or_default().to_owned(),
            opaque: self.value("opaque").map(str::to_owned),
            counts,
            stale: self.value("stale").is_some_and(|word| word.eq_ignore_ascii_case("true")),
        })
    }
}

/// The challenges of a header. A comma separates both challenges and the parameters of one (RFC 9110, 11.6.1).
fn offers(header: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for item in items(header) {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        let (first, second) =
            key.trim_end().split_once([' ', '\t']).map_or(("", key), |(first, second)| (first, second));
        let (scheme, key) = if item.contains('=') { (first, second.trim()) } else { (item, "") };
        if !scheme.is_empty() {
            offers.push(Offer { scheme: scheme.trim().to_owned(), parameters: Vec::new() });
        }
        if let (false, Some(offer)) = (key.is_empty(), offers.last_mut()) {
            offer.parameters.push((key.to_owned(), unquoted(value.trim())));
        }
    }
    offers
}

/// What is between the commas that are not quoted.
fn items(header: &str) -> Vec<&str> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in header.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(header[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(header[start..].trim());
    items.retain(|item| !item.is_empty());
    items
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut escaped = false;
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let is_text = |c: &char| {
        let was_escaped = escaped;
        escaped = *c == '\\' && !was_escaped;
        !escaped
    };
    inner.chars().filter(is_text).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint::of(&format!("http://{host}/a")).unwrap()
    }

    /// The examples of RFC 7616, 3.9.1.
    #[test]
    fn digests_are_those_of_the_standard() {
        let challenge = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        let login = Login::new("Mufasa", "Circle of Life");
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let header = challenge(algorithm);
            let mut challenge = Challenge::of([header.as_str()].into_iter(), &endpoint("standard")).unwrap();
            challenge.count = 1;
            let answer = challenge.answer_with(&login, "/dir/index.html", cnonce);
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            let rest = "qop=auth, nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", opaque=\"FQhe/";
            assert!(answer.contains(rest), "{answer}");
        }
    }

    /// The example of RFC 2069, whose digest has no counter, as corrected by its erratum; and that of RFC 7617, 2.
    #[test]
    fn older_digests_and_basic_are_those_of_the_standard() {
        let header = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let challenge = Challenge::of([header].into_iter(), &endpoint("older")).unwrap();
        let answer = challenge.answer_with(&Login::new("Mufasa", "CircleOfLife"), "/dir/index.html", "x");
        assert!(
            answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\"") && !answer.contains("nc="),
            "{answer}"
        );
        let mut challenge = Challenge::of(["Basic realm=\"WallyWorld\""].into_iter(), &endpoint("basic")).unwrap();
        assert_eq!(challenge.answer(&Login::new("Aladdin", "open sesame"), "/"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn the_best_challenge_is_met_and_a_password_in_clear_only_where_no_digest_was_asked_for() {
        let of = |headers: &[&str], host: &str| Challenge::of(headers.iter().copied(), &endpoint(host));
        let both =
            ["Basic realm=\"a, b\", Digest realm=\"r\", nonce=\"m\", Digest nonce=\"s\", algorithm=SHA-256, qop=auth"];
        let Kind::Digest { algorithm, nonce, .. } = of(&both, "both").unwrap().kind else {
            panic!("a digest is offered")
        };
        assert_eq!((algorithm, nonce.as_str()), (Algorithm::Sha256, "s"));
        let basic = ["Negotiate", "Basic realm=\"x\""];
        assert_eq!(of(&basic, "both"), Err(Unmet::InClear));
        assert_eq!(of(&basic, "other").unwrap().kind, Kind::Basic);
        assert_eq!(of(&["Negotiate", "Bearer realm=x"], "other"), Err(Unmet::Unknown("Negotiate, Bearer".into())));
        assert_eq!(of(&[], "other"), Err(Unmet::Unknown("none named".into())));
        assert_eq!(of(&["Digest nonce=a, qop=\"auth-int\""], "third"), Err(Unmet::Unknown("another digest".into())));
        assert!(of(&["Digest nonce=a, stale=TRUE"], "third").unwrap().is_stale());
    }

    #[test]
    fn quotes_and_escapes_are_read_and_written() {
        let header = r#"Digest realm="a \"b\", c=d", nonce="n""#;
        let challenge = Challenge::of([header].into_iter(), &endpoint("quotes")).unwrap();
        let Kind::Digest { realm, .. } = &challenge.kind else { panic!("a digest is offered") };
        assert_eq!(realm, r#"a "b", c=d"#);
        let answer = challenge.answer_with(&Login::new("m\"e\r\n", "p"), "/", "x");
        assert!(answer.starts_with(r#"Digest username="m\"e", realm="a \"b\", c=d","#), "{answer}");
        for odd in ["", ",", "=", "\"", "Digest", "Digest =", "a=\"\\", "ü ü=ü"] {
            let _ = offers(odd);
        }
    }
}
