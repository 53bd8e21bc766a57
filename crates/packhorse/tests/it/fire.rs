//! Several servers of the same repositories, under pushes and clones, while servers are killed and their
//! connections to the store are cut: what was acknowledged stays, no ref goes back, and who listens
//! misses nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Ceph, HUNG, Postgres, Random, RealGit, Scenario, ServerProcess, wait_until};

use crate::serving::packhorse;
use crate::watch::{Follower, listed};

const NODES: usize = 3;
const REPOSITORIES: usize = 2;
const LISTENERS: usize = 4;

/// How much is done: more with `cargo xtask soak`.
struct Size {
    pushers: usize,
    /// Pushes of each, unless time is up before.
    pushes_each: usize,
    time: Duration,
    cloners: usize,
}

fn size() -> Size {
    match std::env::var_os("PACKHORSE_SOAK") {
        None => Size { pushers: 4, pushes_each: 6, time: Duration::MAX, cloners: 1 },
        Some(_) => {
            let time = Duration::from_secs(600);
            Size { pushers: 150, pushes_each: usize::MAX, time, cloners: 50 }
        }
    }
}

/// A road to a service that can be cut.
struct Road {
    port: u16,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<Box<dyn Stream>>>>,
}

/// Where a service listens.
#[derive(Clone)]
enum Service {
    Address(String),
    Socket(PathBuf),
}

/// A connection of either kind.
trait Stream: Read + Write + Send {
    fn second(&self) -> Box<dyn Stream>;
    fn end(&self);
}

macro_rules! streams {
    ($($kind:ty),*) => {$(
        impl Stream for $kind {
            fn second(&self) -> Box<dyn Stream> {
                Box::new(self.try_clone().expect("a second handle"))
            }

            fn end(&self) {
                let _ = self.shutdown(Shutdown::Both);
            }
        }
    )*};
}

streams!(TcpStream, UnixStream);

impl Service {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Service::Address(address) => Box::new(TcpStream::connect(address)?),
            Service::Socket(path) => Box::new(UnixStream::connect(path)?),
        })
    }
}

impl Road {
    fn to(service: Service) -> Road {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (is_cut, open) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (cut, all) = (is_cut.clone(), open.clone());
        // It ends with the program.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let client: Box<dyn Stream> = Box::new(client);
                let Ok(server) = service.connect() else { continue };
                let mut all = all.lock().expect("no panic");
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.second(), to.second());
                    thread::spawn(move || carry(from, to));
                }
                all.extend([client, server]);
            }
        });
        Road { port, is_cut, open }
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.open.lock().expect("no panic").drain(..).for_each(|stream| stream.end());
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn carry(mut from: Box<dyn Stream>, mut to: Box<dyn Stream>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    from.end();
    to.end();
}

/// One of the servers, and its own roads to the stores.
struct Node {
    number: usize,
    store: String,
    roads: Vec<Road>,
    process: Mutex<Option<ServerProcess>>,
    address: RwLock<String>,
}

impl Node {
    fn start(&self, git: &RealGit, config: &Path) {
        let mut command = packhorse(git);
        command.args(["serve", "--create-on-push", "--listen", "127.0.0.1:0", "--store"]);
        command.arg(&self.store).arg("--config").arg(config);
        // The tests' own configuration keeps git from maintenance.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("PACKHORSE_LOG", "info");
        let log = File::options().create(true).append(true).open(self.log(git));
        command.stderr(log.expect("a log file"));
        let process = ServerProcess::spawn_http(command);
        *self.address.write().expect("no panic") = process.address().to_owned();
        *self.process.lock().expect("no panic") = Some(process);
    }

    fn log(&self, git: &RealGit) -> PathBuf {
        git.path(format!("node-{}.log", self.number))
    }

    /// As when its machine dies.
    fn kill(&self) {
        let Some(mut process) = self.process.lock().expect("no panic").take() else { return };
        let pid = process.pid().to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status().expect("kill runs");
        assert!(killed.success());
        process.wait();
    }

    fn url(&self, repository: usize) -> String {
        format!("{}r{repository}.git", self.address.read().expect("no panic"))
    }
}

/// Kills and cuts until told to stop; everything is whole again then.
fn make_trouble(
    nodes: &[Node],
    git: &RealGit,
    config: &Path,
    stop: &AtomicBool,
    seed: u64,
) -> usize {
    let mut random = Random::new(seed);
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(200 + random.below(800) as u64));
        let node = &nodes[random.below(NODES)];
        let pause = Duration::from_millis(random.below(700) as u64);
        match random.one_in(2) {
            true => {
                node.kill();
                thread::sleep(pause);
                node.start(git, config);
            }
            false => {
                let road = &node.roads[random.below(node.roads.len())];
                road.cut();
                thread::sleep(pause);
                road.mend();
            }
        }
        count += 1;
    }
    count
}

/// Who pushes to a branch of his own, and what was acknowledged last.
struct Pusher {
    work: PathBuf,
    repository: usize,
    branch: String,
    acknowledged: Mutex<String>,
}

impl Pusher {
    fn push(&self, git: &RealGit, nodes: &[Node], random: &mut Random, number: usize) {
        git.commit_file(&self.work, "file.txt", format!("{} {number}\n", self.branch));
        let head = git.rev_parse(&self.work, "HEAD").to_string();
        let to = format!("HEAD:refs/heads/{}", self.branch);
        let url = nodes[random.below(NODES)].url(self.repository);
        if git.run(&self.work, &["push", "-q", &url, &to]).status.success() {
            *self.acknowledged.lock().expect("no panic") = head;
        }
    }
}

/// Every branch has what was acknowledged, or more.
fn check_clone(git: &RealGit, clone: &Path, acknowledged: &[(String, String)]) {
    git.fsck_strict(clone);
    for (branch, head) in acknowledged.iter().filter(|(_, head)| !head.is_empty()) {
        let found = git.run(clone, &["merge-base", "--is-ancestor", head, branch]);
        assert!(found.status.success(), "{branch} lost {head}: {}", found.error_text());
    }
}

fn acknowledged(pushers: &[Pusher], repository: usize) -> Vec<(String, String)> {
    let those = pushers.iter().filter(|pusher| pusher.repository == repository);
    let read = |pusher: &Pusher| pusher.acknowledged.lock().expect("no panic").clone();
    those.map(|pusher| (pusher.branch.clone(), read(pusher))).collect()
}

/// Refs by name.
type Refs = BTreeMap<String, String>;

/// Listens to one server after the other, until what is known is what there is in the end.
fn listen(git: &RealGit, nodes: &[Node], repository: usize, end: &OnceLock<Refs>) -> Follower {
    let mut random = Random::new(repository as u64 + 1000);
    let mut node = &nodes[repository % NODES];
    let mut follower = Follower::new(node.url(repository));
    let mut until = None;
    while end.get() != Some(&follower.known) {
        if end.get().is_some() {
            let until = *until.get_or_insert(Instant::now() + HUNG);
            assert!(Instant::now() < until, "missed: {:?}, not {end:?}", follower.known);
        } else if random.one_in(20) {
            node = &nodes[random.below(NODES)];
        }
        follower.moves_to(node.url(repository));
        follower.follow(git, Duration::from_millis(100));
    }
    follower
}

fn burn(services: &[Service], store_of: impl Fn(&[Road]) -> String, seed: u64) {
    let git = RealGit::new();
    let size = size();
    let config = git.path("node.toml");
    let text = "[maintenance]\nrest_ms = 10\n[postgres]\nlease_ms = 3000\n\
                [bucket]\nretries = 2\nretry_timeout_ms = 2000\nrequest_timeout_ms = 30000\nlease_ms = 3000\n";
    std::fs::write(&config, text).expect("a file");
    let nodes: Vec<Node> = (0..NODES)
        .map(|number| {
            let roads: Vec<Road> = services.iter().cloned().map(Road::to).collect();
            let (process, address) = Default::default();
            Node { number, store: store_of(&roads), roads, process, address }
        })
        .collect();
    nodes.iter().for_each(|node| node.start(&git, &config));
    let origin = Scenario::realistic(60, 8).build(&git, "origin.git");
    for repository in 0..REPOSITORIES {
        git.ok(&origin, &["push", "-q", "--mirror", &nodes[0].url(repository)]);
    }
    let pushers: Vec<Pusher> = (0..size.pushers)
        .map(|number| {
            let work = git.clone(origin.display().to_string(), format!("work-{number}"), &["-q"]);
            let (repository, acknowledged) = (number % REPOSITORIES, Mutex::default());
            Pusher { work, repository, branch: format!("own-{number}"), acknowledged }
        })
        .collect();
    let ends = [const { OnceLock::new() }; REPOSITORIES];
    let begun = Instant::now();
    let (stop, pushing, clones) =
        (AtomicBool::new(false), AtomicUsize::new(size.pushers), AtomicUsize::new(0));
    thread::scope(|scope| {
        let trouble = scope.spawn(|| make_trouble(&nodes, &git, &config, &stop, seed));
        let listeners: Vec<_> = (0..LISTENERS)
            .map(|number| {
                let (git, nodes, end) = (&git, &nodes, &ends[number % REPOSITORIES]);
                scope.spawn(move || listen(git, nodes, number % REPOSITORIES, end))
            })
            .collect();
        for (number, pusher) in pushers.iter().enumerate() {
            let (git, nodes, pushing) = (&git, &nodes, &pushing);
            scope.spawn(move || {
                let mut random = Random::new(seed ^ (number as u64 + 1) << 8);
                for round in 0..size.pushes_each {
                    if begun.elapsed() > size.time {
                        break;
                    }
                    pusher.push(git, nodes, &mut random, round);
                }
                pushing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let cloners: Vec<_> = (0..size.cloners)
            .map(|number| {
                let (git, nodes, pushing, pushers, clones) =
                    (&git, &nodes, &pushing, &pushers, &clones);
                scope.spawn(move || {
                    let mut random = Random::new(seed ^ (number as u64 + 1) << 32);
                    while pushing.load(Ordering::SeqCst) > 0 {
                        let repository = random.below(REPOSITORIES);
                        let before = acknowledged(pushers, repository);
                        let name =
                            format!("clone-{number}-{}", clones.fetch_add(1, Ordering::SeqCst));
                        let (url, clone) =
                            (nodes[random.below(NODES)].url(repository), git.path(&name));
                        let cloned = git.run(git.root(), &["clone", "-q", "--bare", &url, &name]);
                        if cloned.status.success() {
                            check_clone(git, &clone, &before);
                        }
                        let _ = std::fs::remove_dir_all(&clone);
                    }
                })
            })
            .collect();
        for cloner in cloners {
            cloner.join().expect("clones are whole");
        }
        wait_until("all have pushed", || pushing.load(Ordering::SeqCst) == 0);
        stop.store(true, Ordering::SeqCst);
        assert!(trouble.join().expect("nothing of it fails") > 0);
        for (repository, end) in ends.iter().enumerate() {
            let refs = listed(&git, &nodes[0].url(repository)).expect("all is whole again");
            end.set(refs).expect("set once");
        }
        let (mut heard, mut lists) = (0, 0);
        for listener in listeners {
            let follower = listener.join().expect("they miss nothing");
            (heard, lists) = (heard + follower.heard, lists + follower.listed);
        }
        println!("{heard} changes were heard, refs were listed {lists} times");
        assert!(heard > 0);
    });
    // Everybody sees the same, and all of it.
    for repository in 0..REPOSITORIES {
        let mut seen = Vec::new();
        for node in &nodes {
            let name = format!("end-{repository}-{}", node.number);
            let clone = git.clone(node.url(repository), name, &["-q", "--mirror"]);
            check_clone(&git, &clone, &acknowledged(&pushers, repository));
            seen.push(git.refs(&clone));
        }
        assert!(seen.iter().all(|refs| *refs == seen[0]), "{seen:?}");
    }
    let acknowledged =
        pushers.iter().filter(|pusher| !pusher.acknowledged.lock().expect("x").is_empty());
    assert!(acknowledged.count() > 0, "nobody got through");
    for node in &nodes {
        let log = std::fs::read_to_string(node.log(&git)).expect("text");
        assert!(!log.contains("panicked"), "node {} panicked:\n{log}", node.number);
    }
}

fn ceph() -> Service {
    Service::Address(Ceph::shared().endpoint().trim_start_matches("http://").to_owned())
}

fn through(road: &Road, bucket: &str) -> String {
    let service = Ceph::shared().endpoint();
    bucket.replace(&service, &format!("http://127.0.0.1:{}", road.port))
}

#[test]
fn nodes_of_a_bucket_lose_nothing() {
    let Some(ceph_itself) = Ceph::shared_or_skip() else { return };
    let bucket = ceph_itself.store();
    burn(&[ceph()], |roads| through(&roads[0], &bucket), 11);
}

#[test]
fn nodes_of_a_database_and_a_bucket_lose_nothing() {
    let Some(ceph_itself) = Ceph::shared_or_skip() else { return };
    let postgres = Postgres::shared();
    let (refs, bucket) = (postgres.database(), ceph_itself.store());
    let database = refs.rsplit('/').next().expect("a name").to_owned();
    let through_both = |roads: &[Road]| {
        let port = roads[1].port;
        let refs = format!("postgres://git@127.0.0.1:{port}/{database}?sslmode=disable");
        format!("{refs}+{}", through(&roads[0], &bucket))
    };
    burn(&[ceph(), Service::Socket(postgres.socket())], through_both, 12);
}
