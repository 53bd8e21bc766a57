//! Version 2: a capability advertisement, then one command after another
//! (gitprotocol-v2).
//!
//! One table both advertises what the server offers and accepts what a client
//! asks for; the features of `fetch` have their own, in the same manner.

mod fetch;
mod ls_refs;
mod object_info;
mod promisors;
mod watch;

use std::io::{self, BufRead};

use bstr::{BString, ByteSlice as _};
use object::HashKind;

use crate::Error;
use crate::capability::UploadPackOffer;
use crate::fetch::{FetchRequest, check_object_format};
use crate::limits::{Limits, TextBudget, push_within};
use crate::pktline::{Packet, PacketReader, PacketWriter};
use crate::quote::quote;

pub use ls_refs::LsRefsRequest;
pub use object_info::ObjectInfoRequest;
pub use promisors::PromisorRemote;
pub(crate) use watch::NAME as WATCH;
pub use watch::{WatchRequest, WatchWriter};

/// One request of a v2 client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `ls-refs`: which refs there are.
    LsRefs(LsRefsRequest),
    /// `fetch`: a pack.
    Fetch(FetchRequest),
    /// `object-info`: facts about objects.
    ObjectInfo(ObjectInfoRequest),
    /// `bundle-uri`: where bundles are that a clone may begin with.
    BundleUri,
    /// `packhorse-watch`: what becomes of refs from now on. Nothing can be asked for behind it.
    Watch(WatchRequest),
}

/// One line of the advertisement, and what a client may do with it.
struct Capability {
    name: &'static str,
    offered: fn(&UploadPackOffer) -> Offered,
    use_: Use,
}

enum Offered {
    No,
    Plain,
    Value(BString),
}

enum Use {
    /// `command=<name>`
    Command(CommandName),
    /// `<name>` or `<name>=<value>` in front of a command's arguments.
    Key(fn(&mut Keys, Option<&[u8]>) -> Result<(), Error>),
}

#[derive(Clone, Copy)]
enum CommandName {
    LsRefs,
    Fetch,
    ObjectInfo,
    BundleUri,
    Watch,
}

/// In the order git advertises them.
const CAPABILITIES: &[Capability] = &[
    Capability {
        name: "agent",
        offered: |offer| Offered::Value(offer.agent.clone()),
        use_: Use::Key(Keys::agent),
    },
    Capability {
        name: "ls-refs",
        offered: ls_refs::offered,
        use_: Use::Command(CommandName::LsRefs),
    },
    Capability {
        name: "fetch",
        offered: |offer| Offered::Value(fetch::features(offer)),
        use_: Use::Command(CommandName::Fetch),
    },
    Capability {
        name: "server-option",
        offered: |_| Offered::Plain,
        use_: Use::Key(Keys::server_option),
    },
    Capability {
        name: "object-format",
        offered: |offer| Offered::Value(offer.object_format.name().into()),
        use_: Use::Key(Keys::object_format),
    },
    Capability {
        name: "session-id",
        offered: |offer| offer.session_id.clone().map_or(Offered::No, Offered::Value),
        use_: Use::Key(Keys::session_id),
    },
    Capability {
        name: "object-info",
        offered: |offer| if offer.object_info { Offered::Plain } else { Offered::No },
        use_: Use::Command(CommandName::ObjectInfo),
    },
    Capability {
        name: "bundle-uri",
        offered: |offer| if offer.bundle_uri { Offered::Plain } else { Offered::No },
        use_: Use::Command(CommandName::BundleUri),
    },
    Capability {
        name: "promisor-remote",
        offered: |offer| match offer.promisor_remotes.is_empty() {
            true => Offered::No,
            false => Offered::Value(promisors::line(&offer.promisor_remotes)),
        },
        use_: Use::Key(Keys::promisor_remote),
    },
    Capability {
        name: watch::NAME,
        offered: watch::offered,
        use_: Use::Command(CommandName::Watch),
    },
];

/// Writes the capability advertisement, flush packet included.
pub fn advertise(writer: &mut PacketWriter<'_>, offer: &UploadPackOffer) -> io::Result<()> {
    writer.text("version 2")?;
    for row in CAPABILITIES {
        match (row.offered)(offer) {
            Offered::No => {}
            Offered::Plain => writer.text(row.name)?,
            Offered::Value(value) => {
                writer.text([row.name.as_bytes(), b"=", value.as_slice()].concat())?;
            }
        }
    }
    writer.flush_pkt()
}

/// Reads one whole command. `None`: the client is done, and the conversation over.
///
/// # Errors
/// In git's words where it has them; after any error the stream is of no more use.
pub fn read_command<R: BufRead>(
    reader: &mut PacketReader<R>,
    limits: &Limits,
    offer: &UploadPackOffer,
) -> Result<Option<Command>, Error> {
    let mut keys = Keys::new(limits);
    let mut command = None;
    let mut seen_any = false;
    let arguments_follow = loop {
        match reader.next_line()? {
            Packet::Data(line) => read_key(line, offer, &mut command, &mut keys)?,
            Packet::Flush if !seen_any => return Ok(None),
            Packet::Eof if !seen_any => return Ok(None),
            Packet::Flush => break false,
            Packet::Delim => break true,
            Packet::Eof => return Err(Error::HungUp),
            Packet::ResponseEnd => {
                let words = "protocol error: unexpected response end packet";
                return Err(Error::Malformed(words.to_owned()));
            }
        }
        seen_any = true;
    };
    let Some((_, command)) = command else {
        return Err(Error::Refused("no command requested".to_owned()));
    };
    check_object_format(Some(keys.object_format), b"", offer.object_format)?;
    let arguments = &mut Arguments { reader, follow: arguments_follow };
    let command = match command {
        CommandName::LsRefs => Command::LsRefs(ls_refs::read(arguments, keys, limits, offer)?),
        CommandName::Fetch => Command::Fetch(fetch::read(arguments, keys, limits, offer)?),
        CommandName::ObjectInfo => {
            Command::ObjectInfo(object_info::read(arguments, keys, limits, offer)?)
        }
        CommandName::Watch => Command::Watch(watch::read(arguments, keys, limits)?),
        CommandName::BundleUri => {
            match arguments.next("bundle-uri: expected flush after arguments")? {
                None => Command::BundleUri,
                Some(line) => {
                    let words = format!("bundle-uri: unexpected argument: '{}'", quote(line));
                    return Err(Error::Refused(words));
                }
            }
        }
    };
    Ok(Some(command))
}

fn read_key(
    line: &[u8],
    offer: &UploadPackOffer,
    command: &mut Option<(&'static str, CommandName)>,
    keys: &mut Keys,
) -> Result<(), Error> {
    if let Some(asked) = line.strip_prefix(b"command=") {
        if let Some((already, _)) = command {
            return Err(Error::Refused(format!(
                "command '{}' requested after already requesting command '{already}'",
                quote(asked)
            )));
        }
        let row = find(asked, offer);
        let Some(Capability { name, use_: Use::Command(found), .. }) = row else {
            return Err(Error::Refused(format!("invalid command '{}'", quote(asked))));
        };
        *command = Some((name, *found));
        return Ok(());
    }
    let (name, value) = match line.split_once_str("=") {
        Some((name, value)) => (name, Some(value)),
        None => (line, None),
    };
    match find(name, offer) {
        Some(Capability { use_: Use::Key(accept), .. }) => accept(keys, value),
        _ => Err(Error::Refused(format!("unknown capability '{}'", quote(line)))),
    }
}

/// The row of a name this server has advertised.
fn find(name: &[u8], offer: &UploadPackOffer) -> Option<&'static Capability> {
    CAPABILITIES
        .iter()
        .find(|row| row.name.as_bytes() == name)
        .filter(|row| !matches!((row.offered)(offer), Offered::No))
}

/// What may stand in front of every command's arguments.
struct Keys {
    agent: Option<BString>,
    session_id: Option<BString>,
    server_options: Vec<BString>,
    promisors: Vec<BString>,
    /// SHA-1 for a client that does not say.
    object_format: HashKind,
    server_options_max: usize,
    text: TextBudget,
}

impl Keys {
    fn new(limits: &Limits) -> Self {
        Keys {
            agent: None,
            session_id: None,
            server_options: Vec::new(),
            promisors: Vec::new(),
            object_format: HashKind::Sha1,
            server_options_max: limits.server_options_max,
            text: TextBudget::new(limits),
        }
    }

    fn agent(&mut self, value: Option<&[u8]>) -> Result<(), Error> {
        self.agent = value.map(|value| self.text.keep(value)).transpose()?;
        Ok(())
    }

    fn session_id(&mut self, value: Option<&[u8]>) -> Result<(), Error> {
        self.session_id = value.map(|value| self.text.keep(value)).transpose()?;
        Ok(())
    }

    fn server_option(&mut self, value: Option<&[u8]>) -> Result<(), Error> {
        let option = self.text.keep(value.unwrap_or_default())?;
        let (options, max) = (&mut self.server_options, self.server_options_max);
        push_within(options, option, max, "server options", "server_options_max")
    }

    fn promisor_remote(&mut self, value: Option<&[u8]>) -> Result<(), Error> {
        let value = self.text.keep(value.unwrap_or_default())?;
        self.promisors = promisors::names(&value);
        Ok(())
    }

    fn object_format(&mut self, value: Option<&[u8]>) -> Result<(), Error> {
        let Some(name) = value else {
            let words = "object-format capability requires an argument";
            return Err(Error::Refused(words.to_owned()));
        };
        self.object_format = HashKind::from_name(name)
            .ok_or_else(|| Error::Refused(format!("unknown object format '{}'", quote(name))))?;
        Ok(())
    }
}

/// The argument lines of a command, up to its flush packet.
struct Arguments<'r, R: BufRead> {
    reader: &'r mut PacketReader<R>,
    /// Whether a delimiter packet has announced any.
    follow: bool,
}

impl<R: BufRead> Arguments<'_, R> {
    /// The next line; `None` at the flush. `unfinished` is said when something else
    /// ends the arguments.
    fn next(&mut self, unfinished: &str) -> Result<Option<&[u8]>, Error> {
        if !self.follow {
            return Ok(None);
        }
        match self.reader.next_line()? {
            Packet::Data(line) => Ok(Some(line)),
            Packet::Flush => Ok(None),
            Packet::Eof => Err(Error::HungUp),
            Packet::Delim | Packet::ResponseEnd => Err(Error::Malformed(unfinished.to_owned())),
        }
    }
}

fn unexpected_line(line: &[u8]) -> Error {
    Error::Refused(format!("unexpected line: '{}'", quote(line)))
}
