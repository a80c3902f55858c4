//! Condition variables: order, time limits, what interruptions do to the mutex, tasks and threads.

mod common;

use common::{ends, scheduler, settle, Remote, LONG};
use multitask::sync::{Arc, Condvar, Mutex, TryLockError};
use multitask::task::{self, JoinHandle};
use multitask::{sleep, spawn, timeout, yield_now, Scheduler, Timeout};
use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

/// How often somebody has been notified, and by whom it is noted.
type Shared = Arc<(Mutex<Vec<usize>>, Condvar)>;

/// A task that waits once, and notes its number.
fn waiter(scheduler: &Scheduler, shared: &Shared, number: usize) -> JoinHandle<()> {
    let shared = shared.clone();
    scheduler.spawn(move || {
        let guard = shared.0.lock().unwrap();
        shared.1.wait(guard).unwrap().push(number);
    })
}

fn is_locked<T>(mutex: &Mutex<T>) -> bool {
    matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))
}

#[test]
fn notify_one_lets_the_one_go_on_that_has_waited_for_longest() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    shared.1.notify_one(); // is not kept
    for number in 0..4 {
        waiter(&scheduler, &shared, number);
    }
    settle(&scheduler);
    for number in 0..4 {
        assert_eq!(shared.0.lock().unwrap().len(), number);
        shared.1.notify_one();
        settle(&scheduler);
        assert_eq!(*shared.0.lock().unwrap(), Vec::from_iter(0..=number));
    }
}

#[test]
fn notify_all_lets_all_go_on_that_wait_and_none_that_comes_later() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    for number in 0..4 {
        waiter(&scheduler, &shared, number);
    }
    settle(&scheduler);
    shared.1.notify_all();
    let late = waiter(&scheduler, &shared, 4);
    settle(&scheduler);
    assert_eq!(*shared.0.lock().unwrap(), [0, 1, 2, 3]);
    assert!(!late.is_finished());
}

#[test]
fn the_mutex_is_free_while_somebody_waits_and_locked_when_wait_returns() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    let both = shared.clone();
    let handle = scheduler.spawn(move || {
        let guard = both.1.wait(both.0.lock().unwrap()).unwrap();
        yield_now();
        drop(guard);
    });
    settle(&scheduler);
    let guard = shared.0.try_lock().unwrap();
    shared.1.notify_one();
    settle(&scheduler);
    assert!(!handle.is_finished(), "the mutex is not free");
    drop(guard);
    scheduler.turn(Some(Duration::ZERO)).unwrap();
    assert!(is_locked(&shared.0) && !handle.is_finished());
    settle(&scheduler);
    assert!(!is_locked(&shared.0) && handle.is_finished());
}

#[test]
fn a_bounded_wait_ends_when_its_time_is_up_and_not_before() {
    let body = || {
        let (mutex, condvar) = (Mutex::new(0), Condvar::new());
        let start = Instant::now();
        let (guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), SHORT).unwrap();
        assert!(result.timed_out() && start.elapsed() >= SHORT && is_locked(&mutex));
        let deadline = Instant::now() + SHORT;
        let (guard, result) = condvar.wait_deadline(guard, deadline).unwrap();
        assert!(result.timed_out() && Instant::now() >= deadline);
        let (start, mut asked) = (Instant::now(), 0);
        let asks = |_: &mut i32| {
            asked += 1;
            true
        };
        let (guard, result) = condvar.wait_timeout_while(guard, SHORT, asks).unwrap();
        assert!(result.timed_out() && start.elapsed() >= SHORT);
        assert_eq!(asked, 2);
        let (_guard, result) = condvar
            .wait_timeout_while(guard, Duration::ZERO, |n| *n > 0)
            .unwrap();
        assert!(!result.timed_out());
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn a_notification_ends_a_bounded_wait_in_time() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    let both = shared.clone();
    let handle = scheduler.spawn(move || {
        let (mutex, condvar) = &*both;
        let (guard, one) = condvar.wait_timeout(mutex.lock().unwrap(), LONG).unwrap();
        let (guard, two) = condvar.wait_timeout(guard, Duration::MAX).unwrap();
        let full = |numbers: &mut Vec<usize>| numbers.is_empty();
        let (_guard, three) = condvar.wait_timeout_while(guard, LONG, full).unwrap();
        [one, two, three].map(|result| result.timed_out())
    });
    for round in 0..3 {
        settle(&scheduler);
        if round == 2 {
            shared.0.lock().unwrap().push(1);
        }
        shared.1.notify_one();
    }
    settle(&scheduler);
    assert_eq!(handle.join().unwrap(), [false; 3]);
}

#[test]
fn a_waiter_that_is_cancelled_waits_for_no_mutex() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    let first = waiter(&scheduler, &shared, 1);
    let second = waiter(&scheduler, &shared, 2);
    settle(&scheduler);
    let guard = shared.0.lock().unwrap();
    first.cancel();
    settle(&scheduler);
    assert!(first.is_finished(), "the mutex is not free, and not needed");
    // It is not in line any more: the notification is the other's.
    shared.1.notify_one();
    drop(guard);
    settle(&scheduler);
    assert!(first.join().unwrap_err().is_cancelled());
    assert!(second.is_finished() && !is_locked(&shared.0));
}

#[test]
fn a_waiter_that_was_notified_and_then_cancelled_returns_with_the_mutex() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    let first = waiter(&scheduler, &shared, 1);
    settle(&scheduler);
    let guard = shared.0.lock().unwrap();
    shared.1.notify_one();
    settle(&scheduler);
    first.cancel();
    settle(&scheduler);
    drop(guard);
    settle(&scheduler);
    first.join().unwrap();
    assert_eq!(*shared.0.lock().unwrap(), [1]);
}

#[test]
fn a_scope_round_a_wait_that_expires_leaves_the_mutex_free() {
    let (mutex, condvar) = (Mutex::new(0), Condvar::new());
    let expires = || timeout(SHORT, || drop(condvar.wait(mutex.lock().unwrap())));
    assert_eq!(expires(), Err(Timeout));
    assert!(!is_locked(&mutex));
    assert_eq!(scheduler().block_on(expires), Err(Timeout));
    drop(mutex.try_lock().unwrap());
}

#[test]
fn poison_comes_with_the_guard_as_std_s_does() {
    let scheduler = Scheduler::new().unwrap();
    let shared = Shared::default();
    let both = shared.clone();
    let handle = scheduler.spawn(move || {
        let (mutex, condvar) = &*both;
        let waited = condvar.wait(mutex.lock().unwrap());
        let guard = waited.unwrap_err().into_inner();
        let waited = condvar.wait_timeout(guard, Duration::ZERO);
        let (guard, result) = waited.unwrap_err().into_inner();
        assert!(result.timed_out());
        let waited = condvar.wait_timeout_while(guard, LONG, |_| false);
        assert!(!waited.unwrap_err().into_inner().1.timed_out());
    });
    settle(&scheduler);
    let spoils = || {
        let _guard = shared.0.lock().unwrap();
        panic!("while it is held");
    };
    assert!(catch_unwind(AssertUnwindSafe(spoils)).is_err());
    shared.1.notify_all();
    settle(&scheduler);
    handle.join().unwrap();
}

#[test]
fn a_condition_that_panics_poisons() {
    let shared = Shared::default();
    let panics = || {
        shared
            .1
            .wait_while(shared.0.lock().unwrap(), |_| panic!("no"))
            .is_ok()
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert!(shared.0.is_poisoned() && !is_locked(&shared.0));
}

#[test]
fn a_plain_thread_that_waits_runs_the_tasks_that_notify() {
    let shared = Shared::default();
    let both = shared.clone();
    let notifier = spawn(move || {
        sleep(SHORT);
        both.0.lock().unwrap().push(1);
        both.1.notify_one();
        task::park();
    });
    let guard = shared.0.lock().unwrap();
    let guard = shared
        .1
        .wait_while(guard, |noted| noted.is_empty())
        .unwrap();
    assert_eq!(*guard, [1]);
    notifier.cancel();
}

#[test]
fn items_pass_between_tasks_of_two_schedulers_and_threads_and_none_is_lost() {
    const EACH: usize = 1_000;
    ends(|| {
        let line = Arc::new((Mutex::new(VecDeque::new()), Condvar::new(), Condvar::new()));
        let puts = || {
            let line = line.clone();
            move || {
                for n in 0..EACH {
                    let items = line.0.lock().unwrap();
                    let full = |items: &mut VecDeque<usize>| items.len() >= 3;
                    line.1.wait_while(items, full).unwrap().push_back(n);
                    line.2.notify_one();
                }
            }
        };
        let gets = || {
            let line = line.clone();
            move || {
                let get = |_| {
                    let items = line.0.lock().unwrap();
                    let empty = |items: &mut VecDeque<usize>| items.is_empty();
                    let item = line.2.wait_while(items, empty).unwrap().pop_front();
                    line.1.notify_one();
                    item.unwrap()
                };
                (0..EACH).map(get).sum::<usize>()
            }
        };
        let remotes = [Remote::start(), Remote::start()];
        let mut tasks = Vec::new();
        for remote in &remotes {
            remote.handle.spawn(puts());
            tasks.push(remote.handle.spawn(gets()));
        }
        let threads = [thread::spawn(gets()), thread::spawn(gets())];
        thread::spawn(puts());
        thread::spawn(puts());
        let sum: usize = threads
            .map(|thread| thread.join().unwrap())
            .into_iter()
            .sum();
        let sum: usize = tasks
            .into_iter()
            .map(|task| task.join().unwrap())
            .sum::<usize>()
            + sum;
        assert_eq!(sum, 4 * (EACH * (EACH - 1) / 2));
        remotes.into_iter().for_each(Remote::stop);
    });
}
