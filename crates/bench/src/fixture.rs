//! The repositories that are measured on: copies, never the original.
//!
//! Copies are kept between runs below the cache folder, by the original's path and
//! tip; a copy appears there only once it is whole.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario, TempDir};

use crate::Outcome;
use crate::arguments::Arguments;
use crate::programs::Programs;

/// Where `git pack-objects` puts packs, seen from a bare repository.
const PACK_STEM: &str = "objects/pack/pack";
const SEED: u64 = 2;
/// Packs of the repository that has many.
const PACKS: usize = 21;

/// Prepared repositories.
#[derive(Debug)]
pub(crate) struct Fixtures {
    cache: PathBuf,
    plain: PathBuf,
    /// What the table calls the repository.
    pub(crate) name: String,
    /// Objects in its one pack.
    pub(crate) objects: usize,
}

impl Fixtures {
    /// Copies, or generates, the repository to measure on.
    pub(crate) fn new(programs: &Programs, arguments: &Arguments) -> Outcome<Self> {
        let cache = match std::env::var_os("PACKHORSE_BENCH_CACHE") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from("target/bench-cache"),
        };
        fs::create_dir_all(&cache)?;
        let cache = cache.canonicalize()?;
        let git = programs.git();
        let (name, plain) = match &arguments.repo {
            Some(repo) => {
                let repo =
                    repo.canonicalize().map_err(|why| format!("{}: {why}", repo.display()))?;
                let folder = cache.join(key(git, &repo));
                let plain = prepare(&folder.join("plain.git"), |to| copy(git, &repo, to))?;
                (repo.file_name().unwrap_or_default().to_string_lossy().into_owned(), plain)
            }
            None => {
                let objects = arguments.objects;
                let folder = cache.join(format!("generated-{objects}-{SEED}"));
                let plain = prepare(&folder.join("plain.git"), |to| generate(git, objects, to))?;
                (format!("generated, seed {SEED}"), plain)
            }
        };
        let objects = count_objects(git, &plain)?;
        Ok(Fixtures { cache, plain, name, objects })
    }

    /// Everything in one pack, without a bitmap.
    pub(crate) fn plain(&self) -> &Path {
        &self.plain
    }

    /// The same with a bitmap on the pack.
    pub(crate) fn bitmapped(&self, git: &RealGit) -> Outcome<PathBuf> {
        with_bitmap(git, &self.plain)
    }

    /// A generated repository of another size, with a bitmap on its pack.
    pub(crate) fn of_size(&self, git: &RealGit, objects: usize) -> Outcome<PathBuf> {
        let folder = self.cache.join(format!("generated-{objects}-{SEED}"));
        let plain = prepare(&folder.join("plain.git"), |to| generate(git, objects, to))?;
        with_bitmap(git, &plain)
    }

    /// The same objects in many packs, as pushes leave them, under a multi-pack-index with a
    /// bitmap.
    pub(crate) fn many_packs(&self, git: &RealGit) -> Outcome<PathBuf> {
        prepare(&self.plain.with_file_name("packs.git"), |to| {
            copy_links(git, &self.plain, to);
            let commits = git.ok(to, &["rev-list", "--topo-order", "--reverse", "--all"]);
            let commits: Vec<&str> = commits.lines().collect();
            let old = files(&to.join("objects/pack"), "")?;
            let mut before: Option<&str> = None;
            for part in 1..=PACKS {
                let tip = commits[commits.len() * part / PACKS - 1];
                let not = before.map_or(String::new(), |before| format!("--not\n{before}\n"));
                let mut pack = vec!["pack-objects", "--revs", "--quiet", "--delta-base-offset"];
                let revisions = match part {
                    // The last part takes what no part had, other branches and tags too.
                    PACKS => {
                        pack.push("--all");
                        not
                    }
                    _ => format!("{tip}\n{not}"),
                };
                pack.push(PACK_STEM);
                git.ok_with_input(to, &pack, revisions.as_bytes());
                before = Some(tip);
            }
            old.iter().try_for_each(fs::remove_file)?;
            git.ok(to, &["multi-pack-index", "write", "--bitmap"]);
            git.ok(to, &["fsck", "--connectivity-only"]);
            Ok(())
        })
    }

    /// A small history under so many packed refs.
    pub(crate) fn many_refs(&self, refs: usize) -> Outcome<PathBuf> {
        prepare(&self.cache.join(format!("refs-{refs}.git")), |to| {
            Scenario::many_refs(refs).build(&RealGit::new(), to);
            Ok(())
        })
    }

    /// A folder for one suite, on the file system of the copies.
    pub(crate) fn scratch(&self) -> TempDir {
        TempDir::new_in(&self.cache)
    }

    /// The only pack of the plain copy.
    pub(crate) fn pack(&self) -> Outcome<PathBuf> {
        only_pack(&self.plain)
    }
}

/// The only pack of a repository.
pub(crate) fn only_pack(dir: &Path) -> Outcome<PathBuf> {
    let packs = files(&dir.join("objects/pack"), "pack")?;
    packs.into_iter().next().ok_or_else(|| "the repository has no pack".into())
}

/// A copy that shares its files with the original where the file system allows.
pub(crate) fn copy_links(git: &RealGit, from: &Path, to: &Path) {
    git.clone(from, to, &["--bare", "--local"]);
}

/// Makes `dir` unless it is there: beside its place first, moved there when whole.
fn prepare(dir: &Path, make: impl FnOnce(&Path) -> Outcome<()>) -> Outcome<PathBuf> {
    if !dir.exists() {
        eprintln!("bench: preparing {}", dir.display());
        let unfinished = dir.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        make(&unfinished)?;
        fs::rename(&unfinished, dir)?;
    }
    Ok(dir.to_owned())
}

fn with_bitmap(git: &RealGit, plain: &Path) -> Outcome<PathBuf> {
    prepare(&plain.with_file_name("bitmap.git"), |to| {
        copy_links(git, plain, to);
        git.ok(to, &["repack", "-adbq"]);
        Ok(())
    })
}

fn copy(git: &RealGit, from: &Path, to: &Path) -> Outcome<()> {
    copy_links(git, from, to);
    git.ok(to, &["-c", "repack.writeBitmaps=false", "repack", "-adq"]);
    for bitmap in files(&to.join("objects/pack"), "bitmap")? {
        fs::remove_file(bitmap)?;
    }
    Ok(())
}

fn generate(git: &RealGit, objects: usize, to: &Path) -> Outcome<()> {
    let maker = RealGit::new();
    let made = Scenario::realistic(objects, SEED).build(&maker, "made.git");
    copy(git, &made, to)
}

fn key(git: &RealGit, repo: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    (repo, git.refs(repo)).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The files of a folder with this extension; all of them when it is empty.
fn files(folder: &Path, extension: &str) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if extension.is_empty() || path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

fn count_objects(git: &RealGit, dir: &Path) -> Outcome<usize> {
    let counted = git.ok(dir, &["count-objects", "-v"]);
    let line = counted.lines().find_map(|line| line.strip_prefix("in-pack: "));
    Ok(line.ok_or("git count-objects tells no in-pack")?.parse()?)
}
