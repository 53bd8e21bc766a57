//! Heads of answers: headers as a CGI program writes them, `Status` among them.

use std::io::{self, Write};

use bytes::Bytes;
use wire::Sink;

use crate::date::rfc2822;

/// How long what is named by its content may be kept, seconds: a year.
const FOREVER_SECONDS: u64 = 31_536_000;

/// A head in the making.
#[derive(Debug, Default, Clone)]
pub(crate) struct Head {
    text: String,
}

impl Head {
    /// The head of an answer that is none of success.
    pub fn status(code: u16, words: &str) -> Self {
        let mut head = Head::default();
        head.add("Status", &format!("{code} {words}"));
        head
    }

    /// One more header. What cannot stand in one ends it.
    pub fn add(&mut self, name: &str, value: &str) -> &mut Self {
        let value = value.split(['\r', '\n', '\0']).next().unwrap_or_default();
        self.text.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// What must be asked for anew each time.
    pub fn no_cache(&mut self) -> &mut Self {
        self.add("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")
            .add("Pragma", "no-cache")
            .add("Cache-Control", "no-cache, max-age=0, must-revalidate")
    }

    /// What may be kept, asked for at a moment, seconds since 1970.
    pub fn cache_forever(&mut self, now: u64) -> &mut Self {
        self.add("Date", &rfc2822(now))
            .add("Expires", &rfc2822(now.saturating_add(FOREVER_SECONDS)))
            .add("Cache-Control", &format!("public, max-age={FOREVER_SECONDS}"))
    }

    /// All of it, with the empty line behind it.
    pub fn end(&self) -> Bytes {
        Bytes::from(format!("{}\r\n", self.text))
    }
}

/// Output that begins with a head, which goes out with the first bytes behind it: until then another one may
/// take its place.
pub(crate) struct HeadedSink<S: Sink> {
    head: Option<Head>,
    sink: S,
}

impl<S: Sink> HeadedSink<S> {
    pub fn new(head: Head, sink: S) -> Self {
        HeadedSink { head: Some(head), sink }
    }

    /// Ends the answer, which may have been empty.
    pub fn finish(&mut self) -> io::Result<()> {
        self.begin()?;
        self.sink.flush()
    }

    /// Puts another answer in place of this one, if nothing of it has gone out.
    pub fn replace(&mut self, head: Head) -> io::Result<()> {
        if self.head.is_some() {
            self.head = Some(head);
            self.finish()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        match self.head.take() {
            Some(head) => self.sink.send(head.end()),
            None => Ok(()),
        }
    }
}

impl<S: Sink> Sink for HeadedSink<S> {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.begin()?;
        self.sink.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.head {
            Some(_) => Ok(()),
            None => self.sink.flush(),
        }
    }
}

/// Writes an answer that is its head alone, and text behind it.
pub(crate) fn write(output: &mut dyn Write, head: &Head, body: &str) -> io::Result<()> {
    output.write_all(&head.end())?;
    output.write_all(body.as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_one_line() {
        let mut head = Head::status(405, "Method Not Allowed");
        head.add("Allow", "GET\r\nX: y");
        assert_eq!(&head.end()[..], b"Status: 405 Method Not Allowed\r\nAllow: GET\r\n\r\n");
    }
}
