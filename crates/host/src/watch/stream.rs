//! What a subscriber is told, as the bytes he is sent.

use std::task::{Context, Poll};
use std::time::Duration;

use bstr::ByteSlice as _;
use bytes::Bytes;
use wire::v2::WatchWriter;

use super::{Cursor, Told, WatchedRefs};

/// Bytes of events that are sent at once, about.
const BATCH_BYTES: usize = 16 << 10;

/// How events become bytes.
#[derive(Debug, Clone, Copy)]
pub struct EventForm {
    /// Appends an event.
    pub event: fn(&mut Vec<u8>, &Told),
    /// Appends how all refs are, where nothing is to be told but that.
    pub cursor: fn(&mut Vec<u8>, Cursor),
    /// Says that the connection is alive; nothing where the transport does that.
    pub heartbeat: &'static [u8],
}

impl EventForm {
    /// The packets of the command `packhorse-watch` (docs/watch.md).
    pub const PACKETS: EventForm =
        EventForm { event: packets, cursor: cursor_packets, heartbeat: b"0000" };

    /// The lines of `git-annex-shell notifychanges` (docs/watch.md).
    pub const CHANGE_LINES: EventForm =
        EventForm { event: change_lines, cursor: |_, _| {}, heartbeat: b"" };
}

/// A subscription whose events are bytes.
pub struct EventStream {
    watched: WatchedRefs,
    form: EventForm,
    /// The cursor the client knows.
    said: Option<Cursor>,
    ended: bool,
}

impl EventStream {
    /// The events of a subscription.
    pub fn new(watched: WatchedRefs, form: EventForm) -> Self {
        EventStream { watched, form, said: None, ended: false }
    }

    /// Whether [`EventStream::poll_bytes`] may wait for the accounts, which [`EventStream::beat`] does as well.
    pub fn asks_accounts(&self) -> bool {
        self.watched.asks_accounts()
    }

    /// What there is to send; the waker is called when there is something. `None` at the end.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut bytes = Vec::new();
        while bytes.len() < BATCH_BYTES && !self.ended {
            let Poll::Ready(told) = self.watched.poll_next(context) else { break };
            self.tell(&mut bytes, &told);
        }
        if bytes.is_empty() {
            return if self.ended { Poll::Ready(None) } else { Poll::Pending };
        }
        self.catch_up(&mut bytes);
        Poll::Ready(Some(bytes.into()))
    }

    /// What is sent after a while of silence: a sign of life, or the end for those who may not be told any
    /// more.
    pub fn beat(&mut self) -> Bytes {
        let mut bytes = Vec::new();
        match self.watched.still_may() {
            true => bytes.extend_from_slice(self.form.heartbeat),
            false => self.tell(&mut bytes, &Told::End),
        }
        self.catch_up(&mut bytes);
        bytes.into()
    }

    /// What is sent next, for a thread that waits: events, or a sign of life after so long. `None` at the
    /// end.
    pub fn next_within(&mut self, most: Duration) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let Some(told) = self.watched.next_within(most) else { return Some(self.beat()) };
        let mut bytes = Vec::new();
        self.tell(&mut bytes, &told);
        Some(bytes.into())
    }

    fn tell(&mut self, bytes: &mut Vec<u8>, told: &Told) {
        self.ended = *told == Told::End;
        (self.form.event)(bytes, told);
        self.said = Some(self.watched.cursor());
    }

    /// What was passed over need not be passed over again.
    fn catch_up(&mut self, bytes: &mut Vec<u8>) {
        let now = self.watched.cursor();
        if self.said != Some(now) && !self.ended {
            (self.form.cursor)(bytes, now);
            self.said = Some(now);
        }
    }
}

fn cursor_packets(bytes: &mut Vec<u8>, cursor: Cursor) {
    let mut writer = WatchWriter(bytes);
    writer.cursor("cursor", &cursor);
    writer.flush();
}

fn packets(bytes: &mut Vec<u8>, told: &Told) {
    let before = bytes.len();
    let mut writer = WatchWriter(bytes);
    match told {
        Told::At(cursor) => writer.cursor("at", cursor),
        Told::Relist(cursor) => writer.cursor("relist", cursor),
        Told::End => writer.end(),
        Told::Moved(cursor, moves) => {
            let fit = moves.iter().all(|one| {
                let [old, new] = [&one.old, &one.new]
                    .map(|value| value.as_ref().map(|value| value.replacen(b"ref: ", b"ref:", 1)));
                writer.moved(old.as_deref(), new.as_deref(), &one.name)
            });
            match fit {
                true => writer.cursor("cursor", cursor),
                // Nobody made such a name through git's protocol, which has no room for it.
                false => {
                    writer.0.truncate(before);
                    writer.cursor("relist", cursor);
                }
            }
        }
    }
    writer.flush();
}

/// A client fetches when a line has no id at all, or none that it has. It forgets, while it is away, what it
/// was told last: so it is to fetch at first; and each ref has a line of its own, lest one that it knows
/// hides another.
fn change_lines(bytes: &mut Vec<u8>, told: &Told) {
    match told {
        Told::At(_) => bytes.extend_from_slice(b"READY\nCHANGED \n"),
        Told::Relist(_) => bytes.extend_from_slice(b"CHANGED \n"),
        Told::End => {}
        Told::Moved(_, moves) => {
            let ids = moves.iter().filter_map(|one| one.new.as_ref());
            for id in ids.filter(|id| !id.starts_with(b"ref: ")) {
                for part in [b"CHANGED ", id.as_slice(), b"\n"] {
                    bytes.extend_from_slice(part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bstr::BString;

    use super::super::ShownMove;
    use super::*;

    fn text(told: &Told) -> String {
        let mut bytes = Vec::new();
        packets(&mut bytes, told);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn events_are_lines_for_git_annex() {
        let cursor = Cursor::default();
        let moved = |name: &str, new: Option<&str>| ShownMove {
            name: name.into(),
            old: None,
            new: new.map(Into::into),
        };
        let moves = vec![
            moved("HEAD", Some("ref: refs/heads/a")),
            moved("refs/heads/a", Some("12")),
            moved("refs/heads/b", None),
            moved("refs/heads/c", Some("34")),
        ];
        let mut bytes = Vec::new();
        for told in [Told::At(cursor), Told::Moved(cursor, moves), Told::Relist(cursor), Told::End]
        {
            change_lines(&mut bytes, &told);
        }
        assert_eq!(bytes.as_bstr(), "READY\nCHANGED \nCHANGED 12\nCHANGED 34\nCHANGED \n");
    }

    #[test]
    fn events_are_packets() {
        let cursor: Cursor = "0".repeat(32).parse().expect("a cursor");
        let moved = |name: &str| ShownMove {
            name: name.into(),
            old: Some("ref: refs/heads/a".into()),
            new: None,
        };
        let zeros = "0".repeat(32);
        let event = text(&Told::Moved(cursor, vec![moved("HEAD"), moved("refs/x")]));
        let expected = format!(
            "0020ref ref:refs/heads/a - HEAD\n0022ref ref:refs/heads/a - refs/x\n\
             002ccursor {zeros}\n0000"
        );
        assert_eq!(event, expected);
        assert_eq!(text(&Told::At(cursor)), format!("0028at {zeros}\n0000"));
        assert_eq!(text(&Told::End), "0008end\n0000");
        let long = ShownMove { name: BString::from(vec![b'x'; 1 << 16]), old: None, new: None };
        let event = text(&Told::Moved(cursor, vec![moved("HEAD"), long]));
        assert_eq!(event, format!("002crelist {zeros}\n0000"));
    }
}
