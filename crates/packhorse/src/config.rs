//! The server's configuration file: TOML, every key optional, unknown keys refused.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::webhook::config::{WebhookConfig, WebhooksConfig};

/// What a configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The folder or repository to serve, as seen from the folder this file lies in.
    pub directory: Option<PathBuf>,
    /// The store to serve in place of a folder, by its URL; a file in it as above.
    pub store: Option<String>,
    /// The store of refs, when objects are in another one.
    pub refs: Option<String>,
    /// The store of objects, when refs are in another one.
    pub blobs: Option<String>,
    /// Other stores, for some of the repositories.
    #[serde(default)]
    pub stores: Vec<RouteConfig>,
    /// Address and port to listen on, or a port of this machine alone.
    #[serde(default, deserialize_with = "crate::listen::from_config")]
    pub listen: Option<SocketAddr>,
    /// Who may do what.
    #[serde(default)]
    pub access: AccessConfig,
    /// What is written down of who did what.
    #[serde(default)]
    pub audit: AuditConfig,
    /// git://.
    #[serde(default)]
    pub git: GitConfig,
    /// SSH.
    #[serde(default)]
    pub ssh: SshConfig,
    /// HTTPS.
    #[serde(default)]
    pub https: HttpsConfig,
    /// Make repositories for pushes to new names.
    #[serde(default)]
    pub create_on_push: bool,
    /// Refuse all pushes.
    #[serde(default)]
    pub read_only: bool,
    /// Take pushes from other machines without asking who pushes.
    #[serde(default)]
    pub allow_anonymous_push: bool,
    /// Bounds of requests.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Maintenance behind the traffic.
    #[serde(default)]
    pub maintenance: MaintenanceConfig,
    /// Telling who wants to know what becomes of refs.
    #[serde(default)]
    pub watch: WatchConfig,
    /// How webhooks are told.
    #[serde(default)]
    pub webhooks: WebhooksConfig,
    /// Webhooks.
    #[serde(default)]
    pub webhook: Vec<WebhookConfig>,
    /// The folder this file lies in, from which paths in it are seen.
    #[serde(skip)]
    pub folder: PathBuf,
    /// How a key-value file is used.
    #[serde(default)]
    pub kv: KvConfig,
    /// How a database is used.
    #[serde(default)]
    pub postgres: PostgresConfig,
    /// How a bucket is used.
    #[serde(default)]
    pub bucket: BucketConfig,
}

/// The `[access]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessConfig {
    /// The file with accounts and rules, as seen from the folder this file lies in.
    pub file: Option<PathBuf>,
    /// What nonces of signed pushes are made of, where rules ask for signatures: the same on all servers
    /// of the same repositories.
    pub cert_nonce_seed: Option<String>,
    /// Logins from one address that fail before it has to wait.
    pub login_failures_max: Option<u32>,
    /// One failed login is forgotten after so long, milliseconds.
    pub login_failure_forgotten_ms: Option<NonZeroU64>,
    /// Addresses whose failed logins are remembered.
    pub login_addresses_max: Option<NonZeroUsize>,
}

/// The `[audit]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The file lines are put at the end of, as seen from the folder this file lies in.
    pub file: Option<PathBuf>,
    /// Note fetches, too.
    pub reads: Option<bool>,
}

/// The `[git]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitConfig {
    /// Address and port to listen on, or a port of this machine alone.
    #[serde(default, deserialize_with = "crate::listen::from_config")]
    pub listen: Option<SocketAddr>,
    /// Take pushes.
    #[serde(default)]
    pub receive_pack: bool,
    /// Make archives.
    #[serde(default)]
    pub upload_archive: bool,
}

/// The `[https]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpsConfig {
    /// Address and port to listen on, or a port of this machine alone.
    #[serde(default, deserialize_with = "crate::listen::from_config")]
    pub listen: Option<SocketAddr>,
    /// The certificate in PEM, and those between it and one that clients know; as seen from the folder
    /// this file lies in.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
    /// Answer whoever comes by HTTP that he is to come by HTTPS.
    #[serde(default)]
    pub redirect: bool,
    /// Seconds for which browsers are told to come by HTTPS only.
    pub hsts_max_age: Option<u64>,
    /// An authority that is asked for certificates.
    pub acme: Option<AcmeConfig>,
}

/// The `[https.acme]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeConfig {
    /// The names a certificate is for.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Where the authority can reach whoever looks after the server: `mailto:` addresses.
    #[serde(default)]
    pub contact: Vec<String>,
    /// The authority's terms are agreed to.
    #[serde(default)]
    pub terms_of_service_agreed: bool,
    /// How it is shown that the names lead here.
    #[serde(default)]
    pub challenge: AcmeChallenge,
    /// The authority: the URL of its directory.
    pub directory: Option<String>,
    /// What the authority's own HTTPS is trusted by, in PEM.
    pub root: Option<PathBuf>,
    /// The account that a new one there is bound to, as the authority has given it.
    pub external_account_id: Option<String>,
    /// Its key, in base64.
    pub external_account_key: Option<String>,
    /// Milliseconds after which the authority is asked again at the latest when nothing came.
    pub retry_max_ms: Option<NonZeroU64>,
}

/// How it is shown that a name leads to this server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum AcmeChallenge {
    /// At the port of HTTPS, 443 from outside.
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// At the port of HTTP, 80 from outside.
    #[serde(rename = "http-01")]
    Http01,
}

impl AcmeChallenge {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            AcmeChallenge::TlsAlpn01 => "tls-alpn-01",
            AcmeChallenge::Http01 => "http-01",
        }
    }
}

/// The `[ssh]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshConfig {
    /// Address and port to listen on, or a port of this machine alone.
    #[serde(default, deserialize_with = "crate::listen::from_config")]
    pub listen: Option<SocketAddr>,
    /// The server's private key, as seen from the folder this file lies in; made when there is none.
    pub host_key: Option<PathBuf>,
    /// How long a client may take to log in, milliseconds.
    pub login_timeout_ms: Option<u64>,
    /// Wrong keys after which a connection is closed.
    pub attempts_max: Option<NonZeroUsize>,
    /// Silence after which a client is asked whether it is there, milliseconds.
    pub keepalive_ms: Option<NonZeroU64>,
    /// How long a connection on which nothing runs stays open, milliseconds.
    pub unused_timeout_ms: Option<u64>,
    /// Sessions at the same time on one connection.
    pub sessions_max: Option<usize>,
    /// Bytes after which keys are exchanged anew.
    pub rekey_bytes: Option<NonZeroUsize>,
}

/// One of the `[[stores]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The repository of this name, and all whose names begin with it and a `/`, are in the store.
    pub below: String,
    /// The store, by its URL.
    pub store: Option<String>,
    /// The store of refs, when objects are in another one.
    pub refs: Option<String>,
    /// The store of objects, when refs are in another one.
    pub blobs: Option<String>,
}

/// The `[postgres]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Connections to the database at a time.
    pub connections_max: Option<NonZeroUsize>,
    /// How long a request waits for one of them, or for the database to answer, milliseconds.
    pub connection_wait_ms: Option<u64>,
    /// How long a push waits for another that holds one of its refs, milliseconds.
    pub lock_wait_ms: Option<u64>,
    /// How long a server need not be seen before others may do what it had begun, milliseconds.
    pub lease_ms: Option<u64>,
    /// How long before what it had staged is dropped, milliseconds.
    pub staged_keep_ms: Option<u64>,
    /// How often whoever watches refs looks without being notified, milliseconds.
    pub watch_poll_ms: Option<u64>,
    /// Wait for notifications by a connection of its own: a pooler by transactions passes none on.
    pub listen: Option<bool>,
}

/// The `[bucket]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Bytes of one request when more is read or written.
    pub part_bytes: Option<NonZeroU64>,
    /// Requests of one reader or writer at once.
    pub parallel_requests: Option<NonZeroUsize>,
    /// Where what was read stays when the server ends: a directory for this server alone.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of what was read that are kept on this machine's disk.
    pub cache_bytes: Option<u64>,
    /// How long a request may take, milliseconds.
    pub request_timeout_ms: Option<u64>,
    /// How long a connection may take to be made, milliseconds.
    pub connect_timeout_ms: Option<u64>,
    /// How often a request is tried again.
    pub retries: Option<usize>,
    /// Of a hundred reads, so many are asked for twice when they are slow.
    pub hedge_percent: Option<u32>,
    /// How long all tries of a request may take together, milliseconds.
    pub retry_timeout_ms: Option<u64>,
    /// How long a push waits for another of this server that holds one of its refs, milliseconds.
    pub lock_wait_ms: Option<u64>,
    /// How often a change of refs is tried when other servers change refs, too.
    pub commit_attempts: Option<NonZeroUsize>,
    /// How long a server need not be heard of before others take what it had reserved, milliseconds.
    pub lease_ms: Option<u64>,
    /// Make sure at start that the service keeps conditions, not before the first push.
    pub probe_at_start: Option<bool>,
    /// How long what was removed can be read on, milliseconds: longer than any fetch.
    pub gone_keep_ms: Option<u64>,
    /// Send those who download packs as files to the bucket, with an address that holds so long,
    /// milliseconds.
    pub download_address_ms: Option<u64>,
    /// How soon after a change refs that are watched are looked at again, milliseconds.
    pub watch_poll_ms: Option<u64>,
    /// How seldom they are looked at when nothing happens, milliseconds.
    pub watch_poll_max_ms: Option<u64>,
}

/// The `[kv]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvConfig {
    /// Bytes of memory for pages of the file.
    pub cache_bytes: Option<usize>,
    /// Writers that share one durable commit.
    pub writers_per_commit_max: Option<NonZeroUsize>,
    /// How long a push waits for another that holds one of its refs, milliseconds.
    pub lock_wait_ms: Option<u64>,
    /// How long to wait for another process that has the file open, milliseconds.
    pub open_wait_ms: Option<u64>,
}

/// The `[maintenance]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Maintain repositories after pushes.
    pub enabled: Option<bool>,
    /// How long a repository is left alone after a push, milliseconds.
    pub rest_ms: Option<u64>,
    /// The part of the time maintenance may work while requests are answered, percent.
    pub share_under_load_percent: Option<u32>,
    /// Threads of one round.
    pub threads: Option<NonZeroUsize>,
}

/// The `[watch]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    /// Subscriptions at the same time.
    pub subscribers_max: Option<usize>,
    /// Refs that are known while somebody subscribes, of all repositories together.
    pub refs_max: Option<usize>,
    /// Changed refs of one repository that are remembered for those who are late.
    pub remembered_max: Option<usize>,
    /// How long a repository is watched on when nobody subscribes to it any more, milliseconds.
    pub linger_ms: Option<u64>,
    /// How long a store that failed is left alone, milliseconds.
    pub retry_ms: Option<u64>,
    /// Threads that look at refs.
    pub threads: Option<NonZeroUsize>,
    /// How often refs on a disk are looked at although nothing was heard, milliseconds.
    pub disk_poll_ms: Option<u64>,
    /// Silence after which a subscriber is told that the connection is alive, milliseconds.
    pub heartbeat_ms: Option<u64>,
}

/// The `[limits]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests that run at the same time.
    pub requests_max: Option<usize>,
    /// Connections that are open at the same time.
    pub connections_max: Option<usize>,
    /// Connections from one address that are open at the same time.
    pub connections_per_address_max: Option<usize>,
    /// Silence after which a client is let go, milliseconds.
    pub idle_timeout_ms: Option<u64>,
    /// How long a client may take over the head of a request, milliseconds.
    pub header_timeout_ms: Option<u64>,
    /// How long running requests may take to end when the server stops, milliseconds.
    pub drain_timeout_ms: Option<u64>,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams_per_connection_max: Option<u32>,
    /// Bytes of a refused request that are taken in so that the client reads why.
    pub discarded_bytes_max: Option<u64>,
    /// Objects a client may ask for in one request.
    pub wants_max: Option<usize>,
    /// Objects a client may say it has in one request.
    pub haves_max: Option<usize>,
    /// Refs one push may change.
    pub push_commands_max: Option<usize>,
    /// Rounds of haves in one conversation of protocol v0 or v1.
    pub rounds_max: Option<usize>,
    /// How long one hook may run, milliseconds; 0 for no limit.
    pub hook_timeout_ms: Option<u64>,
    /// Bytes of rebuilt objects a request keeps to rebuild others from.
    pub delta_cache_bytes: Option<usize>,
    /// Bytes that all fetches and pushes together may hold.
    pub memory: Option<usize>,
    /// Fetches that are worked out at the same time.
    pub concurrent_fetches: Option<NonZeroUsize>,
    /// Archives that are made at the same time.
    pub concurrent_archives: Option<NonZeroUsize>,
    /// Bytes of a file that attributes change on its way into an archive.
    pub archive_converted_bytes_max: Option<u64>,
    /// How long a fetch or an archive waits for its turn, milliseconds.
    pub fetch_wait_ms: Option<u64>,
    /// Objects one fetch may send.
    pub fetch_objects_max: Option<u64>,
    /// Bytes one fetch may send.
    pub fetch_bytes_max: Option<u64>,
    /// How long one fetch may be worked on, milliseconds; sending does not count.
    pub fetch_work_ms_max: Option<u64>,
    /// Bytes the largest single object may have in memory.
    pub object_bytes_max: Option<u64>,
    /// Bytes of objects for which one fetch may make deltas that the repository does not have.
    pub fresh_delta_bytes_max: Option<u64>,
}

/// Reads a configuration file.
///
/// # Errors
/// A text for the user that names the file and the place in it.
pub fn read(path: &Path) -> Result<FileConfig, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read '{}': {error}", path.display()))?;
    let mut config: FileConfig =
        toml::from_str(&text).map_err(|error| format!("in '{}': {error}", path.display()))?;
    config.folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let FileConfig { access, audit, ssh, https, folder, .. } = &mut config;
    let no_root = &mut None;
    let acme_root = https.acme.as_mut().map_or(no_root, |acme| &mut acme.root);
    let files = [
        &mut access.file,
        &mut audit.file,
        &mut ssh.host_key,
        &mut https.certificate,
        acme_root,
        &mut https.key,
    ];
    for file in files.into_iter().flatten() {
        *file = folder.join(&*file);
    }
    config.directory = config.directory.map(|directory| config.folder.join(directory));
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<FileConfig>("liten = '127.0.0.1:1'").expect_err("a typo");
        assert!(error.to_string().contains("liten"), "{error}");
        let config: FileConfig =
            toml::from_str("listen = '[::1]:80'\n[limits]\nrequests_max = 4").expect("valid");
        assert_eq!(config.limits.requests_max, Some(4));
        let text = "[kv]\nlock_wait_ms = 5\n[postgres]\nconnections_max = 3\nlease_ms = 9";
        let config: FileConfig = toml::from_str(text).expect("valid");
        assert_eq!(config.kv.lock_wait_ms, Some(5));
        assert_eq!(config.postgres.connections_max.map(NonZeroUsize::get), Some(3));
        assert_eq!(config.postgres.lease_ms, Some(9));
        toml::from_str::<FileConfig>("[postgres]\nlease = 9").expect_err("a typo");
    }
}
