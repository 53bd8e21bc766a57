//! Taking the push's pack into quarantine, and saying how that went.

use std::io::BufRead;
use std::path::Path;

use object::FsckOptions;
use repository::incoming::{Incoming, IncomingOptions};
use repository::{Error as RepositoryError, Repository};

use crate::Error;

use super::messages::Messages;
use super::progress::PushProgress;
use super::settings::ReceiveSettings;

/// How the pack of a push was taken.
pub(super) enum Unpacked {
    /// The push only deletes: there is no pack.
    Nothing,
    /// The objects lie in quarantine.
    Quarantined(Incoming),
    /// The pack is refused, for this reason (`unpack <reason>`).
    Refused(String),
}

impl Unpacked {
    /// The quarantine, while there is one.
    pub fn incoming(&self) -> Option<&Incoming> {
        match self {
            Unpacked::Quarantined(incoming) => Some(incoming),
            Unpacked::Nothing | Unpacked::Refused(_) => None,
        }
    }
}

/// What the report says of the pack.
pub(super) type UnpackStatus = Result<(), String>;

/// Why a pack that was looked at is refused: git's report names the program that gave up; its
/// own words went over side-band.
pub(super) const REFUSED: &str = "index-pack abnormal exit";

/// Reads the pack. What is wrong with it is told to the pusher and becomes the report's
/// reason; only a broken connection or storage is an error.
pub(super) fn receive(
    repo: &Repository,
    settings: &ReceiveSettings,
    fix_thin: bool,
    input: &mut dyn BufRead,
    messages: &mut Messages<'_>,
) -> Result<Unpacked, Error> {
    let fsck = match fsck_options(repo, settings) {
        Ok(fsck) => fsck,
        Err(fault) => {
            messages.raw(format!("fatal: {fault}\n").as_bytes());
            return Ok(Unpacked::Refused(REFUSED.into()));
        }
    };
    let mut options = IncomingOptions::from_config(repo.config())?;
    options.fsck = fsck;
    options.fix_thin = fix_thin;
    options.max_input_size_bytes = settings.max_input_size;
    options.unpack_limit = settings.unpack_limit;
    let mut incoming = match repo.incoming(options) {
        Ok(incoming) => incoming,
        Err(error) => return Ok(unstorable(&error, messages)),
    };

    let keepalive_seconds = settings.hook_limits.keepalive_seconds;
    let mut progress = PushProgress::new(messages, keepalive_seconds);
    let received = incoming.receive(input, &mut progress);
    for finding in incoming.messages() {
        messages.raw(format!("{finding}\n").as_bytes());
    }
    match received {
        Ok(_) => Ok(Unpacked::Quarantined(incoming)),
        Err(error @ RepositoryError::Storage(_)) => {
            drop(incoming);
            Ok(unstorable(&error, messages))
        }
        Err(error) if is_about_the_pack(&error) => {
            messages.raw(format!("fatal: {error}\n").as_bytes());
            // The quarantine goes before the pusher hears that the push failed.
            drop(incoming);
            Ok(Unpacked::Refused(REFUSED.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What objects are checked for, the skip list included; or why they cannot be.
fn fsck_options(
    repo: &Repository,
    settings: &ReceiveSettings,
) -> Result<Option<FsckOptions>, String> {
    let Some(mut fsck) = settings.fsck.clone() else { return Ok(None) };
    if let Some(fault) = &settings.fsck_fault {
        return Err(fault.clone());
    }
    if let Some(path) = &settings.fsck_skip_list {
        let base = repo.local().map(|local| local.git_dir.as_path()).unwrap_or(Path::new(""));
        let text = std::fs::read(base.join(path))
            .map_err(|_| format!("could not open object name list: {}", path.display()))?;
        fsck.add_skip_list(&text, repo.hash())?;
    }
    Ok(Some(fsck))
}

fn is_about_the_pack(error: &RepositoryError) -> bool {
    !matches!(error, RepositoryError::Io(_) | RepositoryError::Cancelled)
}

/// The disk is at fault. Where exactly stays inside of the server.
fn unstorable(error: &RepositoryError, messages: &mut Messages<'_>) -> Unpacked {
    tracing::error!(%error, "the objects of a push cannot be stored");
    let what = match error {
        RepositoryError::Storage(storage::Error::Full { .. }) => "no space left on the server",
        RepositoryError::Storage(storage::Error::ReadOnly { .. }) => {
            "the server's storage cannot be written"
        }
        _ => "the server's storage failed",
    };
    messages.raw(format!("fatal: {what}\n").as_bytes());
    Unpacked::Refused("unable to store the received objects".into())
}
