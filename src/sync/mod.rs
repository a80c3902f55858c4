//! What tasks and threads share.
//!
//! - **std's locks**, with std's names, signatures and poisoning: [`Mutex`], [`RwLock`], [`Condvar`], [`Once`],
//!   [`OnceLock`], [`LazyLock`], [`Barrier`]. A program that uses `std::sync` changes the path; `Arc`, `Weak` and `atomic`
//!   are here as well, and are std's. What can wait can do so for a bounded time, and a panic poisons, but being cancelled
//!   or running out of a [`timeout`](crate::timeout) does not.
//! - **Beyond std**: [`Queue`], [`Semaphore`], [`Event`], [`Notify`], [`WaitGroup`].
//!
//! Everything here works between tasks, between threads, and between the two: who has to wait in a task suspends the
//! task, who has to wait on a plain thread blocks the thread (which runs its default scheduler meanwhile, if that has tasks).
//!
//! ```
//! use multitask::sync::Queue;
//! use std::sync::Arc;
//!
//! let queue = Arc::new(Queue::bounded(2));
//! let producer = multitask::spawn({
//!     let queue = queue.clone();
//!     move || {
//!         for item in 1..=5 {
//!             queue.put(item).unwrap(); // suspends this task while the queue is full
//!         }
//!         queue.close();
//!     }
//! });
//! let consumer = std::thread::spawn(move || queue.iter().sum::<i32>());
//! producer.join().unwrap();
//! assert_eq!(consumer.join().unwrap(), 15);
//! ```
//!
//! [`mpsc`], [`mpmc`] and [`oneshot`] are std's channels, whose ends say by being dropped that nothing more will come; a [`Queue`] is shared by
//! all, is closed by a call, and gives those who get a choice.

mod arms;
mod awaiting;
mod barrier;
mod buffer;
mod channel;
mod condvar;
mod ends;
mod errors;
mod event;
mod lazy_lock;
pub mod mpmc;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
pub mod oneshot;
mod poison;
mod queue;
mod raw_mutex;
mod rwlock;
mod semaphore;
mod wait;
mod wait_group;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use errors::{GetError, PutError, TryGetError, TryPutError};
pub use event::{Event, EventFuture, Notify};
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use poison::{LockTimeoutError, LockTimeoutResult};
pub use queue::{GetFuture, Iter, PutFuture, Queue, TryIter};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{
    AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError,
};
pub use wait_group::WaitGroup;

pub use std::sync::{atomic, Arc, Weak};
pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
