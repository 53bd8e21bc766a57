//! Who is told of what.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use access::Pattern;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{HttpUrl, RemoteUrl};

/// Longest name of a webhook, bytes.
const NAME_BYTES_MAX: usize = 64;

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name, by which it is known in the log and has its folder: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Where it listens.
    pub url: HttpUrl,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// The repositories it is told of, by patterns of their names in rules.
    pub repositories: Vec<Pattern>,
    /// The refs it is told of.
    pub refs: Vec<Pattern>,
    /// Whose changes it is told of.
    pub hears: Hears,
    /// Certificates of authorities that its own is signed by, beside the system's.
    pub authorities: Option<PathBuf>,
}

/// Whose changes are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hears {
    /// What is pushed to this server. Known with who pushed, before the push is acknowledged.
    #[default]
    Pushes,
    /// What becomes of refs, whoever does it: the repositories are watched.
    Changes,
}

/// What was to be a webhook is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoHook(pub String);

impl fmt::Display for NoHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoHook {}

impl Hook {
    /// A webhook for all refs of all repositories.
    ///
    /// # Errors
    /// Words about a name or an address that cannot be.
    pub fn new(name: &str, url: &str, secret: Secret) -> Result<Self, NoHook> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.starts_with('.')
            || !name.bytes().all(is_plain)
        {
            return Err(NoHook(format!(
                "'{name}' is no name of a webhook: letters, digits, '.', '_' and '-', at most {NAME_BYTES_MAX}"
            )));
        }
        let mut address = match url.parse() {
            Ok(RemoteUrl::Http(address)) => address,
            Ok(_) => {
                let shown = client::without_password(url);
                return Err(NoHook(format!("the webhook '{name}': '{shown}' is no HTTP")));
            }
            Err(error) => return Err(NoHook(format!("the webhook '{name}': {error}"))),
        };
        // To git, a slash at the end means nothing; to others it does.
        if url.ends_with('/') || address.path.is_empty() {
            address.path.push('/');
        }
        if address.path.starts_with('?') {
            address.path.insert(0, '/');
        }
        let all = || vec![Pattern::new("**").unwrap_or_else(|_| unreachable!("a pattern"))];
        Ok(Hook {
            name: name.to_owned(),
            url: address,
            secret,
            repositories: all(),
            refs: all(),
            hears: Hears::default(),
            authorities: None,
        })
    }

    /// Whether it is told of a repository.
    pub fn wants_repository(&self, name: &str) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(name.as_bytes(), None))
    }

    /// Whether it is told of a ref.
    pub fn wants_ref(&self, name: &[u8]) -> bool {
        self.refs.iter().any(|pattern| pattern.matches(name, None))
    }
}

/// What both sides know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) Vec<u8>);

impl Secret {
    /// Fewest bytes: what is guessed is none.
    const BYTES_MIN: usize = 16;

    /// From text: bytes as they are, or, behind `whsec_`, in base64. Line ends behind it do not count.
    ///
    /// # Errors
    /// Words about what is none.
    pub fn new(text: &str) -> Result<Self, NoHook> {
        let text = text.trim_end_matches(['\r', '\n']);
        let bytes = match text.strip_prefix("whsec_") {
            None => text.as_bytes().to_vec(),
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| NoHook("behind whsec_ a secret is base64".to_owned()))?,
        };
        match bytes.len() < Self::BYTES_MIN {
            true => Err(NoHook(format!("a secret has at least {} bytes", Self::BYTES_MIN))),
            false => Ok(Secret(bytes)),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How deliveries are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where what is to be sent is kept, and the log: a folder for this server alone.
    pub folder: PathBuf,
    /// How long one attempt may take, until the answer is there (10 s).
    pub timeout: Duration,
    /// Attempts of one receiver at the same time (4); of one repository there is one.
    pub at_once_max: usize,
    /// How long the first wait after a failure is at most (5 s); each further one is twice as long.
    pub retry_first: Duration,
    /// How long a wait is at most (1 h).
    pub retry_max: Duration,
    /// After how long a delivery is given up (3 days).
    pub give_up_after: Duration,
    /// Deliveries that wait for one receiver (10,000); what comes then is not told, and the log says so.
    pub pending_max: usize,
    /// Deliveries that were given up and are kept, of each receiver (1,000).
    pub failed_max: usize,
    /// Changed refs in one delivery (1,000); more are told in several.
    pub changes_max: usize,
    /// Bytes of an answer that go into the log (500).
    pub answer_bytes_max: usize,
    /// Repositories that are watched for [`Hears::Changes`] (1,000).
    pub watched_max: usize,
    /// How often it is looked for deliveries that another process has put into the folder (10 s).
    pub look: Duration,
    /// How often it is looked for repositories that were not there, where patterns name them (1 min).
    pub search: Duration,
}

impl Settings {
    /// The defaults.
    pub fn in_folder(folder: PathBuf) -> Self {
        Settings {
            folder,
            timeout: Duration::from_secs(10),
            at_once_max: 4,
            retry_first: Duration::from_secs(5),
            retry_max: Duration::from_secs(3600),
            give_up_after: Duration::from_secs(3 * 24 * 3600),
            pending_max: 10_000,
            failed_max: 1_000,
            changes_max: 1_000,
            answer_bytes_max: 500,
            watched_max: 1_000,
            look: Duration::from_secs(10),
            search: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_webhook_is_told_in_words() {
        let secret = || Secret::new("a secret of 24 letters..").expect("a secret");
        for (name, url) in [
            ("", "https://x/"),
            ("..", "https://x/"),
            ("a/b", "https://x/"),
            ("a", "ssh://x/y"),
            ("a", "https://x:y/z"),
            ("a", ""),
        ] {
            Hook::new(name, url, secret()).expect_err(url);
        }
        for (url, path) in [
            ("https://x", "/"),
            ("https://x/a/", "/a/"),
            ("http://x/a?b=c", "/a?b=c"),
            ("http://x?b", "/?b"),
        ] {
            assert_eq!(Hook::new("a", url, secret()).expect(url).url.path, path, "{url}");
        }
        Secret::new("fifteen letters\n").expect_err("too short");
        Secret::new("whsec_*").expect_err("no base64");
        let encoded = format!("whsec_{}\n", STANDARD.encode("a secret of 24 letters.."));
        assert_eq!(Secret::new(&encoded), Ok(secret()));
        assert_eq!(Secret::new("a secret of 24 letters..\r\n"), Ok(secret()));
        assert_eq!(format!("{:?}", secret()), "Secret");
    }
}
