//! The geometry against slow and obvious truths.

mod cells;
mod chords;
mod circles;
mod edges;
mod polygons;
mod same_cell;

use geographiclib_rs::{DirectGeodesic, Geodesic, InverseGeodesic};

use super::*;
use crate::domain::{Area, Position, Shape, Uncertainty};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to place points.
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Between two positive numbers, each decade as likely as the other.
    pub(super) fn decades(&mut self, low: f64, high: f64) -> f64 {
        self.within(low.ln(), high.ln()).exp()
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Anywhere, the poles, the equator and the antimeridian more often than elsewhere.
    pub(super) fn anywhere(&mut self) -> Position {
        let lat = match self.below(8) {
            0 => 90.0,
            1 => -90.0,
            2 => 0.0,
            3 => self.within(89.9, 90.0),
            4 => self.within(-0.1, 0.1),
            _ => self.within(-1.0, 1.0).asin().to_degrees(),
        };
        let lon = match self.below(4) {
            0 => 180.0,
            1 => self.within(179.9, 180.0),
            _ => self.within(-180.0, 180.0),
        };
        at(lat, lon)
    }
}

pub(super) fn at(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, (lon + 180.0).rem_euclid(360.0) - 180.0).unwrap()
}

/// The position `s_m` metres from another at an azimuth in degrees.
pub(super) fn go(from: Position, azimuth: f64, s_m: f64) -> Position {
    let (lat, lon): (f64, f64) = Geodesic::wgs84().direct(from.lat_deg(), from.lon_deg(), azimuth, s_m);
    at(lat.clamp(-90.0, 90.0), lon)
}

/// Karney's distance to a point in degrees.
pub(super) fn karney(geodesic: &Geodesic, p: Position, lat: f64, lon: f64) -> f64 {
    geodesic.inverse(p.lat_deg(), p.lon_deg(), lat, lon)
}

/// A ring from degrees, `[lon, lat]` as GeoJSON has it.
pub(super) fn ring(corners: &[[f64; 2]]) -> Vec<Position> {
    corners.iter().map(|&[lon, lat]| at(lat, lon)).collect()
}

pub(super) fn polygon(rings: Vec<Vec<Position>>) -> Area {
    Area { shapes: vec![Shape::Polygon { rings }] }
}

pub(super) const MODES: [Uncertainty; 3] =
    [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within];

/// The rule as matching.md writes it.
pub(super) fn rule(mode: Uncertainty, s: f64, a: f64, r: f64) -> bool {
    match mode {
        Uncertainty::Intersects => s - a <= r,
        Uncertainty::Centre => s <= r,
        Uncertainty::Within => s + a <= r,
    }
}

#[test]
fn prepared_areas_can_be_shared() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    shared::<PreparedArea>();
}

#[test]
fn an_area_has_between_one_and_64_shapes() {
    let circle = Shape::Circle { centre: at(0.0, 0.0), radius_km: None };
    assert_eq!(PreparedArea::new(&Area { shapes: vec![] }).unwrap_err(), AreaError::Empty);
    assert!(PreparedArea::new(&Area { shapes: vec![circle.clone(); 64] }).is_ok());
    let error = PreparedArea::new(&Area { shapes: vec![circle; 65] }).unwrap_err();
    assert_eq!(error.to_string(), "the area has 65 shapes: at most 64 are allowed");
}

#[test]
fn fixed_takes_radii_as_drawn() {
    let drawn = |radius_km| Area { shapes: vec![Shape::Circle { centre: at(10.0, 20.0), radius_km }] };
    let area = PreparedArea::new(&drawn(Some(3.0))).unwrap();
    assert_eq!(area.check_drawn(), Ok(()));
    assert_eq!(area.drawn_radius_km(), 3.0);
    let reach = Reach { radius: Radius::AsDrawn, mode: Uncertainty::Centre };
    assert!(area.contains(reach, &Spot::new(go(at(10.0, 20.0), 77.0, 2_999.9)), 0));
    assert!(!area.contains(reach, &Spot::new(go(at(10.0, 20.0), 77.0, 3_000.1)), 0));

    let none = PreparedArea::new(&drawn(None)).unwrap();
    assert_eq!(none.drawn_radius_km(), 0.0);
    assert_eq!(none.check_drawn(), Err(AreaError::RadiusMissing { shape: 0 }));
    for bad in [0.0, -1.0, 5_000.1, f64::NAN, f64::INFINITY] {
        let area = PreparedArea::new(&drawn(Some(bad))).unwrap();
        assert!(matches!(area.check_drawn(), Err(AreaError::Radius { shape: 0, .. })), "{bad}");
    }
    let sighting = PreparedArea::circle(at(10.0, 20.0));
    assert_eq!(sighting.drawn_radius_km(), 10.0);
    assert_eq!(sighting.check_drawn(), Ok(()));
}

#[test]
fn a_union_contains_what_one_shape_contains() {
    let square = ring(&[[10.0, 0.0], [11.0, 0.0], [11.0, 1.0], [10.0, 1.0]]);
    let area = Area {
        shapes: vec![
            Shape::Circle { centre: at(0.0, 0.0), radius_km: Some(5.0) },
            Shape::Polygon { rings: vec![square] },
        ],
    };
    let area = PreparedArea::new(&area).unwrap();
    assert_eq!(area.drawn_radius_km(), 0.0);
    let reach = |mode| Reach { radius: Radius::AsDrawn, mode };
    assert!(area.contains(reach(Uncertainty::Centre), &Spot::new(at(0.04, 0.0)), 0));
    assert!(area.contains(reach(Uncertainty::Within), &Spot::new(at(0.5, 10.5)), 50_000));
    assert!(!area.contains(reach(Uncertainty::Within), &Spot::new(at(0.5, 10.5)), 60_000));
    assert!(!area.contains(reach(Uncertainty::Centre), &Spot::new(at(0.0, 5.0)), 0));
}
