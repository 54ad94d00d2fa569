//! The seam below everything that is stored: files with positions, names, and what makes each last.
//!
//! Paths are relative to the data folder, with `/` between parts. What a power cut leaves is what the
//! contract says and no more: bytes of a file last once its [`DiskFile::sync`] returned, a created,
//! renamed or removed name lasts once [`Disk::sync_folder`] of its folder returned; before, any part of it may
//! be there. Implementations never retry a sync.

use std::sync::Arc;

use super::StoreError;

/// Names of files below one folder.
pub trait Disk: Send + Sync {
    /// Creates a file of `bytes` zeros whose room is reserved.
    ///
    /// # Errors
    /// `Full` without room (then there is no such file), `Io` where it exists already.
    fn create(&self, path: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, StoreError>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `Io` where there is none.
    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, StoreError>;

    /// The names in a folder, files and folders, sorted. A folder that is not there has none.
    ///
    /// # Errors
    /// `Io`.
    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Makes a folder and those above it, where they are not there; all of them last when it returns.
    ///
    /// # Errors
    /// `Io`, `Full`.
    fn make_folder(&self, folder: &str) -> Result<(), StoreError>;

    /// Gives a file or folder another name in the same folder, in place of what had it (a file only).
    ///
    /// # Errors
    /// `Io`.
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError>;

    /// Removes a file. One that is not there is none of its concern.
    ///
    /// # Errors
    /// `Io`.
    fn remove(&self, path: &str) -> Result<(), StoreError>;

    /// Removes an empty folder. One that is not there is none of its concern.
    ///
    /// # Errors
    /// `Io`, also where it is not empty.
    fn remove_folder(&self, folder: &str) -> Result<(), StoreError>;

    /// Makes what was created, renamed and removed directly in `folder` last.
    ///
    /// # Errors
    /// `Io`; then it is unknown what lasts.
    fn sync_folder(&self, folder: &str) -> Result<(), StoreError>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// `Io`.
    fn free_bytes(&self) -> Result<u64, StoreError>;
}

/// An open file. Several threads may use it.
pub trait DiskFile: Send + Sync {
    /// Its path, for messages.
    fn name(&self) -> &str;

    /// Reads from `offset` on until `into` is full or the file ends; returns how many bytes.
    ///
    /// # Errors
    /// `Io`.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StoreError>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// `Io` or `Full`; then any part may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes its bytes and length last (fdatasync).
    ///
    /// # Errors
    /// `Io`; then none of what was written since the last sync may be trusted, now or after another sync.
    fn sync(&self) -> Result<(), StoreError>;

    /// Its length, bytes.
    ///
    /// # Errors
    /// `Io`.
    fn bytes(&self) -> Result<u64, StoreError>;

    /// Cuts it to `bytes`.
    ///
    /// # Errors
    /// `Io`.
    fn truncate(&self, bytes: u64) -> Result<(), StoreError>;
}

/// Reads a whole file into `into`.
pub(super) fn read_whole(file: &dyn DiskFile, into: &mut Vec<u8>) -> Result<(), StoreError> {
    let bytes = file.bytes()?;
    into.clear();
    into.resize(bytes as usize, 0);
    let read = file.read_at(0, into)?;
    into.truncate(read);
    Ok(())
}
