//! Rounds without a conversation behind them, as HTTP has them.

use std::sync::Arc;

use serve::Exchange;
use wire::Protocol;

use crate::bridge::{Scene, receive};

/// One round, that many seconds after the first; the answer's bytes.
pub fn round(scene: &Scene, exchange: Exchange, seconds: u64, input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let adjust = Arc::new(move |session: &mut serve::receive::ReceivePack<'_>| {
        session.exchange = exchange;
        session.now_seconds += seconds;
    });
    // How it ends is in the answer.
    let _ = receive(&scene.served, Protocol::V0, &*adjust, &mut &input[..], &mut output);
    output
}

#[test]
fn the_advertisement_and_the_push_are_rounds_of_their_own() {
    let scene = Scene::new();
    let head = scene.git.rev_parse(&scene.served, "main");
    let advertised = round(&scene, Exchange::Advertise, 0, b"");
    let text = String::from_utf8_lossy(&advertised);
    assert!(text.contains(&format!("{head} refs/heads/main\0")), "{text}");
    assert!(text.ends_with("0000"), "{text}");

    let bytes = crate::cut::whole_push(&scene);
    let answer = round(&scene, Exchange::Round, 0, &bytes);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("unpack ok\n"), "{text}");
    assert!(text.contains("ok refs/heads/new\n"), "{text}");
    assert!(!text.contains(&format!("{head} refs/heads/main\0")), "{text}");
    // The same again: the ref is there now.
    let answer = round(&scene, Exchange::Round, 0, &bytes);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("ng refs/heads/new reference already exists\n"), "{text}");
    scene.git.fsck_strict(&scene.served);
}

#[test]
fn a_round_without_commands_changes_nothing() {
    let scene = Scene::new();
    let before = scene.everything();
    assert_eq!(round(&scene, Exchange::Round, 0, b"0000"), b"");
    round(&scene, Exchange::Round, 0, b"");
    assert_eq!(scene.everything(), before);
}
