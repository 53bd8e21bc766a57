//! SHA-1 names of many objects at once, with collision detection.
//!
//! One message is hashed block after block, and a processor's wide registers stand idle
//! meanwhile. Here each lane of a register carries another message. Detection works as in the
//! scalar hasher: every block is checked for the marks no known attack can avoid, and a block that
//! bears them is computed again as the other half of the attack would be.

mod disturbance;
mod recompress;
mod registers;

use registers::{Advance, Lanes};

use crate::{Collision, HashKind, Kind, ObjectId, hash};

/// What one step of all lanes costs, in blocks of the scalar hasher. Measured: sixteen lanes took
/// 5 blocks' time, eight took 4.
const SIXTEEN_LANES_COST: usize = 5;
const EIGHT_LANES_COST: usize = 4;

/// Names objects; `name(at, id)` is called once for each, in no particular order.
///
/// # Errors
/// The place in `objects` of one whose bytes carry a collision attack.
pub(crate) fn name_objects(
    objects: &[(Kind, &[u8])],
    name: &mut dyn FnMut(usize, ObjectId),
) -> Result<(), (usize, Collision)> {
    if let Some(advance) = registers::sixteen() {
        return share(objects, advance, SIXTEEN_LANES_COST, name);
    }
    if let Some(advance) = registers::eight() {
        return share(objects, advance, EIGHT_LANES_COST, name);
    }
    objects.iter().enumerate().try_for_each(|(at, object)| name_alone(at, *object, name))
}

fn name_alone(
    at: usize,
    (kind, content): (Kind, &[u8]),
    name: &mut dyn FnMut(usize, ObjectId),
) -> Result<(), (usize, Collision)> {
    let id = hash::object_id(HashKind::Sha1, kind, content);
    name(at, id.map_err(|collision| (at, collision))?);
    Ok(())
}

/// Gives the objects to the lanes, except those that would keep one lane busy alone.
fn share<const N: usize>(
    objects: &[(Kind, &[u8])],
    advance: Advance<N>,
    lanes_cost: usize,
    name: &mut dyn FnMut(usize, ObjectId),
) -> Result<(), (usize, Collision)> {
    let blocks = |at: usize| objects[at].1.len() / 64 + 1;
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_unstable_by_key(|&at| std::cmp::Reverse(blocks(at)));
    let mut total: usize = order.iter().map(|&at| blocks(at)).sum();
    // The steps the lanes take for what is left, once the first `alone` objects are not.
    let steps = |alone: usize, total: usize| {
        order.get(alone).map_or(0, |&at| blocks(at).max(total.div_ceil(N)))
    };
    let mut alone = 0;
    while alone < order.len() {
        let largest = blocks(order[alone]);
        let saved = steps(alone, total) - steps(alone + 1, total - largest);
        if saved * lanes_cost <= largest {
            break;
        }
        (alone, total) = (alone + 1, total - largest);
    }
    if steps(alone, total) * lanes_cost >= total {
        alone = order.len();
    }
    let (alone, together) = order.split_at(alone);
    for &at in alone {
        name_alone(at, objects[at], name)?;
    }
    let messages = together.iter().map(|&at| (at, Message::new(objects[at].0, objects[at].1)));
    name_together(messages, advance, name)
}

/// Hashes messages in lanes; a lane that is done takes the next.
fn name_together<'a, const N: usize>(
    mut waiting: impl Iterator<Item = (usize, Message<'a>)>,
    advance: Advance<N>,
    name: &mut dyn FnMut(usize, ObjectId),
) -> Result<(), (usize, Collision)> {
    let mut lanes = Box::new(Lanes::<N>::new());
    let mut running: [Option<(usize, Message<'_>)>; N] = [const { None }; N];
    loop {
        for (lane, place) in running.iter_mut().enumerate() {
            if place.is_none() {
                *place = waiting.next();
                lanes.reset(lane);
            }
        }
        if running.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut edges = [[0u8; 64]; N];
        let mut rest = edges.iter_mut();
        let blocks: [&[u8; 64]; N] = std::array::from_fn(|lane| {
            let edge = rest.next().expect("as many as lanes");
            match &running[lane] {
                Some((_, message)) => message.block(edge),
                None => edge,
            }
        });
        let before = lanes.state;
        advance(&mut lanes, &blocks);
        for (lane, place) in running.iter_mut().enumerate() {
            let Some((at, message)) = place else { continue };
            let after = lanes.state_of(lane);
            if lanes.suspects[lane] != 0 {
                let words = lanes.words.map(|row| row[lane]);
                let before = before.map(|row| row[lane]);
                if recompress::is_attack(lanes.suspects[lane], &words, before, after) {
                    return Err((*at, Collision));
                }
            }
            message.next_block += 1;
            if message.next_block == message.block_count {
                name(*at, id_of(after));
                *place = None;
            }
        }
    }
}

fn id_of(state: [u32; 5]) -> ObjectId {
    let mut bytes = [0u8; 20];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    ObjectId::from_prefix(&bytes, HashKind::Sha1)
}

/// An object's header and content, padded, in blocks.
struct Message<'a> {
    header: [u8; 32],
    header_len: usize,
    content: &'a [u8],
    next_block: usize,
    block_count: usize,
}

impl<'a> Message<'a> {
    fn new(kind: Kind, content: &'a [u8]) -> Self {
        let mut header = [0; 32];
        let header_len = hash::loose_header(kind, content.len() as u64, &mut header).len();
        // One byte ends the message, eight say its length.
        let block_count = (header_len + content.len() + 9).div_ceil(64);
        Message { header, header_len, content, next_block: 0, block_count }
    }

    /// The next block: where it lies, or put together in `edge`, which is zero.
    fn block<'b>(&'b self, edge: &'b mut [u8; 64]) -> &'b [u8; 64] {
        let start = 64 * self.next_block;
        let content_start = start.wrapping_sub(self.header_len);
        if start >= self.header_len
            && let Some(rest) = self.content.get(content_start..)
            && let Some(block) = rest.first_chunk::<64>()
        {
            return block;
        }
        let mut used = 0;
        if let Some(header) = self.header[..self.header_len].get(start..) {
            used = header.len();
            edge[..used].copy_from_slice(header);
        }
        let from = (start + used - self.header_len).min(self.content.len());
        let content = &self.content[from..];
        let content = &content[..content.len().min(64 - used)];
        edge[used..used + content.len()].copy_from_slice(content);
        let bytes_len = self.header_len + self.content.len();
        if (start..start + 64).contains(&bytes_len) {
            edge[bytes_len - start] = 0x80;
        }
        if self.next_block + 1 == self.block_count {
            edge[56..].copy_from_slice(&(8 * bytes_len as u64).to_be_bytes());
        }
        edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recompress::is_attack;

    /// The bytes two colliding files begin with; then come two blocks, different in each.
    /// Stevens et al., "The first collision for full SHA-1", 2017.
    const SHATTERED_PREFIX: &str = "\
        255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f48656967\
        68742033203020522f547970652034203020522f537562747970652035203020522f46696c74657220362030\
        20522f436f6c6f7253706163652037203020522f4c656e6774682038203020522f42697473506572436f6d70\
        6f6e656e7420383e3e0a73747265616d0affd8fffe00245348412d3120697320646561642121212121852fec\
        092339759c39b1a1c63c4c97e1fffe01";
    const SHATTERED_BLOCKS: [&str; 2] = [
        "\
        7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f\
        26fedfb3dc38e96ac22fe7bd728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f\
        0e332edf93ac3500eb4ddc0decc1a864790c782c76215660dd309791d06bd0af3f98cda4bc4629b1",
        "\
        7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c153\
        0afedfb76038e972722fe7ad728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f\
        2a332ec37fac3514e74ddc0f2cc1a874cd0c78305a21566461309789606bd0bf3f98cda8044629a1",
    ];

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
        text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    fn bytes(len: usize, noise: &mut impl FnMut() -> u64) -> Vec<u8> {
        (0..len).map(|_| noise() as u8).collect()
    }

    fn in_lanes<const N: usize>(advance: Advance<N>, objects: &[(Kind, &[u8])]) {
        let mut ids = vec![None; objects.len()];
        let messages = objects.iter().map(|(kind, content)| Message::new(*kind, content));
        name_together(messages.enumerate(), advance, &mut |at, id| ids[at] = Some(id))
            .expect("noise is no attack");
        for ((kind, content), id) in objects.iter().zip(ids) {
            assert_eq!(id, hash::object_id(HashKind::Sha1, *kind, content).ok());
        }
    }

    #[test]
    fn lanes_name_what_the_scalar_hasher_names() {
        let mut noise = noise(1);
        let contents: Vec<Vec<u8>> = (0..300).map(|len| bytes(len, &mut noise)).collect();
        let kinds = [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag].into_iter().cycle();
        let objects: Vec<(Kind, &[u8])> =
            kinds.zip(contents.iter().map(|content| &content[..])).collect();
        in_lanes(Lanes::<4>::advance, &objects);
        if let Some(advance) = registers::eight() {
            in_lanes(advance, &objects);
        }
        if let Some(advance) = registers::sixteen() {
            in_lanes(advance, &objects);
        }
    }

    #[test]
    fn objects_of_all_sizes_get_their_names() {
        let mut noise = noise(2);
        for sizes in [&[][..], &[5], &[100_000, 3, 3, 3], &[9000; 40], &[70, 50_000, 50_000, 1]] {
            let contents: Vec<Vec<u8>> = sizes.iter().map(|len| bytes(*len, &mut noise)).collect();
            let objects: Vec<(Kind, &[u8])> =
                contents.iter().map(|content| (Kind::Blob, &content[..])).collect();
            let mut named = 0;
            let mut check = |at: usize, id| {
                named += 1;
                assert_eq!(Ok(id), hash::object_id(HashKind::Sha1, Kind::Blob, objects[at].1));
            };
            name_objects(&objects, &mut check).expect("noise is no attack");
            assert_eq!(named, sizes.len());
        }
    }

    #[test]
    fn both_halves_of_a_published_collision_are_found() {
        fn find<const N: usize>(advance: Advance<N>) {
            let mut noise = noise(3);
            for half in SHATTERED_BLOCKS {
                let mut contents: Vec<Vec<u8>> = (0..20).map(|_| bytes(900, &mut noise)).collect();
                contents[13] = unhex(&(SHATTERED_PREFIX.to_owned() + half));
                let raw = contents.iter().map(|content| Message {
                    header_len: 0,
                    block_count: (content.len() + 9).div_ceil(64),
                    ..Message::new(Kind::Blob, content)
                });
                let found = name_together(raw.enumerate(), advance, &mut |_, _| {});
                assert_eq!(found, Err((13, Collision)));
            }
        }
        find(Lanes::<4>::advance);
        if let Some(advance) = registers::eight() {
            find(advance);
        }
        if let Some(advance) = registers::sixteen() {
            find(advance);
        }
    }

    #[test]
    fn a_block_of_an_attack_is_harmless_in_another_place() {
        // The second half of the prefix's blocks alone starts from another chaining value.
        let block = unhex(SHATTERED_BLOCKS[0]);
        let mut lanes = Lanes::<4>::new();
        lanes.reset(0);
        let before = lanes.state_of(0);
        lanes.advance(&[block.first_chunk().expect("a block"); 4]);
        assert_ne!(lanes.suspects[0], 0, "the marks do not depend on the chaining value");
        let words = lanes.words.map(|row| row[0]);
        assert!(!is_attack(lanes.suspects[0], &words, before, lanes.state_of(0)));
    }

    #[test]
    fn relations_and_differences_are_the_published_ones() {
        // Checked once against the tables of sha1collisiondetection: these are their digests.
        let mut noise = noise(4);
        let mut lanes = Lanes::<4>::new();
        let (mut marked, mut digest) = (0, 0u32);
        for _ in 0..5000 {
            let blocks: [[u8; 64]; 4] =
                std::array::from_fn(|_| std::array::from_fn(|_| noise() as u8));
            lanes.advance(&std::array::from_fn(|lane| &blocks[lane]));
            for suspects in lanes.suspects {
                marked += u32::from(suspects != 0);
                digest = digest.rotate_left(1).wrapping_mul(31) ^ suspects;
            }
        }
        assert_eq!((marked, digest), (945, 0xe369_d1d4));
        let mut digest = 0u32;
        for vector in disturbance::VECTORS.iter() {
            for word in vector.difference {
                digest = digest.rotate_left(1).wrapping_mul(31) ^ word;
            }
        }
        assert_eq!(digest, 0xc49d_a9c4);
    }
}
