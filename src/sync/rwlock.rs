//! [`RwLock`]: who reads and who writes stand in one line, and are let in from its front.
//!
//! 1. There are readers, or one writer, or nobody. Each of them has a guard, or is on the way to one: who is let in
//!    was counted by whoever let him in.
//! 2. Who comes while somebody waits waits behind him. Who leaves, the lock or the line, lets in whoever is at the front:
//!    a writer alone, or the reader there and those right behind him.
//! 3. The value is reached through a guard, through exclusive use of the lock, or not at all.

use super::poison::{show, Before, LockTimeoutResult, Poison};
use super::wait::{let_go, Bound, Early, Line};
use crate::base::lock::Lock;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::waiter::{WaitList, Won};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockResult};
use std::time::{Duration, Instant};

/// A lock that many may hold to read, or one to write: between tasks, between threads, and between the two. As
/// [`std::sync::RwLock`].
///
/// Who has to wait in a task suspends the task, who has to wait on a plain thread blocks the thread (which runs its default
/// scheduler meanwhile, if that has tasks). It may be held over waits of any kind.
///
/// - **Order.** All stand in one line, and get the lock in the order in which they came; readers next to each other
///   together. Who comes while somebody waits stands behind him, though what he wants could be had at once. So a stream of
///   readers does not starve a writer, nor do writers a reader.
/// - **Reading twice** in one task is therefore no good idea, as with std's: if a writer has come in between, the two
///   wait for each other. The report of a [`Deadlock`](crate::Deadlock) names both.
/// - **Poisoning** is std's: a panic while it is held to write poisons. Being [cancelled](crate::JoinHandle::cancel)
///   or running out of a [`timeout`](crate::timeout) does not, although it unwinds as well.
///
/// # Examples
///
/// ```
/// use multitask::sync::{Arc, RwLock};
/// use multitask::{spawn, yield_now};
///
/// let names = Arc::new(RwLock::new(vec!["Ada"]));
/// let readers: Vec<_> = (0..3)
///     .map(|_| {
///         let names = names.clone();
///         spawn(move || {
///             let names = names.read().unwrap();
///             yield_now(); // all of them hold it
///             names.len()
///         })
///     })
///     .collect();
/// for reader in readers {
///     assert_eq!(reader.join().unwrap(), 1);
/// }
/// names.write().unwrap().push("Grace");
/// ```
pub struct RwLock<T: ?Sized> {
    state: Lock<State>,
    poison: Poison,
    value: UnsafeCell<T>,
}

struct State {
    readers: usize,
    writer: bool,
    line: WaitList<Access>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

// SAFETY: a lock that moves takes its value along.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: the value goes from one writer to the next, and is seen by several readers at a time.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

// As std's: who may have been interrupted by a panic has poisoned it.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// An unlocked one.
    ///
    /// ```
    /// use multitask::sync::RwLock;
    ///
    /// static LIMIT: RwLock<u32> = RwLock::new(10);
    /// assert_eq!(*LIMIT.read().unwrap(), 10);
    /// ```
    #[inline]
    pub const fn new(value: T) -> Self {
        RwLock {
            state: Lock::new(State {
                readers: 0,
                writer: false,
                line: WaitList::new(),
            }),
            poison: Poison::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, if nobody else has the lock any more.
    ///
    /// # Errors
    /// If it is poisoned; the value is inside.
    pub fn into_inner(self) -> LockResult<T> {
        let RwLock { poison, value, .. } = self;
        poison.judge(value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    // ---- reading ----

    /// Locks to read; waits while another writes, or waits and has come earlier.
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
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        charge();
        // It can neither be late nor say that it was interrupted.
        let _locked = self.enter(self.line(Access::Read), Access::Read, Bound::Never);
        self.poison.judge(self.reader())
    }

    /// Locks to read if nobody writes or waits. Does not wait, but like every operation it lets other tasks run now and
    /// then.
    ///
    /// # Errors
    /// `TryLockError::WouldBlock` if it is not to be had at once, `TryLockError::Poisoned` if it is poisoned.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        charge();
        self.try_read_at_once()
    }

    /// As [`read`](RwLock::read), for at most `timeout`. What can be had at once is, however short the time.
    ///
    /// # Errors
    /// [`LockTimeoutError::Timeout`](super::LockTimeoutError::Timeout) if it was not to be had in time; `Poisoned` if it is
    /// poisoned; `Cancelled` only where a wait cannot be ended by unwinding.
    ///
    /// # Panics
    /// As `read`.
    ///
    /// ```
    /// use multitask::sync::{LockTimeoutError, RwLock};
    /// use std::time::Duration;
    ///
    /// let lock = RwLock::new(1);
    /// let one = lock.read().unwrap();
    /// let two = lock.read_timeout(Duration::ZERO).unwrap();
    /// let writer = lock.write_timeout(Duration::from_millis(1));
    /// assert!(matches!(writer, Err(LockTimeoutError::Timeout)));
    /// ```
    #[inline]
    pub fn read_timeout(&self, timeout: Duration) -> LockTimeoutResult<RwLockReadGuard<'_, T>> {
        self.read_within(Bound::For(timeout))
    }

    /// As [`read`](RwLock::read), until `deadline`.
    ///
    /// # Errors
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    /// As `read`.
    #[inline]
    pub fn read_deadline(&self, deadline: Instant) -> LockTimeoutResult<RwLockReadGuard<'_, T>> {
        self.read_within(Bound::Until(deadline))
    }

    // ---- writing ----

    /// Locks to write; waits while others have it, or wait and have come earlier.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it). The lock is given back when the guard is
    /// dropped.
    ///
    /// # Errors
    /// If it is poisoned; the guard is inside.
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    #[inline(always)]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        charge();
        // As in `read`.
        let _locked = self.enter(self.line(Access::Write), Access::Write, Bound::Never);
        self.poison.judge(self.writer())
    }

    /// Locks to write if nobody has it. Does not wait, but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// As [`try_read`](RwLock::try_read).
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        charge();
        let locked = self.state.lock().admit(Access::Write);
        self.poison.judge_try(locked.then(|| self.writer()))
    }

    /// As [`write`](RwLock::write), for at most `timeout`. A free lock is locked, however short the time.
    ///
    /// # Errors
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    #[inline]
    pub fn write_timeout(&self, timeout: Duration) -> LockTimeoutResult<RwLockWriteGuard<'_, T>> {
        self.write_within(Bound::For(timeout))
    }

    /// As [`write`](RwLock::write), until `deadline`.
    ///
    /// # Errors
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    #[inline]
    pub fn write_deadline(&self, deadline: Instant) -> LockTimeoutResult<RwLockWriteGuard<'_, T>> {
        self.write_within(Bound::Until(deadline))
    }

    // ---- looking ----

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

    /// The value; nothing has to be locked, for nobody else has the lock.
    ///
    /// # Errors
    /// If it is poisoned; the reference is inside.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.judge(self.value.get_mut())
    }

    // ---- behind these ----

    #[inline(always)]
    fn read_within(&self, bound: Bound) -> LockTimeoutResult<RwLockReadGuard<'_, T>> {
        charge();
        let locked = self.enter(self.line(Access::Read).fallible(), Access::Read, bound);
        self.poison.judge_timed(locked.map(|()| self.reader()))
    }

    #[inline(always)]
    fn write_within(&self, bound: Bound) -> LockTimeoutResult<RwLockWriteGuard<'_, T>> {
        charge();
        let locked = self.enter(self.line(Access::Write).fallible(), Access::Write, bound);
        self.poison.judge_timed(locked.map(|()| self.writer()))
    }

    fn try_read_at_once(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let locked = self.state.lock().admit(Access::Read);
        self.poison.judge_try(locked.then(|| self.reader()))
    }

    #[inline]
    fn line(&self, access: Access) -> Line<'_, State, Access> {
        let why = match access {
            Access::Read => Why::Reading,
            Access::Write => Why::Writing,
        };
        Line::new(&self.state, |state| &state.line, why).when_one_left(State::let_go)
    }

    #[inline(always)]
    fn enter(
        &self,
        line: Line<'_, State, Access>,
        access: Access,
        bound: Bound,
    ) -> Result<(), Early> {
        line.wait(bound, || access, |state| state.admit(access))
            .map(|_| ())
    }

    /// The caller was admitted to read, for the guard.
    #[inline]
    fn reader(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard {
            lock: self,
            stays: PhantomData,
        }
    }

    /// The caller was admitted to write, for the guard.
    #[inline]
    fn writer(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard {
            lock: self,
            before: Before::now(),
            stays: PhantomData,
        }
    }

    #[inline]
    fn leave(&self, leave: fn(&mut State)) {
        let first = {
            let mut state = self.state.lock();
            leave(&mut state);
            state.next()
        };
        if let Some(first) = first {
            drop(first);
            let_go(&self.state, State::next);
        }
    }
}

impl State {
    /// Lets the caller in if that is possible and nobody has come earlier.
    #[inline]
    fn admit(&mut self, access: Access) -> bool {
        let admitted = self.line.is_empty() && self.has_room_for(access);
        if admitted {
            self.count(access);
        }
        admitted
    }

    fn has_room_for(&self, access: Access) -> bool {
        !self.writer && (self.readers == 0 || access == Access::Read)
    }

    fn count(&mut self, access: Access) {
        match access {
            Access::Read => self.readers += 1,
            Access::Write => self.writer = true,
        }
    }

    /// Lets in whoever is at the front of the line, if that is possible.
    #[inline]
    fn next(&mut self) -> Option<Won<Access>> {
        // SAFETY: the lock is held, and the list is not used by what is asked.
        let mut first = unsafe { self.line.win_front(|access| self.has_room_for(*access)) }?;
        self.count(*first.slot());
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

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.try_read_at_once();
        show(f.debug_struct("RwLock"), &self.poison, locked)
    }
}

/// The lock is held to read until this is dropped. It stays with the task or thread that locked.
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    /// Not `Send`.
    stays: PhantomData<*const ()>,
}

/// The lock is held to write until this is dropped. It stays with the task or thread that locked.
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    before: Before,
    /// Not `Send`.
    stays: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives a shared value and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, without letting anybody write in between. Readers at the front of the line are let in too.
    ///
    /// ```
    /// use multitask::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!((*reader, *lock.read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let this = ManuallyDrop::new(s);
        let lock = this.lock;
        lock.poison.end(this.before);
        lock.leave(|state| (state.writer, state.readers) = (false, 1));
        lock.reader()
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by 1 nobody writes.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by 1 nobody else has the lock, and nobody borrows this guard mutably.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by 1 nobody else has the lock, and nobody else borrows this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.leave(|state| state.readers -= 1);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.end(self.before);
        self.lock.leave(|state| state.writer = false);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
