//! A log in segments: one writer, groups that are synced together, and what may be shown.
//!
//! Appending copies a record into the group's buffer and computes its check sum; [`SegmentedLog::sync`] writes the
//! group with one positioned write and syncs the file. Every group begins on a sector's border, so what was synced is
//! never written again, and with a seal that names up to where the log had been synced before. A reader is shown only
//! what a synced seal names: that is what recovery can tell from a torn tail, whatever happens to the last
//! group. An idle writer calls [`SegmentedLog::seal`] so that the last records are shown too.
//!
//! The next segment is made before it is needed ([`SegmentedLog::prepare`]), so that a full disk is met between
//! groups: `sync` then says `Full`, the group stays in the buffer and counts for nothing; it may be tried again or
//! dropped ([`SegmentedLog::discard`]). Any other failure poisons the log.

use std::sync::{Arc, RwLock};

use super::frame::{FrameHead, HEAD, Mark, Position, SEAL, SEAL_BYTES, SECTOR, SegmentHead, write_seal};
use super::planted::{Plant, on};
use super::reader::{LogReader, ReadState, Segment, Shared};
use super::recover::{self, Found, OpenReport, Unsealed, path_of};
use super::{Disk, DiskFile, StoreError};
use crate::limits::{LOG_GROUP_BYTES_MAX, LOG_INDEX_BYTES, LOG_RECORD_BYTES_MAX, LOG_SEGMENT_BYTES};

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Names the log in each of its frames; used when it is made. Random, so that frames of another log, or of an
    /// earlier one in the same place, are never taken for its own.
    pub id: u64,
    /// The number of the first record; used when it is made.
    pub first: u64,
    /// Length of a segment, bytes. At least a group must fit.
    pub segment_bytes: u64,
    /// Most bytes of a group.
    pub group_bytes_max: usize,
    /// Segments all of whose records are below this number are not read at the open (each read checks its
    /// records anyway); 0 checks everything.
    pub verify_from: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            id: 0,
            first: 0,
            segment_bytes: LOG_SEGMENT_BYTES,
            group_bytes_max: LOG_GROUP_BYTES_MAX,
            verify_from: 0,
        }
    }
}

/// The segment that is written.
struct Active {
    file: Arc<dyn DiskFile>,
    segment: u64,
    size: u64,
    /// Where the next group goes; 0 while the head is not written, which goes with the first group.
    at: u64,
    /// The number of its first record.
    first: u64,
    before: Option<Position>,
}

impl Active {
    fn head(&self, id: u64) -> SegmentHead {
        let Self { segment, first, before, size: bytes, .. } = *self;
        SegmentHead { id, segment, first, before, bytes }
    }
}

/// The writer of a log.
pub struct SegmentedLog {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    shared: Arc<Shared>,
    active: Active,
    spare: Option<(u64, Arc<dyn DiskFile>)>,
    next_segment: u64,
    /// Room for a segment's head and a seal, then records.
    group: Vec<u8>,
    next: u64,
    written: Mark,
    synced: Mark,
    /// What the newest written seal names.
    named: Mark,
    index: Vec<(u64, u64)>,
    poison: Option<String>,
}

impl std::fmt::Debug for SegmentedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("SegmentedLog");
        out.field("folder", &self.shared.folder).field("next", &self.next);
        out.field("synced", &self.synced.number).field("visible", &self.visible()).finish()
    }
}

/// Bytes of the buffer before the first record.
const GROUP_HEAD: usize = SECTOR + SEAL_BYTES;

impl SegmentedLog {
    /// Opens the log in `folder`, or makes it. What no seal names is copied to a new segment, which is synced; then
    /// everything that was found is visible.
    ///
    /// # Errors
    /// `Damaged` where something that was synced cannot be read; `LaterVersion`; `Io`; `Full`.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &str,
        mut options: LogOptions,
    ) -> Result<(Self, OpenReport), StoreError> {
        let room = (SECTOR * 2 + options.group_bytes_max) as u64;
        options.segment_bytes = options.segment_bytes.max(room).next_multiple_of(SECTOR as u64);
        disk.make_folder(folder)?;
        let Found { id, chain, sealed, tail, report, blank, superseded, next_segment } =
            recover::find(&*disk, folder, &options)?;
        for path in &blank {
            disk.remove(path)?;
        }
        if !blank.is_empty() {
            disk.sync_folder(folder)?;
        }

        let heads = |payload: usize| (HEAD + payload).next_multiple_of(8) + SECTOR;
        let needed: usize = tail.iter().map(|record| heads(record.payload.len())).sum();
        let size = options.segment_bytes.max((needed + 4 * SECTOR).next_multiple_of(SECTOR) as u64);
        let file = new_segment(&*disk, folder, next_segment, size)?;
        let before = (!chain.is_empty() && !on(Plant::ForgetsEnd)).then_some(sealed.position);
        let start = Position { segment: next_segment, offset: SECTOR as u64 };
        let synced = Mark { position: before.unwrap_or(start), number: sealed.number };
        let active = Active { file, segment: next_segment, size, at: 0, first: sealed.number, before };
        let last = chain.last().map(|link| (Arc::clone(&link.file), link.end));
        let mut segments = Vec::with_capacity(chain.len() + 1);
        for link in chain {
            let size = link.file.bytes()?;
            let (number, first, end) = (link.head.segment, link.head.first, link.end);
            segments.push(Segment { number, first, end, size, file: link.file, index: link.index });
        }
        segments.push(segment_of(&active));
        let state = RwLock::new(ReadState { segments, visible: synced });
        let shared = Arc::new(Shared { folder: folder.into(), id, state });
        let mut log = Self {
            disk,
            options,
            shared,
            active,
            spare: None,
            next_segment: next_segment + 1,
            group: vec![0; GROUP_HEAD],
            next: sealed.number,
            written: synced,
            synced,
            named: synced,
            index: Vec::new(),
            poison: None,
        };
        if tail.is_empty() {
            log.write_group()?;
            log.sync_written()?;
        } else {
            log.copy_tail(&tail)?;
        }
        for path in &superseded {
            log.disk.remove(path)?;
        }
        if !superseded.is_empty() {
            log.disk.sync_folder(folder)?;
        }
        if let Some((file, end)) = last
            && file.bytes()? > end
        {
            // Gives back what was reserved; nothing depends on whether it lasts.
            file.truncate(end)?;
            let mut state = log.shared.write();
            let before = state.segments.len().checked_sub(2);
            if let Some(segment) = before.and_then(|at| state.segments.get_mut(at)) {
                segment.size = end;
            }
        }
        Ok((log, report))
    }

    /// The number of the next record to be appended.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number below which everything is synced. It is shown only below [`Self::visible`].
    pub fn synced(&self) -> u64 {
        self.synced.number
    }

    /// The number below which everything may be shown: a synced seal names it.
    pub fn visible(&self) -> u64 {
        self.shared.read().visible.number
    }

    /// The oldest number that is there.
    pub fn first(&self) -> u64 {
        self.reader().first()
    }

    /// Bytes that the log takes on the disk, what is reserved included.
    pub fn bytes(&self) -> u64 {
        let segments: u64 = self.shared.read().segments.iter().map(|segment| segment.size).sum();
        segments + self.spare.as_ref().map_or(0, |_| self.options.segment_bytes)
    }

    /// Bytes of records that wait for the next sync.
    pub fn buffered_bytes(&self) -> usize {
        self.group.len() - GROUP_HEAD
    }

    /// Whether a record of so many bytes still fits the group; if not, sync first.
    pub fn fits(&self, payload_bytes: usize) -> bool {
        let bytes = self.buffered_bytes() + SEAL_BYTES + HEAD + payload_bytes;
        self.buffered_bytes() == 0 || bytes <= self.options.group_bytes_max
    }

    /// A reader of what is visible.
    pub fn reader(&self) -> LogReader {
        LogReader(Arc::clone(&self.shared))
    }

    /// Adds a record that covers `first..next` to the group; its payload is the slices one after the other.
    ///
    /// # Errors
    /// `NotInOrder` where it does not begin at [`Self::next`] or covers nothing; `TooLarge` where the record or the
    /// group has too many bytes (see [`Self::fits`]); `Poisoned`. Then nothing was added.
    pub fn append(&mut self, kind: u8, first: u64, next: u64, payload: &[&[u8]]) -> Result<(), StoreError> {
        self.alive()?;
        if first != self.next || next <= first || kind == SEAL {
            let (folder, expected) = (self.shared.folder.clone(), self.next);
            return Err(StoreError::NotInOrder { folder, expected, first, next });
        }
        let length: usize = payload.iter().map(|slice| slice.len()).sum();
        let record_max = LOG_RECORD_BYTES_MAX.min(self.options.group_bytes_max - SEAL_BYTES - HEAD);
        if length > record_max || !self.fits(length) {
            let file = self.shared.folder.clone();
            return Err(StoreError::TooLarge { file, bytes: length as u64, max: record_max as u64 });
        }
        let start = self.group.len();
        self.group.resize(start + HEAD, 0);
        for slice in payload {
            self.group.extend_from_slice(slice);
        }
        let payload_crc = crc32c::crc32c(&self.group[start + HEAD..]);
        let (id, position) = (self.shared.id, Position::default());
        let head = FrameHead { length: length as u32, payload_crc, id, position, first, next, kind };
        head.write(&mut self.group[start..]);
        self.group.resize(self.group.len().next_multiple_of(8), 0);
        self.next = next;
        Ok(())
    }

    /// Writes the group and syncs it; returns the number below which everything is synced. Without records there is
    /// nothing to do. What was synced before this call is visible after it.
    ///
    /// # Errors
    /// `Full` where the disk has no room: nothing of the group counts, it is still in the buffer. Any other error
    /// poisons the log: the process must end.
    pub fn sync(&mut self) -> Result<u64, StoreError> {
        self.alive()?;
        if self.buffered_bytes() > 0 {
            self.group_out()?;
        }
        Ok(self.synced.number)
    }

    /// Makes everything that is synced visible: a group of a seal only, where one is needed.
    ///
    /// # Errors
    /// As [`Self::sync`], which it does first.
    pub fn seal(&mut self) -> Result<u64, StoreError> {
        self.sync()?;
        if self.visible() < self.synced.number {
            self.group_out()?;
        }
        Ok(self.visible())
    }

    /// Drops what was appended since the last sync, after `Full`.
    pub fn discard(&mut self) {
        self.group.truncate(GROUP_HEAD);
        self.next = self.written.number;
    }

    /// Makes the spare segment where there is none: to be called after each sync. Without one the disk is full, and
    /// what can be refused should be: the segment in use is the last room there is.
    ///
    /// # Errors
    /// Any error poisons the log; a full disk is no error but `false`.
    pub fn prepare(&mut self) -> Result<bool, StoreError> {
        self.alive()?;
        if self.spare.is_none() {
            match self.make_spare() {
                Ok(spare) => self.spare = Some(spare),
                Err(error) if error.is_full() => return Ok(false),
                Err(error) => return Err(self.poisoned_by(error)),
            }
        }
        Ok(true)
    }

    /// Whether there is a spare segment.
    pub fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// Removes the segments of which all records are below `below` and visible, once a later segment has something
    /// visible; returns how many.
    ///
    /// # Errors
    /// `Io`, which poisons the log.
    pub fn trim(&mut self, below: u64) -> Result<usize, StoreError> {
        self.alive()?;
        let below = below.min(self.visible());
        let mut removed = 0;
        loop {
            let path = {
                let mut state = self.shared.write();
                // Only once a seal names a place in a later segment: until then a lost write of that segment's head
                // would leave nothing that knows where the log ends.
                let later =
                    state.segments.first().is_some_and(|it| it.number < state.visible.position.segment);
                match state.segments.get(1) {
                    Some(next) if later && next.first <= below => {}
                    _ => return Ok(removed),
                }
                let at = if on(Plant::TrimsNewestFirst) { state.segments.len() - 2 } else { 0 };
                let oldest = state.segments.remove(at);
                path_of(&self.shared.folder, oldest.number)
            };
            // Each removal lasts before the next, so that a gap is never what retention left.
            let done = self.disk.remove(&path).and_then(|()| self.disk.sync_folder(&self.shared.folder));
            done.map_err(|error| self.poisoned_by(error))?;
            removed += 1;
        }
    }

    /// Writes what no seal names to the new segment. The head comes once that is synced: until then the old segment
    /// counts, so that a crash in here loses nothing. A seal that names the copy comes once the head is synced:
    /// behind a blank head it would look like damage.
    fn copy_tail(&mut self, tail: &[Unsealed]) -> Result<(), StoreError> {
        self.active.at = SECTOR as u64;
        for record in tail {
            if !self.fits(record.payload.len()) {
                self.write_group()?;
            }
            self.append(record.kind, record.first, record.next, &[&record.payload])?;
        }
        self.write_group()?;
        self.sync_written()?;
        let mut sector = vec![0; SECTOR];
        self.active.head(self.shared.id).write(&mut sector);
        self.active.file.write_at(0, &sector)?;
        self.active.file.sync()?;
        self.write_group()?;
        self.sync_written()
    }

    fn alive(&self) -> Result<(), StoreError> {
        match &self.poison {
            None => Ok(()),
            Some(why) => Err(StoreError::Poisoned { folder: self.shared.folder.clone(), why: why.clone() }),
        }
    }

    fn poisoned_by(&mut self, error: StoreError) -> StoreError {
        self.poison.get_or_insert_with(|| error.to_string());
        error
    }

    fn group_out(&mut self) -> Result<(), StoreError> {
        match self.write_group() {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                if on(Plant::FullCounts) {
                    self.group.truncate(GROUP_HEAD);
                }
                return Err(error);
            }
            Err(error) => return Err(self.poisoned_by(error)),
        }
        match self.sync_written() {
            Err(error) if !on(Plant::IgnoresFailedSync) => Err(self.poisoned_by(error)),
            _ => Ok(()),
        }
    }

    fn make_spare(&mut self) -> Result<(u64, Arc<dyn DiskFile>), StoreError> {
        let (segment, size) = (self.next_segment, self.options.segment_bytes);
        let file = new_segment(&*self.disk, &self.shared.folder, segment, size)?;
        self.next_segment += 1;
        Ok((segment, file))
    }

    /// Writes what is in the buffer as a group, to a new segment where the active one has no room for it.
    fn write_group(&mut self) -> Result<(), StoreError> {
        let length = self.group.len();
        if !on(Plant::SharesSector) {
            self.group.resize(length.next_multiple_of(SECTOR), 0);
        }
        let written = self.write_padded(length);
        match written {
            Ok(()) => self.group.truncate(GROUP_HEAD),
            Err(_) => self.group.truncate(length),
        }
        written
    }

    fn write_padded(&mut self, length: usize) -> Result<(), StoreError> {
        let bytes = (self.group.len() - SECTOR) as u64;
        let rolled = self.active.at != 0 && self.active.at + bytes > self.active.size;
        let rolled = if rolled {
            let (segment, file) = match self.spare.take() {
                Some(spare) => spare,
                None => self.make_spare()?,
            };
            let (size, before) = (self.options.segment_bytes, Some(self.synced.position));
            Some(Active { file, segment, size, at: 0, first: self.synced.number, before })
        } else {
            None
        };
        let active = rolled.as_ref().unwrap_or(&self.active);
        let head = active.at == 0;
        let at = active.at.max(SECTOR as u64);
        let (id, segment) = (self.shared.id, active.segment);
        if head {
            active.head(id).write(&mut self.group);
        }
        write_seal(&mut self.group[SECTOR..], id, self.written.number, self.synced);
        let mut frame = SECTOR;
        let mut number = self.written.number;
        self.index.clear();
        while frame < length {
            let offset = at + (frame - SECTOR) as u64;
            let out = &mut self.group[frame..];
            FrameHead::place(out, Position { segment, offset });
            if self.index.last().is_none_or(|(_, last)| offset - last >= LOG_INDEX_BYTES) {
                self.index.push((number, offset));
            }
            number = FrameHead::next_of(out);
            frame += FrameHead::span_of(out);
        }
        let (from, start) = if head { (0, 0) } else { (SECTOR, at) };
        if let Err(error) = active.file.write_at(start, &self.group[from..]) {
            if error.is_full()
                && let Some(Active { segment, file, .. }) = rolled
            {
                self.spare = Some((segment, file));
            }
            return Err(error);
        }
        let mut state = self.shared.write();
        if let Some(active) = rolled {
            if let Some(closed) = state.segments.last_mut() {
                closed.end = self.active.at;
            }
            state.segments.push(segment_of(&active));
            self.active = active;
        }
        self.active.at = at + bytes;
        if let Some(segment) = state.segments.last_mut() {
            let far = |last: u64, offset: u64| offset >= last + LOG_INDEX_BYTES;
            for (number, offset) in self.index.drain(..) {
                if segment.index.last().is_none_or(|(_, last)| far(*last, offset)) {
                    segment.index.push((number, offset));
                }
            }
        }
        let position = Position { segment, offset: self.active.at };
        self.written = Mark { position, number: self.next };
        self.named = self.synced;
        Ok(())
    }

    fn sync_written(&mut self) -> Result<(), StoreError> {
        let done = self.active.file.sync();
        if !on(Plant::IgnoresFailedSync) {
            done?;
        }
        self.synced = self.written;
        let visible = if on(Plant::VisibleTooEarly) { self.synced } else { self.named };
        self.shared.write().visible = visible;
        Ok(())
    }
}

fn segment_of(active: &Active) -> Segment {
    Segment {
        number: active.segment,
        first: active.first,
        end: active.size,
        size: active.size,
        file: Arc::clone(&active.file),
        index: vec![(active.first, SECTOR as u64)],
    }
}

/// Makes a blank segment that lasts.
fn new_segment(
    disk: &dyn Disk,
    folder: &str,
    segment: u64,
    bytes: u64,
) -> Result<Arc<dyn DiskFile>, StoreError> {
    let file = disk.create(&path_of(folder, segment), bytes)?;
    file.sync()?;
    if !on(Plant::NoFolderSync) {
        disk.sync_folder(folder)?;
    }
    Ok(file)
}
