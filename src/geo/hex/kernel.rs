//! The keys of a chunk of positions: plain loops over arrays, which the compiler turns into
//! the vector instructions of the function that they are inlined into.

use super::faces::{AXES, EDGE, Faces};
use super::{EPSILON, HexKey, OFFSET};

/// Radians in 1e-7 degree.
const RAD: f64 = std::f64::consts::PI / 1_800_000_000.0;
/// Adding it to a number below 2^51 in size rounds that to a whole number, which is then in the
/// low bits of the sum.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
/// The largest latitude, 1e-7 degree.
const LAT_MAX: i32 = 900_000_000;
/// The largest longitude, 1e-7 degree.
const LON_MAX: i32 = 1_800_000_000;

/// `1 / n!` with the sign of the series, from the highest term to the second.
const SIN: [f64; 8] = [
    1.0 / 355_687_428_096_000.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 39_916_800.0,
    1.0 / 362_880.0,
    -1.0 / 5_040.0,
    1.0 / 120.0,
    -1.0 / 6.0,
];
const COS: [f64; 9] = [
    -1.0 / 6_402_373_705_728_000.0,
    1.0 / 20_922_789_888_000.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 479_001_600.0,
    -1.0 / 3_628_800.0,
    1.0 / 40_320.0,
    -1.0 / 720.0,
    1.0 / 24.0,
    -1.0 / 2.0,
];

/// `a * b + c`, rounded once where the path has an instruction for it.
#[inline(always)]
fn mad<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn mad32<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// One instruction, where `f64::max` takes three for numbers that are none.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Sine and cosine of an angle in [-π/2, π/2].
#[inline(always)]
fn sin_cos<const FMA: bool>(x: f64) -> (f64, f64) {
    let z = x * x;
    let mut s = SIN[0];
    for c in &SIN[1..] {
        s = mad::<FMA>(s, z, *c);
    }
    let mut c = COS[0];
    for k in &COS[1..] {
        c = mad::<FMA>(c, z, *k);
    }
    (mad::<FMA>(s * z, x, x), mad::<FMA>(c, z, 1.0))
}

/// Rounds down, give or take the last bit at whole numbers.
#[inline(always)]
fn floor(x: f64) -> f64 {
    (x - 0.5 + ROUND) - ROUND
}

#[inline(always)]
pub(super) fn chunk<const FMA: bool, const N: usize>(
    faces: &Faces,
    lat_e7: &[i32; N],
    lon_e7: &[i32; N],
) -> [u32; N] {
    let (mut x, mut y, mut z) = ([0.0; N], [0.0; N], [0.0; N]);
    for l in 0..N {
        let (sin_lat, cos_lat) = sin_cos::<FMA>(f64::from(lat_e7[l]) * RAD);
        let (sin_half, cos_half) = sin_cos::<FMA>(f64::from(lon_e7[l]) * (RAD / 2.0));
        let double = 2.0 * sin_half;
        x[l] = mad::<FMA>(-double, sin_half, 1.0) * cos_lat;
        y[l] = double * cos_half * cos_lat;
        z[l] = sin_lat;
    }

    let face = nearest_faces::<FMA, N>(faces, &x, &y, &z);

    let projected = project::<FMA, N>(faces, &face, &x, &y, &z);

    let mut keys = [0; N];
    for l in 0..N {
        let [p, r, c] = [projected[0][l], projected[1][l], projected[2][l]];
        let inverse = 1.0 / c;
        let (p, r) = (p * inverse, r * inverse);

        // The hexagon: floors of the three coordinates say in which triangle of the grid the
        // point is, thirds of their sums put six triangles together.
        let (fp, fq, fr) = (floor(p), floor(p + r), floor(r));
        let i_bits = mad::<FMA>(fp + fq, 1.0 / 3.0, 1.0 / 3.0) + ROUND;
        let j_bits = mad::<FMA>(fq + fr, 1.0 / 3.0, 1.0 / 3.0) + ROUND;
        let (i, j) = (i_bits - ROUND, j_bits - ROUND);

        // Whether it is: none of the three is more than half a spacing from the centre's.
        let dp = p - (i + i - j);
        let dr = r - (j + j - i);
        let off_centre = larger(larger(dp.abs(), dr.abs()), (dp + dr).abs());
        // And whether the face is: the point is on the inner side of all three edges.
        let [[ap, ar], [bp, br]] = faces.edges;
        let a = mad::<FMA>(ap, p, ar * r);
        let b = mad::<FMA>(bp, p, br * r);
        let off_face = larger(larger(a, b), -a - b);

        let sure = (off_centre < 1.0 - 2.0 * EPSILON) & (off_face < EDGE - EPSILON);
        let i = (i_bits.to_bits() as u32).wrapping_add(OFFSET as u32);
        let j = (j_bits.to_bits() as u32).wrapping_add(OFFSET as u32);
        let key = (face[l] << 20).wrapping_add(i << 10).wrapping_add(j);
        keys[l] = if sure { key } else { HexKey::NONE.0 };
    }
    for l in 0..N {
        let real =
            (lat_e7[l].unsigned_abs() <= LAT_MAX as u32) & (lon_e7[l].unsigned_abs() <= LON_MAX as u32);
        keys[l] = if real { keys[l] } else { HexKey::NONE.0 };
    }
    keys
}

/// The faces whose centres are nearest, up to the accuracy of f32 and then of four bits less: the
/// lowest bits of each product's size give way to the face's number.
#[inline(always)]
fn nearest_faces<const FMA: bool, const N: usize>(
    faces: &Faces,
    x: &[f64; N],
    y: &[f64; N],
    z: &[f64; N],
) -> [u32; N] {
    let [ax, ay, az] = &faces.axes;
    let mut nearest = [0; N];
    for l in 0..N {
        let (x, y, z) = (x[l] as f32, y[l] as f32, z[l] as f32);
        let mut best = 0;
        for k in 0..AXES {
            let d = mad32::<FMA>(ax[k], x, mad32::<FMA>(ay[k], y, az[k] * z));
            // Sizes of floats are in the order of their bits; turned, the sign is the lowest bit.
            let candidate = (d.to_bits().rotate_left(1) & !30) | ((k as u32) << 1);
            best = if candidate > best { candidate } else { best };
        }
        nearest[l] = best & 31;
    }
    nearest
}

/// The positions' dot products with the vectors `p` and `r` and the centres of their faces.
#[inline(always)]
fn project<const FMA: bool, const N: usize>(
    faces: &Faces,
    face: &[u32; N],
    x: &[f64; N],
    y: &[f64; N],
    z: &[f64; N],
) -> [[f64; N]; 3] {
    let mut out = [[0.0; N]; 3];
    let row = |l: usize| &faces.rows[face[l] as usize & 31];
    #[cfg(target_arch = "x86_64")]
    if FMA {
        // Left to itself, the compiler would gather the vectors of many positions at once, which
        // takes longer; and what is stored in small pieces is slow to load in large ones.
        use std::arch::x86_64::{
            __m256d, _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_mul_pd, _mm256_permute2f128_pd, _mm256_set1_pd,
            _mm256_storeu_pd, _mm256_unpackhi_pd, _mm256_unpacklo_pd,
        };
        const { assert!(N.is_multiple_of(4)) }
        for l in (0..N).step_by(4) {
            // SAFETY: FMA is chosen only on machines with AVX2 and FMA; what is read and written is
            // four f64 of a row, and of the arrays from `l` on, which is at most `N - 4`.
            unsafe {
                let weigh = |l: usize| -> __m256d {
                    let [rx, ry, rz] = row(l);
                    let sum = _mm256_mul_pd(_mm256_loadu_pd(rz.as_ptr()), _mm256_set1_pd(z[l]));
                    let sum = _mm256_fmadd_pd(_mm256_loadu_pd(ry.as_ptr()), _mm256_set1_pd(y[l]), sum);
                    _mm256_fmadd_pd(_mm256_loadu_pd(rx.as_ptr()), _mm256_set1_pd(x[l]), sum)
                };
                let (t0, t1, t2, t3) = (weigh(l), weigh(l + 1), weigh(l + 2), weigh(l + 3));
                let (pc01, pc23) = (_mm256_unpacklo_pd(t0, t1), _mm256_unpacklo_pd(t2, t3));
                let (r01, r23) = (_mm256_unpackhi_pd(t0, t1), _mm256_unpackhi_pd(t2, t3));
                let [p, r, c] = &mut out;
                _mm256_storeu_pd(p[l..l + 4].as_mut_ptr(), _mm256_permute2f128_pd(pc01, pc23, 0x20));
                _mm256_storeu_pd(r[l..l + 4].as_mut_ptr(), _mm256_permute2f128_pd(r01, r23, 0x20));
                _mm256_storeu_pd(c[l..l + 4].as_mut_ptr(), _mm256_permute2f128_pd(pc01, pc23, 0x31));
            }
        }
        return out;
    }
    for l in 0..N {
        let [rx, ry, rz] = row(l);
        for (m, out) in out.iter_mut().enumerate() {
            out[l] = mad::<FMA>(rx[m], x[l], mad::<FMA>(ry[m], y[l], rz[m] * z[l]));
        }
    }
    out
}
