//! Writes a pack of everything the refs of a bare repository reach to standard output.
//!
//! `make_pack DIR [HAVE]`: for profiling the walk, the plan and the stream by themselves.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use object::ObjectId;
use repository::{PackRequest, Repository, Settings, Silent, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: make_pack DIR [HAVE]")?;
    let haves = args.filter_map(|hex| ObjectId::from_hex(hex.as_bytes())).collect();
    let git_dir = storage_disk::discover(Path::new(&dir), false)?;
    let parts = storage_disk::open(&git_dir, &storage_disk::OpenOptions::default())?;
    let repository = Repository::open(
        parts,
        Settings {
            delta_cache_bytes: std::env::var("CACHE")
                .ok()
                .and_then(|c| c.parse().ok())
                .unwrap_or(16 << 20),
            ..Settings::default()
        },
    );
    let mut wants = Vec::new();
    repository.refs().snapshot()?.scan("refs/".into(), &mut |found| {
        if let storage::TargetView::Id(id) = found.target {
            wants.push(id.to_id());
        }
        ControlFlow::Continue(())
    })?;
    let request = PackRequest { wants, haves, ofs_delta: true, thin: true, ..Default::default() };
    let plan = plan(&repository.objects()?, &request, &mut Silent)?;
    let mut stream = plan.into_stream();
    let mut out = std::io::stdout().lock();
    while let Some(chunk) = stream.next()? {
        out.write_all(&chunk)?;
    }
    Ok(())
}
