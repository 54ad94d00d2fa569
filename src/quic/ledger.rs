//! Batches that are applied out of order, acknowledged in order.

use std::collections::VecDeque;

use crate::domain::PingCounts;

/// What is applied of a session's batches.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// All batches up to this number are applied.
    applied: u64,
    /// What became of their pings.
    counts: PingCounts,
    /// Those after it: what became of their pings where they are applied.
    ahead: VecDeque<Option<PingCounts>>,
}

impl Ledger {
    /// Nothing is applied; the first batch will have this number, which is at least 1.
    pub(crate) fn new(first: u64) -> Self {
        Self { applied: first.saturating_sub(1), counts: PingCounts::default(), ahead: VecDeque::new() }
    }

    /// The batch `number` is applied.
    pub(crate) fn apply(&mut self, number: u64, counts: PingCounts) {
        let Some(index) = number.checked_sub(self.applied + 1) else { return };
        // Bounded: a session has at most UNAPPLIED_BATCHES_MAX batches that are not applied.
        let index = index as usize;
        if self.ahead.len() <= index {
            self.ahead.resize(index + 1, None);
        }
        self.ahead[index] = Some(counts);
        while let Some(Some(counts)) = self.ahead.front() {
            self.counts.add(counts);
            self.applied += 1;
            self.ahead.pop_front();
        }
    }

    /// All batches up to this number are applied.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// What became of the pings of [`applied`](Self::applied) batches.
    pub(crate) fn counts(&self) -> &PingCounts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_out_of_order_is_acknowledged_in_order_and_counted_once() {
        let counts = |accepted| PingCounts { accepted, ..PingCounts::default() };
        let mut ledger = Ledger::new(5);
        let mut seen = Vec::new();
        for number in [7, 5, 9, 6, 5, 8] {
            ledger.apply(number, counts(1 << number));
            seen.push((ledger.applied(), ledger.counts().accepted));
        }
        let to = |last: u64| (5..=last).map(|n| 1 << n).sum::<u64>();
        assert_eq!(seen, [(4, 0), (5, to(5)), (5, to(5)), (7, to(7)), (7, to(7)), (9, to(9))]);
    }
}
