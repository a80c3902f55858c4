//! A task that runs in the stead of another one, without the loop between them: one that has not begun, of who is about to wait for its end
//! (two switches instead of four, and neither a wait nor a wake-up), and one that stands still, of who lets others run (two instead
//! of four for both to have their turns).
//!
//! 1. Who is replaced so stands still below the other one, as the loop does below a task that it resumes. Who joins is in no queue meanwhile, and
//!    for all others runs, and does not wait yet. Who yields is in the queue, as ever; out of which nobody takes it to resume it but the loop, which does not run
//!    before both stand still.
//! 2. Of a worker no more than one is replaced: there is no quota meanwhile, and without it nobody is. And nobody who has not been suspended
//!    before; so the seat is free for who begins.
//! 3. Who was replaced goes on when the other one ends or stands still, if it is his turn. If not he stands still as well, and the loop
//!    goes on, as if nothing had been.
//! 4. It takes nobody's turn, for nobody else is ready; and what counts runs counts this one: the pass, and the budget of who joins. So the
//!    loop comes round as often as ever.
//! 5. What is to be done for one that had been suspended before, when it ends or stands still in an unwinding, the loop does: the stack
//!    below may have no room for it.

use super::{begin_turn, with_running, Fiber, Header, Home, Worker, BUDGET, CX};
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

    /// Puts `me` into the queue. If there is but one other in it, who can, he runs in the stead of `me` until he ends or stands still.
    /// True if it is the turn of `me` then; if it is not, `me` is to suspend.
    ///
    /// # Safety
    /// The loop of the worker of `home` runs on this thread; `me` is the task that runs, and calls this.
    #[inline(always)]
    pub(in crate::rt) unsafe fn take_turns(
        home: &'static Home<Header>,
        me: &'static Header,
    ) -> bool {
        // There is none where somebody sees each run: who is watched, or simulated.
        if let Some(quota) = home.quota.get().checked_sub(2) {
            // SAFETY: the caller's promise.
            if let Some(other) = unsafe { other(home, me) } {
                // SAFETY: as above.
                return unsafe { run_instead(home, me, other, quota) };
            }
        }
        // SAFETY: this is the home thread; who runs is in no queue.
        unsafe { home.push(me) };
        false
    }
}

/// See [`Worker::take_turns`]; `quota` is how many runs are left when both have had theirs.
///
/// # Safety
/// As there, and `other` is what [`other`] has said.
// Not inlined: the frame of who yields is small, and the caches hold more of them.
#[inline(never)]
unsafe fn run_instead(
    home: &'static Home<Header>,
    me: &'static Header,
    other: &'static Header,
    quota: u32,
) -> bool {
    // SAFETY: this is the home thread, and there is one.
    unsafe { home.replace_only(me) };
    home.quota.set(0);
    begin_turn(other);
    // SAFETY: nobody else uses it while the task runs: by 1 and 2 nobody stands below it.
    let fiber = unsafe { &mut *other.fiber.get() };
    // SAFETY: by 3 of `rt/worker` it is there.
    unsafe { fiber.as_mut().unwrap_unchecked() }.resume();
    let nothing_to_do = !std::thread::panicking() && CX.with(|cx| cx.ended.get().is_none());
    // SAFETY: this is the home thread.
    if nothing_to_do && !home.is_interrupted() && unsafe { home.pop_first(me) } {
        home.quota.set(quota);
        begin_turn(me);
        return true;
    }
    leave_to_the_loop(home, other, quota);
    false
}

/// The other one who is ready, if it is one alone and can run in the stead of `me`.
///
/// # Safety
/// As for [`Worker::take_turns`].
#[inline(always)]
unsafe fn other(home: &'static Home<Header>, me: &'static Header) -> Option<&'static Header> {
    // SAFETY: the caller's promise.
    let other = unsafe { home.only() }?;
    let can = me.housed.get() && other.housed.get() && other.aside.get() == 0;
    (can && !span::in_use() && !std::thread::panicking()).then_some(other)
}

/// `other` ran, with so many runs left after it, and it is not the turn of who stood below.
#[inline(never)]
fn leave_to_the_loop(home: &'static Home<Header>, other: &'static Header, quota: u32) {
    if std::thread::panicking() {
        with_running(|worker| worker.unwinds.set(Some(other)));
    }
    home.resume_pass(quota);
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use crate::rt::worker::tests::{put_up_unseen, PATIENCE};
    use crate::rt::worker::{with_running, QUOTA};
    use crate::{spawn, task, yield_now, JoinError, Scheduler};
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// Whether the calling task runs in the stead of another one (or it is the last one in a pass, if they take turns).
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
            assert!(passes >= 1_000 / QUOTA, "{passes}");
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

    // ---- of who yields ----

    /// Two tasks that have been suspended before and are ready, with nobody else: the first runs.
    fn in_two<A: 'static, B: 'static>(
        first: impl FnOnce() -> A + 'static,
        second: impl FnOnce() -> B + 'static,
    ) -> (Result<A, JoinError>, Result<B, JoinError>) {
        Scheduler::new().unwrap().block_on(|| {
            let first = task::spawn_local(|| {
                yield_now();
                // Who has spawned both waits for the first.
                yield_now();
                first()
            });
            let second = task::spawn_local(|| {
                yield_now();
                yield_now();
                second()
            });
            (first.join(), second.join())
        })
    }

    #[test]
    fn of_two_that_yield_every_other_run_is_in_the_stead_of_the_other() {
        let runs = Rc::new(RefCell::new(Vec::new()));
        let in_turn = |who: u32| {
            let runs = runs.clone();
            move || {
                for _ in 0..10 * QUOTA {
                    runs.borrow_mut().push((who, is_instead()));
                    yield_now();
                }
            }
        };
        let (first, second) = in_two(in_turn(1), in_turn(2));
        first.unwrap();
        second.unwrap();
        let runs = runs.borrow();
        assert!(runs.iter().step_by(2).all(|run| run.0 == 1));
        assert!(runs.iter().skip(1).step_by(2).all(|run| run.0 == 2));
        let instead = runs.iter().filter(|run| run.1).count();
        // Hardly less than half: but passes are shorter where all takes long.
        assert!(instead > runs.len() / 4, "{instead}");
    }

    #[test]
    fn of_three_that_yield_nobody_is_replaced() {
        let runs = 20 * QUOTA;
        let (seen, one_has_ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let turns = || {
            let (seen, one_has_ended) = (seen.clone(), one_has_ended.clone());
            task::spawn_local(move || {
                for _ in 0..runs {
                    yield_now();
                    let replaces = is_instead() && !one_has_ended.get();
                    seen.set(seen.get() + u32::from(replaces));
                }
                one_has_ended.set(true);
            })
        };
        in_task(|| {
            let three = [turns(), turns(), turns()];
            for task in three {
                task.join().unwrap();
            }
        });
        // It looks so in the last run of each pass.
        assert!(seen.get() <= 3 * runs / 8, "{}", seen.get());
    }

    #[test]
    fn the_loop_comes_round_after_as_many_runs_as_ever_while_two_yield() {
        let (before, passes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let counts = || {
            let (before, passes) = (before.clone(), passes.clone());
            move || {
                for _ in 0..10 * QUOTA {
                    let left = with_running(|worker| worker.home.quota.get()).unwrap();
                    // There is none while somebody is replaced.
                    if left > 0 {
                        passes.set(passes.get() + u32::from(left > before.replace(left)));
                    }
                    yield_now();
                }
            }
        };
        let (first, second) = in_two(counts(), counts());
        first.unwrap();
        second.unwrap();
        let passes = passes.get();
        assert!(passes >= 2 * 10 - 1, "{passes}");
    }

    #[test]
    fn who_was_replaced_sees_at_once_that_the_other_has_cancelled_him_and_later_that_he_has_ended()
    {
        let gone = Rc::new(Cell::new(false));
        let first = Rc::new(RefCell::new(None::<task::CancelHandle>));
        let (notes, theirs) = (Notes(gone.clone()), first.clone());
        in_task(|| {
            let replaced = task::spawn_local(move || {
                let _notes = notes;
                (0..3).for_each(|_| yield_now());
                unreachable!("it is cancelled while it yields for the third time");
            });
            *first.borrow_mut() = Some(replaced.cancel_handle());
            let other = task::spawn_local(move || {
                (0..2).for_each(|_| yield_now());
                assert!(is_instead());
                theirs.borrow().as_ref().unwrap().cancel();
                yield_now();
                assert!(gone.get());
            });
            assert!(matches!(
                replaced.join(),
                Err::<(), _>(JoinError::Cancelled)
            ));
            other.join().unwrap();
        });
    }

    #[test]
    fn the_end_of_the_other_is_told_and_its_stack_given_back_before_who_was_replaced_goes_on() {
        let (first, second) = in_two(
            || {
                let housed = || with_running(|worker| worker.home.housed()).unwrap();
                let before = housed();
                yield_now();
                before - housed()
            },
            is_instead,
        );
        assert_eq!(first.unwrap(), 1);
        assert!(second.unwrap());
    }

    struct Notes(Rc<Cell<bool>>);

    impl Drop for Notes {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn an_unwinding_in_which_the_other_stands_still_is_not_that_of_who_was_replaced() {
        struct Waits;
        impl Drop for Waits {
            fn drop(&mut self) {
                assert!(is_instead() && thread::panicking());
                for _ in 0..3 {
                    yield_now();
                    assert!(thread::panicking());
                }
            }
        }
        let (first, second) = in_two(
            || {
                for _ in 0..10 {
                    yield_now();
                    assert!(!thread::panicking());
                }
            },
            || {
                let _waits = Waits;
                std::panic::resume_unwind(Box::new("gone"));
            },
        );
        first.unwrap();
        let Err(JoinError::Panic(payload)) = second else {
            panic!("{second:?}");
        };
        assert_eq!(payload.downcast_ref(), Some(&"gone"));
    }

    #[test]
    fn who_was_replaced_waits_for_his_turn_if_the_other_has_let_another_go_first() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let step = |name: &'static str| {
            let order = order.clone();
            move || order.borrow_mut().push(name)
        };
        let left = || with_running(|worker| worker.home.quota.get()).unwrap();
        let before = Rc::new(Cell::new(0));
        let had = before.clone();
        let (first, child, second) = (step("first"), step("child"), step("second"));
        let (a, b) = in_two(
            move || {
                before.set(left());
                yield_now();
                first();
            },
            move || {
                assert!(is_instead());
                task::spawn_local(child).join().unwrap();
                second();
                assert!((1..had.get()).contains(&left()), "the pass goes on");
            },
        );
        a.unwrap();
        b.unwrap();
        assert_eq!(*order.borrow(), ["child", "second", "first"]);
    }

    #[test]
    fn a_worker_looks_for_certain_who_would_take_what_was_put_up_before_who_was_replaced_goes_on() {
        let builder = Scheduler::builder().workers(2).spin(Duration::ZERO);
        builder.build().unwrap().block_on(|| {
            let (tell, told) = mpsc::channel();
            let blocks = task::spawn_local(move || {
                yield_now();
                yield_now();
                // He blocks the thread: only the other worker can end that.
                yield_now();
                told.recv_timeout(PATIENCE).unwrap();
            });
            let puts_up = task::spawn_local(move || {
                yield_now();
                yield_now();
                assert!(is_instead());
                with_running(|worker| {
                    while !worker.home.is_anybody_hungry() {
                        thread::yield_now();
                    }
                    put_up_unseen(worker, move || tell.send(()).unwrap());
                });
                yield_now();
            });
            blocks.join().unwrap();
            puts_up.join().unwrap();
        });
    }
}
