//! RwLocks: who may hold one together, who comes first, and what interruptions leave behind.

mod common;

use common::{ends, settle, Remote, LONG};
use multitask::sync::{Arc, LockTimeoutError, RwLock, RwLockWriteGuard, TryLockError};
use multitask::task::{self, JoinHandle};
use multitask::{timeout, yield_now, Scheduler, Timeout};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

/// Those who hold the lock now, in the order in which they got it.
type Holders = Arc<Mutex<String>>;

struct Stage {
    scheduler: Scheduler,
    lock: Arc<RwLock<()>>,
    holders: Holders,
}

impl Stage {
    fn new() -> Self {
        Stage {
            scheduler: Scheduler::new().unwrap(),
            lock: Arc::default(),
            holders: Arc::default(),
        }
    }

    /// A task that locks, to write if its name is upper case, and keeps the lock until it is unparked.
    fn enter(&self, name: char) -> JoinHandle<()> {
        let (lock, holders) = (self.lock.clone(), self.holders.clone());
        let handle = self.scheduler.spawn(move || {
            let holds = || {
                holders.lock().unwrap().push(name);
                task::park();
                holders.lock().unwrap().retain(|holder| holder != name);
            };
            if name.is_uppercase() {
                let _guard = lock.write().unwrap();
                holds();
            } else {
                let _guard = lock.read().unwrap();
                holds();
            }
        });
        settle(&self.scheduler);
        handle
    }

    #[track_caller]
    fn holds(&self, names: &str) {
        assert_eq!(*self.holders.lock().unwrap(), names);
    }

    fn all_leave(&self, handles: impl IntoIterator<Item = JoinHandle<()>>) {
        handles.into_iter().for_each(|handle| self.leave(handle));
    }

    fn leave(&self, handle: JoinHandle<()>) {
        handle.task().unpark();
        settle(&self.scheduler);
        handle.join().unwrap();
    }

    fn is_free(&self) -> bool {
        self.lock.try_write().is_ok()
    }
}

// ---- who comes first ----

#[test]
fn readers_hold_it_together_and_a_writer_alone() {
    let stage = Stage::new();
    let a = stage.enter('a');
    let b = stage.enter('b');
    stage.holds("ab");
    assert!(stage.lock.try_read().is_ok());
    assert!(matches!(
        stage.lock.try_write(),
        Err(TryLockError::WouldBlock)
    ));
    let writer = stage.enter('X');
    stage.holds("ab");
    stage.leave(a);
    stage.holds("b");
    stage.leave(b);
    stage.holds("X");
    assert!(matches!(
        stage.lock.try_read(),
        Err(TryLockError::WouldBlock)
    ));
    assert!(matches!(
        stage.lock.try_write(),
        Err(TryLockError::WouldBlock)
    ));
    stage.leave(writer);
    assert!(stage.is_free());
}

#[test]
fn all_get_it_in_the_order_in_which_they_came_and_neighbouring_readers_together() {
    let stage = Stage::new();
    let first = stage.enter('F');
    let [a, b, second, c, third, fourth, d, e] = "abScTUde"
        .chars()
        .map(|name| stage.enter(name))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    stage.holds("F");
    stage.leave(first);
    stage.holds("ab");
    stage.leave(b);
    stage.holds("a");
    stage.leave(a);
    stage.holds("S");
    stage.leave(second);
    stage.holds("c");
    stage.leave(c);
    stage.holds("T");
    stage.leave(third);
    stage.holds("U");
    stage.leave(fourth);
    stage.holds("de");
    stage.leave(d);
    stage.leave(e);
    assert!(stage.is_free());
}

#[test]
fn a_writer_that_waits_is_not_starved_by_readers_that_come_one_after_the_other() {
    let stage = Stage::new();
    let first = stage.enter('a');
    let writer = stage.enter('X');
    assert!(matches!(
        stage.lock.try_read(),
        Err(TryLockError::WouldBlock)
    ));
    let readers = ['b', 'c', 'd'].map(|name| stage.enter(name));
    stage.holds("a");
    stage.leave(first);
    stage.holds("X");
    stage.leave(writer);
    stage.holds("bcd");
    stage.all_leave(readers);
    assert!(stage.is_free());
}

#[test]
fn a_reader_that_waits_is_not_starved_by_writers_that_come_one_after_the_other() {
    let stage = Stage::new();
    let first = stage.enter('A');
    let reader = stage.enter('r');
    let second = stage.enter('B');
    stage.leave(first);
    stage.holds("r");
    assert!(stage.lock.try_write().is_err());
    stage.leave(reader);
    stage.holds("B");
    stage.leave(second);
    assert!(stage.is_free());
}

#[test]
fn downgrading_lets_waiting_readers_in_and_no_writer() {
    let stage = Stage::new();
    let writer = stage.lock.write().unwrap();
    let readers = [stage.enter('a'), stage.enter('b')];
    let waits = stage.enter('X');
    stage.holds("");
    let reader = RwLockWriteGuard::downgrade(writer);
    settle(&stage.scheduler);
    stage.holds("ab");
    stage.all_leave(readers);
    stage.holds("");
    drop(reader);
    settle(&stage.scheduler);
    stage.holds("X");
    stage.leave(waits);
    assert!(stage.is_free());
}

// ---- ends that come early ----

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    let stage = Stage::new();
    let a = stage.enter('a');
    let writer = stage.enter('X');
    let b = stage.enter('b');
    let c = stage.enter('c');
    stage.holds("a");
    writer.cancel();
    settle(&stage.scheduler);
    stage.holds("abc");
    stage.all_leave([a, b, c]);
    assert!(stage.is_free());
}

#[test]
fn a_panic_of_a_writer_poisons_and_one_of_a_reader_does_not() {
    let lock = RwLock::new(1);
    let reads = || {
        let _guard = lock.read().unwrap();
        panic!("while it is read");
    };
    assert!(catch_unwind(AssertUnwindSafe(reads)).is_err());
    assert!(!lock.is_poisoned());
    let writes = || {
        *lock.write().unwrap() += 1;
        let _guard = lock.write().unwrap();
        panic!("while it is written");
    };
    assert!(catch_unwind(AssertUnwindSafe(writes)).is_err());
    assert!(lock.is_poisoned());
    assert_eq!(**lock.read().unwrap_err().get_ref(), 2);
    assert_eq!(**lock.write().unwrap_err().get_ref(), 2);
    assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
    assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
    let late = lock.read_timeout(LONG).map(drop).unwrap_err();
    assert!(matches!(late, LockTimeoutError::Poisoned(_)));
    lock.clear_poison();
    assert!(lock.read().is_ok());
}

#[test]
fn a_writer_that_is_cancelled_or_runs_out_of_time_unlocks_and_does_not_poison() {
    let stage = Stage::new();
    let writer = stage.enter('X');
    writer.cancel();
    settle(&stage.scheduler);
    assert!(writer.join().unwrap_err().is_cancelled());
    assert!(stage.is_free());
    let expires = || {
        timeout(SHORT, || {
            let _guard = stage.lock.write().unwrap();
            task::park();
        })
    };
    assert_eq!(stage.scheduler.block_on(expires), Err(Timeout));
    assert!(stage.is_free());
}

#[test]
fn a_bounded_lock_ends_when_its_time_is_up_and_not_before() {
    let body = || {
        let lock = RwLock::new(());
        drop(lock.write_timeout(Duration::ZERO).unwrap());
        drop(lock.write_deadline(Instant::now()).unwrap());
        let reader = lock.read_timeout(Duration::ZERO).unwrap();
        drop(lock.read_deadline(Instant::now()).unwrap());
        let late = |start: Instant, timed_out: bool| {
            assert!(timed_out && start.elapsed() >= SHORT);
        };
        let start = Instant::now();
        let write = lock.write_timeout(SHORT);
        late(start, matches!(write, Err(LockTimeoutError::Timeout)));
        let start = Instant::now();
        let write = lock.write_deadline(start + SHORT);
        late(start, matches!(write, Err(LockTimeoutError::Timeout)));
        drop(reader);
        let _writer = lock.write().unwrap();
        let start = Instant::now();
        let read = lock.read_timeout(SHORT);
        late(start, matches!(read, Err(LockTimeoutError::Timeout)));
        let start = Instant::now();
        let read = lock.read_deadline(start + SHORT);
        late(start, matches!(read, Err(LockTimeoutError::Timeout)));
    };
    body();
    common::scheduler().block_on(body);
}

// ---- tasks and threads ----

#[test]
fn tasks_of_two_schedulers_and_threads_exclude_each_other_from_writing() {
    const EACH: usize = 500;
    ends(|| {
        let lock = Arc::new(RwLock::new(0));
        let (reading, writing) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |pause: fn()| {
            let (lock, reading, writing) = (lock.clone(), reading.clone(), writing.clone());
            move || {
                for n in 0..EACH {
                    if n % 3 == 0 {
                        let mut count = lock.write().unwrap();
                        assert_eq!(writing.fetch_add(1, SeqCst), 0);
                        assert_eq!(reading.load(SeqCst), 0);
                        let seen = *count;
                        pause();
                        *count = seen + 1;
                        writing.fetch_sub(1, SeqCst);
                    } else {
                        let count = lock.read().unwrap();
                        reading.fetch_add(1, SeqCst);
                        let seen = *count;
                        pause();
                        assert_eq!((*count, writing.load(SeqCst)), (seen, 0));
                        reading.fetch_sub(1, SeqCst);
                    }
                }
            }
        };
        let remotes = [Remote::start(), Remote::start()];
        let tasks: Vec<_> = (0..6)
            .map(|n| remotes[n % 2].handle.spawn(work(yield_now)))
            .collect();
        let threads = [(); 2].map(|()| thread::spawn(work(thread::yield_now)));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(*lock.try_write().unwrap(), 8 * EACH.div_ceil(3));
        remotes.into_iter().for_each(Remote::stop);
    });
}

#[test]
fn it_is_sync_only_if_readers_on_several_threads_may_share_its_value() {
    fn both<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    both::<RwLock<i32>>();
    fn send<T: Send>() {}
    send::<RwLock<std::cell::Cell<i32>>>();
    let slice: Box<RwLock<[u8]>> = Box::new(RwLock::new([1, 2]));
    slice.write().unwrap()[0] = 3;
    assert_eq!(&*slice.read().unwrap(), &[3, 2]);
}
