//! What the server holds when nobody asks, and when somebody asks and does not listen.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use testkit::{RealGit, Scenario, wait_until};

use crate::raw::{self, packet};
use crate::serving::Serving;

#[test]
fn an_idle_server_is_small() {
    let git = RealGit::new();
    Scenario::linear(50).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    assert_eq!(server.get("/", &[]).status, 200);
    let (anonymous, resident) = (server.memory_kb("Anonymous"), server.memory_kb("Rss"));
    println!("idle: {anonymous} kB anonymous, {resident} kB resident");
    assert!(anonymous <= 6 << 10, "{anonymous} kB anonymous");
    // Mostly pages of the program's own file, of which an unoptimised build has four times as many.
    assert!(resident <= 40 << 10, "{resident} kB resident");
}

#[test]
fn clients_that_read_nothing_cost_little() {
    const CLIENTS: usize = 8;
    const GAINED_KB_MAX: u64 = 64 << 10;
    let git = RealGit::new();
    let origin = Scenario::big_blob(64 << 20).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let tip = git.rev_parse(&origin, "main");
    let body = [packet(format!("want {tip} ofs-delta\n")), b"0000".to_vec(), packet("done\n")];
    let body = body.concat();
    let headers = [("Content-Type", "application/x-git-upload-pack-request")];
    let head = raw::head("POST", "/a.git/git-upload-pack", &headers, Some(body.len()));
    let request = [head.as_bytes(), &body].concat();
    let begin = || {
        let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
        stream.write_all(&request).expect("the server reads");
        stream.read_exact(&mut [0; 4096]).expect("the clone begins");
        stream
    };
    drop(begin());
    let before = server.memory_kb("Anonymous");
    let held: Vec<TcpStream> = (0..CLIENTS).map(|_| begin()).collect();
    // All that can be in flight is, once the server has nothing left to do.
    let (mut last, mut quiet) = ((0, 0), 0);
    wait_until("the server waits for its clients", || {
        let now = (cpu_nanoseconds(server.pid()), server.memory_kb("Anonymous"));
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
        quiet == 3
    });
    let gained = server.memory_kb("Anonymous").saturating_sub(before);
    println!("{CLIENTS} clients that read nothing: {gained} kB more");
    assert!(gained <= GAINED_KB_MAX, "gained {gained} kB");

    // They hold nobody else up, and one that comes back gets everything.
    git.clone(server.url("a"), "clone", &["--quiet", "--bare"]);
    let mut first = held.into_iter().next().expect("a client");
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).expect("the rest of the clone");
    assert!(rest.len() > 64 << 20);
}

/// Nanoseconds the threads of a process have run so far. Clock ticks are too coarse: the whole
/// answer may take less than one.
fn cpu_nanoseconds(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a live process");
    let of_thread = |path: std::path::PathBuf| {
        // A thread may end while we look.
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0)
    };
    threads.map(|thread| of_thread(thread.expect("a listing").path())).sum()
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let git = RealGit::new();
    let origin = Scenario::big_blob(64 << 20).build(&git, "srv/a.git");
    let file = git.path("packhorse.toml");
    std::fs::write(&file, "[limits]\nidle_timeout_ms = 100\n").expect("a file");
    let options = ["--config", file.to_str().expect("UTF-8")];
    let server = Serving::start(&git, git.path("srv"), &options);
    let tip = git.rev_parse(&origin, "main");
    let body = [packet(format!("want {tip}\n")), b"0000".to_vec(), packet("done\n")].concat();
    let headers = [("Content-Type", "application/x-git-upload-pack-request")];
    let head = raw::head("POST", "/a.git/git-upload-pack", &headers, Some(body.len()));
    let before = server.open_files();
    let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
    stream.write_all(&[head.as_bytes(), &body].concat()).expect("the server reads");
    server.settle(before);
    drop(stream);
}
