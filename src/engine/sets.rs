//! Who was notified of what: bound to the device, for as long as an alert is not cancelled.
//!
//! A device's notified set is the alerts that it was notified of. Few different sets occur (all
//! who stand inside the same alerts share one), so each is held once, and a row names it by a
//! number of 16 bits in its bucket's own list. To notify a whole bucket at once, its list is
//! rewritten, and no row. A device inside ten notified alerts costs no more than one inside none.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use zerocopy::FromBytes;

use crate::domain::AlertNo;
use crate::planted::{self, Defect};

/// A notified set's number in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes)]
#[repr(transparent)]
pub(super) struct SetId(pub(super) u32);

impl SetId {
    /// Notified of nothing.
    pub(super) const EMPTY: Self = Self(0);
    /// No set: an entry of a bucket's list that is not used.
    pub(super) const UNUSED: Self = Self(u32::MAX);
}

/// A notified set's number in its bucket's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LocalSet(pub(super) u16);

impl LocalSet {
    /// The bucket's list is full: the set is kept by device.
    pub(super) const SPILLED: Self = Self(u16::MAX);
}

/// Most sets of a bucket's list; a device with a further one keeps it for itself.
/// In tests few, so that it happens.
pub(super) const LOCAL_SETS_MAX: usize = if cfg!(test) { 6 } else { 1 << 12 };

#[derive(Debug, Default)]
struct Held {
    /// Sorted.
    alerts: Box<[AlertNo]>,
    /// Lists and devices that name it.
    users: u32,
}

/// All sets of a partition. The empty one is always there; another goes with its last user.
#[derive(Debug)]
pub(super) struct Sets {
    held: Vec<Held>,
    free: Vec<u32>,
    by_content: HashMap<Box<[AlertNo]>, SetId, FixedState>,
    /// The last answers of [`Sets::with`], by a hash of the question; forgotten when a set goes.
    lately: [(SetId, AlertNo, SetId); LATELY],
}

/// Answers remembered.
const LATELY: usize = 64;
const NO_ANSWER: (SetId, AlertNo, SetId) = (SetId::UNUSED, AlertNo(0), SetId::UNUSED);

impl Default for Sets {
    fn default() -> Self {
        Self {
            held: vec![Held::default()],
            free: Vec::new(),
            by_content: HashMap::default(),
            lately: [NO_ANSWER; LATELY],
        }
    }
}

impl Sets {
    /// Whether the set has an alert.
    #[inline]
    pub(super) fn has(&self, set: SetId, alert: AlertNo) -> bool {
        self.held[set.0 as usize].alerts.binary_search(&alert).is_ok()
    }

    /// The alerts of a set.
    pub(super) fn alerts(&self, set: SetId) -> &[AlertNo] {
        &self.held[set.0 as usize].alerts
    }

    /// One more names this set.
    pub(super) fn keep(&mut self, set: SetId) -> SetId {
        if set != SetId::EMPTY {
            self.held[set.0 as usize].users += 1;
        }
        set
    }

    /// One fewer names this set.
    pub(super) fn drop(&mut self, set: SetId) {
        if set == SetId::EMPTY {
            return;
        }
        let held = &mut self.held[set.0 as usize];
        held.users -= 1;
        if held.users == 0 && !planted::on(Defect::SetsStay) {
            let alerts = std::mem::take(&mut held.alerts);
            self.by_content.remove(&alerts);
            // It may be reused with another content, as a question or as an answer.
            for answer in &mut self.lately {
                if answer.0 == set || answer.2 == set {
                    *answer = NO_ANSWER;
                }
            }
            self.free.push(set.0);
        }
    }

    /// The set with an alert more; one more names it.
    pub(super) fn with(&mut self, set: SetId, alert: AlertNo) -> SetId {
        let place = (set.0 ^ alert.0.wrapping_mul(0x9e37_79b1)) as usize % LATELY;
        let (question, to, answer) = self.lately[place];
        if question == set && to == alert {
            return self.keep(answer);
        }
        let old = &self.held[set.0 as usize].alerts;
        let Err(at) = old.binary_search(&alert) else { return self.keep(set) };
        let alerts = [&old[..at], &[alert], &old[at..]].concat();
        let answer = self.intern(alerts);
        self.lately[place] = (set, alert, answer);
        answer
    }

    /// The set without an alert; one more names it.
    pub(super) fn without(&mut self, set: SetId, alert: AlertNo) -> SetId {
        let alerts = self.held[set.0 as usize].alerts.iter().copied().filter(|a| *a != alert).collect();
        self.intern(alerts)
    }

    /// The set of these alerts, which are sorted and all different; one more names it.
    pub(super) fn intern(&mut self, alerts: Vec<AlertNo>) -> SetId {
        if alerts.is_empty() {
            return SetId::EMPTY;
        }
        if let Some(set) = self.by_content.get(alerts.as_slice()) {
            let set = *set;
            return self.keep(set);
        }
        let alerts = alerts.into_boxed_slice();
        let held = Held { alerts: alerts.clone(), users: 1 };
        let set = match self.free.pop() {
            Some(free) => {
                self.held[free as usize] = held;
                SetId(free)
            }
            None => {
                self.held.push(held);
                SetId((self.held.len() - 1) as u32)
            }
        };
        self.by_content.insert(alerts, set);
        set
    }

    /// Numbers of sets are below this.
    pub(super) fn end(&self) -> usize {
        self.held.len()
    }

    /// All sets that are not empty.
    pub(super) fn held(&self) -> impl Iterator<Item = (SetId, &[AlertNo])> {
        let sets = self.held.iter().zip(0..).filter(|(held, _)| !held.alerts.is_empty());
        sets.map(|(held, n)| (SetId(n), &*held.alerts))
    }

    /// How many name a set.
    #[cfg(test)]
    pub(super) fn users(&self, set: SetId) -> u32 {
        self.held[set.0 as usize].users
    }

    /// How many sets that are not empty are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_content.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_one_and_go_with_their_last_user() {
        let mut sets = Sets::default();
        let [a, b] = [AlertNo(3), AlertNo(1)];
        let first = sets.with(SetId::EMPTY, a);
        let both = sets.with(first, b);
        let other = sets.with(SetId::EMPTY, b);
        let again = sets.with(other, a);
        assert_eq!(both, again);
        assert!(sets.has(both, a) && sets.has(both, b) && !sets.has(first, b));
        assert_eq!(sets.without(both, b), first);
        [first, first, both, other].into_iter().for_each(|set| sets.drop(set));
        assert!(sets.has(again, a) && sets.has(again, b));
        sets.drop(again);
        assert_eq!(sets.len(), 0);
        let reused = sets.with(SetId::EMPTY, b);
        assert!(!sets.has(reused, a));
        assert_eq!(sets.without(reused, b), SetId::EMPTY);
    }
}
