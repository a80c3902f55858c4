//! Waiting for a moment: the one wait that nobody is shown, so that nothing but time ends it.

use crate::rt::clock;
use crate::rt::header::Why;
use crate::rt::park::{park, yield_now, Mode, Outcome};
use crate::rt::waiter::Waiter;
use std::time::{Duration, Instant};

/// Suspends the calling task for at least `duration`. As `std::thread::sleep`.
///
/// Zero lets the others run once, as [`yield_now`](crate::yield_now). A task is woken within some tens of microseconds of its time if
/// its scheduler has nothing else to do. On a plain thread it blocks the thread, running its default scheduler meanwhile if
/// that has tasks.
///
/// ```
/// use multitask::{sleep, spawn};
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let sleepers: Vec<_> = (0..1_000).map(|_| spawn(|| sleep(Duration::from_millis(10)))).collect();
/// for sleeper in sleepers {
///     sleeper.join().unwrap();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(10)); // and not 10 s
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        yield_now();
    } else {
        wait_until(clock::now().checked_add(duration), Why::Sleep);
    }
}

/// Suspends the calling task until `deadline`. As [`sleep`]; a deadline that has passed lets the others run once.
pub fn sleep_until(deadline: Instant) {
    if deadline <= clock::now() {
        yield_now();
    } else {
        wait_until(Some(deadline), Why::Sleep);
    }
}

/// Waits for real until `deadline`, or for ever; `why` says what that is for.
pub(super) fn wait_until(deadline: Option<Instant>, why: Why) {
    // What cannot be raised is not listened to: then the wait goes on.
    while park(Waiter::here(), deadline, why, Mode::Infallible) != Outcome::TimedOut {}
}
