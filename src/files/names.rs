//! Device names and the pseudonyms that stand for them.
//!
//! The engine sees 64-bit numbers only. Whoever holds a namespace's key makes them here, and
//! can print a name back while this table still holds it. The key never leaves the table.

use std::collections::HashMap;

use crate::domain::DeviceId;

/// Makes pseudonyms of one namespace, and remembers the names it made them of.
pub struct Pseudonyms {
    key: [u8; 32],
    names: HashMap<DeviceId, Box<str>, foldhash::fast::RandomState>,
    names_max: usize,
}

impl Pseudonyms {
    /// With a namespace's key; remembers at most `names_max` names (0: none), the first ones
    /// seen. `replay` without a PKI uses a key of zeros.
    pub fn new(key: [u8; 32], names_max: usize) -> Self {
        Self { key, names: HashMap::default(), names_max }
    }

    /// The device that a name stands for. Digits alone that fit 64 bits unsigned are the number
    /// itself (so `007` is 7, and is printed as 7); every other string, `+5` and ` 5` too, gives
    /// the first 8 bytes, little endian, of its BLAKE3 hash keyed with the namespace's key.
    pub fn device(&mut self, name: &str) -> DeviceId {
        if !name.is_empty()
            && name.bytes().all(|c| c.is_ascii_digit())
            && let Ok(number) = name.parse()
        {
            return DeviceId(number);
        }
        let hash = blake3::keyed_hash(&self.key, name.as_bytes());
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        let device = DeviceId(u64::from_le_bytes(first));
        if self.names.len() < self.names_max {
            self.names.entry(device).or_insert_with(|| name.into());
        }
        device
    }

    /// The name of a device, where one was seen and is remembered.
    pub fn name(&self, device: DeviceId) -> Option<&str> {
        self.names.get(&device).map(AsRef::as_ref)
    }
}

/// Never shows the key.
impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pseudonyms").field("names", &self.names.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_number_and_all_else_is_hashed() {
        let mut names = Pseudonyms::new([0; 32], 100);
        for (text, number) in [("0", 0), ("42", 42), ("007", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(names.device(text), DeviceId(number));
            assert_eq!(names.name(DeviceId(number)), None);
        }
        for text in ["+5", "-1", " 5", "5 ", "18446744073709551616", "٣", "0x10", "1.0"] {
            let device = names.device(text);
            assert_eq!(names.name(device), Some(text));
        }
    }

    #[test]
    fn the_pseudonym_is_pinned() {
        // A change would give every named device of every partner a new identity. The numbers come
        // from a program of its own, written from the BLAKE3 paper.
        let mut counting = [0; 32];
        (0..).zip(&mut counting).for_each(|(i, byte)| *byte = i);
        let device = |key, name| Pseudonyms::new(key, 0).device(name);
        assert_eq!(device([0; 32], "bus-4836"), DeviceId(14_872_180_470_613_123_980));
        assert_eq!(device(counting, "孩子"), DeviceId(10_863_674_142_926_005_985));
    }

    #[test]
    fn names_beyond_the_bound_are_not_held_and_the_key_is_not_shown() {
        let mut names = Pseudonyms::new([7; 32], 1);
        let (a, b) = (names.device("a"), names.device("b"));
        assert_eq!((names.name(a), names.name(b)), (Some("a"), None));
        assert_eq!(format!("{names:?}"), "Pseudonyms { names: 1, .. }");
    }
}
