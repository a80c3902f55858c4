//! A history of a wheel, made from bytes, beside the plainest thing that behaves the same: a sorted map.
//!
//! It is a part of the wheel's unit tests, which see what a wheel has inside, and of `arch-tests/fuzz`.

use super::{Key, Wheel};
use std::collections::BTreeMap;

/// Does to a wheel what `bytes` say, and panics where it does not do the same as the map. `look` is shown the wheel after each step,
/// with the number of armed items and the present of the map.
pub(crate) fn run(bytes: &[u8], look: impl Fn(&Wheel<u64>, usize, u64)) {
    let mut history = History {
        dice: Dice(bytes),
        wheel: Wheel::new(),
        model: BTreeMap::new(),
        present: 0,
        armed: 0,
        keys: Vec::new(),
    };
    while !history.dice.0.is_empty() {
        history.step();
        history.compare();
        look(&history.wheel, history.model.len(), history.present);
    }
    while history.pop(u64::MAX) {
        history.compare();
    }
    assert!(history.wheel.is_empty());
}

struct History<'a> {
    dice: Dice<'a>,
    wheel: Wheel<u64>,
    /// Armed items by deadline, then by age.
    model: BTreeMap<Name, Key>,
    present: u64,
    armed: u64,
    /// Every key ever made, with the map's name for it.
    keys: Vec<(Key, Name)>,
}

/// When an item is due, and how many were armed before it.
type Name = (u64, u64);

impl History<'_> {
    fn step(&mut self) {
        match self.dice.below(10) {
            0..=4 => self.arm(),
            5..=6 => self.cancel(),
            7 => self.pop_at_next(),
            _ => self.pop_some(),
        }
    }

    fn arm(&mut self) {
        let deadline = match self.dice.below(8) {
            0 => self.dice.bits(64),
            1 => self.present.saturating_sub(self.dice.magnitude()),
            2 => self.any_key().map_or(0, |(_, name)| name.0),
            3 => self.present | ((1 << self.dice.below(64)) - 1),
            4 => u64::MAX - self.dice.below(3),
            _ => self.present.saturating_add(self.dice.step()),
        };
        let key = self.wheel.arm(deadline, self.armed);
        let name = (deadline.max(self.present), self.armed);
        self.model.insert(name, key);
        self.keys.push((key, name));
        self.armed += 1;
    }

    fn cancel(&mut self) {
        if let Some((key, name)) = self.any_key() {
            let armed = self.model.remove(&name).map(|_| name.1);
            assert_eq!(self.wheel.cancel(key), armed);
        }
    }

    fn pop_at_next(&mut self) {
        if let Some(next) = self.wheel.next() {
            let fired = self.pop(next);
            let closer = self.wheel.next().is_some_and(|later| later > next);
            assert!(fired || closer, "stuck at {next}");
        }
    }

    fn pop_some(&mut self) {
        let now = match self.dice.below(8) {
            0 => self.present.saturating_sub(self.dice.magnitude()),
            _ => self.present.saturating_add(self.dice.step()),
        };
        for _ in 0..=self.dice.below(20) {
            if !self.pop(now) {
                break;
            }
        }
    }

    fn pop(&mut self, now: u64) -> bool {
        let present = now.max(self.present);
        let first = self.model.first_key_value().map(|(name, _)| *name);
        let due = first.filter(|name| name.0 <= present);
        // The wheel gets the raw `now`, which may lie in the past.
        assert_eq!(self.wheel.pop(now), due.map(|name| name.1));
        self.present = due.map_or(present, |name| name.0);
        due.is_some_and(|name| self.model.remove(&name).is_some())
    }

    fn compare(&self) {
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
        match (self.wheel.next(), self.model.first_key_value()) {
            (Some(next), Some((name, _))) => assert!(self.present <= next && next <= name.0),
            (next, first) => assert_eq!((next, first), (None, None)),
        }
    }

    fn any_key(&mut self) -> Option<(Key, Name)> {
        let range = self.keys.len() as u64;
        // Half of the time a recent one, which is likely still armed.
        let back = if self.dice.below(2) == 0 {
            self.dice.below(range.clamp(1, 16))
        } else {
            self.dice.bits(16) % range.max(1)
        };
        let index = range.checked_sub(1 + back)?;
        Some(self.keys[index as usize])
    }
}

/// Bytes that decide what is done; when they are used up, zeros.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> u64 {
        self.0.split_off_first().copied().unwrap_or(0).into()
    }

    /// Up to 255.
    fn below(&mut self, limit: u64) -> u64 {
        self.byte() % limit
    }

    /// A number of so many bits.
    fn bits(&mut self, bits: u32) -> u64 {
        let wide = (0..bits.div_ceil(8)).fold(0, |number, _| number << 8 | self.byte());
        wide & u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
    }

    /// Any number of bits is as likely as any other.
    fn magnitude(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        self.bits(bits)
    }

    /// Mostly a few levels' worth, so that a history does not reach the end of time at once.
    fn step(&mut self) -> u64 {
        let bits = match self.byte() {
            0 => 62,
            byte => byte as u32 % 26,
        };
        self.bits(bits)
    }
}
