//! Whether a store keeps its word: that an object is written only where there is none, and replaced
//! only in the state that was read. Many stores answer yes and overwrite.

use std::thread;

use bytes::Bytes;
use storage::{Error, Result};

use crate::client::Client;
use crate::requests::TagForm;

/// Writers that want the same name at once.
const RACERS: usize = 8;

/// Finds out how the store wants to be asked, and whether it can be trusted with refs.
///
/// # Errors
/// [`Error::Unsupported`], in words that name the store, when it cannot; and why it could not be
/// asked.
pub(crate) fn probe(client: &mut Client, directory: &str) -> Result<()> {
    let key = format!("{directory}packhorse-probe-{:016x}", crate::store::random());
    let answer = ask(client, &key);
    let cleaned = client.delete(&key);
    answer?;
    cleaned
}

fn ask(client: &mut Client, key: &str) -> Result<()> {
    let refused = |what: &str, why: &str| Error::Unsupported {
        what: what.to_owned(),
        detail: format!(
            "{what} {why}: refs kept there could be lost; keep them in another store (--refs) and only \
             objects there (--blobs)"
        ),
    };
    let text = |number: usize| Bytes::from(format!("{number}\n"));
    let shared = &*client;
    let made: Result<Vec<_>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|number| scope.spawn(move || shared.put_new(key, text(number))))
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    });
    let winners: Vec<_> = made?.into_iter().flatten().collect();
    let [tag] = &winners[..] else {
        let why = format!("let {} of {RACERS} writers create the same object", winners.len());
        return Err(refused(&client.what, &why));
    };
    let mut replaced = client.put_over(key, text(100), tag)?;
    if replaced.is_none() {
        client.tag_form = TagForm::Unquoted;
        replaced = client.put_over(key, text(101), tag)?;
    }
    if replaced.is_none() {
        return Err(refused(&client.what, "does not replace an object in the state it is in"));
    }
    if client.put_over(key, text(102), tag)?.is_some() {
        return Err(refused(&client.what, "replaces an object that has changed since it was read"));
    }
    Ok(())
}
