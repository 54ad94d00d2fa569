//! Files of a snapshot: streams of blocks, the manifest that makes them count, and the list of those that do.
//!
//! A snapshot is a folder `<number>` with one file a stream and `MANIFEST`. A file is a head of one sector and blocks,
//! each with a head of 32 bytes (magic u32, CRC32C of the 24 bytes after it u32, length u32, CRC32C of the content
//! u32, number of the block u64, tag of the file u64) and zeros to an 8-byte border. The tag (a hash of the
//! snapshot's number and the file's name) finds blocks of another file, the number finds swapped ones, and the
//! digest, BLAKE3 over all block heads, ties the file to its manifest: each head holds its content's check sum.
//!
//! The manifest is one line of JSON and a line with its CRC32C. It is written to a temporary name, synced, renamed,
//! and the folder synced: a snapshot without a whole manifest does not count. When the match logs must be visible
//! up to its offsets, that is its reader's to check.

use std::sync::Arc;

use crc32c::crc32c;
use serde::{Deserialize, Serialize};

use super::disk::read_whole;
use super::{Disk, DiskFile, StoreError};
use crate::limits::{
    SNAPSHOT_BLOCK_BYTES_MAX, SNAPSHOT_MANIFEST_BYTES_MAX, SNAPSHOT_READ_BYTES, SNAPSHOT_WRITE_BYTES,
};
use crate::planted::{self, Defect};

const MANIFEST: &str = "MANIFEST";
const MANIFEST_NEW: &str = "MANIFEST.new";
const FILE_MAGIC: [u8; 8] = *b"HEXCSNP\n";
const BLOCK_MAGIC: u32 = 0x4b4c_4248;
/// The newest format of snapshots that is read, and the one that is written.
const VERSION: u32 = 1;
/// Bytes of a file before its blocks.
const FILE_HEAD: usize = 4_096;
const BLOCK_HEAD: usize = 32;

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

fn tag_of(number: u64, name: &str) -> u64 {
    let digest = blake3::hash(format!("{number}/{name}").as_bytes());
    digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn name_is_plain(name: &str) -> bool {
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
    /// `Io`.
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
                Err(error @ StoreError::Io { .. }) => return Err(error),
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
        let file = self.disk.create(&path, expected_bytes)?;
        let mut buffer = Vec::with_capacity(SNAPSHOT_WRITE_BYTES + SNAPSHOT_BLOCK_BYTES_MAX / 4);
        let tag = tag_of(self.number, name);
        buffer.resize(FILE_HEAD, 0);
        buffer[..8].copy_from_slice(&FILE_MAGIC);
        buffer[8..12].copy_from_slice(&VERSION.to_le_bytes());
        buffer[16..24].copy_from_slice(&tag.to_le_bytes());
        let crc = file_head_crc(&buffer);
        buffer[12..16].copy_from_slice(&crc.to_le_bytes());
        Ok(BlockWriter {
            file,
            name: name.into(),
            tag,
            buffer,
            written: 0,
            blocks: 0,
            digest: blake3::Hasher::new(),
        })
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

fn file_head_crc(head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c(&head[..12]), &head[16..FILE_HEAD])
}

/// Writes one file of a snapshot, block by block.
pub struct BlockWriter {
    file: Arc<dyn DiskFile>,
    name: String,
    tag: u64,
    buffer: Vec<u8>,
    written: u64,
    blocks: u64,
    digest: blake3::Hasher,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").field("file", &self.file.name()).field("blocks", &self.blocks).finish()
    }
}

impl BlockWriter {
    /// Adds a block, given as slices. It is written when some MiB have gathered.
    ///
    /// # Errors
    /// `TooLarge`, `Full`, `Io`; after an error the file is to be given up.
    pub fn block(&mut self, content: &[&[u8]]) -> Result<(), StoreError> {
        let length: usize = content.iter().map(|slice| slice.len()).sum();
        if length > SNAPSHOT_BLOCK_BYTES_MAX {
            let (file, bytes) = (self.file.name().into(), length as u64);
            return Err(StoreError::TooLarge { file, bytes, max: SNAPSHOT_BLOCK_BYTES_MAX as u64 });
        }
        let start = self.buffer.len();
        self.buffer.resize(start + BLOCK_HEAD, 0);
        for slice in content {
            self.buffer.extend_from_slice(slice);
        }
        let crc = crc32c(&self.buffer[start + BLOCK_HEAD..]);
        let head = &mut self.buffer[start..start + BLOCK_HEAD];
        head[..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
        head[8..12].copy_from_slice(&(length as u32).to_le_bytes());
        head[12..16].copy_from_slice(&crc.to_le_bytes());
        head[16..24].copy_from_slice(&self.blocks.to_le_bytes());
        head[24..32].copy_from_slice(&self.tag.to_le_bytes());
        let head_crc = crc32c(&head[8..]);
        head[4..8].copy_from_slice(&head_crc.to_le_bytes());
        self.digest.update(head);
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        self.blocks += 1;
        if self.buffer.len() >= SNAPSHOT_WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest, gives back reserved room that was not used, and syncs.
    ///
    /// # Errors
    /// `Full`, `Io`; then the file is to be given up.
    pub fn finish(mut self) -> Result<WrittenFile, StoreError> {
        self.flush()?;
        if self.file.bytes()? > self.written {
            self.file.truncate(self.written)?;
        }
        self.file.sync()?;
        let digest = self.digest.finalize().to_hex().to_string();
        Ok(WrittenFile { name: self.name, bytes: self.written, blocks: self.blocks, digest })
    }
}

/// Reads one file of a snapshot, block by block, some MiB at a time.
pub struct BlockReader {
    file: Arc<dyn DiskFile>,
    tag: u64,
    expected: WrittenFile,
    buffer: Vec<u8>,
    /// The part of the buffer that was read and not yet given out, and where it lies in the file.
    start: usize,
    end: usize,
    offset: u64,
    blocks: u64,
    digest: blake3::Hasher,
}

impl std::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockReader").field("file", &self.file.name()).field("blocks", &self.blocks).finish()
    }
}

impl BlockReader {
    fn open(disk: &dyn Disk, folder: &str, number: u64, expected: &WrittenFile) -> Result<Self, StoreError> {
        let path = format!("{folder}/{}", expected.name);
        if !name_is_plain(&expected.name) {
            return Err(StoreError::damaged(&path, 0, "a snapshot's file cannot have this name"));
        }
        let file = disk.open(&path)?;
        let bytes = file.bytes()?;
        if bytes != expected.bytes {
            let why = format!("the file has {bytes} bytes, its manifest says {}", expected.bytes);
            return Err(StoreError::damaged(&path, bytes.min(expected.bytes), why));
        }
        let (tag, expected) = (tag_of(number, &expected.name), expected.clone());
        let digest = blake3::Hasher::new();
        let (start, end, offset, blocks) = (0, 0, 0, 0);
        let buffer = vec![0; SNAPSHOT_READ_BYTES];
        let mut reader = Self { file, tag, expected, buffer, start, end, offset, blocks, digest };
        let head = reader.need(FILE_HEAD)?;
        let field = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let whole = head[..8] == FILE_MAGIC && field(12) == file_head_crc(head);
        let own = head[16..24] == tag.to_le_bytes();
        let version = field(8);
        if !whole {
            return Err(StoreError::damaged(&path, 0, "the file's head cannot be read"));
        }
        if version > VERSION {
            return Err(StoreError::LaterVersion { file: path, version, known: VERSION });
        }
        if !own {
            return Err(StoreError::damaged(&path, 0, "the file belongs to another snapshot or name"));
        }
        reader.take(FILE_HEAD);
        Ok(reader)
    }

    /// At least `bytes` bytes that come next.
    fn need(&mut self, bytes: usize) -> Result<&[u8], StoreError> {
        if self.end - self.start < bytes {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() < bytes {
                self.buffer.resize(bytes, 0);
            }
            let from = self.offset + self.end as u64;
            self.end += self.file.read_at(from, &mut self.buffer[self.end..])?;
            if self.end < bytes {
                let at = self.offset + self.end as u64;
                return Err(StoreError::damaged(self.file.name(), at, "the file ends inside a block"));
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn take(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// The next block's content, checked; after the last one `None`, once the whole file is what the manifest says.
    ///
    /// # Errors
    /// `Damaged`; then nothing that was read of this file may be used. `Io`.
    #[expect(clippy::should_implement_trait, reason = "it lends its buffer, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, StoreError> {
        if self.offset >= self.expected.bytes {
            let digest = self.digest.finalize().to_hex();
            if self.blocks != self.expected.blocks || digest.as_str() != self.expected.digest {
                let why = "the file's blocks are not those that its manifest names";
                return Err(StoreError::damaged(self.file.name(), self.offset, why));
            }
            return Ok(None);
        }
        let (offset, blocks, tag) = (self.offset, self.blocks, self.tag);
        let head: [u8; BLOCK_HEAD] = match self.need(BLOCK_HEAD)?.first_chunk() {
            Some(head) => *head,
            None => return Ok(None),
        };
        let field = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let damaged = |file: &Arc<dyn DiskFile>, why| Err(StoreError::damaged(file.name(), offset, why));
        if field(0) != BLOCK_MAGIC || field(4) != crc32c(&head[8..]) {
            return damaged(&self.file, "no block begins here");
        }
        if head[16..24] != blocks.to_le_bytes() || head[24..] != tag.to_le_bytes() {
            return damaged(&self.file, "the block belongs elsewhere");
        }
        let length = field(8) as usize;
        if length > SNAPSHOT_BLOCK_BYTES_MAX {
            return damaged(&self.file, "the block is longer than one may be");
        }
        let span = (BLOCK_HEAD + length).next_multiple_of(8);
        self.need(span)?;
        self.digest.update(&head);
        self.blocks += 1;
        self.take(span);
        let start = self.start - span + BLOCK_HEAD;
        let content = &self.buffer[start..start + length];
        if crc32c(content) != field(12) {
            return damaged(&self.file, "the check sum of the block is wrong");
        }
        Ok(Some(content))
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
