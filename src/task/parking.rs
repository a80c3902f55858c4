//! Waiting without a reason of its own: yielding, parking, and putting interruptions off.

use super::current::Task;
use crate::rt::clock::{self, deadline_in};
use crate::rt::header::Why;
use crate::rt::park::{self, interrupt_if_due, me, Mode, Outcome};
use crate::rt::waiter::Waiter;
use std::time::{Duration, Instant};

/// Lets every other task that is ready run before this one goes on. As `std::thread::yield_now`.
///
/// Descriptors and timers are looked at as well, so a task that waits for something by spinning on `yield_now` starves
/// nobody. A cancelled task unwinds from here, and so does one whose [`timeout`](crate::timeout) has passed. On a plain
/// thread it lets the tasks of the thread's default scheduler run once.
///
/// ```
/// use multitask::{spawn, yield_now};
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// static READY: AtomicBool = AtomicBool::new(false);
/// let waiter = spawn(|| while !READY.load(Ordering::Relaxed) { yield_now() });
/// spawn(|| READY.store(true, Ordering::Relaxed));
/// waiter.join().unwrap();
/// ```
#[inline(always)]
pub fn yield_now() {
    park::yield_now();
}

/// Waits until this task's token is available, and takes it. As `std::thread::park`.
///
/// Each task and thread has a token, made available by [`Task::unpark`]; several `unpark`s make one token. It does not
/// return without a token.
///
/// ```
/// use multitask::{spawn, task};
///
/// let parked = spawn(|| task::park());
/// parked.task().unpark();
/// parked.join().unwrap();
/// ```
pub fn park() {
    while !take_token(None) {}
}

/// As [`park`], for at most `timeout`. As `std::thread::park_timeout`.
pub fn park_timeout(timeout: Duration) {
    match deadline_in(timeout) {
        Some(deadline) => park_deadline(deadline),
        None => park(),
    }
}

/// As [`park`], until `deadline` at the latest.
pub fn park_deadline(deadline: Instant) {
    while !take_token(Some(deadline)) && clock::now() < deadline {}
}

/// Waits for the token once; true if it was taken.
fn take_token(deadline: Option<Instant>) -> bool {
    let me = me();
    if me.take_token() {
        return true;
    }
    let waiter = Waiter::here();
    if !me.await_token(waiter) {
        // A token came in between; its giver did not see the waiter.
        let retracted = waiter.retract();
        debug_assert!(retracted);
        return me.take_token();
    }
    let _withdraw = Withdraw(me);
    let outcome = park::park(waiter, deadline, Why::Park, Mode::Infallible);
    outcome == Outcome::Woken && me.take_token()
}

/// The wait for the token is over, however it ended; a token that has come stays.
struct Withdraw(&'static crate::rt::header::Header);

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.0.stop_awaiting_token();
    }
}

impl Task {
    /// Makes the task's token available: its [`park`] returns, or the next one will not wait. From any thread.
    pub fn unpark(&self) {
        self.header().give_token();
    }
}

/// Runs `f` without interruption: cancelling, and deadlines of [`timeout`](crate::timeout) scopes outside of it, are
/// delivered when it returns.
///
/// For the few lines that must not be left half done. Time limits inside of `f` hold as usual.
///
/// ```
/// use multitask::{sleep, task, timeout};
/// use std::time::Duration;
///
/// let mut done = false;
/// let result = timeout(Duration::from_millis(1), || {
///     task::shield(|| {
///         sleep(Duration::from_millis(10));
///         done = true;
///     });
/// });
/// assert!(done && result.is_err());
/// ```
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let me = me();
    let value = me.scopes.shield(f);
    if me.is_cancelled() || me.scopes.limit().is_some() {
        interrupt_if_due(me);
    }
    value
}
