//! Event time and durations. Nothing here reads a clock.

use std::fmt;

use jiff::Timestamp;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

/// Why a text or number is no time or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither Unix milliseconds nor RFC 3339.
    #[error("\"{0}\" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds")]
    Unreadable(String),
    /// Outside what RFC 3339 can write.
    #[error("time {0} is outside the years 0000 to 9999")]
    OutOfRange(String),
    /// Not a duration.
    #[error(
        "\"{0}\" is no duration: write for example 90s, 30m or 1d6h (units d, h, m, s, each once, largest first)"
    )]
    Duration(String),
}

/// First and last millisecond of the years 0000 to 9999.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_207_200_999;

/// Fit for one line of an error.
fn shorten(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl EventTime {
    /// Before every event: where a clock stands that was given no time yet.
    pub const BEFORE_ALL: Self = Self(i64::MIN);

    /// From Unix milliseconds, within the years 0000 to 9999.
    pub fn from_unix_ms(ms: i64) -> Result<Self, TimeError> {
        if RANGE_MS.contains(&ms) { Ok(Self(ms)) } else { Err(TimeError::OutOfRange(format!("{ms} ms"))) }
    }

    /// From RFC 3339; fractions finer than a millisecond are dropped.
    pub fn from_rfc3339(text: &str) -> Result<Self, TimeError> {
        let at: Timestamp = text.parse().map_err(|_| TimeError::Unreadable(shorten(text)))?;
        Self::from_unix_ms(i64::try_from(at.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX))
    }

    /// From Unix milliseconds or RFC 3339.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
            let ms = text.parse().map_err(|_| TimeError::OutOfRange(shorten(text)))?;
            return Self::from_unix_ms(ms);
        }
        Self::from_rfc3339(text)
    }

    /// This time moved by `ms` milliseconds, held at the ends of what can be counted.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, held at the ends of what can be counted.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in UTC with three decimals, as match lines carry it.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `from_millisecond` does not take the last second that there is.
        let (seconds, ms) = (self.0.div_euclid(1_000), self.0.rem_euclid(1_000));
        match Timestamp::new(seconds, ms as i32 * 1_000_000) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// How long a device is known after its newest ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// For so many milliseconds.
    Ms(i64),
    /// For ever: registered interests, such as a volunteer's home area.
    Never,
}

impl MaxAge {
    /// Whether a device last seen at `at` is known at `now`: `now - at <= max_age`.
    #[inline]
    pub fn knows(self, at: EventTime, now: EventTime) -> bool {
        match self {
            Self::Ms(ms) => now.ms_since(at) <= ms,
            Self::Never => true,
        }
    }
}

/// Reads a duration such as `1h30m` (units d, h, m, s, each at most once, largest first).
/// Returns milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<i64, TimeError> {
    let bad = || TimeError::Duration(shorten(text));
    let mut rest = text;
    let mut units = [('d', 86_400_000i64), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)].iter();
    let mut total = 0i64;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| bad())?;
        let unit = tail.chars().next().ok_or_else(bad)?;
        let ms = units.find(|(name, _)| *name == unit).ok_or_else(bad)?.1;
        total = number.checked_mul(ms).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = &tail[unit.len_utf8()..];
    }
    // A bound that keeps every later sum of times and durations countable: a thousand years.
    if total > 1_000 * 366 * 86_400_000 {
        return Err(bad());
    }
    Ok(total)
}

/// Writes whole seconds of `ms` as a duration, e.g. `1h30m`; `0s` for nothing.
pub fn format_duration(ms: i64) -> String {
    let mut seconds = ms.max(0) / 1_000;
    let mut text = String::new();
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= size {
            text.push_str(&format!("{}{unit}", seconds / size));
            seconds %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_both_ways_and_lose_what_is_finer_than_a_millisecond() {
        let t = EventTime::parse("2026-05-15T12:00:00.1239Z").unwrap();
        assert_eq!(t.to_string(), "2026-05-15T12:00:00.123Z");
        assert_eq!(EventTime::parse(&t.0.to_string()), Ok(t));
        assert_eq!(EventTime::parse("2026-05-15T20:00:00.123+08:00"), Ok(t));
        assert_eq!(EventTime::parse("1969-12-31T23:59:59.9999Z"), Ok(EventTime(-1)));
        for bad in ["", "-", "yesterday", "2026-05-15", "99999999999999999999", "253402300800000"] {
            assert!(EventTime::parse(bad).is_err(), "{bad}");
        }
    }

    /// A time that is taken is written as one that is taken: else a stored alert could not be read.
    #[test]
    fn the_first_and_last_times_are_read_back() {
        for ms in [*RANGE_MS.start(), *RANGE_MS.end(), *RANGE_MS.end() - 999] {
            let at = EventTime::from_unix_ms(ms).unwrap();
            assert_eq!(EventTime::from_rfc3339(&at.to_string()), Ok(at), "{at}");
        }
        assert!(EventTime::from_unix_ms(RANGE_MS.start() - 1).is_err());
        assert!(EventTime::from_unix_ms(RANGE_MS.end() + 1).is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration_ms("1h30m"), Ok(5_400_000));
        assert_eq!(parse_duration_ms("0s"), Ok(0));
        assert_eq!(parse_duration_ms("2d"), Ok(172_800_000));
        for bad in ["", "5", "m", "1m1h", "1h1h", "-1h", "1.5h", "1 h", "1w", "99999999999999d"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad}");
        }
        assert_eq!(format_duration(5_400_000), "1h30m");
        assert_eq!(format_duration(0), "0s");
    }
}
