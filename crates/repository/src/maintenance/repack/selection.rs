//! Which objects go into a pack.

use object::ObjectId;

use crate::error::Result;
use crate::objects::Objects;
use crate::progress::Progress;
use crate::send::PackRequest;
use crate::walk::{self, Marks};

/// A set of objects of one view.
#[derive(Clone)]
pub struct Selection {
    marks: Marks,
}

impl Selection {
    /// All that the tips reach, themselves included.
    ///
    /// # Errors
    /// When something is missing, or the storage fails.
    pub fn reachable(
        objects: &Objects,
        tips: Vec<ObjectId>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let request = PackRequest {
            wants: tips,
            // What is not found here may be dropped one day: bitmaps, which somebody else may
            // have made of anything, are not believed.
            own_history_cut: true,
            ..PackRequest::default()
        };
        Ok(Selection { marks: walk::reached(objects, &request, progress)?.send })
    }

    /// These objects; those the view does not have are left out.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn of(objects: &Objects, ids: impl IntoIterator<Item = ObjectId>) -> Result<Self> {
        let mut marks = Marks::new(objects.packed_count());
        for id in ids {
            if let Some(slot) = objects.slot(&id)? {
                marks.insert(slot);
            }
        }
        Ok(Selection { marks })
    }

    /// How many objects are selected.
    pub fn count(&self) -> u64 {
        self.marks.count()
    }

    pub(in crate::maintenance) fn marks(&self) -> &Marks {
        &self.marks
    }
}

impl From<Marks> for Selection {
    fn from(marks: Marks) -> Self {
        Selection { marks }
    }
}
