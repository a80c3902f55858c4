//! Interruptions at each point of suspension: a driver, and an account of what was sent.

use super::{settle, Dropped, Drops, LONG};
use multitask::sync::mpmc;
use multitask::{timeout_at, JoinError, Scheduler};
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// ---- the driver ----

const SHORT: Duration = Duration::from_millis(2);

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Cancel,
    Scope,
    OwnLimit,
}

/// Runs a trial with one interruption after another; there are to be at least so many.
pub fn interrupt_everywhere(at_least: usize, make: impl Fn() -> Trial) {
    for way in [Way::Cancel, Way::Scope, Way::OwnLimit] {
        let interruptions = (0..).take_while(|k| interrupts(way, *k, &make)).count();
        assert!(interruptions > at_least, "{way:?}: {interruptions}");
    }
}

/// Interrupts the victim after `round` rounds in which each task that is ready runs once. False if it has ended by itself.
fn interrupts(way: Way, round: usize, make: &impl Fn() -> Trial) -> bool {
    let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
    // On a machine that has other things to do the time may be up too early.
    let interrupted = limits.find_map(|limit| interrupt(way, round, limit, make()));
    interrupted.expect("the limits go on for ever")
}

/// `None` if the time was up before the rounds were over.
fn interrupt(way: Way, round: usize, limit: Duration, trial: Trial) -> Option<bool> {
    assert!(round < 100, "{way:?}: the victim does not end by itself");
    let scheduler = Scheduler::new().unwrap();
    let deadline = Instant::now() + if way == Way::Cancel { LONG } else { limit };
    let work = trial.victim;
    let victim = scheduler.spawn(move || match way {
        Way::Scope => drop(timeout_at(deadline, || work(Instant::now() + LONG))),
        _ => work(deadline),
    });
    let others: Vec<_> = trial
        .others
        .into_iter()
        .map(|f| scheduler.spawn(f))
        .collect();
    for _ in 0..round {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    let too_late = victim.is_finished();
    let too_early = Instant::now() >= deadline;
    match way {
        Way::Cancel => victim.cancel(),
        _ => thread::sleep(deadline.saturating_duration_since(Instant::now())),
    }
    settle(&scheduler);
    (trial.then)();
    settle(&scheduler);
    assert!(victim.is_finished(), "{way:?} {round}: the victim is stuck");
    if let Err(JoinError::Panic(panic)) = victim.join() {
        resume_unwind(panic);
    }
    for (n, other) in others.into_iter().enumerate() {
        assert!(other.is_finished(), "{way:?} {round}: {n} is stuck");
        other.join().unwrap();
    }
    (trial.end)();
    (!too_early).then_some(!too_late)
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
