//! `packhorse dev`: parts of the server on their own, so that they can be measured beside git's.

use std::io::{self, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use object::{Checksum, HashKind, ObjectId, RefName};
use repository::incoming::IncomingOptions;
use repository::{Repository, Silent};
use storage::{Change, Expected, NewRepository, Peeled, RefEdit, RefStore, RefTransaction, Target};
use storage_disk::OpenOptions;

use crate::cli::{DevCommand, IndexPackOptions, RefUpdatesOptions};
use crate::store::{StoreUrl, StoresConfig};

/// Input taken at a time, bytes; as much as the server's own.
const INPUT_BYTES: usize = 64 << 10;

/// Runs one of the parts.
#[allow(clippy::print_stdout, clippy::print_stderr)] // Where a command line program answers.
pub fn run(command: &DevCommand) -> ExitCode {
    let answer = match command {
        DevCommand::IndexPack(options) => index_pack(options).map_err(|error| error.to_string()),
        DevCommand::RefUpdates(options) => ref_updates(options),
    };
    match answer {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(words) => {
            eprintln!("packhorse: {words}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the pack on standard input in as a push does, without a push around it.
fn index_pack(options: &IndexPackOptions) -> Result<String, repository::Error> {
    let git_dir = storage_disk::discover(&options.directory, false)?;
    let environment = OpenOptions {
        variable: std::sync::Arc::new(|name| std::env::var_os(name)),
        ..OpenOptions::default()
    };
    let parts = storage_disk::open(&git_dir, &environment)?;
    let repository = Repository::open(parts, repository::Settings::default());
    let mut incoming_options = IncomingOptions::from_config(repository.config())?;
    incoming_options.unpack_limit = None;
    if let Some(threads) = options.threads {
        incoming_options.threads = threads.get();
    }
    let mut incoming = repository.incoming(incoming_options)?;
    let mut input = BufReader::with_capacity(INPUT_BYTES, io::stdin());
    let received = incoming.receive(&mut input, &mut Silent)?;
    incoming.publish()?;
    Ok(received.pack.map(|checksum| checksum.to_string()).unwrap_or_default())
}

/// What refs of new repositories are on.
const BRANCH: &str = "main";

/// Changes refs for a while. The answer is a line: changes, seconds, and the median and the
/// 99th of 100 parts of the microseconds one took.
fn ref_updates(options: &RefUpdatesOptions) -> Result<String, String> {
    let stores = ref_stores(options)?;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(options.seconds);
    let took: Result<Vec<Vec<Duration>>, String> = thread::scope(|scope| {
        let writers: Vec<_> = (0..options.writers.get())
            .map(|number| {
                let refs = stores[number % stores.len()].clone();
                scope.spawn(move || update_until(&*refs, number, until))
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut took: Vec<Duration> = took?.concat();
    took.sort_unstable();
    let part = |of_100: usize| took.get(took.len() * of_100 / 100).map_or(0, Duration::as_micros);
    Ok(format!("{} {seconds:.3} {} {}", took.len(), part(50), part(99)))
}

fn ref_stores(options: &RefUpdatesOptions) -> Result<Vec<Arc<dyn RefStore>>, String> {
    let words = |error: storage::Error| error.to_string();
    let numbers = 0..options.repositories.get();
    let Ok(url) = StoreUrl::parse(&options.place) else {
        let folder = Path::new(&options.place);
        let open = |number: usize| {
            let path = folder.join(format!("bench-{number}.git"));
            if !path.exists() {
                storage_disk::init_bare(&path, HashKind::Sha1, BRANCH)?;
            }
            Ok(storage_disk::open(&path, &OpenOptions::default())?.refs)
        };
        return numbers.map(|number| open(number).map_err(words)).collect();
    };
    let store = url.open(&StoresConfig::default())?;
    let head = RefName::new(format!("refs/heads/{BRANCH}")).expect("a name");
    let new = NewRepository { hash: HashKind::Sha1, head, config: b"[core]\n\tbare = true\n" };
    let open = |number: usize| {
        let name = format!("bench-{number}");
        store.create(&name, &new)?;
        let found = store.find(&name)?.ok_or_else(|| storage::Error::not_found(&name))?;
        Ok(store.parts_of(&name, &found)?.refs)
    };
    numbers.map(|number| open(number).map_err(words)).collect()
}

/// Changes one ref again and again; how long each change took.
fn update_until(
    refs: &dyn RefStore,
    writer: usize,
    until: Instant,
) -> Result<Vec<Duration>, String> {
    let name = RefName::new(format!("refs/heads/writer-{writer}")).expect("a name");
    let snapshot = refs.snapshot().map_err(|error| error.to_string())?;
    let mut before = snapshot.get(name.as_bstr()).map_err(|error| error.to_string())?;
    let mut took = Vec::new();
    while Instant::now() < until {
        let new = Target::Id(some_id(writer, took.len()));
        let expected = match before.take() {
            Some(found) => Expected::MustExistAndMatch(found.target),
            None => Expected::MustNotExist,
        };
        let edit = RefEdit {
            name: name.clone(),
            expected,
            change: Change::Update(new.clone()),
            peeled: Peeled::NotATag,
            reflog: None,
        };
        let begun = Instant::now();
        let edits = RefTransaction { edits: vec![edit], ..RefTransaction::default() };
        refs.commit(edits).map_err(|error| error.to_string())?;
        took.push(begun.elapsed());
        before = Some(storage::Ref { name: name.clone(), target: new, peeled: Peeled::NotATag });
    }
    Ok(took)
}

/// An id nothing has.
fn some_id(writer: usize, number: usize) -> ObjectId {
    let mut sum = Checksum::new(HashKind::Sha1);
    sum.update(&writer.to_be_bytes());
    sum.update(&number.to_be_bytes());
    sum.finish()
}
