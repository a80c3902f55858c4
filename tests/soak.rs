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

mod common;

use common::{OnDrop, Random};
use multitask::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{
    Arc, Barrier, Condvar, Event, GetError, LockTimeoutError, Mutex, Notify, Once, PutError, Queue,
    RwLock, Semaphore, TryGetError, WaitGroup,
};
use multitask::time::{Timer, TimerError};
use multitask::{sleep, spawn, task, timeout, yield_now, Handle, JoinHandle, Scheduler, Timeout};
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::{resume_unwind, Location};
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// How long a round is stirred.
const ROUND: Duration = Duration::from_millis(120);
/// After so long without anything done somebody is stuck.
const STUCK: Duration = Duration::from_secs(30);
const SCHEDULERS: usize = 2;

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

// ---- those who take part ----

/// Where a round takes place: its schedulers, and who takes part.
struct Arena {
    shared: Arc<Shared>,
    schedulers: Vec<(Handle, thread::JoinHandle<()>)>,
    watchdog: thread::JoinHandle<()>,
}

struct Shared {
    name: &'static str,
    seed: u64,
    round: u64,
    /// No step begins any more, and none is cut short.
    settling: AtomicBool,
    /// The round is over.
    closed: AtomicBool,
    /// Nothing has been done for long: the schedulers are to say what they know.
    stuck: AtomicBool,
    /// Goes up with everything that is done.
    done: AtomicU64,
    /// What everybody is at.
    seats: std::sync::Mutex<Vec<Arc<Seat>>>,
}

/// What one of them is at: the line of the trial, 0 while he is between two steps.
struct Seat {
    who: String,
    line: AtomicUsize,
    steps: AtomicU64,
}

/// One who takes part.
struct Actor {
    random: Random,
    shared: Arc<Shared>,
    seat: Arc<Seat>,
}

impl Arena {
    fn open(name: &'static str, seed: u64, round: u64) -> Arena {
        let shared = Arc::new(Shared {
            name,
            seed,
            round,
            settling: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            done: AtomicU64::new(0),
            seats: std::sync::Mutex::default(),
        });
        let scheduler = |n| {
            let (tell, told) = std::sync::mpsc::channel();
            let shared = shared.clone();
            let thread = thread::spawn(move || {
                let scheduler = Scheduler::new().unwrap();
                tell.send(scheduler.handle()).unwrap();
                shared.serve(n, &scheduler);
            });
            (told.recv().unwrap(), thread)
        };
        let schedulers = (0..SCHEDULERS).map(scheduler).collect();
        let watched = shared.clone();
        let watchdog = thread::spawn(move || watched.watch());
        Arena {
            shared,
            schedulers,
            watchdog,
        }
    }

    /// Numbers for this round of this trial.
    fn random(&self) -> Random {
        self.shared.random("")
    }

    /// See the head of this file.
    fn round<S: Send + Sync + 'static>(
        &self,
        state: &Arc<S>,
        step: fn(&S, &mut Actor),
        settle: impl Fn(&S),
    ) {
        let threads: Vec<_> = (0..4_u64)
            .map(|n| {
                let (state, shared) = (state.clone(), self.shared.clone());
                let who = format!("thread {n}");
                thread::spawn(move || {
                    // Half of them have tasks to run meanwhile, which take part as well.
                    let own = (n % 2 == 1).then(|| {
                        let (state, shared) = (state.clone(), shared.clone());
                        let who = format!("task of thread {n}");
                        spawn(move || lead(&state, step, Actor::new(&shared, who), None))
                    });
                    Actor::new(&shared, who).stir(&*state, step, u64::MAX);
                    own.map(JoinHandle::join).into_iter().for_each(passed);
                })
            })
            .collect();
        let mut leaders = Vec::new();
        for (n, (handle, _)) in self.schedulers.iter().enumerate() {
            for k in 0..4 {
                let who = format!("task {k} of scheduler {n}");
                let actor = Actor::new(&self.shared, who);
                let (next, _) = &self.schedulers[(n + k) % SCHEDULERS];
                let (state, next) = (state.clone(), next.clone());
                leaders.push(handle.spawn(move || lead(&state, step, actor, Some(&next))));
            }
        }
        thread::sleep(ROUND);
        self.shared.settling.store(true, SeqCst);
        while !(leaders.iter().all(JoinHandle::is_finished)
            && threads.iter().all(thread::JoinHandle::is_finished))
        {
            settle(state);
            thread::sleep(Duration::from_micros(50));
        }
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        leaders.into_iter().map(JoinHandle::join).for_each(passed);
    }

    fn close(self) {
        self.shared.closed.store(true, SeqCst);
        self.watchdog.thread().unpark();
        for (_, thread) in self.schedulers {
            thread.join().unwrap();
        }
        self.watchdog.join().unwrap();
    }
}

/// A task that was cancelled has done what it was to do.
fn passed(result: Result<(), multitask::JoinError>) {
    match result {
        Ok(()) => {}
        Err(error) if error.is_cancelled() => {}
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Sends out one task after the other, on `home` if it says where, and cancels some.
fn lead<S: Send + Sync + 'static>(
    state: &Arc<S>,
    step: fn(&S, &mut Actor),
    mut leader: Actor,
    home: Option<&Handle>,
) {
    while !leader.is_settling() {
        let (mut actor, mut last) = (leader.share(), leader.share());
        let (state, steps) = (state.clone(), leader.random.below(40) as u64);
        let work = move || {
            let farewell = state.clone();
            let _farewell = OnDrop(move || {
                if thread::panicking() && !last.is_settling() {
                    step(&farewell, &mut last);
                }
            });
            actor.stir(&*state, step, steps);
        };
        let member = match home {
            Some(home) => home.spawn(work),
            None => spawn(work),
        };
        match leader.random.below(4) {
            0 => {}
            1 => yield_now(),
            _ => sleep(leader.short()),
        }
        if !leader.chance(3) && !leader.is_settling() {
            member.cancel();
        }
        passed(member.join());
    }
}

impl Actor {
    fn new(shared: &Arc<Shared>, who: String) -> Actor {
        let seat = Arc::new(Seat {
            who,
            line: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
        });
        shared.seats.lock().unwrap().push(seat.clone());
        Actor {
            random: shared.random(&seat.who),
            shared: shared.clone(),
            seat,
        }
    }

    /// Another with the same seat.
    fn share(&mut self) -> Actor {
        Actor {
            random: Random::new(self.random.below(1 << 31) as u64),
            shared: self.shared.clone(),
            seat: self.seat.clone(),
        }
    }

    /// Takes so many steps, some of which are cut short.
    fn stir<S>(&mut self, state: &S, step: fn(&S, &mut Actor), steps: u64) {
        for _ in 0..steps {
            if self.is_settling() {
                return;
            }
            let limit = self.short();
            let _in_time = match self.random.below(6) {
                0 => timeout(limit, || step(state, self)),
                1 => timeout(limit, || task::shield(|| step(state, self))),
                2 => task::shield(|| timeout(limit, || step(state, self))),
                3 => timeout(Duration::MAX, || task::shield(|| step(state, self))),
                _ => timeout(Duration::MAX, || step(state, self)),
            };
            self.seat.line.store(0, SeqCst);
            self.seat.steps.fetch_add(1, SeqCst);
            self.shared.done.fetch_add(1, SeqCst);
            if self.chance(4) {
                yield_now();
            }
        }
    }

    /// A time in which something may happen or not.
    fn short(&mut self) -> Duration {
        Duration::from_micros(self.random.below(300) as u64)
    }

    /// Once in so many times.
    fn chance(&mut self, of: usize) -> bool {
        self.random.below(of) == 0
    }

    fn is_settling(&self) -> bool {
        self.shared.settling.load(SeqCst)
    }

    /// Notes where it is, for the report.
    #[track_caller]
    fn at(&self) {
        let line = Location::caller().line() as usize;
        self.seat.line.store(line, SeqCst);
    }

    /// Lets others come between: waits a little, or not at all.
    fn dawdle(&mut self) {
        match self.random.below(8) {
            0 => sleep(self.short()),
            1..3 => yield_now(),
            _ => {}
        }
    }
}

impl Shared {
    /// The numbers of `who` in this round.
    fn random(&self, who: &str) -> Random {
        let text = self.name.bytes().chain(who.bytes());
        let salt = text.fold(self.round, |salt, byte| {
            salt.wrapping_mul(257).wrapping_add(u64::from(byte))
        });
        Random::new(self.seed ^ salt)
    }

    /// Runs a scheduler until the round is over.
    fn serve(&self, n: usize, scheduler: &Scheduler) {
        let mut reported = false;
        while !self.closed.load(SeqCst) {
            scheduler.block_on(|| sleep(Duration::from_millis(2)));
            if self.stuck.load(SeqCst) && !reported {
                eprintln!("scheduler {n}: {:?}", scheduler.stats());
                reported = true;
            }
        }
        scheduler.run().unwrap();
    }

    /// Ends the process if nothing is done any more.
    fn watch(&self) {
        let mut seen = (u64::MAX, Instant::now());
        while !self.closed.load(SeqCst) {
            let done = self.done.load(SeqCst);
            if done != seen.0 || !self.settling.load(SeqCst) {
                seen = (done, Instant::now());
            } else if seen.1.elapsed() > STUCK {
                self.give_up();
            }
            thread::park_timeout(Duration::from_secs(1));
        }
    }

    fn give_up(&self) -> ! {
        let Shared {
            name, seed, round, ..
        } = self;
        eprintln!("{name} is stuck in round {round}: MULTITASK_SEED={seed}");
        for seat in &*self.seats.lock().unwrap() {
            let (line, steps) = (seat.line.load(SeqCst), seat.steps.load(SeqCst));
            eprintln!("{}: at line {line}, after {steps} steps", seat.who);
        }
        self.stuck.store(true, SeqCst);
        thread::sleep(Duration::from_secs(1));
        process::abort()
    }
}

/// Counts who is inside of something.
struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Inside(count)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
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
            let guard = multitask::sync::RwLockWriteGuard::downgrade(guard);
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
                    let task = state.0[n % SCHEDULERS].spawn(work);
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
