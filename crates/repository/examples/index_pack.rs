//! Takes the pack on standard input into a bare repository, as `git index-pack --stdin` would.
//!
//! `index_pack DIR [THREADS [BUDGET_MIB]]`: makes DIR when it is not there, prints what was
//! received, seconds, and the largest anonymous and resident memory in KiB.

use std::io::{self, BufReader, Write as _};
use std::path::Path;
use std::time::Instant;

use object::HashKind;
use repository::incoming::IncomingOptions;
use repository::{Progress, Repository, Settings, Stage};

const INPUT_BYTES: usize = 128 << 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: index_pack DIR [THREADS [BUDGET_MIB]]")?;
    let dir = Path::new(&dir);
    if !dir.exists() {
        storage_disk::init_bare(dir, HashKind::Sha1, "main")?;
    }
    let mut options = IncomingOptions::default();
    if let Some(threads) = args.next() {
        options.threads = threads.parse()?;
    }
    if let Some(mib) = args.next() {
        options.memory_budget_bytes = mib.parse::<usize>()? << 20;
    }
    let parts = storage_disk::open(dir, &storage_disk::OpenOptions::default())?;
    let repository = Repository::open(parts, Settings::default());
    let mut incoming = repository.incoming(options)?;
    let mut phases = Phases { start: Instant::now(), anonymous_kib: 0 };
    let mut input = BufReader::with_capacity(INPUT_BYTES, io::stdin().lock());
    let received = incoming.receive(&mut input, &mut phases)?;
    incoming.publish()?;
    phases.say(format_args!("{received:?}"))?;
    let resident = memory_kib("VmHWM:");
    phases.say(format_args!("anonymous {} KiB, resident {resident} KiB", phases.anonymous_kib))?;
    Ok(())
}

/// Times the phases and looks at the memory on the way.
struct Phases {
    start: Instant,
    anonymous_kib: u64,
}

impl Phases {
    fn say(&self, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(io::stderr(), "{:8.2} s  {what}", self.start.elapsed().as_secs_f64())
    }
}

impl Progress for Phases {
    fn update(&mut self, stage: Stage, done: u64, _: Option<u64>) -> io::Result<()> {
        if stage == Stage::Resolving || done.is_multiple_of(4096) {
            self.anonymous_kib = self.anonymous_kib.max(memory_kib("RssAnon:"));
        }
        Ok(())
    }

    fn finish(&mut self, stage: Stage, done: u64) -> io::Result<()> {
        self.anonymous_kib = self.anonymous_kib.max(memory_kib("RssAnon:"));
        self.say(format_args!("{}: {done}", stage.title()))
    }
}

/// A field of this process's status; 0 where the system does not tell.
fn memory_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
