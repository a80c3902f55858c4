//! What does it cost to wait for the first of several things, against waiting for the one alone in the same run?
//!
//! `cargo bench --bench select`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the first row of its group. The arms beside the one
//! that something comes from are silent.

mod common;

use common::{per_item, table, Bench};
use multitask::select::Select;
use multitask::sync::mpsc::{self, Receiver, RecvError, SyncSender};
use multitask::{select, Scheduler};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Something is there before it is looked for.
const READY: &[Bench] = &[
    ("send + recv in turn", |s| in_turn(s, |from, _| from.recv())),
    ("the same, select! of 1", |s| {
        in_turn(s, |from, _| one(from))
    }),
    ("the same, select! of 2", |s| in_turn(s, two)),
    ("the same, of 8", |s| in_turn(s, eight)),
    ("the same, Select of 2", |s| in_turn(s, built)),
    ("select! of 2 with default, none is", default),
];

/// It has to be waited for: there are two messages in a round trip, and two switches.
const WAITS: &[Bench] = &[
    ("round trip by recv", |s| {
        round_trips(s, |from, _| from.recv())
    }),
    ("the same, select! of 1", |s| {
        round_trips(s, |from, _| one(from))
    }),
    ("the same, select! of 2", |s| round_trips(s, two)),
    ("the same, with a time limit", |s| round_trips(s, timed)),
    ("the same, of 8", |s| round_trips(s, eight)),
    ("the same, Select of 2", |s| round_trips(s, built)),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[READY, WAITS], "to recv");
}

/// Seven that nothing comes from.
type Silent = [Receiver<u64>; 7];

fn one(from: &Receiver<u64>) -> Result<u64, RecvError> {
    select! { recv(from) -> message => message }
}

fn two(from: &Receiver<u64>, [silent, ..]: &Silent) -> Result<u64, RecvError> {
    select! { recv(from) -> message => message, recv(silent) -> message => message }
}

fn timed(from: &Receiver<u64>, [silent, ..]: &Silent) -> Result<u64, RecvError> {
    select! {
        recv(from) -> message => message,
        recv(silent) -> message => message,
        default(Duration::from_secs(5)) => Err(RecvError),
    }
}

fn eight(from: &Receiver<u64>, [a, b, c, d, e, f, g]: &Silent) -> Result<u64, RecvError> {
    select! {
        recv(a) -> message => message,
        recv(b) -> message => message,
        recv(c) -> message => message,
        recv(d) -> message => message,
        recv(from) -> message => message,
        recv(e) -> message => message,
        recv(f) -> message => message,
        recv(g) -> message => message,
    }
}

/// With arms that are known only at run time, and made anew each time.
fn built(from: &Receiver<u64>, [silent, ..]: &Silent) -> Result<u64, RecvError> {
    let arms = [from, silent];
    let mut select = Select::new();
    arms.iter().for_each(|arm| _ = select.recv(*arm));
    let operation = select.select();
    let index = operation.index();
    operation.recv(arms[index])
}

/// The senders keep them open.
fn silent() -> (Vec<SyncSender<u64>>, Silent) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..7).map(|_| mpsc::sync_channel(1)).unzip();
    let silent = Silent::try_from(receivers).expect("seven");
    (senders, silent)
}

fn in_turn(
    scheduler: &Scheduler,
    receive: impl Fn(&Receiver<u64>, &Silent) -> Result<u64, RecvError> + Send + 'static,
) -> f64 {
    const MESSAGES: u64 = 500_000;
    scheduler.block_on(|| {
        let (to, from) = mpsc::sync_channel(1);
        let (_senders, silent) = silent();
        let start = Instant::now();
        for i in 0..MESSAGES {
            to.send(i).expect("somebody listens");
            assert_eq!(receive(&from, &silent), Ok(i));
        }
        per_item(start, MESSAGES)
    })
}

fn default(scheduler: &Scheduler) -> f64 {
    const TIMES: u64 = 500_000;
    scheduler.block_on(|| {
        let (_senders, [silent, quiet, ..]) = silent();
        let start = Instant::now();
        for _ in 0..TIMES {
            let nothing = select! {
                recv(silent) -> _ => false,
                recv(quiet) -> _ => false,
                default => true,
            };
            assert!(black_box(nothing));
        }
        per_item(start, TIMES)
    })
}

fn round_trips(
    scheduler: &Scheduler,
    receive: impl Fn(&Receiver<u64>, &Silent) -> Result<u64, RecvError> + Send + 'static,
) -> f64 {
    const TRIPS: u64 = 200_000;
    let (ping, balls) = mpsc::sync_channel(1);
    let (pong, back) = mpsc::sync_channel(1);
    scheduler.spawn(move || {
        for ball in balls {
            pong.send(ball).expect("somebody listens");
        }
    });
    scheduler.block_on(move || {
        let (_senders, silent) = silent();
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.send(i).expect("somebody listens");
            assert_eq!(receive(&back, &silent), Ok(i));
        }
        per_item(start, TRIPS)
    })
}
