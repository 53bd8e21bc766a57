//! Capabilities: ONE table per service both advertises a capability and accepts it.
//!
//! What a server offers in one configuration is an [`UploadPackOffer`] or a
//! [`ReceivePackOffer`]. A row of a table says whether the offer contains a
//! capability, and what a client's asking for it does; so nothing can be
//! accepted that was not advertised, and nothing advertised that is not accepted.
//! The order of the rows is the order git advertises them in.
//!
//! The v2 table, of commands and keys instead of capabilities, is in [`crate::v2`].

mod receive_pack;
mod upload_pack;

use bstr::{BString, ByteSlice as _};

use crate::Error;
use crate::quote::quote;

pub use receive_pack::ReceivePackOffer;
pub(crate) use receive_pack::{RECEIVE_PACK, push_cert_offered};
pub(crate) use upload_pack::UPLOAD_PACK;
pub use upload_pack::{Unborn, UploadPackOffer};

/// An agent as one word that an advertisement can carry: trimmed, with a dot for every
/// byte that is not printable ASCII, as git makes its own (`GIT_USER_AGENT`).
pub fn agent_word(agent: &[u8]) -> BString {
    agent.trim().iter().map(|&byte| if byte.is_ascii_graphic() { byte } else { b'.' }).collect()
}

/// One capability of a v0 and v1 service: `O` is the server's offer, `R` the
/// request that is being read.
pub(crate) struct Capability<O, R> {
    pub(crate) name: &'static str,
    pub(crate) offered: fn(&O) -> Offered,
    /// What asking for it does; gets the value behind `=`, empty without one.
    pub(crate) accept: fn(&mut R, &[u8]) -> Result<(), Error>,
}

/// How a capability stands in an advertisement.
pub(crate) enum Offered {
    No,
    Plain,
    /// `name=value`, once for each value.
    Values(Vec<BString>),
}

impl Offered {
    fn plain_if(offered: bool) -> Self {
        if offered { Offered::Plain } else { Offered::No }
    }

    fn value(value: impl Into<BString>) -> Self {
        Offered::Values(vec![value.into()])
    }

    fn optional(value: Option<&BString>) -> Self {
        value.map_or(Offered::No, |value| Offered::value(value.clone()))
    }
}

/// The capability list as it stands behind the NUL of the first advertised line.
pub(crate) fn list<O, R>(table: &[Capability<O, R>], offer: &O) -> BString {
    let mut words: Vec<Vec<u8>> = Vec::new();
    for row in table {
        match (row.offered)(offer) {
            Offered::No => {}
            Offered::Plain => words.push(row.name.into()),
            Offered::Values(values) => words.extend(
                values.iter().map(|value| [row.name.as_bytes(), b"=", value.as_slice()].concat()),
            ),
        }
    }
    BString::from(bstr::join(" ", words))
}

/// Takes a client's capability list into its request.
///
/// Words this table does not know are ignored, as git does: old and foreign clients
/// send them. What the table knows but the server did not advertise is refused.
pub(crate) fn accept<O, R>(
    table: &[Capability<O, R>],
    offer: &O,
    asked: &[u8],
    request: &mut R,
) -> Result<(), Error> {
    for word in asked.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once_str("=").unwrap_or((word, b""));
        let Some(row) = table.iter().find(|row| row.name.as_bytes() == name) else {
            continue;
        };
        if matches!((row.offered)(offer), Offered::No) {
            return Err(Error::Refused(format!("unknown capability '{}'", quote(word))));
        }
        (row.accept)(request, value)?;
    }
    Ok(())
}

/// For capabilities that say something about the server alone.
fn nothing_to_accept<R>(_: &mut R, _: &[u8]) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::FetchParser;
    use crate::filter::FilterRules;
    use crate::limits::Limits;
    use crate::push::PushParser;
    use object::HashKind;

    /// Asks for every capability of a table: exactly what is advertised is accepted.
    fn check<O, R>(table: &[Capability<O, R>], offer: &O, request: impl Fn() -> R) {
        let list = list(table, offer);
        for row in table {
            let advertised = list.split_str(" ").any(|word| {
                word.strip_prefix(row.name.as_bytes())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
            });
            let word = match row.name {
                "object-format" => "object-format=sha1",
                name => name,
            };
            let accepted = accept(table, offer, word.as_bytes(), &mut request()).is_ok();
            assert_eq!(accepted, advertised, "{}", row.name);
        }
    }

    #[test]
    fn what_is_advertised_is_accepted_and_nothing_else() {
        let fetch = || FetchParser::new(HashKind::Sha1, &Limits::default());
        let bare = UploadPackOffer::new(HashKind::Sha1, "x");
        let full = UploadPackOffer {
            session_id: Some("s".into()),
            symrefs: vec![("HEAD".into(), "refs/heads/main".into())],
            allow_tip_sha1_in_want: true,
            allow_reachable_sha1_in_want: true,
            no_done: true,
            filter: Some(FilterRules::default()),
            ..bare.clone()
        };
        check(UPLOAD_PACK, &bare, fetch);
        check(UPLOAD_PACK, &full, fetch);

        let push = || PushParser::new(HashKind::Sha1, &Limits::default());
        let bare = ReceivePackOffer {
            atomic: false,
            ofs_delta: false,
            ..ReceivePackOffer::new(HashKind::Sha1, "x")
        };
        let full = ReceivePackOffer {
            session_id: Some("s".into()),
            push_cert_nonce: Some("n".into()),
            push_options: true,
            ..ReceivePackOffer::new(HashKind::Sha1, "x")
        };
        check(RECEIVE_PACK, &bare, push);
        check(RECEIVE_PACK, &full, push);
    }

    #[test]
    fn an_agent_is_one_printable_word() {
        assert_eq!(agent_word(b" my server/1.0\n\xc3\xa9 "), "my.server/1.0...");
        assert_eq!(agent_word(b"git/2.55.0-Linux"), "git/2.55.0-Linux");
    }
}
