//! The desk as the doors see it: rights, waiting actions, reports, lists.

use std::sync::{Arc, Mutex};

use super::*;
use crate::access::{Grant, Role};
use crate::desk::state::State;
use crate::desk::{AlertList, Desk, DeskCore, DeskError, ReplayActions, ReportNo};
use crate::domain::{MaxAge, Namespace};
use crate::files::TimedAction;
use crate::runtime::{
    ActionSource, AlertInfo, ClockMode, MatchSink, NamespaceConfig, NamespaceIx, Output, Runtime,
    RuntimeConfig,
};

/// Takes the alerts' versions, in the order in which they were told.
#[derive(Default)]
struct Versions(Mutex<Vec<(String, u32)>>);

/// What partitions were told, for another table of tests.
pub(super) struct Told(Arc<Versions>);

impl Told {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, u32)>> {
        self.0.0.lock().unwrap()
    }
}

/// A runtime on the wall clock that is nobody's yet.
pub(super) fn desk_parts() -> (Runtime, Told) {
    let (desk, runtime, versions) = desk_on(ClockMode::Wall);
    drop(desk);
    (runtime, Told(versions))
}

impl MatchSink for Versions {
    fn alert(&self, info: &Arc<AlertInfo>) {
        self.0.lock().unwrap().push((info.id.to_string(), info.version));
    }
    fn matches(&self, _: NamespaceIx, _: &Output) {}
}

fn desk_on(clock: ClockMode) -> (Desk, Runtime, Arc<Versions>) {
    let name = |name| NamespaceConfig { name: Namespace::new(name).unwrap(), max_age: MaxAge::Never };
    let config = RuntimeConfig {
        partitions: 2,
        namespaces: vec![name("one"), name("two")],
        clock,
        clock_skew_ms: 0,
        sliced: false,
    };
    let versions = Arc::new(Versions::default());
    let runtime = Runtime::start(config, Arc::clone(&versions) as _).unwrap();
    (Desk::new(runtime.clone(), Policies::new()), runtime, versions)
}

fn desk() -> (Desk, Runtime) {
    let (desk, runtime, _) = desk_on(ClockMode::Wall);
    (desk, runtime)
}

/// Publishable at any time that a wall clock shows.
pub(super) fn lasting(id: &str) -> AlertDraft {
    AlertDraft { expires: Some(EventTime::from_rfc3339("9000-01-01T00:00:00Z").unwrap()), ..whole(id) }
}

pub(super) fn grant(name: &str, role: Role) -> Grant {
    Grant::for_test(name, role, &["one"])
}

#[test]
fn only_authorities_and_admins_act_and_only_on_their_own() {
    let (desk, runtime) = desk();
    let police = grant("police", Role::Authority);
    let receipt = desk.act(&police, None, publish(lasting("a"))).unwrap();
    assert_eq!((receipt.id.as_str(), receipt.version, receipt.queued), ("a", 1, false));
    for role in [Role::Operator, Role::Partner] {
        let refused = desk.act(&grant("x", role), None, cancel("a")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("\"x\" has the role {}, which may not act on alerts", role.as_str())
        );
        assert!(desk.list(&grant("x", role)).is_err());
        assert!(desk.show(&grant("x", role), &"a".into()).is_err());
        assert!(desk.preview(&grant("x", role), lasting("p")).is_err());
        assert!(desk.confirm(&grant("x", role), ReportNo(0), None).is_err());
    }
    let refused = desk.act(&grant("rangers", Role::Authority), None, update(bare("a"))).unwrap_err();
    assert!(refused.to_string().contains("published by another authority"), "{refused}");
    assert_eq!(desk.act(&police, None, update(bare("a"))).unwrap().version, 2);
    assert_eq!(desk.act(&grant("root", Role::Admin), None, cancel("a")).unwrap().version, 2);
    let refused = desk.act(&police, Some(hour(1)), publish(lasting("b"))).unwrap_err();
    assert_eq!(refused, DeskError::AtOnWallClock);

    let list = desk.list(&police).unwrap();
    let seen = &list.alerts[0];
    assert_eq!((seen.state, seen.reason, seen.owner.as_str()), ("cancelled", Some("found"), "police"));
    assert_eq!(list.total, 1);
    runtime.stop();
}

#[test]
fn a_report_waits_until_its_authority_confirms_or_rejects_it() {
    let (desk, runtime) = desk();
    let (police, partner) = (grant("police", Role::Authority), grant("p", Role::Partner));
    let a = "a".into();
    let report = |lat| desk.report_sighting(&partner, &a, lat, 121.0, None).map(|taken| taken.report);
    assert!(report(31.0).unwrap_err().to_string().contains("does not exist"));
    desk.act(&police, None, publish(lasting("a"))).unwrap();
    assert!(report(99.0).unwrap_err().to_string().contains("latitude 99"));
    assert!(desk.report_sighting(&grant("o", Role::Operator), &a, 31.0, 121.0, None).is_err());
    let (first, second, third) = (report(31.0).unwrap(), report(32.0).unwrap(), report(33.0).unwrap());

    let rangers = grant("rangers", Role::Authority);
    assert!(desk.confirm(&rangers, first, None).is_err());
    assert!(desk.show(&rangers, &a).unwrap().reports.is_empty());
    desk.confirm(&police, first, None).unwrap();
    assert_eq!(desk.confirm(&police, first, None), Err(DeskError::NoReport(first)));
    desk.reject(&police, second, "seen by nobody else").unwrap();
    assert_eq!(desk.reject(&police, second, ""), Err(DeskError::NoReport(second)));
    // What is refused waits on.
    assert_eq!(desk.confirm(&police, third, Some(hour(1))), Err(DeskError::AtOnWallClock));

    let view = serde_json::to_value(desk.show(&police, &a).unwrap()).unwrap();
    assert_eq!(view["state"], "active");
    assert_eq!(view["parts"], 2);
    assert_eq!(view["parts_now"][1]["lat"], 31.0);
    assert_eq!(view["parts_now"][0]["stages"][3]["after"], "3h");
    assert_eq!(view["reports"][0]["report"], 2);
    assert_eq!(view["reports"][0]["by"], "p");
    assert_eq!(view["alert"]["id"], "a");
    // The end of an alert ends its reports.
    desk.act(&police, None, cancel("a")).unwrap();
    assert_eq!(desk.confirm(&police, third, None), Err(DeskError::NoReport(third)));
    assert!(report(31.0).is_err());
    runtime.stop();
}

#[test]
fn a_preview_takes_no_id_and_is_judged_as_a_publication() {
    let (desk, runtime) = desk();
    let police = grant("police", Role::Authority);
    let draft = AlertDraft { status: Some(crate::domain::Status::Draft), ..lasting("a") };
    let preview = desk.preview(&police, draft).unwrap();
    assert_eq!(preview.stages.len(), 4);
    assert!(preview.namespaces.iter().all(|of| of.namespace == "one"), "only what was granted");
    assert!(desk.preview(&police, bare("a")).unwrap_err().to_string().contains("\"expires\" is missing"));
    assert!(desk.act(&police, None, publish(lasting("a"))).is_ok());
    runtime.stop();
}

#[test]
fn actions_of_many_threads_reach_the_partitions_in_the_order_of_the_book() {
    const EACH: u32 = 50;
    let (desk, runtime, versions) = desk_on(ClockMode::Wall);
    let police = grant("police", Role::Authority);
    desk.act(&police, None, publish(lasting("a"))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..EACH).for_each(|_| drop(desk.act(&police, None, update(bare("a"))).unwrap())));
        }
    });
    runtime.stop();
    let told: Vec<u32> = versions.0.lock().unwrap().iter().map(|(_, version)| *version).collect();
    assert!(told.into_iter().eq(1..=1 + 4 * EACH));
}

#[test]
fn on_the_event_clock_an_action_waits_for_the_watermark() {
    let (desk, runtime, versions) = desk_on(ClockMode::Event);
    let police = grant("police", Role::Authority);
    let told = || versions.0.lock().unwrap().clone();
    assert_eq!(desk.act(&police, None, publish(whole("a"))), Err(DeskError::NoTime));
    let receipt = desk.act(&police, Some(hour(12)), publish(whole("a"))).unwrap();
    assert_eq!((receipt.at, receipt.queued, receipt.version), (hour(12), true, 0));

    let driver = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut session, _applied) = runtime.open_session(NamespaceIx(0)).unwrap();
    let mut pass = |hours, last| driver.block_on(session.watermark(hour(hours), last)).unwrap();
    pass(12, false);
    assert_eq!((told(), desk.list(&police).unwrap().waiting), (vec![], 1));
    pass(13, false);
    assert_eq!(told(), [("a".to_owned(), 1)]);
    // Behind the clock: judged at once, at the clock.
    desk.act(&police, Some(hour(1)), update(bare("a"))).unwrap();
    assert_eq!(told().len(), 2);
    let late = AlertDraft { expires: Some(hour(12)), ..bare("a") };
    desk.act(&police, Some(hour(1)), update(late)).unwrap();
    let list = desk.list(&police).unwrap();
    assert_eq!((list.waiting, list.rejections.len(), list.alerts[0].version), (0, 1, 2));
    pass(14, true);
    assert_eq!(desk.show(&police, &"a".into()).unwrap().summary.state, "active");
    runtime.stop();
}

fn listed(state: &State, hours: i64, actor: &Actor) -> AlertList {
    state.list(hour(hours), actor).waited()
}

fn queue(
    state: &State,
    now: EventTime,
    at: Option<EventTime>,
    action: Action,
) -> Result<EventTime, DeskError> {
    state.queue(now, at, police(), action).map(|receipt| {
        assert!(receipt.queued);
        receipt.at
    })
}

#[test]
fn on_the_event_clock_actions_wait_in_the_order_of_time_then_arrival() {
    let state = State::new(DeskCore::new(Policies::new()));
    let none = EventTime::BEFORE_ALL;
    assert_eq!(state.next_at(), None);
    assert_eq!(queue(&state, none, None, publish(whole("x"))), Err(DeskError::NoTime));
    assert_eq!(queue(&state, none, Some(hour(14)), cancel("a")), Ok(hour(14)));
    // A publication's own time is `sent`.
    let a = AlertDraft { sent: Some(hour(12)), ..whole("a") };
    assert_eq!(queue(&state, none, None, publish(a)), Ok(hour(12)));
    assert_eq!(queue(&state, none, Some(hour(12)), update(bare("a"))), Ok(hour(12)));
    // Anything else's is the clock.
    assert_eq!(queue(&state, hour(13), None, sighting("a", None)), Ok(hour(13)));
    assert_eq!(queue(&state, hour(13), Some(hour(11)), cancel("never")), Ok(hour(11)));
    assert_eq!(listed(&state, 13, &police()).waiting, 5);

    let mut seen = Vec::new();
    while let Some(next) = state.next_at() {
        let told = state.decide_next(hour(12));
        seen.push((next, told.map(|told| told.order.at)));
    }
    assert_eq!(
        seen,
        [
            // Behind the clock: judged at the clock, and rejected.
            (hour(11), None),
            (hour(12), Some(hour(12))),
            (hour(12), Some(hour(12))),
            (hour(13), Some(hour(13))),
            (hour(14), Some(hour(14))),
        ]
    );
    assert!(state.decide_next(hour(15)).is_none());
    let list = listed(&state, 15, &police());
    assert_eq!((list.waiting, list.rejections.len()), (0, 1));
    assert_eq!(list.rejections[0].at, hour(12));
    assert!(list.rejections[0].reason.starts_with("alert \"never\": it does not exist"));
    assert!(listed(&state, 15, &Actor::Authority("rangers".into())).rejections.is_empty());
    assert_eq!(listed(&state, 15, &Actor::Admin("root".into())).rejections.len(), 1);
}

#[test]
fn the_queue_is_bounded_and_a_foreign_alert_is_refused_at_once() {
    let state = State::new(DeskCore::new(Policies::new()));
    for _ in 0..crate::limits::ACTIONS_WAITING_MAX {
        queue(&state, hour(12), None, cancel("a")).unwrap();
    }
    assert_eq!(queue(&state, hour(12), None, cancel("a")), Err(DeskError::WaitingFull));
    assert!(state.decide_next(hour(12)).is_none());
    queue(&state, hour(12), Some(hour(1)), publish(whole("a"))).unwrap();
    state.decide_next(hour(12)).unwrap();
    let rangers = Actor::Authority("rangers".into());
    let refused = state.queue(hour(12), None, rangers, cancel("a")).unwrap_err();
    assert!(refused.to_string().contains("another authority"));
}

#[test]
fn a_clock_set_back_does_not_turn_the_order_of_actions() {
    let mut core = DeskCore::new(Policies::new());
    core.submit(None, hour(14), &police(), publish(whole("a"))).waited().unwrap();
    let receipt = core.submit(None, hour(13), &police(), cancel("a")).waited().unwrap();
    let told = core.durable(core.appended()).pop().unwrap().told;
    assert_eq!((told.order.at, receipt.at), (hour(14), hour(14)));
}

#[test]
fn a_replay_reports_rejections_by_line_and_goes_on() {
    let line = |line, hours, action| TimedAction { line, at: hour(hours), action };
    let source = ReplayActions::new(
        Policies::new(),
        vec![
            line(1, 13, cancel("a")),
            line(2, 12, publish(whole("a"))),
            line(4, 13, cancel("a")),
            line(5, 12, update(bare("a"))),
        ],
    );
    let mut told = Vec::new();
    while let Some(at) = source.next_at() {
        told.push((at, source.decide_next(EventTime::BEFORE_ALL).map(|told| told.order.at)));
    }
    assert_eq!(
        told,
        [
            (hour(12), Some(hour(12))),
            (hour(12), Some(hour(12))),
            (hour(13), Some(hour(13))),
            (hour(13), None),
        ]
    );
    let rejected: Vec<String> = source.rejected().iter().map(ToString::to_string).collect();
    assert_eq!(
        rejected,
        [
            "line 4: alert \"a\": it was cancelled at 2026-05-15T13:00:00.000Z: nothing follows, publish a new alert"
        ]
    );
}
