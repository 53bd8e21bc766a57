//! The command `fetch`: its features, and the arguments each of them brings.

use std::io::BufRead;

use bstr::BString;
use object::ObjectId;

use super::{Arguments, Keys, unexpected_line};
use crate::Error;
use crate::capability::UploadPackOffer;
use crate::fetch::{FetchParser, FetchRequest};
use crate::limits::Limits;
use crate::quote::quote;
use crate::sideband::Band;

/// A feature of `fetch`, advertised behind `fetch=`, with the arguments it allows.
struct Feature {
    /// `None`: every `fetch` has it.
    name: Option<&'static str>,
    offered: fn(&UploadPackOffer) -> bool,
    arguments: &'static [Argument],
}

enum Argument {
    Flag(&'static str, fn(&mut FetchRequest)),
    /// The word ends in the space that separates it from its value.
    Value(&'static str, fn(&mut FetchParser, &[u8], &UploadPackOffer) -> Result<(), Error>),
}

use Argument::{Flag, Value};

/// In the order git advertises them.
const FEATURES: &[Feature] = &[
    Feature {
        name: None,
        offered: |_| true,
        arguments: &[
            Value("have ", |fetch, hex, _| fetch.have(hex)),
            Value("want ", want),
            Flag("done", |request| request.done = true),
            Flag("thin-pack", |request| request.thin_pack = true),
            Flag("no-progress", |request| request.no_progress = true),
            Flag("include-tag", |request| request.include_tag = true),
            Flag("ofs-delta", |request| request.ofs_delta = true),
        ],
    },
    Feature {
        name: Some("shallow"),
        offered: |_| true,
        arguments: &[
            Value("shallow ", |fetch, hex, _| fetch.shallow(hex)),
            Value("deepen ", |fetch, depth, _| fetch.deepen(depth)),
            Flag("deepen-relative", |request| request.deepen_relative = true),
            Value("deepen-since ", |fetch, time, _| fetch.deepen_since(time)),
            Value("deepen-not ", |fetch, name, _| fetch.deepen_not(name)),
        ],
    },
    Feature {
        name: Some("wait-for-done"),
        offered: |_| true,
        arguments: &[Flag("wait-for-done", |request| request.wait_for_done = true)],
    },
    Feature {
        name: Some("filter"),
        offered: |offer| offer.filter.is_some(),
        arguments: &[Value("filter ", |fetch, spec, offer| fetch.filter(spec, offer))],
    },
    Feature {
        name: Some("ref-in-want"),
        offered: |offer| offer.ref_in_want,
        arguments: &[Value("want-ref ", |fetch, name, _| fetch.want_ref(name))],
    },
    Feature {
        name: Some("sideband-all"),
        offered: |offer| offer.sideband_all,
        arguments: &[Flag("sideband-all", |request| request.sideband_all = true)],
    },
];

/// The value behind `fetch=` in the advertisement.
pub(super) fn features(offer: &UploadPackOffer) -> BString {
    let offered = FEATURES.iter().filter(|feature| (feature.offered)(offer));
    BString::from(bstr::join(" ", offered.filter_map(|feature| feature.name)))
}

pub(super) fn read<R: BufRead>(
    arguments: &mut Arguments<'_, R>,
    keys: Keys,
    limits: &Limits,
    offer: &UploadPackOffer,
) -> Result<FetchRequest, Error> {
    let mut fetch = FetchParser::new(offer.object_format, limits);
    while let Some(line) = arguments.next("expected flush after fetch arguments")? {
        read_argument(line, offer, &mut fetch)?;
    }
    let mut request = fetch.finish()?;
    request.side_band = Band::Large;
    request.agent = keys.agent;
    request.session_id = keys.session_id;
    request.server_options = keys.server_options;
    request.promisors = keys.promisors;
    Ok(request)
}

fn read_argument(
    line: &[u8],
    offer: &UploadPackOffer,
    fetch: &mut FetchParser,
) -> Result<(), Error> {
    let offered = FEATURES.iter().filter(|feature| (feature.offered)(offer));
    for argument in offered.flat_map(|feature| feature.arguments) {
        match argument {
            Flag(word, set) if line == word.as_bytes() => {
                set(&mut fetch.request);
                return Ok(());
            }
            Value(word, accept) => {
                if let Some(value) = line.strip_prefix(word.as_bytes()) {
                    return accept(fetch, value, offer);
                }
            }
            Flag(..) => {}
        }
    }
    Err(unexpected_line(line))
}

fn want(fetch: &mut FetchParser, hex: &[u8], offer: &UploadPackOffer) -> Result<(), Error> {
    let id = ObjectId::from_hex_of(hex, offer.object_format).ok_or_else(|| {
        Error::Malformed(format!(
            "git upload-pack: protocol error, expected to get oid, not 'want {}'",
            quote(hex)
        ))
    })?;
    fetch.want(id)
}
