//! The same program over `std::sync` and over `multitask::sync`: only the path differs, and nothing that it says.

use std::panic::{catch_unwind, AssertUnwindSafe};

/// What a closure panics with, or that it does not.
fn outcome<T>(f: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(|| drop(f()))) {
        Ok(()) => "returns".into(),
        Err(panic) => match panic.downcast_ref::<&str>() {
            Some(text) => format!("panics: {text}"),
            None => format!("panics: {:?}", panic.downcast_ref::<String>()),
        },
    }
}

macro_rules! program {
    ($name:ident, $($sync:ident)::+, $thread:path) => {
        mod $name {
            use super::outcome;
            use std::fmt::Debug;
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::time::Duration;
            use $($sync)::+::atomic::{AtomicUsize, Ordering};
            use $($sync)::+::{
                Arc, Barrier, BarrierWaitResult, Condvar, LazyLock, LockResult, Mutex, MutexGuard, Once,
                OnceLock, OnceState, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
                TryLockError, TryLockResult, WaitTimeoutResult, Weak,
            };
            use $thread as thread;

            static COUNT: Mutex<usize> = Mutex::new(0);
            static TABLE: RwLock<Vec<usize>> = RwLock::new(Vec::new());
            static CHANGED: Condvar = Condvar::new();
            static START: Once = Once::new();
            static NAME: OnceLock<String> = OnceLock::new();
            static LAZY: LazyLock<Vec<usize>> = LazyLock::new(|| vec![1, 2, 3]);
            static BARRIER: Barrier = Barrier::new(3);
            static RUNS: AtomicUsize = AtomicUsize::new(0);

            pub fn run() -> Vec<String> {
                let mut said = Vec::new();
                mutexes(&mut said);
                rwlocks(&mut said);
                condvars(&mut said);
                onces(&mut said);
                barriers(&mut said);
                traits();
                said
            }

            fn mutexes(said: &mut Vec<String>) {
                let mut mutex = Mutex::new(5);
                said.push(format!("{mutex:?}"));
                {
                    let mut guard: MutexGuard<'_, i32> = mutex.lock().unwrap();
                    *guard += 1;
                    said.push(format!("{mutex:?} {guard:?} {guard}"));
                    said.push(format!("{:?}", mutex.try_lock().map(|guard| *guard)));
                    said.push(mutex.try_lock().unwrap_err().to_string());
                }
                *mutex.get_mut().unwrap() += 1;
                said.push(outcome(|| {
                    let _guard = mutex.lock();
                    panic!("in its hands");
                }));
                said.push(format!("{mutex:?} {}", mutex.is_poisoned()));
                said.push(format!("{:?}", mutex.lock()));
                said.push(mutex.lock().unwrap_err().to_string());
                said.push(format!("{:?}", mutex.get_mut()));
                let tell = |tried: TryLockResult<MutexGuard<'_, i32>>| match tried {
                    Err(TryLockError::Poisoned(error)) => format!("{error:?} {}", error.get_ref()),
                    other => format!("{other:?}"),
                };
                said.push(tell(mutex.try_lock()));
                let locked: LockResult<MutexGuard<'_, i32>> = mutex.lock();
                said.push(locked.unwrap_or_else(PoisonError::into_inner).to_string());
                mutex.clear_poison();
                said.push(format!("{:?}", mutex.into_inner()));
                said.push(format!("{:?} {:?}", Mutex::<u8>::default(), Mutex::from("a")));
                let unsized_one: Arc<Mutex<dyn Debug>> = Arc::new(Mutex::new(vec![1]));
                said.push(format!("{unsized_one:?} {:?}", unsized_one.lock()));
                let threads = [(); 4].map(|()| {
                    thread::spawn(|| {
                        for _ in 0..100 {
                            let mut count = COUNT.lock().unwrap();
                            let seen = *count;
                            thread::yield_now();
                            *count = seen + 1;
                        }
                    })
                });
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                said.push(COUNT.lock().unwrap().to_string());
                let shared = Arc::new(Mutex::new(0));
                let weak: Weak<Mutex<i32>> = Arc::downgrade(&shared);
                let spoils = thread::spawn(move || {
                    let _guard = shared.lock().unwrap();
                    NAME.get_or_init(|| "of the thread".into());
                    // No message: the hook is not asked.
                    std::panic::resume_unwind(Box::new(7));
                });
                said.push(format!("{}", spoils.join().is_err()));
                said.push(format!("{}", weak.upgrade().is_none()));
            }

            fn rwlocks(said: &mut Vec<String>) {
                let mut lock = RwLock::new(5);
                {
                    let one: RwLockReadGuard<'_, i32> = lock.read().unwrap();
                    let two = lock.try_read().unwrap();
                    said.push(format!("{lock:?} {one:?} {two}"));
                    said.push(format!("{:?}", lock.try_write().map(|guard| *guard)));
                }
                {
                    let mut guard: RwLockWriteGuard<'_, i32> = lock.write().unwrap();
                    *guard += 1;
                    said.push(format!("{lock:?} {guard:?} {guard}"));
                    said.push(format!("{:?}", lock.try_read().map(|guard| *guard)));
                }
                said.push(outcome(|| {
                    let _guard = lock.read();
                    panic!("reading");
                }));
                said.push(format!("{}", lock.is_poisoned()));
                said.push(outcome(|| {
                    let _guard = lock.write();
                    panic!("writing");
                }));
                said.push(format!("{lock:?} {:?} {:?}", lock.read(), lock.try_read()));
                said.push(format!("{:?}", lock.try_write()));
                said.push(format!("{:?}", lock.get_mut()));
                lock.clear_poison();
                said.push(format!("{:?}", lock.into_inner()));
                said.push(format!("{:?} {:?}", RwLock::<u8>::default(), RwLock::from("a")));
                let threads = [0, 1, 2, 3].map(|n| {
                    thread::spawn(move || {
                        for _ in 0..50 {
                            let seen = TABLE.read().unwrap().len();
                            thread::yield_now();
                            let mut table = TABLE.write().unwrap();
                            assert!(table.len() >= seen);
                            table.push(n);
                        }
                    })
                });
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                said.push(TABLE.read().unwrap().len().to_string());
            }

            fn condvars(said: &mut Vec<String>) {
                let done = thread::spawn(|| {
                    let guard = COUNT.lock().unwrap();
                    let guard = CHANGED.wait_while(guard, |count| *count < 1_000).unwrap();
                    *guard
                });
                for _ in 0..600 {
                    *COUNT.lock().unwrap() += 1;
                    CHANGED.notify_one();
                }
                CHANGED.notify_all();
                said.push(done.join().unwrap().to_string());
                let none = Duration::ZERO;
                let guard = COUNT.lock().unwrap();
                let (guard, result): (_, WaitTimeoutResult) =
                    CHANGED.wait_timeout_while(guard, none, |_| true).unwrap();
                said.push(format!("{result:?} {}", result.timed_out()));
                let (guard, result) =
                    CHANGED.wait_timeout_while(guard, none, |_| false).unwrap();
                said.push(format!("{result:?} {guard} {CHANGED:?} {:?}", Condvar::default()));
                let (_guard, result) =
                    CHANGED.wait_timeout(guard, Duration::from_millis(1)).unwrap();
                said.push(format!("{}", result == result.clone()));
            }

            fn onces(said: &mut Vec<String>) {
                let threads = [(); 4].map(|()| {
                    thread::spawn(|| {
                        START.call_once(|| {
                            thread::yield_now();
                            RUNS.fetch_add(1, Ordering::SeqCst);
                        });
                        START.wait();
                        assert!(START.is_completed());
                    })
                });
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                said.push(format!("{START:?} {RUNS:?}"));
                let once = Once::new();
                said.push(outcome(|| once.call_once(|| panic!("first"))));
                said.push(outcome(|| once.call_once(|| ())));
                said.push(outcome(|| once.wait()));
                once.call_once_force(|state: &OnceState| said.push(format!("{state:?}")));
                once.wait_force();
                said.push(format!("{}", once.is_completed()));
                said.push(format!("{NAME:?} {:?}", NAME.set("late".into())));
                let mut cell = OnceLock::new();
                said.push(format!("{cell:?} {:?} {:?}", cell.get(), cell.clone().get_mut()));
                said.push(outcome(|| *cell.get_or_init(|| panic!("in the cell"))));
                said.push(format!("{:?} {:?} {}", cell.set(3), cell.set(4), cell.wait()));
                said.push(format!("{}", cell.clone() == OnceLock::from(3)));
                said.push(format!("{:?}", cell.take()));
                said.push(format!("{cell:?} {:?}", cell.clone().into_inner()));
                said.push(format!("{:?} {}", LAZY, LAZY.len()));
                said.push(format!("{:?} {:?}", LAZY, LazyLock::force(&LAZY)));
                let lazy = LazyLock::new(|| -> i32 { panic!("lazy") });
                said.push(outcome(|| *lazy));
                said.push(outcome(|| *lazy));
                said.push(format!("{lazy:?} {}", *LazyLock::<u8>::default()));
            }

            fn barriers(said: &mut Vec<String>) {
                let threads = [(); 3].map(|()| {
                    thread::spawn(|| {
                        let result: BarrierWaitResult = BARRIER.wait();
                        assert!(format!("{result:?}").contains("is_leader"));
                        usize::from(result.is_leader())
                    })
                });
                let leaders: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
                said.push(format!("{leaders} {BARRIER:?} {:?}", Barrier::new(0).wait()));
            }

            fn traits() {
                fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
                fn sync<T: Sync>() {}
                fn of_cell<T: Send + UnwindSafe + RefUnwindSafe>() {}
                shared::<Mutex<std::cell::Cell<i32>>>();
                shared::<RwLock<i32>>();
                of_cell::<RwLock<std::cell::Cell<i32>>>();
                shared::<Condvar>();
                shared::<Once>();
                shared::<OnceLock<i32>>();
                shared::<LazyLock<i32>>();
                shared::<Barrier>();
                shared::<BarrierWaitResult>();
                shared::<WaitTimeoutResult>();
                sync::<MutexGuard<'static, i32>>();
                sync::<RwLockReadGuard<'static, i32>>();
                sync::<RwLockWriteGuard<'static, i32>>();
            }
        }
    };
}

program!(of_std, std::sync, std::thread);
program!(ours_between_threads, multitask::sync, std::thread);
program!(ours_between_tasks, multitask::sync, multitask::task);
program!(ours_in_a_task, multitask::sync, multitask::task);

#[test]
fn a_program_says_the_same_with_std_s_locks_and_with_ours() {
    // std's `Mutex` shows it in quotes, std's `RwLock` without.
    let quotes = |line: String| line.replace("\"<locked>\"", "<locked>");
    let expected: Vec<_> = of_std::run().into_iter().map(quotes).collect();
    assert!(expected.len() > 40);
    assert_eq!(ours_between_threads::run(), expected);
    assert_eq!(ours_between_tasks::run(), expected);
    let scheduler = multitask::Scheduler::new().unwrap();
    assert_eq!(scheduler.block_on(ours_in_a_task::run), expected);
}
