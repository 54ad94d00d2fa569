//! The deciding part with a journal: nothing is told or shown before it is durable, whatever comes
//! between, and a journal read back gives the same desk.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::desk::{
    DeskCore, DeskError, Journal, JournalError, Mark, Need, NumberedTold, Pending, Receipt, Record,
    RecoverError, Recovered, Recovery, ReportNo,
};
use crate::domain::{CursorAt, DirectiveKind, Namespace, Offset, Policy};

/// Keeps what is appended; a crash leaves what was made durable.
#[derive(Default)]
struct Kept {
    records: Vec<(u8, Vec<u8>)>,
    full: Option<Need>,
}

impl Journal for Kept {
    fn admit(&mut self, need: Need, _: usize) -> Result<(), JournalError> {
        if self.full == Some(need) { Err(JournalError::Full) } else { Ok(()) }
    }
    fn append(&mut self, mark: Mark, kind: u8, payload: Vec<u8>) {
        self.records.push((kind, payload));
        assert_eq!(mark, Mark(self.records.len() as u64), "marks come one by one");
    }
}

fn policies(radius_km: f64) -> Policies {
    Policies::from([("village".into(), Stages::new(&[StageSpec { after_ms: 0, radius_km }]).unwrap())])
}

fn core() -> DeskCore {
    DeskCore::new(policies(7.0))
}

fn recover(policies: Policies, records: &[(u8, Vec<u8>)]) -> Result<Recovered, RecoverError> {
    let mut recovery = Recovery::new(policies);
    for (kind, payload) in records {
        recovery.record(*kind, payload)?;
    }
    Ok(recovery.finish())
}

/// An order with everything in it that a partition acts on.
fn line(order: &NumberedTold) -> String {
    let told = &order.told;
    let json = told.info.as_ref().map(|info| (info.no, info.version, info.json.clone()));
    format!("{} {:?} {json:?}", order.no, told.order)
}

fn lines(orders: &[NumberedTold]) -> Vec<String> {
    orders.iter().map(line).collect()
}

fn view(core: &DeskCore, id: &str) -> String {
    let view = core.show(hour(20), &Actor::Admin("root".into()), &id.into()).waited();
    format!("{:?}", view.map(|view| serde_json::to_string(&view).unwrap()))
}

#[test]
fn many_answers_wait_for_one_sync_and_a_rejection_waits_with_them() {
    let (mut core, mut kept) = (core(), Kept::default());
    let mut put = |core: &mut DeskCore, action| core.submit(Some(&mut kept), hour(12), &police(), action);
    let first = put(&mut core, publish(whole("a")));
    let again = put(&mut core, publish(whole("a")));
    let second = put(&mut core, cancel("a"));
    assert_eq!([first.after(), again.after(), second.after()], [Mark(1), Mark(1), Mark(2)]);
    let shown = core.show(hour(12), &police(), &"a".into());
    assert_eq!(shown.after(), Mark(2));
    let first = first.ready(Mark(0)).unwrap_err();
    assert!(core.durable(Mark(0)).is_empty());

    let told = core.durable(Mark(1));
    assert_eq!(told.len(), 1);
    assert_eq!(first.ready(Mark(1)).unwrap().unwrap().version, 1);
    let said = again.ready(Mark(1)).unwrap().unwrap_err().to_string();
    assert!(said.contains("published before, at 2026-05-15T12:00:00.000Z, and has version 1"), "{said}");
    assert!(shown.ready(Mark(1)).is_err(), "the cancellation may still be lost");
    // A mark beyond the end, and one that goes back, mean no more than they can.
    assert_eq!(core.durable(Mark(9)).len(), 1);
    assert!(core.durable(Mark(1)).is_empty());
    assert!(second.ready(Mark(2)).unwrap().is_ok());
    let third = core.submit(None, hour(12), &police(), publish(whole("b")));
    assert_eq!(third.after(), Mark(2), "without a journal nothing waits");
    assert_eq!(core.durable(Mark(2)).len(), 1);
}

#[test]
fn a_full_disk_refuses_new_alerts_first_and_enters_nothing() {
    let (mut core, mut kept) = (core(), Kept::default());
    let _ = core.submit(Some(&mut kept), hour(12), &police(), publish(whole("a")));
    kept.full = Some(Need::New);
    let full = core.submit(Some(&mut kept), hour(12), &police(), publish(whole("b"))).waited();
    assert_eq!(full, Err(DeskError::Journal(JournalError::Full)));
    let report = core.report(Some(&mut kept), hour(13), "p".into(), &"a".into(), (31.0, 121.0), None);
    assert_eq!(report.waited(), Err(DeskError::Journal(JournalError::Full)));
    assert!(core.submit(Some(&mut kept), hour(12), &police(), cancel("a")).waited().is_ok());
    assert_eq!((kept.records.len(), core.next_action()), (2, 2));
    kept.full = None;
    assert!(core.submit(Some(&mut kept), hour(12), &police(), publish(whole("b"))).waited().is_ok());
}

#[test]
fn reports_come_back_with_their_numbers_and_confirmed_ones_do_not() {
    let (mut desk, mut kept) = (core(), Kept::default());
    let _ = desk.submit(Some(&mut kept), hour(12), &police(), publish(whole("a")));
    let _ = desk.submit(Some(&mut kept), hour(12), &police(), publish(whole("b")));
    for (id, lat) in [("a", 31.0), ("a", 32.0), ("a", 33.0), ("b", 31.0)] {
        let _ = desk.report(Some(&mut kept), hour(13), "p".into(), &id.into(), (lat, 121.0), None);
    }
    let confirmed = desk.confirm(Some(&mut kept), hour(14), &police(), ReportNo(0));
    assert_eq!(confirmed.waited().unwrap().version, 1);
    let long = "ü".repeat(2_000);
    let _ = desk.reject(Some(&mut kept), hour(14), &police(), ReportNo(2), &long);
    let _ = desk.submit(Some(&mut kept), hour(14), &police(), cancel("b"));
    let foreign = Actor::Authority("rangers".into());
    assert!(desk.confirm(Some(&mut kept), hour(14), &foreign, ReportNo(1)).waited().is_err());

    let mut back = recover(policies(7.0), &kept.records).unwrap().desk;
    assert_eq!([view(&back, "a"), view(&back, "b")], [view(&desk, "a"), view(&desk, "b")]);
    assert!(view(&back, "a").contains("\\\"report\\\":1"));
    // The next report gets a number of its own; after compaction too, which forgets those that ended.
    let ended = back.reject(None, hour(15), &police(), ReportNo(1), "").waited();
    assert_eq!(ended, Ok("a".into()));
    let mut records: Vec<_> = kept.records.iter().filter(|(kind, _)| *kind == 1).cloned().collect();
    records.extend(back.view(vec![]).records().map(|record| record.encode().unwrap()));
    let mut back = recover(policies(7.0), &records).unwrap().desk;
    let next = back.report(None, hour(15), "p".into(), &"a".into(), (31.0, 121.0), None).waited();
    assert_eq!(next.unwrap().report, ReportNo(4));
}

#[test]
fn a_policys_name_means_what_it_meant() {
    let (mut desk, mut kept) = (core(), Kept::default());
    let named = AlertDraft { policy: Some(Policy::Named("village".into())), ..whole("a") };
    let _ = desk.submit(Some(&mut kept), hour(12), &police(), publish(named));
    let told = lines(&desk.durable(Mark(1)));
    for now in [Policies::new(), policies(9.0)] {
        let back = recover(now.clone(), &kept.records).unwrap();
        assert_eq!(lines(&back.orders), told);
        let mut desk = back.desk;
        let moved = AlertDraft { lost_at: Some(hour(10)), ..bare("a") };
        let after = desk.submit(None, hour(13), &police(), update(moved)).waited();
        match now.is_empty() {
            true => assert!(after.unwrap_err().to_string().contains("no policy is named")),
            false => {
                let told = desk.durable(desk.appended()).pop().unwrap().told;
                let DirectiveKind::Update { part: Some(part), .. } = &told.order.kind else { panic!() };
                assert_eq!(part.stages.as_slice()[0].radius_km, 9.0, "what is new means what it means now");
            }
        }
    }
}

#[test]
fn a_journal_that_does_not_fit_stops_the_start_at_its_record() {
    let (mut desk, mut kept) = (core(), Kept::default());
    for action in [publish(whole("a")), update(bare("a")), cancel("a")] {
        let _ = desk.submit(Some(&mut kept), hour(12), &police(), action);
    }
    let records = &kept.records;
    let said = |records: &[(u8, Vec<u8>)]| recover(policies(7.0), records).unwrap_err().to_string();
    let without = [&records[..1], &records[2..]].concat();
    assert_eq!(said(&without), "record 1 of the action journal: it holds action 2 where action 1 is due");
    let twice = [&records[..], &records[2..]].concat();
    assert_eq!(said(&twice), "record 3 of the action journal: it holds action 2 where action 3 is due");
    let change = |nth: usize, change: &dyn Fn(&mut crate::desk::Decided)| {
        let mut changed = records.clone();
        let Record::Action(mut decided) = Record::decode(1, &changed[nth].1).unwrap() else { panic!() };
        change(&mut decided);
        changed[nth] = Record::Action(decided).encode().unwrap();
        said(&changed)
    };
    assert_eq!(
        change(1, &|decided| decided.at = hour(11)),
        "record 1 of the action journal: action 1 has the time 2026-05-15T11:00:00.000Z, which is before \
         2026-05-15T12:00:00.000Z, that of an action before it"
    );
    assert_eq!(
        change(1, &|decided| decided.action = update(bare("c"))),
        "record 1 of the action journal: action 1 was accepted once and is now rejected: alert \"c\": it does \
         not exist: publish it first, or correct the id"
    );
    let mut spoilt = records.clone();
    spoilt[2].1.pop();
    assert!(said(&spoilt).starts_with("record 2 of the action journal: a record of kind 1 cannot be read"));
    let stray = Record::ReportEnd { report: ReportNo(0), by: "p".into(), reason: String::new(), at: hour(1) };
    assert!(said(&[stray.encode().unwrap()]).contains("report 0"));
}

#[derive(Clone, Debug)]
enum Step {
    Act(u8, u8),
    Report(u8),
    Confirm(u8),
    Reject(u8),
    /// Makes so many of the records that wait durable.
    Sync(u8),
    Cursor(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..6u8, 0..4u8).prop_map(|(what, of)| Step::Act(what, of)),
        1 => (0..4u8).prop_map(Step::Report),
        1 => (0..4u8).prop_map(Step::Confirm),
        1 => (0..4u8).prop_map(Step::Reject),
        3 => (0..5u8).prop_map(Step::Sync),
        1 => (0..2u8, any::<u8>()).prop_map(|(partner, offset)| Step::Cursor(partner, offset)),
    ];
    vec(step, 1..60)
}

fn action(what: u8, id: &str) -> Action {
    match what {
        0 | 1 => {
            publish(AlertDraft { policy: (what == 1).then(|| Policy::Named("village".into())), ..whole(id) })
        }
        2 => update(bare(id)),
        3 => update(AlertDraft { lost_at: Some(hour(9)), area: Some(Ok(circle(Some(2.0)))), ..bare(id) }),
        4 => sighting(id, None),
        _ => cancel(id),
    }
}

/// What a desk without a journal says and tells, one action after the other.
fn plainly(actions: &[(i64, Action)]) -> (Vec<Result<Receipt, DeskError>>, Vec<String>) {
    let mut core = core();
    let said = actions
        .iter()
        .map(|(hours, action)| core.submit(None, hour(*hours), &police(), action.clone()).waited())
        .collect();
    (said, lines(&core.durable(Mark(0))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is submitted, made durable and read in between: what is told is what a desk without
    /// a journal would tell, in order, once, never ahead of what is durable; and a crash at any
    /// moment leaves a journal that gives back all that was told or confirmed, as it was.
    #[test]
    fn nothing_is_ahead_of_the_journal_and_nothing_told_is_lost(steps in steps(), crash in any::<prop::sample::Index>()) {
        let ids = ["a", "b", "c", "d"];
        let (mut core, mut kept) = (core(), Kept::default());
        let mut cursors: BTreeMap<u8, u8> = BTreeMap::new();
        let (mut durable, mut told) = (0u64, Vec::new());
        let mut waiting: Vec<Pending<Result<Receipt, DeskError>>> = Vec::new();
        let (mut confirmed, mut asked) = (Vec::new(), Vec::new());
        // The marks of actions, from the journal itself.
        let mut hours = 12;
        for step in &steps {
            match step {
                Step::Act(what, of) => {
                    hours += i64::from(*of == 3);
                    let action = action(*what, ids[usize::from(*of)]);
                    asked.push((hours, action.clone()));
                    waiting.push(core.submit(Some(&mut kept), hour(hours), &police(), action));
                }
                Step::Report(of) => {
                    let id = ids[usize::from(*of)].into();
                    let _ = core.report(Some(&mut kept), hour(hours), "p".into(), &id, (31.0, 121.0), None);
                }
                Step::Confirm(no) => {
                    let pending = core.confirm(Some(&mut kept), hour(hours), &police(), ReportNo(u64::from(*no)));
                    // Told to the plain desk as the sighting that it is.
                    if let Some(Record::Action(decided)) = kept.records.last().map(|(kind, payload)| Record::decode(*kind, payload).unwrap())
                        && decided.report == Some(ReportNo(u64::from(*no)))
                        && pending.clone().waited().is_ok()
                    {
                        asked.push((hours, decided.action.clone()));
                        waiting.push(pending);
                    }
                }
                Step::Reject(no) => {
                    let _ = core.reject(Some(&mut kept), hour(hours), &police(), ReportNo(u64::from(*no)), "no");
                }
                Step::Sync(some) => {
                    durable = kept.records.len().min(durable as usize + usize::from(*some)) as u64;
                    told.extend(core.durable(Mark(durable)));
                    let actions = kept.records[..durable as usize].iter().filter(|(kind, _)| *kind == 1).count();
                    prop_assert_eq!(told.len(), actions, "all that is durable is told and nothing else");
                    for pending in std::mem::take(&mut waiting) {
                        match pending.ready(Mark(durable)) {
                            Ok(answer) => confirmed.push(answer),
                            Err(pending) => waiting.push(pending),
                        }
                    }
                }
                Step::Cursor(partner, offset) => {
                    // Beside the order, by whoever keeps cursors.
                    let newest = cursors.entry(*partner).or_default();
                    *newest = (*newest).max(*offset);
                }
            }
            let shown = core.show(hour(hours), &police(), &"a".into());
            prop_assert_eq!(shown.after(), core.appended());
            prop_assert_eq!(shown.ready(Mark(durable)).is_ok(), durable == core.appended().0);
        }
        let (said, plain) = plainly(&asked);
        prop_assert!(lines(&told) == plain[..told.len()], "{:?} {:?}", lines(&told), plain);
        let all: Vec<_> = confirmed.iter().cloned().chain(waiting.into_iter().map(Pending::waited)).collect();
        prop_assert_eq!(all, said);

        // The crash keeps at least what was durable.
        let kept_records = durable as usize + crash.index(kept.records.len() - durable as usize + 1);
        let mut records = kept.records[..kept_records].to_vec();
        records.extend(cursors.iter().map(|(partner, offset)| {
            let cursor = CursorAt {
                namespace: Namespace::new("ns").unwrap(),
                partner: partner.to_string().into(),
                offset: Offset(u64::from(*offset)),
                at: hour(1),
            };
            Record::Cursor(cursor).encode().unwrap()
        }));
        let mut back = recover(policies(1.0), &records).unwrap();
        prop_assert!(lines(&back.orders)[..told.len()] == lines(&told));
        prop_assert!(lines(&back.orders) == plain[..back.orders.len()]);
        prop_assert_eq!(back.desk.next_action(), back.orders.len() as u64);
        let came: BTreeMap<String, u64> =
            back.cursors.iter().map(|held| (held.partner.to_string(), held.offset.0)).collect();
        let held: BTreeMap<String, u64> =
            cursors.iter().map(|(partner, offset)| (partner.to_string(), u64::from(*offset))).collect();
        prop_assert_eq!(came, held);
        // Nothing waits that was not appended since, and a compacted journal says the same.
        prop_assert!(back.desk.durable(Mark(9)).is_empty());
        let compacted: Vec<_> = crate::desk::compacted(
            records.iter().cloned().map(Ok::<_, crate::desk::RecordError>),
            &back.desk.view(back.cursors.clone()),
        ).map(Result::unwrap).collect();
        let again = recover(policies(2.0), &compacted).unwrap();
        prop_assert!(lines(&again.orders) == lines(&back.orders));
        prop_assert_eq!(again.cursors, back.cursors);
        for id in ids {
            prop_assert_eq!(view(&again.desk, id), view(&back.desk, id));
        }
        prop_assert_eq!(again.desk.journal_bytes(), back.desk.journal_bytes());
    }
}
