//! Who waits, and the one race that decides how a wait ends.
//!
//! The word of a header is `epoch << 2 | state`. [`Waiter::new`] starts an epoch in the state WAITING; the wait ends
//! by one compare-exchange from WAITING, made by whoever is first: a waker, the timer, a canceller, or the waiter
//! itself that thinks better of it. Where nobody else can come in between, on the home thread of a wait that only it and
//! who has a list know, a load and a store do: see [`Node::alone`].
//!
//! 1. A wait is won exactly once. Whoever wins it, other than the waiter itself, makes the waiter's owner ready,
//!    exactly once.
//! 2. An owner that has shown its waiter to anybody either takes it back by [`Waiter::retract`] or parks until it
//!    is made ready: the one and only wake of 1 is always consumed.
//! 3. A header's epoch only grows, also when it is recycled: a waiter kept beyond its wait can win nothing.
//! 4. A task may be made ready before it has left its stack. It is run by its home thread's loop alone, and that
//!    is not in the loop while the task runs, so it is never resumed before it was suspended.
//!
//! The one-word waiter is crossbeam-channel's idea (its `Context`).

use super::header::{Header, CX};
use super::home::{Home, Message};
use super::pledge::{Pledge, Wakers};
use crate::base::list::{Linked, Links, List};
use crate::base::shared::{Ordering, UnsafeCell};
use crate::sys::mem::{prefetch, LINE};
use std::ptr;

const STATE: u64 = 3;
const EPOCH: u64 = STATE + 1;

/// No wait, or it was retracted.
const IDLE: u64 = 0;
const WAITING: u64 = 1;
const WOKEN: u64 = 2;
/// Ended by the timer or by a canceller; which of them, the owner sees from its own flags.
const INTERRUPTED: u64 = 3;

/// Lines of a stack below a node that its owner needs first when it goes on: most wait in the call that made the node.
const FRAME: usize = 3;

/// One wait of one task or thread. A copy may be kept by anybody for ever; see invariant 3.
#[derive(Clone, Copy)]
pub(crate) struct Waiter {
    header: &'static Header,
    /// The word while nobody has won.
    waiting: u64,
}

impl Waiter {
    /// Begins a wait of `owner`, which is the caller.
    #[inline]
    pub(crate) fn new(owner: &'static Header) -> Self {
        let word = owner.word.load(Ordering::Relaxed);
        debug_assert_ne!(word & STATE, WAITING, "one wait at a time");
        let waiting = (word & !STATE).wrapping_add(EPOCH) | WAITING;
        // Relaxed: whoever shows the waiter to others does so with release.
        owner.word.store(waiting, Ordering::Relaxed);
        Waiter {
            header: owner,
            waiting,
        }
    }

    /// The wait that `owner` is in; for its home thread.
    pub(super) fn current(owner: &'static Header) -> Option<Self> {
        let waiting = owner.word.load(Ordering::Relaxed);
        (waiting & STATE == WAITING).then_some(Waiter {
            header: owner,
            waiting,
        })
    }

    pub(crate) fn header(self) -> &'static Header {
        self.header
    }

    /// Whether both are waits of one task or thread.
    pub(crate) fn is_of_the_same(self, other: Waiter) -> bool {
        std::ptr::eq(self.header, other.header)
    }

    /// What `from_raw` needs besides the header.
    pub(crate) fn raw(self) -> (&'static Header, u64) {
        (self.header, self.waiting)
    }

    pub(crate) fn from_raw((header, waiting): (&'static Header, u64)) -> Self {
        Waiter { header, waiting }
    }

    /// Ends the wait; false if it had ended.
    #[inline]
    pub(crate) fn wake(self) -> bool {
        self.settle(WOKEN)
    }

    /// As `wake`, for a task's wait that has been shown to nobody outside of its home thread, which calls. It goes on in
    /// the place that was kept for it.
    #[inline]
    pub(super) fn wake_next(self) {
        if self.win_local(WOKEN) {
            if let Some(home) = self.header.home() {
                // SAFETY: the caller is the home thread.
                unsafe { home.push_into(self.header.seat.get(), self.header) };
            }
        }
    }

    /// Ends the wait because of a deadline or of cancelling; false if it had ended.
    pub(super) fn interrupt(self) -> bool {
        self.settle(INTERRUPTED)
    }

    /// Whether the wait has ended.
    fn is_over(self) -> bool {
        // Relaxed: nothing is read on the strength of it.
        self.header.word.load(Ordering::Relaxed) != self.waiting
    }

    /// The owner, a plain thread, has seen its deadline pass; false if somebody has won.
    pub(super) fn interrupt_self(self) -> bool {
        self.win(INTERRUPTED)
    }

    /// The owner will not wait after all; false if somebody has won, and the owner has to park.
    #[must_use]
    pub(crate) fn retract(self) -> bool {
        self.win(IDLE)
    }

    /// For the owner, after the wait: whether a waker won.
    #[inline]
    pub(super) fn was_woken(self) -> bool {
        self.header.word.load(Ordering::Acquire) & STATE == WOKEN
    }

    /// As `wake`; but if it is a future's, its waker is for the caller to be woken, when nothing is locked.
    fn wake_but_futures(self, wakers: &mut Wakers) {
        if self.header.is_deputy() {
            if self.win(WOKEN) {
                // SAFETY: as it says of itself.
                wakers.take(unsafe { Pledge::of(self.header) });
            }
        } else {
            self.wake();
        }
    }

    #[inline]
    fn settle(self, state: u64) -> bool {
        let won = self.win(state);
        if won {
            make_ready(self.header);
        }
        won
    }

    #[inline]
    fn win(self, state: u64) -> bool {
        // Release: what the winner did comes before the end of the wait. Acquire: the owner's preparations are seen.
        self.header
            .word
            .compare_exchange(
                self.waiting,
                self.waiting & !STATE | state,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// As `win`, for the home thread, while nobody else can win.
    #[inline]
    fn win_local(self, state: u64) -> bool {
        // Nor can anybody in between: timers and cancellers act on the home thread.
        let word = &self.header.word;
        let first = word.load(Ordering::Relaxed) == self.waiting;
        if first {
            word.store(self.waiting & !STATE | state, Ordering::Relaxed);
        }
        first
    }
}

/// Whether the loop of `home` runs on the calling thread.
#[inline]
fn is_here(home: &Home<Header>) -> bool {
    let here = CX.with(|cx| cx.home.get());
    here.is_some_and(|here| std::ptr::eq(here, home))
}

/// Lets the owner of a wait that was just won go on. By invariant 2 it stands still until then, so its fields may be
/// read.
#[inline]
fn make_ready(owner: &'static Header) {
    match owner.home() {
        Some(home) if !owner.is_thread() => {
            if is_here(home) {
                owner.foresee();
                // SAFETY: the loop of `home` runs on this thread.
                unsafe { home.push(owner) }
            } else {
                home.send(Message::Wake(owner));
            }
        }
        // SAFETY: it waits, and is neither a task nor a thread.
        None if !owner.is_thread() => unsafe { Pledge::of(owner) }.keep(),
        home => make_thread_ready(owner, home),
    }
}

/// A plain thread looks at its `up` flag when it comes out of its scheduler's loop or out of `thread::park`.
fn make_thread_ready(owner: &'static Header, home: Option<&'static Home<Header>>) {
    let thread = owner.thread();
    owner.up.store(true, Ordering::Release);
    // From here on the thread may have gone on, and ended.
    match home {
        Some(home) => {
            home.nudge();
        }
        None => thread.unpark(),
    }
}

// ---- the token of park and unpark ----

/// Not a waiter's word: the state bits of those are WAITING.
const NO_TOKEN: u64 = 0;
const TOKEN: u64 = 2;

impl Header {
    /// Takes the token if it is there; for the owner.
    pub(crate) fn take_token(&self) -> bool {
        self.token.load(Ordering::Relaxed) == TOKEN
            && self.token.swap(NO_TOKEN, Ordering::Acquire) == TOKEN
    }

    /// Shows `waiter`, a wait of the owner, to whoever gives the token; false if the token is there.
    pub(crate) fn await_token(&self, waiter: Waiter) -> bool {
        let (acquire, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        self.token
            .compare_exchange(NO_TOKEN, waiter.waiting, acquire, relaxed)
            .is_ok()
    }

    /// The owner does not wait for the token any more.
    pub(crate) fn stop_awaiting_token(&self) {
        let word = self.token.load(Ordering::Relaxed);
        if word != TOKEN {
            // A token may be given here: then it stays.
            let _token =
                self.token
                    .compare_exchange(word, NO_TOKEN, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Gives the token, and wakes the owner if it waits for it; for those who hold a reference.
    pub(crate) fn give_token(&'static self) {
        let before = self.token.swap(TOKEN, Ordering::AcqRel);
        if before != NO_TOKEN && before != TOKEN {
            Waiter {
                header: self,
                waiting: before,
            }
            .wake();
        }
    }
}

// ---- wait lists ----

/// A place in a wait list. It lies on the stack of the task that waits.
///
/// The slot is where things are handed over. It belongs to whoever has exclusive use of the list while the node is in
/// it, then to the winner of the wait ([`Won`]), and to the owner of the node before and after.
///
/// Made [`alone`](Node::alone), it is the only one of its wait. Then a task's wait can be won by its home thread and by who has the
/// list; and if these are the same, nobody has to be raced.
pub(crate) struct Node<S = ()> {
    waiter: Waiter,
    /// Where its owner runs, if it is a task, and this node is alone.
    alone: Option<&'static Home<Header>>,
    slot: UnsafeCell<S>,
    links: Links<Node<S>>,
}

impl<S> Linked for Node<S> {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Node {
    pub(crate) const fn new(waiter: Waiter) -> Self {
        Node::with(waiter, ())
    }
}

impl<S> Node<S> {
    pub(crate) const fn with(waiter: Waiter, slot: S) -> Self {
        Node {
            waiter,
            alone: None,
            slot: UnsafeCell::new(slot),
            links: Links::new(),
        }
    }

    /// One by which alone others may wake its owner, who calls.
    ///
    /// # Safety
    /// The wait is shown to nobody but by this node, in one list.
    #[inline]
    pub(crate) unsafe fn alone(waiter: Waiter, slot: S) -> Self {
        let owner = waiter.header;
        let alone = if owner.is_thread() {
            None
        } else {
            owner.home()
        };
        Node {
            alone,
            ..Node::with(waiter, slot)
        }
    }

    /// Wins the wait for a waker. For whoever has exclusive use of the list that this node is, or was, in.
    #[inline]
    fn win(&self) -> bool {
        if self.alone.is_some_and(is_here) {
            self.foresee();
            self.waiter.win_local(WOKEN)
        } else {
            self.waiter.win(WOKEN)
        }
    }

    /// As `Header::foresee`, and sooner: its owner stands still a little below this node, and where that is is known before the
    /// header has come.
    #[inline(always)]
    fn foresee(&self) {
        for line in 1..=FRAME {
            prefetch(ptr::from_ref(self).wrapping_byte_sub(line * LINE));
        }
        self.waiter.header.foresee_base();
    }

    pub(crate) fn waiter(&self) -> Waiter {
        self.waiter
    }

    /// Whether it is in a list, of which the caller has exclusive use.
    pub(crate) fn is_in_list(&self) -> bool {
        self.links.is_linked()
    }

    /// What the slot holds after the wait.
    pub(crate) fn into_slot(self) -> S {
        debug_assert!(!self.links.is_linked());
        self.slot.into_inner()
    }
}

/// Waiters in the order in which they came. The list does not lock itself: its owner does.
///
/// Whoever wins a wait through the list has taken the node out of it first: a waiter that was woken need not look.
pub(crate) struct WaitList<S = ()>(List<Node<S>>);

impl<S> Default for WaitList<S> {
    fn default() -> Self {
        WaitList::new()
    }
}

impl<S> WaitList<S> {
    pub(crate) const fn new() -> Self {
        WaitList(List::new())
    }

    /// # Safety
    /// The caller has exclusive use of this list, and takes `node` out, by `remove`, before it moves or dies, unless
    /// its wait ended by being woken.
    pub(crate) unsafe fn push(&self, node: &Node<S>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.push_back(node) }
    }

    /// As `push`, but before all others.
    ///
    /// # Safety
    /// As for `push`.
    pub(crate) unsafe fn push_front(&self, node: &Node<S>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.push_front(node) }
    }

    /// Whether nobody is in it. The caller has exclusive use of this list.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes `node` out if it is still in.
    ///
    /// # Safety
    /// The caller has exclusive use of this list, and `node` is in no other.
    pub(crate) unsafe fn remove(&self, node: &Node<S>) {
        if node.is_in_list() {
            // SAFETY: it is in this list.
            unsafe { self.0.remove(node) }
        }
    }

    /// Takes out those whose wait is over, as their owners would next; says how many there were.
    ///
    /// # Safety
    /// The caller has exclusive use of this list.
    pub(crate) unsafe fn remove_over(&self) -> usize {
        let mut removed = 0;
        let look = |node: &Node<S>| {
            if node.waiter.is_over() {
                // SAFETY: it is in this list.
                unsafe { self.0.remove(node) };
                removed += 1;
            }
        };
        // SAFETY: a node that is in the list lives, by the promise of `push`; `look` takes out none but its own.
        unsafe { self.0.for_each(look) };
        removed
    }

    /// Wins the first wait that `accepts` its slot. If that wait was over, goes on to the next.
    ///
    /// # Safety
    /// The caller has exclusive use of this list, and `accepts` does not use it.
    #[inline]
    pub(crate) unsafe fn win_first(
        &self,
        mut accepts: impl FnMut(&mut S) -> bool,
    ) -> Option<Won<S>> {
        let wins = |node: &Node<S>| {
            // SAFETY: the node is in the list, and the caller has that.
            if !accepts(unsafe { &mut *node.slot.get() }) {
                return false;
            }
            // Taken out before it is won, by the rule of the list. If it is lost, its owner would take it out next.
            // SAFETY: it is in this list.
            unsafe { self.0.remove(node) };
            node.win()
        };
        // SAFETY: a node that is in the list lives, by the promise of `push`; `wins` takes out none but its own.
        unsafe { self.0.find(wins) }.map(|node| Won(node))
    }

    /// As `win_first`, but asks only the first one, whose wait may be over.
    ///
    /// # Safety
    /// As for `win_first`.
    #[inline(always)]
    pub(crate) unsafe fn win_head(&self, accepts: impl FnOnce(&mut S) -> bool) -> Option<Won<S>> {
        // SAFETY: a node that is in the list lives, by the promise of `push`.
        let node = unsafe { self.0.front() }?;
        // SAFETY: the node is in the list, and the caller has that.
        if !accepts(unsafe { &mut *node.slot.get() }) {
            return None;
        }
        // SAFETY: nobody has changed the list.
        unsafe { self.0.pop_front() };
        node.win().then(|| Won(node))
    }

    /// As `win_first`, but asks only the first one whose wait is not over.
    ///
    /// # Safety
    /// As for `win_first`.
    #[inline]
    pub(crate) unsafe fn win_front(
        &self,
        mut accepts: impl FnMut(&mut S) -> bool,
    ) -> Option<Won<S>> {
        loop {
            // SAFETY: a node that is in the list lives, by the promise of `push`.
            let node = unsafe { self.0.front() }?;
            if node.waiter.is_over() {
                // Its owner would take it out next.
                // SAFETY: it is in this list.
                unsafe { self.0.remove(node) };
                continue;
            }
            // SAFETY: the node is in the list, and the caller has that.
            if !accepts(unsafe { &mut *node.slot.get() }) {
                return None;
            }
            // SAFETY: it is in this list.
            unsafe { self.0.remove(node) };
            if node.win() {
                return Some(Won(node));
            }
        }
    }

    /// Whether a wait that is in the list, over or not, is `wanted`.
    ///
    /// # Safety
    /// The caller has exclusive use of this list, and `wanted` does not use it.
    pub(crate) unsafe fn any(&self, mut wanted: impl FnMut(Waiter, &S) -> bool) -> bool {
        // SAFETY: a node that is in the list lives, by the promise of `push`, and the caller has the slot.
        let asked = |node: &Node<S>| wanted(node.waiter, unsafe { &*node.slot.get() });
        // SAFETY: as above; nothing is taken out.
        unsafe { self.0.find(asked) }.is_some()
    }

    /// Wakes all, first come first. For a list in which no futures stand: the code of a waker is somebody else's.
    ///
    /// # Safety
    /// The caller has exclusive use of this list.
    pub(crate) unsafe fn wake_all(&self) {
        // SAFETY: the caller's promise.
        while let Some(node) = unsafe { self.0.pop_front() } {
            // Copied out before it is won: the node may be gone right after.
            let owner = node.waiter.header;
            if node.win() {
                make_ready(owner);
            }
        }
    }

    /// Wakes all, first come first; the futures among them when the caller wakes the wakers, with nothing locked.
    ///
    /// # Safety
    /// The caller has exclusive use of this list.
    pub(crate) unsafe fn wake_all_but_futures(&self, wakers: &mut Wakers) {
        // SAFETY: the caller's promise.
        while let Some(waiter) = unsafe { self.pop() } {
            waiter.wake_but_futures(wakers);
        }
    }

    /// Takes the first one out.
    ///
    /// # Safety
    /// The caller has exclusive use of this list.
    #[inline]
    unsafe fn pop(&self) -> Option<Waiter> {
        // Copied out before it is woken: the node may be gone right after.
        // SAFETY: a node that is in the list lives, by the promise of `push`.
        unsafe { self.0.pop_front() }.map(|node| node.waiter)
    }
}

/// A wait that was won. Its owner stands still until this is dropped, and then finds in the slot what was put there.
///
/// A pointer, not a reference: once the owner goes on, the node may be gone.
#[must_use]
pub(crate) struct Won<S>(*const Node<S>);

impl<S> Won<S> {
    #[inline]
    pub(crate) fn slot(&mut self) -> &mut S {
        // SAFETY: by invariant 2 of this file the owner stands still, so the node lives, and the slot is the winner's.
        unsafe { &mut *(*self.0).slot.get() }
    }

    /// Whether the owner goes on on the calling thread, so that nothing has to be awakened first.
    #[inline]
    pub(crate) fn is_near(&self) -> bool {
        // SAFETY: as in `slot`.
        let owner = unsafe { (*self.0).waiter.header };
        owner.home().is_some_and(is_here)
    }
}

impl<S> Drop for Won<S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `slot`.
        let (alone, owner) = unsafe { ((*self.0).alone, (*self.0).waiter.header) };
        match alone {
            // SAFETY: the loop of `home` runs on this thread.
            Some(home) if is_here(home) => unsafe { home.push(owner) },
            _ => make_ready(owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Waits of owners that stand still, as parked threads do, in a list of their own.
    fn with_waits(slots: &[u32], test: impl FnOnce(&WaitList<u32>, &[Node<u32>])) {
        let node = |slot: &u32| Node::with(Waiter::new(Header::new_thread()), *slot);
        let nodes: Vec<_> = slots.iter().map(node).collect();
        let list = WaitList::new();
        for node in &nodes {
            node.waiter.header.up.store(false, Ordering::Relaxed);
            // SAFETY: one thread, and the nodes are taken out below.
            unsafe { list.push(node) };
        }
        test(&list, &nodes);
        for node in nodes {
            // SAFETY: as above.
            unsafe { list.remove(&node) };
            let _over = node.waiter.retract();
            node.waiter.header.release();
        }
    }

    fn win(list: &WaitList<u32>, wanted: impl Fn(u32) -> bool) -> Option<Won<u32>> {
        // SAFETY: one thread.
        unsafe { list.win_first(|slot| wanted(*slot)) }
    }

    #[test]
    fn the_first_wait_that_accepts_is_won_and_taken_out() {
        with_waits(&[1, 2, 3, 4], |list, nodes| {
            let even = |slot| slot % 2 == 0;
            for expected in [1, 3] {
                let mut won = win(list, even).unwrap();
                assert_eq!(*won.slot(), 1 + expected as u32);
                assert!(!nodes[expected].links.is_linked());
            }
            assert!(win(list, even).is_none());
            assert!(nodes[0].links.is_linked() && nodes[2].links.is_linked());
        });
    }

    #[test]
    fn a_wait_that_is_over_is_passed_by_and_taken_out() {
        with_waits(&[1, 2, 3], |list, nodes| {
            assert!(nodes[0].waiter.interrupt_self());
            assert!(nodes[1].waiter.retract());
            assert_eq!(*win(list, |_| true).unwrap().slot(), 3);
            assert!(nodes.iter().all(|node| !node.links.is_linked()));
            assert!(win(list, |_| true).is_none());
            assert!(!nodes[0].waiter.was_woken() && nodes[2].waiter.was_woken());
        });
    }

    #[test]
    fn a_wait_that_does_not_accept_is_asked_and_left_alone() {
        with_waits(&[1, 2], |list, nodes| {
            let asked = Cell::new(0);
            let none = win(list, |slot| {
                asked.set(10 * asked.get() + slot);
                false
            });
            assert!(none.is_none());
            assert_eq!(asked.get(), 12);
            assert!(nodes.iter().all(|node| node.links.is_linked()));
        });
    }

    #[test]
    fn only_the_first_wait_that_is_not_over_is_asked_by_win_front() {
        with_waits(&[1, 2, 3], |list, nodes| {
            assert!(nodes[0].waiter.interrupt_self());
            let asked = Cell::new(0);
            let front = |wanted| {
                // SAFETY: one thread.
                unsafe {
                    list.win_front(|slot| {
                        asked.set(10 * asked.get() + *slot);
                        *slot == wanted
                    })
                }
            };
            assert!(front(3).is_none());
            assert_eq!(*front(2).unwrap().slot(), 2);
            assert_eq!(asked.get(), 22);
            assert!(!nodes[0].links.is_linked() && nodes[2].links.is_linked());
        });
    }

    #[test]
    fn only_the_first_wait_is_asked_by_win_head_and_one_that_was_over_is_not_made_ready_again() {
        with_waits(&[1, 2, 3], |list, nodes| {
            // SAFETY: one thread.
            let head = |wanted| unsafe { list.win_head(|slot| *slot == wanted) };
            let is_up = |n: usize| nodes[n].waiter.header.up.load(Ordering::Acquire);
            assert!(head(2).is_none() && nodes[0].links.is_linked());
            assert!(nodes[0].waiter.interrupt_self());
            assert!(head(1).is_none() && !nodes[0].links.is_linked() && !is_up(0));
            drop(head(2));
            assert!(!nodes[1].links.is_linked() && is_up(1) && nodes[2].links.is_linked());
        });
    }

    #[test]
    fn waits_that_are_over_are_counted_and_taken_out() {
        with_waits(&[1, 2, 3], |list, nodes| {
            assert!(nodes[0].waiter.interrupt_self() && nodes[2].waiter.retract());
            // SAFETY: one thread.
            assert_eq!(unsafe { list.remove_over() }, 2);
            let linked = [0, 1, 2].map(|n| nodes[n].links.is_linked());
            assert_eq!(linked, [false, true, false]);
        });
    }

    #[test]
    fn the_owner_stands_still_until_the_winner_has_filled_the_slot() {
        with_waits(&[1], |list, nodes| {
            let owner = nodes[0].waiter.header;
            let mut won = win(list, |_| true).unwrap();
            assert!(!nodes[0].waiter.wake(), "nobody else can win it");
            *won.slot() = 5;
            assert!(!owner.up.load(Ordering::Acquire));
            drop(won);
            assert!(owner.up.load(Ordering::Acquire));
            let slot = nodes[0].slot.get();
            // SAFETY: nobody else has the node by now.
            assert_eq!(unsafe { *slot }, 5);
        });
    }

    #[test]
    fn a_wait_that_was_won_goes_on_though_its_winner_panics() {
        with_waits(&[1], |list, nodes| {
            let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _won = win(list, |_| true);
                panic!("before the slot is filled");
            }));
            assert!(panics.is_err());
            assert!(nodes[0].waiter.header.up.load(Ordering::Acquire));
        });
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::super::header::models::Actor;
    use super::*;
    use crate::base::shared::explore;
    use loom::sync::Mutex;
    use loom::thread;
    use std::sync::Arc;

    /// What one thread leaves to another.
    struct Note(UnsafeCell<u32>);

    // SAFETY: loom finds out who uses it at the wrong moment.
    unsafe impl Sync for Note {}

    impl Note {
        fn new() -> Arc<Self> {
            let note = Note(UnsafeCell::new(0));
            note.0.make();
            Arc::new(note)
        }

        fn write(&self, value: u32) {
            // SAFETY: as for the whole.
            unsafe { *self.0.get() = value }
        }

        fn read(&self) -> u32 {
            // SAFETY: as for the whole.
            unsafe { *self.0.get() }
        }
    }

    /// A thread that writes a note and wakes.
    fn wake_with_note(waiter: Waiter) -> (Arc<Note>, thread::JoinHandle<bool>) {
        let note = Note::new();
        let left = note.clone();
        let waker = thread::spawn(move || {
            left.write(1);
            waiter.wake()
        });
        (note, waker)
    }

    #[test]
    fn of_waker_timer_and_owner_one_ends_the_wait_and_the_owner_is_made_ready_once() {
        explore(3, || {
            let owner = Actor::task(1);
            let waiter = Waiter::new(owner.header);
            let (note, waker) = wake_with_note(waiter);
            let timer = thread::spawn(move || waiter.interrupt());
            let retracted = waiter.retract();
            if !retracted {
                owner.stand_still();
                if waiter.was_woken() {
                    assert_eq!(note.read(), 1);
                }
            }
            let woken = waker.join().unwrap();
            let interrupted = timer.join().unwrap();
            let wins = [retracted, woken, interrupted];
            assert_eq!(wins.iter().filter(|&&won| won).count(), 1);
            assert_eq!(waiter.was_woken(), woken);
            assert!(!owner.was_made_ready(), "once");
        });
    }

    #[test]
    fn a_waiter_kept_beyond_its_wait_does_not_end_the_next_one() {
        explore(3, || {
            let owner = Actor::task(1);
            let old = Waiter::new(owner.header);
            let keeper = thread::spawn(move || old.wake());
            let retracted = old.retract();
            if !retracted {
                owner.stand_still();
            }
            let next = Waiter::new(owner.header);
            assert_ne!(keeper.join().unwrap(), retracted);
            assert!(next.retract());
        });
    }

    #[test]
    fn nobody_uses_the_header_of_a_thread_that_has_come_up() {
        explore(3, || {
            let owner = Actor::thread(1);
            let waiter = Waiter::new(owner.header);
            let (note, waker) = wake_with_note(waiter);
            let interrupted = waiter.interrupt_self();
            if !interrupted {
                while !owner.header.up.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                assert_eq!(note.read(), 1);
                owner.header.end();
            }
            assert_ne!(waker.join().unwrap(), interrupted);
        });
    }

    #[test]
    fn a_thread_that_runs_its_loop_comes_out_of_its_sleep_when_it_is_woken() {
        explore(3, || {
            let owner = Actor::thread(1);
            owner.header.set_home(Some(owner.home));
            let waiter = Waiter::new(owner.header);
            let waker = thread::spawn(move || waiter.wake());
            let up = || owner.header.up.load(Ordering::Acquire);
            while !up() {
                owner.home.sleep(0, up, || owner.rings.poll());
            }
            assert!(waker.join().unwrap());
        });
    }

    /// As `task::park` waits for the token once; true if it was taken.
    fn take_token(owner: &Actor) -> bool {
        let me = owner.header;
        if me.take_token() {
            return true;
        }
        let waiter = Waiter::new(me);
        if !me.await_token(waiter) {
            assert!(waiter.retract());
            return me.take_token();
        }
        owner.stand_still();
        let woken = waiter.was_woken();
        me.stop_awaiting_token();
        woken && me.take_token()
    }

    #[test]
    fn of_two_tokens_one_is_not_lost_and_no_third_is_there() {
        explore(3, || {
            let owner = Actor::task(1);
            let header = owner.header;
            let givers = [(); 2].map(|()| thread::spawn(move || header.give_token()));
            while !take_token(&owner) {}
            givers.into_iter().for_each(|giver| giver.join().unwrap());
            let _second = header.take_token();
            assert!(!header.take_token());
            assert!(!owner.was_made_ready());
        });
    }

    #[test]
    fn what_was_done_before_a_token_was_given_is_seen_by_who_takes_it() {
        explore(3, || {
            let owner = Actor::task(1);
            let header = owner.header;
            let note = Note::new();
            let left = note.clone();
            let giver = thread::spawn(move || {
                left.write(1);
                header.give_token();
            });
            while !take_token(&owner) {}
            assert_eq!(note.read(), 1);
            giver.join().unwrap();
        });
    }

    #[test]
    fn a_token_that_comes_as_the_wait_for_it_is_interrupted_stays() {
        explore(3, || {
            let owner = Actor::task(1);
            let header = owner.header;
            let waiter = Waiter::new(header);
            assert!(header.await_token(waiter));
            let giver = thread::spawn(move || header.give_token());
            let timer = thread::spawn(move || waiter.interrupt());
            owner.stand_still();
            header.stop_awaiting_token();
            giver.join().unwrap();
            timer.join().unwrap();
            assert!(header.take_token() && !header.take_token());
            assert!(!owner.was_made_ready());
        });
    }

    /// Locked by a mutex that blocks: see the models of the spin lock.
    struct Line(Mutex<WaitList<u32>>);

    // SAFETY: the list is used by whoever has locked it, and the nodes outlive the threads that may.
    unsafe impl Send for Line {}
    // SAFETY: as above.
    unsafe impl Sync for Line {}

    impl Line {
        /// True if somebody has taken `item`.
        fn hand_over(&self, item: u32) -> bool {
            let list = self.0.lock().unwrap();
            // SAFETY: it is locked.
            let won = unsafe { list.win_first(|_| true) };
            drop(list);
            match won {
                Some(mut won) => {
                    *won.slot() = item;
                    true
                }
                None => false,
            }
        }

        /// What the owner of `node` has been handed, after its wait.
        fn leave(&self, node: &Node<u32>) -> u32 {
            if !node.waiter.was_woken() {
                let list = self.0.lock().unwrap();
                // SAFETY: it is locked.
                unsafe { list.remove(node) };
            }
            // SAFETY: the node is out of the list, and nobody else's any more.
            unsafe { *node.slot.get() }
        }
    }

    #[test]
    fn what_is_handed_over_reaches_one_waiter_or_stays_though_one_is_cancelled() {
        explore(3, || {
            let owners = [Actor::task(1), Actor::task(1)];
            let nodes = [0, 1].map(|n| Node::with(Waiter::new(owners[n].header), 0));
            let line = Arc::new(Line(Mutex::new(WaitList::new())));
            for node in &nodes {
                node.slot.make();
                // SAFETY: locked, and taken out by `leave`.
                unsafe { line.0.lock().unwrap().push(node) };
            }
            let wakers = [1, 2].map(|item| {
                let line = line.clone();
                thread::spawn(move || line.hand_over(item))
            });
            let first = nodes[0].waiter;
            let canceller = thread::spawn(move || first.interrupt());
            owners[0].stand_still();
            let mut got = line.leave(&nodes[0]);
            let mut expected = 0;
            for (waker, item) in wakers.into_iter().zip([1, 2]) {
                expected += if waker.join().unwrap() { item } else { 0 };
            }
            assert_eq!(canceller.join().unwrap(), !first.was_woken());
            if nodes[1].waiter.retract() {
                assert!(!owners[1].was_made_ready());
            } else {
                assert!(owners[1].was_made_ready());
            }
            got += line.leave(&nodes[1]);
            assert_eq!(got, expected);
            assert!(expected > 0);
            assert!(owners.iter().all(|owner| !owner.was_made_ready()));
        });
    }
}
