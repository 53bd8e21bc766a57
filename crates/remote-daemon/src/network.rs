//! When the network, or the machine itself, comes back.

use std::time::Duration;

/// A machine that slept for less is not noticed.
const SLEEP_MIN: Duration = Duration::from_secs(5);

/// Tells when addresses and routes of this machine change, where the system says so.
pub struct Network {
    #[cfg(target_os = "linux")]
    socket: tokio::net::UnixDatagram,
}

#[cfg(target_os = "linux")]
impl Network {
    /// Begins to listen (rtnetlink(7)); `None` where that is not allowed.
    pub fn begin() -> Option<Self> {
        use rustix::net::netlink::SocketAddrNetlink;
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
        // Links, and addresses and routes of both families (RTMGRP_*).
        const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is protocol 0.
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::RAW, flags, None).ok()?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS)).ok()?;
        // Of all kinds of sockets whose messages tokio waits for and receives, this one asks for no address.
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        Some(Network { socket: tokio::net::UnixDatagram::from_std(socket).ok()? })
    }

    /// Ready when something changed.
    pub async fn changed(&self) {
        use std::io::ErrorKind::WouldBlock;
        if self.socket.readable().await.is_err() {
            return std::future::pending().await;
        }
        // What it was does not matter. Too much at once is an error, and a change.
        let mut buffer = [0; 4096];
        while !matches!(self.socket.try_recv(&mut buffer), Err(error) if error.kind() == WouldBlock)
        {
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Network {
    /// Nobody says so here.
    pub fn begin() -> Option<Self> {
        None
    }

    /// Never ready.
    pub async fn changed(&self) {
        std::future::pending().await
    }
}

/// Notices that the machine has slept.
pub struct Sleep {
    slept: Duration,
}

impl Sleep {
    /// From now on.
    pub fn new() -> Self {
        Sleep { slept: slept() }
    }

    /// Whether it has slept since this was asked last.
    pub fn has_slept(&mut self) -> bool {
        let before = std::mem::replace(&mut self.slept, slept());
        self.slept.saturating_sub(before) >= SLEEP_MIN
    }
}

/// How long the machine has slept since it was started: what one clock counts and the other does not
/// (clock_gettime(2)).
#[cfg(target_os = "linux")]
fn slept() -> Duration {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let since_start = |clock| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
        Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or(0))
    };
    // In this order: a moment in between counts for the first.
    let awake = since_start(ClockId::Monotonic);
    since_start(ClockId::Boottime).saturating_sub(awake)
}

#[cfg(not(target_os = "linux"))]
fn slept() -> Duration {
    Duration::ZERO
}
