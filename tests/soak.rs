//! Each primitive used by everybody at once: tasks of several schedulers, plain threads, and plain threads that have tasks of
//! their own. At random they are cancelled, run out of time, are shielded, or use it in a
//! destructor while they unwind.
//!
//! `MULTITASK_SEED` is the seed, which is printed; `MULTITASK_SOAK` how many seconds it all takes, 8 if nothing is said, and 0 is none. A seed
//! fixes what everybody does, not when the system lets his thread run: a failure may take some runs to come again. A word
//! on the command line picks the trials that have it in their name.
//!
//! A trial is a function that makes what is tried and gives [`Arena::round`] two more: `step`, what everybody does again and
//! again and may be cut short in wherever it waits; and `settle`, called when no step begins any more and none is cut short,
//! until all have ended. It lets those go on who wait for what does not come any more, and may do that only if they wait
//! rightly. Then nobody holds anything, and the trial checks the books. Who is stuck is found by the watchdog.

#[path = "soak/arena.rs"]
mod arena;
#[path = "soak/books.rs"]
mod books;
#[path = "soak/channels.rs"]
mod channels;
#[path = "soak/choices.rs"]
mod choices;
mod common;
#[path = "soak/locks.rs"]
mod locks;
#[path = "soak/meetings.rs"]
mod meetings;
#[path = "soak/queues.rs"]
mod queues;
#[path = "soak/streams.rs"]
mod streams;
#[path = "soak/tasks.rs"]
mod tasks;

use arena::Arena;
use common::OnDrop;
use std::collections::hash_map::RandomState;
use std::env;
use std::hash::BuildHasher;
use std::thread;
use std::time::{Duration, Instant};

type Trial = (&'static str, fn(&Arena));

const TRIALS: &[Trial] = &[
    ("mutex", locks::mutex),
    ("rwlock", locks::rwlock),
    ("condvar", locks::condvar),
    ("semaphore", locks::semaphore),
    ("once", locks::once),
    ("once_lock", locks::once_lock),
    ("lazy_lock", locks::lazy_lock),
    ("park", meetings::park),
    ("barrier", meetings::barrier),
    ("event", meetings::event),
    ("notify", meetings::notify),
    ("wait_group", meetings::wait_group),
    ("timer", meetings::timer),
    ("interval", meetings::interval),
    ("queue", queues::queue),
    ("queue_matching", queues::queue_matching),
    ("mpsc_unbounded", channels::mpsc_unbounded),
    ("mpsc_bounded", channels::mpsc_bounded),
    ("mpsc_rendezvous", channels::mpsc_rendezvous),
    ("mpmc_unbounded", channels::mpmc_unbounded),
    ("mpmc_bounded", channels::mpmc_bounded),
    ("oneshot", channels::oneshot),
    ("select_macro", choices::select_macro),
    ("select_builder", choices::select_builder),
    ("scope", tasks::scope),
    ("try_scope", tasks::try_scope),
    ("join_set", tasks::join_set),
    ("join", tasks::join),
    ("pipes", streams::pipes),
    ("unix_streams", streams::unix_streams),
    ("tcp_streams", streams::tcp_streams),
];

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--ignored") {
        return; // none is
    }
    let word = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = |trial: &&Trial| word.is_none_or(|word| trial.0.contains(word.as_str()));
    let trials: Vec<_> = TRIALS.iter().filter(chosen).collect();
    let seconds = number("MULTITASK_SOAK").unwrap_or(8);
    let seed = number("MULTITASK_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    println!("MULTITASK_SEED={seed} MULTITASK_SOAK={seconds}");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    // Each at least once.
    while !trials.is_empty() && seconds > 0 && (rounds == 0 || Instant::now() < end) {
        for (name, trial) in &trials {
            let arena = Arena::open(name, seed, rounds);
            let _told = OnDrop(|| {
                if thread::panicking() {
                    eprintln!("{name} failed in round {rounds}: MULTITASK_SEED={seed}");
                }
            });
            trial(&arena);
            arena.close();
        }
        rounds += 1;
    }
    println!("{} trials, {rounds} rounds: ok", trials.len());
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}
