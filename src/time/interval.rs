//! [`Interval`]: the moment of the next tick, and how far it is from there to the one after.
//!
//! 1. `next` is changed only when a tick has been answered, or by a reset: a wait that is cut short loses no tick.
//! 2. Nothing is armed between two waits: an interval that nobody waits for costs nothing.
//!
//! Names and kinds of missed ticks are those of Tokio's interval.

use super::sleep::wait_until;
use crate::error::Timeout;
use crate::rt::clock;
use crate::rt::header::Why;
use crate::rt::park::charge;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

/// Ticks again and again, a period apart.
///
/// Between two ticks nothing runs and nothing is armed: the ticks are where [`tick`](Interval::tick) waits for them. What
/// happens if it comes too late for one is up to [`MissedTick`].
///
/// It is an [`Iterator`] as well, of the moments of its ticks, without an end.
///
/// # Examples
///
/// ```
/// use multitask::time::{interval, Duration, Instant};
///
/// let start = Instant::now();
/// let mut ticks = interval(Duration::from_millis(2));
/// let first = ticks.tick(); // at once
/// assert_eq!(ticks.tick() - first, Duration::from_millis(2));
/// for moment in ticks.take(3) {
///     assert!(Instant::now() >= moment);
/// }
/// assert!(start.elapsed() >= Duration::from_millis(8));
/// ```
#[doc(alias = "Ticker")]
#[derive(Clone, Debug)]
pub struct Interval {
    period: Duration,
    /// When the next tick is due; `None` if no [`Instant`] is so late.
    next: Option<Instant>,
    missed: MissedTick,
}

/// When an [`Interval`] ticks after a tick that was asked for too late.
///
/// With a period of 10 ms, and a tick due at 0 that is asked for at 25 ms only, the ticks are:
///
/// | | due at (ms) | answered at |
/// |---|---|---|
/// | `Burst` | 0, 10, 20, 30, 40 | 25, 25, 25, 30, 40 |
/// | `Delay` | 0, 35, 45 | 25, 35, 45 |
/// | `Skip` | 0, 30, 40 | 25, 30, 40 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTick {
    /// The ticks that were missed follow at once, until the interval has caught up. None is lost, and each is due a whole
    /// number of periods after the first: there is no drift.
    #[default]
    Burst,
    /// The next tick is a period after the late one was answered. So there is never less than a period between two ticks;
    /// what they come late adds up.
    Delay,
    /// The ticks that were missed are left out. Each that comes is due a whole number of periods after the first: there is
    /// no drift.
    Skip,
}

/// An interval whose first tick is due now: the first call of [`tick`](Interval::tick) answers at once.
///
/// # Panics
/// If `period` is zero.
pub fn interval(period: Duration) -> Interval {
    interval_at(clock::now(), period)
}

/// An interval whose first tick is due at `start`.
///
/// # Panics
/// If `period` is zero.
///
/// ```
/// use multitask::time::{interval_at, Duration, Instant};
///
/// let start = Instant::now() + Duration::from_millis(2);
/// let mut ticks = interval_at(start, Duration::from_secs(3600));
/// assert_eq!(ticks.tick(), start);
/// assert!(Instant::now() >= start);
/// ```
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period");
    Interval {
        period,
        next: Some(start),
        missed: MissedTick::default(),
    }
}

impl Interval {
    /// Waits until the next tick is due, and answers the moment for which it was due; at once if that has passed.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it). A tick that is due lets other tasks run now
    /// and then, as every operation does. Who is [cancelled](crate::JoinHandle::cancel) while he waits, or runs out of a
    /// [`timeout`](crate::timeout), has taken no tick: it is still to come.
    pub fn tick(&mut self) -> Instant {
        charge();
        loop {
            match self.take_due() {
                Some(tick) => return tick,
                None => wait_until(self.next, Why::Tick),
            }
        }
    }

    /// As [`tick`](Interval::tick), for at most `timeout`. A tick that is due is taken, however short the time.
    ///
    /// # Errors
    /// [`Timeout`] if it is not due in time; it is still to come.
    ///
    /// ```
    /// use multitask::time::{interval, Duration};
    /// use multitask::Timeout;
    ///
    /// let mut ticks = interval(Duration::from_secs(3600));
    /// assert!(ticks.tick_timeout(Duration::ZERO).is_ok());
    /// assert_eq!(ticks.tick_timeout(Duration::from_millis(1)), Err(Timeout));
    /// ```
    pub fn tick_timeout(&mut self, timeout: Duration) -> Result<Instant, Timeout> {
        self.tick_within(clock::now().checked_add(timeout))
    }

    /// As [`tick`](Interval::tick), until `deadline`.
    ///
    /// # Errors
    /// As [`tick_timeout`](Interval::tick_timeout).
    pub fn tick_deadline(&mut self, deadline: Instant) -> Result<Instant, Timeout> {
        self.tick_within(Some(deadline))
    }

    fn tick_within(&mut self, deadline: Option<Instant>) -> Result<Instant, Timeout> {
        charge();
        if let Some(tick) = self.take_due() {
            return Ok(tick);
        }
        wait_until([self.next, deadline].into_iter().flatten().min(), Why::Tick);
        self.take_due().ok_or(Timeout)
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// When the next tick is due; `None` if that is later than an [`Instant`] can tell, which is never.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// What happens with ticks that are missed. [`MissedTick::Burst`] unless it was set.
    pub fn missed_tick(&self) -> MissedTick {
        self.missed
    }

    /// Says what is to happen with ticks that are missed.
    pub fn set_missed_tick(&mut self, missed: MissedTick) {
        self.missed = missed;
    }

    /// This interval, with another way to treat ticks that are missed.
    ///
    /// ```
    /// use multitask::time::{interval, Duration, MissedTick};
    ///
    /// let mut ticks = interval(Duration::from_millis(1)).with_missed_tick(MissedTick::Skip);
    /// let first = ticks.tick();
    /// std::thread::sleep(Duration::from_millis(3)); // something takes too long
    /// let (late, next) = (ticks.tick(), ticks.tick());
    /// assert_eq!(late - first, Duration::from_millis(1));
    /// assert!(next - first >= Duration::from_millis(4)); // those of 2 and 3 ms are left out
    /// ```
    #[must_use]
    pub fn with_missed_tick(self, missed: MissedTick) -> Self {
        Interval { missed, ..self }
    }

    /// Makes the next tick due a period from now, and those after it from there.
    pub fn reset(&mut self) {
        self.next = clock::now().checked_add(self.period);
    }

    /// Makes the next tick due at `deadline`, and those after it from there.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.next = Some(deadline);
    }

    /// Answers the next tick if it is due.
    fn take_due(&mut self) -> Option<Instant> {
        let now = clock::now();
        let due = self.next.filter(|next| *next <= now)?;
        self.next = self.missed.next(due, now, self.period);
        Some(due)
    }
}

/// Endless: each item is a [`tick`](Interval::tick).
impl Iterator for Interval {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        Some(self.tick())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl FusedIterator for Interval {}

impl MissedTick {
    /// The tick after the one that was due at `due` and is answered `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Option<Instant> {
        let late = now.saturating_duration_since(due);
        match self {
            MissedTick::Skip if late >= period => now.checked_add(period - past(late, period)),
            MissedTick::Burst | MissedTick::Skip => due.checked_add(period),
            MissedTick::Delay => now.checked_add(period),
        }
    }
}

/// How much of its period the last tick before the end of `late` lies back.
fn past(late: Duration, period: Duration) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let past = late.as_nanos() % period.as_nanos();
    // It is less than `late`, whose seconds fit.
    Duration::new((past / SECOND) as u64, (past % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tick after one that is late by so many milliseconds of a period of 10, counted from when that was due.
    fn after(missed: MissedTick, late: u64) -> Duration {
        let (due, period) = (Instant::now(), Duration::from_millis(10));
        let now = due + Duration::from_millis(late);
        missed.next(due, now, period).unwrap() - due
    }

    #[test]
    fn the_tick_after_a_late_one_is_where_its_kind_says() {
        let millis = |missed| [0, 4, 10, 19, 20, 25].map(|late| after(missed, late).as_millis());
        assert_eq!(millis(MissedTick::Burst), [10; 6]);
        assert_eq!(millis(MissedTick::Delay), [10, 14, 20, 29, 30, 35]);
        assert_eq!(millis(MissedTick::Skip), [10, 10, 20, 20, 30, 30]);
    }

    #[test]
    fn skipping_stays_on_the_grid_to_the_nanosecond_after_years() {
        let period = Duration::new(3, 333_333_333);
        let due = Instant::now();
        let year = Duration::from_secs(365 * 24 * 3600);
        let next = MissedTick::Skip.next(due, due + 30 * year, period).unwrap();
        assert_eq!((next - due).as_nanos() % period.as_nanos(), 0);
        assert!(next > due + 30 * year && next <= due + 30 * year + period);
    }

    #[test]
    fn a_tick_that_no_instant_can_tell_never_comes() {
        let due = Instant::now();
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            assert_eq!(missed.next(due, due, Duration::MAX), None);
        }
    }
}
