//! In which order devices ping: each once a round, in an order of its own.
//!
//! The order of a round is a permutation computed, not stored: a bijection on the next power of
//! two, walked on where it leaves the range.

use super::mix;

/// Turns of `devices` devices, without end.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    devices: u64,
    mask: u64,
    shift: u32,
    odd: [u64; 2],
    next: u64,
    round: u64,
    taken: u64,
}

impl Turns {
    /// Turns of devices `0..devices`; at least one device.
    pub fn new(devices: u64) -> Self {
        let devices = devices.max(1);
        let bits = 64 - (devices - 1).leading_zeros();
        let mask = if bits == 0 { 0 } else { u64::MAX >> (64 - bits) };
        let mut turns =
            Self { devices, mask, shift: bits.div_ceil(2), odd: [1; 2], next: 0, round: 0, taken: 0 };
        turns.shuffle();
        turns
    }

    /// How many devices take turns.
    pub fn devices(&self) -> u64 {
        self.devices
    }

    /// Turns taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The device whose turn it is, and how far the turn lies in time after the first, ms, where
    /// a round takes `round_ms`.
    #[inline]
    pub fn take(&mut self, round_ms: u64) -> (u64, u64) {
        if self.taken == (self.round + 1) * self.devices {
            self.round += 1;
            self.next = 0;
            self.shuffle();
        }
        let into = self.taken - self.round * self.devices;
        let ms = self.round * round_ms + into * round_ms / self.devices;
        self.taken += 1;
        loop {
            let i = self.place(self.next);
            self.next += 1;
            if i < self.devices {
                return (i, ms);
            }
        }
    }

    /// A bijection on `0..=mask`: each step can be undone.
    #[inline]
    fn place(&self, k: u64) -> u64 {
        let mut x = k;
        for odd in self.odd {
            x = x.wrapping_mul(odd).wrapping_add(odd >> 7) & self.mask;
            x ^= x >> self.shift;
        }
        x
    }

    fn shuffle(&mut self) {
        self.odd = [mix(2 * self.round) | 1, mix(2 * self.round + 1) | 1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_one_turn_a_round_and_rounds_differ() {
        for devices in [1, 2, 3, 1_000, 1_024, 1_025] {
            let mut turns = Turns::new(devices);
            let mut last = Vec::new();
            for round in 0..4 {
                let taken: Vec<(u64, u64)> = (0..devices).map(|_| turns.take(60_000)).collect();
                let (from, to) = (round * 60_000, (round + 1) * 60_000);
                assert!(taken.iter().all(|(_, ms)| (from..to).contains(ms)), "{devices} devices");
                assert!(taken.is_sorted_by_key(|(_, ms)| *ms));
                let order: Vec<u64> = taken.iter().map(|(i, _)| *i).collect();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..devices), "round {round} of {devices} devices");
                if devices >= 1_000 {
                    assert_ne!(order, last);
                    let steps = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
                    assert!(steps < 60, "neighbours are far apart: {steps} of {devices}");
                }
                last = order;
            }
            assert_eq!(turns.taken(), 4 * devices);
        }
    }
}
