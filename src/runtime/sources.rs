//! Named sources of pings: up to which of its numbered batches each is applied, and up to which it is
//! safe, so that it can send again from there after a restart.
//!
//! A source is an identity's stream with a name into a namespace. Its newest session speaks for it; what an
//! older one still reports counts for nothing. Invariant: a batch is called safe only once what `safe` rests on
//! holds it, and what a new session numbers again is not.
//!
//! Bounded: an identity that makes up names has those of its sources forgotten that have been without a session
//! longest. A source that is forgotten is told that nothing is safe, which is true of any source.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{NamespaceIx, lock};
use crate::limits::SOURCES_MAX;
use crate::sync::Mutex;

/// Which source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName {
    /// Where its pings go.
    pub namespace: NamespaceIx,
    /// Whose it is.
    pub identity: String,
    /// Its name.
    pub source: String,
}

/// Up to which batch a source was applied at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceApplied {
    /// Which source.
    pub name: SourceName,
    /// All batches up to this number.
    pub batch: u64,
    session: u64,
}

#[derive(Debug)]
struct Source {
    /// The session that speaks for it, by number: the newest.
    session: u64,
    open: bool,
    applied: u64,
    safe: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<SourceName, Source>,
    sessions: u64,
    /// What is safe of any has changed since that was last asked.
    moved: bool,
}

/// All sources of a runtime.
#[derive(Debug, Default)]
pub struct Sources {
    table: Mutex<Table>,
}

impl Sources {
    /// A restart found that all batches of a source up to this number are held.
    pub(crate) fn restore(&self, name: SourceName, safe: u64) {
        let mut table = lock(&self.table);
        let source = Source { session: 0, open: false, applied: safe, safe: watch::channel(safe).0 };
        table.sources.insert(name, source);
        table.forget_some();
    }

    /// A session begins. Its first batch has number `first`; 0 stands for the one after the last that is safe.
    pub fn open(self: &Arc<Self>, name: SourceName, first: u64) -> SourceSession {
        let mut table = lock(&self.table);
        table.sessions += 1;
        let session = table.sessions;
        let source = table.sources.entry(name.clone()).or_insert_with(|| Source {
            session,
            open: true,
            applied: 0,
            safe: watch::channel(0).0,
        });
        let last_safe = *source.safe.borrow();
        let first = if first == 0 { last_safe.saturating_add(1) } else { first };
        source.session = session;
        source.open = true;
        source.applied = first - 1;
        if last_safe >= first {
            source.safe.send_replace(first - 1);
        }
        let safe = source.safe.subscribe();
        table.moved |= last_safe >= first;
        table.forget_some();
        drop(table);
        SourceSession { sources: Arc::clone(self), name, session, first, last_safe, safe }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).sources.len()
    }

    /// What is applied of each source now. Whatever is asked for afterwards holds it.
    pub(crate) fn applied(&self) -> Vec<SourceApplied> {
        let table = lock(&self.table);
        let one = |(name, source): (&SourceName, &Source)| SourceApplied {
            name: name.clone(),
            batch: source.applied,
            session: source.session,
        };
        table.sources.iter().map(one).collect()
    }

    /// What was applied at that moment is safe from now on.
    pub(crate) fn safe(&self, applied: &[SourceApplied]) {
        let mut table = lock(&self.table);
        applied.iter().for_each(|one| table.safe_to(&one.name, one.session, one.batch));
    }

    /// Where the last safe batch of any source has changed since this was last called: that of all.
    pub(crate) fn moved(&self) -> Option<Vec<(SourceName, u64)>> {
        let mut table = lock(&self.table);
        let all = |(name, source): (&SourceName, &Source)| (name.clone(), *source.safe.borrow());
        std::mem::take(&mut table.moved).then(|| table.sources.iter().map(all).collect())
    }
}

impl Table {
    fn safe_to(&mut self, name: &SourceName, session: u64, batch: u64) {
        if let Some(source) = self.sources.get(name)
            && source.session == session
            && *source.safe.borrow() < batch
        {
            source.safe.send_replace(batch);
            self.moved = true;
        }
    }

    /// Keeps the table bounded.
    fn forget_some(&mut self) {
        while self.sources.len() > SOURCES_MAX {
            let closed = self.sources.iter().filter(|(_, source)| !source.open);
            let Some(oldest) = closed.min_by_key(|(_, source)| source.session).map(|(name, _)| name.clone())
            else {
                return;
            };
            self.sources.remove(&oldest);
        }
    }
}

/// A source's session: it says what is applied, and hears what is safe.
#[derive(Debug)]
pub struct SourceSession {
    sources: Arc<Sources>,
    name: SourceName,
    session: u64,
    first: u64,
    last_safe: u64,
    safe: watch::Receiver<u64>,
}

impl SourceSession {
    /// The number of its first batch.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last batch that was safe when it began.
    pub fn last_safe(&self) -> u64 {
        self.last_safe
    }

    /// All batches up to this number are applied.
    pub fn applied(&self, batch: u64) {
        self.with(|source, session| {
            if source.session == session {
                source.applied = batch;
            }
        });
    }

    /// All batches up to this number are safe.
    pub fn kept(&self, batch: u64) {
        lock(&self.sources.table).safe_to(&self.name, self.session, batch);
    }

    /// Up to which batch it is safe, now and as that changes.
    pub fn safe(&mut self) -> &mut watch::Receiver<u64> {
        &mut self.safe
    }

    fn with(&self, act: impl FnOnce(&mut Source, u64)) {
        if let Some(source) = lock(&self.sources.table).sources.get_mut(&self.name) {
            act(source, self.session);
        }
    }
}

impl Drop for SourceSession {
    fn drop(&mut self) {
        self.with(|source, session| source.open &= source.session != session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(source: &str) -> SourceName {
        SourceName { namespace: NamespaceIx(0), identity: "operator".into(), source: source.into() }
    }

    #[test]
    fn what_was_applied_before_a_snapshot_is_safe_after_it() {
        let sources = Arc::new(Sources::default());
        let mut session = sources.open(name("a"), 5);
        assert_eq!((session.first(), session.last_safe()), (5, 0));
        session.applied(7);
        let marks = sources.applied();
        session.applied(9);
        assert_eq!(*session.safe().borrow(), 0);
        sources.safe(&marks);
        assert_eq!(*session.safe().borrow(), 7);
        assert_eq!(sources.moved(), Some(vec![(name("a"), 7)]));
        assert_eq!(sources.moved(), None);
        drop(session);
        let session = sources.open(name("a"), 0);
        assert_eq!((session.first(), session.last_safe()), (8, 7));
    }

    #[test]
    fn a_session_that_numbers_anew_takes_back_what_was_safe() {
        let sources = Arc::new(Sources::default());
        sources.restore(name("a"), 40);
        let old = sources.open(name("a"), 0);
        assert_eq!(old.first(), 41);
        old.applied(50);
        let marks = sources.applied();
        let mut new = sources.open(name("a"), 3);
        assert_eq!(new.last_safe(), 40);
        // What the old session numbered says nothing of the new one's batches.
        sources.safe(&marks);
        old.applied(60);
        old.kept(60);
        assert_eq!(*new.safe().borrow(), 2);
        assert_eq!(sources.applied().iter().map(|one| one.batch).collect::<Vec<_>>(), [2]);
        drop(old);
        new.kept(4);
        assert_eq!(sources.moved(), Some(vec![(name("a"), 4)]));
        assert_eq!(*new.safe().borrow(), 4);
    }

    #[test]
    fn made_up_names_do_not_pile_up_and_open_ones_stay() {
        let sources = Arc::new(Sources::default());
        let kept = sources.open(name("kept"), 1);
        for n in 0..SOURCES_MAX + 10 {
            drop(sources.open(name(&n.to_string()), 1));
        }
        kept.kept(3);
        assert_eq!(sources.moved().unwrap().iter().max_by_key(|one| one.1), Some(&(name("kept"), 3)));
        assert_eq!(lock(&sources.table).sources.len(), SOURCES_MAX);
    }
}
