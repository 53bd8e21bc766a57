//! Attributes of paths in a tree (gitattributes(5)): from files of the machine, from those in the
//! tree's directories, and from the repository's own.

mod lines;
mod pattern;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString};
use object::{EntryMode, Kind, ObjectId, TreeIter};
use repository::Objects;
use rustc_hash::FxHashMap;

use self::lines::{Line, State, Subject};
use crate::Error;

/// The largest file with attributes that is read, bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;
/// What the files in directories are called.
const FILE_NAME: &str = ".gitattributes";
/// What git knows without being told.
const BUILT_IN: &[u8] = b"[attr]binary -diff -merge -text\n";

/// The attributes in force where a walk over a tree stands.
pub(super) struct Attributes {
    /// What counts least comes first.
    machine: Vec<Vec<Rule>>,
    /// Of the directories on the way to where the walk stands, and how many bytes of the path lead
    /// there, with no slash at their end.
    directories: Vec<(usize, Vec<Rule>)>,
    /// What counts most.
    repository: Vec<Rule>,
    /// Numbers of attributes that were named.
    numbers: FxHashMap<BString, usize>,
    /// What attributes that stand for others stand for; none are made below the root.
    macros: FxHashMap<usize, States>,
}

type States = Arc<[(usize, State)]>;

struct Rule {
    subject: RuleSubject,
    states: States,
}

enum RuleSubject {
    Paths(pattern::PathPattern),
    Macro(usize),
}

/// What attributes say about one path.
pub(super) struct Found<'a> {
    attributes: &'a Attributes,
    states: Vec<Option<&'a State>>,
}

/// Files outside of the tree.
#[derive(Default)]
pub(super) struct Outside<'a> {
    /// What counts least comes first.
    pub machine: Vec<PathBuf>,
    /// `info/attributes` of the repository.
    pub repository: Option<&'a Path>,
}

impl Attributes {
    /// Reads what is outside of the tree. Files need not exist.
    pub fn read(outside: &Outside<'_>) -> Result<Self, Error> {
        let mut attributes = Attributes {
            machine: Vec::new(),
            directories: Vec::new(),
            repository: Vec::new(),
            numbers: FxHashMap::default(),
            macros: FxHashMap::default(),
        };
        let rules = attributes.rules(lines::read(BUILT_IN, true));
        attributes.machine.push(rules);
        for file in &outside.machine {
            let rules = attributes.of_file(file)?;
            attributes.machine.push(rules);
        }
        if let Some(file) = outside.repository {
            attributes.repository = attributes.of_file(file)?;
        }
        attributes.gather_macros();
        Ok(attributes)
    }

    fn of_file(&mut self, path: &Path) -> Result<Vec<Rule>, Error> {
        use std::io::Read as _;
        // As git, which warns: what cannot be read is not there.
        let Ok(file) = std::fs::File::open(path) else { return Ok(Vec::new()) };
        let mut text = Vec::new();
        if file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).is_err() {
            return Ok(Vec::new());
        }
        check_size(text.len() as u64, "a file of the server with attributes")?;
        Ok(self.rules(lines::read(&text, true)))
    }

    fn rules(&mut self, lines: Vec<Line>) -> Vec<Rule> {
        let mut rule = |Line { subject, states }| Rule {
            subject: match subject {
                Subject::Paths(pattern) => RuleSubject::Paths(pattern),
                Subject::Macro(name) => RuleSubject::Macro(self.number(name)),
            },
            states: states.into_iter().map(|(name, state)| (self.number(name), state)).collect(),
        };
        lines.into_iter().map(&mut rule).collect()
    }

    fn number(&mut self, name: BString) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(name).or_insert(next)
    }

    /// The walk goes into a directory, whose path has no slash at its end.
    pub fn enter(&mut self, objects: &Objects, path: &BStr, tree: &[u8]) -> Result<(), Error> {
        let mut entries = TreeIter::new(tree, objects.hash());
        let is_attributes = |mode: EntryMode| mode.is_blob() && !mode.is_symlink();
        let found = entries.find_map(|entry| {
            entry.ok().filter(|entry| entry.name == FILE_NAME && is_attributes(entry.mode))
        });
        let rules = match found {
            Some(entry) => {
                let id: ObjectId = entry.oid(objects.hash());
                if let Some((Kind::Blob, size)) = objects.header(&id)? {
                    check_size(size, "a .gitattributes file")?;
                }
                let text = objects.read_expect(&id, Kind::Blob)?;
                self.rules(lines::read(&text.data, self.directories.is_empty()))
            }
            None => Vec::new(),
        };
        self.directories.push((path.len(), rules));
        if self.directories.len() == 1 {
            self.gather_macros();
        }
        Ok(())
    }

    /// Of what is said about a macro more than once, the last counts.
    fn gather_macros(&mut self) {
        let directories = self.directories.iter().map(|(_, rules)| rules);
        let all = self.machine.iter().chain(directories).chain([&self.repository]);
        let macros = all.flatten().filter_map(|rule| match rule.subject {
            RuleSubject::Macro(number) => Some((number, rule.states.clone())),
            RuleSubject::Paths(_) => None,
        });
        self.macros = macros.collect();
    }

    /// The walk is back where it is inside of so many directories, the root among them.
    pub fn leave_to(&mut self, depth: usize) {
        self.directories.truncate(depth);
    }

    /// What is said about a path where the walk stands; that of a directory ends with a slash.
    pub fn of(&self, path: &BStr) -> Found<'_> {
        let mut found = Found { attributes: self, states: vec![None; self.numbers.len()] };
        let machine = self.machine.iter().map(|rules| (BStr::new(""), rules));
        let directories = self.directories.iter().map(|(bytes, rules)| {
            let below = path.get(..*bytes).unwrap_or_default();
            (BStr::new(below), rules)
        });
        let all: Vec<(&BStr, &Vec<Rule>)> =
            machine.chain(directories).chain([(BStr::new(""), &self.repository)]).collect();
        for (below, rules) in all.into_iter().rev() {
            for rule in rules.iter().rev() {
                match &rule.subject {
                    RuleSubject::Paths(pattern) if pattern.fits(below, path) => {
                        found.fill(&rule.states);
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

impl<'a> Found<'a> {
    /// Takes states over, the last one first, where nothing is known yet.
    fn fill(&mut self, states: &'a [(usize, State)]) {
        let mut waiting: Vec<&'a (usize, State)> = states.iter().collect();
        while let Some((number, state)) = waiting.pop() {
            let known = &mut self.states[*number];
            if known.is_none() {
                *known = Some(state);
                let macros = &self.attributes.macros;
                if let Some(more) = macros.get(number).filter(|_| *state == State::Set) {
                    waiting.extend(more.iter());
                }
            }
        }
    }

    fn state(&self, name: &str) -> Option<&'a State> {
        let number = self.attributes.numbers.get(BStr::new(name))?;
        self.states[*number]
    }

    /// Whether an attribute is set, without a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.state(name) == Some(&State::Set)
    }

    /// Whether an attribute is unset (`-name`).
    pub fn is_unset(&self, name: &str) -> bool {
        self.state(name) == Some(&State::Unset)
    }

    /// The value an attribute is set to, if it is to one.
    pub fn value(&self, name: &str) -> Option<&'a BStr> {
        self.state(name).and_then(lines::value)
    }
}

fn check_size(bytes: u64, what: &str) -> Result<(), Error> {
    match bytes <= FILE_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::Refused(format!("{what} has more than {FILE_BYTES_MAX} bytes"))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::archive) fn attributes(
        machine: &str,
        directories: &[(&str, &str)],
        repository: &str,
    ) -> Attributes {
        let mut attributes = Attributes::read(&Outside::default()).expect("nothing to read");
        let rules = attributes.rules(lines::read(machine.as_bytes(), true));
        attributes.machine.push(rules);
        for (path, text) in directories {
            let macros = attributes.directories.is_empty();
            let rules = attributes.rules(lines::read(text.as_bytes(), macros));
            attributes.directories.push((path.len(), rules));
        }
        attributes.repository = attributes.rules(lines::read(repository.as_bytes(), true));
        attributes.gather_macros();
        attributes
    }

    #[test]
    fn what_is_nearer_counts_more_and_the_repository_most() {
        let tree = [("", "*.c a=root b=root\n*.c a=last\n"), ("d", "*.c b=d c=d\n")];
        let attributes = attributes("*.c z=machine a=machine\n", &tree, "*.c c=repository\n");
        let found = attributes.of("d/x.c".into());
        let value = |name| found.value(name).map(ToString::to_string);
        assert_eq!(value("a").as_deref(), Some("last"));
        assert_eq!(value("b").as_deref(), Some("d"));
        assert_eq!(value("c").as_deref(), Some("repository"));
        assert_eq!(value("z").as_deref(), Some("machine"));
        assert_eq!(value("unheard"), None);
    }

    #[test]
    fn macros_stand_for_others_when_they_are_set() {
        let root = "[attr]mine text eol=crlf\n*.bin binary\n*.m mine\n*.m -eol\n*.n -mine\n";
        let attributes = attributes("", &[("", root), ("d", "[attr]mine -text\n")], "");
        let found = attributes.of("x.bin".into());
        assert!(found.is_set("binary") && found.is_unset("text") && found.is_unset("diff"));
        let found = attributes.of("d/x.m".into());
        assert!(found.is_set("text") && found.is_unset("eol"));
        let found = attributes.of("x.n".into());
        assert!(found.is_unset("mine") && !found.is_set("text") && !found.is_unset("text"));
    }
}
