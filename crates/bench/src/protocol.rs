//! A client of protocol v2 that throws the pack away.
//!
//! It says what `git clone` and `git fetch` say (gitprotocol-v2(5)) and does nothing
//! with the answer, so that what is measured is the server.

use std::io;
use std::time::Instant;

use object::{Checksum, HashKind, ObjectId};

use crate::Outcome;
use crate::cost::Answer;
use crate::transport::Road;

const AGENT: &str = "agent=packhorse-bench/1";
/// Longest packet, with its length field, in bytes.
const PACKET_BYTES_MAX: usize = 65_520;

/// What a client asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fetch<'a> {
    pub(crate) wants: &'a [String],
    pub(crate) haves: &'a [String],
    pub(crate) filter: Option<&'a str>,
    pub(crate) depth: Option<u32>,
}

/// A session on one road.
pub(crate) struct Client<'r> {
    road: &'r mut dyn Road,
    packet: Vec<u8>,
    hash: HashKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Data,
    Special,
}

impl<'r> Client<'r> {
    /// Reads the advertisement; the server must speak v2.
    pub(crate) fn open(road: &'r mut dyn Road) -> Outcome<Self> {
        road.open()?;
        let mut client = Client { road, packet: Vec::new(), hash: HashKind::Sha1 };
        let mut first = client.text()?;
        if first.as_deref().is_some_and(|line| line.starts_with("# service=")) {
            client.text()?;
            first = client.text()?;
        }
        if first.as_deref() != Some("version 2") {
            return Err(format!("the server does not speak protocol v2, but {first:?}").into());
        }
        while let Some(line) = client.text()? {
            if line == "object-format=sha256" {
                client.hash = HashKind::Sha256;
            }
        }
        Ok(client)
    }

    /// All branches and tags, as a clone asks for them: how many, and their distinct ids.
    pub(crate) fn ls_refs(&mut self) -> Outcome<(usize, Vec<String>)> {
        self.refs_under(&["HEAD", "refs/heads/", "refs/tags/"])
    }

    /// The refs under some prefixes: how many, and their distinct ids.
    pub(crate) fn refs_under(&mut self, prefixes: &[&str]) -> Outcome<(usize, Vec<String>)> {
        let mut request = self.command("ls-refs");
        ["peel", "symrefs"].iter().for_each(|line| push(&mut request, line));
        prefixes.iter().for_each(|prefix| push(&mut request, &format!("ref-prefix {prefix}")));
        request.extend_from_slice(b"0000");
        self.road.send(&request)?;
        let (mut count, mut ids) = (0, Vec::new());
        while let Some(line) = self.text()? {
            count += 1;
            ids.extend(line.split(' ').next().map(str::to_owned));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok((count, ids))
    }

    /// Fetches in one round. `verify` checks the pack's trailer, at the cost of hashing it.
    pub(crate) fn fetch(&mut self, fetch: &Fetch<'_>, verify: bool) -> Outcome<Answer> {
        let Fetch { wants, haves, filter, depth } = *fetch;
        let mut request = self.command("fetch");
        ["thin-pack", "no-progress", "include-tag", "ofs-delta"]
            .iter()
            .for_each(|line| push(&mut request, line));
        wants.iter().for_each(|id| push(&mut request, &format!("want {id}")));
        haves.iter().for_each(|id| push(&mut request, &format!("have {id}")));
        filter.iter().for_each(|filter| push(&mut request, &format!("filter {filter}")));
        depth.iter().for_each(|depth| push(&mut request, &format!("deepen {depth}")));
        push(&mut request, "done");
        request.extend_from_slice(b"0000");
        let start = Instant::now();
        self.road.send(&request)?;
        let mut section = self.text()?;
        if section.as_deref() == Some("shallow-info") {
            while self.text()?.is_some() {}
            section = self.text()?;
        }
        match section.as_deref() {
            Some("packfile") => self.receive(start, verify),
            other => Err(format!("the server sends no pack, but {other:?}").into()),
        }
    }

    /// Ends the session as git does.
    pub(crate) fn close(self) -> Outcome<()> {
        Ok(self.road.close()?)
    }

    fn receive(&mut self, start: Instant, verify: bool) -> Outcome<Answer> {
        let mut trailer = verify.then(|| Trailer::new(self.hash));
        let (mut first_byte, mut pack_bytes) = (None, 0);
        while self.read()? == Packet::Data {
            match self.packet.split_first() {
                Some((1, data)) => {
                    first_byte.get_or_insert_with(|| start.elapsed());
                    pack_bytes += data.len() as u64;
                    if let Some(trailer) = &mut trailer {
                        trailer.update(data);
                    }
                }
                Some((2, _)) | None => {}
                _ => return Err(String::from_utf8_lossy(&self.packet).into()),
            }
        }
        if trailer.is_some_and(|trailer| !trailer.matches()) {
            return Err("the pack's trailer is not the hash of the pack".into());
        }
        let first_byte = first_byte.ok_or("the pack is empty")?;
        Ok(Answer { first_byte, pack_bytes })
    }

    fn command(&self, name: &str) -> Vec<u8> {
        let mut request = Vec::new();
        push(&mut request, &format!("command={name}"));
        push(&mut request, AGENT);
        push(&mut request, &format!("object-format={}", self.hash.name()));
        request.extend_from_slice(b"0001");
        request
    }

    /// The next line of text; `None` for a flush or another special packet.
    fn text(&mut self) -> Outcome<Option<String>> {
        if self.read()? == Packet::Special {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&self.packet);
        match text.strip_prefix("ERR ") {
            Some(why) => Err(format!("the server refuses: {why}").into()),
            None => Ok(Some(text.trim_end_matches('\n').to_owned())),
        }
    }

    fn read(&mut self) -> io::Result<Packet> {
        let mut header = [0; 4];
        self.road.read_exact(&mut header)?;
        let digits = std::str::from_utf8(&header).map_err(io::Error::other)?;
        let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
        match length {
            0..=3 => Ok(Packet::Special),
            4..=PACKET_BYTES_MAX => {
                self.packet.resize(length - 4, 0);
                self.road.read_exact(&mut self.packet)?;
                Ok(Packet::Data)
            }
            _ => Err(io::Error::other("a packet is longer than any may be")),
        }
    }
}

fn push(request: &mut Vec<u8>, line: &str) {
    request.extend_from_slice(format!("{:04x}{line}\n", line.len() + 5).as_bytes());
}

/// Hashes all but the last bytes, which should be that hash.
struct Trailer {
    hash: HashKind,
    checksum: Checksum,
    tail: Vec<u8>,
}

impl Trailer {
    fn new(hash: HashKind) -> Self {
        Trailer { hash, checksum: Checksum::new(hash), tail: Vec::new() }
    }

    fn update(&mut self, data: &[u8]) {
        self.tail.extend_from_slice(data);
        let body = self.tail.len().saturating_sub(self.hash.len());
        self.checksum.update(&self.tail[..body]);
        self.tail.drain(..body);
    }

    fn matches(self) -> bool {
        ObjectId::from_bytes(&self.tail, self.hash) == Some(self.checksum.finish())
    }
}
