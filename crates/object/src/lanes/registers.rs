//! SHA-1's compression of several blocks side by side, one in each lane of wide registers.
//!
//! Written as loops over the lanes of arrays, which compilers turn into vector instructions; the
//! wrappers at the end only say which instructions they may use. FIPS 180-4, section 6.1.2.

use super::disturbance::{RELATIONS, STEPS};

/// The chaining value before the first block.
pub(super) const INITIAL: [u32; 5] =
    [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];

/// What is added in each round of 20 steps.
pub(super) const ROUND: [u32; 4] = [0x5A82_7999, 0x6ED9_EBA1, 0x8F1B_BCDC, 0xCA62_C1D6];

/// One message in each of `N` lanes.
pub(super) struct Lanes<const N: usize> {
    /// The chaining values.
    pub state: [[u32; N]; 5],
    /// The expanded words of the last blocks.
    pub words: [[u32; N]; STEPS],
    /// The disturbance vectors the last blocks may follow.
    pub suspects: [u32; N],
}

impl<const N: usize> Lanes<N> {
    pub fn new() -> Self {
        Lanes { state: [[0; N]; 5], words: [[0; N]; STEPS], suspects: [0; N] }
    }

    /// Makes a lane ready for a new message.
    pub fn reset(&mut self, lane: usize) {
        for (row, initial) in self.state.iter_mut().zip(INITIAL) {
            row[lane] = initial;
        }
    }

    /// One lane's chaining value.
    pub fn state_of(&self, lane: usize) -> [u32; 5] {
        self.state.map(|row| row[lane])
    }

    /// Takes one block in each lane.
    #[inline(always)]
    pub fn advance(&mut self, blocks: &[&[u8; 64]; N]) {
        self.expand(blocks);
        self.compress();
        self.suspect();
    }

    #[inline(always)]
    fn expand(&mut self, blocks: &[&[u8; 64]; N]) {
        let words = &mut self.words;
        for (lane, block) in blocks.iter().enumerate() {
            for (row, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                row[lane] = u32::from_be_bytes(*bytes);
            }
        }
        for step in 16..STEPS {
            let (known, new) = words.split_at_mut(step);
            let new = &mut new[0];
            for lane in 0..N {
                new[lane] = (known[step - 3][lane]
                    ^ known[step - 8][lane]
                    ^ known[step - 14][lane]
                    ^ known[step - 16][lane])
                    .rotate_left(1);
            }
        }
    }

    #[inline(always)]
    fn compress(&mut self) {
        let [mut a, mut b, mut c, mut d, mut e] = self.state;
        let words = &self.words;
        macro_rules! step {
            ($a:ident $b:ident $c:ident $d:ident $e:ident, $step:expr, $f:expr, $round:expr) => {
                for lane in 0..N {
                    $e[lane] = $e[lane]
                        .wrapping_add($a[lane].rotate_left(5))
                        .wrapping_add($f($b[lane], $c[lane], $d[lane]))
                        .wrapping_add(words[$step][lane])
                        .wrapping_add(ROUND[$round]);
                    $b[lane] = $b[lane].rotate_left(30);
                }
            };
        }
        macro_rules! round {
            ($round:expr, $f:expr) => {
                for step in (20 * $round..20 * $round + 20).step_by(5) {
                    step!(a b c d e, step, $f, $round);
                    step!(e a b c d, step + 1, $f, $round);
                    step!(d e a b c, step + 2, $f, $round);
                    step!(c d e a b, step + 3, $f, $round);
                    step!(b c d e a, step + 4, $f, $round);
                }
            };
        }
        round!(0, choose);
        round!(1, parity);
        round!(2, majority);
        round!(3, parity);
        for (row, added) in self.state.iter_mut().zip([a, b, c, d, e]) {
            for (value, added) in row.iter_mut().zip(added) {
                *value = value.wrapping_add(added);
            }
        }
    }

    /// Strikes every vector of which a relation is broken.
    #[inline(always)]
    fn suspect(&mut self) {
        let mut cleared = [0u32; N];
        for relation in RELATIONS.iter() {
            let [(first, first_bit), (second, second_bit)] = relation.bits;
            let (first, second) =
                (&self.words[usize::from(first)], &self.words[usize::from(second)]);
            let (first_shift, second_shift) = (31 - first_bit, 31 - second_bit);
            for lane in 0..N {
                // The two bits meet at the top; shifting an `i32` down spreads the sign.
                let top = (first[lane] << first_shift) ^ (second[lane] << second_shift);
                let broken = (top as i32 >> 31) as u32 ^ relation.differ;
                cleared[lane] |= broken & relation.vectors;
            }
        }
        self.suspects = cleared.map(|cleared| !cleared);
    }
}

#[inline(always)]
pub(super) fn choose(b: u32, c: u32, d: u32) -> u32 {
    d ^ (b & (c ^ d))
}

#[inline(always)]
pub(super) fn parity(b: u32, c: u32, d: u32) -> u32 {
    b ^ c ^ d
}

#[inline(always)]
pub(super) fn majority(b: u32, c: u32, d: u32) -> u32 {
    (b & c) | (d & (b | c))
}

/// Something that takes a block in each of `N` lanes.
pub(super) type Advance<const N: usize> = fn(&mut Lanes<N>, &[&[u8; 64]; N]);

/// Sixteen lanes, where the processor has the instructions for it.
#[cfg(target_arch = "x86_64")]
pub(super) fn sixteen() -> Option<Advance<16>> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn advance(lanes: &mut Lanes<16>, blocks: &[&[u8; 64]; 16]) {
        lanes.advance(blocks);
    }
    let able = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    #[allow(unsafe_code)]
    // SAFETY: the function is handed out only where the processor has what it was compiled for.
    able.then_some(|lanes, blocks| unsafe { advance(lanes, blocks) })
}

/// Eight lanes, where the processor has the instructions for it.
#[cfg(target_arch = "x86_64")]
pub(super) fn eight() -> Option<Advance<8>> {
    #[target_feature(enable = "avx2")]
    fn advance(lanes: &mut Lanes<8>, blocks: &[&[u8; 64]; 8]) {
        lanes.advance(blocks);
    }
    #[allow(unsafe_code)]
    // SAFETY: the function is handed out only where the processor has what it was compiled for.
    is_x86_feature_detected!("avx2").then_some(|lanes, blocks| unsafe { advance(lanes, blocks) })
}

/// No instructions for this are known here.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn sixteen() -> Option<Advance<16>> {
    None
}

/// No instructions for this are known here.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn eight() -> Option<Advance<8>> {
    None
}
