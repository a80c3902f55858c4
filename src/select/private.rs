//! What the expansion of `select!` names.

use crate::io::arm::Readiness;
use crate::io::Interest;
use crate::rt::choice::{self, Moment};
use crate::rt::clock;
use crate::task::arm::Ending;
use crate::task::JoinHandle;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

pub use crate::rt::choice::{Arm, Bound, Grant, Receive, Transmit};

/// Which of several arms was chosen, with what came of it: nested, for there are any number, each of a type of its own.
pub enum Pick<A, B> {
    This(A),
    Other(B),
}

/// There is no `default`: one of the arms was chosen.
pub enum Never {}

/// The number of arms stands for none.
pub fn choose(arms: &[&dyn Arm], bound: Bound) -> usize {
    choice::choose(arms, bound).unwrap_or(arms.len())
}

pub fn never(_: usize) -> Never {
    unreachable!("a wait without limit ends with an arm")
}

pub fn recv<R: Receive>(from: &R) -> R::Arm<'_> {
    from.arm()
}

pub fn send<S: Transmit>(to: &S) -> S::Arm<'_> {
    to.arm()
}

pub fn readable<F: AsFd>(fd: &F) -> Readiness<'_> {
    Readiness::new(fd.as_fd(), Interest::READABLE)
}

pub fn writable<F: AsFd>(fd: &F) -> Readiness<'_> {
    Readiness::new(fd.as_fd(), Interest::WRITABLE)
}

pub fn outcome(arm: &Readiness<'_>) -> io::Result<()> {
    arm.outcome()
}

/// Shared, but nobody else waits by that handle meanwhile: the macro's branch moves out of it.
pub fn join<T>(handle: &JoinHandle<T>) -> Ending<'_> {
    Ending::new(handle)
}

pub fn after(duration: Duration) -> Option<Instant> {
    clock::now().checked_add(duration)
}

pub fn at(moment: Instant) -> Option<Instant> {
    Some(moment)
}

pub fn moment(moment: Option<Instant>) -> Moment {
    Moment(moment)
}
