//! A pool of values that never move and are never given back to the system.
//!
//! 1. A value handed out stays at its address for the life of the process, so a `&'static` to it can be kept by
//!    anybody, for ever. Recycling a value is the business of those who agree on what it means (an epoch, a
//!    generation); the memory is always of the same type.
//! 2. An index is handed out at most once between two `free`s.
//!
//! Values come in chunks of [`CHUNK`], found through a directory whose k-th row holds 2^k chunks: an index is two
//! dependent loads away from its value, and growing never moves anything.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Values per chunk. Small, so that a program with ten tasks pays for few.
const CHUNK: usize = 64;
/// Rows of the directory: enough for the 2^26 chunks of 64 values that a `u32` can number.
const ROWS: usize = 27;

type Chunk<T> = OnceLock<&'static [T]>;

/// See the head of this file.
pub(crate) struct Slab<T: 'static> {
    rows: [OnceLock<&'static [Chunk<T>]>; ROWS],
    spare: Mutex<Spare>,
}

struct Spare {
    /// Indices that came back, last in first out.
    free: Vec<u32>,
    /// The first index that was never handed out.
    fresh: u32,
}

impl<T: Default> Slab<T> {
    pub(crate) const fn new() -> Self {
        Slab {
            rows: [const { OnceLock::new() }; ROWS],
            spare: Mutex::new(Spare {
                free: Vec::new(),
                fresh: 0,
            }),
        }
    }

    /// The value behind an index that was once handed out.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &'static T {
        let (row, chunk, offset) = locate(index);
        let row: &'static [Chunk<T>] = self.rows[row].get().expect("an index of this slab");
        &row[chunk].get().expect("an index of this slab")[offset]
    }

    /// One index that nobody else has.
    pub(crate) fn alloc(&self) -> u32 {
        self.take(&mut self.lock())
    }

    /// Appends `count` indices to `into` under one lock.
    pub(crate) fn alloc_many(&self, count: usize, into: &mut Vec<u32>) {
        let mut spare = self.lock();
        for _ in 0..count {
            into.push(self.take(&mut spare));
        }
    }

    /// Takes an index back.
    pub(crate) fn free(&self, index: u32) {
        self.lock().free.push(index);
    }

    /// Takes back all that `indices` yields under one lock.
    pub(crate) fn free_many(&self, indices: impl Iterator<Item = u32>) {
        self.lock().free.extend(indices);
    }

    /// How many indices are handed out.
    #[cfg(multitask_faults)]
    pub(crate) fn in_use(&self) -> usize {
        let spare = self.lock();
        spare.fresh as usize - spare.free.len()
    }

    fn lock(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, spare: &mut Spare) -> u32 {
        spare.free.pop().unwrap_or_else(|| {
            let index = spare.fresh;
            spare.fresh = index.checked_add(1).expect("fewer than 2^32 values");
            if (index as usize).is_multiple_of(CHUNK) {
                self.grow(index);
            }
            index
        })
    }

    /// Makes the chunk that begins with `index`.
    fn grow(&self, index: u32) {
        let (row, chunk, _) = locate(index);
        let row = self.rows[row].get_or_init(|| leak((0..1 << row).map(|_| OnceLock::new())));
        row[chunk].get_or_init(|| leak((0..CHUNK).map(|_| T::default())));
    }
}

fn leak<T>(values: impl Iterator<Item = T>) -> &'static [T] {
    Box::leak(values.collect::<Box<[T]>>())
}

/// Row, chunk within the row, offset within the chunk.
#[inline]
fn locate(index: u32) -> (usize, usize, usize) {
    let chunk = index as usize / CHUNK + 1;
    let row = chunk.ilog2() as usize;
    (row, chunk - (1 << row), index as usize % CHUNK)
}

#[cfg(all(test, loom))]
impl<T: Default> Slab<T> {
    /// Whether `index` was given back; forgets it. For models, whose values do not come from here.
    pub(crate) fn forget(&self, index: u32) -> bool {
        let free = &mut self.lock().free;
        let before = free.len();
        free.retain(|&other| other != index);
        assert!(before - free.len() <= 1, "given back twice");
        before > free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn every_index_names_a_value_of_its_own() {
        static SLAB: Slab<AtomicU32> = Slab::new();
        let mut indices = Vec::new();
        SLAB.alloc_many(10_000, &mut indices);
        assert_eq!(indices.iter().collect::<HashSet<_>>().len(), 10_000);
        for &index in &indices {
            SLAB.get(index).store(index + 1, Ordering::Relaxed);
        }
        for &index in &indices {
            assert_eq!(SLAB.get(index).load(Ordering::Relaxed), index + 1);
        }
    }

    #[test]
    fn a_freed_index_is_handed_out_again_before_a_fresh_one() {
        static SLAB: Slab<AtomicU32> = Slab::new();
        let first = SLAB.alloc();
        let second = SLAB.alloc();
        SLAB.free(first);
        assert_eq!(SLAB.alloc(), first);
        SLAB.free_many([first, second].into_iter());
        assert_eq!(SLAB.alloc(), second);
    }

    #[test]
    fn the_directory_numbers_chunks_without_a_gap() {
        let mut seen = HashSet::new();
        for chunk in 0..5_000u32 {
            let (row, column, offset) = locate(chunk * CHUNK as u32);
            assert!(column < 1 << row);
            assert_eq!(offset, 0);
            assert!(seen.insert((row, column)));
        }
        let (row, ..) = locate(u32::MAX);
        assert!(row < ROWS);
    }
}
