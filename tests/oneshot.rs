//! Channels for one message: each end once, whoever comes first, whoever goes first. And what channels allocate.

mod common;

use common::{ends, scheduler, settle, Drops, OnDrop, Remote, LONG};
use multitask::sync::oneshot::{self, RecvTimeoutError, TryRecvError};
use multitask::sync::{mpsc, Queue};
use multitask::{select, spawn, task, timeout, yield_now, Scheduler, Timeout};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn the_message_arrives_whoever_comes_first() {
    let (sender, receiver) = oneshot::channel();
    sender.send('a').unwrap();
    assert_eq!(receiver.recv(), Ok('a'));
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = oneshot::channel();
    let waiting = scheduler.spawn(|| receiver.recv());
    settle(&scheduler);
    assert!(!waiting.is_finished());
    sender.send('b').unwrap();
    scheduler.run().unwrap();
    assert_eq!(waiting.join().unwrap(), Ok('b'));
}

#[test]
fn a_receiver_hears_that_the_sender_is_gone() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = oneshot::channel::<()>();
    let waiting = scheduler.spawn(|| receiver.recv());
    settle(&scheduler);
    drop(sender);
    scheduler.run().unwrap();
    assert_eq!(waiting.join().unwrap(), Err(oneshot::RecvError));
    let gone = || oneshot::channel::<()>().1;
    assert_eq!(gone().recv(), Err(oneshot::RecvError));
    assert!(matches!(gone().try_recv(), Err(TryRecvError::Disconnected)));
    let late = gone().recv_timeout(LONG);
    assert!(matches!(late, Err(RecvTimeoutError::Disconnected)));
}

#[test]
fn a_sender_has_its_message_back_when_the_receiver_is_gone() {
    let (sender, receiver) = oneshot::channel();
    drop(receiver);
    assert_eq!(sender.send(5), Err(oneshot::SendError(5)));
}

#[test]
fn a_message_that_nobody_received_is_dropped_with_the_receiver() {
    let drops = Drops::default();
    let (sender, receiver) = oneshot::channel();
    sender.send(drops.one()).unwrap();
    assert_eq!(drops.count(), 0, "though the sender is gone");
    drop(receiver);
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_receiver_whose_time_is_up_can_be_used_again() {
    let body = || {
        let (sender, receiver) = oneshot::channel();
        let Err(TryRecvError::Empty(receiver)) = receiver.try_recv() else {
            panic!("there is nothing");
        };
        let start = Instant::now();
        let Err(RecvTimeoutError::Timeout(receiver)) = receiver.recv_timeout(SHORT) else {
            panic!("there is nothing");
        };
        let late = receiver.recv_deadline(start + 2 * SHORT);
        let Err(RecvTimeoutError::Timeout(receiver)) = late else {
            panic!("there is nothing");
        };
        assert!(start.elapsed() >= 2 * SHORT);
        sender.send(7).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::ZERO).unwrap(), 7);
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn the_ends_and_their_errors_say_what_stds_say() {
    let (sender, receiver) = oneshot::channel::<i32>();
    assert_eq!(
        format!("{sender:?} {receiver:?}"),
        "Sender { .. } Receiver { .. }"
    );
    let empty = receiver.try_recv().unwrap_err();
    assert_eq!(
        format!("{empty:?}: {empty}"),
        "TryRecvError(..): receiving on an empty oneshot channel"
    );
    let TryRecvError::Empty(receiver) = empty else {
        panic!("the sender is there");
    };
    let late = receiver.recv_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(
        format!("{late:?}: {late}"),
        "RecvTimeoutError(..): timed out waiting on oneshot channel"
    );
    let gone = "receiving on a closed oneshot channel";
    assert_eq!(
        TryRecvError::<()>::from(oneshot::RecvError).to_string(),
        gone
    );
    assert_eq!(
        RecvTimeoutError::<()>::from(oneshot::RecvError).to_string(),
        gone
    );
}

#[test]
fn a_receiver_that_is_interrupted_drops_the_message_or_has_it() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    for (count, sent_first) in [(1, false), (2, true)] {
        let (sender, receiver) = oneshot::channel();
        let received = scheduler.spawn(|| receiver.recv());
        settle(&scheduler);
        let message = drops.one();
        scheduler.block_on(move || {
            if sent_first {
                sender.send(message).unwrap();
                received.cancel();
                assert!(received.join().unwrap().is_ok());
            } else {
                received.cancel();
                // It is there still, and cannot be won any more.
                let sent = sender.send(message);
                assert!(received.join().unwrap_err().is_cancelled());
                drop(sent);
            }
        });
        assert_eq!(drops.count(), count);
    }
    let expired = scheduler.block_on(|| {
        let (_sender, receiver) = oneshot::channel::<()>();
        timeout(SHORT, || receiver.recv())
    });
    assert_eq!(expired, Err(Timeout));
}

#[test]
fn in_a_destructor_a_cancelled_task_waits_for_the_message() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = oneshot::channel();
    let (answer, answered) = oneshot::channel();
    let mut ends = Some((receiver, answer));
    let victim = scheduler.spawn(move || {
        let _waits = OnDrop(move || {
            let (receiver, answer) = ends.take().unwrap();
            let message: i32 = receiver.recv().unwrap();
            answer.send(message).unwrap();
        });
        task::park();
    });
    settle(&scheduler);
    victim.cancel();
    settle(&scheduler);
    sender.send(5).unwrap();
    scheduler.run().unwrap();
    assert!(victim.join().unwrap_err().is_cancelled());
    assert_eq!(answered.recv(), Ok(5));
}

#[test]
fn either_end_may_go_at_any_moment_on_another_thread() {
    ends(|| {
        let (remote, drops) = (Remote::start(), Drops::default());
        for round in 0..2_000 {
            let (sender, receiver) = oneshot::channel();
            let message = drops.one();
            let receives = remote.handle.spawn(move || match round % 3 {
                0 => receiver.recv().is_ok(),
                1 => receiver.recv_timeout(Duration::from_micros(30)).is_ok(),
                _ => receiver.try_recv().is_ok(),
            });
            if round % 5 == 0 {
                thread::yield_now();
            }
            if round % 7 == 0 {
                receives.cancel();
            }
            let sent = sender.send(message).is_ok();
            let received = receives.join().unwrap_or(false);
            assert!(sent || !received, "it was given back, too");
            assert!(received || round % 3 > 0 || round % 7 == 0, "it was lost");
            assert_eq!(drops.count(), round + 1);
        }
        remote.stop();
    });
}

// ---- memory ----

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_channel_for_one_message_is_one_allocation() {
    scheduler().block_on(|| {
        let sent_first = allocations(|| {
            let (sender, receiver) = oneshot::channel();
            sender.send([0u64; 9]).unwrap();
            receiver.recv().unwrap();
        });
        assert_eq!(sent_first, 1);
    });
}

#[test]
fn messages_that_go_to_and_fro_allocate_nothing() {
    ends(|| {
        let (ping, balls) = mpsc::sync_channel(1);
        let (pong, back) = mpsc::sync_channel(0);
        let queue = Queue::unbounded();
        spawn(move || balls.iter().for_each(|ball: u64| pong.send(ball).unwrap()));
        let referee = spawn(move || {
            let trip = || {
                ping.send(1).unwrap();
                queue.put(back.recv().unwrap()).unwrap();
                yield_now();
                queue.get().unwrap();
            };
            (0..100).for_each(|_| trip());
            allocations(|| (0..1_000).for_each(|_| trip()))
        });
        assert_eq!(referee.join().unwrap(), 0);
    });
}

#[test]
fn a_wait_for_several_things_allocates_nothing() {
    ends(|| {
        let (ping, balls) = mpsc::sync_channel(1);
        let (pong, back) = mpsc::sync_channel(0);
        let (_sender, silent) = mpsc::channel::<()>();
        spawn(move || balls.iter().for_each(|ball: u64| pong.send(ball).unwrap()));
        let referee = spawn(move || {
            let trip = || {
                ping.send(1).unwrap();
                select! {
                    recv(back) -> ball => assert_eq!(ball, Ok(1)),
                    recv(silent) -> _ => unreachable!("nothing is sent"),
                }
            };
            (0..100).for_each(|_| trip());
            allocations(|| (0..1_000).for_each(|_| trip()))
        });
        assert_eq!(referee.join().unwrap(), 0);
    });
}
