//! How far a long piece of work has come, told to whoever asked for it.

/// A phase of work, in the words git users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Finding out which objects to send.
    Enumerating,
    /// Deciding how each object is sent.
    Counting,
    /// Making the bytes of objects that cannot be copied as they lie.
    Compressing,
    /// Sending.
    Writing,
    /// Taking a pack in.
    Receiving,
    /// Rebuilding objects from deltas.
    Resolving,
    /// Checking that nothing is missing.
    Connectivity,
    /// Finding out what selected commits reach, for bitmaps.
    Bitmaps,
    /// Finding the paths that commits changed.
    ChangedPaths,
    /// Copying files from store to store; counted in bytes.
    Copying,
    /// Naming the objects of stored packs anew; counted in packs.
    Checking,
}

impl Stage {
    /// The title git shows for this phase.
    pub const fn title(self) -> &'static str {
        match self {
            Stage::Enumerating => "Enumerating objects",
            Stage::Counting => "Counting objects",
            Stage::Compressing => "Compressing objects",
            Stage::Writing => "Writing objects",
            Stage::Receiving => "Receiving objects",
            Stage::Resolving => "Resolving deltas",
            Stage::Connectivity => "Checking connectivity",
            Stage::Bitmaps => "Building bitmaps",
            Stage::ChangedPaths => "Computing commit changed paths Bloom filters",
            Stage::Copying => "Copying bytes",
            Stage::Checking => "Checking packs",
        }
    }

    /// The line git shows for `done` of `total` objects, and what ends it.
    pub fn line(self, done: u64, total: Option<u64>, end: &str) -> String {
        let title = self.title();
        match total {
            Some(total) => {
                let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
                format!("{title}: {percent:3}% ({done}/{total}){end}")
            }
            None => format!("{title}: {done}{end}"),
        }
    }
}

/// Hears how far the work has come. Called often: it decides itself what to show when.
pub trait Progress {
    /// `done` of `total` (objects, where nothing else is said); `total` is `None` while unknown.
    ///
    /// # Errors
    /// An error ends the work: the listener is gone.
    fn update(&mut self, stage: Stage, done: u64, total: Option<u64>) -> std::io::Result<()>;

    /// The phase is over; `done` is final.
    ///
    /// # Errors
    /// As [`Progress::update`].
    fn finish(&mut self, stage: Stage, done: u64) -> std::io::Result<()> {
        self.update(stage, done, Some(done))
    }
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn update(&mut self, _: Stage, _: u64, _: Option<u64>) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_gits() {
        assert_eq!(Stage::Enumerating.line(12, None, ""), "Enumerating objects: 12");
        assert_eq!(Stage::Counting.line(0, Some(0), ""), "Counting objects: 100% (0/0)");
        assert_eq!(Stage::Resolving.line(3, Some(4), "\r"), "Resolving deltas:  75% (3/4)\r");
        assert_eq!(
            Stage::Connectivity.line(7, None, ", done.\n"),
            "Checking connectivity: 7, done.\n"
        );
    }
}
