//! A file of a snapshot: a stream of blocks, written once and read back once, by large pieces.
//!
//! A head of one sector, then blocks, each with a head of 32 bytes (magic u32, CRC32C of the 24 bytes after it
//! u32, length u32, CRC32C of the content u32, number of the block u64, tag of the file u64) and zeros to an 8-byte
//! border. The tag (a hash of the snapshot's number and the file's name) finds blocks of another file, the number
//! finds swapped ones, and the digest, BLAKE3 over all block heads, ties the file to its manifest: each head holds
//! its content's check sum.

use std::sync::Arc;

use crc32c::crc32c;

use super::snapshot_files::{VERSION, WrittenFile, name_is_plain};
use super::{Disk, DiskFile, StoreError};
use crate::limits::{SNAPSHOT_BLOCK_BYTES_MAX, SNAPSHOT_READ_BYTES, SNAPSHOT_WRITE_BYTES};

const FILE_MAGIC: [u8; 8] = *b"HEXCSNP\n";
const BLOCK_MAGIC: u32 = 0x4b4c_4248;
/// Bytes of a file before its blocks.
const FILE_HEAD: usize = 4_096;
const BLOCK_HEAD: usize = 32;

fn tag_of(number: u64, name: &str) -> u64 {
    let digest = blake3::hash(format!("{number}/{name}").as_bytes());
    digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
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
    /// Begins an empty file.
    pub(super) fn begin(file: Arc<dyn DiskFile>, number: u64, name: &str) -> Self {
        let mut buffer = Vec::with_capacity(SNAPSHOT_WRITE_BYTES + SNAPSHOT_BLOCK_BYTES_MAX / 4);
        let tag = tag_of(number, name);
        buffer.resize(FILE_HEAD, 0);
        buffer[..8].copy_from_slice(&FILE_MAGIC);
        buffer[8..12].copy_from_slice(&VERSION.to_le_bytes());
        buffer[16..24].copy_from_slice(&tag.to_le_bytes());
        let crc = file_head_crc(&buffer);
        buffer[12..16].copy_from_slice(&crc.to_le_bytes());
        let digest = blake3::Hasher::new();
        Self { file, name: name.into(), tag, buffer, written: 0, blocks: 0, digest }
    }

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
    pub(super) fn open(
        disk: &dyn Disk,
        folder: &str,
        number: u64,
        expected: &WrittenFile,
    ) -> Result<Self, StoreError> {
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
