//! A repository with something of everything that makes archives differ.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use object::HashKind;
use testkit::RealGit;

const ATTRIBUTES: &str = "\
[attr]windows text eol=crlf
*.txt windows
*.auto text=auto eol=crlf
secret export-ignore
/dir/gone export-ignore
subst* export-subst
*.id ident
*.utf16 working-tree-encoding=UTF-16LE-BOM
*.pic binary
*.note -diff
*.plain diff
*.drawn diff=drawn
\"with blank\" export-ignore
dir/**/nowhere export-ignore
";

const SUBSTITUTED: &str = "\
$Id$ stays $Format:%H|%T|%P|%h|%t|%p$
$Format:%an|%ae|%al|%ad|%aD|%ai|%aI|%at|%as$
$Format:%cn|%ce|%cl|%cd|%cD|%ci|%cI|%ct|%cs$
$Format:%s|%f|%e|%m$
$Format:%b$
$Format:%B$
[$Format:%d$] [$Format:%D$]
$Format:%n%%%x41%x4$ $Format:%+s%-e% s% e%+e$ $Format:%Credred%Creset%C(bold)x$
$Format:%zz|%|%a|%ax$ $Format:$
$Format:open
";

/// A bare repository whose branch `main` has it all, `v1` being an annotated tag and `light` none.
pub fn rich(git: &RealGit, hash: HashKind) -> PathBuf {
    let bare = git.init_bare_of("rich.git", hash);
    let work = git.clone(&bare, "rich-work", &["--quiet"]);
    git.ok(&work, &["checkout", "-q", "-b", "main"]);
    git.commit_file(&work, "first", "first\n");
    let long = "n".repeat(90);
    let deep = format!("{long}/{long}/{long}");
    for folder in ["dir/deep", "dir/gone", "only-ignored", "links", &deep, &"m".repeat(120)] {
        fs::create_dir_all(work.join(folder)).expect("a folder");
    }
    let write = |path: &str, content: &[u8]| fs::write(work.join(path), content).expect("a file");
    write(".gitattributes", ATTRIBUTES.as_bytes());
    write(
        "dir/.gitattributes",
        b"unix.txt eol=lf\n/deep/x export-ignore\n[attr]no export-ignore\n",
    );
    write("plain.txt", b"one\ntwo\r\nthree");
    write("dir/unix.txt", b"one\ntwo\n");
    write("text.auto", b"one\ntwo\n");
    write("mixed.auto", b"one\r\ntwo\n");
    write("zero.auto", b"one\0\ntwo\n");
    write("empty", b"");
    write("secret", b"secret");
    write("with blank", b"x");
    write("dir/secret", b"secret");
    write("only-ignored/secret", b"secret");
    write("dir/gone/file", b"x");
    write("dir/deep/file", b"deep\n");
    write("dir/deep/x", b"x");
    write("subst", SUBSTITUTED.as_bytes());
    write("subst.txt", b"$Format:%h$\n$Format:%n$\n");
    write("not-subst", b"$Format:%H$\n");
    write("some.id", b"$Id$ $Id: was $ $Id: two words $\n");
    write("some.utf16", b"\xff\xfe\xfc\0\x34\xd8\x1e\xdd\n\0");
    write("some.pic", b"text\n");
    write("some.note", b"text\n");
    write("some.plain", b"\0\0\0");
    write("some.drawn", b"text\n");
    write("some.bin", &(0..=255).cycle().take(70_000).collect::<Vec<u8>>());
    write("large.text", "a line of a file\n".repeat(120_000).as_bytes());
    write("\u{fc}ml\u{e4}ut", b"name\n");
    write(&format!("{deep}/file"), b"long\n");
    write(&format!("{deep}/{}", "f".repeat(101)), b"longer\n");
    write(&format!("{}/{}", "m".repeat(120), "f".repeat(99)), b"just fits\n");
    write("run", b"#!/bin/sh\n");
    fs::set_permissions(work.join("run"), fs::Permissions::from_mode(0o755)).expect("ours");
    for (target, link) in [("../run", "links/short"), (&*deep, "links/long"), ("x.txt", "a.txt")] {
        symlink(target, work.join(link)).expect("a link");
    }
    symlink("l".repeat(100), work.join("links/just-fits")).expect("a link");
    git.ok(&work, &["add", "--force", "--all"]);
    let message = "The subject, which\nhas two lines: [x] a..b\n\nThe body.\n\nMore of it.\n";
    let author = "--author=A U Thor <author@example.com>";
    let args = ["commit", "-q", "--date=2005-04-07T22:13:13 -0730", author, "-m", message];
    git.ok(&work, &args);
    git.ok(&work, &["tag", "-a", "-m", "A tag", "v1"]);
    git.ok(&work, &["tag", "light"]);
    git.ok(&work, &["branch", "another"]);
    git.ok(&work, &["push", "-q", "--mirror", "origin"]);
    git.ok(&bare, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    bare
}
