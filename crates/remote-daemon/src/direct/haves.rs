//! What the repository has, told to a server from the newest on.

use std::collections::{BinaryHeap, HashSet};
use std::ops::ControlFlow;

use client::Haves;
use object::{Kind, ObjectId};
use repository::{Objects, Repository};
use storage::{RefSnapshot, TargetView};

/// Commits in the order of their times, beginning with what refs name. What is behind a commit that both have is not told.
pub(super) struct OwnHaves {
    objects: Objects,
    next: BinaryHeap<(i64, ObjectId)>,
    seen: HashSet<ObjectId>,
    common: HashSet<ObjectId>,
}

/// What all refs of a repository name.
pub(super) fn named(snapshot: &dyn RefSnapshot) -> storage::Result<Vec<ObjectId>> {
    let mut ids = Vec::new();
    snapshot.scan("refs/".into(), &mut |one| {
        if let TargetView::Id(id) = one.target {
            ids.push(id.to_id());
        }
        ControlFlow::Continue(())
    })?;
    Ok(ids)
}

impl OwnHaves {
    pub fn new(repository: &Repository) -> Result<Self, repository::Error> {
        let objects = repository.objects()?;
        let mut haves = OwnHaves {
            objects,
            next: BinaryHeap::new(),
            seen: HashSet::new(),
            common: HashSet::new(),
        };
        for id in named(&*repository.refs().snapshot()?)? {
            if let Ok(Some((id, Kind::Commit))) = haves.objects.peel(&id) {
                haves.push(id);
            }
        }
        Ok(haves)
    }

    fn push(&mut self, id: ObjectId) {
        if self.seen.insert(id)
            && let Ok(commit) = self.objects.commit(&id)
        {
            self.next.push((commit.time, id));
        }
    }
}

impl Haves for OwnHaves {
    fn next(&mut self, most: usize) -> Vec<ObjectId> {
        let mut told = Vec::new();
        while told.len() < most
            && let Some((_, id)) = self.next.pop()
        {
            let is_common = self.common.contains(&id);
            if !is_common {
                told.push(id);
            }
            let Ok(commit) = self.objects.commit(&id) else { continue };
            for parent in commit.parents {
                if is_common {
                    self.common.insert(parent);
                }
                self.push(parent);
            }
        }
        told
    }

    fn common(&mut self, id: ObjectId) {
        self.common.insert(id);
        if let Ok(commit) = self.objects.commit(&id) {
            self.common.extend(commit.parents);
        }
    }
}
