//! The figures, as one aligned table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::chart::{self, Bar};
use crate::fixture::Fixtures;
use crate::programs::Programs;

/// What the issue asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most this part of git's figure.
    Ratio(f64),
    /// At most so much, in the figure's unit.
    AtMost(f64),
    /// At least so much, in the figure's unit.
    AtLeast(f64),
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Instructions,
    Count,
}

/// One line of the table: the least time of all runs, since whatever else a machine does only
/// adds to it, and the median of anything else.
#[derive(Debug)]
struct Row {
    suite: String,
    case: String,
    measure: &'static str,
    unit: Unit,
    packhorse: Option<f64>,
    git: Option<f64>,
    goals: Vec<Goal>,
}

/// Everything measured in this run.
#[derive(Debug)]
pub(crate) struct Report {
    title: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    /// Goals mean nothing where git stands in for Packhorse.
    with_goals: bool,
}

/// Figures of both sides, run by run.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) unit: Unit,
    pub(crate) packhorse: Vec<f64>,
    pub(crate) git: Vec<f64>,
}

impl Report {
    pub(crate) fn new(
        programs: &Programs,
        fixtures: &Fixtures,
        arguments: &Arguments,
    ) -> Outcome<Self> {
        let (packhorse, git) = programs.versions()?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let repository = format!("{}, {} objects", fixtures.name, fixtures.objects);
        let title = vec![
            ("packhorse", packhorse),
            ("git", git),
            ("repository", repository),
            ("runs", arguments.runs.to_string()),
            ("cpus", cpus.to_string()),
        ];
        Ok(Report { title, rows: Vec::new(), with_goals: !arguments.self_check })
    }

    /// Adds one line.
    pub(crate) fn add(
        &mut self,
        suite: &str,
        case: &str,
        measure: &'static str,
        figures: Figures,
        goals: &[Goal],
    ) {
        let typical = match figures.unit {
            Unit::Seconds => least,
            Unit::Bytes | Unit::Instructions | Unit::Count => median,
        };
        let row = Row {
            suite: suite.to_owned(),
            case: case.to_owned(),
            measure,
            unit: figures.unit,
            packhorse: typical(figures.packhorse),
            git: typical(figures.git),
            goals: if self.with_goals { goals.to_vec() } else { Vec::new() },
        };
        // A long run may be broken off.
        eprintln!("bench: {}", row.cells().join("  ").trim_end());
        self.rows.push(row);
    }

    /// The table, under lines that say what was measured on what.
    pub(crate) fn table(&self) -> String {
        let head = ["suite", "case", "measure", "packhorse", "git", "ratio", "goal", ""];
        let mut cells = vec![head.map(str::to_owned)];
        cells.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| {
            cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut text = String::new();
        for (name, value) in &self.title {
            let _ = writeln!(text, "{name:<11} {value}");
        }
        text.push('\n');
        for row in &cells {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                // Figures to the right, words to the left.
                let _ = match column {
                    3..=5 => write!(line, "{cell:>width$}  "),
                    _ => write!(line, "{cell:<width$}  "),
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// One suite as a picture; `None` when there is nothing to compare in it.
    pub(crate) fn chart(&self, suite: &str) -> Option<String> {
        let rows = self.rows.iter().filter(|row| row.suite == suite);
        let bars: Vec<Bar> = rows.filter_map(Row::bar).collect();
        let subtitle: Vec<&str> =
            self.title.iter().map(|(_, value)| value.as_str()).take(3).collect();
        let title = format!("{suite}: Packhorse as a part of git (shorter is better; | goal)");
        (!bars.is_empty()).then(|| chart::draw(&title, &subtitle.join(" · "), &bars))
    }

    /// The same figures in seconds and bytes.
    pub(crate) fn json(&self) -> String {
        let title: Vec<String> = self
            .title
            .iter()
            .map(|(name, value)| format!("{}: {}", quote(name), quote(value)))
            .collect();
        let rows: Vec<String> = self.rows.iter().map(Row::json).collect();
        format!(
            "{{\n  {},\n  \"rows\": [\n    {}\n  ]\n}}\n",
            title.join(",\n  "),
            rows.join(",\n    ")
        )
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.packhorse.zip(self.git).filter(|(_, git)| *git > 0.0).map(|(ours, git)| ours / git)
    }

    fn bar(&self) -> Option<Bar> {
        let goal = self.goals.iter().find_map(|goal| match goal {
            Goal::Ratio(most) => Some(*most),
            Goal::AtMost(bound) | Goal::AtLeast(bound) => {
                self.git.filter(|git| *git > 0.0).map(|git| bound / git)
            }
        });
        let figure = |value: Option<f64>| value.map_or("-".into(), |value| show(value, self.unit));
        Some(Bar {
            label: format!("{}, {}", self.case, self.measure),
            figures: format!("{} / {}", figure(self.packhorse), figure(self.git)),
            ratio: self.ratio()?,
            goal,
        })
    }

    /// Whether all goals are reached; `None` without a goal or a figure.
    fn reached(&self) -> Option<bool> {
        let reached = |goal: &Goal| match goal {
            Goal::Ratio(most) => self.ratio().map(|ratio| ratio <= *most),
            Goal::AtMost(most) => self.packhorse.map(|figure| figure <= *most),
            Goal::AtLeast(least) => self.packhorse.map(|figure| figure >= *least),
        };
        let verdicts: Option<Vec<bool>> = self.goals.iter().map(reached).collect();
        verdicts.filter(|all| !all.is_empty()).map(|all| all.into_iter().all(|one| one))
    }

    fn cells(&self) -> [String; 8] {
        let goals = self.goals.iter().map(|goal| match goal {
            Goal::Ratio(most) => format!("<= {most}x"),
            Goal::AtMost(most) => format!("<= {}", show(*most, self.unit)),
            Goal::AtLeast(least) => format!(">= {}", show(*least, self.unit)),
        });
        let figure = |value: Option<f64>| value.map_or("-".into(), |value| show(value, self.unit));
        let verdict = match self.reached() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        [
            self.suite.clone(),
            self.case.clone(),
            self.measure.to_owned(),
            figure(self.packhorse),
            figure(self.git),
            self.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}x")),
            goals.collect::<Vec<_>>().join(", "),
            verdict.to_owned(),
        ]
    }

    fn json(&self) -> String {
        let unit = match self.unit {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Instructions => "instructions",
            Unit::Count => "count",
        };
        let number = |value: Option<f64>| value.map_or("null".into(), |value| format!("{value}"));
        let reached = self.reached().map_or("null".into(), |reached| reached.to_string());
        format!(
            "{{\"suite\": {}, \"case\": {}, \"measure\": {}, \"unit\": \"{unit}\", \
             \"packhorse\": {}, \"git\": {}, \"ratio\": {}, \"reached\": {reached}}}",
            quote(&self.suite),
            quote(&self.case),
            quote(self.measure),
            number(self.packhorse),
            number(self.git),
            number(self.ratio())
        )
    }
}

fn least(values: Vec<f64>) -> Option<f64> {
    values.into_iter().min_by(f64::total_cmp)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value >= 1.0 => format!("{value:.2} s"),
        Unit::Seconds if value < 0.0001 => format!("{:.0} us", value * 1e6),
        Unit::Seconds => format!("{:.1} ms", value * 1000.0),
        Unit::Count => format!("{value:.0}"),
        Unit::Instructions => format!("{:.2} million", value / 1e6),
        Unit::Bytes if value < f64::from(1 << 20) => format!("{:.1} KiB", value / 1024.0),
        Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Seconds of a duration, as figures are kept.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_its_ratio_and_whether_the_goal_is_reached() {
        let mut report =
            Report { title: vec![("git", "2".into())], rows: Vec::new(), with_goals: true };
        let unit = Unit::Seconds;
        let figures = Figures { unit, packhorse: vec![0.3, 9.0, 0.2], git: vec![1.0, 1.1] };
        report.add("clone", "plain", "CPU", figures, &[Goal::Ratio(0.5)]);
        let table = report.table();
        for part in ["200.0 ms", "1.00 s", "0.20x", "<= 0.5x", "reached"] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        assert!(report.json().contains("\"ratio\": 0.2,"), "{}", report.json());
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(quote("a\"b\\\n"), "\"a\\\"b\\\\\\u000a\"");
    }
}
