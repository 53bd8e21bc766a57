//! Files for clients that speak no protocol but GET: `info/refs`, `HEAD`, objects and packs.
//!
//! The lists are made from the refs and packs as they are now, so that nobody has to run
//! `update-server-info` for them.

use std::ops::ControlFlow;

use bstr::BStr;
use bytes::Bytes;
use object::ObjectId;
use repository::Repository;
use serve::HiddenRefs;
use storage::{BlobStore, Peeled, TargetView};

/// How long a client may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It may change at any moment.
    Changes,
    /// It is named by its content.
    Forever,
}

/// What a file holds.
pub enum DumbBody {
    /// Everything at once; of a mapped file, the map.
    Whole(Bytes),
}

/// A file on its way to a client.
pub struct DumbFile {
    /// The content.
    pub body: DumbBody,
    /// Its media type.
    pub media_type: &'static str,
    /// How long it may be kept.
    pub freshness: Freshness,
}

impl DumbFile {
    fn text(body: Vec<u8>) -> Self {
        DumbFile {
            body: DumbBody::Whole(body.into()),
            media_type: "text/plain",
            freshness: Freshness::Changes,
        }
    }
}

/// Opens a file by its path in the repository; `None` for what is not there or not for clients.
pub(crate) fn open(repo: &Repository, path: &str) -> Result<Option<DumbFile>, storage::Error> {
    match path {
        "HEAD" => head(repo),
        "info/refs" => refs(repo).map(Some),
        "objects/info/packs" => packs(repo).map(Some),
        "objects/info/alternates" | "objects/info/http-alternates" => {
            blob(repo, path.strip_prefix("objects/").unwrap_or(path), "text/plain", Freshness::Changes)
        }
        _ => match path.strip_prefix("objects/") {
            Some(name) => object_file(repo, name),
            None => Ok(None),
        },
    }
}

fn head(repo: &Repository) -> Result<Option<DumbFile>, storage::Error> {
    let Some(head) = repo.refs().snapshot()?.get("HEAD".into())? else { return Ok(None) };
    Ok(Some(DumbFile::text(match head.target.as_view() {
        TargetView::Id(id) => format!("{id}\n").into_bytes(),
        TargetView::Symbolic(name) => [b"ref: ".as_slice(), name, b"\n"].concat(),
    })))
}

fn refs(repo: &Repository) -> Result<DumbFile, storage::Error> {
    let hidden = HiddenRefs::from_config(repo.config(), "uploadpack");
    let snapshot = repo.refs().snapshot()?;
    let objects = repo.objects().map_err(storage_error)?;
    let mut lines = Vec::new();
    let mut failed = None;
    snapshot.scan("refs/".into(), &mut |found| {
        let TargetView::Id(id) = found.target else { return ControlFlow::Continue(()) };
        if hidden.hides(Some(found.name), found.name) {
            return ControlFlow::Continue(());
        }
        line(&mut lines, &id, found.name, b"");
        let peeled = match found.peeled {
            Peeled::To(peeled) => Some(peeled),
            Peeled::NotATag => None,
            Peeled::Unknown => match objects.peel(&id) {
                Ok(peeled) => peeled.map(|(peeled, _)| peeled).filter(|peeled| *peeled != id),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            },
        };
        if let Some(peeled) = peeled {
            line(&mut lines, &peeled, found.name, b"^{}");
        }
        ControlFlow::Continue(())
    })?;
    match failed {
        Some(error) => Err(storage_error(error)),
        None => Ok(DumbFile::text(lines)),
    }
}

fn line(lines: &mut Vec<u8>, id: &ObjectId, name: &BStr, suffix: &[u8]) {
    lines.extend_from_slice(id.to_hex().as_bytes());
    lines.push(b'\t');
    lines.extend_from_slice(name);
    lines.extend_from_slice(suffix);
    lines.push(b'\n');
}

fn storage_error(error: repository::Error) -> storage::Error {
    match error {
        repository::Error::Storage(error) => error,
        other => storage::Error::corrupt("objects", other),
    }
}

fn packs(repo: &Repository) -> Result<DumbFile, storage::Error> {
    let mut lines = String::new();
    for file in repo.blobs().list("pack/")? {
        let name = file.name.trim_start_matches("pack/");
        if name.ends_with(".pack") && name.starts_with("pack-") {
            lines.push_str(&format!("P {name}\n"));
        }
    }
    lines.push('\n');
    let mut file = DumbFile::text(lines.into_bytes());
    file.media_type = "text/plain; charset=utf-8";
    Ok(file)
}

/// A loose object, a pack or an index: nothing else below `objects/` is for clients.
fn object_file(repo: &Repository, name: &str) -> Result<Option<DumbFile>, storage::Error> {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let media_type = match name.split_once('/') {
        Some(("pack", file)) => match file.rsplit_once('.') {
            Some((stem, "pack")) if stem.strip_prefix("pack-").is_some_and(hex) => {
                "application/x-git-packed-objects"
            }
            Some((stem, "idx")) if stem.strip_prefix("pack-").is_some_and(hex) => {
                "application/x-git-packed-objects-toc"
            }
            _ => return Ok(None),
        },
        Some((folder, file))
            if folder.len() == 2
                && hex(folder)
                && hex(file)
                && file.len() + 2 == repo.hash().hex_len() =>
        {
            "application/x-git-loose-object"
        }
        _ => return Ok(None),
    };
    blob(repo, name, media_type, Freshness::Forever)
}

fn blob(
    repo: &Repository,
    name: &str,
    media_type: &'static str,
    freshness: Freshness,
) -> Result<Option<DumbFile>, storage::Error> {
    let store: &dyn BlobStore = &**repo.blobs();
    let whole = match store.map(name) {
        Ok(Some(map)) => map,
        Ok(None) => match store.stat(name)? {
            Some(meta) => store.read(name, 0..meta.size)?,
            None => return Ok(None),
        },
        Err(storage::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(DumbFile { body: DumbBody::Whole(whole), media_type, freshness }))
}
