//! What is written is read, whatever the size of blocks, and sought.

use object::HashKind;
use proptest::prelude::*;
use reftable::merged::{MergedLogs, MergedRefs, find};
use reftable::stack::compact;
use reftable::{LogRecord, RefRecord, RefValue, Table, WriteOptions, table_of};

use crate::{id, line, to_id};

fn options(hash: HashKind, block_size: u32, restart_interval: u16) -> WriteOptions {
    WriteOptions { block_size, restart_interval, ..WriteOptions::new(hash, 1, 1 << 40) }
}

fn open(bytes: Vec<u8>) -> Table {
    Table::open(bytes.into()).expect("a table")
}

fn refs(tables: &[Table], from: &str, with_deleted: bool) -> Vec<RefRecord> {
    let mut cursor = MergedRefs::new(tables, from.into(), with_deleted).expect("a cursor");
    let mut found = Vec::new();
    while cursor.advance().expect("readable") {
        found.push(cursor.present().expect("present").to_record(tables[0].hash()));
    }
    found
}

fn logs(tables: &[Table], from: &str) -> Vec<LogRecord> {
    let mut cursor = MergedLogs::new(tables, from.into(), false).expect("a cursor");
    std::iter::from_fn(|| cursor.next_line().expect("readable")).collect()
}

#[test]
fn every_kind_of_record_survives() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let record =
            |name: &str, update_index, value| RefRecord { name: name.into(), update_index, value };
        let tag = RefValue::Tag { id: id(hash, 2), peeled: id(hash, 3) };
        let written = vec![
            record("HEAD", 7, RefValue::Symbolic("refs/heads/main".into())),
            record("refs/heads/gone", 8, RefValue::Deleted),
            record("refs/heads/main", 9, RefValue::Id(id(hash, 1))),
            record("refs/tags/v1", 1 << 39, tag),
        ];
        let lines = vec![
            line(hash, "HEAD", 9, "commit\n"),
            line(hash, "HEAD", 7, ""),
            LogRecord { name: "refs/heads/gone".into(), update_index: 3, entry: None },
            line(hash, "refs/heads/main", 9, "commit: ü\n"),
        ];
        let table = open(table_of(options(hash, 4096, 16), &written, &lines).expect("written"));
        assert_eq!((table.hash(), table.min_update_index()), (hash, 1));
        let tables = [table];
        assert_eq!(refs(&tables, "", true), written);
        assert_eq!(refs(&tables, "", false).len(), 3);
        let kept: Vec<_> = lines.iter().filter(|line| line.entry.is_some()).cloned().collect();
        assert_eq!(logs(&tables, ""), kept);
        assert_eq!(logs(&tables, "refs/heads/gone"), kept[2..]);
        assert_eq!(find(&tables, "refs/heads/main".into(), hash).expect("readable"), {
            Some(written[2].clone())
        });
        for none in ["refs/heads/gone", "refs/heads/mai", "refs/heads/main0", "A", "z"] {
            assert_eq!(find(&tables, none.into(), hash).expect("readable"), None, "{none}");
        }
    }
}

#[test]
fn tables_without_refs_or_without_anything() {
    let hash = HashKind::Sha1;
    let nothing = [open(table_of(options(hash, 4096, 16), &[], &[]).expect("written"))];
    assert_eq!((refs(&nothing, "", true), logs(&nothing, "")), (vec![], vec![]));
    let lines = [line(hash, "HEAD", 9, "one\n"), line(hash, "HEAD", 8, "two\n")];
    let table = [open(table_of(options(hash, 4096, 16), &[], &lines).expect("written"))];
    assert_eq!((refs(&table, "", true), logs(&table, "")), (vec![], lines.to_vec()));
}

#[test]
fn many_refs_are_found_through_every_level_of_the_index() {
    for (block_size, count) in [(256, 5000), (512, 3000), (4096, 30_000), (65_536, 3000)] {
        let hash = HashKind::Sha1;
        let name = |number: u64| format!("refs/heads/{:05}/branch", number * 2);
        let written: Vec<_> = (0..count).map(|n| to_id(hash, &name(n), n)).collect();
        let lines: Vec<_> = (0..count / 10).map(|n| line(hash, &name(n), 5, "made\n")).collect();
        let bytes = table_of(options(hash, block_size, 16), &written, &lines).expect("written");
        let tables = [open(bytes)];
        assert_eq!(refs(&tables, "", true), written);
        assert_eq!(logs(&tables, ""), lines);
        for number in (0..count).step_by(97) {
            let found = find(&tables, name(number).as_str().into(), hash).expect("readable");
            assert_eq!(found.as_ref(), Some(&written[number as usize]));
            let between = format!("refs/heads/{:05}/x", number * 2 + 1);
            assert_eq!(find(&tables, between.as_str().into(), hash).expect("readable"), None);
            let mut rest =
                MergedRefs::new(&tables, between.as_str().into(), true).expect("a cursor");
            for expected in written[number as usize + 1..].iter().take(50) {
                assert!(rest.advance().expect("readable"));
                assert_eq!(&rest.present().expect("present").to_record(hash), expected);
            }
        }
        assert_eq!(refs(&tables, "refs/tags/", true), vec![]);
        assert_eq!(logs(&tables, &name(count / 20)), lines[(count / 20) as usize..]);
    }
}

#[test]
fn a_newer_table_decides() {
    let hash = HashKind::Sha1;
    let table = |index: u64, refs: &[(&str, Option<u64>)], lines: &[LogRecord]| {
        let records: Vec<_> = refs
            .iter()
            .map(|(name, value)| RefRecord {
                name: (*name).into(),
                update_index: index,
                value: value.map_or(RefValue::Deleted, |number| RefValue::Id(id(hash, number))),
            })
            .collect();
        let options = WriteOptions::new(hash, index, index);
        open(table_of(options, &records, lines).expect("written"))
    };
    let gone = LogRecord { name: "b".into(), update_index: 1, entry: None };
    let tables = [
        table(1, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))], &[line(hash, "b", 1, "x")]),
        table(2, &[("b", None), ("d", Some(2))], &[gone]),
        table(3, &[("a", Some(3)), ("d", None), ("e", Some(3))], &[line(hash, "e", 3, "y")]),
    ];
    let names = |tables: &[Table]| -> Vec<_> {
        refs(tables, "", false).iter().map(|found| found.name.to_string()).collect()
    };
    assert_eq!(names(&tables), ["a", "c", "e"]);
    assert_eq!(find(&tables, "a".into(), hash).expect("readable").map(|a| a.update_index), Some(3));
    assert_eq!(find(&tables, "b".into(), hash).expect("readable"), None);
    assert_eq!(logs(&tables, ""), [line(hash, "e", 3, "y")]);
    // The newer two as one still hide what the oldest has; all as one need not remember.
    let newer = open(compact(&tables[1..], false, Vec::new()).expect("compacted"));
    assert_eq!((newer.min_update_index(), newer.max_update_index()), (2, 3));
    assert_eq!(names(&[tables[0].clone(), newer.clone()]), ["a", "c", "e"]);
    assert_eq!(logs(&[tables[0].clone(), newer.clone()], "").len(), 1);
    assert_eq!(refs(&[newer], "", true).len(), 4);
    let all = [open(compact(&tables, true, Vec::new()).expect("compacted"))];
    assert_eq!((names(&all).len(), refs(&all, "", true).len()), (3, 3));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let hash = HashKind::Sha1;
    let options = options(hash, 256, 16);
    let refused = |refs: &[RefRecord], logs: &[LogRecord]| {
        table_of(options, refs, logs).expect_err("refused").to_string()
    };
    let (a, b) = (to_id(hash, "a", 1), to_id(hash, "b", 1));
    assert!(refused(&[b.clone(), a.clone()], &[]).contains("order"));
    assert!(refused(&[a.clone(), a.clone()], &[]).contains("order"));
    assert!(refused(&[to_id(hash, &"x".repeat(300), 1)], &[]).contains("longer"));
    let old = RefRecord { update_index: 0, ..a };
    assert!(refused(&[old], &[]).contains("older"));
    // Names of which a block holds but one do not make an index without an end.
    let long: Vec<_> =
        (b'a'..=b'j').map(|c| to_id(hash, &format!("{}", c as char).repeat(180), 1)).collect();
    let tables = [open(table_of(options, &long, &[]).expect("written"))];
    assert_eq!(refs(&tables, "", true), long);
    for record in &long {
        assert_eq!(
            find(&tables, record.name.as_ref(), hash).expect("readable").as_ref(),
            Some(record)
        );
    }
    // A long message has a block of its own.
    let long = line(hash, "b", 1, &"long ".repeat(1000));
    let table = table_of(options, &[b], std::slice::from_ref(&long)).expect("written");
    assert_eq!(logs(&[open(table)], ""), [long]);
}

proptest! {
    #[test]
    fn any_refs_in_any_blocks(
        names in prop::collection::btree_map("[a-z/]{1,40}", 0..4_u8, 0..200),
        block_size in 256_u32..2000,
        restart_interval in 1_u16..40,
        from in "[a-z/]{0,5}",
    ) {
        let hash = HashKind::Sha256;
        let written: Vec<_> = names.iter().map(|(name, kind)| RefRecord {
            name: name.as_str().into(),
            update_index: 1 + u64::from(*kind) * 300,
            value: match kind {
                0 => RefValue::Deleted,
                1 => RefValue::Id(id(hash, 1)),
                2 => RefValue::Tag { id: id(hash, 2), peeled: id(hash, 3) },
                _ => RefValue::Symbolic(name.as_str().into()),
            },
        }).collect();
        let bytes = table_of(options(hash, block_size, restart_interval), &written, &[]);
        let tables = [open(bytes.expect("written"))];
        let expected: Vec<_> =
            written.iter().filter(|record| record.name >= from.as_str()).cloned().collect();
        prop_assert_eq!(refs(&tables, &from, true), expected);
    }
}
