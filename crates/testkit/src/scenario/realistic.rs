//! A generated project: nested folders, files that grow and change by a few
//! lines, topic branches with merges, releases with annotated tags.
//!
//! What matters is that the proportions are those of a project: per commit one
//! or two files, four or five trees, deltas a few lines long.

use std::collections::HashMap;

use super::{Change, FastImport, Mark, Scenario};
use crate::Random;

const WORDS: &[&str] = &[
    "object", "index", "pack", "delta", "commit", "parent", "branch", "return", "if", "while",
    "match", "buffer", "length", "offset", "result", "error", "stream", "packet", "refs", "walk",
    "struct", "static", "const", "int", "char", "unsigned", "size_t", "for", "else", "break",
    "include", "define", "option", "config", "value", "entry", "lookup", "insert", "remove",
    "next",
];
const FOLDERS: &[&str] =
    &["src", "lib", "include", "docs", "tests", "tools", "core", "net", "io", "data", "api", "cli"];
const FOLDER_DEPTH_MAX: usize = 5;
const COMMITS_PER_RELEASE: usize = 400;
const OPEN_TOPICS_MAX: usize = 6;

impl Scenario {
    /// A project-like repository of about `objects` objects, the same for equal seeds.
    ///
    /// It is repacked with a delta search. 10,000 objects take about a second.
    pub fn realistic(objects: usize, seed: u64) -> Self {
        Scenario::new(move |import| Project::new(import, seed).grow(objects)).repacked()
    }
}

#[derive(Clone)]
struct File {
    lines: Vec<String>,
    mark: Mark,
}

/// A topic branch: what it changed since it left `main`, by file number.
struct Topic {
    name: String,
    tip: Mark,
    changed: HashMap<usize, File>,
}

struct Project<'a, 'w> {
    import: &'a mut FastImport<'w>,
    random: Random,
    folders: Vec<String>,
    paths: Vec<String>,
    files: Vec<File>,
    main: Option<Mark>,
    topics: Vec<Topic>,
    objects: usize,
    commits: usize,
    releases: usize,
}

impl<'a, 'w> Project<'a, 'w> {
    fn new(import: &'a mut FastImport<'w>, seed: u64) -> Self {
        Project {
            import,
            random: Random::new(seed),
            folders: FOLDERS.iter().map(|&folder| folder.to_owned()).collect(),
            paths: Vec::new(),
            files: Vec::new(),
            main: None,
            topics: Vec::new(),
            objects: 0,
            commits: 0,
            releases: 0,
        }
    }

    fn grow(&mut self, objects: usize) {
        self.add_files(20);
        while self.objects < objects {
            match self.random.below(10) {
                0 if self.topics.len() < OPEN_TOPICS_MAX => self.open_topic(),
                1..=3 if !self.topics.is_empty() => self.advance_topic(),
                4 if !self.topics.is_empty() => self.merge_topic(),
                5 => {
                    let count = 1 + self.random.below(3);
                    self.add_files(count);
                }
                _ => self.edit_main(),
            }
            if self.commits / COMMITS_PER_RELEASE > self.releases {
                self.release();
            }
        }
    }

    fn add_files(&mut self, count: usize) {
        let first = self.files.len();
        for _ in 0..count {
            let path = self.new_path();
            let lines: Vec<String> =
                (0..10 + self.random.below(120)).map(|_| self.line()).collect();
            let mark = self.import.blob(lines.concat());
            self.paths.push(path);
            self.files.push(File { lines, mark });
        }
        let numbers: Vec<usize> = (first..self.files.len()).collect();
        let marks: Vec<Mark> = numbers.iter().map(|&n| self.files[n].mark).collect();
        let parents: Vec<Mark> = self.main.into_iter().collect();
        self.main = Some(self.commit("main", "Add", &parents, &numbers, &marks));
    }

    fn edit_main(&mut self) {
        let numbers = self.some_files();
        let mut marks = Vec::new();
        for &number in &numbers {
            let file = self.edited(self.files[number].clone());
            marks.push(file.mark);
            self.files[number] = file;
        }
        let parents: Vec<Mark> = self.main.into_iter().collect();
        self.main = Some(self.commit("main", "Improve", &parents, &numbers, &marks));
    }

    fn open_topic(&mut self) {
        let name = format!("topic/{}-{}", self.random.pick(WORDS), self.commits);
        let tip = self.main.expect("the project starts on main");
        self.topics.push(Topic { name, tip, changed: HashMap::new() });
        let at = self.topics.len() - 1;
        self.advance(at);
    }

    fn advance_topic(&mut self) {
        let at = self.random.below(self.topics.len());
        self.advance(at);
    }

    fn advance(&mut self, at: usize) {
        let numbers = self.some_files();
        let mut marks = Vec::new();
        for &number in &numbers {
            let before = self.topics[at].changed.get(&number).unwrap_or(&self.files[number]);
            let file = self.edited(before.clone());
            marks.push(file.mark);
            self.topics[at].changed.insert(number, file);
        }
        let (name, tip) = (self.topics[at].name.clone(), self.topics[at].tip);
        self.topics[at].tip = self.commit(&name, "Work on", &[tip], &numbers, &marks);
    }

    /// Merges a topic; where both sides changed a file, the topic's version wins.
    fn merge_topic(&mut self) {
        let topic = self.topics.swap_remove(self.random.below(self.topics.len()));
        let mut changed: Vec<(usize, File)> = topic.changed.into_iter().collect();
        changed.sort_unstable_by_key(|(number, _)| *number);
        let numbers: Vec<usize> = changed.iter().map(|(number, _)| *number).collect();
        let marks: Vec<Mark> = changed.iter().map(|(_, file)| file.mark).collect();
        let main = self.main.expect("the project starts on main");
        self.main = Some(self.commit("main", "Merge", &[main, topic.tip], &numbers, &marks));
        // The topic's blobs were counted when they were made.
        self.objects -= numbers.len();
        for (number, file) in changed {
            self.files[number] = file;
        }
    }

    fn release(&mut self) {
        self.releases += 1;
        let tip = self.main.expect("the project starts on main");
        let name = format!("v{}.{}", self.releases / 10, self.releases % 10);
        self.import.tag(&name, tip, &format!("Release {name}\n"));
        self.objects += 1;
    }

    /// Writes one commit and counts the objects it makes: itself, its blobs, its changed trees.
    fn commit(
        &mut self,
        branch: &str,
        verb: &str,
        parents: &[Mark],
        numbers: &[usize],
        marks: &[Mark],
    ) -> Mark {
        let message = format!("{verb} {}\n\n{}", self.random.pick(WORDS), self.line());
        let paths: Vec<&str> = numbers.iter().map(|&n| self.paths[n].as_str()).collect();
        let mut trees: Vec<&str> = paths.iter().flat_map(|path| ancestors(path)).collect();
        trees.sort_unstable();
        trees.dedup();
        self.objects += 1 + marks.len() + trees.len();
        self.commits += 1;
        let changes: Vec<Change<'_>> = paths
            .iter()
            .zip(marks)
            .map(|(path, mark)| Change::File(path.as_bytes(), *mark))
            .collect();
        self.import.commit(branch, &message, parents, &changes)
    }

    fn edited(&mut self, mut file: File) -> File {
        for _ in 0..1 + self.random.below(3) {
            let at = self.random.below(file.lines.len());
            let line = self.line();
            match self.random.below(4) {
                0 if file.lines.len() > 5 => drop(file.lines.remove(at)),
                1 | 2 => file.lines.insert(at, line),
                _ => file.lines[at] = line,
            }
        }
        // No two revisions alike, so that every edit is an object.
        file.lines.push(format!("// change {}\n", self.objects + self.commits));
        if file.lines.len() > 200 {
            file.lines.drain(..20);
        }
        file.mark = self.import.blob(file.lines.concat());
        file
    }

    fn some_files(&mut self) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..1 + self.random.below(3))
            .map(|_| {
                // Recent files change more often than old ones.
                let (a, b) =
                    (self.random.below(self.files.len()), self.random.below(self.files.len()));
                a.max(b)
            })
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn new_path(&mut self) -> String {
        if self.random.one_in(12) {
            let parent = self.random.pick(&self.folders).clone();
            if parent.split('/').count() < FOLDER_DEPTH_MAX {
                let name = self.random.pick(WORDS);
                self.folders.push(format!("{parent}/{name}"));
            }
        }
        let folder = self.random.pick(&self.folders).clone();
        format!("{folder}/{}_{}.c", self.random.pick(WORDS), self.files.len())
    }

    fn line(&mut self) -> String {
        let mut line = "\t".repeat(self.random.below(4));
        for _ in 0..3 + self.random.below(6) {
            line.push_str(self.random.pick::<&str>(WORDS));
            line.push(' ');
        }
        line.push_str(&format!("{:x};\n", self.random.below(4096)));
        line
    }
}

/// The folders a path lies in, `""` for the root among them.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([""])
}
