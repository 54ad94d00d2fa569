//! The device table: pseudonym to slot, slot to row.
//!
//! A slot is dense and is reused after its device was forgotten; whatever is kept by slot
//! (notified bits, scan marks) must be handed over first: see `Partition::forget`.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::cells::BucketIx;
use crate::domain::{DeviceId, EventTime, Position};

/// A device's dense index inside its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u32);

/// Where a device was last seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) device: DeviceId,
    pub(super) at: EventTime,
    pub(super) position: Position,
    pub(super) accuracy_m: u32,
    /// The bucket that lists the device, and where in its list.
    pub(super) bucket: BucketIx,
    pub(super) place: u32,
}

/// All devices of a partition.
#[derive(Debug, Default)]
pub(super) struct Devices {
    slots: HashMap<DeviceId, Slot, FixedState>,
    rows: Vec<Row>,
    free: Vec<Slot>,
    occupied: Vec<bool>,
}

impl Devices {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots in use or free: every slot is below it.
    pub(super) fn slots_end(&self) -> u32 {
        self.rows.len() as u32
    }

    #[inline]
    pub(super) fn find(&self, device: DeviceId) -> Option<Slot> {
        self.slots.get(&device).copied()
    }

    #[inline]
    pub(super) fn row(&self, slot: Slot) -> &Row {
        &self.rows[slot.0 as usize]
    }

    #[inline]
    pub(super) fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.rows[slot.0 as usize]
    }

    /// The row of a slot that is in use.
    pub(super) fn occupied(&self, slot: Slot) -> Option<&Row> {
        if *self.occupied.get(slot.0 as usize)? { self.rows.get(slot.0 as usize) } else { None }
    }

    /// Adds a device that is not there. `None` when 2^32 slots are in use.
    pub(super) fn insert(&mut self, row: Row) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.rows[slot.0 as usize] = row;
                self.occupied[slot.0 as usize] = true;
                slot
            }
            None => {
                let slot = Slot(u32::try_from(self.rows.len()).ok()?);
                self.rows.push(row);
                self.occupied.push(true);
                slot
            }
        };
        self.slots.insert(row.device, slot);
        Some(slot)
    }

    /// Takes a device out; its slot may be given to another from now on.
    pub(super) fn remove(&mut self, slot: Slot) {
        let device = self.row(slot).device;
        self.slots.remove(&device);
        self.occupied[slot.0 as usize] = false;
        self.free.push(slot);
    }
}
