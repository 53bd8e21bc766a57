//! The files of a repository's objects, copied as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use object::{Checksum, HashKind};
use storage::{BlobMeta, BlobStore, Parts, Stage};

use super::Transfer;
use crate::error::{Error, Result};
use crate::progress::{self, Progress};

/// Bytes that are read and written at a time.
const READ_BYTES: u64 = 1 << 20;
/// Loose objects that are made visible together.
const LOOSE_PER_STAGE: usize = 1000;
/// Attempts at a listing of which files vanish while they are copied.
const LISTINGS_MAX: u32 = 5;

/// What becomes visible together: a pack with what belongs to it, or some loose objects.
struct Group {
    from: Arc<dyn BlobStore>,
    files: Vec<BlobMeta>,
}

/// Copies what `to` lacks of the files of `from`'s objects, those it borrows too.
pub(crate) fn copy_files(
    from: &Parts,
    to: &Parts,
    transfer: &mut Transfer,
    progress: &mut dyn Progress,
) -> Result<()> {
    for attempt in 1.. {
        match copy_listed(from, to, transfer, progress) {
            // Maintenance put the objects into another pack, which the next listing has.
            Err(Error::Storage(storage::Error::NotFound { .. })) if attempt < LISTINGS_MAX => {}
            result => return result,
        }
    }
    Ok(())
}

fn copy_listed(
    from: &Parts,
    to: &Parts,
    transfer: &mut Transfer,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut groups = Vec::new();
    let mut seen = BTreeSet::new();
    // Loose objects before packs: what is packed meanwhile is found in the pack then.
    for store in std::iter::once(&from.blobs).chain(&from.alternates) {
        loose_groups(store, &mut seen, &mut groups)?;
        pack_groups(store, &mut seen, &mut groups)?;
    }
    let (mut lacking, mut kept) = (Vec::new(), 0);
    for group in groups {
        let count = group.files.len();
        let files = group.files.into_iter().map(|file| Ok((lack(to, &file)?, file)));
        let files = files.collect::<Result<Vec<_>>>()?;
        let files: Vec<_> =
            files.into_iter().filter_map(|(lack, file)| Some((lack?, file))).collect();
        kept += (count - files.len()) as u64;
        if !files.is_empty() {
            lacking.push((group.from, files));
        }
    }
    if transfer.rounds == 1 && transfer.files == 0 {
        transfer.kept = kept;
    }
    let total = lacking.iter().flat_map(|(_, files)| files).map(|(_, file)| file.size).sum();
    let mut done = 0;
    for (from_blobs, files) in lacking {
        let mut stage = to.blobs.stage()?;
        for (lack, file) in &files {
            if *lack == Lack::Damaged {
                stage.replace(&file.name)?;
            }
            copy_file(&*from_blobs, file, (&mut *stage, from.hash), &mut |count| {
                done += count;
                Ok(progress.update(progress::Stage::Copying, done, Some(total))?)
            })?;
        }
        stage.publish()?;
        transfer.files += files.len() as u64;
        transfer.bytes += files.iter().map(|(_, file)| file.size).sum::<u64>();
    }
    if total > 0 {
        progress.finish(progress::Stage::Copying, done)?;
    }
    Ok(())
}

/// Why a file is to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Missing,
    /// It is there, and of another size: damaged, or older.
    Damaged,
}

/// Whether a file is to be copied. Loose objects are the same whatever their size: somebody else
/// compressed them in another way. Empty ones are what a crash leaves.
fn lack(to: &Parts, file: &BlobMeta) -> Result<Option<Lack>> {
    let is_loose = !file.name.starts_with("pack/");
    Ok(match to.blobs.stat(&file.name)? {
        None => Some(Lack::Missing),
        Some(there) if is_loose => (there.size == 0).then_some(Lack::Damaged),
        Some(there) => (there.size != file.size).then_some(Lack::Damaged),
    })
}

/// The packs of a store, each with the files that belong to it.
fn pack_groups(
    store: &Arc<dyn BlobStore>,
    seen: &mut BTreeSet<String>,
    groups: &mut Vec<Group>,
) -> Result<()> {
    let mut packs: BTreeMap<String, Vec<BlobMeta>> = BTreeMap::new();
    for file in store.list("pack/")? {
        let Some((stem, _)) = file.name.rsplit_once('.') else { continue };
        // Who keeps a pack back here does not mean the copy.
        if stem.starts_with("pack/pack-") && !file.name.ends_with(".keep") {
            packs.entry(stem.to_owned()).or_default().push(file);
        }
    }
    for (stem, files) in packs {
        let has = |end: &str| files.iter().any(|file| file.name.ends_with(end));
        // Without its index it is not published yet.
        if has(".pack") && has(".idx") && seen.insert(stem) {
            groups.push(Group { from: store.clone(), files });
        }
    }
    Ok(())
}

fn loose_groups(
    store: &Arc<dyn BlobStore>,
    seen: &mut BTreeSet<String>,
    groups: &mut Vec<Group>,
) -> Result<()> {
    let mut loose = Vec::new();
    for directory in 0..=u8::MAX {
        for file in store.list(&format!("{directory:02x}/"))? {
            let is_object = file.name[3..].bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_object && seen.insert(file.name.clone()) {
                loose.push(file);
            }
        }
    }
    for files in loose.chunks(LOOSE_PER_STAGE) {
        groups.push(Group { from: store.clone(), files: files.to_vec() });
    }
    Ok(())
}

/// Copies a file; one that ends with its own checksum must have the right one.
fn copy_file(
    from: &dyn BlobStore,
    file: &BlobMeta,
    (stage, hash): (&mut dyn Stage, HashKind),
    copied: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let has_checksum = [".pack", ".idx", ".rev", ".bitmap", ".mtimes"]
        .iter()
        .any(|ending| file.name.ends_with(ending));
    let summed = file.size.saturating_sub(hash.len() as u64);
    let mut sum = has_checksum.then(|| Checksum::new(hash));
    let mut trailer = Vec::new();
    let mut writer = stage.create(&file.name)?;
    let mut at = 0;
    while at < file.size {
        let bytes = from.read(&file.name, at..(at + READ_BYTES).min(file.size))?;
        if bytes.is_empty() {
            return Err(storage::Error::corrupt(&file.name, "it is shorter than it was").into());
        }
        if let Some(sum) = &mut sum {
            let before = summed.saturating_sub(at).min(bytes.len() as u64) as usize;
            sum.update(&bytes[..before]);
            trailer.extend_from_slice(&bytes[before..]);
        }
        writer.write_all(&bytes).map_err(|error| storage::Error::io(&file.name, error))?;
        at += bytes.len() as u64;
        copied(bytes.len() as u64)?;
    }
    writer.finish()?;
    match sum.map(Checksum::finish) {
        Some(sum) if sum.as_bytes() != trailer => {
            Err(storage::Error::corrupt(&file.name, "its checksum is not that of its bytes").into())
        }
        _ => Ok(()),
    }
}
