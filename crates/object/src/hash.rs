//! Hashing: object names, pack and index checksums.
//!
//! Two hashers on purpose. What a peer sent is hashed with collision detection
//! ([`ObjectHasher`]; Stevens, "Counter-cryptanalysis", CRYPTO 2013, as git does),
//! what this process wrote itself with the fastest plain one ([`Checksum`]).

use sha1_checked::Digest as _;
use sha2::Sha256;

use crate::{HashKind, Kind, ObjectId, lanes};

/// Bytes that were built to collide under SHA-1; the object must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes carry a SHA-1 collision attack")]
pub struct Collision;

/// Names an object that came from a peer, detecting SHA-1 collision attacks.
pub struct ObjectHasher(ObjectState);

enum ObjectState {
    Sha1(Box<sha1_checked::Sha1>),
    Sha256(Sha256),
}

impl ObjectHasher {
    /// A hasher fed with the object header `"<kind> <size>\0"`.
    pub fn new(hash: HashKind, kind: Kind, size: u64) -> Self {
        let mut hasher = ObjectHasher(match hash {
            HashKind::Sha1 => ObjectState::Sha1(Box::default()),
            HashKind::Sha256 => ObjectState::Sha256(Sha256::default()),
        });
        let mut header = [0u8; 32];
        hasher.update(loose_header(kind, size, &mut header));
        hasher
    }

    /// Feeds content bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            ObjectState::Sha1(state) => state.update(bytes),
            ObjectState::Sha256(state) => state.update(bytes),
        }
    }

    /// The object's id, or word that its bytes are a collision attack.
    pub fn finish(self) -> Result<ObjectId, Collision> {
        match self.0 {
            ObjectState::Sha1(state) => {
                let result = state.try_finalize();
                if result.has_collision() {
                    return Err(Collision);
                }
                Ok(ObjectId::from_prefix(result.hash(), HashKind::Sha1))
            }
            ObjectState::Sha256(state) => {
                Ok(ObjectId::from_prefix(&state.finalize(), HashKind::Sha256))
            }
        }
    }
}

/// Names a whole object held in memory.
pub fn object_id(hash: HashKind, kind: Kind, content: &[u8]) -> Result<ObjectId, Collision> {
    let mut hasher = ObjectHasher::new(hash, kind, content.len() as u64);
    hasher.update(content);
    hasher.finish()
}

/// Names whole objects held in memory, side by side where the processor can; calls `name(at, id)`
/// once for each, in no particular order.
///
/// # Errors
/// The place in `objects` of one that carries a collision attack; others may lack a name then.
pub fn object_ids(
    hash: HashKind,
    objects: &[(Kind, &[u8])],
    name: &mut dyn FnMut(usize, ObjectId),
) -> Result<(), (usize, Collision)> {
    if hash == HashKind::Sha1 {
        return lanes::name_objects(objects, name);
    }
    objects.iter().enumerate().try_for_each(|(at, (kind, content))| {
        name(at, object_id(hash, *kind, content).map_err(|collision| (at, collision))?);
        Ok(())
    })
}

/// Writes the header that precedes an object's content when it is hashed or stored loose.
pub fn loose_header(kind: Kind, size: u64, buffer: &mut [u8; 32]) -> &[u8] {
    use std::io::Write as _;
    let mut rest = &mut buffer[..];
    write!(rest, "{} {size}\0", kind.name()).expect("a kind and 20 digits fit 32 bytes");
    let used = 32 - rest.len();
    &buffer[..used]
}

/// The trailing checksum of packs, indices and other files of Git; no collision detection.
#[derive(Clone)]
pub struct Checksum(ChecksumState);

#[derive(Clone)]
enum ChecksumState {
    Sha1(sha1::Sha1),
    Sha256(Sha256),
}

impl Checksum {
    /// An empty checksum of the repository's hash.
    pub fn new(kind: HashKind) -> Self {
        Checksum(match kind {
            HashKind::Sha1 => ChecksumState::Sha1(sha1::Sha1::default()),
            HashKind::Sha256 => ChecksumState::Sha256(Sha256::default()),
        })
    }

    /// Feeds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            ChecksumState::Sha1(state) => state.update(bytes),
            ChecksumState::Sha256(state) => state.update(bytes),
        }
    }

    /// The checksum, in the shape of an object id.
    pub fn finish(self) -> ObjectId {
        match self.0 {
            ChecksumState::Sha1(state) => ObjectId::from_prefix(&state.finalize(), HashKind::Sha1),
            ChecksumState::Sha256(state) => {
                ObjectId::from_prefix(&state.finalize(), HashKind::Sha256)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_well_known_empty_objects() {
        let tree = object_id(HashKind::Sha1, Kind::Tree, b"").expect("no collision");
        assert_eq!(tree.to_hex(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        let blob = object_id(HashKind::Sha256, Kind::Blob, b"").expect("no collision");
        assert_eq!(
            blob.to_hex(),
            "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"
        );
    }

    #[test]
    fn checksum_of_nothing_is_the_plain_hash() {
        assert_eq!(
            Checksum::new(HashKind::Sha1).finish().to_hex(),
            "da39a3ee5e6b4b0d3255bfef95601890afd80709"
        );
    }
}
