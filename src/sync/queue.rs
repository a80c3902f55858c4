//! [`Queue`]: items go from those who put to those who get, in order, and none is lost.
//!
//! What happens inside is `channel`'s; here are its names, and its errors.

use super::arms::{receives, transmits, Getter, Grant, Putter};
use super::awaiting::{gets, puts, Getting, Putting};
use super::channel::{Channel, Miss, Predicate, Terms, TryMiss};
use super::errors::{GetError, PutError, TryGetError, TryPutError};
use crate::rt::choice::{Arm, Bound, Receive, Transmit};
use crate::rt::header::Why;
use crate::rt::park::{assert_unbound, Mode};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A first-in-first-out queue for any number of producers and consumers, tasks and threads alike.
///
/// It is used through shared references; to own it together, put it in an [`Arc`](std::sync::Arc).
///
/// - **Bounded** queues hold a number of items, and [`put`](Queue::put) waits while one is full. With a capacity of 0
///   each `put` waits for a [`get`](Queue::get) to meet it. **Unbounded** ones grow: `put` never waits.
/// - **Order.** Items come out in the order in which they were put, and those who wait are served in the order in which they
///   came. An item that somebody waits for is handed to him, and nobody can come in between.
/// - **Nothing is lost.** A getter whose time is up, or who is cancelled, in the moment in which an item is
///   handed to it either has it or leaves it to the next one. A putter that gives up has its item back, or, when it unwinds, drops it.
/// - **Closing**: after [`close`](Queue::close) what is left can be got, and nothing more be put.
///
/// # Examples
///
/// ```
/// use multitask::{spawn, sync::Queue};
/// use std::sync::Arc;
///
/// let queue = Arc::new(Queue::bounded(1));
/// let consumer = spawn({
///     let queue = queue.clone();
///     move || queue.iter().collect::<Vec<_>>() // until it is closed
/// });
/// for item in ["one", "two", "three"] {
///     queue.put(item)?;
/// }
/// queue.close();
/// assert_eq!(consumer.join().unwrap(), ["one", "two", "three"]);
/// # Ok::<(), multitask::sync::PutError<&str>>(())
/// ```
///
/// Items that must stay on their thread keep the queue there too:
///
/// ```compile_fail
/// let queue = multitask::sync::Queue::from_iter([std::rc::Rc::new(1)]);
/// std::thread::spawn(move || queue.get());
/// ```
pub struct Queue<T> {
    channel: Channel<T>,
}

impl<T> Queue<T> {
    // ---- making one ----

    /// A queue that holds any number of items.
    ///
    /// ```
    /// use multitask::sync::Queue;
    ///
    /// static LOG: Queue<String> = Queue::unbounded();
    /// LOG.put("started".into()).unwrap();
    /// assert_eq!(LOG.len(), 1);
    /// ```
    pub const fn unbounded() -> Self {
        Queue::new(usize::MAX, VecDeque::new())
    }

    /// A queue that holds `capacity` items. With 0, an item goes straight from who puts to who gets.
    pub const fn bounded(capacity: usize) -> Self {
        Queue::new(capacity, VecDeque::new())
    }

    const fn new(capacity: usize, items: VecDeque<T>) -> Self {
        Queue {
            channel: Channel::new(capacity, items),
        }
    }

    // ---- getting ----

    /// Takes the item that has been here for longest; waits for one if there is none.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has
    /// tasks).
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and empty. The others only where a wait cannot be ended by
    /// unwinding.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn get(&self) -> Result<T, GetError> {
        self.get_within(None, Bound::Never)
    }

    /// As [`get`](Queue::get), for at most `timeout`. An item that is here is taken at once, however short the time.
    ///
    /// # Errors
    /// [`GetError::Timeout`] if none came in time; those of `get`.
    ///
    /// ```
    /// use multitask::sync::{GetError, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::from_iter(["here"]);
    /// assert_eq!(queue.get_timeout(Duration::ZERO), Ok("here"));
    /// assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(GetError::Timeout));
    /// ```
    #[inline]
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_within(None, Bound::For(timeout))
    }

    /// As [`get`](Queue::get), until `deadline`.
    ///
    /// # Errors
    /// As [`get_timeout`](Queue::get_timeout).
    #[inline]
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetError> {
        self.get_within(None, Bound::Until(deadline))
    }

    /// Takes the item that has been here for longest. Does not wait, but like every operation it lets other tasks run
    /// now and then.
    ///
    /// # Errors
    /// [`TryGetError::Empty`] or [`TryGetError::Closed`] if there is none.
    #[inline]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.try_get_wanted(None)
    }

    /// Takes the first item of which `predicate` says yes; waits for one if there is none.
    ///
    /// It is asked once about each item, in order: about those that are here, also in the hands of putters who wait
    /// for room, and then about each that comes, as long as no getter that came earlier takes it. So a full queue does not
    /// keep an item from a getter that waits for it. Items of which it says no stay for others.
    ///
    /// ```
    /// use multitask::sync::Queue;
    ///
    /// let queue = Queue::from_iter([1, 3, 4, 5]);
    /// assert_eq!(queue.get_matching(|n| n % 2 == 0), Ok(4));
    /// assert_eq!(queue.get(), Ok(1));
    /// ```
    ///
    /// # What a predicate may do
    ///
    /// Look at the item, and be quick. It is called while the queue is locked; about an item that comes, by whoever
    /// puts that item, in that task or thread and on that stack (so it must be `Send`). In it
    ///
    /// - **nothing can wait and no queue be used:** operations of this library that might wait, and those of queues, panic;
    /// - **a panic** is the getter's: it comes out of this function, whoever has called the predicate, and the item goes
    ///   to the next getter or stays. Nothing is poisoned;
    /// - **a lock of your own** must be one that nobody holds while using the queue, or the two may wait for each other.
    ///
    /// # Errors
    /// As [`get`](Queue::get); `Closed` also if items are left that do not match.
    ///
    /// # Panics
    /// As [`get`](Queue::get); and if `predicate` does.
    #[inline]
    pub fn get_matching<F>(&self, mut predicate: F) -> Result<T, GetError>
    where
        F: FnMut(&T) -> bool + Send,
    {
        self.get_within(Some(Predicate::of(&mut predicate)), Bound::Never)
    }

    /// As [`get_matching`](Queue::get_matching), for at most `timeout`. An item that is here is taken at once, however
    /// short the time.
    ///
    /// # Errors
    /// [`GetError::Timeout`] if none came in time; those of `get_matching`.
    ///
    /// # Panics
    /// As `get_matching`.
    #[inline]
    pub fn get_matching_timeout<F>(
        &self,
        mut predicate: F,
        timeout: Duration,
    ) -> Result<T, GetError>
    where
        F: FnMut(&T) -> bool + Send,
    {
        self.get_within(Some(Predicate::of(&mut predicate)), Bound::For(timeout))
    }

    /// As [`get_matching`](Queue::get_matching), until `deadline`.
    ///
    /// # Errors
    /// As [`get_matching_timeout`](Queue::get_matching_timeout).
    ///
    /// # Panics
    /// As `get_matching`.
    #[inline]
    pub fn get_matching_deadline<F>(
        &self,
        mut predicate: F,
        deadline: Instant,
    ) -> Result<T, GetError>
    where
        F: FnMut(&T) -> bool + Send,
    {
        self.get_within(Some(Predicate::of(&mut predicate)), Bound::Until(deadline))
    }

    /// Takes the first item that is here and of which `predicate` says yes. Does not wait, as [`try_get`](Queue::try_get).
    ///
    /// # Errors
    /// [`TryGetError::Empty`] or [`TryGetError::Closed`] if none matches.
    ///
    /// # Panics
    /// As [`get_matching`](Queue::get_matching).
    #[inline]
    pub fn try_get_matching<F>(&self, mut predicate: F) -> Result<T, TryGetError>
    where
        F: FnMut(&T) -> bool + Send,
    {
        self.try_get_wanted(Some(Predicate::of(&mut predicate)))
    }

    /// An iterator that [gets](Queue::get) until the queue is closed and empty. (It also ends where `get` says that it was
    /// interrupted.)
    ///
    /// ```
    /// use multitask::sync::Queue;
    ///
    /// let queue = Queue::from_iter(1..=3);
    /// queue.close();
    /// assert_eq!(queue.iter().sum::<i32>(), 6);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    /// An iterator that takes what is here, and ends when nothing is. As `std::sync::mpsc::Receiver::try_iter`.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { queue: self }
    }

    // ---- putting ----

    /// Puts `item` behind all others, or hands it to the first getter that waits for it; waits for room if there is none.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has
    /// tasks). If the caller is cancelled meanwhile, or a [`timeout`](crate::timeout) round it passes, the item is dropped by
    /// the unwinding.
    ///
    /// # Errors
    /// [`PutError::Closed`] if the queue is closed, or is while it waits; the others only where a wait cannot be ended by
    /// unwinding. Each gives the item back.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_within(item, Bound::Never)
    }

    /// As [`put`](Queue::put), for at most `timeout`.
    ///
    /// # Errors
    /// [`PutError::Timeout`] if there was no room in time; those of `put`.
    ///
    /// ```
    /// use multitask::sync::{PutError, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put("first")?;
    /// let late = queue.put_timeout("second", Duration::from_millis(1));
    /// assert_eq!(late, Err(PutError::Timeout("second")));
    /// # Ok::<(), PutError<&str>>(())
    /// ```
    #[inline]
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_within(item, Bound::For(timeout))
    }

    /// As [`put`](Queue::put), until `deadline`.
    ///
    /// # Errors
    /// As [`put_timeout`](Queue::put_timeout).
    #[inline]
    pub fn put_deadline(&self, item: T, deadline: Instant) -> Result<(), PutError<T>> {
        self.put_within(item, Bound::Until(deadline))
    }

    /// Puts `item` if there is room for it or somebody waits for it. Does not wait, but like every operation it lets other
    /// tasks run now and then.
    ///
    /// # Errors
    /// [`TryPutError::Full`] or [`TryPutError::Closed`] gives the item back.
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.channel
            .try_put(item)
            .map_err(|(item, miss)| match miss {
                TryMiss::Closed => TryPutError::Closed(item),
                TryMiss::NotNow => TryPutError::Full(item),
            })
    }

    // ---- as futures ----

    /// As [`get`](Queue::get), for whatever runs futures. Polling never suspends.
    ///
    /// The future stands in line with those who wait otherwise. It can be dropped at any time: an item that was handed to it, and
    /// that it has not returned, is got next. (Only another getter that has meanwhile been told that the queue is closed does not
    /// hear of it, unless it asks again.)
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and empty.
    ///
    /// ```
    /// use multitask::{future, sync::Queue};
    ///
    /// let queue = Queue::from_iter([1, 2]);
    /// let first = future::block_on(async { queue.get_async().await });
    /// assert_eq!(first, Ok(1));
    /// ```
    pub fn get_async(&self) -> GetFuture<'_, T> {
        GetFuture(Getting::from(&self.channel))
    }

    /// As [`put`](Queue::put), for whatever runs futures. Polling never suspends.
    ///
    /// If the future is dropped before it is ready the item was not put, and is dropped with it. At a capacity of 0 it is met by
    /// a getter that waits and takes any item, not by [`try_get`](Queue::try_get) nor by one that is choosy.
    ///
    /// # Errors
    /// [`PutError::Closed`] gives the item back.
    pub fn put_async(&self, item: T) -> PutFuture<'_, T> {
        PutFuture(Putting::into(&self.channel, item))
    }

    // ---- closing and looking ----

    /// Closes the queue: nothing can be put any more, and who gets has what is left and is then told. Returns at once; may be
    /// called again.
    ///
    /// Getters that wait are told, for nothing is left for them; putters that wait have their items back.
    pub fn close(&self) {
        assert_unbound();
        self.channel.close();
    }

    /// Whether [`close`](Queue::close) was called.
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }

    /// How many items are here; those of putters who wait do not count.
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    /// Whether an item that is here equals `item`; those of putters who wait do not count. Looks at all of them.
    ///
    /// ```
    /// use multitask::sync::Queue;
    ///
    /// let queue = Queue::from_iter(["one", "two"]);
    /// assert!(queue.contains(&"two") && !queue.contains(&"three"));
    /// ```
    ///
    /// # Panics
    /// If `==` panics, or waits, or uses a queue: it runs while this one is locked.
    pub fn contains(&self, item: &T) -> bool
    where
        T: PartialEq,
    {
        self.channel.contains(item)
    }

    /// Whether no item is here. With a capacity of 0, always.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another item. With a capacity of 0, always.
    pub fn is_full(&self) -> bool {
        self.channel.is_full()
    }

    /// How many items there is room for; `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        self.channel.capacity()
    }

    // ---- behind all of these ----

    /// `wants` points to what outlives the call.
    #[inline(always)]
    fn get_within(&self, wants: Option<Predicate<T>>, bound: Bound) -> Result<T, GetError> {
        self.channel
            .get(wants, terms(bound, Why::Get))
            .map_err(|miss| match miss {
                Miss::Closed => GetError::Closed,
                Miss::TimedOut => GetError::Timeout,
                Miss::Interrupted(interrupt) => interrupt.into(),
            })
    }

    #[inline]
    fn try_get_wanted(&self, wants: Option<Predicate<T>>) -> Result<T, TryGetError> {
        self.channel.try_get(wants).map_err(|miss| match miss {
            TryMiss::Closed => TryGetError::Closed,
            TryMiss::NotNow => TryGetError::Empty,
        })
    }

    #[inline(always)]
    fn put_within(&self, item: T, bound: Bound) -> Result<(), PutError<T>> {
        self.channel
            .put(item, terms(bound, Why::Put))
            .map_err(|(item, miss)| match miss {
                Miss::Closed => PutError::Closed(item),
                Miss::TimedOut => PutError::Timeout(item),
                Miss::Interrupted(interrupt) => PutError::interrupted(interrupt, item),
            })
    }
}

const fn terms(bound: Bound, why: Why) -> Terms {
    Terms {
        bound,
        why,
        mode: Mode::Fallible,
    }
}

receives!(Queue<T>, VecDeque<T>, channel, GetError = GetError::Closed);
transmits!(Queue<T>, channel, PutError<T> = PutError::Closed);
gets! {
    /// Gets one item; see [`Queue::get_async`].
    GetFuture, VecDeque<T>, GetError = GetError::Closed
}
puts! {
    /// Puts one item; see [`Queue::put_async`].
    PutFuture, PutError<T> = PutError::Closed
}

// ---- std's traits ----

// What a panic leaves of a queue is whole: see the locks' rule in `base::lock`.
impl<T> UnwindSafe for Queue<T> {}
impl<T> RefUnwindSafe for Queue<T> {}

impl<T> Default for Queue<T> {
    /// An unbounded one.
    fn default() -> Self {
        Queue::unbounded()
    }
}

/// An unbounded queue that holds these items.
impl<T> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Queue::new(usize::MAX, items.into_iter().collect())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Gets until the queue is closed; see [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.queue.get().ok()
    }
}

/// Gets while there is something; see [`Queue::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T> {
    queue: &'a Queue<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.queue.try_get().ok()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::shared::{explore, Counted, Drops};
    use crate::rt::header::models::Cast;
    use std::sync::Arc;

    /// The queues stay to the end of a schedule: closing one drops nothing.
    fn queue_of<T>(capacity: usize) -> Arc<Queue<T>> {
        Arc::new(Queue::new(capacity, VecDeque::new()))
    }

    #[test]
    fn an_item_put_as_the_queue_is_closed_is_got_or_given_back_and_nobody_waits_on() {
        for capacity in [0, 1] {
            explore(4, move || {
                let mut cast = Cast::here();
                let queue = queue_of(capacity);
                let drops = Drops::default();
                let item = drops.one();
                let [to, from, too] = [(); 3].map(|()| queue.clone());
                let puts = cast.spawn(move || to.put(item));
                let gets = cast.spawn(move || from.get());
                let closes = cast.spawn(move || too.close());
                let mut got = vec![queue.get(), gets.join().unwrap()];
                closes.join().unwrap();
                let put = puts.join().unwrap();
                // A getter that was told before the item came has left it.
                got.push(queue.get());
                assert_eq!(
                    got.iter().filter(|got| got.is_ok()).count(),
                    usize::from(put.is_ok())
                );
                assert_eq!(drops.count(), 0);
                drop((got, put));
                assert_eq!(drops.count(), 1);
            });
        }
    }

    #[test]
    fn a_getter_that_wants_none_of_what_is_put_hears_that_the_queue_is_closed() {
        explore(4, || {
            let mut cast = Cast::here();
            let queue = queue_of(0);
            let [choosy, other] = [(); 2].map(|()| queue.clone());
            let chooses = cast.spawn(move || choosy.get_matching(|item| *item == 2));
            let gets = cast.spawn(move || other.get_matching(|item| *item == 1));
            queue.put(1).unwrap();
            queue.close();
            assert_eq!(gets.join().unwrap(), Ok(1));
            assert_eq!(chooses.join().unwrap(), Err(GetError::Closed));
        });
    }

    #[test]
    fn a_putter_whose_time_is_up_as_the_queue_is_closed_has_its_item_back() {
        explore(4, || {
            let mut cast = Cast::here();
            let queue = queue_of(0);
            let drops = Drops::default();
            let put = |queue: Arc<Queue<Counted>>| {
                let item = drops.one();
                move || queue.put_deadline(item, Instant::now())
            };
            let puts = [put(queue.clone()), put(queue.clone())].map(|put| cast.spawn(put));
            queue.close();
            let back = puts.map(|put| put.join().unwrap().unwrap_err());
            assert_eq!(drops.count(), 0);
            drop(back);
            assert_eq!(drops.count(), 2);
        });
    }
}
