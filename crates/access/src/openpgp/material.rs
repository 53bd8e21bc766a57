//! Public keys of version 4, and the mathematics of their signatures (RFC 9580, sections 5.5 and 9).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::packet::{mpi, number, take};
use crate::BadSignature;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// As it is in its packet.
    pub body: Vec<u8>,
    /// Seconds since 1970.
    pub created: u64,
    kind: u8,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point of 32 bytes.
    Ed25519(Vec<u8>),
    Ecdsa {
        curve: Curve,
        point: Vec<u8>,
    },
    /// Of a kind that is not checked here, or that signs nothing.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// What is hashed with (section 9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// By its number; the word of one that nobody should trust, or that is not known.
    pub fn from_number(number: u8) -> Result<Self, BadSignature> {
        let name = match number {
            8 => return Ok(Hash::Sha256),
            9 => return Ok(Hash::Sha384),
            10 => return Ok(Hash::Sha512),
            1 => "MD5",
            2 => "SHA-1",
            3 => "RIPEMD-160",
            11 => "SHA-224",
            _ => "an unknown one",
        };
        Err(BadSignature::Hash(name))
    }

    fn digest(self, text: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(text).to_vec(),
            Hash::Sha384 => Sha384::digest(text).to_vec(),
            Hash::Sha512 => Sha512::digest(text).to_vec(),
        }
    }
}

const RSA: [u8; 2] = [1, 3];
const ECDSA: u8 = 19;
const EDDSA_LEGACY: u8 = 22;
const ED25519_KEY: u8 = 27;

const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const OID_ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

impl PublicKey {
    /// Reads the body of a packet; `None` for what is no key of version 4.
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        let version = take(&mut rest, 1)?;
        let created = number(take(&mut rest, 4)?)?;
        let kind = take(&mut rest, 1)?[0];
        if version != [4] {
            return None;
        }
        let material = material(kind, rest)?;
        Some(PublicKey { body: body.to_vec(), created: created as u64, kind, material })
    }

    /// As it goes into a hash, for its fingerprint and for signatures of it (section 5.2.4).
    pub fn hashed(&self) -> Vec<u8> {
        // No packet of a key that is read is longer than its text.
        let length = u16::try_from(self.body.len()).unwrap_or(u16::MAX);
        [&[0x99][..], &length.to_be_bytes(), &self.body].concat()
    }

    /// SHA-1 of the key, which says which one it is.
    pub fn fingerprint(&self) -> [u8; 20] {
        Sha1::digest(self.hashed()).into()
    }

    /// Whether a signature is by this key.
    ///
    /// # Errors
    /// [`BadSignature::Wrong`], or [`BadSignature::Kind`] for what cannot be checked.
    pub fn verify(
        &self,
        hash: Hash,
        signed: &[u8],
        algorithm: u8,
        made: &[u8],
    ) -> Result<(), BadSignature> {
        if algorithm != self.kind {
            return Err(BadSignature::Wrong);
        }
        let mut made = made;
        let mut next = || mpi(&mut made).ok_or(BadSignature::Form);
        match &self.material {
            Material::Rsa { n, e } => {
                let with = match hash {
                    Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                };
                let made = padded(next()?, n.len())?;
                let public = RsaPublicKeyComponents { n, e };
                public.verify(with, signed, &made).map_err(|_| BadSignature::Wrong)
            }
            Material::Ed25519(point) => {
                let made = match algorithm {
                    EDDSA_LEGACY => [padded(next()?, 32)?, padded(next()?, 32)?].concat(),
                    _ => made.to_vec(),
                };
                check(&ED25519, point, &hash.digest(signed), &made)
            }
            Material::Ecdsa { curve, point } => {
                let (with, bytes): (&'static dyn VerificationAlgorithm, usize) = match (curve, hash)
                {
                    (Curve::P256, Hash::Sha256) => (&ECDSA_P256_SHA256_FIXED, 32),
                    (Curve::P384, Hash::Sha384) => (&ECDSA_P384_SHA384_FIXED, 48),
                    (Curve::P521, Hash::Sha512) => (&ECDSA_P521_SHA512_FIXED, 66),
                    _ => return Err(self.unknown()),
                };
                let made = [padded(next()?, bytes)?, padded(next()?, bytes)?].concat();
                check(with, point, signed, &made)
            }
            Material::Other => Err(self.unknown()),
        }
    }

    fn unknown(&self) -> BadSignature {
        BadSignature::Kind(format!("OpenPGP {}", self.kind))
    }
}

fn material(kind: u8, rest: &[u8]) -> Option<Material> {
    let mut rest = rest;
    match kind {
        _ if RSA.contains(&kind) => {
            let (n, e) = (mpi(&mut rest)?.to_vec(), mpi(&mut rest)?.to_vec());
            Some(Material::Rsa { n, e })
        }
        ED25519_KEY => Some(Material::Ed25519(take(&mut rest, 32)?.to_vec())),
        EDDSA_LEGACY | ECDSA => {
            let length = take(&mut rest, 1)?[0];
            let curve = take(&mut rest, usize::from(length))?;
            let point = mpi(&mut rest)?;
            Some(match (kind, curve) {
                (ECDSA, OID_P256) => Material::Ecdsa { curve: Curve::P256, point: point.to_vec() },
                (ECDSA, OID_P384) => Material::Ecdsa { curve: Curve::P384, point: point.to_vec() },
                (ECDSA, OID_P521) => Material::Ecdsa { curve: Curve::P521, point: point.to_vec() },
                // 0x40 says that the point is as it is on this curve.
                (EDDSA_LEGACY, OID_ED25519) => {
                    Material::Ed25519(point.strip_prefix(&[0x40])?.to_vec())
                }
                _ => Material::Other,
            })
        }
        _ => Some(Material::Other),
    }
}

fn check(
    with: &'static dyn VerificationAlgorithm,
    public: &[u8],
    signed: &[u8],
    made: &[u8],
) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(with, public).verify(signed, made).map_err(|_| BadSignature::Wrong)
}

/// A number with zeros in front, to this many bytes.
fn padded(number: &[u8], bytes: usize) -> Result<Vec<u8>, BadSignature> {
    let zeros = bytes.checked_sub(number.len()).ok_or(BadSignature::Wrong)?;
    Ok([&vec![0; zeros][..], number].concat())
}
