//! The laws of stored files: a disk is outside too.
//!
//! Checksums stand before everything, and no mutation gets past one. So an input begins with a byte that
//! says whether the right checksums are put over its bytes first (then what is behind them is tried) or
//! not (then they are). Files are mostly zeros up to the next sector, so an input names its sectors'
//! beginnings: a length of two bytes, and those bytes, again and again.

use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};

use super::disk::MemoryDisk;
use super::{Format, is_one_line};
use crate::desk::Record;
use crate::domain::{DeviceId, EventTime, MaxAge, Ping, PingRow, Position};
use crate::engine::{Output, Partition, PartitionConfig, PingClock, Restorer};
use crate::store::{
    LogOptions, Manifest, RecordBytes, SegmentedLog, SnapshotFolder, StoreError, WrittenFile,
};

const SECTOR: usize = 4_096;
/// Sectors of a file, about: more show nothing more.
const SECTORS_MAX: usize = 16;
const SEGMENT: &str = "log/00000000000000000001.log";
const SNAPSHOT: &str = "snapshots/00000000000000000001";

/// A record of the action journal: a byte of its kind, then its bytes.
pub(super) struct JournalRecord;

impl Format for JournalRecord {
    type Value = Record;
    // The content of an alert is JSON.
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<Record, String> {
        let (kind, bytes) = bytes.split_first().ok_or("it is empty")?;
        Record::decode(*kind, bytes).map_err(|why| why.to_string())
    }

    fn write(value: &Record) -> Option<Vec<u8>> {
        let written = value.encode();
        assert!(written.is_ok(), "a record that was read cannot be written: {:?}", written.err());
        written.ok().map(|(kind, bytes)| [&[kind], &bytes[..]].concat())
    }

    fn same(a: &Record, b: &Record) -> bool {
        // By their bytes: numbers may be none.
        Self::write(a) == Self::write(b)
    }

    fn hold(_: &Record) {}
}

/// A file out of an input, with the right checksums where it asks for them.
fn file_of(input: &[u8], repair: fn(&mut [u8])) -> Vec<u8> {
    let Some((flags, mut rest)) = input.split_first() else { return Vec::new() };
    let mut file = Vec::new();
    while file.len() < SECTORS_MAX * SECTOR
        && let Some((length, after)) = rest.split_first_chunk()
    {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (these, after) = after.split_at(length);
        file.extend_from_slice(these);
        file.resize(file.len().next_multiple_of(SECTOR), 0);
        rest = after;
    }
    if flags & 1 == 1 {
        repair(&mut file);
    }
    file
}

/// An input out of a file: what `file_of` undoes.
fn input_of(file: &[u8]) -> Vec<u8> {
    let mut input = vec![1];
    for sector in file.chunks(SECTOR) {
        let used = sector.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        input.extend_from_slice(&(used as u16).to_le_bytes());
        input.extend_from_slice(&sector[..used]);
    }
    input
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).and_then(|four| four.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
        as usize
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    if let Some(four) = bytes.get_mut(at..at + 4) {
        four.copy_from_slice(&crc.to_le_bytes());
    }
}

/// Checksums of a file's head and of all that looks like a frame or block: `magic`, then a checksum of the rest
/// of the head, a length, a checksum of the content.
fn repair(file: &mut [u8], magic: &[u8; 4], head: usize) {
    if file.len() < SECTOR {
        return;
    }
    let crc = crc32c_append(crc32c(&file[..12]), &file[16..SECTOR]);
    put(file, 12, crc);
    for at in (SECTOR..file.len().saturating_sub(head)).step_by(8) {
        if file[at..at + 4] == *magic {
            let content = at + head;
            if let Some(bytes) = file.get(content..content + u32_at(file, at + 8)) {
                let crc = crc32c(bytes);
                put(file, at + 12, crc);
            }
            let crc = crc32c(&file[at + 8..content]);
            put(file, at + 4, crc);
        }
    }
}

fn options() -> LogOptions {
    LogOptions { id: 7, first: 1, segment_bytes: 0, group_bytes_max: 2 * SECTOR, verify_from: 0 }
}

/// All that a log shows.
fn shown(log: &SegmentedLog) -> Vec<RecordBytes> {
    let (reader, mut all) = (log.reader(), Vec::new());
    let mut from = reader.first();
    while from < log.visible() {
        let read = reader.read(from, 1 << 20);
        assert!(read.as_ref().is_ok_and(|read| !read.is_empty()), "what is shown is read: {read:?}");
        for record in read.unwrap_or_default() {
            assert!(record.first == from && record.next > from, "records follow each other");
            from = record.next;
            all.push(record);
        }
    }
    assert_eq!(from, log.visible());
    all
}

fn refused(why: &StoreError) -> bool {
    is_one_line(&why.to_string());
    false
}

fn opened(bytes: &[u8]) -> (Arc<MemoryDisk>, Result<SegmentedLog, StoreError>) {
    let disk = MemoryDisk::with(SEGMENT, file_of(bytes, |file| repair(file, b"HFRM", 64)));
    let log = SegmentedLog::open(Arc::clone(&disk) as _, "log", options()).map(|(log, _)| log);
    (disk, log)
}

/// Opens a log that has one segment.
pub(super) fn open_segment(bytes: &[u8]) -> bool {
    opened(bytes).1.is_ok_and(|log| !shown(&log).is_empty())
}

/// What is shown after a start is shown after the next one, and a log that opens can be written.
pub(super) fn segment(bytes: &[u8]) -> bool {
    let (disk, log) = opened(bytes);
    let mut log = match log {
        Ok(log) => log,
        Err(why) => return refused(&why),
    };
    let mut before = shown(&log);
    let taken = !before.is_empty();
    let next = log.next();
    assert_eq!(next, log.visible(), "all that was found is shown");
    if next < u64::MAX {
        let payload = b"one more";
        let appended = log.append(9, next, next + 1, &[payload]).and_then(|()| log.seal());
        assert!(appended.is_ok(), "{appended:?}");
        let payload = payload[..].into();
        before.push(RecordBytes { kind: 9, first: next, next: next + 1, payload });
    }
    drop(log);
    match SegmentedLog::open(disk, "log", options()) {
        Ok((log, report)) => {
            assert!(report.torn.is_none() && shown(&log) == before, "a second start shows something else");
        }
        Err(why) => assert!(why.to_string().is_empty(), "a second start fails: {why}"),
    }
    taken
}

/// Reads a file of a snapshot block by block; the blocks that come before its end or an error.
fn blocks(disk: Arc<MemoryDisk>, written: &WrittenFile) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
    let mut reader = SnapshotFolder::open(disk, "snapshots")?.read(1, written)?;
    let mut blocks = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(block)) => blocks.push(block.to_vec()),
            Ok(None) => return Ok((blocks, true)),
            Err(why) => {
                refused(&why);
                return Ok((blocks, false));
            }
        }
    }
}

fn snapshot_bytes(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
    let file = file_of(bytes, |file| repair(file, b"HBLK", 32));
    // A file ends where its last block does.
    let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8));
    let file = file[..used.max(SECTOR).min(file.len())].to_vec();
    let (name, bytes) = ("default-0".to_owned(), file.len() as u64);
    let written = WrittenFile { name, bytes, blocks: u64::MAX, digest: String::new() };
    blocks(MemoryDisk::with(&format!("{SNAPSHOT}/default-0"), file), &written)
}

/// Reads what looks like a snapshot's file.
pub(super) fn read_snapshot(bytes: &[u8]) -> bool {
    snapshot_bytes(bytes).is_ok_and(|(blocks, _)| !blocks.is_empty())
}

/// Blocks that are read are read again once they are written.
pub(super) fn snapshot(bytes: &[u8]) -> bool {
    let (read, ended) = match snapshot_bytes(bytes) {
        Ok(read) => read,
        Err(why) => return refused(&why),
    };
    assert!(!ended, "a file ends well whose manifest names other blocks");
    match written_snapshot(&read) {
        Ok((disk, written)) => {
            let again = blocks(disk, &written).ok();
            assert!(again == Some((read.clone(), true)), "the blocks are read to others");
        }
        Err(why) => assert!(why.to_string().is_empty(), "blocks that were read cannot be written: {why}"),
    }
    !read.is_empty()
}

fn written_snapshot(blocks: &[Vec<u8>]) -> Result<(Arc<MemoryDisk>, WrittenFile), StoreError> {
    let disk = Arc::new(MemoryDisk::default());
    let mut file =
        SnapshotFolder::open(Arc::clone(&disk) as _, "snapshots")?.begin(1)?.file("default-0", 0)?;
    blocks.iter().try_for_each(|block| file.block(&[block]))?;
    Ok((disk, file.finish()?))
}

/// The line of a snapshot's manifest.
pub(super) struct Manifests;

impl Format for Manifests {
    type Value = Manifest;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<Manifest, String> {
        let file = [bytes, format!("\ncrc32c {:08x}\n", crc32c(bytes)).as_bytes()].concat();
        let disk = MemoryDisk::with(&format!("{SNAPSHOT}/MANIFEST"), file);
        let listed = SnapshotFolder::open(disk, "snapshots").and_then(|folder| folder.list());
        let (mut whole, skipped) = listed.map_err(|why| why.to_string())?;
        let why = || skipped.first().and_then(|skipped| skipped.error.as_ref()).map(ToString::to_string);
        whole.pop().ok_or_else(|| why().unwrap_or_default())
    }

    fn write(value: &Manifest) -> Option<Vec<u8>> {
        let disk = Arc::new(MemoryDisk::default());
        let folder = SnapshotFolder::open(Arc::clone(&disk) as _, "snapshots").ok()?;
        let written = folder.begin(1).and_then(|draft| draft.commit(&mut value.clone()));
        assert!(written.is_ok(), "{written:?}");
        let file = disk.bytes_of(&format!("{SNAPSHOT}/MANIFEST"));
        file.split(|byte| *byte == b'\n').next().map(<[u8]>::to_vec)
    }

    fn same(a: &Manifest, b: &Manifest) -> bool {
        // Writing sets the version.
        Manifest { version: b.version, ..a.clone() } == *b
    }

    fn hold(value: &Manifest) {
        assert_eq!(value.number, 1, "it is that of its folder");
    }
}

const CONFIG: PartitionConfig = PartitionConfig { max_age: MaxAge::Never, sliced: true, seed: 1 };

/// The blocks of a partition, each with its length in four bytes before it.
fn restored(bytes: &[u8]) -> Result<Partition, String> {
    let mut restorer = Restorer::new(CONFIG, bytes.len() as u64);
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (block, after) = after.split_at(after.len().min(u32::from_le_bytes(*length) as usize));
        restorer.block(block).map_err(|why| why.to_string())?;
        rest = after;
    }
    restorer.finish().map_err(|why| why.to_string())
}

fn saved(partition: &mut Partition) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(partition.begin_snapshot(), "nothing is under way");
    let mut more = true;
    while more {
        let mut block = Vec::new();
        more = partition.snapshot_some(4 << 10, &mut block);
        if !block.is_empty() {
            bytes.extend_from_slice(&(block.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&block);
        }
    }
    bytes
}

/// Restores a partition.
pub(super) fn restore(bytes: &[u8]) -> bool {
    restored(bytes).is_ok()
}

/// A partition that is restored can be saved, and restored from that; and it takes pings.
pub(super) fn partition(bytes: &[u8]) -> bool {
    let mut partition = match restored(bytes) {
        Ok(partition) => partition,
        Err(why) => {
            is_one_line(&why);
            return false;
        }
    };
    assert!(partition.devices() * 24 <= bytes.len(), "more devices than bytes");
    partition.finish_restore(partition.clock());
    let again = restored(&saved(&mut partition)).map(|again| (again.devices(), again.clock()));
    assert_eq!(again, Ok((partition.devices(), partition.clock())), "it is restored to another");
    ping(&mut partition);
    true
}

fn ping(partition: &mut Partition) {
    let at = EventTime(1_779_000_000_000);
    let row = |device: u64| {
        let position = Position::from_e7(300_000_000 + device as i32 * 9_999, 1_200_000_000).ok()?;
        PingRow::write(&Ping { device: DeviceId(device), at, position, accuracy_m: 10 }, at)
    };
    let rows: Vec<PingRow> = (0..40).filter_map(row).collect();
    let mut out = Output::default();
    let counts = partition.pings(PingClock::Wall { now: at, skew_ms: 60_000 }, at, &rows, &mut out);
    assert!(counts.total() == 40 && out.is_empty(), "no alert stands");
}

/// Seeds for `tests/hostile/seeds.rs`, which cannot see a disk in memory.
pub(super) mod seeds {
    use super::*;

    fn log_file(groups: &[&[&[u8]]]) -> Result<Vec<u8>, StoreError> {
        let disk = Arc::new(MemoryDisk::default());
        let (mut log, _) = SegmentedLog::open(Arc::clone(&disk) as _, "log", options())?;
        for group in groups {
            for payload in *group {
                log.append(3, log.next(), log.next() + 2, &[payload])?;
            }
            log.seal()?;
        }
        Ok(disk.bytes_of(SEGMENT))
    }

    /// Segments by name.
    pub(in crate::fuzzing) fn segments() -> Vec<(&'static str, Vec<u8>)> {
        let long = [0xab; 3_000];
        let all: [(&str, &[&[&[u8]]]); 4] = [
            ("no-record.bad", &[]),
            ("a-record", &[&[b"one"]]),
            ("groups", &[&[b"one", b"", b"three"], &[b"four"]]),
            ("long", &[&[&long, b"x"], &[b"y"]]),
        ];
        let files = all.into_iter().filter_map(|(name, groups)| Some((name, log_file(groups).ok()?)));
        files.map(|(name, file)| (name, input_of(&file))).collect()
    }

    /// Files of snapshots by name.
    pub(in crate::fuzzing) fn snapshots() -> Vec<(&'static str, Vec<u8>)> {
        let long = vec![7; 5_000];
        let all = [
            ("no-block.bad", vec![]),
            ("a-block", vec![b"one".to_vec()]),
            ("blocks", vec![b"one".to_vec(), Vec::new(), long, vec![1; 64]]),
        ];
        let written =
            all.into_iter().filter_map(|(name, blocks)| Some((name, written_snapshot(&blocks).ok()?)));
        written
            .map(|(name, (disk, _))| (name, input_of(&disk.bytes_of(&format!("{SNAPSHOT}/default-0")))))
            .collect()
    }

    /// Saved partitions by name.
    pub(in crate::fuzzing) fn partitions() -> Vec<(&'static str, Vec<u8>)> {
        let mut partition = Partition::new(CONFIG);
        let empty = saved(&mut partition);
        ping(&mut partition);
        vec![("empty", empty), ("forty", saved(&mut partition))]
    }
}
