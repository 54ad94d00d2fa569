//! The process ends at any moment, and another one starts from what the disk holds.

use std::rc::Rc;

use super::actors::actor;
use super::acts::MINUTE;
use super::dice::Situation as S;
use super::disk::{Files, read_all};
use super::model::{Desk, Order, Rules};
use super::server::{Server, Shard};
use super::world::{World, partner_no};
use crate::desk::{NumberedTold, Record, Recovered, StoredError};
use crate::domain::{Cause, CursorAt};
use crate::runtime::MatchSink;
use crate::store::StoreError;

/// An action that is decided again, and what the rules make of it.
pub(super) type Again = (NumberedTold, Rc<Order>);

impl World {
    pub(super) fn crash(&mut self) {
        self.note_what_is_lost();
        self.crashing = true;
        if !self.disk.is_dead() && self.faults && self.dice.one_in(2) {
            // In the middle of whatever the disk is at.
            self.disk.set_fuse(Some(self.dice.below(5) as u64));
            match self.dice.below(4) {
                0 => self.sync_journal(),
                1 => self.keeper_steps(),
                2 => self.sync_pings(),
                _ => {
                    let ns = self.dice.below(self.history.len());
                    self.sync_log(ns);
                }
            }
        }
        self.crashing = false;
        if self.ended {
            return;
        }
        if self.disk.is_dead() {
            self.hit(S::CrashInSync);
        }
        self.stop();
        // An outage, mostly short.
        let outage = match self.dice.below(8) {
            0 => self.dice.range(5 * MINUTE, 40 * MINUTE),
            1 => self.dice.range(MINUTE, 8 * 60 * MINUTE),
            _ => self.dice.range(0, 20_000),
        };
        self.note_outage(outage);
        self.time += outage;
        if self.faults && self.dice.one_in(10) {
            self.off -= self.dice.range(1, 60 * MINUTE);
            self.hit(S::ClockBackRestart);
        }
        self.restart();
    }

    fn stop(&mut self) {
        self.note_lies();
        let power = self.dice.one_in(2);
        self.trace.note("crash", &[i64::from(power)]);
        if power {
            self.hit(S::PowerCut);
            let before = self.disk.counts().undone_renames;
            self.disk.power_cut();
            if self.disk.counts().undone_renames > before {
                self.hit(S::RenameUndone);
            }
        } else {
            self.hit(S::Kill);
            self.disk.crash();
        }
    }

    fn note_what_is_lost(&mut self) {
        let orders: Vec<u64> = self.server.shards.iter().map(|shard| shard.driver.orders()).collect();
        if orders.iter().any(|one| *one != orders[0]) {
            self.hit(S::CrashHalfTold);
        }
        if self.server.shards.iter().any(|shard| shard.driver.has_work()) {
            self.hit(S::CrashMidScan);
        }
        let namespaces = self.history.len();
        let grows = |shard: &Shard| (0..namespaces).any(|ns| shard.machine(ns).is_growing());
        if self.server.shards.iter().any(grows) {
            self.hit(S::Growth);
        }
        if !self.server.waiting.is_empty() {
            self.hit(S::CrashUnconfirmed);
        }
        if self.server.keeper.is_some() {
            self.hit(S::SnapshotMidCrash);
        }
        let ends = self.server.files.logs.iter().zip(&self.history);
        if ends.into_iter().any(|(log, history)| log.visible() < history.matches.len() as u64) {
            self.hit(S::CrashUnsynced);
        }
    }

    fn note_outage(&mut self, outage: i64) {
        let until = self.server.now() + outage;
        let mut rules = self.server.shards[0].rules[0].clone();
        if rules.expires_through(until) {
            self.hit(S::OutageExpiry);
        }
        let mut stages = 0;
        while let Some(due) = rules.next_stage_at().filter(|due| *due <= until) {
            rules.stages_through(due);
            stages += 1;
        }
        if stages >= 2 {
            self.hit(S::OutageTwoStages);
        }
    }

    /// Starts processes until one stands.
    pub(super) fn restart(&mut self) {
        for attempt in 0..20 {
            if self.faults && attempt < 3 && self.dice.one_in(4) {
                self.disk.set_fuse(Some(self.dice.below(60) as u64));
            }
            if attempt > 2 {
                self.disk.set_faults(Default::default());
            }
            self.once_durable |= self.setup.durable;
            match self.start() {
                Ok(()) if self.ended => return,
                Ok(()) => {
                    self.sources.iter_mut().for_each(|source| source.session = None);
                    self.partners.iter_mut().for_each(|partner| partner.connection = None);
                    return;
                }
                Err(error) if error.is_damage() => return self.store_error(error),
                Err(error) if error.is_full() => self.disk.set_faults(Default::default()),
                Err(_) => self.hit(S::CrashInRecovery),
            }
            if self.error.is_some() || self.ended {
                return;
            }
            self.stop();
        }
        self.wrong("it does not start");
    }

    fn start(&mut self) -> Result<(), StoreError> {
        let id = self.dice.next();
        let (files, recovered) = match Files::open(&self.disk, self.history.len(), id) {
            Ok(opened) => opened,
            Err(StoredError::Store(why)) => return Err(why),
            Err(why) => {
                self.wrong(format!("the journal gives no desk: {why}"));
                return Ok(());
            }
        };
        if files.torn > 0 {
            self.hit(S::TornTail);
        }
        if files.copied > 0 {
            self.hit(S::TailCopied);
        }
        for ns in 0..self.history.len() {
            let end = files.logs[ns].next();
            if end < self.shown[ns] {
                self.lost(format!("offset {} was shown, the log ends at {end}", self.shown[ns]));
                return Ok(());
            }
            let kept = self.history[ns].truncate(end as usize);
            self.expect(kept);
        }
        // Nothing keeps the clock from having been set back meanwhile.
        if self.faults && self.dice.one_in(5) {
            self.setup.runtime.partitions = 1 + self.dice.below(4) as u32;
        }
        if self.faults && self.dice.one_in(6) {
            self.setup.durable = !self.setup.durable;
            self.hit(S::DurableSwitched);
        }
        let mut server = Server::new(&self.setup, self.time + self.off, files);
        let Some(all) = self.recover_desk(&server, &recovered)? else { return Ok(()) };
        server.desk = recovered.desk;
        self.check_cursors(&server, &recovered.cursors);
        for (again, _) in &all {
            if let Some(info) = &again.told.info {
                server.sink.alert(info);
            }
        }
        self.server = server;
        self.set_clock();
        self.recover_partitions(&all)
    }

    /// By the rules as they are: of what is applied again, the log need not say what it says.
    pub(super) fn drop_logged(&mut self, ns: usize, rules: &mut Rules) {
        let stories = &self.history[ns].stories;
        let mut seen = Vec::new();
        let before = rules.found.len();
        rules.found.retain(|found| {
            let Some(story) = stories.get(&(found.alert, found.device)) else { return true };
            match found.cause {
                Cause::Update if !story.cancelled && found.version > story.version => {
                    seen.push(S::HalfUpdate);
                    true
                }
                Cause::Cancel if !story.cancelled => {
                    seen.push(S::HalfCancel);
                    true
                }
                // It may be one that is told here, first, and then of an update.
                _ => false,
            }
        });
        if rules.found.len() < before {
            seen.push(S::LogSuppressed);
        }
        if !rules.found.is_empty() {
            seen.push(S::LogCompleted);
        }
        seen.into_iter().for_each(|what| self.hit(what));
    }

    /// What was synced is not there. One misdirected write may take records together with the seal
    /// that names them, which is two broken things at once and passes for a torn tail; a snapshot
    /// that knew them tells, else it is the limit that the store names.
    pub(super) fn lost(&mut self, why: String) {
        self.note_lies();
        if self.disk.counts().misdirected == 0 {
            return self.wrong(why);
        }
        self.hit(S::LimitReached);
        self.ended = true;
    }

    /// The cursors that the journal gave back.
    fn check_cursors(&mut self, server: &Server, cursors: &[CursorAt]) {
        self.acked.fill(None);
        let mut found = vec![0; self.partners.len()];
        for cursor in cursors {
            let nth = partner_no(&cursor.partner);
            found[nth] = cursor.offset.0;
            let first = server.files.logs[self.partners[nth].ns].first();
            // A newer one that the crash took did not count; this one may have been too old.
            if first > cursor.offset.0 && cursor.at.0 < self.too_old[self.partners[nth].ns] {
                self.gone[nth] = self.gone[nth].max(cursor.offset.0 + 1);
            }
            if first > cursor.offset.0 && cursor.offset.0 >= self.gone[nth] {
                let offset = cursor.offset.0;
                self.wrong(format!("the log begins at {first}, the cursor of partner {nth} is {offset}"));
            }
            self.acked[nth] = Some((cursor.offset.0, cursor.at.0));
        }
        for (nth, cursor) in found.into_iter().enumerate() {
            let durable = self.durable_cursors[nth];
            if cursor < durable {
                self.wrong(format!("the cursor of partner {nth} went back from {durable} to {cursor}"));
            }
            let end = server.files.logs[self.partners[nth].ns].next();
            if cursor > end {
                self.wrong(format!("the cursor of partner {nth} is {cursor}, the log ends at {end}"));
            }
        }
    }

    /// Decides the journal's actions again: each must be there as it was accepted.
    fn recover_desk(
        &mut self,
        server: &Server,
        recovered: &Recovered,
    ) -> Result<Option<Vec<Again>>, StoreError> {
        let mut actions = 0;
        for record in read_all(&server.files.journal.reader(), 0)? {
            if let Ok(Record::Action(decided)) = Record::decode(record.kind, &record.payload) {
                let Some(accepted) = self.accepted.get(actions) else {
                    self.wrong(format!("nobody asked for {decided:?}"));
                    return Ok(None);
                };
                let same = decided.at.0 == accepted.at
                    && decided.actor == actor(accepted.authority)
                    && decided.action == accepted.act.real();
                if !same {
                    let was = format!("{:?}", accepted.act);
                    self.wrong(format!("the journal holds {decided:?} instead of {was}"));
                    return Ok(None);
                }
                actions += 1;
            }
        }
        if let Some(lost) = self.accepted.iter().skip(actions).find(|one| one.confirmed) {
            let act = format!("{:?}", lost.act);
            self.lost(format!("a confirmed action is lost: {act}"));
            return Ok(None);
        }
        self.accepted.truncate(actions);
        let alerts: Vec<_> =
            self.history.iter().flat_map(|one| one.stories.keys()).map(|key| key.0).collect();
        self.desk = Desk::default();
        let mut all = Vec::new();
        for (accepted, told) in self.accepted.clone().iter().zip(&recovered.orders) {
            let Some(order) = self.desk.decide(accepted.at, accepted.authority, &accepted.act) else {
                self.wrong(format!("{:?} is not accepted again", accepted.act));
                return Ok(None);
            };
            all.push((told.clone(), Rc::new(order)));
        }
        if let Some(no) = alerts.into_iter().find(|no| *no as usize >= self.desk.alerts()) {
            self.wrong(format!("the log speaks of alert {no}, which the journal has not"));
        }
        Ok(Some(all))
    }
}
