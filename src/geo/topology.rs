//! Whether rings make a polygon: none crosses or runs along itself or another, and holes lie
//! in the outer ring and not in each other. Exact.
//!
//! Two edges that meet do so in their interiors, crossing properly, or at a corner of one of
//! them. At a corner, each way through the point (a corner's two edges, or an edge that passes)
//! is a pair of directions; two ways cross when one's directions are separated by the other's,
//! and run along each other when they share a direction; else they touch, which is allowed.

use super::error::AreaError;
use super::ring::{GridEdge, Ring, Side, Step, TURN, cross, side};

/// An edge with its ring and the edge before it.
struct Place<'a> {
    ring: usize,
    edge: &'a GridEdge,
    before: &'a GridEdge,
}

/// Checks the rings of a polygon, the outer one first.
pub(super) fn check(rings: &[Ring], shape: usize) -> Result<(), AreaError> {
    let places: Vec<Place<'_>> = rings
        .iter()
        .enumerate()
        .flat_map(|(ring, r)| {
            let before = r.edges.iter().cycle().skip(r.edges.len().saturating_sub(1));
            r.edges.iter().zip(before).map(move |(edge, before)| Place { ring, edge, before })
        })
        .collect();
    for (i, a) in places.iter().enumerate() {
        let (back, on) = ways_at_start(a);
        if same_direction(back, on) {
            return Err(meeting(shape, a, a, true));
        }
        for b in &places[..i] {
            check_pair(a, b, shape)?;
        }
    }
    check_holes(rings, shape)
}

fn meeting(shape: usize, a: &Place<'_>, b: &Place<'_>, along: bool) -> AreaError {
    let (ring, corner, other_ring, other_corner) = (a.ring, a.edge.corner, b.ring, b.edge.corner);
    if along {
        AreaError::RunsAlong { shape, ring, corner, other_ring, other_corner }
    } else {
        AreaError::Crosses { shape, ring, corner, other_ring, other_corner }
    }
}

/// The two directions from the start of an edge along its ring: back and on.
fn ways_at_start(place: &Place<'_>) -> (Step, Step) {
    let (lon, lat) = place.before.step();
    ((-lon, -lat), place.edge.step())
}

fn check_pair(a: &Place<'_>, b: &Place<'_>, shape: usize) -> Result<(), AreaError> {
    let (a_south, a_north) = a.edge.lat_range();
    let (b_south, b_north) = b.edge.lat_range();
    if a_south > b_north || b_south > a_north {
        return Ok(());
    }
    let (a_west, a_east) = a.edge.lon_range();
    let (b_west, b_east) = b.edge.lon_range();
    for shift in [-TURN, 0, TURN] {
        if a_west > b_east + shift || b_west + shift > a_east {
            continue;
        }
        // Where b's ends lie as seen from a's line, and the other way round.
        let at = |i: usize| (b.edge.lon[i] + shift, b.edge.lat[i]);
        let from = |i: usize, j: usize| (at(j).0 - a.edge.lon[i], at(j).1 - a.edge.lat[i]);
        let b_start = cross(a.edge.step(), from(0, 0)).signum();
        let b_end = cross(a.edge.step(), from(0, 1)).signum();
        let a_start = cross(from(0, 0), b.edge.step()).signum();
        let a_end = cross(from(1, 0), b.edge.step()).signum();
        if b_start * b_end < 0 && a_start * a_end < 0 {
            return Err(meeting(shape, a, b, false));
        }
        // Each corner is the start of one edge, so starts are enough.
        let back = |step: Step| (-step.0, -step.1);
        if from(0, 0) == (0, 0) {
            compare(ways_at_start(a), ways_at_start(b), shape, a, b)?;
        } else if b_start == 0 && within(a.edge, at(0)) {
            // b's start is strictly inside a.
            compare((back(from(0, 0)), back(from(1, 0))), ways_at_start(b), shape, b, a)?;
        } else if a_start == 0 && within_shifted(b.edge, (a.edge.lon[0], a.edge.lat[0]), shift) {
            // a's start is strictly inside b.
            compare(ways_at_start(a), (from(0, 0), from(0, 1)), shape, a, b)?;
        }
        // Both starts may lie inside the other edge only if the edges overlap, which either shows.
    }
    Ok(())
}

/// Whether a point of an edge's line lies strictly between the edge's ends.
fn within(edge: &GridEdge, point: Step) -> bool {
    within_shifted(edge, point, 0)
}

fn within_shifted(edge: &GridEdge, (lon, lat): Step, shift: i64) -> bool {
    let lon = lon - shift;
    let ends = [(edge.lon[0], edge.lat[0]), (edge.lon[1], edge.lat[1])];
    let (west, east) = edge.lon_range();
    let (south, north) = edge.lat_range();
    (west..=east).contains(&lon) && (south..=north).contains(&lat) && !ends.contains(&(lon, lat))
}

fn compare(
    a_ways: (Step, Step),
    b_ways: (Step, Step),
    shape: usize,
    a: &Place<'_>,
    b: &Place<'_>,
) -> Result<(), AreaError> {
    let pairs = [(a_ways.0, b_ways.0), (a_ways.0, b_ways.1), (a_ways.1, b_ways.0), (a_ways.1, b_ways.1)];
    if pairs.iter().any(|&(x, y)| same_direction(x, y)) {
        return Err(meeting(shape, a, b, true));
    }
    let left = |way| in_turn(a_ways.0, way, a_ways.1);
    if left(b_ways.0) != left(b_ways.1) {
        return Err(meeting(shape, a, b, false));
    }
    Ok(())
}

fn same_direction(a: Step, b: Step) -> bool {
    let dot = i128::from(a.0) * i128::from(b.0) + i128::from(a.1) * i128::from(b.1);
    cross(a, b) == 0 && dot > 0
}

/// Whether turning left from `from`, `way` comes before `to`; all three differ in direction.
fn in_turn(from: Step, way: Step, to: Step) -> bool {
    // Which half turn to the left of `from` a direction is in: the first holds (0, 180°].
    let half = |v: Step| {
        if cross(from, v) > 0 {
            0
        } else if cross(from, v) == 0 {
            1
        } else {
            2
        }
    };
    match half(way).cmp(&half(to)) {
        std::cmp::Ordering::Equal => cross(way, to) > 0,
        order => order.is_lt(),
    }
}

fn check_holes(rings: &[Ring], shape: usize) -> Result<(), AreaError> {
    let Some((outer, holes)) = rings.split_first() else { return Ok(()) };
    for (i, hole) in holes.iter().enumerate() {
        if !lies_inside(hole, outer) {
            return Err(AreaError::HoleOutside { shape, ring: i + 1 });
        }
    }
    for (i, hole) in holes.iter().enumerate() {
        for (j, other) in holes.iter().enumerate() {
            if i != j && lies_inside(hole, other) {
                return Err(AreaError::HoleInHole { shape, ring: i + 1, other_ring: j + 1 });
            }
        }
    }
    Ok(())
}

/// Whether a ring lies in another, given that they at most touch in points.
fn lies_inside(ring: &Ring, other: &Ring) -> bool {
    let Some(edge) = ring.edges.first() else { return false };
    // An edge touches each edge of the other ring in one point at most, so of one more points
    // than the other has edges, one lies beside them and tells.
    let points = i64::try_from(other.edges.len()).unwrap_or(i64::MAX) + 1;
    (0..points)
        .map(|k| {
            let (lon, lat) = edge.step();
            side(&other.edges, (edge.lon[0] * points + lon * k, edge.lat[0] * points + lat * k), points)
        })
        .find(|&s| s != Side::Edge)
        .is_some_and(|s| s == Side::Inside)
}
