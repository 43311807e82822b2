//! Secrets and certificates come from files, never from the configuration itself.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

use crate::regular;

/// Maximum size of a secret file in bytes.
const LARGEST_FILE: u64 = 1 << 16;
/// Maximum size of a certificate file in bytes; all certificates that a system trusts take a quarter of it.
const LARGEST_PEM: u64 = 1 << 20;

/// A secret or certificate is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read {} ({key})", path.display())]
    Unreadable {
        /// The configuration key.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has no content.
    #[error("{} ({key}) is empty", path.display())]
    Empty {
        /// The configuration key.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// The file holds no certificate.
    #[error(
        "{key}, {file}: {what}; expected a certificate in PEM form, which begins with `-----BEGIN CERTIFICATE-----`"
    )]
    Certificate {
        /// The configuration key.
        key: String,
        /// The file, as configured.
        file: String,
        /// What is wrong.
        what: String,
    },
}

/// The first line of `file`, which is named by the key `key`.
///
/// A name without a folder is looked up in `$CREDENTIALS_DIRECTORY` if systemd provides it.
///
/// # Errors
/// If the file is missing, unreadable or empty.
pub fn read_secret(key: &str, file: &str) -> Result<String, SecretError> {
    let path = secret_path(file);
    match regular::read_text(&path, LARGEST_FILE) {
        Err(source) => Err(SecretError::Unreadable { key: key.into(), path, source }),
        Ok(text) => match text.lines().next().filter(|line| !line.is_empty()) {
            Some(line) => Ok(line.to_owned()),
            None => Err(SecretError::Empty { key: key.into(), path }),
        },
    }
}

/// The text of the PEM file `file` (RFC 7468), which is named by the key `key`, looked up as for [`read_secret`].
///
/// # Errors
/// If the file is missing, unreadable, empty or larger than a megabyte.
pub fn read_pem(key: &str, file: &str) -> Result<String, SecretError> {
    let path = secret_path(file);
    match regular::read_text(&path, LARGEST_PEM) {
        Err(source) => Err(SecretError::Unreadable { key: key.into(), path, source }),
        Ok(text) if text.trim().is_empty() => Err(SecretError::Empty { key: key.into(), path }),
        Ok(text) => Ok(text),
    }
}

/// The certificates of the PEM file `file`, one or more, which is named by the key `key`, looked up as for
/// [`read_secret`].
///
/// # Errors
/// If the file cannot be read or holds no certificate.
pub fn read_certificates(key: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let text = read_pem(key, file)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let what = match found {
        Ok(found) if found.is_empty() => "no certificate in it".to_owned(),
        Ok(found) => return Ok(found),
        Err(error) => error.to_string(),
    };
    Err(SecretError::Certificate { key: key.into(), file: file.into(), what })
}

/// Whether `file` is a bare name that only a service finds, in its `$CREDENTIALS_DIRECTORY`: this process has no such
/// directory, and no file of that name.
#[must_use]
pub fn is_missing_credential(file: &str) -> bool {
    env::var_os("CREDENTIALS_DIRECTORY").is_none() && !file.contains('/') && !Path::new(file).exists()
}

/// The path of `file`: a name without a folder is looked up in `$CREDENTIALS_DIRECTORY` if systemd provides it.
#[must_use]
pub fn secret_path(file: &str) -> PathBuf {
    match env::var_os("CREDENTIALS_DIRECTORY") {
        Some(folder) if !file.contains('/') => Path::new(&folder).join(file),
        _ => PathBuf::from(file),
    }
}
