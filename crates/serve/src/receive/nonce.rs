//! The nonce of signed pushes: proof that a certificate was made for this server, lately.
//!
//! `<seconds>-<HMAC over "<repository>:<seconds>" and the seed>`, in the argument order git
//! uses, so that several servers with one seed accept each other's (RFC 2104).

use bstr::{BStr, BString, ByteSlice as _};
use object::{Checksum, HashKind};

/// Both hashes of Git work on blocks of this many bytes.
const BLOCK_BYTES: usize = 64;

/// What is known about the nonce of a certificate (`GIT_PUSH_CERT_NONCE_STATUS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NonceStatus {
    /// There is none.
    Missing,
    /// It is not one of ours.
    Bad,
    /// It is the one this session gave out, or one as good.
    Ok,
    /// It is ours, but from this many seconds ago.
    Slop(i64),
}

impl NonceStatus {
    pub fn word(self) -> &'static str {
        match self {
            NonceStatus::Missing => "MISSING",
            NonceStatus::Bad => "BAD",
            NonceStatus::Ok => "OK",
            NonceStatus::Slop(_) => "SLOP",
        }
    }
}

/// Makes and checks nonces for one repository.
#[derive(Debug, Clone)]
pub(super) struct Nonces<'a> {
    pub hash: HashKind,
    /// The repository as the session named it.
    pub repository: &'a BStr,
    pub seed: &'a BStr,
}

impl Nonces<'_> {
    /// The nonce of a moment, in seconds since 1970.
    pub fn at(&self, seconds: u64) -> BString {
        let mut key = self.repository.to_vec();
        key.extend_from_slice(format!(":{seconds}").as_bytes());
        let tag = hmac(self.hash, &key, self.seed);
        BString::from(format!("{seconds}-{}", hex(&tag)))
    }

    /// Judges the nonce `found` in a certificate against the one `given` out. Without a
    /// conversation behind it (`stateless`) an older one counts within the slop, and then
    /// becomes the one that hooks are told.
    pub fn check(
        &self,
        found: Option<&BStr>,
        given: &mut BString,
        stateless: bool,
        slop_seconds: u64,
    ) -> NonceStatus {
        let Some(found) = found else { return NonceStatus::Missing };
        if found == given.as_bstr() {
            return NonceStatus::Ok;
        }
        let Some(stamp) = seconds_of(found).filter(|_| stateless) else { return NonceStatus::Bad };
        if !equal_in_constant_time(&self.at(stamp), found) {
            return NonceStatus::Bad;
        }
        let now = seconds_of(given.as_bstr()).unwrap_or(stamp);
        let age = now as i64 - stamp as i64;
        if slop_seconds > 0 && age.unsigned_abs() <= slop_seconds {
            *given = found.to_owned();
            return NonceStatus::Ok;
        }
        NonceStatus::Slop(age)
    }
}

/// The seconds in front of the `-`; a nonce starts with a digit other than 0.
fn seconds_of(nonce: &BStr) -> Option<u64> {
    let (seconds, _) = nonce.split_once_str("-")?;
    let starts_well = matches!(seconds.first(), Some(b'1'..=b'9'));
    let digits = seconds.to_str().ok().filter(|_| starts_well)?;
    digits.parse().ok().filter(|seconds| *seconds <= i64::MAX as u64)
}

fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

fn hmac(hash: HashKind, key: &[u8], text: &[u8]) -> Vec<u8> {
    let digest = |parts: [&[u8]; 2]| {
        let mut sum = Checksum::new(hash);
        parts.iter().for_each(|part| sum.update(part));
        sum.finish()
    };
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        let short = digest([key, b""]);
        block[..short.as_bytes().len()].copy_from_slice(short.as_bytes());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = digest([&block.map(|byte| byte ^ 0x36), text]);
    digest([&block.map(|byte| byte ^ 0x5c), inner.as_bytes()]).as_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_the_one_of_rfc_2202() {
        let tag = hmac(HashKind::Sha1, b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&tag), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn an_old_nonce_counts_only_without_a_conversation() {
        let nonces = Nonces {
            hash: HashKind::Sha1,
            repository: BStr::new("/srv/a.git"),
            seed: BStr::new("sekrit"),
        };
        let old = nonces.at(1_000);
        let mut given = nonces.at(1_060);
        let mut check =
            |stateless, slop| nonces.check(Some(old.as_bstr()), &mut given, stateless, slop);
        assert_eq!(check(false, 100), NonceStatus::Bad);
        assert_eq!(check(true, 10), NonceStatus::Slop(60));
        assert_eq!(check(true, 100), NonceStatus::Ok);
        assert_eq!(given, old);
        let forged = BString::from("1000-0000000000000000000000000000000000000000");
        let status = nonces.check(Some(forged.as_bstr()), &mut given, true, 100);
        assert_eq!(status, NonceStatus::Bad);
    }
}
