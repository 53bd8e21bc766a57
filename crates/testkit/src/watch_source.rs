//! A client of the command `packhorse-watch`, over anything that can be read.

use std::io::Read;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The packets of one connection, in groups that end with a flush packet.
pub struct WatchSource {
    groups: Receiver<Vec<String>>,
    /// The program at the other end, if there is one.
    child: Option<Child>,
    /// The cursor that came last.
    pub cursor: Option<String>,
}

/// What a client sends to be told.
pub fn watch_request(since: Option<&str>, prefixes: &[&str]) -> Vec<u8> {
    let packet = |line: &str| format!("{:04x}{line}\n", line.len() + 5);
    let mut request = packet("command=packhorse-watch");
    request.push_str("0001");
    if let Some(since) = since {
        request.push_str(&packet(&format!("since {since}")));
    }
    for prefix in prefixes {
        request.push_str(&packet(&format!("ref-prefix {prefix}")));
    }
    request.push_str("0000");
    request.into_bytes()
}

/// One packet; `None` at the end, an empty one for those without data.
fn packet(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::from_str_radix(std::str::from_utf8(&length).ok()?, 16).ok()?;
    let mut data = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut data).ok()?;
    Some(data)
}

impl WatchSource {
    /// What comes from a stream, and the program that writes it.
    pub fn new(mut stream: impl Read + Send + 'static, child: Option<Child>) -> Self {
        let (send, groups) = channel();
        std::thread::spawn(move || {
            let mut group = Vec::new();
            while let Some(data) = packet(&mut stream) {
                match data.is_empty() {
                    false => group.push(String::from_utf8_lossy(&data).trim_end().to_owned()),
                    true if send.send(std::mem::take(&mut group)).is_err() => return,
                    true => {}
                }
            }
        });
        WatchSource { groups, child, cursor: None }
    }

    /// The next event; `None` when nothing but heart-beats comes for so long, and at the end.
    pub fn next_within(&mut self, most: Duration) -> Option<Vec<String>> {
        let end = Instant::now() + most;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.groups.recv_timeout(left) {
                Ok(group) if group.is_empty() => {}
                Ok(group) => {
                    let last = group.last().and_then(|line| line.split_once(' '));
                    if let Some(("at" | "cursor" | "relist", cursor)) = last {
                        self.cursor = Some(cursor.to_owned());
                    }
                    return Some(group);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The next group, were it a heart-beat; `None` at the end.
    pub fn next_group(&mut self) -> Option<Vec<String>> {
        self.groups.recv_timeout(super::HUNG).ok()
    }

    /// The next event, which begins with this word.
    #[track_caller]
    pub fn expect(&mut self, word: &str) -> Vec<String> {
        let event = self.next_within(super::HUNG).expect("an event");
        let first = event.first().and_then(|line| line.split(' ').next());
        assert_eq!(first, Some(word), "{event:?}");
        event
    }
}

impl Drop for WatchSource {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
