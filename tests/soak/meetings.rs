//! Where one waits for others, or for a moment.

use crate::arena::{passed, Actor, Arena, Inside};
use crate::common::OnDrop;
use multitask::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{Arc, Barrier, Event, Mutex, Notify, WaitGroup};
use multitask::task::{self, Task};
use multitask::time::{interval_at, Interval, Timer, TimerError};
use multitask::{sleep, timeout, Handle, JoinHandle, Timeout};
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// All come through in full groups, each with one leader.
pub fn barrier(arena: &Arena) {
    struct State {
        barrier: Barrier,
        through: AtomicUsize,
        leaders: AtomicUsize,
        interrupted: AtomicUsize,
    }
    fn come(state: &State) {
        let is_through = Cell::new(false);
        let _interrupted = OnDrop(|| {
            if !is_through.get() {
                state.interrupted.fetch_add(1, SeqCst);
            }
        });
        let is_leader = state.barrier.wait().is_leader();
        is_through.set(true);
        state.through.fetch_add(1, SeqCst);
        state.leaders.fetch_add(usize::from(is_leader), SeqCst);
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        come(state);
    }
    let group = 1 + arena.random().below(4);
    let state = Arc::new(State {
        barrier: Barrier::new(group),
        through: AtomicUsize::new(0),
        leaders: AtomicUsize::new(0),
        interrupted: AtomicUsize::new(0),
    });
    // One who waits for others that do not come makes a group with these.
    let scheduler = crate::common::scheduler();
    let filler = |_| {
        let state = state.clone();
        scheduler.spawn(move || loop {
            come(&state);
        })
    };
    let fillers: Vec<JoinHandle<()>> = (1..group).map(filler).collect();
    arena.round(&state, step, |_| {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    });
    fillers.iter().for_each(JoinHandle::cancel);
    scheduler.run().unwrap();
    fillers.into_iter().map(JoinHandle::join).for_each(passed);
    // Who is interrupted by his own thread in the moment in which another lets all through has come, but unwinds.
    let due = group * state.leaders.load(SeqCst);
    let interrupted = state.interrupted.load(SeqCst);
    assert!((due - interrupted.min(due)..=due).contains(&state.through.load(SeqCst)));
    // Nobody is left: what comes now does not make a group, for each leaves before the next comes.
    for _ in 1..group {
        let alone = timeout(Duration::ZERO, || state.barrier.wait().is_leader());
        assert_eq!(alone, Err(Timeout));
    }
}

/// Nobody comes through while it is not set.
pub fn event(arena: &Arena) {
    #[derive(Default)]
    struct State {
        event: Event,
        /// Who sets and clears does so alone.
        keeper: std::sync::Mutex<()>,
        /// Goes up before it is set,
        opened: AtomicU64,
        /// after it was cleared.
        closed: AtomicU64,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        if actor.chance(4) {
            let Ok(_keeper) = state.keeper.try_lock() else {
                return;
            };
            state.opened.fetch_add(1, SeqCst);
            state.event.set();
            if actor.chance(2) {
                thread::yield_now();
            }
            state.event.clear();
            state.closed.fetch_add(1, SeqCst);
            return;
        }
        let closed = state.closed.load(SeqCst);
        let opened = state.opened.load(SeqCst);
        let through = match actor.random.below(3) {
            0 => state.event.wait_timeout(actor.short()).is_ok(),
            _ => {
                state.event.wait();
                true
            }
        };
        // It was not set when the numbers were equal.
        assert!(!through || opened > closed || state.opened.load(SeqCst) > opened);
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |state| {
        state.opened.fetch_add(1, SeqCst);
        state.event.set();
    });
}

/// Whoever has been told of work finds it: nobody sleeps while there is some.
pub fn notify(arena: &Arena) {
    #[derive(Default)]
    struct State {
        notify: Notify,
        there: AtomicU64,
        waiting: AtomicUsize,
        put: AtomicU64,
        got: AtomicU64,
    }
    fn put(state: &State) {
        state.there.fetch_add(1, SeqCst);
        state.put.fetch_add(1, SeqCst);
        state.notify.notify_one();
    }
    fn take(state: &State) -> bool {
        let less = |there: u64| there.checked_sub(1);
        let Ok(before) = state.there.fetch_update(SeqCst, SeqCst, less) else {
            return false;
        };
        state.got.fetch_add(1, SeqCst);
        // One notification is kept, not several: whoever leaves some behind tells the next one.
        if before > 1 {
            state.notify.notify_one();
        }
        true
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        if actor.chance(2) {
            return put(state);
        }
        let _waiting = Inside::of(&state.waiting);
        let bounded = actor.chance(3);
        while !take(state) {
            actor.at();
            // What is announced now is not missed.
            actor.dawdle();
            if !bounded {
                state.notify.wait();
            } else if state.notify.wait_timeout(actor.short()).is_err() {
                return;
            }
        }
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |state| {
        // They wait rightly only if nothing is there.
        if state.there.load(SeqCst) == 0 && state.waiting.load(SeqCst) > 0 {
            put(state);
        }
    });
    let there = state.there.load(SeqCst);
    assert_eq!(state.put.load(SeqCst), state.got.load(SeqCst) + there);
}

/// Who waits goes on when all others are done, and not before.
pub fn wait_group(arena: &Arena) {
    struct State(Vec<Handle>);
    fn step(state: &State, actor: &mut Actor) {
        let group = WaitGroup::new();
        let busy = Arc::new(AtomicUsize::new(0));
        for _ in 0..actor.random.below(4) {
            // They are dropped in this order.
            struct Member(Arc<AtomicUsize>, #[allow(dead_code)] WaitGroup);
            impl Drop for Member {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, SeqCst);
                }
            }
            busy.fetch_add(1, SeqCst);
            let member = Member(busy.clone(), group.clone());
            let limit = actor.short();
            let work = move || {
                sleep(limit);
                drop(member);
            };
            match actor.random.below(3) {
                0 => work(),
                n => {
                    let task = state.0[n % state.0.len()].spawn(work);
                    if actor.chance(3) {
                        task.cancel();
                    }
                }
            }
        }
        actor.at();
        group.wait();
        assert_eq!(busy.load(SeqCst), 0);
    }
    arena.round(&Arc::new(State(arena.homes())), step, |_| ());
}

/// All who wait are told what became of the timer, and of nothing that did not happen.
pub fn timer(arena: &Arena) {
    struct State {
        timer: Timer,
        cancelled: AtomicBool,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let after = actor.short();
        match actor.random.below(8) {
            0 => {
                state.cancelled.store(true, SeqCst);
                state.timer.cancel();
            }
            1 | 2 => _ = state.timer.reset(after),
            3 => {
                let far = [Duration::from_secs(3600), Duration::MAX];
                state.timer.reset(far[actor.random.below(2)]);
            }
            n => {
                let waited = if n == 4 {
                    state.timer.wait_timeout(after)
                } else {
                    state.timer.wait()
                };
                let cancelled = state.cancelled.load(SeqCst);
                assert!(waited != Err(TimerError::Disarmed) || cancelled);
            }
        }
    }
    let state = Arc::new(State {
        timer: Timer::new(Duration::MAX),
        cancelled: AtomicBool::new(false),
    });
    let expires = arena.random().below(2) == 0;
    arena.round(&state, step, |state| {
        // They wait rightly only if it is far away.
        let far = Instant::now() + Duration::from_secs(60);
        let is_set = state.timer.wait_timeout(Duration::ZERO) == Err(TimerError::Timeout);
        if !is_set || state.timer.deadline().is_some_and(|at| at < far) {
        } else if expires {
            state.timer.reset(Duration::ZERO);
        } else {
            state.cancelled.store(true, SeqCst);
            state.timer.cancel();
        }
    });
}

/// However often waiting for it is cut short, no tick is lost, and none comes twice or early.
pub fn interval(arena: &Arena) {
    const PERIOD: Duration = Duration::from_micros(40);
    struct State {
        start: Instant,
        ticks: Mutex<(Interval, u32)>,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let mut ticks = state.ticks.lock().unwrap();
        let (interval, count) = &mut *ticks;
        for _ in 0..=actor.random.below(4) {
            actor.at();
            let tick = match actor.random.below(4) {
                0 => interval.tick_timeout(actor.short() / 10).ok(),
                1 => timeout(actor.short() / 10, || interval.tick()).ok(),
                _ => Some(interval.tick()),
            };
            let Some(tick) = tick else { continue };
            assert!(tick <= Instant::now());
            assert_eq!(tick, state.start + PERIOD * *count);
            *count += 1;
        }
    }
    let start = Instant::now();
    let ticks = Mutex::new((interval_at(start, PERIOD), 0));
    let state = Arc::new(State { start, ticks });
    arena.round(&state, step, |_| ());
    let (interval, count) = &*state.ticks.try_lock().unwrap();
    assert_eq!(interval.deadline(), Some(start + PERIOD * *count));
}

/// A token that was given is found by him for whom it was: nobody sleeps who was told to go on.
pub fn park(arena: &Arena) {
    /// Who waits for being called.
    struct Ticket {
        task: Task,
        called: AtomicBool,
    }
    #[derive(Default)]
    struct State {
        tickets: std::sync::Mutex<Vec<Arc<Ticket>>>,
        calls: AtomicU64,
        /// Came through a call, unwound out of waiting for it, or did not wait for it any more.
        through: AtomicU64,
        gone: AtomicU64,
    }
    fn call(state: &State, n: usize) -> bool {
        let mut tickets = state.tickets.lock().unwrap();
        if tickets.is_empty() {
            return false;
        }
        let n = n % tickets.len();
        let ticket = tickets.swap_remove(n);
        drop(tickets);
        state.calls.fetch_add(1, SeqCst);
        ticket.called.store(true, SeqCst);
        ticket.task.unpark();
        true
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        match actor.random.below(9) {
            // Tokens that say nothing, for others and for himself.
            0 => {
                let ticket = state.tickets.lock().unwrap().last().cloned();
                ticket.iter().for_each(|ticket| ticket.task.unpark());
            }
            1 => task::current().unpark(),
            2..5 => _ = call(state, actor.random.below(100)),
            _ => wait(state, actor),
        }
    }
    fn wait(state: &State, actor: &mut Actor) {
        let ticket = Arc::new(Ticket {
            task: task::current(),
            called: AtomicBool::new(false),
        });
        let is_through = Cell::new(false);
        let _gone = OnDrop(|| {
            let count = [&state.gone, &state.through][usize::from(is_through.get())];
            count.fetch_add(1, SeqCst);
        });
        state.tickets.lock().unwrap().push(ticket.clone());
        let is_bounded = actor.chance(4);
        while !ticket.called.load(SeqCst) {
            actor.at();
            actor.dawdle();
            if is_bounded {
                task::park_timeout(actor.short());
                if actor.chance(4) {
                    return;
                }
            } else {
                task::park();
            }
        }
        is_through.set(true);
    }
    let state = Arc::new(State::default());
    // Whoever has not been called waits rightly.
    arena.round(&state, step, |state| while call(state, 0) {});
    let (calls, through) = (state.calls.load(SeqCst), state.through.load(SeqCst));
    // Who went may have been called as well.
    assert!((through..=through + state.gone.load(SeqCst)).contains(&calls));
}
