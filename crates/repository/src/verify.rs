//! Whether a repository is whole, in whatever store it is: what `git fsck --strict` asks, for
//! stores git cannot look into.
//!
//! Every pack is taken in once more, into a place beside the repository that is thrown away: each
//! object is rebuilt, named and checked, and the index must say the same. Then all that refs
//! reach must be there.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use object::{Checksum, ObjectId, fsck::FsckOptions};
use pack::idx::Index;
use storage::BlobStore;

use crate::connectivity::check_connected;
use crate::error::{Error, Result};
use crate::incoming::{Incoming, IncomingOptions};
use crate::objects::{Loose, read_whole};
use crate::progress::{self, Progress};
use crate::repository::Repository;
use crate::transfer::RefList;

/// Complaints that are kept; more are counted.
const COMPLAINTS_MAX: usize = 10_000;
/// Bytes of a pack that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Packs.
    pub packs: u64,
    /// Objects in packs; one that is in several counts as often.
    pub packed: u64,
    /// Loose objects.
    pub loose: u64,
    /// Refs.
    pub refs: usize,
    /// What was found, a line each, that begin with `error: ` or `warning: `; at most 10,000.
    pub complaints: Vec<String>,
    /// How many of those found, kept or not, are errors.
    pub errors: u64,
}

impl Verified {
    fn complain(&mut self, line: String) {
        self.errors += u64::from(line.starts_with("error"));
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(line);
        }
    }

    /// Notes what is wrong with the repository; what keeps the work from going on is an error.
    fn note<T>(&mut self, what: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(
                error @ (Error::Format { .. }
                | Error::Missing { .. }
                | Error::WrongKind { .. }
                | Error::BadObject { .. }
                | Error::Refused(_)
                | Error::Limit { .. }
                | Error::Io(_)
                | Error::Storage(
                    storage::Error::Corrupt { .. }
                    | storage::Error::NotFound { .. }
                    | storage::Error::Io { .. },
                )),
            ) => {
                self.complain(format!("error: {what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Looks at all of a repository. What it borrows is only asked whether it is there.
///
/// `scratch` is an empty repository of the same hash with room for the largest pack; nothing is
/// left in it.
///
/// # Errors
/// Those of the stores; what is wrong with the repository is in [`Verified::complaints`].
pub fn verify(
    repository: &Repository,
    scratch: &Repository,
    progress: &mut dyn Progress,
) -> Result<Verified> {
    let mut found = Verified::default();
    let blobs = repository.blobs();
    let mut checks = FsckOptions::strict();
    // What a tree names may be in another pack. Whether it is there is asked of all refs.
    for elsewhere in [b"gitmodulesMissing".as_slice(), b"gitattributesMissing"] {
        checks.set(elsewhere, b"ignore").expect("a message of git's");
    }
    let options = IncomingOptions {
        fix_thin: false,
        fsck: Some(checks),
        fsck_only_reports: true,
        ..IncomingOptions::default()
    };
    let files = blobs.list("pack/")?;
    let stems = files.iter().filter_map(|file| {
        let stem = file.name.strip_suffix(".pack")?;
        // Without an index it is not published yet.
        let index = format!("{stem}.idx");
        let has_index = files.binary_search_by(|file| file.name.cmp(&index)).is_ok();
        (stem.starts_with("pack/pack-") && has_index).then(|| stem.to_owned())
    });
    let stems: Vec<String> = stems.collect();
    for (number, stem) in (1..).zip(&stems) {
        let checked = verify_pack(repository, scratch, &options, stem, &mut found);
        // Maintenance may have put its objects into another one meanwhile.
        if checked.is_ok() || blobs.stat(&format!("{stem}.pack"))?.is_some() {
            found.note(stem, checked)?;
        }
        progress.update(progress::Stage::Checking, number, Some(stems.len() as u64))?;
    }
    found.packs = stems.len() as u64;
    progress.finish(progress::Stage::Checking, found.packs)?;
    let summed = [".rev", ".bitmap", ".mtimes", "multi-pack-index"];
    let summed = files.iter().filter(|file| summed.iter().any(|end| file.name.ends_with(end)));
    let graph = blobs.stat("info/commit-graph")?;
    let chain = blobs.list("info/commit-graphs/")?;
    let graphs = graph.into_iter().chain(chain.into_iter().filter(|f| f.name.ends_with(".graph")));
    for file in summed.cloned().chain(graphs) {
        let checked = check_sum(repository, &file.name, file.size);
        found.note(&file.name, checked)?;
    }
    verify_loose(repository, &mut found)?;
    verify_refs(repository, &mut found, progress)?;
    Ok(found)
}

fn verify_pack(
    repository: &Repository,
    scratch: &Repository,
    options: &IncomingOptions,
    stem: &str,
    found: &mut Verified,
) -> Result<()> {
    let name = format!("{stem}.pack");
    let blobs = repository.blobs();
    let stored = Index::open(read_whole(&**blobs, &format!("{stem}.idx"))?, repository.hash());
    let stored = stored.map_err(Error::format(format!("{stem}.idx")))?;
    stored.verify_checksum().map_err(Error::format(format!("{stem}.idx")))?;
    let reader = BlobReader { blobs: blobs.clone(), name: name.clone(), at: 0 };
    let mut input = BufReader::with_capacity(READ_BYTES, reader);
    let mut incoming = Incoming::begin(scratch.clone(), options.clone())?;
    let received = incoming.receive(&mut input, &mut progress::Silent)?;
    incoming.messages().into_iter().for_each(|message| found.complain(message));
    found.packed += u64::from(received.objects);
    if io::copy(&mut input, &mut io::sink())? > 0 {
        return Err(storage::Error::corrupt(&name, "there is something behind its end").into());
    }
    let Some(checksum) = received.pack else {
        let wrong = stored.count() > 0;
        return same(!wrong, stem, "the index names objects of an empty pack");
    };
    let made = incoming.staged();
    let made = read_whole(&*made, &format!("pack/pack-{checksum}.idx"))?;
    let made = Index::open(made, repository.hash()).map_err(Error::format(name))?;
    same(stored.pack_checksum() == checksum, stem, "the index is that of another pack")?;
    same(stored.count() == made.count(), stem, "the index has another number of objects")?;
    for at in 0..made.count() {
        let is_same = stored.id_bytes_at(at) == made.id_bytes_at(at)
            && stored.offset_at(at).ok() == made.offset_at(at).ok()
            && stored.crc_at(at).is_none_or(|crc| Some(crc) == made.crc_at(at));
        same(is_same, stem, &format!("the index is wrong about {}", made.id_at(at)))?;
    }
    Ok(())
}

fn same(is_same: bool, stem: &str, words: &str) -> Result<()> {
    match is_same {
        true => Ok(()),
        false => Err(storage::Error::corrupt(format!("{stem}.idx"), words).into()),
    }
}

/// Whether a file ends with the checksum of all before.
fn check_sum(repository: &Repository, name: &str, size: u64) -> Result<()> {
    let hash = repository.hash();
    let summed = size.saturating_sub(hash.len() as u64);
    let mut sum = Checksum::new(hash);
    let mut at = 0;
    while at < summed {
        let bytes = repository.blobs().read(name, at..summed.min(at + READ_BYTES as u64))?;
        if bytes.is_empty() {
            break;
        }
        sum.update(&bytes);
        at += bytes.len() as u64;
    }
    let trailer = repository.blobs().read(name, summed..size)?;
    match sum.finish().as_bytes() == trailer {
        true => Ok(()),
        false => Err(storage::Error::corrupt(name, "its checksum is not that of its bytes").into()),
    }
}

fn verify_loose(repository: &Repository, found: &mut Verified) -> Result<()> {
    let hash = repository.hash();
    let options = FsckOptions::strict();
    for directory in 0..=u8::MAX {
        for file in repository.blobs().list(&format!("{directory:02x}/"))? {
            let digits = file.name.replace('/', "");
            let Some(id) = ObjectId::from_hex_of(digits.as_bytes(), hash) else { continue };
            found.loose += 1;
            let stores = std::slice::from_ref(repository.blobs());
            let read = Loose::find(stores, &id).and_then(|loose| {
                let loose = loose.ok_or(Error::Missing { id, kind: None })?;
                loose.content(repository.settings().object_bytes_max)
            });
            let Some(object) = found.note(&file.name, read)? else { continue };
            let named = object::object_id(hash, object.kind, &object.data);
            if named.ok() != Some(id) {
                found.complain(format!("error: {id}: hash-path mismatch"));
            }
            if object.kind != object::Kind::Blob {
                let mut say = |finding: object::fsck::Finding| {
                    let is_error = finding.severity.is_error();
                    let how = if is_error { "error" } else { "warning" };
                    found.complain(format!("{how}: object {id}: {finding}"));
                };
                let mut special = Default::default();
                object::fsck::fsck_object(
                    object.kind,
                    &id,
                    &object.data,
                    hash,
                    &options,
                    &mut say,
                    &mut special,
                );
            }
        }
    }
    Ok(())
}

fn verify_refs(
    repository: &Repository,
    found: &mut Verified,
    progress: &mut dyn Progress,
) -> Result<()> {
    let refs = RefList::read(&**repository.refs())?;
    found.refs = refs.len();
    let checked = repository
        .objects()
        .and_then(|objects| check_connected(&objects, &refs.ids(), &[], refs.shallow(), progress));
    found.note("refs", checked)?;
    Ok(())
}

/// A blob as a stream.
struct BlobReader {
    blobs: Arc<dyn BlobStore>,
    name: String,
    at: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.blobs.read(&self.name, self.at..self.at + buffer.len() as u64)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}
