//! Cells: bounds and classes against positions.

use h3o::{CellIndex, LatLng, Resolution};

use super::*;

pub(super) fn cell_at(p: Position, resolution: Resolution) -> CellIndex {
    LatLng::new(p.lat_deg(), p.lon_deg()).unwrap().to_cell(resolution)
}

/// Corners, edges and middles of cells, where they are worst: around pentagons, poles, the
/// antimeridian, and the edges of the icosahedron.
pub(super) fn hard_cells() -> Vec<CellIndex> {
    let mut cells: Vec<CellIndex> = CellIndex::base_cells()
        .filter(|c| c.is_pentagon())
        .flat_map(|c| c.center_child(INDEX_RESOLUTION).unwrap().grid_disk::<Vec<_>>(3))
        .collect();
    cells.push(cell_of(at(90.0, 0.0)));
    cells.push(cell_of(at(-90.0, 0.0)));
    cells.extend((-8..=8).map(|i| cell_of(at(f64::from(i) * 10.0, 180.0))));
    let mut dice = Dice(31);
    while cells.len() < 700 {
        let cell = cell_of(dice.anywhere());
        if cell.icosahedron_faces().len() > 1 {
            cells.push(cell);
        }
    }
    cells
}

#[test]
fn no_position_of_a_cell_is_farther_than_its_bound() {
    let mut dice = Dice(32);
    let mut checked = 0;
    for cell in hard_cells() {
        let bound = CellBound::of(cell);
        let boundary: Vec<LatLng> = cell.boundary().iter().copied().collect();
        for vertex in &boundary {
            // Around the vertex itself, and on the way from it to the centre.
            for _ in 0..4 {
                let near = at(vertex.lat(), vertex.lng());
                let p = go(near, dice.within(-180.0, 180.0), dice.decades(0.01, 3_000.0));
                if cell_of(p) == cell {
                    checked += 1;
                    let s = geodesic_m(bound.centre().position(), p);
                    assert!(s <= bound.radius_m(), "{cell} {p:?} {s}");
                }
            }
        }
    }
    assert!(checked > 3_000, "{checked}");
    for _ in 0..60_000 {
        let p = dice.anywhere();
        let bound = CellBound::of(cell_of(p));
        let s = geodesic_m(bound.centre().position(), p);
        assert!(s <= bound.radius_m(), "{p:?} {s}");
    }
}

#[test]
fn bounds_hold_at_every_resolution_and_are_not_wasteful() {
    let mut dice = Dice(33);
    for resolution in [0, 1, 2, 3, 4, 6, 8].map(|r| Resolution::try_from(r).unwrap()) {
        for _ in 0..4_000 {
            let p = dice.anywhere();
            let cell = cell_at(p, resolution);
            let bound = CellBound::of(cell);
            let s = geodesic_m(bound.centre().position(), p);
            assert!(s <= bound.radius_m(), "{resolution} {p:?} {s}");
            // A hexagon's area is 2.6 of its radius squared; distortion makes it less round.
            let round = (cell.area_m2() / 2.6).sqrt();
            assert!(bound.radius_m() < round * 1.5 + 2.0, "{resolution} {p:?}");
        }
    }
}

fn random_area(dice: &mut Dice, place: Position, size_m: f64) -> Option<PreparedArea> {
    let shapes = (0..1 + dice.below(2))
        .map(|_| {
            let off = size_m * dice.within(0.0, 1.0);
            let centre = go(place, dice.within(-180.0, 180.0), off);
            if dice.below(2) == 0 {
                return Shape::Circle { centre, radius_km: Some(size_m / 1000.0) };
            }
            let n = 3 + dice.below(12);
            let corners = (0..n)
                .map(|k| go(centre, 360.0 * k as f64 / n as f64, size_m * dice.within(0.5, 1.0)))
                .collect();
            Shape::Polygon { rings: vec![corners] }
        })
        .collect();
    PreparedArea::new(&Area { shapes }).ok()
}

#[test]
fn cells_never_contradict_their_positions() {
    let mut dice = Dice(34);
    let mut seen = [0; 3];
    let mut cases = 0;
    while cases < 1_500 {
        let place = at(dice.within(-70.0, 70.0), dice.within(-180.0, 180.0));
        let size_m = dice.decades(1_000.0, 1_500_000.0);
        let Some(area) = random_area(&mut dice, place, size_m) else { continue };
        cases += 1;
        let radius =
            if dice.below(3) == 0 { Radius::AsDrawn } else { Radius::Metres(dice.decades(1.0, 1_000_000.0)) };
        let reach = Reach { radius, mode: MODES[dice.below(3)] };
        let range = match dice.below(3) {
            0 => 0..=0,
            1 => 0..=dice.below(100_001) as u32,
            _ => 1_000..=5_000,
        };
        // Cells at random places out to beyond the reach.
        for _ in 0..6 {
            let out = size_m * 2.0 + if let Radius::Metres(r) = radius { r * 1.3 } else { 0.0 };
            let p = go(place, dice.within(-180.0, 180.0), dice.within(0.0, out + 50_000.0));
            let cell = cell_of(p);
            let bound = CellBound::of(cell);
            let class = area.classify(reach, &bound, range.clone());
            seen[class as usize] += 1;
            for k in 0..12 {
                let q = if k == 0 {
                    p
                } else {
                    let s = bound.radius_m() * dice.within(0.0, 1.0).sqrt();
                    go(bound.centre().position(), dice.within(-180.0, 180.0), s)
                };
                if cell_of(q) != cell {
                    continue;
                }
                let a = [
                    *range.start(),
                    *range.end(),
                    range.start() + dice.below((range.end() - range.start() + 1) as usize) as u32,
                ];
                for a in a {
                    let contained = area.contains(reach, &Spot::new(q), a);
                    match class {
                        CellClass::Outside => assert!(!contained, "{area:?} {reach:?} {q:?} {a}"),
                        CellClass::Interior => assert!(contained, "{area:?} {reach:?} {q:?} {a}"),
                        CellClass::Boundary => {}
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|&n| n > 1_000), "{seen:?}");
}

/// A cell that is wholly in or out by more than its own size is known to be.
#[test]
fn only_cells_near_the_edge_are_boundary() {
    let mut dice = Dice(35);
    let square = ring(&[[100.0, 20.0], [110.0, 20.0], [110.0, 30.0], [100.0, 30.0]]);
    let area = PreparedArea::new(&polygon(vec![square.clone()])).unwrap();
    let reference = super::super::polygon::Polygon::new(&[square], 0).unwrap();
    let circle = PreparedArea::circle(at(25.0, 105.0));
    for _ in 0..3_000 {
        let cell = CellBound::of(cell_of(at(dice.within(10.0, 40.0), dice.within(90.0, 120.0))));
        let reach = Reach { radius: Radius::Metres(300_000.0), mode: Uncertainty::Centre };
        for (area, s) in [
            (&area, reference.signed_distance_m(cell.centre())),
            (&circle, geodesic_m(at(25.0, 105.0), cell.centre().position())),
        ] {
            let beyond = s - 300_000.0;
            let expected = if beyond.abs() < cell.radius_m() * 1.11 {
                continue;
            } else if beyond < 0.0 {
                CellClass::Interior
            } else {
                CellClass::Outside
            };
            assert_eq!(area.classify(reach, &cell, 0..=50_000), expected, "{cell:?}");
        }
    }
}
