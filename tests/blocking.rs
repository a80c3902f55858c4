//! `task::blocking`: calls that block, made elsewhere, by callers that stand still.

mod common;

use common::{ends, scheduler, settle, OnDrop};
use multitask::net::ToSocketAddrs;
use multitask::{
    sleep, sleep_until, spawn, task, timeout, timeout_at, yield_now, Scheduler, Timeout,
};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);

/// A call that blocks until the other end is dropped.
fn hang(held: &Mutex<mpsc::Receiver<()>>) {
    let _hung_up = held.lock().unwrap().recv();
}

fn gate() -> (mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>) {
    let (release, held) = mpsc::channel();
    (release, Mutex::new(held))
}

#[test]
fn the_closure_borrows_from_its_caller_and_its_value_comes_back() {
    scheduler().block_on(|| {
        let words = ["some", "words"].map(String::from);
        let mut lengths = Vec::new();
        let (here, there) = (
            thread::current().id(),
            task::blocking(|| {
                lengths.extend(words.iter().map(String::len));
                thread::current().id()
            }),
        );
        assert_ne!(here, there);
        assert_eq!(lengths, [4, 5]);
        let large = task::blocking(|| [words.len(); 1000]);
        assert_eq!(large, [2; 1000]);
    });
}

#[test]
fn other_tasks_run_while_a_call_blocks() {
    ends(|| {
        let scheduler = scheduler();
        let (send, receive) = mpsc::channel();
        let blocks = scheduler.spawn(move || task::blocking(move || receive.recv()));
        scheduler.spawn(move || send.send(7));
        scheduler.run().unwrap();
        assert_eq!(blocks.join().unwrap(), Ok(7));
    });
}

#[test]
fn a_panic_comes_back_to_the_caller_and_the_pool_goes_on() {
    scheduler().block_on(|| {
        for n in 0..3 {
            let call = || {
                task::blocking(|| {
                    if n < 3 {
                        panic!("oops {n}")
                    }
                })
            };
            let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
            assert_eq!(*panic.downcast::<String>().unwrap(), format!("oops {n}"));
        }
        let error = spawn(|| task::blocking(|| panic!("again"))).join();
        assert_eq!(error.unwrap_err().message(), Some("again"));
        assert_eq!(task::blocking(|| 7), 7);
    });
}

#[test]
fn a_cancelled_caller_keeps_what_it_lent_until_the_call_has_ended() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (release, held) = gate();
        let (says, dies) = (log.clone(), log.clone());
        let caller = scheduler.spawn(move || {
            let lent = OnDrop(move || dies.lock().unwrap().push("the loan has gone"));
            task::blocking(|| {
                let _still_there = &lent;
                hang(&held);
                says.lock().unwrap().push("the call has ended");
            });
            unreachable!("it was cancelled");
        });
        settle(&scheduler);
        caller.cancel();
        settle(&scheduler);
        scheduler.turn(Some(SHORT)).unwrap();
        assert!(!caller.is_finished() && log.lock().unwrap().is_empty());
        drop(release);
        scheduler.run().unwrap();
        assert!(caller.join().unwrap_err().is_cancelled());
        let log = log.lock().unwrap();
        assert_eq!(*log, ["the call has ended", "the loan has gone"]);
    });
}

#[test]
fn a_deadline_that_passes_during_a_call_is_met_after_it() {
    ends(|| {
        scheduler().block_on(|| {
            // On a machine that has other things to do the time may be up before the call, which does not begin then.
            let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
            let expired = limits.find_map(|limit| {
                let (mut begun, mut lent) = (false, 0);
                let (release, held) = gate();
                let deadline = Instant::now() + limit;
                let releases = spawn(move || {
                    sleep_until(deadline + SHORT);
                    drop(release);
                });
                let expired = timeout_at(deadline, || {
                    task::blocking(|| {
                        begun = true;
                        hang(&held);
                        lent = 7;
                    });
                });
                releases.join().unwrap();
                begun.then_some((expired, lent))
            });
            assert_eq!(expired, Some((Err(Timeout), 7)));
            let in_time = timeout(Duration::from_secs(60), || task::blocking(|| 8));
            assert_eq!(in_time, Ok(8));
        });
    });
}

#[test]
fn a_task_that_was_cancelled_begins_no_call() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let scheduler = scheduler();
    let caller = scheduler.spawn(|| {
        let _swallowed = catch_unwind(task::park);
        task::blocking(|| CALLS.fetch_add(1, SeqCst));
    });
    settle(&scheduler);
    caller.cancel();
    scheduler.run().unwrap();
    assert!(caller.join().unwrap_err().is_cancelled());
    assert_eq!(CALLS.load(SeqCst), 0);
}

#[test]
fn a_destructor_makes_a_call_while_its_task_unwinds() {
    let scheduler = scheduler();
    let done = Arc::new(AtomicUsize::new(0));
    let counts = done.clone();
    let unwinds = scheduler.spawn(move || {
        let _calls = OnDrop(|| {
            let n = task::blocking(|| 7);
            counts.fetch_add(n, SeqCst);
        });
        task::park();
    });
    settle(&scheduler);
    unwinds.cancel();
    scheduler.run().unwrap();
    assert!(unwinds.join().unwrap_err().is_cancelled());
    assert_eq!(done.load(SeqCst), 7);
}

#[test]
fn a_scheduler_that_is_dropped_waits_for_the_calls_of_its_tasks() {
    ends(|| {
        let done = Arc::new(AtomicUsize::new(0));
        let (release, held) = gate();
        let counts = done.clone();
        let scheduler = scheduler();
        scheduler.spawn(move || {
            let lent = counts;
            task::blocking(|| {
                hang(&held);
                lent.fetch_add(1, SeqCst);
            });
        });
        settle(&scheduler);
        let releases = thread::spawn(move || {
            thread::sleep(SHORT);
            drop(release);
        });
        drop(scheduler);
        assert_eq!(done.load(SeqCst), 1);
        releases.join().unwrap();
    });
}

#[test]
fn more_calls_than_there_are_threads_all_return() {
    scheduler().block_on(|| {
        let sums: Vec<_> = (0..1000_usize)
            .map(|n| spawn(move || (0..3).map(|m| task::blocking(|| n * m)).sum::<usize>()))
            .collect();
        for (n, sum) in sums.into_iter().enumerate() {
            assert_eq!(sum.join().unwrap(), 3 * n);
        }
    });
}

#[test]
fn a_plain_thread_makes_the_call_itself_unless_it_has_tasks_to_run_meanwhile() {
    ends(|| {
        let here = thread::current().id();
        assert_eq!(task::blocking(|| thread::current().id()), here);
        let (send, receive) = mpsc::channel();
        let sends = spawn(move || {
            yield_now();
            send.send(7)
        });
        assert_eq!(task::blocking(move || receive.recv()), Ok(7));
        sends.join().unwrap().unwrap();
        let panic = catch_unwind(|| task::blocking(|| panic!("here")));
        assert!(panic.is_err());
    });
}

#[test]
fn calls_that_hang_delay_no_name() {
    ends(|| {
        let scheduler = scheduler();
        let (release, held) = gate();
        let held = Arc::new(held);
        let hang: Vec<_> = (0..300)
            .map(|_| {
                let held = held.clone();
                scheduler.spawn(move || {
                    task::blocking(|| hang(&held));
                })
            })
            .collect();
        settle(&scheduler);
        let names = || ("localhost", 80).to_socket_addrs().unwrap().count();
        assert!(scheduler.block_on(names) > 0);
        assert!(hang.iter().all(|call| !call.is_finished()));
        drop(release);
        scheduler.run().unwrap();
    });
}

#[test]
fn a_call_may_use_the_library_itself() {
    scheduler().block_on(|| {
        let value = task::blocking(|| {
            let inner = spawn(|| {
                sleep(Duration::from_millis(1));
                task::blocking(|| 7)
            });
            inner.join().unwrap()
        });
        assert_eq!(value, 7);
    });
}
