//! What a task gives, awaited as futures: handles, channels, queues, events. By runtimes of others, and poll by poll.

mod common;

use common::futures::{poll, Calls};
use common::interrupts::Fates;
use common::{ends, scheduler, settle, Crowd, Drops, Random, Work};
use multitask::future::{block_on, block_on_timeout};
use multitask::select::Select;
use multitask::sync::{mpmc, mpsc, oneshot, Event, GetError, PutError, Queue};
use multitask::{select, spawn, task, yield_now, JoinHandle, Scheduler, Timeout};
use std::future::{Future, IntoFuture};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

// ---- runtimes of others ----

/// Everything at once, on an executor.
async fn all_that_a_task_gives(handle: multitask::Handle) -> i32 {
    let event = Arc::new(Event::new());
    let (sender, mut receiver) = mpsc::sync_channel(1);
    let (back, answers) = mpmc::sync_channel(0);
    let (once, only) = oneshot::channel();
    let queue = Arc::new(Queue::bounded(1));
    let (set, put) = (event.clone(), queue.clone());
    let sums = handle.spawn(move || {
        set.set();
        let numbers = (0..10).map(|n| sender.send(n).unwrap());
        assert_eq!(numbers.count(), 10);
        once.send(5).unwrap();
        put.put(7).unwrap();
        answers.iter().sum::<i32>()
    });
    event.wait_async().await;
    (&*event).await; // the same
    let mut sum = (&mut receiver).await.unwrap();
    while let Ok(n) = receiver.recv_async().await {
        sum += n;
        if n == 9 {
            break;
        }
    }
    sum += only.await.unwrap() + queue.get_async().await.unwrap();
    for n in 0..10 {
        back.send_async(n).await.unwrap();
    }
    drop(back);
    sum + sums.await.unwrap()
}

const ALL: i32 = 45 + 5 + 7 + 45;

#[test]
fn tokio_awaits_what_tasks_give() {
    ends(|| {
        let remote = common::Remote::start();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|_| runtime.spawn(all_that_a_task_gives(remote.handle.clone())))
            .collect();
        for task in tasks {
            assert_eq!(runtime.block_on(task).unwrap(), ALL);
        }
        remote.stop();
    });
}

#[test]
fn smol_awaits_what_tasks_give() {
    ends(|| {
        let remote = common::Remote::start();
        let tasks: Vec<_> = (0..50)
            .map(|_| smol::spawn(all_that_a_task_gives(remote.handle.clone())))
            .collect();
        for task in tasks {
            assert_eq!(smol::block_on(task), ALL);
        }
        remote.stop();
    });
}

#[test]
fn a_task_awaits_what_tasks_give() {
    ends(|| {
        let scheduler = scheduler();
        let handle = scheduler.handle();
        let task = scheduler.spawn(move || block_on(all_that_a_task_gives(handle)));
        scheduler.run().unwrap();
        assert_eq!(task.join().unwrap(), ALL);
    });
}

// ---- handles ----

#[test]
fn a_handle_is_ready_when_its_task_has_ended_with_what_joining_would_say() {
    let scheduler = scheduler();
    let (value, panic, cancelled) = (
        scheduler.spawn(|| 5),
        scheduler.spawn(|| -> i32 { panic!("awaited") }),
        scheduler.spawn(|| {
            task::park();
            1
        }),
    );
    cancelled.cancel();
    let joins = scheduler.spawn(move || {
        block_on(async {
            let error = panic.await.unwrap_err();
            assert_eq!(error.message(), Some("awaited"));
            assert!(cancelled.await.unwrap_err().is_cancelled());
            value.await.unwrap()
        })
    });
    scheduler.run().unwrap();
    assert_eq!(joins.join().unwrap(), 5);
}

fn ended(scheduler: &Scheduler, end: &Event) {
    end.set();
    settle(scheduler);
}

/// A task that ends when an event is set.
fn task_until(scheduler: &Scheduler) -> (Arc<Event>, JoinHandle<&'static str>) {
    let end = Arc::new(Event::new());
    let waits = end.clone();
    let task = scheduler.spawn(move || {
        waits.wait();
        "ended"
    });
    settle(scheduler);
    (end, task)
}

#[test]
fn the_waker_of_the_last_poll_is_called_once_at_the_end() {
    let scheduler = Scheduler::new().unwrap();
    let (end, mut task) = task_until(&scheduler);
    let ((first, first_waker), (last, last_waker)) = (Calls::new(), Calls::new());
    assert!(poll(Pin::new(&mut task), &first_waker).is_pending());
    assert!(poll(Pin::new(&mut task), &last_waker).is_pending());
    assert!(!first.are_kept() && last.are_kept());
    ended(&scheduler, &end);
    assert_eq!((first.count(), last.count()), (0, 1));
    assert!(!last.are_kept());
    let Poll::Ready(result) = poll(Pin::new(&mut task), &last_waker) else {
        panic!("it has ended");
    };
    assert_eq!(result.unwrap(), "ended");
    assert!(task.is_finished());
    assert!(task.task().name().is_none());
}

#[test]
fn whoever_polled_last_is_called_and_nobody_before_him() {
    let (sender, receiver) = mpmc::channel();
    let (event, queue) = (Event::new(), Queue::unbounded());
    let (full, kept) = mpmc::sync_channel(0);
    let mut receives = pin!(receiver.recv_async());
    let mut waits = pin!(event.wait_async());
    let mut gets = pin!(queue.get_async());
    let mut sends = pin!(full.send_async(1));
    let ((first, first_waker), (last, last_waker)) = (Calls::new(), Calls::new());
    for waker in [&first_waker, &last_waker, &last_waker] {
        assert!(poll(receives.as_mut(), waker).is_pending());
        assert!(poll(waits.as_mut(), waker).is_pending());
        assert!(poll(gets.as_mut(), waker).is_pending());
        assert!(poll(sends.as_mut(), waker).is_pending());
    }
    assert!(!first.are_kept() && last.are_kept());
    sender.send(2).unwrap();
    event.set();
    queue.put(3).unwrap();
    drop(kept);
    assert_eq!((first.count(), last.count()), (0, 4));
    assert!(!last.are_kept());
    assert_eq!(poll(receives, &first_waker), Poll::Ready(Ok(2)));
    assert!(poll(waits, &first_waker).is_ready());
    assert_eq!(poll(gets, &first_waker), Poll::Ready(Ok(3)));
    assert_eq!(
        poll(sends, &first_waker),
        Poll::Ready(Err(mpmc::SendError(1)))
    );
}

#[test]
fn a_handle_that_was_pending_can_be_joined_selected_and_polled_again() {
    let scheduler = Scheduler::new().unwrap();
    let (end, mut task) = task_until(&scheduler);
    let (calls, waker) = Calls::new();
    assert!(poll(Pin::new(&mut task), &waker).is_pending());
    let joins = scheduler.spawn(move || {
        let short = Duration::from_millis(1);
        let mut select = Select::new();
        select.join(&mut task);
        let again = select.select_timeout(short).is_err();
        drop(select);
        let late = task.join_timeout(Duration::from_millis(1));
        let Err(multitask::task::JoinTimeoutError::Timeout(mut task)) = late else {
            panic!("it has not ended");
        };
        let late = block_on_timeout(&mut task, Duration::from_millis(1));
        assert!(again && matches!(late, Err(Timeout)));
        let mut select = Select::new();
        select.join(&mut task);
        assert_eq!(select.select().index(), 0);
        drop(select);
        task.join().unwrap()
    });
    while scheduler.turn(Some(Duration::from_millis(20))).unwrap() > 0 {}
    ended(&scheduler, &end);
    scheduler.run().unwrap();
    assert_eq!(joins.join().unwrap(), "ended");
    assert_eq!(calls.count(), 0);
    assert!(!calls.are_kept());
}

#[test]
fn a_handle_that_is_dropped_while_it_is_pending_lets_its_task_go_on_and_calls_nobody() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let end = Arc::new(Event::new());
    let (waits, result) = (end.clone(), drops.one());
    let mut task = scheduler.spawn(move || {
        waits.wait();
        result
    });
    settle(&scheduler);
    let (calls, waker) = Calls::new();
    assert!(poll(Pin::new(&mut task), &waker).is_pending());
    drop(task);
    assert!(!calls.are_kept());
    ended(&scheduler, &end);
    assert_eq!((calls.count(), drops.count()), (0, 1));
}

#[test]
fn a_result_is_given_once() {
    let drops = Drops::default();
    let scheduler = Scheduler::new().unwrap();
    let result = drops.one();
    let mut task = scheduler.spawn(move || result);
    settle(&scheduler);
    let (_calls, waker) = Calls::new();
    assert!(poll(Pin::new(&mut task), &waker).is_ready());
    assert_eq!(drops.count(), 1);
    let again = catch_unwind(AssertUnwindSafe(|| {
        poll(Pin::new(&mut task), &waker).is_ready()
    }));
    assert!(again.is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| task.join().is_ok())).is_err());
    assert_eq!(drops.count(), 1);
}

#[test]
fn handles_are_polled_and_dropped_while_their_tasks_end_on_other_threads() {
    ends(|| {
        let remote = common::Remote::start();
        let drops = Drops::default();
        let mut random = Random::new(5);
        const TASKS: usize = 3000;
        for _ in 0..TASKS {
            let result = drops.one();
            let mut task = remote.handle.spawn(move || {
                yield_now();
                result
            });
            let (_calls, waker) = Calls::new();
            for _ in 0..random.below(4) {
                if poll(Pin::new(&mut task), &waker).is_ready() {
                    break;
                }
            }
            match random.below(3) {
                0 => drop(task),
                _ if task.is_finished() => drop(task),
                1 => drop(task.join()),
                _ => drop(block_on(task)),
            }
        }
        remote.stop();
        assert_eq!(drops.count(), TASKS);
    });
}

// ---- channels: who is handed what ----

#[test]
fn a_message_handed_to_a_future_that_is_dropped_is_received_next() {
    let (sender, receiver) = mpmc::channel();
    let (calls, waker) = Calls::new();
    {
        let mut first = pin!(receiver.recv_async());
        assert!(poll(first.as_mut(), &waker).is_pending());
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(calls.count(), 1);
        assert_eq!(receiver.len(), 1);
    }
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    let queue = Queue::bounded(0);
    {
        let mut first = pin!(queue.get_async());
        assert!(poll(first.as_mut(), &waker).is_pending());
        assert_eq!(queue.try_put("met"), Ok(()));
    }
    assert_eq!(queue.try_get(), Ok("met"));
    assert!(!calls.are_kept());
}

#[test]
fn a_future_that_is_polled_again_keeps_its_place_in_line() {
    let (sender, receiver) = mpmc::channel();
    let ((first_calls, first_waker), (second_calls, second_waker)) = (Calls::new(), Calls::new());
    let (mut first, mut second) = (pin!(receiver.recv_async()), pin!(receiver.recv_async()));
    assert!(poll(first.as_mut(), &first_waker).is_pending());
    assert!(poll(second.as_mut(), &second_waker).is_pending());
    assert!(poll(first.as_mut(), &first_waker).is_pending());
    sender.send(1).unwrap();
    assert_eq!((first_calls.count(), second_calls.count()), (1, 0));
    assert_eq!(poll(first, &first_waker), Poll::Ready(Ok(1)));
    assert!(poll(second, &second_waker).is_pending());
}

#[test]
fn a_message_handed_to_a_future_that_is_dropped_goes_to_the_next_one_in_line() {
    let (sender, receiver) = mpmc::channel();
    let ((first_calls, first_waker), (next_calls, next_waker)) = (Calls::new(), Calls::new());
    let mut next = pin!(receiver.recv_async());
    {
        let mut first = pin!(receiver.recv_async());
        assert!(poll(first.as_mut(), &first_waker).is_pending());
        assert!(poll(next.as_mut(), &next_waker).is_pending());
        sender.send(1).unwrap();
        assert_eq!((first_calls.count(), next_calls.count()), (1, 0));
    }
    assert_eq!(next_calls.count(), 1);
    assert_eq!(poll(next.as_mut(), &next_waker), Poll::Ready(Ok(1)));
}

#[test]
fn a_future_that_is_dropped_while_it_is_pending_leaves_nobody_in_line() {
    let (sender, mut receiver) = mpsc::sync_channel(0);
    let (calls, waker) = Calls::new();
    assert!(poll(pin!(receiver.recv_async()), &waker).is_pending());
    assert!(!calls.are_kept());
    assert!(sender.try_send(1).is_err());
    let drops = Drops::default();
    assert!(poll(pin!(sender.send_async(1)), &waker).is_pending());
    let (full, other) = mpsc::sync_channel(1);
    full.send(drops.one()).unwrap();
    assert!(poll(pin!(full.send_async(drops.one())), &waker).is_pending());
    assert_eq!(drops.count(), 1);
    assert!(other.recv().is_ok() && other.try_recv().is_err());
    assert!(!calls.are_kept());
    assert_eq!(calls.count(), 0);
}

#[test]
fn tasks_and_futures_are_served_in_the_order_in_which_they_came() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Arc::new(Queue::unbounded());
    let order = Arc::new(Mutex::new(Vec::new()));
    for n in 0..6 {
        let (queue, order) = (queue.clone(), order.clone());
        scheduler.spawn(move || {
            let item = if n % 2 == 0 {
                queue.get().unwrap()
            } else {
                block_on(queue.get_async()).unwrap()
            };
            order.lock().unwrap().push((n, item));
        });
    }
    settle(&scheduler);
    for item in 0..6 {
        queue.put(item).unwrap();
    }
    scheduler.run().unwrap();
    let mut order = order.lock().unwrap().clone();
    order.sort_unstable();
    assert_eq!(order, (0..6).map(|n| (n, n)).collect::<Vec<_>>());
}

#[test]
fn futures_hear_that_nothing_more_comes() {
    let (calls, waker) = Calls::new();
    let (sender, receiver) = mpmc::channel::<i32>();
    let mut receives = pin!(receiver.recv_async());
    assert!(poll(receives.as_mut(), &waker).is_pending());
    drop(sender);
    assert_eq!(calls.count(), 1);
    assert_eq!(
        poll(receives.as_mut(), &waker),
        Poll::Ready(Err(mpmc::RecvError))
    );

    let (sender, receiver) = mpmc::sync_channel(0);
    let mut sends = pin!(sender.send_async("back"));
    assert!(poll(sends.as_mut(), &waker).is_pending());
    drop(receiver);
    assert_eq!(calls.count(), 2);
    assert_eq!(
        poll(sends.as_mut(), &waker),
        Poll::Ready(Err(mpmc::SendError("back")))
    );

    let (sender, receiver) = oneshot::channel::<i32>();
    let mut receives = pin!(receiver.into_future());
    assert!(poll(receives.as_mut(), &waker).is_pending());
    drop(sender);
    assert_eq!(calls.count(), 3);
    assert!(matches!(
        poll(receives.as_mut(), &waker),
        Poll::Ready(Err(_))
    ));

    let queue = Queue::bounded(1);
    queue.put(1).unwrap();
    let mut puts = pin!(queue.put_async(2));
    assert!(poll(puts.as_mut(), &waker).is_pending());
    queue.close();
    assert_eq!(calls.count(), 4);
    assert_eq!(
        poll(puts.as_mut(), &waker),
        Poll::Ready(Err(PutError::Closed(2)))
    );
    assert_eq!(block_on(queue.get_async()), Ok(1));
    assert_eq!(block_on(queue.get_async()), Err(GetError::Closed));
}

#[test]
fn a_oneshot_s_message_is_dropped_with_its_future_and_its_sender_told() {
    let drops = Drops::default();
    let (calls, waker) = Calls::new();
    let (sender, receiver) = oneshot::channel();
    let mut receives = Box::pin(receiver.into_future());
    assert!(poll(receives.as_mut(), &waker).is_pending());
    sender.send(drops.one()).unwrap();
    assert_eq!((calls.count(), drops.count()), (1, 0));
    drop(receives);
    assert_eq!(drops.count(), 1);
    let (sender, receiver) = oneshot::channel();
    let receives = receiver.into_future();
    drop(receives);
    assert!(sender.send(drops.one()).is_err());
}

#[test]
fn a_future_stands_in_a_rendezvous_as_a_task_does() {
    let scheduler = Scheduler::new().unwrap();
    let (calls, waker) = Calls::new();
    // With one that only tries.
    let (sender, mut receiver) = mpsc::sync_channel(0);
    {
        let mut receives = pin!(receiver.recv_async());
        assert!(poll(receives.as_mut(), &waker).is_pending());
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(poll(receives.as_mut(), &waker), Poll::Ready(Ok(1)));
    }
    // With one that waits for several things.
    let sends = scheduler.spawn({
        let sender = sender.clone();
        move || select! { send(sender, 2) -> sent => sent.unwrap() }
    });
    settle(&scheduler);
    let received = scheduler.spawn(move || {
        let two = block_on(receiver.recv_async());
        (two, block_on(receiver.recv_async()))
    });
    settle(&scheduler);
    sends.join().unwrap();
    // With another future.
    assert_eq!(block_on(sender.send_async(3)), Ok(()));
    scheduler.run().unwrap();
    assert_eq!(received.join().unwrap(), (Ok(2), Ok(3)));
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_future_that_was_met_by_a_select_and_is_dropped_waits_for_the_message_and_leaves_it_to_the_next(
) {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::sync_channel(0);
    let (meets, met) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (calls, waker) = Calls::new();
    let receives = scheduler.spawn({
        let (meets, met) = (meets.clone(), met.clone());
        move || {
            {
                let mut first = Box::pin(receiver.recv_async());
                assert!(poll(first.as_mut(), &waker).is_pending());
                meets.set();
                met.wait();
            }
            receiver.try_recv()
        }
    });
    let sends = scheduler.spawn(move || {
        meets.wait();
        let make = || {
            met.set();
            yield_now();
            yield_now();
            "made"
        };
        select! { send(sender, make()) -> sent => sent.unwrap() }
    });
    scheduler.run().unwrap();
    sends.join().unwrap();
    assert_eq!(receives.join().unwrap(), Ok("made"));
    assert_eq!(calls.count(), 1);
}

/// A waker that does something as it is called, or dropped, with everything that it has.
struct Nosy<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for Nosy<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl<F: Fn() + Send + Sync> Drop for Nosy<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_waker_may_use_what_called_it() {
    ends(|| {
        let queue = Arc::new(Queue::<i32>::unbounded());
        let event = Arc::new(Event::new());
        let seen = Arc::new(AtomicUsize::new(0));
        let nosy = || {
            let (queue, event, seen) = (queue.clone(), event.clone(), seen.clone());
            Waker::from(Arc::new(Nosy(move || {
                seen.fetch_add(queue.len() + usize::from(event.is_set()) + 1, SeqCst);
            })))
        };
        let mut gets = Box::pin(queue.get_async());
        assert!(poll(gets.as_mut(), &nosy()).is_pending());
        assert!(poll(gets.as_mut(), &nosy()).is_pending());
        queue.put(1).unwrap();
        drop(gets);
        let mut gets = Box::pin(queue.get_async());
        assert_eq!(poll(gets.as_mut(), &nosy()), Poll::Ready(Ok(1)));
        let mut gets = Box::pin(queue.get_async());
        assert!(poll(gets.as_mut(), &nosy()).is_pending());
        queue.close();
        let mut waits = Box::pin(event.wait_async());
        assert!(poll(waits.as_mut(), &nosy()).is_pending());
        event.set();
        assert!(seen.load(SeqCst) > 8);
    });
}

#[test]
fn a_waker_that_panics_disturbs_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let waker = Waker::from(Arc::new(Panics));
    let scheduler = Scheduler::new().unwrap();
    let (end, mut task) = task_until(&scheduler);
    assert!(poll(Pin::new(&mut task), &waker).is_pending());
    let event = Event::new();
    let mut waits = pin!(event.wait_async());
    assert!(poll(waits.as_mut(), &waker).is_pending());
    let (sender, receiver) = mpmc::channel();
    let mut receives = pin!(receiver.recv_async());
    assert!(poll(receives.as_mut(), &waker).is_pending());
    ended(&scheduler, &end);
    event.set();
    sender.send(1).unwrap();
    assert_eq!(poll(receives.as_mut(), &waker), Poll::Ready(Ok(1)));
    assert!(poll(waits.as_mut(), &waker).is_ready());
    assert_eq!(task.join().unwrap(), "ended");
}

#[test]
fn a_waker_that_waits_as_a_task_ends_waits_as_that_task_and_no_other_gets_its_stack() {
    struct Waits(AtomicUsize);
    impl Wake for Waits {
        fn wake(self: Arc<Self>) {
            let before = [7; 100];
            (0..3).for_each(|_| yield_now());
            assert_eq!(std::hint::black_box(before), [7; 100]);
            self.0.fetch_add(1, SeqCst);
        }
    }
    for has_waited in [false, true] {
        ends(move || {
            let scheduler = Scheduler::new().unwrap();
            let waits = Arc::new(Waits(AtomicUsize::new(0)));
            let waker = Waker::from(waits.clone());
            let task = |n| {
                scheduler.spawn(move || {
                    if has_waited {
                        yield_now();
                    }
                    n
                })
            };
            let mut tasks: Vec<_> = (0..10).map(task).collect();
            for task in &mut tasks {
                assert!(poll(Pin::new(task), &waker).is_pending());
            }
            for n in 0..100 {
                scheduler.spawn(move || (0..n % 5).for_each(|_| yield_now()));
            }
            scheduler.run().unwrap();
            assert_eq!(waits.0.load(SeqCst), 10);
            assert_eq!(scheduler.metrics().suspended, 0);
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.join().unwrap(), n);
            }
            let more: Vec<_> = (0..100).map(|n| scheduler.spawn(move || n)).collect();
            scheduler.run().unwrap();
            assert!((0..100).eq(more.into_iter().map(|task| task.join().unwrap())));
        });
    }
}

// ---- events ----

#[test]
fn all_who_await_an_event_go_on_though_it_is_cleared_at_once() {
    let event = Event::new();
    let ((one, one_waker), (two, two_waker)) = (Calls::new(), Calls::new());
    let (mut first, mut second) = (pin!(event.wait_async()), pin!(event.wait_async()));
    assert!(poll(first.as_mut(), &one_waker).is_pending());
    assert!(poll(second.as_mut(), &two_waker).is_pending());
    assert!(poll(pin!(event.wait_async()), &one_waker).is_pending());
    event.set();
    event.clear();
    assert_eq!((one.count(), two.count()), (1, 1));
    assert!(poll(pin!(event.wait_async()), &one_waker).is_pending());
    assert!(poll(first, &one_waker).is_ready());
    assert!(poll(second, &two_waker).is_ready());
    assert!(!one.are_kept() && !two.are_kept());
}

#[test]
fn tasks_threads_and_futures_wait_for_one_event() {
    ends(|| {
        let scheduler = scheduler();
        let event = Arc::new(Event::new());
        for _ in 0..10 {
            let (one, two) = (event.clone(), event.clone());
            scheduler.spawn(move || one.wait());
            scheduler.spawn(move || block_on(two.wait_async()));
        }
        let other = event.clone();
        let thread = thread::spawn(move || smol::block_on(other.wait_async()));
        let sets = event.clone();
        scheduler.spawn(move || sets.set());
        scheduler.run().unwrap();
        thread.join().unwrap();
    });
}

// ---- many at once ----

/// Receives within a few polls, or gives up.
fn receive_or_drop<T>(future: impl Future<Output = T>, random: &mut Random) -> Option<T> {
    let (_calls, waker) = Calls::new();
    let mut future = pin!(future);
    for _ in 0..1 + random.below(3) {
        if let Poll::Ready(received) = poll(future.as_mut(), &waker) {
            return Some(received);
        }
        thread::yield_now();
    }
    None
}

fn no_message_is_lost(capacity: usize) {
    ends(move || {
        const MESSAGES: usize = 3000;
        let (sender, receiver) = mpmc::sync_channel(capacity);
        let fates = Fates::default();
        let crowd = Crowd::new(11);
        let sends: Work = {
            let (fates, sender) = (fates.clone(), Mutex::new(Some(sender)));
            Arc::new(move |random| {
                let Some(sender) = sender.lock().unwrap().clone() else {
                    return false;
                };
                let message = fates.make();
                let number = message.number;
                let sent = match random.below(2) {
                    0 => sender.send(message).is_ok(),
                    _ => block_on(sender.send_async(message)).is_ok(),
                };
                if sent {
                    fates.note_sent(number);
                }
                number < MESSAGES && sent
            })
        };
        let receives: Work = {
            let fates = fates.clone();
            Arc::new(move |random| {
                let received = match random.below(4) {
                    0 => Some(receiver.recv()),
                    1 => Some(block_on(receiver.recv_async())),
                    _ => receive_or_drop(receiver.recv_async(), random),
                };
                match received {
                    Some(Ok(message)) => fates.note_received(&message),
                    Some(Err(_)) => return false,
                    None => {}
                }
                true
            })
        };
        // Those who send are plain threads: what they send is not lost with them.
        let senders = [2, 3, 6].map(|n| crowd.run(n, sends.clone()));
        let receivers = [0, 1, 2, 3, 4, 5].map(|n| crowd.run(n, receives.clone()));
        senders
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        drop(sends);
        drop(receives);
        receivers
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let interruptions = crowd.stop();
        fates.check(interruptions);
    });
}

#[test]
fn no_message_is_lost_by_futures_that_give_up_at_a_channel_with_room() {
    no_message_is_lost(4);
}

#[test]
fn no_message_is_lost_by_futures_that_give_up_at_a_rendezvous() {
    no_message_is_lost(0);
}

#[test]
fn a_future_that_always_has_something_lets_other_tasks_run() {
    let scheduler = Scheduler::new().unwrap();
    let queue = Queue::from_iter(0..2000);
    let gets = scheduler.spawn(move || {
        block_on(async {
            for n in 0..2000 {
                assert_eq!(queue.get_async().await, Ok(n));
            }
        })
    });
    let quick = scheduler.spawn(|| ());
    while !quick.is_finished() {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(!gets.is_finished());
    settle(&scheduler);
    gets.join().unwrap();
}

#[test]
fn a_future_that_awaits_what_has_ended_lets_other_tasks_run() {
    let scheduler = Scheduler::new().unwrap();
    let ended: Vec<_> = (0..2000).map(|n| scheduler.spawn(move || n)).collect();
    settle(&scheduler);
    let awaits = scheduler.spawn(move || {
        block_on(async {
            for (n, task) in ended.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), n);
            }
        })
    });
    let quick = scheduler.spawn(|| ());
    while !quick.is_finished() {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(!awaits.is_finished());
    settle(&scheduler);
    awaits.join().unwrap();
}

#[test]
fn futures_go_to_other_threads() {
    fn sends<T: Send>(_: &T) {}
    let (sender, mut receiver) = mpsc::sync_channel::<i32>(1);
    sends(&receiver.recv_async());
    sends(&sender.send_async(1));
    sends(&Event::new().wait_async());
    sends(&Queue::<i32>::unbounded().get_async());
    sends(&oneshot::channel::<i32>().1.into_future());
    sends(&spawn(|| 1));
}
