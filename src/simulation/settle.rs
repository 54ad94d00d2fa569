//! The end of a world: faults stop, everything that can move moves, and everything due must have
//! arrived.

use super::acts::{HOUR, MINUTE};
use super::dice::Situation as S;
use super::server::ROOM;
use super::world::{Manner, World};

impl World {
    /// Faults stop: everything due must arrive.
    pub(super) fn settle(&mut self) {
        self.faults = false;
        self.disk.set_faults(Default::default());
        self.disk.set_fuse(None);
        (self.off, self.stalled) = (0, false);
        self.partners.iter_mut().for_each(|partner| partner.manner = Manner::Honest);
        self.trace.note("settle", &[self.time]);
        for round in 0..5 {
            if round > 0 {
                let ms = [0, MINUTE, 2 * HOUR, 3 * HOUR, 24 * HOUR][round];
                self.time += ms;
                self.server.hand.pass(ms as u64);
            }
            self.set_clock();
            if round == 1 {
                self.last_act();
            }
            self.calm();
            if self.error.is_some() || self.ended {
                return;
            }
        }
        self.all_arrived();
        self.tables_are_tidy();
        self.hit(S::EndReached);
    }

    /// Everything that can move moves, until nothing does.
    fn calm(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for source in 0..self.sources.len() {
                moved |= self.source_flush(source);
            }
            for authority in 0..self.authorities.len() {
                moved |= self.authority_retry(authority);
            }
            moved |= self.deliver_all();
            for shard in 0..self.server.shards.len() {
                while self.turn(shard) {
                    moved = true;
                }
            }
            moved |= !self.server.waiting.is_empty() || self.server.sink.late() > 0;
            self.sync_journal();
            self.sync_pings();
            moved |= self.server.room.available_permits() < ROOM;
            for ns in 0..self.history.len() {
                self.sync_log(ns);
            }
            for partner in 0..self.partners.len() {
                moved |= self.partner_reads(partner);
            }
            if !moved || self.error.is_some() || self.ended {
                return;
            }
        }
        self.wrong("it does not come to rest");
    }

    fn all_arrived(&mut self) {
        self.note_lies();
        for ns in 0..self.history.len() {
            for no in 0..self.desk.alerts() as u32 {
                let (cancelled, version) = self.desk.end_of(no);
                let mut told = 0;
                let stories = self.history[ns].stories.range((no, 0)..=(no, u64::MAX));
                let mut late = None;
                for (key, story) in stories {
                    told += 1;
                    if story.cancelled != cancelled || story.version != version {
                        late = Some(format!("device {} hears {story:?} of alert {no}", key.1));
                    }
                }
                let notified: usize =
                    self.server.shards.iter().map(|shard| shard.rules[ns].notified(no)).sum();
                if let Some(late) = late {
                    self.wrong(format!("{late}, which is at version {version}, ended: {cancelled}"));
                }
                if told != notified {
                    self.wrong(format!("{told} devices of {notified} were told of alert {no}"));
                }
            }
        }
        for nth in 0..self.partners.len() {
            let partner = &self.partners[nth];
            let all = self.history[partner.ns].matches.len();
            if partner.saw.len() != all && !partner.skipped {
                let saw = partner.saw.len();
                self.wrong(format!("partner {nth} saw {saw} of {all} matches"));
            }
        }
        for nth in 0..self.sources.len() {
            let source = &self.sources[nth];
            let mut lost = None;
            for (device, seen) in &source.newest {
                let shard = &self.server.shards[self.server.partition(*device)];
                let held = shard.rules[source.ns].devices.get(device);
                if held.is_none_or(|held| held.at < seen.at) && seen.at <= self.time + self.setup.skew {
                    lost = Some(format!("device {device}: {held:?} is held, {seen:?} was sent"));
                }
            }
            if let Some(lost) = lost
                && !self.lied
                && !self.rejected_some(nth)
            {
                self.wrong(lost);
            }
        }
    }

    /// Whether pings of a source may have been rejected for their time.
    fn rejected_some(&self, source: usize) -> bool {
        self.seen.0[S::PingFuture as usize] > 0 || self.sources[source].clock_off > 0
    }
}
