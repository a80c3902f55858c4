//! [`Semaphore`]: a number of permits, and a line of those who want some.
//!
//! 1. A permit is free, in a guard, or on its way to one: who is served was given his before he was woken.
//! 2. Who comes while somebody waits waits behind him. Whenever permits become free, or somebody leaves the line, those at its
//!    front are served, as far as the permits go.
//! 3. After closing nobody waits.

use super::wait::{let_go, Bound, Early, Line};
use crate::base::lock::Lock;
use crate::error::{Cancelled, Timeout};
use crate::rt::header::Why;
use crate::rt::park::{charge, Interrupt};
use crate::rt::waiter::{WaitList, Won};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{error, fmt, io};

/// A number of permits, for tasks and threads that may do something only so many at a time.
///
/// Who wants permits and cannot have them waits in line, and is served in the order in which he came: one who wants many is not
/// starved by others who want few. A waiter that is [cancelled](crate::JoinHandle::cancel), or runs out of a
/// [`timeout`](crate::timeout), takes no permit along.
///
/// # Examples
///
/// ```
/// use multitask::sync::{Arc, Semaphore};
/// use multitask::{spawn, yield_now};
///
/// let two_at_a_time = Arc::new(Semaphore::new(2));
/// let tasks: Vec<_> = (0..6)
///     .map(|_| {
///         let semaphore = two_at_a_time.clone();
///         spawn(move || {
///             let _permit = semaphore.acquire().unwrap();
///             yield_now(); // at most two are here
///         })
///     })
///     .collect();
/// for task in tasks {
///     task.join().unwrap();
/// }
/// assert_eq!(two_at_a_time.available_permits(), 2);
/// ```
pub struct Semaphore {
    state: Lock<State>,
}

struct State {
    free: usize,
    closed: bool,
    line: WaitList<Asking>,
}

struct Asking {
    wanted: usize,
    /// Woken without them: the semaphore was closed.
    given: bool,
}

impl Semaphore {
    /// One with so many permits.
    #[inline]
    pub const fn new(permits: usize) -> Self {
        Semaphore {
            state: Lock::new(State {
                free: permits,
                closed: false,
                line: WaitList::new(),
            }),
        }
    }

    // ---- acquiring ----

    /// Takes a permit; waits for one if there is none. Dropping the guard gives it back.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Errors
    /// [`AcquireError::Closed`] if the semaphore is closed, or is while it waits. The others only where a wait cannot be
    /// ended by unwinding.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// As [`acquire`](Semaphore::acquire), so many permits at a time. If there will never be so many, it waits for ever, and all
    /// who come later wait behind it.
    ///
    /// # Errors
    /// As `acquire`.
    ///
    /// # Panics
    /// As `acquire`.
    #[inline(always)]
    pub fn acquire_many(&self, permits: usize) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_within(permits, Bound::Never)?;
        Ok(SemaphorePermit::of(self, permits))
    }

    /// As [`acquire`](Semaphore::acquire), for at most `timeout`. A permit that is free is taken, however short the time.
    ///
    /// # Errors
    /// [`AcquireError::Timeout`] if there was none in time; those of `acquire`.
    ///
    /// # Panics
    /// As `acquire`.
    ///
    /// ```
    /// use multitask::sync::{AcquireError, Semaphore};
    /// use std::time::Duration;
    ///
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.acquire()?;
    /// let second = semaphore.acquire_timeout(Duration::from_millis(1));
    /// assert_eq!(second.unwrap_err(), AcquireError::Timeout);
    /// # Ok::<(), AcquireError>(())
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many_timeout(1, timeout)
    }

    /// As [`acquire`](Semaphore::acquire), until `deadline`.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Semaphore::acquire_timeout).
    ///
    /// # Panics
    /// As `acquire`.
    #[inline]
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many_deadline(1, deadline)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), for at most `timeout`.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Semaphore::acquire_timeout).
    ///
    /// # Panics
    /// As `acquire`.
    #[inline]
    pub fn acquire_many_timeout(
        &self,
        permits: usize,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_within(permits, Bound::For(timeout))?;
        Ok(SemaphorePermit::of(self, permits))
    }

    /// As [`acquire_many`](Semaphore::acquire_many), until `deadline`.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Semaphore::acquire_timeout).
    ///
    /// # Panics
    /// As `acquire`.
    #[inline]
    pub fn acquire_many_deadline(
        &self,
        permits: usize,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_within(permits, Bound::Until(deadline))?;
        Ok(SemaphorePermit::of(self, permits))
    }

    /// Takes a permit if one is free and nobody waits for one. Does not wait, but like every operation it lets other tasks
    /// run now and then.
    ///
    /// # Errors
    /// [`TryAcquireError::NoPermits`] or [`TryAcquireError::Closed`].
    #[inline]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// As [`try_acquire`](Semaphore::try_acquire), so many permits at a time.
    ///
    /// # Errors
    /// As `try_acquire`.
    #[inline]
    pub fn try_acquire_many(&self, permits: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_take(permits)?;
        Ok(SemaphorePermit::of(self, permits))
    }

    /// As [`acquire`](Semaphore::acquire); the guard keeps the semaphore alive and can go anywhere.
    ///
    /// # Errors
    /// As `acquire`.
    ///
    /// # Panics
    /// As `acquire`.
    ///
    /// ```
    /// use multitask::sync::{Arc, Semaphore};
    ///
    /// let semaphore = Arc::new(Semaphore::new(1));
    /// let permit = semaphore.clone().acquire_owned()?;
    /// let task = multitask::spawn(move || drop(permit));
    /// task.join().unwrap();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// # Ok::<(), multitask::sync::AcquireError>(())
    /// ```
    #[inline(always)]
    pub fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_many`](Semaphore::acquire_many); the guard keeps the semaphore alive and can go anywhere.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    #[inline(always)]
    pub fn acquire_many_owned(
        self: Arc<Self>,
        permits: usize,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_within(permits, Bound::Never)?;
        Ok(OwnedSemaphorePermit::of(self, permits))
    }

    /// As [`try_acquire`](Semaphore::try_acquire); the guard keeps the semaphore alive and can go anywhere.
    ///
    /// # Errors
    /// As `try_acquire`.
    #[inline]
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_take(1)?;
        Ok(OwnedSemaphorePermit::of(self, 1))
    }

    // ---- changing and looking ----

    /// Adds so many permits. Does not wait.
    ///
    /// # Panics
    /// If there were more than `usize` can count.
    pub fn add_permits(&self, permits: usize) {
        let first = {
            let mut state = self.state.lock();
            let sum = state.free.checked_add(permits);
            state.free = sum.expect("permits can be counted");
            state.next()
        };
        if let Some(first) = first {
            drop(first);
            let_go(&self.state, State::next);
        }
    }

    /// How many permits are free. Those who wait may want more.
    pub fn available_permits(&self) -> usize {
        self.state.lock().free
    }

    /// Closes it: nobody can acquire any more, and those who wait are told. Permits that are held can still be given back.
    /// Does not wait; may be called again.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        // SAFETY: the lock is held.
        unsafe { state.line.wake_all() };
    }

    /// Whether [`close`](Semaphore::close) was called.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    #[inline(always)]
    fn acquire_within(&self, wanted: usize, bound: Bound) -> Result<(), AcquireError> {
        charge();
        let line = Line::new(&self.state, |state| &state.line, Why::Semaphore)
            .fallible()
            .when_one_left(State::let_go);
        let given = false;
        let mut closed = false;
        let asking = line.wait(
            bound,
            || Asking { wanted, given },
            |state| {
                closed = state.closed;
                closed || state.take(wanted)
            },
        )?;
        match asking {
            None if closed => Err(AcquireError::Closed),
            Some(asking) if !asking.given => Err(AcquireError::Closed),
            _ => Ok(()),
        }
    }

    #[inline]
    fn try_take(&self, wanted: usize) -> Result<(), TryAcquireError> {
        charge();
        let mut state = self.state.lock();
        if state.closed {
            Err(TryAcquireError::Closed)
        } else if state.take(wanted) {
            Ok(())
        } else {
            Err(TryAcquireError::NoPermits)
        }
    }
}

impl State {
    /// Takes permits if they are free and nobody has come earlier.
    #[inline]
    fn take(&mut self, wanted: usize) -> bool {
        let taken = self.line.is_empty() && wanted <= self.free;
        if taken {
            self.free -= wanted;
        }
        taken
    }

    /// Serves whoever is at the front of the line, if there is enough for him.
    #[inline]
    fn next(&mut self) -> Option<Won<Asking>> {
        let free = self.free;
        // SAFETY: the lock is held.
        let mut first = unsafe { self.line.win_front(|asking| asking.wanted <= free) }?;
        self.free -= first.slot().wanted;
        first.slot().given = true;
        Some(first)
    }

    /// One has left the line, and may have stood in the way of others.
    #[cold]
    fn let_go(&mut self) {
        while let Some(first) = self.next() {
            drop(first);
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, closed) = {
            let state = self.state.lock();
            (state.free, state.closed)
        };
        f.debug_struct("Semaphore")
            .field("available_permits", &free)
            .field("closed", &closed)
            .finish()
    }
}

// ---- permits ----

/// Permits of a semaphore; given back when this is dropped.
#[derive(Debug)]
struct Held<S: Deref<Target = Semaphore>> {
    semaphore: S,
    permits: usize,
}

impl<S: Deref<Target = Semaphore>> Drop for Held<S> {
    #[inline]
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.add_permits(self.permits);
        }
    }
}

/// Permits of a [`Semaphore`]; given back when this is dropped.
#[must_use = "if unused the permit is given back at once"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphorePermit<'a>(Held<&'a Semaphore>);

/// Permits of a [`Semaphore`], which they keep alive; given back when this is dropped.
#[must_use = "if unused the permit is given back at once"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct OwnedSemaphorePermit(Held<Arc<Semaphore>>);

impl<'a> SemaphorePermit<'a> {
    fn of(semaphore: &'a Semaphore, permits: usize) -> Self {
        SemaphorePermit(Held { semaphore, permits })
    }

    /// How many they are.
    pub fn num_permits(&self) -> usize {
        self.0.permits
    }

    /// Does not give them back: the semaphore has so many fewer from now on.
    pub fn forget(mut self) {
        self.0.permits = 0;
    }
}

impl OwnedSemaphorePermit {
    fn of(semaphore: Arc<Semaphore>, permits: usize) -> Self {
        OwnedSemaphorePermit(Held { semaphore, permits })
    }

    /// How many they are.
    pub fn num_permits(&self) -> usize {
        self.0.permits
    }

    /// Does not give them back: the semaphore has so many fewer from now on.
    pub fn forget(mut self) {
        self.0.permits = 0;
    }
}

// ---- errors ----

/// Why [`Semaphore::acquire`], or one of its kind, has no permit.
///
/// As an [`io::Error`] `Closed` is [`BrokenPipe`](io::ErrorKind::BrokenPipe), and the others are what [`Timeout`] and
/// [`Cancelled`] become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcquireError {
    /// The semaphore is closed.
    Closed,
    /// The deadline passed. From a form without one: that of a [`timeout`](crate::timeout) round it did, where nothing can be
    /// unwound.
    Timeout,
    /// The calling task was cancelled where nothing can be unwound: in a destructor that runs while unwinding, or in
    /// a build with `panic = "abort"`.
    Cancelled,
}

/// Why [`Semaphore::try_acquire`], or one of its kind, has no permit.
///
/// As an [`io::Error`] `NoPermits` is [`WouldBlock`](io::ErrorKind::WouldBlock), `Closed` is
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TryAcquireError {
    /// The semaphore is closed.
    Closed,
    /// Not enough are free, or somebody waits who has come earlier.
    NoPermits,
}

impl From<Early> for AcquireError {
    fn from(early: Early) -> Self {
        match early {
            Early::TimedOut | Early::Interrupted(Interrupt::Timeout) => AcquireError::Timeout,
            Early::Interrupted(Interrupt::Cancelled) => AcquireError::Cancelled,
        }
    }
}

const CLOSED: &str = "the semaphore is closed";

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcquireError::Closed => f.write_str(CLOSED),
            AcquireError::Timeout => Timeout.fmt(f),
            AcquireError::Cancelled => Cancelled.fmt(f),
        }
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::Closed => CLOSED,
            TryAcquireError::NoPermits => "the semaphore has no permits",
        })
    }
}

impl error::Error for AcquireError {}
impl error::Error for TryAcquireError {}

impl From<AcquireError> for io::Error {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Closed => io::Error::new(io::ErrorKind::BrokenPipe, error),
            AcquireError::Timeout => Timeout.into(),
            AcquireError::Cancelled => Cancelled.into(),
        }
    }
}

impl From<TryAcquireError> for io::Error {
    fn from(error: TryAcquireError) -> Self {
        match error {
            TryAcquireError::Closed => AcquireError::Closed.into(),
            TryAcquireError::NoPermits => io::Error::new(io::ErrorKind::WouldBlock, error),
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::shared::explore;
    use crate::rt::header::models::Cast;

    #[test]
    fn all_who_are_about_to_wait_for_permits_hear_that_it_is_closed() {
        explore(4, || {
            let mut cast = Cast::here();
            let semaphore = Arc::new(Semaphore::new(1));
            let waits = [2, 3].map(|wanted| {
                let semaphore = semaphore.clone();
                cast.spawn(move || semaphore.acquire_many(wanted).map(drop))
            });
            semaphore.close();
            let told = waits.map(|waits| waits.join().unwrap());
            assert_eq!(told, [Err(AcquireError::Closed); 2]);
            assert_eq!(semaphore.available_permits(), 1);
        });
    }

    #[test]
    fn no_permit_is_lost_and_nobody_waits_on_when_it_is_closed_as_a_permit_comes_and_a_time_is_up()
    {
        for wanted in [1, 2] {
            explore(4, move || {
                let mut cast = Cast::here();
                let semaphore = Arc::new(Semaphore::new(0));
                let [hasty, patient, other] = [(); 3].map(|()| semaphore.clone());
                let hastes = cast.spawn(move || hasty.acquire_deadline(Instant::now()).map(drop));
                let waits = cast.spawn(move || patient.acquire_many(wanted).map(drop));
                let closes = cast.spawn(move || other.close());
                semaphore.add_permits(1);
                closes.join().unwrap();
                let _in_time = hastes.join().unwrap();
                let waited = waits.join().unwrap();
                // There will never be two.
                assert!(waited == Err(AcquireError::Closed) || waited.is_ok() && wanted == 1);
                assert_eq!(semaphore.available_permits(), 1);
            });
        }
    }
}
