//! [`block_on`] and its bounded forms: a task, or a plain thread, waits for a future.
//!
//! 1. A future is polled by who waits for it, on that one's stack, and dropped there, however the wait ends. So it need not be
//!    `Send`, and may borrow.
//! 2. It is polled when it was called for since the last poll, when the wait has ended for another reason that did not unwind it,
//!    and never while the task stands still.
//! 3. Nothing is allocated for a wait.

use super::waker::Summons;
use crate::error::Timeout;
use crate::rt::clock::deadline_in;
use crate::rt::park::charge;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits until `future` is ready, and returns what it is ready with.
///
/// Suspends the calling task (on a plain thread: blocks it, running its default scheduler if that has tasks). The future is polled
/// on the stack of who calls: it may borrow from there, and need not be `Send`. Whoever wakes it may be any thread, at any time;
/// a future that wakes itself lets other tasks run in between.
///
/// If the caller is cancelled, or a [`timeout`](crate::timeout) round it passes, the unwinding drops the future. Where nothing can be
/// unwound (in a destructor that runs while unwinding, and in a build with `panic = "abort"`) it waits on.
///
/// Code inside of the future may call what suspends: the task waits then in the middle of a poll, and the futures beside it in a
/// `join!` or `select!` wait with it.
///
/// # Panics
/// What the future panics with. On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
/// [`Deadlock`](crate::Deadlock).
///
/// # Examples
///
/// ```
/// use multitask::future::block_on;
/// use multitask::spawn;
///
/// let task = spawn(|| {
///     let words = vec!["futures", "in", "tasks"];
///     block_on(async { words.join(" ") }) // it borrows from the task's stack
/// });
/// assert_eq!(task.join().unwrap(), "futures in tasks");
/// ```
///
/// It ends with the task:
///
/// ```
/// use multitask::{future, timeout, Timeout};
/// use std::time::Duration;
///
/// let never = std::future::pending::<()>();
/// let waited = timeout(Duration::from_millis(5), || future::block_on(never));
/// assert_eq!(waited, Err(Timeout));
/// ```
#[inline(always)]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    match wait(future, || None) {
        Ok(output) => output,
        Err(Timeout) => unreachable!("there is no deadline"),
    }
}

/// As [`block_on`], for at most `timeout`. The future is polled at least once, however short the time: one that is ready wins.
///
/// # Errors
/// [`Timeout`] if it was not ready in time; it has been dropped then.
///
/// # Panics
/// As `block_on`.
///
/// ```
/// use multitask::future::block_on_timeout;
/// use multitask::Timeout;
/// use std::future::{pending, ready};
/// use std::time::Duration;
///
/// assert_eq!(block_on_timeout(ready("at once"), Duration::ZERO), Ok("at once"));
/// assert_eq!(block_on_timeout(pending::<()>(), Duration::from_millis(1)), Err(Timeout));
/// ```
#[inline(always)]
pub fn block_on_timeout<F: IntoFuture>(future: F, timeout: Duration) -> Result<F::Output, Timeout> {
    wait(future, || deadline_in(timeout))
}

/// As [`block_on`], until `deadline`.
///
/// # Errors
/// As [`block_on_timeout`].
///
/// # Panics
/// As `block_on`.
#[inline(always)]
pub fn block_on_deadline<F: IntoFuture>(
    future: F,
    deadline: Instant,
) -> Result<F::Output, Timeout> {
    wait(future, || Some(deadline))
}

/// The clock is read only if there is a wait.
#[inline(always)]
fn wait<F: IntoFuture>(
    future: F,
    deadline: impl FnOnce() -> Option<Instant>,
) -> Result<F::Output, Timeout> {
    charge();
    // It outlives the future, which may use its waker as it is dropped.
    let summons = Summons::new();
    let waker = summons.waker();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future.into_future());
    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
        return Ok(output);
    }
    let deadline = deadline();
    loop {
        let late = summons.wait(deadline);
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        if late {
            return Err(Timeout);
        }
    }
}
