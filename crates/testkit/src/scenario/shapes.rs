//! The shapes of history and of trees that a Git server must get right.

use std::fmt::Write;

use object::{HashKind, ObjectId};

use super::{Change, FastImport, Mark, Scenario};
use crate::Random;

/// Commits that a many-refs repository spreads its refs over.
const MANY_REFS_COMMITS: usize = 64;

impl Scenario {
    /// `n` commits on `main`, each changing one of a few files.
    pub fn linear(n: usize) -> Self {
        Scenario::new(move |import| {
            line(import, "main", n, None);
        })
    }

    /// `n` commits over `main` and topic branches which are merged, left open or abandoned.
    pub fn branchy(n: usize) -> Self {
        Scenario::new(move |import| branchy(import, n))
    }

    /// Two branches that merge each other at every one of `n` rounds: many best merge bases.
    pub fn criss_cross(n: usize) -> Self {
        Scenario::new(move |import| {
            let base = line(import, "main", 1, None);
            let (mut left, mut right) = (base, base);
            for round in 0..n {
                let (l, r) = (
                    edit(import, "left", &format!("left-{round}"), &[left]),
                    edit(import, "right", &format!("right-{round}"), &[right]),
                );
                left = edit(import, "left", &format!("left-cross-{round}"), &[l, r]);
                right = edit(import, "right", &format!("right-cross-{round}"), &[r, l]);
            }
            import.set_ref("refs/heads/main", left);
        })
    }

    /// One merge of `parents` branches.
    pub fn octopus(parents: usize) -> Self {
        Scenario::new(move |import| {
            let base = line(import, "main", 2, None);
            let arms: Vec<Mark> = (0..parents)
                .map(|arm| edit(import, &format!("arm-{arm}"), &format!("arm-{arm}"), &[base]))
                .collect();
            edit(import, "main", "octopus", &arms);
        })
    }

    /// Annotated tags of a commit, of a tag, `depth` tags deep, of a blob and of a tree;
    /// a lightweight tag too.
    pub fn tags_of_tags(depth: usize) -> Self {
        Scenario::new(move |import| {
            let tip = line(import, "main", 3, None);
            import.set_ref("refs/tags/light", tip);
            let mut target = tip;
            for level in 1..=depth.max(1) {
                target = import.tag(&format!("level-{level}"), target, &format!("Level {level}\n"));
            }
            let key = import.blob("a public key\n");
            import.tag("blob", key, "A blob\n");
        })
        .then(|git, dir| {
            git.ok(dir, &["tag", "-a", "-m", "A tree", "tree", "main^{tree}"]);
        })
    }

    /// Two commits whose one folder `wide/` has `entries` files; the second changes a single file.
    pub fn huge_tree(entries: usize) -> Self {
        Scenario::new(move |import| {
            let blobs: Vec<Mark> = (0..16).map(|n| import.blob(format!("blob {n}\n"))).collect();
            let paths: Vec<String> = (0..entries).map(|n| format!("wide/{n:07}")).collect();
            let changes: Vec<Change<'_>> = paths
                .iter()
                .enumerate()
                .map(|(n, path)| Change::File(path.as_bytes(), blobs[n % blobs.len()]))
                .collect();
            let first = import.commit("main", "A wide folder\n", &[], &changes);
            let changed = import.blob("changed\n");
            let path = format!("wide/{:07}", entries / 2);
            let change = Change::File(path.as_bytes(), changed);
            import.commit("main", "One file of many\n", &[first], &[change]);
        })
    }

    /// One file whose `depth` revisions lie in the pack as one chain of deltas (at most 4,095).
    pub fn deep_delta_chain(depth: u32) -> Self {
        let mut scenario = Scenario::new(move |import| {
            let mut text =
                Random::new(1).bytes(600).iter().fold(String::new(), |mut text, byte| {
                    let _ = writeln!(text, "line {byte}");
                    text
                });
            let mut revisions = Vec::new();
            for revision in 0..=depth {
                let _ = writeln!(text, "revision {revision}");
                revisions.push(import.blob(&text));
            }
            let mut parent = None;
            for (n, blob) in revisions.iter().enumerate() {
                let message = format!("Revision {n}\n");
                let change = Change::File(b"chain.txt", *blob);
                parent = Some(import.commit("main", &message, parent.as_slice(), &[change]));
            }
        });
        scenario.delta_depth_max = Some(depth);
        scenario
    }

    /// Trees with submodule entries: commits that are not, and need not be, in this repository.
    pub fn submodule_entries() -> Self {
        Scenario::new(|import| {
            let modules = import.blob(
                "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = https://example.com/lib.git\n",
            );
            let mut parent = line(import, "main", 1, None);
            for pin in 1..=3u8 {
                let elsewhere = made_up_id(import.hash(), pin);
                let changes = [
                    Change::File(b".gitmodules", modules),
                    Change::Submodule(b"vendor/lib", elsewhere),
                ];
                let message = format!("Pin {pin}\n");
                parent = import.commit("main", &message, &[parent], &changes);
            }
        })
    }

    /// `n` packed branches and tags, every fourth of them an annotated tag with its peeled id.
    pub fn many_refs(n: usize) -> Self {
        Scenario::new(|import| {
            let mut tip = line(import, "main", MANY_REFS_COMMITS, None);
            for tag in 0..MANY_REFS_COMMITS {
                tip = edit(import, "main", &format!("tagged-{tag}"), &[tip]);
                import.tag(&format!("seed/{tag:02}"), tip, "A seed for packed refs\n");
            }
        })
        .then(move |git, dir| {
            let commits = git.ok(dir, &["rev-list", "main"]);
            let commits: Vec<&str> = commits.lines().collect();
            let format = "--format=%(objectname) %(*objectname)";
            let tags = git.ok(dir, &["for-each-ref", format, "refs/tags/seed"]);
            let tags: Vec<(&str, &str)> = tags.lines().filter_map(|l| l.split_once(' ')).collect();
            std::fs::write(dir.join("packed-refs"), packed_refs(n, &commits, &tags))
                .expect("write packed-refs");
            std::fs::remove_dir_all(dir.join("refs/tags")).expect("the seeds were loose");
            std::fs::create_dir(dir.join("refs/tags")).expect("refs/tags is gone");
        })
    }

    /// Names that break careless code: spaces, quotes, newlines, no UTF-8, look-alikes of `.git`.
    pub fn odd_file_names() -> Self {
        Scenario::new(|import| {
            let long = vec![b'n'; 255];
            let odd: [&[u8]; 16] = [
                b"with space",
                b"-dash",
                b"quote\"and'tick",
                b"back\\slash",
                b"new\nline",
                b"tab\there",
                b"\xff\xfe no utf-8",
                "größe/日本語.txt".as_bytes(),
                b".gitx",
                b".hidden/..more/...",
                b"a",
                b"a.b/c",
                b"a-b/c",
                b"a0/c",
                b"CON/aux.txt",
                &long,
            ];
            let blob = import.blob("odd\n");
            let link = import.blob("with space");
            let mut changes: Vec<Change<'_>> =
                odd.iter().map(|path| Change::File(path, blob)).collect();
            changes.push(Change::Symlink(b"link", link));
            changes.push(Change::Executable(b"run me", blob));
            let first = import.commit("main", "Odd names\n", &[], &changes);
            // "a" becomes a folder: it now sorts behind "a-b" and "a.b".
            let changes = [Change::Delete(b"a"), Change::File(b"a/inside", blob)];
            import.commit("main", "A file becomes a folder\n", &[first], &changes);
        })
    }

    /// One incompressible blob of `bytes` bytes beside a small one.
    pub fn big_blob(bytes: usize) -> Self {
        Scenario::new(move |import| {
            let big = import.blob(Random::new(bytes as u64).bytes(bytes));
            let small = import.blob("small\n");
            let changes = [Change::File(b"big.bin", big), Change::File(b"small.txt", small)];
            import.commit("main", "A big blob\n", &[], &changes);
        })
    }

    /// A shallow repository: the last `depth` of `n` commits of a linear history. The complete
    /// one lies beside it, in `NAME-origin`.
    pub fn shallow(n: usize, depth: usize) -> Self {
        Scenario::linear(n).then(move |git, dir| {
            let mut origin = dir.as_os_str().to_owned();
            origin.push("-origin");
            std::fs::rename(dir, &origin).expect("move the complete repository aside");
            let mut url = std::ffi::OsString::from("file://");
            url.push(&origin);
            let depth = format!("--depth={depth}");
            git.clone(&url, dir, &["--bare", "--no-single-branch", &depth]);
        })
    }
}

fn line(import: &mut FastImport<'_>, branch: &str, n: usize, parent: Option<Mark>) -> Mark {
    let mut parent = parent;
    for step in 0..n.max(1) {
        let blob = import.blob(format!("{branch} at step {step}\n"));
        let path = format!("dir-{}/file-{}.txt", step % 3, step % 7);
        let change = Change::File(path.as_bytes(), blob);
        let message = format!("Step {step} of {branch}\n");
        parent = Some(import.commit(branch, &message, parent.as_slice(), &[change]));
    }
    parent.expect("at least one commit was made")
}

/// A commit that adds one file named after what it is.
fn edit(import: &mut FastImport<'_>, branch: &str, what: &str, parents: &[Mark]) -> Mark {
    let blob = import.blob(format!("{what}\n"));
    let path = format!("edits/{what}.txt");
    import.commit(branch, &format!("{what}\n"), parents, &[Change::File(path.as_bytes(), blob)])
}

fn branchy(import: &mut FastImport<'_>, n: usize) {
    let mut random = Random::new(n as u64);
    let mut main = line(import, "main", 1, None);
    let mut open: Vec<(String, Mark)> = Vec::new();
    for step in 1..n {
        let what = format!("step-{step}");
        match random.below(4) {
            0 => {
                let name = format!("topic-{step}");
                let tip = edit(import, &name, &what, &[main]);
                open.push((name, tip));
            }
            1 if !open.is_empty() => {
                let (_, topic) = open.swap_remove(random.below(open.len()));
                main = edit(import, "main", &what, &[main, topic]);
            }
            2 if !open.is_empty() => {
                let at = random.below(open.len());
                let (name, tip) = open[at].clone();
                open[at].1 = edit(import, &name, &what, &[tip]);
            }
            _ => main = edit(import, "main", &what, &[main]),
        }
    }
}

fn made_up_id(hash: HashKind, fill: u8) -> ObjectId {
    ObjectId::from_bytes(&vec![fill; hash.len()], hash).expect("as many bytes as the hash has")
}

fn packed_refs(n: usize, commits: &[&str], tags: &[(&str, &str)]) -> String {
    let mut lines = Vec::with_capacity(n);
    for at in 0..n {
        if at % 4 == 3 {
            let (tag, peeled) = tags[at % tags.len()];
            lines.push((format!("refs/tags/release-{at:06}"), (*tag).to_owned(), Some(peeled)));
        } else {
            let name = format!("refs/heads/team-{:02}/topic-{at:06}", at % 40);
            lines.push((name, commits[at % commits.len()].to_owned(), None));
        }
    }
    lines.sort();
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for (name, id, peeled) in lines {
        let _ = writeln!(text, "{id} {name}");
        if let Some(peeled) = peeled {
            let _ = writeln!(text, "^{peeled}");
        }
    }
    text
}
