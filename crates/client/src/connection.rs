//! A way to one service of one repository.

use bstr::BString;
use wire::client::{Advertised, RemoteRef, ls_refs_line, ls_refs_request};
use wire::{LsRefsRequest, Packet, Protocol, Service};

use crate::packets::{BoxRead, Packets};
use crate::road::{self, BoxWrite, Road, StreamRoad};
use crate::{Error, Options, RemoteUrl};

/// A way to one service of one repository.
pub struct Connection {
    pub(crate) road: Road,
    pub(crate) service: Service,
    pub(crate) advertised: Advertised,
    pub(crate) options: Options,
}

impl Connection {
    /// Reaches a repository.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(url: &RemoteUrl, service: Service, options: &Options) -> Result<Self, Error> {
        let (road, advertised) = road::open(url, service, options).await?;
        Ok(Connection { road, service, advertised, options: options.clone() })
    }

    /// Takes up a conversation with a service at the other end of a stream, which speaks first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn over(
        read: BoxRead,
        write: BoxWrite,
        service: Service,
        options: &Options,
    ) -> Result<Self, Error> {
        let packets = Packets::new(read, options.silence_max);
        let road = StreamRoad { packets, write, program: None };
        let (road, advertised) = road::begin(road, options).await?;
        Ok(Connection { road, service, advertised, options: options.clone() })
    }

    /// What the server said first.
    pub fn advertised(&self) -> &Advertised {
        &self.advertised
    }

    /// Whether the server tells what becomes of refs ([`Connection::watch`]).
    pub fn can_watch(&self) -> bool {
        self.advertised.capabilities.has("packhorse-watch")
    }

    /// The refs of the server, in its order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ls_refs(&mut self, request: &LsRefsRequest) -> Result<Vec<RemoteRef>, Error> {
        if self.advertised.protocol < Protocol::V2 {
            let refs = self.advertised.refs.iter();
            return Ok(refs
                .filter(|one| is_asked_for(&request.prefixes, &one.name))
                .cloned()
                .collect());
        }
        let capabilities = &self.advertised.capabilities;
        let hash = capabilities.object_format()?;
        let bytes = ls_refs_request(request, capabilities, &self.options.agent)?;
        let mut answer = self.road.ask(self.service, bytes).await?;
        let result = {
            let packets = road::packets(&mut self.road, &mut answer);
            let refs_max = self.options.limits.advertised_refs_max;
            read_refs(packets, &request.prefixes, refs_max, |line| Ok(ls_refs_line(line, hash)?))
                .await
        };
        match (result, &mut self.road) {
            (Err(error), Road::Stream(road)) => Err(road.why(error).await),
            (result, _) => result,
        }
    }

    /// Ends the conversation as servers like it. Dropping it is as good for whoever does not care what they log.
    pub async fn close(self) {
        self.road.close().await;
    }
}

async fn read_refs(
    packets: &mut Packets,
    prefixes: &[BString],
    refs_max: usize,
    read: impl Fn(&[u8]) -> Result<RemoteRef, Error>,
) -> Result<Vec<RemoteRef>, Error> {
    let mut refs = Vec::new();
    loop {
        match packets.next_line().await? {
            Packet::Data(line) => {
                let one = read(line)?;
                if refs.len() >= refs_max {
                    let (what, setting) = ("refs", "advertised_refs_max");
                    let max = refs_max as u64;
                    return Err(wire::Error::Limit { what, max, setting }.into());
                }
                // Prefixes are a wish that servers need not grant.
                if is_asked_for(prefixes, &one.name) {
                    refs.push(one);
                }
            }
            Packet::Eof => return Err(wire::Error::HungUp.into()),
            packet if road::is_end(&packet) => return Ok(refs),
            _ => {
                let words = "the server's list of refs is broken off".to_owned();
                return Err(wire::Error::Malformed(words).into());
            }
        }
    }
}

fn is_asked_for(prefixes: &[BString], name: &[u8]) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
}
