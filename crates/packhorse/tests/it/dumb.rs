//! Clients that know nothing but GET: git without its smart protocol, git-annex, curl.

use std::fs;

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

const NONE: &[&str] = &[];

#[test]
fn dumb_clients_clone_packed_and_loose_repositories() {
    let git = RealGit::new();
    let smart = RealGit::new();
    let packed = Scenario::tags_of_tags(3).repacked().build(&git, "srv/packed.git");
    let loose = Scenario::branchy(20).loose().build(&git, "srv/loose.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    drop(smart);
    let dumb = RealGit::new().env("GIT_SMART_HTTP", "0");
    for (name, origin) in [("packed", packed), ("loose", loose)] {
        let clone = dumb.clone(server.url(name), name, &["--mirror"]);
        assert_eq!(git.refs(&clone), git.refs(&origin));
        git.fsck_strict(&clone);
    }
    assert!(!server.log().contains("service="), "queries stay out of the log");
}

#[test]
fn downloads_resume_and_say_how_long_they_keep() {
    let git = RealGit::new();
    let origin = Scenario::linear(5).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let packs = server.get("/a.git/objects/info/packs", &[]).text();
    let name = packs.lines().next().and_then(|line| line.strip_prefix("P ")).expect("a pack");
    let path = format!("/a.git/objects/pack/{name}");
    let stored = fs::read(origin.join("objects/pack").join(name)).expect("the pack");

    let whole = server.get(&path, &[]);
    assert_eq!((whole.status, &whole.body), (200, &stored));
    assert_eq!(whole.header("content-type"), Some("application/x-git-packed-objects"));
    assert!(whole.header("cache-control").expect("it may be kept").contains("max-age=31536000"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));

    let rest = server.get(&path, &[("Range", "bytes=100-")]);
    assert_eq!((rest.status, rest.body.as_slice()), (206, &stored[100..]));
    let range = format!("bytes 100-{}/{}", stored.len() - 1, stored.len());
    assert_eq!(rest.header("content-range"), Some(range.as_str()));
    let beyond = server.get(&path, &[("Range", "bytes=99999999-")]);
    assert_eq!((beyond.status, beyond.body.len()), (416, 0));

    let head = server.request("HEAD", &path, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(stored.len().to_string().as_str()));

    for path in ["/a.git/info/refs", "/a.git/HEAD", "/a.git/objects/info/packs"] {
        let reply = server.get(path, &[]);
        assert_eq!(reply.header("cache-control"), Some("no-cache, max-age=0, must-revalidate"));
        assert_eq!(reply.header("pragma"), Some("no-cache"), "{path}");
    }
    let smart = server.get("/a.git/info/refs?service=git-upload-pack", &[]);
    assert_eq!(smart.header("cache-control"), Some("no-cache, max-age=0, must-revalidate"));
}

#[test]
fn git_annex_downloads_keys_and_learns_the_uuid() {
    let git = RealGit::new();
    let origin = Scenario::linear(1).build(&git, "srv/a.git");
    let uuid = "f3d9d1a6-2d4b-4c43-9d5a-0c1b1e6f8a11";
    let key = "f87/4d5/SHA256E-s300000--abc.bin/SHA256E-s300000--abc.bin";
    let stored = origin.join("annex/objects").join(key);
    let content: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    fs::create_dir_all(stored.parent().expect("a folder")).expect("make it");
    fs::write(&stored, &content).expect("write a key");
    fs::write(git.path("srv/secret"), "secret").expect("write a secret");
    std::os::unix::fs::symlink(git.path("srv/secret"), origin.join("annex/objects/link"))
        .expect("a link");
    let server = Serving::start(&git, git.path("srv"), &[]);

    assert_eq!(server.get("/a.git/config", &[]).status, 404, "nothing to tell an annex");
    git.ok(&origin, &["config", "annex.uuid", uuid]);
    git.ok(&origin, &["config", "remote.up.url", "https://me:hunter2@example.com/"]);
    let config = server.get("/a.git/config", &[]);
    assert_eq!((config.status, config.text()), (200, format!("[annex]\n\tuuid = {uuid}\n")));

    let path = format!("/a/annex/objects/{key}");
    assert_eq!(server.get(&path, &[]).body, content);
    let rest = server.get(&path, &[("Range", "bytes=200000-")]);
    assert_eq!((rest.status, rest.body.as_slice()), (206, &content[200_000..]));
    let head = server.request("HEAD", &path, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("300000")));
    for lost in ["f87/4d5/K/K", "f87", "f87/4d5/", "link", "%2e%2e/%2e%2e/HEAD", "..%2f..%2fHEAD"] {
        assert_eq!(server.get(&format!("/a/annex/objects/{lost}"), &[]).status, 404, "{lost}");
    }
}

#[test]
fn only_what_is_for_clients_is_served() {
    let git = RealGit::new();
    let origin = Scenario::linear(2).build(&git, "srv/a.git");
    fs::write(origin.join("objects/pack/pack-1234.keep"), "mine").expect("a file");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let lost = server.get("/missing.git/HEAD", &[]);
    assert_eq!(lost.status, 404);
    for path in [
        "/a.git/description",
        "/a.git/packed-refs",
        "/a.git/refs/heads/main",
        "/a.git/hooks/pre-receive",
        "/a.git/objects/pack/pack-1234.keep",
        "/a.git/objects/pack/../../HEAD",
        "/a.git/objects/ab/cdef",
        "/a.git/objects/",
        "/a.git/",
        "/missing.git/info/refs?service=git-upload-pack",
        "/a/b/c/info/refs",
    ] {
        let reply = server.get(path, &[]);
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.body, lost.body, "{path}: nobody learns what exists");
    }
    git.ok(&origin, &["config", "http.getanyfile", "false"]);
    assert_eq!(server.get("/a.git/HEAD", &[]).status, 403);
    git.clone(server.url("a.git"), "smart", NONE);
}
