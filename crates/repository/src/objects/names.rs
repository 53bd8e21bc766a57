//! Names of objects that are not whole: what begins so, and how much of an id tells it from all others.

use object::{HashKind, ObjectId};

use super::unit::UnitIndex;
use super::{Objects, Unit};
use crate::error::Result;

/// The shortest beginning of an id that is looked for, digits (git's `MINIMUM_ABBREV`).
pub const PREFIX_DIGITS_MIN: usize = 4;

/// An abbreviated id has so many digits at least, unless somebody asks for fewer.
const DIGITS_MIN: usize = 7;

impl Objects {
    /// The only object whose id begins with these digits; `Err` holds how many there are at least,
    /// 0 or 2, when that is not one.
    ///
    /// # Errors
    /// When the storage fails or the repository is damaged.
    pub fn by_prefix(&self, digits: &[u8]) -> Result<std::result::Result<ObjectId, usize>> {
        let Some(prefix) = padded(digits, self.hash()) else { return Ok(Err(0)) };
        let mut found: Option<ObjectId> = None;
        let mut candidates = Vec::new();
        for placed in self.units().iter() {
            first_two(&placed.unit, &prefix, digits.len(), &mut candidates)?;
        }
        candidates.extend(self.loose_like(&prefix, digits.len())?);
        for candidate in candidates {
            match found {
                Some(other) if other != candidate => return Ok(Err(2)),
                _ => found = Some(candidate),
            }
        }
        Ok(found.ok_or(0))
    }

    /// How many digits of an object's id tell it from all others: `least`, or more where it takes
    /// more. Without `least`, about what the number of objects will go on to need, as git counts.
    ///
    /// # Errors
    /// As [`Objects::by_prefix`].
    pub fn abbreviation(&self, id: &ObjectId, least: Option<usize>) -> Result<usize> {
        let least = least.unwrap_or_else(|| {
            let digits = (u32::BITS - self.packed_count().leading_zeros()).div_ceil(2);
            DIGITS_MIN.max(digits as usize)
        });
        let most = self.hash().hex_len();
        let hex = id.to_hex();
        for digits in least.max(PREFIX_DIGITS_MIN)..most {
            if self.by_prefix(&hex.as_bytes()[..digits])? != Err(2) {
                return Ok(digits);
            }
        }
        Ok(most)
    }

    /// Loose objects whose ids begin so.
    fn loose_like(&self, prefix: &ObjectId, digits: usize) -> Result<Vec<ObjectId>> {
        let hex = prefix.to_hex();
        let (directory, wanted) = (&hex[..2], &hex[..digits]);
        let mut found = Vec::new();
        for store in &self.view.stores {
            for blob in store.list(&format!("{directory}/"))? {
                let name = blob.name.replacen('/', "", 1);
                if name.starts_with(wanted) {
                    found.extend(ObjectId::from_hex_of(name.as_bytes(), self.hash()));
                }
            }
        }
        Ok(found)
    }
}

/// The id that begins with these digits and goes on with zeros; `None` for too few, too many, or
/// what are none.
fn padded(digits: &[u8], hash: HashKind) -> Option<ObjectId> {
    if !(PREFIX_DIGITS_MIN..=hash.hex_len()).contains(&digits.len()) {
        return None;
    }
    let mut hex = digits.to_ascii_lowercase();
    hex.resize(hash.hex_len(), b'0');
    ObjectId::from_hex_of(&hex, hash)
}

/// At most two of a unit's objects whose ids begin so.
fn first_two(
    unit: &Unit,
    prefix: &ObjectId,
    digits: usize,
    into: &mut Vec<ObjectId>,
) -> Result<()> {
    match &unit.index {
        UnitIndex::Single(pack) => {
            let index = pack.index()?;
            into.extend(index.prefix_range(prefix, digits).take(2).map(|at| index.id_at(at)));
        }
        UnitIndex::Multi { midx, .. } => {
            let ranges = midx.prefix_ranges(prefix, digits);
            into.extend(ranges.into_iter().flatten().take(2).map(|at| midx.id_at(at)));
        }
    }
    Ok(())
}
