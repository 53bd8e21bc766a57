//! What HTTPS and SSH are started with, files of their own included.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use front_http::{CertificateFiles, HttpSettings};
use front_ssh::SshSettings;

use super::acme::AcmePlan;
use super::system::Given;
use crate::cli::ServeOptions;
use crate::config::{HttpsConfig, SshConfig};

/// How SSH is served.
pub(super) struct SshPlan {
    /// `None` where a socket was given.
    pub(super) listen: Option<SocketAddr>,
    pub(super) settings: SshSettings,
    pub(super) host_key: PathBuf,
}

/// How HTTPS is served.
pub(super) struct HttpsPlan {
    /// `None` where a socket was given.
    pub(super) listen: Option<SocketAddr>,
    pub(super) files: CertificateFiles,
    /// The certificate is one that this server made for itself.
    pub(super) is_own: bool,
    /// Whoever comes by HTTP is sent here.
    pub(super) redirect: bool,
    pub(super) hsts_max_age: Option<u64>,
    /// Who is asked for certificates.
    pub(super) acme: Option<AcmePlan>,
}

pub(super) fn ssh_plan(
    option: Option<SocketAddr>,
    config: &SshConfig,
    http: &HttpSettings,
    given: &Given,
) -> Result<Option<SshPlan>, String> {
    let listen = option.or(config.listen);
    if listen.is_none() && !given.has("ssh") {
        return Ok(None);
    }
    let default = SshSettings::default();
    let ms = |set: Option<u64>, default| set.map_or(default, Duration::from_millis);
    let settings = SshSettings {
        login_timeout: ms(config.login_timeout_ms, default.login_timeout),
        attempts_max: config.attempts_max.map_or(default.attempts_max, NonZeroUsize::get),
        idle_timeout: http.idle_timeout,
        keepalive: ms(config.keepalive_ms.map(NonZeroU64::get), default.keepalive),
        unused_timeout: ms(config.unused_timeout_ms, default.unused_timeout),
        sessions_max: config.sessions_max.unwrap_or(default.sessions_max),
        drain_timeout: http.drain_timeout,
        connections_max: http.connections_max,
        heartbeat: http.heartbeat,
        rekey_bytes: config.rekey_bytes.map_or(default.rekey_bytes, NonZeroUsize::get),
    };
    let host_key =
        config.host_key.clone().map_or_else(|| state_file("ssh_host_ed25519_key"), Ok)?;
    Ok(Some(SshPlan { listen, settings, host_key }))
}

/// Where a server keeps what it made for itself (XDG Base Directory Specification).
pub(super) fn state_file(name: &str) -> Result<PathBuf, String> {
    let variable =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| home.join(".local/state"));
    let folder = variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").or_else(home).map(|state| state.join("packhorse")));
    let folder = folder.ok_or("there is no HOME to keep keys in; STATE_DIRECTORY says where")?;
    Ok(folder.join(name))
}

pub(super) fn https_plan(
    options: &ServeOptions,
    config: &HttpsConfig,
    given: &Given,
) -> Result<Option<HttpsPlan>, String> {
    let listen = options.https_listen.or(config.listen);
    if listen.is_none() && !given.has("https") {
        return Ok(None);
    }
    let given =
        |option: &Option<PathBuf>, config: &Option<PathBuf>| option.clone().or(config.clone());
    let chain = given(&options.tls_certificate, &config.certificate);
    let key = given(&options.tls_key, &config.key);
    let acme = config.acme.as_ref().map(AcmePlan::new).transpose()?;
    let (files, is_own) = match (chain, key, &acme) {
        (Some(chain), Some(key), None) => (CertificateFiles { chain, key }, false),
        (None, None, Some(acme)) => (acme.files()?, false),
        (None, None, None) => (own_certificate(listen)?, true),
        (Some(_), Some(_), Some(_)) => {
            return Err("HTTPS has a certificate, and https.acme asks for another".into());
        }
        _ => return Err("HTTPS needs both a certificate and its key, or none of them".into()),
    };
    let HttpsConfig { redirect, hsts_max_age, .. } = *config;
    Ok(Some(HttpsPlan { listen, files, is_own, redirect, hsts_max_age, acme }))
}

/// A certificate that this server made for itself, now or at an earlier start.
fn own_certificate(listen: Option<SocketAddr>) -> Result<CertificateFiles, String> {
    let files = CertificateFiles {
        chain: state_file("tls_certificate.pem")?,
        key: state_file("tls_key.pem")?,
    };
    if !files.chain.exists() || !files.key.exists() {
        let made = make_certificate(listen).map_err(|error| error.to_string())?;
        let written = write(&files.key, &made.signing_key.serialize_pem(), 0o600)
            .and_then(|()| write(&files.chain, &made.cert.pem(), 0o644));
        written.map_err(|error| format!("cannot write '{}': {error}", files.chain.display()))?;
    }
    Ok(files)
}

/// For the names by which this machine may be called.
fn make_certificate(
    listen: Option<SocketAddr>,
) -> Result<rcgen::CertifiedKey<rcgen::KeyPair>, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let this = rustix::system::uname();
    let this = this.nodename().to_string_lossy().into_owned();
    if !this.is_empty()
        && this.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
    {
        names.push(format!("{this}.local"));
        names.push(this);
    }
    if let Some(address) = listen.map(|listen| listen.ip())
        && !address.is_unspecified()
        && !address.is_loopback()
    {
        names.push(address.to_string());
    }
    rcgen::generate_simple_self_signed(names)
}

pub(super) fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}
