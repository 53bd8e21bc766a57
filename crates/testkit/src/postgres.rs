//! A PostgreSQL server of a test's own: one for all tests of a program that want one.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::TempDir;

/// Whom the server runs as when the tests run as root, which it refuses.
const NOBODY: u32 = 65534;

/// The server's only user.
const USER: &str = "git";

/// Where the test programs of one run of the check look for PostgreSQL's own programs, besides
/// `PATH`: where distributions put them.
const FOLDER_OF_VERSIONS: &str = "/usr/lib/postgresql";

/// A running server, stopped on drop. It listens on a socket in a folder only.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    databases: AtomicU32,
    /// Bytes of the file system with little room, when there is one.
    little_room: Option<usize>,
    /// Where it listens for encrypted connections, if it does.
    port: Option<u16>,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The server of this test program, started unless it runs already.
    ///
    /// # Panics
    /// When PostgreSQL is not installed: `cargo xtask check` does that.
    pub fn shared() -> Arc<Postgres> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Postgres::start());
        *shared = Arc::downgrade(&started);
        started
    }

    /// A server that no other test knows, to be stopped and started again.
    pub fn start() -> Postgres {
        let programs = programs().expect("PostgreSQL is installed (cargo xtask check does that)");
        let folder = TempDir::new();
        let server = Postgres {
            programs,
            folder,
            databases: AtomicU32::new(0),
            little_room: None,
            port: None,
        };
        server.begin();
        server
    }

    /// As [`Postgres::start`], with room for so many bytes in
    /// [`Postgres::database_in_little_room`]. `None` where this user may not mount anything.
    pub fn start_in_little_room(bytes: usize) -> Option<Postgres> {
        let may = ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"];
        let may = Command::new("unshare").args(may).output();
        if !rustix::process::geteuid().is_root() || !may.is_ok_and(|may| may.status.success()) {
            return None;
        }
        let programs = programs().expect("PostgreSQL is installed (cargo xtask check does that)");
        let (folder, databases) = (TempDir::new(), AtomicU32::new(0));
        let server = Postgres { programs, folder, databases, little_room: Some(bytes), port: None };
        std::fs::create_dir(server.room()).expect("a new folder");
        server.begin();
        let create = format!("CREATE TABLESPACE little LOCATION '{}'", server.room().display());
        server.sql("postgres", &create);
        Some(server)
    }

    /// As [`Postgres::start`], reached over TCP as well, but only over encrypted connections, with a
    /// certificate for `localhost`: [`Postgres::database_over_tls`].
    pub fn start_with_tls() -> Postgres {
        let programs = programs().expect("PostgreSQL is installed (cargo xtask check does that)");
        let (folder, databases) = (TempDir::new(), AtomicU32::new(0));
        let mut server = Postgres { programs, folder, databases, little_room: None, port: None };
        server.begin();
        server.stop();
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer = authority("Packhorse tests");
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]);
        let certificate = certificate.and_then(|parameters| parameters.signed_by(&key, &issuer));
        let certificate = certificate.expect("a certificate");
        std::fs::write(server.authority_file(), issuer.pem()).expect("a file");
        std::fs::write(server.folder.join("other.pem"), authority("Others").pem()).expect("a file");
        for (name, text) in [
            ("server.crt", certificate.pem()),
            ("server.key", key.serialize_pem()),
            ("pg_hba.conf", "local all all trust\nhostssl all all all trust\n".to_owned()),
        ] {
            let path = server.data().join(name);
            std::fs::write(&path, text).expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
                .expect("our own file");
            if rustix::process::geteuid().is_root() {
                chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may do that");
            }
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        server.port = Some(listener.local_addr().expect("its address").port());
        drop(listener);
        server.resume();
        server
    }

    /// The URL, without a query, of a new, empty database over TCP, by a name of this machine.
    pub fn database_over_tls(&self, host: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://{USER}@{host}:{}/{name}", self.port.expect("started with TLS"))
    }

    /// The certificate of who signed the server's.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// The URL of a new, empty database where there is little room.
    pub fn database_in_little_room(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TABLESPACE little"));
        self.url(&name)
    }

    fn room(&self) -> PathBuf {
        self.folder.join("room")
    }

    fn begin(&self) {
        if rustix::process::geteuid().is_root() {
            chown(self.folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may do that");
        }
        let data = self.data();
        let init = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
        self.run(self.program("initdb").args(init).arg(&data));
        self.resume();
    }

    /// Starts it again, after [`Postgres::stop`].
    pub fn resume(&self) {
        let folder = self.folder.path().display();
        // Nothing here survives the machine anyway.
        let options = format!(
            "-k {folder} -c fsync=off -c full_page_writes=off -c max_connections=200 {}",
            match self.port {
                None => "-c listen_addresses=".to_owned(),
                Some(port) => format!("-c listen_addresses=127.0.0.1 -c ssl=on -p {port}"),
            }
        );
        let log = self.folder.join("log");
        let mut start = match self.little_room {
            None => self.program("pg_ctl"),
            Some(bytes) => {
                let mount = format!(
                    "mount -t tmpfs -o size={bytes},uid={NOBODY},gid={NOBODY},mode=700 none '{}'",
                    self.room().display()
                );
                let become_nobody = format!(
                    "exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \"$0\" \"$@\""
                );
                // In a mount namespace of the server's own, which goes with it.
                let mut shell = Command::new("unshare");
                shell.current_dir(self.folder.path()).env("LC_ALL", "C");
                shell.args(["--mount", "sh", "-ec", &format!("{mount}; {become_nobody}")]);
                shell.arg(self.programs.join("pg_ctl"));
                shell
            }
        };
        start.args(["-w", "-s", "-o", &options, "-l"]).arg(log).arg("-D").arg(self.data());
        self.run(start.arg("start"));
    }

    /// Stops it at once, as if its machine had died.
    pub fn stop(&self) {
        self.run(
            self.program("pg_ctl")
                .args(["-s", "-m", "immediate", "-D"])
                .arg(self.data())
                .arg("stop"),
        );
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}/{database}")
    }

    /// What a statement answers, as text without decoration.
    ///
    /// # Panics
    /// When the statement fails.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database]);
        psql.args(self.port.map(|port| format!("--port={port}")));
        psql.arg("-h").arg(self.folder.path()).args(["-c", statement]);
        self.run(&mut psql)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, command: &mut Command) -> String {
        let log = self.folder.join("output");
        let file = std::fs::File::create(&log).expect("a file in our own folder");
        // Not a pipe: the server would hold it open.
        let errors = file.try_clone().expect("a second handle");
        let status = command.stdout(file).stderr(errors).status();
        let status = status.unwrap_or_else(|why| panic!("start {command:?}: {why}"));
        let said = std::fs::read_to_string(&log).expect("text");
        assert!(status.success(), "{command:?}: {status}\n{said}");
        said.trim_end().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.args(["-s", "-m", "immediate", "-D"]).arg(self.data()).arg("stop");
        let _ = stop.status();
    }
}

/// The folder of the newest `initdb` there is.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(FOLDER_OF_VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .collect();
    versions.sort();
    let packaged = versions.into_iter().rev().map(|(_, folder)| folder.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    packaged.chain(on_path).find(|folder: &PathBuf| has(folder))
}

fn has(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "psql"].iter().all(|name| folder.join(name).is_file())
}

/// Who signs certificates of others.
fn authority(name: &str) -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().expect("a key");
    rcgen::CertifiedIssuer::self_signed(parameters, key).expect("a certificate")
}
