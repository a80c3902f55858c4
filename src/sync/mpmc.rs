//! Channels for many producers and many consumers, as std's (unstable) `std::sync::mpmc`.
//!
//! Between tasks, between threads, and between the two: who has to wait in a task suspends the task, who has to wait on a plain
//! thread blocks the thread (which runs its default scheduler meanwhile, if that has tasks).
//!
//! - **Order.** Messages are received in the order in which they were sent, and those who wait, receivers as well as senders,
//!   are served in the order in which they came. A message that somebody waits for is handed to him, and nobody can come in between.
//! - **Nothing is lost.** A receiver whose time is up, or who is cancelled, in the moment in which a message is handed to it
//!   either has it or leaves it to the next one. A sender that fails has its message back in the error; one that unwinds, because
//!   it is cancelled or a [`timeout`](crate::timeout) round it passes, drops it.
//! - **The end.** When the last [`Sender`] is gone, receivers have what is left and are then told. When the last [`Receiver`] is
//!   gone, what is left is dropped at once, and senders have their messages back.
//! - **Where nothing can be unwound** (in a destructor that runs while unwinding, and in a build with `panic = "abort"`), a cancelled
//!   task waits for real: std's errors have no word for it, and a receiver that is told that all senders are gone would believe it.
//!   A wait with a time limit ends at the latest then.
//!
//! ```
//! use multitask::{spawn, sync::mpmc};
//!
//! let (sender, receiver) = mpmc::sync_channel(8);
//! let workers = [(); 3].map(|()| {
//!     let receiver = receiver.clone();
//!     spawn(move || receiver.iter().sum::<u32>())
//! });
//! for n in 1..=100 {
//!     sender.send(n).unwrap(); // suspends this task while eight are waiting
//! }
//! drop(sender);
//! let sums = workers.map(|worker| worker.join().unwrap());
//! assert_eq!(sums.iter().sum::<u32>(), 5050);
//! ```

use super::arms::{receives, transmits, Getter, Grant, Putter};
use super::awaiting::{gets, puts, Getting, Putting};
use super::channel::{Channel, Miss, Terms, TryMiss};
use super::ends::{iterators, opaque};
use crate::base::shared::{AtomicUsize, Ordering};
use crate::rt::choice::{Arm, Bound, Receive, Transmit};
use crate::rt::header::Why;
use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{error, fmt};

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// A channel that holds any number of messages: [`send`](Sender::send) never waits. As `std::sync::mpmc::channel`.
///
/// ```
/// let (sender, receiver) = multitask::sync::mpmc::channel();
/// sender.send("hello")?;
/// assert_eq!(receiver.recv(), Ok("hello"));
/// # Ok::<(), multitask::sync::mpmc::SendError<&str>>(())
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    new(usize::MAX)
}

/// A channel that holds `cap` messages: [`send`](Sender::send) waits while it is full. With 0 each `send` waits for a
/// [`recv`](Receiver::recv) to meet it. As `std::sync::mpmc::sync_channel`.
///
/// ```
/// use multitask::sync::mpmc::{sync_channel, TrySendError};
///
/// let (sender, _receiver) = sync_channel(1);
/// assert_eq!(sender.try_send('a'), Ok(()));
/// assert_eq!(sender.try_send('b'), Err(TrySendError::Full('b')));
/// ```
pub fn sync_channel<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    new(cap)
}

fn new<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        channel: Channel::new(capacity, VecDeque::new()),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    let sender = Sender {
        shared: shared.clone(),
    };
    (sender, Receiver { shared })
}

pub(super) struct Shared<T> {
    pub(super) channel: Channel<T>,
    /// Handles of each kind; none is made of nothing, so a count that has come to zero stays there.
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// Sends into a channel; made by [`channel`] and [`sync_channel`]. As `std::sync::mpmc::Sender`.
///
/// Clones send into the same channel. When the last one is dropped, receivers get what is left and then [`RecvError`].
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

/// Receives from a channel; made by [`channel`] and [`sync_channel`]. As `std::sync::mpmc::Receiver`.
///
/// Clones receive from the same channel: each message goes to one of them. When the last one is dropped, messages that are
/// left are dropped as well, and senders that wait have theirs back.
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `msg`; waits for room if there is none, for a receiver if the capacity is 0.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has
    /// tasks). `Ok` does not say that the message will be received.
    ///
    /// # Errors
    /// [`SendError`] gives the message back: no receiver is left.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        let sent = self
            .shared
            .channel
            .put(msg, Terms::plain(Bound::Never, Why::Send));
        sent.map_err(|(msg, _closed)| SendError(msg))
    }

    /// Sends `msg` if that needs no wait; but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// [`TrySendError`] gives the message back: there is no room, or no receiver is left.
    #[inline]
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        self.shared
            .channel
            .try_put(msg)
            .map_err(|(msg, miss)| match miss {
                TryMiss::Closed => TrySendError::Disconnected(msg),
                TryMiss::NotNow => TrySendError::Full(msg),
            })
    }

    /// As [`send`](Sender::send), for at most `timeout`.
    ///
    /// # Errors
    /// [`SendTimeoutError`] gives the message back.
    ///
    /// ```
    /// use multitask::sync::mpmc::{sync_channel, SendTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (sender, _receiver) = sync_channel(0);
    /// let late = sender.send_timeout("nobody is there", Duration::from_millis(1));
    /// assert_eq!(late, Err(SendTimeoutError::Timeout("nobody is there")));
    /// ```
    #[inline]
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_within(msg, Bound::For(timeout))
    }

    /// As [`send`](Sender::send), until `deadline`.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    #[inline]
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_within(msg, Bound::Until(deadline))
    }

    #[inline]
    fn send_within(&self, msg: T, bound: Bound) -> Result<(), SendTimeoutError<T>> {
        let sent = self.shared.channel.put(msg, Terms::plain(bound, Why::Send));
        sent.map_err(|(msg, miss)| match miss {
            Miss::Closed => SendTimeoutError::Disconnected(msg),
            Miss::TimedOut | Miss::Interrupted(_) => SendTimeoutError::Timeout(msg),
        })
    }

    /// As [`send`](Sender::send), for whatever runs futures. Polling never suspends.
    ///
    /// If the future is dropped before it is ready the message was not sent, and is dropped with it. At a capacity of 0 it is met
    /// by a receiver that waits, and not by [`try_recv`](Receiver::try_recv).
    ///
    /// # Errors
    /// As `send`.
    ///
    /// ```
    /// use multitask::{future, spawn, sync::mpmc};
    ///
    /// let (sender, receiver) = mpmc::sync_channel(1);
    /// let sum = spawn(move || receiver.iter().sum::<i32>());
    /// future::block_on(async move {
    ///     for n in 1..=10 {
    ///         sender.send_async(n).await.unwrap(); // pending while there is no room
    ///     }
    /// });
    /// assert_eq!(sum.join().unwrap(), 55);
    /// ```
    pub fn send_async(&self, msg: T) -> SendFuture<'_, T> {
        SendFuture(Putting::into(&self.shared.channel, msg))
    }

    /// Whether `other` sends into the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Receiver<T> {
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
        let received = self
            .shared
            .channel
            .get(None, Terms::plain(Bound::Never, Why::Receive));
        received.map_err(|_closed| RecvError)
    }

    /// Takes the message that was sent first. Does not wait, but like every operation it lets other tasks run now and then.
    ///
    /// # Errors
    /// [`TryRecvError`]: there is none, for now or for ever.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared
            .channel
            .try_get(None)
            .map_err(|miss| match miss {
                TryMiss::Closed => TryRecvError::Disconnected,
                TryMiss::NotNow => TryRecvError::Empty,
            })
    }

    /// As [`recv`](Receiver::recv), for at most `timeout`. A message that is here is taken at once, however short the time.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]: none came in time, or no sender is left.
    ///
    /// ```
    /// use multitask::sync::mpmc::{channel, RecvTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = channel::<()>();
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// drop(sender);
    /// assert_eq!(receiver.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected));
    /// ```
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_within(Bound::For(timeout))
    }

    /// As [`recv`](Receiver::recv), until `deadline`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    #[inline]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_within(Bound::Until(deadline))
    }

    #[inline]
    fn recv_within(&self, bound: Bound) -> Result<T, RecvTimeoutError> {
        let received = self
            .shared
            .channel
            .get(None, Terms::plain(bound, Why::Receive));
        received.map_err(|miss| match miss {
            Miss::Closed => RecvTimeoutError::Disconnected,
            Miss::TimedOut | Miss::Interrupted(_) => RecvTimeoutError::Timeout,
        })
    }

    /// As [`recv`](Receiver::recv), for whatever runs futures. Polling never suspends.
    ///
    /// The future stands in line with those who wait otherwise. It can be dropped at any time: a message that was handed to it, and
    /// that it has not returned, is received next. (Only another receiver that has meanwhile been told that no sender is left
    /// does not hear of it, unless it asks again.)
    ///
    /// # Errors
    /// As `recv`.
    ///
    /// ```
    /// use multitask::{future, spawn, sync::mpmc};
    ///
    /// let (sender, receiver) = mpmc::channel();
    /// spawn(move || sender.send("from a task").unwrap());
    /// let message = future::block_on(async { receiver.recv_async().await });
    /// assert_eq!(message, Ok("from a task"));
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture(Getting::from(&self.shared.channel))
    }

    /// An iterator that [receives](Receiver::recv) until no sender is left.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// An iterator that takes what is here, and ends when nothing is.
    ///
    /// ```
    /// let (sender, receiver) = multitask::sync::mpmc::channel();
    /// (1..=3).for_each(|n| sender.send(n).unwrap());
    /// assert_eq!(receiver.try_iter().sum::<i32>(), 6); // the sender is still there
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }

    /// Whether `other` receives from the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// What both ends can see of their channel.
macro_rules! looking {
    ($end:ident) => {
        impl<T> $end<T> {
            /// How many messages are here; those of senders that wait do not count.
            pub fn len(&self) -> usize {
                self.shared.channel.len()
            }

            /// Whether no message is here. With a capacity of 0, always.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room for another message. With a capacity of 0, always.
            pub fn is_full(&self) -> bool {
                self.shared.channel.is_full()
            }

            /// How many messages there is room for; `None` if there is no limit.
            pub fn capacity(&self) -> Option<usize> {
                self.shared.channel.capacity()
            }
        }

        // What a panic leaves of a channel is whole: see the locks' rule in `base::lock`.
        impl<T> UnwindSafe for $end<T> {}
        impl<T> RefUnwindSafe for $end<T> {}
    };
}

looking!(Sender);
looking!(Receiver);
opaque!(Sender, Receiver);
receives!(
    Receiver<T>,
    VecDeque<T>,
    shared.channel,
    RecvError = RecvError
);
transmits!(Sender<T>, shared.channel, SendError<T> = SendError);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // It cannot overflow: the count of `Arc` would before, and that aborts.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.channel.close();
        }
    }
}

/// Awaited as it is, by reference: as [`recv_async`](Receiver::recv_async).
///
/// ```
/// use multitask::{future, spawn, sync::mpmc};
///
/// let (sender, receiver) = mpmc::channel();
/// spawn(move || sender.send("from a task").unwrap());
/// assert_eq!(future::block_on(&receiver), Ok("from a task"));
/// ```
impl<'a, T> IntoFuture for &'a Receiver<T> {
    type Output = Result<T, RecvError>;
    type IntoFuture = RecvFuture<'a, T>;

    fn into_future(self) -> RecvFuture<'a, T> {
        self.recv_async()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        // As for `Sender`.
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.shared.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.channel.close_and_clear();
        }
    }
}

/// Why [`Sender::send_timeout`] did not send the message; here it is again. As `std::sync::mpmc::SendTimeoutError`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// There was no room, or no receiver to meet, in time.
    Timeout(T),
    /// No receiver is left.
    Disconnected(T),
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        "SendTimeoutError(..)".fmt(f)
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendTimeoutError::Timeout(_) => "timed out waiting on send operation".fmt(f),
            SendTimeoutError::Disconnected(_) => "sending on a disconnected channel".fmt(f),
        }
    }
}

impl<T> error::Error for SendTimeoutError<T> {}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(SendError(msg): SendError<T>) -> Self {
        SendTimeoutError::Disconnected(msg)
    }
}

iterators!();
gets! {
    /// Receives one message; see [`Receiver::recv_async`].
    RecvFuture, VecDeque<T>, RecvError = RecvError
}
puts! {
    /// Sends one message; see [`Sender::send_async`].
    SendFuture, SendError<T> = SendError
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::shared::{explore, Counted, Drops};
    use crate::future::block_on;
    use crate::rt::choice::{choose, Grant as _};
    use crate::rt::header::models::Cast;

    const NONE: usize = 0;
    const ONE: usize = 1;
    const ANY: usize = usize::MAX;

    /// A channel that loom knows of.
    fn channel_of<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = new(capacity);
        sender.shared.senders.make();
        sender.shared.receivers.make();
        (sender, receiver)
    }

    /// For who gives up at any moment: see `shared_loom.rs`.
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn receivers_that_are_about_to_wait_hear_that_the_last_sender_is_gone() {
        explore(4, || {
            let mut cast = Cast::here();
            let (sender, receiver) = channel_of::<()>(ANY);
            let (other, another) = (sender.clone(), receiver.clone());
            let drops = cast.spawn(move || drop(other));
            let receives = cast.spawn(move || another.recv());
            let also = cast.spawn(move || receiver.recv());
            drop(sender);
            assert_eq!(receives.join().unwrap(), Err(RecvError));
            assert_eq!(also.join().unwrap(), Err(RecvError));
            drops.join().unwrap();
        });
    }

    #[test]
    fn senders_that_are_about_to_wait_have_their_messages_back_when_the_last_receiver_goes() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                for _ in 0..capacity {
                    assert!(sender.try_send(drops.one()).is_ok());
                }
                let (other, another) = (receiver.clone(), sender.clone());
                let goes = cast.spawn(move || drop(other));
                let send = |sender: Sender<Counted>| {
                    let message = drops.one();
                    move || sender.send(message)
                };
                let sends = [send(sender), send(another)].map(|send| cast.spawn(send));
                drop(receiver);
                goes.join().unwrap();
                let back = sends.map(|send| send.join().unwrap().unwrap_err());
                assert_eq!(drops.count(), capacity);
                drop(back);
                assert_eq!(drops.count(), capacity + 2);
            });
        }
    }

    #[test]
    fn a_message_sent_as_the_last_receiver_goes_is_received_or_given_back_or_dropped_once() {
        for capacity in [NONE, ONE, ANY] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                // With a sender left the channel stays, so what is in it does.
                let (message, _left) = (drops.one(), sender.clone());
                let sends = cast.spawn(move || sender.send(message));
                let received = receiver.try_recv().ok();
                drop(receiver);
                drops.settle(1, received, sends.join().unwrap(), capacity > 0);
            });
        }
    }

    #[test]
    fn a_message_for_a_receiver_whose_time_is_up_is_received_by_it_or_the_next_one() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                let (message, hasty) = (drops.one(), receiver.clone());
                let sends = cast.spawn(move || sender.send(message));
                let hastes = cast.spawn(move || hasty.recv_deadline(now()));
                let received = receiver.recv();
                assert!(sends.join().unwrap().is_ok());
                let in_haste = hastes.join().unwrap();
                assert!(received.is_ok() != in_haste.is_ok());
                assert_eq!(drops.count(), 0);
                drop((received, in_haste));
                assert_eq!(drops.count(), 1);
            });
        }
    }

    #[test]
    fn of_two_receivers_one_has_the_only_message_and_the_other_hears_of_the_end() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                let (message, other) = (drops.one(), receiver.clone());
                let sends = cast.spawn(move || sender.send(message));
                let receives = cast.spawn(move || other.recv());
                let received = [receiver.recv(), receives.join().unwrap()];
                assert!(sends.join().unwrap().is_ok());
                assert_eq!(received.iter().filter(|one| one.is_ok()).count(), 1);
                assert_eq!(drops.count(), 0);
                drop(received);
                assert_eq!(drops.count(), 1);
            });
        }
    }

    #[test]
    fn of_two_senders_in_a_rendezvous_one_is_met_and_the_other_has_its_message_back() {
        explore(4, || {
            let mut cast = Cast::here();
            let (sender, receiver) = channel_of(NONE);
            let drops = Drops::default();
            let send = |sender: Sender<Counted>| {
                let message = drops.one();
                move || sender.send(message)
            };
            let sends = [send(sender.clone()), send(sender)].map(|send| cast.spawn(send));
            let received = receiver.recv();
            drop(receiver);
            let sent = sends.map(|send| send.join().unwrap());
            assert!(received.is_ok() && sent[0].is_ok() != sent[1].is_ok());
            assert_eq!(drops.count(), 0);
            drop((received, sent));
            assert_eq!(drops.count(), 2);
        });
    }

    #[test]
    fn a_sender_that_is_about_to_wait_for_room_has_it_when_a_message_is_taken() {
        explore(4, || {
            let mut cast = Cast::here();
            let (sender, receiver) = channel_of(ONE);
            assert_eq!(sender.try_send(1), Ok(()));
            let sends = cast.spawn(move || sender.send(2));
            assert_eq!(receiver.recv(), Ok(1));
            assert_eq!(sends.join().unwrap(), Ok(()));
            assert_eq!(receiver.recv(), Ok(2));
        });
    }

    #[test]
    fn a_sender_whose_time_is_up_as_it_is_met_and_the_receiver_goes_knows_whether_it_has_sent() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                for _ in 0..capacity {
                    assert!(sender.try_send(drops.one()).is_ok());
                }
                let (message, _left) = (drops.one(), sender.clone());
                let sends = cast.spawn(move || sender.send_deadline(message, now()));
                let early = (0..capacity).map(|_| receiver.recv()).count();
                let received = receiver.recv_deadline(now());
                drop(receiver);
                drops.settle(
                    early + 1,
                    received.ok(),
                    sends.join().unwrap(),
                    capacity > 0,
                );
            });
        }
    }

    /// Sends as an arm of `select!` does.
    fn send_chosen(sender: &Sender<Counted>, message: Counted) -> Result<(), SendError<Counted>> {
        let arm = sender.arm();
        assert_eq!(choose(&[&arm], Bound::Never), Some(0));
        sender.granted(&arm).send(message)
    }

    #[test]
    fn a_message_of_a_select_is_sent_or_given_back_when_the_receiver_goes() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                let (message, _left) = (drops.one(), sender.clone());
                let sends = cast.spawn(move || send_chosen(&sender, message));
                let received = receiver.recv_deadline(now());
                drop(receiver);
                drops.settle(1, received.ok(), sends.join().unwrap(), capacity > 0);
            });
        }
    }

    #[test]
    fn a_receiver_that_met_a_select_which_thinks_better_of_it_is_met_by_another_sender() {
        explore(4, || {
            let mut cast = Cast::here();
            let (sender, receiver) = channel_of(NONE);
            let (drops, other) = (Drops::default(), sender.clone());
            let message = drops.one();
            let declines = cast.spawn(move || {
                let arm = other.arm();
                // By then the other sender may have been met.
                let _in_time = choose(&[&arm], Bound::Until(now()));
            });
            let sends = cast.spawn(move || sender.send(message));
            let received = receiver.recv();
            declines.join().unwrap();
            assert!(received.is_ok() && sends.join().unwrap().is_ok());
            assert_eq!(receiver.recv().err(), Some(RecvError));
        });
    }

    #[test]
    fn a_receiver_that_met_a_select_which_thinks_better_of_it_hears_of_the_end() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of::<()>(capacity);
                let declines = cast.spawn(move || {
                    let arm = sender.arm();
                    assert_eq!(choose(&[&arm], Bound::Never), Some(0));
                });
                assert_eq!(receiver.recv(), Err(RecvError));
                declines.join().unwrap();
            });
        }
    }

    /// As many polls as it takes, by a waker that calls the thread; or one poll, and it is dropped.
    fn attend(receiver: &Receiver<Counted>, gives_up: bool) -> Option<Result<Counted, RecvError>> {
        if !gives_up {
            return Some(block_on(receiver.recv_async()));
        }
        let mut future = std::pin::pin!(receiver.recv_async());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_message_for_a_future_that_is_dropped_is_received_by_it_or_by_who_comes_next() {
        for capacity in [NONE, ONE] {
            explore(4, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                let (message, hasty) = (drops.one(), receiver.clone());
                let sends = cast.spawn(move || sender.send(message));
                let hastes = cast.spawn(move || attend(&hasty, true).and_then(Result::ok));
                let mut received = hastes.join().unwrap();
                if received.is_none() {
                    received = receiver.recv().ok();
                }
                assert!(received.is_some());
                assert!(sends.join().unwrap().is_ok());
                assert_eq!(drops.count(), 0);
                drop(received);
                assert_eq!(drops.count(), 1);
            });
        }
    }

    #[test]
    fn of_a_future_and_a_thread_one_has_the_only_message_and_the_other_hears_of_the_end() {
        for capacity in [NONE, ONE] {
            explore(3, move || {
                let mut cast = Cast::here();
                let (sender, receiver) = channel_of(capacity);
                let drops = Drops::default();
                let (message, other) = (drops.one(), receiver.clone());
                let sends = cast.spawn(move || sender.send(message));
                let receives = cast.spawn(move || attend(&other, false).unwrap());
                let received = [receiver.recv(), receives.join().unwrap()];
                assert!(sends.join().unwrap().is_ok());
                assert_eq!(received.iter().filter(|one| one.is_ok()).count(), 1);
                drop(received);
                assert_eq!(drops.count(), 1);
            });
        }
    }
}
