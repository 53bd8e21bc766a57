//! Making deltas: how to say one object in pieces of another.
//!
//! The base is cut into blocks of 16 bytes, which are found by hash. At each place of the target
//! the 16 bytes that end there are looked up; of the blocks that fit, the one with the longest
//! match is copied, and the match is drawn backwards over bytes that were to be inserted. That is
//! the way of git's `diff-delta.c`. The hash is another one: two words and a multiplication,
//! instead of a sum that is rolled along, so that no step waits for the one before it.

use super::COPY_SIZE_DEFAULT;

/// Bytes of a block.
const BLOCK: usize = 16;
/// Blocks that may share a bucket: more of them, in data that repeats itself, cost time for
/// nothing.
const BUCKET_BLOCKS_MAX: usize = 64;
/// A match of so many bytes is taken without a look for a longer one.
const LONG_ENOUGH: usize = 4096;
/// The most bytes one instruction can insert.
const INSERT_MAX: usize = 127;
/// Bits of the filter for each block: it lets one in eight or more through by mistake.
const FILTER_BITS: u32 = 3;
/// Bytes to be inserted that a match may still take back.
const TAKEN_BACK: usize = 2 * BLOCK;

/// A base made ready for deltas on it. Serves any number of targets.
#[derive(Debug, Clone)]
pub struct BaseIndex {
    base_len: usize,
    /// The number of buckets is two to this power.
    bits: u32,
    /// Where each bucket begins in `blocks`; then the end.
    starts: Vec<u32>,
    blocks: Vec<Block>,
    /// A bit per hash value, cut short: most places of a target are done with after one look.
    filter: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    hash: u32,
    start: u32,
}

/// A piece of the target that is in the base too.
#[derive(Clone, Copy)]
struct Match {
    /// Bytes before the place that was looked up.
    back: usize,
    /// Bytes from there on.
    ahead: usize,
    /// Where it begins in the base.
    offset: usize,
}

impl BaseIndex {
    /// Indexes a base; of one beyond 4 GiB the part that copies can reach.
    pub fn new(base: &[u8]) -> Self {
        let found = blocks_of(reachable(base));
        let bits = found.len().next_power_of_two().trailing_zeros();
        let mut index = BaseIndex {
            base_len: base.len(),
            bits,
            starts: Vec::new(),
            blocks: Vec::new(),
            filter: vec![0; (1usize << (bits + FILTER_BITS)).div_ceil(64)],
        };
        for block in &found {
            let bit = index.filter_bit(block.hash);
            index.filter[bit / 64] |= 1 << (bit % 64);
        }
        index.sort_into_buckets(&found);
        index.thin_out();
        index
    }

    /// Bytes of memory the index takes.
    pub fn memory_bytes(&self) -> usize {
        self.starts.len() * 4 + self.blocks.len() * size_of::<Block>() + self.filter.len() * 8
    }

    /// Replaces `out` by a delta that makes `target` out of `base`, the base that was indexed;
    /// whether there is one of at most `max_bytes` bytes. Otherwise `out` holds a part of one.
    ///
    /// An empty target has none: git takes no delta of fewer than four bytes.
    pub fn create(&self, base: &[u8], target: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> bool {
        out.clear();
        if base.len() != self.base_len || target.is_empty() {
            return false;
        }
        encode_size(base.len() as u64, out);
        encode_size(target.len() as u64, out);
        self.describe((reachable(base), 0), target, max_bytes, out)
    }

    /// Appends what makes `target` of the base that was indexed, which begins `skipped` bytes into
    /// the object that copies name; whether `out` is not longer than `max_bytes` then.
    fn describe(
        &self,
        (base, skipped): (&[u8], usize),
        target: &[u8],
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        // What comes before `done` is described; from there to `at` nothing was found.
        let (mut done, mut at) = (0, BLOCK - 1);
        while out.len() <= max_bytes {
            let give_up = (max_bytes - out.len()).saturating_add(done + TAKEN_BACK);
            let Some(place) = self.next_candidate(target, at, give_up) else {
                if target.len() - done > max_bytes - out.len() {
                    return false;
                }
                insert(&target[done..], out);
                break;
            };
            let Some(found) = self.longest_match(base, target, place, place - done) else {
                at = place + 1;
                continue;
            };
            insert(&target[done..place - found.back], out);
            copy(skipped + found.offset, found.back + found.ahead, out);
            done = place + found.ahead;
            at = done.max(BLOCK - 1);
        }
        out.len() <= max_bytes
    }

    /// The first place from `at` on, before `end`, whose block may be in the base.
    #[inline]
    fn next_candidate(&self, target: &[u8], at: usize, end: usize) -> Option<usize> {
        let searched = target.get(at + 1 - BLOCK..end.min(target.len()))?;
        let passes = |window: &[u8]| {
            let bit = self.filter_bit(hash(window));
            self.filter[bit / 64] >> (bit % 64) & 1 != 0
        };
        searched.windows(BLOCK).position(passes).map(|skipped| at + skipped)
    }

    /// The longest match of what lies around `target[place]`, of which `back_max` bytes before
    /// it may be part.
    fn longest_match(
        &self,
        base: &[u8],
        target: &[u8],
        place: usize,
        back_max: usize,
    ) -> Option<Match> {
        let hash = hash(&target[place + 1 - BLOCK..=place]);
        let bucket = self.bucket(hash);
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        let mut best: Option<Match> = None;
        for block in self.blocks[range].iter().filter(|block| block.hash == hash) {
            let last = block.start as usize + BLOCK - 1;
            let longest = best.map_or(0, |best| best.back + best.ahead);
            // Blocks come in the order of the base: what follows is shorter still.
            if base.len() - last + back_max <= longest {
                break;
            }
            let ahead = same_ahead(&base[last..], &target[place..]);
            if ahead == 0 {
                continue;
            }
            let back = same_behind(&base[..last], &target[place - back_max..place]);
            let len = back + ahead;
            // A copy that takes as many bytes as it saves would only cut an insertion in two.
            if len > longest && len > copy_bytes(last - back, len) {
                best = Some(Match { back, ahead, offset: last - back });
                if ahead >= LONG_ENOUGH {
                    break;
                }
            }
        }
        best
    }

    fn bucket(&self, hash: u32) -> usize {
        (u64::from(hash) << self.bits >> 32) as usize
    }

    #[inline]
    fn filter_bit(&self, hash: u32) -> usize {
        (u64::from(hash) << (self.bits + FILTER_BITS) >> 32) as usize
    }

    fn sort_into_buckets(&mut self, found: &[Block]) {
        // One further than needed: while blocks are put in place, `starts[bucket + 1]` is where
        // the bucket's next one goes, and in the end where the bucket ends.
        let mut starts = vec![0; (1 << self.bits) + 2];
        for block in found {
            starts[self.bucket(block.hash) + 2] += 1;
        }
        for bucket in 2..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let mut blocks = vec![Block::default(); found.len()];
        for block in found {
            let next: &mut u32 = &mut starts[self.bucket(block.hash) + 1];
            blocks[*next as usize] = *block;
            *next += 1;
        }
        starts.truncate((1 << self.bits) + 1);
        (self.starts, self.blocks) = (starts, blocks);
    }

    /// Leaves of each crowded bucket only so many blocks as may share one, evenly spread.
    fn thin_out(&mut self) {
        let crowded = |pair: &[u32]| (pair[1] - pair[0]) as usize > BUCKET_BLOCKS_MAX;
        if !self.starts.windows(2).any(crowded) {
            return;
        }
        let (mut from, mut kept) = (0, 0);
        for bucket in 0..self.starts.len() - 1 {
            let end = self.starts[bucket + 1] as usize;
            let (count, stays) = (end - from, (end - from).min(BUCKET_BLOCKS_MAX));
            for number in 0..stays {
                self.blocks[kept + number] = self.blocks[from + number * count / stays];
            }
            from = end;
            kept += stays;
            self.starts[bucket + 1] = kept as u32;
        }
        self.blocks.truncate(kept);
    }
}

/// Replaces `out` by a delta that makes `target` out of `base`, an older version of the same file;
/// whether there is one of at most `max_bytes` bytes. What the two have in common at their ends is
/// neither indexed nor searched, which is most of most files. What moved across is not found.
pub fn between_versions(base: &[u8], target: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    if target.is_empty() || base.len() != reachable(base).len() {
        return BaseIndex::new(base).create(base, target, max_bytes, out);
    }
    let worth = |len: usize| if len < BLOCK { 0 } else { len };
    let ahead = worth(same_ahead(base, target));
    let behind = worth(same_behind(&base[ahead..], &target[ahead..]));
    let (base_end, target_end) = (base.len() - behind, target.len() - behind);
    encode_size(base.len() as u64, out);
    encode_size(target.len() as u64, out);
    copy(0, ahead, out);
    let (old, new) = (&base[ahead..base_end], &target[ahead..target_end]);
    if !new.is_empty() && !BaseIndex::new(old).describe((old, ahead), new, max_bytes, out) {
        return false;
    }
    copy(base_end, behind, out);
    out.len() <= max_bytes
}

/// The blocks of a base in order; of a row of equal ones the first.
fn blocks_of(base: &[u8]) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::with_capacity(base.len() / BLOCK);
    let mut previous = None;
    for (number, block) in base.chunks_exact(BLOCK).enumerate() {
        let hash = hash(block);
        if previous != Some(hash) {
            found.push(Block { hash, start: (number * BLOCK) as u32 });
        }
        previous = Some(hash);
    }
    found
}

/// The part of a base whose every offset fits a copy instruction.
fn reachable(base: &[u8]) -> &[u8] {
    &base[..base.len().min(u32::MAX as usize)]
}

/// The hash of the 16 bytes of a block: the two halves of a product, folded (as in wyhash).
#[inline]
fn hash(block: &[u8]) -> u32 {
    let (low, high) = (word(&block[..8]), word(&block[8..BLOCK]));
    let product =
        u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd1b5_4a32_d192_ed03);
    (((product >> 64) as u64 ^ product as u64) >> 32) as u32
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes were cut off"))
}

/// How many bytes two slices have in common at their beginning.
fn same_ahead(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let different = word(a) ^ word(b);
        if different != 0 {
            return same + different.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes two slices have in common at their end.
fn same_behind(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for (a, b) in a.rchunks_exact(8).zip(b.rchunks_exact(8)) {
        let different = word(a) ^ word(b);
        if different != 0 {
            return same + different.leading_zeros() as usize / 8;
        }
        same += 8;
    }
    let left = |bytes: &[u8]| bytes.len() - same;
    let (a, b) = (&a[..left(a)], &b[..left(b)]);
    same + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn insert(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(INSERT_MAX) {
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
}

/// Copies of at most 64 KiB each: git reads longer ones, and writes none.
fn copy(mut offset: usize, mut len: usize, out: &mut Vec<u8>) {
    while len > 0 {
        let piece = len.min(COPY_SIZE_DEFAULT);
        let opcode_at = out.len();
        out.push(0x80);
        // A size of 64 KiB is that whose bytes are all absent.
        let fields = offset as u64 | ((piece % COPY_SIZE_DEFAULT) as u64) << 32;
        for bit in 0..7 {
            let byte = (fields >> (8 * bit)) as u8;
            if byte != 0 {
                out[opcode_at] |= 1 << bit;
                out.push(byte);
            }
        }
        offset += piece;
        len -= piece;
    }
}

/// Bytes of the instruction for a copy of up to 64 KiB.
fn copy_bytes(offset: usize, len: usize) -> usize {
    let present = |number: usize| number.to_le_bytes().iter().filter(|byte| **byte != 0).count();
    1 + present(offset) + present(len)
}

fn encode_size(mut size: u64, out: &mut Vec<u8>) {
    while size >= 0x80 {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delta::{Instruction, Instructions, apply};

    fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
        let mut out = vec![7];
        assert!(BaseIndex::new(base).create(base, target, usize::MAX, &mut out));
        out
    }

    fn made(base: &[u8], delta: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        apply(base, delta, &mut out, u64::MAX).expect("a good delta");
        out
    }

    /// A target of pieces of the base and bytes of its own.
    fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let byte = prop_oneof![Just(0u8), 0..4u8, any::<u8>()];
        let base = proptest::collection::vec(byte.clone(), 0..2000);
        let own = proptest::collection::vec(byte, 0..300);
        let pieces = proptest::collection::vec((any::<u16>(), 0..600usize, own), 1..6);
        (base, pieces).prop_map(|(base, pieces)| {
            let mut target = Vec::new();
            for (from, len, own) in pieces {
                let from = from as usize % (base.len() + 1);
                target.extend_from_slice(&base[from..(from + len).min(base.len())]);
                target.extend(own);
            }
            (base, target)
        })
    }

    proptest! {
        #[test]
        fn what_is_made_of_a_delta_is_its_target((base, target) in pair(), max in 0..700usize) {
            prop_assume!(!target.is_empty());
            let whole = delta(&base, &target);
            prop_assert_eq!(made(&base, &whole), &target[..]);
            prop_assert!(whole.len() <= target.len() + target.len() / 64 + 6, "little overhead");
            let mut limited = Vec::new();
            let fits = BaseIndex::new(&base).create(&base, &target, max, &mut limited);
            prop_assert!(fits || whole.len() > max, "what fits is found");
            prop_assert!(!fits || (limited == whole && whole.len() <= max));
        }

        #[test]
        fn a_delta_between_versions_makes_the_newer_one(
            (base, target) in pair(),
            ends in (0..400usize, 0..400usize),
            max in 0..700usize,
        ) {
            prop_assume!(!target.is_empty());
            let (ahead, behind) = (ends.0.min(base.len()), ends.1.min(base.len()));
            let tail = &base[base.len() - behind..];
            let target = [&base[..ahead], &target, tail].concat();
            let mut whole = vec![7];
            prop_assert!(between_versions(&base, &target, usize::MAX, &mut whole));
            prop_assert_eq!(made(&base, &whole), &target[..]);
            let mut limited = Vec::new();
            let fits = between_versions(&base, &target, max, &mut limited);
            prop_assert_eq!(fits, whole.len() <= max);
            prop_assert!(!fits || limited == whole);
        }
    }

    #[test]
    fn a_changed_line_costs_the_line() {
        let base: Vec<u8> =
            (0..400).flat_map(|n| format!("line {n} of it\n").into_bytes()).collect();
        let mut target = base.clone();
        target.splice(3000..3010, *b"something else");
        let delta = delta(&base, &target);
        assert!(delta.len() < 4 + 5 + 15 + 6, "{} bytes", delta.len());
        let inserted: usize = Instructions::new(&delta)
            .expect("sizes")
            .map(|instruction| match instruction.expect("good") {
                Instruction::Insert(bytes) => bytes.len(),
                Instruction::Copy { len, .. } => {
                    assert!(len <= COPY_SIZE_DEFAULT);
                    0
                }
            })
            .sum();
        assert!(inserted <= 14, "{inserted} bytes inserted");
    }

    #[test]
    fn long_copies_are_cut_at_64_kib() {
        let base: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let delta = delta(&base, &base);
        assert_eq!(made(&base, &delta), base);
        let copies: Vec<_> = Instructions::new(&delta).expect("sizes").collect();
        assert_eq!(copies.len(), 4);
        assert!(matches!(
            copies[1],
            Ok(Instruction::Copy { offset: COPY_SIZE_DEFAULT, len: COPY_SIZE_DEFAULT })
        ));
    }

    #[test]
    fn data_that_repeats_itself_is_not_searched_forever() {
        let base = b"0123456789abcdef0123456789abcdeg".repeat(20_000);
        let index = BaseIndex::new(&base);
        assert!(index.blocks.len() <= 2 * BUCKET_BLOCKS_MAX);
        let mut out = Vec::new();
        assert!(index.create(&base, &base[5..], 100, &mut out));
        let zeros = vec![0; 100_000];
        assert_eq!(BaseIndex::new(&zeros).blocks.len(), 1);
        assert!(delta(&zeros, &zeros[1..]).len() < 20);
    }

    #[test]
    fn another_base_than_the_indexed_one_is_refused_or_harmless() {
        let base = vec![1; 100];
        let index = BaseIndex::new(&base);
        let mut out = Vec::new();
        assert!(!index.create(&base[1..], &base, 1000, &mut out));
        assert!(index.create(&[2; 100], &base, 1000, &mut out));
        assert_eq!(made(&[2; 100], &out), base);
        assert!(!index.create(&base, &[], 1000, &mut out), "git takes no delta that short");
    }
}
