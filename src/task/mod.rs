//! Tasks: functions that run beside each other, each on a small stack of its own.
//!
//! A task looks like a thread and is used like one: [`spawn`] takes a closure, [`JoinHandle::join`] waits for what it
//! returns. A call that would block a thread suspends only its task. Tasks of one scheduler take turns on the
//! scheduler's thread: one runs until it waits, yields or ends.
//!
//! ```
//! use multitask::task;
//!
//! let parent = task::spawn(|| {
//!     let child = task::spawn(|| "Hi, Mom!");
//!     child.join().unwrap()
//! });
//! assert_eq!(parent.join().unwrap(), "Hi, Mom!");
//! ```
//!
//! # Timeouts and cancelling
//!
//! [`timeout`](crate::timeout) bounds any code, [`JoinHandle::cancel`] ends a task: both unwind it from where it waits, so
//! that destructors run. A task that does not wait is not interrupted. [`shield`] puts both off.
//!
//! # What a stack can hold
//!
//! A task's stack has a fixed size; see [`Builder::stack_size`]. Overflowing it ends the process with a message that
//! names the task.

pub(crate) mod arm;
mod current;
mod join;
mod join_set;
mod local;
mod parking;
mod scope;
mod spawn;
mod together;
mod try_scope;

pub use crate::blocking::blocking;
pub use crate::error::JoinError;
pub use current::{current, Task, TaskId};
pub use join::{CancelHandle, JoinHandle, JoinTimeoutError};
pub use join_set::JoinSet;
pub use local::LocalKey;
pub use parking::{park, park_deadline, park_timeout, shield, yield_now};
pub use scope::{scope, Scope, ScopedJoinHandle};
pub use spawn::{run, spawn, spawn_local, Builder};
pub use together::{join_all, race};
pub use try_scope::{try_scope, TryScope};
