//! OpenSSH's server, for whoever runs the test.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{free_port, wait_until};

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    port: u16,
    user: String,
}

impl Sshd {
    /// Starts one that lets in whoever has this public key. Programs in `path` come before others'.
    ///
    /// # Panics
    /// When OpenSSH is not installed: `cargo xtask services` does that.
    pub fn start(folder: &Path, public_key: &str, path: &str) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let file = |name: &str| folder.join(name).display().to_string();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &file("host_key")]);
        assert!(keygen.status().expect("ssh-keygen is installed").success());
        fs::write(folder.join("authorized_keys"), public_key).expect("a file");
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nAcceptEnv GIT_PROTOCOL\nSetEnv PATH={path}\n",
            file("host_key"),
            file("authorized_keys"),
        );
        fs::write(folder.join("sshd_config"), config).expect("a file");
        // Where it leaves its rights, if it has any; Debian makes it when the service starts.
        let _ = fs::create_dir_all("/run/sshd");
        let user = Command::new("id").arg("-un").output().expect("id is there");
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let port = free_port();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &file("sshd_config"), "-p", &port.to_string()]);
        command.args(["-o", "ListenAddress=127.0.0.1"]);
        command.stdin(Stdio::null()).stderr(fs::File::create(folder.join("log")).expect("a log"));
        let child = command.spawn().expect("sshd is installed");
        wait_until("sshd listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Sshd { child, port, user }
    }

    /// The URL of a repository of this machine.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
