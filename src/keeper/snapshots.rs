//! The thread that takes snapshots: one partition after the other, while pings go on.
//!
//! A partition hands its blocks over as this thread can write them. When all are written, the manifest
//! waits until the match logs show what was found before each partition began; then it counts, older
//! snapshots but one go, and the logs lose what nobody needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::sources::mark;
use super::writer::Handle;
use super::{pings, since};
use crate::delivery::Delivery;
use crate::domain::{EventTime, Namespace};
use crate::limits::SNAPSHOTS_KEPT;
use crate::planted::{self, Defect};
use crate::runtime::{NamespaceIx, Runtime, SnapshotPart, SourceApplied, Sources};
use crate::store::{
    BlockWriter, Disk, Manifest, ManifestFile, SnapshotDraft, SnapshotFolder, StoreError, WrittenFile,
};
use crate::telemetry::Telemetry;

/// The next snapshot waits at least so many times as long as the last one took.
const REST: u32 = 10;

/// What a snapshot is taken of and written to.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: SnapshotFolder,
    pub(super) runtime: Runtime,
    pub(super) delivery: Arc<Delivery>,
    pub(super) writer: Arc<Handle>,
    pub(super) pings: Option<pings::Handle>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// The running thread.
pub(super) struct Snapshots {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Snapshots {
    /// Takes one every so often.
    pub(super) fn start(shared: Shared, every: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("snapshots".into()).spawn(move || {
            let mut wait = every;
            loop {
                let last = !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
                let began = Instant::now();
                if let Err(why) = shared.take() {
                    shared.telemetry.storage.snapshot_failed();
                    tracing::error!("no snapshot was taken: {why}");
                    // A full disk must not fill with what is not finished.
                    if let Err(why) = shared.retain() {
                        tracing::error!("what is left of a snapshot was not removed: {why}");
                    }
                }
                if last {
                    return;
                }
                wait = every.max(began.elapsed() * REST);
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Takes a last one and ends.
    pub(super) fn stop(self) {
        // The thread ends only by this.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the thread that takes snapshots had panicked");
        }
    }
}

impl Shared {
    fn take(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let number = self.folder.next_number()?;
        let draft = self.folder.begin(number)?;
        let begun_ms = self.runtime.now().0;
        // Before any partition begins: what is applied now is in it.
        let applied = self.runtime.keeping().sources.applied();
        let namespaces = self.runtime.namespaces();
        let marks = applied.iter().filter_map(|one| mark(namespaces, one.name.clone(), one.batch));
        let sources = marks.collect();
        let mut manifest =
            Manifest { version: 0, number, begun_ms, last_action: 0, files: Vec::new(), sources };
        for partition in 0..self.runtime.partitions() {
            let parts = self.runtime.snapshot(partition);
            let mut open: Option<(BlockWriter, ManifestFile)> = None;
            let mut whole = false;
            for part in parts {
                match part {
                    SnapshotPart::Begin { namespace, orders, clock, devices, log_end, ping_log_next } => {
                        close(&mut open, &mut manifest)?;
                        let name = self.runtime.namespaces()[usize::from(namespace.0)].name.to_string();
                        let file = format!("{name}-{partition}");
                        let entry = ManifestFile {
                            written: WrittenFile {
                                name: file.clone(),
                                bytes: 0,
                                blocks: 0,
                                digest: String::new(),
                            },
                            namespace: name,
                            partition,
                            last_action: orders,
                            clock_ms: clock.0,
                            match_log_end: log_end.0,
                            ping_log_next,
                            devices: devices as u64,
                        };
                        open = Some((draft.file(&file, 0)?, entry));
                    }
                    SnapshotPart::Block(block) => {
                        if let Some((writer, _)) = &mut open {
                            writer.block(&[&block])?;
                        }
                    }
                    SnapshotPart::End => whole = true,
                }
            }
            if !whole {
                // The partitions are ending.
                return self.folder.remove(number);
            }
            close(&mut open, &mut manifest)?;
        }
        manifest.last_action = manifest.files.iter().map(|file| file.last_action).min().unwrap_or(0);
        self.wait_for_logs(&manifest);
        commit(&self.folder, draft, &mut manifest, &self.runtime.keeping().sources, &applied)?;
        let bytes = manifest.files.iter().map(|file| file.written.bytes).sum();
        self.telemetry.storage.snapshot_taken(begun_ms, began.elapsed(), bytes);
        let devices: u64 = manifest.files.iter().map(|file| file.devices).sum();
        let took_ms = began.elapsed().as_millis() as u64;
        tracing::debug!(number, devices, bytes, took_ms, "snapshot taken");
        self.retain()
    }

    /// Until the logs show all that the snapshot rests on.
    fn wait_for_logs(&self, manifest: &Manifest) {
        for file in &manifest.files {
            let ns = self.runtime.namespaces().iter().position(|ns| ns.name.as_str() == file.namespace);
            while ns.is_some_and(|ns| self.writer.visible(ns) < file.match_log_end) {
                // The writer is at it; a failure there ends the process.
                std::thread::park_timeout(Duration::from_millis(2));
            }
            while let (Some(pings), Some(next)) = (&self.pings, file.ping_log_next)
                && pings.visible(file.partition) < next
            {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }

    /// Takes snapshots until all that are kept, one at least, say where this engine's ping logs go on:
    /// pings are safe only from then on.
    pub(super) fn cover_ping_logs(&self) -> Result<(), StoreError> {
        if self.pings.is_none() {
            return Ok(());
        }
        loop {
            let (finished, _) = self.folder.list()?;
            let mut kept = finished.iter().take(SNAPSHOTS_KEPT).peekable();
            let partitions = self.runtime.partitions();
            if kept.peek().is_some() && kept.all(|manifest| covers_ping_logs(manifest, partitions)) {
                return Ok(());
            }
            self.take()?;
        }
    }

    /// Removes what two snapshots and the partners' cursors do not need.
    fn retain(&self) -> Result<(), StoreError> {
        let finished = remove_old(&self.folder)?;
        let Some(kept) = finished.get(..SNAPSHOTS_KEPT) else { return Ok(()) };
        let since = since(self.runtime.now(), self.delivery.lag().age_ms);
        for (ns, namespace) in self.runtime.namespaces().iter().enumerate() {
            let ns_ix = NamespaceIx(ns as u16);
            if let Some(below) = matches_needed_from(kept, &self.delivery, ns_ix, &namespace.name, since) {
                self.writer.trim(ns, below);
            }
        }
        if let Some(pings) = &self.pings {
            for (partition, below) in (0..).zip(entries_needed_from(kept, self.runtime.partitions())) {
                pings.trim(partition, below);
            }
        }
        let current = self.pings.is_some().then_some(self.runtime.partitions());
        pings::remove_others(&*self.disk, &ping_logs_needed(kept, current))
    }
}

/// The numbers of partitions whose ping logs are written, or named by these snapshots.
pub(crate) fn ping_logs_needed(kept: &[Manifest], written: Option<u32>) -> BTreeSet<u32> {
    let names = |manifest: &&Manifest| manifest.files.iter().any(|file| file.ping_log_next.is_some());
    let partitions = |manifest: &Manifest| manifest.files.iter().map(|file| file.partition + 1).max();
    kept.iter().filter(names).filter_map(partitions).chain(written).collect()
}

/// Makes a snapshot count; what was applied of the sources when it began is safe from then on.
pub(crate) fn commit(
    folder: &SnapshotFolder,
    draft: SnapshotDraft,
    manifest: &mut Manifest,
    sources: &Sources,
    applied: &[SourceApplied],
) -> Result<(), StoreError> {
    draft.commit(manifest)?;
    // Who is told that pings are safe may drop them: a disk that lied about the manifest is found out before.
    let (finished, _) = folder.list()?;
    if finished.first() != Some(manifest) {
        let file = format!("snapshots/{}/MANIFEST", manifest.number);
        return Err(StoreError::damaged(&file, 0, "it is not what was written"));
    }
    sources.safe(applied);
    Ok(())
}

/// Removes snapshots that are not needed any more or were not finished; returns the rest, the newest first.
pub(crate) fn remove_old(folder: &SnapshotFolder) -> Result<Vec<Manifest>, StoreError> {
    let (mut finished, skipped) = folder.list()?;
    for skipped in &skipped {
        if let Some(why) = &skipped.error {
            tracing::error!(
                snapshot = skipped.number,
                "a snapshot's manifest is damaged, it is removed: {why}"
            );
        }
        folder.remove(skipped.number)?;
    }
    for old in finished.drain(SNAPSHOTS_KEPT.min(finished.len())..) {
        folder.remove(old.number)?;
    }
    Ok(finished)
}

/// From which offset on these snapshots, and the partners whose cursors are newer than `since`, need a namespace's
/// matches.
pub(crate) fn matches_needed_from(
    kept: &[Manifest],
    delivery: &Delivery,
    ns: NamespaceIx,
    name: &Namespace,
    since: EventTime,
) -> Option<u64> {
    let files = kept.iter().flat_map(|manifest| &manifest.files);
    let needed = files.filter(|file| file.namespace == name.as_str()).map(|file| file.match_log_end);
    let cursor = delivery.cursors().keep_from(name, since).map(|offset| offset.0);
    // Who has never acknowledged reads what memory would hold. Counted from what is shown: the rest may be gone
    // after a crash.
    let recent = delivery.log(ns).end().0.saturating_sub(delivery.lag().matches);
    needed.chain(cursor).chain([recent]).min()
}

/// From which entry on these snapshots need the ping log of each of so many partitions; none where not all of them
/// say it of each.
pub(crate) fn entries_needed_from(kept: &[Manifest], partitions: u32) -> Vec<u64> {
    if !kept.iter().all(|manifest| covers_ping_logs(manifest, partitions)) {
        return Vec::new();
    }
    let needed = |partition| {
        let files = kept.iter().flat_map(|manifest| &manifest.files);
        let of = files.filter(|file| file.partition == partition).filter_map(|file| file.ping_log_next);
        if planted::on(Defect::PingLogTrimmedToNewest) { of.max() } else { of.min() }
    };
    (0..partitions).filter_map(needed).collect()
}

/// Whether a snapshot says of each of so many partitions where its ping log goes on.
pub(crate) fn covers_ping_logs(manifest: &Manifest, partitions: u32) -> bool {
    let files = &manifest.files;
    files.iter().all(|file| file.ping_log_next.is_some() && file.partition < partitions)
        && (0..partitions).all(|nth| files.iter().any(|file| file.partition == nth))
}

fn close(open: &mut Option<(BlockWriter, ManifestFile)>, manifest: &mut Manifest) -> Result<(), StoreError> {
    if let Some((writer, mut entry)) = open.take() {
        entry.written = writer.finish()?;
        manifest.files.push(entry);
    }
    Ok(())
}
