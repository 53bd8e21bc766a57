//! upload-archive: what `git archive --remote` asks for (git-upload-archive(1), git-archive(1)).
//!
//! The client sends a command line; the answer is a tar or zip archive on side-band, made while it is
//! sent. What is archived must be a ref the client may see ([`tree_ish`]); which entries there are and
//! what they hold is decided in one place ([`contents`]), how they are written by the formats.

mod arguments;
mod attributes;
mod channel;
mod command;
mod contents;
mod convert;
mod dates;
mod entry;
mod formats;
mod gzip;
mod pathspec;
mod settings;
mod subst;
mod tar;
mod tree_ish;
mod tree_walk;
mod zip;

use std::ffi::OsString;
use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};

use bstr::ByteSlice as _;
use repository::{MemoryShare, Objects, Repository};
use wire::{Limits, PacketReader, Sink};

use crate::upload::FetchGate;
use crate::upload::refs::Refs;
use crate::{Error, HiddenRefs, Namespace};
use arguments::{Asked, Wanted};
use attributes::{Attributes, Outside};
use channel::{Channel, DataWriter, Words};
use contents::Contents;
use convert::LineEndings;
use formats::Format;
use pathspec::Pathspec;
use settings::Settings;
use subst::Substitution;
use tar::{Ending, Tar};
use tree_ish::Found;
use zip::Zip;

/// What an archive holds of memory at least, bytes: trees, caches, what a compressor looks back at.
const HELD_BYTES: usize = 4 << 20;

/// One archive for one client.
pub struct UploadArchive<'a> {
    /// The repository that is read.
    pub repository: &'a Repository,
    /// What a request may cost.
    pub limits: &'a Limits,
    /// The part of the repository's refs that is served.
    pub namespace: Namespace,
    /// Says when an archive may be made.
    pub gate: &'a (dyn FetchGate + Sync),
    /// The environment in which files with attributes are looked for.
    pub variable: &'a (dyn Fn(&str) -> Option<OsString> + Sync),
    /// Seconds since 1970: the time of entries that have none.
    pub now_seconds: u64,
}

impl UploadArchive<'_> {
    /// Answers the client. Words about what went wrong have been sent to it when this
    /// returns an error, as far as the connection allowed.
    ///
    /// # Errors
    /// Whatever kept the archive from its end.
    pub fn run(&self, input: &mut dyn BufRead, output: &mut dyn Sink) -> Result<(), Error> {
        let asked = wire::archive::read_arguments(&mut PacketReader::new(input), self.limits);
        let (asked, settings) = match asked.map_err(Error::from).and_then(|asked| {
            let digits = self.repository.hash().hex_len();
            let is_local = self.repository.local().is_some();
            let config = self.repository.config();
            Ok((asked, Settings::read(config, self.limits, is_local, digits)?))
        }) {
            Ok(ready) => ready,
            Err(error) => {
                // The connection may be gone; the error itself is what counts.
                let _ = wire::archive::refuse(output, &error.words_for_peer());
                return Err(Error::Told(Box::new(error)));
            }
        };
        wire::archive::accept(output)?;
        let channel = Channel::new(output);
        let asked = arguments::read(&asked).map_err(Error::Refused);
        let answered = asked.and_then(|asked| match asked {
            Asked::List => list(&settings, &channel),
            Asked::Archive(wanted) => self.archive(&settings, &wanted, &channel),
        });
        match answered {
            Ok(()) => Ok(channel.finish()?),
            Err(error) if error.was_told() => Err(error),
            Err(error) => {
                let _ = channel.fail(&error.words_for_peer());
                Err(Error::Told(Box::new(error)))
            }
        }
    }

    fn archive(
        &self,
        settings: &Settings,
        wanted: &Wanted,
        channel: &Channel<'_>,
    ) -> Result<(), Error> {
        // An archive is made while it is sent, so the turn ends with it.
        let mut told = false;
        let _turn = self.gate.enter(HELD_BYTES, &mut |before| {
            if !std::mem::replace(&mut told, true) {
                channel.say(format!("Waiting for {before} other archives").as_bytes())?;
            }
            channel.keepalive()
        })?;
        let config = self.repository.config();
        let format = settings.formats.find(wanted.format.as_ref(), wanted.level);
        let format = format.map_err(Error::Refused)?;
        let objects = self.repository.objects()?;
        let snapshot = self.repository.refs().snapshot()?;
        let hidden = HiddenRefs::from_config(config, "uploadpack");
        let refs = Refs { snapshot: &*snapshot, namespace: &self.namespace, hidden: &hidden };
        let any = settings.allow_unreachable;
        let found = tree_ish::find(&objects, &refs, wanted.tree_ish.as_ref(), any)?;
        let now = i64::try_from(self.now_seconds).unwrap_or(i64::MAX);
        let time = time(&objects, wanted, &found, now)?;
        let pathspec = self.pathspec(&objects, wanted, &found)?;

        let substitution = match &found.commit {
            Some(commit) => Some(Substitution::of(&objects, &refs, commit, settings.abbreviate)?),
            None => None,
        };
        let info = self.repository.local().map(|local| local.common_dir.join("info/attributes"));
        let machine = machine_files(config, self.variable)?;
        let outside = Outside { machine, repository: info.as_deref() };
        let attributes = Attributes::read(&outside)?;
        let job = Job { session: self, found: &found, time, level: wanted.level };
        let contents = Contents {
            objects: &objects,
            settings,
            tree: found.tree,
            tree_attributes: !wanted.worktree_attributes,
            pathspec,
            prefix: wanted.prefix.as_ref(),
            substitution,
            line_endings: LineEndings::of(config)?,
            verbose: wanted.verbose,
            memory: self.repository.settings().memory.clone(),
        };
        match format {
            Format::Tar => {
                let mut tar = job.tar(DataWriter::new(channel), settings)?;
                contents.write(attributes, channel, &mut tar)
            }
            Format::TarGzip => {
                let output = gzip::gzip(DataWriter::new(channel), wanted.level);
                contents.write(attributes, channel, &mut job.tar(output, settings)?)
            }
            Format::TarCommand(command) => {
                let mut command = command.to_str_lossy().into_owned();
                if let Some(level) = wanted.level {
                    command.push_str(&format!(" -{level}"));
                }
                command::run(&command, channel, move |input, words| {
                    contents.write(attributes, words, &mut job.tar(input, settings)?)
                })
            }
            Format::Zip => {
                let mut zip = job.zip(DataWriter::new(channel), channel);
                contents.write(attributes, channel, &mut zip)
            }
        }
    }

    /// The paths that are meant, each of which has to mean something.
    fn pathspec(
        &self,
        objects: &Objects,
        wanted: &Wanted,
        found: &Found,
    ) -> Result<Pathspec, Error> {
        for path in &wanted.paths {
            let alone = Pathspec::read(std::slice::from_ref(path)).map_err(Error::Refused)?;
            if !Contents::any_fits(objects, &found.tree, &alone, self.memory())? {
                let words = format!("pathspec '{path}' did not match any files");
                return Err(Error::Refused(words));
            }
        }
        Pathspec::read(&wanted.paths).map_err(Error::Refused)
    }

    /// Memory that is taken as it is needed.
    fn memory(&self) -> MemoryShare {
        self.repository.settings().memory.take_some(0, 0)
    }
}

/// What is known of an archive before anything is written.
#[derive(Clone, Copy)]
struct Job<'a> {
    session: &'a UploadArchive<'a>,
    found: &'a Found,
    time: i64,
    level: Option<u32>,
}

impl Job<'_> {
    fn tar<W: Ending>(&self, output: W, settings: &Settings) -> Result<Tar<W>, Error> {
        let time = u64::try_from(self.time).unwrap_or(0);
        Tar::begin(output, self.found.commit.as_ref(), time, settings.tar_umask)
    }

    fn zip<'w, W: Ending>(&self, output: W, words: &'w dyn Words) -> Zip<'w, W> {
        let commit = self.found.commit.as_ref();
        Zip::begin(output, words, commit, self.time, self.level, self.session.memory())
    }
}

fn list(settings: &Settings, channel: &Channel<'_>) -> Result<(), Error> {
    let mut data = DataWriter::new(channel);
    data.write_all(&settings.formats.list())?;
    Ok(data.flush()?)
}

/// The time of all entries: what the client says, that of the commit, or the present.
fn time(objects: &Objects, wanted: &Wanted, found: &Found, now: i64) -> Result<i64, Error> {
    match (&wanted.time, &found.commit) {
        (Some(text), _) => dates::read(text, now).ok_or_else(|| {
            Error::Refused(format!("the date '{text}' is not understood (--mtime)"))
        }),
        (None, Some(commit)) => Ok(objects.commit(commit)?.time),
        (None, None) => Ok(now),
    }
}

/// The files of the system and of the user with attributes (gitattributes(5)).
fn machine_files(
    config: &gitconfig::Config,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let yes = |value: OsString| gitconfig::parse_bool(Some(value.as_encoded_bytes()));
    if !variable("GIT_ATTR_NOSYSTEM").and_then(yes).unwrap_or(false) {
        files.push(PathBuf::from("/etc/gitattributes"));
    }
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let own = config.path("core.attributesFile")?.or_else(|| {
        let folder = set("XDG_CONFIG_HOME").map(PathBuf::from);
        let folder = folder.or_else(|| Some(Path::new(&set("HOME")?).join(".config")))?;
        Some(folder.join("git/attributes"))
    });
    files.extend(own);
    Ok(files)
}
