//! What is known of a task at a moment, for reports: those of deadlocks and shutdowns, and dumps.
//!
//! 1. A portrait is made by the home thread, of a task that does not run, and refers to nothing that is in use.

use super::header::{title, Header, Why};
use super::stack;
use super::waiter::Waiter;
use std::backtrace::Backtrace;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// See the head of this file.
#[derive(Clone, Debug)]
pub(crate) struct Portrait {
    pub(crate) name: Option<Box<str>>,
    pub(crate) id: u64,
    pub(crate) place: &'static Location<'static>,
    pub(crate) state: State,
    why: Why,
    /// Cancelling was asked for.
    pub(crate) cancelled: bool,
    /// For how long it has been waiting, if it does and remembers.
    pub(crate) waited: Option<Duration>,
    /// If it has begun.
    pub(crate) stack: Option<StackUse>,
    /// Where it stands, if it was asked.
    pub(crate) trace: Option<Arc<Backtrace>>,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It has not begun, and has no stack yet.
    Unstarted,
    /// It was suspended and is to go on: what it waited for has come, or it has yielded.
    Ready,
    /// It is suspended, and waits.
    Waiting,
    /// It runs. Among those of a dump that is only a task that asks for it.
    Running,
}

/// How much of its stack a task uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackUse {
    /// How large it is, in bytes.
    pub size: usize,
    /// How many bytes are in use now: from where the task stands suspended, but for a few frames of the library's, up.
    pub used: usize,
    /// How many bytes were in use at the most, to whole pages, by this task or by others that had the stack before: stacks are
    /// used again, and keep their memory while they are. Pages that were swapped out may not count. `None` where the
    /// system does not say.
    pub touched: Option<usize>,
}

impl StackUse {
    pub(super) fn left(self) -> usize {
        self.size - self.used
    }
}

impl Portrait {
    /// For the home thread.
    pub(super) fn of(task: &'static Header) -> Self {
        let waits = Waiter::current(task).is_some();
        let state = match task.housed.get() {
            false => State::Unstarted,
            true if waits => State::Waiting,
            true => State::Ready,
        };
        Portrait {
            name: task.name().map(Into::into),
            id: task.id(),
            place: task.place(),
            state,
            why: if waits { task.why.get() } else { Why::Nothing },
            cancelled: task.is_cancelled() || task.was_sent_cancel(),
            waited: if waits { task.waited() } else { None },
            stack: Portrait::stack_of(task),
            trace: None,
        }
    }

    /// For the home thread.
    pub(super) fn stack_of(task: &'static Header) -> Option<StackUse> {
        if !task.housed.get() {
            return None;
        }
        let (base, top) = task.switch.get().stack(task.whereabouts());
        let slot = stack::find(base.addr())?;
        Some(StackUse {
            size: slot.usable_size,
            used: (slot.end - top.addr()).min(slot.usable_size),
            touched: slot.touched(),
        })
    }

    /// What it waits for, in words.
    pub(crate) fn waits_for(&self) -> &'static str {
        match self.state {
            State::Unstarted => "not begun",
            State::Running => "running",
            State::Ready | State::Waiting => self.why.describe(),
        }
    }
}

/// `task 'name' (#id), spawned at its place: what it waits for`
impl fmt::Display for Portrait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = title(self.name.as_deref(), self.id);
        let (place, why) = (self.place, self.waits_for());
        write!(f, "{title}, spawned at {place}: {why}")
    }
}
