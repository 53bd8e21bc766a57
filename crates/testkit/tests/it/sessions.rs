//! Transcripts against stock git, and servers found by the line they print.

use std::io::{BufRead, Write};
use std::process::Command;

use testkit::{RealGit, Scenario, ServerProcess, Transcript, check};

#[test]
fn a_v2_session_with_git_upload_pack() {
    let git = RealGit::new();
    let dir = Scenario::linear(2).build(&git, "repo.git");
    let mut command = git.command(&dir);
    command.args(["upload-pack", "."]).env("GIT_PROTOCOL", "version=2");
    let status = Transcript::new(
        "
        < version 2
        < agent=*
        < ls-refs=unborn
        < fetch=shallow wait-for-done
        < server-option
        < object-format=sha1
        < 0000
        > command=ls-refs
        > 0001
        > symrefs
        > ref-prefix HEAD
        > 0000
        < {main} HEAD symref-target:refs/heads/main
        < 0000
        > command=fetch
        > 0001
        > no-progress
        > want {main}
        > done
        > 0000
        < packfile
        <1 pack of 8 objects
        < 0000
        > 0000
        ",
    )
    .name("main", git.rev_parse(&dir, "main"))
    .check_process(command);
    assert!(status.success());
}

#[test]
fn a_function_can_be_the_server() {
    let mut serve = |input: &mut dyn BufRead, output: &mut dyn Write| {
        let mut request = String::new();
        input.read_to_string(&mut request).expect("text");
        assert_eq!(request, "000ahello\n0000raw\0");
        output.write_all(b"0008NAK\n0007bye").expect("a vector takes all");
    };
    Transcript::new(
        "
        # what is sent needs no answer in between
        > hello
        > 0000
        >! raw\\0
        < NAK
        <- bye
        ",
    )
    .check_function(&mut serve);
}

#[test]
fn a_failed_command_is_told_with_its_words() {
    let git = RealGit::new();
    let dir = git.init_bare("empty.git");
    check(
        &git.fail(&dir, &["rev-parse", "--verify", "nothing"]),
        "fatal: Needed a single revision",
    );
}

#[test]
fn a_server_is_found_by_its_announcement() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo starting; echo 'serving http://127.0.0.1:4711/a.git'; exec sleep 600"]);
    let mut server = ServerProcess::spawn_http(command);
    assert_eq!(server.address(), "http://127.0.0.1:4711/");
    assert_eq!(server.authority(), "127.0.0.1:4711");
    assert!(server.printed().starts_with("starting\n"));
    server.terminate();
    assert!(!server.wait().success());
}
