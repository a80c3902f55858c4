//! [`try_scope`]: a scope that the first failure ends.
//!
//! 1. The closure of the scope runs as a member too, so that a failure interrupts it like any other.

use super::scope::{Scope, ScopedJoinHandle};
use super::spawn::{expect_spawned, unnamed};
use crate::base::lock::Lock;
use crate::error::JoinError;
use crate::rt::unwind::target_of;
use std::fmt;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};

/// As [`scope`](super::scope), for tasks that can fail: the first `Err`, of a task or of `f`, cancels all the others and is
/// returned when they have ended.
///
/// `f` runs as a task of the scope itself, on the same thread, so that it is interrupted as well.
///
/// ```
/// use multitask::task;
///
/// let parsed = task::try_scope(|s| {
///     let numbers = ["1", "2", "3"].map(|text| s.spawn(move || text.parse::<u32>()));
///     Ok(numbers.map(|number| number.join().unwrap()))
/// });
/// assert_eq!(parsed, Ok([1, 2, 3]));
///
/// let failed = task::try_scope(|s| {
///     s.spawn(|| "four".parse::<u32>());
///     s.spawn(|| Ok(task::park())); // is cancelled
///     task::park(); // so is this
///     Ok(())
/// });
/// assert!(failed.is_err());
/// ```
///
/// # Errors
/// That of the first that failed. Those that fail later, on their way out, are dropped.
///
/// # Panics
/// As [`scope`](super::scope); the first panic, too, cancels all the others. And if the closure was cancelled before it had an
/// answer, and nothing has failed: by [`TryScope::cancel`], or because the scheduler was shut down.
#[track_caller]
pub fn try_scope<'env, F, T, E>(f: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(&'scope TryScope<'scope, 'env, E>) -> Result<T, E>,
{
    match answer(Location::caller(), f) {
        Some(answer) => answer,
        None => panic!("the closure of a try_scope was cancelled, and nothing has failed"),
    }
}

/// As [`try_scope`], spawned at `place`; `None` if the closure was cancelled before it had an answer, and nothing has failed.
pub(super) fn answer<'env, F, T, E>(place: &'static Location<'static>, f: F) -> Option<Result<T, E>>
where
    F: for<'scope> FnOnce(&'scope TryScope<'scope, 'env, E>) -> Result<T, E>,
{
    let scope = TryScope {
        scope: Scope::new(),
        error: Lock::new(None),
    };
    let joined = scope.scope.within(|| {
        let body = || scope.attempt(|| f(&scope));
        expect_spawned(scope.scope.add(unnamed(place), body)).join()
    });
    let error = scope.error.lock().take();
    match (joined, error) {
        (_, Some(error)) => Some(Err(error)),
        (Ok(value), None) => Some(Ok(value)),
        (Err(JoinError::Panic(panic)), None) => resume_unwind(panic),
        (Err(JoinError::Cancelled), None) => None,
    }
}

/// Where tasks are spawned that end before [`try_scope`] does.
pub struct TryScope<'scope, 'env: 'scope, E> {
    scope: Scope<'scope, 'env>,
    /// The first.
    error: Lock<Option<E>>,
}

impl<'scope, E> TryScope<'scope, '_, E> {
    /// Runs `f` as a new task beside the caller, that ends before the scope does; its `Err` ends the scope. As
    /// [`Scope::spawn`].
    ///
    /// # Panics
    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
        E: Send,
    {
        // SAFETY: all three are `Send`, and so is the scope that the task refers to.
        let birth = unsafe { unnamed(Location::caller()).anywhere() };
        expect_spawned(self.scope.add(birth, || self.attempt(f)))
    }

    /// As [`spawn`](TryScope::spawn), for a closure or a result that must stay on this thread.
    ///
    /// # Panics
    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn_local<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> Result<T, E> + 'scope,
        T: 'scope,
    {
        let birth = unnamed(Location::caller());
        expect_spawned(self.scope.add(birth, || self.attempt(f)))
    }

    /// Cancels all tasks of the scope, its closure included, and those that are spawned from now on.
    ///
    /// If the closure waits after that, or again, and nothing has failed, then `try_scope` panics: it has neither a value nor
    /// an error to give. Who wants to end a scope early returns an error instead.
    pub fn cancel(&self) {
        self.scope.cancel();
    }

    /// Calls a member's closure; `None` if it failed, and then all members are cancelled.
    fn attempt<T>(&self, f: impl FnOnce() -> Result<T, E>) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => self.keep(error),
            Err(ours) if target_of(&*ours).is_some() => resume_unwind(ours),
            Err(panic) => self.scope.panicked(panic),
        }
        self.scope.cancel();
        None
    }

    fn keep(&self, error: E) {
        let mut first = self.error.lock();
        let surplus = match *first {
            None => first.replace(error),
            Some(_) => Some(error),
        };
        drop(first);
        drop(surplus);
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope").finish_non_exhaustive()
    }
}
