//! git-http-backend's place: requests answered side by side with git's own program, and stock git through a
//! web server that runs ours.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use testkit::{RealGit, Scenario, ServerProcess};

use crate::raw::push_body;
use crate::serving::{pack_of, packhorse};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packhorse");

/// Our program and git's, where git has one.
fn programs(git: &RealGit) -> (PathBuf, Option<PathBuf>) {
    let ours = git.path("git-http-backend");
    if !ours.exists() {
        symlink(PROGRAM, &ours).expect("a link");
    }
    let theirs = PathBuf::from(git.ok(git.root(), &["--exec-path"])).join("git-http-backend");
    (ours, theirs.exists().then_some(theirs))
}

/// Runs one request.
fn ask(git: &RealGit, program: &Path, set: &[(&str, &str)], body: &[u8]) -> Output {
    let mut command = Command::new(program);
    git.isolate(&mut command);
    for name in ["GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        command.env_remove(name);
    }
    command.env("GIT_PROJECT_ROOT", git.path("srv")).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REQUEST_METHOD", "GET").env("GIT_USER_AGENT", "git/0");
    for (name, value) in set {
        match *value {
            "-" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    // It may answer without having read it.
    let _ = input.write_all(body);
    drop(input);
    child.wait_with_output().expect("it ends")
}

/// Headers, of which the last counts, and the body.
fn parsed(output: &Output) -> (BTreeMap<String, String>, Vec<u8>) {
    let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {output:?}"));
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let headers = head.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_owned(), value.to_owned())
    });
    (headers.collect(), output.stdout[end + 4..].to_vec())
}

fn status(output: &Output) -> String {
    parsed(output).0.remove("Status").unwrap_or_else(|| "200 OK".to_owned())
}

fn repository(git: &RealGit) -> PathBuf {
    let source = Scenario::linear(3).build(git, "source.git");
    let origin = git.path("srv/r.git");
    git.ok(git.root(), &["init", "-q", "--bare", "-b", "main", "srv/r.git"]);
    git.ok(&source, &["tag", "-a", "-m", "one", "v1", "main"]);
    let url = origin.display().to_string();
    git.ok(&source, &["push", "-q", &url, "main", "v1"]);
    git.ok(&origin, &["repack", "-adq"]);
    let work = git.clone(&origin, "work", &["-q"]);
    git.commit_file(&work, "new", "new");
    git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/loose"]);
    fs::write(origin.join("objects/info/alternates"), "").expect("a file");
    origin
}

/// The first file below a folder of the repository with this ending.
fn file_below(origin: &Path, folder: &str, ending: &str) -> String {
    let mut found: Vec<_> = fs::read_dir(origin.join(folder))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(ending))
        .collect();
    found.sort();
    format!("{folder}/{}", found.first().expect("a file"))
}

#[test]
fn answers_are_those_of_git() {
    let git = RealGit::new();
    let origin = repository(&git);
    let (ours, Some(theirs)) = programs(&git) else { return println!("git has no http-backend") };
    let folder = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name.len() == 2).then(|| format!("objects/{name}"))
    };
    let loose = fs::read_dir(origin.join("objects")).expect("a folder").flatten();
    let loose = loose.filter_map(folder).min().expect("a loose object");
    let get = |path: &str| vec![("PATH_INFO", format!("/r.git/{path}"))];
    let mut table: Vec<Vec<(&str, String)>> = [
        "HEAD",
        "info/refs",
        "objects/info/packs",
        "objects/info/alternates",
        "objects/info/http-alternates",
        &file_below(&origin, &loose, ""),
        &file_below(&origin, "objects/pack", ".pack"),
        &file_below(&origin, "objects/pack", ".idx"),
        "objects/pack/pack-0000000000000000000000000000000000000000.pack",
        "objects/00/00000000000000000000000000000000000000",
        "objects/0a/0",
        "refs/heads/main",
        "config",
        "git-upload-pack",
        "../r.git/HEAD",
        "./HEAD",
        "/HEAD",
        "",
    ]
    .into_iter()
    .map(get)
    .collect();
    let with = |path: &str, more: &[(&'static str, &str)]| {
        let mut set = get(path);
        set.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        set
    };
    for service in ["upload-pack", "receive-pack"] {
        for version in ["-", "version=0", "version=1", "version=2", "x:version=2"] {
            let query = format!("service=git-{service}");
            let set = [("QUERY_STRING", &*query), ("HTTP_GIT_PROTOCOL", version)];
            table.push(with("info/refs", &set));
            table.push(with("info/refs", &[&set[..], &[("REMOTE_USER", "me")]].concat()));
        }
    }
    let upload = "application/x-git-upload-pack-request";
    let post = [("REQUEST_METHOD", "POST"), ("CONTENT_TYPE", upload)];
    table.extend([
        with("info/refs", &[("QUERY_STRING", "service=git-upload-pac")]),
        with("info/refs", &[("QUERY_STRING", "service=")]),
        with("info/refs", &[("QUERY_STRING", "a=b&service=git%2dupload-pack")]),
        with("info/refs", &[("QUERY_STRING", "service=git-upload-archive")]),
        with("HEAD", &[("REQUEST_METHOD", "HEAD")]),
        with("info/refs", &[("REQUEST_METHOD", "HEAD")]),
        with("HEAD", &[("REQUEST_METHOD", "POST"), ("SERVER_PROTOCOL", "HTTP/1.1")]),
        with("HEAD", &[("REQUEST_METHOD", "POST"), ("SERVER_PROTOCOL", "HTTP/1.0")]),
        with("HEAD", &[("REQUEST_METHOD", "-")]),
        with("git-upload-pack", &[("SERVER_PROTOCOL", "HTTP/1.1")]),
        with("git-upload-pack", &[("REQUEST_METHOD", "POST")]),
        with("git-upload-pack", &[("REQUEST_METHOD", "POST"), ("CONTENT_TYPE", "x\"y")]),
        with("git-receive-pack", &[("REQUEST_METHOD", "POST")]),
        with("git-receive-pack", &[("REQUEST_METHOD", "POST"), ("REMOTE_USER", "")]),
        with("git-receive-pack", &[("REQUEST_METHOD", "POST"), ("REMOTE_USER", "me")]),
        with("git-upload-archive", &[("REQUEST_METHOD", "POST")]),
        with("git-upload-archive", &[("REQUEST_METHOD", "POST"), ("REMOTE_USER", "me")]),
        with("HEAD", &[("GIT_HTTP_EXPORT_ALL", "-")]),
        with("HEAD", &[("GIT_PROJECT_ROOT", "-")]),
        with("HEAD", &[("GIT_PROJECT_ROOT", "/none")]),
        with("HEAD", &[("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"), ("HOME", "/none")]),
        with("git-upload-pack", &[post[0], post[1], ("CONTENT_LENGTH", "4")]),
    ]);
    for set in &table {
        let set: Vec<_> = set.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (our, their) = (ask(&git, &ours, &set, b"0000"), ask(&git, &theirs, &set, b"0000"));
        let ((mut heads, body), (mut theirs, their_body)) = (parsed(&our), parsed(&their));
        assert_eq!(heads.get("Status"), theirs.get("Status"), "{set:?}: {our:?} {their:?}");
        // Missing files that would be kept for ever are told of with a date, and no reason.
        for heads in [&mut heads, &mut theirs] {
            if let Some(expires) = heads.get_mut("Expires").filter(|e| !e.contains("1980")) {
                expires.clear();
            }
            heads.remove("Date");
            if heads.contains_key("Status") {
                heads.remove("Content-Type");
            }
        }
        assert_eq!(heads, theirs, "{set:?}");
        let said = |body: &[u8]| {
            let text = String::from_utf8_lossy(body);
            let lines = text.lines().map(|line| match line.split_once('\0') {
                // Which capabilities, and in which order, is compared elsewhere.
                Some((before, _)) => before.get(4..).unwrap_or(before).to_owned(),
                None => line.to_owned(),
            });
            lines.collect::<Vec<_>>()
        };
        let is_v2 = body.starts_with(b"000eversion 2\n");
        if is_v2 {
            assert!(their_body.starts_with(b"000eversion 2\n"), "{set:?}");
        } else {
            assert_eq!(said(&body), said(&their_body), "{set:?}");
        }
        assert_eq!(our.status.code(), their.status.code(), "{set:?}");
        let (our, their) = (our.stderr, their.stderr);
        assert_eq!(our.is_empty(), their.is_empty(), "{set:?}: {}", String::from_utf8_lossy(&our));
    }
}

#[test]
fn repositories_say_what_is_for_whom() {
    let git = RealGit::new();
    let origin = repository(&git);
    let (ours, _) = programs(&git);
    let get = |path: &str, more: &[(&str, &str)]| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = format!("/r.git/{path}");
        let mut set = vec![("PATH_INFO", path.as_str()), ("QUERY_STRING", query)];
        set.extend_from_slice(more);
        status(&ask(&git, &ours, &set, b""))
    };
    let not_exported = [("GIT_HTTP_EXPORT_ALL", "-")];
    assert_eq!(get("HEAD", &not_exported), "404 Not Found");
    fs::write(origin.join("git-daemon-export-ok"), "").expect("a file");
    assert_eq!(get("HEAD", &not_exported), "200 OK");
    let set = |key: &str, value: &str| git.ok(&origin, &["config", key, value]);
    for (value, answer) in
        [("true", "200 OK"), ("false", "403 Forbidden"), ("x", "500 Internal Server Error")]
    {
        set("http.getanyfile", value);
        assert_eq!(get("HEAD", &[]), answer);
        set("http.uploadpack", value);
        assert_eq!(get("info/refs?service=git-upload-pack", &[]), answer);
        set("http.receivepack", value);
        assert_eq!(get("info/refs?service=git-receive-pack", &[]), answer);
        assert_eq!(get("info/refs?service=git-receive-pack", &[("REMOTE_USER", "me")]), answer);
    }
    git.ok(&origin, &["config", "--unset", "http.receivepack"]);
    assert_eq!(get("info/refs?service=git-receive-pack", &[]), "403 Forbidden");
    assert_eq!(get("info/refs?service=git-receive-pack", &[("REMOTE_USER", "me")]), "200 OK");
    let stranger = [("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"), ("HOME", "/none")];
    assert_eq!(get("HEAD", &stranger), "500 Internal Server Error");
}

#[test]
fn bodies_of_every_kind() {
    let git = RealGit::new();
    let origin = repository(&git);
    let (ours, _) = programs(&git);
    let tip = git.rev_parse(&origin, "main").to_string();
    let post = |service: &str, more: &[(&str, &str)], body: &[u8]| {
        let path = format!("/r.git/git-{service}");
        let media_type = format!("application/x-git-{service}-request");
        let mut set = vec![("PATH_INFO", path.as_str()), ("CONTENT_TYPE", media_type.as_str())];
        set.extend([("REQUEST_METHOD", "POST"), ("REMOTE_USER", "me")]);
        set.extend_from_slice(more);
        ask(&git, &ours, &set, body)
    };
    let zip = |body: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).expect("memory");
        encoder.finish().expect("memory")
    };
    let want = format!("0032want {tip}\n00000009done\n");
    let plain = want.as_bytes();
    let gzip = ("HTTP_CONTENT_ENCODING", "gzip");
    let length = plain.len().to_string();
    let longer = (plain.len() + 5).to_string();
    let with_more = [plain, b"0000rest"].concat();
    for (more, body) in [
        (&[][..], plain.to_vec()),
        (&[("CONTENT_LENGTH", "")], plain.to_vec()),
        (&[("CONTENT_LENGTH", length.as_str())], with_more),
        (&[("HTTP_CONTENT_ENCODING", "identity")], plain.to_vec()),
        (&[gzip], zip(plain)),
        (&[("HTTP_CONTENT_ENCODING", "x-gzip")], zip(plain)),
    ] {
        let output = post("upload-pack", more, &body);
        assert!(output.status.success(), "{more:?}: {output:?}");
        let (_, body) = parsed(&output);
        assert!(body.starts_with(b"0008NAK\nPACK"), "{more:?}: {output:?}");
    }
    for (more, body, words) in [
        (&[("CONTENT_LENGTH", longer.as_str())][..], plain[..20].to_vec(), "hung up"),
        (
            &[("CONTENT_LENGTH", "9223372036854775808")],
            vec![],
            "failed to parse CONTENT_LENGTH: 9223372036854775808",
        ),
        (&[("CONTENT_LENGTH", "12x")], vec![], "failed to parse CONTENT_LENGTH: 12x"),
        (
            &[("CONTENT_LENGTH", "12000000")],
            vec![],
            "request was larger than our maximum size (10485760): 12000000",
        ),
        (
            &[("CONTENT_LENGTH", "60"), ("GIT_HTTP_MAX_REQUEST_BUFFER", "59")],
            vec![],
            "GIT_HTTP_MAX_REQUEST_BUFFER",
        ),
        (
            &[("GIT_HTTP_MAX_REQUEST_BUFFER", "x")],
            vec![],
            "failed to parse GIT_HTTP_MAX_REQUEST_BUFFER",
        ),
        (&[gzip], zip(plain)[..30].to_vec(), "fatal: "),
        (&[gzip], plain.to_vec(), "fatal: "),
        (&[gzip], vec![], "fatal: "),
    ] {
        let output = post("upload-pack", more, &body);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words) && said.starts_with("fatal: "), "{more:?}: {output:?}");
    }
    // Who pushes stands in the reflog.
    git.ok(&origin, &["config", "core.logAllRefUpdates", "true"]);
    let pack = pack_of(&git, &origin, "main\n");
    let body = push_body("refs/heads/new", &tip, &pack);
    let output = post("receive-pack", &[("REMOTE_ADDR", "10.0.0.9"), gzip], &zip(&body));
    assert!(parsed(&output).1.windows(9).any(|nine| nine == b"unpack ok"), "{output:?}");
    let log = fs::read_to_string(origin.join("logs/refs/heads/new")).expect("a reflog");
    assert!(log.contains(" me <me@http.10.0.0.9> "), "{log}");
    let cut = post("receive-pack", &[], &push_body("refs/heads/cut", &tip, &pack[..20]));
    let told = b"unpack index-pack abnormal exit";
    assert!(cut.stdout.windows(told.len()).any(|window| window == told), "{cut:?}");
    git.fail(&origin, &["rev-parse", "--verify", "-q", "refs/heads/cut"]);
    git.fsck_strict(&origin);
}

#[test]
fn a_namespace_is_all_that_is_seen() {
    let git = RealGit::new();
    let origin = repository(&git);
    let (ours, theirs) = programs(&git);
    for name in ["refs/namespaces/one/refs/heads/main", "refs/namespaces/two/refs/heads/main"] {
        git.ok(&origin, &["update-ref", name, "main"]);
    }
    let head = "refs/namespaces/one/HEAD";
    git.ok(&origin, &["symbolic-ref", head, "refs/namespaces/one/refs/heads/main"]);
    for path in ["/r.git/info/refs", "/r.git/HEAD"] {
        let set = [("PATH_INFO", path), ("GIT_NAMESPACE", "one")];
        let our = parsed(&ask(&git, &ours, &set, b"")).1;
        assert!(!our.is_empty() && !String::from_utf8_lossy(&our).contains("namespaces"));
        if let Some(theirs) = &theirs {
            assert_eq!(our, parsed(&ask(&git, theirs, &set, b"")).1, "{path}");
        }
    }
}

/// A web server that runs a CGI program for each request: what `python3` has, with a body of any kind.
const WEB_SERVER: &str = r#"
import http.server, os, subprocess, sys
program, root = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do(self):
        path, _, query = self.path.partition("?")
        env = dict(os.environ, REQUEST_METHOD=self.command, PATH_INFO=path, QUERY_STRING=query,
            GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL="1", SERVER_PROTOCOL="HTTP/1.1",
            REMOTE_ADDR=self.client_address[0], CONTENT_TYPE=self.headers.get("Content-Type", ""))
        for name, header in (("HTTP_CONTENT_ENCODING", "Content-Encoding"),
                ("HTTP_GIT_PROTOCOL", "Git-Protocol"), ("CONTENT_LENGTH", "Content-Length")):
            if header in self.headers: env[name] = self.headers[header]
        if self.headers.get("Authorization"): env["REMOTE_USER"] = "pusher"
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0: break
        answer = subprocess.run([program], env=env, input=body, stdout=subprocess.PIPE).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = [value for name, value in headers if name == "Status"]
        code = int(status[0].split()[0]) if status else 200
        if code == 403 and not self.headers.get("Authorization"): code = 401
        self.send_response(code)
        if code == 401: self.send_header("WWW-Authenticate", "Basic realm=x")
        for name, value in headers:
            if name not in ("Status", "Content-Length"): self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)
    do_GET = do_POST = do_HEAD = do
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("http://127.0.0.1:%d/" % server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Starts it for the repositories in `srv`. Whoever gives a name and a password is known by it.
pub fn web_server(git: &RealGit) -> ServerProcess {
    let (ours, _) = programs(git);
    let mut command = Command::new("python3");
    git.isolate(&mut command);
    for name in ["GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        command.env_remove(name);
    }
    command.args(["-c", WEB_SERVER]).arg(&ours).arg(git.path("srv"));
    ServerProcess::spawn_http(command)
}

#[test]
fn git_clones_and_pushes_through_a_web_server() {
    for version in [0, 2] {
        let git = RealGit::new().protocol(version);
        let origin = repository(&git);
        let server = web_server(&git);
        let url = format!("{}r.git", server.address());
        let clone = git.clone(&url, "clone", &["-q"]);
        git.fsck_strict(&clone);
        // Without the protocol, too.
        let mut dumb = git.command(git.root());
        dumb.env("GIT_SMART_HTTP", "0").args(["clone", "-q", "--bare", &url, "dumb.git"]);
        assert!(dumb.status().expect("git runs").success());
        assert_eq!(git.refs(git.path("dumb.git")), git.refs(&origin));
        git.fsck_strict(git.path("dumb.git"));
        // Nobody is let in to push; whoever the web server knows is.
        git.commit_file(&clone, "file", "pushed");
        let refused = git.run(&clone, &["push", "-q", "origin", "HEAD:refs/heads/pushed"]);
        assert!(!refused.status.success());
        let known = format!("http://me:secret@{}/r.git", server.authority());
        git.ok(&clone, &["push", "-q", &known, "HEAD:refs/heads/pushed"]);
        assert_eq!(git.rev_parse(&origin, "pushed"), git.rev_parse(&clone, "HEAD"));
        // Archives are for those it knows, too.
        let archive = |url: &str| {
            let remote = format!("--remote={url}");
            git.run(git.root(), &["archive", &remote, "main"])
        };
        assert!(!archive(&url).status.success());
        // Clients ask for them only where they speak version 2.
        if version == 2 {
            let ours = archive(&known);
            let theirs = git.run(&origin, &["archive", "main"]);
            assert!(ours.status.success() && ours.stdout == theirs.stdout, "{}", ours.error_text());
        }
        // A pack of unknown length.
        fs::write(clone.join("big"), testkit::Random::new(7).bytes(2 << 20)).expect("a file");
        git.ok(&clone, &["add", "big"]);
        git.ok(&clone, &["commit", "-qm", "big"]);
        git.ok(&clone, &["push", "-q", &known, "HEAD:refs/heads/big"]);
        git.ok(&clone, &["fetch", "-q", "--depth=1", &url, "big"]);
        git.fsck_strict(&origin);
    }
}

#[test]
fn the_subcommand_is_the_same() {
    let git = RealGit::new();
    repository(&git);
    let mut command = packhorse(&git);
    command.arg("http-backend").env("REQUEST_METHOD", "GET").env("GIT_HTTP_EXPORT_ALL", "");
    command.env("PATH_TRANSLATED", git.path("srv/r.git/HEAD")).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    assert_eq!(parsed(&output).1, b"ref: refs/heads/main\n");
}
