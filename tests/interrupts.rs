//! What waits for several tasks or for one of several things, interrupted at its first suspension, at its second, and so on
//! until none is left: as `lock_interrupts` does it with the locks, and `channels` with channels of many receivers.

mod common;

use common::interrupts::{interrupt_everywhere, Fates, Message, Trial, Work};
use common::{ends, Drops, OnDrop};
use multitask::sync::{mpmc, mpsc, oneshot};
use multitask::task::{self, JoinSet};
use multitask::{select, spawn, timeout_at, yield_now};
use std::num::NonZeroUsize;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

// ---- tasks that borrow ----

/// What the members of a scope did with what they borrow.
#[derive(Clone, Default)]
struct Borrowing {
    drops: Drops,
    made: Arc<AtomicUsize>,
    /// Members that were inside when what they borrow went.
    outlived: Arc<AtomicUsize>,
    /// Of the others: what somebody else gets while the victim is interrupted.
    others: Arc<AtomicUsize>,
}

/// Lives in the victim's frame.
struct Frame {
    alive: AtomicBool,
    inside: AtomicUsize,
    outlived: Arc<AtomicUsize>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.alive.store(false, SeqCst);
        self.outlived.fetch_add(self.inside.load(SeqCst), SeqCst);
    }
}

impl Borrowing {
    fn frame(&self) -> Frame {
        Frame {
            alive: AtomicBool::new(true),
            inside: AtomicUsize::new(0),
            outlived: self.outlived.clone(),
        }
    }

    /// A member that waits so often, then takes its time to go, and uses the frame until its end.
    fn member<'a>(&self, frame: &'a Frame, waits: usize) -> impl FnOnce() -> usize + Send + 'a {
        self.made.fetch_add(1, SeqCst);
        let one = self.drops.one();
        move || {
            let _one = one;
            frame.inside.fetch_add(1, SeqCst);
            let _leaves = OnDrop(|| {
                assert!(frame.alive.load(SeqCst));
                frame.inside.fetch_sub(1, SeqCst);
            });
            // It may be interrupted itself if nothing unwinds yet.
            let _lingers = OnDrop(yield_now);
            (0..waits).for_each(|_| yield_now());
            waits
        }
    }

    /// The trial of a victim that does this, within its limit.
    fn trial(&self, body: impl FnOnce(&Borrowing) + Send + 'static) -> Trial {
        let (shared, others, all) = (self.clone(), self.others.clone(), self.clone());
        let work = move || {
            for _ in 0..3 {
                yield_now();
                others.fetch_add(1, SeqCst);
            }
        };
        Trial {
            victim: Box::new(move |limit| {
                let _in_time = timeout_at(limit, || body(&shared));
            }),
            others: vec![Box::new(work)],
            then: Box::new(|| ()),
            end: Box::new(move || {
                assert_eq!(all.outlived.load(SeqCst), 0, "nothing borrowed is outlived");
                assert_eq!(all.drops.count(), all.made.load(SeqCst), "all are gone");
                assert_eq!(all.others.load(SeqCst), 3);
            }),
        }
    }
}

/// Runs such a victim with one interruption after another; it counts how often it came to its end.
fn interrupt_a_borrower(at_least: usize, body: fn(&Borrowing)) {
    let ended = Arc::new(AtomicUsize::new(0));
    interrupt_everywhere(at_least, || {
        let ended = ended.clone();
        Borrowing::default().trial(move |borrowing| {
            body(borrowing);
            ended.fetch_add(1, SeqCst);
        })
    });
    assert!(ended.load(SeqCst) >= 3, "once for each way");
}

#[test]
fn whoever_is_interrupted_in_a_scope_its_tasks_end_before_what_they_borrow() {
    ends(|| {
        interrupt_a_borrower(5, |borrowing| {
            let frame = borrowing.frame();
            let sum = task::scope(|s| {
                let first = s.spawn(borrowing.member(&frame, 2));
                s.spawn(borrowing.member(&frame, 3));
                yield_now();
                s.spawn(borrowing.member(&frame, 1));
                // A scope in a scope.
                let inner = task::scope(|s| s.spawn(borrowing.member(&frame, 1)).join().unwrap());
                first.join().unwrap() + inner
            });
            assert_eq!(sum, 3);
        });
    });
}

#[test]
fn whoever_is_interrupted_in_a_try_scope_its_tasks_end_before_what_they_borrow() {
    ends(|| {
        interrupt_a_borrower(5, |borrowing| {
            let frame = borrowing.frame();
            let sum = task::try_scope(|s| {
                let tasks = [1, 2, 3].map(|waits| {
                    let member = borrowing.member(&frame, waits);
                    s.spawn(|| Ok::<_, ()>(member()))
                });
                yield_now();
                Ok(tasks.map(|task| task.join().unwrap()).iter().sum::<usize>())
            });
            assert_eq!(sum, Ok(6));
        });
    });
}

#[test]
fn whoever_is_interrupted_in_a_try_scope_that_fails_its_error_is_not_lost_or_doubled() {
    ends(|| {
        interrupt_a_borrower(4, |borrowing| {
            let frame = borrowing.frame();
            let failed = task::try_scope(|s| {
                for waits in [1, 2] {
                    let member = borrowing.member(&frame, waits);
                    borrowing.made.fetch_add(1, SeqCst);
                    let error = (waits, borrowing.drops.one());
                    s.spawn(|| {
                        member();
                        Err::<(), _>(error)
                    });
                }
                let member = borrowing.member(&frame, usize::MAX);
                s.spawn(|| Ok(member()));
                task::park();
                Ok(())
            });
            assert_eq!(failed.unwrap_err().0, 1);
        });
    });
}

#[test]
fn whoever_is_interrupted_in_a_scope_that_panics_its_tasks_end_before_what_they_borrow() {
    ends(|| {
        interrupt_a_borrower(3, |borrowing| {
            let frame = borrowing.frame();
            let panic = catch_unwind(AssertUnwindSafe(|| {
                task::scope(|s| {
                    s.spawn(borrowing.member(&frame, 3));
                    let member = borrowing.member(&frame, 1);
                    s.spawn(move || {
                        member();
                        resume_unwind(Box::new(5));
                    });
                });
            }));
            let payload = panic.unwrap_err();
            match payload.downcast::<i32>() {
                Ok(five) => assert_eq!(*five, 5),
                Err(interruption) => resume_unwind(interruption),
            }
        });
    });
}

#[test]
fn whoever_is_interrupted_in_join_all_its_tasks_end_before_what_they_borrow() {
    ends(|| {
        interrupt_a_borrower(5, |borrowing| {
            let frame = borrowing.frame();
            let members = [3, 0, 2, 1].map(|waits| borrowing.member(&frame, waits));
            assert_eq!(task::join_all(members), [3, 0, 2, 1]);
        });
    });
}

#[test]
fn whoever_is_interrupted_in_a_race_its_tasks_end_before_what_they_borrow() {
    ends(|| {
        interrupt_a_borrower(4, |borrowing| {
            let frame = borrowing.frame();
            let members = [usize::MAX, 2, 4].map(|waits| borrowing.member(&frame, waits));
            assert_eq!(task::race(members), 2);
        });
    });
}

// ---- a set ----

#[test]
fn whoever_is_interrupted_at_a_set_loses_no_result_and_the_set_goes_on() {
    const TASKS: usize = 5;
    ends(|| {
        interrupt_everywhere(5, || {
            let (drops, begun) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
            let results = Arc::new(AtomicUsize::new(0));
            let cancelled = Arc::new(AtomicBool::new(true));
            let (one, count, noted, given_up) = (
                drops.clone(),
                begun.clone(),
                results.clone(),
                cancelled.clone(),
            );
            let victim = move |limit| {
                let mut set = JoinSet::with_limit(NonZeroUsize::new(2).unwrap());
                let note = |_: (usize, _)| noted.fetch_add(1, SeqCst);
                let mut made = 0;
                // The set is outside of the scope that is interrupted.
                let _in_time = timeout_at(limit, || {
                    while made < TASKS {
                        let (number, one, begun) = (made, one.one(), count.clone());
                        set.spawn(move || {
                            begun.fetch_add(1, SeqCst);
                            (0..number % 3).for_each(|_| yield_now());
                            (number, one)
                        });
                        made += 1;
                    }
                    while let Ok(Some(result)) = set.join_next_deadline(limit) {
                        note(result.unwrap());
                    }
                });
                while let Some(result) = set.join_next() {
                    note(result.unwrap());
                }
                assert_eq!(noted.load(SeqCst), made);
                given_up.store(false, SeqCst);
            };
            Trial {
                victim: Box::new(victim),
                others: vec![],
                then: Box::new(|| ()),
                end: Box::new(move || {
                    let (results, begun) = (results.load(SeqCst), begun.load(SeqCst));
                    // With the victim the set goes, and its tasks.
                    assert!(results == begun || cancelled.load(SeqCst));
                    assert!(drops.count() >= begun && drops.count() <= TASKS);
                }),
            }
        });
    });
}

// ---- one of several things ----

/// A receiver that takes all that comes.
fn takes_all(receiver: mpmc::Receiver<Message>, fates: &Fates) -> Work {
    let fates = fates.clone();
    Box::new(move || {
        receiver
            .iter()
            .for_each(|message| fates.note_received(&message))
    })
}

fn sends(sender: mpmc::Sender<Message>, number: usize, fates: &Fates) -> Work {
    let fates = fates.clone();
    Box::new(move || {
        for _ in 0..number {
            fates.send(|message| Ok(sender.send(message)?));
            yield_now();
        }
    })
}

/// Receives from two channels and sends into a third, whatever goes first, while a task ends.
fn chooses(
    [a, b]: [&mpmc::Receiver<Message>; 2],
    to: &mpmc::Sender<Message>,
    fates: &Fates,
    limit: Instant,
) {
    let task = spawn(|| (0..3).for_each(|_| yield_now()));
    let left = select! {
        join(task) -> ended => {
            ended.unwrap();
            None
        }
        recv(a) -> message => {
            fates.note_received(&message.unwrap());
            Some(task)
        }
        at(limit) => return,
    };
    for _ in 0..5 {
        let number;
        let message = select! {
            recv(a) -> message => message,
            recv(b) -> message => message,
            send(to, { yield_now(); let message = fates.make(); number = message.number; message }) -> sent => {
                sent.map_err(drop).expect("somebody receives");
                fates.note_sent(number);
                continue;
            }
            at(limit) => return,
        };
        match message {
            Ok(message) => fates.note_received(&message),
            Err(mpmc::RecvError) => break,
        }
    }
    if let Some(task) = left {
        task.join().unwrap();
    }
}

#[test]
fn whoever_is_interrupted_at_a_select_no_message_is_lost_and_the_others_go_on() {
    ends(|| {
        for capacity in [0, 1] {
            interrupt_everywhere(4, || {
                let fates = Fates::default();
                let (into_a, a) = mpmc::sync_channel(capacity);
                let (into_b, b) = mpmc::sync_channel(0);
                let (to, out) = mpmc::sync_channel(capacity);
                let others = vec![
                    sends(into_a, 4, &fates),
                    sends(into_b, 4, &fates),
                    sends(to.clone(), 2, &fates),
                    takes_all(out, &fates),
                    takes_all(a.clone(), &fates),
                    takes_all(b.clone(), &fates),
                ];
                let account = fates.clone();
                Trial {
                    victim: Box::new(move |limit| chooses([&a, &b], &to, &fates, limit)),
                    others,
                    then: Box::new(|| ()),
                    end: Box::new(move || account.check(1)),
                }
            });
        }
    });
}

#[test]
fn whoever_is_interrupted_while_it_makes_what_it_was_chosen_to_send_leaves_the_room_to_others() {
    ends(|| {
        interrupt_everywhere(2, || {
            let (sender, receiver) = mpsc::sync_channel(1);
            let to = sender.clone();
            let victim = move |limit| {
                let make = || {
                    yield_now();
                    yield_now();
                    1
                };
                let _in_time = timeout_at(limit, || {
                    select! {
                        send(to, make()) -> sent => sent.unwrap(),
                    }
                });
            };
            Trial {
                victim: Box::new(victim),
                others: vec![],
                then: Box::new(|| ()),
                end: Box::new(move || {
                    assert!(receiver.try_iter().count() <= 1);
                    assert_eq!(sender.try_send(2), Ok(()));
                }),
            }
        });
    });
}

// ---- channels with one receiver ----

#[test]
fn whoever_is_interrupted_as_the_only_receiver_its_senders_hear_of_it() {
    ends(|| {
        for capacity in [0, 1, usize::MAX] {
            interrupt_everywhere(2, || {
                let drops = Drops::default();
                let (sender, receiver) = mpsc::sync_channel(capacity);
                let received = Arc::new(AtomicUsize::new(0));
                let sent = Arc::new(AtomicUsize::new(0));
                let work = || {
                    let (sender, drops, sent) = (sender.clone(), drops.clone(), sent.clone());
                    let work = move || {
                        // Until nobody receives, or it is enough.
                        for _ in 0..3 {
                            if sender.send(drops.one()).is_ok() {
                                sent.fetch_add(1, SeqCst);
                            }
                            yield_now();
                        }
                    };
                    Box::new(work) as Work
                };
                let others = vec![work(), work()];
                drop(sender);
                let (count, all) = (received.clone(), drops.clone());
                let victim = move |limit| {
                    while receiver.recv_deadline(limit).is_ok() {
                        count.fetch_add(1, SeqCst);
                        yield_now();
                    }
                };
                Trial {
                    victim: Box::new(victim),
                    others,
                    then: Box::new(|| ()),
                    end: Box::new(move || {
                        assert_eq!(all.count(), 6, "each is dropped once");
                        let (received, sent) = (received.load(SeqCst), sent.load(SeqCst));
                        assert!(received <= sent);
                        // Of those that wait for a receiver none is lost but in its hands.
                        assert!(capacity > 0 || sent <= received + 1, "{received} of {sent}");
                    }),
                }
            });
        }
    });
}

#[test]
fn whoever_is_interrupted_at_the_one_message_has_it_or_drops_it() {
    ends(|| {
        interrupt_everywhere(3, || {
            let drops = Drops::default();
            let (sender, receiver) = oneshot::channel();
            let outcome = Arc::new(Mutex::new(None));
            let (sent, all) = (outcome.clone(), drops.clone());
            let sends = {
                let drops = drops.clone();
                move || {
                    (0..3).for_each(|_| yield_now());
                    let heard = sender.send(drops.one()).is_ok();
                    *sent.lock().unwrap() = Some(heard);
                }
            };
            let victim = move |limit| {
                // A scope round it leaves the receiver where it was.
                let chosen = timeout_at(limit, || select! { recv(receiver) -> message => message });
                let message = match chosen {
                    Ok(message) => message,
                    Err(multitask::Timeout) => receiver.recv(),
                };
                assert!(message.is_ok());
            };
            Trial {
                victim: Box::new(victim),
                others: vec![Box::new(sends)],
                then: Box::new(|| ()),
                end: Box::new(move || {
                    assert!(outcome.lock().unwrap().is_some());
                    assert_eq!(all.count(), 1, "it is dropped once");
                }),
            }
        });
    });
}

#[test]
fn whoever_is_interrupted_at_the_one_message_by_its_own_limit_can_go_on_waiting() {
    ends(|| {
        interrupt_everywhere(3, || {
            let (sender, receiver) = oneshot::channel();
            let [heard, unwound, lost] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
            let (note, gone) = (heard.clone(), unwound.clone());
            let victim = move |limit| {
                let _end = OnDrop(|| gone.store(!note.load(SeqCst), SeqCst));
                let message = receiver.recv_deadline(limit).or_else(|error| match error {
                    oneshot::RecvTimeoutError::Timeout(receiver) => receiver.recv(),
                    oneshot::RecvTimeoutError::Disconnected => Err(oneshot::RecvError),
                });
                assert_eq!(message, Ok(5));
                note.store(true, SeqCst);
            };
            let given_back = lost.clone();
            let sends = move || {
                (0..3).for_each(|_| yield_now());
                given_back.store(sender.send(5).is_err(), SeqCst);
            };
            Trial {
                victim: Box::new(victim),
                others: vec![Box::new(sends)],
                then: Box::new(|| ()),
                end: Box::new(move || {
                    let [heard, unwound, lost] =
                        [heard, unwound, lost].map(|flag| flag.load(SeqCst));
                    // A victim that never began has neither.
                    assert!(!heard || !unwound && !lost);
                    assert!(heard || unwound || lost);
                }),
            }
        });
    });
}
