//! Whom to believe that it is the camera: the certificates of `rtsps://` (RFC 7826, 19.3).
//!
//! The TLS of GLib connects, as `rtspsrc` uses it, and so it also checks the certificates. Cameras and recorders sign
//! their certificates themselves, for names of their own; such a certificate is accepted if it is the one in the file of
//! the stream.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use gio::prelude::*;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::scheme::Endpoint;
use crate::config::{SecretError, Stream, read_certificates, secret_path};

/// Maximum characters of a name in a certificate that a message repeats.
const LONGEST: usize = 100;

/// Who may sign a camera's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that the system trusts.
    #[default]
    System,
    /// Those of a PEM file. One of its certificates may also be the camera's own.
    File {
        /// The file.
        path: PathBuf,
        /// Its certificates, in DER form.
        certificates: Arc<[Vec<u8>]>,
    },
    /// Anybody.
    Anybody,
}

/// GLib cannot use the authorities.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no TLS.
    #[error(
        "GLib has no TLS, which rtsps:// and https:// need; it is in the package glib-networking (apt install \
         glib-networking)"
    )]
    NoTls,
    /// The file is unusable.
    #[error("{} (stream.ca_file): {message}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// GLib's message.
        message: String,
    },
}

impl Trust {
    /// Reads the authorities of a stream.
    ///
    /// # Errors
    /// If the file cannot be read or holds no certificate.
    pub fn of(stream: &Stream) -> Result<Self, SecretError> {
        match (stream.danger_accept_any_certificate, stream.ca_file.as_str()) {
            (true, _) => Ok(Self::Anybody),
            (false, "") => Ok(Self::System),
            (false, file) => {
                let certificates = read_certificates("stream.ca_file", file)?;
                let certificates = certificates.iter().map(|certificate| certificate.to_vec()).collect();
                Ok(Self::File { path: secret_path(file), certificates })
            }
        }
    }

    /// The authorities for GLib; `None` for its default, those of the system.
    ///
    /// # Errors
    /// If GLib has no TLS, or cannot use the file.
    pub(super) fn database(&self) -> Result<Option<gio::TlsDatabase>, TrustError> {
        if !gio::TlsBackend::default().supports_tls() {
            return Err(TrustError::NoTls);
        }
        let Self::File { path, .. } = self else { return Ok(None) };
        let failed = |message: String| TrustError::Authorities { path: path.clone(), message };
        let whole = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let database = gio::TlsFileDatabase::new(whole).map_err(|error| failed(error.to_string()))?;
        Ok(Some(database.upcast()))
    }

    /// Whether `certificate` is accepted although GLib found `faults`.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn accept(
        &self,
        certificate: &gio::TlsCertificate,
        faults: gio::TlsCertificateFlags,
        endpoint: &Endpoint,
    ) -> Result<(), Box<Untrusted>> {
        let der = certificate.certificate();
        let der = der.as_deref().unwrap_or_default();
        let is_accepted = match self {
            Self::System => false,
            Self::File { certificates, .. } => certificates.iter().any(|pinned| pinned == der),
            Self::Anybody => true,
        };
        if is_accepted || faults.is_empty() {
            Ok(())
        } else {
            Err(Box::new(Untrusted::new(certificate, der, faults, endpoint)))
        }
    }
}

/// A certificate that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the camera's certificate is not trusted: {faults} (subject {subject}; issuer {issuer}; SHA-256 fingerprint \
     {fingerprint})"
)]
pub struct Untrusted {
    faults: String,
    subject: String,
    issuer: String,
    fingerprint: Fingerprint,
    place: String,
}

impl Untrusted {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        format!(
            "if the camera shows this fingerprint, too, save its certificate (openssl s_client -connect {} </dev/null | \
             openssl x509 >camera.pem) and set stream.ca_file to that file; with stream.danger_accept_any_certificate = \
             true, nothing is checked",
            self.place
        )
    }

    fn new(
        certificate: &gio::TlsCertificate,
        der: &[u8],
        faults: gio::TlsCertificateFlags,
        endpoint: &Endpoint,
    ) -> Self {
        use gio::TlsCertificateFlags as Fault;
        let texts = [
            (Fault::UNKNOWN_CA, "no trusted authority has signed it"),
            (Fault::BAD_IDENTITY, "it is for another name"),
            (Fault::NOT_ACTIVATED, "it is not valid yet, or this device's clock is wrong"),
            (Fault::EXPIRED, "it has expired, or this device's clock is wrong"),
            (Fault::REVOKED, "it has been revoked"),
            (Fault::INSECURE, "its algorithm is not secure"),
        ];
        let found: Vec<&str> =
            texts.iter().filter(|(fault, _)| faults.contains(*fault)).map(|(_, text)| *text).collect();
        let faults = if found.is_empty() { "it is damaged".to_owned() } else { found.join(", ") };
        let host = &endpoint.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Self {
            faults,
            subject: name(certificate, "subject-name"),
            issuer: name(certificate, "issuer-name"),
            fingerprint: Fingerprint(Sha256::digest(der).into()),
            place: format!("{host}:{}", endpoint.port),
        }
    }
}

/// A name in a certificate, without control characters. GLib tells names from version 2.70 on.
fn name(certificate: &gio::TlsCertificate, property: &str) -> String {
    let name = certificate.find_property(property).and_then(|_| certificate.property::<Option<String>>(property));
    match name {
        None => "not known".into(),
        Some(name) => name.chars().take(LONGEST).flat_map(char::escape_debug).collect(),
    }
}

/// When a certificate expires, if GLib tells it: from version 2.70 on.
pub(super) fn valid_until(certificate: &gio::TlsCertificate) -> Option<Timestamp> {
    certificate.find_property("not-valid-after")?;
    let date = certificate.property::<Option<gio::glib::DateTime>>("not-valid-after")?;
    Timestamp::from_second(date.to_unix()).ok()
}

/// A SHA-256, as cameras and `openssl x509 -fingerprint` show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let between = if index > 0 { ":" } else { "" };
            write!(f, "{between}{byte:02X}")?;
        }
        Ok(())
    }
}
