//! Negotiations, packet by packet. Each session is played twice: against this server and
//! against stock git's, which has to agree with every word of it.

use std::path::PathBuf;

use serve::{Exchange, Namespace};
use testkit::{RealGit, Scenario, Transcript};
use wire::{Protocol, WriteSink};

use super::server::upload;

const FETCH: &str = "
    > command=fetch
    > object-format=sha1
    > 0001";

/// Six commits on `main`, `{c1}` to `{c6}`, and one of another repository, `{new}`.
struct Sessions {
    git: RealGit,
    served: PathBuf,
}

impl Sessions {
    fn new() -> Self {
        let git = RealGit::new();
        let served = Scenario::linear(6).build(&git, "served.git");
        Sessions { git, served }
    }

    fn transcript(&self, text: &str) -> Transcript {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        let text =
            &lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        let unknown = "1".repeat(40);
        let id = object::ObjectId::from_hex(unknown.as_bytes()).expect("an id");
        let mut transcript = Transcript::new(text).name("new", id);
        for number in 1..=6 {
            let commit = self.git.rev_parse(&self.served, &format!("main~{}", 6 - number));
            transcript = transcript.name(&format!("c{number}"), commit);
        }
        transcript
    }

    #[track_caller]
    fn check(&self, protocol: Protocol, exchange: Exchange, text: &str) {
        self.check_ours(protocol, exchange, text);
        let mut stock = self.git.command(&self.served);
        stock.arg("upload-pack");
        if exchange == Exchange::Round {
            stock.arg("--stateless-rpc");
        }
        if protocol == Protocol::V2 {
            stock.env("GIT_PROTOCOL", "version=2");
        }
        stock.arg(&self.served).stderr(std::process::Stdio::null());
        self.transcript(text).check_process(stock);
    }

    #[track_caller]
    fn check_ours(&self, protocol: Protocol, exchange: Exchange, text: &str) {
        self.transcript(text).check_function(|input, output| {
            let mut output = WriteSink::new(output);
            let whole = Namespace::default();
            // A refusal is part of the transcript.
            let _ = upload(&self.served, whole, protocol, exchange, input, &mut output);
            wire::Sink::flush(&mut output).expect("a buffer");
        });
    }

    /// A whole conversation of version 0.
    #[track_caller]
    fn v0(&self, text: &str) {
        let advertisement = "
            < {c6} HEAD\\0multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag multi_ack_detailed symref=HEAD:refs/heads/main object-format=sha1 agent=*
            < {c6} refs/heads/main
            < 0000";
        self.check(Protocol::V0, Exchange::Conversation, &format!("{advertisement}\n{text}"));
    }

    /// One stateless request of version 0.
    #[track_caller]
    fn v0_round(&self, text: &str) {
        self.check(Protocol::V0, Exchange::Round, text);
    }

    /// One stateless request of version 2.
    #[track_caller]
    fn v2(&self, arguments: &str) {
        self.check(Protocol::V2, Exchange::Round, &format!("{FETCH}\n{arguments}"));
    }

    /// The same where git would die without a word to the client.
    #[track_caller]
    fn v2_alone(&self, arguments: &str) {
        self.check_ours(Protocol::V2, Exchange::Round, &format!("{FETCH}\n{arguments}"));
    }
}

#[test]
fn without_multi_ack() {
    let sessions = Sessions::new();
    sessions.v0("
            > want {c6} ofs-delta
            > 0000
            > have {new}
            > 0000
            < NAK
            > have {c3}
            > have {c5}
            > 0000
            < ACK {c3}
            > done
            < pack of 4 objects
        ");
}

#[test]
fn a_clone_in_version_0() {
    let sessions = Sessions::new();
    sessions.v0("
            > want {c6} side-band-64k no-progress ofs-delta
            > 0000
            > done
            < NAK
            <1 pack of 24 objects
            < 0000
        ");
}

#[test]
fn with_multi_ack() {
    let sessions = Sessions::new();
    sessions.v0("
            > want {c6} multi_ack side-band-64k no-progress ofs-delta
            > 0000
            > have {new}
            > 0000
            < NAK
            > have {c5}
            > have {new}
            > 0000
            < ACK {c5} continue
            < ACK {new} continue
            < NAK
            > done
            < ACK {c5}
            <1 pack of 4 objects
            < 0000
        ");
}

#[test]
fn with_detailed_multi_ack() {
    let sessions = Sessions::new();
    sessions.v0("
            > want {c6} multi_ack_detailed side-band-64k no-progress ofs-delta
            > 0000
            > have {new}
            > 0000
            < NAK
            > have {c4}
            > 0000
            < ACK {c4} common
            < ACK {c4} ready
            < NAK
            > have {c3}
            > have {new}
            > done
            < ACK {c3} common
            < ACK {new} ready
            < ACK {c3}
            <1 pack of 8 objects
            < 0000
        ");
}

#[test]
fn stateless_rounds_of_version_0() {
    let sessions = Sessions::new();
    sessions.v0_round(
        "
            > want {c6} multi_ack_detailed side-band-64k no-progress ofs-delta
            > 0000
            > have {new}
            > 0000
            < NAK
        ",
    );
    sessions.v0_round(
        "
            > want {c6} multi_ack_detailed side-band-64k no-progress ofs-delta
            > 0000
            > have {c4}
            > 0000
            < ACK {c4} common
            < ACK {c4} ready
            < NAK
        ",
    );
    // `no-done`: the pack follows without being asked for again.
    sessions.v0_round(
        "
            > want {c6} multi_ack_detailed no-done side-band-64k no-progress ofs-delta
            > 0000
            > have {c4}
            > 0000
            < ACK {c4} common
            < ACK {c4} ready
            < NAK
            < ACK {c4}
            <1 pack of 8 objects
            < 0000
        ",
    );
}

#[test]
fn a_boundary_in_version_0() {
    let sessions = Sessions::new();
    sessions.v0("
            > want {c6} multi_ack_detailed side-band-64k no-progress ofs-delta thin-pack
            > deepen 2
            > 0000
            <- shallow {c5}
            < 0000
            > done
            < NAK
            <1 pack of 14 objects
            < 0000
        ");
    sessions.v0("
            > want {c6} multi_ack_detailed side-band-64k no-progress ofs-delta thin-pack
            > shallow {c5}
            > deepen 4
            > 0000
            <- shallow {c3}
            <- unshallow {c5}
            < 0000
            > have {c6}
            > done
            < ACK {c6} common
            < ACK {c6}
            <1 pack of 6 objects
            < 0000
        ");
}

#[test]
fn refusals_of_version_0() {
    let sessions = Sessions::new();
    sessions.v0("
            > want {new} side-band-64k
            > 0000
            <- ERR upload-pack: not our ref {new}
        ");
    // Nothing wanted: the session ends without a word.
    sessions.v0("> 0000");
}

#[test]
fn acknowledgments_of_version_2() {
    let sessions = Sessions::new();
    sessions.v2("
            > want {c6}
            > have {new}
            > 0000
            < acknowledgments
            < NAK
            < 0000
        ");
    sessions.v2("
            > want {c6}
            > have {new}
            > have {c4}
            > have {c2}
            > no-progress
            > ofs-delta
            > 0000
            < acknowledgments
            < ACK {c4}
            < ACK {c2}
            < ready
            < 0001
            < packfile
            <1 pack of 8 objects
            < 0000
        ");
}

#[test]
fn waiting_for_done() {
    let sessions = Sessions::new();
    sessions.v2("
            > want {c6}
            > have {c4}
            > wait-for-done
            > 0000
            < acknowledgments
            < ACK {c4}
            < 0000
        ");
    // Negotiation only: no wants at all.
    sessions.v2("
            > have {c4}
            > have {new}
            > wait-for-done
            > 0000
            < acknowledgments
            < ACK {c4}
            < 0000
        ");
    sessions.v2("
            > want {c6}
            > have {c4}
            > wait-for-done
            > done
            > no-progress
            > 0000
            < packfile
            <1 pack of 8 objects
            < 0000
        ");
}

#[test]
fn a_boundary_in_version_2() {
    let sessions = Sessions::new();
    sessions.v2("
            > want {c6}
            > shallow {c5}
            > have {c6}
            > deepen 1
            > deepen-relative
            > no-progress
            > ofs-delta
            > thin-pack
            > done
            > 0000
            < shallow-info
            <- shallow {c4}
            <- unshallow {c5}
            < 0001
            < packfile
            <1 pack of 3 objects
            < 0000
        ");
    // A boundary is told even when it does not change.
    sessions.v2("
            > want {c6}
            > shallow {c5}
            > have {c6}
            > no-progress
            > done
            > 0000
            < shallow-info
            < 0001
            < packfile
            <1 pack of 0 objects
            < 0000
        ");
}

#[test]
fn names_wanted_in_version_2() {
    let sessions = Sessions::new();
    sessions.git.ok(&sessions.served, &["config", "uploadpack.allowRefInWant", "true"]);
    sessions.v2("
            > want-ref refs/heads/main
            > have {c4}
            > no-progress
            > ofs-delta
            > done
            > 0000
            < wanted-refs
            < {c6} refs/heads/main
            < 0001
            < packfile
            <1 pack of 8 objects
            < 0000
        ");
    sessions.v2("
            > want-ref refs/heads/missing
            > done
            > 0000
            <- ERR unknown ref refs/heads/missing
        ");
}

#[test]
fn refusals_of_version_2() {
    let sessions = Sessions::new();
    sessions.v2("
            > want {new}
            > done
            > 0000
            <- ERR upload-pack: not our ref {new}
        ");
    // Nothing wanted and nothing to wait for: nothing is said.
    sessions.v2("
            > have {c4}
            > done
            > 0000
        ");
}

#[test]
fn a_conversation_of_version_2() {
    let sessions = Sessions::new();
    sessions.git.ok(&sessions.served, &["tag", "-a", "-m", "t", "t", "main~5"]);
    sessions.git.ok(&sessions.served, &["config", "uploadpack.allowFilter", "true"]);
    sessions.git.ok(&sessions.served, &["config", "transfer.advertiseObjectInfo", "true"]);
    let tag = sessions.git.rev_parse(&sessions.served, "t");
    let text = "
            < version 2
            < agent=*
            < ls-refs=unborn
            < fetch=shallow wait-for-done filter
            < server-option
            < object-format=sha1
            < object-info
            < 0000
            > command=ls-refs
            > object-format=sha1
            > 0001
            > peel
            > symrefs
            > unborn
            > ref-prefix HEAD
            > ref-prefix refs/tags/
            > 0000
            < {c6} HEAD symref-target:refs/heads/main
            < TAG refs/tags/t peeled:{c1}
            < 0000
            > command=object-info
            > object-format=sha1
            > 0001
            > size
            > oid {c6}
            > oid TAG
            > 0000
            <- size
            <- {c6} 226
            <- TAG 128
            < 0000
            > command=fetch
            > object-format=sha1
            > 0001
            > want {c6}
            > filter blob:none
            > no-progress
            > include-tag
            > done
            > 0000
            < packfile
            <1 pack of 19 objects
            < 0000
        ";
    let text = text.replace("TAG", &tag.to_string());
    sessions.check(Protocol::V2, Exchange::Conversation, &text);
}

#[test]
fn refusals_of_filters_and_depths() {
    let sessions = Sessions::new();
    sessions.v2_alone(
        "> want {c6}\n> filter blob:none\n> 0000\n<- ERR unexpected line: 'filter blob:none'",
    );
    sessions.git.ok(&sessions.served, &["config", "uploadpack.allowFilter", "true"]);
    sessions.git.ok(&sessions.served, &["config", "uploadpackfilter.tree.maxDepth", "2"]);
    sessions.v2_alone(
        "> want {c6}\n> filter tree:3\n> 0000\n<- ERR tree filter allows max depth 2, but got 3",
    );
    sessions.v2_alone(
        "> want {c6}\n> deepen-not nowhere\n> done\n> 0000\n\
         <- ERR git upload-pack: deepen-not is not a ref: deepen-not nowhere",
    );
    sessions.v2_alone(
        "> want {c6}\n> deepen 1\n> deepen-since 5\n> done\n> 0000\n\
         <- ERR git upload-pack: deepen and deepen-since (or deepen-not) cannot be used together",
    );
}
