//! What a task (or a plain thread) has besides its header, if it has it: a name, values of its own, and spans.
//!
//! 1. The name does not change. Whoever holds a reference to the header may read it.
//! 2. Values and spans belong to the home thread: nobody else looks at them, and they are dropped there, before the task's end is published.
//! 3. A value stays where it is until it is dropped: a list that grows moves pointers to it only.

use super::job::drop_quietly;
use super::span::Spans;
use std::any::TypeId;
use std::cell::UnsafeCell;
use std::ptr;
use std::ptr::NonNull;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Belongings {
    name: Option<Box<str>>,
    locals: UnsafeCell<Vec<Local>>,
    spans: Spans,
}

/// The address of a key, and the type of its values: two keys that a compiler has laid into one place still differ by that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalId(usize, TypeId);

impl LocalId {
    pub(crate) fn new<T: 'static, K>(key: &'static K) -> Self {
        LocalId(ptr::from_ref(key).addr(), TypeId::of::<T>())
    }
}

/// A value of a type that only its key knows.
#[derive(Clone, Copy)]
pub(crate) struct Local {
    key: LocalId,
    value: NonNull<()>,
    drop: unsafe fn(NonNull<()>),
    /// What a new task gets from the one that spawns it.
    copy: Option<Copy>,
}

/// Makes what a new task gets out of the value.
pub(crate) type Copy = unsafe fn(Local) -> Local;

impl Local {
    pub(crate) fn new<T>(key: LocalId, value: T, copy: Option<Copy>) -> Self {
        /// # Safety
        /// `new` has boxed it, as a `T`, and this is called once.
        unsafe fn drop<T>(value: NonNull<()>) {
            // SAFETY: `new` boxed it, and it is dropped once.
            std::mem::drop(unsafe { Box::from_raw(value.cast::<T>().as_ptr()) });
        }
        Local {
            key,
            value: NonNull::from(Box::leak(Box::new(value))).cast(),
            drop: drop::<T>,
            copy,
        }
    }

    /// What a key with values of type `T` gives as `copy`.
    ///
    /// # Safety
    /// The value is a `T`.
    pub(crate) unsafe fn cloned<T: Clone>(self) -> Local {
        // SAFETY: the caller's promise, and it lives.
        let value = unsafe { self.value.cast::<T>().as_ref() }.clone();
        Local::new(self.key, value, self.copy)
    }

    pub(crate) fn value(self) -> NonNull<()> {
        self.value
    }

    /// # Safety
    /// It is not used any more, and dropped once.
    pub(crate) unsafe fn drop(self) {
        // SAFETY: the caller's promise.
        unsafe { (self.drop)(self.value) }
    }
}

/// Beyond so many a task that ends gives up: each destructor makes a new value.
const TOO_MANY: usize = 10_000;

impl Belongings {
    pub(super) fn new(name: Option<Box<str>>, locals: Vec<Local>, spans: Spans) -> Self {
        Belongings {
            name,
            locals: UnsafeCell::new(locals),
            spans,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// For the home thread.
    #[inline(always)]
    pub(super) fn spans(&self) -> &Spans {
        &self.spans
    }

    /// # Safety
    /// The caller is the home thread, and calls none of these functions in `f`.
    unsafe fn with<R>(&self, f: impl FnOnce(&mut Vec<Local>) -> R) -> R {
        // SAFETY: by 2, and the caller's promise.
        f(unsafe { &mut *self.locals.get() })
    }

    /// # Safety
    /// The caller is the home thread.
    pub(super) unsafe fn local(&self, key: LocalId) -> Option<Local> {
        // SAFETY: the caller's promise.
        unsafe { self.with(|locals| locals.iter().find(|local| local.key == key).copied()) }
    }

    /// Puts a value in; returns the one that the key had.
    ///
    /// # Safety
    /// The caller is the home thread.
    pub(super) unsafe fn put(&self, local: Local) -> Option<Local> {
        // SAFETY: the caller's promise.
        unsafe {
            self.with(|locals| {
                let old = locals.iter_mut().find(|old| old.key == local.key);
                match old {
                    Some(old) => Some(std::mem::replace(old, local)),
                    None => {
                        locals.push(local);
                        None
                    }
                }
            })
        }
    }

    /// Takes the value of a key out.
    ///
    /// # Safety
    /// The caller is the home thread.
    pub(super) unsafe fn take(&self, key: LocalId) -> Option<Local> {
        // SAFETY: the caller's promise.
        unsafe {
            self.with(|locals| {
                let at = locals.iter().position(|local| local.key == key)?;
                Some(locals.remove(at))
            })
        }
    }

    /// What a new task gets; calls `clone` of the user's.
    ///
    /// # Safety
    /// The caller is the home thread.
    pub(super) unsafe fn bequeath(&self, heir: &mut Vec<Local>) {
        let mut at = 0;
        // One by one, for a `clone` may use values too.
        // SAFETY: the caller's promise.
        while let Some(local) = unsafe { self.with(|locals| locals.get(at).copied()) } {
            if let Some(copy) = local.copy {
                // SAFETY: it belongs to the value, which lives.
                heir.push(unsafe { copy(local) });
            }
            at += 1;
        }
    }

    /// Drops the values, the last one first, and then the spans that are here.
    ///
    /// # Safety
    /// The caller is the home thread, and nobody has a reference to a value.
    #[cold]
    pub(super) unsafe fn clear(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.clear_values() };
        self.spans.clear();
    }

    /// # Safety
    /// As for `clear`.
    unsafe fn clear_values(&self) {
        for _ in 0..TOO_MANY {
            // SAFETY: the caller's promise.
            let Some(last) = (unsafe { self.with(Vec::pop) }) else {
                return;
            };
            // SAFETY: it was taken out, and nobody uses it.
            drop_quietly(|| unsafe { last.drop() });
        }
        // SAFETY: the caller's promise.
        std::mem::forget(unsafe { self.with(std::mem::take) });
    }
}

impl Drop for Belongings {
    fn drop(&mut self) {
        // SAFETY: there are values only if the task was never made, and then they may be dropped by anybody: the home thread
        // clears what a task or thread has at its end.
        unsafe { self.clear() };
    }
}
