//! A bucket's list of notified sets: a row names its set by a number of 16 bits in it.
//!
//! The first few stand in the bucket's [`End`](super::cells::End), the rest in a list of their own.
//! Each entry counts the rows that have it; one that nobody has is not used.
//! Invariant: the set of an entry in use is kept (see `Sets::keep`) once for the entry.

use super::cells::{BucketIx, Cells, told_all};
use super::sets::{LOCAL_SETS_MAX, LocalSet, SetId, Sets};

/// Sets of a bucket's list that stand in its end; most buckets have no more.
pub(super) const SETS_AT_END: usize = 6;

impl Cells {
    /// Length of a bucket's list of sets.
    pub(super) fn sets_len(&self, ix: BucketIx) -> usize {
        SETS_AT_END + self.buckets[ix.0 as usize].more_sets.len()
    }

    /// A bucket's list of sets.
    pub(super) fn sets_of(&self, ix: BucketIx) -> impl Iterator<Item = (LocalSet, SetId)> {
        let first = self.ends[ix.0 as usize].sets.iter();
        let more = self.buckets[ix.0 as usize].more_sets.iter().map(|(set, _)| set);
        first.chain(more).zip(0..).map(|(set, n)| (LocalSet(n), *set))
    }

    /// The set of a number in a bucket's list.
    #[inline]
    pub(super) fn set(&self, ix: BucketIx, local: LocalSet) -> SetId {
        let n = usize::from(local.0);
        match self.ends[ix.0 as usize].sets.get(n) {
            Some(set) => *set,
            None => self.buckets[ix.0 as usize].more_sets[n - SETS_AT_END].0,
        }
    }

    /// Puts a set into a bucket's list, at a place in it or at its end; returns what was there.
    pub(super) fn set_at(&mut self, ix: BucketIx, local: LocalSet, set: SetId, sets: &Sets) -> SetId {
        let bucket = &mut self.buckets[ix.0 as usize];
        let n = usize::from(local.0);
        let place = match self.ends[ix.0 as usize].sets.get_mut(n) {
            Some(place) => place,
            None => {
                if n - SETS_AT_END == bucket.more_sets.len() {
                    bucket.more_sets.push((SetId::UNUSED, 0));
                }
                &mut bucket.more_sets[n - SETS_AT_END].0
            }
        };
        let old = std::mem::replace(place, set);
        if self.hot[ix.0 as usize].quiet != u64::MAX && bucket.unlaid.is_empty() && n < 63 {
            let told = told_all(bucket, set, sets);
            let quiet = &mut self.hot[ix.0 as usize].quiet;
            *quiet = *quiet & !(1 << n) | u64::from(told) << n;
        }
        old
    }

    /// A row of this bucket gets a set: its number in the list, where it has room.
    #[inline]
    pub(super) fn use_set(&mut self, ix: BucketIx, set: SetId, sets: &mut Sets) -> Option<LocalSet> {
        let end = &mut self.ends[ix.0 as usize];
        if let Some(n) = end.sets.iter().position(|held| *held == set) {
            end.users[n] += 1;
            return Some(LocalSet(n as u16));
        }
        let local = self.find_or_add(ix, set, sets)?;
        *self.users_of(ix, local) += 1;
        Some(local)
    }

    #[inline(never)]
    fn find_or_add(&mut self, ix: BucketIx, set: SetId, sets: &mut Sets) -> Option<LocalSet> {
        let more = &self.buckets[ix.0 as usize].more_sets;
        if let Some(n) = more.iter().position(|(held, _)| *held == set) {
            return Some(LocalSet((n + SETS_AT_END) as u16));
        }
        let end = SETS_AT_END + more.len();
        let unused = self.sets_of(ix).find(|(_, held)| *held == SetId::UNUSED).map(|(local, _)| local);
        let local = match unused {
            Some(local) => local,
            None if end >= LOCAL_SETS_MAX => return None,
            None => LocalSet(end as u16),
        };
        sets.keep(set);
        self.set_at(ix, local, set, sets);
        Some(local)
    }

    #[inline]
    fn users_of(&mut self, ix: BucketIx, local: LocalSet) -> &mut u32 {
        let n = usize::from(local.0);
        if n < SETS_AT_END {
            &mut self.ends[ix.0 as usize].users[n]
        } else {
            &mut self.buckets[ix.0 as usize].more_sets[n - SETS_AT_END].1
        }
    }

    /// So many more rows of this bucket have a set of its list.
    pub(super) fn add_users(&mut self, ix: BucketIx, local: LocalSet, rows: u32) {
        *self.users_of(ix, local) += rows;
    }

    /// Rows of this bucket that have a set of its list.
    #[cfg(test)]
    pub(super) fn users(&self, ix: BucketIx, local: LocalSet) -> u32 {
        let n = usize::from(local.0);
        let more = || self.buckets[ix.0 as usize].more_sets[n - SETS_AT_END].1;
        self.ends[ix.0 as usize].users.get(n).copied().unwrap_or_else(more)
    }

    /// Takes sets that nobody has out of a bucket's list.
    pub(super) fn drop_unused(&mut self, ix: BucketIx, sets: &mut Sets) {
        for n in 0..self.sets_len(ix) {
            let local = LocalSet(n as u16);
            if *self.users_of(ix, local) == 0 {
                let old = self.set_at(ix, local, SetId::UNUSED, sets);
                if old != SetId::UNUSED {
                    sets.drop(old);
                }
            }
        }
    }

    /// A row of this bucket that has a set of its list gives it up.
    #[inline]
    pub(super) fn unuse_set(&mut self, ix: BucketIx, local: LocalSet, sets: &mut Sets) {
        let users = self.users_of(ix, local);
        *users -= 1;
        if *users == 0 {
            let old = self.set_at(ix, local, SetId::UNUSED, sets);
            sets.drop(old);
        }
    }
}
