//! Without the feature `tracing` tasks have no spans; see `span.rs`, whose twin this is.

use std::panic::Location;

#[inline(always)]
pub(super) fn in_use() -> bool {
    false
}

#[inline(always)]
pub(super) fn note_end() {}

#[derive(Default)]
pub(super) struct Spans;

impl Spans {
    #[inline(always)]
    pub(super) const fn none() -> Self {
        Spans
    }

    #[inline(always)]
    pub(super) fn begin(
        _task: impl FnOnce() -> u64,
        _name: Option<&str>,
        _place: &'static Location<'static>,
    ) -> Self {
        Spans
    }

    #[inline(always)]
    pub(super) fn is_none(&self) -> bool {
        true
    }

    #[inline(always)]
    pub(super) fn task(&self) -> Option<u64> {
        None
    }

    #[inline(always)]
    pub(super) fn clear(&self) {}
}

#[must_use]
pub(super) struct Run;

impl Run {
    #[inline(always)]
    pub(super) fn begin<'a>(_spans: impl FnOnce() -> Option<&'a Spans>) -> Self {
        Run
    }

    #[inline(always)]
    pub(super) fn end<'a>(self, _spans: impl FnOnce() -> Option<&'a Spans>) {}
}

pub(crate) struct Here;

#[inline(always)]
pub(crate) fn here() -> Here {
    Here
}

impl Here {
    #[inline(always)]
    pub(crate) fn run<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
}
