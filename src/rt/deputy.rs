//! [`Deputy`]: stands in line for a future, which cannot stand still itself; and [`Attending`], which does an arm of a wait as
//! a future.
//!
//! To those who hand things over it is one who waits, as tasks and threads are: a header with a waiter word, won by one
//! compare-exchange. It differs in who stands still. A task that waits does nothing until it is made ready; a future may be
//! asked again at any time, or be dropped, by whatever thread has it.
//!
//! 1. A deputy's wait begins with it. It ends by being won, or by being retracted when the deputy is dropped.
//! 2. While it is not known that the winner has done, the future looks at nothing that he may be writing to: it answers that it is
//!    pending, and who drops it waits for the winner. That is for a few instructions, but for a `select!` that has been met at a
//!    channel without a buffer and is making its message: whoever was met waits for that, as a task does.
//! 3. Deputies are immortal and recycled, as headers are: a waiter kept too long can win nothing.
//! 4. What a winner has handed over and the future has not taken goes back when that is dropped: it is the arm's `undo`.

use super::choice::{Arm, Here};
use super::header::Header;
use super::park::{me, try_charge, yield_now};
use super::pledge::Pledge;
use super::waiter::Waiter;
#[cfg(not(all(test, loom)))]
use crate::base::slab::Slab;
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::mem;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker};

/// See the head of this file.
pub(crate) struct Deputy(&'static Stand);

/// The pledge comes first: the header points to it, and so to the whole.
#[derive(Default)]
#[repr(C)]
struct Stand {
    pledge: Pledge,
    header: Header,
    /// Its place in the slab; of who has the deputy.
    #[cfg_attr(all(test, loom), allow(dead_code))]
    index: Cell<u32>,
}

// SAFETY: header and pledge are made for it; the index is written by who has just taken the stand out of the slab, and read by who
// gives it back.
unsafe impl Sync for Stand {}

#[cfg(not(all(test, loom)))]
static STANDS: Slab<Stand> = Slab::new();

impl Deputy {
    /// Begins a wait at whose end `waker` is woken.
    pub(crate) fn new(waker: &Waker) -> Self {
        let waker = waker.clone();
        let stand = Stand::alloc();
        stand.header.group.set(ptr::from_ref(stand).cast());
        stand.pledge.make(waker);
        let _shown_later = Waiter::new(&stand.header);
        Deputy(stand)
    }

    /// Leaves it to somebody who will know its header.
    pub(crate) fn leave(self) {
        mem::forget(self);
    }

    /// The one that was left.
    ///
    /// # Safety
    /// It was, and is asked for once.
    pub(crate) unsafe fn left(header: &'static Header) -> Self {
        // SAFETY: that of a deputy points to its stand, which is immortal.
        Deputy(unsafe { &*header.group.get().cast() })
    }

    /// For whom it is to be shown to; to be called before that.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter::current(&self.0.header).expect("nobody can have won it")
    }

    /// Whether the wait was won, and the winner has done; if not, `waker` is woken when he has.
    pub(crate) fn is_over(&self, waker: &Waker) -> bool {
        self.0.pledge.is_kept_or_wakes(waker)
    }

    /// Waits for the winner, by 2.
    #[cold]
    fn await_winner(&self) {
        me().scopes.shield(|| {
            while !self.0.pledge.is_kept() {
                yield_now();
            }
        });
    }
}

impl Drop for Deputy {
    fn drop(&mut self) {
        // By 1, who began it is the one who asks.
        let retracted = Waiter::current(&self.0.header).is_some_and(Waiter::retract);
        if !retracted {
            self.await_winner();
        }
        self.0.pledge.forget();
        self.0.free();
    }
}

#[cfg(not(all(test, loom)))]
impl Stand {
    fn alloc() -> &'static Stand {
        let index = STANDS.alloc();
        let stand = STANDS.get(index);
        stand.index.set(index);
        stand
    }

    fn free(&self) {
        STANDS.free(self.index.get());
    }
}

/// Models have one of their own for each wait, and let it lie.
#[cfg(all(test, loom))]
impl Stand {
    fn alloc() -> &'static Stand {
        Box::leak(Box::default())
    }

    fn free(&self) {}
}

/// Does an arm, as a future. What came of it is then the arm's to say.
pub(crate) struct Attending<A: Arm> {
    arm: A,
    /// While the arm is enlisted.
    deputy: Option<Deputy>,
    /// The arm is where others look for it, then.
    _pin: PhantomPinned,
}

impl<A: Arm> Attending<A> {
    pub(crate) fn new(arm: A) -> Self {
        Attending {
            arm,
            deputy: None,
            _pin: PhantomPinned,
        }
    }

    pub(crate) fn arm(&self) -> &A {
        &self.arm
    }

    /// Ready when the arm was chosen.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the arm is not moved.
        let this = unsafe { self.get_unchecked_mut() };
        if !try_charge() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(deputy) = &this.deputy {
            if !deputy.is_over(cx.waker()) {
                return Poll::Pending;
            }
            if this.leave() {
                return Poll::Ready(());
            }
        }
        loop {
            if this.arm.attempt() {
                return Poll::Ready(());
            }
            let deputy = Deputy::new(cx.waker());
            let here = Here {
                waiter: deputy.waiter(),
                home: None,
            };
            // SAFETY: it is pinned, and delisted before it is dropped.
            if unsafe { this.arm.enlist(&here) } {
                this.deputy = Some(deputy);
                return Poll::Pending;
            }
        }
    }

    /// Ends the wait, if there is one; true if something was handed over.
    fn leave(&mut self) -> bool {
        // The wait is over before the arm is delisted.
        let waited = self.deputy.take().is_some();
        waited && self.arm.delist()
    }
}

impl<A: Arm> Drop for Attending<A> {
    fn drop(&mut self) {
        if self.leave() {
            self.arm.undo();
        }
    }
}
