//! Packs put together by hand, also such as no git would write.

use object::{Checksum, HashKind, Kind, ObjectId, object_id};
use pack::EntryKind;

/// A pack in the making.
pub struct PackBuilder {
    hash: HashKind,
    bytes: Vec<u8>,
    offsets: Vec<u64>,
}

impl PackBuilder {
    pub fn new() -> Self {
        Self::of(HashKind::Sha1)
    }

    pub fn of(hash: HashKind) -> Self {
        PackBuilder { hash, bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), offsets: Vec::new() }
    }

    fn entry(mut self, kind: EntryKind, declared: u64, data: &[u8]) -> Self {
        self.offsets.push(self.bytes.len() as u64);
        pack::entry::encode(&kind, declared, &mut self.bytes);
        pack::inflate::deflate(data, -1, &mut self.bytes);
        self
    }

    /// An object stored whole.
    pub fn whole(self, kind: Kind, content: &[u8]) -> Self {
        self.entry(EntryKind::Base(kind), content.len() as u64, content)
    }

    pub fn blob(self, content: &[u8]) -> Self {
        self.whole(Kind::Blob, content)
    }

    /// A blob that says it has another size than it has.
    pub fn blob_declared(self, declared: u64, content: &[u8]) -> Self {
        self.entry(EntryKind::Base(Kind::Blob), declared, content)
    }

    /// A delta on a named object.
    pub fn ref_delta(self, base: ObjectId, delta: &[u8]) -> Self {
        self.entry(EntryKind::RefDelta { base }, delta.len() as u64, delta)
    }

    /// A delta on the `base`-th entry.
    pub fn ofs_delta(self, base: usize, delta: &[u8]) -> Self {
        let distance = self.bytes.len() as u64 - self.offsets[base];
        self.entry(EntryKind::OfsDelta { distance }, delta.len() as u64, delta)
    }

    /// The pack with its count and checksum.
    pub fn build(mut self) -> Vec<u8> {
        let count = self.offsets.len() as u32;
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        seal(self.bytes, self.hash)
    }
}

/// Appends the checksum.
pub fn seal(mut bytes: Vec<u8>, hash: HashKind) -> Vec<u8> {
    let mut checksum = Checksum::new(hash);
    checksum.update(&bytes);
    bytes.extend_from_slice(checksum.finish().as_bytes());
    bytes
}

pub fn blob_id(content: &[u8]) -> ObjectId {
    object_id(HashKind::Sha1, Kind::Blob, content).expect("no collision")
}

/// A delta that copies the whole base `copies` times and appends `tail`.
pub fn delta(base_len: usize, copies: usize, tail: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    size(base_len as u64, &mut delta);
    size((base_len * copies + tail.len()) as u64, &mut delta);
    for _ in 0..copies {
        for start in (0..base_len).step_by(0xff_ffff) {
            let len = (base_len - start).min(0xff_ffff);
            delta.push(0xff);
            delta.extend_from_slice(&(start as u32).to_le_bytes());
            delta.extend_from_slice(&(len as u32).to_le_bytes()[..3]);
        }
    }
    for piece in tail.chunks(127) {
        delta.push(piece.len() as u8);
        delta.extend_from_slice(piece);
    }
    delta
}

/// A number as deltas begin with.
pub fn size(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
