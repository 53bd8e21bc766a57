//! Instructions of the hot paths, beside those that are on file: on a busy machine time tells
//! little of a change, and instructions tell it to the last per cent.
//!
//! They are counted by valgrind's cachegrind, which simulates the same processor everywhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Bench;
use crate::Outcome;
use crate::cost::{self, Answer, Cost};
use crate::fixture;
use crate::programs::{Programs, Side};
use crate::protocol::{Client, Fetch};
use crate::report::{Figures, Goal, Unit};
use crate::transport::Streams;

/// What counts.
const COUNTER: &[&str] = &[
    "valgrind",
    "--tool=cachegrind",
    "--cache-sim=no",
    "--cachegrind-out-file=/dev/null",
    "--trace-children=yes",
    "--vgdb=no",
];
/// The figures on file, seen from the project's folder: one line for each case, with a tabulator
/// between name and count.
const ON_FILE: &str = "crates/bench/instructions.tsv";
/// How much more than on file is a step back.
const TOLERANCE: f64 = 1.03;
/// Objects of the repository, whatever the other suites measure on: the figures on file are its.
const OBJECTS: usize = 20_000;
const REFS: usize = 10_000;
const COMMITS_BACK: usize = 20;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("bench: instructions are not counted: there is no valgrind");
        return Ok(());
    }
    let git = bench.programs.git();
    let bitmapped = bench.fixtures.of_size(git, OBJECTS)?;
    let plain = bitmapped.with_file_name("plain.git");
    git.ok(&bitmapped, &["config", "uploadpack.allowFilter", "true"]);
    let refs = bench.fixtures.many_refs(REFS)?;
    let history = git.ok(&plain, &["rev-list", "--first-parent", "HEAD"]);
    let history: Vec<String> = history.lines().map(str::to_owned).collect();
    let tip = &history[..1];
    let (parent, older) = (&history[1..2], &history[COMMITS_BACK..=COMMITS_BACK]);

    let all = Fetch::default();
    let some = |wants, haves| Fetch { wants, haves, ..all };
    let fetches = [
        ("clone, bitmap", &bitmapped, all),
        ("clone, no bitmap", &plain, all),
        ("blob:none, bitmap", &bitmapped, Fetch { filter: Some("blob:none"), ..all }),
        ("depth 1", &plain, Fetch { depth: Some(1), ..all }),
        ("newest commit, bitmap", &bitmapped, some(tip, parent)),
        ("last commits, no bitmap", &plain, some(tip, older)),
    ];
    let mut counted = Vec::new();
    for (case, dir, fetch) in fetches {
        let counts = over_streams(bench, dir, |client| match fetch.wants {
            [] => {
                let (_, wants) = client.ls_refs()?;
                client.fetch(&Fetch { wants: &wants, ..fetch }, false)
            }
            _ => client.fetch(&fetch, false),
        })?;
        counted.push((case, counts));
    }
    let prefixes = ["refs/heads/", "refs/tags/", "HEAD"];
    let list = |client: &mut Client<'_>| client.refs_under(&prefixes).map(|_| Answer::default());
    counted.push(("ls-refs", over_streams(bench, &refs, list)?));
    counted.push(("index, 1 thread", index(bench, &plain)?));
    report(bench, &counted)
}

/// What both programs needed.
struct Counts {
    packhorse: u64,
    git: u64,
}

fn over_streams(
    bench: &Bench<'_>,
    dir: &Path,
    ask: impl Fn(&mut Client<'_>) -> Outcome<Answer>,
) -> Outcome<Counts> {
    of_both(bench, |programs, side| {
        cost::of_program(programs.upload_pack(side, dir), |child| {
            let mut road = Streams::of(child)?;
            let mut client = Client::open(&mut road)?;
            let answer = ask(&mut client)?;
            client.close()?;
            Ok(answer)
        })
    })
}

fn index(bench: &Bench<'_>, plain: &Path) -> Outcome<Counts> {
    let pack = fixture::only_pack(plain)?;
    of_both(bench, |programs, side| {
        let scratch = bench.fixtures.scratch();
        let dir = scratch.join("empty.git");
        let git = programs.git();
        git.ok(
            git.root(),
            &["init".as_ref(), "--quiet".as_ref(), "--bare".as_ref(), dir.as_os_str()],
        );
        let mut command = programs.index_pack(side, &dir, 1);
        command.stdin(File::open(&pack)?);
        cost::of_program(command, |_| Ok(Answer::default()))
    })
}

/// Counts the instructions of each side, and of all programs it starts.
fn of_both(bench: &Bench<'_>, run: impl Fn(&Programs, Side) -> Outcome<Cost>) -> Outcome<Counts> {
    let count = |side| -> Outcome<u64> {
        let logs = bench.fixtures.scratch();
        let mut runner: Vec<OsString> = COUNTER.iter().map(OsString::from).collect();
        runner.push(format!("--log-file={}", logs.join("%p").display()).into());
        run(&bench.programs.run_by(runner)?, side).map_err(|why| format!("{side}: {why}"))?;
        let mut sum = 0;
        for log in fs::read_dir(&logs)? {
            sum += count_of(&fs::read_to_string(log?.path())?).ok_or("valgrind tells no count")?;
        }
        Ok(sum)
    };
    Ok(Counts { packhorse: count(Side::Packhorse)?, git: count(Side::Git)? })
}

/// The count in what cachegrind says at the end: `==1== I   refs:      1,234`.
fn count_of(log: &str) -> Option<u64> {
    let (_, count) = log.lines().find(|line| line.contains("refs:"))?.split_once("refs:")?;
    count.trim().replace(',', "").parse().ok()
}

/// Shows the counts beside those on file; writes those down instead when told so.
fn report(bench: &mut Bench<'_>, counted: &[(&str, Counts)]) -> Outcome<()> {
    let root = std::env::var_os("PACKHORSE_ROOT").unwrap_or_else(|| ".".into());
    let file = Path::new(&root).join(ON_FILE);
    let mut steps_back = Vec::new();
    let on_file = fs::read_to_string(&file).unwrap_or_default();
    for (case, Counts { packhorse, git }) in counted {
        let goal = count_on_file(&on_file, case).map(|count| count as f64 * TOLERANCE);
        if !bench.arguments.self_check && goal.is_some_and(|goal| *packhorse as f64 > goal) {
            steps_back.push(*case);
        }
        let (packhorse, git) = (vec![*packhorse as f64], vec![*git as f64]);
        let figures = Figures { unit: Unit::Instructions, packhorse, git };
        let goal = goal.map(Goal::AtMost);
        bench.report.add("instructions", case, "instructions", figures, goal.as_slice());
    }
    if bench.arguments.note_instructions {
        let line = |(case, counts): &(&str, Counts)| format!("{case}\t{}\n", counts.packhorse);
        fs::write(&file, counted.iter().map(line).collect::<String>())?;
        return Ok(());
    }
    match steps_back[..] {
        [] => Ok(()),
        _ => Err(format!(
            "more instructions than {} has, by over {:.0} %: {}; if that is meant, say \
             --note-instructions",
            file.display(),
            (TOLERANCE - 1.0) * 100.0,
            steps_back.join(", ")
        )
        .into()),
    }
}

fn count_on_file(on_file: &str, case: &str) -> Option<u64> {
    let line = on_file.lines().find_map(|line| line.strip_prefix(case)?.strip_prefix('\t'))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_where_they_are_told() {
        let log = "==7== Command: git\n==7== \n==7== I   refs:      12,345,678\n";
        assert_eq!(count_of(log), Some(12_345_678));
        assert_eq!(count_of("==7== Command: git\n"), None);
        let on_file = "clone, bitmap\t12\nclone\t3\n";
        assert_eq!(count_on_file(on_file, "clone"), Some(3));
        assert_eq!(count_on_file(on_file, "index"), None);
    }
}
