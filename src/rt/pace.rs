//! How many tasks run between two looks at descriptors and timers: many, but no more than take about a millisecond together.
//!
//! A look takes about as long as a hundred switches, so it comes after [`MOST`] runs, if these are short. Where tasks compute for long between
//! two waits, that would be late: each look measures how long the runs before it took, and changes the number for those that follow.
//! A counter is read once for all of them, and nothing for each.

use crate::sys::clock::counter;
use std::cell::Cell;
use std::time::Instant;

/// Runs between two looks, if they are short.
pub(super) const MOST: u32 = 64;
/// Runs between two looks, however long they are: of two, one may be of a task whose time is up, and one of another.
const FEWEST: u32 = 2;
/// Steps of the counter that they take together at the most, as far as that can be foreseen: half a millisecond at 4 GHz, and
/// longer where it is slower.
const LONG: u64 = 1 << 21;

/// See the head of this file.
pub(super) struct Pace {
    runs: Cell<u32>,
    /// What was read at the last look.
    since: Cell<u64>,
    origin: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Pace {
            runs: Cell::new(MOST),
            since: Cell::new(0),
            origin: Instant::now(),
        }
    }

    /// How many tasks run until the next look.
    #[inline]
    pub(super) fn runs(&self) -> u32 {
        self.runs.get()
    }

    /// A look after which nothing was ready, or after a sleep: what came before does not count.
    #[inline]
    pub(super) fn begin(&self) {
        self.begin_at(self.read());
    }

    /// A look after runs.
    #[inline]
    pub(super) fn look(&self) {
        self.look_at(self.read());
    }

    #[inline]
    fn begin_at(&self, now: u64) {
        self.since.set(now);
    }

    #[inline]
    fn look_at(&self, now: u64) {
        // The counters of two processors may differ by a little.
        let took = now.saturating_sub(self.since.replace(now));
        self.runs.set(after(self.runs.get(), took));
    }

    #[inline]
    fn read(&self) -> u64 {
        counter().unwrap_or_else(|| self.origin.elapsed().as_nanos() as u64)
    }
}

/// How many run next, after so many took so many steps.
#[inline]
fn after(runs: u32, took: u64) -> u32 {
    if took <= LONG {
        return (2 * runs).min(MOST);
    }
    let fit = u64::from(runs) * LONG / took;
    fit.max(u64::from(FEWEST)) as u32
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_as_many_as_may_be() {
        assert_eq!(after(MOST, 0), MOST);
        assert_eq!(after(MOST, LONG), MOST);
    }

    #[test]
    fn runs_that_take_longer_are_as_many_as_fit_and_never_none() {
        assert_eq!(after(64, 2 * LONG), 32);
        assert_eq!(after(64, 1 << 40), FEWEST);
        assert_eq!(after(FEWEST, u64::MAX / u64::from(MOST)), FEWEST);
    }

    #[test]
    fn after_long_runs_short_ones_become_many_again() {
        let mut runs = FEWEST;
        for _ in 0..5 {
            runs = after(runs, LONG);
        }
        assert_eq!(runs, MOST);
    }

    #[test]
    fn what_passes_between_two_looks_counts_but_not_what_passes_before_it_begins() {
        let pace = Pace::new();
        pace.begin_at(10 * LONG);
        pace.look_at(11 * LONG);
        assert_eq!(pace.runs(), MOST);
        pace.look_at(13 * LONG);
        assert_eq!(pace.runs(), MOST / 2);
        pace.begin_at(23 * LONG);
        pace.look_at(24 * LONG);
        assert_eq!(pace.runs(), MOST);
    }

    #[test]
    fn a_counter_that_goes_back_means_nothing() {
        let pace = Pace::new();
        pace.begin_at(10 * LONG);
        pace.look_at(9 * LONG);
        assert_eq!(pace.runs(), MOST);
    }

    #[test]
    fn what_is_read_goes_on() {
        let pace = Pace::new();
        pace.begin();
        let begun = pace.since.get();
        while pace.read() == begun {}
        pace.look();
        assert!(pace.since.get() > begun);
    }
}
