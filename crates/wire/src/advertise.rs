//! What a v0 or v1 server says first: its refs, its capabilities behind the first of
//! them, its shallow boundary (gitprotocol-pack, "Reference Discovery").
//!
//! The v2 advertisement is [`crate::v2::advertise`].

use std::io;

use bstr::{BStr, BString};
use object::{HashKind, ID_BYTES_MAX, IdView, ObjectId};

use crate::capability::{ReceivePackOffer, UploadPackOffer};
use crate::pktline::PacketWriter;
use crate::protocol::{Protocol, Service};

/// Writes what stands in front of an advertisement over HTTP (gitprotocol-http,
/// "Smart Server Response"); git leaves it out for v2.
pub fn service_header(writer: &mut PacketWriter<'_>, service: Service) -> io::Result<()> {
    writer.text(format!("# service={}", service.name()))?;
    writer.flush_pkt()
}

/// Writes a v0 or v1 advertisement, one ref after another.
pub struct RefAdvertisement<'w, 's> {
    writer: &'w mut PacketWriter<'s>,
    hash: HashKind,
    /// Taken by the first line.
    capabilities: Option<BString>,
}

impl<'w, 's> RefAdvertisement<'w, 's> {
    /// The advertisement of upload-pack.
    pub fn upload_pack(
        writer: &'w mut PacketWriter<'s>,
        protocol: Protocol,
        offer: &UploadPackOffer,
    ) -> io::Result<Self> {
        Self::start(writer, protocol, offer.object_format, offer.capabilities())
    }

    /// The advertisement of receive-pack.
    pub fn receive_pack(
        writer: &'w mut PacketWriter<'s>,
        protocol: Protocol,
        offer: &ReceivePackOffer,
    ) -> io::Result<Self> {
        Self::start(writer, protocol, offer.object_format, offer.capabilities())
    }

    fn start(
        writer: &'w mut PacketWriter<'s>,
        protocol: Protocol,
        hash: HashKind,
        capabilities: BString,
    ) -> io::Result<Self> {
        if protocol == Protocol::V1 {
            writer.text("version 1")?;
        }
        Ok(RefAdvertisement { writer, hash, capabilities: Some(capabilities) })
    }

    /// Writes a ref.
    pub fn reference<'i>(&mut self, id: impl Into<IdView<'i>>, name: &BStr) -> io::Result<()> {
        self.line(id.into(), name, b"")
    }

    /// Writes what an annotated tag, whose ref was written just now, points to in the end.
    pub fn peeled<'i>(&mut self, id: impl Into<IdView<'i>>, name: &BStr) -> io::Result<()> {
        self.line(id.into(), name, b"^{}")
    }

    /// Writes an object that the server has, though no ref the client may see names it
    /// (receive-pack: alternates, other namespaces).
    pub fn have(&mut self, id: &ObjectId) -> io::Result<()> {
        self.line(id.into(), BStr::new(".have"), b"")
    }

    /// Ends the advertisement: the shallow boundary of the repository, and a flush packet.
    /// A list without a line gets one that carries the capabilities.
    pub fn finish(mut self, shallow: &[ObjectId]) -> io::Result<()> {
        if self.capabilities.is_some() {
            self.line((&ObjectId::null(self.hash)).into(), BStr::new("capabilities"), b"^{}")?;
        }
        for id in shallow {
            self.writer.text(format!("shallow {id}"))?;
        }
        self.writer.flush_pkt()
    }

    fn line(&mut self, id: IdView<'_>, name: &BStr, suffix: &[u8]) -> io::Result<()> {
        let capabilities = self.capabilities.take();
        self.writer.packet(|packet| {
            packet.extend_from_slice(id.hex_into(&mut [0; ID_BYTES_MAX * 2]));
            packet.extend_from_slice(b" ");
            packet.extend_from_slice(name);
            packet.extend_from_slice(suffix);
            if let Some(capabilities) = capabilities {
                packet.extend_from_slice(b"\0");
                packet.extend_from_slice(&capabilities);
            }
            packet.extend_from_slice(b"\n");
        })
    }
}
