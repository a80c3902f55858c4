//! [`Queue`]: items go from those who put to those who get, in order, and none is lost.
//!
//! 1. One lock guards a queue. Nobody suspends or wakes others while holding it, but for the rare ends of a queue, and
//!    no destructor of an item runs under it.
//! 2. A getter waits only if it wants none of the items that are here, buffered or in the hands of waiting putters; so
//!    whoever puts asks the waiting getters first, in the order in which they came, and whoever gets need not.
//! 3. A putter waits only while the buffer is full: who makes room moves the item of the first of them in.
//! 4. A waiting getter or putter has a node in a wait list, and what is handed over lies in the node. Whoever
//!    hands over has won the node's wait before, by one compare-exchange: a waiter that timed out or was cancelled cannot
//!    be won, and the next one is tried. So an item is always in one pair of hands.
//! 5. A node is in its list, by the lock, until its wait is won through the list, or its owner has taken it out.
//!
//! Handing over directly, instead of leaving the item for whom it wakes, keeps the order among waiters: nobody can take
//! the item in between.
//!
//! Predicates run under the lock, on behalf of whoever puts: that makes each operation one step, with one answer, at the cost
//! of what a predicate may do (see `Queue::get_matching`). Asking a getter in its own task instead would leave the item
//! undecided until that task runs: a `try_put` could not answer, and items behind it would overtake it or wait.

use super::errors::{GetError, PutError, TryGetError, TryPutError};
use crate::base::lock::{Lock, Locked};
use crate::rt::header::Why;
use crate::rt::park::{assert_unbound, bound, charge, park, Mode, Outcome};
use crate::rt::waiter::{Node, WaitList, Waiter, Won};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};
use std::{fmt, mem};

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
    /// Items that are buffered; `usize::MAX` is unbounded.
    capacity: usize,
    state: Lock<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    getters: WaitList<Getting<T>>,
    putters: WaitList<Putting<T>>,
}

/// The item is there until somebody takes it.
type Putting<T> = Option<T>;

struct Getting<T> {
    /// `None` wants any item.
    wants: Option<Predicate<T>>,
    /// Woken without one: the queue was closed.
    answer: Option<Answer<T>>,
}

enum Answer<T> {
    Item(T),
    /// What the predicate panicked with.
    Panic(Box<dyn Any + Send>),
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
            capacity,
            state: Lock::new(State {
                items,
                closed: false,
                getters: WaitList::new(),
                putters: WaitList::new(),
            }),
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
        charge();
        let mut state = self.lock();
        match state.put(item, self.capacity) {
            Put::Done(getter) => {
                leave(state, getter);
                Ok(())
            }
            Put::Closed(item) => Err(TryPutError::Closed(item)),
            Put::Full(item) => Err(TryPutError::Full(item)),
        }
    }

    // ---- closing and looking ----

    /// Closes the queue: nothing can be put any more, and who gets has what is left and is then told. Returns at once; may be
    /// called again.
    ///
    /// Getters that wait are told, for nothing is left for them; putters that wait have their items back.
    pub fn close(&self) {
        assert_unbound();
        let mut state = self.lock();
        state.closed = true;
        // SAFETY: the lock is held.
        unsafe { state.getters.wake_all() };
        // SAFETY: as above.
        unsafe { state.putters.wake_all() };
    }

    /// Whether [`close`](Queue::close) was called.
    pub fn is_closed(&self) -> bool {
        self.look().closed
    }

    /// How many items are here; those of putters who wait do not count.
    pub fn len(&self) -> usize {
        self.look().items.len()
    }

    /// Whether no item is here. With a capacity of 0, always.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another item. With a capacity of 0, always.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// How many items there is room for; `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    // ---- behind all of these ----

    /// `wants` points to what outlives the call.
    #[inline(always)]
    fn get_within(&self, wants: Option<Predicate<T>>, bound: Bound) -> Result<T, GetError> {
        charge();
        let mut state = self.lock();
        match state.take(wants.as_ref()) {
            Take::Done(item, putter) => {
                leave(state, putter);
                return Ok(item);
            }
            Take::Closed => return Err(GetError::Closed),
            Take::Empty => {}
        }
        let answer = None;
        let node = Node::with(Waiter::here(), Getting { wants, answer });
        // SAFETY: the lock is held; `waits` takes it out.
        unsafe { state.getters.push(&node) };
        drop(state);
        let waits = Waits {
            queue: self,
            node: &node,
            list: |state| &state.getters,
        };
        let outcome = park(node.waiter(), bound.deadline(), Why::Get, Mode::Fallible);
        waits.end(outcome);
        node.into_slot().unpack(outcome)
    }

    #[inline]
    fn try_get_wanted(&self, wants: Option<Predicate<T>>) -> Result<T, TryGetError> {
        charge();
        let mut state = self.lock();
        match state.take(wants.as_ref()) {
            Take::Done(item, putter) => {
                leave(state, putter);
                Ok(item)
            }
            Take::Closed => Err(TryGetError::Closed),
            Take::Empty => Err(TryGetError::Empty),
        }
    }

    #[inline(always)]
    fn put_within(&self, item: T, bound: Bound) -> Result<(), PutError<T>> {
        charge();
        let mut state = self.lock();
        let item = match state.put(item, self.capacity) {
            Put::Done(getter) => {
                leave(state, getter);
                return Ok(());
            }
            Put::Closed(item) => return Err(PutError::Closed(item)),
            Put::Full(item) => item,
        };
        let node = Node::with(Waiter::here(), Some(item));
        // SAFETY: the lock is held; `waits` takes it out.
        unsafe { state.putters.push(&node) };
        drop(state);
        let waits = Waits {
            queue: self,
            node: &node,
            list: |state| &state.putters,
        };
        let outcome = park(node.waiter(), bound.deadline(), Why::Put, Mode::Fallible);
        waits.end(outcome);
        has_put(node.into_slot(), outcome)
    }

    fn look(&self) -> Locked<'_, State<T>> {
        assert_unbound();
        self.lock()
    }

    /// After `charge` or `assert_unbound`: the lock may be held by a caller of the predicate that calls.
    #[inline]
    fn lock(&self) -> Locked<'_, State<T>> {
        self.state.lock()
    }
}

/// The partner of an operation goes on when the lock is free again: he may be on another thread and come for it.
#[inline]
fn leave<T, S>(state: Locked<'_, State<T>>, partner: Option<Won<S>>) {
    drop(state);
    drop(partner);
}

/// What came of putting without waiting.
enum Put<T> {
    /// And the getter that has it, if one waited.
    Done(Option<Won<Getting<T>>>),
    Closed(T),
    Full(T),
}

/// What came of getting without waiting.
enum Take<T> {
    /// And the putter who was served by it, if one waited.
    Done(T, Option<Won<Putting<T>>>),
    Closed,
    Empty,
}

impl<T> State<T> {
    fn put(&mut self, item: T, capacity: usize) -> Put<T> {
        if self.closed {
            return Put::Closed(item);
        }
        match self.hand_over(item) {
            Ok(getter) => Put::Done(Some(getter)),
            Err(item) if self.items.len() < capacity => {
                self.items.push_back(item);
                Put::Done(None)
            }
            Err(item) => Put::Full(item),
        }
    }

    /// Gives `item` to the first getter that wants it.
    fn hand_over(&mut self, item: T) -> Result<Won<Getting<T>>, T> {
        loop {
            // SAFETY: the lock is held; a predicate cannot use the queue.
            let getter = unsafe { self.getters.win_first(|getting| getting.stops(&item)) };
            let Some(mut getter) = getter else {
                return Err(item);
            };
            let answer = &mut getter.slot().answer;
            if answer.is_none() {
                *answer = Some(Answer::Item(item));
                return Ok(getter);
            }
            // Its predicate panicked: it goes on with that, and the next one is asked.
        }
    }

    fn take(&mut self, wants: Option<&Predicate<T>>) -> Take<T> {
        let wanted = |item: &T| wants.is_none_or(|predicate| predicate.ask(item));
        if let Some(item) = self.take_buffered(wanted) {
            return Take::Done(item, self.refill());
        }
        let offers = |putting: &mut Putting<T>| putting.as_ref().is_some_and(wanted);
        // SAFETY: the lock is held; a predicate cannot use the queue.
        let putter = unsafe { self.putters.win_first(offers) };
        // None of a full buffer was wanted, or there is none, and the item goes straight from hand to hand.
        match putter.and_then(|mut putter| Some((putter.slot().take()?, putter))) {
            Some((item, putter)) => Take::Done(item, Some(putter)),
            None if self.closed => Take::Closed,
            None => Take::Empty,
        }
    }

    /// Takes the first that is wanted out of the buffer.
    fn take_buffered(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        // The first, if any will do: nothing has to be moved.
        if wanted(self.items.front()?) {
            return self.items.pop_front();
        }
        let behind = self.items.iter().skip(1).position(wanted)?;
        self.items.remove(1 + behind)
    }

    /// There is room for one: that of the putter who has waited for longest.
    fn refill(&mut self) -> Option<Won<Putting<T>>> {
        // SAFETY: the lock is held.
        let mut putter = unsafe { self.putters.win_first(|_| true) }?;
        self.items.extend(putter.slot().take());
        Some(putter)
    }
}

impl<T> Getting<T> {
    /// Whether the search ends with this getter: it wants the item, or its predicate panicked.
    fn stops(&mut self, item: &T) -> bool {
        let Some(predicate) = &self.wants else {
            return true;
        };
        // What the predicate leaves half done is seen by nobody but its owner, in whom the panic goes on.
        match catch_unwind(AssertUnwindSafe(|| predicate.ask(item))) {
            Ok(wanted) => wanted,
            Err(panic) => {
                self.answer = Some(Answer::Panic(panic));
                true
            }
        }
    }

    fn unpack(self, outcome: Outcome) -> Result<T, GetError> {
        match (self.answer, outcome) {
            (Some(Answer::Item(item)), _) => Ok(item),
            (Some(Answer::Panic(panic)), _) => resume_unwind(panic),
            (None, Outcome::Woken) => Err(GetError::Closed),
            (None, Outcome::TimedOut) => Err(GetError::Timeout),
            (None, Outcome::Interrupted(interrupt)) => Err(interrupt.into()),
        }
    }
}

fn has_put<T>(putting: Putting<T>, outcome: Outcome) -> Result<(), PutError<T>> {
    let Some(item) = putting else { return Ok(()) };
    Err(match outcome {
        Outcome::Woken => PutError::Closed(item),
        Outcome::TimedOut => PutError::Timeout(item),
        Outcome::Interrupted(interrupt) => PutError::interrupted(interrupt, item),
    })
}

/// How long a wait may last. The clock is read only if there is a wait.
#[derive(Clone, Copy)]
enum Bound {
    Never,
    For(Duration),
    Until(Instant),
}

impl Bound {
    #[inline]
    fn deadline(self) -> Option<Instant> {
        match self {
            Bound::Never => None,
            Bound::For(timeout) => Instant::now().checked_add(timeout),
            Bound::Until(deadline) => Some(deadline),
        }
    }
}

/// A node that is in one of the queue's lists; taken out when this is dropped, however the wait ends.
struct Waits<'a, T, S> {
    queue: &'a Queue<T>,
    node: &'a Node<S>,
    list: fn(&State<T>) -> &WaitList<S>,
}

impl<T, S> Waits<'_, T, S> {
    /// After a wait that did not unwind.
    #[inline]
    fn end(self, outcome: Outcome) {
        if outcome == Outcome::Woken {
            // Who won the wait has taken the node out.
            mem::forget(self);
        }
    }
}

impl<T, S> Drop for Waits<'_, T, S> {
    fn drop(&mut self) {
        let state = self.queue.lock();
        // SAFETY: the lock is held, and the node has been in this list only.
        unsafe { (self.list)(&state).remove(self.node) }
    }
}

/// A getter's predicate, which lies on its stack, with its type forgotten. `Send` by the bounds of those who make one.
struct Predicate<T> {
    data: *mut (),
    ask: unsafe fn(*mut (), &T) -> bool,
}

impl<T> Predicate<T> {
    fn of<F: FnMut(&T) -> bool + Send>(predicate: &mut F) -> Self {
        /// # Safety
        /// `data` points to an `F` that lives, and that nobody else uses now.
        unsafe fn ask<T, F: FnMut(&T) -> bool>(data: *mut (), item: &T) -> bool {
            // SAFETY: the caller's promise.
            let predicate = unsafe { &mut *data.cast::<F>() };
            predicate(item)
        }
        Predicate {
            data: (predicate as *mut F).cast(),
            ask: ask::<T, F>,
        }
    }

    /// Called under the queue's lock, by the getter itself or about its node in the list.
    fn ask(&self, item: &T) -> bool {
        // SAFETY: it lives while its owner is in the call that made it, which does not end before its node is out of
        // the list; the lock keeps others from it.
        bound(|| unsafe { (self.ask)(self.data, item) })
    }
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
        let (len, closed) = {
            let state = self.look();
            (state.items.len(), state.closed)
        };
        f.debug_struct("Queue")
            .field("len", &len)
            .field("capacity", &self.capacity())
            .field("closed", &closed)
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
