//! A worker's timers: deadlines on the monotonic clock, turned into ticks of the wheel.
//!
//! 1. A deadline is rounded up to a tick, the time to down: a timer is never due early, and at most a tick late. Where time is
//!    simulated a tick is a nanosecond.

use super::simulation;
use super::waiter::Waiter;
pub(super) use crate::base::wheel::Key;
use crate::base::wheel::Wheel;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Nanoseconds per tick: a power of two well below what waking a thread takes.
const TICK: u64 = 1 << 13;

/// See the head of this file.
pub(crate) struct Timers {
    wheel: RefCell<Wheel<Waiter>>,
    /// Tick zero.
    start: Instant,
    /// A tick is a nanosecond.
    exact: bool,
}

impl Timers {
    pub(super) fn new(exact: bool) -> Self {
        Timers {
            wheel: RefCell::new(Wheel::new()),
            start: Instant::now(),
            exact,
        }
    }

    /// Interrupts `waiter` once `deadline` has passed.
    pub(super) fn arm(&self, deadline: Instant, waiter: Waiter) -> Key {
        let since = self.since_start(deadline);
        let tick = if self.is_exact() {
            since
        } else {
            since.div_ceil(TICK)
        };
        self.wheel.borrow_mut().arm(tick, waiter)
    }

    /// Takes that back, if it has not happened.
    pub(super) fn disarm(&self, key: Key) {
        self.wheel.borrow_mut().cancel(key);
    }

    /// Interrupts those whose deadline is not after `now`, the earliest first, but no more than `most`.
    pub(super) fn fire(&self, now: Instant, most: usize) {
        let since = self.since_start(now);
        let tick = if self.is_exact() { since } else { since / TICK };
        for _ in 0..most {
            // The borrow ends before the waiter is touched.
            let due = self.wheel.borrow_mut().pop(tick);
            match due {
                Some(waiter) => waiter.interrupt(),
                None => return,
            };
        }
    }

    /// When to fire next, if ever.
    pub(super) fn next(&self) -> Option<Instant> {
        let tick = self.wheel.borrow().next()?;
        // A time beyond what an `Instant` holds is as good as never.
        self.start
            .checked_add(Duration::from_nanos(if self.is_exact() {
                tick
            } else {
                tick.saturating_mul(TICK)
            }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wheel.borrow().is_empty()
    }

    /// Tick zero.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    #[inline]
    fn is_exact(&self) -> bool {
        simulation::POSSIBLE && self.exact
    }

    fn since_start(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        since
            .as_secs()
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(since.subsec_nanos()))
    }
}
