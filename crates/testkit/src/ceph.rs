//! An S3 service of a test's own: Ceph's gateway in front of a cluster of one monitor and one
//! storage daemon, which keeps everything in memory. One for all tests of a program.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object::{Checksum, HashKind};

use crate::{Random, TempDir, free_port, wait_until};

const ACCESS_KEY: &str = "packhorse";
const SECRET_KEY: &str = "packhorse-secret";

/// What starts a service may take so long, seconds.
const TIME_MAX: &str = "120";

/// Runs a daemon until its own input ends, with the process that started it, however that ends; and
/// leaves nothing behind.
const UNTIL_INPUT_ENDS: &str =
    r#"exec 3<&0; "$@" </dev/null & cat <&3 >/dev/null; kill -9 $!; wait; rm -rf "$FOLDER""#;

/// A running service.
#[derive(Debug)]
pub struct Ceph {
    port: u16,
    buckets: AtomicU32,
    daemons: Vec<Child>,
    _folder: TempDir,
}

/// `None` when it was tried and did not start: nobody waits for that twice.
static SHARED: OnceLock<Option<Ceph>> = OnceLock::new();

impl Ceph {
    /// The service of this test program, started unless it runs already; it ends with the program.
    ///
    /// # Panics
    /// When Ceph is not installed (`cargo xtask check` does that) or does not start.
    pub fn shared() -> &'static Ceph {
        let mut why = None;
        let started = SHARED.get_or_init(|| match std::panic::catch_unwind(Ceph::start) {
            Ok(ceph) => Some(ceph),
            Err(panic) => {
                why = Some(panic);
                None
            }
        });
        if let Some(panic) = why {
            std::panic::resume_unwind(panic);
        }
        started.as_ref().expect("Ceph starts: the test that tried says why it did not")
    }

    /// As [`Ceph::shared`]; `None`, with a note, where `cargo xtask check` could not install it.
    #[allow(clippy::print_stdout)]
    pub fn shared_or_skip() -> Option<&'static Ceph> {
        let without = std::env::var("PACKHORSE_WITHOUT").unwrap_or_default();
        if without.split(',').any(|name| name == "ceph") {
            println!("SKIPPED: there is no Ceph on this machine, and it could not be installed");
            return None;
        }
        Some(Ceph::shared())
    }

    /// A service that no other test knows.
    pub fn start() -> Ceph {
        let folder = TempDir::new();
        let root = folder.path();
        for directory in ["mon", "osd", "rgw"] {
            std::fs::create_dir(root.join(directory)).expect("a new folder");
        }
        let (monitor, port) = (free_port(), free_port());
        let mut random = Random::new(u64::from(std::process::id()) << 32 | u64::from(port));
        let (cluster, storage) = (uuid(&mut random), uuid(&mut random));
        let text = configuration(root, &cluster, (monitor, port));
        std::fs::write(root.join("ceph.conf"), text).expect("a new file");
        let mut ceph =
            Ceph { port, buckets: AtomicU32::new(0), daemons: Vec::new(), _folder: folder };
        let address = format!("[v2:127.0.0.1:{monitor}]");
        ceph.run(
            "monmaptool",
            &["--create", "--addv", "a", &address, "--fsid", &cluster, "monmap"],
        );
        ceph.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", "monmap"]);
        ceph.keep("ceph-mon", &["-f", "-i", "a"]);
        ceph.run("ceph", &["osd", "new", &storage]);
        ceph.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", &storage]);
        ceph.keep("ceph-osd", &["-f", "-i", "0"]);
        let keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY];
        let user = ["user", "create", "--uid", "git", "--display-name", "git"];
        ceph.run("radosgw-admin", &[&user[..], &keys].concat());
        ceph.keep("radosgw", &["-f", "-n", "client.rgw"]);
        wait_until("Ceph's gateway answers", || {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        ceph
    }

    /// Where the service is: `http://…`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of a new, empty bucket, with all that a program needs to use it.
    pub fn store(&self) -> String {
        format!(
            "s3://{}?endpoint={}&region=us-east-1&access_key_id={ACCESS_KEY}&secret_access_key={SECRET_KEY}",
            self.bucket(),
            self.endpoint()
        )
    }

    /// The name and the secret of its only user.
    pub fn credentials(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    /// The name of a new, empty bucket.
    pub fn bucket(&self) -> String {
        let name = format!("test{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        let path = signed("PUT", &format!("/{name}"));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "no bucket:\n{answer}");
        name
    }

    /// The path, with a signature behind it, from which anybody gets an object for an hour.
    pub fn signed_path(&self, bucket: &str, key: &str) -> String {
        signed("GET", &format!("/{bucket}/{key}"))
    }

    fn folder(&self) -> &Path {
        self._folder.path()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let folder = self.folder();
        command.current_dir(folder).env("FOLDER", folder);
        command.env("CEPH_CONF", folder.join("ceph.conf"));
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> String {
        // Ceph's programs wait for a cluster without end.
        let mut command = self.program("timeout");
        command.args([TIME_MAX, name]).args(arguments);
        let output = command.stdin(Stdio::null()).output();
        let output = output
            .unwrap_or_else(|why| panic!("start {name}: {why} (cargo xtask check installs it)"));
        let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            panic!("{name} {arguments:?}: {}\n{err}\n{}", output.status, self.last_words());
        }
        String::from_utf8_lossy(out).into_owned()
    }

    /// The ends of what the daemons wrote.
    fn last_words(&self) -> String {
        let files = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let mut words = String::new();
        for path in files.map(|file| file.path()) {
            if path.extension().is_some_and(|kind| kind == "out" || kind == "log") {
                let text = std::fs::read(&path).unwrap_or_default();
                let end = String::from_utf8_lossy(&text[text.len().saturating_sub(1500)..]);
                let _ = writeln!(words, "-- {}:\n{end}", path.display());
            }
        }
        words
    }

    fn keep(&mut self, name: &str, arguments: &[&str]) {
        let log = std::fs::File::create(self.folder().join(format!("{name}.out"))).expect("a file");
        let errors = log.try_clone().expect("a second handle");
        let mut shell = self.program("sh");
        shell.args(["-c", UNTIL_INPUT_ENDS, "sh", name]).args(arguments);
        let child = shell.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn();
        self.daemons.push(child.unwrap_or_else(|why| panic!("start {name}: {why}")));
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            drop(daemon.stdin.take());
            let _ = daemon.wait();
        }
    }
}

/// A path that may be asked for in the next hour: Amazon's second way of signing, all that a
/// request without content needs.
fn signed(method: &str, path: &str) -> String {
    let until = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 3600;
    let signature = hmac_sha1(SECRET_KEY, &format!("{method}\n\n\n{until}\n{path}"));
    let signature = base64(&signature).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("{path}?AWSAccessKeyId={ACCESS_KEY}&Expires={until}&Signature={signature}")
}

/// RFC 2104.
fn hmac_sha1(key: &str, text: &str) -> Vec<u8> {
    let sha1 = |parts: [&[u8]; 2]| {
        let mut sum = Checksum::new(HashKind::Sha1);
        parts.iter().for_each(|part| sum.update(part));
        sum.finish().as_bytes().to_vec()
    };
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key.bytes()).for_each(|(at, key)| *at ^= key);
        block
    };
    sha1([&pad(0x5c), &sha1([&pad(0x36), text.as_bytes()])])
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number = part.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
            << (8 * (3 - part.len()));
        for digit in 0..4 {
            match digit <= part.len() {
                true => text.push(char::from(DIGITS[number >> (18 - 6 * digit) & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

fn uuid(random: &mut Random) -> String {
    let hex = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

fn configuration(root: &Path, cluster: &str, (monitor, port): (u16, u16)) -> String {
    let root = root.display();
    let mut text = format!(
        "[global]\nfsid = {cluster}\nmon host = v2:127.0.0.1:{monitor}\n\
         mon data = {root}/mon\nosd data = {root}/osd\nrgw data = {root}/rgw\n\
         run dir = {root}\nadmin socket = {root}/$name.asok\npid file = {root}/$name.pid\n\
         log file = {root}/$name.log\nrgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1\n"
    );
    for setting in [
        "log to stderr = false",
        "public addr = 127.0.0.1",
        "cluster addr = 127.0.0.1",
        "auth cluster required = none",
        "auth service required = none",
        "auth client required = none",
        // Without these the gateway waits for keys that nobody has.
        "ms mon client mode = crc",
        "ms mon cluster mode = crc",
        "ms mon service mode = crc",
        "ms cluster mode = crc",
        "ms service mode = crc",
        "ms client mode = crc",
        "mon allow pool size one = true",
        "mon max pg per osd = 1000",
        "osd objectstore = memstore",
        // By itself it ends, without a word, on a disk that is 95 % full.
        "mon data avail crit = 0",
        "mon data avail warn = 0",
        "osd crush chooseleaf type = 0",
        "osd pool default size = 1",
        "osd pool default min size = 1",
        "osd pool default pg num = 1",
        "osd pool default pgp num = 1",
        "osd pool default pg autoscale mode = off",
        "rgw override bucket index max shards = 1",
        "rgw enable usage log = false",
        "rgw run sync thread = false",
        "rgw enable lc threads = false",
    ] {
        let _ = writeln!(text, "{setting}");
    }
    text
}
