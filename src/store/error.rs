//! What can go wrong with files, each with the file and the place in it.

use std::io;

/// An error of the store. Paths are relative to the data folder, offsets are bytes from a file's start.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{doing} {file} at byte {offset} failed: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// Where in it.
        offset: u64,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk has no room. Nothing was changed; it may be tried again when there is some.
    #[error("the disk is full: {file} cannot take {bytes} bytes more at byte {offset}")]
    Full {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// How many bytes were to be written or reserved.
        bytes: u64,
    },
    /// What was once synced cannot be read any more. It must not be skipped: restore the file.
    #[error("{file} is damaged at byte {offset}: {why}")]
    Damaged {
        /// The file.
        file: String,
        /// Where the first unreadable thing begins.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a later version of the program.
    #[error(
        "{file} has format version {version}, this program reads versions up to {known}: use a later hexcast"
    )]
    LaterVersion {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// Another process holds the data folder.
    #[error("the data folder {folder} is in use by another process")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// An earlier write or sync failed. The process must end; the next start recovers.
    #[error("the log {folder} takes no more work since a write or sync of it failed: {why}")]
    Poisoned {
        /// The log's folder.
        folder: String,
        /// The first failure.
        why: String,
    },
    /// What is asked for was removed by retention.
    #[error("record {from} of the log {folder} was removed, the oldest that is there is {first}")]
    Trimmed {
        /// The log's folder.
        folder: String,
        /// The number asked for.
        from: u64,
        /// The oldest number that is there.
        first: u64,
    },
    /// A record that does not follow the one before, or covers nothing.
    #[error("a record {first}..{next} cannot follow in the log {folder}, which ends at {expected}")]
    NotInOrder {
        /// The log's folder.
        folder: String,
        /// What the record must begin with.
        expected: u64,
        /// What it begins with.
        first: u64,
        /// What it ends before.
        next: u64,
    },
    /// More bytes than one record, group or block may have.
    #[error("{bytes} bytes are too many for {file}, at most {max} are taken")]
    TooLarge {
        /// The file or folder.
        file: String,
        /// How many.
        bytes: u64,
        /// The bound.
        max: u64,
    },
}

impl StoreError {
    /// Whether it is a full disk, after which work can go on.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether something that was synced cannot be read.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    pub(crate) fn damaged(file: &str, offset: u64, why: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), offset, why: why.into() }
    }

    pub(crate) fn io(file: &str, offset: u64, doing: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded {
            return Self::Full { file: file.into(), offset, bytes: 0 };
        }
        Self::Io { file: file.into(), offset, doing, source }
    }

    /// A failed sync is never a full disk after which work goes on, whatever the system calls it.
    pub(crate) fn sync(file: &str, doing: &'static str, source: io::Error) -> Self {
        Self::Io { file: file.into(), offset: 0, doing, source }
    }
}
