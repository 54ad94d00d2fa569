//! Whether a position surely lies in a given cell of the index, in integers and a few
//! nanoseconds: most pings come from where the last one came from.
//!
//! A cell's borders are nearly straight in longitude and latitude and nearly parallel in pairs.
//! So a cell is filled, from inside, by three slabs `low <= a·dlat + b·dlon <= high` around its
//! centre, `a` and `b` small integers.
//!
//! **Why it never says yes wrongly.** Let `K` be where the three slabs hold: convex in longitude
//! and latitude, with the centre in it. Suppose a position of `K` is in another cell. The
//! straight line from the centre to it stays in `K` and leaves the cell through one of its
//! border arcs, at a point `e`. Each arc was assigned to one side of one slab, and
//! the bound of that side lies below `a·lat + b·lon` of every point of the arc: so `e` is not
//! in `K`, a contradiction. It does not matter which side an arc is assigned to, nor how `a` and
//! `b` were chosen and rounded; a poor choice only makes `K` smaller or empty.
//!
//! What is below the whole arc: arcs are great circles (straight in h3's gnomonic planes; where
//! they cross an edge of the icosahedron, h3o's boundary has a vertex). Along a great circle in
//! unit speed, `lat'' = -tan lat (lon' cos lat)²` and `lon'' = 2 tan lat lat' lon'`, with
//! `lat'² + (lon' cos lat)² = 1`; so `|lat''| <= tan |lat|`, `|lon''| <= tan |lat| / cos lat`. A
//! curve of length `L` whose second derivative is at most `m` stays within `m L² / 8` of the
//! straight motion between its ends. The largest latitude is that of an end and `L / 2` more.
//!
//! `MARGIN` covers h3o's errors (1e-11 of a cell's size in a position, some 1e-15 radians
//! in a vertex; 0.0002 units together) and the rounding of this arithmetic, thousandfold.
//!
//! Cells that reach within 5° of a pole or 0.1° of the antimeridian have no slabs; longitudes
//! on the other side of it are then simply far away.

use h3o::{CellIndex, LatLng};
use zerocopy::FromBytes;

use crate::domain::Position;

/// What bounds keep from the border besides, 1e-7 degree along either axis.
const MARGIN: f64 = 4.0;
/// The largest coefficient. Directions are true to a 65,000th.
const COEFFICIENT_MAX: f64 = 32_767.0;
/// Bounds are held in units of `1 << SHIFT`.
const SHIFT: u32 = 15;
/// Cells that reach beyond this latitude have no slabs, degrees.
const LAT_MAX: f64 = 85.0;
/// Cells that reach beyond this longitude have no slabs, degrees.
const LON_MAX: f64 = 179.9;
/// Units of 1e-7 degree in one degree.
const UNITS: f64 = 1e7;

/// A test for one cell of the index: see the module's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes)]
#[repr(C)]
pub struct SameCell {
    lat_e7: i32,
    lon_e7: i32,
    slabs: [Slab; 3],
}

const _: () = assert!(size_of::<SameCell>() <= 44);

/// `0 <= ((a·dlat + b·dlon) >> SHIFT) - low <= width`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes)]
#[repr(C)]
struct Slab {
    a: i16,
    b: i16,
    low: i32,
    width: u32,
}

impl SameCell {
    /// The test that knows of no position.
    pub const NEVER: Self = Self { lat_e7: 0, lon_e7: 0, slabs: [Slab { a: 0, b: 0, low: 1, width: 0 }; 3] };

    /// The test for a cell of the index (of another resolution, it holds few positions or none).
    pub fn of(cell: CellIndex) -> Self {
        Self::with_margin(cell, MARGIN).unwrap_or(Self::NEVER)
    }

    /// Whether the position, in 1e-7 degree, is surely one of the cell; `false` says nothing.
    #[inline]
    pub fn surely_holds(&self, lat_e7: i32, lon_e7: i32) -> bool {
        // Differences need 33 bits and sums of products 49.
        let dlat = i64::from(lat_e7) - i64::from(self.lat_e7);
        let dlon = i64::from(lon_e7) - i64::from(self.lon_e7);
        let within = |slab: &Slab| {
            let sum = (i64::from(slab.a) * dlat + i64::from(slab.b) * dlon) >> SHIFT;
            // What lies below wraps around and is larger than every width.
            (sum - i64::from(slab.low)) as u64 <= u64::from(slab.width)
        };
        let [a, b, c] = &self.slabs;
        within(a) & within(b) & within(c)
    }

    /// With bounds that keep `margin` from the border; tests plant a wrong one.
    pub(super) fn with_margin(cell: CellIndex, margin: f64) -> Option<Self> {
        let middle = LatLng::from(cell);
        let centre = Position::from_degrees(middle.lat(), middle.lng()).ok()?;
        let (lat_e7, lon_e7) = (centre.lat_e7(), centre.lon_e7());
        let boundary = cell.boundary();
        if boundary.iter().any(|v| v.lat().abs() > LAT_MAX || v.lng().abs() > LON_MAX) {
            return None;
        }
        let corners: Vec<[f64; 2]> = boundary
            .iter()
            .map(|v| [v.lat() * UNITS - f64::from(lat_e7), v.lng() * UNITS - f64::from(lon_e7)])
            .collect();
        let arcs: Vec<Arc> = (0..corners.len())
            .map(|k| {
                let next = (k + 1) % corners.len();
                Arc::new([boundary[k], boundary[next]], [corners[k], corners[next]])
            })
            .collect();

        // The directions: the longest arcs' normals that are not near one found already.
        let mut by_length: Vec<&Arc> = arcs.iter().collect();
        by_length.sort_by(|x, y| y.length_rad.total_cmp(&x.length_rad));
        let mut slabs = [Slab { a: 0, b: 0, low: 1, width: 0 }; 3];
        let mut found = 0;
        for arc in by_length {
            let [a, b] = arc.direction(&arcs);
            let new =
                slabs[..found].iter().all(|s| alignment([a, b], [s.a, s.b].map(f64::from), lat_e7) < 0.8);
            if new && found < slabs.len() {
                (slabs[found].a, slabs[found].b) = (a as i16, b as i16);
                found += 1;
            }
        }
        if found < slabs.len() {
            return None;
        }

        // What each side must stay below: the lows, then the highs.
        let mut limits = [[f64::NEG_INFINITY, f64::INFINITY]; 3];
        for arc in &arcs {
            let normal = arc.normal();
            let side = |k: usize| alignment_signed(normal, [slabs[k].a, slabs[k].b].map(f64::from), lat_e7);
            let nearest = (0..3).fold(0, |best, k| if side(k).abs() > side(best).abs() { k } else { best });
            let slab = slabs[nearest];
            let [low, high] = &mut limits[nearest];
            let [a, b] = [slab.a, slab.b].map(f64::from);
            let (least, most) = arc.range(a, b);
            let margin = margin * (a.abs() + b.abs());
            if side(nearest) > 0.0 {
                *high = high.min(least - margin);
            } else {
                *low = low.max(most + margin);
            }
        }
        for (slab, [low, high]) in slabs.iter_mut().zip(limits) {
            // `sum >> SHIFT` is at most `high` where `sum < (high + 1) << SHIFT`.
            let unit = f64::from(1u32 << SHIFT);
            let (low, high) = ((low / unit).ceil(), (high / unit).floor() - 1.0);
            // The centre must be inside, with room; everything must fit (NaN and infinities do not).
            let sound = (-2e9..-1.0).contains(&low) && (1.0..2e9).contains(&high);
            if !sound {
                return None;
            }
            (slab.low, slab.width) = (low as i32, (high - low) as u32);
        }
        Some(Self { lat_e7, lon_e7, slabs })
    }
}

/// A great circle between two neighbouring vertices, which are given relative to the centre in
/// 1e-7 degree, `[lat, lon]`.
struct Arc {
    ends: [[f64; 2]; 2],
    length_rad: f64,
    /// How far it may be from straight, 1e-7 degree of latitude and of longitude.
    bulge: [f64; 2],
}

impl Arc {
    fn new([a, b]: [LatLng; 2], ends: [[f64; 2]; 2]) -> Self {
        let length_rad = a.distance_rads(b);
        let lat = a.lat_radians().abs().max(b.lat_radians().abs()) + length_rad / 2.0;
        let off = (lat.tan() * length_rad * length_rad / 8.0).to_degrees() * UNITS;
        Self { ends, length_rad, bulge: [off, off / lat.cos()] }
    }

    /// At right angles to it, away from the centre.
    fn normal(&self) -> [f64; 2] {
        let [a, b] = self.ends;
        let normal = [b[1] - a[1], a[0] - b[0]];
        if normal[0] * a[0] + normal[1] * a[1] < 0.0 { normal.map(|n| -n) } else { normal }
    }

    /// The direction for this arc and the one opposite, if there is one: the middle of their
    /// normals, in whole numbers up to `COEFFICIENT_MAX`.
    fn direction(&self, arcs: &[Self]) -> [f64; 2] {
        let unit = |n: [f64; 2]| n.map(|c| c / n[0].hypot(n[1]));
        let own = unit(self.normal());
        let opposite = arcs
            .iter()
            .map(|arc| unit(arc.normal()))
            .min_by(|x, y| (x[0] * own[0] + x[1] * own[1]).total_cmp(&(y[0] * own[0] + y[1] * own[1])))
            .filter(|n| n[0] * own[0] + n[1] * own[1] < -0.99)
            .unwrap_or(own.map(|c| -c));
        let mean = [own[0] - opposite[0], own[1] - opposite[1]];
        let scale = COEFFICIENT_MAX / mean[0].abs().max(mean[1].abs());
        mean.map(|c| (c * scale).round())
    }

    /// The least and the most that `a·dlat + b·dlon` can be on the arc.
    fn range(&self, a: f64, b: f64) -> (f64, f64) {
        let [x, y] = self.ends.map(|[lat, lon]| a * lat + b * lon);
        let bulge = a.abs() * self.bulge[0] + b.abs() * self.bulge[1];
        (x.min(y) - bulge, x.max(y) + bulge)
    }
}

/// The cosine of the angle between two normals as it is on the ground at a latitude.
fn alignment_signed(x: [f64; 2], y: [f64; 2], lat_e7: i32) -> f64 {
    // A normal's `b` counts degrees of longitude, which are shorter, so it is larger.
    let stretch = (f64::from(lat_e7) / UNITS).to_radians().cos();
    let [x, y] = [x, y].map(|[a, b]| [a, b / stretch]);
    (x[0] * y[0] + x[1] * y[1]) / (x[0].hypot(x[1]) * y[0].hypot(y[1]))
}

fn alignment(x: [f64; 2], y: [f64; 2], lat_e7: i32) -> f64 {
    alignment_signed(x, y, lat_e7).abs()
}
