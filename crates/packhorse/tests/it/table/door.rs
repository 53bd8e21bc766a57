//! The doors: how stock git gets to repositories, and where they are.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use object::HashKind;
use testkit::{RealGit, ServerProcess, WatchSource, watch_request};

use super::{SHA256, TABLE};
use crate::daemon::Daemon;
use crate::http_backend::web_server;
use crate::serving::{Serving, packhorse};
use crate::ssh_client::SshClient;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packhorse");
/// A user and a password, where a web server asks for them.
const LOGIN: &str = "ann:secret";

/// How stock git gets to repositories, and where they are.
pub struct Door {
    way: Way,
    pub place: Place,
    // Goes last: servers have files in its folder.
    pub git: RealGit,
}

/// Where the repositories are.
#[derive(Debug, Clone)]
pub enum Place {
    Folder(PathBuf),
    Store(String),
}

enum Way {
    /// A server.
    Http(Serving),
    /// A server, encrypted, and its certificate.
    Https(Serving, PathBuf),
    /// A server, by git://.
    Git(Serving),
    /// A server, by OpenSSH's client.
    Ssh(Serving, SshClient),
    /// git-daemon's place, by git://.
    Daemon(Daemon),
    /// git-http-backend's place, behind a web server.
    Cgi(ServerProcess),
    /// A program for each connection, started as ssh would start it on a host.
    Stdio,
}

impl Place {
    /// A store's URL, where `{}` stands for the scratch folder; without one, a folder in there.
    fn new(git: &RealGit, store: Option<&str>) -> Self {
        // Off unless somebody turns it on.
        git.ok(git.root(), &["config", "--global", "uploadpack.allowFilter", "true"]);
        git.ok(git.root(), &["config", "--global", "http.uploadarchive", "true"]);
        match store {
            Some(store) => Place::Store(store.replace("{}", &git.root().display().to_string())),
            None => {
                let folder = git.path("srv");
                fs::create_dir(&folder).expect("a folder");
                Place::Folder(folder)
            }
        }
    }

    /// Whether one program at a time has it open.
    fn is_exclusive(&self) -> bool {
        matches!(self, Place::Store(store) if store.starts_with("kv:"))
    }

    /// The arguments that name a repository to a program.
    fn arguments(&self, name: &str) -> Vec<String> {
        match self {
            Place::Folder(folder) => vec![folder.join(name).display().to_string()],
            Place::Store(store) => vec!["--store".to_owned(), store.clone(), name.to_owned()],
        }
    }

    /// Puts a repository in that no push makes.
    fn seed(&self, git: &RealGit) {
        match self {
            Place::Folder(folder) => {
                git.init_bare_of(folder.join(SHA256), HashKind::Sha256);
            }
            Place::Store(store) => {
                let seed = git.init_bare_of("seed", HashKind::Sha256);
                let mut command = packhorse(git);
                command.args(["repo", "import", "--quiet", "--store", store]).arg(seed).arg(SHA256);
                let output = command.output().expect("the program runs");
                assert!(output.status.success(), "{output:?}");
            }
        }
    }
}

impl Door {
    /// A server that takes pushes over git:// as well.
    pub fn git(store: Option<&str>) -> Self {
        let door = Self::http(store);
        let Way::Http(server) = door.way else { unreachable!("just made") };
        Door { way: Way::Git(server), ..door }
    }

    /// A server.
    pub fn http(store: Option<&str>) -> Self {
        let git = RealGit::new();
        let place = Place::new(&git, store);
        place.seed(&git);
        let mut command = packhorse(&git);
        command.args(["serve", "--create-on-push", "--listen", "127.0.0.1:0"]);
        let config = git.path("server.toml");
        fs::write(
            &config,
            "[git]\nlisten = '127.0.0.1:0'\nreceive_pack = true\nupload_archive = true\n",
        )
        .expect("a file");
        command.arg("--config").arg(&config);
        match &place {
            Place::Folder(folder) => command.arg(folder),
            Place::Store(store) => command.args(["--store", store]),
        };
        let server = Serving::spawn(&git, command);
        Door { git, place, way: Way::Http(server) }
    }

    /// A server, encrypted.
    pub fn https(store: Option<&str>) -> Self {
        let git = RealGit::new();
        let place = Place::new(&git, store);
        place.seed(&git);
        let mut command = packhorse(&git);
        command.args(["serve", "--create-on-push", "--https", "127.0.0.1:0"]);
        command.env("XDG_STATE_HOME", git.root());
        match &place {
            Place::Folder(folder) => command.arg(folder),
            Place::Store(store) => command.args(["--store", store]),
        };
        let server = Serving::spawn_https(&git, command);
        let certificate = git.path("packhorse/tls_certificate.pem");
        let trusted = certificate.to_str().expect("text");
        git.ok(git.root(), &["config", "--global", "http.sslCAInfo", trusted]);
        Door { git, place, way: Way::Https(server, certificate) }
    }

    /// A server that accounts log in to with their keys.
    pub fn ssh(store: Option<&str>) -> Self {
        let git = RealGit::new();
        let client = SshClient::new(&git);
        let git = git.env("GIT_SSH_COMMAND", client.command()).env("GIT_SSH_VARIANT", "ssh");
        let place = Place::new(&git, store);
        place.seed(&git);
        let access = format!(
            "[users.ann]\nkeys = ['{}']\n[[rules]]\nrepositories = ['**']\nwho = ['ann']\nallow = 'create'\n",
            client.public_key().trim()
        );
        fs::write(git.path("access.toml"), access).expect("a file");
        let config = git.path("server.toml");
        let text = "[access]\nfile = 'access.toml'\n[ssh]\nlisten = '127.0.0.1:0'\nhost_key = 'host_key'\n";
        fs::write(&config, text).expect("a file");
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config);
        match &place {
            Place::Folder(folder) => command.arg(folder),
            Place::Store(store) => command.args(["--store", store]),
        };
        let server = Serving::spawn(&git, command);
        Door { git, place, way: Way::Ssh(server, client) }
    }

    /// git's own daemon, replaced. Nobody makes repositories by pushing to it.
    pub fn daemon() -> Self {
        let (git, place) = with_all_repositories();
        let base = format!("--base-path={}", git.path("srv").display());
        let enable = ["--enable=receive-pack", "--enable=upload-archive"];
        let daemon = Daemon::start(&git, &[&base, "--export-all", enable[0], enable[1]]);
        Door { git, place, way: Way::Daemon(daemon) }
    }

    /// git's own program for web servers, replaced.
    pub fn cgi() -> Self {
        let (git, place) = with_all_repositories();
        let server = web_server(&git);
        Door { git, place, way: Way::Cgi(server) }
    }

    /// Programs that speak on standard input and output.
    pub fn stdio(store: Option<&str>) -> Self {
        let git = RealGit::new();
        let script = git.path("ssh");
        let command = script.display().to_string();
        let git = git.env("GIT_SSH_COMMAND", command).env("GIT_SSH_VARIANT", "ssh");
        let place = Place::new(&git, store);
        place.seed(&git);
        let run = match &place {
            Place::Folder(folder) => {
                let folder = folder.display();
                format!(
                    "test $service = upload-pack || test -d '{folder}'/\"$name\" || git init -q --bare '{folder}'/\"$name\"\n\
                     exec '{PROGRAM}' $service '{folder}'/\"$name\"\n"
                )
            }
            Place::Store(store) => format!(
                "test $service = receive-pack && set -- --create-on-push\n\
                 exec '{PROGRAM}' $service --store '{store}' \"$@\" \"$name\"\n"
            ),
        };
        // The last argument is what git would have a host run: the service, and a quoted path.
        let head = "#!/bin/sh\nfor command; do :; done\neval \"set -- $command\"\n\
                    service=${1#git-}\nname=$2\nset --\n";
        fs::write(&script, format!("{head}{run}")).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
        Door { git, place, way: Way::Stdio }
    }

    /// Whether names are paths of the machine, which lead where they lead.
    pub fn takes_paths(&self) -> bool {
        matches!((&self.place, &self.way), (Place::Folder(_), Way::Stdio))
    }

    /// Whether who comes back is told what happened meanwhile; a program that ends remembers nothing.
    pub fn remembers(&self) -> bool {
        !matches!(self.way, Way::Stdio)
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        match &self.way {
            Way::Http(server) => server.url(name),
            Way::Https(server, _) => format!("https://{}/{name}", server.https_authority()),
            Way::Git(server) => server.git_url(name),
            Way::Ssh(server, _) => format!("ssh://git@{}/{name}", server.ssh_authority()),
            Way::Daemon(daemon) => daemon.url(&format!("/{name}")),
            Way::Cgi(server) => format!("http://{LOGIN}@{}/{name}", server.authority()),
            Way::Stdio => format!("ssh://host/{name}"),
        }
    }

    /// Where events come from, of doors that tell of them.
    pub fn events(&self, name: &str) -> Option<String> {
        match &self.way {
            Way::Http(server) => Some(server.url(&format!("{name}/events"))),
            _ => None,
        }
    }

    /// What becomes of refs by the command `packhorse-watch`, of doors that have it.
    pub fn watching(&self, name: &str, since: Option<&str>) -> Option<WatchSource> {
        let body = watch_request(since, &["refs/"]);
        let post = || {
            let head = post("upload-pack", name, body.len());
            head.replacen("\r\n", "\r\nGit-Protocol: version=2\r\n", 1)
        };
        let mut source = match &self.way {
            Way::Http(server) => {
                let answer = testkit::long_answer(server.authority(), &post(), &body);
                return Some(WatchSource::new(answer.expect("subscribed"), None));
            }
            Way::Https(server, certificate) => {
                let sent = [post().as_bytes(), &body].concat();
                let authority = server.https_authority();
                let answer = crate::raw::stream_encrypted(&authority, certificate, &sent);
                let chunks = testkit::long_answer_of(answer).expect("subscribed");
                return Some(WatchSource::new(chunks, None));
            }
            Way::Git(server) => {
                let asked = format!("git-upload-pack /{name}\0host=x\0\0version=2\0");
                let mut stream = TcpStream::connect(server.git_authority()).expect("it listens");
                let sent = [crate::raw::packet(asked), body].concat();
                stream.write_all(&sent).expect("it reads");
                WatchSource::new(stream, None)
            }
            Way::Ssh(server, client) => {
                let mut command = client.to(&self.git, &server.ssh_authority());
                command.args(["-o", "SendEnv=GIT_PROTOCOL"]);
                command.arg(format!("git-upload-pack '{name}'"));
                spawned(command, &body)
            }
            // Who watches would keep everybody else from it.
            Way::Stdio if self.place.is_exclusive() => return None,
            Way::Stdio => {
                let mut command = packhorse(&self.git);
                command.arg("upload-pack").args(self.place.arguments(name));
                spawned(command, &body)
            }
            Way::Daemon(_) | Way::Cgi(_) => return None,
        };
        let offered = source.next_group().expect("an advertisement");
        assert!(offered.iter().any(|line| line == "packhorse-watch"), "{offered:?}");
        Some(source)
    }

    /// Sends one round of a service as it is, and gives what came back before the door closed.
    pub fn round(&self, service: &str, name: &str, body: &[u8]) -> String {
        let answer = match &self.way {
            Way::Http(server) => server.post(name, &format!("git-{service}"), &[], body).body,
            Way::Https(server, certificate) => {
                let (authority, head) = (server.https_authority(), post(service, name, body.len()));
                crate::raw::send_encrypted(&authority, certificate, &head, body).body
            }
            Way::Git(server) => git_round(&server.git_authority(), service, name, body),
            Way::Daemon(daemon) => git_round(&daemon.authority(), service, name, body),
            Way::Cgi(server) => {
                let head = post_as_user(service, name, body.len());
                crate::raw::send(server.authority(), &head, body).body
            }
            Way::Ssh(server, client) => {
                let command = format!("git-{service} '{name}'");
                client.run(&self.git, &server.ssh_authority(), &command, body).0.into_bytes()
            }
            Way::Stdio => {
                let request = self.git.path("request");
                fs::write(&request, body).expect("a file");
                let mut command = packhorse(&self.git);
                command.args([service, "--stateless-rpc"]).args(self.place.arguments(name));
                command.stdin(fs::File::open(&request).expect("a file")).stderr(Stdio::null());
                command.output().expect("the program runs").stdout
            }
        };
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends the start of a round over a connection that breaks then.
    pub fn broken_round(&self, service: &str, name: &str, announced: usize, start: &[u8]) {
        match &self.way {
            Way::Https(server, certificate) => {
                let head = post(service, name, announced);
                let bytes = [head.as_bytes(), start].concat();
                crate::raw::send_and_cut_encrypted(&server.https_authority(), certificate, &bytes);
            }
            Way::Http(server) => {
                let head = post(service, name, announced);
                crate::raw::send_and_cut(server.authority(), &[head.as_bytes(), start].concat());
            }
            Way::Cgi(server) => {
                let head = post_as_user(service, name, announced);
                crate::raw::send_and_cut(server.authority(), &[head.as_bytes(), start].concat());
            }
            Way::Git(_) | Way::Daemon(_) | Way::Ssh(..) | Way::Stdio => {
                drop(self.round(service, name, start))
            }
        }
    }
}

/// A program that is asked to tell.
fn spawned(mut command: Command, body: &[u8]) -> WatchSource {
    command.env("GIT_PROTOCOL", "version=2").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // It ends when nobody holds this any more.
    let mut input = child.stdin.take().expect("piped");
    input.write_all(body).expect("it reads");
    child.stdin = Some(input);
    let output = child.stdout.take().expect("piped");
    WatchSource::new(output, Some(child))
}

/// The head of a request of a smart client.
fn post(service: &str, name: &str, length: usize) -> String {
    let content_type = format!("application/x-git-{service}-request");
    let headers = [("Content-Type", content_type.as_str())];
    crate::raw::head("POST", &format!("/{name}/git-{service}"), &headers, Some(length))
}

/// A folder with an empty repository for every row.
fn with_all_repositories() -> (RealGit, Place) {
    let git = RealGit::new();
    let place = Place::new(&git, None);
    place.seed(&git);
    for (name, _) in TABLE.iter().filter(|(name, _)| *name != "sha256") {
        git.init_bare(format!("srv/of/{name}.git"));
    }
    (git, place)
}

/// [`post`], by somebody whom the web server knows.
fn post_as_user(service: &str, name: &str, length: usize) -> String {
    let head = post(service, name, length);
    // LOGIN in base64.
    head.replacen("\r\n", "\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n", 1)
}

fn git_round(authority: &str, service: &str, name: &str, body: &[u8]) -> Vec<u8> {
    let head = crate::raw::git_head(service, name);
    crate::raw::send_and_end(authority, &[head.as_bytes(), body].concat())
}
