//! Tests of programs that wait: time that passes only when every task waits, and an order of tasks that a seed repeats. With the
//! feature `testing`.
//!
//! A program that sleeps for a year is tested in a millisecond:
//!
//! ```
//! use multitask::time::{now, sleep, Duration};
//!
//! const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
//! multitask::testing::run(|| {
//!     let start = now();
//!     sleep(YEAR);
//!     assert_eq!(now() - start, YEAR); // to the nanosecond
//! });
//! ```
//!
//! # Time
//!
//! In the tasks of a [`Scheduler`] of this module all waits of this library, their time limits and
//! [`time::now`](crate::time::now) go by a clock that stands still while tasks run. When every task waits, and what is ready on descriptors
//! has been taken in, it leaps to the next moment that a task waits for. `std::time::Instant::now()` is not ours: it tells the
//! real time, as do `std::thread::sleep` and what other libraries wait for. So code that is to be tested asks `time::now`. Outside of the
//! tasks, the thread that runs the scheduler included, time is real; [`Scheduler::now`] tells that of its tasks there, and
//! a deadline that is given there is as far away for the tasks as it was for who gave it.
//!
//! A task that goes on without waiting, or that only yields, stops the clock.
//!
//! # What else takes time
//!
//! | | While it is under way |
//! |---|---|
//! | names looked up, calls on files, [`task::blocking`](crate::task::blocking) | the clock stands still: they take no time |
//! | a socket or a pipe, the other end of which is a task of the same scheduler | that is ready as soon as it was written to, so the clock leaps only when both wait |
//! | descriptors in general, children, signals, named pipes that are opened, futures of other runtimes | the clock leaps, so a time limit passes at once if what it is for is not there; hold it |
//! | other threads | the same, and a wait for them alone is taken for a deadlock; hold it |
//!
//! [`hold`] and [`Scheduler::hold`] stop the clock for as long as something else is to be waited for.
//!
//! # Order
//!
//! The next task to run is drawn among those that are ready, by a generator that begins with the scheduler's seed; so is the arm that a
//! `select` takes among several. The same program with the same seed runs in the same way, as far as it has no other source of chance
//! (the real time, other threads, a `HashMap`'s order, the network). A test that fails prints its seed, and with the environment's
//! `MULTITASK_SEED` it is run again with that one. [`explore`] tries many.
//!
//! # A deadlock
//!
//! Every task waits for another, nothing is held, and no descriptor is waited for: [`run`](crate::Scheduler::run) returns the
//! report at once, in a process with other threads too (as that of `cargo test`).

use crate::error::report;
use crate::rt::header::Why;
use crate::rt::park::{is_panicking, me, park, Mode, Outcome};
use crate::rt::scheduler::{Builder, Scheduler as Plain};
use crate::rt::simulation::{self, Simulation};
use crate::rt::waiter::Waiter;
use crate::rt::worker::with_running;
use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// What names the seed in the environment.
const SEED: &str = "MULTITASK_SEED";

/// A scheduler for tests, with one worker. It is a [`Scheduler`](crate::Scheduler) by `Deref`, with a clock and an order of its own: see
/// the [module](self).
///
/// If it is dropped by a panic it says on standard error by which seed the run is repeated.
///
/// # Examples
///
/// ```
/// use multitask::{sleep, testing, time::Duration};
/// use std::sync::{Arc, Mutex};
///
/// let scheduler = testing::Scheduler::new()?;
/// let done = Arc::new(Mutex::new(Vec::new()));
/// for hours in [3, 1, 2] {
///     let done = done.clone();
///     scheduler.spawn(move || {
///         sleep(Duration::from_secs(hours * 3600));
///         done.lock().unwrap().push(hours);
///     });
/// }
/// assert_eq!(scheduler.settle(), 3); // all three sleep
/// scheduler.advance(Duration::from_secs(2 * 3600));
/// assert_eq!(*done.lock().unwrap(), [1, 2]);
/// scheduler.run()?;
/// assert_eq!(scheduler.elapsed(), Duration::from_secs(3 * 3600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scheduler {
    plain: Plain,
    seed: u64,
    start: Instant,
}

impl Scheduler {
    /// One with the seed of the environment's `MULTITASK_SEED`, a number, or else with one that nobody has chosen.
    ///
    /// # Errors
    /// The process is out of descriptors; `InvalidInput`: `MULTITASK_SEED` is no number.
    pub fn new() -> io::Result<Self> {
        let seed = given_seed()?.unwrap_or_else(any_seed);
        Scheduler::with_seed(seed)
    }

    /// One that repeats the run of `seed`, whatever the environment says.
    ///
    /// # Errors
    /// The process is out of descriptors.
    ///
    /// ```
    /// use multitask::{testing::Scheduler, yield_now};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let order = |seed| {
    ///     let scheduler = Scheduler::with_seed(seed)?;
    ///     let order = Arc::new(Mutex::new(Vec::new()));
    ///     for n in 0..10 {
    ///         let order = order.clone();
    ///         scheduler.spawn(move || order.lock().unwrap().push(n));
    ///     }
    ///     scheduler.run()?;
    ///     let order = order.lock().unwrap().clone();
    ///     Ok::<_, Box<dyn std::error::Error>>(order)
    /// };
    /// assert_eq!(order(1)?, order(1)?);
    /// assert_ne!(order(1)?, order(2)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_seed(seed: u64) -> io::Result<Self> {
        Scheduler::build(Plain::builder(), seed)
    }

    /// One as `builder` says, with that seed.
    ///
    /// # Errors
    /// Those of the builder's [`build`](crate::SchedulerBuilder::build); `InvalidInput`: it asks for more than one worker.
    pub fn build(builder: Builder, seed: u64) -> io::Result<Self> {
        let plain = builder.simulated(seed).build()?;
        let start = plain.worker().now();
        Ok(Scheduler { plain, seed, start })
    }

    /// What repeats the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What time it is for the tasks.
    pub fn now(&self) -> Instant {
        self.plain.worker().now()
    }

    /// How much time has passed for the tasks since the scheduler was made.
    pub fn elapsed(&self) -> Duration {
        self.now() - self.start
    }

    /// Lets tasks run until every one waits, and says how many there are: zero if all have ended. No time passes, but what is under way
    /// and holds the clock is waited for.
    ///
    /// Called by a task of the scheduler it lets the others run until all of these wait: [`settle`].
    pub fn settle(&self) -> usize {
        if self.plain.runs_here() {
            settle();
            return self.plain.stats().live;
        }
        self.plain.worker().settle()
    }

    /// Lets so much time pass, with all that is due meanwhile, and then tasks run until every one waits.
    ///
    /// Called by a task of the scheduler it is a [`sleep`](crate::sleep).
    ///
    /// # Panics
    /// If no [`Instant`] is so late.
    pub fn advance(&self, by: Duration) {
        let end = self.now().checked_add(by);
        let end = end.expect("a moment that an `Instant` can tell");
        if self.plain.runs_here() {
            return crate::time::sleep_until(end);
        }
        self.plain.worker().run_to(end);
    }

    /// Stops the clock until what is returned is dropped: see [`hold`].
    pub fn hold(&self) -> Hold {
        hold_in(self.plain.worker().simulation())
    }
}

impl Deref for Scheduler {
    type Target = Plain;

    fn deref(&self) -> &Plain {
        &self.plain
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if is_panicking() {
            report(format_args!("this run is repeated by {SEED}={}", self.seed));
        }
    }
}

// ---- runs ----

/// Calls `f` as a task of a new [`Scheduler`], and returns what it returns. Tasks that are left then are cancelled.
///
/// # Panics
/// With what `f` panics with; if it waits for what can never happen; if the process is out of descriptors, or `MULTITASK_SEED` is no
/// number.
///
/// ```
/// use multitask::{sync::mpsc, testing, time::Duration, timeout, Timeout};
///
/// let (_sender, receiver) = mpsc::channel::<()>();
/// let outcome = testing::run(|| timeout(Duration::from_secs(3600), || receiver.recv()));
/// assert_eq!(outcome, Err(Timeout));
/// ```
#[track_caller]
pub fn run<T>(f: impl FnOnce() -> T) -> T {
    expect_made(Scheduler::new()).block_on(f)
}

/// As [`run`], with that seed, whatever the environment says.
///
/// # Panics
/// As [`run`].
#[track_caller]
pub fn run_with_seed<T>(seed: u64, f: impl FnOnce() -> T) -> T {
    expect_made(Scheduler::with_seed(seed)).block_on(f)
}

/// As [`run`], so many times, each with another seed: what goes wrong in one order of many is found. With `MULTITASK_SEED` it runs once,
/// with that one.
///
/// # Panics
/// As [`run`].
///
/// ```
/// use multitask::{task, testing, yield_now};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// let lost = AtomicU32::new(0);
/// testing::explore(100, || {
///     let count = AtomicU32::new(0);
///     task::scope(|scope| {
///         for _ in 0..2 {
///             scope.spawn(|| {
///                 let seen = count.load(Relaxed);
///                 yield_now(); // the other may come in here
///                 count.store(seen + 1, Relaxed);
///             });
///         }
///     });
///     lost.fetch_add(2 - count.load(Relaxed), Relaxed);
/// });
/// assert!((1..100).contains(&lost.load(Relaxed))); // in some orders, not in all
/// ```
#[track_caller]
pub fn explore(runs: usize, mut f: impl FnMut()) {
    if let Some(seed) = expect_made(given_seed()) {
        return run_with_seed(seed, f);
    }
    let first = any_seed();
    for run in 0..runs as u64 {
        run_with_seed(first.wrapping_add(run), &mut f);
    }
}

#[track_caller]
fn expect_made<T>(made: io::Result<T>) -> T {
    made.unwrap_or_else(|error| panic!("no scheduler for a test: {error}"))
}

fn given_seed() -> io::Result<Option<u64>> {
    let Some(given) = env::var_os(SEED) else {
        return Ok(None);
    };
    let seed = given.to_str().and_then(|given| given.parse().ok());
    let error = || {
        let message = format!("{SEED} is {given:?}, which is no number of 64 bits");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    seed.map(Some).ok_or_else(error)
}

/// One that is another each time.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

// ---- for the tasks ----

/// Waits until every other task of the scheduler waits, and no call that blocks is under way. No time passes.
///
/// Suspends the calling task, if another is ready. Several that wait so go on together.
///
/// # Panics
/// If the caller is not a task of a [`Scheduler`] of this module.
///
/// ```
/// use multitask::{spawn, sync::Event, testing};
/// use std::sync::Arc;
///
/// testing::run(|| {
///     let event = Arc::new(Event::new());
///     let waits = event.clone();
///     let task = spawn(move || waits.wait());
///     testing::settle();
///     assert!(!task.is_finished()); // it has come to wait
///     event.set();
///     testing::settle();
///     assert!(task.is_finished());
/// });
/// ```
#[track_caller]
pub fn settle() {
    in_simulation(|_| ());
    let waiter = Waiter::here();
    in_simulation(|simulation| simulation.when_settled(Box::new(move || _ = waiter.wake())));
    // What cannot be raised is not listened to: then the wait goes on.
    let outcome = park(waiter, None, Why::Settle, Mode::Infallible);
    debug_assert_eq!(outcome, Outcome::Woken);
}

/// Stops the clock of the calling task's scheduler until what is returned is dropped, by whatever thread: for what happens outside of it
/// and is to take no time, and for a thread that will wake a task.
///
/// # Panics
/// If the caller is not a task of a [`Scheduler`] of this module.
///
/// ```
/// use multitask::{sync::mpsc, testing, time::Duration};
///
/// testing::run(|| {
///     let (sender, receiver) = mpsc::channel();
///     let hold = testing::hold();
///     let thread = std::thread::spawn(move || {
///         sender.send("at last").unwrap();
///         drop(hold); // after that, or the clock may leap before it
///     });
///     assert_eq!(receiver.recv_timeout(Duration::from_nanos(1)), Ok("at last"));
///     thread.join().unwrap();
/// });
/// ```
#[track_caller]
pub fn hold() -> Hold {
    in_simulation(hold_in)
}

/// The clock stands still until this is dropped; made by [`hold`] and [`Scheduler::hold`].
#[derive(Debug)]
#[must_use = "the clock goes on when it is dropped"]
pub struct Hold {
    _hold: Option<simulation::Hold>,
}

fn hold_in(simulation: &Simulation) -> Hold {
    Hold {
        _hold: simulation.hold(false),
    }
}

/// A number below `end`, drawn by the generator that draws the order; zero if `end` is. For tests that need numbers that a seed
/// repeats.
///
/// # Panics
/// If the caller is not a task of a [`Scheduler`] of this module.
///
/// ```
/// use multitask::testing::{draw, run_with_seed};
///
/// let numbers = || [draw(1000), draw(1000), draw(1000)];
/// assert_eq!(run_with_seed(5, numbers), run_with_seed(5, numbers));
/// ```
#[track_caller]
pub fn draw(end: usize) -> usize {
    in_simulation(|simulation| simulation.draw(end)).unwrap_or_default()
}

/// Calls `f`, and says how often it has suspended its task.
///
/// # Panics
/// If the caller is not a task of a [`Scheduler`] of this module.
#[track_caller]
pub fn count_switches<T>(f: impl FnOnce() -> T) -> (usize, T) {
    struct Watch(u64);
    impl Watch {
        fn end(&self) -> usize {
            let runs = with_running(|worker| worker.simulation().unwatch(self.0));
            runs.unwrap_or_default()
        }
    }
    impl Drop for Watch {
        fn drop(&mut self) {
            self.end();
        }
    }
    let watch = in_simulation(|simulation| simulation.watch(me().id()));
    let watch = Watch(watch.unwrap_or_default());
    let value = f();
    (watch.end(), value)
}

/// Calls `f`, and checks how often it has suspended its task: whether a lock was free, a message was there, an operation lets others
/// run.
///
/// # Panics
/// If it was another number of times; or if the caller is not a task of a [`Scheduler`] of this module.
///
/// ```
/// use multitask::{sync::mpsc, testing, testing::assert_switches, yield_now};
///
/// testing::run(|| {
///     let (sender, receiver) = mpsc::channel();
///     assert_switches(0, || sender.send(1).unwrap());
///     assert_switches(0, || receiver.recv().unwrap()); // it is there
///     multitask::spawn(move || sender.send(2).unwrap());
///     assert_switches(1, || receiver.recv().unwrap());
///     assert_switches(2, || [yield_now(), yield_now()]);
/// });
/// ```
#[track_caller]
pub fn assert_switches<T>(expected: usize, f: impl FnOnce() -> T) -> T {
    let (switches, value) = count_switches(f);
    assert!(
        switches == expected,
        "it has suspended its task {switches} times, not {expected}"
    );
    value
}

/// Calls `f` with the simulation of the scheduler whose task calls.
#[track_caller]
fn in_simulation<R>(f: impl FnOnce(&Simulation) -> R) -> R {
    let is_task = !me().is_thread();
    let found = with_running(|worker| {
        let simulation = worker.simulation();
        (is_task && simulation.is_on()).then(|| f(simulation))
    });
    match found.flatten() {
        Some(value) => value,
        None => panic!("called outside of the tasks of a `testing::Scheduler`"),
    }
}
