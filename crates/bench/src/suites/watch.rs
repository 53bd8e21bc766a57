//! Who hears of a push, how soon, and what it costs the server that he listens.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use testkit::ServerProcess;

use super::storage::Pushes;
use super::{Bench, MIB};
use crate::Outcome;
use crate::memory::{resident_bytes, tree_anonymous_bytes};
use crate::report::{Figures, Goal, Unit};
use crate::transport;

const SUITE: &str = "watch";
/// Subscribers, and pushes of which they hear.
const CROWDS: &[(usize, usize)] = &[(1, 200), (1_000, 50), (10_000, 20)];
/// Connections of which this process can have both ends, with the 20,000 open files that are common.
const BARE_MAX: usize = 9_900;
/// Subscribers that are found to have heard at once.
const READY_MAX: usize = 1024;
const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// For those who never hear.
const HUNG: Duration = Duration::from_secs(120);
/// Start-up work on other threads is over by then.
const SETTLED_AFTER: Duration = Duration::from_millis(500);
/// Remotes of a daemon.
const REMOTES: usize = 100;
/// How long a daemon is watched that has nothing to do.
const IDLE_TIME: Duration = Duration::from_secs(20);

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    for (subscribers, pushes) in CROWDS {
        crowd(bench, *subscribers, *pushes)?;
    }
    daemon(bench)
}

/// A server of a small repository that many may subscribe to.
fn serve(bench: &Bench<'_>, folder: &Path) -> Outcome<Option<ServerProcess>> {
    let git = bench.programs.git();
    fs::create_dir_all(folder)?;
    let work = folder.join("work");
    git.ok(folder, &["init", "-q", "work"]);
    git.commit_file(&work, "file", "one");
    git.ok(folder, &["clone", "-q", "--bare", "work", "served.git"]);
    let config = folder.join("server.toml");
    fs::write(
        &config,
        "[limits]\nconnections_max = 16000\nconnections_per_address_max = 16000\n[watch]\nheartbeat_ms = 3600000\n",
    )?;
    let (served, config) = (folder.join("served.git"), config.display().to_string());
    let served = served.display().to_string();
    let arguments = ["serve", &served, "--listen", "127.0.0.1:0", "--config", &config];
    let Some(mut command) = bench.programs.packhorse(&arguments) else { return Ok(None) };
    command.stderr(Stdio::null());
    Ok(Some(ServerProcess::spawn_http(command)))
}

/// A subscriber, and what came for him.
struct Subscriber {
    stream: TcpStream,
    /// What may be the beginning of an event.
    rest: Vec<u8>,
}

impl Subscriber {
    /// Subscribes, and waits until the server has said so.
    fn new(authority: &str) -> Outcome<Self> {
        let mut stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HUNG))?;
        let request = format!("GET /served.git/events HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while !contains(&said, b"event: at\n") {
            match stream.read(&mut buffer)? {
                0 => return Err("the server takes no more subscribers".into()),
                count => said.extend_from_slice(&buffer[..count]),
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Subscriber { stream, rest: Vec::new() })
    }

    /// Whether an event of this id has come.
    fn heard(&mut self, id: &[u8]) -> Outcome<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server has hung up".into()),
                Ok(count) => {
                    self.rest.extend_from_slice(&buffer[..count]);
                    // There is no more, or it says so again.
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let heard = contains(&self.rest, id);
        if heard {
            self.rest.clear();
        }
        Ok(heard)
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn crowd(bench: &mut Bench<'_>, subscribers: usize, pushes: usize) -> Outcome<()> {
    let scratch = bench.fixtures.scratch();
    let Some(server) = serve(bench, scratch.path())? else { return Ok(()) };
    let source = scratch.join("work");
    let bodies = Pushes::new(bench.programs.git(), &source, "watched", pushes + 1).bodies;
    // What a first subscriber and a first push bring about is not one's own.
    let first = Subscriber::new(server.authority())?;
    transport::push(server.authority(), "served.git", &bodies[0])?;
    std::thread::sleep(SETTLED_AFTER);
    let before = tree_anonymous_bytes(server.pid());
    let mut all = vec![first];
    while all.len() <= subscribers {
        all.push(Subscriber::new(server.authority())?);
    }
    std::thread::sleep(SETTLED_AFTER);
    let after = tree_anonymous_bytes(server.pid());
    all.truncate(subscribers);
    let crowd = epoll::create(CreateFlags::CLOEXEC)?;
    for (at, one) in all.iter().enumerate() {
        epoll::add(&crowd, &one.stream, EventData::new_u64(at as u64), EventFlags::IN)?;
    }
    let mut latencies = Vec::new();
    for body in &bodies[1..] {
        latencies.extend(push(&server, body, &mut all, &crowd)?);
    }
    let case = format!("{subscribers} subscribers");
    let goals = [Some(Goal::AtMost(0.005)), Some(Goal::AtMost(0.05))];
    report(bench, &case, latencies, goals);
    drop(all);
    let connections = subscribers.min(BARE_MAX);
    let bare = bare(connections, pushes)?;
    report(bench, &format!("{connections} bare connections"), bare, [None, None]);
    if subscribers > 1 {
        let each = after.saturating_sub(before) as f64 / subscribers as f64;
        let figures = Figures { unit: Unit::Bytes, packhorse: vec![each], git: Vec::new() };
        let goal = [Goal::AtMost(16.0 * 1024.0)];
        bench.report.add(SUITE, &case, "memory of each", figures, &goal);
    }
    Ok(())
}

fn report(bench: &mut Bench<'_>, case: &str, mut latencies: Vec<f64>, goals: [Option<Goal>; 2]) {
    latencies.sort_unstable_by(f64::total_cmp);
    for ((measure, of_100), goal) in [("median", 50), ("99 of 100", 99)].into_iter().zip(goals) {
        let figure = latencies[(latencies.len() * of_100 / 100).min(latencies.len() - 1)];
        let figures = Figures { unit: Unit::Seconds, packhorse: vec![figure], git: Vec::new() };
        bench.report.add(SUITE, case, measure, figures, goal.as_slice());
    }
}

/// What the machine needs at least: threads that do nothing but write as many bytes to each of as many connections,
/// and how long after they began each has come.
fn bare(connections: usize, rounds: usize) -> Outcome<Vec<f64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (mut writers, mut all) = (Vec::new(), Vec::new());
    let crowd = epoll::create(CreateFlags::CLOEXEC)?;
    for at in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        epoll::add(&crowd, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
        all.push(Subscriber { stream, rest: Vec::new() });
        let (writer, _) = listener.accept()?;
        writer.set_nodelay(true)?;
        writers.push(writer);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = writers.len().div_ceil(threads);
    let mut latencies = Vec::new();
    for round in 0..rounds {
        let id = format!("{round:040}");
        // As long as an event.
        let bytes = format!("{id:>250}\n");
        let begun = Instant::now();
        let heard = std::thread::scope(|scope| -> Outcome<Vec<Instant>> {
            for writers in writers.chunks_mut(part) {
                let bytes = bytes.as_bytes();
                scope.spawn(move || writers.iter_mut().try_for_each(|one| one.write_all(bytes)));
            }
            hear(&mut all, &crowd, id.as_bytes())
        })?;
        let since = |one: Instant| one.saturating_duration_since(begun).as_secs_f64();
        latencies.extend(heard.into_iter().map(since));
    }
    Ok(latencies)
}

/// Waits until all have heard of this, and says when each has.
fn hear(all: &mut [Subscriber], crowd: &OwnedFd, id: &[u8]) -> Outcome<Vec<Instant>> {
    let begun = Instant::now();
    let mut heard: Vec<Option<Instant>> = vec![None; all.len()];
    let mut missing = all.len();
    let mut ready = Vec::with_capacity(READY_MAX);
    while missing > 0 {
        if begun.elapsed() > HUNG {
            return Err(format!("{missing} subscribers have not heard of a push").into());
        }
        epoll::wait(crowd, rustix::buffer::spare_capacity(&mut ready), Some(&SECOND))?;
        let now = Instant::now();
        for event in ready.drain(..) {
            let at = event.data.u64() as usize;
            if heard[at].is_none() && all[at].heard(id)? {
                heard[at] = Some(now);
                missing -= 1;
            }
        }
    }
    Ok(heard.into_iter().flatten().collect())
}

/// One push; how long after it was acknowledged each subscriber heard of it. Who hears of it before is told at once.
fn push(
    server: &ServerProcess,
    body: &[u8],
    all: &mut [Subscriber],
    crowd: &OwnedFd,
) -> Outcome<Vec<f64>> {
    // `OLD NEW NAME`, behind the length.
    let id = body[4 + 41..4 + 81].to_vec();
    let authority = server.authority().to_owned();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(move || {
            // Errors do not go from thread to thread.
            let pushed = transport::push(&authority, "served.git", body);
            pushed.map(|()| Instant::now()).map_err(|error| error.to_string())
        });
        let heard = hear(all, crowd, &id)?;
        let acknowledged = pushing.join().map_err(|_| "the push panicked")??;
        let since = |one: Instant| one.saturating_duration_since(acknowledged).as_secs_f64();
        Ok(heard.into_iter().map(since).collect())
    })
}

/// The daemon beside a repository with many remotes.
fn daemon(bench: &mut Bench<'_>) -> Outcome<()> {
    let scratch = bench.fixtures.scratch();
    let Some(server) = serve(bench, scratch.path())? else { return Ok(()) };
    let git = bench.programs.git();
    let work = scratch.join("work");
    let url = format!("http://{}/served.git", server.authority());
    for number in 0..REMOTES {
        git.ok(&work, &["remote", "add", &format!("remote-{number}"), &url]);
    }
    // Nothing is to come because there is nothing to say.
    git.ok(&work, &["config", "remoteDaemon.silenceMax", "7200"]);
    let Some(mut command) = bench.programs.remote_daemon(&work) else { return Ok(()) };
    let mut daemon = testkit::LineProcess::spawn({
        command.arg("--foreground");
        command
    });
    for _ in 0..REMOTES {
        daemon.expect("a connection", |line| line.contains(" connected to "));
    }
    std::thread::sleep(SETTLED_AFTER);
    let before = crate::cost::cpu_of_server(daemon.id())?;
    std::thread::sleep(IDLE_TIME);
    let idle = crate::cost::cpu_of_server(daemon.id())?.saturating_sub(before);
    let case = format!("the daemon, {REMOTES} remotes");
    let resident = vec![resident_bytes(daemon.id()) as f64];
    let figures = Figures { unit: Unit::Bytes, packhorse: resident, git: Vec::new() };
    bench.report.add(SUITE, &case, "resident memory", figures, &[Goal::AtMost(20.0 * MIB)]);
    let idle = vec![idle.as_secs_f64() / IDLE_TIME.as_secs_f64()];
    let figures = Figures { unit: Unit::Seconds, packhorse: idle, git: Vec::new() };
    bench.report.add(SUITE, &case, "CPU of an idle second", figures, &[Goal::AtMost(0.001)]);
    Ok(())
}
