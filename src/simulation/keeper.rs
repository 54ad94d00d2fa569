//! Snapshots, taken while everything goes on: begun partition by partition, written block by block,
//! finished once the match logs are visible up to where they were; two are kept.

use std::rc::Rc;

use super::dice::Situation as S;
use super::model::Rules;
use super::world::World;
use crate::domain::EventTime;
use crate::keeper::snapshots::{
    commit, covers_ping_logs, entries_needed_from, matches_needed_from, ping_logs_needed, remove_old,
};
use crate::keeper::sources::mark;
use crate::runtime::{NamespaceIx, SnapshotPart, SourceApplied};
use crate::store::{BlockWriter, Manifest, ManifestFile, SnapshotDraft, SourceMark, StoreError};

/// What a snapshot holds of a partition by the rules.
#[derive(Clone)]
pub(super) struct Saved {
    /// Orders that it had carried out.
    pub(super) orders: u64,
    /// By namespace.
    pub(super) rules: Rc<Vec<Rules>>,
    /// Entries of its ping log, where it had one.
    pub(super) entries: Option<u64>,
}

/// What a snapshot holds, by partition.
pub(super) type Snap = Vec<Option<Saved>>;

/// A snapshot under way.
pub(super) struct Keeper {
    draft: Option<SnapshotDraft>,
    manifest: Manifest,
    /// What was applied of the sources when it began.
    applied: Vec<SourceApplied>,
    snap: Snap,
    /// By partition and namespace: the file that is written, and its entry.
    open: Vec<(usize, usize, BlockWriter, ManifestFile)>,
}

impl World {
    pub(super) fn keeper_steps(&mut self) {
        for _ in 0..1 + self.dice.below(6) {
            if let Err(error) = self.keeper_step() {
                if error.is_full() {
                    self.server.keeper = None;
                    self.server.abort_snapshots();
                }
                self.store_error(error);
                return;
            }
        }
    }

    fn keeper_step(&mut self) -> Result<(), StoreError> {
        let Some(mut keeper) = self.server.keeper.take() else {
            return if self.dice.one_in(3) { self.begin_snapshot() } else { Ok(()) };
        };
        let unbegun: Vec<usize> = (0..keeper.snap.len()).filter(|nth| keeper.snap[*nth].is_none()).collect();
        if !unbegun.is_empty() && (keeper.open.is_empty() || self.dice.one_in(2)) {
            let nth = unbegun[self.dice.below(unbegun.len())];
            self.begin_partition(&mut keeper, nth)?;
        } else if !keeper.open.is_empty() {
            let at = self.dice.below(keeper.open.len());
            let (nth, ns, writer, _) = &mut keeper.open[at];
            let mut block = Vec::new();
            let driver = &mut self.server.shards[*nth].driver;
            let more = driver.snapshot_some(NamespaceIx(*ns as u16), 200, &mut block);
            if !block.is_empty() {
                writer.block(&[&block])?;
            }
            if !more {
                let (_, _, writer, mut entry) = keeper.open.swap_remove(at);
                entry.written = writer.finish()?;
                keeper.manifest.files.push(entry);
            }
        } else {
            // It counts only once the logs show all that it holds.
            let shown = |file: &ManifestFile| {
                let ns = self.setup.runtime.namespaces.iter().position(|c| c.name.as_str() == file.namespace);
                let pings = self.server.ping_logs.as_ref();
                let pings = pings.map_or(u64::MAX, |logs| logs.visible(file.partition));
                self.server.files.logs[ns.unwrap_or_default()].visible() >= file.match_log_end
                    && file.ping_log_next.is_none_or(|next| next <= pings)
            };
            if !keeper.manifest.files.iter().all(shown) {
                self.hit(S::SnapshotWaits);
            } else {
                return self.finish_snapshot(keeper);
            }
        }
        self.server.keeper = Some(keeper);
        Ok(())
    }

    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        let number = self.server.files.snapshots.next_number()?;
        let draft = Some(self.server.files.snapshots.begin(number)?);
        let applied = self.server.sources.applied();
        let namespaces = &self.setup.runtime.namespaces;
        let marks = applied.iter().filter_map(|one| mark(namespaces, one.name.clone(), one.batch));
        let mut sources: Vec<SourceMark> = marks.collect();
        sources.sort_by(|a, b| a.source.cmp(&b.source));
        let begun_ms = self.server.now();
        let manifest = Manifest { version: 0, number, begun_ms, last_action: 0, files: Vec::new(), sources };
        let snap = vec![None; self.server.shards.len()];
        self.server.keeper = Some(Keeper { draft, manifest, applied, snap, open: Vec::new() });
        self.trace.note("snapshot", &[number as i64]);
        Ok(())
    }

    fn begin_partition(&mut self, keeper: &mut Keeper, nth: usize) -> Result<(), StoreError> {
        self.collect(nth);
        // Its thread waits in the middle of something.
        if self.server.sink.late() > 0 {
            return Ok(());
        }
        let shard = &mut self.server.shards[nth];
        if !shard.driver.begin_snapshot() {
            return Ok(());
        }
        if shard.rules.iter().any(|rules| rules.next_stage_at().is_some_and(|due| due <= rules.clock)) {
            self.seen.hit(S::StagePending);
        }
        if (0..self.history.len()).any(|ns| shard.machine(ns).is_growing()) {
            self.seen.hit(S::GrowthSaved);
        }
        let partitions = self.server.shards.len() as u32;
        let did = self.did.get(&(partitions, nth)).map_or(0, Vec::len);
        let entries = self.server.ping_logs.is_some().then_some(did as u64);
        let (orders, rules) = (self.server.shards[nth].driver.orders(), &self.server.shards[nth].rules);
        keeper.snap[nth] = Some(Saved { orders, rules: Rc::new(rules.clone()), entries });
        for part in self.server.shards[nth].driver.begun() {
            let SnapshotPart::Begin { namespace, orders: of, clock, devices, log_end, ping_log_next } = part
            else {
                continue;
            };
            if (of, ping_log_next) != (orders, entries) {
                self.wrong(format!(
                    "a snapshot begins at {of} orders, entry {ping_log_next:?} of {entries:?}"
                ));
            }
            let ns = usize::from(namespace.0);
            let config = &self.setup.runtime.namespaces[ns];
            let Some(draft) = &keeper.draft else { return Ok(()) };
            let name = format!("{}-{nth}", config.name);
            let writer = draft.file(&name, 0)?;
            let entry = ManifestFile {
                written: crate::store::WrittenFile { name, bytes: 0, blocks: 0, digest: String::new() },
                namespace: config.name.to_string(),
                partition: nth as u32,
                last_action: orders,
                clock_ms: clock.0,
                match_log_end: log_end.0,
                ping_log_next,
                devices: devices as u64,
            };
            keeper.open.push((nth, ns, writer, entry));
        }
        self.trace.note("snapshot of", &[nth as i64, orders as i64]);
        Ok(())
    }

    fn finish_snapshot(&mut self, mut keeper: Keeper) -> Result<(), StoreError> {
        let Some(draft) = keeper.draft.take() else { return Ok(()) };
        self.snaps.insert(keeper.manifest.number, keeper.snap);
        if self.faults && self.dice.one_in(5) {
            self.disk.set_fuse(Some(self.dice.below(9) as u64));
        }
        let folder = self.server.files.snapshots.clone();
        commit(&folder, draft, &mut keeper.manifest, &self.server.sources, &keeper.applied)?;
        self.hit(S::Snapshot);
        self.trace.note("snapshot done", &[keeper.manifest.number as i64]);
        let finished = remove_old(&folder)?;
        self.kept = finished.iter().map(|manifest| manifest.number).collect();
        // The older of two may have to do, so what it needs stays.
        if finished.len() >= 2 {
            for ns in 0..self.history.len() {
                self.trim(ns, &finished[..2])?;
            }
            if let Some(logs) = &self.server.ping_logs {
                let needed = entries_needed_from(&finished[..2], self.server.shards.len() as u32);
                (0..).zip(needed).for_each(|(partition, below)| logs.trim(partition, below));
            }
            let written = self.server.ping_logs.is_some().then_some(self.server.shards.len() as u32);
            self.remove_ping_logs(&ping_logs_needed(&finished[..2], written))?;
        }
        Ok(())
    }

    /// Where pings are kept: snapshots are taken before anything is served, until all that are kept say where the ping
    /// logs go on.
    pub(super) fn cover(&mut self) -> Result<(), StoreError> {
        let partitions = self.server.shards.len() as u32;
        let mut steps = 0;
        while self.server.ping_logs.is_some() && self.error.is_none() {
            let (finished, _) = self.server.files.snapshots.list()?;
            let mut kept = finished.iter().take(2).peekable();
            if kept.peek().is_some() && kept.all(|manifest| covers_ping_logs(manifest, partitions)) {
                break;
            }
            self.hit(S::Covered);
            self.begin_snapshot()?;
            while self.server.keeper.is_some() && self.error.is_none() {
                steps += 1;
                if steps > 10_000 {
                    self.wrong("no snapshot comes about");
                }
                self.write_ping_logs()?;
                (0..self.history.len()).try_for_each(|ns| self.write_log(ns))?;
                self.keeper_step()?;
            }
        }
        Ok(())
    }

    /// What neither these snapshots nor partners that came lately need goes, as `keeper` has it; then it is
    /// looked at by the world's own notes.
    fn trim(&mut self, ns: usize, kept: &[Manifest]) -> Result<(), StoreError> {
        let name = self.setup.runtime.namespaces[ns].name.clone();
        let ends = kept.iter().flat_map(|manifest| &manifest.files);
        let ends = ends.filter(|file| file.namespace == name.as_str()).map(|file| file.match_log_end);
        let ends: Vec<u64> = ends.collect();
        let (lag, now) = (self.setup.lag, self.server.now());
        let since = now - lag.age_ms as i64;
        self.too_old[ns] = self.too_old[ns].max(since);
        let (delivery, of) = (&self.server.sink.delivery, NamespaceIx(ns as u16));
        let below = matches_needed_from(kept, delivery, of, &name, EventTime(since)).unwrap_or(0);
        if self.server.files.logs[ns].trim(below)? > 0 {
            self.hit(S::LogTrimmed);
        }
        let (first, end) = (self.server.files.logs[ns].first(), self.history[ns].matches.len() as u64);
        let needed = ends.into_iter().chain([end.saturating_sub(lag.matches)]).min().unwrap_or(0);
        if first > needed {
            self.wrong(format!("the log of {ns} begins at {first}, {needed} is needed"));
        }
        for (nth, partner) in self.partners.iter().enumerate().filter(|(_, partner)| partner.ns == ns) {
            match self.acked[nth] {
                Some((offset, at)) if at >= since && first > offset && offset >= self.gone[nth] => {
                    let why = format!("the log begins at {first}, partner {nth} has acknowledged {offset}");
                    self.error.get_or_insert(why);
                }
                Some((offset, at)) if at < since && first > offset => {
                    self.gone[nth] = self.gone[nth].max(offset + 1);
                    if !partner.skipped {
                        self.seen.hit(S::TrimmedByAge);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl super::server::Server {
    fn abort_snapshots(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.driver.abort_snapshot());
    }
}
