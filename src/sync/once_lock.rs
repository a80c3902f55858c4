//! [`OnceLock`]: a place for a value, and the [`Once`] that says whether it is there.
//!
//! 1. The place holds a value if, and only if, the `Once` is complete.
//! 2. It is written by the initializer of the `Once`, and by whoever has exclusive use of the whole.

use super::once::Once;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{replace, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that is written once, by whoever comes first. As [`std::sync::OnceLock`].
///
/// Works between tasks, between threads, and between the two. Who comes while another computes the value waits for it;
/// computing it may wait. If that panics, or is cancelled, or runs out of a [`timeout`](crate::timeout), the next one
/// computes it: nothing is poisoned.
///
/// # Examples
///
/// ```
/// use multitask::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
/// assert_eq!(NAME.get(), None);
/// assert_eq!(NAME.get_or_init(|| "Ada".to_string()), "Ada");
/// assert_eq!(NAME.set("Grace".to_string()), Err("Grace".to_string()));
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<MaybeUninit<T>>,
    /// It owns a `T`, and drops it.
    owns: PhantomData<T>,
}

// SAFETY: the value is moved in by one thread, dropped by another, and seen by several.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
// SAFETY: a value moves along.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// An empty one.
    #[inline]
    pub const fn new() -> Self {
        OnceLock {
            once: Once::new(),
            value: UnsafeCell::new(MaybeUninit::uninit()),
            owns: PhantomData,
        }
    }

    /// The value, if it is there. Does not wait.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: by 1; shared use of the whole gives no more than a shared value.
        let value = || unsafe { (*self.value.get()).assume_init_ref() };
        self.once.is_completed().then(value)
    }

    /// The value, if it is there; nothing has to wait, for nobody else has the lock.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if !self.once.is_completed() {
            return None;
        }
        // SAFETY: by 1.
        Some(unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Waits until somebody has written the value.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.written()
    }

    /// Writes `value` if none is there; waits while another one is computed.
    ///
    /// # Errors
    /// If one is there; `value` is given back.
    ///
    /// # Panics
    /// As [`get_or_init`](OnceLock::get_or_init).
    #[inline]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.init(|| value.take());
        value.map_or(Ok(()), Err)
    }

    /// The value; computes it if it is not there, or waits while another does.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// If `f` does, or uses this function on the same lock. On a plain thread, if nothing can ever happen again on the
    /// thread's default scheduler: see [`Deadlock`](crate::Deadlock).
    #[inline]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        self.init(|| Some(f()));
        self.written()
    }

    /// The value, if there is one.
    #[inline]
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out, if there is one: it is as new.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_completed() {
            return None;
        }
        self.once = Once::new();
        let value = replace(self.value.get_mut(), MaybeUninit::uninit());
        // SAFETY: by 1 it was there.
        Some(unsafe { value.assume_init() })
    }

    /// Has `f`, called at most once, which then has a value, write it if none is there.
    #[inline]
    fn init(&self, f: impl FnOnce() -> Option<T>) {
        self.once.call_once_force(|_| {
            let value = f().expect("it is called once");
            // SAFETY: by 2 nobody else uses the place now.
            unsafe { (*self.value.get()).write(value) };
        });
    }

    /// After somebody has written it.
    #[inline]
    fn written(&self) -> &T {
        self.get().expect("it was written")
    }
}

impl<T> Drop for OnceLock<T> {
    #[inline]
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let lock = OnceLock::new();
        lock.init(|| Some(value));
        lock
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get()
            .cloned()
            .map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f.debug_tuple("OnceLock"), self.get())
    }
}

/// Shows what may not be there yet, as std does.
pub(super) fn show<T: fmt::Debug>(
    mut shown: fmt::DebugTuple<'_, '_>,
    value: Option<&T>,
) -> fmt::Result {
    match value {
        Some(value) => shown.field(value),
        None => shown.field(&format_args!("<uninit>")),
    };
    shown.finish()
}
