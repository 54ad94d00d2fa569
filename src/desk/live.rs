//! The journal of a running desk: one thread that makes records durable and tells the partitions.
//!
//! Doors append in memory under the desk's lock and wait here without it. The committer takes all
//! that came meanwhile, writes it, makes it durable with one sync (so that many authorities share
//! it), then tells the partitions in the order of the journal, then wakes who waited. No lock is
//! held while the disk works. A failure is final: nothing that waited is confirmed, and the process
//! has to end, because what a failed sync left on the disk is not known.
//!
//! Cursors need no place in the order and nobody waits for them: of those that wait for the disk
//! only each partner's newest counts, so a slow disk does not pile them up. On a full disk they wait:
//! what room is left is for alerts that stand, and a partner says again how far it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::domain::{CursorAt, Namespace};
use crate::limits::JOURNAL_WAITING_BYTES_MAX;
use crate::planted::{self, Defect};
use crate::runtime::Runtime;
use crate::telemetry::Log;

use super::journal::{Journal, JournalError, JournalView, Mark, Need, Record, cost, worth_compacting};
use super::lock;
use super::state::State;

/// Where a journal's bytes are kept. One thread uses it.
pub trait JournalFile: Send + 'static {
    /// Takes a record into the group that the next commit makes durable.
    ///
    /// # Errors
    /// Where it failed for good, in one line.
    fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), String>;

    /// Makes durable and final what was appended: no crash may take it back after this.
    ///
    /// # Errors
    /// Where it failed for good, in one line.
    fn commit(&mut self) -> Result<(), String>;

    /// How many bytes of records it has room for, beyond those appended.
    fn room(&self) -> Room;

    /// Looks whether a disk that was full has room again.
    ///
    /// # Errors
    /// Where it failed for good, in one line; a disk that is still full is no error.
    fn make_room(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// What the journal takes on the disk, bytes.
    fn bytes(&self) -> u64;

    /// Writes the journal anew, with [`compacted`](super::compacted), and drops the old one; where the disk
    /// has no room for both, leaves it as it is. Nothing is appended and not committed.
    ///
    /// # Errors
    /// Where it failed for good, in one line.
    fn compact(&mut self, view: &JournalView) -> Result<(), String>;
}

/// Bytes of records that a journal has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For what is refused first.
    pub new: u64,
    /// For what has a reserve.
    pub standing: u64,
}

impl Room {
    /// Whether a record of `bytes` is taken where records of `waiting` bytes wait for the disk.
    ///
    /// # Errors
    /// Where it is not.
    pub(crate) fn admit(self, need: Need, bytes: usize, waiting: u64) -> Result<(), JournalError> {
        let bytes = cost(bytes) + waiting;
        let room = match need {
            Need::New if planted::on(Defect::FullDiskTakesAlerts) => u64::MAX,
            Need::New => self.new,
            Need::Standing => self.standing,
        };
        if bytes > room {
            Err(JournalError::Full)
        } else if bytes > JOURNAL_WAITING_BYTES_MAX as u64 {
            Err(JournalError::Behind)
        } else {
            Ok(())
        }
    }

    /// Whether cursors are written, which nobody admits: only where even new alerts are taken.
    pub(crate) fn takes_cursors(self) -> bool {
        self.new > 0 || planted::on(Defect::CursorsFillDisk)
    }
}

/// How often a full disk is tried again.
const FULL_SLEEP: Duration = Duration::from_millis(500);

/// The newest cursors, by namespace and partner.
type Cursors = BTreeMap<(Namespace, Arc<str>), CursorAt>;

/// The journal as doors see it.
pub struct LiveJournal {
    queue: Mutex<Queue>,
    /// Something waits for the disk, or the end.
    wake: Condvar,
    progress: Mutex<Progress>,
    /// Progress was made.
    moved: Condvar,
    on_cursor: OnceLock<OnCursor>,
}

/// Called with each cursor that is durable.
pub type OnCursor = Box<dyn Fn(&CursorAt) + Send + Sync>;

struct Queue {
    records: Vec<(u8, Vec<u8>)>,
    /// What they take.
    bytes: u64,
    /// The mark of the last record appended.
    mark: Mark,
    moved_cursors: Cursors,
    room: Room,
    stop: bool,
}

#[derive(Default)]
struct Progress {
    durable: Mark,
    /// What partitions were told.
    told: Mark,
    failed: Option<JournalError>,
}

impl LiveJournal {
    /// Notes that a partner's cursor moved. Never waits.
    pub fn cursor(&self, cursor: &CursorAt) {
        let key = (cursor.namespace.clone(), Arc::clone(&cursor.partner));
        let mut queue = lock(&self.queue);
        let held = queue.moved_cursors.entry(key).or_insert_with(|| cursor.clone());
        if cursor.offset > held.offset {
            *held = cursor.clone();
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Whom to tell of cursors that are durable. To be called once, before any moves.
    pub fn on_cursor(&self, tell: OnCursor) {
        if self.on_cursor.set(tell).is_err() {
            tracing::error!("somebody hears of durable cursors already: the further one does not");
        }
    }

    /// Waits until all up to the mark is durable and, where `told`, partitions were told.
    pub(super) fn wait(&self, mark: Mark, told: bool) -> Result<(), JournalError> {
        let mut progress = lock(&self.progress);
        loop {
            if mark <= (if told { progress.told } else { progress.durable }) {
                return Ok(());
            }
            if let Some(why) = &progress.failed {
                return Err(why.clone());
            }
            progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Bytes of records that are not synced yet.
    pub(super) fn waiting_bytes(&self) -> u64 {
        lock(&self.queue).bytes
    }

    fn failure(&self) -> Option<JournalError> {
        lock(&self.progress).failed.clone()
    }

    fn advance(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
        self.moved.notify_all();
    }

    /// Waits until something is to be done, or a full disk is to be tried again; `None` where the end has
    /// come and all is done.
    fn next(&self) -> Option<MutexGuard<'_, Queue>> {
        let mut queue = lock(&self.queue);
        while queue.records.is_empty() && queue.moved_cursors.is_empty() {
            if queue.stop {
                return None;
            }
            if queue.room.takes_cursors() {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let woken = self.wake.wait_timeout(queue, FULL_SLEEP);
            let (back, wait) = woken.unwrap_or_else(PoisonError::into_inner);
            queue = back;
            if wait.timed_out() {
                break;
            }
        }
        Some(queue)
    }
}

impl Journal for &LiveJournal {
    fn admit(&mut self, need: Need, bytes: usize) -> Result<(), JournalError> {
        if let Some(why) = self.failure() {
            return Err(why);
        }
        let queue = lock(&self.queue);
        queue.room.admit(need, bytes, queue.bytes)
    }

    fn append(&mut self, mark: Mark, kind: u8, payload: Vec<u8>) {
        let mut queue = lock(&self.queue);
        queue.bytes += cost(payload.len());
        queue.records.push((kind, payload));
        queue.mark = mark;
        drop(queue);
        self.wake.notify_one();
    }
}

/// The committer's thread; its drop ends it when all is durable.
pub(super) struct Committer {
    pub(super) journal: Arc<LiveJournal>,
    thread: Option<JoinHandle<()>>,
}

/// Called once, where the journal has failed: the process has to end.
pub type OnFailure = Box<dyn FnOnce(&JournalError) + Send>;

impl Committer {
    pub(super) fn start(
        file: impl JournalFile,
        cursors: Vec<CursorAt>,
        state: Arc<State>,
        runtime: Runtime,
        on_failure: OnFailure,
    ) -> std::io::Result<Self> {
        let journal = Arc::new(LiveJournal {
            queue: Mutex::new(Queue {
                records: Vec::new(),
                bytes: 0,
                mark: Mark::default(),
                moved_cursors: Cursors::new(),
                room: file.room(),
                stop: false,
            }),
            wake: Condvar::new(),
            progress: Mutex::default(),
            moved: Condvar::new(),
            on_cursor: OnceLock::new(),
        });
        let cursors =
            cursors.into_iter().map(|held| ((held.namespace.clone(), Arc::clone(&held.partner)), held));
        let (cursors, unwritten) = (cursors.collect(), Cursors::new());
        let work = Work { file, cursors, unwritten, state, runtime, journal: Arc::clone(&journal) };
        let work = planted::carried(move || {
            let journal = Arc::clone(&work.journal);
            // A panic leaves nobody waiting either.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run()));
            let ended = ended.unwrap_or_else(|_| Err("its thread panicked".into()));
            if let Err(why) = ended {
                let why = JournalError::Failed(why);
                tracing::error!("{why}");
                journal.advance(|progress| progress.failed = Some(why.clone()));
                on_failure(&why);
            }
        });
        let thread = std::thread::Builder::new().name("journal".into()).spawn(work)?;
        Ok(Self { journal, thread: Some(thread) })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        lock(&self.journal.queue).stop = true;
        self.journal.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has told of its panic itself.
            let _ = thread.join();
        }
    }
}

/// What the committer has.
struct Work<F> {
    file: F,
    /// Those that are written.
    cursors: Cursors,
    /// Those that wait for room.
    unwritten: Cursors,
    state: Arc<State>,
    runtime: Runtime,
    journal: Arc<LiveJournal>,
}

impl<F: JournalFile> Work<F> {
    fn run(mut self) -> Result<(), String> {
        let journal = Arc::clone(&self.journal);
        while let Some(mut queue) = journal.next() {
            let records = std::mem::take(&mut queue.records);
            let moved = std::mem::take(&mut queue.moved_cursors);
            let mark = queue.mark;
            // `bytes` stay until they are written: they still take of the room.
            drop(queue);
            self.write(records, moved)?;
            self.tell(mark);
            self.compact()?;
        }
        Ok(())
    }

    fn write(&mut self, records: Vec<(u8, Vec<u8>)>, moved: Cursors) -> Result<(), String> {
        self.unwritten.extend(moved);
        if !self.file.room().takes_cursors() {
            self.file.make_room()?;
        }
        let moved = if self.file.room().takes_cursors() {
            std::mem::take(&mut self.unwritten)
        } else {
            Cursors::new()
        };
        let (mut written, any) = (0, !records.is_empty() || !moved.is_empty());
        for (kind, payload) in records {
            written += cost(payload.len());
            self.file.append(kind, &payload)?;
        }
        for cursor in moved.values() {
            let (kind, payload) = Record::Cursor(cursor.clone()).encode().map_err(|why| why.to_string())?;
            self.file.append(kind, &payload)?;
        }
        if any {
            let storage = &self.runtime.telemetry().storage;
            let begun = Instant::now();
            self.file.commit().inspect_err(|_| storage.sync_failed(Log::Actions))?;
            storage.synced(Log::Actions, begun.elapsed(), written);
            storage.log_bytes(Log::Actions, 0, self.file.bytes());
        }
        if let Some(tell) = self.journal.on_cursor.get() {
            moved.values().for_each(tell);
        }
        self.cursors.extend(moved);
        let room = self.file.room();
        let mut queue = lock(&self.journal.queue);
        queue.bytes -= written;
        queue.room = room;
        Ok(())
    }

    /// The one place that tells partitions, in the order of the journal.
    fn tell(&self, mark: Mark) {
        let due = self.state.lock().core.durable(mark);
        self.journal.advance(|progress| progress.durable = mark);
        for order in &due {
            self.runtime.tell(&order.told);
        }
        self.journal.advance(|progress| progress.told = mark);
    }

    fn compact(&mut self) -> Result<(), String> {
        let state = self.state.lock();
        let live = state.core.journal_bytes() + self.cursors.len() as u64 * cost(2 * size_of::<CursorAt>());
        if !worth_compacting(self.file.bytes(), live) {
            return Ok(());
        }
        // The view is of what the file holds only where nothing waits; else the next round is soon.
        if !lock(&self.journal.queue).records.is_empty() {
            return Ok(());
        }
        let view = state.core.view(self.cursors.values().cloned().collect());
        drop(state);
        let before = self.file.bytes();
        self.file.compact(&view)?;
        let room = self.file.room();
        lock(&self.journal.queue).room = room;
        tracing::info!(before, after = self.file.bytes(), "the action journal was compacted");
        Ok(())
    }
}
