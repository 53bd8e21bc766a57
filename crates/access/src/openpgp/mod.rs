//! OpenPGP keys of accounts, and signatures by them (RFC 9580; keys and signatures of version 4, which
//! RFC 4880 has, too).
//!
//! A key here is what `gpg --export --armor` gives: a primary key with names and subkeys, each bound to it by
//! signatures, which are looked at when it is read. What counts is judged at the time of a push: a key that
//! has ended by then signs nothing, whatever it signed before.

mod material;
mod packet;
mod signature;

use crate::{BadSignature, Date};

use material::PublicKey;
use packet::{PUBLIC_KEY, PUBLIC_SUBKEY, SIGNATURE, USER_ID, packets, unarmoured};
use signature::{
    BINARY, CERTIFICATION_REVOCATION, DIRECT, KEY_REVOCATION, PRIMARY_BINDING, SIGNS,
    SUBKEY_BINDING, SUBKEY_REVOCATION, Signature, TEXT,
};

/// How an armoured signature begins.
pub(crate) const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const BEGIN_KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const BEGIN_PRIVATE: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";

/// Packets of one key that are read.
const PACKETS_MAX: usize = 2000;
/// Signatures of one key that are checked: each costs a look at its mathematics.
const CHECKS_MAX: usize = 200;

/// A text that is no OpenPGP key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPgpKey {
    /// It is not in the form of one, or of another version than 4.
    #[error("this is no OpenPGP public key: 'gpg --export --armor' gives one")]
    Form,
    /// Somebody is about to give his secret away.
    #[error("this is a private key; 'gpg --export --armor' gives the public one")]
    Private,
    /// There are several, or far too much in it.
    #[error("this is more than one OpenPGP key, or too long a one")]
    Much,
}

/// A key: the primary one, and those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgpKey {
    primary: Member,
    subkeys: Vec<Member>,
    users: Vec<String>,
    text: String,
}

/// One key of several, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    key: PublicKey,
    /// The newest of the signatures by which it is what it is.
    said: Option<Said>,
    is_revoked: bool,
}

/// What a signature says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    created: u64,
    /// Seconds since 1970; 0 for never.
    ends: u64,
    can_sign: bool,
}

/// How many signatures may still be checked.
struct Checks(usize);

impl Checks {
    fn is_by(&mut self, signature: &Signature, key: &PublicKey, signed: &[&[u8]]) -> bool {
        if !signature.issuer.is(&key.fingerprint()) || self.0 == 0 {
            return false;
        }
        self.0 -= 1;
        signature.verify(key, signed).is_ok()
    }
}

impl Member {
    fn new(key: PublicKey) -> Self {
        Member { key, said: None, is_revoked: false }
    }

    fn say(&mut self, signature: &Signature, can_sign: bool) {
        if self.said.as_ref().is_some_and(|said| said.created > signature.created) {
            return;
        }
        let ends = match signature.key_expires_after {
            0 => 0,
            after => self.key.created.saturating_add(after),
        };
        self.said = Some(Said { created: signature.created, ends, can_sign });
    }

    /// Why it is nothing at this time.
    fn objection_to_be(&self, now: u64) -> Option<String> {
        match &self.said {
            _ if self.is_revoked => Some("is revoked".to_owned()),
            None => Some("has no signature of its owner's that can be trusted".to_owned()),
            Some(said) if said.ends != 0 && said.ends <= now => {
                Some(format!("has expired on {}", Date(said.ends)))
            }
            Some(_) => None,
        }
    }

    /// Why it signs nothing at this time.
    fn objection(&self, now: u64) -> Option<String> {
        let is_for_signing = self.said.as_ref().is_some_and(|said| said.can_sign);
        let not_for = || (!is_for_signing).then(|| "is not for signing".to_owned());
        self.objection_to_be(now).or_else(not_for)
    }
}

/// What signatures are about, as they come.
enum About {
    Primary,
    User(Vec<u8>),
    Subkey(usize),
    Nothing,
}

impl PgpKey {
    /// Reads an armoured key.
    ///
    /// # Errors
    /// [`NoPgpKey`].
    pub fn parse(text: &str) -> Result<Self, NoPgpKey> {
        let text = text.trim();
        if text.contains(BEGIN_PRIVATE) {
            return Err(NoPgpKey::Private);
        }
        let bytes = unarmoured(text.as_bytes(), "PUBLIC KEY BLOCK").ok_or(NoPgpKey::Form)?;
        if text.matches(BEGIN_KEY).count() > 1 || packets(&bytes).count() > PACKETS_MAX {
            return Err(NoPgpKey::Much);
        }
        let mut all = packets(&bytes);
        let first = all.next().filter(|packet| packet.tag == PUBLIC_KEY).ok_or(NoPgpKey::Form)?;
        let primary = PublicKey::read(first.body).ok_or(NoPgpKey::Form)?;
        let mut key = PgpKey {
            primary: Member::new(primary),
            subkeys: Vec::new(),
            users: Vec::new(),
            text: text.to_owned(),
        };
        let (mut about, mut checks) = (About::Primary, Checks(CHECKS_MAX));
        for packet in all {
            about = match packet.tag {
                PUBLIC_KEY => return Err(NoPgpKey::Much),
                USER_ID => {
                    key.users.push(String::from_utf8_lossy(packet.body).into_owned());
                    About::User(packet.body.to_vec())
                }
                PUBLIC_SUBKEY => match PublicKey::read(packet.body) {
                    Some(subkey) => {
                        key.subkeys.push(Member::new(subkey));
                        About::Subkey(key.subkeys.len() - 1)
                    }
                    None => About::Nothing,
                },
                SIGNATURE => {
                    if let Some(signature) = Signature::read(packet.body) {
                        key.hear(&about, &signature, &mut checks);
                    }
                    about
                }
                _ => About::Nothing,
            };
        }
        Ok(key)
    }

    /// Takes over what a signature says, if it is by this key.
    fn hear(&mut self, about: &About, signature: &Signature, checks: &mut Checks) {
        let primary = self.primary.key.clone();
        let hashed = primary.hashed();
        let said_of_primary = |key: &mut Self| {
            let can_sign = signature.key_flags.is_none_or(|flags| flags & SIGNS != 0);
            key.primary.say(signature, can_sign);
        };
        match (about, signature.kind) {
            (About::Primary, DIRECT) if checks.is_by(signature, &primary, &[&hashed]) => {
                said_of_primary(self);
            }
            (About::Primary, KEY_REVOCATION) => {
                self.primary.is_revoked |= checks.is_by(signature, &primary, &[&hashed]);
            }
            (About::User(name), 0x10..=0x13)
                if checks.is_by(signature, &primary, &[&hashed, &hashed_name(name)]) =>
            {
                said_of_primary(self);
            }
            (About::User(name), CERTIFICATION_REVOCATION)
                if checks.is_by(signature, &primary, &[&hashed, &hashed_name(name)]) =>
            {
                // The name is no more; the key goes on by its others.
                self.users.retain(|user| user.as_bytes() != name.as_slice());
            }
            (About::Subkey(at), SUBKEY_BINDING | SUBKEY_REVOCATION) => {
                let Some(subkey) = self.subkeys.get_mut(*at) else { return };
                let below = subkey.key.hashed();
                if !checks.is_by(signature, &primary, &[&hashed, &below]) {
                    return;
                }
                if signature.kind == SUBKEY_REVOCATION {
                    subkey.is_revoked = true;
                    return;
                }
                let wants_to = signature.key_flags.is_some_and(|flags| flags & SIGNS != 0);
                // Without its own word, anybody could take a key of somebody else below his own.
                let agrees = || {
                    let back = signature.embedded.as_ref();
                    back.filter(|back| back.kind == PRIMARY_BINDING)
                        .is_some_and(|back| back.verify(&subkey.key, &[&hashed, &below]).is_ok())
                };
                let can_sign = wants_to && agrees();
                subkey.say(signature, can_sign);
            }
            _ => {}
        }
    }

    /// What says which key it is: the fingerprint of the primary one, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex(&self.primary.key.fingerprint())
    }

    /// Names and addresses its owner has given it.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.primary).chain(&self.subkeys)
    }
}

/// As a name goes into a hash (section 5.2.4).
fn hashed_name(name: &[u8]) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    [&[0xb4][..], &length.to_be_bytes(), name].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Checks that a text was signed by one of the keys; says by which, as the fingerprint of what signed.
///
/// # Errors
/// [`BadSignature`].
pub(crate) fn check_signature(
    armoured: &[u8],
    text: &[u8],
    keys: &[PgpKey],
    now: u64,
) -> Result<String, BadSignature> {
    let bytes = unarmoured(armoured, "SIGNATURE").ok_or(BadSignature::Form)?;
    let signatures: Vec<Signature> = packets(&bytes)
        .filter(|packet| packet.tag == SIGNATURE)
        .filter_map(|packet| Signature::read(packet.body))
        .take(SIGNATURES_MAX)
        .collect();
    let mut why = BadSignature::Form;
    for signature in &signatures {
        match check_one(signature, text, keys, now) {
            Ok(fingerprint) => return Ok(fingerprint),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Signatures of one text that are looked at.
const SIGNATURES_MAX: usize = 8;

fn check_one(
    signature: &Signature,
    text: &[u8],
    keys: &[PgpKey],
    now: u64,
) -> Result<String, BadSignature> {
    let lines;
    let signed = match signature.kind {
        BINARY => text,
        TEXT => {
            lines = with_line_ends(text);
            &lines
        }
        _ => return Err(BadSignature::Form),
    };
    let mut why = BadSignature::OtherKey(signature.issuer.shown());
    let members = keys.iter().flat_map(|key| key.members().map(move |member| (key, member)));
    for (key, member) in members {
        let fingerprint = member.key.fingerprint();
        if !signature.issuer.is(&fingerprint) {
            continue;
        }
        if let Err(error) = signature.verify(&member.key, &[signed]) {
            why = error;
            continue;
        }
        // What is below a key ends with it.
        let objection = member.objection(now).map(|words| (&fingerprint, words));
        let primary = &key.primary;
        let above = || Some((primary.key.fingerprint(), primary.objection_to_be(now)?));
        if let Some((fingerprint, words)) = objection {
            return Err(BadSignature::Key(format!("the key {} {words}", hex(fingerprint))));
        }
        if let Some((fingerprint, words)) = above() {
            return Err(BadSignature::Key(format!("the key {} {words}", hex(&fingerprint))));
        }
        if !signature.holds(now) || signature.created < member.key.created {
            return Err(BadSignature::Time);
        }
        return Ok(hex(&fingerprint));
    }
    Err(why)
}

/// With the line ends that signatures of texts are of.
fn with_line_ends(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    let mut before = 0;
    for &byte in text {
        if byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        before = byte;
    }
    out
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
