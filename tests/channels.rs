//! Channels: std's behaviour, order, hand-over, the end of one side, and what becomes of messages when waits end early.

mod common;

use common::{ends, settle, Crowd, Drops, OnDrop, LONG};
use common::{interrupts::Fates, scheduler};
use multitask::sync::{mpmc, mpsc, oneshot};
use multitask::task::{self, JoinHandle};
use multitask::{sleep, spawn, timeout, timeout_at, yield_now, Scheduler, Timeout};
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

// ---- std's behaviour ----

/// The same program over std's channels and threads, and over ours.
macro_rules! drop_in {
    ($name:ident, $($mpsc:ident)::+, $($thread:ident)::+) => {
        pub mod $name {
            use $($mpsc)::+::{self as mpsc, Receiver, RecvTimeoutError, Sender, SyncSender};
            use $($thread)::+ as thread;
            use std::error::Error;
            use std::fmt::Debug;
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::time::Duration;

            /// What happens, in the order in which it does.
            pub fn log() -> Vec<String> {
                let mut log = Vec::new();
                unbounded(&mut |line: &dyn Debug| log.push(format!("{line:?}")));
                bounded(&mut |line: &dyn Debug| log.push(format!("{line:?}")));
                rendezvous(&mut |line: &dyn Debug| log.push(format!("{line:?}")));
                iterators(&mut |line: &dyn Debug| log.push(format!("{line:?}")));
                words(&mut |line: &dyn Debug| log.push(format!("{line:?}")));
                log
            }

            fn unbounded(say: &mut dyn FnMut(&dyn Debug)) {
                let (sender, receiver): (Sender<i32>, Receiver<i32>) = mpsc::channel();
                say(&receiver.try_recv());
                say(&receiver.recv_timeout(Duration::from_millis(1)));
                say(&receiver.recv_timeout(Duration::ZERO));
                let other = sender.clone();
                let child = thread::spawn(move || (0..5).map(|n| other.send(n)).collect::<Vec<_>>());
                say(&child.join().unwrap());
                say(&(receiver.recv(), receiver.try_recv(), receiver.recv_timeout(Duration::MAX)));
                drop(sender);
                say(&(receiver.recv(), receiver.recv(), receiver.recv()));
                say(&(receiver.try_recv(), receiver.recv_timeout(Duration::MAX)));
                let (sender, receiver) = mpsc::channel();
                sender.send("kept").unwrap();
                drop(receiver);
                say(&sender.send("back").unwrap_err().0);
            }

            fn bounded(say: &mut dyn FnMut(&dyn Debug)) {
                let (sender, receiver): (SyncSender<i32>, Receiver<i32>) = mpsc::sync_channel(2);
                say(&(sender.send(1), sender.try_send(2), sender.try_send(3)));
                let other = sender.clone();
                let child = thread::spawn(move || other.send(4));
                say(&(receiver.recv(), receiver.recv(), receiver.recv()));
                say(&child.join().unwrap());
                sender.send(5).unwrap();
                sender.send(6).unwrap();
                let other = sender.clone();
                let child = thread::spawn(move || other.send(7).map_err(|error| error.0));
                while !matches!(receiver.try_recv(), Ok(5)) {}
                drop(receiver);
                // It may have come in, but it cannot have been received.
                let _either = child.join().unwrap();
                say(&(sender.send(8), sender.try_send(9)));
            }

            fn rendezvous(say: &mut dyn FnMut(&dyn Debug)) {
                let (sender, receiver) = mpsc::sync_channel(0);
                say(&(sender.try_send(1), receiver.try_recv()));
                say(&receiver.recv_timeout(Duration::from_millis(1)));
                let child = thread::spawn(move || {
                    for n in 0..3 {
                        sender.send(n).unwrap();
                    }
                    sender
                });
                say(&[receiver.recv(), receiver.recv(), receiver.recv()]);
                drop(child.join().unwrap());
                say(&receiver.recv_timeout(Duration::MAX).unwrap_err());
                assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
            }

            fn iterators(say: &mut dyn FnMut(&dyn Debug)) {
                let (sender, receiver) = mpsc::channel();
                (0..9).for_each(|n| sender.send(n).unwrap());
                say(&receiver.iter().take(3).collect::<Vec<_>>());
                say(&receiver.try_iter().take(3).collect::<Vec<_>>());
                (&receiver).into_iter().take(1).for_each(|n| say(&n));
                say(&(receiver.iter(), receiver.try_iter()));
                drop(sender);
                let rest = receiver.into_iter();
                say(&rest);
                say(&rest.collect::<Vec<_>>());
            }

            fn words(say: &mut dyn FnMut(&dyn Debug)) {
                let (unbounded, _receiver) = mpsc::channel::<()>();
                let (sender, receiver) = mpsc::sync_channel(1);
                say(&(&unbounded, &sender, &receiver));
                let errors: [Box<dyn Error>; 3] = [
                    Box::new(receiver.try_recv().unwrap_err()),
                    Box::new(sender.try_send(5).and_then(|()| sender.try_send(6)).unwrap_err()),
                    Box::new({ drop(receiver); sender.send(7).unwrap_err() }),
                ];
                errors.iter().for_each(|error| say(&(error, error.to_string())));
            }

            #[allow(dead_code)]
            fn whatever_the_message_is<T>() {
                fn steady<X: UnwindSafe + RefUnwindSafe + Unpin>() {}
                steady::<Sender<T>>();
                steady::<SyncSender<T>>();
                steady::<Receiver<T>>();
            }

            /// Which bounds hold. An inherent constant goes before that of a trait.
            pub fn auto_traits() -> [bool; 12] {
                type NotSend = std::rc::Rc<()>;
                type NotSync = std::cell::Cell<()>;
                [
                    <Sends<Sender<NotSync>>>::VALUE,
                    <Shares<Sender<NotSync>>>::VALUE,
                    <Sends<Sender<NotSend>>>::VALUE,
                    <Shares<Sender<NotSend>>>::VALUE,
                    <Sends<SyncSender<NotSync>>>::VALUE,
                    <Shares<SyncSender<NotSync>>>::VALUE,
                    <Sends<SyncSender<NotSend>>>::VALUE,
                    <Sends<Receiver<NotSync>>>::VALUE,
                    <Sends<Receiver<NotSend>>>::VALUE,
                    <Shares<Receiver<()>>>::VALUE,
                    <Sends<mpsc::Iter<'static, ()>>>::VALUE,
                    <Sends<mpsc::IntoIter<()>>>::VALUE,
                ]
            }

            use super::{NotSo as _, Sends, Shares};
        }
    };
}

struct Sends<X>(std::marker::PhantomData<X>);
struct Shares<X>(std::marker::PhantomData<X>);

trait NotSo {
    const VALUE: bool = false;
}
impl<X> NotSo for X {}
impl<X: Send> Sends<X> {
    const VALUE: bool = true;
}
impl<X: Sync> Shares<X> {
    const VALUE: bool = true;
}

drop_in!(stds, std::sync::mpsc, std::thread);
drop_in!(ours, multitask::sync::mpsc, multitask::task);
#[allow(dead_code)]
mod on_threads {
    use super::{NotSo, Sends, Shares};
    drop_in!(ours, multitask::sync::mpsc, std::thread);
}

#[test]
fn the_same_code_says_the_same_over_stds_channels_and_over_ours() {
    ends(|| {
        let expected = stds::log();
        assert!(expected.len() > 25);
        assert_eq!(on_threads::ours::log(), expected);
        assert_eq!(ours::log(), expected, "plain thread and its tasks");
        let scheduler = scheduler();
        assert_eq!(scheduler.block_on(ours::log), expected, "only tasks");
    });
}

#[test]
fn the_ends_go_where_stds_go_and_nowhere_else() {
    let expected = stds::auto_traits();
    assert_eq!(ours::auto_traits(), expected);
    assert!(expected.contains(&true) && expected.contains(&false));
    let mpmc = [
        <Shares<mpmc::Receiver<()>>>::VALUE,
        <Sends<mpmc::Receiver<Rc<()>>>>::VALUE,
    ];
    assert_eq!(mpmc, [true, false]);
}

// ---- order ----

#[test]
fn messages_are_received_in_the_order_in_which_they_were_sent() {
    let (sender, receiver) = mpsc::channel();
    (0..1_000).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert!(receiver.iter().eq(0..1_000));
}

#[test]
fn what_five_send_does_not_pile_up_before_the_one_who_receives_though_nothing_bounds_it() {
    const MESSAGES: usize = 50_000;
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let sent = Rc::new(Cell::new(0));
    for _ in 0..5 {
        let (sender, sent) = (sender.clone(), sent.clone());
        scheduler.spawn_local(move || {
            for _ in 0..MESSAGES {
                sent.set(sent.get() + 1);
                sender.send(()).unwrap();
            }
        });
    }
    drop(sender);
    let most = scheduler.block_on(|| {
        let backlogs = receiver
            .iter()
            .zip(1..)
            .map(|((), received)| sent.get() - received);
        backlogs.max().unwrap()
    });
    assert_eq!(sent.get(), 5 * MESSAGES);
    // Unslowed, five would leave four of five messages lying.
    assert!(most < MESSAGES / 4, "{most}");
}

#[test]
fn receivers_are_served_in_the_order_in_which_they_came() {
    let scheduler = Scheduler::new().unwrap();
    for capacity in [0, 1, usize::MAX] {
        let (sender, receiver) = mpmc::sync_channel(capacity);
        let log = Rc::new(RefCell::new(Vec::new()));
        for number in 0..10 {
            let (receiver, log) = (receiver.clone(), log.clone());
            scheduler.spawn_local(move || {
                let message = receiver.recv().unwrap();
                log.borrow_mut().push((number, message));
            });
        }
        settle(&scheduler);
        (0..10).for_each(|n| sender.try_send(n).unwrap());
        scheduler.run().unwrap();
        assert_eq!(*log.borrow(), Vec::from_iter((0..10).map(|n| (n, n))));
    }
}

#[test]
fn senders_are_served_in_the_order_in_which_they_came() {
    let scheduler = Scheduler::new().unwrap();
    for capacity in 0..3 {
        let (sender, receiver) = mpsc::sync_channel(capacity);
        for n in 0..10 {
            let sender = sender.clone();
            scheduler.spawn(move || sender.send(n).unwrap());
        }
        settle(&scheduler);
        for n in 0..10 - capacity {
            // Who waits moves in as soon as there is room, before anybody who comes now.
            assert_eq!(sender.try_send(99), Err(mpsc::TrySendError::Full(99)));
            assert_eq!(receiver.try_recv(), Ok(n), "capacity {capacity}");
        }
        scheduler.run().unwrap();
        assert_eq!(receiver.try_iter().count(), capacity);
    }
}

#[test]
fn with_a_bound_of_zero_a_send_ends_when_its_message_was_received_and_not_before() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::sync_channel(0);
    let sending = scheduler.spawn(move || {
        sender.send('a').unwrap();
        sender.send_timeout('b', SHORT).unwrap_err()
    });
    settle(&scheduler);
    assert!(!sending.is_finished());
    assert_eq!(receiver.try_recv(), Ok('a'));
    scheduler.run().unwrap();
    // Nobody met the second one.
    let error = sending.join().unwrap();
    assert_eq!(error, mpsc::SendTimeoutError::Timeout('b'));
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn both_ends_see_what_is_in_the_channel_and_which_it_is() {
    let (sender, receiver) = mpmc::sync_channel(2);
    let (stranger, strange) = mpmc::channel::<i32>();
    assert!(sender.same_channel(&sender.clone()) && !sender.same_channel(&stranger));
    assert!(receiver.same_channel(&receiver.clone()) && !receiver.same_channel(&strange));
    for expected in 0..=2 {
        assert_eq!((sender.len(), receiver.len()), (expected, expected));
        assert_eq!(
            (sender.is_empty(), sender.is_full()),
            (expected == 0, expected == 2)
        );
        assert_eq!(
            (receiver.is_empty(), receiver.is_full()),
            (expected == 0, expected == 2)
        );
        assert_eq!(sender.try_send(1).is_ok(), expected < 2);
    }
    assert_eq!((sender.capacity(), stranger.capacity()), (Some(2), None));
    assert!(!stranger.is_full() && strange.is_empty());
}

// ---- time limits ----

#[test]
fn a_message_that_is_here_is_taken_however_short_the_time() {
    let (sender, receiver) = mpsc::channel();
    (0..3).for_each(|n| sender.send(n).unwrap());
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(0));
    assert_eq!(receiver.recv_deadline(Instant::now()), Ok(1));
    assert_eq!(receiver.recv_timeout(LONG), Ok(2));
}

#[test]
fn a_bounded_wait_ends_when_its_time_is_up_and_not_before() {
    let body = || {
        let (sender, receiver) = mpsc::sync_channel(1);
        let start = Instant::now();
        assert_eq!(
            receiver.recv_timeout(SHORT),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        let deadline = start + 2 * SHORT;
        assert_eq!(
            receiver.recv_deadline(deadline),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        assert!(start.elapsed() >= 2 * SHORT);
        sender.send(0).unwrap();
        let start = Instant::now();
        let late = sender.send_timeout(1, SHORT).unwrap_err();
        assert_eq!(late, mpsc::SendTimeoutError::Timeout(1));
        let late = sender.send_deadline(2, start + 2 * SHORT).unwrap_err();
        assert_eq!(late, mpsc::SendTimeoutError::Timeout(2));
        assert!(start.elapsed() >= 2 * SHORT);
        drop(receiver);
        let gone = sender.send_timeout(3, LONG).unwrap_err();
        assert_eq!(gone, mpsc::SendTimeoutError::Disconnected(3));
    };
    body();
    scheduler().block_on(body);
}

// ---- the end of one side ----

#[test]
fn dropping_the_last_sender_wakes_every_receiver() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::channel::<i32>();
    let last = sender.clone();
    let waiting = [(); 3].map(|()| {
        let receiver = receiver.clone();
        scheduler.spawn(move || receiver.recv())
    });
    settle(&scheduler);
    drop(sender);
    settle(&scheduler);
    assert!(
        waiting.iter().all(|task| !task.is_finished()),
        "one is left"
    );
    drop(last);
    scheduler.run().unwrap();
    for task in waiting {
        assert_eq!(task.join().unwrap(), Err(mpmc::RecvError));
    }
}

#[test]
fn receivers_drain_the_channel_before_they_hear_that_no_sender_is_left() {
    let (sender, receiver) = mpmc::sync_channel(3);
    (0..3).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    let other = receiver.clone();
    assert_eq!(
        (receiver.recv(), other.recv(), receiver.recv()),
        (Ok(0), Ok(1), Ok(2))
    );
    assert_eq!(other.recv(), Err(mpmc::RecvError));
    assert_eq!(receiver.try_recv(), Err(mpmc::TryRecvError::Disconnected));
}

#[test]
fn dropping_the_last_receiver_wakes_every_sender_and_gives_its_message_back() {
    let scheduler = Scheduler::new().unwrap();
    for capacity in 0..3 {
        let (sender, receiver) = mpmc::sync_channel(capacity);
        let other = receiver.clone();
        (0..capacity).for_each(|_| sender.send(99).unwrap());
        let waiting = [1, 2, 3].map(|n| {
            let sender = sender.clone();
            scheduler.spawn(move || sender.send(n))
        });
        settle(&scheduler);
        drop(receiver);
        settle(&scheduler);
        assert!(
            waiting.iter().all(|task| !task.is_finished()),
            "one is left"
        );
        drop(other);
        scheduler.run().unwrap();
        let back = waiting.map(|task| task.join().unwrap());
        assert_eq!(back, [1, 2, 3].map(|n| Err(mpmc::SendError(n))));
        assert_eq!(sender.try_send(4), Err(mpmc::TrySendError::Disconnected(4)));
    }
}

#[test]
fn dropping_the_last_receiver_drops_what_is_queued_at_once() {
    let drops = Drops::default();
    let (sender, receiver) = mpsc::channel();
    (0..5).for_each(|_| sender.send(drops.one()).unwrap());
    drop(receiver);
    assert_eq!(drops.count(), 5, "though the sender is still there");
    drop(sender.send(drops.one()));
    assert_eq!(drops.count(), 6);
}

#[test]
fn a_queued_message_may_use_the_channel_and_wait_in_its_destructor() {
    let scheduler = scheduler();
    let (sender, receiver) = mpmc::channel();
    let seen = Rc::new(Cell::new(None));
    let (noted, again) = (seen.clone(), sender.clone());
    let message = OnDrop(move || {
        let outcome: Result<_, mpmc::SendError<Box<dyn std::any::Any>>> = again.send(Box::new(1));
        sleep(Duration::from_millis(1));
        noted.set(Some((outcome.is_err(), again.len())));
    });
    sender
        .send(Box::new(message) as Box<dyn std::any::Any>)
        .unwrap();
    scheduler.block_on(move || drop(receiver));
    assert_eq!(seen.get(), Some((true, 0)));
}

#[test]
fn a_message_handed_over_before_the_sender_went_arrives() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let waiting = scheduler.spawn(move || (receiver.recv(), receiver.recv()));
    settle(&scheduler);
    sender.send(1).unwrap();
    drop(sender);
    scheduler.run().unwrap();
    assert_eq!(waiting.join().unwrap(), (Ok(1), Err(mpsc::RecvError)));
}

#[test]
fn what_was_never_received_is_dropped_with_the_channel() {
    let drops = Drops::default();
    let (sender, receiver) = mpsc::channel();
    (0..5).for_each(|_| sender.send(drops.one()).unwrap());
    drop((receiver.recv(), sender));
    assert_eq!(drops.count(), 1);
    drop(receiver);
    assert_eq!(drops.count(), 5);
}

// ---- interruption at every point of suspension ----

/// How the one that is interrupted is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Interruption {
    Cancel,
    Scope,
    Own,
}

/// Receivers and senders go through a channel; the first of each side, in turn, is interrupted after `turns` turns of the
/// scheduler. True if that came before its end.
fn interrupted_after(
    turns: usize,
    capacity: usize,
    interruption: Interruption,
    sends: bool,
) -> bool {
    let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
    // On a machine that has other things to do the time may be up too early.
    let interrupted =
        limits.find_map(|limit| interrupt_after(turns, limit, capacity, interruption, sends));
    interrupted.expect("the limits go on for ever")
}

/// `None` if the time was up before the turns were over.
fn interrupt_after(
    turns: usize,
    limit: Duration,
    capacity: usize,
    interruption: Interruption,
    sends: bool,
) -> Option<bool> {
    const MESSAGES: usize = 3;
    let scheduler = Scheduler::new().unwrap();
    let fates = Fates::default();
    let (sender, receiver) = mpmc::sync_channel(capacity);
    // What an interruption by time waits for.
    let deadline = Instant::now() + limit;
    let own = interruption == Interruption::Own;
    let send = {
        let (sender, fates) = (sender.clone(), fates.clone());
        move |victim: bool| {
            (0..MESSAGES).for_each(|_| {
                fates.send(|message| match victim && own {
                    true => sender.send_deadline(message, deadline),
                    false => Ok(sender.send(message)?),
                });
                yield_now();
            });
        }
    };
    let receive = {
        let fates = fates.clone();
        move |victim: bool| loop {
            let received = match victim && own {
                true => receiver.recv_deadline(deadline),
                false => receiver.recv().map_err(Into::into),
            };
            match received {
                Ok(message) => fates.note_received(&message),
                Err(_) => return,
            }
        }
    };
    let scoped = interruption == Interruption::Scope;
    let victim = {
        let (send, receive) = (send.clone(), receive.clone());
        // It must not have the other end, which would never be the last one to go.
        let work: Box<dyn FnOnce() + Send> = match sends {
            true => Box::new(move || send(true)),
            false => Box::new(move || receive(true)),
        };
        scheduler.spawn(move || match scoped {
            true => timeout_at(deadline, work).is_ok(),
            false => {
                work();
                Instant::now() < deadline
            }
        })
    };
    let other = receive.clone();
    let others = [
        scheduler.spawn(move || send(false)),
        scheduler.spawn(move || other(false)),
    ];
    drop(sender);
    for _ in 0..turns {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    let before = !victim.is_finished();
    let in_time = interruption == Interruption::Cancel || Instant::now() < deadline;
    match interruption {
        Interruption::Cancel => victim.cancel(),
        Interruption::Scope | Interruption::Own => {
            thread::sleep(deadline.saturating_duration_since(Instant::now()));
        }
    }
    // The rest is received by somebody who comes late.
    scheduler.spawn(move || receive(false));
    scheduler.run().unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
    let ended = victim.join();
    assert!(ended.is_ok() || interruption == Interruption::Cancel);
    fates.check(1);
    in_time.then_some(before)
}

#[test]
fn an_interruption_at_any_point_loses_and_doubles_no_message() {
    ends(|| {
        for capacity in [0, 1, 2, usize::MAX] {
            for interruption in [Interruption::Cancel, Interruption::Scope, Interruption::Own] {
                for sends in [false, true] {
                    let points = (0..).take_while(|turns| {
                        interrupted_after(*turns, capacity, interruption, sends)
                    });
                    let points = points.count();
                    assert!(points > 2, "{capacity} {interruption:?} {sends}: {points}");
                }
            }
        }
    });
}

#[test]
fn a_receiver_that_is_cancelled_leaves_the_message_to_the_next_one() {
    let scheduler = Scheduler::new().unwrap();
    // It has unwound when the message comes, or is about to.
    for unwound in [true, false] {
        let (sender, receiver) = mpmc::channel();
        let tasks = [(); 2].map(|()| {
            let receiver = receiver.clone();
            scheduler.spawn(move || receiver.recv())
        });
        settle(&scheduler);
        let [first, second] = tasks;
        scheduler.block_on(move || {
            first.cancel();
            if unwound {
                yield_now();
            }
            sender.send('a').unwrap();
            assert!(first.join().unwrap_err().is_cancelled());
            assert_eq!(second.join().unwrap(), Ok('a'));
        });
    }
}

#[test]
fn a_sender_whose_scope_expires_drops_its_message_and_leaves_the_room_to_the_next_one() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    let (sender, receiver) = mpsc::sync_channel(0);
    let (first, second) = (sender.clone(), sender);
    let (one, two) = (drops.one(), drops.one());
    let late = scheduler.spawn(move || timeout(SHORT, || first.send((1, one))).map(drop));
    let waits = scheduler.spawn(move || second.send((2, two)).unwrap());
    settle(&scheduler);
    assert_eq!(scheduler.block_on(|| late.join().unwrap()), Err(Timeout));
    assert_eq!(drops.count(), 1);
    assert_eq!(receiver.try_recv().unwrap().0, 2);
    scheduler.run().unwrap();
    waits.join().unwrap();
}

#[test]
fn in_a_destructor_a_cancelled_task_waits_for_real() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::sync_channel(0);
    let (answer, answers) = mpsc::channel();
    let victim = scheduler.spawn(move || {
        let _answers = OnDrop(|| {
            answer.send(receiver.recv().unwrap()).unwrap();
            let timed = receiver.recv_timeout(SHORT);
            assert_eq!(timed, Err(mpsc::RecvTimeoutError::Timeout));
        });
        task::park();
    });
    settle(&scheduler);
    victim.cancel();
    settle(&scheduler);
    assert_eq!(answers.try_recv(), Err(mpsc::TryRecvError::Empty));
    scheduler.block_on(|| sender.send(5).unwrap());
    scheduler.run().unwrap();
    assert!(victim.join().unwrap_err().is_cancelled());
    assert_eq!(answers.recv(), Ok(5));
}

#[test]
fn in_a_destructor_a_bounded_wait_ends_with_the_scope_round_it() {
    let scheduler = Scheduler::new().unwrap();
    let victim = scheduler.spawn(|| {
        let _waits = OnDrop(|| {
            let (sender, receiver) = mpsc::sync_channel::<u32>(0);
            task::shield(|| {
                let received = timeout(SHORT, || receiver.recv_timeout(LONG));
                assert_eq!(received, Ok(Err(mpsc::RecvTimeoutError::Timeout)));
                let sent = timeout(SHORT, || sender.send_timeout(5, LONG));
                assert_eq!(sent, Ok(Err(mpsc::SendTimeoutError::Timeout(5))));
            });
        });
        task::park();
    });
    settle(&scheduler);
    victim.cancel();
    scheduler.run().unwrap();
    assert!(victim.join().unwrap_err().is_cancelled());
}

#[test]
fn in_a_destructor_a_bounded_wait_does_not_begin_when_the_scope_round_it_is_over() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let victim = scheduler.spawn(|| {
            let _waits = OnDrop(|| {
                let (sender, receiver) = mpsc::sync_channel::<u32>(0);
                let (_one, other) = oneshot::channel::<u32>();
                task::shield(|| {
                    let received = timeout(Duration::ZERO, || receiver.recv_timeout(LONG));
                    assert_eq!(received, Ok(Err(mpsc::RecvTimeoutError::Timeout)));
                    let sent = timeout(Duration::ZERO, || sender.send_timeout(5, LONG));
                    assert_eq!(sent, Ok(Err(mpsc::SendTimeoutError::Timeout(5))));
                    let received = timeout(Duration::ZERO, || other.recv_timeout(LONG));
                    assert!(received.unwrap().is_err());
                });
                // Nor does it hear that the task was cancelled: the time is up.
                let received = timeout(Duration::ZERO, || receiver.recv_timeout(LONG));
                assert_eq!(received, Ok(Err(mpsc::RecvTimeoutError::Timeout)));
            });
            task::park();
        });
        settle(&scheduler);
        victim.cancel();
        scheduler.run().unwrap();
        assert!(victim.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_panic_of_the_receivers_task_is_heard_by_the_sender() {
    let scheduler = scheduler();
    let (sender, receiver) = mpsc::sync_channel(0);
    let panics = scheduler.spawn(move || {
        let _first: i32 = receiver.recv().unwrap();
        std::panic::resume_unwind(Box::new("with the receiver"));
    });
    let outcome = scheduler.block_on(move || (sender.send(1), sender.send(2)));
    assert_eq!(outcome, (Ok(()), Err(mpsc::SendError(2))));
    assert!(panics.join().is_err());
}

#[test]
fn a_channel_is_out_of_bounds_for_a_predicate() {
    let queue = multitask::sync::Queue::from_iter([1]);
    let (sender, receiver) = mpsc::channel();
    let panics = catch_unwind(AssertUnwindSafe(|| {
        queue.get_matching(|_| {
            sender.send(1).unwrap();
            true
        })
    }));
    assert!(panics.is_err());
    assert_eq!(
        (queue.get(), receiver.try_recv()),
        (Ok(1), Err(mpsc::TryRecvError::Empty))
    );
}

// ---- threads and schedulers ----

#[test]
fn a_plain_thread_runs_its_tasks_while_it_waits() {
    let (to, from) = mpsc::sync_channel(0);
    let (back, answers) = mpsc::sync_channel(0);
    let echo: JoinHandle<()> =
        spawn(move || from.iter().for_each(|n: u32| back.send(n + 1).unwrap()));
    for n in 0..10 {
        to.send(n).unwrap();
        assert_eq!(answers.recv(), Ok(n + 1));
    }
    drop(to);
    echo.join().unwrap();
}

/// Senders and receivers of every kind, some of which are cancelled; the receivers may all go before the senders do.
fn mixed(capacity: usize, seed: u64, receivers_go_first: bool) {
    const EACH: usize = 300;
    let fates = Fates::default();
    let (sender, receiver) = mpmc::sync_channel(capacity);
    let crowd = Crowd::new(seed);
    let senders = [0, 1, 2, 3].map(|number| {
        let (sender, fates) = (sender.clone(), fates.clone());
        let left = AtomicUsize::new(EACH);
        crowd.run(
            number,
            Arc::new(move |random| {
                let going = (0..random.below(10)).all(|_| {
                    left.load(SeqCst) > 0
                        && fates.send(|message| {
                            left.fetch_sub(1, SeqCst);
                            match random.below(3) {
                                0 => sender.send_timeout(message, Duration::from_micros(20)),
                                1 => sender.try_send(message).map_err(|error| match error {
                                    mpmc::TrySendError::Full(message) => {
                                        mpmc::SendTimeoutError::Timeout(message)
                                    }
                                    mpmc::TrySendError::Disconnected(message) => {
                                        mpmc::SendTimeoutError::Disconnected(message)
                                    }
                                }),
                                _ => Ok(sender.send(message)?),
                            }
                        })
                });
                going && left.load(SeqCst) > 0
            }),
        )
    });
    drop(sender);
    let receivers = [4, 5, 6, 7].map(|number| {
        let (receiver, fates) = (receiver.clone(), fates.clone());
        let enough = if receivers_go_first { 40 } else { isize::MAX };
        let left = AtomicIsize::new(enough);
        crowd.run(
            number,
            Arc::new(move |random| {
                (0..random.below(10)).all(|_| {
                    let received = match random.below(3) {
                        0 => receiver.recv_timeout(Duration::from_micros(20)),
                        1 => receiver.try_recv().map_err(|error| match error {
                            mpmc::TryRecvError::Empty => mpmc::RecvTimeoutError::Timeout,
                            mpmc::TryRecvError::Disconnected => {
                                mpmc::RecvTimeoutError::Disconnected
                            }
                        }),
                        _ => receiver.recv().map_err(Into::into),
                    };
                    match received {
                        Ok(message) => {
                            fates.note_received(&message);
                            left.fetch_sub(1, SeqCst) > 1
                        }
                        Err(error) => error == mpmc::RecvTimeoutError::Timeout,
                    }
                }) && left.load(SeqCst) > 0
            }),
        )
    });
    drop(receiver);
    senders
        .into_iter()
        .chain(receivers)
        .for_each(|thread| thread.join().unwrap());
    let interruptions = crowd.stop();
    let made = fates.made();
    assert_eq!(fates.dropped(), made, "each message is dropped once");
    if !receivers_go_first {
        fates.check(interruptions);
    }
}

#[test]
fn no_message_is_lost_or_doubled_between_tasks_of_two_schedulers_and_threads() {
    ends(|| {
        for seed in 0..5 {
            for capacity in [0, 1, 7, usize::MAX] {
                mixed(capacity, seed, false);
            }
        }
    });
}

#[test]
fn receivers_may_go_while_messages_are_on_their_way() {
    ends(|| {
        for seed in 0..5 {
            for capacity in [0, 1, 7, usize::MAX] {
                mixed(capacity, seed, true);
            }
        }
    });
}
