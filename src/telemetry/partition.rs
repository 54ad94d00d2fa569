//! What one partition counts of one namespace: two cache lines that only its thread writes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::domain::{Cause, PingCounts, PingReject};

/// Counters of one partition and namespace. Two lines each, so that threads do not share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Share {
    accepted: AtomicU64,
    stale: AtomicU64,
    rejected: [AtomicU64; PingReject::ALL.len()],
    matches: [AtomicU64; Cause::ALL.len()],
    devices: AtomicU64,
}

impl Share {
    /// What became of the pings of a batch, or of a part of one.
    pub fn pings(&self, counts: &PingCounts) {
        self.accepted.fetch_add(counts.accepted, Relaxed);
        self.stale.fetch_add(counts.stale, Relaxed);
        for (mine, count) in self.rejected.iter().zip(counts.rejected) {
            if count > 0 {
                mine.fetch_add(count, Relaxed);
            }
        }
    }

    /// Matches that were handed on.
    pub fn matches(&self, cause: Cause, count: usize) {
        self.matches[cause as usize].fetch_add(count as u64, Relaxed);
    }

    /// Devices in the table.
    pub fn devices(&self, count: usize) {
        self.devices.store(count as u64, Relaxed);
    }
}

/// Sums of [`Share`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareSums {
    /// What became of pings.
    pub pings: PingCounts,
    /// Matches by [`Cause`].
    pub matches: [u64; Cause::ALL.len()],
    /// Devices in the tables.
    pub devices: u64,
}

impl ShareSums {
    pub(super) fn plus(mut self, share: &Share) -> Self {
        self.pings.add(&PingCounts {
            accepted: share.accepted.load(Relaxed),
            stale: share.stale.load(Relaxed),
            rejected: std::array::from_fn(|i| share.rejected[i].load(Relaxed)),
        });
        for (sum, count) in self.matches.iter_mut().zip(&share.matches) {
            *sum += count.load(Relaxed);
        }
        self.devices += share.devices.load(Relaxed);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_devices_are_a_level() {
        let shares = [Share::default(), Share::default()];
        let mut counts = PingCounts { accepted: 3, stale: 2, ..PingCounts::default() };
        counts.reject(PingReject::Future);
        for share in &shares {
            share.pings(&counts);
            share.matches(Cause::Enter, 5);
            share.devices(9);
            share.devices(7);
        }
        shares[1].pings(&counts);
        let sums = shares.iter().fold(ShareSums::default(), |sums, share| sums.plus(share));
        assert_eq!((sums.pings.accepted, sums.pings.stale, sums.devices), (9, 6, 14));
        assert_eq!(sums.pings.rejected, [0, 0, 3, 0, 0, 0]);
        assert_eq!(sums.matches, [0, 0, 0, 10, 0, 0]);
        assert_eq!(size_of::<Share>(), 128);
    }
}
