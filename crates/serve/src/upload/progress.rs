//! Progress in the look git users know, on side-band 2.

use std::io;
use std::time::{Duration, Instant};

use repository::{Progress, Reuse, Stage};
use wire::Sideband;

/// The least time between two reports of one phase.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Writes progress lines to a client, and signs of life to one that wants none.
pub(super) struct ClientProgress<'p, 's> {
    band: &'p mut Sideband<'s>,
    quiet: bool,
    keep_alive: Option<Duration>,
    now: fn() -> Instant,
    last_word: Instant,
    stage: Option<Stage>,
}

impl<'p, 's> ClientProgress<'p, 's> {
    pub fn new(
        band: &'p mut Sideband<'s>,
        quiet: bool,
        keep_alive: Option<Duration>,
        now: fn() -> Instant,
    ) -> Self {
        ClientProgress { band, quiet, keep_alive, now, last_word: now(), stage: None }
    }

    fn say(&mut self, words: &str) -> io::Result<()> {
        self.last_word = (self.now)();
        self.band.progress(words.as_bytes())?;
        self.band.flush()
    }
}

impl Progress for ClientProgress<'_, '_> {
    fn update(&mut self, stage: Stage, done: u64, total: Option<u64>) -> io::Result<()> {
        let silence = (self.now)().duration_since(self.last_word);
        if self.quiet {
            if self.keep_alive.is_some_and(|interval| silence >= interval) {
                self.last_word = (self.now)();
                self.band.keepalive()?;
            }
            return Ok(());
        }
        if silence < REPORT_INTERVAL && self.stage == Some(stage) {
            return Ok(());
        }
        self.stage = Some(stage);
        self.say(&stage.line(done, total, "\r"))
    }

    fn finish(&mut self, stage: Stage, done: u64) -> io::Result<()> {
        self.stage = None;
        if self.quiet {
            return Ok(());
        }
        let total = (stage != Stage::Enumerating).then_some(done);
        self.say(&stage.line(done, total, ", done.\n"))
    }
}

/// The last line of a fetch's progress, true to the entries that were sent. As in git, the
/// deltas of packs that were sent whole are not counted.
pub(super) fn total(objects: u32, reuse: Reuse) -> String {
    let Reuse { objects: reused, deltas, in_whole_packs, whole_packs } = reuse;
    format!(
        "Total {objects} (delta {deltas}), reused {reused} (delta {deltas}), \
         pack-reused {in_whole_packs} (from {whole_packs})\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_looks_like_gits() {
        let reuse = Reuse { objects: 8, deltas: 2, in_whole_packs: 5, whole_packs: 1 };
        assert_eq!(
            total(9, reuse),
            "Total 9 (delta 2), reused 8 (delta 2), pack-reused 5 (from 1)\n"
        );
    }
    thread_local! {
        static CLOCK: std::cell::Cell<Instant> = std::cell::Cell::new(Instant::now());
    }

    fn pass(seconds: u64) {
        CLOCK.set(CLOCK.get() + Duration::from_secs(seconds));
    }

    #[test]
    fn a_quiet_client_gets_signs_of_life() {
        let mut output = Vec::new();
        let mut band = Sideband::new(&mut output, wire::Band::Large);
        let interval = Some(Duration::from_secs(5));
        let mut progress = ClientProgress::new(&mut band, true, interval, || CLOCK.get());
        for _ in 0..4 {
            pass(3);
            progress.update(Stage::Enumerating, 1, None).expect("a buffer");
        }
        progress.finish(Stage::Enumerating, 4).expect("a buffer");
        assert_eq!(output, b"0005\x010005\x01");
    }

    #[test]
    fn a_client_that_listens_hears_once_a_second() {
        let mut output = Vec::new();
        let mut band = Sideband::new(&mut output, wire::Band::Large);
        let mut progress = ClientProgress::new(&mut band, false, None, || CLOCK.get());
        for (done, seconds) in [(1, 0), (2, 0), (3, 1)] {
            pass(seconds);
            progress.update(Stage::Enumerating, done, None).expect("a buffer");
        }
        progress.finish(Stage::Enumerating, 4).expect("a buffer");
        let said: String = String::from_utf8_lossy(&output).into();
        let said: Vec<&str> = said.split('\x02').skip(1).map(|part| &part[..26]).collect();
        let line = |n| format!("Enumerating objects: {n}");
        assert!(said.iter().zip([1, 3, 4]).all(|(said, n)| said.starts_with(&line(n))), "{said:?}");
        assert_eq!(said.len(), 3);
    }
}
