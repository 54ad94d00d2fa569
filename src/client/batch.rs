//! Pings gathered into batches.

use crate::domain::{EventTime, Ping, PingRow, partition_of};
use crate::limits::PING_BATCH_PINGS_MAX;
use crate::wire::{IngestTerms, Target};

/// Pings as they are sent: 20 bytes each, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The time that the rows count from.
    pub base: EventTime,
    /// At least one row, in the order in which the pings came.
    pub rows: Vec<PingRow>,
}

impl Batch {
    /// Bytes of its rows.
    pub fn bytes(&self) -> usize {
        self.rows.len() * PingRow::BYTES
    }
}

/// Gathers pings in the order in which they come. A ping that is too far in time from the others
/// for a row starts another batch; nothing is rounded or reordered.
#[derive(Debug)]
pub struct BatchBuilder {
    pings: Vec<Ping>,
    pings_max: usize,
    earliest: EventTime,
    latest: EventTime,
}

impl BatchBuilder {
    /// A builder of batches of at most `pings_max` pings (at least 1, at most what the protocol
    /// takes).
    pub fn new(pings_max: usize) -> Self {
        let pings_max = pings_max.clamp(1, PING_BATCH_PINGS_MAX);
        let (earliest, latest) = (EventTime(i64::MAX), EventTime(i64::MIN));
        Self { pings: Vec::with_capacity(pings_max), pings_max, earliest, latest }
    }

    /// Adds a ping. Where it no longer fits, the batch before it is returned.
    pub fn push(&mut self, ping: Ping) -> Option<Batch> {
        let (earliest, latest) = (self.earliest.min(ping.at), self.latest.max(ping.at));
        let fits = self.pings.is_empty() || latest.ms_since(earliest) <= PingRow::MS_AFTER_BASE_MAX;
        let done = if fits && self.pings.len() < self.pings_max { None } else { self.take() };
        self.earliest = self.earliest.min(ping.at);
        self.latest = self.latest.max(ping.at);
        self.pings.push(ping);
        done
    }

    /// How many pings wait.
    pub fn len(&self) -> usize {
        self.pings.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.pings.is_empty()
    }

    /// Whether the next ping starts another batch in any case.
    pub fn is_full(&self) -> bool {
        self.pings.len() >= self.pings_max
    }

    /// The pings that wait, as a batch; `None` where none does.
    pub fn take(&mut self) -> Option<Batch> {
        let base = self.earliest;
        // Every ping gives a row: times were checked by `push`, and a ping's accuracy always fits.
        let rows: Vec<PingRow> = self.pings.iter().filter_map(|ping| PingRow::write(ping, base)).collect();
        debug_assert_eq!(rows.len(), self.pings.len());
        self.pings.clear();
        (self.earliest, self.latest) = (EventTime(i64::MAX), EventTime(i64::MIN));
        (!rows.is_empty()).then_some(Batch { base, rows })
    }
}

/// Gathers pings into batches of one partition each, so that the server need not split them. The
/// pings of a device stay in their order.
#[derive(Debug)]
pub struct Splitter {
    parts: Vec<BatchBuilder>,
}

impl Splitter {
    /// A splitter for a server with these terms, into batches of at most `pings_max` pings.
    pub fn new(terms: &IngestTerms, pings_max: usize) -> Self {
        let parts = terms.partitions.clamp(1, u32::from(u16::MAX));
        Self { parts: (0..parts).map(|_| BatchBuilder::new(pings_max)).collect() }
    }

    /// Adds a ping. Where a batch is full by it, or it no longer fits one, that batch is returned.
    pub fn push(&mut self, ping: Ping) -> Option<(Batch, Target)> {
        let partition = partition_of(ping.device, self.parts.len() as u32) as usize;
        let of = self.parts.len() as u16;
        let part = self.parts.get_mut(partition)?;
        let done = part.push(ping);
        let done = if done.is_none() && part.is_full() { part.take() } else { done };
        done.map(|batch| (batch, Target { partition: partition as u16, of }))
    }

    /// The batches of the pings that wait.
    pub fn take(&mut self) -> Vec<(Batch, Target)> {
        let of = self.parts.len() as u16;
        let parts = self.parts.iter_mut().zip(0..);
        parts.filter_map(|(part, partition)| Some((part.take()?, Target { partition, of }))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{DeviceId, Position};

    fn ping(device: u64, at: i64) -> Ping {
        let position = Position::from_e7(1, -1).unwrap();
        Ping { device: DeviceId(device), at: EventTime(at), position, accuracy_m: 100_000 }
    }

    proptest! {
        #[test]
        fn all_pings_come_out_exact_and_in_order(
            times in prop::collection::vec(-40_000_i64..80_000, 0..200),
            pings_max in 1_usize..50,
        ) {
            let pings: Vec<Ping> = times.iter().zip(0..).map(|(at, device)| ping(device, *at)).collect();
            let mut builder = BatchBuilder::new(pings_max);
            let mut batches: Vec<Batch> = pings.iter().filter_map(|ping| builder.push(*ping)).collect();
            batches.extend(builder.take());
            prop_assert!(builder.take().is_none());
            prop_assert!(batches.iter().all(|batch| (1..=pings_max).contains(&batch.rows.len())));
            let out: Vec<Ping> = batches
                .iter()
                .flat_map(|batch| batch.rows.iter().map(|row| row.read(batch.base).unwrap()))
                .collect();
            prop_assert_eq!(out, pings);
        }
    }

    #[test]
    fn a_batch_ends_only_where_it_must() {
        let mut builder = BatchBuilder::new(3);
        assert_eq!(builder.push(ping(0, 1_000)), None);
        assert_eq!(builder.push(ping(1, 1_000 - 32_767)), None);
        let full = builder.push(ping(2, 1_001)).unwrap();
        assert_eq!((full.base, full.rows.len()), (EventTime(1_000 - 32_767), 2));
        assert_eq!(builder.push(ping(3, 1_001)), None);
        assert_eq!(builder.push(ping(4, 1_001)), None);
        assert!(builder.is_full());
        assert_eq!(builder.push(ping(5, 1_001)).unwrap().rows.len(), 3);
        assert_eq!(builder.len(), 1);
        let extremes = builder.push(ping(6, i64::MIN)).unwrap();
        assert_eq!(extremes.rows.len(), 1);
    }
}
