//! Waiting for signals: Ctrl-C, the `SIGTERM` of a service manager, a terminal's new size.
//!
//! ```
//! use multitask::{signal, spawn, task, Scheduler};
//!
//! let scheduler = Scheduler::new()?;
//! let handle = scheduler.handle();
//! scheduler.spawn(move || {
//!     signal::ctrl_c()?; // suspends this task only
//!     handle.cancel_all(); // cancels every task: destructors run
//!     std::io::Result::Ok(())
//! });
//! scheduler.spawn(|| {
//!     // .. serve ..
//! #   signal::SIGINT.raise().unwrap();
//!     task::park();
//! });
//! scheduler.run()?; // returns after Ctrl-C
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A task that waits here is a task like any other: `run` waits for its end, and it is never reported as deadlocked, for somebody may
//! always send a signal. A program whose work ends by itself cancels it then.
//!
//! # What happens on a signal
//!
//! That is a matter of the whole process. While anybody listens for a signal, in any task or thread, all who do are told, and
//! nothing else happens: Ctrl-C does not end the program. When the last of them has gone, things are as they were before the first
//! one came: the next Ctrl-C ends the program, and what a shell or `nohup` had set to be ignored is ignored. So the second Ctrl-C
//! ends a program that waits for the first one and then takes its time. One that should not be ended keeps its [`Signals`].
//!
//! Two other parts of the program can be in the way. One that has a handler of its own, put there before, is still told; put there
//! while somebody listens here, the handler stays, and it depends on that handler who is told. One that listens
//! through the crate [`signal_hook`] (or what is built on it, as tokio is) is told as long as somebody listens here; if it began after
//! that, it is deaf from when the last one here has gone.
//!
//! Child processes inherit nothing of this: no signal is blocked, and a program that is started has no handlers.

#[allow(unsafe_code)]
mod arm;
#[allow(unsafe_code)]
mod listen;
mod number;

use crate::io::source::Source;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::reactor::Interest;
use listen::Listening;
pub use number::*;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Waits for the next Ctrl-C, that is [`SIGINT`]; suspends the task (on a plain thread: blocks it, running its default scheduler if
/// that has tasks).
///
/// It listens from when it is called until it returns: before and after that Ctrl-C does what it did, which most often is to end
/// the program. To listen all the time, keep a [`Signals`].
///
/// # Errors
/// The process is out of descriptors, or a wait cannot be ended by unwinding.
///
/// ```
/// use multitask::signal;
///
/// # multitask::spawn(|| signal::SIGINT.raise());
/// signal::ctrl_c()?;
/// println!("goodbye");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn ctrl_c() -> io::Result<()> {
    Signals::new([SIGINT])?.wait().map(drop)
}

/// Listens for some signals, from when it is made until it is dropped.
///
/// Each `Signals` is told of each signal that it listens for, whoever else is: there can be any number of them, in tasks and
/// threads. What comes while nobody waits is kept; of the same signal only that it came, not how often, for that is how the
/// system itself keeps it.
///
/// ```
/// use multitask::signal::{Signals, SIGHUP, SIGINT, SIGTERM};
///
/// let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
/// # SIGHUP.raise()?;
/// # SIGTERM.raise()?;
/// for signal in &mut signals {
///     match signal? {
///         SIGHUP => println!("reading the settings again"),
///         signal => {
///             println!("{signal}: goodbye");
///             break;
///         }
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// As an iterator it waits, and yields `io::Result<Signal>`; it ends when it was [closed](Handle::close). In a
/// [`select!`](crate::select!) it is received from: `recv(signals) -> signal => …`, with what [`wait`](Signals::wait) answers.
///
/// # Only one waits
///
/// Waiting takes `&mut self`: what one task is told, another one would miss. Each has a `Signals` of its own; a [`Handle`]
/// adds signals to it or closes it from elsewhere.
///
/// ```compile_fail
/// # use multitask::{signal::{Signals, SIGINT}, task};
/// # fn waits(signals: &Signals) {
/// signals.wait();
/// # }
/// ```
pub struct Signals {
    source: Source<UnixStream>,
    shared: Arc<Shared>,
}

impl Signals {
    /// Listens for `signals` from now on; never suspends.
    ///
    /// # Errors
    /// `InvalidInput` for a signal of which nobody can be told (`SIGKILL` and `SIGSTOP`, which the system keeps to itself; `SIGSEGV`,
    /// `SIGBUS`, `SIGILL` and `SIGFPE`, after which a program cannot go on) and for what is no signal; the process is out
    /// of descriptors, of which it takes two, and one for each signal. If it fails, it listens for none of them.
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
        let (ears, bell) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let this = Signals {
            source: Source::new(ears)?,
            shared: Arc::new(Shared {
                bell,
                state: Mutex::default(),
            }),
        };
        for signal in signals {
            this.shared.add(signal)?;
        }
        Ok(this)
    }

    /// Listens for `signal` as well; never suspends. One that is listened for already stays so.
    ///
    /// # Errors
    /// Those of [`new`](Signals::new); `BrokenPipe` if it was [closed](Handle::close).
    pub fn add(&self, signal: Signal) -> io::Result<()> {
        self.shared.add(signal)
    }

    /// To add signals, or to end the waiting, from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: self.shared.clone(),
        }
    }

    /// Waits for the next signal; suspends the task (on a plain thread: blocks it, running its default scheduler if that has tasks).
    /// Of several that came, each is told, in the order in which they were given to `new` and `add`.
    ///
    /// A wait that is cancelled or times out takes nothing: a signal that comes at this moment is told by the next one.
    ///
    /// # Errors
    /// `BrokenPipe` if it was [closed](Handle::close); the system cannot watch one more descriptor; a wait cannot be ended by unwinding.
    pub fn wait(&mut self) -> io::Result<Signal> {
        self.next_within(None)?.ok_or_else(closed)
    }

    /// As [`wait`](Signals::wait), for at most `timeout`. What has come already is told at once, however short the time.
    ///
    /// # Errors
    /// `TimedOut`, carrying [`Timeout`](crate::Timeout); those of `wait`.
    ///
    /// ```
    /// use multitask::signal::{Signals, SIGUSR1};
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut signals = Signals::new([SIGUSR1])?;
    /// SIGUSR1.raise()?;
    /// assert_eq!(signals.wait_timeout(Duration::ZERO)?, SIGUSR1);
    /// let error = signals.wait_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Signal> {
        self.next_within(Some(timeout))?.ok_or_else(closed)
    }

    /// As [`wait`](Signals::wait), until `deadline`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Signals::wait_timeout).
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Signal> {
        let next = |bell: &UnixStream| self.shared.next(bell);
        let found = self
            .source
            .retry_until(Interest::Read, Why::Signal, Some(deadline), next);
        found?.ok_or_else(closed)
    }

    /// A signal that has come already, if there is one. Does not wait, but like every operation it lets other tasks run now and then.
    ///
    /// ```
    /// use multitask::signal::{Signals, SIGUSR1, SIGUSR2};
    ///
    /// let mut signals = Signals::new([SIGUSR1, SIGUSR2])?;
    /// SIGUSR2.raise()?;
    /// SIGUSR2.raise()?;
    /// assert_eq!(signals.try_next(), Some(SIGUSR2));
    /// assert_eq!(signals.try_next(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_next(&mut self) -> Option<Signal> {
        charge();
        self.shared.state().find()
    }

    fn next_within(&mut self, limit: Option<Duration>) -> io::Result<Option<Signal>> {
        let next = |bell: &UnixStream| self.shared.next(bell);
        self.source.retry(Interest::Read, Why::Signal, limit, next)
    }
}

/// Waits for each: see [`wait`](Signals::wait). An error does not end the iteration.
impl Iterator for Signals {
    type Item = io::Result<Signal>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_within(None).transpose()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // A handle keeps what is shared, but does not listen.
        self.shared.close();
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.list(f.debug_tuple("Signals"))
    }
}

/// Adds signals to a [`Signals`], or closes it, from anywhere. Made by [`Signals::handle`].
///
/// ```
/// use multitask::{signal::{Signals, SIGHUP}, spawn};
///
/// let signals = Signals::new([SIGHUP])?;
/// let handle = signals.handle();
/// let count = spawn(|| signals.count()); // until it is closed
/// handle.close();
/// assert_eq!(count.join().unwrap(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Lets the [`Signals`] listen for `signal` as well, also while it waits: see [`Signals::add`].
    ///
    /// # Errors
    /// As there; `BrokenPipe` also if the `Signals` was dropped.
    pub fn add(&self, signal: Signal) -> io::Result<()> {
        self.shared.add(signal)
    }

    /// Stops listening, and ends the waiting; never suspends. What came before is still told, and after that no more.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether the [`Signals`] was closed, or dropped.
    pub fn is_closed(&self) -> bool {
        self.shared.state().closed
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.list(f.debug_tuple("Handle"))
    }
}

/// What the two ends have in common.
struct Shared {
    /// A byte in it says: look again. Each `Listening` has a duplicate. Full, it says so as well.
    bell: UnixStream,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listening: Vec<Listening>,
    closed: bool,
}

impl State {
    fn find(&self) -> Option<Signal> {
        self.listening.iter().find_map(Listening::heard)
    }
}

impl Shared {
    /// Held for some instructions, and by no signal handler.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told, `None` when it is closed, or `WouldBlock`. A sweep over the flags after the bell was heard: a handler
    /// that sets one after it rings after it.
    fn next(&self, mut ears: &UnixStream) -> io::Result<Option<Signal>> {
        loop {
            let state = self.state();
            // In this order under one lock: what came before it was closed is found.
            let found = state.find();
            if found.is_some() || state.closed {
                return Ok(found);
            }
            drop(state);
            let _bytes = ears.read(&mut [0; 64])?;
        }
    }

    /// Nobody asked for what was told.
    fn tell_again(&self, signal: Signal) {
        let state = self.state();
        if let Some(one) = state.listening.iter().find(|one| one.signal() == signal) {
            one.tell();
        }
        drop(state);
        self.ring();
    }

    fn add(&self, signal: Signal) -> io::Result<()> {
        let mut state = self.state();
        if state.closed {
            return Err(closed());
        }
        if state.listening.iter().all(|one| one.signal() != signal) {
            let new = Listening::start(signal, &self.bell)?;
            state.listening.push(new);
            drop(state);
            // It may have come before it was in the list, and been missed by one who waits.
            self.ring();
        }
        Ok(())
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.listening.iter_mut().for_each(Listening::stop);
        drop(state);
        self.ring();
    }

    fn ring(&self) {
        // Full of bytes that nobody has read, it needs no further one.
        let _full = (&self.bell).write(&[0]);
    }

    fn list(&self, mut to: fmt::DebugTuple<'_, '_>) -> fmt::Result {
        let state = self.state();
        let signals: Vec<Signal> = state.listening.iter().map(Listening::signal).collect();
        to.field(&signals).finish()
    }
}

#[cold]
fn closed() -> io::Error {
    io::Error::new(
        ErrorKind::BrokenPipe,
        "nobody listens for signals here any more",
    )
}
