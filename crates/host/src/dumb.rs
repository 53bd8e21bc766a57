//! Files for clients that speak no protocol but GET: `info/refs`, `HEAD`, objects and packs,
//! and what git-annex downloads.
//!
//! The lists are made from the refs and packs as they are now, so that nobody has to run
//! `update-server-info` for them.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bstr::BStr;
use object::ObjectId;
use repository::Repository;
use serve::{HiddenRefs, Namespace};
use storage::{PeeledView, TargetView};

use crate::dumb_file::{Content, DumbFile, Freshness};

/// Opens a file by its path in the repository; `None` for what is not there or not for clients.
/// Where the store gives addresses, packs have one that holds for `elsewhere`.
pub(crate) fn open(
    repo: &Repository,
    path: &str,
    namespace: &Namespace,
    elsewhere: Option<Duration>,
) -> Result<Option<DumbFile>, storage::Error> {
    match path {
        "HEAD" => head(repo, namespace),
        "info/refs" => refs(repo, namespace).map(Some),
        "objects/info/packs" => packs(repo).map(Some),
        "objects/info/alternates" | "objects/info/http-alternates" => {
            let name = path.strip_prefix("objects/").unwrap_or(path);
            blob(repo, name, "text/plain", Freshness::Changes)
        }
        "config" => Ok(annex_config(repo)),
        _ => match (path.strip_prefix("objects/"), path.strip_prefix("annex/objects/")) {
            (Some(name), _) => object_file(repo, name, elsewhere),
            (None, Some(key)) => annex_object(repo, key),
            (None, None) => Ok(None),
        },
    }
}

fn head(repo: &Repository, namespace: &Namespace) -> Result<Option<DumbFile>, storage::Error> {
    let name = namespace.stored(b"HEAD");
    let Some(head) = repo.refs().snapshot()?.get(name.as_ref())? else { return Ok(None) };
    Ok(Some(DumbFile::text(match head.target.as_view() {
        TargetView::Id(id) => format!("{id}\n").into_bytes(),
        TargetView::Symbolic(name) => {
            let shown = namespace.shown(name).unwrap_or(name);
            [b"ref: ".as_slice(), shown, b"\n"].concat()
        }
    })))
}

fn refs(repo: &Repository, namespace: &Namespace) -> Result<DumbFile, storage::Error> {
    let hidden = HiddenRefs::from_config(repo.config(), "uploadpack");
    let snapshot = repo.refs().snapshot()?;
    let objects = repo.objects().map_err(storage_error)?;
    let mut lines = Vec::new();
    let mut failed = None;
    snapshot.scan(namespace.stored(b"refs/").as_ref(), &mut |found| {
        let TargetView::Id(id) = found.target else { return ControlFlow::Continue(()) };
        let id = id.to_id();
        let Some(shown) = namespace.shown(found.name) else { return ControlFlow::Continue(()) };
        if hidden.hides(Some(shown), found.name) {
            return ControlFlow::Continue(());
        }
        line(&mut lines, &id, shown, b"");
        let peeled = match found.peeled {
            PeeledView::To(peeled) => Some(peeled.to_id()),
            PeeledView::NotATag => None,
            PeeledView::Unknown => match objects.peel(&id) {
                Ok(peeled) => peeled.map(|(peeled, _)| peeled).filter(|peeled| *peeled != id),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            },
        };
        if let Some(peeled) = peeled {
            line(&mut lines, &peeled, shown, b"^{}");
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
fn object_file(
    repo: &Repository,
    name: &str,
    elsewhere: Option<Duration>,
) -> Result<Option<DumbFile>, storage::Error> {
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
    let Some(mut file) = blob(repo, name, media_type, Freshness::Forever)? else { return Ok(None) };
    if let Some(lifetime) = elsewhere.filter(|_| name.ends_with(".pack")) {
        file.elsewhere = repo.blobs().address(name, lifetime)?;
    }
    Ok(Some(file))
}

fn blob(
    repo: &Repository,
    name: &str,
    media_type: &'static str,
    freshness: Freshness,
) -> Result<Option<DumbFile>, storage::Error> {
    let store = repo.blobs();
    let content = match store.map(name) {
        Ok(Some(map)) => Content::Whole(map),
        Ok(None) => match store.open(name)? {
            Some(blob) => Content::Blob(blob),
            None => return Ok(None),
        },
        Err(storage::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let modified = modified(repo, name);
    Ok(Some(DumbFile { content, media_type, freshness, modified, elsewhere: None }))
}

/// When a file below the objects directory was changed last, where it is one of this machine.
fn modified(repo: &Repository, name: &str) -> Option<SystemTime> {
    std::fs::metadata(repo.local()?.objects_dir.join(name)).ok()?.modified().ok()
}

/// By what git-annex knows a repository, if it has been told.
pub(crate) fn annex_uuid(repo: &Repository) -> Option<&str> {
    let uuid = str::from_utf8(repo.config().string("annex.uuid")?).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    uuid.bytes().all(plain).then_some(uuid)
}

/// What git-annex has to know of a repository before it downloads from it: its uuid. Nothing
/// else of the configuration is for clients.
fn annex_config(repo: &Repository) -> Option<DumbFile> {
    annex_uuid(repo).map(|uuid| DumbFile::text(format!("[annex]\n\tuuid = {uuid}\n").into_bytes()))
}

/// The content of one key, where git-annex keeps it: `<folder>/<folder>/<key>/<key>`.
fn annex_object(repo: &Repository, key: &str) -> Result<Option<DumbFile>, storage::Error> {
    let Some(local) = repo.local() else { return Ok(None) };
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
    if !key.split('/').all(plain) {
        return Ok(None);
    }
    let folder = local.common_dir.join("annex/objects");
    match open_below(&folder, &folder.join(key)) {
        Ok(Some((file, len))) => Ok(Some(DumbFile {
            content: Content::File { file, len },
            media_type: "application/octet-stream",
            freshness: Freshness::Forever,
            modified: None,
            elsewhere: None,
        })),
        Ok(None) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(storage::Error::io(folder.display(), source)),
    }
}

/// Opens a file and tells its length, unless a symbolic link leads out of `folder`.
fn open_below(folder: &Path, path: &Path) -> io::Result<Option<(File, u64)>> {
    let real = path.canonicalize()?;
    if !real.starts_with(folder.canonicalize()?) {
        return Ok(None);
    }
    let file = File::open(real)?;
    let meta = file.metadata()?;
    Ok(meta.is_file().then_some((file, meta.len())))
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}
