//! Who signed a push certificate: asked of the programs git asks, `gpg`, `gpgsm` and
//! `ssh-keygen` (git-config, "gpg"), and told to hooks. No program, no answer: status `N`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use bstr::{BStr, BString, ByteSlice as _};
use gitconfig::Config;
use storage::LocalPaths;
use wire::PushCert;

use crate::hooks::{Hooks, Launch, Program, Relay, converse};

/// How much of a program's answer is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is known of a signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// The letter of `%G?` in git-log(1): `G` good, `U` good by an unknown key, `B` bad, `N` none
    /// or not checked, …
    pub status: Option<char>,
    /// Whose it is.
    pub signer: BString,
    /// Which key made it.
    pub key: BString,
}

/// Runs the programs for one certificate.
pub(super) struct Verifier<'a> {
    pub hooks: &'a Hooks<'a>,
    pub config: &'a Config,
    pub local: &'a LocalPaths,
}

impl Verifier<'_> {
    /// Checks the signature of a certificate.
    pub fn verify(&self, cert: &PushCert) -> Signature {
        let signature = cert.signature();
        let checked = if signature.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
            self.ssh(cert)
        } else if signature.starts_with(b"-----BEGIN SIGNED MESSAGE-----") {
            self.gpg(cert, "gpg.x509.program", "gpgsm", &[])
        } else if signature.starts_with(b"-----BEGIN PGP ") {
            let key = match self.config.string("gpg.openpgp.program") {
                Some(_) => "gpg.openpgp.program",
                None => "gpg.program",
            };
            self.gpg(cert, key, "gpg", &["--keyid-format=long"])
        } else {
            return Signature::default();
        };
        checked.unwrap_or_else(|error| {
            tracing::warn!("cannot verify a push certificate: {error}");
            Signature::default()
        })
    }

    fn gpg(
        &self,
        cert: &PushCert,
        key: &str,
        program: &str,
        args: &[&str],
    ) -> std::io::Result<Signature> {
        let file = SignatureFile::write(self.local, cert.signature())?;
        let mut all: Vec<OsString> = args.iter().map(OsString::from).collect();
        all.extend(["--status-fd=1".into(), "--verify".into(), file.0.clone().into(), "-".into()]);
        let (_, said) = self.run(self.program(key, program), &all, cert.payload())?;
        Ok(gpg_status(&said))
    }

    fn ssh(&self, cert: &PushCert) -> std::io::Result<Signature> {
        let path = |key| self.config.path(key).ok().flatten().map(PathBuf::into_os_string);
        let Some(signers) = path("gpg.ssh.allowedSignersFile") else {
            tracing::warn!("gpg.ssh.allowedSignersFile is needed to verify signatures of ssh");
            return Ok(Signature::default());
        };
        let file = SignatureFile::write(self.local, cert.signature())?;
        let keygen = || self.program("gpg.ssh.program", "ssh-keygen");
        let args = |words: &[&OsStr]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let (y, f, s, n, git) =
            ("-Y".as_ref(), "-f".as_ref(), "-s".as_ref(), "-n".as_ref(), "git".as_ref());
        let signature = file.0.as_os_str();

        let find = args(&[y, "find-principals".as_ref(), f, &signers, s, signature]);
        let (found, principals) = self.run(keygen(), &find, b"")?;
        if !found || principals.is_empty() {
            let check = args(&[y, "check-novalidate".as_ref(), n, git, s, signature]);
            let (good, said) = self.run(keygen(), &check, cert.payload())?;
            return Ok(ssh_status(good, &said));
        }
        let revoked = path("gpg.ssh.revocationFile");
        let mut last = Signature { status: Some('B'), ..Signature::default() };
        for principal in principals.lines().filter(|line| !line.is_empty()) {
            let principal = os(principal);
            let mut verify = args(&[
                y,
                "verify".as_ref(),
                n,
                git,
                f,
                &signers,
                "-I".as_ref(),
                &principal,
                s,
                signature,
            ]);
            if let Some(revoked) = &revoked {
                verify.extend(["-r".into(), revoked.clone()]);
            }
            let (good, said) = self.run(keygen(), &verify, cert.payload())?;
            last = ssh_status(good, &said);
            if good {
                break;
            }
        }
        Ok(last)
    }

    fn program(&self, key: &str, default: &str) -> PathBuf {
        self.config.path(key).ok().flatten().unwrap_or_else(|| default.into())
    }

    /// Whether the program ended well, and what it wrote to its standard output.
    fn run(
        &self,
        program: PathBuf,
        args: &[OsString],
        input: &[u8],
    ) -> std::io::Result<(bool, Vec<u8>)> {
        let prepare = |command: &mut Command| self.hooks.prepare(command, &[]);
        let program = Program::File(program);
        let limits = self.hooks.limits();
        let launch = Launch { program: &program, args, prepare: &prepare, limits };
        let (status, said) = converse(&launch, &mut Unheard, |mut stdin, stdout| {
            // A certificate is small; a program that reads none of it has decided already.
            let _ = stdin.write_all(input);
            drop(stdin);
            let mut said = Vec::new();
            stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut said).map(|_| said)
        })?;
        Ok((status.is_some_and(|status| status.success()), said?))
    }
}

/// Reads the status lines of gpg (its `doc/DETAILS`).
fn gpg_status(said: &[u8]) -> Signature {
    const VERDICTS: [(&str, char); 6] = [
        ("GOODSIG", 'G'),
        ("BADSIG", 'B'),
        ("ERRSIG", 'E'),
        ("EXPSIG", 'X'),
        ("EXPKEYSIG", 'Y'),
        ("REVKEYSIG", 'R'),
    ];
    let mut found = Signature::default();
    let mut untrusted = true;
    for line in said.lines().filter_map(|line| line.strip_prefix(b"[GNUPG:] ")) {
        let mut words = line.splitn_str(3, " ");
        let word = words.next().unwrap_or_default();
        if let Some((_, status)) = VERDICTS.iter().find(|(name, _)| word == name.as_bytes()) {
            if found.status.is_some() {
                // Two signatures in one: nobody makes these honestly.
                return Signature { status: Some('E'), ..Signature::default() };
            }
            found.status = Some(*status);
            found.key = words.next().unwrap_or_default().into();
            if *status != 'E' {
                found.signer = words.next().unwrap_or_default().into();
            }
        } else if let Some(level) = word.strip_prefix(b"TRUST_") {
            untrusted = matches!(level, b"UNDEFINED" | b"NEVER");
        }
    }
    if found.status == Some('G') && untrusted {
        found.status = Some('U');
    }
    found
}

/// Reads `Good "git" signature [for <principal>] with <type> key <fingerprint>`.
fn ssh_status(good: bool, said: &[u8]) -> Signature {
    let bad = || Signature { status: Some('B'), ..Signature::default() };
    let line = said.lines().next().unwrap_or_default();
    let Some(rest) = line.strip_prefix(b"Good \"git\" signature ").filter(|_| good) else {
        return bad();
    };
    let (signer, rest) = match rest.strip_prefix(b"for ") {
        // The name may have any words in it: the last `with` counts.
        Some(rest) => match rest.rsplit_once_str(" with ") {
            Some((signer, rest)) => (Some(signer), rest),
            None => return bad(),
        },
        None => (None, rest),
    };
    let Some((_, key)) = rest.split_once_str("key ") else { return bad() };
    Signature {
        status: Some(if signer.is_some() { 'G' } else { 'U' }),
        signer: BStr::new(signer.unwrap_or_default()).to_owned(),
        key: key.into(),
    }
}

/// A signature where the programs can read it; removed on drop.
struct SignatureFile(PathBuf);

impl SignatureFile {
    fn write(local: &LocalPaths, signature: &[u8]) -> std::io::Result<Self> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
        let path = local.common_dir.join(format!("push-cert_{process}_{number}.sig"));
        let path = std::path::absolute(path)?;
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let written = SignatureFile(path);
        file.write_all(signature)?;
        Ok(written)
    }
}

impl Drop for SignatureFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// What the programs say to people stays here.
struct Unheard;

impl Relay for Unheard {
    fn output(&mut self, bytes: &[u8]) {
        tracing::debug!("verifying a push certificate: {}", bytes.as_bstr());
    }

    fn idle(&mut self) {}
}

fn os(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpg_says_who_and_how_sure() {
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 13B6 C O Mitter <c@example.com>\n";
        let found = gpg_status(format!("{good}[GNUPG:] TRUST_ULTIMATE 0 pgp\n").as_bytes());
        let signer = "C O Mitter <c@example.com>".into();
        assert_eq!(found, Signature { status: Some('G'), signer, key: "13B6".into() });
        assert_eq!(gpg_status(good.as_bytes()).status, Some('U'));
        assert_eq!(gpg_status(format!("{good}{good}").as_bytes()).status, Some('E'));
        assert_eq!(gpg_status(b"GOODSIG 1 me\n").status, None);
    }

    #[test]
    fn ssh_names_may_have_any_words() {
        let said = b"Good \"git\" signature for a with b with ED25519 key SHA256:x\n";
        let found = ssh_status(true, said);
        let expected =
            Signature { status: Some('G'), signer: "a with b".into(), key: "SHA256:x".into() };
        assert_eq!(found, expected);
        assert_eq!(ssh_status(false, said).status, Some('B'));
        let found = ssh_status(true, b"Good \"git\" signature with RSA key SHA256:y\n");
        assert_eq!((found.status, found.key.to_string().as_str()), (Some('U'), "SHA256:y"));
        assert_eq!(ssh_status(true, b"whatever\n").status, Some('B'));
    }
}
