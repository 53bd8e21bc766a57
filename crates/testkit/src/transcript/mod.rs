//! Sessions of pkt-lines as text, both directions in one place.
//!
//! A transcript is the script and the expectation at once:
//!
//! ```text
//! > command=ls-refs        sent: one packet, with the newline git puts at its end
//! > 0001                   sent: delimiter (0000 flush, 0002 response end)
//! >- no newline            sent: one packet without a newline
//! >! 00zz\x00              sent: these very bytes, no packet around them
//! >@ pack                  sent: the attachment of that name, as it is
//! < {main} HEAD            expected: one packet; {main} stands for a named id
//! <- ACK                   expected: one packet without a newline
//! <1 pack of 3 objects     expected: side-band data, a pack, however many frames it took
//! <1 unpack ok             expected: side-band data, a packet inside
//! <2 Counting objects: 3   expected: side-band progress, one line of it
//! <3 fatal: no             expected: side-band error
//! < pack of 3 objects      expected: a pack without a side-band
//! <! HTTP/1.1\r\n          received: bytes that are no packet
//! ```
//!
//! Control and non-ASCII bytes are written `\n`, `\0`, `\xff`, `\\`. The values of
//! `agent=` and `session-id=` are received as `*`. A blank line or one that
//! starts with `#` is skipped. Where the client must wait before it sends on,
//! the `<` lines before that point end in `0000`, or count the packets to wait for.

mod compare;
mod render;
mod run;

use object::ObjectId;

pub use compare::check;
pub use render::render;

use render::unescape;

/// A session: what is sent, and what is expected to come back.
#[derive(Debug, Clone)]
pub struct Transcript {
    text: String,
    names: Vec<(String, String)>,
    attachments: Vec<(String, Vec<u8>)>,
}

/// The lines between two changes of direction.
#[derive(Debug)]
enum Turn<'t> {
    Send(Vec<&'t str>),
    Expect(Vec<&'t str>),
}

impl Transcript {
    /// A session from its text; indentation common to all lines is dropped.
    pub fn new(text: &str) -> Self {
        Transcript { text: compare::dedent(text), names: Vec::new(), attachments: Vec::new() }
    }

    /// Lets `{name}` stand for an id, in both directions.
    #[must_use]
    pub fn name(mut self, name: &str, id: ObjectId) -> Self {
        self.names.push((format!("{{{name}}}"), id.to_string()));
        self
    }

    /// Gives the bytes that a line `>@ NAME` sends: the pack of a push, say.
    #[must_use]
    pub fn attach(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.attachments.push((name.to_owned(), bytes.into()));
        self
    }

    /// All bytes the client sends, end to end: the body of a stateless request.
    pub fn sent(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for turn in self.turns() {
            if let Turn::Send(lines) = turn {
                lines.iter().for_each(|line| self.encode(line, &mut bytes));
            }
        }
        bytes
    }

    fn turns(&self) -> Vec<Turn<'_>> {
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for line in self.text.lines() {
            match (line.as_bytes().first(), turns.last_mut()) {
                (None | Some(b'#'), _) => {}
                (Some(b'>'), Some(Turn::Send(lines))) | (Some(b'<'), Some(Turn::Expect(lines))) => {
                    lines.push(line)
                }
                (Some(b'>'), _) => turns.push(Turn::Send(vec![line])),
                (Some(b'<'), _) => turns.push(Turn::Expect(vec![line])),
                _ => panic!("a transcript line starts with '>' or '<': {line}"),
            }
        }
        turns
    }

    fn encode(&self, line: &str, out: &mut Vec<u8>) {
        let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
        let mut text = text.to_owned();
        for (name, id) in &self.names {
            text = text.replace(name, id);
        }
        match (mark, text.as_str()) {
            (">", "0000" | "0001" | "0002") => out.extend_from_slice(text.as_bytes()),
            (">", _) => packet(&unescape(&(text + "\\n")), out),
            (">-", _) => packet(&unescape(&text), out),
            (">!", _) => out.extend_from_slice(&unescape(&text)),
            (">@", _) => out.extend_from_slice(self.attachment(&text)),
            _ => panic!("no way to send this transcript line: {line}"),
        }
    }

    fn attachment(&self, name: &str) -> &[u8] {
        let found = self.attachments.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("nothing is attached as {name:?}")).1
    }

    /// Puts names in place of ids, and `*` in place of what differs from build to build.
    fn disguise(&self, rendered: &str) -> String {
        let mut text = rendered.to_owned();
        for (name, id) in &self.names {
            text = text.replace(id, name);
        }
        for key in ["agent=", "session-id="] {
            text = mask(&text, key);
        }
        text
    }
}

fn packet(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    out.extend_from_slice(data);
}

fn mask(text: &str, key: &str) -> String {
    let mut parts = text.split(key);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(char::is_whitespace).unwrap_or(part.len());
        masked.push_str(key);
        masked.push('*');
        masked.push_str(&part[end..]);
    }
    masked
}
