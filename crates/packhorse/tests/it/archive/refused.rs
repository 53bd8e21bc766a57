//! What no archive is made of, and requests that are none.

use object::HashKind;
use testkit::{RealGit, Scenario};

use super::{check, refusal, remote, rich};
use crate::raw::packet;

#[test]
fn only_refs_are_archived_unless_the_repository_allows_more() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    let commit = git.rev_parse(&dir, "main").to_string();
    let tree = git.rev_parse(&dir, "main^{tree}").to_string();
    let names =
        [&commit, &tree, &commit[..9], "main~1", "main^", "main^{tree}", "v1^{}", "main^{commit}"];
    for name in names {
        let words = refusal(&git, &dir, &[name]);
        assert!(words.contains(&format!("no such ref: {name}")), "{words}");
    }
    let words = refusal(&git, &dir, &[&format!("{commit}:dir")]);
    assert!(words.contains(&format!("no such ref: {commit}")), "{words}");
    for (name, words) in [
        ("main:no/such/path", "not a valid object name: main:no/such/path"),
        ("main:run", "not a tree object: "),
        ("main:run/x", "not a valid object name"),
        ("main:/dir", "not a valid object name"),
        ("", "no such ref: "),
        ("../../etc/passwd", "no such ref"),
        ("refs/heads/../heads/main", "no such ref"),
    ] {
        let said = refusal(&git, &dir, &[name]);
        assert!(said.contains(words), "{name}: {said}");
    }
    git.ok(&dir, &["config", "uploadarchive.allowUnreachable", "true"]);
    for name in names.into_iter().chain(["main~1:", "main^{tree}:dir", "v1^0~1^{tree}"]) {
        check(&git, &dir, &["--mtime=@1000000000", name]);
    }
    for name in ["main~9", "main^2", "main^{blob}", "main~x", "0000", "main^{tree"] {
        let said = refusal(&git, &dir, &[name]);
        assert!(said.contains("not a valid object name") || said.contains("not a tree"), "{said}");
    }
}

#[test]
fn hidden_refs_stay_hidden() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    git.ok(&dir, &["update-ref", "refs/secret/x", "main"]);
    remote(&git, &dir, &["refs/secret/x"]);
    git.ok(&dir, &["config", "transfer.hideRefs", "refs/secret"]);
    git.ok(&dir, &["config", "--add", "uploadpack.hideRefs", "refs/heads/another"]);
    for name in ["refs/secret/x", "secret/x", "another", "heads/another", "another:dir"] {
        let words = refusal(&git, &dir, &[name]);
        assert!(words.contains("no such ref"), "{words}");
    }
    // Nor are they told of in a file.
    let tar = remote(&git, &dir, &["main", "subst"]);
    let tar = String::from_utf8_lossy(&tar).into_owned();
    assert!(tar.contains("[ (HEAD -> main, tag: v1, tag: light)]"), "{tar}");
}

#[test]
fn namespaces_are_repositories_of_their_own() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    git.ok(&dir, &["update-ref", "refs/namespaces/ns/refs/heads/inside", "main~1"]);
    let expected = super::local(&git, &dir, &["main~1"]);
    let git = git.env("GIT_NAMESPACE", "ns");
    assert!(remote(&git, &dir, &["inside"]) == expected);
    let words = refusal(&git, &dir, &["main"]);
    assert!(words.contains("no such ref: main"), "{words}");
}

#[test]
fn requests_that_are_none_are_told_so() {
    let git = RealGit::new();
    let dir = Scenario::linear(2).build(&git, "a.git");
    let answer = |request: &[u8]| {
        let file = git.path("request");
        std::fs::write(&file, request).expect("a file");
        let mut command = crate::serving::packhorse(&git);
        command.arg("upload-archive").arg(&dir);
        command.stdin(std::fs::File::open(&file).expect("a file"));
        let output = command.output().expect("the program runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let many: Vec<u8> = (0..65).flat_map(|_| packet("argument main\n")).collect();
    for (request, words) in [
        (b"".to_vec(), "NACK the remote end hung up unexpectedly\n"),
        (b"zzzz".to_vec(), "NACK protocol error: bad line length character"),
        (packet("argument main\n"), "NACK the remote end hung up"),
        (packet("want something\n"), "NACK 'argument' token or flush expected\n"),
        (b"0001".to_vec(), "NACK 'argument' token or flush expected\n"),
        (packet("argument ma\0in\n"), "NACK an argument contains a zero byte\n"),
        ([many, b"0000".to_vec()].concat(), "(archive_arguments_max)"),
    ] {
        let answer = answer(&request);
        assert!(answer.contains(words) && !answer.contains("ACK\n0000"), "{words}: {answer}");
    }
    let answer = answer(b"0000");
    assert!(
        answer.starts_with("0008ACK\n0000") && answer.contains("\x02fatal: usage:"),
        "{answer}"
    );
}

#[test]
fn damaged_repositories_give_no_archive_that_looks_whole() {
    let git = RealGit::new();
    let dir = Scenario::linear(3).loose().build(&git, "a.git");
    let blob = git.ok(&dir, &["ls-tree", "-r", "main", "--format=%(objectname)"]);
    let blob = blob.lines().last().expect("a file").to_owned();
    std::fs::remove_file(dir.join("objects").join(&blob[..2]).join(&blob[2..])).expect("there");
    let output = super::archive(&git, &dir, &["main"]);
    assert!(!output.status.success());
    let words = output.error_text();
    assert!(words.contains(&format!("missing blob {blob}")), "{words}");
}

#[test]
fn what_files_grow_to_is_bounded() {
    let git = RealGit::new();
    let dir = git.init_bare("a.git");
    let work = git.clone(&dir, "work", &["--quiet"]);
    // Each of so many placeholders becomes the message, which is long.
    let message = "m".repeat(100_000);
    std::fs::write(work.join("bomb"), format!("$Format:{}$", "%B".repeat(100_000))).expect("ours");
    std::fs::write(work.join(".gitattributes"), "bomb export-subst\n").expect("ours");
    git.ok(&work, &["add", "-A"]);
    git.ok(&work, &["commit", "-q", "-m", &message]);
    git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
    let words = super::archive(&git, &dir, &["main"]).error_text();
    assert!(words.contains("archive_converted_bytes_max"), "{words}");
}
