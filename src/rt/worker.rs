//! A worker: the loop that runs tasks, fires timers and polls descriptors, on one thread.
//!
//! 1. A worker belongs to the thread that made it; its loop runs there and nowhere else (`Worker` is not `Send`).
//! 2. While the loop runs, `CX.home` and `WORKER` point to this worker, and `CX.task` to the task that runs, if one
//!    does. A loop inside another one (a scheduler run by a task of another) puts back what it found.
//! 3. A task that has not been suspended yet runs on the fiber in the *seat*. If it ends, the fiber goes on with the
//!    next unstarted task without leaving its stack. If it suspends, the fiber moves into the task's header, and
//!    stays there until the task has ended. So a short task moves no fiber, and a suspended one is found with
//!    its header. Both are resumed by the loop, or in its place by a task that joins or yields, if there is but one other: see `instead`.
//!    If the seat is empty the loop runs the next one on a fiber that it has fetched, and which is in the seat only when it is free.
//! 4. A header's own reference is given up by the loop (or by the fiber in the seat) when no fiber is in it. Of most tasks that have
//!    been suspended the loop does all that there is to do at the end: see `leave`.
//! 5. Descriptors are polled after at most [`QUOTA`] task runs, fewer if these take long (see `pace`), timers looked at as often: see `look`.
//!
//! 6. Of several workers one is the *captain*: see `crew`. How they share the work is in `share`.
//!
//! 7. In a scheduler that is [simulated](super::simulation) there is one worker, which draws what runs next, and fires timers at the time that
//!    it has made itself, in `leap`. How long it polls is always of the system's time.
//!
//! The loop's order: run what is ready, first in first out; take in what other threads sent; fire timers, whose tasks go
//! first; poll. With nothing ready, look for what others have; spin; sleep.

mod instead;
mod look;
mod simulated;
mod told;

use super::crew::Crew;
use super::fiber::{Fiber, Switch};
use super::fibers::Fibers;
use super::header::{Birth, Header, Why, CX};
use super::home::{idle, Entry, Errand, Home, Message};
use super::job::{Payload, Stage};
use super::orders::Orders;
use super::overflow;
use super::pace::{self, Pace};
use super::portrait::Portrait;
use super::reactor::{self, Patience, Reactor};
use super::share::{Share, Spin};
use super::simulation::{self, Here, Hold, Simulation};
use super::span;
use super::tally::{count_in, Tally};
use super::timer::{Key, Timers};
use super::waiter::Waiter;
use super::watchdog::Sight;
use super::{aside, bias, clock};
use crate::base::list::List;
use crate::error::{Deadlock, JoinError};
use crate::sys::mem::{prefetch, LINE};
use crate::sys::thread::thread_count;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::io;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Task runs between two looks at descriptors and timers, at the most.
pub(super) const QUOTA: u32 = pace::MOST;
const _: () = assert!(reactor::BATCH == QUOTA as usize);
/// Tasks put before others in one pass.
const JUMPS: u32 = 4 * QUOTA;
/// For how long that goes on.
const SLICE: Duration = Duration::from_millis(2);
/// For how many runs ahead the stack of a task is fetched; for twice as many its header.
const AHEAD: usize = 8;
/// For how many tasks ahead that begin on a stack of their own that is fetched,
const STARTS_AHEAD: usize = 4;
/// and how many lines of it.
const FIRST_LINES: usize = 6;
/// So many tasks that take turns do not fit into the caches.
const MANY: usize = 4096;
/// Nor do so many with what the system touches for their descriptors.
const MANY_WAITING: usize = 64;
/// Messages of other threads taken in at a time.
const MESSAGES: u32 = 1024;
/// Operations that a task may do without waiting before it has to let others run.
pub(super) const BUDGET: u32 = 128;
/// How long a worker on which nothing can happen waits before it first asks whether another thread could wake it,
/// and then between such questions.
const DOUBT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// See the head of this file.
pub(crate) struct Worker {
    pub(crate) home: &'static Home<Header>,
    pub(crate) reactor: Reactor,
    timers: Timers,
    fibers: RefCell<Fibers>,
    /// The fiber for tasks that have not been suspended yet.
    seat: UnsafeCell<Option<Fiber>>,
    /// A task that stands still with an unwinding that is to be set aside, if it is not the one that was resumed.
    unwinds: Cell<Option<&'static Header>>,
    /// What the task that was asked to show itself has shown.
    posed: Cell<Option<Backtrace>>,
    /// Its tasks remember when their waits begin.
    traces: bool,
    /// Where it says what it runs, if it is watched.
    sight: Option<Arc<Sight>>,
    /// The tasks that have been suspended and have not ended.
    suspended: List<Header>,
    /// Until when tasks may be put before all others, while they are.
    slice: Cell<Option<Instant>>,
    next_trim: Cell<Option<Instant>>,
    /// The tasks that are left were abandoned.
    gave_up: Cell<bool>,
    /// The captain comes round at least so often; see `defiance`.
    pause: Cell<Option<Duration>>,
    /// The loop runs on this thread, here or below other loops.
    entered: Cell<bool>,
    share: Share,
    pace: Pace,
    /// The end of the queue when those whom a poll had woken were put before it.
    overtaken: Cell<usize>,
    spin: Spin,
    /// Its time and its order, if they are those of a test.
    simulation: Simulation,
    /// The worker of this thread that was made before.
    next: Cell<*const Worker>,
}

thread_local! {
    /// The worker whose loop runs on this thread.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// The worker of this thread's default scheduler.
    static DEFAULT: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// All workers of this thread, linked by `next`.
    static FIRST: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    static HAS_SIGNAL_STACK: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` with the worker whose loop runs on this thread.
#[inline]
pub(crate) fn with_running<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    let worker = WORKER.with(Cell::get);
    // SAFETY: a worker outlives its loop.
    unsafe { worker.as_ref() }.map(f)
}

/// Calls `f` with the worker of this thread's default scheduler, if it has one.
pub(crate) fn with_default<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    let worker = DEFAULT.with(Cell::get);
    // SAFETY: the default scheduler takes itself out before it goes.
    unsafe { worker.as_ref() }.map(f)
}

/// Calls `f` with the worker of `home` if it belongs to this thread.
pub(crate) fn with_local<R>(home: &Home<Header>, f: impl FnOnce(&Worker) -> R) -> Option<R> {
    let mut at = FIRST.with(Cell::get);
    // SAFETY: a worker takes itself out of this list before it goes.
    while let Some(worker) = unsafe { at.as_ref() } {
        if ptr::eq(worker.home, home) {
            return Some(f(worker));
        }
        at = worker.next.get();
    }
    None
}

/// Makes `worker` the one of this thread's default scheduler.
///
/// # Safety
/// It stays where it is until it is replaced.
pub(crate) unsafe fn set_default(worker: *const Worker) {
    DEFAULT.with(|default| default.set(worker));
}

/// How many tasks wait for what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) runnable: usize,
    pub(crate) io: usize,
    pub(crate) timers: usize,
    pub(crate) others: usize,
}

/// How a worker stands while its scheduler is dropped; see `defiance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// All tasks that have begun and not ended defy.
    pub(super) defiant: bool,
    /// How many of its tasks are ready.
    pub(super) ready: usize,
    /// How many have ended so far.
    pub(super) ended: usize,
}

/// Whether a task, which stands still, goes on although it was cancelled: see `defiance`.
fn defies(task: &'static Header) -> bool {
    let waits_for_others = task.why.get() == Why::Scope && Waiter::current(task).is_some();
    let unwinds = task.aside.get() != 0;
    task.is_cancelled() && (waits_for_others || !unwinds && !task.scopes.shielded())
}

impl Worker {
    /// # Errors
    /// The process is out of descriptors.
    ///
    /// It has to [`join`](Worker::join) a crew before it is used.
    pub(super) fn new(orders: &Orders, number: usize) -> io::Result<Box<Self>> {
        overflow::install(describe);
        bias::prepare();
        clock::prepare();
        let reactor = Reactor::new()?;
        let bell = reactor.bell()?;
        let home = Home::open(bell);
        let timers = Timers::new(orders.seed.is_some());
        let simulation = Simulation::new(orders.seed, timers.start(), || _ = home.nudge());
        let worker = Box::new(Worker {
            home,
            reactor,
            timers,
            fibers: RefCell::new(Fibers::new(orders.stack_size, body)),
            seat: UnsafeCell::new(None),
            unwinds: Cell::new(None),
            posed: Cell::new(None),
            traces: orders.traces,
            sight: orders.sights.get(number).cloned(),
            suspended: List::new(),
            slice: Cell::new(None),
            next_trim: Cell::new(None),
            gave_up: Cell::new(false),
            pause: Cell::new(None),
            entered: Cell::new(false),
            share: Share::new(home),
            pace: Pace::new(),
            overtaken: Cell::new(home.queue_end()),
            spin: Spin::new(orders.spin),
            simulation,
            next: Cell::new(FIRST.with(Cell::get)),
        });
        FIRST.with(|first| first.set(&*worker));
        Ok(worker)
    }

    /// Makes it the worker of its number in a crew; once.
    pub(super) fn join(&self, crew: Arc<Crew>, number: usize) {
        self.share.join(crew, number);
    }

    #[inline]
    pub(crate) fn crew(&self) -> &Arc<Crew> {
        self.share.crew()
    }

    // ---- what schedulers and parked threads call ----

    /// Runs the loop until `done`, looked at after each task run.
    ///
    /// # Errors
    /// Nothing can ever happen again, and `done` is not.
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) -> Result<(), Deadlock> {
        let _running = self.enter();
        let _manned = self.man();
        // What was sent before comes first: a task that was cancelled before the loop began never starts.
        self.receive();
        let mut doubt = DOUBT.0;
        while !done() && !self.run_ready(&done) {
            self.receive();
            if done() {
                break;
            }
            if self.has_ready() || self.share.seek(&self.fibers) {
                self.glance();
                continue;
            }
            if self.leap(None) {
                continue;
            }
            let (patience, hopeless) = self.patience(doubt);
            let slept = self.look(patience, hopeless, &done);
            if !hopeless || !self.share.is_captain() {
                doubt = DOUBT.0;
            } else if slept && self.is_quiet() {
                // Another thread may have sent something and ended in between: quiet counts if we were alone before.
                // And what we wait for may have come by the last thing that another worker did.
                if self.is_alone() && self.is_quiet() && !done() {
                    return Err(self.deadlock());
                }
                doubt = DOUBT.1;
            }
        }
        self.leave();
        Ok(())
    }

    /// The loop is left: what came goes where others can have it, and who waits for its end is told.
    fn leave(&self) {
        if self.home.shares.get() {
            self.receive();
            self.share.leave();
        }
        self.crew().tell_watchers();
    }

    /// One pass: polls, fires timers, and runs what is ready then; waits for that as long as `patience` says if
    /// nothing is. Returns the number of task runs.
    ///
    /// # Errors
    /// It would wait for ever, and nothing can ever happen again.
    pub(crate) fn turn(&self, patience: Patience) -> Result<usize, Deadlock> {
        let _running = self.enter();
        let _manned = self.man();
        self.receive();
        if self.has_ready() || self.live() == 0 || self.share.seek(&self.fibers) {
            self.look(Patience::None, false, || false);
        } else if self.leap_within(patience) {
            // What was due has come.
        } else if patience == Patience::Forever && self.is_quiet() {
            while self.is_quiet() && self.live() > 0 && !self.share.seek(&self.fibers) {
                if self.is_alone() && self.is_quiet() && self.live() > 0 {
                    return Err(self.deadlock());
                }
                let doubt = Patience::Until(Instant::now() + DOUBT.1);
                self.look(doubt, true, || self.live() == 0);
            }
        } else {
            self.look(self.nearest(patience), false, || self.live() == 0);
        }
        // All that are due, not as many as have a turn: a pass is as long as it has to be.
        self.fire();
        self.receive();
        // SAFETY: this is the home thread.
        let ready = unsafe { self.home.ready() };
        // No quota: a new task that ends does not take the next one along, so that each run is counted.
        self.home.begin_pass(0, 0);
        self.share.pass_on();
        let mut runs = 0;
        for left in (1..=ready).rev() {
            self.share.tell();
            if let Some(task) = self.pop_among(left) {
                self.step_seen(task);
                runs += 1;
            }
        }
        self.leave();
        Ok(runs)
    }

    /// Whether the loop runs: it must not be run again from inside.
    pub(crate) fn is_entered(&self) -> bool {
        self.entered.get()
    }

    /// How many tasks the scheduler has; with several workers at the most, but none if it says so.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.crew().live()
    }

    /// Whether the scheduler has no task left.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        // Counted only when there is nothing to do here.
        !self.has_ready() && self.live() == 0
    }

    /// Makes a task of this worker, or of another one if it may begin `anywhere` and that is better so. It runs after all
    /// that are ready.
    ///
    /// # Errors
    /// `OutOfMemory`: there is no stack for it.
    ///
    /// # Safety
    /// `job` gives the header something to run that is as the birth says. The caller is on the worker's thread.
    #[inline(always)]
    pub(crate) unsafe fn spawn(
        &self,
        birth: Birth,
        job: impl FnOnce(&'static Header),
    ) -> io::Result<&'static Header> {
        // A stack of another size was promised here.
        let anywhere = birth.anywhere && birth.stack_size == 0 && self.home.shares.get();
        if anywhere {
            if let Some(home) = self.share.elsewhere() {
                // SAFETY: this is the home thread of a home.
                let task = unsafe { Header::new_at(home, self.home, birth) };
                job(task);
                self.home.count_spawned();
                self.crew().send(home, Message::Spawn(task));
                return Ok(task);
            }
        }
        self.promise(birth.stack_size)?;
        // SAFETY: this is the home thread.
        let task = unsafe { Header::new_at(self.home, self.home, birth) };
        job(task);
        self.home.count_spawned();
        self.share.line_up(task, anywhere);
        if anywhere && !self.entered.get() {
            // It may be long before the loop runs.
            self.share.tell();
        }
        Ok(task)
    }

    /// Promises a stack for a task of this size.
    ///
    /// # Errors
    /// `OutOfMemory`.
    #[inline]
    pub(crate) fn promise(&self, stack_size: u32) -> io::Result<()> {
        self.fibers.borrow_mut().promise(stack_size)
    }

    /// Interrupts `waiter` once `deadline` has passed.
    pub(super) fn arm(&self, deadline: Instant, waiter: Waiter) -> Key {
        self.timers.arm(deadline, waiter)
    }

    pub(super) fn disarm(&self, key: Key) {
        self.timers.disarm(key);
    }

    /// Cancels all tasks but the one that is spared, and those that come.
    pub(crate) fn shut_down(&self, spared: Option<&'static Header>) {
        let is_meant = |task: &Header| !spared.is_some_and(|spared| ptr::eq(spared, task));
        let _running = self.enter();
        self.home.closing.set(true);
        // SAFETY: this is the home thread; `cancel` makes tasks ready, which does not touch this list.
        unsafe {
            self.suspended.for_each(|task| {
                if is_meant(task) {
                    cancel_here(task);
                }
            });
        };
        // SAFETY: this is the home thread, and puts at the end what it keeps for itself.
        for _ in 0..unsafe { self.home.ready() } {
            if let Some(task) = self.pop() {
                if is_meant(task) {
                    task.set_cancelled();
                }
                // SAFETY: as above.
                unsafe { self.home.push(task) };
            }
        }
    }

    /// Runs the loop until no more tasks are left than so many, or `deadline` has passed.
    pub(crate) fn run_out(&self, tasks: usize, deadline: Instant) {
        while !self.crew().is_at_most(tasks) && self.now() < deadline {
            // It does not wait for ever.
            let _runs = self.turn(Patience::Until(deadline));
        }
    }

    /// See `defiance`.
    pub(super) fn stand(&self) -> Stand {
        let mut defiant = true;
        // SAFETY: this is the home thread, which only looks.
        unsafe { self.suspended.for_each(|task| defiant &= defies(task)) };
        Stand {
            defiant,
            // SAFETY: this is the home thread.
            ready: unsafe { self.home.ready() },
            ended: self.home.ended(),
        }
    }

    /// From now on the loop comes round at least once in a `pause`.
    pub(super) fn hurry(&self, pause: Duration) {
        self.pause.set(Some(pause));
    }

    /// The life of a mate.
    pub(super) fn serve(&self) {
        let crew = self.crew();
        let ready = || crew.has_begun() || crew.is_over();
        while !ready() {
            self.home
                .doze(ready, || self.reactor.poll(Patience::Forever));
        }
        let done = || self.gave_up.get() || crew.is_over() && self.has_no_task();
        if self.run_until(done).is_err() {
            unreachable!("a mate does not judge what is a deadlock");
        }
        self.refuse_rest();
    }

    /// Refuses the tasks that came as the loop was left for good, and which nobody will begin.
    pub(super) fn refuse_rest(&self) {
        while let Some(task) = self.pop() {
            // One that was abandoned, and woken later, stays as it is.
            if !task.housed.get() {
                let stack_size = task.stack_size();
                self.home.tally().count_end(&JoinError::Cancelled);
                task.refuse(JoinError::Cancelled);
                self.count_out(stack_size);
            }
        }
    }

    fn has_no_task(&self) -> bool {
        !self.has_ready() && self.home.housed() == 0 && self.home.inbox().is_empty()
    }

    // ---- the loop ----

    /// Runs tasks until `done` (true), until none is ready or it is time to poll (false).
    #[inline]
    fn run_ready(&self, done: &impl Fn() -> bool) -> bool {
        if self.simulation.is_on() {
            return self.run_ready_drawn(done);
        }
        if self.has_ready() {
            self.share.pass_on();
        }
        self.begin_pass();
        if let Some(sight) = &self.sight {
            return self.run_ready_watched(sight, done);
        }
        if self.is_far() {
            self.run_ready_far(done)
        } else {
            self.run_pass(done, || ())
        }
    }

    /// As `run_ready`, with what will be needed fetched before. A loop of its own, so that the other one has nothing to ask.
    #[inline(never)]
    fn run_ready_far(&self, done: &impl Fn() -> bool) -> bool {
        self.run_pass(done, || self.foresee())
    }

    /// Runs tasks until `done` (true), until none is ready or it is time to poll (false). `before` each run something is done.
    #[inline(always)]
    fn run_pass(&self, done: &impl Fn() -> bool, before: impl Fn()) -> bool {
        loop {
            while let Some(quota) = self.home.quota.get().checked_sub(1) {
                self.home.quota.set(quota);
                // SAFETY: this is the loop.
                let Some(task) = (unsafe { pop_here() }) else {
                    self.home.continue_pass();
                    return false;
                };
                before();
                self.step(task);
                if done() {
                    return true;
                }
            }
            if !self.share.tell() {
                return false;
            }
        }
    }

    /// As `run_ready`, and says what it runs. No task takes the next one along.
    #[cold]
    fn run_ready_watched(&self, sight: &Sight, done: &impl Fn() -> bool) -> bool {
        // No quota, as in `turn`.
        self.home.begin_pass(0, self.home.jumps_left());
        for _ in 0..self.runs_in_pass() {
            // SAFETY: this is the loop.
            let Some(task) = (unsafe { pop_here() }) else {
                self.home.continue_pass();
                return false;
            };
            self.step_watched(sight, task);
            self.share.tell();
            if done() {
                return true;
            }
        }
        false
    }

    /// As `step`, for who may be watched, or simulated.
    #[inline]
    fn step_seen(&self, task: &'static Header) {
        let _now = self.simulation.begin_run(task.id());
        match &self.sight {
            None => self.step(task),
            Some(sight) => self.step_watched(sight, task),
        }
    }

    fn step_watched(&self, sight: &Sight, task: &'static Header) {
        sight.begin(task);
        self.step(task);
        sight.end(|task| self.trace_of(task));
    }

    /// Whether so much else is touched between two runs of a task that the processor's caches lose what it will need.
    fn is_far(&self) -> bool {
        // SAFETY: this is the home thread.
        let ready = unsafe { self.home.ready() };
        ready > MANY || self.is_among_calls()
    }

    /// Whether it is the system that touches so much, when tasks read and write: they come from calls many frames deep then.
    #[inline]
    fn is_among_calls(&self) -> bool {
        self.home.waiting_io.get() > MANY_WAITING
    }

    /// Has what the tasks need that will run soon fetched meanwhile: first the header, then with its help the stack. The cost
    /// of a miss is waiting, and so is paid for several tasks at once. (With 100,000 that yield in turn a yield takes 25 ns instead of 45.)
    #[inline]
    fn foresee(&self) {
        // SAFETY: this is the home thread.
        let (later, soon) = unsafe { (self.home.peek(2 * AHEAD), self.home.peek(AHEAD)) };
        // One that is up for grabs is not ours to look into.
        if let Some(Entry::Ready(task)) = later {
            prefetch(task);
        }
        if let Some(Entry::Ready(task)) = soon {
            if task.housed.get() {
                task.foresee();
                if self.is_among_calls() {
                    task.foresee_frames();
                }
            }
        }
    }

    /// Has the top of the stack fetched on which a task will begin soon. (10,000 new tasks that yield once: 103 ns each instead of 113.)
    fn foresee_start(&self) {
        if let Some(switch) = self.fibers.borrow().peek(STARTS_AHEAD) {
            let (base, _) = switch.stack(0);
            for line in 0..FIRST_LINES {
                prefetch(base.wrapping_byte_sub(line * LINE));
            }
        }
    }

    /// Who waits for a task lets it, and is let by it, go before all others: what belongs together runs together. But after a
    /// while the others have a pass for themselves.
    fn begin_pass(&self) {
        let runs = self.runs_in_pass();
        if self.home.jumped(JUMPS) == 0 {
            self.slice.set(None);
            return self.home.begin_pass(runs, JUMPS);
        }
        let now = Instant::now();
        let end = self.slice.get().unwrap_or(now + SLICE);
        if now < end {
            self.slice.set(Some(end));
            self.home.begin_pass(runs, JUMPS);
        } else {
            self.slice.set(None);
            self.home.begin_pass(runs, 0);
        }
    }

    /// How many tasks run before the next look.
    #[inline]
    fn runs_in_pass(&self) -> u32 {
        // `defiance` counts on it.
        if self.home.closing.get() {
            QUOTA
        } else {
            self.pace.runs()
        }
    }

    /// Lets one task go on until it suspends or ends.
    #[inline]
    fn step(&self, task: &'static Header) {
        if span::in_use() {
            self.step_in_spans(task);
        } else {
            self.switch_to(task);
        }
    }

    /// The same within what the task has entered. No task runs yet, or any more, where that is entered and exited.
    #[inline(never)]
    fn step_in_spans(&self, task: &'static Header) {
        let run = task.begin_run();
        self.switch_to(task);
        task.end_run(run);
    }

    #[inline(always)]
    fn switch_to(&self, task: &'static Header) {
        begin_turn(task);
        if task.housed.get() {
            self.resume(task);
        } else {
            self.begin(task);
        }
    }

    #[inline(always)]
    fn resume(&self, task: &'static Header) {
        if task.aside.get() != 0 {
            aside::take_up(task.aside.take());
        }
        // SAFETY: nobody else uses it while the task runs.
        let fiber = unsafe { &mut *task.fiber.get() };
        // SAFETY: by 3 it is there.
        unsafe { fiber.as_mut().unwrap_unchecked() }.resume();
        if let Some(ended) = CX.with(|cx| cx.ended.get()) {
            CX.with(|cx| cx.ended.set(None));
            self.retire(ended);
        } else if std::thread::panicking() {
            self.set_aside(task);
        }
        CX.with(|cx| cx.task.set(None));
    }

    /// Somebody stands still in an unwinding: who was resumed, or who ran in his stead.
    #[cold]
    #[inline(never)]
    fn set_aside(&self, resumed: &'static Header) {
        let task = self.unwinds.take().unwrap_or(resumed);
        task.aside.set(aside::set_aside());
    }

    /// First run of a task: from the seat, or on a stack of its own size.
    // Inlined up to the switch, as `resume` is.
    #[inline(always)]
    fn begin(&self, task: &'static Header) {
        if task.has_own_size() {
            return self.begin_elsewhere(task);
        }
        // SAFETY: the seat is the loop's; no task runs.
        let seat = unsafe { &mut *self.seat.get() };
        if let Some(fiber) = seat {
            fiber.resume();
            return self.clear_seat();
        }
        match self.fetch() {
            // Many that wait come one after the other. So this one does not move from the seat, right after where it
            // stands was stored there.
            Ok(mut fiber) => {
                fiber.resume();
                match CX.with(|cx| cx.task.get()) {
                    Some(task) => self.house_new(task, fiber),
                    None => *seat = Some(fiber),
                }
            }
            Err(error) => self.refuse(task, &error),
        }
    }

    /// A fiber for the seat.
    ///
    /// # Errors
    /// `OutOfMemory`.
    #[inline]
    fn fetch(&self) -> io::Result<Fiber> {
        if self.is_far() {
            self.foresee_start();
        }
        self.fibers.borrow_mut().take(0)
    }

    /// First run of a task that has a size of its own.
    #[cold]
    #[inline(never)]
    fn begin_elsewhere(&self, task: &'static Header) {
        let taken = self.fibers.borrow_mut().take(task.stack_size());
        match taken {
            Err(error) => self.refuse(task, &error),
            Ok(fiber) => {
                self.house(task, fiber);
                self.resume(task);
            }
        }
    }

    /// The fiber in the seat may have gone through several tasks. If it has stopped in one, that is the current one, and keeps it.
    #[inline]
    fn clear_seat(&self) {
        if let Some(task) = CX.with(|cx| cx.task.get()) {
            self.house_seat(task);
        }
    }

    #[inline(never)]
    fn house_seat(&self, task: &'static Header) {
        // SAFETY: the seat is the loop's, or of who is in its place; nobody runs on the fiber in it any more.
        let fiber = unsafe { &mut *self.seat.get() }.take();
        self.house_new(task, fiber.expect("it stands in the seat"));
    }

    /// The current task has stopped in its first run.
    #[inline(always)]
    fn house_new(&self, task: &'static Header, fiber: Fiber) {
        CX.with(|cx| cx.task.set(None));
        task.aside.set(aside::set_aside());
        self.house(task, fiber);
    }

    #[inline]
    fn house(&self, task: &'static Header, fiber: Fiber) {
        // SAFETY: the task is not running.
        unsafe { *task.fiber.get() = Some(fiber) };
        task.housed.set(true);
        self.home.count_housed(1);
        if self.traces {
            // It has just come to its first wait, or will begin right now.
            task.trace();
        }
        // SAFETY: this is the home thread; the header lives until it is taken out in `retire`.
        unsafe { self.suspended.push_back(task) };
    }

    /// A task that has been suspended has left its fiber. It has ended, or it has run, and what is to be done at an end is done here.
    fn retire(&self, task: &'static Header) {
        // SAFETY: `house` put it in.
        unsafe { self.suspended.remove(task) };
        task.housed.set(false);
        self.home.count_housed(-1);
        // SAFETY: the fiber is not running.
        let fiber = unsafe { (*task.fiber.get()).take() };
        let mut fiber = fiber.expect("`house` put it in");
        let (switch, stack_size) = (task.switch.get(), task.stack_size());
        if task.is_done() {
            task.release();
        } else if task.end_plainly() {
            // SAFETY: it was left for good, by `leave`.
            fiber = unsafe { fiber.renew(body) };
        } else {
            return self.recall(task, fiber);
        }
        self.fibers.borrow_mut().give(stack_size, fiber, switch);
        self.count_out(stack_size);
    }

    /// A task has left too soon: its handle was dropped in the meantime, or somebody came to join it from elsewhere. It does the rest on
    /// its fiber.
    #[cold]
    #[inline(never)]
    fn recall(&self, task: &'static Header, fiber: Fiber) {
        self.house(task, fiber);
        CX.with(|cx| cx.task.set(Some(task)));
        self.resume(task);
    }

    #[inline]
    fn count_out(&self, stack_size: u32) {
        self.home.count_ended();
        self.fibers.borrow_mut().redeem(stack_size);
    }

    #[cold]
    fn refuse(&self, task: &'static Header, error: &io::Error) {
        CX.with(|cx| cx.task.set(None));
        span::note_end();
        let stack_size = task.stack_size();
        self.refuse_for(task, error);
        self.count_out(stack_size);
    }

    fn refuse_for(&self, task: &'static Header, error: &io::Error) {
        let message = format!("no stack for the task: {error}");
        let error = JoinError::Panic(Box::new(message));
        self.home.tally().count_end(&error);
        task.refuse(error);
    }

    #[inline]
    fn pop(&self) -> Option<&'static Header> {
        // SAFETY: this is the home thread.
        unsafe { self.home.next() }
    }

    pub(super) fn has_ready(&self) -> bool {
        // SAFETY: this is the home thread.
        unsafe { self.home.ready() > 0 }
    }

    /// Takes in what other threads sent; not for ever, if they send without end.
    fn receive(&self) {
        if self.home.shares.get() {
            self.share.settle_up(&self.fibers);
            self.share.balance();
        }
        for _ in 0..MESSAGES {
            let Some(message) = self.home.inbox().pop() else {
                return;
            };
            match message {
                // Who was abandoned stands still for ever, though another may have woken him in time.
                Message::Wake(_) if self.gave_up.get() => {}
                // SAFETY: this is the home thread.
                Message::Wake(task) => unsafe { self.home.push(task) },
                Message::Spawn(task) => self.take_in(task, false),
                Message::Offer(task) => self.take_in(task, self.home.shares.get()),
                Message::Cancel(task) => cancel_or_forward(self.home, self.crew(), task),
                Message::Shutdown(spared) => self.shut_down(spared),
                Message::Ask(errand) => errand(),
            }
        }
    }

    /// A task that another thread has made.
    fn take_in(&self, task: &'static Header, anywhere: bool) {
        // It has arrived.
        task.set_home(Some(self.home));
        match self.promise(task.stack_size()) {
            Ok(()) => self.share.line_up(task, anywhere && task.stack_size() == 0),
            Err(error) => {
                self.refuse_for(task, &error);
                self.home.count_ended();
            }
        }
    }

    /// Gives up on the tasks that are left: they are cancelled as far as their joiners can tell, but their destructors
    /// do not run, and their stacks stay as they are for ever. The worker must not run any more.
    #[cold]
    pub(crate) fn abandon(&self) {
        self.receive();
        // SAFETY: this is the home thread; the loop is over, so nobody changes the list.
        unsafe { self.suspended.for_each(|task| task.abandon()) };
        while let Some(task) = self.pop() {
            if !task.housed.get() {
                task.abandon();
            }
        }
        self.gave_up.set(true);
    }

    /// Lets idle fibers return, and their stacks be taken back.
    fn end_fibers(&self, fibers: Vec<(u32, Fiber)>, put: fn(&mut Fibers, u32, Fiber)) {
        for (size, mut fiber) in fibers {
            // With no current task the body returns.
            CX.with(|cx| cx.task.set(None));
            fiber.resume();
            put(&mut self.fibers.borrow_mut(), size, fiber);
        }
    }

    // ---- deadlock ----

    /// Whether nobody else can make anything happen: in a scheduler that is simulated, nobody who has said so.
    fn is_alone(&self) -> bool {
        if self.simulation.is_on() {
            !self.simulation.awaits_others()
        } else {
            is_alone()
        }
    }

    /// No task is ready, no timer armed, no descriptor waited for, no message here.
    fn is_quiet(&self) -> bool {
        !self.has_ready()
            && self.timers.is_empty()
            && self.home.waiting_io.get() == 0
            && self.home.inbox().is_empty()
    }

    // ---- entering and leaving ----

    /// The captain is in its loop until what is returned is dropped, and the mates have begun.
    fn man(&self) -> Option<Manned<'_>> {
        if !self.home.shares.get() || !self.share.is_captain() {
            return None;
        }
        let before = self.crew().man(true);
        self.crew().begin();
        Some(Manned(self.crew(), before))
    }

    /// Makes this worker the one that runs on this thread until the guard is dropped.
    fn enter(&self) -> Running<'_> {
        if !HAS_SIGNAL_STACK.with(|has| has.replace(true)) {
            // Without it an overflow is a bare fault, which is no reason not to run.
            drop(overflow::prepare_thread());
        }
        Running {
            aside: aside::set_aside(),
            _real: simulation::real_here(),
            tally: count_in(Some(self.home.tally())),
            entered: (self, self.entered.replace(true)),
            worker: WORKER.with(|worker| worker.replace(self)),
            home: CX.with(|cx| cx.home.replace(Some(self.home))),
            task: CX.with(|cx| cx.task.take()),
            thread: CX.with(|cx| cx.thread.take()),
            budget: CX.with(|cx| cx.budget.get()),
        }
    }
}

struct Manned<'a>(&'a Crew, bool);

impl Drop for Manned<'_> {
    fn drop(&mut self) {
        self.0.man(self.1);
    }
}

/// What was running on this thread before; see invariant 2.
struct Running<'a> {
    /// Whether the one that is entered was already.
    entered: (&'a Worker, bool),
    /// What time it was for the task that enters, if one does.
    _real: Here,
    /// Where ends were counted.
    tally: Option<&'static Tally>,
    aside: u16,
    worker: *const Worker,
    home: Option<&'static Home<Header>>,
    task: Option<&'static Header>,
    thread: Option<&'static Header>,
    budget: u32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let (entered, before) = self.entered;
        entered.entered.set(before);
        count_in(self.tally);
        aside::take_up(self.aside);
        WORKER.with(|worker| worker.set(self.worker));
        CX.with(|cx| {
            cx.home.set(self.home);
            cx.task.set(self.task);
            if let Some(inner) = cx.thread.replace(self.thread) {
                inner.retire_thread();
            }
            cx.budget.set(self.budget);
        });
    }
}

impl Drop for Worker {
    /// Ends the idle fibers. Tasks that are left are leaked with their stacks, which are never used again.
    fn drop(&mut self) {
        self.leave_thread();
        let running = self.enter();
        let mut idle = self.fibers.borrow_mut().drain();
        // SAFETY: the seat is the loop's, and the loop is over.
        let seat = unsafe { (*self.seat.get()).take() };
        idle.extend(seat.map(|fiber| (0, fiber)));
        self.end_fibers(idle, Fibers::put_last);
        drop(running);
        self.home.close();
    }
}

impl Worker {
    /// Takes this worker out of the list of its thread's workers.
    fn leave_thread(&self) {
        FIRST.with(|first| {
            if ptr::eq(first.get(), self) {
                return first.set(self.next.get());
            }
            let mut at = first.get();
            // SAFETY: workers that are in the list live.
            while let Some(worker) = unsafe { at.as_ref() } {
                if ptr::eq(worker.next.get(), self) {
                    return worker.next.set(self.next.get());
                }
                at = worker.next.get();
            }
        });
    }
}

/// What every fiber runs: one task after the other.
fn body(switch: Switch) {
    // With no current task an idle fiber is told to return.
    while let Some(task) = CX.with(|cx| cx.task.get()) {
        run_tasks(task, switch);
        // SAFETY: this is the fiber that the switch was given to.
        unsafe { switch.suspend() };
    }
}

/// Where tasks run.
pub(crate) struct Tasks;

impl Stage for Tasks {
    #[inline(always)]
    fn leave(payload: &Payload) -> Option<Switch> {
        let task = CX.with(|cx| cx.task.get())?;
        // One that is refused is not the current one. And who has waited last for a child returns to where he was called: so has
        // everybody who was called since, and the processor foresees it.
        let leaves = task.housed.get()
            && ptr::eq(&task.payload, payload)
            && task.why.get() != Why::Join
            && task.has_plain_end()
            && !span::in_use();
        if !leaves {
            return None;
        }
        CX.with(|cx| cx.ended.set(Some(task)));
        Some(task.switch.get())
    }
}

/// Runs a task, and in the seat also the next ones for as long as they are new and end without being suspended.
fn run_tasks(mut task: &'static Header, switch: Switch) {
    loop {
        task.switch.set(switch);
        let left = task.run_to_end();
        span::note_end();
        if !left {
            CX.with(|cx| cx.ended.set(Some(task)));
            return;
        }
        match with_running(Worker::next_unstarted).flatten() {
            Some(next) => task = next,
            None => return,
        }
    }
}

impl Worker {
    /// After a task that ended in the seat: the next one for it, if that is what is ready first.
    #[inline]
    fn next_unstarted(&self) -> Option<&'static Header> {
        self.count_out(0);
        CX.with(|cx| cx.task.set(None));
        if span::in_use() {
            // The loop comes in between, for what the task had entered, and what the next one has.
            return None;
        }
        let quota = self.home.quota.get().checked_sub(1)?;
        // SAFETY: this is the home thread.
        let first = unsafe { self.home.peek(0) }?;
        if let Entry::Ready(next) = first {
            if next.housed.get() || next.stack_size() != 0 {
                return None;
            }
        }
        // SAFETY: as above.
        unsafe { self.home.pop() };
        let next = self.home.settled(first)?;
        self.home.quota.set(quota);
        begin_turn(next);
        Some(next)
    }
}

/// From now on it is this task that runs, with all of a budget.
#[inline(always)]
fn begin_turn(task: &'static Header) {
    CX.with(|cx| {
        cx.budget.set(BUDGET);
        cx.task.set(Some(task));
    });
}

/// The next task of the worker that runs here.
///
/// It finds the queue through the thread pointer, not through `self`, which after a switch is reloaded from the stack:
/// so the processor can look up the next task before the switch back to the loop is done. That is worth 4 ns of 10.
///
/// # Safety
/// The loop of a worker runs on this thread.
#[inline(always)]
unsafe fn pop_here() -> Option<&'static Header> {
    // SAFETY: the caller's promise; so this is the home thread.
    unsafe { CX.with(|cx| cx.home.get()).unwrap_unchecked().next() }
}

/// Cancels a task from any thread; for those who hold a reference.
pub(crate) fn cancel(task: &'static Header) {
    let here = CX.with(|cx| cx.home.get());
    if !here.is_some_and(|here| cancel_at(here, task)) {
        task.send_cancel();
    }
}

/// Cancels a task if `here`, the home of the worker whose loop runs on this thread, is its own; false if it is not.
fn cancel_at(here: &'static Home<Header>, task: &'static Header) -> bool {
    // SAFETY: this is the home thread.
    let ours = task.is_at(here) || unsafe { here.keep(task) };
    if ours {
        cancel_here(task);
    }
    ours
}

/// Cancels a task as its home `here`, of the worker whose loop runs on this thread, was asked to; with a reference.
pub(super) fn cancel_or_forward(here: &'static Home<Header>, crew: &Crew, task: &'static Header) {
    if cancel_at(here, task) {
        task.release();
    } else if let Some(home) = task.home() {
        // It was taken from here in the meantime.
        crew.send(home, Message::Cancel(task));
    }
}

/// Cancels a task, which is not up for grabs, on its home thread.
pub(crate) fn cancel_here(task: &'static Header) {
    if task.is_done() {
        return;
    }
    task.set_cancelled();
    if !task.deaf.get() {
        if let Some(waiter) = Waiter::current(task) {
            waiter.interrupt();
        }
    }
}

/// Something is about to be done elsewhere for the task that runs; `endless` if it may last for ever. To be dropped when that is
/// done, and the task knows it.
pub(crate) fn hold(endless: bool) -> Option<Hold> {
    with_running(|worker| worker.simulation.hold(endless)).flatten()
}

/// Whether this is the only thread of the process that can make anything happen.
fn is_alone() -> bool {
    idle::during(thread_count).is_some_and(|(helpers, threads)| {
        // The system may not say how many threads there are.
        threads.is_some_and(|threads| threads <= 1 + helpers)
    })
}

/// For the fault handler: which task runs on this thread.
fn describe(say: &mut dyn FnMut(Option<&str>, u64)) {
    if let Some(task) = CX.with(|cx| cx.task.get()) {
        say(task.name(), task.id());
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::spawn_local;
    use crate::{Scheduler, SchedulerBuilder};
    use std::panic::Location;
    use std::sync::mpsc;
    use std::thread;

    /// Who waits for so long waits for ever.
    pub(super) const PATIENCE: Duration = Duration::from_secs(600);

    /// Puts up a task, as `spawn` does whose look has missed who lay down in the same moment.
    pub(super) fn put_up_unseen(worker: &Worker, f: impl FnOnce() + Send + 'static) {
        worker.promise(0).unwrap();
        let birth = Birth::new(None, Location::caller(), 0);
        // SAFETY: this is the home thread.
        let task = unsafe { Header::new_at(worker.home, worker.home, birth) };
        // SAFETY: nobody else knows this header yet.
        unsafe { task.set_job::<Tasks, _, _>(f) };
        worker.home.count_spawned();
        // SAFETY: this is the home thread.
        unsafe { worker.home.put_up(task) };
        worker.home.interrupt_pass();
        task.release(); // that of a handle
    }

    fn looks_again(builder: SchedulerBuilder) {
        let scheduler = builder.workers(2).spin(Duration::ZERO).build().unwrap();
        scheduler.block_on(|| {
            let (tell, told) = mpsc::channel();
            // It is before the other one, so that only the other worker can end its wait, in which no task of this one runs.
            let blocks = spawn_local(move || told.recv_timeout(PATIENCE).unwrap());
            with_running(|worker| {
                while !worker.home.is_anybody_hungry() {
                    thread::yield_now();
                }
                put_up_unseen(worker, move || tell.send(()).unwrap());
            });
            blocks.join().unwrap();
        });
    }

    #[test]
    fn a_worker_looks_for_certain_who_would_take_what_was_put_up_before_its_next_task_goes_on() {
        looks_again(Scheduler::builder());
    }

    #[test]
    fn one_that_is_watched_does_so_too() {
        looks_again(Scheduler::builder().watchdog(PATIENCE));
    }
}
