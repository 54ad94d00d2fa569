//! The bytes of a segment: its head, frames, seals, and the walk over them.
//!
//! A segment is a head of one sector (4,096 bytes) and groups. A group begins on a sector's border with a seal,
//! then come records, each on an 8-byte border, then zeros to the next sector. All numbers are little-endian.
//!
//! Segment head, version 1: magic (8), version u32, CRC32C of all other bytes of the sector u32, log id u64, segment
//! u64, first record number u64, segment and offset where the log before this segment ends (u64, u64; zeros for
//! none), length of the segment u64. Magic, version and CRC stay where they are in every version.
//!
//! Frame head: magic u32, CRC32C of the 56 bytes that follow u32, payload length u32, CRC32C of the payload u32,
//! log id u64, segment u64, offset u64 (its own position: what a misdirected write left is known), first u64, next
//! u64, kind u8, seven zeros.
//!
//! A seal is a frame of kind 0 whose first and next are the number of the record that follows; its payload names up to
//! where the log was synced when the group was made: segment u64, offset u64, record number u64.

use crc32c::{crc32c, crc32c_append};

use super::planted::{Plant, on};
use crate::limits::LOG_RECORD_BYTES_MAX;

/// Bytes that a disk writes whole or not: the border of groups.
pub(super) const SECTOR: usize = 4_096;
/// Bytes of a frame's head.
pub(super) const HEAD: usize = 64;
/// Bytes of a seal with its head.
pub(super) const SEAL_BYTES: usize = HEAD + 24;
/// The kind of a seal.
pub(super) const SEAL: u8 = 0;
/// The newest segment format that is read, and the one that is written.
pub(super) const VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"HEXCLOG\n";
const FRAME_MAGIC: u32 = 0x4d52_4648;
/// A disk may misplace a write by its own sectors, which may be smaller than ours.
const DEVICE_SECTOR: usize = 512;

/// A place in a log: frames in later segments come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A place and the number of the record that begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) number: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) id: u64,
    pub(super) segment: u64,
    pub(super) first: u64,
    /// Where the log before it ends: all of that was synced before this head was written.
    pub(super) before: Option<Position>,
    pub(super) bytes: u64,
}

/// Why a segment's head is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// It is blank, torn or damaged.
    Unreadable,
    /// It is whole and of a later version.
    Later(u32),
}

impl SegmentHead {
    pub(super) fn write(&self, sector: &mut [u8]) {
        let sector = &mut sector[..SECTOR];
        sector.fill(0);
        let before = self.before.unwrap_or_default();
        put(sector, 0, &SEGMENT_MAGIC);
        put(sector, 8, &VERSION.to_le_bytes());
        let fields = [self.id, self.segment, self.first, before.segment, before.offset, self.bytes];
        for (at, field) in fields.into_iter().enumerate() {
            put(sector, 16 + at * 8, &field.to_le_bytes());
        }
        let crc = Self::crc(sector);
        put(sector, 12, &crc.to_le_bytes());
    }

    fn crc(sector: &[u8]) -> u32 {
        crc32c_append(crc32c(&sector[..12]), &sector[16..SECTOR])
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoHead> {
        if bytes.len() < SECTOR || bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 12) != Self::crc(bytes) {
            return Err(NoHead::Unreadable);
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(NoHead::Later(version));
        }
        let before = Position { segment: u64_at(bytes, 40), offset: u64_at(bytes, 48) };
        Ok(Self {
            id: u64_at(bytes, 16),
            segment: u64_at(bytes, 24),
            first: u64_at(bytes, 32),
            before: (before != Position::default()).then_some(before),
            bytes: u64_at(bytes, 56),
        })
    }
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: u32,
    pub(super) payload_crc: u32,
    pub(super) id: u64,
    pub(super) position: Position,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) kind: u8,
}

impl FrameHead {
    pub(super) fn write(&self, out: &mut [u8]) {
        put(out, 0, &FRAME_MAGIC.to_le_bytes());
        put(out, 8, &self.length.to_le_bytes());
        put(out, 12, &self.payload_crc.to_le_bytes());
        let fields = [self.id, self.position.segment, self.position.offset, self.first, self.next];
        for (at, field) in fields.into_iter().enumerate() {
            put(out, 16 + at * 8, &field.to_le_bytes());
        }
        put(out, 56, &[self.kind, 0, 0, 0, 0, 0, 0, 0]);
        let crc = crc32c(&out[8..HEAD]);
        put(out, 4, &crc.to_le_bytes());
    }

    /// Gives the frame that begins `out` its position, once it is known.
    pub(super) fn place(out: &mut [u8], position: Position) {
        put(out, 24, &position.segment.to_le_bytes());
        put(out, 32, &position.offset.to_le_bytes());
        let crc = crc32c(&out[8..HEAD]);
        put(out, 4, &crc.to_le_bytes());
    }

    /// Bytes of the frame that begins `out`, which was written by [`Self::write`], up to the next frame.
    pub(super) fn span_of(out: &[u8]) -> usize {
        (HEAD + u32_at(out, 8) as usize).next_multiple_of(8)
    }

    /// The number after the last that the frame which begins `out` covers.
    pub(super) fn next_of(out: &[u8]) -> u64 {
        u64_at(out, 48)
    }

    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        if u32_at(bytes, 0) != FRAME_MAGIC {
            return Err("no frame begins here");
        }
        if u32_at(bytes, 4) != crc32c(&bytes[8..HEAD]) {
            return Err("the check sum of the frame's head is wrong");
        }
        let head = Self {
            length: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 12),
            id: u64_at(bytes, 16),
            position: Position { segment: u64_at(bytes, 24), offset: u64_at(bytes, 32) },
            first: u64_at(bytes, 40),
            next: u64_at(bytes, 48),
            kind: bytes[56],
        };
        if head.length as usize > LOG_RECORD_BYTES_MAX {
            return Err("the frame is longer than a record may be");
        }
        Ok(head)
    }
}

/// Writes a seal to the start of `out`; its position comes later.
pub(super) fn write_seal(out: &mut [u8], id: u64, number: u64, synced: Mark) {
    let payload = &mut out[HEAD..SEAL_BYTES];
    put(payload, 0, &synced.position.segment.to_le_bytes());
    put(payload, 8, &synced.position.offset.to_le_bytes());
    put(payload, 16, &synced.number.to_le_bytes());
    let (length, payload_crc) = (payload.len() as u32, crc32c(payload));
    let position = Position::default();
    FrameHead { length, payload_crc, id, position, first: number, next: number, kind: SEAL }.write(out);
}

fn read_seal(payload: &[u8]) -> Option<Mark> {
    let mark = || {
        let position = Position { segment: u64_at(payload, 0), offset: u64_at(payload, 8) };
        Mark { position, number: u64_at(payload, 16) }
    };
    (payload.len() == SEAL_BYTES - HEAD).then(mark)
}

/// A step of a walk.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A group begins.
    Seal { offset: u64, synced: Mark },
    /// A record, checked.
    Record { offset: u64, head: FrameHead, payload: &'a [u8] },
    /// The limit is reached, with nothing wrong.
    End,
    /// More bytes are needed: so many from `offset` on.
    Short { offset: u64, bytes: usize },
    /// There is no whole frame where one should be.
    Unreadable { offset: u64, why: &'static str },
}

/// A walk over frames in memory, which checks all that can be checked.
pub(super) struct Walk<'a> {
    /// Bytes of the file from `base` on.
    pub(super) bytes: &'a [u8],
    pub(super) base: u64,
    pub(super) at: u64,
    /// Where the walk ends: no frame crosses it.
    pub(super) limit: u64,
    pub(super) id: u64,
    pub(super) segment: u64,
    /// The number of the next record.
    pub(super) number: u64,
    /// Whether what comes next must be a seal.
    pub(super) at_group: bool,
    /// Whether payloads are checked (always, but for a planted defect).
    pub(super) check: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn step(&mut self) -> Step<'a> {
        if self.at >= self.limit {
            return Step::End;
        }
        let bytes: &'a [u8] = self.bytes;
        let all = |at: u64| bytes.get((at - self.base) as usize..).unwrap_or_default();
        let mut rest = all(self.at);
        let expected = self.at;
        if !self.at_group && !self.at.is_multiple_of(SECTOR as u64) {
            if rest.len() < 4 {
                return Step::Short { offset: self.at, bytes: 4 };
            }
            if u32_at(rest, 0) == 0 {
                // The group ends here, and the next one begins on the border.
                self.at = self.at.next_multiple_of(SECTOR as u64);
                self.at_group = true;
                if self.at >= self.limit {
                    return Step::End;
                }
                rest = all(self.at);
            }
        }
        let offset = self.at;
        if rest.len() < HEAD {
            return Step::Short { offset, bytes: HEAD };
        }
        let unreadable = |why| Step::Unreadable { offset, why };
        let head = match FrameHead::read(rest) {
            Ok(head) => head,
            Err(why) => return unreadable(why),
        };
        let misplaced = head.position != (Position { segment: self.segment, offset });
        if head.id != self.id || misplaced && !on(Plant::NoPosition) {
            return unreadable("a frame of another place lies here: a write was misdirected");
        }
        let end = HEAD + head.length as usize;
        if offset + end as u64 > self.limit {
            return unreadable("the frame crosses the end of what is valid");
        }
        if rest.len() < end {
            return Step::Short { offset, bytes: end };
        }
        let payload = &rest[HEAD..end];
        if self.check && crc32c(payload) != head.payload_crc {
            return unreadable("the check sum of the payload is wrong");
        }
        if head.first != self.number {
            // After the blank end of a group, what is missing is a frame that became blank itself.
            let why = "its number does not follow the record before";
            return Step::Unreadable { offset: expected, why };
        }
        self.at = offset + end.next_multiple_of(8) as u64;
        if head.kind == SEAL {
            self.at_group = false;
            return match read_seal(payload) {
                Some(synced) if head.next == head.first => Step::Seal { offset, synced },
                _ => unreadable("the seal is not one"),
            };
        }
        if self.at_group {
            return unreadable("a group does not begin with a seal");
        }
        if head.next <= head.first {
            return unreadable("the record covers no number");
        }
        self.number = head.next;
        Step::Record { offset, head, payload }
    }
}

/// A seal that was found by looking everywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    pub(super) offset: u64,
    pub(super) synced: Mark,
    /// Whether it belongs where it lies.
    pub(super) in_place: bool,
}

/// Looks for seals on every border of the device's sectors from `from` on. `id` of `None` takes any log's.
pub(super) fn stray_seals(bytes: &[u8], from: u64, segment: u64, id: Option<u64>) -> Vec<Stray> {
    let mut found = Vec::new();
    let mut at = (from as usize).next_multiple_of(DEVICE_SECTOR);
    while at + SEAL_BYTES <= bytes.len() {
        let rest = &bytes[at..];
        if u32_at(rest, 0) == FRAME_MAGIC
            && let Ok(head) = FrameHead::read(rest)
            && head.kind == SEAL
            && head.length as usize == SEAL_BYTES - HEAD
            && crc32c(&rest[HEAD..SEAL_BYTES]) == head.payload_crc
            && let Some(synced) = read_seal(&rest[HEAD..SEAL_BYTES])
        {
            let in_place = head.position == (Position { segment, offset: at as u64 });
            let in_place = in_place && id.is_none_or(|id| id == head.id);
            found.push(Stray { offset: at as u64, synced, in_place });
        }
        at += DEVICE_SECTOR;
    }
    found
}
