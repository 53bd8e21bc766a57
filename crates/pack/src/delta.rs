//! Deltas: a result described by copies out of a base and inserted bytes.
//!
//! Format: gitformat-pack, "Deltified representation". Works on inflated data only. Deltas are
//! made in [`create`].

pub mod create;

use crate::Error;

/// The size of a copy whose size bytes are all absent.
const COPY_SIZE_DEFAULT: usize = 0x10000;

/// The two sizes a delta starts with, and the number of bytes they take: base, result, header.
///
/// # Errors
/// [`Error::Corrupt`] when the delta ends within them or a number overflows.
pub fn sizes(delta: &[u8]) -> Result<(u64, u64, usize), Error> {
    let (base, base_len) = parse_size(delta)?;
    let (result, result_len) = parse_size(&delta[base_len..])?;
    Ok((base, result, base_len + result_len))
}

/// Replaces `out` by the result of applying `delta` to `base`.
///
/// Memory is reserved once, after the declared result size was found to be at most `max_size`
/// bytes.
///
/// # Errors
/// [`Error::TooLarge`] over that limit; [`Error::Corrupt`] when `base` is not of the declared
/// size, an instruction is reserved or out of bounds, or the result is not of the declared size.
/// `out` holds a part of the result then.
pub fn apply(base: &[u8], delta: &[u8], out: &mut Vec<u8>, max_size: u64) -> Result<(), Error> {
    out.clear();
    let (base_size, result_size, header_len) = sizes(delta)?;
    if base_size != base.len() as u64 {
        return Err(Error::corrupt("delta was made for a base of another size"));
    }
    if result_size > max_size {
        return Err(Error::TooLarge { size: result_size, max: max_size });
    }
    let result_size = usize::try_from(result_size)
        .map_err(|_| Error::TooLarge { size: result_size, max: usize::MAX as u64 })?;
    out.reserve_exact(result_size);
    for instruction in Instructions::after_header(&delta[header_len..]) {
        let piece = match instruction? {
            Instruction::Copy { offset, len } => base
                .get(offset..offset + len)
                .ok_or(Error::corrupt("delta copies from beyond its base"))?,
            Instruction::Insert(bytes) => bytes,
        };
        if piece.len() > result_size - out.len() {
            return Err(Error::corrupt("delta makes more than its declared result"));
        }
        out.extend_from_slice(piece);
    }
    if out.len() != result_size {
        return Err(Error::corrupt("delta makes less than its declared result"));
    }
    Ok(())
}

/// One instruction of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// Append bytes of the base.
    Copy {
        /// Where in the base they start; at most 32 bits.
        offset: usize,
        /// How many, never zero; at most 24 bits.
        len: usize,
    },
    /// Append these bytes, 1 to 127 of them.
    Insert(&'a [u8]),
}

/// The instructions of a delta in order; ends after the first error.
#[derive(Debug, Clone)]
pub struct Instructions<'a> {
    rest: &'a [u8],
}

impl<'a> Instructions<'a> {
    /// The instructions of a whole delta.
    ///
    /// # Errors
    /// As [`sizes`].
    pub fn new(delta: &'a [u8]) -> Result<Self, Error> {
        let (_, _, header_len) = sizes(delta)?;
        Ok(Self::after_header(&delta[header_len..]))
    }

    fn after_header(rest: &'a [u8]) -> Self {
        Instructions { rest }
    }

    #[inline]
    fn copy(&mut self, opcode: u8) -> Result<Instruction<'a>, Error> {
        let (fields, rest) = self
            .rest
            .split_at_checked((opcode & 0x7f).count_ones() as usize)
            .ok_or(Error::corrupt("delta ends within a copy instruction"))?;
        self.rest = rest;
        let mut fields = fields.iter();
        let mut number = 0u64;
        for bit in 0..7 {
            if opcode & 1 << bit != 0 {
                let byte = fields.next().expect("as many bytes as bits were split off");
                number |= u64::from(*byte) << (8 * bit);
            }
        }
        let len = match (number >> 32) as usize {
            0 => COPY_SIZE_DEFAULT,
            len => len,
        };
        Ok(Instruction::Copy { offset: number as u32 as usize, len })
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Result<Instruction<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&opcode, rest) = self.rest.split_first()?;
        self.rest = rest;
        let instruction = match opcode {
            0 => Err(Error::corrupt("delta uses a reserved instruction")),
            1..=0x7f => match self.rest.split_at_checked(opcode as usize) {
                Some((bytes, rest)) => {
                    self.rest = rest;
                    Ok(Instruction::Insert(bytes))
                }
                None => Err(Error::corrupt("delta ends within inserted bytes")),
            },
            _ => self.copy(opcode),
        };
        if instruction.is_err() {
            self.rest = &[];
        }
        Some(instruction)
    }
}

/// Little-endian groups of seven bits, the "size encoding" of gitformat-pack.
fn parse_size(bytes: &[u8]) -> Result<(u64, usize), Error> {
    let mut size = 0u64;
    for (at, byte) in bytes.iter().enumerate() {
        let (part, shift) = (u64::from(byte & 0x7f), 7 * at as u32);
        if shift >= u64::BITS || (part << shift) >> shift != part {
            return Err(Error::corrupt("delta size overflows 64 bits"));
        }
        size |= part << shift;
        if byte & 0x80 == 0 {
            return Ok((size, at + 1));
        }
    }
    Err(Error::corrupt("delta ends within its sizes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &[u8] = b"0123456789abcdef";

    fn applied(delta: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![1, 2, 3];
        apply(BASE, delta, &mut out, 1 << 20).map(|()| out)
    }

    #[test]
    fn copies_and_inserts_make_the_result() {
        let delta = [16, 9, 0x91, 4, 3, 2, b'-', b'+', 0x90, 4];
        assert_eq!(applied(&delta).expect("a good delta"), b"456-+0123");
        let listed: Result<Vec<_>, _> = Instructions::new(&delta).expect("sizes").collect();
        assert_eq!(
            listed.expect("a good delta"),
            [
                Instruction::Copy { offset: 4, len: 3 },
                Instruction::Insert(b"-+"),
                Instruction::Copy { offset: 0, len: 4 },
            ]
        );
    }

    #[test]
    fn an_absent_size_is_64_kib() {
        let base = vec![5; COPY_SIZE_DEFAULT];
        let mut out = Vec::new();
        apply(&base, &[0x80, 0x80, 4, 0x80, 0x80, 4, 0x80], &mut out, 1 << 20).expect("good");
        assert_eq!(out, base);
    }

    #[test]
    fn omitted_bytes_keep_their_place() {
        let delta = [0, 0, 0b1100_1010, 0x12, 0x34, 0x56];
        let one = Instructions::new(&delta).expect("sizes").next().expect("one").expect("good");
        assert_eq!(one, Instruction::Copy { offset: 0x3400_1200, len: 0x56_0000 });
    }

    #[test]
    fn refuses_what_leads_out_of_bounds() {
        let refused: [&[u8]; 10] = [
            &[],
            &[16],
            &[15, 1, 0x90, 1],
            &[16, 1, 0],
            &[16, 4, 0x91, 13, 4],
            &[16, 3, 0x90, 4],
            &[16, 5, 0x90, 4],
            &[16, 4, 4, b'a'],
            &[16, 4, 0x91, 1],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1],
        ];
        for delta in refused {
            assert!(matches!(applied(delta), Err(Error::Corrupt { .. })), "{delta:x?}");
        }
    }

    #[test]
    fn a_result_over_the_limit_allocates_nothing() {
        let mut out = Vec::new();
        let delta = [16, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x90, 1];
        let result = apply(BASE, &delta, &mut out, 1000);
        assert!(matches!(result, Err(Error::TooLarge { max: 1000, .. })));
        assert_eq!(out.capacity(), 0);
    }

    proptest! {
        #[test]
        fn nothing_panics(delta: Vec<u8>) {
            let _ = applied(&delta);
        }
    }
}
