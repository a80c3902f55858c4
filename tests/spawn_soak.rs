//! Millions of tasks, one after the other: joined, detached, of a scope, cancelled before they begin and while they wait, panicking, and
//! sent in by another thread. Each is accounted for, and afterwards memory has stayed flat (see `common/flat.rs`), and nothing is left.
//!
//! `MULTITASK_SPAWNS` is how many there are, a hundred thousand if nothing is said; memory is judged from a million on. With
//! `MULTITASK_SOAK=0` there are none.

mod common;

use common::flat::{Belongings, Samples};
use multitask::task::{self, scope};
use multitask::{sleep, spawn, yield_now, Handle, JoinError, JoinHandle};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use std::{env, panic, thread};

/// Tasks that were spawned, and what has become of them.
static SPAWNED: AtomicU64 = AtomicU64::new(0);
static RAN: AtomicU64 = AtomicU64::new(0);
static CANCELLED: AtomicU64 = AtomicU64::new(0);
static PANICKED: AtomicU64 = AtomicU64::new(0);

/// A worker keeps the headers of this many tasks, nearly, that ended with it and came from elsewhere. How many do depends on who gets
/// a processor, so each has them before memory is judged.
const SPARE: usize = 16_300;
/// Tasks of another thread, at a time.
const AFAR: usize = 50;
/// Tasks that nobody joins, at a time.
const LOOSE: u64 = 100;
const ON_PURPOSE: &str = "on purpose";
/// Between two looks at the memory.
const LOOKS: u64 = 100;

fn main() {
    if env::args().any(|argument| argument == "--ignored") || number("MULTITASK_SOAK") == Some(0) {
        return;
    }
    let spawns = number("MULTITASK_SPAWNS").unwrap_or(100_000);
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&ON_PURPOSE) {
            report(info);
        }
    }));
    spare_headers();
    let _memory = soak(spawns / 10);
    let before = Belongings::now();
    let resident = soak(spawns);
    if spawns >= 1_000_000 {
        resident.assert_flat("resident memory", 0.05);
    }
    let after = Belongings::now();
    println!("before: {before:?}\nafter:  {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    println!("ok");
}

/// See [`SPARE`].
fn spare_headers() {
    let scheduler = common::scheduler();
    let handle = scheduler.handle();
    scheduler.block_on(|| {
        until_done(thread::spawn(move || {
            for n in 0..SPARE / AFAR * handle.workers() {
                let worker = n % handle.workers();
                // Whose handles are gone before they end: who has the last reference keeps the header.
                (0..AFAR).for_each(|_| drop(handle.spawn_on(worker, || ())));
                handle.spawn_on(worker, || ()).join().unwrap();
            }
        }));
    });
}

/// Lets other tasks run until a thread has ended.
fn until_done(thread: thread::JoinHandle<()>) {
    while !thread.is_finished() {
        yield_now();
    }
    thread.join().unwrap();
}

/// What memory there was, in the course of it.
fn soak(spawns: u64) -> Samples {
    let scheduler = common::scheduler();
    let mut resident = Samples::new();
    let books = [&SPAWNED, &RAN, &CANCELLED, &PANICKED];
    books.iter().for_each(|count| count.store(0, SeqCst));
    for look in 1..=LOOKS {
        scheduler.block_on(|| round(spawns * look / LOOKS));
        scheduler.run().unwrap();
        assert_eq!(scheduler.stats().live, 0);
        if look > LOOKS / 2 {
            resident.add(Belongings::now().resident);
        }
    }
    let [spawned, ran, cancelled, panicked] = books.map(|count| count.load(SeqCst));
    println!("{spawned} tasks: {ran} ran, {cancelled} were cancelled, {panicked} panicked");
    assert_eq!(spawned, ran + cancelled + panicked);
    assert!(spawned >= spawns && cancelled > 0 && panicked > 0);
    resident
}

/// Until there were so many.
fn round(spawns: u64) {
    let handle = Handle::current().unwrap();
    let afar = thread::spawn(move || {
        while SPAWNED.load(SeqCst) < spawns {
            let tasks = [(); AFAR].map(|()| counted(|work| handle.spawn(work)));
            tasks.into_iter().for_each(joined);
        }
    });
    let mut n = 0;
    while SPAWNED.load(SeqCst) < spawns {
        n += 1;
        while loose() > LOOSE {
            yield_now();
        }
        match n % 16 {
            0 => drop(counted(spawn)),
            1 => joined(counted(|work| {
                task::Builder::new()
                    .name("soak".into())
                    .spawn(work)
                    .unwrap()
            })),
            2 => scope(|scope| (0..4).for_each(|_| drop(counted(|work| scope.spawn(work))))),
            3 => {
                let task = counted(spawn);
                task.cancel();
                joined(task);
            }
            4 => cancelled_while_it_waits(),
            5 if n % 160 == 5 => panics(),
            6 => joined(counted(|work| {
                spawn(move || {
                    yield_now();
                    work();
                })
            })),
            7 => drop(counted(|work| {
                let big = [n; 64];
                spawn(move || {
                    assert_eq!(big[63], n);
                    work();
                })
            })),
            8 => joined(counted(|work| {
                spawn(move || {
                    sleep(Duration::from_micros(1));
                    work();
                })
            })),
            _ => joined(counted(spawn)),
        }
    }
    until_done(afar);
}

/// Tasks that have not ended as yet.
fn loose() -> u64 {
    let ended: u64 = [&RAN, &CANCELLED, &PANICKED]
        .map(|count| count.load(SeqCst))
        .iter()
        .sum();
    SPAWNED.load(SeqCst).saturating_sub(ended)
}

/// Spawns what counts itself when it runs.
fn counted<H>(spawn: impl FnOnce(fn()) -> H) -> H {
    SPAWNED.fetch_add(1, SeqCst);
    spawn(|| {
        RAN.fetch_add(1, SeqCst);
    })
}

fn joined(task: JoinHandle<()>) {
    match task.join() {
        Ok(()) => {}
        Err(JoinError::Panic(panic)) => {
            assert_eq!(panic.downcast_ref(), Some(&ON_PURPOSE));
            PANICKED.fetch_add(1, SeqCst);
        }
        Err(_cancelled) => {
            CANCELLED.fetch_add(1, SeqCst);
        }
    }
}

fn cancelled_while_it_waits() {
    SPAWNED.fetch_add(1, SeqCst);
    let task = spawn(|| loop {
        task::park();
    });
    yield_now();
    task.cancel();
    joined(task);
}

fn panics() {
    SPAWNED.fetch_add(1, SeqCst);
    joined(spawn(|| panic::panic_any(ON_PURPOSE)));
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}
