//! How the workers of a scheduler share the work: who takes what, who tells whom, who waits how.
//!
//! 1. Only tasks that have not begun change workers. A worker that has nothing to do takes some of those that are up for
//!    grabs elsewhere, the last in the queue first; they are its own from then on (see invariant 5 of
//!    `header`).
//! 2. No task is left up for grabs unnoticed while a worker sleeps that would take it. Who puts some up looks whether
//!    anybody is hungry: at once, as well as it can be seen, and for certain, with a fence, before the next task of its
//!    worker goes on. Who lies down says that it is hungry and then looks round, with a fence in between. So one of
//!    the two sees the other. (A task that puts some up and then computes without ever waiting comes to the second
//!    look only at its end; the first misses who lies down in the same moment.) One is told, who tells the next: if it
//!    has taken some, as whoever puts some up; if it has something of its own to do instead, by another look.
//! 3. At most one worker of a scheduler spins.
//! 4. Where much more tasks are that wait than elsewhere, new ones are sent away, while that helps: see [`Balance`].
//!
//! Taking half of what another has is the policy of Go's scheduler, as is that one looks for work for all.

use super::crew::Crew;
use super::fibers::Fibers;
use super::header::Header;
use super::home::{sleep, Home, Spinning};
use crate::base::shared::{fence, spin, Ordering};
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tasks taken from another worker at once, at most: in effect half of what it has. The last ones in the queue may be the smallest, of a tree
/// that is worked off in turn its leaves, and who takes few of them is back at once.
const HANDFUL: usize = 2048;
/// Entries of another's queue looked at for them.
const LOOKS: usize = 8 * HANDFUL;

/// A worker's part in all that.
pub(super) struct Share {
    home: &'static Home<Header>,
    /// Set when all workers of the scheduler are made.
    crew: OnceCell<Arc<Crew>>,
    /// Its place in the crew.
    number: Cell<usize>,
    balance: Balance,
    /// It was hungry, and has found nothing since: it may have been told of what it has not taken.
    hungered: Cell<bool>,
}

impl Share {
    pub(super) fn new(home: &'static Home<Header>) -> Self {
        Share {
            home,
            crew: OnceCell::new(),
            number: Cell::new(0),
            balance: Balance::new(),
            hungered: Cell::new(false),
        }
    }

    /// The worker is the one of its number in a crew; once.
    pub(super) fn join(&self, crew: Arc<Crew>, number: usize) {
        self.number.set(number);
        let joined = self.crew.set(crew);
        assert!(joined.is_ok(), "a worker joins one crew");
    }

    #[inline]
    pub(super) fn crew(&self) -> &Arc<Crew> {
        self.crew.get().expect("it has joined")
    }

    pub(super) fn is_captain(&self) -> bool {
        self.number.get() == 0
    }

    /// Whether there are others, which have begun.
    pub(super) fn has_others(&self) -> bool {
        self.home.shares.get() && self.crew().has_begun()
    }

    /// The other workers, beginning with the next.
    fn others(&self) -> impl Iterator<Item = &'static Home<Header>> + '_ {
        let (before, after) = self.crew().homes().split_at(self.number.get());
        after.iter().skip(1).chain(before).copied()
    }

    // ---- what it has ----

    /// Puts a new task, of this worker alone and for which a stack was promised, at the end of the queue; up for grabs if it
    /// may begin `anywhere`. For the home thread.
    #[inline(always)]
    pub(super) fn line_up(&self, task: &'static Header, anywhere: bool) {
        if self.home.closing.get() {
            task.set_cancelled();
        } else if anywhere {
            return self.put_up(task);
        }
        // SAFETY: the caller is the home thread.
        unsafe { self.home.line_up(task) }
    }

    #[inline(never)]
    fn put_up(&self, task: &'static Header) {
        // SAFETY: the caller is the home thread.
        unsafe { self.home.put_up(task) };
        self.home.interrupt_pass();
        if self.home.is_anybody_hungry() {
            self.offer();
        }
    }

    // ---- who has too much ----

    /// If tasks of this worker are up for grabs since its last task began, whoever would take some is told, and the pass goes
    /// on; false if there are none.
    #[inline]
    pub(super) fn tell(&self) -> bool {
        let untold = self.home.continue_pass();
        if untold {
            self.tell_for_certain();
        }
        untold
    }

    fn tell_for_certain(&self) {
        // Pairs with the fence of who lies down: see 2.
        fence(Ordering::SeqCst);
        if self.home.is_anybody_hungry() {
            self.offer();
        }
    }

    /// For who has something of its own to do, or leaves the loop: what it was told of meanwhile, another is told.
    #[inline]
    pub(super) fn pass_on(&self) {
        if self.hungered.take() {
            self.pass_on_for_certain();
        }
    }

    #[inline(never)]
    fn pass_on_for_certain(&self) {
        // Pairs with the fence of who told: see 2.
        fence(Ordering::SeqCst);
        if self.home.is_anybody_hungry() && self.is_there_more() {
            self.offer();
        }
    }

    /// The worker does something else than its loop from now on.
    pub(super) fn leave(&self) {
        self.tell();
        self.pass_on();
    }

    /// Somebody seems to be hungry: one is told, who tells the next if there is more.
    #[cold]
    #[inline(never)]
    fn offer(&self) {
        if !self.home.tell_who_spins() {
            let _told = self.others().any(|home| home.is_asleep() && home.nudge());
        }
    }

    // ---- who has nothing ----

    /// Takes tasks that are up for grabs elsewhere; false if there is none.
    pub(super) fn seek(&self, fibers: &RefCell<Fibers>) -> bool {
        self.seek_by(|home| self.rob(home, fibers))
    }

    fn seek_by(&self, rob: impl FnMut(&'static Home<Header>) -> bool) -> bool {
        let found = self.has_others() && self.others().any(rob);
        if found {
            // It tells of what it has now, and who hears that looks everywhere.
            self.hungered.set(false);
        }
        found
    }

    fn rob(&self, victim: &'static Home<Header>, fibers: &RefCell<Fibers>) -> bool {
        let promise = || fibers.borrow_mut().promise(0).is_ok();
        let (taken, promised) = self.take_some(victim, promise);
        if promised > taken {
            fibers.borrow_mut().redeem_many(0, promised - taken);
        }
        taken > 0
    }

    /// Takes tasks that are up for grabs at `victim`. For each, a stack is promised before it is taken: who takes a task
    /// can run it. Says how many were taken, and how many stacks promised.
    fn take_some(
        &self,
        victim: &'static Home<Header>,
        promise: impl Fn() -> bool,
    ) -> (usize, usize) {
        let wanted = victim.free().div_ceil(2).min(HANDFUL);
        if wanted == 0 || !promise() {
            return (0, 0);
        }
        let (mut taken, mut promised) = (0, 1);
        let raid = victim.claims.raid();
        victim.look_for_free(LOOKS, |task| {
            if task.take_from(victim, self.home) {
                taken += 1;
                self.line_up(task, true);
                if taken < wanted && promise() {
                    promised += 1;
                }
            }
            taken < promised
        });
        drop(raid);
        if taken > 0 {
            victim.taken.fetch_add(taken, Ordering::Relaxed);
            self.home.tally().count_stolen(taken);
        }
        (taken, promised)
    }

    /// Whether there is something to take elsewhere.
    pub(super) fn is_there_more(&self) -> bool {
        self.has_others()
            && self.others().any(|home| {
                let mut found = false;
                if home.free() > 0 {
                    home.look_for_free(LOOKS, |task| {
                        found = task.is_up_at(home);
                        !found
                    });
                }
                found
            })
    }

    /// Takes back what was promised for tasks that others have taken.
    pub(super) fn settle_up(&self, fibers: &RefCell<Fibers>) {
        if self.home.taken.load(Ordering::Relaxed) > 0 {
            let taken = self.home.taken.swap(0, Ordering::Relaxed);
            fibers.borrow_mut().redeem_many(0, taken);
        }
    }

    /// Lies down and polls; false if there is something to do, and it did not. `hopeless`: nothing that it waits for can
    /// come by itself.
    pub(super) fn sleep(
        &self,
        hopeless: bool,
        done: impl Fn() -> bool,
        poll: impl FnOnce(),
    ) -> bool {
        let (mut how, shares) = (0, self.home.shares.get());
        if shares {
            self.hungered.set(true);
            how |= sleep::HUNGRY;
        }
        // The captain, who asks whether there is anybody else, is not among them himself.
        if hopeless && !self.is_captain() {
            how |= sleep::IDLE;
        }
        let done = || {
            if shares && !self.is_captain() && self.crew().live() == 0 {
                // The captain may wait for just that.
                self.crew().captain().nudge();
            }
            self.crew().tell_watchers();
            done() || shares && self.is_there_more()
        };
        self.home.sleep(how, done, poll)
    }

    /// Becomes the one that spins; `None` if there is one.
    fn spin(&self) -> Option<Spinning<'_>> {
        self.hungered.set(self.home.shares.get());
        self.home.spin()
    }

    // ---- where new ones go ----

    /// Where the next task is to go, if it may begin anywhere and not here.
    #[inline]
    pub(super) fn elsewhere(&self) -> Option<&'static Home<Header>> {
        if self.balance.left.get() == 0 {
            return None;
        }
        let to = self.crew().homes()[self.balance.to.get()];
        self.balance.count_sent(to);
        Some(to)
    }

    /// Looks at how much the others have; once for each pass of the loop.
    pub(super) fn balance(&self) {
        self.home.count_pass();
        if self.balance.rests() {
            return;
        }
        let mine = self.home.housed();
        if mine <= MARGIN || !self.has_others() {
            return self.balance.left.set(0);
        }
        let homes = self.crew().homes().iter().copied().enumerate();
        // What a captain that does something else is sent would lie there.
        let first = usize::from(!self.crew().is_manned());
        let others = homes
            .skip(first)
            .filter(|(number, _)| *number != self.number.get());
        let least = others.min_by_key(|(_, home)| home.housed());
        if let Some((number, home)) = least {
            self.balance.weigh(mine, number, home);
        }
    }
}

// ---- spinning ----

/// Whether, and for how long, a worker spins before it sleeps.
///
/// Spinning pays when what a worker waits for comes before it would be asleep and up again. Whether it does is told by
/// what came of it lately: a spin costs points, and brings twice as many unless it was in vain. Without points a sleep that
/// turned out to be shorter than a spin brings one: it takes many of them to try again, for a spin in vain costs more
/// than all that could be won by it (that is so where whoever is waited for needs the same processor).
pub(super) struct Spin {
    limit: Duration,
    points: Cell<u32>,
}

/// What a spin costs.
const PRICE: u32 = 16;
const MOST_POINTS: u32 = 8 * PRICE;
/// Looks at memory before descriptors are polled, which costs more.
const LOOKS_A_POLL: u32 = 64;

impl Spin {
    pub(super) fn new(limit: Duration) -> Self {
        Spin {
            limit,
            points: Cell::new(MOST_POINTS / 2),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        !self.limit.is_zero()
    }

    /// Looks for `news` for a while before it is worth to sleep, and lets descriptors be polled in between; true if there
    /// are some.
    pub(super) fn spin(
        &self,
        share: &Share,
        until: Option<Instant>,
        news: impl Fn() -> bool,
        poll: impl Fn(),
    ) -> bool {
        if !self.is_worth_it() {
            return false;
        }
        let Some(spinning) = share.spin() else {
            return false;
        };
        self.points.set(self.points.get() - PRICE);
        let limit = Instant::now() + self.limit;
        let end = until.map_or(limit, |until| until.min(limit));
        let news = || spinning.is_there_work() || news();
        loop {
            // First: where there is much to do the next event is there already.
            poll();
            for _ in 0..LOOKS_A_POLL {
                if news() {
                    self.was_worth_it();
                    return true;
                }
                // Once: many in a row take longer than a message.
                spin(1);
            }
            if Instant::now() >= end {
                return false;
            }
        }
    }

    fn is_worth_it(&self) -> bool {
        self.is_on() && self.points.get() >= PRICE
    }

    fn was_worth_it(&self) {
        self.earn(2 * PRICE);
    }

    pub(super) fn slept_for(&self, slept: Duration) {
        if slept < self.limit && self.points.get() < PRICE {
            self.earn(1);
        }
    }

    fn earn(&self, points: u32) {
        self.points
            .set((self.points.get() + points).min(MOST_POINTS));
    }
}

/// Where new tasks go.
///
/// A task that lives long stays where it has begun; so connections would all be where they were accepted, by a
/// worker that never has nothing to do for long. So workers tell each other how many tasks they have that wait. Who has
/// many more than the one that has fewest sends some of those that it spawns there. It does so for as long as that
/// helps: if the other does not end up with more, its tasks are short, and are better left where they are.
struct Balance {
    /// Tasks still to be sent,
    left: Cell<u32>,
    /// and to whom.
    to: Cell<usize>,
    /// Tasks that were sent there since `base`,
    sent: Cell<usize>,
    /// which is how many were suspended there.
    base: Cell<usize>,
    /// The other's number of passes when something was sent to it last.
    passes: Cell<usize>,
    /// Passes to let go by, since it did not help, and as many the next time.
    rest: Cell<u32>,
    pause: Cell<u32>,
}

/// Sent before the numbers are looked at again.
const SENT_AT_ONCE: u32 = 8;
/// Differences that do not matter.
const MARGIN: usize = 8;
/// So many are sent before it is asked whether it helps.
const TRIAL: usize = 32;
const PAUSES: (u32, u32) = (64, 1 << 16);

impl Balance {
    const fn new() -> Self {
        Balance {
            left: Cell::new(0),
            to: Cell::new(usize::MAX),
            sent: Cell::new(0),
            base: Cell::new(0),
            passes: Cell::new(0),
            rest: Cell::new(0),
            pause: Cell::new(PAUSES.0),
        }
    }

    #[cold]
    fn count_sent(&self, to: &Home<Header>) {
        self.left.set(self.left.get() - 1);
        self.sent.set(self.sent.get() + 1);
        self.passes.set(to.passes());
    }

    /// Lets a pass go by, if it is to rest.
    fn rests(&self) -> bool {
        let left = self.rest.get().checked_sub(1);
        left.inspect(|&left| self.rest.set(left)).is_some()
    }

    /// Whoever has `mine` compares that with what `home`, of that number, has.
    fn weigh(&self, mine: usize, number: usize, home: &Home<Header>) {
        self.left.set(0);
        let theirs = home.housed();
        if mine <= theirs + MARGIN + mine / 8 {
            return;
        }
        if number != self.to.replace(number) {
            self.begin_trial(theirs);
        } else if self.sent.get() >= TRIAL {
            let helped = theirs >= self.base.get() + self.sent.get() / 4;
            self.begin_trial(theirs);
            if !helped {
                self.rest.set(self.pause.get());
                self.pause.set((self.pause.get() * 2).min(PAUSES.1));
                return;
            }
            self.pause.set(PAUSES.0);
        } else if self.sent.get() > 0 && !home.is_asleep() && home.passes() == self.passes.get() {
            // It has not come round since: what it gets would lie there.
            return;
        }
        let half = u32::try_from((mine - theirs) / 2).unwrap_or(u32::MAX);
        self.left.set(half.min(SENT_AT_ONCE));
    }

    fn begin_trial(&self, theirs: usize) {
        self.sent.set(0);
        self.base.set(theirs);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Of a worker that nobody runs.
    fn alone() -> Share {
        Share::new(Box::leak(Box::new(Home::default())))
    }

    /// Whether it spins if it may.
    fn spins(spin: &Spin, share: &Share, news: bool) -> bool {
        let looked = Cell::new(false);
        let look = || {
            looked.set(true);
            news
        };
        let found = spin.spin(share, None, look, || ());
        assert!(!looked.get() || found == news);
        looked.get()
    }

    #[test]
    fn who_spun_in_vain_sleeps_until_as_many_sleeps_as_a_spin_costs_were_short() {
        let (share, spin) = (alone(), Spin::new(Duration::from_micros(1)));
        let tries = (0..100).take_while(|_| spins(&spin, &share, false)).count();
        assert!((1..100).contains(&tries));
        for _ in 0..PRICE {
            assert!(!spins(&spin, &share, false));
            spin.slept_for(Duration::from_secs(1));
            spin.slept_for(Duration::ZERO);
        }
        assert!(spins(&spin, &share, false));
        assert!(!spins(&spin, &share, false));
    }

    #[test]
    fn who_finds_what_it_spins_for_goes_on_to_spin() {
        let (share, spin) = (alone(), Spin::new(Duration::from_secs(3600)));
        for _ in 0..100 {
            assert!(spins(&spin, &share, true));
        }
    }

    #[test]
    fn only_one_worker_spins_and_the_other_pays_nothing() {
        let (share, spin) = (alone(), Spin::new(Duration::from_micros(1)));
        let spinning = share.spin();
        for _ in 0..100 {
            assert!(!spins(&spin, &share, false));
        }
        drop(spinning);
        assert!(spins(&spin, &share, false));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::super::end::models::NoStage;
    use super::super::header::models::Actor;
    use super::super::home::Message;
    use super::super::worker::cancel_or_forward;
    use super::*;
    use crate::base::barrier::provide_for_models;
    use crate::base::shared::{self, explore, UnsafeCell};
    use loom::thread;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    /// The workers of a scheduler, but for their loops.
    struct Troupe {
        actors: Vec<Actor>,
        crew: Arc<Crew>,
    }

    impl Troupe {
        fn of(count: usize) -> Self {
            provide_for_models();
            let actors: Vec<_> = (0..count).map(|_| Actor::thread(1)).collect();
            let homes = actors.iter().map(|actor| actor.home).collect();
            let crew = Arc::new(Crew::of_model(homes));
            Troupe { actors, crew }
        }

        fn workers<const N: usize>() -> (Self, [Player; N]) {
            let troupe = Troupe::of(N);
            let players = std::array::from_fn(|number| {
                let actor = &troupe.actors[number];
                let share = Share::new(actor.home);
                share.join(troupe.crew.clone(), number);
                let rings = actor.rings.clone();
                let poll: Box<dyn Fn()> = Box::new(move || rings.poll());
                Player { share, poll }
            });
            (troupe, players)
        }
    }

    /// A worker.
    struct Player {
        share: Share,
        poll: Box<dyn Fn()>,
    }

    impl Player {
        fn home(&self) -> &'static Home<Header> {
            self.share.home
        }

        /// As `seek`, where there is always room for stacks.
        fn seek(&self) -> bool {
            let rob = |home| self.share.take_some(home, || true).0 > 0;
            self.share.seek_by(rob)
        }

        /// Runs what is ready here; says how many tasks that were.
        fn run_all(&self, plays: &[Play]) -> usize {
            // SAFETY: this is the home thread.
            let tasks = std::iter::from_fn(|| unsafe { self.home().next() });
            tasks.map(|task| self.run(task, plays)).count()
        }

        fn run(&self, task: &'static Header, plays: &[Play]) {
            let mut plays = plays.iter();
            let play = plays.find(|play| std::ptr::eq(play.task.header, task));
            play.expect("one of them").begin();
            assert!(task.is_at(self.home()));
            task.run_to_end();
            self.home().count_ended();
        }

        /// Lets a task begin next, as one that runs here and waits for it does.
        fn hasten(&self, play: &Play) {
            let joiner = Actor::thread(1);
            // SAFETY: this is the home thread.
            unsafe { self.home().hasten(play.header(), joiner.header) };
        }

        /// Spins for a moment.
        fn spin(&self) {
            if let Some(spinning) = self.share.spin() {
                let _one_look = spinning.is_there_work();
            }
        }

        /// Takes in tasks, and cancels others; true if it was told to.
        fn receive(&self) -> bool {
            let mut cancelled = false;
            while let Some(message) = self.home().inbox().pop() {
                match message {
                    // SAFETY: this is the home thread.
                    Message::Spawn(task) => unsafe { self.home().line_up(task) },
                    Message::Cancel(task) => {
                        cancelled = true;
                        cancel_or_forward(self.home(), self.share.crew(), task);
                    }
                    _ => unreachable!("nobody sends such"),
                }
            }
            cancelled
        }

        fn sleep(&self, done: impl Fn() -> bool) {
            if !self.share.sleep(false, done, &self.poll) {
                // What it has seen, it will find before long.
                thread::yield_now();
            }
        }

        /// The life of a mate.
        fn serve(&self, plays: &[Play]) {
            self.run_until(plays, || self.share.crew().is_over());
        }

        fn wait_for_the_end(&self, plays: &[Play]) {
            self.run_until(plays, || self.share.crew().live() == 0);
        }

        fn run_until(&self, plays: &[Play], done: impl Fn() -> bool) {
            while !done() {
                self.receive();
                if self.run_all(plays) == 0 && !self.seek() {
                    self.sleep(&done);
                }
            }
        }

        /// Sleeps and seeks until it has taken something; then it goes on with that for ever.
        fn wait_for_work(&self) {
            while !self.seek() {
                self.sleep(|| false);
            }
        }
    }

    /// A task that may begin anywhere, and how often it did.
    #[derive(Clone)]
    struct Play {
        task: Arc<Actor>,
        /// It was spawned and has not begun.
        due: Arc<AtomicBool>,
        runs: Arc<AtomicUsize>,
        /// What it is made of.
        mark: Arc<Mark>,
    }

    struct Mark(UnsafeCell<u32>);

    // SAFETY: loom finds out who uses it at the wrong moment.
    unsafe impl Sync for Mark {}
    // SAFETY: as above.
    unsafe impl Send for Mark {}

    impl Mark {
        fn step(&self, from: u32) {
            // SAFETY: as for the whole.
            let value = unsafe { &mut *self.0.get() };
            assert_eq!(*value, from);
            *value ^= 1;
        }
    }

    impl Play {
        fn some<const N: usize>() -> [Self; N] {
            std::array::from_fn(|_| {
                let mark = Mark(UnsafeCell::new(0));
                mark.0.make();
                Play {
                    task: Arc::new(Actor::thread(1)),
                    due: Arc::default(),
                    runs: Arc::default(),
                    mark: Arc::new(mark),
                }
            })
        }

        fn header(&self) -> &'static Header {
            self.task.header
        }

        /// Makes the task, at `home`.
        fn make(&self, home: &'static Home<Header>) -> &'static Header {
            let header = self.header();
            header.renew(home);
            self.mark.step(0);
            let mark = self.mark.clone();
            // SAFETY: the header is as new.
            unsafe { header.set_job::<NoStage, _, _>(move || mark.step(1)) };
            self.due.store(true, Ordering::Relaxed);
            header
        }

        fn spawn(&self, at: &Player) {
            let task = self.make(at.home());
            at.home().count_spawned();
            at.share.line_up(task, true);
        }

        fn begin(&self) {
            assert!(self.due.swap(false, Ordering::Relaxed), "a second time");
            self.runs.fetch_add(1, Ordering::Relaxed);
        }

        /// Whether what it is made of was touched.
        fn has_started(&self) -> bool {
            // SAFETY: as for the mark.
            unsafe { *self.mark.0.get() == 0 }
        }

        fn runs(&self) -> usize {
            self.runs.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn of_owner_and_thief_one_runs_each_task_with_all_that_it_is_made_of_as_the_ring_grows() {
        explore(2, || {
            let (_troupe, [owner, thief]) = Troupe::workers();
            let plays: [_; 3] = Play::some();
            let theirs = plays.clone();
            let other = thread::spawn(move || {
                thief.seek();
                thief.run_all(&theirs);
            });
            plays.iter().for_each(|play| play.spawn(&owner));
            owner.run_all(&plays);
            other.join().unwrap();
            assert!(plays.iter().all(|play| play.runs() == 1));
        });
    }

    #[test]
    fn of_an_owner_and_two_thieves_who_may_rob_each_other_one_runs_a_task() {
        explore(2, || {
            let (_troupe, [owner, first, second]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let thieves = [first, second].map(|thief| {
                let plays = plays.clone();
                thread::spawn(move || {
                    thief.seek();
                    thief.run_all(&plays);
                })
            });
            plays.iter().for_each(|play| play.spawn(&owner));
            owner.run_all(&plays);
            thieves.into_iter().for_each(|thief| thief.join().unwrap());
            assert!(plays.iter().all(|play| play.runs() == 1));
        });
    }

    #[test]
    fn a_header_that_is_up_for_grabs_again_while_old_entries_of_it_are_left_is_run_once_more() {
        explore(3, || {
            let (_troupe, [owner, thief]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let theirs = plays.clone();
            let over = Arc::new(shared::AtomicBool::new(false));
            over.make();
            let told = over.clone();
            let other = thread::spawn(move || {
                thief.seek();
                let over = thief.run_all(&theirs) > 0;
                told.store(over, Ordering::Release);
                thief.seek();
                thief.run_all(&theirs);
            });
            plays[0].spawn(&owner);
            let again = over.load(Ordering::Acquire);
            if again {
                plays[0].spawn(&owner);
            }
            owner.run_all(&plays);
            other.join().unwrap();
            assert_eq!(plays[0].runs(), 1 + usize::from(again));
        });
    }

    #[test]
    fn a_header_that_its_thief_puts_up_again_is_not_run_for_the_old_entry() {
        explore(3, || {
            let (_troupe, [owner, thief]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let theirs = plays.clone();
            let other = thread::spawn(move || {
                thief.seek();
                let over = thief.run_all(&theirs) > 0;
                if over {
                    theirs[0].spawn(&thief);
                    thief.run_all(&theirs);
                }
                1 + usize::from(over)
            });
            plays[0].spawn(&owner);
            owner.run_all(&plays);
            owner.seek();
            owner.run_all(&plays);
            let expected = other.join().unwrap();
            assert_eq!(plays[0].runs(), expected);
        });
    }

    #[test]
    fn tasks_that_are_brought_forward_are_run_once_each_though_a_thief_looks_on() {
        explore(2, || {
            let (_troupe, [owner, thief]) = Troupe::workers();
            let plays: [_; 3] = Play::some();
            let theirs = plays.clone();
            owner.home().begin_pass(1, 8);
            plays[0].spawn(&owner);
            let other = thread::spawn(move || {
                thief.seek();
                thief.run_all(&theirs);
            });
            plays[1..].iter().for_each(|play| play.spawn(&owner));
            owner.hasten(&plays[1]);
            owner.run_all(&plays);
            other.join().unwrap();
            assert!(plays.iter().all(|play| play.runs() == 1));
        });
    }

    // ---- invariant 2 ----

    #[test]
    fn no_task_is_left_up_for_grabs_while_a_worker_sleeps_that_would_take_it() {
        explore(3, || {
            let (_troupe, [busy, idle]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let sleeper = thread::spawn(move || idle.wait_for_work());
            plays[0].spawn(&busy);
            busy.share.tell();
            // It goes on with something else for ever.
            sleeper.join().unwrap();
        });
    }

    #[test]
    fn nor_while_one_spins_and_then_sleeps() {
        explore(2, || {
            let (_troupe, [busy, idle]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let sleeper = thread::spawn(move || {
                idle.spin();
                idle.wait_for_work();
            });
            plays[0].spawn(&busy);
            busy.share.tell();
            sleeper.join().unwrap();
        });
    }

    #[test]
    fn nor_if_who_was_told_has_something_of_its_own_to_do() {
        explore(3, || {
            let (_troupe, [busy, first, second]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let second = thread::spawn(move || second.wait_for_work());
            let meanwhile = || {
                let task = plays[0].make(busy.home());
                // SAFETY: this is the home thread. The look of `line_up` saw nobody hungry, as it may.
                unsafe { busy.home().put_up(task) };
                busy.home().interrupt_pass();
                busy.share.tell();
            };
            // While it sleeps it is told, and made ready otherwise: it goes on with that for ever.
            first.share.sleep(false, || false, meanwhile);
            first.share.pass_on();
            second.join().unwrap();
        });
    }

    #[test]
    fn nor_if_it_was_moved_with_others_as_somebody_looked_round() {
        explore(3, || {
            let (_troupe, [busy, idle]) = Troupe::workers();
            let plays: [_; 2] = Play::some();
            busy.home().begin_pass(1, 8);
            let first = Actor::thread(1);
            // SAFETY: this is the home thread.
            unsafe { busy.home().push(first.header) };
            plays.iter().for_each(|play| play.spawn(&busy));
            busy.share.tell();
            let sleeper = thread::spawn(move || idle.wait_for_work());
            busy.hasten(&plays[0]);
            busy.share.tell();
            sleeper.join().unwrap();
        });
    }

    // ---- the end ----

    /// A captain who waits for the end, a mate with a task that spawns one on the other mate and ends, and that mate.
    #[test]
    fn the_captain_sees_no_end_while_a_task_is_left_and_does_not_sleep_through_it() {
        explore(2, || {
            let (troupe, [captain, first, second]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let (play, theirs) = (plays[0].clone(), plays.clone());
            let to = second.home();
            first.home().count_spawned();
            let first = thread::spawn(move || {
                let task = play.make(to);
                first.home().count_spawned();
                first.share.crew().send(to, Message::Spawn(task));
                first.home().count_ended();
                first.serve(&[]);
            });
            let second = thread::spawn(move || second.serve(&theirs));
            captain.wait_for_the_end(&plays);
            assert_eq!(plays[0].runs(), 1);
            // What it did is seen.
            plays[0].mark.step(0);
            troupe.crew.end();
            first.join().unwrap();
            second.join().unwrap();
        });
    }

    #[test]
    fn nor_if_the_last_task_was_taken_from_the_captain() {
        explore(2, || {
            let (troupe, [captain, mate]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let theirs = plays.clone();
            let mate = thread::spawn(move || mate.serve(&theirs));
            plays[0].spawn(&captain);
            captain.wait_for_the_end(&plays);
            assert_eq!(plays[0].runs(), 1);
            plays[0].mark.step(0);
            troupe.crew.end();
            mate.join().unwrap();
        });
    }

    // ---- cancelling ----

    #[test]
    fn a_task_that_is_cancelled_where_it_is_up_for_grabs_never_starts_or_its_thief_is_told() {
        explore(3, || {
            let (troupe, [owner, thief]) = Troupe::workers();
            let plays: [_; 1] = Play::some();
            let theirs = plays.clone();
            let other = thread::spawn(move || {
                thief.seek();
                thief.receive();
                thief.run_all(&theirs);
                thief
            });
            plays[0].spawn(&owner);
            let task = plays[0].header();
            cancel_or_forward(owner.home(), &troupe.crew, task.retain());
            owner.run_all(&plays);
            let thief = other.join().unwrap();
            let told = thief.receive();
            assert_eq!(plays[0].runs(), 1);
            // Of two that would start it at most the thief did, and was told too late.
            assert!(!plays[0].has_started() || told && task.is_at(thief.home()));
        });
    }
}
