//! [`Channel`]: the one core behind queues and channels. Items go from those who put to those who get, in order, and none is
//! lost.
//!
//! 1. One lock guards a channel, and an operation takes it once. Nobody suspends or wakes others while holding it, but for the
//!    rare ends of a channel, and no destructor of an item runs under it.
//! 2. A getter waits only if it wants none of the items that are here, buffered or in the hands of waiting putters; so
//!    whoever puts asks the waiting getters first, in the order in which they came, and whoever gets need not.
//! 3. A putter waits only while the buffer is full: who makes room moves the item of the first of them in.
//! 4. A waiting getter or putter has a node in a wait list, and what is handed over lies in the node. Whoever
//!    hands over has won the node's wait before, by the one race of `rt/waiter`: a waiter that timed out or was cancelled cannot
//!    be won, and the next one is tried. So an item is always in one pair of hands.
//! 5. A node is in its list, by the lock, until its wait is won through the list, or its owner has taken it out.
//! 6. A *chooser* is a putter that waits for several things at once and makes its item only when it is chosen. What it is given is
//!    an [`Offer`]: room in the buffer that nobody else may fill, or, where there is no buffer, a getter that stands still. It redeems
//!    it, or declines it.
//! 7. Where there is no buffer, a getter that finds a chooser waiting *calls* it: wins its wait, and waits itself as one that was promised,
//!    which no other putter serves. The chooser then meets a promised getter, if one is still there; until it comes to that,
//!    the getter may time out or be cancelled as ever. Each chooser that was called takes away one promised getter at the most, so none is
//!    left behind.
//!
//! Handing over directly, instead of leaving the item for whom it wakes, keeps the order among waiters: nobody can take
//! the item in between.
//!
//! Predicates run under the lock, on behalf of whoever puts: that makes each operation one step, with one answer, at the cost
//! of what a predicate may do (see `Queue::get_matching`). Asking a getter in its own task instead would leave the item
//! undecided until that task runs: a `try_put` could not answer, and items behind it would overtake it or wait.

use super::buffer::Buffer;
use crate::base::lock::{Lock, Locked};
use crate::rt::choice::Bound;
use crate::rt::header::Why;
use crate::rt::park::{assert_unbound, bound, charge, charge_more, park, Interrupt, Mode, Outcome};
use crate::rt::pledge::Wakers;
use crate::rt::waiter::{Node, WaitList, Waiter, Won};
use std::any::Any;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::mem;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

/// For each so many items in a channel without a limit, one put costs as much as one more.
const PACE: usize = 1024;
/// And at the most so much more.
const MOST: usize = 15;

/// See the head of this file.
// As written, here and below: what most operations look at is on one or two lines.
#[repr(C)]
pub struct Channel<T, B = VecDeque<T>> {
    /// Items that are buffered; `usize::MAX` is unbounded.
    capacity: usize,
    state: Lock<State<T, B>>,
}

#[repr(C)]
struct State<T, B> {
    getters: WaitList<Getting<T>>,
    putters: WaitList<Putting<T>>,
    /// Nothing more can be put.
    closed: bool,
    items: B,
    /// Room that was offered to choosers.
    reserved: usize,
}

pub(super) enum Putting<T> {
    /// Here until somebody takes it.
    Item(T),
    Taken,
    /// There will be an item when it is chosen. Whose wait it is: nobody meets himself.
    Chooser(Waiter),
    /// A chooser that has been offered room.
    Room,
    /// A chooser that a getter was promised to.
    Called,
}

pub(super) struct Getting<T> {
    /// `None` wants any item.
    wants: Option<Predicate<T>>,
    /// A chooser was called for it; others leave it alone.
    promised: bool,
    /// Woken without one: the channel was closed.
    answer: Option<Answer<T>>,
}

enum Answer<T> {
    Item(T),
    /// What the predicate panicked with.
    Panic(Box<dyn Any + Send>),
    /// The chooser that it had met declined: it is to look again.
    Again,
}

/// What a chooser was given; it has to be redeemed or declined.
#[must_use]
pub(super) enum Offer<T> {
    Closed,
    Room,
    Met(Won<Getting<T>>),
}

/// Where a node is while it is in a list, for a wait that does not stand in one call.
pub(super) type Place<S> = UnsafeCell<Option<Node<S>>>;

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

impl<T, B> Channel<T, B> {
    /// One that holds `capacity` items beside those of putters who wait; `usize::MAX` is unbounded.
    pub(super) const fn new(capacity: usize, items: B) -> Self {
        Channel {
            capacity,
            state: Lock::new(State {
                items,
                reserved: 0,
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
            if let Some((item, putter)) = state.take(wants.as_ref(), self.capacity) {
                leave(state, putter);
                return Ok(item);
            }
            if state.closed {
                return Err(Miss::Closed);
            }
            let waiter = Waiter::here();
            let called = state.call_chooser(self.capacity, waiter, wants.is_none());
            let getting = Getting {
                wants,
                promised: called.is_some(),
                answer: None,
            };
            // SAFETY: nobody else is shown the waiter; a chooser is told of the wait, but wins it by the list.
            let node = unsafe { Node::alone(waiter, getting) };
            // SAFETY: the lock is held; `waits` takes it out.
            unsafe { state.getters.push(&node) };
            leave(state, called);
            let waits = Waits {
                channel: self,
                node: &node,
                list: |state: &State<T, B>| &state.getters,
            };
            let until = *deadline.get_or_insert_with(|| terms.bound.deadline());
            let outcome = park(node.waiter(), until, terms.why, terms.mode);
            waits.end(outcome);
            let getting = node.into_slot();
            if let Some(Answer::Item(item)) = getting.answer {
                return Ok(item);
            }
            wants = getting.without_item(outcome, terms)?;
        }
    }

    #[inline]
    pub(super) fn try_get(&self, wants: Option<Predicate<T>>) -> Result<T, TryMiss> {
        charge();
        self.take_now(wants)
    }

    #[inline]
    fn take_now(&self, wants: Option<Predicate<T>>) -> Result<T, TryMiss> {
        let mut state = self.lock();
        match state.take(wants.as_ref(), self.capacity) {
            Some((item, putter)) => {
                leave(state, putter);
                Ok(item)
            }
            None if state.closed => Err(TryMiss::Closed),
            None => Err(TryMiss::NotNow),
        }
    }

    /// Puts `item` behind all others, or hands it to the first getter that wants it; waits for room if there is none.
    #[inline(always)]
    pub(super) fn put(&self, item: T, terms: Terms) -> Result<(), (T, Miss)> {
        let left = charge();
        let mut item = item;
        let mut deadline = None;
        loop {
            let mut state = self.lock();
            // Who has waited has another budget by now; but where somebody waits nothing is paced.
            item = match state.put(item, self.capacity, left) {
                Ok(getter) => {
                    leave(state, getter);
                    return Ok(());
                }
                Err((item, TryMiss::Closed)) => return Err((item, Miss::Closed)),
                Err((item, TryMiss::NotNow)) => item,
            };
            // SAFETY: nobody else is shown the waiter.
            let node = unsafe { Node::alone(Waiter::here(), Putting::Item(item)) };
            // SAFETY: the lock is held; `waits` takes it out.
            unsafe { state.putters.push(&node) };
            drop(state);
            let waits = Waits {
                channel: self,
                node: &node,
                list: |state: &State<T, B>| &state.putters,
            };
            let until = *deadline.get_or_insert_with(|| terms.bound.deadline());
            let outcome = park(node.waiter(), until, terms.why, terms.mode);
            waits.end(outcome);
            let Putting::Item(left) = node.into_slot() else {
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
        let left = charge();
        let mut state = self.lock();
        let getter = state.put(item, self.capacity, left)?;
        leave(state, getter);
        Ok(())
    }

    // ---- in a wait for several things: see `arms` ----

    /// As `try_get`, of a wait that was charged for.
    pub(super) fn attempt_get(&self) -> Result<T, TryMiss> {
        assert_unbound();
        self.take_now(None)
    }

    /// Puts a node for `waiter` into `place` and into the list; false if there is something to get.
    ///
    /// # Safety
    /// `place` is empty, stays where it is and is not looked at, until `delist_getter`.
    pub(super) unsafe fn enlist_getter(&self, place: &Place<Getting<T>>, waiter: Waiter) -> bool {
        let mut state = self.lock();
        if state.may_take() {
            return false;
        }
        let called = state.call_chooser(self.capacity, waiter, true);
        let getting = Getting {
            wants: None,
            promised: called.is_some(),
            answer: None,
        };
        // SAFETY: by the caller's promise nobody else has it.
        let node = unsafe { (*place.get()).insert(Node::with(waiter, getting)) };
        // SAFETY: the lock is held, and `delist_getter` takes it out.
        unsafe { state.getters.push(node) };
        leave(state, called);
        true
    }

    /// Takes the node out again, if there is one, and what was handed to it.
    ///
    /// # Safety
    /// `place` was used with `enlist_getter` of this channel only; the wait is over.
    pub(super) unsafe fn delist_getter(&self, place: &Place<Getting<T>>) -> Option<T> {
        // SAFETY: the caller's promise.
        let node = unsafe { self.take_out(place, |state| &state.getters) }?;
        match node.into_slot().answer {
            Some(Answer::Item(item)) => Some(item),
            _ => None,
        }
    }

    /// What a chooser can have at once; of a wait that was charged for.
    pub(super) fn attempt_offer(&self) -> Option<Offer<T>> {
        assert_unbound();
        self.lock().offer(self.capacity)
    }

    /// Puts a node for `waiter` into `place` and into the list; false if there may be an offer at once.
    ///
    /// # Safety
    /// As `enlist_getter`.
    pub(super) unsafe fn enlist_chooser(&self, place: &Place<Putting<T>>, waiter: Waiter) -> bool {
        let state = self.lock();
        if state.may_offer(self.capacity, waiter) {
            return false;
        }
        let node = Node::with(waiter, Putting::Chooser(waiter));
        // SAFETY: by the caller's promise nobody else has it.
        let node = unsafe { (*place.get()).insert(node) };
        // SAFETY: the lock is held, and `delist_chooser` takes it out.
        unsafe { state.putters.push(node) };
        true
    }

    /// Takes the node out again, if there is one, and what was offered to it.
    ///
    /// # Safety
    /// As `delist_getter`.
    pub(super) unsafe fn delist_chooser(&self, place: &Place<Putting<T>>) -> Option<Offer<T>> {
        // SAFETY: the caller's promise.
        let node = unsafe { self.take_out(place, |state| &state.putters) }?;
        match node.into_slot() {
            Putting::Room => Some(Offer::Room),
            // It may have thought better of it meanwhile.
            Putting::Called => self.lock().meet(true),
            _ => None,
        }
    }

    /// # Safety
    /// As `delist_getter`, for `list`.
    unsafe fn take_out<S>(
        &self,
        place: &Place<S>,
        list: fn(&State<T, B>) -> &WaitList<S>,
    ) -> Option<Node<S>> {
        let state = self.lock();
        // SAFETY: the lock is held, and whoever had won the node has done with it.
        let place = unsafe { &mut *place.get() };
        if let Some(node) = place {
            // SAFETY: the lock is held, and the node has been in this list only.
            unsafe { list(&state).remove(node) }
        }
        place.take()
    }

    /// A chooser's item.
    pub(super) fn redeem(&self, offer: Offer<T>, item: T) -> Result<(), T> {
        match offer {
            Offer::Closed => Err(item),
            Offer::Met(mut getter) => {
                getter.slot().answer = Some(Answer::Item(item));
                Ok(())
            }
            Offer::Room => {
                assert_unbound();
                let mut state = self.lock();
                state.reserved -= 1;
                if state.closed {
                    return Err(item);
                }
                let partners = match state.hand_over(item) {
                    Ok(getter) => (Some(getter), state.refill(self.capacity)),
                    Err(item) => {
                        state.items.push(item);
                        (None, None)
                    }
                };
                drop(state);
                drop(partners);
                Ok(())
            }
        }
    }

    /// There will be no item of that chooser: room and getter are for others.
    pub(super) fn decline(&self, offer: Offer<T>) {
        match offer {
            Offer::Closed => {}
            Offer::Met(mut getter) => getter.slot().answer = Some(Answer::Again),
            Offer::Room => {
                let mut state = self.lock();
                state.reserved -= 1;
                let putter = state.refill(self.capacity);
                leave(state, putter);
            }
        }
    }

    /// An item that was got comes back, to be got next.
    pub(super) fn restore(&self, item: T) {
        let mut state = self.lock();
        let getter = state.restore(item);
        leave(state, getter);
    }

    // ---- its end, and looking ----

    /// Nothing more can be put. Getters that wait are told, for nothing is left for them; putters that wait have their items
    /// back.
    pub(super) fn close(&self) {
        let wakers = self.lock().close();
        wakers.wake();
    }

    /// As `close`, when nobody will get any more: what is left is dropped.
    pub(super) fn close_and_clear(&self) {
        let mut state = self.lock();
        let wakers = state.close();
        let items = mem::take(&mut state.items);
        drop(state);
        wakers.wake();
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
        !self.look().has_room(self.capacity)
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

impl<T: PartialEq> Channel<T> {
    /// `==` is the user's: it runs under the lock, as predicates do.
    pub(super) fn contains(&self, item: &T) -> bool {
        let state = self.look();
        bound(|| state.items.contains(item))
    }
}

impl Terms {
    /// Of a wait without an answer of its own to an interruption.
    pub(super) const fn plain(bound: Bound, why: Why) -> Self {
        let mode = match bound {
            Bound::Never => Mode::Infallible,
            Bound::For(_) | Bound::Until(_) => Mode::Timed,
        };
        Terms { bound, why, mode }
    }

    /// What a wait that ended so, and with nothing handed over, is to its caller; `None` if it has to wait again, which puts
    /// it last in line.
    fn miss(self, outcome: Outcome) -> Option<Miss> {
        match outcome {
            Outcome::Woken => Some(Miss::Closed),
            Outcome::TimedOut => Some(Miss::TimedOut),
            Outcome::Interrupted(interrupt) if self.mode == Mode::Fallible => {
                Some(Miss::Interrupted(interrupt))
            }
            // A deadline has passed, though not its own.
            Outcome::Interrupted(Interrupt::Timeout) if self.mode == Mode::Timed => {
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

/// An item that was taken, and the putter who was served by that, if one waited.
type Taken<T> = (T, Option<Won<Putting<T>>>);

impl<T, B: Buffer<T>> State<T, B> {
    /// Those that it returns are to be woken when the lock is free.
    fn close(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        self.closed = true;
        // SAFETY: the lock is held.
        unsafe { self.getters.wake_all_but_futures(&mut wakers) };
        // SAFETY: as above.
        unsafe { self.putters.wake_all_but_futures(&mut wakers) };
        wakers
    }

    /// The getter that has it then, if one waited. `left` is of the budget of who puts.
    #[inline(always)]
    fn put(
        &mut self,
        item: T,
        capacity: usize,
        left: u32,
    ) -> Result<Option<Won<Getting<T>>>, (T, TryMiss)> {
        if self.closed {
            return Err((item, TryMiss::Closed));
        }
        match self.hand_over(item) {
            Ok(getter) => Ok(Some(getter)),
            Err(item) if self.has_room(capacity) => {
                self.items.push(item);
                self.pace(capacity, left);
                Ok(None)
            }
            Err(item) => Err((item, TryMiss::NotNow)),
        }
    }

    /// Gives `item` to the first getter that wants it.
    #[inline]
    fn hand_over(&mut self, item: T) -> Result<Won<Getting<T>>, T> {
        if self.getters.is_empty() {
            return Err(item);
        }
        // SAFETY: the lock is held.
        match unsafe { self.getters.win_head(|getting| getting.takes_any()) } {
            Some(mut getter) => {
                let none = getter.slot().answer.replace(Answer::Item(item));
                debug_assert!(none.is_none());
                // Nothing is there to be dropped.
                mem::forget(none);
                Ok(getter)
            }
            None => self.hand_to_getter(item),
        }
    }

    /// The same where the first who waits is choosy, or waits no more.
    #[cold]
    fn hand_to_getter(&mut self, item: T) -> Result<Won<Getting<T>>, T> {
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

    #[inline(always)]
    fn take(&mut self, wants: Option<&Predicate<T>>, capacity: usize) -> Option<Taken<T>> {
        if wants.is_some() || !self.putters.is_empty() {
            return self.take_among_others(wants, capacity);
        }
        Some((self.items.take_first()?, None))
    }

    /// The same where not any item will do, or somebody waits with one.
    #[inline(always)]
    fn take_among_others(
        &mut self,
        wants: Option<&Predicate<T>>,
        capacity: usize,
    ) -> Option<Taken<T>> {
        let wanted = |item: &T| wants.is_none_or(|predicate| predicate.ask(item));
        let item = match wants {
            None => self.items.take_first(),
            Some(predicate) => self.items.take_wanted(|item| predicate.ask(item)),
        };
        if let Some(item) = item {
            return Some((item, self.refill(capacity)));
        }
        let offers = |putting: &mut Putting<T>| match putting {
            Putting::Item(item) => wanted(item),
            _ => false,
        };
        // SAFETY: the lock is held; a predicate cannot use the channel.
        let mut putter = unsafe { self.putters.win_first(offers) }?;
        // None of a full buffer was wanted, or there is none, and the item goes straight from hand to hand.
        Some((putter.slot().take()?, Some(putter)))
    }

    /// There is room for one: that of the putter who has waited for longest.
    #[inline]
    fn refill(&mut self, capacity: usize) -> Option<Won<Putting<T>>> {
        if self.putters.is_empty() || !self.has_room(capacity) {
            // Nobody waits for it; or an item that came back had overfilled it.
            return None;
        }
        // SAFETY: the lock is held.
        let mut putter = unsafe { self.putters.win_first(|_| true) }?;
        match putter.slot().take() {
            Some(item) => self.items.push(item),
            None => {
                *putter.slot() = Putting::Room;
                self.reserved += 1;
            }
        }
        Some(putter)
    }

    /// Nobody waits before a channel without a limit; but the more it holds, the fewer items a task puts in a row, so that those who
    /// get have their turn in time. Otherwise several who put would have so many more turns, and what they put would pile up.
    #[inline]
    fn pace(&self, capacity: usize, left: u32) {
        if capacity == usize::MAX && self.items.len() >= PACE {
            charge_more(left, (self.items.len() / PACE).min(MOST));
        }
    }

    #[inline]
    fn has_room(&self, capacity: usize) -> bool {
        self.items.len() + self.reserved < capacity
    }

    // ---- choosers ----

    /// For a getter that has to wait, by 7: wins the first chooser other than itself.
    fn call_chooser(&mut self, capacity: usize, me: Waiter, any: bool) -> Option<Won<Putting<T>>> {
        if capacity > 0 || !any {
            return None;
        }
        let other = |putting: &mut Putting<T>| matches!(putting, Putting::Chooser(waiter) if !waiter.is_of_the_same(me));
        // SAFETY: the lock is held.
        let mut chooser = unsafe { self.putters.win_first(other) }?;
        *chooser.slot() = Putting::Called;
        Some(chooser)
    }

    /// What a chooser can have at once.
    fn offer(&mut self, capacity: usize) -> Option<Offer<T>> {
        if self.closed {
            return Some(Offer::Closed);
        }
        if self.has_room(capacity) {
            self.reserved += 1;
            return Some(Offer::Room);
        }
        self.meet(false)
    }

    /// The first getter that takes whatever comes and is, or is not, promised to choosers.
    fn meet(&mut self, promised: bool) -> Option<Offer<T>> {
        let meets =
            |getting: &mut Getting<T>| getting.wants.is_none() && getting.promised == promised;
        // SAFETY: the lock is held.
        unsafe { self.getters.win_first(meets) }.map(Offer::Met)
    }

    /// Whether `offer` may have an answer.
    fn may_offer(&self, capacity: usize, me: Waiter) -> bool {
        let meets = |waiter: Waiter, getting: &Getting<T>| {
            getting.takes_any() && !waiter.is_of_the_same(me)
        };
        // SAFETY: the lock is held.
        self.closed || self.has_room(capacity) || unsafe { self.getters.any(meets) }
    }

    /// Whether `take` may have an answer.
    fn may_take(&self) -> bool {
        let offers = |_: Waiter, putting: &Putting<T>| matches!(putting, Putting::Item(_));
        // SAFETY: the lock is held.
        self.closed || self.items.len() > 0 || unsafe { self.putters.any(offers) }
    }

    /// An item that was taken comes back: before all others, or to a getter that has begun to wait.
    fn restore(&mut self, item: T) -> Option<Won<Getting<T>>> {
        self.hand_over(item)
            .map_err(|item| self.items.push_first(item))
            .ok()
    }
}

impl<T> Putting<T> {
    /// The item, if there is one.
    #[inline]
    fn take(&mut self) -> Option<T> {
        match mem::replace(self, Putting::Taken) {
            Putting::Item(item) => Some(item),
            _ => None,
        }
    }
}

impl<T> Getting<T> {
    /// What comes of a wait in which no item was handed over; what is wanted, if it is to wait again.
    #[cold]
    fn without_item(self, outcome: Outcome, terms: Terms) -> Result<Option<Predicate<T>>, Miss> {
        match self.answer {
            Some(Answer::Panic(panic)) => resume_unwind(panic),
            Some(_) => Ok(self.wants),
            None => terms.miss(outcome).map_or(Ok(self.wants), Err),
        }
    }

    /// Whether it takes whatever comes, from whoever puts.
    #[inline]
    fn takes_any(&self) -> bool {
        self.wants.is_none() && !self.promised
    }

    /// Whether the search ends with this getter: it wants the item, or its predicate panicked.
    fn stops(&mut self, item: &T) -> bool {
        let Some(predicate) = &self.wants else {
            return !self.promised;
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
struct Waits<'a, T, B, S, L: Fn(&State<T, B>) -> &WaitList<S>> {
    channel: &'a Channel<T, B>,
    node: &'a Node<S>,
    list: L,
}

impl<T, B, S, L: Fn(&State<T, B>) -> &WaitList<S>> Waits<'_, T, B, S, L> {
    /// After a wait that did not unwind.
    #[inline]
    fn end(self, outcome: Outcome) {
        if outcome == Outcome::Woken {
            // Who won the wait has taken the node out.
            mem::forget(self);
        }
    }
}

impl<T, B, S, L: Fn(&State<T, B>) -> &WaitList<S>> Drop for Waits<'_, T, B, S, L> {
    // Inlined, so that nothing has to be in memory for the sake of it.
    #[inline(always)]
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
