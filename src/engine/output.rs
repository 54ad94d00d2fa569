//! Where a partition puts its matches.

use crate::domain::{EventTime, Match};

/// The place of an event in the one order of the event clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// Its time.
    pub at: EventTime,
    /// 0 ping, 1 action, 2 stage.
    pub kind: u8,
    /// Order of arrival within time and kind.
    pub index: u64,
}

impl EventKey {
    /// A ping, by its number in the stream.
    pub fn ping(at: EventTime, index: u64) -> Self {
        Self { at, kind: 0, index }
    }

    /// An alert action, by its number in the stream.
    pub fn action(at: EventTime, index: u64) -> Self {
        Self { at, kind: 1, index }
    }

    /// All stages of one time.
    pub fn stage(at: EventTime) -> Self {
        Self { at, kind: 2, index: 0 }
    }
}

/// Matches in the order in which a partition found them. The caller empties it.
#[derive(Debug, Default)]
pub struct Output {
    /// The matches.
    pub matches: Vec<Match>,
    /// The event of each match; stays empty unless the output was made [`Output::keyed`].
    pub keys: Vec<EventKey>,
    keyed: bool,
}

impl Output {
    /// An output that notes the event of each match.
    pub fn keyed() -> Self {
        Self { keyed: true, ..Self::default() }
    }

    /// Forgets what it holds, keeping its memory.
    pub fn clear(&mut self) {
        self.matches.clear();
        self.keys.clear();
    }

    #[inline]
    pub(super) fn push(&mut self, key: EventKey, found: Match) {
        self.matches.push(found);
        if self.keyed {
            self.keys.push(key);
        }
    }
}
