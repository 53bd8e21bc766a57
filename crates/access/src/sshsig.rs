//! Signatures made by `ssh-keygen -Y sign`, as git makes them of pushes (OpenSSH's
//! PROTOCOL.sshsig).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

use crate::key::fingerprint;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
/// Longest signature that is read, bytes of its text.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Why a signature is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It is not in the form of one.
    #[error("this is no signature of SSH or OpenPGP, or not of the version that is read here")]
    Form,
    /// It was made for something else.
    #[error("the signature was made for '{0}', not for git")]
    Namespace(String),
    /// It was made by a key that is not among those that count.
    #[error("the signature is by {0}, which is not a key of this account")]
    OtherKey(String),
    /// Keys of this kind cannot be checked.
    #[error("signatures by keys of the kind '{0}' cannot be checked here")]
    Kind(String),
    /// What was signed was hashed in a way that is not safe any more, or not known.
    #[error("the signature is made with {0}; SHA-256, SHA-384 and SHA-512 count")]
    Hash(&'static str),
    /// The key does not count: it is revoked, has expired, or is not for signing.
    #[error("{0}")]
    Key(String),
    /// It was made before the key, will be made, or has ended.
    #[error("the signature is not of this time")]
    Time,
    /// It is of another text, or no signature by that key.
    #[error("the signature does not fit")]
    Wrong,
}

/// Checks that a text was signed, for git, by one of the keys (in their form on the wire); says by
/// which, as its fingerprint.
///
/// # Errors
/// [`BadSignature`].
pub(crate) fn check_signature(
    signature: &[u8],
    text: &[u8],
    keys: &[Vec<u8>],
) -> Result<String, BadSignature> {
    let blob = unarmoured(signature).ok_or(BadSignature::Form)?;
    let mut rest = blob.strip_prefix(MAGIC).ok_or(BadSignature::Form)?;
    let version = take(&mut rest, 4).ok_or(BadSignature::Form)?;
    let mut string = || string(&mut rest).ok_or(BadSignature::Form);
    let (key, namespace, _reserved) = (string()?, string()?, string()?);
    let (hash, signature) = (string()?, string()?);
    if version != [0, 0, 0, 1] {
        return Err(BadSignature::Form);
    }
    if namespace != b"git" {
        return Err(BadSignature::Namespace(String::from_utf8_lossy(namespace).into_owned()));
    }
    if !keys.iter().any(|known| known == key) {
        return Err(BadSignature::OtherKey(fingerprint(key)));
    }
    let digest = match hash {
        b"sha256" => Sha256::digest(text).to_vec(),
        b"sha512" => Sha512::digest(text).to_vec(),
        _ => return Err(BadSignature::Form),
    };
    let mut signed = MAGIC.to_vec();
    for part in [namespace, b"", hash, &digest] {
        signed.extend((part.len() as u32).to_be_bytes());
        signed.extend(part);
    }
    verify(key, signature, &signed)?;
    Ok(fingerprint(key))
}

fn unarmoured(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_BYTES_MAX)?;
    let inside = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let digits: String = inside.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}

/// A string of SSH (RFC 4251 section 5).
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 4)?.try_into().ok().map(u32::from_be_bytes)?;
    take(rest, usize::try_from(length).ok()?)
}

/// A number without the zeros in front, which are there for its sign.
fn number<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = string(rest)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(&bytes[zeros..])
}

fn verify(key: &[u8], signature: &[u8], signed: &[u8]) -> Result<(), BadSignature> {
    let (mut key, mut signature) = (key, signature);
    let form = || BadSignature::Form;
    let kind = string(&mut key).ok_or_else(form)?;
    let algorithm = string(&mut signature).ok_or_else(form)?;
    let made = string(&mut signature).ok_or_else(form)?;
    let unknown = || BadSignature::Kind(String::from_utf8_lossy(kind).into_owned());
    match kind {
        b"ssh-ed25519" if algorithm == kind => {
            check(&ED25519, string(&mut key).ok_or_else(form)?, signed, made)
        }
        b"sk-ssh-ed25519@openssh.com" if algorithm == kind => {
            let public = string(&mut key).ok_or_else(form)?;
            let signed = by_token(&mut key, signature, signed).ok_or_else(form)?;
            check(&ED25519, public, &signed, made)
        }
        b"sk-ecdsa-sha2-nistp256@openssh.com" if algorithm == kind => {
            let (_curve, point) = string(&mut key).zip(string(&mut key)).ok_or_else(form)?;
            let signed = by_token(&mut key, signature, signed).ok_or_else(form)?;
            let made = of_fixed_length(made, 32).ok_or_else(form)?;
            check(&ECDSA_P256_SHA256_FIXED, point, &signed, &made)
        }
        b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521"
            if algorithm == kind =>
        {
            let (_curve, point) = string(&mut key).zip(string(&mut key)).ok_or_else(form)?;
            let (with, bytes): (&'static dyn VerificationAlgorithm, usize) = match kind {
                b"ecdsa-sha2-nistp256" => (&ECDSA_P256_SHA256_FIXED, 32),
                b"ecdsa-sha2-nistp384" => (&ECDSA_P384_SHA384_FIXED, 48),
                _ => (&ECDSA_P521_SHA512_FIXED, 66),
            };
            let made = of_fixed_length(made, bytes).ok_or_else(form)?;
            check(with, point, signed, &made)
        }
        b"ssh-rsa" => {
            let (e, n) = number(&mut key).zip(number(&mut key)).ok_or_else(form)?;
            let with = match algorithm {
                b"rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                b"rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                _ => return Err(unknown()),
            };
            let public = RsaPublicKeyComponents { n, e };
            public.verify(with, signed, made).map_err(|_| BadSignature::Wrong)
        }
        _ => Err(unknown()),
    }
}

fn check(
    with: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    made: &[u8],
) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(with, key).verify(signed, made).map_err(|_| BadSignature::Wrong)
}

/// What a hardware key signs: not the text, but hashes with what it noted about itself (OpenSSH's
/// PROTOCOL.u2f).
fn by_token(key: &mut &[u8], mut behind: &[u8], signed: &[u8]) -> Option<Vec<u8>> {
    const IS_PRESENT: u8 = 1;
    let application = string(key)?;
    let noted = take(&mut behind, 5)?;
    let mut all = Sha256::digest(application).to_vec();
    all.extend(noted);
    all.extend(Sha256::digest(signed));
    (noted[0] & IS_PRESENT != 0).then_some(all)
}

/// Two numbers, side by side with all their zeros.
fn of_fixed_length(mut pair: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let mut fixed = Vec::new();
    for _ in 0..2 {
        let one = number(&mut pair)?;
        fixed.resize(fixed.len() + bytes.checked_sub(one.len())?, 0);
        fixed.extend(one);
    }
    Some(fixed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::SshKey;

    fn keygen(folder: &Path, args: &[&str]) -> bool {
        let mut command = Command::new("ssh-keygen");
        command.current_dir(folder).args(args);
        command.output().expect("ssh-keygen is installed").status.success()
    }

    #[test]
    fn signatures_of_ssh_keygen_are_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        std::fs::write(folder.join("text"), "something to sign\n").expect("a file");
        for (kind, bits) in [
            ("ed25519", "256"),
            ("rsa", "2048"),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
        ] {
            let name = format!("{kind}{bits}");
            assert!(keygen(folder, &["-q", "-t", kind, "-b", bits, "-N", "", "-f", &name]));
            let public =
                std::fs::read_to_string(folder.join(format!("{name}.pub"))).expect("a key");
            let keys = [SshKey::parse(&public).expect("a key").blob];
            for (namespace, hash) in [("git", "sha512"), ("git", "sha256"), ("file", "sha512")] {
                let _ = std::fs::remove_file(folder.join("text.sig"));
                let hash = format!("hashalg={hash}");
                assert!(keygen(
                    folder,
                    &["-Y", "sign", "-q", "-O", &hash, "-n", namespace, "-f", &name, "text"]
                ));
                let signature = std::fs::read(folder.join("text.sig")).expect("a signature");
                let check = |text: &str, keys: &[Vec<u8>]| {
                    check_signature(&signature, text.as_bytes(), keys)
                };
                if namespace == "file" {
                    let error =
                        check("something to sign\n", &keys).expect_err("for something else");
                    assert_eq!(error, BadSignature::Namespace("file".into()));
                    continue;
                }
                check("something to sign\n", &keys).expect(&name);
                assert_eq!(check("something else\n", &keys), Err(BadSignature::Wrong));
                let error = check("something to sign\n", &[]).expect_err("nobody's");
                assert!(matches!(error, BadSignature::OtherKey(_)), "{error}");
                let damaged = String::from_utf8_lossy(&signature).replacen("AAAAB", "AAAAC", 1);
                assert_eq!(
                    check_signature(&damaged.as_bytes()[..60], b"", &keys),
                    Err(BadSignature::Form)
                );
            }
        }
        assert_eq!(check_signature(b"", b"", &[]), Err(BadSignature::Form));
    }
}
