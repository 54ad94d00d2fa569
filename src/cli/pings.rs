//! A ping file in memory, sorted by time, with its bad rows told.

use anyhow::Context as _;

use super::output::{count, grouped, note};
use super::progress::Progress;
use crate::domain::{EventTime, Ping};
use crate::files::{self, PingProblem, PingReader, Pseudonyms, RowTally, Towers};

/// Bad rows that are reported one by one; further ones are only counted.
const BAD_ROWS_TOLD: u64 = 20;

/// What a ping file held.
pub(super) struct PingFile {
    /// Sorted by time, ties in file order.
    pub(super) pings: Vec<Ping>,
    /// How the rows fared.
    pub(super) tally: RowTally,
    /// The time of the last ping, rejected ones included.
    pub(super) last_at: EventTime,
}

/// The name of a file as messages carry it.
pub(super) fn shown(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// Reads a tower file where one is given.
pub(super) fn read_towers(path: Option<&str>) -> anyhow::Result<Option<Towers>> {
    let Some(path) = path else { return Ok(None) };
    let (towers, report) = files::open(path)
        .and_then(files::read_towers)
        .with_context(|| format!("the towers in {}", shown(path)))?;
    for (line, bad) in &report.first_bad {
        note(&format!("hexcast: {}: line {line}: {bad}", shown(path)));
    }
    if report.bad > report.first_bad.len() as u64 {
        note(&format!("hexcast: {}: {} bad rows in all", shown(path), grouped(report.bad)));
    }
    Ok(Some(towers))
}

/// Reads a ping file whole; bad rows go to standard error.
pub(super) fn read(path: &str, names: &mut Pseudonyms, towers: Option<&Towers>) -> anyhow::Result<PingFile> {
    let name = || format!("the pings in {}", shown(path));
    let input = files::open(path).with_context(name)?;
    let reader = PingReader::new(input, names, towers).with_context(name)?;
    let mut file = PingFile { pings: Vec::new(), tally: RowTally::default(), last_at: EventTime::BEFORE_ALL };
    let mut progress = Progress::new("reading pings", None);
    for row in reader {
        let row = row.with_context(name)?;
        file.tally.count(&row.result);
        progress.step();
        match row.result {
            Ok(ping) => {
                file.last_at = file.last_at.max(ping.at);
                file.pings.push(ping);
            }
            Err(PingProblem::Rejected { at, .. }) => file.last_at = file.last_at.max(at),
            Err(problem @ PingProblem::Bad(_)) => {
                if file.tally.bad <= BAD_ROWS_TOLD {
                    progress.note(&format!("hexcast: {}: line {}: {problem}", shown(path), row.line));
                }
            }
        }
    }
    drop(progress);
    if file.tally.bad > BAD_ROWS_TOLD {
        let more = count(file.tally.bad - BAD_ROWS_TOLD, "further bad row", "further bad rows");
        note(&format!("hexcast: {}: {more}", shown(path)));
    }
    file.tally.verdict().with_context(name)?;
    file.pings.sort_by_key(|ping| ping.at);
    Ok(file)
}
