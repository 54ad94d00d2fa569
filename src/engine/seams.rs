//! What tests ask of a partition and nobody else does: how full its tables are, and whether one is
//! being moved to another of a larger or smaller size. It changes nothing but the tables' first size.

use std::cell::Cell;

use super::cells::BucketIx;
use super::partition::Partition;
use crate::domain::DeviceId;

thread_local! {
    static SMALL: Cell<bool> = const { Cell::new(false) };
}

/// Whether tables made in this thread are small, so that a handful of devices makes them grow.
pub(super) fn are_small() -> bool {
    SMALL.get()
}

/// Has tables of this thread grow by a handful of devices, or not.
pub(crate) fn small_tables(small: bool) {
    SMALL.set(small);
}

/// How full a partition's tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Devices that are known or not yet forgotten.
    pub(crate) devices: usize,
    /// Devices that are forgotten and hear of an alert's end.
    pub(crate) departed: usize,
    /// Different notified sets, the empty one included.
    pub(crate) sets: usize,
    /// Sets and times that are kept by device.
    pub(crate) by_device: usize,
}

impl Partition {
    /// Whether the index is being moved to a table of another size.
    pub(crate) fn is_growing(&self) -> bool {
        self.devices.index.is_growing()
    }

    /// The row of a device.
    pub(crate) fn row_of(&self, device: DeviceId) -> Option<u32> {
        let index = &self.devices.index;
        index.find(index.hash(device.0), device.0, &self.devices.rows).map(|row| row.0)
    }

    /// See [`Fill`].
    pub(crate) fn fill(&self) -> Fill {
        Fill {
            devices: self.devices.len(),
            departed: self.devices.cells.rows(BucketIx::DEPARTED) as usize,
            sets: self.devices.sets.len(),
            by_device: self.devices.times.len() + self.devices.spilled.len(),
        }
    }
}
