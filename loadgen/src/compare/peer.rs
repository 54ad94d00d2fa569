//! Measures a peer that speaks the Redis protocol: the same steps for each, its own words.
//!
//! Commands are pipelined: while the peer works on some, the next are written. Which wire and how many
//! members a command are best for it is tried on the full table before anything counts.

use std::collections::VecDeque;
use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hexcast::domain::{PingRow, Position};

use super::Plan;
use super::check::{Metres, differences};
use super::connection::Connection;
use super::measured::{ALERTS, AlertMeasured, Measured, Meter, RADII_KM, Sent, bytes_per_device, median};
use super::process::Served;
use super::resp::Item;
use super::world::{Known, World};
use crate::machine;

/// Pings that are written at once, about.
const WRITE_PINGS: usize = 2_048;
/// Writes whose answers may be owed while another is written.
const WRITES_AHEAD: usize = 4;

/// A way to reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Unix,
    Tcp,
}

impl Display for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Unix { "Unix socket" } else { "loopback TCP" })
    }
}

/// A running peer and its words.
pub(super) trait Peer {
    /// Its name and version.
    fn name(&self) -> String;
    /// How its server is set.
    fn settings(&self) -> String;
    fn served(&self) -> &Served;
    fn wires(&self) -> &[Wire];
    fn connect(&self, wire: Wire) -> anyhow::Result<Connection>;
    /// How many members a command may be tried.
    fn members(&self) -> &[usize];
    /// Adds a command that takes these positions, or a command for each.
    fn update(&self, rows: &[PingRow], out: &mut Vec<u8>);
    /// Commands that ask who is within a circle: each gives the same, and the fastest counts.
    fn searches(&self, centre: Position, radius_km: f64, devices: u32) -> Vec<(&'static str, Vec<u8>)>;
    /// The device that a name in an answer is.
    fn device(&self, name: &[u8]) -> Option<u64>;
    /// How it measures.
    fn metres(&self) -> Metres;
    /// Lets alerts of these radii stand and listens to them; false where it has no such thing.
    fn stand(&self, centre: Position, radii_km: &[f64]) -> anyhow::Result<bool>;
}

#[derive(Clone, Copy, Debug)]
struct Way {
    wire: Wire,
    members: usize,
}

pub(super) fn measure(
    peer: &dyn Peer,
    world: &mut World,
    known: &[Known],
    plan: &Plan,
) -> anyhow::Result<Measured> {
    measured(peer, world, known, plan).with_context(|| peer.name())
}

fn measured(peer: &dyn Peer, world: &mut World, known: &[Known], plan: &Plan) -> anyhow::Result<Measured> {
    let pid = peer.served().pid();
    let ways = peer.wires().iter().flat_map(|wire| peer.members().iter().map(|members| (*wire, *members)));
    let ways: Vec<Way> = ways.map(|(wire, members)| Way { wire, members }).collect();
    let mut best = *ways.last().context("no way to send")?;
    world.begin();
    let before = machine::rss_bytes(pid);
    send(peer, world, best, Until::Round)?;
    let bytes_per_device = bytes_per_device(before, machine::rss_bytes(pid), world.devices);

    let mut best_rate = 0.0;
    for way in ways {
        let rate = send(peer, world, way, Until::Time(plan.trial()))?.per_second();
        if rate > best_rate {
            (best, best_rate) = (way, rate);
        }
    }
    let sent = send(peer, world, best, Until::Time(plan.time))?;
    send(peer, world, best, Until::Last)?;

    let mut connection = peer.connect(best.wire)?;
    let (mut alerts, mut words) = (Vec::new(), "");
    for radius_km in RADII_KM {
        let mut found = Vec::new();
        let mut all: Vec<(Vec<Duration>, &str)> = Vec::new();
        for (name, search) in peer.searches(world.centre, radius_km, world.devices) {
            found = devices(peer, &mut connection, &search)?;
            let mut took = Vec::new();
            for _ in 0..ALERTS {
                let (asked, mut names) = (Instant::now(), 0);
                connection.send(&search)?;
                connection.answer(|item| names += usize::from(matches!(item, Item::Bulk(_))))?;
                took.push(asked.elapsed());
                ensure!(names == found.len(), "one answer has {names} devices, another {}", found.len());
            }
            all.push((took, name));
        }
        let (took, name) = all.into_iter().min_by_key(|(took, _)| median(took.clone())).unwrap_or_default();
        words = name;
        let matched = found.len();
        let differences = differences(known, world.centre, radius_km * 1e3, found, Some(peer.metres()))
            .with_context(|| format!("the alert of {radius_km} km"))?;
        alerts.push(AlertMeasured::new(radius_km, matched, took, differences));
    }
    let standing = if peer.stand(world.centre, &RADII_KM)? {
        Some(send(peer, world, best, Until::Time(plan.time))?.per_second())
    } else {
        None
    };
    Ok(Measured {
        server: peer.name(),
        settings: format!(
            "{}; {}, {} members a command, {WRITE_PINGS} pings a write, {WRITES_AHEAD} writes ahead; {words}",
            peer.settings(),
            best.wire,
            best.members
        ),
        updates_per_second: sent.per_second(),
        standing_updates_per_second: standing,
        server_busy: sent.server_busy(),
        client_busy: sent.client_busy(),
        bytes_per_device,
        alerts,
    })
}

/// Whom a search finds.
fn devices(peer: &dyn Peer, connection: &mut Connection, search: &[u8]) -> anyhow::Result<Vec<u64>> {
    let (mut found, mut strange) = (Vec::new(), false);
    connection.send(search)?;
    connection.answer(|item| {
        if let Item::Bulk(name) = item {
            match peer.device(name) {
                Some(device) => found.push(device),
                None => strange = true,
            }
        }
    })?;
    ensure!(!strange, "it found something that is no device");
    Ok(found)
}

#[derive(Clone, Copy, Debug)]
enum Until {
    /// Every device has pinged once more.
    Round,
    Time(Duration),
    /// Everybody is where [`World::known`] has them.
    Last,
}

/// Sends pings and waits for all answers.
fn send(peer: &dyn Peer, world: &mut World, way: Way, until: Until) -> anyhow::Result<Sent> {
    let mut pipe =
        Pipe { peer, connection: peer.connect(way.wire)?, way, owed: VecDeque::new(), buffer: Vec::new() };
    let (meter, mut pings) = (Meter::start(peer.served().pid()), 0);
    match until {
        Until::Last => {
            for batch in world.last() {
                pings += pipe.send(&batch.rows)?;
            }
        }
        Until::Round => {
            while pings < u64::from(world.devices) {
                pings += pipe.send(&world.next().rows)?;
            }
        }
        Until::Time(time) => {
            while meter.elapsed() < time {
                pings += pipe.send(&world.next().rows)?;
            }
        }
    }
    pipe.wait(0)?;
    Ok(meter.stop(pings))
}

struct Pipe<'p> {
    peer: &'p dyn Peer,
    connection: Connection,
    way: Way,
    /// Answers to each write.
    owed: VecDeque<u64>,
    buffer: Vec<u8>,
}

impl Pipe<'_> {
    fn send(&mut self, rows: &[PingRow]) -> anyhow::Result<u64> {
        let commands = (WRITE_PINGS / self.way.members).max(1);
        for part in rows.chunks(commands * self.way.members) {
            self.buffer.clear();
            part.chunks(self.way.members).for_each(|rows| self.peer.update(rows, &mut self.buffer));
            self.wait(WRITES_AHEAD)?;
            self.connection.send(&self.buffer)?;
            self.owed.push_back(part.len().div_ceil(self.way.members) as u64);
        }
        Ok(rows.len() as u64)
    }

    /// Waits until so many writes are owed their answers at most.
    fn wait(&mut self, most: usize) -> anyhow::Result<()> {
        while self.owed.len() > most {
            let answers = self.owed.pop_front().unwrap_or_default();
            self.connection.numbers(answers)?;
        }
        Ok(())
    }
}
