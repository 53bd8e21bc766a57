//! A fetch (git-fetch(1)): refs are listed, what is missing comes as a pack, and the refs that are kept follow.

use bstr::{BStr, ByteSlice as _};
use client::{Connection, PackPart, RemoteRef};
use object::{ObjectId, RefName};
use repository::incoming::IncomingOptions;
use repository::{Repository, Silent, connectivity, history};
use storage::{Change, Expected, Peeled, RefEdit, RefTransaction, ReflogLine, Target};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use wire::{FetchRequest, LsRefsRequest, Service};

use super::haves::{OwnHaves, named};
use super::pack::{Arriving, PIECES_MAX};
use super::{Unfit, committer, open};
use crate::git;
use crate::settings::{Node, Remote};

/// Packs of fewer objects are kept as loose objects (`fetch.unpackLimit`).
const UNPACK_LIMIT: u32 = 100;

/// A ref that is kept, and what it is to be.
#[derive(Debug, Clone)]
struct Kept {
    name: RefName,
    old: Option<ObjectId>,
    new: ObjectId,
    peeled: Peeled,
    /// Whether it may become anything.
    is_forced: bool,
}

/// Fetches from a node of a remote. Refs that stay as they are, since they would lose commits and their refspecs have no
/// `+`, in the order of their names.
///
/// # Errors
/// [`Unfit`]; then nothing has changed, but objects that nothing names may be there.
pub async fn fetch(
    repository: &git::Repository,
    remote: &Remote,
    node: &Node,
) -> Result<Vec<RefName>, Unfit> {
    let url = node.url.as_ref().ok_or(Unfit::new("git alone understands the address"))?;
    let mut connection =
        Connection::open(url, Service::UploadPack, &node.options).await.map_err(Unfit::between)?;
    let mut prefixes = remote.refspecs.prefixes();
    if remote.follows_tags {
        prefixes.push("refs/tags/".into());
    }
    let request = LsRefsRequest { prefixes, peel: true, ..LsRefsRequest::default() };
    let refs = connection.ls_refs(&request).await.map_err(Unfit::between)?;
    let ours = {
        let repository = repository.clone();
        blocking(move || open(&repository)).await?
    };
    let kept = kept(&ours, remote, &refs)?;
    let new: Vec<ObjectId> = kept.iter().map(|one| one.new).collect();
    let wants = missing(&ours, &new)?;
    take(connection, &ours, wants, remote.follows_tags).await?;
    // Tags of what is here now come along; most of them came with it.
    let ours = open(repository)?;
    let tags = if remote.follows_tags { tags(&ours, &refs)? } else { Vec::new() };
    let lacking = missing(&ours, &tags.iter().map(|tag| tag.new).collect::<Vec<_>>())?;
    if !lacking.is_empty() {
        let connection = Connection::open(url, Service::UploadPack, &node.options)
            .await
            .map_err(Unfit::between)?;
        take(connection, &ours, lacking, false).await?;
    }
    let (repository, name) = (repository.clone(), remote.name.clone());
    blocking(move || update(&open(&repository)?, name.as_bstr(), kept, tags)).await
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Unfit> + Send + 'static,
) -> Result<R, Unfit> {
    spawn_blocking(work).await?
}

/// The refs that become others.
fn kept(ours: &Repository, remote: &Remote, refs: &[RemoteRef]) -> Result<Vec<Kept>, Unfit> {
    let snapshot = ours.refs().snapshot()?;
    let mut kept = Vec::new();
    for one in refs {
        let (Some(id), Some((name, is_forced))) = (one.id, remote.refspecs.kept_how(&one.name))
        else {
            continue;
        };
        let name = RefName::new(name.as_slice())
            .map_err(|_| Unfit::new(format!("'{name}' is no name of a ref")))?;
        let old = match snapshot.get(name.as_bstr())?.map(|one| one.target) {
            Some(Target::Symbolic(_)) => continue,
            Some(Target::Id(old)) => Some(old),
            None => None,
        };
        if old == Some(id) {
            continue;
        }
        let peeled = one.peeled.map_or(Peeled::Unknown, Peeled::To);
        kept.push(Kept { name, old, new: id, peeled, is_forced });
    }
    Ok(kept)
}

/// Those that are not here, or not with all they reach.
fn missing(ours: &Repository, ids: &[ObjectId]) -> Result<Vec<ObjectId>, Unfit> {
    let objects = ours.objects()?;
    let known = named(&*ours.refs().snapshot()?)?;
    let are_whole = |ids: &[ObjectId]| match connectivity::check_connected(
        &objects,
        ids,
        &known,
        &[],
        &mut Silent,
    ) {
        Ok(()) => Ok(true),
        Err(repository::Error::Missing { .. }) => Ok(false),
        Err(error) => Err(Unfit::from(error)),
    };
    let (mut missing, mut here) = (Vec::new(), Vec::new());
    for id in ids {
        match objects.contains(id)? {
            true => here.push(*id),
            false => missing.push(*id),
        }
    }
    // One look for all of them; only when that fails, one for each.
    if !are_whole(&here)? {
        for id in here {
            if !are_whole(&[id])? {
                missing.push(id);
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}

/// Tags that are not here, of objects that are.
fn tags(ours: &Repository, refs: &[RemoteRef]) -> Result<Vec<Kept>, Unfit> {
    let objects = ours.objects()?;
    let snapshot = ours.refs().snapshot()?;
    let mut tags = Vec::new();
    for one in refs.iter().filter(|one| one.name.starts_with(b"refs/tags/")) {
        let Some(new) = one.id else { continue };
        if snapshot.get(one.name.as_bstr())?.is_some()
            || !objects.contains(&one.peeled.unwrap_or(new))?
        {
            continue;
        }
        let Ok(name) = RefName::new(one.name.as_slice()) else { continue };
        let peeled = one.peeled.map_or(Peeled::NotATag, Peeled::To);
        tags.push(Kept { name, old: None, new, peeled, is_forced: false });
    }
    Ok(tags)
}

/// Fetches what is wanted, and makes it part of the repository if nothing is missing below it.
async fn take(
    connection: Connection,
    ours: &Repository,
    wants: Vec<ObjectId>,
    include_tag: bool,
) -> Result<(), Unfit> {
    if wants.is_empty() {
        connection.close().await;
        return Ok(());
    }
    let tips = wants.clone();
    let request = FetchRequest {
        wants,
        thin_pack: true,
        ofs_delta: true,
        no_progress: true,
        include_tag,
        ..FetchRequest::default()
    };
    if connection.advertised().capabilities.object_format()? != ours.hash() {
        return Err(Unfit::new("the server has objects of another hash"));
    }
    let mut haves = OwnHaves::new(ours)?;
    let (fetched, mut pack) =
        connection.fetch(request, &mut haves).await.map_err(Unfit::between)?;
    if !fetched.shallow.is_empty() || !fetched.pack_uris.is_empty() {
        return Err(Unfit::new("the server is a shallow clone, or sends elsewhere"));
    }
    let mut options = IncomingOptions::from_config(ours.config())?;
    options.max_input_size_bytes = None;
    let limit = |key: &str| ours.config().int(key).ok().flatten();
    let limit = limit("fetch.unpackLimit").or_else(|| limit("transfer.unpackLimit"));
    let limit = limit.map_or(UNPACK_LIMIT, |limit| u32::try_from(limit).unwrap_or(0));
    options.unpack_limit = Some(limit).filter(|limit| *limit > 0);
    let mut incoming = ours.incoming(options)?;
    let (pieces, arriving) = mpsc::channel(PIECES_MAX);
    let taking = spawn_blocking(move || {
        let received = incoming.receive(&mut Arriving::new(arriving), &mut Silent);
        received.map(|_| incoming)
    });
    while let Some(part) = pack.next().await.map_err(Unfit::between)? {
        if let PackPart::Bytes(bytes) = part
            && pieces.send(bytes).await.is_err()
        {
            // Whoever takes it says why he does not.
            break;
        }
    }
    drop(pieces);
    let incoming = taking.await??;
    pack.close().await;
    let ours = ours.clone();
    blocking(move || {
        if !incoming.holds_all_below(&tips)? {
            let known = named(&*ours.refs().snapshot()?)?;
            let objects = incoming.objects()?;
            connectivity::check_connected(&objects, &tips, &known, &[], &mut Silent)?;
        }
        Ok(incoming.publish()?)
    })
    .await
}

/// Moves the refs; those that are not to be moved.
fn update(
    ours: &Repository,
    remote: &BStr,
    kept: Vec<Kept>,
    tags: Vec<Kept>,
) -> Result<Vec<RefName>, Unfit> {
    let objects = ours.objects()?;
    let committer = committer(ours);
    let mut rejected = Vec::new();
    let mut edits = Vec::new();
    let tags = tags.into_iter().map(|tag| (tag, true));
    for (one, is_tag) in kept.into_iter().map(|one| (one, false)).chain(tags) {
        if !objects.contains(&one.new)? {
            return Err(Unfit::new(format!("{} has not come", one.new)));
        }
        let what = match one.old {
            None if is_tag => "storing tag",
            None => "storing head",
            Some(old) => match history::is_ancestor(&objects, &old, &one.new) {
                Ok(true) => "fast-forward",
                _ if one.is_forced => "forced-update",
                _ => {
                    rejected.push(one.name);
                    continue;
                }
            },
        };
        let message = [b"fetch ", remote.as_bytes(), b": ", what.as_bytes()].concat().into();
        let expected = match one.old {
            Some(old) => Expected::MustExistAndMatch(Target::Id(old)),
            None => Expected::MustNotExist,
        };
        edits.push(RefEdit {
            name: one.name,
            expected,
            change: Change::Update(Target::Id(one.new)),
            peeled: one.peeled,
            reflog: Some(ReflogLine { committer: committer.clone(), message }),
        });
    }
    if !edits.is_empty() {
        ours.refs().commit(RefTransaction { edits, ..RefTransaction::default() })?;
    }
    rejected.sort_unstable();
    Ok(rejected)
}
