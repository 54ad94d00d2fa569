//! Who is around the server: sources that number their batches and send again from the last safe
//! one, authorities that ask again when unsure, partners that remember what they saw; and the
//! network between, which loses, doubles and reorders.

use std::collections::VecDeque;
use std::rc::Rc;

use super::acts::{self, Act, Growth, HOUR};
use super::bounds::UNAPPLIED;
use super::dice::Situation as S;
use super::disk::MATCHES;
use super::model::Seen;
use super::places::SPOTS;
use super::server::{Batch, Session, Waiting, plain};
use super::world::{Accepted, Manner, Message, Stream, World};
use crate::delivery::{CutOff, Patience, Standing};
use crate::desk::{Actor, DeskError, JournalError, Mark};
use crate::domain::{EventTime, Offset, Uncertainty};
use crate::runtime::{NamespaceIx, SourceName};
use crate::store::StoreError;
use crate::wire::{Header, MatchColumns};

impl World {
    pub(super) fn source_step(&mut self) {
        let nth = self.dice.below(self.sources.len());
        if self.sources[nth].session.is_none() || self.dice.one_in(25) {
            self.open_session(nth);
        }
        if self.sources[nth].kept.len() < 40 {
            self.make_batch(nth);
        }
        self.put_on_stream(nth);
    }

    fn make_batch(&mut self, nth: usize) {
        let count = 1 + self.dice.below(if self.crowd { 60 } else { 10 });
        let now = self.time + self.sources[nth].clock_off;
        let mut pings = Vec::new();
        let base = now - self.dice.pick(&[0, 0, 0, 3_000, 20_000]);
        for i in 0..count {
            // Now and then one that nobody has seen.
            if self.sources[nth].devices.clone().count() < 200 && self.dice.one_in(12) {
                self.sources[nth].devices.end += 1;
            }
            let source = &mut self.sources[nth];
            let device = source.devices.start
                + self.dice.below((source.devices.end - source.devices.start) as usize) as u64;
            let accuracy_m = self.dice.pick(&[0, 0, 0, 30, 800, 20_000]);
            // Home is where a device mostly is.
            let home = (device * 7) as usize % SPOTS;
            let spot = if self.dice.one_in(2) { home } else { self.dice.below(SPOTS) };
            let mut at = base + i as i64;
            if let Some(old) = source.newest.get(&device) {
                at = at.max(old.at + 1);
            }
            at = at.min(base + 30_000);
            let seen = Seen { at, spot, accuracy_m };
            if source.newest.get(&device).is_none_or(|old| old.at < at) {
                source.newest.insert(device, seen);
            }
            pings.push((device, seen));
        }
        let source = &mut self.sources[nth];
        let refused = std::cell::RefCell::default();
        let batch = Rc::new(Batch { source: nth, ns: source.ns, no: source.next, pings, refused });
        source.next += 1;
        source.kept.push_back(batch);
        self.trace.note("batch", &[nth as i64, count as i64]);
    }

    fn open_session(&mut self, nth: usize) {
        let (session, heard) = (self.serial(), self.sources[nth].safe);
        let name = SourceName {
            namespace: NamespaceIx(self.sources[nth].ns as u16),
            identity: "operator".into(),
            source: nth.to_string(),
        };
        let open = |first| self.server.sources.open(name.clone(), first);
        // It goes on after what it knows to be safe, or where the server says.
        let asks = self.dice.one_in(3);
        let mut speaks = open(if asks { 0 } else { heard + 1 });
        if asks && speaks.first() <= heard {
            // A snapshot knows what is told, ping logs tell it first.
            if !self.setup.durable && !self.once_durable && !self.note_lies() {
                self.wrong(format!("source {nth} heard that {heard} is safe, now {}", speaks.last_safe()));
            }
            self.hit(S::SourcesLogBehind);
            speaks = self.server.sources.open(name, heard + 1);
        } else if asks {
            self.hit(S::SourceResumes);
        }
        let first = speaks.first();
        self.is_safe(nth, first - 1);
        let of = Session::new(nth, speaks, self.server.ping_logs.is_some(), &self.server.room);
        self.server.sessions.insert(session, of);
        let source = &mut self.sources[nth];
        source.session = Some(session);
        source.to_send = first;
        self.streams.push(Stream { session, batches: VecDeque::new() });
        self.trace.note("session", &[nth as i64, first as i64]);
    }

    /// A source hears that its batches up to this one are safe.
    fn is_safe(&mut self, nth: usize, safe: u64) {
        let source = &mut self.sources[nth];
        source.safe = source.safe.max(safe);
        let promised = &mut self.promised[source.ns];
        while let Some(batch) = source.kept.pop_front_if(|batch| batch.no <= safe) {
            let refused = batch.refused.borrow();
            for (device, seen) in batch.pings.iter().filter(|(device, _)| !refused.contains(device)) {
                let at = promised.entry(*device).or_insert(seen.at);
                *at = seen.at.max(*at);
            }
        }
    }

    /// Sends what is kept and was not yet sent in this session.
    fn put_on_stream(&mut self, nth: usize) {
        let source = &mut self.sources[nth];
        let Some(stream) = self.streams.iter_mut().find(|s| Some(s.session) == source.session) else {
            source.session = None;
            return;
        };
        for batch in source.kept.iter().filter(|batch| batch.no >= source.to_send) {
            stream.batches.push_back(Rc::clone(batch));
        }
        source.to_send = source.next;
    }

    /// In the end: everything is sent; says whether anything was left to do.
    pub(super) fn source_flush(&mut self, nth: usize) -> bool {
        let source = &self.sources[nth];
        let session = source.session.and_then(|session| self.server.sessions.get(&session));
        let (open, applied) = (session.is_some(), session.map_or(source.safe, Session::applied));
        if applied + 1 == source.next {
            return false;
        }
        if !open || !self.streams.iter().any(|s| Some(s.session) == self.sources[nth].session) {
            self.open_session(nth);
        }
        self.put_on_stream(nth);
        true
    }

    /// A batch of a stream reaches the server.
    fn stream_step(&mut self, nth: usize) {
        let session = self.streams[nth].session;
        let Some(of) = self.server.sessions.get(&session) else {
            // The server does not know the connection any more.
            self.streams.swap_remove(nth);
            return;
        };
        if of.due.len() >= UNAPPLIED {
            return self.hear();
        }
        let source = of.source;
        let Some(batch) = self.streams[nth].batches.pop_front() else { return self.hear() };
        let whole = self.dice.one_in(2);
        if !self.server.take_batch(session, &batch, whole) {
            self.streams[nth].batches.push_front(batch);
            self.hit(S::PingsWait);
            return self.hear();
        }
        if self.sources[source].session != Some(session) {
            self.hit(S::ZombieStream);
        }
        if batch.no < self.came[source] {
            self.hit(S::BatchDoubled);
        }
        self.came[source] = self.came[source].max(batch.no + 1);
        self.hear();
    }

    pub(super) fn authority_step(&mut self) {
        let nth = self.dice.below(self.authorities.len());
        if self.authorities[nth].asking.is_some() {
            if self.dice.one_in(4) {
                self.ask_again(nth);
            }
            return;
        }
        // Mostly its own alerts, now and then another's.
        let mut id = self.dice.below(self.ids as usize) as u32;
        if !self.dice.one_in(12) {
            id = id / 2 * 2 + nth as u32;
        }
        let now = self.time + self.off;
        let act = acts::random(&mut self.dice, now, id, self.desk.published(id));
        self.ask(nth, act);
    }

    fn ask(&mut self, nth: usize, act: Act) {
        let (request, act) = (self.serial(), Rc::new(act));
        self.authorities[nth].asking = Some((request, Rc::clone(&act)));
        self.authorities[nth].tries = 0;
        self.net.push(Message::Act { authority: nth, request, act });
    }

    fn ask_again(&mut self, nth: usize) {
        let Some((request, act)) = self.authorities[nth].asking.clone() else { return };
        self.authorities[nth].tries += 1;
        self.hit(S::ActionResent);
        self.net.push(Message::Act { authority: nth, request, act });
    }

    pub(super) fn authority_retry(&mut self, nth: usize) -> bool {
        let asking = self.authorities[nth].asking.is_some();
        let on_the_way = self.net.iter().any(|message| match message {
            Message::Act { authority, .. } | Message::Reply { authority, .. } => *authority == nth,
            _ => false,
        }) || self.server.waiting.iter().any(|one| one.authority == nth);
        if asking && !on_the_way {
            self.ask_again(nth);
        }
        asking
    }

    /// In the end: an alert over everything shows where every device is taken to be.
    pub(super) fn last_act(&mut self) {
        let circles = vec![(self.dice.below(super::places::CENTRES), self.dice.pick(&[3.0, 30.0, 5_000.0]))];
        let (growth, mode, expires) = (Growth::Fixed, Uncertainty::Centre, self.time + 100 * HOUR);
        let act = Act::Publish { id: 1_000, lost_at: None, expires, circles, growth, mode };
        self.net.push(Message::Act { authority: 0, request: 0, act: Rc::new(act) });
    }

    fn act_arrives(&mut self, authority: usize, request: u64, act: &Rc<Act>) {
        let now = self.server.now();
        let at = now.max(self.desk.newest);
        let expired = self.desk.is_expired(act.id(), at);
        let mut rules = self.desk.clone();
        let order = rules.decide(at, authority, act);
        let server = &mut self.server;
        let pending =
            server.desk.submit(Some(&mut server.files), EventTime(now), &actor(authority), act.real());
        let answer = pending.clone().ready(Mark(u64::MAX));
        let done = matches!(answer, Ok(Ok(_)));
        let full = matches!(answer, Ok(Err(DeskError::Journal(JournalError::Full))));
        self.trace.note("act", &[authority as i64, i64::from(act.id()), at, i64::from(done)]);
        let mut action = None;
        if done && let Some(order) = order {
            self.hit(match &**act {
                Act::Publish { .. } => S::Publish,
                Act::Update { .. } if expired => S::UpdateRevives,
                Act::Update { .. } => S::Update,
                Act::Sighting { .. } => S::Sighting,
                Act::Cancel { .. } if expired => S::CancelExpired,
                Act::Cancel { .. } => S::Cancel,
            });
            let no = self.accepted.len() as u64;
            action = Some(no);
            self.desk = rules;
            self.accepted.push(Accepted { at, authority, act: Rc::clone(act), confirmed: false });
            self.server.orders.push_back((no, Rc::new(order)));
        } else if full {
            self.hit(S::ActionRefusedFull);
        } else if done || order.is_some() {
            self.wrong(format!("{act:?}: {answer:?}, {order:?} by the rules"));
        } else {
            self.hit(S::ActionRejected);
        }
        self.server.waiting.push(Waiting { pending, action, authority, request });
        if self.dice.one_in(3) {
            self.tell_durable();
        }
    }

    pub(super) fn partner_step(&mut self) {
        let nth = self.dice.below(self.partners.len());
        let manner = self.partners[nth].manner;
        if manner == Manner::Slow && !self.dice.one_in(4) {
            return;
        }
        if self.lags(nth) {
            return;
        }
        if self.dice.one_in(3) {
            self.acknowledge(nth);
        } else {
            self.partner_reads(nth);
        }
    }

    /// Whether a partner is cut off because it lags.
    fn lags(&mut self, nth: usize) -> bool {
        let partner = &mut self.partners[nth];
        let end = self.server.sink.delivery.log(NamespaceIx(partner.ns as u16)).end();
        let owes = partner.acknowledged < partner.sent;
        let standing = Standing { done: Offset(partner.acknowledged), owes };
        let (Some(_), Some(patience)) = (partner.connection, &mut partner.patience) else { return false };
        let now_ms = self.server.sink.delivery.ticks().now_ms();
        let Err(why) = patience.look(standing, end, now_ms) else { return false };
        partner.connection = None;
        self.trace.note("cut off", &[nth as i64]);
        self.hit(match why {
            CutOff::Matches { .. } => S::CutOffMatches,
            CutOff::Age { .. } => S::CutOffAge,
            CutOff::Silent { .. } => S::CutOffSilent,
        });
        if !owes {
            self.wrong(format!("partner {nth} owes nothing and is cut off: {why}"));
        }
        true
    }

    fn acknowledge(&mut self, nth: usize) {
        let partner = &self.partners[nth];
        let Some(connection) = partner.connection else { return };
        let (next, manner) = (partner.next, partner.manner);
        let offset = match manner {
            Manner::Zombie => {
                self.hit(S::PartnerZombie);
                return;
            }
            Manner::Liar if self.dice.one_in(2) => {
                self.hit(S::PartnerLies);
                next + 1 + self.dice.below(1_000) as u64
            }
            Manner::Liar => {
                self.hit(S::PartnerOldAck);
                next / 2
            }
            _ => next,
        };
        self.net.push(Message::Cursor { partner: nth, connection, offset });
    }

    /// Connects where it must, and is sent what is visible after what it was sent.
    pub(super) fn partner_reads(&mut self, nth: usize) -> bool {
        let ns = self.partners[nth].ns;
        if self.partners[nth].connection.is_none() {
            let connection = self.serial();
            let from_start = self.dice.one_in(6);
            let log = self.server.sink.delivery.log(NamespaceIx(ns as u16));
            let (earliest, end) = (log.earliest().0, log.end());
            // Memory may hold what the disk has no more.
            if earliest > self.server.files.logs[ns].first() {
                self.wrong(format!("the log of {ns} is said to begin at {earliest}"));
            }
            let cursor = self.cursor_of(nth).unwrap_or(earliest);
            let partner = &mut self.partners[nth];
            let mut from = if from_start { earliest } else { cursor };
            if from < earliest {
                // It is told so, and begins with what there is.
                self.seen.hit(S::OffsetGone);
                from = earliest;
            }
            partner.skipped |= partner.saw.range(..earliest).count() as u64 != earliest;
            let ticks = self.server.sink.delivery.ticks().now_ms();
            partner.patience = Some(Patience::new(self.setup.lag, Offset(from), end, ticks));
            partner.acknowledged = from;
            if from < partner.next {
                self.seen.hit(S::PartnerReplay);
            }
            if from == cursor && from > 0 {
                self.seen.hit(S::PartnerResumes);
            }
            (partner.connection, partner.sent, partner.next) = (Some(connection), from, from);
        }
        let (from, visible) = (self.partners[nth].sent, self.server.files.logs[ns].visible());
        if from > visible {
            self.wrong(format!("partner {nth} is at {from}, the log shows {visible}"));
            return false;
        }
        if from == visible {
            return false;
        }
        let in_memory = from < self.server.files.logs[ns].first() || self.dice.one_in(2);
        let matches = if in_memory { self.read_memory(ns, from) } else { None };
        let matches = match matches.map_or_else(|| self.read_disk(ns, from), Ok) {
            Ok(matches) => matches,
            Err(error) => {
                self.store_error(error);
                return false;
            }
        };
        let matches: Vec<_> = matches.into_iter().take((visible - from) as usize).collect();
        if matches.is_empty() {
            self.wrong(format!("nothing is read at {from}, the log shows {visible}"));
            return false;
        }
        let partner = &mut self.partners[nth];
        partner.sent = from + matches.len() as u64;
        let connection = partner.connection.unwrap_or_default();
        self.shown[ns] = self.shown[ns].max(partner.sent);
        self.net.push(Message::Matches { partner: nth, connection, first: from, matches });
        true
    }

    /// As a subscription reads: from memory, or by the log from the disk. `None` where the disk's own
    /// error is wanted.
    fn read_memory(&mut self, ns: usize, from: u64) -> Option<Vec<super::model::Found>> {
        let log = self.server.sink.delivery.log(NamespaceIx(ns as u16));
        let chunk = log.read(Offset(from)).ok()??;
        Some(chunk.matches()?.iter().map(|(_, found)| plain(&found)).collect())
    }

    fn read_disk(&self, ns: usize, from: u64) -> Result<Vec<super::model::Found>, StoreError> {
        let records = self.server.files.logs[ns].reader().read(from, 1)?;
        let Some(record) = records.first().filter(|record| record.kind == MATCHES) else {
            return Ok(Vec::new());
        };
        let matches = MatchColumns::read(&record.payload.slice(Header::BYTES..)).unwrap();
        let after = matches.iter().filter(|(offset, _)| offset.0 >= from);
        Ok(after.map(|(_, found)| plain(&found)).collect())
    }

    fn matches_arrive(&mut self, nth: usize, connection: u64, first: u64, matches: Vec<super::model::Found>) {
        let partner = &mut self.partners[nth];
        // A partner reads a stream in order; what overtook something is a broken stream.
        if partner.connection != Some(connection) {
            return;
        }
        if partner.next != first {
            partner.connection = None;
            return;
        }
        partner.next = first + matches.len() as u64;
        let mut changed = None;
        let history = &self.history[partner.ns].matches;
        for (offset, found) in (first..).zip(matches) {
            if history.get(offset as usize) != Some(&found) {
                changed =
                    Some(format!("{offset}: {found:?}, the log had {:?}", history.get(offset as usize)));
            }
            match partner.saw.get(&offset) {
                Some(old) if *old != found => changed = Some(format!("{offset}: {old:?}, now {found:?}")),
                _ => drop(partner.saw.insert(offset, found)),
            }
        }
        if self.partners[nth].manner != Manner::Zombie && self.dice.one_in(2) {
            self.acknowledge(nth);
        }
        if let Some(changed) = changed {
            self.wrong(format!("partner {nth} saw another match at offset {changed}"));
        }
    }

    fn cursor_arrives(&mut self, nth: usize, offset: u64) {
        let partner = &mut self.partners[nth];
        // Past what it was sent: its session ends. Old: it says nothing new.
        if offset > partner.sent {
            partner.connection = None;
            return;
        }
        if offset <= partner.acknowledged {
            return;
        }
        partner.acknowledged = offset;
        // Who says that it has what it has not, misses it by its own fault.
        partner.skipped |= offset > partner.next;
        let ns = &self.setup.runtime.namespaces[partner.ns].name;
        let delivery = &self.server.sink.delivery;
        let (at, now_ms, name) = (self.server.now(), delivery.ticks().now_ms(), format!("partner-{nth}"));
        let later = delivery.cursors().acknowledged(ns, &name, Offset(offset), EventTime(at), now_ms);
        if later.is_some() {
            // The end of a session writes it.
            delivery.cursors().write(ns, &name, now_ms);
        }
        let first = self.server.files.logs[self.partners[nth].ns].first();
        // A first cursor holds nothing back that went before it: memory had it still.
        if offset < first && self.acked[nth].is_none_or(|(before, _)| before < self.gone[nth]) {
            self.gone[nth] = self.gone[nth].max(offset + 1);
        }
        if self.acked[nth].is_none_or(|(old, _)| old < offset) {
            self.acked[nth] = Some((offset, at));
        }
        self.trace.note("cursor", &[nth as i64, offset as i64]);
    }

    /// Where a partner resumes.
    pub(super) fn cursor_of(&self, nth: usize) -> Option<u64> {
        let ns = &self.setup.runtime.namespaces[self.partners[nth].ns].name;
        let held = self.server.sink.delivery.cursors().get(ns, &format!("partner-{nth}"));
        held.map(|offset| offset.0)
    }

    pub(super) fn deliver_step(&mut self) {
        if !self.streams.is_empty() && self.dice.one_in(2) {
            let nth = self.dice.below(self.streams.len());
            self.stream_step(nth);
        } else if !self.net.is_empty() {
            let nth = self.dice.below(self.net.len());
            let message = self.net.swap_remove(nth);
            self.deliver(message);
        }
    }

    pub(super) fn deliver_all(&mut self) -> bool {
        let mut moved = false;
        for nth in (0..self.streams.len()).rev() {
            let before = self.streams[nth].batches.len();
            self.stream_step(nth);
            moved |= before > 0;
        }
        for message in std::mem::take(&mut self.net) {
            moved = true;
            self.deliver(message);
        }
        moved
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Act { authority, request, act } => self.act_arrives(authority, request, &act),
            Message::Reply { authority, request, action } => {
                if let Some(no) = action
                    && no as usize >= self.accepted.len()
                {
                    self.wrong(format!("action {no} was confirmed and is not there"));
                }
                if self.authorities[authority].asking.as_ref().is_some_and(|(asked, _)| *asked == request) {
                    self.authorities[authority].asking = None;
                }
            }
            // A connection that is gone says nothing more.
            Message::Safe { source, session, .. } if self.sources[source].session != Some(session) => {}
            Message::Safe { source: nth, safe, .. } => {
                if safe < self.sources[nth].safe {
                    self.seen.hit(S::AckOld);
                }
                self.is_safe(nth, safe);
            }
            Message::Matches { partner, connection, first, matches } => {
                self.matches_arrive(partner, connection, first, matches);
            }
            Message::Cursor { partner, connection, offset } => {
                if self.partners[partner].connection == Some(connection) {
                    self.cursor_arrives(partner, offset);
                }
            }
        }
    }

    /// The network loses or doubles something, or cuts a stream.
    pub(super) fn network_fault(&mut self) {
        if !self.streams.is_empty() && self.dice.one_in(3) {
            let nth = self.dice.below(self.streams.len());
            let stream = self.streams.swap_remove(nth);
            if !stream.batches.is_empty() {
                self.hit(S::StreamCut);
            }
            self.trace.note("stream cut", &[stream.batches.len() as i64]);
            return;
        }
        if self.net.is_empty() {
            return;
        }
        let nth = self.dice.below(self.net.len());
        let doubled = self.dice.one_in(2);
        match &self.net[nth] {
            Message::Act { authority, request, act } if doubled => {
                let (authority, request, act) = (*authority, *request, Rc::clone(act));
                self.net.push(Message::Act { authority, request, act });
                self.hit(S::ActionDoubled);
                return;
            }
            Message::Safe { .. } => self.seen.hit(S::AckLost),
            Message::Matches { partner, .. } => {
                self.partners[*partner].connection = None;
                self.seen.hit(S::MatchesLost);
            }
            _ => {}
        }
        self.trace.note("lost", &[nth as i64]);
        self.net.swap_remove(nth);
    }
}

/// Who an authority is to the desk.
pub(super) fn actor(authority: usize) -> Actor {
    Actor::Authority(format!("authority-{authority}").into())
}
