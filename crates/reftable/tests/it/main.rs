//! Tables: written and read by us, by git, and by both in turn.

mod damage;
mod git;
mod tables;

use object::{HashKind, ObjectId};
use reftable::{LogEntry, LogRecord, RefRecord, RefValue};

fn id(hash: HashKind, number: u64) -> ObjectId {
    let mut bytes = vec![0x11; hash.len()];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    ObjectId::from_bytes(&bytes, hash).expect("the hash's length")
}

fn to_id(hash: HashKind, name: &str, number: u64) -> RefRecord {
    let value = RefValue::Id(id(hash, number));
    RefRecord { name: name.into(), update_index: 1, value }
}

fn line(hash: HashKind, name: &str, update_index: u64, message: &str) -> LogRecord {
    let entry = LogEntry {
        old: id(hash, update_index),
        new: id(hash, update_index + 1),
        name: "A U Thor".into(),
        email: "author@example.com".into(),
        seconds: 1_700_000_000 + update_index,
        zone: -130,
        message: message.into(),
    };
    LogRecord { name: name.into(), update_index, entry: Some(entry) }
}
