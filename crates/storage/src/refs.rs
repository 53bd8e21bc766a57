//! The ref seam: what a ref is, how refs are read, and the one way they change.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, IdView, ObjectId, RefName};

use crate::{CommitError, Result, Wake, Watching};

/// What a ref points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An object.
    Id(ObjectId),
    /// Another ref (`ref: refs/heads/main`), which need not exist.
    Symbolic(RefName),
}

impl Target {
    /// The object, unless the ref is symbolic.
    pub fn id(&self) -> Option<ObjectId> {
        match self {
            Target::Id(id) => Some(*id),
            Target::Symbolic(_) => None,
        }
    }

    /// The same target, borrowed.
    pub fn as_view(&self) -> TargetView<'_> {
        match self {
            Target::Id(id) => TargetView::Id(id.into()),
            Target::Symbolic(name) => TargetView::Symbolic(name.as_bstr()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Id(id) => id.fmt(f),
            Target::Symbolic(name) => write!(f, "ref: {name}"),
        }
    }
}

/// What a store already knows about a tag's target, without reading objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Peeled {
    /// Nothing; look at the object.
    #[default]
    Unknown,
    /// The target is not an annotated tag: it peels to itself.
    NotATag,
    /// The target is an annotated tag that finally leads to this object.
    To(ObjectId),
}

/// A [`Peeled`], borrowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PeeledView<'a> {
    /// Nothing; look at the object.
    #[default]
    Unknown,
    /// The target is not an annotated tag: it peels to itself.
    NotATag,
    /// The target is an annotated tag that finally leads to this object.
    To(IdView<'a>),
}

impl PeeledView<'_> {
    /// The same knowledge, owned.
    pub fn to_peeled(self) -> Peeled {
        match self {
            PeeledView::Unknown => Peeled::Unknown,
            PeeledView::NotATag => Peeled::NotATag,
            PeeledView::To(id) => Peeled::To(id.to_id()),
        }
    }
}

impl<'a> From<&'a Peeled> for PeeledView<'a> {
    fn from(peeled: &'a Peeled) -> Self {
        match peeled {
            Peeled::Unknown => PeeledView::Unknown,
            Peeled::NotATag => PeeledView::NotATag,
            Peeled::To(id) => PeeledView::To(id.into()),
        }
    }
}

/// One ref, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The full name.
    pub name: RefName,
    /// What it points at; symbolic refs are not followed.
    pub target: Target,
    /// What is known about its peeled value.
    pub peeled: Peeled,
}

/// One ref while a scan passes it; nothing of it is allocated, and its ids are in the form
/// the store has them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefView<'a> {
    /// The full name, valid by `git check-ref-format`.
    pub name: &'a BStr,
    /// What it points at; symbolic refs are not followed.
    pub target: TargetView<'a>,
    /// What is known about its peeled value.
    pub peeled: PeeledView<'a>,
}

/// A [`Target`], borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetView<'a> {
    /// An object.
    Id(IdView<'a>),
    /// Another ref, by its valid full name.
    Symbolic(&'a BStr),
}

impl TargetView<'_> {
    /// The same target, owned.
    pub fn to_target(&self) -> Target {
        match self {
            TargetView::Id(id) => Target::Id(id.to_id()),
            TargetView::Symbolic(name) => {
                Target::Symbolic(RefName::new(name.as_bytes()).expect("a view's names are valid"))
            }
        }
    }
}

impl RefView<'_> {
    /// The same ref, owned.
    pub fn to_ref(&self) -> Ref {
        Ref {
            name: RefName::new(self.name.as_bytes()).expect("a view's names are valid"),
            target: self.target.to_target(),
            peeled: self.peeled.to_peeled(),
        }
    }
}

/// The refs of one repository, for reading.
///
/// What a call answers was true at one moment not before [`RefStore::snapshot`] was
/// called. A store that can freeze its state answers every call from the same moment;
/// a directory of files cannot, and there only one call is consistent in itself.
pub trait RefSnapshot: Send + Sync {
    /// One ref by its full name (`HEAD` and `refs/…`); symbolic refs are not followed.
    ///
    /// A name no ref can have is answered with `None`.
    fn get(&self, name: &BStr) -> Result<Option<Ref>>;

    /// Visits every ref under `refs/` whose name starts with `prefix`, in byte order of
    /// names, until `visit` breaks. `HEAD` and its like are never visited.
    ///
    /// Broken refs are left out with a warning, as git does when it advertises.
    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()>;

    /// Commits whose parents this repository does not have, in no special order.
    fn shallow(&self) -> Result<Vec<ObjectId>>;

    /// Visits the objects that something other than a ref keeps: reflogs, files such as
    /// `ORIG_HEAD`. They may be gone. An object can be given more than once.
    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        let _ = visit;
        Ok(())
    }

    /// Whether something keeps objects that [`RefSnapshot::scan_kept`] does not give: the index
    /// of a work tree, or a work tree beside the first. Objects that no ref reaches are never dropped then.
    fn keeps_unseen(&self) -> Result<bool> {
        Ok(false)
    }
}

/// Tells what an annotated tag leads to in the end; `None` for an object that is no tag.
pub type Peel<'a> = dyn FnMut(&ObjectId) -> Result<Option<ObjectId>> + 'a;

/// The small mutable truth of one repository.
pub trait RefStore: Send + Sync {
    /// The refs as they are now.
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>>;

    /// Locks every ref of the transaction and verifies every expected value and name.
    ///
    /// After `Ok`, only the storage itself can make [`Prepared::commit`] fail; and, where servers or
    /// programs share refs that they cannot lock for each other (a bucket, reftables), one of those.
    /// This is the place between git's "prepared" and "committed" hook states.
    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError>;

    /// Calls `wake` after changes of refs, whoever makes them: soon after each one, or once for
    /// several, perhaps also when nothing changed. Once for all that happens while this is called.
    ///
    /// So whoever takes a snapshot after this, and again whenever he is called, sees every state
    /// that stays; and one that is gone again before he looks, he may not.
    fn watch(&self, wake: Wake) -> Result<Watching>;

    /// Prepares and commits. After `Ok` the change is durable.
    fn commit(&self, tx: RefTransaction) -> Result<(), CommitError> {
        self.prepare(tx)?.commit()
    }

    /// Brings the refs into the form that is read fastest, without changing one; how many were
    /// moved. `peel` gives what an annotated tag leads to, `None` for anything else.
    ///
    /// A ref that somebody else has locked stays as it is. [`Error::Locked`] when somebody else
    /// is at it. A store that has one form only does nothing.
    fn tidy(&self, peel: &mut Peel<'_>) -> Result<usize> {
        let _ = peel;
        Ok(0)
    }
}

/// A transaction whose refs are locked and verified. Dropping it changes nothing.
pub trait Prepared {
    /// Makes the whole transaction visible and durable.
    fn commit(self: Box<Self>) -> Result<(), CommitError>;
}

/// Ref changes that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefTransaction {
    /// The changes, each of another ref.
    pub edits: Vec<RefEdit>,
    /// Commits that become shallow.
    pub shallow_add: Vec<ObjectId>,
    /// Commits that are no longer shallow.
    pub shallow_remove: Vec<ObjectId>,
}

/// The change of one ref. The name is taken as it is: symbolic refs are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefEdit {
    /// The ref.
    pub name: RefName,
    /// What it must be for the transaction to happen.
    pub expected: Expected,
    /// What becomes of it.
    pub change: Change,
    /// What the caller knows of the new value's peeled value; a store may note it.
    pub peeled: Peeled,
    /// What to note in its reflog, where the store keeps one.
    pub reflog: Option<ReflogLine>,
}

/// What a ref must be at the moment it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// There is no such ref.
    MustNotExist,
    /// The ref exists and has exactly this target.
    MustExistAndMatch(Target),
}

impl Expected {
    /// What the ref must point at; `None` when there must be none.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Expected::MustNotExist => None,
            Expected::MustExistAndMatch(target) => Some(target),
        }
    }
}

/// What becomes of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It points here from now on; created when it did not exist.
    Update(Target),
    /// It goes away, together with its reflog. Deleting what must not exist is a no-op.
    Delete,
}

/// The author and message of a reflog line; the store adds old and new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReflogLine {
    /// `Name <email> seconds +hhmm`.
    pub committer: BString,
    /// One line; line feeds are written as spaces.
    pub message: BString,
}

impl ReflogLine {
    /// The whole line as git writes it, without its line feed. A symbolic ref has no id to note.
    pub fn text(&self, (old, new): (Option<&Target>, &Target), hash: HashKind) -> Vec<u8> {
        let null = ObjectId::null(hash);
        let old = old.and_then(Target::id).unwrap_or(null);
        let new = new.id().unwrap_or(null);
        let message = self.message.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte });
        let message: Vec<u8> = message.collect();
        [format!("{old} {new} ").as_bytes(), &self.committer, b"\t", &message].concat()
    }
}

/// Runs of white space as one space, none at the ends: a reflog is read by lines.
pub fn single_line(text: &BStr) -> BString {
    bstr::join(" ", text.fields()).into()
}
