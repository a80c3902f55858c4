//! What time it is, and when a limit of time that begins now will be up.
//!
//! 1. Never early: what is taken for the present is not before it.
//! 2. Late by no more than a tick of the timers, [`SLACK`].
//!
//! Reading the clock, which takes 22 ns, is most of what a limit costs that is not reached. The processor's own counter takes 9.
//! As long as that says that the clock was read a moment ago, the time is not later than it was then by more than that moment.
//!
//! All of the library asks here for the time that its tasks go by. What is done by threads for themselves (a pause, a spin, a
//! watch) goes by the system's, also where that of tasks is simulated.

use super::simulation;
pub(super) use crate::sys::clock::prepare;
use crate::sys::clock::{counter, LEAST};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// See 2.
const SLACK: Duration = Duration::from_nanos(1 << 13);

/// Steps of the counter that take no longer than [`SLACK`].
const MOMENT: u64 = LEAST * SLACK.as_nanos() as u64 / 1_000_000_000;

/// A limit that is shorter is reckoned from the present itself: of it the slack would be a part.
const SHORT: Duration = Duration::from_millis(1);

thread_local! {
    /// What the counter said, and then a moment that is not before any at which it has said no more than `MOMENT` beyond that.
    static LATELY: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// What time it is for who calls.
#[inline]
pub(crate) fn now() -> Instant {
    simulation::now_here().unwrap_or_else(Instant::now)
}

/// The end of a limit that begins now; `None` if that is beyond what the clock can say.
#[inline]
pub(crate) fn deadline_in(limit: Duration) -> Option<Instant> {
    let now = if let Some(now) = simulation::now_here() {
        now
    } else if limit < SHORT {
        Instant::now()
    } else {
        no_earlier_than_now()
    };
    now.checked_add(limit)
}

#[inline]
fn no_earlier_than_now() -> Instant {
    let Some(count) = counter() else {
        return Instant::now();
    };
    LATELY.with(|lately| match lately.get() {
        // Of a counter that went back this is a large number.
        Some((then, latest)) if count.wrapping_sub(then) < MOMENT => latest,
        _ => {
            // In this order: the counter has begun when the clock is read.
            let now = Instant::now();
            lately.set(Some((count, now + SLACK)));
            now
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_up_early_and_at_most_a_tick_late() {
        prepare();
        for _ in 0..1_000_000 {
            let before = Instant::now();
            let deadline = deadline_in(SHORT).unwrap();
            assert!(deadline >= before + SHORT);
            assert!(deadline <= Instant::now() + SHORT + SLACK);
        }
    }

    #[test]
    fn a_short_limit_is_reckoned_from_the_present() {
        prepare();
        let limit = SHORT - Duration::from_nanos(1);
        for _ in 0..100_000 {
            let deadline = deadline_in(limit).unwrap();
            assert!(deadline <= Instant::now() + limit);
        }
    }

    #[test]
    fn a_limit_beyond_all_time_is_none() {
        assert_eq!(deadline_in(Duration::MAX), None);
    }
}
