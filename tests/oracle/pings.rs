//! The generator's devices and their pings, placed by what the world's actions will do.
//!
//! Devices stand within centimetres of circles' edges. From the edges of polygons, where the rules
//! allow a metre of error, they keep away by more, except where the answer is exact.

use super::generate::{Generator, HOUR_MS, MINUTE_MS, NOON_MS};
use super::geometry::Pos;
use super::shapes::degrees;
use super::world::{Ping, World};
use super::{Policy, Shape, read_area, read_policy};

/// How far devices stay from the edge of a grown polygon, metres: what the rules leave open, the
/// oracle's own error, and a rest.
const KEPT_OFF_M: f64 = 1.05;

impl Generator {
    /// The devices and their pings, once it is known what will happen.
    pub(super) fn finish(mut self) -> World {
        let polygons = self.polygons();
        let radii_m = self.radii_m();
        let devices: Vec<String> = (0..self.rng.whole(5, 40))
            .map(|n| match self.rng.whole(1, 100) {
                1..=85 => (n * n * 37 % 1_000 + 1_000 * (n % 2) * 1_000_000_000_000).to_string(),
                86..=90 => (u64::MAX - n as u64).to_string(),
                _ => format!("phone-{n}"),
            })
            .collect();
        let mut pings: Vec<Ping> = Vec::new();
        for _ in 0..self.rng.whole(10, 150) {
            let device = self.rng.pick(&devices);
            let before = pings.iter().rev().find(|ping| ping.device == device);
            let at = match (before.map(|ping| ping.at), self.rng.whole(1, 100)) {
                (Some(at), 1..=8) => at,
                (Some(at), 9..=16) => at + self.max_age_ms.unwrap_or(0) + self.rng.whole(-1, 2) * HOUR_MS,
                _ => self.ping_time(),
            };
            let accuracy_m = self.accuracy();
            let pos = self.ping_position(accuracy_m, &polygons);
            let pos = keep_off(pos, accuracy_m.ceil(), &polygons, &radii_m);
            let Some(pos) = pos else { continue };
            let (lat, lon) = degrees(pos, &mut self.rng);
            let mut ping = Ping { device, at, lat, lon, accuracy_m };
            match self.rng.whole(1, 200) {
                1 => ping.lat = self.rng.pick(&[95.0, 90.000_000_01, -91.5]),
                2 => ping.lon = self.rng.pick(&[180.000_000_1, -181.0, 1e9]),
                3..=4 => ping.accuracy_m = self.rng.pick(&[100_001.0, 100_000.5, -1.0, 1e12]),
                _ => {}
            }
            pings.push(ping);
        }
        let until = match self.rng.whole(1, 100) {
            1..=80 => None,
            81..=90 => Some(self.end + self.rng.whole(0, 5) * HOUR_MS),
            _ => Some(self.rng.pick(&self.times)),
        };
        World {
            namespace: self.rng.pick(&["default", "carrier-1"]).into(),
            max_age_ms: self.max_age_ms,
            pings,
            actions: self.actions,
            until,
        }
    }

    /// Every polygon that an action draws, possible ones only.
    fn polygons(&self) -> Vec<Shape> {
        let areas = self.actions.iter().map(|action| &action["alert"]["area"]).filter(|area| !area.is_null());
        let shapes = areas.filter_map(|area| read_area(area).ok()).flat_map(|area| area.to_vec());
        shapes.filter(|shape| matches!(shape, Shape::Polygon(_))).collect()
    }

    /// Every radius that a polygon may grow by, metres.
    fn radii_m(&self) -> Vec<f64> {
        let policies = self.actions.iter().filter_map(|action| read_policy(&action["alert"]["policy"]).ok());
        let stages = policies.flat_map(|policy| match policy {
            Policy::Fixed => vec![0.0],
            Policy::Stages(_, stages) => stages.iter().map(|stage| stage.1 * 1_000.0).collect(),
        });
        let mut radii: Vec<f64> = stages.chain([0.0]).collect();
        radii.sort_by(f64::total_cmp);
        radii.dedup();
        radii
    }

    fn ping_time(&mut self) -> i64 {
        let something = self.rng.pick(&self.times);
        let max_age_ms = self.max_age_ms.unwrap_or(24 * HOUR_MS);
        match self.rng.whole(1, 100) {
            1..=30 => NOON_MS - self.rng.whole(0, 140) * 10 * MINUTE_MS,
            31..=60 => something + self.jitter(25),
            61..=75 => something - max_age_ms + self.jitter(40),
            76..=80 => something - self.rng.whole(0, max_age_ms),
            _ => NOON_MS + self.rng.whole(-60, (self.end - NOON_MS) / MINUTE_MS / 10) * 10 * MINUTE_MS,
        }
    }

    fn accuracy(&mut self) -> f64 {
        match self.rng.whole(1, 100) {
            1..=50 => 0.0,
            51..=85 => self.rng.magnitude(1.0, 5_000.0).floor(),
            86..=93 => self.rng.magnitude(1.0, 100_000.0).floor(),
            94..=97 => (self.rng.magnitude(0.01, 99_999.0) * 100.0).round() / 100.0,
            _ => self.rng.pick(&[100_000.0, 99_999.5, 1.0]),
        }
    }

    fn ping_position(&mut self, accuracy_m: f64, polygons: &[Shape]) -> Pos {
        let any = self.rng.real(-180.0, 180.0);
        let azimuth = self.rng.pick(&[0.0, 90.0, 180.0, -90.0, any, any, any]);
        match self.rng.whole(1, 100) {
            1..=45 if !self.circles.is_empty() => {
                // At an edge, as one of the modes sees it.
                let (centre, radii) = self.rng.pick(&self.circles);
                let (radius_m, sign) = (self.rng.pick(&radii), self.rng.pick(&[1.0, 0.0, -1.0]));
                let off = [0.0, 0.01, 0.02, 0.1, 0.5, 0.9, 5.0, 100.0, 3_000.0];
                let off_m = self.rng.pick(&off) * self.rng.pick(&[-1.0, 1.0]);
                let metres = radius_m + sign * accuracy_m.ceil() + off_m;
                centre.moved(azimuth, metres.abs())
            }
            46..=62 if !polygons.is_empty() => {
                let Shape::Polygon(polygon) = self.rng.pick(polygons) else { unreachable!() };
                let (a, b) = self.rng.pick(&polygon.edges());
                let between = |share: i64, from: i64, to: i64| from + (to - from) * share / 4;
                let share = self.rng.whole(0, 4);
                // On the edge or a unit beside it, or some way off.
                let lat = between(share, a.1, b.1) + self.rng.pick(&[0, 0, -1, 1]);
                let lon = between(share, a.0, b.0) + self.rng.pick(&[0, 0, -1, 1]);
                let edge = Pos::wrapped(lat.clamp(-900_000_000, 900_000_000), lon);
                let km = self.rng.magnitude(0.002, 500.0);
                if self.rng.chance(50) { edge } else { edge.moved(azimuth, km * 1_000.0) }
            }
            63..=75 if !self.circles.is_empty() => {
                let (centre, radii) = self.rng.pick(&self.circles);
                let metres = self.rng.real(0.0, 1.5) * self.rng.pick(&radii);
                centre.moved(azimuth, metres)
            }
            76..=80 => {
                Pos::wrapped(self.rng.whole(-899_999_999, 899_999_999), self.rng.whole(0, 3_599_999_999))
            }
            _ => self.spot(),
        }
    }
}

/// Moves a position until no polygon's edge is so near that the rules leave the answer open.
fn keep_off(start: Pos, accuracy_m: f64, polygons: &[Shape], radii_m: &[f64]) -> Option<Pos> {
    let mut pos = start;
    for _ in 0..12 {
        let is_open = polygons.iter().any(|shape| {
            let Shape::Polygon(polygon) = shape else { unreachable!() };
            let s = polygon.signed_distance_m(pos);
            radii_m.iter().any(|radius_m| {
                // As drawn and without uncertainty the answer is exact.
                let exact = *radius_m == 0.0;
                let near = |edge_m: f64| (s - edge_m).abs() < KEPT_OFF_M;
                (!exact && near(*radius_m))
                    || (accuracy_m > 0.0 && (near(radius_m + accuracy_m) || near(radius_m - accuracy_m)))
            })
        });
        if !is_open {
            return Some(pos);
        }
        let lat = pos.lat + if pos.lat > 0 { -411 } else { 411 };
        pos = Pos::wrapped(lat, pos.lon + 97);
    }
    None
}
