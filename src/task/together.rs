//! [`join_all`] and [`race`]: several functions at once, for all of their values or for the first.

use super::try_scope::answer;
use std::panic::Location;

/// Calls all of `fs` as tasks, and waits until all have returned; gives their values in the order of `fs`.
///
/// They may borrow. If one panics or is cancelled, or the caller is cancelled, the others are cancelled; this function is over when
/// all have ended.
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
/// With the first panic of one of `fs`. If one was cancelled, as all are by [`Handle::cancel_all`](crate::Handle::cancel_all), and the
/// caller was not, or is [shielded](super::shield): there is no value of it then. And as [`spawn`](super::spawn).
#[track_caller]
pub fn join_all<I, F, T>(fs: I) -> Vec<T>
where
    I: IntoIterator<Item = F>,
    F: FnOnce() -> T + Send,
    T: Send,
{
    let joined = answer(Location::caller(), |s| {
        let tasks: Vec<_> = fs.into_iter().map(|f| s.spawn(|| Ok(f()))).collect();
        // If it has panicked, that comes out of the scope.
        let joined = tasks.into_iter().map(|task| task.join().or(Err(Lost)));
        joined.collect()
    });
    match joined {
        Some(Ok(values)) => values,
        Some(Err(Lost)) | None => {
            panic!("a function of join_all was cancelled, and gives no value")
        }
    }
}

/// Of a function there is no value.
struct Lost;

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
/// With the first panic of one of `fs`, which cancels the others, too; if there is none in `fs`, or all were cancelled and the caller
/// was not, or is [shielded](super::shield); and as [`spawn`](super::spawn).
#[track_caller]
pub fn race<I, F, T>(fs: I) -> T
where
    I: IntoIterator<Item = F>,
    F: FnOnce() -> T + Send,
    T: Send,
{
    // To win is to make the scope fail.
    let nobody = answer(Location::caller(), |s| {
        for f in fs {
            s.spawn(|| Err::<(), T>(f()));
        }
        Ok(())
    });
    match nobody {
        Some(Err(value)) => value,
        Some(Ok(())) | None => panic!("a race of nobody, or of cancelled tasks, has no winner"),
    }
}
