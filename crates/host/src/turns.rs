//! Whose fetch is worked out next, when not all can be at once.
//!
//! Working an answer out takes a processor and memory; sending it takes a connection, and waits
//! for the client most of the time. So a fetch takes its turn for the first part only.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use repository::{MemoryPool, MemoryShare};
use serve::Error;
use serve::upload::{FetchGate, Turn};

use crate::Caller;
use crate::request::network;

/// How many fetches are worked out at once, and how long the others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnSettings {
    /// Fetches that are worked out at the same time.
    pub concurrent_fetches: usize,
    /// Archives that are made at the same time. They are sent as they are made, so that a slow client
    /// holds its turn; it waits in a line of its own.
    pub concurrent_archives: usize,
    /// How long one waits for its turn before it is refused.
    pub wait_max: Duration,
}

impl Default for TurnSettings {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        TurnSettings {
            concurrent_fetches: 2 * processors,
            concurrent_archives: 2 * processors,
            wait_max: Duration::from_secs(300),
        }
    }
}

/// What turns are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Fetches,
    Archives,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Fetches => "fetches",
            Work::Archives => "archives",
        }
    }

    fn concurrent(self, settings: &TurnSettings) -> usize {
        match self {
            Work::Fetches => settings.concurrent_fetches,
            Work::Archives => settings.concurrent_archives,
        }
    }
}

/// Hands out turns: to the caller with the fewest fetches at work, and among those to the one
/// that has waited longest.
pub(crate) struct Turns {
    work: Work,
    settings: TurnSettings,
    memory: Arc<MemoryPool>,
    memory_freed: fn(),
    line: Mutex<Line>,
    changed: Condvar,
}

/// Who waits and who works.
#[derive(Debug, Default)]
struct Line {
    /// By number, the lower the longer.
    waiting: BTreeMap<u64, CallerKey>,
    next_number: u64,
    working: BTreeMap<CallerKey, usize>,
}

/// Whom a fetch counts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum CallerKey {
    Name(String),
    Address(IpAddr),
    ThisMachine,
}

impl CallerKey {
    fn of(caller: &Caller) -> Self {
        match (&caller.identity, caller.address) {
            (Some(identity), _) => CallerKey::Name(identity.user.clone()),
            (None, Some(address)) => CallerKey::Address(network(address)),
            (None, None) => CallerKey::ThisMachine,
        }
    }
}

impl Line {
    fn join(&mut self, caller: CallerKey) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.insert(number, caller);
        number
    }

    fn working(&self) -> usize {
        self.working.values().sum()
    }

    fn rank(&self, number: u64, caller: &CallerKey) -> (usize, u64) {
        (self.working.get(caller).copied().unwrap_or(0), number)
    }

    /// How many have their turn before this one, as things stand.
    fn before(&self, number: u64) -> usize {
        let own = self.waiting.get(&number).map(|caller| self.rank(number, caller));
        let ranks = self.waiting.iter().map(|(number, caller)| self.rank(*number, caller));
        ranks.filter(|rank| Some(*rank) < own).count()
    }

    fn begin(&mut self, number: u64) {
        if let Some(caller) = self.waiting.remove(&number) {
            *self.working.entry(caller).or_default() += 1;
        }
    }

    fn end(&mut self, caller: &CallerKey) {
        if let Some(count) = self.working.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                self.working.remove(caller);
            }
        }
    }
}

impl Turns {
    pub fn new(
        work: Work,
        settings: TurnSettings,
        memory: Arc<MemoryPool>,
        memory_freed: fn(),
    ) -> Self {
        let (line, changed) = Default::default();
        Turns { work, settings, memory, memory_freed, line, changed }
    }

    /// The gate of one request.
    pub fn gate(self: &Arc<Self>, caller: &Caller) -> impl FetchGate + use<> {
        Gate { turns: self.clone(), caller: CallerKey::of(caller) }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no holder of the lock panics")
    }

    /// The memory of the fetch whose turn it is; `None` when it is not.
    fn try_begin(&self, line: &mut Line, number: u64, bytes: usize) -> Option<MemoryShare> {
        if line.working() >= self.work.concurrent(&self.settings) || line.before(number) > 0 {
            return None;
        }
        let memory = self.memory.take(bytes)?;
        line.begin(number);
        Some(memory)
    }
}

struct Gate {
    turns: Arc<Turns>,
    caller: CallerKey,
}

/// How often whoever waits looks around: caches give memory back without a word.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl FetchGate for Gate {
    fn enter(
        &self,
        bytes: usize,
        waiting: &mut dyn FnMut(usize) -> io::Result<()>,
    ) -> Result<Turn, Error> {
        let turns = &self.turns;
        let most = turns.memory.bytes_max();
        if bytes > most {
            return Err(Error::Refused(format!(
                "this fetch needs at least {bytes} bytes of the server's memory, and all fetches \
                 together may have {most} (limits.memory)"
            )));
        }
        let begun = Instant::now();
        let place = Place { turns, number: turns.lock().join(self.caller.clone()) };
        loop {
            let mut line = turns.lock();
            if let Some(memory) = turns.try_begin(&mut line, place.number, bytes) {
                let work = AtWork { turns: turns.clone(), caller: self.caller.clone() };
                return Ok(Turn { work: Box::new(work), memory });
            }
            if begun.elapsed() >= turns.settings.wait_max {
                return Err(Error::Refused(format!(
                    "the server is busy with other {}: no turn within {} seconds \
                     (limits.fetch_wait_ms); try again later",
                    turns.work.name(),
                    turns.settings.wait_max.as_secs_f64()
                )));
            }
            let before = line.before(place.number) + line.working();
            let interval = LOOK_INTERVAL.min(turns.settings.wait_max);
            drop(turns.changed.wait_timeout(line, interval));
            waiting(before)?;
        }
    }
}

/// A place in the line, given up when dropped; without effect once its turn has begun.
struct Place<'t> {
    turns: &'t Turns,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.lock().waiting.remove(&self.number);
        self.turns.changed.notify_all();
    }
}

/// A turn that has begun, until it is dropped.
struct AtWork {
    turns: Arc<Turns>,
    caller: CallerKey,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.turns.lock().end(&self.caller);
        self.turns.changed.notify_all();
        (self.turns.memory_freed)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> CallerKey {
        CallerKey::Name(name.into())
    }

    #[test]
    fn whoever_has_least_at_work_comes_first() {
        let mut line = Line::default();
        let busy = [line.join(name("a")), line.join(name("a")), line.join(name("a"))];
        assert_eq!(busy.map(|number| line.before(number)), [0, 1, 2]);
        line.begin(busy[0]);
        let other = line.join(name("b"));
        assert_eq!((line.before(other), line.before(busy[1])), (0, 1));
        line.begin(other);
        assert_eq!((line.before(busy[1]), line.before(busy[2])), (0, 1));
        line.end(&name("a"));
        line.end(&name("b"));
        assert_eq!(line.working(), 0);
        assert!(line.working.is_empty());
    }

    #[test]
    fn a_network_of_addresses_is_one_caller() {
        let key = |address: &str| {
            let address = Some(address.parse().expect("an address"));
            CallerKey::of(&Caller { identity: None, address })
        };
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    fn turns(concurrent_fetches: usize, wait_max: Duration, bytes: usize) -> Arc<Turns> {
        let settings = TurnSettings { concurrent_fetches, concurrent_archives: 0, wait_max };
        Arc::new(Turns::new(Work::Fetches, settings, Arc::new(MemoryPool::new(bytes)), || ()))
    }

    fn refused(turns: &Arc<Turns>, bytes: usize) -> Option<String> {
        let gate = turns.gate(&Caller::default());
        gate.enter(bytes, &mut |_| Ok(())).err().map(|error| error.to_string())
    }

    #[test]
    fn a_turn_that_does_not_come_is_refused_in_words() {
        let turns = turns(1, Duration::from_millis(1), 100);
        assert_eq!(refused(&turns, 100), None);
        let words = refused(&turns, 101).expect("too much");
        assert!(words.contains("limits.memory"), "{words}");
        let gate = turns.gate(&Caller::default());
        let turn = gate.enter(60, &mut |_| Ok(())).expect("free");
        let words = refused(&turns, 10).expect("busy");
        assert!(words.contains("limits.fetch_wait_ms"), "{words}");
        // Its work is done, but it still holds memory.
        drop(turn.work);
        assert_eq!(refused(&turns, 40), None);
        assert!(refused(&turns, 41).is_some());
        drop(turn.memory);
        assert_eq!(refused(&turns, 100), None);
        assert!(turns.lock().waiting.is_empty());
    }

    #[test]
    fn a_waiting_caller_that_hangs_up_gives_its_place_up() {
        let turns = turns(1, Duration::from_secs(3600), 100);
        let gate = turns.gate(&Caller::default());
        let turn = gate.enter(1, &mut |_| Ok(())).expect("free");
        let gone = gate.enter(1, &mut |before| {
            assert_eq!(before, 1);
            Err(io::ErrorKind::BrokenPipe.into())
        });
        assert!(matches!(gone, Err(Error::Output(_))));
        assert!(turns.lock().waiting.is_empty());
        drop(turn);
        gate.enter(1, &mut |_| Ok(())).expect("free again");
    }

    #[test]
    fn many_threads_take_turns_and_never_more_than_allowed() {
        let turns = turns(3, Duration::from_secs(3600), 1000);
        let working = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (turns, working) = (&turns, &working);
                scope.spawn(move || {
                    let address = Some(IpAddr::from([192, 0, 2, thread % 3]));
                    let caller = Caller { identity: None, address };
                    for _ in 0..200 {
                        let turn = turns.gate(&caller).enter(300, &mut |_| Ok(())).expect("a turn");
                        let now = working.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert!(now < 3);
                        working.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        assert_eq!(turns.lock().working(), 0);
        assert_eq!(turns.memory.used(), 0);
    }
}
