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
pub(crate) fn probe(client: &Client, directory: &str) -> Result<TagForm> {
    let key = format!("{directory}packhorse-probe-{:016x}", crate::store::random());
    let answer = ask(client, &key);
    let cleaned = client.delete(&key);
    let form = answer?;
    cleaned.map(|()| form)
}

fn ask(client: &Client, key: &str) -> Result<TagForm> {
    let refused = |what: &str, why: &str| Error::Unsupported {
        what: what.to_owned(),
        detail: format!(
            "{what} {why}: refs kept there could be lost; keep them in another store (--refs) and only \
             objects there (--blobs)"
        ),
    };
    let text = |number: usize| Bytes::from(format!("{number}\n"));
    let made: Result<Vec<_>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|number| scope.spawn(move || client.try_put_new(key, text(number))))
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    });
    let winners: Vec<_> = made?.into_iter().flatten().collect();
    let [tag] = &winners[..] else {
        let why = format!("let {} of {RACERS} writers create the same object", winners.len());
        return Err(refused(&client.what, &why));
    };
    let replaces = |number, form| client.try_put_over(key, text(number), tag, form);
    let form = if replaces(100, TagForm::AsGiven)?.is_some() {
        TagForm::AsGiven
    } else if replaces(101, TagForm::Unquoted)?.is_some() {
        TagForm::Unquoted
    } else {
        return Err(refused(&client.what, "does not replace an object in the state it is in"));
    };
    match replaces(102, form)? {
        None => Ok(form),
        Some(_) => {
            Err(refused(&client.what, "replaces an object that has changed since it was read"))
        }
    }
}
