//! Keys and signatures of gpg, and some that it would not make.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};

use super::*;

const TEXT: &str = "certificate version 0.1\npushee here\r\n\nsomething to sign\n";
/// The 1st of January of 2030.
const NOW: u64 = 1_893_456_000;

/// A home of gpg with keys in it.
struct Gpg(tempfile::TempDir);

impl Gpg {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let only_mine = std::fs::Permissions::from_mode(0o700);
        Gpg(tempfile::Builder::new().permissions(only_mine).tempdir().expect("a folder"))
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, args: &[&str], input: &str) -> String {
        use std::io::Write as _;
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home());
        command.args(["--batch", "--yes", "--no-tty", "--quiet", "--pinentry-mode", "loopback"]);
        command.args(["--passphrase", ""]).args(args);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("gpg is installed");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "gpg {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn key(&self, name: &str) -> PgpKey {
        let text = self.run(&["--armor", "--export", name], "");
        PgpKey::parse(&text).expect(name)
    }

    fn sign(&self, name: &str, options: &[&str]) -> Vec<u8> {
        let sign = ["--armor", "--detach-sign", "-u", name];
        self.run(&[options, &sign].concat(), TEXT).into_bytes()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent would stay for a while.
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(self.home()).args(["--kill", "all"]);
        let _ = command.output();
    }
}

fn check(signature: &[u8], text: &str, key: &PgpKey, now: u64) -> Result<String, BadSignature> {
    check_signature(signature, text.as_bytes(), std::slice::from_ref(key), now)
}

#[test]
fn signatures_of_gpg_are_checked() {
    let gpg = Gpg::new();
    let now = ["--faked-system-time", "20291231T120000"];
    let kinds = ["ed25519", "rsa2048", "rsa3072", "nistp256", "nistp384", "nistp521"];
    for kind in kinds {
        let name = format!("{kind} <{kind}@x>");
        gpg.run(&[&now[..], &["--quick-gen-key", &name, kind, "sign", "0"]].concat(), "");
        let key = gpg.key(&name);
        assert_eq!(key.users(), std::slice::from_ref(&name));
        let signature = gpg.sign(&name, &now);
        assert_eq!(check(&signature, TEXT, &key, NOW), Ok(key.fingerprint()), "{kind}");
        let text = gpg.sign(&name, &[&now[..], &["--textmode"]].concat());
        check(&text, TEXT, &key, NOW).expect(kind);
        check(&text, &TEXT.replace('\r', ""), &key, NOW).expect("the same lines");
        let other = TEXT.replace("to", "of");
        assert_eq!(check(&signature, &other, &key, NOW), Err(BadSignature::Wrong), "{kind}");
        assert_eq!(check(&text, &other, &key, NOW), Err(BadSignature::Wrong), "{kind}");
        let nobody = check_signature(&signature, TEXT.as_bytes(), &[], NOW);
        assert_eq!(nobody, Err(BadSignature::OtherKey(key.fingerprint())));
        // Made before it was there, or later than now.
        assert_eq!(check(&signature, TEXT, &key, NOW - 200_000), Err(BadSignature::Time));
    }
    let sha1 = gpg.sign("rsa2048", &[&now[..], &["--digest-algo", "SHA1"]].concat());
    let key = gpg.key("rsa2048");
    assert_eq!(check(&sha1, TEXT, &key, NOW), Err(BadSignature::Hash("SHA-1")));
    let ends = gpg.sign("ed25519", &[&now[..], &["--default-sig-expire", "1"]].concat());
    let key = gpg.key("ed25519");
    check(&ends, TEXT, &key, NOW).expect("for a day");
    assert_eq!(check(&ends, TEXT, &key, NOW + 86_400), Err(BadSignature::Time));
}

#[test]
fn keys_end_and_are_taken_back() {
    let gpg = Gpg::new();
    // A minute for each: what a program takes goes on from the time it is told.
    let minutes = Cell::new(0);
    let then = || {
        minutes.set(minutes.get() + 1);
        format!("--faked-system-time=20290101T00{:02}00", minutes.get())
    };
    let run = |args: &[&str], input: &str| gpg.run(&[&[then().as_str()], args].concat(), input);
    let sign = |name: &str| gpg.sign(name, &[&then()]);
    run(&["--quick-gen-key", "short <s@x>", "ed25519", "sign", "30d"], "");
    let (key, signature) = (gpg.key("short"), sign("short"));
    let (day, begin) = (86_400, NOW - 365 * 86_400);
    check(&signature, TEXT, &key, begin + 29 * day).expect("not yet");
    let words = check(&signature, TEXT, &key, begin + 31 * day).expect_err("ended").to_string();
    let expected = format!("the key {} has expired on 2029-01-31", key.fingerprint());
    assert!(words.starts_with(&expected), "{words}");
    // It is told to go on.
    run(&["--quick-set-expire", &key.fingerprint(), "2y"], "");
    check(&signature, TEXT, &gpg.key("short"), NOW).expect("it goes on");
    check(&signature, TEXT, &key, NOW).expect_err("the text from before does not know");

    run(&["--quick-gen-key", "above <a@x>", "rsa2048", "cert", "0"], "");
    let fingerprint = gpg.key("above").fingerprint();
    run(&["--quick-add-key", &fingerprint, "ed25519", "sign", "0"], "");
    run(&["--quick-add-key", &fingerprint, "cv25519", "encr", "0"], "");
    let key = gpg.key("above");
    assert_eq!((key.subkeys.len(), key.users().len()), (2, 1));
    let signature = sign("above");
    let by = check(&signature, TEXT, &key, NOW).expect("a subkey");
    assert_eq!(by, hex(&key.subkeys[0].key.fingerprint()));
    let edit = ["--command-fd", "0", "--edit-key", &fingerprint, "key 1", "revkey", "save"];
    run(&edit, "y\n0\n\ny\n");
    let error = check(&signature, TEXT, &gpg.key("above"), NOW).expect_err("revoked");
    assert_eq!(error.to_string(), format!("the key {by} is revoked"));

    run(&["--quick-gen-key", "gone <g@x>", "ed25519", "sign", "0"], "");
    let signature = sign("gone");
    let fingerprint = gpg.key("gone").fingerprint();
    check(&signature, TEXT, &gpg.key("gone"), NOW).expect("still");
    let file = gpg.home().join(format!("openpgp-revocs.d/{fingerprint}.rev"));
    let text = std::fs::read_to_string(file).expect("gpg writes one");
    run(&["--import"], &text.replace(":-----BEGIN", "-----BEGIN"));
    let error = check(&signature, TEXT, &gpg.key("gone"), NOW).expect_err("revoked");
    assert_eq!(error.to_string(), format!("the key {fingerprint} is revoked"));
}

/// A key made by hand, which can say what gpg would not.
struct Handmade {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[0xc0 | tag, 255][..], &length, body].concat()
}

fn armoured(what: &str, packets: &[Vec<u8>]) -> String {
    let digits = STANDARD.encode(packets.concat());
    format!("-----BEGIN PGP {what}-----\n\n{digits}\n-----END PGP {what}-----\n")
}

/// A part of a signature.
fn part(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[u8::try_from(value.len() + 1).expect("short"), kind], value].concat()
}

fn at(time: u64) -> Vec<u8> {
    part(2, &u32::try_from(time).expect("in time").to_be_bytes())
}

impl Handmade {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let created = u32::try_from(NOW - 1000).expect("in time").to_be_bytes();
        let body = [&[4][..], &created, &[27], pair.public_key().as_ref()].concat();
        let public = PublicKey::read(&body).expect("a key");
        Handmade { pair, public }
    }

    fn says(
        &self,
        kind: u8,
        hash: u8,
        hashed: &[u8],
        unhashed: &[u8],
        signed: &[&[u8]],
    ) -> Vec<u8> {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short").to_be_bytes();
        let head = [&[4, kind, 27, hash][..], &length(hashed), hashed].concat();
        let behind = [&[4, 0xff][..], &u32::try_from(head.len()).expect("short").to_be_bytes()];
        let digest = Sha512::digest([&signed.concat()[..], &head, &behind.concat()].concat());
        let made = self.pair.sign(&digest);
        [&head[..], &length(unhashed), unhashed, &digest[..2], made.as_ref()].concat()
    }

    /// A key with a name, and what comes behind it.
    fn key(&self, hashed: &[u8], more: &[Vec<u8>]) -> String {
        let signed = [&self.public.hashed()[..], &hashed_name(b"me")];
        let own = self.says(0x13, 10, hashed, &[], &signed);
        let packets = [packet(6, &self.public.body), packet(13, b"me"), packet(2, &own)];
        armoured("PUBLIC KEY BLOCK", &[&packets[..], more].concat())
    }

    fn signs(&self, hashed: &[u8], unhashed: &[u8]) -> String {
        let made = self.says(0, 10, hashed, unhashed, &[TEXT.as_bytes()]);
        armoured("SIGNATURE", &[packet(2, &made)])
    }
}

#[test]
fn what_gpg_would_not_make() {
    let me = Handmade::new();
    let fine = at(NOW - 900);
    let key = PgpKey::parse(&me.key(&fine, &[])).expect("a key");
    let judge = |signature: &str, key: &PgpKey| check(signature.as_bytes(), TEXT, key, NOW);
    let id = &me.public.fingerprint()[12..];
    let unhashed = part(16, id);
    assert_eq!(judge(&me.signs(&fine, &unhashed), &key), Ok(key.fingerprint()));
    // Nobody has to say who he is.
    judge(&me.signs(&fine, &[]), &key).expect("it proves itself");
    let other = Handmade::new();
    assert_eq!(judge(&other.signs(&fine, &unhashed), &key), Err(BadSignature::Wrong));
    // Something that has to be understood, and something that need not be.
    let strange = |kind| [&fine[..], &part(kind, b"x")].concat();
    assert_eq!(judge(&me.signs(&strange(0x80 | 60), &[]), &key), Err(BadSignature::Form));
    judge(&me.signs(&strange(60), &[]), &key).expect("passed over");
    // A time that anybody could have written.
    assert_eq!(judge(&me.signs(&[], &fine), &key), Err(BadSignature::Form));
    let sha1 = me.says(0, 2, &fine, &[], &[TEXT.as_bytes()]);
    let sha1 = armoured("SIGNATURE", &[packet(2, &sha1)]);
    assert_eq!(judge(&sha1, &key), Err(BadSignature::Hash("SHA-1")));
    // Of a key, not of a text.
    let of_key = me.says(0x13, 10, &fine, &[], &[TEXT.as_bytes()]);
    let of_key = armoured("SIGNATURE", &[packet(2, &of_key)]);
    assert_eq!(judge(&of_key, &key), Err(BadSignature::Form));
    // A name without its owner's signature, and one by somebody else.
    let signed = [&me.public.hashed()[..], &hashed_name(b"me")];
    let by_other = other.says(0x13, 10, &fine, &[], &signed);
    for more in [vec![], vec![packet(2, &by_other)]] {
        let packets = [vec![packet(6, &me.public.body), packet(13, b"me")], more].concat();
        let bare = PgpKey::parse(&armoured("PUBLIC KEY BLOCK", &packets)).expect("a key");
        let error = judge(&me.signs(&fine, &[]), &bare).expect_err("nothing holds");
        assert!(error.to_string().contains("no signature of its owner's"), "{error}");
    }
    // It says of itself that it does not sign.
    let flags = [&fine[..], &part(27, &[0x01])].concat();
    let certifies = PgpKey::parse(&me.key(&flags, &[])).expect("a key");
    let error = judge(&me.signs(&fine, &[]), &certifies).expect_err("not for that");
    assert!(error.to_string().contains("is not for signing"), "{error}");
}

#[test]
fn nobody_takes_a_key_of_somebody_else_below_his_own() {
    let (thief, owner) = (Handmade::new(), Handmade::new());
    let fine = at(NOW - 900);
    let flags = [&fine[..], &part(27, &[SIGNS])].concat();
    let both = [&thief.public.hashed()[..], &owner.public.hashed()];
    let judge = |hashed: &[u8], unhashed: &[u8]| {
        let binding = thief.says(SUBKEY_BINDING, 10, hashed, unhashed, &both);
        let more = [packet(14, &owner.public.body), packet(2, &binding)];
        let key = PgpKey::parse(&thief.key(&fine, &more)).expect("a key");
        check(owner.signs(&fine, &[]).as_bytes(), TEXT, &key, NOW)
    };
    let error = judge(&flags, &[]).expect_err("the owner did not agree");
    assert!(error.to_string().contains("is not for signing"), "{error}");
    let by_thief = thief.says(PRIMARY_BINDING, 10, &fine, &[], &both);
    judge(&[&flags[..], &part(32, &by_thief)].concat(), &[]).expect_err("not he");
    let of_another = owner.says(PRIMARY_BINDING, 10, &fine, &[], &[&owner.public.hashed()]);
    judge(&[&flags[..], &part(32, &of_another)].concat(), &[]).expect_err("to something else");
    let agreed = owner.says(PRIMARY_BINDING, 10, &fine, &[], &both);
    judge(&[&flags[..], &part(32, &agreed)].concat(), &[]).expect("he did");
    judge(&flags, &part(32, &agreed)).expect("wherever that stands");
    // A binding by nobody.
    let binding = owner.says(SUBKEY_BINDING, 10, &flags, &[], &both);
    let more = [packet(14, &owner.public.body), packet(2, &binding)];
    let key = PgpKey::parse(&thief.key(&fine, &more)).expect("a key");
    check(owner.signs(&fine, &[]).as_bytes(), TEXT, &key, NOW).expect_err("unbound");
}

#[test]
fn texts_that_are_no_keys_and_no_signatures() {
    let me = Handmade::new();
    let key = me.key(&at(NOW - 900), &[]);
    let two = format!("{key}{key}");
    let private = key.replace("PUBLIC", "PRIVATE");
    let many = me.key(&at(NOW - 900), &vec![packet(13, b"x"); PACKETS_MAX]);
    for (text, error) in [
        ("", NoPgpKey::Form),
        (&armoured("PUBLIC KEY BLOCK", &[]), NoPgpKey::Form),
        (&armoured("PUBLIC KEY BLOCK", &[packet(13, b"me")]), NoPgpKey::Form),
        (&armoured("PUBLIC KEY BLOCK", &[packet(6, &[6, 0, 0, 0, 0, 27])]), NoPgpKey::Form),
        (&private, NoPgpKey::Private),
        (&two, NoPgpKey::Much),
        (&many, NoPgpKey::Much),
    ] {
        assert_eq!(PgpKey::parse(text), Err(error));
    }
    let key = PgpKey::parse(&key).expect("a key");
    let good = me.signs(&at(NOW - 900), &[]);
    check(good.as_bytes(), TEXT, &key, NOW).expect("it is");
    // Cut off and changed at every place.
    let bytes = unarmoured(good.as_bytes(), "SIGNATURE").expect("armoured");
    for at in 0..bytes.len() {
        let text = armoured("SIGNATURE", &[bytes[..at].to_vec()]);
        check(text.as_bytes(), TEXT, &key, NOW).expect_err("cut off");
        let mut changed = bytes.clone();
        changed[at] ^= 0x11;
        let text = armoured("SIGNATURE", &[changed]);
        let judged = check(text.as_bytes(), TEXT, &key, NOW);
        // The first bytes of the hash are there to save work, and nobody needs them.
        let is_hint = at >= bytes.len() - 66 && at < bytes.len() - 64;
        assert_eq!(judged.is_ok(), is_hint, "{at}");
    }
}
