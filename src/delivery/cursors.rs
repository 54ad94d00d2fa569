//! How far each partner has acknowledged, in each namespace: where it resumes, what retention must
//! keep for it, and how far it lags.
//!
//! A cursor belongs to an identity, whichever of its sessions moves it, and never goes back. It is
//! handed on to be written at most every [`CURSOR_WRITE_MS`] and at the end of a session; what a crash
//! takes of it is sent again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::domain::{CursorAt, EventTime, Namespace, Offset};
use crate::limits::{CURSOR_WRITE_MS, CURSORS_MAX};
use crate::planted::{self, Defect};

/// Writes a cursor down. It must not wait, and may see one partner's cursors out of order: the
/// furthest counts.
pub type CursorSink = Box<dyn Fn(&CursorAt) + Send + Sync>;

/// All cursors. See the module head.
#[derive(Default)]
pub struct Cursors {
    held: Mutex<BTreeMap<(Namespace, Arc<str>), Held>>,
    sink: OnceLock<CursorSink>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    offset: Offset,
    at: EventTime,
    /// What was handed on to be written, and when (ticks).
    written: Option<Offset>,
    written_ms: u64,
    /// What outlives a crash.
    kept: Option<Offset>,
}

impl Cursors {
    /// Those that a journal gave back.
    pub(super) fn recovered(cursors: impl IntoIterator<Item = CursorAt>) -> Self {
        let held = cursors.into_iter().map(|CursorAt { namespace, partner, offset, at }| {
            (
                (namespace, partner),
                Held { offset, at, written: Some(offset), written_ms: 0, kept: Some(offset) },
            )
        });
        Self { held: Mutex::new(held.collect()), sink: OnceLock::new() }
    }

    /// From now on cursors are written there. To be called once, before any partner comes.
    pub fn write_to(&self, sink: CursorSink) {
        // A second sink would take cursors away from the first.
        if self.sink.set(sink).is_err() {
            tracing::error!("cursors are written already: the further place gets none");
        }
    }

    /// Where a partner's cursor stands.
    pub fn get(&self, namespace: &Namespace, partner: &str) -> Option<Offset> {
        self.lock().get(&(namespace.clone(), partner.into())).map(|held| held.offset)
    }

    /// A partner acknowledged all below `offset`, at the server's time `at`, which is `now_ms` in
    /// ticks. Where that is not written at once, gives the tick at which to [write](Self::write) it.
    pub fn acknowledged(
        &self,
        namespace: &Namespace,
        partner: &str,
        offset: Offset,
        at: EventTime,
        now_ms: u64,
    ) -> Option<u64> {
        let key = (namespace.clone(), Arc::<str>::from(partner));
        let mut cursors = self.lock();
        if cursors.len() >= CURSORS_MAX && !cursors.contains_key(&key) {
            forget_oldest(&mut cursors);
        }
        let first = Held { offset, at, written: None, written_ms: 0, kept: None };
        let held = cursors.entry(key).or_insert(first);
        if offset > held.offset {
            (held.offset, held.at) = (offset, at);
        }
        let due_ms = held.written_ms.saturating_add(CURSOR_WRITE_MS);
        if held.written.is_some_and(|written| written >= held.offset) {
            return None;
        }
        if held.written.is_some() && now_ms < due_ms {
            return Some(due_ms);
        }
        drop(cursors);
        self.write(namespace, partner, now_ms);
        None
    }

    /// Writes a partner's cursor, where it moved since it was written.
    pub fn write(&self, namespace: &Namespace, partner: &str, now_ms: u64) {
        let mut cursors = self.lock();
        let Some(held) = cursors.get_mut(&(namespace.clone(), partner.into())) else { return };
        if held.written.is_some_and(|written| written >= held.offset) {
            return;
        }
        (held.written, held.written_ms) = (Some(held.offset), now_ms);
        let (offset, at) = (held.offset, held.at);
        drop(cursors);
        if let Some(sink) = self.sink.get() {
            sink(&CursorAt { namespace: namespace.clone(), partner: partner.into(), offset, at });
        }
    }

    /// What was handed on to be written is durable: after a crash the partner resumes there.
    pub fn kept(&self, cursor: &CursorAt) {
        let mut cursors = self.lock();
        if let Some(held) = cursors.get_mut(&(cursor.namespace.clone(), Arc::clone(&cursor.partner))) {
            held.kept = held.kept.max(Some(cursor.offset));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// All cursors as they stand, those not written included.
    pub fn all(&self) -> Vec<CursorAt> {
        let cursor = |((namespace, partner), held): (&(Namespace, Arc<str>), &Held)| CursorAt {
            namespace: namespace.clone(),
            partner: Arc::clone(partner),
            offset: held.offset,
            at: held.at,
        };
        self.lock().iter().map(cursor).collect()
    }

    /// The first offset of a namespace that retention must keep: the least cursor of those that moved
    /// at `since` or later, as a crash would leave them. `None` where there is none. Who has none that is
    /// durable begins with the earliest after a crash, and needs nothing.
    pub fn keep_from(&self, namespace: &Namespace, since: EventTime) -> Option<Offset> {
        let cursors = self.lock();
        let late = |held: &Held| held.at >= since && !planted::on(Defect::CursorsNotKept);
        let of = cursors.iter().filter(|((of, _), held)| of == namespace && late(held));
        let kept = |held: &Held| if planted::on(Defect::CursorsInMemoryCount) { None } else { held.kept };
        of.map(|(_, held)| kept(held).unwrap_or(held.offset)).min()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Namespace, Arc<str>), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room: the cursor that has stood still for longest goes.
fn forget_oldest(cursors: &mut BTreeMap<(Namespace, Arc<str>), Held>) {
    let oldest = cursors.iter().min_by_key(|(_, held)| held.at).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        tracing::warn!(namespace = %key.0, partner = %key.1, "too many cursors: the oldest is forgotten");
        cursors.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(name: &str) -> Namespace {
        Namespace::new(name).unwrap()
    }

    /// What was written: partners and offsets.
    type Written = Arc<Mutex<Vec<(String, u64)>>>;

    fn with_sink(cursors: Cursors) -> (Arc<Cursors>, Written) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        cursors.write_to(Box::new(move |cursor| {
            into.lock().unwrap().push((cursor.partner.to_string(), cursor.offset.0));
        }));
        (Arc::new(cursors), written)
    }

    #[test]
    fn a_cursor_never_goes_back_and_is_written_now_and_then() {
        let (cursors, written) = with_sink(Cursors::default());
        let ack =
            |offset, ms| cursors.acknowledged(&ns("one"), "p", Offset(offset), EventTime(ms as i64), ms);
        let standing = || cursors.get(&ns("one"), "p");
        assert_eq!(standing(), None);
        assert_eq!(ack(5, 1_000), None);
        assert_eq!(ack(7, 1_001), Some(1_200));
        assert_eq!(ack(6, 1_100), Some(1_200));
        assert_eq!(standing(), Some(Offset(7)));
        assert_eq!(*written.lock().unwrap(), [("p".into(), 5)]);
        cursors.write(&ns("one"), "p", 1_200);
        cursors.write(&ns("one"), "p", 1_201);
        assert_eq!(ack(7, 1_300), None);
        assert_eq!(ack(3, 9_000), None);
        assert_eq!(*written.lock().unwrap(), [("p".into(), 5), ("p".into(), 7)]);
        assert_eq!(ack(8, 9_000), None);
        // Another namespace and another partner stand for themselves.
        cursors.write(&ns("two"), "p", 0);
        assert_eq!(cursors.acknowledged(&ns("two"), "q", Offset(2), EventTime(0), 9_001), None);
        assert_eq!(*written.lock().unwrap().last().unwrap(), ("q".into(), 2));
        assert_eq!((standing(), cursors.get(&ns("two"), "p")), (Some(Offset(8)), None));
    }

    #[test]
    fn what_was_recovered_stands_and_retention_keeps_what_is_young() {
        retention_keeps_what_is_young_and_durable();
    }

    #[test]
    fn retention_by_cursors_that_a_crash_would_take_is_found() {
        planted::must_be_found(Defect::CursorsInMemoryCount, retention_keeps_what_is_young_and_durable);
    }

    fn retention_keeps_what_is_young_and_durable() {
        let at = |namespace, partner: &str, offset, at| CursorAt {
            namespace: ns(namespace),
            partner: partner.into(),
            offset: Offset(offset),
            at: EventTime(at),
        };
        let all =
            [at("one", "old", 3, 10), at("one", "p", 9, 50), at("one", "q", 7, 60), at("two", "p", 1, 70)];
        let (cursors, written) = with_sink(Cursors::recovered(all.clone()));
        assert_eq!(cursors.all(), all);
        assert_eq!(cursors.keep_from(&ns("one"), EventTime(50)), Some(Offset(7)));
        assert_eq!(cursors.keep_from(&ns("one"), EventTime(0)), Some(Offset(3)));
        assert_eq!(cursors.keep_from(&ns("one"), EventTime(61)), None);
        // What is not durable yet is not relied on.
        assert_eq!(cursors.acknowledged(&ns("one"), "q", Offset(8), EventTime(60), 400), None);
        assert_eq!(cursors.keep_from(&ns("one"), EventTime(60)), Some(Offset(7)));
        cursors.kept(&at("one", "q", 8, 60));
        assert_eq!(cursors.keep_from(&ns("one"), EventTime(60)), Some(Offset(8)));
        written.lock().unwrap().clear();
        assert_eq!(cursors.acknowledged(&ns("one"), "p", Offset(9), EventTime(99), 500), None);
        cursors.write(&ns("one"), "p", 500);
        assert!(written.lock().unwrap().is_empty(), "it was written before");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_stood_still() {
        let cursors = Cursors::default();
        for nth in 0..=CURSORS_MAX {
            cursors.acknowledged(&ns("one"), &nth.to_string(), Offset(1), EventTime(nth as i64), 0);
        }
        assert_eq!(cursors.all().len(), CURSORS_MAX);
        assert_eq!(cursors.get(&ns("one"), "0"), None);
        assert_eq!(cursors.get(&ns("one"), &CURSORS_MAX.to_string()), Some(Offset(1)));
    }
}
