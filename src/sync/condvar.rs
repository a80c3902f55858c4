//! [`Condvar`]: a line, in which one stands before the mutex is unlocked.
//!
//! 1. A waiter is in line from before its mutex is unlocked until its wait ends: whoever changes the condition under the
//!    mutex, and notifies then, finds it there.
//! 2. A notification wins a wait. A waiter that is interrupted or late cannot be won, so no notification is lost with it.
//! 3. A wait that returns has locked the mutex again. One that unwinds has not, and has no guard any more: whoever holds the
//!    mutex may cancel a waiter and wait for its end.

use super::mutex::MutexGuard;
use super::wait::{Bound, Early, Line, Place};
use crate::base::lock::Lock;
use crate::rt::clock::{self, deadline_in};
use crate::rt::header::Why;
use crate::rt::park::me;
use crate::rt::waiter::WaitList;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

/// A condition variable: waits until what a [`Mutex`](super::Mutex) guards has changed. As [`std::sync::Condvar`].
///
/// Tasks and plain threads wait and notify alike; who waits in a task suspends the task, who waits on a plain thread blocks
/// the thread (which runs its default scheduler meanwhile, if that has tasks). Those who wait are notified in the order in
/// which they came. One condition variable may be used with several mutexes.
///
/// A waiter that is [cancelled](crate::JoinHandle::cancel), or whose [`timeout`](crate::timeout) passes, unwinds without its
/// guard: it does not wait for the mutex, and keeps no notification from the others.
///
/// # Examples
///
/// ```
/// use multitask::spawn;
/// use multitask::sync::{Arc, Condvar, Mutex};
///
/// let pair = Arc::new((Mutex::new(false), Condvar::new()));
/// let shared = pair.clone();
/// let waiter = spawn(move || {
///     let (ready, changed) = &*shared;
///     let ready = changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap();
///     assert!(*ready);
/// });
/// let (ready, changed) = &*pair;
/// *ready.lock().unwrap() = true;
/// changed.notify_one();
/// waiter.join().unwrap();
/// ```
pub struct Condvar {
    line: Lock<WaitList>,
}

impl Condvar {
    /// One that nobody waits for.
    #[inline]
    pub const fn new() -> Self {
        Condvar {
            line: Lock::new(WaitList::new()),
        }
    }

    /// Unlocks the mutex, waits to be notified, and locks it again.
    ///
    /// Suspends the calling task (on a plain thread: blocks it). As with std's, look at the condition again afterwards: it may
    /// have changed back in the meantime.
    ///
    /// # Errors
    /// If the mutex is poisoned; the guard is inside.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let (guard, _) = self.wait_within(guard, Bound::Never);
        guard.judge()
    }

    /// As [`wait`](Condvar::wait), until `condition` does not hold any more. It is asked under the mutex, before
    /// waiting and after each notification.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// # Panics
    /// As `wait`; and if `condition` does.
    pub fn wait_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Condvar::wait), for at most `timeout`. Locking the mutex again takes the time it takes.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// # Panics
    /// As `wait`.
    ///
    /// ```
    /// use multitask::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (mutex, changed) = (Mutex::new(0), Condvar::new());
    /// let (_guard, result) = changed
    ///     .wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1))
    ///     .unwrap();
    /// assert!(result.timed_out());
    /// ```
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        judge(self.wait_within(guard, Bound::For(timeout)))
    }

    /// As [`wait`](Condvar::wait), until `deadline`.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// # Panics
    /// As `wait`.
    pub fn wait_deadline<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        judge(self.wait_within(guard, Bound::Until(deadline)))
    }

    /// As [`wait_while`](Condvar::wait_while), for at most `timeout`: it has timed out if `condition` still holds then.
    ///
    /// # Errors
    /// As `wait_while`.
    ///
    /// # Panics
    /// As `wait_while`.
    pub fn wait_timeout_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let deadline = deadline_in(timeout);
        loop {
            if !condition(&mut *guard) {
                return judge((guard, WaitTimeoutResult(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= clock::now()) {
                return judge((guard, WaitTimeoutResult(true)));
            }
            let bound = deadline.map_or(Bound::Never, Bound::Until);
            guard = judge(self.wait_within(guard, bound))?.0;
        }
    }

    /// Lets the one go on that has waited for longest, if anybody waits. Does not wait, and need not be called under the
    /// mutex.
    pub fn notify_one(&self) {
        // SAFETY: the lock is held.
        let first = unsafe { self.line.lock().win_front(|()| true) };
        // The lock is free when it goes on: it may be on another thread and come for it.
        drop(first);
    }

    /// Lets all go on that wait now. Does not wait, and need not be called under the mutex.
    pub fn notify_all(&self) {
        // SAFETY: the lock is held.
        unsafe { self.line.lock().wake_all() };
    }

    #[inline(always)]
    fn wait_within<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        mut bound: Bound,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let mutex = guard.raw();
        let line = Line::new(&self.line, |list| list, Why::Condvar);
        // Who unwinds out of the wait leaves the mutex as it is, free or another's: the guard came by value, and is gone.
        let guard = ManuallyDrop::new(guard);
        let list = self.line.lock();
        let woken = line.wait_once(list, &mut bound, ((), Place::Last), || mutex.unlock());
        // Without interruption: what is due is met at the next wait.
        me().scopes.shield(|| mutex.lock());
        let guard = ManuallyDrop::into_inner(guard);
        // Where it would be interrupted but cannot, it returns without having been notified. That is allowed, and loops
        // of its callers wait again.
        (guard, WaitTimeoutResult(woken == Err(Early::TimedOut)))
    }
}

fn judge<T: ?Sized>(
    (guard, result): (MutexGuard<'_, T>, WaitTimeoutResult),
) -> LockResult<(MutexGuard<'_, T>, WaitTimeoutResult)> {
    match guard.judge() {
        Ok(guard) => Ok((guard, result)),
        Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), result))),
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// Whether a bounded wait on a [`Condvar`] has ended because its time was up. As [`std::sync::WaitTimeoutResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up before a notification came.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}
