//! Clones and fetches over HTTP.

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

const NONE: &[&str] = &[];

#[test]
fn every_protocol_clones_and_fetches() {
    for protocol in [0, 1, 2] {
        let git = RealGit::new().protocol(protocol);
        let origin = Scenario::branchy(40).build(&git, "srv/team/project.git");
        let server = Serving::start(&git, git.path("srv"), &[]);
        let clone = git.clone(server.url("team/project"), "clone", &["--mirror"]);
        assert_eq!(git.refs(&clone), git.refs(&origin), "protocol {protocol}");
        git.fsck_strict(&clone);

        let work = git.clone(&origin, "work", NONE);
        git.commit_file(&work, "new.txt", "new\n");
        git.ok(&work, &["push", "-q", "origin", "HEAD"]);
        git.ok(&clone, &["fetch", "-q"]);
        assert_eq!(git.reachable(&clone), git.reachable(&origin), "protocol {protocol}");
    }
}

#[test]
fn shallow_clones_grow() {
    for protocol in [0, 2] {
        let git = RealGit::new().protocol(protocol);
        let origin = Scenario::linear(30).build(&git, "srv/a.git");
        let server = Serving::start(&git, git.path("srv"), &[]);
        let clone = git.clone(server.url("a.git"), "clone", &["--bare", "--depth=3"]);
        let count = |clone| git.ok(clone, &["rev-list", "--count", "HEAD"]);
        assert_eq!(count(&clone), "3");
        git.ok(&clone, &["fetch", "-q", "--deepen=4", "origin", "HEAD"]);
        assert_eq!(count(&clone), "7");
        git.ok(&clone, &["fetch", "-q", "--unshallow", "origin", "HEAD"]);
        assert_eq!(count(&clone), git.ok(&origin, &["rev-list", "--count", "HEAD"]));
        git.fsck_strict(&clone);
    }
}

#[test]
fn partial_clones_fetch_what_they_need() {
    let git = RealGit::new();
    let origin = Scenario::linear(60).build(&git, "srv/a.git");
    git.ok(&origin, &["config", "uploadpack.allowFilter", "true"]);
    let server = Serving::start(&git, git.path("srv"), &[]);
    let clone = git.clone(server.url("a.git"), "clone", &["--filter=blob:none"]);
    let missing = git.ok(&clone, &["rev-list", "--objects", "--missing=print", "--all"]);
    assert!(missing.contains('?'), "the old blobs were left out: {missing}");
    git.ok(&clone, &["log", "-p", "--all", "--output=/dev/null"]);
    git.fsck_strict(&clone);
}

#[test]
fn many_haves_are_sent_compressed() {
    let git = RealGit::new().env("GIT_TRACE_CURL", "1");
    let origin = Scenario::linear(50).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    // A history of its own whose commits the server does not know: all of them are offered.
    let clone = Scenario::octopus(1200).build(&git, "own.git");
    let url = server.url("a.git");
    let trace = git.run(&clone, &["fetch", "-q", &url, "main:got"]);
    let trace = trace.error_text();
    assert!(trace.contains("Content-Encoding: gzip"), "git compressed a request");
    assert_eq!(git.rev_parse(&clone, "got"), git.rev_parse(&origin, "main"));
    git.fsck_strict(&clone);
}

#[test]
fn sha256_repositories_are_served() {
    let git = RealGit::new();
    let origin = Scenario::tags_of_tags(3).sha256().build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let clone = git.clone(server.url("a"), "clone", &["--mirror"]);
    assert_eq!(git.refs(&clone), git.refs(&origin));
    git.fsck_strict(&clone);
}

#[test]
fn an_empty_repository_is_cloned() {
    let git = RealGit::new();
    git.init_bare("srv/empty.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let clone = git.clone(server.url("empty"), "clone", NONE);
    assert_eq!(git.ok(&clone, &["symbolic-ref", "HEAD"]), "refs/heads/main");
}

#[test]
fn the_empty_tree_is_there_without_having_been_stored() {
    for format in ["sha1", "sha256"] {
        let git = RealGit::new();
        git.ok(git.root(), &["init", "-q", "--bare", "--object-format", format, "srv/a.git"]);
        let origin = git.path("srv/a.git");
        let tree = git.ok(&origin, &["hash-object", "-t", "tree", "/dev/null"]);
        let commit = git.ok(&origin, &["commit-tree", "-m", "nothing", &tree]);
        git.ok(&origin, &["update-ref", "refs/heads/main", &commit]);
        let server = Serving::start(&git, git.path("srv"), &[]);
        let clone = git.clone(server.url("a.git"), "clone", &["-q", "--mirror"]);
        git.fsck_strict(&clone);
        // A client that does not send it, either.
        let next = git.ok(&origin, &["commit-tree", "-m", "more", "-p", &commit, &tree]);
        let pack = crate::serving::pack_of(&git, &origin, &format!("{next}\n^{tree}\n^{commit}\n"));
        let line = format!("{commit} {next} refs/heads/main\0report-status object-format={format}");
        let body = [crate::raw::packet(line), b"0000".to_vec(), pack].concat();
        let said = server.push("a.git", &body).text();
        assert!(said.contains("ok refs/heads/main"), "{format}: {said}");
        git.ok(&clone, &["fetch", "-q"]);
        git.fsck_strict(&clone);
        // Maintenance does not miss it.
        let mut command = crate::serving::packhorse(&git);
        let output = command.args(["maintain", "--full", "--quiet"]).arg(&origin).output();
        assert!(output.expect("it runs").status.success());
        git.clone(server.url("a.git"), "again", &["-q", "--mirror"]);
    }
}

#[test]
fn bundles_are_told_as_git_tells_them() {
    let git = RealGit::new().protocol(2);
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    git.ok(&origin, &["config", "uploadpack.advertiseBundleURIs", "true"]);
    for (key, value) in [
        ("bundle.version", "1"),
        ("bundle.Mode", "all"),
        ("bundle.Two.uri", "https://example.com/\"b\".bundle"),
        ("bundle.two.creationToken", "3"),
    ] {
        git.ok(&origin, &["config", key, value]);
    }
    let server = Serving::start(&git, git.path("srv"), &[]);
    let ask = |arguments: &[&str]| {
        let mut body = crate::raw::packet("command=bundle-uri\n");
        body.extend(crate::raw::packet("object-format=sha1"));
        body.extend(b"0001");
        arguments.iter().for_each(|line| body.extend(crate::raw::packet(line)));
        body.extend(b"0000");
        body
    };
    let own = server.fetch_v2("a.git", &ask(&[])).body;
    let mut command = git.command(&origin);
    command.args(["upload-pack", "--stateless-rpc", "."]).env("GIT_PROTOCOL", "version=2");
    let input = git.path("request");
    std::fs::write(&input, ask(&[])).expect("a file");
    let output = command.stdin(std::fs::File::open(&input).expect("a file")).output();
    let theirs = output.expect("git runs").stdout;
    assert_eq!(String::from_utf8_lossy(&own), String::from_utf8_lossy(&theirs));
    let refused = server.fetch_v2("a.git", &ask(&["more"])).text();
    assert!(refused.contains("ERR bundle-uri: unexpected argument: 'more'"), "{refused}");
    let tip = git.rev_parse(&origin, "main").to_string();
    let bundle = git.path("a.bundle");
    git.ok(&origin, &["bundle", "create", "-q", bundle.to_str().expect("text"), "main"]);
    git.ok(&origin, &["config", "--remove-section", "bundle.Two"]);
    git.ok(&origin, &["config", "--remove-section", "bundle.two"]);
    let uri = format!("file://{}", bundle.display());
    git.ok(&origin, &["config", "bundle.one.uri", &uri]);
    let args =
        ["-c", "transfer.bundleURI=true", "clone", "-q", "--bare", &server.url("a.git"), "clone"];
    git.ok(git.root(), &args);
    assert_eq!(git.ok(git.path("clone"), &["rev-parse", "refs/bundles/main"]), tip);
}

#[test]
fn what_a_partial_repository_lacks_is_not_left_out_in_silence() {
    let git = RealGit::new().protocol(2);
    let whole = Scenario::linear(6).build(&git, "whole.git");
    git.ok(&whole, &["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", whole.display());
    std::fs::create_dir(git.path("srv")).expect("a folder");
    git.ok(git.root(), &["clone", "-q", "--bare", "--filter=blob:none", &url, "srv/partial.git"]);
    let partial = git.path("srv/partial.git");
    git.ok(&partial, &["config", "uploadpack.allowFilter", "true"]);
    let server = Serving::start(&git, git.path("srv"), &[]);
    let served = server.url("partial.git");
    let clone = |name: &str, options: &[&str]| {
        git.run(git.root(), &[options, &["clone", "-q", "--bare", &served, name]].concat())
    };
    let words = clone("all", &[]).error_text();
    assert!(words.contains("could not fetch") && words.contains("from promisor remote"), "{words}");
    // Whoever asks for what is there gets it.
    git.ok(git.root(), &["clone", "-q", "--bare", "--filter=blob:none", &served, "filtered"]);
    // Whoever was told where the rest is, and takes it from there, does so.
    git.ok(&partial, &["config", "promisor.advertise", "true"]);
    let told = server
        .get("/partial.git/info/refs?service=git-upload-pack", &[("Git-Protocol", "version=2")]);
    let line = format!("promisor-remote=name=origin,url={url}");
    assert!(told.text().contains(&line), "{}", told.text());
    assert!(!clone("still", &[]).status.success(), "it did not say that it does");
    let body = |promisors: &str| {
        let tip = git.rev_parse(&partial, "main").to_string();
        let mut body = crate::raw::packet("command=fetch");
        body.extend(crate::raw::packet(promisors));
        body.extend(b"0001");
        body.extend(crate::raw::packet(format!("want {tip}")));
        body.extend(crate::raw::packet("done"));
        body.extend(b"0000");
        server.fetch_v2("partial.git", &body).body
    };
    let has_pack = |answer: Vec<u8>| answer.windows(5).any(|bytes| bytes == b"\x01PACK");
    assert!(has_pack(body("promisor-remote=other;origin")));
    assert!(!has_pack(body("promisor-remote=other")));
}
