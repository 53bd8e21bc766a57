//! A stack of tables: which there are, how a new one is called, and when some are made one.

use std::io::Write;
use std::ops::Range;

use bstr::ByteSlice as _;

use crate::merged::{MergedLogs, MergedRefs};
use crate::{Error, Result, Table, TableWriter, WriteOptions};

/// The file that lists the tables.
pub const LIST: &str = "tables.list";

/// A table may be so many times as large as all newer ones together before it is left alone
/// (git's `reftable.geometricFactor`).
const FACTOR: u64 = 2;

/// The names in a list, the oldest first.
///
/// # Errors
/// [`Error::Corrupt`] for a name that is none.
pub fn parse_list(text: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let is_plain =
            line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
        match std::str::from_utf8(line) {
            Ok(name) if is_plain && !name.starts_with('.') => names.push(name.to_owned()),
            _ => return Err(Error::Corrupt("its list has a name that is none")),
        }
    }
    Ok(names)
}

/// A list as it is written.
pub fn format_list(names: &[String]) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

/// What a table of these transactions is called; `random` keeps it from being called as any other.
pub fn table_name(min_update_index: u64, max_update_index: u64, random: u32) -> String {
    format!("0x{min_update_index:012x}-0x{max_update_index:012x}-{random:08x}.ref")
}

/// The number the next transaction gets.
pub fn next_update_index(tables: &[Table]) -> u64 {
    tables.last().map_or(1, |newest| newest.max_update_index() + 1)
}

/// Tables that are to be made one, so that each is at least twice as large as the next newer
/// one; `None` when that is so already. `sizes` are in bytes, the oldest first.
pub fn due(sizes: &[u64]) -> Option<Range<usize>> {
    let breaks = |at: &usize| sizes[at - 1] < sizes[*at].saturating_mul(FACTOR);
    let end = (1..sizes.len()).rev().find(breaks)?;
    let (mut start, mut bytes) = (end, sizes[end]);
    for at in (1..=end).rev() {
        let larger = sizes[at - 1];
        if larger < bytes.saturating_mul(FACTOR) {
            start = at - 1;
        }
        bytes = bytes.saturating_add(larger);
    }
    Some(start..end + 1)
}

/// Writes neighbouring tables of a stack as one. `is_oldest`: there is none below them, so what
/// is gone need not be remembered.
///
/// # Errors
/// [`Error::Corrupt`], and what `out` says.
pub fn compact<W: Write>(tables: &[Table], is_oldest: bool, out: W) -> Result<W> {
    let (Some(first), Some(last)) = (tables.first(), tables.last()) else {
        return Err(Error::Record("there is nothing to be made one"));
    };
    let hash = first.hash();
    let options = WriteOptions::new(hash, first.min_update_index(), last.max_update_index());
    // What fits into a block of one of them fits into one of the new one.
    let block_size = tables.iter().map(Table::block_size).fold(options.block_size, u32::max);
    let options = WriteOptions { block_size, ..options };
    let mut writer = TableWriter::new(out, options)?;
    let mut refs = MergedRefs::new(tables, "".into(), !is_oldest)?;
    while refs.advance()? {
        if let Some(view) = refs.present() {
            writer.add_ref(&view.to_record(hash))?;
        }
    }
    let mut logs = MergedLogs::new(tables, "".into(), !is_oldest)?;
    while let Some(record) = logs.next_line()? {
        writer.add_log(&record)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_sizes_becomes_geometric() {
        for (sizes, expected) in [
            (&[][..], None),
            (&[5], None),
            (&[64, 32, 16, 8, 4, 2, 1], None),
            (&[64, 32, 16, 8, 4, 3, 1], Some(0..6)),
            (&[128, 32, 16, 8, 4, 3, 1], Some(1..6)),
            (&[100, 1], None),
            (&[1, 1], Some(0..2)),
            (&[1000, 10, 9], Some(1..3)),
        ] {
            assert_eq!(due(sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn lists_survive_and_names_stay_in_their_directory() {
        let names = vec![table_name(1, 0xabc, 7), table_name(0xabd, 0xabd, u32::MAX)];
        assert_eq!(names[0], "0x000000000001-0x000000000abc-00000007.ref");
        let list = format_list(&names);
        assert_eq!(parse_list(list.as_bytes()).expect("a list"), names);
        assert_eq!(parse_list(b"").expect("no tables"), Vec::<String>::new());
        for bad in [&b"../x\n"[..], b".x\n", b"a/b\n", b"a b\n", b"\xff\n"] {
            parse_list(bad).expect_err("no name");
        }
    }
}
