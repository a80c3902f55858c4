//! Queues: order, hand-over, closing, predicates, and what becomes of items when waits end early.

mod common;

use common::{ends, scheduler, settle, Dropped, Drops, OnDrop, Random, Remote, LONG};
use multitask::net::TcpListener;
use multitask::sync::{GetError, PutError, Queue, TryGetError, TryPutError};
use multitask::task::{self, JoinHandle};
use multitask::{sleep, spawn, timeout, yield_now, Cancelled, Scheduler, Timeout};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

type Log<T> = Rc<RefCell<Vec<T>>>;

/// A task that gets one item and logs it.
fn getter<T: std::fmt::Debug + 'static>(
    scheduler: &Scheduler,
    queue: &Rc<Queue<T>>,
    log: &Log<(usize, T)>,
    number: usize,
) -> JoinHandle<()> {
    let (queue, log) = (queue.clone(), log.clone());
    scheduler.spawn_local(move || {
        let item = queue.get().unwrap();
        log.borrow_mut().push((number, item));
    })
}

// ---- order and room ----

#[test]
fn items_come_out_in_the_order_in_which_they_were_put() {
    let queue = Queue::unbounded();
    (0..1_000).for_each(|n| queue.put(n).unwrap());
    assert_eq!(queue.len(), 1_000);
    assert_eq!(
        queue.try_iter().collect::<Vec<_>>(),
        Vec::from_iter(0..1_000)
    );
    assert!(queue.is_empty());
    assert_eq!(
        Queue::from_iter("abc".chars())
            .try_iter()
            .collect::<String>(),
        "abc"
    );
}

#[test]
fn a_bounded_queue_holds_its_capacity_and_no_more() {
    let queue = Queue::bounded(2);
    assert_eq!((queue.capacity(), queue.is_full()), (Some(2), false));
    queue.put('a').unwrap();
    queue.try_put('b').unwrap();
    assert!(queue.is_full());
    assert_eq!(queue.try_put('c'), Err(TryPutError::Full('c')));
    assert_eq!(queue.put_timeout('d', SHORT), Err(PutError::Timeout('d')));
    assert_eq!(
        queue.put_deadline('e', Instant::now()),
        Err(PutError::Timeout('e'))
    );
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.get(), Ok('a'));
    assert_eq!(queue.try_put('f'), Ok(()));
    assert_eq!((queue.get(), queue.get()), (Ok('b'), Ok('f')));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    let unbounded = Queue::<()>::default();
    assert_eq!((unbounded.capacity(), unbounded.is_full()), (None, false));
}

#[test]
fn a_queue_contains_what_was_put_and_not_got() {
    let queue = Queue::bounded(2);
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert!(queue.contains(&1) && queue.contains(&2) && !queue.contains(&3));
    queue.get().unwrap();
    assert!(!queue.contains(&1) && queue.contains(&2));
    // One whose comparison uses the queue finds it locked, and says so.
    struct Odd(std::rc::Weak<Queue<Odd>>);
    impl PartialEq for Odd {
        fn eq(&self, _: &Self) -> bool {
            self.0.upgrade().unwrap().is_empty()
        }
    }
    let odd = Rc::new(Queue::unbounded());
    let one = || Odd(Rc::downgrade(&odd));
    odd.put(one()).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| odd.contains(&one()))).is_err());
    assert_eq!(odd.len(), 1);
}

#[test]
fn a_put_into_a_full_queue_waits_until_there_is_room() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(1));
    let log = Log::default();
    let (shared, noted) = (queue.clone(), log.clone());
    scheduler.spawn_local(move || {
        for n in 0..3 {
            shared.put(n).unwrap();
            noted.borrow_mut().push(n);
        }
    });
    for n in 0..3 {
        settle(&scheduler);
        assert_eq!(*log.borrow(), Vec::from_iter(0..=n));
        assert_eq!(queue.try_get(), Ok(n));
    }
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
}

#[test]
fn with_a_capacity_of_zero_put_and_get_meet() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(0));
    assert!(queue.is_full() && queue.is_empty());
    assert_eq!(queue.try_put(0), Err(TryPutError::Full(0)));
    // The putter comes first.
    let shared = queue.clone();
    let putter = scheduler.spawn_local(move || shared.put(1).unwrap());
    settle(&scheduler);
    assert!(!putter.is_finished() && queue.is_empty());
    assert_eq!(queue.try_get(), Ok(1));
    scheduler.run().unwrap();
    // The getter comes first.
    let log = Log::default();
    getter(&scheduler, &queue, &log, 0);
    settle(&scheduler);
    assert_eq!(queue.try_put(2), Ok(()));
    assert_eq!(queue.try_put(3), Err(TryPutError::Full(3)));
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), [(0, 2)]);
}

#[test]
fn getters_are_served_in_the_order_in_which_they_came() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::unbounded());
    let log = Log::default();
    for number in 0..10 {
        getter(&scheduler, &queue, &log, number);
    }
    settle(&scheduler);
    (0..10).for_each(|n| queue.put(n).unwrap());
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), Vec::from_iter((0..10).map(|n| (n, n))));
}

#[test]
fn putters_are_served_in_the_order_in_which_they_came() {
    let scheduler = Scheduler::new().unwrap();
    for capacity in 0..3 {
        let queue = Rc::new(Queue::bounded(capacity));
        for n in 0..10 {
            let shared = queue.clone();
            scheduler.spawn_local(move || shared.put(n).unwrap());
        }
        settle(&scheduler);
        for n in 0..10 {
            // Who waits moves in as soon as there is room, before anybody who comes now.
            assert_eq!(queue.try_put(99), Err(TryPutError::Full(99)));
            assert_eq!(queue.try_get(), Ok(n), "capacity {capacity}");
            if n == 9 - capacity {
                break;
            }
        }
        scheduler.run().unwrap();
        assert_eq!(queue.len(), capacity);
    }
}

#[test]
fn nobody_takes_an_item_that_was_handed_to_a_getter_that_has_not_run_yet() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(1));
    let log = Log::default();
    getter(&scheduler, &queue, &log, 0);
    settle(&scheduler);
    queue.put('a').unwrap();
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    queue.put('b').unwrap();
    assert_eq!(queue.try_get(), Ok('b'));
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), [(0, 'a')]);
}

// ---- time limits ----

#[test]
fn a_get_on_an_empty_queue_ends_when_its_time_is_up_and_not_before() {
    let body = || {
        let queue = Queue::<()>::unbounded();
        let deadline = || Instant::now() + SHORT;
        let gets: [&dyn Fn() -> Result<(), GetError>; 4] = [
            &|| queue.get_timeout(SHORT),
            &|| queue.get_deadline(deadline()),
            &|| queue.get_matching_timeout(|_| true, SHORT),
            &|| queue.get_matching_deadline(|_| true, deadline()),
        ];
        for get in gets {
            let start = Instant::now();
            assert_eq!(get(), Err(GetError::Timeout));
            assert!(start.elapsed() >= SHORT);
        }
        assert_eq!(queue.get_timeout(Duration::ZERO), Err(GetError::Timeout));
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn an_item_that_comes_after_the_time_was_up_goes_to_the_next_getter() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::unbounded());
    let (shared, log) = (queue.clone(), Log::default());
    let late = scheduler.spawn_local(move || {
        assert_eq!(shared.get_timeout(SHORT), Err(GetError::Timeout));
        task::park();
    });
    getter(&scheduler, &queue, &log, 1);
    settle(&scheduler);
    scheduler.block_on(|| sleep(2 * SHORT));
    queue.put('a').unwrap();
    late.task().unpark();
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), [(1, 'a')]);
}

#[test]
fn a_putter_whose_time_is_up_has_its_item_back_and_nobody_else_has() {
    let scheduler = scheduler();
    for capacity in [0, 1] {
        let queue = Rc::new(Queue::bounded(capacity));
        (0..capacity).for_each(|_| queue.put("first").unwrap());
        let shared = queue.clone();
        let returned = scheduler.block_on(move || shared.put_timeout("second", SHORT));
        assert_eq!(returned, Err(PutError::Timeout("second")));
        assert_eq!(queue.try_iter().count(), capacity);
    }
}

// ---- interruption at every point of suspension ----

/// Each way to wait on `empty` (which is) and `full` (which is).
fn waits(
    empty: &Arc<Queue<Dropped>>,
    full: &Arc<Queue<Dropped>>,
    drops: &Drops,
) -> Vec<Box<dyn FnOnce() + Send>> {
    type Get = fn(&Queue<Dropped>) -> Result<Dropped, GetError>;
    type Put = fn(&Queue<Dropped>, Dropped) -> Result<(), PutError<Dropped>>;
    let gets: [Get; 8] = [
        |queue| queue.get(),
        |queue| queue.get_timeout(LONG),
        |queue| queue.get_deadline(Instant::now() + LONG),
        |queue| queue.get_matching(|_| true),
        |queue| queue.get_matching(|_| false),
        |queue| queue.get_matching_timeout(|_| true, LONG),
        |queue| queue.get_matching_deadline(|_| true, Instant::now() + LONG),
        |queue| queue.iter().next().ok_or(GetError::Closed),
    ];
    let puts: [Put; 3] = [
        |queue, item| queue.put(item),
        |queue, item| queue.put_timeout(item, LONG),
        |queue, item| queue.put_deadline(item, Instant::now() + LONG),
    ];
    let mut waits = Vec::<Box<dyn FnOnce() + Send>>::new();
    for get in gets {
        let queue = empty.clone();
        waits.push(Box::new(move || drop(get(&queue))));
    }
    for put in puts {
        let (queue, item) = (full.clone(), drops.one());
        waits.push(Box::new(move || drop(put(&queue, item))));
    }
    waits
}

#[test]
fn a_wait_that_is_cancelled_or_expires_unwinds_and_leaves_the_queue_as_it_was() {
    let scheduler = Scheduler::new().unwrap();
    for capacity in [0, 2] {
        let drops = Drops::default();
        let empty = Arc::new(Queue::bounded(capacity));
        let full = Arc::new(Queue::bounded(capacity));
        (0..capacity).for_each(|_| full.put(drops.one()).unwrap());
        let unwound = Drops::default();
        let mut count = 0;
        for scoped in [false, true] {
            for wait in waits(&empty, &full, &drops) {
                let one = unwound.one();
                count += 1;
                let handle = scheduler.spawn(move || {
                    let _one = one;
                    if scoped {
                        assert_eq!(timeout(SHORT, wait), Err(Timeout));
                        return;
                    }
                    wait();
                    unreachable!("nothing comes");
                });
                settle(&scheduler);
                // The time of one in a scope may be up by now.
                assert!(
                    scoped || !handle.is_finished(),
                    "wait {count} does not wait"
                );
                if !scoped {
                    handle.cancel();
                }
                scheduler.run().unwrap();
                assert_eq!(unwound.count(), count);
                assert_eq!(handle.join().is_err(), !scoped);
            }
        }
        // Only the items of the putters are gone, each once, and nobody is left in a list.
        assert_eq!(drops.count(), 6);
        assert_eq!((empty.len(), full.len()), (0, capacity));
        assert_eq!(full.try_iter().count(), capacity);
        assert_eq!(drops.count(), 6 + capacity);
        assert_eq!(empty.try_put(drops.one()).is_ok(), capacity > 0);
    }
}

#[test]
fn a_task_cancelled_after_an_item_was_handed_to_it_has_the_item() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(0));
    let log = Log::default();
    let first = getter(&scheduler, &queue, &log, 1);
    settle(&scheduler);
    let shared = queue.clone();
    scheduler.block_on(move || {
        shared.put('a').unwrap();
        first.cancel();
        first.join().unwrap();
    });
    assert_eq!(*log.borrow(), [(1, 'a')]);
}

#[test]
fn a_task_cancelled_in_put_leaves_the_room_to_the_next_putter() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let queue = Rc::new(Queue::bounded(1));
    queue.put((0, drops.one())).unwrap();
    let putters: Vec<_> = (1..=2)
        .map(|n| {
            let (queue, item) = (queue.clone(), (n, drops.one()));
            scheduler.spawn_local(move || queue.put(item).unwrap())
        })
        .collect();
    settle(&scheduler);
    let shared = queue.clone();
    let cancel = move || {
        putters[0].cancel();
        // The cancelled one has not unwound yet, and its item is still on its stack.
        assert_eq!(shared.try_get().unwrap().0, 0);
        assert_eq!(shared.try_get().unwrap().0, 2);
        assert!(shared.try_get().is_err());
        putters
    };
    let putters = scheduler.block_on(cancel);
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 3);
    let ended: Vec<_> = putters
        .into_iter()
        .map(|putter| putter.join().is_ok())
        .collect();
    assert_eq!(ended, [false, true]);
}

#[test]
fn a_waiting_operation_in_a_destructor_says_cancelled_and_gives_the_item_back() {
    let scheduler = Scheduler::new().unwrap();
    let (empty, full) = (Queue::<u32>::unbounded(), Queue::bounded(0));
    let log = Log::default();
    let seen = log.clone();
    let handle = scheduler.spawn_local(move || {
        let _tries = OnDrop(|| {
            let mut seen = seen.borrow_mut();
            seen.push(empty.get().map_err(io::Error::from).unwrap_err());
            seen.push(empty.get_timeout(LONG).unwrap_err().into());
            seen.push(empty.get_matching(|_| true).unwrap_err().into());
            assert_eq!(empty.iter().next(), None);
            let put = full.put(5).unwrap_err();
            assert_eq!(put, PutError::Cancelled(5));
            seen.push(put.into());
            // What need not wait works.
            empty.put(6).unwrap();
            assert_eq!(empty.get(), Ok(6));
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert_eq!(log.borrow().len(), 4);
    for error in log.borrow().iter() {
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.get_ref().unwrap().is::<Cancelled>());
    }
}

#[test]
fn a_waiting_operation_in_a_destructor_says_timeout_when_a_scope_round_it_expires() {
    let scheduler = Scheduler::new().unwrap();
    let handle = scheduler.spawn(|| {
        let _tries = OnDrop(|| {
            let (empty, full) = (Queue::<u32>::unbounded(), Queue::bounded(0));
            task::shield(|| {
                let got = timeout(SHORT, || empty.get());
                assert_eq!(got, Ok(Err(GetError::Timeout)));
                let put = timeout(SHORT, || full.put(5));
                assert_eq!(put, Ok(Err(PutError::Timeout(5))));
            });
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    scheduler.run().unwrap();
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn a_shield_keeps_a_get_waiting_through_cancelling() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Arc::new(Queue::unbounded());
    let got = Arc::new(AtomicUsize::new(0));
    let (shared, seen) = (queue.clone(), got.clone());
    let handle = scheduler.spawn(move || {
        task::shield(|| seen.store(shared.get().unwrap(), SeqCst));
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert!(!handle.is_finished());
    queue.put(7).unwrap();
    scheduler.run().unwrap();
    assert_eq!(got.load(SeqCst), 7);
    assert!(handle.join().unwrap_err().is_cancelled());
}

#[test]
fn an_abandoned_task_leaves_the_item_to_the_next_getter() {
    // The thread ends while a task of its default scheduler waits: the task never goes on.
    let queue = Arc::new(Queue::unbounded());
    let shared = queue.clone();
    thread::spawn(move || {
        drop(spawn(move || shared.get()));
        yield_now();
    })
    .join()
    .unwrap();
    queue.put('a').unwrap();
    assert_eq!(queue.try_get(), Ok('a'));
}

// ---- closing ----

#[test]
fn what_is_left_in_a_closed_queue_can_be_got_and_nothing_more_be_put() {
    let queue = Queue::bounded(3);
    (0..3).for_each(|n| queue.put(n).unwrap());
    assert!(!queue.is_closed());
    queue.close();
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.put(9), Err(PutError::Closed(9)));
    assert_eq!(queue.put_timeout(9, LONG), Err(PutError::Closed(9)));
    assert_eq!(queue.try_put(9), Err(TryPutError::Closed(9)));
    assert_eq!(queue.get(), Ok(0));
    assert_eq!(queue.get_matching(|n| *n == 9), Err(GetError::Closed));
    assert_eq!(
        queue.try_get_matching(|n| *n == 9),
        Err(TryGetError::Closed)
    );
    assert_eq!((&queue).into_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(queue.get(), Err(GetError::Closed));
    assert_eq!(queue.get_timeout(LONG), Err(GetError::Closed));
    assert_eq!(queue.try_get(), Err(TryGetError::Closed));
    assert_eq!(queue.try_put(9), Err(TryPutError::Closed(9)));
}

#[test]
fn closing_tells_every_getter_and_gives_every_putter_its_item_back() {
    let scheduler = Scheduler::new().unwrap();
    let empty = Rc::new(Queue::<u32>::unbounded());
    let full = Rc::new(Queue::bounded(1));
    full.put(0).unwrap();
    let count = Rc::new(Cell::new(0));
    for n in 1..=3 {
        let (queue, told) = (empty.clone(), count.clone());
        scheduler.spawn_local(move || {
            assert_eq!(queue.get(), Err(GetError::Closed));
            told.set(told.get() + 1);
        });
        let (queue, told) = (full.clone(), count.clone());
        scheduler.spawn_local(move || {
            // Of another kind than what is left.
            assert_eq!(queue.get_matching(|n| *n > 9), Err(GetError::Closed));
            told.set(told.get() + 1);
        });
        let (queue, told) = (full.clone(), count.clone());
        scheduler.spawn_local(move || {
            assert_eq!(queue.put(n), Err(PutError::Closed(n)));
            told.set(told.get() + 1);
        });
    }
    settle(&scheduler);
    assert_eq!(count.get(), 0);
    empty.close();
    full.close();
    scheduler.run().unwrap();
    assert_eq!(count.get(), 9);
    assert_eq!(full.iter().collect::<Vec<_>>(), [0]);
}

#[test]
fn an_item_handed_over_before_the_queue_was_closed_arrives() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::unbounded());
    let log = Log::default();
    getter(&scheduler, &queue, &log, 0);
    settle(&scheduler);
    queue.put('a').unwrap();
    queue.close();
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), [(0, 'a')]);
}

// ---- predicates ----

/// A task that waits for one matching item and logs it.
fn matcher(
    scheduler: &Scheduler,
    queue: &Rc<Queue<u32>>,
    log: &Log<(usize, u32)>,
    number: usize,
    wants: fn(&u32) -> bool,
) -> JoinHandle<()> {
    let (queue, log) = (queue.clone(), log.clone());
    scheduler.spawn_local(move || {
        let item = queue.get_matching(wants).unwrap();
        log.borrow_mut().push((number, item));
    })
}

#[test]
fn the_first_matching_item_is_taken_and_the_others_keep_their_order() {
    let queue = Queue::from_iter(0..8);
    assert_eq!(queue.get_matching(|n| n % 4 == 3), Ok(3));
    assert_eq!(queue.try_get_matching(|n| n % 4 == 3), Ok(7));
    assert_eq!(
        queue.try_get_matching(|n| n % 4 == 3),
        Err(TryGetError::Empty)
    );
    assert_eq!(
        queue.get_matching_timeout(|n| *n > 9, SHORT),
        Err(GetError::Timeout)
    );
    assert_eq!(queue.try_iter().collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6]);
}

#[test]
fn an_item_goes_to_the_first_getter_in_line_that_wants_it() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::unbounded());
    let log = Log::default();
    matcher(&scheduler, &queue, &log, 0, |n| n % 2 == 1);
    matcher(&scheduler, &queue, &log, 1, |n| *n > 5);
    getter(&scheduler, &queue, &log, 2);
    matcher(&scheduler, &queue, &log, 3, |_| true);
    matcher(&scheduler, &queue, &log, 4, |n| n % 2 == 1);
    settle(&scheduler);
    for n in [2, 4, 8, 7, 6] {
        queue.put(n).unwrap();
    }
    settle(&scheduler);
    assert_eq!(*log.borrow(), [(2, 2), (3, 4), (1, 8), (0, 7)]);
    assert_eq!(
        queue.try_get(),
        Ok(6),
        "the last one in line did not want it"
    );
    queue.put(9).unwrap();
    scheduler.run().unwrap();
    assert_eq!(log.borrow()[4], (4, 9));
}

#[test]
fn room_made_by_a_matching_getter_goes_to_the_putter_that_came_first() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(2));
    for n in 1..=4 {
        let queue = queue.clone();
        scheduler.spawn_local(move || queue.put(n).unwrap());
    }
    settle(&scheduler);
    assert_eq!(queue.get_matching(|n| *n == 2), Ok(2));
    assert_eq!(queue.try_iter().collect::<Vec<_>>(), [1, 3, 4]);
    scheduler.run().unwrap();
}

#[test]
fn a_predicate_is_asked_once_about_each_item() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Arc::new(Queue::bounded(2));
    for n in 0..4 {
        let queue = queue.clone();
        scheduler.spawn(move || queue.put(n));
    }
    settle(&scheduler);
    let shared = queue.clone();
    let matcher = scheduler.spawn(move || {
        let mut asked = Vec::new();
        let got = shared.get_matching(|n| {
            asked.push(*n);
            *n == 6
        });
        (got, asked)
    });
    settle(&scheduler);
    assert_eq!(queue.try_iter().count(), 4);
    (4..7).for_each(|n| _ = queue.try_put(n));
    scheduler.run().unwrap();
    assert_eq!(matcher.join().unwrap(), (Ok(6), Vec::from_iter(0..7)));
    assert_eq!(queue.len(), 2);
}

/// Runs `f`, which must panic; its message.
fn panics<T>(f: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(f)) else {
        panic!("it does not panic")
    };
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref().cloned()).unwrap()
}

#[test]
fn a_panic_of_a_predicate_over_items_that_are_here_disturbs_nobody() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(1));
    let bad = |n: &u32| if *n == 2 { panic!("bad item") } else { false };
    queue.put(2).unwrap();
    assert_eq!(panics(|| queue.get_matching(bad)), "bad item");
    assert_eq!(panics(|| queue.try_get_matching(bad)), "bad item");
    assert_eq!(queue.get(), Ok(2));
    // In the hands of a putter.
    queue.put(1).unwrap();
    let shared = queue.clone();
    scheduler.spawn_local(move || shared.put(2).unwrap());
    settle(&scheduler);
    assert_eq!(panics(|| queue.get_matching(bad)), "bad item");
    assert_eq!((queue.get(), queue.get()), (Ok(1), Ok(2)));
    scheduler.run().unwrap();
}

#[test]
fn a_panic_of_a_waiting_predicate_is_its_getters_and_the_item_goes_to_the_next() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Rc::new(Queue::bounded(1));
    let log = Log::default();
    let bad = |_: &u32| panic!("bad item");
    let first = matcher(&scheduler, &queue, &log, 0, bad);
    let second = matcher(&scheduler, &queue, &log, 1, bad);
    matcher(&scheduler, &queue, &log, 2, |_| true);
    settle(&scheduler);
    assert_eq!(queue.put(5), Ok(()), "the putter does not notice");
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), [(2, 5)]);
    for handle in [first, second] {
        assert_eq!(handle.join().unwrap_err().message(), Some("bad item"));
    }
    // Nobody else wants it: it stays.
    let last = matcher(&scheduler, &queue, &log, 3, bad);
    settle(&scheduler);
    assert_eq!(queue.try_put(6), Ok(()));
    scheduler.run().unwrap();
    assert!(last.join().unwrap_err().is_panic());
    assert_eq!(queue.get(), Ok(6));
}

#[test]
fn a_panic_of_a_waiting_predicate_crosses_threads() {
    ends(|| {
        let queue = Arc::new(Queue::unbounded());
        let remote = Remote::start();
        let shared = queue.clone();
        let matcher = remote.handle.spawn(move || {
            // In a thread's or task's own hands it can be caught.
            let bad = |_: &u32| -> bool { panic!("bad item") };
            panics(|| shared.get_matching(bad))
        });
        while !matcher.is_finished() {
            queue.put(5).unwrap();
            thread::yield_now();
        }
        assert_eq!(matcher.join().unwrap(), "bad item");
        remote.stop();
    });
}

#[test]
fn a_predicate_that_waits_or_uses_a_queue_panics_and_nothing_hangs() {
    type Attempt = Box<dyn Fn() + Send + Sync>;

    fn attempts(queue: &'static Queue<u32>) -> Vec<(&'static str, Attempt)> {
        static OTHER: Queue<u32> = Queue::unbounded();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let child = Mutex::new(None);
        vec![
            ("put", Box::new(|| queue.put(1).unwrap())),
            ("try_put", Box::new(|| queue.try_put(1).unwrap())),
            ("get", Box::new(|| _ = queue.get())),
            ("try_get", Box::new(|| _ = queue.try_get())),
            (
                "get_matching",
                Box::new(|| _ = queue.get_matching(|_| true)),
            ),
            ("len", Box::new(|| _ = queue.len())),
            ("is_closed", Box::new(|| _ = queue.is_closed())),
            ("close", Box::new(|| queue.close())),
            ("debug", Box::new(move || drop(format!("{queue:?}")))),
            ("another queue", Box::new(|| OTHER.put(1).unwrap())),
            ("yield_now", Box::new(yield_now)),
            ("sleep", Box::new(|| sleep(SHORT))),
            (
                "sleep in a scope",
                Box::new(|| _ = timeout(LONG, || sleep(SHORT))),
            ),
            ("park", Box::new(task::park)),
            ("accept", Box::new(move || drop(listener.accept()))),
            (
                "join",
                Box::new(move || {
                    *child.lock().unwrap() = Some(spawn(|| ()));
                    let child = child.lock().unwrap().take();
                    child.unwrap().join().unwrap();
                }),
            ),
        ]
    }

    fn run(waits: bool) {
        let queue: &'static Queue<u32> = Box::leak(Box::new(Queue::unbounded()));
        for (what, attempt) in attempts(queue) {
            let get = move || {
                panics(|| {
                    queue.get_matching(|_| {
                        attempt();
                        true
                    })
                })
            };
            let message = if waits {
                let matcher = spawn(get);
                yield_now();
                queue.put(0).unwrap();
                assert_eq!(queue.get(), Ok(0));
                matcher.join().unwrap()
            } else {
                queue.put(0).unwrap();
                let message = get();
                assert_eq!(queue.get(), Ok(0), "{what}");
                message
            };
            assert!(
                message.starts_with("a predicate of a queue cannot"),
                "{what}: {message}"
            );
            // The caller can wait again.
            sleep(Duration::from_micros(1));
            yield_now();
        }
    }

    ends(|| run(false));
    ends(|| run(true));
    ends(|| Scheduler::new().unwrap().block_on(|| run(false)));
    ends(|| Scheduler::new().unwrap().block_on(|| run(true)));
}

// ---- destructors ----

#[test]
fn each_item_is_dropped_once_whatever_becomes_of_it() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let queue = Rc::new(Queue::bounded(2));
    let putters: Vec<_> = (0..6)
        .map(|_| {
            let (queue, item) = (queue.clone(), drops.one());
            scheduler.spawn_local(move || drop(queue.put(item)))
        })
        .collect();
    settle(&scheduler);
    drop(queue.try_put(drops.one()));
    assert_eq!(drops.count(), 1, "given back");
    drop(queue.get().unwrap());
    assert_eq!(drops.count(), 2, "got");
    putters[3].cancel();
    settle(&scheduler);
    assert_eq!(drops.count(), 3, "unwound with its putter");
    queue.close();
    settle(&scheduler);
    assert_eq!(drops.count(), 5, "given back by closing");
    scheduler.run().unwrap();
    drop(queue);
    assert_eq!(drops.count(), 7, "left in the queue");
}

#[test]
fn an_item_whose_destructor_uses_the_queue_locks_nothing_up() {
    struct Nosy(Arc<Queue<Nosy>>, Arc<AtomicUsize>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            let seen = self.0.len() + usize::from(self.0.is_closed());
            self.1.fetch_add(usize::from(seen < 9), SeqCst);
        }
    }
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let queue = Arc::new(Queue::bounded(1));
        let count = Arc::new(AtomicUsize::new(0));
        let nosy = || Nosy(queue.clone(), count.clone());
        queue.put(nosy()).unwrap_or_else(|_| panic!("full"));
        drop(queue.try_put(nosy()));
        drop(queue.put_timeout(nosy(), SHORT));
        let (shared, item) = (queue.clone(), nosy());
        let unwinds = scheduler.spawn(move || drop(shared.put(item)));
        let (shared, item) = (queue.clone(), nosy());
        scheduler.spawn(move || drop(shared.put(item)));
        settle(&scheduler);
        unwinds.cancel();
        settle(&scheduler);
        queue.close();
        scheduler.run().unwrap();
        drop(queue.try_get());
        drop(queue.try_put(nosy()));
        assert_eq!(count.load(SeqCst), 6);
    });
}

// ---- who uses it, and from where ----

#[test]
fn tasks_and_threads_meet_in_one_queue() {
    ends(|| {
        let remote = Remote::start();
        for capacity in [0, 1, 100] {
            let there = Arc::new(Queue::bounded(capacity));
            let back = Arc::new(Queue::bounded(capacity));
            let (from, to) = (there.clone(), back.clone());
            let echo = move || from.iter().for_each(|n| to.put(n).unwrap());
            let echoes: [Box<dyn FnOnce() + Send>; 2] = [
                Box::new({
                    let (echo, handle) = (echo.clone(), remote.handle.clone());
                    move || handle.spawn(echo).join().unwrap()
                }),
                Box::new(echo),
            ];
            let threads = echoes.map(thread::spawn);
            // This thread's own tasks, run by its waiting here.
            let shared = there.clone();
            let putter = spawn(move || (0..1_000).for_each(|n| shared.put(n).unwrap()));
            let mut got: Vec<u32> = (0..1_000).map(|_| back.get().unwrap()).collect();
            putter.join().unwrap();
            there.close();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            got.sort_unstable();
            assert_eq!(got, Vec::from_iter(0..1_000));
        }
        remote.stop();
    });
}

#[test]
fn a_plain_thread_that_gets_runs_the_tasks_that_put() {
    let queue = Arc::new(Queue::bounded(0));
    let shared = queue.clone();
    spawn(move || {
        for n in 0..3 {
            sleep(Duration::from_micros(100));
            shared.put(n).unwrap();
        }
        shared.close();
    });
    assert_eq!(queue.get_timeout(LONG), Ok(0));
    assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_task_that_only_puts_and_gets_starves_nobody() {
    let scheduler = scheduler();
    let stop = Rc::new(Cell::new(false));
    type Op = fn(&Queue<u32>);
    let operations: [Op; 5] = [
        |queue| queue.put(1).unwrap(),
        |queue| _ = queue.try_get(),
        |queue| _ = queue.try_put(1),
        |queue| _ = queue.try_get_matching(|_| false),
        |queue| {
            queue.put(1).unwrap();
            queue.get().unwrap();
        },
    ];
    for operation in operations {
        stop.set(false);
        let done = stop.clone();
        scheduler.spawn_local(move || {
            let queue = Queue::unbounded();
            while !done.get() {
                operation(&queue);
                while queue.len() > 1_000 {
                    queue.try_iter().for_each(drop);
                }
            }
        });
        let done = stop.clone();
        scheduler.spawn_local(move || {
            sleep(Duration::from_micros(100));
            done.set(true);
        });
        scheduler.run().unwrap();
    }
}

#[test]
fn a_queue_is_send_and_sync_if_its_items_are_send() {
    fn both<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    both::<Queue<Cell<u32>>>();
    both::<Arc<Queue<Box<dyn FnOnce() + Send>>>>();
}

#[test]
fn errors_are_std_s_when_they_are_wanted_to_be() {
    let kind = |error: io::Error| error.kind();
    assert_eq!(kind(GetError::Closed.into()), ErrorKind::BrokenPipe);
    assert_eq!(kind(GetError::Timeout.into()), ErrorKind::TimedOut);
    assert_eq!(kind(TryGetError::Empty.into()), ErrorKind::WouldBlock);
    assert_eq!(kind(TryGetError::Closed.into()), ErrorKind::BrokenPipe);
    assert_eq!(kind(PutError::Closed(1).into()), ErrorKind::BrokenPipe);
    assert_eq!(kind(TryPutError::Full(1).into()), ErrorKind::WouldBlock);
    let timeout = io::Error::from(PutError::Timeout(1));
    assert!(timeout.get_ref().unwrap().is::<Timeout>());
    struct Opaque;
    let (put, try_put) = (PutError::Closed(Opaque), TryPutError::Full(Opaque));
    assert_eq!(format!("{put:?}: {put}"), "Closed(..): the queue is closed");
    assert_eq!(
        format!("{try_put:?}: {try_put}"),
        "Full(..): the queue is full"
    );
    assert_eq!(PutError::Cancelled(5).into_inner(), 5);
    assert_eq!(TryPutError::Closed(5).into_inner(), 5);
    let queue = Queue::bounded(2);
    queue.put(Opaque).unwrap();
    assert_eq!(
        format!("{queue:?}"),
        "Queue { len: 1, capacity: Some(2), closed: false, .. }"
    );
}

// ---- all at once ----

/// What has become of each number.
struct Fate {
    put: AtomicUsize,
    got: AtomicUsize,
}

struct Item {
    number: usize,
    producer: usize,
    _drop: Dropped,
}

struct Stress {
    queue: Queue<Item>,
    fates: Vec<Fate>,
    next: AtomicUsize,
    got: AtomicUsize,
    drops: Drops,
    until: Instant,
}

impl Stress {
    /// Puts some items in random ways; false at the end.
    fn put_some(&self, producer: usize, random: &mut Random) -> bool {
        for _ in 0..1 + random.below(50) {
            let number = self.next.fetch_add(1, SeqCst);
            let is_enough = || Instant::now() > self.until && self.got.load(SeqCst) > 100;
            if number >= self.fates.len() || is_enough() {
                return false;
            }
            let item = Item {
                number,
                producer,
                _drop: self.drops.one(),
            };
            let micros = Duration::from_micros(random.below(60) as u64);
            let ok = match random.below(6) {
                0 => self.queue.try_put(item).is_ok(),
                1 => self.queue.put_timeout(item, micros).is_ok(),
                2 => matches!(timeout(micros, || self.queue.put(item)), Ok(Ok(()))),
                _ => self.queue.put(item).is_ok(),
            };
            self.fates[number].put.fetch_add(usize::from(ok), SeqCst);
        }
        true
    }

    /// Gets some items in random ways; false at the end.
    fn get_some(&self, random: &mut Random) -> bool {
        // The last numbers seen of each producer: got in order, and got by matching, even and odd.
        let mut plain = [0; PRODUCERS];
        let mut matched = [[0; 2]; PRODUCERS];
        for _ in 0..1 + random.below(50) {
            let micros = Duration::from_micros(random.below(60) as u64);
            let parity = random.below(2);
            let wants = |item: &Item| item.number % 2 == parity;
            let way = random.below(8);
            let got = match way {
                0 => self
                    .queue
                    .try_get()
                    .map_err(|error| error == TryGetError::Closed),
                1 => self
                    .queue
                    .get_timeout(micros)
                    .map_err(|error| error == GetError::Closed),
                2 => match timeout(micros, || self.queue.get()) {
                    Ok(got) => got.map_err(|_| true),
                    Err(Timeout) => Err(false),
                },
                // Not for ever: everybody might wait for what nobody puts.
                3 => match timeout(micros, || self.queue.get_matching(wants)) {
                    Ok(got) => got.map_err(|_| true),
                    Err(Timeout) => Err(false),
                },
                4 => self
                    .queue
                    .get_matching_timeout(wants, micros)
                    .map_err(|error| error == GetError::Closed),
                _ => self.queue.get().map_err(|_| true),
            };
            match got {
                Ok(item) => {
                    self.fates[item.number].got.fetch_add(1, SeqCst);
                    self.got.fetch_add(1, SeqCst);
                    let number = item.number + 1;
                    assert!(number > plain[item.producer], "out of order");
                    if way == 3 || way == 4 {
                        let last = &mut matched[item.producer][parity];
                        assert!(item.number % 2 == parity && number > *last, "out of order");
                        *last = number;
                    } else {
                        plain[item.producer] = number;
                    }
                }
                Err(closed) if closed => return false,
                Err(_) => {}
            }
        }
        true
    }
}

/// Of each kind: two plain threads, and two threads that keep a task running on each of two schedulers.
const KINDS: usize = 4;
const PRODUCERS: usize = KINDS;

fn stress(capacity: usize, seed: u64, length: Duration) {
    const NUMBERS: usize = 4_000_000;
    let stress = Arc::new(Stress {
        queue: if capacity == usize::MAX {
            Queue::unbounded()
        } else {
            Queue::bounded(capacity)
        },
        fates: (0..NUMBERS)
            .map(|_| Fate {
                put: AtomicUsize::new(0),
                got: AtomicUsize::new(0),
            })
            .collect(),
        next: AtomicUsize::new(0),
        got: AtomicUsize::new(0),
        drops: Drops::default(),
        until: Instant::now() + length,
    });
    let remotes = [Remote::start(), Remote::start()];
    let run = |number: usize, work: fn(&Stress, usize, &mut Random) -> bool| {
        let (stress, producer) = (stress.clone(), number % KINDS);
        let remote = remotes.get(producer).map(|remote| remote.handle.clone());
        let mut random = Random::new(seed ^ (number as u64 * 0x5555 + 1));
        thread::spawn(move || loop {
            let mut inner = Random::new(random.below(1 << 30) as u64);
            let going_on = match &remote {
                None => work(&stress, producer, &mut inner),
                Some(remote) => {
                    let shared = stress.clone();
                    let task = remote.spawn(move || work(&shared, producer, &mut inner));
                    if random.below(2) == 0 {
                        for _ in 0..random.below(2_000) {
                            std::hint::spin_loop();
                        }
                        task.cancel();
                    }
                    match task.join() {
                        Ok(going_on) => going_on,
                        Err(error) if error.is_cancelled() => true,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            if !going_on {
                return;
            }
        })
    };
    let producers = [0, 1, 2, 3].map(|n| run(n, |stress, me, random| stress.put_some(me, random)));
    let consumers = [4, 5, 6, 7].map(|n| run(n, |stress, _, random| stress.get_some(random)));
    producers
        .into_iter()
        .for_each(|producer| producer.join().unwrap());
    stress.queue.close();
    consumers
        .into_iter()
        .for_each(|consumer| consumer.join().unwrap());
    // A consumer that only looked for one kind of items may have left others.
    while let Ok(item) = stress.queue.try_get() {
        stress.fates[item.number].got.fetch_add(1, SeqCst);
    }
    remotes.into_iter().for_each(Remote::stop);
    let made = stress.next.load(SeqCst).min(NUMBERS);
    let mut arrived = 0;
    for (number, fate) in stress.fates.iter().enumerate() {
        let (put, got) = (fate.put.load(SeqCst), fate.got.load(SeqCst));
        assert_eq!(
            put, got,
            "item {number} was put {put} times and got {got} times"
        );
        arrived += got;
    }
    // The numbers of those who stopped were drawn, and no item made.
    assert!(stress.drops.count() <= made && stress.drops.count() + KINDS >= made);
    assert!(arrived > 100, "{arrived} of {made}");
}

#[test]
fn no_item_is_lost_or_doubled_between_tasks_of_two_schedulers_and_threads() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds: u64 = variable("MULTITASK_STRESS_SECONDS").unwrap_or(3);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = variable("MULTITASK_STRESS_SEED").unwrap_or(clock.as_nanos() as u64);
    println!("MULTITASK_STRESS_SEED={seed}");
    let patience = thread::spawn(move || {
        for capacity in [0, 1, 7, usize::MAX] {
            stress(capacity, seed, Duration::from_millis(250 * seconds));
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60 + 4 * seconds);
    while !patience.is_finished() {
        assert!(Instant::now() < deadline, "it hangs");
        thread::sleep(SHORT);
    }
    patience.join().unwrap();
}
