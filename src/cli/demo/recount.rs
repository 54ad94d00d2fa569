//! The recount: which matches the story must give, found by looking at every ping of every
//! device. It shares no line with the engine: no cells, no chords, no standing alerts; a sphere
//! where it is safe, else Karney's geodesic.

use geographiclib_rs::{Geodesic, InverseGeodesic as _};
use rayon::prelude::*;

use super::script::{Moment, STAGES, START, Script, What};
use super::world::{INTERVAL_MS, World};
use crate::domain::{Cause, DeviceId, EventTime, Ping, Position};

/// A match by what it says of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) device: DeviceId,
    pub(super) cause: Cause,
    pub(super) part: u8,
    pub(super) stage: u8,
    pub(super) at: EventTime,
}

/// Mean radius of the earth, metres (IUGG).
const SPHERE_M: f64 = 6_371_008.8;
/// The sphere is off by less than 0.6 %; beyond a hundredth it is safe.
const SPHERE_SAFE: f64 = 0.01;

/// A circle that grows in stages.
struct Part {
    lat: f64,
    lon: f64,
    start: EventTime,
    /// `None` until the part exists.
    stage: Option<u8>,
}

impl Part {
    fn contains(&self, geodesic: &Geodesic, place: Position) -> bool {
        let Some((_, radius_km)) = self.stage.and_then(|stage| STAGES.get(usize::from(stage))) else {
            return false;
        };
        let radius_m = radius_km * 1_000.0;
        let (lat, lon) = (place.lat_deg(), place.lon_deg());
        let about_m = sphere_m((self.lat, self.lon), (lat, lon));
        if (about_m - radius_m).abs() > radius_m * SPHERE_SAFE {
            return about_m < radius_m;
        }
        let exact_m: f64 = geodesic.inverse(self.lat, self.lon, lat, lon);
        exact_m <= radius_m
    }

    /// The stage of a time.
    fn stage_at(&self, at: EventTime) -> u8 {
        let begun = STAGES.iter().filter(|(after, _)| self.start.plus_ms(*after) <= at).count();
        begun.saturating_sub(1) as u8
    }
}

/// Distance on a sphere, metres (haversine).
fn sphere_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let half = |x: f64| (x / 2.0).sin().powi(2);
    let h = half(lat_b - lat_a) + lat_a.cos() * lat_b.cos() * half((b.1 - a.1).to_radians());
    2.0 * SPHERE_M * h.sqrt().min(1.0).asin()
}

/// All matches of the story, sorted.
pub(super) fn recount(world: &World, script: &Script) -> Vec<Found> {
    let geodesic = Geodesic::wgs84();
    let moments = script.moments();
    let rounds = (script.end.ms_since(START) + INTERVAL_MS - 1) / INTERVAL_MS;
    let mut found: Vec<Found> = (0..world.devices())
        .into_par_iter()
        .flat_map_iter(|index| {
            let pings = (0..rounds)
                .filter_map(move |round| world.ping(index, round))
                .take_while(|ping| ping.at < script.end);
            of_device(pings, &moments, script, &geodesic)
        })
        .collect();
    found.par_sort_unstable();
    found
}

/// The matches of one device: its pings and the story's moments in one order, pings first.
fn of_device(
    pings: impl Iterator<Item = Ping>,
    moments: &[Moment],
    script: &Script,
    geodesic: &Geodesic,
) -> Vec<Found> {
    let mut pings = pings.peekable();
    let part = |lat, lon, start| Part { lat, lon, start, stage: None };
    let mut parts = [
        part(script.lost_in.lat, script.lost_in.lon, script.lost),
        part(script.seen_in.lat, script.seen_in.lon, script.seen),
    ];
    for part in &mut parts {
        // Held as pings are, in 1e-7 degree.
        part.lat = (part.lat * 1e7).round() / 1e7;
        part.lon = (part.lon * 1e7).round() / 1e7;
    }
    let mut matches: Vec<Found> = Vec::new();
    let mut place = None;
    let mut over = false;
    for moment in moments.iter().copied().map(Some).chain([None]) {
        while let Some(ping) = pings.next_if(|ping| moment.is_none_or(|moment| ping.at <= moment.at)) {
            place = Some((ping.device, ping.position));
            if matches.is_empty() && !over {
                let within = parts.iter().position(|part| part.contains(geodesic, ping.position));
                let at = ping.at;
                matches.extend(within.and_then(|part| found(ping.device, Cause::Enter, &parts, part, at)));
            }
        }
        let Some(Moment { at, what }) = moment else { break };
        match what {
            What::Publish => parts[0].stage = Some(parts[0].stage_at(at)),
            What::Sighting => parts[1].stage = Some(parts[1].stage_at(at)),
            What::Stage { part, stage } => {
                if let Some(part) = parts.get_mut(usize::from(part)) {
                    part.stage = Some(stage);
                }
            }
            What::Cancel => over = true,
        }
        let (cause, part) = match what {
            What::Publish => (Cause::Publish, 0),
            What::Sighting => (Cause::Sighting, 1),
            What::Stage { part, .. } => (Cause::Escalation, usize::from(part)),
            What::Cancel => (Cause::Cancel, 0),
        };
        let Some((device, position)) = place else { continue };
        let told = !matches.is_empty();
        let due = if over { told } else { !told && parts[part].contains(geodesic, position) };
        if due {
            matches.extend(found(device, cause, &parts, part, at));
        }
    }
    matches
}

fn found(device: DeviceId, cause: Cause, parts: &[Part], part: usize, at: EventTime) -> Option<Found> {
    let stage = parts.get(part)?.stage?;
    Some(Found { device, cause, part: part as u8, stage, at })
}
