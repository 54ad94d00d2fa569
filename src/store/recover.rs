//! What a log's folder holds after whatever happened: which segments count, up to where, and what is cut off.
//!
//! Segments form a chain: each one's head names the segment before and where that one ends, so what a power cut or
//! a failed sync left behind that end is never looked at again. A head is thereby a seal too: it was written after
//! everything before it had been synced.
//!
//! The newest segment is walked until a frame cannot be read. Whether that is a torn tail or damage is decided by
//! what lies behind: wherever a readable seal (in this segment or a later one whose head cannot be read) names an end
//! past that frame, it had been synced, so it is damage. A seal that lies where it does not belong shows a misdirected
//! write, and is damage too. Only one group is ever unsynced, so one broken thing at a time is always told apart;
//! two at once (the last seal and a record of the group that it names) may pass for a torn tail.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::read_whole;
use super::frame::{
    FrameHead, Mark, NoHead, Position, SECTOR, SegmentHead, Step, Stray, VERSION, Walk, stray_seals,
};
use super::planted::{Plant, on};
use super::{Disk, DiskFile, LogOptions, StoreError};
use crate::limits::LOG_INDEX_BYTES;

/// What an open found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Whether there was no log before.
    pub fresh: bool,
    /// Records that no seal named: they were copied to a new segment and synced.
    pub copied: usize,
    /// What was cut off. To be logged as a warning by the caller.
    pub torn: Option<TornTail>,
}

/// The end of a log that was being written when the machine or process stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes behind that are not blank, up to the last one.
    pub bytes: u64,
    /// What could not be read there.
    pub why: &'static str,
}

/// A segment of the chain.
pub(super) struct Link {
    pub(super) head: SegmentHead,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) end: u64,
    pub(super) index: Vec<(u64, u64)>,
}

/// A record that no seal names.
pub(super) struct Unsealed {
    pub(super) kind: u8,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) payload: Vec<u8>,
}

/// All that the new segment needs to know.
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) chain: Vec<Link>,
    /// Up to where the chain counts.
    pub(super) sealed: Mark,
    pub(super) tail: Vec<Unsealed>,
    pub(super) report: OpenReport,
    /// Later files that hold nothing that counts: they may go at once, and make room.
    pub(super) blank: Vec<String>,
    /// Files to be removed once the new segment is synced. Until then what made them superfluous may be a head
    /// that was read from memory and does not last.
    pub(super) superseded: Vec<String>,
    /// A number above that of every file.
    pub(super) next_segment: u64,
}

/// The path of a segment.
pub(super) fn path_of(folder: &str, segment: u64) -> String {
    format!("{folder}/{segment:020}.log")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Every segment file, with its head where it has one.
struct Files(BTreeMap<u64, (Arc<dyn DiskFile>, Option<SegmentHead>)>);

impl Files {
    fn open(disk: &dyn Disk, folder: &str) -> Result<Self, StoreError> {
        let mut files = BTreeMap::new();
        let mut sector = vec![0; SECTOR];
        for name in disk.list(folder)? {
            let Some(number) = number_of(&name) else { continue };
            let file = disk.open(&path_of(folder, number))?;
            let read = file.read_at(0, &mut sector)?;
            let head = match SegmentHead::read(&sector[..read]) {
                Ok(head) => (head.segment == number).then_some(head),
                Err(NoHead::Unreadable) => None,
                Err(NoHead::Later(version)) => {
                    return Err(StoreError::LaterVersion {
                        file: file.name().into(),
                        version,
                        known: VERSION,
                    });
                }
            };
            files.insert(number, (file, head));
        }
        Ok(Self(files))
    }

    /// The chain, oldest first, each with where it ends (the newest: where its file does).
    fn chain(&self, folder: &str) -> Result<Vec<Link>, StoreError> {
        let newest = self.0.iter().rev().find_map(|(_, (file, head))| head.map(|head| (file, head)));
        let Some((mut file, mut head)) = newest else { return Ok(Vec::new()) };
        let mut end = file.bytes()?;
        let id = head.id;
        let mut chain = Vec::new();
        loop {
            let index = vec![(head.first, SECTOR as u64)];
            chain.push(Link { head, file: Arc::clone(file), end, index });
            let Some(before) = head.before else { break };
            match self.0.get(&before.segment) {
                Some((older, Some(found))) if found.id == id && before.segment < head.segment => {
                    (file, head, end) = (older, *found, before.offset);
                }
                Some((older, _)) => {
                    let why = "the segment's head cannot be read, though the next one names it";
                    return Err(StoreError::damaged(older.name(), 0, why));
                }
                None => {
                    // Retention removes the oldest first and makes each removal last before the next.
                    let lower = self.0.range(..before.segment).any(|(_, (_, head))| head.is_some());
                    if lower {
                        let missing = path_of(folder, before.segment);
                        return Err(StoreError::damaged(&missing, 0, "the segment is missing"));
                    }
                    break;
                }
            }
        }
        chain.reverse();
        Ok(chain)
    }
}

/// Reads a folder of segments.
pub(super) fn find(disk: &dyn Disk, folder: &str, options: &LogOptions) -> Result<Found, StoreError> {
    let files = Files::open(disk, folder)?;
    let mut chain = files.chain(folder)?;
    let next_segment = files.0.keys().next_back().map_or(1, |last| last + 1);
    let mut bytes = Vec::new();
    let Some(last) = chain.pop() else {
        return fresh(&files, options, next_segment);
    };
    for at in 0..chain.len() {
        let next = chain.get(at + 1).map_or(last.head.first, |next| next.head.first);
        if next > options.verify_from {
            check_closed(&mut chain[at], next, &mut bytes)?;
        }
    }

    let id = last.head.id;
    let mut newest = walk_newest(last, &mut bytes)?;
    let stop = Position { segment: newest.link.head.segment, offset: newest.stop };
    let mut torn = torn_in(&newest.link, newest.stop, newest.why, &bytes);
    if !on(Plant::NoLookBehind) {
        // From the sector before, too: what was misdirected may begin in the blank end of a group.
        let from = newest.stop.saturating_sub(1) / SECTOR as u64 * SECTOR as u64;
        let strays = stray_seals(&bytes, from, stop.segment, Some(id));
        judge(&strays, newest.link.file.name(), &newest, stop)?;
        for (number, (file, _)) in files.0.range(stop.segment + 1..) {
            read_whole(&**file, &mut bytes)?;
            let mut strays = stray_seals(&bytes, 0, *number, Some(id));
            // A copy of a tail that was cut short, into a segment with none before it, names its own start.
            let start = Position { segment: *number, offset: SECTOR as u64 };
            strays.retain(|stray| !stray.in_place || stray.synced.position != start);
            judge(&strays, file.name(), &newest, stop)?;
            let blank = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            if torn.is_none() && blank > 0 {
                let why = "the segment's head cannot be read";
                torn = Some(TornTail { file: file.name().into(), offset: 0, bytes: blank, why });
            }
        }
    }

    let mut sealed = newest.sealed;
    let tail = std::mem::take(&mut newest.tail);
    let mut kept: Vec<u64> = chain.iter().map(|link| link.head.segment).collect();
    chain.push(newest.link);
    // A segment of which nothing counts goes, so that restarts do not pile up empty ones.
    while let Some(link) = chain.pop_if(|link| link.head.first == sealed.number) {
        kept.retain(|number| *number != link.head.segment);
        sealed.position = link.head.before.unwrap_or_default();
    }
    if let Some(link) = chain.last_mut() {
        link.end = sealed.position.offset;
        link.index.retain(|(number, offset)| *number < sealed.number && *offset < link.end);
        kept.push(link.head.segment);
    }
    let names = files.0.iter().filter(|(number, _)| !kept.contains(number));
    let names = names.map(|(number, (file, _))| (*number, file.name().to_owned()));
    let (blank, superseded): (Vec<_>, Vec<_>) = names.partition(|(number, _)| *number > stop.segment);
    let path = |(_, name)| name;
    let (blank, superseded) =
        (blank.into_iter().map(path).collect(), superseded.into_iter().map(path).collect());
    let report = OpenReport { fresh: false, copied: tail.len(), torn };
    Ok(Found { id, sealed, tail, report, blank, superseded, next_segment, chain })
}

/// No segment has a head: there never was a log, or all that there was is damaged.
fn fresh(files: &Files, options: &LogOptions, next_segment: u64) -> Result<Found, StoreError> {
    let mut bytes = Vec::new();
    for (number, (file, _)) in &files.0 {
        read_whole(&**file, &mut bytes)?;
        let start = Position { segment: *number, offset: SECTOR as u64 };
        let strays = stray_seals(&bytes, 0, *number, None);
        // The very first group of a log names its own start; it may be left of an open that was cut short.
        let start = Mark { position: start, number: options.first };
        if strays.iter().any(|stray| !stray.in_place || stray.synced != start) {
            let why = "the segment's head cannot be read, but a log lies behind it";
            return Err(StoreError::damaged(file.name(), 0, why));
        }
    }
    Ok(Found {
        id: options.id,
        chain: Vec::new(),
        sealed: Mark { position: Position::default(), number: options.first },
        tail: Vec::new(),
        report: OpenReport { fresh: true, ..OpenReport::default() },
        blank: files.0.values().map(|(file, _)| file.name().to_owned()).collect(),
        superseded: Vec::new(),
        next_segment,
    })
}

fn walk_of<'a>(link: &Link, bytes: &'a [u8]) -> Walk<'a> {
    Walk {
        bytes,
        base: 0,
        at: SECTOR as u64,
        limit: link.end,
        id: link.head.id,
        segment: link.head.segment,
        number: link.head.first,
        at_group: true,
        check: !on(Plant::NoCheckOnOpen),
    }
}

fn note(index: &mut Vec<(u64, u64)>, number: u64, offset: u64) {
    if index.last().is_none_or(|(_, last)| offset - last >= LOG_INDEX_BYTES) {
        index.push((number, offset));
    }
}

/// Checks every frame of a segment that has a successor, which names its end and the next number.
fn check_closed(link: &mut Link, next: u64, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
    read_whole(&*link.file, bytes)?;
    let mut walk = walk_of(link, bytes);
    let (offset, why) = loop {
        match walk.step() {
            Step::Seal { .. } => {}
            Step::Record { offset, head, .. } => note(&mut link.index, head.first, offset),
            Step::End if walk.number == next => return Ok(()),
            Step::End => break (walk.at, "the next segment begins with another record"),
            Step::Short { offset, .. } => break (offset, "the file ends too early"),
            Step::Unreadable { offset, why } => break (offset, why),
        }
    };
    Err(StoreError::damaged(link.file.name(), offset, why))
}

/// What the newest segment holds.
struct Newest {
    link: Link,
    sealed: Mark,
    tail: Vec<Unsealed>,
    /// Where the walk ended, before which record, and why there.
    stop: u64,
    number: u64,
    why: &'static str,
}

fn walk_newest(mut link: Link, bytes: &mut Vec<u8>) -> Result<Newest, StoreError> {
    read_whole(&*link.file, bytes)?;
    let segment = link.head.segment;
    let start = Position { segment, offset: SECTOR as u64 };
    let mut sealed = Mark { position: link.head.before.unwrap_or(start), number: link.head.first };
    let mut records = Vec::new();
    let mut walk = walk_of(&link, bytes);
    let (mut stop, why) = loop {
        match walk.step() {
            Step::Seal { offset, synced } => {
                if synced.position > (Position { segment, offset }) {
                    let why = "a seal names what comes after it";
                    return Err(StoreError::damaged(link.file.name(), offset, why));
                }
                if synced.position > sealed.position {
                    // Else it would be shown to end where it does not, and the first reader would find out.
                    let before = |at: u64| Position { segment, offset: at } < synced.position;
                    let last = records.iter().rev().find(|(at, ..): &&(u64, FrameHead, &[u8])| before(*at));
                    if synced.number != last.map_or(link.head.first, |(_, head, _)| head.next) {
                        let why = "a seal names another record than the one that ends there";
                        return Err(StoreError::damaged(link.file.name(), offset, why));
                    }
                    sealed = synced;
                }
            }
            Step::Record { offset, head, payload } => {
                note(&mut link.index, head.first, offset);
                records.push((offset, head, payload));
            }
            Step::End => break (walk.at, "the segment is full"),
            Step::Short { offset, .. } => break (offset, "the file ends too early"),
            Step::Unreadable { offset, why } => {
                if on(Plant::SkipsUnreadable) && why.contains("payload") {
                    walk.at = offset + FrameHead::span_of(&bytes[offset as usize..]) as u64;
                    walk.number += 1;
                    continue;
                }
                break (offset, why);
            }
        }
    };
    if on(Plant::NoTailCopy) {
        sealed = Mark { position: Position { segment, offset: stop }, number: walk.number };
    }
    let unsealed = |offset| Position { segment, offset } >= sealed.position;
    let tail = records.iter().filter(|(offset, ..)| unsealed(*offset));
    let tail = tail.map(|(_, head, payload)| Unsealed {
        kind: head.kind,
        first: head.first,
        next: head.next,
        payload: payload.to_vec(),
    });
    let tail = tail.collect();
    stop = stop.min(bytes.len() as u64);
    let number = walk.number;
    Ok(Newest { link, sealed, tail, stop, number, why })
}

fn torn_in(link: &Link, stop: u64, why: &'static str, bytes: &[u8]) -> Option<TornTail> {
    let left = bytes[stop as usize..].iter().rposition(|byte| *byte != 0)? as u64 + 1;
    Some(TornTail { file: link.file.name().into(), offset: stop, bytes: left, why })
}

/// Whether what lies behind the end of the walk says that more had been synced.
fn judge(strays: &[Stray], file: &str, newest: &Newest, stop: Position) -> Result<(), StoreError> {
    for stray in strays {
        if stray.synced.position > stop || stray.synced.number > newest.number {
            let Stray { offset, .. } = stray;
            let why = format!("{}, but was synced as the seal in {file} at byte {offset} says", newest.why);
            return Err(StoreError::damaged(newest.link.file.name(), newest.stop, why));
        }
        if !stray.in_place {
            let why = "a seal of another place lies here: a write was misdirected";
            return Err(StoreError::damaged(file, stray.offset, why));
        }
    }
    Ok(())
}
