//! The disturbance vectors of SHA-1 collision attacks, and the bits no attack can avoid.
//!
//! An attack follows one of 32 disturbance vectors, I(k, b) or II(k, b) in the naming of Manuel
//! ("Classification and generation of disturbance vectors for collision attacks against SHA-1",
//! 2011). A vector fixes the exclusive-or of the two messages' expanded words. It also forces
//! some bits of one message's expanded words to be equal, or to differ: Stevens and Shumow,
//! "Speeding up detection of SHA-1 collision attacks using unavoidable attack conditions", 2017.
//! A block that breaks one of a vector's relations is no part of an attack along it, and about
//! one block in twenty keeps all relations of any vector.

use std::sync::LazyLock;

/// Words of an expanded message block; one per step.
pub(super) const STEPS: usize = 80;

/// One disturbance vector. Its place in [`VECTORS`] is its bit in a set of vectors.
pub(super) struct Vector {
    /// The exclusive-or of the expanded words of the two messages.
    pub difference: [u32; STEPS],
    /// Before this step the two computations have the same state.
    pub same_state_at: usize,
}

/// Two bits of one message's expanded words that an attack forces to be equal, or to differ.
pub(super) struct Relation {
    /// Word and bit, twice.
    pub bits: [(u8, u8); 2],
    /// No bits when the two must be equal, all bits when they must differ.
    pub differ: u32,
    /// The vectors that force it.
    pub vectors: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    I,
    II,
}

/// Type, k, b and the step with equal states.
const CLASSES: [(Type, usize, u32, usize); 32] = [
    (Type::I, 43, 0, 58),
    (Type::I, 44, 0, 58),
    (Type::I, 45, 0, 58),
    (Type::I, 46, 0, 58),
    (Type::I, 46, 2, 58),
    (Type::I, 47, 0, 58),
    (Type::I, 47, 2, 58),
    (Type::I, 48, 0, 58),
    (Type::I, 48, 2, 58),
    (Type::I, 49, 0, 58),
    (Type::I, 49, 2, 58),
    (Type::I, 50, 0, 65),
    (Type::I, 50, 2, 65),
    (Type::I, 51, 0, 65),
    (Type::I, 51, 2, 65),
    (Type::I, 52, 0, 65),
    (Type::II, 45, 0, 58),
    (Type::II, 46, 0, 58),
    (Type::II, 46, 2, 58),
    (Type::II, 47, 0, 58),
    (Type::II, 48, 0, 58),
    (Type::II, 49, 0, 58),
    (Type::II, 49, 2, 58),
    (Type::II, 50, 0, 65),
    (Type::II, 50, 2, 65),
    (Type::II, 51, 0, 65),
    (Type::II, 51, 2, 65),
    (Type::II, 52, 0, 65),
    (Type::II, 53, 0, 65),
    (Type::II, 54, 0, 65),
    (Type::II, 55, 0, 65),
    (Type::II, 56, 0, 65),
];

/// A relation for all k of a range: word (relative to k) and bit, twice; whether the bits differ.
struct Family {
    first: (i8, u8),
    second: (i8, u8),
    differ: u32,
    /// For these k, inclusive.
    k: &'static [(usize, usize)],
}

const fn family(
    first: (i8, u8),
    second: (i8, u8),
    differ: u32,
    k: &'static [(usize, usize)],
) -> Family {
    Family { first, second, differ, k }
}

/// The relations, by type and b of the vectors they belong to.
const FAMILIES: [(Type, u32, &[Family]); 4] = [
    (
        Type::I,
        0,
        &[
            family((-16, 3), (-12, 28), 0, &[(51, 51)]),
            family((-14, 4), (-13, 4), 1, &[(50, 52)]),
            family((-13, 4), (-9, 29), 0, &[(48, 52)]),
            family((-10, 4), (-7, 29), 0, &[(47, 52)]),
            family((-10, 4), (-6, 29), 0, &[(45, 46)]),
            family((-8, 29), (-7, 29), 0, &[(48, 52)]),
            family((-7, 29), (-6, 29), 0, &[(47, 52)]),
            family((-6, 4), (-4, 4), 1, &[(43, 46)]),
            family((-6, 4), (-3, 29), 0, &[(43, 52)]),
            family((-4, 4), (-2, 4), 1, &[(43, 44)]),
            family((-4, 4), (-1, 29), 0, &[(43, 52)]),
            family((-4, 29), (-3, 29), 0, &[(44, 52)]),
            family((-4, 29), (3, 29), 1, &[(52, 52)]),
            family((-3, 29), (-1, 29), 1, &[(47, 52)]),
            family((-3, 29), (4, 29), 1, &[(51, 51)]),
            family((-2, 4), (1, 29), 0, &[(43, 52)]),
            family((-1, 29), (1, 29), 1, &[(45, 51)]),
            family((0, 4), (3, 29), 0, &[(43, 52)]),
            family((1, 29), (3, 29), 1, &[(43, 49)]),
            family((1, 29), (4, 29), 1, &[(50, 50), (52, 52)]),
            family((3, 29), (4, 29), 0, &[(43, 52)]),
            family((15, 0), (16, 5), 1, &[(45, 48)]),
            family((15, 0), (20, 30), 1, &[(43, 44)]),
            family((16, 5), (20, 30), 0, &[(43, 44)]),
            family((18, 1), (19, 6), 1, &[(43, 45)]),
        ],
    ),
    (
        Type::II,
        0,
        &[
            family((-18, 4), (-16, 4), 1, &[(54, 56)]),
            family((-18, 4), (-15, 29), 0, &[(55, 56)]),
            family((-16, 4), (-14, 4), 1, &[(52, 56)]),
            family((-16, 4), (-13, 29), 0, &[(53, 56)]),
            family((-16, 29), (-15, 29), 0, &[(56, 56)]),
            family((-13, 30), (-8, 28), 1, &[(48, 52)]),
            family((-12, 3), (-8, 28), 0, &[(47, 56)]),
            family((-12, 4), (-8, 29), 0, &[(47, 56)]),
            family((-9, 4), (-6, 29), 0, &[(46, 56)]),
            family((-9, 4), (-5, 29), 0, &[(45, 45)]),
            family((-7, 29), (-6, 29), 0, &[(47, 56)]),
            family((-6, 29), (-5, 29), 0, &[(46, 56)]),
            family((-4, 4), (-1, 29), 0, &[(45, 56)]),
            family((-2, 29), (-1, 29), 0, &[(45, 56)]),
            family((-1, 29), (0, 29), 0, &[(45, 56)]),
            family((2, 4), (4, 29), 0, &[(55, 55)]),
            family((2, 4), (5, 29), 0, &[(45, 54)]),
            family((4, 4), (7, 29), 0, &[(45, 52)]),
            family((4, 4), (8, 29), 0, &[(53, 56)]),
            family((4, 29), (5, 29), 0, &[(45, 54)]),
            family((4, 29), (7, 29), 1, &[(47, 47), (49, 49), (52, 52)]),
            family((5, 29), (7, 29), 1, &[(45, 45)]),
            family((5, 29), (8, 29), 1, &[(46, 46), (48, 48), (50, 51), (53, 53)]),
            family((7, 29), (8, 29), 0, &[(45, 52)]),
            family((15, 0), (16, 5), 1, &[(45, 48)]),
            family((18, 1), (19, 6), 1, &[(45, 45)]),
        ],
    ),
    (
        Type::I,
        2,
        &[
            family((-16, 5), (-12, 30), 0, &[(51, 51)]),
            family((-14, 1), (-14, 6), 0, &[(51, 51)]),
            family((-14, 1), (-13, 6), 1, &[(49, 51)]),
            family((-11, 1), (-10, 6), 1, &[(46, 48), (50, 51)]),
            family((-11, 1), (-9, 1), 1, &[(49, 49)]),
            family((-10, 6), (-9, 1), 0, &[(49, 51)]),
            family((-7, 1), (-6, 6), 1, &[(46, 48), (51, 51)]),
            family((-7, 1), (1, 1), 1, &[(49, 50)]),
            family((-6, 6), (-4, 6), 0, &[(46, 51)]),
            family((-4, 6), (-2, 6), 0, &[(46, 51)]),
            family((-2, 6), (0, 6), 0, &[(46, 51)]),
            family((0, 6), (1, 1), 0, &[(46, 51)]),
            family((15, 2), (16, 7), 1, &[(46, 48)]),
        ],
    ),
    (
        Type::II,
        2,
        &[
            family((-13, 0), (-8, 30), 1, &[(49, 51)]),
            family((-12, 5), (-8, 30), 0, &[(49, 51)]),
            family((-10, 1), (-9, 6), 1, &[(46, 46), (49, 51)]),
            family((-9, 6), (-8, 1), 0, &[(49, 51)]),
            family((-5, 1), (-4, 6), 1, &[(46, 46), (49, 49)]),
            family((-5, 1), (-3, 1), 1, &[(50, 51)]),
            family((-4, 6), (-3, 1), 0, &[(46, 46), (49, 51)]),
            family((1, 1), (5, 1), 1, &[(46, 46), (49, 51)]),
            family((2, 6), (4, 6), 0, &[(46, 46), (49, 51)]),
            family((4, 6), (5, 1), 0, &[(46, 46), (49, 51)]),
            family((15, 2), (16, 7), 1, &[(46, 46)]),
        ],
    ),
];

/// All vectors, in the order of their bits.
pub(super) static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(|| {
    let vector = |&(kind, k, b, same_state_at): &(Type, usize, u32, usize)| Vector {
        difference: difference(kind, k, b),
        same_state_at,
    };
    CLASSES.iter().map(vector).collect()
});

/// All relations; each pair of bits once.
pub(super) static RELATIONS: LazyLock<Vec<Relation>> = LazyLock::new(|| {
    let mut relations: Vec<Relation> = Vec::new();
    for (number, &(kind, k, b, _)) in CLASSES.iter().enumerate() {
        let families = FAMILIES.iter().filter(|family| (family.0, family.1) == (kind, b));
        for family in families.flat_map(|family| family.2) {
            if !family.k.iter().any(|&(first, last)| (first..=last).contains(&k)) {
                continue;
            }
            let word = |offset: i8| {
                let word = k.checked_add_signed(offset.into()).filter(|word| *word < STEPS);
                word.expect("relations speak of words there are") as u8
            };
            let bits =
                [(word(family.first.0), family.first.1), (word(family.second.0), family.second.1)];
            let differ = family.differ.wrapping_neg();
            let known =
                relations.iter_mut().find(|known| known.bits == bits && known.differ == differ);
            match known {
                Some(known) => known.vectors |= 1 << number,
                None => relations.push(Relation { bits, differ, vectors: 1 << number }),
            }
        }
    }
    relations
});

/// The difference of the expanded messages along a vector: each disturbance is undone by five
/// corrections in the steps after it.
fn difference(kind: Type, k: usize, b: u32) -> [u32; STEPS] {
    /// Disturbances before step 0 have corrections in the first steps.
    const BEFORE: usize = 5;
    let mut disturbance = [0u32; STEPS + BEFORE];
    // Sixteen words fix the rest, forwards and backwards.
    let at = k + BEFORE;
    disturbance[at + 15] = 1 << b;
    if kind == Type::II {
        disturbance[at + 1] = 1u32.rotate_left(31 + b);
        disturbance[at + 3] = 1u32.rotate_left(31 + b);
    }
    for t in at + 16..STEPS + BEFORE {
        let sum =
            disturbance[t - 3] ^ disturbance[t - 8] ^ disturbance[t - 14] ^ disturbance[t - 16];
        disturbance[t] = sum.rotate_left(1);
    }
    for t in (0..at).rev() {
        disturbance[t] = disturbance[t + 16].rotate_right(1)
            ^ disturbance[t + 13]
            ^ disturbance[t + 8]
            ^ disturbance[t + 2];
    }
    std::array::from_fn(|step| {
        let before = |steps: usize| disturbance[step + BEFORE - steps];
        before(0)
            ^ before(1).rotate_left(5)
            ^ before(2)
            ^ before(3).rotate_left(30)
            ^ before(4).rotate_left(30)
            ^ before(5).rotate_left(30)
    })
}
