//! Signed pushes, by SSH and by OpenPGP keys of accounts, from stock git.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;

use crate::accounts::Scene;

#[test]
fn pushes_are_signed_where_rules_ask_for_it() {
    let scene = Scene::new("toml", "");
    let url = scene.url(&scene.token("ann", &[]), "team/app.git");
    for key in ["mine", "other"] {
        let file = scene.git.path(key);
        let status = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&file)
            .status();
        assert!(status.expect("ssh-keygen runs").success());
    }
    let public = scene.git.path("mine.pub");
    scene.ok(&["key", "add", "ann", public.to_str().expect("text")]);
    scene.ok(&["access", "protect", "refs/heads/main", "--in", "team/", "--signed"]);
    scene.refused(&url, "HEAD:refs/heads/main", "has to be signed: git push --signed does that");
    scene.push(&url, "HEAD:refs/heads/other").expect("not protected");
    let signed = |key: &str| {
        let key = format!("user.signingKey={}", scene.git.path(key).display());
        let args =
            ["-c", "gpg.format=ssh", "-c", &key, "push", "--signed", &url, "HEAD:refs/heads/main"];
        scene.git.run(&scene.work, &args)
    };
    let said = signed("other").error_text();
    assert!(said.contains("which is not a key of this account"), "{said}");
    let output = signed("mine");
    assert!(output.status.success(), "{}", output.error_text());
    assert!(scene.git.refs(&scene.served).contains("refs/heads/main"));
}

#[test]
fn pushes_are_signed_with_gpg() {
    for kind in ["toml", "db"] {
        let scene = Scene::new(kind, "");
        let home = scene.git.path("gpg");
        fs::DirBuilder::new().mode(0o700).create(&home).expect("a folder");
        let gpg = |args: &[&str]| {
            let mut command = std::process::Command::new("gpg");
            command.arg("--homedir").arg(&home).args(["--batch", "--quiet", "--passphrase", ""]);
            let output = command.args(args).output().expect("gpg is installed");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        for name in ["mine <me@x>", "other <o@x>"] {
            gpg(&["--quick-gen-key", name, "ed25519", "sign", "0"]);
        }
        let public = scene.git.path("mine.asc");
        fs::write(&public, gpg(&["--armor", "--export", "me@x"])).expect("a file");
        let url = scene.url(&scene.token("ann", &[]), "team/app.git");
        scene.ok(&["access", "protect", "refs/heads/main", "--in", "team/", "--signed"]);
        let push = |key: &str| {
            let key = format!("user.signingKey={key}");
            let args = ["-c", &key, "push", "--signed", &url, "HEAD:refs/heads/main"];
            let mut command = scene.git.command(&scene.work);
            let output = command.env("GNUPGHOME", &home).args(args).output().expect("git runs");
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        assert!(push("me@x").1.contains("which is not a key of this account"));
        let fingerprint = scene.ok(&["key", "add", "ann", public.to_str().expect("text")]);
        let listed = scene.ok(&["key", "list"]);
        assert!(listed.contains(fingerprint.trim()) && listed.contains("mine <me@x>"), "{listed}");
        assert!(push("o@x").1.contains("which is not a key of this account"));
        let (pushed, said) = push("me@x");
        assert!(pushed, "{said}");
        scene.ok(&["key", "remove", fingerprint.trim()]);
        scene.git.commit_file(&scene.work, "file", "more");
        assert!(push("me@x").1.contains("which is not a key of this account"));
        let mut end = std::process::Command::new("gpgconf");
        end.arg("--homedir").arg(&home).args(["--kill", "all"]).status().expect("gpgconf");
    }
}
