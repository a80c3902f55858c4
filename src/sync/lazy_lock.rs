//! [`LazyLock`]: an initializer that becomes its value.
//!
//! 1. While the `Once` is complete the value is there and does not change but through exclusive use of the whole.
//! 2. Until then what is inside belongs to the initializer of the `Once`, and to exclusive use of the whole.

use super::once::Once;
use super::once_lock::show;
use crate::rt::park::me;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::replace;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that is computed when it is first used. As [`std::sync::LazyLock`].
///
/// Works between tasks, between threads, and between the two. Who comes while another computes the value waits for it;
/// computing it may wait. If that panics, the lock is poisoned, and using it panics.
///
/// The initializer can run only once, so it runs as in a [`shield`](crate::task::shield): a task that is cancelled
/// meanwhile, or whose [`timeout`](crate::timeout) passes, is interrupted at its next wait after that.
///
/// # Examples
///
/// ```
/// use multitask::sync::LazyLock;
///
/// static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["Ada".to_string()]);
/// assert_eq!(NAMES.len(), 1);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    inside: UnsafeCell<Inside<T, F>>,
}

enum Inside<T, F> {
    Initializer(F),
    Value(T),
    /// The initializer runs, or has panicked.
    Nothing,
}

// SAFETY: the initializer is moved out and the value in by one thread, which others may have made or drop; the value is seen by
// several.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// One whose value `f` will compute.
    #[inline]
    pub const fn new(f: F) -> Self {
        LazyLock {
            once: Once::new(),
            inside: UnsafeCell::new(Inside::Initializer(f)),
        }
    }

    /// The value; computes it if it is not there, or waits while another does. So does every use by `*`.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// If the initializer does, or has, or uses this lock. On a plain thread, if nothing can ever happen again on the
    /// thread's default scheduler: see [`Deadlock`](crate::Deadlock).
    #[inline]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        this.once.call_once_force(|_| {
            let inside = this.inside.get();
            // SAFETY: by 2.
            let initializer = unsafe { replace(&mut *inside, Inside::Nothing) };
            let Inside::Initializer(f) = initializer else {
                panic_poisoned();
            };
            let value = me().scopes.shield(f);
            // SAFETY: by 2; nothing is left there that would have to be dropped.
            unsafe { *inside = Inside::Value(value) };
        });
        LazyLock::get(this).expect("it was computed")
    }

    /// As [`force`](LazyLock::force), for whoever has the lock alone.
    ///
    /// # Panics
    /// As `force`.
    #[inline]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        Self::force(this);
        LazyLock::get_mut(this).expect("it was computed")
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it was computed. Does not wait.
    #[inline]
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        if !this.once.is_completed() {
            return None;
        }
        // SAFETY: by 1.
        match unsafe { &*this.inside.get() } {
            Inside::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value, if it was computed; for whoever has the lock alone.
    #[inline]
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        match this.inside.get_mut() {
            Inside::Value(value) => Some(value),
            _ => None,
        }
    }
}

#[cold]
fn panic_poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned")
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f.debug_tuple("LazyLock"), LazyLock::get(self))
    }
}
