//! Who was notified of an alert: bound to the device, for as long as the alert is not cancelled.
//!
//! A bit a slot while the device is in the table; when it is forgotten its pseudonym moves to
//! `departed`, and back to a bit when it is heard of again. So a reused slot never inherits a bit.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::devices::Slot;
use crate::domain::DeviceId;

/// A set of slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    #[inline]
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.0.get(slot.0 as usize / 64).is_some_and(|word| word >> (slot.0 % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, slot: Slot) {
        let word = slot.0 as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (slot.0 % 64);
    }

    /// Clears a bit; says whether it was set.
    pub(super) fn clear(&mut self, slot: Slot) -> bool {
        let had = self.has(slot);
        if had {
            self.0[slot.0 as usize / 64] &= !(1 << (slot.0 % 64));
        }
        had
    }

    /// The words, slot 0 in the lowest bit of the first.
    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }
}

/// The devices notified of one alert.
#[derive(Clone, Debug, Default)]
pub(super) struct Notified {
    pub(super) present: Bits,
    pub(super) departed: HashSet<DeviceId, FixedState>,
}

impl Notified {
    /// The device of `slot` is forgotten: its slot may be reused.
    pub(super) fn depart(&mut self, slot: Slot, device: DeviceId) {
        if self.present.clear(slot) {
            self.departed.insert(device);
        }
    }

    /// A device came (back) and got `slot`.
    pub(super) fn arrive(&mut self, slot: Slot, device: DeviceId) {
        if !self.departed.is_empty() && self.departed.remove(&device) {
            self.present.set(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_inherits_nothing_and_a_returning_device_keeps_its_mark() {
        let mut notified = Notified::default();
        notified.present.set(Slot(70));
        notified.depart(Slot(70), DeviceId(1));
        notified.arrive(Slot(70), DeviceId(2));
        assert!(!notified.present.has(Slot(70)));
        notified.arrive(Slot(3), DeviceId(1));
        assert!(notified.present.has(Slot(3)));
        assert!(notified.departed.is_empty());
    }
}
