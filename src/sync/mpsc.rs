//! Channels for many producers and one consumer, as std's `std::sync::mpsc`.
//!
//! Replacing `std::sync::mpsc` by `multitask::sync::mpsc` compiles and behaves the same; who has to wait in a task suspends that
//! task only. The errors are std's own. What is said of order, loss and interruption in [`mpmc`] holds here
//! as well.
//!
//! ```
//! use multitask::{spawn, sync::mpsc};
//!
//! let (sender, receiver) = mpsc::channel();
//! for n in 0..3 {
//!     let sender = sender.clone();
//!     spawn(move || sender.send(n).unwrap());
//! }
//! drop(sender); // the tasks have theirs
//! assert_eq!(receiver.iter().sum::<i32>(), 3);
//! ```

use super::arms::{receives, transmits, Getter, Grant, Putter};
use super::ends::{iterators, opaque};
use super::mpmc;
use crate::rt::choice::{Arm, Receive, Transmit};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::time::{Duration, Instant};

pub use super::mpmc::{RecvFuture, SendFuture, SendTimeoutError};
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// A channel that holds any number of messages: [`send`](Sender::send) never waits. As `std::sync::mpsc::channel`.
///
/// ```
/// use multitask::{spawn, sync::mpsc::channel};
///
/// let (sender, receiver) = channel();
/// spawn(move || sender.send(6 * 7).unwrap());
/// assert_eq!(receiver.recv(), Ok(42));
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::channel();
    (Sender { inner: sender }, Receiver::new(receiver))
}

/// A channel that holds `bound` messages: [`send`](SyncSender::send) waits while it is full. With 0 each `send` waits for a
/// [`recv`](Receiver::recv) to meet it. As `std::sync::mpsc::sync_channel`.
///
/// ```
/// use multitask::{spawn, sync::mpsc::sync_channel};
///
/// let (sender, receiver) = sync_channel(1);
/// let producer = spawn(move || {
///     sender.send(1).unwrap();
///     sender.send(2).unwrap(); // waits until the first one was received
/// });
/// assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
/// producer.join().unwrap();
/// ```
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::sync_channel(bound);
    (SyncSender { inner: sender }, Receiver::new(receiver))
}

/// Sends into a channel without limit; made by [`channel`]. As `std::sync::mpsc::Sender`.
///
/// When the last clone is dropped, the receiver gets what is left and then [`RecvError`].
pub struct Sender<T> {
    inner: mpmc::Sender<T>,
}

/// Sends into a channel with a limit; made by [`sync_channel`]. As `std::sync::mpsc::SyncSender`.
///
/// When the last clone is dropped, the receiver gets what is left and then [`RecvError`].
pub struct SyncSender<T> {
    inner: mpmc::Sender<T>,
}

/// Receives from a channel; made by [`channel`] and [`sync_channel`]. As `std::sync::mpsc::Receiver`.
///
/// When it is dropped, messages that are left are dropped as well, and senders that wait have theirs back.
///
/// There is one, and one task or thread at a time has it:
///
/// ```compile_fail
/// let (_sender, receiver) = multitask::sync::mpsc::channel::<i32>();
/// std::thread::scope(|scope| {
///     scope.spawn(|| receiver.recv());
/// });
/// ```
///
/// Messages that must stay on their thread keep both ends there too:
///
/// ```compile_fail
/// let (sender, _receiver) = multitask::sync::mpsc::channel();
/// std::thread::spawn(move || sender.send(std::rc::Rc::new(1)));
/// ```
pub struct Receiver<T> {
    inner: mpmc::Receiver<T>,
    /// As std's, it is not `Sync`.
    _not_sync: PhantomData<Cell<()>>,
}

// As std's: there is nothing in it that a panic could leave half done.
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    /// Sends `t`. Never waits, but like every operation it lets other tasks run now and then.
    ///
    /// `Ok` does not say that the message will be received.
    ///
    /// # Errors
    /// [`SendError`] gives the message back: the receiver is gone.
    #[inline(always)]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.inner.send(t)
    }
}

impl<T> SyncSender<T> {
    /// Sends `t`; waits for room if there is none, for the receiver if the bound is 0.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has
    /// tasks). `Ok` does not say that the message will be received, except with a bound of 0.
    ///
    /// # Errors
    /// [`SendError`] gives the message back: the receiver is gone.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.inner.send(t)
    }

    /// Sends `t` if that needs no wait; but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// [`TrySendError`] gives the message back: there is no room, or the receiver is gone.
    #[inline]
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.inner.try_send(t)
    }

    /// As [`send`](SyncSender::send), for at most `timeout`. (std has it for its own use.)
    ///
    /// # Errors
    /// [`SendTimeoutError`] gives the message back.
    ///
    /// ```
    /// use multitask::sync::mpsc::{sync_channel, SendTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (sender, _receiver) = sync_channel(1);
    /// sender.send("first")?;
    /// let late = sender.send_timeout("second", Duration::from_millis(1));
    /// assert_eq!(late, Err(SendTimeoutError::Timeout("second")));
    /// # Ok::<(), multitask::sync::mpsc::SendError<&str>>(())
    /// ```
    #[inline]
    pub fn send_timeout(&self, t: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.inner.send_timeout(t, timeout)
    }

    /// As [`send`](SyncSender::send), until `deadline`.
    ///
    /// # Errors
    /// As [`send_timeout`](SyncSender::send_timeout).
    #[inline]
    pub fn send_deadline(&self, t: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.inner.send_deadline(t, deadline)
    }

    /// As [`send`](SyncSender::send), for whatever runs futures. Polling never suspends.
    ///
    /// If the future is dropped before it is ready the message was not sent, and is dropped with it. At a bound of 0 it is met
    /// by a receiver that waits, and not by [`try_recv`](Receiver::try_recv).
    ///
    /// # Errors
    /// As `send`.
    pub fn send_async(&self, t: T) -> SendFuture<'_, T> {
        self.inner.send_async(t)
    }
}

impl<T> Receiver<T> {
    fn new(inner: mpmc::Receiver<T>) -> Self {
        Receiver {
            inner,
            _not_sync: PhantomData,
        }
    }

    /// Takes the message that was sent first; waits for one if there is none.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has
    /// tasks).
    ///
    /// # Errors
    /// [`RecvError`]: nothing is left, and no sender.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv()
    }

    /// Takes the message that was sent first. Does not wait, but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// [`TryRecvError`]: there is none, for now or for ever.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
    }

    /// As [`recv`](Receiver::recv), for at most `timeout`. A message that is here is taken at once, however short the time.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]: none came in time, or no sender is left.
    ///
    /// ```
    /// use multitask::sync::mpsc::{channel, RecvTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = channel();
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// sender.send('a')?;
    /// assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok('a'));
    /// # Ok::<(), multitask::sync::mpsc::SendError<char>>(())
    /// ```
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout)
    }

    /// As [`recv`](Receiver::recv), until `deadline`. (Unstable in std.)
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    #[inline]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.inner.recv_deadline(deadline)
    }

    /// As [`recv`](Receiver::recv), for whatever runs futures. Polling never suspends.
    ///
    /// The future can be dropped at any time: a message that was handed to it, and that it has not returned, is received next. It
    /// borrows the receiver for itself, so that it may go to another thread.
    ///
    /// # Errors
    /// As `recv`.
    ///
    /// ```
    /// use multitask::{future, spawn, sync::mpsc};
    ///
    /// let (sender, mut receiver) = mpsc::channel();
    /// spawn(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
    /// let sum = future::block_on(async {
    ///     let mut sum = 0;
    ///     while let Ok(n) = receiver.recv_async().await {
    ///         sum += n;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 6);
    /// ```
    pub fn recv_async(&mut self) -> RecvFuture<'_, T> {
        self.inner.recv_async()
    }

    /// An iterator that [receives](Receiver::recv) until no sender is left.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// An iterator that takes what is here, and ends when nothing is.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender {
            inner: self.inner.clone(),
        }
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        SyncSender {
            inner: self.inner.clone(),
        }
    }
}

/// Awaited as it is, by reference: as [`recv_async`](Receiver::recv_async).
///
/// ```
/// use multitask::{future, spawn, sync::mpsc};
///
/// let (sender, mut receiver) = mpsc::channel();
/// spawn(move || sender.send("from a task").unwrap());
/// assert_eq!(future::block_on(&mut receiver), Ok("from a task"));
/// ```
impl<'a, T> IntoFuture for &'a mut Receiver<T> {
    type Output = Result<T, RecvError>;
    type IntoFuture = RecvFuture<'a, T>;

    fn into_future(self) -> RecvFuture<'a, T> {
        self.recv_async()
    }
}

opaque!(Sender, SyncSender, Receiver);
receives!(
    Receiver<T>,
    VecDeque<T>,
    inner.shared.channel,
    RecvError = RecvError
);
transmits!(Sender<T>, inner.shared.channel, SendError<T> = SendError);
transmits!(SyncSender<T>, inner.shared.channel, SendError<T> = SendError);
iterators!();
