//! The event clock: one order of pings, actions and stages by their own times.
//!
//! Pings come sorted in one session; a ping at `t`, like a watermark at `t`, says that every time
//! before `t` has passed. An action waits until its time has passed, so that at equal times pings
//! come first; one behind the clock is applied at the clock. Partitions apply the stages due
//! before whatever they are given next, and are told of passed times even when they get no ping.

use std::sync::Arc;

use super::queue::{Queues, Split, Task, Ticket};
use super::{ActionSource, MatchSink, NamespaceIx, SessionRefused};
use crate::domain::{EventTime, PingRow};

/// Keeps the order. All calls come under one lock.
pub(super) struct EventDriver {
    source: Option<Arc<dyn ActionSource>>,
    session_open: bool,
    /// The largest time given so far.
    clock: EventTime,
    /// Every time before this one has passed.
    passed: EventTime,
    pings_given: u64,
    actions_given: u64,
}

impl Default for EventDriver {
    fn default() -> Self {
        Self {
            source: None,
            session_open: false,
            clock: EventTime::BEFORE_ALL,
            passed: EventTime::BEFORE_ALL,
            pings_given: 0,
            actions_given: 0,
        }
    }
}

impl EventDriver {
    pub(super) fn clock(&self) -> EventTime {
        self.clock
    }

    pub(super) fn set_source(&mut self, source: Arc<dyn ActionSource>) {
        self.source = Some(source);
    }

    pub(super) fn open_session(&mut self) -> Result<(), SessionRefused> {
        if self.session_open {
            return Err(SessionRefused::Busy);
        }
        self.session_open = true;
        Ok(())
    }

    pub(super) fn close_session(&mut self) {
        self.session_open = false;
    }

    pub(super) fn pings(
        &mut self,
        queues: &Queues,
        sink: &dyn MatchSink,
        namespace: NamespaceIx,
        base: EventTime,
        rows: &[PingRow],
        ticket: &Arc<Ticket>,
    ) {
        let mut split = Split::new(queues.partitions(), rows.len());
        let mut next_action = self.next_action();
        for row in rows {
            let at = base.plus_ms(row.ms_after_base());
            if next_action.is_some_and(|action| action < at) {
                queues.send_split(&mut split, namespace, base, ticket);
                self.pass(at);
                self.decide_passed(queues, sink);
                next_action = self.next_action();
            }
            self.pass(at);
            self.clock = self.clock.max(at);
            split.add(row, Some(self.pings_given));
            self.pings_given += 1;
        }
        queues.send_split(&mut split, namespace, base, ticket);
    }

    pub(super) fn watermark(&mut self, queues: &Queues, sink: &dyn MatchSink, at: EventTime, last: bool) {
        let through = if last { at } else { at.plus_ms(-1) };
        self.pass(through.plus_ms(1));
        self.decide_passed(queues, sink);
        self.clock = self.clock.max(through);
        queues.data_to_all(&Task::Passed { through });
    }

    /// Decides the waiting actions whose times have passed, in their order.
    pub(super) fn decide_passed(&mut self, queues: &Queues, sink: &dyn MatchSink) {
        let Some(source) = self.source.clone() else { return };
        while let Some(at) = source.next_at().filter(|at| *at < self.passed) {
            self.clock = self.clock.max(at);
            let Some(told) = source.decide_next(self.clock) else { continue };
            if let Some(info) = &told.info {
                sink.alert(info);
            }
            queues.data_to_all(&Task::Order { order: told.order, index: self.actions_given });
            self.actions_given += 1;
        }
    }

    fn next_action(&self) -> Option<EventTime> {
        self.source.as_ref()?.next_at()
    }

    fn pass(&mut self, before: EventTime) {
        self.passed = self.passed.max(before);
    }
}
