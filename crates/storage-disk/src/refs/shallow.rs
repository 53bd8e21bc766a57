//! The `shallow` file: commits whose parents are not here, one hexadecimal id per line.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId};
use storage::{Error, Result};

use crate::gitdir::read_limited;

/// The largest file that is read, in bytes: more than a million commits.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(super) fn read(common_dir: &Path, hash: HashKind) -> Result<Vec<ObjectId>> {
    let file = common_dir.join("shallow");
    let content = match read_limited(&file, FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| Error::io(file.display(), source))?,
    };
    let parse = |line: &[u8]| {
        line.get(..hash.hex_len()).and_then(|hex| ObjectId::from_hex_of(hex, hash)).ok_or_else(
            || {
                let shown = line[..line.len().min(80)].as_bstr();
                Error::corrupt(file.display(), format!("bad shallow line: {shown}"))
            },
        )
    };
    content.lines().map(parse).collect()
}

/// The file's content after the change; `None` when no shallow commit is left.
pub(super) fn changed(now: Vec<ObjectId>, add: &[ObjectId], remove: &[ObjectId]) -> Option<String> {
    let mut ids: BTreeSet<ObjectId> = now.into_iter().chain(add.iter().copied()).collect();
    for id in remove {
        ids.remove(id);
    }
    (!ids.is_empty()).then(|| ids.iter().map(|id| format!("{id}\n")).collect())
}
