//! In all builds but those with `--cfg multitask_faults` nothing is made to happen; see `fault.rs`, whose twin this is.

use std::time::Instant;

#[allow(dead_code)] // nobody orders one
pub(super) enum Fault {
    Cancel,
    CancelFirst,
    Timeout,
    Limit,
    Panic,
}

pub(super) struct Panic;

#[inline(always)]
pub(super) fn at_suspension(
    _is_task: impl FnOnce() -> bool,
    _why: impl FnOnce() -> &'static str,
    _has_own_limit: bool,
    _scope: impl FnOnce() -> Option<u64>,
) -> Option<Fault> {
    None
}

#[inline(always)]
pub(super) fn hastened(_scope: u64) -> Option<Instant> {
    None
}

#[inline(always)]
pub(super) fn let_panic(_task: u64) {}

#[inline(always)]
pub(super) fn is_to_panic(_task: u64) -> bool {
    false
}
