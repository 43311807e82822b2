//! Certificates of a test authority, as PEM files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority, and the folder for the certificates that it signs.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// `NAME.pem` and `NAME.key` in `folder` are its own certificate and key.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(folder.join(name).with_extension("pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// Makes `NAME.pem` and `NAME.key` for `names`, host names or addresses, with the validity `days` relative to
    /// today.
    pub fn sign(&self, name: &str, names: &[&str], days: std::ops::Range<i32>) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let at = |days: i32| match SystemTime::now() {
            now if days < 0 => now - DAY * days.unsigned_abs(),
            now => now + DAY * days.unsigned_abs(),
        };
        (params.not_before, params.not_after) = (at(days.start).into(), at(days.end).into());
        let key = KeyPair::generate().unwrap();
        let path = self.folder.join(name);
        fs::write(path.with_extension("pem"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(path.with_extension("key"), key.serialize_pem()).unwrap();
    }
}

/// Makes `NAME.pem` and `NAME.key` in `folder`: a certificate that signs itself, for `names`, as cameras make them.
#[allow(dead_code, reason = "each test takes what it needs")]
pub fn sign_itself(folder: &Path, name: &str, names: &[&str]) {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join(name).with_extension("pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
}

/// Options for Mosquitto to present the certificate `name` of `folder`; as root it could not read the files otherwise.
pub fn listener(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let (certificate, key) = (path.with_extension("pem"), path.with_extension("key"));
    let authority = folder.join("authority.pem");
    format!(
        "allow_anonymous true\nuser root\ncafile {}\ncertfile {}\nkeyfile {}",
        authority.display(),
        certificate.display(),
        key.display()
    )
}
