//! Playing a transcript against a function, a process or a TCP server.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::render::packet_length;
use super::{Transcript, Turn, check, render};

/// How long a session may take, or a TCP peer stay silent, before it is called hung.
const PATIENCE: Duration = Duration::from_secs(60);

impl Transcript {
    /// Hands all that is sent to `serve` at once and checks what it wrote.
    #[track_caller]
    pub fn check_function(&self, mut serve: impl FnMut(&mut dyn BufRead, &mut dyn Write)) {
        let mut output = Vec::new();
        serve(&mut self.sent().as_slice(), &mut output);
        check(&self.play(&mut output.as_slice(), io::sink(), drop), &self.text);
    }

    /// Plays the session over the standard streams of a program, and returns how it ended.
    /// Its standard error is inherited unless the command says otherwise.
    #[track_caller]
    pub fn check_process(&self, mut command: Command) -> ExitStatus {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("start {command:?}: {why}"));
        let pid = Pid::from_child(&child);
        let (over, wait) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let mut output = child.stdout.take().expect("stdout is piped");
        let input = child.stdin.take().expect("stdin is piped");
        let rendered = self.play(&mut output, input, drop);
        drop(over);
        let _ = watch.join();
        let status = child.wait().expect("wait for the program");
        check(&rendered, &self.text);
        status
    }

    /// Plays the session over one TCP connection.
    #[track_caller]
    pub fn check_tcp(&self, address: impl ToSocketAddrs) {
        let stream = TcpStream::connect(address).expect("connect to the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a read timeout");
        check(
            &self.play(&mut &stream, &stream, |stream| drop(stream.shutdown(Shutdown::Write))),
            &self.text,
        );
    }

    /// Sends and receives turn by turn; what came back, in the script's own notation.
    fn play<W: Write>(&self, input: &mut dyn Read, mut output: W, close: impl FnOnce(W)) -> String {
        let turns = self.turns();
        let mut text = String::new();
        for (at, turn) in turns.iter().enumerate() {
            match turn {
                Turn::Send(lines) => {
                    let mut bytes = Vec::new();
                    lines.iter().for_each(|line| self.encode(line, &mut bytes));
                    // A peer that hangs up early is judged by what it said before.
                    let _ = output.write_all(&bytes).and_then(|()| output.flush());
                    lines.iter().for_each(|line| text.extend([line, "\n"]));
                }
                Turn::Expect(lines) if at + 1 < turns.len() => {
                    text.push_str(&self.disguise(&render(&receive(input, lines))));
                }
                Turn::Expect(_) => {}
            }
        }
        close(output);
        let mut rest = Vec::new();
        // A reset connection ends the transcript like a closed one.
        let _ = input.read_to_end(&mut rest);
        text.push_str(&self.disguise(&render(&rest)));
        text
    }
}

/// Reads packets until the expected lines are answered: by as many special packets as they hold
/// when they end in one, else by as many packets as there are lines.
fn receive(input: &mut dyn Read, expected: &[&str]) -> Vec<u8> {
    let special = |line: &&str| matches!(*line, "< 0000" | "< 0001" | "< 0002");
    let until_special = expected.last().is_some_and(special);
    let mut left = match until_special {
        true => expected.iter().filter(|line| special(line)).count(),
        false => expected.len(),
    };
    let mut bytes = Vec::new();
    while left > 0 {
        let mut header = [0; 4];
        if input.read_exact(&mut header).is_err() {
            break;
        }
        bytes.extend_from_slice(&header);
        let Some(length) = packet_length(header) else { break };
        let body = bytes.len();
        bytes.resize(body + length - 4, 0);
        if input.read_exact(&mut bytes[body..]).is_err() {
            break;
        }
        let is_special = matches!(&header, b"0000" | b"0001" | b"0002");
        left -= usize::from(is_special || !until_special);
    }
    bytes
}
