//! One world: a server, its sources, authorities and partners, a network and a clock, moved one
//! small step at a time by the dice. See the module head of `simulation` for what it must show.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use zerocopy::IntoBytes;

use super::acts::{Act, HOUR, MINUTE};
use super::checks::{History, same};
use super::dice::{Dice, Seen, Situation as S, Trace};
use super::disk::Files;
use super::keeper::Snap;
use super::model::{Desk, Found, Part};
use super::reports::{Reports, Sight};
use super::server::{Batch, BatchPart, Did, Server, Setup, plain};
use crate::delivery::{LagLimits, Patience};
use crate::domain::{DeviceId, EventTime, PartSpec, PingRow, Uncertainty};
use crate::geo::PreparedArea;
use crate::runtime::NamespaceIx;
use crate::store::faulty::FaultyDisk;
use crate::wire::{BatchHead, Encoding, PingBatch};

/// Where time starts, Unix ms.
const START: i64 = 1_779_000_000_000;

/// What is on its way, in no order.
pub(super) enum Message {
    Act { authority: usize, request: u64, wish: Wish },
    Reply { authority: usize, request: u64, action: Option<u64> },
    Safe { source: usize, session: u64, safe: u64 },
    Matches { partner: usize, connection: u64, first: u64, matches: Vec<Found> },
    Cursor { partner: usize, connection: u64, offset: u64 },
    Report { partner: usize, request: u64, sight: Rc<Sight> },
    Reported { partner: usize, request: u64 },
}

/// What an authority asks for.
#[derive(Clone)]
pub(super) enum Wish {
    Act(Rc<Act>),
    /// A report, by its number.
    Confirm(u64),
    Reject(u64),
}

/// A stream of batches from a source: in order, until it is cut.
pub(super) struct Stream {
    pub(super) session: u64,
    pub(super) batches: VecDeque<Rc<Batch>>,
}

/// A named source of pings.
pub(super) struct Source {
    pub(super) ns: usize,
    pub(super) devices: std::ops::Range<u64>,
    /// Its clock against the true time, ms.
    pub(super) clock_off: i64,
    pub(super) next: u64,
    /// Batches that may be asked for again, the oldest first.
    pub(super) kept: VecDeque<Rc<Batch>>,
    pub(super) safe: u64,
    pub(super) session: Option<u64>,
    /// The next batch to put on the session's stream.
    pub(super) to_send: u64,
    pub(super) newest: BTreeMap<u64, super::model::Seen>,
}

/// An authority asks one thing at a time, again where it is unsure.
#[derive(Default)]
pub(super) struct Authority {
    pub(super) asking: Option<(u64, Wish)>,
    pub(super) tries: u32,
}

/// How a partner behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    Slow,
    Zombie,
    Liar,
}

/// A partner: it remembers for ever what it saw at each offset.
pub(super) struct Partner {
    pub(super) ns: usize,
    pub(super) manner: Manner,
    pub(super) connection: Option<u64>,
    pub(super) next: u64,
    /// What the server sent it next, for this connection.
    pub(super) sent: u64,
    /// What it has acknowledged on this connection, as the server knows.
    pub(super) acknowledged: u64,
    pub(super) patience: Option<Patience>,
    pub(super) saw: BTreeMap<u64, Found>,
    /// It acknowledged what it had not received.
    pub(super) skipped: bool,
}

/// An accepted action, as the world knows it.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) at: i64,
    pub(super) authority: usize,
    pub(super) act: Rc<Act>,
    /// The report that it confirms.
    pub(super) report: Option<u64>,
    /// The authority was told: it must outlive everything.
    pub(super) confirmed: bool,
}

/// An area as partitions have it, and by the rules.
pub(super) type Area = (PartSpec<PreparedArea>, Uncertainty, Part);

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) trace: Trace,
    pub(super) seen: Seen,
    pub(super) setup: Setup,
    /// The true time.
    pub(super) time: i64,
    /// The server's clock against it.
    pub(super) off: i64,
    pub(super) stalled: bool,
    pub(super) faults: bool,
    pub(super) disk: FaultyDisk,
    /// What snapshots hold by the rules, by number.
    pub(super) snaps: BTreeMap<u64, Snap>,
    /// The snapshots that are kept, as of the last that was finished.
    pub(super) kept: Vec<u64>,
    /// The disk has lied, or bits were flipped: damage may be found.
    pub(super) lied: bool,
    /// This world may meet that.
    pub(super) may_lie: bool,
    /// The start stopped at damage: the world is over.
    pub(super) ended: bool,
    pub(super) crashing: bool,
    pub(super) server: Server,
    pub(super) desk: Desk,
    pub(super) accepted: Vec<Accepted>,
    pub(super) reports: Reports,
    /// By namespace.
    pub(super) history: Vec<History>,
    pub(super) net: Vec<Message>,
    pub(super) streams: Vec<Stream>,
    pub(super) sources: Vec<Source>,
    pub(super) authorities: Vec<Authority>,
    pub(super) partners: Vec<Partner>,
    pub(super) serial: u64,
    /// Cursors that were durable, by partner.
    pub(super) durable_cursors: Vec<u64>,
    /// What the server took of each partner's acknowledgements last, and when by its clock.
    pub(super) acked: Vec<Option<(u64, i64)>>,
    /// By partner: cursors below this offset were too old for retention when the log was trimmed, or came too late.
    pub(super) gone: Vec<u64>,
    /// By namespace: cursors older than this have held nothing back.
    pub(super) too_old: Vec<i64>,
    /// What a partner may have seen ends here, by namespace.
    pub(super) shown: Vec<u64>,
    pub(super) ids: u32,
    /// Many devices, and more happens.
    pub(super) crowd: bool,
    /// The newest area that partitions were told of.
    pub(super) area: Option<Area>,
    /// By namespace and device: the newest time of a ping that a source was told is safe.
    pub(super) promised: Vec<BTreeMap<u64, i64>>,
    /// What partitions did, by their number and partition, as ping logs have it.
    pub(super) did: BTreeMap<(u32, usize), Vec<Did>>,
    /// Ping logs were switched on once.
    pub(super) once_durable: bool,
    /// By source: the number after the last batch that reached the server.
    pub(super) came: Vec<u64>,
    pub(super) error: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, told: bool) -> Self {
        let mut dice = Dice::new(seed);
        let namespaces = 1 + dice.below(2);
        let ages = [Some(24 * HOUR), Some(HOUR), Some(20 * MINUTE), None, Some(60 * 24 * HOUR)];
        let crowd = dice.one_in(8);
        let max_ages: Vec<_> = (0..namespaces).map(|_| dice.pick(&ages)).collect();
        let mut sources = Vec::new();
        for ns in 0..namespaces {
            for nth in 0..1 + dice.below(2) as u64 {
                // Others of its own come later.
                let first = 1 + 1_000 * nth;
                let devices = first..first + 2 + dice.below(if crowd { 80 } else { 12 }) as u64;
                let clock_off = if dice.one_in(6) { dice.range(-MINUTE, 2 * MINUTE) } else { 0 };
                sources.push(Source {
                    ns,
                    devices,
                    clock_off,
                    next: 1,
                    kept: VecDeque::new(),
                    safe: 0,
                    session: None,
                    to_send: 1,
                    newest: BTreeMap::new(),
                });
            }
        }
        let partner = |dice: &mut Dice, ns| Partner {
            ns,
            manner: dice.pick(&[Manner::Honest, Manner::Honest, Manner::Slow, Manner::Zombie, Manner::Liar]),
            connection: None,
            next: 0,
            sent: 0,
            acknowledged: 0,
            patience: None,
            saw: BTreeMap::new(),
            skipped: false,
        };
        let partners: Vec<_> = (0..namespaces)
            .flat_map(|ns| (0..1 + dice.below(2)).map(move |_| ns).collect::<Vec<_>>())
            .collect::<Vec<_>>()
            .into_iter()
            .map(|ns| partner(&mut dice, ns))
            .collect();
        let (partitions, slice) = (1 + dice.below(3) as u32, dice.pick(&[17, 24, 90, 10_000]));
        let lag = LagLimits {
            matches: dice.pick(&[30, 100, 10_000]),
            age_ms: dice.pick(&[HOUR, 3 * HOUR, 24 * HOUR]) as u64,
            silent_ms: dice.pick(&[5 * MINUTE, 30 * MINUTE]) as u64,
        };
        let setup = Setup::new(partitions, max_ages, MINUTE, slice, lag, false);
        let time = START + dice.range(0, HOUR);
        let disk = FaultyDisk::new(seed);
        let (files, _) = Files::open(&disk, namespaces, dice.next()).unwrap();
        let server = Server::new(&setup, time, files);
        Self {
            trace: Trace::new(told),
            seen: Seen::default(),
            time,
            off: 0,
            stalled: false,
            faults: true,
            disk,
            snaps: BTreeMap::new(),
            kept: Vec::new(),
            lied: false,
            may_lie: dice.one_in(4),
            ended: false,
            crashing: false,
            server,
            desk: Desk::default(),
            accepted: Vec::new(),
            reports: Reports::default(),
            history: vec![History::default(); namespaces],
            net: Vec::new(),
            streams: Vec::new(),
            came: vec![0; sources.len()],
            sources,
            authorities: (0..1 + dice.below(2)).map(|_| Authority::default()).collect(),
            durable_cursors: vec![0; partners.len()],
            acked: vec![None; partners.len()],
            gone: vec![0; partners.len()],
            too_old: vec![i64::MIN; setup.max_ages.len()],
            promised: vec![BTreeMap::new(); setup.max_ages.len()],
            did: BTreeMap::new(),
            once_durable: false,
            shown: vec![0; namespaces],
            partners,
            serial: 0,
            ids: 4 + dice.below(9) as u32,
            crowd,
            area: None,
            error: None,
            setup,
            dice,
        }
    }

    pub(super) fn hit(&mut self, what: S) {
        self.seen.hit(what);
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A rule is broken.
    pub(super) fn wrong(&mut self, why: impl Into<String>) {
        if self.error.is_none() {
            self.error = Some(why.into());
        }
    }

    pub(super) fn expect(&mut self, result: Result<(), String>) {
        if let Err(why) = result {
            self.wrong(why);
        }
    }

    /// Runs to the end; what is wrong, if anything is.
    pub(super) fn run(&mut self) -> Result<(), String> {
        // The first start is one like others.
        self.crashing = true;
        self.setup.durable = self.dice.one_in(2);
        self.restart();
        self.crashing = false;
        let steps = if self.crowd { self.dice.range(150, 500) } else { self.dice.range(40, 240) };
        for _ in 0..steps {
            self.step();
            self.bounded();
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(());
            }
        }
        self.settle();
        self.error.take().map_or(Ok(()), Err)
    }

    fn step(&mut self) {
        self.pass_time();
        match self.dice.below(100) {
            0..=11 => self.source_step(),
            12..=17 => self.authority_step(),
            18..=19 => self.report_step(),
            20..=29 => self.partner_step(),
            30..=49 => {
                for _ in 0..1 + self.dice.below(3) {
                    self.deliver_step();
                }
            }
            50..=70 => {
                let shard = self.dice.below(self.server.shards.len());
                self.turn(shard);
            }
            71..=76 => self.keeper_steps(),
            77..=84 => self.sync_journal(),
            85..=90 => {
                let ns = self.dice.below(self.history.len());
                self.sync_log(ns);
            }
            91..=93 => self.sync_pings(),
            94..=95 => self.network_fault(),
            96 if self.dice.one_in(2) => self.disk_fault(),
            96 => self.clock_fault(),
            97 if self.dice.one_in(3) => self.compact_journal(),
            97 if self.dice.one_in(3) => self.preview(),
            97 => self.keeper_steps(),
            _ => {
                if self.dice.one_in(2) {
                    self.crash();
                }
            }
        }
    }

    fn pass_time(&mut self) {
        let ms = match self.dice.below(60) {
            0 => self.dice.range(MINUTE, 15 * MINUTE),
            1 => self.dice.range(15 * MINUTE, 2 * HOUR),
            2 if self.dice.one_in(6) => self.dice.range(20 * HOUR, 30 * HOUR),
            2 if self.dice.one_in(20) => {
                self.hit(S::WeeksPass);
                self.dice.range(25 * 24 * HOUR, 70 * 24 * HOUR)
            }
            // To the very moment of a stage.
            3..=6 => {
                let next = self.server.shards[0].rules[0].next_stage_at();
                let until = next.map_or(0, |at| at - (self.time + self.off));
                if (0..HOUR).contains(&until) { until } else { 0 }
            }
            7..=30 => 0,
            _ => self.dice.range(0, 2_000),
        };
        self.time += ms;
        self.server.hand.pass(ms as u64);
        self.set_clock();
    }

    pub(super) fn set_clock(&mut self) {
        if !self.stalled {
            self.server.clock.set(self.time + self.off);
        }
    }

    fn clock_fault(&mut self) {
        match self.dice.below(4) {
            0 => {
                self.off = -self.dice.range(1, 2 * HOUR);
                self.hit(S::ClockBack);
            }
            1 if self.dice.one_in(3) => {
                self.off = 24 * HOUR;
                self.hit(S::ClockAhead);
            }
            2 => {
                self.stalled = true;
                self.hit(S::ClockStalled);
            }
            _ => (self.off, self.stalled) = (0, false),
        }
        self.trace.note("clock", &[self.off, i64::from(self.stalled)]);
        self.set_clock();
    }

    /// One turn of a partition's thread.
    pub(super) fn turn(&mut self, nth: usize) -> bool {
        let now = self.server.now();
        if self.server.sink.late() > 0 {
            self.hit(S::PartitionsWait);
            return false;
        }
        let shard = &mut self.server.shards[nth];
        let busy = shard.driver.has_work();
        if busy && !shard.urgent.is_empty() {
            self.seen.hit(S::ScanMeetsOrder);
        }
        if !busy && let Some((no, told, order)) = shard.urgent.pop_front() {
            shard.driver.order(&told.order, no);
            shard.rules.iter_mut().for_each(|rules| rules.order(&order));
            self.note_did(nth, || Did::Order(no, order));
            self.trace.note("order", &[nth as i64, no as i64, now]);
            self.collect(nth);
            return true;
        }
        if !busy && self.dice.one_in(20) {
            // Nothing came for a while.
            self.seen.hit(S::Idle);
            shard.driver.idle();
        }
        // Now and then a stage falls due just after the thread has looked at the clock.
        if !busy && (!self.faults || !self.dice.one_in(4)) {
            let due = shard.rules.iter().filter_map(|rules| rules.next_stage_at()).min();
            shard.driver.apply_due_stages();
            if due.is_some_and(|due| due <= now) {
                shard.rules.iter_mut().for_each(|rules| rules.stages_through(now));
                self.note_did(nth, || Did::Stages(now));
                self.trace.note("stages", &[nth as i64, now]);
            }
        }
        let shard = &mut self.server.shards[nth];
        let worked = shard.driver.work_a_slice();
        if let Some(part) = shard.data.pop_front() {
            if shard.driver.has_work() {
                self.seen.hit(S::ScanMeetsPing);
            }
            self.pings(nth, part, now);
            let due =
                |rules: &super::model::Rules| rules.next_stage_at().is_some_and(|due| due <= rules.clock);
            if self.faults && self.server.shards[nth].rules.iter().any(due) {
                self.keeper_steps();
            }
            return true;
        }
        self.collect(nth);
        worked
    }

    /// A partition did something, which its ping log has where there is one.
    fn note_did(&mut self, nth: usize, did: impl FnOnce() -> Did) {
        if self.server.ping_logs.is_some() {
            let partitions = self.server.shards.len() as u32;
            self.did.entry((partitions, nth)).or_default().push(did());
        }
    }

    fn pings(&mut self, nth: usize, part: BatchPart, now: i64) {
        use super::model::Fate;
        let BatchPart { session, part, whole, batch } = part;
        let (base, rows, own) = self.server.rows(nth, &batch);
        let of = self.server.shards.len() as u16;
        let shard = &mut self.server.shards[nth];
        let ns = NamespaceIx(batch.ns as u16);
        match whole {
            true => part.whole(&mut shard.driver, ns, as_it_came(base, &rows, nth as u16, of)),
            false => part.rows(&mut shard.driver, ns, base, rows),
        }
        let rules = &mut shard.rules[batch.ns];
        rules.batch(now);
        let (mut future, devices) = (0, own.iter().map(|(device, _)| *device).collect::<Vec<_>>());
        for (device, seen) in own {
            if rules.devices.get(&device).is_some_and(|old| !rules.knows(old.at)) {
                self.seen.hit(S::Forgotten);
            }
            match rules.ping(now, self.setup.skew, device, seen) {
                Fate::Taken => {}
                Fate::Stale => self.seen.hit(S::PingStale),
                Fate::Future => {
                    future += 1;
                    batch.refused.borrow_mut().insert(device);
                }
            }
        }
        if future > 0 {
            self.seen.hit(S::PingFuture);
        }
        let due = self.server.sessions.get_mut(&session).and_then(|session| session.due.get_mut(&batch.no));
        if let Some(due) = due {
            due.1 += future;
        }
        self.note_rows(nth, batch.ns, &devices);
        self.trace.note("pings", &[nth as i64, batch.source as i64, batch.no as i64, now]);
        self.note_did(nth, || Did::Pings { now, batch });
        self.collect(nth);
    }

    /// A preview of an area is counted, by slices, while nothing else happens.
    fn preview(&mut self) {
        let nth = self.dice.below(self.server.shards.len());
        let shard = &mut self.server.shards[nth];
        let Some((part, mode, by_rules)) = self.area.clone().filter(|_| !shard.driver.has_work()) else {
            return;
        };
        let answer = shard.driver.ask_preview(part, mode);
        let counts = loop {
            match answer.try_recv() {
                Ok(counts) => break counts,
                Err(_) if shard.driver.work_a_slice() => {}
                Err(_) => return self.wrong("a preview has no answer"),
            }
        };
        let due = shard.rules.iter().map(|rules| rules.preview(&by_rules, mode)).collect::<Vec<_>>();
        if counts != due {
            self.wrong(format!("a preview counts {counts:?}, {due:?} by the rules"));
        }
        if due.iter().flatten().any(|count| *count > 0) {
            self.hit(S::Preview);
        }
    }

    /// Whether rows of those who were forgotten are others' now.
    fn note_rows(&mut self, nth: usize, ns: usize, devices: &[u64]) {
        let shard = &mut self.server.shards[nth];
        for device in devices {
            let Some(row) = shard.machine(ns).row_of(DeviceId(*device)) else { continue };
            let rules = &shard.rules[ns];
            let hears = |old: u64| {
                rules.hears(old) && rules.devices.get(&old).is_none_or(|seen| !rules.knows(seen.at))
            };
            if shard.rows.insert((ns, row), *device).is_some_and(|old| old != *device && hears(old)) {
                self.seen.hit(S::RowReused);
            }
        }
    }

    /// Takes what the sink got; where a partition has nothing left to do, its matches must be what
    /// the rules say.
    pub(super) fn collect(&mut self, nth: usize) {
        use crate::domain::Cause;
        for (ns, found) in self.server.sink.take() {
            let found = plain(&found);
            match found.cause {
                Cause::Enter => self.seen.hit(S::Enter),
                Cause::Escalation => self.seen.hit(S::Escalation),
                Cause::Sighting if self.reports.extended(found.alert, found.at) => {
                    self.seen.hit(S::ReportMatches);
                }
                _ => {}
            }
            self.trace.note("match", &[ns as i64, i64::from(found.alert), found.device as i64, found.at]);
            let of = self.server.partition(found.device);
            if of != nth {
                self.wrong(format!("partition {nth} speaks of a device of {of}: {found:?}"));
            }
            self.server.shards[nth].found[ns].push(found);
            let pushed = self.history[ns].push(found);
            self.expect(pushed.map_err(|why| format!("namespace {ns}: {why}")));
        }
        let shard = &mut self.server.shards[nth];
        if shard.driver.has_work() {
            return;
        }
        let mut results = Vec::new();
        for (ns, (found, rules)) in shard.found.iter_mut().zip(&mut shard.rules).enumerate() {
            let clock = shard.driver.state_of(NamespaceIx(ns as u16)).map(|(at, _)| at.0);
            if clock != Some(rules.clock) {
                results.push((Err(format!("its clock is {clock:?}, {} by the rules", rules.clock)), false));
            }
            if !found.is_empty() || !rules.found.is_empty() {
                let told = rules.found.iter().any(|one| {
                    matches!(one.cause, Cause::Update | Cause::Cancel)
                        && rules.devices.get(&one.device).is_none_or(|seen| !rules.knows(seen.at))
                });
                let result = same(found, &mut rules.found);
                results.push((result.map_err(|why| format!("partition {nth}, namespace {ns}: {why}")), told));
                found.clear();
                rules.found.clear();
            }
        }
        for (result, told) in results {
            self.expect(result);
            if told {
                self.seen.hit(S::ForgottenTold);
            }
        }
    }
}

/// A batch for a partition, in the bytes of its frame.
fn as_it_came(base: EventTime, rows: &[PingRow], partition: u16, of: u16) -> PingBatch {
    let head = BatchHead {
        number: 0.into(),
        base_ms: base.0.into(),
        count: (rows.len() as u32).into(),
        partition: partition.into(),
        partitions: of.into(),
    };
    let content = [head.as_bytes(), rows.as_bytes()].concat();
    PingBatch::read(Encoding::Rows, &content.into()).unwrap()
}

/// Which partner has this name.
pub(super) fn partner_no(name: &str) -> usize {
    name.strip_prefix("partner-").and_then(|nth| nth.parse().ok()).unwrap_or_default()
}
