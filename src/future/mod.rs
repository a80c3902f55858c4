//! Futures, both ways: a task waits for any future, and an async runtime for what a task gives.
//!
//! - **A future in a task.** [`block_on`] suspends the calling task until a future is ready, whoever wakes it: another
//!   task, another thread, the reactor of an async runtime. [`block_on_timeout`] and [`block_on_deadline`] bound the wait.
//! - **A task in a future.** What a task gives can be awaited anywhere: a [`JoinHandle`](crate::JoinHandle) is a future;
//!   the receivers and senders of channels have `recv_async` and `send_async`, a [`Queue`](crate::sync::Queue) has
//!   [`get_async`](crate::sync::Queue::get_async), an [`Event`](crate::sync::Event) has
//!   [`wait_async`](crate::sync::Event::wait_async), and a [`oneshot::Receiver`](crate::sync::oneshot::Receiver) can be awaited as it
//!   is. Such a future can be dropped at any time: no message is lost.
//! - With the feature `tokio`: `future::tokio`, for futures that want tokio's runtime round them.
//! - With the feature `futures-io`: `AsyncRead` and `AsyncWrite` of that crate for the streams of this one.
//!
//! ```
//! use multitask::{future, spawn, sync::mpsc};
//!
//! let (sender, mut receiver) = mpsc::channel();
//! spawn(move || sender.send(20).unwrap());
//! let task = spawn(|| 22);
//! let sum = future::block_on(async {
//!     receiver.recv_async().await.unwrap() + task.await.unwrap()
//! });
//! assert_eq!(sum, 42);
//! ```

mod block_on;
#[cfg(feature = "futures-io")]
mod io;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
mod waker;

pub use block_on::{block_on, block_on_deadline, block_on_timeout};
