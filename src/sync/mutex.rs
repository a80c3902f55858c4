//! [`Mutex`]: std's face over [`RawMutex`].
//!
//! 1. Who has a guard has locked the raw mutex, and unlocks it when the guard is dropped.
//! 2. The value is reached through a guard, through exclusive use of the mutex, or not at all.

use super::poison::{show, Before, LockTimeoutResult, Poison};
use super::raw_mutex::RawMutex;
use super::wait::Bound;
use crate::rt::park::charge;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockResult};
use std::time::{Duration, Instant};

/// A mutual exclusion lock between tasks, between threads, and between the two. As [`std::sync::Mutex`].
///
/// Who has to wait in a task suspends the task, who has to wait on a plain thread blocks the thread (which runs its default
/// scheduler meanwhile, if that has tasks). It may be held over waits of any kind: who wants it meanwhile waits, and all
/// others go on.
///
/// - **Order.** Those who wait get it in the order in which they came. To a waiter on the thread that unlocks it
///   is handed over, and nobody can come in between; a waiter on another thread has to be woken first, and can be overtaken
///   by who runs until it comes, but not a second time.
/// - **Poisoning** is std's: a panic while the guard is held poisons. Being
///   [cancelled](crate::JoinHandle::cancel) or running out of a [`timeout`](crate::timeout) does not, although it
///   unwinds as well.
/// - **Twice.** A task that locks what it has locked waits for ever, and is named by the report of a
///   [`Deadlock`](crate::Deadlock).
///
/// # Examples
///
/// ```
/// use multitask::sync::{Arc, Mutex};
/// use multitask::{spawn, yield_now};
///
/// let total = Arc::new(Mutex::new(0));
/// let tasks: Vec<_> = (1..=10)
///     .map(|n| {
///         let total = total.clone();
///         spawn(move || {
///             let mut total = total.lock().unwrap();
///             let seen = *total;
///             yield_now(); // the others run, and wait for the lock
///             *total = seen + n;
///         })
///     })
///     .collect();
/// for task in tasks {
///     task.join().unwrap();
/// }
/// assert_eq!(*total.lock().unwrap(), 55);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Poison,
    value: UnsafeCell<T>,
}

// SAFETY: one task or thread at a time has the value, which goes from one to the next.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// As std's: who may have been interrupted by a panic has poisoned it.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked one.
    ///
    /// ```
    /// use multitask::sync::Mutex;
    ///
    /// static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    /// NAMES.lock().unwrap().push("Ada".into());
    /// ```
    #[inline]
    pub const fn new(value: T) -> Self {
        Mutex {
            raw: RawMutex::new(),
            poison: Poison::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, if nobody else has the mutex any more.
    ///
    /// # Errors
    /// If it is poisoned; the value is inside.
    pub fn into_inner(self) -> LockResult<T> {
        let Mutex { poison, value, .. } = self;
        poison.judge(value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks; waits while another has it.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it). The lock is given back when the guard is
    /// dropped.
    ///
    /// # Errors
    /// If it is poisoned; the guard is inside.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        charge();
        self.raw.lock();
        self.poison.judge(self.guard())
    }

    /// Locks if nobody else has it. Does not wait, but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// `TryLockError::WouldBlock` if it is locked, `TryLockError::Poisoned` if it is poisoned.
    ///
    /// ```
    /// use multitask::sync::{Mutex, TryLockError};
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    /// ```
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        charge();
        self.try_at_once()
    }

    /// As [`lock`](Mutex::lock), for at most `timeout`. A free mutex is locked, however short the time.
    ///
    /// # Errors
    /// [`LockTimeoutError::Timeout`](super::LockTimeoutError::Timeout) if it was not to be had in time; `Poisoned` if it is
    /// poisoned; `Cancelled` only where a wait cannot be ended by unwinding.
    ///
    /// # Panics
    /// As `lock`.
    ///
    /// ```
    /// use multitask::sync::{LockTimeoutError, Mutex};
    /// use std::time::Duration;
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock().unwrap();
    /// let again = mutex.lock_timeout(Duration::from_millis(1));
    /// assert!(matches!(again, Err(LockTimeoutError::Timeout)));
    /// ```
    #[inline]
    pub fn lock_timeout(&self, timeout: Duration) -> LockTimeoutResult<MutexGuard<'_, T>> {
        self.lock_within(Bound::For(timeout))
    }

    /// As [`lock`](Mutex::lock), until `deadline`.
    ///
    /// # Errors
    /// As [`lock_timeout`](Mutex::lock_timeout).
    ///
    /// # Panics
    /// As `lock`.
    #[inline]
    pub fn lock_deadline(&self, deadline: Instant) -> LockTimeoutResult<MutexGuard<'_, T>> {
        self.lock_within(Bound::Until(deadline))
    }

    /// Whether a panic has poisoned it. As it can change at any time, only a lock can rely on it.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Takes the poison away: whatever the panic left half done is whole again.
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value; nothing has to be locked, for nobody else has the mutex.
    ///
    /// # Errors
    /// If it is poisoned; the reference is inside.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.judge(self.value.get_mut())
    }

    #[inline(always)]
    fn lock_within(&self, bound: Bound) -> LockTimeoutResult<MutexGuard<'_, T>> {
        charge();
        let locked = self.raw.lock_within(bound);
        self.poison.judge_timed(locked.map(|()| self.guard()))
    }

    fn try_at_once(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let locked = self.raw.try_lock().then(|| self.guard());
        self.poison.judge_try(locked)
    }

    /// The caller has locked the raw mutex, for the guard.
    #[inline]
    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: self,
            before: Before::now(),
            stays: PhantomData,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f.debug_struct("Mutex"), &self.poison, self.try_at_once())
    }
}

/// The mutex is locked until this is dropped; through it the value is reached.
///
/// It stays with the task or thread that locked:
///
/// ```compile_fail
/// use multitask::sync::Mutex;
///
/// static MUTEX: Mutex<i32> = Mutex::new(1);
/// let guard = MUTEX.lock().unwrap();
/// std::thread::spawn(move || drop(guard));
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a Mutex<T>,
    before: Before,
    /// Not `Send`.
    stays: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// What a condition variable unlocks and locks again.
    pub(super) fn raw(&self) -> &'a RawMutex {
        &self.mutex.raw
    }

    /// The guard, as if it had just been locked.
    pub(super) fn judge(self) -> LockResult<Self> {
        let mutex = self.mutex;
        mutex.poison.judge(self)
    }
}

// SAFETY: a shared guard gives a shared value and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by 1 the mutex is locked, and nobody borrows this guard mutably.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by 1 the mutex is locked, and nobody else borrows this guard.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.end(self.before);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
