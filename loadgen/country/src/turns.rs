//! In which order devices ping, and so how long each waits between two of its pings.
//!
//! The order of a round is a permutation computed, not stored: a bijection on the next power of
//! two, walked on where it leaves the range.

use super::mix;

/// How the time between two pings of a device is spread around its mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// Always the mean.
    Fixed,
    /// Once in each round, at any time of it: 0 to twice the mean, most near the mean.
    #[default]
    Triangular,
    /// 0 to twice the mean, all alike.
    Uniform,
    /// Whoever comes, whatever was before: a share of e^-x waits longer than x means.
    Exponential,
}

/// Whose turn it is, and how far it lies in time after the first, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The device.
    pub device: u64,
    /// The time.
    pub ms: u64,
}

/// Turns of `devices` devices, without end. In the first round each has one, whatever the gaps.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    devices: u64,
    gaps: Gaps,
    /// The order of this round; with uniform gaps, of those who stand still in time, and of those
    /// who move between them.
    orders: [Order; 2],
    round: u64,
    /// Turns before this round.
    before: u64,
    taken: u64,
}

impl Turns {
    /// Turns of devices `0..devices`; at least one device.
    pub fn new(devices: u64) -> Self {
        Self::with(devices, Gaps::default())
    }

    /// Turns with such gaps.
    pub fn with(devices: u64, gaps: Gaps) -> Self {
        let devices = devices.max(1);
        Self { devices, gaps, orders: [Order::new(devices); 2], round: 0, before: 0, taken: 0 }
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
    /// the mean gap is `round_ms`.
    #[inline]
    pub fn take(&mut self, round_ms: u64) -> (u64, u64) {
        if self.taken == self.before + self.length() {
            self.next_round();
        }
        let ms = self.taken * round_ms / self.devices;
        let into = self.taken - self.before;
        self.taken += 1;
        let device = match self.gaps {
            Gaps::Exponential if self.round > 0 => self.anyone(self.taken),
            Gaps::Uniform if self.round > 0 => self.orders[(into % 2) as usize].next(self.devices),
            _ => self.orders[0].next(self.devices),
        };
        (device, ms)
    }

    /// Many turns at once, as [`take`](Self::take) gives them.
    pub fn take_many(&mut self, round_ms: u64, out: &mut [Turn]) {
        let mut rest = out;
        while !rest.is_empty() {
            if self.taken == self.before + self.length() {
                self.next_round();
            }
            let left = (self.before + self.length() - self.taken).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(left);
            match self.gaps {
                Gaps::Exponential if self.round > 0 => {
                    for (turn, n) in now.iter_mut().zip(self.taken + 1..) {
                        turn.device = self.anyone(n);
                    }
                }
                Gaps::Uniform if self.round > 0 => {
                    for (turn, n) in now.iter_mut().zip(self.taken - self.before..) {
                        turn.device = self.orders[(n % 2) as usize].next(self.devices);
                    }
                }
                _ => self.orders[0].next_many(self.devices, now),
            }
            // A division is dear: whole milliseconds are counted on instead.
            let (mut ms, mut over) =
                (self.taken * round_ms / self.devices, self.taken * round_ms % self.devices);
            let (step, step_over) = (round_ms / self.devices, round_ms % self.devices);
            for turn in now {
                turn.ms = ms;
                over += step_over;
                let carry = over >= self.devices;
                ms += step + u64::from(carry);
                over -= if carry { self.devices } else { 0 };
            }
            self.taken += left as u64;
            rest = later;
        }
    }

    /// Turns of this round.
    fn length(&self) -> u64 {
        match self.gaps {
            // Each device has one turn at a time of its own and one at any time between: both the gap up
            // to the second and the gap after it are uniform.
            Gaps::Uniform if self.round > 0 => 2 * self.devices,
            _ => self.devices,
        }
    }

    fn next_round(&mut self) {
        self.before += self.length();
        self.round += 1;
        let [first, second] = &mut self.orders;
        first.next = 0;
        match self.gaps {
            Gaps::Triangular => first.shuffle(self.round),
            Gaps::Uniform => second.shuffle(self.round),
            Gaps::Fixed | Gaps::Exponential => {}
        }
    }

    #[inline]
    fn anyone(&self, n: u64) -> u64 {
        ((u128::from(mix(n)) * u128::from(self.devices)) >> 64) as u64
    }
}

/// A permutation.
#[derive(Clone, Copy, Debug)]
struct Order {
    mask: u64,
    shift: u32,
    odd: [u64; 2],
    next: u64,
}

impl Order {
    fn new(devices: u64) -> Self {
        let bits = 64 - (devices - 1).leading_zeros();
        let mask = if bits == 0 { 0 } else { u64::MAX >> (64 - bits) };
        let mut order = Self { mask, shift: bits.div_ceil(2), odd: [1; 2], next: 0 };
        order.shuffle(0);
        order
    }

    fn shuffle(&mut self, round: u64) {
        self.odd = [mix(2 * round) | 1, mix(2 * round + 1) | 1];
        self.next = 0;
    }

    #[inline]
    fn next(&mut self, devices: u64) -> u64 {
        loop {
            let i = self.place(self.next);
            self.next += 1;
            if i < devices {
                return i;
            }
        }
    }

    /// Without a branch on what leaves the range. There must be so many left.
    #[inline]
    fn next_many(&mut self, devices: u64, turns: &mut [Turn]) {
        let mut filled = 0;
        while let Some(turn) = turns.get_mut(filled) {
            turn.device = self.place(self.next);
            filled += usize::from(turn.device < devices);
            self.next += 1;
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

    #[test]
    fn many_turns_are_those_that_come_one_by_one() {
        for gaps in [Gaps::Fixed, Gaps::Triangular, Gaps::Uniform, Gaps::Exponential] {
            for devices in [1, 3, 700, 1_025] {
                let (mut single, mut many) = (Turns::with(devices, gaps), Turns::with(devices, gaps));
                let mut turns = vec![Turn::default(); 997];
                for _ in 0..6 {
                    many.take_many(60_000, &mut turns);
                    assert!(turns.iter().all(|turn| single.take(60_000) == (turn.device, turn.ms)));
                }
            }
        }
    }

    #[test]
    fn gaps_are_spread_as_they_are_called_around_one_mean() {
        // The share of gaps below half of the mean, and the longest in means. Orders are no perfect shuffle.
        for (gaps, below_half, longest) in [
            (Gaps::Fixed, 0.0..=0.0, 0.99..=1.01),
            (Gaps::Triangular, 0.115..=0.135, 1.5..=2.0),
            (Gaps::Uniform, 0.225..=0.275, 1.9..=2.0),
            (Gaps::Exponential, 0.380..=0.407, 6.0..=30.0),
        ] {
            let devices = 2_000;
            let mut turns = Turns::with(devices, gaps);
            let mut last = vec![None; devices as usize];
            let mut found: Vec<u64> = Vec::new();
            for _ in 0..41 * devices {
                let (i, ms) = turns.take(60_000);
                // The first round is one for all.
                let before = last[i as usize].replace(ms);
                found.extend(before.filter(|before| *before > 60_000).map(|before| ms - before));
            }
            let mean = found.iter().sum::<u64>() as f64 / found.len() as f64;
            assert!((57_000.0..60_500.0).contains(&mean), "{gaps:?}: {mean}");
            let below = found.iter().filter(|gap| **gap < 30_000).count() as f64 / found.len() as f64;
            assert!(below_half.contains(&below), "{gaps:?}: {below}");
            let most = found.iter().max().map_or(0.0, |most| *most as f64 / 60_000.0);
            assert!(longest.contains(&most), "{gaps:?}: {most}");
        }
    }
}
