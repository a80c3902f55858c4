//! The face of the machine: [`Scheduler`], its [`Builder`] and its [`Handle`].
//!
//! 1. A scheduler is dropped on the thread that made it, and its first worker with it. The threads of the others have
//!    ended before.
//! 2. If that happens inside of its own loop, in a task that has the last `Rc` of it, say, its worker is leaked: the loop
//!    goes on below.

use super::crew::Crew;
use super::defiance::{Watch, PAUSE};
use super::fibers;
use super::header::{Header, CX};
use super::home::Message;
use super::mates::Mates;
use super::orders::Orders;
use super::reactor::Patience;
use super::simulation::Seed;
use super::watchdog::{Hook, Sight, Stall, Watchdog};
use super::worker::{set_default, with_default, with_running, Worker};
use crate::error::{report, Deadlock};
use crate::sys::thread::processors;
use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

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
/// error: it never goes on, and its memory is not used again. So are tasks that go on although they were cancelled, when
/// nothing else is left for a tenth of a second: those that [catch](std::panic::catch_unwind) the unwinding again and again,
/// and in a build with `panic = "abort"` those that wait in what cannot fail.
///
/// Dropped by a task of its own, a scheduler cancels the others and does not wait: they end if its loop goes on, which it
/// does for as long as somebody waits for a task of it.
pub struct Scheduler {
    /// There until it is dropped.
    worker: ManuallyDrop<Box<Worker>>,
    /// There until it is dropped.
    mates: Option<Mates>,
    crew: Arc<Crew>,
    _watchdog: Option<Watchdog>,
    /// A scheduler belongs to its thread.
    _not_send: PhantomData<*mut ()>,
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
            workers: 1,
            spin: None,
            pinned: false,
            traces: false,
            watchdog: None,
            on_stall: Hook::default(),
            seed: Seed::NONE,
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
            Some(timeout) => self
                .worker
                .now()
                .checked_add(timeout)
                .map_or(Patience::Forever, Patience::Until),
            None => Patience::Forever,
        })
    }

    /// How many tasks there are, and what they wait for.
    ///
    /// Looks at every task that is suspended. Of several workers each is asked when it comes round, and the call blocks
    /// until they have answered, for as long as the longest of the tasks that run there goes on without waiting.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let answers = self.worker.ask_all(Worker::counts);
        // Not before: a worker that answers has counted out the tasks whose end others have seen.
        stats.live = self.worker.live();
        for counts in answers {
            stats.runnable += counts.runnable;
            stats.io += counts.io;
            stats.timers += counts.timers;
            stats.tasks += counts.others;
        }
        stats
    }

    /// A handle for other threads, and for tasks.
    pub fn handle(&self) -> Handle {
        Handle {
            crew: self.crew.clone(),
        }
    }

    /// How many workers it has: the number that the builder was given.
    pub fn workers(&self) -> usize {
        self.crew.homes().len()
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
        self.crew.name()
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
        self.crew.refuse_others();
        self.shut_down(None);
        // Else whoever defies is ready, here, and the loop comes round by itself.
        if cfg!(panic = "abort") || self.workers() > 1 {
            self.worker.hurry(PAUSE);
        }
        let watch = Watch::new();
        let is_over = || self.worker.is_finished() || watch.sees_defiance(&self.worker);
        let why = match self.worker.run_until(is_over) {
            Ok(()) if self.worker.is_finished() => return true,
            Ok(()) => "go on although they were cancelled",
            Err(_) => "will never end",
        };
        let headline =
            format!("a scheduler was dropped, and these tasks {why}; they are abandoned:");
        report(format_args!("{}", self.worker.report(&headline)));
        false
    }

    /// Cancels all tasks but the one that is spared, and those that come.
    fn shut_down(&self, spared: Option<&'static Header>) {
        for home in self.crew.mates() {
            home.send(Message::Shutdown(spared));
        }
        self.worker.shut_down(spared);
    }

    /// Leaves what is below on this thread as it is: by 2 it is leaked.
    #[cold]
    fn leave_to_its_loop(&mut self) {
        self.crew.refuse_others();
        self.shut_down(CX.with(|cx| cx.task.get()));
        // The mates go when they have no task; nobody waits for them.
        self.crew.end();
        std::mem::forget(self.mates.take());
    }

    /// Lets the mates end. A task that came from elsewhere in the last moment may be there; it is cancelled, and what its
    /// destructors wait for may be here.
    fn dismiss(&self, mates: Mates) {
        self.crew.refuse_others();
        self.shut_down(None);
        self.crew.end();
        if self
            .worker
            .run_until(|| self.crew.have_mates_left())
            .is_err()
        {
            self.abandon();
        }
        mates.part();
    }

    fn abandon(&self) {
        self.crew.haunt();
        self.worker.ask_all(Worker::abandon);
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if self.runs_here() {
            return self.leave_to_its_loop();
        }
        // Tasks that were abandoned must not run again, though a late waker may have sent one here.
        if !self.crew.is_haunted() && !self.worker.is_finished() && !self.wind_up() {
            self.abandon();
        }
        if let Some(mates) = self.mates.take() {
            self.dismiss(mates);
        }
        self.crew.close();
        self.worker.refuse_rest();
        // SAFETY: the loop is over, and nothing uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.worker) };
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("name", &self.name())
            .field("workers", &self.workers())
            .field("live", &self.worker.live())
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
    workers: usize,
    spin: Option<Duration>,
    pinned: bool,
    traces: bool,
    watchdog: Option<Duration>,
    on_stall: Hook,
    seed: Seed,
}

/// More workers than any machine has processors.
const MOST_WORKERS: usize = 1024;
/// About what it takes to put a thread to sleep and wake it.
const SPIN: Duration = Duration::from_micros(30);

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

    /// Sets the number of workers, one unless told otherwise.
    ///
    /// Each is a thread with tasks of its own. The first is the thread that makes the scheduler, and works while
    /// that one is in [`run`](Scheduler::run), [`turn`](Scheduler::turn) or
    /// [`block_on`](Scheduler::block_on). The others are threads of the library's, which work from the first such call on
    /// until the scheduler is dropped, also between such calls. A task that has begun stays on its worker; one that was
    /// spawned by [`spawn`](crate::spawn) and has not begun goes to whichever worker has nothing to do. The guide's
    /// chapter on several cores says what that means.
    ///
    /// ```
    /// use multitask::Scheduler;
    /// use std::{collections::HashSet, thread};
    ///
    /// let scheduler = Scheduler::builder().workers(2).build()?;
    /// let seen = scheduler.block_on(|| {
    ///     let places = [0, 1].map(|worker| {
    ///         multitask::Handle::current().unwrap().spawn_on(worker, || thread::current().id())
    ///     });
    ///     HashSet::from(places.map(|place| place.join().unwrap()))
    /// });
    /// assert_eq!(seen.len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// As many workers as the process may use processors: [`std::thread::available_parallelism`], or one where that is
    /// not known.
    pub fn workers_per_core(self) -> Self {
        let cores = cores();
        self.workers(cores)
    }

    /// Keeps each worker on a processor of its own, as far as there are enough: the calling thread, too, from `build` on.
    /// They are not pinned unless this is asked for. A thread that a pinned one starts is where that one is, unless it is one
    /// of the library's. On Linux only.
    pub fn pin_workers(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Sets for how long a worker that has nothing to do looks round before it sleeps. Zero is not at all.
    ///
    /// To be woken takes a thread some 10 to 50 microseconds. A worker that spins sees at once what comes, and uses a
    /// processor meanwhile. So it spins only while it finds that what it waits for comes within that time, more often than
    /// not; and of one scheduler's workers only one does. The default is 30 microseconds, and zero where the
    /// process may use one processor only.
    pub fn spin(mut self, limit: Duration) -> Self {
        self.spin = Some(limit);
        self
    }

    /// Has each task remember since when it waits, for [dumps](crate::dump). It is not remembered unless this is asked for: each
    /// wait reads the clock then, which takes a task longer than to be switched to and back.
    ///
    /// ```
    /// use multitask::{task, Scheduler};
    /// use std::time::Duration;
    ///
    /// let scheduler = Scheduler::builder().trace_waits(true).build()?;
    /// scheduler.spawn(|| task::park());
    /// scheduler.turn(Some(Duration::ZERO))?;
    /// assert!(scheduler.dump().tasks()[0].waiting_for().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trace_waits(mut self, traced: bool) -> Self {
        self.traces = traced;
        self
    }

    /// Has a thread look on, and report each task that goes on for longer than `allowed` without waiting, so that no other task
    /// of its worker runs: once while it does, and once more, with a backtrace of where it came to wait, when it does no more.
    /// The report goes to standard error, or to [`on_stall`](Builder::on_stall).
    ///
    /// With the feature `stall-backtrace` the first report, too, has [a backtrace](Stall::backtrace): of where the task is, whatever it is in the middle of. For that its thread is sent
    /// a `SIGURG`, once in each stall, for which `build` installs a handler that stays. System calls that are never restarted (`poll`, `epoll_wait`,
    /// `nanosleep`: see signal(7)) may end with `EINTR` by that, in a task that stalls. The guide's chapter on what is wrong says more.
    ///
    /// Nobody sights unless this is asked for. A worker that is watched takes some 100 nanoseconds longer to let a task go on, and the
    /// thread looks four times in the time that is allowed.
    ///
    /// ```
    /// use multitask::Scheduler;
    /// use std::{sync::mpsc, thread, time::Duration};
    ///
    /// let (tell, stalls) = mpsc::channel();
    /// let scheduler = Scheduler::builder()
    ///     .watchdog(Duration::from_millis(10))
    ///     .on_stall(move |stall| tell.send(stall.clone()).unwrap())
    ///     .build()?;
    /// scheduler.spawn(move || {
    ///     let stall = stalls.recv().unwrap(); // std's channel: this blocks the worker until it is reported
    ///     assert!(!stall.is_over() && stall.lasted() >= Duration::from_millis(10));
    /// });
    /// scheduler.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watchdog(mut self, allowed: Duration) -> Self {
        self.watchdog = Some(allowed);
        self
    }

    /// Sets what is called with each report of the [watchdog](Builder::watchdog), on the thread that looks on, which does not look
    /// meanwhile.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.on_stall = Hook::new(hook);
        self
    }

    /// # Errors
    /// The process is out of descriptors or threads; `InvalidInput`: the stack size is above 1 GiB, or there are no
    /// workers, or more than 1,024, or a watchdog that allows no time; `Unsupported`: workers cannot be pinned here.
    pub fn build(self) -> io::Result<Scheduler> {
        if self.workers == 0 || self.workers > MOST_WORKERS {
            let message = format!(
                "a scheduler has 1 to {MOST_WORKERS} workers, not {}",
                self.workers
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if self.seed.is_some() && self.workers > 1 {
            let message = "a scheduler whose order is drawn has one worker";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let orders = Orders {
            stack_size: fibers::rounded(self.stack_size)?,
            spin: self.spin.unwrap_or_else(default_spin),
            traces: self.traces,
            sights: self.sights()?,
            name: self.name.clone(),
            processors: if self.pinned {
                processors()?
            } else {
                Vec::new()
            },
            seed: self.seed,
        };
        let worker = Worker::new(&orders, 0)?;
        let mut homes = vec![worker.home];
        let mates = match Mates::muster(self.workers - 1, &orders) {
            Ok((mates, theirs)) => {
                homes.extend(theirs);
                mates
            }
            Err(error) => {
                drop(worker);
                homes[0].recycle();
                return Err(error);
            }
        };
        let crew = Arc::new(Crew::new(homes, self.name));
        worker.join(crew.clone(), 0);
        // The threads that it starts from now on, other than the library's, are where it is.
        let pinned = orders.pin(0);
        mates.join(&crew);
        let mut scheduler = Scheduler {
            worker: ManuallyDrop::new(worker),
            mates: (self.workers > 1).then_some(mates),
            crew,
            _watchdog: None,
            _not_send: PhantomData,
        };
        pinned?;
        if let Some(allowed) = self.watchdog {
            let watchdog = Watchdog::start(orders.sights, allowed, self.on_stall)?;
            scheduler._watchdog = Some(watchdog);
        }
        Ok(scheduler)
    }
}

#[cfg(feature = "testing")]
impl Builder {
    /// Has the scheduler draw the order of its tasks, and go by a time of its own: see `simulation`.
    pub(crate) fn simulated(mut self, seed: u64) -> Self {
        self.seed = Seed(Some(seed));
        self
    }
}

impl Builder {
    /// One for each worker, if they are to be watched.
    fn sights(&self) -> io::Result<Vec<Arc<Sight>>> {
        match self.watchdog {
            None => Ok(Vec::new()),
            Some(Duration::ZERO) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a watchdog that allows no time would bark without end",
            )),
            Some(_) => Ok((0..self.workers).map(|_| Arc::default()).collect()),
        }
    }
}

fn default_spin() -> Duration {
    if cores() > 1 {
        SPIN
    } else {
        Duration::ZERO
    }
}

/// How many processors the process may use. Asked once: the answer takes reading several files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| available_parallelism().map_or(1, usize::from))
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
    crew: Arc<Crew>,
}

impl Handle {
    /// The handle of the scheduler whose task calls; `None` on a plain thread.
    ///
    /// ```
    /// use multitask::Handle;
    ///
    /// assert!(Handle::current().is_none());
    /// let workers = multitask::spawn(|| Handle::current().unwrap().workers());
    /// assert_eq!(workers.join().unwrap(), 1);
    /// ```
    pub fn current() -> Option<Handle> {
        with_running(|worker| Handle {
            crew: worker.crew().clone(),
        })
    }

    /// How many workers the scheduler has.
    pub fn workers(&self) -> usize {
        self.crew.homes().len()
    }

    /// The name that the scheduler's builder was given.
    pub fn name(&self) -> Option<&str> {
        self.crew.name()
    }

    /// Asks the scheduler to cancel all its tasks, and every one that is spawned from now on.
    ///
    /// Returns at once; the scheduler's `run` returns when the tasks have ended. Without effect if the scheduler is
    /// gone. [`shutdown`](Handle::shutdown) does the same and waits.
    pub fn cancel_all(&self) {
        for home in self.crew.homes() {
            self.crew.send(home, Message::Shutdown(None));
        }
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("name", &self.name())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
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
        unsafe { set_default(&**scheduler.worker) };
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
