//! The lines of upload-pack's answers, in every version of the protocol.
//!
//! What belongs between them (sections, flush and delimiter packets) is the
//! business of the exchange that writes them.

use std::io;

use bstr::BStr;
use object::{ID_BYTES_MAX, IdView, ObjectId};

use crate::pktline::PacketWriter;

/// What an `ACK` of v0 and v1 says besides the object's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Nothing: the last one, or the only one without `multi_ack`. Every one of v2.
    Plain,
    /// `continue` (`multi_ack`): go on.
    Continue,
    /// `common` (`multi_ack_detailed`): the server has it too.
    Common,
    /// `ready` (`multi_ack_detailed`): the server could make a pack now.
    Ready,
}

/// Writes `ACK <id> <what>`.
pub fn ack(writer: &mut PacketWriter<'_>, id: &ObjectId, what: Ack) -> io::Result<()> {
    let status = match what {
        Ack::Plain => "",
        Ack::Continue => " continue",
        Ack::Common => " common",
        Ack::Ready => " ready",
    };
    writer.text(format!("ACK {id}{status}"))
}

/// Writes `NAK`: nothing in common so far.
pub fn nak(writer: &mut PacketWriter<'_>) -> io::Result<()> {
    writer.text("NAK")
}

/// Writes `shallow <id>`: a commit of the client's new boundary.
pub fn shallow(writer: &mut PacketWriter<'_>, id: &ObjectId) -> io::Result<()> {
    writer.data(format!("shallow {id}").as_bytes())
}

/// Writes `unshallow <id>`: a commit that is no longer of the client's boundary.
pub fn unshallow(writer: &mut PacketWriter<'_>, id: &ObjectId) -> io::Result<()> {
    writer.data(format!("unshallow {id}").as_bytes())
}

/// A section of a v2 `fetch` response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Which haves are common.
    Acknowledgments,
    /// The client's new boundary.
    ShallowInfo,
    /// What the refs wanted by name are.
    WantedRefs,
    /// The pack.
    Packfile,
}

/// Writes the first line of a section.
pub fn section(writer: &mut PacketWriter<'_>, section: Section) -> io::Result<()> {
    writer.text(match section {
        Section::Acknowledgments => "acknowledgments",
        Section::ShallowInfo => "shallow-info",
        Section::WantedRefs => "wanted-refs",
        Section::Packfile => "packfile",
    })
}

/// Writes `ready` (v2): the pack follows, the client need not say more.
pub fn ready(writer: &mut PacketWriter<'_>) -> io::Result<()> {
    writer.text("ready")
}

/// Writes what a ref wanted by name is (v2, `wanted-refs`).
pub fn wanted_ref(writer: &mut PacketWriter<'_>, id: &ObjectId, name: &BStr) -> io::Result<()> {
    writer.packet(|packet| {
        packet.extend_from_slice(id.hex_into(&mut [0; ID_BYTES_MAX * 2]).as_bytes());
        packet.extend_from_slice(b" ");
        packet.extend_from_slice(name);
        packet.extend_from_slice(b"\n");
    })
}

/// A ref as `ls-refs` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsRef<'a> {
    /// What it is; `None` for a HEAD whose branch does not exist yet.
    pub id: Option<IdView<'a>>,
    /// Its full name.
    pub name: &'a BStr,
    /// Where a symbolic ref points, when the client asked.
    pub symref_target: Option<&'a BStr>,
    /// What an annotated tag points to in the end, when the client asked.
    pub peeled: Option<IdView<'a>>,
}

/// Writes a line of an `ls-refs` response.
pub fn ls_ref(writer: &mut PacketWriter<'_>, shown: &LsRef<'_>) -> io::Result<()> {
    writer.packet(|packet| {
        let mut hex = [0; ID_BYTES_MAX * 2];
        match shown.id {
            Some(id) => packet.extend_from_slice(id.hex_into(&mut hex)),
            None => packet.extend_from_slice(b"unborn"),
        }
        packet.extend_from_slice(b" ");
        packet.extend_from_slice(shown.name);
        if let Some(target) = shown.symref_target {
            packet.extend_from_slice(b" symref-target:");
            packet.extend_from_slice(target);
        }
        if let Some(id) = shown.peeled {
            packet.extend_from_slice(b" peeled:");
            packet.extend_from_slice(id.hex_into(&mut hex));
        }
        packet.extend_from_slice(b"\n");
    })
}

/// Writes what `object-info` says of an object when sizes were asked for; `None` for one
/// that the repository does not have. The line `size` goes before the first of them.
pub fn object_size(
    writer: &mut PacketWriter<'_>,
    id: &ObjectId,
    size: Option<u64>,
) -> io::Result<()> {
    match size {
        Some(size) => writer.data(format!("{id} {size}").as_bytes()),
        None => writer.data(format!("{id} ").as_bytes()),
    }
}
