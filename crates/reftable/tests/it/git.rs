//! Stock git reads what we write, and we read what it writes.

use std::fs;
use std::path::{Path, PathBuf};

use object::{HashKind, ObjectId};
use reftable::merged::{MergedLogs, MergedRefs};
use reftable::stack::{LIST, compact, format_list, next_update_index, parse_list, table_name};
use reftable::{LogRecord, RefRecord, RefValue, Table, ValueView, WriteOptions, table_of};
use testkit::RealGit;

use crate::line;

struct Repository<'g> {
    git: &'g RealGit,
    dir: PathBuf,
    hash: HashKind,
}

impl Repository<'_> {
    fn stack(&self) -> PathBuf {
        self.dir.join("reftable")
    }

    fn tables(&self) -> Vec<Table> {
        let list = fs::read(self.stack().join(LIST)).expect("a list");
        let names = parse_list(&list).expect("names");
        let read = |name: &String| fs::read(self.stack().join(name)).expect("a table");
        names.iter().map(|name| Table::open(read(name).into()).expect("a table")).collect()
    }

    /// Puts a table on the stack, in place of all others or above them.
    fn push(&self, bytes: &[u8], replaces: bool) {
        let table = Table::open(bytes.to_vec().into()).expect("a table");
        let name = table_name(table.min_update_index(), table.max_update_index(), 0xabcd);
        fs::write(self.stack().join(&name), bytes).expect("written");
        let list = self.stack().join(LIST);
        let mut names = parse_list(&fs::read(&list).expect("a list")).expect("names");
        if replaces {
            names.clear();
        }
        names.push(name);
        fs::write(&list, format_list(&names)).expect("written");
    }

    /// As `git for-each-ref` shows refs.
    fn ours(&self) -> Vec<String> {
        let mut refs = MergedRefs::new(&self.tables(), "refs/".into(), false).expect("a cursor");
        let mut lines = Vec::new();
        while refs.advance().expect("readable") {
            let view = refs.present().expect("present");
            let hex = |bytes: &[u8]| ObjectId::from_prefix(bytes, self.hash).to_hex();
            let shown = match view.value {
                ValueView::Id(id) => format!("{} {}", view.name, hex(id)),
                ValueView::Tag(id, peeled) => {
                    format!("{} {} {}", view.name, hex(id), hex(peeled))
                }
                ValueView::Symbolic(target) => format!("{} -> {target}", view.name),
                ValueView::Deleted => panic!("{} is gone", view.name),
            };
            lines.push(shown);
        }
        lines
    }

    fn theirs(&self) -> Vec<String> {
        let format = "%(refname)%(if)%(symref)%(then) -> %(symref)%(else) %(objectname)\
                      %(if)%(*objectname)%(then) %(*objectname)%(end)%(end)";
        let shown = self.git.ok(&self.dir, &["for-each-ref", &format!("--format={format}")]);
        shown.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_same(&self) {
        let (ours, theirs) = (self.ours(), self.theirs());
        for (one, other) in ours.iter().zip(&theirs) {
            assert_eq!(one, other);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

fn made<'g>(git: &'g RealGit, name: &str, hash: HashKind) -> (Repository<'g>, Vec<ObjectId>) {
    let (dir, format) = (git.path(name), format!("--object-format={}", hash.name()));
    let path = dir.to_str().expect("text");
    git.ok(git.root(), &["init", "-q", "--bare", "--ref-format=reftable", &format, path]);
    let tree = git.ok_with_input(&dir, &["mktree"], b"").text();
    let commits: Vec<_> = (0..5)
        .map(|n| git.ok(&dir, &["commit-tree", "-m", &n.to_string(), &tree]).trim().to_owned())
        .collect();
    let ids = commits.iter().map(|id| ObjectId::from_hex(id.as_bytes()).expect("an id"));
    (Repository { git, dir: dir.clone(), hash }, ids.collect())
}

fn create(git: &RealGit, dir: &Path, names: impl Iterator<Item = String>, id: &ObjectId) {
    let input: String = names.map(|name| format!("create {name} {id}\n")).collect();
    git.ok_with_input(dir, &["update-ref", "--stdin"], input.as_bytes());
}

#[test]
fn we_read_what_git_writes() {
    let git = RealGit::new();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let (repository, ids) = made(&git, &format!("theirs-{}.git", hash.name()), hash);
        let dir = &repository.dir;
        git.ok(dir, &["config", "core.logAllRefUpdates", "true"]);
        create(&git, dir, (0..3000).map(|n| format!("refs/heads/{n:04}")), &ids[0]);
        repository.assert_same();
        for (n, id) in ids.iter().enumerate() {
            git.ok(dir, &["update-ref", "-m", "moved", "refs/heads/0007", &id.to_hex()]);
            git.ok(dir, &["tag", "-a", "-m", "tag", &format!("v{n}"), &id.to_hex()]);
        }
        git.ok(dir, &["update-ref", "-d", "refs/heads/0008"]);
        git.ok(dir, &["symbolic-ref", "refs/heads/alias", "refs/heads/0007"]);
        repository.assert_same();
        let mut logs = MergedLogs::new(&repository.tables(), "refs/heads/0007".into(), false)
            .expect("a cursor");
        let lines = std::iter::from_fn(|| logs.next_line().expect("readable"));
        let ours: String = lines
            .take_while(|line| line.name == "refs/heads/0007")
            .map(|line| line.entry.expect("a line"))
            .map(|entry| format!("{} {}\n", entry.new, entry.message.trim_ascii_end().len()))
            .collect();
        let theirs = git.ok(dir, &["log", "-g", "--format=%H %gs", "refs/heads/0007"]);
        let theirs: String = theirs
            .lines()
            .map(|line| line.split_once(' ').expect("two words"))
            .map(|(id, message)| format!("{id} {}\n", message.len()))
            .collect();
        assert_eq!(ours, theirs);
        git.ok(dir, &["refs", "verify"]);
    }
}

#[test]
fn git_reads_what_we_write() {
    let git = RealGit::new();
    for (hash, block_size, count) in [
        (HashKind::Sha1, 4096, 10),
        (HashKind::Sha1, 4096, 20_000),
        (HashKind::Sha1, 512, 3000),
        (HashKind::Sha256, 4096, 3000),
    ] {
        let name = format!("ours-{}-{block_size}-{count}.git", hash.name());
        let (repository, ids) = made(&git, &name, hash);
        let record = |name: &str, value| RefRecord { name: name.into(), update_index: 1, value };
        let mut refs = vec![record("HEAD", RefValue::Symbolic("refs/heads/00001".into()))];
        for number in 0..count {
            let id = ids[number % ids.len()];
            refs.push(record(&format!("refs/heads/{number:05}"), RefValue::Id(id)));
        }
        refs.push(record("refs/tags/alias", RefValue::Symbolic("refs/heads/00002".into())));
        let at = |mut line: LogRecord, old: ObjectId, new: ObjectId| {
            let entry = line.entry.as_mut().expect("a line");
            (entry.old, entry.new) = (old, new);
            line
        };
        let logs: Vec<_> = (0..count.min(500))
            .map(|number| {
                let name = format!("refs/heads/{number:05}");
                let new = ids[number % ids.len()];
                at(line(hash, &name, 1, "made by us\n"), ObjectId::null(hash), new)
            })
            .collect();
        let options = WriteOptions { block_size, ..WriteOptions::new(hash, 1, 1) };
        repository.push(&table_of(options, &refs, &logs).expect("written"), true);
        repository.assert_same();
        assert_eq!(git.ok(&repository.dir, &["symbolic-ref", "HEAD"]).trim(), "refs/heads/00001");
        let last = format!("refs/heads/{:05}", count - 1);
        let shown = git.ok(&repository.dir, &["rev-parse", "--verify", &last]);
        assert_eq!(shown.trim(), ids[(count - 1) % ids.len()].to_hex());
        let lines = git.ok(&repository.dir, &["log", "-g", "--format=%gs|%gd", "refs/heads/00003"]);
        assert_eq!(lines.trim(), "made by us|00003@{0}");

        // git goes on from there, and what both wrote is made one table.
        git.ok(&repository.dir, &["config", "core.logAllRefUpdates", "true"]);
        git.ok(&repository.dir, &["update-ref", "-d", "refs/heads/00004"]);
        git.ok(&repository.dir, &["update-ref", "refs/heads/new", &ids[0].to_hex()]);
        let both = repository.theirs();
        repository.assert_same();
        let tables = repository.tables();
        assert!(next_update_index(&tables) > 2);
        repository.push(&compact(&tables, true, Vec::new()).expect("compacted"), true);
        repository.assert_same();
        assert!(repository.theirs() == both, "a compaction changes nothing");
        git.ok(&repository.dir, &["pack-refs", "--all"]);
        repository.assert_same();
    }
}
