//! Barriers, events, notifications and wait groups: who is let through, and when.

mod common;

use common::{ends, scheduler, settle, OnDrop, Remote};
use multitask::sync::{Arc, Barrier, Event, Notify, WaitGroup};
use multitask::task::JoinHandle;
use multitask::{spawn, timeout, yield_now, Scheduler, Timeout};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

fn finished<T>(handles: &[JoinHandle<T>]) -> usize {
    handles.iter().filter(|handle| handle.is_finished()).count()
}

/// So many tasks that do that, each of which has begun.
fn tasks<P: Send + Sync + 'static, T: Send + 'static>(
    scheduler: &Scheduler,
    number: usize,
    shared: &Arc<P>,
    f: fn(&P) -> T,
) -> Vec<JoinHandle<T>> {
    let spawn = |_| {
        let shared = shared.clone();
        let handle = scheduler.spawn(move || f(&shared));
        settle(scheduler);
        handle
    };
    (0..number).map(spawn).collect()
}

// ---- Barrier ----

#[test]
fn a_barrier_lets_all_through_at_once_and_the_last_one_leads() {
    let scheduler = scheduler();
    let barrier = Arc::new(Barrier::new(3));
    let comes = |barrier: &Barrier| barrier.wait().is_leader();
    for _ in 0..3 {
        let mut first = tasks(&scheduler, 2, &barrier, comes);
        assert_eq!(finished(&first), 0);
        first.extend(tasks(&scheduler, 1, &barrier, comes));
        let leads: Vec<_> = first.into_iter().map(|task| task.join().unwrap()).collect();
        assert_eq!(leads, [false, false, true]);
    }
    assert!(Barrier::new(0).wait().is_leader());
    assert!(Barrier::new(1).wait().is_leader());
}

#[test]
fn a_waiter_that_is_cancelled_has_not_come_to_the_barrier() {
    let scheduler = Scheduler::new().unwrap();
    let comes = |barrier: &Barrier| barrier.wait().is_leader();
    // It has left when the last one comes, or is about to.
    for left in [true, false] {
        let barrier = Arc::new(Barrier::new(3));
        let first = tasks(&scheduler, 2, &barrier, comes);
        let last = scheduler.block_on(|| {
            first[0].cancel();
            if left {
                yield_now();
            }
            timeout(Duration::ZERO, || barrier.wait().is_leader())
        });
        assert_eq!(last, Err(Timeout), "left: {left}");
        settle(&scheduler);
        assert!(!first[1].is_finished());
        // Two more are needed: the last one has left as well.
        let more = tasks(&scheduler, 1, &barrier, comes);
        assert_eq!(finished(&more), 0);
        let most = tasks(&scheduler, 1, &barrier, comes);
        assert_eq!((finished(&more), finished(&most)), (1, 1));
        assert!(first[1].is_finished());
    }
}

#[test]
fn tasks_of_two_schedulers_and_threads_meet_at_a_barrier() {
    const GROUP: usize = 6;
    const TIMES: usize = 100;
    ends(|| {
        let shared = Arc::new((
            Barrier::new(GROUP),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        ));
        let work = || {
            let shared = shared.clone();
            move || {
                let (barrier, came, leaders) = &*shared;
                for time in 1..=TIMES {
                    came.fetch_add(1, SeqCst);
                    let leader = barrier.wait().is_leader();
                    assert!(came.load(SeqCst) >= GROUP * time);
                    leaders.fetch_add(usize::from(leader), SeqCst);
                    barrier.wait();
                }
            }
        };
        let remotes = [Remote::start(), Remote::start()];
        let tasks: Vec<_> = (0..4)
            .map(|n| remotes[n % 2].handle.spawn(work()))
            .collect();
        let threads = [thread::spawn(work()), thread::spawn(work())];
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(shared.2.load(SeqCst), TIMES);
        remotes.into_iter().for_each(Remote::stop);
    });
}

// ---- Event ----

#[test]
fn an_event_lets_all_go_on_until_it_is_cleared() {
    let scheduler = Scheduler::new().unwrap();
    let event = Arc::new(Event::default());
    let waits = tasks(&scheduler, 3, &event, Event::wait);
    assert_eq!((finished(&waits), event.is_set()), (0, false));
    event.set();
    event.set();
    // Those who waited go on though it is cleared before they run.
    event.clear();
    settle(&scheduler);
    assert_eq!((finished(&waits), event.is_set()), (3, false));
    assert_eq!(finished(&tasks(&scheduler, 1, &event, Event::wait)), 0);
    event.set();
    assert_eq!(finished(&tasks(&scheduler, 1, &event, Event::wait)), 1);
    assert!(event.is_set());
}

#[test]
fn bounded_waits_end_when_their_time_is_up_and_not_before() {
    let body = || {
        let (event, notify) = (Event::new(), Notify::new());
        let waits: [&dyn Fn() -> Result<(), Timeout>; 4] = [
            &|| event.wait_timeout(SHORT),
            &|| event.wait_deadline(Instant::now() + SHORT),
            &|| notify.wait_timeout(SHORT),
            &|| notify.wait_deadline(Instant::now() + SHORT),
        ];
        for wait in waits {
            let start = Instant::now();
            assert_eq!(wait(), Err(Timeout));
            assert!(start.elapsed() >= SHORT);
        }
        event.set();
        assert_eq!(event.wait_timeout(Duration::ZERO), Ok(()));
        assert_eq!(event.wait_deadline(Instant::now()), Ok(()));
        notify.notify_one();
        assert_eq!(notify.wait_timeout(Duration::ZERO), Ok(()));
        assert_eq!(notify.wait_timeout(Duration::ZERO), Err(Timeout));
        notify.notify_one();
        assert_eq!(notify.wait_deadline(Instant::now()), Ok(()));
        assert_eq!(timeout(SHORT, || notify.wait()), Err(Timeout));
        event.clear();
        assert_eq!(timeout(SHORT, || event.wait()), Err(Timeout));
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn a_wait_in_a_destructor_that_panics_goes_on_though_its_task_is_cancelled_meanwhile() {
    let scheduler = Scheduler::new().unwrap();
    let event = Arc::new(Event::new());
    let shared = event.clone();
    let handle = scheduler.spawn(move || {
        let _last = OnDrop(|| {
            shared.wait();
            assert!(shared.is_set());
        });
        resume_unwind(Box::new("a panic"));
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert!(!handle.is_finished());
    event.set();
    settle(&scheduler);
    assert!(handle.join().unwrap_err().is_panic());
}

// ---- Notify ----

#[test]
fn a_notification_is_for_the_one_who_has_waited_for_longest_or_is_kept_for_the_next() {
    let scheduler = Scheduler::new().unwrap();
    let notify = Arc::new(Notify::default());
    let waits = tasks(&scheduler, 3, &notify, Notify::wait);
    for n in 1..=2 {
        notify.notify_one();
        settle(&scheduler);
        assert!(waits[n - 1].is_finished());
        assert_eq!(finished(&waits), n);
    }
    // What somebody has taken is not kept as well.
    assert_eq!(notify.wait_timeout(Duration::ZERO), Err(Timeout));
    notify.notify_one();
    notify.notify_one();
    notify.notify_one();
    settle(&scheduler);
    assert_eq!(finished(&waits), 3);
    // Of several that are kept there is one.
    assert_eq!(finished(&tasks(&scheduler, 2, &notify, Notify::wait)), 1);
}

#[test]
fn notify_waiters_lets_those_go_on_who_wait_and_keeps_nothing() {
    let scheduler = Scheduler::new().unwrap();
    let notify = Arc::new(Notify::new());
    let waits = tasks(&scheduler, 3, &notify, Notify::wait);
    notify.notify_waiters();
    settle(&scheduler);
    assert_eq!(finished(&waits), 3);
    notify.notify_waiters();
    assert_eq!(finished(&tasks(&scheduler, 1, &notify, Notify::wait)), 0);
}

#[test]
fn a_notification_does_not_go_to_one_that_was_cancelled() {
    let scheduler = Scheduler::new().unwrap();
    for left in [true, false] {
        let notify = Arc::new(Notify::new());
        let waits = tasks(&scheduler, 2, &notify, Notify::wait);
        scheduler.block_on(|| {
            waits[0].cancel();
            if left {
                yield_now();
            }
            notify.notify_one();
        });
        settle(&scheduler);
        assert_eq!(finished(&waits), 2, "left: {left}");
        // With nobody to wait for it, it is kept.
        let notify = Arc::new(Notify::new());
        let waits = tasks(&scheduler, 1, &notify, Notify::wait);
        scheduler.block_on(|| {
            waits[0].cancel();
            notify.notify_one();
        });
        settle(&scheduler);
        assert_eq!(notify.wait_timeout(Duration::ZERO), Ok(()));
    }
}

// ---- WaitGroup ----

#[test]
fn a_group_is_waited_for_until_its_last_handle_is_dropped() {
    let scheduler = Scheduler::new().unwrap();
    let group = WaitGroup::default();
    let (one, two) = (group.clone(), group.clone());
    let waits = [group.clone(), group].map(|group| scheduler.spawn(move || group.wait()));
    settle(&scheduler);
    assert_eq!(format!("{one:?}"), "WaitGroup { handles: 2 }");
    drop(one);
    settle(&scheduler);
    assert_eq!(finished(&waits), 0);
    drop(two);
    settle(&scheduler);
    assert_eq!(finished(&waits), 2);
    WaitGroup::new().wait();
}

#[test]
fn a_task_that_is_cancelled_while_it_waits_for_its_group_is_not_waited_for() {
    let scheduler = Scheduler::new().unwrap();
    let group = WaitGroup::new();
    let (one, two) = (group.clone(), group.clone());
    let cancelled = scheduler.spawn(move || one.wait());
    let waits = scheduler.spawn(move || two.wait());
    settle(&scheduler);
    cancelled.cancel();
    settle(&scheduler);
    assert!(cancelled.join().unwrap_err().is_cancelled());
    assert!(!waits.is_finished());
    drop(group);
    settle(&scheduler);
    assert!(waits.is_finished());
}

#[test]
fn a_plain_thread_waits_for_a_group_of_its_tasks_and_other_threads() {
    ends(|| {
        let group = WaitGroup::new();
        let done = Arc::new(AtomicUsize::new(0));
        for n in 0..10 {
            let (group, done) = (group.clone(), done.clone());
            let work = move || {
                yield_now();
                done.fetch_add(1, SeqCst);
                drop(group);
            };
            if n % 2 == 0 {
                spawn(work);
            } else {
                thread::spawn(work);
            }
        }
        group.wait();
        assert_eq!(done.load(SeqCst), 10);
    });
}
