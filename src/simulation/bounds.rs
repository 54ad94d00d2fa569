//! What a running process holds, against what it may: queues, memory of logs, what waits for the
//! disk, tables. A bound that only holds on average is none, so it is looked at after each step.

use std::sync::atomic::Ordering;

use super::dice::Situation as S;
use super::server::ROOM;
use super::world::World;
use crate::runtime::NamespaceIx;

/// Batches of a source that are taken and not applied.
pub(super) const UNAPPLIED: usize = 4;

impl World {
    /// After each step.
    pub(super) fn bounded(&mut self) {
        if self.ended {
            // Damage stopped a start: the process that is left is none.
            return;
        }
        self.reports_are_held();
        let server = &self.server;
        let devices: usize = self.sources.iter().map(|source| source.devices.clone().count()).sum();
        let mut over = Vec::new();
        let mut look = |what: &str, is: usize, max: usize| {
            if is > max {
                over.push(format!("{what}: {is}, at most {max}"));
            }
        };
        for (ns, held) in self.history.iter().enumerate() {
            let log = server.sink.delivery.log(NamespaceIx(ns as u16));
            look("offset of a log's end", log.appended().0 as usize, held.matches.len());
        }
        // One append may go beyond what a log holds, then partitions wait.
        look("logs that hold too much", usize::from(server.sink.over.load(Ordering::Relaxed)), 0);
        // A turn appends for an order or stages, for a slice and for pings; a restart for all orders, each
        // with the stages before it.
        let turns = server.shards.len() * self.history.len() * (3 + 4 * self.accepted.len());
        look("appends that wait", server.sink.late(), turns);
        for shard in &server.shards {
            look("batches that wait", shard.data.len(), ROOM);
            look("orders that wait", shard.urgent.len(), self.accepted.len());
            for ns in 0..self.history.len() {
                let fill = shard.machine(ns).fill();
                look("devices and departed", fill.devices + fill.departed, devices);
                // Each is had by a row, a bucket's list, or a scan that goes on.
                look("notified sets", fill.sets, 2 * devices + 8);
                look("sets and times kept by device", fill.by_device, 2 * devices);
            }
        }
        for (nth, _) in server.shards.iter().enumerate() {
            let Some(logs) = &server.ping_logs else { break };
            let kept = self.kept.iter().filter_map(|number| self.snaps.get(number));
            let of = kept.filter(|snap| snap.len() == server.shards.len());
            let needed = of.filter_map(|snap| snap[nth].as_ref()?.entries).min().unwrap_or(u64::MAX);
            look("first entry of a ping log", logs.first(nth as u32) as usize, needed as usize);
        }
        for session in server.sessions.values() {
            look("batches not applied", session.due.len(), UNAPPLIED);
        }
        let room = server.files.room();
        let may_wait = room.new.max(room.standing).max(super::disk::JOURNAL_SEGMENT / 2);
        look("bytes that wait for the journal", server.files.waiting_bytes() as usize, may_wait as usize);
        look("cursors that wait", server.sink.moved.lock().unwrap().len(), self.partners.len());
        look("cursors", server.sink.delivery.cursors().all().len(), self.partners.len());
        if let Some(over) = over.into_iter().next() {
            self.wrong(over);
        }
    }

    /// In the end, when partitions had leisure: of whom is forgotten nothing is held but what must be.
    pub(super) fn tables_are_tidy(&mut self) {
        let mut wrong = Vec::new();
        let saving = self.server.keeper.is_some();
        for shard in &mut self.server.shards {
            // Each looks at so many rows, and at least at one of each bucket.
            (0..20).for_each(|_| shard.driver.idle());
            for (ns, rules) in shard.rules.iter().enumerate() {
                let fill = shard.machine(ns).fill();
                let (known, departed) = rules.held();
                if (fill.devices, fill.departed) != (known, departed) {
                    wrong.push(format!("{fill:?} is held, by the rules {known} and {departed} departed"));
                }
                if fill.sets > known + departed + 1 && !saving {
                    wrong.push(format!("{fill:?} is held: sets that nobody has"));
                }
            }
        }
        self.hit(S::Idle);
        wrong.into_iter().take(1).for_each(|why| self.wrong(why));
    }
}
