//! The lock as the models of what it locks know it: one that blocks, for with three threads that spin loom never ends.
//!
//! The lock itself is `lock.rs`, here as everywhere; it has models of its own.

// Of use in `real`.
#[cfg(test)]
use super::barrier;
use super::shared;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock;

// For tests only, as this file is.
#[cfg(test)]
#[path = "lock.rs"]
mod real;
// What it has besides: the two names of below come first.
#[allow(unused_imports)]
#[cfg(test)]
pub(crate) use real::*;

/// See the head of this file. It has no bias, however often it is taken.
pub(crate) struct Lock<T, const STREAK: u16 = 0> {
    /// Loom's when it is first used, as `shared_loom.rs` has it.
    held: OnceLock<shared::Mutex<()>>,
    value: UnsafeCell<T>,
}

// SAFETY: one thread at a time has the value, which goes from one to the next.
unsafe impl<T: Send, const STREAK: u16> Sync for Lock<T, STREAK> {}

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
            held: OnceLock::new(),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_, T, STREAK> {
        let held = self.held.get_or_init(|| shared::Mutex::new(()));
        Locked {
            value: &self.value,
            _held: held.lock().expect("nothing is poisoned"),
        }
    }
}

/// The lock is held until this is dropped.
#[must_use]
pub(crate) struct Locked<'a, T, const STREAK: u16 = 0> {
    value: &'a UnsafeCell<T>,
    _held: shared::MutexGuard<'a, ()>,
}

impl<T, const STREAK: u16> Deref for Locked<'_, T, STREAK> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, and nobody borrows this guard mutably.
        unsafe { &*self.value.get() }
    }
}

impl<T, const STREAK: u16> DerefMut for Locked<'_, T, STREAK> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and nobody else borrows this guard.
        unsafe { &mut *self.value.get() }
    }
}
