//! The client library against this server and stock git's, on every road.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use client::{
    Connection, Credentials, Error, GitCredentials, Haves, HttpUrl, Login, NoHaves, Options,
    PackPart, Pending, RemoteRef, RemoteUrl, Ssh, Verdict, Watch, WatchEvent,
};
use object::{HashKind, ObjectId};
use testkit::{RealGit, free_port, wait_until};
use wire::v2::WatchRequest;
use wire::{
    FetchRequest, LsRefsRequest, PushCommand, PushReport, PushRequest, RefOutcome, Service,
};

use crate::serving::{Serving, packhorse};
use crate::ssh_client::SshClient;

/// A server with all its doors open.
struct Scene {
    server: Serving,
    ssh: SshClient,
    work: PathBuf,
    git: RealGit,
}

impl Scene {
    fn new() -> Self {
        let git = RealGit::new();
        let ssh = SshClient::new(&git);
        let work = git.path("work");
        git.ok(git.root(), &["init", "-q", "work"]);
        git.commit_file(&work, "file", "one");
        git.ok(&work, &["tag", "-a", "-m", "a tag", "v1"]);
        git.ok(&work, &["branch", "side"]);
        for name in ["r", "private"] {
            git.ok(git.root(), &["clone", "-q", "--bare", "work", &format!("srv/{name}.git")]);
        }
        let access = format!(
            "[users.ann]\nkeys = ['{}']\n[[rules]]\nrepositories = ['r']\nwho = ['anyone']\nallow = 'write'\n\
             [[rules]]\nrepositories = ['private']\nwho = ['ann']\nallow = 'write'\n",
            ssh.public_key().trim()
        );
        fs::write(git.path("access.toml"), access).expect("a file");
        let config = "[access]\nfile = 'access.toml'\n[git]\nlisten = '127.0.0.1:0'\nreceive_pack = true\n\
            [ssh]\nlisten = '127.0.0.1:0'\nhost_key = 'host_key'\n\
            [https]\nlisten = '127.0.0.1:0'\n[watch]\nheartbeat_ms = 100\n";
        fs::write(git.path("server.toml"), config).expect("a file");
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("server.toml"));
        command.env("XDG_STATE_HOME", git.path("state")).arg(git.path("srv"));
        let server = Serving::spawn(&git, command);
        Scene { server, ssh, work, git }
    }

    fn options(&self) -> Options {
        let mut options = Options {
            ssh: Ssh { command: Some(self.ssh.command().into()), ..Ssh::default() },
            ..Options::default()
        };
        options.http.verifies = false;
        options
    }

    /// Where a repository is, by each door.
    fn urls(&self, name: &str) -> Vec<String> {
        let https = format!("https://{}/{name}.git", self.server.https_authority());
        let ssh = format!("ssh://git@{}/{name}.git", self.server.ssh_authority());
        let name = format!("{name}.git");
        vec![self.server.url(&name), https, ssh, self.server.git_url(&name)]
    }

    fn open(&self, url: &str, service: Service) -> Result<Connection, Error> {
        let url: RemoteUrl = url.parse().expect("an address");
        run(Connection::open(&url, service, &self.options()))
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

fn listed(connection: &mut Connection, prefixes: &[&str]) -> Vec<RemoteRef> {
    let request = LsRefsRequest {
        symrefs: true,
        peel: true,
        prefixes: prefixes.iter().map(|prefix| BString::from(*prefix)).collect(),
        ..LsRefsRequest::default()
    };
    run(connection.ls_refs(&request)).expect("listed")
}

/// As `git for-each-ref` shows them.
fn shown(refs: &[RemoteRef]) -> Vec<String> {
    let id = |id: Option<ObjectId>| id.map_or_else(String::new, |id| id.to_hex());
    let one = |one: &RemoteRef| format!("{} {} {}", one.name, id(one.id), id(one.peeled));
    refs.iter().map(one).collect()
}

fn expected(git: &RealGit, dir: &Path) -> Vec<String> {
    let format = "--format=%(refname) %(objectname) %(*objectname)";
    git.ok(dir, &["for-each-ref", format]).lines().map(str::to_owned).collect()
}

/// History of a repository, from the newest on.
struct History(Vec<ObjectId>, Vec<ObjectId>);

impl History {
    fn of(git: &RealGit, dir: &Path) -> Self {
        let all = git.ok(dir, &["rev-list", "--all"]);
        let mut ids: Vec<_> = all.lines().map(id).collect();
        ids.reverse();
        History(ids, Vec::new())
    }
}

impl Haves for History {
    fn next(&mut self, most: usize) -> Vec<ObjectId> {
        let keep = self.0.len().saturating_sub(most);
        let mut more = self.0.split_off(keep);
        more.reverse();
        more
    }

    fn common(&mut self, id: ObjectId) {
        self.1.push(id);
    }
}

fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("an id")
}

/// Fetches into a repository; how many objects came.
fn fetch(
    git: &RealGit,
    mut connection: Connection,
    dir: &Path,
    haves: &mut dyn Haves,
) -> Result<u32, Error> {
    let refs = listed(&mut connection, &["refs/"]);
    let lacks = |id: &ObjectId| !git.run(dir, &["cat-file", "-e", &id.to_hex()]).status.success();
    let request = FetchRequest {
        wants: refs.iter().filter_map(|one| one.id).filter(lacks).collect(),
        ofs_delta: true,
        thin_pack: true,
        ..FetchRequest::default()
    };
    let pack = run(async {
        let (_, mut pack) = connection.fetch(request, haves).await?;
        let mut bytes = Vec::new();
        while let Some(part) = pack.next().await? {
            if let PackPart::Bytes(part) = part {
                bytes.extend_from_slice(&part);
            }
        }
        pack.close().await;
        Ok::<_, Error>(bytes)
    })?;
    git.ok_with_input(dir, &["index-pack", "--stdin", "--fix-thin"], &pack);
    for one in refs {
        let hex = one.id.expect("an id").to_hex();
        git.ok(dir, &["update-ref", &one.name.to_string(), &hex]);
    }
    git.fsck_strict(dir);
    Ok(u32::from_be_bytes(pack[8..12].try_into().expect("four bytes")))
}

/// Pushes what HEAD is to a branch.
fn push(git: &RealGit, work: &Path, connection: Connection, name: &str) -> PushReport {
    let new = git.rev_parse(work, "HEAD");
    let old = connection.advertised().refs.iter().find(|one| one.name == name);
    let old = old.and_then(|one| one.id).unwrap_or(ObjectId::null(HashKind::Sha1));
    let revisions = match old.is_null() {
        true => format!("{new}\n"),
        false => format!("{new}\n^{old}\n"),
    };
    let args = ["pack-objects", "-q", "--stdout", "--revs", "--thin", "--delta-base-offset"];
    let pack = git.run_with_input(work, &args, revisions.as_bytes()).stdout;
    let request = PushRequest {
        commands: vec![PushCommand { old, new, name: name.into() }],
        report_status: true,
        report_status_v2: true,
        side_band_64k: true,
        ofs_delta: true,
        ..PushRequest::default()
    };
    let pack: client::BoxRead = Box::new(std::io::Cursor::new(pack));
    run(connection.push(&request, Some(pack), &mut |_| {})).expect("a report")
}

fn took(report: &PushReport) -> bool {
    report.unpack.is_ok() && report.refs.iter().all(|one| matches!(one.outcome, RefOutcome::Ok(_)))
}

#[test]
fn refs_packs_and_pushes_by_every_door() {
    let scene = Scene::new();
    let git = &scene.git;
    for (number, url) in scene.urls("r").into_iter().enumerate() {
        let mut connection = scene.open(&url, Service::UploadPack).expect(&url);
        let served = git.path("srv/r.git");
        assert_eq!(shown(&listed(&mut connection, &["refs/"])), expected(git, &served), "{url}");
        // On the same connection.
        let head = listed(&mut connection, &["HEAD"]);
        assert_eq!(
            head[0].target.as_ref().map(|name| name.to_string()),
            Some("refs/heads/main".into())
        );
        run(connection.close());

        let copy = git.init_bare(format!("copy-{number}.git"));
        let connection = scene.open(&url, Service::UploadPack).expect(&url);
        let whole = fetch(git, connection, &copy, &mut NoHaves).expect(&url);
        git.commit_file(&scene.work, "file", format!("commit {number}"));
        let branch = format!("refs/heads/pushed-{number}");
        let connection = scene.open(&url, Service::ReceivePack).expect(&url);
        assert!(took(&push(git, &scene.work, connection, &branch)), "{url}");
        assert_eq!(git.rev_parse(&served, &branch), git.rev_parse(&scene.work, "HEAD"));
        git.fsck_strict(&served);
        // What both have does not come again.
        let mut haves = History::of(git, &copy);
        let connection = scene.open(&url, Service::UploadPack).expect(&url);
        let little = fetch(git, connection, &copy, &mut haves).expect(&url);
        assert!(!haves.1.is_empty());
        assert_eq!((whole, little), (4, 3 * (number as u32 + 1)));
        assert_eq!(git.refs(&copy), git.refs(&served));
        // Somebody else was first.
        let connection = scene.open(&url, Service::ReceivePack).expect(&url);
        git.ok(&served, &["update-ref", &branch, "main"]);
        let report = push(git, &scene.work, connection, &branch);
        assert!(!took(&report), "{report:?}");
    }
}

#[test]
fn long_histories_are_negotiated() {
    let scene = Scene::new();
    let git = &scene.git;
    let copy = git.init_bare("copy.git");
    let url = scene.server.url("r.git");
    let open = || scene.open(&url, Service::UploadPack).expect("reached");
    fetch(git, open(), &copy, &mut NoHaves).expect("fetched");
    // Each side has what the other lacks.
    let many = |dir: &Path, name: &str| {
        let mut stream = String::new();
        for number in 0..600 {
            let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
            stream.push_str(&format!(
                "commit refs/heads/{name}\ncommitter A <a@example.org> {} +0000\ndata {}\n{name}\n{from}\n",
                1_800_000_000 + number,
                name.len()
            ));
        }
        git.ok_with_input(dir, &["fast-import", "--quiet"], stream.as_bytes());
    };
    many(&copy, "ours");
    many(&git.path("srv/r.git"), "theirs");
    let mut haves = History::of(git, &copy);
    fetch(git, open(), &copy, &mut haves).expect("fetched");
    let (ours, theirs) = (git.rev_parse(&copy, "ours"), git.rev_parse(&copy, "theirs"));
    assert_ne!(ours, theirs);
    assert!(haves.1.contains(&git.rev_parse(&copy, "main")));
}

#[test]
fn servers_of_others_are_understood() {
    let scene = Scene::new();
    let git = &scene.git;
    let served = git.path("srv/r.git");
    // A folder, through git's own programs; git-daemon; and one that speaks version 0 only.
    let port = free_port();
    // `git daemon` would be a program more, which outlives it.
    let mut daemon =
        Command::new(Path::new(&git.ok(git.root(), &["--exec-path"])).join("git-daemon"));
    git.isolate(&mut daemon);
    daemon.args(["--export-all", "--enable=receive-pack", "--listen=127.0.0.1"]);
    daemon.args([format!("--port={port}"), format!("--base-path={}", git.path("srv").display())]);
    let mut daemon = daemon.spawn().expect("git has a daemon");
    wait_until("git-daemon", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let urls = [served.display().to_string(), format!("git://127.0.0.1:{port}/r.git")];
    for (number, url) in urls.iter().enumerate() {
        let mut connection = scene.open(url, Service::UploadPack).expect(url);
        assert!(!connection.can_watch());
        assert_eq!(shown(&listed(&mut connection, &["refs/"])), expected(git, &served), "{url}");
        run(connection.close());
        let copy = git.init_bare(format!("copy-{number}.git"));
        let connection = scene.open(url, Service::UploadPack).expect(url);
        fetch(git, connection, &copy, &mut NoHaves).expect(url);
        git.commit_file(&scene.work, "file", format!("commit {number}"));
        let branch = format!("refs/heads/pushed-{number}");
        let connection = scene.open(url, Service::ReceivePack).expect(url);
        assert!(took(&push(git, &scene.work, connection, &branch)), "{url}");
        assert_eq!(git.rev_parse(&served, &branch), git.rev_parse(&scene.work, "HEAD"));
    }
    daemon.kill().and_then(|()| daemon.wait()).expect("it ran");
    let old = git.path("old-git");
    fs::write(&old, "#!/bin/sh\nunset GIT_PROTOCOL\nexec git \"$@\"\n").expect("a file");
    testkit_executable(&old);
    let options = Options { git: old.into(), ..scene.options() };
    let url: RemoteUrl = urls[0].parse().expect("an address");
    let mut connection =
        run(Connection::open(&url, Service::UploadPack, &options)).expect("reached");
    assert_eq!(shown(&listed(&mut connection, &["refs/"])), expected(git, &served));
    let error = run(connection.fetch(FetchRequest::default(), &mut NoHaves)).err();
    assert!(matches!(error, Some(Error::Unsupported(_))), "{error:?}");
}

fn testkit_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file");
}

fn watch(connection: Connection, since: Option<BString>) -> Watch {
    let request = WatchRequest { since, prefixes: vec!["refs/heads/".into()] };
    run(connection.watch(&request)).expect("watched")
}

fn next(watch: &mut Watch) -> WatchEvent {
    let next = async { tokio::time::timeout(testkit::HUNG, watch.next()).await };
    run(next).expect("in time").expect("an event")
}

#[test]
fn changes_are_told_by_every_door() {
    let scene = Scene::new();
    let git = &scene.git;
    let mut stdio = tokio::process::Command::from(packhorse(git));
    stdio.arg("upload-pack").arg(git.path("srv/r.git")).env("GIT_PROTOCOL", "version=2");
    stdio.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut over = None;
    let connection = run(async {
        let mut child = stdio.kill_on_drop(true).spawn().expect("it runs");
        let streams = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        over = Some(child);
        let (read, write) = (Box::new(streams.0), Box::new(streams.1));
        Connection::over(read, write, Service::UploadPack, &scene.options()).await
    });
    let mut connections = vec![connection.expect("reached")];
    for url in scene.urls("r") {
        connections.push(scene.open(&url, Service::UploadPack).expect(&url));
    }
    let mut watches: Vec<Watch> = connections
        .into_iter()
        .map(|connection| {
            assert!(connection.can_watch());
            watch(connection, None)
        })
        .collect();
    for watch in &mut watches {
        assert!(matches!(next(watch), WatchEvent::At(_)));
    }
    // Signs of life are no events.
    std::thread::sleep(Duration::from_millis(300));
    git.commit_file(&scene.work, "file", "two");
    git.ok(
        &scene.work,
        &["push", "-q", &scene.server.url("r.git"), "HEAD:main", "HEAD:refs/tags/t"],
    );
    let new = git.rev_parse(&scene.work, "HEAD").to_hex();
    let mut cursor = None;
    for watch in &mut watches {
        let (at, moves) = loop {
            match next(watch) {
                WatchEvent::Moved(at, moves) => break (at, moves),
                WatchEvent::Passed(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(moves.len(), 1);
        assert_eq!(moves[0].name, "refs/heads/main");
        assert_eq!(moves[0].new.as_ref().map(|id| id.to_string()), Some(new.clone()));
        cursor = Some(at);
    }
    // Whoever comes back with the last cursor has missed no branch; the tag may have been told after it.
    drop(watches);
    let connection = scene.open(&scene.urls("r")[0], Service::UploadPack).expect("reached");
    let event = next(&mut watch(connection, cursor));
    assert!(matches!(event, WatchEvent::At(_) | WatchEvent::Passed(_)), "{event:?}");
}

/// One login.
struct Known(Login, std::sync::Mutex<Vec<Verdict>>);

impl Credentials for Known {
    fn find<'a>(&'a self, _url: &'a HttpUrl) -> Pending<'a, Option<Login>> {
        Box::pin(std::future::ready(Some(self.0.clone())))
    }

    fn tell<'a>(&'a self, _: &'a HttpUrl, _: &'a Login, is: Verdict) -> Pending<'a, ()> {
        self.1.lock().expect("nobody panics").push(is);
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn logins_come_from_those_who_know_them() {
    let scene = Scene::new();
    let git = &scene.git;
    let mut command = packhorse(git);
    command.args(["token", "add", "ann", "--access"]).arg(git.path("access.toml"));
    let made = command.output().expect("it runs");
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let token = said.split_whitespace().find(|word| word.starts_with("ph")).expect("a token");
    let url = scene.server.url("private.git");
    let open = |url: &str, options: &Options| {
        let url: RemoteUrl = url.parse().expect("an address");
        run(Connection::open(&url, Service::UploadPack, options)).map(drop)
    };
    let error = open(&url, &scene.options()).expect_err("nobody");
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    let with = |password: &str| {
        let login = Login { user: "ann".into(), password: password.into() };
        let known = Arc::new(Known(login, Default::default()));
        let options = Options { credentials: known.clone(), ..scene.options() };
        let opened = open(&url, &options);
        (opened, known.1.lock().expect("nobody panics").clone())
    };
    let good = || with(token).0.is_ok();
    wait_until("the token is known", good);
    assert_eq!(with(token).1, [Verdict::Good]);
    let (wrong, verdicts) = with("wrong");
    assert!(matches!(wrong, Err(Error::Unauthorized { .. })), "{wrong:?}");
    assert_eq!(verdicts, [Verdict::Bad]);
    // In the address, and from git's helpers.
    let login = format!("http://ann:{token}@");
    open(&url.replacen("http://", &login, 1), &scene.options()).expect("let in");
    let helper = format!("!f() {{ echo username=ann; echo password={token}; }}; f");
    git.ok(&scene.work, &["config", "credential.helper", &helper]);
    let script = git.path("git");
    let home = git.home();
    let text = format!("#!/bin/sh\nHOME='{}' exec git \"$@\"\n", home.display());
    fs::write(&script, text).expect("a file");
    testkit_executable(&script);
    let credentials =
        GitCredentials { git: script.into(), repository: scene.work.clone(), may_ask: false };
    let options = Options { credentials: Arc::new(credentials), ..scene.options() };
    open(&url, &options).expect("let in");
}

#[test]
fn what_goes_wrong_is_said() {
    let scene = Scene::new();
    let git = &scene.git;
    let said = |url: &str| scene.open(url, Service::UploadPack).err().expect(url).to_string();
    let closed = format!("127.0.0.1:{}", free_port());
    for (url, words) in [
        (scene.server.url("nothing.git"), "wants a login"),
        (scene.server.git_url("nothing.git"), "remote error: "),
        (scene.urls("nothing")[2].clone(), "ssh: fatal: repository 'nothing' not found"),
        (git.path("nothing").display().to_string(), "does not appear to be a git repository"),
        (format!("http://{closed}/x"), "cannot connect to 127.0.0.1"),
        (format!("git://{closed}/x"), "cannot connect to 127.0.0.1"),
        (format!("ssh://{closed}/x"), "onnection refused"),
        (format!("https://{}/r", scene.server.git_authority()), "no TLS with 127.0.0.1"),
        ("foo::bar".to_owned(), "git-remote-foo"),
        (scene.server.url("r.git/x"), "wants a login"),
    ] {
        let error = said(&url);
        assert!(error.contains(words), "{url}: {error}");
    }
    // Nobody is trusted only because he has a certificate.
    let mut options = scene.options();
    options.http.verifies = true;
    let url: RemoteUrl = scene.urls("r")[1].parse().expect("an address");
    let error = run(Connection::open(&url, Service::UploadPack, &options)).err().expect("refused");
    assert!(
        error.to_string().contains("no TLS with 127.0.0.1: invalid peer certificate"),
        "{error}"
    );
}
