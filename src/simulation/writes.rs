//! What the world's server writes, and when: the journal's and the logs' threads, one call at a time; and
//! what their disk does to it.

use std::rc::Rc;

use super::dice::Situation as S;
use super::disk::MATCHES;
use super::model::Kind;
use super::reports::Asker;
use super::world::{Message, World, partner_no};
use crate::domain::{CursorAt, DirectiveKind, Offset};
use crate::runtime::NamespaceIx;
use crate::store::StoreError;

impl World {
    /// The store refused something.
    pub(super) fn store_error(&mut self, error: StoreError) {
        self.note_lies();
        self.trace.note("store", &[i64::from(error.is_full()), i64::from(error.is_damage())]);
        if error.is_full() {
            self.hit(S::DiskFull);
        } else if error.is_damage() {
            if self.lied {
                self.hit(S::DamageFound);
                self.ended = true;
            } else {
                self.wrong(format!("damage where the disk did none: {error}"));
            }
        } else if let StoreError::TooLarge { .. } | StoreError::NotInOrder { .. } = error {
            self.wrong(format!("the store is misused: {error}"));
        } else if !self.crashing {
            if !self.disk.is_dead() {
                self.hit(S::FailedSync);
            }
            self.crash();
        }
    }

    /// Whether the disk has lied, or bits were flipped.
    pub(super) fn note_lies(&mut self) -> bool {
        let counts = self.disk.counts();
        let renames = counts.lost_renames;
        if !self.lied && counts.torn_writes + counts.misdirected + renames > 0 {
            self.trace.note("lied", &[counts.torn_writes as i64, counts.misdirected as i64, renames as i64]);
            self.lied = true;
            self.hit(if renames > 0 { S::RenameLost } else { S::Misdirected });
        }
        self.lied
    }

    pub(super) fn disk_fault(&mut self) {
        use crate::store::faulty::Faults;
        let mut faults = Faults::default();
        match self.dice.below(if self.may_lie { 15 } else { 6 }) {
            0 | 1 => faults.full_at = Some(self.disk.used() + self.dice.below(30_000) as u64),
            2 => faults.failed_sync = 60_000,
            3 | 6 | 7 if self.may_lie && !self.lied => {
                (faults.torn_write, faults.misdirected, faults.lies_max) = (60_000, 60_000, Some(1));
            }
            9..=11 if self.may_lie && !self.lied => {
                (faults.lost_rename, faults.lies_max) = (800_000, Some(1));
            }
            4 | 8 | 12..=14 if self.may_lie && !self.lied => {
                let files = self.disk.files();
                let logs: Vec<_> =
                    files.iter().filter(|(path, _)| path.starts_with("matches")).cloned().collect();
                let among = if self.dice.one_in(3) { files } else { logs };
                let (path, bytes) = among[self.dice.below(among.len())].clone();
                let content = self.disk.content(&path);
                // Most of a file is room that is not used yet.
                let used: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
                if bytes > 0 && !used.is_empty() {
                    let offset = used[self.dice.below(used.len())];
                    let mask = 1 << self.dice.below(8);
                    self.disk.flip(&path, offset, mask);
                    self.lied = true;
                    self.hit(S::BitFlip);
                }
            }
            _ => {}
        }
        let lies = i64::from(faults.torn_write > 0) + 2 * i64::from(self.lied);
        self.trace.note("disk", &[faults.full_at.unwrap_or(0) as i64, i64::from(faults.failed_sync), lies]);
        self.disk.set_faults(faults);
    }

    /// What the journal holds becomes durable; then partitions are told, and authorities.
    pub(super) fn sync_journal(&mut self) {
        if let Err(error) = self.write_journal() {
            if error.is_full() {
                self.wrong(format!("what was admitted meets a full disk: {error}"));
            }
            self.store_error(error);
            return;
        }
        self.tell_durable();
    }

    /// The journal is written anew, where nothing waits.
    pub(super) fn compact_journal(&mut self) {
        if self.server.files.journal_waits() {
            return;
        }
        let view = self.server.desk.view(self.server.files.written_cursors());
        let before = crate::desk::JournalFile::bytes(&self.server.files.journal);
        if self.faults && self.dice.one_in(2) {
            self.disk.set_fuse(Some(self.dice.below(60) as u64));
        }
        let done = self.server.files.compact(&view);
        self.trace.note("compacted", &[i64::from(done.is_ok()), before as i64]);
        match done {
            Ok(()) => {
                self.hit(S::Compacted);
                if self.reports.wait() {
                    self.hit(S::ReportsCompacted);
                }
                if self.reports.ended() {
                    self.hit(S::NumbersCompacted);
                }
            }
            Err(error) => {
                if error.is_full() {
                    self.wrong(format!("compaction meets a full disk: {error}"));
                } else if self.disk.is_dead() {
                    self.hit(S::CrashInCompaction);
                }
                self.store_error(error);
            }
        }
    }

    /// Tells partitions and authorities what is durable.
    pub(super) fn tell_durable(&mut self) {
        let durable = self.server.files.durable();
        for due in self.server.desk.durable(durable) {
            let Some((no, order)) = self.server.orders.pop_front() else { return };
            self.trace.note("durable", &[no as i64]);
            if no != due.no || (due.told.order.at.0, due.told.order.alert.0) != (order.at, order.no) {
                self.wrong(format!(
                    "{:?} is told as action {}, {order:?} by the rules",
                    due.told.order, due.no
                ));
            }
            if let Some(info) = &due.told.info {
                use crate::runtime::MatchSink;
                self.server.sink.alert(info);
            }
            if let DirectiveKind::Publish { part, uncertainty, .. } = &due.told.order.kind
                && let Kind::Publish { part: by_rules, .. } = &order.kind
            {
                self.area = Some((part.clone(), *uncertainty, by_rules.clone()));
            }
            for shard in &mut self.server.shards {
                shard.urgent.push_back((no, due.told.clone(), Rc::clone(&order)));
            }
        }
        let mark = durable.max(self.server.told);
        self.server.told = mark;
        for one in std::mem::take(&mut self.server.waiting) {
            let super::server::Waiting { pending, asker, request, action, report, ground } = one;
            match pending.ready(mark) {
                Ok(()) => {
                    self.reports.rests_on(ground);
                    if let Some(no) = action {
                        self.accepted[no as usize].confirmed = true;
                    }
                    match asker {
                        Asker::Authority(authority) => {
                            self.net.push(Message::Reply { authority, request, action });
                        }
                        Asker::Partner(partner) => self.tell_number(partner, request, report),
                    }
                }
                Err(pending) => {
                    let one = super::server::Waiting { pending, asker, request, action, report, ground };
                    self.server.waiting.push(one);
                }
            }
        }
    }

    fn write_journal(&mut self) -> Result<(), StoreError> {
        let moved = std::mem::take(&mut *self.server.sink.moved.lock().unwrap());
        let all: Vec<CursorAt> = moved.values().cloned().collect();
        if self.server.files.commit(all)? {
            for cursor in moved.values() {
                let nth = partner_no(&cursor.partner);
                self.durable_cursors[nth] = self.durable_cursors[nth].max(cursor.offset.0);
                self.server.sink.delivery.cursors().kept(cursor);
            }
        } else if !moved.is_empty() {
            self.seen.hit(S::CursorsWait);
            let mut held = self.server.sink.moved.lock().unwrap();
            for (partner, cursor) in moved {
                held.entry(partner).or_insert(cursor);
            }
        }
        Ok(())
    }

    /// What a match log holds in memory goes to the disk.
    pub(super) fn sync_log(&mut self, ns: usize) {
        if let Err(error) = self.write_log(ns) {
            self.store_error(error);
        }
    }

    /// What partitions did goes to their ping logs; sessions are told.
    pub(super) fn sync_pings(&mut self) {
        if let Err(error) = self.write_ping_logs() {
            return self.store_error(error);
        }
        self.hear();
    }

    /// A turn of each thread that keeps pings, or of one.
    pub(super) fn write_ping_logs(&mut self) -> Result<(), StoreError> {
        let works = &mut self.server.works;
        let only = (self.faults && self.dice.one_in(2)).then(|| self.dice.below(works.len().max(1)));
        for (nth, work) in works.iter_mut().enumerate() {
            if only.is_none_or(|only| only == nth) {
                work.turn(std::time::Duration::ZERO)?;
                let shown = self.server.ping_logs.as_ref().map_or(0, |logs| logs.visible(nth as u32));
                self.trace.note("pings synced", &[nth as i64, shown as i64]);
            }
        }
        Ok(())
    }

    /// Sessions hear what is applied, kept and safe, and say it to their sources.
    pub(super) fn hear(&mut self) {
        for (no, session) in &mut self.server.sessions {
            match session.hear() {
                Ok(safe) if safe > session.told => {
                    session.told = safe;
                    if self.server.ping_logs.is_some() {
                        self.seen.hit(S::PingsKept);
                    }
                    self.net.push(Message::Safe { source: session.source, session: *no, safe });
                }
                Ok(_) => {}
                Err(why) => drop(self.error.get_or_insert(why)),
            }
        }
    }

    pub(super) fn write_log(&mut self, ns: usize) -> Result<(), StoreError> {
        let sink = std::sync::Arc::clone(&self.server.sink);
        let log = sink.delivery.log(NamespaceIx(ns as u16));
        let stored = &mut self.server.files.logs[ns];
        while let Some(chunk) = log.unkept(Offset(stored.next())) {
            if !stored.fits(chunk.frame.len()) {
                stored.sync()?;
            }
            stored.append(MATCHES, chunk.first.0, chunk.next.0, &[&chunk.frame])?;
        }
        stored.sync()?;
        log.show(Offset(stored.visible()));
        stored.prepare()?;
        if !self.faults || !self.dice.one_in(3) {
            stored.seal()?;
        }
        let visible = stored.visible();
        log.show(Offset(visible));
        sink.append_late();
        self.trace.note("log synced", &[ns as i64, visible as i64]);
        Ok(())
    }
}
