//! Stores: how fast refs change, what a push takes, and a clone from a bucket beside a plain
//! download of the same pack from the same service.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Ceph, Postgres, RealGit, ServerProcess};

use super::{Bench, MIB, Shown};
use crate::Outcome;
use crate::cost::{self, Answer, Cost};
use crate::fixture::only_pack;
use crate::programs::Side;
use crate::protocol::{Client, Fetch};
use crate::proxy::{Counted, Proxy};
use crate::report::{Figures, Goal, Unit};
use crate::transport::{self, Http, Streams};

const SUITE: &str = "storage";
const NAME: &str = "bench";
/// Repositories among which changes are spread.
const MANY: usize = 64;
/// Seconds that refs are changed for.
const SECONDS: u64 = 3;
/// Pushes whose time is looked at one by one.
const PUSHES: usize = 60;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    if bench.arguments.self_check {
        return Ok(());
    }
    let scratch = bench.fixtures.scratch();
    let postgres = if is_installed("psql") { Some(Postgres::start()) } else { None };
    let ceph = if is_installed("radosgw") { Some(Ceph::start()) } else { None };
    let folder = |name: &str| -> Outcome<String> {
        let path = scratch.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path.display().to_string())
    };
    let tables = folder("tables")?;
    for number in 0..MANY {
        let dir = format!("{tables}/bench-{number}.git");
        bench
            .programs
            .git()
            .ok(scratch.path(), &["init", "-q", "--bare", "--ref-format=reftable", &dir]);
    }
    let mut stores = vec![("folder", folder("files")?), ("folder, reftables", tables)];
    stores.push(("key-value file", format!("kv:{}", scratch.join("all.kv").display())));
    stores.extend(postgres.iter().map(|postgres| ("database", postgres.database())));
    stores.extend(ceph.iter().map(|ceph| ("bucket", ceph.store())));
    for (name, place) in &stores {
        updates(bench, name, place)?;
    }
    let source = scratch.join("source.git");
    crate::fixture::copy_links(bench.programs.git(), bench.fixtures.plain(), &source);
    for (name, place) in &stores {
        if name.contains("reftables") {
            continue;
        }
        pushes(bench, name, place, &source)?;
    }
    match &ceph {
        Some(ceph) => bucket(bench, ceph, &scratch.join("served"), &source),
        None => {
            eprintln!("bench: there is no Ceph on this machine; a bucket is not measured");
            Ok(())
        }
    }
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// Durable changes of refs each second, by one thread, a few and many.
fn updates(bench: &mut Bench<'_>, store: &str, place: &str) -> Outcome<()> {
    for (repositories, many) in [(1, 2500.0), (MANY, 5000.0)] {
        for writers in [1, 16, 512] {
            let arguments = [
                ("--repositories", repositories as u64),
                ("--writers", writers),
                ("--seconds", SECONDS),
            ];
            let arguments: Vec<String> = arguments
                .iter()
                .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
                .collect();
            let mut all = vec!["dev", "ref-updates"];
            all.extend(arguments.iter().map(String::as_str));
            all.push(place);
            let Some(mut command) = bench.programs.packhorse(&all) else { return Ok(()) };
            let output = command.output()?;
            if !output.status.success() {
                let words = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{store}, {writers} writers: {words}").into());
            }
            let text = String::from_utf8(output.stdout)?;
            let figures: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
            let [count, seconds, median, slow] = figures?[..] else {
                return Err(format!("not what ref-updates prints: {text}").into());
            };
            let where_to = if repositories == 1 { "one repository" } else { "64 repositories" };
            let case = format!("{store}, refs of {where_to}, {writers} at once");
            let is_aim = writers == 512 && (store == "folder" || store == "key-value file");
            let goals = if is_aim { vec![Goal::AtLeast(many)] } else { Vec::new() };
            let git = match (repositories, writers) {
                (1, 1) if store.starts_with("folder") => gits_updates(bench, Path::new(place))?,
                _ => Vec::new(),
            };
            let one = |unit, packhorse, git| Figures { unit, packhorse: vec![packhorse], git };
            let rate = one(Unit::Count, count / seconds, git);
            bench.report.add(SUITE, &case, "changes each second", rate, &goals);
            for (measure, figure) in [("median", median), ("99 of 100", slow)] {
                bench.report.add(
                    SUITE,
                    &case,
                    measure,
                    one(Unit::Seconds, figure / 1e6, vec![]),
                    &[],
                );
            }
        }
    }
    Ok(())
}

/// What one `git update-ref` does when it is told one transaction after the other.
fn gits_updates(bench: &Bench<'_>, folder: &Path) -> Outcome<Vec<f64>> {
    const COUNT: usize = 1000;
    let (git, dir) = (bench.programs.git(), folder.join("bench-0.git"));
    let tree = git.ok_with_input(&dir, &["mktree"], b"").text();
    let commit = |text: &str| git.ok(&dir, &["commit-tree", "-m", text, &tree]);
    let ids = [commit("one"), commit("other")];
    let mut input = String::new();
    for number in 0..COUNT {
        let id = &ids[number % 2];
        input.push_str(&format!("start\nupdate refs/heads/gits {id}\nprepare\ncommit\n"));
    }
    let begun = Instant::now();
    git.ok_with_input(&dir, &["update-ref", "--stdin"], input.as_bytes());
    Ok(vec![COUNT as f64 / begun.elapsed().as_secs_f64()])
}

/// Puts a repository into a store, or into a folder.
fn import(bench: &Bench<'_>, place: &str, source: &Path) -> Outcome<()> {
    let source = source.display().to_string();
    if !place.contains(':') {
        let to = Path::new(place).join(format!("{NAME}.git"));
        crate::fixture::copy_links(bench.programs.git(), Path::new(&source), &to);
        return Ok(());
    }
    let arguments = ["repo", "import", "--quiet", "--store", place, &source, NAME];
    let Some(mut command) = bench.programs.packhorse(&arguments) else { return Ok(()) };
    match command.stderr(Stdio::inherit()).status()?.success() {
        true => Ok(()),
        false => Err(format!("import into {place} failed").into()),
    }
}

/// A server of a store, or of a folder.
fn serve(bench: &Bench<'_>, place: &str, file: Option<&str>) -> Outcome<ServerProcess> {
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
    match place.contains(':') {
        true => arguments.extend(["--store", place]),
        false => arguments.push(place),
    }
    arguments.extend(file.iter().flat_map(|file| ["--config", file]));
    let command = bench.programs.packhorse(&arguments);
    let mut command = command.ok_or("git does not serve stores")?;
    command.stderr(Stdio::null());
    Ok(ServerProcess::spawn_http(command))
}

/// Bodies of pushes, one commit each, every one on the one before.
pub(super) struct Pushes {
    pub(super) bodies: Vec<Vec<u8>>,
}

impl Pushes {
    pub(super) fn new(git: &RealGit, source: &Path, branch: &str, count: usize) -> Self {
        let commits = super::push::commits(git, source, count);
        let zero = "0".repeat(commits[0].len());
        let mut bodies = Vec::new();
        let (mut old, mut known) = (zero, git.ok(source, &["rev-parse", "HEAD"]));
        for new in commits {
            let revisions = format!("{new}\n^{known}\n");
            let pack = ["pack-objects", "--revs", "--stdout", "-q", "--thin"];
            let pack = git.ok_with_input(source, &pack, revisions.as_bytes()).stdout;
            let line = format!(
                "{old} {new} refs/heads/{branch}\0report-status side-band-64k agent=packhorse-bench/1"
            );
            let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
            body.extend_from_slice(&pack);
            bodies.push(body);
            (old, known) = (new.clone(), new);
        }
        Pushes { bodies }
    }
}

/// How long small pushes take, from the request to the report.
fn pushes(bench: &mut Bench<'_>, store: &str, place: &str, source: &Path) -> Outcome<()> {
    import(bench, place, source)?;
    let server = serve(bench, place, None)?;
    let bodies = Pushes::new(bench.programs.git(), source, "pushes", PUSHES).bodies;
    let mut took = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let begun = Instant::now();
        transport::push(server.authority(), NAME, body)?;
        // The first finds nothing at hand.
        if number > 0 {
            took.push(begun.elapsed().as_secs_f64());
        }
    }
    took.sort_unstable_by(f64::total_cmp);
    let case = format!("{store}, push of one commit");
    for (measure, of_100) in [("median", 50), ("99 of 100", 99)] {
        let figure = took[(took.len() * of_100 / 100).min(took.len() - 1)];
        let figures = Figures { unit: Unit::Seconds, packhorse: vec![figure], git: Vec::new() };
        bench.report.add(SUITE, &case, measure, figures, &[]);
    }
    Ok(())
}

/// Clones from a bucket, cold and warm, and the requests these and a push take.
fn bucket(bench: &mut Bench<'_>, ceph: &Ceph, folder: &Path, source: &Path) -> Outcome<()> {
    let git = bench.programs.git();
    let source_with_bitmap = bench.fixtures.bitmapped(git)?;
    let store = ceph.store();
    import(bench, &store, &source_with_bitmap)?;
    let bucket = store.trim_start_matches("s3://").split('?').next().unwrap_or_default();
    let pack = only_pack(&source_with_bitmap)?;
    let pack_bytes = std::fs::metadata(&pack)?.len();
    let pack = pack.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let key = format!("{NAME}.git/objects/pack/{pack}");
    let endpoint = ceph.endpoint().trim_start_matches("http://").to_owned();
    let wants = clone_wants(bench, &source_with_bitmap)?;
    let fetch =
        |client: &mut Client<'_>| client.fetch(&Fetch { wants: &wants, ..Fetch::default() }, false);

    // A program for each clone has nothing at hand. A download of the same bytes is beside it.
    let cold = bench.in_turn(|_, side| match side {
        Side::Packhorse => {
            let arguments = ["upload-pack", "--store", &store, NAME];
            let Some(mut command) = bench.programs.packhorse(&arguments) else { return Ok(None) };
            command.env("GIT_PROTOCOL", "version=2").stdin(Stdio::piped()).stdout(Stdio::piped());
            let talk = |child: &mut std::process::Child| {
                let mut road = Streams::of(child)?;
                let mut client = Client::open(&mut road)?;
                let answer = fetch(&mut client)?;
                client.close()?;
                Ok(answer)
            };
            cost::of_program(command, talk).map(Some)
        }
        Side::Git => {
            let begun = Instant::now();
            let bytes = transport::download(&endpoint, &ceph.signed_path(bucket, &key))?;
            let answer = Answer { first_byte: Duration::ZERO, pack_bytes: bytes };
            Ok(Some(Cost { wall: begun.elapsed(), answer, ..Cost::default() }))
        }
    })?;
    let shown = [
        Shown::Wall(Some(Goal::Ratio(1.0 / 0.7))),
        Shown::PackSize(None),
        Shown::Anonymous(Some(Goal::AtMost(64.0 * MIB))),
    ];
    bench.show(SUITE, "bucket, cold clone / plain download", &cold, &shown);

    // The same server twice, beside a server of a folder.
    std::fs::create_dir_all(folder)?;
    let place = folder.display().to_string();
    import(bench, &place, &source_with_bitmap)?;
    let servers = [serve(bench, &store, None)?, serve(bench, &place, None)?];
    let warm = bench.in_turn(|_, side| {
        let (server, path) = match side {
            Side::Packhorse => (&servers[0], format!("/{NAME}")),
            Side::Git => (&servers[1], format!("/{NAME}.git")),
        };
        let clone = || {
            let mut road = Http::connect(server.authority(), &path)?;
            fetch(&mut Client::open(&mut road)?)
        };
        cost::of_server(server.pid(), clone).map(Some)
    })?;
    let shown = [Shown::Wall(Some(Goal::Ratio(1.0 / 0.9))), Shown::Cpu(None)];
    bench.show(SUITE, "bucket, warm clone / folder", &warm, &shown);
    drop(servers);

    let proxy = Proxy::start(&endpoint)?;
    let counted_store = store.replace(&endpoint, &proxy.authority());
    let server = serve(bench, &counted_store, None)?;
    let clone = || -> Outcome<()> {
        let mut road = Http::connect(server.authority(), &format!("/{NAME}"))?;
        fetch(&mut Client::open(&mut road)?).map(drop)
    };
    proxy.take();
    clone()?;
    // One for each 8 MiB, and twenty.
    let most = 20.0 + (pack_bytes as f64 / (8.0 * MIB)).ceil();
    let count = |counted: &Counted, methods: &[&str]| {
        methods.iter().filter_map(|method| counted.get(*method)).sum::<usize>() as f64
    };
    let mut show = |case: &str, measure, figure, goals: &[Goal]| {
        let figures = Figures { unit: Unit::Count, packhorse: vec![figure], git: Vec::new() };
        bench.report.add(SUITE, case, measure, figures, goals);
    };
    let reading = ["GET", "HEAD"];
    show("bucket, cold clone", "requests", count(&proxy.take(), &reading), &[Goal::AtMost(most)]);
    clone()?;
    show("bucket, warm clone", "requests", count(&proxy.take(), &reading), &[]);
    let bodies = Pushes::new(git, source, "counted", 4).bodies;
    let mut counted = Counted::new();
    for body in &bodies {
        proxy.take();
        transport::push(server.authority(), NAME, body)?;
        counted = proxy.take();
    }
    let case = "bucket, push of one commit";
    show(
        case,
        "writing requests",
        count(&counted, &["PUT", "POST", "DELETE"]),
        &[Goal::AtMost(5.0)],
    );
    show(case, "reading requests", count(&counted, &reading), &[]);
    Ok(())
}

/// All that a clone asks for.
fn clone_wants(bench: &Bench<'_>, dir: &Path) -> Outcome<Vec<String>> {
    let mut command = bench.programs.upload_pack(Side::Git, dir);
    let mut child = command.spawn()?;
    let mut road = Streams::of(&mut child)?;
    let mut client = Client::open(&mut road)?;
    let (_, wants) = client.ls_refs()?;
    client.close()?;
    child.wait()?;
    Ok(wants)
}
