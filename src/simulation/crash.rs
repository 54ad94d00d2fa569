//! The process ends at any moment, and another one starts from what the disk holds.

use std::rc::Rc;

use super::actors::record;
use super::acts::MINUTE;
use super::dice::Situation as S;
use super::model::Desk;
use super::server::{Ledger, Server};
use super::world::World;
use crate::desk::Actor;
use crate::domain::{Cause, EventTime, Offset};
use crate::runtime::{Logged, NamespaceIx, Recovery};
use crate::wire::{Header, MatchColumns};

impl World {
    pub(super) fn crash(&mut self) {
        self.note_what_is_lost();
        let in_sync = self.dice.one_in(3);
        let how = match (in_sync, self.dice.one_in(2)) {
            (true, _) => S::CrashInSync,
            (false, true) => S::Kill,
            (false, false) => S::PowerCut,
        };
        self.hit(how);
        self.trace.note("crash", &[i64::from(in_sync)]);
        self.stored.journal.crash(&mut self.dice, in_sync);
        for log in &mut self.stored.logs {
            log.crash(&mut self.dice, in_sync);
        }
        // An outage, mostly short.
        let outage = match self.dice.below(8) {
            0 => self.dice.range(5 * MINUTE, 40 * MINUTE),
            1 => self.dice.range(MINUTE, 8 * 60 * MINUTE),
            _ => self.dice.range(0, 20_000),
        };
        self.note_outage(outage);
        self.time += outage;
        if self.dice.one_in(10) {
            self.off -= self.dice.range(1, 60 * MINUTE);
            self.hit(S::ClockBackRestart);
        }
        self.restart();
    }

    fn note_what_is_lost(&mut self) {
        let orders: Vec<u64> = self.server.shards.iter().map(|shard| shard.orders).collect();
        if orders.iter().any(|one| *one != orders[0]) {
            self.hit(S::CrashHalfTold);
        }
        if self.server.shards.iter().any(|shard| shard.driver.has_work()) {
            self.hit(S::CrashMidScan);
        }
        if !self.server.waiting.is_empty() {
            self.hit(S::CrashUnconfirmed);
        }
        let ends = self.stored.logs.iter().zip(&self.history);
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

    /// Starts a process from what is stored.
    fn restart(&mut self) {
        let newest = self.desk.newest;
        let actions = self.stored.journal.records().iter().filter(|record| record.kind == 1).count();
        if let Some(lost) = self.accepted.iter().skip(actions).find(|one| one.confirmed) {
            let act = format!("{:?}", lost.act);
            self.wrong(format!("a confirmed action is lost: {act}"));
            return;
        }
        self.accepted.truncate(actions);
        for ns in 0..self.history.len() {
            let end = self.stored.logs[ns].next();
            if end < self.shown[ns] {
                self.wrong(format!("offset {} was shown, the log ends at {end}", self.shown[ns]));
                return;
            }
            let kept = self.history[ns].truncate(end as usize);
            self.expect(kept);
        }
        let tries = if self.dice.one_in(6) { 2 } else { 1 };
        for attempt in 1..=tries {
            self.server = Server::new(&self.setup, self.time + self.off);
            self.server.clock.set(newest);
            let _ = self.server.now();
            self.set_clock();
            if attempt < tries {
                self.hit(S::CrashInRecovery);
            }
            if !self.recover(attempt < tries) {
                return;
            }
        }
        self.sources.iter_mut().for_each(|source| source.session = None);
        self.partners.iter_mut().for_each(|partner| partner.connection = None);
        self.server.ledgers = vec![Ledger::restarted(0); self.sources.len()];
    }

    /// Recovers; where it is `cut` short, the process ends somewhere in it. What it emitted until
    /// then may have reached the disk.
    fn recover(&mut self, cut: bool) -> bool {
        self.recover_cursors();
        let Some(told) = self.recover_desk() else { return false };
        let partitions = self.server.shards.len();
        let stop = if cut { self.dice.below(partitions * (told.len() + 1)) } else { usize::MAX };
        let mut done = 0;
        for ns in 0..self.history.len() {
            let end = self.stored.logs[ns].next();
            self.server.sink.delivery.log(NamespaceIx(ns as u16)).start_at(Offset(end));
        }
        for nth in 0..partitions {
            let logged = self.logged_of(nth);
            for (ns, history) in self.history.iter().enumerate() {
                for (alert, device) in history.stories.keys() {
                    if self.server.partition(*device) == nth {
                        self.server.shards[nth].rules[ns].note(*alert, *device);
                    }
                }
            }
            if !self.history.iter().all(|history| history.stories.is_empty()) {
                self.hit(S::NotedUnknown);
            }
            let shard = self.server.shards.remove(nth);
            let mut recovery = Recovery::begin(shard.driver, logged);
            let mut rules = shard.rules;
            let mut orders = 0;
            for (no, (told, order)) in told.iter().enumerate() {
                recovery.order(told, no as u64);
                rules.iter_mut().for_each(|rules| rules.order(order));
                orders = no as u64 + 1;
                done += 1;
                if done > stop {
                    break;
                }
            }
            let driver = recovery.end();
            for (ns, rules) in rules.iter_mut().enumerate() {
                self.drop_logged(ns, rules);
            }
            let found = shard.found;
            let (urgent, data) = (shard.urgent, shard.data);
            let shard = super::server::Shard { driver, rules, found, urgent, data, orders };
            self.server.shards.insert(nth, shard);
            self.collect(nth);
            if self.error.is_some() {
                return false;
            }
            if done > stop {
                break;
            }
        }
        if cut {
            for ns in 0..self.history.len() {
                if self.dice.one_in(2) {
                    self.sync_log(ns);
                }
                self.stored.logs[ns].crash(&mut self.dice, false);
                let end = self.stored.logs[ns].next();
                let kept = self.history[ns].truncate(end as usize);
                self.expect(kept);
            }
        }
        true
    }

    /// By the rules as they are: of what is applied again, the log need not say what it says.
    fn drop_logged(&mut self, ns: usize, rules: &mut super::model::Rules) {
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

    fn recover_cursors(&mut self) {
        for record in self.stored.journal.records().iter().filter(|record| record.kind == 2) {
            let number =
                |at: usize| record.payload[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
            self.server.cursors[number(0) as usize] = number(8);
        }
        for nth in 0..self.partners.len() {
            let (cursor, durable) = (self.server.cursors[nth], self.durable_cursors[nth]);
            if cursor < durable {
                self.wrong(format!("the cursor of partner {nth} went back from {durable} to {cursor}"));
            }
            let end = self.stored.logs[self.partners[nth].ns].next();
            if cursor > end {
                self.wrong(format!("the cursor of partner {nth} is {cursor}, the log ends at {end}"));
            }
        }
    }

    /// Decides the journal's actions again: each must be accepted as it was.
    #[expect(clippy::type_complexity, reason = "seen here and by its one caller")]
    fn recover_desk(&mut self) -> Option<Vec<(crate::runtime::Told, Rc<super::model::Order>)>> {
        self.desk = Desk::default();
        let mut all = Vec::new();
        let records: Vec<_> = self.stored.journal.records().to_vec();
        let records = records.into_iter().filter(|record| record.kind == 1);
        for (accepted, stored) in self.accepted.clone().into_iter().zip(records) {
            let (at, authority, act) = (accepted.at, accepted.authority, &accepted.act);
            if stored.payload != record(at, authority, act) {
                self.wrong(format!("the journal holds another action than {act:?}"));
                return None;
            }
            let order = self.desk.decide(at, authority, act);
            let actor = Actor::Authority(format!("authority-{authority}").into());
            let told = self.server.book.decide(EventTime(at), &actor, act.real());
            let (Some(order), Ok(told)) = (order, told) else {
                self.wrong(format!("{act:?} is not accepted again"));
                return None;
            };
            if let Some(info) = &told.info {
                use crate::runtime::MatchSink;
                self.server.sink.alert(info);
            }
            all.push((told, Rc::new(order)));
        }
        Some(all)
    }

    /// What the match logs tell of a partition's devices.
    fn logged_of(&self, nth: usize) -> Vec<Logged> {
        let read = |log: &super::stub::SimLog| {
            let mut logged = Logged::default();
            for record in log.records() {
                let bytes = bytes::Bytes::copy_from_slice(&record.payload[Header::BYTES..]);
                let matches = MatchColumns::read(&bytes).unwrap();
                for (_, head, devices) in matches.runs() {
                    logged.note(&head, devices.filter(|device| self.server.partition(device.0) == nth));
                }
            }
            logged
        };
        self.stored.logs.iter().map(read).collect()
    }
}
