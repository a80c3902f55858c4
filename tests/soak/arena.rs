//! Where the trials of `soak.rs` take place: who takes part, who cuts him short, and the watchdog.

use crate::common::{OnDrop, Random};
use multitask::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::Arc;
use multitask::{sleep, spawn, task, timeout, yield_now, Handle, JoinError, JoinHandle, Scheduler};
use std::panic::{resume_unwind, Location};
use std::time::{Duration, Instant};
use std::{process, thread};

/// How long a round is stirred.
const ROUND: Duration = Duration::from_millis(120);
/// After so long without anything done somebody is stuck.
const STUCK: Duration = Duration::from_secs(30);
const SCHEDULERS: usize = 2;

/// Where a round takes place: its schedulers, and who takes part.
pub struct Arena {
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

/// What one of them is at: the place in the trial, none while he is between two steps.
struct Seat {
    who: String,
    place: std::sync::Mutex<Option<&'static Location<'static>>>,
    steps: AtomicU64,
}

/// One who takes part.
pub struct Actor {
    pub random: Random,
    shared: Arc<Shared>,
    seat: Arc<Seat>,
}

impl Arena {
    pub fn open(name: &'static str, seed: u64, round: u64) -> Arena {
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
                let scheduler = crate::common::scheduler();
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

    /// Where tasks can be sent.
    pub fn homes(&self) -> Vec<Handle> {
        let handles = self.schedulers.iter().map(|(handle, _)| handle.clone());
        handles.collect()
    }

    /// Numbers for this round of this trial.
    pub fn random(&self) -> Random {
        self.shared.random("")
    }

    /// See the head of this file.
    pub fn round<S: Send + Sync + 'static>(
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
                    // Nobody else would end what its steps have left behind.
                    task::run().unwrap();
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

    pub fn close(self) {
        self.shared.closed.store(true, SeqCst);
        self.watchdog.thread().unpark();
        for (_, thread) in self.schedulers {
            thread.join().unwrap();
        }
        self.watchdog.join().unwrap();
    }
}

/// A task that was cancelled has done what it was to do.
pub fn passed(result: Result<(), JoinError>) {
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
            place: std::sync::Mutex::default(),
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
            *self.seat.place.lock().unwrap() = None;
            self.seat.steps.fetch_add(1, SeqCst);
            self.shared.done.fetch_add(1, SeqCst);
            if self.chance(4) {
                yield_now();
            }
        }
    }

    /// A time in which something may happen or not.
    pub fn short(&mut self) -> Duration {
        Duration::from_micros(self.random.below(300) as u64)
    }

    /// Once in so many times.
    pub fn chance(&mut self, of: usize) -> bool {
        self.random.below(of) == 0
    }

    fn is_settling(&self) -> bool {
        self.shared.settling.load(SeqCst)
    }

    /// Notes where it is, for the report.
    #[track_caller]
    pub fn at(&self) {
        *self.seat.place.lock().unwrap() = Some(Location::caller());
    }

    /// Lets others come between: waits a little, or not at all.
    pub fn dawdle(&mut self) {
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
            let steps = seat.steps.load(SeqCst);
            match *seat.place.lock().unwrap() {
                Some(place) => eprintln!("{}: at {place}, after {steps} steps", seat.who),
                None => eprintln!("{}: after {steps} steps", seat.who),
            }
        }
        self.stuck.store(true, SeqCst);
        thread::sleep(Duration::from_secs(1));
        process::abort()
    }
}

/// Counts who is inside of something.
pub struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    pub fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Inside(count)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
