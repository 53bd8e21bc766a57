//! Progress on a terminal.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use repository::{Progress, Stage};

/// How often a line on the terminal changes.
const REFRESH: Duration = Duration::from_millis(100);

/// Progress on a terminal, in git's lines.
#[derive(Default)]
pub struct Terminal {
    stage: Option<Stage>,
    total: Option<u64>,
    said: Option<Instant>,
}

impl Progress for Terminal {
    fn update(&mut self, stage: Stage, done: u64, total: Option<u64>) -> io::Result<()> {
        if self.stage != Some(stage) {
            (self.stage, self.total, self.said) = (Some(stage), None, None);
        }
        self.total = total.or(self.total);
        if self.said.is_none_or(|said| said.elapsed() >= REFRESH) {
            self.said = Some(Instant::now());
            say(&stage.line(done, total, "\r"))?;
        }
        Ok(())
    }

    fn finish(&mut self, stage: Stage, done: u64) -> io::Result<()> {
        let total = self.total.filter(|_| self.stage == Some(stage)).map(|_| done);
        self.stage = None;
        say(&stage.line(done, total, ", done.\n"))
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}
