//! Waiting for the first of several things, interrupted and in a crowd: nothing is lost, nothing is there twice.

mod common;

use common::{ends, settle, Crowd, Dropped, Drops, OnDrop, Random, LONG};
use multitask::sync::{mpmc, mpsc, oneshot, Queue};
use multitask::{select, spawn, task, timeout, timeout_at, yield_now, Scheduler, Timeout};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

// ---- interruption ----

/// Each way to wait for what does not come.
fn waits(drops: &Drops) -> Vec<Box<dyn FnOnce() + Send>> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let value = drops.one();
    vec![
        Box::new(|| {
            let (_sender, silent) = mpmc::channel::<()>();
            let queue = Arc::new(Queue::<()>::bounded(0));
            select! { recv(silent) -> _ => {}, recv(queue) -> _ => {} }
        }),
        Box::new(move || {
            let (full, _kept) = mpsc::sync_channel(0);
            let (_once, never) = oneshot::channel::<()>();
            select! { send(full, value) -> _ => {}, recv(never) -> _ => {} }
        }),
        Box::new(move || {
            let _open = theirs;
            select! { readable(ours) => {}, after(LONG) => {} }
        }),
        Box::new(|| {
            let parked = spawn(task::park);
            select! {
                join(parked) -> _ => {}
                at(Instant::now() + LONG) => {}
                default(LONG) => {}
            }
        }),
    ]
}

#[test]
fn a_wait_that_is_cancelled_or_expires_unwinds_and_leaves_nothing_behind() {
    let scheduler = Scheduler::new().unwrap();
    for scoped in [false, true] {
        let (drops, unwound) = (Drops::default(), Drops::default());
        for (count, wait) in waits(&drops).into_iter().enumerate() {
            let one = unwound.one();
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
            assert_eq!(scheduler.block_on(|| handle.join()).is_err(), !scoped);
            assert_eq!(unwound.count(), count + 1);
        }
        assert_eq!(drops.count(), 1);
    }
}

#[test]
fn what_comes_after_an_interruption_goes_to_the_next_one() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpmc::sync_channel(0);
    let first = {
        let receiver = receiver.clone();
        scheduler
            .spawn(move || select! { recv(receiver) -> message => message, after(LONG) => Ok(0) })
    };
    settle(&scheduler);
    let second = scheduler.spawn(move || receiver.recv());
    settle(&scheduler);
    scheduler.block_on(move || {
        first.cancel();
        // It has not unwound yet.
        sender.try_send(5).unwrap();
        assert!(first.join().unwrap_err().is_cancelled());
        assert_eq!(second.join().unwrap(), Ok(5));
    });
}

#[test]
fn in_a_destructor_a_cancelled_task_selects_for_real() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let got = Rc::new(Cell::new(0));
    let seen = got.clone();
    let victim = scheduler.spawn_local(move || {
        let _selects = OnDrop(|| {
            select! { recv(receiver) -> message => seen.set(message.unwrap()), after(LONG) => {} }
        });
        task::park();
    });
    settle(&scheduler);
    victim.cancel();
    settle(&scheduler);
    assert!(!victim.is_finished());
    sender.send(7).unwrap();
    scheduler.run().unwrap();
    assert_eq!(got.get(), 7);
}

/// What has become of the messages.
#[derive(Clone, Default)]
struct Ledger {
    drops: Drops,
    made: Arc<AtomicUsize>,
    sent: Arc<Mutex<BTreeSet<usize>>>,
    received: Arc<Mutex<BTreeSet<usize>>>,
}

type Message = (usize, Dropped);

impl Ledger {
    fn make(&self) -> Message {
        (self.made.fetch_add(1, SeqCst), self.drops.one())
    }

    fn note_sent(&self, number: usize) {
        assert!(self.sent.lock().unwrap().insert(number));
    }

    fn note_received(&self, (number, _dropped): Message) {
        let new = self.received.lock().unwrap().insert(number);
        assert!(new, "message {number} was received twice");
    }

    /// `interrupted` senders could not note that their message was taken, or dropped it.
    fn check(&self, interrupted: usize) {
        let (sent, received) = (self.sent.lock().unwrap(), self.received.lock().unwrap());
        assert!(
            sent.is_subset(&received),
            "lost: {:?}",
            sent.difference(&received)
        );
        let made = self.made.load(SeqCst);
        assert!(made <= sent.len() + interrupted, "{made} {}", sent.len());
        assert_eq!(self.drops.count(), made, "each message is dropped once");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Interruption {
    Cancel,
    Scope,
    Own,
}

/// Two tasks exchange messages by `select!` over two channels, beside plain senders and receivers; the first is interrupted after so many
/// turns of the scheduler. True if that came before its end, and while
/// something went on.
fn interrupted_after(turns: usize, capacity: usize, interruption: Interruption) -> bool {
    let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
    // On a machine that has other things to do the time may be up too early.
    let interrupted =
        limits.find_map(|limit| interrupt_after(turns, limit, capacity, interruption));
    interrupted.expect("the limits go on for ever")
}

/// `None` if the time was up before the turns were over.
fn interrupt_after(
    turns: usize,
    limit: Duration,
    capacity: usize,
    interruption: Interruption,
) -> Option<bool> {
    const ROUNDS: usize = 4;
    let scheduler = Scheduler::new().unwrap();
    let ledger = Ledger::default();
    let (ping, balls) = mpmc::sync_channel::<Message>(capacity);
    let (pong, back) = mpmc::sync_channel::<Message>(capacity);
    let deadline = Instant::now() + limit;
    let own = if interruption == Interruption::Own {
        deadline
    } else {
        deadline + LONG
    };
    // Sends into one and receives from the other, whichever can be done.
    let play = |to: mpmc::Sender<Message>, from: mpmc::Receiver<Message>, until: Instant| {
        let ledger = ledger.clone();
        move || {
            for _ in 0..ROUNDS {
                let number;
                select! {
                    send(to, { let message = ledger.make(); number = message.0; message }) -> sent => {
                        if sent.is_ok() {
                            ledger.note_sent(number);
                        } else {
                            return;
                        }
                    }
                    recv(from) -> message => match message {
                        Ok(message) => ledger.note_received(message),
                        Err(_) => return,
                    },
                    at(until) => return,
                }
                yield_now();
            }
        }
    };
    let victim = play(ping.clone(), back.clone(), own);
    let scoped = interruption == Interruption::Scope;
    let victim = scheduler.spawn(move || match scoped {
        true => timeout_at(deadline, victim).is_ok(),
        false => {
            victim();
            true
        }
    });
    let partner = scheduler.spawn(play(pong.clone(), balls.clone(), deadline + LONG));
    let plain = {
        let (ledger, ping) = (ledger.clone(), ping.clone());
        scheduler.spawn(move || {
            let message = ledger.make();
            let number = message.0;
            if ping.send(message).is_ok() {
                ledger.note_sent(number);
            }
        })
    };
    let mut quiet = false;
    for _ in 0..turns {
        quiet = scheduler.turn(Some(Duration::ZERO)).unwrap() == 0;
    }
    let before = !victim.is_finished() && !quiet;
    let in_time = interruption == Interruption::Cancel || Instant::now() < deadline;
    match interruption {
        Interruption::Cancel => victim.cancel(),
        _ => thread::sleep(deadline.saturating_duration_since(Instant::now())),
    }
    drop((ping, pong));
    // The rest is exchanged with two that come late.
    for rest in [balls, back] {
        let ledger = ledger.clone();
        scheduler.spawn(move || {
            rest.iter()
                .for_each(|message| ledger.note_received(message))
        });
    }
    scheduler.run().unwrap();
    plain.join().unwrap();
    partner.join().unwrap();
    assert!(victim.join().is_ok() || interruption == Interruption::Cancel);
    ledger.check(1);
    in_time.then_some(before)
}

#[test]
fn an_interruption_at_any_point_loses_and_doubles_no_message() {
    ends(|| {
        for capacity in [0, 1, 2, usize::MAX] {
            for interruption in [Interruption::Cancel, Interruption::Scope, Interruption::Own] {
                let before = |turns: &usize| interrupted_after(*turns, capacity, interruption);
                let points = (0..).take_while(before).count();
                assert!(points > 2, "{capacity} {interruption:?}");
            }
        }
    });
}

// ---- threads and schedulers ----

/// Exchanges of every kind between tasks of two schedulers and threads, some of which are cancelled.
fn mixed(capacity: usize, seed: u64) {
    const EACH: usize = 200;
    let ledger = Ledger::default();
    let over = Arc::new(AtomicBool::new(false));
    let (a, from_a) = mpmc::sync_channel::<Message>(capacity);
    let (b, from_b) = mpmc::sync_channel::<Message>(capacity);
    let crowd = Crowd::new(seed);
    let senders = [0, 1, 2, 3].map(|number| {
        let (a, b, ledger) = (a.clone(), b.clone(), ledger.clone());
        let left = AtomicUsize::new(EACH);
        crowd.run(
            number,
            Arc::new(move |random| {
                for _ in 0..random.below(10) {
                    if left.load(SeqCst) == 0 {
                        return false;
                    }
                    let number = Cell::new(0);
                    let make = || {
                        left.fetch_sub(1, SeqCst);
                        let message = ledger.make();
                        number.set(message.0);
                        message
                    };
                    let sent = match random.below(4) {
                        0 => a.send(make()).is_ok(),
                        1 => select! { send(a, make()) -> sent => sent.is_ok(), send(b, make()) -> sent => sent.is_ok() },
                        2 => select! {
                            send(b, make()) -> sent => sent.is_ok(),
                            default(Duration::from_micros(30)) => continue,
                        },
                        _ => select! { send(a, make()) -> sent => sent.is_ok(), default => continue },
                    };
                    assert!(sent);
                    ledger.note_sent(number.get());
                }
                left.load(SeqCst) > 0
            }),
        )
    });
    let receivers = [4, 5, 6, 7].map(|number| {
        let (from_a, from_b, ledger) = (from_a.clone(), from_b.clone(), ledger.clone());
        let over = over.clone();
        crowd.run(
            number,
            Arc::new(move |random| {
                for _ in 0..random.below(10) {
                    let received = match random.below(4) {
                        0 => from_b.recv_timeout(Duration::from_micros(30)).ok(),
                        1 => select! {
                            recv(from_a) -> message => message.ok(),
                            recv(from_b) -> message => message.ok(),
                            after(Duration::from_micros(300)) => None,
                        },
                        2 => select! {
                            recv(from_b) -> message => message.ok(),
                            recv(from_a) -> message => message.ok(),
                            default => None,
                        },
                        _ => from_a.recv_timeout(Duration::from_micros(300)).ok(),
                    };
                    match received {
                        Some(message) => ledger.note_received(message),
                        None if over.load(SeqCst) => return false,
                        None => {}
                    }
                }
                true
            }),
        )
    });
    drop((a, b));
    senders
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    over.store(true, SeqCst);
    receivers
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    for rest in [from_a, from_b] {
        rest.try_iter()
            .for_each(|message| ledger.note_received(message));
    }
    let interruptions = crowd.stop();
    ledger.check(interruptions);
}

#[test]
fn no_message_is_lost_or_doubled_between_tasks_of_two_schedulers_and_threads() {
    ends(|| {
        for seed in 0..5 {
            for capacity in [0, 1, 7, usize::MAX] {
                mixed(capacity, seed);
            }
        }
    });
}

#[test]
fn two_threads_that_select_meet_without_a_buffer() {
    ends(|| {
        const TRIPS: usize = 5_000;
        let (ping, balls) = mpsc::sync_channel(0);
        let (pong, back) = mpsc::sync_channel(0);
        let other = thread::spawn(move || {
            let (mut sent, mut received) = (0, 0);
            while sent < TRIPS || received < TRIPS {
                select! {
                    send(pong, sent) -> done => { done.unwrap(); sent += 1 }
                    recv(balls) -> ball => { assert_eq!(ball, Ok(received)); received += 1 }
                }
                if sent == TRIPS && received == TRIPS {
                    break;
                }
                if sent == TRIPS {
                    while received < TRIPS {
                        assert_eq!(balls.recv(), Ok(received));
                        received += 1
                    }
                }
                if received == TRIPS {
                    while sent < TRIPS {
                        pong.send(sent).unwrap();
                        sent += 1
                    }
                }
            }
        });
        let (mut sent, mut received) = (0, 0);
        while sent < TRIPS || received < TRIPS {
            match (sent < TRIPS, received < TRIPS) {
                (true, true) => select! {
                    recv(back) -> ball => { assert_eq!(ball, Ok(received)); received += 1 }
                    send(ping, sent) -> done => { done.unwrap(); sent += 1 }
                },
                (true, false) => {
                    ping.send(sent).unwrap();
                    sent += 1
                }
                _ => {
                    assert_eq!(back.recv(), Ok(received));
                    received += 1
                }
            }
        }
        other.join().unwrap();
    });
}

#[test]
fn a_selected_send_and_a_recv_on_another_thread_always_meet() {
    ends(|| {
        const TRIPS: usize = 20_000;
        let (sender, receiver) = mpsc::sync_channel(0);
        let receives = thread::spawn(move || {
            let mut pause = Random::new(5);
            for n in 0..TRIPS {
                (0..pause.below(200)).for_each(|_| std::hint::spin_loop());
                assert_eq!(receiver.recv(), Ok(n));
            }
        });
        let (_other, silent) = mpsc::channel::<()>();
        let mut pause = Random::new(6);
        for n in 0..TRIPS {
            (0..pause.below(200)).for_each(|_| std::hint::spin_loop());
            select! {
                send(sender, n) -> sent => sent.unwrap(),
                recv(silent) -> _ => unreachable!("nothing is sent"),
            }
        }
        receives.join().unwrap();
    });
}
