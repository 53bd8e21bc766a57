//! Taking packs in: a received pack is indexed while it streams, checked, completed, and seen by
//! nobody until it is published.
//!
//! One pass over the input stores the raw bytes, inflates every entry and names the objects that
//! are stored whole ([`scan`]); a second one over the stored pack applies the deltas on all
//! allowed threads ([`resolve`], [`tree_walk`]); a thin pack is completed ([`thin`]); then the
//! index and the reverse index are written in git's formats ([`index`]). Memory is the table of
//! entries and a budget for rebuilt objects ([`IncomingOptions::memory_budget_bytes`]).
//!
//! Knows nothing of who sends the pack nor of refs. Whether the objects are connected is asked
//! of [`crate::connectivity`] afterwards.

mod checks;
mod crew;
mod family;
mod hash_batch;
mod index;
mod inspect;
mod links;
mod loose;
mod options;
mod resolve;
mod scan;
mod staged;
mod table;
mod thin;
mod tree_walk;

use std::io::BufRead;
use std::path::Path;
use std::sync::Mutex;

use object::{HashKind, ObjectId};
use storage::Stage;

use crate::error::{Error, Result};
use crate::objects::{Objects, read_whole};
use crate::progress::{self, Progress};
use crate::repository::Repository;

use self::inspect::{Existing, Inspector};
use self::resolve::Shared;
use self::scan::{Scanned, scan};
use self::staged::StagedPack;
use self::table::{Stored, Table};
use self::thin::Completion;

pub(crate) use self::index::write_blob;
pub use self::options::IncomingOptions;

/// The received pack before its name is known.
const ARRIVING: &str = "pack/incoming.pack";

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Objects the peer sent.
    pub objects: u32,
    /// Those of them that were deltas.
    pub deltas: u32,
    /// Bytes the peer sent.
    pub bytes: u64,
    /// Objects of the repository that were added to complete a thin pack.
    pub completed_with: u32,
    /// The checksum that names the kept pack; `None` when the objects were kept loose, or when
    /// there are none.
    pub pack: Option<ObjectId>,
    /// Everything the objects name is among them. When it is not known, this is `false`.
    pub is_closed: bool,
}

/// What the parts of this module share while they take one pack in.
struct Context<'a> {
    hash: HashKind,
    options: &'a IncomingOptions,
    existing: &'a Existing,
    inspector: &'a Inspector<'a>,
}

/// A place for received objects that nobody else can see. Dropped, it is gone.
pub struct Incoming {
    repository: Repository,
    options: IncomingOptions,
    stage: Box<dyn Stage>,
    messages: Mutex<Vec<String>>,
    /// The pack that names nothing that is not in it, if one was received.
    closed: Option<ObjectId>,
}

impl Incoming {
    /// An empty place beside the repository's objects.
    ///
    /// # Errors
    /// When the storage has no room for it.
    pub fn begin(repository: Repository, options: IncomingOptions) -> Result<Self> {
        let stage = repository.blobs().stage()?;
        let messages = Mutex::default();
        Ok(Incoming { repository, options, stage, messages, closed: None })
    }

    /// Reads one pack, to its last byte and not further, and indexes it. To be called once.
    ///
    /// # Errors
    /// [`Error::Refused`], in git's words, for whatever is wrong with the pack;
    /// [`Error::Limit`] when a setting forbids it; [`Error::Io`] when the input fails or
    /// `progress` gives up. Nothing can be published then.
    pub fn receive(
        &mut self,
        input: &mut dyn BufRead,
        progress: &mut dyn Progress,
    ) -> Result<Received> {
        let parts = self.repository.parts();
        let stores = std::iter::once(&parts.blobs).chain(&parts.alternates).cloned().collect();
        let hash = self.repository.hash();
        let existing = Existing::new(self.repository.objects()?, stores);
        let inspector = Inspector::new(hash, &existing, &self.options, &self.messages);
        let context =
            Context { hash, options: &self.options, existing: &existing, inspector: &inspector };
        let keep = Keep { repository: &self.repository, context: &context };
        let received = keep.receive(&mut self.stage, input, progress)?;
        self.closed = received.pack.filter(|_| received.is_closed);
        Ok(received)
    }

    /// Whether all these objects are in the received pack, and with them everything they reach.
    /// `false` when that is not known without a walk.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn holds_all_below(&self, ids: &[ObjectId]) -> Result<bool> {
        let Some(checksum) = &self.closed else { return Ok(false) };
        // Of what else is there, now or a moment later, nothing is known.
        let name = format!("pack/pack-{checksum}.idx");
        let index = read_whole(&*self.stage.store(), &name)?;
        let index =
            pack::Index::open(index, self.repository.hash()).map_err(Error::format(&name))?;
        Ok(ids.iter().all(|id| index.lookup(id).is_some()))
    }

    /// What the checks found so far, a line each, in the words of git (`warning: object …`).
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().expect("no holder of the lock panics").clone()
    }

    /// The repository's objects and the received ones.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn objects(&self) -> Result<Objects> {
        self.repository.objects()?.with_extra_store(self.stage.store())
    }

    /// The files that were received or made, before they are published.
    pub(crate) fn staged(&self) -> std::sync::Arc<dyn storage::BlobStore> {
        self.stage.store()
    }

    /// The repository the objects are for.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The directory the objects are in, laid out as an objects directory, where there is one.
    pub fn quarantine_dir(&self) -> Option<&Path> {
        self.stage.local_dir()
    }

    /// Makes the received objects part of the repository, durably.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn publish(self) -> Result<()> {
        Ok(self.stage.publish()?)
    }
}

/// The steps from a stream to staged blobs.
struct Keep<'a> {
    repository: &'a Repository,
    context: &'a Context<'a>,
}

impl Keep<'_> {
    fn receive(
        &self,
        stage: &mut Box<dyn Stage>,
        input: &mut dyn BufRead,
        progress: &mut dyn Progress,
    ) -> Result<Received> {
        let writer = stage.create(ARRIVING)?;
        let Scanned { mut table, found, to_compare, mut checksum, bytes } =
            scan(input, writer, self.context, progress)?;
        let family = found.into_family(&table);
        let (objects, deltas) = (table.len(), family.delta_count);
        let pack = StagedPack::open(stage.store(), ARRIVING, self.context.hash)?;
        self.compare(&pack, &table, &to_compare)?;
        let mut completed_with = 0;
        let resolved = self.resolve(&pack, &table, &family, progress)?;
        if resolved < u64::from(deltas) && self.context.options.fix_thin {
            let mut target = self.repository.blobs().stage()?;
            (checksum, completed_with) =
                self.complete(stage, &mut *target, &pack, &mut table, &family, resolved, progress)?;
            drop(pack);
            *stage = target;
        } else {
            thin::check_resolved(&family, resolved)?;
        }
        if deltas > 0 {
            progress.finish(progress::Stage::Resolving, deltas.into())?;
        }
        drop(family);
        let pack = self.keep(stage, &table, &checksum)?;
        let is_closed = completed_with == 0 && self.context.inspector.are_closed();
        Ok(Received { objects, deltas, bytes, completed_with, pack, is_closed })
    }

    /// Compares objects that were not held with those of the same name in the repository.
    fn compare(&self, pack: &StagedPack, table: &Table, entries: &[u32]) -> Result<()> {
        for entry in entries {
            let Stored::Whole(kind) = table.stored(*entry) else { continue };
            let id = table.ids().get(*entry);
            let mut content = Vec::new();
            pack.inflate(table, *entry, &mut content)?;
            self.context.inspector.inspect(kind, &id, &content)?;
        }
        Ok(())
    }

    fn resolve(
        &self,
        pack: &StagedPack,
        table: &Table,
        family: &family::Family,
        progress: &mut dyn Progress,
    ) -> Result<u64> {
        if family.delta_count == 0 {
            return Ok(0);
        }
        let shared = Shared::new(self.context, pack, table, family);
        shared.run(None, progress)?;
        Ok(shared.resolved.into_inner())
    }

    fn complete(
        &self,
        stage: &mut Box<dyn Stage>,
        target: &mut dyn Stage,
        pack: &StagedPack,
        table: &mut Table,
        family: &family::Family,
        resolved: u64,
        progress: &mut dyn Progress,
    ) -> Result<(ObjectId, u32)> {
        let completion = Completion::begin(self.context, &mut **stage)?;
        let shared = Shared::new(self.context, pack, table, family);
        shared.resolved.store(resolved, std::sync::atomic::Ordering::Relaxed);
        shared.run(Some(&completion), progress)?;
        thin::check_resolved(family, shared.resolved.into_inner())?;
        completion.conclude(&**stage, target, ARRIVING, pack, table)
    }

    /// Names and indexes the pack, or takes it apart, and makes the last checks.
    fn keep(
        &self,
        stage: &mut Box<dyn Stage>,
        table: &Table,
        checksum: &ObjectId,
    ) -> Result<Option<ObjectId>> {
        if table.len() == 0 {
            *stage = self.repository.blobs().stage()?;
            return Ok(None);
        }
        let stem = format!("pack/pack-{checksum}");
        stage.rename(ARRIVING, &format!("{stem}.pack"))?;
        index::write(table, checksum, &stem, &mut **stage)?;
        let received = self.context.existing.objects.with_extra_store(stage.store())?;
        self.context.inspector.conclude(&received)?;
        let Context { options, existing, .. } = *self.context;
        if options.unpack_limit.is_some_and(|limit| table.len() < limit)
            && table.entries_end() <= options.memory_budget_bytes as u64
        {
            let mut target = self.repository.blobs().stage()?;
            loose::unpack(table, &received, existing, options.compression_level, &mut *target)?;
            *stage = target;
            return Ok(None);
        }
        Ok(Some(*checksum))
    }
}
