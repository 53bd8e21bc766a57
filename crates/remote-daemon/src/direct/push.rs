//! A push of branches that are ahead of what the server has (git-push(1)).

use bstr::{BStr, BString, ByteSlice as _};
use client::Connection;
use object::{ObjectId, RefName};
use repository::{PackRequest, Repository, Silent, history, plan};
use storage::{Change, Expected, Peeled, RefEdit, RefTransaction, ReflogLine, Target};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use wire::{PushCommand, PushRequest, RefOutcome, Service};

use super::pack::{Leaving, PIECES_MAX};
use super::{Unfit, committer, open};
use crate::git;
use crate::settings::Node;

/// A branch, the ref there that it goes to, and where that is kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Here.
    pub name: BString,
    /// There.
    pub there: BString,
    /// Where that is kept.
    pub upstream: BString,
}

/// What became of a push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Branches that were refused, and why.
    pub refused: Vec<(BString, String)>,
}

/// One branch on its way.
struct Move {
    branch: Branch,
    old: Option<ObjectId>,
    new: ObjectId,
}

/// Pushes branches to a node. What would be no fast-forward is refused here.
///
/// # Errors
/// [`Unfit`]: nobody knows what the server has made of it; git asks.
pub async fn push(
    repository: &git::Repository,
    node: &Node,
    branches: Vec<Branch>,
) -> Result<Pushed, Unfit> {
    let url = node.url.as_ref().ok_or(Unfit::new("git alone understands the address"))?;
    let connection =
        Connection::open(url, Service::ReceivePack, &node.options).await.map_err(Unfit::between)?;
    let ours = open(repository)?;
    let advertised = connection.advertised();
    if advertised.capabilities.object_format()? != ours.hash() {
        return Err(Unfit::new("the server has objects of another hash"));
    }
    let theirs: Vec<(BString, ObjectId)> =
        advertised.refs.iter().filter_map(|one| Some((one.name.clone(), one.id?))).collect();
    let mut pushed = Pushed::default();
    let moves = moves(&ours, branches, &theirs, &mut pushed)?;
    if moves.is_empty() {
        connection.close().await;
        return Ok(pushed);
    }
    let null = ObjectId::null(ours.hash());
    let commands = moves.iter().map(|one| PushCommand {
        name: one.branch.there.clone(),
        old: one.old.unwrap_or(null),
        new: one.new,
    });
    let request = PushRequest {
        commands: commands.collect(),
        report_status: true,
        report_status_v2: true,
        side_band_64k: true,
        quiet: true,
        ofs_delta: true,
        object_format: ours.hash(),
        ..PushRequest::default()
    };
    let wants = moves.iter().map(|one| one.new).collect();
    let haves = theirs.iter().map(|(_, id)| *id).collect();
    let ofs_delta = connection.advertised().capabilities.has("ofs-delta");
    let pack = leaving(&ours, wants, haves, ofs_delta);
    let report = connection
        .push(&request, Some(Box::new(pack)), &mut |_| {})
        .await
        .map_err(Unfit::between)?;
    report.unpack.map_err(|words| Unfit::new(format!("the server took no pack: {words}")))?;
    let mut done = Vec::new();
    for one in moves {
        let there = &one.branch.there;
        match report.refs.iter().find(|report| report.name == *there).map(|one| &one.outcome) {
            Some(RefOutcome::Ok(_)) => done.push(one),
            Some(RefOutcome::Ng(why)) => {
                let words = format!("[remote rejected] ({why})");
                pushed.refused.push((one.branch.name, words));
            }
            None => return Err(Unfit::new(format!("the server says nothing of {there}"))),
        }
    }
    spawn_blocking(move || follow(&ours, done)).await??;
    Ok(pushed)
}

/// What is to move there; the rest is refused.
fn moves(
    ours: &Repository,
    branches: Vec<Branch>,
    theirs: &[(BString, ObjectId)],
    pushed: &mut Pushed,
) -> Result<Vec<Move>, Unfit> {
    let (objects, snapshot) = (ours.objects()?, ours.refs().snapshot()?);
    let mut moves = Vec::new();
    for branch in branches {
        let Some(new) = snapshot.get(branch.name.as_bstr())?.and_then(|one| one.target.id()) else {
            continue;
        };
        let old = theirs.iter().find(|(name, _)| *name == branch.there).map(|(_, id)| *id);
        if old == Some(new) {
            continue;
        }
        let goes_on = match old {
            None => true,
            Some(old) => objects.contains(&old)? && history::is_ancestor(&objects, &old, &new)?,
        };
        match goes_on {
            true => moves.push(Move { branch, old, new }),
            false => pushed.refused.push((branch.name, "[rejected] (fetch first)".to_owned())),
        }
    }
    Ok(moves)
}

/// The pack of what the server lacks, as it is made.
fn leaving(
    ours: &Repository,
    wants: Vec<ObjectId>,
    haves: Vec<ObjectId>,
    ofs_delta: bool,
) -> Leaving {
    let (pieces, leaving) = mpsc::channel(PIECES_MAX);
    let ours = ours.clone();
    spawn_blocking(move || {
        let failed = |error: repository::Error| std::io::Error::other(error);
        let stream = || {
            let objects = ours.objects()?;
            let mut known = Vec::new();
            for id in haves {
                if objects.contains(&id)? {
                    known.push(id);
                }
            }
            let request = PackRequest {
                wants,
                haves: known,
                thin: true,
                ofs_delta,
                ..PackRequest::default()
            };
            Ok(plan(&objects, &request, &mut Silent)?.into_stream())
        };
        let mut stream = match stream() {
            Ok(stream) => stream,
            Err(error) => return drop(pieces.blocking_send(Err(failed(error)))),
        };
        loop {
            let piece = match stream.next() {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(failed(error)),
            };
            let is_last = piece.is_err();
            // Whoever sends it may have given up.
            if pieces.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    Leaving::new(leaving)
}

/// What is kept of the remote's refs follows.
fn follow(ours: &Repository, done: Vec<Move>) -> Result<(), Unfit> {
    let snapshot = ours.refs().snapshot()?;
    let committer = committer(ours);
    let mut edits = Vec::new();
    for one in done {
        let Ok(name) = RefName::new(one.branch.upstream.as_slice()) else { continue };
        let kept = snapshot.get(name.as_bstr())?.map(|one| one.target);
        if kept == Some(Target::Id(one.new)) {
            continue;
        }
        edits.push(RefEdit {
            name,
            expected: kept.map_or(Expected::MustNotExist, Expected::MustExistAndMatch),
            change: Change::Update(Target::Id(one.new)),
            peeled: Peeled::NotATag,
            reflog: Some(ReflogLine {
                committer: committer.clone(),
                message: BStr::new("update by push").to_owned(),
            }),
        });
    }
    if !edits.is_empty() {
        // Somebody who fetches at the same time has noted it already.
        let _ = ours.refs().commit(RefTransaction { edits, ..RefTransaction::default() });
    }
    Ok(())
}
