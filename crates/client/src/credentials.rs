//! Logins for HTTP, from whoever knows them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::url::HttpUrl;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: String,
    /// What he knows.
    pub password: String,
}

/// Without the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a login turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The server took it.
    Good,
    /// The server did not.
    Bad,
}

/// An answer that takes a while.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who knows logins.
pub trait Credentials: Send + Sync {
    /// A login for an address, if there is one.
    fn find<'a>(&'a self, url: &'a HttpUrl) -> Pending<'a, Option<Login>>;

    /// What became of a login that was found.
    fn tell<'a>(&'a self, url: &'a HttpUrl, login: &'a Login, is: Verdict) -> Pending<'a, ()>;
}

/// Nobody knows any.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn find<'a>(&'a self, _url: &'a HttpUrl) -> Pending<'a, Option<Login>> {
        Box::pin(std::future::ready(None))
    }

    fn tell<'a>(&'a self, _url: &'a HttpUrl, _login: &'a Login, _: Verdict) -> Pending<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Git's helpers, as a repository and its user have configured them (git-credential(1)).
#[derive(Debug, Clone)]
pub struct GitCredentials {
    /// The git that is run.
    pub git: OsString,
    /// The repository.
    pub repository: PathBuf,
    /// Whether git may ask at the terminal.
    pub may_ask: bool,
}

impl GitCredentials {
    async fn run(&self, verb: &str, description: String) -> Option<String> {
        let mut command = Command::new(&self.git);
        command.args(["credential", verb]).current_dir(&self.repository);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if !self.may_ask {
            command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "true");
        }
        command.kill_on_drop(true);
        let mut child = command.spawn().ok()?;
        let mut stdin = child.stdin.take()?;
        // It may know without reading it all.
        let _ = stdin.write_all(description.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// What git-credential(1) is told of an address.
fn description(url: &HttpUrl, login: Option<&Login>) -> String {
    let mut text = String::new();
    let path = url.path.trim_start_matches('/');
    // Nothing can go wrong when a String is written to.
    let _ = writeln!(text, "protocol={}\nhost={}\npath={path}", url.scheme(), url.authority());
    match (login, &url.user) {
        (Some(Login { user, password }), _) => {
            let _ = writeln!(text, "username={user}\npassword={password}");
        }
        (None, Some(user)) => {
            let _ = writeln!(text, "username={user}");
        }
        (None, None) => {}
    }
    text.push('\n');
    text
}

fn login(said: &str) -> Option<Login> {
    let value = |key: &str| {
        let line = said.lines().find(|line| line.starts_with(key))?;
        line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)
    };
    let (user, password) = (value("username")?, value("password")?);
    (!password.is_empty()).then_some(Login { user, password })
}

impl Credentials for GitCredentials {
    fn find<'a>(&'a self, url: &'a HttpUrl) -> Pending<'a, Option<Login>> {
        Box::pin(async move { login(&self.run("fill", description(url, None)).await?) })
    }

    fn tell<'a>(&'a self, url: &'a HttpUrl, login: &'a Login, is: Verdict) -> Pending<'a, ()> {
        let verb = match is {
            Verdict::Good => "approve",
            Verdict::Bad => "reject",
        };
        Box::pin(async move {
            let _ = self.run(verb, description(url, Some(login))).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_told_and_heard() {
        let Ok(crate::RemoteUrl::Http(url)) = "https://ann@h:1/a/b".parse() else { panic!() };
        assert_eq!(description(&url, None), "protocol=https\nhost=h:1\npath=a/b\nusername=ann\n\n");
        let found = login("protocol=https\nusername=ann\npassword=x=y\nquit=0\n");
        assert_eq!(found, Some(Login { user: "ann".into(), password: "x=y".into() }));
        assert_eq!(login("username=ann\npassword=\n"), None);
        let shown = format!("{found:?}");
        assert!(!shown.contains("x=y"), "{shown}");
    }
}
