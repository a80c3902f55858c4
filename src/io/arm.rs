//! The readiness of a descriptor as an arm of a wait for several things.
//!
//! As in `wait`, readiness is a state, asked of `poll(2)` before the wait and after each event.

use super::source::Source;
use super::wait::ready;
use crate::rt::choice::{Arm, Awaited, Awaits, Here};
use crate::rt::clock;
use crate::rt::reactor::{Interests, Nodes};
use crate::rt::waiter::Node;
use std::array;
use std::cell::{Cell, OnceCell, UnsafeCell};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Between two looks where no worker polls for the caller.
const PAUSE: Duration = Duration::from_millis(4);

/// Waits until the descriptor is ready.
pub struct Readiness<'a> {
    fd: BorrowedFd<'a>,
    interests: Interests,
    /// Made at the first wait.
    source: OnceCell<Source<OwnedFd>>,
    /// Read before the descriptor was looked at.
    tick: Cell<u32>,
    /// In the port's lists from `enlist` to `delist`.
    nodes: UnsafeCell<Option<Nodes>>,
    next_look: Cell<Option<Instant>>,
    /// What came of it, once it was chosen; an error is of the looking, or of the waiting.
    outcome: Cell<Option<io::Result<()>>>,
}

impl<'a> Readiness<'a> {
    pub(crate) fn new(fd: BorrowedFd<'a>, interests: Interests) -> Self {
        Readiness {
            fd,
            interests,
            source: OnceCell::new(),
            tick: Cell::new(0),
            nodes: UnsafeCell::new(None),
            next_look: Cell::new(None),
            outcome: Cell::new(None),
        }
    }

    fn fail(&self, error: io::Error) -> bool {
        self.outcome.set(Some(Err(error)));
        // It is worth trying again: then the error is what came of it.
        false
    }
}

// SAFETY: it names no end.
unsafe impl Arm for Readiness<'_> {
    fn attempt(&self) -> bool {
        let outcome = self.outcome.take().or_else(|| {
            let tick = self.source.get().map(|source| source.tick(self.interests));
            self.tick.set(tick.unwrap_or(0));
            ready(self.fd, self.interests)
                .map(|ready| ready.is_some())
                .map_or_else(|error| Some(Err(error)), |ready| ready.then_some(Ok(())))
        });
        let chosen = outcome.is_some();
        self.outcome.set(outcome);
        chosen
    }

    unsafe fn enlist(&self, here: &Here) -> bool {
        let source = match self.source.get() {
            Some(source) => source,
            None => match Source::watch(self.fd) {
                Ok(source) => self.source.get_or_init(|| source),
                Err(error) => return self.fail(error),
            },
        };
        match here.home.map(|home| source.register(home)) {
            Some(Ok(true)) => {}
            Some(Err(error)) => return self.fail(error),
            None | Some(Ok(false)) => {
                self.next_look.set(clock::now().checked_add(PAUSE));
                return true;
            }
        }
        let nodes = array::from_fn(|_| Node::new(here.waiter));
        // SAFETY: not in a list, so nobody else looks at it.
        let nodes = unsafe { (*self.nodes.get()).insert(nodes) };
        // SAFETY: `delist` takes them out, and by the caller's promise they stay where they are.
        unsafe { source.enlist(self.interests, self.tick.get(), nodes) }
    }

    fn delist(&self) -> bool {
        self.next_look.set(None);
        if let Some(source) = self.source.get() {
            // SAFETY: the owner looks at it, and others through the port's lock, if at all.
            if let Some(nodes) = unsafe { &*self.nodes.get() } {
                source.delist(self.interests, nodes);
            }
            // SAFETY: they are in no list any more.
            unsafe { *self.nodes.get() = None };
        }
        false
    }

    fn undo(&self) {
        self.outcome.set(None);
    }

    fn outcome(&self) -> io::Result<()> {
        self.outcome.take().unwrap_or(Ok(()))
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_look.get()
    }

    fn awaits(&self) -> Awaits {
        Awaits(Awaited::Descriptor)
    }
}
