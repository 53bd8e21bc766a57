//! The number a .bitmap file keeps of an object's path, so that a delta search finds objects
//! of similar names together.
//!
//! It favours the last characters of a path. It is folded over the path's bytes, so that the
//! hash of a folder is where those of its entries go on from.

/// The hash of a path that continues one whose hash is `hash`; 0 is that of no path at all.
pub fn extend(hash: u32, path: &[u8]) -> u32 {
    let counts = |byte: &&u8| !matches!(**byte, b' ' | b'\t' | b'\n' | b'\r');
    path.iter()
        .filter(counts)
        .fold(hash, |hash, byte| (hash >> 2).wrapping_add(u32::from(*byte) << 24))
}
