//! One fetch, whichever version asked for it: shallow boundary, negotiation, pack.

use std::io::BufRead;

use bstr::BString;
use object::{Kind, ObjectId};
use repository::shallow::{Deepen, ShallowUpdate, deepen};
use repository::{Objects, PackRequest, plan};
use wire::reply::{self, Section};
use wire::{Band, FetchRequest, PacketReader, PacketWriter, Sideband, Sink};

use super::UploadPack;
use super::gate::Turn;
use super::negotiate::{Common, Ended, Rounds, acknowledge};
use super::progress::{self, ClientProgress};
use super::refs::{Refs, peeled_id};
use super::settings::UploadSettings;
use super::wants;
use crate::{Error, Exchange};

/// A fetch being answered.
pub(super) struct Fetch<'a> {
    pub session: &'a UploadPack<'a>,
    pub settings: &'a UploadSettings,
    pub objects: &'a Objects,
    pub refs: &'a Refs<'a>,
}

/// Where the client's history ends, and what that adds to its wants.
struct Boundary {
    before: Vec<ObjectId>,
    update: Option<ShallowUpdate>,
}

impl Fetch<'_> {
    /// The v0 and v1 conversation behind the advertisement.
    pub fn conversation<R: BufRead>(
        &self,
        reader: &mut PacketReader<R>,
        output: &mut dyn Sink,
    ) -> Result<(), Error> {
        let limits = self.session.limits;
        let Some(request) = wire::v0::read_wants(reader, &self.settings.offer, limits)? else {
            return Ok(());
        };
        let stateless = self.session.exchange == Exchange::Round;
        wants::check(self.objects, self.refs, self.settings, stateless, &request.wants)?;
        let mut writer = PacketWriter::new(output);
        let boundary = self.boundary(&request)?;
        if request.deepens() {
            self.tell_boundary(&boundary, &mut writer)?;
            writer.flush_pkt()?;
            writer.flush()?;
        }
        let mut common = Common::new(self.objects, &request.wants);
        let mut rounds = Rounds::new(&request, self.session.exchange, limits, &mut common);
        if rounds.run(reader, &mut writer)? == Ended::ComeBack {
            return Ok(());
        }
        self.pack(&request, &common.ids, &boundary, request.side_band, writer.sink()?)
    }

    /// One v2 `fetch` command.
    pub fn command(&self, mut request: FetchRequest, output: &mut dyn Sink) -> Result<(), Error> {
        let wanted_refs = wants::take_want_refs(self.refs, &mut request)?;
        wants::all_exist(self.objects, &request.wants)?;
        let mut writer = PacketWriter::new(output);
        writer.set_sideband_all(request.sideband_all);
        if request.wants.is_empty() && !request.wait_for_done {
            return Ok(());
        }
        let mut common = Common::new(self.objects, &request.wants);
        if (!request.haves.is_empty() || request.wait_for_done)
            && acknowledge(&request, &mut common, &mut writer)? == Ended::ComeBack
        {
            return Ok(());
        }
        if request.wants.is_empty() {
            return Ok(());
        }
        let boundary = self.boundary(&request)?;
        if boundary.update.is_some() || !request.shallow.is_empty() {
            reply::section(&mut writer, Section::ShallowInfo)?;
            self.tell_boundary(&boundary, &mut writer)?;
            writer.delim()?;
        }
        // Behind the boundary, as the protocol's grammar has it; git's clients insist on it.
        wanted_refs_section(&wanted_refs, &mut writer)?;
        reply::section(&mut writer, Section::Packfile)?;
        self.pack(&request, &common.ids, &boundary, Band::Large, writer.sink()?)
    }

    fn boundary(&self, request: &FetchRequest) -> Result<Boundary, Error> {
        let mut before = Vec::new();
        for id in &request.shallow {
            match self.objects.header(id)? {
                Some((Kind::Commit, _)) => before.push(*id),
                // The client may be a shallow clone of more than this repository.
                None => {}
                Some(_) => return Err(Error::Refused(format!("invalid shallow object {id}"))),
            }
        }
        let own = self.refs.snapshot.shallow()?;
        let how = match self.deepening(request)? {
            Some(how) => how,
            // A shallow server's own boundary becomes the client's (v2).
            None if !own.is_empty() && self.session.protocol == wire::Protocol::V2 => {
                Deepen::Depth(repository::shallow::INFINITE_DEPTH)
            }
            None => return Ok(Boundary { before, update: None }),
        };
        let update = deepen(self.objects, &request.wants, &before, &own, &how)?;
        Ok(Boundary { before, update: Some(update) })
    }

    fn deepening(&self, request: &FetchRequest) -> Result<Option<Deepen>, Error> {
        if let Some(depth) = request.deepen {
            return Ok(Some(match request.deepen_relative {
                true => Deepen::Relative(depth.0),
                false => Deepen::Depth(depth.0),
            }));
        }
        if !request.deepens() {
            return Ok(None);
        }
        let mut not = Vec::new();
        for name in &request.deepen_not {
            let fault = match self.refs.resolve_short(name)?.as_slice() {
                [id] => {
                    not.push(*id);
                    continue;
                }
                [] => "deepen-not is not a ref",
                _ => "ambiguous deepen-not",
            };
            return Err(Error::Refused(format!("git upload-pack: {fault}: deepen-not {name}")));
        }
        Ok(Some(Deepen::Limited { since: request.deepen_since, not }))
    }

    fn tell_boundary(
        &self,
        boundary: &Boundary,
        writer: &mut PacketWriter<'_>,
    ) -> Result<(), Error> {
        let Some(update) = &boundary.update else { return Ok(()) };
        for id in &update.shallow {
            reply::shallow(writer, id)?;
        }
        for id in &update.unshallow {
            reply::unshallow(writer, id)?;
        }
        Ok(())
    }

    /// Decides what to send and sends it.
    fn pack(
        &self,
        request: &FetchRequest,
        common: &[ObjectId],
        boundary: &Boundary,
        band: Band,
        output: &mut dyn Sink,
    ) -> Result<(), Error> {
        let mut band = Sideband::new(output, band);
        match self.send_pack(request, common, boundary, &mut band) {
            Ok(()) => Ok(band.finish()?),
            Err(error) => {
                let (error, is_damage) = self.in_words(error);
                // The pack cannot be taken back: the client is told on side-band 3.
                let mut words = error.words_for_peer();
                if is_damage {
                    // What people search for who see it.
                    words.push_str(
                        "\naborting due to possible repository corruption on the remote side.",
                    );
                }
                band.error(words.as_bytes())?;
                band.flush()?;
                Err(Error::Told(Box::new(error)))
            }
        }
    }

    fn send_pack(
        &self,
        request: &FetchRequest,
        common: &[ObjectId],
        boundary: &Boundary,
        band: &mut Sideband<'_>,
    ) -> Result<(), Error> {
        let pack_request = self.pack_request(request, common, boundary)?;
        let quiet = request.no_progress;
        let session = self.session;
        let keep_alive = self.settings.keep_alive;
        let mut progress =
            ClientProgress::new(band, quiet, keep_alive, session.budget, session.now);
        let bytes = self.objects.fetch_bytes_min();
        let Turn { work, mut memory } =
            session.gate.enter(bytes, &mut |before| progress.waiting(before))?;
        progress.admitted()?;
        let plan = progress.work(|progress| plan(self.objects, &pack_request, progress))?;
        let bytes = if session.budget.bytes_max.is_some() { plan.bytes_min()? } else { 0 };
        progress.check(plan.object_count().into(), bytes)?;
        // What is left to do waits for the client most of the time.
        drop(work);
        memory.shrink_to(plan.held_bytes());
        let mut stream = plan.into_stream();
        while let Some(chunk) = progress.work(|_| stream.next())? {
            progress.check(0, stream.written())?;
            progress.data(chunk)?;
        }
        if !quiet {
            let total = progress::total(stream.object_count(), stream.reuse());
            band.progress(total.as_bytes())?;
        }
        Ok(())
    }

    fn pack_request(
        &self,
        request: &FetchRequest,
        common: &[ObjectId],
        boundary: &Boundary,
    ) -> Result<PackRequest, Error> {
        let mut wants = request.wants.clone();
        let mut shallow = boundary.before.clone();
        let mut unshallowed = Vec::new();
        if let Some(update) = &boundary.update {
            wants.extend(&update.more_wants);
            shallow.clone_from(&update.boundary);
            unshallowed.clone_from(&update.unshallow);
        }
        let filter = request.filter.as_ref().map(|filter| self.filter(filter)).transpose()?;
        Ok(PackRequest {
            wants,
            haves: common.to_vec(),
            shallow,
            old_shallow: boundary.before.clone(),
            unshallowed,
            thin: request.thin_pack && self.holds_whole_known_objects(request)?,
            filter,
            ofs_delta: request.ofs_delta,
            include_tag: self.tags_to_include(request)?,
            missing_allowed: self.settings.partial && self.fetches_elsewhere(request),
            own_history_cut: self.objects.is_shallow(),
        })
    }

    /// Whether the client fetches what is not here from a remote it was told of.
    fn fetches_elsewhere(&self, request: &FetchRequest) -> bool {
        let told = &self.settings.offer.promisor_remotes;
        request.promisors.iter().any(|name| told.iter().any(|remote| remote.name == *name))
    }

    /// An error in better words, and whether the repository is damaged.
    fn in_words(&self, error: Error) -> (Error, bool) {
        match error {
            // Others promised it to this repository.
            Error::Repository(repository::Error::Missing { id, .. }) if self.settings.partial => {
                let words = format!(
                    "lazy fetching disabled; some objects may not be available: \
                     could not fetch {id} from promisor remote"
                );
                (Error::Refused(words), false)
            }
            error => {
                use repository::Error::{BadObject, Format, Missing};
                let is_damage = matches!(
                    error,
                    Error::Repository(Missing { .. } | BadObject { .. } | Format { .. })
                );
                (error, is_damage)
            }
        }
    }

    /// Annotated tags the client would like with what they name.
    fn tags_to_include(&self, request: &FetchRequest) -> Result<Vec<(ObjectId, ObjectId)>, Error> {
        let mut tags = Vec::new();
        if request.include_tag {
            self.refs.each(b"refs/tags/", &mut |shown| {
                let found = &mut None;
                if let Some(peeled) = peeled_id(|| Ok(self.objects), shown.id, shown.peeled, found)?
                {
                    tags.push((shown.id.to_id(), peeled.to_id()));
                }
                Ok(())
            })?;
        }
        Ok(tags)
    }
}

fn wanted_refs_section(
    wanted: &[(BString, ObjectId)],
    writer: &mut PacketWriter<'_>,
) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    reply::section(writer, Section::WantedRefs)?;
    for (name, id) in wanted {
        reply::wanted_ref(writer, id, name.as_ref())?;
    }
    writer.delim()?;
    Ok(())
}
