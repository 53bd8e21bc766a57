//! Progress of taking a pack in, in the lines git users know, on side-band 2.

use std::io;
use std::time::{Duration, Instant};

use repository::{Progress, Stage};

use crate::hooks::Relay as _;

use super::messages::Messages;

/// How long a phase goes on before a phase that git delays is shown at all.
const DELAY: Duration = Duration::from_secs(2);
/// How often a line changes.
const REFRESH: Duration = Duration::from_millis(500);

/// Shows phases to the pusher. What the client shows itself (sending the pack) is left out.
pub(super) struct PushProgress<'m, 'a> {
    messages: &'m mut Messages<'a>,
    keepalive: Option<Duration>,
    stage: Option<Shown>,
    said_last: Instant,
}

struct Shown {
    stage: Stage,
    since: Instant,
    visible: bool,
    total: Option<u64>,
}

impl<'m, 'a> PushProgress<'m, 'a> {
    pub fn new(messages: &'m mut Messages<'a>, keepalive_seconds: u64) -> Self {
        let keepalive = (keepalive_seconds > 0).then(|| Duration::from_secs(keepalive_seconds));
        PushProgress { messages, keepalive, stage: None, said_last: Instant::now() }
    }

    fn say(&mut self, text: &str, now: Instant) {
        self.messages.raw(text.as_bytes());
        self.said_last = now;
    }

    fn bridge_silence(&mut self, now: Instant) {
        if self.keepalive.is_some_and(|keepalive| now - self.said_last >= keepalive) {
            self.messages.idle();
            self.said_last = now;
        }
    }
}

impl Progress for PushProgress<'_, '_> {
    fn update(&mut self, stage: Stage, done: u64, total: Option<u64>) -> io::Result<()> {
        if stage == Stage::Receiving {
            // The client is still sending; it shows that itself.
            return Ok(());
        }
        let now = Instant::now();
        if self.stage.as_ref().is_none_or(|shown| shown.stage != stage) {
            self.stage = Some(Shown { stage, since: now, visible: false, total: None });
        }
        let shows = self.messages.shows_progress();
        let shown = self.stage.as_mut().expect("was set just now");
        shown.total = total.or(shown.total);
        let due = match shown.visible {
            true => now - self.said_last >= REFRESH,
            false => stage != Stage::Connectivity || now - shown.since >= DELAY,
        };
        if shows && due && total != Some(0) {
            shown.visible = true;
            self.say(&stage.line(done, total, "\r"), now);
        } else {
            self.bridge_silence(now);
        }
        Ok(())
    }

    fn finish(&mut self, stage: Stage, done: u64) -> io::Result<()> {
        let shown = self.stage.take_if(|shown| shown.stage == stage);
        let total = match shown {
            Some(shown) if shown.visible => shown.total.map(|_| done),
            // Over before it was ever due.
            _ if stage == Stage::Resolving && done > 0 && self.messages.shows_progress() => {
                Some(done)
            }
            _ => return Ok(()),
        };
        self.say(&stage.line(done, total, ", done.\n"), Instant::now());
        Ok(())
    }
}
