//! Packs everything the refs of a bare repository reach into one new pack, with a full search
//! for deltas, and removes nothing.
//!
//! `repack DIR [THREADS]`: for measuring the search by itself, beside `git repack -adf`.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use repository::maintenance::repack::{RepackOptions, Selection, repack};
use repository::{Progress, Repository, Settings, Stage};

/// Tells when each phase ends.
struct Phases(Instant);

impl Progress for Phases {
    fn update(&mut self, _: Stage, _: u64, _: Option<u64>) -> std::io::Result<()> {
        Ok(())
    }

    #[allow(clippy::print_stderr)]
    fn finish(&mut self, stage: Stage, done: u64) -> std::io::Result<()> {
        eprintln!("{:>8.2?} {}: {done}", self.0.elapsed(), stage.title());
        Ok(())
    }
}

#[allow(clippy::print_stderr)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: repack DIR [THREADS]")?;
    let threads = args.next().map_or(Ok(2), |threads| threads.parse::<usize>())?;
    let git_dir = storage_disk::discover(Path::new(&dir), false)?;
    let parts = storage_disk::open(&git_dir, &storage_disk::OpenOptions::default())?;
    let repository = Repository::open(parts, Settings::default());
    let mut tips = Vec::new();
    repository.refs().snapshot()?.scan("refs/".into(), &mut |found| {
        if let storage::TargetView::Id(id) = found.target {
            tips.push(id.to_id());
        }
        ControlFlow::Continue(())
    })?;
    let mut progress = Phases(Instant::now());
    let objects = repository.objects()?;
    let selection = Selection::reachable(&objects, tips, &mut progress)?;
    let options = RepackOptions { threads, reuse_deltas: false, ..RepackOptions::default() };
    let mut stage = repository.blobs().stage()?;
    let packed = repack(&repository, &objects, &selection, &options, &mut *stage, &mut progress)?;
    stage.publish()?;
    eprintln!("{packed:?}");
    Ok(())
}
