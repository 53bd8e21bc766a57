//! Certificates from an authority: asked for, proven, kept and renewed.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use testkit::{Pebble, PebblePorts, RealGit, free_port, wait_until};

use crate::raw;
use crate::serving::{Serving, packhorse};

const DOMAIN: &str = "git.example.org";

fn repository(git: &RealGit) {
    let work = git.path("work");
    git.ok(git.root(), &["init", "-q", "work"]);
    git.commit_file(&work, "file", "one");
    git.ok(git.root(), &["clone", "-q", "--bare", "work", "srv/r.git"]);
}

/// A server that asks an authority; `acme` is more of its table, `https` and `top` of those above.
fn serve(git: &RealGit, port: u16, top: &str, https: &str, acme: &str) -> Serving {
    let config = format!(
        "{top}\n[https]\nlisten = '127.0.0.1:{port}'\n{https}\n[https.acme]\n\
         terms_of_service_agreed = true\nroot = 'pebble.pem'\nretry_max_ms = 200\n{acme}"
    );
    fs::write(git.path("server.toml"), config).expect("a file");
    let mut command = packhorse(git);
    command.args(["serve", "--config"]).arg(git.path("server.toml")).arg(git.path("srv"));
    command.env("XDG_STATE_HOME", git.path("state"));
    Serving::spawn_https(git, command)
}

fn asking(pebble_port: u16) -> String {
    format!("domains = ['{DOMAIN}']\ndirectory = 'https://localhost:{pebble_port}/dir'\n")
}

/// Whether stock git reads the repository by its name, trusting nobody but the authority.
fn is_trusted(git: &RealGit, name: &str, port: u16) -> bool {
    let resolve = format!("http.curloptResolve={name}:{port}:127.0.0.1");
    let ca = format!("http.sslCAInfo={}", git.path("root.pem").display());
    let url = format!("https://{name}:{port}/r.git");
    git.run(git.root(), &["-c", &resolve, "-c", &ca, "ls-remote", &url]).status.success()
}

/// The one file with this name below the state of the server.
fn state(git: &RealGit, name: &str) -> PathBuf {
    let folder = fs::read_dir(git.path("state/packhorse/acme")).expect("a folder");
    let folder = folder.flatten().next().expect("an authority").path();
    folder.join(name)
}

#[test]
fn a_certificate_comes_in_the_handshake_and_is_kept() {
    let git = RealGit::new();
    repository(&git);
    let (port, pebble_port) = (free_port(), free_port());
    let ports = PebblePorts { http: 1, https: port };
    fs::write(git.path("pebble.pem"), "").expect("a file");
    // Nobody is there to be asked; the server serves all the same.
    let server = serve(&git, port, "", "", &asking(pebble_port));
    wait_until("it says so", || server.log().contains("no certificate: "));
    let pebble = Pebble::start_at(git.root(), pebble_port, ports, None);
    pebble.write_root(&git.path("root.pem"));
    wait_until("it has a certificate", || is_trusted(&git, DOMAIN, port));
    for name in ["certificate.pem", "account.json"] {
        let meta = fs::metadata(state(&git, name)).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Nothing is left of what was shown to the authority, and it is nothing for others.
    let ends = |protocols: &[&str]| {
        let at = format!("127.0.0.1:{port}");
        raw::handshake(&at, &git.path("root.pem"), DOMAIN, protocols)
    };
    assert_eq!(ends(&["http/1.1"]).expect("a protocol"), b"http/1.1");
    assert_eq!(ends(&["acme-tls/1"]), None);
    drop(server);
    // The next start asks nobody.
    let before = fs::read(state(&git, "certificate.pem")).expect("a file");
    let orders = pebble.printed().matches("POST /order-plz").count();
    let server = serve(&git, port, "", "", &asking(pebble_port));
    assert!(is_trusted(&git, DOMAIN, port));
    assert_eq!(fs::read(state(&git, "certificate.pem")).expect("a file"), before);
    assert_eq!(pebble.printed().matches("POST /order-plz").count(), orders);
    drop(server);
    // Other names are another certificate, of the same account.
    let account = fs::read(state(&git, "account.json")).expect("a file");
    let more = asking(pebble_port).replace("']", "', 'Other.example.org']");
    let _server = serve(&git, port, "", "", &more);
    wait_until("it is for both", || is_trusted(&git, "other.example.org", port));
    assert!(is_trusted(&git, DOMAIN, port));
    assert_eq!(fs::read(state(&git, "account.json")).expect("a file"), account);
}

#[test]
fn a_certificate_comes_by_a_file_to_an_account_that_is_bound() {
    let git = RealGit::new();
    repository(&git);
    let (port, plain, pebble_port) = (free_port(), free_port(), free_port());
    let ports = PebblePorts { http: plain, https: 1 };
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::start_at(git.root(), pebble_port, ports, Some(("kid-1", key)));
    pebble.write_root(&git.path("root.pem"));
    let acme = format!(
        "{}challenge = 'http-01'\nexternal_account_id = 'kid-1'\nexternal_account_key = '{key}'\n\
         contact = ['mailto:me@example.org']\n",
        asking(pebble_port)
    );
    let top = format!("listen = '127.0.0.1:{plain}'");
    let server = serve(&git, port, &top, "redirect = true", &acme);
    wait_until("it has a certificate", || is_trusted(&git, DOMAIN, port));
    // What was shown is gone; everybody else is sent to HTTPS.
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        raw::send_and_end(&format!("127.0.0.1:{plain}"), request.as_bytes())
    };
    let answer = ask("/.well-known/acme-challenge/none");
    assert!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
    assert!(ask("/r.git/HEAD").starts_with(b"HTTP/1.1 308"));
    drop(server);
}

/// A certificate of some authority, whose time is over.
fn outlived() -> String {
    let mut above = CertificateParams::default();
    above.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    above.distinguished_name.push(DnType::CommonName, "somebody");
    let issuer = Issuer::new(above, KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::new(vec![DOMAIN.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2025, 4, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    format!("{}{}", key.serialize_pem(), certificate.pem())
}

#[test]
fn a_certificate_that_is_due_is_replaced_while_the_server_runs() {
    let git = RealGit::new();
    repository(&git);
    let (port, pebble_port) = (free_port(), free_port());
    let ports = PebblePorts { http: 1, https: port };
    let pebble = Pebble::start_at(git.root(), pebble_port, ports, None);
    pebble.write_root(&git.path("root.pem"));
    let server = serve(&git, port, "", "", &asking(pebble_port));
    wait_until("it has a certificate", || is_trusted(&git, DOMAIN, port));
    drop(server);
    let file = state(&git, "certificate.pem");
    fs::write(&file, outlived()).expect("a file");
    let _server = serve(&git, port, "", "", &asking(pebble_port));
    wait_until("it has another", || is_trusted(&git, DOMAIN, port));
}

#[test]
fn what_the_authority_says_is_told() {
    let git = RealGit::new();
    repository(&git);
    let (port, pebble_port) = (free_port(), free_port());
    // It looks where nobody listens.
    let ports = PebblePorts { http: 1, https: free_port() };
    let _pebble = Pebble::start_at(git.root(), pebble_port, ports, None);
    let server = serve(&git, port, "", "", &asking(pebble_port));
    wait_until("it says why", || server.log().contains("for the tls-alpn-01 challenge"));
    let ca = git.path("root.pem");
    fs::copy(state(&git, "certificate.pem"), &ca).expect("a file");
    assert!(is_trusted(&git, DOMAIN, port), "its own goes on");
}

fn refused(git: &RealGit, config: &str) -> String {
    fs::write(git.path("bad.toml"), config).expect("a file");
    let mut command = packhorse(git);
    command.args(["serve", "--config"]).arg(git.path("bad.toml")).arg(git.root());
    let output = command.env("XDG_STATE_HOME", git.path("state")).output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_missing_is_said_at_the_start() {
    let git = RealGit::new();
    let agreed = "terms_of_service_agreed = true\n";
    for (https, acme, words) in [
        ("", "domains = ['a.org']\n".to_owned(), "terms_of_service_agreed"),
        ("", agreed.to_owned(), "https.acme.domains"),
        ("", format!("{agreed}domains = ['*.a.org']\n"), "'*.a.org' is no name of a host"),
        (
            "",
            format!("{agreed}domains = ['a.org']\nexternal_account_id = 'x'\n"),
            "an id and a key",
        ),
        ("", format!("{agreed}domains = ['a.org']\nchallenge = 'http-01'\n"), "listen has to say"),
        ("", format!("{agreed}domains = ['a.org']\nchallenge = 'dns-01'\n"), "dns-01"),
        (
            "certificate = 'a'\nkey = 'b'\n",
            format!("{agreed}domains = ['a.org']\n"),
            "asks for another",
        ),
    ] {
        let config = format!("[https]\nlisten = '127.0.0.1:0'\n{https}[https.acme]\n{acme}");
        let said = refused(&git, &config);
        assert!(said.contains(words), "{acme}: {said}");
    }
    assert!(!Path::new(&git.path("state/packhorse/tls_key.pem")).exists());
}
