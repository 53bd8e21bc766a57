//! Archives that a command of the repository's configuration compresses (`tar.<format>.command`).

use std::io::{self, Read as _, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;

use super::channel::{Channel, Words};
use super::tar::Ending;
use crate::Error;

/// Pieces that wait for the client, before the command and who feeds it wait.
const PIECES: usize = 8;
/// Bytes of a piece.
const PIECE_BYTES: usize = 32 << 10;

/// What is on its way to the client.
enum Piece {
    Data(Bytes),
    Words(Vec<u8>),
}

/// The beginning of the way for words, where a command's output is on it, too.
pub(super) struct WordsBeside(SyncSender<Piece>);

impl Words for WordsBeside {
    fn say(&self, line: &[u8]) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(Piece::Words(line.to_vec())).map_err(gone)
    }
}

/// The command's input; its end ends the command.
pub(super) struct Input(Option<ChildStdin>);

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(pipe) => pipe.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ending for Input {
    fn end(&mut self) -> io::Result<()> {
        self.0 = None;
        Ok(())
    }
}

/// Runs a command as a shell would, with what `produce` writes, and sends what comes out.
///
/// # Errors
/// [`Error::Refused`] when the command cannot be run or fails; whatever `produce` failed with.
pub(super) fn run(
    command: &str,
    channel: &Channel<'_>,
    produce: impl FnOnce(Input, &WordsBeside) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let failed = |what: &str| Error::Refused(format!("{what} '{command}' filter"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| failed("unable to start"))?;
    let input = Input(child.stdin.take());
    let output = child.stdout.take();
    let (sender, receiver) = sync_channel(PIECES);
    let words = WordsBeside(sender.clone());
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || produce(input, &words));
        let reader = scope.spawn(move || match output {
            Some(output) => forward(output, &sender),
            None => Ok(()),
        });
        let sent = send(receiver, channel);
        if sent.is_err() {
            // Who feeds it finds its input closed.
            end(&mut child);
        }
        let produced = producer.join();
        let read = reader.join();
        let status = child.wait();
        sent?;
        let produced = produced.map_err(|_| failed("an error in front of"))?;
        let succeeded = status.is_ok_and(|status| status.success()) && matches!(read, Ok(Ok(())));
        match (produced, succeeded) {
            // It closed its input because it failed.
            (Ok(()) | Err(Error::Output(_)), false) => {
                Err(Error::Refused(format!("'{command}' filter reported error")))
            }
            (produced, _) => produced,
        }
    })
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
}

fn forward(mut output: impl io::Read, sender: &SyncSender<Piece>) -> io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        output.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
        if piece.is_empty() || sender.send(Piece::Data(piece.into())).is_err() {
            return Ok(());
        }
    }
}

fn send(receiver: Receiver<Piece>, channel: &Channel<'_>) -> io::Result<()> {
    for piece in receiver {
        match piece {
            Piece::Data(data) => channel.data(data)?,
            Piece::Words(words) => channel.say(&words)?,
        }
    }
    Ok(())
}
