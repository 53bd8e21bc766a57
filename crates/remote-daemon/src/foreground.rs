//! In the foreground: a line protocol with the program that started it (docs/remote-daemon-protocol.md).

use std::io::{self, BufRead, Read as _, Write as _};

use bstr::{BStr, BString, ByteSlice as _};
use client::{AnnexKey, NoAnnexKey};
use tokio::sync::{mpsc, watch};

use crate::command_line::Protocol;
use crate::daemon::{self, Mode};
use crate::git::Repository;
use crate::note::{Note, Order};
use crate::settings::Action;
use crate::transfer::{ANNEX, Direction, Outcome, Transfer};
use crate::words::{LINE_BYTES_MAX, push_text, push_word, words};

/// Notes and orders that wait.
const WAITING_MAX: usize = 256;

/// Speaks the protocol on standard input and output until the input ends.
///
/// # Errors
/// In words, when the daemon cannot go on.
pub async fn run(repository: Repository, protocol: Protocol, acts: bool) -> Result<(), String> {
    let (notes, noted) = mpsc::channel(WAITING_MAX);
    let (orders, ordered) = mpsc::channel(WAITING_MAX);
    let (over, mut is_over) = watch::channel(None);
    let mode = match protocol {
        Protocol::Plain => Mode { usual: Action::Notify, acts },
        // The assistant's own daemon fetches.
        Protocol::Annex => Mode { usual: Action::Fetch, acts: true },
    };
    let mut speech = Speech { protocol, notes: notes.clone(), orders, knows_annex: false };
    let ended = over.clone();
    std::thread::spawn(move || ended.send_replace(Some(speech.listen(io::stdin().lock()))));
    std::thread::spawn(move || {
        let told = tell(protocol, noted);
        // Whoever listened has gone.
        let _ = over.send_if_modified(|over| {
            over.get_or_insert(told);
            true
        });
    });
    let ended = tokio::select! {
        served = daemon::serve(repository, mode, notes, ordered) => {
            if let Err(words) = &served {
                // Whoever listens may have gone.
                let _ = write(protocol, &Note::Error { remote: "".into(), words: words.clone() });
            }
            served?;
            // It ends with whoever gives orders, and that is said before.
            is_over.borrow().unwrap_or(Ended::Well)
        }
        ended = over_with(&mut is_over) => ended,
    };
    match ended {
        Ended::Unknown => Err("this line is not known here".to_owned()),
        Ended::Well => Ok(()),
    }
}

/// Ready when the conversation is over.
async fn over_with(is_over: &mut watch::Receiver<Option<Ended>>) -> Ended {
    match is_over.wait_for(Option::is_some).await {
        Ok(ended) => ended.unwrap_or(Ended::Well),
        Err(_) => Ended::Well,
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    /// What git-annex' own ends with an error for.
    Unknown,
}

/// Writes notes as they come.
fn tell(protocol: Protocol, mut notes: mpsc::Receiver<Note>) -> Ended {
    while let Some(note) = notes.blocking_recv() {
        if write(protocol, &note).is_err() {
            break;
        }
    }
    Ended::Well
}

fn write(protocol: Protocol, note: &Note) -> io::Result<()> {
    let line = match protocol {
        Protocol::Plain => plain_line(note),
        Protocol::Annex => annex_line(note),
    };
    let Some(mut line) = line else { return Ok(()) };
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line).and_then(|()| output.flush())
}

fn line(word: &str, remote: &BString) -> Vec<u8> {
    let mut line = word.as_bytes().to_vec();
    line.push(b' ');
    push_word(&mut line, remote);
    line
}

fn with_text(word: &str, remote: &BString, text: &str) -> Vec<u8> {
    let mut line = line(word, remote);
    line.push(b' ');
    push_text(&mut line, text);
    line
}

/// `CHANGED`, `STATUS` and `ERROR`.
fn plain_line(note: &Note) -> Option<Vec<u8>> {
    Some(match note {
        Note::Changed { remote, refs } => {
            let mut line = line("CHANGED", remote);
            for name in refs {
                line.push(b' ');
                push_word(&mut line, name);
            }
            line
        }
        Note::Status { remote, words } => with_text("STATUS", remote, words),
        Note::Error { remote, words } => with_text("ERROR", remote, words),
        Note::Connected { remote, url, way } => {
            with_text("STATUS", remote, &format!("connected to {url} ({way})"))
        }
        Note::Disconnected { remote, url } => {
            with_text("STATUS", remote, &format!("disconnected from {url}"))
        }
        Note::Extensions { names } => {
            ["EXTENSIONS"].iter().chain(names).copied().collect::<Vec<_>>().join(" ").into_bytes()
        }
        Note::Progress { remote, key, bytes } => {
            with_text("PROGRESS", remote, &format!("{} {bytes}", word(key)))
        }
        Note::Transferred { direction, remote, key, outcome } => {
            transferred(*direction, remote, key, outcome)
        }
        Note::Syncing { .. } | Note::Synced { .. } => return None,
    })
}

/// A key as a word.
fn word(key: &AnnexKey) -> String {
    let mut word = Vec::new();
    push_word(&mut word, key.to_string().as_bytes());
    String::from_utf8_lossy(&word).into_owned()
}

/// `TRANSFER-SUCCESS`, `CHECKPRESENT-UNKNOWN` and their like.
fn transferred(
    direction: Direction,
    remote: &BString,
    key: &AnnexKey,
    outcome: &Outcome,
) -> Vec<u8> {
    let (start, which) = match (direction, outcome) {
        (Direction::Check, Outcome::Well) => ("CHECKPRESENT-SUCCESS", ""),
        (Direction::Check, Outcome::Absent) => ("CHECKPRESENT-FAILURE", ""),
        (Direction::Check, Outcome::Failed(_)) => ("CHECKPRESENT-UNKNOWN", ""),
        (Direction::Store, Outcome::Well) => ("TRANSFER-SUCCESS", "STORE "),
        (Direction::Retrieve, Outcome::Well) => ("TRANSFER-SUCCESS", "RETRIEVE "),
        (Direction::Store, _) => ("TRANSFER-FAILURE", "STORE "),
        (Direction::Retrieve, _) => ("TRANSFER-FAILURE", "RETRIEVE "),
    };
    let why = match outcome {
        Outcome::Failed(words) => format!(" {words}"),
        Outcome::Well | Outcome::Absent => String::new(),
    };
    let mut line = format!("{start} {which}").into_bytes();
    push_word(&mut line, remote);
    push_text(&mut line, &format!(" {}{why}", word(key)));
    line
}

/// What git-annex' assistant reads; it knows remotes by their addresses, here by their names.
fn annex_line(note: &Note) -> Option<Vec<u8>> {
    Some(match note {
        Note::Connected { url, .. } => format!("CONNECTED {url}").into_bytes(),
        Note::Disconnected { url, .. } => format!("DISCONNECTED {url}").into_bytes(),
        Note::Syncing { remote } => [b"SYNCING ", remote.as_slice()].concat(),
        Note::Synced { remote, well } => {
            let end: &[u8] = if *well { b" 1" } else { b" 0" };
            [b"DONESYNCING ", remote.as_slice(), end].concat()
        }
        Note::Error { remote, words } => {
            let mut line = [b"WARNING ", remote.as_slice(), b" "].concat();
            push_text(&mut line, words);
            line
        }
        Note::Changed { .. }
        | Note::Status { .. }
        | Note::Extensions { .. }
        | Note::Progress { .. }
        | Note::Transferred { .. } => return None,
    })
}

/// Reads what the daemon is told.
struct Speech {
    protocol: Protocol,
    notes: mpsc::Sender<Note>,
    orders: mpsc::Sender<Order>,
    /// Whether contents may be spoken of.
    knows_annex: bool,
}

impl Speech {
    fn listen(&mut self, mut input: impl BufRead) -> Ended {
        let mut line = Vec::new();
        while let Ok(Some(is_whole)) = read_line(&mut input, &mut line) {
            let order = match (is_whole, self.protocol) {
                (false, _) => Err(format!("a line has more than {LINE_BYTES_MAX} bytes")),
                (true, Protocol::Plain) => plain_order(&line, self.knows_annex),
                (true, Protocol::Annex) => annex_order(&line),
            };
            let went = match order {
                Ok(Some(Order::Stop)) => return Ended::Well,
                Ok(Some(Order::Extend(names))) => {
                    self.knows_annex = names.iter().any(|name| *name == ANNEX);
                    self.orders.blocking_send(Order::Extend(names)).is_ok()
                }
                Ok(Some(order)) => self.orders.blocking_send(order).is_ok(),
                Ok(None) => true,
                Err(_) if self.protocol == Protocol::Annex => return Ended::Unknown,
                Err(words) => {
                    self.notes.blocking_send(Note::Error { remote: "".into(), words }).is_ok()
                }
            };
            if !went {
                break;
            }
        }
        Ended::Well
    }
}

/// Reads a line, without its end; whether all of it is there. `None` at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let most = LINE_BYTES_MAX as u64 + 1;
    if input.by_ref().take(most).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(true));
    }
    if (line.len() as u64) < most {
        // The last line, without an end.
        return Ok(Some(true));
    }
    // What is left of it is passed over.
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(Some(false));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |end| end + 1);
        input.consume(count);
        if end.is_some() {
            return Ok(Some(false));
        }
    }
}

fn unknown(line: &[u8]) -> String {
    let shown: String = line.to_str_lossy().chars().take(80).collect();
    format!("this is not known here: {}", shown.escape_debug())
}

fn plain_order(line: &[u8], knows_annex: bool) -> Result<Option<Order>, String> {
    let words = words(line).ok_or_else(|| unknown(line))?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    Ok(Some(match words.as_slice() {
        [] => return Ok(None),
        [b"PAUSE"] => Order::Pause,
        [b"RESUME"] => Order::Resume,
        [b"PUSH", remote] => Order::Push((*remote).into()),
        [b"EXTENSIONS", names @ ..] => {
            Order::Extend(names.iter().map(|name| BString::from(*name)).collect())
        }
        [b"TRANSFER", b"STORE", remote, key, file] if knows_annex => {
            transfer(Direction::Store, remote, key, file)?
        }
        [b"TRANSFER", b"RETRIEVE", remote, key, file] if knows_annex => {
            transfer(Direction::Retrieve, remote, key, file)?
        }
        [b"CHECKPRESENT", remote, key] if knows_annex => {
            transfer(Direction::Check, remote, key, b"")?
        }
        _ => return Err(unknown(line)),
    }))
}

fn transfer(direction: Direction, remote: &[u8], key: &[u8], file: &[u8]) -> Result<Order, String> {
    let read = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
    let key = read.ok_or_else(|| format!("{}: {NoAnnexKey}", BStr::new(key)))?;
    let file = file.to_path().map_err(|error| error.to_string())?.to_owned();
    if direction != Direction::Check && file.as_os_str().is_empty() {
        return Err("a transfer needs a file".to_owned());
    }
    Ok(Order::Transfer(Transfer { direction, remote: remote.into(), key, file }))
}

fn annex_order(line: &[u8]) -> Result<Option<Order>, String> {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    Ok(Some(match word {
        b"PAUSE" | b"LOSTNET" => Order::Pause,
        b"RESUME" => Order::Resume,
        b"RELOAD" => Order::Reload,
        b"STOP" => Order::Stop,
        // What changed here; whoever pushes it is the assistant.
        b"CHANGED" => return Ok(None),
        _ => return Err(unknown(line)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_however_long_they_are() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let text = [&b"one\n"[..], &long, b"\n", &long, b"x\n", b"two"].concat();
        let mut input = io::BufReader::with_capacity(100, &text[..]);
        let mut line = Vec::new();
        let mut next =
            || read_line(&mut input, &mut line).expect("read").map(|whole| (whole, line.len()));
        assert_eq!(next(), Some((true, 3)));
        assert_eq!(next(), Some((true, LINE_BYTES_MAX)));
        assert_eq!(next().map(|(whole, _)| whole), Some(false));
        assert_eq!(next(), Some((true, 3)));
        assert_eq!(next(), None);
    }

    #[test]
    fn orders_are_understood_or_refused() {
        let order = |line: &str| plain_order(line.as_bytes(), false);
        assert_eq!(order("PAUSE"), Ok(Some(Order::Pause)));
        assert_eq!(order("RESUME\r"), Ok(Some(Order::Resume)));
        assert_eq!(order(""), Ok(None));
        assert_eq!(order(r#"PUSH "my remote""#), Ok(Some(Order::Push("my remote".into()))));
        for bad in ["pause", "PUSH", "PUSH a b", "PAUSE now", "\u{0}\u{1}", "PUSH \"a"] {
            let error = order(bad).expect_err(bad);
            assert!(error.starts_with("this is not known here: "), "{error}");
        }
        assert_eq!(annex_order(b"CHANGED refs/heads/a"), Ok(None));
        assert_eq!(annex_order(b"LOSTNET"), Ok(Some(Order::Pause)));
        annex_order(b"NONSENSE").expect_err("unknown");
    }

    #[test]
    fn notes_are_lines() {
        let remote = || BString::from("my remote");
        let refs = vec!["refs/heads/a".into(), "refs/heads/\"b".into()];
        let changed = Note::Changed { remote: remote(), refs };
        let text = |line: Option<Vec<u8>>| line.map(|line| BString::from(line).to_string());
        assert_eq!(
            text(plain_line(&changed)).as_deref(),
            Some(r#"CHANGED "my remote" refs/heads/a "refs/heads/\"b""#)
        );
        let error = Note::Error { remote: "".into(), words: "one\ntwo".into() };
        assert_eq!(text(plain_line(&error)).as_deref(), Some("ERROR \"\" one two"));
        let (url, way) = ("ssh://h/x".to_owned(), "polling");
        let connected = Note::Connected { remote: remote(), url, way };
        assert_eq!(text(annex_line(&connected)).as_deref(), Some("CONNECTED ssh://h/x"));
        let synced = Note::Synced { remote: "o".into(), well: true };
        assert_eq!(text(annex_line(&synced)).as_deref(), Some("DONESYNCING o 1"));
        assert_eq!(annex_line(&changed), None);
    }
}
