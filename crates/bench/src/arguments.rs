//! The command line of the benchmark.

use std::path::PathBuf;

use crate::Outcome;
use crate::suites::SUITES;

pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench [OPTIONS] [SUITE ...]

Suites: clone, concurrent, filter, shallow, fetch, refs, push, index, repack, grow,
maintain-under-load, idle, storage, instructions (all by default)

  --repo PATH      measure on this repository (a generated one by default)
  --objects N      size of the generated repository (100000)
  --runs N         measured runs of each program; the least time of each counts (5)
  --threads N      threads for index and repack (the machine's)
  --grow-to N      objects of the largest repository of grow (160000)
  --json FILE      write the figures as JSON too
  --charts DIR     draw each suite as DIR/SUITE.svg
  --note-instructions  put down the counts of the suite instructions, to compare with later
  --self-check     git stands in for packhorse: every ratio should be near 1

Packhorse is the program named by $PACKHORSE; git is the one on PATH.
";

/// Makes this program write a file to standard output and do nothing else.
pub(crate) const COPY_FILE: &str = "--copy-file";

const OBJECTS_DEFAULT: usize = 100_000;
const RUNS_DEFAULT: usize = 5;
const GROW_TO_DEFAULT: usize = 160_000;

/// What to measure, and how often.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) repo: Option<PathBuf>,
    pub(crate) objects: usize,
    pub(crate) runs: usize,
    pub(crate) threads: usize,
    pub(crate) grow_to: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) charts: Option<PathBuf>,
    pub(crate) note_instructions: bool,
    pub(crate) self_check: bool,
    pub(crate) suites: Vec<String>,
}

impl Arguments {
    /// `None` when help is wanted.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut arguments = Arguments {
            repo: None,
            objects: OBJECTS_DEFAULT,
            runs: RUNS_DEFAULT,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            grow_to: GROW_TO_DEFAULT,
            json: None,
            charts: None,
            note_instructions: false,
            self_check: false,
            suites: Vec::new(),
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "-h" | "--help" => return Ok(None),
                "--repo" => arguments.repo = Some(value()?.into()),
                "--objects" => arguments.objects = count(&word, &value()?)?,
                "--runs" => arguments.runs = count(&word, &value()?)?,
                "--threads" => arguments.threads = count(&word, &value()?)?,
                "--grow-to" => arguments.grow_to = count(&word, &value()?)?,
                "--json" => arguments.json = Some(value()?.into()),
                "--charts" => arguments.charts = Some(value()?.into()),
                "--note-instructions" => arguments.note_instructions = true,
                "--self-check" => arguments.self_check = true,
                suite if SUITES.contains(&suite) => arguments.suites.push(word),
                _ => return Err(format!("unknown argument {word:?}\n\n{USAGE}").into()),
            }
        }
        if arguments.suites.is_empty() {
            arguments.suites = SUITES.iter().map(|&suite| suite.to_owned()).collect();
        }
        Ok(Some(arguments))
    }
}

fn count(option: &str, value: &str) -> Outcome<usize> {
    match value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{option} needs a positive number, not {value:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Option<Arguments>> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn suites_and_options_mix() {
        let arguments = parse("clone --runs 3 refs --self-check").unwrap().unwrap();
        assert_eq!((arguments.suites.len(), arguments.runs), (2, 3));
        assert!(arguments.self_check);
        assert_eq!(parse("").unwrap().unwrap().suites.len(), SUITES.len());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--runs 0", "--runs", "clones", "--repo"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
