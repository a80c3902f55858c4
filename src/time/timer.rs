//! [`Timer`]: one deadline, and a line of those who wait for it.
//!
//! A timer is a value behind a lock. On a wheel is only who waits: each waiter's wait has the timer's deadline for its own,
//! on the worker that runs it. So a timer that nobody waits for arms nothing, and one that is cancelled is on no wheel.
//!
//! 1. A *round* begins when the timer is set, and ends when its deadline passes or it is cancelled. By the clock, read under
//!    the lock: all see the same order.
//! 2. A seat is in the line, by the lock, for as long as its owner waits, however often he parks meanwhile. So whoever ends a
//!    round, or finds that it has ended, tells all who waited for it; what they were told stays true if the timer is set
//!    again before they run.
//! 3. Who waits is armed for the deadline of the round, or for an earlier one: a deadline that moves away wakes nobody, one
//!    that comes nearer wakes all. Who is woken without having been told anything looks, and parks again.
//!
//! To move the entry in the wheel at each reset would take a message to each waiter's worker. A time limit that is put off by
//! everything that happens, which is what timers are reset for, costs a store here, and one look when it passes.

use crate::base::list::{Linked, Links, List};
use crate::base::lock::{Lock, Locked};
use crate::error::{Cancelled, Timeout};
use crate::rt::clock;
use crate::rt::header::Why;
use crate::rt::park::{charge, park, Interrupt, Mode, Outcome};
use crate::rt::waiter::Waiter;
use std::cell::Cell;
use std::time::{Duration, Instant};
use std::{error, fmt, io, mem};

/// Goes off once, at a moment that its owner and others can move or call off while somebody waits for it.
///
/// Everything is done through `&`: share it in an [`Arc`](std::sync::Arc). Any number of tasks and threads may wait; all
/// go on when the deadline passes.
///
/// # Examples
///
/// A connection that is given up when nothing has come for a while:
///
/// ```
/// use multitask::time::{Duration, Timer};
/// use multitask::{sleep, spawn};
/// use std::sync::Arc;
///
/// let idle = Arc::new(Timer::new(Duration::from_secs(30)));
/// let watch = spawn({
///     let idle = idle.clone();
///     move || idle.wait().is_ok()
/// });
/// for _message in 0..3 {
///     sleep(Duration::from_millis(1));
///     idle.reset(Duration::from_secs(30)); // it is alive
/// }
/// assert!(!watch.is_finished());
/// idle.cancel(); // the goodbye has come
/// assert!(!watch.join().unwrap());
/// ```
pub struct Timer(Lock<State>);

/// Why [`Timer::wait`], or one of its bounded forms, has not seen the timer expire.
///
/// As an [`io::Error`] `Disarmed` is [`Other`](io::ErrorKind::Other), and the others are what [`Timeout`] and [`Cancelled`]
/// become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerError {
    /// The timer was [cancelled](Timer::cancel).
    Disarmed,
    /// The wait's own time was up before that of the timer. From a form without one: that of a [`timeout`](crate::timeout)
    /// round it was, where nothing can be unwound.
    Timeout,
    /// The calling task was cancelled where nothing can be unwound: in a destructor that runs while unwinding, or in
    /// a build with `panic = "abort"`.
    Cancelled,
}

struct State {
    set: Set,
    line: List<Seat>,
}

#[derive(Clone, Copy)]
enum Set {
    At(Instant),
    /// Later than an `Instant` can tell.
    Never,
    Cancelled,
}

/// How a round ended.
#[derive(Clone, Copy)]
enum End {
    Expired,
    Cancelled,
}

/// Somebody who waits. It lies on his stack.
struct Seat {
    /// His wait, that of the moment or the last one; he changes it, by the lock. `None` until he is in the line.
    waiter: Cell<Option<Waiter>>,
    /// What he was told; by the lock.
    told: Cell<Option<End>>,
    links: Links<Seat>,
}

impl Linked for Seat {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Timer {
    /// One that expires when `after` has passed from now on.
    pub fn new(after: Duration) -> Self {
        Timer::with(Set::after(after))
    }

    /// One that expires at `deadline`. If that has passed it has expired.
    pub fn at(deadline: Instant) -> Self {
        Timer::with(Set::At(deadline))
    }

    fn with(set: Set) -> Self {
        let line = List::new();
        Timer(Lock::new(State { set, line }))
    }

    /// Waits until the timer expires; not at all if it has.
    ///
    /// Who waits while the timer is [reset](Timer::reset) waits for the new deadline. If the old one had passed, the timer
    /// had expired: who waited for that goes on, though he may run only after the reset.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Errors
    /// [`TimerError::Disarmed`] if the timer is cancelled, or is while it waits, also if it is reset right after that; the
    /// others only where a wait cannot be ended by unwinding.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler (which takes a timer that is
    /// never due): see [`Deadlock`](crate::Deadlock).
    ///
    /// ```
    /// use multitask::time::{Duration, Timer, TimerError};
    ///
    /// let timer = Timer::new(Duration::from_millis(2));
    /// assert_eq!(timer.wait(), Ok(()));
    /// timer.cancel();
    /// assert_eq!(timer.wait(), Err(TimerError::Disarmed));
    /// ```
    pub fn wait(&self) -> Result<(), TimerError> {
        self.wait_within(None)
    }

    /// As [`wait`](Timer::wait), for at most `timeout`. A timer that has expired is seen, however short the time.
    ///
    /// # Errors
    /// [`TimerError::Timeout`] if it did not expire in time; those of `wait`.
    ///
    /// # Panics
    /// As `wait`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), TimerError> {
        self.wait_within(clock::now().checked_add(timeout))
    }

    /// As [`wait`](Timer::wait), until `deadline`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Timer::wait_timeout).
    ///
    /// # Panics
    /// As `wait`.
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), TimerError> {
        self.wait_within(Some(deadline))
    }

    fn wait_within(&self, own: Option<Instant>) -> Result<(), TimerError> {
        charge();
        let seat = Seat::new();
        let _seated = Seated(self, &seat);
        let mut interrupt = None;
        loop {
            let (waiter, until) = match self.look(&seat, own, interrupt) {
                Look::Over(result) => return result,
                Look::Wait(waiter, until) => (waiter, until),
            };
            let until = [until, own].into_iter().flatten().min();
            interrupt = match park(waiter, until, Why::Timer, Mode::Fallible) {
                Outcome::Interrupted(interrupt) => Some(interrupt),
                Outcome::Woken | Outcome::TimedOut => None,
            };
        }
    }

    /// Whether the wait is over, and how; else begins another one.
    fn look(&self, seat: &Seat, own: Option<Instant>, interrupt: Option<Interrupt>) -> Look {
        let state = self.0.lock();
        let now = clock::now();
        match (seat.told.get().or(state.end(now)), interrupt) {
            (Some(End::Expired), _) => return Look::Over(Ok(())),
            (Some(End::Cancelled), _) => return Look::Over(Err(TimerError::Disarmed)),
            (None, Some(interrupt)) => return Look::Over(Err(interrupt.into())),
            (None, None) if own.is_some_and(|own| own <= now) => {
                return Look::Over(Err(TimerError::Timeout))
            }
            (None, None) => {}
        }
        let waiter = Waiter::here();
        if seat.waiter.replace(Some(waiter)).is_none() {
            // SAFETY: the lock is held; `Seated` takes it out before it dies.
            unsafe { state.line.push_back(seat) };
        }
        Look::Wait(waiter, state.set.deadline())
    }

    /// Calls the timer off: who waits for it is told, and who comes to wait from now on is as well, until it is reset. Does
    /// not wait.
    ///
    /// Whether it was still to expire: if not, it has expired (and whoever waited for that goes on as if nothing had
    /// happened), or was cancelled before.
    pub fn cancel(&self) -> bool {
        self.set(Set::Cancelled)
    }

    /// Makes the timer expire when `after` has passed from now on, whether it was armed, has expired or was cancelled. Does
    /// not wait.
    ///
    /// Whether it was still to expire: then who waits for it waits for the new deadline. To put a deadline off wakes nobody.
    pub fn reset(&self, after: Duration) -> bool {
        self.set(Set::after(after))
    }

    /// As [`reset`](Timer::reset), to expire at `deadline`.
    pub fn reset_at(&self, deadline: Instant) -> bool {
        self.set(Set::At(deadline))
    }

    fn set(&self, set: Set) -> bool {
        let mut state = self.0.lock();
        let end = state.end(clock::now());
        let before = mem::replace(&mut state.set, set);
        match (end, set) {
            (Some(end), _) => tell(&state, Some(end)),
            (None, Set::Cancelled) => tell(&state, Some(End::Cancelled)),
            (None, _) if set.is_before(before) => tell(&state, None),
            (None, _) => {}
        }
        end.is_none()
    }

    /// Whether the deadline has passed. A timer that was cancelled, or reset after that, has not expired.
    pub fn is_expired(&self) -> bool {
        let state = self.0.lock();
        matches!(state.end(clock::now()), Some(End::Expired))
    }

    /// When it expires, or did; `None` if it was cancelled, or if that is later than an [`Instant`] can tell.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.lock().set.deadline()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = self.deadline();
        f.debug_struct("Timer")
            .field("deadline", &deadline)
            .finish()
    }
}

enum Look {
    Over(Result<(), TimerError>),
    /// Until the deadline of the timer, if it has one.
    Wait(Waiter, Option<Instant>),
}

impl State {
    /// How the round has ended, if it has.
    fn end(&self, now: Instant) -> Option<End> {
        match self.set {
            Set::Cancelled => Some(End::Cancelled),
            Set::At(deadline) => (deadline <= now).then_some(End::Expired),
            Set::Never => None,
        }
    }
}

impl Set {
    fn after(after: Duration) -> Self {
        clock::now().checked_add(after).map_or(Set::Never, Set::At)
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Set::At(deadline) => Some(deadline),
            Set::Never | Set::Cancelled => None,
        }
    }

    fn is_before(self, other: Set) -> bool {
        match (self.deadline(), other.deadline()) {
            (Some(deadline), Some(other)) => deadline < other,
            (deadline, _) => deadline.is_some(),
        }
    }
}

/// Wakes all in the line; if the round has ended, with the news.
fn tell(state: &Locked<'_, State>, end: Option<End>) {
    let news = |seat: &Seat| {
        if seat.told.get().is_none() {
            seat.told.set(end);
        }
        // He may go on at once, on another thread, and then waits for the lock. If he does not wait, he is about to look.
        if let Some(waiter) = seat.waiter.get() {
            waiter.wake();
        }
    };
    // SAFETY: the lock is held, so all seats stay where they are.
    unsafe { state.line.for_each(news) };
}

impl Seat {
    const fn new() -> Self {
        Seat {
            waiter: Cell::new(None),
            told: Cell::new(None),
            links: Links::new(),
        }
    }
}

/// Takes a seat out of the line when its owner's wait is over, however it ends.
struct Seated<'a>(&'a Timer, &'a Seat);

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        let Seated(timer, seat) = self;
        if seat.waiter.get().is_some() {
            let state = timer.0.lock();
            // SAFETY: the lock is held, and it has been in this line since it has had a waiter.
            unsafe { state.line.remove(seat) };
        }
    }
}

// ---- the error ----

impl From<Interrupt> for TimerError {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancelled => TimerError::Cancelled,
            Interrupt::Timeout => TimerError::Timeout,
        }
    }
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimerError::Disarmed => f.write_str("the timer was cancelled"),
            TimerError::Timeout => Timeout.fmt(f),
            TimerError::Cancelled => Cancelled.fmt(f),
        }
    }
}

impl error::Error for TimerError {}

impl From<TimerError> for io::Error {
    fn from(error: TimerError) -> Self {
        match error {
            TimerError::Disarmed => io::Error::other(error),
            TimerError::Timeout => Timeout.into(),
            TimerError::Cancelled => Cancelled.into(),
        }
    }
}
