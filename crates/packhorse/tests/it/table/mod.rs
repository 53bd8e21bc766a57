//! One table of scenarios for every door and every store: stock git clones, fetches, pushes and
//! fails through the door, and what it says decides. A new door or store gets them all.

mod door;
mod faults;
mod scenarios;

use testkit::{Ceph, Postgres, Scenario};

use door::Door;

/// A repository of the other hash, which no push makes.
const SHA256: &str = "of/sha256.git";

/// What is asked of every door: a name for its repository, and what has to come out.
type Row = (&'static str, fn(&Door, &str));

const TABLE: &[Row] = &[
    ("clone", scenarios::clone),
    ("fetch", scenarios::fetch),
    ("push", scenarios::push),
    ("shallow", scenarios::shallow),
    ("partial", scenarios::partial),
    ("atomic", scenarios::atomic),
    ("races", scenarios::races),
    ("empty", scenarios::empty),
    ("archive", scenarios::archive),
    ("sha256", scenarios::sha256),
    ("big", scenarios::big),
    ("criss-cross", |door, name| scenarios::shape(door, name, Scenario::criss_cross(12))),
    ("octopus", |door, name| scenarios::shape(door, name, Scenario::octopus(9))),
    ("tags-of-tags", |door, name| scenarios::shape(door, name, Scenario::tags_of_tags(5))),
    ("many-refs", |door, name| scenarios::shape(door, name, Scenario::many_refs(700))),
    ("ten-thousand-refs", scenarios::ten_thousand_refs),
    ("huge-tree", |door, name| scenarios::shape(door, name, Scenario::huge_tree(2000))),
    ("odd-names", |door, name| scenarios::shape(door, name, Scenario::odd_file_names())),
    ("submodules", |door, name| scenarios::shape(door, name, Scenario::submodule_entries())),
    ("deep-chain", |door, name| scenarios::shape(door, name, Scenario::deep_delta_chain(60))),
    ("bad-packs", faults::bad_packs),
    ("cut-off", faults::cut_off),
    ("watch", scenarios::watch),
    ("names", faults::names),
];

/// Every row of the table through one door; names what failed.
fn check(door: &Door) {
    for (name, row) in TABLE {
        let case = std::panic::AssertUnwindSafe(|| row(door, &format!("of/{name}.git")));
        if let Err(panic) = std::panic::catch_unwind(case) {
            println!("'{name}' failed over {:?}", door.place);
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn folder_over_http() {
    check(&Door::http(None));
}

#[test]
fn folder_over_stdio() {
    check(&Door::stdio(None));
}

#[test]
fn folder_over_git_daemon() {
    check(&Door::daemon());
}

#[test]
fn folder_over_http_backend() {
    check(&Door::cgi());
}

#[test]
fn folder_over_git() {
    check(&Door::git(None));
}

#[test]
fn folder_over_https() {
    check(&Door::https(None));
}

#[test]
fn key_value_file_over_https() {
    check(&Door::https(Some("kv:{}/repositories.kv")));
}

#[test]
fn folder_over_ssh() {
    check(&Door::ssh(None));
}

#[test]
fn key_value_file_over_ssh() {
    check(&Door::ssh(Some("kv:{}/repositories.kv")));
}

#[test]
fn key_value_file_over_git() {
    check(&Door::git(Some("kv:{}/all.kv")));
}

#[test]
fn refs_in_a_database_and_packs_in_a_folder_over_git() {
    let postgres = Postgres::shared();
    check(&Door::git(Some(&format!("{}+dir:{{}}/packs", postgres.database()))));
}

#[test]
fn key_value_file_over_http() {
    check(&Door::http(Some("kv:{}/all.kv")));
}

#[test]
fn key_value_file_over_stdio() {
    check(&Door::stdio(Some("kv:{}/all.kv")));
}

#[test]
fn database_over_http() {
    check(&Door::http(Some(&Postgres::shared().database())));
}

#[test]
fn database_over_stdio() {
    check(&Door::stdio(Some(&Postgres::shared().database())));
}

#[test]
fn bucket_over_http() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    check(&Door::http(Some(&ceph.store())));
}

#[test]
fn bucket_over_stdio() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    check(&Door::stdio(Some(&ceph.store())));
}

#[test]
fn refs_in_a_database_and_packs_in_a_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let postgres = Postgres::shared();
    check(&Door::http(Some(&format!("{}+{}", postgres.database(), ceph.store()))));
    check(&Door::stdio(Some(&format!("{}+{}", postgres.database(), ceph.store()))));
}

#[test]
fn refs_in_a_key_value_file_and_packs_in_a_folder() {
    check(&Door::http(Some("kv:{}/refs.kv+dir:{}/packs")));
    check(&Door::stdio(Some("kv:{}/refs.kv+dir:{}/packs")));
}

#[test]
fn refs_in_one_bucket_and_packs_in_another() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    check(&Door::http(Some(&format!("{}+{}", ceph.store(), ceph.store()))));
    check(&Door::stdio(Some(&format!("{}+{}", ceph.store(), ceph.store()))));
}
