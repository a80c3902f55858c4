//! The loop of a worker whose time and order are those of a test; of any other, what time it is.
//!
//! 1. Time goes on when all tasks wait, nobody holds it, and nothing has come from outside; to the next timer, and no further.

use super::{Header, Patience, Simulation, Worker, QUOTA};
use std::time::Instant;

/// Whether there is nothing to do.
enum Lull {
    /// There is, or may be.
    Over,
    /// There is not, but there will be without time going on.
    Held,
    /// All tasks wait.
    Complete,
}

impl Worker {
    #[inline]
    pub(crate) fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// What time it is for its tasks.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.simulation.now().unwrap_or_else(Instant::now)
    }

    /// What a moment of the system's time is in that of its tasks: the one that is as far from now.
    #[inline]
    pub(crate) fn in_own_time(&self, moment: Instant) -> Instant {
        self.simulation.now().map_or(moment, |now| {
            let left = moment.saturating_duration_since(Instant::now());
            now.checked_add(left).unwrap_or(moment)
        })
    }

    /// Whether there is nothing to do, of a scheduler that is simulated, with what is due and what descriptors bring taken in.
    fn lull(&self) -> Lull {
        self.glance();
        // In this order: who holds time has sent his message before he lets go.
        let held = self.simulation.is_held();
        if self.has_ready() || !self.home.inbox().is_empty() {
            Lull::Over
        } else if held {
            Lull::Held
        } else if self.simulation.tell_settled() {
            Lull::Over
        } else {
            Lull::Complete
        }
    }

    /// If all tasks wait, of a scheduler that is simulated: its time goes on to the next timer, or to `limit` if that is nearer. Whether
    /// there may be something to do.
    pub(super) fn leap(&self, limit: Option<Instant>) -> bool {
        if !self.simulation.is_on() {
            return false;
        }
        match self.lull() {
            Lull::Over => true,
            Lull::Held => false,
            Lull::Complete => {
                let next = [limit, self.timers.next()].into_iter().flatten().min();
                let leaps = next.inspect(|next| self.simulation.leap_to(*next));
                self.fire();
                leaps.is_some()
            }
        }
    }

    /// As `leap`, again and again, until there is something to do or so much time has passed.
    pub(super) fn leap_within(&self, patience: Patience) -> bool {
        let limit = match patience {
            Patience::None => return false,
            Patience::Until(until) => Some(until),
            Patience::Forever => None,
        };
        while self.leap(limit) {
            let has_come = self.has_ready() || !self.home.inbox().is_empty();
            if has_come || limit.is_some_and(|limit| limit <= self.now()) {
                return true;
            }
        }
        false
    }

    /// Runs the loop, of a scheduler that is simulated, until all tasks wait; no time passes. How many there are.
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
    pub(crate) fn settle(&self) -> usize {
        let _running = self.enter();
        loop {
            self.receive();
            self.run_ready(&|| false);
            match self.lull() {
                Lull::Over => {}
                Lull::Held => _ = self.look(Patience::Forever, false, || false),
                Lull::Complete => return self.live(),
            }
        }
    }

    /// Runs the loop, of a scheduler that is simulated, until `limit`, and then until all tasks wait.
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
    pub(crate) fn run_to(&self, limit: Instant) {
        let _running = self.enter();
        self.settle();
        while self.now() < limit {
            self.leap(Some(limit));
            self.settle();
        }
    }

    /// As `run_ready`, in an order that is drawn. No task takes the next one along, and none is put before others.
    #[cold]
    pub(super) fn run_ready_drawn(&self, done: &impl Fn() -> bool) -> bool {
        // No quota, as in `turn`.
        self.home.begin_pass(0, 0);
        for _ in 0..QUOTA {
            let Some(task) = self.pop_among(usize::MAX) else {
                return false;
            };
            self.step_seen(task);
            if done() {
                return true;
            }
        }
        false
    }

    /// The next task: the first that is ready, or one drawn among so many of the first.
    #[inline]
    pub(super) fn pop_among(&self, first: usize) -> Option<&'static Header> {
        if self.simulation.is_on() {
            self.draw_among(first);
        }
        // SAFETY: this is the home thread.
        let entry = unsafe { self.home.pop() }?;
        self.home.settled(entry)
    }

    fn draw_among(&self, first: usize) {
        // SAFETY: this is the home thread.
        let ready = unsafe { self.home.ready() };
        if let Some(drawn) = self.simulation.draw(first.min(ready)) {
            // SAFETY: as above.
            unsafe { self.home.exchange_first(drawn) };
        }
    }
}
