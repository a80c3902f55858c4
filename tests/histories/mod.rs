//! Histories made from bytes, each beside a plain model of what it is about: it panics where the two differ. (`wheel.rs` is for those
//! who see the wheel.)
//!
//! `tests/histories.rs` draws the bytes and makes those that fail shorter; `arch-tests/fuzz` searches for those that lead to new code.

pub mod crowd;
pub mod http;
pub mod lines;
pub mod queues;

/// Bytes that decide what is done; when they are used up, zeros.
pub struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Dice(bytes)
    }

    /// Less than `limit`, and than 256.
    pub fn below(&mut self, limit: usize) -> usize {
        let byte = self.0.split_off_first().copied().unwrap_or(0);
        usize::from(byte) % limit
    }

    pub fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
