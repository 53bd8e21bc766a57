//! Archives: what comes out is what stock `git archive` makes of the same repository.

mod doors;
mod refused;
mod rich;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use object::HashKind;
use testkit::{RealGit, Scenario};

use rich::rich;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packhorse");

/// `git archive --remote=DIR ARGS` through our program: what it wrote, and what it said.
fn archive(git: &RealGit, dir: &Path, args: &[&str]) -> testkit::GitOutput {
    let remote = format!("--remote={}", dir.display());
    let exec = format!("--exec='{PROGRAM}' upload-archive");
    let args = [&["archive", &remote, &exec], args].concat();
    git.run(git.root(), &args)
}

/// An archive there has to be.
fn remote(git: &RealGit, dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = archive(git, dir, args);
    assert!(output.status.success(), "{args:?}: {}", output.error_text());
    output.stdout
}

/// The words an archive is refused with.
fn refusal(git: &RealGit, dir: &Path, args: &[&str]) -> String {
    let output = archive(git, dir, args);
    assert!(!output.status.success(), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    output.error_text()
}

/// What git makes itself.
fn local(git: &RealGit, dir: &Path, args: &[&str]) -> Vec<u8> {
    git.ok_with_input(dir, &[&["archive"], args].concat(), b"").stdout
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).expect("a gzip file");
    out
}

/// Everything a zip file says, a line for each entry.
fn unzip(git: &RealGit, bytes: &[u8]) -> String {
    const SCRIPT: &str = "\
import hashlib, sys, zipfile
zip = zipfile.ZipFile(sys.argv[1])
assert zip.testzip() is None
print(zip.comment)
for i in zip.infolist():
    content = hashlib.sha256(zip.read(i)).hexdigest()
    print(repr(i.filename), i.date_time, i.flag_bits & 0x800, i.create_system, oct(i.external_attr),
          i.internal_attr, i.file_size, i.extra.hex(), content)
";
    let file = git.path("it.zip");
    std::fs::write(&file, bytes).expect("a file");
    let output = Command::new("python3").args(["-c", SCRIPT]).arg(&file).output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Both are the same; else, what they are where they begin to differ.
#[track_caller]
fn same(got: &[u8], expected: &[u8], what: &str) {
    if got != expected {
        let at = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
        let around = |bytes: &[u8]| {
            let part = &bytes[at.saturating_sub(200)..bytes.len().min(at + 200)];
            part.escape_ascii().to_string()
        };
        panic!("{what}\n     got: {}\nexpected: {}", around(got), around(expected));
    }
}

/// The same archives come out of both.
fn check(git: &RealGit, dir: &Path, args: &[&str]) {
    for prefix in [&[][..], &["--prefix=release-1.0/"], &["--prefix=a//"], &["--prefix=a-"]] {
        let args = [prefix, args].concat();
        let tar = local(git, dir, &args);
        same(&remote(git, dir, &args), &tar, &format!("tar {args:?}"));
    }
    let tar = local(git, dir, args);
    for format in ["--format=tgz", "--format=tar.gz"] {
        let compressed = remote(git, dir, &[&[format, "-1"], args].concat());
        same(&gunzip(&compressed), &tar, &format!("{format} {args:?}"));
    }
    for level in [&[][..], &["-0"], &["-9"]] {
        let args = [&["--format=zip", "--prefix=z/"], level, args].concat();
        let expected = unzip(git, &local(git, dir, &args));
        assert_eq!(unzip(git, &remote(git, dir, &args)), expected, "zip {args:?}");
    }
}

#[test]
fn archives_are_those_git_makes() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let git = RealGit::new();
        let dir = rich(&git, hash);
        for name in ["HEAD", "main", "refs/heads/main", "v1", "tags/v1", "light", "@"] {
            check(&git, &dir, &[name]);
        }
        // A tree has no time of its own.
        for name in ["HEAD:", "main:dir", "v1:dir/deep/"] {
            check(&git, &dir, &["--mtime=2005-04-07T22:13:13Z", name]);
        }
        git.ok(&dir, &["gc", "-q"]);
        check(&git, &dir, &["main"]);
    }
}

#[test]
fn every_shape_of_tree_is_archived() {
    for scenario in [
        Scenario::submodule_entries(),
        Scenario::odd_file_names(),
        Scenario::huge_tree(2000),
        Scenario::deep_delta_chain(20),
        Scenario::big_blob(3 << 20),
        Scenario::big_blob(3 << 20).loose(),
    ] {
        let git = RealGit::new();
        let dir = scenario.build(&git, "a.git");
        check(&git, &dir, &["main"]);
    }
    let git = RealGit::new();
    let dir = Scenario::tags_of_tags(5).build(&git, "a.git");
    let tag = git.ok(&dir, &["tag"]);
    for name in tag.lines().filter(|name| *name != "blob") {
        check(&git, &dir, &["--mtime=@1000000000", name]);
    }
}

#[test]
fn paths_choose_what_is_archived() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    for paths in [
        &["plain.txt"][..],
        &["dir"],
        &["dir/"],
        &["dir/deep/file", "run"],
        &["*.txt"],
        &["dir/*"],
        &["d*"],
        &[":(glob)*.txt"],
        &[":(glob)dir/**/file"],
        &[":(literal)run"],
        &[":!dir"],
        &[":^*.txt", ":(exclude)dir/deep"],
        &["dir", ":!dir/deep"],
        &["./dir/../run"],
        &["--", "run"],
        &[":/run"],
        // Everything in it is ignored.
        &["only-ignored"],
    ] {
        check(&git, &dir, &[&["main"], paths].concat());
    }
    let words = refusal(&git, &dir, &["main", "run", "no-such-file"]);
    assert!(words.contains("pathspec 'no-such-file' did not match any files"), "{words}");
    refusal(&git, &dir, &["main", "run/"]);
    refusal(&git, &dir, &["main", "../run"]);
}

#[test]
fn attributes_of_the_repository_and_of_the_user_count() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    std::fs::write(dir.join("info/attributes"), "run export-ignore\n*.txt -eol\n").expect("ours");
    check(&git, &dir, &["main"]);
    let own = git.home().join("attributes");
    std::fs::write(&own, "*.bin export-ignore\ndir/deep export-ignore\n").expect("ours");
    git.ok(git.root(), &["config", "--global", "core.attributesFile", "~/attributes"]);
    check(&git, &dir, &["main"]);
    let tar = String::from_utf8_lossy(&remote(&git, &dir, &["main"])).into_owned();
    assert!(!tar.contains("dir/deep") && !tar.contains("\0run") && tar.contains("plain.txt"));
    // The tree's own attributes can be left out, those of the machine cannot.
    let tar = remote(&git, &dir, &["--worktree-attributes", "main"]);
    let tar = String::from_utf8_lossy(&tar).into_owned();
    assert!(tar.contains("secret") && !tar.contains("dir/deep") && tar.contains("$Format:%H"));
}

#[test]
fn settings_of_the_repository_count() {
    for settings in [
        &[("tar.umask", "0077")][..],
        &[("tar.umask", "user")],
        &[("core.autocrlf", "true")],
        &[("core.autocrlf", "input"), ("core.abbrev", "12")],
        &[("core.eol", "crlf"), ("core.abbrev", "no")],
        &[("diff.drawn.binary", "true")],
    ] {
        let git = RealGit::new();
        let dir = rich(&git, HashKind::Sha1);
        for (key, value) in settings {
            git.ok(&dir, &["config", key, value]);
        }
        check(&git, &dir, &["main"]);
    }
}

#[test]
fn commands_of_the_repository_compress_where_it_says_so() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    git.ok(&dir, &["config", "tar.tar.twice.command", "cat; echo"]);
    git.ok(&dir, &["config", "tar.bad.command", "cat >&-; exit 3"]);
    git.ok(&dir, &["config", "tar.bad.remote", "true"]);
    let list = |dir| String::from_utf8(remote(&git, dir, &["--list"])).expect("text");
    assert_eq!(list(&dir), "tar\ntgz\ntar.gz\nbad\nzip\n");
    let words = refusal(&git, &dir, &["--format=tar.twice", "main"]);
    assert!(words.contains("Unknown archive format 'tar.twice'"), "{words}");
    git.ok(&dir, &["config", "tar.tar.twice.remote", "true"]);
    assert_eq!(list(&dir), "tar\ntgz\ntar.gz\ntar.twice\nbad\nzip\n");
    let expected = [local(&git, &dir, &["main"]), b"\n".to_vec()].concat();
    same(&remote(&git, &dir, &["--format=tar.twice", "main"]), &expected, "twice");
    let output = archive(&git, &dir, &["--format=tar.twice", "-v", "main", "run"]);
    assert!(output.error_text().contains("remote: run"), "{}", output.error_text());
    let words = refusal(&git, &dir, &["--format=bad", "main"]);
    assert!(words.contains("'cat >&-; exit 3' filter reported error"), "{words}");
    git.ok(&dir, &["config", "tar.tgz.remote", "false"]);
    assert!(!list(&dir).contains("tgz"));
}

#[test]
fn options_are_those_of_git() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    let output = archive(&git, &dir, &["--verbose", "--prefix=p/", "main", "run", "dir/deep"]);
    let said = output.error_text();
    let names: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("remote: ")).collect();
    let names: Vec<&str> = names.iter().map(|name| name.trim_end()).collect();
    assert_eq!(names, ["p/", "p/dir/", "p/dir/deep/", "p/dir/deep/file", "p/run"]);
    for time in ["2001-02-03 04:05:06 +0100", "@1000000000", "Mon, 5 Mar 2007 10:00:00 GMT"] {
        check(&git, &dir, &["--mtime", time, "main"]);
    }
    // A time no header has room for.
    check_tar(&git, &dir, &["--mtime=@99999999999 +0000", "main"]);
    for (args, words) in [
        (&["--format=rar", "main"][..], "Unknown archive format 'rar'"),
        (&["-9", "main"], "Argument not supported for format 'tar': -9"),
        (&["--mtime=whenever", "main"], "the date 'whenever' is not understood"),
        (&["--no-such-option", "main"], "unknown option `no-such-option'"),
        (&[], "usage: git archive"),
        (&["--list", "main"], "extra command line parameter 'main'"),
    ] {
        let said = refusal(&git, &dir, args);
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(said.contains("archiver died with error"), "{args:?}: {said}");
    }
    // What git keeps for itself can be said by others.
    let file = git.path("added");
    std::fs::write(&file, "added").expect("a file");
    let option = format!("--add-file={}", file.display());
    let said = refusal(&git, &dir, &[&option, "main"]);
    assert!(said.contains("cannot be used together"), "{said}");
}

fn check_tar(git: &RealGit, dir: &Path, args: &[&str]) {
    same(&remote(git, dir, args), &local(git, dir, args), &format!("{args:?}"));
}

#[test]
fn a_big_file_passes_by() {
    const FILE_BYTES: usize = 128 << 20;
    const HELD_KB_MAX: u64 = 64 << 10;
    let git = RealGit::new();
    let dir = git.init_bare("a.git");
    let stream = format!(
        "blob\nmark :1\ndata {FILE_BYTES}\n{}\ncommit refs/heads/main\ncommitter A <a@x> 0 +0000\n\
         data 0\nM 100644 :1 big\n",
        "\0".repeat(FILE_BYTES)
    );
    git.ok_with_input(&dir, &["fast-import", "--quiet"], stream.as_bytes());
    drop(stream);
    for format in ["tar", "tgz", "zip"] {
        let mut command = Command::new(PROGRAM);
        git.isolate(&mut command);
        command.arg("upload-archive").arg(&dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let request = [
            crate::raw::packet(format!("argument --format={format}\n")),
            crate::raw::packet("argument main\n"),
            b"0000".to_vec(),
        ];
        let mut input = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, &request.concat()).expect("it reads");
        let mut output = child.stdout.take().expect("a pipe");
        // It has come far, and is held up by us: what is left is more than a pipe takes, also of
        // the compressed ones, which have 128 KiB.
        let mut first = vec![0; if format == "tar" { 100 << 20 } else { 48 << 10 }];
        std::io::Read::read_exact(&mut output, &mut first).expect("an archive");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a number");
        let peak: u64 = peak.trim().parse().expect("a number");
        println!("{format}: {peak} kB at most");
        assert!(peak < HELD_KB_MAX, "{format}: {peak} kB");
        // Nobody takes the rest.
        drop((output, input));
        let status = child.wait().expect("it ends");
        assert!(!status.success(), "{format}");
    }
}

/// A link to the program under git's name.
fn link(git: &RealGit) -> PathBuf {
    let link = git.path("git-upload-archive");
    std::os::unix::fs::symlink(PROGRAM, &link).expect("a link");
    link
}

#[test]
fn the_program_goes_by_its_name_and_reads_stores() {
    let git = RealGit::new();
    let dir = rich(&git, HashKind::Sha1);
    let link = link(&git);
    let expected = local(&git, &dir, &["main"]);
    let by_name = |exec: &str, remote: &str| {
        let (exec, remote) = (format!("--exec={exec}"), format!("--remote={remote}"));
        git.ok_with_input(git.root(), &["archive", &exec, &remote, "main"], b"").stdout
    };
    let remote = dir.display().to_string();
    assert!(by_name(&link.display().to_string(), &remote) == expected);
    // Guesses at the directory are git's.
    assert!(by_name(&link.display().to_string(), remote.trim_end_matches(".git")) == expected);
    let output = Command::new(&link).output().expect("it runs");
    assert_eq!(output.status.code(), Some(129), "{output:?}");

    let store = format!("kv:{}", git.path("store.kv").display());
    let mut command = crate::serving::packhorse(&git);
    command.args(["repo", "import", "--quiet", "--store", &store]).arg(&dir).arg("in/store");
    assert!(command.status().expect("it runs").success());
    let script = git.path("ssh");
    let text = format!("#!/bin/sh\nexec '{PROGRAM}' upload-archive --store '{store}' in/store\n");
    std::fs::write(&script, text).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    let args = ["archive", "--remote=ssh://host/in/store", "main"];
    let ssh = script.display().to_string();
    let git = git.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
    assert!(git.ok_with_input(git.root(), &args, b"").stdout == expected);
}
