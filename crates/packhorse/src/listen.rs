//! Where to listen, as people write it.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use serde::{Deserialize as _, Deserializer};

/// Understands `ADDRESS:PORT`, `NAME:PORT`, and `PORT` alone, which is one of this machine's own.
///
/// # Errors
/// A text for the user.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    match text.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(format!("'{text}' has no address")),
        Err(error) => Err(format!("write ADDRESS:PORT or PORT ({error})")),
    }
}

/// [`parse`] for configuration files.
pub fn from_config<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_addresses() {
        for (text, address) in
            [("8417", "127.0.0.1:8417"), ("0.0.0.0:80", "0.0.0.0:80"), ("[::1]:0", "[::1]:0")]
        {
            assert_eq!(parse(text), Ok(address.parse().expect("an address")), "{text}");
        }
        assert!(parse("localhost:1").is_ok_and(|address| address.ip().is_loopback()));
        for bad in ["", "70000", "127.0.0.1", "1.2.3.4:x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
