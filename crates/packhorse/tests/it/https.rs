//! HTTPS: certificates of one's own and of others, and what happens when they change.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rcgen::{CertifiedKey, KeyPair};
use testkit::{HUNG, RealGit, wait_until};

use crate::raw;
use crate::serving::{Serving, packhorse};

fn certificate(folder: &Path) -> CertifiedKey<KeyPair> {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).expect("a file");
    fs::write(folder.join("tls.pem"), made.cert.pem()).expect("a file");
    made
}

/// A server with a repository, and a client that trusts `ca` and nobody else.
fn serve(git: &RealGit, config: &str) -> Serving {
    let work = git.path("work");
    git.ok(git.root(), &["init", "-q", "work"]);
    git.commit_file(&work, "file", "one");
    git.ok(git.root(), &["clone", "-q", "--bare", "work", "srv/r.git"]);
    fs::write(git.path("server.toml"), config).expect("a file");
    let mut command = packhorse(git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("server.toml"));
    command.env("XDG_STATE_HOME", git.path("state")).arg(git.path("srv"));
    Serving::spawn(git, command)
}

fn clone(git: &RealGit, url: &str, ca: &Path, options: &[&str]) -> Result<String, String> {
    let ca = format!("http.sslCAInfo={}", ca.display());
    let to = format!("clone-{:x}", rand());
    let args = [&["-c", &ca][..], options, &["clone", "-q", "--mirror", url, &to]].concat();
    let output = git.run(git.root(), &args);
    if !output.status.success() {
        return Err(output.error_text());
    }
    git.fsck_strict(git.path(&to));
    Ok(to)
}

fn rand() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

const CONFIG: &str = "[https]\nlisten = '127.0.0.1:0'\ncertificate = 'tls.pem'\nkey = 'tls.key'\n";

#[test]
fn stock_git_comes_by_https_and_certificates_may_change() {
    let git = RealGit::new();
    certificate(git.root());
    let server = serve(&git, CONFIG);
    let url = format!("https://{}/r.git", server.https_authority());
    let ca = git.path("ca.pem");
    fs::copy(git.path("tls.pem"), &ca).expect("a file");
    for version in ["HTTP/2", "HTTP/1.1"] {
        clone(&git, &url, &ca, &["-c", &format!("http.version={version}")]).expect("a clone");
    }
    let work = git.path("work");
    git.commit_file(&work, "file", "two");
    let trusted = format!("http.sslCAInfo={}", ca.display());
    git.ok(&work, &["-c", &trusted, "push", "-q", &url, "HEAD:refs/heads/pushed"]);
    // Over the other door, as before.
    git.ok(git.root(), &["ls-remote", &server.url("r.git")]);

    let fingerprint = certificate_fingerprint(&git);
    certificate(git.root());
    wait_until("another certificate is shown", || clone(&git, &url, &ca, &[]).is_err());
    fs::copy(git.path("tls.pem"), &ca).expect("a file");
    wait_until("the new one is shown", || clone(&git, &url, &ca, &[]).is_ok());
    assert_ne!(certificate_fingerprint(&git), fingerprint);
    // Nonsense changes nothing.
    fs::write(git.path("tls.key"), "no key").expect("a file");
    wait_until("the log says so", || {
        clone(&git, &url, &ca, &[]).expect("the one before goes on");
        server.log().contains("the certificate cannot be read")
    });
}

fn certificate_fingerprint(git: &RealGit) -> Vec<u8> {
    fs::read(git.path("tls.pem")).expect("a file")
}

#[test]
fn a_server_without_a_certificate_makes_one_and_keeps_it() {
    let git = RealGit::new();
    let server = serve(&git, "[https]\nlisten = '127.0.0.1:0'\n");
    let url = format!("https://{}/r.git", server.https_authority());
    let ca = git.path("state/packhorse/tls_certificate.pem");
    clone(&git, &url, &ca, &[]).expect("who trusts it may clone");
    let words = clone(&git, &url, Path::new("/etc/hostname"), &[]).expect_err("nobody else does");
    assert!(words.contains("certificate") || words.contains("CAfile"), "{words}");
    let mode = fs::metadata(git.path("state/packhorse/tls_key.pem")).expect("a key");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let before = fs::read(&ca).expect("a certificate");
    drop(server);
    let mut command = packhorse(&git);
    command.args(["serve", "--https", "127.0.0.1:0"]).arg(git.path("srv"));
    command.env("XDG_STATE_HOME", git.path("state"));
    let again = Serving::spawn_https(&git, command);
    assert_eq!(fs::read(&ca).expect("a certificate"), before);
    clone(&git, &format!("https://{}/r.git", again.https_authority()), &ca, &[]).expect("the same");
}

#[test]
fn who_comes_by_http_is_sent_to_https() {
    let git = RealGit::new();
    certificate(git.root());
    let server = serve(&git, &format!("{CONFIG}redirect = true\nhsts_max_age = 600\n"));
    let port = server.https_authority();
    let port = port.rsplit_once(':').expect("a port").1;
    let plain = server.listening_plain();
    let head = raw::head(
        "GET",
        "/r.git/info/refs?service=git-upload-pack",
        &[("Host", "git.example:80")],
        None,
    );
    let reply = raw::send(&plain, &head, b"");
    assert_eq!(reply.status, 308);
    let location = format!("https://test:{port}/r.git/info/refs?service=git-upload-pack");
    assert_eq!(reply.header("location"), Some(location.as_str()));
    assert_eq!(reply.header("strict-transport-security"), None, "not in the clear");
    // One does not get anything else there.
    assert_eq!(raw::send(&plain, &raw::head("GET", "/", &[], None), b"").status, 308);
    clone(&git, &format!("http://{plain}/r.git"), &git.path("tls.pem"), &[]).expect("git follows");
    let tls = format!("http.sslCAInfo={}", git.path("tls.pem").display());
    let url = format!("https://{}/r.git", server.https_authority());
    let output = git
        .command(git.root())
        .args(["-c", &tls, "ls-remote", &url])
        .env("GIT_CURL_VERBOSE", "1")
        .output();
    let said = String::from_utf8_lossy(&output.expect("git runs").stderr).to_ascii_lowercase();
    assert!(said.contains("strict-transport-security: max-age=600"), "{said}");
}

#[test]
fn garbage_and_silence_in_place_of_a_handshake() {
    let git = RealGit::new();
    certificate(git.root());
    let server = serve(&git, &format!("{CONFIG}[limits]\nheader_timeout_ms = 300\n"));
    let before = server.open_files();
    let authority = server.https_authority();
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", &[0; 40_000]] {
        let mut stream = TcpStream::connect(&authority).expect("it listens");
        stream.set_read_timeout(Some(HUNG)).expect("a socket");
        let _ = stream.write_all(bytes);
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:?}");
        }
        assert!(rest.len() < 100, "an alert at most");
    }
    server.settle(before);
    clone(&git, &format!("https://{authority}/r.git"), &git.path("tls.pem"), &[])
        .expect("others are served");
}

#[test]
fn a_key_that_does_not_fit_is_told_at_start() {
    let git = RealGit::new();
    certificate(git.root());
    let other = git.path("other");
    fs::create_dir(&other).expect("a folder");
    certificate(&other);
    fs::copy(other.join("tls.key"), git.path("tls.key")).expect("a file");
    let fails = |words: &str| {
        let mut command = packhorse(&git);
        command
            .args(["serve", "--https", "127.0.0.1:0", "--tls-certificate"])
            .arg(git.path("tls.pem"));
        let output = command.arg("--tls-key").arg(git.path("tls.key")).arg(git.root()).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    };
    fails("the key does not fit");
    fs::write(git.path("tls.key"), "").expect("a file");
    fails("no private key");
    fs::write(git.path("tls.pem"), "").expect("a file");
    fails("there is no certificate in it");
    fs::remove_file(git.path("tls.pem")).expect("a file");
    fails("tls.pem");
}
