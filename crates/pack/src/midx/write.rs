//! Writing a multi-pack-index, version 1, as git does.
//!
//! The indices of the packs are merged as they lie. Eight bytes are kept of each object while
//! the file is written; while the order of bitmaps is made, four more of each, and about sixteen of
//! each object of one pack at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::Write;

use object::{HashKind, ObjectId};

use super::layer::{HEADER_BYTES, LARGE_OFFSET, SIGNATURE};
use crate::checksum::ChecksumWriter;
use crate::chunks::ROW_BYTES;
use crate::sorted_ids::FANOUT_BYTES;
use crate::{Error, Index};

/// A pack to be found in a multi-pack-index.
#[derive(Debug, Clone, Copy)]
pub struct Pack<'a> {
    /// The file name of its index, such as `pack-….idx`.
    pub index_name: &'a str,
    /// Its index.
    pub index: &'a Index,
    /// When the pack was last written or freshened, in seconds since 1970: of two copies of an
    /// object, that in the newer pack is taken.
    pub modified: i64,
}

/// Writes the multi-pack-index of packs in ascending order of their names; gives its trailing
/// checksum, which names its bitmap.
///
/// With a preferred pack, given by its place in `packs`, the file stores the order of bits its
/// bitmap needs. All copies of objects in that pack are taken before any others, so it must
/// have some.
///
/// # Errors
/// [`Error::Corrupt`] when the packs are not in order, not of this hash, have damaged indices,
/// or are too many, or the preferred one is empty; [`Error::Io`] of `out`.
pub fn write(
    packs: &[Pack<'_>],
    preferred: Option<usize>,
    hash: HashKind,
    out: impl Write,
) -> Result<ObjectId, Error> {
    check(packs, preferred, hash)?;
    let chosen = Chosen::among(packs, preferred)?;
    let names_len: usize = packs.iter().map(|pack| pack.index_name.len() + 1).sum();
    let padding = names_len.next_multiple_of(4) - names_len;
    let count = chosen.objects.len();
    let mut chunks: Vec<(&[u8; 4], usize)> = vec![
        (b"PNAM", names_len + padding),
        (b"OIDF", FANOUT_BYTES),
        (b"OIDL", count * hash.len()),
        (b"OOFF", count * 8),
    ];
    if chosen.needs_large_offsets {
        chunks.push((b"LOFF", chosen.large_count as usize * 8));
    }
    if preferred.is_some() {
        chunks.extend([(b"RIDX", count * 4), (b"BTMP", packs.len() * 8)]);
    }
    let mut out = ChecksumWriter::new(hash, out);
    write_frame(&chunks, packs.len() as u32, hash, &mut out)?;
    for pack in packs {
        out.write(pack.index_name.as_bytes())?;
        out.write(&[0])?;
    }
    out.write(&[0; 3][..padding])?;
    write_objects(&chosen, packs, &mut out)?;
    if let Some(preferred) = preferred {
        write_bit_order(chosen, packs, preferred as u32, &mut out)?;
    }
    Ok(out.finish()?)
}

fn check(packs: &[Pack<'_>], preferred: Option<usize>, hash: HashKind) -> Result<(), Error> {
    if packs.windows(2).any(|pair| pair[0].index_name >= pair[1].index_name) {
        return Err(Error::corrupt("packs of a multi-pack-index are not in order"));
    }
    if packs.iter().any(|pack| pack.index.hash() != hash) {
        return Err(Error::corrupt("packs of a multi-pack-index are of another hash"));
    }
    match preferred.map(|at| packs.get(at).is_some_and(|pack| pack.index.count() > 0)) {
        Some(false) => Err(Error::corrupt("the preferred pack has no objects")),
        _ => Ok(()),
    }
}

/// The copy of an object that was chosen.
#[derive(Debug, Clone, Copy)]
struct Choice {
    pack: u32,
    /// Its position in that pack's index.
    position: u32,
}

/// One copy of each object, in ascending order of ids.
struct Chosen {
    objects: Vec<Choice>,
    fanout: [u32; 256],
    /// How many offsets need more than 31 bits, which only counts when one needs more than 32.
    large_count: u32,
    needs_large_offsets: bool,
}

impl Chosen {
    fn among(packs: &[Pack<'_>], preferred: Option<usize>) -> Result<Self, Error> {
        let ranked = ranked(packs, preferred);
        let head = |rank: usize, position: u32| {
            let index = packs[ranked[rank] as usize].index;
            (position < index.count()).then(|| Reverse((index.id_at(position), rank, position)))
        };
        let mut heads: BinaryHeap<_> = (0..ranked.len()).filter_map(|rank| head(rank, 0)).collect();
        let largest = packs.iter().map(|pack| pack.index.count()).max().unwrap_or(0);
        let objects = Vec::with_capacity(largest as usize);
        let mut chosen =
            Chosen { objects, fanout: [0; 256], large_count: 0, needs_large_offsets: false };
        let mut last: Option<ObjectId> = None;
        while let Some(mut least) = heads.peek_mut() {
            let Reverse((id, rank, position)) = *least;
            match head(rank, position + 1) {
                Some(next) if next.0.0 < id => {
                    return Err(Error::corrupt("objects of a pack index are not in order"));
                }
                Some(next) => *least = next,
                None => drop(PeekMut::pop(least)),
            }
            if last != Some(id) {
                let choice = Choice { pack: ranked[rank], position };
                let offset = packs[choice.pack as usize].index.offset_at(position)?;
                chosen.push(&id, choice, offset)?;
            }
            last = Some(id);
        }
        let mut sum = 0;
        for number in &mut chosen.fanout {
            sum += *number;
            *number = sum;
        }
        Ok(chosen)
    }

    fn push(&mut self, id: &ObjectId, choice: Choice, offset: u64) -> Result<(), Error> {
        if self.objects.len() == u32::MAX as usize {
            return Err(Error::corrupt("packs have more objects than can be numbered"));
        }
        self.objects.push(choice);
        self.fanout[usize::from(id.as_bytes()[0])] += 1;
        self.large_count += u32::from(offset >= u64::from(LARGE_OFFSET));
        self.needs_large_offsets |= offset > u64::from(u32::MAX);
        Ok(())
    }
}

/// The packs in the order in which their copies are preferred.
fn ranked(packs: &[Pack<'_>], preferred: Option<usize>) -> Vec<u32> {
    let mut ranked: Vec<u32> = (0..packs.len() as u32).collect();
    ranked.sort_by_key(|pack| {
        let pack = *pack as usize;
        (Some(pack) != preferred, Reverse(packs[pack].modified))
    });
    ranked
}

fn write_frame(
    chunks: &[(&[u8; 4], usize)],
    pack_count: u32,
    hash: HashKind,
    out: &mut ChecksumWriter<impl Write>,
) -> Result<(), Error> {
    const VERSION: u8 = 1;
    const BASE_FILES: u8 = 0;
    out.write(SIGNATURE)?;
    out.write(&[VERSION, hash.format_version(), chunks.len() as u8, BASE_FILES])?;
    out.write(&pack_count.to_be_bytes())?;
    let mut at = (HEADER_BYTES + (chunks.len() + 1) * ROW_BYTES) as u64;
    for (name, len) in chunks.iter().copied().chain([(&[0; 4], 0)]) {
        out.write(name)?;
        out.write(&at.to_be_bytes())?;
        at += len as u64;
    }
    Ok(())
}

/// The chunks OIDF, OIDL, OOFF and LOFF.
fn write_objects(
    chosen: &Chosen,
    packs: &[Pack<'_>],
    out: &mut ChecksumWriter<impl Write>,
) -> Result<(), Error> {
    let offset = |choice: &Choice| packs[choice.pack as usize].index.offset_at(choice.position);
    let is_large = |offset: u64| chosen.needs_large_offsets && offset >= u64::from(LARGE_OFFSET);
    for number in chosen.fanout {
        out.write(&number.to_be_bytes())?;
    }
    for choice in &chosen.objects {
        out.write(packs[choice.pack as usize].index.id_bytes_at(choice.position))?;
    }
    let mut large_count = 0;
    for choice in &chosen.objects {
        let mut field = offset(choice)?;
        if is_large(field) {
            field = u64::from(LARGE_OFFSET | large_count);
            large_count += 1;
        }
        out.write(&choice.pack.to_be_bytes())?;
        out.write(&(field as u32).to_be_bytes())?;
    }
    if large_count > 0 {
        for choice in &chosen.objects {
            let offset = offset(choice)?;
            if is_large(offset) {
                out.write(&offset.to_be_bytes())?;
            }
        }
    }
    Ok(())
}

/// The chunks RIDX and BTMP: the preferred pack's objects, then those of the others, each
/// pack's by their offsets.
fn write_bit_order(
    chosen: Chosen,
    packs: &[Pack<'_>],
    preferred: u32,
    out: &mut ChecksumWriter<impl Write>,
) -> Result<(), Error> {
    let mut bits_of_pack = vec![(0u32, 0u32); packs.len()];
    for choice in &chosen.objects {
        bits_of_pack[choice.pack as usize].1 += 1;
    }
    let others = (0..packs.len() as u32).filter(|pack| *pack != preferred);
    let in_order = || std::iter::once(preferred).chain(others.clone());
    let mut next_bit = 0;
    for pack in in_order() {
        let (start, count) = &mut bits_of_pack[pack as usize];
        *start = if *count > 0 { next_bit } else { 0 };
        next_bit += *count;
    }
    // Where each pack's objects are in the file's order: sorted by pack, and still by id.
    let mut order = vec![0u32; chosen.objects.len()];
    let mut next: Vec<u32> = bits_of_pack.iter().map(|(start, _)| *start).collect();
    for (position, choice) in chosen.objects.iter().enumerate() {
        let at = &mut next[choice.pack as usize];
        order[*at as usize] = position as u32;
        *at += 1;
    }
    for pack in in_order() {
        let (start, count) = bits_of_pack[pack as usize];
        let index = packs[pack as usize].index;
        let mut by_offset = Vec::with_capacity(count as usize);
        for position in &order[start as usize..][..count as usize] {
            let own = chosen.objects[*position as usize].position;
            by_offset.push((index.offset_at(own)?, *position));
        }
        by_offset.sort_unstable();
        for (_, position) in by_offset {
            out.write(&position.to_be_bytes())?;
        }
    }
    for (start, count) in bits_of_pack {
        out.write(&start.to_be_bytes())?;
        out.write(&count.to_be_bytes())?;
    }
    Ok(())
}
