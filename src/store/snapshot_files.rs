//! Snapshots: their files, the manifest that makes them count, and the list of those that do.
//!
//! A snapshot is a folder `<number>` with one file of blocks a stream (`block_file`) and `MANIFEST`.
//!
//! The manifest is one line of JSON and a line with its CRC32C. It is written to a temporary name, synced, renamed,
//! and the folder synced: a snapshot without a whole manifest does not count. When the match logs must be visible
//! up to its offsets, that is its reader's to check.

use std::sync::Arc;

use crc32c::crc32c;
use serde::{Deserialize, Serialize};

use super::block_file::{BlockReader, BlockWriter};
use super::disk::read_whole;
use super::{Disk, StoreError};
use crate::limits::SNAPSHOT_MANIFEST_BYTES_MAX;
use crate::planted::{self, Defect};

const MANIFEST: &str = "MANIFEST";
const MANIFEST_NEW: &str = "MANIFEST.new";
/// The newest format of snapshots that is read, and the one that is written.
pub(super) const VERSION: u32 = 1;

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's version; set when it is written.
    pub version: u32,
    /// The snapshot's number, also its folder's name.
    pub number: u64,
    /// When it was begun, ms since 1970.
    pub begun_ms: i64,
    /// The last action that all partitions had applied.
    pub last_action: u64,
    /// Its files.
    pub files: Vec<ManifestFile>,
    /// What had been applied of each named source by all partitions before it began.
    pub sources: Vec<SourceMark>,
}

/// A file of a snapshot: one partition of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name, bytes, blocks and digest.
    #[serde(flatten)]
    pub written: WrittenFile,
    /// The namespace.
    pub namespace: String,
    /// The partition.
    pub partition: u32,
    /// The last action that the partition had applied.
    pub last_action: u64,
    /// The partition's clock, ms since 1970.
    pub clock_ms: i64,
    /// The end of the namespace's match log when it was begun.
    pub match_log_end: u64,
    /// The next record of the partition's ping log, where there is one.
    pub ping_log_next: Option<u64>,
    /// Devices in it.
    pub devices: u64,
}

/// The last batch of a named source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMark {
    /// The namespace.
    pub namespace: String,
    /// Whose it is.
    pub identity: String,
    /// The source's name.
    pub source: String,
    /// The number of its last batch.
    pub batch: u64,
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Its name in the snapshot's folder.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// BLAKE3 over its block heads, as hexadecimal.
    pub digest: String,
}

/// A snapshot that does not count, and why.
#[derive(Debug)]
pub struct SkippedSnapshot {
    /// Its number.
    pub number: u64,
    /// What is wrong with its manifest; `None` where it has none: it was never finished.
    pub error: Option<StoreError>,
}

/// The folder of all snapshots.
#[derive(Clone)]
pub struct SnapshotFolder {
    disk: Arc<dyn Disk>,
    folder: String,
}

impl std::fmt::Debug for SnapshotFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFolder").field("folder", &self.folder).finish()
    }
}

pub(super) fn name_is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(plain) && !name.starts_with('.') && !name.starts_with(MANIFEST)
}

impl SnapshotFolder {
    /// The snapshots in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(disk: Arc<dyn Disk>, folder: &str) -> Result<Self, StoreError> {
        disk.make_folder(folder)?;
        Ok(Self { disk, folder: folder.into() })
    }

    fn path(&self, number: u64) -> String {
        format!("{}/{number:020}", self.folder)
    }

    fn numbers(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.list(&self.folder)?;
        let number = |name: &String| (name.len() == 20).then(|| name.parse().ok()).flatten();
        Ok(names.iter().filter_map(number).collect())
    }

    /// A number above that of every snapshot, finished or not.
    ///
    /// # Errors
    /// `Io`.
    pub fn next_number(&self) -> Result<u64, StoreError> {
        Ok(self.numbers()?.last().map_or(1, |last| last + 1))
    }

    /// The manifests of finished snapshots, newest first, and what was skipped. Their files are not read here.
    ///
    /// # Errors
    /// `LaterVersion`, `Io`.
    pub fn list(&self) -> Result<(Vec<Manifest>, Vec<SkippedSnapshot>), StoreError> {
        let (mut finished, mut skipped) = (Vec::new(), Vec::new());
        for number in self.numbers()?.into_iter().rev() {
            let folder = self.path(number);
            if !self.disk.list(&folder)?.iter().any(|name| name == MANIFEST) {
                skipped.push(SkippedSnapshot { number, error: None });
                continue;
            }
            match self.manifest(number) {
                Ok(manifest) => finished.push(manifest),
                // What a later version wrote is neither passed over nor, later, removed.
                Err(error @ (StoreError::Io { .. } | StoreError::LaterVersion { .. })) => return Err(error),
                Err(error) => skipped.push(SkippedSnapshot { number, error: Some(error) }),
            }
        }
        Ok((finished, skipped))
    }

    fn manifest(&self, number: u64) -> Result<Manifest, StoreError> {
        let path = format!("{}/{MANIFEST}", self.path(number));
        let file = self.disk.open(&path)?;
        let damaged = |why: &str| StoreError::damaged(&path, 0, why);
        if file.bytes()? > SNAPSHOT_MANIFEST_BYTES_MAX as u64 {
            return Err(damaged("the manifest is longer than one may be"));
        }
        let mut bytes = Vec::new();
        read_whole(&*file, &mut bytes)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("the manifest is not text"))?;
        let (json, rest) = text.split_once('\n').ok_or_else(|| damaged("the manifest has no check sum"))?;
        if rest != format!("crc32c {:08x}\n", crc32c(json.as_bytes())) {
            return Err(damaged("the manifest's check sum is wrong"));
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let version = serde_json::from_str(json).map(|found: Version| found.version);
        let version = version.map_err(|error| damaged(&error.to_string()))?;
        if version > VERSION {
            return Err(StoreError::LaterVersion { file: path, version, known: VERSION });
        }
        let manifest: Manifest = serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        if manifest.number != number {
            return Err(damaged("the manifest is that of another snapshot"));
        }
        Ok(manifest)
    }

    /// Begins a snapshot; it counts only once [`SnapshotDraft::commit`] returned.
    ///
    /// # Errors
    /// `Io`, `Full`.
    pub fn begin(&self, number: u64) -> Result<SnapshotDraft, StoreError> {
        let folder = self.path(number);
        self.disk.make_folder(&folder)?;
        Ok(SnapshotDraft { disk: Arc::clone(&self.disk), folder, number })
    }

    /// Opens a file of a snapshot for reading.
    ///
    /// # Errors
    /// `Damaged` where its head or length is not what the manifest says; `Io`.
    pub fn read(&self, number: u64, written: &WrittenFile) -> Result<BlockReader, StoreError> {
        BlockReader::open(&*self.disk, &self.path(number), number, written)
    }

    /// Makes sure that a snapshot that was found lasts. Call it before anything rests on one after a start: the
    /// manifest may have been renamed and its folder's sync failed or never came, so that it is seen now and
    /// gone after the next power cut. It is written anew, because what a failed sync left is not known.
    ///
    /// # Errors
    /// `Full`, `Io`.
    pub fn adopt(&self, found: &Manifest) -> Result<(), StoreError> {
        if planted::on(Defect::SnapshotNotAdopted) {
            return Ok(());
        }
        let draft = SnapshotDraft {
            disk: Arc::clone(&self.disk),
            folder: self.path(found.number),
            number: found.number,
        };
        self.disk.remove(&format!("{}/{MANIFEST_NEW}", draft.folder))?;
        draft.commit(&mut found.clone())?;
        self.disk.sync_folder(&self.folder)
    }

    /// Removes a snapshot, finished or not; its manifest first, so that it never half counts.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(&self, number: u64) -> Result<(), StoreError> {
        let folder = self.path(number);
        self.disk.remove(&format!("{folder}/{MANIFEST}"))?;
        let names = self.disk.list(&folder)?;
        if !names.is_empty() {
            self.disk.sync_folder(&folder)?;
        }
        for name in names {
            self.disk.remove(&format!("{folder}/{name}"))?;
        }
        self.disk.remove_folder(&folder)?;
        self.disk.sync_folder(&self.folder)
    }
}

/// A snapshot that is being written.
pub struct SnapshotDraft {
    disk: Arc<dyn Disk>,
    folder: String,
    number: u64,
}

impl std::fmt::Debug for SnapshotDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotDraft").field("folder", &self.folder).finish()
    }
}

impl SnapshotDraft {
    /// The snapshot's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Begins a file, with room for `expected_bytes` reserved (0 for none). Several may be written at a time.
    ///
    /// # Errors
    /// `Full`, `Io`; `Damaged` where the name has other than letters, digits and `-_.`.
    pub fn file(&self, name: &str, expected_bytes: u64) -> Result<BlockWriter, StoreError> {
        let path = format!("{}/{name}", self.folder);
        if !name_is_plain(name) {
            return Err(StoreError::damaged(&path, 0, "a snapshot's file cannot have this name"));
        }
        Ok(BlockWriter::begin(self.disk.create(&path, expected_bytes)?, self.number, name))
    }

    /// Writes the manifest: from now on the snapshot counts. Its version and number are set here.
    ///
    /// # Errors
    /// `Full`, `Io`.
    pub fn commit(self, manifest: &mut Manifest) -> Result<(), StoreError> {
        (manifest.version, manifest.number) = (VERSION, self.number);
        let (new, path) = (format!("{}/{MANIFEST_NEW}", self.folder), format!("{}/{MANIFEST}", self.folder));
        let json = serde_json::to_string(&manifest);
        let json = json.map_err(|error| StoreError::damaged(&path, 0, error.to_string()))?;
        let text = format!("{json}\ncrc32c {:08x}\n", crc32c(json.as_bytes()));
        if text.len() > SNAPSHOT_MANIFEST_BYTES_MAX {
            let (bytes, max) = (text.len() as u64, SNAPSHOT_MANIFEST_BYTES_MAX as u64);
            return Err(StoreError::TooLarge { file: path, bytes, max });
        }
        let file = self.disk.create(&new, 0)?;
        file.write_at(0, text.as_bytes())?;
        file.sync()?;
        // The names of the snapshot's files must last before its manifest does.
        self.disk.sync_folder(&self.folder)?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_folder(&self.folder)
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
