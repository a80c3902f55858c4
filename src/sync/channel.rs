//! [`Channel`]: the one core behind queues and channels. Items go from those who put to those who get, in order, and none is
//! lost.
//!
//! 1. One lock guards a channel, and an operation takes it once. Nobody suspends or wakes others while holding it, but for the
//!    rare ends of a channel, and no destructor of an item runs under it.
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

use super::buffer::Buffer;
use crate::base::lock::{Lock, Locked};
use crate::rt::header::Why;
use crate::rt::park::{assert_unbound, bound, charge, park, Interrupt, Mode, Outcome};
use crate::rt::waiter::{Node, WaitList, Waiter, Won};
use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// See the head of this file.
pub(super) struct Channel<T, B = VecDeque<T>> {
    /// Items that are buffered; `usize::MAX` is unbounded.
    capacity: usize,
    state: Lock<State<T, B>>,
}

struct State<T, B> {
    items: B,
    /// Nothing more can be put.
    closed: bool,
    getters: WaitList<Getting<T>>,
    putters: WaitList<Putting<T>>,
}

/// The item is there until somebody takes it.
type Putting<T> = Option<T>;

struct Getting<T> {
    /// `None` wants any item.
    wants: Option<Predicate<T>>,
    /// Woken without one: the channel was closed.
    answer: Option<Answer<T>>,
}

enum Answer<T> {
    Item(T),
    /// What the predicate panicked with.
    Panic(Box<dyn Any + Send>),
}

/// Why a waiting operation did not do what it was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Closed,
    TimedOut,
    /// Only in a wait that can say so ([`Mode::Fallible`]).
    Interrupted(Interrupt),
}

/// Why an operation that does not wait did not do what it was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TryMiss {
    Closed,
    /// Empty, or full.
    NotNow,
}

/// How a wait is made: how long it may last, what it is called in reports, and whether its caller can be told of an interruption.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) bound: Bound,
    pub(super) why: Why,
    pub(super) mode: Mode,
}

/// How long a wait may last. The clock is read only if there is a wait.
#[derive(Clone, Copy)]
pub(super) enum Bound {
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

impl<T, B> Channel<T, B> {
    /// One that holds `capacity` items beside those of putters who wait; `usize::MAX` is unbounded.
    pub(super) const fn new(capacity: usize, items: B) -> Self {
        Channel {
            capacity,
            state: Lock::new(State {
                items,
                closed: false,
                getters: WaitList::new(),
                putters: WaitList::new(),
            }),
        }
    }

    /// After `charge` or `assert_unbound`: the lock may be held by a caller of the predicate that calls.
    #[inline]
    fn lock(&self) -> Locked<'_, State<T, B>> {
        self.state.lock()
    }
}

impl<T, B: Buffer<T>> Channel<T, B> {
    /// Takes the first item that `wants` says yes to; waits for one if there is none.
    ///
    /// `wants` points to what outlives the call.
    // Inlined, as all that suspends: see `Switch::suspend`.
    #[inline(always)]
    pub(super) fn get(&self, wants: Option<Predicate<T>>, terms: Terms) -> Result<T, Miss> {
        charge();
        let mut wants = wants;
        let mut deadline = None;
        loop {
            let mut state = self.lock();
            match state.take(wants.as_ref()) {
                Take::Done(item, putter) => {
                    leave(state, putter);
                    return Ok(item);
                }
                Take::Closed => return Err(Miss::Closed),
                Take::Empty => {}
            }
            let answer = None;
            let node = Node::with(Waiter::here(), Getting { wants, answer });
            // SAFETY: the lock is held; `waits` takes it out.
            unsafe { state.getters.push(&node) };
            drop(state);
            let waits = Waits {
                channel: self,
                node: &node,
                list: |state| &state.getters,
            };
            let until = *deadline.get_or_insert_with(|| terms.bound.deadline());
            let outcome = park(node.waiter(), until, terms.why, terms.mode);
            waits.end(outcome);
            let getting = node.into_slot();
            match getting.answer {
                Some(Answer::Item(item)) => return Ok(item),
                Some(Answer::Panic(panic)) => resume_unwind(panic),
                None => {}
            }
            if let Some(miss) = terms.miss(outcome) {
                return Err(miss);
            }
            wants = getting.wants;
        }
    }

    #[inline]
    pub(super) fn try_get(&self, wants: Option<Predicate<T>>) -> Result<T, TryMiss> {
        charge();
        let mut state = self.lock();
        match state.take(wants.as_ref()) {
            Take::Done(item, putter) => {
                leave(state, putter);
                Ok(item)
            }
            Take::Closed => Err(TryMiss::Closed),
            Take::Empty => Err(TryMiss::NotNow),
        }
    }

    /// Puts `item` behind all others, or hands it to the first getter that wants it; waits for room if there is none.
    #[inline(always)]
    pub(super) fn put(&self, item: T, terms: Terms) -> Result<(), (T, Miss)> {
        charge();
        let mut item = item;
        let mut deadline = None;
        loop {
            let mut state = self.lock();
            item = match state.put(item, self.capacity) {
                Put::Done(getter) => {
                    leave(state, getter);
                    return Ok(());
                }
                Put::Closed(item) => return Err((item, Miss::Closed)),
                Put::Full(item) => item,
            };
            let node = Node::with(Waiter::here(), Some(item));
            // SAFETY: the lock is held; `waits` takes it out.
            unsafe { state.putters.push(&node) };
            drop(state);
            let waits = Waits {
                channel: self,
                node: &node,
                list: |state| &state.putters,
            };
            let until = *deadline.get_or_insert_with(|| terms.bound.deadline());
            let outcome = park(node.waiter(), until, terms.why, terms.mode);
            waits.end(outcome);
            let Some(left) = node.into_slot() else {
                return Ok(());
            };
            if let Some(miss) = terms.miss(outcome) {
                return Err((left, miss));
            }
            item = left;
        }
    }

    #[inline]
    pub(super) fn try_put(&self, item: T) -> Result<(), (T, TryMiss)> {
        charge();
        let mut state = self.lock();
        match state.put(item, self.capacity) {
            Put::Done(getter) => {
                leave(state, getter);
                Ok(())
            }
            Put::Closed(item) => Err((item, TryMiss::Closed)),
            Put::Full(item) => Err((item, TryMiss::NotNow)),
        }
    }

    /// Nothing more can be put. Getters that wait are told, for nothing is left for them; putters that wait have their items
    /// back.
    pub(super) fn close(&self) {
        self.lock().close();
    }

    /// As `close`, when nobody will get any more: what is left is dropped.
    pub(super) fn close_and_clear(&self) {
        let mut state = self.lock();
        state.close();
        let items = mem::take(&mut state.items);
        drop(state);
        // Destructors of items may use this channel, or suspend.
        drop(items);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.look().closed
    }

    pub(super) fn len(&self) -> usize {
        self.look().items.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// `None` if there is no limit.
    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    fn look(&self) -> Locked<'_, State<T, B>> {
        assert_unbound();
        self.lock()
    }
}

impl Terms {
    /// What a wait that ended so, and with nothing handed over, is to its caller; `None` if it has to wait again, which puts
    /// it last in line.
    fn miss(self, outcome: Outcome) -> Option<Miss> {
        match outcome {
            Outcome::Woken => Some(Miss::Closed),
            Outcome::TimedOut => Some(Miss::TimedOut),
            Outcome::Interrupted(interrupt) if self.mode == Mode::Fallible => {
                Some(Miss::Interrupted(interrupt))
            }
            // A deadline has passed, though not its own: that can be said.
            Outcome::Interrupted(Interrupt::Timeout) if !matches!(self.bound, Bound::Never) => {
                Some(Miss::TimedOut)
            }
            Outcome::Interrupted(_) => None,
        }
    }
}

/// The partner of an operation goes on when the lock is free again: he may be on another thread and come for it.
#[inline]
fn leave<T, B, S>(state: Locked<'_, State<T, B>>, partner: Option<Won<S>>) {
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

impl<T, B: Buffer<T>> State<T, B> {
    fn close(&mut self) {
        self.closed = true;
        // SAFETY: the lock is held.
        unsafe { self.getters.wake_all() };
        // SAFETY: as above.
        unsafe { self.putters.wake_all() };
    }

    fn put(&mut self, item: T, capacity: usize) -> Put<T> {
        if self.closed {
            return Put::Closed(item);
        }
        match self.hand_over(item) {
            Ok(getter) => Put::Done(Some(getter)),
            Err(item) if self.items.len() < capacity => {
                self.items.push(item);
                Put::Done(None)
            }
            Err(item) => Put::Full(item),
        }
    }

    /// Gives `item` to the first getter that wants it.
    fn hand_over(&mut self, item: T) -> Result<Won<Getting<T>>, T> {
        loop {
            // SAFETY: the lock is held; a predicate cannot use the channel.
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
        if let Some(item) = self.items.take_first(wanted) {
            return Take::Done(item, self.refill());
        }
        let offers = |putting: &mut Putting<T>| putting.as_ref().is_some_and(wanted);
        // SAFETY: the lock is held; a predicate cannot use the channel.
        let putter = unsafe { self.putters.win_first(offers) };
        // None of a full buffer was wanted, or there is none, and the item goes straight from hand to hand.
        match putter.and_then(|mut putter| Some((putter.slot().take()?, putter))) {
            Some((item, putter)) => Take::Done(item, Some(putter)),
            None if self.closed => Take::Closed,
            None => Take::Empty,
        }
    }

    /// There is room for one: that of the putter who has waited for longest.
    fn refill(&mut self) -> Option<Won<Putting<T>>> {
        // SAFETY: the lock is held.
        let mut putter = unsafe { self.putters.win_first(|_| true) }?;
        if let Some(item) = putter.slot().take() {
            self.items.push(item);
        }
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
}

/// A node that is in one of the channel's lists; taken out when this is dropped, however the wait ends.
struct Waits<'a, T, B, S> {
    channel: &'a Channel<T, B>,
    node: &'a Node<S>,
    list: fn(&State<T, B>) -> &WaitList<S>,
}

impl<T, B, S> Waits<'_, T, B, S> {
    /// After a wait that did not unwind.
    #[inline]
    fn end(self, outcome: Outcome) {
        if outcome == Outcome::Woken {
            // Who won the wait has taken the node out.
            mem::forget(self);
        }
    }
}

impl<T, B, S> Drop for Waits<'_, T, B, S> {
    fn drop(&mut self) {
        let state = self.channel.lock();
        // SAFETY: the lock is held, and the node has been in this list only.
        unsafe { (self.list)(&state).remove(self.node) }
    }
}

/// A getter's predicate, which lies on its stack, with its type forgotten. `Send` by the bounds of those who make one.
pub(super) struct Predicate<T> {
    data: *mut (),
    ask: unsafe fn(*mut (), &T) -> bool,
}

impl<T> Predicate<T> {
    pub(super) fn of<F: FnMut(&T) -> bool + Send>(predicate: &mut F) -> Self {
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

    /// Called under the channel's lock, by the getter itself or about its node in the list.
    fn ask(&self, item: &T) -> bool {
        // SAFETY: it lives while its owner is in the call that made it, which does not end before its node is out of
        // the list; the lock keeps others from it.
        bound(|| unsafe { (self.ask)(self.data, item) })
    }
}
