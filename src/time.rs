//! Sleeping and time limits.
//!
//! [`timeout`] bounds any code, however many waits are in it:
//!
//! ```
//! use multitask::{sleep, timeout, Timeout};
//! use std::time::Duration;
//!
//! assert_eq!(timeout(Duration::from_millis(1), || sleep(Duration::from_secs(3600))), Err(Timeout));
//! ```
//!
//! Time is that of the monotonic clock (`std::time::Instant`).

use crate::error::Timeout;
use crate::rt::header::Why;
use crate::rt::park::{me, park, yield_now, Mode, Outcome};
use crate::rt::unwind::{target_of, Target};
use crate::rt::waiter::Waiter;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

pub use std::time::{Duration, Instant};

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
        sleep_until_or_never(Instant::now().checked_add(duration));
    }
}

/// Suspends the calling task until `deadline`. As [`sleep`]; a deadline that has passed lets the others run once.
pub fn sleep_until(deadline: Instant) {
    if deadline <= Instant::now() {
        yield_now();
    } else {
        sleep_until_or_never(Some(deadline));
    }
}

fn sleep_until_or_never(deadline: Option<Instant>) {
    // What cannot be raised is not listened to: then the sleep goes on.
    while park(Waiter::here(), deadline, Why::Sleep, Mode::Infallible) != Outcome::TimedOut {}
}

/// Runs `f` for at most `duration`: where `f` waits when the time is up, it is unwound, and the answer is
/// `Err(Timeout)`.
///
/// Destructors run on the way, no panic hook does. Code that does not wait is not interrupted, and if `f` returns its value is the answer,
/// late or not. Scopes may be nested: the nearest deadline counts, and each scope answers for its own.
///
/// An operation's own time limit, as that of `set_read_timeout`, is an error of that operation and does not unwind.
///
/// # Errors
/// [`Timeout`] if the time was up.
///
/// # Where nothing can be unwound
///
/// In a destructor that runs while unwinding, and in a build with `panic = "abort"`, operations in `f` that can fail
/// do so with `ErrorKind::TimedOut` once the time is up, and others take the time they need.
///
/// # Examples
///
/// ```
/// use multitask::{net::TcpListener, timeout, Timeout};
/// use std::time::Duration;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let nobody = timeout(Duration::from_millis(5), || listener.accept().map(drop));
/// assert!(matches!(nobody, Err(Timeout)));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, Timeout> {
    within(Instant::now().checked_add(duration), f)
}

/// As [`timeout`], until `deadline`.
///
/// # Errors
/// [`Timeout`] if the time was up.
pub fn timeout_at<T>(deadline: Instant, f: impl FnOnce() -> T) -> Result<T, Timeout> {
    within(Some(deadline), f)
}

fn within<T>(deadline: Option<Instant>, f: impl FnOnce() -> T) -> Result<T, Timeout> {
    me().scopes.within(deadline, |scope| {
        // What `f` leaves half done is seen by nobody but destructors, as with a panic in a thread's closure.
        catch_unwind(AssertUnwindSafe(f)).or_else(|payload| {
            if target_of(&*payload) == Some(Target::Scope(scope)) {
                Err(Timeout)
            } else {
                resume_unwind(payload)
            }
        })
    })
}
