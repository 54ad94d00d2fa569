//! The faces of h3's icosahedron as vectors: what a position's dot products with them say.
//!
//! Face centres and the azimuths of the i-axes are h3's own (`faceCenterPoint`,
//! `faceAxesAzRadsCII` of its core library, as h3o 0.11 has them); the rest follows.
//! A face and the opposite one share an axis `k`, so they are numbered `2 k` and `2 k + 1` here.

use std::sync::LazyLock;

use super::EPSILON;

/// Pairs of opposite faces.
pub(super) const AXES: usize = 10;

/// h3's faces 0 to 9, the first of each pair: the centre, and the azimuth (radians) in which the
/// i-axis of class II leaves it.
const FRONT: [([f64; 3], f64); AXES] = [
    ([0.2199307791404606, 0.6583691780274996, 0.7198475378926182], 5.6199582685239395),
    ([-0.2139234834501421, 0.1478171829550703, 0.9656017935214205], 5.7603390817141875),
    ([0.1092625278784797, -0.481195157287321, 0.8697775121287253], 0.78021365439343),
    ([0.7428567301586791, -0.3593941678278028, 0.5648005936517033], 0.4304693639799999),
    ([0.8112534709140969, 0.3448953237639384, 0.472138773641393], 6.130269123335111),
    ([-0.1055498149613921, 0.9794457296411413, 0.1718874610009365], 2.692877706530643),
    ([-0.8075407579970092, 0.1533552485898818, 0.5695261994882688], 2.982963003477244),
    ([-0.2846148069787907, -0.8644080972654206, 0.4144792552473539], 3.532912002790141),
    ([0.7405621473854482, -0.6673299564565524, -0.0789837646326737], 3.494305004259568),
    ([0.8512303986474293, 0.4722343788582681, -0.2289137388687808], 3.0032141694995382),
];
/// The azimuths of the opposite faces, which are h3's 17, 18, 19, 15, 16, 12, 13, 14, 10, 11.
const BACK: [f64; AXES] = [
    3.80481969224544,
    3.6644388790551923,
    2.361378999196363,
    2.711123289609793,
    3.294508837434268,
    0.4487149470591504,
    0.15862965011254937,
    5.891865957979238,
    5.930472956509812,
    0.13837848409025486,
];

/// By how much the axes of resolution 5 (class III) are turned against class II: asin √(3/28).
const TURN_RAD: f64 = 0.3334731722518321;
/// Spacings of hexagons in a gnomonic unit: √7^5 / 0.381966011250105.
const SPACINGS: f64 = 129.641_814_242_164_97 * 2.618_033_988_749_896;
/// From the centre of a face to its edges, in spacings: half of the way to a corner, which is
/// two spacings of resolution 0.
pub(super) const EDGE: f64 = 129.641_814_242_164_97;
const SQRT_3: f64 = 1.732_050_807_568_877_2;

/// What a dot product with each face needs.
#[derive(Debug)]
pub(super) struct Faces {
    /// The centres of the first ten, `x`, `y` and `z` apart.
    pub(super) axes: [[f32; AXES]; 3],
    /// For each face, by `x`, `y`, `z`: the vectors `p`, `r` and the centre. A position `v` has
    /// `p = v·p / v·centre` and `r` alike: its plane coordinates along two of the
    /// three directions in which hexagons have neighbours (0° and 120°; `p + r` is along 60°),
    /// in *half* spacings. (20 are used; 32 spare the bounds check.)
    pub(super) rows: [[[f64; 4]; 3]; 32],
    /// What two of a face's edges are away from the centre in terms of `p` and `r`; the third
    /// is minus their sum.
    pub(super) edges: [[f64; 2]; 2],
}

/// The icosahedron.
pub(super) static FACES: LazyLock<Faces> = LazyLock::new(Faces::new);

impl Faces {
    fn new() -> Self {
        let mut axes = [[0.0; AXES]; 3];
        let mut rows = [[[0.0; 4]; 3]; 32];
        for (k, (centre, azimuth)) in FRONT.iter().enumerate() {
            for (axis, &c) in axes.iter_mut().zip(centre) {
                axis[k] = c as f32;
            }
            rows[2 * k] = face(*centre, *azimuth);
            rows[2 * k + 1] = face(centre.map(|c| -c), BACK[k]);
        }
        // In class II, edges are opposite the corners, which lie on the i-, j- and k-axis.
        let edges = [60f64, 180.0].map(|degrees| {
            let (sin, cos) = (degrees.to_radians() - TURN_RAD).sin_cos();
            [cos / 2.0 + sin / (2.0 * SQRT_3), sin / SQRT_3]
        });
        Self { axes, rows, edges }
    }

    /// By how much a point of the plane is inside the face's triangle, spacings.
    pub(super) fn inside_by(&self, [p, r]: [f64; 2]) -> f64 {
        let [a, b] = self.edges.map(|[ep, er]| ep * p + er * r);
        EDGE - a.max(b).max(-a - b)
    }

    /// Latitude and longitude (radians) of a point of a face's plane, given as `p` and `r`;
    /// nothing where it is not on the face.
    pub(super) fn unproject(&self, face: usize, [p, r]: [f64; 2]) -> Option<[f64; 2]> {
        if self.inside_by([p, r]) < EPSILON {
            return None;
        }
        // p = 2 x and r = √3 y - x, for vectors as for numbers; x and y are SPACINGS long.
        let (x, y) = (p / 2.0, (r + p / 2.0) / SQRT_3);
        let [vx, vy, vz] = self.rows.get(face)?.map(|[p, r, centre, _]| {
            let (ex, ey) = (p / 2.0, (r + p / 2.0) / SQRT_3);
            centre + (x * ex + y * ey) / (SPACINGS * SPACINGS)
        });
        Some([vz.atan2(vx.hypot(vy)), vy.atan2(vx)])
    }
}

/// The vectors of a face, see [`Faces::rows`].
fn face(centre: [f64; 3], azimuth: f64) -> [[f64; 4]; 3] {
    // North and east of the centre, which is no pole.
    let [cx, cy, cz] = centre;
    let across = cx.hypot(cy);
    let north = [-cz * cx / across, -cz * cy / across, across];
    let east = [-cy / across, cx / across, 0.0];
    // The i-axis at that azimuth; counter-clockwise, so against azimuths, is positive.
    let (sin, cos) = (azimuth - TURN_RAD).sin_cos();
    let mut rows = [[0.0; 4]; 3];
    for (row, ((n, e), c)) in rows.iter_mut().zip(north.into_iter().zip(east).zip(centre)) {
        let x = SPACINGS * (cos * n + sin * e);
        let y = SPACINGS * (sin * n - cos * e);
        *row = [2.0 * x, SQRT_3 * y - x, c, 0.0];
    }
    rows
}

/// Points of a hexagon, as `p` and `r`: its centre, corners and middles of its sides, these
/// drawn in by a millionth.
pub(super) fn sample_points([i, j]: [f64; 2]) -> impl Iterator<Item = [f64; 2]> {
    const IN: f64 = 1.0 - 1e-6;
    const POINTS: [[f64; 2]; 13] = [
        [0.0, 0.0],
        [IN, 0.0],
        [0.0, IN],
        [-IN, IN],
        [-IN, 0.0],
        [0.0, -IN],
        [IN, -IN],
        [IN, -IN / 2.0],
        [IN / 2.0, IN / 2.0],
        [-IN / 2.0, IN],
        [-IN, IN / 2.0],
        [-IN / 2.0, -IN / 2.0],
        [IN / 2.0, -IN],
    ];
    POINTS.into_iter().map(move |[p, r]| [2.0 * i - j + p, 2.0 * j - i + r])
}
