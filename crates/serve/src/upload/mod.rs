//! upload-pack: everything a fetching client may ask, in protocol v0, v1 and v2.
//!
//! The versions differ in how a request is read and in how a negotiation is spoken; what a
//! fetch is, and what is sent for it, is decided in one place ([`fetch`]).

mod advertise;
mod bundle_uri;
mod fetch;
mod filter;
mod gate;
mod lazy;
mod ls_refs;
mod negotiate;
mod object_info;
mod progress;
pub(crate) mod refs;
mod settings;
mod wants;

use std::io::BufRead;
use std::time::Instant;

use lazy::LazyObjects;
use repository::Repository;
use storage::RefSnapshot;
use wire::v2::{self, WatchRequest};
use wire::{Command, Limits, PacketReader, PacketWriter, Protocol, Sink};

use crate::{Error, Exchange, Namespace, ServerInfo};
use fetch::Fetch;
use refs::Refs;
use settings::UploadSettings;

pub use gate::{FetchBudget, FetchGate, Turn};

/// One exchange of upload-pack with one client.
pub struct UploadPack<'a> {
    /// The repository that is read.
    pub repository: &'a Repository,
    /// The version the client asked for.
    pub protocol: Protocol,
    /// How far the exchange goes.
    pub exchange: Exchange,
    /// What a request may cost.
    pub limits: &'a Limits,
    /// The part of the repository's refs that is served.
    pub namespace: Namespace,
    /// What the server says about itself.
    pub server: &'a ServerInfo,
    /// Says when a fetch may be worked out.
    pub gate: &'a dyn FetchGate,
    /// What one fetch may cost.
    pub budget: &'a FetchBudget,
    /// The clock progress is timed by.
    pub now: fn() -> Instant,
    /// Whether who asks can be told what becomes of refs.
    pub watch: bool,
}

impl UploadPack<'_> {
    /// Answers the client. Words about what went wrong have been sent to it when this
    /// returns an error, as far as the connection allowed.
    ///
    /// What comes back is what the client wants to be told of from now on, if it does; nothing
    /// of that has been answered.
    ///
    /// # Errors
    /// Whatever kept the exchange from its end.
    pub fn run(
        &self,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Option<WatchRequest>, Error> {
        let result = self.answer(input, output);
        if let Err(error) = &result
            && !error.was_told()
        {
            let mut writer = PacketWriter::new(output);
            // The connection may be gone; the error itself is what counts.
            let _ = writer.err(error.words_for_peer()).and_then(|()| writer.flush());
        }
        result
    }

    fn answer(
        &self,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Option<WatchRequest>, Error> {
        let config = self.repository.config();
        let mut settings = UploadSettings::read(config, self.repository.hash(), self.server)?;
        settings.offer.watch = self.watch;
        settings.offer.no_done = self.exchange != Exchange::Conversation;
        let snapshot = self.repository.refs().snapshot()?;
        let objects = LazyObjects::of(self.repository);
        match self.protocol {
            Protocol::V2 => self.v2(&settings, &*snapshot, &objects, input, output),
            Protocol::V0 | Protocol::V1 => {
                self.v0(&mut settings, &*snapshot, &objects, input, output).map(|()| None)
            }
        }
    }

    fn v0(
        &self,
        settings: &mut UploadSettings,
        snapshot: &dyn RefSnapshot,
        objects: &LazyObjects<'_>,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<(), Error> {
        let hidden = settings.hidden.clone();
        let refs = Refs { snapshot, namespace: &self.namespace, hidden: &hidden };
        if self.exchange != Exchange::Round {
            let offer = &mut settings.offer;
            advertise::advertise(objects, &refs, self.protocol, offer, output)?;
        }
        if self.exchange == Exchange::Advertise {
            return Ok(());
        }
        let fetch = Fetch { session: self, settings, objects: objects.get()?, refs: &refs };
        fetch.conversation(&mut PacketReader::new(input), output)
    }

    fn v2(
        &self,
        settings: &UploadSettings,
        snapshot: &dyn RefSnapshot,
        objects: &LazyObjects<'_>,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Option<WatchRequest>, Error> {
        let (offer, config) = (&settings.offer, self.repository.config());
        if self.exchange != Exchange::Round {
            let mut writer = PacketWriter::new(output);
            v2::advertise(&mut writer, offer)?;
            writer.flush()?;
        }
        if self.exchange == Exchange::Advertise {
            return Ok(None);
        }
        let mut reader = PacketReader::new(input);
        let refs = Refs { snapshot, namespace: &self.namespace, hidden: &settings.hidden };
        while let Some(command) = v2::read_command(&mut reader, self.limits, offer)? {
            match command {
                Command::LsRefs(request) => ls_refs::ls_refs(objects, &refs, &request, output)?,
                Command::ObjectInfo(request) => {
                    object_info::object_info(objects.get()?, &request, output)?;
                }
                Command::BundleUri => bundle_uri::bundle_uri(config, output)?,
                Command::Watch(request) => return Ok(Some(request)),
                Command::Fetch(request) => {
                    Fetch { session: self, settings, objects: objects.get()?, refs: &refs }
                        .command(request, output)?;
                }
            }
            if self.exchange == Exchange::Round {
                break;
            }
        }
        Ok(None)
    }
}
