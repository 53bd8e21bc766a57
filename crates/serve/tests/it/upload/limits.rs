//! Conversations that would go on for ever.

use serve::{Exchange, Namespace};
use testkit::{RealGit, Scenario};
use wire::{Limits, Protocol, WriteSink};

use super::server::upload_within;

#[test]
fn a_client_that_never_comes_to_an_end_is_told_the_limit() {
    let git = RealGit::new();
    let served = Scenario::linear(6).build(&git, "served.git");
    let want = git.rev_parse(&served, "main");
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let mut input = line(format!("want {want}\n")) + "0000";
    for number in 0..4 {
        input += &line(format!("have {number:040}\n"));
        input += "0000";
    }
    let mut output = Vec::new();
    let limits = Limits { rounds_max: 3, ..Limits::default() };
    let how = (Protocol::V0, Exchange::Conversation);
    let error = upload_within(
        &limits,
        &served,
        Namespace::default(),
        how,
        &mut input.as_bytes(),
        &mut WriteSink::new(&mut output),
    )
    .expect_err("four rounds");
    assert!(error.to_string().contains("rounds_max"), "{error}");
    let said = String::from_utf8_lossy(&output);
    assert_eq!(said.matches("NAK").count(), 3, "{said}");
}
