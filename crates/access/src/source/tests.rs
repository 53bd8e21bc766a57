//! Records in files and databases, changed and read again.

use super::*;
use crate::authority::{Authority as _, Credential, Proof};
use crate::key::tests::line;
use crate::{Level, Rule, SshKey, Usage, UserRecord};

fn add_user(records: &mut Records, name: &str, keys: Vec<String>) {
    records.users.insert(name.into(), UserRecord { keys, ..UserRecord::default() });
}

fn read_rule(who: &str) -> Rule {
    Rule {
        repositories: vec!["**".into()],
        who: vec![who.into()],
        allow: Some(Level::Read),
        ..Rule::default()
    }
}

fn both(check: impl Fn(&Path)) {
    for name in ["access.toml", "access.db"] {
        let folder = tempfile::tempdir().expect("a folder");
        check(&folder.path().join(name));
    }
}

#[test]
fn changes_are_kept() {
    both(|path| {
        let source = open(path);
        assert!(matches!(source.load(), Err(SourceError::Io(..))), "not there");
        let add = |name: &'static str, key: u8| {
            source.change(Box::new(move |records| {
                add_user(records, name, vec![line(key)]);
                records.rules.push(read_rule(name));
                Ok(())
            }))
        };
        add("ann", 1).expect("a user");
        add("bob", 2).expect("another");
        let records = source.load().expect("records");
        assert_eq!(records.users.len(), 2);
        assert_eq!(records.rules, [read_rule("ann"), read_rule("bob")]);
        let error = add("eve", 1).expect_err("a key of ann").to_string();
        assert!(error.contains("a key of 'ann', too"), "{error}");
        let error = source.change(Box::new(|_| Err("no".into()))).expect_err("refused");
        assert_eq!(error.to_string(), "no");
        assert_eq!(source.load().expect("records"), records);
        let remove = |records: &mut Records| {
            records.users.remove("ann");
            records.rules.remove(0);
            Ok(())
        };
        source.change(Box::new(remove)).expect("removed");
        let records = source.load().expect("records");
        assert_eq!((records.users.len(), records.rules.as_slice()), (1, &[read_rule("bob")][..]));
    });
}

#[test]
fn a_file_keeps_what_people_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.toml");
    let text = "# Ours.\n[users.ann]   # the first\nemail = 'a@b'  # private\n\n[[rules]] # all read\n\
                repositories = [\"**\"]\nwho = [\"anyone\"]\nallow = \"read\"\n\n# Others\n[[rules]]\n\
                repositories = [ 'x' ]\nwho = [\"ann\"]\nallow = 'write'\n";
    std::fs::write(&path, text).expect("a file");
    let source = open(&path);
    let change = |records: &mut Records| {
        add_user(records, "bob", vec![line(2)]);
        let ann = records.users.get_mut("ann").expect("ann");
        ann.email = Some("c@d".into());
        records.rules.insert(1, read_rule("bob"));
        records.groups.insert("all".into(), vec!["ann".into()]);
        Ok(())
    };
    source.change(Box::new(change)).expect("a change");
    let after = std::fs::read_to_string(&path).expect("a file");
    for kept in [
        "# Ours.",
        "# the first",
        "# private",
        "# all read",
        "# Others",
        "[ 'x' ]",
        "allow = 'write'",
    ] {
        assert!(after.contains(kept), "{kept}\n{after}");
    }
    let records = source.load().expect("records");
    assert_eq!(records.rules[1], read_rule("bob"));
    assert_eq!(records.rules.len(), 3);
    assert_eq!(records.users["ann"].email.as_deref(), Some("c@d"));
    source
        .change(Box::new(|records| {
            records.rules.remove(1);
            records.groups.clear();
            Ok(())
        }))
        .expect("back");
    let after = std::fs::read_to_string(&path).expect("a file");
    assert!(!after.contains("groups") && after.contains("# Others"), "{after}");
}

#[test]
fn many_change_at_once() {
    both(|path| {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let add = move |records: &mut Records| {
                        add_user(records, &format!("user{number}"), Vec::new());
                        Ok(())
                    };
                    open(path).change(Box::new(add)).expect("a change");
                });
            }
        });
        assert_eq!(open(path).load().expect("records").users.len(), 8);
    });
}

#[test]
fn what_is_written_holds_at_once() {
    both(|path| {
        let source = open(path);
        let change = |change: &dyn Fn(&mut Records)| {
            let change = |records: &mut Records| {
                change(records);
                Ok(())
            };
            source.change(Box::new(change)).expect("a change");
        };
        change(&|records| add_user(records, "ann", vec![line(1)]));
        let watched = Watched::new(open(path)).expect("an authority");
        let blob = SshKey::parse(&line(1)).expect("a key").blob;
        let proof = Proof::SshKey { blob: &blob };
        let ann = watched.identify(&proof, 5).expect("asked").expect("ann");
        assert_eq!(watched.decide(Some(&ann), "x", 5).expect("asked").level, Level::None);
        change(&|records| records.rules.push(read_rule("ann")));
        assert_eq!(watched.decide(Some(&ann), "x", 5).expect("asked").level, Level::Read);
        assert_eq!(watched.keys_of("ann").expect("asked").ssh, std::slice::from_ref(&blob));
        change(&|records| add_user(records, "ann", Vec::new()));
        assert!(watched.decide(Some(&ann), "x", 5).expect("asked").is_gone);
        let Credential::Key { fingerprint } = ann.credential else { panic!("a key") };
        drop(watched);
        assert_eq!(Usage::beside(path).read()[&fingerprint].0, 5);
    });
}

#[test]
fn rules_nobody_understands_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.toml");
    let good = "[[rules]]\nrepositories = ['**']\nwho = ['anyone']\nallow = 'read'\n";
    std::fs::write(&path, good).expect("a file");
    let watched = Watched::new(open(&path)).expect("an authority");
    let level = || watched.decide(None, "x", 0).expect("asked").level;
    for bad in [
        "[[rules]]\nwho = 3",
        "[[rules]]\nrepositories = ['**']\nwho = ['zoe']\nallow = 'read'\n",
        "[user.ann]\n",
    ] {
        std::fs::write(&path, bad).expect("a file");
        assert_eq!(level(), Level::Read);
        Watched::new(open(&path)).err().expect("no server starts with that");
    }
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(level(), Level::Read);
    std::fs::write(&path, good.replace("read", "write")).expect("a file");
    assert_eq!(level(), Level::Write);
}
