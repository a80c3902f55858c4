//! Semaphores: who is served first, what closing does, and that no permit is lost.

mod common;

use common::{ends, scheduler, settle, OnDrop, Remote, LONG};
use multitask::sync::{AcquireError, Arc, Mutex, Semaphore, TryAcquireError};
use multitask::task::{self, JoinHandle};
use multitask::{spawn, timeout, yield_now, Scheduler, Timeout};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

type Log = Arc<Mutex<Vec<usize>>>;

/// A task that acquires so many, notes that, and gives them back when it is unparked.
fn acquirer(
    scheduler: &Scheduler,
    semaphore: &Arc<Semaphore>,
    log: &Log,
    permits: usize,
) -> JoinHandle<()> {
    let (semaphore, log) = (semaphore.clone(), log.clone());
    let handle = scheduler.spawn(move || {
        let permit = semaphore.acquire_many(permits).unwrap();
        log.lock().unwrap().push(permit.num_permits());
        task::park();
    });
    settle(scheduler);
    handle
}

#[test]
fn permits_are_taken_and_given_back() {
    let semaphore = Arc::new(Semaphore::new(3));
    let one = semaphore.acquire().unwrap();
    let two = semaphore.clone().acquire_many_owned(2).unwrap();
    assert_eq!((one.num_permits(), two.num_permits()), (1, 2));
    assert_eq!(semaphore.available_permits(), 0);
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::NoPermits
    );
    assert!(semaphore.clone().try_acquire_owned().is_err());
    drop(one);
    assert_eq!(semaphore.available_permits(), 1);
    assert!(semaphore.try_acquire_many(2).is_err());
    drop(semaphore.try_acquire().unwrap());
    two.forget();
    assert_eq!(semaphore.available_permits(), 1);
    semaphore.acquire().unwrap().forget();
    semaphore.add_permits(5);
    assert_eq!(semaphore.clone().acquire_owned().unwrap().num_permits(), 1);
    drop(semaphore.acquire_many(5).unwrap());
    drop(semaphore.acquire_many(0).unwrap());
    assert_eq!(semaphore.available_permits(), 5);
    static STATIC: Semaphore = Semaphore::new(1);
    drop(STATIC.acquire().unwrap());
}

#[test]
fn a_request_for_many_is_not_starved_by_those_for_few() {
    let scheduler = Scheduler::new().unwrap();
    let (semaphore, log) = (Arc::new(Semaphore::new(3)), Log::default());
    let [first, second] = [1, 1].map(|n| acquirer(&scheduler, &semaphore, &log, n));
    let many = acquirer(&scheduler, &semaphore, &log, 3);
    let few = acquirer(&scheduler, &semaphore, &log, 1);
    // One is free, but not for those who come later.
    assert_eq!(semaphore.available_permits(), 1);
    assert!(semaphore.try_acquire().is_err());
    assert_eq!(*log.lock().unwrap(), [1, 1]);
    first.task().unpark();
    settle(&scheduler);
    assert_eq!(*log.lock().unwrap(), [1, 1]);
    second.task().unpark();
    settle(&scheduler);
    assert_eq!(*log.lock().unwrap(), [1, 1, 3]);
    many.task().unpark();
    settle(&scheduler);
    assert_eq!(*log.lock().unwrap(), [1, 1, 3, 1]);
    few.task().unpark();
    scheduler.run().unwrap();
    assert_eq!(semaphore.available_permits(), 3);
}

#[test]
fn permits_that_are_added_serve_all_they_are_enough_for_in_order() {
    let scheduler = Scheduler::new().unwrap();
    let (semaphore, log) = (Arc::new(Semaphore::new(0)), Log::default());
    for permits in [1, 2, 3, 4] {
        acquirer(&scheduler, &semaphore, &log, permits);
    }
    semaphore.add_permits(7);
    settle(&scheduler);
    assert_eq!(*log.lock().unwrap(), [1, 2, 3]);
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn one_that_gives_up_lets_those_behind_it_be_served() {
    let scheduler = Scheduler::new().unwrap();
    let (semaphore, log) = (Arc::new(Semaphore::new(2)), Log::default());
    let many = acquirer(&scheduler, &semaphore, &log, 3);
    acquirer(&scheduler, &semaphore, &log, 1);
    acquirer(&scheduler, &semaphore, &log, 1);
    assert!(log.lock().unwrap().is_empty());
    many.cancel();
    settle(&scheduler);
    assert!(many.join().unwrap_err().is_cancelled());
    assert_eq!(*log.lock().unwrap(), [1, 1]);
}

#[test]
fn closing_tells_those_who_wait_and_those_who_come() {
    let scheduler = Scheduler::new().unwrap();
    let semaphore = Arc::new(Semaphore::new(1));
    let permit = semaphore.acquire().unwrap();
    let shared = semaphore.clone();
    let waits = scheduler.spawn(move || shared.acquire().map(drop));
    settle(&scheduler);
    assert!(!semaphore.is_closed());
    semaphore.close();
    semaphore.close();
    assert!(semaphore.is_closed());
    settle(&scheduler);
    assert_eq!(waits.join().unwrap(), Err(AcquireError::Closed));
    assert_eq!(semaphore.acquire().unwrap_err(), AcquireError::Closed);
    assert_eq!(
        semaphore.acquire_timeout(LONG).unwrap_err(),
        AcquireError::Closed
    );
    drop(permit);
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::Closed
    );
}

#[test]
fn a_permit_given_before_closing_arrives() {
    let scheduler = Scheduler::new().unwrap();
    let semaphore = Arc::new(Semaphore::new(0));
    let shared = semaphore.clone();
    let waits = scheduler.spawn(move || shared.acquire().map(drop));
    settle(&scheduler);
    semaphore.add_permits(1);
    semaphore.close();
    scheduler.run().unwrap();
    assert_eq!(waits.join().unwrap(), Ok(()));
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_bounded_wait_ends_when_its_time_is_up_and_not_before() {
    let body = || {
        let semaphore = Semaphore::new(1);
        drop(semaphore.acquire_timeout(Duration::ZERO).unwrap());
        drop(semaphore.acquire_deadline(Instant::now()).unwrap());
        let waits: [&dyn Fn() -> Result<(), AcquireError>; 4] = [
            &|| semaphore.acquire_many_timeout(2, SHORT).map(drop),
            &|| {
                semaphore
                    .acquire_many_deadline(2, Instant::now() + SHORT)
                    .map(drop)
            },
            &|| semaphore.acquire_timeout(SHORT).map(drop),
            &|| semaphore.acquire_deadline(Instant::now() + SHORT).map(drop),
        ];
        let mut permit = None;
        for (n, wait) in waits.into_iter().enumerate() {
            if n == 2 {
                permit = Some(semaphore.acquire().unwrap());
            }
            let start = Instant::now();
            assert_eq!(wait(), Err(AcquireError::Timeout));
            assert!(start.elapsed() >= SHORT);
        }
        drop(permit);
        assert_eq!(semaphore.available_permits(), 1);
        assert_eq!(
            timeout(SHORT, || semaphore.acquire_many(2).map(drop)),
            Err(Timeout)
        );
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn in_a_destructor_that_unwinds_a_wait_says_cancelled() {
    let scheduler = Scheduler::new().unwrap();
    let semaphore = Arc::new(Semaphore::new(0));
    let said = Arc::new(Mutex::new(None));
    let (shared, answer) = (semaphore.clone(), said.clone());
    let handle = scheduler.spawn(move || {
        let _last = OnDrop(|| {
            *answer.lock().unwrap() = shared.acquire().err();
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert!(handle.join().unwrap_err().is_cancelled());
    let said = said
        .lock()
        .unwrap_or_else(|poison| poison.into_inner())
        .take();
    assert_eq!(said, Some(AcquireError::Cancelled));
}

#[test]
fn errors_are_std_s_when_they_are_wanted_to_be() {
    let kinds = [
        (AcquireError::Closed, ErrorKind::BrokenPipe),
        (AcquireError::Timeout, ErrorKind::TimedOut),
        (AcquireError::Cancelled, ErrorKind::Other),
    ];
    for (error, kind) in kinds {
        assert_eq!(io::Error::from(error).kind(), kind);
        assert!(!error.to_string().is_empty());
    }
    let kinds = [
        (TryAcquireError::Closed, ErrorKind::BrokenPipe),
        (TryAcquireError::NoPermits, ErrorKind::WouldBlock),
    ];
    for (error, kind) in kinds {
        assert_eq!(io::Error::from(error).kind(), kind);
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn an_owned_permit_goes_where_it_is_wanted() {
    let semaphore = Arc::new(Semaphore::new(1));
    let permit = semaphore.clone().acquire_owned().unwrap();
    thread::spawn(move || drop(permit)).join().unwrap();
    let permit = semaphore.clone().acquire_owned().unwrap();
    spawn(move || drop(permit)).join().unwrap();
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn tasks_of_two_schedulers_and_threads_hold_no_more_than_there_are() {
    const PERMITS: usize = 3;
    const EACH: usize = 500;
    ends(|| {
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let held = Arc::new(AtomicUsize::new(0));
        let work = |pause: fn()| {
            let (semaphore, held) = (semaphore.clone(), held.clone());
            move || {
                for n in 0..EACH {
                    let permits = 1 + n % PERMITS;
                    let permit = semaphore.acquire_many(permits).unwrap();
                    assert!(held.fetch_add(permits, SeqCst) + permits <= PERMITS);
                    let leaves = OnDrop(|| _ = held.fetch_sub(permits, SeqCst));
                    pause();
                    drop(leaves);
                    drop(permit);
                }
            }
        };
        let remotes = [Remote::start(), Remote::start()];
        let tasks: Vec<_> = (0..8)
            .map(|n| remotes[n % 2].handle.spawn(work(yield_now)))
            .collect();
        let threads = [(); 2].map(|()| thread::spawn(work(thread::yield_now)));
        // These may be cut off anywhere.
        for n in 0..100 {
            let task = remotes[n % 2].handle.spawn(work(yield_now));
            task.cancel();
            drop(task);
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        for task in tasks {
            task.join().unwrap();
        }
        remotes.into_iter().for_each(Remote::stop);
        assert_eq!(semaphore.available_permits(), PERMITS);
    });
}
