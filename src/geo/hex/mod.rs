//! The index hexagon of a position, for batches, in a few nanoseconds each: what h3o's
//! `to_cell` decides, without its angles.
//!
//! h3 finds a position's icosahedron face (the nearest face centre), projects it onto that
//! face (gnomonic: straight lines are great circles) and takes the hexagon of a plane grid.
//! h3o goes through azimuth, arc and polar coordinates; but the plane coordinates are just
//! ratios of dot products with vectors fixed per face, and a hexagon and its face number are
//! all that `to_cell` turns into an index. So a [`HexKey`] is those.
//!
//! **Why a key is never wrong.** A key is given only where the position lies in that hexagon,
//! and in that face's triangle, by at least `EPSILON` = 2^-24 hexagon spacings (about 1 mm);
//! the choice of the face (in f32, less four bits) and of the hexagon need no proof, since this is checked
//! afterwards. Everything then hangs on how far two computations of the plane coordinates may
//! differ. One spacing is 1/339.4 of a gnomonic unit; a face's corner lies 37.4° from its
//! centre, where `tan` changes by 1.6 for 1, so an angle's error counts at most 540 spacings:
//! - ours: the sines and cosines are cut off Taylor series on [-90°, 90°], with
//!   (π/2)^19 / 19! = 4.4e-14 left of the sine and (π/2)^20 / 20! = 3.5e-15 of the cosine.
//!   Longitude goes through the half angle, which at most doubles that to 1.8e-13. Rounding
//!   stays below 3e-15. The dot products and the division add some 5e-16 of 520, the largest
//!   value. In all below 1.2e-10 spacings.
//! - h3o's: `acos(1 - d/2)` loses 1.1e-16 / sin r of the arc `r` (3e-13 at most where hexagon
//!   borders are: the first is 0.5 spacings from a face's centre, r = 1.5e-3), `d` itself as
//!   much again; azimuth, sines, tangent and the constants some 1e-15 each. In all below
//!   4e-10 spacings, taking an ulp or two for each function of the platform's libm.
//! - which face is nearest, h3o decides by squared distances (error 1e-15, within 1e-12
//!   spacings of the border), and the borders of the triangles follow from the same constants.
//!
//! Together below 1e-9 spacings, a sixtieth of `EPSILON` = 6e-8. So keys do not depend on the
//! machine either: paths may differ in what they leave to h3o, never in a key.
//!
//! What is left to h3o ([`HexKey::NONE`]): about 3 in 10^7 near the borders of hexagons, and
//! what lies within 10 m of a face's border, where single precision may have chosen the other
//! face: about 3 in 10^6 of the earth.

#![expect(unsafe_code, reason = "calls of functions compiled for CPU features that were just detected")]

mod faces;
mod index;
mod kernel;

use h3o::CellIndex;

use self::faces::{FACES, Faces};
use self::kernel::chunk;

/// Inside by less than this is left to h3o; in spacings of hexagons, see the module's head.
const EPSILON: f64 = 1.0 / (1 << 24) as f64;

/// A hexagon of the index's resolution on a face of the icosahedron.
///
/// Equal keys are the same cell. A cell that lies across an edge of the icosahedron has a key
/// for each of its faces.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct HexKey(u32);

/// Half of the range of a coordinate in a key: on a face they reach 300.
const OFFSET: i32 = 512;

impl HexKey {
    /// Too near an edge of a hexagon or of a face, or no position: ask h3o.
    pub const NONE: Self = Self(u32::MAX);

    /// The key as a number below 2^25, or `u32::MAX` for [`Self::NONE`].
    pub fn get(self) -> u32 {
        self.0
    }

    /// The cell of the key; nothing for [`Self::NONE`].
    pub fn cell(self) -> Option<CellIndex> {
        if self == Self::NONE {
            return None;
        }
        let coordinate = |shift: u32| ((self.0 >> shift) & 0x3ff) as i32 - OFFSET;
        index::cell((self.0 >> 20) as usize, coordinate(10), coordinate(0))
    }

    /// The face's number here (not h3's) and the hexagon's coordinates, for tests.
    #[cfg(test)]
    fn from_parts(face: u32, i: i32, j: i32) -> Self {
        Self((face << 20) | (((i + OFFSET) as u32) << 10) | (j + OFFSET) as u32)
    }
}

/// Positions done at once: enough independent work to hide each other's latencies.
const WHOLE: usize = 32;
/// Those that are left, at once: the widest vector.
const REST: usize = 8;

/// How keys are computed; all give the same keys.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum HexPath {
    /// On any machine.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F, DQ and VL.
    Avx512,
}

impl HexPath {
    /// All, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// Whether this machine has it.
    #[inline]
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Scalar => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Scalar;
    }

    /// The fastest that this machine has.
    #[inline]
    pub fn best() -> Self {
        if Self::Avx512.is_here() {
            Self::Avx512
        } else if Self::Avx2.is_here() {
            Self::Avx2
        } else {
            Self::Scalar
        }
    }
}

/// The hexagons of positions in 1e-7 degree, on the fastest path. They are done 32 at
/// once, the rest in eights. What is no position gives [`HexKey::NONE`].
///
/// Of slices of different lengths, the shortest counts.
pub fn hex_keys(lat_e7: &[i32], lon_e7: &[i32], out: &mut [HexKey]) {
    hex_keys_by(HexPath::best(), lat_e7, lon_e7, out);
}

/// [`hex_keys`] on a chosen path; `Scalar` where the machine does not have it.
pub fn hex_keys_by(path: HexPath, lat_e7: &[i32], lon_e7: &[i32], out: &mut [HexKey]) {
    let faces = &*FACES;
    #[cfg(target_arch = "x86_64")]
    match path {
        // SAFETY: the machine was found to have the features.
        HexPath::Avx512 if path.is_here() => return unsafe { keys_avx512(faces, lat_e7, lon_e7, out) },
        // SAFETY: the machine was found to have the features.
        HexPath::Avx2 if path.is_here() => return unsafe { keys_avx2(faces, lat_e7, lon_e7, out) },
        _ => {}
    }
    let _ = path;
    keys::<false>(faces, lat_e7, lon_e7, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
fn keys_avx512(faces: &Faces, lat_e7: &[i32], lon_e7: &[i32], out: &mut [HexKey]) {
    keys::<true>(faces, lat_e7, lon_e7, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn keys_avx2(faces: &Faces, lat_e7: &[i32], lon_e7: &[i32], out: &mut [HexKey]) {
    keys::<true>(faces, lat_e7, lon_e7, out);
}

#[inline(always)]
fn keys<const FMA: bool>(faces: &Faces, lat_e7: &[i32], lon_e7: &[i32], out: &mut [HexKey]) {
    let n = lat_e7.len().min(lon_e7.len()).min(out.len());
    let (lat, lat_rest) = lat_e7[..n].as_chunks::<WHOLE>();
    let (lon, lon_rest) = lon_e7[..n].as_chunks::<WHOLE>();
    let (whole, rest) = out[..n].as_chunks_mut::<WHOLE>();
    for ((lat, lon), out) in lat.iter().zip(lon).zip(whole) {
        *out = chunk::<FMA, WHOLE>(faces, lat, lon).map(HexKey);
    }
    for ((lat, lon), out) in lat_rest.chunks(REST).zip(lon_rest.chunks(REST)).zip(rest.chunks_mut(REST)) {
        let (mut lats, mut lons) = ([0; REST], [0; REST]);
        lats[..lat.len()].copy_from_slice(lat);
        lons[..lon.len()].copy_from_slice(lon);
        let keys = chunk::<FMA, REST>(faces, &lats, &lons).map(HexKey);
        out.copy_from_slice(&keys[..out.len()]);
    }
}

#[cfg(test)]
mod tests;
