//! Sockets to listen on, as git-daemon(1) opens them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use front_git::Importance::Error;
use front_git::Log;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, sockopt};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Opens a socket for each address of each host, or of this machine; what cannot be opened is told of.
pub fn open(hosts: &[String], port: u16, reuse: bool, log: &Log) -> Vec<TcpListener> {
    let mut sockets = Vec::new();
    let mut open_all = |addresses: &mut dyn Iterator<Item = SocketAddr>| {
        let before = sockets.len();
        for address in addresses {
            match socket(address, reuse) {
                Ok(socket) => sockets.push(socket),
                Err(error) => {
                    log(Error, &format!("Could not bind to {}: {error}", address.ip()));
                }
            }
        }
        sockets.len() > before
    };
    if hosts.is_empty() {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        open_all(&mut all.into_iter().map(|address| SocketAddr::new(address, port)));
    }
    for host in hosts {
        let opened = match (host.as_str(), port).to_socket_addrs() {
            Ok(mut addresses) => open_all(&mut addresses),
            Err(error) => {
                log(Error, &format!("getaddrinfo() for {host} failed: {error}"));
                false
            }
        };
        if !opened {
            let words = "unable to allocate any listen sockets for host";
            log(Error, &format!("{words} {host} on port {port}"));
        }
    }
    sockets
}

fn socket(address: SocketAddr, reuse: bool) -> Result<TcpListener, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        // The other family has a socket of its own. Where it cannot be set, that one fails.
        let _ = sockopt::set_ipv6_v6only(&socket, true);
    }
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    sockopt::set_socket_keepalive(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(TcpListener::from(socket))
}
