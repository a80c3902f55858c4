//! [`Once`]: a state, and a line of those who wait for it to change.
//!
//! 1. The state leaves RUNNING only by the end of the [`Run`] that set it, and COMPLETE never.
//! 2. It changes under the lock of the line, and whoever is in line then is woken and looks again.
//! 3. COMPLETE is set with release after the initializer has returned: who reads it with acquire sees what that has done.

use super::wait::{Bound, Line};
use crate::base::lock::Lock;
use crate::rt::header::Why;
use crate::rt::park::{charge, is_panicking, me};
use crate::rt::waiter::WaitList;
use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering};
use std::{fmt, thread};

const NEW: u8 = 0;
const POISONED: u8 = 1;
const RUNNING: u8 = 2;
const COMPLETE: u8 = 3;

/// Runs an initializer once, whoever comes first: between tasks, between threads, and between the two. As
/// [`std::sync::Once`].
///
/// Who comes while another runs the initializer waits, and goes on when it has returned. The initializer may wait.
///
/// - **A panic** in the initializer poisons, as in std.
/// - **A task that is cancelled** in the initializer, or runs out of a [`timeout`](crate::timeout) there, leaves all as
///   it was before: the next one, who may be waiting already, runs his own initializer.
/// - **An initializer that initializes the same** panics, and where it waits for another task that does so, the report of
///   a [`Deadlock`](crate::Deadlock) says so.
///
/// # Examples
///
/// ```
/// use multitask::sync::Once;
/// use multitask::{spawn, yield_now};
///
/// static START: Once = Once::new();
/// let tasks: Vec<_> = (0..3)
///     .map(|_| {
///         spawn(|| {
///             START.call_once(|| {
///                 yield_now(); // the others come, and wait
///                 println!("once");
///             });
///             assert!(START.is_completed());
///         })
///     })
///     .collect();
/// for task in tasks {
///     task.join().unwrap();
/// }
/// ```
pub struct Once {
    state: AtomicU8,
    line: Lock<Waiting>,
}

struct Waiting {
    /// The number of who runs the initializer.
    runner: u64,
    list: WaitList,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

// std's is no `Default` either.
#[allow(clippy::new_without_default)]
impl Once {
    /// One that was not called yet.
    #[inline]
    pub const fn new() -> Self {
        Once {
            state: AtomicU8::new(NEW),
            line: Lock::new(Waiting {
                runner: 0,
                list: WaitList::new(),
            }),
        }
    }

    /// Runs `f` if none was run before; waits while another one is run. When it returns, one has been.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// If an initializer has panicked before; if it is called by `f`; and if `f` does. On a plain thread, if nothing can ever
    /// happen again on the thread's default scheduler: see [`Deadlock`](crate::Deadlock).
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| {
                if let Some(f) = f.take() {
                    f();
                }
            });
        }
    }

    /// As [`call_once`](Once::call_once), but runs `f` also if an initializer has panicked before: if `f` returns, nothing is
    /// poisoned any more.
    ///
    /// # Panics
    /// As `call_once`, but for poison.
    #[inline]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| {
                if let Some(f) = f.take() {
                    f(state);
                }
            });
        }
    }

    /// Whether an initializer has returned. What it did is seen then.
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire: by 3.
        self.state.load(Ordering::Acquire) == COMPLETE
    }

    /// Waits until an initializer has returned.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// If an initializer has panicked, or does. On a plain thread as [`call_once`](Once::call_once).
    pub fn wait(&self) {
        if !self.is_completed() && self.wait_for(&[COMPLETE, POISONED]) == POISONED {
            panic_poisoned();
        }
    }

    /// As [`wait`](Once::wait), whatever panics meanwhile: until one has returned.
    ///
    /// # Panics
    /// On a plain thread as [`call_once`](Once::call_once).
    pub fn wait_force(&self) {
        if !self.is_completed() {
            self.wait_for(&[COMPLETE]);
        }
    }

    /// Waits for one of `wanted`, and says which.
    #[cold]
    fn wait_for(&self, wanted: &[u8]) -> u8 {
        charge();
        loop {
            // It cannot fail; it looks again when it is woken, for the state may have changed again.
            // Relaxed: the lock orders the changes. Acquire: by 3.
            let _woken = self.line().wait(
                Bound::Never,
                || (),
                |_| wanted.contains(&self.state.load(Ordering::Relaxed)),
            );
            let state = self.state.load(Ordering::Acquire);
            if wanted.contains(&state) {
                return state;
            }
        }
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, f: &mut dyn FnMut(&OnceState)) {
        charge();
        loop {
            let mut found = COMPLETE;
            let mut recursive = false;
            let _woken = self.line().wait(
                Bound::Never,
                || (),
                |waiting| {
                    // Relaxed: the lock orders the changes.
                    found = self.state.load(Ordering::Relaxed);
                    if found == NEW || found == POISONED && force {
                        self.state.store(RUNNING, Ordering::Relaxed);
                        waiting.runner = me().id();
                    }
                    recursive = found == RUNNING && waiting.runner == me().id();
                    found != RUNNING || recursive
                },
            );
            match found {
                COMPLETE => return,
                POISONED if !force => panic_poisoned(),
                RUNNING if recursive => panic!("an initializer waits for itself"),
                // Woken: it looks again.
                RUNNING => {}
                before => return Run::new(self, before).call(f),
            }
        }
    }

    fn line(&self) -> Line<'_, Waiting, ()> {
        Line::new(&self.line, |waiting| &waiting.list, Why::Once)
    }
}

#[cold]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("Once instance has previously been poisoned")
}

/// The state is RUNNING until this is dropped.
struct Run<'a> {
    once: &'a Once,
    before: u8,
    /// The stack was unwinding already: it cannot be interrupted, so that what unwinds out of here is a panic.
    unwinding: bool,
    returned: Cell<bool>,
}

impl<'a> Run<'a> {
    fn new(once: &'a Once, before: u8) -> Self {
        Run {
            once,
            before,
            unwinding: thread::panicking(),
            returned: Cell::new(false),
        }
    }

    fn call(self, f: &mut dyn FnMut(&OnceState)) {
        f(&OnceState {
            poisoned: self.before == POISONED,
        });
        self.returned.set(true);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let after = if self.returned.get() {
            COMPLETE
        } else if self.unwinding || is_panicking() {
            POISONED
        } else {
            self.before
        };
        let mut waiting = self.once.line.lock();
        waiting.runner = 0;
        // Release: by 3.
        self.once.state.store(after, Ordering::Release);
        // SAFETY: the lock is held.
        unsafe { waiting.list.wake_all() };
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

/// What [`Once::call_once_force`] tells its closure. As [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether an initializer has panicked before.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}
