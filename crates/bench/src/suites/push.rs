//! A push of one commit, end to end: `git push` to our HTTP server, beside `git push`
//! to `git receive-pack` over a local path.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testkit::RealGit;

use super::{Bench, Shown};
use crate::Outcome;
use crate::cost::{self, Answer, Cost};
use crate::fixture::copy_links;
use crate::programs::Side;
use crate::report::Goal;

const BRANCH: &str = "refs/heads/bench";

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let git = bench.programs.git();
    let scratch = bench.fixtures.scratch();
    let origin = bench.fixtures.plain();
    let target = |name: &str| -> PathBuf {
        let dir = scratch.join(name);
        copy_links(git, origin, &dir);
        git.ok(&dir, &["update-ref", BRANCH, "HEAD"]);
        dir
    };
    let (ours, theirs, source) = (target("packhorse.git"), target("git.git"), target("source.git"));
    let server = bench.serve(&ours);
    let url = match &server {
        Some(server) => format!("http://{}{}", server.process.authority(), server.path).into(),
        None => OsString::from(&ours),
    };
    let commits = commits(git, &source, bench.arguments.runs + 1);
    let mut turns = [0; 2];
    let costs = bench.in_turn(|_, side| {
        let (to, turn) = match side {
            Side::Packhorse => (url.clone(), &mut turns[0]),
            Side::Git => (OsString::from(&theirs), &mut turns[1]),
        };
        let commit = &commits[*turn];
        *turn += 1;
        let server_pid = server.as_ref().filter(|_| side == Side::Packhorse);
        push(git, &source, &to, commit, server_pid.map(|server| server.process.pid())).map(Some)
    })?;
    for dir in [&ours, &theirs] {
        if git.ok(dir, &["rev-parse", BRANCH]) != commits[commits.len() - 1] {
            return Err(format!("a push to {} did not arrive", dir.display()).into());
        }
    }
    let case =
        if server.is_some() { "one commit, HTTP / local path" } else { "one commit, local path" };
    let shown = [Shown::Wall(Some(Goal::Ratio(0.7))), Shown::Cpu(None)];
    bench.show("push", case, &costs, &shown);
    Ok(())
}

/// One push; the CPU time is that of both ends.
fn push(
    git: &RealGit,
    source: &Path,
    url: &OsString,
    commit: &str,
    server: Option<u32>,
) -> Outcome<Cost> {
    let server_cpu = |pid: Option<u32>| pid.map_or(Ok(Duration::ZERO), cost::cpu_of_server);
    let before = server_cpu(server)?;
    let mut command = git.command(source);
    command.args(["push", "--quiet"]).arg(url).arg(format!("{commit}:{BRANCH}"));
    command.stdout(Stdio::null());
    let mut cost = cost::of_program(command, |_| Ok(Answer::default()))?;
    cost.cpu += server_cpu(server)? - before;
    Ok(cost)
}

/// A line of commits on top of HEAD, each with one new file in the root.
pub(super) fn commits(git: &RealGit, dir: &Path, count: usize) -> Vec<String> {
    let tree = git.ok_with_input(dir, &["ls-tree", "-z", "HEAD"], b"").stdout;
    let mut parent = git.ok(dir, &["rev-parse", "HEAD"]);
    let mut made = Vec::new();
    for number in 0..count {
        let text = format!("benchmark file {number}\n");
        let blob =
            git.ok_with_input(dir, &["hash-object", "-w", "--stdin"], text.as_bytes()).text();
        let mut entries = tree.clone();
        entries.extend_from_slice(format!("100644 blob {blob}\tpackhorse-bench\0").as_bytes());
        let tree = git.ok_with_input(dir, &["mktree", "-z"], &entries).text();
        parent = git.ok(dir, &["commit-tree", "-p", &parent, "-m", "A benchmark push", &tree]);
        made.push(parent.clone());
    }
    made
}
