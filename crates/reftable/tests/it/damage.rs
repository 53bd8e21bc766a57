//! Damage is an error, never a panic and never a loop without an end.

use object::HashKind;
use reftable::merged::{MergedLogs, MergedRefs};
use reftable::{Table, WriteOptions, table_of};

use crate::{line, to_id};

/// The refs that are read, unless damage is found.
fn refs_of(bytes: &[u8]) -> Option<usize> {
    let table = Table::open(bytes.to_vec().into()).ok()?;
    let mut refs = MergedRefs::new(&[table], "".into(), true).ok()?;
    let mut count = 0;
    while refs.advance().ok()? {
        count += 1;
    }
    Some(count)
}

#[test]
fn a_block_that_was_lost_is_told() {
    let hash = HashKind::Sha1;
    let refs: Vec<_> = (0..400).map(|n| to_id(hash, &format!("refs/heads/{n:05}"), n)).collect();
    let options = WriteOptions { block_size: 512, ..WriteOptions::new(hash, 1, 1) };
    let good = table_of(options, &refs, &[]).expect("written");
    assert_eq!(refs_of(&good), Some(400));
    for block in 0..400 * 20 / 512 {
        let mut bad = good.clone();
        // A lost page reads as zeros; the header is told anyhow.
        let start = if block == 0 { 24 } else { block * 512 };
        bad[start..(block + 1) * 512].fill(0);
        assert_eq!(refs_of(&bad), None, "block {block}");
    }
}

fn read_all(bytes: Vec<u8>) {
    let Ok(table) = Table::open(bytes.into()) else { return };
    for from in ["", "refs/heads/00030", "z"] {
        let tables = std::slice::from_ref(&table);
        if let Ok(mut refs) = MergedRefs::new(tables, from.into(), true) {
            // More than there are only where a damaged index leads back.
            for _ in 0..10_000 {
                match refs.advance() {
                    Ok(true) => assert!(refs.present().is_some()),
                    _ => break,
                }
            }
        }
        if let Ok(mut logs) = MergedLogs::new(tables, from.into(), true) {
            for _ in 0..10_000 {
                match logs.next_line() {
                    Ok(Some(_)) => {}
                    _ => break,
                }
            }
        }
    }
}

#[test]
fn damaged_tables_are_told() {
    let hash = HashKind::Sha1;
    let refs: Vec<_> = (0..60).map(|n| to_id(hash, &format!("refs/heads/{n:05}"), n)).collect();
    let logs = [line(hash, "refs/heads/00001", 1, "one\n"), line(hash, "refs/x", 1, "two\n")];
    let options = WriteOptions { block_size: 512, ..WriteOptions::new(hash, 1, 1) };
    let good = table_of(options, &refs, &logs).expect("written");
    for length in 0..good.len() {
        assert!(Table::open(good[..length].to_vec().into()).is_err(), "cut at {length}");
    }
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            // The footer's own sum would hide what is behind a change of the header.
            let end = bad.len() - 4;
            let header = bad[..24].to_vec();
            let footer = bad.len() - 68;
            bad[footer..footer + 24].copy_from_slice(&header);
            let sum = crc32fast::hash(&bad[footer..end]).to_be_bytes();
            bad[end..].copy_from_slice(&sum);
            read_all(bad);
        }
    }
}
