//! The end of a task as an arm of a wait for several things. What it returned is for `join` to say, which does not wait then.

use super::join::JoinHandle;
use crate::rt::choice::{Arm, Awaited, Awaits, Here};
use crate::rt::header::Header;

/// Waits for the end of the task whose handle is borrowed.
pub struct Ending<'a> {
    task: &'static Header,
    _handle: std::marker::PhantomData<&'a ()>,
}

impl<'a> Ending<'a> {
    pub(crate) fn new<T>(handle: &'a JoinHandle<T>) -> Self {
        handle.recall_deputy();
        Ending {
            task: handle.task().header(),
            _handle: std::marker::PhantomData,
        }
    }
}

// SAFETY: it names no end.
unsafe impl Arm for Ending<'_> {
    fn attempt(&self) -> bool {
        self.task.is_done()
    }

    unsafe fn enlist(&self, here: &Here) -> bool {
        self.task.set_joiner_among_others(here.waiter)
    }

    fn delist(&self) -> bool {
        if !self.task.is_done() {
            self.task.clear_joiner();
        }
        false
    }

    fn awaits(&self) -> Awaits {
        Awaits(Awaited::Task(self.task.home()))
    }
}
