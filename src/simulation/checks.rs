//! What must be true of a namespace's log, whatever happened: of each device and alert it tells a
//! story of one notification, each later update once and in order, one end, and nothing after it;
//! and what it once said at an offset stays.

use std::collections::BTreeMap;

use super::model::Found;
use crate::domain::Cause;

/// What a log said of one alert to one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Story {
    /// The newest version that it was told of.
    pub(super) version: u32,
    pub(super) cancelled: bool,
}

/// A namespace's log, all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) matches: Vec<Found>,
    pub(super) stories: BTreeMap<(u32, u64), Story>,
}

impl History {
    /// The log goes on.
    pub(super) fn push(&mut self, found: Found) -> Result<(), String> {
        let offset = self.matches.len();
        self.matches.push(found);
        let key = (found.alert, found.device);
        let story = self.stories.get_mut(&key);
        let wrong = |why: &str| Err(format!("offset {offset}: {why}: {found:?}"));
        match (found.cause, story) {
            (Cause::Update, Some(story)) => {
                if story.cancelled {
                    return wrong("an update after the end");
                }
                if found.version != story.version + 1 {
                    return wrong(&format!("an update after version {}", story.version));
                }
                story.version = found.version;
            }
            (Cause::Cancel, Some(story)) => {
                if story.cancelled {
                    return wrong("a second end");
                }
                story.cancelled = true;
            }
            (Cause::Update | Cause::Cancel, None) => return wrong("to a device that was not notified"),
            (_, Some(_)) => return wrong("a second notification"),
            (_, None) => {
                self.stories.insert(key, Story { version: found.version, cancelled: false });
            }
        }
        Ok(())
    }

    /// A crash took what was beyond `end`.
    pub(super) fn truncate(&mut self, end: usize) -> Result<(), String> {
        let matches = std::mem::take(&mut self.matches);
        self.stories.clear();
        matches.into_iter().take(end).try_for_each(|found| self.push(found))
    }
}

/// Whether two lists hold the same matches; else what is missing and what is too much.
pub(super) fn same(found: &mut [Found], expected: &mut [Found]) -> Result<(), String> {
    let order = |a: &Found, b: &Found| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
    found.sort_by(order);
    expected.sort_by(order);
    if found == expected {
        return Ok(());
    }
    let lacks: Vec<_> = expected.iter().filter(|one| !found.contains(one)).take(3).collect();
    let extra: Vec<_> = found.iter().filter(|one| !expected.contains(one)).take(3).collect();
    Err(format!(
        "{} matches, {} by the rules; missing: {lacks:#?}; too much: {extra:#?}",
        found.len(),
        expected.len()
    ))
}
