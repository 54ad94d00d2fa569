//! A start with another number of partitions: what the old ones hold is dealt to the new ones, device
//! by device, as `keeper` does it; and what the rules make of that.

use std::rc::Rc;
use std::sync::Arc;

use super::crash::Again;
use super::dice::Situation as S;
use super::model::{Order, Rules};
use super::server::Shard;
use super::world::World;
use crate::domain::{DeviceId, partition_of};
use crate::engine::{PartitionConfig, Restorer};
use crate::runtime::{Driver, NamespaceIx, stand_alerts};

impl World {
    /// The recovered partitions become as many as are configured now.
    pub(super) fn deal(&mut self, all: &[Again]) {
        let of = self.setup.runtime.partitions;
        let mut old = std::mem::take(&mut self.server.shards);
        self.hit(S::Dealt);
        if old.iter().any(|shard| shard.rules[0].clock != old[0].rules[0].clock) {
            self.hit(S::DealtUneven);
        }
        if forgotten_in_one(&old) {
            // What was swept is gone, what was not would be known again: nothing to judge by.
            self.hit(S::DealtForgotten);
            self.ended = true;
            return;
        }
        if !old.iter_mut().all(|shard| shard.driver.begin_snapshot()) {
            return self.wrong("a recovered partition has unfinished work");
        }
        let mut machines: Vec<Vec<_>> = (0..of).map(|_| Vec::new()).collect();
        for ns in 0..self.history.len() {
            let mut blocks = Vec::new();
            for shard in &mut old {
                let mut more = true;
                while more {
                    let mut block = Vec::new();
                    more = shard.driver.snapshot_some(NamespaceIx(ns as u16), 500, &mut block);
                    blocks.extend((!block.is_empty()).then_some(block));
                }
            }
            let bytes = blocks.iter().map(|block| block.len() as u64).sum();
            let max_age = self.setup.runtime.namespaces[ns].max_age;
            for (nth, machines) in (0..).zip(&mut machines) {
                let config = PartitionConfig { max_age, sliced: true, seed: u64::from(nth) };
                let mut restorer = Restorer::new(config, bytes).share(nth, of);
                blocks.iter().for_each(|block| restorer.block(block).unwrap());
                let told = all.iter().map(|(again, _)| &again.told);
                machines.push(stand_alerts(restorer.finish().unwrap(), told));
            }
        }
        let orders: Vec<Rc<Order>> = all.iter().map(|(_, order)| Rc::clone(order)).collect();
        for (nth, machines) in (0..).zip(machines) {
            let (sink, clock) = (Arc::clone(&self.server.sink), Arc::clone(&self.server.clock));
            let mut driver = Driver::of(machines, &self.setup.runtime, sink, clock);
            driver.set_orders(all.len() as u64);
            driver.set_slice(self.setup.slice);
            let mine = |device| partition_of(DeviceId(device), of) == nth;
            let rules = (0..self.history.len()).map(|ns| {
                let of_ns: Vec<&Rules> = old.iter().map(|shard| &shard.rules[ns]).collect();
                Rules::dealt(&of_ns, mine, &orders)
            });
            self.server.shards.push(Shard::of(driver, rules.collect()));
        }
        self.trace.note("dealt", &[old.len() as i64, i64::from(of)]);
        for nth in 0..self.server.shards.len() {
            self.collect(nth);
        }
    }
}

/// Whether a device is too old at its partition's time and not at the time that all begin with.
fn forgotten_in_one(old: &[Shard]) -> bool {
    (0..old[0].rules.len()).any(|ns| {
        let clock = old.iter().map(|shard| shard.rules[ns].clock).min();
        old.iter().any(|shard| {
            let mut earlier = shard.rules[ns].clone();
            earlier.clock = clock.unwrap_or(i64::MIN);
            let mut devices = shard.rules[ns].devices.values();
            devices.any(|seen| earlier.knows(seen.at) && !shard.rules[ns].knows(seen.at))
        })
    })
}
