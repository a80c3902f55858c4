//! Sleeping, time limits, and what goes off: once ([`Timer`]) or again and again ([`Interval`]).
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
//! Time is that of the monotonic clock (`std::time::Instant`), as [`now`] tells it: in a test it may be another one.

mod interval;
mod sleep;
#[allow(unsafe_code)]
mod timer;

use crate::error::Timeout;
use crate::rt::clock::{self, deadline_in};
use crate::rt::park::me;
use crate::rt::unwind::{target_of, Target};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

pub use interval::{interval, interval_at, Interval, MissedTick};
pub use sleep::{sleep, sleep_until};
pub use timer::{Timer, TimerError};

pub use std::time::{Duration, Instant};

/// What time it is: `Instant::now()`, but in the tasks of a scheduler for tests, of the module `testing`, that scheduler's time.
///
/// A program that asks here what time it is can be tested without waiting for it to pass.
///
/// ```
/// use multitask::{sleep, time::{now, Duration}};
///
/// let start = now();
/// sleep(Duration::from_millis(1));
/// assert!(now() - start >= Duration::from_millis(1));
/// ```
#[inline]
pub fn now() -> Instant {
    clock::now()
}

/// Runs `f` for at most `duration`: where `f` waits when the time is up, it is unwound, and the answer is
/// `Err(Timeout)`.
///
/// Destructors run on the way, no panic hook does. Code that does not wait is not interrupted, and if `f` returns its value is the answer,
/// late or not. A wait ends no earlier than that, and some microseconds later. Scopes may be nested: the nearest deadline counts, and each scope answers for its own.
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
    within(deadline_in(duration), f)
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
