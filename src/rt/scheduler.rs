//! The face of the machine: [`Scheduler`], its [`Builder`] and its [`Handle`].
//!
//! 1. A scheduler is dropped on the thread that made it, and its worker with it.
//! 2. A home is recycled when the scheduler and all its handles are gone: nobody can send to it any more but those
//!    who hold a task of it, and there is none. If tasks had to be abandoned the home is never recycled: a late
//!    waker must not reach another worker.
//! 3. What is sent to a scheduler that is closed is thrown away by whoever comes last: a sender pushes and then
//!    looks whether it is closed; closing is announced first, and the inbox emptied then.

use super::fibers;
use super::header::{Header, CX};
use super::home::{Home, Message};
use super::reactor::Patience;
use super::worker::{set_default, with_default, with_running, Worker};
use crate::error::{report, Deadlock, JoinError};
use std::any::Any;
use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The stack of a task for which no size was asked: 128 KiB, and 512 KiB in a build with debug assertions.
///
/// Measured, so that in a task of that size a TLS handshake, compiling a regular expression, parsing JSON nested
/// 128 deep and a panic with its full backtrace all have room: 72 KiB at most in an optimised build, 240 KiB in one
/// without optimisation. Stacks are address space; only what a task has touched takes memory.
pub(crate) const DEFAULT_STACK_SIZE: usize = if cfg!(debug_assertions) {
    512 << 10
} else {
    128 << 10
};

/// Runs tasks on the thread that made it.
///
/// A scheduler is a loop over tasks: [`run`](Scheduler::run) lets each go on until it waits or ends, first come first
/// served, and asks the system for readiness and the clock for deadlines in between. It belongs to its thread;
/// [`handle`](Scheduler::handle) gives a handle for others.
///
/// # Examples
///
/// ```
/// use multitask::{yield_now, Scheduler};
///
/// let scheduler = Scheduler::new()?;
/// for word in ["hello", "goodbye"] {
///     scheduler.spawn(move || {
///         for _ in 0..3 {
///             println!("{word}");
///             yield_now(); // lets the others run
///         }
///     });
/// }
/// scheduler.run()?; // until both have ended
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Dropping
///
/// Dropping a scheduler cancels the tasks that are left and runs them until they have ended, destructors included.
/// A task that waits in a destructor for something that can never happen is abandoned with a message on standard
/// error: it never goes on, and its memory is not used again.
pub struct Scheduler {
    worker: Box<Worker>,
    shared: Arc<Shared>,
    /// A scheduler belongs to its thread.
    _not_send: PhantomData<*mut ()>,
}

/// What a scheduler and its handles have in common.
pub(crate) struct Shared {
    home: &'static Home<Header>,
    name: Option<Box<str>>,
    /// Nobody takes messages any more.
    closed: AtomicBool,
    /// Tasks were left that somebody may still try to wake.
    haunted: AtomicBool,
}

impl Scheduler {
    /// A scheduler with one worker: the calling thread.
    ///
    /// # Errors
    /// The process is out of descriptors; a scheduler needs a few.
    pub fn new() -> io::Result<Self> {
        Scheduler::builder().build()
    }

    /// To make a scheduler that differs from what [`new`](Scheduler::new) makes.
    pub fn builder() -> Builder {
        Builder {
            name: None,
            stack_size: DEFAULT_STACK_SIZE,
        }
    }

    /// Runs tasks until all have ended; at once if there are none.
    ///
    /// Tasks that are spawned meanwhile count as well, also from other threads through a [`Handle`].
    ///
    /// # Errors
    /// [`Deadlock`] when nothing can ever happen again: no task is ready, no timer is armed, no descriptor is waited for,
    /// and there is no other thread in the process. Its message lists the tasks that are left. The same when it is
    /// called by one of the scheduler's own tasks, which it would wait for.
    ///
    /// ```
    /// use multitask::{task, Scheduler};
    ///
    /// let scheduler = Scheduler::new()?;
    /// scheduler.spawn(|| 1 + 1);
    /// scheduler.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self) -> Result<(), Deadlock> {
        if self.runs_here() {
            return Err(Deadlock::new(
                "run() was called by a task of the same scheduler: it would wait for itself".into(),
            ));
        }
        self.worker.run_until(|| self.worker.is_finished())
    }

    /// One pass of the loop: takes in what is ready on descriptors and timers, then lets each task that is ready run
    /// once. Returns how many were run.
    ///
    /// If none is ready it waits for that: for `timeout`, for ever with `None`. Descriptors are polled also with a
    /// timeout of zero, and when tasks are ready. Without any task it returns at once. Called by one of the
    /// scheduler's own tasks it lets the others run once, as `yield_now`.
    ///
    /// # Errors
    /// [`Deadlock`], only without a timeout, as [`run`](Scheduler::run).
    ///
    /// ```
    /// use multitask::{yield_now, Scheduler};
    /// use std::time::Duration;
    ///
    /// let scheduler = Scheduler::new()?;
    /// scheduler.spawn(|| yield_now());
    /// assert_eq!(scheduler.turn(Some(Duration::ZERO))?, 1); // up to yield_now
    /// assert_eq!(scheduler.turn(Some(Duration::ZERO))?, 1); // to the end
    /// assert_eq!(scheduler.turn(None)?, 0); // nothing left
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn turn(&self, timeout: Option<Duration>) -> Result<usize, Deadlock> {
        if self.runs_here() {
            super::park::yield_now();
            return Ok(0);
        }
        self.worker.turn(match timeout {
            Some(Duration::ZERO) => Patience::None,
            // A time that an `Instant` cannot hold is as good as never.
            Some(timeout) => Instant::now()
                .checked_add(timeout)
                .map_or(Patience::Forever, Patience::Until),
            None => Patience::Forever,
        })
    }

    /// How many tasks there are, and what they wait for.
    ///
    /// Looks at every task that is suspended.
    pub fn stats(&self) -> Stats {
        let counts = self.worker.counts();
        Stats {
            live: counts.live,
            runnable: counts.runnable,
            io: counts.io,
            timers: counts.timers,
            tasks: counts.others,
        }
    }

    /// A handle for other threads, and for tasks.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: self.shared.clone(),
        }
    }

    /// The handle of the calling thread's default scheduler, which is made when it is first asked for.
    ///
    /// [`multitask::spawn`](crate::spawn) outside of any task and [`multitask::run`](crate::run) use that scheduler.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn default_handle() -> io::Result<Handle> {
        with_thread_default(Scheduler::handle)
    }

    /// The name that the builder was given.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Whether the caller is a task of this scheduler, or of one that such a task runs.
    pub(crate) fn runs_here(&self) -> bool {
        self.worker.is_entered()
    }

    /// Ends all tasks; true if that could be done.
    fn wind_up(&self) -> bool {
        self.worker.shut_down();
        match self.worker.run_until(|| self.worker.is_finished()) {
            Ok(()) => true,
            Err(_) => {
                let headline =
                    "a scheduler was dropped, and these tasks will never end; they are abandoned:";
                report(format_args!("{}", self.worker.report(headline)));
                false
            }
        }
    }

    fn abandon(&self) {
        self.shared.haunted.store(true, Ordering::Relaxed);
        self.worker.abandon();
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // Tasks that were abandoned must not run again, though a late waker may have sent one here.
        let haunted = self.shared.haunted.load(Ordering::Relaxed);
        if !haunted && !self.worker.is_finished() && !self.wind_up() {
            self.abandon();
        }
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.throw_away();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Makes a [`Scheduler`].
///
/// ```
/// let scheduler = multitask::Scheduler::builder().name("crawler").stack_size(64 << 10).build()?;
/// assert_eq!(scheduler.name(), Some("crawler"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build` is called"]
pub struct Builder {
    name: Option<Box<str>>,
    stack_size: usize,
}

impl Builder {
    /// Names the scheduler, for its `Debug` form.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// Sets the size in bytes of the stack of each task for which no other is asked; rounded up to a power of two, at
    /// least 16 KiB. The default is 128 KiB, and 512 KiB in a build with debug assertions.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// # Errors
    /// The process is out of descriptors; or `InvalidInput`: the stack size is above 1 GiB.
    pub fn build(self) -> io::Result<Scheduler> {
        let worker = Worker::new(fibers::rounded(self.stack_size)?)?;
        let shared = Arc::new(Shared {
            home: worker.home,
            name: self.name,
            closed: AtomicBool::new(false),
            haunted: AtomicBool::new(false),
        });
        let weak: Weak<dyn Any + Send + Sync> = Arc::<Shared>::downgrade(&shared);
        let _first_and_last = worker.shared.set(weak);
        Ok(Scheduler {
            worker,
            shared,
            _not_send: PhantomData,
        })
    }
}

/// What the tasks of a scheduler are doing, as counted by [`Scheduler::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that have been spawned and have not ended.
    pub live: usize,
    /// Of these: ready to run.
    pub runnable: usize,
    /// Waiting for a descriptor, or for a child process to end.
    pub io: usize,
    /// Sleeping, or waiting for a timer or for a tick.
    pub timers: usize,
    /// Waiting for other tasks, or threads.
    pub tasks: usize,
}

/// Reaches a [`Scheduler`] from any thread.
///
/// A handle does not keep its scheduler alive: tasks that are spawned when it is gone are cancelled at once.
///
/// # Examples
///
/// ```
/// use multitask::Scheduler;
///
/// let scheduler = Scheduler::new()?;
/// let handle = scheduler.handle();
/// let thread = std::thread::spawn(move || handle.spawn(|| 6 * 7).join());
/// while !thread.is_finished() {
///     scheduler.turn(Some(std::time::Duration::from_millis(1)))?;
/// }
/// assert_eq!(thread.join().unwrap().unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// The handle of the scheduler whose task calls; `None` on a plain thread.
    ///
    /// ```
    /// use multitask::{Handle, Scheduler};
    ///
    /// assert!(Handle::current().is_none());
    /// let answer = Scheduler::new()?.block_on(|| {
    ///     let tasks = Handle::current().unwrap();
    ///     tasks.spawn(|| 6 * 7).join().unwrap()
    /// });
    /// assert_eq!(answer, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current() -> Option<Handle> {
        CX.with(|cx| cx.task.get())?;
        let shared = with_running(|worker| worker.shared.get()?.upgrade()).flatten()?;
        let shared = shared.downcast().ok()?;
        Some(Handle { shared })
    }

    /// How many workers the scheduler has.
    ///
    /// ```
    /// assert_eq!(multitask::Scheduler::new()?.handle().workers(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn workers(&self) -> usize {
        1
    }

    /// Asks the scheduler to cancel all its tasks, and every one that is spawned from now on.
    ///
    /// Returns at once; the scheduler's `run` returns when the tasks have ended. Without effect if the scheduler is
    /// gone.
    pub fn shutdown(&self) {
        self.shared.send(Message::Shutdown);
    }

    pub(crate) fn home(&self) -> &'static Home<Header> {
        self.shared.home
    }

    pub(crate) fn send(&self, message: Message<Header>) {
        self.shared.send(message);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn send(&self, message: Message<Header>) {
        self.home.send(message);
        // The scheduler may close here: it empties the inbox then, or we do.
        if self.closed.load(Ordering::SeqCst) {
            self.throw_away();
        }
    }

    /// Empties the inbox of a scheduler that is closed.
    fn throw_away(&self) {
        while let Some(message) = self.home.inbox().pop() {
            match message {
                // Its task was abandoned, or belongs to the past.
                Message::Wake(_) | Message::Shutdown => {}
                Message::Spawn(task) => task.refuse(JoinError::Cancelled),
                Message::Cancel(task) => task.release(),
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.haunted.load(Ordering::Relaxed) {
            self.throw_away();
            self.home.recycle();
        }
    }
}

// ---- the default scheduler of a thread ----

struct ThreadDefault(OnceCell<Box<Scheduler>>);

thread_local! {
    static SCHEDULER: ThreadDefault = const { ThreadDefault(OnceCell::new()) };
}

/// Calls `f` with this thread's default scheduler, after making it if there is none.
///
/// # Errors
/// The process is out of descriptors; or the thread is in its last moments.
pub(crate) fn with_thread_default<R>(f: impl FnOnce(&Scheduler) -> R) -> io::Result<R> {
    let outcome = SCHEDULER.try_with(|default| {
        if let Some(scheduler) = default.0.get() {
            return Ok(f(scheduler));
        }
        let scheduler = default.0.get_or_init({
            let made = Box::new(Scheduler::new()?);
            || made
        });
        // SAFETY: boxed, and taken out below before it goes.
        unsafe { set_default(&*scheduler.worker) };
        Ok(f(scheduler))
    });
    outcome.unwrap_or_else(|_| {
        Err(io::Error::other(
            "the thread is ending: it has no default scheduler any more",
        ))
    })
}

impl Drop for ThreadDefault {
    /// The thread ends. Its other thread-locals may be gone, so no task may run here: those that are left are
    /// abandoned.
    fn drop(&mut self) {
        if with_default(|_| ()).is_some() {
            // SAFETY: null is no worker.
            unsafe { set_default(ptr::null()) };
        }
        if let Some(scheduler) = self.0.take() {
            if scheduler.runs_here() {
                // A task has called `exit`: its loop and its stack are still in use below us.
                std::mem::forget(scheduler);
                return;
            }
            if !scheduler.worker.is_finished() {
                scheduler.abandon();
            }
        }
    }
}
