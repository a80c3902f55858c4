//! A lock round a few instructions. Free, it costs one compare-exchange and one store; to the thread that it is biased
//! towards, four loads and two stores.
//!
//! 1. Who holds it neither suspends nor waits: others spin.
//! 2. It knows no poison. What it guards is changed only by code that leaves it whole wherever that may panic.
//! 3. Who has set `HELD` has the lock, if there is no bias. A bias is set, and taken back, by that one only.
//! 4. The thread that `bias` names takes the lock by setting `BUSY`, and by looking at `bias` again. Who has set `HELD` and
//!    takes the bias back waits then until nobody is busy.
//! 5. The thread that took it gives it up.
//!
//! Most of what tasks share is shared by tasks of one worker, and an atomic read-modify-write, which is there for others,
//! is then half of what an operation costs. So a lock that one worker took many times in a row is its own until
//! another thread comes. Between the owner's store to `BUSY` and its second look at `bias` there ought to be a fence, at
//! the price of what was to be saved. The other side pays for both, as it comes so rarely: its barrier (Linux's
//! `membarrier`, see `barrier`) makes every thread of the process execute a fence. Either that comes before the owner's
//! second look, which sees that the bias is gone; or the owner's store came before it, and the other one sees that it is
//! busy. The idea is the biased locking of Kawachiya, Koseki and Onodera.
//!
//! A barrier costs a fraction of a microsecond to tens of them, as the other processors are idle or not. So a lock is
//! biased when what its read-modify-writes have cost comes near that, and a few times at most: whatever comes, it
//! costs no more than about twice what it would have cost without (the argument of Karlin and others, of spinning). Who knows
//! that others rarely come gives a shorter streak.
//!
//! A waiter looks again after longer and longer pauses, and then lets other threads run, for the holder may be one of
//! them: the `Backoff` of crossbeam-utils.

use super::barrier::barrier;
use super::shared::{fence_if_others_do, per_thread, spin, yield_now};
use super::shared::{AtomicBool, AtomicU32, Ordering, UnsafeCell};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic;

/// Looks at the lock, each after twice the time of the last, before the processor is given to others.
const STEPS: u32 = 6;

/// So often in a row a worker takes a lock before it is biased towards it.
const LONG: u16 = if cfg!(loom) { 1 } else { 1000 };
/// So often a bias is taken back before there is none any more.
const PATIENCE: u8 = 4;

/// No thread has this number.
const NOBODY: u32 = 0;
/// That of all threads that no lock is biased towards.
const ANYBODY: u32 = u32::MAX;

per_thread! {
    static ME: Cell<u32> = Cell::new(ANYBODY);
}

/// Locks may be biased towards the calling thread.
pub(crate) fn bias_towards_this_thread() {
    static NEXT: atomic::AtomicU32 = atomic::AtomicU32::new(NOBODY + 1);

    ME.with(|me| {
        if me.get() == ANYBODY {
            // Relaxed: only that no two get the same. When all are used up the rest goes without.
            let (relaxed, next) = (Ordering::Relaxed, |number: u32| number.checked_add(1));
            let number = NEXT.fetch_update(relaxed, relaxed, next);
            me.set(number.unwrap_or(ANYBODY));
        }
    });
}

/// See the head of this file. `STREAK` is how often in a row a worker takes it before it is biased towards it.
// As written: what stands before a lock is near to it, and to the beginning of what it guards.
#[repr(C)]
pub(crate) struct Lock<T, const STREAK: u16 = LONG> {
    /// What is set to take it: `HELD`, or `BUSY` by the thread that it is biased towards.
    flags: [AtomicBool; 2],
    /// The thread that the lock is biased towards, or `NOBODY`.
    bias: AtomicU32,
    /// Of who has set `HELD`: how it came to be taken.
    past: UnsafeCell<Past>,
    value: UnsafeCell<T>,
}

// Places in `flags`, by whether the lock is the taker's own.
const HELD: usize = false as usize;
const BUSY: usize = true as usize;

struct Past {
    /// Who took it last,
    last: u32,
    /// how often in a row,
    streak: u16,
    /// and how often it was biased towards a wrong one.
    mistakes: u8,
}

// SAFETY: one thread at a time has the value, which goes from one to the next.
unsafe impl<T: Send, const STREAK: u16> Sync for Lock<T, STREAK> {}

// By 2.
impl<T, const STREAK: u16> UnwindSafe for Lock<T, STREAK> {}
impl<T, const STREAK: u16> RefUnwindSafe for Lock<T, STREAK> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock::with(value)
    }
}

impl<T: Default, const STREAK: u16> Default for Lock<T, STREAK> {
    fn default() -> Self {
        Lock::with(T::default())
    }
}

impl<T, const STREAK: u16> Lock<T, STREAK> {
    const fn with(value: T) -> Self {
        Lock {
            flags: [AtomicBool::new(false), AtomicBool::new(false)],
            bias: AtomicU32::new(NOBODY),
            past: UnsafeCell::new(Past {
                last: NOBODY,
                streak: 0,
                mistakes: 0,
            }),
            value: UnsafeCell::new(value),
        }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> Locked<'_, T, STREAK> {
        let me = ME.with(Cell::get);
        let is_own = self.bias.load(Ordering::Relaxed) == me && self.try_own(me);
        if !is_own {
            self.take_among_others(me);
        }
        Locked {
            lock: self,
            is_own,
            here: PhantomData,
        }
    }

    /// Takes a lock that is not the caller's own.
    // Not inlined: the whole would be too much for many a place.
    #[inline(never)]
    fn take_among_others(&self, me: u32) {
        if !self.try_take() {
            self.contend();
        }
        if me != ANYBODY || self.bias.load(Ordering::Relaxed) != NOBODY {
            self.consider(me);
        }
    }

    /// Takes a lock that is biased towards the caller.
    #[inline(always)]
    fn try_own(&self, me: u32) -> bool {
        // It is not its own twice.
        if self.flags[BUSY].load(Ordering::Relaxed) {
            return false;
        }
        self.flags[BUSY].store(true, Ordering::Relaxed);
        // Who takes the bias back sees that we are busy, or we see that it is gone.
        fence_if_others_do();
        if self.bias.load(Ordering::Relaxed) == me {
            return true;
        }
        self.flags[BUSY].store(false, Ordering::Release);
        false
    }

    /// Whether it is biased towards the calling thread.
    #[cfg(all(test, target_os = "linux", not(multitask_portable)))]
    pub(crate) fn is_own(&self) -> bool {
        self.bias.load(Ordering::Relaxed) == ME.with(Cell::get)
    }

    #[inline]
    fn try_take(&self) -> bool {
        // Acquire: what the last holder did is seen.
        self.flags[HELD]
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn contend(&self) {
        wait_until(|| {
            // Looked at before it is asked for: that does not take the line away from the holder.
            !self.flags[HELD].load(Ordering::Relaxed) && self.try_take()
        });
    }

    /// For who has set `HELD`: takes a bias back, or sets one.
    fn consider(&self, me: u32) {
        // SAFETY: by 3 it is ours.
        let past = unsafe { &mut *self.past.get() };
        if self.bias.load(Ordering::Relaxed) != NOBODY {
            past.mistakes += 1;
            past.last = NOBODY;
            return self.take_bias_back();
        }
        if past.last != me {
            past.last = me;
            past.streak = 0;
        } else if past.streak < STREAK {
            past.streak += 1;
        } else if past.mistakes < PATIENCE && me != ANYBODY && barrier().is_some() {
            // Relaxed: by 3 everybody else comes to it through `HELD`, which is given up later.
            self.bias.store(me, Ordering::Relaxed);
        }
    }

    #[cold]
    fn take_bias_back(&self) {
        self.bias.store(NOBODY, Ordering::Relaxed);
        let barrier = barrier().expect("there was a bias");
        barrier();
        // Acquire: what the owner did is seen.
        wait_until(|| !self.flags[BUSY].load(Ordering::Acquire));
    }
}

/// Looks until it is done, at longer and longer intervals: another thread is about to see to it.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    loop {
        for step in 0..=STEPS {
            if done() {
                return;
            }
            spin(1 << step);
        }
        yield_now();
    }
}

/// The lock is held until this is dropped.
#[must_use]
pub(crate) struct Locked<'a, T, const STREAK: u16 = LONG> {
    lock: &'a Lock<T, STREAK>,
    /// Which flag was set to take it. (Not where it is: that would be kept on the stack, and those of tasks are read from far.)
    is_own: bool,
    /// By 5 it is not `Send`.
    here: PhantomData<*const ()>,
}

// SAFETY: who shares it gets what `&T` gives.
unsafe impl<T: Sync, const STREAK: u16> Sync for Locked<'_, T, STREAK> {}

impl<T, const STREAK: u16> Deref for Locked<'_, T, STREAK> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, and nobody borrows this guard mutably.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, const STREAK: u16> DerefMut for Locked<'_, T, STREAK> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and nobody else borrows this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, const STREAK: u16> Drop for Locked<'_, T, STREAK> {
    #[inline]
    fn drop(&mut self) {
        // Release: what was done is seen by the next one.
        self.lock.flags[usize::from(self.is_own)].store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn increments_of_four_threads_all_count() {
        const EACH: u64 = 100_000;
        let count = Arc::new(Lock::new(0));
        let threads = [(); 4].map(|()| {
            let count = count.clone();
            thread::spawn(move || (0..EACH).for_each(|_| *count.lock() += 1))
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*count.lock(), 4 * EACH);
    }

    #[test]
    fn a_panic_gives_the_lock_back() {
        let lock = Lock::new(5);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _held = lock.lock();
            panic!("while it is held");
        }));
        assert!(panics.is_err());
        assert_eq!(*lock.lock(), 5);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::barrier::provide_for_models;
    use crate::base::shared::explore;
    use loom::thread;
    use std::sync::Arc;

    // Two threads: loom never ends with a third, for two that spin could take turns for ever.

    fn made() -> Arc<Lock<u32>> {
        let lock = Lock::new(0);
        lock.flags[HELD].make();
        lock.flags[BUSY].make();
        lock.bias.make();
        lock.past.make();
        lock.value.make();
        Arc::new(lock)
    }

    fn times(times: u32, lock: &Lock<u32>) {
        (0..times).for_each(|_| *lock.lock() += 1);
    }

    /// As workers do.
    fn with_bias() {
        provide_for_models();
        bias_towards_this_thread();
    }

    #[test]
    fn one_thread_at_a_time_has_the_value_and_sees_what_the_last_did() {
        explore(3, || {
            let lock = made();
            let other = lock.clone();
            let other = thread::spawn(move || times(2, &other));
            times(2, &lock);
            other.join().unwrap();
            assert_eq!(*lock.lock(), 4);
        });
    }

    #[test]
    fn the_owner_and_who_takes_the_bias_back_exclude_each_other() {
        explore(3, || {
            with_bias();
            let lock = made();
            times(u32::from(LONG) + 2, &lock);
            assert!(lock.is_own());
            let other = lock.clone();
            let other = thread::spawn(move || times(1, &other));
            times(2, &lock);
            other.join().unwrap();
            assert!(!lock.is_own());
            assert_eq!(*lock.lock(), u32::from(LONG) + 5);
        });
    }

    #[test]
    fn threads_that_take_the_bias_from_each_other_exclude_each_other() {
        explore(3, || {
            with_bias();
            let lock = made();
            let other = lock.clone();
            let other = thread::spawn(move || {
                bias_towards_this_thread();
                times(4, &other);
            });
            times(4, &lock);
            other.join().unwrap();
            assert_eq!(*lock.lock(), 8);
        });
    }
}
