//! Cancelling a task in every state that it can be in.

mod common;

use common::{ends, scheduler, settle, Drops, OnDrop, Random, Remote, LONG};
use multitask::net::{TcpListener, TcpStream};
use multitask::task::{self, JoinHandle, JoinTimeoutError};
use multitask::{
    sleep, sleep_until, spawn, spawn_local, timeout, yield_now, Cancelled, JoinError, Scheduler,
    Timeout,
};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::panic::{self, catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

/// Spawns `body` with something on its stack, lets it go on until it waits, cancels it, and sees that it unwound.
#[track_caller]
fn is_cancelled_while(scheduler: &Scheduler, body: impl FnOnce() + 'static) {
    let drops = Drops::default();
    let one = drops.one();
    let handle = scheduler.spawn_local(move || {
        let _one = one;
        body();
    });
    settle(scheduler);
    assert!(!handle.is_finished() && drops.count() == 0);
    handle.cancel();
    settle(scheduler);
    assert_eq!(drops.count(), 1);
    assert!(handle.join().unwrap_err().is_cancelled());
}

fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, far)
}

// ---- the states ----

#[test]
fn a_task_that_has_not_started_never_starts() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let one = drops.one();
    let body = move || -> () {
        let _one = one;
        panic!("it started");
    };
    let handle = scheduler.spawn(body);
    handle.cancel();
    assert_eq!(drops.count(), 0, "nothing runs yet");
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 1);
    assert!(handle.join().unwrap_err().is_cancelled());
    // The same for one that a task spawns, one of a handle, and one of the thread's own scheduler.
    let started = || -> () { panic!("it started") };
    let remote = scheduler.handle();
    scheduler.block_on(move || {
        for handle in [spawn(started), remote.spawn(started)] {
            handle.cancel();
            assert!(handle.join().unwrap_err().is_cancelled());
        }
    });
    let handle = spawn(started);
    handle.cancel();
    assert!(handle.join().unwrap_err().is_cancelled());
    let handle = spawn(started);
    handle.cancel();
    yield_now();
    assert!(handle.is_finished());
}

#[test]
fn a_task_is_cancelled_while_it_is_parked_or_sleeps() {
    let scheduler = scheduler();
    is_cancelled_while(&scheduler, task::park);
    is_cancelled_while(&scheduler, || task::park_timeout(LONG));
    is_cancelled_while(&scheduler, || sleep(LONG));
    is_cancelled_while(&scheduler, || sleep(Duration::MAX));
    is_cancelled_while(&scheduler, || sleep_until(Instant::now() + LONG));
}

#[test]
fn a_task_is_cancelled_while_it_joins_and_leaves_the_other_running() {
    let scheduler = scheduler();
    let other = scheduler.spawn(task::park);
    let task = other.task().clone();
    is_cancelled_while(&scheduler, || other.join().unwrap());
    assert_eq!(scheduler.stats().live, 1);
    task.unpark();
    scheduler.run().unwrap();
    let other = scheduler.spawn(task::park);
    let task = other.task().clone();
    is_cancelled_while(&scheduler, || drop(other.join_timeout(LONG)));
    task.unpark();
    scheduler.run().unwrap();
    // One that is on another thread.
    let remote = Remote::start();
    let other = remote.handle.spawn(task::park);
    is_cancelled_while(&scheduler, || other.join().unwrap());
    remote.stop();
}

#[test]
fn a_task_is_cancelled_while_it_accepts_reads_and_writes() {
    let scheduler = scheduler();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    is_cancelled_while(&scheduler, move || drop(listener.accept()));
    let (mut near, mut far) = pair();
    let mut copy = near.try_clone().unwrap();
    is_cancelled_while(&scheduler, move || drop(copy.read(&mut [0; 8])));
    // No byte is lost by it.
    far.write_all(b"hello").unwrap();
    let mut copy = near.try_clone().unwrap();
    let reader = scheduler.spawn(move || {
        let mut buffer = [0; 8];
        let count = copy.read(&mut buffer).unwrap();
        buffer[..count].to_vec()
    });
    scheduler.run().unwrap();
    assert_eq!(reader.join().unwrap(), b"hello");
    is_cancelled_while(&scheduler, move || {
        near.write_all(&vec![0; 64 << 20]).unwrap()
    });
}

#[test]
fn a_task_is_cancelled_inside_of_timeout_scopes() {
    let scheduler = scheduler();
    is_cancelled_while(&scheduler, || {
        let outcome = timeout(LONG, || timeout(2 * LONG, || timeout(LONG / 2, task::park)));
        panic!("no scope takes it for its own: {outcome:?}");
    });
}

#[test]
fn a_task_that_is_ready_goes_on_to_its_next_wait() {
    let scheduler = scheduler();
    let steps = Rc::new(Cell::new(0));
    let count = steps.clone();
    let handle = scheduler.spawn_local(move || {
        task::park();
        count.set(1);
        task::park_timeout(LONG);
        count.set(2);
    });
    settle(&scheduler);
    scheduler.block_on(move || {
        handle.task().unpark();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
    });
    assert_eq!(steps.get(), 1);
}

#[test]
fn a_task_that_ends_without_waiting_keeps_its_result() {
    let scheduler = scheduler();
    let handle = scheduler.spawn(|| {
        task::park();
        5
    });
    settle(&scheduler);
    scheduler.block_on(move || {
        handle.task().unpark();
        handle.cancel();
        assert_eq!(handle.join().unwrap(), 5);
    });
    let ended = scheduler.spawn(|| 5);
    scheduler.run().unwrap();
    ended.cancel();
    ended.cancel();
    assert_eq!(ended.join().unwrap(), 5);
}

#[test]
fn a_task_may_cancel_itself_and_meets_it_at_its_next_wait() {
    let scheduler = scheduler();
    let slot = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let (own, met) = (slot.clone(), Rc::new(Cell::new(false)));
    let seen = met.clone();
    *slot.borrow_mut() = Some(scheduler.spawn_local(move || {
        own.borrow().as_ref().unwrap().cancel();
        own.borrow().as_ref().unwrap().cancel();
        seen.set(true);
        yield_now();
        panic!("it goes on");
    }));
    scheduler.run().unwrap();
    assert!(met.get());
    assert!(slot.take().unwrap().join().unwrap_err().is_cancelled());
}

#[test]
fn cancelling_twice_is_cancelling_once() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let (one, two) = (drops.one(), drops.one());
    let handle = scheduler.spawn(move || {
        let _one = one;
        let mut two = Some(two);
        let _waits = OnDrop(move || {
            // The second one finds the task here.
            yield_now();
            sleep(Duration::from_micros(50));
            drop(two.take());
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    handle.cancel();
    scheduler.turn(None).unwrap();
    assert!(!handle.is_finished());
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 2);
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_task_is_cancelled_from_another_thread_while_its_scheduler_sleeps() {
    ends(|| {
        let remote = Remote::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let waits: [Box<dyn FnOnce() + Send>; 4] = [
            Box::new(task::park),
            Box::new(|| sleep(LONG)),
            Box::new(move || drop(listener.accept())),
            Box::new(|| timeout(LONG, task::park).unwrap()),
        ];
        for wait in waits {
            let handle = remote.handle.spawn(wait);
            handle.cancel();
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        remote.stop();
    });
}

#[test]
fn a_task_is_cancelled_by_somebody_else_than_the_one_who_joins_it() {
    ends(|| {
        let remote = Remote::start();
        let handle = remote.handle.spawn(task::park);
        let (one, another) = (handle.cancel_handle(), handle.cancel_handle());
        assert_eq!(one.task().id(), handle.task().id());
        let joins = remote.handle.spawn(move || handle.join());
        assert!(!one.is_finished());
        thread::spawn(move || one.cancel()).join().unwrap();
        assert!(joins.join().unwrap().unwrap_err().is_cancelled());
        assert!(another.is_finished());
        remote.stop();
        another.cancel(); // the task and its scheduler are gone
        assert!(another.clone().is_finished());
    });
}

#[test]
fn a_cancel_handle_that_is_dropped_leaves_the_task_alone() {
    ends(|| {
        let scheduler = scheduler();
        let handle = scheduler.spawn(|| {
            task::scope(|scope| {
                let one = scope.spawn(yield_now);
                let other = scope.spawn(task::park);
                drop(one.cancel_handle());
                other.cancel_handle().cancel();
                (one.join(), other.join())
            })
        });
        drop(handle.cancel_handle());
        scheduler.run().unwrap();
        let (one, other) = handle.join().unwrap();
        assert!(one.is_ok() && other.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_task_that_spins_is_cancelled_at_a_yield_from_another_thread() {
    ends(|| {
        let remote = Remote::start();
        let handle = remote.handle.spawn(|| loop {
            yield_now();
        });
        let (tell, told) = mpsc::channel();
        drop(remote.handle.spawn(move || tell.send(()).unwrap()));
        told.recv().unwrap();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        remote.stop();
    });
}

// ---- shields ----

#[test]
fn a_shield_defers_cancelling_to_its_end() {
    let scheduler = scheduler();
    let steps = Rc::new(Cell::new(0));
    let count = steps.clone();
    let handle = scheduler.spawn_local(move || {
        task::shield(|| {
            task::park();
            count.set(1);
            task::shield(task::park);
            sleep(Duration::from_millis(1));
            assert_eq!(timeout(SHORT, || sleep(LONG)), Err(Timeout));
            yield_now();
            count.set(2);
        });
        unreachable!("the end of the shield delivers it");
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert_eq!(steps.get(), 0);
    handle.task().unpark();
    settle(&scheduler);
    assert_eq!(steps.get(), 1);
    handle.task().unpark();
    scheduler.run().unwrap();
    assert_eq!(steps.get(), 2);
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_panic_inside_of_a_shield_wins_over_cancelling() {
    let scheduler = scheduler();
    let handle = scheduler.spawn(|| {
        task::shield(|| {
            task::park();
            panic!("inside");
        })
    });
    settle(&scheduler);
    handle.cancel();
    handle.task().unpark();
    scheduler.run().unwrap();
    assert_eq!(handle.join().unwrap_err().message(), Some("inside"));
}

// ---- catching it ----

#[test]
fn a_catch_that_swallows_it_meets_it_again_at_the_next_wait() {
    let scheduler = scheduler();
    let caught = Rc::new(Cell::new(0));
    let count = caught.clone();
    let handle = scheduler.spawn_local(move || {
        let waits: [fn(); 4] = [
            task::park,
            || sleep(LONG),
            yield_now,
            || task::park_timeout(LONG),
        ];
        for wait in waits {
            assert!(catch_unwind(wait).is_err());
            count.set(count.get() + 1);
        }
        task::park();
        unreachable!("a wait that nobody catches");
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(caught.get(), 4);
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_task_that_swallows_it_and_returns_has_its_result() {
    let scheduler = scheduler();
    let handle = scheduler.spawn(|| {
        assert!(catch_unwind(task::park).is_err());
        5
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(handle.join().unwrap(), 5);
}

#[test]
fn a_task_that_swallows_it_for_ever_starves_nobody() {
    let scheduler = Scheduler::new().unwrap();
    let waits: [fn(); 4] = [
        task::park,
        || sleep(LONG),
        yield_now,
        || drop(spawn(task::park).join_timeout(LONG)),
    ];
    for wait in waits {
        let enough = Rc::new(Cell::new(false));
        let stop = enough.clone();
        let swallows = scheduler.spawn_local(move || {
            while !stop.get() {
                let _swallowed = catch_unwind(wait);
            }
        });
        scheduler.turn(None).unwrap();
        swallows.cancel();
        let (ticks, stop) = (Rc::new(Cell::new(0)), enough.clone());
        let count = ticks.clone();
        scheduler.spawn_local(move || {
            for _ in 0..100 {
                sleep(Duration::from_micros(10));
                count.set(count.get() + 1);
            }
            stop.set(true);
        });
        while !enough.get() {
            scheduler.turn(None).unwrap();
        }
        assert_eq!(ticks.get(), 100);
        settle(&scheduler);
        assert!(swallows.is_finished());
    }
}

#[test]
fn resuming_what_was_caught_is_cancelling_still() {
    let scheduler = scheduler();
    let handle = scheduler.spawn(|| match catch_unwind(task::park) {
        Ok(()) => unreachable!("nobody unparks it"),
        Err(payload) => panic::resume_unwind(payload),
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert!(handle.join().unwrap_err().is_cancelled());
}

// ---- destructors on the way ----

#[test]
fn a_destructor_sleeps_for_real_while_the_task_unwinds() {
    let scheduler = scheduler();
    let slept = Rc::new(Cell::new(Duration::ZERO));
    let time = slept.clone();
    let handle = scheduler.spawn_local(move || {
        let _sleeps = OnDrop(move || {
            assert!(thread::panicking());
            let start = Instant::now();
            sleep(SHORT);
            time.set(start.elapsed());
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert!(slept.get() >= SHORT, "{:?}", slept.get());
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_destructor_joins_parks_and_yields_for_real_while_the_task_unwinds() {
    let scheduler = scheduler();
    let outcome = Rc::new(Cell::new(0));
    let seen = outcome.clone();
    let handle = scheduler.spawn_local(move || {
        let child = spawn(|| {
            task::park();
            5
        });
        let mut child = Some(child);
        let _joins = OnDrop(move || {
            yield_now();
            let child = child.take().unwrap();
            let me = task::current();
            child.task().unpark();
            spawn(move || me.unpark());
            task::park();
            seen.set(child.join().unwrap());
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(outcome.get(), 5);
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn an_operation_that_can_fail_says_cancelled_in_a_destructor_and_never_interrupted() {
    let scheduler = scheduler();
    let (mut near, _far) = pair();
    let mut exact = near.try_clone().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tell, told) = mpsc::channel::<(&str, io::Error)>();
    let handle = scheduler.spawn(move || {
        let _tries = OnDrop(move || {
            let tell = |what, error| tell.send((what, error)).unwrap();
            tell("read", near.read(&mut [0; 8]).unwrap_err());
            tell("accept", listener.accept().unwrap_err());
            tell("read_exact", exact.read_exact(&mut [0; 8]).unwrap_err());
            tell("write_all", near.write_all(&vec![0; 64 << 20]).unwrap_err());
            let copied = io::copy(&mut exact, &mut io::sink());
            tell("copy", copied.unwrap_err());
            match spawn(task::park).join_timeout(LONG) {
                Err(JoinTimeoutError::Interrupted(child, Cancelled)) => child.task().unpark(),
                other => panic!("{other:?}"),
            }
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    let errors: Vec<_> = told.iter().collect();
    assert_eq!(errors.len(), 5);
    for (what, error) in errors {
        assert_eq!(error.kind(), ErrorKind::Other, "{what}: {error}");
        assert!(
            error.get_ref().unwrap().is::<Cancelled>(),
            "{what}: {error}"
        );
    }
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn an_operation_in_a_destructor_succeeds_if_it_need_not_wait() {
    let scheduler = scheduler();
    let (mut near, mut far) = pair();
    let (tell, told) = mpsc::channel();
    let handle = scheduler.spawn(move || {
        let _writes = OnDrop(move || tell.send(near.write(b"bye")).unwrap());
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(told.recv().unwrap().unwrap(), 3);
    let mut text = String::new();
    far.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye");
}

#[test]
fn a_panic_that_a_destructor_catches_does_not_disturb_the_unwinding() {
    let scheduler = scheduler();
    let drops = Drops::default();
    let one = drops.one();
    let handle = scheduler.spawn(move || {
        let _one = one;
        let _panics = OnDrop(|| {
            let caught = catch_unwind(|| {
                yield_now();
                panic!("inside of a destructor");
            });
            assert!(caught.is_err());
            sleep(Duration::from_micros(10));
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 1);
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_thousand_tasks_unwind_at_once_each_waiting_in_its_destructors() {
    ends(|| {
        let scheduler = scheduler();
        let drops = Drops::default();
        for n in 0..1_000 {
            let mut one = Some(drops.one());
            scheduler.spawn(move || {
                let _outer = OnDrop(move || {
                    sleep(Duration::from_micros(n % 50));
                    yield_now();
                    drop(one.take());
                });
                let _inner = OnDrop(|| {
                    yield_now();
                    spawn(yield_now).join().ok();
                });
                match n % 3 {
                    0 => task::park(),
                    1 => sleep(LONG),
                    _ => timeout(LONG, task::park).unwrap(),
                }
            });
        }
        settle(&scheduler);
        scheduler.handle().cancel_all();
        scheduler.run().unwrap();
        assert_eq!(drops.count(), 1_000);
        assert!(!thread::panicking());
    });
}

// ---- quietly ----

thread_local! {
    static HOOKED: Cell<usize> = const { Cell::new(0) };
}

/// Counts the panics of this thread that any hook would see.
fn count_hooks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            HOOKED.set(HOOKED.get() + 1);
            before(info);
        }));
    });
}

#[test]
fn no_panic_hook_runs_when_a_task_is_cancelled_or_a_scope_expires() {
    count_hooks();
    let scheduler = scheduler();
    is_cancelled_while(&scheduler, task::park);
    is_cancelled_while(&scheduler, || timeout(LONG, task::park).unwrap());
    scheduler.block_on(|| {
        assert!(timeout(SHORT, task::park).is_err());
        assert!(timeout(LONG, || timeout(SHORT, task::park))
            .unwrap()
            .is_err());
        // The hook counts what it sees on this thread.
        let swallows = spawn_local(|| drop(catch_unwind(task::park)));
        yield_now();
        swallows.cancel();
        swallows.join().unwrap();
    });
    assert!(timeout(SHORT, task::park).is_err());
    scheduler.spawn_local(task::park);
    settle(&scheduler);
    drop(scheduler);
    assert_eq!(HOOKED.get(), 0);
    assert!(catch_unwind(|| panic!("the hook does count")).is_err());
    assert_eq!(HOOKED.get(), 1);
}

#[test]
fn nothing_is_left_of_an_unwinding_for_the_rest_of_the_thread() {
    let scheduler = scheduler();
    for _ in 0..100 {
        is_cancelled_while(&scheduler, task::park);
        let expired = scheduler.block_on(|| timeout(Duration::ZERO, task::park));
        assert!(expired.is_err());
        assert!(!thread::panicking());
        let mutex = std::sync::Mutex::new(());
        drop(mutex.lock());
        assert!(!mutex.is_poisoned());
    }
}

// ---- races ----

#[test]
fn a_cancel_races_with_wakes_timers_and_ends() {
    ends(|| {
        let remote = Remote::start();
        let mut random = Random::new(11);
        let drops = Drops::default();
        let (cancelled, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        const ROUNDS: usize = 20_000;
        for _ in 0..ROUNDS {
            let one = drops.one();
            let waits = random.below(5);
            let micros = Duration::from_micros(random.below(30) as u64);
            let handle = remote.handle.spawn(move || {
                let _one = one;
                match waits {
                    0 => task::park(),
                    1 => sleep(micros),
                    2 => timeout(micros, task::park).unwrap_or(()),
                    3 => drop(spawn(move || sleep(micros)).join()),
                    _ => task::shield(|| task::park_timeout(micros)),
                }
            });
            for _ in 0..random.below(300) {
                std::hint::spin_loop();
            }
            // Now and then one of those that end by themselves is left alone.
            while waits > 0 && micros.is_zero() && !handle.is_finished() {
                thread::yield_now();
            }
            if random.below(2) == 0 {
                handle.task().unpark();
                handle.cancel();
            } else {
                handle.cancel();
                handle.task().unpark();
            }
            match handle.join() {
                Ok(()) => finished.fetch_add(1, SeqCst),
                Err(JoinError::Cancelled) => cancelled.fetch_add(1, SeqCst),
                Err(error) => panic!("{error}"),
            };
        }
        remote.stop();
        assert_eq!(drops.count(), ROUNDS);
        assert!(cancelled.into_inner() > 0 && finished.into_inner() > 0);
    });
}

#[test]
fn many_threads_cancel_the_same_task() {
    ends(|| {
        let remote = Remote::start();
        for _ in 0..200 {
            let handle = Arc::new(remote.handle.spawn(|| {
                let _waits = OnDrop(|| sleep(Duration::from_micros(50)));
                loop {
                    yield_now();
                }
            }));
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while !handle.is_finished() {
                            handle.cancel();
                        }
                    });
                }
            });
            let handle = Arc::into_inner(handle).unwrap();
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        remote.stop();
    });
}

#[test]
fn what_a_cancelled_task_caught_may_be_thrown_away_anywhere() {
    let scheduler = scheduler();
    let handle = scheduler.spawn(|| catch_unwind(task::park).unwrap_err());
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    let payload = handle.join().unwrap();
    // Even thrown elsewhere it stops at a task's root.
    let other = scheduler.spawn(move || panic::resume_unwind(payload));
    let same = scheduler.spawn(|| 5);
    scheduler.run().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| other.join()))
        .unwrap()
        .is_err());
    assert_eq!(same.join().unwrap(), 5);
}

#[test]
fn a_wait_begun_while_another_task_stands_in_an_unwinding_destructor_is_still_ended() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let release = Rc::new(Cell::new(false));
        let held = release.clone();
        let unwinding = scheduler.spawn_local(move || {
            let _waits = OnDrop(|| {
                while !held.get() {
                    sleep(Duration::from_millis(1));
                }
            });
            task::park();
        });
        scheduler.turn(None).unwrap();
        unwinding.cancel();
        scheduler.turn(None).unwrap();
        assert!(!unwinding.is_finished());

        // These begin their waits now, and what ends them comes now as well.
        let parked = scheduler.spawn(task::park);
        let late = scheduler.spawn(|| timeout(Duration::from_millis(5), task::park));
        scheduler.turn(None).unwrap();
        parked.cancel();
        scheduler.block_on(|| sleep(Duration::from_millis(20)));
        release.set(true);
        assert!(parked.join().unwrap_err().is_cancelled());
        assert!(late.join().unwrap().is_err());
        assert!(unwinding.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn the_destructor_of_a_result_that_nobody_takes_is_not_interrupted() {
    let scheduler = scheduler();
    let done = Rc::new(Cell::new(false));
    let told = done.clone();
    let task = scheduler.spawn_local(move || {
        let _swallowed = catch_unwind(task::park);
        OnDrop(move || {
            yield_now();
            told.set(true);
        })
    });
    settle(&scheduler);
    task.cancel();
    drop(task);
    scheduler.run().unwrap();
    assert!(done.get());
}
