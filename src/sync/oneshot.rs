//! Channels for one message, as std's (unstable) `std::sync::oneshot`.
//!
//! A channel is one allocation, and each end is used up by its one operation. What is said of loss and interruption in
//! [`mpmc`](super::mpmc) holds here as well.
//!
//! ```
//! use multitask::{spawn, sync::oneshot};
//!
//! let (sender, receiver) = oneshot::channel();
//! spawn(move || sender.send(6 * 7).unwrap());
//! assert_eq!(receiver.recv(), Ok(42)); // suspends this task only
//! ```

use super::arms::{receives, Getter};
use super::awaiting::Getting;
use super::channel::{Channel, Miss, Terms, TryMiss};
use super::ends::opaque;
use crate::rt::choice::{Arm, Bound, Receive};
use crate::rt::header::Why;
use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub use std::sync::mpsc::{RecvError, SendError};

type Shared<T> = Arc<Channel<T, Option<T>>>;

/// A channel for one message. As `std::sync::oneshot::channel`.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(1, None));
    let sender = Sender {
        channel: channel.clone(),
    };
    (sender, Receiver { channel })
}

/// Sends one message; made by [`channel`]. As `std::sync::oneshot::Sender`.
///
/// If it is dropped instead, the receiver is told.
///
/// ```compile_fail
/// let (sender, _receiver) = multitask::sync::oneshot::channel();
/// sender.send(1).unwrap();
/// sender.send(2).unwrap();
/// ```
pub struct Sender<T> {
    channel: Shared<T>,
}

/// Receives one message; made by [`channel`]. As `std::sync::oneshot::Receiver`.
pub struct Receiver<T> {
    channel: Shared<T>,
}

impl<T> Sender<T> {
    /// Sends the message. Never waits.
    ///
    /// `Ok` does not say that it will be received.
    ///
    /// # Errors
    /// [`SendError`] gives the message back: the receiver is gone.
    ///
    /// ```
    /// let (sender, receiver) = multitask::sync::oneshot::channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(5).unwrap_err().0, 5);
    /// ```
    #[inline]
    pub fn send(self, t: T) -> Result<(), SendError<T>> {
        self.channel.try_put(t).map_err(|(t, _gone)| SendError(t))
    }
}

impl<T> Receiver<T> {
    /// Takes the message; waits for it if it has not come yet.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has
    /// tasks).
    ///
    /// # Errors
    /// [`RecvError`]: the sender is gone and has not sent.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn recv(self) -> Result<T, RecvError> {
        let received = self
            .channel
            .get(None, Terms::plain(Bound::Never, Why::Oneshot));
        received.map_err(|_gone| RecvError)
    }

    /// Takes the message if it has come. Does not wait, but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// [`TryRecvError`]: it has not come, and here is the receiver again; or it never will.
    ///
    /// ```
    /// use multitask::sync::oneshot::{self, TryRecvError};
    ///
    /// let (sender, receiver) = oneshot::channel();
    /// let Err(TryRecvError::Empty(receiver)) = receiver.try_recv() else {
    ///     panic!("nobody has sent");
    /// };
    /// sender.send("here")?;
    /// assert_eq!(receiver.try_recv().unwrap(), "here");
    /// # Ok::<(), oneshot::SendError<&str>>(())
    /// ```
    #[inline]
    pub fn try_recv(self) -> Result<T, TryRecvError<T>> {
        self.channel.try_get(None).map_err(|miss| match miss {
            TryMiss::Closed => TryRecvError::Disconnected,
            TryMiss::NotNow => TryRecvError::Empty(self),
        })
    }

    /// As [`recv`](Receiver::recv), for at most `timeout`. A message that is here is taken at once, however short the time.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]: it did not come in time, and here is the receiver again; or it never will.
    ///
    /// ```
    /// use multitask::sync::oneshot::{self, RecvTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (_sender, receiver) = oneshot::channel::<()>();
    /// let late = receiver.recv_timeout(Duration::from_millis(1));
    /// assert!(matches!(late, Err(RecvTimeoutError::Timeout(_receiver))));
    /// ```
    #[inline]
    pub fn recv_timeout(self, timeout: Duration) -> Result<T, RecvTimeoutError<T>> {
        self.recv_within(Bound::For(timeout))
    }

    /// As [`recv`](Receiver::recv), until `deadline`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    #[inline]
    pub fn recv_deadline(self, deadline: Instant) -> Result<T, RecvTimeoutError<T>> {
        self.recv_within(Bound::Until(deadline))
    }

    #[inline]
    fn recv_within(self, bound: Bound) -> Result<T, RecvTimeoutError<T>> {
        let received = self.channel.get(None, Terms::plain(bound, Why::Oneshot));
        received.map_err(|miss| match miss {
            Miss::Closed => RecvTimeoutError::Disconnected,
            Miss::TimedOut | Miss::Interrupted(_) => RecvTimeoutError::Timeout(self),
        })
    }
}

/// It can be awaited as it is, by whatever runs futures, and says what [`recv`](Receiver::recv) would. Polling never suspends.
///
/// ```
/// use multitask::{future, spawn, sync::oneshot};
///
/// let (sender, receiver) = oneshot::channel();
/// spawn(move || sender.send("done").unwrap());
/// assert_eq!(future::block_on(async { receiver.await }), Ok("done"));
/// ```
impl<T> IntoFuture for Receiver<T> {
    type Output = Result<T, RecvError>;
    type IntoFuture = RecvFuture<T>;

    fn into_future(self) -> RecvFuture<T> {
        RecvFuture {
            getting: Getting::from(self.channel.clone()),
            _receiver: self,
        }
    }
}

/// Receives the message of a channel; made by [`IntoFuture`] from its [`Receiver`]. Dropping it drops the receiver.
#[must_use = "a future does nothing unless it is awaited"]
pub struct RecvFuture<T> {
    getting: Getting<Shared<T>, T, Option<T>>,
    /// Says by its end that nobody will receive.
    _receiver: Receiver<T>,
}

impl<T> Future for RecvFuture<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: it is not moved.
        let got = unsafe { self.map_unchecked_mut(|this| &mut this.getting) }.poll(cx);
        got.map(|got| got.map_err(|_closed| RecvError))
    }
}

impl<T> fmt::Debug for RecvFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").finish_non_exhaustive()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // What was sent stays.
        self.channel.close();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // A message that is here goes with the channel: its sender is used up.
        self.channel.close();
    }
}

opaque!(Sender, Receiver);
receives!(Receiver<T>, Option<T>, channel, RecvError = RecvError);

// What a panic leaves of a channel is whole: see the locks' rule in `base::lock`.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

/// Why [`Receiver::try_recv`] has no message. As `std::sync::oneshot::TryRecvError`.
pub enum TryRecvError<T> {
    /// It has not come yet; here is the receiver again.
    Empty(Receiver<T>),
    /// The sender is gone and has not sent.
    Disconnected,
}

/// Why [`Receiver::recv_timeout`] has no message. As `std::sync::oneshot::RecvTimeoutError`.
pub enum RecvTimeoutError<T> {
    /// It did not come in time; here is the receiver again.
    Timeout(Receiver<T>),
    /// The sender is gone and has not sent.
    Disconnected,
}

const CLOSED: &str = "receiving on a closed oneshot channel";

impl<T> fmt::Display for TryRecvError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TryRecvError::Empty(_) => "receiving on an empty oneshot channel",
            TryRecvError::Disconnected => CLOSED,
        })
    }
}

impl<T> fmt::Display for RecvTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RecvTimeoutError::Timeout(_) => "timed out waiting on oneshot channel",
            RecvTimeoutError::Disconnected => CLOSED,
        })
    }
}

impl<T> fmt::Debug for TryRecvError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryRecvError").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RecvTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvTimeoutError").finish_non_exhaustive()
    }
}

impl<T> Error for TryRecvError<T> {}
impl<T> Error for RecvTimeoutError<T> {}

impl<T> From<RecvError> for TryRecvError<T> {
    fn from(_: RecvError) -> Self {
        TryRecvError::Disconnected
    }
}

impl<T> From<RecvError> for RecvTimeoutError<T> {
    fn from(_: RecvError) -> Self {
        RecvTimeoutError::Disconnected
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::shared::{explore, Drops};
    use crate::rt::header::models::Cast;

    #[test]
    fn a_message_sent_as_the_receiver_gives_up_is_received_or_given_back_or_dropped_once() {
        explore(4, || {
            let mut cast = Cast::here();
            let (sender, receiver) = channel();
            let drops = Drops::default();
            let message = drops.one();
            let receives = cast.spawn(move || receiver.recv_deadline(Instant::now()).ok());
            let sent = sender.send(message);
            drops.settle(1, receives.join().unwrap(), sent, true);
        });
    }

    #[test]
    fn a_receiver_that_is_about_to_wait_has_the_message_or_hears_that_the_sender_is_gone() {
        for sends in [false, true] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel();
                let receives = cast.spawn(move || receiver.recv());
                if sends {
                    sender.send(5).unwrap();
                } else {
                    drop(sender);
                }
                assert_eq!(receives.join().unwrap().ok(), sends.then_some(5));
            });
        }
    }
}
