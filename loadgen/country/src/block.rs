//! Points by the hundred, at twice the speed of one by one.
//!
//! What a device does is a matter of chance, which no processor foresees; so turns are first sorted
//! by what their devices do, then each kind has a loop of its own. The points are those of
//! [`Country::at`].

use super::{Country, Point, Turn, mix};

/// Turns that are sorted together: few enough to stay in the first-level cache.
const BLOCK: usize = 512;
/// Still, on foot, by car, by train, anywhere.
const KINDS: usize = 5;

/// Room to work in.
#[derive(Clone)]
pub struct Block {
    /// What decides a device's home and ways, by turn.
    owns: Box<[u64; BLOCK]>,
    /// Turns by kind.
    kinds: Box<[[u16; BLOCK]; KINDS]>,
}

impl Default for Block {
    fn default() -> Self {
        Self { owns: Box::new([0; BLOCK]), kinds: Box::new([[0; BLOCK]; KINDS]) }
    }
}

impl Country {
    /// Where the devices are at their turns, which count devices from `first` on. The points come
    /// in an order of their own; those of one device in theirs.
    #[inline]
    pub fn each(&self, first: u64, turns: &[Turn], block: &mut Block, mut found: impl FnMut(u64, Point)) {
        for turns in turns.chunks(BLOCK) {
            let mut counts = [0; KINDS];
            for (j, (turn, own)) in turns.iter().zip(block.owns.iter_mut()).enumerate() {
                *own = mix((first + turn.device) ^ self.seed);
                let kind = self.kind(*own);
                block.kinds[kind][counts[kind] & (BLOCK - 1)] = j as u16;
                counts[kind] += 1;
            }
            let of = |kind: usize| Kind {
                turns,
                owns: &block.owns,
                chosen: &block.kinds[kind][..counts[kind]],
                first,
            };
            of(0).each(&mut found, |own, ms| self.still(own, ms));
            of(1).each(&mut found, |own, ms| self.to_and_fro(own, ms, &self.walks));
            of(2).each(&mut found, |own, ms| self.to_and_fro(own, ms, &self.drives));
            of(3).each(&mut found, |own, ms| self.by_rail(own, ms));
            of(4).each(&mut found, |own, ms| self.anywhere(own, ms));
        }
    }
}

/// The turns of one kind.
struct Kind<'a> {
    turns: &'a [Turn],
    owns: &'a [u64; BLOCK],
    chosen: &'a [u16],
    first: u64,
}

impl Kind<'_> {
    #[inline(always)]
    fn each(&self, found: &mut impl FnMut(u64, Point), at: impl Fn(u64, u64) -> Point) {
        for j in self.chosen {
            let own = self.owns[usize::from(*j) % BLOCK];
            let Some(turn) = self.turns.get(usize::from(*j)) else { continue };
            found(self.first + turn.device, at(own, turn.ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shares, Turns};

    #[test]
    fn points_are_those_that_come_one_by_one() {
        let shares = Shares { still: 0.3, walk: 0.2, drive: 0.2, rail: 0.2 };
        let (country, mut block) = (Country::new(9, shares), Block::default());
        let mut turns = vec![Turn::default(); 1_700];
        Turns::new(1_000).take_many(60_000, &mut turns);
        let mut found = Vec::new();
        country.each(77, &turns, &mut block, |i, point| found.push((i, point.lat_e7, point.lon_e7)));
        let mut one_by_one: Vec<(u64, i32, i32)> = turns
            .iter()
            .map(|turn| (77 + turn.device, country.at(77 + turn.device, turn.ms)))
            .map(|(i, point)| (i, point.lat_e7, point.lon_e7))
            .collect();
        found.sort_unstable();
        one_by_one.sort_unstable();
        assert_eq!(found, one_by_one);
    }
}
