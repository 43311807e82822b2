//! Explains why a TLS handshake with a broker failed, and what to do.

use std::error::Error;
use std::io;

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError};

use super::tls::timestamp;

/// Why this device and the broker do not trust each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The broker's certificate has expired.
    #[error("the broker's certificate has expired{}", on(*.0))]
    Expired(Option<Timestamp>),
    /// It is not valid yet.
    #[error("the broker's certificate is not valid yet{}", on(*.0))]
    NotYet(Option<Timestamp>),
    /// No trusted authority has signed it.
    #[error("the broker's certificate is not signed by a trusted authority")]
    Issuer,
    /// It is that of an authority, which may be the broker's own.
    #[error("the broker's certificate is that of an authority (CA:TRUE), not of a broker")]
    Authority,
    /// It is in the first version of X.509, which has no names of servers.
    #[error("the broker's certificate has X.509 version 1, without subjectAltName")]
    Version,
    /// It is for another name.
    #[error("the broker's certificate is for {0}")]
    Name(String),
    /// It is rejected for another reason.
    #[error("the broker's certificate is not accepted: {0}")]
    Certificate(String),
    /// The broker rejects this device's certificate, or requires one.
    #[error("the broker rejects this device's certificate, or requires one ({0})")]
    Refused(String),
    /// The server does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// Anything else, such as no cipher in common.
    #[error("TLS fails: {0}")]
    Other(String),
}

fn on(time: Option<Timestamp>) -> String {
    time.map(|time| format!(" ({time})")).unwrap_or_default()
}

impl HandshakeError {
    /// The reason, if `error` comes from TLS.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            // `source` of an I/O error skips the error that it wraps.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = wrapped.and_then(|error| error.downcast_ref::<rustls::Error>());
            if let Some(error) = inner.or_else(|| error.downcast_ref()) {
                return Some(Self::from(error));
            }
            next = wrapped.map(|error| error as _).or_else(|| error.source());
        }
        None
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Expired(_) => "renew it there; if it is in order, this device's clock is wrong",
            Self::NotYet(_) => "set this device's clock (see `hardnetd doctor`, clock)",
            Self::Issuer => "name the certificate of the authority that signed it in publish.mqtt.ca_file",
            Self::Authority => {
                "sign a certificate for the broker with it; or make one with basicConstraints = CA:FALSE that signs \
                 itself, and name that in publish.mqtt.ca_file"
            }
            Self::Version => {
                "have one issued with the broker's name, such as by `openssl x509 -req … -extfile FILE` with \
                 subjectAltName = DNS:broker.local in the file"
            }
            Self::Name(_) => "set publish.mqtt.host to that name, or have the certificate issued for the broker's name",
            Self::Certificate(_) => "have a new one issued for the broker",
            Self::Refused(_) => "set publish.mqtt.cert_file and key_file to a pair signed by the broker's authority",
            Self::NotTls => "check that publish.mqtt.port is that of MQTT over TLS (usually 8883)",
            Self::Other(_) => "see the broker's log",
        }
    }
}

impl From<&rustls::Error> for HandshakeError {
    fn from(error: &rustls::Error) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::Expired => Self::Expired(None),
                CertificateError::ExpiredContext { not_after, .. } => Self::Expired(timestamp(*not_after)),
                CertificateError::NotValidYet => Self::NotYet(None),
                CertificateError::NotValidYetContext { not_before, .. } => Self::NotYet(timestamp(*not_before)),
                // The signature is wrong if an authority has the name of the issuer, and another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Issuer,
                CertificateError::NotValidForName => Self::Name("another name".into()),
                CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                    Self::Name("no name (subjectAltName is missing)".into())
                }
                CertificateError::NotValidForNameContext { presented, .. } => {
                    let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
                    Self::Name(names.join(", "))
                }
                CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => Self::Authority,
                CertificateError::Other(error) if error.to_string().contains("UnsupportedCertVersion") => Self::Version,
                other => Self::Certificate(other.to_string()),
            },
            rustls::Error::AlertReceived(
                alert @ (Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::HandshakeFailure
                | Alert::DecryptError),
            ) => Self::Refused(format!("{alert:?}")),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            other => Self::Other(other.to_string()),
        }
    }
}

/// A name as people write it: the library writes `DnsName("broker")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inside.trim_matches('"')
}

#[cfg(test)]
mod units {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_reason_is_found_behind_errors_of_input_and_output() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let outer = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        assert_eq!(HandshakeError::of(&outer), Some(HandshakeError::Issuer));
        let other_key = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(HandshakeError::of(&other_key), Some(HandshakeError::Issuer));
        assert_eq!(HandshakeError::of(&io::Error::other("no route")), None);
    }

    #[test]
    fn names_of_a_certificate_are_bare() {
        assert_eq!(bare("DnsName(\"broker.local\")"), "broker.local");
        assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare("broker"), "broker");
    }

    #[test]
    fn every_reason_has_a_remedy_and_times_are_dates() {
        let expired = HandshakeError::Expired(Some("2026-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(expired.to_string(), "the broker's certificate has expired (2026-01-02T03:04:05Z)");
        assert!(expired.remedy().contains("clock"));
    }
}
