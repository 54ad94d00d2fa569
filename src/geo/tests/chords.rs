//! Chords to the positions of a cell, and what is decided by them.

use std::collections::BTreeMap;

use super::cells::hard_cells;
use super::*;
use crate::geo::geodesic::chord2;

/// A position of the cell, from its centre and its bound.
fn inside(dice: &mut Dice, cell: h3o::CellIndex, bound: &CellBound) -> Position {
    loop {
        let p = go(
            bound.centre().position(),
            dice.within(-180.0, 180.0),
            bound.radius_m() * dice.within(0.0, 1.0).sqrt(),
        );
        if cell_of(p) == cell {
            return p;
        }
    }
}

fn some_cells(dice: &mut Dice, n: usize) -> Vec<h3o::CellIndex> {
    let mut cells = hard_cells();
    for _ in 0..n {
        cells.push(cell_of(at(dice.within(-89.0, 89.0), dice.within(-180.0, 180.0))));
    }
    cells
}

#[test]
fn chords_are_as_true_as_they_say() {
    let mut dice = Dice(71);
    let (mut none, mut all) = (0, 0);
    let mut worst: f64 = 0.0;
    for cell in some_cells(&mut dice, 3_000) {
        let bound = CellBound::of(cell);
        let middle = bound.centre().position();
        let centre = match dice.below(4) {
            0 => dice.anywhere(),
            1 => middle,
            _ => go(middle, dice.within(-180.0, 180.0), dice.decades(1.0, 5_000_000.0)),
        };
        let centre = Spot::new(centre);
        all += 1;
        let Some(chord) = CellChord::new(&bound, &centre) else {
            none += 1;
            continue;
        };
        for _ in 0..20 {
            let p = Spot::new(inside(&mut dice, cell, &bound));
            let truth = chord2(centre.ecef(), p.ecef());
            let off = (chord.chord2(p.position().lat_e7(), p.position().lon_e7()) - truth).abs();
            assert!(off <= chord.error_m2(), "{cell} {centre:?} {p:?}: {off} {}", chord.error_m2());
            worst = worst.max(off / chord.error_m2());
        }
    }
    // The bound is not idle: the truth comes near it, and most cells have one.
    println!("no chord: {none} of {all}; worst error is {worst:.3} of its bound");
    assert!(none < all / 5 && worst > 0.05, "{none} of {all}, {worst}");
}

#[test]
fn what_is_decided_is_what_the_area_contains() {
    let mut dice = Dice(72);
    // By the decade of the reach: how often a question was left open.
    let mut asked: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    let classes = [(0, 0), (0, 1_000), (1_001, 10_000), (10_001, 100_000), (0, 100_000)];
    for cell in some_cells(&mut dice, 4_000) {
        let bound = CellBound::of(cell);
        let (low, high) = classes[dice.below(classes.len())];
        let mode = MODES[dice.below(3)];
        let reach_m = dice.decades(1_000.0, 5_000_000.0);
        // A border of about this reach runs through the cell.
        let border = inside(&mut dice, cell, &bound);
        let centre = go(border, dice.within(-180.0, 180.0), reach_m);
        let typical = f64::from(low) + f64::from(high - low) * dice.within(0.0, 1.0);
        let r_m = match mode {
            Uncertainty::Intersects => reach_m - typical,
            Uncertainty::Centre => reach_m,
            Uncertainty::Within => reach_m + typical,
        };
        if r_m < 0.0 {
            continue;
        }
        let area = PreparedArea::circle(centre);
        let reach = Reach { radius: Radius::Metres(r_m), mode };
        let Some(mut decider) = area.decider(reach, &bound, low..=high) else { continue };
        for turn in 0..20 {
            let p = inside(&mut dice, cell, &bound);
            let a = match turn % 4 {
                0 => low,
                1 => high,
                2 => typical as u32,
                _ => low + dice.below((high - low) as usize + 1) as u32,
            };
            // Half of the positions lie close to the border for that accuracy.
            let p = if dice.below(2) == 0 {
                let s = match mode {
                    Uncertainty::Intersects => r_m + f64::from(a),
                    Uncertainty::Centre => r_m,
                    Uncertainty::Within => r_m - f64::from(a),
                };
                let (d, azimuth) = towards(centre, p);
                let near = go(centre, azimuth, s + [-1.0, 1.0][dice.below(2)] * dice.decades(1e-3, 100.0));
                if s > 0.0 && d > 1.0 && cell_of(near) == cell { near } else { p }
            } else {
                let (yes, all) = asked.entry(reach_m.log10() as u32).or_default();
                *all += 1;
                *yes += u32::from(decider.decide(p.lat_e7(), p.lon_e7(), a) == Decision::Ask);
                p
            };
            let truth = area.contains(reach, &Spot::new(p), a);
            match decider.decide(p.lat_e7(), p.lon_e7(), a) {
                Decision::Inside => assert!(truth, "{cell} {centre:?} {p:?} {reach:?} {a}"),
                Decision::Outside => assert!(!truth, "{cell} {centre:?} {p:?} {reach:?} {a}"),
                Decision::Ask => {}
            }
            assert_eq!(decider.decide(p.lat_e7(), p.lon_e7(), high + 1), Decision::Ask);
        }
    }
    for (decade, (yes, all)) in asked {
        println!("reach of 10^{decade} m: {yes} of {all} asked");
        let share = f64::from(yes) / f64::from(all);
        assert!(share < if decade < 6 { 0.005 } else { 0.2 }, "10^{decade} m: {share}");
    }
}

fn towards(from: Position, to: Position) -> (f64, f64) {
    let (s, azimuth, _, _): (f64, f64, f64, f64) =
        Geodesic::wgs84().inverse(from.lat_deg(), from.lon_deg(), to.lat_deg(), to.lon_deg());
    (s, azimuth)
}

#[test]
fn only_a_single_circle_and_a_usual_cell_have_a_decider() {
    let reach = Reach { radius: Radius::Metres(50_000.0), mode: Uncertainty::Intersects };
    let circle = |lat, lon| Shape::Circle { centre: at(lat, lon), radius_km: None };
    let bound = CellBound::of(cell_of(at(31.0, 121.0)));
    let one = PreparedArea::new(&Area { shapes: vec![circle(31.0, 121.5)] }).unwrap();
    assert!(one.decider(reach, &bound, 0..=1_000).is_some());
    let two = PreparedArea::new(&Area { shapes: vec![circle(31.0, 121.5), circle(32.0, 121.5)] }).unwrap();
    assert!(two.decider(reach, &bound, 0..=1_000).is_none());
    let square = ring(&[[121.0, 31.0], [122.0, 31.0], [122.0, 32.0]]);
    let polygon = PreparedArea::new(&polygon(vec![square])).unwrap();
    assert!(polygon.decider(reach, &bound, 0..=1_000).is_none());
    for odd in [at(90.0, 0.0), at(10.0, 180.0)] {
        assert!(one.decider(reach, &CellBound::of(cell_of(odd)), 0..=1_000).is_none());
    }
}
