//! Futures that a task, or a thread, waits for.

mod common;

use common::futures::Gate;
use common::interrupts::{interrupt_everywhere, Trial, Work};
use common::{ends, everywhere, scheduler, settle, Drops, OnDrop, LONG};
use multitask::future::{block_on, block_on_deadline, block_on_timeout};
use multitask::sync::Event;
use multitask::{sleep, spawn, task, timeout, yield_now, JoinError, Scheduler, Timeout};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready, Future};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_future_that_is_ready_is_polled_once_and_may_borrow_and_stay_on_its_thread() {
    everywhere(|| {
        let (words, polls) = (Rc::new(RefCell::new(vec!["one"])), Cell::new(0));
        let length = block_on(poll_fn(|_| {
            polls.set(polls.get() + 1);
            words.borrow_mut().push("two");
            Poll::Ready(words.borrow().len())
        }));
        assert_eq!((length, polls.get()), (2, 1));
    });
}

#[test]
fn a_future_is_woken_from_another_thread_while_its_task_waits() {
    everywhere(|| {
        let gate = Gate::default();
        let opens = gate.clone();
        let opener = thread::spawn(move || {
            opens.await_polls(1);
            opens.open();
        });
        block_on(gate.clone());
        opener.join().unwrap();
        assert_eq!(gate.polls(), 2);
    });
}

#[test]
fn a_call_that_comes_during_the_poll_is_not_lost() {
    everywhere(|| {
        let mut polls = 0;
        block_on(poll_fn(|cx| {
            polls += 1;
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().unwrap();
            if polls < 3 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
        assert_eq!(polls, 3);
    });
}

#[test]
fn a_call_without_reason_makes_it_be_polled_again_and_wait_on() {
    let scheduler = Scheduler::new().unwrap();
    let gate = Gate::default();
    let waits = scheduler.spawn({
        let gate = gate.clone();
        move || block_on(gate)
    });
    for polls in 1..5 {
        settle(&scheduler);
        assert!(!waits.is_finished());
        assert_eq!(gate.polls(), polls);
        gate.wake();
        gate.wake();
    }
    gate.open();
    settle(&scheduler);
    assert!(waits.is_finished());
    assert_eq!(gate.polls(), 5);
}

#[test]
fn many_tasks_are_woken_by_many_threads() {
    ends(|| {
        const TASKS: usize = 2000;
        let scheduler = scheduler();
        let gates: Arc<Vec<Gate>> = Arc::new((0..TASKS).map(|_| Gate::default()).collect());
        let openers: Vec<_> = (0..4)
            .map(|part| {
                let gates = gates.clone();
                thread::spawn(move || {
                    for gate in gates.iter().skip(part).step_by(4) {
                        gate.wake();
                        gate.open();
                        gate.wake();
                    }
                })
            })
            .collect();
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                let gates = gates.clone();
                scheduler.spawn(move || {
                    block_on(gates[n].clone());
                    n
                })
            })
            .collect();
        scheduler.run().unwrap();
        let sum: usize = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, TASKS * (TASKS - 1) / 2);
        openers
            .into_iter()
            .for_each(|opener| opener.join().unwrap());
    });
}

#[test]
fn a_future_that_wakes_itself_lets_other_tasks_run() {
    let scheduler = Scheduler::new().unwrap();
    let turn = Arc::new(AtomicUsize::new(0));
    let spins = scheduler.spawn({
        let turn = turn.clone();
        move || {
            block_on(poll_fn(|cx| {
                if turn.load(SeqCst) > 0 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }))
        }
    });
    scheduler.spawn(move || turn.store(1, SeqCst));
    settle(&scheduler);
    assert!(spins.is_finished());
}

#[test]
fn a_future_that_wakes_itself_for_ever_is_ended_by_a_limit() {
    everywhere(|| {
        let restless = || {
            poll_fn(|cx| -> Poll<()> {
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        };
        let limit = Duration::from_millis(2);
        assert_eq!(block_on_timeout(restless(), limit), Err(Timeout));
        assert_eq!(timeout(limit, || block_on(restless())), Err(Timeout));
    });
}

#[test]
fn a_task_that_waits_for_nothing_but_what_is_ready_lets_other_tasks_run() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let enough = Rc::new(Cell::new(false));
        let stop = enough.clone();
        scheduler.spawn_local(move || {
            while !stop.get() {
                block_on(ready(()));
            }
        });
        scheduler.spawn_local(move || enough.set(true));
        scheduler.run().unwrap();
    });
}

/// A future that is never ready and counts its end.
fn endless(drops: &Drops) -> impl Future<Output = ()> {
    let dropped = drops.one();
    async move {
        let _dropped = dropped;
        pending::<()>().await;
    }
}

#[test]
fn a_task_that_is_cancelled_drops_its_future() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let future = endless(&drops);
    let waits = scheduler.spawn(move || block_on(future));
    settle(&scheduler);
    assert_eq!(drops.count(), 0);
    waits.cancel();
    settle(&scheduler);
    assert!(waits.join().unwrap_err().is_cancelled());
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_task_that_is_cancelled_before_it_waits_drops_its_future_unpolled_or_pending() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let future = endless(&drops);
    let waits = scheduler.spawn(move || {
        block_on(async move {
            // In the middle of the poll.
            yield_now();
            future.await
        })
    });
    assert_eq!(scheduler.turn(Some(Duration::ZERO)).unwrap(), 1);
    waits.cancel();
    settle(&scheduler);
    assert!(waits.join().unwrap_err().is_cancelled());
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_scope_whose_time_is_up_drops_the_future_and_the_task_goes_on() {
    everywhere(|| {
        let drops = Drops::default();
        let future = endless(&drops);
        assert_eq!(
            timeout(Duration::from_millis(2), || block_on(future)),
            Err(Timeout)
        );
        assert_eq!(drops.count(), 1);
        assert_eq!(block_on(ready(5)), 5);
    });
}

#[test]
fn a_wait_whose_own_time_is_up_says_so_and_drops_the_future() {
    everywhere(|| {
        let drops = Drops::default();
        let soon = || Instant::now() + Duration::from_millis(2);
        assert_eq!(block_on_deadline(endless(&drops), soon()), Err(Timeout));
        let short = Duration::from_millis(2);
        assert_eq!(block_on_timeout(endless(&drops), short), Err(Timeout));
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn a_future_that_is_ready_wins_over_any_limit() {
    everywhere(|| {
        assert_eq!(block_on_timeout(ready(1), Duration::ZERO), Ok(1));
        assert_eq!(block_on_deadline(ready(2), Instant::now()), Ok(2));
        assert_eq!(block_on_timeout(ready(3), Duration::MAX), Ok(3));
    });
}

#[test]
fn a_future_that_became_ready_as_the_time_was_up_is_asked_once_more() {
    // On a machine that has other things to do the time may be up before it waits.
    let mut limits = (0..).map(|n| Duration::from_millis(1) * 2_u32.pow(n));
    let asked = limits.find_map(asked_as_the_time_was_up);
    assert_eq!(asked, Some(Ok("in time")));
}

/// `None` if the time was up too early.
fn asked_as_the_time_was_up(limit: Duration) -> Option<Result<&'static str, Timeout>> {
    let scheduler = Scheduler::new().unwrap();
    let (gate, open) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let waits = scheduler.spawn({
        let (mut gate, open) = (gate.clone(), open.clone());
        move || {
            let future = poll_fn(move |cx| match pin!(&mut gate).poll(cx) {
                Poll::Pending if !open.load(SeqCst) => Poll::Pending,
                _ => Poll::Ready("in time"),
            });
            block_on_timeout(future, limit)
        }
    });
    settle(&scheduler);
    if waits.is_finished() {
        return None;
    }
    open.store(true, SeqCst); // and nobody is told
    scheduler.run().unwrap();
    Some(waits.join().unwrap())
}

#[test]
fn a_cancelled_task_that_cannot_unwind_waits_for_real() {
    let scheduler = Scheduler::new().unwrap();
    let gate = Gate::default();
    let waits = scheduler.spawn({
        let gate = gate.clone();
        move || {
            let _waits = OnDrop(|| block_on(gate.clone()));
            task::park();
        }
    });
    settle(&scheduler);
    waits.cancel();
    settle(&scheduler);
    assert!(!waits.is_finished());
    gate.open();
    settle(&scheduler);
    assert!(waits.join().unwrap_err().is_cancelled());
}

#[test]
fn whoever_is_interrupted_in_a_future_drops_it_and_others_go_on() {
    interrupt_everywhere(4, || {
        let gates: Vec<Gate> = (0..4).map(|_| Gate::default()).collect();
        let drops = Drops::default();
        let made = Arc::new(AtomicUsize::new(0));
        let opens = |gates: &[Gate]| {
            let gates = gates.to_vec();
            move || {
                for gate in gates {
                    gate.open();
                    yield_now();
                }
            }
        };
        let victim = {
            let (gates, drops, made) = (gates.clone(), drops.clone(), made.clone());
            move |limit| {
                for gate in gates {
                    made.fetch_add(1, SeqCst);
                    let dropped = drops.one();
                    let future = async move {
                        let _dropped = dropped;
                        gate.await;
                        yield_now();
                    };
                    if block_on_deadline(future, limit).is_err() {
                        return;
                    }
                }
            }
        };
        let last = opens(&gates);
        Trial {
            victim: Box::new(victim),
            others: vec![Box::new(opens(&gates)) as Work],
            then: Box::new(last),
            end: Box::new(move || assert_eq!(drops.count(), made.load(SeqCst))),
        }
    });
}

#[test]
fn a_waker_that_is_kept_beyond_its_wait_wakes_nobody() {
    let scheduler = Scheduler::new().unwrap();
    let gate = Gate::default();
    let opens = gate.clone();
    scheduler.block_on(move || {
        assert_eq!(
            block_on_timeout(gate, Duration::from_millis(1)),
            Err(Timeout)
        );
    });
    let late = opens.waker();
    // Whoever waits next most likely has the place of that one.
    let next = Gate::default();
    let waits = scheduler.spawn({
        let next = next.clone();
        move || block_on(next)
    });
    settle(&scheduler);
    assert!(!late.will_wake(&next.waker()));
    late.wake_by_ref();
    thread::spawn(move || late.wake()).join().unwrap();
    settle(&scheduler);
    assert_eq!(next.polls(), 1);
    next.open();
    scheduler.run().unwrap();
    waits.join().unwrap();
}

#[test]
fn a_waker_outlives_its_scheduler() {
    let gate = Gate::default();
    let waits = gate.clone();
    let scheduler = scheduler();
    let task = scheduler.spawn(move || block_on(waits));
    settle(&scheduler);
    let waker = gate.waker();
    drop(scheduler);
    assert!(task.join().unwrap_err().is_cancelled());
    waker.wake_by_ref();
    waker.wake();
}

#[test]
fn a_future_may_wake_itself_as_it_is_dropped() {
    let scheduler = Scheduler::new().unwrap();
    let gate = Gate::default();
    let task = scheduler.spawn({
        let gate = gate.clone();
        move || {
            let wakes = OnDrop(move || gate.wake());
            block_on(async move {
                let _wakes = wakes;
                pending::<()>().await
            });
        }
    });
    settle(&scheduler);
    task.cancel();
    settle(&scheduler);
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(gate.polls(), 0);
}

#[test]
fn what_a_future_panics_with_comes_out_of_the_wait() {
    everywhere(|| {
        let panics = catch_unwind(|| block_on(async { panic!("in the future") }));
        assert_eq!(
            *panics.unwrap_err().downcast_ref::<&str>().unwrap(),
            "in the future"
        );
    });
    let task = spawn(|| block_on(async { panic!("out of the task") }));
    let error: JoinError = task.join().unwrap_err();
    assert_eq!(error.message(), Some("out of the task"));
}

#[test]
fn a_wait_in_the_poll_of_another_loses_no_call_of_either() {
    let scheduler = Scheduler::new().unwrap();
    let (outer, inner) = (Gate::default(), Gate::default());
    let waits = scheduler.spawn({
        let (mut outer, inner) = (outer.clone(), inner.clone());
        move || {
            let mut nested = Some(inner);
            block_on(poll_fn(move |cx| {
                let polled = pin!(&mut outer).poll(cx);
                nested.take().into_iter().for_each(block_on);
                polled
            }))
        }
    });
    settle(&scheduler);
    assert_eq!((outer.polls(), inner.polls()), (1, 1));
    // The task is in the inner wait, and that is not ended by the outer's call.
    outer.open();
    settle(&scheduler);
    assert_eq!((outer.polls(), inner.polls()), (1, 1));
    inner.open();
    settle(&scheduler);
    assert_eq!((outer.polls(), inner.polls()), (2, 2));
    assert!(waits.is_finished());
}

#[test]
fn a_call_does_not_end_another_wait_in_the_middle_of_a_poll() {
    let scheduler = Scheduler::new().unwrap();
    let (gate, event) = (Gate::default(), Arc::new(Event::new()));
    let woken = Arc::new(AtomicBool::new(false));
    let waits = scheduler.spawn({
        let (gate, event, woken) = (gate.clone(), event.clone(), woken.clone());
        move || {
            block_on(async move {
                let mut gate = pin!(gate);
                let pending = poll_fn(|cx| Poll::Ready(gate.as_mut().poll(cx).is_pending())).await;
                assert!(pending);
                event.wait(); // suspends the task in the middle of the poll
                woken.store(true, SeqCst);
                gate.await
            })
        }
    });
    settle(&scheduler);
    gate.open();
    settle(&scheduler);
    assert!(!woken.load(SeqCst));
    event.set();
    settle(&scheduler);
    assert!(waits.is_finished());
}

#[test]
fn a_plain_thread_that_waits_for_a_future_runs_its_tasks() {
    ends(|| {
        let gate = Gate::default();
        let opens = gate.clone();
        let opener = spawn(move || {
            sleep(Duration::from_millis(1));
            opens.open();
        });
        block_on(gate);
        opener.join().unwrap();
    });
}

#[test]
fn a_plain_thread_without_tasks_is_woken_by_another() {
    ends(|| {
        let (tell, told) = mpsc::channel();
        let gate = Gate::default();
        let waits = gate.clone();
        let waiter = thread::spawn(move || {
            block_on(waits);
            tell.send(()).unwrap();
        });
        gate.await_polls(1);
        gate.wake();
        gate.await_polls(2);
        assert!(told.try_recv().is_err());
        gate.open();
        told.recv().unwrap();
        waiter.join().unwrap();
    });
}

#[test]
fn an_executor_of_others_runs_in_a_task() {
    ends(|| {
        let scheduler = scheduler();
        let sum = scheduler.block_on(|| {
            let mut pool = futures::executor::LocalPool::new();
            let ticks = Rc::new(Cell::new(0));
            for _ in 0..10 {
                let ticks = ticks.clone();
                let task = async move {
                    for _ in 0..500 {
                        let (sender, receiver) = multitask::sync::oneshot::channel();
                        sender.send(1).unwrap();
                        let one = receiver.await.unwrap();
                        ticks.set(ticks.get() + one);
                    }
                };
                futures::task::LocalSpawnExt::spawn_local(&pool.spawner(), task).unwrap();
            }
            pool.run();
            ticks.get()
        });
        assert_eq!(sum, 5000);
    });
}

#[test]
fn the_wait_for_a_future_is_bounded_by_the_nearer_of_two_deadlines() {
    everywhere(|| {
        let drops = Drops::default();
        let outer = timeout(Duration::from_millis(2), || {
            block_on_timeout(endless(&drops), LONG)
        });
        assert_eq!(outer, Err(Timeout));
        let inner = timeout(LONG, || {
            block_on_timeout(endless(&drops), Duration::from_millis(2))
        });
        assert_eq!(inner, Ok(Err(Timeout)));
        let unwound = catch_unwind(AssertUnwindSafe(|| block_on(async { 7 })));
        assert_eq!(unwound.unwrap(), 7);
        assert_eq!(drops.count(), 2);
    });
}
