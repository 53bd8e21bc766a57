//! Signatures of version 4 (RFC 9580, section 5.2).

use super::material::{Hash, PublicKey};
use super::packet::{new_length, number, take};
use crate::BadSignature;

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    /// What it says (section 5.2.1).
    pub kind: u8,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds after which it does not hold any more; 0 for never.
    pub expires_after: u64,
    /// Seconds after its own making for which the key it is about holds; 0 for ever.
    pub key_expires_after: u64,
    /// What the key it is about is for.
    pub key_flags: Option<u8>,
    /// By which key it claims to be.
    pub issuer: Issuer,
    /// A signature of a subkey, of the key above it.
    pub embedded: Option<Box<Signature>>,
    algorithm: u8,
    hash: u8,
    /// What goes into the hash behind what is signed.
    trailer: Vec<u8>,
    /// Something that must be understood is not.
    is_strange: bool,
    /// The numbers.
    made: Vec<u8>,
}

/// By which key a signature claims to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Issuer {
    key_id: Option<[u8; 8]>,
    fingerprint: Option<[u8; 20]>,
}

impl Issuer {
    /// Whether it may be this key.
    pub fn is(&self, fingerprint: &[u8; 20]) -> bool {
        match (&self.fingerprint, &self.key_id) {
            (Some(claimed), _) => claimed == fingerprint,
            (None, Some(id)) => fingerprint.ends_with(id),
            (None, None) => true,
        }
    }

    /// In hexadecimal, as far as it is told.
    pub fn shown(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        match (&self.fingerprint, &self.key_id) {
            (Some(fingerprint), _) => hex(fingerprint),
            (None, Some(id)) => hex(id),
            (None, None) => "an unnamed key".to_owned(),
        }
    }
}

pub(super) const BINARY: u8 = 0x00;
pub(super) const TEXT: u8 = 0x01;
pub(super) const SUBKEY_BINDING: u8 = 0x18;
pub(super) const PRIMARY_BINDING: u8 = 0x19;
pub(super) const DIRECT: u8 = 0x1f;
pub(super) const KEY_REVOCATION: u8 = 0x20;
pub(super) const SUBKEY_REVOCATION: u8 = 0x28;
pub(super) const CERTIFICATION_REVOCATION: u8 = 0x30;

/// The flag of keys that sign data.
pub(super) const SIGNS: u8 = 0x02;

/// How deep signatures are read inside each other.
const DEPTH_MAX: usize = 1;

impl Signature {
    /// Reads the body of a packet; `None` for what is no signature of version 4.
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::read_at(body, 0)
    }

    fn read_at(body: &[u8], depth: usize) -> Option<Self> {
        let mut rest = body;
        let head = take(&mut rest, 4)?;
        let [4, kind, algorithm, hash] = *head else { return None };
        let length = number(take(&mut rest, 2)?)?;
        let hashed = take(&mut rest, length)?;
        let above = &body[..6 + length];
        let length = number(take(&mut rest, 2)?)?;
        let unhashed = take(&mut rest, length)?;
        let _first_bytes_of_hash = take(&mut rest, 2)?;
        let length = u32::try_from(above.len()).ok()?;
        let trailer = [above, &[4, 0xff], &length.to_be_bytes()].concat();
        let mut signature = Signature {
            kind,
            created: 0,
            expires_after: 0,
            key_expires_after: 0,
            key_flags: None,
            issuer: Issuer::default(),
            embedded: None,
            algorithm,
            hash,
            trailer,
            is_strange: false,
            made: rest.to_vec(),
        };
        // Who it is by may stand where anybody can write: it is tried, and proves itself. All else counts
        // only where it is signed.
        signature.parts(unhashed, false, depth)?;
        signature.parts(hashed, true, depth)?;
        (signature.created != 0).then_some(signature)
    }

    fn parts(&mut self, parts: &[u8], are_signed: bool, depth: usize) -> Option<()> {
        let mut rest = parts;
        while !rest.is_empty() {
            let (length, tail) = new_length(rest)?;
            let (part, tail) = tail.split_at_checked(length)?;
            rest = tail;
            let (&head, value) = part.split_first()?;
            match (head & 0x7f, are_signed) {
                (2, true) => self.created = seconds(value)?,
                (3, true) => self.expires_after = seconds(value)?,
                (9, true) => self.key_expires_after = seconds(value)?,
                (16, _) => self.issuer.key_id = Some(value.try_into().ok()?),
                (27, true) => self.key_flags = Some(value.first().copied().unwrap_or(0)),
                (32, _) if depth < DEPTH_MAX => {
                    self.embedded = Self::read_at(value, depth + 1).map(Box::new);
                }
                (33, _) => {
                    if let Some(fingerprint) = value.strip_prefix(&[4]) {
                        self.issuer.fingerprint = Some(fingerprint.try_into().ok()?);
                    }
                }
                // What says nothing about whether it holds: features, preferences, reasons, names.
                (4 | 5 | 7 | 11 | 20..=26 | 28..=31 | 34 | 35 | 37 | 39, true) => {}
                (_, true) => self.is_strange |= head & 0x80 != 0,
                (_, false) => {}
            }
        }
        Some(())
    }

    /// Whether it is by this key, of this.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, key: &PublicKey, signed: &[&[u8]]) -> Result<(), BadSignature> {
        if self.is_strange {
            return Err(BadSignature::Form);
        }
        let hash = Hash::from_number(self.hash)?;
        let mut text = signed.concat();
        text.extend_from_slice(&self.trailer);
        key.verify(hash, &text, self.algorithm, &self.made)
    }

    /// Whether it holds at this time, in seconds since 1970.
    pub fn holds(&self, now: u64) -> bool {
        self.created <= now.saturating_add(CLOCK_SKEW)
            && (self.expires_after == 0 || now < self.created.saturating_add(self.expires_after))
    }
}

/// How much the clock of who signs may be ahead, seconds.
const CLOCK_SKEW: u64 = 600;

fn seconds(value: &[u8]) -> Option<u64> {
    let value: [u8; 4] = value.try_into().ok()?;
    Some(u32::from_be_bytes(value).into())
}
