//! The worker's looks at what is not a task of its own that is ready: timers, descriptors, and how long it may sleep.
//!
//! 1. A look between two passes never waits, and costs next to nothing where there is nothing to look at.
//! 2. No more timers fire at once than have a turn before the next look: see [`Worker::fire_some`].
//! 3. Whom a poll wakes goes before those who were served already since that happened last: everybody is overtaken so by one poll at the
//!    most.
//! 4. A sleep ends at the nearest of what may happen by itself: a timer, the next time to give stacks back, and what its caller waits for.

use super::{Fibers, Patience, Worker};
use std::time::{Duration, Instant};

/// How often it is judged how many stacks are idle for too long,
const TRIM: Duration = Duration::from_millis(250);
/// and how long the others have between two times that some of these are given back.
const TRIM_PAUSE: Duration = Duration::from_millis(1);

impl Worker {
    /// Fires timers and polls while tasks are ready. Costs no more than a look at a counter if there is neither a timer nor
    /// a descriptor.
    pub(super) fn glance(&self) {
        self.pace.look();
        self.fire_some();
        if !self.reactor.is_idle() {
            self.poll_between();
        }
    }

    /// Polls while others are ready. If all who were so when this happened last have had their turn, those who are ready now have come since,
    /// most of them because they yield: whom the poll wakes goes before them. (So who waits for a descriptor beside a task that computes
    /// between two yields waits for it once, not twice.)
    fn poll_between(&self) {
        // SAFETY: this is the home thread.
        let others = unsafe { self.home.ready() };
        self.reactor.poll(Patience::None);
        // SAFETY: as above; none is up for grabs.
        unsafe {
            let woken = self.home.ready() - others;
            let may_overtake = woken > 0 && others > 0 && self.home.free() == 0;
            if may_overtake && self.home.is_past(self.overtaken.get()) {
                self.home.bring_last_forward(woken);
                self.overtaken.set(self.home.queue_end());
            }
        }
    }

    /// Fires timers and polls, without waiting if `done`; true if it slept for as long as it was allowed to, and nothing
    /// came.
    ///
    /// `hopeless`: nothing that it waits for can come by itself.
    pub(super) fn look(&self, patience: Patience, hopeless: bool, done: impl Fn() -> bool) -> bool {
        self.fire_some();
        let stays = patience == Patience::None || self.has_ready();
        if stays {
            self.reactor.poll(Patience::None);
        }
        let slept = !stays && !self.spin(patience, &done) && self.sleep(patience, hopeless, done);
        self.pace.begin();
        if slept {
            self.fire_some();
        }
        slept && !self.has_ready()
    }

    fn spin(&self, patience: Patience, done: impl Fn() -> bool) -> bool {
        let until = match patience {
            Patience::Until(until) => Some(until),
            Patience::Forever | Patience::None => None,
        };
        let news = || !self.home.inbox().is_empty() || self.has_ready() || done();
        let poll = || {
            if !self.reactor.is_idle() {
                self.reactor.poll(Patience::None);
            }
        };
        self.spin.spin(&self.share, until, news, poll)
    }

    /// Polls for as long as `patience` says; false if there is something to do, and it did not.
    fn sleep(&self, patience: Patience, hopeless: bool, done: impl Fn() -> bool) -> bool {
        let poll = || {
            let start = self.spin.is_on().then(Instant::now);
            self.reactor.poll(patience);
            if let Some(start) = start {
                self.spin.slept_for(start.elapsed());
            }
        };
        // Who was told of the end may go on here.
        let done = || done() || self.has_ready() || self.simulation.was_let_go();
        self.share.sleep(hopeless, done, poll)
    }

    /// Fires all timers that are due.
    pub(super) fn fire(&self) {
        if !self.timers.is_empty() {
            self.timers.fire(self.now(), usize::MAX);
        }
    }

    /// Fires as many timers as have their turn in the next pass. Whose time is up goes before all others who are ready, and these have
    /// the other half of the pass; those for whom there is no turn wait for it in the order of their time.
    fn fire_some(&self) {
        if self.timers.is_empty() {
            return;
        }
        if self.simulation.is_on() {
            return self.fire();
        }
        // SAFETY: this is the home thread.
        let others = unsafe { self.home.ready() };
        let runs = self.runs_in_pass();
        let most = if others == 0 { runs } else { runs / 2 };
        self.timers.fire(self.now(), most as usize);
        if others > 0 {
            // SAFETY: as above; who waited for a timer has begun, and is not up for grabs.
            unsafe {
                let fired = self.home.ready() - others;
                self.home.bring_last_forward(fired);
            }
        }
    }

    /// How long to poll, and whether nothing but another thread could end it.
    pub(super) fn patience(&self, doubt: Duration) -> (Patience, bool) {
        let (patience, hopeless) = match self.nearest(Patience::Forever) {
            // A mate judges nothing: it waits until it is rung.
            Patience::Forever if !self.share.is_captain() => {
                (Patience::Forever, self.home.waiting_io.get() == 0)
            }
            Patience::Forever if self.home.waiting_io.get() == 0 => {
                (Patience::Until(Instant::now() + doubt), true)
            }
            patience => (patience, false),
        };
        match self.pause.get().map(|pause| Instant::now() + pause) {
            Some(pause) => (patience.at_most(pause), hopeless),
            None => (patience, hopeless),
        }
    }

    /// The nearest of `patience`, the next timer, and the next trim.
    pub(super) fn nearest(&self, patience: Patience) -> Patience {
        let limit = match patience {
            Patience::None => return patience,
            // What is due is not for the system to tell: see `leap`.
            _ if self.simulation.is_on() => return Patience::Forever,
            Patience::Until(until) => Some(until),
            Patience::Forever => None,
        };
        let times = [limit, self.timers.next(), self.trim()];
        let nearest = times.into_iter().flatten().min();
        nearest.map_or(Patience::Forever, Patience::Until)
    }

    /// Gives back idle stacks if it is time; says when it is next.
    fn trim(&self) -> Option<Instant> {
        if !self.fibers.borrow().are_many() {
            self.next_trim.set(None);
            return None;
        }
        let now = Instant::now();
        let due = self.next_trim.get().unwrap_or(now + TRIM);
        if now < due {
            self.next_trim.set(Some(due));
            return Some(due);
        }
        let (surplus, is_last) = self.fibers.borrow_mut().trim();
        self.end_fibers(surplus, Fibers::put);
        let pause = if is_last { TRIM } else { TRIM_PAUSE };
        self.next_trim.set(Some(Instant::now() + pause));
        self.next_trim.get()
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::unix::net::UnixStream;
    use crate::rt::worker::with_running;
    use crate::task::spawn_local;
    use crate::{yield_now, Scheduler};
    use std::cell::RefCell;
    use std::io::{Read, Write};
    use std::rc::Rc;

    #[test]
    fn whom_a_poll_wakes_goes_before_those_who_are_ready_but_nobody_is_overtaken_twice() {
        Scheduler::new().unwrap().block_on(|| {
            let order = Rc::new(RefCell::new(Vec::new()));
            let note = |what: &'static str| {
                let order = order.clone();
                move || order.borrow_mut().push(what)
            };
            let reader = |note: Box<dyn FnOnce()>| {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let _task = spawn_local(move || {
                    theirs.read_exact(&mut [0]).unwrap();
                    note();
                });
                ours
            };
            let mut to_first = reader(Box::new(note("the first poll's")));
            let mut to_second = reader(Box::new(note("the second poll's")));
            let mut to_third = reader(Box::new(note("the third poll's")));
            // They come to their waits.
            yield_now();
            let _ready = spawn_local(note("who was ready"));
            let poll = |stream: &mut UnixStream| {
                stream.write_all(&[1]).unwrap();
                with_running(Worker::glance);
            };
            poll(&mut to_first);
            poll(&mut to_second);
            // Not by joining, which would bring them forward.
            yield_now();
            let _later = spawn_local(note("who was ready later"));
            poll(&mut to_third);
            yield_now();
            let expected = [
                "the first poll's",
                "who was ready",
                "the second poll's",
                "the third poll's",
                "who was ready later",
            ];
            assert_eq!(*order.borrow(), expected);
        });
    }
}
