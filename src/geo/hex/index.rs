//! From a hexagon on a face to h3's index, by digits.
//!
//! Seven hexagons of one resolution make one of the next coarser, a digit each (h3's
//! documentation, "Indexing"): going up five times gives five digits and a hexagon of
//! resolution 0. Which base cell that is, and by how many sixths of a turn the digits are to be
//! rotated into that cell's own orientation, depends on the face, on that hexagon, and (for
//! pentagons, which lack a sixth) on the first digit that is not 0; on nothing else.
//! These are learnt from h3o, each when it is met first: what is learnt is the same whenever
//! and wherever that happens.

use std::sync::atomic::{AtomicU16, Ordering};

use h3o::{CellIndex, LatLng, Resolution};

use super::faces::{AXES, FACES, sample_points};
use crate::geo::cell::INDEX_RESOLUTION;

/// Resolutions below resolution 0.
const LEVELS: usize = INDEX_RESOLUTION as usize;
/// Hexagons of resolution 0 on a face have coordinates 0 to 2 along each of three axes; with
/// each of seven leading digits.
const PER_FACE: usize = 27 * 7;
/// Set in what is known.
const KNOWN: u16 = 1 << 15;

/// Base cell and rotation, by face, hexagon of resolution 0 and leading digit.
static LEARNT: [AtomicU16; 2 * AXES * PER_FACE] = [const { AtomicU16::new(0) }; 2 * AXES * PER_FACE];

/// Digits counter-clockwise, from the i-axis on.
const AROUND: [u8; 6] = [4, 6, 2, 3, 1, 5];

/// A digit from a step along `i` and `j`; h3 writes it as three bits, for `i`, `j` and `k`.
fn digit(i: i32, j: i32) -> u8 {
    let k = i.min(j).min(0);
    (((i - k) << 2) | ((j - k) << 1) | -k) as u8
}

fn rotate(digit: u8, sixths: usize) -> u8 {
    match AROUND.iter().position(|&d| d == digit) {
        Some(at) => AROUND[(at + sixths) % 6],
        None => digit,
    }
}

/// The nearest whole number to a seventh of another.
fn seventh(n: i32) -> i32 {
    (n + 3).div_euclid(7)
}

/// The digits of a hexagon, coarsest first, and the hexagon of resolution 0.
fn digits(mut i: i32, mut j: i32) -> ([u8; LEVELS], (i32, i32)) {
    let mut digits = [0; LEVELS];
    for level in (0..LEVELS).rev() {
        // Odd resolutions (class III) are turned against the next coarser one, even ones back.
        let (up, down) = if level % 2 == 0 {
            let (a, b) = (seventh(3 * i - j), seventh(i + 2 * j));
            ((a, b), (2 * a + b, 3 * b - a))
        } else {
            let (a, b) = (seventh(2 * i + j), seventh(3 * j - i));
            ((a, b), (3 * a - b, a + 2 * b))
        };
        digits[level] = digit(i - down.0, j - down.1);
        (i, j) = up;
    }
    (digits, (i, j))
}

/// The cell of a hexagon of the index's resolution that cuts the triangle of a face.
pub(super) fn cell(face: usize, i: i32, j: i32) -> Option<CellIndex> {
    let (digits, (bi, bj)) = digits(i, j);
    let k = bi.min(bj).min(0);
    let base = usize::try_from(9 * (bi - k) + 3 * (bj - k) - k).ok().filter(|base| *base < 27)?;
    let leading = digits.iter().copied().find(|d| *d != 0).unwrap_or(0);
    let entry = LEARNT.get(face * PER_FACE + base * 7 + usize::from(leading))?;
    let mut known = entry.load(Ordering::Relaxed);
    if known == 0 {
        let cell = ask(face, i, j)?;
        let own = (1..=LEVELS as u8)
            .filter_map(|r| Resolution::try_from(r).ok())
            .filter_map(|r| cell.direction_at(r))
            .map(u8::from)
            .find(|d| *d != 0)
            .unwrap_or(0);
        let sixths = (0..6).find(|&sixths| rotate(leading, sixths) == own)?;
        known = KNOWN | u16::from(u8::from(cell.base_cell())) << 3 | sixths as u16;
        entry.store(known, Ordering::Relaxed);
    }
    let sixths = usize::from(known & 7);
    let base_cell = u64::from((known & !KNOWN) >> 3);
    // Mode 1, resolution, base cell, 15 digits of which those below the resolution are 7 (h3's
    // documentation, "Bit layout of H3Index for cells").
    let mut bits = 1 << 59 | (LEVELS as u64) << 52 | base_cell << 45 | ((1 << 45) - 1);
    for (level, d) in digits.into_iter().enumerate() {
        let shift = 42 - 3 * level;
        bits = bits & !(7 << shift) | u64::from(rotate(d, sixths)) << shift;
    }
    CellIndex::try_from(bits).ok()
}

/// What h3o says of a point of the hexagon that is on the face. (A convex polygon that cuts the
/// face's triangle has its centre, a corner or the middle of a side there; a test goes through
/// all hexagons of the icosahedron.)
pub(super) fn ask(face: usize, i: i32, j: i32) -> Option<CellIndex> {
    let [lat, lon] = sample_points([f64::from(i), f64::from(j)]).find_map(|p| FACES.unproject(face, p))?;
    LatLng::from_radians(lat, lon).ok().map(|point| point.to_cell(INDEX_RESOLUTION))
}
