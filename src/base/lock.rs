//! A lock round a few instructions: free, it costs one compare-exchange and one store.
//!
//! 1. Who holds it neither suspends nor waits: others spin.
//! 2. It knows no poison. What it guards is changed only by code that leaves it whole wherever that may panic.
//!
//! A waiter looks again after longer and longer pauses, and then lets other threads run, for the holder may be one of
//! them: the `Backoff` of crossbeam-utils.

use super::shared::{spin, yield_now, AtomicBool, Ordering, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Looks at the lock, each after twice the time of the last, before the processor is given to others.
const STEPS: u32 = 6;

/// See the head of this file.
pub(crate) struct Lock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: one thread at a time has the value, which goes from one to the next.
unsafe impl<T: Send> Sync for Lock<T> {}

// By 2.
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        if !self.try_take() {
            self.contend();
        }
        Locked(self)
    }

    #[inline]
    fn try_take(&self) -> bool {
        // Acquire: what the last holder did is seen.
        self.held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn contend(&self) {
        loop {
            for step in 0..=STEPS {
                spin(1 << step);
                // Looked at before it is asked for: that does not take the line away from the holder.
                if !self.held.load(Ordering::Relaxed) && self.try_take() {
                    return;
                }
            }
            yield_now();
        }
    }
}

/// The lock is held until this is dropped.
#[must_use]
pub(crate) struct Locked<'a, T>(&'a Lock<T>);

// SAFETY: it gives what `&mut T` gives, and may be given up on any thread.
unsafe impl<T: Sync> Sync for Locked<'_, T> {}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, and nobody borrows this guard mutably.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and nobody else borrows this guard.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
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
    use crate::base::shared::explore;
    use loom::thread;
    use std::sync::Arc;

    /// Two threads: loom never ends with a third, for two that spin could take turns for ever.
    #[test]
    fn one_thread_at_a_time_has_the_value_and_sees_what_the_last_did() {
        explore(3, || {
            let lock = Lock::new(0);
            lock.held.make();
            lock.value.make();
            let lock = Arc::new(lock);
            let twice = |lock: &Lock<u32>| (0..2).for_each(|_| *lock.lock() += 1);
            let other = lock.clone();
            let other = thread::spawn(move || twice(&other));
            twice(&lock);
            other.join().unwrap();
            assert_eq!(*lock.lock(), 4);
        });
    }
}
