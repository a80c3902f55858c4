//! [`join_all`] and [`race`]: several functions at once, for all of their values or for the first.

use super::try_scope::try_scope;
use std::convert::Infallible;

/// Calls all of `fs` as tasks, and waits until all have returned; gives their values in the order of `fs`.
///
/// They may borrow. If one panics, or the caller is cancelled, the others are cancelled; this function is over when all
/// have ended.
///
/// ```
/// use multitask::{sleep, task};
/// use std::time::Duration;
///
/// let waits = [30, 10, 20].map(Duration::from_millis);
/// let values = task::join_all(waits.iter().map(|wait| || {
///     sleep(*wait); // all at the same time
///     wait.as_millis()
/// }));
/// assert_eq!(values, [30, 10, 20]);
/// ```
///
/// # Panics
/// With the first panic of one of `fs`; and as [`spawn`](super::spawn).
#[track_caller]
pub fn join_all<I, F, T>(fs: I) -> Vec<T>
where
    I: IntoIterator<Item = F>,
    F: FnOnce() -> T + Send,
    T: Send,
{
    let joined: Result<Option<Vec<T>>, Infallible> = try_scope(|s| {
        let tasks: Vec<_> = fs.into_iter().map(|f| s.spawn(|| Ok(f()))).collect();
        Ok(tasks.into_iter().map(|task| task.join().ok()).collect())
    });
    match joined {
        Ok(values) => values.expect("a task that gives no value has panicked"),
        Err(never) => match never {},
    }
}

/// Calls all of `fs` as tasks, cancels the others when the first has returned, and gives its value when all have ended.
///
/// They may borrow. Closures of several kinds are put into boxes: `Box<dyn FnOnce() -> T + Send + '_>`.
///
/// ```
/// use multitask::{sleep, task};
/// use std::time::Duration;
///
/// let first = task::race([20_000, 1, 30_000].map(|ms| move || {
///     sleep(Duration::from_millis(ms));
///     ms
/// }));
/// assert_eq!(first, 1);
/// ```
///
/// # Panics
/// With the first panic of one of `fs`, which cancels the others, too; if there is none in `fs`; and as
/// [`spawn`](super::spawn).
#[track_caller]
pub fn race<I, F, T>(fs: I) -> T
where
    I: IntoIterator<Item = F>,
    F: FnOnce() -> T + Send,
    T: Send,
{
    // To win is to make the scope fail.
    let nobody = try_scope(|s| {
        for f in fs {
            s.spawn(|| Err::<(), T>(f()));
        }
        Ok(())
    });
    match nobody {
        Err(value) => value,
        Ok(()) => panic!("a race of nobody, or of cancelled tasks, has no winner"),
    }
}
