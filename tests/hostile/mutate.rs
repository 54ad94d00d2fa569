//! Bytes changed as an enemy or a bad line would change them, from a seed.

use crate::rng::Rng;

/// Numbers at the ends of what fields hold, and around bounds.
const EXTREMES: &[u64] = &[
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3fff,
    0x4000,
    0x4001,
    0x7fff,
    0x8000,
    0x8001,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Texts that stand in for numbers and words of text formats.
const TEXTS: &[&str] = &[
    "",
    "0",
    "-0",
    "-1",
    "1e999",
    "-1e-999",
    "NaN",
    "inf",
    "99999999999999999999999",
    "18446744073709551615",
    "9223372036854775808",
    "253402207200999",
    "-62167219200001",
    "9999-12-31T23:59:60Z",
    "2026-02-30T24:00:00+23:59",
    "\"",
    "\"\"",
    "null",
    "[[[[[[[[",
    "{\"\":{\"\":",
    "[{}]",
    "\\u0000",
    "\\ud800",
    "\r\n",
    "\n\n",
    "\u{feff}",
    "\u{2028}",
    ",,,,",
    "90.00000005",
    "-180",
    "180",
    "1d1d",
    "9999999999d",
];

fn at(rng: &mut Rng, len: usize) -> usize {
    rng.whole(0, len as i64) as usize
}

fn range(rng: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let (a, b) = (at(rng, len), at(rng, len));
    // Short ones more often than long ones.
    let end = if rng.chance(70) { (a + 1 + at(rng, 15)).min(len) } else { a.max(b) };
    a.min(end)..end
}

/// Writes a number of 1, 2, 4 or 8 bytes over what stands somewhere.
fn number(rng: &mut Rng, bytes: &mut [u8]) {
    let width = rng.pick(&[1, 2, 4, 8]);
    if bytes.len() < width {
        return;
    }
    // Fields mostly lie at even places near the start.
    let far = bytes.len() - width;
    let start = if rng.chance(60) { far.min(at(rng, 48)) } else { at(rng, far) };
    let field = &mut bytes[start..start + width];
    let mut held = [0; 8];
    held[..width].copy_from_slice(field);
    let value = match rng.whole(0, 3) {
        0 => u64::from_le_bytes(held).wrapping_add(1),
        1 => u64::from_le_bytes(held).wrapping_sub(1),
        _ => rng.pick(EXTREMES),
    };
    field.copy_from_slice(&value.to_le_bytes()[..width]);
}

/// Puts a text in place of a word of letters and digits.
fn word(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let start = at(rng, bytes.len());
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.:_".contains(byte);
    let start = start + bytes[start..].iter().take_while(|byte| !is_word(byte)).count();
    let end = start + bytes[start..].iter().take_while(|byte| is_word(byte)).count();
    bytes.splice(start..end, rng.pick(TEXTS).bytes());
}

/// One to four changes. `other` is another input of the same format.
pub(crate) fn mutate(rng: &mut Rng, bytes: &[u8], other: &[u8], input_max: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.pick(&[1, 1, 1, 2, 3, 4]) {
        let len = bytes.len();
        match rng.whole(0, 9) {
            0 | 1 if len > 0 => {
                let place = at(rng, len - 1);
                bytes[place] ^= 1 << rng.whole(0, 7);
            }
            2 => bytes.truncate(at(rng, len)),
            3 => drop(bytes.drain(range(rng, len))),
            4 => {
                let piece = other[range(rng, other.len())].to_vec();
                bytes.splice(range(rng, len), piece);
            }
            5 => {
                let piece = bytes[range(rng, len)].to_vec();
                let place = at(rng, len);
                bytes.splice(place..place, piece);
            }
            6 => {
                let place = at(rng, len);
                bytes
                    .splice(place..place, (0..rng.whole(1, 9)).map(|_| rng.next() as u8).collect::<Vec<_>>());
            }
            7 => word(rng, &mut bytes),
            _ => number(rng, &mut bytes),
        }
    }
    bytes.truncate(input_max);
    bytes
}
