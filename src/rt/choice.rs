//! Waiting for several things at once: what stands behind `select!` and `Select`.
//!
//! Each thing is an [`Arm`]. [`choose`] tries them; if none can be done at once it shows *one* waiter to all of them and parks.
//!
//! 1. Whoever wins the waiter wins the wait, so one arm at the most is chosen by others; what was handed over says which. Then every arm
//!    is taken out of its list, also when the wait unwinds.
//! 2. A wait that ended without anything handed over (a descriptor became ready, a task ended, a channel was closed) says only
//!    that it is worth trying again.
//! 3. An arm that is not chosen has done nothing.
//! 4. Trying begins at an arm drawn by lot: of those that are ready, none is always second.
//!
//! No task is made for an arm, and nothing is allocated for the wait.

use super::clock::{self, deadline_in};
use super::header::{Header, Why};
use super::home::Home;
use super::park::{charge, me, park, Mode, Outcome};
use super::scheduler::with_thread_default;
use super::waiter::Waiter;
use super::worker::{with_local, with_running};
use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

/// One of the things that are waited for.
///
/// # Safety
/// Whoever finds an end named by [`end`](Arm::end) takes the arm for one of the type that has that end's arms: another type must
/// not name it.
pub unsafe trait Arm {
    /// Does it, if that needs no wait; true if so, and what came of it is kept.
    fn attempt(&self) -> bool;

    /// Shows the waiter to whoever can end the wait; false, and nothing was shown, if it is worth trying again.
    ///
    /// # Safety
    /// The arm stays where it is until `delist`, which is called when the wait is over.
    unsafe fn enlist(&self, here: &Here) -> bool;

    /// Takes that back, if it was done; true if it was through this arm that the wait was won, and what came of it is kept.
    fn delist(&self) -> bool;

    /// It was done, and nobody will ask what came of it.
    fn undo(&self) {}

    /// What came of waiting for a descriptor, if that is what it is for.
    fn outcome(&self) -> io::Result<()> {
        Ok(())
    }

    /// When it is worth trying again, whatever happens.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whose task has to go on for it: a plain thread can see to that.
    fn awaits(&self) -> Awaits {
        Awaits(Awaited::Anybody)
    }

    /// A channel, and which end of it, for an arm that keeps something of its type.
    fn end(&self) -> End {
        End(None)
    }
}

/// The wait that an arm is part of.
pub struct Here {
    pub(crate) waiter: Waiter,
    /// The worker that runs meanwhile, if it is of this thread.
    pub(crate) home: Option<&'static Home<Header>>,
}

/// See [`Arm::awaits`].
pub struct Awaits(pub(crate) Awaited);

#[derive(Clone, Copy)]
pub(crate) enum Awaited {
    Anybody,
    Task(Option<&'static Home<Header>>),
    Descriptor,
}

/// See [`Arm::end`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct End(pub(crate) Option<(*const (), bool)>);

/// How long a wait may last. The clock is read only if there is a wait.
#[derive(Clone, Copy)]
pub enum Bound {
    /// There is no limit.
    Never,
    /// Zero is not at all.
    For(Duration),
    /// In the past is not at all.
    Until(Instant),
}

impl Bound {
    #[inline]
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Bound::Never => None,
            Bound::For(timeout) => deadline_in(timeout),
            Bound::Until(deadline) => Some(deadline),
        }
    }
}

/// Does one of `arms`, and says which; `None` if none could be done within `bound`.
pub fn choose(arms: &[&dyn Arm], bound: Bound) -> Option<usize> {
    charge();
    let mut over = matches!(bound, Bound::For(Duration::ZERO));
    let mut deadline = None;
    loop {
        if let Some(chosen) = attempt(arms) {
            return Some(chosen);
        }
        if over {
            return None;
        }
        let own = *deadline.get_or_insert_with(|| bound.deadline());
        match wait(arms, own) {
            Waited::Chosen(chosen) => return Some(chosen),
            Waited::Again => {}
            Waited::TimedOut => over = own.is_some_and(|own| own <= clock::now()),
        }
    }
}

fn attempt(arms: &[&dyn Arm]) -> Option<usize> {
    let first = draw(arms.len());
    let mut order = (first..arms.len()).chain(0..first);
    order.find(|&at| arms[at].attempt())
}

enum Waited {
    Chosen(usize),
    Again,
    TimedOut,
}

// Inlined, as all that suspends: see `Switch::suspend`.
#[inline(always)]
fn wait(arms: &[&dyn Arm], own: Option<Instant>) -> Waited {
    let (listed, ready) = Listed::enlist(arms);
    // If it was won already, that counts.
    if ready && listed.waiter.retract() {
        return Waited::Again;
    }
    let (until, why) = listed.terms(own);
    // It has no answer for an interruption; who is deaf to one waits on.
    let outcome = park(listed.waiter, until, why, Mode::Infallible);
    match (listed.delist(), outcome) {
        (Some(chosen), _) => Waited::Chosen(chosen),
        (None, Outcome::TimedOut) => Waited::TimedOut,
        (None, Outcome::Woken | Outcome::Interrupted(_)) => Waited::Again,
    }
}

/// Arms that have been shown the waiter; it is taken back when this is dropped, however the wait ends.
struct Listed<'a> {
    arms: &'a [&'a dyn Arm],
    waiter: Waiter,
}

impl<'a> Listed<'a> {
    /// True if one of the arms is worth trying again.
    fn enlist(arms: &'a [&'a dyn Arm]) -> (Self, bool) {
        let waiter = Waiter::here_for(served(arms));
        let here = Here {
            waiter,
            home: me().home(),
        };
        let listed = Listed { arms, waiter };
        // SAFETY: the arms are borrowed for longer than `listed` lives, which delists them.
        let ready = arms.iter().any(|arm| !unsafe { arm.enlist(&here) });
        (listed, ready)
    }

    /// When the wait ends by itself, and what it is called.
    fn terms(&self, own: Option<Instant>) -> (Option<Instant>, Why) {
        let deadlines = self.arms.iter().filter_map(|arm| arm.deadline());
        let why = if has_descriptors(self.arms) {
            Why::SelectReady
        } else {
            Why::Select
        };
        (own.into_iter().chain(deadlines).min(), why)
    }

    fn delist(self) -> Option<usize> {
        let chosen = self.take_out();
        std::mem::forget(self);
        chosen
    }

    /// The arm through which the wait was won.
    fn take_out(&self) -> Option<usize> {
        let won = |chosen: Option<usize>, (at, arm): (usize, &&dyn Arm)| {
            let won = arm.delist().then_some(at);
            debug_assert!(won.is_none() || chosen.is_none(), "a wait is won once");
            chosen.or(won)
        };
        self.arms.iter().enumerate().fold(None, won)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let chosen = self.take_out();
        debug_assert!(chosen.is_none(), "who was won does not unwind");
    }
}

/// The worker that a plain thread has to run while it waits: that of a task which it waits for, or one that polls.
fn served(arms: &[&dyn Arm]) -> Option<&'static Home<Header>> {
    if !me().is_thread() {
        return None;
    }
    let awaited = arms.iter().find_map(|arm| match arm.awaits().0 {
        Awaited::Task(home) => home
            .map(Home::captain)
            .filter(|home| with_local(home, |_| ()).is_some()),
        _ => None,
    });
    // Without one the descriptors are looked at every now and then: see the arm.
    let polls = || with_thread_default(|scheduler| scheduler.worker().home).ok();
    awaited.or_else(|| has_descriptors(arms).then(polls).flatten())
}

fn has_descriptors(arms: &[&dyn Arm]) -> bool {
    arms.iter()
        .any(|arm| matches!(arm.awaits().0, Awaited::Descriptor))
}

thread_local! {
    static LOT: Cell<u32> = const { Cell::new(0x9E37_79B9) };
}

/// A number below `end` (xorshift, by Marsaglia), or zero.
fn draw(end: usize) -> usize {
    if let Some(drawn) = with_running(|worker| worker.simulation().draw(end)).flatten() {
        return drawn;
    }
    let lot = LOT.with(|lot| {
        let mut x = lot.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        lot.set(x);
        x
    });
    ((u64::from(lot) * end as u64) >> 32) as usize
}

/// An arm for a moment in time; `None` never comes.
pub struct Moment(pub(crate) Option<Instant>);

// SAFETY: it names no end.
unsafe impl Arm for Moment {
    fn attempt(&self) -> bool {
        self.0.is_some_and(|moment| moment <= clock::now())
    }

    unsafe fn enlist(&self, _: &Here) -> bool {
        true
    }

    fn delist(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Instant> {
        self.0
    }
}

// ---- what channels and their like are for `select!` ----

/// What `select!` and `Select` can receive from: receivers of channels, queues, and references to them.
pub trait Receive {
    /// What receiving answers.
    type Output;

    #[doc(hidden)]
    type Arm<'a>: Arm
    where
        Self: 'a;

    #[doc(hidden)]
    fn arm(&self) -> Self::Arm<'_>;

    /// What came of an arm that was chosen.
    #[doc(hidden)]
    fn received<'a>(&'a self, arm: &Self::Arm<'a>) -> Self::Output;

    /// As `received`, if `arm` is one of this one's.
    #[doc(hidden)]
    fn received_by(&self, arm: &dyn Arm) -> Option<Self::Output>;
}

/// What `select!` and `Select` can send to: senders of channels, queues, and references to them.
pub trait Transmit {
    /// What is sent.
    type Item;
    /// Why it was not; with the item.
    type Error;

    #[doc(hidden)]
    type Arm<'a>: Arm
    where
        Self: 'a;

    #[doc(hidden)]
    type Grant<'a>: Grant<Item = Self::Item, Error = Self::Error>
    where
        Self: 'a;

    #[doc(hidden)]
    fn arm(&self) -> Self::Arm<'_>;

    /// What an arm that was chosen may do now.
    #[doc(hidden)]
    fn granted<'a>(&'a self, arm: &Self::Arm<'a>) -> Self::Grant<'a>;

    /// As `granted`, if `arm` is one of this one's.
    #[doc(hidden)]
    fn granted_by<'a>(&'a self, arm: &dyn Arm) -> Option<Self::Grant<'a>>;
}

/// The right to send one item without waiting; given back when it is dropped.
pub trait Grant {
    /// What is sent.
    type Item;
    /// Why it was not.
    type Error;

    /// Sends it.
    ///
    /// # Errors
    /// There is nobody any more who could receive it.
    fn send(self, item: Self::Item) -> Result<(), Self::Error>;
}

/// For references, and owners of what is shared: they are what they lead to.
macro_rules! through {
    ($lifetime:lifetime, $($pointer:ty => $arm:lifetime),+) => {$(
        impl<'to, R: Receive + ?Sized + 'to> Receive for $pointer {
            type Output = R::Output;
            type Arm<$lifetime>
                = R::Arm<$arm>
            where
                Self: $lifetime;

            fn arm(&self) -> Self::Arm<'_> {
                (**self).arm()
            }

            fn received<$lifetime>(&$lifetime self, arm: &Self::Arm<$lifetime>) -> Self::Output {
                (**self).received(arm)
            }

            fn received_by(&self, arm: &dyn Arm) -> Option<Self::Output> {
                (**self).received_by(arm)
            }
        }

        impl<'to, R: Transmit + ?Sized + 'to> Transmit for $pointer {
            type Item = R::Item;
            type Error = R::Error;
            type Arm<$lifetime>
                = R::Arm<$arm>
            where
                Self: $lifetime;
            type Grant<$lifetime>
                = R::Grant<$arm>
            where
                Self: $lifetime;

            fn arm(&self) -> Self::Arm<'_> {
                (**self).arm()
            }

            fn granted<$lifetime>(&$lifetime self, arm: &Self::Arm<$lifetime>) -> Self::Grant<$lifetime> {
                (**self).granted(arm)
            }

            fn granted_by<$lifetime>(&$lifetime self, arm: &dyn Arm) -> Option<Self::Grant<$lifetime>> {
                (**self).granted_by(arm)
            }
        }
    )+};
}

through!('a, &'to R => 'to, std::sync::Arc<R> => 'a);
