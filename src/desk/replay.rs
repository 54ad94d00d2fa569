//! The actions of a recorded file as a source for the event clock: the same book as the live
//! desk's, with rejections kept by their line.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::domain::EventTime;
use crate::files::TimedAction;
use crate::runtime::{ActionSource, Told};

use super::book::{Actor, Book};
use super::rejection::Rejection;
use super::{Policies, lock};

/// A line that the alert's life rejected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {rejection}")]
pub struct RejectedLine {
    /// Its line number, from 1.
    pub line: u64,
    /// Why.
    pub rejection: Rejection,
}

/// Feeds a file's actions to a replay, each at its own time.
pub struct ReplayActions(Mutex<State>);

struct State {
    book: Book,
    actor: Actor,
    waiting: VecDeque<TimedAction>,
    rejected: Vec<RejectedLine>,
}

impl ReplayActions {
    /// Takes the whole file; the lines are put in the order of their times, ties as they stand.
    pub fn new(policies: Policies, mut lines: Vec<TimedAction>) -> Self {
        lines.sort_by_key(|line| line.at);
        Self(Mutex::new(State {
            book: Book::new(policies),
            actor: Actor::Admin("replay".into()),
            waiting: lines.into(),
            rejected: Vec::new(),
        }))
    }

    /// The lines rejected so far, in the order in which they were judged.
    pub fn rejected(&self) -> Vec<RejectedLine> {
        lock(&self.0).rejected.clone()
    }
}

impl ActionSource for ReplayActions {
    fn next_at(&self) -> Option<EventTime> {
        lock(&self.0).waiting.front().map(|line| line.at)
    }

    fn decide_next(&self, clock: EventTime) -> Option<Told> {
        let mut state = lock(&self.0);
        let TimedAction { line, at, action } = state.waiting.pop_front()?;
        let State { book, actor, rejected, .. } = &mut *state;
        book.decide(at.max(clock), actor, action)
            .map_err(|rejection| rejected.push(RejectedLine { line, rejection }))
            .ok()
    }
}
