//! A stack with a suspended computation on it, and the switch to it and back.
//!
//! 1. A fiber's body runs on the thread that made the fiber, and nowhere else: `Fiber` is not `Send`.
//! 2. Dropping a fiber leaks its stack, with all that is on it. A fiber whose body has returned gives the stack
//!    back through [`Fiber::into_slot`] (corosensei would unwind another by force). One that was left for good, with nothing on its stack
//!    that has to be dropped, can be made anew by [`Fiber::renew`].
//! 3. A [`Switch`] is used on the stack of the fiber that it was given to, while that fiber runs.

use super::stack::Slot;
use corosensei::{Coroutine, Yielder};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// See the head of this file.
pub(crate) struct Fiber(ManuallyDrop<Coroutine<(), (), (), Slot>>);

impl Fiber {
    /// A fiber that will call `body` on `slot` when it is first resumed. Touches the slot's top page.
    #[inline]
    pub(crate) fn new(slot: Slot, body: fn(Switch)) -> Self {
        Fiber(ManuallyDrop::new(Coroutine::with_stack(
            slot,
            move |yielder: &Yielder<(), ()>, ()| body(Switch(yielder)),
        )))
    }

    /// Runs the body until it suspends or returns.
    #[inline(always)]
    pub(crate) fn resume(&mut self) {
        self.0.resume(());
    }

    /// A new fiber on the stack of one that stands still and will not be resumed.
    ///
    /// # Safety
    /// Nothing on that stack has to be dropped, or is pointed to.
    #[inline]
    pub(crate) unsafe fn renew(mut self, body: fn(Switch)) -> Self {
        // SAFETY: the caller's promise. It is a `longjmp` over frames that have nothing to do.
        unsafe { self.0.force_reset() };
        Fiber::new(ManuallyDrop::into_inner(self.0).into_stack(), body)
    }

    /// The stack of a fiber whose body has returned.
    ///
    /// # Panics
    /// Panics if the body has not returned.
    pub(crate) fn into_slot(self) -> Slot {
        assert!(
            self.0.done(),
            "a fiber gives its stack back when its body has returned"
        );
        ManuallyDrop::into_inner(self.0).into_stack()
    }
}

/// The way from a fiber's body back to whoever resumed it.
#[derive(Clone, Copy)]
pub(crate) struct Switch(*const Yielder<(), ()>);

/// A place for a switch that may be looked at from anywhere at any time, for the sake of the stack that it belongs to.
pub(crate) struct SwitchCell(AtomicPtr<Yielder<(), ()>>);

impl SwitchCell {
    pub(crate) const fn new(switch: Switch) -> Self {
        SwitchCell(AtomicPtr::new(switch.0.cast_mut()))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Switch {
        Switch(self.0.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set(&self, switch: Switch) {
        self.0.store(switch.0.cast_mut(), Ordering::Relaxed);
    }
}

impl Switch {
    pub(crate) const fn none() -> Self {
        Switch(ptr::null())
    }

    /// Where on its stack the fiber keeps its way back, and an address of which the lower half is `low`.
    #[inline]
    pub(crate) fn stack(self, low: u32) -> (*const u8, *const u8) {
        let base = self.0.cast::<u8>();
        let above = (base.addr() as u32).wrapping_sub(low);
        (base, base.wrapping_sub(above as usize))
    }

    /// Calls `f` on the stack of whoever resumed the fiber that is running.
    ///
    /// # Safety
    /// Invariant 3; and `f` does not suspend.
    pub(crate) unsafe fn above<R: Send>(self, f: impl FnOnce() -> R + Send) -> R {
        // SAFETY: by invariant 3 the yielder lies in a frame of this stack, below ours.
        unsafe { (*self.0).on_parent_stack(f) }
    }

    /// Suspends the fiber that is running until it is resumed.
    ///
    /// # Safety
    /// Invariant 3.
    // Inlined up to the public call: a return between the caller's code and the switch would be mispredicted, twice
    // for each switch.
    #[inline(always)]
    pub(crate) unsafe fn suspend(self) {
        // SAFETY: by invariant 3 the yielder lies in a frame of this stack, below ours.
        unsafe { (*self.0).suspend(()) }
    }
}
