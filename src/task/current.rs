//! [`Task`]: a handle to a task (or thread) as such, without its result.

use crate::rt::header::Header;
use crate::rt::park::me;
use std::fmt;
use std::num::NonZeroU64;

/// A handle to a task: its name, its number, and a way to [`unpark`](Task::unpark) it. As `std::thread::Thread`.
///
/// It can also stand for a plain thread: [`current`] works everywhere. Handles are cheap to clone, and outlive what
/// they stand for.
///
/// ```
/// use multitask::task;
///
/// let handle = task::Builder::new().name("worker".into()).spawn(|| task::current().id())?;
/// assert_eq!(handle.task().name(), Some("worker"));
/// let id = handle.task().id();
/// assert_eq!(handle.join().unwrap(), id);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Task {
    /// With a reference of its own.
    header: &'static Header,
}

/// Names a task for the life of the process: no other task or thread has or will have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    pub(crate) fn from_number(number: u64) -> Self {
        TaskId(NonZeroU64::new(number).expect("numbers begin with 1"))
    }

    /// The number, as messages show it after `#`.
    pub fn as_u64(self) -> NonZeroU64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The task that calls; on a plain thread, a handle to that thread.
///
/// ```
/// use multitask::{spawn, task};
///
/// let main = task::current();
/// spawn(move || assert_ne!(task::current().id(), main.id())).join().unwrap();
/// ```
pub fn current() -> Task {
    Task::new(me().retain())
}

impl Task {
    /// Takes over a reference to `header`.
    pub(super) fn new(header: &'static Header) -> Self {
        Task { header }
    }

    pub(crate) fn header(&self) -> &'static Header {
        self.header
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        TaskId::from_number(self.header.id())
    }

    /// The name that the task's [`Builder`](super::Builder) was given; that of the thread for a plain thread.
    pub fn name(&self) -> Option<&str> {
        self.header.name()
    }
}

impl Clone for Task {
    fn clone(&self) -> Self {
        Task::new(self.header.retain())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.header.release();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
