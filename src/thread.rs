//! Tasks under the names of [`std::thread`]: a program with threads becomes one with tasks by its `use` lines.
//!
//! ```
//! use multitask::thread; // was: std::thread
//!
//! let words = vec!["one", "two"];
//! let lengths = thread::scope(|s| {
//!     let handles: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
//!     handles.into_iter().map(|handle| handle.join().unwrap()).sum::<usize>()
//! });
//! assert_eq!(lengths, 6);
//!
//! let worker = thread::Builder::new().name("worker".into()).spawn(|| {
//!     thread::park();
//!     thread::current().name().map(str::to_owned)
//! })?;
//! worker.thread().unpark();
//! assert_eq!(worker.join().unwrap().as_deref(), Some("worker"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Each "thread" here is a task: it takes its turns on the thread that spawned it, so it begins when that one waits for the first time, and
//! a computation without a wait keeps the others waiting. A task that was [cancelled](JoinHandle::cancel) has [`Cancelled`] as
//! its payload. What [`task`] has beyond std, it has there. `std::thread_local!` stays the system's: a value for each thread, shared by
//! its tasks.

use crate::error::{Cancelled, JoinError};
use crate::task;
use std::fmt;
use std::io;

pub use crate::task::{
    current, park, park_deadline, park_timeout, yield_now, Task as Thread, TaskId as ThreadId,
};
pub use crate::time::{sleep, sleep_until};
pub use std::thread::{available_parallelism, panicking, AccessError, LocalKey, Result};

/// Runs `f` as a new task beside the caller. As [`std::thread::spawn`]; it is [`task::spawn`].
///
/// # Panics
/// As [`task::spawn`].
///
/// ```
/// use multitask::thread;
///
/// let handle = thread::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    JoinHandle(task::spawn(f))
}

/// Calls `f` with a scope in which tasks can be spawned that borrow, and waits until all have ended. As
/// [`std::thread::scope`]; see [`task::scope`], also for what cancelling it does.
///
/// # Panics
/// With the panic of `f`, or the first panic of a task that was not joined.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope(task::Scope::new());
    scope.0.within(|| f(&scope))
}

/// Owns the result of a task. As [`std::thread::JoinHandle`]; dropping it detaches the task.
pub struct JoinHandle<T>(task::JoinHandle<T>);

impl<T> JoinHandle<T> {
    /// The task as such: its name, its number, and its token.
    pub fn thread(&self) -> &Thread {
        self.0.task()
    }

    /// Waits until the task has ended, and returns what it returned. Suspends.
    ///
    /// # Errors
    /// What the task panicked with; [`Cancelled`] if it was cancelled.
    ///
    /// # Panics
    /// As [`task::JoinHandle::join`].
    pub fn join(self) -> Result<T> {
        self.0.join().map_err(payload)
    }

    /// Whether the task has ended, so that `join` would not wait.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Asks the task to end: see [`task::JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl<T> From<task::JoinHandle<T>> for JoinHandle<T> {
    fn from(handle: task::JoinHandle<T>) -> Self {
        JoinHandle(handle)
    }
}

impl<T> From<JoinHandle<T>> for task::JoinHandle<T> {
    fn from(handle: JoinHandle<T>) -> Self {
        handle.0
    }
}

/// Where tasks are spawned that end before [`scope()`] does. As [`std::thread::Scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope>(task::Scope<'scope, 'env>);

impl<'scope> Scope<'scope, '_> {
    /// Runs `f` as a new task beside the caller that ends before the scope does.
    ///
    /// # Panics
    /// As [`task::spawn`].
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        ScopedJoinHandle(self.0.spawn(f))
    }
}

/// Owns the result of a task of a [`scope()`]. As [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T>(task::ScopedJoinHandle<'scope, T>);

impl<T> ScopedJoinHandle<'_, T> {
    /// The task as such: its name, its number, and its token.
    pub fn thread(&self) -> &Thread {
        self.0.task()
    }

    /// Waits until the task has ended, and returns what it returned. Suspends.
    ///
    /// # Errors
    /// What the task panicked with; [`Cancelled`] if it was cancelled.
    ///
    /// # Panics
    /// As [`task::JoinHandle::join`].
    pub fn join(self) -> Result<T> {
        self.0.join().map_err(payload)
    }

    /// Whether the task has ended, so that `join` would not wait.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Asks the task to end: see [`task::JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

macro_rules! debug {
    ($($handle:ty, $name:literal;)*) => {$(
        impl<T> fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    )*};
}

debug! {
    JoinHandle<T>, "JoinHandle";
    ScopedJoinHandle<'_, T>, "ScopedJoinHandle";
}

/// Makes a task with a name or a stack size of its own. As [`std::thread::Builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder spawns nothing until `spawn` is called"]
pub struct Builder(task::Builder);

impl Builder {
    /// As `spawn` alone would do it, until told otherwise.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Names the task, for messages and reports.
    pub fn name(self, name: String) -> Self {
        Builder(self.0.name(name))
    }

    /// Sets the size of the task's stack in bytes: see [`task::Builder::stack_size`].
    pub fn stack_size(self, size: usize) -> Self {
        Builder(self.0.stack_size(size))
    }

    /// As [`spawn`].
    ///
    /// # Errors
    /// As [`task::Builder::spawn`].
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.0.spawn(f).map(JoinHandle)
    }

    /// As [`Scope::spawn`].
    ///
    /// # Errors
    /// As [`task::Builder::spawn`].
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.0.spawn_scoped(&scope.0, f).map(ScopedJoinHandle)
    }
}

fn payload(error: JoinError) -> Box<dyn std::any::Any + Send> {
    match error {
        JoinError::Panic(payload) => payload,
        JoinError::Cancelled => Box::new(Cancelled),
    }
}
