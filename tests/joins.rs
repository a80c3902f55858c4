//! Joins of tasks that have not begun: whoever runs them, and on whichever stack their joiner stands meanwhile, is nobody's business.

mod common;

use common::{scheduler, Drops, OnDrop, LONG};
use multitask::dump::State;
use multitask::sync::oneshot;
use multitask::task::{self, Builder, CancelHandle};
use multitask::{sleep, spawn, spawn_local, task_local, timeout, yield_now, JoinHandle, Scheduler};
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

/// Runs `f` as a task that has been suspended before: then it may let others begin in its stead.
fn in_task<R>(f: impl FnOnce() -> R) -> R {
    scheduler().block_on(|| {
        yield_now();
        f()
    })
}

#[test]
fn who_is_joined_at_once_has_a_number_a_name_and_values_of_its_own_and_so_has_its_joiner_after() {
    task_local! {
        static VALUE: Cell<u32> = const { Cell::new(0) };
    }
    in_task(|| {
        let me = task::current().id();
        VALUE.with(|value| value.set(1));
        for n in 2..100 {
            let child = Builder::new().name(format!("child {n}"));
            let child = child.spawn(move || {
                let before = VALUE.with(|value| value.replace(n));
                let current = task::current();
                (before, current.id(), current.name().map(str::to_owned))
            });
            let child = child.unwrap();
            let id = child.task().id();
            let expected = (0, id, Some(format!("child {n}")));
            assert_eq!(child.join().unwrap(), expected);
            assert_eq!(task::current().id(), me);
            assert_eq!(VALUE.with(Cell::get), 1);
        }
    });
}

#[test]
fn one_that_waits_after_it_was_joined_is_waited_for_whatever_it_waits_for() {
    in_task(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let waits: [(&str, fn()); 4] = [
            ("yields", yield_now),
            ("sleeps", || sleep(SHORT)),
            ("joins", || spawn(|| sleep(SHORT)).join().unwrap()),
            ("is unparked", || {
                let me = task::current();
                spawn(move || me.unpark());
                task::park();
            }),
        ];
        for (what, wait) in waits {
            let log = order.clone();
            let child = spawn_local(move || {
                log.borrow_mut().push("begins");
                wait();
                log.borrow_mut().push("ends");
                what
            });
            assert_eq!(child.join().unwrap(), what);
            assert_eq!(order.borrow_mut().split_off(0), ["begins", "ends"]);
        }
    });
}

#[test]
fn the_others_go_on_while_one_spawns_and_joins_without_end() {
    in_task(|| {
        let over = Rc::new(Cell::new(false));
        let (reader, writer) = multitask::io::pipe().unwrap();
        let ends = over.clone();
        let reads = spawn_local(move || {
            let mut byte = [0];
            std::io::Read::read_exact(&mut &reader, &mut byte).unwrap();
            ends.set(true);
        });
        let writes = spawn_local(move || {
            sleep(SHORT);
            std::io::Write::write_all(&mut &writer, &[1]).unwrap();
        });
        let mut joined = 0_u64;
        while !over.get() {
            joined += spawn(|| 1).join().unwrap();
        }
        assert!(joined > 0);
        reads.join().unwrap();
        writes.join().unwrap();
    });
}

#[test]
fn a_time_limit_round_a_join_ends_the_join_and_is_not_the_childs() {
    in_task(|| {
        let (tell, told) = oneshot::channel();
        let child = spawn(move || {
            sleep(4 * SHORT);
            tell.send(()).unwrap();
        });
        assert!(timeout(SHORT, || child.join()).is_err());
        told.recv().unwrap();
    });
}

#[test]
fn a_panic_of_one_that_is_joined_at_once_is_no_panic_of_its_joiner() {
    in_task(|| {
        for n in 0..100 {
            let child = spawn(move || {
                let _waits = OnDrop(yield_now);
                assert!(n % 2 == 0, "odd");
                n
            });
            match child.join() {
                Ok(value) => assert_eq!(value, n),
                Err(error) => assert_eq!(error.message(), Some("odd")),
            }
            assert!(!thread::panicking());
            // Were it for the joiner, a limit could not end this.
            assert!(timeout(Duration::ZERO, task::park).is_err());
        }
    });
}

#[test]
fn a_joiner_that_unwinds_waits_for_one_that_has_not_begun() {
    in_task(|| {
        let ended = Rc::new(Cell::new(0));
        let count = ended.clone();
        let joins = move || {
            let count = count.clone();
            let child = spawn_local(move || {
                assert!(!thread::panicking());
                sleep(SHORT);
                count.set(count.get() + 1);
            });
            child.join().unwrap();
        };
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _joins = OnDrop(joins);
            std::panic::resume_unwind(Box::new("over"));
        }));
        assert!(unwound.is_err());
        assert_eq!(ended.get(), 1);
    });
}

#[test]
fn who_is_cancelled_by_the_one_that_it_joins_has_the_result_and_unwinds_at_its_next_wait() {
    let scheduler = scheduler();
    let drops = Drops::default();
    let one = drops.one();
    let reached = Rc::new(Cell::new(0));
    let at = reached.clone();
    let ending = Rc::new(OnceCell::<CancelHandle>::new());
    let end = ending.clone();
    let joins = scheduler.spawn_local(move || {
        let _one = one;
        yield_now();
        let child = spawn_local(move || {
            end.get().unwrap().cancel();
            7
        });
        at.set(child.join().unwrap());
        yield_now();
        at.set(0);
    });
    ending.set(joins.cancel_handle()).unwrap();
    scheduler.run().unwrap();
    assert!(joins.join().unwrap_err().is_cancelled());
    assert_eq!((reached.get(), drops.count()), (7, 1));
}

#[test]
fn while_the_one_that_it_let_begin_asks_for_a_dump_a_joiner_is_told_of_as_waiting() {
    let scheduler = scheduler();
    let handle = scheduler.handle();
    let joins = Builder::new()
        .name("joins".into())
        .spawn_on(&scheduler, move || {
            yield_now();
            let asks = move || handle.dump_within(LONG);
            let asks = Builder::new().name("asks".into()).spawn(asks).unwrap();
            asks.join().unwrap()
        });
    let dump = scheduler.block_on(|| joins.unwrap().join().unwrap());
    let state = |name| {
        let mut tasks = dump.tasks().iter();
        tasks
            .find(|task| task.name() == Some(name))
            .unwrap()
            .state()
    };
    assert_eq!(state("joins"), State::Waiting, "{dump}");
    assert_eq!(dump.tasks().len(), 3, "{dump}");
}

#[test]
fn a_scheduler_that_is_run_by_one_that_is_joined_leaves_both_as_they_were() {
    in_task(|| {
        let me = task::current().id();
        let child = spawn_local(|| {
            let me = task::current().id();
            let sum = in_task(|| {
                (0..100)
                    .map(|n| spawn(move || n).join().unwrap())
                    .sum::<u32>()
            });
            assert_eq!(task::current().id(), me);
            yield_now();
            sum
        });
        assert_eq!(child.join().unwrap(), 4950);
        assert_eq!(task::current().id(), me);
    });
}

#[test]
fn a_chain_of_joins_ten_thousand_long_ends() {
    fn chain(left: u32) -> u32 {
        yield_now();
        match left.checked_sub(1) {
            None => 0,
            Some(left) => 1 + spawn(move || chain(left)).join().unwrap(),
        }
    }
    assert_eq!(in_task(|| chain(10_000)), 10_000);
}

#[test]
fn a_handle_that_was_polled_before_is_joined_as_any_other() {
    // Another worker might be done with it before.
    Scheduler::new().unwrap().block_on(|| {
        yield_now();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..10 {
            let mut child = spawn(|| 7);
            let poll = std::future::Future::poll(std::pin::Pin::new(&mut child), &mut context);
            assert!(poll.is_pending());
            assert_eq!(child.join().unwrap(), 7);
        }
    });
}

#[test]
fn with_several_workers_each_task_is_run_once_whether_its_joiner_or_another_begins_it() {
    const TASKS: usize = 20_000;
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let make = |runs: &Arc<AtomicUsize>| {
        let runs = runs.clone();
        spawn(move || {
            for _ in 0..TASKS / 4 {
                let count = runs.clone();
                let child: JoinHandle<usize> = spawn(move || count.fetch_add(1, SeqCst));
                child.join().unwrap();
            }
        })
    };
    scheduler.block_on(|| {
        let joiners: Vec<_> = (0..4).map(|_| make(&runs)).collect();
        joiners
            .into_iter()
            .for_each(|joiner| joiner.join().unwrap());
    });
    assert_eq!(runs.load(SeqCst), TASKS);
}
