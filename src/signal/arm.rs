//! Signals as an arm of a wait for several things.
//!
//! 1. The bell's readiness is what is waited for; what has come is asked of the flags, before the wait and after each ring.
//! 2. What was told and nobody asked for is told again.

use super::{closed, Shared, Signal, Signals};
use crate::io::arm::Readiness;
use crate::io::Interest;
use crate::rt::choice::{Arm, Awaits, End, Here, Receive};
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::ptr;
use std::time::Instant;

/// Waits for the next signal of a [`Signals`].
pub struct Hearing<'a> {
    signals: &'a Signals,
    bell: Readiness<'a>,
    told: Cell<Option<io::Result<Signal>>>,
}

impl Hearing<'_> {
    fn next(&self) -> Option<io::Result<Signal>> {
        // In this order: a ring that comes in between is an event after the look.
        if self.bell.attempt() {
            if let Err(error) = self.bell.outcome() {
                return Some(Err(error));
            }
        }
        match self.signals.shared.next(self.signals.source.get()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            found => Some(found.and_then(|signal| signal.ok_or_else(closed))),
        }
    }
}

// SAFETY: the end that it names is its `Signals`' own, and no other arm names that.
unsafe impl Arm for Hearing<'_> {
    fn attempt(&self) -> bool {
        let told = self.next();
        let chosen = told.is_some();
        self.told.set(told);
        chosen
    }

    unsafe fn enlist(&self, here: &Here) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.bell.enlist(here) }
    }

    fn delist(&self) -> bool {
        self.bell.delist()
    }

    fn undo(&self) {
        if let Some(Ok(signal)) = self.told.take() {
            self.signals.shared.tell_again(signal);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.bell.deadline()
    }

    fn awaits(&self) -> Awaits {
        self.bell.awaits()
    }

    fn end(&self) -> End {
        end(&self.signals.shared)
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.undo();
    }
}

fn end(shared: &Shared) -> End {
    End(Some((ptr::from_ref(shared).cast(), false)))
}

impl Receive for Signals {
    type Output = io::Result<Signal>;
    type Arm<'a> = Hearing<'a>;

    fn arm(&self) -> Hearing<'_> {
        Hearing {
            signals: self,
            bell: Readiness::new(self.source.get().as_fd(), Interest::READABLE),
            told: Cell::new(None),
        }
    }

    fn received<'a>(&'a self, arm: &Hearing<'a>) -> io::Result<Signal> {
        arm.told.take().expect("it was chosen, and is asked once")
    }

    fn received_by(&self, arm: &dyn Arm) -> Option<io::Result<Signal>> {
        if arm.end() != end(&self.shared) {
            return None;
        }
        // SAFETY: by the promise of `Arm`, it is of this type.
        let arm = unsafe { &*ptr::from_ref(arm).cast::<Hearing<'_>>() };
        Some(self.received(arm))
    }
}
