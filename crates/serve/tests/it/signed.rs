//! Signed pushes: what hooks learn of a certificate and its nonce.

use std::fs;

use serve::Exchange;

use crate::bridge::Scene;

const TELL: &str = "echo \"$GIT_PUSH_CERT_STATUS $GIT_PUSH_CERT_SIGNER\" >>seen
    echo \"$GIT_PUSH_CERT_NONCE_STATUS\" >>seen
    git cat-file blob \"$GIT_PUSH_CERT\" >seen.cert
    echo \"$GIT_PUSH_CERT_NONCE\" >seen.nonce\n";

/// A scene whose clone signs with a key of ssh; `None` where there is no ssh-keygen.
fn signing() -> Option<Scene> {
    let scene = Scene::new();
    let key = scene.git.path("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(&key)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return None;
    }
    scene.git.ok(&scene.work, &["config", "gpg.format", "ssh"]);
    scene.git.ok(&scene.work, &["config", "user.signingKey", key.to_str().expect("UTF-8")]);
    Some(scene)
}

#[test]
fn hooks_are_given_the_certificate() {
    let Some(scene) = signing() else { return };
    scene.config("receive.certNonceSeed", "a seed");
    scene.hook("pre-receive", TELL);
    scene.hook("post-receive", TELL);
    scene.commit("two\n");
    scene.push_ok(&["--signed", "main", "main:other"]);
    let (head, old) = (scene.git.rev_parse(&scene.work, "main"), "0".repeat(40));
    // Without a list of signers a signature is not looked at.
    assert_eq!(scene.written("seen"), "N \nOK\nN \nOK\n");
    let cert = scene.written("seen.cert");
    assert!(cert.starts_with("certificate version 0.1\n"), "{cert}");
    assert!(cert.contains(&format!("{old} {head} refs/heads/other\n")), "{cert}");
    assert!(cert.contains("-----BEGIN SSH SIGNATURE-----"), "{cert}");
    assert!(cert.contains(&format!("nonce {}", scene.written("seen.nonce"))), "{cert}");
}

#[test]
fn signatures_of_ssh_are_verified() {
    let Some(scene) = signing() else { return };
    scene.config("receive.certNonceSeed", "a seed");
    scene.hook(
        "post-receive",
        "echo \"$GIT_PUSH_CERT_STATUS $GIT_PUSH_CERT_SIGNER\" >>seen
        echo \"$GIT_PUSH_CERT_KEY\" >seen.key",
    );
    let signers = scene.git.path("signers");
    scene.config("gpg.ssh.allowedSignersFile", signers.to_str().expect("UTF-8"));
    fs::write(&signers, "").expect("signers");
    scene.commit("two\n");
    scene.push_ok(&["--signed", "main"]);
    let public = fs::read_to_string(scene.git.path("key.pub")).expect("a key");
    fs::write(&signers, format!("\"somebody we know\" {public}")).expect("signers");
    scene.commit("three\n");
    scene.push_ok(&["--signed", "main"]);
    assert_eq!(scene.written("seen"), "U \nG somebody we know\n");
    assert!(scene.written("seen.key").starts_with("SHA256:"), "{}", scene.written("seen.key"));
    assert!(!scene.everything().iter().any(|file| file.contains(".sig ")));
}

#[test]
fn without_a_seed_nobody_can_sign() {
    let Some(scene) = signing() else { return };
    scene.commit("two\n");
    let words = scene.push_fails(&["--signed", "main"]);
    assert!(words.contains("the receiving end does not support --signed push"), "{words}");
    scene.push_ok(&["--signed=if-asked", "main"]);
}

/// A push of `refs/heads/new` with a certificate around it, as a round of its own.
fn certified(scene: &Scene, nonce: &str) -> Vec<u8> {
    let new = scene.git.rev_parse(&scene.work, "main~1");
    let lines = [
        "push-cert\0 report-status object-format=sha1".to_owned(),
        "certificate version 0.1\n".to_owned(),
        "pusher key 1700000000 +0000\n".to_owned(),
        format!("nonce {nonce}\n"),
        "\n".to_owned(),
        format!("{} {new} refs/heads/new\n", "0".repeat(40)),
        "-----BEGIN SSH SIGNATURE-----\n".to_owned(),
        "push-cert-end\n".to_owned(),
    ];
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend(format!("{:04x}{line}", line.len() + 4).into_bytes());
    }
    bytes.extend(b"0000");
    bytes.extend(crate::cut::pack(scene, &format!("{new}\n")));
    bytes
}

#[test]
fn an_old_nonce_is_told_from_a_forged_one() {
    let scene = Scene::new();
    scene.commit("two\n");
    scene.config("receive.certNonceSeed", "a seed");
    scene.hook(
        "pre-receive",
        "echo \"$GIT_PUSH_CERT_NONCE_STATUS $GIT_PUSH_CERT_NONCE_SLOP\" >>seen; exit 1",
    );
    // The nonce is given out in one round and comes back in another.
    let advertised = crate::stateless::round(&scene, Exchange::Advertise, 0, b"");
    let advertised = String::from_utf8_lossy(&advertised).into_owned();
    let nonce = advertised.split("push-cert=").nth(1).expect("a nonce");
    let nonce = nonce.split([' ', '\n']).next().expect("a nonce");
    let forged = format!("{}0", &nonce[..nonce.len() - 1]);
    for (seconds, nonce) in [(0, nonce), (50, nonce), (0, &forged), (0, "")] {
        crate::stateless::round(&scene, Exchange::Round, seconds, &certified(&scene, nonce));
    }
    scene.config("receive.certNonceSlop", "60");
    crate::stateless::round(&scene, Exchange::Round, 50, &certified(&scene, nonce));
    assert_eq!(scene.written("seen"), "OK \nSLOP 50\nBAD \nBAD \nOK \n");
    assert!(fs::metadata(scene.served.join("refs/heads/new")).is_err());
}
