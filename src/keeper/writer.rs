//! The thread that keeps matches: it takes what partitions appended, writes and syncs it, and only
//! then lets it be shown.
//!
//! While matches keep coming, each group's seal makes the one before it visible; when nothing more
//! comes, a group that is a seal only is written at once. A failure ends the process: what a failed
//! sync left on the disk is not known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::{MATCHES, spawn};
use crate::delivery::Delivery;
use crate::domain::Offset;
use crate::runtime::NamespaceIx;
use crate::store::{LogReader, SegmentedLog, StoreError};
use crate::telemetry::Telemetry;

/// The kind of a record that is a frame of matches.
const FRAME: u8 = 1;
/// How long the thread sleeps where nobody wakes it.
const SLEEP: Duration = Duration::from_secs(1);
/// How often a full disk is tried again.
const FULL_SLEEP: Duration = Duration::from_millis(100);

/// What other threads have of it.
pub(super) struct Handle {
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    /// By namespace: matches below are not needed any more.
    trim: Mutex<Vec<u64>>,
    /// By namespace.
    readers: Vec<LogReader>,
}

impl Handle {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Below which offset the matches of a namespace are visible.
    pub(super) fn visible(&self, ns: usize) -> u64 {
        self.readers.get(ns).map_or(0, LogReader::visible)
    }

    /// Matches of a namespace below this offset may go.
    pub(super) fn trim(&self, ns: usize, below: u64) {
        let mut trim = self.trim.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = trim.get_mut(ns) {
            *held = below.max(*held);
        }
        drop(trim);
        self.wake();
    }
}

/// The running thread.
pub(super) struct Writer {
    handle: Arc<Handle>,
    thread: JoinHandle<()>,
}

/// A writer that is about to start.
pub(super) struct Prepared {
    handle: Arc<Handle>,
    work: Work,
    fatal: UnboundedSender<String>,
}

struct Work {
    delivery: Arc<Delivery>,
    logs: Vec<SegmentedLog>,
    telemetry: Arc<Telemetry>,
    handle: Arc<Handle>,
    /// Matches wait for room on the disk.
    full: bool,
    /// By namespace: more was written since all was last shown.
    busy: Vec<bool>,
}

impl Writer {
    /// Has the match logs kept from now on. Returns readers of what is on the disk, by namespace.
    pub(super) fn prepare(
        delivery: Arc<Delivery>,
        logs: Vec<SegmentedLog>,
        telemetry: Arc<Telemetry>,
        fatal: UnboundedSender<String>,
    ) -> (Prepared, Vec<LogReader>) {
        let readers: Vec<LogReader> = logs.iter().map(SegmentedLog::reader).collect();
        let handle = Arc::new(Handle {
            stop: AtomicBool::new(false),
            thread: OnceLock::new(),
            trim: Mutex::new(vec![0; logs.len()]),
            readers: readers.clone(),
        });
        for (ns, reader) in (0..).zip(&readers) {
            let waker = Arc::clone(&handle);
            delivery.log(NamespaceIx(ns)).keep(reader.clone(), Box::new(move || waker.wake()));
        }
        let busy = vec![false; logs.len()];
        let work = Work { delivery, logs, telemetry, handle: Arc::clone(&handle), full: false, busy };
        (Prepared { handle, work, fatal }, readers)
    }

    pub(super) fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Keeps all that was appended, and ends. Nothing more may be appended.
    pub(super) fn stop(self) {
        self.handle.stop.store(true, Ordering::Release);
        self.handle.wake();
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps matches had panicked");
        }
    }
}

impl Prepared {
    pub(super) fn start(self) -> std::io::Result<Writer> {
        let Self { handle, mut work, fatal } = self;
        let telemetry = Arc::clone(&work.telemetry);
        let thread = spawn("matches".into(), MATCHES, telemetry, fatal, move || work.run())?;
        // It is set once, here.
        let _ = handle.thread.set(thread.thread().clone());
        handle.wake();
        Ok(Writer { handle, thread })
    }
}

impl Work {
    fn run(&mut self) -> Result<(), StoreError> {
        loop {
            let stopping = self.handle.stop.load(Ordering::Acquire);
            let mut wrote = false;
            for ns in 0..self.logs.len() {
                wrote |= self.write(ns)?;
            }
            if wrote {
                continue;
            }
            for ns in 0..self.logs.len() {
                if !self.full {
                    self.timed(ns, SegmentedLog::seal)?;
                    self.busy[ns] = false;
                }
                self.show(ns);
                self.tidy(ns)?;
            }
            if stopping && !self.full {
                return Ok(());
            }
            std::thread::park_timeout(if self.full { FULL_SLEEP } else { SLEEP });
        }
    }

    /// Writes and syncs what was appended; says whether there was anything.
    fn write(&mut self, ns: usize) -> Result<bool, StoreError> {
        let delivery = Arc::clone(&self.delivery);
        let log = delivery.log(NamespaceIx(ns as u16));
        while let Some(chunk) = log.unkept(Offset(self.logs[ns].next())) {
            if !self.logs[ns].fits(chunk.frame.len()) {
                break;
            }
            self.logs[ns].append(FRAME, chunk.first.0, chunk.next.0, &[&chunk.frame])?;
        }
        if self.logs[ns].buffered_bytes() == 0 {
            return Ok(false);
        }
        let mut done = self.timed(ns, SegmentedLog::sync)?;
        if done && !std::mem::replace(&mut self.busy[ns], true) {
            // The first matches after a rest, an alert's: the next group, which would show them, grows meanwhile.
            done = self.timed(ns, SegmentedLog::seal)?;
        }
        self.show(ns);
        self.logs[ns].prepare()?;
        Ok(done)
    }

    /// Syncs; false where the disk is full.
    fn timed(
        &mut self,
        ns: usize,
        sync: impl FnOnce(&mut SegmentedLog) -> Result<u64, StoreError>,
    ) -> Result<bool, StoreError> {
        let log = &mut self.logs[ns];
        if log.buffered_bytes() == 0 && log.visible() >= log.synced() {
            return Ok(true);
        }
        let (began, bytes) = (Instant::now(), log.buffered_bytes() as u64);
        match sync(log) {
            Ok(_) => {
                self.telemetry.storage.synced(MATCHES, began.elapsed(), bytes);
                self.telemetry.storage.log_bytes(MATCHES, ns, log.bytes());
                if std::mem::take(&mut self.full) {
                    tracing::warn!("the disk has room again: matches are kept and shown");
                }
                Ok(true)
            }
            Err(why) if why.is_full() => {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!("matches wait for room, and pings will wait with them: {why}");
                }
                self.telemetry.storage.refused("pings");
                Ok(false)
            }
            Err(why) => Err(why),
        }
    }

    fn show(&self, ns: usize) {
        self.delivery.log(NamespaceIx(ns as u16)).show(Offset(self.logs[ns].visible()));
    }

    fn tidy(&mut self, ns: usize) -> Result<(), StoreError> {
        let below = self.handle.trim.lock().unwrap_or_else(PoisonError::into_inner)[ns];
        if below > self.logs[ns].first() {
            self.logs[ns].trim(below)?;
            self.telemetry.storage.log_bytes(MATCHES, ns, self.logs[ns].bytes());
        }
        Ok(())
    }
}
