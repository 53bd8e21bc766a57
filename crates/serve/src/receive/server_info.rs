//! `receive.updateServerInfo`: the files that dumb HTTP clients read (gitrepository-layout(5),
//! `info/refs` and `objects/info/packs`).

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use bstr::BStr;
use repository::Repository;

use crate::Error;

use super::advertise::each_ref;

/// Writes both files anew. Does nothing for a repository that is not on this machine's disk.
pub(super) fn update(repo: &Repository) -> Result<(), Error> {
    let Some(local) = repo.local() else { return Ok(()) };
    replace(&local.git_dir.join("info/refs"), &refs(repo)?)?;
    replace(&local.objects_dir.join("info/packs"), &packs(repo)?)?;
    Ok(())
}

/// A line for every ref, and one for what its tag finally names.
fn refs(repo: &Repository) -> Result<Vec<u8>, Error> {
    let snapshot = repo.refs().snapshot()?;
    let objects = repo.objects()?;
    let mut text = Vec::new();
    let mut failed = None;
    let mut line = |id: &object::ObjectId, name: &BStr, suffix: &[u8]| {
        text.extend_from_slice(id.to_hex().as_bytes());
        for part in [&b"\t"[..], name, suffix, b"\n"] {
            text.extend_from_slice(part);
        }
    };
    each_ref(&*snapshot, BStr::new("refs/"), &mut |name, id| match objects.peel(&id) {
        Ok(peeled) => {
            line(&id, name, b"");
            if let Some((end, _)) = peeled.filter(|(end, _)| *end != id) {
                line(&end, name, b"^{}");
            }
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(text),
    }
}

/// The packs, newest first, and a blank line.
fn packs(repo: &Repository) -> Result<Vec<u8>, Error> {
    let mut packs = repo.blobs().list("pack/")?;
    packs.retain(|blob| blob.name.ends_with(".pack"));
    packs.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.name.cmp(&b.name)));
    let mut text = String::new();
    for pack in packs {
        let name = pack.name.strip_prefix("pack/").unwrap_or(&pack.name);
        text.push_str(&format!("P {name}\n"));
    }
    text.push('\n');
    Ok(text.into_bytes())
}

/// Readers see the old file or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let attempt = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!("{name}_{}", std::process::id()));
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    attempt().map_err(|error| storage::Error::io(path.display(), error).into())
}
