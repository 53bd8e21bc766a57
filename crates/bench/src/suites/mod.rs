//! The suites: what is asked of both programs, in turn.

mod clone;
mod concurrent;
mod fetch;
mod filter;
mod grow;
mod idle;
mod index;
mod instructions;
mod maintain;
mod push;
mod refs;
mod repack;
mod shallow;
mod storage;
mod watch;

use std::path::Path;
use std::process::Child;

use testkit::ServerProcess;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::cost::{self, Answer, Cost};
use crate::fixture::Fixtures;
use crate::programs::{Programs, Side};
use crate::protocol::Client;
use crate::report::{Figures, Goal, Report, Unit, seconds};
use crate::transport::Streams;

/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// Names of all suites, in the order of the table.
pub(crate) const SUITES: &[&str] = &[
    "clone",
    "concurrent",
    "filter",
    "shallow",
    "fetch",
    "refs",
    "push",
    "index",
    "repack",
    "grow",
    "maintain-under-load",
    "idle",
    "storage",
    "watch",
    "instructions",
];

/// Runs one suite and adds its lines to the report.
pub(crate) fn run(
    suite: &str,
    programs: &Programs,
    fixtures: &Fixtures,
    arguments: &Arguments,
    report: &mut Report,
) -> Outcome<()> {
    let mut bench = Bench { programs, fixtures, arguments, report };
    match suite {
        "clone" => clone::run(&mut bench),
        "concurrent" => concurrent::run(&mut bench),
        "filter" => filter::run(&mut bench),
        "shallow" => shallow::run(&mut bench),
        "fetch" => fetch::run(&mut bench),
        "refs" => refs::run(&mut bench),
        "push" => push::run(&mut bench),
        "index" => index::run(&mut bench),
        "repack" => repack::run(&mut bench),
        "grow" => grow::run(&mut bench),
        "maintain-under-load" => maintain::run(&mut bench),
        "idle" => idle::run(&mut bench),
        "storage" => storage::run(&mut bench),
        "watch" => watch::run(&mut bench),
        "instructions" => instructions::run(&mut bench),
        other => Err(format!("there is no suite {other:?}").into()),
    }
}

/// What every suite works with.
pub(crate) struct Bench<'b> {
    pub(crate) programs: &'b Programs,
    pub(crate) fixtures: &'b Fixtures,
    pub(crate) arguments: &'b Arguments,
    pub(crate) report: &'b mut Report,
}

/// The cost of all measured runs of both sides.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    packhorse: Vec<Cost>,
    git: Vec<Cost>,
}

/// A column of [`Cost`] that a suite shows, with its goal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown {
    Wall(Option<Goal>),
    Cpu(Option<Goal>),
    Anonymous(Option<Goal>),
    FirstByte(Option<Goal>),
    PackSize(Option<Goal>),
}

impl Bench<'_> {
    /// Measures both sides in turn, after one run of each that does not count.
    ///
    /// The first argument of `act` tells that first run, which may check what it gets.
    pub(crate) fn in_turn(
        &self,
        mut act: impl FnMut(bool, Side) -> Outcome<Option<Cost>>,
    ) -> Outcome<Costs> {
        let mut costs = Costs::default();
        for run in 0..=self.arguments.runs {
            for (side, list) in
                [(Side::Packhorse, &mut costs.packhorse), (Side::Git, &mut costs.git)]
            {
                let cost = act(run == 0, side).map_err(|why| format!("{side}: {why}"))?;
                list.extend(cost.filter(|_| run > 0));
            }
        }
        Ok(costs)
    }

    /// Adds a line with the mean of all runs: what matters is what users wait on the whole.
    pub(crate) fn show_mean(&mut self, suite: &str, case: &str, costs: &Costs) {
        let mean = |costs: &[Cost]| {
            let sum: f64 = costs.iter().map(|cost| seconds(cost.wall)).sum();
            if costs.is_empty() { Vec::new() } else { vec![sum / costs.len() as f64] }
        };
        let (packhorse, git) = (mean(&costs.packhorse), mean(&costs.git));
        let figures = Figures { unit: Unit::Seconds, packhorse, git };
        self.report.add(suite, case, "mean wall", figures, &[]);
    }

    /// Asks both sides' `upload-pack` for the same; the costs are shown and handed back.
    pub(crate) fn over_streams(
        &mut self,
        (suite, case): (&str, &str),
        dir: &Path,
        shown: &[Shown],
        ask: impl Fn(&mut Client<'_>, bool) -> Outcome<Answer>,
    ) -> Outcome<Costs> {
        let costs = self.in_turn(|first, side| {
            let talk = |child: &mut Child| {
                let mut road = Streams::of(child)?;
                let mut client = Client::open(&mut road)?;
                let answer = ask(&mut client, first)?;
                client.close()?;
                Ok(answer)
            };
            cost::of_program(self.programs.upload_pack(side, dir), talk).map(Some)
        })?;
        self.show(suite, case, &costs, shown);
        Ok(costs)
    }

    /// Adds a line for each column shown.
    pub(crate) fn show(&mut self, suite: &str, case: &str, costs: &Costs, shown: &[Shown]) {
        for column in shown {
            let (measure, unit, goal) = match column {
                Shown::Wall(goal) => ("wall", Unit::Seconds, goal),
                Shown::Cpu(goal) => ("CPU", Unit::Seconds, goal),
                Shown::Anonymous(goal) => ("anonymous memory", Unit::Bytes, goal),
                Shown::FirstByte(goal) => ("first byte", Unit::Seconds, goal),
                Shown::PackSize(goal) => ("pack size", Unit::Bytes, goal),
            };
            let value = |cost: &Cost| match column {
                Shown::Wall(_) => seconds(cost.wall),
                Shown::Cpu(_) => seconds(cost.cpu),
                Shown::Anonymous(_) => cost.anonymous_bytes as f64,
                Shown::FirstByte(_) => seconds(cost.answer.first_byte),
                Shown::PackSize(_) => cost.answer.pack_bytes as f64,
            };
            let packhorse = costs.packhorse.iter().map(value).collect();
            let git = costs.git.iter().map(value).collect();
            self.report.add(
                suite,
                case,
                measure,
                Figures { unit, packhorse, git },
                goal.as_slice(),
            );
        }
    }

    /// `packhorse serve` of one repository; `None` where git stands in for Packhorse.
    pub(crate) fn serve(&self, dir: &std::path::Path) -> Option<Server> {
        let process = ServerProcess::spawn_http(self.programs.server(dir)?);
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Some(Server { process, path: format!("/{name}") })
    }
}

/// A running server, and where its one repository is found.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: ServerProcess,
    /// The repository's path in URLs, with a slash in front.
    pub(crate) path: String,
}
