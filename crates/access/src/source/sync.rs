//! A TOML text with some of its values changed, and the rest of it, comments and order, as it was.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use crate::Records;

/// The text that says `new`, made of one that says `old`.
pub(super) fn in_place(text: &str, old: &Records, new: &Records) -> Result<String, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let table = |records: &Records| -> Result<Table, String> {
        let text = toml::to_string(records).map_err(|error| words(&error))?;
        let document: DocumentMut = text.parse().map_err(|error| words(&error))?;
        Ok(document.as_table().clone())
    };
    let mut document: DocumentMut = text.parse().map_err(|error| words(&error))?;
    table_in_place(document.as_table_mut(), &table(old)?, &table(new)?);
    Ok(document.to_string())
}

/// Whether two items say the same.
fn same(one: &Item, other: &Item) -> bool {
    match (one, other) {
        (Item::Table(one), Item::Table(other)) => same_tables(one, other),
        (Item::ArrayOfTables(one), Item::ArrayOfTables(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| same_tables(one, other))
        }
        _ => one.to_string().trim() == other.to_string().trim(),
    }
}

fn same_tables(one: &Table, other: &Table) -> bool {
    let fits = |(key, item): (&str, &Item)| other.get(key).is_some_and(|other| same(item, other));
    one.len() == other.len() && one.iter().all(fits)
}

fn table_in_place(written: &mut Table, old: &Table, new: &Table) {
    for (key, _) in old.iter().filter(|(key, _)| !new.contains_key(key)) {
        written.remove(key);
    }
    for (key, item) in new {
        let before = old.get(key);
        if before.is_some_and(|before| same(before, item) && written.contains_key(key)) {
            continue;
        }
        match (written.get_mut(key), before, item) {
            (Some(Item::Table(written)), Some(Item::Table(old)), Item::Table(new)) => {
                table_in_place(written, old, new);
            }
            (
                Some(Item::ArrayOfTables(written)),
                Some(Item::ArrayOfTables(old)),
                Item::ArrayOfTables(new),
            ) => tables_in_place(written, old, new),
            (Some(Item::Value(written)), _, Item::Value(new)) => {
                let decor = written.decor().clone();
                *written = new.clone();
                *written.decor_mut() = decor;
            }
            _ => {
                let mut item = item.clone();
                unplace(&mut item);
                written.insert(key, item);
            }
        }
    }
}

/// What is the same at both ends stays; between them, tables are removed and put in.
fn tables_in_place(written: &mut ArrayOfTables, old: &ArrayOfTables, new: &ArrayOfTables) {
    let head =
        old.iter().zip(new.iter()).take_while(|(one, other)| same_tables(one, other)).count();
    let most = old.len().min(new.len()) - head;
    let tail = (0..most)
        .take_while(|back| {
            let (one, other) = (old.get(old.len() - 1 - back), new.get(new.len() - 1 - back));
            one.zip(other).is_some_and(|(one, other)| same_tables(one, other))
        })
        .count();
    let kept_behind: Vec<Table> =
        (written.len() - tail..written.len()).filter_map(|at| written.get(at).cloned()).collect();
    while written.len() > head {
        written.remove(written.len() - 1);
    }
    for at in head..new.len() - tail {
        if let Some(table) = new.get(at) {
            let mut item = Item::Table(table.clone());
            unplace(&mut item);
            if let Item::Table(table) = item {
                written.push(table);
            }
        }
    }
    kept_behind.into_iter().for_each(|mut table| {
        table.set_position(None);
        written.push(table);
    });
}

/// A table of another document has its place from there.
fn unplace(item: &mut Item) {
    match item {
        Item::Table(table) => {
            table.set_position(None);
            table.iter_mut().for_each(|(_, item)| unplace(item));
        }
        Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| {
            table.set_position(None);
            table.iter_mut().for_each(|(_, item)| unplace(item));
        }),
        _ => {}
    }
}
