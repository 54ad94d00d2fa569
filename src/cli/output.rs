//! Lines to people and to programs.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether lines to people are objects too, because standard error is read by a machine.
static NOTES_AS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on all lines on standard error are JSON.
pub(super) fn notes_as_json() {
    NOTES_AS_JSON.store(true, Ordering::Relaxed);
}

/// A line on standard error. Where nobody can read it, nothing else is to be done.
pub(super) fn note(text: &dyn Display) {
    let _ = if NOTES_AS_JSON.load(Ordering::Relaxed) {
        // The same fields as a log line has.
        let now = jiff::Timestamp::now();
        let line =
            serde_json::json!({"timestamp": now.to_string(), "level": "INFO", "message": text.to_string()});
        writeln!(io::stderr().lock(), "{line}")
    } else {
        writeln!(io::stderr().lock(), "{text}")
    };
}

/// A line on standard output.
pub(super) fn say(text: &dyn Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// An error and its causes in one line, without what a message already says of its cause.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether it failed because the reader of our output has gone: no failure of ours.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

/// A whole number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 ping`, `2,000 pings`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_is_one_line_that_says_nothing_twice() {
        let low: anyhow::Error = io::Error::other("disk on\nfire").into();
        assert_eq!(
            one_line(&low.context("cannot open x: disk on\nfire").context("pings")),
            "pings: cannot open x: disk on fire"
        );
        let result: Result<(), _> = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&result.context("written").unwrap_err()));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "ping", "pings"), count(2_000, "ping", "pings")], ["1 ping", "2,000 pings"]);
    }
}
