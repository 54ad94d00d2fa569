//! A small world: pings and actions, as files and back. Reads and writes times by itself.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

/// A day, milliseconds.
const DAY_MS: i64 = 86_400_000;

/// A row of a ping file. The numbers are as they stand in the file, possible or not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ping {
    /// The device as the file names it.
    pub(crate) device: String,
    /// Unix milliseconds.
    pub(crate) at: i64,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    pub(crate) accuracy_m: f64,
}

/// Everything that a replay is given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    pub(crate) namespace: String,
    /// How long a device is known; `None` is for ever.
    pub(crate) max_age_ms: Option<i64>,
    /// In file order.
    pub(crate) pings: Vec<Ping>,
    /// In file order, which is the order of their times.
    pub(crate) actions: Vec<Value>,
    /// `--until`, if given.
    pub(crate) until: Option<i64>,
}

impl World {
    /// The ping file. Times are written in turn in every way that is allowed.
    pub(crate) fn pings_csv(&self) -> String {
        let mut csv = String::from("device,at,lat,lon,accuracy_m\n");
        for (i, ping) in self.pings.iter().enumerate() {
            let at = match i % 4 {
                0 => ping.at.to_string(),
                1 => rfc3339(ping.at),
                2 => rfc3339(ping.at).replace('Z', "9Z"),
                _ => rfc3339(ping.at + 8 * 3_600_000).replace('Z', "+08:00"),
            };
            let Ping { device, lat, lon, accuracy_m, .. } = ping;
            writeln!(csv, "{device},{at},{lat},{lon},{accuracy_m}").unwrap();
        }
        csv
    }

    /// The action file.
    pub(crate) fn actions_ndjson(&self) -> String {
        self.actions.iter().map(|action| format!("{action}\n")).collect()
    }

    /// Reads a folder of `pings.csv` and `actions.ndjson`.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut rows = csv::Reader::from_path(folder.join("pings.csv")).unwrap();
        let pings = rows.records().map(|row| {
            let row = row.unwrap();
            Ping {
                device: row[0].to_string(),
                at: millis(&row[1]),
                lat: row[2].parse().unwrap(),
                lon: row[3].parse().unwrap(),
                accuracy_m: row[4].parse().unwrap(),
            }
        });
        let actions = std::fs::read_to_string(folder.join("actions.ndjson")).unwrap();
        World {
            namespace: "default".into(),
            max_age_ms: Some(DAY_MS),
            pings: pings.collect(),
            actions: actions.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            until: None,
        }
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of each month, counted one by one.
fn month_days(year: i64) -> [i64; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// RFC 3339 in UTC with milliseconds, for times from 1970 on.
pub(crate) fn rfc3339(ms: i64) -> String {
    let (mut day, time) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let mut year = 1970;
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    while day >= month_days(year)[month] {
        day -= month_days(year)[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3_600_000, time / 60_000 % 60, time / 1_000 % 60);
    let (month, day, ms) = (month + 1, day + 1, time % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Reads Unix milliseconds or RFC 3339 from 1970 on; drops what is finer than a millisecond.
pub(crate) fn millis(text: &str) -> i64 {
    if let Ok(ms) = text.parse() {
        return ms;
    }
    let number = |from: usize, to: usize| -> i64 { text[from..to].parse().unwrap() };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let days: i64 = (1970..year).map(|y| 365 + i64::from(is_leap(y))).sum::<i64>()
        + month_days(year)[..month as usize - 1].iter().sum::<i64>()
        + day
        - 1;
    let seconds = number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    let rest = &text[19..];
    let zone = rest.find(['Z', '+', '-']).unwrap();
    let fraction = format!("{:0<3}", rest[..zone].trim_start_matches('.'));
    let fraction: i64 = fraction[..3].parse().unwrap();
    let offset_minutes: i64 = match &rest[zone..] {
        "Z" => 0,
        zone => {
            let minutes = zone[1..3].parse::<i64>().unwrap() * 60 + zone[4..6].parse::<i64>().unwrap();
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    days * DAY_MS + seconds * 1_000 + fraction - offset_minutes * 60_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_other_calendars_say() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_778_846_400_123, "2026-05-15T12:00:00.123Z"),
        ] {
            assert_eq!((rfc3339(ms).as_str(), millis(text)), (text, ms));
        }
        assert_eq!(millis("2026-05-15T20:00:00.1239+08:00"), 1_778_846_400_123);
        assert_eq!(millis("2026-05-15T12:00:00Z"), 1_778_846_400_000);
        assert_eq!(millis("2026-05-15T07:30:00.5-04:30"), 1_778_846_400_500);
    }
}
