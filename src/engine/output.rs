//! Where a partition puts its matches.

use crate::domain::{DeviceId, EventTime, Match, MatchHead};

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

/// Matches of one event that differ by their device only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The event.
    pub key: EventKey,
    /// What the matches have in common.
    pub head: MatchHead,
    /// Where its devices start in the column; they reach to the next run's start.
    pub start: usize,
}

/// Matches in the order in which a partition found them, by columns: an alert that reaches a
/// million devices is a few runs and a column of devices. The caller empties it.
#[derive(Debug, Default)]
pub struct Output {
    runs: Vec<Run>,
    devices: Vec<DeviceId>,
}

impl Output {
    /// Forgets what it holds, keeping its memory.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.devices.clear();
    }

    /// How many matches it holds.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The devices of all runs.
    pub fn devices(&self) -> &[DeviceId] {
        &self.devices
    }

    /// The runs, each with its devices; none is empty.
    pub fn runs(&self) -> impl Iterator<Item = (&Run, &[DeviceId])> {
        let ends = self.runs.iter().skip(1).map(|run| run.start).chain([self.devices.len()]);
        let runs = self.runs.iter().zip(ends).map(|(run, end)| (run, &self.devices[run.start..end]));
        // The last may have got no device yet.
        runs.filter(|(_, devices)| !devices.is_empty())
    }

    /// The matches, each with its event.
    pub fn iter(&self) -> impl Iterator<Item = (EventKey, Match)> {
        self.runs().flat_map(|(run, devices)| devices.iter().map(|device| (run.key, run.head.of(*device))))
    }

    /// A copy of those matches that `keep` wants.
    pub fn filtered(&self, mut keep: impl FnMut(&MatchHead, DeviceId) -> bool) -> Self {
        let mut kept = Self::default();
        for (run, devices) in self.runs() {
            kept.open_run(run.key, &run.head);
            kept.devices.extend(devices.iter().filter(|device| keep(&run.head, **device)));
        }
        kept
    }

    /// What is pushed to [`devices_mut`](Self::devices_mut) from here on has this event and head.
    #[inline]
    pub(super) fn open_run(&mut self, key: EventKey, head: &MatchHead) {
        if let Some(last) = self.runs.last_mut() {
            if last.key == key && last.head == *head {
                return;
            }
            if last.start == self.devices.len() {
                *last = Run { key, head: *head, start: last.start };
                return;
            }
        }
        self.runs.push(Run { key, head: *head, start: self.devices.len() });
    }

    /// The devices, to be added to after [`open_run`](Self::open_run) and not otherwise changed.
    #[inline]
    pub(super) fn devices_mut(&mut self) -> &mut Vec<DeviceId> {
        &mut self.devices
    }

    #[inline]
    pub(super) fn push(&mut self, key: EventKey, found: Match) {
        self.open_run(key, &found.head());
        self.devices_mut().push(found.device);
    }
}

impl Extend<(EventKey, Match)> for Output {
    fn extend<T: IntoIterator<Item = (EventKey, Match)>>(&mut self, matches: T) {
        matches.into_iter().for_each(|(key, found)| self.push(key, found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AlertNo, Cause};

    #[test]
    fn matches_come_out_as_they_went_in_and_equal_heads_share_a_run() {
        let key = |index| EventKey::action(EventTime(1), index);
        let found = |part, device| Match {
            alert: AlertNo(3),
            version: 1,
            cause: Cause::Publish,
            part,
            stage: 2,
            radius_km: 0.5,
            device: DeviceId(device),
            at: EventTime(1),
        };
        // Part, device, event: runs end where a part or an event does.
        let all = [(0, 9, 1), (0, 8, 1), (1, 7, 1), (0, 6, 1), (0, 6, 2), (0, 5, 2)]
            .map(|(part, device, event)| (key(event), found(part, device)));
        let mut out = Output::default();
        out.extend(all);
        // A run that got nothing leaves no trace.
        out.open_run(key(3), &found(0, 0).head());
        assert_eq!(out.iter().collect::<Vec<_>>(), all);
        assert_eq!(out.runs().map(|(_, devices)| devices.len()).collect::<Vec<_>>(), [2, 1, 1, 2]);
        out.open_run(key(4), &found(0, 0).head());
        out.devices_mut().push(DeviceId(1));
        assert_eq!(out.iter().last(), Some((key(4), found(0, 1))));
        assert_eq!((out.len(), out.devices().len()), (7, 7));
        out.clear();
        assert!(out.is_empty() && out.iter().next().is_none());
    }
}
