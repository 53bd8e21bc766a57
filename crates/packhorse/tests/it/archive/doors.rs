//! Which doors give archives, and to whom.

use std::fs;
use std::path::PathBuf;

use object::HashKind;
use testkit::RealGit;

use super::{local, rich, same, unzip};
use crate::serving::Serving;

/// A server over a folder with one rich repository.
fn serve(git: &RealGit, config: &str) -> (PathBuf, Serving) {
    let folder = git.path("srv");
    let dir = folder.join("rich.git");
    if !folder.exists() {
        fs::create_dir(&folder).expect("a folder");
        fs::rename(rich(git, HashKind::Sha1), &dir).expect("ours");
    }
    let file = git.path("server.toml");
    fs::write(&file, config).expect("a file");
    let options = ["--git", "127.0.0.1:0", "--config", file.to_str().expect("text")];
    let server = Serving::start(git, folder, &options);
    (dir, server)
}

#[test]
fn git_port_gives_archives_when_it_is_told_to() {
    let git = RealGit::new();
    let ask = |server: &Serving, args: &[&str]| {
        let remote = format!("--remote={}", server.git_url("rich.git"));
        git.run(git.root(), &[&["archive", &remote], args].concat())
    };
    let (_, server) = serve(&git, "");
    let refused = ask(&server, &["main"]);
    let words = refused.error_text();
    assert!(!refused.status.success() && words.contains("service not enabled"), "{words}");
    drop(server);

    let (dir, server) = serve(&git, "[git]\nupload_archive = true\n");
    let got = ask(&server, &["--prefix=p/", "main"]);
    assert!(got.status.success(), "{}", got.error_text());
    same(&got.stdout, &local(&git, &dir, &["--prefix=p/", "main"]), "tar");
    let got = ask(&server, &["--format=zip", "main"]);
    let expected = local(&git, &dir, &["--format=zip", "main"]);
    assert_eq!(unzip(&git, &got.stdout), unzip(&git, &expected));
    let refused = ask(&server, &["no-such-ref"]);
    assert!(refused.error_text().contains("no such ref: no-such-ref"), "{}", refused.error_text());
    // A repository may say no for itself.
    git.ok(&dir, &["config", "daemon.uploadarch", "false"]);
    let words = ask(&server, &["main"]).error_text();
    assert!(words.contains("daemon.uploadarch"), "{words}");
    git.ok(&dir, &["config", "daemon.uploadarch", "true"]);
    assert!(ask(&server, &["main"]).status.success());
}

#[test]
fn http_gives_archives_where_the_repository_says_so() {
    let git = RealGit::new();
    let (dir, server) = serve(&git, "");
    let remote = format!("--remote={}", server.url("rich.git"));
    let ask = |args: &[&str]| git.run(git.root(), &[&["archive", &remote], args].concat());
    assert!(!ask(&["main"]).status.success());
    let body = [crate::raw::packet("argument main\n"), b"0000".to_vec()].concat();
    let reply = server.post("rich.git", "git-upload-archive", &[], &body);
    assert_eq!((reply.status, reply.text().contains("http.uploadarchive")), (403, true));
    git.ok(&dir, &["config", "http.uploadarchive", "true"]);
    let got = ask(&["main"]);
    assert!(got.status.success(), "{}", got.error_text());
    same(&got.stdout, &local(&git, &dir, &["main"]), "tar");
    let refused = ask(&["nothing"]);
    assert!(refused.error_text().contains("no such ref: nothing"), "{}", refused.error_text());
    // It is asked for without a word before.
    let reply = server.get("/rich.git/info/refs?service=git-upload-archive", &[]);
    assert_eq!(reply.status, 403);
    assert_eq!(server.get("/rich.git/git-upload-archive", &[]).status, 405);
}

#[test]
fn archives_wait_for_each_other() {
    use std::io::{Read as _, Write as _};
    let git = RealGit::new();
    let config = "[git]\nupload_archive = true\n[limits]\nconcurrent_archives = 1\n\
                  fetch_wait_ms = 300\n";
    let (dir, server) = serve(&git, config);
    // More than fits into buffers on the way.
    let work = git.clone(&dir, "more", &["--quiet"]);
    let content: String = "0123456789abcdef".repeat(4 << 20);
    fs::write(work.join("large"), content).expect("a file");
    git.ok(&work, &["add", "large"]);
    git.ok(&work, &["commit", "-q", "-m", "large"]);
    git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/large"]);

    let head = crate::raw::git_head("upload-archive", "rich.git");
    let body = [crate::raw::packet("argument large\n"), b"0000".to_vec()].concat();
    let mut slow = std::net::TcpStream::connect(server.git_authority()).expect("it listens");
    slow.write_all(&[head.as_bytes(), &body].concat()).expect("it reads");
    slow.read_exact(&mut [0; 4096]).expect("the archive begins");
    let remote = format!("--remote={}", server.git_url("rich.git"));
    let words = git.run(git.root(), &["archive", &remote, "main"]).error_text();
    assert!(words.contains("busy with other archives"), "{words}");
    assert!(words.contains("Waiting for 1 other archives"), "{words}");
    drop(slow);
    testkit::wait_until("the turn is free", || {
        git.run(git.root(), &["archive", &remote, "main"]).status.success()
    });
}
