//! Interruptions at each point of suspension: a driver, and an account of what was sent.

use super::{settle, Dropped, Drops, OnDrop, LONG};
use multitask::sync::mpmc;
use multitask::{timeout_at, JoinError, JoinHandle, Scheduler};
use std::collections::BTreeSet;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// ---- the driver ----

const SHORT: Duration = Duration::from_millis(2);
/// If nothing happens for so long, nothing will.
const PATIENCE: Duration = Duration::from_millis(30);

pub type Work = Box<dyn FnOnce() + Send>;

pub struct Trial {
    /// What is interrupted. Its operations may take until then.
    pub victim: Box<dyn FnOnce(Instant) + Send>,
    /// The others, who must end whatever becomes of the victim,
    pub others: Vec<Work>,
    /// after this was done, when none of them can go on.
    pub then: Work,
    pub end: Work,
}

/// How it is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Cancel,
    /// By the deadline of a scope round it.
    Scope,
    OwnLimit,
    /// By being cancelled in a destructor, while its stack unwinds: what can fail says so, the rest waits for real.
    Unwinding,
}

const WAYS: [Way; 4] = [Way::Cancel, Way::Scope, Way::OwnLimit, Way::Unwinding];

/// What comes of the time that passes between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Nothing: all that happens is done by the tasks.
    Tasks,
    /// Timers, descriptors, children and threads: a round is waited for.
    World,
}

impl Pace {
    /// Lets the tasks go on once, if one of them can within a while.
    fn round(self, scheduler: &Scheduler) {
        let until = Instant::now()
            + match self {
                Pace::Tasks => Duration::ZERO,
                Pace::World => PATIENCE,
            };
        let left = || until.saturating_duration_since(Instant::now());
        while scheduler.turn(Some(left())).unwrap() == 0 && !left().is_zero() {}
    }

    /// Lets them go on until `victim` has ended, if it does without any more help.
    fn settle(self, scheduler: &Scheduler, victim: &JoinHandle<()>) {
        settle(scheduler);
        if self == Pace::World {
            // If that never happens the test hangs, and is told so.
            while !victim.is_finished() {
                scheduler.turn(Some(PATIENCE)).unwrap();
            }
        }
    }
}

/// Runs a trial with one interruption after another; there are to be more than so many.
pub fn interrupt_everywhere(at_least: usize, make: impl Fn() -> Trial) {
    interrupt_at(Pace::Tasks, at_least, make);
}

/// As `interrupt_everywhere`, for a victim that waits for the world outside.
pub fn interrupt_everywhere_outside(at_least: usize, make: impl Fn() -> Trial) {
    interrupt_at(Pace::World, at_least, make);
}

fn interrupt_at(pace: Pace, at_least: usize, make: impl Fn() -> Trial) {
    for way in WAYS {
        let interrupts = |round: &usize| interrupts(way, pace, *round, &make);
        let interruptions = (0..).take_while(interrupts).count();
        assert!(interruptions > at_least, "{way:?}: {interruptions}");
    }
}

/// Interrupts the victim after `round` rounds in which each task that is ready runs once. False if it has ended by itself.
fn interrupts(way: Way, pace: Pace, round: usize, make: &impl Fn() -> Trial) -> bool {
    let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
    // On a machine that has other things to do the time may be up too early.
    let interrupted = limits.find_map(|limit| interrupt(way, pace, round, limit, make()));
    interrupted.expect("the limits go on for ever")
}

/// `None` if the time was up before the rounds were over.
fn interrupt(way: Way, pace: Pace, round: usize, limit: Duration, trial: Trial) -> Option<bool> {
    assert!(round < 100, "{way:?}: the victim does not end by itself");
    // Rounds are those of one worker.
    let scheduler = Scheduler::new().unwrap();
    let cancels = matches!(way, Way::Cancel | Way::Unwinding);
    let deadline = Instant::now() + if cancels { LONG } else { limit };
    let work = trial.victim;
    let victim = scheduler.spawn(move || match way {
        Way::Scope => drop(timeout_at(deadline, || work(Instant::now() + LONG))),
        Way::Unwinding => while_unwinding(|| work(deadline)),
        Way::Cancel | Way::OwnLimit => work(deadline),
    });
    let others: Vec<_> = trial
        .others
        .into_iter()
        .map(|f| scheduler.spawn(f))
        .collect();
    for _ in 0..round {
        pace.round(&scheduler);
    }
    let too_late = victim.is_finished();
    let too_early = Instant::now() >= deadline;
    match way {
        _ if cancels => victim.cancel(),
        _ => thread::sleep(deadline.saturating_duration_since(Instant::now())),
    }
    pace.settle(&scheduler, &victim);
    (trial.then)();
    pace.settle(&scheduler, &victim);
    if pace == Pace::World {
        scheduler.run().unwrap();
    }
    assert!(victim.is_finished(), "{way:?} {round}: the victim is stuck");
    if let Err(JoinError::Panic(panic)) = victim.join() {
        resume_unwind(panic);
    }
    for (n, other) in others.into_iter().enumerate() {
        assert!(other.is_finished(), "{way:?} {round}: {n} is stuck");
        other.join().unwrap();
    }
    assert_eq!(scheduler.stats().live, 0, "{way:?} {round}: a task is left");
    (trial.end)();
    (!too_early).then_some(!too_late)
}

/// Does `work` in a destructor that runs while the calling stack unwinds. A panic of its own goes on afterwards.
fn while_unwinding(work: impl FnOnce()) {
    let (mut work, mut outcome) = (Some(AssertUnwindSafe(work)), Ok(()));
    let _unwound = catch_unwind(AssertUnwindSafe(|| {
        let _works = OnDrop(|| {
            if let Some(work) = work.take() {
                outcome = catch_unwind(work);
            }
        });
        resume_unwind(Box::new(()));
    }));
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

// ---- messages ----

/// A message whose fate is known.
pub struct Message {
    pub number: usize,
    _counted: Dropped,
}

/// What has become of the messages so far.
#[derive(Clone, Default)]
pub struct Fates {
    drops: Drops,
    made: Arc<AtomicUsize>,
    sent: Arc<Mutex<BTreeSet<usize>>>,
    given_back: Arc<Mutex<BTreeSet<usize>>>,
    received: Arc<Mutex<BTreeSet<usize>>>,
}

impl Fates {
    /// How many messages were made.
    pub fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    /// How many of them are gone.
    pub fn dropped(&self) -> usize {
        self.drops.count()
    }

    pub fn make(&self) -> Message {
        Message {
            number: self.made.fetch_add(1, SeqCst),
            _counted: self.drops.one(),
        }
    }

    /// Sends one with a way of sending; false if nobody can receive it.
    pub fn send(
        &self,
        way: impl FnOnce(Message) -> Result<(), mpmc::SendTimeoutError<Message>>,
    ) -> bool {
        let message = self.make();
        let number = message.number;
        match way(message) {
            Ok(()) => self.note_sent(number),
            Err(mpmc::SendTimeoutError::Timeout(message)) => self.note_back(&message, number),
            Err(mpmc::SendTimeoutError::Disconnected(message)) => {
                self.note_back(&message, number);
                return false;
            }
        }
        true
    }

    pub fn note_sent(&self, number: usize) {
        assert!(self.sent.lock().unwrap().insert(number));
    }

    fn note_back(&self, message: &Message, number: usize) {
        assert_eq!(message.number, number);
        assert!(self.given_back.lock().unwrap().insert(number));
    }

    pub fn note_received(&self, message: &Message) {
        let new = self.received.lock().unwrap().insert(message.number);
        assert!(new, "message {} was received twice", message.number);
    }

    /// Of `made` messages those that were sent were received, the others given back or dropped by who was interrupted.
    pub fn check(&self, interruptions: usize) {
        let (sent, received) = (self.sent.lock().unwrap(), self.received.lock().unwrap());
        // A sender that was interrupted after its message was taken could not note that.
        let unnoted = received.difference(&sent).count();
        assert!(
            sent.is_subset(&received),
            "lost: {:?}",
            sent.difference(&received)
        );
        let back = self.given_back.lock().unwrap();
        assert!(back.is_disjoint(&received), "given back and received");
        let made = self.made();
        let fallen = made - received.len() - back.len();
        assert!(
            unnoted + fallen <= interruptions,
            "{unnoted} + {fallen} of {made}"
        );
        assert_eq!(self.dropped(), made, "each message is dropped once");
    }
}
