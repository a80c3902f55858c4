//! Waiting for the first of several things: all kinds of arms, what is chosen, fairness, and what the macro makes of it.

mod common;

use common::{ends, scheduler, settle, Remote, LONG};
use multitask::select::{Select, TrySelectError};
use multitask::sync::{mpmc, mpsc, oneshot, GetError, PutError, Queue};
use multitask::task::{self, JoinHandle};
use multitask::{select, spawn, yield_now, Scheduler};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

// ---- each kind of arm ----

#[test]
fn an_arm_that_is_ready_is_chosen_without_a_wait() {
    let (sender, receiver) = mpsc::channel();
    let (full, _kept) = mpsc::sync_channel::<u8>(0);
    sender.send('a').unwrap();
    let got = select! {
        recv(receiver) -> message => message,
        send(full, 1) -> _ => unreachable!("nobody receives"),
        default => unreachable!("there is one"),
    };
    assert_eq!(got, Ok('a'));
}

#[test]
fn every_kind_of_receiver_and_sender_is_an_arm() {
    let queue = Arc::new(Queue::bounded(1));
    let (sync, from_sync) = mpsc::sync_channel(1);
    let (async_, from_async) = mpsc::channel();
    let (many, from_many) = mpmc::sync_channel(1);
    let (once, from_once) = oneshot::channel();
    select! { send(queue, 1) -> put => assert_eq!(put, Ok(())) }
    select! { send(sync, 2) -> sent => sent.unwrap() }
    select! { send(&async_, 3) -> sent => sent.unwrap() }
    select! { send(&&many, 4) -> sent => sent.unwrap() }
    once.send(5).unwrap();
    let mut got = Vec::new();
    while got.len() < 5 {
        select! {
            recv(queue) -> item => got.push(item.unwrap()),
            recv(&from_sync) -> message => got.push(message.unwrap()),
            recv(from_async) -> message => got.push(message.unwrap()),
            recv(&&from_many) -> message => got.push(message.unwrap()),
            // Once it was received it is ready for ever, with an error.
            recv(from_once) -> message => got.extend(message.ok()),
        }
    }
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3, 4, 5]);
}

#[test]
fn a_closed_channel_is_ready_and_says_so() {
    let (sender, receiver) = mpsc::channel::<()>();
    drop(sender);
    assert_eq!(
        select! { recv(receiver) -> message => message },
        Err(mpsc::RecvError)
    );
    let (sender, receiver) = mpsc::sync_channel(0);
    drop(receiver);
    assert_eq!(
        select! { send(sender, 5) -> sent => sent },
        Err(mpsc::SendError(5))
    );
    let queue = Queue::<u8>::unbounded();
    queue.close();
    assert_eq!(
        select! { recv(queue) -> item => item },
        Err(GetError::Closed)
    );
    assert_eq!(
        select! { send(queue, 6) -> put => put },
        Err(PutError::Closed(6))
    );
}

#[test]
fn a_close_ends_the_wait_for_each_side() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::channel::<()>();
    let (full, kept) = mpsc::sync_channel::<u8>(0);
    let told = [
        scheduler.spawn(
            move || select! { recv(receiver) -> message => message.is_err(), after(LONG) => false },
        ),
        scheduler.spawn(
            move || select! { send(full, 1) -> sent => sent.is_err(), after(LONG) => false },
        ),
    ];
    settle(&scheduler);
    assert!(told.iter().all(|task| !task.is_finished()));
    drop((sender, kept));
    scheduler.run().unwrap();
    assert!(told.into_iter().all(|task| task.join().unwrap()));
}

#[test]
fn a_message_that_comes_ends_the_wait() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::sync_channel(0);
    let (_other, silent) = mpsc::channel::<()>();
    let waiting = scheduler.spawn(move || {
        select! {
            recv(silent) -> _ => unreachable!("nothing is sent"),
            recv(receiver) -> message => message,
        }
    });
    settle(&scheduler);
    assert!(!waiting.is_finished());
    // It is handed over: who waits in a `select!` is met, as any receiver.
    sender.try_send('a').unwrap();
    scheduler.run().unwrap();
    assert_eq!(waiting.join().unwrap(), Ok('a'));
}

#[test]
fn room_that_comes_ends_the_wait_and_is_kept() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::sync_channel(1);
    sender.send(1).unwrap();
    let shared = sender.clone();
    let waiting = scheduler.spawn(move || select! { send(shared, 2) -> sent => sent });
    settle(&scheduler);
    assert_eq!(receiver.try_recv(), Ok(1));
    // Though it has not run yet.
    assert_eq!(sender.try_send(9), Err(mpsc::TrySendError::Full(9)));
    scheduler.run().unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert_eq!(receiver.try_recv(), Ok(2));
    sender.try_send(3).unwrap();
}

#[test]
fn with_a_capacity_of_zero_a_selected_send_and_a_recv_meet() {
    let scheduler = Scheduler::new().unwrap();
    // The sender comes first, then the receiver; each of the other kind, and both of this one.
    for (sends_first, both) in [(true, false), (false, false), (true, true), (false, true)] {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (_other, silent) = mpsc::channel::<()>();
        let (also, _kept) = mpsc::sync_channel::<()>(0);
        let send = move || {
            select! {
                send(also, ()) -> _ => unreachable!("nobody receives"),
                send(sender, 'a') -> sent => sent.unwrap(),
            }
        };
        let receive = move || match both {
            false => receiver.recv().unwrap(),
            true => select! {
                recv(silent) -> _ => unreachable!("nothing is sent"),
                recv(receiver) -> message => message.unwrap(),
            },
        };
        let (sends, receives);
        if sends_first {
            sends = scheduler.spawn(send);
            settle(&scheduler);
            assert!(!sends.is_finished());
            receives = scheduler.spawn(receive);
        } else {
            receives = scheduler.spawn(receive);
            settle(&scheduler);
            assert!(!receives.is_finished());
            sends = scheduler.spawn(send);
        }
        scheduler.run().unwrap();
        sends.join().unwrap();
        assert_eq!(receives.join().unwrap(), 'a');
    }
}

#[test]
fn nobody_meets_himself() {
    let scheduler = Scheduler::new().unwrap();
    for receives_first in [true, false] {
        let (sender, receiver) = mpmc::sync_channel(0);
        let waits = scheduler.spawn({
            let (sender, receiver) = (sender.clone(), receiver.clone());
            move || match receives_first {
                true => select! {
                    recv(receiver) -> message => message.unwrap(),
                    send(sender, 1) -> _ => 0,
                },
                false => select! {
                    send(sender, 1) -> _ => 0,
                    recv(receiver) -> message => message.unwrap(),
                },
            }
        });
        settle(&scheduler);
        assert!(!waits.is_finished());
        // It waits, and does not go round: nothing of it is ready.
        assert_eq!(scheduler.turn(Some(Duration::ZERO)).unwrap(), 0);
        sender.try_send(2).unwrap();
        scheduler.run().unwrap();
        assert_eq!(waits.join().unwrap(), 2);
        assert_eq!(receiver.try_recv(), Err(mpmc::TryRecvError::Empty));
    }
}

#[test]
fn a_receiver_that_called_a_selecting_sender_is_served_by_that_one() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::sync_channel(0);
    let selects = {
        let sender = sender.clone();
        scheduler.spawn(move || select! { send(sender, 1) -> sent => sent, after(LONG) => Ok(()) })
    };
    settle(&scheduler);
    let received = scheduler.block_on(move || {
        let receives = spawn(move || receiver.recv());
        // It has called the sender, which has not gone on yet.
        yield_now();
        assert_eq!(sender.try_send(2), Err(mpmc::TrySendError::Full(2)));
        select! {
            send(sender, 3) -> _ => unreachable!("it is promised to the other"),
            default => {}
        }
        receives.join().unwrap()
    });
    assert_eq!(received, Ok(1));
    assert_eq!(selects.join().unwrap(), Ok(()));
}

#[test]
fn a_sender_that_was_called_by_a_receiver_that_is_gone_waits_on() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::sync_channel(0);
    let sends = scheduler
        .spawn(move || select! { send(sender, 1) -> sent => sent, after(LONG) => unreachable!() });
    settle(&scheduler);
    let calls = receiver.clone();
    let second = receiver.clone();
    scheduler.block_on(move || {
        // It calls the sender and waits; it is cancelled before that has gone on, and somebody else comes.
        let caller = spawn(move || calls.recv());
        let cancels = spawn(move || caller.cancel());
        cancels.join().unwrap();
    });
    settle(&scheduler);
    assert!(!sends.is_finished());
    assert_eq!(scheduler.block_on(|| second.recv()), Ok(1));
    scheduler.run().unwrap();
    assert_eq!(sends.join().unwrap(), Ok(()));
}

#[test]
fn a_descriptor_is_chosen_when_it_is_ready_and_not_before() {
    let body = || {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_sender, receiver) = mpsc::channel::<()>();
        select! {
            recv(receiver) -> _ => unreachable!("nothing is sent"),
            readable(ours) => unreachable!("there is nothing to read"),
            default(SHORT) => {}
        }
        theirs.write_all(b"x").unwrap();
        select! {
            recv(receiver) -> _ => unreachable!("nothing is sent"),
            readable(&ours) -> ready => ready.unwrap(),
        }
        assert_eq!((&ours).read(&mut [0; 9]).unwrap(), 1);
        select! {
            readable(&ours) => unreachable!("there is nothing to read"),
            writable(&ours) -> ready => ready.unwrap(),
        }
    };
    ends(move || {
        body();
        scheduler().block_on(body);
    });
}

#[test]
fn data_that_comes_later_ends_the_wait_of_a_task_and_of_a_thread() {
    ends(|| {
        let read = |ours: UnixStream, silent: mpsc::Receiver<()>| {
            for _ in 0..10 {
                select! {
                    recv(silent) -> _ => unreachable!("nothing is sent"),
                    readable(ours) -> ready => ready.unwrap(),
                }
                assert_eq!((&ours).read(&mut [0]).unwrap(), 1);
                (&ours).write_all(b"y").unwrap();
            }
        };
        let ask = |mut theirs: UnixStream| {
            for _ in 0..10 {
                theirs.write_all(b"x").unwrap();
                theirs.read_exact(&mut [0]).unwrap();
            }
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_sender, silent) = mpsc::channel();
        let asks = thread::spawn(move || ask(theirs));
        read(ours, silent);
        asks.join().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_sender, silent) = mpsc::channel();
        let asks = thread::spawn(move || ask(theirs));
        scheduler().block_on(|| read(ours, silent));
        asks.join().unwrap();
    });
}

#[test]
fn a_message_ends_the_wait_of_a_plain_thread_that_waits_for_a_descriptor_too() {
    ends(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (sender, receiver) = mpsc::sync_channel(0);
        let sends = thread::spawn(move || sender.send(5).unwrap());
        let got = select! {
            readable(ours) => unreachable!("there is nothing to read"),
            recv(receiver) -> message => message.unwrap(),
        };
        assert_eq!(got, 5);
        sends.join().unwrap();
    });
}

#[test]
fn the_end_of_a_task_is_chosen_and_its_result_is_what_join_says() {
    let scheduler = scheduler();
    let (sender, receiver) = mpsc::channel::<()>();
    let slow = scheduler.spawn(task::park);
    let quick = scheduler.spawn(|| {
        yield_now();
        "done"
    });
    let waits = scheduler.spawn(move || {
        let first = select! {
            join(slow) -> _ => unreachable!("it is parked"),
            recv(receiver) -> _ => unreachable!("nothing is sent"),
            join(quick) -> result => result.unwrap(),
        };
        slow.cancel();
        let second = select! {
            recv(receiver) -> _ => unreachable!("nothing is sent"),
            join(slow) -> result => result.unwrap_err(),
        };
        (first, second.is_cancelled())
    });
    scheduler.run().unwrap();
    assert_eq!(waits.join().unwrap(), ("done", true));
    drop(sender);
}

#[test]
fn a_plain_thread_runs_the_scheduler_whose_task_it_waits_for() {
    ends(|| {
        let (_sender, receiver) = mpsc::channel::<()>();
        let body = |handle: JoinHandle<i32>| {
            select! {
                recv(receiver) -> _ => unreachable!("nothing is sent"),
                join(handle) -> result => result.unwrap(),
            }
        };
        assert_eq!(body(spawn(|| 1)), 1);
        let scheduler = scheduler();
        assert_eq!(body(scheduler.spawn(|| 2)), 2);
        let remote = Remote::start();
        assert_eq!(body(remote.handle.spawn(|| 3)), 3);
        remote.stop();
        let fields = (spawn(|| 4), ());
        assert_eq!(select! { join(fields.0) -> result => result.unwrap() }, 4);
    });
}

#[test]
fn the_earliest_moment_is_chosen_and_not_before_its_time() {
    let body = || {
        let start = Instant::now();
        select! {
            after(LONG) => unreachable!("in an hour"),
            at(start + SHORT) => {}
            after(Duration::MAX) => unreachable!("never"),
            default(LONG) => unreachable!("in an hour"),
        }
        assert!(start.elapsed() >= SHORT);
        let start = Instant::now();
        let (_sender, receiver) = mpsc::channel::<()>();
        select! {
            recv(receiver) -> _ => unreachable!("nothing is sent"),
            after(LONG) => unreachable!("in an hour"),
            default(SHORT) => {}
        }
        assert!(start.elapsed() >= SHORT);
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn default_is_for_when_nothing_is_ready_and_only_then() {
    let (sender, receiver) = mpsc::channel();
    let look = || select! { recv(receiver) -> message => message.ok(), default => None };
    assert_eq!(look(), None);
    sender.send(1).unwrap();
    assert_eq!(look(), Some(1));
    assert_eq!(select! { default => 5 }, 5);
    assert_eq!(
        select! { default(Duration::ZERO) => 6, recv(receiver) -> _ => 7 },
        6
    );
}

// ---- the macro as such ----

#[test]
fn bodies_are_the_callers_code() {
    fn first(receiver: &mpsc::Receiver<i32>) -> Result<i32, mpsc::RecvError> {
        loop {
            select! {
                recv(receiver) -> message => match message? {
                    0 => continue,
                    1 => break,
                    n => return Ok(n),
                },
            }
        }
        Ok(-1)
    }
    let (sender, receiver) = mpsc::channel();
    [0, 0, 7, 0, 1]
        .iter()
        .for_each(|n| sender.send(*n).unwrap());
    assert_eq!((first(&receiver), first(&receiver)), (Ok(7), Ok(-1)));
    drop(sender);
    assert_eq!(first(&receiver), Err(mpsc::RecvError));
}

#[test]
fn what_arms_are_about_is_evaluated_once_and_values_only_when_chosen() {
    let evaluated = RefCell::new(Vec::new());
    let (full, _kept) = mpsc::sync_channel(0);
    let (roomy, receiver) = mpsc::sync_channel(1);
    fn note<T>(log: &RefCell<Vec<&'static str>>, name: &'static str, value: T) -> T {
        log.borrow_mut().push(name);
        value
    }
    select! {
        send(note(&evaluated, "full", &full), note(&evaluated, "lost", 1)) -> _ => unreachable!(),
        send(note(&evaluated, "roomy", roomy.clone()), note(&evaluated, "sent", 2)) -> sent => sent.unwrap(),
    }
    assert_eq!(*evaluated.borrow(), ["full", "roomy", "sent"]);
    assert_eq!(receiver.recv(), Ok(2));
}

#[test]
fn a_value_whose_arm_is_not_chosen_stays_with_its_owner_from_round_to_round() {
    let (full, kept) = mpsc::sync_channel(0);
    let (sender, receiver) = mpsc::channel();
    (0..3).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    let value = String::from("not a copy");
    let mut seen = 0;
    let value = loop {
        select! {
            send(full, value) -> _ => unreachable!("nobody receives"),
            recv(receiver) -> message => match message {
                Ok(_) => seen += 1,
                Err(_) => break value,
            }
        }
    };
    assert_eq!((seen, value.as_str()), (3, "not a copy"));
    drop((receiver, kept, full));
}

#[test]
fn the_bodies_own_what_the_arms_had_borrowed() {
    let (sender, mut receiver) = mpsc::channel();
    sender.send(1).unwrap();
    select! {
        recv(receiver) -> message => {
            assert_eq!(message, Ok(1));
            drop(sender);
            receiver = mpsc::channel::<i32>().1;
        }
        send(sender, 5) -> _ => receiver = mpsc::channel().1,
    }
    assert!(receiver.recv().is_err() || receiver.try_recv().is_err());
}

#[test]
fn there_may_be_many_arms() {
    let (sender, receiver) = mpsc::channel();
    let (_other, silent) = mpsc::channel::<()>();
    sender.send(1).unwrap();
    let got = select! {
        recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0,
        recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0,
        recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0,
        recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0,
        recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0,
        recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0, recv(silent) -> _ => 0,
        recv(receiver) -> message => message.unwrap(),
    };
    assert_eq!(got, 1);
}

// ---- a number of arms known at run time ----

#[test]
fn a_select_can_be_used_again_and_arms_be_removed() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..5).map(|_| mpsc::channel()).unzip();
    senders
        .iter()
        .zip(0..)
        .for_each(|(sender, n)| sender.send(n).unwrap());
    let mut select = Select::new();
    assert_eq!(select.try_select().unwrap_err(), TrySelectError);
    let indices: Vec<_> = receivers
        .iter()
        .map(|receiver| select.recv(receiver))
        .collect();
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    select.remove(3);
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let operation = select.select();
        let index = operation.index();
        assert_eq!(operation.recv(&receivers[index]), Ok(index));
        seen.insert(index);
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 4]));
    assert!(select.select_timeout(SHORT).is_err());
    assert!(select.select_deadline(Instant::now()).is_err());
    let soon = select.after(SHORT);
    assert_eq!(select.select().index(), soon);
}

#[test]
fn an_operation_that_is_dropped_is_undone() {
    let (sender, receiver) = mpsc::sync_channel(1);
    let mut select = Select::new();
    select.send(&sender);
    drop(select.select());
    sender.try_send(1).unwrap();
    let mut select = Select::new();
    select.recv(&receiver);
    drop(select.select());
    assert_eq!(
        sender.try_send(2),
        Err(mpsc::TrySendError::Full(2)),
        "it is there again"
    );
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
fn a_message_that_came_back_is_received_first_and_no_more_come_in_meanwhile() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::sync_channel(1);
    for n in 0..3 {
        let sender = sender.clone();
        scheduler.spawn(move || sender.send(n).unwrap());
    }
    settle(&scheduler);
    let mut select = Select::new();
    select.recv(&receiver);
    drop(select.select());
    settle(&scheduler);
    assert_eq!((receiver.len(), receiver.is_full()), (2, true));
    assert_eq!((receiver.try_recv(), receiver.len()), (Ok(0), 1));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    scheduler.run().unwrap();
}

#[test]
fn an_operation_that_is_dropped_after_a_wait_is_undone() {
    let scheduler = Scheduler::new().unwrap();
    // What was handed over goes to the next one.
    let (sender, receiver) = mpmc::sync_channel(0);
    let (first, second) = (receiver.clone(), receiver);
    let drops_it = scheduler.spawn(move || {
        let mut select = Select::new();
        select.recv(&first);
        drop(select.select());
    });
    settle(&scheduler);
    let next = scheduler.spawn(move || second.recv());
    settle(&scheduler);
    sender.try_send(1).unwrap();
    scheduler.run().unwrap();
    drops_it.join().unwrap();
    assert_eq!(next.join().unwrap(), Ok(1));
    // And so does a receiver that was met.
    let (sender, receiver) = mpmc::sync_channel(0);
    let waits = scheduler.spawn(move || receiver.recv());
    settle(&scheduler);
    let shared = sender.clone();
    scheduler.block_on(move || {
        let mut select = Select::new();
        select.send(&shared);
        let operation = select.select();
        yield_now();
        assert_eq!(
            shared.try_send(8),
            Err(mpmc::TrySendError::Full(8)),
            "it is taken"
        );
        drop(operation);
    });
    settle(&scheduler);
    sender.try_send(2).unwrap();
    scheduler.run().unwrap();
    assert_eq!(waits.join().unwrap(), Ok(2));
}

#[test]
fn a_value_that_panics_while_it_is_made_gives_room_and_receiver_back() {
    let scheduler = Scheduler::new().unwrap();
    for capacity in [0, 1] {
        let (sender, receiver) = mpsc::sync_channel(capacity);
        let (first, second) = (sender.clone(), sender);
        let receives = scheduler.spawn(move || receiver.recv());
        settle(&scheduler);
        let panics = scheduler.spawn(move || {
            let none: fn() -> i32 = || std::panic::resume_unwind(Box::new("no value"));
            select! { send(first, none()) -> _ => {} }
        });
        settle(&scheduler);
        assert!(panics.join().is_err());
        second.try_send(5).unwrap();
        scheduler.run().unwrap();
        assert_eq!(receives.join().unwrap(), Ok(5));
    }
}

#[test]
fn an_operation_is_completed_on_what_it_was_about() {
    let (_senders, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel::<i32>()).unzip();
    let (sender, receiver) = mpsc::sync_channel(1);
    sender.send(1).unwrap();
    let mut select = Select::new();
    select.recv(&receiver);
    let wrong = catch_unwind(AssertUnwindSafe(|| select.select().recv(&receivers[0])));
    assert!(wrong.is_err());
    let wrong = catch_unwind(AssertUnwindSafe(|| select.select().send(&sender, 2)));
    assert!(wrong.is_err());
    let operation = select.select();
    assert_eq!(
        operation.recv(&receiver),
        Ok(1),
        "it was given back each time"
    );
}

#[test]
fn descriptors_and_tasks_are_arms_of_a_select_too() {
    let scheduler = scheduler();
    scheduler.block_on(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ends = spawn(yield_now);
        let mut select = Select::new();
        let readable = select.readable(&ours);
        let join = select.join(&mut ends);
        assert_eq!(select.select().index(), join);
        select.remove(join);
        for _ in 0..3 {
            theirs.write_all(b"x").unwrap();
            let operation = select.select();
            assert_eq!(operation.index(), readable);
            operation.ready().unwrap();
            assert_eq!((&ours).read(&mut [0; 9]).unwrap(), 1);
            assert!(select.select_timeout(SHORT).is_err());
        }
        let writable = select.writable(&ours);
        assert_eq!(select.select().index(), writable);
    });
}

// ---- fairness ----

#[test]
fn of_several_arms_that_are_ready_each_is_chosen() {
    let (a, from_a) = mpsc::channel();
    let (b, from_b) = mpsc::channel();
    let (to, _kept) = mpsc::channel();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut counts = [0; 5];
    for _ in 0..1_000 {
        a.send(()).unwrap();
        b.send(()).unwrap();
        let chosen = select! {
            recv(from_a) -> _ => 0,
            recv(from_b) -> _ => 1,
            send(to, ()) -> _ => 2,
            writable(ours) => 3,
            at(Instant::now()) => 4,
        };
        counts[chosen] += 1;
    }
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}

#[test]
fn who_waits_in_a_select_is_served_in_the_order_in_which_all_came() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::sync_channel(1);
    let log = Rc::new(RefCell::new(Vec::new()));
    for number in 0..6 {
        let (receiver, log) = (receiver.clone(), log.clone());
        scheduler.spawn_local(move || {
            let message = match number % 2 {
                0 => receiver.recv().unwrap(),
                _ => select! { recv(receiver) -> message => message.unwrap(), after(LONG) => 99 },
            };
            log.borrow_mut().push((number, message));
        });
    }
    settle(&scheduler);
    (0..6).for_each(|n| sender.try_send(n).unwrap());
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), Vec::from_iter((0..6).map(|n| (n, n))));
    // The same for room.
    sender.send(10).unwrap();
    for number in 11..17 {
        let sender = sender.clone();
        scheduler.spawn(move || match number % 2 {
            0 => sender.send(number).unwrap(),
            _ => select! { send(sender, number) -> sent => sent.unwrap(), after(LONG) => {} },
        });
    }
    settle(&scheduler);
    for number in 10..17 {
        assert_eq!(receiver.try_recv(), Ok(number));
        settle(&scheduler);
    }
    scheduler.run().unwrap();
}
