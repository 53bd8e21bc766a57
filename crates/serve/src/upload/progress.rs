//! Progress in the look git users know, on side-band 2.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use repository::{Progress, Reuse, Stage};
use wire::Sideband;

use super::gate::{FetchBudget, Spending};
use crate::Error;

/// The least time between two reports of one phase.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Writes progress lines to a client, and signs of life to one that wants none; ends work that
/// goes past its budget.
pub(super) struct ClientProgress<'p, 's> {
    band: &'p mut Sideband<'s>,
    quiet: bool,
    keep_alive: Option<Duration>,
    now: fn() -> Instant,
    last_word: Instant,
    stage: Option<Stage>,
    /// How many were said to come before.
    said_before: Option<usize>,
    spending: Spending<'p>,
    /// Why the work was ended.
    refusal: Option<String>,
}

impl<'p, 's> ClientProgress<'p, 's> {
    pub fn new(
        band: &'p mut Sideband<'s>,
        quiet: bool,
        keep_alive: Option<Duration>,
        budget: &'p FetchBudget,
        now: fn() -> Instant,
    ) -> Self {
        ClientProgress {
            band,
            quiet,
            keep_alive,
            now,
            last_word: now(),
            stage: None,
            said_before: None,
            spending: Spending::new(budget, now),
            refusal: None,
        }
    }

    fn say(&mut self, words: &str) -> io::Result<()> {
        self.last_word = (self.now)();
        self.band.progress(words.as_bytes())?;
        self.band.flush()
    }

    fn keep_alive(&mut self) -> io::Result<()> {
        let silence = (self.now)().duration_since(self.last_word);
        if self.keep_alive.is_some_and(|interval| silence >= interval) {
            self.last_word = (self.now)();
            self.band.keepalive()?;
        }
        Ok(())
    }

    /// Tells a client whose turn has not come how many come before.
    pub fn waiting(&mut self, before: usize) -> io::Result<()> {
        if self.quiet || self.said_before == Some(before) {
            return self.keep_alive();
        }
        self.said_before = Some(before);
        self.say(&format!("Waiting for the server, fetches ahead: {before}\r"))
    }

    /// Its turn has come.
    pub fn admitted(&mut self) -> io::Result<()> {
        match self.said_before.take() {
            Some(_) => self.say("Waiting for the server, fetches ahead: 0, done.\n"),
            None => Ok(()),
        }
    }

    /// The time of what `work` does counts. Work that was ended because it went past the budget
    /// comes back as a refusal.
    pub fn work<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, repository::Error>,
    ) -> Result<T, Error> {
        self.spending.resume();
        let done = work(self);
        self.spending.pause();
        match (done, self.refusal.take()) {
            (_, Some(words)) => Err(Error::Refused(words)),
            (Ok(done), None) => Ok(done),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Checks what is known of the answer against the budget.
    pub fn check(&self, objects: u64, bytes: u64) -> Result<(), Error> {
        let within = self.spending.check_time();
        within
            .and_then(|()| self.spending.check_objects(objects))
            .and_then(|()| self.spending.check_bytes(bytes))
            .map_err(Error::Refused)
    }

    /// Sends a part of the pack.
    pub fn data(&mut self, chunk: Bytes) -> io::Result<()> {
        self.band.data(chunk)?;
        self.band.flush()
    }

    /// Ends work that goes past its budget.
    fn check_work(&mut self, stage: Stage, done: u64) -> io::Result<()> {
        let objects = if stage == Stage::Enumerating { done } else { 0 };
        let within = self.spending.check_time();
        let words = match within.and_then(|()| self.spending.check_objects(objects)) {
            Ok(()) => return Ok(()),
            Err(words) => words,
        };
        self.refusal = Some(words);
        Err(io::Error::other("the fetch goes past its budget"))
    }
}

impl Progress for ClientProgress<'_, '_> {
    fn update(&mut self, stage: Stage, done: u64, total: Option<u64>) -> io::Result<()> {
        self.check_work(stage, done)?;
        if self.quiet {
            return self.keep_alive();
        }
        let silence = (self.now)().duration_since(self.last_word);
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
        let budget = FetchBudget::default();
        let now = || CLOCK.get();
        let mut progress = ClientProgress::new(&mut band, true, interval, &budget, now);
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
        let budget = FetchBudget::default();
        let mut progress = ClientProgress::new(&mut band, false, None, &budget, || CLOCK.get());
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

    #[test]
    fn a_client_in_line_hears_when_its_place_changes() {
        let mut output = Vec::new();
        let mut band = Sideband::new(&mut output, wire::Band::Large);
        let budget = FetchBudget::default();
        let now = || CLOCK.get();
        let interval = Some(Duration::from_secs(5));
        let mut progress = ClientProgress::new(&mut band, false, interval, &budget, now);
        for before in [2, 2, 2, 1] {
            pass(4);
            progress.waiting(before).expect("a buffer");
        }
        progress.admitted().expect("a buffer");
        progress.admitted().expect("a buffer");
        let said = String::from_utf8_lossy(&output);
        let said: Vec<&str> = said.split("ahead: ").skip(1).map(|said| &said[..2]).collect();
        assert_eq!(said, ["2\r", "1\r", "0,"]);
        assert_eq!(output.windows(5).filter(|bytes| *bytes == b"0005\x01").count(), 1);
    }

    #[test]
    fn work_past_its_budget_is_refused_in_words() {
        let mut output = Vec::new();
        let mut band = Sideband::new(&mut output, wire::Band::Large);
        let budget = FetchBudget {
            objects_max: Some(10),
            work_max: Some(Duration::from_secs(9)),
            ..FetchBudget::default()
        };
        let now = || CLOCK.get();
        let mut progress = ClientProgress::new(&mut band, false, None, &budget, now);
        let mut refused = |objects, seconds| {
            let work = |progress: &mut ClientProgress<'_, '_>| {
                pass(seconds);
                Ok(progress.update(Stage::Enumerating, objects, None)?)
            };
            progress.work(work).err().map(|error| error.to_string())
        };
        assert_eq!(refused(10, 1), None);
        assert!(refused(11, 1).is_some_and(|words| words.contains("fetch_objects_max")));
        assert!(refused(1, 8).is_some_and(|words| words.contains("fetch_work_ms_max")));
    }
}
