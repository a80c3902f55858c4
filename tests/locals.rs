//! Values of which each task has its own.

mod common;

use common::{scheduler, settle, Dropped, Drops};
use multitask::task::{self, Builder};
use multitask::{sleep, spawn, spawn_local, task_local, timeout, yield_now};
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

task_local! {
    static COUNT: Cell<u32> = Cell::new(7);
    static LOG: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static SHARED: Rc<Cell<u32>> = Rc::new(Cell::new(0));
    inherited static TRACE: Vec<u32> = vec![0];
    /// Documented.
    pub(crate) inherited static LEVEL: Cell<u32> = Cell::new(1);
}

#[test]
fn each_task_has_its_own_value_and_keeps_it_while_others_run() {
    let scheduler = scheduler();
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            scheduler.spawn(move || {
                for turn in 0..4 {
                    assert_eq!(COUNT.get(), 7 + turn * n);
                    COUNT.set(COUNT.get() + n);
                    LOG.with_borrow_mut(|log| log.push(turn));
                    SHARED.with(|shared| shared.set(n));
                    yield_now();
                    SHARED.with(|shared| assert_eq!(shared.get(), n));
                }
                LOG.take()
            })
        })
        .collect();
    scheduler.run().unwrap();
    for task in tasks {
        assert_eq!(task.join().unwrap(), [0, 1, 2, 3]);
    }
    assert_eq!((COUNT.get(), LOG.take()), (7, vec![]));
}

#[test]
fn a_plain_thread_has_its_own_too_also_while_it_runs_tasks() {
    thread::spawn(|| {
        COUNT.set(1);
        SHARED.with(|shared| {
            spawn(|| {
                assert_eq!(COUNT.get(), 7);
                COUNT.set(2);
            })
            .join()
            .unwrap();
            shared.set(shared.get() + 1);
        });
        assert_eq!(COUNT.get(), 1);
        SHARED.with(|shared| assert_eq!(shared.get(), 1));
    })
    .join()
    .unwrap();
    assert_eq!(COUNT.get(), 7);
}

/// What a value says when it is dropped.
struct Says(&'static AtomicUsize);

impl Drop for Says {
    fn drop(&mut self) {
        // It may wait, and ask for others.
        yield_now();
        COUNT.set(COUNT.get() + 1);
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn values_are_dropped_with_their_task_however_it_ends_and_before_its_end_is_known() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    task_local! {
        static SAYS: Says = Says(&DROPPED);
    }
    let scheduler = scheduler();
    let ends: [fn(); 4] = [
        || (),
        || drop(catch_unwind(|| resume_unwind(Box::new(1)))),
        || resume_unwind(Box::new(1)),
        task::park,
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let task = scheduler.spawn(move || {
            SAYS.with(|_| ());
            end();
        });
        settle(&scheduler);
        task.cancel();
        scheduler.run().unwrap();
        drop(task.join());
        assert_eq!(DROPPED.load(SeqCst), n + 1);
    }
    thread::spawn(|| SAYS.with(|_| ())).join().unwrap();
    assert_eq!(DROPPED.load(SeqCst), 5);
    // On a thread that has waited, and so has a header of its own.
    thread::spawn(|| {
        SAYS.with(|_| ());
        task::park_timeout(Duration::from_micros(1));
    })
    .join()
    .unwrap();
    assert_eq!(DROPPED.load(SeqCst), 6);
}

#[test]
fn a_value_that_another_task_holds_a_name_of_is_dropped_by_its_own() {
    // The handle outlives the task; its header is given back by another thread.
    task_local! {
        static LOCAL: RefCell<Option<Rc<Dropped>>> = const { RefCell::new(None) };
    }
    let drops = Drops::default();
    let one = drops.one();
    let task = thread::spawn(move || {
        LOCAL.set(Some(Rc::new(one)));
        task::current()
    })
    .join()
    .unwrap();
    assert_eq!(drops.count(), 1);
    assert_eq!(task.name(), None);
}

#[test]
fn a_child_inherits_a_clone_of_what_is_declared_so_and_nothing_else() {
    let scheduler = scheduler();
    let handle = scheduler.handle();
    scheduler.block_on(move || {
        TRACE.scope(vec![1, 2], || {
            COUNT.set(3);
            LEVEL.set(5);
            let child = || {
                LEVEL.set(LEVEL.get() + 1);
                let inherited = TRACE.with(Clone::clone);
                let deeper = TRACE.scope([&inherited[..], &[3]].concat(), || {
                    spawn(|| TRACE.with(Clone::clone)).join().unwrap()
                });
                (inherited, deeper, COUNT.get(), LEVEL.get())
            };
            let expected = (vec![1, 2], vec![1, 2, 3], 7, 6);
            assert_eq!(spawn(child).join().unwrap(), expected);
            assert_eq!(spawn_local(child).join().unwrap(), expected);
            assert_eq!(handle.spawn(child).join().unwrap(), expected);
            let named = Builder::new().name("named".into()).spawn(child).unwrap();
            assert_eq!(named.task().name(), Some("named"));
            assert_eq!(named.join().unwrap(), expected);
            task::scope(|s| assert_eq!(s.spawn(child).join().unwrap(), expected));
            assert_eq!(LEVEL.get(), 5);
        });
        assert_eq!(TRACE.with(Clone::clone), [0]);
        assert_eq!(spawn(|| TRACE.with(Clone::clone)).join().unwrap(), [0]);
    });
}

#[test]
fn what_a_task_that_never_began_inherited_is_dropped() {
    #[derive(Clone)]
    struct Held {
        _held: Option<std::sync::Arc<()>>,
    }
    task_local! {
        inherited static HELD: Held = Held { _held: None };
    }
    let held = std::sync::Arc::new(());
    let scheduler = scheduler();
    let handle = scheduler.handle();
    HELD.scope(
        Held {
            _held: Some(held.clone()),
        },
        || {
            let refused = scheduler.spawn(|| ());
            refused.cancel();
            scheduler.run().unwrap();
            drop(scheduler);
            assert!(handle.spawn(|| ()).join().unwrap_err().is_cancelled());
            drop(refused);
        },
    );
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
}

#[test]
fn a_scope_ends_with_its_call_also_by_unwinding() {
    TRACE.scope(vec![1], || {
        let unwound = catch_unwind(|| TRACE.scope(vec![2], || resume_unwind(Box::new(()))));
        assert!(unwound.is_err());
        assert_eq!(TRACE.with(Clone::clone), [1]);
        let late = timeout(Duration::from_millis(1), || {
            TRACE.scope(vec![3], || sleep(Duration::from_secs(3600)))
        });
        assert!(late.is_err());
        assert_eq!(TRACE.with(Clone::clone), [1]);
        // A reference that was handed out before stays what it was.
        TRACE.with(|outer| TRACE.scope(vec![4], || assert_eq!(outer, &[1])));
    });
    assert_eq!(TRACE.with(Clone::clone), [0]);
}

#[test]
fn a_value_whose_making_asks_for_it_is_made_once() {
    task_local! {
        static ODD: u32 = if DEPTH.replace(1) == 0 { ODD.with(|odd| odd + 10) } else { 1 };
        static DEPTH: Cell<u32> = Cell::new(0);
    }
    spawn(|| {
        assert_eq!(ODD.with(|odd| *odd), 1);
        assert_eq!(ODD.with(|odd| *odd), 1);
    })
    .join()
    .unwrap();
}

#[test]
fn destructors_that_make_new_values_for_ever_come_to_an_end() {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            AGAIN.with(|_| ());
        }
    }
    task_local! {
        static AGAIN: Again = Again;
    }
    spawn(|| AGAIN.with(|_| ())).join().unwrap();
}
