//! Compares an engine with the oracle over many worlds, and makes a world in which they differ
//! as small as it gets.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::generate::generate;
use super::world::World;
use super::{judge, matches};

/// An engine: a world and a number of partitions to match lines, or what went wrong.
pub(crate) type Engine = fn(&World, usize) -> Result<String, String>;

/// The numbers of partitions to try.
const PARTITIONS: [usize; 3] = [1, 2, 7];

/// Judges the worlds of all `seeds`, and `engine` by them. Returns what was seen how often.
pub(crate) fn compare(seeds: std::ops::Range<u64>, engine: Option<Engine>) -> BTreeMap<String, usize> {
    let one = |seed| {
        let world = generate(seed);
        let answer = judge(&world);
        for partitions in PARTITIONS {
            let Some(engine) = engine else { break };
            if engine(&world, partitions).as_ref() != Ok(&answer.matches) {
                panic!("{}", report(seed, &world, partitions, engine));
            }
        }
        answer.seen
    };
    let add = |mut sum: BTreeMap<String, usize>, seen: BTreeMap<String, usize>| {
        seen.into_iter().for_each(|(what, times)| *sum.entry(what).or_default() += times);
        sum
    };
    seeds.into_par_iter().map(one).reduce(BTreeMap::new, add)
}

/// Everything that it takes to see a difference again.
pub(crate) fn report(seed: u64, world: &World, partitions: usize, engine: Engine) -> String {
    // A file without a good row is an error by the rules: an error may shrink to an error only.
    let fails = engine(world, partitions).is_err();
    let small = shrink(world, |world| match engine(world, partitions) {
        Ok(lines) => !fails && lines != matches(world),
        Err(_) => fails && !world.pings.is_empty(),
    });
    let (expected, got) = (matches(&small), engine(&small, partitions));
    let got = got.unwrap_or_else(|error| format!("ERROR: {error}\n"));
    let line = expected.lines().zip(got.lines()).take_while(|(one, other)| one == other).count() + 1;
    format!(
        "engine and oracle differ: seed {seed}, {partitions} partitions, namespace {}, max age {:?} ms, until {:?}; \
         the smallest world found that differs:\n\
         --- pings.csv\n{}--- actions.ndjson\n{}--- expected\n{expected}--- got (first difference in line {line})\n{got}",
        small.namespace,
        small.max_age_ms,
        small.until,
        small.pings_csv(),
        small.actions_ndjson(),
    )
}

/// Drops actions, devices and pings as long as the world still differs.
pub(crate) fn shrink(world: &World, differs: impl Fn(&World) -> bool) -> World {
    let mut small = world.clone();
    loop {
        let size = small.pings.len() + small.actions.len();
        let devices: BTreeSet<String> = small.pings.iter().map(|ping| ping.device.clone()).collect();
        for device in devices {
            let mut next = small.clone();
            next.pings.retain(|ping| ping.device != device);
            if differs(&next) {
                small = next;
            }
        }
        for length in [32, 8, 2, 1] {
            for from in (0..small.actions.len()).step_by(length).rev() {
                let mut next = small.clone();
                next.actions.drain(from..(from + length).min(small.actions.len()));
                if differs(&next) {
                    small = next;
                }
            }
            for from in (0..small.pings.len()).step_by(length).rev() {
                let mut next = small.clone();
                next.pings.drain(from..(from + length).min(small.pings.len()));
                if differs(&next) {
                    small = next;
                }
            }
        }
        if small.pings.len() + small.actions.len() == size {
            return small;
        }
    }
}
