//! Where a task stops: the one place that suspends, and where waits end.
//!
//! A caller makes a [`Waiter`], shows it to whoever may wake it, and parks. DESIGN's rule of timeouts and cancelling
//! is applied here and nowhere else:
//!
//! 1. A wait listens to its own deadline, to the nearest deadline of the scopes round it, and to cancelling; the
//!    first that happens ends it. Its own deadline is an answer ([`Outcome::TimedOut`]); the others *raise*: the stack unwinds
//!    to the scope's edge or to the task's root.
//! 2. Where nothing can be raised (see `unwind`), an operation that can fail is told by [`Outcome::Interrupted`], and one that
//!    cannot does not listen: it waits for real. One that can say that its time is up, and only that, listens to limits.
//! 3. Whether a stack is unwinding does not change while it stands still, and is not the business of the others of its
//!    thread (see `aside`): what was true before the switch is true after it.
//! 4. A plain thread parks as well. If it waits for a task of a scheduler of its own it runs that one meanwhile, else its
//!    default scheduler if that has tasks; if neither, it blocks.
//! 5. Code of the user's that runs while something of ours is locked cannot wait: see [`bound`].
//! 6. A task is resumed for two reasons: its wait is over, or it is to show where it stands (see `pose`). The second is no
//!    end of a wait: its waiter is left as it is, whoever wins it meanwhile makes the task ready as ever, and the task
//!    stands still again before it is that one's turn.

use super::clock;
use super::fault::{self, Fault};
use super::fiber::Switch;
use super::header::{Cx, Header, Why, CX};
use super::home::Home;
use super::scope::Limit;
use super::timer::Key;
use super::unwind::{self, can_raise, Target};
use super::waiter::Waiter;
use super::worker::{with_default, with_local, with_running, Worker, BUDGET};
use crate::base::shared::{thread, Ordering};
use crate::error::{Cancelled, Deadlock, Timeout};
use std::backtrace::Backtrace;
use std::io;
use std::ptr;
use std::time::Instant;

/// How a wait ended, if not by unwinding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    Woken,
    /// The wait's own deadline passed.
    TimedOut,
    /// It would have unwound, but cannot.
    Interrupted(Interrupt),
}

/// What would have been raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    /// The deadline of a scope passed.
    Timeout,
}

impl From<Interrupt> for io::Error {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancelled => Cancelled.into(),
            Interrupt::Timeout => Timeout.into(),
        }
    }
}

/// Whether the operation has a way to say that it was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Fallible,
    /// It can say that time is up, and no more.
    Timed,
    Infallible,
}

// ---- who is here ----

/// The header of the task that runs, or of this plain thread.
#[inline]
pub(crate) fn me() -> &'static Header {
    match CX.with(|cx| cx.task.get()) {
        Some(task) => task,
        None => this_thread(),
    }
}

/// The header of this thread; it lives as long as the thread.
#[cold]
fn this_thread() -> &'static Header {
    if let Some(header) = CX.with(|cx| cx.thread.get()) {
        return header;
    }
    struct Farewell;
    impl Drop for Farewell {
        fn drop(&mut self) {
            if let Some(header) = CX.with(|cx| cx.thread.take()) {
                header.retire_thread();
            }
        }
    }
    thread_local! {
        static FAREWELL: Farewell = const { Farewell };
    }
    // In the last moments of a thread its header is not given back.
    let _farewell = FAREWELL.try_with(|_| ());
    let header = Header::new_thread();
    CX.with(|cx| cx.thread.set(Some(header)));
    header
}

// ---- parking ----

/// Waits until `waiter`, which the caller made and has shown to others, is woken, or is interrupted by rule 1.
///
/// It may unwind: what the caller has shown its waiter to must be told so by a destructor.
#[inline(always)]
pub(crate) fn park(waiter: Waiter, deadline: Option<Instant>, why: Why, mode: Mode) -> Outcome {
    let me = waiter.header();
    let deadline = afflicted(me, deadline, why);
    if deadline.is_none() && me.is_at_ease() {
        return rest(waiter, why);
    }
    park_prepared(waiter, deadline, why, mode)
}

/// As `park`, for a wait that is not one of the most.
// Not inlined, so that the frames of those are small: the stack of a task that goes on is in no near cache.
#[inline(never)]
fn park_prepared(waiter: Waiter, deadline: Option<Instant>, why: Why, mode: Mode) -> Outcome {
    match Wait::begin(waiter, deadline, why, mode) {
        Step::Suspend(switch, wait) => {
            // SAFETY: it is the switch of the task that runs.
            unsafe { switch.suspend() };
            wait.end()
        }
        Step::Over(outcome) => outcome,
    }
}

/// Most waits: there is nothing to prepare, nor to undo.
#[inline(always)]
fn rest(waiter: Waiter, why: Why) -> Outcome {
    #[cold]
    #[inline(never)]
    fn end(waiter: Waiter) -> Outcome {
        Wait::bare(waiter).end()
    }
    let me = waiter.header();
    me.deaf.set(false);
    me.why.set(why);
    count_io(why, 1);
    me.set_whereabouts(here());
    // SAFETY: it is the switch of the task that runs.
    unsafe { me.switch.get().suspend() };
    // Who was not woken was cancelled, or is to show itself.
    if me.is_without_news() {
        debug_assert!(waiter.was_woken());
        count_io(why, -1);
        me.why.set(Why::Nothing);
        return Outcome::Woken;
    }
    end(waiter)
}

/// Counts a wait of the running task for a descriptor, at its beginning and at its end.
#[inline(always)]
fn count_io(why: Why, more: isize) {
    if why.is_io() {
        if let Some(home) = CX.with(|cx| cx.home.get()) {
            let waiting = &home.waiting_io;
            waiting.set(waiting.get().wrapping_add_signed(more));
        }
    }
}

/// Lets a task run that is next and has not begun, for the caller is about to wait for its end: until it ends or waits.
#[inline(always)]
pub(crate) fn let_begin(task: &'static Header) {
    if let Some(me) = CX.with(|cx| cx.task.get()) {
        if me.is_at_ease() {
            with_running(|worker| worker.begin_instead(me, task));
        }
    }
}

/// Lets all others that are ready run first.
#[inline(always)]
pub(crate) fn yield_now() {
    if let Some(task) = CX.with(|cx| cx.task.get()) {
        // SAFETY: a task runs, so the loop of its worker does.
        let home = unsafe { CX.with(|cx| cx.home.get()).unwrap_unchecked() };
        let _none = afflicted(task, None, Why::Nothing);
        task.set_whereabouts(here());
        // SAFETY: the loop of `home` runs on this thread, and the task is the one that runs.
        if unsafe { !Worker::take_turns(home, task) } {
            // SAFETY: it is the switch of the task that runs.
            unsafe { task.switch.get().suspend() };
        }
        if !task.is_without_news() || task.scopes.limit().is_some() {
            see_news(task);
        }
    } else {
        yield_thread();
    }
}

/// Does to a task that is about to suspend what a test has ordered for this suspension; its own deadline after that.
#[inline(always)]
fn afflicted(me: &'static Header, own: Option<Instant>, why: Why) -> Option<Instant> {
    let scope = || me.scopes.limit().map(|limit| limit.scope.0);
    let task = || !me.is_thread();
    match fault::at_suspension(task, || why.describe(), own.is_some(), scope) {
        None | Some(Fault::Limit) => return own,
        Some(Fault::Timeout) => return Some(clock::now()),
        Some(Fault::CancelFirst) => me.set_cancelled(),
        Some(Fault::Cancel) => me.send_cancel(),
        Some(Fault::Panic) => {
            fault::let_panic(me.id());
            me.send_cancel();
        }
    }
    own
}

/// About the stack pointer; its lower half.
#[inline(always)]
fn here() -> u32 {
    let here = 0u8;
    (&raw const here).addr() as u32
}

#[cold]
fn yield_thread() {
    assert_unbound();
    let default = with_default(|worker| {
        if worker.live() > 0 && with_running(|_| ()).is_none() {
            let _whatever = worker.turn(super::reactor::Patience::None);
        }
    });
    if default.is_none() {
        thread::yield_now();
    }
    interrupt_if_due(me());
}

/// If the task, which was resumed, was only asked to show itself, it does, and stands still again.
///
/// Where it stands is taken down on the stack of who resumed it: its own may be full.
#[cold]
#[inline(never)]
fn pose(me: &Header) {
    while me.was_asked_to_pose() {
        let switch = me.switch.get();
        // SAFETY: it is the switch of the task that runs, and what is called there neither suspends nor knows of tasks.
        let trace = unsafe { switch.above(Backtrace::force_capture) };
        with_running(|worker| worker.keep_pose(trace));
        // SAFETY: as above.
        unsafe { switch.suspend() };
    }
}

/// There are news for a task that is about to wait; whether it is cancelled.
#[cold]
#[inline(never)]
fn see_news_first(me: &Header) -> bool {
    me.note_wait();
    is_cancelled(me)
}

/// There are news for a task that has yielded.
#[cold]
#[inline(never)]
fn see_news(me: &Header) {
    pose(me);
    interrupt_if_due(me);
}

/// Raises what is due, if it can be raised.
#[cold]
pub(crate) fn interrupt_if_due(me: &Header) {
    if !can_raise() {
        return;
    }
    if is_cancelled(me) {
        raise(Target::Task);
    }
    if let Some(limit) = expired(me) {
        raise(Target::Scope(limit.scope));
    }
}

fn raise(target: Target) -> ! {
    if target == Target::Task && fault::is_to_panic(me().id()) {
        me().forget_cancelled();
        std::panic::panic_any(fault::Panic);
    }
    unwind::raise(target, &me().raised)
}

/// Whether the calling stack unwinds because of a panic, and not because it was interrupted.
///
/// Who catches an interruption and keeps the payload hides the panics that come while he has it.
#[inline]
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking() && !is_interrupted()
}

#[cold]
fn is_interrupted() -> bool {
    let me = CX.with(|cx| cx.task.get().or(cx.thread.get()));
    me.is_some_and(|me| me.raised.is_set())
}

/// Whether there is something to raise.
pub(crate) fn is_due(me: &Header) -> bool {
    is_cancelled(me) || expired(me).is_some()
}

fn is_cancelled(me: &Header) -> bool {
    me.is_cancelled() && !me.scopes.shielded()
}

/// The scope whose time is up.
fn expired(me: &Header) -> Option<Limit> {
    let limit = me.scopes.limit();
    limit.filter(|limit| limit.deadline <= clock::now())
}

/// Takes one unit of the running task's budget; when it is used up, lets others run. To be called before an
/// operation is begun: it may unwind. Returns what is left.
#[inline(always)]
pub(crate) fn charge() -> u32 {
    let there = CX.with(|cx| cx.budget.get());
    if there == 0 {
        return use_up();
    }
    let left = there - 1;
    CX.with(|cx| cx.budget.set(left));
    left
}

/// The budget is used up.
#[cold]
fn use_up() -> u32 {
    if CX.with(|cx| cx.task.get()).is_some() {
        yield_now();
    } else {
        assert_unbound();
    }
    CX.with(|cx| cx.budget.get())
}

/// Takes more units of the budget, of which `left` are there, for what an operation has left to others; it is felt at the next one.
#[inline]
pub(crate) fn charge_more(left: u32, units: usize) {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    CX.with(|cx| cx.budget.set(left.saturating_sub(units)));
}

/// As `charge`, for an operation that must not suspend: false, if others are to run first. Then the budget begins anew: who polls
/// futures may go on with others of them, and come back to this one, before he lets them.
pub(crate) fn try_charge() -> bool {
    CX.with(|cx| match cx.budget.get() {
        0 if cx.task.get().is_some() => {
            cx.budget.set(BUDGET);
            false
        }
        left => {
            cx.budget.set(left.saturating_sub(1));
            true
        }
    })
}

/// As `charge`, for an operation that keeps the others waiting for as long as many together: takes what is left.
pub(crate) fn charge_all() {
    CX.with(|cx| cx.budget.set(0));
    charge();
}

// ---- code that cannot wait ----

/// Runs `f`, code of the user's that is called while something is locked: it is of no task, and what might wait in it
/// panics instead.
pub(crate) fn bound<R>(f: impl FnOnce() -> R) -> R {
    struct Unbind(Option<&'static Header>, u32, bool);
    impl Drop for Unbind {
        fn drop(&mut self) {
            CX.with(|cx| {
                cx.task.set(self.0);
                cx.budget.set(self.1);
                cx.bound.set(self.2);
            });
        }
    }
    // Without a task, nor a budget, whatever yields, waits or charges ends up on a slow path, and is found out there.
    let unbind = |cx: &Cx| Unbind(cx.task.take(), cx.budget.replace(0), cx.bound.replace(true));
    let _unbind = CX.with(unbind);
    f()
}

/// To be called where code that is [`bound`] would do something that it must not.
///
/// # Panics
/// By such code.
#[inline]
pub(crate) fn assert_unbound() {
    if CX.with(|cx| cx.bound.get()) {
        panic_bound();
    }
}

#[cold]
fn panic_bound() -> ! {
    panic!("a predicate of a queue cannot wait, nor use a queue")
}

enum Step {
    Suspend(Switch, Wait),
    Over(Outcome),
}

/// What has to be undone and decided after a suspension.
struct Wait {
    waiter: Waiter,
    timer: Option<Key>,
    own: Option<Instant>,
    /// The scope that would end the wait, if it is listened to.
    limit: Option<Limit>,
    raisable: bool,
}

impl Header {
    /// Whether it is the task that runs, nothing but a waker or a canceller could end a wait of it now, and the latter could be
    /// raised.
    #[inline(always)]
    fn is_at_ease(&self) -> bool {
        // Of code that is bound there is no task.
        let runs = CX.with(|cx| cx.task.get());
        runs.is_some_and(|task| ptr::eq(task, self))
            && self.is_without_news()
            && self.scopes.is_empty()
            && can_raise()
    }
}

impl Wait {
    /// One with nothing to undo, which was interrupted.
    fn bare(waiter: Waiter) -> Self {
        Wait {
            waiter,
            timer: None,
            own: None,
            limit: None,
            raisable: true,
        }
    }

    #[inline(never)]
    fn begin(waiter: Waiter, own: Option<Instant>, why: Why, mode: Mode) -> Step {
        let me = waiter.header();
        // If it was woken already, that takes no time.
        if CX.with(|cx| cx.bound.get()) && waiter.retract() {
            me.set_home(None);
            panic_bound();
        }
        let raisable = can_raise();
        // Rule 2.
        let deaf = !raisable && mode != Mode::Fallible && is_due(me);
        let cancelled = !me.is_without_news() && see_news_first(me) && !deaf;
        // If it was woken already, that counts, and cancelling is met again at the next wait.
        if cancelled && waiter.retract() {
            // Who catches this and waits again, for ever, still lets others run.
            charge();
            return Step::Over(interrupted(Interrupt::Cancelled, Target::Task, raisable));
        }
        let hears_limits = !deaf || mode == Mode::Timed;
        let limit = me.scopes.limit().filter(|_| hears_limits);
        me.deaf.set(deaf || me.scopes.shielded());
        me.why.set(why);
        let wait = Wait {
            waiter,
            timer: None,
            own,
            limit,
            raisable,
        };
        if me.is_thread() {
            Step::Over(wait.block())
        } else {
            wait.arm(me)
        }
    }

    fn arm(mut self, me: &Header) -> Step {
        if let Some(deadline) = self.deadline() {
            self.timer = with_running(|worker| worker.arm(deadline, self.waiter));
        }
        count_io(me.why.get(), 1);
        me.set_whereabouts(here());
        Step::Suspend(me.switch.get(), self)
    }

    #[inline(never)]
    fn end(self) -> Outcome {
        let me = self.waiter.header();
        if !me.is_without_news() {
            pose(me);
        }
        if let Some(timer) = self.timer {
            with_running(|worker| worker.disarm(timer));
        }
        count_io(me.why.get(), -1);
        self.decide(me)
    }

    /// The nearest of all that ends the wait.
    fn deadline(&self) -> Option<Instant> {
        let limit = self.limit.map(|limit| limit.deadline);
        [self.own, limit].into_iter().flatten().min()
    }

    #[inline(never)]
    fn decide(&self, me: &Header) -> Outcome {
        me.why.set(Why::Nothing);
        if self.waiter.was_woken() {
            return Outcome::Woken;
        }
        // The timer ends a wait at the nearer deadline, a canceller before it; a canceller that comes at the same
        // moment loses to the timer here and is met again at the next wait.
        if !me.deaf.get() && me.is_cancelled() {
            return interrupted(Interrupt::Cancelled, Target::Task, self.raisable);
        }
        match self.limit {
            Some(limit) if self.own.is_none_or(|own| limit.deadline < own) => interrupted(
                Interrupt::Timeout,
                Target::Scope(limit.scope),
                self.raisable,
            ),
            _ => Outcome::TimedOut,
        }
    }

    // ---- plain threads ----

    fn block(self) -> Outcome {
        let me = self.waiter.header();
        match me.home() {
            Some(home) => self.serve(me, home),
            None => self.sleep(me),
        }
        me.set_home(None);
        self.decide(me)
    }

    /// Runs the worker of `home` until the wait has been won.
    fn serve(&self, me: &Header, home: &'static Home<Header>) {
        with_local(home, |worker| {
            let timer = self
                .deadline()
                .map(|deadline| worker.arm(worker.in_own_time(deadline), self.waiter));
            // The loop must not take itself for deadlocked while this thread waits for a descriptor.
            let io = usize::from(me.why.get().is_io());
            worker
                .home
                .waiting_io
                .set(worker.home.waiting_io.get() + io);
            let served = worker.run_until(|| me.up.load(Ordering::Acquire));
            worker
                .home
                .waiting_io
                .set(worker.home.waiting_io.get() - io);
            if let Some(timer) = timer {
                worker.disarm(timer);
            }
            if let Err(deadlock) = served {
                self.give_up(&deadlock);
            }
        });
    }

    /// Blocks the thread until its wait has been won.
    fn sleep(&self, me: &Header) {
        let mut parked = false;
        while !me.up.load(Ordering::Acquire) {
            let now = clock::now();
            match self
                .deadline()
                .map(|deadline| deadline.saturating_duration_since(now))
            {
                Some(left) if left.is_zero() => {
                    if self.waiter.interrupt_self() {
                        break;
                    }
                    // Somebody has won and is about to say so.
                    thread::yield_now();
                }
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
            parked = true;
        }
        if parked {
            // We may have eaten a token that was meant for the user's own `thread::park`.
            thread::current().unpark();
        }
    }

    /// The wait of a plain thread can never end: nobody could tell the difference from a hang.
    fn give_up(&self, deadlock: &Deadlock) {
        if self.waiter.retract() {
            self.waiter.header().set_home(None);
            panic!("this thread waits for ever: {deadlock}");
        }
    }
}

/// Raises, or says what would have been raised.
fn interrupted(interrupt: Interrupt, target: Target, raisable: bool) -> Outcome {
    if raisable {
        raise(target);
    }
    Outcome::Interrupted(interrupt)
}

impl Waiter {
    /// A wait of the task or thread that calls.
    #[inline]
    pub(crate) fn here() -> Waiter {
        Waiter::here_for(None)
    }

    /// As `here`, for something that a task of `home` will do.
    #[inline]
    pub(crate) fn here_for(home: Option<&'static Home<Header>>) -> Waiter {
        let me = me();
        if me.is_thread() {
            prepare_thread(me, home);
        }
        Waiter::new(me)
    }
}

/// Decides, before the waiter is shown to anybody, how a thread will wait, for that decides how it is woken.
fn prepare_thread(me: &Header, awaited: Option<&'static Home<Header>>) {
    me.up.store(false, Ordering::Relaxed);
    me.set_home(serviceable(awaited));
}

/// The home of the worker that a plain thread will run while it waits.
fn serviceable(awaited: Option<&'static Home<Header>>) -> Option<&'static Home<Header>> {
    // Not from inside a loop: that one would stand still meanwhile.
    if with_running(|_| ()).is_some() {
        return None;
    }
    awaited
        .map(Home::captain)
        .filter(|home| with_local(home, |_| ()).is_some())
        .or_else(|| with_default(|worker| (!worker.is_finished()).then_some(worker.home)).flatten())
}

/// Whether the caller is a plain thread that has nothing to do while it waits, and nothing that could end its wait: a call
/// that blocks does as well then.
pub(crate) fn may_block() -> bool {
    is_idle_thread() && me().scopes.limit().is_none()
}

/// Whether the caller is a plain thread that has no tasks to run while it waits.
pub(crate) fn is_idle_thread() -> bool {
    CX.with(|cx| cx.task.get()).is_none() && serviceable(None).is_none()
}
