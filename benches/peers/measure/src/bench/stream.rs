//! `stream`: five tasks send to one.

use crate::measure::{each, leak};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{take_turns, Fiber, Stacks};
use crate::peer::{dispatch, AsyncChannel, Channel, Stackful, Stackless};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SENDERS: u64 = 5;
const CAPACITY: usize = 100;

pub const BENCH: Bench = Bench {
    name: "stream",
    about: "5 tasks send to one; per message",
    cases: &[
        Case {
            param: "capacity 100, 1 worker",
            n: CAPACITY,
            workers: 1,
            size: [5_000_000, 500_000, 1_000],
        },
        Case {
            param: "capacity 100, 2 workers",
            n: CAPACITY,
            workers: 2,
            size: [5_000_000, 500_000, 1_000],
        },
        Case {
            param: "unbounded, 1 worker",
            n: 0,
            workers: 1,
            size: [5_000_000, 500_000, 1_000],
        },
        Case {
            param: "unbounded, 2 workers",
            n: 0,
            workers: 2,
            size: [5_000_000, 500_000, 1_000],
        },
    ],
    peers: &[
        Peer::Multitask,
        Peer::Tokio,
        Peer::TokioMulti,
        Peer::May,
        Peer::Smol,
        Peer::Go,
        Peer::Threads,
        Peer::Floor,
    ],
    shown: None,
    work: Work::Here(run),
};

fn run(peer: Peer, job: &Job) -> Outcome {
    dispatch!(peer, job, stackful, stackless, floor(job))
}

/// Each of the senders sends 0, 1, 2 and so on.
fn assert_total(total: u64, times: u64) {
    assert_eq!(total, SENDERS * (times * (times - 1) / 2));
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let peer = leak(P::start(job.workers)?);
    match job.n {
        0 => functions::<P, P::Unbounded>(peer, job),
        _ => functions::<P, P::Bounded>(peer, job),
    }
}

fn functions<P: Stackful, C: Channel>(peer: &P, job: &Job) -> Outcome {
    let n = job.n;
    C::open(n).map(drop)?;
    each(job.size, |size| {
        peer.run(move || {
            let (sender, receiver) = C::open(n).expect("as before");
            let times = size.div_ceil(SENDERS);
            let receiver = P::spawn(move || {
                let mut total = 0;
                while let Some(i) = C::receive(&receiver) {
                    total += i;
                }
                total
            });
            let start = Instant::now();
            let work = |sender: C::Sender| {
                move || {
                    for i in 0..times {
                        C::send(&sender, i);
                    }
                }
            };
            let senders: Vec<_> = (0..SENDERS)
                .map(|_| P::spawn(work(sender.clone())))
                .collect();
            drop(sender);
            senders.into_iter().for_each(P::join);
            assert_total(P::join(receiver), times);
            start.elapsed()
        })
    })
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let peer = leak(P::start(peer, job.workers)?);
    match job.n {
        0 => futures::<P, P::Unbounded>(peer, job),
        _ => futures::<P, P::Bounded>(peer, job),
    }
}

fn futures<P: Stackless, C: AsyncChannel>(peer: &P, job: &Job) -> Outcome {
    let n = job.n;
    C::open(n).map(drop)?;
    each(job.size, |size| {
        peer.run(async move {
            let (sender, mut receiver) = C::open(n).expect("as before");
            let times = size.div_ceil(SENDERS);
            let receiver = P::spawn(async move {
                let mut total = 0;
                while let Some(i) = C::receive(&mut receiver).await {
                    total += i;
                }
                total
            });
            let start = Instant::now();
            let work = |sender: C::Sender| async move {
                for i in 0..times {
                    C::send(&sender, i).await;
                }
            };
            let senders: Vec<_> = (0..SENDERS)
                .map(|_| P::spawn(work(sender.clone())))
                .collect();
            drop(sender);
            for sender in senders {
                P::join(sender).await;
            }
            assert_total(P::join(receiver).await, times);
            start.elapsed()
        })
    })
}

/// A plain ring, and a bare switch when it is full or empty.
fn floor(job: &Job) -> Outcome {
    if job.workers > 1 {
        return Err("it has one worker".into());
    }
    let capacity = if job.n == 0 { usize::MAX } else { job.n };
    each(job.size, |size| bare(size, capacity))
}

fn bare(size: u64, capacity: usize) -> Duration {
    let ring = Rc::new(RefCell::new(VecDeque::with_capacity(capacity.min(1 << 20))));
    let (open, total) = (Rc::new(Cell::new(SENDERS)), Rc::new(Cell::new(0)));
    let times = size.div_ceil(SENDERS);
    let mut stacks = Stacks::new(SENDERS as usize + 1);
    let sender = |_| {
        let (ring, open) = (ring.clone(), open.clone());
        Fiber::new(stacks.slot(), move |yields| {
            for i in 0..times {
                while ring.borrow().len() == capacity {
                    yields.suspend(());
                }
                ring.borrow_mut().push_back(i);
            }
            open.set(open.get() - 1);
        })
    };
    let mut fibers: Vec<_> = (0..SENDERS).map(sender).collect();
    let sum = total.clone();
    fibers.push(Fiber::new(stacks.slot(), move |yields| loop {
        let next = ring.borrow_mut().pop_front();
        match next {
            Some(i) => sum.set(sum.get() + i),
            None if open.get() == 0 => break,
            None => yields.suspend(()),
        }
    }));
    let start = Instant::now();
    take_turns(&mut fibers);
    assert_total(total.get(), times);
    start.elapsed()
}
