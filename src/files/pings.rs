//! Ping files: CSV rows into pings, one by one.
//!
//! Rows are not sorted, stored or judged against each other here. A row that cannot be read or
//! that the rules reject is handed out with its line and never stops the next one.

use std::io::BufRead;

use super::csv::{QuoteError, Row};
use super::io::{Line, Lines, one_line};
use super::{FileError, Pseudonyms, TowerKey, Towers};
use crate::domain::{EventTime, Ping, PingReject, Position, TimeError, accuracy_m_from_f64};
use crate::limits::{BAD_ROWS_SHARE_MAX, CSV_LINE_BYTES_MAX, DEVICE_NAME_BYTES_MAX};

/// Why a row cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// More or fewer fields than the header.
    #[error("{got} fields where the header names {want}")]
    Fields {
        /// Fields of the row.
        got: usize,
        /// Fields of the header.
        want: usize,
    },
    /// A stray quote.
    #[error("a quoted field does not end before a comma or the end of its line")]
    Quote,
    /// Longer than is held.
    #[error("the line is longer than {CSV_LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Bytes that are no text.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// No device.
    #[error("device is empty")]
    DeviceEmpty,
    /// A device name above the bound.
    #[error("device has {0} bytes, more than {DEVICE_NAME_BYTES_MAX}")]
    DeviceTooLong(usize),
    /// No time.
    #[error("at: {0}")]
    Time(#[from] TimeError),
    /// No number, or one that is not finite.
    #[error("{column} \"{text}\" is not a number")]
    Number {
        /// The column.
        column: &'static str,
        /// What stands there.
        text: String,
    },
    /// No position of either kind.
    #[error("neither lat and lon nor tower is given")]
    NoPosition,
    /// No tower key.
    #[error("tower \"{0}\" is not written MCC-MNC-AREA-CELL, such as 302-720-8100-47553")]
    Tower(String),
}

/// Why a row gave no ping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingProblem {
    /// It cannot be read: a bad row.
    #[error("bad row: {0}")]
    Bad(BadRow),
    /// It can be read, and the rules reject it: not a bad row.
    #[error("rejected: {reason}")]
    Rejected {
        /// The ping's time: a replay lasts until the last ping, accepted or not.
        at: EventTime,
        /// The rule.
        reason: PingReject,
    },
}

impl From<BadRow> for PingProblem {
    fn from(bad: BadRow) -> Self {
        Self::Bad(bad)
    }
}

/// What one row gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingLine {
    /// Its line in the file, counted from 1.
    pub line: u64,
    /// The ping, or why there is none.
    pub result: Result<Ping, PingProblem>,
}

/// How the rows of a file fared, and whether that is good enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowTally {
    /// Rows that gave a ping.
    pub good: u64,
    /// Rows that can be read and that the rules reject.
    pub rejected: u64,
    /// Rows that cannot be read.
    pub bad: u64,
}

impl RowTally {
    /// Counts one row.
    pub fn count(&mut self, result: &Result<Ping, PingProblem>) {
        match result {
            Ok(_) => self.good += 1,
            Err(PingProblem::Rejected { .. }) => self.rejected += 1,
            Err(PingProblem::Bad(_)) => self.bad += 1,
        }
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.good + self.rejected + self.bad
    }

    /// At the end of the file: an error where no row can be read, or more than 1 % of all rows
    /// cannot. A ping that the rules reject is not a bad row.
    pub fn verdict(&self) -> Result<(), FileError> {
        let rows = self.rows();
        if self.good + self.rejected == 0 {
            return Err(FileError::NoGoodRow { rows });
        }
        if self.bad as f64 > rows as f64 * BAD_ROWS_SHARE_MAX {
            return Err(FileError::TooManyBad { bad: self.bad, rows });
        }
        Ok(())
    }
}

/// Where the header has the columns that are read.
struct Columns {
    device: usize,
    at: usize,
    lat_lon: Option<(usize, usize)>,
    tower: Option<usize>,
    accuracy: Option<usize>,
    count: usize,
}

impl Columns {
    fn read(line: u64, row: &Row) -> Result<Self, FileError> {
        let find = |column: &str| {
            let mut places = row.names().enumerate().filter(|(_, name)| *name == column).map(|(i, _)| i);
            match (places.next(), places.next()) {
                (Some(_), Some(_)) => Err(FileError::DuplicateColumn { line, column: column.to_owned() }),
                (place, _) => Ok(place),
            }
        };
        let (device, at) = (find("device")?, find("at")?);
        let (lat, lon, tower) = (find("lat")?, find("lon")?, find("tower")?);
        let mut missing = Vec::new();
        missing.extend(device.is_none().then_some("device"));
        missing.extend(at.is_none().then_some("at"));
        if tower.is_none() {
            missing.extend(lat.is_none().then_some("lat"));
            missing.extend(lon.is_none().then_some("lon"));
        }
        match (device, at) {
            (Some(device), Some(at)) if missing.is_empty() => Ok(Self {
                device,
                at,
                lat_lon: lat.zip(lon),
                tower,
                accuracy: find("accuracy_m")?,
                count: row.len(),
            }),
            _ => Err(FileError::MissingColumns { line, missing: missing.join(", ") }),
        }
    }
}

/// Reads a ping file, row by row. Blank lines are no rows; columns with other names are ignored.
///
/// Where a file has both positions and towers, the position of a row counts unless it is empty.
/// An empty accuracy is 0 for a position, the tower's coverage radius for a tower.
pub struct PingReader<'a, R> {
    lines: Lines<R>,
    row: Row,
    columns: Columns,
    names: &'a mut Pseudonyms,
    towers: Option<&'a Towers>,
    ended: bool,
}

impl<'a, R: BufRead> PingReader<'a, R> {
    /// Reads the header. Fails where it lacks a column, or where pings stand by tower and
    /// `towers` is not given.
    pub fn new(input: R, names: &'a mut Pseudonyms, towers: Option<&'a Towers>) -> Result<Self, FileError> {
        let mut lines = Lines::new(input, CSV_LINE_BYTES_MAX);
        let mut row = Row::default();
        loop {
            match lines.read()? {
                None => return Err(FileError::NoHeader),
                Some(Line::Text(text)) if text.trim_ascii().is_empty() => {}
                Some(Line::Text(text)) if row.split(text).is_ok() => break,
                Some(_) => return Err(FileError::BadHeader { line: lines.number() }),
            }
        }
        let columns = Columns::read(lines.number(), &row)?;
        if columns.lat_lon.is_none() && towers.is_none() {
            return Err(FileError::NeedsTowers { line: lines.number() });
        }
        Ok(Self { lines, row, columns, names, towers, ended: false })
    }

    fn next_line(&mut self) -> Result<Option<PingLine>, FileError> {
        loop {
            let split = match self.lines.read()? {
                None => return Ok(None),
                Some(Line::Text(text)) if text.trim_ascii().is_empty() => continue,
                Some(Line::Text(text)) => self.row.split(text).map_err(|QuoteError| BadRow::Quote),
                Some(Line::TooLong) => Err(BadRow::TooLong),
            };
            let result = split.map_err(PingProblem::Bad).and_then(|()| self.ping());
            return Ok(Some(PingLine { line: self.lines.number(), result }));
        }
    }

    /// Reads the row. All that can be bad is looked at before any rule.
    fn ping(&mut self) -> Result<Ping, PingProblem> {
        let (row, columns) = (&self.row, &self.columns);
        if row.len() != columns.count {
            return Err(BadRow::Fields { got: row.len(), want: columns.count }.into());
        }
        let device = row.get(columns.device);
        if device.is_empty() {
            return Err(BadRow::DeviceEmpty.into());
        }
        if device.len() > DEVICE_NAME_BYTES_MAX {
            return Err(BadRow::DeviceTooLong(device.len()).into());
        }
        let device = std::str::from_utf8(device).map_err(|_| BadRow::NotUtf8("device"))?;
        let at = EventTime::parse(text(row, columns.at, "at")?).map_err(BadRow::Time)?;
        let accuracy = match columns.accuracy {
            Some(field) if !row.get(field).trim_ascii().is_empty() => Some(number(row, field, "accuracy_m")?),
            _ => None,
        };
        let given = |field: usize| !row.get(field).trim_ascii().is_empty();
        let place = match (columns.lat_lon, columns.tower) {
            (Some((lat, lon)), tower) if tower.is_none() || given(lat) || given(lon) => {
                let (lat, lon) = (number(row, lat, "lat")?, number(row, lon, "lon")?);
                Position::from_degrees(lat, lon).map(|p| (p, 0)).map_err(|_| PingReject::Position)
            }
            (_, Some(tower)) if given(tower) => {
                let key = text(row, tower, "tower")?;
                let key = key.parse::<TowerKey>().map_err(|_| BadRow::Tower(one_line(key)))?;
                let tower = self.towers.and_then(|towers| towers.get(key)).ok_or(PingReject::Tower);
                tower.map(|tower| (tower.position, tower.range_m))
            }
            _ => return Err(BadRow::NoPosition.into()),
        };
        let reject = |reason| PingProblem::Rejected { at, reason };
        let (position, own_accuracy_m) = place.map_err(reject)?;
        let accuracy_m = match accuracy {
            Some(metres) => accuracy_m_from_f64(metres).map_err(reject)?,
            None => own_accuracy_m,
        };
        Ok(Ping { device: self.names.device(device), at, position, accuracy_m })
    }
}

/// Gives each row; an error of the file as a whole is the last item.
impl<R: BufRead> Iterator for PingReader<'_, R> {
    type Item = Result<PingLine, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_line().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn text<'a>(row: &'a Row, field: usize, column: &'static str) -> Result<&'a str, BadRow> {
    row.text(field).ok_or(BadRow::NotUtf8(column))
}

/// A number; `NaN` and `inf` are none. One too large for a double is infinite, and out of every
/// range.
fn number(row: &Row, field: usize, column: &'static str) -> Result<f64, BadRow> {
    let text = text(row, field, column)?;
    match text.parse::<f64>() {
        Ok(number) if !text.contains(['n', 'N']) => Ok(number),
        _ => Err(BadRow::Number { column, text: one_line(text) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeviceId;

    const AT: &str = "2026-05-15T12:00:00Z";
    const AT_MS: i64 = 1_778_846_400_000;

    fn towers() -> Towers {
        let csv = "GSM,302,720,8100,47553,0,-122.8506,49.2311,8702\n";
        super::super::read_towers(csv.as_bytes()).unwrap().0
    }

    fn read(file: &[u8]) -> Vec<PingLine> {
        let (mut names, towers) = (Pseudonyms::new([0; 32], 10), towers());
        let reader = PingReader::new(file, &mut names, Some(&towers)).unwrap();
        reader.map(|line| line.unwrap()).collect()
    }

    fn ping(device: u64, lat: f64, lon: f64, accuracy_m: u32) -> Ping {
        let position = Position::from_degrees(lat, lon).unwrap();
        Ping { device: DeviceId(device), at: EventTime(AT_MS), position, accuracy_m }
    }

    #[test]
    fn files_of_every_dress_give_the_same_ping() {
        let expect = ping(42, 31.2, 121.5, 0);
        for file in [
            format!("device,at,lat,lon\n42,{AT},31.2,121.5\n"),
            format!("lon,note,lat,at,device\n121.5,x,31.2,{AT_MS},42"),
            format!("\u{feff}device,at,lat,lon\r\n42,{AT},31.2,121.5\r\n"),
            format!("\"device\",\"at\",\"lat\",\"lon\"\n\"42\",\"{AT}\",\"31.2\",\"121.5\"\n"),
            format!("\n\ndevice, at, lat, lon\n\n \n42, {AT}, 31.2, 121.5\n\n"),
            format!("device,at,lat,lon,accuracy_m\n42,{AT},31.2,121.5,\n"),
            "device,at,lat,lon,accuracy_m\n42,2026-05-15T20:00:00.0009+08:00,3.12e1,+121.5,0.0\n".to_owned(),
            format!("device,at,lat,lon,tower\n42,{AT},31.2,121.5,nonsense\n"),
        ] {
            let pings = read(file.as_bytes());
            assert_eq!(pings.len(), 1, "{file}");
            assert_eq!(pings[0].result, Ok(expect), "{file}");
        }
        assert_eq!(read(format!("\ndevice,at,lat,lon\n\n42,{AT},31.2,121.5").as_bytes())[0].line, 4);
        // Extra columns need not be UTF-8.
        let mut file = format!("device,at,lat,lon,x\n42,{AT},31.2,121.5,").into_bytes();
        file.push(0xff);
        assert_eq!(read(&file)[0].result, Ok(expect));
    }

    #[test]
    fn towers_give_position_and_reach() {
        let file = format!(
            "device,at,tower,lat,lon,accuracy_m\n1,{AT},302-720-8100-47553,,,\n2,{AT},302-720-8100-47553,,,250.2\n3,{AT},302-720-8100-1,,,\n"
        );
        let results: Vec<_> = read(file.as_bytes()).into_iter().map(|l| l.result).collect();
        assert_eq!(results[0], Ok(ping(1, 49.2311, -122.8506, 8_702)));
        assert_eq!(results[1], Ok(ping(2, 49.2311, -122.8506, 251)));
        let unknown = PingProblem::Rejected { at: EventTime(AT_MS), reason: PingReject::Tower };
        assert_eq!(results[2], Err(unknown));
    }

    #[test]
    fn malformed_rows_say_what_is_wrong_and_the_rest_goes_on() {
        let long = "x".repeat(65);
        let cases = [
            (format!("1,{AT},31.2"), "bad row: 3 fields where the header names 5"),
            (format!("1,{AT},31.2,121.5,0,7"), "bad row: 6 fields where the header names 5"),
            (
                format!("\"1,{AT},31.2,121.5,0"),
                "bad row: a quoted field does not end before a comma or the end of its line",
            ),
            (
                format!("\"1\"x,{AT},31.2,121.5,0"),
                "bad row: a quoted field does not end before a comma or the end of its line",
            ),
            (format!(",{AT},31.2,121.5,0"), "bad row: device is empty"),
            (format!("\"\",{AT},31.2,121.5,0"), "bad row: device is empty"),
            (format!("{long},{AT},31.2,121.5,0"), "bad row: device has 65 bytes, more than 64"),
            (
                "1,,31.2,121.5,0".into(),
                "bad row: at: \"\" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds",
            ),
            (
                "1,noon,31.2,121.5,0".into(),
                "bad row: at: \"noon\" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds",
            ),
            (
                "1,1e12,31.2,121.5,0".into(),
                "bad row: at: \"1e12\" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds",
            ),
            (
                "1,999999999999999999,31.2,121.5,0".into(),
                "bad row: at: time 999999999999999999 ms is outside the years 0000 to 9999",
            ),
            (format!("1,{AT},NaN,121.5,0"), "bad row: lat \"NaN\" is not a number"),
            (format!("1,{AT},31.2,-inf,0"), "bad row: lon \"-inf\" is not a number"),
            (format!("1,{AT},31.2,,0"), "bad row: lon \"\" is not a number"),
            (format!("1,{AT},31°,121.5,0"), "bad row: lat \"31°\" is not a number"),
            (format!("1,{AT},\"31,2\",121.5,0"), "bad row: lat \"31,2\" is not a number"),
            (format!("1,{AT},31.2,121.5,near"), "bad row: accuracy_m \"near\" is not a number"),
            (format!("1,{AT},31.2,121.5,nan"), "bad row: accuracy_m \"nan\" is not a number"),
            // Bad goes before rejected.
            (format!("1,{AT},91,121.5,x"), "bad row: accuracy_m \"x\" is not a number"),
            ("x".repeat(CSV_LINE_BYTES_MAX + 1), "bad row: the line is longer than 65536 bytes"),
            (format!("1,{AT},90.00000001,0,0"), "rejected: position outside [-90, 90] x [-180, 180]"),
            (format!("1,{AT},0,-180.1,0"), "rejected: position outside [-90, 90] x [-180, 180]"),
            (format!("1,{AT},1e999,0,0"), "rejected: position outside [-90, 90] x [-180, 180]"),
            (format!("1,{AT},31.2,121.5,-1"), "rejected: accuracy outside [0, 100000] m"),
            (format!("1,{AT},31.2,121.5,100000.1"), "rejected: accuracy outside [0, 100000] m"),
        ];
        let mut file = "device,at,lat,lon,accuracy_m\n".to_owned();
        for (row, _) in &cases {
            file.push_str(row);
            file.push('\n');
        }
        file.push_str(&format!("\"a\"\"b\",{AT},-90,180,100000"));
        let lines = read(file.as_bytes());
        assert_eq!(lines.len(), cases.len() + 1);
        for (i, ((row, text), line)) in cases.iter().zip(&lines).enumerate() {
            assert_eq!(line.line, i as u64 + 2);
            assert_eq!(line.result.as_ref().unwrap_err().to_string(), *text, "{row:.80}");
        }
        assert!(lines.last().unwrap().result.is_ok());

        let bad = |file: &[u8]| read(file)[0].result.as_ref().unwrap_err().to_string();
        assert_eq!(bad(b"device,at,lat,lon\n\xff,0,1,2"), "bad row: device is not UTF-8");
        assert_eq!(bad(b"device,at,lat,lon\na,0,\xff,2"), "bad row: lat is not UTF-8");
        let by_tower = |key: &str| bad(format!("device,at,tower\n1,0,{key}").as_bytes());
        let form = "is not written MCC-MNC-AREA-CELL, such as 302-720-8100-47553";
        assert_eq!(by_tower("302-720-8100"), format!("bad row: tower \"302-720-8100\" {form}"));
        assert_eq!(by_tower("a-b-c-d"), format!("bad row: tower \"a-b-c-d\" {form}"));
        assert_eq!(by_tower(""), "bad row: neither lat and lon nor tower is given");
        assert_eq!(by_tower("1-1-1-1"), "rejected: unknown tower");
    }

    #[test]
    fn a_header_that_does_not_do_says_what_it_lacks() {
        let hint = "it must name device, at, and lat and lon (or tower), and may name accuracy_m";
        let cases: [(&[u8], String); 9] = [
            (b"", "the file is empty: its first line must name the columns, such as device,at,lat,lon".into()),
            (b"\n\n", "the file is empty: its first line must name the columns, such as device,at,lat,lon".into()),
            (b"1,2026-05-15T12:00:00Z,1,2\n", format!("line 1: the header lacks device, at, lat, lon: {hint}")),
            (b"\ndevice,at,lat\n", format!("line 2: the header lacks lon: {hint}")),
            (b"at,tower\n", format!("line 1: the header lacks device: {hint}")),
            (b"device,time,lat,lon\n", format!("line 1: the header lacks at: {hint}")),
            (b"device,at,lat,lon,at\n", "line 1: the header names at twice".into()),
            (b"device,at,tower\n", "line 1: the file places its pings by tower: give the towers too, with --towers FILE".into()),
            (b"\"device,at\n", "line 1: the header cannot be read: it must be a line of at most 65536 bytes such as device,at,lat,lon".into()),
        ];
        for (file, text) in cases {
            let mut names = Pseudonyms::new([0; 32], 0);
            let error = PingReader::new(file, &mut names, None).err().unwrap();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn more_than_one_percent_bad_rows_or_no_good_one_is_an_error() {
        let verdict =
            |good, rejected, bad| RowTally { good, rejected, bad }.verdict().err().map(|e| e.to_string());
        assert_eq!(verdict(99, 0, 1), None);
        assert_eq!(verdict(1, 98, 1), None);
        assert_eq!(verdict(9_899, 0, 100), Some("100 of 9999 rows cannot be read, more than 1 %".into()));
        assert_eq!(verdict(1, 97, 1), Some("1 of 99 rows cannot be read, more than 1 %".into()));
        assert_eq!(verdict(1, 1_000_000, 0), None);
        assert_eq!(verdict(0, 3, 0), None);
        assert_eq!(verdict(0, 0, 0), Some("no good row: none of 0 rows can be read".into()));
        assert_eq!(verdict(0, 0, 2), Some("no good row: none of 2 rows can be read".into()));
        let mut tally = RowTally::default();
        for line in read(format!("device,at,lat,lon\n1,{AT},0,0\n1,{AT},91,0\nx\n").as_bytes()) {
            tally.count(&line.result);
        }
        assert_eq!(tally, RowTally { good: 1, rejected: 1, bad: 1 });
    }

    #[test]
    fn a_real_recording_is_read_whole() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/liverpool_buses.csv");
        let mut names = Pseudonyms::new([0; 32], 100);
        let reader = PingReader::new(super::super::open(path).unwrap(), &mut names, None).unwrap();
        let pings: Vec<Ping> = reader.map(|line| line.unwrap().result.unwrap()).collect();
        assert_eq!(pings.len(), 1_533);
        let first = pings[0];
        assert_eq!(first.at.to_string(), "2026-01-26T15:55:12.000Z");
        assert_eq!((first.position.lat_e7(), first.position.lon_e7()), (534_471_850, -29_179_900));
        assert_eq!(names.name(first.device), Some("bus-4836"));
    }

    #[test]
    fn a_damaged_archive_ends_the_reading_with_its_line() {
        struct Broken(bool);
        impl std::io::Read for Broken {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                let text = b"device,at,lat,lon\n1,0,0,0\n";
                if std::mem::replace(&mut self.0, true) {
                    return Err(std::io::Error::other("corrupt deflate stream"));
                }
                buf[..text.len()].copy_from_slice(text);
                Ok(text.len())
            }
        }
        let mut names = Pseudonyms::new([0; 32], 0);
        let input = std::io::BufReader::new(Broken(false));
        let mut reader = PingReader::new(input, &mut names, None).unwrap();
        assert!(reader.next().unwrap().unwrap().result.is_ok());
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "line 3: cannot be read: corrupt deflate stream");
        assert!(reader.next().is_none());
    }
}
