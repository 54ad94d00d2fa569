//! The journal on a faulty disk: what was committed is there after any crash, and compaction loses none
//! of it wherever it is cut off.

use std::sync::Arc;

use super::*;
use crate::desk::{
    DeskCore, Journal, JournalError, JournalFile, Mark, Need, ReportNo, StoredError, StoredJournal,
};
use crate::domain::{CursorAt, Namespace, Offset};
use crate::planted::{Defect, must_be_found};
use crate::store::LogOptions;
use crate::store::faulty::FaultyDisk;

/// The desk's records on their way to the file.
#[derive(Default)]
struct Group(Vec<(u8, Vec<u8>)>);

impl Journal for Group {
    fn admit(&mut self, _: Need, _: usize) -> Result<(), JournalError> {
        Ok(())
    }
    fn append(&mut self, _: Mark, kind: u8, payload: Vec<u8>) {
        self.0.push((kind, payload));
    }
}

fn small() -> LogOptions {
    LogOptions { id: 7, segment_bytes: 1 << 16, group_bytes_max: 1 << 15, ..LogOptions::default() }
}

fn open(disk: &FaultyDisk) -> Result<(StoredJournal, crate::desk::Recovered), StoredError> {
    let disk = Arc::new(disk.clone());
    let (journal, recovered, _) = StoredJournal::open(disk, "actions", small(), Policies::new())?;
    Ok((journal, recovered))
}

fn cursor(offset: u64) -> CursorAt {
    let namespace = Namespace::new("one").unwrap();
    CursorAt { namespace, partner: "p".into(), offset: Offset(offset), at: hour(1) }
}

/// What is committed: actions, the last cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Committed {
    actions: u64,
    cursor: u64,
}

/// Publishes, updates and compacts until the disk stops; says what was committed.
fn story(disk: &FaultyDisk) -> Committed {
    let mut committed = Committed::default();
    let _ = tell(disk, &mut committed);
    committed
}

fn tell(disk: &FaultyDisk, committed: &mut Committed) -> Result<(), String> {
    let (mut file, recovered) = open(disk).map_err(|why| why.to_string())?;
    let mut core: DeskCore = recovered.desk;
    for round in 0..6u64 {
        let mut group = Group::default();
        let id = format!("a{round}");
        for action in [publish(whole(&id)), update(bare(&id)), sighting(&id, None)] {
            core.submit(Some(&mut group), hour(12), &police(), action).waited().unwrap();
        }
        for _ in 0..2 {
            let taken =
                core.report(Some(&mut group), hour(13), "p".into(), &id.as_str().into(), (31.0, 121.0), None);
            taken.waited().unwrap();
        }
        core.reject(Some(&mut group), hour(13), &police(), ReportNo(2 * round), "no").waited().unwrap();
        for (kind, payload) in group.0 {
            file.append(kind, &payload)?;
        }
        let (kind, payload) = crate::desk::Record::Cursor(cursor(round)).encode().unwrap();
        file.append(kind, &payload)?;
        file.commit()?;
        *committed = Committed { actions: core.next_action(), cursor: round };
        if round % 2 == 1 {
            file.compact(&core.view(vec![cursor(round)]))?;
        }
    }
    Ok(())
}

/// Power cuts at each operation.
const DRAWS: u64 = 8;

/// Tells the story until the power goes at an operation, and looks at what is left. Whether it went
/// before the story's end.
fn cut_at(operations: u64, draw: u64) -> bool {
    let disk = FaultyDisk::new(operations * DRAWS + draw);
    disk.set_fuse(Some(operations));
    let committed = story(&disk);
    let dead = disk.is_dead();
    look_at_what_is_left(&disk, committed, &format!("{operations}, {draw}"));
    dead
}

/// The power goes: what was committed must come back.
fn look_at_what_is_left(disk: &FaultyDisk, committed: Committed, when: &str) {
    disk.power_cut();
    disk.set_fuse(None);
    let (journal, back) = open(disk).unwrap_or_else(|why| panic!("{when}: {why}"));
    assert!(back.orders.len() as u64 >= committed.actions, "{when}: {committed:?}");
    let held = back.cursors.first().map_or(0, |held| held.offset.0);
    assert!(held >= committed.cursor, "{when}: {held} {committed:?}");
    // Numbers of reports go on.
    assert!(back.desk.view(vec![]).next_report.0 >= 2 * (committed.actions / 3));
    drop(journal);
    // Only one generation is left.
    let generations: std::collections::BTreeSet<String> =
        disk.files().iter().filter_map(|(path, _)| path.split('/').nth(1).map(str::to_owned)).collect();
    assert_eq!(generations.len(), 1, "{generations:?}");
    let (_, again) = open(disk).unwrap();
    assert_eq!(again.orders.len(), back.orders.len());
}

/// The process is killed at each operation, and the power goes at each of the next start. A rename that the first
/// saw, and that no sync made last, must not be what the second relies on.
fn killed_and_then_cut() -> u64 {
    let mut cuts = 0;
    for operations in 1.. {
        for start in 0.. {
            let disk = FaultyDisk::new(operations << 8 | start);
            disk.set_fuse(Some(operations));
            let committed = story(&disk);
            if !disk.is_dead() {
                return cuts;
            }
            disk.crash();
            disk.set_fuse(Some(start));
            let opened = open(&disk).is_ok();
            look_at_what_is_left(&disk, committed, &format!("killed at {operations}, cut at {start}"));
            cuts += 1;
            if opened {
                break;
            }
        }
    }
    cuts
}

#[test]
fn a_start_after_a_kill_may_be_cut_off_too() {
    let cuts = killed_and_then_cut();
    assert!(cuts > 1_000, "{cuts}");
}

#[test]
fn a_rename_that_does_not_last_yet_is_found_out() {
    must_be_found(Defect::RenameNotAdopted, || assert!(killed_and_then_cut() > 0));
}

#[test]
fn whatever_moment_the_power_goes_all_that_was_committed_comes_back() {
    let whole = FaultyDisk::new(0);
    let all = story(&whole);
    assert_eq!(all, Committed { actions: 18, cursor: 5 });
    let mut died = 0;
    for operations in 1.. {
        // What of the unsynced is kept is drawn anew each time.
        let ends = (0..DRAWS).map(|draw| cut_at(operations, draw)).filter(|dead| !dead).count();
        if ends > 0 {
            break;
        }
        died += 1;
    }
    assert!(died > 50, "{died}");
}

#[test]
fn a_record_of_another_journal_stops_the_start_by_name() {
    let disk = FaultyDisk::new(1);
    let (mut file, _) = open(&disk).unwrap();
    file.append(99, &[1]).unwrap();
    file.commit().unwrap();
    drop(file);
    let said = open(&disk).err().unwrap().to_string();
    assert!(said.starts_with("record 0 of the action journal: a record of kind 99 is not known"), "{said}");
    assert!(said.contains("the journal was not changed"), "{said}");
}
