//! The sockets a server listens on, and the fronts behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use front_http::{Server, Speech, Tls};
use front_ssh::HostKey;
use host::Host;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::plan::Plan;
use super::system::Given;

/// What is listened on.
pub(super) struct Doors {
    http: Option<TcpListener>,
    https: Option<(TcpListener, Tls)>,
    git: Option<TcpListener>,
    ssh: Option<(TcpListener, HostKey)>,
}

/// A socket that was given, or one at the address that is configured.
async fn listen(
    given: &mut Given,
    name: &str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, String> {
    if let Some(socket) = given.socket(name) {
        let listener = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
        return listener.map(Some).map_err(|error| format!("the socket for {name}: {error}"));
    }
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|error| format!("cannot listen on {address}: {error}"))
}

impl Doors {
    /// Opens all of them, or none.
    pub(super) async fn open(plan: &Plan, mut given: Given) -> Result<Self, String> {
        let http = listen(&mut given, "http", plan.listen).await?;
        let git = listen(&mut given, "git", plan.git_listen).await?;
        let address = plan.https.as_ref().and_then(|https| https.listen);
        let https = listen(&mut given, "https", address).await?;
        let https = match (https, &plan.https) {
            (Some(listener), Some(https)) => {
                let mut tls = Tls::new(https.files.clone(), plan.http.challenges.clone())
                    .map_err(|error| error.to_string())?;
                tls.hsts_max_age = https.hsts_max_age;
                Some((listener, tls))
            }
            _ => None,
        };
        let address = plan.ssh.as_ref().and_then(|ssh| ssh.listen);
        let ssh = listen(&mut given, "ssh", address).await?;
        let ssh = match (ssh, &plan.ssh) {
            (Some(listener), Some(ssh)) => {
                let key = HostKey::read_or_make(&ssh.host_key)
                    .map_err(|error| format!("{}: {error}", ssh.host_key.display()))?;
                Some((listener, key))
            }
            _ => None,
        };
        Ok(Doors { http, https, git, ssh })
    }

    /// Where HTTP is spoken.
    pub(super) fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref()?.local_addr().ok()
    }

    /// Where HTTPS is spoken, and the fingerprint of the certificate there.
    pub(super) fn https(&self) -> Option<(SocketAddr, String)> {
        let (listener, tls) = self.https.as_ref()?;
        Some((listener.local_addr().ok()?, tls.fingerprint()))
    }

    /// Where git:// is spoken.
    pub(super) fn git(&self) -> Option<SocketAddr> {
        self.git.as_ref()?.local_addr().ok()
    }

    /// Where SSH is spoken, and the fingerprint of the key there.
    pub(super) fn ssh(&self) -> Option<(SocketAddr, String)> {
        let (listener, key) = self.ssh.as_ref()?;
        Some((listener.local_addr().ok()?, key.fingerprint()))
    }

    /// Serves until `stop` is ready; whether everything that ran then came to its end.
    pub(super) async fn serve(
        self,
        plan: &Plan,
        host: &Arc<Host>,
        stop: impl Future<Output = ()>,
    ) -> bool {
        let (stopping, stopped) = watch::channel(false);
        let stop = async move {
            stop.await;
            // Who does not listen to it is not there.
            let _ = stopping.send(true);
        };
        let until = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|is_over| *is_over).await;
        };
        let redirect = plan.https.as_ref().filter(|https| https.redirect);
        let speech = match redirect.and(self.https()) {
            Some((address, _)) => Speech::Redirect { port: address.port() },
            None => Speech::Plain,
        };
        let http = async {
            let Some(listener) = self.http else { return true };
            let server = Server::new(host.clone(), plan.http.clone());
            server.run(listener, speech, until(stopped.clone())).await
        };
        let https = async {
            let Some((listener, tls)) = self.https else { return true };
            let server = Server::new(host.clone(), plan.http.clone());
            server.run(listener, Speech::Tls(tls), until(stopped.clone())).await
        };
        let git = async {
            let Some(listener) = self.git else { return true };
            let server = front_git::Server::new(host.clone(), plan.git.clone());
            server.run(listener, until(stopped.clone())).await
        };
        let ssh = async {
            let (Some((listener, key)), Some(ssh)) = (self.ssh, &plan.ssh) else { return true };
            let server = front_ssh::Server::new(host.clone(), ssh.settings.clone(), key);
            server.run(listener, until(stopped.clone())).await
        };
        let (http, https, git, ssh, ()) = tokio::join!(http, https, git, ssh, stop);
        http && https && git && ssh
    }
}
