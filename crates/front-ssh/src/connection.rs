//! One connection: who logs in, and which sessions are opened on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use host::{Caller, Identity, Proof, Road};
use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use wire::Protocol;

use crate::Front;
use crate::session::{self, Asked};
use crate::stream::TimedStream;

/// How often it is looked whether whoever is connected is still known.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a client may take to go when its command has ended.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Longest value of an environment variable that is taken, bytes.
const VALUE_BYTES_MAX: usize = 256;

/// Serves one connection to its end.
pub(crate) async fn serve(front: Arc<Front>, stream: TcpStream, peer: SocketAddr) {
    // Without it small answers wait for the network; a stream that cannot have it still works.
    let _ = stream.set_nodelay(true);
    let life = Arc::new(Life::default());
    let settings = &front.settings;
    let login = (settings.login_timeout, life.is_known.clone());
    let stream = TimedStream::new(stream, login, settings.idle_timeout);
    let visitor = Visitor {
        front: front.clone(),
        peer,
        identity: None,
        life: life.clone(),
        channels: HashMap::new(),
    };
    let begun = tokio::time::timeout(
        settings.login_timeout,
        russh::server::run_stream(front.protocol.clone(), stream, visitor),
    );
    let session = match begun.await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no SSH"),
        Err(_) => return tracing::debug!(%peer, "the client says nothing"),
    };
    run(&front, &life, session, peer).await;
    if life.caller.get().is_none() {
        let host = front.host.clone();
        let why = "left without a key that is somebody's";
        tokio::task::spawn_blocking(move || host.login_failed(why, peer.ip(), Road::Ssh));
    }
}

async fn run(
    front: &Arc<Front>,
    life: &Arc<Life>,
    session: russh::server::RunningSession<Visitor>,
    peer: SocketAddr,
) {
    let handle = session.handle();
    tokio::pin!(session);
    tokio::select! {
        ended = &mut session => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
            return;
        }
        words = until_over(front, life) => {
            tracing::debug!(%peer, words, "connection is ended");
            close(&handle, words).await;
        }
    }
    // It may not want to hear of it.
    let _ = tokio::time::timeout(Duration::from_secs(5), session).await;
}

async fn close(handle: &Handle, words: &str) {
    let reason = Disconnect::ByApplication;
    let said = handle.disconnect(reason, words.to_owned(), String::new());
    let _ = tokio::time::timeout(Duration::from_secs(5), said).await;
}

/// What several tasks know of a connection.
#[derive(Default)]
struct Life {
    is_known: Arc<AtomicBool>,
    caller: std::sync::OnceLock<Caller>,
    sessions: AtomicUsize,
    session_ended: Notify,
}

/// One session that counts, until it is dropped.
pub(crate) struct Counted(Arc<Life>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::AcqRel);
        self.0.session_ended.notify_one();
    }
}

/// Ready, with the reason, when a connection on which nothing runs is to be closed: the server stops,
/// it was not used for long, or whoever is connected is not known any more.
async fn until_over(front: &Arc<Front>, life: &Arc<Life>) -> &'static str {
    let mut stopping = front.stopping.clone();
    let mut unused = Duration::ZERO;
    loop {
        tokio::select! {
            () = stops(&mut stopping) => {
                let was_used = life.sessions.load(Ordering::Acquire) > 0;
                while life.sessions.load(Ordering::Acquire) > 0 {
                    life.session_ended.notified().await;
                }
                if was_used {
                    // A client that is told so now would forget how its command ended; most go by
                    // themselves.
                    tokio::time::sleep(LEAVE_TIME).await;
                }
                return "the server stops";
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if life.sessions.load(Ordering::Acquire) > 0 {
            unused = Duration::ZERO;
            continue;
        }
        unused += LOOK_EVERY;
        if unused >= front.settings.unused_timeout {
            return "nothing was asked for";
        }
        if let Some(caller) = life.caller.get() {
            let (front, caller) = (front.clone(), caller.clone());
            let known = tokio::task::spawn_blocking(move || front.host.still_knows(&caller)).await;
            if matches!(known, Ok(false)) {
                return "this key does not count any more";
            }
        }
    }
}

/// Ready when the server stops.
async fn stops(stopping: &mut watch::Receiver<bool>) {
    // If nobody can say so any more, it has stopped.
    let _ = stopping.wait_for(|stops| *stops).await;
}

/// A session that was opened, and has not been asked for anything.
struct Opened {
    channel: Channel<Msg>,
    counted: Counted,
    protocol: Protocol,
    is_terminal: bool,
}

struct Visitor {
    front: Arc<Front>,
    peer: SocketAddr,
    identity: Option<Identity>,
    life: Arc<Life>,
    channels: HashMap<ChannelId, Opened>,
}

impl Visitor {
    /// Whose a key is; a key that is nobody's is no failure as long as others may follow.
    async fn owner(&self, key: &PublicKey) -> Option<Identity> {
        let blob = key.to_bytes().ok()?;
        let front = self.front.clone();
        let asked =
            tokio::task::spawn_blocking(move || front.host.knows(&Proof::SshKey { blob: &blob }));
        match asked.await.ok()? {
            Ok(found) => found,
            Err(refusal) => {
                tracing::warn!(peer = %self.peer, %refusal, "nobody can log in");
                None
            }
        }
    }

    fn caller(&self) -> Caller {
        Caller { identity: self.identity.clone(), address: Some(self.peer.ip()) }
    }

    /// Starts what a session is asked for.
    fn start(&mut self, id: ChannelId, asked: impl FnOnce(&Opened) -> Asked) -> bool {
        let Some(opened) = self.channels.remove(&id) else { return false };
        let asked = asked(&opened);
        let Opened { channel, counted, .. } = opened;
        let (front, caller) = (self.front.clone(), self.caller());
        tokio::spawn(async move {
            session::serve(front, channel, caller, asked).await;
            drop(counted);
        });
        true
    }
}

fn answer(is_known: bool) -> Auth {
    if is_known { Auth::Accept } else { Auth::reject() }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(answer(self.owner(offer.public_key).await.is_some()))
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.identity = self.owner(key.public_key).await;
        Ok(answer(self.identity.is_some()))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        let caller = self.caller();
        let name = caller.identity.as_ref().map(|identity| identity.user.as_str());
        tracing::info!(peer = %self.peer, name, "logged in");
        let (front, noted) = (self.front.clone(), caller.clone());
        tokio::task::spawn_blocking(move || front.host.logged_in(&noted, Road::Ssh));
        // It succeeds once.
        let _ = self.life.caller.set(caller);
        self.life.is_known.store(true, Ordering::Release);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let before = self.life.sessions.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(self.life.clone());
        if before >= self.front.settings.sessions_max {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let opened = Opened { channel, counted, protocol: Protocol::V0, is_terminal: false };
        self.channels.insert(id, opened);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&id) {
            Some(opened) if name == "GIT_PROTOCOL" && value.len() <= VALUE_BYTES_MAX => {
                opened.protocol = Protocol::from_git_protocol(value.as_bytes());
                session.channel_success(id)
            }
            // The user's locale, mostly.
            _ => session.channel_failure(id),
        }
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(opened) = self.channels.get_mut(&id) {
            opened.is_terminal = true;
        }
        session.channel_success(id)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.start(id, |opened| Asked::Greeting { is_terminal: opened.is_terminal }) {
            true => session.channel_success(id),
            false => session.channel_failure(id),
        }
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = command.to_vec();
        match self.start(id, |opened| Asked::Command { command, protocol: opened.protocol }) {
            true => session.channel_success(id),
            false => session.channel_failure(id),
        }
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }
}
