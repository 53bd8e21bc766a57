//! The conversation with the hook, version 1: greeting, commands, push options, answer.

use std::io::{self, BufReader};
use std::process::{ChildStdin, ChildStdout};

use bstr::{BString, ByteSlice as _};
use wire::{Packet, PacketReader, PacketWriter, WriteSink};

use super::Negotiated;
use crate::receive::commands::Command;

/// Everything the hook is told.
pub(super) struct Request {
    greeting: Vec<u8>,
    commands: Vec<Vec<u8>>,
    push_options: Vec<BString>,
}

impl Request {
    pub(super) fn new(commands: &[Command], negotiated: Negotiated<'_>) -> Self {
        let mut features = Vec::new();
        if negotiated.atomic {
            features.push("atomic");
        }
        if negotiated.push_options.is_some() {
            features.push("push-options");
        }
        let mut greeting = b"version=1".to_vec();
        if !features.is_empty() {
            greeting.push(0);
            greeting.extend_from_slice(features.join(" ").as_bytes());
        }
        let scheduled = |command: &&Command| command.proc_receive.scheduled && command.is_pending();
        Request {
            greeting,
            commands: commands.iter().filter(scheduled).map(command_line).collect(),
            push_options: negotiated.push_options.unwrap_or_default().to_vec(),
        }
    }
}

fn command_line(command: &Command) -> Vec<u8> {
    let mut line = format!("{} {} ", command.old, command.new).into_bytes();
    line.extend_from_slice(&command.name);
    line
}

/// What the hook said in its greeting.
#[derive(Debug, Default, PartialEq, Eq)]
struct Greeting {
    version: i64,
    push_options: bool,
}

/// Talks to the hook. Its answer's lines, or the words with which the conversation failed.
pub(super) fn talk(
    request: &Request,
    stdin: ChildStdin,
    stdout: ChildStdout,
) -> Result<Vec<BString>, String> {
    let mut sink = WriteSink::new(stdin);
    let mut reader = PacketReader::new(BufReader::new(stdout));

    let greeting = write_lines(&mut sink, true, [&request.greeting])
        .ok()
        .and_then(|()| read_greeting(&mut reader))
        .ok_or("fail to negotiate version with proc-receive hook")?;
    if !matches!(greeting.version, 0 | 1) {
        return Err(format!("proc-receive version '{}' is not supported", greeting.version));
    }
    write_lines(&mut sink, false, &request.commands)
        .map_err(|_| "fail to write commands to proc-receive hook")?;
    if greeting.push_options {
        write_lines(&mut sink, false, &request.push_options)
            .map_err(|_| "fail to write push-options to proc-receive hook")?;
    }
    let answer = read_answer(&mut reader).ok_or("proc-receive exited abnormally")?;
    // Only now may the hook see the end of its input.
    drop(sink);
    Ok(answer)
}

/// Writes one section: a packet per line, then a flush packet.
fn write_lines<L: AsRef<[u8]>>(
    sink: &mut WriteSink<ChildStdin>,
    line_feed: bool,
    lines: impl IntoIterator<Item = L>,
) -> io::Result<()> {
    let mut writer = PacketWriter::new(sink);
    for line in lines {
        if line_feed {
            writer.text(line)?;
        } else {
            writer.data(line.as_ref())?;
        }
    }
    writer.flush_pkt()?;
    writer.flush()
}

/// `None` when the hook ends before it has greeted.
fn read_greeting(reader: &mut PacketReader<BufReader<ChildStdout>>) -> Option<Greeting> {
    let mut greeting = Greeting::default();
    loop {
        let packet = reader.next().ok()?;
        match packet {
            Packet::Eof => return None,
            Packet::Data(_) => {}
            _ => return Some(greeting),
        }
        let line = packet.text().unwrap_or_default();
        if let Some(rest) = line.strip_prefix(b"version=").filter(|rest| !rest.is_empty()) {
            greeting = parse_greeting(rest);
        }
    }
}

fn parse_greeting(rest: &[u8]) -> Greeting {
    let (version, features) = rest.split_once_str("\0").unwrap_or((rest, b""));
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let version = version[..digits].to_str().ok().and_then(|text| text.parse().ok());
    let push_options = features.split_str(" ").any(|feature| feature == b"push-options");
    Greeting { version: version.unwrap_or(0), push_options }
}

/// The lines until the hook flushes or ends; `None` when it ends without a word.
fn read_answer(reader: &mut PacketReader<BufReader<ChildStdout>>) -> Option<Vec<BString>> {
    let mut lines = Vec::new();
    loop {
        match reader.next() {
            Ok(packet @ Packet::Data(_)) => lines.extend(packet.text().map(BString::from)),
            Ok(Packet::Eof) | Err(_) if lines.is_empty() => return None,
            _ => return Some(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_carry_a_version_and_features() {
        let greeting = parse_greeting(b"1\0push-options atomic");
        assert_eq!(greeting, Greeting { version: 1, push_options: true });
        assert_eq!(parse_greeting(b"2"), Greeting { version: 2, push_options: false });
    }
}
