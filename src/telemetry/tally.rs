//! Rare events by two words of the code. For what happens a few times a second at most: it locks.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::lock;

/// Counts by two labels, both words of the code, so that there is no more of them than the code
/// names.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Tally {
    /// Counts one.
    pub fn count(&self, what: &'static str, how: &'static str) {
        *lock(&self.0).entry((what, how)).or_default() += 1;
    }

    /// All that were counted, in the order of their labels.
    pub fn all(&self) -> Vec<((&'static str, &'static str), u64)> {
        lock(&self.0).iter().map(|(labels, count)| (*labels, *count)).collect()
    }
}
