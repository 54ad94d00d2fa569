//! Action files: one JSON object a line into actions in the order of their times.
//!
//! The whole file is read before any action is handed out, so that a line that is no action
//! stops a replay before it starts. What an alert's life rejects is not seen here.

use std::io::BufRead;

use serde_json::Value;

use super::FileError;
use super::alert_json::{AlertJsonError, Object, alert, parse_value};
use super::io::{Line, Lines};
use crate::domain::{Action, AlertId, CancelReason, EventTime};
use crate::limits::{ACTION_LINE_BYTES_MAX, ACTIONS_MAX, WARNINGS_MAX};

/// An action and when it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedAction {
    /// Its line in the file, counted from 1.
    pub line: u64,
    /// Its time.
    pub at: EventTime,
    /// What is asked for.
    pub action: Action,
}

/// All actions of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionFile {
    /// Sorted by time, ties in the order of the file.
    pub actions: Vec<TimedAction>,
    /// Members that are not known and were ignored, with their line, one line of text each.
    pub warnings: Vec<String>,
}

/// An action that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedAction {
    /// Its time, if given.
    pub at: Option<EventTime>,
    /// What is asked for.
    pub action: Action,
    /// Members that are not known and were ignored, one line each.
    pub warnings: Vec<String>,
}

/// Reads one action. In a file `at` must be given; this leaves it to the caller.
///
/// # Errors
/// Where the text is no JSON object of at most `ACTION_LINE_BYTES_MAX` bytes, or a member has the
/// wrong form.
pub fn parse_action_json(text: &str) -> Result<ParsedAction, AlertJsonError> {
    let value = parse_value(text, ACTION_LINE_BYTES_MAX)?;
    action(&value)
}

#[derive(Clone, Copy)]
enum Kind {
    Publish,
    Update,
    Sighting,
    Cancel,
}

fn action(value: &Value) -> Result<ParsedAction, AlertJsonError> {
    const KINDS: [(&str, Kind); 4] = [
        ("publish", Kind::Publish),
        ("update", Kind::Update),
        ("sighting", Kind::Sighting),
        ("cancel", Kind::Cancel),
    ];
    let object = Object::of(value, "")?;
    let missing = |member: &str| AlertJsonError::Missing(member.to_owned());
    let kind = object
        .word("action", &KINDS, "publish, update, sighting or cancel")?
        .ok_or_else(|| missing("action"))?;
    let at = object.opt_time("at")?;
    let mut warnings = Vec::new();
    let action = match kind {
        Kind::Publish | Kind::Update => {
            let draft = Box::new(alert(&object.object("alert")?, &mut warnings)?);
            object.warn_unknown(&["action", "at", "alert"], &mut warnings);
            if matches!(kind, Kind::Publish) { Action::Publish(draft) } else { Action::Update(draft) }
        }
        Kind::Sighting => {
            object.warn_unknown(&["action", "at", "id", "lat", "lon", "seen_at"], &mut warnings);
            Action::Sighting {
                id: AlertId::from(object.str("id")?),
                lat: object.number("lat")?,
                lon: object.number("lon")?,
                seen_at: object.opt_time("seen_at")?,
            }
        }
        Kind::Cancel => {
            object.warn_unknown(&["action", "at", "id", "reason"], &mut warnings);
            let reasons = [CancelReason::Found, CancelReason::Refuted].map(|r| (r.as_str(), r));
            let reason = object.word("reason", &reasons, "found or refuted")?;
            Action::Cancel {
                id: AlertId::from(object.str("id")?),
                reason: reason.ok_or_else(|| missing("reason"))?,
            }
        }
    };
    Ok(ParsedAction { at, action, warnings })
}

/// Reads a whole action file; blank lines are skipped.
///
/// # Errors
/// At the first line that is no action, with its number.
pub fn read_actions(input: impl BufRead) -> Result<ActionFile, FileError> {
    let mut lines = Lines::new(input, ACTION_LINE_BYTES_MAX);
    let mut file = ActionFile::default();
    while let Some(read) = lines.read()? {
        let parsed = match read {
            Line::Text(text) if text.trim_ascii().is_empty() => continue,
            Line::Text(text) => std::str::from_utf8(text)
                .map_err(|_| AlertJsonError::NotUtf8)
                .and_then(parse_action_json)
                .and_then(|parsed| match parsed.at {
                    Some(at) => Ok((at, parsed)),
                    None => Err(AlertJsonError::Missing("at".into())),
                }),
            Line::TooLong => Err(AlertJsonError::LineTooLong),
        };
        let line = lines.number();
        let (at, parsed) = parsed.map_err(|problem| FileError::Action { line, problem })?;
        if file.actions.len() >= ACTIONS_MAX {
            return Err(FileError::TooManyActions { line });
        }
        file.actions.push(TimedAction { line, at, action: parsed.action });
        let room = WARNINGS_MAX - file.warnings.len();
        file.warnings.extend(parsed.warnings.iter().take(room).map(|w| format!("line {line}: {w}")));
    }
    file.actions.sort_by_key(|action| action.at);
    Ok(file)
}
