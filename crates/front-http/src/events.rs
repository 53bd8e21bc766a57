//! What becomes of refs, as server-sent events (WHATWG HTML, "Server-sent events").
//!
//! | event | data |
//! |---|---|
//! | `at` | `{"cursor":…}`: first of all; what is listed from now on has everything |
//! | `refs` | `{"cursor":…,"refs":[{"name":…,"old":…,"new":…}]}`: ids, or `ref: NAME`; `null` for none |
//! | `relist` | `{"cursor":…}`: more happened than is remembered; list the refs, from now on |
//! | `end` | `{}`: that was all |
//!
//! The id of each is its cursor, so a browser comes back with it by itself. A name that is no
//! UTF-8 has `name_hex`, too. Heart-beats are comments.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use host::{EventForm, EventStream, ShownMove, Told, WatchedRefs};
use hyper::Response;
use hyper::header::{self, HeaderValue};
use tokio::time::{Instant, Sleep, sleep};

use crate::reply::Reply;
use crate::response_body::ResponseBody;

/// Events as browsers read them.
const SERVER_SENT: EventForm = EventForm {
    event: |bytes, told| {
        let mut text = String::new();
        write_event(&mut text, told);
        bytes.extend_from_slice(text.as_bytes());
    },
    cursor: |bytes, cursor| bytes.extend_from_slice(format!("id: {cursor}\n\n").as_bytes()),
    heartbeat: b":\n\n",
};

/// The body of a response that goes on until somebody ends it.
pub(crate) struct EventBody {
    events: EventStream,
    heartbeat: Duration,
    beat: Pin<Box<Sleep>>,
}

/// Answers with what is told.
pub(crate) fn reply(watched: WatchedRefs, heartbeat: Duration) -> Reply {
    let mut reply = Response::new(body(watched, SERVER_SENT, heartbeat));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    do_not_gather(&mut reply);
    reply
}

/// What is told, in a form.
pub(crate) fn body(watched: WatchedRefs, form: EventForm, heartbeat: Duration) -> ResponseBody {
    let events = EventStream::new(watched, form);
    ResponseBody::Events(Box::new(EventBody {
        events,
        heartbeat,
        beat: Box::pin(sleep(heartbeat)),
    }))
}

/// Proxies that gather what they pass on (nginx) are asked not to.
pub(crate) fn do_not_gather(reply: &mut Reply) {
    reply.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
}

impl EventBody {
    /// The next bytes to send; `None` at the end. Whether the client may know of it is asked on a thread that
    /// may wait.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let may_wait = self.events.asks_accounts();
        let polled = match may_wait {
            true => tokio::task::block_in_place(|| self.events.poll_bytes(context)),
            false => self.events.poll_bytes(context),
        };
        let bytes = match polled {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => {
                std::task::ready!(self.beat.as_mut().poll(context));
                Some(match may_wait {
                    true => tokio::task::block_in_place(|| self.events.beat()),
                    false => self.events.beat(),
                })
            }
        };
        self.beat.as_mut().reset(Instant::now() + self.heartbeat);
        Poll::Ready(bytes)
    }
}

fn write_event(text: &mut String, told: &Told) {
    let (name, cursor, moves) = match told {
        Told::At(cursor) => ("at", Some(cursor), None),
        Told::Moved(cursor, moves) => ("refs", Some(cursor), Some(moves)),
        Told::Relist(cursor) => ("relist", Some(cursor), None),
        Told::End => ("end", None, None),
    };
    // Writing to a string does not fail.
    let _ = match cursor {
        Some(cursor) => {
            write!(text, "event: {name}\nid: {cursor}\ndata: {{\"cursor\":\"{cursor}\"")
        }
        None => write!(text, "event: {name}\ndata: {{"),
    };
    if let Some(moves) = moves {
        text.push_str(",\"refs\":[");
        for (at, one) in moves.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "," });
            write_move(text, one);
        }
        text.push(']');
    }
    text.push_str("}\n\n");
}

fn write_move(text: &mut String, one: &ShownMove) {
    text.push_str("{\"name\":");
    write_string(text, &one.name);
    if std::str::from_utf8(&one.name).is_err() {
        text.push_str(",\"name_hex\":\"");
        for byte in one.name.iter() {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('"');
    }
    for (key, value) in [("old", &one.old), ("new", &one.new)] {
        let _ = write!(text, ",\"{key}\":");
        match value {
            Some(value) => write_string(text, value),
            None => text.push_str("null"),
        }
    }
    text.push('}');
}

/// A string of JSON (RFC 8259, section 7).
fn write_string(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for letter in String::from_utf8_lossy(bytes).chars() {
        match letter {
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04x}", control as u32);
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use host::Cursor;

    use super::*;

    #[test]
    fn events_are_lines_of_json() {
        let mut text = String::new();
        let moved = |name: &[u8]| ShownMove {
            name: name.into(),
            old: Some("ref: refs/heads/\"a".into()),
            new: None,
        };
        let cursor: Cursor = "0".repeat(32).parse().expect("a cursor");
        write_event(&mut text, &Told::Moved(cursor, vec![moved("ä".as_bytes()), moved(b"\xff")]));
        let zeros = "0".repeat(32);
        assert_eq!(
            text,
            format!(
                "event: refs\nid: {zeros}\ndata: {{\"cursor\":\"{zeros}\",\"refs\":[\
                 {{\"name\":\"ä\",\"old\":\"ref: refs/heads/\\\"a\",\"new\":null}},\
                 {{\"name\":\"\u{fffd}\",\"name_hex\":\"ff\",\
                 \"old\":\"ref: refs/heads/\\\"a\",\"new\":null}}]}}\n\n"
            )
        );
        text.clear();
        write_event(&mut text, &Told::End);
        assert_eq!(text, "event: end\ndata: {}\n\n");
    }
}
