//! Builds the bitmap of a pack of a bare repository and says what it holds; keeps it when asked.
//!
//! `write_bitmap DIR STEM [keep]`, with a stem such as `pack/pack-0123…`: for profiling.

use std::path::Path;

use repository::maintenance::bitmap::{Options, Owner, Tips, write_bitmap};
use repository::{Repository, Settings, Silent};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, stem, rest @ ..] = &args[..] else {
        return Err("usage: write_bitmap DIR STEM [keep]".into());
    };
    let git_dir = storage_disk::discover(Path::new(dir), false)?;
    let parts = storage_disk::open(&git_dir, &storage_disk::OpenOptions::default())?;
    let repository = Repository::open(parts, Settings::default());
    let mut stage = repository.blobs().stage()?;
    let tips = Tips::of(&repository)?;
    let (owner, options) = (Owner::Pack(stem), Options::default());
    let outcome = write_bitmap(&repository, owner, &tips, options, &mut *stage, &mut Silent)?;
    println!("{outcome:?}");
    if rest.iter().any(|word| word == "keep") {
        stage.publish()?;
    }
    Ok(())
}
