//! Push certificates: the text a pusher signs (gitprotocol-pack, "Push Certificate").
//!
//! Takes them apart; checks no signature and no nonce.

use bstr::{BStr, ByteSlice as _};

use crate::Error;
use crate::quote::quote;

/// A push certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCert {
    bytes: Vec<u8>,
    /// Where the commands start: behind the header's blank line.
    commands_at: usize,
    /// Where the signature starts: the end of what is signed.
    signature_at: usize,
}

/// The first lines of the signatures git knows: OpenPGP, X.509, SSH.
const SIGNATURE_STARTS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
];

/// Bytes of a certificate without a header that its refusal repeats, as in git.
const SHOWN_BYTES_MAX: usize = 100;

impl PushCert {
    /// Takes a certificate apart.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, Error> {
        let Some(blank) = bytes.find(b"\n\n") else {
            let shown = quote(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]);
            return Err(Error::Malformed(format!("malformed push certificate {shown}")));
        };
        let mut signature_at = bytes.len();
        let mut at = 0;
        for line in bytes.lines_with_terminator() {
            if SIGNATURE_STARTS.iter().any(|start| line.starts_with(start)) {
                signature_at = at;
            }
            at += line.len();
        }
        Ok(PushCert { bytes, commands_at: blank + 2, signature_at })
    }

    /// The whole text, which git stores as a blob (`GIT_PUSH_CERT`).
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is signed.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..self.signature_at]
    }

    /// The signature; empty when there is none.
    pub fn signature(&self) -> &[u8] {
        &self.bytes[self.signature_at..]
    }

    /// The first value of a header such as `pusher`, `pushee` or `nonce`.
    pub fn header<'a>(&'a self, key: &'a str) -> Option<&'a BStr> {
        self.headers(key).next()
    }

    /// The push options that were signed.
    pub fn push_options(&self) -> impl Iterator<Item = &BStr> {
        self.headers("push-option")
    }

    fn headers<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a BStr> {
        self.bytes
            .lines_with_terminator()
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
            .take_while(|line| !line.is_empty())
            .filter_map(move |line| line.strip_prefix(key.as_bytes())?.strip_prefix(b" "))
            .map(BStr::new)
    }

    /// The command lines.
    pub(super) fn commands(&self) -> impl Iterator<Item = &[u8]> {
        // A signature in the header would end the certificate before its commands.
        self.bytes
            .get(self.commands_at..self.signature_at)
            .unwrap_or_default()
            .lines_with_terminator()
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }
}
