//! Everything that reads and writes hexcast's files: bytes to domain types and back.
//!
//! It exists so that no other room knows what a ping, action, match or tower looks like as
//! text. It never decides what an alert may do (that is the desk's) and never reads a clock.
//! Invariant: memory is bounded by `limits` whatever the input holds, and no input panics;
//! what cannot be read is named with its line, in one line of text.

mod actions;
mod alert_json;
#[cfg(test)]
mod alert_tests;
mod alert_write;
mod csv;
mod io;
mod matches;
mod names;
mod pings;
mod towers;

pub use actions::{ActionFile, ParsedAction, TimedAction, parse_action_json, read_actions};
pub use alert_json::{AlertJsonError, ParsedAlert, parse_alert_json};
pub use alert_write::{alert_to_json, area_to_json, policy_to_json};
pub use io::{FileOut, create, open};
pub use matches::write_match_line;
pub use names::Pseudonyms;
pub use pings::{BadRow, PingLine, PingProblem, PingReader, RowTally};
pub use towers::{BadTower, Tower, TowerKey, TowerReport, Towers, read_towers};

use crate::limits::{ACTIONS_MAX, CSV_LINE_BYTES_MAX, TOWERS_MAX};

/// Why a whole file was given up. Each message is one line; the caller knows the file's name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or made.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Reading failed on the way: a disk error, or a damaged `.gz`.
    #[error("line {line}: cannot be read: {source}")]
    Read {
        /// The line that was being read, counted from 1.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// No line at all.
    #[error("the file is empty: its first line must name the columns, such as device,at,lat,lon")]
    NoHeader,
    /// The header line is no CSV or too long.
    #[error(
        "line {line}: the header cannot be read: it must be a line of at most {CSV_LINE_BYTES_MAX} bytes such as device,at,lat,lon"
    )]
    BadHeader {
        /// The header's line.
        line: u64,
    },
    /// Columns that the header must name and does not.
    #[error(
        "line {line}: the header lacks {missing}: it must name device, at, and lat and lon (or tower), and may name accuracy_m"
    )]
    MissingColumns {
        /// The header's line.
        line: u64,
        /// What is missing.
        missing: String,
    },
    /// A column named twice.
    #[error("line {line}: the header names {column} twice")]
    DuplicateColumn {
        /// The header's line.
        line: u64,
        /// The column.
        column: String,
    },
    /// Pings by tower, and no tower file.
    #[error("line {line}: the file places its pings by tower: give the towers too, with --towers FILE")]
    NeedsTowers {
        /// The header's line.
        line: u64,
    },
    /// More bad rows than the rules allow.
    #[error("{bad} of {rows} rows cannot be read, more than 1 %")]
    TooManyBad {
        /// Bad rows.
        bad: u64,
        /// All rows.
        rows: u64,
    },
    /// Not one row that can be read.
    #[error("no good row: none of {rows} rows can be read")]
    NoGoodRow {
        /// All rows.
        rows: u64,
    },
    /// A line of an action file that is no action.
    #[error("line {line}: {problem}")]
    Action {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: AlertJsonError,
    },
    /// More actions than are held.
    #[error("line {line}: more than {ACTIONS_MAX} actions: split the file")]
    TooManyActions {
        /// The first line too many.
        line: u64,
    },
    /// A tower file without one readable tower.
    #[error(
        "no tower can be read ({bad} bad rows): an OpenCelliD file has rows such as GSM,302,720,8100,47553,0,-122.8506,49.2311,8702"
    )]
    NoTowers {
        /// Bad rows.
        bad: u64,
    },
    /// More towers than are held.
    #[error("line {line}: more than {TOWERS_MAX} towers: keep the countries that you need")]
    TooManyTowers {
        /// The first line too many.
        line: u64,
    },
}
