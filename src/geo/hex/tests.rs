//! All hexagons of the icosahedron. (That keys are h3's cells is tested in `tests/cells.rs`.)

use std::collections::HashSet;

use h3o::LatLng;

use super::faces::FACES;
use super::*;
use crate::geo::INDEX_RESOLUTION;

/// Every hexagon that cuts the triangle of a face; of those that cross its border, points inside.
fn hexagons(face: usize) -> impl Iterator<Item = (HexKey, Vec<[f64; 2]>)> {
    let range = || -303..=303;
    range().flat_map(move |i| range().map(move |j| (i, j))).filter_map(move |(i, j)| {
        let key = HexKey::from_parts(face as u32, i, j);
        let middle = [f64::from(2 * i - j), f64::from(2 * j - i)];
        let moved = |p: f64, r: f64| [middle[0] + p, middle[1] + r];
        // Its corners are in the triangle: no border in sight.
        let inner = [[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1.0, -1.0]]
            .iter()
            .all(|&[p, r]| FACES.inside_by(moved(p, r)) > 0.0);
        if inner {
            return Some((key, Vec::new()));
        }
        let grid = || (-8..=8).map(|s| f64::from(s) / 8.0 * (1.0 - 1e-6));
        let points: Vec<_> = grid()
            .flat_map(|p| grid().map(move |r| (p, r)))
            .filter(|(p, r)| (p + r).abs() < 1.0 - 1e-6)
            .filter_map(|(p, r)| FACES.unproject(face, moved(p, r)))
            .collect();
        (!points.is_empty()).then_some((key, points))
    })
}

#[test]
fn every_hexagon_of_the_icosahedron_is_a_cell_and_every_cell_a_hexagon() {
    let mut cells = HashSet::new();
    let mut keys = 0;
    for face in 0..2 * faces::AXES {
        for (key, points) in hexagons(face) {
            keys += 1;
            let cell = key.cell().unwrap_or_else(|| panic!("{key:?} has no cell"));
            let (i, j) = (((key.0 >> 10) & 0x3ff) as i32 - OFFSET, (key.0 & 0x3ff) as i32 - OFFSET);
            assert_eq!(Some(cell), index::ask(face, i, j), "{key:?}");
            for [lat, lon] in points {
                let truth = LatLng::from_radians(lat, lon).unwrap().to_cell(INDEX_RESOLUTION);
                assert_eq!(cell, truth, "{key:?} {lat} {lon}");
            }
            cells.insert(cell);
        }
    }
    // 2 + 120 * 7^5 cells (h3's documentation, "Tables of cell statistics").
    assert_eq!(cells.len(), 2_016_842);
    assert!(keys > cells.len());
}

#[test]
fn what_is_no_position_has_no_key() {
    let mut out = [HexKey(0); 5];
    let lat = [900_000_001, i32::MIN, i32::MAX, 0, 0];
    let lon = [0, 0, 0, i32::MIN, 1_800_000_001];
    for path in HexPath::ALL {
        hex_keys_by(path, &lat, &lon, &mut out);
        assert_eq!(out, [HexKey::NONE; 5]);
    }
    assert_eq!(HexKey::NONE.cell(), None);
}

#[test]
fn batches_of_any_length_are_done_to_the_end() {
    let lat: Vec<i32> = (0..70).map(|i| i * 12_000_000 - 400_000_000).collect();
    let lon: Vec<i32> = (0..70).map(|i| i * 30_000_000 - 1_400_000_000).collect();
    let mut one_by_one = vec![HexKey::NONE; 70];
    for i in 0..70 {
        hex_keys(&lat[i..=i], &lon[i..=i], &mut one_by_one[i..=i]);
    }
    assert!(one_by_one.iter().all(|key| *key != HexKey::NONE));
    for n in 0..=70 {
        let mut out = vec![HexKey::NONE; 70];
        hex_keys(&lat[..n], &lon, &mut out);
        assert_eq!(out[..n], one_by_one[..n]);
        assert!(out[n..].iter().all(|key| *key == HexKey::NONE));
    }
}
