//! A list that grows without moving what it holds.
//!
//! Why not a `Vec`: it doubles by copying into memory that was never touched, which stops the
//! pings of a partition with many buckets for tens of milliseconds.
//!
//! Invariant: all chunks but the last are full.

use std::ops::{Index, IndexMut};

use super::memory::prefetch;

/// Elements of a chunk.
const CHUNK: usize = 256;

/// A growable list in chunks. See the module head.
#[derive(Debug)]
pub(super) struct Chunked<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Chunked<T> {
    /// How many elements.
    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Adds an element at the end.
    pub(super) fn push(&mut self, element: T) {
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(element),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(element);
                self.chunks.push(chunk);
            }
        }
    }

    /// Asks for an element's memory. Nothing where it does not exist.
    #[inline]
    pub(super) fn prefetch(&self, at: usize) {
        if let Some(chunk) = self.chunks.get(at / CHUNK) {
            prefetch(chunk, at % CHUNK);
        }
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunked<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are() {
        let mut list = Chunked::default();
        list.push(0_usize);
        let first = &raw const list[0];
        (1..10 * CHUNK + 3).for_each(|n| list.push(n));
        assert_eq!(list.len(), 10 * CHUNK + 3);
        assert!((0..list.len()).all(|n| list[n] == n));
        list[CHUNK] = 7;
        assert_eq!((list[CHUNK], &raw const list[0]), (7, first));
        list.prefetch(usize::MAX);
    }
}
