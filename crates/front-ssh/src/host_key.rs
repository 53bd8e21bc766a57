//! The key by which a server is known.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

/// A server's key.
pub struct HostKey(PrivateKey);

/// Why there is none.
#[derive(Debug)]
pub enum HostKeyError {
    /// The file cannot be read or made.
    Io(io::Error),
    /// It is no key, or one that needs a pass phrase.
    Form(String),
    /// Others could read it.
    Readable,
}

impl std::fmt::Display for HostKeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostKeyError::Io(error) => error.fmt(f),
            HostKeyError::Form(words) => f.write_str(words),
            HostKeyError::Readable => f.write_str(
                "other users can read this key; 'chmod 600' it, and make another one if they did",
            ),
        }
    }
}

impl std::error::Error for HostKeyError {}

impl From<io::Error> for HostKeyError {
    fn from(error: io::Error) -> Self {
        HostKeyError::Io(error)
    }
}

impl HostKey {
    /// Reads a private key in OpenSSH's format; makes one (Ed25519), for its owner alone, where there is
    /// no file. Of several servers that start at once, one makes it.
    ///
    /// # Errors
    /// [`HostKeyError`].
    pub fn read_or_make(path: &Path) -> Result<Self, HostKeyError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, HostKeyError> {
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            return Err(HostKeyError::Readable);
        }
        let key = PrivateKey::from_openssh(text).map_err(|error| {
            HostKeyError::Form(format!("this is no private key of OpenSSH: {error}"))
        })?;
        match key.is_encrypted() {
            true => Err(HostKeyError::Form("this key needs a pass phrase".to_owned())),
            false => Ok(HostKey(key)),
        }
    }

    fn make(path: &Path) -> Result<Self, HostKeyError> {
        let form = |error: russh::keys::ssh_key::Error| HostKeyError::Form(error.to_string());
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
            .map_err(form)?;
        let text = key.to_openssh(LineEnding::LF).map_err(form)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Whole, or not at all.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| fs::hard_link(&name, path));
        let _ = fs::remove_file(&name);
        match linked {
            Ok(()) => Ok(HostKey(key)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::parse(path, &fs::read_to_string(path)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `SHA256:…`, as clients show it at the first visit.
    pub fn fingerprint(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// The line for `known_hosts`, without the host's name.
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    pub(crate) fn into_inner(self) -> PrivateKey {
        self.0
    }
}
