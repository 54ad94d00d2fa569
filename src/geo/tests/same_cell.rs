//! The same-cell test against h3o.

use std::collections::HashMap;

use h3o::{CellIndex, LatLng};

use super::cells::{cell_at, hard_cells};
use super::*;

/// Positions on and closely around the border of a cell, and in and around it.
fn around(dice: &mut Dice, cell: CellIndex) -> Vec<(i32, i32)> {
    let vector = |p: LatLng| {
        let (lat, lon) = (p.lat_radians(), p.lng_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let corners: Vec<[f64; 3]> = cell.boundary().iter().map(|&p| vector(p)).collect();
    let centre = vector(LatLng::from(cell));
    let mut places = Vec::new();
    let mut place = |v: [f64; 3], dlat: f64, dlon: f64| {
        let lat = v[2].atan2(v[0].hypot(v[1])).to_degrees() + dlat;
        let p = at(lat.clamp(-90.0, 90.0), v[1].atan2(v[0]).to_degrees() + dlon);
        places.push((p.lat_e7(), p.lon_e7()));
    };
    let mix = |a: [f64; 3], b: [f64; 3], t: f64| [0, 1, 2].map(|k| a[k] + (b[k] - a[k]) * t);
    for k in 0..corners.len() {
        let (a, b) = (corners[k], corners[(k + 1) % corners.len()]);
        for _ in 0..12 {
            let on = mix(a, b, dice.within(0.0, 1.0));
            let mut off = || [-1.0, 1.0][dice.below(2)] * dice.decades(1e-8, 1e-3);
            place(on, off(), off());
            place(mix(centre, on, dice.within(0.0, 1.1)), 0.0, 0.0);
        }
        place(a, 0.0, 0.0);
    }
    places
}

fn cell_of_e7((lat, lon): (i32, i32)) -> CellIndex {
    cell_at(Position::from_e7(lat, lon).unwrap(), INDEX_RESOLUTION)
}

#[test]
fn yes_is_never_said_of_a_position_of_another_cell() {
    let mut dice = Dice(91);
    let mut cells = hard_cells();
    cells.extend((0..8_000).map(|_| cell_of(dice.anywhere())));
    let (mut yes, mut all) = (0, 0);
    for cell in cells {
        let test = SameCell::of(cell);
        for p in around(&mut dice, cell) {
            all += 1;
            if test.surely_holds(p.0, p.1) {
                yes += 1;
                assert_eq!(cell_of_e7(p), cell, "{p:?}");
            }
        }
    }
    assert!(yes > all / 6, "{yes} of {all}");
}

#[test]
fn bounds_that_were_drawn_too_far_are_caught_by_such_positions() {
    let mut dice = Dice(92);
    let mut wrong = 0;
    for _ in 0..500 {
        let cell = cell_of(at(dice.within(-5.0, 5.0), dice.within(-180.0, 180.0)));
        // Eight units out: some 8 cm, of which the rounding of bounds takes one or two.
        let Some(test) = SameCell::with_margin(cell, -8.0) else { continue };
        let places = around(&mut dice, cell);
        wrong += places.iter().filter(|&&p| test.surely_holds(p.0, p.1) && cell_of_e7(p) != cell).count();
    }
    assert!(wrong > 20, "{wrong}");
}

#[test]
fn nearly_all_positions_of_ordinary_cells_are_told() {
    let mut dice = Dice(93);
    let mut told: HashMap<i32, (u32, u32)> = HashMap::new();
    for _ in 0..60_000 {
        let p = at(dice.within(-84.0, 84.0), dice.within(-179.0, 179.0));
        let cell = cell_of(p);
        let (yes, all) = told.entry(p.lat_e7().abs() / 100_000_000).or_default();
        *all += 1;
        *yes += u32::from(SameCell::of(cell).surely_holds(p.lat_e7(), p.lon_e7()));
    }
    for (tens, (yes, all)) in told {
        let share = f64::from(yes) / f64::from(all);
        println!("{tens}0 degrees: {share:.4}");
        assert!(share > if tens < 6 { 0.99 } else { 0.9 }, "{tens}0 degrees: {share}");
    }
}

#[test]
fn every_number_is_answered_and_never_knows_none() {
    let ends = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX];
    let mut dice = Dice(94);
    let mut tests = vec![SameCell::NEVER];
    tests.extend((0..200).map(|_| SameCell::of(cell_of(dice.anywhere()))));
    for test in &tests {
        for lat in ends {
            for lon in ends {
                let real = Position::from_e7(lat, lon);
                assert!(!test.surely_holds(lat, lon) || (real.is_ok() && *test != SameCell::NEVER));
            }
        }
    }
    for pole_or_seam in [at(90.0, 0.0), at(-90.0, 0.0), at(20.0, 180.0), at(-50.0, -180.0)] {
        assert_eq!(SameCell::of(cell_of(pole_or_seam)), SameCell::NEVER);
    }
}
