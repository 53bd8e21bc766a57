//! A certificate authority of a test's own: Pebble, which speaks ACME (RFC 8555) and is trusted by nobody.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ServerProcess;

/// A running authority, and a server of names by which all of them lead to this machine.
#[derive(Debug)]
pub struct Pebble {
    /// Stopped after the authority.
    _names: ServerProcess,
    server: ServerProcess,
    folder: PathBuf,
    port: u16,
    management: u16,
}

/// Where somebody who wants a certificate listens, as the authority sees it.
#[derive(Debug, Clone, Copy)]
pub struct PebblePorts {
    /// HTTP (http-01).
    pub http: u16,
    /// HTTPS (tls-alpn-01).
    pub https: u16,
}

/// Gets the certificate that signs all others over an HTTPS nobody has to trust.
const GET: &str = "import ssl, sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], \
    context=ssl._create_unverified_context()).read())";

impl Pebble {
    /// Starts one whose files are in `folder`; with the id and the key (base64url) of an account, it makes
    /// no others than what is bound to that.
    ///
    /// # Panics
    /// When Pebble is not installed: `cargo xtask check` does that.
    pub fn start(folder: &Path, ports: PebblePorts, account: Option<(&str, &str)>) -> Self {
        Self::start_at(folder, free_port(), ports, account)
    }

    /// [`Pebble::start`] at a port of this machine.
    ///
    /// # Panics
    /// As there.
    pub fn start_at(
        folder: &Path,
        port: u16,
        ports: PebblePorts,
        account: Option<(&str, &str)>,
    ) -> Self {
        let management = free_port();
        let names = format!("127.0.0.1:{}", free_port());
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let own = own.expect("a certificate");
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let certificate = file("pebble.pem", own.cert.pem());
        let key = file("pebble.key", own.signing_key.serialize_pem());
        let accounts = account.map_or_else(String::new, |(id, key)| format!("\"{id}\": \"{key}\""));
        let config = format!(
            "{{\"pebble\": {{\"listenAddress\": \"127.0.0.1:{port}\", \
             \"managementListenAddress\": \"127.0.0.1:{management}\", \
             \"certificate\": \"{certificate}\", \"privateKey\": \"{key}\", \
             \"httpPort\": {}, \"tlsPort\": {}, \"ocspResponderURL\": \"\", \
             \"externalAccountBindingRequired\": {}, \"externalAccountMACKeys\": {{{accounts}}}}}}}",
            ports.http,
            ports.https,
            account.is_some()
        );
        let config = file("pebble.json", config);
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-dns01", &names, "-defaultIPv6", "", "-http01", "", "-https01", ""]);
        command.args(["-tlsalpn01", "", "-management", &format!("127.0.0.1:{}", free_port())]);
        let names_server = ServerProcess::spawn(command, |line| Some(line.to_owned()));
        let mut command = Command::new("pebble");
        // Neither of them waits for effect; some nonces are refused, as at a real one.
        command.args(["-config", &config, "-dnsserver", &names]).env("PEBBLE_VA_NOSLEEP", "1");
        let server = ServerProcess::spawn(command, |line| {
            line.contains("ACME directory available").then(|| line.to_owned())
        });
        Pebble { _names: names_server, server, folder: folder.to_owned(), port, management }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The certificate of its own HTTPS.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("pebble.pem")
    }

    /// Writes the certificate by which all it signs are trusted to a file.
    ///
    /// # Panics
    /// When it does not hand it out.
    pub fn write_root(&self, file: &Path) {
        let url = format!("https://localhost:{}/roots/0", self.management);
        let output = Command::new("python3").args(["-c", GET, &url]).output().expect("python3");
        assert!(output.status.success(), "{output:?}");
        fs::write(file, output.stdout).expect("a file");
    }

    /// What it printed so far.
    pub fn printed(&self) -> String {
        self.server.printed()
    }
}

/// A port of this machine where nobody listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
