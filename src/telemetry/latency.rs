//! Histograms of durations: fixed buckets, an atomic each.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::lock;
use crate::domain::AlertNo;
use crate::limits::FIRST_MATCHES_AWAITED_MAX;

/// Upper ends of the buckets, microseconds: 1, 2.5, 5 a decade, from what a batch takes when idle
/// to what nobody should wait for.
const ENDS_US: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 60_000_000,
];
const BUCKETS: usize = ENDS_US.len() + 1;

/// How long something took, many times. Recording is two atomic additions.
#[derive(Debug, Default)]
pub struct Latency {
    /// How many took at most the bucket's end and more than the one before.
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Latency {
    /// Records one.
    pub fn record(&self, took: Duration) {
        // A duration inside the bucket's last microsecond is counted with it: below the resolution.
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = ENDS_US.partition_point(|end| *end < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// As recorded by now.
    pub fn sums(&self) -> LatencySums {
        LatencySums {
            buckets: std::array::from_fn(|i| self.buckets[i].load(Relaxed)),
            sum_ns: self.sum_ns.load(Relaxed),
        }
    }
}

/// A [`Latency`] as read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencySums {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
}

impl LatencySums {
    pub(super) fn plus(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All together, seconds.
    pub fn seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Each bucket's end in seconds (the last: infinity), and how many are in it and in no smaller
    /// one.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let ends = ENDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        ends.zip(self.buckets).collect()
    }
}

/// Alerts whose first match is awaited.
#[derive(Debug, Default)]
pub struct FirstMatches {
    awaited: AtomicUsize,
    told: Mutex<VecDeque<(AlertNo, Instant)>>,
    latency: Latency,
}

impl FirstMatches {
    /// An alert is about to be told to the partitions. Where too many are awaited, the one that has
    /// waited longest is forgotten: it has matched nobody so far.
    pub fn told(&self, alert: AlertNo) {
        let mut told = lock(&self.told);
        if told.len() >= FIRST_MATCHES_AWAITED_MAX {
            told.pop_front();
        }
        told.push_back((alert, Instant::now()));
        self.awaited.store(told.len(), Relaxed);
    }

    /// A match of an alert was handed on. Cheap where none is awaited.
    pub fn matched(&self, alert: AlertNo) {
        if self.awaited.load(Relaxed) == 0 {
            return;
        }
        let mut told = lock(&self.told);
        if let Some(at) = told.iter().position(|(no, _)| *no == alert)
            && let Some((_, since)) = told.remove(at)
        {
            self.awaited.store(told.len(), Relaxed);
            self.latency.record(since.elapsed());
        }
    }

    /// How many alerts are awaited.
    pub fn awaited(&self) -> usize {
        self.awaited.load(Relaxed)
    }

    /// How long first matches took.
    pub fn sums(&self) -> LatencySums {
        self.latency.sums()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_does_not_exceed() {
        let latency = Latency::default();
        let all = [0, 100, 101, 250, 999_999, 1_000_000, 60_000_000, 60_000_001, 3_600_000_000];
        for us in all {
            latency.record(Duration::from_micros(us));
        }
        let sums = latency.sums();
        for (i, (end, count)) in sums.buckets().into_iter().enumerate() {
            let before = if i == 0 { -1.0 } else { sums.buckets()[i - 1].0 };
            let expected = all.iter().map(|us| *us as f64 / 1e6).filter(|s| *s > before && *s <= end).count();
            assert_eq!(count, expected as u64, "up to {end} s");
        }
        assert_eq!(sums.count(), all.len() as u64);
        assert!((sums.seconds() - all.iter().sum::<u64>() as f64 / 1e6).abs() < 1e-6);
        assert_eq!(sums.plus(&sums).count(), 2 * all.len() as u64);
    }

    #[test]
    fn the_first_match_of_an_alert_counts_once_and_the_awaited_are_bounded() {
        let first = FirstMatches::default();
        first.matched(AlertNo(0));
        first.told(AlertNo(0));
        first.matched(AlertNo(1));
        assert_eq!(first.sums().count(), 0);
        first.matched(AlertNo(0));
        first.matched(AlertNo(0));
        assert_eq!(first.sums().count(), 1);
        for no in 1..=FIRST_MATCHES_AWAITED_MAX as u32 + 1 {
            first.told(AlertNo(no));
        }
        assert_eq!(lock(&first.told).len(), FIRST_MATCHES_AWAITED_MAX);
        first.matched(AlertNo(1));
        assert_eq!(first.sums().count(), 1, "forgotten");
        first.matched(AlertNo(2));
        assert_eq!(first.sums().count(), 2);
    }
}
