//! A task that begins in the stead of the one that is about to wait for its end, without the loop between them: two switches instead
//! of four, and neither a wait nor a wake-up.
//!
//! 1. Who joins stands still below the one that it lets begin, as the loop does below a task that it resumes. For all others it runs,
//!    and does not wait yet.
//! 2. Who does that has been suspended before, so the seat is free; who begins there has not, and so lets nobody begin. Of a worker no
//!    more than one stands still so.
//! 3. It goes on when the other one ends or waits. Then it waits itself, if it has to, as if nothing had been.
//! 4. It takes nobody's turn, for nobody else is ready; and what counts runs counts this one: the pass and the budget of who joins. So the
//!    loop comes round as often as ever.

use super::{Fiber, Header, Worker, BUDGET, CX};
use crate::rt::span;

impl Worker {
    /// Lets `task` run until it ends or waits, if it has not begun and nobody else is ready. Both are at home here; `joiner` runs, has the
    /// handle, and is about to wait for the end.
    #[inline(always)]
    pub(crate) fn begin_instead(&self, joiner: &'static Header, task: &'static Header) {
        let home = self.home;
        // There is none where somebody sees each run: who is watched, or simulated.
        let Some(quota) = home.quota.get().checked_sub(1) else {
            return;
        };
        if !joiner.housed.get() || span::in_use() {
            return;
        }
        // SAFETY: this is the home thread; who joins has a reference.
        if !unsafe { home.take_only(task) } {
            return;
        }
        // SAFETY: by 2 nobody runs on the fiber in the seat.
        let seat = unsafe { &mut *self.seat.get() };
        if seat.is_none() {
            self.furnish(seat);
        }
        let Some(fiber) = seat else {
            // It was alone: it is where it was. The loop will say what is wrong.
            // SAFETY: this is the home thread.
            return unsafe { home.line_up(task) };
        };
        // The fiber comes back after this one task.
        home.quota.set(0);
        task.set_local();
        let budget = CX.with(|cx| {
            cx.task.set(Some(task));
            cx.budget.replace(BUDGET)
        });
        fiber.resume();
        self.clear_seat();
        CX.with(|cx| {
            cx.task.set(Some(joiner));
            cx.budget.set(budget);
        });
        task.unset_local();
        home.resume_pass(quota);
    }

    /// Puts a fiber into the seat, if there is one to be had.
    #[inline(never)]
    fn furnish(&self, seat: &mut Option<Fiber>) {
        *seat = self.fetch().ok();
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use crate::rt::worker::with_running;
    use crate::{spawn, task, yield_now, Scheduler};
    use std::cell::Cell;
    use std::rc::Rc;

    /// Whether the calling task runs in the stead of the one that joins it.
    fn is_instead() -> bool {
        with_running(|worker| worker.home.quota.get()) == Some(0)
    }

    /// Runs `f` as a task that has been suspended before.
    fn in_task<R>(f: impl FnOnce() -> R) -> R {
        Scheduler::new().unwrap().block_on(|| {
            yield_now();
            f()
        })
    }

    #[test]
    fn a_task_that_is_alone_begins_in_the_stead_of_who_joins_it_and_no_other_does() {
        in_task(|| {
            assert!(spawn(is_instead).join().unwrap());
            let other = spawn(|| {});
            assert!(!spawn(is_instead).join().unwrap(), "another was ready");
            other.join().unwrap();
            let first = spawn(is_instead);
            let second = spawn(|| {});
            assert!(
                !first.join().unwrap(),
                "it came first, but others were ready"
            );
            second.join().unwrap();
            let own_stack = task::Builder::new().stack_size(1 << 20);
            assert!(!own_stack.spawn(is_instead).unwrap().join().unwrap());
            let begun = spawn(|| {
                yield_now();
                is_instead()
            });
            yield_now();
            assert!(!begun.join().unwrap(), "it had begun before");
        });
    }

    #[test]
    fn who_runs_so_lets_nobody_run_so_and_waits_as_ever() {
        in_task(|| {
            let outer = || {
                let first = is_instead();
                let inner = spawn(is_instead).join().unwrap();
                let second = spawn(is_instead).join().unwrap();
                (first, inner, second)
            };
            // By the second time it has been suspended, and the loop has resumed it.
            assert_eq!(spawn(outer).join().unwrap(), (true, false, true));
        });
    }

    #[test]
    fn the_loop_comes_round_after_as_many_runs_as_ever() {
        in_task(|| {
            let left = || with_running(|worker| worker.home.quota.get()).unwrap();
            let (mut instead, mut passes, mut before) = (0, 1, left());
            for _ in 0..1_000 {
                instead += u32::from(spawn(is_instead).join().unwrap());
                passes += u32::from(left() > before);
                before = left();
            }
            assert!(passes >= 1_000 / super::super::QUOTA, "{passes}");
            // At the end of a pass, which is shorter where all takes long, one is not.
            assert!(instead + 2 * passes > 1_000, "{instead}, {passes} passes");
        });
    }

    #[test]
    fn after_it_who_joins_is_the_one_that_runs_with_the_budget_that_it_had() {
        in_task(|| {
            let me = task::current().id();
            let mut left = Vec::new();
            for _ in 0..3 {
                spawn(|| ()).join().unwrap();
                assert_eq!(task::current().id(), me);
                left.push(super::CX.with(|cx| cx.budget.get()));
            }
            assert_eq!((left[0] - left[1], left[1] - left[2]), (1, 1));
        });
    }

    #[test]
    fn what_it_leaves_ready_runs_behind_who_joins() {
        in_task(|| {
            let order = Rc::new(Cell::new(0));
            let step = |order: &Cell<u32>| order.replace(order.get() + 1);
            let (theirs, later) = (order.clone(), order.clone());
            let joined = task::spawn_local(move || {
                assert!(is_instead());
                let late = task::spawn_local(move || step(&later));
                (step(&theirs), late)
            });
            let (first, late) = joined.join().unwrap();
            assert_eq!((first, step(&order)), (0, 1));
            assert_eq!(late.join().unwrap(), 2);
        });
    }
}
