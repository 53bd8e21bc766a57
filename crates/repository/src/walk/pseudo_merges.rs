//! Joining what groups of commits reach together (gitpacking(7), "Pseudo-merge bitmaps").

use pack::ewah::Ones;
use pack::{BitSet, PseudoMerges};

use crate::error::{Error, Result};

/// The pseudo-merges that are not joined yet. Each waits for one of its commits to be reached;
/// what waits for others is not looked at.
#[derive(Default)]
pub(super) struct Waiting<'b> {
    merges: Option<&'b PseudoMerges>,
    groups: Vec<Group<'b>>,
    /// Commits that are reached without all they reach being joined: tips and what was walked.
    reached: BitSet,
}

struct Group<'b> {
    number: usize,
    /// The bit of a commit that was not reached when last looked at.
    awaited: u32,
    /// The commits after it.
    rest: Ones<'b>,
}

impl<'b> Waiting<'b> {
    /// All of a bitmap file's; one without any costs nothing from here on.
    pub fn new(merges: &'b PseudoMerges, bit_count: u32) -> Result<Self> {
        if merges.is_empty() {
            return Ok(Waiting::default());
        }
        let mut groups = Vec::with_capacity(merges.len());
        for number in 0..merges.len() {
            let mut rest = merges.commits(number).map_err(Error::format("bitmap"))?.iter();
            if let Some(awaited) = rest.next().transpose().map_err(Error::format("bitmap"))? {
                groups.push(Group { number, awaited, rest });
            }
        }
        Ok(Waiting { merges: Some(merges), groups, reached: BitSet::new(bit_count) })
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Notes that a commit is reached; whether a group waits for it.
    pub fn reach(&mut self, bit: u32) -> bool {
        // A damaged order may lead past the end.
        if bit < self.reached.len() {
            self.reached.set(bit);
        }
        self.groups.iter().any(|group| group.awaited == bit)
    }

    /// Joins every group whose commits are all reached or joined, and then those that are so by
    /// what was joined.
    pub fn join(&mut self, joined: &mut BitSet) -> Result<()> {
        let Some(merges) = self.merges else { return Ok(()) };
        let mut at = 0;
        while let Some(group) = self.groups.get_mut(at) {
            if !group.advance(|bit| self.reached.get(bit) || joined.get(bit))? {
                at += 1;
                continue;
            }
            let number = self.groups.swap_remove(at).number;
            let all = merges.objects(number).and_then(|all| all.or_into(joined));
            all.map_err(Error::format("bitmap"))?;
            // Those before it may have waited for what it reaches.
            at = 0;
        }
        Ok(())
    }
}

impl Group<'_> {
    /// Waits for the next commit that is not there; whether all are.
    fn advance(&mut self, is_there: impl Fn(u32) -> bool) -> Result<bool> {
        while is_there(self.awaited) {
            match self.rest.next().transpose().map_err(Error::format("bitmap"))? {
                Some(next) => self.awaited = next,
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}
