//! What outlives the process: segmented logs, snapshot files, and the folder that one process holds.
//!
//! This room knows bytes and numbers, not alerts. All of it stands on one seam, [`Disk`]: the real one
//! ([`RealDisk`]) keeps everything below a root folder that is locked; the faulty one (tests and the
//! simulation only) loses power, tears writes, fails syncs and flips bits, driven by a seed.
//!
//! The rules that everything here keeps:
//! - Nothing counts before it is synced, and a log shows only what a *synced seal* names ([`SegmentedLog::visible`]).
//! - A synced sector is never written again.
//! - A failed sync or write is fatal: the log refuses all further work. The next open copies what no seal
//!   names to a new segment and syncs it before it shows anything.
//! - What is read is checked each time. Damage is an error that names file and offset, never data.
//!
//! ```
//! use std::sync::Arc;
//! use hexcast::store::{LogOptions, RealDisk, SegmentedLog};
//!
//! # fn main() -> Result<(), hexcast::store::StoreError> {
//! # let root = std::env::temp_dir().join(format!("hexcast-store-{}", std::process::id()));
//! let disk = Arc::new(RealDisk::open(&root)?);
//! let options = LogOptions { id: 7, first: 1, ..LogOptions::default() };
//! let (mut log, report) = SegmentedLog::open(disk, "journal", options)?;
//! assert!(report.torn.is_none());
//! let number = log.next();
//! log.append(1, number, number + 1, &[b"an alert, ", b"in two slices"])?;
//! log.sync()?; // it is on the disk,
//! log.seal()?; // and the disk says so: now it may be confirmed
//! assert_eq!(log.visible(), number + 1);
//! let records = log.reader().read(number, 1 << 20)?;
//! assert_eq!(&records[0].payload[..], b"an alert, in two slices");
//! # drop(log);
//! # let _ = std::fs::remove_dir_all(&root);
//! # Ok(())
//! # }
//! ```

mod block_file;
mod disk;
mod error;
#[cfg(test)]
pub(crate) mod faulty;
mod frame;
mod log;
#[cfg(test)]
mod log_tests;
pub(crate) mod planted;
mod reader;
mod real;
mod recover;
mod snapshot_files;

pub use block_file::{BlockReader, BlockWriter};
pub use disk::{Disk, DiskFile};
pub use error::StoreError;
pub use log::{LogOptions, SegmentedLog};
pub use reader::{LogReader, RecordBytes};
pub use real::RealDisk;
pub use recover::{OpenReport, TornTail};
pub use snapshot_files::{
    Manifest, ManifestFile, SkippedSnapshot, SnapshotDraft, SnapshotFolder, SourceMark, WrittenFile,
};
