//! The partition state machine and what it is made of: device table (index, rows, notified
//! sets), cell index, standing alerts.
//!
//! [`Partition`] is a pure function of what it is given: pings, orders and times go in, one by
//! one; matches come out. It does no I/O, reads no clock, starts no thread, rolls no dice, and
//! never looks at telemetry. Live, replay, tests and cluster drive the same machine.
//!
//! Invariant: while an alert is active and no scan of it is unfinished, every known device
//! inside the active stage of one of its parts has been notified.

mod ahead;
mod blocks;
mod cells;
mod chunked;
mod devices;
mod index;
mod lists;
mod memory;
mod output;
mod partition;
mod pings;
mod recover;
mod restore;
mod rows;
pub(crate) mod saving;
mod scan;
#[cfg(test)]
pub(crate) mod seams;
mod sets;
mod snapshot;
mod standing;
mod sweep;
mod work;

pub use ahead::give as give_memory;
pub use blocks::SnapshotError;
pub use output::{EventKey, Output, Run};
pub use partition::{Partition, PartitionConfig, PingClock};
pub use restore::Restorer;
pub use scan::Count;

use crate::domain::Directive;
use crate::geo::PreparedArea;

/// What the desk decided, with its area prepared.
pub type Order = Directive<PreparedArea>;

#[cfg(test)]
mod crowd_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;
