//! Where in a scenario's text something is wrong.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A step from a table or list to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

/// What the reader says is wrong, with its place.
pub(super) fn of_error(text: &str, file: &str, error: &toml::de::Error) -> anyhow::Error {
    // Some messages go on in further lines with what would be right.
    let says = error.message().lines().collect::<Vec<_>>().join(", ");
    let Some(span) = error.span() else { return anyhow::anyhow!("{file}: {says}") };
    let (table, _) = DeTable::parse_recoverable(text);
    let mut path = Vec::new();
    // What the whole text lacks is told at its begin, and is not the first key's fault.
    if span.start > 0 || !says.starts_with("missing field") {
        path_to(table.get_ref(), span.start, &mut path);
    }
    told(text, file, &path, span.start, &says)
}

/// What is wrong with a key, with its place.
pub(super) fn of_key(text: &str, file: &str, path: &[Step], says: &str) -> anyhow::Error {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut at = 0;
    let mut here: Option<&DeValue<'_>> = None;
    for (depth, step) in path.iter().enumerate() {
        let next = match (step, here) {
            (Step::Key(key), None) if depth == 0 => entry(table.get_ref(), key),
            (Step::Key(key), Some(DeValue::Table(table))) => entry(table, key),
            (Step::Item(item), Some(DeValue::Array(array))) => {
                array.get(*item).map(|value| (value.span().start, value.get_ref()))
            }
            _ => None,
        };
        let Some((start, value)) = next else { break };
        (at, here) = (start, Some(value));
    }
    told(text, file, path, at, says)
}

fn told(text: &str, file: &str, path: &[Step], at: usize, says: &str) -> anyhow::Error {
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let mut key = String::new();
    for step in path {
        let _ = match step {
            Step::Key(name) if key.is_empty() => write!(key, "{name}"),
            Step::Key(name) => write!(key, ".{name}"),
            Step::Item(item) => write!(key, "[{item}]"),
        };
    }
    let comma = if key.is_empty() { "" } else { ", " };
    anyhow::anyhow!("{file}, line {line}{comma}{key}: {says}")
}

/// Where a key begins, and its value.
fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<(usize, &'a DeValue<'i>)> {
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    // The table of a header has its header's span, whose key may stand elsewhere.
    let start =
        if matches!(value.get_ref(), DeValue::Table(_)) { value.span().start } else { name.span().start };
    Some((start, value.get_ref()))
}

/// Follows a place in the text down to the innermost key.
fn path_to(table: &DeTable<'_>, at: usize, path: &mut Vec<Step>) {
    for (name, value) in table {
        if name.span().contains(&at) {
            path.push(Step::Key(name.get_ref().to_string()));
            return;
        }
        path.push(Step::Key(name.get_ref().to_string()));
        if into_value(value, at, path) {
            return;
        }
        path.pop();
    }
}

/// Whether the place is in the value; then the path leads to it.
fn into_value(value: &Spanned<DeValue<'_>>, at: usize, path: &mut Vec<Step>) -> bool {
    let depth = path.len();
    match value.get_ref() {
        DeValue::Table(table) => path_to(table, at, path),
        DeValue::Array(array) => {
            for (item, value) in array.iter().enumerate() {
                path.push(Step::Item(item));
                if into_value(value, at, path) {
                    return true;
                }
                path.pop();
            }
        }
        _ => {}
    }
    path.len() > depth || value.span().contains(&at)
}
