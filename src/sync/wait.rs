//! Waiting in line: the one way in which whatever is locked here waits.
//!
//! Who waits has a node, on its own stack, in a list that a [`Lock`] guards. [`Line::wait`] asks under that lock whether
//! it has to wait at all, puts the node in before it lets the lock go, parks, and sees to it that the node is out when the
//! wait is over, however it ends.
//!
//! 1. Nobody suspends while holding the lock, and nobody but [`Line::wait_once`] puts nodes into its list.
//! 2. A node is in its list, by the lock, until its wait is won through the list, or its owner has taken it out.
//! 3. What is given to somebody who waits is given after his wait was won: who was interrupted cannot be won and has been
//!    given nothing, so nothing has to be handed on.
//! 4. Who leaves without having been won may have stood in the way of others: `left` is called for them, in the same step
//!    in which the node goes out.

use crate::base::lock::{Lock, Locked};
use crate::rt::clock::deadline_in;
use crate::rt::header::Why;
use crate::rt::park::{park, Interrupt, Mode, Outcome};
use crate::rt::waiter::{Node, WaitList, Waiter, Won};
use std::mem;
use std::time::{Duration, Instant};

/// How long a wait may last. The clock is read only if there is a wait.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    Never,
    For(Duration),
    Until(Instant),
}

impl Bound {
    #[inline]
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Bound::Never => None,
            Bound::For(timeout) => deadline_in(timeout),
            Bound::Until(deadline) => Some(deadline),
        }
    }

    /// The same bound, counted from now on.
    fn fixed(self) -> Self {
        self.deadline().map_or(Bound::Never, Bound::Until)
    }
}

/// Why a wait has ended without having been won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    TimedOut,
    /// Only where nothing can be raised, and in the mode that can say so.
    Interrupted(Interrupt),
}

/// How to wait in one list: where it is, and what else is to be known. `Q` is what the lock guards, `S` what lies in a
/// node for those who win its wait.
pub(super) struct Line<'a, Q, S> {
    lock: &'a Lock<Q>,
    list: fn(&Q) -> &WaitList<S>,
    why: Why,
    mode: Mode,
    left: fn(&mut Q),
}

impl<Q, S> Clone for Line<'_, Q, S> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, S> Copy for Line<'_, Q, S> {}

impl<'a, Q, S> Line<'a, Q, S> {
    /// Waits that cannot fail.
    #[inline]
    pub(super) fn new(lock: &'a Lock<Q>, list: fn(&Q) -> &WaitList<S>, why: Why) -> Self {
        Line {
            lock,
            list,
            why,
            mode: Mode::Infallible,
            left: |_| (),
        }
    }

    /// Waits that can say that they were interrupted.
    #[inline]
    pub(super) fn fallible(self) -> Self {
        let mode = Mode::Fallible;
        Line { mode, ..self }
    }

    /// See 4 above.
    #[inline]
    pub(super) fn when_one_left(self, left: fn(&mut Q)) -> Self {
        Line { left, ..self }
    }

    /// Waits behind all others until it is woken, unless it `goes_on` at once.
    ///
    /// `None` if it did. Else its `slot` as whoever woke it left it. If the wait cannot be interrupted but is told to end
    /// all the same, it begins anew.
    #[inline(always)]
    pub(super) fn wait(
        self,
        mut bound: Bound,
        slot: impl Fn() -> S,
        mut goes_on: impl FnMut(&mut Q) -> bool,
    ) -> Result<Option<S>, Early> {
        loop {
            let mut guarded = self.lock.lock();
            if goes_on(&mut guarded) {
                return Ok(None);
            }
            match self.wait_once(guarded, &mut bound, (slot(), Place::Last), || ()) {
                Ok(slot) => return Ok(Some(slot)),
                Err(Early::Interrupted(_)) if self.mode == Mode::Infallible => {}
                Err(early) => return Err(early),
            }
        }
    }

    /// Waits once, in the lock's list, which `guarded` gives up. From when `seen` is called on the waiter can be woken.
    #[inline(always)]
    pub(super) fn wait_once(
        self,
        guarded: Locked<'a, Q>,
        bound: &mut Bound,
        (slot, place): (S, Place),
        seen: impl FnOnce(),
    ) -> Result<S, Early> {
        // SAFETY: nobody else is shown the waiter.
        let node = unsafe { Node::alone(Waiter::here(), slot) };
        let waits = Waits::begin(self, guarded, &node, place);
        seen();
        *bound = bound.fixed();
        let outcome = park(node.waiter(), bound.deadline(), self.why, self.mode);
        waits.end(outcome);
        match outcome {
            Outcome::Woken => Ok(node.into_slot()),
            Outcome::TimedOut => Err(Early::TimedOut),
            Outcome::Interrupted(interrupt) => Err(Early::Interrupted(interrupt)),
        }
    }
}

/// Where in the line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Last,
}

/// A node that is in the list; taken out when this is dropped.
struct Waits<'a, 'n, Q, S> {
    line: Line<'a, Q, S>,
    node: &'n Node<S>,
}

impl<'a, 'n, Q, S> Waits<'a, 'n, Q, S> {
    #[inline]
    fn begin(
        line: Line<'a, Q, S>,
        guarded: Locked<'a, Q>,
        node: &'n Node<S>,
        place: Place,
    ) -> Self {
        let list = (line.list)(&guarded);
        // SAFETY: the lock is held; this guard takes the node out.
        match place {
            Place::First => unsafe { list.push_front(node) },
            Place::Last => unsafe { list.push(node) },
        }
        drop(guarded);
        Waits { line, node }
    }

    /// After a wait that did not unwind.
    #[inline]
    fn end(self, outcome: Outcome) {
        if outcome == Outcome::Woken {
            // By 2 the node is out.
            mem::forget(self);
        }
    }
}

impl<Q, S> Drop for Waits<'_, '_, Q, S> {
    fn drop(&mut self) {
        let mut guarded = self.line.lock.lock();
        // If it is out, somebody has found that the wait was over, and has looked behind it himself.
        if self.node.is_in_list() {
            // SAFETY: the lock is held, and the node has been in this list only.
            unsafe { (self.line.list)(&guarded).remove(self.node) };
            (self.line.left)(&mut guarded);
        }
    }
}

/// Lets those go on who may: one after the other, each when the lock is free again, for he may be on another thread and
/// come for it.
#[inline]
pub(super) fn let_go<Q, S>(lock: &Lock<Q>, mut next: impl FnMut(&mut Q) -> Option<Won<S>>) {
    loop {
        let won = next(&mut lock.lock());
        if won.is_none() {
            return;
        }
    }
}
