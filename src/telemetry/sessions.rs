//! The open sessions of the doors, and how far each is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use super::lock;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Its hello has not come.
    New,
    /// It brings pings.
    Ingest,
    /// It takes matches.
    Subscribe,
    /// It asks and acts.
    Control,
}

impl SessionKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::New, Self::Ingest, Self::Subscribe, Self::Control];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ingest => "ingest",
            Self::Subscribe => "subscribe",
            Self::Control => "control",
        }
    }
}

#[derive(Debug, Default)]
struct Session {
    identity: String,
    is: OnceLock<(SessionKind, usize)>,
    unapplied_pings: AtomicU64,
    unapplied_batches: AtomicU64,
    cursor: AtomicU64,
    sent: AtomicU64,
    versions_shown: AtomicU64,
}

type Table = Arc<Mutex<BTreeMap<u32, Arc<Session>>>>;

/// All open sessions.
#[derive(Debug, Default)]
pub struct Sessions(Table);

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The lowest number that no other open session has.
    pub number: u32,
    /// Whose it is: the name in its certificate.
    pub identity: String,
    /// What it is for.
    pub kind: SessionKind,
    /// The number of its namespace; 0 where it has none.
    pub namespace: usize,
    /// Pings taken and not yet applied.
    pub unapplied_pings: u64,
    /// Batches taken and not yet applied.
    pub unapplied_batches: u64,
    /// The offset up to which the partner says it has everything.
    pub cursor: u64,
    /// The offset up to which it was sent everything.
    pub sent: u64,
    /// Versions of alerts that the session remembers to have shown.
    pub versions_shown: u64,
}

impl Sessions {
    /// A session opens; it is counted until what is returned is dropped.
    pub fn open(&self, identity: &str) -> Seat {
        let session = Arc::new(Session { identity: identity.into(), ..Session::default() });
        let mut table = lock(&self.0);
        // The first gap, or the end: numbers stay below the most sessions ever open at once.
        let taken = table.keys().zip(0..).take_while(|(number, at)| **number == *at).count();
        let number = u32::try_from(taken).unwrap_or(u32::MAX);
        table.insert(number, Arc::clone(&session));
        drop(table);
        Seat { number, session, table: Arc::clone(&self.0) }
    }

    /// All open sessions, by number.
    pub fn all(&self) -> Vec<SessionView> {
        let table = lock(&self.0);
        let view = |(number, session): (&u32, &Arc<Session>)| {
            let (kind, namespace) = session.is.get().copied().unwrap_or((SessionKind::New, 0));
            SessionView {
                number: *number,
                identity: session.identity.clone(),
                kind,
                namespace,
                unapplied_pings: session.unapplied_pings.load(Relaxed),
                unapplied_batches: session.unapplied_batches.load(Relaxed),
                cursor: session.cursor.load(Relaxed),
                sent: session.sent.load(Relaxed),
                versions_shown: session.versions_shown.load(Relaxed),
            }
        };
        table.iter().map(view).collect()
    }
}

/// One session's place among the figures, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    number: u32,
    session: Arc<Session>,
    table: Table,
}

impl Seat {
    /// Its hello said what it is for, and in which namespace. Said once.
    pub fn is(&self, kind: SessionKind, namespace: usize) {
        // A second hello is no hello; the doors refuse it.
        let _ = self.session.is.set((kind, namespace));
    }

    /// What it is for, as far as it has said.
    pub fn kind(&self) -> SessionKind {
        self.session.is.get().map_or(SessionKind::New, |(kind, _)| *kind)
    }

    /// A batch of so many pings was taken.
    pub fn taken(&self, pings: u64) {
        self.session.unapplied_pings.fetch_add(pings, Relaxed);
        self.session.unapplied_batches.fetch_add(1, Relaxed);
    }

    /// A batch of so many pings is applied.
    pub fn applied(&self, pings: u64) {
        self.session.unapplied_pings.fetch_sub(pings, Relaxed);
        self.session.unapplied_batches.fetch_sub(1, Relaxed);
    }

    /// The partner has everything before this offset.
    pub fn cursor(&self, offset: u64) {
        self.session.cursor.store(offset, Relaxed);
    }

    /// The partner was sent everything before this offset.
    pub fn sent(&self, offset: u64) {
        self.session.sent.store(offset, Relaxed);
    }

    /// So many versions of alerts are remembered to have been shown.
    pub fn versions_shown(&self, versions: usize) {
        self.session.versions_shown.store(versions as u64, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.table).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_seen_while_it_is_open_and_its_number_is_given_again() {
        let sessions = Sessions::default();
        let numbers = || sessions.all().iter().map(|view| view.number).collect::<Vec<_>>();
        let [a, b, c] = ["a", "b", "c"].map(|name| sessions.open(name));
        assert_eq!(numbers(), [0, 1, 2]);
        drop(b);
        drop(a);
        assert_eq!(numbers(), [2]);
        let d = sessions.open("d");
        d.is(SessionKind::Ingest, 3);
        d.taken(5);
        d.taken(7);
        d.applied(5);
        c.is(SessionKind::Subscribe, 1);
        c.sent(9);
        c.cursor(4);
        c.versions_shown(2);
        let all = sessions.all();
        assert_eq!(numbers(), [0, 2]);
        assert_eq!((all[0].identity.as_str(), all[0].kind, all[0].namespace), ("d", SessionKind::Ingest, 3));
        assert_eq!((all[0].unapplied_pings, all[0].unapplied_batches), (7, 1));
        assert_eq!(
            (all[1].kind, all[1].cursor, all[1].sent, all[1].versions_shown),
            (SessionKind::Subscribe, 4, 9, 2)
        );
        drop((c, d));
        assert!(numbers().is_empty());
    }
}
