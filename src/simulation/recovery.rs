//! The partitions of a process that starts: recovered by the keeper's own code, and judged by what the rules make
//! of the same: the snapshot, what the ping logs held, and the actions after it. Where there are other partitions than
//! before, devices are dealt to them.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::checks::same;
use super::crash::Again;
use super::dice::Situation as S;
use super::disk::{self, Files};
use super::model::{Found, Order, Rules};
use super::server::{Did, Shard, plain};
use super::world::World;
use crate::domain::{DeviceId, partition_of};
use crate::keeper::KeepError;
use crate::keeper::pings::{self, Shelf, remove_others};
use crate::keeper::recover::{Back, How, recover};
use crate::keeper::snapshots::ping_logs_needed;
use crate::keeper::sources::{SourcesLog, restore};
use crate::runtime::MatchSink;
use crate::store::{Disk, LogReader, SegmentedLog, StoreError};
use crate::telemetry::Telemetry;

/// What the rules say of partitions that are back.
struct ByRules {
    /// By partition and namespace.
    rules: Vec<Vec<Rules>>,
    /// By partition: orders that the snapshot and the ping log have.
    logged_orders: Vec<u64>,
}

impl World {
    /// Recovers the partitions of the new process.
    pub(super) fn recover_partitions(&mut self, all: &[Again]) -> Result<(), StoreError> {
        let (finished, skipped) = self.server.files.snapshots.list()?;
        if !skipped.is_empty() {
            self.hit(S::SnapshotSkipped);
        }
        if self.setup.durable && skipped.iter().all(|skipped| skipped.error.is_none()) {
            self.remove_ping_logs(&ping_logs_needed(&finished[..finished.len().min(2)], None))?;
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let mut id = self.dice.next();
        let mut options = move || {
            id = id.wrapping_add(1);
            disk::options(id)
        };
        let of_sources = options();
        let mut shelf = Shelf::new(Arc::clone(&disk), options);
        let back = match self.keepers_part(all, &mut shelf) {
            Ok(back) => back,
            Err(KeepError::Store(why)) => return Err(why),
            Err(why) => {
                if !self.found_out() {
                    self.lost(why.to_string());
                }
                return Ok(());
            }
        };
        let newest = finished.first().map(|manifest| manifest.number);
        let fell_back = back.snapshot != newest || skipped.iter().any(|skipped| skipped.error.is_some());
        if fell_back {
            self.hit(S::SnapshotDamaged);
            if !self.note_lies() {
                self.wrong("a snapshot is damaged, and the disk did nothing");
            }
        }
        if let Some(number) = back.snapshot {
            self.hit(S::SnapshotRestored);
            self.trace.note("restored", &[number as i64]);
        }
        let by_rules = self.by_rules(back.snapshot, all, &mut shelf)?;
        if self.error.is_some() || self.ended {
            return Ok(());
        }
        self.stand_up(back, by_rules, all);
        if self.setup.durable {
            self.keep_pings(&mut shelf, of_sources, all)?;
        } else {
            let (sources, namespaces) = (&self.server.sources, &self.setup.runtime.namespaces);
            restore(sources, namespaces, &self.server.back_sources, &[]);
        }
        self.look_at_promises(fell_back);
        self.cover()
    }

    fn keepers_part(&mut self, all: &[Again], shelf: &mut Shelf) -> Result<Back, KeepError> {
        let server = &self.server;
        let sink = Arc::clone(&server.sink) as Arc<dyn MatchSink>;
        let how = How { clock: Arc::clone(&server.clock) as Arc<_>, alone: true };
        let Files { logs, snapshots, .. } = &server.files;
        let logs: Vec<LogReader> = logs.iter().map(SegmentedLog::reader).collect();
        let orders: Vec<_> = all.iter().map(|(again, _)| again.clone()).collect();
        recover(snapshots, &self.setup.runtime, &orders, &logs, shelf, &sink, &how)
    }

    /// What comes of the snapshot, the ping logs where it names them, and the actions, by the rules.
    fn by_rules(
        &mut self,
        snapshot: Option<u64>,
        all: &[Again],
        shelf: &mut Shelf,
    ) -> Result<ByRules, StoreError> {
        let empty = vec![None; self.setup.runtime.partitions as usize];
        let snap = snapshot.and_then(|number| self.snaps.get(&number).cloned()).unwrap_or(empty);
        let partitions = snap.len() as u32;
        let named: Option<Vec<u64>> =
            snap.iter().map(|one| one.as_ref().and_then(|one| one.entries)).collect();
        if named.is_some() {
            self.cut_did(partitions, shelf.of(partitions, &[])?);
        }
        let mut by_rules = ByRules { rules: Vec::new(), logged_orders: Vec::new() };
        let mut unknown = false;
        for (nth, one) in snap.into_iter().enumerate() {
            let (mut orders, mut rules) = match one {
                Some(one) => (one.orders, (*one.rules).clone()),
                None => (0, self.setup.max_ages.iter().map(|age| Rules::new(*age)).collect()),
            };
            for (ns, history) in self.history.iter().enumerate() {
                for (alert, device) in history.stories.keys() {
                    if partition_of(DeviceId(*device), partitions) as usize == nth {
                        unknown |= !rules[ns].devices.contains_key(device);
                        rules[ns].note(*alert, *device);
                    }
                }
            }
            if let Some(named) = &named {
                let did = self.did.get(&(partitions, nth)).map_or(&[][..], Vec::as_slice);
                for did in did.get(named[nth] as usize..).unwrap_or_default() {
                    did.again(&mut rules, &mut orders, self.setup.skew, |device| {
                        partition_of(DeviceId(device), partitions) as usize == nth
                    });
                }
            }
            by_rules.logged_orders.push(orders);
            for (_, order) in all.iter().filter(|(again, _)| again.no >= orders) {
                rules.iter_mut().for_each(|rules| rules.order(order));
            }
            for (ns, rules) in rules.iter_mut().enumerate() {
                self.drop_logged(ns, rules);
            }
            by_rules.rules.push(rules);
        }
        if unknown {
            self.hit(S::NotedUnknown);
        }
        Ok(by_rules)
    }

    /// What partitions did is known again as far as their logs hold it.
    fn cut_did(&mut self, partitions: u32, logs: &[SegmentedLog]) {
        for (nth, log) in logs.iter().enumerate() {
            let did = self.did.entry((partitions, nth)).or_default();
            let (held, there) = (log.next(), did.len());
            did.truncate(held as usize);
            if did.len() as u64 != held {
                self.wrong(format!(
                    "the ping log of {nth} of {partitions} has {held} entries, {there} were made"
                ));
            }
        }
    }

    /// Judges what recovery found, and makes the new process's partitions.
    fn stand_up(&mut self, back: Back, by_rules: ByRules, all: &[Again]) {
        let ByRules { rules: mut old, logged_orders } = by_rules;
        let dealt = old.len() != self.setup.runtime.partitions as usize;
        let orders: Vec<Rc<Order>> = all.iter().map(|(_, order)| Rc::clone(order)).collect();
        if dealt {
            self.hit(S::Dealt);
            let clocks: Vec<i64> = old.iter().flatten().map(|rules| rules.clock).collect();
            let latest = clocks.iter().copied().max().unwrap_or(i64::MIN);
            if clocks.iter().any(|clock| *clock != latest) {
                self.hit(S::DealtUneven);
            }
            old.iter_mut().flatten().for_each(|rules| rules.stages_through(latest));
        }
        let mut found: Vec<Vec<Found>> = vec![Vec::new(); self.history.len()];
        for (ns, one) in self.server.sink.take() {
            let one = plain(&one);
            self.trace.note("match", &[ns as i64, i64::from(one.alert), one.device as i64, one.at]);
            found[ns].push(one);
            let pushed = self.history[ns].push(one);
            self.expect(pushed.map_err(|why| format!("recovery, namespace {ns}: {why}")));
        }
        for (ns, mut found) in found.into_iter().enumerate() {
            let mut due: Vec<Found> = old.iter_mut().flat_map(|rules| rules[ns].found.drain(..)).collect();
            let judged = same(&mut found, &mut due);
            self.expect(judged.map_err(|why| format!("recovery, namespace {ns}: {why}")));
        }
        if back.batches > 0 {
            self.hit(S::PingsAgain);
        }
        let expected: &[u64] = if dealt { &[] } else { &logged_orders };
        if back.logged_orders != expected {
            let is = &back.logged_orders;
            self.wrong(format!("snapshot and ping logs have {is:?} orders, not {expected:?}"));
        }
        self.server.logged_orders = back.logged_orders;
        self.server.back_sources = back.sources;
        let of = self.setup.runtime.partitions;
        self.server.shards.clear();
        for (nth, mut driver) in back.drivers.into_iter().enumerate() {
            driver.set_slice(self.setup.slice);
            let mine = |device| partition_of(DeviceId(device), of) as usize == nth;
            let of_ns = |ns: usize| old.iter().map(|rules| &rules[ns]).collect::<Vec<_>>();
            let rules = match dealt {
                true => (0..self.history.len()).map(|ns| Rules::dealt(&of_ns(ns), mine, &orders)).collect(),
                false => std::mem::take(&mut old[nth]),
            };
            self.server.shards.push(Shard::of(driver, rules));
        }
        self.trace.note("stands", &[old.len() as i64, i64::from(of)]);
        (0..self.server.shards.len()).for_each(|nth| self.collect(nth));
    }

    /// The ping logs take what partitions do from now on.
    fn keep_pings(
        &mut self,
        shelf: &mut Shelf,
        of_sources: crate::store::LogOptions,
        all: &[Again],
    ) -> Result<(), StoreError> {
        let of = self.setup.runtime.partitions;
        let logs = shelf.take(of)?;
        self.cut_did(of, &logs);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let namespaces = &self.setup.runtime.namespaces;
        let opened = SourcesLog::open(disk, of_sources, Duration::ZERO, &self.server.sources, namespaces);
        let (log, marks, _) = match opened {
            Ok(opened) => opened,
            Err(KeepError::Store(why)) => return Err(why),
            Err(why) => {
                self.wrong(why.to_string());
                return Ok(());
            }
        };
        restore(&self.server.sources, namespaces, &self.server.back_sources, &marks);
        let telemetry = Telemetry::new(namespaces.iter().map(|ns| ns.name.clone()), of);
        let (works, ends, handle) = pings::prepare(logs, namespaces, log, &telemetry);
        for (nth, end) in ends.into_iter().enumerate() {
            let logged = self.server.logged_orders.get(nth).copied().unwrap_or(u64::MAX);
            self.server.shards[nth].driver.keep(end, logged);
            let did = self.did.entry((of, nth)).or_default();
            let late = all.iter().filter(|(again, _)| again.no >= logged);
            did.extend(late.map(|(again, order)| Did::Order(again.no, Rc::clone(order))));
        }
        (self.server.works, self.server.ping_logs) = (works, Some(handle));
        Ok(())
    }

    /// Removes all ping logs but those of these numbers of partitions.
    pub(super) fn remove_ping_logs(&mut self, needed: &BTreeSet<u32>) -> Result<(), StoreError> {
        remove_others(&self.disk, needed)?;
        let before = self.did.len();
        self.did.retain(|(partitions, _), _| needed.contains(partitions));
        if self.did.len() < before {
            self.hit(S::PingLogsGo);
        }
        Ok(())
    }

    /// What sources were told is safe must be there, unless it was in a snapshot that is damaged.
    fn look_at_promises(&mut self, fell_back: bool) {
        let mut lost = None;
        for (ns, promised) in self.promised.iter().enumerate() {
            for (device, at) in promised {
                let rules = &self.server.shards[self.server.partition(*device)].rules[ns];
                let held = rules.devices.get(device);
                if held.is_none_or(|held| held.at < *at) {
                    lost = Some(format!("device {device} of {ns} was safe at {at}, now {held:?}"));
                }
            }
        }
        match lost {
            Some(_) if fell_back => {
                self.hit(S::SafeDamaged);
                self.promised.iter_mut().for_each(std::collections::BTreeMap::clear);
            }
            Some(_) if self.disk.counts().lost_renames > 0 => {
                // A snapshot that lost its manifest's name is one that was never finished.
                self.hit(S::SafeUnnamed);
                self.promised.iter_mut().for_each(std::collections::BTreeMap::clear);
            }
            Some(lost) => self.lost(lost),
            None => {}
        }
    }
}
