//! Tasks in the spans of the [`tracing`] crate, with the feature `tracing`.
//!
//! Each task that is spawned while somebody subscribes has a span, `task`, of the target `multitask::task` and the level `INFO`, with
//! these fields:
//!
//! | | |
//! |---|---|
//! | `task.id` | the number of its [`TaskId`](crate::task::TaskId) |
//! | `task.name` | its name, if it has one |
//! | `loc.file`, `loc.line`, `loc.col` | where it was spawned |
//!
//! Its parent is the span that was current there; or, if that is none but the spawning task's own, the parent of that. It is entered
//! when the task goes on, exited when the task suspends, and closed when it has ended, however that was. So what a task logs is in its span, and the time that is spent in the span is the time that the task ran.
//!
//! What a task enters itself goes with it: by `#[instrument]`, [`Span::enter`], [`Span::in_scope`]. It is exited while the task waits and
//! entered again after, and no other task of the thread is seen in it.
//!
//! ```
//! use multitask::{spawn, yield_now};
//! use tracing::{info, info_span, Span};
//! use tracing_subscriber::Registry;
//!
//! tracing::subscriber::set_global_default(Registry::default())?; // add a layer that shows what it is told
//! let tasks = ["one", "another"].map(|name| {
//!     spawn(move || {
//!         let span = info_span!("request", name);
//!         let _entered = span.enter();
//!         yield_now(); // the other one runs in its own span
//!         info!("still in mine");
//!         assert_eq!(Span::current(), span);
//!     })
//! });
//! for task in tasks {
//!     task.join().unwrap();
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Subscribers
//!
//! - What is current has to be known for that, and the subscriber is asked for it. Those that are made of layers over the
//!   registry of `tracing-subscriber` answer. Of one that does not, the task's span is all that can be known; then what is entered
//!   for longer than until the next wait must be entered through [`in_scope`].
//! - A task's spans are those of the subscriber that was the default where the task was spawned. With several
//!   [workers](crate::SchedulerBuilder::workers), set it globally: a worker's thread has none of its own.
//! - A task that was spawned while nobody subscribed has no span, and what it enters is left to it.
//! - Spans are entered and exited by the worker, on its own stack, where no task runs. What a subscriber does there may block the thread. If it
//!   waits for something that a task of the same thread will do, it waits for ever.
//! - If it panics there the panic ends there, when its hook has reported it.
//!
//! A call of [`task::blocking`](crate::task::blocking) runs in the span that is current where it is made. The other threads of a program are its own.

use crate::rt::span::keep;
use tracing::Span;

/// Calls `f` in `span`, as [`Span::in_scope`] does, whatever waits in it.
///
/// It makes a difference with a subscriber that does not tell what is current: see [the module](self). May suspend if `f` does.
///
/// ```
/// use multitask::{sleep, trace};
/// use std::time::Duration;
/// use tracing::info_span;
///
/// let answer = trace::in_scope(&info_span!("question"), || {
///     sleep(Duration::from_millis(1));
///     42
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
///
/// With what `f` panics with, or the subscriber.
pub fn in_scope<T>(span: &Span, f: impl FnOnce() -> T) -> T {
    let _entered = span.enter();
    let _kept = keep(span);
    f()
}
