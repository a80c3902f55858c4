//! Owns a child and the waits for its end, which suspend the task only.
//!
//! 1. Only its owner reaps a child, by `waitpid` through std: `try_wait`, or `wait` when it is known to have ended. Everything here
//!    that looks on leaves it as it is. So its number means this child for as long as its owner has not reaped it.
//! 2. What tells of the end is asked for at the first wait that has to wait, and kept until the child is reaped: a descriptor, or
//!    at most one thread. A thread that looks on outlives a wait that is interrupted, and the next one uses it again.
//! 3. That thread has the number only. If the child is reaped before it looks, it finds none; and in the worst case, another child that
//!    has the number by then, at whose end it wakes nobody.

use crate::blocking;
use crate::error::Timeout;
use crate::io::source::Source;
use crate::rt::header::Why;
use crate::rt::park::{charge, may_block, park, Mode, Outcome};
use crate::rt::reactor::Interest;
use crate::rt::waiter::Waiter;
use crate::sys::process::{open, wait_for_end};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// See the head of this file.
pub(super) struct Process {
    /// Its pipes have been taken out. `None` only on its way out.
    child: Option<Child>,
    watch: Option<Watch>,
    kill_on_drop: bool,
}

/// What tells of a child's end.
enum Watch {
    /// Readable from then on.
    Descriptor(Source<OwnedFd>),
    Thread(Arc<Onlooker>),
}

impl Process {
    pub(super) fn new(child: Child, kill_on_drop: bool) -> Self {
        Process {
            child: Some(child),
            watch: None,
            kill_on_drop,
        }
    }

    pub(super) fn get(&self) -> &Child {
        self.child.as_ref().expect("until it is dropped")
    }

    pub(super) fn get_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("until it is dropped")
    }

    /// Reaps the child if it has ended.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        charge();
        let status = self.get_mut().try_wait()?;
        if status.is_some() {
            self.watch = None;
        }
        Ok(status)
    }

    /// Waits until the child has ended, and reaps it.
    ///
    /// # Errors
    /// Those of std; `TimedOut` with [`Timeout`] inside; that of interrupting.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        let child = self.child.as_mut().expect("until it is dropped");
        let status = if deadline.is_none() && may_block() {
            child.wait()?
        } else {
            let watch = match &mut self.watch {
                Some(watch) => watch,
                none => none.insert(Watch::begin(child.id())?),
            };
            watch.wait(child, deadline)?
        };
        self.watch = None;
        Ok(status)
    }
}

/// Kills the child and has it reaped, if that was asked for. Never suspends.
impl Drop for Process {
    fn drop(&mut self) {
        self.watch = None;
        let Some(mut child) = self.child.take().filter(|_| self.kill_on_drop) else {
            return;
        };
        // An error says that others have reaped it: then its number may be another's by now.
        let runs = matches!(child.try_wait(), Ok(None));
        if runs && child.kill().is_ok() {
            let reaped = Reaped(child);
            // Without a thread it is waited for right here, in its destructor: the signal allows for no delay.
            drop(blocking::reap(move || drop(reaped)));
        }
    }
}

/// A child that was killed; waited for when this is dropped.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        drop(self.0.wait());
    }
}

impl Watch {
    fn begin(pid: u32) -> io::Result<Watch> {
        match open(pid) {
            Ok(fd) => Ok(Watch::Descriptor(Source::adopt(fd))),
            // The kernel has none, or the process may have no more.
            Err(_) => Onlooker::begin(pid).map(Watch::Thread),
        }
    }

    fn wait(&self, child: &mut Child, deadline: Option<Instant>) -> io::Result<ExitStatus> {
        match self {
            Watch::Descriptor(source) => {
                source.retry_until(Interest::Read, Why::Child, deadline, |_| {
                    let status = child.try_wait()?;
                    status.ok_or_else(|| ErrorKind::WouldBlock.into())
                })
            }
            Watch::Thread(onlooker) => {
                onlooker.wait(deadline)?;
                // It has ended.
                child.wait()
            }
        }
    }
}

/// A thread that looks on until a child has ended.
#[derive(Default)]
struct Onlooker(Mutex<State>);

#[derive(Default)]
struct State {
    over: bool,
    /// The latest who waits; it may have gone.
    waiter: Option<Waiter>,
}

impl Onlooker {
    fn begin(pid: u32) -> io::Result<Arc<Onlooker>> {
        let ours = Arc::<Onlooker>::default();
        let theirs = Arc::clone(&ours);
        blocking::watch(move || {
            // Alone, it would tell nobody.
            while Arc::strong_count(&theirs) > 1 {
                match wait_for_end(pid) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // If there is no such child, whoever waits for it is told so by std.
                    _ => return theirs.tell(),
                }
            }
        })?;
        Ok(ours)
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let waiter = Waiter::here();
        let mut state = self.lock();
        if state.over {
            let retracted = waiter.retract();
            debug_assert!(retracted);
            return Ok(());
        }
        state.waiter = Some(waiter);
        drop(state);
        match park(waiter, deadline, Why::Child, Mode::Fallible) {
            Outcome::Woken => Ok(()),
            Outcome::TimedOut => Err(Timeout.into()),
            Outcome::Interrupted(interrupt) => Err(interrupt.into()),
        }
    }

    fn tell(&self) {
        let mut state = self.lock();
        state.over = true;
        let waiter = state.waiter.take();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
