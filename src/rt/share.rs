//! How the workers of a scheduler share the work: who takes what, who tells whom, who waits how.
//!
//! 1. Only tasks that have not begun change workers. A worker that has nothing to do takes some of those that are up for
//!    grabs elsewhere, first those that have been so for longest; they are its own from then on (see invariant 5 of
//!    `header`).
//! 2. No task is left up for grabs unnoticed while a worker sleeps that would take it. Who puts some up looks whether
//!    anybody is hungry: at once, as well as it can be seen, and for certain, with a fence, before the next task of its
//!    worker goes on. Who lies down says that it is hungry and then looks round, with a fence in between. So one of
//!    the two sees the other. (A task that puts some up and then computes without ever waiting comes to the second
//!    look only at its end; the first misses who lies down in the same moment.)
//! 3. At most one worker of a scheduler spins.
//! 4. Where much more tasks are that wait than elsewhere, new ones are sent away, while that helps: see [`Balance`].
//!
//! Taking half of what another has is the policy of Go's scheduler, as is that one looks for work for all.

use super::crew::Crew;
use super::fibers::Fibers;
use super::header::Header;
use super::home::Home;
use crate::base::shared::{fence, spin, Ordering};
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tasks taken from another worker at once, at most.
const HANDFUL: usize = 64;
/// Entries of another's queue looked at for them.
const LOOKS: usize = 1024;

/// A worker's part in all that.
pub(super) struct Share {
    home: &'static Home<Header>,
    /// Set when all workers of the scheduler are made.
    crew: OnceCell<Arc<Crew>>,
    /// Its place in the crew.
    number: Cell<usize>,
    balance: Balance,
}

impl Share {
    pub(super) fn new(home: &'static Home<Header>) -> Self {
        Share {
            home,
            crew: OnceCell::new(),
            number: Cell::new(0),
            balance: Balance::new(),
        }
    }

    /// The worker is the one of its number in a crew; once.
    pub(super) fn join(&self, crew: Arc<Crew>, number: usize) {
        self.number.set(number);
        if crew.homes().len() > 1 {
            self.home.enlist((number > 0).then_some(crew.captain()));
        }
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
            task.cancelled.set(true);
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
        self.has_others() && self.others().any(|home| self.rob(home, fibers))
    }

    fn rob(&self, victim: &'static Home<Header>, fibers: &RefCell<Fibers>) -> bool {
        let promise = || fibers.borrow_mut().promise(0).is_ok();
        let wanted = victim.free().div_ceil(2).min(HANDFUL);
        // A stack is promised for each before it is taken: who takes a task can run it.
        if wanted == 0 || !promise() {
            return false;
        }
        let (mut taken, mut promised) = (0, 1);
        victim.look_for_free(LOOKS, |task| {
            if task.take_from(victim, self.home, false) {
                taken += 1;
                self.line_up(task, true);
                if taken < wanted && promise() {
                    promised += 1;
                }
            }
            taken < promised
        });
        fibers.borrow_mut().redeem_many(0, promised - taken);
        if taken > 0 {
            victim.taken.fetch_add(taken, Ordering::Relaxed);
        }
        taken > 0
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
        let others = homes.filter(|(number, _)| *number != self.number.get());
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
        home: &Home<Header>,
        until: Option<Instant>,
        news: impl Fn() -> bool,
        poll: impl Fn(),
    ) -> bool {
        if !self.is_worth_it() {
            return false;
        }
        let Some(spinning) = home.spin() else {
            return false;
        };
        self.points.set(self.points.get() - PRICE);
        let limit = Instant::now() + self.limit;
        let end = until.map_or(limit, |until| until.min(limit));
        let news = || spinning.is_there_work() || news();
        while Instant::now() < end {
            for _ in 0..LOOKS_A_POLL {
                if news() {
                    self.was_worth_it();
                    return true;
                }
                // Once: many in a row take longer than a message.
                spin(1);
            }
            poll();
        }
        news()
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

    /// Whether it spins if it may.
    fn spins(spin: &Spin, home: &Home<Header>, news: bool) -> bool {
        let looked = Cell::new(false);
        let look = || {
            looked.set(true);
            news
        };
        let found = spin.spin(home, None, look, || ());
        assert!(!looked.get() || found == news);
        looked.get()
    }

    #[test]
    fn who_spun_in_vain_sleeps_until_as_many_sleeps_as_a_spin_costs_were_short() {
        let (home, spin) = (Home::default(), Spin::new(Duration::from_micros(1)));
        let tries = (0..100).take_while(|_| spins(&spin, &home, false)).count();
        assert!((1..100).contains(&tries));
        for _ in 0..PRICE {
            assert!(!spins(&spin, &home, false));
            spin.slept_for(Duration::from_secs(1));
            spin.slept_for(Duration::ZERO);
        }
        assert!(spins(&spin, &home, false));
        assert!(!spins(&spin, &home, false));
    }

    #[test]
    fn who_finds_what_it_spins_for_goes_on_to_spin() {
        let (home, spin) = (Home::default(), Spin::new(Duration::from_secs(3600)));
        for _ in 0..100 {
            assert!(spins(&spin, &home, true));
        }
    }

    #[test]
    fn only_one_worker_spins_and_the_other_pays_nothing() {
        let (home, spin) = (Home::default(), Spin::new(Duration::from_micros(1)));
        let spinning = home.spin();
        for _ in 0..100 {
            assert!(!spins(&spin, &home, false));
        }
        drop(spinning);
        assert!(spins(&spin, &home, false));
    }
}
