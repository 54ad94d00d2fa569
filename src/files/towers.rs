//! Tower files: OpenCelliD's CSV into a table from tower to position and reach.
//!
//! It holds what pings by tower need and nothing else of the file.

use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;
use std::str::FromStr;

use super::FileError;
use super::csv::Row;
use super::io::{Line, Lines, one_line};
use crate::domain::{Position, PositionError};
use crate::limits::{ACCURACY_M_MAX, CSV_LINE_BYTES_MAX, TOWERS_MAX, WARNINGS_MAX};

/// A tower's identity, written `MCC-MNC-AREA-CELL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TowerKey {
    /// Mobile country code.
    pub mcc: u16,
    /// Mobile network code (CDMA: system id). `00` and `0` are one.
    pub net: u16,
    /// Location or tracking area code.
    pub area: u32,
    /// Cell identity; for LTE and NR the full ECI or NCI.
    pub cell: u64,
}

/// A text that is no [`TowerKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tower is written MCC-MNC-AREA-CELL, such as 302-720-8100-47553")]
pub struct TowerKeyError;

impl FromStr for TowerKey {
    type Err = TowerKeyError;

    fn from_str(text: &str) -> Result<Self, TowerKeyError> {
        let mut parts = text.split('-');
        let key = Self {
            mcc: decimal(parts.next()).ok_or(TowerKeyError)?,
            net: decimal(parts.next()).ok_or(TowerKeyError)?,
            area: decimal(parts.next()).ok_or(TowerKeyError)?,
            cell: decimal(parts.next()).ok_or(TowerKeyError)?,
        };
        if parts.next().is_some() { Err(TowerKeyError) } else { Ok(key) }
    }
}

/// Digits alone: `parse` would take a sign too.
fn decimal<T: FromStr>(text: Option<&str>) -> Option<T> {
    text.filter(|t| t.bytes().all(|c| c.is_ascii_digit()))?.parse().ok()
}

impl fmt::Display for TowerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.mcc, self.net, self.area, self.cell)
    }
}

/// Where a tower stands and how far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tower {
    /// Where.
    pub position: Position,
    /// Coverage radius, metres, 1 to 100,000.
    pub range_m: u32,
}

/// The towers of a file.
#[derive(Clone, Debug, Default)]
pub struct Towers(HashMap<TowerKey, Tower, foldhash::fast::RandomState>);

impl Towers {
    /// Finds a tower.
    pub fn get(&self, key: TowerKey) -> Option<Tower> {
        self.0.get(&key).copied()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (TowerKey, Tower)> {
        self.0.iter().map(|(key, tower)| (*key, *tower))
    }

    /// How many towers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a row gave no tower.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadTower {
    /// A stray quote, a line too long, or bytes that are no text.
    #[error("not a line of CSV of at most {CSV_LINE_BYTES_MAX} bytes of UTF-8")]
    Unreadable,
    /// A field that must be given and is not what it must be.
    #[error("{column} \"{text}\" is not {want}")]
    Field {
        /// The column.
        column: &'static str,
        /// What stands there.
        text: String,
        /// What should.
        want: &'static str,
    },
    /// An impossible position.
    #[error(transparent)]
    Position(#[from] PositionError),
}

/// How the reading went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TowerReport {
    /// Rows that gave a tower; of rows with one key the last counts.
    pub good: u64,
    /// Rows that gave none.
    pub bad: u64,
    /// The first bad rows with their lines, at most `WARNINGS_MAX` of them.
    pub first_bad: Vec<(u64, BadTower)>,
}

/// Coverage radius in metres where the file gives none (0 or empty). No standard states a usual
/// reach; these are generous ones of an open-country macro cell, so that rather too many devices
/// are found near than too few. The radio's own bound (GSM: a timing advance of 63 bits is 35 km,
/// 3GPP TS 45.010) would reach over several counties.
fn default_range_m(radio: &str) -> u32 {
    match radio.to_ascii_uppercase().as_str() {
        "UMTS" | "WCDMA" | "TDSCDMA" => 5_000,
        "LTE" | "NBIOT" => 5_000,
        "NR" => 2_000,
        // GSM, CDMA, and what we do not know.
        _ => 10_000,
    }
}

/// Where the columns stand.
struct Columns {
    radio: Option<usize>,
    mcc: usize,
    net: usize,
    area: usize,
    cell: usize,
    lon: usize,
    lat: usize,
    range: Option<usize>,
}

impl Columns {
    /// OpenCelliD's own order.
    const USUAL: Self =
        Self { radio: Some(0), mcc: 1, net: 2, area: 3, cell: 4, lon: 6, lat: 7, range: Some(8) };

    /// Of a header, if the row is one.
    fn of_header(row: &Row) -> Option<Self> {
        let find = |column: &str| row.names().position(|name| name.eq_ignore_ascii_case(column));
        Some(Self {
            mcc: find("mcc")?,
            net: find("net").or_else(|| find("mnc"))?,
            area: find("area").or_else(|| find("lac"))?,
            cell: find("cell").or_else(|| find("cellid"))?,
            lon: find("lon")?,
            lat: find("lat")?,
            radio: find("radio"),
            range: find("range"),
        })
    }
}

/// Reads a tower file. Bad rows are counted and the rest goes on; it fails where there is no
/// readable tower at all.
pub fn read_towers(input: impl BufRead) -> Result<(Towers, TowerReport), FileError> {
    let mut lines = Lines::new(input, CSV_LINE_BYTES_MAX);
    let (mut row, mut columns) = (Row::default(), Columns::USUAL);
    let (mut towers, mut report) = (Towers::default(), TowerReport::default());
    let mut first = true;
    loop {
        let split = match lines.read()? {
            None => break,
            Some(Line::Text(text)) if text.trim_ascii().is_empty() => continue,
            Some(Line::Text(text)) => row.split(text).map_err(|_| BadTower::Unreadable),
            Some(Line::TooLong) => Err(BadTower::Unreadable),
        };
        if std::mem::take(&mut first)
            && split.is_ok()
            && let Some(header) = Columns::of_header(&row)
        {
            columns = header;
            continue;
        }
        match split.and_then(|()| tower(&row, &columns)) {
            Ok((key, tower)) => {
                if towers.len() >= TOWERS_MAX && towers.get(key).is_none() {
                    return Err(FileError::TooManyTowers { line: lines.number() });
                }
                towers.0.insert(key, tower);
                report.good += 1;
            }
            Err(problem) => {
                report.bad += 1;
                if report.first_bad.len() < WARNINGS_MAX {
                    report.first_bad.push((lines.number(), problem));
                }
            }
        }
    }
    if towers.is_empty() { Err(FileError::NoTowers { bad: report.bad }) } else { Ok((towers, report)) }
}

fn tower(row: &Row, columns: &Columns) -> Result<(TowerKey, Tower), BadTower> {
    let key = TowerKey {
        mcc: whole(row, columns.mcc, "mcc")?,
        net: whole(row, columns.net, "net")?,
        area: whole(row, columns.area, "area")?,
        cell: whole(row, columns.cell, "cell")?,
    };
    let (lat, lon) = (degrees(row, columns.lat, "lat")?, degrees(row, columns.lon, "lon")?);
    let position = Position::from_degrees(lat, lon)?;
    let range = match columns.range {
        Some(field) => row.text(field).ok_or(BadTower::Unreadable)?,
        None => "",
    };
    let metres = match range {
        "" => 0.0,
        text => text.parse().ok().filter(|m: &f64| *m >= 0.0).ok_or_else(|| bad("range", text, "metres"))?,
    };
    let range_m = if metres > 0.0 {
        metres.min(f64::from(ACCURACY_M_MAX)).ceil() as u32
    } else {
        default_range_m(columns.radio.and_then(|field| row.text(field)).unwrap_or_default())
    };
    Ok((key, Tower { position, range_m }))
}

fn bad(column: &'static str, text: &str, want: &'static str) -> BadTower {
    BadTower::Field { column, text: one_line(text), want }
}

fn whole<T: FromStr>(row: &Row, field: usize, column: &'static str) -> Result<T, BadTower> {
    let text = row.text(field).ok_or(BadTower::Unreadable)?;
    decimal(Some(text)).ok_or_else(|| bad(column, text, "a whole number in its range"))
}

fn degrees(row: &Row, field: usize, column: &'static str) -> Result<f64, BadTower> {
    let text = row.text(field).ok_or(BadTower::Unreadable)?;
    text.parse().map_err(|_| bad(column, text, "a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "radio,mcc,net,area,cell,unit,lon,lat,range,samples,changeable,created,updated,averageSignal\n";

    #[test]
    fn a_real_sample_is_read_whole() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/opencellid_sample.csv");
        let (towers, report) = read_towers(super::super::open(path).unwrap()).unwrap();
        assert_eq!((report.good, report.bad), (23, 0));
        let tower = towers.get("302-720-8100-47553".parse().unwrap()).unwrap();
        assert_eq!((tower.position.lat_e7(), tower.position.lon_e7()), (492_311_000, -1_228_506_000));
        assert_eq!(tower.range_m, 8_702);
        assert_eq!(towers.get("302-720-8100-1".parse().unwrap()), None);
    }

    #[test]
    fn reach_has_defaults_and_a_bound_and_the_last_row_wins() {
        let rows = "GSM,460,0,1,1,,121.5,31.2,0,,,,,\n\
                    UMTS,460,0,1,2,,121.5,31.2,,,,,,\n\
                    LTE,460,0,1,3,,121.5,31.2,0,,,,,\n\
                    NR,460,0,1,68719476735,,121.5,31.2,,,,,,\n\
                    LTE,460,0,1,4,,121.5,31.2,250000,,,,,\n\
                    LTE,460,0,1,5,,121.5,31.2,10.2,,,,,\n\
                    LTE,460,0,1,5,,121.5,31.2,20,,,,,\n\
                    CDMA,460,0,1,6,,121.5,31.2\n";
        for file in [rows.to_owned(), format!("\u{feff}{HEADER}{rows}"), rows.replace('\n', "\r\n")] {
            let (towers, report) = read_towers(file.as_bytes()).unwrap();
            let reach = |key: &str| towers.get(key.parse().unwrap()).unwrap().range_m;
            let cells = ["1", "2", "3", "68719476735", "4", "5", "6"];
            let reaches = cells.map(|cell| reach(&format!("460-00-1-{cell}")));
            assert_eq!(reaches, [10_000, 5_000, 5_000, 2_000, 100_000, 20, 10_000]);
            assert_eq!((towers.len(), report.good, report.bad), (7, 8, 0));
        }
        let reordered = "lat,lon,cell,area,net,mcc\n31.2,121.5,9,8,7,6\n";
        let (towers, _) = read_towers(reordered.as_bytes()).unwrap();
        assert_eq!(towers.get("6-7-8-9".parse().unwrap()).unwrap().range_m, 10_000);
    }

    #[test]
    fn bad_rows_are_counted_with_their_lines() {
        let cases = [
            ("GSM,460,0,1,,0,121.5,31.2,9", "cell \"\" is not a whole number in its range"),
            ("GSM,70000,0,1,1,0,121.5,31.2,9", "mcc \"70000\" is not a whole number in its range"),
            ("GSM,460,-1,1,1,0,121.5,31.2,9", "net \"-1\" is not a whole number in its range"),
            ("GSM,460,0,+1,1,0,121.5,31.2,9", "area \"+1\" is not a whole number in its range"),
            ("GSM,460,0,1,1,0,121.5,,9", "lat \"\" is not a number"),
            ("GSM,460,0,1,1,0,NaN,31.2,9", "longitude NaN is outside [-180, 180]"),
            ("GSM,460,0,1,1,0,121.5,91,9", "latitude 91 is outside [-90, 90]"),
            ("GSM,460,0,1,1,0,121.5,31.2,-9", "range \"-9\" is not metres"),
            ("GSM,460,0,1,1,0,121.5,31.2,far", "range \"far\" is not metres"),
            ("\"GSM,460", "not a line of CSV of at most 65536 bytes of UTF-8"),
            ("nonsense", "mcc \"\" is not a whole number in its range"),
        ];
        let rows: Vec<&str> = cases.iter().map(|(row, _)| *row).collect();
        let file = format!("{HEADER}{}\nGSM,460,0,1,1,0,121.5,31.2,9", rows.join("\n"));
        let (_, report) = read_towers(file.as_bytes()).unwrap();
        assert_eq!((report.good, report.bad), (1, cases.len() as u64));
        for (i, ((row, text), (line, problem))) in cases.iter().zip(&report.first_bad).enumerate() {
            assert_eq!((*line, problem.to_string().as_str()), (i as u64 + 2, *text), "{row}");
        }
        let error = read_towers(&b"nonsense\n"[..]).unwrap_err();
        assert!(error.to_string().starts_with("no tower can be read (1 bad rows): "));
        assert!(read_towers(HEADER.as_bytes()).is_err());
    }

    #[test]
    fn keys_are_read_and_written() {
        let key: TowerKey = "460-00-4301-24576".parse().unwrap();
        assert_eq!(key, TowerKey { mcc: 460, net: 0, area: 4_301, cell: 24_576 });
        assert_eq!(key.to_string(), "460-0-4301-24576");
        for bad in ["", "1-2-3", "1-2-3-4-5", "1--3-4", "1-2-3-x", "1-2-3--4", "+1-2-3-4", "1-2-3-4 "] {
            assert_eq!(bad.parse::<TowerKey>(), Err(TowerKeyError), "{bad}");
        }
    }
}
