//! Each primitive of `sync`, and the timer, used by everybody at once: tasks of several schedulers, plain threads, and plain
//! threads that have tasks of their own. At random they are cancelled, run out of time, are shielded, or use it in a
//! destructor while they unwind.
//!
//! `MULTITASK_SEED` is the seed, which is printed; `MULTITASK_SOAK` how many seconds it all takes, 8 if nothing is said. A seed
//! fixes what everybody does, not when the system lets his thread run: a failure may take some runs to come again. A word
//! on the command line picks the trials that have it in their name.
//!
//! A trial is a function that makes what is tried and gives [`Arena::round`] two more: `step`, what everybody does again and
//! again and may be cut short in wherever it waits; and `settle`, called when no step begins any more and none is cut short,
//! until all have ended. It lets those go on who wait for what does not come any more, and may do that only if they wait
//! rightly. Then nobody holds anything, and the trial checks the books. Who is stuck is found by the watchdog.

#[path = "soak/arena.rs"]
mod arena;
mod common;

use arena::{passed, Actor, Arena, Inside};
use common::OnDrop;
use multitask::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{
    Arc, Barrier, Condvar, Event, GetError, LockTimeoutError, Mutex, Notify, Once, PutError, Queue,
    RwLock, RwLockWriteGuard, Semaphore, TryGetError, WaitGroup,
};
use multitask::time::{Timer, TimerError};
use multitask::{sleep, timeout, Handle, JoinHandle, Scheduler, Timeout};
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::env;
use std::hash::BuildHasher;
use std::thread;
use std::time::{Duration, Instant};

type Trial = (&'static str, fn(&Arena));

const TRIALS: [Trial; 12] = [
    ("mutex", mutex),
    ("rwlock", rwlock),
    ("condvar", condvar),
    ("semaphore", semaphore),
    ("barrier", barrier),
    ("once", once),
    ("event", event),
    ("notify", notify),
    ("wait_group", wait_group),
    ("queue", queue),
    ("queue_matching", queue_matching),
    ("timer", timer),
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
    while !trials.is_empty() && (rounds == 0 || Instant::now() < end) {
        for (name, trial) in &trials {
            let arena = Arena::open(name, seed, rounds);
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

/// What was locked, if it was locked in time.
fn in_time<G>(locked: Result<G, LockTimeoutError<G>>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(LockTimeoutError::Poisoned(_)) => panic!("poisoned, though nobody panicked"),
        Err(LockTimeoutError::Timeout | LockTimeoutError::Cancelled) => None,
    }
}

// ---- the trials ----

/// One at a time is inside; each time counts; it is free in the end and poisoned by nobody.
fn mutex(arena: &Arena) {
    #[derive(Default)]
    struct State {
        times: Mutex<u64>,
        inside: AtomicUsize,
        counted: AtomicU64,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let guard = match actor.random.below(4) {
            0 => state.times.try_lock().ok(),
            1 => in_time(state.times.lock_timeout(actor.short())),
            _ => Some(state.times.lock().unwrap()),
        };
        let Some(mut guard) = guard else { return };
        actor.at();
        let _inside = Inside::of(&state.inside);
        assert_eq!(state.inside.load(SeqCst), 1);
        actor.dawdle();
        *guard += 1;
        state.counted.fetch_add(1, SeqCst);
        actor.dawdle();
        assert_eq!(state.inside.load(SeqCst), 1);
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |_| ());
    assert_eq!(*state.times.try_lock().unwrap(), state.counted.load(SeqCst));
}

/// Readers are inside together, a writer alone; each writer counts; it is free in the end.
fn rwlock(arena: &Arena) {
    #[derive(Default)]
    struct State {
        times: RwLock<u64>,
        /// How many readers are inside; -1 is a writer.
        inside: AtomicIsize,
        counted: AtomicU64,
    }
    fn enter(state: &State, by: isize) -> OnDrop<impl FnMut() + '_> {
        let before = state.inside.fetch_add(by, SeqCst);
        assert!(if by < 0 { before == 0 } else { before >= 0 });
        OnDrop(move || _ = state.inside.fetch_sub(by, SeqCst))
    }
    fn read(state: &State, actor: &mut Actor) {
        let guard = match actor.random.below(4) {
            0 => state.times.try_read().ok(),
            1 => in_time(state.times.read_timeout(actor.short())),
            _ => Some(state.times.read().unwrap()),
        };
        let Some(guard) = guard else { return };
        actor.at();
        let _inside = enter(state, 1);
        let before = *guard;
        actor.dawdle();
        assert_eq!(*guard, before);
    }
    fn write(state: &State, actor: &mut Actor) {
        let guard = match actor.random.below(4) {
            0 => state.times.try_write().ok(),
            1 => in_time(state.times.write_timeout(actor.short())),
            _ => Some(state.times.write().unwrap()),
        };
        let Some(mut guard) = guard else { return };
        actor.at();
        let inside = enter(state, -1);
        actor.dawdle();
        *guard += 1;
        let counted = state.counted.fetch_add(1, SeqCst) + 1;
        if actor.chance(4) {
            drop(inside);
            let guard = RwLockWriteGuard::downgrade(guard);
            let _inside = enter(state, 1);
            actor.dawdle();
            assert_eq!(*guard, counted);
        } else {
            actor.dawdle();
        }
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        if actor.chance(3) {
            write(state, actor);
        } else {
            read(state, actor);
        }
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |_| ());
    assert_eq!(
        *state.times.try_write().unwrap(),
        state.counted.load(SeqCst)
    );
}

/// What was announced to one is taken by one: nobody sleeps while something is there for him.
fn condvar(arena: &Arena) {
    #[derive(Default)]
    struct State {
        /// How much is there, and how many wait for it. Who is late, or unwinds out of his wait, takes himself off.
        there: Mutex<u64>,
        waiting: AtomicUsize,
        changed: Condvar,
        put: AtomicU64,
        got: AtomicU64,
    }
    fn put(state: &State) {
        let mut there = state.there.lock().unwrap();
        *there += 1;
        state.put.fetch_add(1, SeqCst);
        drop(there);
        state.changed.notify_one();
    }
    fn get(state: &State, actor: &mut Actor) {
        let mut there = state.there.lock().unwrap();
        let waiting = Inside::of(&state.waiting);
        let bounded = actor.chance(3);
        while *there == 0 {
            actor.at();
            if bounded {
                let limit = actor.short();
                let (guard, result) = state.changed.wait_timeout(there, limit).unwrap();
                there = guard;
                if result.timed_out() {
                    break;
                }
            } else {
                there = state.changed.wait(there).unwrap();
            }
        }
        drop(waiting);
        if *there > 0 {
            *there -= 1;
            state.got.fetch_add(1, SeqCst);
        }
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        match actor.random.below(20) {
            0 => state.changed.notify_all(),
            1..11 => put(state),
            _ => get(state, actor),
        }
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |state| {
        // They wait rightly only if nothing is there.
        let nothing = *state.there.lock().unwrap() == 0;
        if nothing && state.waiting.load(SeqCst) > 0 {
            put(state);
        }
    });
    let there = *state.there.try_lock().unwrap();
    assert_eq!(state.put.load(SeqCst), state.got.load(SeqCst) + there);
}

/// There are never more permits out than there are, and all are back in the end.
fn semaphore(arena: &Arena) {
    struct State {
        permits: usize,
        semaphore: Arc<Semaphore>,
        out: AtomicUsize,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let many = 1 + actor.random.below(state.permits);
        let semaphore = &state.semaphore;
        let limit = actor.short();
        if actor.chance(4) {
            let permit = semaphore.clone().acquire_many_owned(many);
            if permit.is_ok() {
                hold(state, actor, many);
            }
            return;
        }
        let permit = match actor.random.below(4) {
            0 => semaphore.try_acquire_many(many).ok(),
            1 => semaphore.acquire_many_timeout(many, limit).ok(),
            _ => semaphore.acquire_many(many).ok(),
        };
        let Some(permit) = permit else { return };
        hold(state, actor, many);
        if actor.chance(8) {
            permit.forget();
            semaphore.add_permits(many);
        }
    }
    fn hold(state: &State, actor: &mut Actor, many: usize) {
        actor.at();
        let out = state.out.fetch_add(many, SeqCst) + many;
        let _back = OnDrop(|| _ = state.out.fetch_sub(many, SeqCst));
        assert!(out <= state.permits, "{out} of {}", state.permits);
        actor.dawdle();
    }
    let permits = 1 + arena.random().below(6);
    let state = Arc::new(State {
        permits,
        semaphore: Arc::new(Semaphore::new(permits)),
        out: AtomicUsize::new(0),
    });
    arena.round(&state, step, |_| ());
    assert_eq!(state.semaphore.available_permits(), permits);
}

/// All come through in full groups, each with one leader.
fn barrier(arena: &Arena) {
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
    let scheduler = Scheduler::new().unwrap();
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

/// What is to be done once is begun by one at a time, and done once, however often it was given up.
fn once(arena: &Arena) {
    const MANY: usize = 1 << 14;
    struct State {
        cells: Vec<(Once, AtomicUsize, AtomicUsize)>,
        next: AtomicUsize,
    }
    fn call(cell: &(Once, AtomicUsize, AtomicUsize), actor: &mut Actor) {
        let (once, inside, done) = cell;
        once.call_once(|| {
            actor.at();
            let _inside = Inside::of(inside);
            assert_eq!(inside.load(SeqCst), 1);
            actor.dawdle();
            assert_eq!(done.fetch_add(1, SeqCst), 0);
        });
        assert!(once.is_completed());
        assert_eq!(done.load(SeqCst), 1);
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let next = match actor.random.below(4) {
            0 => state.next.fetch_add(1, SeqCst),
            _ => state.next.load(SeqCst),
        };
        let cell = &state.cells[(next + actor.random.below(3)) % MANY];
        if actor.chance(4) {
            // Perhaps nobody does it.
            let limit = actor.short();
            let waited = timeout(limit, || cell.0.wait());
            assert!(waited == Err(Timeout) || cell.2.load(SeqCst) == 1);
        } else {
            call(cell, actor);
        }
    }
    let cells = (0..MANY).map(|_| (Once::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
    let state = Arc::new(State {
        cells: cells.collect(),
        next: AtomicUsize::new(0),
    });
    arena.round(&state, step, |state| {
        // Who waits where nobody does it.
        for (once, _, done) in &state.cells {
            once.call_once(|| _ = done.fetch_add(1, SeqCst));
        }
    });
    for (once, inside, done) in &state.cells {
        once.call_once(|| _ = done.fetch_add(1, SeqCst));
        assert_eq!((inside.load(SeqCst), done.load(SeqCst)), (0, 1));
    }
}

/// Nobody comes through while it is not set.
fn event(arena: &Arena) {
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
fn notify(arena: &Arena) {
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
fn wait_group(arena: &Arena) {
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
    let handles = arena.schedulers.iter().map(|(handle, _)| handle.clone());
    arena.round(&Arc::new(State(handles.collect())), step, |_| ());
}

/// What goes through a queue.
struct Traffic {
    queue: Queue<u64>,
    next: AtomicU64,
    /// How many, and their sum.
    put: [AtomicU64; 2],
    got: [AtomicU64; 2],
    putting: AtomicUsize,
    getting: AtomicUsize,
}

impl Traffic {
    fn new(arena: &Arena) -> Arc<Traffic> {
        Arc::new(Traffic {
            queue: Queue::bounded(arena.random().below(5)),
            next: AtomicU64::new(1),
            put: Default::default(),
            got: Default::default(),
            putting: AtomicUsize::new(0),
            getting: AtomicUsize::new(0),
        })
    }

    fn count([count, sum]: &[AtomicU64; 2], item: u64) {
        count.fetch_add(1, SeqCst);
        sum.fetch_add(item, SeqCst);
    }

    fn put(&self, actor: &mut Actor) {
        actor.at();
        let item = self.next.fetch_add(1, SeqCst);
        let _putting = Inside::of(&self.putting);
        let back = match actor.random.below(4) {
            0 => self.queue.try_put(item).err().map(|e| e.into_inner()),
            1 => {
                let put = self.queue.put_timeout(item, actor.short());
                put.err().map(PutError::into_inner)
            }
            _ => self.queue.put(item).err().map(PutError::into_inner),
        };
        match back {
            None => Traffic::count(&self.put, item),
            Some(back) => assert_eq!(back, item),
        }
    }

    fn get(&self, actor: &mut Actor) {
        actor.at();
        let _getting = Inside::of(&self.getting);
        let got = match actor.random.below(4) {
            0 => self.queue.try_get().map_err(|error| match error {
                TryGetError::Empty => GetError::Timeout,
                TryGetError::Closed => GetError::Closed,
            }),
            1 => self.queue.get_timeout(actor.short()),
            _ => self.queue.get(),
        };
        if let Ok(item) = got {
            Traffic::count(&self.got, item);
        }
    }

    fn get_matching(&self, actor: &mut Actor) {
        actor.at();
        let parity = actor.random.below(2) as u64;
        let wanted = |item: &u64| item % 2 == parity;
        let got = match actor.random.below(3) {
            0 => self.queue.get_matching_timeout(wanted, actor.short()),
            _ => self.queue.get_matching(wanted),
        };
        if let Ok(item) = got {
            assert!(wanted(&item));
            Traffic::count(&self.got, item);
        }
    }

    /// Whoever waits with reason is told: he waits for what nobody does any more.
    fn settle(&self) {
        let (getting, putting) = (&self.getting, &self.putting);
        let has_items = !self.queue.is_empty() || putting.load(SeqCst) > 0;
        let has_room = !self.queue.is_full() || getting.load(SeqCst) > 0;
        let stuck_getter = getting.load(SeqCst) > 0 && has_items;
        let stuck_putter = putting.load(SeqCst) > 0 && has_room;
        // For a moment both may be true; for ever, somebody has been forgotten.
        if !stuck_getter && !stuck_putter {
            self.queue.close();
        }
    }

    /// Each item that was put is got once.
    fn check(&self) {
        self.queue.close();
        for item in self.queue.iter() {
            Traffic::count(&self.got, item);
        }
        let books = |[count, sum]: &[AtomicU64; 2]| (count.load(SeqCst), sum.load(SeqCst));
        assert_eq!(books(&self.put), books(&self.got));
    }
}

fn queue(arena: &Arena) {
    fn step(traffic: &Traffic, actor: &mut Actor) {
        if actor.chance(2) {
            traffic.put(actor);
        } else {
            traffic.get(actor);
        }
    }
    let traffic = Traffic::new(arena);
    arena.round(&traffic, step, Traffic::settle);
    traffic.check();
}

fn queue_matching(arena: &Arena) {
    fn step(traffic: &Traffic, actor: &mut Actor) {
        match actor.random.below(4) {
            0 | 1 => traffic.put(actor),
            2 => traffic.get_matching(actor),
            _ => traffic.get(actor),
        }
    }
    let traffic = Traffic::new(arena);
    // Who wants what is not there waits rightly.
    arena.round(&traffic, step, |traffic| traffic.queue.close());
    traffic.check();
}

/// All who wait are told what became of the timer, and of nothing that did not happen.
fn timer(arena: &Arena) {
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
