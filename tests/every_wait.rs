//! Every operation that may suspend, interrupted at its first suspension, at its second, and so on until none is left: by
//! being cancelled, by the deadline of a scope round it, by its own time limit (or an inner scope's, where it has none), and
//! by being cancelled in a destructor while its stack unwinds. In between, whatever is lost, doubled or left waiting shows in
//! books that are exact; in the end no task is left. `common::interrupts` drives it.
//!
//! What is covered where:
//!
//! | Operation | Its books | Test |
//! |---|---|---|
//! | `Mutex::lock`, `RwLock::read` and `write` | each change is counted; it is free, and not poisoned | `lock_interrupts` |
//! | `Condvar::wait*` | each token is taken by one; the mutex is free | `lock_interrupts` |
//! | `OnceLock::get_or_init` | one initializer runs to its end | `lock_interrupts` |
//! | `Once::call_once` and `wait`, `LazyLock` | the same; a lazy one is not interrupted | here |
//! | `Barrier::wait` | who is interrupted has not come | `lock_interrupts` |
//! | `Semaphore::acquire`, `acquire_many`, owned | all permits are back | `lock_interrupts` |
//! | `Notify`, `Event`, `WaitGroup` | each notification is taken by one; the others go on | `lock_interrupts` |
//! | `Queue::get`, `get_matching`, `put`; capacities 0, 1, any | each item is got once or given back | here |
//! | `mpsc` and `mpmc`: `recv`, `send`; capacities 0, 1, any | each message is received once or given back | here; `channels`, `interrupts` |
//! | `oneshot` | the message is received or dropped, and its sender knows | `interrupts` |
//! | `select!`, `Select` | as channels; nothing is made in vain | `interrupts`, `select_interrupted` |
//! | `task::scope`, `try_scope`, `join_all`, `race` | no member outlives what it borrows | `interrupts` |
//! | `JoinSet`: `spawn` at its limit, `join_next` | each result comes once | `interrupts` |
//! | `JoinHandle::join` | the task goes on, and its result is dropped once | here |
//! | `park`, `yield_now` | each token is used or stays | here (`yield_now` everywhere) |
//! | `sleep`, `Interval::tick`, `Timer::wait` | no tick is lost; the others are told | here; `clock` |
//! | reading a pipe, an `Fd`, TCP, a Unix stream; `io::wait` | each byte is read once, in order | here |
//! | writing to them | what was said to be written arrives, and nothing else | here |
//! | `accept`, TCP and Unix | each connection is accepted once | here |
//! | `Server::serve` | its handlers and its listener have gone with it | here |
//! | `connect`, with its name resolved | each is had or closed | here |
//! | `recv` of datagrams, UDP and Unix | each is received once | here; sending: `unix` |
//! | `Child::wait` | the child is waited for once, and its status is known | here |
//! | `Signals::wait` | each signal is told once | here |
//! | `task::blocking`, `fs` (shielded: what has begun is done) | each call runs once, and within its caller's frame | here |
//! | `File::lock` | it is free | here |
//! | standard streams | another has them | `stdio`, and in a destructor `io::gate` |

mod common;
#[path = "every_wait/world.rs"]
mod world;

use common::ends;
use common::interrupts::{
    interrupt_everywhere, interrupt_everywhere_outside, Fates, Message, Trial, Work,
};
use common::Drops;
use multitask::sync::mpmc::{self, SendTimeoutError};
use multitask::sync::{LazyLock, Once, PutError, Queue};
use multitask::task::{self, JoinTimeoutError, Task};
use multitask::time::{interval, Timer};
use multitask::{sleep_until, spawn, timeout_at, yield_now};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// `name: driver(more interruptions than these), trial;`
macro_rules! table {
    ($($name:ident: $driver:ident($at_least:literal), $trial:expr;)*) => {$(
        #[test]
        fn $name() {
            ends(|| $driver($at_least, $trial));
        }
    )*};
}

table! {
    who_is_interrupted_in_get_takes_no_item_from_the_next_one: interrupt_everywhere(3), || gets(1);
    who_is_interrupted_in_get_at_a_rendezvous_takes_no_item_from_the_next_one: interrupt_everywhere(3), || gets(0);
    who_is_interrupted_in_get_of_what_grows_takes_no_item_from_the_next_one: interrupt_everywhere(3), || gets(usize::MAX);
    who_is_interrupted_in_get_matching_takes_no_item_from_the_next_one: interrupt_everywhere(2), || gets_even(1);
    who_is_interrupted_in_get_matching_at_a_rendezvous_takes_no_item_from_the_next_one: interrupt_everywhere(2), || gets_even(0);
    who_is_interrupted_in_put_has_put_or_has_its_item: interrupt_everywhere(3), || puts(1);
    who_is_interrupted_in_put_at_a_rendezvous_has_put_or_has_its_item: interrupt_everywhere(3), || puts(0);
    who_is_interrupted_in_recv_takes_no_message_from_the_next_one: interrupt_everywhere(3), || receives(1);
    who_is_interrupted_in_recv_at_a_rendezvous_takes_no_message_from_the_next_one: interrupt_everywhere(3), || receives(0);
    who_is_interrupted_in_recv_of_what_grows_takes_no_message_from_the_next_one: interrupt_everywhere(3), || receives(usize::MAX);
    who_is_interrupted_in_send_has_sent_or_has_its_message: interrupt_everywhere(3), || sends(1);
    who_is_interrupted_in_send_at_a_rendezvous_has_sent_or_has_its_message: interrupt_everywhere(3), || sends(0);

    who_is_interrupted_in_call_once_leaves_it_to_another: interrupt_everywhere(2), calls_once;
    who_is_interrupted_at_a_lazy_value_computes_it_first: interrupt_everywhere(2), uses_lazy;

    who_is_interrupted_in_join_lets_the_task_go_on: interrupt_everywhere(3), joins;
    who_is_interrupted_in_park_stops_nobody_who_unparks_it: interrupt_everywhere(3), parks;

    who_is_interrupted_in_sleep_lets_others_sleep_on: interrupt_everywhere_outside(0), sleeps;
    who_is_interrupted_in_tick_has_lost_none: interrupt_everywhere_outside(0), ticks;
    who_is_interrupted_at_a_timer_leaves_it_to_the_others: interrupt_everywhere_outside(0), waits_for_timer;

    who_is_interrupted_in_reading_a_pipe_has_read_nothing: interrupt_everywhere_outside(3), || world::reads(world::pipe());
    who_is_interrupted_in_reading_a_descriptor_has_read_nothing: interrupt_everywhere_outside(3), || world::reads(world::descriptors());
    who_is_interrupted_in_waiting_for_a_descriptor_has_taken_nothing: interrupt_everywhere_outside(3), || world::reads(world::watched());
    who_is_interrupted_in_reading_tcp_has_read_nothing: interrupt_everywhere_outside(3), || world::reads(world::tcp());
    who_is_interrupted_in_reading_a_unix_stream_has_read_nothing: interrupt_everywhere_outside(3), || world::reads(world::unix());
    who_is_interrupted_in_writing_to_a_pipe_has_written_nothing: interrupt_everywhere_outside(3), || world::writes(world::pipe());
    who_is_interrupted_in_writing_to_tcp_has_written_nothing: interrupt_everywhere_outside(3), || world::writes(world::tcp());
    who_is_interrupted_in_writing_to_a_unix_stream_has_written_nothing: interrupt_everywhere_outside(3), || world::writes(world::unix());
    who_is_interrupted_in_accept_loses_no_tcp_connection: interrupt_everywhere_outside(3), || world::takes(world::tcp_listener());
    who_is_interrupted_in_accept_loses_no_unix_connection: interrupt_everywhere_outside(3), || world::takes(world::unix_listener());
    who_is_interrupted_in_serve_leaves_no_handler_and_no_listener: interrupt_everywhere_outside(6), world::serves;
    who_is_interrupted_in_connect_leaves_no_connection_open: interrupt_everywhere_outside(1), world::connects;
    who_is_interrupted_in_recv_of_udp_takes_no_datagram_from_the_next_one: interrupt_everywhere_outside(3), || world::takes(world::udp());
    who_is_interrupted_in_recv_of_unix_takes_no_datagram_from_the_next_one: interrupt_everywhere_outside(3), || world::takes(world::unix_datagrams());

    who_is_interrupted_in_waiting_for_a_child_leaves_its_status_to_the_next_one: interrupt_everywhere_outside(1), world::waits_for_child;
    who_is_interrupted_in_waiting_for_signals_leaves_them_to_the_next_one: interrupt_everywhere_outside(3), world::waits_for_signals;
    who_is_interrupted_in_a_blocking_call_outlives_it: interrupt_everywhere_outside(1), world::blocks;
    who_is_interrupted_in_a_call_of_files_has_done_it: interrupt_everywhere_outside(1), world::uses_files;
    who_is_interrupted_in_locking_a_file_does_not_have_it: interrupt_everywhere_outside(1), world::locks_file;
}

/// A victim that is known to be gone, whether it has begun or not.
struct Present(Arc<AtomicBool>);

impl Present {
    fn new() -> (Present, Gone) {
        let gone = Arc::new(AtomicBool::new(false));
        (Present(gone.clone()), Gone(gone))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

struct Gone(Arc<AtomicBool>);

impl Gone {
    fn is(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// For who takes over then.
    fn wait(&self) {
        while !self.is() {
            yield_now();
        }
    }
}

fn nothing() -> Work {
    Box::new(|| ())
}

// ---- queues ----

/// Two who put, one who gets what the victim leaves, and the victim.
fn at_queue(
    capacity: usize,
    victim: impl FnOnce(&Queue<Message>, &Fates, Instant) + Send + 'static,
) -> Trial {
    let queue = Arc::new(match capacity {
        usize::MAX => Queue::unbounded(),
        _ => Queue::bounded(capacity),
    });
    let fates = Fates::default();
    let puts = || {
        let (queue, fates) = (queue.clone(), fates.clone());
        let work = move || {
            for _ in 0..4 {
                yield_now();
                assert!(fates.send(|message| put_back(queue.put(message))));
            }
        };
        Box::new(work) as Work
    };
    let gets = {
        let (queue, fates) = (queue.clone(), fates.clone());
        move || queue.iter().for_each(|item| fates.note_received(&item))
    };
    let others = vec![puts(), puts(), Box::new(gets)];
    let (closes, account) = (queue.clone(), fates.clone());
    Trial {
        victim: Box::new(move |limit| victim(&queue, &fates, limit)),
        others,
        then: Box::new(move || closes.close()),
        end: Box::new(move || account.check(1)),
    }
}

/// An error of a queue as that of a channel.
fn put_back<T>(put: Result<(), PutError<T>>) -> Result<(), SendTimeoutError<T>> {
    put.map_err(|error| match error {
        PutError::Closed(item) => SendTimeoutError::Disconnected(item),
        PutError::Timeout(item) | PutError::Cancelled(item) => SendTimeoutError::Timeout(item),
    })
}

fn gets(capacity: usize) -> Trial {
    at_queue(capacity, |queue, fates, limit| {
        for _ in 0..2 {
            let Ok(item) = queue.get_deadline(limit) else {
                return;
            };
            fates.note_received(&item);
            yield_now();
        }
    })
}

fn gets_even(capacity: usize) -> Trial {
    at_queue(capacity, |queue, fates, limit| {
        let even = |item: &Message| item.number.is_multiple_of(2);
        if let Ok(item) = queue.get_matching_deadline(even, limit) {
            assert!(even(&item));
            fates.note_received(&item);
        }
        yield_now();
    })
}

fn puts(capacity: usize) -> Trial {
    at_queue(capacity, |queue, fates, limit| {
        for _ in 0..3 {
            fates.send(|message| put_back(queue.put_deadline(message, limit)));
        }
    })
}

// ---- channels ----

/// Two who send, one who receives, and the victim.
fn at_channel(
    (sender, receiver): (mpmc::Sender<Message>, mpmc::Receiver<Message>),
    victim: impl FnOnce(&Fates, Instant) + Send + 'static,
) -> Trial {
    let fates = Fates::default();
    let sends = |sender: mpmc::Sender<_>| {
        let fates = fates.clone();
        let work = move || {
            for _ in 0..4 {
                yield_now();
                assert!(fates.send(|message| Ok(sender.send(message)?)));
            }
        };
        Box::new(work) as Work
    };
    let receives = {
        let fates = fates.clone();
        move || {
            receiver
                .iter()
                .for_each(|message| fates.note_received(&message))
        }
    };
    let others = vec![sends(sender.clone()), sends(sender), Box::new(receives)];
    let account = fates.clone();
    Trial {
        victim: Box::new(move |limit| victim(&fates, limit)),
        others,
        then: nothing(),
        end: Box::new(move || account.check(1)),
    }
}

fn receives(capacity: usize) -> Trial {
    let (sender, receiver) = mpmc::sync_channel(capacity);
    at_channel((sender, receiver.clone()), move |fates, limit| {
        for _ in 0..2 {
            let Ok(message) = receiver.recv_deadline(limit) else {
                return;
            };
            fates.note_received(&message);
            yield_now();
        }
    })
}

fn sends(capacity: usize) -> Trial {
    let (sender, receiver) = mpmc::sync_channel(capacity);
    at_channel((sender.clone(), receiver), move |fates, limit| {
        for _ in 0..3 {
            fates.send(|message| sender.send_deadline(message, limit));
        }
    })
}

// ---- what runs once ----

fn calls_once() -> Trial {
    let (once, runs) = (Arc::new(Once::new()), Arc::new(AtomicUsize::new(0)));
    let calls = || {
        let (once, runs) = (once.clone(), runs.clone());
        move || {
            once.call_once(|| {
                yield_now();
                yield_now();
                runs.fetch_add(1, SeqCst);
            });
        }
    };
    let (victim, calls, waits) = (calls(), calls(), once.clone());
    Trial {
        victim: Box::new(move |limit| timeout_at(limit, victim).unwrap_or_default()),
        others: vec![Box::new(calls), Box::new(move || waits.wait())],
        then: nothing(),
        end: Box::new(move || {
            assert!(once.is_completed());
            assert_eq!(runs.load(SeqCst), 1);
        }),
    }
}

fn uses_lazy() -> Trial {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let value = Arc::new(LazyLock::new(move || {
        yield_now();
        yield_now();
        counted.fetch_add(1, SeqCst) + 5
    }));
    let uses = || {
        let value = value.clone();
        move || assert_eq!(**value, 5)
    };
    let (victim, other) = (uses(), uses());
    Trial {
        victim: Box::new(move |limit| timeout_at(limit, victim).unwrap_or_default()),
        others: vec![Box::new(other)],
        then: nothing(),
        end: Box::new(move || assert_eq!(runs.load(SeqCst), 1)),
    }
}

// ---- tasks ----

fn joins() -> Trial {
    let (drops, ended) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
    let (results, begun) = (drops.clone(), Arc::new(AtomicUsize::new(0)));
    let (count, noted) = (begun.clone(), ended.clone());
    let victim = move |limit| {
        for _ in 0..2 {
            let (ended, result) = (noted.clone(), results.one());
            count.fetch_add(1, SeqCst);
            let task = spawn(move || {
                (0..2).for_each(|_| yield_now());
                ended.fetch_add(1, SeqCst);
                result
            });
            match task.join_deadline(limit) {
                Ok(_result) => {}
                Err(JoinTimeoutError::Timeout(task)) => drop(task.join().unwrap()),
                Err(JoinTimeoutError::Interrupted(task, _)) => drop(task.join().unwrap()),
                Err(JoinTimeoutError::Failed(error)) => panic!("{error}"),
            }
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![],
        then: nothing(),
        end: Box::new(move || {
            let begun = begun.load(SeqCst);
            assert_eq!(ended.load(SeqCst), begun, "each goes on to its end");
            assert_eq!(drops.count(), begun, "each result is dropped once");
        }),
    }
}

fn parks() -> Trial {
    let here: Arc<Mutex<Option<Task>>> = Arc::default();
    let (given, used) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (present, gone) = Present::new();
    let (slot, tokens, count) = (here.clone(), given.clone(), used.clone());
    let victim = move |limit| {
        let _present = present;
        *slot.lock().unwrap() = Some(task::current());
        while count.load(SeqCst) < 3 {
            let before = count.load(SeqCst);
            task::park_deadline(limit);
            if tokens.load(SeqCst) == before {
                assert!(Instant::now() >= limit, "nobody has unparked it");
                return;
            }
            count.fetch_add(1, SeqCst);
        }
    };
    let unparks = {
        let (given, used) = (given.clone(), used.clone());
        move || {
            for n in 0..3 {
                yield_now();
                while used.load(SeqCst) < n && !gone.is() {
                    yield_now();
                }
                let task = here.lock().unwrap().clone();
                given.fetch_add(1, SeqCst);
                if let Some(task) = task {
                    task.unpark();
                }
            }
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(unparks)],
        then: nothing(),
        end: Box::new(move || {
            assert_eq!(given.load(SeqCst), 3);
            assert!(used.load(SeqCst) <= 3);
        }),
    }
}

// ---- time ----

const MOMENT: Duration = Duration::from_micros(300);

fn sleeps() -> Trial {
    let woken = Arc::new(AtomicUsize::new(0));
    let sleeper = || {
        let woken = woken.clone();
        move || {
            for _ in 0..3 {
                let until = Instant::now() + MOMENT;
                sleep_until(until);
                assert!(Instant::now() >= until);
            }
            woken.fetch_add(1, SeqCst);
        }
    };
    let (victim, others) = (
        sleeper(),
        vec![Box::new(sleeper()) as Work, Box::new(sleeper())],
    );
    Trial {
        victim: Box::new(move |limit| timeout_at(limit, victim).unwrap_or_default()),
        others,
        then: nothing(),
        end: Box::new(move || assert!(woken.load(SeqCst) >= 2)),
    }
}

fn ticks() -> Trial {
    let victim = |limit| {
        let mut ticks = interval(MOMENT);
        let start = ticks.deadline().unwrap();
        let mut told = 0;
        // The interval is outside of the scope, and all that is asked of it is on the grid.
        let _in_time = timeout_at(limit, || {
            while told < 4 && ticks.tick_deadline(limit).is_ok() {
                told += 1;
            }
        });
        assert_eq!(ticks.tick(), start + told * MOMENT);
    };
    Trial {
        victim: Box::new(victim),
        others: vec![],
        then: nothing(),
        end: nothing(),
    }
}

fn waits_for_timer() -> Trial {
    let timer = Arc::new(Timer::new(2 * MOMENT));
    let told = Arc::new(AtomicUsize::new(0));
    let waits = || {
        let (timer, told) = (timer.clone(), told.clone());
        move || {
            timer.wait().unwrap();
            told.fetch_add(1, SeqCst);
        }
    };
    let others = vec![Box::new(waits()) as Work, Box::new(waits())];
    let late = timer.clone();
    let victim = move |limit| {
        let _in_time = late.wait_deadline(limit);
    };
    Trial {
        victim: Box::new(victim),
        others,
        then: nothing(),
        end: Box::new(move || {
            assert!(timer.is_expired());
            assert_eq!(told.load(SeqCst), 2);
        }),
    }
}
