//! `git config --type=…` against [`gitconfig::parse_bool`] and [`gitconfig::parse_signed`].

use std::process::Command;

fn git_reads(kind: &str, value: &str) -> Option<String> {
    let output = Command::new("git")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", &format!("a.b={value}"), "config", &format!("--type={kind}"), "a.b"])
        .current_dir("/")
        .output()
        .expect("git runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    output.status.success().then(|| text.trim_end().to_owned())
}

#[test]
fn reads_values_as_git_does() {
    for value in [
        "",
        "true",
        "YES",
        "oN",
        "false",
        "No",
        "off",
        "0",
        "1",
        "-1",
        "2k",
        "4g",
        "0x1F",
        "017",
        "08",
        " 1",
        "1 ",
        "+3",
        "--3",
        "1K",
        "1M",
        "1G",
        "1T",
        "1kb",
        "0x",
        "0xg",
        "maybe",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "8796093022208m",
        "9007199254740991k",
        "9007199254740992k",
        "99999999999999999999x",
    ] {
        let int = gitconfig::parse_signed(value.as_bytes(), i64::MAX).ok();
        assert_eq!(int.map(|int| int.to_string()), git_reads("int", value), "int {value:?}");
        let bool = gitconfig::parse_bool(Some(value.as_bytes()));
        assert_eq!(bool.map(|bool| bool.to_string()), git_reads("bool", value), "bool {value:?}");
    }
}
