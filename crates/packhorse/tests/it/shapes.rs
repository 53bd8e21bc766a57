//! Every shape of history there and back: pushed over HTTP, and cloned again in three ways.

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

fn there_and_back(shape: &str, scenario: Scenario) {
    let git = RealGit::new();
    let source = scenario.build(&git, "source.git");
    let format = git.ok(&source, &["rev-parse", "--show-object-format"]);
    let format = if format == "sha256" { object::HashKind::Sha256 } else { object::HashKind::Sha1 };
    let origin = git.init_bare_of("srv/a.git", format);
    let server = Serving::start(&git, git.path("srv"), &[]);
    let url = server.url("a.git");
    git.ok(&source, &["push", "-q", "--mirror", &url]);
    assert_eq!(git.refs(&origin), git.refs(&source), "{shape}");
    git.fsck_strict(&origin);
    for layout in ["as pushed", "packed"] {
        if layout == "packed" {
            git.ok(&origin, &["repack", "-adbq"]);
            git.ok(&origin, &["pack-refs", "--all"]);
        }
        let clone = git.clone(&url, format!("mirror {layout}"), &["--mirror", "--quiet"]);
        assert_eq!(git.refs(&clone), git.refs(&source), "{shape} {layout}");
        assert_eq!(git.reachable(&clone), git.reachable(&source), "{shape} {layout}");
        git.fsck_strict(&clone);

        let options = ["--depth=2", "--no-single-branch", "--bare", "--quiet"];
        let shallow = git.clone(&url, format!("shallow {layout}"), &options);
        git.fsck_strict(&shallow);
        git.ok(&shallow, &["fetch", "-q", "--unshallow", "origin", "+refs/*:refs/*"]);
        assert_eq!(git.reachable(&shallow), git.reachable(&source), "{shape} {layout}");

        git.ok(&origin, &["config", "uploadpack.allowFilter", "true"]);
        let options = ["--filter=tree:0", "--no-checkout", "--quiet"];
        let partial = git.clone(&url, format!("partial {layout}"), &options);
        let ours = git.ok(&partial, &["ls-tree", "-r", "-z", "HEAD"]);
        assert_eq!(ours, git.ok(&source, &["ls-tree", "-r", "-z", "HEAD"]), "{shape} {layout}");
    }
}

#[test]
fn merges_that_cross() {
    there_and_back("criss-cross", Scenario::criss_cross(12));
    there_and_back("octopus", Scenario::octopus(9));
}

#[test]
fn tags_of_tags_and_many_refs() {
    there_and_back("tags of tags", Scenario::tags_of_tags(5));
    there_and_back("many refs", Scenario::many_refs(700));
}

#[test]
fn trees_and_names() {
    there_and_back("huge tree", Scenario::huge_tree(5000));
    there_and_back("odd names", Scenario::odd_file_names());
    there_and_back("submodules", Scenario::submodule_entries());
}

#[test]
fn long_chains_and_the_other_hash() {
    there_and_back("deep chain", Scenario::deep_delta_chain(120));
    there_and_back("sha256", Scenario::branchy(40).sha256());
}
