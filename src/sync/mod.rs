//! What tasks and threads share.
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
mod buffer;
mod channel;
mod ends;
mod errors;
pub mod mpmc;
pub mod mpsc;
pub mod oneshot;
mod queue;

pub use errors::{GetError, PutError, TryGetError, TryPutError};
pub use queue::{Iter, Queue, TryIter};
