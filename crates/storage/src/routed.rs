//! Several stores as one: the name of a repository decides where it is.

use std::sync::Arc;

use crate::{Error, NewRepository, Parts, RepositoryStore, Result, Stored};

/// Repositories in the store of the longest route that leads to their name.
#[derive(Clone, Default)]
pub struct RoutedStore {
    routes: Vec<(String, Arc<dyn RepositoryStore>)>,
}

/// Tells the numbers of one store from those of the others: spread over all numbers, as small
/// ones are counted and others random.
#[derive(Clone, Copy)]
struct Mark(u64);

impl Mark {
    /// There and back again.
    fn on(self, stored: &Stored) -> Stored {
        Stored { number: stored.number ^ self.0, ..stored.clone() }
    }
}

/// Whether a route leads to a name.
pub fn is_below(name: &str, below: &str) -> bool {
    let rest = name.strip_prefix(below);
    below.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl RoutedStore {
    /// No routes: no repositories.
    pub fn new() -> Self {
        Self::default()
    }

    /// Repositories called `below`, and those whose names begin with it and a `/`, are in this store; all
    /// that no other route leads to for `""`.
    pub fn with(mut self, below: &str, store: Arc<dyn RepositoryStore>) -> Self {
        let below = below.trim_matches('/').to_owned();
        self.routes.retain(|(other, _)| *other != below);
        self.routes.push((below, store));
        // The longest of those that lead to a name comes first.
        self.routes.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then(a.cmp(b)));
        self
    }

    /// Whether a route leads to this name.
    pub fn leads_to(&self, name: &str) -> bool {
        self.number(name).is_some()
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.routes.iter().position(|(below, _)| is_below(name, below))
    }

    /// The store of a name, with the route's own mark.
    fn store(&self, name: &str) -> Result<(&dyn RepositoryStore, Mark)> {
        let detail = || format!("no store is configured for repositories of this name: '{name}'");
        let refused = || Error::Refused { what: name.to_owned(), detail: detail() };
        let number = self.number(name).ok_or_else(refused)?;
        let (_, store) = self.routes.get(number).ok_or_else(refused)?;
        Ok((&**store, Mark((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    /// The names of one store behind `after` that its route leads to.
    fn names_of(&self, number: usize, after: &str, most: usize) -> Result<Vec<String>> {
        let (_, store) = &self.routes[number];
        let mut names: Vec<String> = Vec::new();
        let mut after = after.to_owned();
        while names.len() < most {
            let page = store.names(&after, most)?;
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            names.extend(page.into_iter().filter(|name| self.number(name) == Some(number)));
        }
        names.truncate(most);
        Ok(names)
    }
}

impl RepositoryStore for RoutedStore {
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for number in 0..self.routes.len() {
            names.extend(self.names_of(number, after, most)?);
        }
        names.sort_unstable();
        names.truncate(most);
        Ok(names)
    }

    fn find(&self, name: &str) -> Result<Option<Stored>> {
        if !self.leads_to(name) {
            return Ok(None);
        }
        let (store, mark) = self.store(name)?;
        Ok(store.find(name)?.map(|stored| mark.on(&stored)))
    }

    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts> {
        let (store, mark) = self.store(name)?;
        store.own_parts(name, &mark.on(stored))
    }

    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool> {
        self.store(name)?.0.create(name, new)
    }

    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool> {
        let (store, mark) = self.store(name)?;
        store.configure(name, &mark.on(found), config)
    }

    fn remove(&self, name: &str) -> Result<bool> {
        if !self.leads_to(name) {
            return Ok(false);
        }
        self.store(name)?.0.remove(name)
    }
}
