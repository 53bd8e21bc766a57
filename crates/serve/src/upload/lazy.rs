//! Objects that may not be needed: where they are far away, a look at what there is costs a journey.

use std::cell::OnceCell;

use repository::{Objects, Repository};

use crate::Error;

/// The objects of a repository, as they are when they are first needed.
pub(super) struct LazyObjects<'a> {
    repository: &'a Repository,
    opened: OnceCell<Objects>,
}

impl<'a> LazyObjects<'a> {
    pub fn of(repository: &'a Repository) -> Self {
        LazyObjects { repository, opened: OnceCell::new() }
    }

    pub fn get(&self) -> Result<&Objects, Error> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.repository.objects()?;
        Ok(self.opened.get_or_init(|| opened))
    }
}
