//! Without the feature `testing` time is that of the system, and tasks run in turn; see `simulation.rs`, whose twin this is.

use std::time::Instant;

pub(super) const POSSIBLE: bool = false;

#[inline(always)]
pub(super) fn now_here() -> Option<Instant> {
    None
}

#[inline(always)]
pub(super) fn real_here() -> Here {
    Here
}

pub(super) struct Here;

#[derive(Clone, Copy, Debug)]
pub(super) struct Seed;

impl Seed {
    pub(super) const NONE: Seed = Seed;

    #[inline(always)]
    pub(super) fn is_some(self) -> bool {
        false
    }
}

pub(crate) struct Simulation;

impl Simulation {
    #[inline(always)]
    pub(super) fn new(_seed: Seed, _start: Instant, _ring: impl Fn()) -> Self {
        Simulation
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn now(&self) -> Option<Instant> {
        None
    }

    #[inline(always)]
    pub(super) fn here(&self) -> Here {
        Here
    }

    #[inline(always)]
    pub(super) fn leap_to(&self, _moment: Instant) {}

    #[inline(always)]
    pub(crate) fn hold(&self, _endless: bool) -> Option<Hold> {
        None
    }

    #[inline(always)]
    pub(super) fn is_held(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn was_let_go(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn awaits_others(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn tell_settled(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn draw(&self, _end: usize) -> Option<usize> {
        None
    }

    #[inline(always)]
    pub(super) fn begin_run(&self, _task: u64) -> Here {
        Here
    }
}

pub(crate) enum Hold {}

impl Drop for Hold {
    fn drop(&mut self) {
        match *self {}
    }
}
