//! TLS to the broker (RFC 8446, RFC 5246): the authorities that this device trusts and the certificate that it
//! presents.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rumqttc::{TlsConfiguration, Transport};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{self, SecretError};

// Keys of `[publish.mqtt]` that name files.
const CA_FILE: &str = "publish.mqtt.ca_file";
const CERT_FILE: &str = "publish.mqtt.cert_file";
const KEY_FILE: &str = "publish.mqtt.key_file";

/// Maximum number of certificates in a chain.
const LONGEST_CHAIN: usize = 8;

/// The TLS settings are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] SecretError),
    /// A file has the wrong content.
    #[error("{key}, {file}: {what}; expected {expected} in PEM form, which begins with `-----BEGIN`")]
    Content {
        /// The configuration key.
        key: &'static str,
        /// The file, as configured.
        file: String,
        /// What is wrong.
        what: String,
        /// The expected content.
        expected: &'static str,
    },
    /// This device's certificate and key do not match.
    #[error("publish.mqtt.key_file is not the key of publish.mqtt.cert_file, or of a kind that is not supported")]
    Client(#[source] rustls::Error),
    /// There is no authority to trust.
    #[error("this system trusts no certificate authority: install ca-certificates, or set publish.mqtt.ca_file")]
    NoAuthority,
    /// The trusted authorities are unusable.
    #[error("certificates cannot be checked")]
    Verifier(#[from] VerifierBuilderError),
    /// The library's own settings are inconsistent.
    #[error("TLS cannot be set up")]
    Protocol(#[source] rustls::Error),
}

/// The transport to the broker of `settings`: TCP, or TLS with the verifier that checks its certificate and records its
/// expiry.
///
/// # Errors
/// If a file of the settings cannot be read or has the wrong content.
pub(super) fn transport(settings: &config::Mqtt) -> Result<(Transport, Option<Arc<Verifier>>), TlsError> {
    if !settings.tls {
        return Ok((Transport::Tcp, None));
    }
    let provider = Arc::new(ring::default_provider());
    let authorities = match settings.danger_accept_any_certificate {
        true => None,
        false => Some(authorities(settings, &provider)?),
    };
    let algorithms = provider.signature_verification_algorithms;
    let name = ServerName::try_from(settings.host.clone()).ok();
    let verifier = Arc::new(Verifier { name, authorities, algorithms, valid_until: Mutex::default() });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
    let config = match settings.cert_file.as_str() {
        "" => builder.with_no_client_auth(),
        file => {
            let chain = config::read_certificates(CERT_FILE, file)?;
            builder.with_client_auth_cert(chain, key(&settings.key_file)?).map_err(TlsError::Client)?
        }
    };
    Ok((Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))), Some(verifier)))
}

/// The authorities that may sign the broker's certificate.
fn authorities(settings: &config::Mqtt, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut authorities = RootCertStore::empty();
    match settings.ca_file.as_str() {
        "" => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!("ignoring a certificate authority of the system: {error}");
            }
            authorities.add_parsable_certificates(found.certs);
        }
        file => {
            for certificate in config::read_certificates(CA_FILE, file)? {
                authorities.add(certificate).map_err(|error| content(CA_FILE, file, error, CERTIFICATE))?;
            }
        }
    }
    if authorities.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    Ok(WebPkiServerVerifier::builder_with_provider(authorities.into(), Arc::clone(provider)).build()?)
}

const CERTIFICATE: &str = "a certificate";

fn key(file: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = config::read_pem(KEY_FILE, file)?;
    let encrypted = text.contains("ENCRYPTED");
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        _ if encrypted => content(KEY_FILE, file, "the key is encrypted", "one without a password"),
        pem::Error::NoItemsFound => content(KEY_FILE, file, "no key in it", "a key"),
        error => content(KEY_FILE, file, error, "a key"),
    })
}

fn content(key: &'static str, file: &str, what: impl ToString, expected: &'static str) -> TlsError {
    TlsError::Content { key, file: file.to_owned(), what: what.to_string(), expected }
}

/// Checks the broker's certificate and records until when it is valid.
#[derive(Debug)]
pub(super) struct Verifier {
    /// The configured name, for which the certificate must be, also if the library is given an address.
    name: Option<ServerName<'static>>,
    /// `None` if every certificate is accepted.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    valid_until: Mutex<Option<Timestamp>>,
}

impl Verifier {
    /// When the first certificate of the broker's chain expires, if a chain has been shown and checked.
    pub(super) fn valid_until(&self) -> Option<Timestamp> {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        revocation: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        let name = self.name.as_ref().unwrap_or(name);
        let at = |time| authorities.verify_server_cert(certificate, between, name, revocation, time);
        let verified = at(now)?;
        // Checked at a time when everything has expired, it reports when one certificate expires; then, at that time,
        // the next one.
        let mut until = None;
        let mut time = UnixTime::since_unix_epoch(Duration::from_secs(Timestamp::MAX.as_second().unsigned_abs()));
        for _ in 0..LONGEST_CHAIN {
            match at(time) {
                Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                    until = timestamp(not_after);
                    time = not_after;
                }
                _ => break,
            }
        }
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The time of a certificate field; `None` if it is after the year 9999.
pub(super) fn timestamp(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(time.as_secs().try_into().ok()?).ok()
}
