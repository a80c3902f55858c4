//! How a task ends: its result is published, its joiner woken, and a result that nobody wants disposed of.
//!
//! The word `join` says how far the task and its handle are.
//!
//! 1. While a handle exists the result is the handle's. `HANDLE` is set at birth and cleared once, by the handle.
//!    Whichever of `DONE` and not-`HANDLE` comes second disposes of the result.
//! 2. `joiner` is written by the owner of the handle while `JOINING` is not set, and read by the owner and by the task's end when it
//!    has set `DONE` and found `JOINING`. The handle's owner does not write it after it has seen `DONE`.
//!    There is one joiner: the handle's owner takes one back before it names the next, and the deputy of a future as well.
//! 3. The word is changed by the home thread and by the owner of the handle, nobody else. With `LOCAL` the latter is
//!    a task of the same home that stands still: then it needs no read-modify-write, and neither does its waiter,
//!    which nobody but this home knows.
//! 4. With `INHERITED` the task's own reference is the handle's too, to be given up in one.
//! 5. What a handle is besides its header stands in the word as well, so that it is one pointer wide: who moves more than that moves
//!    more at a time than was stored, and waits until that has come to memory. `DEPUTED`: the joiner is the deputy of the future that the
//!    handle is, until it is recalled. `TAKEN`: that future was ready. Nobody but the handle's owner sets them, or asks for them.

use super::group::Group;
use super::header::{Header, CX, HANDLE};
use super::job::{drop_quietly, Ending, Job};
use super::tally::{count_end, count_in};
use super::waiter::Waiter;
use crate::base::shared::{look, Ordering};
use crate::error::{panic_message, report, JoinError};

/// The task has ended; the result is there.
const DONE: u32 = 2;
/// `joiner` is to be woken.
const JOINING: u32 = 4;
const LOCAL: u32 = 8;
const INHERITED: u32 = 16;
/// `joiner` is a deputy, and the handle's; see 5.
const DEPUTED: u32 = 32;
/// The result was taken out, and the handle is still there.
const TAKEN: u32 = 64;

/// Whether there is a handle, and nobody joins but a task of the same home.
#[inline(always)]
const fn is_plain(state: u32) -> bool {
    state == HANDLE || state == HANDLE | LOCAL | JOINING
}

/// A task is cancelled before it began.
#[cold]
#[inline(never)]
fn too_late() -> JoinError {
    count_end(&JoinError::Cancelled);
    JoinError::Cancelled
}

impl Header {
    /// Runs the task's closure to its end on the calling stack and publishes what came of it. A task that was
    /// cancelled before it started does not start. Does not come back from a fiber that is left before: see [`Stage::leave`].
    ///
    /// True if the task's own reference was given up as well, and the header must not be touched any more; false if
    /// a fiber is in the header, and the loop has to take it out first.
    ///
    /// [`Stage::leave`]: super::job::Stage::leave
    #[inline]
    pub(super) fn run_to_end(&'static self) -> bool {
        // Who cancels it from elsewhere sends a message, which may come after somebody has taken the task.
        let cancelled = self.is_cancelled() || self.was_sent_cancel();
        self.run_or_refuse(if cancelled { Some(too_late()) } else { None })
    }

    /// The task is over without having begun: its closure is dropped here.
    #[cold]
    pub(super) fn refuse(&'static self, error: JoinError) {
        // Whose it was is for the caller to count.
        let here = count_in(None);
        self.run_or_refuse(Some(error));
        count_in(here);
    }

    /// The task will never go on nor end; its joiner is told that it was cancelled. Its own reference stays: its
    /// stack, and what points to the header from there, stay as well.
    pub(super) fn abandon(&'static self) {
        // Whoever finds its waiter later hands nothing to it. What was handed over before stays on its stack.
        let _waits = Waiter::current(self).is_some_and(Waiter::retract);
        // SAFETY: the task is not running and will not.
        unsafe { self.job.get().abandon(&self.payload) };
        let before = self.join.fetch_or(DONE, Ordering::AcqRel);
        if before & (JOINING | LOCAL | DONE) == JOINING {
            self.joiner().wake();
        }
    }

    #[inline]
    fn run_or_refuse(&'static self, refused: Option<JoinError>) -> bool {
        // SAFETY: a task is run once, by its home thread or by whoever finds that it has none.
        let ending = unsafe { self.job.get().run(&self.payload, refused) };
        self.come_to_end(ending)
    }

    /// What there is to do when the job is done; answers as `run_to_end`.
    #[inline]
    fn come_to_end(&'static self, ending: Ending) -> bool {
        let group: *const Group = self.group.get().cast();
        if self.has_belongings() {
            // SAFETY: the task is at its end, or never began and has only what it inherited, which is `Send`.
            self.scopes.shield(|| unsafe { self.clear_locals() });
        }
        let released = self.publish(false).unwrap_or_else(|| {
            // Here too the task may be suspended, in the result's destructor; it is at its end, and not to be interrupted.
            let panicked = matches!(ending, Ending::Panicked);
            self.scopes.shield(|| self.dispose(panicked));
            self.publish(true).unwrap_or_default()
        });
        if !group.is_null() {
            // SAFETY: the task was counted when it was spawned.
            unsafe { Group::leave(group) };
        }
        released
    }

    /// Sets DONE, and gives up the task's own reference if no fiber is in the header: then true. `None` if there is
    /// no handle, and the result has not been disposed of.
    #[inline]
    fn publish(&'static self, disposed: bool) -> Option<bool> {
        let release = !self.housed.get();
        let state = self.join.load(Ordering::Acquire);
        if state & (HANDLE | LOCAL) != HANDLE | LOCAL {
            return self.publish_to_any(state, release, disposed);
        }
        // By 3 nobody else changes the word now.
        let inherited = if release { INHERITED } else { 0 };
        self.join.store(state | DONE | inherited, Ordering::Relaxed);
        if state & JOINING != 0 {
            self.joiner().wake_next();
        }
        Some(release)
    }

    /// The same where the joiner, if there is one, may be anywhere.
    #[inline(never)]
    fn publish_to_any(
        &'static self,
        mut state: u32,
        release: bool,
        disposed: bool,
    ) -> Option<bool> {
        loop {
            if state & HANDLE == 0 {
                if !disposed {
                    return None;
                }
                self.join.store(DONE, Ordering::Release);
                if release {
                    self.release();
                }
                return Some(release);
            }
            let joined = state & JOINING != 0;
            // A joiner on another thread may take the result, and the header with it, before it is woken here.
            let inherited = if release && !joined { INHERITED } else { 0 };
            let next = state | DONE | inherited;
            // Release: the result comes before DONE. Acquire: the joiner comes before JOINING.
            match self
                .join
                .compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Err(now) => state = now,
                Ok(_) if joined => {
                    self.joiner().wake();
                    // A future's waker is code of others: the task may have been suspended in it, for the first time.
                    let release = !self.housed.get();
                    if release {
                        self.release();
                    }
                    return Some(release);
                }
                Ok(_) => return Some(release),
            }
        }
    }

    /// Whether `end_plainly` will do, unless somebody comes between; for the task, when its job is done.
    #[inline(always)]
    pub(super) fn has_plain_end(&self) -> bool {
        // Relaxed: nothing is read on the strength of it.
        is_plain(self.join.load(Ordering::Relaxed))
            && !self.has_belongings()
            && self.group.get().is_null()
    }

    /// All that there is to do at most ends, when no fiber is in the header: publishes the result and gives the task's own reference up.
    /// Then true, and the header must not be touched any more. False if there is more to do, and nothing was done. Runs
    /// no code of others, and is for the home thread.
    #[inline]
    pub(super) fn end_plainly(&'static self) -> bool {
        let state = self.join.load(Ordering::Acquire);
        if !is_plain(state) {
            return false;
        }
        let next = state | DONE | INHERITED;
        if state & LOCAL == 0 {
            // As in `publish_to_any`.
            let (set, failed) = (Ordering::AcqRel, Ordering::Relaxed);
            return self.join.compare_exchange(state, next, set, failed).is_ok();
        }
        // By 3 nobody else changes the word now.
        self.join.store(next, Ordering::Relaxed);
        self.joiner().wake_next();
        true
    }

    fn joiner(&self) -> Waiter {
        // SAFETY: invariant 2.
        let joiner = unsafe { *look(&self.joiner) };
        Waiter::from_raw(joiner.expect("set before JOINING"))
    }

    /// Drops a result that nobody will ask for; a panic in it is reported, once, to standard error.
    #[cold]
    fn dispose(&self, panicked: bool) {
        // SAFETY: by invariant 1 the result is ours.
        let panic = unsafe { self.job.get().dispose(&self.payload) };
        if let (Some(panic), true) = (panic, panicked) {
            let group: *const Group = self.group.get().cast();
            // SAFETY: its owner waits for the task; and whoever had the handle was of the group, or its owner.
            if let Some(group) = unsafe { group.as_ref() } {
                return group.panicked(panic);
            }
            report(format_args!(
                "{}, spawned at {}, panicked and nobody joined it: {}",
                self.title(),
                self.place(),
                panic_message(&*panic).unwrap_or("Box<dyn Any>")
            ));
            drop_quietly(|| drop(panic));
        }
    }

    // ---- for the owner of the handle ----

    /// Whether the result is there.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.join.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether a future has been here: a deputy stands at the end, or the result was taken out.
    #[inline]
    pub(crate) fn was_polled(&self) -> bool {
        self.join.load(Ordering::Relaxed) & (DEPUTED | TAKEN) != 0
    }

    /// Whether the result was taken out by [`take_result_only`](Header::take_result_only).
    pub(crate) fn is_taken(&self) -> bool {
        self.join.load(Ordering::Relaxed) & TAKEN != 0
    }

    /// The joiner that was set last is a deputy, and the handle's.
    pub(crate) fn set_deputed(&self) {
        self.join.fetch_or(DEPUTED, Ordering::Relaxed);
    }

    /// The handle's deputy, if there is one, who is nobody's joiner any more.
    pub(crate) fn take_deputy(&self) -> Option<&'static Header> {
        if self.join.load(Ordering::Relaxed) & DEPUTED == 0 {
            return None;
        }
        self.join.fetch_and(!(DEPUTED | JOINING), Ordering::AcqRel);
        Some(self.joiner().header())
    }

    /// Asks for `joiner`, a wait of the caller, to be woken at the end; false if the end has come.
    #[inline]
    pub(crate) fn set_joiner(&'static self, joiner: Waiter) -> bool {
        self.set_joiner_of(joiner, self.is_neighbour())
    }

    /// The caller, a task of the same home, owns the handle and stands still, but does not wait: see 3.
    #[inline]
    pub(super) fn set_local(&self) {
        let state = self.join.load(Ordering::Relaxed);
        self.join.store(state | LOCAL, Ordering::Relaxed);
    }

    /// It goes on.
    #[inline]
    pub(super) fn unset_local(&self) {
        let state = self.join.load(Ordering::Relaxed);
        self.join.store(state & !LOCAL, Ordering::Relaxed);
    }

    /// As `set_joiner`, for a wait that others know as well: they may be anywhere.
    pub(crate) fn set_joiner_among_others(&self, joiner: Waiter) -> bool {
        self.set_joiner_of(joiner, false)
    }

    /// `local`: the task ends on this thread, and nobody else has been shown `joiner`.
    #[inline]
    fn set_joiner_of(&self, joiner: Waiter, local: bool) -> bool {
        let state = self.join.load(Ordering::Acquire);
        if state & DONE != 0 {
            return false;
        }
        debug_assert!(state & JOINING == 0, "who was there has been taken back");
        // SAFETY: invariant 2; the handle has one owner, and it is not joining yet.
        unsafe { *self.joiner.get() = Some(joiner.raw()) };
        if local {
            // By 3: the task ends on this thread, and not now.
            self.join.store(state | JOINING | LOCAL, Ordering::Relaxed);
            return true;
        }
        self.join.fetch_or(JOINING, Ordering::AcqRel) & DONE == 0
    }

    /// Takes that back; the end may have come meanwhile.
    pub(crate) fn clear_joiner(&self) {
        let state = self.join.load(Ordering::Acquire);
        if state & LOCAL != 0 {
            // By 3, as above.
            self.join
                .store(state & !(JOINING | LOCAL), Ordering::Relaxed);
        } else {
            self.join.fetch_and(!JOINING, Ordering::AcqRel);
        }
    }

    /// Takes the result out and gives the handle and its reference up.
    ///
    /// # Safety
    /// The caller owns the handle, `is_done`, and the task was spawned with this `T`.
    #[inline(always)]
    pub(crate) unsafe fn take_result<T>(&'static self) -> Result<T, JoinError> {
        // SAFETY: invariant 1, and the caller's promise.
        let result = unsafe { Job::take(&self.payload) };
        self.release_with_inheritance();
        result
    }

    /// As `take_result`, once; the handle and its reference are given up by `release_with_inheritance`.
    ///
    /// # Safety
    /// As for `take_result`.
    pub(crate) unsafe fn take_result_only<T>(&'static self) -> Result<T, JoinError> {
        self.join.fetch_or(TAKEN, Ordering::Relaxed);
        // SAFETY: invariant 1, and the caller's promise.
        unsafe { Job::take(&self.payload) }
    }

    /// Nobody will ask for the result any more; gives the handle's reference up.
    pub(crate) fn detach(&'static self) {
        if self.is_done() || self.join.fetch_and(!HANDLE, Ordering::AcqRel) & DONE != 0 {
            self.dispose(true);
            self.release_with_inheritance();
        } else {
            self.release();
        }
    }

    /// Gives the handle and its reference up, when the result is taken or gone: the word does not change any more.
    #[inline]
    pub(crate) fn release_with_inheritance(&'static self) {
        let inherited = self.join.load(Ordering::Relaxed) & INHERITED != 0;
        self.release_many(1 + u32::from(inherited));
    }

    /// Whether the caller is a task of the same home. If the one that is joined has not begun it begins next, and is not up for
    /// grabs any more.
    #[inline]
    fn is_neighbour(&'static self) -> bool {
        let (task, here) = CX.with(|cx| (cx.task.get(), cx.home.get()));
        match (task, here) {
            // SAFETY: its loop runs on this thread; the caller has the handle, and is about to wait.
            (Some(joiner), Some(here)) => unsafe { here.hasten(self, joiner) },
            _ => false,
        }
    }
}

#[cfg(all(test, loom))]
pub(in crate::rt) mod models {
    use super::super::fiber::Switch;
    use super::super::header::models::{Actor, Cast};
    use super::super::job::{Payload, Stage};
    use super::*;
    use crate::base::shared::{self, explore, Counted, Drops};
    use crate::rt::deputy::Deputy;
    use loom::thread;
    use std::sync::atomic::AtomicUsize;
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    /// A task that nobody runs yet, on a thread of its own, and what its end leaves to be counted.
    struct Play {
        task: Actor,
        drops: Drops,
        recycled: Arc<AtomicUsize>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum End {
        /// Of one that was never suspended.
        Unhoused,
        /// On its fiber, which is in the header until it is taken out.
        Housed,
        /// Of one that has left that, if it can.
        Plain,
    }

    const ENDS: [End; 3] = [End::Unhoused, End::Housed, End::Plain];

    /// There are no fibers.
    pub(in crate::rt) struct NoStage;

    impl Stage for NoStage {
        fn leave(_: &Payload) -> Option<Switch> {
            None
        }
    }

    impl Play {
        fn new() -> Self {
            let play = Play {
                task: Actor::task(2),
                drops: Drops::default(),
                recycled: Arc::default(),
            };
            let value = play.drops.one();
            // SAFETY: the header is new.
            unsafe { play.task.header.set_job::<NoStage, _, _>(move || value) };
            play
        }

        /// The home thread: runs the task to the end that it comes to.
        fn run(&self, end: End) -> thread::JoinHandle<()> {
            let (header, recycled) = (self.task.header, self.recycled.clone());
            thread::spawn(move || {
                header.housed.set(end == End::Housed);
                let released = if end == End::Plain {
                    // SAFETY: it is run once, and this is its job.
                    let ending = unsafe { header.job.get().run(&header.payload, None) };
                    header.has_plain_end() && header.end_plainly() || {
                        // It has left its fiber in vain.
                        header.housed.set(true);
                        header.come_to_end(ending)
                    }
                } else {
                    header.run_to_end()
                };
                if !released {
                    header.release();
                }
                count(header, &recycled);
            })
        }

        /// As `JoinHandle` waits; `interrupted` says whether somebody else may end the wait.
        fn wait(&self, joiner: &Actor, interrupted: bool) {
            let header = self.task.header;
            let waiter = Waiter::new(joiner.header);
            if !header.set_joiner(waiter) {
                assert!(waiter.retract());
                return;
            }
            if !interrupted || !waiter.retract() {
                joiner.stand_still();
                assert!(waiter.was_woken() && header.is_done());
            }
            if !header.is_done() {
                header.clear_joiner();
            }
        }

        fn take(&self) {
            // SAFETY: it is done, and this is the handle.
            let result = unsafe { self.task.header.take_result::<Counted>() };
            count(self.task.header, &self.recycled);
            assert_eq!(self.drops.count(), 0);
            assert!(result.is_ok());
        }

        fn detach(&self) {
            self.task.header.detach();
            count(self.task.header, &self.recycled);
        }

        fn end(self, home: thread::JoinHandle<()>) {
            home.join().unwrap();
            assert_eq!(self.drops.count(), 1);
            assert_eq!(self.recycled.load(Ordering::Relaxed), 1);
        }
    }

    fn count(header: &'static Header, recycled: &AtomicUsize) {
        recycled.fetch_add(usize::from(header.was_recycled()), Ordering::Relaxed);
    }

    #[test]
    fn a_result_is_taken_once_by_a_joiner_on_another_thread_who_is_woken_once() {
        for end in ENDS {
            explore(3, move || {
                let (play, joiner) = (Play::new(), Actor::task(1));
                let home = play.run(end);
                while !play.task.header.is_done() {
                    play.wait(&joiner, false);
                }
                play.take();
                play.end(home);
                assert!(!joiner.was_made_ready());
            });
        }
    }

    #[test]
    fn a_result_is_dropped_once_if_the_handle_is_let_go_of_meanwhile() {
        for end in ENDS {
            explore(3, move || {
                let play = Play::new();
                let home = play.run(end);
                play.detach();
                play.end(home);
            });
        }
    }

    #[test]
    fn a_joiner_that_gives_up_waits_again_takes_or_lets_go_without_a_second_wake() {
        for end in ENDS {
            explore(3, move || {
                let (play, joiner) = (Play::new(), Actor::task(1));
                let home = play.run(end);
                play.wait(&joiner, true);
                play.wait(&joiner, true);
                if play.task.header.is_done() {
                    play.take();
                } else {
                    play.detach();
                }
                play.end(home);
                assert!(!joiner.was_made_ready());
            });
        }
    }

    /// As a handle is polled as a future; true if it is pending.
    fn poll(play: &Play, waker: &Waker) -> bool {
        recall(play);
        let deputy = Deputy::new(waker);
        let header = play.task.header;
        let pending = !header.is_done() && header.set_joiner_among_others(deputy.waiter());
        if pending {
            header.set_deputed();
            deputy.leave();
        }
        pending
    }

    /// As a handle does before it is used otherwise.
    fn recall(play: &Play) {
        if let Some(deputy) = play.task.header.take_deputy() {
            // SAFETY: `poll` left it.
            drop(unsafe { Deputy::left(deputy) });
        }
    }

    #[test]
    fn a_future_that_is_polled_again_is_called_at_the_end_or_finds_it() {
        explore(3, || {
            let _cast = Cast::here();
            let play = Play::new();
            let home = play.run(End::Unhoused);
            let called = Arc::new(Called(shared::AtomicBool::new(false)));
            called.0.make();
            let waker = Waker::from(called.clone());
            poll(&play, Waker::noop());
            if poll(&play, &waker) {
                while !called.0.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                assert!(play.task.header.is_done());
            }
            recall(&play);
            play.take();
            play.end(home);
        });
    }

    #[test]
    fn a_future_that_is_dropped_as_its_task_ends_leaves_the_result_to_be_dropped_once() {
        explore(3, || {
            let _cast = Cast::here();
            let play = Play::new();
            let home = play.run(End::Unhoused);
            poll(&play, Waker::noop());
            recall(&play);
            play.detach();
            play.end(home);
        });
    }

    struct Called(shared::AtomicBool);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }
}
