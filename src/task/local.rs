//! [`task_local!`](crate::task_local): values of which each task has its own.
//!
//! 1. A value is of the type that its `LocalId` names.
//! 2. References to a value are handed out for the length of a call. What replaces it meanwhile ([`LocalKey::scope`]) puts it back
//!    before that call returns, for both are calls of one stack.

use crate::rt::locals::{Local, LocalId};
use crate::rt::park::me;
use std::cell::{Cell, RefCell};
use std::fmt;

/// Declares statics of which each task has a value of its own, made when it first asks for it. As `std::thread_local!`.
///
/// A plain thread has its own values, too. A value is dropped when its task ends, on the task's stack, the last one first.
///
/// ```
/// use multitask::{spawn, task_local, yield_now};
/// use std::cell::Cell;
///
/// task_local! {
///     static COUNT: Cell<u32> = Cell::new(0);
/// }
///
/// let tasks = [1, 2].map(|n| {
///     spawn(move || {
///         for _ in 0..3 {
///             COUNT.set(COUNT.get() + n); // not the other's
///             yield_now();
///         }
///         COUNT.get()
///     })
/// });
/// assert_eq!(tasks.map(|task| task.join().unwrap()), [3, 6]);
/// ```
///
/// With `inherited`, a task begins with a clone of the value of the task (or thread) that spawned it, if that has one:
///
/// ```
/// use multitask::{spawn, task_local};
///
/// task_local! {
///     /// What is being done, for log lines.
///     pub inherited static REQUEST: Option<u32> = None;
/// }
///
/// let handler = spawn(|| {
///     REQUEST.scope(Some(7), || {
///         let helper = spawn(|| REQUEST.with(|request| *request));
///         helper.join().unwrap()
///     })
/// });
/// assert_eq!(handler.join().unwrap(), Some(7));
/// assert_eq!(REQUEST.with(|request| *request), None);
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const { $init:expr } $(; $($rest:tt)*)?) => {
        $crate::task_local! { $(#[$attr])* $vis static $name: $t = $init $(; $($rest)*)? }
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attr])*
        $vis static $name: $crate::task::LocalKey<$t> = $crate::task::LocalKey::new({
            fn init() -> $t {
                $init
            }
            init
        });
        $($crate::task_local! { $($rest)* })?
    };
    ($(#[$attr:meta])* $vis:vis inherited static $name:ident: $t:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attr])*
        $vis static $name: $crate::task::LocalKey<$t> = $crate::task::LocalKey::inherited({
            fn init() -> $t {
                $init
            }
            init
        });
        $($crate::task_local! { $($rest)* })?
    };
}

/// The key of a value of which each task has its own. As `std::thread::LocalKey`; made by
/// [`task_local!`](crate::task_local).
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    copy: Option<unsafe fn(Local) -> Local>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> Self {
        LocalKey { init, copy: None }
    }

    #[doc(hidden)]
    pub const fn inherited(init: fn() -> T) -> Self
    where
        T: Clone + Send,
    {
        LocalKey {
            init,
            copy: Some(Local::cloned::<T>),
        }
    }

    /// Calls `f` with the value of the task that calls (or plain thread), which is made first if there is none.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let local = match self.current() {
            Some(local) => local,
            None => self.begin((self.init)()),
        };
        // SAFETY: by 1 it is a `T`, and by 2 it lives for as long as `f` runs.
        f(unsafe { local.value().cast::<T>().as_ref() })
    }

    /// Calls `f` with `value` in place of the task's own, which is back afterwards, also if `f` unwinds.
    ///
    /// ```
    /// multitask::task_local! {
    ///     static DEPTH: u32 = 0;
    /// }
    ///
    /// assert_eq!(DEPTH.scope(1, || DEPTH.with(|depth| *depth)), 1);
    /// assert_eq!(DEPTH.with(|depth| *depth), 0);
    /// ```
    pub fn scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        struct Restore<T: 'static>(&'static LocalKey<T>, Option<Local>);
        impl<T> Drop for Restore<T> {
            fn drop(&mut self) {
                // SAFETY: it is this task's.
                let over = match self.1 {
                    Some(before) => unsafe { me().put_local(before) },
                    None => unsafe { me().take_local(self.0.key()) },
                };
                if let Some(over) = over {
                    // SAFETY: it was taken out, and by 2 nobody uses it any more.
                    unsafe { over.drop() };
                }
            }
        }
        let local = Local::new(self.key(), value, self.copy);
        // SAFETY: it is this task's.
        let _restore = Restore(self, unsafe { me().put_local(local) });
        f()
    }

    fn key(&'static self) -> LocalId {
        LocalId::new::<T, _>(self)
    }

    fn current(&'static self) -> Option<Local> {
        // SAFETY: it is this task's.
        unsafe { me().local(self.key()) }
    }

    #[cold]
    fn begin(&'static self, value: T) -> Local {
        // Making it may have asked for it: that one is in use, and stays.
        if let Some(made) = self.current() {
            return made;
        }
        let local = Local::new(self.key(), value, self.copy);
        // SAFETY: it is this task's; there is none that would be replaced.
        let _none = unsafe { me().put_local(local) };
        local
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value of the task that calls.
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// A copy of the value of the task that calls.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value, and leaves the default.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value, and returns the old one.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the value borrowed.
    ///
    /// # Panics
    /// If it is mutably borrowed: perhaps by the same task, which waits in [`with_borrow_mut`](LocalKey::with_borrow_mut).
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the value mutably borrowed.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value of the task that calls.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn set(&'static self, value: T) {
        self.with(|cell| *cell.borrow_mut() = value);
    }

    /// Takes the value, and leaves the default.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value, and returns the old one.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
